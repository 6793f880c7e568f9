/* Public options of a pool whose adapter is in C: checks, and what such a pool cannot have. */
#include <string.h>

#include "api/api.h"
#include "worker/ladder.h"

/* X(name, required) */
#define CALLBACK_LIST(X)                                                                                                       \
    X(execute, true)                                                                                                           \
    X(execute_stream, false)                                                                                                   \
    X(init, false) X(terminate, false) X(start_worker, false) X(stop_worker, false) X(collect_telemetry, false)

struct option {
    const char *name;
    bool given;
};

static pit_error *bad_adapter(const char *pool, int rc)
{
    pit_error *e = rc == PIT_E_UNSUPPORTED_OPTION
                       ? error_new(rc, "pool %s: the C adapter has callbacks that this library does not know", pool)
                       : error_new(PIT_E_ADAPTER_INVALID, "pool %s: the C adapter has no size", pool);
    return error_suggest(e, "begin with PIT_ADAPTER_INIT of the header that came with this library");
}

static pit_error *check_callbacks(const char *pool, const pit_adapter *a)
{
    pit_value *missing = pit_list(), *given = pit_list();
#define PUT_CALLBACK(name, required)                                                                                           \
    if (a->name != NULL)                                                                                                       \
        pit_list_append_take(given, pit_str(#name));                                                                           \
    else if (required)                                                                                                         \
        pit_list_append_take(missing, pit_str(#name));
    CALLBACK_LIST(PUT_CALLBACK)
#undef PUT_CALLBACK
    pit_error *e = NULL;
    if (a->execute == NULL) {
        e = error_new(PIT_E_ADAPTER_INVALID, "pool %s: the C adapter has no callback execute, which is required", pool);
        error_detail_take(e, "missing", missing);
        error_detail_take(e, "callbacks", given);
        return error_suggest(e,
                             "optional are execute_stream, init, terminate, start_worker, stop_worker and collect_telemetry");
    }
    pit_value_free(missing);
    pit_value_free(given);
    return e;
}

static pit_error *check_options(const pit_pool_options *o)
{
    const struct option options[] = {
        {"adapter", o->adapter != NULL},
        {"command", o->command != NULL && o->command[0] != NULL},
        {"adapter_args", o->adapter_args != NULL},
        {"python", o->python != NULL},
        {"env", o->env != NULL},
        {"python_path", o->python_path != NULL},
        {"preload", o->preload != NULL},
        {"start_mode", o->start_mode != 0},
        {"canary_timeout_ms", o->canary_timeout_ms != 0},
        {"profile", o->profile != NULL},
        {"threads_per_worker", o->threads_per_worker != 0},
        {"adapter_scope", o->adapter_scope != NULL},
        {"channel", o->channel == PIT_CHANNEL_SOCKET},
        {"descendants", o->descendants != 0},
        {"memory_threshold_mb", o->memory_threshold_mb != 0},
        {"leak_forecast", o->leak_forecast != 0},
        {"heartbeat", o->heartbeat != NULL},
        {"dossier", o->dossier != NULL},
        {"crash_barrier", o->crash_barrier != NULL},
        {"poison", o->poison != NULL},
        {"cancel_max_rung", o->cancel_max_rung > PIT_RUNG_FLAG},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (options[i].given) {
            pit_error *e =
                error_new(PIT_E_CONFIG_CONFLICT, "pool %s: %s cannot stand beside c_adapter", o->name, options[i].name);
            error_detail_take(e, "option", pit_str(options[i].name));
            return error_suggest(
                e, "its workers are threads of this program: nothing of processes and of Python applies, and nobody "
                   "can end them: a call may be asked to end (PIT_RUNG_FLAG), no more");
        }
    return NULL;
}

pit_error *adapter_settings_read(const pit_pool_options *o, struct pool_settings *s)
{
    if (o->c_adapter == NULL)
        return NULL;
    int rc = options_copy(&s->c_adapter, sizeof s->c_adapter, o->c_adapter);
    if (rc != 0)
        return bad_adapter(o->name, rc);
    s->c_adapter.size = sizeof s->c_adapter;
    s->c_adapter_user = o->c_adapter_user;
    pit_error *e = check_callbacks(o->name, &s->c_adapter);
    return e != NULL ? e : check_options(o);
}

void adapter_settings_force(struct pool_settings *s)
{
    if (s->c_adapter.size == 0)
        return;
    s->heartbeat.enabled = false;
    s->dossier.enabled = false;
    s->channel = PIT_CHANNEL_RING;
    if (s->cancel_max_rung > RUNG_FLAG)
        s->cancel_max_rung = RUNG_FLAG;
}
