/* Reads standard input to its end, ended early by a signal, the deadline, or more bytes than one call may carry. */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)256 << 20) /* JSON text: several times what fits into a frame */

struct text {
    char *bytes;
    size_t n, room;
};

static bool grow(struct text *t)
{
    if (t->n < t->room)
        return true;
    size_t room = t->room == 0 ? 65536 : t->room * 2;
    char *bytes = realloc(t->bytes, room);
    if (bytes == NULL)
        return false;
    t->bytes = bytes;
    t->room = room;
    return true;
}

/* Milliseconds for poll(); rounded up, so that the deadline has passed when it returns. */
static int time_left(uint64_t deadline_ns)
{
    uint64_t now = pit_now_ns();

    if (deadline_ns == 0)
        return -1;
    if (now >= deadline_ns)
        return 0;
    uint64_t ms = (deadline_ns - now + 999999) / 1000000;
    return ms > 3600000 ? 3600000 : (int)ms;
}

/* 0: stdin can be read; else the exit code. */
static int wait_readable(const struct cli *cli, struct interrupt *in, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {in->fd, POLLIN, 0}};
        int n = poll(fds, 2, time_left(deadline_ns));
        if (n < 0 && errno != EINTR)
            return report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "waiting for standard input: %s", strerror(errno));
        if (n > 0 && fds[1].revents != 0 && interrupt_check(in) != 0)
            return EXIT_SIGNAL + in->signal;
        if (n > 0 && fds[0].revents != 0)
            return 0;
        if (time_left(deadline_ns) == 0)
            return report(cli, EXIT_DEADLINE, PIT_E_DEADLINE_EXCEEDED, NULL, "the time was over before standard input ended");
    }
}

int input_read(const struct cli *cli, struct interrupt *in, uint64_t deadline_ns, char **ret, size_t *ret_n)
{
    struct text t = {NULL, 0, 0};
    int rc = 0;

    while (rc == 0) {
        rc = wait_readable(cli, in, deadline_ns);
        if (rc != 0)
            break;
        if (t.n >= INPUT_MAX) {
            rc = report(cli, EXIT_USAGE, PIT_E_LIMIT_EXCEEDED, NULL, "standard input has more than %zu MiB", INPUT_MAX >> 20);
            break;
        }
        if (!grow(&t)) {
            rc = report_error(cli, PIT_E_ALLOCATION_FAILED, NULL);
            break;
        }
        ssize_t n = read(STDIN_FILENO, t.bytes + t.n, t.room - t.n);
        if (n == 0) {
            *ret = t.bytes;
            *ret_n = t.n;
            return 0;
        }
        if (n > 0)
            t.n += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            rc = report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "standard input cannot be read: %s", strerror(errno));
    }
    free(t.bytes);
    return rc;
}
