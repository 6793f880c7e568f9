/* The timing wheel against a plain list, and its own promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/wheel.h"

#define MS ((uint64_t)WHEEL_TICK_NS)

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static int advance(struct wheel *w, uint64_t now, struct list *due)
{
    int n = 0;
    list_init(due);
    wheel_advance(w, now, due);
    LIST_EACH(it, due)
    n++;
    return n;
}

static void test_never_early_and_exact(void **state)
{
    (void)state;
    static const uint64_t due[] = {
        1,         MS - 1,    MS,          MS + 1,        63 * MS,           64 * MS,        64 * MS + 1,
        4095 * MS, 4096 * MS, 300000 * MS, 86400000 * MS, UINT64_C(1) << 60, UINT64_MAX - MS};
    for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
        struct wheel w;
        struct list out;
        struct wheel_timer t = {.slot = 0};
        wheel_init(&w, 0);
        wheel_set(&w, &t, due[i]);
        uint64_t at = wheel_next(&w);
        assert_true(at >= due[i] && at < due[i] + MS);
        assert_int_equal(advance(&w, at - 1, &out), 0);
        assert_true(wheel_armed(&t));
        assert_int_equal(wheel_next(&w), at);
        assert_int_equal(advance(&w, at, &out), 1);
        list_remove(&t.node);
        assert_int_equal(wheel_next(&w), UINT64_MAX);
    }
}

static void test_the_past_is_due_at_once(void **state)
{
    (void)state;
    struct wheel w;
    struct list out;
    struct wheel_timer a = {.slot = 0}, b = {.slot = 0};
    wheel_init(&w, 1000 * MS);
    wheel_set(&w, &a, 3 * MS);
    wheel_set(&w, &b, 1000 * MS);
    assert_true(wheel_next(&w) <= 1000 * MS);
    assert_int_equal(advance(&w, 1000 * MS, &out), 2);
    /* given out is still armed: it may be stopped or armed anew before its turn */
    wheel_stop(&w, &a);
    assert_false(wheel_armed(&a));
    wheel_set(&w, &b, 1005 * MS);
    assert_true(list_empty(&out));
    assert_int_equal(wheel_next(&w), 1005 * MS);
    wheel_stop(&w, &b);
    wheel_stop(&w, &b);
    assert_int_equal(wheel_next(&w), UINT64_MAX);
}

/* Time that jumps back moves nothing. */
static void test_time_goes_on_only(void **state)
{
    (void)state;
    struct wheel w;
    struct list out;
    struct wheel_timer t = {.slot = 0};
    wheel_init(&w, 100 * MS);
    wheel_set(&w, &t, 110 * MS);
    assert_int_equal(advance(&w, 50 * MS, &out), 0);
    assert_int_equal(advance(&w, 109 * MS, &out), 0);
    assert_int_equal(advance(&w, 110 * MS, &out), 1);
}

enum { TIMERS = 300, STEPS = 20000 };

/* Random sets, stops and steps of all sizes: what comes out, and when the next is due, is what a list of dues says. */
static void test_against_a_list(void **state)
{
    (void)state;
    seed = UINT64_C(0x9e3779b97f4a7c15);
    static struct wheel w;
    static struct wheel_timer t[TIMERS];
    uint64_t now = 12345 * MS;
    wheel_init(&w, now);
    for (int step = 0; step < STEPS; step++) {
        uint64_t r = next_random();
        struct wheel_timer *one = &t[r % TIMERS];
        uint64_t span = UINT64_C(1) << (20 + next_random() % 24);
        if (r >> 60 < 9) {
            wheel_set(&w, one, now + next_random() % span);
        } else if (r >> 60 < 11) {
            wheel_stop(&w, one);
        } else {
            struct list out;
            uint64_t last = 0;
            now += next_random() % span;
            int wanted = 0;
            for (int i = 0; i < TIMERS; i++)
                wanted += wheel_armed(&t[i]) && t[i].tick <= now / MS;
            assert_int_equal(advance(&w, now, &out), wanted);
            for (struct list *n; (n = list_pop_front(&out)) != NULL;) {
                struct wheel_timer *gone = LIST_ENTRY(n, struct wheel_timer, node);
                assert_true(gone->due_ns <= now && gone->tick >= last);
                last = gone->tick;
            }
        }
        uint64_t least = UINT64_MAX;
        for (int i = 0; i < TIMERS; i++)
            if (wheel_armed(&t[i]) && t[i].tick * MS < least)
                least = t[i].tick * MS;
        uint64_t next = wheel_next(&w);
        assert_true(least == UINT64_MAX ? next == UINT64_MAX : next <= (least > now ? least : now));
    }
}

/* An idle program has few timers: then the next wake-up is exactly the next timer's, however far it is. */
static void test_few_timers_are_exact(void **state)
{
    (void)state;
    seed = 77;
    struct wheel w;
    struct wheel_timer t[64] = {{.slot = 0}};
    for (int round = 0; round < 200; round++) {
        uint64_t now = next_random() % (UINT64_C(1) << 50), least = UINT64_MAX;
        wheel_init(&w, now);
        for (int i = 0; i < 64; i++) {
            t[i].node = (struct list){NULL, NULL};
            wheel_set(&w, &t[i], now + MS + next_random() % (UINT64_C(1) << (22 + round % 20)));
            least = t[i].tick < least ? t[i].tick : least;
        }
        assert_int_equal(wheel_next(&w), least * MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_early_and_exact), cmocka_unit_test(test_the_past_is_due_at_once),
        cmocka_unit_test(test_time_goes_on_only),     cmocka_unit_test(test_against_a_list),
        cmocka_unit_test(test_few_timers_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
