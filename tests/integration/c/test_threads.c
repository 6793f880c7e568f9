/* Workers of the profile thread, on real Python: several calls at a time in one process, and what becomes of them. */
#include "integration/c/thread_kit.h"

enum { LANES = 3 };

static int code_of_cause(const pit_error *e)
{
    return pit_error_cause(e) != NULL ? pit_error_code(pit_error_cause(e)) : 0;
}

/* ---- calls ---- */

/* n calls, each of which ends when all of them run. */
static void meet(pit *p, const char *command, int n)
{
    pit_future *f[2 * LANES];
    int64_t met = 0;
    assert_true(n <= 2 * LANES);
    for (int i = 0; i < n; i++)
        f[i] = kit_submit(p, command, n, NULL);
    for (int i = 0; i < n; i++) {
        assert_int_equal(kit_outcome(f[i], &met), 0);
        assert_int_equal(met, n);
    }
}

static void calls_in(int start_mode)
{
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES, .start_mode = start_mode});
    int64_t n = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kit_call(p, "inc", i, KIT_LIMIT_MS, &n), 0);
        assert_int_equal(n, i + 1);
    }
    meet(p, "meet", LANES);
    meet(p, "meet_task", LANES);
    close_threads(p, before, "calls");
}

static void test_calls(void **state)
{
    (void)state;
    calls_in(PIT_START_EXEC);
    calls_in(PIT_START_ZYGOTE);
}

static void *meet_blocking(void *arg)
{
    int64_t met = 0;
    assert_int_equal(kit_call(arg, "meet", LANES, KIT_LIMIT_MS, &met), 0);
    assert_int_equal(met, LANES);
    return NULL;
}

static void test_blocking(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES});
    pthread_t threads[LANES];
    for (int i = 0; i < LANES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, meet_blocking, p), 0);
    for (int i = 0; i < LANES; i++)
        pthread_join(threads[i], NULL);
    close_threads(p, before, "blocking");
}

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str(pit_value_get(map, key));
}

/* What each of the calls of one moment sees: the same process and adapter, its own thread and context. */
static void test_contexts(void **state)
{
    (void)state;
    static const char *const sessions[LANES] = {"s0", "s1", "s2"};
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES});
    pit_future *f[LANES];
    pit_value *v[LANES] = {NULL};
    for (int i = 0; i < LANES; i++) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_value *metadata = pit_pack("{s:i}", "n", i);
        o.session_id = sessions[i];
        o.metadata = metadata;
        f[i] = kit_submit(p, "who", LANES, &o);
        pit_value_free(metadata);
    }
    for (int i = 0; i < LANES; i++) {
        int64_t n = -1;
        assert_int_equal(pit_future_wait(f[i], KIT_LIMIT_MS), 0);
        assert_int_equal(pit_future_result(f[i], &v[i], NULL), 0);
        pit_future_free(f[i]);
        assert_string_equal(text_of(v[i], "session"), sessions[i]);
        assert_true(pit_value_get_int(pit_value_get(pit_value_get(v[i], "metadata"), "n"), &n) && n == i);
        assert_string_equal(text_of(v[i], "omp"), "3");
        assert_true(strncmp(text_of(v[i], "thread"), "snakepit-lane-", 14) == 0);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(text_of(v[i], "thread"), text_of(v[k], "thread"));
            assert_true(pit_value_equal(pit_value_get(v[i], "pid"), pit_value_get(v[k], "pid")));
            assert_true(pit_value_equal(pit_value_get(v[i], "instance"), pit_value_get(v[k], "instance")));
        }
    }
    for (int i = 0; i < LANES; i++)
        pit_value_free(v[i]);
    close_threads(p, before, "contexts");
}

static void hold(pit *p, const char *path, pit_future **ret, int n)
{
    for (int i = 0; i < n; i++)
        ret[i] = submit_text(p, "until_gone", path);
    struct stat st;
    KIT_AWAIT(stat(path, &st) == 0 && st.st_size == n);
}

static void test_counts(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    char path[] = "/tmp/snakepit-threads-XXXXXX";
    close(mkstemp(path));
    pit *p = open_threads((struct thread_setting){.threads = LANES, .workers = 2});
    pit_stats s = kit_stats(p);
    assert_int_equal(s.lanes, 2 * LANES);
    assert_int_equal(s.busy_lanes, 0);
    assert_int_equal(s.workers, 2);
    pit_future *f[2 * LANES + 1];
    hold(p, path, f, 2 * LANES);
    f[2 * LANES] = kit_submit(p, "inc", 1, NULL);
    s = kit_stats(p);
    assert_int_equal(s.busy_lanes, 2 * LANES);
    assert_int_equal(s.busy, 2);
    assert_int_equal(s.queued, 1);
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        assert_int_equal(w->lanes, LANES);
        assert_int_equal(w->busy_lanes, LANES);
        assert_true(w->gil == PIT_ON || w->gil == PIT_OFF);
        assert_string_equal(w->channel, "ring");
    }
    assert_true(s.gil == 0 || s.gil == 2);
    pit_worker_list_free(l);
    unlink(path);
    for (int i = 0; i <= 2 * LANES; i++)
        assert_int_equal(kit_outcome(f[i], NULL), 0);
    close_threads(p, before, "counts");
}

/* Batches, long answers of several lanes at a time, and lines of the log between them. */
static void test_much(void **state)
{
    (void)state;
    enum { N = 600, BIG = 300000, FUTURES = 24 };
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES});
    pit_call_item items[N] = {0};
    pit_call_result results[N];
    pit_value *args = pit_pack("[i]", 7);
    for (int i = 0; i < N; i++)
        items[i] = (pit_call_item){.command = i % 50 == 0 ? "odd" : "inc", .args = i % 50 == 0 ? NULL : args};
    assert_int_equal(pit_call_many(p, items, N, NULL, results, NULL), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(results[i].rc, 0);
    pit_call_results_free(results, N);
    pit_value_free(args);
    pit_future *f[FUTURES];
    for (int i = 0; i < FUTURES; i++)
        f[i] = kit_submit(p, "big", BIG + i, NULL);
    for (int i = 0; i < FUTURES; i++) {
        pit_value *v = NULL;
        const void *data;
        size_t n = 0;
        assert_int_equal(pit_future_wait(f[i], KIT_LIMIT_MS), 0);
        assert_int_equal(pit_future_result(f[i], &v, NULL), 0);
        assert_true(pit_value_get_bytes(v, &data, &n) && n == (size_t)(BIG + i));
        pit_value_free(v);
        pit_future_free(f[i]);
    }
    close_threads(p, before, "much");
}

/* A child that a call forks is no worker. */
static void test_fork(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES});
    for (int i = 0; i < 3; i++) {
        pit_value *v = NULL;
        int64_t status = -1;
        assert_int_equal(pit_call(p, "fork", NULL, NULL, &v, NULL), 0);
        assert_true(pit_value_get_int(v, &status) && status == 0);
        pit_value_free(v);
    }
    meet(p, "meet", LANES);
    close_threads(p, before, "fork");
}

/* ---- options and starts ---- */

static void refused(struct thread_setting s, int code)
{
    pit *p = NULL;
    pit_error *e = NULL;
    int rc = open_threads_rc(s, &p, &e);
    if (rc != code && code_of_cause(e) != code)
        fail_msg("%s instead of %s: %s", pit_error_code_name(rc), pit_error_code_name(code), pit_error_string(e));
    assert_non_null(pit_error_suggestions(code_of_cause(e) == code ? pit_error_cause(e) : e));
    assert_null(p);
    pit_error_free(e);
}

static void profile_refused(const char *profile, int threads, int code)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    pit *p = NULL;
    pit_error *e = NULL;
    pool.name = "threads";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/threads.py:Plain";
    pool.profile = profile;
    pool.threads_per_worker = threads;
    o.pools = pools;
    o.n_pools = 1;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    assert_int_equal(pit_open(&o, &p, &e), code);
    assert_null(p);
    pit_error_free(e);
}

static void test_refusals(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit_limits limits = PIT_LIMITS_INIT;
    limits.cpu_ms = 100;
    profile_refused("threads", 0, PIT_E_INVALID_PROFILE);
    profile_refused("", 0, PIT_E_INVALID_PROFILE);
    profile_refused("subinterp", 0, PIT_E_PROFILE_UNAVAILABLE);
    profile_refused("thread", -1, PIT_E_INVALID_PARAMETER);
    profile_refused("thread", 257, PIT_E_INVALID_PARAMETER);
    profile_refused("process", 2, PIT_E_CONFIG_CONFLICT);
    refused((struct thread_setting){.channel = PIT_CHANNEL_SOCKET}, PIT_E_CONFIG_CONFLICT);
    refused((struct thread_setting){.threads = 2, .limits = &limits}, PIT_E_UNSUPPORTED_OPTION);
    refused((struct thread_setting){.threads = 2, .env = "SNAKEPIT_NO_EXTENSION=1"}, PIT_E_PROFILE_UNAVAILABLE);
    refused((struct thread_setting){.threads = 1, .env = "SNAKEPIT_NO_EXTENSION=1"}, PIT_E_PROFILE_UNAVAILABLE);
    refused((struct thread_setting){.adapter = "Unsafe"}, PIT_E_ADAPTER_NOT_THREAD_SAFE);
    refused((struct thread_setting){.adapter = "Unsafe", .threads = 1}, PIT_E_ADAPTER_NOT_THREAD_SAFE);
    refused((struct thread_setting){.adapter = "Unsafe", .start_mode = PIT_START_ZYGOTE}, PIT_E_ADAPTER_NOT_THREAD_SAFE);
    kit_clean(before, "refusals");
}

static atomic_int starts;

static int on_start(const pit_event *ev, void *user)
{
    (void)ev, (void)user;
    atomic_fetch_add(&starts, 1);
    return 0;
}

/* What cannot go better is not tried again: the pool has failed, and says why. */
static void test_fails_for_good(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = NULL;
    pit_error *e = NULL;
    atomic_store(&starts, 0);
    struct thread_setting s = {.adapter = "Unsafe", .workers = 2, .require_ready = PIT_OFF, .start_mode = PIT_START_EXEC};
    assert_int_equal(open_threads_rc(s, &p, NULL), 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.pool.worker.spawn_started", on_start, NULL, NULL, NULL), 0);
    KIT_AWAIT(kit_stats(p).failed == 1);
    int before_wait = atomic_load(&starts);
    assert_int_equal(pit_callf(p, "inc", NULL, NULL, &e, "[i]", 1), PIT_E_POOL_NOT_INITIALIZED);
    assert_int_equal(code_of_cause(e), PIT_E_ADAPTER_NOT_THREAD_SAFE);
    pit_error_free(e);
    pit_stats stats = kit_stats(p);
    assert_int_equal(stats.held_back, 0); /* no start waits for its turn */
    assert_int_equal(stats.workers, 0);
    assert_int_equal(atomic_load(&starts), before_wait);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "fails for good");
}

static void test_plain_class(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.adapter = "Plain"});
    int64_t n = 0;
    assert_int_equal(kit_stats(p).lanes, 10);
    assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, &n), 0);
    assert_int_equal(n, 2);
    close_threads(p, before, "plain class");
}

/* ---- ends ---- */

/* Each started call costs one error, what had not started runs elsewhere. */
static void test_death(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    char path[] = "/tmp/snakepit-threads-XXXXXX";
    close(mkstemp(path));
    pit *p = open_threads((struct thread_setting){.threads = LANES, .workers = 2});
    pit_future *held[LANES], *dying[LANES], *waiting[4];
    for (int round = 0; round < 3; round++) {
        close(open(path, O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        hold(p, path, held, LANES); /* all of them on one worker, or some on either: the dying ones take the rest */
        pit_worker_list *l = NULL;
        unsigned full = 0;
        assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
        for (size_t i = 0; i < pit_worker_list_len(l); i++)
            full += pit_worker_list_at(l, i)->busy_lanes == LANES;
        pit_worker_list_free(l);
        for (int i = 0; i < LANES; i++)
            dying[i] = kit_submit(p, "die", LANES, NULL);
        for (int i = 0; i < 4; i++)
            waiting[i] = kit_submit(p, "inc", i, NULL);
        if (full != 1) /* the dying ones do not meet in one worker */
            fail_msg("the most recently used lanes are not those of one worker");
        for (int i = 0; i < LANES; i++)
            assert_int_equal(kit_outcome(dying[i], NULL), PIT_E_WORKER_CRASH);
        for (int i = 0; i < 4; i++)
            assert_int_equal(kit_outcome(waiting[i], NULL), 0);
        unlink(path);
        for (int i = 0; i < LANES; i++)
            assert_int_equal(kit_outcome(held[i], NULL), 0);
        assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    }
    assert_int_equal(kit_stats(p).crashes, 3);
    close_threads(p, before, "death");
}

/* A worker that is recycled goes when the calls of all of its lanes have ended, and cleans up once. */
static void test_recycle(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    char path[] = "/tmp/snakepit-threads-XXXXXX", mark[] = "/tmp/snakepit-threads-XXXXXX", env[64];
    close(mkstemp(path));
    close(mkstemp(mark));
    snprintf(env, sizeof env, "CLEANUP_MARK=%s", mark);
    pit *p = open_threads((struct thread_setting){.threads = LANES, .env = env});
    pit_future *held[2];
    pid_t pid = kit_worker(p, 0);
    hold(p, path, held, 2);
    assert_int_equal(pit_worker_recycle(p, NULL, "threads/0.1", NULL), 0);
    KIT_AWAIT(kit_stats(p).draining == 1 && kit_stats(p).available == 1);
    meet(p, "meet", LANES); /* elsewhere */
    assert_int_equal(kill(pid, 0), 0);
    unlink(path);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kit_outcome(held[i], NULL), 0);
    struct stat st;
    KIT_AWAIT(kit_stats(p).draining == 0 && stat(mark, &st) == 0 && st.st_size == 1);
    close_threads(p, before, "recycle");
    assert_int_equal(stat(mark, &st), 0);
    assert_int_equal(st.st_size, 2); /* and its successor */
    unlink(mark);
}

/* health() does not wait for the calls. */
static void test_health(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    char path[] = "/tmp/snakepit-threads-XXXXXX";
    close(mkstemp(path));
    pit *p = open_threads((struct thread_setting){.adapter = "Sick", .threads = LANES, .health_ms = 10});
    pit_future *held[LANES];
    hold(p, path, held, LANES);
    bool answered = false;
    for (uint64_t until = kit_limit(); !answered && pit_now_ns() < until;) {
        pit_worker_list *l = NULL;
        assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
        const pit_value *health = pit_worker_list_at(l, 0)->health;
        answered = health != NULL && strcmp(text_of(health, "thread"), "MainThread") == 0;
        pit_worker_list_free(l);
    }
    assert_true(answered);
    unlink(path);
    for (int i = 0; i < LANES; i++)
        assert_int_equal(kit_outcome(held[i], NULL), 0);
    close_threads(p, before, "health");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),    cmocka_unit_test(test_blocking),       cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_counts),   cmocka_unit_test(test_much),           cmocka_unit_test(test_fork),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_fails_for_good), cmocka_unit_test(test_plain_class),
        cmocka_unit_test(test_death),    cmocka_unit_test(test_recycle),        cmocka_unit_test(test_health),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
