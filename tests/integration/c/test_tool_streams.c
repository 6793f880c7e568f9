/* Streams whose producers call tools of the host, which call Python again: however the stream is read, and whoever carries it. */
#include "integration/c/kit_python.h"

enum { N = 50 };

/* i * i, by way of Python: double(i) * i / 2. */
static int square(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    pit *p = *(pit **)user;
    pit_value *twice = NULL;
    pit_error *e = NULL;
    int64_t i = 0, d = 0;
    if (!pit_value_get_int(pit_value_get(args, "i"), &i))
        return pit_tool_fail(c, "i is missing");
    if (pit_callf(p, "double", NULL, &twice, &e, "[I]", i) != 0)
        return pit_tool_fail_take(c, e);
    pit_value_get_int(twice, &d);
    pit_value_free(twice);
    *ret = pit_int(d * i / 2);
    return 0;
}

static int count(pit_stream_event *ev, void *user)
{
    int64_t *seen = user, v = -1;
    if (ev->kind == PIT_STREAM_ERROR)
        fail_msg("%s", pit_error_string(ev->error));
    if (ev->kind == PIT_STREAM_CHUNK && !ev->is_final) {
        assert_true(pit_value_get_int(ev->value, &v));
        assert_int_equal(v, *seen * *seen);
        ++*seen;
    }
    return 0;
}

static void by_callback(pit *p, const pit_value *args, const pit_call_options *o)
{
    int64_t seen = 0;
    assert_int_equal(pit_call_stream(p, "squares", args, o, count, &seen, NULL, NULL), 0);
    assert_int_equal(seen, N);
}

static void by_future(pit *p, const pit_value *args)
{
    int64_t seen = 0;
    pit_future *f = NULL;
    assert_int_equal(pit_submit_stream(p, "squares", args, NULL, count, &seen, &f, NULL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, NULL, NULL), 0);
    assert_int_equal(seen, N);
    pit_future_free(f);
}

/* pause: longer than a reader may be away before the loop sees to his stream. */
static void at_own_pace(pit *p, int pause)
{
    pit_stream *s = NULL;
    assert_int_equal(pit_stream_open(p, "answers", NULL, NULL, PIT_STREAM_BIDI, &s, NULL), 0);
    for (int64_t i = 0; i < N; i++) {
        pit_value *v = pit_int(i), *r = NULL;
        pit_error *e = NULL;
        int64_t n = -1;
        assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
        if (i == N / 2 && pause != 0)
            poll(NULL, 0, pause); /* allow-sleep: it is away */
        if (pit_stream_next(s, KIT_LIMIT_MS, &r, &e) != 0)
            fail_msg("%s", pit_error_string(e));
        assert_true(pit_value_get_int(r, &n));
        assert_int_equal(n, i * i);
        pit_value_free(r);
        pit_value_free(v);
    }
    pit_stream_send_end(s);
    assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
    pit_stream_close(s);
}

static void run(int channel)
{
    struct kit_before before = kit_before();
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_options o = PIT_OPTIONS_INIT;
    pit_value *args = pit_pack("{s:i}", "n", N);
    pit_canceller *canceller = pit_canceller_new();
    pit_call_options by_loop = PIT_CALL_OPTIONS_INIT;
    pool.name = "asking";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/tool_streams.py";
    pool.workers = 1;
    pool.channel = channel;
    by_loop.canceller = canceller;
    pit *p = kit_open_python(&o, &pool);
    assert_int_equal(pit_tool_register(p, NULL, "square", square, &p, NULL, NULL), 0);
    by_callback(p, args, NULL);
    by_callback(p, args, &by_loop);
    by_future(p, args);
    at_own_pace(p, 0);
    at_own_pace(p, 100);
    pit_close(p);
    pit_canceller_free(canceller);
    pit_value_free(args);
    kit_clean(before, "tools in streams");
}

static void test_rings(void **state)
{
    (void)state;
    run(PIT_CHANNEL_RING);
}

static void test_sockets(void **state)
{
    (void)state;
    run(PIT_CHANNEL_SOCKET);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rings), cmocka_unit_test(test_sockets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
