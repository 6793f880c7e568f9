/* The crash barrier's rules: which call may run again when its worker has died, when, and which deaths make a slot suspect. Pure: facts, rules
 * and the time go in, a decision comes out.
 *
 * Invariants
 *  1. A call is run again at most max_restarts times, and never at or after its deadline.
 *  2. What is not idempotent is run again only where the rules say `always`. */
#ifndef PIT_FAULT_BARRIER_H
#define PIT_FAULT_BARRIER_H

#include <stdbool.h>
#include <stdint.h>

enum { BARRIER_STEPS = 8, BARRIER_CODES = 16, BARRIER_RESTARTS = 16 /* at most */ };
enum barrier_retry { BARRIER_IDEMPOTENT = 1, BARRIER_ALWAYS, BARRIER_NEVER };

struct barrier_rules {
    bool on;
    enum barrier_retry retry;
    unsigned max_restarts;
    unsigned n_backoff;
    uint64_t backoff_ns[BARRIER_STEPS]; /* before the first restart, the second, ...; the last repeats; none: at once */
    uint64_t taint_ns;                  /* UINT64_MAX: without end */
    uint32_t mark;                      /* one bit for each class of exits that marks the slot */
    unsigned n_codes;
    int codes[BARRIER_CODES]; /* exit statuses that mark it too, as a shell would say them */
    unsigned worker_max_crashes;
};

/* May a call that has been run again `restarts` times be run once more? true: not before *ret_at_ns. */
bool barrier_retries(const struct barrier_rules *r, bool idempotent, unsigned restarts, uint64_t now_ns, uint64_t deadline_ns,
                     uint64_t *ret_at_ns);
/* Does an end of this class with this exit status make what it leaves behind suspect? */
bool barrier_marks(const struct barrier_rules *r, unsigned exit_class, int exit_code);

#endif
