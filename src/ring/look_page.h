/* The look page: where a worker that lives says what it is doing, behind the crash page of the shared segment, the same on both sides.
 *
 * Who asks (the host, or another process of the user that has mapped the segment) claims the page, counts up `asked`, and rings the futex
 * `ping` of lane 0, on which the worker's heart sleeps. The heart writes its answer, then the number that it answers to `answered`. Who asks
 * trusts nothing of it: it copies the page, and counts and places are checked against the arrays. Integers are little-endian and aligned. */
#ifndef PIT_RING_LOOK_PAGE_H
#define PIT_RING_LOOK_PAGE_H

#include "ring/crash_page.h"

#define LOOK_PAGE_BYTES 20480u
#define LOOK_THREADS 24

/* A claim: until when it holds, in microseconds of CLOCK_MONOTONIC, above 16 bits that differ from those of others. One that has run out, or
 * that reaches further than LOOK_CLAIM_MOST_US, holds nobody back: who made it may have died. */
#define LOOK_CLAIM(until_us, noise) ((uint64_t)(until_us) << 16 | ((uint64_t)(noise)&0xffffu))
#define LOOK_CLAIM_UNTIL_US(claim) ((uint64_t)(claim) >> 16)
#define LOOK_CLAIM_MOST_US UINT64_C(2000000)

/* look_page.python_how */
enum {
    LOOK_PYTHON_NONE = 0,
    LOOK_PYTHON_SAFE = 1, /* read with the GIL */
    LOOK_PYTHON_HELD = 2  /* read without: who holds it runs no Python */
};

/* look_page.failed */
enum { LOOK_FAILED_PYTHON = 1, LOOK_FAILED_NATIVE = 2, LOOK_FAILED_SYMBOLS = 4, LOOK_FAILED_THREADS = 8 /* there are more */ };

/* look_thread.where */
enum {
    LOOK_UNSEEN = 0,
    LOOK_RUNS = 1,  /* in user code, or about to run */
    LOOK_CALLS = 2, /* in a system call: `call` */
    LOOK_KERNEL = 3 /* in the kernel for another reason: a page fault */
};

struct look_thread {
    uint64_t python; /* what Python's stacks call it; 0: not known */
    uint32_t tid;
    int32_t lane; /* that it serves; -1: none */
    int32_t call; /* number of the system call */
    uint16_t where;
    uint16_t at;     /* 1 + the place in frames of where it is; 0: not known */
    uint16_t caller; /* the same of the library function that has called the C library */
    uint16_t reserved[3];
};

struct look_page {
    uint32_t bytes;    /* LOOK_PAGE_BYTES; by the host, before the worker is started */
    uint32_t ready;    /* 1: there is a heart, and it answers looks */
    uint64_t claim;    /* atomic; 0: free */
    uint32_t asked;    /* atomic; by who holds the claim */
    uint32_t answered; /* atomic, a futex; by the worker, when all below stands */
    uint32_t wait_us;  /* for how long the worker may look; by who asks */
    uint32_t reserved;
    /* the answer */
    uint64_t began_ns, ended_ns; /* CLOCK_MONOTONIC */
    uint32_t python_how, failed;
    uint32_t threads_n, frames_n, modules_n, python_n;
    struct look_thread threads[LOOK_THREADS]; /* those that serve lanes first */
    struct crash_frame frames[CRASH_FRAMES];
    struct crash_module modules[CRASH_MODULES];
    char names[3072];   /* of symbols, each with its NUL */
    char python[11104]; /* as faulthandler writes it, the main thread first */
};

_Static_assert(sizeof(struct look_thread) == 32, "layout of a thread of the look page");
_Static_assert(sizeof(struct look_page) <= LOOK_PAGE_BYTES, "the look page has its size");

#endif
