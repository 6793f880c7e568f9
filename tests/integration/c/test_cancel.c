/* The cancellation ladder, on real Python: each rung, whatever the end of the call came by, and what becomes of the worker. */
#include <errno.h>
#include <semaphore.h>

#include "integration/c/cancel_kit.h"

/* ---- ends ---- */

enum way { BY_DEADLINE, BY_FUTURE_DEADLINE, BY_FUTURE, BY_CANCELLER, WAYS };

struct caller {
    pit *p;
    const char *command;
    pit_call_options o;
    pit_error *e;
    int rc;
};

static void *call_it(void *arg)
{
    struct caller *c = arg;
    c->rc = pit_callf(c->p, c->command, &c->o, NULL, &c->e, "[s]", mark_path);
    return NULL;
}

static void end_future(struct caller *c, bool cancel, long before)
{
    pit_future *f = NULL;
    pit_value *args = pit_pack("[s]", mark_path);
    assert_int_equal(pit_submit(c->p, c->command, args, &c->o, &f, NULL), 0);
    pit_value_free(args);
    if (cancel) {
        KIT_AWAIT(marks() > before);
        assert_int_equal(pit_future_cancel(f, "by future"), 0);
    }
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    c->rc = pit_future_result(f, NULL, &c->e);
    pit_future_free(f);
}

static void fire_canceller(struct caller *c, long before)
{
    pthread_t thread;
    c->o.canceller = pit_canceller_new();
    assert_int_equal(pthread_create(&thread, NULL, call_it, c), 0);
    KIT_AWAIT(marks() > before);
    assert_int_equal(pit_canceller_fire(c->o.canceller, "by canceller"), 0);
    pthread_join(thread, NULL);
    pit_canceller_free(c->o.canceller);
}

/* The outcome of a call that was ended while it ran. A deadline may come before it has begun, on a busy machine: then this was no try, and
 * the next one has more time. */
static int end_call(pit *p, const char *command, enum way way, int max_rung, int64_t *ret_rung)
{
    for (int64_t timeout_ms = 200;; timeout_ms *= 2) {
        struct caller c = {.p = p, .command = command, .o = PIT_CALL_OPTIONS_INIT};
        long before = marks();
        unsigned n = told();
        c.o.cancel_max_rung = max_rung;
        if (way == BY_DEADLINE || way == BY_FUTURE_DEADLINE)
            c.o.timeout_ms = timeout_ms;
        if (way == BY_DEADLINE)
            call_it(&c);
        else if (way == BY_CANCELLER)
            fire_canceller(&c, before);
        else
            end_future(&c, way == BY_FUTURE, before);
        *ret_rung = rung_of(c.e);
        pit_error_free(c.e);
        if (way == BY_FUTURE || way == BY_CANCELLER)
            return c.rc;
        worker_pid(p); /* the ladder has ended */
        if (marks() > before)
            return c.rc;
        await_told(n);
        forget_told(n);
    }
}

static const char *reason_of(enum way way)
{
    static const char *const reasons[WAYS] = {"deadline_exceeded", "deadline_exceeded", "by future", "by canceller"};
    return reasons[way];
}

static void check_times(const struct told *t)
{
    double waits = t->flag_ms + t->raise_ms + t->kill_ms;
    assert_true(t->flag_ms >= 0 && t->raise_ms >= 0 && t->kill_ms >= 0);
    assert_true(t->total_ms + 1 >= waits);
}

/* One end of a call that reacts on this rung; the worker's pid afterwards. A worker that got no CPU for so long that it went one rung further
 * proves nothing: then this was no try. */
static int64_t climb_by(pit *p, const char *command, const char *rung, enum way way, bool same_worker, int64_t pid)
{
    enum { TRIES = 5 };
    bool by_deadline = way == BY_DEADLINE || way == BY_FUTURE_DEADLINE;
    for (int i = 0;; i++) {
        int64_t first = 0;
        unsigned n = told();
        int rc = end_call(p, command, way, 0, &first);
        assert_int_equal(rc, by_deadline ? PIT_E_DEADLINE_EXCEEDED : PIT_E_CANCELLED);
        assert_int_equal(first, PIT_RUNG_FLAG);
        struct told t = await_told(n);
        assert_string_equal(t.command, command);
        assert_string_equal(t.reason, reason_of(way));
        assert_true(strncmp(t.worker, "work/", 5) == 0);
        check_times(&t);
        assert_true((t.raise_ms > 0) == (t.rung[0] >= '3') && (t.kill_ms > 0) == (t.rung[0] >= '4'));
        int64_t now = worker_pid(p);
        if (i + 1 < TRIES && rung[0] == '3' && t.rung[0] == '4') {
            forget_told(n);
            pid = now;
            continue;
        }
        if (strcmp(t.rung, rung) != 0)
            fail_msg("%s, way %d: rung %s instead of %s (%.1f %.1f %.1f ms)", command, way, t.rung, rung, t.flag_ms, t.raise_ms,
                     t.kill_ms);
        if (rung[0] >= '4')
            assert_true(t.raise_ms >= RAISE_MS);
        assert_true((now == pid) == same_worker);
        return now;
    }
}

/* Each way of ending a call that reacts on this rung, one after the other on one pool. */
static void climb_to(const char *command, const char *rung, struct setting s, bool same_worker)
{
    struct kit_before before = kit_before();
    pit *p = open_work(s);
    int64_t pid = worker_pid(p);
    for (int way = 0; way < WAYS; way++)
        pid = climb_by(p, command, rung, way, same_worker, pid);
    assert_int_equal(told(), WAYS);
    assert_int_equal(kit_stats(p).recycled_cancelled, rung[0] == '3' && !same_worker ? WAYS : 0);
    close_work(p, before, command);
}

static void on_both(const char *command, const char *rung, int64_t grace_ms, bool same_worker)
{
    struct setting s = {.grace_ms = grace_ms, .channel = PIT_CHANNEL_RING};
    climb_to(command, rung, s, same_worker);
    s.channel = PIT_CHANNEL_SOCKET;
    climb_to(command, rung, s, same_worker);
}

static void test_flag(void **state)
{
    (void)state;
    on_both("polite", "2", LONG_MS, true);
}

static void test_task(void **state)
{
    (void)state;
    on_both("wait", "2", LONG_MS, true);
    on_both("polite_task", "2", LONG_MS, true);
}

static void test_raise_in_loop(void **state)
{
    (void)state;
    on_both("spin", "3", SHORT_MS, false);
}

static void test_raise_in_sleep(void **state)
{
    (void)state;
    on_both("doze", "3", SHORT_MS, false);
}

/* An async method that blocks its event loop. */
static void test_raise_in_task(void **state)
{
    (void)state;
    on_both("block", "3", SHORT_MS, false);
}

static void test_survivor(void **state)
{
    (void)state;
    struct setting s = {.adapter = "Survivor", .grace_ms = PIT_NOW, .channel = PIT_CHANNEL_RING};
    climb_to("spin", "3", s, true);
    s.channel = PIT_CHANNEL_SOCKET;
    climb_to("doze", "3", s, true);
}

static void test_kill(void **state)
{
    (void)state;
    on_both("swallow", "4", SHORT_MS, false);
    on_both("native", "4", SHORT_MS, false);
    struct setting s = {.grace_ms = SHORT_MS, .channel = PIT_CHANNEL_RING};
    climb_to("stop", "4", s, false);
}

/* Who closes at once after the end of a call lets the ladder do its work: Python's `finally` runs, and close() does not wait for more than that. */
static void test_closed_meanwhile(void **state)
{
    (void)state;
    static const enum way ways[] = {BY_FUTURE, BY_CANCELLER};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct kit_before before = kit_before();
        pit *p = open_work((struct setting){.grace_ms = 100});
        int64_t first = 0;
        assert_int_equal(end_call(p, "tidy", ways[i], PIT_RUNG_RAISE, &first),
                         PIT_E_CANCELLED); /* never killed, however slow */
        assert_int_equal(pit_close(p), 0);
        assert_int_equal(marks(), 2);
        unlink(mark_path);
        kit_clean(before, "closed meanwhile");
    }
}

/* Below the last rung the lane stays busy until Python returns; the caller does not wait for it. */
static void test_max_rung(void **state)
{
    (void)state;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    struct kit_before at_first = kit_before();
    pit *q = open_work((struct setting){0});
    for (o.cancel_max_rung = -1; o.cancel_max_rung <= PIT_RUNG_KILL + 1; o.cancel_max_rung += PIT_RUNG_KILL + 2)
        assert_int_equal(pit_call(q, "pid", NULL, &o, NULL, NULL), PIT_E_INVALID_PARAMETER);
    close_work(q, at_first, "bad rung");
    for (int max = PIT_RUNG_DROP; max < PIT_RUNG_KILL; max++) {
        bool of_pool = max == PIT_RUNG_FLAG;
        struct kit_before before = kit_before();
        pit *p = open_work((struct setting){.grace_ms = SHORT_MS, .max_rung = of_pool ? max : 0, .adapter = "Survivor"});
        int64_t pid = worker_pid(p), first = 0;
        assert_int_equal(end_call(p, "hold", BY_FUTURE, of_pool ? 0 : max, &first), PIT_E_CANCELLED);
        assert_int_equal(first, max < PIT_RUNG_FLAG ? max : PIT_RUNG_FLAG);
        pit_future *behind = kit_submit(p, "inc", 1, NULL);
        assert_int_equal(pit_future_wait(behind, SHORT_MS + RAISE_MS + 200), PIT_E_PENDING);
        assert_int_equal(told(), 0);
        unlink(mark_path);
        assert_int_equal(kit_outcome(behind, NULL), 0);
        struct told t = await_told(0);
        assert_int_equal(t.rung[0], '0' + max);
        assert_true((t.flag_ms > 0) == (max >= PIT_RUNG_FLAG) && (t.raise_ms > 0) == (max == PIT_RUNG_RAISE) && t.kill_ms == 0);
        assert_int_equal(worker_pid(p), pid);
        close_work(p, before, "max rung");
    }
}

/* What waits is dropped, at once and before anything else; a batch as well. */
static void test_drop(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_work((struct setting){.grace_ms = LONG_MS});
    pit_future *running = NULL;
    pit_value *args = pit_pack("[s]", mark_path);
    assert_int_equal(pit_submit(p, "hold", args, NULL, &running, NULL), 0);
    KIT_AWAIT(marks() == 1);
    pit_future *waiting = kit_submit(p, "inc", 1, NULL);
    assert_int_equal(pit_future_cancel(waiting, "not needed"), 0);
    pit_error *e = NULL;
    assert_int_equal(pit_future_wait(waiting, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(waiting, NULL, &e), PIT_E_CANCELLED);
    assert_int_equal(rung_of(e), PIT_RUNG_DROP);
    pit_error_free(e);
    assert_int_equal(pit_future_cancel(waiting, "again"), 0);
    pit_future_free(waiting);
    struct told t = await_told(0);
    assert_string_equal(t.rung, "1");
    assert_string_equal(t.reason, "not needed");
    assert_true(t.flag_ms == 0 && t.raise_ms == 0 && t.kill_ms == 0);
    unlink(mark_path);
    assert_int_equal(kit_outcome(running, NULL), 0);
    pit_value_free(args);
    assert_int_equal(told(), 1);
    close_work(p, before, "drop");
}

/* ---- who hears of it first ---- */

static struct {
    sem_t begun, over;
} loop_hold;

static void hold_loop(pit_future *f, void *user)
{
    (void)f, (void)user;
    sem_post(&loop_hold.begun);
    while (sem_wait(&loop_hold.over) != 0 && errno == EINTR)
        ;
}

static void *call_and_say(void *arg)
{
    call_it(arg);
    sem_post(&loop_hold.begun);
    return NULL;
}

static bool has_come(sem_t *s)
{
    return sem_trywait(s) == 0;
}

/* The caller of a cancelled call has his error while the loop is busy with something else. */
static void test_caller_first(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_work((struct setting){.grace_ms = SHORT_MS, .unheard = true});
    pit_value *args = pit_pack("[s]", mark_path);
    pit_future *f = NULL;
    pthread_t thread;
    struct caller c = {.p = p, .command = "spin", .o = PIT_CALL_OPTIONS_INIT};
    sem_init(&loop_hold.begun, 0, 0);
    sem_init(&loop_hold.over, 0, 0);
    assert_int_equal(pit_submit(p, "hold", args, NULL, &f, NULL), 0);
    KIT_AWAIT(marks() == 1);
    assert_int_equal(pit_future_on_done(f, hold_loop, NULL), 0);
    unlink(mark_path);
    KIT_AWAIT(has_come(&loop_hold.begun));
    mark_begin();
    c.o.canceller = pit_canceller_new();
    assert_int_equal(pthread_create(&thread, NULL, call_and_say, &c), 0);
    KIT_AWAIT(marks() == 1);
    assert_int_equal(pit_canceller_fire(c.o.canceller, NULL), 0);
    KIT_AWAIT(has_come(&loop_hold.begun));
    assert_int_equal(c.rc, PIT_E_CANCELLED);
    assert_int_equal(rung_of(c.e), PIT_RUNG_FLAG);
    sem_post(&loop_hold.over);
    pthread_join(thread, NULL);
    assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, NULL), 0);
    pit_error_free(c.e);
    pit_canceller_free(c.o.canceller);
    pit_future_free(f);
    pit_value_free(args);
    close_work(p, before, "caller first");
}

/* A batch: what runs climbs, what has not begun is dropped without an event of its own. */
static void *run_items(void *arg)
{
    struct caller *c = arg;
    enum { N = 20 };
    pit_call_item items[N] = {0};
    pit_call_result results[N];
    pit_value *args = pit_pack("[s]", mark_path);
    for (int i = 0; i < N; i++)
        items[i] = (pit_call_item){.command = "spin", .args = args};
    c->rc = pit_call_many(c->p, items, N, &c->o, results, NULL);
    for (int i = 0; i < N && c->rc == 0; i++)
        c->rc = results[i].rc == PIT_E_CANCELLED ? 0 : results[i].rc;
    pit_call_results_free(results, N);
    pit_value_free(args);
    return NULL;
}

static void test_batch(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_work((struct setting){.grace_ms = SHORT_MS, .workers = 2});
    struct caller c = {.p = p, .o = PIT_CALL_OPTIONS_INIT};
    pthread_t thread;
    c.o.canceller = pit_canceller_new();
    assert_int_equal(pthread_create(&thread, NULL, run_items, &c), 0);
    KIT_AWAIT(marks() == 2);
    assert_int_equal(pit_canceller_fire(c.o.canceller, "enough"), 0);
    pthread_join(thread, NULL);
    assert_int_equal(c.rc, 0);
    pit_canceller_free(c.o.canceller);
    for (unsigned n = 0, raised = 0; raised < 2; n++) /* the one that stood in the queue may have been told of as well */
        raised += await_told(n).rung[0] >= '3';
    assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(marks(), 2);
    close_work(p, before, "batch");
}

/* With the loop driven by its host, which does nothing else. */
static void test_driven(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_work((struct setting){.grace_ms = SHORT_MS, .max_rung = PIT_RUNG_RAISE, .drive = PIT_DRIVE_HOST});
    int64_t pid = worker_pid(p), first = 0;
    assert_int_equal(end_call(p, "doze", BY_DEADLINE, 0, &first), PIT_E_DEADLINE_EXCEEDED);
    assert_true(worker_pid(p) != pid);
    struct told t = await_told(0);
    assert_string_equal(t.rung, "3");
    close_work(p, before, "driven");
}

/* ---- late and early ---- */

/* Brief calls, each ended at some moment of its short life; none of the others may ever hear of it. */
static void storm(int channel, unsigned tries)
{
    enum { AHEAD = 4 };
    struct kit_before before = kit_before();
    pit *p =
        open_work((struct setting){.adapter = "Survivor", .grace_ms = PIT_NOW, .max_rung = PIT_RUNG_RAISE, .channel = channel});
    volatile uint64_t *begun = map_begun();
    unsigned seed = 7, cancelled = 0;
    for (unsigned i = 0; i < tries; i++) {
        int64_t n = 0;
        pit_future *victim = submit_victim(p, "brief", begun, &seed), *behind[AHEAD];
        assert_int_equal(pit_future_cancel(victim, NULL), 0);
        for (int k = 0; k < AHEAD; k++)
            behind[k] = kit_submit(p, "brief", 50 + k, NULL);
        for (int k = 0; k < AHEAD; k++) {
            assert_int_equal(kit_outcome(behind[k], &n), 0);
            assert_int_equal(n, 50 + k);
        }
        int rc = kit_outcome(victim, NULL);
        assert_true(rc == 0 || rc == PIT_E_CANCELLED);
        cancelled += rc == PIT_E_CANCELLED;
    }
    pit_stats s = kit_stats(p);
    assert_int_equal(s.cancelled, cancelled);
    assert_int_equal(s.restarts, 0);
    KIT_AWAIT(told_up_to_raise() == cancelled);
    int64_t hits = ask(p, "interrupted");
    printf("%u tries: %u cancelled before they had ended, %lld of them interrupted; the rest was too early or too late\n",
           tries, cancelled, (long long)hits);
    munmap((void *)(uintptr_t)begun, 8);
    close_work(p, before, "late and early");
}

static void test_late_and_early(void **state)
{
    (void)state;
    const char *tries = getenv("SNAKEPIT_CANCEL_TRIES");
    unsigned n = tries != NULL ? (unsigned)strtoul(tries, NULL, 10) : 1000;
    storm(PIT_CHANNEL_RING, n);
    storm(PIT_CHANNEL_SOCKET, n / 10);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flag),           cmocka_unit_test(test_task),           cmocka_unit_test(test_raise_in_loop),
        cmocka_unit_test(test_raise_in_sleep), cmocka_unit_test(test_raise_in_task),  cmocka_unit_test(test_survivor),
        cmocka_unit_test(test_kill),           cmocka_unit_test(test_max_rung),       cmocka_unit_test(test_closed_meanwhile),
        cmocka_unit_test(test_drop),           cmocka_unit_test(test_caller_first),   cmocka_unit_test(test_batch),
        cmocka_unit_test(test_driven),         cmocka_unit_test(test_late_and_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
