/* The end of a host, in steps: no new calls, the running ones drain, the rest is ended, workers are stopped, and whatever is left is killed. And
 * two ways to end less, or sooner: pit_kill() one worker, pit_cleanup() all of them.
 *
 * Invariants
 *  1. The drain leaves the last KILL_RESERVE_MS of shutdown_timeout_ms for killing.
 *  2. A survivor is a process that is alive after everything was killed, not one that had to be killed.
 *
 * Failure: a process that cannot be killed (uninterruptible sleep) is told as cleanup_timeout; the host is freed all the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pool_internal.h"
#include "pool/pool_list.h"
#include "pool/start_mode.h"

enum { KILL_RESERVE_MS = 2000 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool all_idle(void *arg)
{
    struct host *h = arg;
    bool idle = true;
    pthread_mutex_lock(&h->lock);
    LIST_EACH(node, &h->pools)
    idle = pool_is_idle(LIST_ENTRY(node, struct pool, node)) && idle;
    pthread_mutex_unlock(&h->lock);
    return idle;
}

static bool all_gone(void *arg)
{
    struct host *h = arg;
    bool gone = true;
    pthread_mutex_lock(&h->lock);
    LIST_EACH(node, &h->pools)
    gone = !pool_has_workers(LIST_ENTRY(node, struct pool, node)) && gone;
    pthread_mutex_unlock(&h->lock);
    return gone;
}

/* A worker is GONE as soon as its exit is known; its process may still be taken down then. Its pool's lock. */
static bool is_left(const struct pool *p, const struct worker *w)
{
    struct os_proc info;
    if (w->state != PIT_WORKER_GONE)
        return true;
    return w->pid > 0 && p->env->os->proc_info(w->pid, &info) == 0 && info.state != 'Z' && info.state != 'X';
}

static void count_left(struct pool *p, void *arg)
{
    pool_lock(p);
    LIST_EACH(node, &p->workers)
    *(unsigned *)arg += is_left(p, LIST_ENTRY(node, struct worker, node));
    pool_unlock(p);
}

static bool none_left(void *arg)
{
    unsigned left = 0;
    host_each_pool(arg, count_left, &left);
    return left == 0;
}

/* For what the kernel takes its time with, and nobody tells: looks again and again. */
static bool await_looking(struct host *h, bool (*holds)(void *arg), void *arg, uint64_t deadline_ns)
{
    enum { LOOK_MS = 2 };
    bool held = false;
    while (!(held = host_wait_until(h, holds, arg, earlier(deadline_ns, host_deadline(h, LOOK_MS)))))
        if (h->os->now_ns() >= deadline_ns)
            break;
    return held;
}

static void end_all_calls(struct host *h, void *arg)
{
    (void)arg;
    LIST_EACH(node, &h->pools)
    pool_end_calls(LIST_ENTRY(node, struct pool, node));
}

static void stop_all(struct host *h, void *arg)
{
    LIST_EACH(node, &h->pools)
    pool_stop_workers(LIST_ENTRY(node, struct pool, node), arg != NULL);
}

static void shut_all(struct host *h, void *arg)
{
    (void)arg;
    zygotes_end(h); /* nothing will be started any more */
    LIST_EACH(node, &h->pools)
    pool_shut(LIST_ENTRY(node, struct pool, node));
}

void host_shutdown(struct host *h)
{
    __atomic_store_n(&h->closing, true, __ATOMIC_RELEASE);
    uint64_t deadline = host_deadline(h, h->set.shutdown_timeout_ms);
    __atomic_store_n(&h->close_deadline_ns, deadline, __ATOMIC_RELAXED); /* pit_close has its own time after a pit_shutdown */
    host_run(h, shut_all, NULL);
    uint64_t reserve = deadline == UINT64_MAX ? UINT64_MAX : deadline - KILL_RESERVE_MS * MS;
    if (host_wait_until(h, all_idle, h, earlier(host_deadline(h, h->set.drain_timeout_ms), reserve)))
        return;
    host_run(h, end_all_calls, NULL);
    host_wait_until(h, all_idle, h, host_deadline(h, KILL_RESERVE_MS / 2));
}

void host_set_shutdown_time(struct host *h, int64_t ms)
{
    h->set.shutdown_timeout_ms = ms;
}

void host_on_ended(struct host *h, void (*fn)(void *user, int survivors), void *user)
{
    h->on_ended = fn;
    h->on_ended_user = user;
}

static void report_cleanup_start(struct host *h)
{
    unsigned left = 0;
    host_each_pool(h, count_left, &left);
    telemetry_emit(h->telemetry, EVENT_CLEANUP_START, NULL, (const double[]){left}, (const char *const[]){h->run_id});
}

static void report_cleanup(struct host *h, enum event_id id, uint64_t began_ns, double count)
{
    char survivors[16];
    snprintf(survivors, sizeof survivors, "%.0f", count);
    const double numbers[] = {count, (double)(h->os->now_ns() - began_ns) / 1e6};
    const char *texts[] = {h->run_id, survivors};
    telemetry_emit(h->telemetry, id, NULL, numbers, texts);
}

/* Adapters are asked to come to their end by now; a function that does not is left to itself. Nobody adds a pool or stops one any more. */
static unsigned leave_adapters(struct host *h)
{
    unsigned left = 0;
    uint64_t soon = host_deadline(h, KILL_RESERVE_MS / 2), last = h->close_deadline_ns > soon ? h->close_deadline_ns : soon;
    struct list *lists[] = {&h->pools, &h->stopped};
    for (int i = 0; i < 2; i++)
        LIST_EACH(node, lists[i])
        {
            struct pool *p = LIST_ENTRY(node, struct pool, node);
            left += pool_leave_adapter(p, earlier(last, host_deadline(h, p->set.graceful_ms)));
        }
    return left;
}

int host_destroy(struct host *h)
{
    uint64_t began = h->os->now_ns(), kill_at = h->close_deadline_ns;
    if (kill_at != UINT64_MAX)
        kill_at = kill_at > began + KILL_RESERVE_MS * MS ? kill_at - KILL_RESERVE_MS * MS : began;
    report_cleanup_start(h);
    host_run(h, stop_all, NULL);
    if (!host_wait_until(h, all_gone, h, kill_at)) {
        host_run(h, stop_all, h);
        host_wait_until(h, all_gone, h, host_deadline(h, KILL_RESERVE_MS / 2));
    }
    unsigned left = leave_adapters(h);
    tool_threads_stop(&h->tool_threads); /* they may need the loop */
    tool_threads_stop(&h->stream_threads);
    if (h->has_thread) {
        __atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
        loop_wake(h->loop);
        pthread_join(h->thread, NULL);
    }
    zygotes_end(h);
    guard_destroy(h->lost_guard, 0);
    guard_destroy(h->next_guard, 0);
    int survivors = guard_destroy(h->env.guard, host_deadline(h, KILL_RESERVE_MS / 2)) + (int)left;
    h->env.guard = NULL;
    struct list *lists[] = {&h->pools, &h->stopped};
    for (int i = 0; i < 2; i++)
        LIST_EACH(node, lists[i])
    pool_guard_lost(LIST_ENTRY(node, struct pool, node));
    interpreters_guard_lost(h);
    zygotes_guard_lost(h);
    host_tell_done(&h->done_work); /* what ended last is still told */
    report_cleanup(h, survivors == 0 ? EVENT_CLEANUP_SUCCESS : EVENT_CLEANUP_TIMEOUT, began, survivors);
    if (h->on_ended != NULL)
        h->on_ended(h->on_ended_user, survivors);
    host_free(h);
    return survivors == 0 ? 0 : PIT_E_CLEANUP_TIMEOUT;
}

/* ---- all workers, at once ---- */

int host_cleanup(struct host *h, uint64_t deadline_ns)
{
    uint64_t began = h->os->now_ns();
    unsigned left = 0;
    __atomic_store_n(&h->closing, true, __ATOMIC_RELEASE);
    report_cleanup_start(h);
    host_run(h, shut_all, NULL);
    host_run(h, end_all_calls, NULL);
    host_run(h, stop_all, h);
    host_wait_until(h, all_gone, h, deadline_ns);
    if (!await_looking(h, none_left, h, deadline_ns))
        host_each_pool(h, count_left, &left);
    report_cleanup(h, left == 0 ? EVENT_CLEANUP_SUCCESS : EVENT_CLEANUP_TIMEOUT, began, left);
    return left == 0 ? 0 : PIT_E_CLEANUP_TIMEOUT;
}

/* ---- one worker ---- */

struct target {
    struct host *host;
    const char *id;
    int64_t grace_ms;
    bool alive; /* it, or what is left of it */
    bool was;   /* its slot has had this generation */
};

/* Ids are made and compared, never taken apart, but for the generation behind a slot that is there. */
static bool was_in(const struct slot *s, const char *id)
{
    char prefix[WORKER_ID], *rest;
    int n = snprintf(prefix, sizeof prefix, "%s/%d.", s->pool->set.name, (int)(s - s->pool->slots));
    if (strncmp(prefix, id, (size_t)n) != 0 || id[n] < '1' || id[n] > '9')
        return false;
    unsigned long long generation = strtoull(id + n, &rest, 10);
    return *rest == '\0' && generation <= s->generation;
}

/* Its pool's lock. */
static struct worker *find_target(struct pool *p, const char *id)
{
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (strcmp(w->id, id) == 0 && is_left(p, w))
            return w;
    }
    return NULL;
}

static void look_for(struct pool *p, void *arg)
{
    struct target *t = arg;
    pool_lock(p);
    t->alive = t->alive || find_target(p, t->id) != NULL;
    pool_unlock(p);
}

static void terminate(struct host *h, void *arg)
{
    struct target *t = arg;
    LIST_EACH(node, &h->pools)
    {
        struct pool *p = LIST_ENTRY(node, struct pool, node);
        for (int i = 0; i < p->n_slots; i++)
            t->was = t->was || was_in(&p->slots[i], t->id);
        pool_lock(p);
        struct worker *w = find_target(p, t->id);
        bool there = w != NULL && w->state != PIT_WORKER_GONE;
        pool_unlock(p); /* workers go on this thread only */
        if (there)
            worker_terminate(w, t->grace_ms, PIT_E_WORKER_KILLED, "it was killed by pit_kill()");
    }
}

static bool is_gone(void *arg)
{
    struct target *t = arg;
    t->alive = false;
    host_each_pool(t->host, look_for, t);
    return !t->alive;
}

pit_error *host_kill(struct host *h, const char *worker_id, int64_t grace_ms)
{
    struct target t = {.host = h, .id = worker_id, .grace_ms = grace_ms};
    host_run(h, terminate, &t);
    if (!t.was)
        return error_worker(error_new(PIT_E_WORKER_NOT_FOUND, "there is no worker %.96s, and never was", worker_id), worker_id);
    if (await_looking(h, is_gone, &t, host_deadline(h, grace_ms + KILL_RESERVE_MS)))
        return NULL;
    return error_worker(error_new(PIT_E_CLEANUP_TIMEOUT, "worker %.96s was killed, but has not ended yet", worker_id),
                        worker_id);
}
