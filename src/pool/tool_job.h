/* A call of a host tool that came on a lane of the loop: everything that a thread needs to run it and to answer, whatever becomes of the call meanwhile. */
#ifndef PIT_POOL_TOOL_JOB_H
#define PIT_POOL_TOOL_JOB_H

#include "pool/inner.h"

enum { TOOL_ID_MAX = 256 };

struct tool_job {
    struct list node;
    struct pit_tool_ctx ctx; /* its lane's worker is kept alive by a reference of the job */
    struct lane *lane;
    unsigned level;
    struct buf frame;  /* what the worker has sent */
    struct tool *tool; /* a reference */
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
