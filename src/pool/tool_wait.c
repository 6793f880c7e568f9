/* See tool_wait.h. */
#include "pool/tool_wait.h"

#include "pool/pool_internal.h"
#include "pool/tool_run.h"

/* lock: is the lane held for as long as the tool waits? Not when its call has been given up, or its worker goes: another comes in its place. */
static bool is_held(const struct tool_wait *w)
{
    struct lane *l = w->lane;
    bool held = false;
    for (unsigned i = 0; i < l->count && !l->dead && l->worker->state == PIT_WORKER_BUSY; i++)
        held = held || (lane_at(l, i)->sequence == w->sequence && lane_at(l, i)->call != NULL);
    return held;
}

/* lock: does somebody before w in the list wait on the same lane? */
static bool is_first_of_lane(const struct pool *p, const struct tool_wait *w)
{
    LIST_EACH(node, &p->tool_waits)
    {
        const struct tool_wait *other = LIST_ENTRY(node, struct tool_wait, node);
        if (other == w)
            return true;
        if (other->lane == w->lane)
            return false;
    }
    return true;
}

/* lock */
static bool nobody_can_go_on(struct pool *p)
{
    size_t lanes = 0;
    LIST_EACH(node, &p->tool_waits)
    {
        const struct tool_wait *w = LIST_ENTRY(node, struct tool_wait, node);
        if (!is_held(w))
            return false;
        lanes += is_first_of_lane(p, w);
    }
    if (lanes < (size_t)p->n_slots * (size_t)p->set.lanes || !list_empty(&p->idle))
        return false;
    LIST_EACH(node, &p->tool_waits)
    {
        const struct tool_wait *w = LIST_ENTRY(node, struct tool_wait, node);
        if (!w->stuck(w->arg))
            return false;
    }
    return true;
}

bool tool_wait_begin(struct host *h, struct pool *p, struct tool_wait *w, bool (*stuck)(void *arg), void *arg)
{
    w->lane = NULL;
    if (__atomic_load_n(&h->tools_running, __ATOMIC_RELAXED) == 0)
        return true;
    const struct pit_tool_ctx *c = tool_under(h, p);
    if (c == NULL)
        return true;
    w->lane = c->lane;
    w->sequence = c->sequence;
    w->stuck = stuck;
    w->arg = arg;
    pool_lock(p);
    list_push_back(&p->tool_waits, &w->node);
    bool in_vain = nobody_can_go_on(p);
    if (in_vain)
        list_remove(&w->node);
    pool_unlock(p);
    return !in_vain;
}

void tool_wait_end(struct pool *p, struct tool_wait *w)
{
    if (w->lane == NULL)
        return;
    pool_lock(p);
    list_remove(&w->node);
    pool_unlock(p);
}

pit_error *tool_wait_error(const struct pool *p)
{
    pit_error *e =
        error_new(PIT_E_WOULD_DEADLOCK, "every worker of pool %s waits for a tool that waits for the pool", p->set.name);
    error_pool(e, p->set.name);
    return error_suggest(
        e, "pit_call() goes back to the worker that waits; what else a tool waits for wants another worker, or another pool");
}
