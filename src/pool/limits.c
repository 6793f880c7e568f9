/* See limits.h. Measured from outside, by what the kernel tells of the worker's process: so code that holds the interpreter is seen as well, and
 * nothing runs in the worker for it. In a worker with several lanes CPU time, memory and files are those of all its calls together.
 *
 * Invariants
 *  1. A call with limits is alone on its lane: nothing is written ahead of it or behind it.
 *  2. It is measured before its frame leaves, now and then while it runs, and once more when its answer has come: what it used is seen in
 *     any case, though perhaps late.
 *
 * Failure: where the kernel does not tell (no descriptor left for a look, hidepid), this look is left out. */
#include "pool/limits.h"

#include <string.h>

#include "pool/cancel.h"
#include "pool/pool_internal.h"

static unsigned wanted(const struct limits *l)
{
    return (l->most[LIMIT_CPU] != 0 ? (unsigned)OS_USAGE_CPU : 0) |
           (l->most[LIMIT_MEMORY] != 0 ? (unsigned)OS_USAGE_MEMORY : 0) |
           (l->most[LIMIT_FILES] != 0 ? (unsigned)OS_USAGE_FILES : 0);
}

void limits_begin(struct pool *p, struct lane *l, const struct call *c)
{
    unsigned what = wanted(&c->limits);
    if ((what & OS_USAGE_MEMORY) != 0)
        what |= OS_USAGE_RESET_PEAK;
    struct limit_watch *w = &l->limit;
    w->sequence = c->sequence;
    w->began_ns = pool_now(p);
    w->armed = false;
    w->known = what == 0 || p->env->os->usage(l->worker->pid, what, &w->base) == 0;
    async_attend(p, l);
}

/* What it has used so far; only the loop may ask. now: what the kernel says of its process; NULL: nothing. */
static struct limit_use used_so_far(struct pool *p, const struct lane *l, const struct os_usage *now, uint64_t result_bytes)
{
    const struct limit_watch *w = &l->limit;
    const struct worker *worker = l->worker;
    struct limit_use u = {0};
    if (now != NULL) {
        uint64_t memory = w->base.has_peak ? now->peak : now->memory;
        u.n[LIMIT_CPU] = now->cpu_ns > w->base.cpu_ns ? now->cpu_ns - w->base.cpu_ns : 0;
        u.n[LIMIT_MEMORY] = memory > w->base.memory ? memory - w->base.memory : 0;
        u.n[LIMIT_FILES] = now->files > w->base.files ? now->files - w->base.files : 0;
    }
    u.n[LIMIT_WALL] = pool_now(p) - w->began_ns;
    u.n[LIMIT_OUTPUT] = result_bytes + (w->armed ? worker->out.total + worker->err.total - w->printed : 0);
    return u;
}

/* false: there is nothing to ask, or no answer. */
static bool ask_kernel(struct pool *p, const struct lane *l, unsigned what, struct os_usage *ret)
{
    return what != 0 && p->env->os->usage(l->worker->pid, what, ret) == 0;
}

static pit_error *passed(struct pool *p, struct lane *l, struct call *c, enum limit_kind k, uint64_t used)
{
    const char *name = limit_name(k);
    c->limit_passed = k;
    c->limit_used = limit_in_units(k, used);
    memcpy(c->worker_id, l->worker->id, sizeof c->worker_id);
    uint64_t allowed = limit_in_units(k, c->limits.most[k]);
    pit_error *e = error_new(PIT_E_CALL_LIMIT_EXCEEDED, "the call of %s used more than its limit %s of %llu: %llu", c->command,
                             name, (unsigned long long)allowed, (unsigned long long)c->limit_used);
    error_pool(e, p->set.name);
    error_worker(e, l->worker->id);
    error_detail_take(e, "limit", pit_str(name));
    error_detail_take(e, "allowed", pit_uint(allowed));
    error_detail_take(e, "used", pit_uint(c->limit_used));
    error_detail_take(e, "command", pit_str(c->command));
    repro_put(&p->config.repro, c, e);
    return e;
}

static void look_later(struct pool *p, struct lane *l, const struct call *c, const struct limit_use *u)
{
    uint64_t next = limits_next_look(&c->limits, u);
    if (next != UINT64_MAX)
        loop_timer_set(p->env->loop, &l->limit.timer, pool_now(p) + next);
}

/* The call that is watched, if it runs still. */
static struct call *watched(struct lane *l)
{
    struct flight *head = lane_head(l);
    bool same = head != NULL && l->limit.sequence != 0 && head->sequence == l->limit.sequence;
    return same ? head->call : NULL;
}

void limits_watch(struct pool *p, struct lane *l)
{
    const struct limit_use none = {0};
    struct limit_watch *w = &l->limit;
    struct call *c = watched(l);
    if (c == NULL || w->armed || l->worker->dead)
        return;
    w->armed = true;
    w->printed = l->worker->out.total + l->worker->err.total;
    look_later(p, l, c, &none);
}

void limits_stop(struct pool *p, struct lane *l)
{
    l->limit.sequence = 0;
    loop_timer_stop(p->env->loop, &l->limit.timer);
}

struct outcome limits_settle(struct pool *p, struct lane *l, struct call *c, struct outcome answer)
{
    if (l->limit.sequence != c->sequence)
        return answer;
    size_t bytes = c->bytes_out > FRAME_HEADER ? c->bytes_out - FRAME_HEADER : 0;
    struct os_usage now;
    bool known = ask_kernel(p, l, l->limit.known ? wanted(&c->limits) : 0, &now);
    struct limit_use u = used_so_far(p, l, known ? &now : NULL, bytes);
    enum limit_kind k = limits_judge(&c->limits, &u);
    limits_stop(p, l);
    if (k == LIMITS)
        return answer;
    outcome_free(&answer);
    return outcome_failed(passed(p, l, c, k, u.n[k]));
}

void limits_on_timer(struct loop_timer *t)
{
    struct lane *l = LIST_ENTRY(t, struct lane, limit.timer);
    struct pool *p = l->worker->pool;
    struct list done;
    list_init(&done);
    pool_lock(p);
    struct call *c = watched(l);
    unsigned what = c != NULL && l->limit.known && !l->worker->dead ? wanted(&c->limits) : 0;
    uint64_t sequence = l->limit.sequence;
    pool_unlock(p);
    struct os_usage now; /* without the lock: a process may have a million files, and memory that is just being changed */
    bool known = ask_kernel(p, l, what, &now);
    pool_lock(p);
    c = l->limit.sequence == sequence ? watched(l) : NULL;
    if (c != NULL && !l->worker->dead) {
        struct limit_use u = used_so_far(p, l, known ? &now : NULL, 0);
        enum limit_kind k = limits_judge(&c->limits, &u);
        if (k == LIMITS) {
            look_later(p, l, c, &u);
        } else {
            pit_error *e = passed(p, l, c, k, u.n[k]);
            l->limit.sequence = 0;
            cancel_end(p, c, e, limit_name(k), &done);
        }
    }
    pool_unlock(p);
    async_deliver(p, &done);
}
