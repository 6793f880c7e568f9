/* A stream: a call that answers in chunks, and may be sent values while it runs. What stands between the lane of the call and whoever reads.
 *
 * Invariants
 *  1. Chunks are kept in the order in which they came. What is kept is bounded by the window: the worker sends only what it was granted, and
 *     is granted more only for what the reader has taken.
 *  2. No credit is ever negative, but that of bytes by one chunk: who sends without has broken the protocol. The same holds for what the host sends.
 *  3. Nothing comes after the last chunk but the outcome, and nothing at all once the reader has gone.
 *  4. Who waits for anything (chunks, room in the inbox, the end) waits for `change` to move.
 *
 * Functions marked "lock" want the pool's lock held. */
#ifndef PIT_POOL_STREAM_H
#define PIT_POOL_STREAM_H

#include "pool/pool.h"

struct stream_chunk {
    struct list node;
    pit_value *value, *metadata; /* owned; metadata NULL: none */
    uint64_t index;
    size_t bytes; /* of its frame */
    bool final;
};

struct stream {
    /* fixed */
    struct call *call;
    uint64_t window, window_bytes;
    uint64_t idle_ns; /* UINT64_MAX: it may be silent for ever */
    bool inbox;
    /* lock; `told` on the loop or the thread that rides the call */
    struct list chunks;  /* not taken yet */
    uint64_t received;   /* chunks */
    uint64_t may_chunks; /* the worker's credit */
    int64_t may_bytes;
    uint64_t due_chunks, due_bytes; /* taken, and not granted again yet */
    uint64_t send_chunks;           /* the host's credit */
    int64_t send_bytes;
    bool final;        /* the last chunk has come */
    bool inbox_closed; /* SEND_END is out, or will be as soon as there is room: `end_due` */
    bool end_due;
    uint64_t heard_ns;                  /* when it last gave something, or could not */
    uint32_t change, waiters;           /* futex word; atomic */
    void (*on_chunk)(struct stream *s); /* NULL; or on the loop, without the lock: there is something to take */
};

/* *s is zeroed, but for on_chunk. */
void stream_init(struct stream *s, const struct pool *p, struct call *c, bool inbox);
void stream_put_field(const struct stream *s, struct buf *fields);
void stream_finish(struct stream *s); /* what was not taken is freed */
void stream_chunk_free(struct stream_chunk *k);

/* lock: somebody who waits looks again. */
void stream_changed(const struct pool *p, struct stream *s);
/* The next chunk, owned by the caller; NULL: none is there. The worker is granted another one for it. Any thread. */
struct stream_chunk *stream_take(struct pool *p, struct stream *s);
/* The same once the call has its outcome and nobody else knows the stream: the pool may be gone. */
struct stream_chunk *stream_take_rest(struct stream *s);
/* Makes a frame of a value for the inbox. NULL or an error (owned). */
pit_error *stream_encode(const struct pool *p, const pit_value *v, struct buf *frame);
/* lock: sends it. 0; CHANNEL_AGAIN: the inbox is full, or the lane has something else to send; PIT_E_END: the call runs no more. */
int stream_send(struct pool *p, struct stream *s, struct buf *frame);
void stream_send_end(struct pool *p, struct stream *s); /* lock */

/* A CHUNK or CREDIT on a lane of the loop. 0, or why the worker must go. No lock. */
int stream_loop_frame(struct pool *p, struct lane *l, const struct frame *f, size_t bytes);
/* lock: the lane has room again, or its call has just been sent. */
void stream_attend(struct pool *p, struct lane *l);
/* lock, loop: when the loop shall look at the call at the latest, which is due otherwise at due_ns. */
uint64_t stream_due(const struct pool *p, struct call *c, uint64_t due_ns);
/* lock, loop: NULL, or the error of one that was silent for too long. */
pit_error *stream_idle_error(struct pool *p, struct call *c);

#endif
