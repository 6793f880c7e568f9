/* A lane: one pair of rings (or the control socket) between one owner in the host and one thread of a worker.
 *
 * Invariants
 *  1. At any moment a lane has one owner: the pool (IDLE), a caller's thread in a blocking call (CALLER), the loop (LOOP), or nobody
 *     any more (CLOSED). The owner changes under the pool's lock and nowhere else.
 *  2. Only the owner receives. The owner sends; on a LOOP lane whoever holds the pool's lock may send.
 *  3. `flights` are the calls that stand in the request ring or run, oldest first; answers come in that order. A flight without
 *     a call was given up by its caller: its answer is dropped.
 *  4. A CALLER lane has one flight; more than one only where calls are known to be short. */
#ifndef PIT_WORKER_LANE_H
#define PIT_WORKER_LANE_H

#include "base/buf.h"
#include "base/list.h"
#include "channel/channel.h"
#include "os/loop.h"
#include "ring/segment.h"
#include "worker/ladder.h"

struct call;
struct worker;

/* X(CONSTANT, name, edges) */
#define LANE_OWNER_LIST(X)                                                                                                     \
    X(IDLE, idle, SM_TO(LANE_CALLER) | SM_TO(LANE_LOOP) | SM_TO(LANE_CLOSED))                                                  \
    X(CALLER, caller, SM_TO(LANE_IDLE) | SM_TO(LANE_LOOP) | SM_TO(LANE_CALLER) | SM_TO(LANE_CLOSED))                           \
    X(LOOP, loop, SM_TO(LANE_IDLE) | SM_TO(LANE_CALLER) | SM_TO(LANE_CLOSED))                                                  \
    X(CLOSED, closed, 0)

enum lane_owner {
    LANE_NONE = 0,
#define LANE_OWNER_ENUM(constant, name, edges) LANE_##constant,
    LANE_OWNER_LIST(LANE_OWNER_ENUM)
#undef LANE_OWNER_ENUM
        LANE_OWNER_COUNT
};

struct flight {
    uint64_t sequence;
    struct call *call; /* NULL: given up */
};

/* What the worker had used before a call with limits began. */
struct limit_watch {
    uint64_t sequence; /* of the call; 0: none is watched */
    uint64_t began_ns, printed;
    struct os_usage base;
    bool known; /* base is */
    bool armed; /* the loop has seen the call, `printed` is set */
    struct loop_timer timer;
};

struct lane {
    struct list node; /* in the pool's list of idle lanes, or of the loop's lanes */
    struct worker *worker;
    unsigned index;
    int owner;
    bool dead;  /* atomic: the worker has ended; who waits on the lane shall look */
    bool armed; /* a LOOP lane: the worker rings the control socket */
    struct channel *channel;
    struct lane_status *status; /* NULL: the worker keeps no marks */
    uint64_t sequence;          /* of the last call */
    uint64_t answered;          /* the last call that left from the front */
    uint64_t died_at;           /* once its worker is GONE: lane_last_begun() */
    unsigned first, count;
    struct flight flights[SEGMENT_SLOTS];
    bool written_ahead;      /* what lane_tell_ahead has told the worker */
    bool windowed;           /* a LOOP lane: all its calls are short, more may be written ahead */
    unsigned given_up;       /* flights without a call */
    bool broken;             /* the worker broke the protocol here: nothing that came behind it counts */
    struct ladder ladder;    /* of the first call, if it was given up and the loop has seen that */
    uint64_t cancel_told;    /* the call of that ladder: the worker has been told by a frame, or need not be */
    struct list notes;       /* the pool's: what will be told of calls that were given up */
    bool attended;           /* `attend` is posted */
    uint64_t stalled;        /* the first call's sequence when `stall` was set */
    struct loop_timer grace; /* runs out: the ladder's next rung */
    struct limit_watch limit;
    struct loop_timer stall; /* runs out: what waits behind the first call is taken back */
    struct loop_work attend; /* asks the loop to look at the lane */
    struct buf unsent;       /* whole frames that are not out: one whose caller has gone; or some in the middle of a call: */
    bool unsent_inner;       /* it may be answered before they are out */
    bool has_unsent;         /* atomic: for who rides a stream, while others send */
    size_t unsent_at, unsent_done; /* where the first of them begins, and how much of it is out */
    struct call *sending;          /* a LOOP lane: the call whose frame is partly out */
    unsigned inner; /* atomic: a call of this lane has called a tool, and has not ended: the following is used (pool/inner.h) */
    unsigned nested;     /* the last so many flights are calls that tools have made, each inside the one before */
    uint32_t asking;     /* a LOOP lane: bit n: level n waits for a tool that a thread runs */
    uint64_t asked_id;   /* the worker's number of the last tool call */
    struct list streams; /* tools that stream to calls of this lane (pool/tool_job.h) */
    unsigned senders;    /* atomic: of them; while there is one everybody sends under the pool's lock */
    size_t unsent_chunk; /* the first frame of `unsent` is one of theirs, of so many bytes */
    struct buf held;     /* answers to levels that are not on top: a byte of level, the frame, and so on */
    struct buf asked;    /* a LOOP lane: a frame that the loop has still to attend to */
    uint64_t finished;   /* calls, for statistics */
    uint64_t watched;    /* the first call's sequence when its worker was last looked at */
    uint64_t watched_ns; /* since when it has been the first */
};

bool lane_move(struct lane *l, int owner);          /* the one function that changes the owner; pool's lock */
uint64_t lane_push(struct lane *l, struct call *c); /* its sequence; there must be room: a lane without flights has it */
/* Is there a mark for one more call? What was taken back still stands in the worker's ring and keeps its mark until a later call
 * is answered; the first flight is never taken back, so that comes. */
bool lane_has_mark(const struct lane *l);
struct flight *lane_head(struct lane *l);                         /* NULL: none */
struct flight *lane_at(struct lane *l, unsigned i);               /* i-th oldest */
struct flight *lane_flight(struct lane *l, const struct call *c); /* of a call that is there; NULL: it is not */
void lane_pop(struct lane *l);
struct flight *lane_inner(struct lane *l);  /* the one that is answered next: the innermost; NULL: none */
void lane_pop_inner(struct lane *l);        /* takes that one out */
void lane_drop(struct lane *l, unsigned i); /* takes out the i-th, which is not the first and was revoked */
/* Has the worker begun to run this call? Without marks: true (a call runs at most once). */
bool lane_started(const struct lane *l, uint64_t sequence);
/* The same of a call of a worker that has died; next: it was the first of its lane. Of a worker that was not killed, that the next call had not begun is
 * believed once: one that has overwritten the marks would have it run again and again, each time in another process. */
bool lane_had_begun(const struct lane *l, struct call *c, uint64_t sequence, bool next);
/* The sequence of the call that the worker has begun last, of those that stand here; 0: none. Given up ones count. */
uint64_t lane_last_begun(const struct lane *l);
/* Takes a call back that has not been started: true when it will never run. */
bool lane_revoke(struct lane *l, uint64_t sequence);
/* Sets the cooperative flag that Python reads as session_context.cancelled(). */
void lane_flag_cancel(struct lane *l, uint64_t sequence);
/* The signal that follows is for this call and no other. */
void lane_flag_raise(struct lane *l, uint64_t sequence);
/* Does the worker say that it runs this call as a task of its event loop? Asked after lane_flag_cancel: the signal wakes the loop. */
bool lane_runs_task(const struct lane *l, uint64_t sequence);
/* Tells the worker whether calls are written ahead of the one that it runs. Pool's lock. */
void lane_tell_ahead(struct lane *l, bool ahead);

#endif
