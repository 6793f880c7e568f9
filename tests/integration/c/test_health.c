/* Health checks: what health() says, does not say, or says too late; and workers that lie. */
#include "integration/c/kit.h"

enum { NEVER_MS = 3600000 };

struct ward {
    struct kit_before before;
    pit *p;
    char path[96], asked[112], env[128], go[112], begun[128];
    atomic_int failed;
    pthread_mutex_t lock;
    char reason[256];
    double count;
};

static int hear(const pit_event *ev, void *user)
{
    struct ward *w = user;
    pthread_mutex_lock(&w->lock);
    snprintf(w->reason, sizeof w->reason, "%s", pit_event_text(ev, "reason"));
    pit_event_number(ev, "count", &w->count);
    pthread_mutex_unlock(&w->lock);
    atomic_fetch_add(&w->failed, 1);
    return 0;
}

static void say(struct ward *w, const char *text)
{
    char tmp[128];
    snprintf(tmp, sizeof tmp, "%s.new", w->path);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename(tmp, w->path), 0);
}

static long asked(struct ward *w)
{
    struct stat st;
    return stat(w->asked, &st) == 0 ? (long)st.st_size : 0;
}

struct how {
    const char *class;          /* of health.py */
    const char *const *command; /* instead of it */
    int channel;
    int64_t interval_ms, timeout_ms;
};

static void ward_open(struct ward *w, const struct how *how, const char *says)
{
    memset(w, 0, sizeof *w);
    w->before = kit_before();
    pthread_mutex_init(&w->lock, NULL);
    static int wards;
    snprintf(w->path, sizeof w->path, "%s.health%d", kit_stage_path, wards++);
    snprintf(w->asked, sizeof w->asked, "%s.asked", w->path);
    snprintf(w->go, sizeof w->go, "%s.go", w->path);
    snprintf(w->begun, sizeof w->begun, "%s.begun", w->go);
    snprintf(w->env, sizeof w->env, "HEALTH_PATH=%s", w->path);
    say(w, says);
    char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/health.py:%s", TEST_SOURCE_DIR, how->class);
    const char *env[] = {kit_mark, w->env, NULL};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "ward";
    pool.command = how->command;
    pool.adapter = how->command == NULL ? adapter : NULL;
    pool.channel = how->channel;
    pool.workers = 1;
    pool.env = env;
    pool.health_check_interval_ms = how->interval_ms;
    pool.health_check_timeout_ms = how->timeout_ms;
    const pit_pool_options *pools[] = {&pool};
    pit_options host = PIT_OPTIONS_INIT;
    host.guard_path = SNAKEPIT_GUARD_PATH;
    host.python = TEST_PYTHON;
    host.python_package_path = TEST_BUILD_DIR "/python";
    host.pools = pools;
    host.n_pools = 1;
    host.require_ready = PIT_OFF;
    host.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    host.log_level = PIT_LOG_DEBUG;
    pit_error *e = NULL;
    if (pit_open(&host, &w->p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_telemetry_attach(w->p, "snakepit.worker.health_check_failed", hear, w, NULL, NULL), 0);
    assert_int_equal(pit_await_all_ready(w->p, NULL, KIT_LIMIT_MS, NULL), 0);
}

static void ward_close(struct ward *w, const char *what)
{
    const char *files[] = {w->path, w->asked, w->go, w->begun};
    assert_int_equal(pit_close(w->p), 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(files[i]);
    pthread_mutex_destroy(&w->lock);
    kit_clean(w->before, what);
    kit_reset_stage();
}

/* Of the one worker; *ret_report a reference of its own. */
static int flags_of(struct ward *w, pit_value **ret_report)
{
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(w->p, NULL, &l, NULL), 0);
    const pit_worker_info *info = pit_worker_list_at(l, 0);
    int flags = info != NULL ? info->flags : -1;
    if (ret_report != NULL)
        *ret_report = info != NULL && info->health != NULL ? pit_value_ref(info->health) : NULL;
    pit_worker_list_free(l);
    return flags;
}

static const int channels[] = {PIT_CHANNEL_RING, PIT_CHANNEL_SOCKET};

static void test_well(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ward w;
        struct how how = {.class = "Patient", .channel = channels[i], .interval_ms = 20, .timeout_ms = KIT_LIMIT_MS};
        ward_open(&w, &how, "ok");
        pid_t pid = kit_worker(w.p, 0);
        pit_value *report = NULL;
        KIT_AWAIT((pit_value_free(report), flags_of(&w, &report), report != NULL));
        double mb = 0;
        assert_string_equal(pit_value_str(pit_value_get(report, "status")), "ok");
        assert_string_equal(pit_value_str(pit_value_at(pit_value_get(report, "loaded_models"), 0)), "m");
        assert_true(pit_value_get_float(pit_value_get(report, "memory_mb"), &mb) && mb == 1.5);
        assert_int_equal(pit_value_kind(pit_value_get(report, "odd")), PIT_KIND_MARKER);
        long before = asked(&w);
        for (int64_t n = 0, got; n < 50 || asked(&w) < before + 3; n++) { /* calls and checks take turns */
            assert_int_equal(kit_call(w.p, "quick", n, KIT_LIMIT_MS, &got), 0);
            assert_int_equal(got, n);
        }
        for (size_t k = 0; k < 3; k++) {
            const char *const well[] = {"healthy", "none", "large"};
            say(&w, well[k]);
            before = asked(&w);
            KIT_AWAIT(asked(&w) >= before + 3);
        }
        assert_int_equal(atomic_load(&w.failed), 0);
        assert_int_equal(flags_of(&w, NULL), 0);
        assert_int_equal(kit_worker(w.p, 0), pid);
        pit_value_free(report);
        ward_close(&w, "well");
    }
}

static void test_not_well(void **state)
{
    (void)state;
    const struct {
        const char *says, *reason;
    } cases[] = {
        {"raise", "RuntimeError: the model is \xef\xbf\xbd[31mgone"},
        {"false", "health() returned False"},
        {"list", "health() returned no dict but list"},
        {"tired", "its status is tired"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ward w;
        struct how how = {.class = "Patient", .channel = channels[i % 2], .interval_ms = 20, .timeout_ms = KIT_LIMIT_MS};
        ward_open(&w, &how, cases[i].says);
        KIT_AWAIT(atomic_load(&w.failed) >= 1);
        pthread_mutex_lock(&w.lock);
        assert_string_equal(w.reason, cases[i].reason);
        assert_true(w.count >= 1);
        pthread_mutex_unlock(&w.lock);
        say(&w, "ok");
        KIT_AWAIT(flags_of(&w, NULL) == 0);
        ward_close(&w, "not well");
    }
}

/* A health() that never returns is found by the clock, but not while a call runs. */
static void test_no_answer(void **state)
{
    (void)state;
    struct ward w;
    struct how how = {.class = "Patient", .channel = PIT_CHANNEL_RING, .interval_ms = 20, .timeout_ms = 30};
    ward_open(&w, &how, "hang");
    KIT_AWAIT(atomic_load(&w.failed) >= 1);
    assert_string_equal(w.reason, "it did not answer in time");
    ward_close(&w, "no answer");
}

/* Twice in a row: another worker takes its place, and no call notices. */
static void test_ill_is_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ward w;
        struct how how = {.class = "Patient", .channel = channels[i], .interval_ms = 20, .timeout_ms = KIT_LIMIT_MS};
        ward_open(&w, &how, "ok");
        pid_t pid = kit_worker(w.p, 0);
        say(&w, "false");
        for (int64_t n = 0, got; kit_stats(w.p).recycled_health == 0; n++) {
            assert_int_equal(kit_call(w.p, "quick", n, KIT_LIMIT_MS, &got), 0);
            assert_int_equal(got, n);
        }
        say(&w, "ok");
        KIT_AWAIT(kit_worker(w.p, 0) != 0 && kit_worker(w.p, 0) != pid && flags_of(&w, NULL) == 0);
        assert_true(atomic_load(&w.failed) >= 2);
        assert_int_equal(kit_call(w.p, "quick", 1, KIT_LIMIT_MS, NULL), 0);
        ward_close(&w, "ill");
    }
}

static void test_calls_are_no_illness(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ward w, clock;
        struct how how = {.class = "Patient", .channel = channels[i], .interval_ms = 5, .timeout_ms = KIT_LIMIT_MS};
        struct how slow = {.class = "Patient", .channel = PIT_CHANNEL_RING, .interval_ms = 20, .timeout_ms = KIT_LIMIT_MS};
        ward_open(&clock, &slow, "ok");
        ward_open(&w, &how, "ok");
        pit_future *f = NULL;
        pit_value *args = pit_pack("[s]", w.go);
        assert_int_equal(pit_submit(w.p, "wait", args, NULL, &f, NULL), 0);
        pit_value_free(args);
        KIT_AWAIT(access(w.begun, F_OK) == 0);
        long before = asked(&clock);
        KIT_AWAIT(asked(&clock) >= before + 10);
        assert_int_equal(atomic_load(&w.failed), 0);
        FILE *go = fopen(w.go, "w");
        fclose(go);
        assert_int_equal(kit_outcome(f, NULL), 0);
        before = asked(&w);
        KIT_AWAIT(asked(&w) >= before + 2);
        assert_int_equal(atomic_load(&w.failed), 0);
        assert_int_equal(pit_close(w.p), 0);
        unlink(w.go);
        unlink(w.begun);
        unlink(w.path);
        unlink(w.asked);
        ward_close(&clock, "calls");
    }
}

/* Whose health is a command, or who has none, or a pool that does not want to know: nobody is asked. */
static void test_not_asked(void **state)
{
    (void)state;
    const struct how hows[] = {
        {.class = "Tool", .channel = PIT_CHANNEL_RING, .interval_ms = 1, .timeout_ms = 1},
        {.class = "Patient", .channel = PIT_CHANNEL_RING, .interval_ms = PIT_INFINITE, .timeout_ms = 1},
    };
    struct ward clock;
    struct how often = {.class = "Patient", .channel = PIT_CHANNEL_RING, .interval_ms = 20, .timeout_ms = KIT_LIMIT_MS};
    for (size_t i = 0; i < 2; i++) {
        struct ward w;
        ward_open(&clock, &often, "ok");
        ward_open(&w, &hows[i], "false");
        long before = asked(&clock);
        KIT_AWAIT(asked(&clock) >= before + 10);
        assert_int_equal(asked(&w), 0);
        assert_int_equal(atomic_load(&w.failed), 0);
        assert_int_equal(pit_close(w.p), 0);
        unlink(w.path);
        ward_close(&clock, "not asked");
    }
}

/* A worker that is asked, says nothing of its own accord, and has its own idea of an answer. */
static void check_liar(int channel, int64_t how_it_lies, const char *reason, int code)
{
    struct ward w;
    const char *command[] = {KIT_WORKER, kit_stage_path, channel == PIT_CHANNEL_RING ? "ring" : "socket", NULL};
    struct how how = {.class = "", .command = command, .channel = channel, .interval_ms = 20, .timeout_ms = KIT_LIMIT_MS};
    atomic_store(&stage->heart, 4);
    ward_open(&w, &how, "");
    pid_t pid = kit_worker(w.p, 0);
    int64_t tries = code != 0 ? 1 : reason == NULL ? 100 : INT64_MAX; /* how often until it has been asked, nobody knows */
    for (int rc = 0; rc == 0 && atomic_load(&w.failed) == 0 && tries > 0; tries--)
        rc = kit_call(w.p, "say_health", how_it_lies, KIT_LIMIT_MS, NULL);
    if (code == 0)
        assert_int_equal(kit_worker(w.p, 0), pid);
    else
        KIT_AWAIT(kit_worker(w.p, 0) != 0 && kit_worker(w.p, 0) != pid);
    assert_int_equal(atomic_load(&w.failed), reason != NULL);
    if (reason != NULL)
        assert_string_equal(w.reason, reason);
    assert_int_equal(kit_call(w.p, "echo", 1, KIT_LIMIT_MS, NULL), 0);
    ward_close(&w, "liar");
}

static void test_liars(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        check_liar(channels[i], 0, NULL, 0);
        check_liar(channels[i], 1, "its answer is no map with `ok`", 0);
        check_liar(channels[i], 3, NULL, PIT_E_PROTOCOL_ERROR);
        check_liar(channels[i], 4, NULL, PIT_E_PROTOCOL_ERROR);
    }
}

static void test_bad_options(void **state)
{
    (void)state;
    const int64_t bad[][2] = {{PIT_NOW, 0}, {-9, 0}, {INT64_MAX, 0}, {0, PIT_NOW}, {0, PIT_INFINITE}, {0, INT64_MAX}};
    struct kit_before before = kit_before();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kit k = KIT_INIT;
        pit *p = NULL;
        pit_error *e = NULL;
        k.pool.health_check_interval_ms = bad[i][0];
        k.pool.health_check_timeout_ms = bad[i][1];
        assert_int_equal(kit_open_os(&os_linux, &k, &p, &e), bad[i][0] != 0 ? PIT_E_INVALID_INTERVAL : PIT_E_INVALID_TIMEOUT);
        assert_non_null(strstr(pit_error_message(e), bad[i][0] != 0 ? "health_check_interval_ms" : "health_check_timeout_ms"));
        pit_error_free(e);
    }
    kit_clean(before, "bad options");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well),
        cmocka_unit_test(test_not_well),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_ill_is_replaced),
        cmocka_unit_test(test_calls_are_no_illness),
        cmocka_unit_test(test_not_asked),
        cmocka_unit_test(test_liars),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
