/* Which call gets which lane, and when. Everything here runs under the pool's lock and is O(1).
 *
 * A freed lane goes to whoever comes first: a caller that makes call after call keeps its warm lane, which is what makes the
 * median small under contention. The head of the queue is woken to compete (`notified`), and once it has waited HAND_OVER_NS the next
 * free lane is given to it directly. */
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>

#include "pool/pool_internal.h"

pit_error *sched_admit(struct pool *p)
{
    if (p->state <= POOL_DEGRADED)
        return NULL;
    if (p->state != POOL_FAILED)
        return pool_closing(p);
    pit_error *e = error_new(PIT_E_POOL_NOT_INITIALIZED, "pool %s has no worker: %s", p->set.name,
                             p->hopeless ? "none can be started" : "every start failed");
    error_pool(e, p->set.name);
    return p->start_error != NULL ? error_cause_take(e, error_ref(p->start_error)) : e;
}

pit_error *sched_none_free(struct pool *p)
{
    pit_error *e =
        error_new(PIT_E_NO_WORKERS_AVAILABLE, "no worker of pool %s is free, and the call must not wait", p->set.name);
    return error_pool(e, p->set.name);
}

struct lane *sched_take(struct pool *p)
{
    struct list *node = list_pop_front(&p->idle);
    return node != NULL ? LIST_ENTRY(node, struct lane, node) : NULL;
}

void sched_watch(struct worker *w, uint32_t events)
{
    if (loop_modify(w->env->loop, &w->control_source, events) != 0)
        sched_condemn(w->pool, w, PIT_E_SYSTEM_ERROR, "it was killed: its control socket could not be watched");
}

/* A worker without rings talks on its control socket: while a caller holds the lane, it reads there, not the loop. */
void sched_hold_socket(struct lane *l, bool by_caller)
{
    struct worker *w = l->worker;
    if (w->is_ring || !w->control_open)
        return;
    sched_watch(w, by_caller ? 0 : EPOLLIN);
    if (!by_caller && channel_socket_has_read(l->channel)) /* what came in one go with the answer */
        async_attend(w->pool, l);
}

static void worker_busy(struct worker *w)
{
    if (w->busy_lanes++ == 0)
        worker_move(w, PIT_WORKER_BUSY);
}

static void worker_idle(struct worker *w)
{
    if (--w->busy_lanes == 0 && w->state == PIT_WORKER_BUSY)
        worker_move(w, PIT_WORKER_READY);
}

/* The thread of a blocking call tells of it by itself; of the others the loop, which also tells of their end: so the order is kept. */
void sched_note(struct pool *p, struct call *c, unsigned steps)
{
    const struct telemetry *t = p->env->telemetry;
    bool listed = c->untold != 0;
    if ((steps & CALL_ENQUEUED) != 0 && telemetry_wants(t, EVENT_POOL_QUEUE_ENQUEUED))
        c->untold |= CALL_ENQUEUED;
    if ((steps & CALL_DEQUEUED) != 0 && telemetry_wants(t, EVENT_POOL_QUEUE_DEQUEUED))
        c->untold |= CALL_DEQUEUED;
    if ((steps & CALL_DISPATCHED) != 0 && telemetry_wants(t, EVENT_POOL_CALL_DISPATCHED))
        c->untold |= CALL_DISPATCHED;
    if ((steps & CALL_RETRIED) != 0 && telemetry_wants(t, EVENT_CALL_RETRIED))
        c->untold |= CALL_RETRIED;
    if (c->waited_for || listed || c->untold == 0)
        return;
    list_push_back(&p->untold, &c->untold_node);
    loop_post(p->env->loop, &p->tell_work);
}

void sched_take_way(struct call *c, struct call_way *ret)
{
    ret->steps = c->untold;
    if (ret->steps == 0)
        return;
    c->untold = 0;
    ret->was_queued = c->was_queued;
    ret->queue_ns = c->queue_ns;
    ret->queue_depth = c->queue_depth;
    ret->call_id = c->sequence;
    ret->attempt = c->restarts + 1;
    ret->backoff_ns = c->backoff_ns;
    memcpy(ret->worker_id, c->worker_id, sizeof ret->worker_id);
}

void sched_assign(struct pool *p, struct lane *l, struct call *c, int owner)
{
    unsigned steps = CALL_DISPATCHED | (c->state == CALL_QUEUED ? (unsigned)CALL_DEQUEUED : 0);
    if (l->owner == LANE_IDLE)
        worker_busy(l->worker);
    if (!p->watched)
        watch_begin(p);
    if (l->owner == LANE_LOOP && owner != LANE_LOOP)
        list_remove(&l->node);
    if (owner == LANE_CALLER) {
        lane_move(l, LANE_CALLER);
        l->windowed = false;
        if (l->written_ahead)
            lane_tell_ahead(l, false);
        worker_ref(l->worker);
        sched_hold_socket(l, true);
    } else if (l->owner != LANE_LOOP) {
        lane_move(l, LANE_LOOP);
        list_push_back(&p->loop_lanes, &l->node);
    }
    call_move(c, CALL_SENT);
    c->sent_ns = c->was_queued ? pool_now(p) : c->entered_ns;
    c->lane = l;
    c->prefix = l->worker->prefix;
    call_seal(c, lane_push(l, c), c->sent_ns);
    if (c->observed || c->of_batch)
        memcpy(c->worker_id, l->worker->id, sizeof c->worker_id);
    if (c->observed)
        sched_note(p, c, steps);
}

/* An observed call whose worker makes its correlation id carries it from here on: what events tell stays true, whichever worker it gets. */
static void keep_id(struct pool *p, struct call *c)
{
    if (!c->observed || c->correlation_id != NULL)
        return;
    pool_correlation(p, c);
    call_carry_id(c);
}

pit_error *sched_enqueue(struct pool *p, struct call *c)
{
    if (p->queue.depth >= (size_t)p->set.max_queue_size) {
        p->saturated++;
        pit_error *e =
            error_new(PIT_E_POOL_SATURATED, "the queue of pool %s is full: %d calls wait", p->set.name, p->set.max_queue_size);
        error_pool(e, p->set.name);
        error_detail_take(e, "max_queue_size", pit_int(p->set.max_queue_size));
        return error_suggest(e, "more workers, a larger max_queue_size, or fewer calls at a time");
    }
    keep_id(p, c);
    call_move(c, CALL_QUEUED);
    c->queued_ns = pool_now(p);
    c->was_queued = true;
    c->notified = false;
    queue_push(&p->queue, c);
    c->queue_depth = p->queue.depth;
    p->queued_total++;
    if (c->observed)
        sched_note(p, c, CALL_ENQUEUED);
    return NULL;
}

void sched_unqueue(struct pool *p, struct call *c)
{
    enum { ALPHA_PERCENT = 20 };
    queue_remove(&p->queue, c);
    uint64_t waited = pool_now(p) - c->queued_ns;
    double ms = (double)waited / 1e6;
    c->queue_ns += waited;
    p->avg_queue_ms += (ms - p->avg_queue_ms) * ALPHA_PERCENT / 100;
    if (ms > p->max_queue_ms)
        p->max_queue_ms = ms;
}

void sched_forget(struct pool *p, struct call *c)
{
    if (c->state == CALL_QUEUED)
        sched_unqueue(p, c);
    else
        list_remove(&c->node);
}

void sched_requeue(struct pool *p, struct call *c)
{
    c->lane = NULL;
    c->notified = false;
    c->was_queued = true;
    c->queued_ns = pool_now(p);
    keep_id(p, c);
    call_move(c, CALL_QUEUED);
    queue_push_front(&p->queue, c);
    c->queue_depth = p->queue.depth;
    if (c->observed)
        sched_note(p, c, CALL_ENQUEUED);
}

void sched_wake(struct pool *p, struct call *c)
{
    __atomic_store_n(&c->wake, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->sleepers, __ATOMIC_SEQ_CST) != 0)
        p->env->os->futex_wake(&c->wake, INT_MAX);
}

/* The head of the queue may compete for the lanes that are idle now. */
void sched_spread(struct pool *p)
{
    struct call *head;
    while (!list_empty(&p->idle) && (head = queue_head(&p->queue)) != NULL && !head->waited_for) {
        sched_unqueue(p, head);
        async_dispatch(p, sched_take(p), head);
    }
    if (!list_empty(&p->idle) && (head = queue_head(&p->queue)) != NULL && !head->notified) {
        head->notified = true;
        sched_wake(p, head);
    }
}

bool sched_try(struct pool *p, struct call *c)
{
    struct lane *l = sched_take(p);
    if (l == NULL)
        return false;
    sched_unqueue(p, c);
    sched_assign(p, l, c, LANE_CALLER);
    sched_spread(p);
    return true;
}

/* Nobody gets it while its worker is aside. */
static void keep_aside(struct lane *l)
{
    list_remove(&l->node);
    if (l->owner == LANE_IDLE)
        return;
    lane_move(l, LANE_IDLE);
    worker_idle(l->worker);
}

void sched_free_lane(struct pool *p, struct lane *l)
{
    if (l->worker->aside) {
        keep_aside(l);
        return;
    }
    struct call *head = queue_head(&p->queue);
    if (head != NULL && head->waited_for && pool_now(p) - head->queued_ns >= HAND_OVER_NS) {
        sched_unqueue(p, head);
        sched_assign(p, l, head, LANE_CALLER);
        sched_wake(p, head);
        sched_spread(p); /* the head had been woken for another lane, which the next one may have now */
        return;
    }
    if (head != NULL && !head->waited_for) {
        sched_unqueue(p, head);
        async_dispatch(p, l, head);
        return;
    }
    if (l->owner == LANE_LOOP)
        list_remove(&l->node);
    if (l->owner != LANE_IDLE) {
        lane_move(l, LANE_IDLE);
        worker_idle(l->worker);
    }
    list_push_front(&p->idle, &l->node);
    sched_spread(p);
}

void sched_release(struct pool *p, struct lane *l)
{
    if (l->owner == LANE_CALLER)
        sched_hold_socket(l, false);
    if (!l->worker->dead && l->worker->condemned == 0) { /* who is about to be killed gets no call any more */
        if (l->worker->draining)
            sched_park(p, l);
        else
            sched_free_lane(p, l);
        return;
    }
    list_remove(&l->node);
    lane_move(l, LANE_CLOSED);
    worker_idle(l->worker);
}

void sched_finish(struct pool *p, struct call *c, struct outcome o)
{
    if (c->restarts != 0 && c->state != CALL_DONE)
        barrier_settle(c, &o);
    int rc = o.rc;
    if (!call_finish(c, o))
        return;
    p->active--;
    if (rc == 0)
        p->succeeded++;
    else
        p->errors++;
    if (rc == PIT_E_QUEUE_TIMEOUT)
        p->queue_timeouts++;
    if (rc == PIT_E_CANCELLED)
        p->cancelled++;
    if (!c->waited_for && !c->of_batch &&
        c->stream ==
            NULL) /* of a stream what it gave is told first; who sleeps on it is woken when a whole batch is settled, outside the lock */
        __atomic_store_n(&c->wake, 1, __ATOMIC_SEQ_CST);
}

void sched_condemn(struct pool *p, struct worker *w, int code, const char *text)
{
    if (w->dead || w->condemned != 0)
        return;
    w->condemned = code;
    w->condemned_text = text;
    loop_post(p->env->loop, &p->kill_work);
}

void sched_lost(struct pool *p, struct worker *w)
{
    if (w->dead || w->lost)
        return;
    w->lost = true;
    loop_post(p->env->loop, &p->kill_work);
}
