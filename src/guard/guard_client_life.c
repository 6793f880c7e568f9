/* The host's side of the guard: its loss and its end. See guard_client.h.
 *
 * When the guard is gone, the kernel kills its children (the parent-death signal); this side kills their groups, as long as the
 * leader's pid can be shown to be still that process, then everything that carries the run id in its environment. Where this host
 * has become the parent (PID 1 of a container, or a subreaper), it reaps them.
 *
 * Failure: none; who does not end in time is counted. */
#include <errno.h>
#include <signal.h>

#include "base/alloc.h"
#include "guard/guard_private.h"

enum { MS = 1000000, ORPHANS_MS = 1000, LAST_WORDS = 4 * GUARD_MAX_CHILDREN };

bool guard_reap(struct guard_client *g)
{
    int code, status;
    return g->os->reap(g->death.fd, &code, &status) == 0 && code == CLD_EXITED && status == 0;
}

void guard_end(struct guard_client *g, uint64_t wait_ns)
{
    g->os->pidfd_kill(g->death.fd, SIGKILL);
    g->os->poll_one(g->death.fd, OS_READABLE, g->os->now_ns() + wait_ns);
    guard_reap(g);
}

void guard_free(struct guard_client *g)
{
    g->os->close(g->control.fd);
    g->os->close(g->death.fd);
    mem_free(g->run_entry);
    mem_free(g);
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
    guard_end(g, ORPHANS_MS * (uint64_t)MS);
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
    if (g->greeting)
        guard_abandon(g);
    loop_timer_stop(g->loop, &g->give_up);
    if (!g->lost) {
        loop_remove(g->loop, &g->control);
        loop_remove(g->loop, &g->death);
        bool gone = quit(g, deadline_ns);
        if (!gone || !guard_reap(g)) {
            kill_everything(g);
            alive = survivors(g, g->os->now_ns() + ORPHANS_MS * (uint64_t)MS);
        }
        g->lost = true;
        fail_requests(g, ECANCELED);
    }
    free_running(g);
    guard_free(g);
    return alive;
}
