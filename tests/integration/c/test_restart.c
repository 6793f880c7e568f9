/* Workers that die again and again: what the pool does with their slots, and with itself. */
#include "integration/c/kit.h"

struct seen {
    atomic_uint degraded, recovered, restarted;
};

static int count_event(const pit_event *ev, void *user)
{
    struct seen *s = user;
    const char *name = pit_event_name(ev);
    atomic_fetch_add(&s->degraded, strcmp(name, "snakepit.pool.degraded") == 0);
    atomic_fetch_add(&s->recovered, strcmp(name, "snakepit.pool.recovered") == 0);
    atomic_fetch_add(&s->restarted, strcmp(name, "snakepit.pool.worker.restarted") == 0);
    return 0;
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

static void kill_one(pit *p, uint64_t crashes)
{
    pid_t pid = 0;
    KIT_AWAIT((pid = kit_worker(p, 0)) != 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    KIT_AWAIT(kit_stats(p).crashes == crashes);
}

/* The pool lets three successors start in a window, holds the fourth back, goes on serving, and is whole afterwards. */
static void test_degraded(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    uint64_t id = 0;
    k.workers = 8;
    k.pool.max_restarts = 3;
    k.pool.restart_window_ms = 3000;
    pit *p = kit_open(&k);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.pool.*", count_event, &seen, &id, NULL), 0);
    for (uint64_t n = 1; n <= 5; n++)
        kill_one(p, n);
    KIT_AWAIT(kit_stats(p).degraded == 1);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    KIT_AWAIT(kit_stats(p).available == 8 && kit_stats(p).degraded == 0);
    assert_int_equal(atomic_load(&seen.degraded), 1);
    KIT_AWAIT(atomic_load(&seen.recovered) == 1);
    assert_int_equal(atomic_load(&seen.restarted), 5);
    settle(p, before, "degraded");
}

/* With restart_backoff off nobody waits, however often it happens. */
static void test_off(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    uint64_t id = 0;
    k.pool.restart_backoff = PIT_OFF;
    k.pool.max_restarts = 1;
    k.pool.restart_window_ms = KIT_LIMIT_MS;
    pit *p = kit_open(&k);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.pool.*", count_event, &seen, &id, NULL), 0);
    for (uint64_t n = 1; n <= 12; n++)
        kill_one(p, n);
    KIT_AWAIT(kit_stats(p).available == 1);
    assert_int_equal(atomic_load(&seen.degraded), 0);
    settle(p, before, "no back-off");
}

/* One pool dies and dies; another of the same host notices nothing. */
static void test_another_pool_notices_nothing(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pit_pool_options pool;
    k.pool.max_restarts = 1;
    k.pool.restart_window_ms = KIT_LIMIT_MS;
    pit *p = kit_open(&k);
    kit_pool(&k, "second", command, env, &pool);
    assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
    pit_call_options second = PIT_CALL_OPTIONS_INIT;
    second.pool = "second";
    kill_one(p, 1);
    KIT_AWAIT(kit_stats(p).available == 2); /* the first pool's worker comes first in the list */
    kill_one(p, 2);
    KIT_AWAIT(kit_stats(p).degraded == 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pit_callf(p, "echo", &second, NULL, NULL, "[i]", i), 0);
    pit_stats s = PIT_STATS_INIT;
    assert_int_equal(pit_get_stats(p, "second", &s), 0);
    assert_int_equal(s.degraded, 0);
    assert_int_equal(s.crashes, 0);
    settle(p, before, "another pool");
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        int backoff, max;
        int64_t window;
        int rc;
    } rows[] = {
        {2, 0, 0, PIT_E_INVALID_PARAMETER},     {-2, 0, 0, PIT_E_INVALID_PARAMETER},
        {0, -1, 0, PIT_E_INVALID_PARAMETER},    {0, 1025, 0, PIT_E_INVALID_PARAMETER},
        {0, 0, PIT_NOW, PIT_E_INVALID_TIMEOUT}, {0, 0, PIT_INFINITE, PIT_E_INVALID_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kit k = KIT_INIT;
        pit *p = NULL;
        k.pool.restart_backoff = rows[i].backoff;
        k.pool.max_restarts = rows[i].max;
        k.pool.restart_window_ms = rows[i].window;
        assert_int_equal(kit_open_os(&os_linux, &k, &p, NULL), rows[i].rc);
    }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_degraded),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_another_pool_notices_nothing),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
