/* Does memory grow with the calls? Lines, noise, and what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault/leak.h"

#define MB 1048576.0

static void test_a_line_is_found(void **state)
{
    (void)state;
    struct leak l = {0};
    double slope = -1;
    for (uint64_t i = 0; i < LEAK_ENOUGH; i++) {
        assert_false(leak_slope(&l, &slope));
        leak_add(&l, i * 1000, 5000000 + i * 1000 * 24);
    }
    assert_true(leak_slope(&l, &slope));
    assert_in_range((uint64_t)(slope * 1000), 23999, 24001);
    double left = leak_calls_left(&l, slope, 5000000 + 10 * 1000 * 24);
    assert_in_range((uint64_t)left, 5999, 6001);
    assert_true(leak_calls_left(&l, slope, 5000000) <= 0);
}

static void test_what_falls_or_stands_is_no_leak(void **state)
{
    (void)state;
    struct leak falls = {0}, stands = {0};
    double slope;
    for (uint64_t i = 0; i < 10; i++) {
        leak_add(&falls, i * 100, 9000000 - i * 1000);
        leak_add(&stands, i * 100, 9000000);
    }
    assert_false(leak_slope(&falls, &slope));
    assert_false(leak_slope(&stands, &slope));
}

/* Memory that goes up and down by megabytes, around nothing: hardly ever taken for a leak. */
static void test_noise_is_no_leak(void **state)
{
    (void)state;
    enum { TRIALS = 1000 };
    unsigned found = 0;
    srand(1);
    for (int t = 0; t < TRIALS; t++) {
        struct leak l = {0};
        double slope;
        for (uint64_t i = 0; i < LEAK_SAMPLES; i++)
            leak_add(&l, i * 1000, (uint64_t)(50 * MB) + (uint64_t)rand() % (uint64_t)(8 * MB));
        found += leak_slope(&l, &slope);
    }
    assert_in_range(found, 0, TRIALS / 50);
}

static void test_a_leak_shows_through_noise(void **state)
{
    (void)state;
    struct leak l = {0};
    double slope = 0;
    srand(2);
    for (uint64_t i = 0; i < LEAK_SAMPLES; i++)
        leak_add(&l, i * 1000, (uint64_t)(50 * MB) + i * 1000 * 2000 + (uint64_t)rand() % (uint64_t)(4 * MB));
    assert_true(leak_slope(&l, &slope));
    assert_in_range((uint64_t)slope, 1600, 2400);
}

/* What a worker takes at its beginning is no leak, once it is long ago. */
static void test_the_beginning_is_forgotten(void **state)
{
    (void)state;
    struct leak l = {0};
    double slope;
    for (uint64_t i = 0; i < 8; i++)
        leak_add(&l, i * 10, (uint64_t)((double)i * 10 * MB));
    assert_true(leak_slope(&l, &slope));
    for (uint64_t i = 0; i < LEAK_SAMPLES; i++)
        leak_add(&l, 100 + i * 10, (uint64_t)(80 * MB));
    assert_false(leak_slope(&l, &slope));
}

static void test_looks_without_calls_between_count_once(void **state)
{
    (void)state;
    struct leak l = {0};
    double slope;
    for (int i = 0; i < 100; i++)
        leak_add(&l, 10, 1000000 + (uint64_t)i * 1000);
    assert_int_equal(l.n, 1);
    assert_false(leak_slope(&l, &slope));
    assert_in_range((uint64_t)leak_calls_left(&l, 1, 1099001), 1, 1); /* from the last of them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_found),
        cmocka_unit_test(test_what_falls_or_stands_is_no_leak),
        cmocka_unit_test(test_noise_is_no_leak),
        cmocka_unit_test(test_a_leak_shows_through_noise),
        cmocka_unit_test(test_the_beginning_is_forgotten),
        cmocka_unit_test(test_looks_without_calls_between_count_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
