/* Hot spares: ready workers beyond the target, to which no call is given until one of the others is lost.
 *
 * Invariants
 *  1. A spare has its flag, and idle lanes that are in no list. It is READY, and never busy.
 *  2. While fewer than `workers` serve, there is no spare: whoever is lost is made up for in the same turn, under the lock that closes its lanes.
 *  3. Every slot is alike: the spare that takes over keeps its slot and its name, and the successor of the lost one becomes the spare.
 *
 * Failure: nothing here can. */
#include "pool/pool_internal.h"

static bool is_ready(const struct worker *w)
{
    return !w->dead && w->condemned == 0 && (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY);
}

static bool is_spare(const struct worker *w)
{
    return (w->flags & PIT_WORKER_FLAG_SPARE) != 0;
}

static int serving(const struct pool *p)
{
    int n = 0;
    LIST_EACH(node, &p->workers)
    {
        const struct worker *w = LIST_ENTRY(node, struct worker, node);
        n += is_ready(w) && !is_spare(w);
    }
    return n;
}

static void serve(struct pool *p, struct worker *w)
{
    w->flags &= ~PIT_WORKER_FLAG_SPARE;
    for (uint32_t i = 0; i < p->config.lanes; i++)
        sched_free_lane(p, &w->lanes[i]);
}

void spares_add(struct pool *p, struct worker *w)
{
    w->flags |= PIT_WORKER_FLAG_SPARE; /* else it would count itself */
    if (p->set.spare_workers == 0 || serving(p) < p->set.workers)
        serve(p, w);
}

void spares_promote(struct pool *p)
{
    if (p->set.spare_workers == 0 || p->state >= POOL_STOPPING)
        return;
    int missing = p->set.workers - serving(p);
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (missing <= 0)
            return;
        if (!is_ready(w) || !is_spare(w))
            continue;
        serve(p, w);
        p->promoted++;
        missing--;
    }
}
