/* The children that a template makes: it is asked, clones one as a child of the guard, and sends its number.
 *
 * Invariants
 *  1. What a template says is believed only as far as the kernel bears it out: the number must be that of an unreaped child of ours that is
 *     in no slot yet; being unreaped, it keeps its number. Nothing is signalled before that. Of a template no descriptor is taken: to close
 *     it could take as long as its sender likes.
 *  2. While an answer is awaited, no child that nobody knows is reaped: it may be the one.
 *  3. A process that a template has made and never told of is found by its environment, or the template's, when the template is dead: it names
 *     an incarnation that lives no more.
 *
 *  4. The death of a template harms nothing that it has made, from the clone on.
 *
 * Failure: a template that answers nonsense, sends what this process has no number for, or does not answer at all is killed; its host hears
 * that the forks failed, and of its end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pass_rights.h"
#include "guard/guard_main.h"

enum { FORK_FDS = 5, ANSWERS_A_TURN = 64, AGAIN_MS = 200 };

int fork_open_socket(struct guard *g, struct child *c)
{
    int pair[2], templates = 0;
    for (int i = 0; i < g->high; i++)
        templates += g->children[i].used && g->children[i].fork_socket >= 0;
    if (templates >= GUARD_MAX_TEMPLATES) {
        errno = EAGAIN;
        return -1;
    }
    if (GUARD_SYS("socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) != 0)
        return -1;
    int no = 0;
    setsockopt(pair[0], SOL_SOCKET, SOCKET_PASS_RIGHTS, &no, sizeof no); /* as far as this kernel can */
    c->fork_socket = pair[0];
    return pair[1];
}

static struct child *find_template(struct guard *g, uint64_t token)
{
    for (int i = 0; i < g->high; i++) {
        struct child *t = &g->children[i];
        if (t->used && t->alive && t->fork_socket >= 0 && t->token == token)
            return t;
    }
    return NULL;
}

/* 0 or an errno. */
static int send_fork(struct guard *g, struct child *t, const struct child *c, uint32_t mask, const int *fds, int n_fds)
{
    struct guard_msg m = {.kind = GUARD_FORK, .token = c->serial, .pid = g->pid, .number = mask};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FORK_FDS)];
    } control;
    size_t bytes = sizeof(int) * (size_t)n_fds;
    memcpy(m.text, c->worker_id, sizeof m.text);
    memset(&control, 0, sizeof control);
    struct iovec iov = {&m, sizeof m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(bytes)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&h);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(cmsg), fds, bytes);
    ssize_t n = GUARD_SYS("sendfork", sendmsg(t->fork_socket, &h, MSG_DONTWAIT | MSG_NOSIGNAL));
    return n == (ssize_t)sizeof m ? 0 : errno;
}

void fork_ask(struct guard *g, const struct guard_msg *m, const int *fds, int n_fds)
{
    struct child *c = table_add(g);
    if (c == NULL) /* the socket is not read while a refusal waits */
        return;
    c->token = m->token;
    c->serial = ++g->serial;
    memcpy(c->worker_id, m->text, sizeof c->worker_id);
    c->worker_id[sizeof c->worker_id - 1] = '\0';
    struct child *t = find_template(g, m->of);
    uint32_t mask = m->number & (GUARD_HAS_SEGMENT | GUARD_HAS_STDOUT | GUARD_HAS_STDERR);
    int error = 0, wanted = 2 + __builtin_popcount(mask);
    if (c == &g->children[TABLE])
        error = EAGAIN;
    else if (t == NULL)
        error = ESRCH;
    else if (n_fds != wanted || n_fds > FORK_FDS)
        error = EMFILE; /* the kernel drops descriptors that the guard has no number for */
    else
        error = send_fork(g, t, c, mask, fds, n_fds);
    if (error != 0) {
        table_start_failed(c, "template", error);
        return;
    }
    c->of = t->serial;
    uint64_t now = clock_ms();
    c->due_ms = now + GUARD_FORK_MS;
    c->most_ms = now + GUARD_FORK_MOST_MS;
    g->forking++;
}

/* The template owes no answer for it any more. */
static void settle(struct guard *g, struct child *c)
{
    c->of = 0;
    if (--g->forking > 0)
        return;
    g->retry = g->retry || g->left_alone;
    g->left_alone = false;
}

static bool fail_all(struct guard *g, const struct child *t, int error)
{
    bool any = false;
    for (int i = 0; i < g->high; i++) {
        struct child *c = &g->children[i];
        if (!c->used || c->of != t->serial)
            continue;
        settle(g, c);
        table_start_failed(c, "template", error);
        any = true;
    }
    return any;
}

/* One that owes answers has perhaps made what it never told of: that is found when it is dead. Killed before its socket closes: the end of
 * that would let it go on for a while, and end in a way of its own. */
static void close_socket(struct guard *g, struct child *t, int error, bool kills)
{
    int fd = t->fork_socket;
    t->fork_socket = -1;
    if ((fail_all(g, t, error) || kills) && t->alive)
        kill_child(t, SIGKILL);
    close(fd);
}

static bool is_new_child(struct guard *g, pid_t said)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    return said > 1 && waitid(P_PID, (id_t)said, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && table_find(g, said) == NULL;
}

/* What a template says of its failure is its own affair; its host is told what a fork can fail with, and nothing else. */
static int believable(int error)
{
    static const int known[] = {EAGAIN, ENOMEM, EPERM, EACCES, ENOSYS, EINVAL, EMFILE, ENFILE, ENOSPC, ENOTSUP, EPROTO};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i] == error)
            return error;
    return EIO;
}

/* false: nonsense. */
static bool on_forked(struct guard *g, struct child *t, struct guard_msg *m)
{
    struct child *c = NULL;
    for (int i = 0; i < g->high && c == NULL; i++)
        if (g->children[i].used && g->children[i].of == t->serial && g->children[i].serial == m->token)
            c = &g->children[i];
    m->text[sizeof c->call - 1] = '\0';
    if (c == NULL || m->kind != GUARD_FORKED)
        return false;
    if (m->error > 0) {
        settle(g, c);
        table_start_failed(c, m->text, believable(m->error));
        return true;
    }
    if (m->error != 0 || !is_new_child(g, m->pid))
        return false;
    c->alive = true; /* from here on it is ours to signal and to reap */
    c->pid = m->pid;
    c->pidfd = (int)GUARD_SYS("fork_pidfd", syscall(SYS_pidfd_open, c->pid, 0));
    settle(g, c);
    if (c->pidfd < 0) { /* nobody could tell its death: it may not live */
        table_start_failed(c, "pidfd_open", errno);
        kill_child(c, SIGKILL);
    }
    c->spawned_due = true;
    return true;
}

/* One message. 1: taken; 0: none there; -1: the end; -2: nonsense. */
static int receive(struct guard *g, struct child *t)
{
    struct guard_msg m;
    ssize_t n = GUARD_SYS("recvfork", recv(t->fork_socket, &m, sizeof m, MSG_DONTWAIT | MSG_TRUNC));
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS)) {
        g->retry = g->retry || errno != EAGAIN;
        return 0;
    }
    if (n == (ssize_t)sizeof m)
        return on_forked(g, t, &m) ? 1 : -2;
    return n <= 0 ? -1 : -2;
}

void fork_read(struct guard *g, struct child *t)
{
    int rc = 1;
    for (int i = 0; i < ANSWERS_A_TURN && rc > 0; i++)
        rc = receive(g, t);
    if (rc == -1)
        close_socket(g, t, ESRCH, false);
    else if (rc == -2)
        close_socket(g, t, EPROTO, true);
}

void fork_template_gone(struct guard *g, struct child *t)
{
    fork_read(g, t); /* what it had said before it died counts */
    if (t->fork_socket >= 0)
        close_socket(g, t, ESRCH, false);
}

/* It runs, or waits for a CPU or a disk: a busy machine, or a template of many gigabytes. */
static bool is_at_work(const struct child *t)
{
    int parent;
    char state = proc_state(t->pid, &parent);
    return state == 'R' || state == 'D';
}

static void expire(struct guard *g, struct child *c, uint64_t now)
{
    for (int i = 0; i < g->high && c->of != 0; i++) {
        struct child *t = &g->children[i];
        if (!t->used || t->serial != c->of)
            continue;
        if (now < c->most_ms && is_at_work(t))
            c->due_ms = now + AGAIN_MS;
        else
            close_socket(g, t, ETIMEDOUT, true);
    }
}

void fork_cancel(struct guard *g, const struct child *c)
{
    for (int i = 0; i < g->high; i++) {
        struct child *t = &g->children[i];
        if (!t->used || t->serial != c->of)
            continue;
        close_socket(g, t, ETIMEDOUT, true);
        return;
    }
}

void fork_expire(struct guard *g)
{
    uint64_t now = g->forking > 0 ? clock_ms() : 0;
    for (int i = 0; i < g->high && g->forking > 0; i++) {
        struct child *c = &g->children[i];
        if (!c->used || c->of == 0 || c->due_ms > now)
            continue;
        expire(g, c, now);
    }
}

int fork_wait_ms(const struct guard *g)
{
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < g->high && g->forking > 0; i++)
        if (g->children[i].used && g->children[i].of != 0 && g->children[i].due_ms < first)
            first = g->children[i].due_ms;
    if (first == UINT64_MAX)
        return -1;
    uint64_t now = clock_ms();
    return first > now ? (int)(first - now) : 0;
}
