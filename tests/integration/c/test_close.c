/* Ways to end: one worker, all of them, the whole host; in calm, in the middle of calls, and with processes that do not react. */
#include "integration/c/kit.h"

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

/* Zombies count as gone: the guard reaps them in a moment. */
static bool is_gone(pid_t pid)
{
    struct os_proc info;
    return os_linux.proc_info(pid, &info) != 0 || info.state == 'Z' || info.state == 'X';
}

/* ---- pit_kill ---- */

static void test_kill(void **state)
{
    (void)state;
    for (int drive = PIT_DRIVE_THREAD; drive <= PIT_DRIVE_HOST; drive++)
        for (int64_t grace = 0; grace <= 2000; grace += 2000) {
            struct kit_before before = kit_before();
            struct kit k = KIT_INIT;
            pit_error *e = NULL;
            k.drive = drive;
            pit *p = kit_open(&k);
            pid_t pid = kit_worker(p, 0);
            pit_future *f = kit_submit(p, "gate", 1, NULL);
            KIT_AWAIT(atomic_load(&stage->arrived) == 1);
            assert_int_equal(pit_kill(p, "c/0.1", grace, NULL), 0);
            assert_true(is_gone(pid));
            assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
            assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_WORKER_KILLED);
            assert_true(pit_error_retriable(e));
            pit_error_free(e);
            pit_future_free(f);
            kit_open_gate();
            assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
            assert_int_equal(pit_kill(p, "c/0.1", grace, NULL), 0); /* an old generation */
            assert_int_equal(kit_stats(p).crashes, 0);
            assert_int_equal(kit_stats(p).restarts, 1);
            settle(p, before, "killed");
        }
}

/* One that is stopped does not hear SIGTERM. */
static void test_kill_one_that_is_stopped(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    pid_t pid = kit_worker(p, 0);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(pit_kill(p, "c/0.1", 50, NULL), 0);
    assert_true(is_gone(pid));
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    settle(p, before, "stopped, then killed");
}

static void test_kill_nobody(void **state)
{
    (void)state;
    static const char *const never[] = {
        "", "c", "c/0", "c/0.", "c/0.2", "c/0.0", "c/1.1", "c/0.1x", "d/0.1", "c/0.-1", "c/0.99999999999999999999"};
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit_error *e = NULL;
    pit *p = kit_open(&k);
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        assert_int_equal(pit_kill(p, never[i], 0, &e), PIT_E_WORKER_NOT_FOUND);
        pit_error_free(e);
    }
    assert_int_equal(pit_kill(p, NULL, 0, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_kill(p, "c/0.1", PIT_INFINITE, NULL), PIT_E_INVALID_TIMEOUT);
    assert_int_equal(kit_stats(p).restarts, 0);
    settle(p, before, "killed nobody");
}

/* ---- pit_cleanup ---- */

static void *call_gate(void *arg)
{
    return (void *)(intptr_t)pit_callf(arg, "gate", NULL, NULL, NULL, "[i]", 1);
}

static int note_count(const pit_event *ev, void *user)
{
    double count = -1;
    pit_event_number(ev, "count", &count);
    atomic_store((atomic_int *)user, (int)count);
    return 0;
}

static void test_cleanup(void **state)
{
    (void)state;
    for (int drive = PIT_DRIVE_THREAD; drive <= PIT_DRIVE_HOST; drive++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        pthread_t thread;
        void *rc = NULL;
        k.workers = 3;
        k.drive = drive;
        pit *p = kit_open(&k);
        atomic_int told = -1;
        assert_int_equal(pit_telemetry_attach(p, "snakepit.cleanup.start", note_count, &told, NULL, NULL), 0);
        assert_int_equal(pthread_create(&thread, NULL, call_gate, p), 0);
        KIT_AWAIT(atomic_load(&stage->arrived) == 1);
        pit_future *f = kit_submit(p, "gate", 1, NULL);
        KIT_AWAIT(atomic_load(&stage->arrived) == 2);
        assert_int_equal(kill(kit_worker(p, 2), SIGSTOP), 0);
        assert_int_equal(pit_cleanup(p, NULL), 0);
        assert_int_equal(atomic_load(&told), 3);
        assert_int_equal(os_linux.kill_by_env(kit_mark), 0); /* nobody was left to be killed */
        pthread_join(thread, &rc);
        assert_int_equal((intptr_t)rc, PIT_E_SHUTTING_DOWN);
        assert_int_equal(kit_outcome(f, NULL), PIT_E_SHUTTING_DOWN);
        assert_int_equal(kit_call(p, "echo", 1, 0, NULL), PIT_E_SHUTTING_DOWN);
        assert_int_equal(pit_cleanup(p, NULL), 0);
        assert_int_equal(kit_stats(p).workers, 0);
        settle(p, before, "cleaned up");
    }
}

/* ---- pit_close ---- */

/* Idle workers that do not react are killed after their grace, also where the close as a whole may take for ever; they are no survivors. */
static void test_close_with_stopped_workers(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pit_pool_options pool;
    k.workers = 4;
    k.pool.graceful_shutdown_timeout_ms = 100;
    kit_pool(&k, "c", command, env, &pool);
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    o.shutdown_timeout_ms = PIT_INFINITE;
    pit *p = NULL;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(kill(kit_worker(p, i), SIGSTOP), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "stopped workers");
}

static int count_crash(const pit_event *ev, void *user)
{
    (void)ev;
    atomic_fetch_add((atomic_int *)user, 1);
    return 0;
}

/* So is a guard that is stopped: what it cannot end any more, the host ends. How the workers ended nobody tells then, but it was as they were told. */
static void test_close_with_a_stopped_guard(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.workers = 2;
    pit *p = kit_open(&k);
    atomic_int crashes = 0;
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.crash", count_crash, &crashes, NULL, NULL), 0);
    assert_int_equal(kill(kit_guard(), SIGSTOP), 0);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(atomic_load(&crashes), 0);
    kit_clean(before, "stopped guard");
}

/* ---- from a callback ---- */

struct inside {
    pit *p;
    int rcs[5];
    atomic_bool done;
};

static int on_event(const pit_event *ev, void *user)
{
    struct inside *in = user;
    (void)ev;
    if (atomic_load(&in->done))
        return 0;
    in->rcs[0] = pit_kill(in->p, "c/0.1", 0, NULL);
    in->rcs[1] = pit_cleanup(in->p, NULL);
    in->rcs[2] = pit_shutdown(in->p);
    in->rcs[3] = pit_close(in->p);
    in->rcs[4] = pit_pool_stop(in->p, "c", 0, NULL);
    atomic_store(&in->done, true);
    return 0;
}

static void test_from_a_callback(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct inside in = {.p = kit_open(&k)};
    assert_int_equal(pit_telemetry_attach(in.p, "snakepit.call.stop", on_event, &in, NULL, NULL), 0);
    assert_int_equal(kit_call(in.p, "echo", 1, 0, NULL), 0);
    KIT_AWAIT(atomic_load(&in.done));
    for (int i = 0; i < 5; i++)
        assert_int_equal(in.rcs[i], PIT_E_WRONG_THREAD);
    assert_int_equal(kit_call(in.p, "echo", 1, 0, NULL), 0);
    assert_int_equal(kit_stats(in.p).restarts, 0);
    settle(in.p, before, "from a callback");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_kill_one_that_is_stopped),
        cmocka_unit_test(test_kill_nobody),
        cmocka_unit_test(test_cleanup),
        cmocka_unit_test(test_close_with_stopped_workers),
        cmocka_unit_test(test_close_with_a_stopped_guard),
        cmocka_unit_test(test_from_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
