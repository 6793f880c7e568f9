/* See host.h. This file: the guard of a host, its loss and the next one. Loop thread.
 *
 * The first is awaited, for without one nothing can be done; of the others the loop is told, and goes on meanwhile.
 *
 * Failure: a guard that cannot be started is tried again every GUARD_RETRY_MS; until then nothing starts, and what runs goes on. */
#include <errno.h>
#include <string.h>

#include "pool/pool_internal.h"
#include "pool/start_mode.h"

enum { GUARD_START_MS = 5000, GUARD_RETRY_MS = 1000 };

static void on_spawned(void *user, uint64_t token, int error, const char *call, pid_t pid, int pidfd)
{
    (void)user;
    struct guard_child *c = (struct guard_child *)(uintptr_t)token;
    c->spawned(c, error, call, pid, pidfd);
}

static void on_exited(void *user, uint64_t token, pid_t pid, struct guard_exit how)
{
    (void)user;
    (void)pid;
    struct guard_child *c = (struct guard_child *)(uintptr_t)token;
    c->exited(c, how);
}

static void on_lost(void *user, const char *why)
{
    struct host *h = user;
    log_line(&h->log, PIT_LOG_ERROR, "the guard process is gone (%s): its workers are replaced", why);
    if (telemetry_wants(h->telemetry, EVENT_GUARD_LOST))
        telemetry_emit(h->telemetry, EVENT_GUARD_LOST, NULL, (const double[]){1}, &why);
    uint64_t ns;
    int swept = guard_swept(h->env.guard, &ns) + host_group_end(h);
    const char *texts[] = {h->run_id, "0"};
    telemetry_emit(h->telemetry, EVENT_CLEANUP_EMERGENCY, NULL, (const double[]){swept, (double)ns / 1e6}, texts);
    h->lost_guard = h->env.guard;
    h->env.guard = NULL;
    LIST_EACH(node, &h->pools)
    if (!pool_has_adapter(LIST_ENTRY(node, struct pool, node)))
        pool_guard_lost(LIST_ENTRY(node, struct pool, node));
    interpreters_guard_lost(h);
    zygotes_guard_lost(h);
    loop_post(h->loop, &h->guard_work);
}

static pit_error *not_started(const struct host *h, int rc, int error, const char *call)
{
    pit_error *e = error_new(rc, "the guard %s could not be started: %s: %s", h->set.guard_path, call, strerror(error));
    error_detail_take(e, "errno", pit_int(error));
    error_detail_take(e, "call", pit_str(call));
    if (error == EMFILE || error == ENFILE)
        return error_suggest(e, "the limit on open files is reached: raise ulimit -n (LimitNOFILE= of a service)");
    if (error == EAGAIN)
        return error_suggest(e, "the limit on processes is reached: see ulimit -u and the cgroup's pids.max");
    if (error == ENOSYS)
        return error_suggest(
            e, "the kernel, or the container's profile of system calls, is in the way: Linux 5.10 or newer is needed");
    return error_suggest(e,
                         "is this snakepit-guard, and of the library's version? See the option guard_path, or SNAKEPIT_GUARD");
}

static void on_started(void *user, int error, const char *call);
static const struct guard_callbacks callbacks = {on_spawned, on_exited, on_lost, on_started};

pit_error *host_start_guard(struct host *h)
{
    int error = 0;
    const char *call = "";
    int rc =
        guard_start(h->os, h->loop, h->set.guard_path, h->run_id, GUARD_START_MS, &callbacks, h, &h->env.guard, &error, &call);
    if (rc != 0) {
        h->env.guard = NULL;
        return not_started(h, rc, error, call);
    }
    host_group_join(h);
    return NULL;
}

/* ---- the next one ---- */

static void try_again(struct host *h, pit_error *e)
{
    log_line(&h->log, PIT_LOG_ERROR, "%s", pit_error_message(e));
    pit_error_free(e);
    loop_timer_set(h->loop, &h->guard_timer, h->os->now_ns() + GUARD_RETRY_MS * MS);
}

static void on_started(void *user, int error, const char *call)
{
    struct host *h = user;
    struct guard_client *g = h->next_guard;
    h->next_guard = NULL;
    if (error != 0) {
        h->lost_guard = g; /* not to be freed in a callback of its own */
        try_again(h, not_started(h, PIT_E_GUARD_UNAVAILABLE, error, call));
        return;
    }
    h->env.guard = g;
    host_group_join(h);
    interpreters_guard_back(h);
    zygotes_guard_back(h);
    LIST_EACH(node, &h->pools)
    pool_guard_back(LIST_ENTRY(node, struct pool, node));
}

static void on_guard_work(struct loop_work *w)
{
    struct host *h = LIST_ENTRY(w, struct host, guard_work);
    int error = 0;
    const char *call = "";
    guard_destroy(h->lost_guard, 0); /* it has swept up before it told us */
    h->lost_guard = NULL;
    if (h->env.guard != NULL || h->next_guard != NULL || __atomic_load_n(&h->closing, __ATOMIC_ACQUIRE))
        return;
    int rc =
        guard_begin(h->os, h->loop, h->set.guard_path, h->run_id, GUARD_START_MS, &callbacks, h, &h->next_guard, &error, &call);
    if (rc != 0)
        try_again(h, not_started(h, rc, error, call));
}

static void on_guard_timer(struct loop_timer *t)
{
    struct host *h = LIST_ENTRY(t, struct host, guard_timer);
    loop_post(h->loop, &h->guard_work);
}

void host_guard_init(struct host *h)
{
    h->guard_work.fn = on_guard_work;
    h->guard_timer.fn = on_guard_timer;
}
