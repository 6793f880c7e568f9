/* Threads that wait in a tool of the host for something that wants another lane of the pool whose worker waits for that tool: a future, a batch. When every
 * lane of the pool is held so, nobody can go on, and whoever comes last is told instead of waiting.
 *
 * Invariants
 *  1. Nobody is refused who could go on: all lanes there can be are held by calls whose tools wait here, and for each of them what it waits for has not come.
 *  2. A thread that is not inside a tool of the pool takes no lock here. */
#ifndef PIT_POOL_TOOL_WAIT_H
#define PIT_POOL_TOOL_WAIT_H

#include "pool/pool.h"

struct tool_wait {
    struct list node;         /* in p->tool_waits: lock */
    struct lane *lane;        /* on which the call stands that has called the tool; NULL: this thread is in none */
    uint64_t sequence;        /* of that call */
    bool (*stuck)(void *arg); /* lock: has nothing come yet of what it waits for? */
    void *arg;
};

/* false: it would wait for itself; then there is nothing to end. The thread that waits; no lock. */
bool tool_wait_begin(struct host *h, struct pool *p, struct tool_wait *w, bool (*stuck)(void *arg), void *arg);
void tool_wait_end(struct pool *p, struct tool_wait *w);
/* What it is told: owned. */
pit_error *tool_wait_error(const struct pool *p);

#endif
