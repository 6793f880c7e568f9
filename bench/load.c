/* Calls under load: several callers beside CPU hogs, and a window of futures. */
#include "host.h"

#include <string.h>

enum { CALLERS = 4, DEPTH = 64 };

int run_call_contended(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_PAIR);
    pit *p = host_pool(b, POOL_PAIR, ret);
    if (p == NULL || host_place(b, p, o.pool, PLACE_FREE, ret) != BENCH_OK || hogs_start(b, ret) != BENCH_OK)
        return ret->status;
    struct result whys[CALLERS] = {0};
    struct call_target targets[CALLERS];
    void *ctx[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        targets[i] = (struct call_target){p, &o, &whys[i]};
        ctx[i] = &targets[i];
    }
    int rc = measure_threads(b, call_inc, ctx, CALLERS, ret);
    hogs_stop(b);
    for (int i = 0; rc != BENCH_OK && i < CALLERS; i++)
        if (whys[i].why[0] != '\0')
            result_fail(ret, "%s", whys[i].why);
    return rc;
}

/* Futures that are under way, oldest first. */
struct window {
    pit *p;
    const pit_call_options *o;
    pit_future *futures[DEPTH];
    uint32_t numbers[DEPTH];
    unsigned first, n;
    uint32_t seed;
};

static int window_submit(struct window *w, struct result *ret)
{
    unsigned at = (w->first + w->n) % DEPTH;
    pit_error *err = NULL;
    w->numbers[at] = next_number(&w->seed);
    pit_value *args = pit_pack("{s:i}", "x", (int)w->numbers[at]);
    int rc = pit_submit(w->p, "inc", args, w->o, &w->futures[at], &err);
    pit_value_free(args);
    if (rc != 0)
        return host_fail(ret, "pit_submit", rc, err);
    w->n++;
    return BENCH_OK;
}

/* The outcome of the oldest; waits for it. */
static int window_collect(struct window *w, struct result *ret)
{
    pit_future *f = w->futures[w->first];
    pit_value *answer = NULL;
    pit_error *err = NULL;
    int rc = pit_future_wait(f, 10000);
    if (rc == 0)
        rc = pit_future_result(f, &answer, &err);
    bool right = rc == 0 && answer_is(answer, w->numbers[w->first]);
    pit_value_free(answer);
    pit_future_free(f);
    w->first = (w->first + 1) % DEPTH;
    w->n--;
    if (rc != 0)
        return host_fail(ret, "a future", rc, err);
    return right ? BENCH_OK : result_fail(ret, "a future has a wrong answer");
}

/* Takes the older half out. Waiting for the newest of them first means to sleep once, not once for each. */
static int window_collect_half(struct window *w, struct result *ret)
{
    unsigned half = (w->n + 1) / 2;
    int rc = BENCH_OK;
    (void)pit_future_wait(w->futures[(w->first + half - 1) % DEPTH], 10000);
    for (unsigned i = 0; rc == BENCH_OK && i < half; i++)
        rc = window_collect(w, ret);
    return rc;
}

/* Fills the window up again and again for ms milliseconds, then empties it. */
static int window_run(struct window *w, int64_t ms, struct result *ret)
{
    uint64_t start = clock_now(), end = start + (uint64_t)ms * 1000000u, now = start;
    size_t done = 0;
    int rc = BENCH_OK;
    while (rc == BENCH_OK && now < end) {
        for (; rc == BENCH_OK && w->n < DEPTH; done++)
            rc = window_submit(w, ret);
        if (rc == BENCH_OK)
            rc = window_collect_half(w, ret);
        now = clock_now();
    }
    while (w->n > 0) {
        struct result rest = {0};
        if (window_collect(w, rc == BENCH_OK ? ret : &rest) != BENCH_OK)
            rc = BENCH_FAILED;
    }
    ret->n = done;
    ret->rate = (double)done * 1e9 / (double)(clock_now() - start);
    return rc;
}

int run_submit(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_PAIR);
    pit *p = host_pool(b, POOL_PAIR, ret);
    if (p == NULL || host_place(b, p, o.pool, PLACE_FREE, ret) != BENCH_OK)
        return ret->status;
    struct window w = {.p = p, .o = &o, .seed = 1};
    int rc = window_run(&w, measure_ms(b) / 10, ret);
    return rc == BENCH_OK ? window_run(&w, measure_ms(b) * 2, ret) : rc;
}
