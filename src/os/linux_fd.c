/* Descriptors: sockets, pipes, waiting for one, epoll. Contracts: os.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/pass_rights.h"
#include "os/linux.h"

static int make_non_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ? -errno : 0;
}

/* Only our end is non-blocking: the child's belongs to the child, and the flag lives in the open file, not in the descriptor. */
static int finish_pair(int fds[2], int error, int ret_fds[2])
{
    if (error == 0)
        error = make_non_blocking(fds[0]);
    if (error != 0) {
        linux_close(fds[0]);
        linux_close(fds[1]);
        return error;
    }
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return 0;
}

int linux_socketpair(int ret_fds[2])
{
    int fds[2] = {-1, -1};
    int error = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 ? -errno : 0;
    return finish_pair(fds, error, ret_fds);
}

int linux_pipe(int ret_fds[2])
{
    int fds[2] = {-1, -1};
    int error = pipe2(fds, O_CLOEXEC) != 0 ? -errno : 0;
    return finish_pair(fds, error, ret_fds);
}

int linux_refuse_fds(int fd)
{
    int no = 0;
    if (setsockopt(fd, SOL_SOCKET, SOCKET_PASS_RIGHTS, &no, sizeof no) == 0)
        return 0;
    return errno == ENOPROTOOPT || errno == EOPNOTSUPP ? 0 : -errno;
}

ssize_t linux_send(int fd, const void *data, size_t n)
{
    return (ssize_t)LINUX_RETRY(send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT));
}

ssize_t linux_recv(int fd, void *data, size_t n)
{
    return (ssize_t)LINUX_RETRY(recv(fd, data, n, MSG_DONTWAIT));
}

union fds_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * OS_MAX_FDS)];
};

int linux_send_fds(int fd, const void *data, size_t n, const int *fds, int n_fds)
{
    if (n_fds < 0 || n_fds > OS_MAX_FDS)
        return -EINVAL;
    size_t bytes = sizeof(int) * (size_t)n_fds;
    union fds_control control;
    memset(&control, 0, sizeof control);
    struct iovec iov = {(void *)(uintptr_t)data, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), fds, bytes);
    }
    return (int)LINUX_RETRY(sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* Descriptors that do not fit the caller's room are closed, never leaked. */
static int take_fds(struct msghdr *m, int *ret_fds, int room)
{
    int count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < room)
                ret_fds[count++] = fd;
            else
                linux_close(fd);
        }
    }
    return count;
}

ssize_t linux_recv_fds(int fd, void *data, size_t n, int *ret_fds, int *ret_n_fds)
{
    union fds_control control;
    struct iovec iov = {data, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    int room = *ret_n_fds;
    *ret_n_fds = 0;
    ssize_t got = (ssize_t)LINUX_RETRY(recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (got >= 0)
        *ret_n_fds = take_fds(&m, ret_fds, room);
    return got;
}

ssize_t linux_read(int fd, void *data, size_t n)
{
    return (ssize_t)LINUX_RETRY(read(fd, data, n));
}

ssize_t linux_write(int fd, const void *data, size_t n)
{
    return (ssize_t)LINUX_RETRY(write(fd, data, n));
}

int linux_shutdown(int fd)
{
    return shutdown(fd, SHUT_RDWR) != 0 ? -errno : 0;
}

int linux_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : copy;
}

/* The descriptor is gone whatever close says, EINTR included: never repeated. */
void linux_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

int linux_poll_one(int fd, enum os_wait what, uint64_t deadline_ns)
{
    static const short events[] = {[OS_READABLE] = POLLIN, [OS_WRITABLE] = POLLOUT, [OS_EITHER] = POLLIN | POLLOUT};
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events[what]};
        uint64_t now = deadline_ns == UINT64_MAX ? 0 : linux_now_ns();
        struct timespec left = linux_timespec(deadline_ns > now ? deadline_ns - now : 0);
        int rc = ppoll(&p, 1, deadline_ns == UINT64_MAX ? NULL : &left, NULL);
        if (rc > 0)
            return (p.revents & POLLNVAL) != 0 ? -EBADF : 1;
        if (rc == 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int linux_epoll_create(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int linux_epoll_ctl(int ep, int op, int fd, uint32_t events, void *data)
{
    struct epoll_event e = {.events = events, .data.ptr = data};
    return epoll_ctl(ep, op, fd, &e) != 0 ? -errno : 0;
}

/* Containers may refuse epoll_pwait2 and old kernels lack it: then milliseconds, rounded up, never early. */
static int wait_for(int ep, struct epoll_event *events, int max, uint64_t ns)
{
    struct timespec left = linux_timespec(ns);
    int rc = epoll_pwait2(ep, events, max, &left, NULL);
    if (rc >= 0 || (errno != ENOSYS && errno != EPERM))
        return rc;
    uint64_t ms = (ns + 999999u) / 1000000u;
    return epoll_wait(ep, events, max, ms > 86400000u ? 86400000 : (int)ms);
}

int linux_epoll_wait(int ep, void *events, int max, uint64_t deadline_ns)
{
    for (;;) {
        int rc;
        if (deadline_ns == 0 || deadline_ns == UINT64_MAX) {
            rc = epoll_wait(ep, events, max, deadline_ns == 0 ? 0 : -1);
        } else {
            uint64_t now = linux_now_ns();
            rc = wait_for(ep, events, max, deadline_ns > now ? deadline_ns - now : 0);
        }
        if (rc >= 0)
            return rc;
        if (errno != EINTR)
            return -errno;
    }
}

int linux_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
