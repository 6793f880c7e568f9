/* What is told of tools that fail: causes, statuses, and the events of every end. */
#include "integration/c/kit_python.h"

#define PREFIX "Tool execution failed: "

static pit *open_failures(void)
{
    static char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/tool_failures.py", TEST_SOURCE_DIR);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_options host = PIT_OPTIONS_INIT;
    pool.name = "failures";
    pool.adapter = adapter;
    pool.workers = 1;
    return kit_open_python(&host, &pool);
}

static const char *text_in(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "");
}

static int relay(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    pit_error *e = NULL;
    (void)args;
    return pit_call(*(pit **)user, "fails", NULL, NULL, ret, &e) == 0 ? 0 : pit_tool_fail_take(c, e);
}

/* What a tool has met is the cause of its failure: here, and in Python. */
static void test_causes(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_failures();
    pit_error *e = NULL;
    pit_value *v = NULL;
    assert_int_equal(pit_tool_register(p, NULL, "relay", relay, &p, NULL, NULL), 0);
    assert_int_equal(pit_tool_call(p, NULL, "relay", NULL, NULL, NULL, &e), PIT_E_TOOL_EXECUTION_FAILED);
    assert_string_equal(pit_error_message(e), PREFIX "no such thing");
    assert_string_equal(text_in(pit_error_details(e), "code"), "value_error");
    const pit_error *cause = pit_error_cause(e);
    assert_int_equal(pit_error_code(cause), PIT_E_VALUE_ERROR);
    assert_non_null(strstr(pit_error_traceback(cause), "no such thing"));
    assert_non_null(pit_error_worker(cause));
    pit_error_free(e);
    assert_int_equal(pit_callf(p, "catch", NULL, &v, NULL, "[s]", "relay"), 0);
    const pit_value *told = pit_value_get(pit_value_get(v, "details"), "cause");
    assert_string_equal(text_in(pit_value_get(v, "details"), "code"), "value_error");
    assert_string_equal(text_in(told, "code"), "value_error");
    assert_string_equal(text_in(told, "message"), "no such thing");
    assert_string_equal(text_in(told, "pool"), "failures");
    assert_string_equal(text_in(told, "type"), "ValueError");
    assert_non_null(strstr(text_in(told, "worker_id"), "failures/0."));
    assert_non_null(strstr(text_in(told, "traceback"), "in fails"));
    pit_value_free(v);
    pit_close(p);
    kit_clean(before, "causes");
}

/* So many more levels, and then it fails. */
static int go_down(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int64_t n = 0;
    pit_error *e = NULL;
    pit_value_get_int(pit_value_get(args, "n"), &n);
    if (n == 0)
        return pit_tool_fail(c, "the bottom");
    int rc = pit_callf(*(pit **)user, "ask", NULL, ret, &e, "[sI]", "down", n - 1);
    return rc == 0 ? 0 : pit_tool_fail_take(c, e);
}

/* However many tools have failed inside each other: it is said once, and where each level was can be found. */
static void test_levels(void **state)
{
    (void)state;
    pit *p = open_failures();
    assert_int_equal(pit_tool_register(p, NULL, "down", go_down, &p, NULL, NULL), 0);
    for (int64_t n = 0; n < 16; n += 5) {
        pit_error *e = NULL;
        assert_int_equal(pit_callf(p, "ask", NULL, NULL, &e, "[sI]", "down", n), PIT_E_TOOL_EXECUTION_FAILED);
        assert_string_equal(pit_error_message(e), PREFIX "the bottom");
        const pit_value *at = pit_error_details(e);
        int64_t levels = 0;
        for (; (at = pit_value_get(at, "host_tool")) != NULL; levels++) {
            assert_string_equal(text_in(at, "name"), "down");
            at = pit_value_get(pit_value_get(pit_value_get(at, "details"), "cause"), "details");
        }
        assert_int_equal(levels, n + 1);
        pit_error_free(e);
    }
    pit_close(p);
}

static int returns(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)c, (void)args, (void)ret;
    return *(int *)user;
}

static void test_statuses(void **state)
{
    (void)state;
    pit *p = open_failures();
    static const struct {
        int status;
        const char *code;
    } rows[] = {{7, ""}, {-1, ""}, {PIT_E_NOT_FOUND, "not_found"}, {PIT_E_TOOL_EXECUTION_FAILED, ""}};
    int status = 0;
    assert_int_equal(pit_tool_register(p, NULL, "returns", returns, &status, NULL, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pit_error *e = NULL;
        int64_t n = 0;
        status = rows[i].status;
        assert_int_equal(pit_tool_call(p, NULL, "returns", NULL, NULL, NULL, &e), PIT_E_TOOL_EXECUTION_FAILED);
        const pit_value *details = pit_error_details(e);
        pit_value_get_int(pit_value_get(details, "status"), &n);
        assert_int_equal(n, i < 2 ? status : 0);
        assert_string_equal(text_in(details, "code"), rows[i].code);
        assert_null(pit_error_cause(e));
        pit_error_free(e);
    }
    pit_close(p);
}

/* What looks like a value and is none never reaches a worker. */
static int gives_args(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)c, (void)args, (void)user;
    *ret = pit_args(NULL, NULL);
    return 0;
}

static void test_no_result(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_failures();
    pit_error *e = NULL;
    pit_value *v = NULL;
    assert_int_equal(pit_tool_register(p, NULL, "args", gives_args, NULL, NULL, NULL), 0);
    assert_int_equal(pit_tool_call(p, NULL, "args", NULL, NULL, NULL, &e), PIT_E_TOOL_EXECUTION_FAILED);
    assert_string_equal(text_in(pit_error_details(e), "code"), "invalid_parameter");
    pit_error_free(e);
    assert_int_equal(pit_callf(p, "catch", NULL, &v, NULL, "[s]", "args"), 0);
    assert_string_equal(text_in(v, "code"), "tool_execution_failed");
    assert_non_null(strstr(text_in(v, "message"), "pit_args()"));
    pit_value_free(v);
    pit_close(p);
    kit_clean(before, "no result");
}

/* A pool that is to be stopped would wait for the tool that stops it. */
static int stops(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)c, (void)args;
    *ret = pit_int(pit_pool_stop(*(pit **)user, "failures", PIT_INFINITE, NULL));
    return 0;
}

static void test_stop(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_failures();
    assert_int_equal(pit_tool_register(p, NULL, "stops", stops, &p, NULL, NULL), 0);
    pit_value *args = pit_pack("[s]", "stops");
    for (int loop = 0; loop < 2; loop++) {
        pit_value *v = NULL;
        pit_future *f = NULL;
        int64_t rc = 0;
        if (loop) {
            assert_int_equal(pit_submit(p, "ask", args, NULL, &f, NULL), 0);
            assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
            assert_int_equal(pit_future_result(f, &v, NULL), 0);
        } else {
            assert_int_equal(pit_call(p, "ask", args, NULL, &v, NULL), 0);
        }
        assert_true(pit_value_get_int(v, &rc));
        assert_int_equal(rc, PIT_E_WRONG_THREAD);
        pit_value_free(v);
        pit_future_free(f);
    }
    pit_value_free(args);
    assert_int_equal(pit_tool_call(p, NULL, "stops", NULL, NULL, NULL, NULL), 0); /* nobody waits for this one */
    assert_int_equal(pit_callf(p, "echo", NULL, NULL, NULL, ""), PIT_E_POOL_NOT_FOUND);
    pit_close(p);
    kit_clean(before, "stop");
}

/* ---- events ---- */

static struct {
    pthread_mutex_t lock;
    char text[1024]; /* each event: which, tool, side, and how it ended */
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int on_event(const pit_event *ev, void *user)
{
    (void)user;
    const char *name = strrchr(pit_event_name(ev), '.') + 1, *how = pit_event_text(ev, "success");
    how = how != NULL ? how : pit_event_text(ev, "code");
    pthread_mutex_lock(&told.lock);
    size_t n = strlen(told.text);
    snprintf(told.text + n, sizeof told.text - n, "%s %s %s%s%s|", name, pit_event_text(ev, "tool_name"),
             pit_event_text(ev, "side"), how != NULL ? " " : "", how != NULL ? how : "");
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static bool was_told(const char *text)
{
    pthread_mutex_lock(&told.lock);
    bool yes = strcmp(told.text, text) == 0;
    pthread_mutex_unlock(&told.lock);
    return yes;
}

static void expect(const char *text)
{
    if (!KIT_COMES_TRUE(was_told(text)))
        fail_msg("%s instead of %s", told.text, text);
    pthread_mutex_lock(&told.lock);
    told.text[0] = '\0';
    pthread_mutex_unlock(&told.lock);
}

static int outlives(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    pit_canceller **cut = user;
    (void)args, (void)ret;
    pit_canceller_fire(*cut, "in the middle of it"); /* or, without one, its time ends it */
    KIT_AWAIT(pit_tool_cancelled(c));
    return 0;
}

static void test_events(void **state)
{
    (void)state;
    pit *p = open_failures();
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_canceller *cut = NULL;
    int zero = 0;
    assert_int_equal(pit_tool_register(p, NULL, "returns", returns, &zero, NULL, NULL), 0);
    assert_int_equal(pit_tool_register(p, NULL, "outlives", outlives, &cut, NULL, NULL), 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.tool.execution.*", on_event, NULL, NULL, NULL), 0);
    assert_int_equal(pit_callf(p, "ask", NULL, NULL, NULL, "[s]", "returns"), 0);
    expect("start returns host|stop returns host true|");
    assert_int_equal(pit_callf(p, "catch", NULL, NULL, NULL, "[s]", "nowhere"), 0);
    expect("exception nowhere host tool_not_found|");
    assert_int_equal(pit_callf(p, "catch", NULL, NULL, NULL, "[s]", "echo"), 0);
    expect("exception echo host not_a_host_tool|");
    assert_int_equal(pit_tool_call(p, NULL, "nowhere", NULL, NULL, NULL, NULL), PIT_E_TOOL_NOT_FOUND);
    expect("exception nowhere host tool_not_found|");
    assert_int_equal(pit_tool_call(p, NULL, "returns", NULL, NULL, NULL, NULL), 0);
    expect("start returns host|stop returns host true|");
    assert_int_equal(pit_tool_call(p, NULL, "echo", NULL, NULL, NULL, NULL), 0);
    expect("start echo worker|stop echo worker true|");
    assert_int_equal(pit_tool_call(p, NULL, "fails", NULL, NULL, NULL, NULL), PIT_E_VALUE_ERROR);
    expect("start fails worker|exception fails worker value_error|");
    o.canceller = cut = pit_canceller_new();
    assert_int_equal(pit_callf(p, "ask", &o, NULL, NULL, "[s]", "outlives"), PIT_E_CANCELLED);
    expect("start outlives host|stop outlives host false|");
    pit_canceller_free(cut);
    o.canceller = cut = NULL;
    o.timeout_ms = 200;
    while (pit_callf(p, "ask", &o, NULL, NULL, "[s]", "outlives") == PIT_E_DEADLINE_EXCEEDED && was_told(""))
        o.timeout_ms *= 2; /* it was not even begun */
    expect("start outlives host|stop outlives host false|");
    pit_close(p);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_causes),    cmocka_unit_test(test_levels), cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_no_result), cmocka_unit_test(test_stop),   cmocka_unit_test(test_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
