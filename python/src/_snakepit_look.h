/* Between the files that answer looks at a living worker. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_LOOK_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_LOOK_H

#include "_snakepit.h"
#include "ring/look_page.h"

/* ---- _snakepit_look.c ---- */

/* What a process that is forked can inherit. With the GIL. */
void look_prepare(void);
/* From here on the heart answers looks on this page. With the GIL; the main thread. */
void look_begin(struct look_page *page);
/* If somebody has asked, answers. The heart; without the GIL. Takes as long as the page's `wait_us` allows. */
void look_answer(struct look_page *page);
/* The calling thread serves this lane. */
void look_lane_begins(unsigned lane);
/* In the handler of a fault: does not return if it is the looking that has faulted. */
void look_faulted(void);

/* ---- _snakepit_look_native.c ---- */

struct look_served { /* a thread that serves a lane */
    uint64_t python;
    uint32_t tid;
    int32_t lane;
};
struct look_native { /* what all threads do, as far as the kernel tells */
    uint32_t threads_n, failed;
    struct look_thread threads[LOOK_THREADS];
    struct crash_page page; /* frames, modules and names of it */
};
/* `own`: threads to leave out. false: no memory. One thread at a time. */
bool look_at_threads(struct look_native *out, const struct look_served *served, uint32_t served_n, const uint32_t *own,
                     uint32_t own_n);

#endif
