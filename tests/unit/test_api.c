/* What the public functions refuse before any worker is started, each with its code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <snakepit/snakepit.h>

static int open_with(const pit_options *o, pit_error **err)
{
    pit *p = NULL;
    int rc = pit_open(o, &p, err);
    assert_int_equal(rc, pit_error_code(*err));
    assert_int_equal(pit_close(p), 0);
    return rc;
}

static void refuse(const pit_options *o, int code)
{
    pit_error *err = NULL;
    assert_string_equal(pit_error_code_name(open_with(o, &err)), pit_error_code_name(code));
    assert_true(strlen(pit_error_message(err)) > 10);
    pit_error_free(err);
}

static pit_options base_options(void)
{
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    return o;
}

static void test_options_of_another_version(void **state)
{
    (void)state;
    struct {
        pit_options o;
        char more[16];
    } newer = {.o = base_options()};
    newer.o.size = sizeof newer;
    pit_error *err = NULL;
    assert_int_equal(open_with(&newer.o, &err), 0); /* nothing is set that this library does not know */
    newer.more[3] = 1;
    refuse(&newer.o, PIT_E_UNSUPPORTED_OPTION);
    pit_options o = base_options();
    o.size = 0;
    refuse(&o, PIT_E_INVALID_PARAMETER);
}

static void test_options_of_the_host(void **state)
{
    (void)state;
    pit_options o = base_options();
    o.drive = 7;
    refuse(&o, PIT_E_INVALID_PARAMETER);
    o = base_options();
    o.log_level = 9;
    refuse(&o, PIT_E_INVALID_PARAMETER);
    o = base_options();
    o.require_ready = 5;
    refuse(&o, PIT_E_INVALID_PARAMETER);
    o = base_options();
    o.shutdown_timeout_ms = -7;
    refuse(&o, PIT_E_INVALID_TIMEOUT);
    o = base_options();
    o.guard_path = "/nonexistent/guard";
    refuse(&o, PIT_E_GUARD_UNAVAILABLE);
    static const char *const env[] = {"GOOD=1", "LANG", NULL};
    o = base_options();
    o.env = env;
    refuse(&o, PIT_E_INVALID_PARAMETER);
    o = base_options();
    o.adapter = "module:Class";
    o.python_package_path = "/nonexistent/package";
    refuse(&o, PIT_E_PACKAGE_ERROR);
    o.python_package_path = "/usr"; /* a folder, but the wrong one */
    refuse(&o, PIT_E_PACKAGE_ERROR);
    o = base_options();
    o.adapter = "/nonexistent/adapter.py";
    refuse(&o, PIT_E_ADAPTER_INVALID);
    o = base_options();
    o.adapter = "module:Class";
    o.python = "/nonexistent/python";
    refuse(&o, PIT_E_INVALID_PYTHON);
    o.workers = -1;
    refuse(&o, PIT_E_INVALID_POOL_SIZE);
}

static void refuse_duration(const pit_options *o, int code, const char *key)
{
    pit_error *err = NULL;
    assert_int_equal(open_with(o, &err), code);
    assert_non_null(strstr(pit_error_message(err), key));
    pit_error_free(err);
}

static void test_a_wrong_duration_is_named(void **state)
{
    (void)state;
    static const char *const command[] = {"/bin/true", NULL};
    pit_pool_options good = PIT_POOL_OPTIONS_INIT, q = good;
    const pit_pool_options *pools[] = {&q};
    pit_options o = base_options();
    o.drain_timeout_ms = -7;
    refuse_duration(&o, PIT_E_INVALID_TIMEOUT, "pit_options: drain_timeout_ms is -7; it is a positive number");
    o = base_options();
    o.registry_sweep_interval_ms = PIT_NOW;
    refuse_duration(&o, PIT_E_INVALID_INTERVAL, "registry_sweep_interval_ms is -2;");
    o = base_options();
    o.pools = pools;
    o.n_pools = 1;
    good.name = "p";
    good.command = command;
    q = good;
    q.lifecycle_check_interval_ms = PIT_INFINITE;
    refuse_duration(&o, PIT_E_INVALID_INTERVAL, "pool p: lifecycle_check_interval_ms is -1;");
    q = good;
    q.timeout_ms = PIT_NOW;
    refuse_duration(&o, PIT_E_INVALID_TIMEOUT,
                    "pool p: timeout_ms is -2; it is a positive number of milliseconds, or PIT_INFINITE");
    q = good;
    q.health_check_interval_ms = INT64_MAX;
    refuse_duration(&o, PIT_E_INVALID_INTERVAL, "at most 2147483647");
    q = good;
    q.spin_us = -3;
    refuse_duration(&o, PIT_E_INVALID_TIMEOUT, "pool p: spin_us is -3; it is a positive number of microseconds");
}

static void test_options_of_a_pool(void **state)
{
    (void)state;
    static const char *const command[] = {"/bin/true", NULL};
    pit_pool_options good = PIT_POOL_OPTIONS_INIT, q;
    const pit_pool_options *pools[] = {&q, &q};
    pit_options o = base_options();
    o.pools = pools;
    o.n_pools = 1;
    good.name = "p";
    good.command = command;
#define REFUSE_POOL(change, code)                                                                                              \
    do {                                                                                                                       \
        q = good;                                                                                                              \
        change;                                                                                                                \
        refuse(&o, code);                                                                                                      \
    } while (0)
    REFUSE_POOL(q.name = NULL, PIT_E_MISSING_KEY);
    REFUSE_POOL(q.name = "", PIT_E_INVALID_POOL_NAME);
    REFUSE_POOL(q.name = "-x", PIT_E_INVALID_POOL_NAME);
    REFUSE_POOL(q.name = "a b", PIT_E_INVALID_POOL_NAME);
    REFUSE_POOL(q.name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", PIT_E_INVALID_POOL_NAME);
    REFUSE_POOL(q.adapter = "module:Class", PIT_E_CONFIG_CONFLICT);
    REFUSE_POOL(q.command = NULL, PIT_E_MISSING_KEY);
    REFUSE_POOL(q.workers = -3, PIT_E_INVALID_POOL_SIZE);
    REFUSE_POOL(q.timeout_profile = "ballanced", PIT_E_INVALID_TIMEOUT_PROFILE);
    REFUSE_POOL(q.timeout_ms = -9, PIT_E_INVALID_TIMEOUT);
    REFUSE_POOL(q.timeout_ms = PIT_NOW, PIT_E_INVALID_TIMEOUT);
    REFUSE_POOL(q.cancel_grace_ms = PIT_INFINITE, PIT_E_INVALID_TIMEOUT);
    REFUSE_POOL(q.cancel_max_rung = PIT_RUNG_KILL + 1, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.cancel_max_rung = -1, PIT_E_INVALID_PARAMETER);
    static const pit_limits negative = {sizeof negative, 0, 0, 0, 0, -2}, huge = {sizeof huge, 0, 0, INT64_MAX, 0, 0}, sizeless;
    REFUSE_POOL(q.limits = &negative, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.limits = &huge, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.limits = &sizeless, PIT_E_INVALID_PARAMETER);
    pit_value *no_map = pit_int(5), *no_text = pit_map(), *no_time = pit_pack("{s:i}", "x", 0),
              *no_number = pit_pack("{s:f}", "x", 1.5);
    pit_map_put_take(no_text, pit_int(1), pit_int(5));
    REFUSE_POOL(q.command_timeouts = no_map, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.command_timeouts = no_text, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.command_timeouts = no_time, PIT_E_INVALID_TIMEOUT);
    REFUSE_POOL(q.command_timeouts = no_number, PIT_E_INVALID_TIMEOUT);
    pit_value_free(no_map);
    pit_value_free(no_text);
    pit_value_free(no_time);
    pit_value_free(no_number);
    REFUSE_POOL(q.ring_bytes = 5000, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.max_frame_bytes = 7, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.channel = 9, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.max_queue_size = -5, PIT_E_INVALID_PARAMETER);
    static const char *const no_equals[] = {"GOOD=1", "EMPTY=", "LANG", NULL}, *const no_name[] = {"=x", NULL};
    REFUSE_POOL(q.env = no_equals, PIT_E_INVALID_PARAMETER);
    REFUSE_POOL(q.env = no_name, PIT_E_INVALID_PARAMETER);
    q = good;
    o.n_pools = 2;
    refuse(&o, PIT_E_DUPLICATE_POOL_NAME);
    o.adapter = "module:Class";
    refuse(&o, PIT_E_CONFIG_CONFLICT);
}

static pit *open_empty(void)
{
    pit_options o = base_options();
    pit *p = NULL;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    return p;
}

static void test_calls_that_cannot_be(void **state)
{
    (void)state;
    pit *p = open_empty();
    pit_value *r = (pit_value *)(void *)state; /* must stay as it is */
    pit_error *err = NULL;
    static char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    assert_int_equal(pit_callf(p, "", NULL, &r, &err, ""), PIT_E_INVALID_REQUEST);
    pit_error_free(err);
    assert_int_equal(pit_callf(p, long_name, NULL, &r, NULL, ""), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_callf(p, "\xff", NULL, &r, NULL, ""), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_callf(p, NULL, NULL, &r, NULL, ""), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_callf(p, "x", NULL, &r, NULL, ""), PIT_E_POOL_NOT_FOUND);
    assert_int_equal(pit_callf(NULL, "x", NULL, &r, NULL, ""), PIT_E_INVALID_REQUEST);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = -3;
    assert_int_equal(pit_call(p, "x", NULL, &o, &r, NULL), PIT_E_INVALID_TIMEOUT);
    o.timeout_ms = PIT_NOW;
    assert_int_equal(pit_call(p, "x", NULL, &o, &r, NULL), PIT_E_INVALID_TIMEOUT);
    o.timeout_ms = 0;
    o.priority = 9;
    assert_int_equal(pit_call(p, "x", NULL, &o, &r, NULL), PIT_E_INVALID_PARAMETER);
    o.priority = 0;
    o.session_id = "";
    assert_int_equal(pit_call(p, "x", NULL, &o, &r, NULL), PIT_E_INVALID_SESSION_ID);
    o.session_id = NULL;
    o.pool = "nowhere";
    assert_int_equal(pit_call(p, "x", NULL, &o, &r, &err), PIT_E_POOL_NOT_FOUND);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(err), "pool")), "nowhere");
    pit_error_free(err);
    assert_int_equal(pit_call_json(p, "x", "{", 1, NULL, NULL, NULL, NULL), PIT_E_DESERIALIZATION_FAILED);
    assert_ptr_equal(r, (pit_value *)(void *)state);
    assert_int_equal(pit_close(p), 0);
}

static void test_nothing_is_a_handle_too(void **state)
{
    (void)state;
    pit_stats s = PIT_STATS_INIT;
    assert_int_equal(pit_close(NULL), 0);
    assert_int_equal(pit_shutdown(NULL), 0);
    assert_int_equal(pit_fd(NULL), -1);
    assert_int_equal(pit_dispatch(NULL), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_get_stats(NULL, NULL, &s), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_future_wait(NULL, 0), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_future_cancel(NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_worker_list_len(NULL), 0);
    assert_null(pit_worker_list_at(NULL, 0));
    pit_future_free(NULL);
    pit_worker_list_free(NULL);
    pit_error_free(NULL);
    pit_value_free(NULL);
    assert_string_equal(pit_worker_state_name(PIT_WORKER_BUSY), "busy");
    assert_string_equal(pit_worker_state_name(99), "none");
    assert_string_equal(pit_error_code_name(PIT_E_QUEUE_TIMEOUT), "queue_timeout");
    assert_string_equal(pit_error_code_name(-99999), "unknown");
}

static void test_a_loop_of_its_own_or_not(void **state)
{
    (void)state;
    pit *p = open_empty();
    assert_int_equal(pit_fd(p), -1);
    assert_int_equal(pit_dispatch(p), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_close(p), 0);
    pit_options o = base_options();
    o.drive = PIT_DRIVE_HOST;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    assert_true(pit_fd(p) >= 0);
    assert_int_equal(pit_dispatch(p), 0);
    assert_int_equal(pit_close(p), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_of_another_version), cmocka_unit_test(test_options_of_the_host),
        cmocka_unit_test(test_a_wrong_duration_is_named),  cmocka_unit_test(test_options_of_a_pool),
        cmocka_unit_test(test_calls_that_cannot_be),       cmocka_unit_test(test_nothing_is_a_handle_too),
        cmocka_unit_test(test_a_loop_of_its_own_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
