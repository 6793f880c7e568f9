/* Watching the workers of a pool while they run calls: when to look, and what follows. The policy is fault/heartbeat.h's, the asking worker/heartbeat.h's.
 *
 *   nobody is watched --a call begins (sched_assign)--> a look an interval later --> the next when the policy says --> nobody has a call
 *
 * Invariants
 *  1. A pool in which no call runs has no timer, and its workers are never woken.
 *  2. A call costs one branch, and the first one after a quiet interval one post to the loop.
 *  3. `watched` goes back to false before the workers are looked at: a call that begins meanwhile is not overlooked.
 *
 * Failure: none; without memory nothing is needed. Thread: loop, but for watch_begin. */
#include "pool/pool_internal.h"

void watch_begin(struct pool *p)
{
    p->watched = true;
    loop_post(p->env->loop, &p->watch_work);
}

/* lock */
static void judge(struct pool *p, struct worker *w, unsigned what)
{
    p->pings += (what & HEARTBEAT_PING) != 0;
    p->pongs += (what & HEARTBEAT_PONG) != 0;
    p->missed_heartbeats += (what & HEARTBEAT_MISSED) != 0;
    if ((what & HEARTBEAT_KILL) != 0)
        sched_condemn(p, w, PIT_E_HEARTBEAT_TIMEOUT, "it did not answer its heartbeats while a call ran, and was killed");
}

/* When to look at it again. */
static uint64_t look_at(struct pool *p, struct worker *w)
{
    struct beat_news news;
    pool_lock(p);
    if (w->dead || w->ready_ns == 0)
        worker_beat_end(w, &news);
    else
        worker_beat_look(w, &p->set.heartbeat, pool_now(p), &news);
    judge(p, w, news.step.what);
    if (news.broken)
        sched_condemn(p, w, PIT_E_PROTOCOL_ERROR, "it does not read its control socket, and was killed");
    pool_unlock(p);
    if (news.step.what != 0)
        worker_beat_tell(w, &p->set.heartbeat, &news);
    return news.step.due_ns;
}

void watch_ended(struct pool *p, struct worker *w)
{
    struct beat_news news;
    pool_lock(p);
    worker_beat_end(w, &news);
    pool_unlock(p);
    if (news.step.what != 0)
        worker_beat_tell(w, &p->set.heartbeat, &news);
}

static void on_watch_timer(struct loop_timer *t)
{
    struct pool *p = LIST_ENTRY(t, struct pool, watch_timer);
    uint64_t due = UINT64_MAX;
    pool_lock(p);
    p->watched = false;
    pool_unlock(p);
    LIST_EACH(node, &p->workers) /* only this thread changes the list, and nothing that is called here does */
    {
        uint64_t next = look_at(p, LIST_ENTRY(node, struct worker, node));
        due = next < due ? next : due;
    }
    if (due == UINT64_MAX)
        return;
    pool_lock(p);
    p->watched = true;
    pool_unlock(p);
    loop_timer_set(p->env->loop, t, due);
}

static void on_watch_work(struct loop_work *w)
{
    struct pool *p = LIST_ENTRY(w, struct pool, watch_work);
    if (!loop_timer_armed(&p->watch_timer))
        loop_timer_set(p->env->loop, &p->watch_timer, pool_now(p) + p->set.heartbeat.policy.interval_ns);
}

/* ---- health ---- */

enum { ILL_AFTER = 2 /* failed checks in a row */ };

static uint64_t ask_health(struct pool *p, struct worker *w)
{
    struct health_news news;
    pool_lock(p);
    worker_health_look(w, &p->set.health, pool_now(p), &news);
    if ((news.what & HEALTH_FAILED) != 0 && news.failures >= ILL_AFTER)
        pool_recycle(p, w, RECYCLE_HEALTH);
    if ((news.what & HEALTH_BROKEN) != 0)
        sched_condemn(p, w, PIT_E_PROTOCOL_ERROR, "it does not read its control socket, and was killed");
    pool_unlock(p);
    worker_health_tell(w, &news);
    return news.due_ns;
}

static void look_at_health(struct pool *p)
{
    uint64_t due = UINT64_MAX;
    LIST_EACH(node, &p->workers)
    {
        uint64_t next = ask_health(p, LIST_ENTRY(node, struct worker, node));
        due = next < due ? next : due;
    }
    if (due != UINT64_MAX)
        loop_timer_set(p->env->loop, &p->health_timer, due);
}

static void on_health_timer(struct loop_timer *t)
{
    look_at_health(LIST_ENTRY(t, struct pool, health_timer));
}

static void on_health_work(struct loop_work *w)
{
    look_at_health(LIST_ENTRY(w, struct pool, health_work));
}

static void on_replied(struct worker *w)
{
    struct pool *p = w->pool;
    loop_post(p->env->loop, &p->health_work);
}

void watch_ready(struct pool *p, const struct worker *w)
{
    if ((w->capabilities & WORKER_HAS_HEALTH) != 0)
        loop_post(p->env->loop, &p->health_work);
}

void watch_init(struct pool *p)
{
    p->watch_work.fn = on_watch_work;
    p->watch_timer.fn = on_watch_timer;
    p->watched = !p->set.heartbeat.enabled;
    p->health_work.fn = on_health_work;
    p->health_timer.fn = on_health_timer;
    p->events.replied = on_replied;
}
