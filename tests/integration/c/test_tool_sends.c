/* Tools of the host that stream to Python: over rings and sockets, on lanes that threads ride and on those of the loop, in processes and threads; beside
 * other tools, with one tool thread; and all the ways in which that ends early. */
#include "integration/c/kit_python.h"

struct bench {
    pit *p;
    int64_t stopped; /* atomic: tools that have heard that nothing more is wanted */
    int64_t begun;   /* atomic: of the silent ones */
    int lanes;       /* of the pool */
    int last;        /* what pit_tool_send() has returned last */
};

/* n values, or values without end. */
static int rows(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    int64_t n = 0;
    int rc = 0;
    pit_value_get_int(pit_value_get(args, "n"), &n);
    for (int64_t i = 0; rc == 0 && (n < 0 || i < n); i++) {
        pit_value *v = pit_int(i);
        rc = pit_tool_send(c, v, PIT_INFINITE);
        pit_value_free(v);
    }
    if (rc != 0) {
        assert_true(pit_tool_cancelled(c));
        __atomic_store_n(&b->last, rc, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&b->stopped, 1, __ATOMIC_SEQ_CST);
        return rc;
    }
    *ret = pit_int(n);
    return 0;
}

static int blocks(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    enum { BLOCK = 3 << 20 };
    (void)user;
    (void)ret;
    int64_t n = 0;
    int rc = 0;
    char *data = calloc(1, BLOCK);
    pit_value_get_int(pit_value_get(args, "n"), &n);
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        pit_value *v = pit_bytes(data, BLOCK);
        rc = pit_tool_send(c, v, PIT_INFINITE);
        pit_value_free(v);
    }
    *ret = pit_bytes(data, BLOCK);
    free(data);
    return rc;
}

static int breaks(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)ret;
    (void)user;
    int64_t n = 0;
    pit_value_get_int(pit_value_get(args, "n"), &n);
    for (int64_t i = 0; i < n; i++) {
        pit_value *v = pit_int(i);
        assert_int_equal(pit_tool_send(c, v, PIT_INFINITE), 0);
        pit_value_free(v);
    }
    return pit_tool_fail(c, "no more than %d", (int)n);
}

/* Nothing, until nothing is wanted any more. */
static int silent(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)args;
    (void)ret;
    struct bench *b = user;
    __atomic_add_fetch(&b->begun, 1, __ATOMIC_SEQ_CST);
    while (!pit_tool_cancelled(c))
        poll(NULL, 0, 1); /* allow-sleep: as long as the test wants it */
    __atomic_add_fetch(&b->stopped, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int twice(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int64_t x = 0;
    (void)user;
    assert_int_equal(pit_tool_send(c, NULL, PIT_NOW), PIT_E_STREAMING_NOT_SUPPORTED);
    pit_value_get_int(pit_value_get(args, "x"), &x);
    *ret = pit_int(2 * x);
    return 0;
}

static int back(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    int64_t x = 0;
    pit_error *e = NULL;
    pit_value_get_int(pit_value_get(args, "x"), &x);
    return pit_callf(b->p, "double", NULL, ret, &e, "[I]", x) == 0 ? 0 : pit_tool_fail_take(c, e);
}

/* Streams what Python makes of it, where there is a worker for that. */
static int asks(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    pit_value *v = NULL;
    pit_error *e = NULL;
    (void)args;
    (void)ret;
    int rc = pit_callf(b->p, "double", NULL, &v, &e, "[i]", 21);
    if (rc != 0) {
        assert_non_null(strstr(pit_error_string(e), "another worker"));
        return pit_tool_fail_take(c, e);
    }
    rc = pit_tool_send(c, v, PIT_INFINITE);
    pit_value_free(v);
    return rc;
}

static int stopped(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)c;
    (void)args;
    *ret = pit_bool(__atomic_load_n(&b->stopped, __ATOMIC_SEQ_CST) != 0);
    return 0;
}

struct form {
    int channel, drive;
    const char *profile;
};

static pit *open_form(struct bench *b, const struct form *f)
{
    static const struct {
        const char *name;
        pit_tool_fn fn;
        bool streams;
    } them[] = {{"rows", rows, true}, {"blocks", blocks, true}, {"breaks", breaks, true}, {"silent", silent, true},
                {"asks", asks, true}, {"twice", twice, false},  {"back", back, false},    {"stopped", stopped, false}};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_options o = PIT_OPTIONS_INIT;
    pool.name = "reading";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/tool_sends.py";
    pool.workers = 1;
    pool.channel = f->channel;
    pool.profile = f->profile;
    pool.threads_per_worker = f->profile != NULL ? 2 : 0;
    o.drive = f->drive;
    o.tool_threads = 1;
    memset(b, 0, sizeof *b);
    b->lanes = f->profile != NULL ? 2 : 1;
    b->p = kit_open_python(&o, &pool);
    for (size_t i = 0; i < sizeof them / sizeof them[0]; i++) {
        pit_tool_options t = PIT_TOOL_OPTIONS_INIT;
        t.exposed = PIT_ON;
        t.streaming = them[i].streams ? PIT_ON : PIT_OFF;
        assert_int_equal(pit_tool_register(b->p, NULL, them[i].name, them[i].fn, b, &t, NULL), 0);
    }
    return b->p;
}

/* By a thread that rides the lane, or by the loop. */
static pit_value *call_by(pit *p, bool loop, const char *command, pit_value *args)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    pit_future *f = NULL;
    int rc;
    if (loop) {
        assert_int_equal(pit_submit(p, command, args, NULL, &f, NULL), 0);
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        rc = pit_future_result(f, &v, &e);
        pit_future_free(f);
    } else {
        rc = pit_call(p, command, args, NULL, &v, &e);
    }
    pit_value_free(args);
    if (rc != 0)
        fail_msg("%s: %s", command, pit_error_string(e));
    return v;
}

static int64_t number(const pit_value *v)
{
    int64_t n = -1;
    pit_value_get_int(v, &n);
    return n;
}

static int64_t number_by(pit *p, bool loop, const char *command, int64_t n)
{
    pit_value *v = call_by(p, loop, command, pit_pack("{s:I}", "n", n));
    int64_t found = number(pit_value_kind(v) == PIT_KIND_LIST ? pit_value_at(v, 0) : v);
    if (pit_value_kind(v) == PIT_KIND_LIST)
        assert_int_equal(number(pit_value_at(v, 1)), n);
    pit_value_free(v);
    return found;
}

static int64_t sum_to(int64_t n)
{
    return n * (n - 1) / 2;
}

static void values(struct bench *b, bool loop)
{
    static const char *const commands[] = {"total", "atotal"};
    static const int64_t counts[] = {0, 1, 99, 100, 101, 1000};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            assert_int_equal(number_by(b->p, loop, commands[k], counts[i]), sum_to(counts[i]));
}

static void beside(struct bench *b, bool loop)
{
    enum { N = 150 };
    assert_int_equal(number_by(b->p, loop, "save_each", N), 2 * sum_to(N));
    assert_int_equal(number_by(b->p, loop, "asave_each", N), 2 * sum_to(N));
    assert_int_equal(number_by(b->p, loop, "ask_back", N), 2 * sum_to(N));
    assert_int_equal(number_by(b->p, loop, "zipped", N), 5 * sum_to(N));
    assert_int_equal(number_by(b->p, loop, "azipped", N), 5 * sum_to(N));
    assert_int_equal(number_by(b->p, loop, "threaded", N), 8 * sum_to(N));
    assert_int_equal(number_by(b->p, loop, "large", 4), 4 * (INT64_C(3) << 20) + 8);
}

static void await_stopped(struct bench *b, int64_t n)
{
    KIT_AWAIT(__atomic_load_n(&b->stopped, __ATOMIC_SEQ_CST) >= n);
    __atomic_store_n(&b->stopped, 0, __ATOMIC_SEQ_CST);
}

static void early(struct bench *b, bool loop)
{
    static const char *const hows[] = {"break", "close", "drop"};
    for (size_t i = 0; i < 3; i++) {
        pit_value *v = call_by(b->p, loop, "early", pit_pack("{s:i,s:s}", "n", 250, "how", hows[i]));
        assert_int_equal(number(v), 250);
        pit_value_free(v);
        await_stopped(b, 1);
        assert_int_equal(b->last, PIT_E_CANCELLED);
    }
    assert_int_equal(number_by(b->p, loop, "aearly", 250), 250);
    await_stopped(b, 1);
    pit_value *v = call_by(b->p, loop, "many", pit_pack("{s:i}", "n", 20));
    int64_t n = number(pit_value_at(v, 0)); /* 16, but for tools of earlier calls that have not returned yet */
    assert_in_range(n, 1, 16);
    assert_string_equal(pit_value_str_or(pit_value_at(v, 1), ""), "limit_exceeded");
    pit_value_free(v);
    await_stopped(b, n);
    for (int i = 0; i < 2; i++) {
        v = call_by(b->p, loop, "later", NULL);
        if (i != 0)
            assert_non_null(strstr(pit_value_str_or(v, ""), "the call has ended"));
        pit_value_free(v);
        await_stopped(b, 1);
    }
}

static void check_failure(struct bench *b, bool loop, const char *name, int64_t n, bool stream, const char *code,
                          const char *text)
{
    pit_value *v = call_by(b->p, loop, "fails", pit_pack("{s:s,s:I,s:b}", "name", name, "n", n, "streams", (int)stream));
    assert_int_equal(number(pit_value_at(v, 0)), strcmp(name, "breaks") == 0 ? n : code[0] == '\0' ? 1 : 0);
    assert_string_equal(pit_value_str_or(pit_value_at(v, 1), ""), code);
    if (strstr(pit_value_str_or(pit_value_at(v, 2), ""), text) == NULL)
        fail_msg("%s", pit_value_str_or(pit_value_at(v, 2), ""));
    pit_value_free(v);
}

static void failures(struct bench *b, bool loop)
{
    check_failure(b, loop, "breaks", 0, true, "tool_execution_failed", "no more than 0");
    check_failure(b, loop, "breaks", 250, true, "tool_execution_failed", "no more than 250");
    check_failure(b, loop, "nowhere", 1, true, "ValueError", "nowhere");
    check_failure(b, loop, "rows", 1, false, "streaming_required", "stream_host_tool");
    if (b->lanes == 1)
        check_failure(b, loop, "asks", 1, true, "tool_execution_failed", "only worker");
    else
        check_failure(b, loop, "asks", 1, true, "", "");
    check_failure(b, loop, "twice", 1, true, "streaming_not_supported", "call_host_tool");
}

static void given_up(struct bench *b, bool loop)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_canceller *canceller = loop ? pit_canceller_new() : NULL; /* such calls are the loop's */
    o.timeout_ms = 100;
    o.canceller = canceller;
    assert_int_equal(pit_call(b->p, "wait", NULL, &o, NULL, NULL), PIT_E_DEADLINE_EXCEEDED);
    pit_canceller_free(canceller);
    assert_int_equal(number_by(b->p, loop, "total", 10), sum_to(10));
    await_stopped(b, __atomic_exchange_n(&b->begun, 0, __ATOMIC_SEQ_CST)); /* none: its time was over before */
}

static int count(pit_stream_event *ev, void *user)
{
    int64_t *sum = user;
    if (ev->kind == PIT_STREAM_CHUNK && !ev->is_final)
        *sum += number(ev->value);
    return 0;
}

/* Streams of streams: by a callback, and by a reader who takes his time. */
static void streams(struct bench *b, bool loop)
{
    enum { N = 150 };
    int64_t sum = 0;
    pit_value *args = pit_pack("{s:i}", "n", N), *v = NULL;
    pit_stream *s = NULL;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_canceller *canceller = loop ? pit_canceller_new() : NULL;
    o.canceller = canceller;
    assert_int_equal(pit_call_stream(b->p, "streamed", args, &o, count, &sum, NULL, NULL), 0);
    assert_int_equal(sum, 2 * sum_to(N));
    assert_int_equal(pit_stream_open(b->p, "streamed", args, &o, PIT_STREAM_READ, &s, NULL), 0);
    int rc;
    for (sum = 0; (rc = pit_stream_next(s, KIT_LIMIT_MS, &v, NULL)) == 0; pit_value_free(v)) {
        if (sum == 0)
            poll(NULL, 0, 50); /* allow-sleep: it is away for so long that the loop sees to the stream */
        sum += number(v);
    }
    assert_int_equal(rc, PIT_E_END);
    assert_int_equal(sum, 2 * sum_to(N));
    pit_stream_close(s);
    pit_value_free(args);
    pit_canceller_free(canceller);
}

/* All of it in one form, in each way to carry a call. */
static void run(const struct form *f)
{
    static void (*const all[])(struct bench *, bool) = {values, beside, early, failures, streams, given_up};
    struct kit_before before = kit_before();
    struct bench b;
    pit *p = open_form(&b, f);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int loop = 0; loop < 2; loop++)
            all[i](&b, loop != 0);
    pit_close(p);
    kit_clean(before, "tools that stream");
}

static void test_rings(void **state)
{
    (void)state;
    run(&(struct form){PIT_CHANNEL_RING, PIT_DRIVE_THREAD, NULL});
}

static void test_sockets(void **state)
{
    (void)state;
    run(&(struct form){PIT_CHANNEL_SOCKET, PIT_DRIVE_THREAD, NULL});
}

static void test_driven(void **state)
{
    (void)state;
    run(&(struct form){PIT_CHANNEL_RING, PIT_DRIVE_HOST, NULL});
}

static void test_threads(void **state)
{
    (void)state;
    run(&(struct form){PIT_CHANNEL_RING, PIT_DRIVE_THREAD, "thread"});
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rings), cmocka_unit_test(test_sockets),
                                       cmocka_unit_test(test_driven), cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
