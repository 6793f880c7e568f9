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

/* ---- the process ---- */

static atomic_int told_of_gil;

static int on_gil(const pit_event *ev, void *user)
{
    const char *id = pit_event_text(ev, "worker_id");
    double threads = 0;
    (void)user; /* of the first worker it may be told before or after it is asked for */
    if (pit_event_number(ev, "threads", &threads) && threads == LANES && id != NULL && strcmp(id, "threads/0.2") == 0)
        atomic_fetch_add(&told_of_gil, 1);
    return 0;
}

/* Each worker whose threads take turns is told of. */
static void test_gil(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES});
    atomic_store(&told_of_gil, 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.gil_enabled", on_gil, NULL, NULL, NULL), 0);
    int expected = kit_stats(p).gil != 0;
    assert_int_equal(pit_worker_recycle(p, NULL, "threads/0.1", NULL), 0);
    KIT_AWAIT(kit_stats(p).recycled_manual == 1 && kit_stats(p).available == 1);
    KIT_AWAIT(atomic_load(&told_of_gil) == expected);
    close_threads(p, before, "gil");
}

static uint64_t pongs_after(pit *p, uint64_t n)
{
    uint64_t from = kit_stats(p).pongs;
    KIT_AWAIT(kit_stats(p).pongs >= from + n);
    return kit_stats(p).pongs;
}

/* A thread that waits stalls nobody; one that holds the interpreter does. */
static void test_stalled(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit_heartbeat_options heartbeat = PIT_HEARTBEAT_OPTIONS_INIT;
    char path[] = "/tmp/snakepit-threads-XXXXXX";
    close(mkstemp(path));
    heartbeat.ping_interval_ms = 10;
    heartbeat.timeout_ms = KIT_LIMIT_MS;
    heartbeat.stall_report_ms = 100;
    pit *p = open_threads((struct thread_setting){.threads = LANES, .heartbeat = &heartbeat, .grace_ms = PIT_NOW});
    pit_future *waiting = submit_text(p, "doze_until_gone", path);
    pongs_after(p, 50); /* some times as long as what counts as a stall */
    KIT_AWAIT(kit_stats(p).stalled == 0);
    unlink(path);
    assert_int_equal(kit_outcome(waiting, NULL), 0);
    pit_future *holding = kit_submit(p, "native", 0, NULL);
    KIT_AWAIT(kit_stats(p).stalled == 1);
    assert_int_equal(pit_future_cancel(holding, NULL), 0);
    assert_int_equal(kit_outcome(holding, NULL), PIT_E_CANCELLED);
    KIT_AWAIT(kit_stats(p).stalled == 0 && kit_stats(p).available == 1); /* it was killed, and replaced */
    close_threads(p, before, "stalled");
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

/* What the kernel counts for a process no call of several can be blamed for. */
static void test_limits(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_threads((struct thread_setting){.threads = LANES});
    char path[] = "/tmp/snakepit-threads-XXXXXX";
    close(mkstemp(path));
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_limits limits = PIT_LIMITS_INIT;
    o.limits = &limits;
    limits.rss_growth_mb = 100;
    assert_int_equal(pit_callf(p, "inc", &o, NULL, NULL, "[i]", 1), PIT_E_UNSUPPORTED_OPTION);
    limits.rss_growth_mb = PIT_INFINITE;
    limits.wall_ms = KIT_LIMIT_MS;
    assert_int_equal(pit_callf(p, "inc", &o, NULL, NULL, "[i]", 1), 0);
    limits.wall_ms = 1;
    assert_int_equal(pit_callf(p, "until_gone", &o, NULL, NULL, "[s]", path), PIT_E_CALL_LIMIT_EXCEEDED);
    unlink(path);
    KIT_AWAIT(kit_stats(p).busy_lanes == 0 && kit_stats(p).draining == 0);
    close_threads(p, before, "limits");
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
    hold(p, path, held, LANES); /* the lanes that became ready last, which are those of one worker */
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    assert_int_equal(pit_worker_list_at(l, 0)->busy_lanes + pit_worker_list_at(l, 1)->busy_lanes, LANES);
    assert_int_equal(pit_worker_list_at(l, 0)->busy_lanes % LANES, 0);
    pit_worker_list_free(l);
    for (int i = 0; i < LANES; i++)
        dying[i] = kit_submit(p, "die", LANES, NULL);
    for (int i = 0; i < 4; i++)
        waiting[i] = kit_submit(p, "inc", i, NULL);
    for (int i = 0; i < LANES; i++)
        assert_int_equal(kit_outcome(dying[i], NULL), PIT_E_WORKER_CRASH);
    for (int i = 0; i < 4; i++)
        assert_int_equal(kit_outcome(waiting[i], NULL), 0);
    unlink(path);
    for (int i = 0; i < LANES; i++)
        assert_int_equal(kit_outcome(held[i], NULL), 0);
    assert_int_equal(kit_stats(p).crashes, 1);
    close_threads(p, before, "death");
}

/* Whose doing a death was is known only of a call that was alone in its worker: who lives beside others that kill is not refused. */
static void test_neighbours(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    char path[] = "/tmp/snakepit-threads-XXXXXX";
    close(mkstemp(path));
    pit *p = open_threads((struct thread_setting){.threads = LANES, .calm = true});
    pit_future *held[2];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(truncate(path, 0), 0);
        hold(p, path, held, 2); /* the same call twice */
        assert_int_equal(kit_call(p, "fall", 1, KIT_LIMIT_MS, NULL), PIT_E_WORKER_CRASH);
        for (int k = 0; k < 2; k++)
            assert_int_equal(kit_outcome(held[k], NULL), PIT_E_WORKER_CRASH);
    }
    assert_int_equal(truncate(path, 0), 0);
    hold(p, path, held, 2);
    unlink(path);
    for (int k = 0; k < 2; k++)
        assert_int_equal(kit_outcome(held[k], NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kit_call(p, "fall", 1, KIT_LIMIT_MS, NULL), PIT_E_WORKER_CRASH);
    assert_int_equal(kit_call(p, "fall", 1, KIT_LIMIT_MS, NULL), PIT_E_POISON_CALL);
    assert_int_equal(kit_stats(p).crashes, 5);
    close_threads(p, before, "neighbours");
}

enum { EACH = 150, FALL = 50 };

struct storm {
    pit *p;
    atomic_int good, crashed;
};

static void *call_on(void *arg)
{
    struct storm *s = arg;
    for (int i = 0; i < EACH; i++) {
        int64_t n = 0;
        bool falls = i % FALL == FALL - 1;
        int rc = kit_call(s->p, falls ? "fall" : "inc", i, KIT_LIMIT_MS, &n);
        bool refused = falls && rc == PIT_E_POISON_CALL; /* it has been alone in a worker twice */
        if (rc != PIT_E_WORKER_CRASH && !refused && (rc != 0 || falls || n != i + 1))
            fail_msg("call %d: %s, %lld", i, pit_error_code_name(rc), (long long)n);
        atomic_fetch_add(rc == 0 ? &s->good : &s->crashed, 1);
    }
    return NULL;
}

/* Callers and futures on all lanes while workers go: each call has one outcome, its own answer or the crash of its worker. */
static void test_storm(void **state)
{
    (void)state;
    enum { CALLERS = 4, FUTURES = 200 };
    struct kit_before before = kit_before();
    struct storm s = {.p = open_threads((struct thread_setting){.threads = LANES, .workers = 2, .calm = true})};
    pthread_t threads[CALLERS];
    pit_future *f[FUTURES];
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &s), 0);
    for (int i = 0; i < FUTURES; i++)
        f[i] = kit_submit(s.p, "inc", i, NULL);
    for (int i = 0; i < FUTURES; i++) {
        int64_t n = 0;
        int rc = kit_outcome(f[i], &n);
        assert_true(rc == PIT_E_WORKER_CRASH || (rc == 0 && n == i + 1));
        atomic_fetch_add(rc == 0 ? &s.good : &s.crashed, 1);
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    pit_stats t = kit_stats(s.p);
    assert_int_equal(t.succeeded, atomic_load(&s.good));
    assert_int_equal(t.errors, atomic_load(&s.crashed));
    assert_true(t.errors >= CALLERS * (EACH / FALL) && t.crashes > 0 && t.errors >= t.crashes);
    close_threads(s.p, before, "storm");
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
        cmocka_unit_test(test_calls),       cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_contexts),    cmocka_unit_test(test_counts),
        cmocka_unit_test(test_much),        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_fails_for_good),
        cmocka_unit_test(test_plain_class), cmocka_unit_test(test_death),
        cmocka_unit_test(test_neighbours),  cmocka_unit_test(test_recycle),
        cmocka_unit_test(test_health),      cmocka_unit_test(test_gil),
        cmocka_unit_test(test_stalled),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
