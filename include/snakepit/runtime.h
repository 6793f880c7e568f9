/* Opening and closing a host, and driving it from a foreign event loop. Since 0.1. */
#ifndef SNAKEPIT_RUNTIME_H
#define SNAKEPIT_RUNTIME_H

#include <snakepit/base.h>
#include <snakepit/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PIT_DRIVE_THREAD = 1, PIT_DRIVE_HOST = 2 };
enum { PIT_LOG_DEBUG = 1, PIT_LOG_INFO, PIT_LOG_WARNING, PIT_LOG_ERROR, PIT_LOG_NONE };

/* Gets a line of the library's log; runs on the thread that logs, several at once; must not block. */
typedef void (*pit_log_fn)(int level, const char *text, void *user);

/* The flight recorder (pit_options.recorder): the last events of each worker's life, its calls above all, in the memory that it shares with the
 * host: a dossier has the last 64 of a dead worker (`events`), and snakepit blackbox dump shows those of all workers, also of a host that hangs.
 * Since 0.1. */
typedef struct pit_recorder_options {
    size_t size;
    int enabled; /* (PIT_ON) */
    size_t
        ring_bytes; /* for the calls of one worker, of all its lanes: 32 bytes each; a power of two (256 KiB; 4 KiB to 64 MiB). Memory that no
                        * call has needed yet is not taken */
} pit_recorder_options;

#define PIT_RECORDER_OPTIONS_INIT                                                                                              \
    {                                                                                                                          \
        sizeof(pit_recorder_options), 0, 0                                                                                     \
    }

/* How to open a host. Zero in a field means "not set". Strings and arrays are copied. */
typedef struct pit_options {
    size_t size;
    /* short form: one pool named "default" */
    const char *adapter;             /* file.py, file.py:Class, module:Class or Showcase */
    const char *const *adapter_args; /* NULL-terminated */
    int workers;                     /* 0: two for each usable CPU */
    /* or several pools; together with adapter: config_conflict. The first is the default pool. */
    const pit_pool_options *const *pools;
    size_t n_pools;
    const char *python; /* the interpreter; else SNAKEPIT_PYTHON, $VIRTUAL_ENV, python3 on the PATH */
    const char *cwd;    /* working directory of the workers (the host's) */
    const char *
        instance_name; /* whose orphans it may end, also in the workers' arguments; else SNAKEPIT_INSTANCE_NAME, user and cwd */
    const char *guard_path;          /* snakepit-guard; else SNAKEPIT_GUARD, beside the library, the compiled prefix */
    const char *python_package_path; /* folder holding snakepit_bridge; else SNAKEPIT_PYTHON_PACKAGE, then as guard_path */
    const char *const *env;          /* "NAME=value", NULL-terminated: over what the host's environment has */
    int max_workers;                 /* most workers of all pools together (150) */
    int drive;                       /* PIT_DRIVE_THREAD (default): a loop thread of its own; PIT_DRIVE_HOST: pit_dispatch() */
    int require_ready;               /* PIT_ON (default): pit_open waits for each pool; PIT_OFF: it returns at once */
    int log_level;                   /* PIT_LOG_ERROR */
    pit_log_fn log;                  /* NULL: silent */
    void *log_user;
    int64_t shutdown_timeout_ms; /* the time that pit_close has (15 000) */
    int64_t drain_timeout_ms;    /* how long pit_shutdown lets running calls finish (30 000, within shutdown_timeout_ms) */
    const char
        *data_dir; /* for registry and dossiers; else SNAKEPIT_DATA_DIR, $XDG_STATE_HOME/snakepit, ~/.local/state/snakepit */
    const char *instance_token;         /* else SNAKEPIT_INSTANCE_TOKEN: hosts with another one are another instance */
    int64_t registry_sweep_interval_ms; /* between looks for orphans of dead hosts (30 000; PIT_INFINITE: only when opened) */

    int64_t cleanup_on_stop_timeout_ms; /* the time that pit_cleanup has (3000) */
    int cgroup; /* 0: what is started lives in a control group of its own where one may be made (guide-worker-life.md); PIT_OFF: it does not */
    const pit_recorder_options *recorder; /* what workers note of their lives (NULL: as its defaults say) */
    int generate_repro; /* PIT_ON (default): the error of a call that ended with its worker, or passed a limit, has in its details, as `repro`, the
                           command line that makes the same call again: with its arguments, up to 2 KiB of them, without what looks like a secret;
                           PIT_OFF: errors never hold arguments */
    int64_t
        tool_threads; /* threads for tools of the host that are called where no thread waits in pit_call() (4; at most 256); made when needed */
} pit_options;

#define PIT_OPTIONS_INIT                                                                                                       \
    {                                                                                                                          \
        sizeof(pit_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                   \
    }

/* Opens a host and its pools. *Blocks* until each pool has a ready worker (unless require_ready is PIT_OFF). When a pool's
 * workers all failed to start: no_workers_started, whose cause is the real error, Python's traceback included. What shows before a
 * worker is started (invalid_python, python_not_found, invalid_pool_size, invalid_pool_name, adapter_invalid, unsupported_option,
 * guard_unavailable, package_error, ...) comes directly. With require_ready PIT_OFF what is wrong with one pool stops no other: its
 * calls get pool_not_initialized, whose cause is that error. Without adapter and pools (also with o NULL) the host has no pool, and calls return
 * pool_not_found until pit_pool_start() has added one. Any thread. Since 0.1. */
PIT_API int pit_open(const pit_options *o, pit **ret, pit_error **reterr);

/* Refuses new work, lets running calls finish within drain_timeout_ms, then ends them with shutting_down. *Blocks.* Calling it
 * again is harmless. wrong_thread from a callback of any kind. NULL: 0. Since 0.1. */
PIT_API int pit_shutdown(pit *p);

/* pit_shutdown(), then ends every worker and the guard, waits until every thread has left the library, and frees p. *Blocks* for
 * shutdown_timeout_ms at most; cleanup_timeout when some process, or a function of an adapter in C, survived. wrong_thread from a callback (nothing changed). Values,
 * errors and finished futures outlive it. In a forked child it returns 0 and touches nothing. NULL: 0. Since 0.1. */
PIT_API int pit_close(pit *p);

/* Ends every call with shutting_down and kills every worker of p, now, and waits until they are gone: for when there is no time for
 * pit_close. New calls are refused; only pit_close is of use then. Calling it again is harmless. *Blocks* for cleanup_on_stop_timeout_ms at most;
 * cleanup_timeout when some worker survived (how many, tells the event cleanup.timeout). wrong_thread from a callback. Any thread. Since 0.1. */
PIT_API int pit_cleanup(pit *p, pit_error **reterr);

/* For PIT_DRIVE_HOST: one thread at a time calls pit_dispatch() whenever pit_fd() is readable or pit_timeout() milliseconds (poll's
 * argument: -1 for ever) have passed. pit_dispatch never blocks; it returns 0, or invalid_request when p has its own loop thread.
 * pit_fd: -1 in that case. Blocking functions drive the loop themselves while they wait. Since 0.1. */
PIT_API int pit_fd(pit *p);
PIT_API int pit_timeout(pit *p);
PIT_API int pit_dispatch(pit *p);

enum { PIT_SCRIPT_EXIT_NONE = 1, PIT_SCRIPT_EXIT_HALT, PIT_SCRIPT_EXIT_STOP, PIT_SCRIPT_EXIT_AUTO };
enum { PIT_SCRIPT_STOP_IF_STARTED = 1, PIT_SCRIPT_STOP_ALWAYS, PIT_SCRIPT_STOP_NEVER };

/* How to run a script. Zero in a field means "not set"; the default stands in parentheses. */
typedef struct pit_script_options {
    size_t size;
    const pit_options
        *options;       /* of the host that is opened (NULL: no pool); require_ready and shutdown_timeout_ms are decided here */
    pit *host;          /* one that is open already, instead */
    int64_t timeout_ms; /* until every pool has a ready worker (15 000) */
    int64_t shutdown_timeout_ms; /* for running calls at the end (of options, else 15 000) */
    int64_t cleanup_timeout_ms;  /* for ending every process (5000) */
    int restart;    /* a host of its own instead of `host`: PIT_ON always, PIT_OFF never, 0 if `host` has been shut down */
    int await_pool; /* PIT_ON (default): fn runs when the pools are ready; PIT_OFF: at once */
    int exit_mode;  /* PIT_SCRIPT_EXIT_*; else halt, SNAKEPIT_SCRIPT_EXIT, SNAKEPIT_SCRIPT_HALT (none) */
    int stop_mode;  /* PIT_SCRIPT_STOP_*: whether the host is closed (if_started: if it was opened here) */
    int halt;       /* PIT_ON: as exit_mode halt, which wins */
    void (*failed)(const pit_error *e, void *user);         /* told why fn was not run */
    void (*exit_fn)(int exit_mode, int status, void *user); /* ends the process: _exit for halt, exit for stop */
    void *callback_user;
} pit_script_options;

#define PIT_SCRIPT_OPTIONS_INIT                                                                                                \
    {                                                                                                                          \
        sizeof(pit_script_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                      \
    }

/* A whole program in one call: opens a host, waits until its pools are ready, runs fn, closes the host, and returns 0, or 1 when fn returned
 * non-zero or could not be run. *Blocks.* The library never ends a process: when the exit mode is halt or stop (auto: stop, if the host was
 * opened here and nobody asked to halt), it calls o->exit_fn as its last act; without one the status is returned and main() returns it.
 * A bad value of a variable is named in the log (as a warning), and the next source counts. Events script.shutdown.start, .stop, .cleanup and
 * .exit tell the steps of the end. fn does not close its host; one that was given and is not closed (stop_mode) stays open.
 * A negative result means that nothing was done: invalid_parameter (no fn, an unknown mode), invalid_timeout, unsupported_option,
 * wrong_thread, shutting_down (`host`, with restart PIT_OFF). Any thread. Since 0.1. */
PIT_API int pit_run_as_script(int (*fn)(pit *p, void *user), void *user, const pit_script_options *o);

/* Where hosts whose option data_dir is not set keep what outlives them (the registry of their processes, and in crashes/ the dossiers of dead
 * workers): what SNAKEPIT_DATA_DIR names, else $XDG_STATE_HOME/snakepit, else ~/.local/state/snakepit. Absolute; nothing is made or looked at. One
 * block (pit_free); NULL: no such place, or no memory. Reads the environment: not beside a setenv(). Any thread. Since 0.1. */
PIT_API char *pit_data_dir(void);

/* What pit_blackbox_read() looks at. Zero in a field means "not set"; the default stands in parentheses. */
typedef struct pit_blackbox_options {
    size_t size;
    const char *data_dir;      /* of the hosts (pit_data_dir()) */
    const char *instance_name; /* of hosts of this name alone (any) */
    int pid;                   /* of the host with this process id alone (any) */
    int last;                  /* events of each worker, the newest (100; at most 100 000) */
} pit_blackbox_options;

#define PIT_BLACKBOX_OPTIONS_INIT                                                                                              \
    {                                                                                                                          \
        sizeof(pit_blackbox_options), 0, 0, 0, 0                                                                               \
    }

/* The flight recorders of the workers of every living host of this user that keeps a registry, read from outside: neither host nor workers help, so
 * they may hang, or be stopped. *ret (owned) is a map: `time`, `monotonic_ns`, `hosts`: a list of maps with `pid`, `run_id`, `instance`, `state`
 * and `workers`: `worker_id`, `pid`, `state` (alive, stopped, ending, gone), `events` (docs/guide-crashes.md), `before` with the last events of the
 * worker that had its slot before; or `missing`, why there are none. Beside it nothing is believed of what workers wrote but that they wrote it.
 * No host lives: an empty list. system_error: the registry cannot be read. Blocks for some milliseconds. Any thread. Since 0.1. */
PIT_API int pit_blackbox_read(const pit_blackbox_options *o, pit_value **ret, pit_error **reterr);

/* Where pit_look() looks for a worker. Zero in a field means "not set"; the default stands in parentheses. */
typedef struct pit_look_options {
    size_t size;
    const char *data_dir; /* of its host (pit_data_dir()) */
    int pid;              /* of its host: needed where workers of several hosts have this id (any) */
} pit_look_options;

#define PIT_LOOK_OPTIONS_INIT                                                                                                  \
    {                                                                                                                          \
        sizeof(pit_look_options), 0, 0                                                                                         \
    }

/* What a worker ("default/0.1") of any living host of this user is doing: as pit_worker_stack(), from outside. Its host does not help, and may hang, or be
 * stopped; what only that knows (`calls`, `stalled`) is not in the map, but `host`: a map with `pid`, `run_id`, `instance`. o may be NULL.
 * not_found: no host lives that keeps a registry; worker_not_found, whose details name the workers that there are; invalid_parameter: several hosts
 * have such a worker; stale_worker when it ends meanwhile; system_error: the registry cannot be read. Blocks for half a second at most. Any thread.
 * Since 0.1. */
PIT_API int pit_look(const pit_look_options *o, const char *worker_id, pit_value **ret, pit_error **reterr);

/* The version of the library that runs: "0.1.0". */
PIT_API const char *pit_version(void);
/* CLOCK_MONOTONIC in nanoseconds: the clock of deadline_ns. */
PIT_API uint64_t pit_now_ns(void);

typedef struct pit_allocator {
    size_t size;
    void *(*alloc)(size_t n, void *user);
    void *(*realloc)(void *block, size_t n, void *user);
    void (*free)(void *block, void *user);
    void *user;
} pit_allocator;

/* Replaces malloc, realloc and free for the whole library; before its first use, once. NULL restores
 * libc's. invalid_parameter: a function is missing. */
PIT_API int pit_set_allocator(const pit_allocator *a);
/* Frees what a comment calls "one block". */
PIT_API void pit_free(void *block);

#ifdef __cplusplus
}
#endif
#endif
