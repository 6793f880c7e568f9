/* The beginning of a call: from public options to an encoded frame. */
#ifndef PIT_API_BEGIN_H
#define PIT_API_BEGIN_H

#include <snakepit/call.h>

#include "api/api.h"
#include "worker/call.h"

struct pool;

/* What the options mean; the same for all calls of a batch. */
struct call_plan {
    pit_call_options options;
    struct pool *pool;
    struct buf fields; /* encoded: metadata, binary parameters, options for the worker */
    bool limited;
    struct limits limits;
    unsigned depth;             /* calls that these calls are inside of: made in a tool */
    struct pit_tool_ctx *under; /* that tool, when the pool's worker waits for it: a blocking call goes there; NULL: none */
    bool held;        /* a tool of this thread keeps the pool's only lane, waiting for it or reading what it streams */
    uint64_t now_ns;  /* when it is; 0: each call asks the clock */
    int64_t asked_ms; /* the time-out that options.deadline_ns has been made from, for who is told of it; 0: from none */
};

/* NULL, or an error (owned). call_plan_finish in either case. */
pit_error *call_plan_make(pit *p, const pit_call_options *given, struct call_plan *ret);
void call_plan_finish(struct call_plan *plan);
/* Of calls that this thread waits for, and that want a lane of their own: would_deadlock (owned) in a tool that the pool's only lane waits for. */
pit_error *call_plan_waits(const struct call_plan *plan);
/* What cannot be planned is counted, once the pool is known: n calls. Returns e. */
pit_error *call_plan_refuse(const struct call_plan *plan, size_t n, pit_error *e);
pit_error *call_check_command(const char *command); /* NULL, or an error (owned) */
enum { CALL_ID_MAX = 256 };                         /* bytes of a session id, and of a correlation id */
enum { CALL_COMMAND_MAX = 256 };
pit_error *call_check_options(const pit_call_options *o); /* of a call that goes to no worker: NULL, or an error (owned) */
bool call_text_is_good(const char *text, size_t max);     /* 1 to max bytes of UTF-8 */
pit_error *call_check_binary(const pit_value *m);         /* is it a map of names to bytes? NULL, or an error (owned) */
/* Fills and encodes a cleared call, which borrows command (checked) and the options' texts. NULL, or an error (owned). */
pit_error *call_begin(pit *p, const struct call_plan *plan, struct call *c, const char *command, const struct call_args *args);
struct stream;
/* Between the two: the call is that of a stream. */
void call_stream_plan(struct call_plan *plan, struct call *c, struct stream *s, bool inbox);
/* The texts that a call borrows are copied into one block (owned by the caller), for one that outlives who made it. NULL: no memory. */
char *call_keep_texts(struct call *c);
/* Does an argument of it say that it may be repeated? After it was encoded. */
bool call_says_idempotent(const struct call *c, const struct call_args *args);

#endif
