/* Recycling: a worker that has served long enough makes room for a fresh one without a call noticing. Loop thread, unless said otherwise.
 *
 *   wanted --there is room among the parallel ones--> its lanes take no new calls, a spare starts in its slot
 *     spare ready  -> it has the slot; the old one is stopped as soon as its last call has ended, or is cut off at drain_timeout_ms
 *     spare failed -> the old one takes calls again
 *     old one dies -> the spare is its successor
 *
 * Who is asked for by hand while it starts is wanted, too, and its turn comes when it is ready.
 *
 * Invariants
 *  1. A worker that drains is one more than the target, and so is its spare: live and starting workers never exceed target + draining.
 *  2. The only ready worker of a pool takes calls until its spare is ready: recycling leaves no pool without a worker.
 *  3. No call is cut off before the spare is ready.
 *  4. At most recycle_max_parallel of a pool and RECYCLE_MOST of a host at a time; who is wanted beyond that waits for a place.
 *
 * Failure: a spare that fails is told as any start that fails, and the next look (or request) tries again. */
#include <stdio.h>
#include <string.h>

#include "pool/cancel.h"
#include "pool/pool_internal.h"
#include "pool/pool_list.h"
#include "pool/stream.h"

enum { RECYCLE_MOST = 8 };

static struct slot *slot_of(const struct worker *w)
{
    return &((struct pool *)w->pool)->slots[w->slot];
}

/* ---- asking for it ---- */

static void park_idle(struct pool *p, struct worker *w)
{
    for (uint32_t i = 0; i < p->config.lanes; i++)
        if (w->lanes[i].owner == LANE_IDLE)
            list_remove(&w->lanes[i].node);
}

void pool_recycle(struct pool *p, struct worker *w, enum recycle_reason why)
{
    if (w->recycle.why != RECYCLE_NONE || w->state > PIT_WORKER_BUSY || w->dead || w->condemned != 0)
        return;
    w->recycle.why = why;
    loop_post(p->env->loop, &p->recycle_work);
}

void pool_retire(struct pool *p, struct worker *w, enum recycle_reason why)
{
    if (w->dead || w->condemned != 0 || w->recycle.replaced)
        return;
    if (!w->draining && worker_move(w, PIT_WORKER_DRAINING)) {
        w->draining = true;
        park_idle(p, w);
        spares_promote(p);
        taint_review(p);
    }
    w->recycle.why = why;
    if (w->recycle.begun) /* its spare is on the way */
        return;
    p->recycled[why]++;
    w->recycle.replaced = true;
    if (p->set.drain_timeout_ms != PIT_INFINITE) /* of other lanes' calls */
        loop_timer_set(p->env->loop, &w->recycle.timer, pool_now(p) + (uint64_t)p->set.drain_timeout_ms * MS);
    loop_post(p->env->loop, &p->recycle_work);
}

static struct worker *find_worker(struct pool *p, const char *id)
{
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (!w->dead && strcmp(w->id, id) == 0)
            return w;
    }
    return NULL;
}

struct search {
    struct pool *pool; /* where it must be; NULL: anywhere */
    const char *id;
    const char *found_in;
};

static void recycle_there(struct pool *p, void *arg)
{
    struct search *s = arg;
    pool_lock(p);
    struct worker *w = find_worker(p, s->id);
    if (w != NULL)
        s->found_in = p->set.name;
    if (w != NULL && (s->pool == NULL || s->pool == p))
        pool_recycle(p, w, RECYCLE_MANUAL);
    pool_unlock(p);
}

pit_error *host_recycle(struct host *h, struct pool *pool, const char *worker_id)
{
    struct search s = {.pool = pool, .id = worker_id};
    host_each_pool(h, recycle_there, &s);
    pit_error *e = NULL;
    if (s.found_in == NULL)
        e = error_suggest(error_new(PIT_E_WORKER_NOT_FOUND, "there is no worker %.96s", worker_id),
                          "pit_list_workers tells the ids; a worker that was replaced has got another generation");
    else if (pool != NULL && strcmp(s.found_in, pool->set.name) != 0)
        e = error_new(PIT_E_POOL_MISMATCH, "worker %.96s belongs to pool %s, not to %s", worker_id, s.found_in, pool->set.name);
    return e != NULL ? error_worker(e, worker_id) : NULL;
}

/* ---- draining ---- */

static void drain(struct pool *p, struct worker *w)
{
    pool_lock(p);
    bool go = !w->draining && worker_move(w, PIT_WORKER_DRAINING);
    w->draining = w->draining || go;
    if (go) {
        park_idle(p, w);
        spares_promote(p);
        taint_review(p);
    }
    pool_unlock(p);
    if (go && p->set.drain_timeout_ms != PIT_INFINITE)
        loop_timer_set(p->env->loop, &w->recycle.timer, pool_now(p) + (uint64_t)p->set.drain_timeout_ms * MS);
}

/* Its spare has failed: it serves on. */
static void take_back(struct pool *p, struct worker *w)
{
    loop_timer_stop(p->env->loop, &w->recycle.timer);
    pool_lock(p);
    w->recycle.begun = w->recycle.overdue = false;
    if (w->recycle.why == RECYCLE_CANCELLED) { /* it cannot */
        pool_retire(p, w, RECYCLE_CANCELLED);
        pool_unlock(p);
        return;
    }
    w->recycle.why = RECYCLE_NONE;
    bool drained = w->draining && p->state < POOL_STOPPING;
    w->draining = w->draining && !drained;
    if (drained)
        worker_move(w, w->busy_lanes != 0 ? PIT_WORKER_BUSY : PIT_WORKER_READY);
    if (drained && w->busy_lanes == 0)
        spares_add(p, w); /* another may serve in its place already */
    for (uint32_t i = 0; drained && w->busy_lanes != 0 && i < p->config.lanes; i++)
        if (w->lanes[i].owner == LANE_IDLE)
            sched_free_lane(p, &w->lanes[i]);
    taint_review(p);
    pool_unlock(p);
    if (drained)
        log_line(p->env->log, PIT_LOG_WARNING, "worker %s stays: the one that was to replace it did not start", w->id);
}

void sched_park(struct pool *p, struct lane *l)
{
    list_remove(&l->node);
    lane_move(l, LANE_IDLE);
    if (--l->worker->busy_lanes == 0)
        loop_post(p->env->loop, &p->recycle_work);
}

/* ---- the end ---- */

/* lock: calls of the loop on this lane. */
static void end_calls(struct pool *p, struct lane *l, struct list *done)
{
    async_take_back(p, l);
    for (unsigned i = l->count; i-- > 0;) {
        struct call *c = lane_at(l, i)->call;
        if (c != NULL)
            cancel_end(p, c, recycled_error(p, c), RECYCLED_REASON, done);
    }
}

/* Its calls have had their time: their callers are answered, and what runs on climbs the ladder. A caller who rides his lane finds that out when he is
 * roused. One who waits on a socket cannot be: he learns of it from his worker, by the flag, or with its end. */
static void cut_off(struct pool *p, struct worker *w)
{
    struct list done;
    bool deaf = false, again = w->recycle.cut;
    list_init(&done);
    pool_lock(p);
    __atomic_store_n(&w->recycle.cut, true, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < p->config.lanes; i++) {
        struct lane *l = &w->lanes[i];
        stream_take_over_lane(p, l);
        if (l->owner == LANE_LOOP) {
            end_calls(p, l, &done);
        } else if (l->owner == LANE_CALLER && l->channel->ops->rouse != NULL) {
            l->channel->ops->rouse(l->channel);
        } else if (l->owner == LANE_CALLER) {
            lane_flag_cancel(l, lane_inner(l)->sequence);
            deaf = true;
        }
        /* no ladder ends a thread: one that is still at work a grace later is left to itself */
        deaf = deaf || (pool_has_adapter(p) && (l->owner == LANE_LOOP || l->owner == LANE_CALLER));
    }
    sched_spread(p);
    pool_unlock(p);
    async_deliver(p, &done);
    if (deaf && (again || p->set.cancel_grace_ms == 0))
        worker_kill(w, PIT_E_WORKER_RECYCLED, "it was recycled, and the call had not ended after drain_timeout_ms");
    else if (deaf)
        loop_timer_set(p->env->loop, &w->recycle.timer, pool_now(p) + (uint64_t)p->set.cancel_grace_ms * MS);
}

static void on_drain_timer(struct loop_timer *t)
{
    struct worker *w = LIST_ENTRY(t, struct worker, recycle.timer);
    if (w->recycle.replaced)
        cut_off(w->pool, w);
    else
        w->recycle.overdue = true; /* not before its spare is ready */
}

/* It has been replaced: it goes as soon as it has nothing to do. */
static void retire(struct pool *p, struct worker *w)
{
    pool_lock(p);
    bool idle = w->busy_lanes == 0;
    pool_unlock(p);
    if (idle)
        worker_stop(w);
}

static const char *threshold_text(const struct pool *p, char text[24])
{
    snprintf(text, 24, "%llu", (unsigned long long)(p->set.recycle.memory_bytes >> 20));
    return p->set.recycle.memory_bytes != 0 ? text : NULL;
}

static void report(struct pool *p, const struct worker *w)
{
    enum recycle_reason why = w->recycle.why;
    log_line(p->env->log, PIT_LOG_INFO, "worker %s was recycled: %s", w->id, recycle_reason_text(why));
    if (!telemetry_wants(p->env->telemetry, EVENT_WORKER_RECYCLED))
        return;
    struct event_common common = worker_common(w);
    char text[24];
    const double numbers[] = {1, (double)w->recycle.memory_bytes / 1048576, (double)(pool_now(p) - w->ready_ns) / 1e9,
                              (double)worker_calls(w)};
    const char *texts[] = {recycle_reason_name(why), threshold_text(p, text)};
    telemetry_emit(p->env->telemetry, EVENT_WORKER_RECYCLED, &common, numbers, texts);
}

/* ---- the steps ---- */

/* One place among the parallel ones is free, of this pool and of all. */
static void leave_place(struct pool *p)
{
    p->recycling--;
    p->host->recycling--;
    LIST_EACH(node, &p->host->pools)
    loop_post(p->env->loop, &LIST_ENTRY(node, struct pool, node)->recycle_work);
}

static bool begin(struct pool *p, struct worker *w)
{
    struct slot *s = slot_of(w);
    if (s->current != w || s->next != NULL || !pool_can_start(p))
        return false;
    w->recycle.begun = true;
    p->recycling++;
    p->host->recycling++;
    pool_lock(p);
    unsigned ready = pool_count_ready(p);
    pool_unlock(p);
    if (ready > 1)
        drain(p, w);
    if (!life_start_spare(s)) {
        take_back(p, w);
        leave_place(p);
    }
    return true;
}

static bool has_room(const struct pool *p)
{
    return p->recycling < (unsigned)p->set.recycle_max_parallel && p->host->recycling < RECYCLE_MOST &&
           p->state < POOL_STOPPING;
}

static void on_recycle_work(struct loop_work *work)
{
    struct pool *p = LIST_ENTRY(work, struct pool, recycle_work);
    for (;;) {
        struct worker *next = NULL, *done = NULL;
        pool_lock(p);
        LIST_EACH(node, &p->workers)
        {
            struct worker *w = LIST_ENTRY(node, struct worker, node);
            bool wanted = w->recycle.why != RECYCLE_NONE && w->state != PIT_WORKER_STARTING && !w->dead;
            if (wanted && !w->recycle.begun && next == NULL && has_room(p))
                next = w;
            if (wanted && w->recycle.replaced && w->busy_lanes == 0)
                done = w;
        }
        pool_unlock(p);
        if (done != NULL)
            worker_stop(done);
        else if (next == NULL || !begin(p, next) || !next->recycle.begun)
            return; /* a start that fails at once, for the guard has gone, is not tried again before the loop has seen that */
    }
}

void recycle_ready(struct pool *p, struct worker *w)
{
    struct slot *s = slot_of(w);
    uint32_t noise = 0;
    if (p->set.recycle.ttl_ns != 0)
        p->env->os->random(&noise, sizeof noise); /* without it all end together, which is no harm to speak of */
    struct worker *old = w->recycle.spare ? s->current : NULL;
    pool_lock(p);
    w->recycle.ttl_ns = recycle_jittered(&p->set.recycle, noise);
    w->recycle.spare = false;
    if (w->recycle.why != RECYCLE_NONE) /* while it started */
        loop_post(p->env->loop, &p->recycle_work);
    s->current = w;
    if (old != NULL) {
        s->next = NULL;
        p->recycled[old->recycle.why]++;
        old->recycle.replaced = true;
    }
    pool_unlock(p);
    if (old == NULL)
        return;
    drain(p, old);
    if (old->recycle.overdue)
        cut_off(p, old);
    else
        retire(p, old);
}

void recycle_dead(struct pool *p, struct worker *w)
{
    struct slot *s = slot_of(w);
    loop_timer_stop(p->env->loop, &w->recycle.timer);
    if (s->next == w) { /* the spare */
        s->next = NULL;
        take_back(p, s->current);
        leave_place(p);
        return;
    }
    if (!w->recycle.begun) {
        if (w->recycle.replaced)
            report(p, w); /* pool_retire: its successor comes now */
        return;
    }
    if (s->current == w && s->next != NULL) { /* before its time: the spare is there already */
        pool_lock(p);
        s->next->recycle.spare = false;
        s->current = s->next;
        s->next = NULL;
        pool_unlock(p);
    }
    if (w->recycle.replaced)
        report(p, w);
    leave_place(p);
}

/* ---- looking ---- */

struct recycle_facts recycle_facts_of(const struct pool *p, const struct worker *w)
{
    return (struct recycle_facts){.age_ns = pool_now(p) - w->ready_ns,
                                  .ttl_ns = w->recycle.ttl_ns,
                                  .calls = worker_calls(w),
                                  .memory_bytes = w->recycle.memory_bytes,
                                  .leak = &w->recycle.leak};
}

static void on_scan(struct loop_timer *t)
{
    struct pool *p = LIST_ENTRY(t, struct pool, scan_timer);
    pool_lock(p);
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (w->dead || (w->state != PIT_WORKER_READY && w->state != PIT_WORKER_BUSY))
            continue;
        struct recycle_facts facts = recycle_facts_of(p, w);
        facts.memory_bytes = 0; /* that is judged when it is looked at */
        enum recycle_reason why = recycle_judge(&p->set.recycle, &facts);
        if (why != RECYCLE_NONE)
            pool_recycle(p, w, why);
    }
    pool_unlock(p);
    if (p->set.recycle.memory_bytes != 0)
        probe_begin(&p->probe);
    recycle_scan_later(p);
}

/* The log has it once, until a look succeeds: it would be there again with every scan. */
static void report_probe_failed(struct pool *p, const struct worker *w, int error)
{
    if (!p->probe.told)
        log_line(p->env->log, PIT_LOG_WARNING,
                 "pool %s: the memory of its workers cannot be looked at, nobody is recycled for it: %s", p->set.name,
                 strerror(error));
    p->probe.told = true;
    if (!telemetry_wants(p->env->telemetry, EVENT_LIFECYCLE_PROBE_FAILED))
        return;
    struct event_common common = w != NULL ? worker_common(w) : (struct event_common){.pool = p->set.name};
    const char *texts[] = {strerror(error)};
    telemetry_emit(p->env->telemetry, EVENT_LIFECYCLE_PROBE_FAILED, &common, NULL, texts);
}

static void report_forecast(struct pool *p, const struct worker *w)
{
    double slope = 0;
    if (!telemetry_wants(p->env->telemetry, EVENT_WORKER_LEAK_FORECAST) || !leak_slope(&w->recycle.leak, &slope))
        return;
    char text[24];
    struct event_common common = worker_common(w);
    const double numbers[] = {slope * 1000 / 1024, leak_calls_left(&w->recycle.leak, slope, p->set.recycle.memory_bytes)};
    const char *texts[] = {threshold_text(p, text)};
    telemetry_emit(p->env->telemetry, EVENT_WORKER_LEAK_FORECAST, &common, numbers, texts);
}

void recycle_seen(struct pool *p, int slot, uint64_t generation, int rc, uint64_t bytes)
{
    struct worker *w = slot >= 0 ? p->slots[slot].current : NULL;
    if (slot >= 0 && (w == NULL || w->dead || w->generation != generation))
        return; /* it has ended meanwhile */
    if (rc != 0) {
        report_probe_failed(p, w, -rc);
        return;
    }
    p->probe.told = false;
    pool_lock(p);
    w->recycle.memory_bytes = bytes;
    leak_add(&w->recycle.leak, worker_calls(w), bytes);
    struct recycle_facts facts = recycle_facts_of(p, w);
    enum recycle_reason why = w->recycle.why == RECYCLE_NONE ? recycle_judge(&p->set.recycle, &facts) : RECYCLE_NONE;
    if (why != RECYCLE_NONE)
        pool_recycle(p, w, why);
    pool_unlock(p);
    if (why == RECYCLE_LEAK_FORECAST)
        report_forecast(p, w);
}

void recycle_scan_later(struct pool *p)
{
    if (recycle_has_rules(&p->set.recycle))
        loop_timer_set(p->env->loop, &p->scan_timer, pool_now(p) + (uint64_t)p->set.lifecycle_check_interval_ms * MS);
}

void recycle_init(struct pool *p)
{
    p->recycle_work.fn = on_recycle_work;
    p->scan_timer.fn = on_scan;
    probe_init(&p->probe, p);
}

void recycle_init_worker(struct worker *w)
{
    w->recycle.timer.fn = on_drain_timer;
}
