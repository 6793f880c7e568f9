/* Adapters written in C: a pool whose calls run functions of this program, on threads of the pool, instead of worker processes. Since 0.1, unless a
 * comment says otherwise.
 *
 * Such a pool is used like any other: pit_call(), futures, batches, streams, queue, deadlines, statistics, events. What it does not give is
 * isolation: a crash in an adapter is the program's crash, what it leaks the program leaks, and nothing can end a function that does not return. */
#ifndef SNAKEPIT_PLUGIN_H
#define SNAKEPIT_PLUGIN_H

#include <snakepit/base.h>
#include <snakepit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an adapter's function knows of whom it works for. Lives until the function returns; only the thread that runs the function may use it. */
typedef struct pit_adapter_ctx pit_adapter_ctx;

/* An adapter: its callbacks. The struct is copied when the pool is started; the code must stay until `terminate` has been called. user is c_adapter_user of
 * the pool's options.
 *
 * Each thread of the pool (option `workers`) runs one call at a time, so several run the same callback at once, each with a context of its own. They may
 * block, and call the other functions of this library: also pit_call() into this pool, which needs a thread of its own while this one waits. What such a
 * call does not say (session, correlation id) is that of the call that runs, and it lasts no longer than that.
 * pit_shutdown() and pit_close() return wrong_thread there. Every signal is blocked on these threads.
 *
 * A callback that returns int succeeds with 0; else it returns what pit_adapter_fail() returned, or another PIT_E_*; anything else is
 * tool_execution_failed. What it has put into a ret_* argument belongs to the library, also when it fails. A call that is cancelled or over its time is
 * answered at once, and its function goes on with pit_adapter_cancelled() true (PIT_RUNG_FLAG): its thread is busy until it returns, and what it
 * returns then is dropped. Since 0.1. */
typedef struct pit_adapter {
    size_t size; /* PIT_ADAPTER_INIT sets it */
    /* Required. Runs a command; args as in pit_tool_fn: a map of keyword arguments, a list of positional ones, or pit_args() of both; borrowed, and
     * immutable. *ret: the result, NULL for nil. */
    int (*execute)(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user);
    /* (none) Runs a command that answers in chunks, by pit_adapter_send(); *ret_final: the result at the end. NULL: streaming_not_supported. */
    int (*execute_stream)(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret_final, void *user);
    /* (none) Called once before the first thread starts, on the thread that opens the pool. When it fails the pool fails: adapter_init_failed. */
    int (*init)(pit_adapter_ctx *c, void *user);
    /* (none) Called once when no thread of the pool is left in the adapter, after an init that did not fail: on the thread that ends the pool, before
     * pit_pool_stop() or pit_close() returns; or, where a function did not return in time, on its thread when it has, however late. */
    void (*terminate)(void *user);
    /* (none) Called on each thread before its first call: the place for what a thread keeps for itself. *ret_data: pit_adapter_data() gives it back. When it
     * fails the thread ends, and the pool tries again as after any failed start: adapter_init_failed. */
    int (*start_worker)(pit_adapter_ctx *c, void **ret_data, void *user);
    /* (none) Called on each thread after its last call, when start_worker did not fail. */
    void (*stop_worker)(void *data, void *user);
    /* (none) Called on each thread between calls, every health_check_interval_ms. *ret: a map, which pit_worker_info.health shows. Failing is a health check
     * that failed: twice in a row, and the thread is replaced by a fresh one. */
    int (*collect_telemetry)(pit_adapter_ctx *c, pit_value **ret, void *user);
} pit_adapter;

#define PIT_ADAPTER_INIT                                                                                                       \
    {                                                                                                                          \
        sizeof(pit_adapter), 0, 0, 0, 0, 0, 0, 0                                                                               \
    }

/* ---- inside an adapter ---- */

/* Fails with a code and a message: `return pit_adapter_fail(c, PIT_E_VALUE_ERROR, "no model '%s'", name);`. The caller gets codes of the categories
 * python_error, tool and value, and cancelled, deadline_exceeded, invalid_parameter, invalid_request, limit_exceeded, not_found, already_exists,
 * out_of_memory, device_not_available and adapter_init_failed as they are; any other is in details.code of a tool_execution_failed: what this pool says of
 * itself is not an adapter's to say. Without memory the message is lost. Returns the code. Since 0.1. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
PIT_API int
pit_adapter_fail(pit_adapter_ctx *c, int code, const char *format, ...);
/* Fails with what another function has reported: its code, message, details and suggestions. e (may be NULL: tool_execution_failed) is taken. Returns its
 * code. Since 0.1. */
PIT_API int pit_adapter_fail_take(pit_adapter_ctx *c, pit_error *e);

/* Has the call been given up (cancelled, over its time, its stream halted), or is the thread to end? What is returned then is dropped. Cheap: a
 * function that computes for long asks every millisecond or so. Since 0.1. */
PIT_API bool pit_adapter_cancelled(const pit_adapter_ctx *c);
/* When the call must be done (pit_now_ns()'s clock); UINT64_MAX: never. Calls that it makes end by then. Since 0.1. */
PIT_API uint64_t pit_adapter_deadline_ns(const pit_adapter_ctx *c);
/* For whom it works. Texts are borrowed and live as long as c; NULL: there is none (init has only the pool, start_worker and collect_telemetry no call).
 * Since 0.1. */
PIT_API const char *pit_adapter_session_id(const pit_adapter_ctx *c);
PIT_API const char *pit_adapter_correlation_id(const pit_adapter_ctx *c);
PIT_API const char *pit_adapter_trace_parent(const pit_adapter_ctx *c);
PIT_API const char *pit_adapter_worker_id(const pit_adapter_ctx *c);
PIT_API const char *pit_adapter_pool(const pit_adapter_ctx *c);
/* The call's metadata, and the bytes beside its arguments: maps, borrowed; NULL: none. Since 0.1. */
PIT_API const pit_value *pit_adapter_metadata(const pit_adapter_ctx *c);
PIT_API const pit_value *pit_adapter_binary_parameters(const pit_adapter_ctx *c);
/* What start_worker has given for this thread, borrowed from the adapter; NULL: nothing. Since 0.1. */
PIT_API void *pit_adapter_data(const pit_adapter_ctx *c);

/* In execute_stream: the next chunk, borrowed. While the reader is a window behind (stream_window, stream_window_bytes of the pool) it waits, for
 * timeout_ms (0: not at all; PIT_INFINITE), then PIT_E_PENDING: nothing was sent. PIT_E_CANCELLED: nobody wants more, return; invalid_parameter,
 * limit_exceeded (max_frame_bytes): a value that cannot be sent; invalid_request: not in execute_stream. *Blocks.* Since 0.1. */
PIT_API int pit_adapter_send(pit_adapter_ctx *c, const pit_value *chunk, int64_t timeout_ms);
/* In execute_stream: the next value that pit_stream_send() has sent; *ret is the caller's, freed with pit_value_free(). PIT_E_END: no more come, or the stream was not opened with
 * PIT_STREAM_BIDI. PIT_E_PENDING: none came in timeout_ms (0: does not wait; PIT_INFINITE). PIT_E_CANCELLED, invalid_request as pit_adapter_send().
 * *Blocks.* Since 0.1. */
PIT_API int pit_adapter_receive(pit_adapter_ctx *c, int64_t timeout_ms, pit_value **ret);

/* ---- adapters for tests, static and without any state ---- */

/* Echo: a call returns its arguments; a stream sends those that are positional one by one, then what it is sent, and ends with how many chunks that were.
 * Since 0.1. */
PIT_API const pit_adapter *pit_adapter_mock(void);
/* Every call and stream fails: with the code that the command is the name of ("value_error"), else with runtime_error. Since 0.1. */
PIT_API const pit_adapter *pit_adapter_failing(void);
/* Tells what an adapter sees: a map of command, args, pool, worker_id, session_id, correlation_id, trace_parent, metadata, binary_parameters, remaining_ms
 * (nil without a deadline) and cancelled. The command `wait` waits until its call has been given up. Since 0.1. */
PIT_API const pit_adapter *pit_adapter_probe(void);

#ifdef __cplusplus
}
#endif
#endif
