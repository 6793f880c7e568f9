/* Frames: the blocks that received frames are copied into. See channel.h.
 *
 * Invariants
 *  1. A block grows with the bytes that have arrived: twice what is needed at most, whatever length was claimed.
 *  2. data is `small` or `heap`; a heap block, once there, is kept for the next frames until channel_frame_finish. */
#include "channel/channel.h"

#include <string.h>

#include "base/alloc.h"
#include "channel/channel_internal.h"
#include "wire/frame.h"

void channel_frame_init(struct channel_frame *f)
{
    f->data = f->small;
    f->n = 0;
    f->heap = NULL;
    f->heap_cap = 0;
}

void channel_frame_finish(struct channel_frame *f)
{
    mem_free(f->heap);
    channel_frame_init(f);
}

uint8_t *channel_frame_take(struct channel_frame *f)
{
    if (f->data == f->small || f->heap_cap <= f->n)
        return NULL;
    uint8_t *block = mem_realloc(f->heap, f->n + 1); /* up to half of it may be spare */
    if (block == NULL)
        return NULL;
    channel_frame_init(f);
    return block;
}

void frame_clear(struct channel_frame *f)
{
    f->data = f->small;
    f->n = 0;
}

/* Twice what is needed, but not more than the frame will need if its header is right, and a byte: a long block that fits goes back to
 * where the next one is taken from, and so no page of it is fresh. */
static size_t capacity(const struct channel_frame *f, size_t total)
{
    if (total > SIZE_MAX / 2)
        return total;
    int64_t claimed = f->n >= FRAME_HEADER ? frame_peek_size(f->data, SIZE_MAX) : 0;
    return claimed >= (int64_t)total && (size_t)claimed < 2 * total ? (size_t)claimed + 1 : 2 * total;
}

uint8_t *frame_room(struct channel_frame *f, size_t total)
{
    bool small = f->data == f->small;
    if (small ? total > sizeof f->small : total > f->heap_cap) {
        if (total > f->heap_cap) {
            size_t cap = capacity(f, total);
            uint8_t *heap = mem_realloc(f->heap, cap);
            if (heap == NULL)
                return NULL;
            f->heap = heap;
            f->heap_cap = cap;
        }
        if (small)
            memcpy(f->heap, f->small, f->n);
        f->data = f->heap;
    }
    f->n = total;
    return f->data;
}

void frame_move(struct channel_frame *to, struct channel_frame *from)
{
    if (from->data == from->small) {
        memcpy(to->small, from->small, from->n);
        to->data = to->small;
        to->n = from->n;
        from->n = 0;
        return;
    }
    mem_free(to->heap);
    to->heap = to->data = from->heap;
    to->heap_cap = from->heap_cap;
    to->n = from->n;
    channel_frame_init(from);
}
