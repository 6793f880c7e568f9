/* See host.h. This file: the loop and its thread, waiting, the making of a host. */
#include "pool/host.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "pool/start_mode.h"

enum { GIVE_UP_MS = 2000 };

/* ---- waiting ---- */

uint64_t host_deadline(struct host *h, int64_t ms)
{
    return ms < 0 ? UINT64_MAX : h->os->now_ns() + (uint64_t)ms * MS;
}

static _Thread_local unsigned in_callback; /* that run on this thread and came neither from the loop nor from an event */

bool host_may_block(struct host *h)
{
    return !loop_is_current(h->loop) && !telemetry_in_handler() && in_callback == 0;
}

void host_callback_begins(void)
{
    in_callback++;
}

void host_callback_ended(void)
{
    in_callback--;
}

void host_changed(struct host *h)
{
    __atomic_add_fetch(&h->change, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&h->sleepers, __ATOMIC_SEQ_CST) != 0)
        h->os->futex_wake(&h->change, INT_MAX);
}

/* The loop leaves the thread that drives it: every lane must be armed before somebody sleeps on pit_fd(), also for what the last
 * turn's events have brought. */
static void drive_once(struct host *h, uint64_t deadline_ns)
{
    enum { TURNS = 16 }; /* a flood must not keep the foreign loop from its other work */
    bool busy = loop_run_once(h->loop, deadline_ns) || deadline_ns != 0;
    for (int i = 0; i < TURNS && busy; i++)
        busy = loop_run_once(h->loop, 0);
    if (busy)
        loop_wake(h->loop);
}

static void stop_driving(struct host *h)
{
    pthread_mutex_unlock(&h->drive_lock);
    __atomic_add_fetch(&h->baton, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&h->followers, __ATOMIC_SEQ_CST) != 0)
        h->os->futex_wake(&h->baton, INT_MAX);
}

/* One turn of the loop by this thread; or, while another thread drives, a sleep until that one stops. */
static void drive_or_follow(struct host *h, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
    uint32_t baton = __atomic_load_n(&h->baton, __ATOMIC_SEQ_CST);
    if (pthread_mutex_trylock(&h->drive_lock) == 0) {
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == seen)
            drive_once(h, deadline_ns);
        stop_driving(h);
        return;
    }
    __atomic_add_fetch(&h->followers, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == seen)
        h->os->futex_wait(&h->baton, baton, deadline_ns);
    __atomic_sub_fetch(&h->followers, 1, __ATOMIC_SEQ_CST);
}

bool host_wait(struct host *h, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
    __atomic_add_fetch(&h->sleepers, 1, __ATOMIC_SEQ_CST);
    bool changed;
    while (!(changed = __atomic_load_n(word, __ATOMIC_SEQ_CST) != seen)) {
        if (deadline_ns != UINT64_MAX && h->os->now_ns() >= deadline_ns)
            break;
        if (h->set.drive == PIT_DRIVE_HOST)
            drive_or_follow(h, word, seen, deadline_ns);
        else
            h->os->futex_wait(word, seen, deadline_ns);
    }
    __atomic_sub_fetch(&h->sleepers, 1, __ATOMIC_SEQ_CST);
    return changed;
}

bool host_wait_until(struct host *h, bool (*holds)(void *arg), void *arg, uint64_t deadline_ns)
{
    for (;;) {
        uint32_t seen = __atomic_load_n(&h->change, __ATOMIC_SEQ_CST);
        if (holds(arg))
            return true;
        if (!host_wait(h, &h->change, seen, deadline_ns))
            return holds(arg);
    }
}

bool host_wait_call(struct host *h, struct call *c, uint64_t deadline_ns)
{
    __atomic_add_fetch(&c->sleepers, 1, __ATOMIC_SEQ_CST);
    bool done = host_wait(h, &c->wake, 0, deadline_ns);
    __atomic_sub_fetch(&c->sleepers, 1, __ATOMIC_SEQ_CST);
    return done;
}

void host_dispatch(struct host *h)
{
    if (pthread_mutex_trylock(&h->drive_lock) != 0)
        return; /* somebody blocks in a call and drives meanwhile */
    drive_once(h, 0);
    stop_driving(h);
}

struct job {
    struct loop_work work;
    struct host *host;
    void (*fn)(struct host *h, void *arg);
    void *arg;
    uint32_t done;
};

static void run_job(struct loop_work *w)
{
    struct job *j = LIST_ENTRY(w, struct job, work);
    struct host *h = j->host;
    uint32_t *done = &j->done;
    j->fn(h, j->arg);
    __atomic_store_n(done, 1, __ATOMIC_SEQ_CST); /* *j may be gone from here on */
    h->os->futex_wake(done, 1);
}

void host_run(struct host *h, void (*fn)(struct host *h, void *arg), void *arg)
{
    struct job j = {.work = {.fn = run_job}, .host = h, .fn = fn, .arg = arg};
    loop_post(h->loop, &j.work);
    host_wait(h, &j.done, 0, UINT64_MAX);
}

/* ---- the loop ---- */

static bool before_sleep(void *user)
{
    struct host *h = user;
    bool quiet = true;
    LIST_EACH(node, &h->pools)
    if (pool_turn(LIST_ENTRY(node, struct pool, node)))
        quiet = false;
    LIST_EACH(node, &h->pools)
    if (!pool_arm(LIST_ENTRY(node, struct pool, node)))
        quiet = false;
    return quiet;
}

static void after_sleep(void *user)
{
    struct host *h = user;
    if (h->set.drive == PIT_DRIVE_HOST)
        return; /* the foreign loop sleeps when pit_dispatch has returned: the lanes stay armed */
    LIST_EACH(node, &h->pools)
    pool_disarm(LIST_ENTRY(node, struct pool, node));
}

static void *loop_thread(void *arg)
{
    struct host *h = arg;
    while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE))
        loop_run_once(h->loop, UINT64_MAX);
    return NULL;
}

void host_tell_done(struct loop_work *w)
{
    struct host *h = LIST_ENTRY(w, struct host, done_work);
    for (;;) {
        pthread_mutex_lock(&h->lock);
        struct list *node = list_pop_front(&h->done);
        pthread_mutex_unlock(&h->lock);
        if (node == NULL)
            return;
        struct call *c = LIST_ENTRY(node, struct call, done_node);
        c->done(c);
    }
}

void host_deliver(struct host *h, struct pool *p, struct list *done)
{
    struct list *node, here;
    bool any = false;
    list_init(&here);
    pthread_mutex_lock(&h->lock);
    while ((node = list_pop_front(done)) != NULL) {
        struct call *c = LIST_ENTRY(node, struct call, done_node);
        if (!c->anywhere && c->stream == NULL)
            sched_wake(p, c);
        list_push_back(c->anywhere ? &here : &h->done, node);
        any = any || !c->anywhere;
    }
    pthread_mutex_unlock(&h->lock);
    if (any)
        loop_post(h->loop, &h->done_work);
    if (any || !list_empty(&here))
        host_changed(h);
    while ((node = list_pop_front(&here)) != NULL) {
        struct call *c = LIST_ENTRY(node, struct call, done_node);
        c->done(c);
    }
}

uint32_t host_next_prefix(struct host *h)
{
    return ++h->prefix;
}

/* ---- making ---- */

void host_settings_free(struct host_settings *s)
{
    mem_free(s->guard_path);
    mem_free(s->package_path);
    mem_free(s->instance_name);
    mem_free(s->python);
    mem_free(s->path);
    mem_free(s->virtual_env);
    mem_free_strv(s->environ);
    mem_free(s->data_dir);
    mem_free(s->instance);
    mem_free(s->instance_token);
    *s = (struct host_settings){0};
}

/* Unique among the hosts of this machine that are opened in one second: what carries a run id may be killed by it. Processes that are
 * started together have numbers close together, and 37, a little more than the root of 1296, keeps 35 hosts of each apart. */
void host_make_run_id(struct host *h)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    static uint32_t made;
    uint32_t count = (uint32_t)h->os->getpid() * 37 + __atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
    uint64_t n = h->os->wall_ns() / (1000 * MS) % (36u * 36 * 36 * 36 * 36) * 1296 + count % 1296;
    for (int i = 6; i >= 0; i--, n /= 36)
        h->run_id[i] = digits[n % 36];
}

static int make_ids(struct host *h, struct siphash_key *ret_key)
{
    struct {
        uint32_t ids[2];
        struct siphash_key key; /* kept apart from what is told in ids */
    } noise = {0};
    int rc = h->os->random(&noise, sizeof noise);
    host_make_run_id(h);
    h->call_prefix = h->prefix = noise.ids[0];
    h->call_counter = noise.ids[1];
    *ret_key = noise.key;
    return rc;
}

void host_free(struct host *h)
{
    tool_threads_finish(&h->tool_threads);
    tool_threads_finish(&h->stream_threads);
    tools_finish(&h->tools);
    host_crashes_close(h);
    host_group_close(h);
    oom_finish(&h->oom, h->os);
    host_registry_close(h);
    LIST_EACH_SAFE(node, next, &h->interpreters)
    interpreter_free(LIST_ENTRY(node, struct interpreter, node));
    zygotes_free(h);
    struct list *lists[] = {&h->pools, &h->stopped};
    for (int i = 0; i < 2; i++)
        LIST_EACH_SAFE(node, next, lists[i])
    pool_destroy(LIST_ENTRY(node, struct pool, node));
    if (h->telemetry != NULL)
        telemetry_destroy(h->telemetry);
    loop_destroy(h->loop);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->drive_lock);
    host_settings_free(&h->set);
    mem_free(h);
}

static void warn(void *user, const char *text)
{
    struct host *h = user;
    log_line(&h->log, PIT_LOG_WARNING, "%s", text);
}

static struct host *alloc_host(const struct os_ops *os, struct host_settings *set, const struct log *log)
{
    struct host *h = mem_zalloc(sizeof *h);
    if (h == NULL) {
        host_settings_free(set);
        return NULL;
    }
    h->os = os;
    h->set = *set;
    h->log = *log;
    *set = (struct host_settings){0};
    list_init(&h->pools);
    list_init(&h->stopped);
    list_init(&h->done);
    list_init(&h->interpreters);
    list_init(&h->zygotes);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->drive_lock, NULL);
    tools_init(&h->tools);
    tool_threads_init(&h->tool_threads, os, h->set.tool_threads);
    tool_threads_init(&h->stream_threads, os, TOOL_THREADS_MAX);
    h->stream_threads.each = true;
    h->done_work.fn = host_tell_done;
    oom_init(&h->oom, os);
    host_guard_init(h);
    return h;
}

static pit_error *start_loop(struct host *h)
{
    struct siphash_key digest_key = {0};
    int rc = loop_create(h->os, &h->loop);
    if (rc == 0)
        rc = make_ids(h, &digest_key);
    h->telemetry = rc == 0 ? telemetry_create(h->os->now_ns) : NULL;
    if (rc == -ENOMEM || (rc == 0 && h->telemetry == NULL))
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the host was opened");
    if (rc != 0)
        return error_detail_take(error_new(PIT_E_SYSTEM_ERROR, "the event loop could not be made: %s", strerror(-rc)), "errno",
                                 pit_int(-rc));
    telemetry_set_warn(h->telemetry, warn, h);
    loop_set_hooks(h->loop, before_sleep, after_sleep, h);
    h->env = (struct worker_env){
        .os = h->os, .loop = h->loop, .telemetry = h->telemetry, .log = &h->log, .run_id = h->run_id, .oom = &h->oom};
    h->env.recorder = h->set.recorder;
    h->env.digest_key = digest_key;
    char above[PATH_MAX] = "";
    bool grouped = host_group_find(h, above);
    pit_error *e = host_registry_open(h, grouped ? above : "");
    if (e == NULL)
        e = host_crashes_open(h);
    if (e != NULL)
        return e;
    if (grouped)
        host_group_make(h, above);
    return host_start_guard(h);
}

static int start_thread(struct host *h)
{
    if (h->set.drive == PIT_DRIVE_HOST)
        return 0;
    int rc = h->os->thread_start(&h->thread, loop_thread, h);
    h->has_thread = rc == 0;
    return rc;
}

pit_error *host_create(const struct os_ops *os, struct host_settings *set, const struct log *log, struct host **ret)
{
    struct host *h = alloc_host(os, set, log);
    if (h == NULL)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the host was opened");
    pit_error *e = start_loop(h);
    if (e == NULL) {
        int rc = start_thread(h);
        if (rc != 0) {
            e = error_new(PIT_E_SYSTEM_ERROR, "the loop thread could not be started: %s", strerror(-rc));
            guard_destroy(h->env.guard, host_deadline(h, GIVE_UP_MS));
        }
    }
    if (e != NULL)
        host_free(h);
    else
        *ret = h;
    return e;
}
