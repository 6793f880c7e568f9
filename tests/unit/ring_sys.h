/* What a ring needs of its surroundings, straight from the kernel: for tests below the seam. */
#ifndef PIT_TESTS_RING_SYS_H
#define PIT_TESTS_RING_SYS_H

#include <errno.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring/ring.h"

static inline uint64_t sys_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline int sys_futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec t = {.tv_sec = (time_t)(deadline_ns / 1000000000u), .tv_nsec = (long)(deadline_ns % 1000000000u)};
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline_ns == UINT64_MAX ? NULL : &t, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    return rc == 0 || errno == EINTR ? 0 : -errno;
}

static inline int sys_futex_wake(const uint32_t *word, int n)
{
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

static const struct ring_sys ring_sys = {.now_ns = sys_now_ns, .futex_wait = sys_futex_wait, .futex_wake = sys_futex_wake};

/* A ring in heap memory of exactly its size, so that AddressSanitizer sees every step beyond it. */
struct test_ring {
    struct ring_shared *shared;
    uint8_t *data;
    struct ring_writer writer;
    struct ring_reader reader;
};

static inline void test_ring_init(struct test_ring *t, uint32_t bytes, const struct ring_sys *sys)
{
    t->shared = calloc(1, sizeof *t->shared);
    t->data = aligned_alloc(8, bytes);
    if (t->shared == NULL || t->data == NULL)
        abort();
    memset(t->data, 0, bytes);
    t->shared->head_cpu = t->shared->tail_cpu = RING_NO_CPU;
    ring_writer_init(&t->writer, t->shared, t->data, bytes, sys);
    ring_reader_init(&t->reader, t->shared, t->data, bytes, sys);
}

static inline void test_ring_finish(struct test_ring *t)
{
    free(t->data);
    free(t->shared);
}

#endif
