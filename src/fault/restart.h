/* When the successor of a dead worker may start. Pure: state, rules and the time go in, a time comes out.
 *
 * Two nets, one above the other:
 *   slot   the third death within RESTART_DEATHS_MS puts it into back-off: each further death waits for the next of RESTART_STEPS_MS, until
 *          a worker has been healthy for RESTART_HEALTHY_MS. A start that failed waits likewise, with a count of its own.
 *   pool   at most max_restarts successors start within any window; who comes then waits, and the pool is degraded until a whole window
 *          has passed without anybody waiting.
 *
 * Invariants
 *  1. What was our doing (the ladder, recycling, a lost guard) counts in neither net and waits for nothing.
 *  2. restart_pool_ask() grants at most max_restarts times within any window_ns, whatever it is asked. */
#ifndef PIT_FAULT_RESTART_H
#define PIT_FAULT_RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum { RESTART_DEATHS = 3, RESTART_DEATHS_MS = 5000, RESTART_HEALTHY_MS = 60000, RESTART_MOST = 1024 };

struct restart_rules {
    bool on;               /* false: nobody waits, but the shortest step after a failed start */
    unsigned max_restarts; /* 1 to RESTART_MOST */
    uint64_t window_ns;
};

enum restart_outcome {
    RESTART_OURS,   /* we ended it, or the guard was lost */
    RESTART_DIED,   /* it was ready, and has died */
    RESTART_FAILED, /* it never became ready */
};

struct restart_slot {
    uint64_t deaths[RESTART_DEATHS]; /* the last ones, oldest first */
    unsigned n_deaths, step, failed; /* step: back-off, 0: none; failed: starts in a row */
};

/* What a pool has granted lately; zeroed to begin with. */
struct restart_pool {
    uint64_t granted[RESTART_MOST]; /* a ring of max_restarts entries */
    unsigned next, n;
    uint64_t calm_ns; /* not 0: degraded, until then at the earliest */
    uint64_t since_ns;
};

/* How long, in ns, the slot waits for its next start. lived_ns: how long the worker that has ended had been ready. */
uint64_t restart_slot_ended(struct restart_slot *s, const struct restart_rules *r, uint64_t now, enum restart_outcome o,
                            uint64_t lived_ns);
/* A worker of it has become ready: failed starts are forgotten. */
void restart_slot_ready(struct restart_slot *s);
/* May a successor start now? 0: yes, and it is counted. Else the time at which to ask again: the pool is degraded. */
uint64_t restart_pool_ask(struct restart_pool *p, const struct restart_rules *r, uint64_t now);
bool restart_pool_is_degraded(const struct restart_pool *p);
/* Has it been calm for a window? Then it is degraded no more. */
bool restart_pool_recovers(struct restart_pool *p, uint64_t now);

#endif
