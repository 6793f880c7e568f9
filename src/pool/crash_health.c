/* See crash_health.h. Failure: nothing here can. */
#include "pool/crash_health.h"

#include <string.h>

#include "pool/pool_internal.h"

static struct crash_facts facts_of(struct pool *p)
{
    pool_lock(p);
    struct crash_facts f = crashes_look(&p->crash_health.crashes, &p->set.crash_rules, pool_now(p));
    pool_unlock(p);
    return f;
}

void crash_health_add(struct pool *p, const struct worker *w)
{
    const struct crash_facts before = crashes_look(&p->crash_health.crashes, &p->set.crash_rules, pool_now(p));
    if (crashes_pattern(&before) == NULL) /* also when the timer has not come to say so */
        p->crash_health.told = NULL;
    crashes_add(&p->crash_health.crashes, pool_now(p), (unsigned)w->slot, w->exit_class == EXIT_SEGFAULT);
}

void crash_health_look(struct pool *p)
{
    struct crash_facts f = facts_of(p);
    const char *pattern = crashes_pattern(&f), *told = p->crash_health.told;
    p->crash_health.told = pattern;
    if (pattern != NULL && !pool_is_ending(p))
        loop_timer_set(p->env->loop, &p->crash_health.timer, pool_now(p) + p->set.crash_rules.interval_ns);
    if (pattern == NULL || (told != NULL && strcmp(pattern, told) == 0))
        return;
    struct event_common common = {.pool = p->set.name};
    const double numbers[] = {f.in_window};
    const char *texts[] = {pattern};
    log_line(p->env->log, PIT_LOG_WARNING, "pool %s: %s (%u workers lost within %llu ms)", p->set.name, pattern, f.in_window,
             (unsigned long long)(p->set.crash_rules.window_ns / MS));
    telemetry_emit(p->env->telemetry, EVENT_HEALTH_ALERT, &common, numbers, texts);
}

static void on_timer(struct loop_timer *t)
{
    crash_health_look(LIST_ENTRY(t, struct pool, crash_health.timer));
}

void crash_health_init(struct pool *p)
{
    p->crash_health.timer.fn = on_timer;
}

void pool_get_health(struct pool *p, pit_health *add)
{
    pool_lock(p);
    struct crash_facts f = crashes_look(&p->crash_health.crashes, &p->set.crash_rules, pool_now(p));
    bool ready = pool_count_ready(p) != 0 && p->state < POOL_STOPPING;
    add->total_crashes += p->crash_health.crashes.total;
    pool_unlock(p);
    add->crashes_in_window += f.in_window;
    add->segfaults_in_window += f.segfaults;
    add->workers_with_crashes += f.workers;
    add->max_crashes += p->set.crash_rules.max_crashes;
    if (add->crash_window_ms < (int64_t)(p->set.crash_rules.window_ns / MS))
        add->crash_window_ms = (int64_t)(p->set.crash_rules.window_ns / MS);
    add->is_healthy = add->is_healthy && f.healthy;
    add->is_ready = add->is_ready && f.healthy && ready;
}
