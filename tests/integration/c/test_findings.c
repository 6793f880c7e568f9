/* Hostile workers and lost guards: what one of them does costs its own call and nobody else's. Each test is a way in which it once did not.
 *
 * KIT_LIMIT_MS bounds every wait: what is awaited here used to come late or never, so a bound far above what is usual is what is asserted. */
#include "integration/c/kit.h"
#include "patience.h"

static const char *const channels[] = {"ring", "socket"};

static void settle(pit *p, struct kit_before before, const char *what)
{
    kit_open_gate();
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

static void check(int rc, int expected, const char *channel, bool async)
{
    if (rc != expected)
        fail_msg("on a %s, %s: %s instead of %s", channel, async ? "as a future" : "blocking",
                 rc == 0 ? "ok" : pit_error_code_name(rc), expected == 0 ? "ok" : pit_error_code_name(expected));
}

/* ---- a call on a thread or as a future ---- */

struct rider {
    pit *p;
    const char *command;
    int rc;
    pthread_t thread;
    pit_future *future;
};

static void *ride(void *arg)
{
    struct rider *r = arg;
    r->rc = kit_call(r->p, r->command, 1, PIT_INFINITE, NULL);
    return NULL;
}

static void rider_start(struct rider *r, pit *p, const char *command, bool async)
{
    *r = (struct rider){.p = p, .command = command};
    if (async)
        r->future = kit_submit(p, command, 1, NULL);
    else
        assert_int_equal(pthread_create(&r->thread, NULL, ride, r), 0);
}

static void join(pthread_t thread, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += KIT_LIMIT_MS / 1000;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0)
        fail_msg("%s did not return", what);
}

static int rider_end(struct rider *r)
{
    if (r->future != NULL)
        return kit_outcome(r->future, NULL);
    join(r->thread, r->command);
    return r->rc;
}

/* How many workers are in this state; *ret_pid is the last one's. */
static int in_state(pit *p, int state, pid_t *ret_pid)
{
    pit_worker_list *l = NULL;
    int n = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        if (w->state == state) {
            *ret_pid = w->pid;
            n++;
        }
    }
    pit_worker_list_free(l);
    return n;
}

/* ---- workers ---- */

/* An answer while the call is still being sent: both sides would use the call's memory. It costs the call and the worker, at
 * once: there is no deadline here. */
static void answered_early(const char *channel, bool async)
{
    enum { BIG = 8 << 20 };
    static char bytes[BIG];
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.channel = channel;
    atomic_store(&stage->early, 1);
    pit *p = kit_open(&k);
    KIT_AWAIT(atomic_load(&stage->early) == 0);
    pid_t pid = kit_worker(p, 0);
    int rc;
    if (async) {
        pit_value *v = pit_bytes(bytes, sizeof bytes);
        pit_future *f = NULL;
        assert_int_equal(pit_submit(p, "blob", v, NULL, &f, NULL), 0);
        pit_value_free(v);
        rc = kit_outcome(f, NULL);
    } else {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.timeout_ms = PIT_INFINITE;
        rc = pit_callf(p, "blob", &o, NULL, NULL, "[y]", bytes, sizeof bytes);
    }
    check(rc, PIT_E_PROTOCOL_ERROR, channel, async);
    int64_t n = 0;
    assert_int_equal(kit_call(p, "pid", 0, KIT_LIMIT_MS, &n), 0);
    assert_true(n != pid);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.restarts, 1);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    settle(p, before, "answered early");
}

static void test_answered_early(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        answered_early(channels[i / 2], i % 2);
}

/* A worker dies with a call that it has not started, and its successor takes for ever: the call runs on the worker that is idle. */
static void spread(const char *channel, bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct rider r;
    pid_t pids[2], busy = 0;
    k.workers = 2;
    k.channel = channel;
    k.pool.graceful_shutdown_timeout_ms = 100; /* the successor does not listen */
    pit *p = kit_open(&k);
    for (int i = 0; i < 2; i++) {
        pids[i] = kit_worker(p, (size_t)i);
        assert_int_equal(kill(pids[i], SIGSTOP), 0);
    }
    rider_start(&r, p, "run", async);
    KIT_AWAIT(in_state(p, PIT_WORKER_BUSY, &busy) == 1);
    atomic_store(&stage->mute, 1);
    assert_int_equal(kill(busy, SIGKILL), 0);
    assert_int_equal(kill(busy == pids[0] ? pids[1] : pids[0], SIGCONT), 0);
    check(rider_end(&r), 0, channel, async);
    assert_int_equal(atomic_load(&stage->runs[1]), 1);
    assert_int_equal(in_state(p, PIT_WORKER_READY, &busy), 1);
    settle(p, before, "spread");
}

static void test_spread(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        spread(channels[i / 2], i % 2);
}

/* A call at the gate, and another whose beginning is in the ring behind it, so that it cannot be taken back; false: it waits in the queue,
 * for "gate" does not count as short. A measurement in which the worker lost its CPU is enough for that. */
static bool written_behind(pit *p, const pit_value *bytes, pit_future **ret_running, pit_future **ret_behind)
{
    enum { SOON_MS = 2000 };
    kit_open_gate();
    for (int i = 0; i < 200; i++)
        assert_int_equal(kit_outcome(kit_submit(p, "gate", 0, NULL), NULL), 0);
    atomic_store(&stage->go, 0);
    atomic_store(&stage->arrived, 0);
    *ret_running = kit_submit(p, "gate", 1, NULL);
    assert_int_equal(pit_submit(p, "gate", bytes, NULL, ret_behind, NULL), 0);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    for (int ms = 0; kit_stats(p).queued != 0 && ms < SOON_MS; ms++)
        poll(NULL, 0, 1); /* allow-sleep: between two looks */
    if (kit_stats(p).queued == 0)
        return true;
    kit_open_gate();
    assert_int_equal(kit_outcome(*ret_running, NULL), 0);
    assert_int_equal(kit_outcome(*ret_behind, NULL), 0);
    return false;
}

/* A call that is given up behind a running one is not the running one's fault: the grace begins when its turn comes. */
static void test_cancelled_behind(void **state)
{
    (void)state;
    enum { BIG = 8 << 20, GRACE_MS = 100, TRIES = 10 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.cancel_grace_ms = GRACE_MS;
    pit *p = kit_open(&k);
    char *bytes = calloc(1, BIG);
    pit_value *v = pit_bytes(bytes, BIG);
    free(bytes);
    pid_t pid = kit_worker(p, 0);
    pit_future *running = NULL, *behind = NULL;
    int tries = 0;
    while (!written_behind(p, v, &running, &behind))
        assert_true(++tries < TRIES);
    pit_value_free(v);
    assert_int_equal(pit_future_cancel(behind, "no longer wanted"), 0);
    assert_int_equal(kit_outcome(behind, NULL), PIT_E_CANCELLED);
    assert_int_equal(pit_future_wait(running, 5 * GRACE_MS), PIT_E_PENDING);
    assert_int_equal(kit_worker(p, 0), pid);
    assert_int_equal(kit_stats(p).restarts, 0);
    kit_open_gate();
    assert_int_equal(kit_outcome(running, NULL), 0);
    settle(p, before, "cancelled behind");
}

/* A worker logs much while it starts: what it says at last is heard at once, though it came in one go with more than a turn's frames. */
static void chatty_start(const char *channel, bool refuses)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    k.channel = channel;
    k.pool.worker_ready_timeout_ms = KIT_LIMIT_MS / 4;
    atomic_store(&stage->chatty, 200);
    atomic_store(&stage->refuse, refuses);
    int rc = kit_open_os(&os_linux, &k, &p, &e);
    check(rc, refuses ? PIT_E_NO_WORKERS_STARTED : 0, channel, false);
    if (refuses)
        check(pit_error_code(pit_error_cause(e)), PIT_E_ADAPTER_INIT_FAILED, channel, false);
    pit_error_free(e);
    settle(p, before, "chatty start");
}

static void test_chatty_start(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        chatty_start(channels[i / 2], i % 2);
}

/* ---- guards ---- */

/* The guard dies while a start is open: that is no failed start, and who waits for the worker goes on waiting. */
static void guard_dies(bool async)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct rider r;
    pid_t none;
    pit *p = kit_open(&k);
    pid_t guard = kit_guard(), worker = kit_worker(p, 0);
    assert_int_equal(kill(guard, SIGSTOP), 0);
    assert_int_equal(kill(worker, SIGKILL), 0);
    KIT_AWAIT(in_state(p, PIT_WORKER_STARTING, &none) == 1);
    rider_start(&r, p, "run", async);
    KIT_AWAIT(kit_stats(p).queued == 1);
    assert_int_equal(kill(guard, SIGKILL), 0);
    check(rider_end(&r), 0, k.channel, async);
    assert_int_equal(atomic_load(&stage->runs[1]), 1);
    settle(p, before, "guard dies");
}

static void test_guard_dies_with_open_starts(void **state)
{
    (void)state;
    guard_dies(false);
    guard_dies(true);
}

/* A kernel that does not say how a process ends, which leaves the guard alone to tell. */
static int tight_lipped(pid_t pid, struct os_proc *ret)
{
    int rc = os_linux.proc_info(pid, ret);
    ret->wait_status = 0;
    return rc;
}

static atomic_int guard_asked;
static pid_t late_guard;

/* The same, and a guard that waits for a CPU as long as this is asked. */
static int tight_lipped_and_busy(pid_t pid, struct os_proc *ret)
{
    int rc = tight_lipped(pid, ret);
    if (pid == late_guard) {
        atomic_fetch_add(&guard_asked, 1);
        ret->state = 'R';
    }
    return rc;
}

/* A machine so busy that the guard does not come to tell: its word is awaited, and it is what counts. */
static void test_guard_late_at_an_end(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct os_ops os = os_linux;
    pit *p = NULL;
    pit_error *e = NULL;
    os.proc_info = tight_lipped_and_busy;
    assert_int_equal(kit_open_os(&os, &k, &p, NULL), 0);
    late_guard = kit_guard();
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(kill(late_guard, SIGSTOP), 0);
    assert_int_equal(kill(kit_worker(p, 0), SIGABRT), 0);
    KIT_AWAIT(atomic_load(&guard_asked) >= 2);
    assert_int_equal(pit_future_result(f, NULL, NULL), PIT_E_PENDING);
    assert_int_equal(kill(late_guard, SIGCONT), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_WORKER_CRASH);
    pit_future_free(f);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "exit_class")),
                        "abort"); /* of SIGSEGV a sanitizer makes an exit */
    pit_error_free(e);
    settle(p, before, "guard late at an end");
}

/* A worker's end through a guard that is stopped: the error says who is silent, not only that something was lost. */
static void test_guard_stopped_at_an_end(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct os_ops os = os_linux;
    pit *p = NULL;
    pit_error *e = NULL;
    os.proc_info = tight_lipped;
    assert_int_equal(kit_open_os(&os, &k, &p, NULL), 0);
    pid_t guard = kit_guard();
    pit_future *f = kit_submit(p, "gate", 1, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    assert_int_equal(kill(guard, SIGSTOP), 0);
    assert_int_equal(kill(kit_worker(p, 0), SIGKILL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_WORKER_CRASH);
    pit_future_free(f);
    if (strstr(pit_error_message(e), "guard") == NULL)
        fail_msg("%s", pit_error_message(e));
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "exit_class")), "unknown");
    pit_error_free(e);
    assert_int_equal(kill(guard, SIGCONT), 0);
    settle(p, before, "guard stopped at an end");
}

struct starter {
    pit *p;
    const pit_pool_options *pool;
    int rc;
};

static void *start_pool(void *arg)
{
    struct starter *s = arg;
    s->rc = pit_pool_start(s->p, s->pool, NULL);
    return NULL;
}

/* Nothing can be started through a guard that is stopped: the start's time limit ends it, and a new one does the work. */
static void test_guard_stopped_in_start(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pit_pool_options pool;
    pthread_t thread;
    pit *p = kit_open(&k);
    kit_pool(&k, "second", command, env, &pool);
    pool.worker_ready_timeout_ms = 1000;
    struct starter s = {.p = p, .pool = &pool};
    pid_t guard = kit_guard();
    assert_int_equal(kill(guard, SIGSTOP), 0);
    assert_int_equal(pthread_create(&thread, NULL, start_pool, &s), 0);
    join(thread, "pit_pool_start");
    check(s.rc, 0, k.channel, false);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    for (int i = 0; i < 2; i++) {
        o.pool = i == 0 ? "second" : "c";
        assert_int_equal(kit_outcome(kit_submit(p, "echo", 1, &o), NULL), 0);
    }
    assert_true(kit_guard() != guard);
    settle(p, before, "guard stopped in a start");
}

static int segments(void)
{
    char line[512];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        n += strstr(line, "memfd:snakepit") != NULL;
    fclose(f);
    return n;
}

/* Workers whose exit status the guard did not live to tell leave nothing behind. */
static void test_no_leak_without_status(void **state)
{
    (void)state;
    enum { WORKERS = 3, ROUNDS = 3 };
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.workers = WORKERS;
    pit *p = kit_open(&k);
    int fds = kit_fds(), mapped = segments();
    for (int round = 1; round <= ROUNDS; round++) {
        pid_t guard = kit_guard();
        uint64_t crashes = kit_stats(p).crashes;
        assert_int_equal(kill(guard, SIGSTOP), 0);
        pid_t pids[WORKERS];
        for (int i = 0; i < WORKERS; i++)
            pids[i] = kit_worker(p, (size_t)i);
        for (int i = 0; i < WORKERS; i++)
            assert_int_equal(kill(pids[i], SIGKILL), 0);
        KIT_AWAIT(kit_stats(p).crashes == crashes + WORKERS);
        assert_int_equal(kill(guard, SIGKILL), 0);
        KIT_AWAIT(kit_guard() != guard);
        assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
        KIT_AWAIT(segments() == mapped);
        KIT_AWAIT(kit_fds() == fds);
    }
    settle(p, before, "no leak without a status");
}

/* ---- floods ---- */

/* Bells that nobody asked for, without end: the worker is ended. A few are nothing. */
static void test_bells(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.channel = channels[i / 2];
        pit *p = kit_open(&k);
        pid_t pid = kit_worker(p, 0);
        int64_t n = 0;
        assert_int_equal(kit_call(p, "bells", 100, 0, NULL), 0);
        assert_int_equal(kit_call(p, "pid", 0, 0, &n), 0);
        assert_int_equal(n, pid);
        bool async = i % 2;
        check(async ? kit_outcome(kit_submit(p, "bells", 1 << 28, NULL), NULL)
                    : kit_call(p, "bells", 1 << 28, KIT_LIMIT_MS, NULL),
              PIT_E_PROTOCOL_ERROR, k.channel, async);
        assert_int_equal(kit_call(p, "pid", 0, 0, &n), 0);
        assert_true(n != pid);
        settle(p, before, "bells");
    }
}

/* What the loop has to read is small, and what sorting costs is bounded: who sends more gets it refused. */
static void test_large_things_refused(void **state)
{
    (void)state;
    enum { ALLOWED = 1 << 20, LOG = 200000 /* entries of 10 bytes */ };
    for (int i = 0; i < 4; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        struct rider r;
        bool async = i % 2;
        k.channel = channels[i / 2];
        pit *p = kit_open(&k);
        check(kit_outcome(kit_submit(p, "entries", ALLOWED / 8, NULL), NULL), 0, k.channel, true);
        int64_t n = ALLOWED + 1;
        check(async ? kit_outcome(kit_submit(p, "entries", n, NULL), NULL) : kit_call(p, "entries", n, KIT_LIMIT_MS, NULL),
              PIT_E_LIMIT_EXCEEDED, k.channel, async);
        check(async ? kit_outcome(kit_submit(p, "log", LOG, NULL), NULL) : kit_call(p, "log", LOG, KIT_LIMIT_MS, NULL),
              PIT_E_PROTOCOL_ERROR, k.channel, async);
        rider_start(&r, p, "echo", async);
        check(rider_end(&r), 0, k.channel, async);
        settle(p, before, "large things refused");
    }
}

static void test_large_ready_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    for (int i = 0; i < 2; i++) {
        struct kit k = KIT_INIT;
        pit *p = NULL;
        pit_error *e = NULL;
        k.channel = channels[i];
        atomic_store(&stage->fat, 1);
        assert_int_equal(kit_open_os(&os_linux, &k, &p, &e), PIT_E_NO_WORKERS_STARTED);
        assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_PROTOCOL_ERROR);
        pit_error_free(e);
    }
    kit_clean(before, "large READY refused");
}

/* While one pool's worker sends the largest maps that fit a frame, the deadline of another pool's call holds. It once took longer than LATE_MS, which
 * is far above what it takes. */
static void test_others_are_not_held_up(void **state)
{
    (void)state;
    enum { ENTRIES = 6000000, LATE_MS = 3000 };
    static const char *const commands[] = {"log", "entries"};
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        const char *command[5], *env[2];
        struct kit k = KIT_INIT;
        pit_pool_options pool;
        k.pool.graceful_shutdown_timeout_ms = 100;
        pit *p = kit_open(&k);
        kit_pool(&k, "second", command, env, &pool);
        assert_int_equal(pit_pool_start(p, &pool, NULL), 0);
        pit_future *evil = kit_submit(p, commands[i], ENTRIES, NULL);
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.pool = "second";
        o.timeout_ms = 50;
        do {
            struct patience patience = patience_for(LATE_MS);
            pit_future *f = kit_submit(p, "gate", 1, &o);
            while (pit_future_wait(f, 1) == PIT_E_PENDING)
                assert_false(patience_is_over(&patience));
            assert_int_equal(kit_outcome(f, NULL), PIT_E_DEADLINE_EXCEEDED);
        } while (pit_future_wait(evil, 0) == PIT_E_PENDING);
        assert_int_equal(kit_outcome(evil, NULL), i == 0 ? PIT_E_PROTOCOL_ERROR : PIT_E_LIMIT_EXCEEDED);
        settle(p, before, "others are not held up");
    }
}

/* ---- log lines ---- */

static atomic_long lines_heard;
static char last_line[4096];
static pthread_mutex_t line_lock = PTHREAD_MUTEX_INITIALIZER;

static void hear(int level, const char *text, void *user)
{
    (void)user;
    if (strstr(text, ": python: ") == NULL && strstr(text, ": a b") == NULL)
        return; /* the library's own */
    pthread_mutex_lock(&line_lock);
    snprintf(last_line, sizeof last_line, "%d %s", level, text);
    pthread_mutex_unlock(&line_lock);
    atomic_fetch_add(&lines_heard, 1);
}

static int speak(pit *p, const char *command, int64_t n, bool async)
{
    return async ? kit_outcome(kit_submit(p, command, n, NULL), NULL) : kit_call(p, command, n, KIT_LIMIT_MS, NULL);
}

/* What a worker logs cannot forge lines of the host's log, nor speak to its terminal. */
static void test_log_lines_are_clean(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.channel = channels[i / 2];
        k.log = hear;
        atomic_store(&lines_heard, 0);
        pit *p = kit_open(&k);
        check(speak(p, "say_control", 0, i % 2), 0, k.channel, i % 2);
        KIT_AWAIT(atomic_load(&lines_heard) == 1);
        const char *text = strstr(last_line, ": ");
        assert_non_null(text);
        assert_string_equal(text, ": a b\xef\xbf\xbd: one two three\xef\xbf\xbd[31m\xef\xbf\xbd\xe2\x82\xac");
        assert_int_equal(last_line[0], '0' + PIT_LOG_ERROR);
        check(speak(p, "say_long", 5000, i % 2), 0, k.channel, i % 2);
        KIT_AWAIT(atomic_load(&lines_heard) == 2);
        assert_int_equal(last_line[0], '0' + PIT_LOG_WARNING);
        settle(p, before, "log lines are clean");
    }
}

/* A log line is short and flat; on a ring there is none. */
static void test_log_lines_refused(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        int64_t n;
        bool ring_only;
    } cases[] = {{"say_list", 0, false}, {"say_decimal", 0, false}, {"say_long", 66000, false}, {"say_on_lane", 1, true}};
    for (size_t i = 0; i < 4 * sizeof cases / sizeof cases[0]; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        bool async = i % 2, socket = i / 2 % 2;
        int64_t n = 0;
        k.channel = channels[socket];
        pit *p = kit_open(&k);
        pid_t pid = kit_worker(p, 0);
        int rc = speak(p, cases[i / 4].command, cases[i / 4].n, async);
        bool refused = !cases[i / 4].ring_only || !socket;
        if (rc != 0 || !refused) /* the answer that follows may be heard, too */
            check(rc, refused ? PIT_E_PROTOCOL_ERROR : 0, k.channel, async);
        if (refused)
            KIT_AWAIT(kit_stats(p).restarts == 1);
        assert_int_equal(kit_call(p, "pid", 0, KIT_LIMIT_MS, &n), 0);
        assert_int_equal(n != pid, refused);
        settle(p, before, "log lines refused");
    }
}

/* So many lines a second are heard; the rest costs the worker nothing. */
static void test_log_lines_are_metered(void **state)
{
    (void)state;
    enum { SAID = 30000, A_SECOND = 1000 };
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        int64_t n = 0;
        k.channel = channels[i];
        k.log = hear;
        pit *p = kit_open(&k);
        pid_t pid = kit_worker(p, 0);
        atomic_store(&lines_heard, 0);
        uint64_t began = pit_now_ns();
        assert_int_equal(kit_call(p, "say_often", SAID, KIT_LIMIT_MS, NULL), 0);
        assert_int_equal(kit_call(p, "pid", 0, KIT_LIMIT_MS, &n), 0);
        assert_int_equal(n, pid);
        long heard = atomic_load(&lines_heard);
        uint64_t seconds = (pit_now_ns() - began) / 1000000000 + 1;
        assert_true(heard > 0 && heard <= (long)(seconds + 1) * A_SECOND);
        settle(p, before, "log lines are metered");
    }
}

/* A worker that logs on its lane without end, beside calls of another: those go on, and its own call has its deadline. */
static void test_log_without_end(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.workers = 2;
        k.channel = channels[i / 2];
        k.pool.cancel_grace_ms = 100;
        pit *p = kit_open(&k);
        bool ring = i < 2;
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.timeout_ms = ring ? KIT_LIMIT_MS : 500; /* on a ring the first line ends the call */
        int rc;
        if (i % 2 != 0) {
            pit_future *endless = kit_submit(p, "say_on_lane", -1, &o);
            do
                assert_int_equal(kit_outcome(kit_submit(p, "echo", 1, NULL), NULL), 0);
            while (pit_future_wait(endless, 0) == PIT_E_PENDING);
            rc = kit_outcome(endless, NULL);
        } else {
            rc = kit_call(p, "say_on_lane", -1, o.timeout_ms, NULL);
        }
        check(rc, ring ? PIT_E_PROTOCOL_ERROR : PIT_E_DEADLINE_EXCEEDED, k.channel, i % 2);
        assert_int_equal(kit_call(p, "echo", 1, KIT_LIMIT_MS, NULL), 0);
        settle(p, before, "log without end");
    }
}

static int setup(void **state)
{
    (void)state;
    kit_reset_stage();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(test_answered_early),
        TEST(test_spread),
        TEST(test_cancelled_behind),
        TEST(test_chatty_start),
        TEST(test_guard_dies_with_open_starts),
        TEST(test_guard_stopped_at_an_end),
        TEST(test_guard_late_at_an_end),
        TEST(test_guard_stopped_in_start),
        TEST(test_no_leak_without_status),
        TEST(test_bells),
        TEST(test_large_things_refused),
        TEST(test_large_ready_refused),
        TEST(test_others_are_not_held_up),
        TEST(test_log_lines_are_clean),
        TEST(test_log_lines_refused),
        TEST(test_log_lines_are_metered),
        TEST(test_log_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
