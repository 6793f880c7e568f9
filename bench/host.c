/* The hosts of the benchmark, and the calls that one thread makes one after the other. See host.h. */
#include "host.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct hosts {
    pit *p; /* with the pools below */
    bool started[POOL_COUNT];
    pit *plain;              /* all defaults */
    _Atomic uint64_t events; /* that its subscriber got */
    bool broken;             /* opening failed once: do not try again for every series */
};

static const struct {
    const char *name, *adapter;
    int workers;
    int channel;
    const char *const env[2];
} pools[POOL_COUNT] = {
    [POOL_HOT] = {"hot", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_TOOL] = {"tool", "tool_worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_FALLBACK] = {"fallback", "worker.py", 1, PIT_CHANNEL_SOCKET, {"SNAKEPIT_NO_EXTENSION=1", NULL}},
    [POOL_PAIR] = {"pair", "worker.py", 2, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_BYTES] = {"bytes", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_CRASH] = {"crash", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_CANCEL] = {"cancel", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_RETRY] = {"retry", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_DOSSIER] = {"dossier", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
    [POOL_NO_DOSSIER] = {"no-dossier", "worker.py", 1, PIT_CHANNEL_AUTO, {NULL}},
};

const char *host_pool_name(int pool)
{
    return pools[pool].name;
}

int host_fail(struct result *ret, const char *what, int rc, pit_error *err)
{
    fprintf(stderr, "\n%s: %s\n", what, err != NULL ? pit_error_string(err) : pit_strerror(rc));
    result_fail(ret, "%s: %s", what, err != NULL ? pit_error_message(err) : pit_strerror(rc));
    pit_error_free(err);
    return BENCH_FAILED;
}

static struct hosts *host_of(struct bench *b)
{
    if (b->host == NULL)
        b->host = calloc(1, sizeof *b->host);
    return b->host;
}

static int pool_start(struct bench *b, struct hosts *h, int pool, struct result *ret)
{
    char adapter[PATH_MAX + 32];
    pit_error *err = NULL;
    pit_pool_options o = PIT_POOL_OPTIONS_INIT;
    snprintf(adapter, sizeof adapter, "%s/%s", b->dir, pools[pool].adapter);
    o.name = pools[pool].name;
    o.adapter = adapter;
    o.workers = pools[pool].workers;
    o.channel = pools[pool].channel;
    o.env = pools[pool].env;
    o.python = b->o.python;
    static const int64_t at_once[] = {PIT_NOW};
    const pit_crash_barrier_options barrier = {.size = sizeof barrier, .backoff_ms = at_once, .n_backoff_ms = 1};
    const pit_dossier_options none = {.size = sizeof none, .enabled = PIT_OFF};
    o.dossier = pool == POOL_NO_DOSSIER ? &none : NULL;
    o.crash_barrier = pool == POOL_RETRY ? &barrier : NULL; /* the back-off is no work */
    o.cancel_grace_ms = pool == POOL_CANCEL ? PIT_NOW : 0;  /* the exception at once */
    int rc = pit_pool_start(h->p, &o, &err);
    if (rc == 0)
        rc = pit_await_all_ready(h->p, o.name, 30000, &err);
    if (rc != 0)
        return host_fail(ret, "a pool cannot be started", rc, err);
    h->started[pool] = true;
    return BENCH_OK;
}

pit *host_pool(struct bench *b, int pool, struct result *ret)
{
    struct hosts *h = host_of(b);
    pit_error *err = NULL;
    if (h == NULL || h->broken) {
        result_fail(ret, "the library could not be opened");
        return NULL;
    }
    int rc = h->p == NULL ? pit_open(NULL, &h->p, &err) : 0;
    if (rc != 0)
        host_fail(ret, "pit_open", rc, err);
    if (rc == 0 && !h->started[pool])
        rc = pool_start(b, h, pool, ret);
    h->broken = rc != 0;
    return rc == 0 ? h->p : NULL;
}

void host_pool_stop(struct bench *b, int pool)
{
    struct hosts *h = b->host;
    if (h == NULL || !h->started[pool])
        return;
    pit_error *err = NULL;
    if (pit_pool_stop(h->p, pools[pool].name, 0, &err) != 0)
        fprintf(stderr, "\npit_pool_stop: %s\n", pit_error_string(err));
    pit_error_free(err);
    h->started[pool] = false;
}

static int on_event(const pit_event *ev, void *user)
{
    struct hosts *h = user;
    (void)ev;
    atomic_fetch_add_explicit(&h->events, 1, memory_order_relaxed);
    return 0;
}

pit *host_default(struct bench *b, struct result *ret)
{
    struct hosts *h = host_of(b);
    char adapter[PATH_MAX + 32];
    pit_error *err = NULL;
    if (h == NULL || h->broken) {
        result_fail(ret, "the library could not be opened");
        return NULL;
    }
    if (h->plain != NULL)
        return h->plain;
    pit_options o = PIT_OPTIONS_INIT;
    snprintf(adapter, sizeof adapter, "%s/worker.py", b->dir);
    o.adapter = adapter;
    o.python = b->o.python;
    int rc = pit_open(&o, &h->plain, &err);
    if (rc == 0)
        rc = pit_await_all_ready(h->plain, NULL, 30000, &err);
    if (rc == 0)
        rc = pit_telemetry_attach(h->plain, "snakepit.*", on_event, h, NULL, &err);
    h->broken = rc != 0;
    if (rc != 0)
        host_fail(ret, "pit_open with all defaults", rc, err);
    return rc == 0 ? h->plain : NULL;
}

int host_place(struct bench *b, pit *p, const char *pool, enum place place, struct result *ret)
{
    pit_worker_list *l = NULL;
    pit_error *err = NULL;
    int rc = pit_list_workers(p, pool, &l, &err);
    if (rc != 0)
        return host_fail(ret, "pit_list_workers", rc, err);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        pid_t pid = pit_worker_list_at(l, i)->pid;
        rc = pid > 0 ? place_process(b, pid, place) : rc;
    }
    pit_worker_list_free(l);
    place_thread(b, place);
    return rc == 0 ? BENCH_OK : result_fail(ret, "a worker cannot be pinned: %s", strerror(-rc));
}

static int list_pids(pit *p, pid_t *pids, int n, int most)
{
    pit_worker_list *l = NULL;
    if (p == NULL || pit_list_workers(p, NULL, &l, NULL) != 0)
        return n;
    for (size_t i = 0; i < pit_worker_list_len(l) && n < most; i++)
        if (pit_worker_list_at(l, i)->pid > 0)
            pids[n++] = pit_worker_list_at(l, i)->pid;
    pit_worker_list_free(l);
    return n;
}

int host_workers(struct bench *b, pid_t *pids, int most)
{
    int n = 0;
    if (b->host != NULL) {
        n = list_pids(b->host->p, pids, n, most);
        n = list_pids(b->host->plain, pids, n, most);
    }
    return n;
}

void host_close(struct bench *b)
{
    if (b->host == NULL)
        return;
    pit_close(b->host->p);
    pit_close(b->host->plain);
    free(b->host);
    b->host = NULL;
}

bool answer_is(const pit_value *answer, uint32_t n)
{
    int64_t x = 0;
    return pit_value_get_int(pit_value_get(answer, "x"), &x) && x == (int64_t)n + 1;
}

int call_inc(void *target, uint32_t n)
{
    struct call_target *t = target;
    pit_value *answer = NULL;
    pit_error *err = NULL;
    int rc = pit_callf(t->p, "inc", t->o, &answer, &err, "{s:i}", "x", (int)n);
    if (rc != 0) {
        host_fail(t->ret, "inc", rc, err);
        return -1;
    }
    bool right = answer_is(answer, n);
    pit_value_free(answer);
    return right ? 0 : -1;
}

static int run_pool(struct bench *b, int pool, enum place place, unsigned gap_us, struct result *ret)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = pools[pool].name;
    pit *p = host_pool(b, pool, ret);
    if (p == NULL || host_place(b, p, o.pool, place, ret) != BENCH_OK)
        return ret->status;
    struct call_target target = {p, &o, ret};
    return measure_loop(b, call_inc, &target, gap_us, ret);
}

int run_call_hot(struct bench *b, int place, struct result *ret)
{
    return run_pool(b, POOL_HOT, (enum place)place, 0, ret);
}

int run_call_fallback(struct bench *b, int place, struct result *ret)
{
    return run_pool(b, POOL_FALLBACK, (enum place)place, 0, ret);
}

int run_call_sparse(struct bench *b, int gap_us, struct result *ret)
{
    return run_pool(b, POOL_HOT, PLACE_FREE, (unsigned)gap_us, ret);
}

int run_call_default(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = 5000;
    pit *p = host_default(b, ret);
    if (p == NULL)
        return ret->status;
    place_thread(b, PLACE_FREE);
    struct call_target target = {p, &o, ret};
    return measure_loop(b, call_inc, &target, 0, ret);
}
