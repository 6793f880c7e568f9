/* What a worker sends in the middle of a call, beside its answer. Whoever receives on the lane hands it over here: one function for threads that
 * ride a lane, one for the loop. */
#ifndef PIT_POOL_INNER_H
#define PIT_POOL_INNER_H

#include "pool/pool.h"

enum {
    INNER_LEFT = 1 /* the call has its outcome and no lane any more */,
    INNER_STOP = 1 /* the loop receives nothing more for now */
};

/* A frame of the lane of c, which this thread rides. `in` is what f points into; it may be used up. 0: the ride goes on; INNER_LEFT; or why the worker
 * must go (PIT_E_PROTOCOL_ERROR, ...). No lock. */
int inner_frame(struct pool *p, struct call *c, const struct frame *f, struct channel_frame *in);
/* A frame of a lane of the loop: 0, INNER_STOP, or why the worker must go. No lock. */
int inner_loop_frame(struct pool *p, struct lane *l, const struct frame *f, struct channel_frame *in);

/* Has the call of this sequence, which has called a tool, been given up, or has its worker ended? Whoever keeps the worker alive. No lock. */
bool inner_given_up(struct pool *p, struct lane *l, uint64_t sequence);

#endif
