/* The ring: moves frames one way between two processes (or threads) through shared memory. One producer, one consumer; the layout is
 * segment.h's. The same code runs in the host and in the worker's extension.
 *
 * Invariants
 *  1. Each side keeps its own position in private memory and only publishes it; it never reads back what it wrote.
 *  2. Nothing that the peer writes is trusted: positions must move forward, by no more than there is, in steps of 8; a record's
 *     length is read once, and must lie inside what was published. What breaks this is RING_BROKEN, for good.
 *  3. A frame that fits into half of the ring is one record, so its reader may use it where it stands; a bigger one goes in fragments.
 *  4. A frame leaves the ring by ring_done(), not by being read: whoever reads it in place decides when its room is free again.
 *  5. No lost wake-up: who sleeps exchanges the bell, then looks once more, then sleeps on the bell itself; who publishes exchanges the
 *     bell afterwards. Exchanges of one word have an order: either the publisher sees the sleeper, or the sleeper sees what was published.
 *  6. One call does a bounded amount of work whatever the peer does meanwhile: positions of the peer are loaded once per call.
 *  7. A short record that is published alone is seen with the head, on one cache line (`near`): a copy of what stands in data, no other truth.
 *  8. A position that has ended a wait counts as published: a peer that takes it back has broken the format, and wakes nobody for nothing.
 *
 * Failure: RING_BROKEN (the peer broke the format), RING_LIMIT, RING_NO_MEMORY. Thread: writer and reader belong to one thread at a time
 * each, and do not meet; ring_nudge() any. This layer makes no system call: struct ring_sys has them. */
#ifndef PIT_RING_RING_H
#define PIT_RING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/segment.h"

enum {
    RING_OK = 0,
    RING_AGAIN = 1,      /* nothing there, no room, or (waits) the deadline has come */
    RING_FRAGMENTS = 2,  /* ring_peek: the frame is in pieces, use ring_read */
    RING_SPURIOUS = 3,   /* waits: woken, or told to stop, without anything new */
    RING_BROKEN = -1,    /* the peer broke the format; so does every later call say */
    RING_LIMIT = -2,     /* a frame is longer than allowed; the ring cannot be used any more */
    RING_NO_MEMORY = -3, /* the reader's buffer did not grow; ring_read may be called again and goes on where it was */
};

#define RING_MIN_BYTES 512u
#define RING_ALIGN 8u

/* What a ring needs of its surroundings; the same signatures as in os.h. futex_wait returns at once, with whatever value, when *word
 * is not `expected`; with -ETIMEDOUT at the deadline (CLOCK_MONOTONIC ns, UINT64_MAX: none). Words are shared between processes: never
 * FUTEX_PRIVATE. */
struct ring_sys {
    uint64_t (*now_ns)(void);
    int (*futex_wait)(const uint32_t *word, uint32_t expected, uint64_t deadline_ns);
    int (*futex_wake)(const uint32_t *word, int n);
    int (*cpu)(void); /* NULL: cpu_current() of ring/cpu.h */
};

/* How one side waits, and what it has learnt of how long its peer usually takes. */
struct ring_waiter {
    const struct ring_sys *sys;
    const uint32_t *peer_cpu;  /* where the peer was when it last wrote what is waited for */
    const uint32_t *fresh_cpu; /* a later word on that, looked at while spinning; may be NULL */
    /* Called once before each sleep, when the peer already knows that it must ring: true = do not sleep after all. May be NULL. */
    bool (*stop)(void *user);
    void *user;
    uint64_t found;    /* the position as the last wait, or attempt to arm, saw it move to */
    uint64_t usual_ns; /* moving average of how long waits take */
    uint64_t sleeps;   /* how often it slept */
    uint64_t spun_ns;  /* time spent spinning, roughly */
};

struct ring_writer {
    struct ring_shared *shared;
    uint8_t *data;
    const struct ring_sys *sys;
    uint64_t head;      /* of what has been written */
    uint64_t published; /* of what the peer has been told of */
    uint64_t tail;      /* the consumer's, as last seen */
    uint32_t bytes;
    uint32_t pad;  /* what the last ring_reserve skips */
    uint32_t cpu;  /* as last published */
    uint32_t near; /* as last published: which record stands beside the head */
    bool broken;
    bool unrung;      /* something was published quietly */
    bool socket_bell; /* the consumer is still owed a byte on the socket */
    struct ring_waiter waiter;
};

struct ring_reader {
    struct ring_shared *shared;
    uint8_t *data;
    const struct ring_sys *sys;
    uint64_t tail;   /* of what is free again */
    uint64_t next;   /* of what has been read */
    uint64_t head;   /* the producer's, as last seen */
    uint64_t peeked; /* the end of the frame that ring_peek gave, 0 without one */
    uint64_t got;    /* bytes of an unfinished frame so far */
    uint32_t bytes;
    uint32_t cpu;
    int broken; /* 0, RING_BROKEN or RING_LIMIT */
    bool socket_bell;
    uint64_t near[RING_NEAR_WORDS]; /* the record that was found beside the head */
    struct ring_waiter waiter;
};

/* bytes: of data, a power of two >= RING_MIN_BYTES; shared and data: fresh (zeroed, cpu fields RING_NO_CPU or 0). Borrows all. */
#define RING_NO_CPU UINT32_MAX
void ring_writer_init(struct ring_writer *w, struct ring_shared *shared, uint8_t *data, uint32_t bytes,
                      const struct ring_sys *sys);
void ring_reader_init(struct ring_reader *r, struct ring_shared *shared, uint8_t *data, uint32_t bytes,
                      const struct ring_sys *sys);

/* ---- producer ---- */

/* The longest frame that is one record, and that ring_reserve can be asked for. */
static inline size_t ring_whole_max(uint32_t bytes)
{
    return bytes / 2 - sizeof(struct ring_record);
}

/* Room for one frame of up to n (<= ring_whole_max) bytes, to be written in place; 8-aligned. NULL: no room now (or broken). Nothing is
 * held: without ring_commit nothing has happened. */
uint8_t *ring_reserve(struct ring_writer *w, size_t n);
/* The frame is what stands in the first n bytes of the last ring_reserve. The peer learns of it by ring_publish. */
void ring_commit(struct ring_writer *w, size_t n);
/* Writes frame[*done .. n), as much as there is room for, and adds to *done. RING_OK: all of it; RING_AGAIN: not yet, call again
 * with the same frame (no other in between) once there is room; RING_BROKEN. ring_publish in either case. */
int ring_write(struct ring_writer *w, const uint8_t *frame, size_t n, size_t *done);
/* The same for a frame that stands in several places: its parts one after the other, each of at least one byte; more: another one follows. It goes in
 * fragments whatever its length. */
int ring_write_part(struct ring_writer *w, const uint8_t *part, size_t n, size_t *done, bool more);
/* Tells the consumer what has been written since, and wakes it if it sleeps. Nothing new: does nothing. true: the consumer
 * wants one zero byte on the control socket, which the caller sends. */
bool ring_publish(struct ring_writer *w);
/* The same without waking anybody: for who goes on writing. The next ring_publish wakes, also when nothing was written in between. */
void ring_publish_quietly(struct ring_writer *w);
/* Waits until the consumer has made room since the last attempt to write. As ring_wait_data. */
int ring_wait_room(struct ring_writer *w, uint64_t deadline_ns, uint64_t spin_ns);
/* For a loop that sleeps elsewhere: asks for a byte on the control socket; false (and not armed): there is room already. */
bool ring_arm_room(struct ring_writer *w);
void ring_disarm_room(struct ring_writer *w);

/* ---- consumer ---- */

/* The next frame, where it stands, or a copy of it: the producer can still write there, so this is for who trusts it. RING_OK (also again, for the same
 * frame, until ring_done), RING_AGAIN, RING_FRAGMENTS, RING_BROKEN. */
int ring_peek(struct ring_reader *r, const uint8_t **ret, size_t *ret_n);
/* The next frame, whole or in fragments, copied once: room(user, total) gives the start of a block of at least total bytes that
 * still has what was written to it (NULL: no memory); it grows with what has arrived, never with what was promised. RING_OK: *ret_n bytes; then
 * ring_done. RING_AGAIN: not complete yet, call again with the same block. RING_BROKEN, RING_LIMIT (longer than max), RING_NO_MEMORY. */
int ring_read(struct ring_reader *r, uint8_t *(*room)(void *user, size_t total), void *user, size_t max, size_t *ret_n);
/* In place of ring_read, for who trusts the producer and wants to put each fragment where it belongs: the next one, where it stands. RING_OK (also
 * again, for the same fragment, until ring_fragment_done); RING_AGAIN, RING_BROKEN. *ret_last: the frame ends with it. Not to be mixed within a frame. */
int ring_fragment(struct ring_reader *r, const uint8_t **ret, size_t *ret_n, bool *ret_last);
/* The fragment has been read. Its room is free at once, that of the last one as that of a whole frame: by ring_done. */
void ring_fragment_done(struct ring_reader *r, size_t n, bool last);
/* Frees the room of the frame that ring_peek or ring_read gave and wakes a producer that waits for it. true: as in ring_publish. */
bool ring_done(struct ring_reader *r);
/* The same, but the producer is told of the room only once it has become an eighth of the ring, or by ring_settle: telling costs both sides a
 * cache line, and is in nobody's way while the reader waits. Whoever uses it calls ring_settle before each sleep. */
bool ring_pass(struct ring_reader *r);
bool ring_settle(struct ring_reader *r);
/* After RING_AGAIN, or ring_fragment_done: true when room was made in the middle of a frame and the producer wants a byte on the control socket. */
bool ring_take_socket_bell(struct ring_reader *r);
/* Waits until something is published beyond what has been read: RING_OK; RING_AGAIN at the deadline; RING_SPURIOUS: look again.
 * Spins at most spin_ns, only while the producer last ran on another CPU, and only if the wait is usually short; then sleeps. */
int ring_wait_data(struct ring_reader *r, uint64_t deadline_ns, uint64_t spin_ns);
/* Is there something to read? One load. */
bool ring_has_data(const struct ring_reader *r);
bool ring_arm_data(struct ring_reader *r);
void ring_disarm_data(struct ring_reader *r);

/* Wakes who sleeps on this bell as if there were something (it finds nothing, and its wait returns RING_SPURIOUS). Leaves
 * RING_SOCKET alone. Any thread, any process. */
void ring_nudge(const struct ring_sys *sys, uint32_t *bell);

#endif
