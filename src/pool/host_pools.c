/* See host.h. This file: the pools of a host, from their opening to their stop. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "pool/spawn_args.h"
#include "pool/start_mode.h"

/* ---- opening ---- */

struct opening { /* lives until the pool's interpreter is known */
    struct interpreter_wait wait;
    struct pool *pool;
};

struct add {
    struct pool_settings *set;
    struct pool *pool;
    pit_error *error;
};

static void launch(struct pool *p, const struct interpreter *i)
{
    char **argv = spawn_argv(p->host, &p->set, i != NULL ? i->executable : NULL);
    char **env = spawn_env(p->host, &p->set, i);
    if (argv != NULL && env != NULL) {
        pool_start(p, argv, env);
        return;
    }
    mem_free_strv(argv);
    mem_free_strv(env);
    pool_fail(p, error_new(PIT_E_ALLOCATION_FAILED, "out of memory while pool %s was started", p->set.name));
}

static void on_interpreter(struct interpreter_wait *w, struct interpreter *i)
{
    struct opening *o = LIST_ENTRY(w, struct opening, wait);
    struct pool *p = o->pool;
    mem_free(o);
    if (i == NULL)
        pool_fail(p, error_new(PIT_E_ALLOCATION_FAILED, "out of memory while pool %s was started", p->set.name));
    else if (i->error != NULL)
        pool_fail(p, error_ref(i->error));
    else
        launch(p, i);
}

/* Whoever names a place for snakepit_bridge means that one, and no other that the interpreter may find. A file (an archive) is Python's
 * affair. */
static pit_error *check_package(const struct host *h)
{
    const char *folder = h->set.package_path, *from = h->set.package_from;
    struct buf b = {0};
    if (folder == NULL || from == NULL)
        return NULL;
    buf_printf(&b, "%s/.", folder);
    bool there = !b.failed && h->os->access(folder, R_OK) == 0, is_folder = there && h->os->access((char *)b.data, R_OK) == 0;
    b.len = 0;
    buf_printf(&b, "%s/snakepit_bridge/__init__.py", folder);
    bool good = b.failed || (there && (!is_folder || h->os->access((char *)b.data, R_OK) == 0));
    buf_finish(&b);
    if (good)
        return NULL;
    pit_error *e = error_new(PIT_E_PACKAGE_ERROR, "%s is %s, which %s", from, folder,
                             is_folder ? "does not hold snakepit_bridge" : "cannot be read");
    return error_suggest(
        e, "name the folder that holds snakepit_bridge, or leave it unset: then the package is looked for beside the library, "
           "and where the interpreter looks");
}

static void ask_interpreter(struct pool *p)
{
    struct host *h = p->host;
    pit_error *e = check_package(h);
    const char *wanted = p->set.python != NULL ? p->set.python : h->set.python;
    char *path = e == NULL ? interpreter_find(h->os, wanted, h->set.virtual_env, h->set.path, &e) : NULL;
    struct opening *o = path != NULL ? mem_zalloc(sizeof *o) : NULL;
    if (o != NULL) {
        o->wait.fn = on_interpreter;
        o->pool = p;
        interpreter_forget_failures(h);
        interpreter_ask(h, path, &o->wait);
    } else {
        pool_fail(p,
                  e != NULL ? e : error_new(PIT_E_ALLOCATION_FAILED, "out of memory while pool %s was started", p->set.name));
    }
    mem_free(path);
}

static bool name_taken(struct host *h, const char *name)
{
    LIST_EACH(node, &h->pools)
    if (strcmp(LIST_ENTRY(node, struct pool, node)->set.name, name) == 0)
        return true;
    return false;
}

/* All pools of a host have max_workers together. */
static void clip_workers(struct host *h, struct pool_settings *s)
{
    int left = h->set.max_workers - h->total_workers, wanted = s->workers + s->spare_workers;
    if (wanted <= left)
        return;
    int spares = left - s->workers;
    s->spare_workers = spares > 0 ? spares : 0; /* they go first */
    if (spares >= 0) {
        log_line(&h->log, PIT_LOG_WARNING, "pool %s gets %d spare workers: max_workers is %d", s->name, s->spare_workers,
                 h->set.max_workers);
        return;
    }
    wanted = s->workers;
    s->workers = left > 1 ? left : 1;
    log_line(&h->log, PIT_LOG_WARNING, "pool %s gets %d workers instead of %d: max_workers is %d", s->name, s->workers, wanted,
             h->set.max_workers);
    struct event_common common = {.pool = s->name};
    const double numbers[] = {(double)wanted, (double)s->workers};
    const char *texts[] = {"max_workers"};
    telemetry_emit(h->telemetry, EVENT_POOL_WORKER_LIMIT, &common, numbers, texts);
}

static void add_pool(struct host *h, void *arg)
{
    struct add *a = arg;
    if (__atomic_load_n(&h->closing, __ATOMIC_ACQUIRE)) {
        a->error = error_new(PIT_E_SHUTTING_DOWN, "the host is being closed");
    } else if (name_taken(h, a->set->name)) {
        a->error = error_new(PIT_E_DUPLICATE_POOL_NAME, "there is a pool %s already", a->set->name);
        error_detail_take(a->error, "pool", pit_str(a->set->name));
    }
    if (a->error != NULL) {
        pool_settings_free(a->set);
        return;
    }
    clip_workers(h, a->set);
    struct pool *p = pool_create(h, &h->env, a->set);
    if (p == NULL) {
        a->error = error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a pool was made");
        return;
    }
    pthread_mutex_lock(&h->lock);
    list_push_back(&h->pools, &p->node);
    h->total_workers += p->n_slots;
    if (h->first == NULL)
        __atomic_store_n(&h->first, p, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&h->lock);
    a->pool = p;
    if (p->set.command != NULL)
        launch(p, NULL);
    else if (!pool_has_adapter(p)) /* one that has begins where it may block */
        ask_interpreter(p);
}

pit_error *host_add_pool(struct host *h, struct pool_settings *set, struct pool **ret)
{
    struct add a = {.set = set};
    host_run(h, add_pool, &a);
    if (a.pool != NULL)
        host_try_crashes(h, a.pool);
    if (a.pool != NULL && pool_has_adapter(a.pool))
        pool_start_adapter(a.pool);
    *ret = a.pool;
    return a.error;
}

/* ---- finding and awaiting ---- */

static pit_error *no_such_pool(struct host *h, const char *name)
{
    enum { LOOKED_AT = 64, LISTED = 10 };
    const char *names[LOOKED_AT]; /* a stopped pool's name lives on as the pool does */
    size_t n = 0;
    pit_value *available = pit_list();
    pthread_mutex_lock(&h->lock);
    LIST_EACH(node, &h->pools)
    if (n < LOOKED_AT)
        names[n++] = LIST_ENTRY(node, struct pool, node)->set.name;
    pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < n && i < LISTED; i++)
        pit_list_append_take(available, pit_str(names[i]));
    pit_error *e = error_new(PIT_E_POOL_NOT_FOUND, "there is no pool '%.64s'", name);
    error_detail_take(e, "pool", pit_str(name));
    error_detail_take(e, "available", available);
    const char *near = error_nearest(name, names, n);
    if (near == NULL)
        return e;
    error_detail_take(e, "nearest", pit_str(near));
    return error_suggest(e, "did you mean '%s'?", near);
}

struct pool *host_find(struct host *h, const char *name, pit_error **ret_error)
{
    struct pool *found = NULL;
    if (name == NULL) {
        found = __atomic_load_n(&h->first, __ATOMIC_ACQUIRE);
    } else {
        pthread_mutex_lock(&h->lock);
        LIST_EACH(node, &h->pools)
        {
            struct pool *p = LIST_ENTRY(node, struct pool, node);
            if (strcmp(p->set.name, name) == 0)
                found = p;
        }
        pthread_mutex_unlock(&h->lock);
    }
    if (found == NULL)
        *ret_error = name != NULL ? no_such_pool(h, name)
                                  : error_suggest(error_new(PIT_E_POOL_NOT_FOUND, "there is no pool at all"),
                                                  "set adapter or pools in pit_options, or call pit_pool_start");
    return found;
}

/* 1: as wanted; 0: not yet; -1: it has failed. */
static int look(struct pool *p, bool all_workers, pit_error **ret_cause, bool *ret_hopeless)
{
    unsigned ready = pool_ready_workers(p);
    if (ready >= (all_workers ? (unsigned)p->set.workers : 1))
        return 1;
    pool_lock(p);
    bool failed = p->state == POOL_FAILED || p->state >= POOL_STOPPING;
    *ret_hopeless = p->hopeless;
    if (*ret_cause == NULL && p->start_error != NULL)
        *ret_cause = error_ref(p->start_error);
    pool_unlock(p);
    return failed ? -1 : 0;
}

static pit_error *failure(struct pool *p, pit_error *cause, bool hopeless, int code)
{
    if (hopeless && cause != NULL)
        return cause;
    pit_error *e = pool_is_ending(p)
                       ? pool_closing(p)
                       : error_pool(error_new(code, "no worker of pool %s could be started", p->set.name), p->set.name);
    return cause != NULL ? error_cause_take(e, cause) : e;
}

static pit_error *await_pool(struct host *h, struct pool *p, bool all_workers, uint64_t deadline_ns, int failed_code)
{
    for (;;) {
        uint32_t seen = __atomic_load_n(&h->change, __ATOMIC_SEQ_CST);
        pit_error *cause = NULL;
        bool hopeless = false;
        int state = look(p, all_workers, &cause, &hopeless);
        if (state < 0)
            return failure(p, cause, hopeless, failed_code);
        if (state > 0) {
            pit_error_free(cause);
            return NULL;
        }
        if (!host_wait(h, &h->change, seen, deadline_ns)) {
            pit_error *e = error_new(PIT_E_NOT_READY, "pool %s was not ready in time", p->set.name);
            error_pool(e, p->set.name);
            return cause != NULL ? error_cause_take(e, cause) : e;
        }
        pit_error_free(cause);
    }
}

/* h->lock */
static bool is_listed(struct host *h, const struct pool *p)
{
    LIST_EACH(node, &h->pools)
    if (node == &p->node)
        return true;
    return false;
}

/* From the beginning again when `after` has been stopped meanwhile. */
static struct pool *next_pool(struct host *h, struct pool *after)
{
    pthread_mutex_lock(&h->lock);
    struct list *node = after != NULL && is_listed(h, after) ? after->node.next : h->pools.next;
    struct pool *p = node != &h->pools ? LIST_ENTRY(node, struct pool, node) : NULL;
    pthread_mutex_unlock(&h->lock);
    return p;
}

pit_error *host_await(struct host *h, struct pool *p, bool all_workers, uint64_t deadline_ns, int failed_code)
{
    if (p != NULL)
        return await_pool(h, p, all_workers, deadline_ns, failed_code);
    pit_error *e = NULL;
    while (e == NULL && (p = next_pool(h, p)) != NULL)
        e = await_pool(h, p, all_workers, deadline_ns, failed_code);
    return e;
}

/* ---- stopping one ---- */

static void end_calls(struct host *h, void *arg)
{
    (void)h;
    pool_end_calls(arg);
}

static void stop_workers(struct host *h, void *arg)
{
    (void)h;
    pool_stop_workers(arg, false);
}

static void kill_workers(struct host *h, void *arg)
{
    (void)h;
    pool_stop_workers(arg, true);
}

static void unlink_pool(struct host *h, void *arg)
{
    struct pool *p = arg;
    start_mode_close(p);
    pthread_mutex_lock(&h->lock);
    if (is_listed(h, p)) { /* two threads may stop one pool */
        list_remove(&p->node);
        list_push_back(&h->stopped, &p->node);
        h->total_workers -= p->n_slots;
    }
    if (h->first == p)
        __atomic_store_n(&h->first, list_empty(&h->pools) ? NULL : LIST_ENTRY(h->pools.next, struct pool, node),
                         __ATOMIC_RELEASE);
    pthread_mutex_unlock(&h->lock);
}

static bool is_idle(void *arg)
{
    return pool_is_idle(arg);
}

static bool without_workers(void *arg)
{
    return !pool_has_workers(arg);
}

void host_stop_pool(struct host *h, struct pool *p, int64_t drain_ms)
{
    pool_shut(p);
    if (!host_wait_until(h, is_idle, p, host_deadline(h, drain_ms))) {
        host_run(h, end_calls, p);
        host_wait_until(h, is_idle, p, host_deadline(h, 1000));
    }
    host_run(h, stop_workers, p);
    if (!host_wait_until(h, without_workers, p, host_deadline(h, p->set.graceful_ms + 1000))) {
        host_run(h, kill_workers, p);
        host_wait_until(h, without_workers, p, host_deadline(h, 2000));
    }
    pool_leave_adapter(p, inproc_serves(h->loop) ? 0 : host_deadline(h, p->set.graceful_ms)); /* nobody waits for himself */
    host_run(h, unlink_pool, p);
}
