/* For what is promised within a time, on a machine that may be busy. Time counts only as far as this process got a CPU for it: of a stretch in
 * which it did not run, when what it waits for may not have run either, no more than STRETCH_NS counts. Looks must follow each other quickly. */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct patience {
    uint64_t left_ns, last_ns;
};

static inline uint64_t patience_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline struct patience patience_for(uint64_t ms)
{
    return (struct patience){ms * 1000000, patience_now()};
}

/* Between two looks: is the time over? */
static inline bool patience_is_over(struct patience *p)
{
    enum { STRETCH_NS = 20000000 };
    uint64_t now = patience_now(), stretch = now - p->last_ns;
    if (stretch > STRETCH_NS)
        stretch = STRETCH_NS;
    p->last_ns = now;
    p->left_ns = p->left_ns > stretch ? p->left_ns - stretch : 0;
    return p->left_ns == 0;
}

#endif
