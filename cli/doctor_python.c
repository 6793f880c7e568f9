/* Which interpreter a pool would run, and whether it does: it is asked to say what it is, with a time limit. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_MS = 10000 };

static const char question[] =
    "import json, platform, sys\n"
    "gil = getattr(sys, '_is_gil_enabled', lambda: True)()\n"
    "print(json.dumps({'executable': sys.executable, 'version': platform.python_version(), 'major': sys.version_info[0],\n"
    "    'minor': sys.version_info[1], 'implementation': platform.python_implementation(), 'gil': bool(gil),\n"
    "    'prefix': sys.prefix, 'venv': sys.prefix != sys.base_prefix}))\n";

extern char **environ;

static int spawn_python(const char *path, pid_t *ret_pid, int *ret_fd)
{
    int fds[2];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, pipe_signal;
    char command[] = "-c", isolated[] = "-I";
    char *argv[] = {(char *)(uintptr_t)path, isolated, command, (char *)(uintptr_t)question, NULL};

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
        rc = posix_spawnp(ret_pid, path, &actions, &attributes, argv, environ);
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

/* What the interpreter says of itself; NULL after a row has said why not. */
static pit_value *ask(struct doctor *d)
{
    char answer[4096];
    pid_t pid = 0;
    int fd = -1, status = 0;
    pit_value *v = NULL;
    int rc = spawn_python(d->python.path, &pid, &fd);

    if (rc != 0) {
        doctor_row(d, STATUS_FAIL, "python", "name a Python 3.9 or later by SNAKEPIT_PYTHON or --python",
                   "%s (%s) does not run: %s", d->python.path, d->python.why, strerror(rc));
        return NULL;
    }
    ssize_t n = read_answer(d, fd, answer, sizeof answer);
    if (n < 0)
        (void)kill(pid, SIGKILL);
    (void)close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (d->in->signal != 0)
        return NULL;
    if (n < 0 || pit_value_parse_json(answer, (size_t)n, &v, NULL) != 0)
        doctor_row(d, STATUS_FAIL, "python", "name a Python 3.9 or later by SNAKEPIT_PYTHON or --python", "%s (%s) %s",
                   d->python.path, d->python.why, n < 0 ? "gave no answer in time" : "is no Python, or is broken");
    return v;
}

static void row_venv(struct doctor *d, const pit_value *v)
{
    bool venv = false;
    const char *active = getenv("VIRTUAL_ENV"), *prefix = pit_value_str_or(pit_value_get(v, "prefix"), "?");

    (void)pit_value_get_bool(pit_value_get(v, "venv"), &venv);
    if (venv && active != NULL && *active != '\0' && strcmp(active, prefix) != 0)
        doctor_row(d, STATUS_WARN, "venv", "unset SNAKEPIT_PYTHON, or activate the one that you mean",
                   "%s, but %s is the active one", prefix, active);
    else if (venv)
        doctor_row(d, STATUS_OK, "venv", NULL, "%s", prefix);
    else
        doctor_row(d, STATUS_OK, "venv", NULL, "none: the packages of %s", prefix);
}

bool doctor_python(struct doctor *d)
{
    if (!python_find(d->python_option, &d->python)) {
        doctor_row(d, STATUS_FAIL, "python", "install python3, or name one by SNAKEPIT_PYTHON", "no interpreter was found");
        return false;
    }
    pit_value *v = ask(d);
    if (v == NULL)
        return false;
    int64_t major = 0, minor = 0;
    bool gil = true;
    (void)pit_value_get_int(pit_value_get(v, "major"), &major);
    (void)pit_value_get_int(pit_value_get(v, "minor"), &minor);
    (void)pit_value_get_bool(pit_value_get(v, "gil"), &gil);
    bool good = major > 3 || (major == 3 && minor >= 9);
    doctor_row(d, good ? STATUS_OK : STATUS_FAIL, "python",
               good ? NULL : "Python 3.9 or later: name it by SNAKEPIT_PYTHON or --python", "%s (%s)", d->python.path,
               d->python.why);
    doctor_row(d, good ? STATUS_OK : STATUS_FAIL, "python_version", NULL, "%s %s, %s",
               pit_value_str_or(pit_value_get(v, "implementation"), "?"), pit_value_str_or(pit_value_get(v, "version"), "?"),
               gil ? "with the GIL: one lane a worker" : "without the GIL");
    row_venv(d, v);
    pit_value_free(v);
    return good;
}
