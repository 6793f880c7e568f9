/* The crash barrier of a pool: a call whose worker has died is run again on another one where that is allowed, and its caller does not notice.
 * The rules are fault/barrier.h's.
 *
 * Invariants
 *  1. A call in BACKOFF is in `waiting`, which is ordered by the time of its next run, and nowhere else; it was admitted, and counts as
 *     active.
 *  2. c->crash is the error of the last death, and is there if and only if c->restarts is not 0 and the call has no outcome. */
#ifndef PIT_POOL_BARRIER_H
#define PIT_POOL_BARRIER_H

#include <snakepit/base.h>

#include "base/list.h"
#include "os/loop.h"

struct call;
struct lane;
struct outcome;
struct pool;

struct barrier {
    struct list waiting; /* lock */
    uint64_t retries;    /* lock: runs that were not the first */
    struct loop_timer timer;
    struct loop_work work;
};

void barrier_init(struct pool *p);
/* lock: the call was SENT on this lane, to a worker that has ended, and is with none now; *e is what it would end with. true: it is taken (so is *e), and is
 * QUEUED again, or will be. false: it ends with *e, which may be another error now. */
bool barrier_takes(struct pool *p, const struct lane *l, struct call *c, pit_error **e);
/* lock: the first of those that wait; NULL: nobody does. */
struct call *barrier_first(struct pool *p);
/* lock: the outcome of a call that was run more than once says so. */
void barrier_settle(struct call *c, struct outcome *o);

#endif
