/* Pools whose adapter is in C: the life of adapter and threads, calls that are cancelled or over their time, what is left when a function does not
 * return. What happens when memory or a system call fails: tests/fault/test_kth_life.c. */
#include "integration/c/adapter_kit.h"

/* ---- beginnings and ends ---- */

static void test_callbacks(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.workers = 3;
    pit *p = adapter_open(&a);
    assert_int_equal(atomic_load(&s.inits), 1);
    assert_int_equal(atomic_load(&s.starts), 3);
    int64_t n = -1;
    assert_int_equal(kit_call(p, "data", 0, 0, &n), 0);
    assert_in_range(n, 0, 2);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(atomic_load(&s.stops), 3);
    assert_int_equal(atomic_load(&s.terminates), 1);
    kit_clean(before, "callbacks");
}

static void test_init_fails(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {.refuse = true};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = NULL;
    pit_error *e = NULL;
    assert_int_equal(adapter_open_os(&os_linux, &a, &p, &e), PIT_E_ADAPTER_INIT_FAILED);
    assert_non_null(strstr(pit_error_message(e), "there is no model"));
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_FILE_NOT_FOUND);
    pit_error_free(e);
    assert_int_equal(atomic_load(&s.starts), 0);
    assert_int_equal(atomic_load(&s.terminates), 0);
    kit_clean(before, "init fails");

    a.require_ready = PIT_OFF; /* the host opens; the pool has failed, for good */
    p = adapter_open(&a);
    assert_int_equal(pit_callf(p, "echo", NULL, NULL, &e, ""), PIT_E_POOL_NOT_INITIALIZED);
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_ADAPTER_INIT_FAILED);
    pit_error_free(e);
    assert_int_equal(pit_pool_stop(p, "c", 0, NULL), 0);
    atomic_store(&s.refuse, false); /* its name is free again */
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "c";
    pool.c_adapter = &counting;
    pool.c_adapter_user = &s;
    pool.workers = 1;
    assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_pool_stop(p, "c", 0, NULL), 0);
    assert_int_equal(atomic_load(&s.terminates), 1);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "a failed pool");
}

static void test_start_fails(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {.unready = 1000000};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = NULL;
    pit_error *e = NULL;
    assert_int_equal(adapter_open_os(&os_linux, &a, &p, &e), PIT_E_NO_WORKERS_STARTED);
    const pit_error *cause = pit_error_cause(e);
    assert_int_equal(pit_error_code(cause), PIT_E_ADAPTER_INIT_FAILED);
    assert_non_null(strstr(pit_error_message(cause), "no such device"));
    pit_error_free(e);
    assert_int_equal(atomic_load(&s.terminates), 1);
    atomic_store(&s.unready, 2); /* the third try is good */
    a.require_ready = PIT_OFF;
    p = adapter_open(&a);
    KIT_AWAIT(pit_await_ready(p, NULL, PIT_NOW, NULL) == 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "start fails");
}

static void test_worker_list(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.workers = 2;
    pit *p = adapter_open(&a);
    pit_worker_list *l = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_list_workers(p, "c", &l, NULL), 0);
    assert_int_equal(pit_worker_list_len(l), 2);
    const pit_worker_info *w = pit_worker_list_at(l, 1);
    assert_string_equal(w->id, "c/1.1");
    assert_int_equal(w->pid, 0);
    assert_int_equal(w->start_mode, PIT_START_THREAD);
    assert_string_equal(w->channel, "ring");
    assert_int_equal(w->lanes, 1);
    pit_value *v = NULL;
    assert_int_equal(pit_worker_stack(p, "c", w->id, &v, &e), PIT_E_INVALID_REQUEST);
    assert_null(v);
    assert_string_equal(pit_error_worker(e), "c/1.1");
    pit_error_free(e);
    pit_worker_list_free(l);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "worker list");
}

/* ---- calls that end before their function does ---- */

static void test_deadline(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = adapter_open(&a);
    pit_error *e = NULL;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    int64_t rung = 0;
    o.timeout_ms = 50;
    o.cancel_max_rung = PIT_RUNG_KILL; /* there is nobody who could */
    assert_int_equal(pit_callf(p, "deaf", &o, NULL, &e, ""), PIT_E_DEADLINE_EXCEEDED);
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "rung"), &rung));
    assert_int_equal(rung, PIT_RUNG_FLAG);
    pit_error_free(e);
    assert_int_equal(kit_stats(p).busy, 1); /* its thread goes on */
    pit_future *f = kit_submit(p, "echo", 5, NULL);
    assert_int_equal(pit_future_wait(f, 0), PIT_E_PENDING);
    open_gate(&s);
    assert_int_equal(kit_outcome(f, NULL), 0);
    assert_int_equal(kit_stats(p).crashes, 0);
    assert_int_equal(atomic_load(&s.starts), 1); /* the same thread */
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "deadline");
}

static void test_cancel(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = adapter_open(&a);
    pit_future *f = kit_submit(p, "gate", 1, NULL), *waits = kit_submit(p, "gate", 2, NULL);
    KIT_AWAIT(atomic_load(&s.arrived) == 1);
    assert_int_equal(pit_future_cancel(waits, "not needed"), 0); /* never runs */
    assert_int_equal(pit_future_cancel(f, "enough"), 0);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_CANCELLED);
    assert_int_equal(kit_outcome(waits, NULL), PIT_E_CANCELLED);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0); /* the function has seen it, and returned */
    assert_int_equal(atomic_load(&s.runs), 2);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "cancel");
}

/* ---- workers that make room ---- */

static void only_worker(pit *p, const char *id)
{
    pit_worker_list *l = NULL;
    bool it = false;
    assert_int_equal(pit_list_workers(p, "c", &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        it = pit_worker_list_len(l) == 1 && strcmp(pit_worker_list_at(l, i)->id, id) == 0 &&
             pit_worker_list_at(l, i)->state == PIT_WORKER_READY;
    pit_worker_list_free(l);
    stage->runs[0] = it;
}

static bool has_only(pit *p, const char *id)
{
    only_worker(p, id);
    return stage->runs[0] != 0;
}

static void test_recycling(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = adapter_open(&a);
    assert_int_equal(pit_worker_recycle(p, "c", "c/0.1", NULL), 0);
    KIT_AWAIT(has_only(p, "c/0.2"));
    KIT_AWAIT(atomic_load(&s.stops) == 1);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_kill(p, "c/0.2", 0, NULL), 0);
    KIT_AWAIT(has_only(p, "c/0.3"));
    pit_future *f = kit_submit(p, "deaf", 1, NULL); /* it cannot be killed: it is left to itself, and another takes its place */
    KIT_AWAIT(atomic_load(&s.arrived) == 1);
    assert_int_equal(pit_kill(p, "c/0.3", 0, NULL), 0);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_WORKER_KILLED);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(kit_stats(p).crashes, 0);
    f = kit_submit(p, "gate", 1, NULL); /* with a grace a function may come to its end by itself */
    KIT_AWAIT(atomic_load(&s.arrived) == 2);
    assert_int_equal(pit_kill(p, "c/0.4", KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_CANCELLED); /* what it has answered counts */
    KIT_AWAIT(atomic_load(&s.stops) == 3);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    open_gate(&s);
    KIT_AWAIT(atomic_load(&s.stops) == 4);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(atomic_load(&s.starts), 5);
    assert_int_equal(atomic_load(&s.stops), 5);
    assert_int_equal(atomic_load(&s.terminates), 1);
    kit_clean(before, "recycling");
    kit_reset_stage();
}

/* The call of a worker that is recycled is cut off in the end; its thread goes on alone. */
static void test_recycled_while_deaf(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.pool.drain_timeout_ms = 50;
    a.pool.graceful_shutdown_timeout_ms = 50;
    pit *p = adapter_open(&a);
    pit_future *f = kit_submit(p, "deaf", 1, NULL);
    KIT_AWAIT(atomic_load(&s.arrived) == 1);
    assert_int_equal(pit_worker_recycle(p, "c", "c/0.1", NULL), 0);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_WORKER_RECYCLED);
    KIT_AWAIT(has_only(p, "c/0.2"));
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_worker_recycle(p, "c", "c/0.2", NULL), 0); /* nor is anything else held up */
    KIT_AWAIT(has_only(p, "c/0.3"));
    open_gate(&s);
    KIT_AWAIT(atomic_load(&s.stops) == 2);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "recycled while deaf");
    kit_reset_stage();
}

static void test_guard_dies(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    pit *p = adapter_open(&a);
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    KIT_AWAIT(atomic_load(&s.arrived) == 1);
    pid_t guard = kit_guard();
    kill(guard, SIGKILL);
    KIT_AWAIT(kit_guard() != guard && kit_guard() != 0);
    open_gate(&s);
    assert_int_equal(kit_outcome(f, NULL), 0); /* it was none of the guard's */
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(atomic_load(&s.starts), 1);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "guard dies");
}

/* One thread opens a pool, and another stops it while its adapter is still making itself ready. */
static int init_at_gate(pit_adapter_ctx *c, void *user)
{
    (void)c;
    wait_at_gate(c, user, false);
    return 0;
}

struct opening {
    pit *p;
    struct counted s;
    int rc;
};

static void *open_there(void *arg)
{
    struct opening *o = arg;
    static const pit_adapter slow = {
        .size = sizeof slow, .execute = count_execute, .init = init_at_gate, .terminate = count_terminate};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "slow";
    pool.workers = 1;
    pool.c_adapter = &slow;
    pool.c_adapter_user = &o->s;
    pool.graceful_shutdown_timeout_ms = 50;
    o->rc = pit_pool_start(o->p, &pool, NULL);
    return NULL;
}

static void test_stop_while_opening(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
    struct opening o = {.p = adapter_open(&a)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, open_there, &o), 0);
    KIT_AWAIT(atomic_load(&o.s.arrived) == 1);
    assert_int_equal(pit_pool_stop(o.p, "slow", 0, NULL), 0);
    assert_int_equal(atomic_load(&o.s.terminates), 0);
    open_gate(&o.s);
    pthread_join(thread, NULL);
    assert_int_not_equal(o.rc, 0);
    assert_int_equal(atomic_load(&o.s.terminates), 1);
    assert_int_equal(pit_close(o.p), 0);
    kit_clean(before, "stop while opening");
}

/* ---- ends in the middle of calls ---- */

static void test_stop_while_running(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.pool.graceful_shutdown_timeout_ms = KIT_LIMIT_MS; /* the function needs a CPU to see that */
    pit *p = adapter_open(&a);
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    KIT_AWAIT(atomic_load(&s.arrived) == 1);
    assert_int_equal(pit_pool_stop(p, "c", 0, NULL), 0);
    assert_int_equal(atomic_load(&s.terminates), 1); /* the function has seen that it is to end */
    assert_int_equal(kit_outcome(f, NULL), PIT_E_SHUTTING_DOWN);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "stop while running");
}

static void *close_it(void *p)
{
    static int rc;
    rc = pit_close(p);
    return &rc;
}

static void test_close_while_deaf(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.shutdown_ms = 100;
    a.drain_ms = PIT_NOW;
    a.pool.graceful_shutdown_timeout_ms = 100;
    pit *p = adapter_open(&a);
    pit_future *f = kit_submit(p, "deaf", 1, NULL);
    KIT_AWAIT(atomic_load(&s.arrived) == 1);
    void *rc = NULL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_it, p), 0);
    pthread_join(thread, &rc);
    assert_int_equal(*(int *)rc, PIT_E_CLEANUP_TIMEOUT);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_SHUTTING_DOWN);
    assert_int_equal(atomic_load(&s.terminates), 0); /* it is still in there */
    open_gate(&s);
    KIT_AWAIT(atomic_load(&s.terminates) == 1);
    assert_int_equal(atomic_load(&s.stops), 1);
    adapter_clean(before, "close while deaf");
}

/* ---- looks ---- */

static int64_t looked(pit *p, const char *key)
{
    pit_worker_list *l = NULL;
    int64_t n = -1;
    assert_int_equal(pit_list_workers(p, "c", &l, NULL), 0);
    if (pit_worker_list_len(l) == 1)
        pit_value_get_int(pit_value_get(pit_worker_list_at(l, 0)->health, key), &n);
    pit_worker_list_free(l);
    return n;
}

static void test_telemetry(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct counted s = {0};
    struct adapter_open a = ADAPTER_OPEN(&counting, &s);
    a.pool.health_check_interval_ms = 10;
    pit *p = adapter_open(&a);
    KIT_AWAIT(looked(p, "looks") >= 2);
    assert_int_equal(looked(p, "mine"), 0);
    atomic_store(&s.ill, true); /* until the thread is replaced */
    KIT_AWAIT(kit_stats(p).recycled_health > 0);
    atomic_store(&s.ill, false);
    KIT_AWAIT(looked(p, "mine") > 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "telemetry");
}

/* ---- events ---- */

struct heard {
    atomic_int spawned_thread, started, stopped;
};

static int hear(const pit_event *ev, void *user)
{
    struct heard *h = user;
    const char *name = pit_event_name(ev);
    const char *mode = pit_event_text(ev, "mode");
    if (strcmp(name, "snakepit.pool.worker.spawned") == 0 && mode != NULL)
        atomic_fetch_add(&h->spawned_thread, strcmp(mode, "thread") == 0);
    atomic_fetch_add(&h->started, strcmp(name, "snakepit.call.start") == 0);
    atomic_fetch_add(&h->stopped, strcmp(name, "snakepit.call.stop") == 0);
    return 0;
}

static void test_events(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct adapter_open a = ADAPTER_OPEN(pit_adapter_mock(), NULL);
    struct heard h = {0};
    pit *p = adapter_open(&a);
    uint64_t id = 0;
    assert_int_equal(pit_telemetry_attach(p, "snakepit.*", hear, &h, &id, NULL), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(kit_call(p, "echo", i, 0, NULL), 0);
    KIT_AWAIT(atomic_load(&h.stopped) == 5);
    assert_int_equal(atomic_load(&h.started), 5);
    assert_int_equal(pit_worker_recycle(p, "c", "c/0.1", NULL), 0);
    KIT_AWAIT(atomic_load(&h.spawned_thread) == 1);
    assert_int_equal(pit_telemetry_detach(p, id), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "events");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callbacks),          cmocka_unit_test(test_init_fails),
        cmocka_unit_test(test_start_fails),        cmocka_unit_test(test_worker_list),
        cmocka_unit_test(test_deadline),           cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_recycling),          cmocka_unit_test(test_recycled_while_deaf),
        cmocka_unit_test(test_guard_dies),         cmocka_unit_test(test_stop_while_opening),
        cmocka_unit_test(test_stop_while_running), cmocka_unit_test(test_close_while_deaf),
        cmocka_unit_test(test_telemetry),          cmocka_unit_test(test_events),

    };
    kit_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
