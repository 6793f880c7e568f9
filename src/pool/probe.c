/* See probe.h.
 *
 * Failure: without memory or a thread nobody looks this time, and it is told as a look that failed. */
#include "pool/probe.h"

#include <errno.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"

struct probe_row {
    int slot, rc; /* rc: 0 or -errno */
    uint64_t generation, bytes;
    pid_t pid;
};

static void *look(void *arg)
{
    struct probe *p = arg;
    const struct worker_env *env = p->pool->env;
    for (size_t i = 0; i < p->n; i++)
        p->rows[i].rc = env->os->group_memory(p->rows[i].pid, &p->rows[i].bytes);
    loop_post(env->loop, &p->done);
    return NULL;
}

static void on_done(struct loop_work *work)
{
    struct probe *p = LIST_ENTRY(work, struct probe, done);
    if (!p->running)
        return;
    pthread_join(p->thread, NULL);
    p->running = false;
    for (size_t i = 0; i < p->n; i++)
        recycle_seen(p->pool, p->rows[i].slot, p->rows[i].generation, p->rows[i].rc, p->rows[i].bytes);
    mem_free(p->rows);
    p->rows = NULL;
}

void probe_init(struct probe *p, struct pool *pool)
{
    *p = (struct probe){.pool = pool, .done = {.fn = on_done}};
}

static bool serves(const struct worker *w)
{
    return !w->dead && (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY);
}

void probe_begin(struct probe *p)
{
    struct pool *pool = p->pool;
    size_t room = 0;
    if (p->running)
        return;
    pool_lock(pool);
    LIST_EACH(node, &pool->workers)
    room++;
    p->rows = mem_array(room + 1, sizeof *p->rows);
    p->n = 0;
    LIST_EACH(node, &pool->workers)
    {
        const struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (p->rows != NULL && serves(w))
            p->rows[p->n++] = (struct probe_row){.slot = w->slot, .generation = w->generation, .pid = w->pid};
    }
    pool_unlock(pool);
    if (p->rows == NULL) {
        recycle_seen(pool, -1, 0, -ENOMEM, 0);
        return;
    }
    int rc = p->n != 0 ? pool->env->os->thread_start(&p->thread, look, p) : 0;
    p->running = rc == 0 && p->n != 0;
    if (p->running)
        return;
    mem_free(p->rows);
    p->rows = NULL;
    if (rc != 0)
        recycle_seen(pool, -1, 0, rc, 0);
}

void probe_finish(struct probe *p)
{
    if (p->running)
        pthread_join(p->thread, NULL);
    p->running = false;
    mem_free(p->rows);
    p->rows = NULL;
}
