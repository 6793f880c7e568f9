/* Signals that end a command, as a descriptor to poll.
 *
 * They are blocked before the library is opened, so that they come here and nowhere else. One that was ignored at the start (nohup,
 * a background job of a script) stays ignored. After the first the mask is restored: a second Ctrl-C ends the program at once, and
 * the guard then ends the workers. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static void collect(sigset_t *set)
{
    (void)sigemptyset(set);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction action;
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            (void)sigaddset(set, signals[i]);
    }
}

int interrupt_open(struct interrupt *in)
{
    sigset_t set;

    collect(&set);
    in->signal = 0;
    in->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return in->fd < 0 ? -1 : sigprocmask(SIG_BLOCK, &set, NULL);
}

int interrupt_check(struct interrupt *in)
{
    struct signalfd_siginfo info;

    if (in->signal == 0 && read(in->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        sigset_t set;
        in->signal = (int)info.ssi_signo;
        collect(&set);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
    return in->signal;
}

void interrupt_close(struct interrupt *in)
{
    if (in->fd >= 0)
        (void)close(in->fd);
    in->fd = -1;
}

const char *interrupt_name(int signal)
{
    return signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGHUP";
}
