/* Inside src/channel: what the kinds of channels share. */
#ifndef PIT_CHANNEL_CHANNEL_INTERNAL_H
#define PIT_CHANNEL_CHANNEL_INTERNAL_H

#include "channel/channel.h"
#include "ring/ring.h"

/* The block of f with room for at least total bytes, with the f->n bytes that are in it; then f->n = total. Grows geometrically. NULL: no
 * memory, f as before. */
uint8_t *frame_room(struct channel_frame *f, size_t total);
/* Moves the content of `from` to `to`; from is empty then. No allocation. */
void frame_move(struct channel_frame *to, struct channel_frame *from);
/* An empty frame that keeps its heap block. */
void frame_clear(struct channel_frame *f);

/* The code that ended the channel, 0 while it works. */
static inline int channel_broken(const struct channel *c)
{
    return __atomic_load_n(&c->broken, __ATOMIC_RELAXED);
}

static inline int channel_break(struct channel *c, int code)
{
    __atomic_store_n(&c->broken, code, __ATOMIC_RELAXED);
    return code;
}

/* One end of a lane; bell_fd: where the peer wants its zero bytes, -1: nowhere. NULL: memory. */
enum ring_side { RING_HOST, RING_WORKER };
struct channel *ring_channel_new(const struct os_ops *os, void *segment, unsigned index, uint32_t ring_bytes, size_t max_frame,
                                 enum ring_side side, int bell_fd);
/* Makes it a memory channel, which calls let_go(memory) when it is destroyed. */
void ring_channel_own(struct channel *c, void (*let_go)(void *memory), void *memory);

#endif
