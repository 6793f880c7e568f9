/* Reading a flight recorder (ring/recorder.h): what a worker did last, of one that lives, hangs or has ended.
 *
 * Everything is read through a function that the caller gives, once, in small pieces, and believed as far as it can be: the geometry is checked or the
 * caller's own, a record counts only if it is the same before and after it was read, and is the one that ought to stand there; times and names may
 * be the worker's invention. The work is bounded by `cap` and the number of lanes. Pure. Thread: any. */
#ifndef PIT_CRASH_RECORDER_H
#define PIT_CRASH_RECORDER_H

#include <snakepit/value.h>

#include "ring/recorder.h"

struct recorder_event {
    uint64_t ns;       /* CLOCK_MONOTONIC */
    uint64_t ended_ns; /* of a call that has ended */
    uint64_t id;
    enum recorder_kind kind;
    int outcome;                  /* RECORDER_RUNS ... */
    int lane;                     /* -1: none */
    unsigned extra;               /* of a rung its number */
    char name[RECORDER_NAME + 1]; /* of a call its command, "": not known */
};

struct recorder_source {
    /* n bytes at this place of the recorder; false: they are not there (yet), or cannot be read. A second look at the same place sees what stands
     * there then. */
    bool (*read)(void *user, size_t at, void *to, size_t n);
    void *user;
    uint32_t lanes, lane_records; /* a power of two */
    uint32_t clock;
    uint64_t base_at, base_ns; /* a moment by that clock, and CLOCK_MONOTONIC */
    uint64_t now_at, now_ns;   /* a later one */
};

/* Is this the header of a recorder that has n bytes? */
bool recorder_is_sound(const struct recorder_header *h, size_t n);
/* The newest events, at most cap, oldest first: their number. ret: of 2 * cap, room: of cap. */
size_t recorder_read(const struct recorder_source *s, struct recorder_event *ret, struct recorder_event *room, size_t cap);

/* Events as a list of maps. wall_ns: what CLOCK_REALTIME is ahead of CLOCK_MONOTONIC; prefix: of the ids of calls. */
pit_value *recorder_values(const struct recorder_event *events, size_t n, uint64_t wall_ns, uint32_t prefix);

/* The end of a worker, for the recorder of its successor; and back: at most RECORDER_PAST events. */
void recorder_past_put(struct recorder_past *past, const struct recorder_event *events, size_t n);
size_t recorder_past_read(const struct recorder_past *past, struct recorder_event *ret);
/* "2026-11-22T03:04:05.678901Z" */
const char *recorder_time(uint64_t wall_ns, char ret[64]);

#endif
