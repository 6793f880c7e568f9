/* The steps of a call that its own thread carries, for who rides a lane in another way than pool_call(): no lock is held, the lane is the thread's. */
#ifndef PIT_POOL_BLOCKING_H
#define PIT_POOL_BLOCKING_H

#include "pool/pool.h"

enum step { STEP_DONE, STEP_AGAIN /* in the queue */, STEP_FRAME, STEP_ROOM /* or a frame */, STEP_LANE, STEP_EXIT };

/* One attempt to send and to receive. woken: from a wait on the channel, so there should be something. */
enum step blocking_step(struct pool *p, struct call *c, struct channel_frame *in, bool woken);
void blocking_wait(struct pool *p, struct call *c, enum step what, uint64_t deadline_ns);
/* Its time is over: true, it has its outcome; or nearly: its worker is asked where it is, and *until_ns is when to look again. */
bool blocking_out_of_time(struct pool *p, struct call *c, uint64_t *until_ns);
/* The call has not ended in time with its worker: it gets e (taken), the caller leaves now, the loop deals with the rest. */
void blocking_leave_behind(struct pool *p, struct call *c, pit_error *e, const char *reason);

#endif
