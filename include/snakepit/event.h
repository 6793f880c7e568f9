/* Events: what the library tells about itself while it works. The catalogue is docs/events.md. Since 0.1. */
#ifndef SNAKEPIT_EVENT_H
#define SNAKEPIT_EVENT_H

#include <snakepit/base.h>
#include <snakepit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pit_event pit_event;

/* Runs on the thread that emits (a caller's or the loop's), several at once; must not block. The event lives until it returns.
 * Non-zero means "I am broken": the handler is detached after one warning. */
typedef int (*pit_event_fn)(const pit_event *ev, void *user);

/* Has fn called with every event whose name matches pattern: a name ("snakepit.worker.crash") or a glob ("snakepit.pool.*"; '*' also
 * matches dots). *ret_id (may be NULL) is for pit_telemetry_detach(). invalid_parameter: no pattern or no fn. */
PIT_API int pit_telemetry_attach(pit *p, const char *pattern, pit_event_fn fn, void *user, uint64_t *ret_id,
                                 pit_error **reterr);
/* Ends what pit_telemetry_attach() began. Returns after a handler that is running on another thread has returned (from within a handler: at once). not_found. */
PIT_API int pit_telemetry_detach(pit *p, uint64_t id);

/* The event's name, and when it happened (pit_now_ns()'s clock). */
PIT_API const char *pit_event_name(const pit_event *ev);
PIT_API uint64_t pit_event_timestamp_ns(const pit_event *ev);
/* A measurement ("duration_ms") as a number; false when the event has none of this name. */
PIT_API bool pit_event_number(const pit_event *ev, const char *measurement, double *ret);
/* A piece of metadata, or one of pool, worker_id, generation, session_id, correlation_id, call_id; NULL when absent. */
PIT_API const char *pit_event_text(const pit_event *ev, const char *key);
/* Everything as one JSON document; one block, freed with pit_free(). */
PIT_API char *pit_event_json(const pit_event *ev);

#ifdef __cplusplus
}
#endif
#endif
