/* The options for the flight recorder: checks and defaults. */
#include "api/api.h"

#define RING_DEFAULT (256u << 10)
#define RING_LEAST (4u << 10)
#define RING_MOST (64u << 20)

pit_error *recorder_settings_read(const pit_recorder_options *given, struct recorder_rules *ret)
{
    pit_recorder_options o = PIT_RECORDER_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    if (rc != 0)
        return options_refused(rc, "a recorder", "PIT_RECORDER_OPTIONS_INIT");
    if (o.enabled < PIT_OFF || o.enabled > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "recorder.enabled is PIT_ON, PIT_OFF or 0");
    if (o.ring_bytes != 0 &&
        (o.ring_bytes < RING_LEAST || o.ring_bytes > RING_MOST || (o.ring_bytes & (o.ring_bytes - 1)) != 0))
        return error_new(PIT_E_INVALID_PARAMETER, "recorder.ring_bytes: %zu is no power of two from %u to %u", o.ring_bytes,
                         RING_LEAST, RING_MOST);
    *ret = (struct recorder_rules){.enabled = o.enabled != PIT_OFF,
                                   .ring_bytes = o.ring_bytes != 0 ? (uint32_t)o.ring_bytes : RING_DEFAULT};
    return NULL;
}
