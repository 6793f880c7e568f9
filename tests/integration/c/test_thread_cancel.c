/* The cancellation ladder where a worker has several lanes: what happens to the call that is ended, and what to those beside it. */
#include "integration/c/cancel_kit.h"

enum { LANES = 3 };

static pit_future *submit_marking(pit *p, const char *command)
{
    pit_value *args = pit_pack("[s]", mark_path);
    pit_future *f = NULL;
    long before = marks();
    assert_int_equal(pit_submit(p, command, args, NULL, &f, NULL), 0);
    pit_value_free(args);
    KIT_AWAIT(marks() > before);
    return f;
}

/* A call that reacts on this rung (0: whichever) is ended beside one that runs on. */
static void end_beside(const char *command, const char *rung, struct setting s, bool same_worker, int beside_rc)
{
    enum { TRIES = 5 };
    struct kit_before before = kit_before();
    s.threads = LANES;
    pit *p = open_work(s);
    for (int i = 0;; i++) {
        int64_t pid = worker_pid(p);
        unsigned n = told();
        pit_future *beside = submit_marking(p, "hold"), *victim = submit_marking(p, command);
        assert_int_equal(pit_future_cancel(victim, "enough"), 0);
        assert_int_equal(kit_outcome(victim, NULL), PIT_E_CANCELLED);
        struct told t = await_told(n);
        assert_string_equal(t.command, command);
        assert_true((t.raise_ms > 0) == (t.rung[0] >= '3') && (t.kill_ms > 0) == (t.rung[0] >= '4'));
        bool late = rung[0] == '3' && t.rung[0] == '4'; /* it got no CPU for half a second: this was no try */
        if (t.rung[0] < '4') {
            assert_int_equal(pit_future_wait(beside, PIT_NOW), PIT_E_PENDING);
            unlink(mark_path);
        }
        int rc = kit_outcome(beside, NULL);
        unlink(mark_path);
        mark_begin();
        if (late && i + 1 < TRIES)
            continue;
        assert_string_equal(t.rung, rung);
        assert_int_equal(rc, beside_rc);
        assert_true((worker_pid(p) == pid) == same_worker);
        break;
    }
    close_work(p, before, command);
}

static void test_flag(void **state)
{
    (void)state;
    end_beside("polite", "2", (struct setting){.adapter = "Threaded", .grace_ms = LONG_MS}, true, 0);
    end_beside("wait", "2", (struct setting){.adapter = "Threaded", .grace_ms = LONG_MS}, true, 0);
    end_beside("polite_task", "2", (struct setting){.adapter = "Threaded", .grace_ms = LONG_MS}, true, 0);
}

/* The exception comes up in that call's thread; the worker makes room for another once the calls beside it have ended. */
static void test_raise(void **state)
{
    (void)state;
    struct setting s = {.adapter = "Threaded", .grace_ms = SHORT_MS};
    end_beside("spin", "3", s, false, 0);
    end_beside("block", "3", s, false, 0);
    s.adapter = "ThreadedSurvivor";
    end_beside("spin", "3", s, true, 0);
    end_beside("block", "3", s, true, 0);
}

/* What does not react costs the worker, and each call beside it one typed error. */
static void test_kill(void **state)
{
    (void)state;
    struct setting s = {.adapter = "Threaded", .grace_ms = SHORT_MS};
    end_beside("doze", "4", s, false, PIT_E_WORKER_KILLED);
    end_beside("swallow", "4", s, false, PIT_E_WORKER_KILLED);
    end_beside("native", "4", s, false, PIT_E_WORKER_KILLED);
}

/* Below the last rung nobody else is disturbed, whatever the call does. */
static void test_max_rung(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p =
        open_work((struct setting){.adapter = "Threaded", .grace_ms = SHORT_MS, .max_rung = PIT_RUNG_RAISE, .threads = LANES});
    int64_t pid = worker_pid(p), n = 0;
    pit_future *victim = submit_marking(p, "hold"), *beside = submit_marking(p, "hold");
    assert_int_equal(pit_future_cancel(victim, NULL), 0);
    assert_int_equal(kit_outcome(victim, NULL), PIT_E_CANCELLED);
    assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(worker_pid(p), pid);
    unlink(mark_path);
    assert_int_equal(kit_outcome(beside, NULL), 0);
    assert_true(await_told(0).rung[0] <= '3');
    close_work(p, before, "max rung");
}

/* All lanes at once: each call gets its own exception. */
static void test_all(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_work(
        (struct setting){.adapter = "ThreadedSurvivor", .grace_ms = SHORT_MS, .max_rung = PIT_RUNG_RAISE, .threads = LANES});
    for (int round = 0; round < 5; round++) {
        pit_future *f[LANES];
        unsigned n = told();
        for (int i = 0; i < LANES; i++)
            f[i] = submit_marking(p, i == 1 ? "block" : "spin");
        for (int i = 0; i < LANES; i++)
            assert_int_equal(pit_future_cancel(f[i], NULL), 0);
        for (int i = 0; i < LANES; i++)
            assert_int_equal(kit_outcome(f[i], NULL), PIT_E_CANCELLED);
        for (unsigned i = 0; i < LANES; i++)
            assert_string_equal(await_told(n + i).rung, "3");
    }
    assert_int_equal(kit_stats(p).restarts, 0);
    close_work(p, before, "all");
}

/* ---- late and early ---- */

/* Brief calls on all lanes, each ended at some moment of its short life, and others beside and behind them that nobody ends: none of those
 * may ever hear of it. */
static void storm(const char *command, unsigned tries)
{
    enum { VICTIMS = 2, OTHERS = 5 };
    struct kit_before before = kit_before();
    pit *p = open_work(
        (struct setting){.adapter = "ThreadedSurvivor", .grace_ms = PIT_NOW, .max_rung = PIT_RUNG_RAISE, .threads = LANES});
    volatile uint64_t *begun = map_begun();
    unsigned seed = 11, cancelled = 0;
    for (unsigned i = 0; i < tries; i += VICTIMS) {
        pit_future *victims[VICTIMS], *others[OTHERS];
        int64_t n = 0;
        for (int k = 0; k < VICTIMS; k++)
            victims[k] = submit_victim(p, command, begun, &seed);
        for (int k = 0; k < OTHERS; k++)
            others[k] = kit_submit(p, command, 50 + k, NULL);
        for (int k = VICTIMS; k-- > 0;)
            assert_int_equal(pit_future_cancel(victims[k], NULL), 0);
        for (int k = 0; k < OTHERS; k++) {
            assert_int_equal(kit_outcome(others[k], &n), 0);
            assert_int_equal(n, 50 + k);
        }
        for (int k = 0; k < VICTIMS; k++) {
            int rc = kit_outcome(victims[k], NULL);
            assert_true(rc == 0 || rc == PIT_E_CANCELLED);
            cancelled += rc == PIT_E_CANCELLED;
        }
    }
    pit_stats s = kit_stats(p);
    assert_int_equal(s.cancelled, cancelled);
    assert_int_equal(s.restarts, 0);
    KIT_AWAIT(told_up_to_raise() == cancelled);
    printf("%s, %u tries: %u cancelled before they had ended, %u by rung 1, %u by 2, %u by 3; %lld were interrupted\n", command,
           tries, cancelled, book.rungs[1], book.rungs[2], book.rungs[3], (long long)ask(p, "interrupted"));
    munmap((void *)(uintptr_t)begun, 8);
    close_work(p, before, "late and early");
}

static void test_late_and_early(void **state)
{
    (void)state;
    const char *tries = getenv("SNAKEPIT_CANCEL_TRIES");
    unsigned n = tries != NULL ? (unsigned)strtoul(tries, NULL, 10) : 1000;
    storm("brief", n);
    storm("brief_task", n / 5);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flag),     cmocka_unit_test(test_raise), cmocka_unit_test(test_kill),
        cmocka_unit_test(test_max_rung), cmocka_unit_test(test_all),   cmocka_unit_test(test_late_and_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
