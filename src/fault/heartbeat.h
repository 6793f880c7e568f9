/* The policy of heartbeats: when a worker that runs a call is asked whether it lives, and what follows from its answers. Pure: a function of the
 * state, what is known, and the time.
 *
 *   no call, or a short one --(a call has run for interval_ns)--> watched: a ping each interval_ns
 *   a ping unanswered for timeout_ns = a miss; the next ping follows at once; any answer sets the misses back to none
 *   max_missed misses in a row = failed: its worker is killed where it is `dependent`
 *   answers, but no progress for stall_ns after it was asked for = stalled, which only is told
 *
 * Invariants
 *  1. At most one ping is out. A worker without a call that runs for long is never asked.
 *  2. What the worker says (pong, pong_ns, progress) is hostile: a pong counts only if it is one of the pings that are out or were missed,
 *     its time only between the ping and now.
 *  3. A step that comes late or too often decides what one in time would have, or nothing.
 *
 * Failure: none. Thread: whoever owns the state. */
#ifndef PIT_FAULT_HEARTBEAT_H
#define PIT_FAULT_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

struct heartbeat_rules {
    uint64_t interval_ns, timeout_ns, stall_ns;
    unsigned max_missed; /* at least 1 */
    bool dependent;
};

/* What is known of the worker now. */
struct heartbeat_seen {
    uint64_t running_since_ns; /* of the call that it has had longest; 0: it has none */
    uint64_t pong_ns, progress;
    uint32_t pong;
};

/* Zeroed: nothing has happened yet. */
struct heartbeat {
    uint32_t ping, pong; /* the last one sent; the last one answered */
    bool watched, waiting, stalled;
    unsigned missed;      /* in a row */
    uint64_t sent_ns;     /* of the last ping */
    uint64_t oldest_ns;   /* of the oldest ping without an answer */
    uint64_t next_ns;     /* of the next one, while none is out */
    uint64_t progress;    /* as last seen */
    uint64_t progress_ns; /* when it changed, or the call began */
    uint64_t asked_ns;    /* when the first answer since then was given, and progress asked for; 0: none was */
};

/* What a step has found, as bits. */
enum {
    HEARTBEAT_STARTED = 1,
    HEARTBEAT_STOPPED = 2,
    HEARTBEAT_PONG = 4,
    HEARTBEAT_MISSED = 8,
    HEARTBEAT_FAILED = 16,
    HEARTBEAT_KILL = 32,
    HEARTBEAT_STALLED = 64, /* it has come to a stand */
    HEARTBEAT_MOVES = 128,  /* it stalls no more */
    HEARTBEAT_PING = 256    /* send state->ping now */
};

struct heartbeat_step {
    unsigned what;       /* HEARTBEAT_* */
    unsigned missed;     /* with MISSED and FAILED: in a row */
    uint64_t latency_ns; /* with PONG */
    uint64_t stalled_ns; /* with STALLED */
    uint64_t due_ns;     /* when to look next; UINT64_MAX: when there is a call */
};

struct heartbeat_step heartbeat_step(struct heartbeat *b, const struct heartbeat_rules *r, const struct heartbeat_seen *seen,
                                     uint64_t now_ns);
/* The ping could not be sent: as if it had not been tried; the next one is due an interval later. */
void heartbeat_unsent(struct heartbeat *b, const struct heartbeat_rules *r, uint64_t now_ns);
/* The worker has ended: HEARTBEAT_STOPPED if it was watched, HEARTBEAT_MOVES if it was stalled. */
unsigned heartbeat_end(struct heartbeat *b);

#endif
