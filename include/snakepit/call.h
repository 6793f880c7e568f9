/* Calls: blocking, and as futures. Since 0.1, unless a comment says otherwise. */
#ifndef SNAKEPIT_CALL_H
#define SNAKEPIT_CALL_H

#include <snakepit/base.h>
#include <snakepit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PIT_PRIORITY_BACKGROUND = 1, PIT_PRIORITY_NORMAL, PIT_PRIORITY_HIGH, PIT_PRIORITY_URGENT };

/* What becomes of an object in a result that is no value (on_unserializable). */
enum {
    PIT_UNSERIALIZABLE_MARKER = 1, /* a marker in its place: the rest of the result is kept */
    PIT_UNSERIALIZABLE_REF,        /* a reference to it, where the worker keeps such objects; else unserializable */
    PIT_UNSERIALIZABLE_ERROR       /* the call fails with unserializable, which names the path and the type */
};

typedef struct pit_canceller pit_canceller;

/* What a call may use. Zero in a field means "not set"; PIT_INFINITE: no limit, over one of the pool's. A call that goes beyond a limit ends with
 * call_limit_exceeded, whose details name it (limit, allowed, used); what still runs climbs the ladder of PIT_RUNG_*. The worker's process
 * is measured from outside every 10 ms (cpu_ms and wall_ms earlier, where they are near), and when the answer has come; calls without limits are
 * not measured. Since 0.1. */
typedef struct pit_limits {
    size_t size;
    int64_t cpu_ms;        /* CPU time of the worker's process, all threads together */
    int64_t wall_ms;       /* from the moment when the worker is given the call; what waits in the queue does not count */
    int64_t rss_growth_mb; /* resident memory, MiB: its peak during the call beyond what there was before */
    int64_t output_bytes;  /* of the encoded result, and of what the worker has printed meanwhile */
    int64_t open_files;    /* descriptors beyond those that were open before */
} pit_limits;

#define PIT_LIMITS_INIT                                                                                                        \
    {                                                                                                                          \
        sizeof(pit_limits), 0, 0, 0, 0, 0                                                                                      \
    }

/* Zero in a field means "not set". The same struct serves every form of a call. */
typedef struct pit_call_options {
    size_t size;
    const char *pool;           /* (the first pool) */
    const char *session_id;     /* 1 to 256 bytes of UTF-8; Python sees it as session_context.session_id */
    const char *correlation_id; /* (generated: "sp-" and 24 hex digits) 1 to 256 bytes of UTF-8 */
    int priority;               /* PIT_PRIORITY_NORMAL */
    int fail_fast;              /* PIT_ON: no_workers_available instead of waiting */
    int64_t timeout_ms;         /* from entry to result, waiting included (the pool's); PIT_INFINITE; others: invalid_timeout */
    uint64_t deadline_ns;       /* absolute, pit_now_ns()'s clock; with a timeout the earlier counts */
    int idempotent;             /* PIT_ON: may be run again without harm, PIT_OFF: never; 0: as @tool(idempotent=...) says */
    int on_unserializable;      /* PIT_UNSERIALIZABLE_*; (what the worker's adapter wants: a marker) */
    pit_canceller *canceller;   /* ends the call when it is fired; borrowed, but may be freed while the call runs */
    const pit_value *binary_parameters; /* a map of names to bytes; Python sees it as session_context.binary_parameters */
    const pit_value *metadata;          /* a map of text to text, numbers or booleans, at most 32 entries and 4096 bytes (else
                                   invalid_metadata); Python sees it as session_context.metadata */
    int cancel_max_rung;                /* PIT_RUNG_*: how far the call's cancellation may go (the pool's) */
    const pit_limits *limits;           /* what the call may use (the pool's); borrowed; else invalid_parameter */
} pit_call_options;

#define PIT_CALL_OPTIONS_INIT                                                                                                  \
    {                                                                                                                          \
        sizeof(pit_call_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                     \
    }

/* Calls command in a worker. args: a map = keyword arguments, a list or tuple = positional ones, pit_args() = both, NULL = none,
 * anything else = one positional argument; borrowed. *ret (may be NULL) is owned by the caller. *Blocks* until the result, the error or
 * the deadline; wrong_thread from a callback on the loop thread.
 * Errors that a program acts on: the category python_error (what the Python code raised), worker_crash and deadline_exceeded,
 * queue_timeout and pool_saturated (try later), tool_not_found, invalid_parameter (a value that cannot be sent, with its path in
 * details.key). Since 0.1. */
PIT_API int pit_call(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_value **ret,
                     pit_error **reterr);
/* The same with arguments packed from a format (see pit_pack): pit_callf(p, "add", NULL, &r, &err, "{s:i,s:i}", "a", 2, "b", 3). */
PIT_API int pit_callf(pit *p, const char *command, const pit_call_options *o, pit_value **ret, pit_error **reterr,
                      const char *format, ...);
PIT_API int pit_callfv(pit *p, const char *command, const pit_call_options *o, pit_value **ret, pit_error **reterr,
                       const char *format, va_list ap);
/* The same with JSON text in and out (n bytes; NULL = no arguments); *ret_json is one block, NUL-terminated, *ret_n (may be NULL)
 * its length. */
PIT_API int pit_call_json(pit *p, const char *command, const char *json, size_t n, const pit_call_options *o, char **ret_json,
                          size_t *ret_n, pit_error **reterr);

/* ---- many calls at once ---- */

/* One call of a batch. All of it is borrowed for the length of pit_call_many(). */
typedef struct pit_call_item {
    const char *command;
    const pit_value *args; /* as in pit_call() */
    void *user;            /* yours; never read */
    void *reserved[2];     /* NULL */
} pit_call_item;

/* The outcome of an item. Freed, all of an array at once, by pit_call_results_free(). */
typedef struct pit_call_result {
    int rc;             /* 0, or why there is no value */
    pit_value *value;   /* owned; NULL when rc is not 0 */
    pit_error *error;   /* owned; NULL when rc is 0 */
    const char *worker; /* the id of the worker that ran it, NULL when none did; lives until the results are freed */
    void *reserved[2];
} pit_call_result;

/* Makes n calls and waits for all of them: ret_results[i] is the outcome of items[i], whatever became of the others. It feeds itself to
 * the workers as they have room, and several calls at a time where a command is known to be short, so it never fills the queue, and other
 * callers get their turn in between. o holds for every item; timeout_ms and deadline_ns are the whole batch's, and without either each
 * call has the pool's timeout from the moment when it is made ready. When a canceller is fired, what has not run ends as `cancelled`.
 * Returns 0 when every item has its outcome, also where all are errors: look at each rc. Anything else (options that are refused, a pool
 * that does not exist, no memory) has kept all of it from beginning, and stands in each rc as well. *Blocks*; wrong_thread from a callback on
 * the loop thread. ret_results is written in any case, its contents are the caller's. Since 0.1. */
PIT_API int pit_call_many(pit *p, const pit_call_item *items, size_t n, const pit_call_options *o, pit_call_result *ret_results,
                          pit_error **reterr);
/* Frees what the n results hold, and clears them; the array is the caller's. NULL: does nothing. Since 0.1. */
PIT_API void pit_call_results_free(pit_call_result *results, size_t n);

/* ---- cancelling ---- */

/* Something that ends every call, future and batch that was given it (option `canceller`), from any thread: those that wait are
 * dropped, those that run climb the ladder of PIT_RUNG_*; their callers have the outcome `cancelled` at once. Owned by the caller, freed with pit_canceller_free(). Never NULL: without memory a call that gets it fails with
 * allocation_failed. Since 0.1. */
PIT_API pit_canceller *pit_canceller_new(void);
/* Any thread, any number of times; it stays fired: later calls with it return `cancelled` at once. reason (may be NULL) of the first time
 * is in the errors. 0, or allocation_failed. Since 0.1. */
PIT_API int pit_canceller_fire(pit_canceller *c, const char *reason);
/* Calls that have it keep it alive as long as they need it. NULL: does nothing. Since 0.1. */
PIT_API void pit_canceller_free(pit_canceller *c);

/* ---- futures ---- */

typedef struct pit_future pit_future;

/* Starts a call and returns at once; what can be refused at once is: pool_not_found, pool_saturated, shutting_down, invalid_parameter
 * (bad arguments). *ret is owned by the caller and freed with pit_future_free(). Never blocks. Since 0.1. */
PIT_API int pit_submit(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_future **ret,
                       pit_error **reterr);
/* Waits for the outcome of the call: 0 when it is there, PIT_E_PENDING when the time is over before (0: does not wait; PIT_INFINITE);
 * would_deadlock in a tool of the host, where every worker of the call's pool waits for a tool that waits for the pool. *Blocks.* */
PIT_API int pit_future_wait(pit_future *f, int64_t timeout_ms);
/* The call's outcome: its code, a new reference to its result, an error of the caller's own; PIT_E_PENDING while there is none. Any
 * number of times. */
PIT_API int pit_future_result(pit_future *f, pit_value **ret, pit_error **reterr);
/* Sets what is called at the end: fn runs once on the loop thread when the call has its outcome, before pit_close returns; at once (on this thread) when it has it
 * already. Functions that block are refused in it either way. Setting it again before it ran replaces it; fn NULL removes it. fn may
 * free f. */
PIT_API int pit_future_on_done(pit_future *f, void (*fn)(pit_future *f, void *user), void *user);
/* Ends the call: dropped when it still waits; a running one climbs the ladder of PIT_RUNG_* in its worker.
 * The future has its outcome (cancelled) at once. Again or after the end: 0, no effect. reason (may be NULL) is in the error. */
PIT_API int pit_future_cancel(pit_future *f, const char *reason);
/* Lets go of a future. Does not cancel: an unfinished call goes on, its result is dropped. */
PIT_API void pit_future_free(pit_future *f);

#ifdef __cplusplus
}
#endif
#endif
