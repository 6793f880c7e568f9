/* A pool as a whole: its state, its making and its end. The starts and deaths of its workers are pool_life.c's. Loop thread, unless pool.h says
 * otherwise. */
#include "base/alloc.h"
#include "base/sm.h"
#include "pool/cancel.h"
#include "pool/pool_internal.h"
#include "pool/start_mode.h"

static const struct sm_state states[] = {{NULL, 0},
#define POOL_STATE_ROW(constant, name, edges) {#name, edges},
                                         POOL_STATE_LIST(POOL_STATE_ROW)
#undef POOL_STATE_ROW
};
static const struct sm_table table = {"pool", states, POOL_STATE_COUNT};

bool pool_move(struct pool *p, int state)
{
    return sm_move(&table, &p->state, state);
}

pit_error *pool_closing(struct pool *p)
{
    return error_pool(error_new(PIT_E_SHUTTING_DOWN, "pool %s is being closed", p->set.name), p->set.name);
}

unsigned pool_count_ready(struct pool *p)
{
    unsigned n = 0;
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        n += !w->dead && (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY);
    }
    return n;
}

unsigned pool_ready_workers(struct pool *p)
{
    pool_lock(p);
    unsigned n = pool_count_ready(p);
    pool_unlock(p);
    return n;
}

/* ---- ending ---- */

void pool_end_queued(struct pool *p, struct list *done)
{
    struct call *c;
    while ((c = queue_head(&p->queue)) != NULL || (c = barrier_first(p)) != NULL) {
        pit_error *e = sched_admit(p);
        if (e == NULL)
            e = pool_closing(p);
        sched_forget(p, c);
        if (c->waited_for) {
            sched_finish(p, c, outcome_failed(e));
            sched_wake(p, c);
        } else {
            async_complete(p, c, outcome_failed(e), done);
        }
    }
}

void pool_shut(struct pool *p)
{
    pool_lock(p);
    pool_move(p, POOL_STOPPING);
    __atomic_store_n(&p->ending, true, __ATOMIC_RELEASE);
    pool_unlock(p);
    host_changed(p->host);
}

bool pool_is_idle(struct pool *p)
{
    pool_lock(p);
    bool idle = p->active == 0;
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        for (unsigned i = 0; idle && w->lanes != NULL && i < p->config.lanes; i++)
            idle = !cancel_climbs(p, &w->lanes[i]);
    }
    pool_unlock(p);
    return idle;
}

void pool_end_calls(struct pool *p)
{
    struct list done;
    list_init(&done);
    pool_lock(p);
    pool_end_queued(p, &done);
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (w->busy_lanes != 0)
            sched_condemn(p, w, PIT_E_SHUTTING_DOWN, "the pool was closed while the call ran");
    }
    pool_unlock(p);
    async_deliver(p, &done);
}

void pool_stop_workers(struct pool *p, bool at_once)
{
    for (int i = 0; i < p->n_slots; i++)
        loop_timer_stop(p->env->loop, &p->slots[i].timer);
    loop_timer_stop(p->env->loop, &p->batch_timer);
    loop_timer_stop(p->env->loop, &p->zygote_timer);
    loop_timer_stop(p->env->loop, &p->calm_timer);
    loop_timer_stop(p->env->loop, &p->scan_timer);
    loop_timer_stop(p->env->loop, &p->barrier.timer);
    tainting_stop(p);
    loop_timer_stop(p->env->loop, &p->crash_health.timer);
    LIST_EACH_SAFE(node, next, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (at_once)
            worker_kill(w, PIT_E_SHUTTING_DOWN, "it was killed while the pool was closed");
        else
            worker_stop(w);
    }
}

bool pool_has_workers(struct pool *p)
{
    pool_lock(p);
    bool has = false;
    LIST_EACH(node, &p->workers)
    has = has || LIST_ENTRY(node, struct worker, node)->state != PIT_WORKER_GONE;
    if (!has)
        pool_move(p, POOL_STOPPED);
    pool_unlock(p);
    return has;
}

/* ---- making and freeing ---- */

void pool_settings_free(struct pool_settings *s)
{
    mem_free(s->name);
    mem_free(s->adapter);
    mem_free(s->python);
    mem_free(s->cwd);
    mem_free_strv(s->command);
    mem_free_strv(s->adapter_args);
    mem_free_strv(s->env);
    mem_free_strv(s->python_path);
    mem_free_strv(s->preload);
    mem_free_strv(s->taint_error_types);
    pit_value_free(s->command_timeouts);
    mem_free(s->dossier.dir);
    *s = (struct pool_settings){0};
}

struct pool *pool_create(struct host *h, struct worker_env *env, struct pool_settings *set)
{
    struct pool *p = mem_zalloc(sizeof *p);
    struct slot *slots = mem_array((size_t)set->workers + (size_t)set->spare_workers, sizeof *slots);
    if (p == NULL || slots == NULL || poollock_init(&p->lock, env->telemetry, set->name) != 0) {
        mem_free(slots);
        mem_free(p);
        pool_settings_free(set);
        return NULL;
    }
    p->host = h;
    p->env = env;
    p->set = *set;
    p->slots = slots;
    p->n_slots = p->set.workers + p->set.spare_workers;
    p->state = POOL_STARTING;
    list_init(&p->idle);
    list_init(&p->loop_lanes);
    list_init(&p->workers);
    queue_init(&p->queue);
    wheel_init(&p->expiry, env->os->now_ns());
    async_init(p);
    cancel_init(p);
    life_init(p);
    watch_init(p);
    start_mode_init(p);
    barrier_init(p);
    tainting_init(p);
    crash_health_init(p);
    poison_init(p);
    p->config = (struct worker_config){.pool = p->set.name,
                                       .cwd = p->set.cwd,
                                       .lanes = p->set.lanes,
                                       .threaded = p->set.threaded,
                                       .adapter_scope = p->set.adapter_scope,
                                       .ring_bytes = p->set.ring_bytes,
                                       .max_frame = p->set.max_frame,
                                       .channel = p->set.channel,
                                       .ready_timeout_ms = p->set.worker_ready_timeout_ms,
                                       .graceful_ms = p->set.graceful_ms,
                                       .keeps_descendants = p->set.keeps_descendants,
                                       .heartbeat = p->set.heartbeat.enabled,
                                       .dossier = p->set.dossier,
                                       .repro = {h->set.generate_repro, p->set.adapter, p->set.python},
                                       .lock = &p->lock};
    *set = (struct pool_settings){0};
    if (pool_make_adapter(p))
        return p;
    pool_destroy(p);
    return NULL;
}

void pool_destroy(struct pool *p)
{
    probe_finish(&p->probe);
    cancel_finish(p);
    poison_finish(p);
    poollock_finish(&p->lock);
    mem_free_strv(p->config.argv);
    mem_free_strv(p->config.env);
    pit_error_free(p->start_error);
    pit_value_free(p->timeouts);
    pit_value_free(p->repeatable);
    pit_value_free(p->tools);
    pool_settings_free(&p->set);
    for (int i = 0; i < p->n_slots; i++)
        mem_free(p->slots[i].past);
    mem_free(p->slots);
    mem_free(p);
}

int64_t pool_timeout_of(struct pool *p, const char *command, bool streams)
{
    int64_t ms = streams ? p->set.stream.timeout_ms : p->set.timeout_ms;
    if (pit_value_get_int(pit_value_get(p->set.command_timeouts, command), &ms) ||
        !__atomic_load_n(&p->has_timeouts, __ATOMIC_RELAXED))
        return ms;
    pool_lock(p);
    pit_value_get_int(pit_value_get(p->timeouts, command), &ms);
    pool_unlock(p);
    return ms;
}

void pool_count_refusals(struct pool *p, size_t n, int rc)
{
    pool_lock(p);
    p->requests += n;
    p->errors += n;
    p->cancelled += rc == PIT_E_CANCELLED ? n : 0;
    pool_unlock(p);
}
