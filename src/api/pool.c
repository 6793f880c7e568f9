/* snakepit/pool.h: validate, enter, translate. */
#include <snakepit/pool.h>
#include <string.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/sm.h"
#include "pool/pool_list.h"
#include "pool/tool_run.h"

int pit_pool_start(pit *p, const pit_pool_options *o, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    struct pool_settings s = {0};
    struct pool *pool = NULL;
    pit_error *e = o != NULL ? pool_settings_read(p->os, o, &s) : error_new(PIT_E_INVALID_PARAMETER, "the options are NULL");
    if (e == NULL)
        e = host_add_pool(p->host, &s, &pool);
    if (e == NULL) {
        e = host_await(p->host, pool, false, UINT64_MAX, PIT_E_NO_WORKERS_STARTED);
        if (e != NULL)
            host_stop_pool(p->host, pool, 0);
    }
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

int pit_pool_stop(pit *p, const char *name, int64_t drain_ms, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = NULL;
    if (drain_ms < PIT_NOW)
        e = error_new(PIT_E_INVALID_TIMEOUT, "drain_ms: %lld", (long long)drain_ms);
    else
        pool = host_find(p->host, name, &e);
    if (pool != NULL && tool_under(p->host, pool) != NULL) {
        e = error_new(PIT_E_WRONG_THREAD, "the pool %s would wait for the call that this tool serves", pool->set.name);
        error_suggest(error_pool(e, pool->set.name), "stop it from another thread, or when the tool has returned");
    } else if (pool != NULL) {
        host_stop_pool(p->host, pool, drain_ms == PIT_NOW ? 0 : drain_ms);
    }
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

static int await_ready(pit *p, const char *name, bool all, int64_t timeout_ms, pit_error **reterr)
{
    int rc = timeout_ms == 0 || timeout_ms == PIT_NOW ? api_enter(p) : api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    if (e == NULL && timeout_ms < PIT_NOW)
        e = error_new(PIT_E_INVALID_TIMEOUT, "timeout_ms: %lld", (long long)timeout_ms);
    if (e == NULL)
        e = host_await(p->host, pool, all, timeout_ms == PIT_NOW ? 1 : host_deadline(p->host, timeout_ms),
                       PIT_E_POOL_NOT_INITIALIZED);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

int pit_await_ready(pit *p, const char *pool, int64_t timeout_ms, pit_error **reterr)
{
    return await_ready(p, pool, false, timeout_ms, reterr);
}

int pit_await_all_ready(pit *p, const char *pool, int64_t timeout_ms, pit_error **reterr)
{
    return await_ready(p, pool, true, timeout_ms, reterr);
}

static void add_stats(struct pool *pool, void *arg)
{
    pool_get_stats(pool, arg);
}

/* Of one pool, or of all: into *sum, and as much of it as its caller knows to *ret. Both begin with their size. */
static int sum_up(pit *p, const char *name, void (*add)(struct pool *pool, void *sum), void *sum, size_t sum_size, void *ret)
{
    size_t size = *(const size_t *)ret;
    if (size < sizeof size)
        return PIT_E_INVALID_PARAMETER;
    int rc = api_enter(p);
    if (rc != 0)
        return rc;
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    if (pool != NULL)
        add(pool, sum);
    else if (e == NULL)
        host_each_pool(p->host, add, sum);
    if (e == NULL) {
        memcpy(ret, sum, size < sum_size ? size : sum_size);
        *(size_t *)ret = size;
    }
    rc = error_give(NULL, e);
    api_leave(p);
    return rc;
}

int pit_get_stats(pit *p, const char *name, pit_stats *ret_stats)
{
    pit_stats sum = PIT_STATS_INIT;
    return ret_stats != NULL ? sum_up(p, name, add_stats, &sum, sizeof sum, ret_stats) : PIT_E_INVALID_PARAMETER;
}

static void add_health(struct pool *pool, void *arg)
{
    pool_get_health(pool, arg);
}

int pit_health_get(pit *p, const char *name, pit_health *ret_health)
{
    pit_health sum = {.size = sizeof sum, .is_healthy = 1, .is_ready = 1};
    return ret_health != NULL ? sum_up(p, name, add_health, &sum, sizeof sum, ret_health) : PIT_E_INVALID_PARAMETER;
}

int pit_worker_recycle(pit *p, const char *name, const char *worker_id, pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    if (e == NULL)
        e = worker_id != NULL ? host_recycle(p->host, pool, worker_id)
                              : error_new(PIT_E_INVALID_PARAMETER, "the worker's id is NULL");
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

int pit_taint(pit *p, const char *name, const char *target, int64_t duration_ms, const char *reason, pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    if (e == NULL && target == NULL)
        e = error_new(PIT_E_INVALID_PARAMETER, "the target is NULL");
    if (e == NULL && duration_ms < PIT_NOW)
        e = error_new(PIT_E_INVALID_TIMEOUT, "duration_ms: %lld", (long long)duration_ms);
    if (e == NULL)
        e = host_taint(p->host, pool, target, duration_ms, reason != NULL ? reason : "asked for");
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

static void clear_poison(struct pool *pool, void *arg)
{
    (void)arg;
    poison_clear(pool);
}

int pit_poison_clear(pit *p, const char *name, pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    if (pool != NULL)
        clear_poison(pool, NULL);
    else if (e == NULL)
        host_each_pool(p->host, clear_poison, NULL);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

int pit_kill(pit *p, const char *worker_id, int64_t term_grace_ms, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e;
    if (worker_id == NULL)
        e = error_new(PIT_E_INVALID_PARAMETER, "the worker's id is NULL");
    else if (term_grace_ms < 0 && term_grace_ms != PIT_NOW)
        e = error_new(PIT_E_INVALID_TIMEOUT, "term_grace_ms: %lld", (long long)term_grace_ms);
    else
        e = host_kill(p->host, worker_id, term_grace_ms > 0 ? term_grace_ms : 0);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

struct pit_worker_list {
    struct worker_rows rows;
};

static void add_rows(struct pool *pool, void *arg)
{
    pool_list(pool, arg);
}

int pit_list_workers(pit *p, const char *name, pit_worker_list **ret, pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    pit_worker_list *l = e == NULL ? mem_zalloc(sizeof *l) : NULL;
    if (l != NULL && pool != NULL)
        add_rows(pool, &l->rows);
    else if (l != NULL)
        host_each_pool(p->host, add_rows, &l->rows);
    if (e == NULL && (l == NULL || l->rows.failed)) {
        pit_worker_list_free(l);
        e = error_new(PIT_E_ALLOCATION_FAILED, "out of memory");
    }
    if (e == NULL && ret != NULL)
        *ret = l;
    else if (e == NULL)
        pit_worker_list_free(l);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}

size_t pit_worker_list_len(const pit_worker_list *l)
{
    return l != NULL ? l->rows.n : 0;
}

const pit_worker_info *pit_worker_list_at(const pit_worker_list *l, size_t i)
{
    return l != NULL && i < l->rows.n ? &l->rows.items[i].info : NULL;
}

void pit_worker_list_free(pit_worker_list *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->rows.n; i++)
        pit_value_free((pit_value *)(uintptr_t)l->rows.items[i].info.health);
    mem_free(l->rows.items);
    mem_free(l);
}

const char *pit_worker_state_name(int state)
{
    static const char *const names[] = {"none",
#define WORKER_NAME(constant, name) #name,
                                        PIT_WORKER_STATE_LIST(WORKER_NAME)
#undef WORKER_NAME
    };
    return state > 0 && (size_t)state < sizeof names / sizeof names[0] ? names[state] : names[0];
}
