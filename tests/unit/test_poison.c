/* Which calls have killed: the table, with a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "fault/poison.h"

#define S UINT64_C(1000000000)

static void name_of(const void *data, size_t n, uint8_t out[SHA256_BYTES])
{
    struct sha256 s;
    sha256_init(&s);
    sha256_add(&s, data, n);
    sha256_end(&s, out);
}

static const struct poison_rules usual = {.on = true, .crashes = 2, .ttl_ns = 600 * S};

static unsigned kill_with(struct poison_table *t, const struct poison_rules *r, uint64_t now, const char *text, bool *ret_new)
{
    uint8_t digest[SHA256_BYTES];
    name_of(text, strlen(text), digest);
    return poison_note(t, r, now, (const uint8_t *)text, strlen(text), digest, ret_new);
}

static int look(const struct poison_table *t, const char *text)
{
    return poison_candidate(t, 0, (const uint8_t *)text, strlen(text));
}

static void test_two_deaths(void **state)
{
    (void)state;
    struct poison_table *t = calloc(1, sizeof *t);
    bool is_new;
    assert_non_null(t);
    unsigned at = kill_with(t, &usual, 10 * S, "one", &is_new);
    assert_true(is_new);
    assert_int_equal(look(t, "one"), -1);
    assert_int_equal(kill_with(t, &usual, 20 * S, "two", &is_new) == at, false);
    assert_int_equal(kill_with(t, &usual, 610 * S, "one", &is_new), at);
    assert_false(is_new);
    assert_int_equal(t->bad, UINT64_C(1) << at);
    assert_int_equal(look(t, "one"), (int)at);
    assert_int_equal(look(t, "two"), -1);
    assert_int_equal(look(t, "onf"), -1);
    assert_int_equal(poison_candidate(t, at + 1, (const uint8_t *)"one", 3), -1);
    assert_int_equal(poison_prune(t, &usual, 1210 * S), UINT64_C(1) << 1); /* of two nothing has been heard for long */
    assert_int_equal(look(t, "one"), (int)at);
    assert_int_equal(poison_prune(t, &usual, 1210 * S + 1), UINT64_C(1) << at);
    assert_int_equal(t->bad, 0);
    assert_int_equal(look(t, "one"), -1);
    free(t);
}

static void test_too_far_apart(void **state)
{
    (void)state;
    struct poison_table *t = calloc(1, sizeof *t);
    bool is_new;
    assert_non_null(t);
    kill_with(t, &usual, 10 * S, "slow", &is_new);
    kill_with(t, &usual, 611 * S, "slow", &is_new);
    assert_int_equal(t->bad, 0);
    kill_with(t, &usual, 1211 * S, "slow", &is_new);
    assert_int_equal(t->bad, 1);
    assert_int_equal(look(t, "slow"), 0);
    const struct poison_rules first = {.on = true, .crashes = 1, .ttl_ns = S};
    kill_with(t, &first, 1211 * S, "once", &is_new);
    assert_int_equal(t->bad, 3);
    for (unsigned i = 0; i < 3 * POISON_CRASHES; i++)
        kill_with(t, &usual, (1212 + i) * S, "slow", &is_new);
    assert_int_equal(t->bad, 3);
    free(t);
}

/* The table is full: who killed last longest ago makes room, bad or not. */
static void test_bounded(void **state)
{
    (void)state;
    struct poison_table *t = calloc(1, sizeof *t);
    bool is_new;
    char text[16];
    assert_non_null(t);
    for (unsigned i = 0; i < 3 * POISON_ENTRIES; i++)
        for (int twice = 0; twice < 2; twice++) {
            snprintf(text, sizeof text, "call %u", i);
            kill_with(t, &usual, (1 + i) * S, text, &is_new);
            assert_int_equal(is_new, !twice);
        }
    assert_true(t->bad == UINT64_MAX);
    for (unsigned i = 0; i < 3 * POISON_ENTRIES; i++) {
        snprintf(text, sizeof text, "call %u", i);
        assert_int_equal(look(t, text) >= 0, i >= 2 * POISON_ENTRIES);
    }
    free(t);
}

/* Short contents are compared whole, of longer ones beginning, end and what lies between at equal distances. */
static void test_samples(void **state)
{
    (void)state;
    enum { LONGEST = 700, PIECES = 32 };
    static char a[LONGEST + 1], b[LONGEST + 1];
    bool is_new;
    memset(a, 'x', LONGEST);
    for (size_t n = 1; n <= LONGEST; n++) {
        struct poison_table *t = calloc(1, sizeof *t);
        uint8_t digest[SHA256_BYTES];
        assert_non_null(t);
        name_of(a, n, digest);
        for (int i = 0; i < 2; i++)
            poison_note(t, &usual, S, (const uint8_t *)a, n, digest, &is_new);
        assert_true(poison_candidate(t, 0, (const uint8_t *)a, n) >= 0);
        assert_int_equal(poison_candidate(t, 0, (const uint8_t *)a, n - 1), -1);
        assert_int_equal(poison_candidate(t, 0, (const uint8_t *)a, n + 1), -1);
        unsigned seen = 0;
        for (size_t at = 0; at < n; at++) {
            memcpy(b, a, n);
            b[at] = 'y';
            bool differs = poison_candidate(t, 0, (const uint8_t *)b, n) < 0;
            assert_true(differs || (n > POISON_SAMPLE && at != 0 && at != n - 1));
            seen += differs;
        }
        assert_true(seen == (n < POISON_SAMPLE ? n : POISON_SAMPLE));
        free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_deaths),
        cmocka_unit_test(test_too_far_apart),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
