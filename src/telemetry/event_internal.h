/* Inside src/telemetry: the event as its handlers and its readers see it. */
#ifndef PIT_TELEMETRY_EVENT_INTERNAL_H
#define PIT_TELEMETRY_EVENT_INTERNAL_H

#include "telemetry/event.h"

#define EVENT_NUMBER_TEXT 21 /* 2^64 in decimal and NUL */

/* On the stack of telemetry_emit; all it points to is borrowed from the emitter. */
struct pit_event {
    enum event_id id;
    uint64_t (*now_ns)(void);
    const struct event_common *common;
    const double *numbers;
    const char *const *texts;
    /* written when somebody asks: a clock reading costs twice what the rest of an emit does, and handlers run at once */
    uint64_t timestamp_ns;                                          /* 0 before */
    char generation[EVENT_NUMBER_TEXT], call_id[EVENT_NUMBER_TEXT]; /* "" before */
};

struct event_info {
    const char *name;            /* with "snakepit." */
    const char *numbers, *texts; /* names, separated by blanks */
};
extern const struct event_info event_table[EVENT_COUNT];

#endif
