/* Batches: pit_call_many on two workers.
 *
 * many.10000 counts everything that a program does for a batch, as the floors and the other calls do: packing the arguments, the call, reading every
 * answer, freeing it all. vs.pool_map counts the call alone, as its peer counts map() alone: there the items are made before and the answers
 * are checked afterwards. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

struct batch {
    pit *p;
    const pit_call_options *o;
    size_t n;
    bool whole; /* what is counted */
    uint32_t seed;
    pit_call_item *items;
    pit_call_result *results;
    uint32_t *numbers;
};

static void batch_pack(struct batch *l)
{
    for (size_t i = 0; i < l->n; i++) {
        l->numbers[i] = next_number(&l->seed);
        l->items[i] = (pit_call_item){.command = "inc", .args = pit_pack("{s:i}", "x", (int)l->numbers[i])};
    }
}

static int batch_check(const struct batch *l, struct result *ret)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->results[i].rc != 0)
            return result_fail(ret, "a call of the batch: %s", pit_error_message(l->results[i].error));
        if (!answer_is(l->results[i].value, l->numbers[i]))
            return result_fail(ret, "a call of the batch has a wrong answer");
    }
    return BENCH_OK;
}

static void batch_clear(struct batch *l)
{
    pit_call_results_free(l->results, l->n);
    for (size_t i = 0; i < l->n; i++)
        pit_value_free((pit_value *)l->items[i].args);
}

/* One batch; *ret_ns is what counts of it. */
static int batch_once(struct batch *l, uint64_t *ret_ns, struct result *ret)
{
    pit_error *err = NULL;
    uint64_t start = clock_now();
    batch_pack(l);
    if (!l->whole)
        start = clock_now();
    int rc = pit_call_many(l->p, l->items, l->n, l->o, l->results, &err);
    uint64_t end = clock_now();
    int status = rc == 0 ? batch_check(l, ret) : host_fail(ret, "pit_call_many", rc, err);
    batch_clear(l);
    *ret_ns = (l->whole ? clock_now() : end) - start;
    return status;
}

static int batch_measure(struct bench *b, struct batch *l, struct result *ret)
{
    struct samples *s = &b->samples;
    uint64_t ns = 0, sum = 0, end = 0;
    int rc = batch_once(l, &ns, ret); /* the warm-up */
    s->n = 0;
    end = clock_now() + (uint64_t)measure_ms(b) * 2 * 1000000u;
    while (rc == BENCH_OK && (s->n < 2 || clock_now() < end)) {
        rc = batch_once(l, &ns, ret);
        samples_add(s, ns);
        sum += ns;
    }
    if (rc != BENCH_OK)
        return rc;
    samples_reduce(s, b->clock_ns, ret);
    ret->rate = (double)s->n * 1e9 / (double)sum;
    result_divide(ret, l->n);
    return BENCH_OK;
}

static int batch_run(struct bench *b, size_t n, bool whole, struct result *ret)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_PAIR);
    pit *p = host_pool(b, POOL_PAIR, ret);
    if (p == NULL || host_place(b, p, o.pool, PLACE_FREE, ret) != BENCH_OK)
        return ret->status;
    struct batch l = {.p = p,
                      .o = &o,
                      .n = n,
                      .whole = whole,
                      .seed = 1,
                      .items = calloc(n, sizeof *l.items),
                      .results = calloc(n, sizeof *l.results),
                      .numbers = calloc(n, sizeof *l.numbers)};
    int rc = l.items != NULL && l.results != NULL && l.numbers != NULL ? batch_measure(b, &l, ret)
                                                                       : result_fail(ret, "out of memory");
    free(l.items);
    free(l.results);
    free(l.numbers);
    return rc;
}

int run_many(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    return batch_run(b, 10000, true, ret);
}

int run_many_map(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    return batch_run(b, 100000, false, ret);
}
