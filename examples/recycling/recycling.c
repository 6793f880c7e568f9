/* Workers that leak, and callers that never notice: each worker is replaced before its memory comes to the limit, by a fresh one that is
 * ready first. Another one is replaced because the program asks for it. At the end no call has failed. */
#include <pthread.h>
#include <snakepit/snakepit.h>
#include <stdatomic.h>
#include <stdio.h>

enum { CALLERS = 4, RECYCLED = 4, LIMIT_MB = 48 };

struct example {
    pit *p;
    atomic_int failed;
    atomic_bool enough;
    atomic_long calls;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int recycled;
};

static int on_recycled(const pit_event *ev, void *user)
{
    struct example *x = user;
    double memory = 0, calls = 0;
    pit_event_number(ev, "memory_mb", &memory);
    pit_event_number(ev, "request_count", &calls);
    printf("recycled  %-12s after %5.0f calls, with %5.1f MB: %s\n", pit_event_text(ev, "worker_id"), calls, memory,
           pit_event_text(ev, "reason"));
    pthread_mutex_lock(&x->lock);
    x->recycled++;
    pthread_cond_signal(&x->changed);
    pthread_mutex_unlock(&x->lock);
    return 0;
}

static void *caller(void *user)
{
    struct example *x = user;
    for (int n = 0; !atomic_load(&x->enough); n = (n + 1) % 1000) {
        pit_value *v = NULL;
        int square = -1;
        int rc = pit_callf(x->p, "work", NULL, &v, NULL, "[i]", n);
        if (rc != 0 || pit_unpack(v, NULL, "i", &square) != 0 || square != n * n)
            atomic_fetch_add(&x->failed, 1);
        pit_value_free(v);
        atomic_fetch_add(&x->calls, 1);
    }
    return NULL;
}

static int fail(const char *what, pit_error *e)
{
    fprintf(stderr, "recycling: %s: %s\n", what, pit_error_string(e));
    pit_error_free(e);
    return 1;
}

/* By hand: the first worker of the list. */
static int recycle_one(pit *p)
{
    pit_worker_list *l = NULL;
    pit_error *e = NULL;
    int rc = pit_list_workers(p, NULL, &l, &e);
    if (rc == 0)
        rc = pit_worker_recycle(p, NULL, pit_worker_list_at(l, 0)->id, &e);
    pit_worker_list_free(l);
    return rc == 0 ? 0 : fail("pit_worker_recycle", e);
}

static int watch(struct example *x)
{
    pthread_t callers[CALLERS];
    int n = 0, rc = recycle_one(x->p);
    while (n < CALLERS && pthread_create(&callers[n], NULL, caller, x) == 0)
        n++;
    pthread_mutex_lock(&x->lock);
    while (rc == 0 && n == CALLERS && x->recycled < RECYCLED)
        pthread_cond_wait(&x->changed, &x->lock);
    pthread_mutex_unlock(&x->lock);
    atomic_store(&x->enough, true);
    while (n > 0)
        pthread_join(callers[--n], NULL);
    printf("calls     %ld, of which %d failed\n", atomic_load(&x->calls), atomic_load(&x->failed));
    return rc != 0 || atomic_load(&x->failed) != 0;
}

int main(void)
{
    struct example x = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pit_error *e = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};

    pool.name = "leaky";
    pool.adapter = "leaky.py";
    pool.workers = 2;
    pool.memory_threshold_mb = LIMIT_MB;
    pool.lifecycle_check_interval_ms = 50; /* a program that is not in a hurry looks once a minute */
    o.pools = pools;
    o.n_pools = 1;
    if (pit_open(&o, &x.p, &e) != 0)
        return fail("pit_open", e);
    if (pit_await_all_ready(x.p, NULL, PIT_INFINITE, &e) != 0)
        return fail("pit_await_all_ready", e);
    if (pit_telemetry_attach(x.p, "snakepit.worker.recycled", on_recycled, &x, NULL, &e) != 0)
        return fail("pit_telemetry_attach", e);
    int rc = watch(&x);
    pit_close(x.p);
    return rc;
}
