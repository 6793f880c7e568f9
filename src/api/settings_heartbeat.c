/* The options by which workers are watched: checks and defaults. */
#include "api/api.h"
#include "base/units.h"

enum { INTERVAL_MS = 2000, TIMEOUT_MS = 10000, STALL_MS = 5000, MISSED = 3, MISSED_MAX = 1000000 };
enum { HEALTH_INTERVAL_MS = 30000, HEALTH_TIMEOUT_MS = 5000 };
enum { LONGEST_MS = INT32_MAX };

static pit_error *read_rules(const pit_heartbeat_options *o, const char *pool, struct pool_settings *s)
{
    int64_t interval, timeout, delay, stall;
    const struct duration_option rows[] = {
        {"heartbeat.ping_interval_ms", o->ping_interval_ms, INTERVAL_MS, &interval, 0, true, LONGEST_MS},
        {"heartbeat.timeout_ms", o->timeout_ms, TIMEOUT_MS, &timeout, 0, false, LONGEST_MS},
        {"heartbeat.initial_delay_ms", o->initial_delay_ms, 0, &delay, DURATION_ZERO, false, LONGEST_MS},
        {"heartbeat.stall_report_ms", o->stall_report_ms, STALL_MS, &stall, 0, false, LONGEST_MS},
    };
    pit_error *e = durations_read(pool, rows, sizeof rows / sizeof rows[0]);
    if (e != NULL)
        return e;
    if (o->max_missed_heartbeats < 0 || o->max_missed_heartbeats > MISSED_MAX)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: heartbeat.max_missed_heartbeats: %d; it is 1 to %d", pool,
                         o->max_missed_heartbeats, MISSED_MAX);
    s->heartbeat.delay_ns = (uint64_t)delay * MS;
    s->heartbeat.policy =
        (struct heartbeat_rules){.interval_ns = (uint64_t)interval * MS,
                                 .timeout_ns = (uint64_t)timeout * MS,
                                 .stall_ns = (uint64_t)stall * MS,
                                 .max_missed = o->max_missed_heartbeats != 0 ? (unsigned)o->max_missed_heartbeats : MISSED,
                                 .dependent = o->dependent != PIT_OFF};
    return NULL;
}

pit_error *heartbeat_settings_read(const pit_heartbeat_options *given, const char *pool, struct pool_settings *s)
{
    pit_heartbeat_options o = PIT_HEARTBEAT_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    if (rc != 0)
        return options_refused(rc, "a heartbeat", "PIT_HEARTBEAT_OPTIONS_INIT");
    const struct {
        const char *name;
        int value;
    } switches[] = {{"enabled", o.enabled}, {"dependent", o.dependent}, {"kill_busy", o.kill_busy}};
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (switches[i].value < PIT_OFF || switches[i].value > PIT_ON)
            return error_new(PIT_E_INVALID_PARAMETER, "pool %s: heartbeat.%s is PIT_ON, PIT_OFF or 0", pool, switches[i].name);
    s->heartbeat.enabled = o.enabled != PIT_OFF;
    s->heartbeat.kill_busy = o.kill_busy == PIT_ON;
    return read_rules(&o, pool, s);
}

pit_error *health_settings_read(const pit_pool_options *o, struct pool_settings *s)
{
    int64_t interval, timeout;
    const struct duration_option rows[] = {
        {"health_check_interval_ms", o->health_check_interval_ms, HEALTH_INTERVAL_MS, &interval, DURATION_ENDLESS, true,
         LONGEST_MS},
        {"health_check_timeout_ms", o->health_check_timeout_ms, HEALTH_TIMEOUT_MS, &timeout, 0, false, LONGEST_MS},
    };
    pit_error *e = durations_read(o->name, rows, sizeof rows / sizeof rows[0]);
    if (e != NULL)
        return e;
    s->health.interval_ns = interval == PIT_INFINITE ? UINT64_MAX : (uint64_t)interval * MS;
    s->health.timeout_ns = (uint64_t)timeout * MS;
    return NULL;
}
