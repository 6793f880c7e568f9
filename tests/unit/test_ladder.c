/* The ladder: which rung when, and how long on each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker/ladder.h"

static const struct ladder_rules both = {.grace_ns = 200, .raise_ns = 500, .can_raise = true};
static const struct ladder_rules deaf = {.grace_ns = 200, .raise_ns = 500, .can_raise = false};

static void test_all_rungs(void **state)
{
    (void)state;
    struct ladder l;
    uint64_t due = 0;
    ladder_begin(&l, 7, RUNG_KILL, 1000);
    assert_int_equal(l.sequence, 7);
    assert_int_equal(l.rung, RUNG_FLAG);
    assert_false(ladder_climb(&l, &both, 1199, &due));
    assert_int_equal(due, 1200);
    assert_true(ladder_climb(&l, &both, 1200, &due));
    assert_int_equal(l.rung, RUNG_RAISE);
    assert_false(ladder_climb(&l, &both, 1300, &due));
    assert_int_equal(due, 1700);
    assert_true(ladder_climb(&l, &both, 1750, &due));
    assert_int_equal(l.rung, RUNG_KILL);
    assert_false(ladder_climb(&l, &both, UINT64_MAX, &due));
    assert_int_equal(due, UINT64_MAX);
    assert_int_equal(ladder_spent(&l, RUNG_FLAG, 1800), 200);
    assert_int_equal(ladder_spent(&l, RUNG_RAISE, 1800), 550);
    assert_int_equal(ladder_spent(&l, RUNG_KILL, 1800), 50);
    assert_int_equal(ladder_spent(&l, RUNG_DROP, 1800), 0);
}

/* A clock that jumps takes one rung at a time, and each gets its own time. */
static void test_late_clock(void **state)
{
    (void)state;
    struct ladder l;
    uint64_t due = 0;
    ladder_begin(&l, 1, RUNG_KILL, 0);
    assert_true(ladder_climb(&l, &both, 100000, &due));
    assert_int_equal(l.rung, RUNG_RAISE);
    assert_false(ladder_climb(&l, &both, 100000, &due));
    assert_int_equal(due, 100500);
}

static void test_no_grace(void **state)
{
    (void)state;
    const struct ladder_rules r = {.grace_ns = 0, .raise_ns = 500, .can_raise = true};
    struct ladder l;
    uint64_t due = 0;
    ladder_begin(&l, 1, RUNG_KILL, 1000);
    assert_true(ladder_climb(&l, &r, 1000, &due));
    assert_int_equal(l.rung, RUNG_RAISE);
    assert_false(ladder_climb(&l, &r, 1000, &due));
    assert_int_equal(due, 1500);
}

/* Who takes no signal goes without rung 3, and without its time. */
static void test_without_signal(void **state)
{
    (void)state;
    struct ladder l;
    uint64_t due = 0;
    ladder_begin(&l, 1, RUNG_KILL, 1000);
    assert_false(ladder_climb(&l, &deaf, 1199, &due));
    assert_int_equal(due, 1200);
    assert_true(ladder_climb(&l, &deaf, 1200, &due));
    assert_int_equal(l.rung, RUNG_KILL);
    assert_int_equal(ladder_spent(&l, RUNG_FLAG, 1300), 200);
    assert_int_equal(ladder_spent(&l, RUNG_RAISE, 1300), 0);
    ladder_begin(&l, 2, RUNG_RAISE, 1000);
    assert_false(ladder_climb(&l, &deaf, 9999, &due));
    assert_int_equal(due, UINT64_MAX);
    assert_int_equal(l.rung, RUNG_FLAG);
}

static void test_max_rung(void **state)
{
    (void)state;
    for (int max = RUNG_DROP; max <= RUNG_KILL; max++) {
        struct ladder l;
        uint64_t due = 0, now = 1000;
        ladder_begin(&l, 1, max, now);
        assert_int_equal(l.rung, max < RUNG_FLAG ? max : RUNG_FLAG);
        for (int i = 0; i < 5; i++, now += 1000)
            ladder_climb(&l, &both, now, &due);
        assert_int_equal(l.rung, max);
        assert_int_equal(due, UINT64_MAX);
    }
}

static void test_times_at_the_end_of_the_clock(void **state)
{
    (void)state;
    const struct ladder_rules endless = {.grace_ns = UINT64_MAX, .raise_ns = 1, .can_raise = true};
    struct ladder l;
    uint64_t due = 0;
    ladder_begin(&l, 1, RUNG_KILL, 1000);
    assert_false(ladder_climb(&l, &endless, UINT64_MAX - 1, &due));
    assert_int_equal(due, UINT64_MAX);
    assert_int_equal(ladder_spent(&l, RUNG_FLAG, 10), 0); /* a clock that went back */
    ladder_clear(&l);
    assert_int_equal(l.sequence, 0);
    assert_int_equal(l.rung, RUNG_NONE);
    assert_false(ladder_climb(&l, &both, 5000, &due));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rungs), cmocka_unit_test(test_late_clock),
        cmocka_unit_test(test_no_grace),  cmocka_unit_test(test_without_signal),
        cmocka_unit_test(test_max_rung),  cmocka_unit_test(test_times_at_the_end_of_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
