/* A pool: identical workers, one queue, and the choice of a lane for each call.
 *
 *   STARTING --first worker ready--> RUNNING --every start failed--> FAILED --a start succeeds--> RUNNING
 *       RUNNING --too many successors in a while--> DEGRADED (starts are held back) --a while of calm--> RUNNING
 *       any -> STOPPING (no new calls) -> STOPPED (no worker left)
 *
 * Invariants
 *  1. `lock` guards everything marked so, and all states of workers, lanes and calls. No callback of a user and nothing that blocks
 *     runs under it.
 *  2. An idle lane is in `idle`, a lane of the loop in `loop_lanes`, a lane of a caller in neither. Only READY and BUSY workers
 *     that are not `dead` have idle lanes.
 *  3. A call is QUEUED and in the queue, or SENT and in its lane's flights, or in BACKOFF and the barrier's, or has its outcome.
 *  4. When a lane becomes free while calls wait, either the head gets it, or the head has been woken to take one (`notified`): a wait
 *     never outlives the last busy lane.
 *  5. Each slot has at most one worker that is not dead, and one more while that one is being recycled; the dead ones only finish.
 *     The idle lanes of a worker that drains are in no list.
 *  6. Lock order: a pool's lock, then nothing of another pool. The host's lock comes before a pool's.
 *
 * Threads: pool_call, pool_submit, pool_cancel, pool_stats, pool_list: any. The rest: loop thread. */
#ifndef PIT_POOL_POOL_H
#define PIT_POOL_POOL_H

#include "base/wheel.h"
#include "fault/barrier.h"
#include "fault/poison.h"
#include "fault/restart.h"
#include "pool/barrier.h"
#include "pool/commands.h"
#include "pool/crash_health.h"
#include "pool/poison.h"
#include "pool/probe.h"
#include "pool/queue.h"
#include "pool/taint.h"
#include "worker/inproc.h"
#include "worker/worker.h"

/* X(CONSTANT, name, edges) */
#define POOL_STATE_LIST(X)                                                                                                     \
    X(STARTING, starting, SM_TO(POOL_RUNNING) | SM_TO(POOL_FAILED) | SM_TO(POOL_STOPPING))                                     \
    X(RUNNING, running, SM_TO(POOL_DEGRADED) | SM_TO(POOL_FAILED) | SM_TO(POOL_STOPPING))                                      \
    X(DEGRADED, degraded, SM_TO(POOL_RUNNING) | SM_TO(POOL_FAILED) | SM_TO(POOL_STOPPING))                                     \
    X(FAILED, failed, SM_TO(POOL_RUNNING) | SM_TO(POOL_STOPPING))                                                              \
    X(STOPPING, stopping, SM_TO(POOL_STOPPED))                                                                                 \
    X(STOPPED, stopped, 0)

enum pool_state {
    POOL_NONE = 0,
#define POOL_STATE_ENUM(constant, name, edges) POOL_##constant,
    POOL_STATE_LIST(POOL_STATE_ENUM)
#undef POOL_STATE_ENUM
        POOL_STATE_COUNT
};

/* Of streams: what may be under way each way, and for how long one may be silent (UINT64_MAX: for ever). */
struct stream_rules {
    uint64_t window, window_bytes, idle_ns;
    int64_t timeout_ms;
};

/* Options with every default filled in; strings owned. */
struct pool_settings {
    char *name, *adapter, *python, *cwd;
    char **command, **adapter_args, **env, **python_path, **preload;
    int workers, max_queue_size, startup_batch_size, channel, cancel_max_rung;
    int64_t timeout_ms, queue_timeout_ms, cancel_grace_ms, startup_batch_delay_ms, worker_ready_timeout_ms;
    int64_t graceful_ms, canary_timeout_ms;
    int start_mode; /* PIT_START_*; 0: what is best */
    int spare_workers;
    bool keeps_descendants;
    uint64_t spin_ns;
    uint32_t ring_bytes, lanes;
    bool threaded;               /* profile thread: each lane has a thread of the worker */
    const char *adapter_scope;   /* static; NULL: what the adapter says */
    struct limits limits;        /* of each call */
    bool limited;                /* there are some */
    pit_value *command_timeouts; /* a map of commands to milliseconds; NULL: none */
    size_t max_frame;
    struct restart_rules restart;
    struct beat_rules heartbeat;
    struct health_rules health;
    struct dossier_rules dossier;
    struct recycle_rules recycle;
    struct barrier_rules barrier;
    char **taint_error_types; /* NULL: none */
    struct crash_rules crash_rules;
    struct poison_rules poison;
    struct stream_rules stream;
    bool idempotent_arg;   /* an argument of that name says it */
    pit_adapter c_adapter; /* size 0: none */
    void *c_adapter_user;
    int recycle_max_parallel;
    int64_t lifecycle_check_interval_ms, drain_timeout_ms;
};

struct slot {
    struct pool *pool;
    struct worker *current; /* NULL: none, one will be started when `timer` runs out */
    struct worker *next;    /* starts beside it and will replace it: recycle.c; NULL: none */
    uint64_t generation;
    struct restart_slot restart;
    bool counts;       /* `timer` starts a successor that counts among the pool's: it is asked whether there may be one */
    bool start_failed; /* the last start ended badly */
    bool gives_way;    /* `timer` is short: a start takes a CPU from the caller whose worker has died */
    bool settled;      /* its first start has ended, well or badly */
    uint64_t lost_ns;  /* when it lost the worker that it had; 0: told of */
    uint64_t lost_generation;
    const char *lost_why;       /* static: a code, a reason of recycling, or a class of exits; NULL: not known yet */
    uint64_t held_until_ns;     /* lock: its next start waits so long; 0: it does not wait */
    struct tainted tainted;     /* lock */
    struct recorder_past *past; /* what its last worker that has ended has left; owned; NULL: nothing */
    struct loop_timer timer;
};

struct host;

struct pool {
    struct host *host;
    struct list node; /* in the host's list */
    struct pool_settings set;
    struct worker_env *env, own_env; /* own_env: of threads, which no guard and no registry needs to know of */
    struct worker_config config;
    struct worker_events events;
    struct poollock lock;
    /* lock */
    int state;
    bool watched; /* the loop looks at the workers by itself; else watch_begin asks it to */
    bool ending;  /* atomic: STOPPING or STOPPED; somebody waits for the calls to end */
    struct list idle, loop_lanes, workers;
    struct queue queue;
    struct wheel expiry;    /* calls that the loop carries */
    uint64_t expiry_due_ns; /* when the loop looks next; UINT64_MAX: not at all */
    struct commands commands;
    pit_value *timeouts;         /* what the tools of the worker that was ready last declare; NULL: nothing */
    pit_value *repeatable;       /* lock; the same: its keys are the commands that may be run again */
    pit_value *tools;            /* lock; the same: what it says of each of its commands */
    bool has_timeouts;           /* atomic: there are some */
    struct list untold;          /* calls that the loop carries, with steps to tell of */
    struct list tool_waits;      /* threads in tools (tool_wait.h) */
    struct list cancelled_notes; /* ladders that have ended, to be told of (cancel.h) */
    struct slot *slots;
    size_t active;          /* calls that have entered and not left */
    pit_error *start_error; /* the last start that failed; owned */
    bool hopeless;          /* no start can succeed: the reason shows before a worker is started */
    uint64_t requests, succeeded, errors, queued_total, queue_timeouts, saturated, cancelled, crashes, restarts;
    uint64_t pings, pongs, missed_heartbeats;
    uint64_t recycled[RECYCLE_REASONS];
    uint64_t promoted; /* spares that took over */
    double avg_queue_ms, max_queue_ms;
    bool unforked; /* there is to be a template, and none can be had at the moment; why: */
    char unforked_reason[32], unforked_library[128], unforked_module[128];
    /* loop thread */
    struct loop_timer expiry_timer, batch_timer, calm_timer, watch_timer, health_timer, scan_timer;
    struct loop_work recycle_work;
    struct probe probe;
    struct barrier barrier;
    struct tainting tainting;
    struct crash_health crash_health;
    struct poison poison;
    bool left_adapter;  /* lock: it has left its adapter */
    unsigned recycling; /* workers that are being recycled */
    unsigned settled;   /* slots */
    bool complete;      /* pool.init_complete is told */
    bool warned_of_gil; /* once */
    struct restart_pool restart;
    struct loop_work look_at_expiry, kill_work, tell_work, watch_work, health_work, cancelled_work;
    int n_slots;
    unsigned started;      /* slots of the first batches */
    struct zygote *zygote; /* NULL: none yet, or none wanted */
    struct loop_timer zygote_timer;
    bool held, held_enough; /* the slots that were never started wait for the template; have waited for it */
    uint64_t opened_ns;
};

/* ---- pools of a C adapter (adapter.c) ---- */
static inline bool pool_has_adapter(const struct pool *p)
{
    return p->config.home != NULL;
}
bool pool_make_adapter(struct pool *p); /* false: no memory */
/* Has the adapter make itself ready, on this thread; then the pool's threads are started, or it has failed. Blocks for a turn of the loop. */
void pool_start_adapter(struct pool *p);
/* The pool leaves its adapter, once it has no worker: waits to the deadline for threads that are still in it. How many are left. Any thread, without a
 * lock; the second time it is nothing. */
unsigned pool_leave_adapter(struct pool *p, uint64_t deadline_ns);

/* ---- life: loop thread ---- */
struct pool *pool_create(struct host *h, struct worker_env *env, struct pool_settings *set /* its content is taken */);
void pool_start(struct pool *p, char **argv, char **env); /* begins to start workers; takes both */
void pool_fail(struct pool *p, pit_error *e);             /* taken: it cannot even begin */
void pool_shut(struct pool *p);                           /* lock free: no new calls from now on; any thread */
void pool_end_calls(struct pool *p);                      /* waiting and running calls get shutting_down */
void pool_stop_workers(struct pool *p, bool at_once);
void pool_guard_lost(struct pool *p);
void pool_guard_back(struct pool *p);
bool pool_has_workers(struct pool *p); /* false: it is STOPPED */
void pool_destroy(struct pool *p);     /* every worker is gone */
void pool_settings_free(struct pool_settings *s);
unsigned pool_ready_workers(struct pool *p); /* any thread */

/* ---- calls: any thread ---- */

/* Carries a call to its outcome on this thread. Blocks. */
void pool_call(struct pool *p, struct call *c);
/* Takes a call that the loop carries on: c->done runs when it has its outcome. An error (owned): refused, done does not run. */
pit_error *pool_submit(struct pool *p, struct call *c);
void pool_cancel(struct pool *p, struct call *c, const char *reason);
/* In two steps: the call gets its outcome; and whoever waits for it hears of that, then the loop, which sees to the worker. Until the second
 * the call stays, and nobody has been told. */
struct pool_ending {
    struct pool *pool;
    struct list done;
    struct lane *left;
};
void pool_cancel_begin(struct pool *p, struct call *c, const char *reason, struct pool_ending *ret);
void pool_cancel_finish(struct pool_ending *e);
/* Ends a call that the loop carries with this outcome (taken), if it has none: who reads its stream has had enough. */
void pool_end_with(struct pool *p, struct call *c, struct outcome o, const char *reason);
void pool_expire(struct pool *p, struct call *c); /* its deadline has passed, if it has not ended; for calls of a batch */

/* Hands over as many of the n new calls as there are idle lanes, or room in lanes whose commands are known to be short: the loop carries
 * them. The rest is not taken, and nobody who waits in the queue is passed by. may_queue: where there is no room at all the first one
 * joins the queue, if that has room. *ret (owned): why none may be taken. */
unsigned pool_offer(struct pool *p, struct call *const *calls, unsigned n, bool may_queue, pit_error **ret);

/* ---- the loop's part ---- */
/* Attends to the lanes that the loop owns; true: something was done. */
bool pool_turn(struct pool *p);
/* Before the loop sleeps: false when there is work after all. */
bool pool_arm(struct pool *p);
void pool_disarm(struct pool *p);

int64_t pool_timeout_of(struct pool *p, const char *command, bool streams); /* of a call that asks for none, in milliseconds */
void pool_count_refusals(struct pool *p, size_t n, int rc);                 /* calls that failed before they came here */
void pool_get_stats(struct pool *p, pit_stats *add);
bool pool_is_idle(struct pool *p); /* no call inside, nor one that has lost its caller and is being ended */

#endif
