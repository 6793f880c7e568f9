/* The host's part of a worker's flight recorder (ring/recorder.h): makes it, writes there what it does to the worker, and reads it when the worker has
 * ended: for the dossier, and for the recorder of the worker that comes after it.
 *
 * Failure: without memory nothing is kept, and nothing else changes. Thread: recorder_note any that may look at the segment; the rest the
 * loop's. */
#ifndef PIT_WORKER_RECORDER_H
#define PIT_WORKER_RECORDER_H

#include <snakepit/value.h>

#include "ring/recorder.h"

struct worker;

struct recorder_rules {
    bool enabled;
    uint32_t ring_bytes; /* for the calls of all lanes of a worker, a power of two */
};

/* Before the segment is made: what the recorder takes behind the rest, and how much of that must be there from the beginning. */
size_t recorder_segment_bytes(const struct recorder_rules *r, uint32_t lanes, size_t *ret_ready);
/* Once it is there. */
void recorder_offer(struct worker *w, size_t at);
/* Something that the host does to the worker, or sees of it. Not for what happens with every call. */
void recorder_note(struct worker *w, enum recorder_kind kind, unsigned extra, uint64_t id);
/* Of one that has ended; once. Sets w->past. Where they are wanted, the last events as a list (owned); NULL: there is no recorder, or no memory. */
pit_value *recorder_take(struct worker *w, bool wanted);
/* Tells the successor what the one before it in its slot did; past may be NULL. */
void recorder_inherit(struct worker *w, const struct recorder_past *past);

#endif
