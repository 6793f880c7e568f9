/* Many calls at once: feeds itself into the lanes as there is room, so that it never fills the queue, and gives every call its outcome.
 * Thread: the one that runs it. */
#ifndef PIT_POOL_BATCH_H
#define PIT_POOL_BATCH_H

#include <stddef.h>

#include "pool/pool.h"

struct batch_source {
    size_t n;
    void *user;
    /* Makes the i-th call (cleared): encoded, with its deadlines. An error (owned) is its outcome. */
    pit_error *(*begin)(void *user, size_t i, struct call *c);
    /* The i-th call has its outcome in c->outcome, which may be taken. */
    void (*end)(void *user, size_t i, struct call *c);
};

struct batch {
    struct pool *pool;
    const struct batch_source *source;
    uint64_t deadline_ns; /* what is not with a worker by then ends with deadline_exceeded */
    bool fail_fast;
    bool stuck; /* the runner's: it waited for itself (pool/tool_wait.h) */
    /* set by batch_cancel */
    const char *reason; /* borrowed; may be NULL */
    uint32_t cancelled; /* atomic */
    uint32_t word;      /* futex word: something is to be done */
    /* the runner's, but for `ended` and `count` */
    struct member *members, *idle;
    struct member *ended;    /* atomic: a stack, pushed by the loop, taken whole by the runner */
    uint32_t count, wake_at; /* atomic: how many came since; how many rouse the runner */
    uint32_t told;           /* atomic: the loop is in the middle of telling of an end */
    size_t n_members, next, finished, in_flight;
    uint64_t now_ns;       /* when the calls that are begun now were begun */
    uint64_t expiry_ns;    /* no deadline of what is under way is earlier */
    struct member **ready; /* encoded, waiting for a lane */
    unsigned n_ready;
};

/* Runs it to the end: blocks. 0, or PIT_E_ALLOCATION_FAILED: nothing was begun. The fields pool to fail_fast are the caller's. */
int batch_run(struct batch *b);
/* Ends what has not ended. Any thread, while batch_run runs; reason lives as long. */
void batch_cancel(struct batch *b, const char *reason);

#endif
