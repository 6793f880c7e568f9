/* The policy of heartbeats under a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault/heartbeat.h"

#define S UINT64_C(1000000000)
#define BEGIN (100 * S) /* when the call begins */

static const struct heartbeat_rules rules = {
    .interval_ns = 2 * S, .timeout_ns = 10 * S, .stall_ns = 5 * S, .max_missed = 3, .dependent = true};

/* A worker as the tests play it, and the clock. */
struct play {
    struct heartbeat b;
    struct heartbeat_rules rules;
    struct heartbeat_seen seen;
    uint64_t now;
    struct heartbeat_step last;
};

static struct play play(void)
{
    return (struct play){.rules = rules, .seen = {.running_since_ns = BEGIN}, .now = BEGIN};
}

static unsigned at(struct play *p, uint64_t after)
{
    p->now = BEGIN + after;
    p->last = heartbeat_step(&p->b, &p->rules, &p->seen, p->now);
    return p->last.what;
}

static void answer(struct play *p)
{
    p->seen.pong = p->b.ping;
    p->seen.pong_ns = p->now;
}

static void test_idle_is_never_asked(void **state)
{
    (void)state;
    struct play p = play();
    p.seen.running_since_ns = 0;
    for (uint64_t t = 0; t < 1000; t++) {
        assert_int_equal(at(&p, t * S), 0);
        assert_true(p.last.due_ns == UINT64_MAX);
    }
}

static void test_short_calls_are_never_asked(void **state)
{
    (void)state;
    struct play p = play();
    for (uint64_t t = 0; t < 100; t++) { /* each look finds another call */
        p.seen.running_since_ns = BEGIN + t * S;
        assert_int_equal(at(&p, t * S + 2 * S - 1), 0);
        assert_true(p.last.due_ns == BEGIN + t * S + 2 * S);
    }
}

static void test_asked_each_interval(void **state)
{
    (void)state;
    struct play p = play();
    assert_int_equal(at(&p, 2 * S), HEARTBEAT_STARTED | HEARTBEAT_PING);
    for (uint64_t t = 2; t < 100; t += 2) {
        p.now += S / 1000;
        answer(&p);
        p.seen.progress++;
        assert_int_equal(at(&p, (t + 2) * S - 1), HEARTBEAT_PONG);
        assert_true(p.last.latency_ns == S / 1000);
        assert_true(p.last.due_ns == BEGIN + (t + 2) * S);
        assert_int_equal(at(&p, (t + 2) * S), HEARTBEAT_PING);
    }
    p.seen.running_since_ns = 0;
    assert_int_equal(at(&p, 200 * S), HEARTBEAT_STOPPED);
    assert_int_equal(at(&p, 201 * S), 0);
}

static void test_misses_in_a_row_kill(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    assert_int_equal(at(&p, 12 * S - 1), 0);
    assert_int_equal(at(&p, 12 * S), HEARTBEAT_MISSED | HEARTBEAT_PING);
    assert_int_equal(at(&p, 22 * S), HEARTBEAT_MISSED | HEARTBEAT_PING);
    assert_int_equal(p.last.missed, 2);
    assert_int_equal(at(&p, 32 * S), HEARTBEAT_MISSED | HEARTBEAT_FAILED | HEARTBEAT_KILL | HEARTBEAT_STOPPED);
    assert_int_equal(p.last.missed, 3);
}

static void test_any_answer_forgives(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    uint32_t first = p.b.ping;
    at(&p, 12 * S);
    assert_int_equal(at(&p, 22 * S), HEARTBEAT_MISSED | HEARTBEAT_PING);
    p.seen.pong = first; /* the oldest of the three: late, but a sign of life */
    p.seen.pong_ns = BEGIN + 25 * S;
    assert_int_equal(at(&p, 26 * S), HEARTBEAT_PONG);
    assert_true(p.last.latency_ns == 23 * S);
    assert_int_equal(p.b.missed, 0);
    p.seen.progress++;
    assert_int_equal(at(&p, 32 * S), HEARTBEAT_MISSED | HEARTBEAT_PING); /* the third is still out */
    assert_int_equal(p.last.missed, 1);
    at(&p, 42 * S);
    assert_int_equal(at(&p, 52 * S) & HEARTBEAT_KILL, HEARTBEAT_KILL);
}

static void test_late_look_finds_the_answer_first(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    p.now = BEGIN + 3 * S;
    answer(&p);
    assert_int_equal(at(&p, 500 * S),
                     HEARTBEAT_PONG | HEARTBEAT_STALLED | HEARTBEAT_PING); /* the host slept meanwhile, not the worker */
    assert_int_equal(p.b.missed, 0);
    assert_int_equal(at(&p, 500 * S), 0);
}

static void test_late_look_is_one_miss(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    assert_int_equal(at(&p, 500 * S), HEARTBEAT_MISSED | HEARTBEAT_PING);
    assert_int_equal(p.last.missed, 1);
}

static void test_independent_goes_on(void **state)
{
    (void)state;
    struct play p = play();
    p.rules.dependent = false;
    at(&p, 2 * S);
    unsigned failures = 0;
    for (uint64_t t = 12; t < 102; t += 10) {
        assert_int_equal(at(&p, t * S) & HEARTBEAT_KILL, 0);
        failures += (p.last.what & HEARTBEAT_FAILED) != 0;
    }
    assert_int_equal(failures, 3); /* nine misses */
    answer(&p);
    assert_int_equal(at(&p, 103 * S) & HEARTBEAT_PONG, HEARTBEAT_PONG);
    assert_int_equal(p.b.missed, 0);
}

static void test_stalled_and_back(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    answer(&p);
    assert_int_equal(at(&p, 4 * S), HEARTBEAT_PONG | HEARTBEAT_PING);
    answer(&p);
    assert_int_equal(at(&p, 6 * S), HEARTBEAT_PONG | HEARTBEAT_PING);
    assert_true(p.last.due_ns == BEGIN + 7 * S);
    assert_int_equal(at(&p, 7 * S), HEARTBEAT_STALLED);
    assert_true(p.last.stalled_ns == 7 * S);
    answer(&p);
    for (uint64_t t = 8; t < 1000; t += 2) { /* told once, and never killed for it */
        assert_int_equal(at(&p, t * S), HEARTBEAT_PONG | HEARTBEAT_PING);
        answer(&p);
    }
    p.seen.progress++;
    assert_int_equal(at(&p, 1001 * S) & HEARTBEAT_MOVES, HEARTBEAT_MOVES);
    assert_false(p.b.stalled);
}

static void test_stall_ends_with_the_call(void **state)
{
    (void)state;
    struct play p = play();
    for (uint64_t t = 2; t < 10; t += 2) {
        at(&p, t * S);
        answer(&p);
    }
    assert_true(p.b.stalled);
    p.seen.running_since_ns = p.now; /* another call */
    assert_int_equal(at(&p, 9 * S), HEARTBEAT_STOPPED | HEARTBEAT_MOVES);
    assert_int_equal(heartbeat_end(&p.b), 0);
}

/* An answer alone proves no stall: Python must have had the time to run. */
static void test_no_stall_at_a_long_interval(void **state)
{
    (void)state;
    struct play p = play();
    p.rules.interval_ns = 60 * S;
    at(&p, 60 * S);
    p.now += S / 1000;
    answer(&p);
    assert_int_equal(at(&p, 61 * S), HEARTBEAT_PONG);
    p.seen.progress++;
    assert_int_equal(at(&p, 120 * S), HEARTBEAT_PING);
    assert_int_equal(at(&p, 121 * S), 0);
}

static void test_hostile_answers(void **state)
{
    (void)state;
    const uint32_t lies[] = {2, 100, 1u << 31, UINT32_MAX, 0};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct play p = play();
        at(&p, 2 * S); /* ping 1 */
        p.seen.pong = lies[i];
        p.seen.pong_ns = UINT64_MAX;
        assert_int_equal(at(&p, 4 * S), 0);
        assert_int_equal(at(&p, 12 * S), HEARTBEAT_MISSED | HEARTBEAT_PING);
    }
    const uint64_t times[] = {0, BEGIN, UINT64_MAX}; /* before the ping, after now */
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct play p = play();
        at(&p, 2 * S);
        p.seen.pong = 1;
        p.seen.pong_ns = times[i];
        assert_int_equal(at(&p, 3 * S), HEARTBEAT_PONG);
        assert_true(p.last.latency_ns == S);
    }
}

static void test_answer_to_an_earlier_call(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    p.seen.running_since_ns = 0;
    at(&p, 3 * S);
    p.seen.running_since_ns = BEGIN + 50 * S;
    p.seen.pong = p.b.ping; /* it came when nobody asked any more */
    assert_int_equal(at(&p, 52 * S), HEARTBEAT_STARTED | HEARTBEAT_PING);
    assert_int_equal(at(&p, 54 * S), 0);
    answer(&p);
    assert_int_equal(at(&p, 54 * S) & HEARTBEAT_PONG, HEARTBEAT_PONG);
}

static void test_unsent(void **state)
{
    (void)state;
    struct play p = play();
    at(&p, 2 * S);
    uint32_t ping = p.b.ping;
    heartbeat_unsent(&p.b, &p.rules, p.now);
    assert_int_equal(at(&p, 4 * S - 1), 0);
    assert_int_equal(at(&p, 4 * S), HEARTBEAT_PING);
    assert_int_equal(p.b.ping, ping);
}

static void test_numbers_wrap(void **state)
{
    (void)state;
    struct play p = play();
    p.b.ping = p.b.pong = p.seen.pong = UINT32_MAX;
    at(&p, 2 * S);
    assert_int_equal(p.b.ping, 0);
    answer(&p);
    assert_int_equal(at(&p, 3 * S), HEARTBEAT_PONG);
}

/* Whatever comes, at whatever time: a worker that has answered within timeout_ns of each ping is never killed, and one that never answers is, in time. */
static void test_random_schedules(void **state)
{
    (void)state;
    srand(7);
    for (int run = 0; run < 2000; run++) {
        struct play p = play();
        bool mute = run % 2 != 0;
        uint64_t after = 0, killed = 0;
        while (after < 120 * S && killed == 0) {
            after += (uint64_t)rand() % (3 * S);
            if (!mute)
                answer(&p);
            unsigned what = at(&p, after);
            killed = (what & HEARTBEAT_KILL) != 0 ? after : 0;
            if (!mute && (what & HEARTBEAT_PING) != 0)
                answer(&p);
        }
        if (mute)
            assert_true(killed >= 32 * S && killed <= 2 * S + 3 * 10 * S + 4 * 3 * S);
        else
            assert_true(killed == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_is_never_asked),
        cmocka_unit_test(test_short_calls_are_never_asked),
        cmocka_unit_test(test_asked_each_interval),
        cmocka_unit_test(test_misses_in_a_row_kill),
        cmocka_unit_test(test_any_answer_forgives),
        cmocka_unit_test(test_late_look_finds_the_answer_first),
        cmocka_unit_test(test_late_look_is_one_miss),
        cmocka_unit_test(test_independent_goes_on),
        cmocka_unit_test(test_stalled_and_back),
        cmocka_unit_test(test_stall_ends_with_the_call),
        cmocka_unit_test(test_no_stall_at_a_long_interval),
        cmocka_unit_test(test_hostile_answers),
        cmocka_unit_test(test_answer_to_an_earlier_call),
        cmocka_unit_test(test_unsent),
        cmocka_unit_test(test_numbers_wrap),
        cmocka_unit_test(test_random_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
