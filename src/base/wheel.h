/* A hierarchical timing wheel: ticks of 1 ms, set and stop O(1), every timer moves at most WHEEL_LEVELS - 1 times before it is due.
 *
 * Pure: time is told to it. A timer lies in the level of the highest 6-bit digit in which its tick differs from the wheel's time, so
 * everything in a level is due before anything in the next one, and the earliest timer is found with one look at each bitmap.
 *
 * Thread: one at a time. */
#ifndef PIT_BASE_WHEEL_H
#define PIT_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_TICK_NS 1000000u
#define WHEEL_LEVELS 8 /* 2^48 ms: more than 64 bits of nanoseconds */
#define WHEEL_SLOTS 64

/* Embedded in its owner; zeroed = not armed. */
struct wheel_timer {
    struct list node;
    uint64_t due_ns; /* as asked for */
    uint64_t tick;   /* due_ns rounded up */
    uint16_t slot;   /* level * WHEEL_SLOTS + slot, or WHEEL_DUE */
};

struct wheel {
    uint64_t now; /* ticks; everything up to here has been given out */
    uint64_t occupied[WHEEL_LEVELS];
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    struct list due; /* armed for a time that has passed */
};

void wheel_init(struct wheel *w, uint64_t now_ns);
void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ns); /* (re)arms */
void wheel_stop(struct wheel *w, struct wheel_timer *t);
/* Moves time on and appends every timer that is due to *due, in the order of their ticks. A timer there is still armed: wheel_stop
 * takes it out, wheel_set arms it anew. Time never goes back. */
void wheel_advance(struct wheel *w, uint64_t now_ns, struct list *due);
/* When the next timer is due (UINT64_MAX: none). Exact while the next occupied slot holds few timers, else a time before it. */
uint64_t wheel_next(const struct wheel *w);

static inline bool wheel_armed(const struct wheel_timer *t)
{
    return list_linked(&t->node);
}

#endif
