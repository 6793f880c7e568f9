/* Pools whose workers are threads of this process: the beginning and the end of their adapter (worker/inproc.h).
 *
 * Invariants
 *  1. init runs before the first thread starts and terminate after the last has left; neither under a lock, nor on the loop.
 *  2. Of such a pool env->guard and env->registry are NULL: whoever would speak to them of a worker has nothing to say.
 *
 * Failure: an init that fails makes the pool FAILED for good, as what shows before a worker is started does. */
#include "pool/pool_internal.h"

bool pool_make_adapter(struct pool *p)
{
    if (p->set.c_adapter.size == 0)
        return true;
    p->own_env = *p->env;
    p->own_env.guard = NULL;
    p->own_env.registry = NULL;
    p->env = &p->own_env;
    p->config.home = adapter_home_create(p->env->os, &p->set.c_adapter, p->set.c_adapter_user, p->set.name);
    p->config.spin_ns = p->set.spin_ns;
    return p->config.home != NULL;
}

struct beginning {
    struct pool *pool;
    pit_error *error;
};

static void begin(struct host *h, void *arg)
{
    struct beginning *b = arg;
    (void)h;
    if (b->error != NULL)
        pool_fail(b->pool, b->error);
    else if (!pool_is_ending(b->pool))
        pool_start(b->pool, NULL, NULL);
}

/* From now on a thread may be inside a function of the host, as inside a tool, and its calls inherit from that. */
void pool_start_adapter(struct pool *p)
{
    struct adapter_home *home = p->config.home;
    struct beginning b = {.pool = p, .error = adapter_home_init(home)};
    __atomic_add_fetch(&p->host->tools_running, 1, __ATOMIC_RELAXED);
    host_run(p->host, begin, &b);
    adapter_home_leave(home); /* somebody may have stopped the pool meanwhile */
}

unsigned pool_leave_adapter(struct pool *p, uint64_t deadline_ns)
{
    pool_lock(p);
    bool mine = pool_has_adapter(p) && !p->left_adapter;
    p->left_adapter = p->left_adapter || mine;
    pool_unlock(p);
    return mine ? adapter_home_close(p->config.home, deadline_ns)
                : 0; /* tools_running stays: others may be in there for long */
}
