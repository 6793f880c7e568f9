/* The flight recorder of a worker: the last events of its life, in its segment, so that they outlive it. Layout and writer, the same on both
 * sides; src/crash/recorder.c reads it, in the host, from a copy, and believes none of it.
 *
 *   header, 1 page | records of the host, of the process; 1 page | of the worker before it, 1 page | records of lane 0 | lane 1 ...
 *
 * Invariants
 *  1. A record is written by stores alone: its word is emptied, then its fields, then its word again, each store with release order. So whoever finds
 *     the same word before and after reading the fields has the record that the word says. No lock, no system call, no memory.
 *  2. The rings of lanes have one writer each, which alone knows its place in it: a reader finds the newest record by their numbers. Those of the
 *     host and of the process have many, in several threads, and a shared count.
 *  3. What a call costs is two records' worth of stores in one cache line: the same record says that it began, and is told how it ended.
 *  4. The host's pages exist from the beginning; those of the lanes only once a call has been written there.
 *
 * Times are those of CLOCK_MONOTONIC, or ticks of the CPU's counter where the kernel itself tells the time by it: a reader that has both at one
 * moment, and the pair in the header, has the time of a tick. */
#ifndef PIT_RING_RECORDER_H
#define PIT_RING_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/cpu.h"

#define RECORDER_MAGIC UINT64_C(0x3143455250544950) /* "PITPREC1" */
#define RECORDER_PAGE 4096u
#define RECORDER_SHARED 64 /* records of the host, and of the process */
#define RECORDER_NAMES 60
#define RECORDER_NAME 64
#define RECORDER_PAST 62
#define RECORDER_LANE_MIN 32u /* records */

enum { RECORDER_NS = 0, RECORDER_TICKS = 1 };

/* X(CONSTANT, name, what `id` is: the key under which it is told, or NULL; "call": a lane sequence) */
#define RECORDER_EVENT_LIST(X)                                                                                                 \
    /* a lane */                                                                                                               \
    X(CALL, call, "call")                                                                                                      \
    /* the worker */                                                                                                           \
    X(SERVING, serving, "pid")                                                                                                 \
    X(FORKED, forked, "pid")                                                                                                   \
    X(CANCEL_SEEN, cancel_seen, "call")                                                                                        \
    X(RAISED, raised, "call")                                                                                                  \
    X(LEFT, left, NULL)                                                                                                        \
    /* the host */                                                                                                             \
    X(SPAWNED, spawned, "pid")                                                                                                 \
    X(READY, ready, NULL)                                                                                                      \
    X(DRAINING, draining, NULL)                                                                                                \
    X(STOPPING, stopping, NULL)                                                                                                \
    X(RUNG, rung, "call")                                                                                                      \
    X(SIGNALLED, signalled, "signal")                                                                                          \
    X(MISSED, heartbeat_missed, "in_a_row")                                                                                    \
    X(DEAD, dead, NULL)

enum recorder_kind {
    RECORDER_NOTHING = 0,
#define RECORDER_KIND(constant, name, key) RECORDER_##constant,
    RECORDER_EVENT_LIST(RECORDER_KIND)
#undef RECORDER_KIND
        RECORDER_KINDS
};

/* How a call ended. */
enum { RECORDER_RUNS = 0, RECORDER_OK, RECORDER_ERROR, RECORDER_CANCELLED, RECORDER_NO_MEMORY, RECORDER_OUTCOMES };

/* word: number of the record in its ring from 1 on, the low 32 bits; kind << 32; outcome << 40; extra << 48: of a call 1 + the place of its
 * command in names, of a rung its number, of a lane that begins or ends to serve its index. */
struct recorder_record {
    uint64_t word;
    uint64_t at;
    uint64_t id;
    uint64_t ended; /* of a call that has an outcome */
};
#define RECORDER_WORD(number, kind, extra) ((uint64_t)(uint32_t)(number) | (uint64_t)(kind) << 32 | (uint64_t)(extra) << 48)
#define RECORDER_OUTCOME(outcome) ((uint64_t)(outcome) << 40)

struct recorder_header {
    uint64_t magic;
    uint32_t bytes; /* of all of this */
    uint32_t lanes;
    uint32_t lane_records;                     /* of each lane, a power of two */
    uint32_t clock;                            /* RECORDER_NS, RECORDER_TICKS */
    uint64_t base_at, base_ns;                 /* one moment by that clock, and CLOCK_MONOTONIC */
    uint32_t prefix;                           /* of the ids of its calls */
    uint32_t host_n, process_n;                /* atomic: records that have been begun */
    uint32_t names_n;                          /* atomic: names that have been begun */
    char names[RECORDER_NAMES][RECORDER_NAME]; /* of commands: NUL-terminated unless they fill their place */
};

/* Written by the host when the slot's last worker has ended, oldest first: what is in the records of that one, in nanoseconds. */
struct recorder_note {
    uint64_t ns, ended_ns, id;
    uint8_t kind, outcome;
    uint16_t extra, lane; /* lane: 1 + its index, 0: none */
    uint16_t reserved;
    char name[32];
};
struct recorder_past {
    uint64_t generation, ended_ns;
    uint32_t pid, prefix, n, reserved;
    char how[32]; /* class of its end */
    struct recorder_note notes[RECORDER_PAST];
};

#define RECORDER_HOST_AT RECORDER_PAGE
#define RECORDER_PROCESS_AT (RECORDER_PAGE + RECORDER_SHARED * 32u)
#define RECORDER_PAST_AT (2 * RECORDER_PAGE)
#define RECORDER_LANES_AT (3 * RECORDER_PAGE)

_Static_assert(sizeof(struct recorder_record) == 32, "layout of a record");
_Static_assert(sizeof(struct recorder_header) <= RECORDER_PAGE, "the recorder's header has its page");
_Static_assert(RECORDER_PROCESS_AT + RECORDER_SHARED * 32u == RECORDER_PAST_AT, "the shared records have their page");
_Static_assert(sizeof(struct recorder_note) == 64 && sizeof(struct recorder_past) <= RECORDER_PAGE, "the past has its page");

static inline void recorder_put(struct recorder_record *r, uint64_t word, uint64_t at, uint64_t id)
{
    __atomic_store_n(&r->word, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&r->at, at, __ATOMIC_RELEASE);
    __atomic_store_n(&r->id, id, __ATOMIC_RELEASE);
    __atomic_store_n(&r->word, word, __ATOMIC_RELEASE);
}

/* One record of a ring that several write, whose count is *n. */
static inline void recorder_note_shared(struct recorder_record *ring, uint32_t *n, enum recorder_kind kind, unsigned extra,
                                        uint64_t at, uint64_t id)
{
    uint32_t number = __atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
    recorder_put(&ring[number % RECORDER_SHARED], RECORDER_WORD(number + 1, kind, extra), at, id);
}

/* The writer of one lane; ring NULL: nothing is recorded. */
struct recorder_lane {
    struct recorder_record *ring;
    uint32_t mask, number;
    bool ticks;
    uint64_t word; /* of the last call */
};

/* at: now, by the header's clock. */
static inline void recorder_call_begins(struct recorder_lane *l, uint64_t at, uint64_t id, unsigned name)
{
    struct recorder_record *r = &l->ring[l->number & l->mask];
    l->word = RECORDER_WORD(++l->number, RECORDER_CALL, name);
    recorder_put(r, l->word, at, id);
}

static inline void recorder_call_ends(struct recorder_lane *l, uint64_t at, int outcome)
{
    struct recorder_record *r = &l->ring[(l->number - 1) & l->mask];
    __atomic_store_n(&r->ended, at, __ATOMIC_RELEASE);
    __atomic_store_n(&r->word, l->word | RECORDER_OUTCOME(outcome), __ATOMIC_RELEASE);
}

#endif
