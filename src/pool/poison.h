/* Calls that kill workers: the same command with the same arguments, once it has ended as many workers as poison.crashes says, is not run again. The
 * rules are fault/poison.h's.
 *
 * Invariants
 *  1. `bad` is false until some call of the pool has killed often enough: until then a call costs one branch.
 *  2. A death counts for a call only when its worker was at no other: with several lanes nobody knows whose doing it was.
 *  3. When a call becomes poison, those that wait and are the same get their outcome in the same hold of the lock. */
#ifndef PIT_POOL_POISON_H
#define PIT_POOL_POISON_H

#include <snakepit/base.h>

#include "base/list.h"
#include "os/loop.h"

struct call;
struct lane;
struct poison_store;
struct pool;

struct poison {
    bool bad;                   /* lock: some call is refused */
    uint64_t refused;           /* lock */
    struct poison_store *store; /* lock; NULL: nothing has killed, or there was no memory */
    struct list done;           /* lock: calls that the loop carries, whose end is to be told */
    struct loop_work work;
};

void poison_init(struct pool *p);
void poison_finish(struct pool *p);
/* lock: the worker of this lane has died of itself and had begun this call, which is on it no more; e: what its caller gets. true: it must not
 * be run again. */
bool poison_death(struct pool *p, const struct lane *l, const struct call *c, const pit_error *e);
/* lock; bad: the error (owned) of a call that is refused; NULL: it may run. */
pit_error *poison_refuse(struct pool *p, struct call *c);
/* lock: a call of the loop that was refused where nobody waits for an error: it ends, and that is told. */
void poison_drop(struct pool *p, struct call *c, pit_error *e);
/* Any thread: forgets what has killed. */
void poison_clear(struct pool *p);

#endif
