/* The manners of a host at the level of the library: signals, waits, forks and threads of its own, death; the guard's death; callbacks;
 * a foreign loop; closing in the middle of calls. */
#include "integration/c/kit.h"
#include "patience.h"

static void settle(pit *p, struct kit_before before, const char *what)
{
    kit_open_gate();
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

/* ---- signals, waits, threads ---- */

static void test_sigchld_ignored(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    signal(SIGCHLD, SIG_IGN);
    pit *p = kit_open(&k);
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "exit", NULL, NULL, &e, "[i]", 7), PIT_E_WORKER_CRASH);
    int64_t code = 0;
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "exit_code"), &code));
    assert_int_equal(code, 7);
    pit_error_free(e);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    settle(p, before, "SIGCHLD ignored");
    signal(SIGCHLD, SIG_DFL);
}

static void *reap_everything(void *arg)
{
    while (atomic_load((atomic_int *)arg) == 0)
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            poll(NULL, 0, 1); /* allow-sleep: there is nobody; it shall steal whoever comes */
    return NULL;
}

static void test_foreign_reaper(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    atomic_int stop = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, reap_everything, &stop), 0);
    pit *p = kit_open(&k);
    assert_int_equal(kit_call(p, "die", SIGSEGV, 0, NULL), PIT_E_WORKER_CRASH);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    kit_clean(before, "foreign reaper");
}

static void *open_there(void *arg)
{
    return kit_open(arg);
}

static void test_opener_ends(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pthread_t thread;
    void *p = NULL;
    assert_int_equal(pthread_create(&thread, NULL, open_there, &k), 0);
    pthread_join(thread, &p);
    pid_t pid = kit_worker(p, 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(kit_call(p, "echo", i, 0, NULL), 0);
    assert_int_equal(kit_worker(p, 0), pid);
    settle(p, before, "opener ends");
}

/* ---- forks ---- */

static int in_the_child(pit *p, pit_future *f, pit_value *v)
{
    pit_stats s = PIT_STATS_INIT;
    pit_error *e = NULL;
    if (kit_call(p, "echo", 1, 0, NULL) != PIT_E_FORKED || pit_submit(p, "echo", NULL, NULL, NULL, &e) != PIT_E_FORKED)
        return 1;
    if (pit_error_code(e) != PIT_E_FORKED || pit_get_stats(p, NULL, &s) != PIT_E_FORKED || pit_shutdown(p) != PIT_E_FORKED)
        return 2;
    if (pit_future_wait(f, 10) != PIT_E_FORKED || pit_future_cancel(f, NULL) != PIT_E_FORKED)
        return 3;
    if (pit_value_len(v) != 1 || pit_close(p) != 0)
        return 4;
#ifndef __SANITIZE_THREAD__ /* which allows no thread after such a fork */
    struct kit k = KIT_INIT;
    pit *own = NULL;
    if (kit_open_os(&os_linux, &k, &own, NULL) != 0 || kit_call(own, "echo", 1, 0, NULL) != 0 || pit_close(own) != 0)
        return 5;
#endif
    return 0;
}

static void test_fork(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    pit_value *v = pit_pack("[i]", 1);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    pid_t child = fork();
    if (child == 0)
        _exit(in_the_child(p, f, v));
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    kit_open_gate();
    assert_int_equal(kit_outcome(f, NULL), 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    pit_value_free(v);
    settle(p, before, "fork");
}

/* ---- deaths ---- */

/* Opens, lets a worker make a grandchild in a session of its own, and waits for its end in the middle of a call. */
static void host_that_dies(int fd, int drive)
{
    struct kit k = KIT_INIT;
    k.workers = 3;
    k.drive = drive;
    pit *p = kit_open(&k);
    int64_t pid = 0;
    kit_call(p, "grandchild", 0, 0, &pid);
    if (write(fd, "", 1) != 1)
        _exit(1);
    kit_call(p, "gate", 0, PIT_INFINITE, NULL);
    _exit(0);
}

static int count_marked(void)
{
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[300], env[16384];
        snprintf(path, sizeof path, "/proc/%s/environ", e->d_name);
        int fd = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t got = fd >= 0 ? read(fd, env, sizeof env) : 0;
        n += got > 0 && memmem(env, (size_t)got, kit_mark, strlen(kit_mark)) != NULL;
        if (fd >= 0)
            close(fd);
    }
    closedir(d);
    return n;
}

static void host_killed(int drive)
{
    int fds[2];
    char byte;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        host_that_dies(fds[1], drive);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    KIT_AWAIT(count_marked() == 4);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    struct patience patience = patience_for(2000); /* what is promised */
    while (count_marked() != 0)
        assert_false(patience_is_over(&patience));
    close(fds[0]);
    close(fds[1]);
    kit_reset_stage();
}

static void test_host_killed(void **state)
{
    (void)state;
    host_killed(PIT_DRIVE_THREAD);
    host_killed(PIT_DRIVE_HOST);
}

/* One call runs, one waits behind it: the first gets guard_lost, the second runs once the pool is back. */
static void guard_ends(int sig, bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    pid_t guard = kit_guard(), worker = kit_worker(p, 0);
    pit_future *started = kit_submit(p, "gate", 1, NULL), *queued = NULL;
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    if (async)
        queued = kit_submit(p, "run", 2, NULL);
    assert_int_equal(kill(guard, sig), 0);
    if (sig == SIGSTOP)
        assert_int_equal(kill(worker, SIGKILL), 0);
    int rc = kit_outcome(started, NULL);
    if (rc != PIT_E_GUARD_LOST && !(sig == SIGSTOP && rc == PIT_E_WORKER_CRASH))
        fail_msg("the started call: %s", pit_error_code_name(rc));
    if (sig == SIGSTOP)
        assert_int_equal(kill(guard, SIGCONT), 0);
    assert_int_equal(async ? kit_outcome(queued, NULL) : kit_call(p, "run", 2, 0, NULL), 0);
    assert_int_equal(atomic_load(&stage->runs[1]), 1);
    assert_int_equal(atomic_load(&stage->runs[2]), 1);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    settle(p, before, "guard ends");
}

static void test_guard_killed(void **state)
{
    (void)state;
    guard_ends(SIGKILL, true);
    guard_ends(SIGKILL, false);
}

static void test_guard_stopped(void **state)
{
    (void)state;
    guard_ends(SIGSTOP, true);
}

/* Again and again, in the middle of traffic. */
struct traffic {
    pit *p;
    atomic_int stop, calls, bad;
};

static void *call_on(void *arg)
{
    struct traffic *t = arg;
    for (int i = 0; atomic_load(&t->stop) == 0; i++) {
        int rc = kit_call(t->p, "echo", i, 15000, NULL);
        atomic_fetch_add(&t->bad, rc != 0 && rc != PIT_E_GUARD_LOST && rc != PIT_E_WORKER_CRASH);
        atomic_fetch_add(&t->calls, 1);
    }
    return NULL;
}

static void test_guard_killed_in_traffic(void **state)
{
    (void)state;
    enum { CALLERS = 4 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pthread_t threads[CALLERS];
    k.workers = 3;
    struct traffic t = {.p = kit_open(&k)};
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &t), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pit_await_ready(t.p, NULL, KIT_LIMIT_MS, NULL), 0);
        int calls = atomic_load(&t.calls);
        pid_t guard = kit_guard();
        if (guard != 0)
            kill(guard, SIGKILL);
        KIT_AWAIT(atomic_load(&t.calls) >= calls + 100);
    }
    atomic_store(&t.stop, 1);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&t.bad), 0);
    settle(t.p, before, "guard killed in traffic");
}

/* ---- callbacks ---- */

struct seen {
    pit *p;
    atomic_int calls, bad;
};

static void expect(struct seen *s, bool good)
{
    atomic_fetch_add(&s->bad, !good);
}

/* What may be done in a callback, and what is refused there. */
static void use_in_callback(struct seen *s)
{
    pit_stats st = PIT_STATS_INIT;
    pit_worker_list *l = NULL;
    expect(s, pit_get_stats(s->p, NULL, &st) == 0);
    expect(s, pit_list_workers(s->p, NULL, &l, NULL) == 0);
    pit_worker_list_free(l);
    expect(s, pit_call(s->p, "echo", NULL, NULL, NULL, NULL) == PIT_E_WRONG_THREAD);
    expect(s, pit_pool_stop(s->p, "c", 0, NULL) == PIT_E_WRONG_THREAD);
    expect(s, pit_shutdown(s->p) == PIT_E_WRONG_THREAD);
    expect(s, pit_close(s->p) == PIT_E_WRONG_THREAD);
    expect(s, pit_await_ready(s->p, NULL, 10, NULL) == PIT_E_WRONG_THREAD);
    atomic_fetch_add(&s->calls, 1);
}

static void done_in_callback(pit_future *f, void *user)
{
    struct seen *s = user;
    pit_future *next = NULL;
    use_in_callback(s);
    expect(s, pit_submit(s->p, "echo", NULL, NULL, &next, NULL) == 0);
    expect(s, pit_future_wait(next, PIT_NOW) != PIT_E_WRONG_THREAD);
    expect(s, pit_future_wait(next, 100) == PIT_E_WRONG_THREAD || pit_future_wait(next, PIT_NOW) == 0);
    pit_future_free(next);
    pit_future_free(f);
}

static int event_in_callback(const pit_event *ev, void *user)
{
    (void)ev;
    use_in_callback(user);
    return 0;
}

static void callbacks(int drive)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct seen s = {0};
    k.drive = drive;
    k.workers = 2;
    s.p = kit_open(&k);
    for (int i = 0; i < 20; i++)
        pit_future_on_done(kit_submit(s.p, "echo", i, NULL), done_in_callback, &s);
    while (atomic_load(&s.calls) < 20)
        assert_int_equal(kit_call(s.p, "echo", 1, 0, NULL), 0);
    for (int i = 20; i < 40; i++) { /* these have their outcome: told on this thread, mostly, and a callback all the same */
        pit_future *over = kit_submit(s.p, "echo", i, NULL);
        assert_int_equal(kit_call(s.p, "echo", 1, 0, NULL), 0);
        assert_int_equal(pit_future_wait(over, KIT_LIMIT_MS), 0);
        pit_future_on_done(over, done_in_callback, &s);
    }
    while (atomic_load(&s.calls) < 40)
        assert_int_equal(kit_call(s.p, "echo", 1, 0, NULL), 0);
    uint64_t id = 0;
    assert_int_equal(pit_telemetry_attach(s.p, "snakepit.*", event_in_callback, &s, &id, NULL), 0);
    assert_int_equal(kit_call(s.p, "echo", 1, 0, NULL), 0);
    assert_int_equal(kit_call(s.p, "die", SIGKILL, 0, NULL), PIT_E_WORKER_CRASH);
    assert_int_equal(pit_await_all_ready(s.p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_true(atomic_load(&s.calls) > 45);
    assert_int_equal(pit_telemetry_detach(s.p, id), 0);
    settle(s.p, before, "callbacks");
    assert_int_equal(atomic_load(&s.bad), 0);
}

static void test_callbacks(void **state)
{
    (void)state;
    callbacks(PIT_DRIVE_THREAD);
    callbacks(PIT_DRIVE_HOST);
}

/* ---- a foreign loop ---- */

struct driver {
    pit *p;
    int errors;
};

static void *drive_calls(void *arg)
{
    struct driver *d = arg;
    for (int i = 0; i < 200; i++) {
        int64_t n = -1;
        d->errors += kit_call(d->p, "echo", i, 15000, &n) != 0 || n != i;
        pit_future *f = kit_submit(d->p, "echo", i, NULL);
        d->errors += kit_outcome(f, &n) != 0;
    }
    return NULL;
}

static void test_driven_by_threads(void **state)
{
    (void)state;
    enum { THREADS = 6 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct driver d[THREADS];
    pthread_t threads[THREADS];
    k.drive = PIT_DRIVE_HOST;
    k.workers = 2;
    pit *p = kit_open(&k);
    for (int i = 0; i < THREADS; i++) {
        d[i] = (struct driver){.p = p};
        assert_int_equal(pthread_create(&threads[i], NULL, drive_calls, &d[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(d[i].errors, 0);
    }
    settle(p, before, "driven by threads");
}

static void test_driven_by_poll(void **state)
{
    (void)state;
    enum { N = 500 };
    static const char *const channels[] = {"ring", "socket"};
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        struct seen s = {0};
        k.drive = PIT_DRIVE_HOST;
        k.channel = channels[i];
        k.require_ready = PIT_OFF;
        s.p = kit_open(&k);
        pit_future *f[N];
        for (int n = 0; n < N; n++)
            f[n] = kit_submit(s.p, "echo", n, NULL);
        for (uint64_t until = kit_limit(); pit_future_wait(f[N - 1], 0) != 0 && pit_now_ns() < until;) {
            struct pollfd fd = {pit_fd(s.p), POLLIN, 0};
            poll(&fd, 1, pit_timeout(s.p));
            assert_int_equal(pit_dispatch(s.p), 0);
        }
        for (int n = 0; n < N; n++) {
            int64_t got = -1;
            assert_int_equal(kit_outcome(f[n], &got), 0);
            assert_int_equal(got, n);
        }
        settle(s.p, before, "driven by poll");
    }
}

/* ---- closing in the middle ---- */

static void *wait_at_gate(void *arg)
{
    return (void *)(intptr_t)kit_call(arg, "gate", 0, PIT_INFINITE, NULL);
}

static void close_with_callers(int drive)
{
    enum { CALLERS = 6 };
    struct kit_before before = kit_before();
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pthread_t threads[CALLERS];
    pit_pool_options pool;
    k.workers = 2;
    kit_pool(&k, "c", command, env, &pool);
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.pools = pools;
    o.n_pools = 1;
    o.drive = drive;
    o.drain_timeout_ms = 50;
    pit *p = NULL;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_at_gate, p), 0);
    KIT_AWAIT(atomic_load(&stage->arrived) == 2 && kit_stats(p).queued == CALLERS - 2);
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    assert_int_equal(pit_close(p), 0);
    for (int i = 0; i < CALLERS; i++) {
        void *rc = NULL;
        pthread_join(threads[i], &rc);
        assert_int_equal((intptr_t)rc, PIT_E_SHUTTING_DOWN);
    }
    assert_int_equal(kit_outcome(f, NULL), PIT_E_SHUTTING_DOWN);
    kit_clean(before, "close with callers");
    kit_reset_stage();
}

static void test_close_with_callers(void **state)
{
    (void)state;
    close_with_callers(PIT_DRIVE_THREAD);
    close_with_callers(PIT_DRIVE_HOST);
}

static void *stop_pool(void *arg)
{
    return (void *)(intptr_t)pit_pool_stop(arg, "second", 0, NULL);
}

/* Two threads stop one pool while a third waits for all pools. */
static void test_stop_twice(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pit_pool_options pool;
    pit *p = kit_open(&k);
    kit_pool(&k, "second", command, env, &pool);
    for (int i = 0; i < 20; i++) {
        pthread_t threads[2];
        void *rc[2];
        assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
        for (int n = 0; n < 2; n++)
            assert_int_equal(pthread_create(&threads[n], NULL, stop_pool, p), 0);
        pit_await_all_ready(p, NULL, 50, NULL);
        for (int n = 0; n < 2; n++)
            pthread_join(threads[n], &rc[n]);
        assert_true(rc[0] == NULL || rc[1] == NULL);
        assert_int_equal(kit_stats(p).workers, 1);
        assert_int_equal(p->host->total_workers, 1);
        assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    }
    settle(p, before, "stop twice");
}

/* A long time between the two steps of closing leaves the workers their time to end. */
static void test_shutdown_then_close(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = kit_open(&k);
    assert_int_equal(pit_shutdown(p), 0);
    assert_int_equal(pit_shutdown(p), 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), PIT_E_SHUTTING_DOWN);
    settle(p, before, "shutdown, then close");
}

/* The last two digits of a run id: its number within a second. */
static int number_of(const char *run_id)
{
    return (int)strtol(run_id + 5, NULL, 36);
}

static int note_run_id(const pit_event *ev, void *user)
{
    snprintf(user, 8, "%s", pit_event_text(ev, "run_id"));
    return 0;
}

/* What carries the run id of a host may be killed by it. */
static void test_run_ids_differ(void **state)
{
    (void)state;
    enum { HOSTS = 35, NUMBERS = 36 * 36 };
    char ids[HOSTS][8];
    for (int i = 0; i < HOSTS; i++) {
        struct kit k = KIT_INIT;
        pit *p = kit_open(&k);
        assert_int_equal(pit_telemetry_attach(p, "snakepit.cleanup.start", note_run_id, ids[i], NULL, NULL), 0);
        assert_int_equal(pit_close(p), 0);
        assert_int_equal(strlen(ids[i]), 7);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
        /* the count of one process, whatever the second is; what a process of the same number has taken in another container is passed over */
        int further = i > 0 ? (number_of(ids[i]) - number_of(ids[i - 1]) + NUMBERS) % NUMBERS : 1;
        assert_in_range(further, 1, HOSTS);
    }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sigchld_ignored), cmocka_unit_test(test_foreign_reaper),
        cmocka_unit_test(test_opener_ends),     cmocka_unit_test(test_fork),
        cmocka_unit_test(test_host_killed),     cmocka_unit_test(test_guard_killed),
        cmocka_unit_test(test_guard_stopped),   cmocka_unit_test(test_guard_killed_in_traffic),
        cmocka_unit_test(test_callbacks),       cmocka_unit_test(test_driven_by_threads),
        cmocka_unit_test(test_driven_by_poll),  cmocka_unit_test(test_close_with_callers),
        cmocka_unit_test(test_stop_twice),      cmocka_unit_test(test_shutdown_then_close),
        cmocka_unit_test(test_run_ids_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
