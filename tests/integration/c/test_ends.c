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
    k.pool.worker_ready_timeout_ms = 3000; /* long enough to be spawned in, on any machine */
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

static atomic_int dying_guard;

static int guard_that_dies(pid_t pid, struct os_proc *ret)
{
    int rc = os_linux.proc_info(pid, ret);
    if (pid == atomic_load(&dying_guard))
        ret->wait_status = SIGKILL;
    return rc;
}

static int end_of_its_socket(int fd, enum os_wait what, uint64_t deadline_ns)
{
    bool ended = atomic_load(&dying_guard) != 0 && what == OS_READABLE && deadline_ns == 0;
    return ended ? 1 : os_linux.poll_one(fd, what, deadline_ns);
}

/* The kernel ends workers as part of their guard's end, and their ends may be seen first: it is the guard that was lost. */
static void test_a_guard_that_takes_its_workers_along(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct os_ops os = os_linux;
    os.proc_info = guard_that_dies;
    os.poll_one = end_of_its_socket;
    pit *p = open_told(&os, &k);
    pid_t guard = kit_guard(), worker = kit_worker(p, 0);
    int pidfd = os_linux.pidfd_open(worker);
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(kill(guard, SIGSTOP), 0);
    atomic_store(&dying_guard, guard);
    assert_int_equal(kill(worker, SIGKILL), 0);
    assert_int_equal(os_linux.poll_one(pidfd, OS_READABLE, kit_limit()), 1);
    KIT_AWAIT(kit_stats(p).available == 0 && kit_stats(p).busy == 0); /* the loop has seen it */
    assert_int_equal(kill(guard, SIGKILL), 0);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_GUARD_LOST);
    kit_open_gate();
    atomic_store(&dying_guard, 0);
    close(pidfd);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    settle(p, before, "a guard that takes its workers along");
}

/* ---- what is told of a pool's beginning, and of those that take the place of others ---- */

struct life {
    pthread_mutex_t lock;
    unsigned initialized, complete, restarted, degraded;
    double ready, total, restart_ms;
    char why[32], mode[16], degraded_why[64], degraded_text[128], stderr_text[4096], lines[4096];
};

static int on_life(const pit_event *ev, void *user)
{
    struct life *l = user;
    const char *name = pit_event_name(ev) + strlen("snakepit.");
    pthread_mutex_lock(&l->lock);
    l->initialized += strcmp(name, "pool.initialized") == 0;
    if (strcmp(name, "pool.init_complete") == 0) {
        l->complete++;
        pit_event_number(ev, "ready", &l->ready);
        pit_event_number(ev, "total_workers", &l->total);
    } else if (strcmp(name, "worker.restarted") == 0) {
        l->restarted++;
        pit_event_number(ev, "duration_ms", &l->restart_ms);
        copy(l->why, sizeof l->why, pit_event_text(ev, "reason"));
        copy(l->mode, sizeof l->mode, pit_event_text(ev, "mode"));
    } else if (strcmp(name, "pool.degraded") == 0) {
        l->degraded++;
        copy(l->degraded_why, sizeof l->degraded_why, pit_event_text(ev, "reason"));
        copy(l->degraded_text, sizeof l->degraded_text, pit_event_text(ev, "text"));
    } else if (strcmp(name, "worker.crash") == 0) {
        copy(l->stderr_text, sizeof l->stderr_text, pit_event_text(ev, "stderr"));
    }
    pthread_mutex_unlock(&l->lock);
    return 0;
}

static struct life life = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define LIFE_AWAIT(condition)                                                                                                  \
    KIT_AWAIT(({                                                                                                               \
        pthread_mutex_lock(&life.lock);                                                                                        \
        bool holds = condition;                                                                                                \
        pthread_mutex_unlock(&life.lock);                                                                                      \
        holds;                                                                                                                 \
    }))

static void log_life(int level, const char *text, void *user)
{
    (void)level;
    (void)user;
    pthread_mutex_lock(&life.lock);
    size_t n = strlen(life.lines);
    if (strstr(text, "wrote last") != NULL)
        snprintf(life.lines + n, sizeof life.lines - n, "%s|", strstr(text, "wrote last: ") + strlen("wrote last: "));
    pthread_mutex_unlock(&life.lock);
}

/* A host that is listened to before it has a pool. */
static pit *open_life(const pit_pool_options *pool)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    life = (struct life){.lock = life.lock};
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.python = TEST_PYTHON;
    o.log = log_life;
    o.log_level = PIT_LOG_WARNING;
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_telemetry_attach(p, "snakepit.*", on_life, &life, NULL, NULL), 0);
    if (pit_pool_start(p, pool, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

static void test_a_pool_that_is_complete(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    const char *command[5], *env[2];
    pit_pool_options pool;
    k.workers = 3;
    kit_pool(&k, "c", command, env, &pool);
    pit *p = open_life(&pool);
    LIFE_AWAIT(life.complete == 1 && life.initialized == 1);
    assert_true(life.ready == 3 && life.total == 3);
    assert_int_equal(kill(kit_worker(p, 0), SIGABRT), 0); /* of SIGSEGV a sanitizer makes an exit */
    LIFE_AWAIT(life.restarted == 1);
    assert_string_equal(life.why, "abort");
    assert_string_equal(life.mode, "exec");
    assert_true(life.restart_ms > 0);
    assert_int_equal(pit_kill(p, "c/1.1", 0, NULL), 0);
    LIFE_AWAIT(life.restarted == 2);
    assert_string_equal(life.why, "worker_killed");
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(life.complete, 1);
    settle(p, before, "complete");
}

/* Nobody listens to a worker that dies while it is idle but the log and the event. */
static void test_last_words_of_an_idle_worker(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *env[] = {kit_mark, NULL};
    char mark[96];
    snprintf(mark, sizeof mark, "%s.words", kit_stage_path);
    int fd = open(mark, O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "c";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/words.py";
    pool.start_mode = PIT_START_EXEC;
    pool.workers = 1;
    pool.env = env;
    pit *p = open_life(&pool);
    pit_value *path = pit_pack("[i,s]", 7, mark);
    int rc = pit_call(p, "speak", path, NULL, NULL, NULL);
    pit_value_free(path);
    unlink(mark); /* it has answered: now it may die */
    assert_int_equal(rc, 0);
    LIFE_AWAIT(life.stderr_text[0] != '\0' && life.lines[0] != '\0');
    assert_string_equal(life.stderr_text, "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7");
    assert_string_equal(life.lines, "line 3|line 4|line 5|line 6|line 7|");
    settle(p, before, "last words");
}

static void test_what_has_degraded_a_pool(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    const char *command[5], *env[2];
    pit_pool_options pool;
    k.workers = 4;
    k.pool.max_restarts = 1;
    k.pool.restart_window_ms = KIT_LIMIT_MS;
    kit_pool(&k, "c", command, env, &pool);
    pit *p = open_life(&pool);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(kit_stats(p).held_back, 0);
    for (unsigned n = 1; n <= 2; n++) {
        assert_int_equal(kill(kit_worker(p, 0), SIGABRT), 0);
        KIT_AWAIT(kit_stats(p).crashes == n);
    }
    LIFE_AWAIT(life.degraded == 1);
    assert_string_equal(life.degraded_why, "abort");
    pit_stats s = kit_stats(p);
    assert_int_equal(s.degraded, 1);
    assert_int_equal(s.failed, 0);
    assert_int_equal(s.held_back, 1);
    assert_true(s.next_start_ms > 0 && s.next_start_ms <= KIT_LIMIT_MS);
    settle(p, before, "degraded");
}

/* Every start fails: the pool is failed, and its slots wait. */
static void test_a_pool_that_failed(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.require_ready = PIT_OFF;
    k.workers = 2;
    k.pool.worker_ready_timeout_ms = 200;
    atomic_store(&stage->mute, 1);
    pit *p = open_told(&os_linux, &k);
    KIT_AWAIT(kit_stats(p).failed == 1);
    KIT_AWAIT(kit_stats(p).held_back == 2 && kit_stats(p).next_start_ms > 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), PIT_E_POOL_NOT_INITIALIZED);
    settle(p, before, "failed");
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
        cmocka_unit_test(test_a_guard_that_takes_its_workers_along),
        cmocka_unit_test(test_a_pool_that_is_complete),
        cmocka_unit_test(test_last_words_of_an_idle_worker),
        cmocka_unit_test(test_what_has_degraded_a_pool),
        cmocka_unit_test(test_a_pool_that_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
