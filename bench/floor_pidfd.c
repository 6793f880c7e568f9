/* The floor of crash.error: how long after kill -9 does a thread that polls the process's pidfd run again.
 *
 * The victim is a C program that sleeps, or a bare Python interpreter (whose memory takes the kernel longer to tear down, which a worker pays
 * too). The thread that kills is not the one that waits, as with a call. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int role_pause(void)
{
    char byte = 1;
    if (write(3, &byte, 1) != 1) /* "I run" */
        return 1;
    for (;;)
        pause();
}

static void *watcher_main(void *arg)
{
    struct watcher *w = arg;
    struct pollfd p = {.fd = w->pidfd, .events = POLLIN};
    atomic_store(&w->waiting, 1);
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
    w->woken = clock_now();
    return NULL;
}

int watcher_start(struct watcher *w, pid_t pid)
{
    *w = (struct watcher){.pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
    if (w->pidfd < 0)
        return -1;
    if (pthread_create(&w->thread, NULL, watcher_main, w) != 0) {
        close(w->pidfd);
        return -1;
    }
    while (atomic_load(&w->waiting) == 0)
        nap_us(50);
    return 0;
}

void watcher_finish(struct watcher *w)
{
    pthread_join(w->thread, NULL);
    close(w->pidfd);
}

static pid_t victim_start(const struct bench *b, bool python)
{
    int fds[2];
    char byte;
    char *argv[] = {(char *)b->o.python, (char *)"-I", (char *)"-c",
                    (char *)"import os, signal; os.write(3, b'1'); signal.pause()", NULL};
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    pid_t pid = python ? child_spawn(argv, &fds[1], 1) : child_spawn_role("pause", &fds[1], 1);
    close(fds[1]);
    if (pid > 0 && read(fds[0], &byte, 1) != 1) {
        child_end(pid);
        pid = -ECHILD;
    }
    close(fds[0]);
    return pid;
}

static int kill_once(struct bench *b, bool python)
{
    struct watcher w;
    pid_t pid = victim_start(b, python);
    if (pid <= 0)
        return -1;
    if (watcher_start(&w, pid) != 0) {
        child_end(pid);
        return -1;
    }
    nap_us(1000); /* it sleeps by now */
    uint64_t start = clock_now();
    kill(pid, SIGKILL);
    watcher_finish(&w);
    samples_add(&b->samples, w.woken - start);
    child_end(pid);
    return 0;
}

int run_pidfd(struct bench *b, int python, struct result *ret)
{
    int times = b->o.quick ? 5 : 20;
    place_thread(b, PLACE_FREE);
    b->samples.n = 0;
    for (int i = 0; i < times; i++)
        if (kill_once(b, python != 0) != 0)
            return result_fail(ret, "the process to kill cannot be started or watched");
    samples_reduce(&b->samples, b->clock_ns, ret);
    return BENCH_OK;
}
