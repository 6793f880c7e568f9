/* Between inner.c (threads that ride a lane), inner_loop.c (lanes of the loop) and inner_tool.c (what both do). */
#ifndef PIT_POOL_INNER_PRIVATE_H
#define PIT_POOL_INNER_PRIVATE_H

#include "pool/inner.h"
#include "pool/tool_job.h"

/* A call of a tool, as it stands in a frame. */
struct asked {
    uint64_t id;
    char name[TOOL_NAME_MAX + 1]; /* "": it is longer than a tool's name can be */
    const uint8_t *args, *binary; /* encoded; borrowed from the frame; binary NULL: none */
    const uint8_t *window;        /* the field stream, borrowed; NULL: none */
    size_t args_n, binary_n, window_n;
};

enum {
    ANSWER_SMALL = 512,
    UNREAD_MAX = 1 << 20 /* bytes of answers that a worker does not read, before it has broken the rules */
};

/* 0, or PIT_E_PROTOCOL_ERROR. */
int inner_read(const struct frame *f, struct asked *ret);
/* Runs what was asked for on this thread, or says why not: out (empty) is the frame of the answer. c is filled in but for the tool; tool_let_go() is the
 * caller's, best when the answer is out. */
void inner_run(struct pit_tool_ctx *c, struct tool *t, const struct asked *a, struct buf *out);
/* The frame that lists the exposed tools which the session sees. */
void inner_list(struct pool *p, const char *session, uint64_t id, struct buf *out);
/* The frame that refuses a call of a tool; e is taken. */
void inner_refuse(struct pool *p, uint64_t id, pit_error *e, struct buf *out);
void inner_refuse_given_up(struct pool *p, uint64_t id, struct buf *out);
void inner_refuse_missing(struct pool *p, const struct lane *l, const char *session, const struct asked *a, struct buf *out);

/* Who may send on the lane: one frame to the worker, now or as soon as there is room. false: no memory, and the worker must go. */
bool inner_put(struct lane *l, const uint8_t *frame, size_t n);
/* The same of an answer to that level: at once, or when it is on top. */
bool inner_put_to(struct lane *l, unsigned level, const struct buf *frame);
/* What is held for the level that is on top now. */
bool inner_put_held(struct lane *l);
/* lock: c goes to the lane's worker, inside the call that is on top. */
void inner_assign(struct pool *p, struct lane *l, struct call *c);
/* lock: its frame was cut, or an answer to it is lost. */
void inner_condemn(struct pool *p, struct lane *l);
/* lock: all that is needed of the call, which may end before the tool does. NULL: no memory. */
struct tool_job *inner_make_job(struct pool *p, struct lane *l, struct call *c, uint64_t id);
/* Why no thread runs the tool; rc: of starting one. */
pit_error *inner_no_thread(const char *tool, int rc);
/* lock: answers that the worker does not read: too many? */
bool inner_is_deaf(const struct lane *l);

/* ---- inner_stream.c: tools that stream ---- */

/* Does the tool stream, or is it asked to? Then it takes this way. */
static inline bool inner_streams(const struct tool *t, const struct asked *a)
{
    return __builtin_expect(t->streaming || a->window != NULL, 0);
}
/* Runs the job (taken), whose frame and tool are filled in, or answers why not. 0, or PIT_E_PROTOCOL_ERROR. No lock. */
int inner_stream_begin(struct tool_job *j, const struct asked *a);
/* Its answer goes out, if somebody wants it; the job is freed. No lock. */
void inner_stream_finish(struct tool_job *j, struct buf *out);
/* TOOL_CREDIT and TOOL_CLOSE. 0, or PIT_E_PROTOCOL_ERROR. Who receives; no lock. */
int inner_stream_frame(struct pool *p, struct lane *l, const struct frame *f);
static inline bool inner_is_of_stream(const struct frame *f)
{
    return f->kind == FRAME_TOOL_CREDIT || f->kind == FRAME_TOOL_CLOSE;
}
/* lock: is the number that of a tool which streams still? */
bool inner_stream_has(struct lane *l, uint64_t id);

void inner_submit(struct pool *p, struct call *c, struct pit_tool_ctx *under); /* inner_call, of a lane of the loop */

#endif
