/* One supervised worker process: start through the guard, handshake, supervision, end.
 *
 *   STARTING --READY frame--> READY <--> BUSY <--> DRAINING --> STOPPING --> GONE
 *        every state but GONE -> STOPPING (told to end, or killed by us) and -> GONE (died)
 *
 * Invariants
 *  1. worker_move() is the one function that changes the state, under the pool's lock; it emits worker.state_changed.
 *  2. Everything else here runs on the loop thread; functions marked "lock" want the pool's lock held, the others want it free.
 *  3. `expected` is set before any signal or STOP of ours. `dead` means: no call may be given to it any more. GONE comes last: the
 *     process has ended and its exit status is known, or will never be.
 *  4. on_dead comes once (it can serve no longer: replace it); on_gone comes once, after on_dead; then nothing more.
 *  5. A worker lives until it is GONE and its last reference is dropped: the pool's, the guard's (until its exit is told), one for each lane
 *     that a caller holds, one for each lane that the loop has been asked to attend to.
 *
 * Failure modes: whatever the worker sends, or does not, ends it alone. Its exit status may be lost with the guard. */
#ifndef PIT_WORKER_WORKER_H
#define PIT_WORKER_WORKER_H

#include <snakepit/pool.h>

#include "base/log.h"
#include "base/siphash.h"
#include "fault/recycle.h"
#include "guard/guard_client.h"
#include "os/loop.h"
#include "registry/registry.h"
#include "telemetry/event.h"
#include "wire/frame.h"
#include "worker/call.h"
#include "worker/capture.h"
#include "worker/dossier.h"
#include "worker/exit.h"
#include "worker/health.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/look.h"
#include "worker/oom.h"
#include "worker/poollock.h"
#include "worker/recorder.h"
#include "worker/repro.h"

/* What all workers of a host share. */
struct worker_env {
    const struct os_ops *os;
    struct loop *loop;
    struct guard_client *guard; /* NULL while there is none */
    struct telemetry *telemetry;
    const struct log *log;
    const char *run_id;
    struct registry *registry; /* NULL: none */
    uint32_t prefix;           /* of correlation ids: counts up with every worker */
    struct oom_watch *oom;
    struct crash_store *crashes; /* NULL: nothing is kept on disk */
    const char *crashes_dir;     /* of pools that name none; NULL: nowhere */
    bool crashes_found;          /* the command line looks there by itself */
    struct recorder_rules recorder;
    struct siphash_key digest_key; /* of call_digest.h; random, and no worker's to know */
};

/* What all workers of a pool share. */
struct worker_config {
    const char *pool;   /* its name */
    char **argv, **env; /* env without SNAKEPIT_WORKER_ID */
    const char *cwd;
    uint32_t lanes, ring_bytes;
    bool threaded;             /* profile thread */
    const char *adapter_scope; /* static; NULL: what the adapter says */
    size_t max_frame;
    int channel; /* PIT_CHANNEL_* */
    int64_t ready_timeout_ms, graceful_ms;
    bool keeps_descendants;
    bool heartbeat;            /* its workers are asked for signs of life */
    struct adapter_home *home; /* its workers are threads of this process (inproc.h); NULL: processes */
    uint64_t spin_ns;          /* of those */
    struct dossier_rules dossier;
    struct repro_rules repro;
    struct poollock *lock; /* the pool's */
};

struct worker;
struct zygote;
struct adapter_home;
struct inproc;

struct worker_events {
    void (*ready)(struct worker *w);   /* its lanes may be used */
    void (*replied)(struct worker *w); /* to a health check; any thread */
    void (*dead)(struct worker *w);    /* can serve no longer; its exit is not known yet */
    void (*gone)(struct worker *w);    /* it has ended; w->exit_class, w->how, w->failure are final. Calls worker_let_go */
};

/* What a process started by the guard is known by: its address is the token. */
struct guard_child {
    void (*spawned)(struct guard_child *c, int error, const char *call, pid_t pid, int pidfd);
    void (*exited)(struct guard_child *c, struct guard_exit how);
};

/* The pool's: how it makes room for another (pool/recycle.c). */
struct worker_recycle {
    enum recycle_reason why; /* lock: it is wanted */
    bool replaced;           /* lock: its spare is ready */
    bool spare;              /* lock: it is to replace the one that its slot has */
    uint64_t ttl_ns;         /* lock */
    uint64_t memory_bytes;   /* lock: of its group, when it was looked at last; 0: never */
    struct leak leak;        /* loop */
    bool begun, overdue;
    bool cut;                /* atomic: its calls are ended; set under the lock */
    struct loop_timer timer; /* of draining, then of cutting off */
};

/* What a worker has logged in this second. */
struct log_meter {
    uint64_t start_ns, bytes, dropped; /* dropped: bytes, ever */
    unsigned lines;
    bool told;
};

struct worker {
    struct guard_child child;
    const struct worker_env *env;
    const struct worker_config *config;
    const struct worker_events *events;
    void *pool;
    char id[WORKER_ID]; /* "<pool>/<slot>.<generation>" */
    int slot;
    uint64_t generation;
    uint32_t prefix;
    /* pool's lock */
    int state, refs;
    bool dead, draining, expected; /* draining: its lanes take no new calls */
    bool lost;                     /* the owner of a lane has met the end of its channel: the loop looks */
    bool aside;                    /* tainted, while others serve: its idle lanes are in no list */
    int seen_status;               /* worker_ending, as the owner of a lane has seen it */
    unsigned busy_lanes;
    int condemned; /* a caller's thread found it guilty of this: the loop kills it */
    const char *condemned_text;
    int end_code;         /* what its calls get: PIT_E_WORKER_CRASH, or why we ended it */
    const char *end_text; /* static: what happened, when it is not just the exit */
    bool sent;            /* its fatal signal was another process's doing; the crash page's word */
    uint32_t sender;      /* that one, as the worker sees it; 0: not known */
    unsigned guard_waits; /* how often the guard's word on the exit was waited for */
    struct list node;     /* in the pool's list of all workers */
    struct lane *lanes;   /* config->lanes of them once it is READY */
    bool marks;
    struct log_meter log_meter;
    int flags;               /* PIT_WORKER_FLAG_* */
    struct worker_beat beat; /* changed on the loop alone */
    struct worker_health health;
    /* loop thread */
    pid_t pid; /* written once, read under the pool's lock */
    int pidfd, control_fd;
    void *segment;
    size_t segment_bytes;
    size_t recorder_at; /* in the segment; 0: it has none */
    uint64_t recorder_base_at, recorder_base_ns;
    struct recorder_past *const *inherits; /* what its slot's last worker left, if any: the pool's; NULL: nothing ever */
    struct recorder_past *past;            /* what it leaves itself: the pool takes it */
    int segment_fd, child_fds[3];          /* open only until it is spawned */
    uint8_t secret[SEGMENT_SECRET];
    struct channel *control;
    struct loop_source control_source, pidfd_source;
    struct loop_timer ready_timer, stop_timer, status_timer, more_timer;
    struct capture out, err;
    bool overdue; /* its start has been cancelled, and the guard is still to say so */
    bool spawned, runs, hello, said_ready, exited, control_open, is_ring,
        term_sent;         /* runs: it was started, and can be ended */
    unsigned capabilities; /* WORKER_HAS_*; written once, before it is READY */
    int gil;               /* PIT_ON or PIT_OFF, as READY says; 0: it does not. Written once, before it is READY */
    struct pit_value
        *timeouts,   /* what its tools declare: a map of commands to milliseconds; NULL: nothing. The pool takes it */
        *repeatable, /* the same: a map whose keys are the commands that may be run again */
        *tools;      /* the same: a map of the commands to what it says of them */
    uint64_t started_ns, ready_ns;
    struct guard_exit how;
    struct guard_used used; /* once the guard has told */
    enum exit_class exit_class;
    unsigned at_work; /* once it is GONE: lanes that had begun a call */
    struct oom_counts oom_before;
    pit_error *failure;   /* why it did not become ready */
    bool looking;         /* lock: `look` was asked */
    struct look look;     /* lock: the last one at a call that runs out of time (pool/look.h) */
    pit_value *last_look; /* where that was when it was killed for it; fixed then; NULL: not known */
    pit_value *dossier;   /* of its death; fixed once it is GONE; NULL: nothing to explain */
    bool replace;         /* the pool's: a successor is still to be started */
    struct worker_recycle recycle;
    struct zygote *zygote; /* of the pool: forks it; NULL: exec */
    bool must_fork;        /* an exec is no way out */
    struct inproc *inproc; /* its body, where it is a thread; NULL: it is a process */
};

/* Takes nothing; NULL: out of memory. One reference: the pool's. */
struct worker *worker_create(const struct worker_env *env, const struct worker_config *config,
                             const struct worker_events *events, void *pool, int slot, uint64_t generation);
/* Closes what the loop watched of one that is gone: after its callers have been woken, before a successor needs descriptors. */
void worker_let_go(struct worker *w);
/* Spawns it. What fails is told by dead and gone, also when it fails at once. */
void worker_start(struct worker *w, uint32_t prefix);
/* Asks it to end: STOP, half of the grace later SIGTERM, at its end SIGKILL. Harmless when it is ending already. */
void worker_stop(struct worker *w);
/* SIGTERM to its group, after grace_ms SIGKILL. Its calls get `code` and `text`. Harmless when it is ending already. */
void worker_terminate(struct worker *w, int64_t grace_ms, int code, const char *text);
/* SIGKILL to its group, now. Its calls get `code` and `text`. Harmless when it is dead. */
void worker_kill(struct worker *w, int code, const char *text);
/* A signal to its process alone, if there is one still. Loop thread. */
void worker_signal(struct worker *w, int sig);
/* Tells a worker whose calls go over the socket that this one shall end. 1: it need not be told (again); 0: not now; PIT_E_PROTOCOL_ERROR: its socket is
 * lost. lock; loop. */
int worker_cancel(struct worker *w, uint64_t id);
/* What a worker did that is killed with this code: static, a sentence that begins with "it". */
const char *worker_fault(int code);
/* Its control socket has ended: it is dying, or it is made to. */
void worker_lost(struct worker *w);
/* Looks at the control socket though its descriptor says nothing. Loop; not under the lock. */
void worker_attend(struct worker *w);
/* How it ends, when the kernel says that its end has begun, in the form of waitpid; 0: it does not. Whoever sees that puts it into
 * seen_status and says sched_lost. Some microseconds. Any thread that holds a lane of it. */
int worker_ending(const struct worker *w);
/* The guard is lost: the process has ended or will, and nobody will tell its status. */
void worker_guard_lost(struct worker *w);
/* A frame on a lane that is no answer to a call: a log line, where lane and control socket are one; else PIT_E_PROTOCOL_ERROR. Any thread. */
int worker_side_frame(struct worker *w, const struct frame *f);
/* lock: */
bool worker_move(struct worker *w, int state);
struct worker *worker_ref(struct worker *w);
/* Drops a reference; true: it was the last one, and the caller frees it with worker_free outside the lock. */
bool worker_unref(struct worker *w);
void worker_free(struct worker *w);
/* The error for a call that ran when the worker ended: end_code, or worker_crash with class, status and stderr; c (may be NULL) is what
 * it ran. After `gone`. */
pit_error *worker_end_error(struct worker *w, const struct call *c);
/* How it ended, as exit_text() says it, and who has sent the signal when that was another process. After `gone`. */
const char *worker_exit_text(const struct worker *w, char text[EXIT_TEXT_SIZE]);
void worker_describe_end(struct worker *w, pit_error *e); /* adds the exit and what it printed to e */
const char *worker_start_mode(const struct worker *w);    /* "zygote", "exec" or "thread" */
uint64_t worker_calls(const struct worker *w);            /* finished ones */
/* n bytes of valid UTF-8, as far as there is room, on one line and without control characters. */
void worker_clean(char *out, size_t size, const char *t, size_t n);
struct event_common worker_common(const struct worker *w);

#endif
