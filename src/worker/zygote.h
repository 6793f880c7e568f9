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
