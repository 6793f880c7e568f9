/* The calls of a pool that wait for a lane: one FIFO list for each priority. Everything O(1). The pool's lock. */
#ifndef PIT_POOL_QUEUE_H
#define PIT_POOL_QUEUE_H

#include "worker/call.h"

struct queue {
    struct list lists[PIT_PRIORITY_URGENT + 1]; /* [0] is unused */
    size_t depth;
};

void queue_init(struct queue *q);
void queue_push(struct queue *q, struct call *c);       /* at the end of its priority's list */
void queue_push_front(struct queue *q, struct call *c); /* it has waited before, and does not lose its place */
void queue_remove(struct queue *q, struct call *c);
struct call *queue_head(const struct queue *q); /* the oldest of the highest priority; NULL: empty */

#endif
