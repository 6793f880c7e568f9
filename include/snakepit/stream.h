/* Streams: calls that answer in chunks, and that can be sent values while they run. Since 0.1, unless a comment says otherwise. */
#ifndef SNAKEPIT_STREAM_H
#define SNAKEPIT_STREAM_H

#include <snakepit/call.h>
#include <snakepit/error.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PIT_STREAM_CHUNK = 1, PIT_STREAM_END, PIT_STREAM_ERROR };

/* What a pit_stream_fn may return beside 0. */
enum { PIT_STREAM_HALT = 1, PIT_STREAM_FAIL = 2 };

/* What happened in a stream. All of it is borrowed for the length of the callback (pit_value_ref keeps a value). */
typedef struct pit_stream_event {
    size_t size;
    int kind;                  /* PIT_STREAM_CHUNK, PIT_STREAM_END, PIT_STREAM_ERROR */
    int is_final;              /* 1: of a chunk, no other follows */
    uint64_t index;            /* of a chunk, from 0; of the end: how many there were, the one that only ends it not counted */
    const pit_value *value;    /* the chunk; at the end the producer's result, nil where it has none */
    const pit_value *metadata; /* a map that the producer gave with the chunk, or NULL */
    const pit_error *error;    /* PIT_STREAM_ERROR: why */
} pit_stream_event;

/* Called for each chunk in order, as it is produced, then once with the end or the error; nothing comes after that. Where the producer has not marked
 * its last chunk, one more with is_final 1 comes before the end: a map with synthetic_final (true) and chunks_sent. Returns 0 to go on. PIT_STREAM_HALT:
 * enough, the producer is closed (its `finally` blocks run) and the stream ends well, without another event. What
 * pit_stream_event_fail() returned: the same, but the stream ends with callback_failed and that message; so it does with anything else. What is
 * returned for the end or an error means nothing. */
typedef int (*pit_stream_fn)(pit_stream_event *ev, void *user);
/* For a pit_stream_fn to return: the stream fails with this message (printf's format). Since 0.1. */
PIT_API int pit_stream_event_fail(pit_stream_event *ev, const char *format, ...);

/* Calls command, a generator or another tool that streams, and hands what it produces to fn on this thread, which may block and make other calls.
 * While fn takes its time the producer waits (options stream_window, stream_window_bytes of the pool). timeout_ms of o is the whole stream's (the pool's
 * stream_timeout_ms). *ret_final (may be NULL; untouched on failure) is the producer's result, nil without one; owned by the caller. *Blocks* until the end of the
 * stream; wrong_thread from a callback on the loop thread.
 * Errors: those of pit_call(), streaming_not_supported when the tool does not stream, callback_failed. Since 0.1. */
PIT_API int pit_call_stream(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_stream_fn fn,
                            void *user, pit_value **ret_final, pit_error **reterr);
/* The same without waiting: fn runs on the loop thread and must not block. The future has the producer's result, or the error, once fn has been
 * told of it; pit_future_cancel() ends the stream, and fn is told of that. *ret (may not be NULL) is the caller's. Never blocks. Since 0.1. */
PIT_API int pit_submit_stream(pit *p, const char *command, const pit_value *args, const pit_call_options *o, pit_stream_fn fn,
                              void *user, pit_future **ret, pit_error **reterr);

/* ---- a stream as an object, read at the caller's own pace ---- */

typedef struct pit_stream pit_stream;

enum { PIT_STREAM_READ = 0, PIT_STREAM_BIDI = 1 };

/* Starts a stream and returns at once. flags: PIT_STREAM_READ, or PIT_STREAM_BIDI where values will be sent to the tool's parameter `inbox`. *ret is the
 * caller's, and closed with pit_stream_close(). One thread may read while another one sends. It has a worker until its producer has ended, which may be
 * a window ahead of who reads: one that is not read to its end holds that worker. Refused at once: pool_not_found, pool_saturated, invalid_parameter
 * (flags, bad arguments), shutting_down. Never blocks. Since 0.1. */
PIT_API int pit_stream_open(pit *p, const char *command, const pit_value *args, const pit_call_options *o, int flags,
                            pit_stream **ret, pit_error **reterr);
/* The next chunk: 0, and *ret_chunk (may be NULL; untouched otherwise) is the caller's; pit_stream_chunk() has what else there is to say of it.
 * PIT_E_END: there is none any more, pit_stream_result() has the result. PIT_E_PENDING: none came in timeout_ms (0: does not wait; PIT_INFINITE). Anything
 * else is how the stream ended, again each time; wrong_thread, shutting_down. *Blocks.* Since 0.1. */
PIT_API int pit_stream_next(pit_stream *s, int64_t timeout_ms, pit_value **ret_chunk, pit_error **reterr);
/* Of the chunk that pit_stream_next() has returned last: its index, is_final (1 only where the producer has marked it: none is made up here) and metadata,
 * as in a callback; the value is the caller's already, and NULL here. NULL before the first. Borrowed: it lives until the next pit_stream_next() or
 * pit_stream_close(), so it is for the thread that reads. Since 0.1. */
PIT_API const pit_stream_event *pit_stream_chunk(const pit_stream *s);
/* Sends a value to the producer's inbox. While that is full (as many wait there as stream_window and stream_window_bytes say) it waits, for timeout_ms (0:
 * not at all; PIT_INFINITE), then PIT_E_PENDING: nothing was sent. PIT_E_END: the stream has ended; invalid_request: it takes no values, or
 * pit_stream_send_end() was called; invalid_parameter, limit_exceeded (max_frame_bytes): a value that cannot be sent; or how the stream failed;
 * wrong_thread, shutting_down. *Blocks.* Since 0.1. */
PIT_API int pit_stream_send(pit_stream *s, const pit_value *v, int64_t timeout_ms, pit_error **reterr);
/* Nothing more will be sent: the producer's loop over its inbox ends once it has read all. Again, or after the stream's end: 0; invalid_request: it was not
 * opened with PIT_STREAM_BIDI. Never blocks. Since 0.1. */
PIT_API int pit_stream_send_end(pit_stream *s);
/* The producer's result once pit_stream_next() has returned PIT_E_END, else NULL. Borrowed: it lives as long as the stream. Since 0.1. */
PIT_API const pit_value *pit_stream_result(const pit_stream *s);
/* Ends what still runs, the producer is closed as by a cancellation (PIT_RUNG_*), and frees the stream: no other thread may be using it. Also after
 * pit_close(). NULL: does nothing. Since 0.1. */
PIT_API void pit_stream_close(pit_stream *s);

#ifdef __cplusplus
}
#endif
#endif
