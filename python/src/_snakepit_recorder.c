/* The worker's part of its flight recorder (src/ring/recorder.h): finds it in the segment, and writes what is no call.
 *
 * Invariant: a lane's ring is written by the lane's thread alone; what other threads see goes to the ring of the process.
 * Failure: without a recorder nothing is written. Thread: attach and name the lane's; note any, also without the GIL. */
#include <string.h>

#include "_snakepit_lane.h"

/* The host made it: its word counts, as long as it lies inside the segment. */
void recorder_attach(struct lane *l, unsigned index)
{
    struct segment_header s;
    struct recorder_header h;
    memcpy(&s, l->map, sizeof s);
    if (s.recorder_offset == 0 || s.recorder_offset % RECORDER_PAGE != 0 || l->map_n < RECORDER_LANES_AT ||
        s.recorder_offset > l->map_n - RECORDER_LANES_AT)
        return;
    uint8_t *at = l->map + s.recorder_offset;
    memcpy(&h, at, offsetof(struct recorder_header, names));
    size_t lane_bytes = (size_t)h.lane_records * sizeof(struct recorder_record);
    if (h.magic != RECORDER_MAGIC || index >= h.lanes || h.lane_records == 0 || (h.lane_records & (h.lane_records - 1)) != 0 ||
        (size_t)h.lanes * lane_bytes > l->map_n - s.recorder_offset - RECORDER_LANES_AT)
        return;
    l->record = (struct recorder_header *)(void *)at;
    l->recorder.ring = (struct recorder_record *)(void *)(at + RECORDER_LANES_AT + index * lane_bytes);
    l->recorder.mask = h.lane_records - 1;
    l->recorder.ticks = h.clock == RECORDER_TICKS;
}

void recorder_note(struct lane *l, enum recorder_kind kind, unsigned extra, uint64_t id)
{
    if (l->record == NULL)
        return;
    struct recorder_record *ring = (struct recorder_record *)(void *)((uint8_t *)l->record + RECORDER_PROCESS_AT);
    recorder_note_shared(ring, &l->record->process_n, kind, extra, recorder_now(l), id);
}

unsigned recorder_name(struct lane *l, const uint8_t *name, size_t n)
{
    struct recorder_header *h = l->record;
    if (h == NULL || n > RECORDER_NAME)
        return 0;
    uint32_t have = __atomic_load_n(&h->names_n, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < have && i < RECORDER_NAMES; i++)
        if (memcmp(h->names[i], name, n) == 0 && (n == RECORDER_NAME || h->names[i][n] == '\0'))
            return i + 1;
    if (have >= RECORDER_NAMES)
        return 0;
    have = __atomic_fetch_add(&h->names_n, 1, __ATOMIC_ACQ_REL);
    if (have >= RECORDER_NAMES)
        return 0;
    memcpy(h->names[have], name, n);
    return have + 1;
}
