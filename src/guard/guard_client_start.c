/* The host's side of the guard: its start. See guard_client.h.
 *
 *   launch --HELLO--> it serves          a first start waits for it
 *      |---nothing, nonsense, its end--> killed, its end awaited, told        a restart is told of both on the loop
 *
 * The guard gets no environment: a sweep by run id must never find the guard itself.
 *
 * Failure: of a step: everything undone, the errno and the call told. One that cannot be killed (its program lies on a file system that hangs) is
 * waited for: another would hang where it does. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "guard/guard_private.h"

enum { MS = 1000000, END_MS = 1000 };

static char *run_entry(const char *run_id)
{
    size_t n = sizeof GUARD_ENV_RUN "=" + strlen(run_id);
    char *s = mem_alloc(n);
    if (s != NULL)
        snprintf(s, n, "%s=%s", GUARD_ENV_RUN, run_id);
    return s;
}

static struct guard_client *new_client(const struct os_ops *os, struct loop *loop, const char *run_id,
                                       const struct guard_callbacks *cb, void *user)
{
    struct guard_client *g = mem_zalloc(sizeof *g);
    if (g == NULL)
        return NULL;
    g->os = os;
    g->loop = loop;
    g->cb = *cb;
    g->user = user;
    list_init(&g->windows);
    list_init(&g->asked);
    list_init(&g->running);
    guard_open_window(g, &g->execs);
    g->control = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = guard_on_control};
    g->death = (struct loop_source){.fd = -1, .events = EPOLLIN, .fn = guard_on_death};
    g->run_entry = run_entry(run_id);
    if (g->run_entry != NULL)
        return g;
    mem_free(g);
    return NULL;
}

/* The guard with its two descriptors: 0, or -errno and the call. */
static int launch(struct guard_client *g, const char *path, const char *run_id, const char **ret_call)
{
    const struct os_ops *os = g->os;
    int pair[2];
    *ret_call = "socketpair";
    int error = os->socketpair(pair);
    if (error != 0)
        return error;
    g->control.fd = pair[0];
    *ret_call = "pidfd_open";
    int host = os->pidfd_open(os->getpid());
    error = host < 0 ? host : 0;
    if (error == 0) {
        const char *argv[] = {path, "--run-id", run_id, NULL};
        char *envp[] = {NULL};
        const int fds[] = {pair[1], host}; /* GUARD_FD_CONTROL, GUARD_FD_HOST */
        *ret_call = "spawn";
        error = os->spawn(path, (char *const *)(uintptr_t)argv, envp, fds, 2, &g->pid, &g->death.fd);
    }
    os->close(host);
    os->close(pair[1]);
    return error;
}

/* Names of calls that a guard may report live as long as the library: what came by message does not. */
static const char *known_call(const char *name)
{
    static const char *const known[] = {"setsid", "sigprocmask", "open /dev/null", "dup2", "fcntl", "prctl", "signalfd"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], name) == 0)
            return known[i];
    return "guard";
}

/* What it says first: 0, or -errno and the call. -EAGAIN: nothing yet. */
static int take_hello(struct guard_client *g, const char **ret_call)
{
    struct guard_msg m;
    *ret_call = "handshake";
    ssize_t n = g->os->recv(g->control.fd, &m, sizeof m);
    if (n < 0)
        return (int)n;
    if (n != (ssize_t)sizeof m || m.kind != GUARD_HELLO) /* 0: it died, or is another program */
        return n == 0 ? -ECONNRESET : -EPROTO;
    m.text[sizeof m.text - 1] = '\0';
    if (m.error != 0) {
        *ret_call = known_call(m.text);
        return -m.error;
    }
    if (m.number != GUARD_PROTOCOL || m.pid != g->pid) {
        *ret_call = "protocol version";
        return -EPROTO;
    }
    return 0;
}

static int watch(struct guard_client *g, const char **ret_call)
{
    *ret_call = "epoll_ctl";
    int error = loop_add(g->loop, &g->control);
    if (error == 0 && (error = loop_add(g->loop, &g->death)) != 0)
        loop_remove(g->loop, &g->control);
    return error;
}

/* What a start has failed with, for the caller; *g is gone. */
static int undo(struct guard_client *g, int error, const char *call, int *ret_errno)
{
    bool spawned = g->death.fd >= 0;
    if (spawned)
        guard_end(g, END_MS * (uint64_t)MS);
    guard_free(g);
    *ret_errno = -error;
    return spawned || strcmp(call, "spawn") == 0 ? PIT_E_GUARD_UNAVAILABLE : PIT_E_SYSTEM_ERROR;
}

int guard_start(const struct os_ops *os, struct loop *loop, const char *path, const char *run_id, int64_t timeout_ms,
                const struct guard_callbacks *cb, void *user, struct guard_client **ret, int *ret_errno, const char **ret_call)
{
    uint64_t deadline = os->now_ns() + (uint64_t)timeout_ms * MS;
    struct guard_client *g = new_client(os, loop, run_id, cb, user);
    if (g == NULL)
        return PIT_E_ALLOCATION_FAILED;
    int error = launch(g, path, run_id, ret_call);
    if (error == 0) {
        *ret_call = "handshake";
        error = os->poll_one(g->control.fd, OS_READABLE, deadline);
        error = error == 0 ? -ETIMEDOUT : error < 0 ? error : take_hello(g, ret_call);
    }
    if (error == 0)
        error = watch(g, ret_call);
    if (error != 0)
        return undo(g, error, *ret_call, ret_errno);
    *ret = g;
    return 0;
}

/* ---- on the loop ---- */

/* It is killed; when it has ended, that is told. */
static void refuse(struct guard_client *g, int error, const char *call)
{
    g->start_error = -error;
    g->start_call = call;
    loop_timer_stop(g->loop, &g->hello_timer);
    loop_remove(g->loop, &g->control);
    g->os->pidfd_kill(g->death.fd, SIGKILL);
}

static void on_hello(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct guard_client *g = LIST_ENTRY(s, struct guard_client, control);
    const char *call;
    int error = take_hello(g, &call);
    if (error == -EAGAIN)
        return;
    if (error != 0) {
        refuse(g, error, call);
        return;
    }
    loop_timer_stop(g->loop, &g->hello_timer);
    g->greeting = false;
    g->control.fn = guard_on_control;
    g->death.fn = guard_on_death;
    g->cb.started(g->user, 0, NULL);
}

static void on_hello_missing(struct loop_timer *t)
{
    refuse(LIST_ENTRY(t, struct guard_client, hello_timer), -ETIMEDOUT, "handshake");
}

static void on_early_death(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct guard_client *g = LIST_ENTRY(s, struct guard_client, death);
    if (g->start_error == 0) { /* it may have said why */
        const char *call;
        int error = take_hello(g, &call);
        refuse(g, error != 0 && error != -EAGAIN ? error : -ECONNRESET, call);
    }
    loop_remove(g->loop, &g->death);
    guard_reap(g);
    g->greeting = false;
    g->lost = true;
    g->cb.started(g->user, g->start_error, g->start_call);
}

int guard_begin(const struct os_ops *os, struct loop *loop, const char *path, const char *run_id, int64_t timeout_ms,
                const struct guard_callbacks *cb, void *user, struct guard_client **ret, int *ret_errno, const char **ret_call)
{
    struct guard_client *g = new_client(os, loop, run_id, cb, user);
    if (g == NULL)
        return PIT_E_ALLOCATION_FAILED;
    int error = launch(g, path, run_id, ret_call);
    g->control.fn = on_hello;
    g->death.fn = on_early_death;
    if (error == 0)
        error = watch(g, ret_call);
    if (error != 0)
        return undo(g, error, *ret_call, ret_errno);
    g->greeting = true;
    g->hello_timer.fn = on_hello_missing;
    loop_timer_set(loop, &g->hello_timer, os->now_ns() + (uint64_t)timeout_ms * MS);
    *ret = g;
    return 0;
}

void guard_abandon(struct guard_client *g)
{
    loop_timer_stop(g->loop, &g->hello_timer);
    loop_remove(g->loop, &g->control);
    loop_remove(g->loop, &g->death);
    guard_end(g, END_MS * (uint64_t)MS);
    g->greeting = false;
    g->lost = true;
}
