/* A program that hangs before it is even executed (a dead file system): who ends such a start does not wait for it. */
#include "integration/c/kit.h"

static int spawn_with_fault(const char *path, char *const argv[], char *const envp[], const int *fds, int n_fds, pid_t *ret_pid,
                            int *ret_pidfd)
{
    char run[64], option[] = "--run-id";
    (void)path;
    snprintf(run, sizeof run, "%s@hang:1", argv[2]); /* src/guard/guard_main_fault.c */
    char program[] = TEST_BUILD_DIR "/tests/snakepit-guard-faults";
    char *const with[] = {program, option, run, NULL};
    assert_string_equal(argv[1], option);
    return os_linux.spawn(program, with, envp, fds, n_fds, ret_pid, ret_pidfd);
}

static bool is_asked_for(pit *p)
{
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    bool starting = pit_worker_list_len(l) == 1 && pit_worker_list_at(l, 0)->state == PIT_WORKER_STARTING;
    pit_worker_list_free(l);
    return starting;
}

/* Each worker hangs. */
static pit *open_hanging(void)
{
    static struct os_ops os;
    struct kit k = KIT_INIT;
    pit *p = NULL;
    os = os_linux;
    os.spawn = spawn_with_fault;
    k.require_ready = PIT_OFF;
    k.pool.worker_ready_timeout_ms = PIT_INFINITE;
    assert_int_equal(kit_open_os(&os, &k, &p, NULL), 0);
    KIT_AWAIT(is_asked_for(p));
    return p;
}

/* The grace is for those who can end in peace: who has no process has nothing to end. */
static void test_killed(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_hanging();
    assert_int_equal(pit_kill(p, "c/0.1", KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(kit_stats(p).crashes, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "killed");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
