/* See barrier.h. Any thread that holds the lock takes a call in; the loop lets it go on.
 *
 *   SENT --its worker died, it may run again--> BACKOFF --its time has come--> QUEUED, at the head of its priority
 *   without a back-off: SENT -> QUEUED at once
 *
 * Failure: nothing here can. */
#include "pool/barrier.h"

#include "pool/pool_internal.h"

/* Not what we ended, nor what the guard's loss ended. */
static bool is_crash(const struct worker *w)
{
    return w->end_code == 0 || w->end_code == PIT_E_WORKER_CRASH;
}

static uint64_t queue_deadline(const struct pool *p, const struct call *c)
{
    uint64_t due;
    if (c->of_batch || p->set.queue_timeout_ms == PIT_INFINITE ||
        __builtin_add_overflow(c->retry_ns, (uint64_t)p->set.queue_timeout_ms * MS, &due))
        return c->deadline_ns;
    return due < c->deadline_ns ? due : c->deadline_ns;
}

static bool may_run_twice(struct pool *p, const struct call *c)
{
    if (c->unrepeatable) /* what its tool did cannot be taken back */
        return false;
    return c->idempotent == PIT_ON || (c->idempotent == 0 && pit_value_get(p->repeatable, c->command) != NULL);
}

static void put_off(struct pool *p, struct call *c)
{
    struct list *before = p->barrier.waiting.prev;
    while (before != &p->barrier.waiting && LIST_ENTRY(before, struct call, node)->retry_ns > c->retry_ns)
        before = before->prev;
    call_move(c, CALL_BACKOFF);
    list_insert_after(before, &c->node);
    if (before == &p->barrier.waiting)
        loop_post(p->env->loop, &p->barrier.work);
}

bool barrier_takes(struct pool *p, const struct lane *l, struct call *c, pit_error **e)
{
    const struct worker *w = l->worker;
    uint64_t now = pool_now(p), at;
    bool poison = is_crash(w) && poison_death(p, l, c, *e);
    if (c->stream != NULL) /* its reader has had some of it, perhaps */
        return false;
    if (!is_crash(w) || p->state > POOL_DEGRADED ||
        !barrier_retries(&p->set.barrier, may_run_twice(p, c), c->restarts, now, c->deadline_ns, &at))
        return false;
    if (poison) { /* it would run again, and must not */
        pit_error *refused = poison_refuse(p, c);
        *e = refused != NULL ? error_cause_take(refused, *e) : *e;
        return false;
    }
    pit_error_free(c->crash);
    c->crash = *e;
    *e = NULL;
    c->restarts++;
    p->barrier.retries++;
    c->backoff_ns = at - now;
    c->retry_ns = at;
    c->queue_deadline_ns = queue_deadline(p, c);
    c->taken_back = true; /* nobody else's call stands behind it */
    c->window = 1;
    c->called_tools = false; /* the next worker has not begun */
    if (c->observed)
        sched_note(p, c, CALL_RETRIED);
    if (at == now)
        sched_requeue(p, c);
    else
        put_off(p, c);
    if (!c->waited_for)
        async_expire_at(p, c, c->state == CALL_QUEUED ? c->queue_deadline_ns : c->deadline_ns);
    return true;
}

struct call *barrier_first(struct pool *p)
{
    struct list *node = list_first(&p->barrier.waiting);
    return node != NULL ? LIST_ENTRY(node, struct call, node) : NULL;
}

static bool never_ran(int rc)
{
    return rc == PIT_E_QUEUE_TIMEOUT || rc == PIT_E_POOL_NOT_INITIALIZED;
}

void barrier_settle(struct call *c, struct outcome *o)
{
    pit_error *crash = c->crash;
    c->crash = NULL;
    if (o->error == NULL) {
        pit_error_free(crash);
        return;
    }
    if (never_ran(o->rc)) { /* it did: how that ended is the outcome, and why there was no other run its cause */
        error_cause_take(crash, o->error);
        *o = outcome_failed(crash);
    } else if (pit_error_cause(o->error) == NULL) {
        error_cause_take(o->error, crash);
    } else {
        pit_error_free(crash);
    }
    error_detail_take(o->error, "attempts", pit_uint(c->restarts + 1));
}

static void on_due(struct loop_timer *t)
{
    struct pool *p = LIST_ENTRY(t, struct pool, barrier.timer);
    struct list *node;
    uint64_t now = pool_now(p), next = UINT64_MAX;
    pool_lock(p);
    while ((node = list_first(&p->barrier.waiting)) != NULL) {
        struct call *c = LIST_ENTRY(node, struct call, node);
        if (c->retry_ns > now) {
            next = c->retry_ns;
            break;
        }
        list_remove(node);
        sched_requeue(p, c);
        if (c->waited_for)
            sched_wake(p, c); /* it waits for another time now, and perhaps for a lane */
        else
            async_expire_at(p, c, c->queue_deadline_ns);
    }
    sched_spread(p);
    pool_unlock(p);
    if (next != UINT64_MAX)
        loop_timer_set(p->env->loop, t, next);
}

static void on_work(struct loop_work *w)
{
    on_due(&LIST_ENTRY(w, struct pool, barrier.work)->barrier.timer);
}

void barrier_init(struct pool *p)
{
    list_init(&p->barrier.waiting);
    p->barrier.timer.fn = on_due;
    p->barrier.work.fn = on_work;
}
