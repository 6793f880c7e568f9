/* The layout of the memory that a worker shares with its host, the same on both sides (docs/wire.md explains it).
 *
 *   header | lane 0: status, request ring, reply ring | lane 1 ... | crash page | look page | flight recorder
 *
 * The host creates and seals it; a fresh one for every worker process. No lock lives here. The host trusts nothing that it reads:
 * sizes and offsets are taken from the host's own copy, never from the header. Every integer is little-endian and aligned. */
#ifndef PIT_RING_SEGMENT_H
#define PIT_RING_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#define SEGMENT_MAGIC UINT64_C(0x31305449504b4e53) /* "SNKPIT01" */
#define SEGMENT_VERSION 1
#define SEGMENT_SECRET 16
#define SEGMENT_SLOTS 256 /* calls that may be in one lane's request ring at a time */
#define SEGMENT_LINE 64
#define SEGMENT_LANES_OFFSET 64u /* of lane 0 */

struct segment_header {
    uint64_t magic;
    uint32_t version;
    uint32_t lanes;
    uint64_t bytes;       /* of the whole segment */
    uint32_t ring_bytes;  /* of each ring's data, a power of two */
    uint32_t lane_offset; /* of lane 0 from the start */
    uint32_t lane_stride;
    uint32_t crash_offset;          /* of the crash page (crash_page.h), behind `bytes`; 0: there is none */
    uint8_t secret[SEGMENT_SECRET]; /* goes into HELLO: proves that it comes from who got the descriptors */
    uint32_t recorder_offset;       /* of the flight recorder (recorder.h), behind `bytes`; 0: there is none */
    uint32_t look_offset;           /* of the look page (look_page.h), behind `bytes`; 0: there is none */
};

/* The claim of a call that stands in the request ring. Slot i belongs to the calls whose lane sequence is i modulo SEGMENT_SLOTS.
 * The worker starts a call with one exchange of (sequence << 2 | STARTED), before the ring's tail moves; finding
 * (sequence << 2 | REVOKED) there it skips the call without an answer. The host takes a call back that has not started with a
 * compare-and-swap to REVOKED. So a call is started or revoked, never both. A slot
 * is used again only once the call that had it has been answered, or a later one has: what was revoked still stands in the ring. */
enum { CLAIM_STARTED = 1, CLAIM_REVOKED = 2, CLAIM_FINISHED = 3 };
#define CLAIM(sequence, state) (((uint64_t)(sequence) << 2) | (uint64_t)(state))

struct lane_status {
    /* written by the host */
    uint64_t cancel; /* lane sequence of the call that shall end: the cooperative flag */
    /* Counted up after something was written to the control socket and before the bell is rung for it: a worker that is about to
     * sleep sees here, without a system call, whether it has to look at the socket first. */
    uint64_t attention;
    uint64_t raise; /* lane sequence of the call for which the cancel signal is sent: in no other it does anything */
    uint8_t pad0[SEGMENT_LINE - 32];
    /* Not 0: calls are written ahead into this lane. A worker that the kernel lets preempt whoever has woken it would answer each of
     * them alone; it may ask to be scheduled as a batch process meanwhile. */
    uint32_t written_ahead;
    uint32_t ping; /* of lane 0, for the whole worker: counted up by the host, a futex on which the worker's heart sleeps */
    /* written by the worker */
    uint64_t finished; /* lane sequence of the last call whose function has returned (set before its reply is published) */
    uint64_t progress;
    uint64_t task; /* lane sequence of the call that runs as a task of an event loop, which the signal wakes; 0: none does */
    uint8_t pad1[SEGMENT_LINE - 44];
    uint32_t pong;    /* the last value of `ping` that was answered; set after pong_ns */
    uint64_t pong_ns; /* when, CLOCK_MONOTONIC */
    uint64_t ticks;   /* counted up when Python next runs bytecode after a ping */
    /* written by both, atomically */
    uint64_t claims[SEGMENT_SLOTS];
};

/* One direction. head and tail count bytes and never wrap; the place in data is their low bits. */
#define RING_NEAR_WORDS 6
struct ring_shared {
    uint64_t head;     /* written by the producer, with release order, after the records */
    uint32_t head_cpu; /* the CPU on which the producer last ran */
    /* The last record that was published, once more, if it was published alone and is short: so that a consumer who sees the head move has
     * it already, on the same cache line. near_at is RING_NEAR_AT of its position, 0 while there is none or it is being written. A producer
     * need not write it, a consumer need not look at it. */
    uint32_t near_at;
    uint64_t near[RING_NEAR_WORDS];
    uint64_t tail; /* written by the consumer, with release order, after it is done with the records */
    uint32_t tail_cpu;
    uint8_t pad1[SEGMENT_LINE - 12];
    uint32_t data_bell; /* RING_AWAKE, or how the sleeping consumer wants to be woken when data comes */
    uint8_t pad2[SEGMENT_LINE - 4];
    uint32_t room_bell; /* the same for a producer that waits for room */
    uint8_t pad3[SEGMENT_LINE - 4];
};

#define RING_NEAR_AT(position) ((uint32_t)((uint64_t)(position) >> 2) | 1u) /* positions are multiples of 8 */

/* Values of the bells. The bell is the futex word itself: who waits sets it and waits while it holds that value; who rings
 * exchanges it with RING_AWAKE and acts on what it found. */
enum {
    RING_AWAKE = 0,
    /* The bits under the mask FUTEX_TID_MASK are zero: so the kernel rings a bell that a dying worker has left as its pending robust
     * futex (python/src/_snakepit_farewell.c). */
    RING_FUTEX = 0x40000000,
    RING_SOCKET = 2 /* one zero byte on the control socket */
};

/* A lane: struct lane_status, then struct ring_shared + data of the request ring (host to worker), then of the reply ring. */
#define LANE_STATUS_OFFSET 0u
#define LANE_REQUEST_OFFSET ((uint32_t)sizeof(struct lane_status))
#define LANE_REQUEST_DATA (LANE_REQUEST_OFFSET + (uint32_t)sizeof(struct ring_shared))
#define LANE_REPLY_OFFSET(ring_bytes) (LANE_REQUEST_DATA + (uint32_t)(ring_bytes))
#define LANE_REPLY_DATA(ring_bytes) (LANE_REPLY_OFFSET(ring_bytes) + (uint32_t)sizeof(struct ring_shared))
#define LANE_BYTES(ring_bytes) (LANE_REPLY_DATA(ring_bytes) + (uint32_t)(ring_bytes))

/* A record in a ring: this header, then `bytes` bytes, then padding to a multiple of 8. A record never wraps: RECORD_PAD fills
 * the rest of the ring (its bytes may be less than a header: then only the head moves). A frame is one record or, with RECORD_MORE on all
 * but the last, several. */
struct ring_record {
    uint32_t bytes;
    uint32_t flags;
};
enum { RECORD_MORE = 1, RECORD_PAD = 2 };

_Static_assert(sizeof(struct segment_header) == SEGMENT_LANES_OFFSET, "layout of the segment header");
_Static_assert(offsetof(struct lane_status, ping) == SEGMENT_LINE - 4 &&
                   offsetof(struct lane_status, pong) == 2 * SEGMENT_LINE - 20,
               "layout of the heartbeat's words");
_Static_assert(sizeof(struct lane_status) == 2 * SEGMENT_LINE + 8 * SEGMENT_SLOTS, "layout of the lane status");
_Static_assert(sizeof(struct ring_shared) == 4 * SEGMENT_LINE, "layout of a ring");

#endif
