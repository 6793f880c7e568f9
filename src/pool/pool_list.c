/* See pool_list.h. */
#include "pool/pool_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"

/* When the call was sent: not before it really was, and not in the future. */
static uint64_t sent_at(const struct call *c, uint64_t now_ns)
{
    uint64_t sent = __atomic_load_n(&c->sent_ns, __ATOMIC_RELAXED);
    uint64_t latest = c->coarse ? sent + OS_TICK_NS : sent;
    return latest < now_ns ? latest : now_ns;
}

/* When the call that the worker has begun was sent; 0 while none has begun. */
static uint64_t running_since(const struct worker *w, uint32_t lanes)
{
    uint64_t since = 0, now = w->env->os->now_ns();
    for (uint32_t i = 0; w->lanes != NULL && i < lanes; i++) {
        struct flight *f = lane_head(&w->lanes[i]);
        uint64_t sent = f != NULL && f->call != NULL ? sent_at(f->call, now) : 0;
        if (sent != 0 && lane_started(&w->lanes[i], f->sequence) && (since == 0 || sent < since))
            since = sent;
    }
    return since;
}

static void fill(struct worker_row *row, const struct pool *p, const struct worker *w)
{
    bool tainted = taint_meets(&p->slots[w->slot].tainted.taint, w->generation);
    memcpy(row->id, w->id, sizeof row->id);
    snprintf(row->pool, sizeof row->pool, "%s", p->set.name);
    row->info = (pit_worker_info){.size = sizeof row->info,
                                  .slot = w->slot,
                                  .state = w->state,
                                  .generation = w->generation,
                                  .pid = w->pid,
                                  .start_mode = pool_has_adapter(p) ? PIT_START_THREAD
                                                : w->zygote != NULL ? PIT_START_ZYGOTE
                                                                    : PIT_START_EXEC,
                                  .lanes = (int)p->config.lanes,
                                  .busy_lanes = (int)w->busy_lanes,
                                  .channel = w->is_ring ? "ring" : "socket",
                                  .calls = worker_calls(w),
                                  .current_call_started_ns = running_since(w, p->config.lanes),
                                  .started_ns = w->started_ns,
                                  .pss_bytes = w->recycle.memory_bytes,
                                  .dropped_output_bytes = __atomic_load_n(&w->out.dropped, __ATOMIC_RELAXED) +
                                                          __atomic_load_n(&w->err.dropped, __ATOMIC_RELAXED),
                                  .flags = w->flags | (tainted ? PIT_WORKER_FLAG_TAINTED : 0),
                                  .gil = w->ready_ns != 0 ? w->gil : 0,
                                  .health = pit_value_ref(w->health.report)};
}

static int by_slot(const void *a, const void *b)
{
    const pit_worker_info *x = &((const struct worker_row *)a)->info, *y = &((const struct worker_row *)b)->info;
    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    return x->generation < y->generation ? -1 : x->generation > y->generation;
}

void pool_list(struct pool *p, struct worker_rows *rows)
{
    pool_lock(p);
    size_t n = 0, first = rows->n;
    LIST_EACH(node, &p->workers)
    n++;
    struct worker_row *items = rows->failed ? NULL : mem_realloc(rows->items, (rows->n + n) * sizeof *items);
    if (items == NULL) {
        rows->failed = true;
    } else {
        rows->items = items;
        LIST_EACH(node, &p->workers)
        if (LIST_ENTRY(node, struct worker, node)->state != PIT_WORKER_GONE)
            fill(&items[rows->n++], p, LIST_ENTRY(node, struct worker, node));
    }
    pool_unlock(p);
    if (items == NULL)
        return;
    qsort(items + first, rows->n - first, sizeof *items, by_slot);
    for (size_t i = 0; i < rows->n; i++) {
        items[i].info.id = items[i].id;
        items[i].info.pool = items[i].pool;
    }
}

void host_each_pool(struct host *h, void (*fn)(struct pool *p, void *arg), void *arg)
{
    pthread_mutex_lock(&h->lock);
    LIST_EACH(node, &h->pools)
    fn(LIST_ENTRY(node, struct pool, node), arg);
    pthread_mutex_unlock(&h->lock);
}

static void add_recycled(const struct pool *p, pit_stats *add)
{
    for (int i = 0; i < RECYCLE_REASONS; i++)
        add->recycled += p->recycled[i];
    add->recycled_ttl_expired += p->recycled[RECYCLE_TTL_EXPIRED];
    add->recycled_max_requests += p->recycled[RECYCLE_MAX_REQUESTS];
    add->recycled_memory_threshold += p->recycled[RECYCLE_MEMORY_THRESHOLD];
    add->recycled_leak_forecast += p->recycled[RECYCLE_LEAK_FORECAST];
    add->recycled_manual += p->recycled[RECYCLE_MANUAL];
    add->recycled_health += p->recycled[RECYCLE_HEALTH];
    add->recycled_cancelled += p->recycled[RECYCLE_CANCELLED];
}

/* What can serve now, and does: a spare does not. */
static void add_lanes(const struct pool *p, const struct worker *w, pit_stats *add)
{
    bool serves = !w->dead && (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY);
    if (!serves || (w->flags & PIT_WORKER_FLAG_SPARE) != 0)
        return;
    add->lanes += p->config.lanes;
    add->busy_lanes += w->busy_lanes;
    add->gil += w->gil == PIT_ON;
}

static void add_near(const struct pool *p, const struct worker *w, pit_stats *add)
{
    if (w->dead || w->state < PIT_WORKER_READY || !recycle_has_rules(&p->set.recycle))
        return;
    struct recycle_facts facts = recycle_facts_of(p, w);
    add->near_ttl += recycle_near_ttl(&p->set.recycle, &facts);
    add->near_max_requests += recycle_near_max_requests(&p->set.recycle, &facts);
}

static void add_held(const struct pool *p, pit_stats *add)
{
    uint64_t now = pool_now(p);
    for (int i = 0; i < p->n_slots; i++) {
        uint64_t until = p->slots[i].held_until_ns;
        double ms = until > now ? (double)(until - now) / 1e6 : 0;
        if (until != 0 && (add->held_back++ == 0 || ms < add->next_start_ms))
            add->next_start_ms = ms;
    }
}

static void add_unforked(const struct pool *p, pit_stats *add)
{
    if (!p->unforked)
        return;
    add->unforked++;
    memcpy(add->unforked_reason, p->unforked_reason, sizeof add->unforked_reason);
    memcpy(add->unforked_library, p->unforked_library, sizeof add->unforked_library);
    memcpy(add->unforked_module, p->unforked_module, sizeof add->unforked_module);
}

void pool_get_stats(struct pool *p, pit_stats *add)
{
    pool_lock(p);
    add->requests += p->requests;
    add->succeeded += p->succeeded;
    add->errors += p->errors;
    add->queued += p->queue.depth;
    add->queued_total += p->queued_total;
    add->queue_timeouts += p->queue_timeouts;
    add->pool_saturated += p->saturated;
    add->cancelled += p->cancelled;
    add->poisoned += p->poison.refused;
    add->retries += p->barrier.retries;
    add->crashes += p->crashes;
    add->promoted += p->promoted;
    add->tainted += p->tainting.slots;
    add->restarts += p->restarts;
    add->degraded += p->state == POOL_DEGRADED;
    add->failed += p->state == POOL_FAILED;
    add_held(p, add);
    add_unforked(p, add);
    add->pings += p->pings;
    add->pongs += p->pongs;
    add->missed_heartbeats += p->missed_heartbeats;
    add_recycled(p, add);
    if (p->max_queue_ms > add->max_queue_ms)
        add->max_queue_ms = p->max_queue_ms;
    if (p->avg_queue_ms > add->avg_queue_ms)
        add->avg_queue_ms = p->avg_queue_ms;
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        add->workers += !w->dead && w->state < PIT_WORKER_STOPPING;
        bool spare = (w->flags & PIT_WORKER_FLAG_SPARE) != 0;
        add->available += !w->dead && w->state == PIT_WORKER_READY && !spare;
        add->spares += !w->dead && w->state == PIT_WORKER_READY && spare;
        add->busy += !w->dead && w->state == PIT_WORKER_BUSY;
        add->draining += w->state == PIT_WORKER_DRAINING;
        add->suspect += !w->dead && (w->flags & PIT_WORKER_FLAG_SUSPECT) != 0;
        add->stalled += !w->dead && (w->flags & PIT_WORKER_FLAG_STALLED) != 0;
        add_near(p, w, add);
        add_lanes(p, w, add);
    }
    pool_unlock(p);
}
