/* The last look at a call that runs out of time: where it hung, for its error, and for the dossier of a worker that is killed for it.
 *
 * Nobody waits for that. The worker is asked a moment before the deadline, so that its answer stands there when the error is made; a kill
 * waits for it, some milliseconds. A look costs a running call the interpreter for some 20 us, so short calls have none.
 *
 * Invariants: of a worker there is one such look at a time; those who want one meanwhile share it. All but last_look_due: lock.
 * Failure: what has not come in time is not told. */
#ifndef PIT_POOL_LOOK_H
#define PIT_POOL_LOOK_H

#include "pool/pool.h"
#include "worker/look.h"

#define LAST_LOOK_NS UINT64_C(40000000)  /* before the deadline */
#define KILL_WAITS_NS UINT64_C(20000000) /* at most, for the answer */
enum { LAST_LOOK_FROM_MS = 100 /* calls that have less time are not looked at */ };

/* When to look at a call that is with a worker: a moment before its deadline, else at its deadline. Any thread. */
static inline uint64_t last_look_due(const struct call *c)
{
    bool has_time = c->timeout_ms >= LAST_LOOK_FROM_MS && c->deadline_ns != UINT64_MAX;
    return has_time ? c->deadline_ns - LAST_LOOK_NS : c->deadline_ns;
}

/* Asks the worker, if it can be asked. */
void last_look_ask(struct pool *p, struct worker *w);
/* It was asked, has not answered, and has time left. */
bool last_look_pending(struct pool *p, struct worker *w);
/* Adds to the error of a call that is with a worker where it was, if it runs and its worker has answered. */
pit_error *last_look_put(struct pool *p, const struct call *c, pit_error *e);
/* Keeps where the first call of the lane was with its worker, which is to be killed. */
void last_look_keep(struct pool *p, const struct lane *l);

struct look_target look_target_of(const struct worker *w);

#endif
