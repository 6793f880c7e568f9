/* The mechanisms of a pool, each with the event that it is for: taking back, cancelling, deadlines, back-off, failing and mending, the queue. */
#include "integration/c/kit.h"

static void settle(pit *p, struct kit_before before, const char *what)
{
    kit_open_gate();
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

/* Makes the pool believe that "gate" is short, so that it is written ahead. */
static void make_short(pit *p)
{
    kit_open_gate();
    for (int i = 0; i < 200; i++)
        assert_int_equal(kit_outcome(kit_submit(p, "gate", STAGE_RUNS - 1, NULL), NULL), 0);
    atomic_store(&stage->go, 0);
    atomic_store(&stage->arrived, 0);
}

static void test_taken_back(void **state)
{
    (void)state;
    enum { N = 20 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.workers = 2;
    pit *p = kit_open(&k);
    make_short(p);
    pit_future *f[N];
    for (int i = 0; i < N; i++)
        f[i] = kit_submit(p, "gate", i, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 2);
    kit_open_gate();
    for (int i = 0; i < N; i++) {
        int64_t n = -1;
        assert_int_equal(kit_outcome(f[i], &n), 0);
        assert_int_equal(n, i);
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
    }
    settle(p, before, "taken back");
}

/* One lane is stuck; what was written behind it runs on the other. */
static void test_taken_back_to_another(void **state)
{
    (void)state;
    enum { N = 40 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.workers = 2;
    pit *p = kit_open(&k);
    for (int i = 0; i < 300; i++)
        assert_int_equal(kit_outcome(kit_submit(p, "run", STAGE_RUNS - 1, NULL), NULL), 0);
    pit_future *slow = kit_submit(p, "gate", STAGE_RUNS - 1, NULL), *f[N];
    for (int i = 0; i < N; i++)
        f[i] = kit_submit(p, "run", i, NULL);
    for (int i = 0; i < N; i++) {
        assert_int_equal(kit_outcome(f[i], NULL), 0);
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
    }
    assert_int_equal(pit_future_wait(slow, 0), PIT_E_PENDING);
    kit_open_gate();
    assert_int_equal(kit_outcome(slow, NULL), 0);
    settle(p, before, "taken back to another");
}

static int cancel_one(pit *p, pit_future *f)
{
    (void)p;
    assert_int_equal(pit_future_cancel(f, "no longer wanted"), 0);
    assert_int_equal(pit_future_cancel(f, "again"), 0);
    return kit_outcome(f, NULL);
}

static void test_cancel(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.cancel_grace_ms = 2 * KIT_LIMIT_MS; /* nobody is killed here */
    pit *p = kit_open(&k);
    make_short(p);
    pit_future *running = kit_submit(p, "gate", 0, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    pit_future *behind = kit_submit(p, "gate", 1, NULL), *queued = kit_submit(p, "echo", 2, NULL),
               *last = kit_submit(p, "run", 3, NULL);
    assert_int_equal(cancel_one(p, behind), PIT_E_CANCELLED);
    assert_int_equal(cancel_one(p, queued), PIT_E_CANCELLED);
    pid_t pid = kit_worker(p, 0);
    assert_int_equal(cancel_one(p, running), PIT_E_CANCELLED);
    assert_int_equal(pit_future_wait(last, 20), PIT_E_PENDING);
    kit_open_gate();
    assert_int_equal(kit_outcome(last, NULL), 0);
    assert_int_equal(atomic_load(&stage->runs[0]), 1);
    assert_int_equal(atomic_load(&stage->runs[1]), 0);
    assert_int_equal(kit_worker(p, 0), pid);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.cancelled, 3);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    settle(p, before, "cancel");
}

/* A call that is at the gate when its deadline comes. */
static void miss_deadline(pit *p, bool async)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = 30;
    int rc = async ? kit_outcome(kit_submit(p, "gate", 0, &o), NULL) : kit_call(p, "gate", 0, o.timeout_ms, NULL);
    assert_int_equal(rc, PIT_E_DEADLINE_EXCEEDED);
}

/* In both channels, by both kinds of callers: the call returns at its deadline, and its worker is killed and replaced if it goes on. */
static void deadline_kills(const char *channel, bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.channel = channel;
    k.pool.cancel_grace_ms = 30;
    pit *p = kit_open(&k);
    pid_t pid = kit_worker(p, 0);
    miss_deadline(p, async);
    int64_t n = 0;
    assert_int_equal(kit_call(p, "pid", 0, 0, &n), 0);
    assert_true(n != pid);
    assert_int_equal(kit_stats(p).restarts, 1);
    settle(p, before, "deadline kills");
}

static void test_deadline_kills(void **state)
{
    (void)state;
    deadline_kills("ring", false);
    deadline_kills("ring", true);
    deadline_kills("socket", false);
    deadline_kills("socket", true);
}

/* A worker that reacts within the grace lives on. */
static void deadline_spares(const char *channel, bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.channel = channel;
    k.pool.cancel_grace_ms = 2 * KIT_LIMIT_MS;
    pit *p = kit_open(&k);
    pid_t pid = kit_worker(p, 0);
    miss_deadline(p, async);
    kit_open_gate();
    int64_t n = 0;
    assert_int_equal(kit_call(p, "pid", 0, KIT_LIMIT_MS, &n), 0);
    assert_int_equal(n, pid);
    settle(p, before, "deadline spares");
}

static void test_deadline_spares(void **state)
{
    (void)state;
    deadline_spares("ring", false);
    deadline_spares("ring", true);
    deadline_spares("socket", false);
    deadline_spares("socket", true);
}

static void test_back_off(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    uint64_t began = 0;
    for (int i = 0; i < 4; i++) {
        began = pit_now_ns();
        assert_int_equal(kit_call(p, "die", SIGKILL, 0, NULL), PIT_E_WORKER_CRASH);
    }
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_true(pit_now_ns() - began >= UINT64_C(100000000)); /* the delay is a promise: never earlier */
    pit_stats s = kit_stats(p);
    assert_int_equal(s.crashes, 4);
    assert_int_equal(s.restarts, 4);
    settle(p, before, "back-off");
}

static void test_failed_and_mended(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    atomic_store(&stage->refuse, 1);
    assert_int_equal(kit_open_os(&os_linux, &k, &p, &e), PIT_E_NO_WORKERS_STARTED);
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_ADAPTER_INIT_FAILED);
    assert_null(p);
    pit_error_free(e);
    atomic_store(&stage->refuse, 0);
    p = kit_open(&k);
    atomic_store(&stage->refuse, 1);
    assert_int_equal(kit_call(p, "die", SIGKILL, 0, NULL), PIT_E_WORKER_CRASH);
    assert_int_equal(pit_callf(p, "echo", NULL, NULL, &e, "[i]", 1), PIT_E_POOL_NOT_INITIALIZED);
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_ADAPTER_INIT_FAILED);
    pit_error_free(e);
    assert_int_equal(pit_await_ready(p, NULL, KIT_LIMIT_MS, NULL), PIT_E_POOL_NOT_INITIALIZED);
    atomic_store(&stage->refuse, 0);
    KIT_AWAIT(kit_call(p, "echo", 1, 0, NULL) == 0);
    assert_int_equal(pit_await_ready(p, NULL, 0, NULL), 0);
    settle(p, before, "failed and mended");
}

static void test_start_timeout(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.worker_ready_timeout_ms = 50;
    pit *p = NULL;
    pit_error *e = NULL;
    atomic_store(&stage->mute, 1);
    assert_int_equal(kit_open_os(&os_linux, &k, &p, &e), PIT_E_NO_WORKERS_STARTED);
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_START_TIMEOUT);
    pit_error_free(e);
    kit_clean(before, "start timeout");
    kit_reset_stage();
}

static void note(pit_future *f, void *user)
{
    static atomic_int count;
    int64_t n = 0;
    pit_value *v = NULL;
    if (pit_future_result(f, &v, NULL) == 0)
        pit_value_get_int(v, &n);
    pit_value_free(v);
    atomic_store((atomic_int *)user + n, atomic_fetch_add(&count, 1) + 1);
}

static void test_priorities(void **state)
{
    (void)state;
    static const int priorities[] = {PIT_PRIORITY_BACKGROUND, PIT_PRIORITY_NORMAL, PIT_PRIORITY_HIGH, PIT_PRIORITY_URGENT};
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    pit_future *first = kit_submit(p, "gate", 9, NULL), *f[4];
    atomic_int order[10] = {0};
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    for (int i = 0; i < 4; i++) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.priority = priorities[i];
        f[i] = kit_submit(p, "run", i, &o);
        pit_future_on_done(f[i], note, order);
    }
    kit_open_gate();
    assert_int_equal(kit_outcome(first, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(kit_outcome(f[i], NULL), 0);
    for (int i = 0; i < 4; i++)
        KIT_AWAIT(atomic_load(&order[i]) != 0);
    for (int i = 1; i < 4; i++)
        assert_true(atomic_load(&order[i]) < atomic_load(&order[i - 1]));
    settle(p, before, "priorities");
}

static void test_queue_timeout(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.queue_timeout_ms = 40;
    pit *p = kit_open(&k);
    pit_future *running = kit_submit(p, "gate", 0, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(kit_call(p, "echo", 1, PIT_INFINITE, NULL), PIT_E_QUEUE_TIMEOUT);
    assert_int_equal(kit_outcome(kit_submit(p, "echo", 1, NULL), NULL), PIT_E_QUEUE_TIMEOUT);
    kit_open_gate();
    assert_int_equal(kit_outcome(running, NULL), 0);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.queue_timeouts, 2);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    settle(p, before, "queue timeout");
}

static void test_queue_limits(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.max_queue_size = 2;
    k.pool.queue_timeout_ms = KIT_LIMIT_MS;
    pit *p = kit_open(&k);
    pit_future *running = kit_submit(p, "gate", 0, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.fail_fast = PIT_ON;
    assert_int_equal(pit_callf(p, "echo", &o, NULL, NULL, "[i]", 1), PIT_E_NO_WORKERS_AVAILABLE);
    assert_int_equal(pit_submit(p, "echo", NULL, &o, NULL, NULL), PIT_E_NO_WORKERS_AVAILABLE);
    assert_int_equal(kit_call(p, "echo", 1, 10, NULL), PIT_E_DEADLINE_EXCEEDED);
    o = (pit_call_options)PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = 10;
    assert_int_equal(kit_outcome(kit_submit(p, "echo", 1, &o), NULL), PIT_E_DEADLINE_EXCEEDED);
    o.timeout_ms = PIT_INFINITE;
    pit_future *waiting[] = {kit_submit(p, "echo", 1, &o), kit_submit(p, "echo", 1, &o)};
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), PIT_E_POOL_SATURATED);
    assert_int_equal(pit_submit(p, "echo", NULL, NULL, NULL, NULL), PIT_E_POOL_SATURATED);
    kit_open_gate();
    assert_int_equal(kit_outcome(running, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kit_outcome(waiting[i], NULL), 0);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.queue_timeouts, 0);
    assert_int_equal(s.pool_saturated, 2);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    settle(p, before, "queue limits");
}

/* Each costs the started call one typed error and nothing else. */
static void test_misbehaviour(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        int64_t n;
        int rc;
    } rows[] = {{"exit", 3, PIT_E_WORKER_CRASH},      {"exit", 0, PIT_E_WORKER_CRASH},  {"die", SIGSEGV, PIT_E_WORKER_CRASH},
                {"die", SIGABRT, PIT_E_WORKER_CRASH}, {"close", 0, PIT_E_WORKER_CRASH}, {"halfclose", 0, PIT_E_WORKER_CRASH},
                {"garbage", 0, PIT_E_PROTOCOL_ERROR}};
    static const char *const channels[] = {"ring", "socket"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int j = 0; j < 4; j++) {
            struct kit_before before = kit_before();
            struct kit k = KIT_INIT;
            k.channel = channels[j % 2];
            pit *p = kit_open(&k);
            int rc = j < 2 ? kit_call(p, rows[i].command, rows[i].n, PIT_INFINITE, NULL)
                           : kit_outcome(kit_submit(p, rows[i].command, rows[i].n, NULL), NULL);
            if (rc != rows[i].rc)
                fail_msg("%s on a %s, %s: %s", rows[i].command, k.channel, j < 2 ? "blocking" : "as a future",
                         pit_error_code_name(rc));
            assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
            settle(p, before, rows[i].command);
        }
    }
}

static void test_unstarted_run_elsewhere(void **state)
{
    (void)state;
    enum { N = 30 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    make_short(p);
    pit_future *f[N];
    for (int i = 0; i < N; i++)
        f[i] = kit_submit(p, "gate", i, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(kill(kit_worker(p, 0), SIGKILL), 0);
    kit_open_gate();
    int crashed = 0;
    for (int i = 0; i < N; i++) {
        int rc = kit_outcome(f[i], NULL);
        crashed += rc == PIT_E_WORKER_CRASH;
        assert_true(rc == 0 || rc == PIT_E_WORKER_CRASH);
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
    }
    assert_int_equal(crashed, 1);
    settle(p, before, "unstarted run elsewhere");
}

static void test_flood(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    assert_int_equal(kit_call(p, "flood", 8 << 20, 0, NULL), 0);
    uint64_t dropped = 0;
    do {
        pit_worker_list *l = NULL;
        assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
        dropped = pit_worker_list_at(l, 0)->dropped_output_bytes;
        pit_worker_list_free(l);
    } while (dropped == 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    settle(p, before, "flood");
}

/* Frames larger than the ring, both ways. */
static void test_large(void **state)
{
    (void)state;
    enum { BIG = 3 << 20 };
    static char bytes[BIG];
    static const char *const channels[] = {"ring", "socket"};
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.channel = channels[i];
        pit *p = kit_open(&k);
        pit_value *v = NULL;
        assert_int_equal(pit_callf(p, "blob", NULL, &v, NULL, "[y]", bytes, sizeof bytes), 0);
        assert_int_equal(pit_value_len(v), BIG);
        pit_value_free(v);
        v = pit_bytes(bytes, sizeof bytes);
        pit_future *f = NULL;
        assert_int_equal(pit_submit(p, "blob", v, NULL, &f, NULL), 0);
        pit_value_free(v);
        assert_int_equal(kit_outcome(f, NULL), 0);
        settle(p, before, "large");
    }
}

/* The caller leaves in the middle of a frame that the worker does not read: the worker gets the rest, or is replaced. */
static void test_deadline_in_large(void **state)
{
    (void)state;
    enum { BIG = 3 << 20 };
    static char bytes[BIG];
    for (int async = 0; async < 2; async++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.pool.cancel_grace_ms = 2 * KIT_LIMIT_MS;
        pit *p = kit_open(&k);
        pid_t pid = kit_worker(p, 0);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.timeout_ms = 30;
        if (async == 0) {
            assert_int_equal(pit_callf(p, "blob", &o, NULL, NULL, "[y]", bytes, sizeof bytes), PIT_E_DEADLINE_EXCEEDED);
        } else {
            pit_value *v = pit_bytes(bytes, sizeof bytes);
            pit_future *f = NULL;
            assert_int_equal(pit_submit(p, "blob", v, &o, &f, NULL), 0);
            pit_value_free(v);
            assert_int_equal(kit_outcome(f, NULL), PIT_E_DEADLINE_EXCEEDED);
        }
        assert_int_equal(kill(pid, SIGCONT), 0);
        int64_t n = 0;
        assert_int_equal(kit_call(p, "pid", 0, KIT_LIMIT_MS, &n), 0);
        assert_int_equal(n, pid);
        settle(p, before, "deadline in a large frame");
    }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_taken_back_to_another),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_deadline_kills),
        cmocka_unit_test(test_deadline_spares),
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_failed_and_mended),
        cmocka_unit_test(test_start_timeout),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_queue_timeout),
        cmocka_unit_test(test_queue_limits),
        cmocka_unit_test(test_misbehaviour),
        cmocka_unit_test(test_unstarted_run_elsewhere),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_deadline_in_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
