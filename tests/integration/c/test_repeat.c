/* Who says that a call may be run again: the call, else its tool. Python's `@tool(idempotent=True)` end to end. */
#include "integration/c/kit_python.h"

static pit *open_fragile(void)
{
    static const int64_t at_once[] = {PIT_NOW};
    char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/repeat.py", TEST_SOURCE_DIR);
    const pit_crash_barrier_options barrier = {.size = sizeof barrier, .backoff_ms = at_once, .n_backoff_ms = 1};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "repeat";
    pool.adapter = adapter;
    pool.workers = 1;
    pool.crash_barrier = &barrier;
    pool.restart_backoff = PIT_OFF;
    pit_options host = PIT_OPTIONS_INIT;
    return kit_open_python(&host, &pool);
}

enum { FORMS = 3 };

static int call_as(int form, pit *p, const char *command, const pit_value *args, const pit_call_options *o)
{
    if (form == 0)
        return pit_call(p, command, args, o, NULL, NULL);
    if (form == 1) {
        pit_future *f = NULL;
        assert_int_equal(pit_submit(p, command, args, o, &f, NULL), 0);
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        int rc = pit_future_result(f, NULL, NULL);
        pit_future_free(f);
        return rc;
    }
    const pit_call_item item = {.command = command, .args = args};
    pit_call_result result;
    assert_int_equal(pit_call_many(p, &item, 1, o, &result, NULL), 0);
    int rc = result.rc;
    pit_call_results_free(&result, 1);
    return rc;
}

static void test_who_says_it(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        int option;
        bool again;
    } rows[] = {
        {"declared", 0, true},    {"declared", PIT_ON, true},   {"declared", PIT_OFF, false},
        {"undeclared", 0, false}, {"undeclared", PIT_ON, true}, {"undeclared", PIT_OFF, false},
    };
    struct kit_before before = kit_before();
    pit *p = open_fragile();
    uint64_t retries = 0;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int form = 0; form < FORMS; form++) {
            char path[] = "/tmp/snakepit-repeat-XXXXXX";
            struct stat st;
            close(mkstemp(path));
            pit_value *args = pit_pack("[s]", path);
            pit_call_options o = PIT_CALL_OPTIONS_INIT;
            o.idempotent = rows[i].option;
            assert_int_equal(call_as(form, p, rows[i].command, args, &o), rows[i].again ? 0 : PIT_E_WORKER_CRASH);
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_size, rows[i].again ? 2 : 1);
            retries += rows[i].again;
            assert_int_equal(kit_stats(p).retries, retries);
            pit_value_free(args);
            unlink(path);
        }
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "who says it");
}

static int count(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)c, (void)args, (void)ret;
    atomic_fetch_add((atomic_int *)user, 1);
    return 0;
}

/* What a tool of the host did cannot be taken back, unless it says that it may be run again; that alone repeats nothing. */
static void test_tools_say_it(void **state)
{
    (void)state;
    static const struct {
        const char *tool;
        int option;
        bool again;
    } rows[] = {{"plain", 0, false},
                {"plain", PIT_ON, false},
                {"harmless", 0, true},
                {"harmless", PIT_ON, true},
                {"harmless", PIT_OFF, false}};
    struct kit_before before = kit_before();
    pit *p = open_fragile();
    atomic_int ran;
    pit_tool_options harmless = PIT_TOOL_OPTIONS_INIT;
    harmless.idempotent = PIT_ON;
    assert_int_equal(pit_tool_register(p, NULL, "plain", count, &ran, NULL, NULL), 0);
    assert_int_equal(pit_tool_register(p, NULL, "harmless", count, &ran, &harmless, NULL), 0);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int form = 0; form < FORMS; form++) {
            char path[] = "/tmp/snakepit-repeat-XXXXXX";
            close(mkstemp(path));
            pit_value *args = pit_pack("[ss]", path, rows[i].tool);
            pit_call_options o = PIT_CALL_OPTIONS_INIT;
            o.idempotent = rows[i].option;
            atomic_store(&ran, 0);
            int rc = call_as(form, p, "asks", args, &o);
            if (rc != (rows[i].again ? 0 : PIT_E_WORKER_CRASH) || atomic_load(&ran) != (rows[i].again ? 2 : 1))
                fail_msg("%s, %d, form %d: %s, ran %d times", rows[i].tool, rows[i].option, form, pit_error_code_name(rc),
                         atomic_load(&ran));
            pit_value_free(args);
            unlink(path);
        }
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "tools say it");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_who_says_it), cmocka_unit_test(test_tools_say_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
