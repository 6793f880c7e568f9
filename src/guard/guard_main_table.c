/* The children that the host asked for: from the request to the last message about them.
 *
 * Invariants
 *  1. A slot is free again when its process has been reaped and every message about it is out.
 *  2. A child is never reaped between its fork and pidfd_open: the pidfd is that of the child.
 *  3. The guard never blocks on its socket: what does not fit stays due in its slot, so nothing is queued anywhere else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard/guard_main.h"

struct child *table_add(struct guard *g)
{
    for (int i = 0; i <= TABLE; i++) {
        struct child *c = &g->children[i];
        if (c->used)
            continue;
        memset(c, 0, sizeof *c);
        c->used = true;
        c->report = c->pidfd = c->fork_socket = -1;
        if (i >= g->high)
            g->high = i + 1;
        return c;
    }
    return NULL;
}

struct child *table_find(struct guard *g, pid_t pid)
{
    for (int i = 0; i < g->high; i++)
        if (g->children[i].used && g->children[i].alive && g->children[i].pid == pid)
            return &g->children[i];
    return NULL;
}

void table_start_failed(struct child *c, const char *call, int error)
{
    c->failed = true;
    c->error = error;
    snprintf(c->call, sizeof c->call, "%s", call);
    c->spawned_due = true;
}

static void fork_child(struct guard *g, struct child *c, const struct spawn_fds *fds)
{
    int report[2];
    if (GUARD_SYS("pipe", pipe2(report, O_CLOEXEC)) != 0) {
        table_start_failed(c, "pipe", errno);
        return;
    }
    pid_t pid = GUARD_SYS("fork", fork());
    if (pid == 0) {
        close(report[0]);
        child_run(g->pid, c->serial, report[1], fds);
    }
    int error = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        table_start_failed(c, "fork", error);
        return;
    }
    c->alive = true;
    c->pid = pid;
    c->pidfd = (int)GUARD_SYS("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
    if (c->pidfd < 0) { /* nobody could tell its death: it may not live */
        table_start_failed(c, "pidfd_open", errno);
        kill(pid, SIGKILL);
        close(report[0]);
        return;
    }
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    c->report = report[0];
    g->starting++;
}

static void start_template(struct guard *g, struct child *c, const struct spawn_fds *fds)
{
    struct spawn_fds with_socket = *fds;
    c->is_template = true;
    with_socket.segment = fork_open_socket(g, c);
    if (with_socket.segment < 0) {
        table_start_failed(c, "socketpair", errno);
        return;
    }
    fork_child(g, c, &with_socket);
    close(with_socket.segment);
    if (!c->alive) {
        close(c->fork_socket);
        c->fork_socket = -1;
    }
}

void table_start(struct guard *g, const struct guard_msg *m, const struct spawn_fds *fds)
{
    struct child *c = table_add(g);
    if (c == NULL) /* the socket is not read while a refusal waits */
        return;
    c->token = m->token;
    c->serial = ++g->serial;
    memcpy(c->worker_id, m->text, sizeof c->worker_id);
    c->worker_id[sizeof c->worker_id - 1] = '\0';
    if (c == &g->children[TABLE])
        table_start_failed(c, "table", EAGAIN);
    else if (fds->request < 0 || fds->control < 0)
        table_start_failed(c, "recvmsg", EMFILE); /* the kernel drops descriptors that the guard has no number for */
    else if ((m->number & GUARD_IS_TEMPLATE) != 0)
        start_template(g, c, fds);
    else
        fork_child(g, c, fds);
}

void table_cancel(struct guard *g, uint64_t token)
{
    for (int i = 0; i < g->high; i++) {
        struct child *c = &g->children[i];
        if (!c->used || c->token != token)
            continue;
        if (c->of != 0) {
            fork_cancel(g, c);
        } else if (c->report >= 0) {
            close(c->report);
            c->report = -1;
            g->starting--;
            table_start_failed(c, "exec", ETIMEDOUT);
            if (c->alive)
                kill_child(c, SIGKILL);
        }
        return;
    }
}

/* The pipe ends without a word when the program runs (or the child died before it could say anything: its end is reported then). */
void table_read_report(struct guard *g, struct child *c)
{
    struct child_failure f;
    ssize_t n = read(c->report, &f, sizeof f);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close(c->report);
    c->report = -1;
    g->starting--;
    if (n == (ssize_t)sizeof f) {
        f.call[sizeof f.call - 1] = '\0';
        table_start_failed(c, f.call, f.error);
    } else {
        c->spawned_due = true;
    }
}

/* true: sent, or nobody will ever read it. */
static bool send_msg(struct guard *g, const struct guard_msg *m, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec iov = {(void *)(uintptr_t)m, sizeof *m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n = GUARD_SYS("sendmsg", sendmsg(g->control, &h, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (n >= 0)
        return true;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
        g->ending = true;
        return true;
    }
    if (errno == EAGAIN)
        g->blocked = true;
    else
        g->retry = true;
    return false;
}

static bool send_spawned(struct guard *g, struct child *c)
{
    struct guard_msg m = {.kind = GUARD_SPAWNED, .token = c->token, .pid = c->failed ? 0 : c->pid, .error = c->error};
    memcpy(m.text, c->call, sizeof c->call);
    if (g->control >= 0 && !send_msg(g, &m, c->failed ? -1 : c->pidfd))
        return false;
    c->spawned_due = false;
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->pidfd = -1;
    return true;
}

static bool send_exited(struct guard *g, struct child *c)
{
    struct guard_msg m = {
        .kind = GUARD_EXITED, .token = c->token, .pid = c->pid, .code = c->code, .status = c->status, .used = c->used_by};
    if (g->control >= 0 && !send_msg(g, &m, -1))
        return false;
    c->exited_due = false;
    return true;
}

void table_send_due(struct guard *g)
{
    for (int i = 0; i < g->high; i++) {
        struct child *c = &g->children[i];
        if (!c->used)
            continue;
        if (c->spawned_due && !send_spawned(g, c))
            return;
        if (c->exited_due && !send_exited(g, c))
            return;
        c->used = c->alive || c->report >= 0 || c->of != 0;
    }
}
