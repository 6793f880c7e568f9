/* A call: its frame, its place, its outcome. Pure but for the channel of its lane; scheduling is the pool's.
 *
 *   NEW --> QUEUED --> SENT --> DONE          NEW, QUEUED -> DONE: refused, dropped, expired
 *    |________________/   |                   SENT -> QUEUED: its worker died before it had started the call
 *                         +-> BACKOFF -> QUEUED   SENT -> BACKOFF: its worker died of it, and it may run again
 *
 * Invariants
 *  1. A call gets exactly one outcome: call_finish() is the one place that gives it, under the pool's lock, and refuses a second.
 *  2. The frame is encoded once, before a lane is taken, and kept until the end: a call that has not started can run elsewhere.
 *  3. command, session_id and correlation_id are borrowed from who made the call. */
#ifndef PIT_WORKER_CALL_H
#define PIT_WORKER_CALL_H

#include <snakepit/call.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/sm.h"
#include "base/wheel.h"
#include "channel/channel.h"
#include "fault/limits.h"
#include "os/os.h"
#include "wire/codec.h"
#include "wire/error.h"
#include "wire/frame.h"

struct lane;
struct stream;

/* X(CONSTANT, name, edges) */
#define CALL_STATE_LIST(X)                                                                                                     \
    X(NEW, new, SM_TO(CALL_QUEUED) | SM_TO(CALL_SENT) | SM_TO(CALL_DONE))                                                      \
    X(QUEUED, queued, SM_TO(CALL_SENT) | SM_TO(CALL_DONE))                                                                     \
    X(SENT, sent, SM_TO(CALL_QUEUED) | SM_TO(CALL_BACKOFF) | SM_TO(CALL_DONE))                                                 \
    X(BACKOFF, backoff, SM_TO(CALL_QUEUED) | SM_TO(CALL_DONE))                                                                 \
    X(DONE, done, 0)

enum call_state {
    CALL_NONE = 0,
#define CALL_STATE_ENUM(constant, name, edges) CALL_##constant,
    CALL_STATE_LIST(CALL_STATE_ENUM)
#undef CALL_STATE_ENUM
        CALL_STATE_COUNT
};

/* Steps of an observed call's way that an event tells of. */
enum {
    CALL_ENQUEUED = 1,
    CALL_DEQUEUED = 2,
    CALL_DISPATCHED = 4,
    CALL_BEGUN = 8,
    CALL_WORKER = 16, /* in its struct call_way only */
    CALL_RETRIED = 32
};

enum { WORKER_ID = 96, CALL_INLINE = 512, CALL_ID = 28 /* "sp-" + 24 hex digits + NUL */ };

struct outcome {
    int rc;
    pit_value *value; /* owned */
    pit_error *error; /* owned */
};

static inline struct outcome outcome_failed(pit_error *e /* taken */)
{
    return (struct outcome){.rc = pit_error_code(e), .error = e};
}

struct call {
    /* fixed once it has begun */
    const char *command, *session_id, *correlation_id;
    const struct buf *more_fields; /* encoded; borrowed until call_encode has returned; may be NULL */
    uint64_t entered_ns;
    uint64_t deadline_ns;       /* UINT64_MAX: none */
    uint64_t queue_deadline_ns; /* UINT64_MAX: none; never beyond the deadline */
    int64_t timeout_ms;         /* as asked for, for messages */
    int priority;               /* PIT_PRIORITY_* */
    int max_rung;               /* of its cancellation; 0: the pool's */
    bool fail_fast;
    bool waited_for;       /* a thread blocks in it; else the loop carries it */
    bool coarse;           /* entered_ns is up to OS_TICK_NS too early */
    bool observed;         /* somebody listens to its events */
    bool timed;            /* the worker was asked how long its function took */
    bool limited;          /* `limits` says what it may use of its worker */
    bool of_batch;         /* it keeps its worker's id, who made it watches its deadline, and nobody waits for it alone */
    struct stream *stream; /* NULL: it has one answer; then the window is 1 and the loop carries it */
    int idempotent;        /* to run it twice does no harm: PIT_ON, PIT_OFF; 0: as its tool says */
    struct buf frame;
    size_t sent; /* bytes of the frame that are out */
    /* the pool's lock */
    int state;
    struct list node;  /* in the queue, or among those that wait to run again */
    struct lane *lane; /* SENT; or QUEUED and just handed a lane */
    uint64_t sequence;
    uint32_t prefix; /* of the worker that has it, for the correlation id */
    uint64_t queued_ns, queue_ns;
    uint64_t sent_ns; /* atomic: the thread that rides a coarse call corrects it */
    bool notified;    /* woken to try for a lane, has not run since */
    bool was_queued;
    size_t queue_depth; /* of the queue when it entered, itself included */
    unsigned untold;    /* CALL_BEGUN ...: taken since they were last told of */
    struct list untold_node;
    struct outcome outcome;
    size_t bytes_out;
    uint64_t serialize_ns, python_ns, deserialize_ns; /* of observed calls */
    uint64_t ended_ns;                                /* the same: when its answer had been decoded; 0: not known */
    unsigned level; /* of a call that a tool has made on the lane of the call that it serves: 1, 2, ...; 0: any other */
    unsigned depth; /* calls that it is inside of, of whatever pool */
    bool called_tools;
    bool fed;          /* of a stream: something was sent to its inbox, which another worker would not have */
    const char *cut;   /* atomic: of a nested call that a thread rides: it is to end, for this reason */
    bool spared;       /* a worker that was to run it next has ended itself, and had not begun, by its own word */
    bool unrepeatable; /* it has called a tool that may not be run again */
    /* after its worker has died, where it may run again (pool/barrier.h) */
    unsigned restarts;
    uint64_t retry_ns, backoff_ns; /* not before then; so long after the death */
    pit_error *crash;              /* the last death's; owned */
    uint32_t wake;                 /* futex word: 1 = look again (a blocking call), it has its outcome (others) */
    uint32_t sleepers;             /* atomic: threads that wait on it */
    /* of calls that the loop carries */
    unsigned window; /* how many such calls a lane may hold: more than one where they are known to be short */
    bool taken_back; /* it has stood behind a long one once */
    struct wheel_timer expiry;
    void (*done)(struct call *c); /* on the loop thread, without a lock; of a batch: c and what follows it by done_next */
    bool anywhere;                /* done may run on the thread that ends the call, too: nothing is told of it on the loop */
    uint32_t delivered;           /* futex word of who made it: done has run */
    struct list done_node;
    struct call *done_next;     /* of a batch: of the same one, told of together */
    const void *made_by;        /* the batch */
    char id[CALL_ID];           /* the correlation id, when it was generated; while correlation_id is NULL it is in no frame */
    uint8_t small[CALL_INLINE]; /* from here on nothing is cleared */
    struct limits limits;       /* of a limited call, and the limit that it passed: LIMITS for none */
    enum limit_kind limit_passed;
    uint64_t limit_used;       /* in the limit's units */
    char worker_id[WORKER_ID]; /* of a call that was sent and is observed or of a batch */
};

struct call_args {          /* what to encode: one of the two */
    const pit_value *value; /* NULL = none */
    const char *format;     /* not NULL: with *ap */
    va_list *ap;
    bool packed;
};

/* Encodes the frame (all but sequence and deadline, which call_seal sets). 0 or an error (owned). */
pit_error *call_encode(struct call *c, const struct call_args *args, size_t max_frame);
void call_seal(struct call *c, uint64_t sequence, uint64_t now_ns);
/* From now on the frame carries c->id as its correlation id. Of an observed call without one, between two lanes; call_encode has kept room. */
void call_carry_id(struct call *c);
void call_measure(struct call *c); /* the worker shall tell how long the function took */
/* Waits until `wake` is set or the deadline. Spurious returns are allowed. */
void call_sleep(struct call *c, const struct os_ops *os, uint64_t deadline_ns);
/* Moves the state; false: not allowed. */
bool call_move(struct call *c, int state);
/* With no worker, and with no outcome: in the queue, or until it runs again. */
static inline bool call_waits(const struct call *c)
{
    return c->state == CALL_QUEUED || c->state == CALL_BACKOFF;
}
/* Gives the outcome (taken): false, and it is freed, when there is one already. Pool's lock. */
bool call_finish(struct call *c, struct outcome o);
void outcome_free(struct outcome *o);
/* Frees frame and outcome. */
void call_clear(struct call *c);
/* What a RESULT or ERROR frame says: outcome; rc PIT_E_PROTOCOL_ERROR when it is malformed. f is what `in` holds; both may be used up. */
struct outcome call_decode(const struct frame *f, struct channel_frame *in);
/* Writes "sp-", 8 hex digits of prefix, 16 of sequence. */
void call_put_id(char id[CALL_ID], uint32_t prefix, uint64_t sequence);
/* The correlation id: the caller's, or one made from prefix and sequence. */
const char *call_correlation(struct call *c, uint32_t prefix);

#endif
