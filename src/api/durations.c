/* Durations in options structs: one way to read them, and to say which key is wrong. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"

bool duration_read(int64_t given, int64_t fallback, int64_t *ret)
{
    if (given < PIT_NOW)
        return false;
    *ret = given == 0 ? fallback : given == PIT_NOW ? 0 : given;
    return true;
}

static bool is_good(const struct duration_option *o)
{
    if (!duration_read(o->given, o->fallback, o->to))
        return false;
    return (o->given != PIT_NOW || (o->may & DURATION_ZERO) != 0) &&
           (o->given != PIT_INFINITE || (o->may & DURATION_ENDLESS) != 0) && (o->most_ms == 0 || o->given <= o->most_ms);
}

pit_error *durations_read(const char *pool, const struct duration_option *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct duration_option *o = &rows[i];
        if (is_good(o))
            continue;
        bool zero = (o->may & DURATION_ZERO) != 0, endless = (o->may & DURATION_ENDLESS) != 0;
        const char *also = zero && endless ? ", PIT_NOW or PIT_INFINITE"
                           : zero          ? ", or PIT_NOW"
                           : endless       ? ", or PIT_INFINITE"
                                           : "";
        size_t length = strlen(o->name);
        const char *unit = strcmp(o->name + length - 3, "_us") == 0 ? "microseconds" : "milliseconds"; /* every key says it */
        char most[48] = "";
        if (o->most_ms != 0)
            snprintf(most, sizeof most, ", at most %lld", (long long)o->most_ms);
        return error_new(o->interval ? PIT_E_INVALID_INTERVAL : PIT_E_INVALID_TIMEOUT,
                         "%s%s: %s is %lld; it is a positive number of %s%s%s", pool != NULL ? "pool " : "",
                         pool != NULL ? pool : "pit_options", o->name, (long long)o->given, unit, most, also);
    }
    return NULL;
}
