/* Two ends of a lane in the memory of one process: a ring channel in every respect but for where its segment lies. For tests, and for
 * whatever wants to play a worker without a process.
 *
 * Invariant: the segment lives until both ends are destroyed, in whichever order and on whichever threads. */
#include <snakepit/codes.h>
#include <stdint.h>

#include "base/alloc.h"
#include "channel/channel_internal.h"

#define MEMORY_RING_BYTES 65536u

struct memory {
    unsigned ends; /* atomic */
    uint8_t bytes[];
};

static void let_go(void *memory)
{
    struct memory *m = memory;
    if (__atomic_sub_fetch(&m->ends, 1, __ATOMIC_ACQ_REL) == 0)
        mem_free(m);
}

int channel_memory_pair(const struct os_ops *os, size_t max_frame, struct channel *ret[2])
{
    static const uint8_t secret[SEGMENT_SECRET];
    struct memory *m = mem_zalloc(sizeof *m + SEGMENT_LINE + segment_bytes(1, MEMORY_RING_BYTES));
    if (m == NULL)
        return PIT_E_ALLOCATION_FAILED;
    void *segment = (void *)(((uintptr_t)m->bytes + SEGMENT_LINE - 1) & ~(uintptr_t)(SEGMENT_LINE - 1));
    segment_init(segment, 1, MEMORY_RING_BYTES, secret);
    struct channel *host = ring_channel_new(os, segment, 0, MEMORY_RING_BYTES, max_frame, RING_HOST, -1);
    if (host == NULL)
        goto undo_memory;
    struct channel *worker = ring_channel_new(os, segment, 0, MEMORY_RING_BYTES, max_frame, RING_WORKER, -1);
    if (worker == NULL)
        goto undo_host;
    m->ends = 2;
    ring_channel_own(host, let_go, m);
    ring_channel_own(worker, let_go, m);
    ret[0] = host;
    ret[1] = worker;
    return 0;
undo_host:
    host->ops->destroy(host);
undo_memory:
    mem_free(m);
    return PIT_E_ALLOCATION_FAILED;
}
