/* Many calls at once, in three ways: from several threads, as futures, and as a batch. Each is held against the same calls one after the other, for work
 * that waits and for work that computes. Exit status 0: every way has given the same answers. */
#include <snakepit/snakepit.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CALLS = 16, LANES_MOST = 8 };

struct work {
    pit *p;
    const char *pool, *command;
    int lanes;              /* calls that the pool can run at a time */
    pit_value *args[CALLS]; /* values cannot be changed once they were sent, so all ways share them */
    int64_t answers[CALLS], marks[CALLS];
    /* of the threads */
    atomic_int next, rc; /* the next call; the first failure, */
    pit_error *err;      /* and its error: set by the thread that has set rc */
};

static pit_call_options options_of(const struct work *w)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = w->pool;
    return o;
}

/* Keeps the answer of call i, and frees it. */
static int keep(struct work *w, int i, pit_value *answer)
{
    int rc = pit_unpack(answer, NULL, "[I,I]", &w->answers[i], &w->marks[i]);
    pit_value_free(answer);
    return rc;
}

static int call(struct work *w, int i, pit_error **err)
{
    pit_call_options o = options_of(w);
    pit_value *answer = NULL;
    int rc = pit_call(w->p, w->command, w->args[i], &o, &answer, err);
    return rc == 0 ? keep(w, i, answer) : rc;
}

static int one_at_a_time(struct work *w, pit_error **err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < CALLS; i++)
        rc = call(w, i, err);
    return rc;
}

/* A caller's thread: any of them may call anything. */
static void *caller(void *user)
{
    struct work *w = user;
    for (int i; atomic_load(&w->rc) == 0 && (i = atomic_fetch_add(&w->next, 1)) < CALLS;) {
        pit_error *err = NULL;
        int none = 0, rc = call(w, i, &err);
        if (rc != 0 && atomic_compare_exchange_strong(&w->rc, &none, rc))
            w->err = err;
        else
            pit_error_free(err);
    }
    return NULL;
}

static int by_threads(struct work *w, pit_error **err)
{
    pthread_t threads[LANES_MOST];
    int n = 0;
    atomic_store(&w->next, 0);
    atomic_store(&w->rc, 0);
    w->err = NULL;
    while (n < w->lanes && pthread_create(&threads[n], NULL, caller, w) == 0)
        n++;
    for (int i = 0; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    *err = w->err;
    return n > 0 ? atomic_load(&w->rc) : PIT_E_SYSTEM_ERROR;
}

/* From one thread, which could do something else meanwhile: pit_submit returns at once. */
static int by_futures(struct work *w, pit_error **err)
{
    pit_future *futures[CALLS] = {NULL};
    pit_call_options o = options_of(w);
    int rc = 0;
    for (int i = 0; rc == 0 && i < CALLS; i++)
        rc = pit_submit(w->p, w->command, w->args[i], &o, &futures[i], err);
    for (int i = 0; rc == 0 && i < CALLS; i++) {
        pit_value *answer = NULL;
        rc = pit_future_wait(futures[i], PIT_INFINITE);
        if (rc == 0)
            rc = pit_future_result(futures[i], &answer, err);
        if (rc == 0)
            rc = keep(w, i, answer);
    }
    for (int i = 0; i < CALLS; i++)
        pit_future_free(futures[i]);
    return rc;
}

/* One call of the library for all of them: least is to be done for each. */
static int by_batch(struct work *w, pit_error **err)
{
    pit_call_item items[CALLS] = {0};
    pit_call_result results[CALLS] = {0};
    pit_call_options o = options_of(w);
    for (int i = 0; i < CALLS; i++) {
        items[i].command = w->command;
        items[i].args = w->args[i];
    }
    int rc = pit_call_many(w->p, items, CALLS, &o, results, err);
    for (int i = 0; rc == 0 && i < CALLS; i++)
        rc = results[i].rc == 0 ? keep(w, i, pit_value_ref(results[i].value)) : results[i].rc;
    pit_call_results_free(results, CALLS);
    return rc;
}

/* How the calls were spread: how many ran at once at most, or on how many workers. */
static int how_spread(const struct work *w, bool at_once)
{
    int64_t most = 0, different = 0;
    for (int i = 0; i < CALLS; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || w->marks[k] == w->marks[i];
        different += !seen;
        most = w->marks[i] > most ? w->marks[i] : most;
    }
    return (int)(at_once ? most : different);
}

static int measure(struct work *w, bool at_once, pit_error **err)
{
    static const struct {
        const char *name;
        int (*run)(struct work *w, pit_error **err);
    } ways[] = {{"one at a time", one_at_a_time}, {"threads", by_threads}, {"futures", by_futures}, {"a batch", by_batch}};
    int64_t known[CALLS];
    double alone_s = 0.0;
    for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
        uint64_t began = pit_now_ns();
        int rc = ways[k].run(w, err);
        double took_s = (double)(pit_now_ns() - began) / 1e9;
        if (rc != 0)
            return rc;
        int spread = how_spread(w, at_once);
        char text[32];
        (void)snprintf(text, sizeof text, at_once ? "%d at a time" : spread == 1 ? "on %d worker" : "on %d workers", spread);
        printf("  %-14s %6.3f s  %*s", ways[k].name, took_s, k == 0 ? 0 : -12, text);
        if (k == 0) {
            alone_s = took_s;
            memcpy(known, w->answers, sizeof known);
        } else {
            printf("  %4.1f times as fast", alone_s / took_s);
        }
        puts(memcmp(known, w->answers, sizeof known) == 0 ? "" : "  but the answers are different");
        if (memcmp(known, w->answers, sizeof known) != 0)
            return PIT_E_PROTOCOL_ERROR;
    }
    return 0;
}

static int wait_for_others(pit *p, pit_error **err)
{
    struct work w = {.p = p, .pool = "threads", .command = "ask", .lanes = LANES_MOST};
    puts("waiting, in one worker with 8 threads");
    for (int i = 0; i < CALLS; i++)
        w.args[i] = pit_pack("{s:i,s:f}", "n", i, "seconds", 0.02);
    int rc = measure(&w, true, err);
    for (int i = 0; i < CALLS; i++)
        pit_value_free(w.args[i]);
    return rc;
}

static int compute(pit *p, const char *pool, int lanes, const char *text, pit_error **err)
{
    struct work w = {.p = p, .pool = pool, .command = "compute", .lanes = lanes};
    puts(text);
    for (int i = 0; i < CALLS; i++)
        w.args[i] = pit_pack("{s:i,s:i}", "n", i, "limit", 6000);
    int rc = measure(&w, false, err);
    for (int i = 0; i < CALLS; i++)
        pit_value_free(w.args[i]);
    return rc;
}

int main(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options threads = PIT_POOL_OPTIONS_INIT, processes = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *const pools[] = {&threads, &processes};
    threads.name = "threads";
    threads.adapter = processes.adapter = "calls.py"; /* as concurrent.py it would hide a package of Python's own */
    threads.profile = "thread";
    threads.workers = 1;
    threads.threads_per_worker = LANES_MOST;
    processes.name = "processes";
    processes.workers = cpus < 2 ? 2 : cpus < LANES_MOST ? (int)cpus : LANES_MOST;
    o.pools = pools;
    o.n_pools = 2;

    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = pit_await_all_ready(p, NULL, PIT_INFINITE, &err);
    if (rc == 0)
        rc = wait_for_others(p, &err);
    if (rc == 0)
        rc = compute(p, "processes", processes.workers, "computing, in a worker for each CPU", &err);
    if (rc == 0)
        rc = compute(p, "threads", LANES_MOST,
                     "computing, in one worker with 8 threads, which take turns where the interpreter has a lock", &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err != NULL ? pit_error_string(err) : pit_strerror(rc));
    pit_error_free(err);
    pit_close(p);
    return rc != 0;
}
