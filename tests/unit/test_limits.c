/* Limits of calls: which was passed, and when to look again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <unistd.h>

#include "fault/limits.h"
#include "os/os.h"

#define MS UINT64_C(1000000)
#define NOT_BEFORE (UINT64_C(10) * MS)

static void test_judge(void **state)
{
    (void)state;
    const struct limits none = {{0}};
    struct limit_use u = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    assert_false(limits_any(&none));
    assert_int_equal(limits_judge(&none, &u), LIMITS);
    for (int k = 0; k < LIMITS; k++) {
        struct limits l = {{0}};
        struct limit_use used = {{0}};
        l.most[k] = 5;
        assert_true(limits_any(&l));
        used.n[k] = 5;
        assert_int_equal(limits_judge(&l, &used), LIMITS);
        used.n[k] = 6;
        assert_int_equal(limits_judge(&l, &used), k);
    }
}

static void test_next_look(void **state)
{
    (void)state;
    struct limits l = {{0}};
    struct limit_use u = {{0}};
    assert_true(limits_next_look(&l, &u) == UINT64_MAX);
    l.most[LIMIT_WALL] = 300 * MS;
    assert_int_equal(limits_next_look(&l, &u), 300 * MS);
    u.n[LIMIT_WALL] = 299 * MS + MS / 2;
    assert_int_equal(limits_next_look(&l, &u), MS);
    u.n[LIMIT_WALL] = 400 * MS;
    assert_int_equal(limits_next_look(&l, &u), MS);
    u.n[LIMIT_WALL] = 0;
    l.most[LIMIT_FILES] = 3;
    assert_int_equal(limits_next_look(&l, &u), NOT_BEFORE);
    l.most[LIMIT_CPU] = 50 * MS;
    assert_int_equal(limits_next_look(&l, &u), NOT_BEFORE);
    u.n[LIMIT_CPU] = 47 * MS;
    assert_int_equal(limits_next_look(&l, &u), 3 * MS);
}

static void test_units(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(limit_from_units(LIMIT_CPU, 3, &n));
    assert_int_equal(n, 3 * MS);
    assert_true(limit_from_units(LIMIT_MEMORY, 2, &n));
    assert_int_equal(n, 2u << 20);
    assert_false(limit_from_units(LIMIT_WALL, -2, &n));
    assert_false(limit_from_units(LIMIT_MEMORY, INT64_MAX, &n));
    assert_int_equal(limit_in_units(LIMIT_CPU, 3 * MS), 3);
    assert_int_equal(limit_in_units(LIMIT_CPU, 3 * MS + 1), 4);
    assert_int_equal(limit_in_units(LIMIT_FILES, 9), 9);
    assert_string_equal(limit_name(LIMIT_MEMORY), "rss_growth_mb");
}

/* What the kernel tells of this process is what this process knows of itself. */
static void test_usage(void **state)
{
    (void)state;
    struct os_usage before, after;
    const unsigned all = OS_USAGE_CPU | OS_USAGE_MEMORY | OS_USAGE_FILES;
    assert_int_equal(os_linux.usage(getpid(), all | OS_USAGE_RESET_PEAK, &before), 0);
    assert_true(before.cpu_ns > 0 && before.memory > 0 && before.files > 2);
    enum { BIG = 32 << 20 };
    volatile char *block = test_malloc(BIG);
    for (size_t i = 0; i < BIG; i += 512)
        block[i] = 1;
    int fds[2] = {-1, -1};
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(os_linux.usage(getpid(), all, &after), 0);
    assert_true(after.cpu_ns > before.cpu_ns);
    assert_true(after.memory >= before.memory + BIG / 2);
    assert_int_equal(after.files, before.files + 2);
    close(fds[0]);
    close(fds[1]);
    test_free((void *)(uintptr_t)block);
    assert_int_equal(os_linux.usage(getpid(), all, &after), 0);
    if (before.has_peak)
        assert_true(after.peak >= before.memory + BIG / 2);
    assert_int_equal(after.files, before.files);
    assert_int_equal(os_linux.usage(getpid(), 0, &after), 0);
    assert_int_equal(after.cpu_ns, 0);
    assert_true(os_linux.usage(0x3ffffff, all, &after) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_judge), cmocka_unit_test(test_next_look),
                                       cmocka_unit_test(test_units), cmocka_unit_test(test_usage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
