/* The life of a pool's workers: starts, deaths, replacement. Loop thread.
 *
 * A start or a death is told by the worker (struct worker_events), once each; what follows from it for the calls is judged here, in the
 * order that worker.h gives. Failure: a start that fails waits longer each time, and a pool whose every start fails is FAILED. */
#include <snakepit/pool.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/inner.h"
#include "pool/limits.h"
#include "pool/pool_internal.h"
#include "pool/start_mode.h"
#include "pool/stream.h"

#define NO_MEMORY_NS (100 * MS) /* until a start is tried again for which there was no memory */

/* ---- starting workers ---- */

/* false: no memory. */
static bool start_worker(struct slot *s, bool spare)
{
    struct pool *p = s->pool;
    struct worker *w = worker_create(p->env, &p->config, &p->events, p, (int)(s - p->slots), s->generation + 1);
    if (w == NULL)
        return false;
    s->generation++;
    recycle_init_worker(w);
    w->inherits = &s->past;
    w->recycle.spare = spare;
    start_mode_choose(p, w);
    pool_lock(p);
    *(spare ? &s->next : &s->current) = w;
    list_push_back(&p->workers, &w->node);
    pool_unlock(p);
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_WORKER_SPAWN_STARTED)) {
        struct event_common common = worker_common(w);
        const char *texts[] = {worker_start_mode(w)};
        telemetry_emit(p->env->telemetry, EVENT_POOL_WORKER_SPAWN_STARTED, &common, NULL, texts);
    }
    worker_start(w, host_next_prefix(p->host));
    return true;
}

void life_start_slot(struct slot *s)
{
    struct pool *p = s->pool;
    if (pool_is_ending(p) || s->current != NULL)
        return;
    if (!pool_can_start(p) || !start_mode_may_start(p))
        return; /* pool_guard_back starts it */
    if (!start_worker(s, false))
        loop_timer_set(p->env->loop, &s->timer, pool_now(p) + NO_MEMORY_NS);
}

bool life_start_spare(struct slot *s)
{
    return start_mode_may_start(s->pool) && start_worker(s, true);
}

void life_start_rest(struct pool *p)
{
    int most = start_mode_batch(p);
    for (int i = 0; i < most && p->started < (unsigned)p->n_slots; i++)
        life_start_slot(&p->slots[p->started++]);
    if (most > 0 && p->started < (unsigned)p->n_slots)
        loop_timer_set(p->env->loop, &p->batch_timer, pool_now(p) + (uint64_t)start_mode_batch_delay_ms(p) * MS);
}

static void on_batch_timer(struct loop_timer *t)
{
    life_start_rest(LIST_ENTRY(t, struct pool, batch_timer));
}

void pool_start(struct pool *p, char **argv, char **env)
{
    p->config.argv = argv;
    p->config.env = env;
    p->opened_ns = pool_now(p);
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_INIT_STARTED)) {
        struct event_common common = pool_common(p);
        const double numbers[] = {(double)p->set.workers};
        telemetry_emit(p->env->telemetry, EVENT_POOL_INIT_STARTED, &common, numbers, NULL);
    }
    start_mode_open(p);
    life_start_rest(p);
    recycle_scan_later(p);
}

/* ---- failing ---- */

static void become_failed(struct pool *p, const char *reason)
{
    struct list done;
    list_init(&done);
    pool_lock(p);
    bool moved = pool_move(p, POOL_FAILED);
    if (moved)
        pool_end_queued(p, &done);
    pool_unlock(p);
    async_deliver(p, &done);
    host_changed(p->host);
    if (moved && telemetry_wants(p->env->telemetry, EVENT_POOL_INIT_FAILED)) {
        struct event_common common = pool_common(p);
        const double numbers[] = {(double)(pool_now(p) - p->opened_ns) / 1e6};
        const char *texts[] = {reason};
        telemetry_emit(p->env->telemetry, EVENT_POOL_INIT_FAILED, &common, numbers, texts);
    }
}

void pool_fail(struct pool *p, pit_error *e)
{
    pool_lock(p);
    pit_error *old = p->start_error;
    p->start_error = e;
    p->hopeless = true;
    pool_unlock(p);
    pit_error_free(old);
    become_failed(p, pit_error_name(e));
}

/* Every start has ended badly and nothing is ready. */
static bool all_failed(struct pool *p)
{
    if (pool_count_ready(p) != 0)
        return false;
    for (int i = 0; i < p->n_slots; i++)
        if (!p->slots[i].start_failed)
            return false;
    return true;
}

/* ---- what workers tell ---- */

/* The slot's first start has ended: once all have, the pool is as complete as it will be by itself. */
static void settle(struct slot *s)
{
    struct pool *p = s->pool;
    p->settled += !s->settled;
    s->settled = true;
    if (p->complete || p->settled < (unsigned)p->n_slots)
        return;
    pool_lock(p);
    unsigned ready = pool_count_ready(p);
    pool_unlock(p);
    p->complete = ready > 0;
    if (p->complete)
        report_complete(p, ready);
}

static void on_ready(struct worker *w)
{
    struct pool *p = w->pool;
    struct slot *s = &p->slots[w->slot];
    pool_lock(p);
    bool first = p->state != POOL_DEGRADED && pool_move(p, POOL_RUNNING);
    s->start_failed = false;
    for (uint32_t i = 0; i < p->config.lanes; i++)
        lane_init_hooks(&w->lanes[i]);
    pit_value *before = p->timeouts, *repeatable = p->repeatable, *tools = p->tools;
    p->timeouts = w->timeouts;
    p->repeatable = w->repeatable;
    p->tools = w->tools;
    w->timeouts = w->repeatable = w->tools = NULL;
    __atomic_store_n(&p->has_timeouts, p->timeouts != NULL, __ATOMIC_RELAXED);
    taint_ready(p, w);
    spares_add(p, w);
    taint_review(p);
    unsigned ready = pool_count_ready(p);
    pool_unlock(p);
    pit_value_free(before);
    pit_value_free(repeatable);
    pit_value_free(tools);
    restart_slot_ready(&s->restart);
    bool successor = w->generation > 1 && !w->recycle.spare;
    recycle_ready(p, w);
    start_mode_first(p, true);
    watch_ready(p, w);
    host_changed(p->host);
    settle(s);
    report_ready(p, w, (struct report_ready){.ready = ready, .first = first, .successor = successor});
}

static const char *why_lost(const struct worker *w)
{
    if (w->recycle.why != RECYCLE_NONE)
        return recycle_reason_name(w->recycle.why);
    return w->end_code != 0 ? pit_error_code_name(w->end_code) : NULL;
}

static void note_loss(struct pool *p, const struct worker *w)
{
    struct slot *s = &p->slots[w->slot];
    s->lost_ns = pool_now(p);
    s->lost_generation = w->generation;
    s->lost_why = why_lost(w);
}

static void on_dead(struct worker *w)
{
    struct pool *p = w->pool;
    struct slot *s = &p->slots[w->slot];
    recycle_dead(p, w);
    pool_lock(p);
    bool had_slot = s->current == w;
    if (had_slot)
        s->current = NULL;
    spares_promote(p);
    taint_review(p);
    w->replace =
        had_slot && p->state < POOL_STOPPING && w->ready_ns != 0; /* a start that failed is judged when its exit is known */
    bool killed = w->expected;
    pool_unlock(p);
    if (had_slot && w->ready_ns != 0)
        note_loss(p, w);
    host_changed(p->host);
    if (killed)
        replace_worker(p, w, false); /* its end may take long: memory is torn down at 68 ms per GB */
}

/* Why it did not become ready: what it said, what we killed it for, or how it ended. */
static pit_error *start_error(struct pool *p, struct worker *w)
{
    pit_error *e = w->failure;
    char text[EXIT_TEXT_SIZE];
    w->failure = NULL;
    if (w->end_code == PIT_E_WORKER_CRASH)
        w->end_code = PIT_E_START_FAILED; /* it never was a worker */
    if (e == NULL && w->end_code != 0)
        return worker_end_error(w, NULL);
    if (e == NULL)
        e = error_new(PIT_E_START_FAILED, "worker %s ended before it was ready: it %s", w->id,
                      exit_text(w->exit_class, w->how, text));
    if (!w->hello && p->set.adapter != NULL && p->host->set.package_path == NULL)
        error_suggest(e, "the Python package snakepit_bridge was not found beside the library: install it for the pool's "
                         "interpreter, or name "
                         "its folder by the option python_package_path or SNAKEPIT_PYTHON_PACKAGE");
    error_worker(e, w->id);
    error_pool(e, p->set.name);
    if (w->how.code != 0)
        worker_describe_end(w, e);
    return e;
}

/* The same adapter and interpreter will fail in the same way: while the pool has never served, nothing is gained by trying again. */
static bool is_for_good(const struct pool *p, const pit_error *e)
{
    int code = pit_error_code(e);
    bool served = p->state != POOL_STARTING && p->state != POOL_FAILED;
    return !served && (code == PIT_E_ADAPTER_NOT_THREAD_SAFE || code == PIT_E_PROFILE_UNAVAILABLE);
}

static void start_ended_badly(struct pool *p, struct worker *w)
{
    struct slot *s = &p->slots[w->slot];
    pit_error *e = start_error(p, w);
    log_line(p->env->log, PIT_LOG_ERROR, "worker %s did not start: %s", w->id, pit_error_message(e));
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_WORKER_SPAWN_FAILED)) {
        struct event_common common = worker_common(w);
        const double numbers[] = {(double)(pool_now(p) - w->started_ns) / 1e6};
        const char *texts[] = {pit_error_name(e), pit_error_message(e)};
        telemetry_emit(p->env->telemetry, EVENT_POOL_WORKER_SPAWN_FAILED, &common, numbers, texts);
    }
    pool_lock(p);
    pit_error *old = p->start_error;
    p->start_error = e;
    bool spare = w->recycle.spare, for_good = is_for_good(p, e);
    s->start_failed = s->start_failed || !spare;
    bool hopeless = all_failed(p);
    pool_unlock(p);
    pit_error_free(old);
    if (!spare)
        settle(s);
    if (!spare && !for_good)
        replace_failed_start(p, w);
    if (hopeless)
        become_failed(p, "every start failed");
    start_mode_first(p, false);
    host_changed(p->host);
}

/* Whether a caller has been woken. */
static bool judge_lanes(struct pool *p, struct worker *w, struct list *done)
{
    bool woken = false;
    for (uint32_t i = 0; w->lanes != NULL && i < p->config.lanes; i++) {
        struct lane *l = &w->lanes[i];
        __atomic_store_n(&l->dead, true, __ATOMIC_SEQ_CST);
        if (l->senders != 0)
            inner_streams_changed(l);
        loop_timer_stop(p->env->loop, &l->grace);
        limits_stop(p, l);
        loop_timer_stop(p->env->loop, &l->stall);
        stream_take_over_lane(p, l);
        if (l->owner == LANE_LOOP) {
            async_lane_gone(p, l, done);
            list_remove(&l->node);
            lane_move(l, LANE_CLOSED);
        } else if (l->owner == LANE_CALLER) {
            for (unsigned k = 0; k < l->count; k++)
                if (lane_at(l, k)->call != NULL)
                    sched_wake(p, lane_at(l, k)->call);
            woken = true;
        }
        if (l->channel != NULL)
            l->channel->ops->interrupt(l->channel);
    }
    return woken;
}

/* We ended it, or it ended because we asked; the status may have been lost on the way, which does not make it a crash. */
bool life_ended_well(const struct worker *w)
{
    return w->exit_class == EXIT_NORMAL || (w->exit_class == EXIT_UNKNOWN && w->expected);
}

/* It was to be a worker, and has not become one. */
bool life_is_failed_start(const struct pool *p, const struct worker *w)
{
    return w->ready_ns == 0 && !pool_is_ending(p) && w->end_code != PIT_E_GUARD_LOST;
}

/* lock */
static void count_crash(struct pool *p, const struct worker *w)
{
    p->crashes++;
    crash_health_add(p, w);
    taint_crashed(p, w);
}

/* What it did last is told by the recorder of whoever comes after it, or is there already. */
static void keep_past(struct slot *s, struct worker *w)
{
    if (w->past == NULL)
        return;
    mem_free(s->past);
    s->past = w->past;
    w->past = NULL;
    if (s->current != NULL)
        recorder_inherit(s->current, s->past);
}

static void on_gone(struct worker *w)
{
    struct pool *p = w->pool;
    struct list done;
    char running[80];
    list_init(&done);
    bool crash = !life_ended_well(w) && w->ready_ns != 0;
    pool_lock(p);
    report_running(p, w, running, sizeof running);
    bool woken = judge_lanes(p, w, &done);
    sched_spread(p); /* what had not started runs on the lanes that are idle now */
    if (crash)
        count_crash(p, w);
    if (w->exited || !w->spawned) /* else the guard may still speak of it, or be lost */
        list_remove(&w->node);
    pool_unlock(p);
    async_deliver(p, &done);
    worker_let_go(w);
    watch_ended(p, w);
    struct slot *s = &p->slots[w->slot];
    if (s->lost_generation == w->generation && s->lost_why == NULL)
        s->lost_why = exit_class_name(w->exit_class);
    keep_past(s, w);
    replace_worker(p, w, woken);
    report_end(p, w, crash, running);
    host_keep_dossier(p, w);
    if (crash)
        crash_health_look(p);
    if (life_is_failed_start(p, w))
        start_ended_badly(p, w);
    host_changed(p->host);
    pool_lock(p);
    bool last = worker_unref(w);
    pool_unlock(p);
    if (last)
        worker_free(w);
}

static void on_kill_work(struct loop_work *work)
{
    struct pool *p = LIST_ENTRY(work, struct pool, kill_work);
    replace_who_gave_way(p);
    for (;;) {
        struct worker *found = NULL;
        pool_lock(p);
        LIST_EACH(node, &p->workers)
        {
            struct worker *w = LIST_ENTRY(node, struct worker, node);
            if ((w->condemned != 0 || w->lost) && !w->dead)
                found = w;
        }
        pool_unlock(p);
        if (found == NULL)
            return;
        if (found->condemned != 0)
            worker_kill(found, found->condemned, found->condemned_text);
        else
            worker_lost(found);
    }
}

/* ---- guard ---- */

void pool_guard_lost(struct pool *p)
{
    struct worker *w;
    do {
        w = NULL;
        LIST_EACH(node, &p->workers)
        {
            struct worker *next = LIST_ENTRY(node, struct worker, node);
            if (!next->exited && next->spawned)
                w = next;
        }
        if (w != NULL)
            worker_guard_lost(w);
    } while (w != NULL);
}

void pool_guard_back(struct pool *p)
{
    for (unsigned i = 0; i < p->started; i++)
        if (p->slots[i].current == NULL && !loop_timer_armed(&p->slots[i].timer))
            life_start_slot(&p->slots[i]);
}

void life_init(struct pool *p)
{
    p->batch_timer.fn = on_batch_timer;
    p->kill_work.fn = on_kill_work;
    p->events.ready = on_ready;
    p->events.dead = on_dead;
    p->events.gone = on_gone;
    replace_init(p);
    recycle_init(p);
}
