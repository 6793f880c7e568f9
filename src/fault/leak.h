/* Does a worker's memory grow with its calls, and when will that be too much? Pure.
 *
 * The last LEAK_SAMPLES looks are kept: what a worker takes at its beginning is forgotten after a while. Their least-squares line is
 * believed only if it rises by more than its own uncertainty explains: memory that goes up and down is no leak. */
#ifndef PIT_FAULT_LEAK_H
#define PIT_FAULT_LEAK_H

#include <stdbool.h>
#include <stdint.h>

enum { LEAK_SAMPLES = 16, LEAK_ENOUGH = 5 };

struct leak { /* zeroed to begin with */
    struct leak_sample {
        double calls, bytes;
    } samples[LEAK_SAMPLES]; /* a ring */
    unsigned next, n;
};

/* Looks that stand at the same number of calls say nothing about calls: the last one counts. */
void leak_add(struct leak *l, uint64_t calls, uint64_t bytes);
/* In bytes for each call. false: too little was seen, or it does not rise. */
bool leak_slope(const struct leak *l, double *ret);
/* How many calls more until it reaches limit, from the last look on; 0: it is there. */
double leak_calls_left(const struct leak *l, double slope, uint64_t limit);

#endif
