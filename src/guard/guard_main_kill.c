/* Ends: reaping, what goes with a worker, and the end of everything.
 *
 * Invariants
 *  1. A signal is sent only to a process that is the guard's unreaped child, or to the group named after one: its number is pinned.
 *     So the group of a dead worker is killed before the worker is reaped.
 *  2. A descendant that left the group becomes the guard's child when its parents are dead. Its environment says which incarnation
 *     of which worker it belongs to; where that one lives no more, it is killed. Each such death brings its children here, and each
 *     death is a reason to look again, so the whole tree goes.
 *
 * Failure: an unreadable or cleared environment spares a process until the host ends; then every child goes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/dirents.h"
#include "base/envscan.h"
#include "guard/guard_main.h"

enum { RESCAN_MS = 1000 }; /* how long after a death a process without an environment may be one in the middle of an exec */

uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* pid is an unreaped child. Before its setsid it has no group yet, so it is named too. */
static void kill_tree(pid_t pid, int sig)
{
    kill(-pid, sig);
    if (sig == SIGKILL)
        kill(pid, sig);
}

void kill_child(const struct child *c, int sig)
{
    if (c->is_template)
        kill(c->pid, sig);
    else
        kill_tree(c->pid, sig);
}

void kill_group(struct guard *g, pid_t pid, int sig)
{
    const struct child *c = pid > 1 ? table_find(g, pid) : NULL;
    if (c != NULL)
        kill_child(c, sig);
}

enum belongs { TO_NOBODY, TO_THE_LIVING, TO_THE_DEAD, TO_ITSELF /* it is kept */, NOT_KNOWN_YET };

static enum belongs whose(struct guard *g, const struct envscan_entry *worker, const struct envscan_entry *serial)
{
    if (!worker->found || worker->value[0] == '\0')
        return TO_NOBODY;
    for (int i = 0; i < g->high; i++) {
        const struct child *c = &g->children[i];
        if (!c->used || (!c->alive && c->of == 0) || strcmp(c->worker_id, worker->value) != 0)
            continue;
        char mine[48];
        snprintf(mine, sizeof mine, "%d.%llu", (int)g->pid, (unsigned long long)c->serial);
        if (!serial->found || strcmp(serial->value, mine) == 0)
            return TO_THE_LIVING;
    }
    return TO_THE_DEAD;
}

static enum belongs look_at(struct guard *g, pid_t pid)
{
    char path[48], piece[4096];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return TO_NOBODY;
    struct envscan_entry e[] = {{.name = GUARD_ENV_WORKER}, {.name = GUARD_ENV_SERIAL}, {.name = GUARD_ENV_KEEP}};
    struct envscan scan;
    envscan_init(&scan, e, 3);
    ssize_t n, total = 0;
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        envscan_feed(&scan, piece, (size_t)n);
        total += n;
    }
    close(fd);
    if (g->keeps && e[2].found && strcmp(e[2].value, "keep") == 0)
        return TO_ITSELF;
    return total == 0 ? NOT_KNOWN_YET : whose(g, &e[0], &e[1]);
}

/* What is done to each of the guard's children: those that it did not start go when their worker is dead, in the end all go, but for those
 * that are kept. */
static void judge(struct guard *g, pid_t pid)
{
    bool started = table_find(g, pid) != NULL;
    enum belongs to = started || (g->ending && !g->keeps) ? TO_NOBODY : look_at(g, pid);
    if (to == TO_ITSELF)
        return;
    g->strangers++;
    if (g->ending || to == TO_THE_DEAD)
        kill_tree(pid, SIGKILL);
    if (to == NOT_KNOWN_YET)
        g->rescan = true;
}

/* The kernel's list of our children; false where it keeps none. */
static bool judge_listed(struct guard *g)
{
    char path[64], piece[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)g->pid);
    int fd = GUARD_SYS("children", open(path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return false;
    ssize_t n;
    pid_t pid = 0;
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (piece[i] >= '0' && piece[i] <= '9') {
                pid = pid * 10 + (piece[i] - '0');
            } else if (pid > 0) {
                judge(g, pid);
                pid = 0;
            }
        }
    }
    if (pid > 0)
        judge(g, pid);
    close(fd);
    return true;
}

char proc_state(pid_t pid, int *ret_parent)
{
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char state = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *ret_parent = 0;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *rest = strrchr(text, ')'); /* the name in brackets may hold anything */
    return rest != NULL && sscanf(rest + 1, " %c %d", &state, ret_parent) == 2 ? state : 0;
}

/* Kernels without CONFIG_PROC_CHILDREN: every process is asked for its parent. */
static void judge_by_parent(struct guard *g)
{
    static DIRENTS_BLOCK(block, 8192);
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g->blind = dir < 0;
    if (g->blind)
        return;
    long n;
    int parent;
    while ((n = syscall(SYS_getdents64, dir, block, sizeof block)) > 0)
        for (long at = 0, pid; (pid = dirents_next(block, n, &at)) >= 0;)
            if (pid > 1 && proc_state((pid_t)pid, &parent) != 0 && parent == g->pid)
                judge(g, (pid_t)pid);
    close(dir);
}

static void judge_children(struct guard *g)
{
    g->rescan = false;
    g->strangers = 0;
    if (!judge_listed(g))
        judge_by_parent(g);
    if (clock_ms() >= g->rescan_until_ms)
        g->rescan = false;
}

static pid_t next_known_ended(struct guard *g)
{
    siginfo_t info;
    for (int i = 0; i < g->high; i++) {
        const struct child *c = &g->children[i];
        info.si_pid = 0;
        if (c->used && c->alive && waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
            return c->pid;
    }
    return 0;
}

/* The first child that has ended, left in place; 0: none. While a template has to answer, one that nobody knows may be the one that it is about
 * to tell of: reaped before, its status would be lost, and its number anybody's. */
static pid_t next_ended(struct guard *g)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (GUARD_SYS("waitid", waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT)) == 0) {
        if (info.si_pid == 0 || g->forking == 0 || g->ending || table_find(g, info.si_pid) != NULL)
            return info.si_pid;
        g->left_alone = true;
        return next_known_ended(g);
    }
    if (errno == ECHILD)
        g->childless = true;
    else
        g->retry = true;
    return 0;
}

/* As waitid, and what it used: the C library leaves that out. */
static int reap_with_usage(pid_t pid, siginfo_t *info, struct guard_used *ret)
{
    struct rusage r;
    memset(&r, 0, sizeof r);
    int rc = (int)syscall(SYS_waitid, P_PID, pid, info, WEXITED | WNOHANG, &r);
    *ret = (struct guard_used){.peak_bytes = (uint64_t)r.ru_maxrss * 1024,
                               .major_faults = (uint64_t)r.ru_majflt,
                               .user_ms = (uint32_t)(r.ru_utime.tv_sec * 1000 + r.ru_utime.tv_usec / 1000),
                               .system_ms = (uint32_t)(r.ru_stime.tv_sec * 1000 + r.ru_stime.tv_usec / 1000)};
    return rc;
}

static bool reap_one(struct guard *g, pid_t pid)
{
    siginfo_t info;
    struct guard_used used;
    memset(&info, 0, sizeof info);
    struct child *c = table_find(g, pid);
    if (c != NULL && (!c->is_template || g->ending))
        kill(-pid, SIGKILL);
    if (GUARD_SYS("waitid", reap_with_usage(pid, &info, &used)) != 0 || info.si_pid == 0) {
        g->retry = true;
        return false;
    }
    if (c == NULL)
        return true;
    c->alive = false;
    c->code = info.si_code;
    c->status = info.si_status;
    c->used_by = used;
    if (c->report >= 0)
        table_read_report(g, c);
    if (c->fork_socket >= 0)
        fork_template_gone(g, c);
    c->exited_due = !c->failed;
    return true;
}

void reap_all(struct guard *g)
{
    bool any = false;
    g->childless = false;
    for (pid_t pid; (pid = next_ended(g)) > 0 && reap_one(g, pid);)
        any = true;
    if (any) {
        table_send_due(g); /* a caller waits for this word; the sweep that follows reads /proc */
        g->rescan_until_ms = clock_ms() + RESCAN_MS;
    }
    if (any || g->rescan)
        judge_children(g);
}

void kill_all(struct guard *g)
{
    for (int i = 0; i < g->high; i++)
        if (g->children[i].used && g->children[i].alive)
            kill_tree(g->children[i].pid, SIGKILL);
    judge_children(g);
}
