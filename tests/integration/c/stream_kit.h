/* For tests of streams, from the API to workers written in C (worker_stream.h). */
#ifndef TESTS_STREAM_KIT_H
#define TESTS_STREAM_KIT_H

#include "integration/c/kit.h"

/* AWAY_MS: a reader is away; half of it a worker may be silent, however starved the machine. */
enum { MANY = 250, FEW = 10, AWAY_MS = 3000 };

static const char *const channels[] = {"ring", "socket"};

static inline pit *open_on(const char *channel)
{
    struct kit k = KIT_INIT;
    k.channel = channel;
    k.drain_ms = 100; /* a stream that nobody reads does not end */
    k.pool.restart_backoff = PIT_OFF;
    return kit_open(&k);
}

/* ---- with a callback ---- */

struct heard {
    int64_t chunks, ends, errors, finals, out_of_order;
    int64_t halt_at, answer; /* after so many chunks: what to return */
    int code;
    pit_value *last, *metadata;
    pthread_t thread;
};

static inline int hear(pit_stream_event *ev, void *user)
{
    struct heard *h = user;
    int64_t n = -1;
    assert_int_equal(ev->size, sizeof *ev);
    assert_int_equal(h->ends + h->errors, 0);
    h->thread = pthread_self();
    if (ev->kind == PIT_STREAM_END)
        h->ends++;
    if (ev->kind == PIT_STREAM_ERROR)
        h->errors++, h->code = pit_error_code(ev->error);
    if (ev->kind != PIT_STREAM_CHUNK)
        return 0;
    assert_int_equal(h->finals, 0);
    h->finals += ev->is_final;
    pit_value_get_int(ev->value, &n);
    h->out_of_order += !ev->is_final && (n != h->chunks || ev->index != (uint64_t)h->chunks);
    h->chunks += !ev->is_final;
    pit_value_free(h->last);
    h->last = pit_value_ref(ev->value);
    pit_value_free(h->metadata);
    h->metadata = ev->metadata != NULL ? pit_value_ref(ev->metadata) : NULL;
    return h->halt_at != 0 && h->chunks == h->halt_at ? (int)h->answer : 0;
}

static inline void forget(struct heard *h)
{
    pit_value_free(h->last);
    pit_value_free(h->metadata);
}

static inline int stream(pit *p, const char *command, int64_t n, struct heard *h, pit_value **ret, pit_error **err)
{
    pit_value *args = pit_pack("[I]", n);
    int rc = pit_call_stream(p, command, args, NULL, hear, h, ret, err);
    pit_value_free(args);
    return rc;
}

/* The lane is free again, of the same worker: nobody was killed. */
static inline void serves(pit *p, pid_t pid)
{
    int64_t n = 0;
    assert_int_equal(kit_call(p, "echo", 7, 0, &n), 0);
    assert_int_equal(n, 7);
    if (pid != 0)
        assert_int_equal(kit_worker(p, 0), pid);
}

static inline pit_stream *open_stream(pit *p, const char *command, int64_t n, int flags)
{
    pit_stream *s = NULL;
    pit_error *e = NULL;
    pit_value *args = pit_pack("[I]", n);
    if (pit_stream_open(p, command, args, NULL, flags, &s, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    pit_value_free(args);
    return s;
}

static inline int64_t next_number(pit_stream *s)
{
    int64_t n = -1;
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_stream_next(s, KIT_LIMIT_MS, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_true(pit_value_get_int(v, &n));
    pit_value_free(v);
    return n;
}

#endif
