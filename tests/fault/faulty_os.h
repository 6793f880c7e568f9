/* A seam whose k-th call fails, for the fault tests of everything above it.
 *
 *   faulty_init(); faulty_arm(k); ... use &faulty_os ...; faulty_hit() names the call that failed, NULL: fewer than k were made.
 *
 * What the kernel cannot refuse for want of something (closing, killing, the clock, a ring of the eventfd, the end of watching) is passed
 * on and not counted.
 * Thread: any; one fault per arming. */
#ifndef TESTS_FAULTY_OS_H
#define TESTS_FAULTY_OS_H

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "os/os.h"

static struct os_ops faulty_os;
static atomic_long faulty_at, faulty_calls;
static _Atomic(const char *) faulty_name;

static bool faulty_now(const char *name)
{
    long at = atomic_load(&faulty_at);
    if (at == 0 || atomic_fetch_add(&faulty_calls, 1) + 1 != at)
        return false;
    atomic_store(&faulty_name, name);
    return true;
}

/* X(return type, name, errno, parameters, arguments) */
#define FAULTY_LIST(X)                                                                                                         \
    X(int, random, EIO, (void *buf, size_t n), (buf, n))                                                                       \
    X(int, segment_create, ENOMEM, (const char *name, size_t n, size_t ready, void **ret_map, int *ret_fd),                    \
      (name, n, ready, ret_map, ret_fd))                                                                                       \
    X(int, memfd_sealed, EMFILE, (const char *name, const void *data, size_t n), (name, data, n))                              \
    X(int, socketpair, EMFILE, (int *ret_fds), (ret_fds))                                                                      \
    X(int, refuse_fds, ENOMEM, (int fd), (fd))                                                                                 \
    X(int, pipe, EMFILE, (int *ret_fds), (ret_fds))                                                                            \
    X(ssize_t, send, ENOBUFS, (int fd, const void *data, size_t n), (fd, data, n))                                             \
    X(ssize_t, recv, ENOMEM, (int fd, void *data, size_t n), (fd, data, n))                                                    \
    X(int, send_fds, ENOBUFS, (int fd, const void *data, size_t n, const int *fds, int n_fds), (fd, data, n, fds, n_fds))      \
    X(ssize_t, recv_fds, ENOMEM, (int fd, void *data, size_t n, int *fds, int *n_fds), (fd, data, n, fds, n_fds))              \
    X(ssize_t, read, EIO, (int fd, void *data, size_t n), (fd, data, n))                                                       \
    X(int, dup, EMFILE, (int fd), (fd))                                                                                        \
    X(int, poll_one, ENOMEM, (int fd, enum os_wait what, uint64_t deadline_ns), (fd, what, deadline_ns))                       \
    X(int, spawn, EAGAIN,                                                                                                      \
      (const char *path, char *const argv[], char *const envp[], const int *fds, int n_fds, pid_t *ret_pid, int *ret_pidfd),   \
      (path, argv, envp, fds, n_fds, ret_pid, ret_pidfd))                                                                      \
    X(int, pidfd_open, EMFILE, (pid_t pid), (pid))                                                                             \
    X(int, reap, ECHILD, (int pidfd, int *ret_code, int *ret_status), (pidfd, ret_code, ret_status))                           \
    X(int, proc_info, EMFILE, (pid_t pid, struct os_proc * ret), (pid, ret))                                                   \
    X(int, kill_by_env, EMFILE, (const char *entry), (entry))                                                                  \
    X(int, epoll_create, EMFILE, (void), ())                                                                                   \
    X(int, epoll_ctl, ENOSPC, (int ep, int op, int fd, uint32_t events, void *data), (ep, op, fd, events, data))               \
    X(int, epoll_wait, EINVAL, (int ep, void *events, int max, uint64_t deadline_ns), (ep, events, max, deadline_ns))          \
    X(int, eventfd, EMFILE, (void), ())                                                                                        \
    X(int, thread_start, EAGAIN, (pthread_t * ret, void *(*fn)(void *), void *arg), (ret, fn, arg))                            \
    X(ssize_t, write, ENOSPC, (int fd, const void *data, size_t n), (fd, data, n))                                             \
    X(int, dir_open, EACCES, (const char *path), (path))                                                                       \
    X(int, dir_names, EIO, (int dir, bool (*fn)(void *user, const char *name), void *user), (dir, fn, user))                   \
    X(int, file_create, ENOSPC, (int dir, const char *name), (dir, name))                                                      \
    X(int, file_open, EMFILE, (int dir, const char *name, struct os_file *ret), (dir, name, ret))                              \
    X(int, oom_counter, EMFILE, (void), ())                                                                                    \
    X(int64_t, oom_kills, EACCES, (int counter), (counter))                                                                    \
    X(int, cgroup_above, EACCES, (char *ret), (ret))                                                                           \
    X(int, threads, EMFILE, (pid_t pid, struct os_thread * ret, int max, bool *ret_all), (pid, ret, max, ret_all))             \
    X(int, boot_id, EACCES, (char *ret, uint64_t *ret_pid_namespace), (ret, ret_pid_namespace))

#define FAULTY_DEFINE(type, name, number, parameters, arguments)                                                               \
    static type faulty_##name parameters                                                                                       \
    {                                                                                                                          \
        return faulty_now(#name) ? -(number) : os_linux.name arguments;                                                        \
    }
FAULTY_LIST(FAULTY_DEFINE)
#undef FAULTY_DEFINE

/* To stop watching needs nothing: the kernel does not refuse it. */
static int faulty_epoll_change(int ep, int op, int fd, uint32_t events, void *data)
{
    return (op == EPOLL_CTL_DEL ? os_linux.epoll_ctl : faulty_epoll_ctl)(ep, op, fd, events, data);
}

/* A ring of an eventfd is no write to a file, though it is the same call: it has room for every ring that there is. */
static ssize_t faulty_write_or_ring(int fd, const void *data, size_t n)
{
    return (n == sizeof(uint64_t) ? os_linux.write : faulty_write)(fd, data, n);
}

static void faulty_init(void)
{
    faulty_os = os_linux;
#define FAULTY_SET(type, name, number, parameters, arguments) faulty_os.name = faulty_##name;
    FAULTY_LIST(FAULTY_SET)
#undef FAULTY_SET
    faulty_os.epoll_ctl = faulty_epoll_change;
    faulty_os.write = faulty_write_or_ring;
}

/* From here on the k-th call fails; 0: none. */
static void faulty_arm(long k)
{
    atomic_store(&faulty_at, 0);
    atomic_store(&faulty_calls, 0);
    atomic_store(&faulty_name, NULL);
    atomic_store(&faulty_at, k);
}

static const char *faulty_hit(void)
{
    return atomic_load(&faulty_name);
}

#endif
