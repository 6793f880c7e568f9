/* Limits of calls: each of them, by a call that goes on and on and by one that has ended when it is seen. */
#include "integration/c/cancel_kit.h"

enum { MiB = 1 << 20, MANY_MS = 1000000 };

static struct {
    pthread_mutex_t lock;
    unsigned n;
    char limit[32], command[32], worker[64];
    double allowed, used;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int on_limit(const pit_event *ev, void *user)
{
    (void)user;
    pthread_mutex_lock(&seen.lock);
    copy_text(seen.limit, sizeof seen.limit, pit_event_text(ev, "limit"));
    copy_text(seen.command, sizeof seen.command, pit_event_text(ev, "command"));
    copy_text(seen.worker, sizeof seen.worker, pit_event_text(ev, "worker_id"));
    pit_event_number(ev, "allowed", &seen.allowed);
    pit_event_number(ev, "used", &seen.used);
    seen.n++;
    pthread_mutex_unlock(&seen.lock);
    return 0;
}

static unsigned n_seen(void)
{
    pthread_mutex_lock(&seen.lock);
    unsigned n = seen.n;
    pthread_mutex_unlock(&seen.lock);
    return n;
}

static pit *open_limited(struct setting s)
{
    s.grace_ms = s.grace_ms != 0 ? s.grace_ms : SHORT_MS;
    s.adapter = "Survivor";
    pit *p = open_work(s);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.call.limit", on_limit, NULL, NULL, NULL), 0);
    seen.n = 0;
    return p;
}

/* The limit that the error of a call names; the error is freed. */
static int outcome_of(int rc, pit_error *e, const char *limit, int64_t allowed)
{
    if (rc != PIT_E_CALL_LIMIT_EXCEEDED) {
        if (rc != 0)
            printf("%s\n", pit_error_string(e));
        pit_error_free(e);
        return rc;
    }
    const pit_value *details = pit_error_details(e);
    int64_t n = 0, used = 0;
    assert_string_equal(pit_value_str_or(pit_value_get(details, "limit"), ""), limit);
    assert_true(pit_value_get_int(pit_value_get(details, "allowed"), &n) && n == allowed);
    assert_true(pit_value_get_int(pit_value_get(details, "used"), &used) && used > allowed);
    assert_non_null(strstr(pit_error_message(e), limit));
    assert_non_null(pit_error_worker(e));
    pit_error_free(e);
    return rc;
}

static int call_limited(pit *p, const char *command, int64_t n, const pit_limits *l, const char *limit, int64_t allowed)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    o.limits = l;
    int rc = pit_callf(p, command, &o, NULL, &e, "[I]", n);
    return outcome_of(rc, e, limit, allowed);
}

struct row {
    const char *limit, *command;
    int64_t allowed, n;
    size_t at; /* of the limit, in the struct */
    bool goes_on;
};

static const struct row rows[] = {
    {"cpu_ms", "burn", 30, INT64_C(3600000000000), offsetof(pit_limits, cpu_ms), true},
    {"cpu_ms", "burn", 30, 60000000, offsetof(pit_limits, cpu_ms), false},
    {"wall_ms", "burn", 30, INT64_C(3600000000000), offsetof(pit_limits, wall_ms), true},
    {"rss_growth_mb", "grow", 40, 200 * MiB, offsetof(pit_limits, rss_growth_mb), true},
    {"output_bytes", "print_on", 20000, 1000, offsetof(pit_limits, output_bytes), true},
    {"output_bytes", "give", 20000, 20001, offsetof(pit_limits, output_bytes), false},
    {"open_files", "open_files", 10, 40, offsetof(pit_limits, open_files), true},
    {"open_files", "leave_open", 10, 40, offsetof(pit_limits, open_files), false},
};

static void each_limit(struct setting s)
{
    struct kit_before before = kit_before();
    pit *p = open_limited(s);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        pit_limits l = PIT_LIMITS_INIT;
        *(int64_t *)(void *)((char *)&l + r->at) = r->allowed;
        assert_int_equal(call_limited(p, r->command, r->n, &l, r->limit, r->allowed), PIT_E_CALL_LIMIT_EXCEEDED);
        KIT_AWAIT(n_seen() == i + 1);
        assert_string_equal(seen.limit, r->limit);
        assert_string_equal(seen.command, r->command);
        assert_true(strncmp(seen.worker, "work/", 5) == 0);
        assert_true(seen.allowed == (double)r->allowed && seen.used > seen.allowed);
        assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, NULL), 0);
    }
    unsigned ladders = 0; /* the calls that had ended have none; of the others it may be that they end first */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ladders += rows[i].goes_on && strcmp(rows[i].command, "burn") != 0;
    KIT_AWAIT(told() >= ladders);
    close_work(p, before, "each limit");
}

static void test_each(void **state)
{
    (void)state;
    each_limit((struct setting){.channel = PIT_CHANNEL_RING});
    each_limit((struct setting){.channel = PIT_CHANNEL_SOCKET});
    each_limit((struct setting){.drive = PIT_DRIVE_HOST});
}

/* What was given back before anybody looked: its peak is known where the kernel lets us reset it. */
static void test_peak(void **state)
{
    (void)state;
    struct os_usage u;
    assert_int_equal(os_linux.usage(getpid(), OS_USAGE_RESET_PEAK, &u), 0);
    if (!u.has_peak)
        printf("test_peak: /proc/self/clear_refs cannot be written here\n");
    struct kit_before before = kit_before();
    pit *p = open_limited((struct setting){0});
    pit_limits l = PIT_LIMITS_INIT;
    l.rss_growth_mb = 40;
    for (int i = 0; i < 2 && u.has_peak; i++) {
        assert_int_equal(call_limited(p, "grow_and_shrink", 120 * MiB, &l, "rss_growth_mb", 40), PIT_E_CALL_LIMIT_EXCEEDED);
        assert_int_equal(call_limited(p, "grow_and_shrink", MiB, &l, "", 0), 0);
    }
    close_work(p, before, "peak");
}

static void test_within(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit_limits of_pool = PIT_LIMITS_INIT;
    of_pool.output_bytes = 5000;
    of_pool.open_files = 100;
    pit *p = open_limited((struct setting){.limits = &of_pool, .workers = 2});
    pit_limits l = {sizeof l, MANY_MS, MANY_MS, 1000, 0, 100};
    for (int i = 0; i < 50; i++)
        assert_int_equal(call_limited(p, "give", 1000, i % 2 ? &l : NULL, "", 0), 0);
    assert_int_equal(call_limited(p, "give", 6000, NULL, "output_bytes", 5000), PIT_E_CALL_LIMIT_EXCEEDED);
    assert_int_equal(call_limited(p, "give", 6000, &l, "output_bytes", 5000), PIT_E_CALL_LIMIT_EXCEEDED);
    l.output_bytes = 7000;
    assert_int_equal(call_limited(p, "give", 6000, &l, "", 0), 0);
    l.output_bytes = PIT_INFINITE;
    assert_int_equal(call_limited(p, "give", 600000, &l, "", 0), 0);
    assert_int_equal(n_seen(), 2);
    assert_int_equal(told(), 0);
    close_work(p, before, "within");
}

static void test_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_limited((struct setting){0});
    pit_limits l = PIT_LIMITS_INIT;
    l.cpu_ms = -2;
    assert_int_equal(call_limited(p, "inc", 1, &l, "", 0), PIT_E_INVALID_PARAMETER);
    l.cpu_ms = 0;
    l.rss_growth_mb = INT64_MAX;
    assert_int_equal(call_limited(p, "inc", 1, &l, "", 0), PIT_E_INVALID_PARAMETER);
    l.rss_growth_mb = 0;
    l.size = 0;
    assert_int_equal(call_limited(p, "inc", 1, &l, "", 0), PIT_E_INVALID_PARAMETER);
    pit_limits none = PIT_LIMITS_INIT;
    assert_int_equal(call_limited(p, "inc", 1, &none, "", 0), 0);
    close_work(p, before, "refused");
}

/* Some go beyond, the others do not notice; a future and a batch. */
static void test_mixed(void **state)
{
    (void)state;
    enum { N = 24 };
    struct kit_before before = kit_before();
    pit *p = open_limited((struct setting){.workers = 2});
    pit_limits l = PIT_LIMITS_INIT;
    l.output_bytes = 5000;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.limits = &l;
    pit_call_item items[N] = {0};
    pit_call_result results[N];
    for (int i = 0; i < N; i++)
        items[i] = (pit_call_item){.command = "give", .args = pit_pack("[i]", i % 3 == 0 ? 6000 : 100)};
    assert_int_equal(pit_call_many(p, items, N, &o, results, NULL), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(results[i].rc, i % 3 == 0 ? PIT_E_CALL_LIMIT_EXCEEDED : 0);
        pit_value_free((pit_value *)items[i].args);
    }
    pit_call_results_free(results, N);
    assert_int_equal(kit_outcome(kit_submit(p, "give", 6000, &o), NULL), PIT_E_CALL_LIMIT_EXCEEDED);
    assert_int_equal(kit_outcome(kit_submit(p, "give", 60, &o), NULL), 0);
    KIT_AWAIT(n_seen() == N / 3 + 1);
    close_work(p, before, "mixed");
}

/* Code that does not react is killed, and the next call finds a whole worker. */
static void test_kill(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_limited((struct setting){0});
    int64_t pid = worker_pid(p);
    pit_limits l = PIT_LIMITS_INIT;
    l.cpu_ms = 20;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    o.limits = &l;
    int rc = pit_callf(p, "native", &o, NULL, &e, "[s]", mark_path);
    assert_int_equal(rung_of(e), PIT_RUNG_FLAG);
    assert_int_equal(outcome_of(rc, e, "cpu_ms", 20), PIT_E_CALL_LIMIT_EXCEEDED);
    struct told t = await_told(0);
    assert_string_equal(t.rung, "4");
    assert_string_equal(t.reason, "cpu_ms");
    assert_true(worker_pid(p) != pid);
    close_work(p, before, "kill");
}

/* ---- looks ---- */

static struct {
    atomic_uint looks;
    atomic_bool passed, gave_up;
} slow;

/* The look at a running call takes until somebody else has got the pool's lock. The first one belongs to its beginning. */
static int look_slowly(pid_t pid, unsigned what, struct os_usage *ret)
{
    if (atomic_fetch_add(&slow.looks, 1) == 1 && !KIT_COMES_TRUE(atomic_load(&slow.passed)))
        atomic_store(&slow.gave_up, true);
    return os_linux.usage(pid, what, ret);
}

static void test_a_look_holds_up_nobody(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os = os_linux;
    struct kit k = KIT_INIT;
    pit_limits l = PIT_LIMITS_INIT;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit *p = NULL;
    os.usage = look_slowly;
    l.cpu_ms = MANY_MS;
    l.wall_ms = MANY_MS;
    l.open_files = MANY_MS;
    o.limits = &l;
    assert_int_equal(kit_open_os(&os, &k, &p, NULL), 0);
    pit_future *f = kit_submit(p, "gate", 1, &o);
    KIT_AWAIT(atomic_load(&slow.looks) >= 2);
    assert_int_equal(kit_stats(p).busy, 1);
    atomic_store(&slow.passed, true);
    kit_open_gate();
    assert_int_equal(kit_outcome(f, NULL), 0);
    assert_false(atomic_load(&slow.gave_up));
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "a slow look");
    kit_reset_stage();
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_peak),
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_a_look_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
