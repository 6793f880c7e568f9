/* Replacing workers that have ended: when the successor starts, and a pool that has lost too many. The rules are fault/restart.h's. Loop thread.
 *
 * Failure: nothing here can; a start that fails comes back as replace_failed_start(). */
#include "pool/pool_internal.h"

#define GIVE_WAY_NS MS

/* ---- a pool that is degraded ---- */

/* s: the slot that must wait. */
static void become_degraded(struct pool *p, const struct slot *s)
{
    pool_lock(p);
    bool moved = pool_move(p, POOL_DEGRADED);
    pool_unlock(p);
    if (!loop_timer_armed(&p->calm_timer))
        loop_timer_set(p->env->loop, &p->calm_timer, p->restart.calm_ns);
    if (!moved)
        return;
    const double numbers[] = {p->set.restart.max_restarts, (double)p->set.restart.window_ns / 1e6};
    const char *texts[] = {s->start_failed ? pit_error_name(p->start_error) : s->lost_why,
                           s->start_failed ? pit_error_message(p->start_error) : NULL};
    log_line(p->env->log, PIT_LOG_WARNING,
             "pool %s is degraded: %.0f workers were replaced within %.0f ms; starts are held back (the last reason: %s)",
             p->set.name, numbers[0], numbers[1], texts[0] != NULL ? texts[0] : "not known");
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_DEGRADED)) {
        struct event_common common = pool_common(p);
        telemetry_emit(p->env->telemetry, EVENT_POOL_DEGRADED, &common, numbers, texts);
    }
    host_changed(p->host);
}

static void on_calm(struct loop_timer *t)
{
    struct pool *p = LIST_ENTRY(t, struct pool, calm_timer);
    uint64_t now = pool_now(p);
    if (!restart_pool_recovers(&p->restart, now)) {
        loop_timer_set(p->env->loop, t, p->restart.calm_ns);
        return;
    }
    pool_lock(p);
    bool moved = p->state == POOL_DEGRADED && pool_move(p, POOL_RUNNING);
    pool_unlock(p);
    if (!moved)
        return;
    double ms = (double)(now - p->restart.since_ns) / 1e6;
    log_line(p->env->log, PIT_LOG_INFO, "pool %s is degraded no more, after %.0f ms", p->set.name, ms);
    if (telemetry_wants(p->env->telemetry, EVENT_POOL_RECOVERED)) {
        struct event_common common = pool_common(p);
        telemetry_emit(p->env->telemetry, EVENT_POOL_RECOVERED, &common, &ms, NULL);
    }
    host_changed(p->host);
}

/* ---- successors ---- */

/* Its next start waits until then; 0: it does not wait any more. */
static void hold(struct slot *s, uint64_t until_ns)
{
    struct pool *p = s->pool;
    pool_lock(p);
    s->held_until_ns = until_ns;
    pool_unlock(p);
    if (until_ns != 0)
        loop_timer_set(p->env->loop, &s->timer, until_ns);
}

static void start_successor(struct slot *s)
{
    struct pool *p = s->pool;
    uint64_t again = s->counts ? restart_pool_ask(&p->restart, &p->set.restart, pool_now(p)) : 0;
    if (again != 0) {
        hold(s, again);
        become_degraded(p, s);
        return;
    }
    s->counts = false;
    if (s->held_until_ns != 0)
        hold(s, 0);
    life_start_slot(s);
}

static void on_slot_timer(struct loop_timer *t)
{
    struct slot *s = LIST_ENTRY(t, struct slot, timer);
    s->gives_way = false;
    start_successor(s);
}

void replace_who_gave_way(struct pool *p)
{
    for (int i = 0; i < p->n_slots; i++) {
        struct slot *s = &p->slots[i];
        if (!s->gives_way)
            continue;
        loop_timer_stop(p->env->loop, &s->timer);
        on_slot_timer(&s->timer);
    }
}

bool replace_is_ours(const struct worker *w)
{
    return w->end_code == PIT_E_WORKER_KILLED || w->end_code == PIT_E_WORKER_RECYCLED || w->end_code == PIT_E_GUARD_LOST ||
           w->end_code == PIT_E_SHUTTING_DOWN;
}

/* After a death that was not our doing this waits for the exit status, which comes in the next moment: the guard tells it before it
 * forks, and the caller who waits for it comes first. gives_way: a caller has been woken, on this CPU most likely, since the dying
 * worker has another: it runs when the loop sleeps, and calls us back. */
void replace_worker(struct pool *p, struct worker *w, bool gives_way)
{
    struct slot *s = &p->slots[w->slot];
    if (!w->replace)
        return;
    w->replace = false;
    pool_lock(p);
    p->restarts++;
    pool_unlock(p);
    uint64_t now = pool_now(p);
    enum restart_outcome outcome = replace_is_ours(w) ? RESTART_OURS : RESTART_DIED;
    uint64_t delay = restart_slot_ended(&s->restart, &p->set.restart, now, outcome, now - w->ready_ns);
    s->counts = outcome == RESTART_DIED;
    if (delay == 0 && !gives_way) {
        start_successor(s);
        return;
    }
    if (delay == 0) {
        s->gives_way = true;
        loop_timer_set(p->env->loop, &s->timer, now + GIVE_WAY_NS);
        return;
    }
    log_line(p->env->log, PIT_LOG_WARNING, "pool %s: slot %d dies too often; its next start is in %llu ms", p->set.name,
             w->slot, (unsigned long long)(delay / MS));
    hold(s, now + delay);
}

void replace_failed_start(struct pool *p, struct worker *w)
{
    struct slot *s = &p->slots[w->slot];
    uint64_t now = pool_now(p);
    s->counts = true;
    hold(s, now + restart_slot_ended(&s->restart, &p->set.restart, now, RESTART_FAILED, 0));
}

void replace_init(struct pool *p)
{
    p->calm_timer.fn = on_calm;
    for (int i = 0; i < p->n_slots; i++)
        p->slots[i] = (struct slot){.pool = p, .timer = {.fn = on_slot_timer}};
}
