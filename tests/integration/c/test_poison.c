/* Calls that kill: the same command with the same arguments is refused once it has killed, and no other. Workers in C. */
#include "integration/c/poison.h"

enum { LARGE = 300000 };

/* Two deaths, then a refusal that knows both; in each form. */
static void test_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    const int64_t bad = FATAL(1, 99, SIGABRT);
    assert_int_equal(call(p, bad), PIT_E_WORKER_CRASH);
    assert_int_equal(call(p, FATAL(2, 99, SIGABRT)), PIT_E_WORKER_CRASH); /* another call */
    assert_int_equal(call(p, bad), PIT_E_WORKER_CRASH);
    KIT_AWAIT(atomic_load(&told.n) == 1);
    assert_string_equal(told.command, "fatal");
    assert_int_equal(strlen(told.digest), 64);

    pit_value *v = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "fatal", NULL, &v, &e, "[I]", bad), PIT_E_POISON_CALL);
    const pit_value *details = pit_error_details(e), *crashes = pit_value_get(details, "crashes");
    assert_string_equal(pit_value_str(pit_value_get(details, "command")), "fatal");
    assert_string_equal(pit_value_str(pit_value_get(details, "digest")), told.digest);
    assert_int_equal(pit_value_len(crashes), 2);
    for (size_t i = 0; i < 2; i++) {
        const pit_value *death = pit_value_at(crashes, i);
        assert_string_equal(pit_value_str(pit_value_get(death, "exit_class")), "abort");
        assert_non_null(pit_value_str(pit_value_get(death, "worker")));
    }
    assert_non_null(strstr(pit_error_string(e), "pit_poison_clear"));
    assert_false(pit_error_retriable(e));
    pit_error_free(e);

    e = NULL;
    pit_future *f = NULL;
    pit_value *args = pit_pack("[I]", bad);
    assert_int_equal(pit_submit(p, "fatal", args, NULL, &f, &e), PIT_E_POISON_CALL);
    pit_error_free(e);
    pit_value *good = pit_pack("[I]", FATAL(3, 0, 0));
    const pit_call_item items[3] = {
        {.command = "fatal", .args = good}, {.command = "fatal", .args = args}, {.command = "fatal", .args = good}};
    pit_call_result r[3];
    assert_int_equal(pit_call_many(p, items, 3, NULL, r, NULL), 0);
    assert_int_equal(r[0].rc, 0);
    assert_int_equal(r[1].rc, PIT_E_POISON_CALL);
    assert_int_equal(r[2].rc, 0);
    pit_call_results_free(r, 3);
    pit_value_free(args);
    pit_value_free(good);
    assert_int_equal(runs(1), 2);
    pit_stats st = kit_stats(p);
    assert_int_equal(st.poisoned, 3);
    assert_int_equal(st.requests, 8);
    assert_int_equal(st.errors, 6);
    assert_int_equal(st.succeeded, 2);
    settle(p, before, "refused");
}

static void test_cleared(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    const int64_t bad = FATAL(1, 2, SIGABRT);
    assert_int_equal(call(p, bad), PIT_E_WORKER_CRASH);
    assert_int_equal(call(p, bad), PIT_E_WORKER_CRASH);
    assert_int_equal(call(p, bad), PIT_E_POISON_CALL);
    assert_int_equal(pit_poison_clear(p, "nobody", NULL), PIT_E_POOL_NOT_FOUND);
    assert_int_equal(call(p, bad), PIT_E_POISON_CALL);
    assert_int_equal(pit_poison_clear(p, "c", NULL), 0);
    assert_int_equal(call(p, bad), 0); /* it is well by now */
    assert_int_equal(pit_poison_clear(p, NULL, NULL), 0);
    settle(p, before, "cleared");
}

/* Who kills from outside proves nothing about the call. */
static void test_from_outside(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR2};
    for (unsigned i = 0; i < 3; i++)
        for (int n = 0; n < 3; n++)
            assert_int_equal(call(p, FATAL(i, 3, signals[i])), PIT_E_WORKER_CRASH);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(call(p, FATAL(i, 3, signals[i])), 0);
    assert_int_equal(kit_stats(p).poisoned, 0);
    settle(p, before, "from outside");
}

/* Calls as long as the bad one, and with the same beginning and end, are told apart. */
static void test_hidden_among_good_ones(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    char *blob = calloc(1, LARGE);
    assert_non_null(blob);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "[Iy]", FATAL(1, 2, SIGABRT), (void *)blob, (size_t)LARGE),
                         PIT_E_WORKER_CRASH);
    }
    for (size_t at = 0; at < LARGE; at += 4999) {
        blob[at] = 1;
        assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "[Iy]", FATAL(1, 2, SIGABRT), (void *)blob, (size_t)LARGE), 0);
        blob[at] = 0;
    }
    assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "[Iy]", FATAL(1, 2, SIGABRT), (void *)blob, (size_t)LARGE),
                     PIT_E_POISON_CALL);
    assert_int_equal(pit_callf(p, "pid", NULL, NULL, NULL, "[Iy]", FATAL(1, 2, SIGABRT), (void *)blob, (size_t)LARGE), 0);
    free(blob);
    settle(p, before, "hidden");
}

/* What waits when a call becomes poison does not run either: queued calls, futures and batches, and what waits to run again. */
static void test_those_that_wait(void **state)
{
    (void)state;
    enum { SAME = 40 };
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    s.kit.workers = 1;
    pit *p = open_it(&s);
    const int64_t bad = FATAL(1, 99, SIGABRT);
    pit_future *f[SAME];
    pit_value *args = pit_pack("[I]", bad);
    pit_call_item items[SAME];
    pit_call_result r[SAME];
    for (unsigned i = 0; i < SAME; i++) {
        items[i] = (pit_call_item){.command = "fatal", .args = args};
        f[i] = kit_submit(p, "fatal", bad, NULL);
    }
    assert_int_equal(pit_call_many(p, items, SAME, NULL, r, NULL), 0);
    unsigned crashed = 0, refused = 0;
    for (unsigned i = 0; i < SAME; i++) {
        int rc = kit_outcome(f[i], NULL);
        crashed += (rc == PIT_E_WORKER_CRASH) + (r[i].rc == PIT_E_WORKER_CRASH);
        refused += (rc == PIT_E_POISON_CALL) + (r[i].rc == PIT_E_POISON_CALL);
    }
    pit_call_results_free(r, SAME);
    pit_value_free(args);
    assert_int_equal(crashed, 2);
    assert_int_equal(refused, 2 * SAME - 2);
    assert_int_equal(runs(1), 2);
    settle(p, before, "those that wait");
}

static void test_run_again(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    s.barrier.max_restarts = 5;
    pit *p = open_it(&s);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    o.idempotent = PIT_ON;
    assert_int_equal(pit_callf(p, "fatal", &o, NULL, &e, "[I]", FATAL(1, 99, SIGBUS)), PIT_E_POISON_CALL);
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_WORKER_CRASH);
    pit_error_free(e);
    assert_int_equal(runs(1), 2);
    settle(p, before, "run again");
}

/* One waits to run again, the same one kills a second time meanwhile. */
static void test_in_back_off(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    s.barrier.backoff_ms = ages;
    pit *p = open_it(&s);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.idempotent = PIT_ON;
    o.timeout_ms = PIT_INFINITE;
    pit_future *f = kit_submit(p, "fatal", FATAL(1, 99, SIGABRT), &o);
    KIT_AWAIT(kit_stats(p).retries == 1);
    o.idempotent = 0;
    assert_int_equal(kit_outcome(kit_submit(p, "fatal", FATAL(2, 99, SIGABRT), &o), NULL), PIT_E_WORKER_CRASH);
    assert_int_equal(pit_future_wait(f, 0), PIT_E_PENDING);
    assert_int_equal(call(p, FATAL(1, 99, SIGABRT)), PIT_E_WORKER_CRASH);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_POISON_CALL);
    settle(p, before, "in back-off");
}

static void test_off(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    s.poison.enabled = PIT_OFF;
    pit *p = open_it(&s);
    for (int i = 0; i < 4; i++)
        assert_int_equal(call(p, FATAL(1, 4, SIGABRT)), PIT_E_WORKER_CRASH);
    assert_int_equal(call(p, FATAL(1, 4, SIGABRT)), 0);
    settle(p, before, "off");
}

static int open_with(pit_poison_options o)
{
    struct kit k = KIT_INIT;
    pit *p = NULL;
    k.pool.poison = &o;
    int rc = kit_open_os(&os_linux, &k, &p, NULL);
    pit_close(p);
    return rc;
}

static void test_options(void **state)
{
    (void)state;
    pit_poison_options o = PIT_POISON_OPTIONS_INIT;
    o.crashes = 9;
    assert_int_equal(open_with(o), PIT_E_INVALID_PARAMETER);
    o.crashes = 0;
    o.enabled = -2;
    assert_int_equal(open_with(o), PIT_E_INVALID_PARAMETER);
    o.enabled = 0;
    o.ttl_s = -1;
    assert_int_equal(open_with(o), PIT_E_INVALID_TIMEOUT);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_cleared),
        cmocka_unit_test(test_from_outside),    cmocka_unit_test(test_hidden_among_good_ones),
        cmocka_unit_test(test_those_that_wait), cmocka_unit_test(test_run_again),
        cmocka_unit_test(test_in_back_off),     cmocka_unit_test(test_off),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
