/* Public options of the worker profile, and of the instances of its adapter: checks and defaults. */
#include <string.h>

#include "api/api.h"

enum { THREADS = 10, THREADS_MOST = 256 };

static pit_error *bad_profile(const char *of, const char *profile)
{
    if (strcmp(profile, "subinterp") == 0) {
        pit_error *e =
            error_new(PIT_E_PROFILE_UNAVAILABLE, "pool %s: this version has no workers of the profile subinterp", of);
        return error_suggest(e, "the profile thread runs calls side by side in one process, the profile process in several");
    }
    pit_error *e = error_new(PIT_E_INVALID_PROFILE, "pool %s: profile is '%.64s'", of, profile);
    return error_suggest(e, "the profiles are process and thread");
}

static pit_error *read_scope(const pit_pool_options *o, struct pool_settings *s)
{
    static const char *const scopes[] = {"worker", "lane", "request"};
    for (size_t i = 0; o->adapter_scope != NULL && i < sizeof scopes / sizeof scopes[0]; i++)
        if (strcmp(o->adapter_scope, scopes[i]) == 0)
            s->adapter_scope = scopes[i];
    if (o->adapter_scope == NULL || s->adapter_scope != NULL)
        return NULL;
    return error_suggest(error_new(PIT_E_INVALID_PARAMETER, "pool %s: adapter_scope is '%.64s'", o->name, o->adapter_scope),
                         "the scopes are worker, lane and request");
}

pit_error *profile_settings_read(const pit_pool_options *o, struct pool_settings *s)
{
    const char *profile = o->profile != NULL ? o->profile : "process";
    s->lanes = 1;
    s->threaded = strcmp(profile, "thread") == 0;
    if (!s->threaded && strcmp(profile, "process") != 0)
        return bad_profile(o->name, profile);
    if (o->threads_per_worker < 0 || o->threads_per_worker > THREADS_MOST)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: threads_per_worker is %d; it is 1 to %d", o->name,
                         o->threads_per_worker, THREADS_MOST);
    if (!s->threaded && o->threads_per_worker > 1)
        return error_suggest(error_new(PIT_E_CONFIG_CONFLICT, "pool %s: threads_per_worker is %d, but the profile is process",
                                       o->name, o->threads_per_worker),
                             "a worker of the profile process runs one call at a time; set profile to thread");
    if (s->threaded && o->channel == PIT_CHANNEL_SOCKET)
        return error_suggest(error_new(PIT_E_CONFIG_CONFLICT,
                                       "pool %s: the profile is thread, but the channel is the socket, which serves one",
                                       o->name),
                             "leave channel unset: threads are called through rings");
    if (s->threaded)
        s->lanes = o->threads_per_worker != 0 ? (uint32_t)o->threads_per_worker : THREADS;
    return read_scope(o, s);
}

/* The kernel counts CPU time, memory and files for a process: beside others a call cannot be blamed for them. */
pit_error *profile_check_limits(const struct pool_settings *s, const struct limits *l, const char *of)
{
    static const enum limit_kind of_process[] = {LIMIT_CPU, LIMIT_MEMORY, LIMIT_FILES, LIMIT_OUTPUT};
    if (s->c_adapter.size != 0 && limits_any(l))
        return error_suggest(
            error_new(PIT_E_UNSUPPORTED_OPTION, "limits of %s: a pool of a C adapter has no processes to limit", of),
            "a call of it ends at its deadline; the adapter asks pit_adapter_cancelled()");
    if (s->lanes == 1)
        return NULL;
    for (size_t i = 0; i < sizeof of_process / sizeof of_process[0]; i++)
        if (l->most[of_process[i]] != 0)
            return error_suggest(
                error_new(PIT_E_UNSUPPORTED_OPTION,
                          "limits of %s: %s is measured for a whole worker, and one of pool %s runs %u calls at a time", of,
                          limit_name(of_process[i]), s->name != NULL ? s->name : of, (unsigned)s->lanes),
                "wall_ms can be limited in a pool of the profile thread; the others in one of the profile process");
    return NULL;
}
