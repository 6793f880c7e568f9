/* A guard that is lost, and whose successor hangs in its start: who needs none goes on meanwhile, and nobody waits longer than he wanted to. */
#include "integration/c/kit.h"

/* ---- a guard that stops before its first word ---- */

static char mute_path[] = "/tmp/snakepit-mute-XXXXXX";
static atomic_bool mute;
static atomic_int mute_pid, gone;

static int spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int n_fds, pid_t *ret_pid,
                 int *ret_pidfd)
{
    if (!atomic_load(&mute))
        return os_linux.spawn(path, argv, envp, fds, n_fds, ret_pid, ret_pidfd);
    int rc = os_linux.spawn(mute_path, argv, envp, fds, n_fds, ret_pid, ret_pidfd);
    if (rc == 0)
        atomic_store(&mute_pid, *ret_pid);
    return rc;
}

static int reap(int pidfd, int *ret_code, int *ret_status)
{
    int rc = os_linux.reap(pidfd, ret_code, ret_status);
    if (atomic_load(&mute_pid) != 0)
        atomic_fetch_add(&gone, 1); /* the lost one was reaped before it was started */
    return rc;
}

static void make_mute(void)
{
    static const char script[] = "#!/bin/sh\nkill -STOP $$\n";
    int fd = mkstemp(mute_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, script, strlen(script)), strlen(script));
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
}

/* A pit whose guard has just been lost; the next one hangs. */
static pit *open_hanging(const struct kit *k)
{
    static struct os_ops os;
    pit *p = NULL;
    os = os_linux;
    os.spawn = spawn;
    os.reap = reap;
    atomic_store(&mute, false);
    assert_int_equal(kit_open_os(&os, k, &p, NULL), 0);
    pid_t guard = kit_guard();
    atomic_store(&mute_pid, 0);
    atomic_store(&gone, 0);
    atomic_store(&mute, true);
    assert_int_equal(kill(guard, SIGKILL), 0);
    KIT_AWAIT(atomic_load(&mute_pid) != 0);
    return p;
}

/* ---- what goes on meanwhile ---- */

static int expiry(pit *p)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = 50;
    return kit_outcome(kit_submit(p, "echo", 1, &o), NULL);
}

static int cancelled(pit *p)
{
    pit_future *f = kit_submit(p, "echo", 1, NULL);
    assert_int_equal(pit_future_cancel(f, "no need"), 0);
    return kit_outcome(f, NULL);
}

static int template_is_told(pit *p)
{
    return pit_pool_zygote(p, NULL, NULL, NULL);
}

/* Whether fn() returns while the guard hangs: it is killed after five seconds, and then nobody can tell. So a machine on which that took as long is
 * asked again. */
static void assert_in_time(int (*fn)(pit *p), int wanted)
{
    enum { TRIES = 5 };
    for (int i = 0; i < TRIES; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        pit *p = open_hanging(&k);
        assert_int_equal(fn(p), wanted);
        bool in_time = atomic_load(&gone) == 0;
        assert_int_equal(pit_close(p), 0);
        kit_clean(before, "a guard that hangs in its start");
        if (in_time)
            return;
    }
    fail_msg("the loop waited for the guard, %d times", TRIES);
}

static void test_the_loop_goes_on(void **state)
{
    (void)state;
    assert_in_time(expiry, PIT_E_DEADLINE_EXCEEDED);
    assert_in_time(cancelled, PIT_E_CANCELLED);
    assert_in_time(template_is_told, 0);
}

/* It is given up, and one that speaks takes its place. */
static void test_the_pool_comes_back(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = open_hanging(&k);
    atomic_store(&mute, false);
    pit_future *f = kit_submit(p, "echo", 7, NULL); /* waits for a worker */
    assert_int_equal(kill(atomic_load(&mute_pid), SIGKILL), 0);
    assert_int_equal(kit_outcome(f, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "the pool comes back");
}

static void *add_python(void *arg)
{
    static const char *const env[] = {"PYTHONPATH=" TEST_BUILD_DIR "/python", NULL};
    pit_pool_options o = PIT_POOL_OPTIONS_INIT;
    o.name = "python";
    o.adapter = TEST_SOURCE_DIR "/tests/integration/c/forked.py";
    o.env = env;
    o.python = TEST_PYTHON;
    o.start_mode = PIT_START_EXEC;
    o.workers = 1;
    return (void *)(intptr_t)pit_pool_start(arg, &o, NULL);
}

static bool has_pool(pit *p, const char *name)
{
    pit_stats s = PIT_STATS_INIT;
    return pit_get_stats(p, name, &s) == 0;
}

/* A pool that is added meanwhile waits, too: its Python is asked as soon as there is a guard. */
static void test_a_pool_that_is_added(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = open_hanging(&k);
    pthread_t thread;
    void *rc = NULL;
    assert_int_equal(pthread_create(&thread, NULL, add_python, p), 0);
    KIT_AWAIT(has_pool(p, "python"));
    atomic_store(&mute, false);
    kill(atomic_load(&mute_pid), SIGKILL);
    pthread_join(thread, &rc);
    assert_int_equal((intptr_t)rc, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "a pool that is added");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    make_mute();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_loop_goes_on),
        cmocka_unit_test(test_the_pool_comes_back),
        cmocka_unit_test(test_a_pool_that_is_added),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(mute_path);
    return failed;
}
