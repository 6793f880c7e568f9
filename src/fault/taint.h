/* A taint: what a slot's process has done, or is said to have, so that no call should go to it for a while. Pure: the time goes in.
 *
 * Invariants
 *  1. A taint is of one generation of its slot: a later process starts clean, unless the taint stays.
 *  2. taint_consume_restart() succeeds once for each taint, whoever asks, and however many at a time. */
#ifndef PIT_FAULT_TAINT_H
#define PIT_FAULT_TAINT_H

#include <stdbool.h>
#include <stdint.h>

enum { TAINT_REASON = 64 };

struct taint {
    uint64_t since_ns, until_ns; /* until_ns 0: clean; UINT64_MAX: without end */
    uint64_t generation;         /* the last one that it is of */
    bool stays;                  /* it is the slot's, whoever has it */
    uint32_t restart;            /* atomic: 1: nobody has consumed the restart */
    char reason[TAINT_REASON];
};

/* A second taint of the same slot begins anew, and ends no earlier than the first. */
void taint_set(struct taint *t, uint64_t now_ns, uint64_t duration_ns, uint64_t generation, bool stays, const char *reason);
void taint_lift(struct taint *t);
static inline bool taint_is_on(const struct taint *t)
{
    return t->until_ns != 0;
}
/* Is a process of this generation tainted by it? */
bool taint_meets(const struct taint *t, uint64_t generation);
/* The one that replaces what was tainted: true for the first that asks. Any thread. */
bool taint_consume_restart(struct taint *t);

#endif
