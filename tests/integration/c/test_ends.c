/* How the ends of workers are told and counted: what was our doing, what was theirs, and what nobody knows. */
#include "integration/c/kit.h"

struct end {
    char planned[8], class[32];
};

static struct {
    pthread_mutex_t lock;
    unsigned n, crashes;
    struct end list[16];
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void copy(char *to, size_t n, const char *from)
{
    snprintf(to, n, "%s", from != NULL ? from : "");
}

static int on_terminated(const pit_event *ev, void *user)
{
    (void)user;
    struct end t;
    copy(t.planned, sizeof t.planned, pit_event_text(ev, "planned"));
    copy(t.class, sizeof t.class, pit_event_text(ev, "exit_class"));
    pthread_mutex_lock(&told.lock);
    if (told.n < 16)
        told.list[told.n++] = t;
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static int on_crash(const pit_event *ev, void *user)
{
    (void)ev;
    (void)user;
    pthread_mutex_lock(&told.lock);
    told.crashes++;
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static unsigned ends(void)
{
    pthread_mutex_lock(&told.lock);
    unsigned n = told.n;
    pthread_mutex_unlock(&told.lock);
    return n;
}

/* The first end is told so; crashes: how many were told and counted. */
static void assert_end(pit *p, const char *planned, const char *class, unsigned crashes)
{
    KIT_AWAIT(ends() > 0);
    KIT_AWAIT(kit_worker(p, 0) != 0);
    pthread_mutex_lock(&told.lock);
    struct end t = told.list[0];
    unsigned n = told.crashes;
    pthread_mutex_unlock(&told.lock);
    assert_string_equal(t.class, class);
    assert_string_equal(t.planned, planned);
    assert_int_equal(n, crashes);
    assert_int_equal(kit_stats(p).crashes, crashes);
}

static pit *open_told(const struct os_ops *os, const struct kit *k)
{
    pit *p = NULL;
    pit_error *e = NULL;
    told.n = told.crashes = 0;
    if (kit_open_os(os, k, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_telemetry_attach(p, "snakepit.pool.worker.terminated", on_terminated, NULL, NULL, NULL), 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.crash", on_crash, NULL, NULL, NULL), 0);
    return p;
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

static void test_by_itself(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = open_told(&os_linux, &k);
    assert_int_equal(kit_call(p, "exit", 3, 0, NULL), PIT_E_WORKER_CRASH);
    assert_end(p, "false", "exit_code", 1);
    settle(p, before, "by itself");
}

static void test_for_what_it_did(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = open_told(&os_linux, &k);
    assert_int_equal(kit_call(p, "garbage", 0, 0, NULL), PIT_E_PROTOCOL_ERROR);
    assert_end(p, "false", "normal", 0); /* the signal was ours, the reason was not */
    settle(p, before, "for what it did");
}

static void test_on_purpose(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = open_told(&os_linux, &k);
    assert_int_equal(pit_kill(p, "c/0.1", 0, NULL), 0);
    assert_end(p, "true", "normal", 0);
    settle(p, before, "on purpose");
}

static void test_before_it_was_ready(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.require_ready = PIT_OFF;
    k.pool.worker_ready_timeout_ms = 300;
    atomic_store(&stage->mute, 1);
    pit *p = open_told(&os_linux, &k);
    KIT_AWAIT(ends() > 0);
    atomic_store(&stage->mute, 0);
    KIT_AWAIT(kit_worker(p, 0) != 0);
    assert_end(p, "false", "normal", 0);
    settle(p, before, "before it was ready");
}

static int tight_lipped(pid_t pid, struct os_proc *ret)
{
    int rc = os_linux.proc_info(pid, ret);
    ret->wait_status = 0;
    return rc;
}

/* We kill a worker while the guard is too slow to tell how it ended: that is no crash. */
static void test_a_status_that_was_lost(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct os_ops os = os_linux;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    os.proc_info = tight_lipped;
    k.pool.cancel_grace_ms = 1;
    pit *p = open_told(&os, &k);
    pid_t guard = kit_guard();
    o.timeout_ms = 50;
    pit_future *f = kit_submit(p, "gate", 1, &o);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(kill(guard, SIGSTOP), 0);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_DEADLINE_EXCEEDED);
    KIT_AWAIT(ends() > 0);
    kit_open_gate();
    assert_int_equal(kill(guard, SIGCONT), 0);
    assert_end(p, "true", "unknown", 0);
    settle(p, before, "a status that was lost");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_itself),
        cmocka_unit_test(test_for_what_it_did),
        cmocka_unit_test(test_on_purpose),
        cmocka_unit_test(test_before_it_was_ready),
        cmocka_unit_test(test_a_status_that_was_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
