/* A host: what one pit is made of below its API. The loop and its thread, the guard, the pools, and how threads wait for them.
 *
 * Invariants
 *  1. Pools are added and removed on the loop thread, under `lock`; a stopped pool's memory lives until the host's end, so that a call that has
 *     just looked it up may still find that it is stopped.
 *  2. Whoever waits for something other than a lane waits in host_wait(): on a futex word, or driving the loop when the host drives.
 *  3. There is at most one guard. When it is lost, every worker of it is given up, another is started, and the pools fill again.
 *
 * Threads: functions marked "loop" on the loop thread, the others anywhere. */
#ifndef PIT_POOL_HOST_H
#define PIT_POOL_HOST_H

#include <pthread.h>

#include "pool/interpreter.h"
#include "pool/pool.h"
#include "pool/tool_threads.h"
#include "pool/tools.h"

struct host_settings {                                        /* strings owned */
    char *guard_path, *package_path, *instance_name, *python; /* python: NULL = look it up */
    const char *package_from; /* what named package_path; NULL: it was found beside the library */
    char *path, *virtual_env; /* of the environment, for the look-up */
    char **environ;           /* of the host, with the option `env` applied */
    int drive;
    int64_t shutdown_timeout_ms, drain_timeout_ms, cleanup_timeout_ms;
    int max_workers, tool_threads;
    char *data_dir, *instance, *instance_token; /* of registry and dossiers; data_dir NULL: there is no place for them */
    const char *data_from;                      /* what named data_dir; NULL: it is the usual place */
    bool generate_repro;                        /* errors say how the call is made again */
    bool no_group;                              /* no control group is made */
    int64_t registry_sweep_interval_ms;         /* PIT_INFINITE: never */
    struct recorder_rules recorder;
};

struct host {
    const struct os_ops *os;
    struct host_settings set;
    struct log log;
    struct loop *loop;
    struct telemetry *telemetry;
    struct worker_env env;
    char run_id[8];
    pthread_mutex_t lock;
    struct list pools;               /* lock; in order of their start */
    struct list stopped;             /* lock */
    struct pool *first;              /* atomic: the default pool */
    struct list done;                /* lock: calls whose end is still to be told on the loop thread */
    struct list interpreters;        /* loop: what has been probed */
    struct list zygotes;             /* loop: templates, of all pools */
    unsigned zygote_count;           /* loop: ever */
    int total_workers;               /* lock */
    bool closing;                    /* lock */
    struct guard_client *lost_guard; /* loop */
    struct guard_client *next_guard; /* loop: has not greeted yet */
    pthread_t thread;
    bool has_thread;
    bool stop;       /* atomic: the loop thread ends */
    uint32_t change; /* futex word: counts what waiters may wait for */
    uint32_t sleepers;
    pthread_mutex_t drive_lock; /* PIT_DRIVE_HOST: held by who runs the loop */
    uint32_t baton, followers;  /* futex word: counts the times that somebody stopped driving */
    struct loop_work done_work, guard_work;
    struct loop_timer guard_timer;
    uint32_t prefix;       /* loop: of the last worker */
    uint32_t call_prefix;  /* of calls that get their id before they have a worker */
    uint64_t call_counter; /* atomic */
    uint64_t close_deadline_ns;
    void (*on_ended)(void *user, int survivors); /* NULL, or told when every process has ended, before the host is freed */
    void *on_ended_user;
    char *group_path;            /* of the control group of what it starts; NULL: none */
    struct oom_watch oom;        /* loop */
    struct crash_store *crashes; /* loop; NULL: none */
    struct loop_timer crashes_timer;
    char *crashes_dir;         /* where dossiers are kept, unless a pool says otherwise; NULL: nowhere */
    struct registry *registry; /* loop; NULL: none */
    struct loop_timer registry_timer;
    pthread_t sweeper;                                /* a thread that ends the orphans of dead hosts, now and then */
    bool sweeping, sweep_over, sweep_stop;            /* loop; atomic; atomic */
    bool registry_told;                               /* that it cannot be written */
    unsigned recycling;                               /* loop: workers that are being recycled */
    struct tools tools;                               /* what Python code may call here */
    struct tool_threads tool_threads, stream_threads; /* the latter: of tools that stream, a thread for each */
    uint32_t streaming;                               /* atomic: of them */
    uint32_t tools_running;                           /* atomic: of them, and of adapters in C; 0: no thread is inside one */
};

void host_settings_free(struct host_settings *s);
/* Makes the host, its loop and guard; takes what `set` owns, also on failure. An error (owned), or NULL. */
pit_error *host_create(const struct os_ops *os, struct host_settings *set, const struct log *log, struct host **ret);
/* Adds a pool and begins to start it (set's content is taken). Blocks for a turn of the loop; the pool's fate is awaited by host_await. */
pit_error *host_add_pool(struct host *h, struct pool_settings *set, struct pool **ret);
/* name NULL: the default pool. NULL and *ret_error. */
struct pool *host_find(struct host *h, const char *name, pit_error **ret_error);
/* Waits for the pool (NULL: each): one ready worker, or all. NULL, or an error (owned): not_ready, or failed_code with the last start's
 * error as its cause. */
pit_error *host_await(struct host *h, struct pool *p, bool all_workers, uint64_t deadline_ns, int failed_code);
/* Has the worker with this id recycled; pool: where it must be, NULL: anywhere. NULL, or an error (owned). Any thread. */
pit_error *host_recycle(struct host *h, struct pool *pool, const char *worker_id);
/* What the worker with this id is doing, as a map. NULL, or an error (owned). Any thread; blocks for half a second at most. */
pit_error *host_look(struct host *h, struct pool *pool, const char *worker_id, pit_value **ret);
void host_stop_pool(struct host *h, struct pool *p, int64_t drain_ms);
/* Refuses new calls, waits for the running ones to the deadline, ends them. */
void host_shutdown(struct host *h);
/* For the next step of the end only, instead of the option shutdown_timeout_ms. By who ends the host. */
void host_set_shutdown_time(struct host *h, int64_t ms);
/* Told when every process has ended, just before the host is freed. By who ends the host. */
void host_on_ended(struct host *h, void (*fn)(void *user, int survivors), void *user);
/* Ends every call and kills every worker, now; new ones are refused. 0, or PIT_E_CLEANUP_TIMEOUT: some are there at the deadline. Blocks. */
int host_cleanup(struct host *h, uint64_t deadline_ns);
/* SIGTERM to the worker's group, after the grace SIGKILL; waits for its end. NULL, also when it is gone already; or an error (owned). Blocks. */
pit_error *host_kill(struct host *h, const char *worker_id, int64_t grace_ms);
/* After host_shutdown: ends workers, guard, loop; frees. 0 or PIT_E_CLEANUP_TIMEOUT. */
int host_destroy(struct host *h);

/* Waits until *word is not `seen` any more, or the deadline; true: it has changed. Drives the loop meanwhile when the host drives. */
bool host_wait(struct host *h, const uint32_t *word, uint32_t seen, uint64_t deadline_ns);
/* Waits until holds(arg), which is asked again at each host_changed(); or the deadline: then what it says then. */
bool host_wait_until(struct host *h, bool (*holds)(void *arg), void *arg, uint64_t deadline_ns);
/* Waits until the call has its outcome, or the deadline. */
bool host_wait_call(struct host *h, struct call *c, uint64_t deadline_ns);
void host_changed(struct host *h);
/* Tells the ends of calls: on the loop thread, or here where that may be anywhere. */
void host_deliver(struct host *h, struct pool *p, struct list *done);
void host_dispatch(struct host *h);                 /* PIT_DRIVE_HOST */
bool host_may_block(struct host *h);                /* false: this thread runs a callback */
uint32_t host_next_prefix(struct host *h);          /* loop */
uint64_t host_deadline(struct host *h, int64_t ms); /* PIT_INFINITE: UINT64_MAX */
/* Around a callback that the library makes on its caller's own thread. */
void host_callback_begins(void);
void host_callback_ended(void);
/* Runs fn on the loop and waits for it. Any thread that may block. */
void host_run(struct host *h, void (*fn)(struct host *h, void *arg), void *arg);

#endif
