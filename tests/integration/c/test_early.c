/* A caller learns of its worker's death when the kernel begins to take it down, not when it is done: python/src/_snakepit_farewell.c. */
#include "integration/c/kit.h"

struct early {
    pit *p;
    char path[96];
    int rc;
    int64_t exit_code;
    char class[32], signal[16];
    bool was_early;
    int pidfd;
};

/* Its pidfd is readable once all of its threads are gone, and with the last of them its memory. */
static bool has_not_ended(int pidfd)
{
    return os_linux.poll_one(pidfd, OS_READABLE, 0) == 0;
}

static int64_t nobody_else(int counter)
{
    (void)counter;
    return 0; /* the machine's own may rise, for any process on it */
}

static pit *open_python(void)
{
    static struct os_ops os;
    os = os_linux;
    os.oom_kills = nobody_else;
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.adapter = TEST_SOURCE_DIR "/tests/integration/c/early.py";
    o.workers = 1;
    if (api_open_os(&os, &o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    return p;
}

static void copy_text(const pit_value *details, const char *key, char *to, size_t n)
{
    snprintf(to, n, "%s", pit_value_str_or(pit_value_get(details, key), ""));
}

static void *call_hold(void *arg)
{
    struct early *t = arg;
    pit_error *e = NULL;
    t->rc = pit_callf(t->p, "hold", NULL, NULL, &e, "[s]", t->path);
    t->was_early = has_not_ended(t->pidfd);
    const pit_value *details = pit_error_details(e);
    pit_value_get_int(pit_value_get(details, "exit_code"), &t->exit_code);
    copy_text(details, "exit_class", t->class, sizeof t->class);
    copy_text(details, "signal", t->signal, sizeof t->signal);
    pit_error_free(e);
    return NULL;
}

static bool has_begun(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size == 1;
}

/* Whether the error, complete, was there before the memory was gone. */
static bool die_of(int sig, const char *class, const char *name)
{
    struct early t = {.p = open_python()};
    pthread_t thread;
    pid_t pid = kit_worker(t.p, 0);
    t.pidfd = os_linux.pidfd_open(pid);
    assert_true(t.pidfd >= 0 && has_not_ended(t.pidfd));
    snprintf(t.path, sizeof t.path, "%s.early", kit_stage_path);
    assert_int_equal(pthread_create(&thread, NULL, call_hold, &t), 0);
    KIT_AWAIT(has_begun(t.path));
    poll(NULL, 0, 2); /* allow-sleep: the caller falls asleep */
    kill(pid, sig);
    pthread_join(thread, NULL);
    close(t.pidfd);
    unlink(t.path);
    assert_int_equal(t.rc, PIT_E_WORKER_CRASH);
    assert_string_equal(t.class, class);
    assert_string_equal(t.signal, name);
    assert_int_equal(t.exit_code, 128 + sig);
    assert_int_equal(pit_await_all_ready(t.p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_close(t.p), 0);
    return t.was_early;
}

static void test_error_before_the_end(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const struct {
        int sig;
        const char *class, *name;
    } ends[] = {{SIGKILL, "killed", "SIGKILL"}, {SIGTERM, "signal", "SIGTERM"}, {SIGSEGV, "segfault", "SIGSEGV"}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        bool early = false;
        for (int tries = 0; tries < 50 && !early; tries++) /* another program may hold the CPUs until the memory is gone */
            early = die_of(ends[i].sig, ends[i].class, ends[i].name);
        if (!early)
            fail_msg("%s: the error never came before the end", ends[i].name);
    }
    kit_clean(before, "early");
}

/* The guard's end kills the worker before anybody hears of the guard: it is the guard that was lost, however early the caller asks. */
static void test_end_of_the_guard(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct early t = {.p = open_python(), .pidfd = -1};
    snprintf(t.path, sizeof t.path, "%s.early", kit_stage_path);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        assert_int_equal(pit_await_all_ready(t.p, NULL, KIT_LIMIT_MS, NULL), 0);
        pid_t guard = kit_guard();
        assert_int_equal(pthread_create(&thread, NULL, call_hold, &t), 0);
        KIT_AWAIT(has_begun(t.path));
        poll(NULL, 0, 2); /* allow-sleep: the caller falls asleep */
        kill(guard, SIGKILL);
        pthread_join(thread, NULL);
        unlink(t.path);
        assert_int_equal(t.rc, PIT_E_GUARD_LOST);
    }
    assert_int_equal(pit_await_all_ready(t.p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_close(t.p), 0);
    kit_clean(before, "end of the guard");
}

static void test_death_of_a_fork(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python();
    int64_t n = 0;
    pid_t pid = kit_worker(p, 0);
    assert_int_equal(kit_call(p, "forks", 20, KIT_LIMIT_MS, &n), 0);
    assert_int_equal(n, 20);
    assert_int_equal(kit_worker(p, 0), pid);
    assert_int_equal(kit_stats(p).crashes, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "forks");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_before_the_end),
        cmocka_unit_test(test_end_of_the_guard),
        cmocka_unit_test(test_death_of_a_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
