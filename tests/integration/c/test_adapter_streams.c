/* Pools whose adapter is in C: streams, both ways, in every form. */
#include "integration/c/adapter_kit.h"

/* ---- an adapter that streams ---- */

struct streams {
    struct counted counted;
    atomic_int sent, last_rc, left;
};

static int produce(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret_final, void *user)
{
    struct streams *s = user;
    int64_t n = number_in(args);
    int rc = 0;
    if (strcmp(command, "count") == 0)
        for (int64_t i = 0; rc == 0 && i < n; i++) {
            pit_value *v = pit_int(i);
            rc = pit_adapter_send(c, v, PIT_INFINITE);
            atomic_fetch_add(&s->sent, rc == 0);
            pit_value_free(v);
        }
    else if (strcmp(command, "block") == 0) { /* one that is longer than the ring, and than the window in bytes */
        char *block = calloc(1, (size_t)n);
        pit_value *v = pit_bytes(block, (size_t)n);
        for (int i = 0; rc == 0 && i < 4; i++)
            rc = pit_adapter_send(c, v, PIT_INFINITE);
        free(block);
        pit_value_free(v);
    } else if (strcmp(command, "patient") == 0) { /* fills the window, and then says how often it had to wait */
        pit_value *v = pit_int(0);
        for (; (rc = pit_adapter_send(c, v, 0)) == 0;)
            atomic_fetch_add(&s->sent, 1);
        if (rc == PIT_E_PENDING)
            rc = pit_adapter_send(c, v, 1) == PIT_E_PENDING ? 0 : PIT_E_VALUE_ERROR;
        pit_value_free(v);
    } else if (strcmp(command, "silent") == 0) {
        pit_value *v = NULL;
        rc = pit_adapter_receive(c, PIT_INFINITE, &v);
        pit_value_free(v);
    } else if (strcmp(command, "empty") == 0) {
        pit_value *v = NULL;
        if (pit_adapter_receive(c, 0, &v) != PIT_E_PENDING || pit_adapter_receive(c, 1, &v) != PIT_E_PENDING)
            rc = PIT_E_VALUE_ERROR;
    } else if (strcmp(command, "too_long") == 0) {
        char *block = calloc(1, 1 << 20);
        pit_value *v = pit_bytes(block, 1 << 20);
        *ret_final = pit_int(pit_adapter_send(c, v, PIT_INFINITE));
        free(block);
        pit_value_free(v);
    } else {
        rc = pit_adapter_fail(c, PIT_E_KEY_ERROR, "after %d chunks", atomic_load(&s->sent));
    }
    atomic_store(&s->last_rc, rc);
    atomic_fetch_add(&s->left, 1);
    if (rc == 0 && *ret_final == NULL)
        *ret_final = pit_int(n);
    return rc;
}

static int refuse_streams(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user)
{
    pit_value *v = NULL;
    (void)command, (void)args, (void)user;
    *ret = pit_pack("[i,i]", pit_adapter_send(c, NULL, PIT_INFINITE), pit_adapter_receive(c, 0, &v));
    return 0;
}

static const pit_adapter streaming = {.size = sizeof streaming, .execute = refuse_streams, .execute_stream = produce};

/* ---- reading ---- */

struct seen {
    int64_t chunks, ends, halt_at;
    bool in_order;
};

static int see(pit_stream_event *ev, void *user)
{
    struct seen *s = user;
    int64_t n = -1;
    s->ends += ev->kind != PIT_STREAM_CHUNK;
    if (ev->kind != PIT_STREAM_CHUNK || ev->is_final)
        return 0;
    pit_value_get_int(ev->value, &n);
    s->in_order = s->in_order && n == s->chunks;
    return ++s->chunks == s->halt_at ? PIT_STREAM_HALT : 0;
}

static int64_t stream_of(pit *p, const char *command, int64_t n, struct seen *s, int64_t *ret_final)
{
    pit_value *args = pit_pack("[I]", n), *final = NULL;
    s->in_order = true;
    int rc = pit_call_stream(p, command, args, NULL, see, s, &final, NULL);
    if (rc == 0)
        pit_value_get_int(final, ret_final);
    pit_value_free(final);
    pit_value_free(args);
    return rc;
}

enum { MANY = 1000 };

static void test_callback(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct streams s = {0};
    struct adapter_open a = ADAPTER_OPEN(&streaming, &s);
    pit *p = adapter_open(&a);
    for (int64_t n = 0; n <= MANY; n = n * 10 + 1) {
        struct seen seen = {0};
        int64_t final = -1;
        assert_int_equal(stream_of(p, "count", n, &seen, &final), 0);
        assert_int_equal(seen.chunks, n);
        assert_int_equal(seen.ends, 1);
        assert_true(seen.in_order);
        assert_int_equal(final, n);
    }
    struct seen seen = {0};
    int64_t final = 0;
    assert_int_equal(stream_of(p, "block", 200000, &seen, &final), 0);
    assert_int_equal(seen.chunks, 4);
    seen = (struct seen){0};
    assert_int_equal(stream_of(p, "broken", 0, &seen, NULL), PIT_E_KEY_ERROR);
    assert_int_equal(seen.ends, 1);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "callback");
}

static void test_halt(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct streams s = {0};
    struct adapter_open a = ADAPTER_OPEN(&streaming, &s);
    pit *p = adapter_open(&a);
    struct seen seen = {.halt_at = 3};
    assert_int_equal(stream_of(p, "count", INT64_MAX, &seen, &(int64_t){0}), 0);
    KIT_AWAIT(atomic_load(&s.left) == 1); /* the lane is free again */
    assert_int_equal(atomic_load(&s.last_rc), PIT_E_CANCELLED);
    assert_int_equal(kit_call(p, "x", 0, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "halt");
}

static void test_pull_and_window(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct streams s = {0};
    struct adapter_open a = ADAPTER_OPEN(&streaming, &s);
    a.pool.stream_window = 5;
    pit *p = adapter_open(&a);
    pit_stream *st = NULL;
    pit_value *args = pit_pack("[I]", INT64_MAX);
    assert_int_equal(pit_stream_open(p, "count", args, NULL, PIT_STREAM_READ, &st, NULL), 0);
    KIT_AWAIT(atomic_load(&s.sent) == 5); /* and no further */
    for (int64_t i = 0; i < MANY; i++) {
        pit_value *v = NULL;
        int64_t n = -1;
        assert_int_equal(pit_stream_next(st, KIT_LIMIT_MS, &v, NULL), 0);
        assert_true(pit_value_get_int(v, &n) && n == i);
        assert_true(atomic_load(&s.sent) <= i + 1 + 5);
        pit_value_free(v);
    }
    pit_stream_close(st);
    pit_value_free(args);
    KIT_AWAIT(atomic_load(&s.left) == 1);
    struct seen seen = {0};
    int64_t final = -1;
    atomic_store(&s.sent, 0);
    pit_future *f = NULL;
    pit_value *none = pit_list();
    assert_int_equal(pit_submit_stream(p, "count", none, NULL, see, &seen, &f, NULL), 0);
    assert_int_equal(kit_outcome(f, &final), 0);
    assert_int_equal(seen.ends, 1);
    pit_value_free(none);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "pull");
}

static void test_both_ways(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
    a.pool.stream_window = 8;
    pit *p = adapter_open(&a);
    pit_stream *st = NULL;
    assert_int_equal(pit_stream_open(p, "echo", NULL, NULL, PIT_STREAM_BIDI, &st, NULL), 0);
    for (int64_t i = 0; i < MANY; i++) {
        pit_value *v = pit_int(i), *back = NULL;
        assert_int_equal(pit_stream_send(st, v, KIT_LIMIT_MS, NULL), 0);
        assert_int_equal(pit_stream_next(st, KIT_LIMIT_MS, &back, NULL), 0);
        assert_true(pit_value_equal(v, back));
        pit_value_free(v);
        pit_value_free(back);
    }
    assert_int_equal(pit_stream_send_end(st), 0);
    assert_int_equal(pit_stream_next(st, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
    int64_t n = 0;
    assert_true(pit_value_get_int(pit_stream_result(st), &n));
    assert_int_equal(n, MANY);
    pit_stream_close(st);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "both ways");
}

/* Nobody reads what comes while much is sent: neither side grows, neither hangs for ever. */
static void test_full_inbox(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct streams s = {0};
    struct adapter_open a = ADAPTER_OPEN(&streaming, &s);
    a.pool.stream_window = 4;
    pit *p = adapter_open(&a);
    pit_stream *st = NULL;
    pit_value *args = pit_pack("[I]", INT64_MAX), *v = pit_int(1);
    assert_int_equal(pit_stream_open(p, "count", args, NULL, PIT_STREAM_BIDI, &st, NULL), 0);
    int sent = 0, rc;
    while ((rc = pit_stream_send(st, v, 0, NULL)) == 0)
        sent++;
    assert_int_equal(rc, PIT_E_PENDING);
    assert_int_equal(sent, 4);
    pit_stream_close(st);
    KIT_AWAIT(atomic_load(&s.left) == 1);
    assert_int_equal(kit_call(p, "x", 0, 0, NULL), 0);
    pit_value_free(args);
    pit_value_free(v);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "full inbox");
}

/* ---- waiting, cancelling ---- */

static void test_patience(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct streams s = {0};
    struct adapter_open a = ADAPTER_OPEN(&streaming, &s);
    a.pool.stream_window = 7;
    a.pool.max_frame_bytes = 1 << 18;
    pit *p = adapter_open(&a);
    pit_stream *st = NULL;
    assert_int_equal(pit_stream_open(p, "patient", NULL, NULL, PIT_STREAM_READ, &st, NULL), 0);
    KIT_AWAIT(atomic_load(&s.left) == 1);
    assert_int_equal(atomic_load(&s.sent), 7);
    int n = 0;
    while (pit_stream_next(st, KIT_LIMIT_MS, NULL, NULL) == 0)
        n++;
    assert_int_equal(n, 7);
    pit_stream_close(st);
    struct seen seen = {0};
    int64_t final = 0;
    assert_int_equal(stream_of(p, "too_long", 0, &seen, &final), 0);
    assert_int_equal(final, PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(pit_stream_open(p, "empty", NULL, NULL, PIT_STREAM_BIDI, &st, NULL), 0);
    assert_int_equal(pit_stream_next(st, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
    pit_stream_close(st);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "patience");
}

static void test_ends_of_silence(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct streams s = {0};
    struct adapter_open a = ADAPTER_OPEN(&streaming, &s);
    pit *p = adapter_open(&a);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_stream *st = NULL;
    o.timeout_ms = 50;
    assert_int_equal(pit_stream_open(p, "silent", NULL, &o, PIT_STREAM_BIDI, &st, NULL), 0);
    assert_int_equal(pit_stream_next(st, KIT_LIMIT_MS, NULL, NULL), PIT_E_DEADLINE_EXCEEDED);
    KIT_AWAIT(atomic_load(&s.left) == 1);
    assert_int_equal(atomic_load(&s.last_rc), PIT_E_CANCELLED);
    pit_stream_close(st);
    assert_int_equal(pit_stream_open(p, "silent", NULL, NULL, PIT_STREAM_BIDI, &st, NULL), 0);
    pit_stream_close(st);
    KIT_AWAIT(kit_stats(p).busy == 0);
    assert_int_equal(pit_stream_open(p, "silent", NULL, NULL, PIT_STREAM_BIDI, &st, NULL), 0);
    KIT_AWAIT(kit_stats(p).busy == 1);
    assert_int_equal(pit_pool_stop(p, "c", 0, NULL), 0); /* the function is told, and returns */
    assert_int_equal(pit_stream_next(st, KIT_LIMIT_MS, NULL, NULL), PIT_E_SHUTTING_DOWN);
    pit_stream_close(st);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "ends of silence");
}

static void test_not_a_stream(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted c = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &c);
    pit *p = adapter_open(&a);
    struct seen seen = {0};
    assert_int_equal(stream_of(p, "echo", 1, &seen, NULL), PIT_E_STREAMING_NOT_SUPPORTED);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    struct streams s = {0};
    a = (struct adapter_open)ADAPTER_OPEN(&streaming, &s);
    p = adapter_open(&a);
    pit_value *v = NULL;
    int64_t n = 0;
    assert_int_equal(pit_callf(p, "x", NULL, &v, NULL, ""), 0);
    for (size_t i = 0; i < 2; i++)
        assert_true(pit_value_get_int(pit_value_at(v, i), &n) && n == PIT_E_INVALID_REQUEST);
    pit_value_free(v);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "not a stream");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callback),        cmocka_unit_test(test_halt),         cmocka_unit_test(test_pull_and_window),
        cmocka_unit_test(test_both_ways),       cmocka_unit_test(test_full_inbox),   cmocka_unit_test(test_patience),
        cmocka_unit_test(test_ends_of_silence), cmocka_unit_test(test_not_a_stream),
    };
    kit_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
