/* The flight recorder, end to end: what the dossier of a worker tells of the time before its death. */
#include "integration/c/kit_python.h"

struct how {
    const char *profile;
    int start_mode, channel;
    const pit_recorder_options *recorder;
};

static const char *pilot_data_dir;

static pit *open_pilot(struct how how)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "pilot";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/recorder.py";
    pool.workers = 1;
    pool.profile = how.profile;
    pool.threads_per_worker = how.profile != NULL ? 3 : 0;
    pool.start_mode = how.start_mode;
    pool.channel = how.channel;
    pool.restart_backoff = PIT_OFF;
    pool.queue_timeout_ms = KIT_LIMIT_MS;
    o.recorder = how.recorder;
    o.data_dir = pilot_data_dir;
    return kit_open_python(&o, &pool);
}

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "(none)");
}

static int call(pit *p, const char *command)
{
    pit_value *v = NULL;
    int rc = pit_callf(p, command, NULL, &v, NULL, "");
    pit_value_free(v);
    return rc;
}

static void echo(pit *p, int n)
{
    pit_value *v = NULL;
    assert_int_equal(pit_callf(p, "echo", NULL, &v, NULL, "{s:i}", "x", n), 0);
    pit_value_free(v);
}

/* The dossier of a worker that has just crashed, with an error that is to be freed. */
static pit_error *crash(pit *p)
{
    static int at = 4096; /* each crash is a call of its own: a pool refuses what has killed twice */
    pit_value *v = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "crash", NULL, &v, &e, "{s:i}", "at", at++), PIT_E_WORKER_CRASH);
    assert_non_null(pit_error_dossier(e));
    return e;
}

static const pit_value *events_of(const pit_error *e)
{
    return pit_value_get(pit_error_dossier(e), "events");
}

/* The last event of that name and, of a call, that command; NULL: none. */
static const pit_value *find(const pit_value *events, const char *name, const char *command)
{
    for (size_t i = pit_value_len(events); i-- > 0;) {
        const pit_value *event = pit_value_at(events, i);
        if (strcmp(text_of(event, "event"), name) == 0 && (command == NULL || strcmp(text_of(event, "command"), command) == 0))
            return event;
    }
    return NULL;
}

static void check_outcome(const pit_value *events, const char *command, const char *outcome)
{
    const pit_value *event = find(events, "call", command);
    double took = -1;
    assert_non_null(event);
    assert_string_equal(text_of(event, "outcome"), outcome);
    assert_memory_equal(text_of(event, "call"), "sp-", 3);
    assert_true(pit_value_get_number(pit_value_get(event, "took_us"), &took) == (strcmp(outcome, "running") != 0));
}

static void check_order(const pit_value *events)
{
    uint64_t before = 0, ns;
    char text[64] = "";
    const pit_value *event;
    for (size_t i = 0; pit_value_next(events, &i, NULL, &event);) {
        assert_true(pit_value_get_uint(pit_value_get(event, "monotonic_ns"), &ns));
        assert_true(ns >= before && ns <= pit_now_ns());
        before = ns;
        assert_true(strcmp(text_of(event, "time"), text) >= 0);
        snprintf(text, sizeof text, "%s", text_of(event, "time"));
        assert_int_equal(strlen(text), strlen("2026-11-22T03:04:05.678901Z"));
    }
}

static void check_life(struct how how)
{
    pit *p = open_pilot(how);
    uint64_t began = pit_now_ns(), ns = 0;
    echo(p, 1);
    assert_int_not_equal(call(p, "fail"), 0);
    assert_int_not_equal(call(p, "memory"), 0);
    assert_int_not_equal(call(p, "unsendable"), 0);
    assert_int_equal(call(p, "nowhere"), PIT_E_TOOL_NOT_FOUND);
    assert_int_equal(call(p, "fork"), 0);
    pit_error *e = crash(p);
    const pit_value *events = events_of(e);
    check_order(events);
    check_outcome(events, "echo", "ok");
    check_outcome(events, "fail", "error");
    check_outcome(events, "memory", "no_memory");
    check_outcome(events, "unsendable", "error");
    check_outcome(events, "fork", "ok");
    check_outcome(events, "crash", "running");
    check_outcome(events, "(none)", "error"); /* nobody knows the name of what there is not */
    assert_true(pit_value_get_uint(pit_value_get(find(events, "call", "echo"), "monotonic_ns"), &ns));
    assert_true(ns + 1000000 >= began);
    static const char *const others[] = {"spawned", "serving", "ready", "forked", "dead"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (find(events, others[i], NULL) == NULL)
            fail_msg("no event %s", others[i]);
    int64_t pid = 0, spawned = -1;
    assert_true(pit_value_get_int(pit_value_get(pit_error_dossier(e), "pid"), &pid));
    assert_true(pit_value_get_int(pit_value_get(find(events, "spawned", NULL), "pid"), &spawned));
    assert_int_equal(spawned, pid);
    assert_true(pit_value_get_int(pit_value_get(find(events, "serving", NULL), "pid"), &spawned));
    assert_int_equal(spawned, pid);
    pit_error_free(e);
    echo(p, 2);
    assert_int_equal(pit_close(p), 0);
}

static void test_forked_worker(void **state)
{
    (void)state;
    check_life((struct how){.start_mode = PIT_START_ZYGOTE});
}

static void test_worker_by_exec(void **state)
{
    (void)state;
    check_life((struct how){.start_mode = PIT_START_EXEC});
}

static void test_worker_with_threads(void **state)
{
    (void)state;
    check_life((struct how){.profile = "thread"});
}

/* Of many calls the last ones, also when the ring has gone round. */
static void test_newest(void **state)
{
    (void)state;
    pit_recorder_options recorder = PIT_RECORDER_OPTIONS_INIT;
    recorder.ring_bytes = 4096;
    static const int counts[] = {0, 1, 62, 63, 64, 127, 128, 129, 255, 256, 300, 2000};
    pit *p = open_pilot((struct how){.recorder = &recorder});
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        for (int i = 0; i < counts[k]; i++)
            echo(p, i);
        pit_error *e = crash(p);
        const pit_value *events = events_of(e), *event;
        size_t calls = 0;
        int64_t finished = 0;
        check_order(events);
        for (size_t i = 0; pit_value_next(events, &i, NULL, &event);)
            calls += strcmp(text_of(event, "event"), "call") == 0;
        assert_true(pit_value_len(events) <= 64);
        assert_true(calls == (size_t)counts[k] + 1 || pit_value_len(events) == 64);
        check_outcome(events, "crash", "running");
        assert_true(pit_value_get_int(pit_value_get(pit_error_dossier(e), "calls_finished"), &finished));
        assert_int_equal(finished, counts[k]);
        pit_error_free(e);
    }
    assert_int_equal(pit_close(p), 0);
}

static void test_cancellation(void **state)
{
    (void)state;
    pit *p = open_pilot((struct how){0});
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL;
    echo(p, 0); /* the first call is slow */
    o.timeout_ms = 50;
    assert_int_equal(pit_callf(p, "spin", &o, &v, NULL, ""), PIT_E_DEADLINE_EXCEEDED);
    pit_error *e = crash(p); /* waits until that call has left the worker */
    const pit_value *events = events_of(e), *rung = find(events, "rung", NULL), *seen = find(events, "cancel_seen", NULL);
    int64_t n = 0;
    check_outcome(events, "spin", "cancelled");
    assert_non_null(rung);
    assert_non_null(seen);
    assert_true(pit_value_get_int(pit_value_get(rung, "rung"), &n));
    assert_int_equal(n, PIT_RUNG_FLAG);
    assert_string_equal(text_of(rung, "call"), text_of(find(events, "call", "spin"), "call"));
    assert_string_equal(text_of(seen, "call"), text_of(rung, "call"));
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
}

static void test_socket_lane_tells_what_the_host_sees(void **state)
{
    (void)state;
    pit *p = open_pilot((struct how){.channel = PIT_CHANNEL_SOCKET, .start_mode = PIT_START_EXEC});
    pit_error *e = crash(p);
    assert_non_null(find(events_of(e), "spawned", NULL));
    assert_non_null(find(events_of(e), "ready", NULL));
    assert_null(find(events_of(e), "call", NULL));
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
}

/* What the recorder of a worker's successor tells, read from outside. */
static void test_the_worker_before(void **state)
{
    (void)state;
    char folder[] = "/tmp/snakepit-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    pilot_data_dir = folder;
    pit *p = open_pilot((struct how){0});
    echo(p, 1);
    pit_error_free(crash(p));
    echo(p, 2);
    pit_blackbox_options o = PIT_BLACKBOX_OPTIONS_INIT;
    pit_value *v = NULL;
    o.data_dir = folder;
    o.pid = (int)getpid();
    uint64_t until = pit_now_ns() + KIT_LIMIT_MS * UINT64_C(1000000);
    for (;;) { /* the answer is out a moment before the record says so */
        assert_int_equal(pit_blackbox_read(&o, &v, NULL), 0);
        const pit_value *one = pit_value_at(pit_value_get(pit_value_at(pit_value_get(v, "hosts"), 0), "workers"), 0);
        if (strcmp(text_of(find(pit_value_get(one, "events"), "call", "echo"), "outcome"), "ok") == 0)
            break;
        assert_true(pit_now_ns() < until);
        pit_value_free(v);
    }
    const pit_value *host = pit_value_at(pit_value_get(v, "hosts"), 0);
    const pit_value *worker = pit_value_at(pit_value_get(host, "workers"), 0), *before = pit_value_get(worker, "before");
    assert_string_equal(text_of(worker, "worker_id"), "pilot/0.2");
    check_outcome(pit_value_get(worker, "events"), "echo", "ok");
    assert_null(find(pit_value_get(worker, "events"), "call", "crash"));
    assert_string_equal(text_of(before, "exit_class"), "segfault");
    check_order(pit_value_get(before, "events"));
    check_outcome(pit_value_get(before, "events"), "crash", "running");
    check_outcome(pit_value_get(before, "events"), "echo", "ok");
    assert_non_null(find(pit_value_get(before, "events"), "dead", NULL));
    pit_value_free(v);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(pit_blackbox_read(&o, &v, NULL), 0); /* nobody is left */
    assert_int_equal(pit_value_len(pit_value_get(v, "hosts")), 0);
    pit_value_free(v);
    pilot_data_dir = NULL;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_bad_looks(void **state)
{
    (void)state;
    pit_blackbox_options o = PIT_BLACKBOX_OPTIONS_INIT;
    pit_value *v = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_blackbox_read(NULL, NULL, &e), PIT_E_INVALID_PARAMETER);
    pit_error_free(e);
    o.last = -1;
    assert_int_equal(pit_blackbox_read(&o, &v, &e), PIT_E_INVALID_PARAMETER);
    pit_error_free(e);
    o.last = 0;
    o.data_dir = "/proc/self/status";
    assert_int_equal(pit_blackbox_read(&o, &v, &e), PIT_E_SYSTEM_ERROR);
    pit_error_free(e);
    o.data_dir = "/nowhere";
    assert_int_equal(pit_blackbox_read(&o, &v, &e), 0);
    pit_value_free(v);
}

static void test_off(void **state)
{
    (void)state;
    pit_recorder_options recorder = PIT_RECORDER_OPTIONS_INIT;
    recorder.enabled = PIT_OFF;
    pit *p = open_pilot((struct how){.recorder = &recorder});
    pit_error *e = crash(p);
    bool partial = true;
    assert_null(events_of(e));
    assert_true(pit_value_get_bool(pit_value_get(pit_error_dossier(e), "partial"), &partial));
    assert_false(partial); /* nothing was to be there */
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
}

static void test_settings(void **state)
{
    (void)state;
    static const size_t bad[] = {1, 2048, 4095, 6144, (64u << 20) + 1, 128u << 20};
    pit_options o = PIT_OPTIONS_INIT;
    pit_recorder_options recorder = PIT_RECORDER_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    o.recorder = &recorder;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        recorder.ring_bytes = bad[i];
        assert_int_equal(pit_open(&o, &p, &e), PIT_E_INVALID_PARAMETER);
        assert_non_null(strstr(pit_error_message(e), "recorder.ring_bytes"));
        pit_error_free(e);
    }
    recorder.ring_bytes = 0;
    recorder.enabled = 2;
    assert_int_equal(pit_open(&o, &p, &e), PIT_E_INVALID_PARAMETER);
    assert_non_null(strstr(pit_error_message(e), "recorder.enabled"));
    pit_error_free(e);
    recorder.size = 1;
    assert_int_not_equal(pit_open(&o, &p, &e), 0);
    pit_error_free(e);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forked_worker),
        cmocka_unit_test(test_worker_by_exec),
        cmocka_unit_test(test_worker_with_threads),
        cmocka_unit_test(test_newest),
        cmocka_unit_test(test_cancellation),
        cmocka_unit_test(test_socket_lane_tells_what_the_host_sees),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_the_worker_before),
        cmocka_unit_test(test_bad_looks),
        cmocka_unit_test(test_settings),
    };
    kit_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
