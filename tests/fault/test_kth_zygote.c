/* The k-th allocation, and the k-th system call, of the host fails while a worker is forked, and while a template is made in the place of a
 * lost one, for every k that is reached: the pool is whole again by itself, without waiting for any timeout, and nothing is left. */
#include "fault/kth.h"

static pit *open_forked(const struct os_ops *os)
{
    const char *env[] = {kit_mark, NULL};
    pit *p = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.require_ready = PIT_OFF;
    o.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    assert_int_equal(api_open_os(os, &o, &p, NULL), 0);
    pool.name = "a";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/forked.py";
    pool.env = env;
    pool.workers = 1;
    pool.start_mode = PIT_START_ZYGOTE; /* so the template is there when the pool is */
    pool.canary_timeout_ms = KIT_LIMIT_MS;
    pool.worker_ready_timeout_ms = PIT_INFINITE; /* nothing that fails may wait for its end */
    pool.restart_backoff = PIT_OFF;
    assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
    return p;
}

static pid_t worker_pid(pit *p)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    if (pit_list_workers(p, "a", &l, NULL) != 0)
        return 0; /* the armed allocation was ours */
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        if (pit_worker_list_at(l, i)->state == PIT_WORKER_READY)
            pid = pit_worker_list_at(l, i)->pid;
    pit_worker_list_free(l);
    return pid;
}

static pid_t template_pid(pit *p)
{
    pit_value *v = NULL;
    int64_t pid = 0;
    if (pit_pool_zygote(p, "a", &v, NULL) == 0 && strcmp(pit_value_str_or(pit_value_get(v, "state"), ""), "ready") == 0)
        pit_value_get_int(pit_value_get(v, "pid"), &pid);
    pit_value_free(v);
    return (pid_t)pid;
}

static void assert_answers(pit *p, const char *what)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_call(p, "pid", NULL, NULL, &v, &e) != 0)
        fail_msg("%s: the next call: %s", what, pit_error_string(e));
    pit_value_free(v);
}

static atomic_uint ready; /* events: looking would allocate and call, too */

static int on_ready(const pit_event *ev, void *user)
{
    (void)ev;
    (void)user;
    atomic_fetch_add(&ready, 1);
    return 0;
}

/* Kills what pid_of names, over and over, each time with another call failing; event tells that there is a new one. */
static void kill_each(const char *name, enum kind kind, pid_t (*pid_of)(pit *p), const char *event)
{
    faulty_init();
    faulty_arm(0);
    struct kit_before before = kit_before();
    pit *p = open_forked(kind == SYSTEM_CALL ? &faulty_os : &os_linux);
    assert_int_equal(pit_telemetry_attach(p, event, on_ready, NULL, NULL, NULL), 0);
    long at = 0;
    for (bool hit = true; hit;) {
        pid_t old = 0;
        KIT_AWAIT((old = pid_of(p)) != 0 && template_pid(p) != 0); /* the loop has told of both: it has answered after that */
        atomic_store(&ready, 0);
        arm(kind, ++at);
        assert_int_equal(kill(old, SIGKILL), 0);
        KIT_AWAIT(atomic_load(&ready) != 0);
        hit = disarm(kind, at);
        KIT_AWAIT(worker_pid(p) != 0 && template_pid(p) != 0);
        assert_answers(p, describe(name, kind, at));
    }
    print_message("%s: %ld failing %s\n", name, at - 1, kind == SYSTEM_CALL ? "system calls" : "allocations");
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, name);
}

static void test_forks(void **state)
{
    (void)state;
    kill_each("a worker is forked", ALLOCATION, worker_pid, "snakepit.pool.worker_ready");
    kill_each("a worker is forked", SYSTEM_CALL, worker_pid, "snakepit.pool.worker_ready");
}

static void test_templates(void **state)
{
    (void)state;
    kill_each("a template is made", ALLOCATION, template_pid, "snakepit.zygote.ready");
    kill_each("a template is made", SYSTEM_CALL, template_pid, "snakepit.zygote.ready");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
