/* A snapshot of workers, for pit_list_workers. Any thread. */
#ifndef PIT_POOL_POOL_LIST_H
#define PIT_POOL_POOL_LIST_H

#include "pool/host.h"

struct worker_row {
    pit_worker_info info; /* id and pool point into this row, health is a reference of its own */
    char id[96], pool[65];
};

struct worker_rows {
    struct worker_row *items;
    size_t n;
    bool failed;
};

void pool_list(struct pool *p, struct worker_rows *rows); /* appends, in slot order */
void host_each_pool(struct host *h, void (*fn)(struct pool *p, void *arg), void *arg);

#endif
