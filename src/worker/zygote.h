/* A template: a process that has imported an adapter once and makes workers by fork. One for each set of program, environment, folder and preloads;
 * pools with the same set share it.
 *
 *   IDLE --start--> STARTING --READY{safe}--> READY --it ends--> LOST --a moment later--> STARTING
 *                       |                       |
 *                       |--READY{not safe}------+----------> UNSAFE: never again
 *                       \--FAILED, dies, takes too long----> LOST: tried again, more and more slowly
 *
 * Invariants
 *  1. Workers are made by the guard's order and are the guard's children: whatever happens to the template happens to nobody else.
 *  2. What it says is hostile: it can lose its own place, and with it the quick starts, and nothing more.
 *  3. zygote_move() is the one function that changes the state. Each change of it is told by `changed`.
 *
 * Loop thread only. Failure: of a start: LOST, tried again; the pools start their workers by exec meanwhile. */
#ifndef PIT_WORKER_ZYGOTE_H
#define PIT_WORKER_ZYGOTE_H

#include "worker/worker.h"

/* X(CONSTANT, name, edges) */
#define ZYGOTE_STATE_LIST(X)                                                                                                   \
    X(IDLE, idle, SM_TO(ZYGOTE_STARTING) | SM_TO(ZYGOTE_ENDED))                                                                \
    X(STARTING, starting, SM_TO(ZYGOTE_READY) | SM_TO(ZYGOTE_UNSAFE) | SM_TO(ZYGOTE_LOST) | SM_TO(ZYGOTE_ENDED))               \
    X(READY, ready, SM_TO(ZYGOTE_UNSAFE) | SM_TO(ZYGOTE_LOST) | SM_TO(ZYGOTE_ENDED))                                           \
    X(LOST, lost, SM_TO(ZYGOTE_STARTING) | SM_TO(ZYGOTE_ENDED))                                                                \
    X(UNSAFE, unsafe, SM_TO(ZYGOTE_ENDED))                                                                                     \
    X(ENDED, ended, 0)

enum zygote_state {
    ZYGOTE_NONE = 0,
#define ZYGOTE_STATE_ENUM(constant, name, edges) ZYGOTE_##constant,
    ZYGOTE_STATE_LIST(ZYGOTE_STATE_ENUM)
#undef ZYGOTE_STATE_ENUM
        ZYGOTE_STATE_COUNT
};

/* What makes a template what it is; borrowed where it is passed. */
struct zygote_key {
    char **argv, **env; /* of a worker by exec, without SNAKEPIT_WORKER_ID */
    const char *cwd;    /* NULL: the host's */
    char **preload;     /* names of modules; NULL: none */
    int64_t canary_timeout_ms, ready_timeout_ms;
    bool backs_off; /* one that is lost again and again is made anew more and more slowly; who makes it first, says so */
};

/* Why there is no template, as it says itself (unsafe: for good) or as the host sees it (lost: another is made).
 * X(CONSTANT, name, state, meaning, remedy) */
#define ZYGOTE_REASON_LIST(X)                                                                                                  \
    X(THREAD, thread, unsafe, "a thread is left; library and module say whose, the text which import it came with",            \
      "start it in initialize(); for Arrow's pool: leave group-by and joins out of warm_up()")                                 \
    X(GPU_CONTEXT, gpu_context, unsafe, "a GPU's driver is open", "touch the GPU in initialize() only")                        \
    X(DESCRIPTOR, descriptor, unsafe, "an import or warm_up() has left a socket, a pipe or an event loop open",                \
      "open it in initialize()")                                                                                               \
    X(CANARY_TIMEOUT, canary_timeout, unsafe,                                                                                  \
      "warm_up() did not end in a forked process within canary_timeout_ms (waiting for a CPU does not count, up to ten times " \
      "as long); the text has library and line",                                                                               \
      "leave that computation out of warm_up(), or raise canary_timeout_ms")                                                   \
    X(CANARY_DIED, canary_died, unsafe, "warm_up() died or raised in a forked process; the text has its last words",           \
      "leave what it does out of warm_up()")                                                                                   \
    X(REFUSED_LIBRARY, refused_library, unsafe, "numba or polars are imported: they cannot be forked",                         \
      "import them in initialize(), or start by exec")                                                                         \
    X(PROBE, probe, unsafe, "a handler of fork of some library hung or died", "start by exec")                                 \
    X(CLONE, clone, unsafe, "the system or its C library does not allow the fork (musl; a sandbox)", "start by exec")          \
    X(NO_EXTENSION, no_extension, unsafe, "the interpreter has no C extension of snakepit_bridge",                             \
      "build it: snakepit doctor says how")                                                                                    \
    X(IMPORT, import, lost, "an import or warm_up() has raised; the text has the exception",                                   \
      "mend that; a worker that is started by exec needs the adapter's import too, but neither preload nor warm_up()")         \
    X(TIMEOUT, timeout, lost, "it was not ready within worker_ready_timeout_ms",                                               \
      "look for what an import or warm_up() waits for, or raise worker_ready_timeout_ms")                                      \
    X(DIED, died, lost, "its process has ended; the text says how, and what it wrote last",                                    \
      "killed from outside: look for an out-of-memory kill in the kernel's log; otherwise for the library that crashed")       \
    X(SPAWN, spawn, lost, "it could not be started; the text has the call and the system's error",                             \
      "look at the limits that snakepit doctor shows: processes, files, memory")                                               \
    X(PROTOCOL, protocol, lost, "it said something that no template says",                                                     \
      "install library and Python package of one version; does user code write to descriptors that it did not open?")          \
    X(GUARD_LOST, guard_lost, lost, "the guard, which is its parent, has died; the host starts another, then a template",      \
      "look for who killed the guard: the kernel's log, scripts that end processes by name")                                   \
    X(MEMORY, memory, lost, "the host had no memory for it", "free some, or raise the limit of the host")

enum zygote_reason {
#define ZYGOTE_REASON_ENUM(constant, name, state, meaning, remedy) ZYGOTE_REASON_##constant,
    ZYGOTE_REASON_LIST(ZYGOTE_REASON_ENUM)
#undef ZYGOTE_REASON_ENUM
};

const char *zygote_reason_name(enum zygote_reason reason);
/* What to do about it; NULL: a reason that only the template knows. */
const char *zygote_remedy(const char *reason);

enum { ZYGOTE_TEXT = 256 };

/* What it said, or why it is not there; empty: nothing to say. */
struct zygote_facts {
    int64_t threads, modules, rss_bytes;
    double prepare_ms;
    char reason[32], library[ZYGOTE_TEXT], module[ZYGOTE_TEXT], text[ZYGOTE_TEXT];
};

struct zygote {
    struct guard_child child; /* its address is the token */
    struct list node;         /* the owner's */
    unsigned users;           /* the owner's: pools */
    struct loop_timer unused_timer;
    const struct worker_env *env;
    void (*changed)(struct zygote *z);
    void *owner;
    char id[24], pool[WORKER_ID]; /* "template:1": no worker has such an id; pool: which it was first made for */
    char **argv, **child_env, **worker_argv, **worker_env, **preload;
    char *cwd;
    int64_t canary_timeout_ms, ready_timeout_ms;
    int state;
    struct zygote_facts facts;
    uint64_t started_ns, ready_ns, forks;
    unsigned losses; /* in a row */
    pid_t pid;
    struct oom_counts oom_before; /* when it was started */
    bool backs_off;
    bool running, hello; /* running: the guard has it, or has been asked for it */
    int control_fd;
    bool control_open;
    struct channel *control;
    struct loop_source control_source;
    struct capture out, err;
    struct loop_timer ready_timer, again_timer;
};

/* Copies what it needs. NULL: out of memory. */
struct zygote *zygote_create(const struct worker_env *env, const struct zygote_key *key, const char *pool, unsigned number);
bool zygote_matches(const struct zygote *z, const struct zygote_key *key);
void zygote_start(struct zygote *z); /* IDLE or LOST: else nothing */
bool zygote_can_fork(const struct zygote *z);
/* Ends it for good; what it has made lives on. */
void zygote_end(struct zygote *z);
void zygote_guard_lost(struct zygote *z);
void zygote_free(struct zygote *z); /* the guard has it no more */
const char *zygote_state_name(int state);
static inline uint64_t zygote_token(const struct zygote *z)
{
    return (uint64_t)(uintptr_t)&z->child;
}

#endif
