/* Timing: the loops that every series in C shares, and what is kept of the samples.
 *
 * Samples are chained (the end of one operation is the beginning of the next), so an operation costs one reading of the clock. */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void nap_us(unsigned us)
{
    struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

double clock_cost(void)
{
    enum { READINGS = 2000, TRIES = 50 };
    double best = 1e9;
    for (int try = 0; try < TRIES; try++) {
        uint64_t start = clock_now(), end = start;
        for (int i = 0; i < READINGS; i++)
            end = clock_now();
        double each = (double)(end - start) / READINGS;
        best = each < best ? each : best;
    }
    return best;
}

int samples_init(struct samples *s, size_t cap)
{
    s->ns = malloc(cap * sizeof *s->ns);
    s->cap = s->ns != NULL ? cap : 0;
    s->n = 0;
    if (s->ns == NULL)
        return -1;
    memset(s->ns, 1, cap * sizeof *s->ns); /* no page fault while measuring */
    return 0;
}

void samples_finish(struct samples *s)
{
    free(s->ns);
    memset(s, 0, sizeof *s);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Where the first sample >= x stands in the sorted samples. */
static size_t lower_bound(const struct samples *s, double x)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((double)s->ns[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Some clocks advance in steps of 10 ns, so that half of all samples of a hot call are one number: the median inside that step, from how
 * many samples lie below, in and above it. */
static double median_between_steps(const struct samples *s)
{
    const double step = 10;
    size_t middle = (s->n - 1) / 2;
    double bottom = floor(((double)s->ns[middle] + step / 2) / step) * step - step / 2;
    size_t first = lower_bound(s, bottom), behind = lower_bound(s, bottom + step);
    return bottom + step * ((double)(middle - first) + 0.5) / (double)(behind - first);
}

void samples_reduce(struct samples *s, double subtract, struct result *ret)
{
    static const double fractions[] = {
#define QUANTILE_FRACTION(constant, name, fraction) fraction,
        QUANTILE_LIST(QUANTILE_FRACTION)
#undef QUANTILE_FRACTION
    };
    ret->n = s->n;
    if (s->n == 0)
        return;
    qsort(s->ns, s->n, sizeof *s->ns, compare_u32);
    for (int i = 0; i < Q_COUNT; i++) {
        double at = (double)s->ns[(size_t)(fractions[i] * (double)(s->n - 1))];
        at = (i == Q_P50 ? median_between_steps(s) : at) - subtract;
        ret->q[i] = at > 0 ? at : 0;
    }
}

void result_divide(struct result *r, size_t operations)
{
    r->n *= operations;
    r->rate *= (double)operations;
    for (int i = 0; i < Q_COUNT; i++)
        r->q[i] /= (double)operations;
}

uint32_t next_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % 1000000u;
}

int64_t measure_ms(const struct bench *b)
{
    return b->o.quick ? 50 : 200;
}

static int result_set(struct result *r, int status, const char *format, va_list ap)
{
    r->status = status;
    vsnprintf(r->why, sizeof r->why, format, ap);
    return status;
}

int result_fail(struct result *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    result_set(r, BENCH_FAILED, format, ap);
    va_end(ap);
    return BENCH_FAILED;
}

int result_skip(struct result *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    result_set(r, BENCH_SKIPPED, format, ap);
    va_end(ap);
    return BENCH_SKIPPED;
}

/* Until the time is over or s is full; *ret_seconds is the time spent in operations. */
static int timed_loop(operation_fn fn, void *ctx, unsigned gap_us, int64_t ms, uint32_t *seed, struct samples *s,
                      double *ret_seconds)
{
    uint64_t before = clock_now(), end = before + (uint64_t)ms * 1000000u, spent = 0;
    while (before < end && s->n < s->cap) {
        if (gap_us != 0) {
            nap_us(gap_us);
            before = clock_now();
        }
        if (fn(ctx, next_number(seed)) != 0)
            return -1;
        uint64_t now = clock_now();
        samples_add(s, now - before);
        spent += now - before;
        before = now;
    }
    *ret_seconds = (double)spent / 1e9;
    return 0;
}

int measure_loop(struct bench *b, operation_fn fn, void *ctx, unsigned gap_us, struct result *ret)
{
    struct samples *s = &b->samples;
    uint32_t seed = 1;
    double seconds = 0;
    int64_t ms = measure_ms(b) * (gap_us != 0 ? 5 : 1);
    for (int pass = 0; pass < 2; pass++) {
        s->n = 0;
        if (timed_loop(fn, ctx, gap_us, pass == 0 ? ms / 10 : ms, &seed, s, &seconds) != 0)
            return ret->why[0] != '\0' ? result_fail(ret, "%s", ret->why)
                                       : result_fail(ret, "an operation failed or gave a wrong answer");
    }
    ret->rate = seconds > 0 ? (double)s->n / seconds : 0;
    samples_reduce(s, b->clock_ns, ret);
    return BENCH_OK;
}

struct load_thread {
    pthread_t thread;
    pthread_barrier_t *start;
    operation_fn fn;
    void *ctx;
    int64_t ms;
    uint32_t seed;
    struct samples samples;
    double seconds;
    int rc;
};

static void *load_main(void *arg)
{
    struct load_thread *t = arg;
    pthread_barrier_wait(t->start);
    t->rc = timed_loop(t->fn, t->ctx, 0, t->ms / 10, &t->seed, &t->samples, &t->seconds);
    t->samples.n = 0;
    if (t->rc == 0)
        t->rc = timed_loop(t->fn, t->ctx, 0, t->ms, &t->seed, &t->samples, &t->seconds);
    return NULL;
}

/* Puts the samples of all threads into b->samples. */
static int merge_threads(struct bench *b, struct load_thread *t, int n)
{
    int rc = 0;
    b->samples.n = 0;
    for (int i = 0; i < n; i++) {
        rc |= t[i].rc;
        for (size_t k = 0; k < t[i].samples.n && b->samples.n < b->samples.cap; k++)
            samples_add(&b->samples, t[i].samples.ns[k]);
    }
    return rc;
}

int measure_threads(struct bench *b, operation_fn fn, void *const *ctx, int n_threads, struct result *ret)
{
    enum { MOST = 16 };
    struct load_thread t[MOST] = {0};
    pthread_barrier_t start;
    int n = n_threads < MOST ? n_threads : MOST, ready = 0, rc = BENCH_OK;
    pthread_barrier_init(&start, NULL, (unsigned)n);
    while (ready < n && samples_init(&t[ready].samples, b->samples.cap / (size_t)n) == 0) {
        t[ready].start = &start;
        t[ready].fn = fn;
        t[ready].ctx = ctx[ready];
        t[ready].ms = measure_ms(b) * 2;
        t[ready].seed = (uint32_t)ready + 1;
        ready++;
    }
    if (ready < n)
        rc = result_fail(ret, "out of memory");
    for (int i = 0; rc == BENCH_OK && i < n; i++)
        if (pthread_create(&t[i].thread, NULL, load_main, &t[i]) != 0)
            abort(); /* the others wait at the barrier: nothing can be saved, and nothing is lost in a benchmark */
    for (int i = 0; rc == BENCH_OK && i < n; i++)
        pthread_join(t[i].thread, NULL);
    if (rc == BENCH_OK && merge_threads(b, t, n) != 0)
        rc = result_fail(ret, "an operation failed or gave a wrong answer");
    if (rc == BENCH_OK) {
        samples_reduce(&b->samples, b->clock_ns, ret);
        ret->rate = 0;
        for (int i = 0; i < n; i++)
            ret->rate += t[i].seconds > 0 ? (double)t[i].samples.n / t[i].seconds : 0;
    }
    for (int i = 0; i < ready; i++)
        samples_finish(&t[i].samples);
    pthread_barrier_destroy(&start);
    return rc;
}
