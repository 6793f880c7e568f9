/* What a worker prints: one pipe of a worker, read by the loop, rate-limited, its last 64 KiB kept.
 *
 * Invariants
 *  1. The pipe is always read, so that a worker never blocks in print(). What comes beyond 1 MiB/s is counted as dropped: it goes no further than
 *     the tail, which always has the last that was said.
 *  2. Loop thread only; the tail is read by capture_tail on the loop thread. */
#ifndef PIT_WORKER_CAPTURE_H
#define PIT_WORKER_CAPTURE_H

#include "os/loop.h"

enum { CAPTURE_TAIL = 64 * 1024 };

struct capture {
    const struct os_ops *os;
    struct loop *loop;
    struct loop_source source;
    bool open;
    char *ring;       /* CAPTURE_TAIL bytes, allocated at the first output */
    uint64_t total;   /* bytes so far; the ring holds the last of them */
    uint64_t dropped; /* atomic */
    uint64_t window_start_ns, window_bytes;
    bool dropping;                      /* in this second */
    void (*on_drop)(struct capture *c); /* once in a second in which something is dropped; may be NULL */
};

/* *ret_fd: the end of the pipe that the worker gets; the caller's. 0 or -errno. */
int capture_open(struct capture *c, const struct os_ops *os, struct loop *loop, int *ret_fd);
void capture_drain(struct capture *c); /* reads what is there now */
void capture_close(struct capture *c); /* keeps the tail */
void capture_finish(struct capture *c);
/* Copies the last at most n bytes in order; returns how many. */
size_t capture_tail(const struct capture *c, char *to, size_t n);
bool capture_is_cut(const struct capture *c, size_t n); /* was more printed than so many bytes? */

#endif
