/* Whom the kernel has ended for want of memory: the rules, and the looks that they go by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "worker/oom.h"

static enum oom_verdict judge(struct oom_counts *told, int64_t group0, int64_t machine0, int64_t group, int64_t machine)
{
    const struct oom_counts before = {group0, machine0}, now = {group, machine};
    return oom_judge(told, &before, &now);
}

static void test_the_group_proves_it(void **state)
{
    (void)state;
    struct oom_counts told = {-1, -1};
    assert_int_equal(judge(&told, 0, 5, 1, 6), OOM_PROVED);
    assert_int_equal(judge(&told, 0, 5, 1, 6), OOM_NO); /* that one is explained */
    assert_int_equal(judge(&told, 0, 5, 3, 8), OOM_PROVED);
    assert_int_equal(judge(&told, 0, 5, 3, 8), OOM_PROVED);
    assert_int_equal(judge(&told, 0, 5, 3, 8), OOM_NO);
}

static void test_what_is_around_makes_it_likely(void **state)
{
    (void)state;
    struct oom_counts told = {-1, -1};
    assert_int_equal(judge(&told, -1, 5, -1, 5), OOM_NO);
    assert_int_equal(judge(&told, -1, 5, -1, 7), OOM_SUSPECTED);
    assert_int_equal(judge(&told, -1, 5, -1, 7), OOM_SUSPECTED);
    assert_int_equal(judge(&told, -1, 5, -1, 7), OOM_NO);
}

static void test_a_group_that_lost_nobody_was_not_meant(void **state)
{
    (void)state;
    struct oom_counts told = {-1, -1};
    assert_int_equal(judge(&told, 0, 5, 0, 9), OOM_NO);
}

static void test_what_was_before_its_start_is_no_reason(void **state)
{
    (void)state;
    struct oom_counts told = {-1, -1};
    assert_int_equal(judge(&told, 4, 4, 4, 4), OOM_NO);
    assert_int_equal(judge(&told, -1, 4, -1, 4), OOM_NO);
}

static void test_what_is_not_known_explains_nothing(void **state)
{
    (void)state;
    struct oom_counts told = {-1, -1};
    assert_int_equal(judge(&told, -1, -1, -1, 9), OOM_NO);
    assert_int_equal(judge(&told, -1, 5, -1, -EACCES), OOM_NO);
    assert_int_equal(judge(&told, 0, -1, 1, -1), OOM_PROVED);
    assert_int_equal(judge(&told, 0, 5, -ENOENT, 6), OOM_SUSPECTED); /* the group has lost its counter */
}

/* ---- looks ---- */

static int64_t group_kills, kills_around;
static uint64_t time_ns;
static unsigned looks;

static int64_t count_group(int group)
{
    assert_int_equal(group, 7);
    return group_kills;
}

enum { COUNTER = 9 };

static int open_counter(void)
{
    return COUNTER;
}

static int64_t count_around(int counter)
{
    assert_int_equal(counter, COUNTER);
    looks++;
    return kills_around;
}

static uint64_t now(void)
{
    return time_ns;
}

static const struct os_ops os = {
    .now_ns = now, .cgroup_oom_kills = count_group, .oom_counter = open_counter, .oom_kills = count_around};

static void test_workers_that_start_together_are_looked_at_once(void **state)
{
    (void)state;
    struct oom_watch o;
    oom_init(&o, &os);
    time_ns = 1000000000;
    kills_around = 3;
    looks = 0;
    struct oom_counts first = oom_before(&o, &os), second = oom_before(&o, &os);
    assert_int_equal(looks, 1);
    assert_int_equal(first.around, 3);
    assert_memory_equal(&first, &second, sizeof first);
    assert_int_equal(first.group, -1); /* there is none */
    time_ns += 1000000000;
    o.group = 7;
    group_kills = 1;
    assert_int_equal(oom_before(&o, &os).group, 1);
    assert_int_equal(looks, 2);
}

static void test_a_death_is_looked_at_when_it_comes(void **state)
{
    (void)state;
    struct oom_watch o;
    oom_init(&o, &os);
    kills_around = 3;
    struct oom_counts before = oom_before(&o, &os);
    kills_around = 4;
    assert_int_equal(oom_after(&o, &os, &before), OOM_SUSPECTED);
    assert_int_equal(oom_after(&o, &os, &before), OOM_NO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_group_proves_it),
        cmocka_unit_test(test_what_is_around_makes_it_likely),
        cmocka_unit_test(test_a_group_that_lost_nobody_was_not_meant),
        cmocka_unit_test(test_what_was_before_its_start_is_no_reason),
        cmocka_unit_test(test_what_is_not_known_explains_nothing),
        cmocka_unit_test(test_workers_that_start_together_are_looked_at_once),
        cmocka_unit_test(test_a_death_is_looked_at_when_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
