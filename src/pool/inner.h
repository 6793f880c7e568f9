/* What a worker sends in the middle of a call, beside its answer; and the calls that tools make meanwhile. Whoever receives on the lane hands
 * frames over here: one function for threads that ride a lane, one for the loop.
 *
 * A lane's calls nest as a stack: its first flight is level 0; while that waits for a tool, a call that the tool makes into the same pool is the next flight,
 * on the same lane, level 1; and so on. The last `nested` flights of a lane are such calls. Only the innermost level talks.
 *
 * Invariants
 *  1. A lane's answers come innermost first. What goes to an outer level is held until the inner one, given up by its caller, is answered.
 *  2. On a lane that a thread rides all levels are on that thread's stack. On a lane of the loop a tool thread runs the tool; while it waits in a call that
 *     the tool has made, it runs the tools of that call, too (struct inner_mail): depth costs no further thread.
 *  3. A call that has called a tool has begun: after its worker's death it is not silently run elsewhere. */
#ifndef PIT_POOL_INNER_H
#define PIT_POOL_INNER_H

#include "pool/pool.h"
#include "pool/tool_run.h"

enum {
    INNER_LEFT = 1 /* the call has its outcome and no lane any more */,
    INNER_STOP = 1 /* the loop receives nothing more for now */
};

/* A frame of the lane of c, which this thread rides. `in` is what f points into; it may be used up. 0: the ride goes on; INNER_LEFT; or why the worker
 * must go (PIT_E_PROTOCOL_ERROR, ...). No lock. */
int inner_frame(struct pool *p, struct call *c, const struct frame *f, struct channel_frame *in);
/* A frame of a lane of the loop: 0, INNER_STOP, or why the worker must go. No lock. */
int inner_loop_frame(struct pool *p, struct lane *l, const struct frame *f, struct channel_frame *in);
/* Attends to what inner_loop_frame has kept. Loop; no lock. */
void inner_serve(struct pool *p, struct lane *l);
/* Has the call of this sequence, which has called a tool, been given up, or has its worker ended? Whoever keeps the worker alive. No lock. */
bool inner_given_up(struct pool *p, struct lane *l, uint64_t sequence);

/* ---- a lane with l->inner ---- */

static inline bool inner_on_top(const struct lane *l, const struct call *c)
{
    return l->nested == c->level;
}

/* Sends what is left of frames to the worker, by who rides the lane. As the channel's send. */
/* Keeps a frame of which `done` bytes are out (0, where others stand before it) until there is room: false: no memory. */
bool inner_queue(struct lane *l, const uint8_t *frame, size_t n, size_t done);
int inner_flush(struct lane *l);
/* The same for who rides it: where others may send, too, under the lock. No lock. */
int inner_flush_ridden(struct pool *p, struct lane *l);
/* The call has its answer: its outcome, and the lane goes back unless an outer call has it. No lock. */
void inner_leave(struct pool *p, struct call *c, struct outcome o);
/* The worker has ended: what was given up above c has ended, too. No lock. */
void inner_forget_above(struct pool *p, struct call *c);
/* lock: a flight has left the lane of the loop; `level` was its. */
void inner_popped(struct pool *p, struct lane *l, unsigned level);
/* lock: c gets an outcome before its answer: so do the calls that its tools have made, onto *done. */
void inner_end_above(struct pool *p, struct call *c, const char *reason, struct list *done);

/* ---- calls that tools make ---- */

/* Carries a call, begun and without a lane, to its outcome on the lane whose worker waits for the tool `under`. Blocks. */
void inner_call(struct pool *p, struct call *c, struct pit_tool_ctx *under);
/* Ends such a call, of a lane that a thread rides: any thread but that; the reason lives as long as the call. */
void inner_cut(struct pool *p, struct call *c, const char *reason);

/* ---- tools that stream ---- */

/* What pit_tool_send() does, in a tool with c->stream. */
int inner_stream_send(struct pit_tool_ctx *c, const pit_value *v, int64_t timeout_ms);
/* Its reader has had enough, or is no more. No lock. */
bool inner_stream_closed(struct pit_tool_ctx *c);
/* lock: those of the lane that wait look again: a call has ended, the worker has, or the lane has room. */
void inner_streams_changed(struct lane *l);

/* ---- tool threads ---- */

struct tool_job;
void inner_job_run(struct tool_job *j);  /* runs the tool, answers, frees */
void inner_job_drop(struct tool_job *j); /* nobody wants it any more: frees */

#endif
