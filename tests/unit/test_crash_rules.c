/* The rules of crash barrier, taint and health: pure, with a clock of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>

#include "fault/barrier.h"
#include "fault/crashes.h"
#include "fault/taint.h"

#define MS UINT64_C(1000000)

static struct barrier_rules usual(void)
{
    return (struct barrier_rules){.on = true,
                                  .retry = BARRIER_IDEMPOTENT,
                                  .max_restarts = 3,
                                  .n_backoff = 2,
                                  .backoff_ns = {50 * MS, 100 * MS},
                                  .mark = 1u << 4,
                                  .n_codes = 1,
                                  .codes = {7}};
}

static void test_retries(void **state)
{
    (void)state;
    struct barrier_rules r = usual();
    uint64_t at = 0;
    assert_true(barrier_retries(&r, true, 0, 1000 * MS, UINT64_MAX, &at));
    assert_int_equal(at, 1050 * MS);
    assert_true(barrier_retries(&r, true, 2, 1000 * MS, UINT64_MAX, &at));
    assert_int_equal(at, 1100 * MS); /* the last repeats */
    assert_false(barrier_retries(&r, true, 3, 1000 * MS, UINT64_MAX, &at));
    assert_false(barrier_retries(&r, false, 0, 1000 * MS, UINT64_MAX, &at));
    assert_false(barrier_retries(&r, true, 0, 1000 * MS, 1050 * MS, &at));
    assert_true(barrier_retries(&r, true, 0, 1000 * MS, 1050 * MS + 1, &at));
    assert_false(barrier_retries(&r, true, 0, UINT64_MAX - 1, UINT64_MAX, &at));
    r.retry = BARRIER_ALWAYS;
    assert_true(barrier_retries(&r, false, 0, 0, UINT64_MAX, &at));
    r.retry = BARRIER_NEVER;
    assert_false(barrier_retries(&r, true, 0, 0, UINT64_MAX, &at));
    r = usual();
    r.n_backoff = 0;
    assert_true(barrier_retries(&r, true, 0, 5, 6, &at));
    assert_int_equal(at, 5);
    r.on = false;
    assert_false(barrier_retries(&r, true, 0, 5, 6, &at));
}

static void test_marks(void **state)
{
    (void)state;
    struct barrier_rules r = usual();
    assert_true(barrier_marks(&r, 4, 139));
    assert_false(barrier_marks(&r, 5, 139));
    assert_true(barrier_marks(&r, 5, 7));
    assert_false(barrier_marks(&r, 40, 8));
    r.on = false;
    assert_false(barrier_marks(&r, 4, 7));
}

static void test_taint(void **state)
{
    (void)state;
    struct taint t = {0};
    assert_false(taint_meets(&t, 1));
    taint_set(&t, 100, 50, 3, false, "why");
    assert_true(taint_meets(&t, 3) && taint_meets(&t, 2));
    assert_false(taint_meets(&t, 4));
    assert_int_equal(t.until_ns, 150);
    taint_set(&t, 110, 20, 3, true, "again");
    assert_int_equal(t.until_ns, 150); /* no earlier than the first */
    assert_int_equal(t.since_ns, 110);
    assert_true(taint_meets(&t, 4));
    assert_string_equal(t.reason, "again");
    taint_set(&t, 120, UINT64_MAX, 3, false, "for ever");
    assert_true(t.until_ns == UINT64_MAX);
    taint_lift(&t);
    assert_false(taint_is_on(&t));
    assert_false(taint_consume_restart(&t));
}

enum { RACERS = 8, ROUNDS = 200 };

struct race {
    struct taint t;
    pthread_barrier_t start, end;
    unsigned won;
};

static void *racer(void *arg)
{
    struct race *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&r->start);
        if (taint_consume_restart(&r->t))
            __atomic_add_fetch(&r->won, 1, __ATOMIC_RELAXED);
        pthread_barrier_wait(&r->end);
    }
    return NULL;
}

static void test_one_restart(void **state)
{
    (void)state;
    struct race r = {.won = 0};
    pthread_t threads[RACERS];
    pthread_barrier_init(&r.start, NULL, RACERS + 1);
    pthread_barrier_init(&r.end, NULL, RACERS + 1);
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, racer, &r), 0);
    for (int i = 0; i < ROUNDS; i++) {
        taint_set(&r.t, 1, 1, 1, false, "a race");
        pthread_barrier_wait(&r.start);
        pthread_barrier_wait(&r.end);
        assert_int_equal(__atomic_load_n(&r.won, __ATOMIC_RELAXED), i + 1);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&r.start);
    pthread_barrier_destroy(&r.end);
}

static void test_crashes(void **state)
{
    (void)state;
    const struct crash_rules r = {.max_crashes = 4, .window_ns = 1000 * MS};
    struct crashes c = {0};
    uint64_t now = 5000 * MS;
    assert_true(crashes_look(&c, &r, now).healthy);
    for (unsigned i = 0; i < 3; i++)
        crashes_add(&c, now + i * 100 * MS, i % 2, i == 0);
    struct crash_facts f = crashes_look(&c, &r, now + 300 * MS);
    assert_true(f.healthy);
    assert_int_equal(f.in_window, 3);
    assert_int_equal(f.workers, 2);
    assert_int_equal(f.segfaults, 1);
    assert_int_equal(crashes_of_slot(&c, &r, now + 300 * MS, 0), 2);
    crashes_add(&c, now + 400 * MS, 7, true);
    f = crashes_look(&c, &r, now + 400 * MS);
    assert_false(f.healthy);
    assert_string_equal(crashes_pattern(&f), "unhealthy");
    f = crashes_look(&c, &r, now + 1000 * MS); /* the first has left the window */
    assert_true(f.healthy);
    assert_int_equal(f.in_window, 3);
    assert_int_equal(f.in_minute, 4);
    assert_null(crashes_pattern(&f));
    for (unsigned i = 0; i < 2 * CRASHES_KEPT; i++)
        crashes_add(&c, now + 2000 * MS, 1, i % 2);
    f = crashes_look(&c, &r, now + 2000 * MS);
    assert_int_equal(f.in_window, CRASHES_KEPT);
    assert_int_equal(c.total, 4 + 2 * CRASHES_KEPT);
}

static void test_patterns(void **state)
{
    (void)state;
    struct crash_facts f = {.healthy = true, .in_minute = CRASHES_ALERT, .segfaults = CRASHES_ALERT_SEGFAULTS};
    assert_null(crashes_pattern(&f));
    f.in_minute++;
    assert_string_equal(crashes_pattern(&f), "crash rate");
    f.segfaults++;
    assert_string_equal(crashes_pattern(&f), "segfaults");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retries),     cmocka_unit_test(test_marks),   cmocka_unit_test(test_taint),
        cmocka_unit_test(test_one_restart), cmocka_unit_test(test_crashes), cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
