/* For tests of the guard: a loop, a client and a record of what it said. Functions are static: each program uses what it needs. */
#ifndef TESTS_GUARD_KIT_H
#define TESTS_GUARD_KIT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <snakepit/codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/envscan.h"
#include "guard/guard_client.h"
#include "os/loop.h"
#include "os/os.h"

#define KIT_UNUSED __attribute__((unused))
#define KIT_MAX 2048
#define KIT_LIMIT_NS UINT64_C(60000000000) /* a test that has to wait so long has failed */

struct kit_proc {
    uint64_t token;
    bool spawned, exited;
    int error, pidfd;
    char call[32];
    pid_t pid;
    struct guard_exit how;
};

struct kit {
    const struct os_ops *os;
    struct loop *loop;
    struct guard_client *guard;
    char run_id[96];
    struct kit_proc procs[KIT_MAX];
    int n;
    int bad; /* callbacks that break the contract */
    int lost, started;
    char why[64];
    int error;
    const char *call;
};

static struct kit_proc *kit_find(struct kit *k, uint64_t token)
{
    for (int i = 0; i < k->n; i++)
        if (k->procs[i].token == token)
            return &k->procs[i];
    return NULL;
}

static void kit_spawned(void *user, uint64_t token, int error, const char *call, pid_t pid, int pidfd)
{
    struct kit *k = user;
    struct kit_proc *p = kit_find(k, token);
    if (p == NULL || p->spawned || (error == 0) != (pidfd >= 0) || (error == 0) != (pid > 0)) {
        k->bad++;
        return;
    }
    p->spawned = true;
    p->error = error;
    p->pid = pid;
    p->pidfd = pidfd;
    snprintf(p->call, sizeof p->call, "%s", call != NULL ? call : "");
}

static void kit_exited(void *user, uint64_t token, pid_t pid, struct guard_exit how)
{
    struct kit *k = user;
    struct kit_proc *p = kit_find(k, token);
    if (p == NULL || !p->spawned || p->error != 0 || p->exited || p->pid != pid || k->lost != 0) {
        k->bad++;
        return;
    }
    p->exited = true;
    p->how = how;
}

static void kit_lost(void *user, const char *why)
{
    struct kit *k = user;
    k->lost++;
    snprintf(k->why, sizeof k->why, "%s", why);
}

static void kit_started(void *user, int error, const char *call)
{
    struct kit *k = user;
    k->started++;
    k->error = error;
    k->call = call;
}

static const struct guard_callbacks kit_callbacks = {kit_spawned, kit_exited, kit_lost, kit_started};

KIT_UNUSED static int kit_start(struct kit *k, const struct os_ops *os, const char *path, const char *run_id,
                                int64_t timeout_ms)
{
    memset(k, 0, sizeof *k);
    k->os = os;
    snprintf(k->run_id, sizeof k->run_id, "%s", run_id);
    int rc = loop_create(os, &k->loop);
    if (rc != 0)
        return rc;
    return guard_start(os, k->loop, path, run_id, timeout_ms, &kit_callbacks, k, &k->guard, &k->error, &k->call);
}

/* As kit_start, and the loop is told of the handshake. */
KIT_UNUSED static int kit_begin(struct kit *k, const struct os_ops *os, const char *path, const char *run_id,
                                int64_t timeout_ms)
{
    memset(k, 0, sizeof *k);
    k->os = os;
    snprintf(k->run_id, sizeof k->run_id, "%s", run_id);
    int rc = loop_create(os, &k->loop);
    if (rc != 0)
        return rc;
    return guard_begin(os, k->loop, path, run_id, timeout_ms, &kit_callbacks, k, &k->guard, &k->error, &k->call);
}

/* Starts argv[0] with the run id, a worker id and what else is in `extra` as its environment. Returns its record; *ret_control is
 * our end of its control socket. fd_stdout -1: /dev/null. */
KIT_UNUSED static struct kit_proc *kit_spawn(struct kit *k, const char *const *argv, const char *worker_id, const char *cwd,
                                             int fd_stdout, int *ret_control)
{
    static uint64_t tokens;
    char run[160], worker[224];
    int pair[2];
    if (k->n == KIT_MAX || k->os->socketpair(pair) != 0)
        return NULL;
    snprintf(run, sizeof run, "SNAKEPIT_RUN_ID=%s", k->run_id);
    snprintf(worker, sizeof worker, "SNAKEPIT_WORKER_ID=%s", worker_id);
    const char *env[] = {run, worker, "PATH=/usr/bin:/bin", "SNAKEPIT_GUARD_SERIAL=outer", NULL};
    struct kit_proc *p = &k->procs[k->n++];
    memset(p, 0, sizeof *p);
    p->token = ++tokens;
    p->pidfd = -1;
    struct guard_spawn request = {.token = p->token,
                                  .argv = argv,
                                  .env = env,
                                  .cwd = cwd,
                                  .worker_id = worker_id,
                                  .fd_control = pair[1],
                                  .fd_segment = -1,
                                  .fd_stdout = fd_stdout,
                                  .fd_stderr = -1};
    int rc = guard_spawn(k->guard, &request);
    k->os->close(pair[1]);
    if (rc != 0) {
        k->n--;
        k->error = rc;
        k->os->close(pair[0]);
        return NULL;
    }
    if (ret_control != NULL)
        *ret_control = pair[0];
    else
        k->os->close(pair[0]);
    return p;
}

/* Turns the loop until *flag is set; false when that takes too long. */
KIT_UNUSED static bool kit_await(struct kit *k, const bool *flag)
{
    uint64_t limit = k->os->now_ns() + KIT_LIMIT_NS;
    while (!*flag && k->os->now_ns() < limit)
        loop_run_once(k->loop, limit);
    return *flag;
}

KIT_UNUSED static bool kit_await_lost(struct kit *k)
{
    uint64_t limit = k->os->now_ns() + KIT_LIMIT_NS;
    while (k->lost == 0 && k->os->now_ns() < limit)
        loop_run_once(k->loop, limit);
    return k->lost != 0;
}

KIT_UNUSED static bool kit_await_started(struct kit *k)
{
    uint64_t limit = k->os->now_ns() + KIT_LIMIT_NS;
    while (k->started == 0 && k->os->now_ns() < limit)
        loop_run_once(k->loop, limit);
    return k->started == 1;
}

KIT_UNUSED static int kit_stop(struct kit *k, uint64_t within_ms)
{
    int alive = guard_destroy(k->guard, k->os->now_ns() + within_ms * 1000000u);
    for (int i = 0; i < k->n; i++)
        k->os->close(k->procs[i].pidfd);
    loop_destroy(k->loop);
    return alive;
}

/* Does the process carry this run id in its environment? */
KIT_UNUSED static bool kit_carries(pid_t pid, const char *run)
{
    char path[48], piece[4096];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct envscan_entry e = {.name = "SNAKEPIT_RUN_ID"};
    struct envscan scan;
    envscan_init(&scan, &e, 1);
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        envscan_feed(&scan, piece, (size_t)n);
    close(fd);
    return e.found && strcmp(e.value, run) == 0;
}

/* How many processes of this run live; zombies do not. */
KIT_UNUSED static int kit_alive(const char *run)
{
    int n = 0;
    DIR *d = opendir("/proc");
    if (d == NULL)
        return -1;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct os_proc info;
        pid_t pid = (pid_t)atoi(e->d_name);
        if (pid > 0 && kit_carries(pid, run) && os_linux.proc_info(pid, &info) == 0)
            n += info.state != 'Z' && info.state != 'X';
    }
    closedir(d);
    return n;
}

/* What the sweep of a later host would do: how many processes of this run were left. */
static inline int kit_sweep(const char *run_id)
{
    char entry[128];
    snprintf(entry, sizeof entry, "SNAKEPIT_RUN_ID=%s", run_id);
    return os_linux.kill_by_env(entry);
}

#endif
