/* Workers that make room for fresh ones: by age, by calls, by hand; while they run calls, while their spare fails, while all is closed. */
#include "integration/c/kit.h"

struct seen {
    atomic_uint recycled;
    char reason[32], worker[96];
    double requests;
};

static int on_recycled(const pit_event *ev, void *user)
{
    struct seen *s = user;
    snprintf(s->reason, sizeof s->reason, "%s", pit_event_text(ev, "reason"));
    snprintf(s->worker, sizeof s->worker, "%s", pit_event_text(ev, "worker_id"));
    pit_event_number(ev, "request_count", &s->requests);
    atomic_fetch_add(&s->recycled, 1);
    return 0;
}

static pit *open_watched(const struct kit *k, struct seen *seen)
{
    pit *p = kit_open(k);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.recycled", on_recycled, seen, NULL, NULL), 0);
    return p;
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

/* How many workers of the pool are in this state. */
static unsigned in_state(pit *p, int state)
{
    pit_worker_list *l = NULL;
    unsigned n = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        n += pit_worker_list_at(l, i)->state == state;
    pit_worker_list_free(l);
    return n;
}

static bool is_there(pit *p, const char *id)
{
    pit_worker_list *l = NULL;
    bool found = false;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        found = found || strcmp(pit_worker_list_at(l, i)->id, id) == 0;
    pit_worker_list_free(l);
    return found;
}

/* ---- by hand ---- */

static void test_by_hand(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    k.workers = 2;
    pit *p = open_watched(&k, &seen);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.1", NULL), 0);
    assert_int_equal(pit_worker_recycle(p, "c", "c/1.1", NULL), 0);
    KIT_AWAIT(atomic_load(&seen.recycled) == 2);
    KIT_AWAIT(kit_stats(p).available == 2 && is_there(p, "c/0.2") && is_there(p, "c/1.2"));
    assert_string_equal(seen.reason, "manual");
    pit_stats s = kit_stats(p);
    assert_int_equal(s.recycled, 2);
    assert_int_equal(s.recycled_manual, 2);
    assert_int_equal(s.restarts, 0);
    assert_int_equal(s.crashes, 0);
    KIT_AWAIT(!is_there(p, "c/0.1") && !is_there(p, "c/1.1"));
    settle(p, before, "by hand");
}

static void test_whom_it_does_not_know(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pit_pool_options pool;
    pit_error *e = NULL;
    pit *p = kit_open(&k);
    kit_pool(&k, "second", command, env, &pool);
    assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/7.1", &e), PIT_E_WORKER_NOT_FOUND);
    assert_string_equal(pit_error_worker(e), "c/7.1");
    pit_error_free(e);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.2", NULL), PIT_E_WORKER_NOT_FOUND);
    assert_int_equal(pit_worker_recycle(p, NULL, "", NULL), PIT_E_WORKER_NOT_FOUND);
    assert_int_equal(pit_worker_recycle(p, NULL, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_worker_recycle(p, "second", "c/0.1", NULL), PIT_E_POOL_MISMATCH);
    assert_int_equal(pit_worker_recycle(p, "third", "c/0.1", NULL), PIT_E_POOL_NOT_FOUND);
    assert_int_equal(kit_stats(p).recycled, 0);
    settle(p, before, "whom it does not know");
}

/* One that is starting is recycled too, as soon as it is ready: a first worker, then one that is to replace another. */
static void test_while_it_starts(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    k.require_ready = PIT_OFF;
    atomic_store(&stage->late, 1);
    pit *p = open_watched(&k, &seen);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.1", NULL), 0);
    assert_int_equal(in_state(p, PIT_WORKER_STARTING), 1);
    kit_open_gate();
    KIT_AWAIT(atomic_load(&seen.recycled) == 1 && kit_stats(p).available == 1);
    assert_string_equal(seen.worker, "c/0.1");
    atomic_store(&stage->go, 0);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.2", NULL), 0);
    KIT_AWAIT(is_there(p, "c/0.3"));
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.3", NULL), 0);
    kit_open_gate();
    KIT_AWAIT(atomic_load(&seen.recycled) == 3 && kit_stats(p).available == 1);
    assert_true(is_there(p, "c/0.4"));
    assert_string_equal(seen.worker, "c/0.3");
    assert_string_equal(seen.reason, "manual");
    assert_int_equal(kit_stats(p).recycled_manual, 3);
    settle(p, before, "while it starts");
}

/* ---- draining ---- */

/* A worker that runs a call: others get the new ones, its own call ends well, and only then it goes. */
static void test_drains_first(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    int64_t n = 0;
    k.workers = 2;
    pit *p = open_watched(&k, &seen);
    pit_future *f = kit_submit(p, "gate", 5, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    pit_worker_list *l = NULL;
    char busy[96] = "";
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        if (pit_worker_list_at(l, i)->state == PIT_WORKER_BUSY)
            snprintf(busy, sizeof busy, "%s", pit_worker_list_at(l, i)->id);
    pit_worker_list_free(l);
    assert_int_equal(pit_worker_recycle(p, NULL, busy, NULL), 0);
    KIT_AWAIT(kit_stats(p).available == 2 && kit_stats(p).draining == 1); /* the spare is ready, the old one works on */
    for (int i = 0; i < 50; i++)
        assert_int_equal(kit_call(p, "echo", i, 0, NULL), 0);
    assert_int_equal(atomic_load(&seen.recycled), 0);
    assert_true(is_there(p, busy));
    kit_open_gate();
    assert_int_equal(kit_outcome(f, &n), 0);
    KIT_AWAIT(atomic_load(&seen.recycled) == 1 && !is_there(p, busy));
    assert_string_equal(seen.worker, busy);
    assert_true(seen.requests == 1);
    settle(p, before, "drains first");
}

static void *call_gate(void *arg)
{
    pit_error *e = NULL;
    int rc = pit_callf(arg, "gate", NULL, NULL, &e, "[i]", 1);
    if (rc == PIT_E_WORKER_RECYCLED &&
        (!pit_error_retriable(e) || pit_error_worker(e) == NULL || pit_value_len(pit_error_suggestions(e)) == 0))
        rc = PIT_E_INTERNAL;
    pit_error_free(e);
    return (void *)(intptr_t)rc;
}

/* A call that does not end by drain_timeout_ms, carried by its thread and by the loop. */
static void test_cut_off(void **state)
{
    (void)state;
    for (int drive = PIT_DRIVE_THREAD; drive <= PIT_DRIVE_HOST; drive++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        struct seen seen = {0};
        pthread_t thread;
        void *rc = NULL;
        k.drive = drive;
        k.workers = 2;
        k.pool.drain_timeout_ms = 50;
        k.pool.cancel_grace_ms = 20;
        k.pool.recycle_max_parallel = 2;
        pit *p = open_watched(&k, &seen);
        assert_int_equal(pthread_create(&thread, NULL, call_gate, p), 0);
        KIT_AWAIT(atomic_load(&stage->arrived) == 1);
        pit_future *f = kit_submit(p, "gate", 1, NULL);
        KIT_AWAIT(atomic_load(&stage->arrived) == 2);
        assert_int_equal(pit_worker_recycle(p, NULL, "c/0.1", NULL), 0);
        assert_int_equal(pit_worker_recycle(p, NULL, "c/1.1", NULL), 0);
        assert_int_equal(kit_outcome(f, NULL), PIT_E_WORKER_RECYCLED);
        pthread_join(thread, &rc);
        assert_int_equal((intptr_t)rc, PIT_E_WORKER_RECYCLED);
        kit_open_gate();
        assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
        assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
        /* callers are answered before their workers have ended: somebody must drive on */
        KIT_AWAIT((drive == PIT_DRIVE_THREAD || pit_dispatch(p) == 0) && atomic_load(&seen.recycled) == 2);
        assert_int_equal(kit_stats(p).restarts, 0);
        assert_int_equal(kit_stats(p).crashes, 0);
        settle(p, before, "cut off");
    }
}

/* ---- the spare ---- */

/* The only worker of a pool serves until its spare is ready; a spare that never is changes nothing. */
static void test_the_only_one_serves_on(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    k.pool.worker_ready_timeout_ms = 300;
    pit *p = open_watched(&k, &seen);
    atomic_store(&stage->mute, 1);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.1", NULL), 0);
    KIT_AWAIT(in_state(p, PIT_WORKER_STARTING) == 1);
    for (int i = 0; in_state(p, PIT_WORKER_STARTING) == 1; i++) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.fail_fast = PIT_ON;
        assert_int_equal(pit_callf(p, "echo", &o, NULL, NULL, "[i]", i), 0);
    }
    KIT_AWAIT(kit_stats(p).workers == 1);
    assert_true(is_there(p, "c/0.1"));
    assert_int_equal(kit_stats(p).recycled, 0);
    atomic_store(&stage->mute, 0);
    KIT_AWAIT(pit_worker_recycle(p, NULL, "c/0.1", NULL) !=
              0); /* as long as the spare has not ended this asks for nothing new */
    KIT_AWAIT(atomic_load(&seen.recycled) == 1);
    KIT_AWAIT(kit_stats(p).available == 1 && kit_stats(p).workers == 1);
    settle(p, before, "the only one");
}

/* One that had begun to drain, with a call running or idle, comes back. */
static void stays(bool busy)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    int64_t n = 0;
    k.workers = 2;
    pit *p = open_watched(&k, &seen);
    pit_future *f[2] = {NULL, NULL};
    for (unsigned i = 0; busy && i < 2; i++)
        f[i] = kit_submit(p, "gate", (int64_t)i + 1, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == (busy ? 2u : 0u));
    atomic_store(&stage->refuse, 1);
    unsigned starts = atomic_load(&stage->starts);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/1.1", NULL), 0);
    KIT_AWAIT(atomic_load(&stage->starts) == starts + 1);
    KIT_AWAIT(kit_stats(p).workers == 2 && kit_stats(p).draining == 0);
    assert_int_equal(in_state(p, busy ? PIT_WORKER_BUSY : PIT_WORKER_READY), 2);
    kit_open_gate();
    for (unsigned i = 0; busy && i < 2; i++)
        assert_int_equal(kit_outcome(f[i], &n), 0);
    KIT_AWAIT(kit_stats(p).available == 2);
    kit_reset_stage();
    for (unsigned i = 0; i < 2; i++) /* both take calls again */
        f[i] = kit_submit(p, "gate", (int64_t)i + 1, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 2);
    kit_open_gate();
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(kit_outcome(f[i], &n), 0);
    assert_int_equal(kit_stats(p).recycled, 0);
    assert_int_equal(atomic_load(&seen.recycled), 0);
    settle(p, before, "stays");
}

static void test_stays_when_the_spare_fails(void **state)
{
    (void)state;
    stays(false);
    stays(true);
}

/* It dies while its spare starts: the spare is its successor, and no other is started. */
static void test_dies_meanwhile(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    k.workers = 2;
    k.pool.worker_ready_timeout_ms = 500;
    pit *p = open_watched(&k, &seen);
    pid_t pid = kit_worker(p, 0);
    atomic_store(&stage->mute, 1);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/0.1", NULL), 0);
    KIT_AWAIT(in_state(p, PIT_WORKER_STARTING) == 1 && kit_stats(p).draining == 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    KIT_AWAIT(kit_stats(p).crashes == 1);
    assert_true(kit_stats(p).workers <= 2);
    atomic_store(&stage->mute, 0);
    KIT_AWAIT(kit_stats(p).available == 2 && kit_stats(p).workers == 2);
    assert_int_equal(atomic_load(&seen.recycled), 0);
    settle(p, before, "dies meanwhile");
}

/* ---- triggers ---- */

static void test_by_age(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    k.workers = 2;
    k.pool.worker_ttl = "1s";
    k.pool.lifecycle_check_interval_ms = 10;
    pit *p = open_watched(&k, &seen);
    KIT_AWAIT(kit_stats(p).near_ttl > 0);
    KIT_AWAIT(kit_stats(p).recycled_ttl_expired >= 2);
    KIT_AWAIT(atomic_load(&seen.recycled) >= 2);
    assert_string_equal(seen.reason, "ttl_expired");
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    settle(p, before, "by age");
}

static void test_by_calls(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    k.pool.worker_max_requests = 100;
    k.pool.lifecycle_check_interval_ms = 10;
    pit *p = open_watched(&k, &seen);
    for (int i = 0; i < 95; i++)
        assert_int_equal(kit_call(p, "echo", i, 0, NULL), 0);
    assert_int_equal(kit_stats(p).near_max_requests, 1);
    assert_int_equal(kit_stats(p).recycled, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(kit_call(p, "echo", i, 0, NULL), 0);
    KIT_AWAIT(atomic_load(&seen.recycled) == 1);
    assert_string_equal(seen.reason, "max_requests");
    assert_true(seen.requests >= 100);
    assert_int_equal(kit_stats(p).recycled_max_requests, 1);
    KIT_AWAIT(kit_stats(p).available == 1);
    assert_int_equal(kit_stats(p).near_max_requests, 0);
    settle(p, before, "by calls");
}

/* ---- memory ---- */

struct forecast {
    atomic_uint seen;
    double slope, left;
};

static int on_forecast(const pit_event *ev, void *user)
{
    struct forecast *f = user;
    pit_event_number(ev, "slope_kb_per_1k", &f->slope);
    pit_event_number(ev, "eta_calls", &f->left);
    atomic_fetch_add(&f->seen, 1);
    return 0;
}

static pit_log_fn grow_log; /* NULL: none */

static pit *open_growing(const struct os_ops *os, int64_t threshold_mb, int leak_forecast, struct seen *seen)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    const char *env[] = {kit_mark, NULL};
    pit *p = NULL;
    pit_error *e = NULL;
    pool.name = "c";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/grow.py";
    pool.workers = 1;
    pool.env = env;
    pool.memory_threshold_mb = threshold_mb;
    pool.leak_forecast = leak_forecast;
    pool.lifecycle_check_interval_ms = 10;
    o.log = grow_log;
    o.log_level = PIT_LOG_WARNING;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.pools = pools;
    o.n_pools = 1;
    if (api_open_os(os, &o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.recycled", on_recycled, seen, NULL, NULL), 0);
    return p;
}

/* What was seen of the first worker; 0: nothing, or it is there no more. */
static size_t memory_seen(pit *p)
{
    pit_worker_list *l = NULL;
    size_t bytes = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        if (strcmp(pit_worker_list_at(l, i)->id, "c/0.1") == 0)
            bytes = pit_worker_list_at(l, i)->pss_bytes;
    pit_worker_list_free(l);
    return bytes;
}

/* The worker's own memory, and that of a child in its group. */
static void test_by_memory(void **state)
{
    (void)state;
    static const char *const commands[] = {"take", "child"};
    for (size_t i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct seen seen = {0};
        pit *p = open_growing(&os_linux, 200, PIT_OFF, &seen);
        KIT_AWAIT(memory_seen(p) != 0);
        assert_true(memory_seen(p) < (size_t)200 << 20);
        assert_int_equal(kit_call(p, commands[i], 250 << 10, 0, NULL), 0);
        KIT_AWAIT(atomic_load(&seen.recycled) == 1);
        assert_string_equal(seen.reason, "memory_threshold");
        assert_string_equal(seen.worker, "c/0.1");
        assert_int_equal(kit_stats(p).recycled_memory_threshold, 1);
        assert_int_equal(kit_call(p, "take", 1, 0, NULL), 0);
        settle(p, before, "by memory");
    }
}

static void test_by_forecast(void **state)
{
    (void)state;
    enum { MOST = 300, STEP = 20, KIB = 256 };
    struct kit_before before = kit_before();
    struct seen seen = {0};
    struct forecast f = {0};
    pit *p = open_growing(&os_linux, MOST, 0, &seen);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.leak_forecast", on_forecast, &f, NULL, NULL), 0);
    size_t last = 0, now = 0;
    while (atomic_load(&f.seen) == 0) {
        for (int i = 0; i < STEP && atomic_load(&f.seen) == 0; i++)
            assert_int_equal(kit_call(p, "take", KIB, 0, NULL), 0);
        KIT_AWAIT((now = memory_seen(p)) > last || atomic_load(&f.seen) != 0);
        last = now;
    }
    KIT_AWAIT(atomic_load(&seen.recycled) == 1);
    assert_string_equal(seen.reason, "leak_forecast");
    assert_int_equal(kit_stats(p).recycled_leak_forecast, 1);
    assert_int_equal(kit_stats(p).recycled_memory_threshold, 0);
    assert_in_range((uint64_t)f.slope, KIB * 800, KIB * 1200); /* KiB in 1000 calls */
    assert_true(f.left <= seen.requests / 10 + STEP);
    settle(p, before, "by forecast");
}

static int nobody_may_look(pid_t pgid, uint64_t *ret_bytes)
{
    (void)pgid;
    (void)ret_bytes;
    return -EACCES;
}

static int count_event(const pit_event *ev, void *user)
{
    assert_string_equal(pit_event_text(ev, "reason"), strerror(EACCES));
    atomic_fetch_add((atomic_uint *)user, 1);
    return 0;
}

static atomic_uint warned;

static void count_warnings(int level, const char *text, void *user)
{
    (void)user;
    atomic_fetch_add(&warned, level == PIT_LOG_WARNING && strstr(text, "memory of its workers") != NULL);
}

static void test_a_look_that_fails(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os = os_linux;
    struct seen seen = {0};
    atomic_uint failed = 0;
    os.group_memory = nobody_may_look;
    grow_log = count_warnings;
    pit *p = open_growing(&os, 1, 0, &seen);
    grow_log = NULL;
    assert_int_equal(pit_telemetry_attach(p, "snakepit.lifecycle.probe_failed", count_event, &failed, NULL, NULL), 0);
    KIT_AWAIT(atomic_load(&failed) >= 3);
    assert_int_equal(kit_stats(p).recycled, 0);
    assert_int_equal(memory_seen(p), 0);
    settle(p, before, "a look that fails");
    assert_int_equal(atomic_load(&warned), 1);
}

/* ---- many ---- */

struct traffic {
    pit *p;
    atomic_bool stop;
    atomic_uint calls;
};

static void *make_calls(void *arg)
{
    struct traffic *t = arg;
    int64_t got = 0;
    for (int64_t i = 0; !atomic_load(&t->stop); i++) {
        assert_int_equal(kit_call(t->p, "echo", i % 100, 0, &got), 0);
        assert_int_equal(got, i % 100);
        atomic_fetch_add(&t->calls, 1);
    }
    return NULL;
}

/* All workers of a pool, several times, under traffic: no call fails, and there is never a worker too many. */
static void test_all_of_them(void **state)
{
    (void)state;
    enum { WORKERS = 4, ROUNDS = 3, CALLERS = 3 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen seen = {0};
    struct traffic t = {0};
    pthread_t threads[CALLERS];
    k.workers = WORKERS;
    k.pool.recycle_max_parallel = 2;
    t.p = open_watched(&k, &seen);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_calls, &t), 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (int slot = 0; slot < WORKERS; slot++) {
            char id[32];
            snprintf(id, sizeof id, "c/%d.%u", slot, round);
            assert_int_equal(pit_worker_recycle(t.p, "c", id, NULL), 0);
        }
        while (kit_stats(t.p).recycled < round * WORKERS || kit_stats(t.p).available + kit_stats(t.p).busy < WORKERS) {
            pit_stats s = kit_stats(t.p);
            assert_true(s.draining <= 2);
            assert_true(s.workers <= WORKERS + s.draining);
            poll(NULL, 0, 1); /* allow-sleep: between two looks */
        }
    }
    atomic_store(&t.stop, true);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&t.calls) > 0);
    KIT_AWAIT(atomic_load(&seen.recycled) == ROUNDS * WORKERS);
    assert_int_equal(kit_stats(t.p).errors, 0);
    settle(t.p, before, "all of them");
}

/* Closed, and its guard lost, in the middle of it. */
static void test_ends_meanwhile(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.workers = 2;
        k.drive = i % 2 == 0 ? PIT_DRIVE_THREAD : PIT_DRIVE_HOST;
        pit *p = kit_open(&k);
        atomic_store(&stage->mute, i & 2 ? 1 : 0);
        assert_int_equal(pit_worker_recycle(p, NULL, "c/0.1", NULL), 0);
        if (i & 4) {
            atomic_store(&stage->mute, 0); /* first: a successor may be quick */
            assert_int_equal(kill(kit_guard(), SIGKILL), 0);
            int64_t n;
            /* who calls before the loss is noticed may be ended with his worker */
            KIT_AWAIT(kit_call(p, "echo", 1, 0, &n) == 0);
            assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
        }
        settle(p, before, "ends meanwhile");
    }
}

static void test_options(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "0", "s", "-1", "1w", "1.5h", "5 s", "10000000000", "999999999d", "1S", "infinite"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kit k = KIT_INIT;
        pit *p = NULL;
        k.pool.worker_ttl = bad[i];
        assert_int_equal(kit_open_os(&os_linux, &k, &p, NULL), PIT_E_INVALID_WORKER_TTL);
    }
    static const struct {
        int64_t requests, interval, drain;
        double jitter;
        int parallel, rc;
    } rows[] = {
        {-1, 0, 0, 0, 0, PIT_E_INVALID_WORKER_MAX_REQUESTS}, {0, PIT_NOW, 0, 0, 0, PIT_E_INVALID_INTERVAL},
        {0, PIT_INFINITE, 0, 0, 0, PIT_E_INVALID_INTERVAL},  {0, 0, -3, 0, 0, PIT_E_INVALID_TIMEOUT},
        {0, 0, 0, 1.5, 0, PIT_E_INVALID_PARAMETER},          {0, 0, 0, -0.5, 0, PIT_E_INVALID_PARAMETER},
        {0, 0, 0, 0, -1, PIT_E_INVALID_PARAMETER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kit k = KIT_INIT;
        pit *p = NULL;
        k.pool.worker_max_requests = rows[i].requests;
        k.pool.lifecycle_check_interval_ms = rows[i].interval;
        k.pool.drain_timeout_ms = rows[i].drain;
        k.pool.recycle_jitter = rows[i].jitter;
        k.pool.recycle_max_parallel = rows[i].parallel;
        assert_int_equal(kit_open_os(&os_linux, &k, &p, NULL), rows[i].rc);
    }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_whom_it_does_not_know),
        cmocka_unit_test(test_while_it_starts),
        cmocka_unit_test(test_drains_first),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_the_only_one_serves_on),
        cmocka_unit_test(test_stays_when_the_spare_fails),
        cmocka_unit_test(test_dies_meanwhile),
        cmocka_unit_test(test_by_age),
        cmocka_unit_test(test_by_calls),
        cmocka_unit_test(test_by_memory),
        cmocka_unit_test(test_by_forecast),
        cmocka_unit_test(test_a_look_that_fails),
        cmocka_unit_test(test_all_of_them),
        cmocka_unit_test(test_ends_meanwhile),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
