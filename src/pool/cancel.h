/* Calls that end before their answer: cancelled, over their time, or over a limit. Their callers are answered at once; what still runs in a
 * worker climbs the ladder (worker/ladder.h), which the loop attends to. Functions marked "lock" want the pool's lock held. */
#ifndef PIT_POOL_CANCEL_H
#define PIT_POOL_CANCEL_H

#include "pool/pool.h"

/* What call.cancelled will tell of a call whose caller has gone. */
struct cancel_note {
    struct list node; /* in its lane's notes until the ladder has ended, then in the pool's */
    struct ladder ladder;
    uint64_t sequence, entered_ns, ended_ns, generation;
    int max_rung;
    const char *command, *session_id, *correlation_id, *reason; /* in `texts`; session_id and reason may be NULL */
    char worker_id[WORKER_ID];
    char texts[];
};

/* lock: nobody waits for this answer any more; the loop sees to the lane. reason NULL: the worker is to blame and will be killed. */
void cancel_abandon(struct pool *p, struct lane *l, struct flight *f, const char *reason);
/* lock: ends a queued or sent call that the loop carries with e, onto *done. true: nothing of it runs or ever will. */
bool cancel_end(struct pool *p, struct call *c, pit_error *e, const char *reason, struct list *done);
/* lock: how far the ladder of a call that is with a worker may go, and on which rung it is when its caller is answered. */
int cancel_max_rung(const struct pool *p, const struct call *c);
int cancel_first_rung(const struct pool *p, const struct call *c);
/* lock, loop: the lane's first call may have been given up, or answered. */
void cancel_watch(struct pool *p, struct lane *l);
/* lock, loop: a worker that reads CANCEL is told, as soon as its socket has room between two frames. */
void cancel_tell(struct pool *p, struct lane *l);
/* lock, loop: a call without a caller has been answered, or its worker has ended. */
void cancel_ended(struct pool *p, struct lane *l, uint64_t sequence);
/* lock: something runs there without a caller, and the ladder has not done yet what it may to end it. */
bool cancel_climbs(const struct pool *p, struct lane *l);
void cancel_init(struct pool *p);
void cancel_finish(struct pool *p);
void cancel_on_grace(struct loop_timer *t); /* of a lane */

#endif
