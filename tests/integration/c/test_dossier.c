/* Dossiers as a C program gets them: of forked and of exec'd workers, in every form of a call, and what the options leave out. */
#include "integration/c/kit_python.h"

struct how {
    const char *profile;
    int start_mode, channel, generate_repro;
    const pit_dossier_options *dossier;
};

static pit *open_dying(struct how how)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "dying";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/dossier.py";
    pool.workers = 1;
    pool.profile = how.profile;
    pool.start_mode = how.start_mode;
    pool.channel = how.channel;
    pool.dossier = how.dossier;
    pool.restart_backoff = PIT_OFF;
    pool.queue_timeout_ms = KIT_LIMIT_MS;
    o.generate_repro = how.generate_repro;
    return kit_open_python(&o, &pool);
}

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "(none)");
}

/* The error of crash(at), whose status the kernel has told. */
static pit_error *crash(pit *p, int64_t at)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "crash", NULL, &v, &e, "{s:I}", "at", at), PIT_E_WORKER_CRASH);
    return e;
}

static void check_crash(const pit_error *e, const char *address)
{
    const pit_value *d = pit_error_dossier(e), *frame, *frames, *thread;
    bool seen = false;
    assert_non_null(d);
    assert_string_equal(text_of(pit_value_get(d, "fault"), "address"), address);
    assert_string_equal(text_of(d, "worker_id"), pit_error_worker(e));
    assert_string_equal(text_of(pit_value_at(pit_value_get(d, "calls"), 0), "command"), "crash");
    thread = pit_value_at(pit_value_get(d, "python"), 0);
    frames = pit_value_get(thread, "frames");
    for (size_t i = 0; pit_value_next(frames, &i, NULL, &frame);) {
        int64_t line = 0;
        if (strcmp(text_of(frame, "function"), "crash") == 0)
            seen = pit_value_get_int(pit_value_get(frame, "line"), &line) && line == 15;
    }
    assert_true(seen);
}

static void crash_thrice(struct how how, const char *mode)
{
    pit *p = open_dying(how);
    char before[96] = "";
    for (int i = 0; i < 3; i++) {
        pit_error *e = crash(p, 4096 + i);
        char address[32];
        snprintf(address, sizeof address, "0x%x", 4096 + i);
        check_crash(e, address);
        const pit_value *d = pit_error_dossier(e);
        assert_string_equal(text_of(d, "start_mode"), mode);
        assert_string_not_equal(text_of(d, "id"), before); /* each worker has its own */
        snprintf(before, sizeof before, "%s", text_of(d, "id"));
        assert_true(pit_value_len(pit_value_get(d, "native")) > 3);
        pit_error_free(e);
    }
    assert_int_equal(pit_close(p), 0);
}

static void test_forked_workers(void **state)
{
    (void)state;
    crash_thrice((struct how){.start_mode = PIT_START_ZYGOTE}, "zygote");
}

static void test_workers_by_exec(void **state)
{
    (void)state;
    crash_thrice((struct how){.start_mode = PIT_START_EXEC}, "exec");
}

static void test_lanes_of_threads(void **state)
{
    (void)state;
    pit *p = open_dying((struct how){.profile = "thread"});
    pit_error *e = crash(p, 8);
    check_crash(e, "0x8");
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
}

static void test_workers_on_the_socket(void **state)
{
    (void)state;
    crash_thrice((struct how){.start_mode = PIT_START_EXEC, .channel = PIT_CHANNEL_SOCKET}, "exec");
}

static void test_futures_and_batches(void **state)
{
    (void)state;
    pit *p = open_dying((struct how){0});
    pit_value *args = pit_pack("{s:i}", "at", 64), *v = NULL;
    pit_future *f = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_submit(p, "crash", args, NULL, &f, NULL), 0);
    assert_int_equal(pit_future_wait(f, PIT_INFINITE), 0);
    assert_int_equal(pit_future_result(f, &v, &e), PIT_E_WORKER_CRASH);
    check_crash(e, "0x40");
    pit_error_free(e);
    pit_future_free(f);
    pit_call_item item = {.command = "crash", .args = args};
    pit_call_result result;
    assert_int_equal(pit_call_many(p, &item, 1, NULL, &result, NULL), 0);
    assert_int_equal(result.rc, PIT_E_WORKER_CRASH);
    check_crash(result.error, "0x40");
    pit_call_results_free(&result, 1);
    pit_value_free(args);
    assert_int_equal(pit_close(p), 0);
}

static void test_a_dossier_outlives_its_host(void **state)
{
    (void)state;
    pit *p = open_dying((struct how){0});
    pit_error *e = crash(p, 8);
    assert_int_equal(pit_close(p), 0);
    check_crash(e, "0x8");
    char *json = pit_error_json(e);
    assert_non_null(json);
    assert_non_null(strstr(json, "\"dossier\":{\"id\":"));
    pit_free(json);
    pit_error_free(e);
}

static struct {
    pthread_mutex_t lock;
    char id[128];
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int on_crash(const pit_event *ev, void *user)
{
    (void)user;
    pthread_mutex_lock(&told.lock);
    snprintf(told.id, sizeof told.id, "%s", pit_event_text(ev, "dossier_id"));
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static bool was_told(const char *id)
{
    pthread_mutex_lock(&told.lock);
    bool same = strcmp(told.id, id) == 0;
    pthread_mutex_unlock(&told.lock);
    return same;
}

static void test_the_event_names_the_dossier(void **state)
{
    (void)state;
    pit *p = open_dying((struct how){0});
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.crash", on_crash, NULL, NULL, NULL), 0);
    pit_error *e = crash(p, 8);
    KIT_AWAIT(was_told(text_of(pit_error_dossier(e), "id")));
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
}

static void test_switched_off(void **state)
{
    (void)state;
    pit_dossier_options off = PIT_DOSSIER_OPTIONS_INIT, python = PIT_DOSSIER_OPTIONS_INIT;
    off.enabled = PIT_OFF;
    pit *p = open_dying((struct how){.dossier = &off});
    pit_error *e = crash(p, 8);
    assert_null(pit_error_dossier(e));
    assert_string_equal(text_of(pit_error_details(e), "exit_class"), "segfault");
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
    python.native_stack = PIT_OFF;
    p = open_dying((struct how){.dossier = &python});
    e = crash(p, 8);
    check_crash(e, "0x8");
    assert_null(pit_value_get(pit_error_dossier(e), "native"));
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
}

static void test_bad_options(void **state)
{
    (void)state;
    enum { CASES = 6 };
    pit_dossier_options bad[CASES];
    for (int i = 0; i < CASES; i++)
        bad[i] = (pit_dossier_options)PIT_DOSSIER_OPTIONS_INIT;
    bad[0].enabled = 2;
    bad[1].native_stack = -7;
    bad[2].size = 1;
    bad[3].dir = "";
    bad[4].max_bytes = 64 * 1024 - 1;
    bad[5].max_bytes = -2;
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    for (int i = 0; i < CASES; i++) {
        pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
        pit_error *e = NULL;
        pool.name = "bad";
        pool.adapter = "x:Y";
        pool.dossier = &bad[i];
        assert_int_equal(pit_pool_start(p, &pool, &e), PIT_E_INVALID_PARAMETER);
        assert_non_null(strstr(pit_error_message(e), "dossier"));
        pit_error_free(e);
    }
    assert_int_equal(pit_close(p), 0);
}

static void has_repro(pit_error *e, const char *line, bool on)
{
    const char *repro = pit_value_str(pit_value_get(pit_error_details(e), "repro"));
    if (on ? repro == NULL || strncmp(repro, line, strlen(line)) != 0 : repro != NULL)
        fail_msg("%s", pit_error_string(e));
    pit_error_free(e);
}

/* Of a call that has begun; where a worker that was lost before was not back in time, once more. */
static pit_error *too_late(pit *p, bool blocking)
{
    pit_value *args = pit_pack("{s:s}", "token", "hunter2");
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    o.timeout_ms = 50;
    for (const uint64_t until = kit_limit();;) {
        pit_future *f = NULL;
        if (blocking) {
            assert_int_equal(pit_call(p, "doze", args, &o, NULL, &e), PIT_E_DEADLINE_EXCEEDED);
        } else {
            assert_int_equal(pit_submit(p, "doze", args, &o, &f, NULL), 0);
            assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
            assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_DEADLINE_EXCEEDED);
            pit_future_free(f);
        }
        if (strcmp(text_of(pit_error_details(e), "phase"), "worker") == 0)
            break;
        pit_error_free(e);
        e = NULL;
        assert_true(pit_now_ns() < until);
    }
    pit_value_free(args);
    return e;
}

/* A call that had no result in time can be made again as well, and one that is refused since it kills. */
static void other_errors_hold_arguments(pit *p, bool on)
{
    for (int blocking = 0; blocking < 2; blocking++) {
        pit_error *e = too_late(p, blocking != 0);
        assert_null(strstr(pit_error_string(e), "hunter2"));
        has_repro(e, "snakepit call doze --adapter " TEST_SOURCE_DIR "/tests/integration/c/dossier.py", on);
    }
    pit_error_free(crash(p, 8));
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "crash", NULL, NULL, &e, "{s:I}", "at", (int64_t)8), PIT_E_POISON_CALL);
    has_repro(e, "snakepit call crash --adapter ", on);
}

static void test_errors_hold_arguments_unless_told_not_to(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        pit *p = open_dying((struct how){.generate_repro = on ? 0 : PIT_OFF});
        pit_error *e = crash(p, 8);
        assert_int_equal(strstr(pit_error_string(e), "'{\"at\":8}'") != NULL, on);
        has_repro(e, "snakepit call crash --adapter ", on != 0);
        other_errors_hold_arguments(p, on != 0);
        assert_int_equal(pit_close(p), 0);
    }
    pit_options bad = PIT_OPTIONS_INIT;
    pit *none = NULL;
    bad.generate_repro = 2;
    assert_int_equal(pit_open(&bad, &none, NULL), PIT_E_INVALID_PARAMETER);
}

/* ---- on disk ---- */

static char place[64], folder[80];

static int set_up_folder(void **state)
{
    (void)state;
    snprintf(place, sizeof place, "/tmp/snakepit-dossier-XXXXXX");
    assert_non_null(mkdtemp(place));
    snprintf(folder, sizeof folder, "%s/kept", place);
    return 0;
}

static int tear_down_folder(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", place);
    return system(command);
}

struct kept {
    unsigned files;
    uint64_t bytes;
};

static struct kept count_kept(void)
{
    struct kept k = {0, 0};
    DIR *dir = opendir(folder);
    for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
        char path[400];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] == '.' || stat(path, &st) != 0)
            continue;
        assert_non_null(strstr(e->d_name, ".json"));
        k.files++;
        k.bytes += (uint64_t)st.st_size;
    }
    if (dir != NULL)
        closedir(dir);
    return k;
}

static bool suggests(const pit_error *e, const char *text)
{
    return strstr(pit_error_string(e), text) != NULL;
}

static void check_file(const pit_error *e)
{
    static char text[256 * 1024];
    char path[300];
    const pit_value *d = pit_error_dossier(e);
    snprintf(path, sizeof path, "%s/%s.json", folder, text_of(d, "id"));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    char *json = pit_value_to_json(d, 0);
    assert_int_equal(n, strlen(json) + 1);
    assert_memory_equal(text, json, n - 1);
    pit_free(json);
}

static void test_kept_on_disk(void **state)
{
    (void)state;
    char step[200];
    pit_dossier_options kept = PIT_DOSSIER_OPTIONS_INIT;
    kept.dir = folder;
    pit *p = open_dying((struct how){.dossier = &kept});
    pit_error *e = crash(p, 8);
    assert_int_equal(pit_close(p), 0);
    check_file(e);
    snprintf(step, sizeof step, "snakepit crash show %s --dir %s", text_of(pit_error_dossier(e), "id"), folder);
    assert_true(suggests(e, step));
    assert_int_equal(count_kept().files, 1);
    pit_error_free(e);
}

static void test_nothing_is_kept(void **state)
{
    (void)state;
    pit_dossier_options none = PIT_DOSSIER_OPTIONS_INIT;
    none.dir = folder;
    none.max_bytes = PIT_NONE;
    pit *p = open_dying((struct how){.dossier = &none});
    pit_error *e = crash(p, 8);
    assert_int_equal(pit_close(p), 0);
    assert_non_null(pit_error_dossier(e));
    assert_true(suggests(e, "pit_error_dossier()") && !suggests(e, "snakepit crash show"));
    assert_int_equal(access(folder, F_OK), -1);
    pit_error_free(e);
}

static struct {
    atomic_uint calls;
    char dir[80];
} lost;

static int on_lost(const pit_event *ev, void *user)
{
    (void)user;
    snprintf(lost.dir, sizeof lost.dir, "%s", pit_event_text(ev, "dir"));
    atomic_fetch_add(&lost.calls, 1);
    return 0;
}

/* It is told once, and who asks later is not sent to a file that is not there. */
static void test_a_place_that_cannot_be_used(void **state)
{
    (void)state;
    pit_dossier_options kept = PIT_DOSSIER_OPTIONS_INIT;
    kept.dir = folder;
    int fd = open(folder, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    pit *p = open_dying((struct how){.dossier = &kept});
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.dossier_lost", on_lost, NULL, NULL, NULL), 0);
    pit_error_free(crash(p, 8));
    KIT_AWAIT(atomic_load(&lost.calls) == 1);
    assert_string_equal(lost.dir, folder);
    pit_error *e = crash(p, 8);
    assert_non_null(pit_error_dossier(e));
    assert_true(suggests(e, "pit_error_dossier()") && !suggests(e, "snakepit crash show"));
    pit_error_free(e);
    assert_int_equal(pit_close(p), 0);
    assert_int_equal(atomic_load(&lost.calls), 2); /* the second one, at the end */
}

static void test_crash_after_crash(void **state)
{
    (void)state;
    enum { MOST = 64 * 1024, CRASHES = 40 };
    struct kit_before before = kit_before();
    pit_dossier_options kept = PIT_DOSSIER_OPTIONS_INIT;
    kept.dir = folder;
    kept.max_bytes = MOST;
    pit *p = open_dying((struct how){.dossier = &kept});
    for (int i = 0; i < CRASHES; i++)
        pit_error_free(crash(p, 4096 + i)); /* the same call again and again would be refused */
    assert_int_equal(pit_close(p), 0);
    struct kept k = count_kept();
    assert_true(k.files >= 2 && k.files < CRASHES && k.bytes <= MOST);
    kit_clean(before, "crash after crash");
}

/* No more than the worker's own: the page goes with its segment. */
static void test_nothing_is_left(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_dying((struct how){0});
    pit_error_free(crash(p, 8));
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "a crash with a dossier");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forked_workers),
        cmocka_unit_test(test_workers_by_exec),
        cmocka_unit_test(test_lanes_of_threads),
        cmocka_unit_test(test_workers_on_the_socket),
        cmocka_unit_test(test_futures_and_batches),
        cmocka_unit_test(test_a_dossier_outlives_its_host),
        cmocka_unit_test(test_the_event_names_the_dossier),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_errors_hold_arguments_unless_told_not_to),
        cmocka_unit_test_setup_teardown(test_kept_on_disk, set_up_folder, tear_down_folder),
        cmocka_unit_test_setup_teardown(test_nothing_is_kept, set_up_folder, tear_down_folder),
        cmocka_unit_test_setup_teardown(test_a_place_that_cannot_be_used, set_up_folder, tear_down_folder),
        cmocka_unit_test_setup_teardown(test_crash_after_crash, set_up_folder, tear_down_folder),
        cmocka_unit_test(test_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
