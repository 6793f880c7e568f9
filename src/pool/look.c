/* See host.h. This file: what a worker that lives is doing.
 *
 * The caller's thread asks and waits; the loop is not needed, and may hang. A reference keeps the worker's memory, its end is looked for
 * before and after: a number that another process has by then is never told as the worker's. */
#include <errno.h>
#include <string.h>

#include "pool/look.h"
#include "pool/pool_internal.h"
#include "pool/pool_list.h"

#define LIMIT_NS (500 * MS) /* a machine under load; mostly it is some milliseconds */

struct search {
    struct pool *pool; /* where it must be; NULL: anywhere */
    const char *id;
    const char *found_in;
    struct worker *worker; /* with a reference of ours */
    struct pool *of;
};

static struct worker *find(struct pool *p, const char *id)
{
    LIST_EACH(node, &p->workers)
    {
        struct worker *w = LIST_ENTRY(node, struct worker, node);
        if (strcmp(w->id, id) == 0 && w->state != PIT_WORKER_GONE)
            return w;
    }
    return NULL;
}

static void look_there(struct pool *p, void *arg)
{
    struct search *s = arg;
    pool_lock(p);
    struct worker *w = find(p, s->id);
    if (w != NULL)
        s->found_in = p->set.name;
    if (w != NULL && (s->pool == NULL || s->pool == p)) {
        s->worker = worker_ref(w);
        s->of = p;
    }
    pool_unlock(p);
}

static pit_error *not_found(const struct search *s)
{
    pit_error *e;
    if (s->found_in == NULL)
        e = error_suggest(error_new(PIT_E_WORKER_NOT_FOUND, "there is no worker %.96s", s->id),
                          "pit_list_workers tells the ids; a worker that was replaced has got another generation");
    else
        e = error_new(PIT_E_POOL_MISMATCH, "worker %.96s belongs to pool %s, not to %s", s->id, s->found_in, s->pool->set.name);
    return error_worker(e, s->id);
}

static pit_error *ended(const struct worker *w)
{
    pit_error *e = error_new(PIT_E_STALE_WORKER, "worker %s ended while it was looked at", w->id);
    return error_worker(error_suggest(e, "the error of the call that it ran has the dossier of its death"), w->id);
}

/* What may be asked, and whom: lock. */
struct look_target look_target_of(const struct worker *w)
{
    struct look_target t = {.pid = w->pid, .no_page = "the worker is starting: what answers begins when it is ready"};
    if (w->ready_ns != 0 && !look_find_page(w->segment, w->segment_bytes, &t))
        t.no_page = "the worker has no memory for answers";
    return t;
}

static void put_worker(struct worker *w, pit_value *map)
{
    pit_map_set_take(map, "worker_id", pit_str(w->id));
    pit_map_set_take(map, "pool", pit_str(w->config->pool));
    pit_map_set_take(map, "pid", pit_int(w->pid));
    pit_map_set_take(map, "stalled", pit_bool((w->flags & PIT_WORKER_FLAG_STALLED) != 0));
    pit_map_set_take(map, "calls", dossier_running_calls(w));
}

/* Two steps: the kernel and the worker are asked without the lock, the calls are read under it. */
static pit_error *look_into(struct pool *p, struct worker *w, pit_value **ret)
{
    int rc = 0;
    pool_lock(p);
    struct look_target t = look_target_of(w);
    pool_unlock(p);
    if (pool_has_adapter(p))
        return error_suggest(
            error_worker(error_new(PIT_E_INVALID_REQUEST, "worker %s is a thread of this program", w->id), w->id),
            "a debugger that is attached to the program shows what it does");
    if (t.pid == 0)
        return error_worker(error_new(PIT_E_NOT_READY, "worker %s has no process yet", w->id), w->id);
    pit_value *map = look_take(p->env->os, &t, LIMIT_NS, &rc);
    pool_lock(p);
    bool gone = rc == -ESRCH || w->dead || w->state == PIT_WORKER_GONE;
    if (map != NULL && !gone)
        put_worker(w, map);
    pool_unlock(p);
    if (!gone && map != NULL && pit_value_error(map) == 0) {
        *ret = map;
        return NULL;
    }
    pit_value_free(map);
    return gone ? ended(w) : error_new(PIT_E_ALLOCATION_FAILED, "out of memory while worker %s was looked at", w->id);
}

pit_error *host_look(struct host *h, struct pool *pool, const char *worker_id, pit_value **ret)
{
    struct search s = {.pool = pool, .id = worker_id};
    host_each_pool(h, look_there, &s);
    if (s.worker == NULL)
        return not_found(&s);
    pit_error *e = look_into(s.of, s.worker, ret);
    pool_lock(s.of);
    bool last = worker_unref(s.worker);
    pool_unlock(s.of);
    if (last)
        worker_free(s.worker);
    return e;
}
