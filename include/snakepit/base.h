/* What every public header needs: export mark, forward declarations, special durations. Included by the others. */
#ifndef SNAKEPIT_BASE_H
#define SNAKEPIT_BASE_H

#include <stdarg.h>
#ifndef __cplusplus
#include <stdbool.h>
#endif
#include <stddef.h>
#include <stdint.h>

#include <snakepit/codes.h>

#if defined(__GNUC__)
#define PIT_API __attribute__((visibility("default")))
#else
#define PIT_API
#endif

typedef struct pit pit;             /* an open host: pools of supervised workers */
typedef struct pit_error pit_error; /* what went wrong, owned by who received it */

#define PIT_INFINITE INT64_C(-1) /* a duration without end */
#define PIT_NOW INT64_C(-2)      /* a duration of zero, where an options struct reads 0 as "not set" */
#define PIT_ON 1                 /* a switch of an options struct; 0 = not set */
#define PIT_OFF (-1)
#define PIT_NONE (-1) /* a count of zero in an options struct */

/* The ladder that a call climbs in its worker when it is cancelled or over its time; its caller has been answered before. It ends when the call
 * does. cancel_max_rung says how far it may go: below PIT_RUNG_KILL the call keeps its place in the worker until it returns. Since 0.1. */
enum {
    PIT_RUNG_DROP = 1, /* what has not begun never runs */
    PIT_RUNG_FLAG,     /* session_context.cancelled() is true, an async method is cancelled; cancel_grace_ms later: */
    PIT_RUNG_RAISE,    /* snakepit_bridge.Cancelled is raised inside the running code; 500 ms later: */
    PIT_RUNG_KILL      /* the worker is killed and replaced */
};

#endif
