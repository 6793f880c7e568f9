/* Which instance of the adapter a call meets: pit_pool_options.adapter_scope, and what the class says without it. */
#include "integration/c/kit.h"

static int open_scope(const char *class, const char *profile, const char *scope, pit **ret, pit_error **reterr)
{
    char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/scopes.py:%s", TEST_SOURCE_DIR, class);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "scopes";
    pool.adapter = adapter;
    pool.workers = 1;
    pool.profile = profile;
    pool.threads_per_worker = strcmp(profile, "thread") == 0 ? 2 : 0;
    pool.adapter_scope = scope;
    const char *env[] = {kit_mark, NULL};
    pool.env = env;
    const pit_pool_options *pools[] = {&pool};
    pit_options host = PIT_OPTIONS_INIT;
    host.guard_path = SNAKEPIT_GUARD_PATH;
    host.python = TEST_PYTHON;
    host.python_package_path = TEST_BUILD_DIR "/python";
    host.pools = pools;
    host.n_pools = 1;
    return pit_open(&host, ret, reterr);
}

static pit *opened(const char *class, const char *profile, const char *scope)
{
    pit *p = NULL;
    pit_error *e = NULL;
    if (open_scope(class, profile, scope, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

static void counts(pit *p, int instance, int calls)
{
    pit_value *v = NULL;
    int number = 0, n = 0;
    assert_int_equal(pit_call(p, "count", NULL, NULL, &v, NULL), 0);
    assert_int_equal(pit_unpack(v, NULL, "[ii]", &number, &n), 0);
    assert_int_equal(number, instance);
    assert_int_equal(n, calls);
    pit_value_free(v);
}

/* The instances that two calls meet, one on each lane. */
static void meet(pit *p, int64_t *ret_one, int64_t *ret_other)
{
    pit_future *f[2];
    int64_t *numbers[] = {ret_one, ret_other};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pit_submit(p, "meet", NULL, NULL, &f[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        pit_value *v = NULL;
        assert_int_equal(pit_future_wait(f[i], KIT_LIMIT_MS), 0);
        assert_int_equal(pit_future_result(f[i], &v, NULL), 0);
        assert_true(pit_value_get_int(v, numbers[i]));
        pit_value_free(v);
        pit_future_free(f[i]);
    }
}

static void test_process(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    static const struct {
        const char *class, *scope;
        bool fresh;
    } cases[] = {{"Counted", NULL, false},     {"Counted", "worker", false}, {"Counted", "lane", false},
                 {"Counted", "request", true}, {"PerRequest", NULL, true},   {"PerRequest", "worker", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pit *p = opened(cases[i].class, "process", cases[i].scope);
        for (int call = 1; call <= 3; call++)
            counts(p, cases[i].fresh ? 1 + call : 1, cases[i].fresh ? 1 : call);
        assert_int_equal(pit_close(p), 0);
    }
    kit_clean(before, "process");
}

static void test_lanes(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    int64_t a = 0, b = 0, again_a = 0, again_b = 0;
    pit *p = opened("Counted", "thread", "lane");
    meet(p, &a, &b);
    meet(p, &again_a, &again_b);
    assert_true(a + b == 3 && a * b == 2 && again_a + again_b == 3 && again_a * again_b == 2);
    assert_int_equal(pit_close(p), 0);
    p = opened("Counted", "thread", NULL);
    meet(p, &a, &b);
    assert_true(a == 1 && b == 1);
    assert_int_equal(pit_close(p), 0);
    p = opened("Counted", "thread", "request");
    meet(p, &a, &b);
    assert_true(a + b == 5 && a * b == 6);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "lanes");
}

static void test_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    static const char *const scopes[] = {"", "Worker", "session"};
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        pit *p = NULL;
        pit_error *e = NULL;
        assert_int_equal(open_scope("Counted", "process", scopes[i], &p, &e), PIT_E_INVALID_PARAMETER);
        assert_null(p);
        assert_non_null(strstr(pit_error_message(e), "adapter_scope"));
        pit_error_free(e);
    }
    kit_clean(before, "refused");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
