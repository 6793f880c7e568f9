/* The tools of workers: what they have said of their commands when they became ready, kept for each pool. Any thread. */
#ifndef PIT_POOL_WORKER_TOOLS_H
#define PIT_POOL_WORKER_TOOLS_H

#include "pool/host.h"

/* Appends those of the pool, by name, to a list; name: of this name alone (NULL: all). 0 or allocation_failed. */
int worker_tools_list(struct pool *p, const char *name, pit_value *list);
/* The pools that have a command of this name: how many; the first of them; and their names, appended to a list (may be NULL). */
unsigned worker_tools_find(struct host *h, const char *name, struct pool **ret_first, pit_value *names);

#endif
