/* The time of a call that asks for none: the pool's word on the command, else what its tool declares, else the pool's own. All are so long that no
 * machine is too slow for them, and Python tells how much of it a call has. */
#include "integration/c/kit_python.h"

enum { CALL_S = 3000, DECLARED_S = 5000, COMMAND_S = 7000, POOL_S = 9000, SLACK_S = 1000 };

static pit *open_on(const char *class, const pit_value *command_timeouts)
{
    char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/timeouts.py:%s", TEST_SOURCE_DIR, class);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "timeouts";
    pool.adapter = adapter;
    pool.workers = 1;
    pool.timeout_ms = POOL_S * 1000;
    pool.command_timeouts = command_timeouts;
    pit_options host = PIT_OPTIONS_INIT;
    return kit_open_python(&host, &pool);
}

static void check(const pit_value *seconds, int expected)
{
    double left = 0;
    assert_true(pit_value_get_float(seconds, &left));
    if (left > expected || left < expected - SLACK_S)
        fail_msg("%.1f s are left, not about %d", left, expected);
}

static void has(pit *p, const char *command, const pit_call_options *o, int expected)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_call(p, command, NULL, o, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    check(v, expected);
    pit_value_free(v);

    pit_future *f = NULL;
    assert_int_equal(pit_submit(p, command, NULL, o, &f, NULL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, &v, NULL), 0);
    check(v, expected);
    pit_value_free(v);
    pit_future_free(f);

    const pit_call_item item = {command, NULL, NULL, {NULL, NULL}};
    pit_call_result result;
    assert_int_equal(pit_call_many(p, &item, 1, o, &result, NULL), 0);
    assert_int_equal(result.rc, 0);
    check(result.value, expected);
    pit_call_results_free(&result, 1);
}

static void test_order(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit_value *map = pit_pack("{s:i,s:i,s:i}", "both", COMMAND_S * 1000, "endless", PIT_INFINITE, "unknown", 1);
    pit *p = open_on("Timeouts", map);
    pit_value_free(map);
    has(p, "declared", NULL, DECLARED_S);
    has(p, "both", NULL, COMMAND_S);
    has(p, "neither", NULL, POOL_S);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = CALL_S * 1000;
    has(p, "declared", &o, CALL_S);
    has(p, "both", &o, CALL_S);
    o.timeout_ms = 0;
    o.deadline_ns = pit_now_ns() + POOL_S * UINT64_C(1000000000);
    has(p, "declared", &o, POOL_S);

    pit_value *v = NULL;
    bool endless = false;
    assert_int_equal(pit_call(p, "endless", NULL, NULL, &v, NULL), 0);
    assert_true(pit_value_get_bool(v, &endless) && endless);
    pit_value_free(v);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "order");
}

/* Another worker of the pool declares the same. */
static void test_after_a_restart(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_on("Timeouts", NULL);
    has(p, "both", NULL, DECLARED_S);
    assert_int_equal(pit_kill(p, "timeouts/0.1", 0, NULL), 0);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    has(p, "both", NULL, DECLARED_S);
    assert_int_equal(pit_close(p), 0);
    p = open_on("Undeclared", NULL);
    has(p, "declared", NULL, POOL_S);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "restart");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
