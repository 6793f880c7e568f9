/* Sizes and first content of a worker's segment; the layout is ring/segment.h's. Pure; the caller makes and maps the memory. */
#include "ring/segment.h"

#include <string.h>

#include "channel/channel.h"
#include "ring/ring.h"

#define PAGE UINT64_C(4096)

uint64_t segment_bytes(uint32_t lanes, uint32_t ring_bytes)
{
    uint64_t lane = LANE_BYTES((uint64_t)0) + 2 * (uint64_t)ring_bytes;
    return (SEGMENT_LANES_OFFSET + lanes * lane + PAGE - 1) & ~(PAGE - 1);
}

static uint8_t *lane_at(void *segment, unsigned index, uint32_t ring_bytes)
{
    return (uint8_t *)segment + SEGMENT_LANES_OFFSET + (size_t)index * LANE_BYTES(ring_bytes);
}

struct lane_status *channel_ring_status(void *segment, unsigned index, uint32_t ring_bytes)
{
    return (struct lane_status *)(void *)lane_at(segment, index, ring_bytes);
}

static void init_ring(uint8_t *at)
{
    struct ring_shared *ring = (struct ring_shared *)(void *)at;
    ring->head_cpu = ring->tail_cpu = RING_NO_CPU;
}

void segment_init(void *map, uint32_t lanes, uint32_t ring_bytes, const uint8_t secret[16])
{
    struct segment_header *h = map;
    *h = (struct segment_header){
        .magic = SEGMENT_MAGIC,
        .version = SEGMENT_VERSION,
        .lanes = lanes,
        .bytes = segment_bytes(lanes, ring_bytes),
        .ring_bytes = ring_bytes,
        .lane_offset = SEGMENT_LANES_OFFSET,
        .lane_stride = LANE_BYTES(ring_bytes),
    };
    memcpy(h->secret, secret, sizeof h->secret);
    for (uint32_t i = 0; i < lanes; i++) {
        uint8_t *lane = lane_at(map, i, ring_bytes);
        init_ring(lane + LANE_REQUEST_OFFSET);
        init_ring(lane + LANE_REPLY_OFFSET(ring_bytes));
    }
}
