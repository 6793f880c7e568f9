/* See capture.h. Failure modes: no memory for the tail: the output is dropped and counted; the worker is not disturbed. */
#include "worker/capture.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"

enum { CHUNK = 16 * 1024, TURN = 16 /* chunks in one turn of the loop: a flood must not stop the rest */ };
#define RATE (UINT64_C(1) << 20)
#define SECOND UINT64_C(1000000000)

/* Counts what is more than a worker may say in a second; telemetry hears of it once in that second. */
static void meter(struct capture *c, size_t n)
{
    uint64_t now = c->os->now_ns();
    if (now - c->window_start_ns >= SECOND) {
        c->window_start_ns = now;
        c->window_bytes = 0;
        c->dropping = false;
    }
    c->window_bytes += n;
    if (c->ring != NULL && c->window_bytes <= RATE)
        return;
    __atomic_add_fetch(&c->dropped, n, __ATOMIC_RELAXED);
    if (!c->dropping && c->on_drop != NULL)
        c->on_drop(c);
    c->dropping = true;
}

/* The tail gets everything, a flood too: the last words of a worker are what its end is understood by. */
static void keep(struct capture *c, const char *data, size_t n)
{
    if (c->ring == NULL)
        c->ring = mem_alloc(CAPTURE_TAIL);
    meter(c, n);
    for (size_t i = 0; i < n && c->ring != NULL;) {
        size_t at = (size_t)(c->total % CAPTURE_TAIL), part = CAPTURE_TAIL - at < n - i ? CAPTURE_TAIL - at : n - i;
        memcpy(c->ring + at, data + i, part);
        c->total += part;
        i += part;
    }
}

static bool read_some(struct capture *c)
{
    char chunk[CHUNK];
    ssize_t n = c->os->read(c->source.fd, chunk, sizeof chunk);
    if (n > 0)
        keep(c, chunk, (size_t)n);
    else if (n != -EAGAIN)
        capture_close(c);
    return n > 0;
}

static void on_readable(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct capture *c = (struct capture *)(void *)((char *)s - offsetof(struct capture, source));
    for (int i = 0; i < TURN && c->open && read_some(c); i++)
        continue;
}

int capture_open(struct capture *c, const struct os_ops *os, struct loop *loop, int *ret_fd)
{
    int fds[2];
    int rc = os->pipe(fds);
    if (rc != 0)
        return rc;
    c->os = os;
    c->loop = loop;
    c->source = (struct loop_source){.fd = fds[0], .events = EPOLLIN, .fn = on_readable};
    rc = loop_add(loop, &c->source);
    if (rc < 0) {
        os->close(fds[0]);
        os->close(fds[1]);
        return rc;
    }
    c->open = true;
    *ret_fd = fds[1];
    return 0;
}

void capture_drain(struct capture *c)
{
    for (int i = 0; i < TURN && c->open && read_some(c); i++)
        continue;
}

void capture_close(struct capture *c)
{
    if (!c->open)
        return;
    c->open = false;
    loop_remove(c->loop, &c->source);
    c->os->close(c->source.fd);
}

void capture_finish(struct capture *c)
{
    capture_close(c);
    mem_free(c->ring);
    c->ring = NULL;
}

size_t capture_tail(const struct capture *c, char *to, size_t n)
{
    if (c->ring == NULL)
        return 0;
    uint64_t have = c->total < CAPTURE_TAIL ? c->total : CAPTURE_TAIL;
    if (n > have)
        n = (size_t)have;
    for (size_t i = 0; i < n; i++)
        to[i] = c->ring[(c->total - n + i) % CAPTURE_TAIL];
    return n;
}

bool capture_is_cut(const struct capture *c, size_t n)
{
    return c->total > n;
}
