/* Threads that run the host's tools for calls that no thread waits for: made when they are first needed, ended with the host. */
#ifndef PIT_POOL_TOOL_THREADS_H
#define PIT_POOL_TOOL_THREADS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct os_ops;

enum { TOOL_THREADS_MAX = 256 };

struct tool_threads {
    const struct os_ops *os;
    pthread_mutex_t lock;
    struct list jobs;   /* lock: that no thread has taken yet */
    unsigned n, idle;   /* lock */
    unsigned waiting;   /* lock: jobs */
    unsigned most;      /* of threads */
    bool stop;          /* lock */
    bool each;          /* fixed: no job waits for another; who adds them sees to it that there are no more than `most` */
    uint32_t turn;      /* futex word */
    pthread_t *threads; /* lock */
};

void tool_threads_init(struct tool_threads *t, const struct os_ops *os, int most);
/* Hands a job (its list node) to a thread. 0, or why none could be started: -errno. Any thread. */
int tool_threads_add(struct tool_threads *t, struct list *job);
/* No more jobs: waits for the threads, drops what waits. Again: nothing. */
void tool_threads_stop(struct tool_threads *t);
void tool_threads_finish(struct tool_threads *t); /* when nobody calls any more */

#endif
