/* Looks at the memory of a pool's workers, in a thread of its own: the kernel takes milliseconds for a process with gigabytes. Loop thread. */
#ifndef PIT_POOL_PROBE_H
#define PIT_POOL_PROBE_H

#include <pthread.h>

#include "os/loop.h"

struct pool;

struct probe {
    struct pool *pool;
    struct loop_work done;
    pthread_t thread;
    bool running, told; /* told: that it fails; recycle.c's */
    struct probe_row *rows;
    size_t n;
};

void probe_init(struct probe *p, struct pool *pool);
/* Looks once at every worker that serves, unless it is looking already; what it finds goes to recycle_seen(). */
void probe_begin(struct probe *p);
void probe_finish(struct probe *p); /* waits for the thread */

#endif
