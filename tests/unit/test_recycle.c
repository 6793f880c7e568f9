/* When a worker has served long enough: reasons, ages as text, forecasts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fault/recycle.h"

#define S UINT64_C(1000000000)
#define MB UINT64_C(1048576)

static void test_without_rules_there_is_no_reason(void **state)
{
    (void)state;
    static const struct recycle_rules none = {.jitter = 0.1, .forecast = true};
    struct recycle_facts old = {.age_ns = UINT64_MAX, .calls = UINT64_MAX, .memory_bytes = UINT64_MAX};
    assert_int_equal(recycle_judge(&none, &old), RECYCLE_NONE);
    assert_false(recycle_has_rules(&none));
    assert_false(recycle_near_ttl(&none, &old));
    assert_false(recycle_near_max_requests(&none, &old));
    assert_int_equal(recycle_jittered(&none, 77), 0);
}

static void test_each_rule(void **state)
{
    (void)state;
    static const struct recycle_rules r = {.ttl_ns = 100 * S, .max_requests = 50, .memory_bytes = 10 * MB};
    static const struct {
        struct recycle_facts facts;
        enum recycle_reason why;
        bool near_ttl, near_max;
    } rows[] = {
        {{89 * S, 100 * S, 44, MB, NULL}, RECYCLE_NONE, false, false},
        {{90 * S, 100 * S, 44, MB, NULL}, RECYCLE_NONE, true, false},
        {{89 * S, 100 * S, 45, MB, NULL}, RECYCLE_NONE, false, true},
        {{100 * S, 100 * S, 0, MB, NULL}, RECYCLE_TTL_EXPIRED, true, false},
        {{100 * S, 105 * S, 0, MB, NULL}, RECYCLE_NONE, true, false}, /* its own age counts, not the rule's */
        {{0, 100 * S, 50, MB, NULL}, RECYCLE_MAX_REQUESTS, false, true},
        {{0, 100 * S, 0, 10 * MB - 1, NULL}, RECYCLE_NONE, false, false},
        {{0, 100 * S, 0, 10 * MB, NULL}, RECYCLE_MEMORY_THRESHOLD, false, false},
        {{0, 100 * S, 0, 0, NULL}, RECYCLE_NONE, false, false},                   /* nobody could look */
        {{100 * S, 100 * S, 50, 10 * MB, NULL}, RECYCLE_TTL_EXPIRED, true, true}, /* the first of them */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(recycle_judge(&r, &rows[i].facts), rows[i].why);
        assert_int_equal(recycle_near_ttl(&r, &rows[i].facts), rows[i].near_ttl);
        assert_int_equal(recycle_near_max_requests(&r, &rows[i].facts), rows[i].near_max);
    }
}

static void test_jitter_spreads_to_both_sides(void **state)
{
    (void)state;
    static const struct recycle_rules r = {.ttl_ns = 1000 * S, .jitter = 0.1}, even = {.ttl_ns = 1000 * S};
    assert_in_range(recycle_jittered(&r, 0), 900 * S, 900 * S + 1000);
    assert_in_range(recycle_jittered(&r, UINT32_MAX), 1100 * S - 1000, 1100 * S + 1000);
    assert_in_range(recycle_jittered(&r, UINT32_MAX / 2), 999 * S, 1001 * S);
    assert_in_range(recycle_jittered(&even, 0), 1000 * S, 1000 * S + 1000);
    static const struct recycle_rules longest = {.ttl_ns = UINT64_C(9000000000) * S, .jitter = 1};
    assert_true(recycle_jittered(&longest, UINT32_MAX) > longest.ttl_ns);
    assert_true(recycle_jittered(&longest, 0) > 0);
}

static void test_ages_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
    } good[] = {{"1", 1},
                {"90", 90},
                {"30s", 30},
                {"15m", 900},
                {"2h", 7200},
                {"1d", 86400},
                {"007s", 7},
                {"100000d", UINT64_C(8640000000)},
                {"999999999", 999999999},
                {"infinity", 0}};
    static const char *const bad[] = {"",           " 1",         "1 ",       "0",         "0s",   "-5",  "+5",
                                      "s",          "1w",         "1ms",      "1.5h",      "1e3",  "1hh", "h1",
                                      "1000000000", "999999999d", "Infinity", "infinity ", "0x10", "nil", "inf"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t ns = 1;
        assert_true(recycle_parse_ttl(good[i].text, &ns));
        assert_int_equal(ns, good[i].seconds * S);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t ns = 1;
        if (recycle_parse_ttl(bad[i], &ns))
            fail_msg("'%s' was taken for %llu ns", bad[i], (unsigned long long)ns);
        assert_int_equal(ns, 1);
    }
}

static void test_a_forecast_looks_a_tenth_ahead(void **state)
{
    (void)state;
    struct recycle_rules r = {.memory_bytes = 100 * MB, .forecast = true};
    struct leak leak = {0};
    for (uint64_t i = 1; i <= 10; i++)
        leak_add(&leak, i * 100, 50 * MB + i * 100 * 1000); /* 1000 bytes a call */
    struct recycle_facts f = {.calls = 1000, .memory_bytes = 51 * MB, .leak = &leak};
    assert_int_equal(recycle_judge(&r, &f), RECYCLE_NONE); /* some 50 000 calls are left */
    r.memory_bytes = 50 * MB + 1000 * 1000 + 101 * 1000;
    assert_int_equal(recycle_judge(&r, &f), RECYCLE_NONE);
    r.memory_bytes -= 2000; /* 99 calls are left, of 1000 */
    assert_true(f.memory_bytes < r.memory_bytes);
    assert_int_equal(recycle_judge(&r, &f), RECYCLE_LEAK_FORECAST);
    r.forecast = false;
    assert_int_equal(recycle_judge(&r, &f), RECYCLE_NONE);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(recycle_reason_name(RECYCLE_TTL_EXPIRED), "ttl_expired");
    assert_string_equal(recycle_reason_name(RECYCLE_HEALTH), "health");
    for (int i = 1; i < RECYCLE_REASONS; i++)
        assert_true(strlen(recycle_reason_text((enum recycle_reason)i)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_rules_there_is_no_reason), cmocka_unit_test(test_each_rule),
        cmocka_unit_test(test_jitter_spreads_to_both_sides),     cmocka_unit_test(test_ages_as_text),
        cmocka_unit_test(test_a_forecast_looks_a_tenth_ahead),   cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
