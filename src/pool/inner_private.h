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
    size_t args_n, binary_n;
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
void inner_submit(struct pool *p, struct call *c, struct pit_tool_ctx *under); /* inner_call, of a lane of the loop */

#endif
