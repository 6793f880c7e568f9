/* The host's side of the guard: spawning, and what comes back. See guard_client.h; the start and the end are in guard_client_life.c.
 *
 *   request: queued --(window)--> asked --SPAWNED--> running --EXITED--> freed
 *                                       \--SPAWNED with an error-------> freed
 *
 * At most WINDOW requests to exec, and as many to each template, are with the guard at a time: descriptors in flight count against the
 * user's limit (ETOOMANYREFS).
 *
 * Failure: a message that makes no sense, or the end of the socket, or the death of the guard: guard_lose, once. */
#include "guard/guard_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "guard/guard_private.h"

enum { WINDOW = 8, MESSAGES_A_TURN = 64 };

static void put_list(struct buf *b, const char *const *list, uint32_t *count)
{
    for (*count = 0; list != NULL && list[*count] != NULL; ++*count)
        buf_append(b, list[*count], strlen(list[*count]) + 1);
}

/* The sealed memfd of a request, or -errno. */
static int write_request(const struct os_ops *os, const struct guard_spawn *r)
{
    struct buf b = {0};
    struct guard_request head = {.magic = GUARD_REQUEST_MAGIC, .has_cwd = r->cwd != NULL};
    buf_append(&b, &head, sizeof head);
    put_list(&b, r->argv, &head.argc);
    put_list(&b, r->env, &head.envc);
    if (r->cwd != NULL)
        buf_append(&b, r->cwd, strlen(r->cwd) + 1);
    int fd = -ENOMEM;
    if (!b.failed) {
        head.bytes = b.len - sizeof head;
        memcpy(b.data, &head, sizeof head);
        fd = os->memfd_sealed("snakepit-spawn", b.data, b.len);
    }
    buf_finish(&b);
    return fd;
}

static void close_fds(struct guard_client *g, struct guard_proc *p)
{
    for (int i = 0; i < p->n_fds; i++)
        g->os->close(p->fds[i]);
    p->n_fds = 0;
}

void guard_free_proc(struct guard_client *g, struct guard_proc *p)
{
    list_remove(&p->node);
    close_fds(g, p);
    mem_free(p);
}

/* What sending to a guard says that has ended; its socket tells the loop in a moment. */
static bool is_gone(int rc)
{
    return rc == -EPIPE || rc == -ECONNRESET;
}

/* 0, CLIENT_LATER, or -errno. */
static int ask(struct guard_client *g, struct guard_proc *p, const int *fds)
{
    struct guard_msg m = {.kind = p->of != 0 ? GUARD_FORK : GUARD_SPAWN, .token = p->serial, .of = p->of, .number = p->mask};
    memcpy(m.text, p->worker_id, sizeof m.text);
    int n = g->os->send_fds(g->control.fd, &m, sizeof m, fds, p->n_fds);
    if (n == -EAGAIN || (n == -ETOOMANYREFS && g->asked_n > 0))
        return CLIENT_LATER;
    if (n != (int)sizeof m)
        return n < 0 ? n : -EIO;
    list_push_back(&g->asked, &p->node);
    g->asked_n++;
    p->window->asked_n++;
    return 0;
}

void guard_open_window(struct guard_client *g, struct guard_window *w)
{
    list_init(&w->queued);
    w->asked_n = 0;
    list_push_back(&g->windows, &w->node);
}

/* Waits for room in the socket only while something is queued and its window is not full (an answer makes room by itself). */
static int watch_room(struct guard_client *g)
{
    bool wanted = false;
    LIST_EACH(n, &g->windows)
    {
        const struct guard_window *w = LIST_ENTRY(n, struct guard_window, node);
        wanted = wanted || (!list_empty(&w->queued) && w->asked_n < WINDOW);
    }
    if (wanted == ((g->control.events & EPOLLOUT) != 0))
        return 0;
    int error = loop_modify(g->loop, &g->control, EPOLLIN | (wanted ? (uint32_t)EPOLLOUT : 0));
    return g->asked_n > 0 ? 0 : error; /* where an answer is awaited, it is the next occasion */
}

static void tell_failed(struct guard_client *g, struct guard_proc *p, int error, const char *call)
{
    uint64_t token = p->token;
    guard_free_proc(g, p);
    g->cb.spawned(g->user, token, error, call, 0, -1);
}

/* Sends what it can; the request that it can neither send nor wait for has failed. false: the socket is full. */
static bool ask_window(struct guard_client *g, struct guard_window *w)
{
    while (!g->lost && w->asked_n < WINDOW && !list_empty(&w->queued)) {
        struct guard_proc *p = LIST_ENTRY(list_pop_front(&w->queued), struct guard_proc, node);
        int rc = ask(g, p, p->fds);
        if (rc == CLIENT_LATER) {
            list_push_front(&w->queued, &p->node);
            rc = watch_room(g);
            if (rc == 0)
                return false;
        }
        if (rc == 0)
            close_fds(g, p);
        else
            tell_failed(g, p, is_gone(rc) ? GUARD_GONE : -rc, "sendmsg");
    }
    return true;
}

static void ask_queued(struct guard_client *g)
{
    LIST_EACH(n, &g->windows)
    if (!ask_window(g, LIST_ENTRY(n, struct guard_window, node)))
        return;
    if (!g->lost)
        watch_room(g);
}

/* The caller's descriptors are only borrowed: a request that has to wait holds copies. fds[0] is ours already. */
static int queue(struct guard_client *g, struct guard_proc *p, const int *fds)
{
    int n = p->n_fds;
    p->fds[0] = fds[0];
    for (p->n_fds = 1; p->n_fds < n; p->n_fds++) {
        int copy = g->os->dup(fds[p->n_fds]);
        if (copy < 0)
            return copy;
        p->fds[p->n_fds] = copy;
    }
    list_push_back(&p->window->queued, &p->node);
    return watch_room(g);
}

static void collect_fds(struct guard_proc *p, const struct guard_spawn *r, int request, int *fds)
{
    fds[p->n_fds++] = request;
    fds[p->n_fds++] = r->fd_control;
    const int optional[] = {r->fd_segment, r->fd_stdout, r->fd_stderr};
    for (int i = 0; i < 3; i++) {
        if (optional[i] < 0)
            continue;
        fds[p->n_fds++] = optional[i];
        p->mask |= 1u << i; /* GUARD_HAS_SEGMENT, _STDOUT, _STDERR */
    }
}

/* By its caller's token. */
static struct guard_proc *find_token(struct list *among, uint64_t token)
{
    LIST_EACH(n, among)
    {
        struct guard_proc *p = LIST_ENTRY(n, struct guard_proc, node);
        if (p->token == token)
            return p;
    }
    return NULL;
}

int guard_spawn(struct guard_client *g, const struct guard_spawn *r)
{
    if (g->lost)
        return PIT_E_GUARD_LOST;
    size_t id = r->worker_id != NULL ? strlen(r->worker_id) : 0;
    if (id >= GUARD_TEXT || r->argv == NULL || r->argv[0] == NULL || r->fd_control < 0)
        return PIT_E_INVALID_PARAMETER;
    struct guard_proc *of = r->of != 0 ? find_token(&g->running, r->of) : NULL;
    if (r->of != 0 && (of == NULL || (of->mask & GUARD_IS_TEMPLATE) == 0))
        return PIT_E_WORKER_NOT_FOUND;
    struct guard_proc *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return PIT_E_ALLOCATION_FAILED;
    p->token = r->token;
    p->serial = ++g->serial;
    p->of = of != NULL ? of->serial : 0;
    p->window = of != NULL ? &of->forks : &g->execs;
    p->mask = (r->is_template ? GUARD_IS_TEMPLATE : 0) | (r->keeps ? GUARD_KEEPS : 0);
    memcpy(p->worker_id, r->worker_id != NULL ? r->worker_id : "", id);
    int request = write_request(g->os, r);
    if (request < 0) {
        mem_free(p);
        return request == -ENOMEM ? PIT_E_ALLOCATION_FAILED : PIT_E_SYSTEM_ERROR;
    }
    int fds[GUARD_SPAWN_FDS];
    collect_fds(p, r, request, fds);
    bool now = p->window->asked_n < WINDOW && list_empty(&p->window->queued);
    int rc = now ? ask(g, p, fds) : CLIENT_LATER;
    if (rc == CLIENT_LATER) {
        rc = queue(g, p, fds);
    } else {
        p->n_fds = 0; /* the caller's, but for the request */
        g->os->close(request);
    }
    if (rc == 0)
        return 0;
    guard_free_proc(g, p);
    return is_gone(rc) ? PIT_E_GUARD_LOST : PIT_E_SYSTEM_ERROR;
}

int guard_kill(struct guard_client *g, pid_t pid, int sig)
{
    if (g->lost)
        return PIT_E_GUARD_LOST;
    struct guard_msg m = {.kind = GUARD_KILL, .pid = pid, .number = (uint32_t)sig};
    ssize_t n = g->os->send(g->control.fd, &m, sizeof m);
    return n == (ssize_t)sizeof m ? 0 : PIT_E_SYSTEM_ERROR;
}

static struct guard_proc *find(struct list *among, uint64_t serial)
{
    LIST_EACH(n, among)
    {
        struct guard_proc *p = LIST_ENTRY(n, struct guard_proc, node);
        if (p->serial == serial)
            return p;
    }
    return NULL;
}

/* When it was started; 0: nobody knows. A number is ours only while it is that of the guard's child: who died with the guard may have been
 * reaped already, and the number be somebody else's. */
static uint64_t start_of(struct guard_client *g, pid_t pid)
{
    struct os_proc info;
    return g->os->proc_info(pid, &info) == 0 && info.ppid == g->pid ? info.start : 0;
}

/* This host had no number left for the pidfd that came with the message: without one the death could not be seen, so the process
 * goes again, unless one can be had now. */
static int make_up_pidfd(struct guard_client *g, struct guard_proc *p)
{
    int pidfd = g->os->pidfd_open(p->pid);
    if (pidfd >= 0 && start_of(g, p->pid) == 0) {
        g->os->close(pidfd);
        pidfd = -ESRCH;
    }
    if (pidfd < 0) {
        p->disowned = true;
        guard_kill(g, p->pid, SIGKILL);
    }
    return pidfd;
}

static bool on_spawned(struct guard_client *g, const struct guard_msg *m, int pidfd)
{
    struct guard_proc *p = find(&g->asked, m->token);
    if (p == NULL || m->error < 0) {
        g->os->close(pidfd);
        return false;
    }
    g->asked_n--;
    if (p->window != NULL)
        p->window->asked_n--;
    list_remove(&p->node);
    if (m->error != 0) {
        g->os->close(pidfd);
        tell_failed(g, p, m->error, m->text);
    } else {
        p->pid = m->pid;
        p->start = start_of(g, p->pid);
        list_push_back(&g->running, &p->node);
        if ((p->mask & GUARD_IS_TEMPLATE) != 0)
            guard_open_window(g, &p->forks);
        if (pidfd < 0)
            pidfd = make_up_pidfd(g, p);
        bool ok = pidfd >= 0;
        g->cb.spawned(g->user, p->token, ok ? 0 : -pidfd, ok ? NULL : "pidfd_open", ok ? p->pid : 0, ok ? pidfd : -1);
    }
    ask_queued(g);
    return true;
}

/* A template has ended: what it has not been asked for yet, it cannot be asked for. */
static void close_window(struct guard_client *g, struct guard_window *w)
{
    list_remove(&w->node);
    LIST_EACH(n, &g->asked)
    {
        struct guard_proc *p = LIST_ENTRY(n, struct guard_proc, node);
        if (p->window == w)
            p->window = NULL;
    }
    while (!list_empty(&w->queued))
        tell_failed(g, LIST_ENTRY(list_first(&w->queued), struct guard_proc, node), ESRCH, "template");
}

void guard_cancel(struct guard_client *g, uint64_t token)
{
    struct guard_proc *p = g->lost ? NULL : find_token(&g->asked, token);
    if (p != NULL) {
        struct guard_msg m = {.kind = GUARD_CANCEL, .token = p->serial};
        g->os->send(g->control.fd, &m, sizeof m); /* a guard that takes no more does not answer either */
        return;
    }
    LIST_EACH(n, &g->windows)
    {
        p = g->lost ? NULL : find_token(&LIST_ENTRY(n, struct guard_window, node)->queued, token);
        if (p == NULL)
            continue;
        tell_failed(g, p, ETIMEDOUT, "queue");
        return;
    }
}

static bool on_exited(struct guard_client *g, const struct guard_msg *m)
{
    struct guard_proc *p = find(&g->running, m->token);
    if (p == NULL || p->pid != m->pid)
        return false;
    uint64_t token = p->token;
    bool silent = p->disowned;
    list_remove(&p->node); /* nobody shall find it any more */
    if ((p->mask & GUARD_IS_TEMPLATE) != 0)
        close_window(g, &p->forks);
    guard_free_proc(g, p);
    g->used = m->used;
    if (!silent)
        g->cb.exited(g->user, token, m->pid, (struct guard_exit){.code = m->code, .status = m->status});
    return true;
}

struct guard_used guard_used(const struct guard_client *g)
{
    return g->used;
}

/* 1: a message; 0: nothing there; -1: the end, or nonsense. */
static int receive(struct guard_client *g)
{
    struct guard_msg m;
    int pidfd = -1, n_fds = 1;
    ssize_t n = g->os->recv_fds(g->control.fd, &m, sizeof m, &pidfd, &n_fds);
    if (n < 0 && (n == -EAGAIN || n == -ENOMEM || n == -ENOBUFS))
        return 0;
    if (n <= 0 || n_fds == 0)
        pidfd = -1;
    m.text[sizeof m.text - 1] = '\0';
    if (n == (ssize_t)sizeof m && m.kind == GUARD_SPAWNED)
        return on_spawned(g, &m, pidfd) ? 1 : -1;
    g->os->close(pidfd);
    if (n == (ssize_t)sizeof m && m.kind == GUARD_EXITED)
        return on_exited(g, &m) ? 1 : -1;
    return -1;
}

int guard_receive_all(struct guard_client *g, int most)
{
    int rc = 1;
    for (int i = 0; i < most && rc > 0 && !g->lost; i++)
        rc = receive(g);
    return rc;
}

void guard_on_control(struct loop_source *s, uint32_t events)
{
    struct guard_client *g = LIST_ENTRY(s, struct guard_client, control);
    if ((events & EPOLLOUT) != 0)
        ask_queued(g);
    if (!g->lost && guard_receive_all(g, MESSAGES_A_TURN) < 0)
        guard_lose(g, "the guard closed its socket");
}

void guard_on_death(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct guard_client *g = LIST_ENTRY(s, struct guard_client, death);
    /* what it had said before it died counts */
    while (!g->lost && guard_receive_all(g, MESSAGES_A_TURN) > 0)
        ;
    guard_lose(g, "the guard died");
}

pid_t guard_pid(const struct guard_client *g)
{
    return g->pid;
}

/* A process that ends closes its descriptors before the kernel kills its children: where nothing is to be read, not even the end of the socket, it
 * lives. Only while it forks somebody else may hold its end, too; a look at the process itself takes ten times as long. */
bool guard_is_ending(const struct guard_client *g)
{
    struct os_proc p;
    if (g->asked_n == 0 && g->os->poll_one(g->control.fd, OS_READABLE, 0) == 0)
        return false;
    return g->os->proc_info(g->pid, &p) != 0 || p.wait_status != 0;
}
