/* See oom.h. */
#include "worker/oom.h"

#include "worker/worker_internal.h"

#define AGE_NS UINT64_C(100000000) /* the machine's counters take 20 us to read */

void oom_init(struct oom_watch *o, const struct os_ops *os)
{
    *o = (struct oom_watch){.group = -1, .around = os->oom_counter(), .told = {-1, -1}, .last = {-1, -1}};
}

void oom_finish(struct oom_watch *o, const struct os_ops *os)
{
    if (o->around >= 0)
        os->close(o->around);
    o->around = -1;
}

static struct oom_counts look(const struct oom_watch *o, const struct os_ops *os)
{
    return (struct oom_counts){.group = o->group >= 0 ? os->cgroup_oom_kills(o->group) : -1,
                               .around = o->around >= 0 ? os->oom_kills(o->around) : -1};
}

struct oom_counts oom_before(struct oom_watch *o, const struct os_ops *os)
{
    uint64_t now = os->now_ns();
    if (o->last_ns == 0 || now - o->last_ns > AGE_NS) {
        o->last = look(o, os);
        o->last_ns = now;
    }
    return o->last;
}

enum oom_verdict oom_after(struct oom_watch *o, const struct os_ops *os, const struct oom_counts *before)
{
    struct oom_counts now = look(o, os);
    return oom_judge(&o->told, before, &now);
}

enum exit_class worker_exit_class(const struct worker_env *env, struct guard_exit how, bool expected,
                                  const struct oom_counts *before)
{
    static const enum exit_class classes[] = {
        [OOM_NO] = EXIT_KILLED, [OOM_SUSPECTED] = EXIT_OOM_SUSPECTED, [OOM_PROVED] = EXIT_OOM};
    enum exit_class c = exit_classify(how, expected);
    return c == EXIT_KILLED ? classes[oom_after(env->oom, env->os, before)] : c;
}
