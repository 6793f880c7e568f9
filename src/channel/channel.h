/* A channel: moves frames between the host and one lane of a worker. Host side.
 *
 * Three kinds, one interface: rings in the shared segment (the fast one), the control socket (any worker, any language), memory (tests).
 *
 * Invariants
 *  1. Sending side and receiving side are each used by one thread at a time: who holds the lane (see pool). interrupt() alone may
 *     be called by anybody at any time.
 *  2. What recv() delivers has been copied out of shared memory before anyone looks at it, once, under max_frame bytes.
 *  3. A peer that breaks the framing gets PIT_E_PROTOCOL_ERROR (or PIT_E_LIMIT_EXCEEDED) and every later call says the same.
 *  4. No call blocks but wait(). */
#ifndef PIT_CHANNEL_CHANNEL_H
#define PIT_CHANNEL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "os/os.h"

enum { CHANNEL_AGAIN = 1 }; /* nothing there, or no room: wait and try again */
enum { CHANNEL_FOR_FRAME = 1, CHANNEL_FOR_ROOM = 2 };

/* A received frame: in `small` while it fits, else in a heap block. */
struct channel_frame {
    uint8_t *data;
    size_t n;
    uint8_t small[2048];
    uint8_t *heap; /* the owner frees it with channel_frame_finish */
    size_t heap_cap;
};
void channel_frame_init(struct channel_frame *f);
void channel_frame_finish(struct channel_frame *f);
/* Gives the bytes away: a block (of mem_alloc) of f->n bytes and a spare one; *f is empty then. NULL, and nothing has changed: it is short, or there is
 * no memory. */
uint8_t *channel_frame_take(struct channel_frame *f);

struct channel;

struct channel_ops {
    const char *name; /* "ring", "socket", "memory" */
    /* Sends frame[*done .. n): publishes what there is room for, adds to *done, wakes the worker if it sleeps. 0 when all is
     * out, CHANNEL_AGAIN when not yet (nothing of another frame may be sent in between), or PIT_E_PROTOCOL_ERROR, PIT_E_WORKER_LOST. */
    int (*send)(struct channel *c, const uint8_t *frame, size_t n, size_t *done);
    /* As send, but the worker may hear of it only with the next send() or tell(): for many frames in one go. NULL, both: it cannot. */
    int (*put)(struct channel *c, const uint8_t *frame, size_t n, size_t *done);
    void (*tell)(struct channel *c);
    /* 0: *f holds one whole frame. CHANNEL_AGAIN; PIT_E_PROTOCOL_ERROR, PIT_E_LIMIT_EXCEEDED, PIT_E_ALLOCATION_FAILED,
     * PIT_E_WORKER_LOST (end of stream; everything that had arrived before has been delivered first). */
    int (*recv)(struct channel *c, struct channel_frame *f);
    /* Blocks the calling thread until a frame or room (either or both) may be there, interrupt(), or the deadline (ns, UINT64_MAX:
     * none). CPU-aware: spins at most spin_ns and only while the worker last ran on another CPU (on a socket, where nothing tells: while
     * spinning has paid), then sleeps. Spurious returns are allowed; a worker that causes them without end breaks the channel. Returns 0, or CHANNEL_AGAIN at the deadline. */
    int (*wait)(struct channel *c, int what, uint64_t deadline_ns, uint64_t spin_ns);
    /* For the loop, before it sleeps: asks the worker to ring the control socket when there is a frame or room (either or both).
     * false: something is there already, do not sleep. A socket channel has no bell: the loop watches its descriptor. */
    bool (*arm)(struct channel *c, int what);
    void (*disarm)(struct channel *c);
    /* The worker is gone: wakes whoever waits on the channel, and from now on wait() returns at once. What the worker had sent can
     * still be received. Any thread. */
    void (*interrupt)(struct channel *c);
    /* Wakes whoever waits on the channel, and nobody else: his wait, or the next one, returns at once, as may the next arm(). Any thread. NULL: it
     * cannot. */
    void (*rouse)(struct channel *c);
    /* Wakes a worker that sleeps on this channel, so that it looks at its control socket. Any thread. */
    void (*nudge)(struct channel *c);
    void (*destroy)(struct channel *c);
};

struct channel {
    const struct channel_ops *ops;
    const struct os_ops *os;
    size_t max_frame;
    int broken; /* atomic: the PIT_E_* that ended it */
};

/* The marks of the calls of a lane (segment.h); in a socket channel with a segment they say what the worker says in them. */
struct lane_status;
struct lane_status *channel_ring_status(void *segment, unsigned index, uint32_t ring_bytes);

/* The host's end of lane `index` of a mapped segment (borrowed; ring_bytes as given to segment_init). NULL: memory. The host never
 * rings the control socket: the worker's lane thread sleeps on the futex. */
struct channel *channel_ring_create(const struct os_ops *os, void *segment, unsigned index, uint32_t ring_bytes,
                                    size_t max_frame);
/* The worker's end of the same lane, for workers written in C (and tests): as wary as the host's. Rings control_fd (not owned, -1:
 * none) when the host asks for that. */
struct channel *channel_ring_create_worker(const struct os_ops *os, void *segment, unsigned index, uint32_t ring_bytes,
                                           size_t max_frame, int control_fd);
/* A channel over a connected stream socket (not owned). Bell bytes between frames are skipped. NULL: memory. */
struct channel *channel_socket_create(const struct os_ops *os, int fd, size_t max_frame);
/* Has it read more than recv() has delivered? The descriptor says nothing of that. Whoever may receive. */
bool channel_socket_has_read(const struct channel *c);
/* Two ends in memory, [0] the host's. 0 or PIT_E_ALLOCATION_FAILED. */
int channel_memory_pair(const struct os_ops *os, size_t max_frame, struct channel *ret[2]);

/* Fills the segment's header and lanes (fresh, zeroed memory). */
void segment_init(void *map, uint32_t lanes, uint32_t ring_bytes, const uint8_t secret[16]);
uint64_t segment_bytes(uint32_t lanes, uint32_t ring_bytes); /* rounded up to whole pages */

#endif
