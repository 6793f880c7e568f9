/* Pools whose adapter is in C: calls in every form, errors, and what is refused before a thread is started. */
#include "integration/c/adapter_kit.h"

/* ---- calls ---- */

static void echoes(pit *p, pit_value *args /* taken */, const char *json)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_call(p, "echo", args, NULL, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    char *text = pit_value_to_json(v, 0);
    assert_string_equal(text, json);
    pit_free(text);
    pit_value_free(v);
    pit_value_free(args);
}

static void test_arguments(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
    pit *p = adapter_open(&a);
    echoes(p, pit_pack("{s:i}", "x", 1), "{\"x\":1}");
    echoes(p, pit_pack("[i,s]", 1, "two"), "[1,\"two\"]");
    echoes(p, NULL, "{}");
    echoes(p, pit_int(7), "7");
    char *json = NULL;
    size_t n = 0;
    assert_int_equal(pit_call_json(p, "echo", "{\"a\": [1, 2.5, null]}", 21, NULL, &json, &n, NULL), 0);
    assert_string_equal(json, "{\"a\":[1,2.5,null]}");
    pit_free(json);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "arguments");
}

static void test_long_values(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.pool.max_frame_bytes = 4 << 20;
    pit *p = adapter_open(&a);
    for (int64_t n = 1; n < (3 << 20); n = n * 5 + 1) { /* beyond the ring, too */
        pit_value *v = NULL;
        assert_int_equal(pit_callf(p, "blob", NULL, &v, NULL, "[I]", n), 0);
        assert_int_equal(pit_value_len(v), n);
        pit_value_free(v);
    }
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "blob", NULL, NULL, &e, "[I]", INT64_C(5) << 20), PIT_E_LIMIT_EXCEEDED);
    pit_error_free(e);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "long values");
}

static const char *text_in(const pit_value *v, const char *key)
{
    return pit_value_str_or(pit_value_get(v, key), "(none)");
}

static void test_context(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_probe(), NULL);
    pit *p = adapter_open(&a);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL, *metadata = pit_pack("{s:s}", "tenant", "blue"), *binary = pit_pack("{s:y}", "raw", "abc", (size_t)3);
    double left = 0;
    bool cancelled = true;
    o.session_id = "s-1";
    o.correlation_id = "corr-1";
    o.metadata = metadata;
    o.binary_parameters = binary;
    o.timeout_ms = 60000;
    assert_int_equal(pit_callf(p, "look", &o, &v, NULL, "{s:i}", "x", 1), 0);
    assert_string_equal(text_in(v, "command"), "look");
    assert_string_equal(text_in(v, "pool"), "c");
    assert_string_equal(text_in(v, "worker_id"), "c/0.1");
    assert_string_equal(text_in(v, "session_id"), "s-1");
    assert_string_equal(text_in(v, "correlation_id"), "corr-1");
    assert_string_equal(text_in(pit_value_get(v, "metadata"), "tenant"), "blue");
    assert_int_equal(pit_value_len(pit_value_get(pit_value_get(v, "binary_parameters"), "raw")), 3);
    assert_true(pit_value_get_float(pit_value_get(v, "remaining_ms"), &left) && left > 0 && left <= 60000);
    assert_true(pit_value_get_bool(pit_value_get(v, "cancelled"), &cancelled) && !cancelled);
    pit_value_free(v);
    v = NULL;
    o = (pit_call_options)PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = PIT_INFINITE;
    assert_int_equal(pit_callf(p, "look", &o, &v, NULL, ""), 0);
    assert_int_equal(pit_value_kind(pit_value_get(v, "remaining_ms")), PIT_KIND_NIL);
    assert_int_equal(pit_value_kind(pit_value_get(v, "session_id")), PIT_KIND_NIL);
    assert_memory_equal(text_in(v, "correlation_id"), "sp-", 3);
    pit_value_free(v);
    pit_value_free(metadata);
    pit_value_free(binary);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "context");
}

/* ---- side by side ---- */

enum { SIDE = 3, MANY = 500 };

static void test_side_by_side(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.workers = SIDE;
    pit *p = adapter_open(&a);
    pit_future *f[2 * SIDE];
    for (int i = 0; i < 2 * SIDE; i++)
        f[i] = kit_submit(p, "gate", i, NULL);
    KIT_AWAIT(atomic_load(&s.arrived) == SIDE);
    pit_stats stats = kit_stats(p);
    assert_int_equal(stats.busy, SIDE);
    assert_int_equal(stats.queued, SIDE);
    open_gate(&s);
    for (int i = 0; i < 2 * SIDE; i++) {
        int64_t n = -1;
        assert_int_equal(kit_outcome(f[i], &n), 0);
        assert_int_equal(n, i);
    }
    stats = kit_stats(p);
    assert_int_equal(stats.succeeded, 2 * SIDE);
    assert_int_equal(stats.workers, SIDE);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "side by side");
}

static void test_batch(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.workers = 2;
    pit *p = adapter_open(&a);
    static pit_call_item items[MANY];
    static pit_call_result results[MANY];
    for (int i = 0; i < MANY; i++)
        items[i] = (pit_call_item){.command = i % 50 == 7 ? "fail" : "echo",
                                   .args = i % 50 == 7 ? pit_pack("[i]", PIT_E_KEY_ERROR) : pit_pack("[i]", i)};
    assert_int_equal(pit_call_many(p, items, MANY, NULL, results, NULL), 0);
    for (int i = 0; i < MANY; i++) {
        int64_t n = -1;
        assert_int_equal(results[i].rc, i % 50 == 7 ? PIT_E_KEY_ERROR : 0);
        assert_true(i % 50 == 7 || (pit_value_get_int(results[i].value, &n) && n == i));
        pit_value_free((pit_value *)(uintptr_t)items[i].args);
    }
    pit_call_results_free(results, MANY);
    assert_int_equal(atomic_load(&s.runs), MANY);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "batch");
}

static void test_foreign_loop(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
    a.drive = PIT_DRIVE_HOST;
    pit *p = adapter_open(&a);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    pit_future *f = kit_submit(p, "echo", 2, NULL);
    uint64_t until = kit_limit();
    while (pit_future_wait(f, 0) != 0 && pit_now_ns() < until) {
        struct pollfd fd = {.fd = pit_fd(p), .events = POLLIN};
        poll(&fd, 1, 10);
        pit_dispatch(p);
    }
    assert_int_equal(kit_outcome(f, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "foreign loop");
}

/* ---- inside ---- */

static int price(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    pit_error *e = NULL;
    return pit_call(user, "echo", args, NULL, ret, &e) == 0 ? 0 : pit_tool_fail_take(c, e);
}

static void test_calls_inside(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.workers = SIDE;
    pit *p = adapter_open(&a);
    int64_t n = 0;
    assert_int_equal(kit_call(p, "nested", 1, 0, &n), 0); /* three of them, each on a thread of its own */
    assert_int_equal(n, -1 + 20);
    pit_value *v = NULL;
    assert_int_equal(pit_callf(p, "close", NULL, &v, NULL, ""), 0);
    for (size_t i = 0; i < 2; i++)
        assert_true(pit_value_get_int(pit_value_at(v, i), &n) && n == PIT_E_WRONG_THREAD);
    pit_value_free(v);
    v = NULL;
    assert_int_equal(pit_tool_register(p, NULL, "price", price, p, NULL, NULL), 0);
    assert_int_equal(pit_tool_call(p, NULL, "price", NULL, NULL, &v, NULL), 0);
    pit_value_free(v);
    /* the fourth has no thread to run on: the deadline of the first is that of all */
    assert_int_equal(kit_call(p, "nested", 9, 200, NULL), PIT_E_DEADLINE_EXCEEDED);
    KIT_AWAIT(kit_stats(p).busy == 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "calls inside");
}

static int ask_inside(pit_adapter_ctx *c, const char *command, const pit_value *args, pit_value **ret, void *user)
{
    pit_error *e = NULL;
    (void)command, (void)args;
    return pit_callf(*(pit **)user, "look", &(pit_call_options){.size = sizeof(pit_call_options), .pool = "probe"}, ret, &e,
                     "") == 0
               ? 0
               : pit_adapter_fail_take(c, e);
}

static void test_inherits(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = NULL;
    const pit_adapter asking = {.size = sizeof asking, .execute = ask_inside};
    struct adapter_open a = ADAPTER_OPEN(&asking, &p);
    p = adapter_open(&a);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "probe";
    pool.c_adapter = pit_adapter_probe();
    assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL;
    double left = 0;
    o.session_id = "s-2";
    o.correlation_id = "corr-2";
    o.timeout_ms = KIT_LIMIT_MS;
    assert_int_equal(pit_callf(p, "ask", &o, &v, NULL, ""), 0);
    assert_string_equal(text_in(v, "pool"), "probe");
    assert_string_equal(text_in(v, "session_id"), "s-2");
    assert_string_equal(text_in(v, "correlation_id"), "corr-2");
    assert_true(pit_value_get_float(pit_value_get(v, "remaining_ms"), &left) && left <= KIT_LIMIT_MS);
    pit_value_free(v);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "inherits");
}

/* ---- failures ---- */

static void fails_with(pit *p, const char *command, int64_t given, int code, const char *told)
{
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, command, NULL, NULL, &e, "[I]", given), code);
    assert_string_equal(pit_error_worker(e), "c/0.1");
    if (told != NULL)
        assert_string_equal(text_in(pit_error_details(e), "code"), told);
    pit_error_free(e);
}

static void test_failures(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = adapter_open(&a);
    fails_with(p, "fail", PIT_E_VALUE_ERROR, PIT_E_VALUE_ERROR, NULL);
    fails_with(p, "fail", PIT_E_NOT_FOUND, PIT_E_NOT_FOUND, NULL);
    fails_with(p, "fail", PIT_E_WORKER_CRASH, PIT_E_TOOL_EXECUTION_FAILED, "worker_crash");
    fails_with(p, "fail", 5, PIT_E_TOOL_EXECUTION_FAILED, NULL);
    fails_with(p, "status", PIT_E_KEY_ERROR, PIT_E_KEY_ERROR, NULL);
    fails_with(p, "status", 3, PIT_E_TOOL_EXECUTION_FAILED, NULL);
    fails_with(p, "status", -999999, PIT_E_TOOL_EXECUTION_FAILED, NULL);
    fails_with(p, "status", PIT_E_ALLOCATION_FAILED, PIT_E_OUT_OF_MEMORY, NULL);
    fails_with(p, "bad", 0, PIT_E_INVALID_UTF8, NULL);
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "fail", NULL, NULL, &e, "[i]", PIT_E_INDEX_ERROR), PIT_E_INDEX_ERROR);
    assert_non_null(strstr(pit_error_message(e), "it fails with"));
    pit_error_free(e);
    pit_stats stats = kit_stats(p);
    assert_int_equal(stats.errors, 10);
    assert_int_equal(stats.requests, stats.succeeded + stats.errors);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "failures");
}

static void test_failing(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_failing(), NULL);
    pit *p = adapter_open(&a);
    assert_int_equal(kit_call(p, "anything", 0, 0, NULL), PIT_E_RUNTIME_ERROR);
    assert_int_equal(kit_call(p, "value_error", 0, 0, NULL), PIT_E_VALUE_ERROR);
    assert_int_equal(kit_call(p, "pool_saturated", 0, 0, NULL), PIT_E_TOOL_EXECUTION_FAILED);
    assert_int_equal(kit_stats(p).crashes, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "failing");
}

/* ---- what is refused ---- */

static pit_error *refused(const struct adapter_open *a, int code)
{
    pit *p = NULL;
    pit_error *e = NULL;
    assert_int_equal(adapter_open_os(&os_linux, a, &p, &e), code);
    assert_null(p);
    return e;
}

static void test_invalid(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit_adapter lacking = counting;
    lacking.execute = NULL;
    struct adapter_open a = ADAPTER_OPEN(&lacking, NULL);
    pit_error *e = refused(&a, PIT_E_ADAPTER_INVALID);
    assert_string_equal(pit_value_str_or(pit_value_at(pit_value_get(pit_error_details(e), "missing"), 0), ""), "execute");
    assert_int_equal(pit_value_len(pit_value_get(pit_error_details(e), "callbacks")), 5);
    assert_non_null(strstr(pit_error_message(e), "execute"));
    pit_error_free(e);
    lacking = counting;
    lacking.size = 0;
    pit_error_free(refused(&a, PIT_E_ADAPTER_INVALID));
    struct {
        pit_adapter known;
        void *more;
    } later = {counting, &later};
    later.known.size = sizeof later;
    a.adapter = &later.known;
    pit_error_free(refused(&a, PIT_E_UNSUPPORTED_OPTION));
    kit_clean(before, "invalid");
}

static void test_conflicts(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *const words[] = {"a", NULL};
    pit_heartbeat_options heartbeat = PIT_HEARTBEAT_OPTIONS_INIT;
    pit_dossier_options dossier = PIT_DOSSIER_OPTIONS_INIT;
    pit_crash_barrier_options barrier = PIT_CRASH_BARRIER_OPTIONS_INIT;
    pit_poison_options poison = PIT_POISON_OPTIONS_INIT;
    const pit_pool_options none = PIT_POOL_OPTIONS_INIT;
    pit_pool_options o[21];
    for (int i = 0; i < 21; i++)
        o[i] = none;
    o[0].adapter = "x.py", o[1].command = words, o[2].adapter_args = words, o[3].python = "python3", o[4].env = words;
    o[5].python_path = words, o[6].preload = words, o[7].start_mode = PIT_START_EXEC, o[8].canary_timeout_ms = 5;
    o[9].profile = "process", o[10].threads_per_worker = 1, o[11].adapter_scope = "lane", o[12].channel = PIT_CHANNEL_SOCKET;
    o[13].descendants = PIT_DESCENDANTS_KEEP, o[14].memory_threshold_mb = 5, o[15].leak_forecast = PIT_ON;
    o[16].heartbeat = &heartbeat, o[17].dossier = &dossier, o[18].crash_barrier = &barrier, o[19].poison = &poison;
    o[20].cancel_max_rung = PIT_RUNG_KILL;
    for (int i = 0; i < 21; i++) {
        struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
        a.pool = o[i];
        pit_error *e = refused(&a, PIT_E_CONFIG_CONFLICT);
        assert_non_null(pit_value_str(pit_value_get(pit_error_details(e), "option")));
        pit_error_free(e);
    }
    pit_limits limits = PIT_LIMITS_INIT;
    limits.wall_ms = 100;
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
    a.pool.limits = &limits;
    pit_error_free(refused(&a, PIT_E_UNSUPPORTED_OPTION));
    a.pool.limits = NULL;
    a.pool.channel = PIT_CHANNEL_RING;
    pit *p = adapter_open(&a);
    pit_call_options call = PIT_CALL_OPTIONS_INIT;
    call.limits = &limits;
    assert_int_equal(pit_callf(p, "echo", &call, NULL, NULL, ""), PIT_E_UNSUPPORTED_OPTION);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "conflicts");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),    cmocka_unit_test(test_long_values), cmocka_unit_test(test_context),
        cmocka_unit_test(test_side_by_side), cmocka_unit_test(test_batch),       cmocka_unit_test(test_foreign_loop),
        cmocka_unit_test(test_calls_inside), cmocka_unit_test(test_inherits),    cmocka_unit_test(test_failures),
        cmocka_unit_test(test_failing),      cmocka_unit_test(test_invalid),     cmocka_unit_test(test_conflicts),
    };
    kit_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
