/* Two ends of a channel of each kind, and the allocator and frames that the tests of the channels share. */
#ifndef PIT_TESTS_CHANNEL_PAIR_H
#define PIT_TESTS_CHANNEL_PAIR_H

#include <setjmp.h>
#include <snakepit/runtime.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "channel/channel.h"
#include "os/os.h"
#include "wire/frame.h"

enum { PAIR_RING = 4096, PAIR_MAX = 16 << 20 };
enum pair_kind { PAIR_RINGS, PAIR_SOCKET, PAIR_MEMORY };

struct pair {
    struct channel *host, *worker;
    int fds[2]; /* the control socket (rings) or the channel's own */
    void *segment;
    int segment_fd;
};

static inline int pair_open(struct pair *p, const struct os_ops *os, enum pair_kind kind)
{
    static const uint8_t secret[16];
    *p = (struct pair){.fds = {-1, -1}, .segment_fd = -1};
    if (kind == PAIR_MEMORY) {
        struct channel *ends[2];
        int rc = channel_memory_pair(os, PAIR_MAX, ends);
        if (rc == 0) {
            p->host = ends[0];
            p->worker = ends[1];
        }
        return rc;
    }
    assert_int_equal(os_linux.socketpair(p->fds), 0);
    if (kind == PAIR_RINGS) {
        assert_int_equal(os_linux.segment_create("test", segment_bytes(1, PAIR_RING), segment_bytes(1, PAIR_RING), &p->segment,
                                                 &p->segment_fd),
                         0);
        segment_init(p->segment, 1, PAIR_RING, secret);
        p->host = channel_ring_create(os, p->segment, 0, PAIR_RING, PAIR_MAX);
        p->worker = channel_ring_create_worker(os, p->segment, 0, PAIR_RING, PAIR_MAX, p->fds[1]);
    } else {
        p->host = channel_socket_create(os, p->fds[0], PAIR_MAX);
        p->worker = channel_socket_create(os, p->fds[1], PAIR_MAX);
    }
    return p->host != NULL && p->worker != NULL ? 0 : PIT_E_ALLOCATION_FAILED;
}

static inline void pair_close(struct pair *p)
{
    if (p->host != NULL)
        p->host->ops->destroy(p->host);
    if (p->worker != NULL)
        p->worker->ops->destroy(p->worker);
    for (int i = 0; i < 2; i++)
        if (p->fds[i] >= 0)
            os_linux.close(p->fds[i]);
    if (p->segment != NULL)
        os_linux.segment_unmap(p->segment, segment_bytes(1, PAIR_RING));
    if (p->segment_fd >= 0)
        os_linux.close(p->segment_fd);
}

/* A frame of n (>= FRAME_HEADER) bytes that says which one it is. */
static inline void make_frame(uint8_t *frame, size_t n, uint64_t id)
{
    frame_put_header(frame, FRAME_RESULT, 0, id, 0, n);
    for (size_t i = FRAME_HEADER; i < n; i++)
        frame[i] = (uint8_t)(id * 131 + i * 7 + (i >> 8));
}

static inline void assert_frame(const struct channel_frame *f, size_t n, uint64_t id)
{
    uint8_t *expected = malloc(n);
    assert_non_null(expected);
    make_frame(expected, n, id);
    assert_int_equal(f->n, n);
    assert_memory_equal(f->data, expected, n);
    free(expected);
}

/* ---- an allocator that fails on demand and counts what is out ---- */

static long allocations_left = -1; /* -1: no limit */
static long blocks_out;
static size_t largest_block;

static inline bool may_allocate(size_t n)
{
    if (allocations_left == 0)
        return false;
    if (allocations_left > 0)
        allocations_left--;
    if (n > largest_block)
        largest_block = n;
    return true;
}

static inline void *pair_alloc(size_t n, void *user)
{
    (void)user;
    void *p = may_allocate(n) ? malloc(n) : NULL;
    __atomic_add_fetch(&blocks_out, p != NULL, __ATOMIC_RELAXED);
    return p;
}

static inline void *pair_realloc(void *block, size_t n, void *user)
{
    (void)user;
    return may_allocate(n) ? realloc(block, n) : NULL;
}

static inline void pair_free(void *block, void *user)
{
    (void)user;
    __atomic_sub_fetch(&blocks_out, block != NULL, __ATOMIC_RELAXED);
    free(block);
}

static inline void use_test_allocator(void)
{
    static const pit_allocator a = {sizeof a, pair_alloc, pair_realloc, pair_free, NULL};
    assert_int_equal(mem_set_allocator(&a), 0);
}

#endif
