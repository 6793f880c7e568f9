/* The cancellation ladder of one call that runs: which rung it stands on, and when it takes the next. Pure.
 *
 *   1 DROP    out of the queue, or out of the lane before it has started: no ladder is needed
 *   2 FLAG    the cooperative flag; a task of the worker's event loop is cancelled       grace_ns
 *   3 RAISE   Cancelled is raised inside the running code, by a signal                   raise_ns
 *   4 KILL    the worker's group
 *
 * Invariants
 *  1. Rungs are only climbed; each is reached once, and its time is kept.
 *  2. The ladder ends when the call is answered, or its worker has ended, whatever the rung.
 *  3. It never goes beyond max_rung: the call then keeps its lane until it returns. Where the worker takes no signal, rung 3 is left
 *     out: what its time is for cannot happen. */
#ifndef PIT_WORKER_LADDER_H
#define PIT_WORKER_LADDER_H

#include <snakepit/base.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    RUNG_NONE = 0,
    RUNG_DROP = PIT_RUNG_DROP,
    RUNG_FLAG = PIT_RUNG_FLAG,
    RUNG_RAISE = PIT_RUNG_RAISE,
    RUNG_KILL = PIT_RUNG_KILL,
    RUNGS
};

/* The real-time signal of rung 3: SIGRTMIN + 10 of glibc, told in WELCOME. A worker gets it only if it has said that it takes it. */
#define CANCEL_SIGNAL 44
#define RAISE_WAIT_NS UINT64_C(500000000) /* so long may the exception take */

struct ladder {
    uint64_t sequence; /* of the call; 0: there is no ladder */
    int rung, max_rung;
    uint64_t at_ns[RUNGS]; /* when each was reached; 0: it was not */
};

struct ladder_rules {
    uint64_t grace_ns, raise_ns;
    bool can_raise;
};

/* Puts the call onto the flag's rung, or, if that is above max_rung, leaves it alone. */
void ladder_begin(struct ladder *l, uint64_t sequence, int max_rung, uint64_t now_ns);
void ladder_clear(struct ladder *l);
/* Takes the next rung if its time has come: true, once a rung. *ret_due_ns: when to ask again, UINT64_MAX: never. */
bool ladder_climb(struct ladder *l, const struct ladder_rules *r, uint64_t now_ns, uint64_t *ret_due_ns);
/* Nanoseconds that were spent on this rung, of a ladder that ends now; 0: it was not reached. */
uint64_t ladder_spent(const struct ladder *l, int rung, uint64_t end_ns);

#endif
