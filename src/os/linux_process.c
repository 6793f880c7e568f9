/* Processes: starting the guard, pidfds, signals, reaping. Contracts: os.h.
 *
 * Invariants
 *  1. The host is never forked: vfork shares its memory, so a host of many gigabytes pays nothing and no atfork handler runs.
 *  2. Between vfork and exec only async-signal-safe calls are made, all signals are blocked, and nothing outside `struct launch`
 *     is written.
 *  3. An error of the child comes back through a close-on-exec pipe, not through the shared memory: sanitizers turn vfork into fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/linux.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct launch {
    const char *path;
    char *const *argv, *const *envp;
    const int *fds;
    int n_fds;
    int report; /* write end of the error pipe */
};

/* Descriptors first go above every place that will be filled, for a source may lie where another target is. */
static int place_fds(struct launch *l)
{
    int high[OS_MAX_FDS], floor = 3 + l->n_fds;
    int report = fcntl(l->report, F_DUPFD_CLOEXEC, floor);
    if (report < 0)
        return errno;
    l->report = report;
    for (int i = 0; i < l->n_fds; i++) {
        high[i] = fcntl(l->fds[i], F_DUPFD_CLOEXEC, floor);
        if (high[i] < 0)
            return errno;
    }
    for (int i = 0; i < l->n_fds; i++)
        if (dup2(high[i], 3 + i) < 0)
            return errno;
    /* what the host has opened without close-on-exec; where the call is refused, the guard closes it itself */
    syscall(SYS_close_range, (unsigned)floor, ~0U, CLOSE_RANGE_CLOEXEC);
    return 0;
}

__attribute__((noinline)) static void child(struct launch *l)
{
    setsid();
    struct sigaction dfl;
    memset(&dfl, 0, sizeof dfl);
    dfl.sa_handler = SIG_DFL;
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, &dfl, NULL);
    int error = place_fds(l);
    if (error == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(l->path, l->argv, l->envp);
        error = errno;
    }
    while (write(l->report, &error, sizeof error) < 0 && errno == EINTR)
        ;
    _exit(127);
}

__attribute__((noinline)) static pid_t launch(struct launch *l)
{
    pid_t pid = vfork();
    if (pid == 0)
        child(l);
    return pid;
}

static void collect(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

#define EXEC_WAIT_NS UINT64_C(2000000000)

int linux_spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int n_fds, pid_t *ret_pid,
                int *ret_pidfd)
{
    if (n_fds < 0 || n_fds > OS_MAX_FDS)
        return -EINVAL;
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    struct launch l = {path, argv, envp, fds, n_fds, report[1]};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = launch(&l);
    int error = pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    linux_close(report[1]);
    /* The child has exec'd or failed by now. Waiting has an end all the same: where vfork is fork it may take a moment, and another thread
     * that forks without exec has a copy of the pipe's other end. */
    if (pid > 0 && linux_poll_one(report[0], OS_READABLE, linux_now_ns() + EXEC_WAIT_NS) > 0 &&
        LINUX_RETRY(read(report[0], &error, sizeof error)) == (long long)sizeof error)
        collect(pid);
    linux_close(report[0]);
    if (error != 0)
        return -error;
    int pidfd = linux_pidfd_open(pid);
    if (pidfd < 0) {
        kill(pid, SIGKILL);
        collect(pid);
        return pidfd;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

int linux_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int linux_pidfd_kill(int pidfd, int sig)
{
    return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) != 0 ? -errno : 0;
}

/* 0 and 1 would mean the caller's own group and everybody. */
int linux_group_kill(pid_t pgid, int sig)
{
    if (pgid <= 1)
        return -EINVAL;
    return kill(-pgid, sig) != 0 ? -errno : 0;
}

int linux_reap(int pidfd, int *ret_code, int *ret_status)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int rc = (int)LINUX_RETRY(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG));
    if (rc != 0)
        return rc;
    if (info.si_pid == 0)
        return -EAGAIN;
    *ret_code = info.si_code;
    *ret_status = info.si_status;
    return 0;
}

/* A host that is nobody's PID 1 or subreaper has no such child and leaves at once. */
int linux_reap_group(pid_t pgid, uint64_t deadline_ns)
{
    const struct timespec moment = {.tv_nsec = 500000};
    siginfo_t info;
    int count = 0;
    if (pgid <= 1)
        return -EINVAL;
    for (;;) {
        memset(&info, 0, sizeof info);
        if (LINUX_RETRY(waitid(P_PGID, (id_t)pgid, &info, WEXITED | WNOHANG)) != 0)
            return count;
        if (info.si_pid != 0)
            count++;
        else if (linux_now_ns() >= deadline_ns)
            return count;
        else
            nanosleep(&moment, NULL);
    }
}
