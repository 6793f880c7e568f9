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
    bool of_rider; /* it is the stream's slot, not on the heap */
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
    uint64_t heard_ns;        /* when it last gave something, or could not */
    uint32_t change, waiters; /* futex word; atomic */
    bool rides;               /* fixed: its reader may ride the lane; else the loop carries the call from the beginning */
    bool riding;              /* lock: the lane is a caller's: that of whoever is `inside`, or nobody's at the moment */
    bool inside, was_inside;  /* lock: a thread rides; or did since the call's timer rang last */
    bool over; /* atomic: the call has its outcome, and whoever carried it has let go: what is left belongs to the reader */
    struct stream_chunk slot, *came;    /* the rider's who reads: a chunk that nobody else has seen; NULL or &slot */
    bool reads;                         /* the rider's: it is the reader, not the sender */
    bool look;                          /* atomic: who is inside shall look at the clock */
    void (*on_chunk)(struct stream *s); /* NULL; or on the loop, without the lock: there is something to take */
};

/* *s is zeroed, but for on_chunk. */
void stream_init(struct stream *s, const struct pool *p, struct call *c, bool inbox);
void stream_put_field(const struct stream *s, struct buf *fields);
void stream_finish(struct stream *s); /* what was not taken is freed */
void stream_chunk_free(struct stream_chunk *k);

/* lock: somebody who waits looks again. */
void stream_changed(const struct pool *p, struct stream *s);
/* The next chunk, stream_chunk_free()d by the caller before he reads on; NULL: none is there. The worker is granted another one for it. Any thread. */
struct stream_chunk *stream_take(struct pool *p, struct stream *s);
/* The same once it is over and nobody else knows the stream: the pool may be gone. */
struct stream_chunk *stream_take_rest(struct stream *s);
/* Waits for the next chunk, on the lane itself where that can be ridden: 0 and *ret; PIT_E_PENDING: none came until then; PIT_E_END: it is over. stay: this thread
 * does nothing else with the stream but read. One thread reads. Blocks. */
int stream_read(struct pool *p, struct stream *s, uint64_t until_ns, bool stay, struct stream_chunk **ret);
/* Waits until the frame (stream_encode) can be sent and sends it: 0, PIT_E_PENDING, PIT_E_END, PIT_E_INVALID_REQUEST: the inbox was closed. Blocks. */
int stream_write(struct pool *p, struct stream *s, struct buf *frame, uint64_t until_ns);
/* The reader has had enough: the call ends with o (taken), if it has not ended. By the only thread that uses the stream. */
void stream_stop(struct pool *p, struct stream *s, struct outcome o, const char *reason);
/* Who carried the call lets go of it: the last thing that is done with a stream by others than its reader. */
void stream_is_over(struct pool *p, struct stream *s);
/* Makes a frame of a value for the inbox. NULL or an error (owned). */
pit_error *stream_encode(const struct pool *p, const pit_value *v, struct buf *frame);
/* lock: sends it. 0; CHANNEL_AGAIN: the inbox is full, or the lane has something else to send; PIT_E_END: the call runs no more. */
int stream_send(struct pool *p, struct stream *s, struct buf *frame);
void stream_send_end(struct pool *p, struct stream *s); /* lock */

/* lock: the call gets this idle lane, and its frame is sent: true, its reader rides it; false: the loop shall carry it. */
bool stream_board(struct pool *p, struct lane *l, struct call *c);
/* lock: where a reader rides, and is not there, the loop carries the call from here on. */
void stream_take_over(struct pool *p, struct stream *s);
/* The same for the call of a lane. */
void stream_take_over_lane(struct pool *p, struct lane *l);
/* lock, loop: the call's timer has run out. true: its reader, who is inside or was a moment ago, sees to it, or it has ended; else the loop shall look at it. */
bool stream_keeps_time(struct pool *p, struct call *c, struct list *done);
/* A CHUNK or CREDIT on the lane that this thread rides. 0, INNER_LEFT, or why the worker must go. No lock. */
int stream_ride_frame(struct pool *p, struct call *c, const struct frame *f, size_t bytes);

/* For stream.c and stream_ride.c. */
pit_error *stream_decode(const struct frame *f, size_t bytes, struct stream_chunk *ret); /* NULL and *ret filled, or owned */
bool stream_spend(struct stream *s, size_t bytes);
int stream_take_credit(struct pool *p, struct stream *s, const struct frame *f);
void stream_took(struct pool *p, struct stream *s, const struct stream_chunk *k); /* lock */

/* A CHUNK or CREDIT on a lane of the loop. 0, or why the worker must go. No lock. */
int stream_loop_frame(struct pool *p, struct lane *l, const struct frame *f, size_t bytes);
/* lock: the lane has room again, or its call has just been sent. */
void stream_attend(struct pool *p, struct lane *l);
/* lock, loop: when the loop shall look at the call at the latest, which is due otherwise at due_ns. */
uint64_t stream_due(const struct pool *p, struct call *c, uint64_t due_ns);
/* lock, loop: NULL, or the error of one that was silent for too long. */
pit_error *stream_idle_error(struct pool *p, struct call *c);

#endif
