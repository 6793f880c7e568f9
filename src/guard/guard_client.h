/* The host's side of snakepit-guard, the one process that a host starts. Loop thread only, unless said otherwise.
 *
 * Invariants
 *  1. Every spawn request gets exactly one `spawned` callback; every process spawned gets exactly one `exited` callback, unless the guard is lost:
 *     then `lost` runs once (after the client has killed the groups it knows), and `exited` no more.
 *  2. A callback may start further spawns or destroy nothing but what it owns; the client itself is destroyed outside callbacks. */
#ifndef PIT_GUARD_CLIENT_H
#define PIT_GUARD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guard/guard_msg.h"
#include "os/loop.h"
#include "os/os.h"

struct guard_client;

/* How a process ended, as waitid says it. */
struct guard_exit {
    int code;   /* CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0: the status was lost */
    int status; /* exit status or signal */
};

struct guard_spawn {
    uint64_t token;                                   /* the caller's, comes back in the callbacks */
    const char *const *argv;                          /* NULL-terminated; argv[0] is the path to exec */
    const char *const *env;                           /* the whole environment, NULL-terminated */
    const char *cwd;                                  /* NULL: the guard's (the host's at open) */
    const char *worker_id;                            /* also in env as SNAKEPIT_WORKER_ID: descendants are told apart by it */
    int fd_control, fd_segment, fd_stdout, fd_stderr; /* become 3, 4, 1, 2 in the child; borrowed until guard_spawn returns */
    bool is_template; /* its 4 is a socket to the guard, for requests to fork (guard_msg.h); it has no segment */
    bool keeps;       /* what it starts in sessions of its own is to outlive it: "SNAKEPIT_DESCENDANTS=keep" stands in env */
    uint64_t of;      /* not 0: the token of a running template, which forks this process instead of an exec */
};

/* The error of a spawn request that was still open when the guard was lost. No errno, so that nobody else can say it. */
#define GUARD_GONE (-1)

struct guard_callbacks {
    /* error 0: the process runs (its own session and group, pgid = pid); *pidfd is the callee's. Else GUARD_GONE, or a positive errno of fork or
     * exec and which call failed ("fork", "exec", "chdir", ...); of a fork by a template "template" (it is gone, stuck, or lies) or the step
     * that it names: then nothing runs, and an exec may be tried. */
    void (*spawned)(void *user, uint64_t token, int error, const char *call, pid_t pid, int pidfd);
    void (*exited)(void *user, uint64_t token, pid_t pid, struct guard_exit how);
    void (*lost)(void *user, const char *why);
    /* What guard_begin has begun, once: error 0: it serves; else a positive errno and the call, it has ended, and guard_destroy only frees it. */
    void (*started)(void *user, int error, const char *call);
};

/* Starts the guard (vfork + exec) and completes its handshake within timeout_ms (a stopped guard counts as unavailable).
 * 0 or PIT_E_GUARD_UNAVAILABLE, PIT_E_SYSTEM_ERROR; *ret_errno and *ret_call say why. Blocks; may be called from any thread before the loop
 * runs. */
int guard_start(const struct os_ops *os, struct loop *loop, const char *path, const char *run_id, int64_t timeout_ms,
                const struct guard_callbacks *cb, void *user, struct guard_client **ret, int *ret_errno, const char **ret_call);
/* The same on the loop, for a restart: does not wait for the handshake, `started` tells of it. Until then the client can only be destroyed. */
int guard_begin(const struct os_ops *os, struct loop *loop, const char *path, const char *run_id, int64_t timeout_ms,
                const struct guard_callbacks *cb, void *user, struct guard_client **ret, int *ret_errno, const char **ret_call);
/* 0, or a negative PIT_E_*: then there is no callback. PIT_E_WORKER_NOT_FOUND: the template does not run. */
int guard_spawn(struct guard_client *g, const struct guard_spawn *request);
/* SIGKILL (or sig) to the group of a process that this guard started, through the guard (it knows whether the pid is still ours). */
int guard_kill(struct guard_client *g, pid_t pid, int sig);
/* A start that takes too long, by its token: its `spawned` comes with ETIMEDOUT, unless it has succeeded meanwhile; at once where the guard has not
 * been asked for it yet. What hangs is killed: the process that was to exec, or the template that was to fork. */
void guard_cancel(struct guard_client *g, uint64_t token);
/* It does not do its work (it is stopped, say): it counts as lost, and `lost` runs in a later turn of the loop. */
void guard_give_up(struct guard_client *g, const char *why /* static */);
/* Once it is lost: how many of its processes were alive and have been killed by this side, and how long that took. */
int guard_swept(const struct guard_client *g, uint64_t *ret_ns);
/* Inside `exited`: what the process used. */
struct guard_used guard_used(const struct guard_client *g);
pid_t guard_pid(const struct guard_client *g);
/* Whether it ends, as far as can be told: loop. What its end kills dies after that can be seen. */
bool guard_is_ending(const struct guard_client *g);
/* Ends the guard and everything it has: asks, waits until it is gone or the deadline, kills it and them. The number of processes that
 * are alive after that. Blocks. */
int guard_destroy(struct guard_client *g, uint64_t deadline_ns);

#endif
