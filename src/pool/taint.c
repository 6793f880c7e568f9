/* See taint.h. Whoever changes something holds the lock; events are told by the loop.
 *
 * Failure: nothing here can. */
#include "pool/taint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pool_internal.h"
#include "pool/pool_list.h"

static struct tainted *tainted_of(struct pool *p, int slot)
{
    return &p->slots[slot].tainted;
}

static bool is_tainted(struct pool *p, const struct worker *w)
{
    return taint_meets(&tainted_of(p, w->slot)->taint, w->generation);
}

/* ---- who gets calls ---- */

static bool serves(const struct worker *w)
{
    return !w->dead && w->condemned == 0 && (w->flags & PIT_WORKER_FLAG_SPARE) == 0 &&
           (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY);
}

static void put_aside(struct pool *p, struct worker *w)
{
    if (w->aside)
        return;
    w->aside = true;
    for (uint32_t i = 0; i < p->config.lanes; i++)
        if (w->lanes[i].owner == LANE_IDLE)
            list_remove(&w->lanes[i].node);
}

static void let_serve(struct pool *p, struct worker *w)
{
    if (!w->aside)
        return;
    w->aside = false;
    for (uint32_t i = 0; i < p->config.lanes; i++)
        if (w->lanes[i].owner == LANE_IDLE)
            sched_free_lane(p, &w->lanes[i]);
}

/* The tainted one that takes calls: none while another serves. */
static struct worker *last_resort(struct pool *p)
{
    struct worker *oldest = NULL;
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (!serves(w))
            continue;
        if (!is_tainted(p, w))
            return NULL;
        if (oldest == NULL || tainted_of(p, w->slot)->taint.since_ns < tainted_of(p, oldest->slot)->taint.since_ns)
            oldest = w;
    }
    return oldest;
}

void taint_review(struct pool *p)
{
    struct worker *resort = last_resort(p);
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (serves(w) && w != resort && is_tainted(p, w))
            put_aside(p, w);
    }
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (serves(w) && (w == resort || !is_tainted(p, w)))
            let_serve(p, w);
    }
    p->tainting.resorts = resort != NULL;
    if (p->tainting.resorts != p->tainting.told_resort)
        loop_post(p->env->loop, &p->tainting.work);
}

/* ---- on and off ---- */

static void set(struct pool *p, int slot, uint64_t duration_ns, uint64_t generation, bool stays, const char *reason)
{
    struct tainted *t = tainted_of(p, slot);
    p->tainting.slots += !taint_is_on(&t->taint);
    taint_set(&t->taint, pool_now(p), duration_ns, generation, stays, reason);
    t->set_for_ns = duration_ns;
    t->tell |= TAINT_TELL_ON;
    taint_review(p);
    loop_post(p->env->loop, &p->tainting.work);
}

static void lift(struct pool *p, int slot, const char *because)
{
    struct tainted *t = tainted_of(p, slot);
    if (!taint_is_on(&t->taint))
        return;
    t->lifted_because = because;
    t->lifted_after_ns = pool_now(p) - t->taint.since_ns;
    t->lifted_generation = t->taint.generation;
    t->tell |= TAINT_TELL_OFF;
    taint_lift(&t->taint);
    p->tainting.slots--;
    loop_post(p->env->loop, &p->tainting.work);
}

void taint_ready(struct pool *p, struct worker *w)
{
    struct tainted *t = tainted_of(p, w->slot);
    if (!taint_is_on(&t->taint))
        return;
    if (is_tainted(p, w))
        w->aside = true; /* until the review */
    else if (taint_consume_restart(&t->taint))
        lift(p, w->slot, "replaced");
}

void taint_crashed(struct pool *p, const struct worker *w)
{
    const struct slot *s = &p->slots[w->slot];
    bool replaced = s->current != NULL && s->current != w && s->current->ready_ns != 0;
    if (replaced || !barrier_marks(&p->set.barrier, w->exit_class, exit_shell_code(w->how)))
        return;
    unsigned crashes = crashes_of_slot(&p->crash_health.crashes, &p->set.crash_rules, pool_now(p), (unsigned)w->slot);
    set(p, w->slot, p->set.barrier.taint_ns, w->generation, crashes >= p->set.barrier.worker_max_crashes,
        exit_class_name(w->exit_class));
}

/* Types are told by their last name, or with their module. */
static bool is_type(const char *type, const char *wanted)
{
    const char *last = strrchr(type, '.');
    return strcmp(type, wanted) == 0 || (last != NULL && strcmp(last + 1, wanted) == 0);
}

void taint_failed(struct pool *p, const struct worker *w, const pit_error *e)
{
    const char *type = pit_error_python_type(e);
    if (type == NULL || w->dead || !p->set.barrier.on)
        return;
    for (char **wanted = p->set.taint_error_types; *wanted != NULL; wanted++)
        if (is_type(type, *wanted)) {
            set(p, w->slot, p->set.barrier.taint_ns, w->generation, false, type);
            return;
        }
}

/* ---- asked for ---- */

struct request {
    struct pool *pool; /* where it must be; NULL: anywhere */
    const char *target, *reason;
    int64_t duration_ms;
    bool known, stale;
};

/* The slot that is meant, or -1; *ret_generation 0: whoever has it. */
static int slot_of(const struct pool *p, const char *target, uint64_t *ret_generation)
{
    size_t n = strlen(p->set.name);
    char *end;
    if (strncmp(target, p->set.name, n) != 0 || target[n] != '/' || target[n + 1] < '0' || target[n + 1] > '9')
        return -1;
    long slot = strtol(target + n + 1, &end, 10);
    *ret_generation = 0;
    if (*end == '.' && end[1] >= '0' && end[1] <= '9')
        *ret_generation = strtoull(end + 1, &end, 10);
    return *end == '\0' && slot < p->n_slots ? (int)slot : -1;
}

static uint64_t duration_of(const struct pool *p, int64_t ms)
{
    if (ms == 0)
        return p->set.barrier.taint_ns;
    return ms == PIT_INFINITE || (uint64_t)ms > UINT64_MAX / MS ? UINT64_MAX : (uint64_t)ms * MS;
}

static void taint_there(struct pool *p, void *arg)
{
    struct request *r = arg;
    uint64_t generation;
    int slot = slot_of(p, r->target, &generation);
    if (slot < 0 || (r->pool != NULL && r->pool != p))
        return;
    pool_lock(p);
    uint64_t current = p->slots[slot].current != NULL ? p->slots[slot].current->generation : p->slots[slot].generation;
    r->known = current != 0 && generation <= current;
    r->stale = generation != 0 && generation != current;
    if (r->known && !r->stale && r->duration_ms != PIT_NOW) {
        set(p, slot, duration_of(p, r->duration_ms), current, false, r->reason);
    } else if (r->known && !r->stale) {
        lift(p, slot, "asked for");
        taint_review(p);
    }
    pool_unlock(p);
}

pit_error *host_taint(struct host *h, struct pool *pool, const char *target, int64_t duration_ms, const char *reason)
{
    struct request r = {.pool = pool, .target = target, .reason = reason, .duration_ms = duration_ms};
    host_each_pool(h, taint_there, &r);
    if (!r.known)
        return error_suggest(error_new(PIT_E_WORKER_NOT_FOUND, "there is no worker or slot %.96s", target),
                             "pit_list_workers tells the ids (\"default/3.2\"); without the generation the slot is meant");
    if (r.stale)
        return error_suggest(error_new(PIT_E_STALE_WORKER, "worker %.96s has been replaced", target),
                             "its successor has got another generation; without one the slot is meant");
    return NULL;
}

/* ---- telling: loop ---- */

static struct event_common common_of(struct pool *p, int slot, uint64_t generation, char id[WORKER_ID])
{
    snprintf(id, WORKER_ID, "%.64s/%d.%llu", p->set.name, slot, (unsigned long long)generation);
    return (struct event_common){.pool = p->set.name, .worker_id = id, .generation = generation};
}

/* The first of which something is to be told; -1: there is none. */
static int take_untold(struct pool *p, struct tainted *ret)
{
    int found = -1;
    pool_lock(p);
    for (int i = 0; i < p->n_slots && found < 0; i++)
        if (tainted_of(p, i)->tell != 0)
            found = i;
    if (found >= 0) {
        *ret = *tainted_of(p, found);
        tainted_of(p, found)->tell = 0;
    }
    pool_unlock(p);
    return found;
}

static void tell_slot(struct pool *p, int slot, const struct tainted *t)
{
    char id[WORKER_ID];
    if ((t->tell & TAINT_TELL_ON) != 0) {
        struct event_common common = common_of(p, slot, t->taint.generation, id);
        const double lasts = t->set_for_ns != UINT64_MAX ? (double)t->set_for_ns / 1e6 : 0;
        const char *texts[] = {t->taint.reason};
        log_line(p->env->log, PIT_LOG_WARNING, "slot %d of pool %s is tainted: %s", slot, p->set.name, t->taint.reason);
        telemetry_emit(p->env->telemetry, EVENT_WORKER_TAINTED, &common, &lasts, texts);
    }
    if ((t->tell & TAINT_TELL_OFF) != 0) {
        struct event_common common = common_of(p, slot, t->lifted_generation, id);
        const double lasted = (double)t->lifted_after_ns / 1e6;
        const char *texts[] = {t->lifted_because};
        telemetry_emit(p->env->telemetry, EVENT_WORKER_UNTAINTED, &common, &lasted, texts);
    }
}

static void tell_resort(struct pool *p)
{
    char id[WORKER_ID] = "";
    struct event_common common = {.pool = p->set.name, .worker_id = id};
    pool_lock(p);
    const struct worker *w = p->tainting.told_resort ? NULL : last_resort(p);
    p->tainting.told_resort = p->tainting.resorts;
    double slots = p->tainting.slots;
    if (w != NULL) {
        memcpy(id, w->id, sizeof id);
        common.generation = w->generation;
    }
    pool_unlock(p);
    if (w == NULL)
        return;
    log_line(p->env->log, PIT_LOG_WARNING, "pool %s: every worker is tainted; %s, the one that was least recently, takes calls",
             p->set.name, id);
    telemetry_emit(p->env->telemetry, EVENT_POOL_ALL_TAINTED, &common, &slots, NULL);
}

/* Lifts what is over: when the next one is. */
static uint64_t lift_expired(struct pool *p)
{
    uint64_t now = pool_now(p), next = UINT64_MAX;
    pool_lock(p);
    for (int i = 0; i < p->n_slots && p->tainting.slots != 0; i++) {
        const struct taint *t = &tainted_of(p, i)->taint;
        if (taint_is_on(t) && t->until_ns <= now)
            lift(p, i, "expired");
        else if (taint_is_on(t) && t->until_ns < next)
            next = t->until_ns;
    }
    taint_review(p);
    pool_unlock(p);
    return next;
}

static void on_work(struct loop_work *w)
{
    struct pool *p = LIST_ENTRY(w, struct pool, tainting.work);
    uint64_t next = lift_expired(p);
    struct tainted t;
    for (int slot; (slot = take_untold(p, &t)) >= 0;)
        tell_slot(p, slot, &t);
    tell_resort(p);
    if (next != UINT64_MAX && !pool_is_ending(p))
        loop_timer_set(p->env->loop, &p->tainting.timer, next);
}

static void on_timer(struct loop_timer *t)
{
    on_work(&LIST_ENTRY(t, struct pool, tainting.timer)->tainting.work);
}

void tainting_init(struct pool *p)
{
    p->tainting.timer.fn = on_timer;
    p->tainting.work.fn = on_work;
}

void tainting_stop(struct pool *p)
{
    loop_timer_stop(p->env->loop, &p->tainting.timer);
}
