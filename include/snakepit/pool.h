/* Pools: named sets of identical workers with one queue. Since 0.1. */
#ifndef SNAKEPIT_POOL_H
#define SNAKEPIT_POOL_H

#include <snakepit/base.h>
#include <snakepit/value.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How workers are watched while they run calls (pit_pool_options.heartbeat). A call that has run for one interval makes the library ask
 * its worker for a sign of life, and then each interval. A thread of the Python runtime that needs no GIL answers: so a worker that computes in C, or
 * waits, is alive; one that is stopped or frozen is not. An idle worker is never asked. A worker without that thread (pure Python, another
 * language without it) is asked only with kill_busy. Since 0.1. */
typedef struct pit_heartbeat_options {
    size_t size;
    int enabled;               /* (PIT_ON) */
    int max_missed_heartbeats; /* in a row; any answer begins the count anew (3) */
    int64_t ping_interval_ms;  /* (2000) */
    int64_t timeout_ms;        /* of one answer: what takes longer is a miss (10 000) */
    int64_t initial_delay_ms;  /* after a worker's start nobody is asked for so long (0) */
    int64_t stall_report_ms;   /* without Python code run, though it answers: it is flagged as stalled, no more (5000) */
    int dependent;             /* PIT_ON (default): at so many misses it is killed, and replaced; PIT_OFF: events only */
    int kill_busy; /* PIT_ON: a worker that can answer only between its calls is asked too: so a call may run for about
                                * ping_interval_ms + max_missed_heartbeats * timeout_ms there, and no longer (PIT_OFF) */
} pit_heartbeat_options;

#define PIT_HEARTBEAT_OPTIONS_INIT                                                                                             \
    {                                                                                                                          \
        sizeof(pit_heartbeat_options), 0, 0, 0, 0, 0, 0, 0, 0                                                                  \
    }

/* What is found out about the death of a worker (pit_pool_options.dossier): see pit_error_dossier(). Since 0.1. */
typedef struct pit_dossier_options {
    size_t size;
    int enabled;      /* (PIT_ON) */
    int native_stack; /* frames of C too, with names, modules and build ids (PIT_ON); PIT_OFF: Python's stacks alone */
    /* Each is also written to a file, a moment after the callers have their errors: `snakepit crash list` and `show` read them. The folder is made
     * where it is missing; it must belong to this user, and nobody else may write it. What cannot be written is lost, with one warning and the
     * event snakepit.worker.dossier_lost. (crashes/ in pit_options.data_dir) */
    const char *dir;
    int64_t max_bytes; /* of all files in it; the oldest make room (64 MiB); at least 64 KiB; PIT_NONE: nothing is written */
} pit_dossier_options;

#define PIT_DOSSIER_OPTIONS_INIT                                                                                               \
    {                                                                                                                          \
        sizeof(pit_dossier_options), 0, 0, 0, 0                                                                                \
    }

/* What happens to a call whose worker dies of itself while it runs (pit_pool_options.crash_barrier). One that may be repeated
 * (pit_call_options.idempotent) is run again on another worker after a back-off, and its caller does not notice; any other ends with
 * worker_crash, as does one whose restarts are used up, or whose back-off would end after its deadline. An error after a restart says in its details
 * how many `attempts` there were. docs/guide-crash-barrier.md. Since 0.1. */
typedef struct pit_crash_barrier_options {
    size_t size;
    int enabled;            /* (PIT_ON) */
    int retry;              /* which calls may be run again: PIT_RETRY_* (PIT_RETRY_IDEMPOTENT) */
    int max_restarts;       /* of one call (1; PIT_NONE; at most 16) */
    int worker_max_crashes; /* a slot that has lost so many workers within health's window stays tainted with the next one (10) */
    int64_t taint_duration_ms; /* how long a slot is tainted (60 000; PIT_INFINITE) */
    const int64_t
        *backoff_ms;     /* before the first restart, the second, ...; the last repeats; 0 or PIT_NOW: at once (50, 100, 200) */
    size_t n_backoff_ms; /* at most 8 */
    const char *const *mark_on;     /* classes of ends that taint the slot, NULL-terminated ("segfault", "oom", "gpu") */
    const int *taint_on_exit_codes; /* and exit statuses, 128 + N for signal N (none) */
    size_t n_taint_on_exit_codes;   /* at most 16 */
    const char *const
        *taint_on_error_types; /* Python exceptions after which a living worker is tainted, NULL-terminated (none) */
} pit_crash_barrier_options;

enum { PIT_RETRY_IDEMPOTENT = 1, PIT_RETRY_ALWAYS, PIT_RETRY_NEVER };

#define PIT_CRASH_BARRIER_OPTIONS_INIT                                                                                         \
    {                                                                                                                          \
        sizeof(pit_crash_barrier_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                     \
    }

/* When a pool counts as healthy (pit_pool_options.health): see pit_health_get. Since 0.1. */
typedef struct pit_health_options {
    size_t size;
    int max_crashes;           /* so many workers lost within crash_window_ms, and the pool is not healthy (10; at most 256) */
    int64_t crash_window_ms;   /* (60 000) */
    int64_t check_interval_ms; /* between two looks whether it has become healthy again (30 000) */
} pit_health_options;

#define PIT_HEALTH_OPTIONS_INIT                                                                                                \
    {                                                                                                                          \
        sizeof(pit_health_options), 0, 0, 0                                                                                    \
    }

/* Calls that kill (pit_pool_options.poison): the same command with the same arguments, once it has ended so many workers, is refused with
 * poison_call, whose details have what is known of each death. A kill from outside (classes killed and signal) does not count. Since 0.1. */
typedef struct pit_poison_options {
    size_t size;
    int enabled;   /* (PIT_ON) */
    int crashes;   /* workers killed (2; at most 8) */
    int64_t ttl_s; /* within so many seconds; it is refused until as long after the last of them (600) */
} pit_poison_options;

#define PIT_POISON_OPTIONS_INIT                                                                                                \
    {                                                                                                                          \
        sizeof(pit_poison_options), 0, 0, 0                                                                                    \
    }

/* A pool. Zero in a field means "not set"; the default stands in parentheses. Strings and arrays are copied. Field names are the
 * configuration's keys. */
typedef struct pit_pool_options {
    size_t size;
    const char *name;                /* required: [A-Za-z0-9][A-Za-z0-9_.-]{0,63} */
    const char *adapter;             /* file.py, file.py:Class, module:Class or Showcase; or: */
    const char *const *command;      /* a program in any language (docs/wire.md, 6): its path, arguments; NULL-terminated */
    const char *const *adapter_args; /* NULL-terminated */
    int workers;                     /* (two for each usable CPU) */
    const char *python;              /* the interpreter (the host's) */
    const char *cwd;                 /* (the host's) */
    const char *const *env;          /* "NAME=value", NULL-terminated: over the host's env */
    const char *const *python_path;  /* folders put before PYTHONPATH, NULL-terminated */
    const char *timeout_profile;     /* balanced (default), production, production_strict, development, ml_inference, batch */
    int64_t timeout_ms;              /* of a call (300 000, by profile) */
    int64_t queue_timeout_ms;        /* of waiting for a worker (10 000, by profile) */
    int max_queue_size;              /* (1000) */
    int64_t cancel_grace_ms;         /* between asking a cancelled call to end and making it end: PIT_RUNG_FLAG (200) */
    int startup_batch_size;          /* workers started at once by exec (10) */
    int64_t startup_batch_delay_ms;  /* between batches (500; from a template 0) */
    int64_t worker_ready_timeout_ms; /* of one start (30 000) */
    int64_t graceful_shutdown_timeout_ms; /* between asking a worker to end and killing it (6000) */
    int64_t
        spin_us; /* longest busy wait for an answer, while the worker runs on another CPU; on a socket, while that pays (50; PIT_NOW: never) */
    size_t ring_bytes;      /* of each of a lane's two rings, a power of two (64 KiB) */
    size_t max_frame_bytes; /* of one message (64 MiB) */
    int channel;            /* PIT_CHANNEL_AUTO (default): rings where the worker can, else the socket */

    /* restarts */
    int64_t restart_window_ms; /* see max_restarts (5000) */
    int restart_backoff; /* PIT_ON (default): workers that die too often are replaced more and more slowly; PIT_OFF: at once */
    int max_restarts;    /* successors that may start within restart_window_ms; then the pool is degraded (10; at most 1024) */
    const pit_heartbeat_options *heartbeat; /* how workers that run calls are watched (NULL: as its defaults say) */

    /* recycling: a fresh worker takes the place of one that has served long enough */
    const char *worker_ttl;      /* "30s", "15m", "2h", "1d", or seconds ("infinity"); else invalid_worker_ttl */
    int64_t worker_max_requests; /* calls, finished ones (no limit); negative: invalid_worker_max_requests */
    double recycle_jitter;       /* part of worker_ttl by which it differs from worker to worker (0.1; PIT_NONE: none) */
    int64_t lifecycle_check_interval_ms; /* between two looks at the workers, where there is something to look for (60 000) */
    int64_t drain_timeout_ms; /* what a worker that is recycled has for the calls it runs; then worker_recycled (30 000) */
    int recycle_max_parallel; /* workers that are recycled at the same time (1); of all pools 8 */
    /* starts: docs/guide-zygote.md */
    int start_mode; /* 0 (default): forked by a template where that is safe, else by exec; PIT_START_ZYGOTE: only forked,
                                 * PIT_START_EXEC: only by exec */
    const char *const *preload; /* modules that the template imports beside the adapter's, NULL-terminated */
    int64_t canary_timeout_ms;  /* of the template's proof that a fork of it can compute (2000) */
    int spare_workers;          /* ready workers beyond `workers`: each takes the place of a lost one at once (0) */

    int descendants; /* what a worker started goes with it (PIT_DESCENDANTS_KILL), or outlives worker and host in a session of its own */
    int cancel_max_rung; /* PIT_RUNG_*: how far the cancellation of a running call may go (PIT_RUNG_KILL; c_adapter: PIT_RUNG_FLAG) */
    const struct pit_limits *limits; /* what each call may use (NULL: anything); snakepit/call.h has the struct */

    /* health() of the adapter, where it has one, is asked between calls; two failed checks in a row replace the worker. */
    int64_t health_check_interval_ms; /* (30 000; PIT_INFINITE: never) */
    int64_t health_check_timeout_ms;  /* of an answer, while no call runs (5000) */
    int64_t memory_threshold_mb;      /* a worker whose process group uses so much is recycled: PSS, else RSS (none) */
    int leak_forecast; /* and one that would come to it within the next tenth of its calls (PIT_ON where there is a threshold) */
    /* A map of commands to milliseconds, or PIT_INFINITE: the time of a call that asks for none. It comes before what the adapter declares
     * (@tool(timeout_ms=...)), and that before timeout_ms of the pool. Sent values are immutable: so is this. Else invalid_timeout. */
    const pit_value *command_timeouts;
    const pit_dossier_options *dossier; /* what is found out about the death of a worker (NULL: as its defaults say) */

    /* "process" (default): a worker runs one call at a time. "thread": as many as it has threads, on one instance of the adapter, whose class says
     * __thread_safe__ = True; else adapter_not_thread_safe. They need the Python extension: else profile_unavailable, as for "subinterp", which
     * there is not yet. Any other text: invalid_profile. docs/guide-threads.md. */
    const char *profile;
    int threads_per_worker; /* of the profile thread (10; at most 256); more than 1 in another: config_conflict */

    const pit_crash_barrier_options *crash_barrier; /* calls whose worker has died (NULL: as its defaults say) */
    const pit_health_options *health;               /* (NULL: as its defaults say) */
    const pit_poison_options *poison;               /* (NULL: as its defaults say) */
    int idempotent_arg; /* PIT_ON: a call with an argument `idempotent` that is true is as one with that option (PIT_OFF) */

    /* How long an instance of the adapter lives: "worker" (one for each worker, shared by its lanes), "lane" (one for each lane) or "request" (one
     * for each call, with initialize() before and cleanup() after it). NULL: what the adapter's class says (adapter_scope), which is "worker" where
     * it says nothing. Workers of another language are told and do as they can. Any other text: invalid_parameter. */
    const char *adapter_scope;

    /* Streams. How far a producer may be ahead of its reader, and a sender of the inbox's reader: in bytes of frames (8 MiB; a single chunk may be
     * longer), and in chunks (100). */
    int64_t stream_window_bytes;
    int64_t stream_timeout_ms; /* a whole stream, waiting included (timeout_profile's); PIT_INFINITE */
    int64_t
        stream_idle_timeout_ms; /* while its reader is ready for more, it may be silent for so long: deadline_exceeded (PIT_INFINITE) */
    int stream_window;

    /* In place of adapter and command: functions of this program (snakepit/plugin.h), run by `workers` threads of it; c_adapter_user goes to each of
     * them. What is about processes and Python cannot be set then (config_conflict). Copied. Without execute, or without a size: adapter_invalid. */
    const struct pit_adapter *c_adapter;
    void *c_adapter_user;
} pit_pool_options;

enum { PIT_DESCENDANTS_KILL = 1, PIT_DESCENDANTS_KEEP = 2 };
enum { PIT_CHANNEL_AUTO = 0, PIT_CHANNEL_RING = 1, PIT_CHANNEL_SOCKET = 2 };

#define PIT_POOL_OPTIONS_INIT                                                                                                  \
    {                                                                                                                          \
        sizeof(pit_pool_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0,  \
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                 \
    }

/* Adds a pool. *Blocks* until it has a ready worker. When every start failed: no_workers_started with its cause, as for pit_open, and
 * the pool is not there. duplicate_pool_name, invalid_pool_name, invalid_pool_size, adapter_invalid, ... Since 0.1. */
PIT_API int pit_pool_start(pit *p, const pit_pool_options *o, pit_error **reterr);
/* Ends a pool: lets running calls finish for drain_ms (0: not at all; PIT_INFINITE), ends the workers, forgets the name.
 * pool_not_found; wrong_thread in a tool that a worker of the pool waits for. *Blocks.* Since 0.1. */
PIT_API int pit_pool_stop(pit *p, const char *pool, int64_t drain_ms, pit_error **reterr);
/* Waits until the pool (NULL: every pool) has a ready worker, or every worker is ready. timeout_ms 0: does not wait. not_ready, or
 * pool_not_initialized when every start has failed. *Blocks.* Since 0.1. */
PIT_API int pit_await_ready(pit *p, const char *pool, int64_t timeout_ms, pit_error **reterr);
PIT_API int pit_await_all_ready(pit *p, const char *pool, int64_t timeout_ms, pit_error **reterr);

/* Counters since the pool's start, and the present state. */
typedef struct pit_stats {
    size_t size;
    uint64_t requests, succeeded, errors, queued, queued_total;
    uint64_t queue_timeouts, pool_saturated, cancelled, retries, affinity_hits;
    uint64_t workers, available, busy, draining, tainted; /* workers; tainted: slots; available and busy count ready ones */
    uint64_t crashes, restarts;
    double avg_queue_ms, max_queue_ms; /* weighted average (alpha 0.2) and maximum of the wait of calls that had to wait */

    uint64_t degraded; /* pools that lose workers so often that their successors are held back */

    uint64_t pings, pongs, missed_heartbeats; /* of all workers so far */
    uint64_t stalled;                         /* workers, now */
    uint64_t recycled;                        /* workers, for whatever reason; of these: */
    uint64_t recycled_ttl_expired, recycled_max_requests, recycled_manual, recycled_health, recycled_cancelled;
    uint64_t near_ttl, near_max_requests; /* workers that have done nine tenths of the way */

    uint64_t spares;   /* ready workers that are kept for when others are lost, now; not among the available ones */
    uint64_t promoted; /* spares that took the place of a lost worker */

    uint64_t suspect; /* workers, now, whose last health check has failed */
    uint64_t recycled_memory_threshold, recycled_leak_forecast;

    uint64_t failed;      /* pools, now, of which no worker could be started: calls are refused */
    uint64_t held_back;   /* slots, now, whose next start waits, because they or their pool have lost too many workers */
    double next_start_ms; /* until the first of these starts; 0: none waits */

    uint64_t
        unforked; /* pools, now, that are to be forked from a template and have none: their workers are started by exec. What is in the way of
                        * one of them, as pit_pool_zygote says: */
    char unforked_reason[32], unforked_library[128], unforked_module[128];

    uint64_t lanes,
        busy_lanes; /* of ready workers, now: calls that can run at a time, and that do. Of the profile process one each */
    uint64_t gil;   /* ready workers, now, whose interpreter lets one thread at a time run Python code */

    uint64_t poisoned; /* calls that were refused since the same call had killed workers: poison_call */
} pit_stats;

#define PIT_STATS_INIT                                                                                                         \
    {                                                                                                                          \
        sizeof(pit_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0, 0, 0, 0, 0, 0, 0, 0.0, 0, "", "", "", 0, 0, 0, 0                                                                \
    }

/* Fills *ret_stats (set to PIT_STATS_INIT before); pool NULL: the sum of all. pool_not_found. Never blocks. Since 0.1. */
PIT_API int pit_get_stats(pit *p, const char *pool, pit_stats *ret_stats);

/* Crashes of a pool's workers, those that Snakepit has ended itself not counted. */
typedef struct pit_health {
    size_t size;
    uint64_t total_crashes, crashes_in_window, segfaults_in_window; /* in the window at most the latest 256 */
    uint64_t workers_with_crashes;                                  /* slots that have lost a worker within the window */
    uint64_t max_crashes;
    int64_t crash_window_ms;
    int is_healthy; /* 1: fewer than max_crashes within the window */
    int is_ready;   /* 1: healthy, and with a ready worker: what a readiness probe asks for */
} pit_health;

#define PIT_HEALTH_INIT                                                                                                        \
    {                                                                                                                          \
        sizeof(pit_health), 0, 0, 0, 0, 0, 0, 0, 0                                                                             \
    }

/* Fills *ret_health (set to PIT_HEALTH_INIT before); pool NULL: all of them together, healthy and ready if each is. The event health.alert tells when a
 * pool is not healthy any more, has lost more than 5 workers within a minute, or more than 2 by segmentation faults. pool_not_found. Never blocks. Since 0.1. */
PIT_API int pit_health_get(pit *p, const char *pool, pit_health *ret_health);

/* Has a fresh worker take the place of this one ("default/3.2"; pool NULL: of whichever pool): the fresh one starts beside it, new
 * calls go elsewhere, running ones end, at drain_timeout_ms with worker_recycled; then it is ended. Returns when that has been asked for:
 * the event worker.recycled tells of its end. When no fresh one can be started, the old one stays. One that is starting is recycled
 * once it is ready; one that is being recycled already: 0.
 * worker_not_found, pool_mismatch, pool_not_found. Never blocks; any thread. Since 0.1. */
PIT_API int pit_worker_recycle(pit *p, const char *pool, const char *worker_id, pit_error **reterr);

/* Taints a worker ("default/3.2") or whoever has a slot ("default/3"; pool NULL: of whichever pool): while workers that are not tainted serve, it gets no
 * calls; what it runs, it finishes. When all that serve are tainted, the one that was least recently takes calls, with the event pool.all_tainted. The
 * process that replaces it starts clean. duration_ms 0: crash_barrier.taint_duration_ms of its pool; PIT_INFINITE; PIT_NOW lifts the taint. reason (may
 * be NULL) is in the event worker.tainted.
 * worker_not_found, stale_worker when it has been replaced, invalid_timeout, pool_not_found. Never blocks; any thread. Since 0.1. */
PIT_API int pit_taint(pit *p, const char *pool, const char *target, int64_t duration_ms, const char *reason,
                      pit_error **reterr);

/* What a worker that lives is doing, hangs in, or was stopped at: *ret (the caller's, pit_value_free) is a map with the Python stacks of its threads, what
 * the kernel says of each and which library that is in, its calls, and a `summary` of one line; docs/guide-crashes.md has its keys. Nothing in the
 * worker is stopped or interrupted. Takes some milliseconds; half a second at most, of a worker that does not answer: then `partial` is true, and
 * `missing` says what is not told, and why. pool NULL: whichever it is in.
 * worker_not_found, pool_mismatch, pool_not_found, not_ready when it has no process yet, stale_worker when it ends meanwhile. *Blocks*, also while the
 * loop hangs; any thread but that of a callback. Since 0.1. */
PIT_API int pit_worker_stack(pit *p, const char *pool, const char *worker_id, pit_value **ret, pit_error **reterr);

/* Forgets which calls have killed workers (pit_pool_options.poison; pool NULL: of every pool): they may run again.
 * pool_not_found. Never blocks; any thread. Since 0.1. */
PIT_API int pit_poison_clear(pit *p, const char *pool, pit_error **reterr);

/* Ends the process of a worker: SIGTERM to its group, after term_grace_ms (0: at once) SIGKILL, and waits until it is gone; a thread (c_adapter) is asked to end, and then left to itself. Its calls get
 * worker_killed, which is retriable; another takes its place at once. One that is gone already, an older generation too: 0.
 * worker_not_found when there never was such a worker, cleanup_timeout when it does not end within 2 s after SIGKILL, invalid_timeout, wrong_thread from
 * a callback. *Blocks.* Since 0.1. */
PIT_API int pit_kill(pit *p, const char *worker_id, int64_t term_grace_ms, pit_error **reterr);

/* X(CONSTANT, name): the states of a worker */
#define PIT_WORKER_STATE_LIST(X)                                                                                               \
    X(STARTING, starting) X(READY, ready) X(BUSY, busy) X(DRAINING, draining) X(STOPPING, stopping) X(GONE, gone)

enum {
    PIT_WORKER_NONE = 0,
#define PIT_WORKER_ENUM(constant, name) PIT_WORKER_##constant,
    PIT_WORKER_STATE_LIST(PIT_WORKER_ENUM)
#undef PIT_WORKER_ENUM
};

enum { PIT_START_EXEC = 1, PIT_START_ZYGOTE = 2, PIT_START_ATTACH = 3, PIT_START_THREAD = 4 /* of this process: c_adapter */ };

/* Flags of a worker. STALLED: it answers heartbeats, but has run no Python code for stall_report_ms: it computes in C, waits, or hangs. SUSPECT:
 * its last health check has failed. TAINTED: it gets no calls while others serve (pit_taint). */
enum { PIT_WORKER_FLAG_STALLED = 1, PIT_WORKER_FLAG_SUSPECT = 2, PIT_WORKER_FLAG_TAINTED = 4, PIT_WORKER_FLAG_SPARE = 8 };

typedef struct pit_worker_info {
    size_t size;
    const char *id; /* "default/3.2": pool, slot, generation */
    const char *pool;
    int slot;
    int state; /* PIT_WORKER_* */
    uint64_t generation;
    pid_t pid;      /* 0 with PIT_START_THREAD */
    int start_mode; /* PIT_START_* */
    int lanes, busy_lanes;
    const char *channel;              /* "ring" or "socket" */
    uint64_t calls;                   /* finished ones */
    uint64_t current_call_started_ns; /* 0: idle; exact to 10 ms, never before it was sent */
    uint64_t started_ns;
    uint64_t dropped_output_bytes; /* of stdout and stderr beyond 1 MiB/s */
    int flags;                     /* PIT_WORKER_FLAG_*, as a sum */
    const pit_value *health;       /* the map that its adapter's health() returned last; NULL: none so far */
    size_t pss_bytes;              /* of its process group, when it was looked at last (memory_threshold_mb); 0: never */
    int gil; /* PIT_ON: one of its threads at a time runs Python code; PIT_OFF: all do; 0: it has not said */
} pit_worker_info;

typedef struct pit_worker_list pit_worker_list;

/* A snapshot of the workers of a pool (NULL: of all), in slot order. Freed with pit_worker_list_free.
 * pool_not_found. Since 0.1. */
PIT_API int pit_list_workers(pit *p, const char *pool, pit_worker_list **ret, pit_error **reterr);
PIT_API size_t pit_worker_list_len(const pit_worker_list *l);
PIT_API const pit_worker_info *pit_worker_list_at(const pit_worker_list *l, size_t i); /* NULL beyond the end */
PIT_API void pit_worker_list_free(pit_worker_list *l);
/* How the workers of a pool (NULL: the default pool) are started: a map with the template's `state` (idle, starting, ready, lost, unsafe, ended;
 * off: the pool has none), `pid`, `forks` (workers asked of it), `threads`, `modules`, `rss_bytes`, `prepare_ms`, and where it is not ready `reason`,
 * `library`, `module` and `text`: what is in the way, and `remedy`: what to do about it. The caller owns *ret. pool_not_found. *Blocks* for a turn of the loop. Since 0.1. */
PIT_API int pit_pool_zygote(pit *p, const char *pool, pit_value **ret, pit_error **reterr);
/* The name of a state: "ready" for PIT_WORKER_READY. */
PIT_API const char *pit_worker_state_name(int state);

#ifdef __cplusplus
}
#endif
#endif
