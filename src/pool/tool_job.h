/* A call of a host tool that came on a lane of the loop: everything that a thread needs to run it and to answer, whatever becomes of the call meanwhile. */
#ifndef PIT_POOL_TOOL_JOB_H
#define PIT_POOL_TOOL_JOB_H

#include "pool/inner.h"

enum { TOOL_ID_MAX = 256 };

/* Of a tool that streams: what it may still send, and whether anybody wants it. Under the pool's lock; the futex word moves with each change. */
struct tool_stream {
    struct list node; /* of its lane's */
    uint64_t window;  /* chunks that its reader holds at most */
    uint64_t chunks;  /* credit */
    int64_t bytes;
    bool closed;   /* by its reader */
    bool may_wait; /* fixed: its thread is its own */
    uint32_t change, waiters;
};

struct tool_job {
    struct list node;
    struct pit_tool_ctx ctx; /* its lane's worker is kept alive by a reference of the job */
    struct lane *lane;
    unsigned level;
    struct buf frame;  /* what the worker has sent */
    struct tool *tool; /* a reference */
    bool streams;
    struct tool_stream stream;
    char session_id[TOOL_ID_MAX + 1], correlation_id[TOOL_ID_MAX + 1];
};

/* How the thread that has made a call in a tool hears of the call's tools, and of its end. On that thread's stack. */
#define INNER_DONE UINT32_C(0x80000000)
struct inner_mail {
    uint32_t word;        /* futex word: INNER_DONE, and a count of jobs; setting INNER_DONE is the last that is done to it */
    struct tool_job *job; /* atomic */
    const struct os_ops *os;
};

#endif
