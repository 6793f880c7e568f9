/* The socket channel: frames one behind the other on a connected stream socket, for any worker in any language. See channel.h for the
 * contract, wire/frame.h for the bytes.
 *
 * Invariants
 *  1. Bytes are read into `buffer`; a frame's bytes go from there, or when it is a big one straight from the socket, into its block.
 *  2. A frame of which only a part has come stays in `partial`: the next recv(), by whoever holds the lane then, goes on with it.
 *  3. One recv() takes at most CALL_BUDGET bytes from the socket (bells included), then says CHANNEL_AGAIN and the next wait() returns at
 *     once: the caller looks at its deadline in between.
 *  4. What had arrived before the end of the stream is delivered before PIT_E_WORKER_LOST. A failing send does not end the receiving side.
 *
 * Failure: the codes of channel.h; a peer that breaks the framing, or goes, is final. */
#include <errno.h>
#include <snakepit/codes.h>
#include <string.h>

#include "base/alloc.h"
#include "channel/channel_internal.h"
#include "wire/frame.h"

enum { BUFFER = 16384, CALL_BUDGET = 1 << 20 };
enum { SPIN_LOOKS = 200 /* whatever the clock says */, SPIN_FAILURES_MOST = 10 };
#define SPIN_MOST_NS UINT64_C(50000)

struct socket_channel {
    struct channel base;
    int fd;
    uint32_t interrupted; /* atomic */
    bool lost;            /* the sending side has met the end */
    bool more;            /* receiving side: there may be more without waiting */
    size_t size;          /* of the frame in `partial`, 0: none begun */
    unsigned spin_skip,
        spin_failures; /* receiving side: waits until spinning is tried again; how often it was in vain since it was not */
    struct channel_frame partial;
    size_t at, end; /* the unread bytes of buffer */
    uint8_t buffer[BUFFER];
};

static struct socket_channel *of(struct channel *c)
{
    return (struct socket_channel *)(void *)c;
}

static int socket_send(struct channel *c, const uint8_t *frame, size_t n, size_t *done)
{
    struct socket_channel *s = of(c);
    int broken = channel_broken(c);
    if (broken != 0 || s->lost)
        return broken != 0 ? broken : PIT_E_WORKER_LOST;
    while (*done < n) {
        ssize_t rc = c->os->send(s->fd, frame + *done, n - *done);
        if (rc == -EAGAIN || rc == 0)
            return CHANNEL_AGAIN;
        if (rc < 0) {
            s->lost = true;
            return PIT_E_WORKER_LOST;
        }
        *done += (size_t)rc;
    }
    return 0;
}

/* Reads what there is, at most n bytes: > 0 the count, CHANNEL_AGAIN as -EAGAIN, or the end of the channel as a PIT_E_*. */
static ssize_t take(struct socket_channel *s, uint8_t *to, size_t n, size_t *budget)
{
    if (*budget == 0) {
        s->more = true;
        return -EAGAIN;
    }
    ssize_t rc = s->base.os->recv(s->fd, to, n < *budget ? n : *budget);
    if (rc == -EAGAIN)
        return rc;
    if (rc <= 0)
        return channel_break(&s->base, PIT_E_WORKER_LOST);
    *budget -= (size_t)rc;
    return rc;
}

/* More bytes behind those in the buffer. 0, CHANNEL_AGAIN or PIT_E_*. */
static int fill(struct socket_channel *s, size_t *budget)
{
    if (s->at == s->end)
        s->at = s->end = 0;
    if (s->at != 0 && BUFFER - s->at < FRAME_HEADER) {
        memmove(s->buffer, s->buffer + s->at, s->end - s->at);
        s->end -= s->at;
        s->at = 0;
    }
    ssize_t rc = take(s, s->buffer + s->end, BUFFER - s->end, budget);
    if (rc < 0)
        return rc == -EAGAIN ? CHANNEL_AGAIN : (int)rc;
    s->end += (size_t)rc;
    return 0;
}

/* Finds the next frame's beginning in the buffer and sets size. 0, CHANNEL_AGAIN or PIT_E_*. */
static int begin_frame(struct socket_channel *s, size_t *budget)
{
    enum { BELLS_MAX = 1024 }; /* a worker rings once each time it was asked to */
    size_t bells = 0;
    for (;;) {
        for (; s->at < s->end && s->buffer[s->at] == 0; s->at++)
            bells++;
        if (bells > BELLS_MAX)
            return channel_break(&s->base, PIT_E_PROTOCOL_ERROR);
        if (s->end - s->at >= FRAME_HEADER)
            break;
        int rc = fill(s, budget);
        if (rc != 0)
            return rc;
    }
    int64_t size = frame_peek_size(s->buffer + s->at, s->base.max_frame);
    if (size < 0)
        return channel_break(&s->base, (int)size);
    s->size = (size_t)size;
    frame_clear(&s->partial);
    return 0;
}

/* Adds to the frame begun. 0: it is whole. */
static int go_on(struct socket_channel *s, size_t *budget)
{
    struct channel_frame *f = &s->partial;
    while (f->n < s->size) {
        size_t had = f->n, left = s->size - had, there = s->end - s->at;
        if (there == 0 && left < BUFFER) {
            int rc = fill(s, budget);
            if (rc != 0)
                return rc;
            continue;
        }
        /* straight from the socket, into what room there is (frame_room doubles it as the bytes arrive) */
        size_t spare = f->heap_cap > had ? f->heap_cap - had : 0;
        size_t part = there != 0 ? there : spare > BUFFER ? spare : BUFFER;
        if (part > left)
            part = left;
        uint8_t *block = frame_room(f, had + part);
        if (block == NULL)
            return PIT_E_ALLOCATION_FAILED;
        if (there != 0) {
            memcpy(block + had, s->buffer + s->at, part);
            s->at += part;
            continue;
        }
        ssize_t rc = take(s, block + had, part, budget);
        f->n = had + (rc > 0 ? (size_t)rc : 0);
        if (rc < 0)
            return rc == -EAGAIN ? CHANNEL_AGAIN : (int)rc;
    }
    return 0;
}

static int socket_recv(struct channel *c, struct channel_frame *f)
{
    struct socket_channel *s = of(c);
    int rc = channel_broken(c);
    size_t budget = CALL_BUDGET;
    if (rc != 0)
        return rc;
    s->more = false;
    if (s->size == 0)
        rc = begin_frame(s, &budget);
    if (rc == 0)
        rc = go_on(s, &budget);
    if (rc != 0)
        return rc;
    frame_move(f, &s->partial);
    s->size = 0;
    s->more = s->at != s->end;
    return 0;
}

/* Looks again and again for a moment: waking this thread would cost more than a quick worker takes. Nothing tells on which CPU the worker runs, but
 * one that shares ours does not answer meanwhile: each failure doubles the number of waits until this is tried again. */
static bool spin(struct socket_channel *s, uint64_t deadline_ns, uint64_t spin_ns)
{
    const struct os_ops *os = s->base.os;
    if (spin_ns == 0)
        return false;
    if (s->spin_skip != 0) {
        s->spin_skip--;
        return false;
    }
    uint64_t now = os->now_ns(), end = now + (spin_ns < SPIN_MOST_NS ? spin_ns : SPIN_MOST_NS);
    for (int i = 0; i < SPIN_LOOKS && now < end && now < deadline_ns; i++, now = os->now_ns()) {
        if (os->poll_one(s->fd, OS_READABLE, now) != 0) {
            s->spin_failures = 0;
            return true;
        }
    }
    s->spin_skip = 1u << s->spin_failures;
    if (s->spin_failures < SPIN_FAILURES_MOST)
        s->spin_failures++;
    return false;
}

static int socket_wait(struct channel *c, int what, uint64_t deadline_ns, uint64_t spin_ns)
{
    struct socket_channel *s = of(c);
    bool for_room = (what & CHANNEL_FOR_ROOM) != 0, for_frame = (what & CHANNEL_FOR_FRAME) != 0;
    if (channel_broken(c) != 0 || __atomic_load_n(&s->interrupted, __ATOMIC_SEQ_CST) != 0 || (for_room && s->lost) ||
        (for_frame && s->more))
        return 0;
    if (for_frame && !for_room && spin(s, deadline_ns, spin_ns))
        return 0;
    enum os_wait wait = !for_room ? OS_READABLE : for_frame ? OS_EITHER : OS_WRITABLE;
    return c->os->poll_one(s->fd, wait, deadline_ns) == 0 ? CHANNEL_AGAIN : 0;
}

static bool socket_arm(struct channel *c, int what)
{
    return channel_broken(c) == 0 && !((what & CHANNEL_FOR_FRAME) != 0 && of(c)->more);
}

static void socket_disarm(struct channel *c)
{
    (void)c;
}

static void socket_interrupt(struct channel *c)
{
    struct socket_channel *s = of(c);
    __atomic_store_n(&s->interrupted, 1, __ATOMIC_SEQ_CST);
    c->os->shutdown(s->fd); /* wakes who polls; bytes that have arrived can still be read */
}

static void socket_nudge(struct channel *c)
{
    (void)c; /* the worker looks at nothing but this socket */
}

static void socket_destroy(struct channel *c)
{
    channel_frame_finish(&of(c)->partial);
    mem_free(c);
}

static const struct channel_ops socket_ops = {
    .name = "socket",
    .send = socket_send,
    .recv = socket_recv,
    .wait = socket_wait,
    .arm = socket_arm,
    .disarm = socket_disarm,
    .interrupt = socket_interrupt,
    .nudge = socket_nudge,
    .destroy = socket_destroy,
};

bool channel_socket_has_read(const struct channel *c)
{
    const struct socket_channel *s = (const struct socket_channel *)(const void *)c;
    return s->at < s->end || s->more;
}

struct channel *channel_socket_create(const struct os_ops *os, int fd, size_t max_frame)
{
    struct socket_channel *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->base = (struct channel){.ops = &socket_ops, .os = os, .max_frame = max_frame};
    s->fd = fd;
    channel_frame_init(&s->partial);
    return &s->base;
}
