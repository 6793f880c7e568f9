/* snakepit-guard: the one process that a host starts, and the parent and reaper of everything else.
 *
 *   host --socket, pidfd of the host--> guard --fork, exec--> worker (own session and group, dies with the guard)
 *
 * Invariants
 *  1. One thread, static tables, no allocation: nothing here can fail for want of memory once it has said HELLO.
 *  2. It holds nothing of the host's: own session, own signal dispositions, /dev/null as 0, 1, 2, every other descriptor closed.
 *  3. When the host's pidfd becomes readable or its socket ends, every group and every child is killed, those that are still to come
 *     too, until there is none; then the guard ends. A copy of the socket in a forked child of the host does not matter to the pidfd.
 *     A guard that is stopped then is continued by the kernel.
 *  4. The dead are looked at before requests are: a request that was sent because a worker died finds the worker's traces gone.
 *  5. What templates say is heard before the dead are looked at: a worker that has died already is known by then.
 *
 * Failure: of a step of the start: HELLO carries it. Later: a failing call is told in the answer to the request that needed it, or
 * tried again after a moment. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guard/guard_main.h"

enum { AGAIN_MS = 10, ENDING_MS = 50 };

static struct guard the_guard;

static const char *reset_signals(void)
{
    struct sigaction dfl, ign;
    memset(&dfl, 0, sizeof dfl);
    memset(&ign, 0, sizeof ign);
    dfl.sa_handler = SIG_DFL;
    ign.sa_handler = SIG_IGN;
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &dfl, NULL);
    const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        sigaction(ignored[i], &ign, NULL);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    return sigprocmask(SIG_SETMASK, &children, NULL) != 0 ? "sigprocmask" : NULL;
}

static const char *take_null(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return "open /dev/null";
    for (int i = 0; i < 3; i++)
        if (fd != i && dup2(fd, i) < 0)
            return "dup2";
    return NULL;
}

/* The call that failed, with errno, or NULL. */
static const char *set_up(struct guard *g)
{
    g->pid = getpid();
    g->control = GUARD_FD_CONTROL;
    g->host = GUARD_FD_HOST;
    if (setsid() < 0 && errno != EPERM) /* EPERM: the host has given us a session already */
        return "setsid";
    const char *failed = reset_signals();
    if (failed == NULL)
        failed = take_null();
    if (failed != NULL)
        return failed;
    close_from(GUARD_FD_HOST + 1);
    if (fcntl(g->control, F_SETFD, FD_CLOEXEC) != 0 || fcntl(g->host, F_SETFD, FD_CLOEXEC) != 0)
        return "fcntl";
    prctl(PR_SET_NAME, "snakepit-guard");
    /* a stopped guard could not see the death of its host; where it is not stopped, this does nothing, however often it comes (the
     * signal follows the thread that started us) */
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    if (GUARD_SYS("prctl", prctl(PR_SET_CHILD_SUBREAPER, 1)) != 0)
        return "prctl";
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    g->signals = GUARD_SYS("signalfd", signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
    return g->signals < 0 ? "signalfd" : NULL;
}

static void say_hello(struct guard *g, const char *failed, int error)
{
    struct guard_msg m = {.kind = GUARD_HELLO, .number = GUARD_PROTOCOL, .pid = g->pid};
    if (failed != NULL) {
        m.error = error;
        snprintf(m.text, sizeof m.text, "%s", failed);
    }
    if (send(g->control, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof m || failed != NULL)
        _exit(1);
}

/* What the host's message brings, in the order that guard_msg.h names; the rest stays -1. */
static void sort_fds(const int *fds, int n, uint32_t mask, struct spawn_fds *ret)
{
    int at = 0;
    ret->request = at < n ? fds[at++] : -1;
    ret->control = at < n ? fds[at++] : -1;
    ret->segment = (mask & GUARD_HAS_SEGMENT) != 0 && at < n ? fds[at++] : -1;
    ret->out = (mask & GUARD_HAS_STDOUT) != 0 && at < n ? fds[at++] : -1;
    ret->err = (mask & GUARD_HAS_STDERR) != 0 && at < n ? fds[at++] : -1;
    bool lost = ((mask & GUARD_HAS_SEGMENT) != 0 && ret->segment < 0) || ((mask & GUARD_HAS_STDOUT) != 0 && ret->out < 0) ||
                ((mask & GUARD_HAS_STDERR) != 0 && ret->err < 0);
    if (lost)
        ret->request = -1;
}

int guard_take_fds(struct msghdr *h, int *fds, int room)
{
    int count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len && count < room; i++)
            memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return count;
}

static void on_message(struct guard *g, const struct guard_msg *m, const int *fds, int n_fds)
{
    struct spawn_fds sorted;
    g->keeps = g->keeps || ((m->kind == GUARD_SPAWN || m->kind == GUARD_FORK) && (m->number & GUARD_KEEPS) != 0);
    switch (m->kind) {
    case GUARD_SPAWN:
        sort_fds(fds, n_fds, m->number, &sorted);
        table_start(g, m, &sorted);
        break;
    case GUARD_FORK:
        fork_ask(g, m, fds, n_fds);
        break;
    case GUARD_KILL:
        kill_group(g, m->pid, (int)m->number);
        break;
    case GUARD_CANCEL:
        table_cancel(g, m->token);
        break;
    default: /* QUIT, or a host that speaks another language */
        g->ending = true;
        break;
    }
    for (int i = 0; i < n_fds; i++)
        close(fds[i]);
}

static bool receive(struct guard *g)
{
    enum { MOST_FDS = 8 };
    struct guard_msg m;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS)];
    } control;
    struct iovec iov = {&m, sizeof m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n = GUARD_SYS("recvmsg", recvmsg(g->control, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM || errno == ENOBUFS)) {
        g->retry = g->retry || errno == ENOMEM || errno == ENOBUFS;
        return false;
    }
    int fds[MOST_FDS], n_fds = n > 0 ? guard_take_fds(&h, fds, MOST_FDS) : 0;
    if (n != (ssize_t)sizeof m) { /* the end, or half a message: nothing that follows could be trusted */
        for (int i = 0; i < n_fds; i++)
            close(fds[i]);
        g->ending = true;
        close(g->control);
        g->control = -1;
        return false;
    }
    on_message(g, &m, fds, n_fds);
    return true;
}

static bool has_room(const struct guard *g)
{
    return g->starting < GUARD_MAX_STARTING && !g->children[TABLE].used;
}

static int wait_ms(const struct guard *g)
{
    if (g->retry || g->rescan)
        return AGAIN_MS;
    return g->ending ? ENDING_MS : fork_wait_ms(g);
}

/* The children that say something before they run, or make others. */
static nfds_t watch_children(struct guard *g, struct pollfd *p, struct child **who)
{
    nfds_t n = 0;
    int starting = 0, templates = 0;
    for (int i = 0; i < g->high; i++) {
        struct child *c = &g->children[i];
        if (!c->used)
            continue;
        if (c->report >= 0 && starting++ < GUARD_MAX_STARTING) {
            who[n] = c;
            p[n++] = (struct pollfd){.fd = c->report, .events = POLLIN};
        }
        if (c->fork_socket >= 0 && templates++ < GUARD_MAX_TEMPLATES) {
            who[n] = c;
            p[n++] = (struct pollfd){.fd = c->fork_socket, .events = POLLIN};
        }
    }
    return n;
}

/* One wait. The host's messages are left in the socket while too many children are starting, or an answer is stuck. */
static void wait_for_work(struct guard *g)
{
    enum { CONTROL, HOST, SIGNALS, FIXED, MOST = GUARD_MAX_STARTING + GUARD_MAX_TEMPLATES };
    struct pollfd p[FIXED + MOST];
    struct child *who[MOST];
    bool reads = !g->ending && !g->blocked && has_room(g);
    p[CONTROL] = (struct pollfd){.fd = g->control, .events = (short)((reads ? POLLIN : 0) | (g->blocked ? POLLOUT : 0))};
    p[HOST] = (struct pollfd){.fd = g->host, .events = POLLIN};
    p[SIGNALS] = (struct pollfd){.fd = g->signals, .events = POLLIN};
    nfds_t n = FIXED + watch_children(g, p + FIXED, who);
    int limit = wait_ms(g);
    g->retry = false;
    if (poll(p, n, limit) < 0) {
        usleep(AGAIN_MS * 1000); /* out of memory, most likely; nothing below blocks, so all of it is tried */
        for (nfds_t i = 0; i < n; i++)
            p[i].revents = i == HOST ? 0 : POLLIN;
    }
    struct signalfd_siginfo seen;
    while (p[SIGNALS].revents != 0 && read(g->signals, &seen, sizeof seen) == (ssize_t)sizeof seen)
        ;
    for (nfds_t i = FIXED; i < n; i++) {
        struct child *c = who[i - FIXED];
        if (p[i].revents != 0 && p[i].fd == c->report)
            table_read_report(g, c);
        else if (p[i].revents != 0 && p[i].fd == c->fork_socket)
            fork_read(g, c);
    }
    fork_expire(g);
    if (p[CONTROL].revents != 0)
        g->blocked = false;
    if (p[HOST].revents != 0) {
        g->ending = true;
        g->host = -1; /* not closed: a table entry that nobody needs, against a number that somebody might be given */
        if (g->control >= 0)
            close(g->control);
        g->control = -1;
    }
    reap_all(g);
    if (g->control >= 0 && (p[CONTROL].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !g->ending)
        receive(g);
}

/* Where /proc cannot be read, orphans cannot be named, and cannot be waited out either. */
static bool nobody_left(const struct guard *g)
{
    if (g->childless || !g->blind)
        return g->childless || (g->keeps && g->strangers == 0);
    for (int i = 0; i < g->high; i++)
        if (g->children[i].used && g->children[i].alive)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct guard *g = &the_guard;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("snakepit-guard %s\n", SNAKEPIT_VERSION) < 0 || fflush(stdout) != 0;
    if (fcntl(GUARD_FD_CONTROL, F_GETFD) < 0 || fcntl(GUARD_FD_HOST, F_GETFD) < 0) {
        fprintf(stderr, "%s: started by libsnakepit, not by hand\n", argc > 0 ? argv[0] : "snakepit-guard");
        return 2;
    }
#ifdef GUARD_FAULTS
    fault_parse(argc, argv);
#endif
    const char *failed = set_up(g);
    say_hello(g, failed, errno);
    for (;;) {
        wait_for_work(g);
        table_send_due(g);
        if (!g->ending)
            continue;
        kill_all(g);
        reap_all(g);
        table_send_due(g);
        if (nobody_left(g))
            return 0;
    }
}
