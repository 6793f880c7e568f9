/* The environment of a worker: what it finds there, and who has the last word: the library's defaults, the host's environment, env of the host's
 * options, env of the pool. */
#include "integration/c/kit.h"

static pit *open_here(int start_mode)
{
    static const char *const of_host[] = {"FROM_HOST=host", "FROM_POOL=host", "OMP_NUM_THREADS=3", "PYTHONPATH=/inherited",
                                          NULL};
    static const char *const folders[] = {"/first", "/second", NULL};
    const char *env[] = {kit_mark, "FROM_POOL=pool", "MKL_NUM_THREADS=5", NULL};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "here";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/environment.py";
    pool.workers = 1;
    pool.env = env;
    pool.python_path = folders;
    pool.start_mode = start_mode;
    const pit_pool_options *pools[] = {&pool};
    pit_options host = PIT_OPTIONS_INIT;
    host.guard_path = SNAKEPIT_GUARD_PATH;
    host.python = TEST_PYTHON;
    host.python_package_path = TEST_BUILD_DIR "/python";
    host.env = of_host;
    host.pools = pools;
    host.n_pools = 1;
    host.log_level = PIT_LOG_WARNING;
    pit *p = NULL;
    pit_error *e = NULL;
    if (pit_open(&host, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

/* "" when it is not set. */
static void get(pit *p, const char *name, char *out, size_t size)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_callf(p, "get", NULL, &v, &e, "[s]", name) != 0)
        fail_msg("%s", pit_error_string(e));
    snprintf(out, size, "%s", pit_value_str_or(v, ""));
    pit_value_free(v);
}

static void expect(pit *p, const char *name, const char *expected)
{
    char seen[4096];
    get(p, name, seen, sizeof seen);
    if (strcmp(seen, expected) != 0)
        fail_msg("%s is '%s', not '%s'", name, seen, expected);
}

static void check(int start_mode)
{
    static const char *const interpreter[] = {"SNAKEPIT_PYTHON", "SNAKEPIT_PYTHON_VERSION", "SNAKEPIT_PYTHON_PLATFORM",
                                              "SNAKEPIT_PYTHON_RUNTIME_HASH"};
    struct kit_before before = kit_before();
    pit *p = open_here(start_mode);
    pit_value *facts = NULL;
    assert_int_equal(pit_call(p, "facts", NULL, NULL, &facts, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        expect(p, interpreter[i], pit_value_str(pit_value_at(facts, i)));
    pit_value_free(facts);
    expect(p, "PYTHONUNBUFFERED", "1");
    expect(p, "PYTHONNOUSERSITE", "1");
    expect(p, "SNAKEPIT_PROCESS_GROUP", "1");
    expect(p, "SNAKEPIT_LOG_LEVEL", "warning");
    expect(p, "SNAKEPIT_WORKER_ID", "here/0.1");
    expect(p, "GRPC_POLL_STRATEGY", "poll");
    expect(p, "GRPC_VERBOSITY", "ERROR");
    expect(p, "OPENBLAS_NUM_THREADS", "1");
    expect(p, "OMP_NUM_THREADS", "3");
    expect(p, "MKL_NUM_THREADS", "5");
    expect(p, "FROM_HOST", "host");
    expect(p, "FROM_POOL", "pool");
    expect(p, "PYTHONPATH", TEST_BUILD_DIR "/python:/first:/second:/inherited");
    char text[4096];
    pit_value *heartbeat = NULL;
    bool enabled = false;
    get(p, "SNAKEPIT_HEARTBEAT_CONFIG", text, sizeof text);
    assert_int_equal(pit_value_parse_json(text, strlen(text), &heartbeat, NULL), 0);
    assert_true(pit_value_get_bool(pit_value_get(heartbeat, "enabled"), &enabled) && enabled);
    pit_value_free(heartbeat);
    get(p, "SNAKEPIT_RUN_ID", text, sizeof text);
    assert_int_equal(strlen(text), 7);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "environment");
}

static void test_exec(void **state)
{
    (void)state;
    check(PIT_START_EXEC);
}

static void test_fork(void **state)
{
    (void)state;
    check(PIT_START_ZYGOTE);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
