/* Tools, both ways: functions of the host that Python code calls in the middle of a call, and the commands that workers offer. Since 0.1, unless a
 * comment says otherwise. */
#ifndef SNAKEPIT_TOOL_H
#define SNAKEPIT_TOOL_H

#include <snakepit/base.h>
#include <snakepit/call.h>
#include <snakepit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a tool knows of the call that it serves. Lives until the tool returns; only the thread that runs the tool may use it. */
typedef struct pit_tool_ctx pit_tool_ctx;

/* A function of the host. args: what it was called with, as in pit_call(): a map of keyword arguments, a list of positional ones; or pit_args() of
 * both; borrowed. It sets *ret to a value, which the library takes (NULL: nil), and returns 0; or fails: with what pit_tool_fail() returns, or with
 * any other number, which is in details.status if it is none of PIT_E_*. user is what it was registered with. It may block, call pit_call() and the other functions of this library, and
 * may be unregistered while it runs; pit_close() and pit_shutdown() return wrong_thread in it. Several threads may run it at a time. */
typedef int (*pit_tool_fn)(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user);

/* Where a tool runs (run_on). One that streams has a thread of its own as long as it runs, so that no reader waits for another one's producer, and none
 * of its calls goes back to the worker that it serves; with PIT_RUN_ON_LOOP it runs where it is asked for, and cannot wait for its reader. */
enum {
    PIT_RUN_ON_CALLER =
        1, /* on the thread that waits in pit_call() for the Python code; where none does, on a tool thread (option tool_threads) */
    PIT_RUN_ON_LOOP /* there too; but where none waits, on the loop thread: the tool must not block */
};

/* Zero in a field means "not set". All of it is copied, or shared. */
typedef struct pit_tool_options {
    size_t size;
    const char *description;     /* (none) UTF-8 */
    const pit_value *parameters; /* (none) a list of maps, each with a text `name`; else invalid_parameter */
    const pit_value *returns;    /* (none) what it returns, in words or as a schema: any value */
    const pit_value *
        metadata; /* (none) a map of text to text, numbers or booleans, at most 32 entries and 4096 bytes (else invalid_metadata) */
    int exposed; /* (PIT_OFF) PIT_ON: Python finds it in session_context.host_tools. By its name it can be called in any case */
    int idempotent; /* (PIT_OFF) PIT_ON: may be run again. Else a call that has called it is not, when its worker dies */
    int replace;    /* (PIT_OFF) PIT_ON: takes the place of a tool of the same name and scope */
    int run_on;     /* (PIT_RUN_ON_CALLER) PIT_RUN_ON_* */
    int64_t
        timeout_ms; /* (the call's) so long may it take; what it returns later is dropped. PIT_INFINITE; else invalid_timeout */
    void (*release)(
        void *user); /* (none) called once when the tool is unregistered and no thread runs it any more: on any thread */
    int streaming;   /* (PIT_OFF) PIT_ON: it gives its values one by one, with pit_tool_send(), and Python iterates over them */
} pit_tool_options;

#define PIT_TOOL_OPTIONS_INIT                                                                                                  \
    {                                                                                                                          \
        sizeof(pit_tool_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                              \
    }

/* Registers a function under a name: 1 to 64 letters, digits, '_', '.' or '-', the first a letter or digit; blanks around it do not count. session_id
 * NULL: for all sessions; else for that one alone, where it hides one of all sessions. o (may be NULL) is borrowed.
 * Errors: invalid_tool_name (details.reason empty, too_long, invalid_format), invalid_metadata (details.reason too_many_entries, too_large,
 * duplicate_keys, unsupported_type), duplicate_tool (without replace), invalid_session_id, invalid_parameter, invalid_timeout. When it fails,
 * release is not called. Never blocks. Since 0.1. */
PIT_API int pit_tool_register(pit *p, const char *session_id, const char *name, pit_tool_fn fn, void *user,
                              const pit_tool_options *o, pit_error **reterr);

/* One tool of pit_tool_register_many(). Borrowed. */
typedef struct pit_tool_item {
    const char *name;
    pit_tool_fn fn;
    void *user;
    const pit_tool_options *options; /* may be NULL */
    void *reserved[2];               /* NULL */
} pit_tool_item;

/* Registers n tools, or none: on failure *ret_failed (may be NULL) is the index of the item that is to blame, which details.index says too.
 * Errors: invalid_tool_name, duplicate_tool and the others of pit_tool_register(). Never blocks. Since 0.1. */
PIT_API int pit_tool_register_many(pit *p, const char *session_id, const pit_tool_item *items, size_t n, size_t *ret_failed,
                                   pit_error **reterr);
/* Takes a tool away; always 0, also when there is none. Calls that run go on to their end. Errors: forked, shutting_down. Never blocks. Since 0.1. */
PIT_API int pit_tool_unregister(pit *p, const char *session_id, const char *name);

enum { PIT_TOOLS_OF_HOST = 1, PIT_TOOLS_OF_WORKERS };

/* Which tools pit_tool_list() lists. Zero in a field means "not set". */
typedef struct pit_tool_filter {
    size_t size;
    int side;         /* (both) PIT_TOOLS_OF_* */
    const char *pool; /* (all) of worker tools: of this pool alone; else pool_not_found */
    const char *name; /* (all) of this name alone */
    int exposed;      /* (all) of host tools: PIT_ON or PIT_OFF */
} pit_tool_filter;

#define PIT_TOOL_FILTER_INIT                                                                                                   \
    {                                                                                                                          \
        sizeof(pit_tool_filter), 0, 0, 0, 0                                                                                    \
    }

/* Lists tools by name: those of the host that the session sees (NULL: those of all sessions), and those that workers have described when they became
 * ready (of a pool without a ready worker yet: none). filter may be NULL. *ret is owned by the caller: a list of maps of name, side ("host" or "worker"),
 * pool (of worker tools), description, parameters (a list of maps: name, required, type, default, where known), streaming, idempotent, timeout_ms; and of
 * host tools: session_id (or nil), exposed, returns, metadata. Errors: pool_not_found, invalid_session_id, invalid_parameter. Never blocks. Since 0.1. */
PIT_API int pit_tool_list(pit *p, const char *session_id, const pit_tool_filter *filter, pit_value **ret, pit_error **reterr);

/* Calls a tool by its name, wherever it is: one of the host, which the session sees (NULL: no session), here, on this thread; else the command of
 * that name in the pool that has it, as pit_call() does. Blanks around the name do not count. o (may be NULL): with `pool` only that pool's; session_id,
 * when it is set there, must be the same or absent here. To a tool of the host its timeout_ms (none, unless it is set), deadline_ns, canceller, correlation_id
 * and binary_parameters apply, too: pit_tool_cancelled() tells the tool, and what it returns then is dropped. *ret (may be NULL) is owned by the caller. *Blocks*; wrong_thread from a callback on the loop thread.
 * Errors: tool_not_found (it names the tool and the session; details.available, nearest), ambiguous_tool (several pools have it: details.pools),
 * tool_execution_failed, streaming_required (one of the host that streams: only Python code reads it), what pit_call() returns; deadline_exceeded of a
 * tool of the host has details.phase entry or tool, and its `limits` are refused: invalid_parameter. Since 0.1. */
PIT_API int pit_tool_call(pit *p, const char *session_id, const char *name, const pit_value *args, const pit_call_options *o,
                          pit_value **ret, pit_error **reterr);

/* ---- inside a tool ---- */

/* Fails: `return pit_tool_fail(c, "no symbol %s", symbol);`. Python gets a HostToolError with that message. Without memory the message is lost.
 * Returns PIT_E_TOOL_EXECUTION_FAILED. Since 0.1. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
PIT_API int
pit_tool_fail(pit_tool_ctx *c, const char *format, ...);
/* Fails with what another function has reported; e (may be NULL) is taken: its code is in details.code, its message in the message, and all of it is the
 * cause: pit_error_cause(), in Python details["cause"] of the HostToolError, a map of code, message and, where it has them, details, pool, worker_id, type and
 * traceback. Returns PIT_E_TOOL_EXECUTION_FAILED. Since 0.1. */
PIT_API int pit_tool_fail_take(pit_tool_ctx *c, pit_error *e);
/* Gives bytes beside the result: a map of names to bytes, borrowed. 0, or invalid_parameter; a later one replaces it. Since 0.1. */
PIT_API int pit_tool_set_binary(pit_tool_ctx *c, const pit_value *binary);

/* Of a tool that streams (option streaming): gives Python the next value (borrowed), and waits, up to timeout_ms (PIT_INFINITE; 0 or PIT_NOW: not at all),
 * while Python has not taken enough of what was sent before. What the tool returns in *ret is told after the last one.
 * 0; pending: there was no room until then, and the value was not sent; cancelled: nothing more is wanted, because the reader has closed, or the call
 * has ended, been given up, or lost its worker: return soon; deadline_exceeded: the tool's own time or that of the call is over; wrong_thread: it would have to
 * wait, and runs on the loop thread (PIT_RUN_ON_LOOP); streaming_not_supported: the tool was not registered with `streaming`; limit_exceeded: the value is
 * larger than max_frame_bytes; invalid_parameter and others of a value that cannot be encoded. *Blocks* as long as it waits. Since 0.1. */
PIT_API int pit_tool_send(pit_tool_ctx *c, const pit_value *chunk, int64_t timeout_ms);

/* What the tool is called as, and for whom. Texts are borrowed and live as long as c; NULL: there is none. Of a tool that pit_tool_call() runs here
 * the worker and the pool are NULL. Since 0.1. */
PIT_API const char *pit_tool_name(const pit_tool_ctx *c);
PIT_API const char *pit_tool_session_id(const pit_tool_ctx *c);
PIT_API const char *pit_tool_correlation_id(const pit_tool_ctx *c);
PIT_API const char *pit_tool_worker_id(const pit_tool_ctx *c);
PIT_API const char *pit_tool_pool(const pit_tool_ctx *c);
/* When it must be done (pit_now_ns()'s clock), its own timeout counted; UINT64_MAX: never. Calls that it makes end by then. Since 0.1. */
PIT_API uint64_t pit_tool_deadline_ns(const pit_tool_ctx *c);
/* 1: called by a call of the host, 2: by a call that a tool has made, and so on. 0: by pit_tool_call() outside a tool. Since 0.1. */
PIT_API int pit_tool_depth(const pit_tool_ctx *c);
/* The metadata that it was registered with, and the bytes that it was called with beside its arguments: maps, borrowed; NULL: none. Since 0.1. */
PIT_API const pit_value *pit_tool_metadata(const pit_tool_ctx *c);
PIT_API const pit_value *pit_tool_binary_parameters(const pit_tool_ctx *c);
/* Has the call that it serves been given up (cancelled, over its time), or its worker ended, or, of a tool that streams, its reader had enough? What it
 * returns then is dropped. Since 0.1. */
PIT_API bool pit_tool_cancelled(const pit_tool_ctx *c);

#ifdef __cplusplus
}
#endif
#endif
