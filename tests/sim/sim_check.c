/* What must hold, whatever happens and in whichever order. See sim.h; docs/internals/simulator.md lists the properties with the seeded bug that each
 * of them finds.
 *
 * check_step looks at the pool after every step in which no fiber holds a lock; check_quiet when nothing can run until the clock moves. */
#include <string.h>

#include "pool/pool_internal.h"
#include "pool/stream.h"
#include "sim.h"

enum { LANES = 128 };

struct view {
    struct pool *pool;
    unsigned idle, loop, caller;
    const struct call *sent[LANES * SIM_DEPTH_MAX];
    unsigned n_sent;
};

/* Credit and what is kept for the reader are the window, or a chunk less: one that he is about to take. */
static void see_stream(const struct stream *s)
{
    uint64_t n = s->came != NULL, bytes = s->came != NULL ? s->came->bytes : 0;
    for (const struct list *node = s->chunks.next; node != &s->chunks; node = node->next, n++)
        bytes += LIST_ENTRY(node, const struct stream_chunk, node)->bytes;
    if (n > s->window || s->may_chunks + n + s->due_chunks > s->window)
        sim_fail("a stream keeps %llu chunks, its worker may send %llu and %llu are to be granted; its window is %llu",
                 (unsigned long long)n, (unsigned long long)s->may_chunks, (unsigned long long)s->due_chunks,
                 (unsigned long long)s->window);
    if (s->may_bytes + (int64_t)(bytes + s->due_bytes) > (int64_t)s->window_bytes)
        sim_fail("a stream keeps %llu bytes, its worker may send %lld and %llu are to be granted; its window is %llu",
                 (unsigned long long)bytes, (long long)s->may_bytes, (unsigned long long)s->due_bytes,
                 (unsigned long long)s->window_bytes);
    if (s->send_chunks > s->window)
        sim_fail("the host may send %llu values; the window is %llu", (unsigned long long)s->send_chunks,
                 (unsigned long long)s->window);
}

static void see_flights(struct view *v, struct lane *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        const struct flight *f = lane_at(l, i);
        if (f->call == NULL)
            continue;
        if (f->call->lane != l || f->call->state != CALL_SENT || f->call->sequence != f->sequence)
            sim_fail("a call stands in a lane that it does not know of");
        if (f->call->stream != NULL)
            see_stream(f->call->stream);
        for (unsigned k = 0; k < v->n_sent; k++)
            if (v->sent[k] == f->call)
                sim_fail("a call stands in two lanes");
        v->sent[v->n_sent++] = f->call;
    }
}

static void see_lane(struct view *v, struct lane *l)
{
    v->idle += l->owner == LANE_IDLE && list_linked(&l->node); /* not of who drains, or is a spare */
    if (l->worker->draining && l->owner == LANE_IDLE && list_linked(&l->node))
        sim_fail("a lane of worker %s may be taken, and it drains", l->worker->id);
    v->loop += l->owner == LANE_LOOP;
    v->caller += l->owner == LANE_CALLER;
    if (l->owner == LANE_IDLE && l->count != 0)
        sim_fail("a lane of worker %s is idle and has a call", l->worker->id);
    bool there = l->owner == LANE_IDLE && list_linked(&l->node);
    if (there && l->worker->dead)
        sim_fail("a lane of worker %s is idle, and the worker is dead", l->worker->id);
    if (l->owner == LANE_CALLER && l->count > 1 + l->nested)
        sim_fail("a lane of worker %s is a caller's, and has %u calls", l->worker->id, l->count);
    see_flights(v, l);
}

/* Who is tainted may not be taken while another may. */
static void check_taint(struct pool *p)
{
    const struct worker *clean = NULL, *tainted = NULL;
    LIST_EACH(node, &p->idle)
    {
        const struct worker *w = LIST_ENTRY(node, struct lane, node)->worker;
        if (taint_meets(&p->slots[w->slot].tainted.taint, w->generation))
            tainted = w;
        else
            clean = w;
    }
    if (clean != NULL && tainted != NULL)
        sim_fail("a call may be given to worker %s, which is tainted, and to %s, which is not", tainted->id, clean->id);
}

/* Each lane has one owner: what the lists say is what the lanes say. */
static void check_lists(const struct view *v)
{
    unsigned idle = 0, loop = 0;
    LIST_EACH(node, &v->pool->idle)
    {
        idle++;
        if (LIST_ENTRY(node, struct lane, node)->owner != LANE_IDLE)
            sim_fail("a lane in the list of idle ones has an owner");
    }
    check_taint(v->pool);
    LIST_EACH(node, &v->pool->loop_lanes)
    {
        loop++;
        if (LIST_ENTRY(node, struct lane, node)->owner != LANE_LOOP)
            sim_fail("a lane in the loop's list has another owner");
    }
    if (idle != v->idle || loop != v->loop)
        sim_fail("%u lanes are idle and %u the loop's, but the lists have %u and %u", v->idle, v->loop, idle, loop);
}

/* What came back to the queue from a dead worker was admitted before: it does not count against the bound. */
static void check_queue(const struct view *v)
{
    struct pool *p = v->pool;
    size_t depth = 0, back = 0;
    for (int i = 0; i <= PIT_PRIORITY_URGENT; i++)
        LIST_EACH(node, &p->queue.lists[i])
        {
            const struct call *c = LIST_ENTRY(node, struct call, node);
            depth++;
            back += c->sent_ns != 0;
            if (c->state != CALL_QUEUED)
                sim_fail("a call in the queue is not queued");
        }
    if (depth != p->queue.depth)
        sim_fail("the queue's depth is %zu, and %zu calls are in it", p->queue.depth, depth);
    if (depth - back > (size_t)p->set.max_queue_size)
        sim_fail("%zu calls wait, and max_queue_size is %d", depth - back, p->set.max_queue_size);
}

static void check_workers(struct view *v)
{
    unsigned live = 0, draining = 0;
    LIST_EACH(node, &v->pool->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        unsigned busy = 0;
        bool leaves = w->recycle.begun || w->state == PIT_WORKER_DRAINING || w->state == PIT_WORKER_STOPPING;
        draining += !w->dead && leaves;
        live += !w->dead && w->state != PIT_WORKER_GONE;
        for (uint32_t i = 0; w->lanes != NULL && w->lanes[0].attend.fn != NULL && i < w->config->lanes; i++) {
            see_lane(v, &w->lanes[i]);
            busy += w->lanes[i].owner == LANE_CALLER || w->lanes[i].owner == LANE_LOOP;
        }
        if (!w->dead && busy != w->busy_lanes)
            sim_fail("worker %s has %u busy lanes, and counts %u", w->id, busy, w->busy_lanes);
    }
    if (live > (unsigned)v->pool->n_slots + draining)
        sim_fail("%u workers live, %u of them draining; %d are wanted", live, draining, v->pool->n_slots);
}

void check_step(void)
{
    if (sim.host == NULL || fiber_locked())
        return;
    LIST_EACH(node, &sim.host->pools)
    {
        struct view v;
        v.pool = LIST_ENTRY(node, struct pool, node);
        v.idle = v.loop = v.caller = v.n_sent = 0;
        check_workers(&v);
        check_lists(&v);
        check_queue(&v);
    }
}

/* Calls wait, and whoever could run them is kept from it though nobody else serves. */
static void check_aside(struct pool *p)
{
    unsigned aside = 0, serving = 0;
    LIST_EACH(node, &p->workers)
    {
        const struct worker *w = LIST_ENTRY(node, struct worker, node);
        bool serves = !w->dead && w->condemned == 0 && (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY) &&
                      (w->flags & PIT_WORKER_FLAG_SPARE) == 0;
        aside += serves && w->aside;
        serving += serves && !w->aside;
    }
    if (aside != 0 && serving == 0)
        sim_fail("%u workers are tainted and aside, and nobody serves in their place", aside);
}

/* A lane without a call is idle, or closed. */
static void check_given_back(struct pool *p)
{
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        for (uint32_t i = 0; w->lanes != NULL && w->lanes[0].attend.fn != NULL && i < w->config->lanes; i++) {
            const struct lane *l = &w->lanes[i];
            bool taken = l->owner == LANE_CALLER || l->owner == LANE_LOOP;
            if (taken && l->count == 0 && l->unsent.len == 0 && !w->dead && w->condemned == 0 && !w->lost && !l->broken)
                sim_fail("a lane of worker %s has no call, and nobody gives it back", w->id);
        }
    }
}

/* Workers wait for what nobody does. */
static void check_waits(void)
{
    struct proc *p;
    struct sim_wait wait;
    for (unsigned i = 0; (p = proc_at(i)) != NULL; i++) {
        if (!sim_worker_waits(p, &wait))
            continue;
        flow_check_wait(&wait);
        if (wait.asked != 0)
            errand_check_wait(p, wait.asked);
    }
}

static void check_pool(struct pool *p)
{
    check_aside(p);
    check_given_back(p);
    if (p->queue.depth != 0 && !list_empty(&p->idle))
        sim_fail("%zu calls wait beside an idle lane", p->queue.depth);
}

void check_quiet(void)
{
    if (sim.host != NULL && sim.loop_waits == 0) {
        LIST_EACH(node, &sim.host->pools)
        check_pool(LIST_ENTRY(node, struct pool, node));
        check_waits();
    }
    for (unsigned i = 0; i < n_asks; i++) {
        const struct ask *a = &asks[i];
        bool by_loop = a->form != ASK_BLOCKING || a->by_tool || sim.driven;
        if (!a->begun || a->completions != 0 || a->outside != 0 || (by_loop && sim.loop_waits != 0))
            continue; /* while the loop waits for a guard, what it carries is late; callers are not */
        /* the loop's timers have ticks; the thread of a batch looks now and then */
        uint64_t late = a->form == ASK_BATCH ? 50 * SIM_MS : by_loop ? 2 * SIM_MS : 0;
        if (a->deadline_ns != SIM_NEVER && sim.now > a->deadline_ns + late)
            sim_fail("call %u has no outcome %llu us after its deadline", i,
                     (unsigned long long)((sim.now - a->deadline_ns) / SIM_US));
        bool roused = a->form != ASK_BATCH && !(a->by_tool && sim.mood.socket);
        if (a->cancelled_ns != 0 && roused) /* what runs is waited for: of a batch, and where nobody can be roused */
            sim_fail("call %u was cancelled, and has no outcome", i);
    }
}

void check_kill(struct proc *p, const char *by)
{
    sim.kills++;
    if (p->kind == PROC_FOREIGN)
        sim_fail("process %d is somebody else's, and gets a signal by %s", (int)p->pid, by);
}
