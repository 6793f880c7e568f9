/* See queue.h. */
#include "pool/queue.h"

void queue_init(struct queue *q)
{
    q->depth = 0;
    for (int i = 0; i <= PIT_PRIORITY_URGENT; i++)
        list_init(&q->lists[i]);
}

void queue_push(struct queue *q, struct call *c)
{
    list_push_back(&q->lists[c->priority], &c->node);
    q->depth++;
}

void queue_push_front(struct queue *q, struct call *c)
{
    list_push_front(&q->lists[c->priority], &c->node);
    q->depth++;
}

void queue_remove(struct queue *q, struct call *c)
{
    list_remove(&c->node);
    q->depth--;
}

struct call *queue_head(const struct queue *q)
{
    for (int i = PIT_PRIORITY_URGENT; q->depth != 0 && i > 0; i--)
        if (!list_empty(&q->lists[i]))
            return LIST_ENTRY(q->lists[i].next, struct call, node);
    return NULL;
}
