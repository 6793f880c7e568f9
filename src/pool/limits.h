/* What a call uses of its worker, watched while it runs (fault/limits.h judges). Only calls with limits are; the loop carries them. */
#ifndef PIT_POOL_LIMITS_H
#define PIT_POOL_LIMITS_H

#include "pool/pool.h"

/* lock: the call is about to be sent on this lane. */
void limits_begin(struct pool *p, struct lane *l, const struct call *c);
/* lock, loop: the lane's first call may have changed. */
void limits_watch(struct pool *p, struct lane *l);
/* lock, loop: the call's answer has come. The outcome that it gets: call_limit_exceeded in the answer's place, if it used too much. */
struct outcome limits_settle(struct pool *p, struct lane *l, struct call *c, struct outcome answer);
void limits_stop(struct pool *p, struct lane *l); /* loop: the lane has ended */
void limits_on_timer(struct loop_timer *t);       /* of a lane */

#endif
