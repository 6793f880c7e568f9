/* The worker under test of snakepit worker-check: a child with one end of a socket as descriptor 3. See check.h.
 *
 * Its own standard output goes to stderr, where its errors go: what this program prints is the checks. It has no shared memory: the second
 * number of SNAKEPIT_FDS is -1.
 *
 * Failure modes: it never reads, never ends, sends rubbish or without end: each wait has a limit, and in the end its group is killed. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { CONTROL = 3, LAST_WAIT_MS = 2000 /* of a worker whose socket is closed */ };

bool was_interrupted(const struct checker *c)
{
    return c->in->signal != 0;
}

/* ---- its process ---- */

static int spawn(struct checker *c, int fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, usual;

    (void)sigemptyset(&none);
    (void)sigfillset(&usual);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    int rc = posix_spawn_file_actions_adddup2(&actions, fd, CONTROL);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &usual);
    (void)posix_spawnattr_setpgroup(&attributes, 0);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (rc == 0)
        rc = posix_spawnp(&c->pid, c->argv[0], &actions, &attributes, c->argv, c->env);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

bool peer_start(struct checker *c)
{
    int fds[2];

    c->heard = (struct heard){.how = HEARD_UNASKED};
    c->sent.n = c->received.n = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return check_failed(c, "start", "a socket: %s", strerror(errno));
    int rc = spawn(c, fds[1]);
    (void)close(fds[1]);
    c->fd = fds[0];
    if (rc != 0) {
        (void)close(c->fd);
        c->fd = -1;
        c->pid = 0;
        return check_failed(c, "start", "%s to be started: %s", c->argv[0], strerror(rc));
    }
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    return true;
}

/* Waits for its end: its status, or -1. */
static int await_end(struct checker *c, int64_t wait_ms)
{
    uint64_t end = pit_now_ns() + (uint64_t)wait_ms * 1000000;
    int status = 0;

    if (c->pid == 0)
        return -1;
    for (;;) {
        pid_t got = waitpid(c->pid, &status, WNOHANG);
        if (got == c->pid)
            break;
        if ((got < 0 && errno != EINTR) || pit_now_ns() >= end || interrupt_check(c->in) != 0)
            return -1;
        (void)poll(NULL, 0, 2);
    }
    (void)kill(-c->pid, SIGKILL); /* what it may have left behind in its group */
    c->pid = 0;
    return status;
}

static void close_socket(struct checker *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

int peer_await_end(struct checker *c)
{
    int status = await_end(c, c->wait_ms);

    if (status >= 0)
        close_socket(c);
    return status;
}

int peer_end(struct checker *c)
{
    int status = 0;

    close_socket(c);
    if (c->pid == 0)
        return -1;
    status = await_end(c, LAST_WAIT_MS);
    if (status >= 0)
        return status;
    (void)kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    c->pid = 0;
    return -1;
}

/* ---- its socket ---- */

/* Until the socket can be read or written; false: the time is over, or a signal came. */
static bool await(struct checker *c, short events, uint64_t end_ns)
{
    for (;;) {
        struct pollfd fds[2] = {{c->fd, events, 0}, {c->in->fd, POLLIN, 0}};
        uint64_t now = pit_now_ns();
        int left = now >= end_ns ? 0 : (int)((end_ns - now) / 1000000) + 1;
        int n = poll(fds, 2, left);
        if (n < 0 && errno != EINTR)
            return false;
        if (interrupt_check(c->in) != 0)
            return false;
        if (n > 0 && fds[0].revents != 0)
            return true;
        if (now >= end_ns)
            return false;
    }
}

static bool write_all(struct checker *c, const uint8_t *data, size_t n)
{
    uint64_t end = pit_now_ns() + (uint64_t)c->wait_ms * 1000000;

    while (n > 0 && c->fd >= 0) {
        ssize_t part = send(c->fd, data, n, MSG_NOSIGNAL);
        if (part < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (part < 0 && !await(c, POLLOUT, end))
            return false;
        data += part > 0 ? part : 0;
        n -= part > 0 ? (size_t)part : 0;
    }
    return n == 0;
}

bool peer_send_raw(struct checker *c, struct span whole)
{
    c->sent.n = 0;
    bytes_put(&c->sent, whole.p, whole.n);
    return !c->sent.failed && write_all(c, c->sent.data, c->sent.n);
}

bool peer_send(struct checker *c, int kind, unsigned flags, uint64_t id, uint64_t stamp, struct span body)
{
    c->sent.n = 0;
    bytes_put_little(&c->sent, 1, 1);
    bytes_put_little(&c->sent, (uint64_t)kind, 1);
    bytes_put_little(&c->sent, flags, 2);
    bytes_put_little(&c->sent, HEADER_BYTES + body.n, 4);
    bytes_put_little(&c->sent, id, 8);
    bytes_put_little(&c->sent, stamp, 8);
    bytes_put(&c->sent, body.p, body.n);
    return !c->sent.failed && write_all(c, c->sent.data, c->sent.n);
}

/* n bytes behind those that c->received has. */
static enum heard_how read_all(struct checker *c, size_t n, uint64_t end_ns)
{
    while (n > 0) {
        uint8_t part[65536];
        ssize_t got = c->fd >= 0 ? recv(c->fd, part, n < sizeof part ? n : sizeof part, 0) : 0;
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return HEARD_END;
        if (got < 0 && !await(c, POLLIN, end_ns))
            return HEARD_NOTHING;
        bytes_put(&c->received, part, got > 0 ? (size_t)got : 0);
        n -= got > 0 ? (size_t)got : 0;
        if (c->received.failed)
            return HEARD_RUBBISH;
    }
    return HEARD_FRAME;
}

static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t u = 0;

    while (bytes-- > 0)
        u = u << 8 | p[bytes];
    return u;
}

/* Splits c->received; no worker has a use for fields, but it may send some. */
static enum heard_how split(struct checker *c)
{
    const uint8_t *p = c->received.data;
    struct span rest = {p + HEADER_BYTES, c->received.n - HEADER_BYTES};

    c->heard.kind = p[1];
    c->heard.flags = (unsigned)little(p + 2, 2);
    c->heard.id = little(p + 8, 8);
    c->heard.stamp = little(p + 16, 8);
    if ((c->heard.flags & FLAG_FIELDS) != 0) {
        uint64_t n = rest.n >= 4 ? little(rest.p, 4) : UINT64_MAX;
        if (n > rest.n - 4)
            return HEARD_RUBBISH;
        rest = (struct span){rest.p + 4 + n, rest.n - 4 - (size_t)n};
    }
    c->heard.payload = rest;
    return HEARD_FRAME;
}

static enum heard_how hear_one(struct checker *c, uint64_t end_ns)
{
    enum heard_how how;

    c->heard = (struct heard){.how = HEARD_NOTHING};
    do {
        c->received.n = 0;
        how = read_all(c, 1, end_ns);
    } while (how == HEARD_FRAME && c->received.data[0] == 0); /* bells */
    if (how == HEARD_FRAME)
        how = read_all(c, HEADER_BYTES - 1, end_ns);
    if (how != HEARD_FRAME)
        return how;
    uint64_t size = little(c->received.data + 4, 4);
    if (c->received.data[0] != 1 || size < HEADER_BYTES || size > MOST_FRAME)
        return HEARD_RUBBISH;
    how = read_all(c, (size_t)size - HEADER_BYTES, end_ns);
    return how == HEARD_FRAME ? split(c) : how;
}

enum heard_how peer_hear(struct checker *c, int64_t wait_ms)
{
    uint64_t end = pit_now_ns() + (uint64_t)(wait_ms < 0 ? c->wait_ms : wait_ms) * 1000000;
    enum heard_how how;

    do
        how = hear_one(c, end);
    while (how == HEARD_FRAME && c->heard.kind == KIND_LOG && pit_now_ns() < end);
    if (how == HEARD_FRAME && c->heard.kind == KIND_LOG)
        how = HEARD_NOTHING;
    c->heard.how = how;
    return how;
}
