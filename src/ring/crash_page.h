/* The crash page: what a dying worker leaves for its host in the last pages of the shared segment, the same on both sides.
 *
 * The worker's extension fills it in the handler of a fatal signal (python/src/_snakepit_crash.c) and the host reads a copy of it once the
 * process has ended (src/crash/page.c). The host trusts none of it: counts and places are checked against the arrays, texts are made
 * valid. What a worker that lies can spoil is the report of its own death. Integers are little-endian and aligned. */
#ifndef PIT_RING_CRASH_PAGE_H
#define PIT_RING_CRASH_PAGE_H

#include <stdint.h>

#define CRASH_PAGE_BYTES 16384u
#define CRASH_FRAMES 48
#define CRASH_MODULES 16
#define CRASH_PATH 200
#define CRASH_BUILD_ID 20

/* crash_page.state */
enum {
    CRASH_UNWATCHED = 0, /* nobody has looked at the page: no extension, or it could not install its handlers */
    CRASH_WATCHED = 1,
    CRASH_BEGUN = 2, /* a handler ran and did not come to its end */
    CRASH_TOLD = 3
};

/* crash_page.told and .failed: parts of the report */
enum { CRASH_PYTHON = 1, CRASH_NATIVE = 2, CRASH_SYMBOLS = 4 };

struct crash_frame {
    uint64_t pc;
    uint64_t offset;        /* in the module's file */
    uint64_t symbol_offset; /* of pc from the symbol's begin */
    uint16_t module;        /* 1 + its place in modules; 0: not known */
    uint16_t symbol;        /* 1 + the place of its name in names; 0: not known */
    uint32_t exact; /* 1: pc is the place itself; 0: one to return to, which may be the first of what comes behind the call */
};

struct crash_module {
    char path[CRASH_PATH]; /* NUL-terminated; of a long one the end */
    uint8_t build_id[CRASH_BUILD_ID];
    uint32_t build_id_n;
};

struct crash_page {
    uint32_t state; /* atomic */
    uint32_t pid, tid;
    int32_t signal, code; /* si_signo, si_code */
    uint32_t sender;      /* pid; of a signal that a process has sent */
    uint64_t address;     /* si_addr; of a signal that no process has sent */
    uint64_t pc;
    uint64_t began_ns, ended_ns; /* CLOCK_MONOTONIC */
    uint64_t peak_bytes;         /* of resident memory, 0: not known */
    uint64_t user_us, system_us; /* CPU time of the process */
    uint64_t faults;             /* major ones */
    uint32_t wanted;             /* CRASH_PYTHON ...; written by the host before the worker is started */
    uint32_t watched;            /* bit n: a handler stands for signal n (below 32) */
    uint32_t told, failed;       /* CRASH_PYTHON ... */
    uint32_t frames_n, modules_n, names_n, python_n;
    char thread[16]; /* name of the one that crashed */
    struct crash_frame frames[CRASH_FRAMES];
    struct crash_module modules[CRASH_MODULES];
    char names[3072];  /* of symbols, each with its NUL */
    char python[7936]; /* as faulthandler writes it, the crashing thread first */
};

_Static_assert(sizeof(struct crash_frame) == 32, "layout of a frame of the crash page");
_Static_assert(sizeof(struct crash_module) == 224, "layout of a module of the crash page");
_Static_assert(sizeof(struct crash_page) <= CRASH_PAGE_BYTES, "the crash page has its size");

#endif
