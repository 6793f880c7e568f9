/* Public limits of calls: checks, and amounts in the units that are counted in. */
#include <snakepit/call.h>

#include "api/api.h"

pit_error *limits_read(const pit_limits *given, const char *of, struct limits *ret)
{
    pit_limits l = PIT_LIMITS_INIT;
    if (given == NULL)
        return NULL;
    int rc = options_copy(&l, sizeof l, given);
    if (rc != 0)
        return options_refused(rc, "limits", "PIT_LIMITS_INIT");
    const int64_t values[LIMITS] = {l.cpu_ms, l.wall_ms, l.rss_growth_mb, l.output_bytes, l.open_files};
    for (int k = 0; k < LIMITS; k++) {
        uint64_t most = 0;
        if (values[k] == 0)
            continue;
        if (values[k] != PIT_INFINITE && !limit_from_units((enum limit_kind)k, values[k], &most))
            return error_new(PIT_E_INVALID_PARAMETER, "limits of %s: %s is %lld; it is positive, or PIT_INFINITE", of,
                             limit_name((enum limit_kind)k), (long long)values[k]);
        ret->most[k] = most;
    }
    return NULL;
}
