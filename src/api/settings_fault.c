/* The options by which a pool deals with workers that die: checks and defaults. */
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/units.h"
#include "worker/exit.h"

enum {
    TAINT_MS = 60000,
    WORKER_CRASHES = 10,
    WINDOW_MS = 60000,
    INTERVAL_MS = 30000,
    POOL_CRASHES = 10,
    POISON_DEATHS = 2,
    POISON_S = 600
};

#define BIT(constant) (UINT32_C(1) << EXIT_##constant)

static const char *const names[] = {
#define CLASS_NAME(constant, name, text) #name,
    EXIT_CLASS_LIST(CLASS_NAME)
#undef CLASS_NAME
        "gpu"};
enum { GPU = sizeof names / sizeof names[0] - 1 }; /* told by errors and by the driver, not by how a process ended */

/* false: there is no such class. */
static bool add_class(uint32_t *mark, const char *name)
{
    for (unsigned i = EXIT_NORMAL + 1; i <= GPU; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        *mark |= i == GPU ? 0 : UINT32_C(1) << i;
        *mark |= i == EXIT_OOM ? BIT(OOM_SUSPECTED) : 0;
        return true;
    }
    return false;
}

static pit_error *unknown_class(const char *pool, const char *name)
{
    pit_error *e = error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.mark_on: %.64s is no class of ends", pool, name);
    const char *near = error_nearest(name, names, GPU + 1);
    return near != NULL ? error_suggest(e, "did you mean %s?", near) : e;
}

static pit_error *read_marks(const pit_crash_barrier_options *o, const char *pool, struct barrier_rules *r)
{
    if (o->mark_on == NULL) {
        r->mark = BIT(SEGFAULT) | BIT(OOM) | BIT(OOM_SUSPECTED);
        return NULL;
    }
    for (const char *const *name = o->mark_on; *name != NULL; name++)
        if (!add_class(&r->mark, *name))
            return unknown_class(pool, *name);
    return NULL;
}

static pit_error *read_backoff(const pit_crash_barrier_options *o, const char *pool, struct barrier_rules *r)
{
    static const int64_t usual[] = {50, 100, 200};
    const int64_t *ms = o->backoff_ms != NULL ? o->backoff_ms : usual;
    size_t n = o->backoff_ms != NULL ? o->n_backoff_ms : sizeof usual / sizeof usual[0];
    if (n > BARRIER_STEPS || (o->backoff_ms == NULL && o->n_backoff_ms != 0))
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.backoff_ms: n_backoff_ms is %zu; it is 0 to %d", pool,
                         o->n_backoff_ms, BARRIER_STEPS);
    for (size_t i = 0; i < n; i++) {
        if (ms[i] != PIT_NOW && (ms[i] < 0 || ms[i] > INT32_MAX))
            return error_new(PIT_E_INVALID_TIMEOUT, "pool %s: crash_barrier.backoff_ms[%zu]: %lld", pool, i, (long long)ms[i]);
        r->backoff_ns[i] = ms[i] > 0 ? (uint64_t)ms[i] * MS : 0;
    }
    r->n_backoff = (unsigned)n;
    return NULL;
}

static pit_error *check_numbers(const pit_crash_barrier_options *o, const char *pool)
{
    if (o->enabled < PIT_OFF || o->enabled > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.enabled is PIT_ON, PIT_OFF or 0", pool);
    if (o->retry < 0 || o->retry > PIT_RETRY_NEVER)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.retry: %d is no PIT_RETRY_", pool, o->retry);
    if (o->max_restarts < PIT_NONE || o->max_restarts > BARRIER_RESTARTS)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.max_restarts: %d; it is PIT_NONE, or 1 to %d", pool,
                         o->max_restarts, BARRIER_RESTARTS);
    if (o->worker_max_crashes < 0)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.worker_max_crashes: %d", pool, o->worker_max_crashes);
    if (o->n_taint_on_exit_codes > BARRIER_CODES || (o->n_taint_on_exit_codes != 0 && o->taint_on_exit_codes == NULL))
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: crash_barrier.taint_on_exit_codes has at most %d", pool,
                         BARRIER_CODES);
    return NULL;
}

static pit_error *read_barrier(const pit_crash_barrier_options *o, const char *pool, struct pool_settings *s)
{
    struct barrier_rules *r = &s->barrier;
    int64_t taint;
    int ok;
    const struct duration_option rows[] = {
        {"crash_barrier.taint_duration_ms", o->taint_duration_ms, TAINT_MS, &taint, DURATION_ENDLESS, false, 0}};
    pit_error *e = check_numbers(o, pool);
    if (e == NULL)
        e = durations_read(pool, rows, 1);
    if (e == NULL)
        e = read_backoff(o, pool, r);
    if (e == NULL)
        e = read_marks(o, pool, r);
    if (e != NULL)
        return e;
    r->on = o->enabled != PIT_OFF;
    r->retry = o->retry != 0 ? (enum barrier_retry)o->retry : BARRIER_IDEMPOTENT;
    r->max_restarts = o->max_restarts == PIT_NONE ? 0 : o->max_restarts != 0 ? (unsigned)o->max_restarts : 1;
    r->worker_max_crashes = o->worker_max_crashes != 0 ? (unsigned)o->worker_max_crashes : WORKER_CRASHES;
    r->taint_ns = taint == PIT_INFINITE || (uint64_t)taint > UINT64_MAX / MS ? UINT64_MAX : (uint64_t)taint * MS;
    r->n_codes = (unsigned)o->n_taint_on_exit_codes;
    for (unsigned i = 0; i < r->n_codes; i++)
        r->codes[i] = o->taint_on_exit_codes[i];
    s->taint_error_types = mem_strv_dup(o->taint_on_error_types, &ok);
    return ok ? NULL : error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the options were read");
}

static pit_error *read_health(const pit_health_options *o, const char *pool, struct crash_rules *r)
{
    int64_t window, interval;
    const struct duration_option rows[] = {
        {"health.crash_window_ms", o->crash_window_ms, WINDOW_MS, &window, 0, false, INT32_MAX},
        {"health.check_interval_ms", o->check_interval_ms, INTERVAL_MS, &interval, 0, true, INT32_MAX}};
    pit_error *e = durations_read(pool, rows, 2);
    if (e != NULL)
        return e;
    if (o->max_crashes < 0 || o->max_crashes > CRASHES_KEPT)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: health.max_crashes: %d; it is 1 to %d", pool, o->max_crashes,
                         CRASHES_KEPT);
    r->max_crashes = o->max_crashes != 0 ? (unsigned)o->max_crashes : POOL_CRASHES;
    r->window_ns = (uint64_t)window * MS;
    r->interval_ns = (uint64_t)interval * MS;
    return NULL;
}

static pit_error *read_poison(const pit_poison_options *o, const char *pool, struct poison_rules *r)
{
    if (o->enabled < PIT_OFF || o->enabled > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: poison.enabled is PIT_ON, PIT_OFF or 0", pool);
    if (o->crashes < 0 || o->crashes > POISON_CRASHES)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: poison.crashes: %d; it is 1 to %d", pool, o->crashes,
                         POISON_CRASHES);
    if (o->ttl_s < 0 || o->ttl_s > INT32_MAX)
        return error_new(PIT_E_INVALID_TIMEOUT, "pool %s: poison.ttl_s: %lld", pool, (long long)o->ttl_s);
    r->on = o->enabled != PIT_OFF;
    r->crashes = o->crashes != 0 ? (unsigned)o->crashes : POISON_DEATHS;
    r->ttl_ns = (uint64_t)(o->ttl_s != 0 ? o->ttl_s : POISON_S) * 1000 * MS;
    return NULL;
}

static pit_error *read_parts(const pit_crash_barrier_options *barrier, const pit_health_options *health,
                             const pit_poison_options *poison, const char *pool, struct pool_settings *s)
{
    pit_error *e = read_health(health, pool, &s->crash_rules);
    if (e == NULL)
        e = read_poison(poison, pool, &s->poison);
    return e != NULL ? e : read_barrier(barrier, pool, s);
}

pit_error *fault_settings_read(const pit_pool_options *o, struct pool_settings *s)
{
    pit_crash_barrier_options barrier = PIT_CRASH_BARRIER_OPTIONS_INIT;
    int rc = o->crash_barrier != NULL ? options_copy(&barrier, sizeof barrier, o->crash_barrier) : 0;
    if (rc != 0)
        return options_refused(rc, "a crash barrier", "PIT_CRASH_BARRIER_OPTIONS_INIT");
    pit_health_options health = PIT_HEALTH_OPTIONS_INIT;
    rc = o->health != NULL ? options_copy(&health, sizeof health, o->health) : 0;
    if (rc != 0)
        return options_refused(rc, "the health of a pool", "PIT_HEALTH_OPTIONS_INIT");
    pit_poison_options poison = PIT_POISON_OPTIONS_INIT;
    rc = o->poison != NULL ? options_copy(&poison, sizeof poison, o->poison) : 0;
    if (rc != 0)
        return options_refused(rc, "poison", "PIT_POISON_OPTIONS_INIT");
    if (o->idempotent_arg < PIT_OFF || o->idempotent_arg > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: idempotent_arg is PIT_ON, PIT_OFF or 0", o->name);
    s->idempotent_arg = o->idempotent_arg == PIT_ON;
    return read_parts(&barrier, &health, &poison, o->name, s);
}
