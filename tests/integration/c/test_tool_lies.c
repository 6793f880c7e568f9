/* Tools that stream, and workers that read them by the rules, or lie: about credit, ids and ends. The worker is written in C (worker_tool_lies.h). */
#include "integration/c/kit.h"

struct bench {
    pit *p;
    int64_t running; /* atomic: tools that have begun and not ended */
};

/* n rows; -1: without end. */
static int rows(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    int64_t n = 0;
    int rc = 0;
    (void)ret;
    pit_value_get_int(pit_value_at(args, 0), &n);
    __atomic_add_fetch(&b->running, 1, __ATOMIC_SEQ_CST);
    for (int64_t i = 0; rc == 0 && (n < 0 || i < n); i++) {
        pit_value *v = pit_int(i);
        rc = pit_tool_send(c, v, PIT_INFINITE);
        pit_value_free(v);
    }
    __atomic_sub_fetch(&b->running, 1, __ATOMIC_SEQ_CST);
    assert_true(rc == 0 || rc == PIT_E_CANCELLED);
    return rc;
}

static int call_by(pit *p, bool loop, const char *command, int64_t n, pit_value **ret)
{
    pit_value *args = pit_pack("[I]", n);
    pit_future *f = NULL;
    int rc;
    if (loop) {
        assert_int_equal(pit_submit(p, command, args, NULL, &f, NULL), 0);
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        rc = pit_future_result(f, ret, NULL);
        pit_future_free(f);
    } else {
        rc = pit_call(p, command, args, NULL, ret, NULL);
    }
    pit_value_free(args);
    return rc;
}

static void check(struct bench *b, bool loop, const char *command, int64_t n, int rc, int64_t expected)
{
    pit_value *v = NULL;
    int64_t found = -1;
    int got = call_by(b->p, loop, command, n, &v);
    if (got != rc)
        fail_msg("%s, %s: %s", command, loop ? "loop" : "own thread", pit_error_code_name(got));
    if (rc == 0) {
        assert_true(pit_value_get_int(v, &found));
        assert_int_equal(found, expected);
    }
    pit_value_free(v);
    KIT_AWAIT(__atomic_load_n(&b->running, __ATOMIC_SEQ_CST) == 0);
}

static void run(const char *channel)
{
    static const char *const lies[] = {"rows_credit", "rows_number", "rows_close",   "rows_again",
                                       "rows_short",  "rows_flags",  "rows_negative"};
    struct kit_before before = kit_before();
    struct kit k = {.workers = 1, .channel = channel, .pool = PIT_POOL_OPTIONS_INIT};
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    struct bench b = {0};
    k.pool.restart_backoff = PIT_OFF;
    k.pool.max_restarts = 1000;
    o.streaming = PIT_ON;
    b.p = kit_open(&k);
    assert_int_equal(pit_tool_register(b.p, NULL, "rows", rows, &b, &o, NULL), 0);
    for (int loop = 0; loop < 2; loop++) {
        check(&b, loop, "rows_read", 0, 0, 0);
        check(&b, loop, "rows_read", 1005, 0, 1005);
        check(&b, loop, "rows_strange", -1, 0, 1);
        check(&b, loop, "rows_leave", -1, 0, 1);
        check(&b, loop, "rows_die", -1, PIT_E_WORKER_CRASH, 0);
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++)
            check(&b, loop, lies[i], -1, PIT_E_PROTOCOL_ERROR, 0);
        check(&b, loop, "rows_read", 25, 0, 25);
    }
    pit_close(b.p);
    kit_clean(before, "workers that lie to tools");
}

static void test_rings(void **state)
{
    (void)state;
    run("ring");
}

static void test_sockets(void **state)
{
    (void)state;
    run("socket");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rings), cmocka_unit_test(test_sockets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
