/* Streams, and tools of the host, of workers that share no code with the library: the reference workers in C and, where there is a node, in JavaScript,
 * over their sockets. */
#include "integration/c/kit.h"
#include "skip.h"

enum { MANY = 500, WINDOW = 8, VALUES = 40 };

static const char *const c_worker[] = {TEST_BUILD_DIR "/examples/workers/worker", NULL};
static const char *const js_worker[] = {"/bin/sh", "-c", "exec node " TEST_BUILD_DIR "/examples/workers/worker.js", NULL};

static pit *open_with(const char *const *command)
{
    pit *p = NULL;
    pit_error *e = NULL;
    const char *env[] = {kit_mark, NULL};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    pool.name = "foreign";
    pool.command = command;
    pool.env = env;
    pool.workers = 1;
    pool.stream_window = WINDOW;
    pool.cancel_grace_ms = KIT_LIMIT_MS;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

struct heard {
    int64_t chunks, most;
};

static int hear(pit_stream_event *ev, void *user)
{
    struct heard *h = user;
    int64_t n = -1;
    if (ev->kind != PIT_STREAM_CHUNK ||
        pit_value_kind(ev->value) == PIT_KIND_MAP) /* the end, where the worker did not mark a chunk as the last */
        return 0;
    assert_true(pit_value_get_int(ev->value, &n));
    assert_int_equal(n, h->chunks);
    return ++h->chunks == h->most ? PIT_STREAM_HALT : 0;
}

static void count(pit *p, int64_t n, struct heard *h, pit_value **ret)
{
    pit_error *e = NULL;
    pit_value *args = pit_pack("[I]", n);
    if (pit_call_stream(p, "count", args, NULL, hear, h, ret, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    pit_value_free(args);
}

/* All of it, with its result; and of one that goes on for days only the beginning: the worker is told, and lives on. */
static void streams(pit *p)
{
    pid_t pid = kit_worker(p, 0);
    pit_value *final = NULL;
    int64_t n = 0;
    struct heard all = {0}, few = {.most = 3};
    count(p, MANY, &all, &final);
    assert_int_equal(all.chunks, MANY);
    assert_true(pit_value_get_int(final, &n));
    assert_int_equal(n, MANY);
    pit_value_free(final);
    count(p, INT32_MAX, &few, NULL);
    assert_int_equal(few.chunks, 3);
    assert_int_equal(pit_callf(p, "add", NULL, &final, NULL, "[i,i]", 1, 2), 0);
    pit_value_free(final);
    assert_int_equal(kit_worker(p, 0), pid);
}

/* Each value comes back, many more of them than there is room for in the window. */
static void talks(pit *p)
{
    pit_stream *s = NULL;
    pit_error *e = NULL;
    int64_t n = 0;
    if (pit_stream_open(p, "talk", NULL, NULL, PIT_STREAM_BIDI, &s, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    for (int i = 0; i < VALUES; i++) {
        pit_value *v = pit_int(i), *back = NULL;
        assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, &back, NULL), 0);
        assert_true(pit_value_equal(v, back));
        pit_value_free(v);
        pit_value_free(back);
    }
    assert_int_equal(pit_stream_send_end(s), 0);
    assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
    assert_true(pit_value_get_int(pit_stream_result(s), &n));
    assert_int_equal(n, VALUES);
    pit_stream_close(s);
}

static void refuses(pit *p)
{
    assert_int_equal(pit_callf(p, "count", NULL, NULL, NULL, "[i]", 3), PIT_E_STREAMING_REQUIRED);
    struct heard h = {0};
    pit_value *args = pit_pack("[i]", 3);
    assert_int_equal(pit_call_stream(p, "echo", args, NULL, hear, &h, NULL, NULL), PIT_E_STREAMING_NOT_SUPPORTED);
    pit_value_free(args);
}

/* ---- tools of the host ---- */

enum { DEPTH = 16 };

static int twice(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)user;
    int64_t n = 0;
    if (!pit_value_get_int(pit_value_get(args, "n"), &n))
        return pit_tool_fail(c, "n is no number");
    *ret = pit_int(2 * n);
    return 0;
}

/* Asks the worker that waits for it to ask for it again, so many more times. */
static int deeper(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int64_t n = 0;
    pit_error *e = NULL;
    (void)pit_value_get_int(pit_value_get(args, "n"), &n);
    if (n == 0) {
        *ret = pit_int(pit_tool_depth(c));
        return 0;
    }
    int rc = pit_callf(*(pit **)user, "ask", NULL, ret, &e, "[s,{s:I}]", "deeper", "n", n - 1);
    return rc == 0 ? 0 : pit_tool_fail_take(c, e);
}

static void offer(pit *p, const char *name, pit_tool_fn fn, void *user)
{
    pit_error *e = NULL;
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    o.exposed = PIT_ON;
    if (pit_tool_register(p, NULL, name, fn, user, &o, &e) != 0)
        fail_msg("%s", pit_error_string(e));
}

static void asks_for(pit *p, const char *tool, int64_t n, int64_t expected)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    int64_t got = -1;
    if (pit_callf(p, "ask", NULL, &v, &e, "[s,{s:I}]", tool, "n", n) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_true(pit_value_get_int(v, &got));
    assert_int_equal(got, expected);
    pit_value_free(v);
}

static void asks(pit **p)
{
    pid_t pid = kit_worker(*p, 0);
    pit_value *v = NULL;
    pit_error *e = NULL;
    offer(*p, "twice", twice, NULL);
    offer(*p, "deeper", deeper, p);
    asks_for(*p, "twice", 21, 42);
    asks_for(*p, "deeper", DEPTH - 1, DEPTH);
    assert_int_equal(pit_callf(*p, "ask", NULL, NULL, &e, "[s,{}]", "twice"), PIT_E_TOOL_EXECUTION_FAILED);
    assert_non_null(strstr(pit_error_message(e), "n is no number"));
    pit_error_free(e);
    assert_int_equal(pit_callf(*p, "ask", NULL, NULL, &e, "[s,{}]", "nobody"), PIT_E_TOOL_NOT_FOUND);
    pit_error_free(e);
    assert_int_equal(pit_callf(*p, "tools", NULL, &v, NULL, ""), 0);
    assert_int_equal(pit_value_len(v), 2);
    pit_value_free(v);
    assert_int_equal(kit_worker(*p, 0), pid);
}

static void serves(const char *const *command)
{
    struct kit_before before = kit_before();
    pit *p = open_with(command);
    streams(p);
    talks(p);
    refuses(p);
    asks(&p);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "foreign");
}

static void test_worker_in_c(void **state)
{
    (void)state;
    serves(c_worker);
}

static void test_worker_in_javascript(void **state)
{
    (void)state;
    if (system("command -v node >/dev/null 2>&1") != 0)
        SKIP_BECAUSE("there is no node here");
    serves(js_worker);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_worker_in_c), cmocka_unit_test(test_worker_in_javascript)};
    return cmocka_run_group_tests_name("integration.foreign", tests, NULL, NULL);
}
