/* The rules for successors: a slot's back-off, a pool's intensity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault/restart.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)

static const struct restart_rules defaults = {.on = true, .max_restarts = 10, .window_ns = 5 * S};

static uint64_t died(struct restart_slot *s, uint64_t now, uint64_t lived)
{
    return restart_slot_ended(s, &defaults, now, RESTART_DIED, lived);
}

static void test_the_third_death_waits(void **state)
{
    (void)state;
    struct restart_slot s = {0};
    assert_int_equal(died(&s, 100 * S, S), 0);
    assert_int_equal(died(&s, 102 * S, S), 0);
    assert_int_equal(died(&s, 105 * S, S), 100 * MS);
}

static void test_deaths_that_are_rare_wait_for_nothing(void **state)
{
    (void)state;
    struct restart_slot s = {0};
    for (uint64_t t = 100; t < 200; t += 3)
        assert_int_equal(died(&s, t * S, S), 0);
}

static void test_back_off_grows_to_its_last_step(void **state)
{
    (void)state;
    static const uint64_t steps[] = {0, 0, 100, 500, 1000, 2000, 5000, 5000, 5000};
    struct restart_slot s = {0};
    uint64_t now = 100 * S;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint64_t delay = died(&s, now, 10 * MS);
        assert_int_equal(delay, steps[i] * MS);
        now += delay + 20 * MS;
    }
    /* also a death that comes late goes on where the last one stood: only health ends the back-off */
    assert_int_equal(died(&s, now + 50 * S, 50 * S), 5 * S);
}

static void test_a_healthy_minute_forgives(void **state)
{
    (void)state;
    struct restart_slot s = {0};
    for (int i = 0; i < 6; i++)
        died(&s, 100 * S + (uint64_t)i * MS, MS);
    assert_int_equal(died(&s, 300 * S, 60 * S - 1), 5 * S);
    assert_int_equal(died(&s, 400 * S, 60 * S), 0);
    assert_int_equal(died(&s, 400 * S + MS, MS), 0);
    assert_int_equal(died(&s, 400 * S + 2 * MS, MS), 100 * MS);
}

static void test_our_own_doing_counts_nowhere(void **state)
{
    (void)state;
    struct restart_slot s = {0};
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(restart_slot_ended(&s, &defaults, 100 * S + i, RESTART_OURS, 1), 0);
    assert_int_equal(died(&s, 101 * S, S), 0);
}

static void test_failed_starts_wait_from_the_first_on(void **state)
{
    (void)state;
    static const uint64_t steps[] = {100, 500, 1000, 2000, 5000, 5000};
    struct restart_slot s = {0};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        assert_int_equal(restart_slot_ended(&s, &defaults, 100 * S, RESTART_FAILED, 0), steps[i] * MS);
    restart_slot_ready(&s);
    assert_int_equal(restart_slot_ended(&s, &defaults, 100 * S, RESTART_FAILED, 0), 100 * MS);
    restart_slot_ready(&s);
    assert_int_equal(died(&s, 100 * S, S), 0); /* they are no deaths */
}

static void test_off_means_at_once(void **state)
{
    (void)state;
    static const struct restart_rules off = {.on = false, .max_restarts = 1, .window_ns = S};
    struct restart_slot s = {0};
    static struct restart_pool p;
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(restart_slot_ended(&s, &off, 100 * S + i, RESTART_DIED, 1), 0);
        assert_int_equal(restart_pool_ask(&p, &off, 100 * S + i), 0);
        assert_int_equal(restart_slot_ended(&s, &off, 100 * S + i, RESTART_FAILED, 0), 100 * MS);
    }
    assert_false(restart_pool_is_degraded(&p));
}

static void test_a_pool_that_loses_too_many_is_degraded(void **state)
{
    (void)state;
    static struct restart_pool p;
    memset(&p, 0, sizeof p);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(restart_pool_ask(&p, &defaults, 100 * S + i * MS), 0);
    assert_false(restart_pool_is_degraded(&p));
    assert_int_equal(restart_pool_ask(&p, &defaults, 101 * S), 105 * S); /* when the first one is a window old */
    assert_true(restart_pool_is_degraded(&p));
    assert_int_equal(restart_pool_ask(&p, &defaults, 105 * S), 0);
    assert_int_equal(restart_pool_ask(&p, &defaults, 105 * S), 105 * S + MS);
    assert_false(restart_pool_recovers(&p, 110 * S));
    assert_true(restart_pool_recovers(&p, 110 * S + MS));
    assert_false(restart_pool_is_degraded(&p));
    assert_false(restart_pool_recovers(&p, 200 * S)); /* once */
}

/* Whatever is asked: no window holds more than max_restarts grants, and whoever comes when he was told to is not put off for ever. */
static void test_no_window_holds_more(void **state)
{
    (void)state;
    enum { ASKED = 5000 };
    static uint64_t granted[ASKED];
    for (unsigned most = 1; most <= 40; most += 13) {
        static struct restart_pool p;
        struct restart_rules r = {.on = true, .max_restarts = most, .window_ns = 5 * S};
        size_t n = 0;
        uint64_t now = 1000 * S;
        memset(&p, 0, sizeof p);
        srand(most);
        for (int i = 0; i < ASKED; i++) {
            now += (uint64_t)(rand() % 300) * MS;
            uint64_t again = restart_pool_ask(&p, &r, now);
            if (again == 0)
                granted[n++] = now;
            else
                assert_in_range(again, now + 1, now + r.window_ns);
        }
        assert_true(n >= most);
        for (size_t i = most; i < n; i++)
            assert_true(granted[i] - granted[i - most] >= r.window_ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_third_death_waits),
        cmocka_unit_test(test_deaths_that_are_rare_wait_for_nothing),
        cmocka_unit_test(test_back_off_grows_to_its_last_step),
        cmocka_unit_test(test_a_healthy_minute_forgives),
        cmocka_unit_test(test_our_own_doing_counts_nowhere),
        cmocka_unit_test(test_failed_starts_wait_from_the_first_on),
        cmocka_unit_test(test_off_means_at_once),
        cmocka_unit_test(test_a_pool_that_loses_too_many_is_degraded),
        cmocka_unit_test(test_no_window_holds_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
