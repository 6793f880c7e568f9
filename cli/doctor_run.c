/* Running a small program for what it says, with a time limit, and so that Ctrl-C ends the wait. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_MS = 10000 };

extern char **environ;

static int start(const char *const *argv, pid_t *ret_pid, int *ret_fd)
{
    int fds[2];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, pipe_signal;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return errno;
    (void)sigemptyset(&none);
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    int rc = posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (rc == 0)
        rc = posix_spawnp(ret_pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(fds[1]);
    if (rc == 0)
        *ret_fd = fds[0];
    else
        (void)close(fds[0]);
    return rc;
}

/* Reads to the end of the pipe, the time limit, or a signal; the length, or -1. */
static ssize_t read_answer(struct doctor *d, int fd, char *buffer, size_t room)
{
    uint64_t end = pit_now_ns() + ANSWER_MS * UINT64_C(1000000);
    size_t n = 0;

    while (n < room) {
        struct pollfd fds[2] = {{fd, POLLIN, 0}, {d->in->fd, POLLIN, 0}};
        uint64_t now = pit_now_ns();
        if (now >= end || poll(fds, 2, (int)((end - now) / 1000000) + 1) < 0)
            return -1;
        if (interrupt_check(d->in) != 0)
            return -1;
        if (fds[0].revents == 0)
            continue;
        ssize_t got = read(fd, buffer + n, room - n);
        if (got < 0)
            return -1;
        if (got == 0)
            return (ssize_t)n;
        n += (size_t)got;
    }
    return -1;
}

int doctor_run(struct doctor *d, const char *const *argv, char *buffer, size_t room)
{
    pid_t pid = 0;
    int fd = -1, status = 0;
    int rc = start(argv, &pid, &fd);

    buffer[0] = '\0';
    if (rc != 0)
        return rc;
    ssize_t n = read_answer(d, fd, buffer, room - 1);
    buffer[n > 0 ? n : 0] = '\0';
    if (n < 0)
        (void)kill(pid, SIGKILL);
    (void)close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return n < 0 ? ETIMEDOUT : 0;
}
