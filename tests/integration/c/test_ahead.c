/* A worker that calls are written ahead for does not preempt who writes them; and far deadlines, which count from the clock's last tick. */
#include <sched.h>

#include "integration/c/kit.h"
#include "skip.h"

enum { CALLS = 256 };

static pit *open_python(void)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *err = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.adapter = TEST_SOURCE_DIR "/tests/integration/c/ahead.py";
    o.python = TEST_PYTHON;
    o.workers = 1;
    if (pit_open(&o, &p, &err) != 0)
        fail_msg("%s", pit_error_string(err));
    return p;
}

static int64_t ask(pit *p, const char *command, const pit_call_options *o)
{
    pit_value *answer = NULL;
    pit_error *err = NULL;
    int64_t n = -1;
    if (pit_callf(p, command, o, &answer, &err, "") != 0)
        fail_msg("%s", pit_error_string(err));
    assert_true(pit_value_get_int(answer, &n));
    pit_value_free(answer);
    return n;
}

/* What the last call of a batch says: by then the worker has often had more to do than one call. */
static int64_t policy_in_batch(pit *p)
{
    pit_call_item items[CALLS] = {{0}};
    pit_call_result results[CALLS];
    int64_t policy = -1;
    for (int i = 0; i < CALLS; i++)
        items[i].command = "policy";
    assert_int_equal(pit_call_many(p, items, CALLS, NULL, results, NULL), 0);
    assert_int_equal(results[CALLS - 1].rc, 0);
    assert_true(pit_value_get_int(results[CALLS - 1].value, &policy));
    pit_call_results_free(results, CALLS);
    return policy;
}

static void test_policy_follows_the_calls(void **state)
{
    (void)state;
    if (sched_getscheduler(0) != SCHED_OTHER)
        SKIP_BECAUSE("the tests run with a scheduling policy that somebody has chosen, and so do their workers");
    struct kit_before before = kit_before();
    pit *p = open_python();
    assert_int_equal(ask(p, "policy", NULL), SCHED_OTHER);
    for (int i = 0; i < 3; i++) {
        KIT_AWAIT(policy_in_batch(p) == SCHED_BATCH);
        KIT_AWAIT(ask(p, "policy", NULL) == SCHED_OTHER);
    }
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "ahead");
}

static void test_a_chosen_policy_stays(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python();
    int64_t chosen = -1;
    assert_int_equal(kit_call(p, "choose", SCHED_IDLE, KIT_LIMIT_MS, &chosen), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(policy_in_batch(p), SCHED_IDLE);
    assert_int_equal(ask(p, "policy", NULL), SCHED_IDLE);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "chosen");
}

/* No deadline is early, none is later than a tick; the worker is told of one 200 ms before that. */
static void test_far_deadlines(void **state)
{
    (void)state;
    const uint64_t ms = 1000000, margin = 200 * ms, rounding = 1000;
    const int64_t timeouts[] = {9999, 10000, 300000};
    pit *p = open_python();
    for (int i = 0; i < 300; i++) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.timeout_ms = timeouts[i % 3];
        uint64_t whole = (uint64_t)o.timeout_ms * ms - margin, begun = pit_now_ns();
        uint64_t told = (uint64_t)ask(p, "deadline", &o) + rounding, ended = pit_now_ns();
        assert_true(told >= begun + whole);
        assert_true(told <= ended + whole + OS_TICK_NS + (ended - begun) + rounding);
    }
    assert_int_equal(pit_close(p), 0);
}

static uint64_t started(pit *p)
{
    pit_worker_list *list = NULL;
    assert_int_equal(pit_list_workers(p, NULL, &list, NULL), 0);
    uint64_t ns = pit_worker_list_at(list, 0)->current_call_started_ns;
    pit_worker_list_free(list);
    return ns;
}

/* A program that looks for the worker of a call it has just sent must not take an older call for it, nor overlook it; unless the call was over before
 * it came to look. */
static void test_a_call_never_seems_older(void **state)
{
    enum { MET = 30, ROUNDS = 300 };
    (void)state;
    pit *p = open_python();
    int met = 0;
    for (int i = 0; met < MET && i < ROUNDS; i++) {
        uint64_t sent = pit_now_ns(), seen = 0;
        pit_future *f = kit_submit(p, "rest", 30, NULL);
        KIT_AWAIT((seen = started(p)) != 0 || pit_future_wait(f, PIT_NOW) == 0);
        if (seen != 0) {
            assert_true(seen >= sent && seen <= pit_now_ns());
            met++;
        }
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        pit_future_free(f);
    }
    assert_true(met != 0);
    assert_int_equal(pit_close(p), 0);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_follows_the_calls),
        cmocka_unit_test(test_a_chosen_policy_stays),
        cmocka_unit_test(test_far_deadlines),
        cmocka_unit_test(test_a_call_never_seems_older),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
