/* The host's side of the guard: its start, its loss and its end. See guard_client.h.
 *
 * The guard gets no environment: a sweep by run id must never find the guard itself.
 *
 * When the guard is gone, the kernel kills its children (the parent-death signal); this side kills their groups, as long as the
 * leader's pid can be shown to be still that process, then everything that carries the run id in its environment. Where this host
 * has become the parent (PID 1 of a container, or a subreaper), it reaps them.
 *
 * Failure: of a step of the start: everything undone, the errno and the call told. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "guard/guard_private.h"

enum { MS = 1000000, ORPHANS_MS = 1000, LAST_WORDS = 4 * GUARD_MAX_CHILDREN };

static char *run_entry(const char *run_id)
{
    size_t n = sizeof GUARD_ENV_RUN "=" + strlen(run_id);
    char *s = mem_alloc(n);
    if (s != NULL)
        snprintf(s, n, "%s=%s", GUARD_ENV_RUN, run_id);
    return s;
}

/* Whether it has ended by itself, having ended everything else. A host that ignores SIGCHLD, or waits for anybody, has reaped it
 * before us: then nobody knows. */
static bool reap_guard(struct guard_client *g)
{
    int code, status;
    return g->os->reap(g->death.fd, &code, &status) == 0 && code == CLD_EXITED && status == 0;
}

static void kill_guard(struct guard_client *g, uint64_t wait_ns)
{
    g->os->pidfd_kill(g->death.fd, SIGKILL);
    g->os->poll_one(g->death.fd, OS_READABLE, g->os->now_ns() + wait_ns);
    reap_guard(g);
}

static void free_client(struct guard_client *g)
{
    g->os->close(g->control.fd);
    g->os->close(g->death.fd);
    mem_free(g->run_entry);
    mem_free(g);
}

static struct guard_client *new_client(const struct os_ops *os, struct loop *loop, const char *run_id)
{
    struct guard_client *g = mem_zalloc(sizeof *g);
    if (g == NULL)
        return NULL;
    g->os = os;
    g->loop = loop;
    list_init(&g->windows);
    list_init(&g->asked);
    list_init(&g->running);
    guard_open_window(g, &g->execs);
    g->control = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = guard_on_control};
    g->death = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = guard_on_death};
    g->run_entry = run_entry(run_id);
    if (g->run_entry != NULL)
        return g;
    mem_free(g);
    return NULL;
}

/* The guard with its two descriptors: 0, or -errno and the call. */
static int launch(struct guard_client *g, const char *path, const char *run_id, const char **ret_call)
{
    const struct os_ops *os = g->os;
    int pair[2];
    *ret_call = "socketpair";
    int error = os->socketpair(pair);
    if (error != 0)
        return error;
    g->control.fd = pair[0];
    *ret_call = "pidfd_open";
    int host = os->pidfd_open(os->getpid());
    error = host < 0 ? host : 0;
    if (error == 0) {
        const char *argv[] = {path, "--run-id", run_id, NULL};
        char *envp[] = {NULL};
        const int fds[] = {pair[1], host}; /* GUARD_FD_CONTROL, GUARD_FD_HOST */
        *ret_call = "spawn";
        error = os->spawn(path, (char *const *)(uintptr_t)argv, envp, fds, 2, &g->pid, &g->death.fd);
    }
    os->close(host);
    os->close(pair[1]);
    return error;
}

/* Names of calls that a guard may report live as long as the library: what came by message does not. */
static const char *known_call(const char *name)
{
    static const char *const known[] = {"setsid", "sigprocmask", "open /dev/null", "dup2", "fcntl", "prctl", "signalfd"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], name) == 0)
            return known[i];
    return "guard";
}

static int shake_hands(struct guard_client *g, uint64_t deadline_ns, const char **ret_call)
{
    struct guard_msg m;
    *ret_call = "handshake";
    int rc = g->os->poll_one(g->control.fd, OS_READABLE, deadline_ns);
    if (rc <= 0)
        return rc < 0 ? rc : -ETIMEDOUT;
    ssize_t n = g->os->recv(g->control.fd, &m, sizeof m);
    if (n < 0)
        return (int)n;
    if (n != (ssize_t)sizeof m || m.kind != GUARD_HELLO) /* 0: it died, or is another program */
        return n == 0 ? -ECONNRESET : -EPROTO;
    m.text[sizeof m.text - 1] = '\0';
    if (m.error != 0) {
        *ret_call = known_call(m.text);
        return -m.error;
    }
    if (m.number != GUARD_PROTOCOL || m.pid != g->pid) {
        *ret_call = "protocol version";
        return -EPROTO;
    }
    return 0;
}

static int watch(struct guard_client *g, const char **ret_call)
{
    *ret_call = "epoll_ctl";
    int error = loop_add(g->loop, &g->control);
    if (error == 0 && (error = loop_add(g->loop, &g->death)) != 0)
        loop_remove(g->loop, &g->control);
    return error;
}

int guard_start(const struct os_ops *os, struct loop *loop, const char *path, const char *run_id, int64_t timeout_ms,
                const struct guard_callbacks *cb, void *user, struct guard_client **ret, int *ret_errno, const char **ret_call)
{
    uint64_t deadline = os->now_ns() + (uint64_t)timeout_ms * MS;
    struct guard_client *g = new_client(os, loop, run_id);
    if (g == NULL)
        return PIT_E_ALLOCATION_FAILED;
    g->cb = *cb;
    g->user = user;
    int code = PIT_E_SYSTEM_ERROR;
    int error = launch(g, path, run_id, ret_call);
    if (error == 0) {
        error = shake_hands(g, deadline, ret_call);
        if (error == 0)
            error = watch(g, ret_call);
        if (error == 0) {
            *ret = g;
            return 0;
        }
        kill_guard(g, ORPHANS_MS * (uint64_t)MS);
        code = PIT_E_GUARD_UNAVAILABLE;
    } else if (strcmp(*ret_call, "spawn") == 0) {
        code = PIT_E_GUARD_UNAVAILABLE;
    }
    *ret_errno = -error;
    free_client(g);
    return code;
}

/* Is it still that process, or its zombie? */
static bool is_still(struct guard_client *g, const struct guard_proc *p, struct os_proc *ret)
{
    return p->start != 0 && g->os->proc_info(p->pid, ret) == 0 && ret->start == p->start;
}

static int kill_groups(struct guard_client *g)
{
    int alive = 0;
    LIST_EACH(n, &g->running)
    {
        struct guard_proc *p = LIST_ENTRY(n, struct guard_proc, node);
        struct os_proc info;
        if (!is_still(g, p, &info))
            continue;
        alive += info.state != 'Z' && info.state != 'X';
        g->os->group_kill(p->pid, SIGKILL);
    }
    return alive;
}

static void reap_orphans(struct guard_client *g)
{
    uint64_t deadline = g->os->now_ns() + ORPHANS_MS * (uint64_t)MS;
    LIST_EACH(n, &g->running)
    g->os->reap_group(LIST_ENTRY(n, struct guard_proc, node)->pid, deadline);
}

/* Every group, the guard, and everything that carries the run id. How many were alive. */
static int kill_everything(struct guard_client *g)
{
    int alive = kill_groups(g);
    kill_guard(g, ORPHANS_MS * (uint64_t)MS);
    int swept = g->os->kill_by_env(g->run_entry);
    reap_orphans(g);
    return swept > alive ? swept : alive;
}

static void fail_list(struct guard_client *g, struct list *requests, int error)
{
    for (struct list *n; (n = list_first(requests)) != NULL;) {
        struct guard_proc *p = LIST_ENTRY(n, struct guard_proc, node);
        uint64_t token = p->token;
        guard_free_proc(g, p);
        g->cb.spawned(g->user, token, error, "guard", 0, -1);
    }
}

static void fail_requests(struct guard_client *g, int error)
{
    fail_list(g, &g->asked, error);
    LIST_EACH(n, &g->windows)
    fail_list(g, &LIST_ENTRY(n, struct guard_window, node)->queued, error);
}

static void free_running(struct guard_client *g)
{
    for (struct list *n; (n = list_first(&g->running)) != NULL;)
        guard_free_proc(g, LIST_ENTRY(n, struct guard_proc, node));
}

void guard_lose(struct guard_client *g, const char *why)
{
    if (g->lost)
        return;
    g->lost = true;
    loop_timer_stop(g->loop, &g->give_up);
    loop_remove(g->loop, &g->control);
    loop_remove(g->loop, &g->death);
    uint64_t began = g->os->now_ns();
    g->swept = kill_everything(g);
    g->swept_ns = g->os->now_ns() - began;
    fail_requests(g, GUARD_GONE);
    free_running(g);
    g->cb.lost(g->user, why);
}

int guard_swept(const struct guard_client *g, uint64_t *ret_ns)
{
    *ret_ns = g->swept_ns;
    return g->swept;
}

static void on_give_up(struct loop_timer *t)
{
    struct guard_client *g = LIST_ENTRY(t, struct guard_client, give_up);
    guard_lose(g, g->give_up_why);
}

void guard_give_up(struct guard_client *g, const char *why)
{
    if (g->lost || loop_timer_armed(&g->give_up))
        return;
    g->give_up_why = why;
    g->give_up.fn = on_give_up;
    loop_timer_set(g->loop, &g->give_up, g->os->now_ns());
}

/* Asks the guard to end everything; true when it has. */
static bool quit(struct guard_client *g, uint64_t deadline_ns)
{
    struct guard_msg m = {.kind = GUARD_QUIT};
    bool asked = g->os->send(g->control.fd, &m, sizeof m) == (ssize_t)sizeof m;
    if (!asked) /* its socket is full, it must be stuck or stopped; the end of the socket says the same */
        g->os->shutdown(g->control.fd);
    bool gone = g->os->poll_one(g->death.fd, OS_READABLE, deadline_ns) == 1;
    guard_receive_all(g, LAST_WORDS);
    return gone;
}

/* Of those that were killed: how many have not ended by then? */
static int survivors(struct guard_client *g, uint64_t deadline_ns)
{
    int alive = 0;
    LIST_EACH(n, &g->running)
    {
        struct guard_proc *p = LIST_ENTRY(n, struct guard_proc, node);
        struct os_proc info;
        if (!is_still(g, p, &info) || info.state == 'Z' || info.state == 'X')
            continue;
        int pidfd = g->os->pidfd_open(p->pid);
        bool ended = pidfd >= 0 && g->os->poll_one(pidfd, OS_READABLE, deadline_ns) == 1;
        if (pidfd >= 0)
            g->os->close(pidfd);
        alive += !ended && is_still(g, p, &info) && info.state != 'Z' && info.state != 'X';
    }
    return alive;
}

int guard_destroy(struct guard_client *g, uint64_t deadline_ns)
{
    if (g == NULL)
        return 0;
    int alive = 0;
    loop_timer_stop(g->loop, &g->give_up);
    if (!g->lost) {
        loop_remove(g->loop, &g->control);
        loop_remove(g->loop, &g->death);
        bool gone = quit(g, deadline_ns);
        if (!gone || !reap_guard(g)) {
            kill_everything(g);
            alive = survivors(g, g->os->now_ns() + ORPHANS_MS * (uint64_t)MS);
        }
        g->lost = true;
        fail_requests(g, ECANCELED);
    }
    free_running(g);
    free_client(g);
    return alive;
}
