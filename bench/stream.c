/* stream.*: chunks of one stream, its first chunk, a conversation, and the memory of a host whose reader is slow. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNKS = 20000, OPENINGS = 2000, SLOW_READS = 20, SLOW_GAP_US = 5000, BIG = 1000 /* chunks of 1 MB: what is offered */ };

struct counted {
    uint32_t n;
    bool right;
};

static int count_chunk(pit_stream_event *ev, void *user)
{
    struct counted *c = user;
    int64_t x = -1;
    if (ev->kind == PIT_STREAM_CHUNK && !ev->is_final)
        c->right = pit_value_get_int(ev->value, &x) && x == (int64_t)c->n++ && c->right;
    return 0;
}

static int stream_once(void *target, uint32_t n)
{
    struct call_target *t = target;
    struct counted c = {0, true};
    pit_error *err = NULL;
    pit_value *args = pit_pack("{s:i}", "n", CHUNKS);
    (void)n;
    int rc = pit_call_stream(t->p, "count", args, t->o, count_chunk, &c, NULL, &err);
    pit_value_free(args);
    if (rc != 0)
        return host_fail(t->ret, "a stream", rc, err), -1;
    return c.n == CHUNKS && c.right ? 0 : -1;
}

static int stream_small(struct bench *b, struct call_target *t)
{
    int status = measure_loop(b, stream_once, t, 0, t->ret);
    if (status == BENCH_OK)
        result_divide(t->ret, CHUNKS);
    return status;
}

/* From the opening to the chunk in hand; the rest of the stream is not counted. */
static int first_once(struct bench *b, struct call_target *t, const pit_value *args)
{
    pit_stream *s = NULL;
    pit_value *chunk = NULL;
    pit_error *err = NULL;
    uint64_t start = clock_now();
    int rc = pit_stream_open(t->p, "count", args, t->o, PIT_STREAM_READ, &s, &err);
    if (rc == 0)
        rc = pit_stream_next(s, PIT_INFINITE, &chunk, &err);
    samples_add(&b->samples, clock_now() - start);
    pit_value_free(chunk);
    if (rc == 0)
        rc = pit_stream_next(s, PIT_INFINITE, NULL, &err);
    pit_stream_close(s);
    return rc == PIT_E_END ? BENCH_OK : host_fail(t->ret, "the first chunk", rc, err);
}

static int stream_first(struct bench *b, struct call_target *t)
{
    pit_value *args = pit_pack("{s:i}", "n", 1);
    int status = BENCH_OK;
    for (int i = 0; i < OPENINGS / 10 && status == BENCH_OK; i++) {
        b->samples.n = 0;
        status = first_once(b, t, args);
    }
    b->samples.n = 0;
    for (int i = 0; i < OPENINGS && status == BENCH_OK; i++)
        status = first_once(b, t, args);
    if (status == BENCH_OK)
        samples_reduce(&b->samples, b->clock_ns, t->ret);
    pit_value_free(args);
    return status;
}

struct talk {
    pit_stream *s;
    struct call_target *t;
};

static int say_and_hear(void *target, uint32_t n)
{
    struct talk *t = target;
    pit_error *err = NULL;
    pit_value *v = pit_pack("{s:i}", "x", (int)n), *answer = NULL;
    int rc = pit_stream_send(t->s, v, PIT_INFINITE, &err);
    if (rc == 0)
        rc = pit_stream_next(t->s, PIT_INFINITE, &answer, &err);
    pit_value_free(v);
    if (rc != 0)
        return host_fail(t->t->ret, "a conversation", rc, err), -1;
    bool right = answer_is(answer, n);
    pit_value_free(answer);
    return right ? 0 : -1;
}

static int stream_bidi(struct bench *b, struct call_target *t)
{
    struct talk talk = {NULL, t};
    pit_error *err = NULL;
    int rc = pit_stream_open(t->p, "talk", NULL, t->o, PIT_STREAM_BIDI, &talk.s, &err);
    int status = rc == 0 ? measure_loop(b, say_and_hear, &talk, 0, t->ret) : host_fail(t->ret, "talk", rc, err);
    pit_stream_close(talk.s);
    return status;
}

static long resident_bytes(void)
{
    long kib = -1;
    char line[128];
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = atol(line + 8);
    if (f != NULL)
        fclose(f);
    return kib * 1024;
}

/* The most that the host has gained while a gigabyte is offered and its reader takes a little of it now and then. */
static int slow_reader(struct bench *b, struct call_target *t)
{
    pit_stream *s = NULL;
    pit_error *err = NULL;
    pit_value *args = pit_pack("{s:i}", "n", BIG);
    long before = resident_bytes(), most = 0;
    int rc = pit_stream_open(t->p, "offer", args, t->o, PIT_STREAM_READ, &s, &err);
    for (int i = 0; i < SLOW_READS && rc == 0; i++) {
        rc = pit_stream_next(s, PIT_INFINITE, NULL, &err);
        nap_us(SLOW_GAP_US);
        long now = resident_bytes() - before;
        most = now > most ? now : most;
    }
    pit_stream_close(s);
    pit_value_free(args);
    if (rc != 0)
        return host_fail(t->ret, "a slow reader", rc, err);
    b->samples.n = 0;
    samples_add(&b->samples, (uint64_t)most);
    samples_reduce(&b->samples, 0, t->ret);
    return BENCH_OK;
}

int run_stream(struct bench *b, int kind, struct result *ret)
{
    static int (*const kinds[])(struct bench * b, struct call_target * t) = {
        [STREAM_SMALL] = stream_small, [STREAM_FIRST] = stream_first, [STREAM_BIDI] = stream_bidi, [STREAM_SLOW] = slow_reader};
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_HOT);
    pit *p = host_pool(b, POOL_HOT, ret);
    if (p == NULL || host_place(b, p, o.pool, PLACE_TWO, ret) != BENCH_OK)
        return ret->status;
    struct call_target target = {p, &o, ret};
    return kinds[kind](b, &target);
}
