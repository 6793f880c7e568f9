/* Heartbeats of real workers: who computes, holds the GIL, sleeps, is stopped, lies, has no heart, or has nothing to do. */
#include "integration/c/kit_python.h"

enum { NEVER_MS = 3600000, KINDS = 7 };

static const char *const names[KINDS] = {
    "snakepit.heartbeat.monitor_started",
    "snakepit.heartbeat.monitor_stopped",
    "snakepit.heartbeat.monitor_failure",
    "snakepit.heartbeat.ping_sent",
    "snakepit.heartbeat.pong_received",
    "snakepit.heartbeat.heartbeat_timeout",
    "snakepit.worker.stalled",
};
enum { STARTED, STOPPED, FAILURE, PING, PONG, TIMEOUT, STALLED };

/* What was told, and with what. */
struct heard {
    atomic_int n[KINDS];
    pthread_mutex_t lock;
    char reason[32], dependent[8], missed_count[8], command[32];
    double latency_ms, stalled_ms, missed;
};

static void keep(char *to, size_t n, const pit_event *ev, const char *key)
{
    const char *text = pit_event_text(ev, key);
    if (text != NULL)
        snprintf(to, n, "%s", text);
}

static int hear(const pit_event *ev, void *user)
{
    struct heard *h = user;
    pthread_mutex_lock(&h->lock);
    keep(h->reason, sizeof h->reason, ev, "reason");
    keep(h->dependent, sizeof h->dependent, ev, "dependent");
    keep(h->missed_count, sizeof h->missed_count, ev, "missed_count");
    keep(h->command, sizeof h->command, ev, "command");
    pit_event_number(ev, "latency_ms", &h->latency_ms);
    pit_event_number(ev, "stalled_ms", &h->stalled_ms);
    pit_event_number(ev, "missed", &h->missed);
    pthread_mutex_unlock(&h->lock);
    for (int i = 0; i < KINDS; i++)
        if (strcmp(pit_event_name(ev), names[i]) == 0)
            atomic_fetch_add(&h->n[i], 1);
    return 0;
}

struct ward { /* a pit with one pool of one worker, whose heart is listened to */
    struct kit_before before;
    struct heard heard;
    pit *p;
    char path[96], begun[112];
};

static const char pure[] = "SNAKEPIT_NO_EXTENSION=1";

/* command NULL: Python, with this in its environment. */
static void ward_open_env(struct ward *w, const pit_heartbeat_options *o, const char *const *command, const char *entry)
{
    memset(w, 0, sizeof *w);
    w->before = kit_before();
    pthread_mutex_init(&w->heard.lock, NULL);
    snprintf(w->path, sizeof w->path, "%s.go", kit_stage_path);
    snprintf(w->begun, sizeof w->begun, "%s.begun", w->path);
    const char *env[] = {kit_mark, entry, NULL};
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "ward";
    pool.command = command;
    pool.adapter = command == NULL ? TEST_SOURCE_DIR "/tests/integration/c/heart.py" : NULL;
    pool.workers = 1;
    pool.env = env;
    pool.heartbeat = o;
    pool.timeout_ms = PIT_INFINITE;
    pit_options host = PIT_OPTIONS_INIT;
    host.require_ready = PIT_OFF;
    w->p = kit_open_python(&host, &pool);
    for (int i = 0; i < KINDS; i++)
        assert_int_equal(pit_telemetry_attach(w->p, names[i], hear, &w->heard, NULL, NULL), 0);
    assert_int_equal(pit_await_all_ready(w->p, NULL, KIT_LIMIT_MS, NULL), 0);
}

static void ward_open(struct ward *w, const pit_heartbeat_options *o, const char *const *command)
{
    ward_open_env(w, o, command, NULL);
}

static void ward_close(struct ward *w, const char *what)
{
    assert_int_equal(pit_close(w->p), 0);
    unlink(w->path);
    unlink(w->begun);
    pthread_mutex_destroy(&w->heard.lock);
    kit_clean(w->before, what);
    kit_reset_stage();
}

static int heard(struct ward *w, int kind)
{
    return atomic_load(&w->heard.n[kind]);
}

static pit_heartbeat_options quick(int64_t timeout_ms)
{
    pit_heartbeat_options o = PIT_HEARTBEAT_OPTIONS_INIT;
    o.ping_interval_ms = 20;
    o.timeout_ms = timeout_ms;
    o.stall_report_ms = NEVER_MS;
    return o;
}

/* A call that is under way in the worker. */
static pit_future *begin(struct ward *w, const char *command)
{
    pit_future *f = NULL;
    pit_value *args = pit_pack("[s]", w->path);
    unlink(w->begun);
    assert_int_equal(pit_submit(w->p, command, args, NULL, &f, NULL), 0);
    pit_value_free(args);
    KIT_AWAIT(access(w->begun, F_OK) == 0);
    return f;
}

static void open_path(struct ward *w)
{
    int fd = open(w->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int flags_of(struct ward *w)
{
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(w->p, NULL, &l, NULL), 0);
    int flags = pit_worker_list_len(l) != 0 ? pit_worker_list_at(l, 0)->flags : -1;
    pit_worker_list_free(l);
    return flags;
}

static void test_python_code_is_alive(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(NEVER_MS);
    ward_open(&w, &o, NULL);
    pit_future *f = begin(&w, "spin");
    KIT_AWAIT(heard(&w, PONG) >= 5);
    assert_int_equal(heard(&w, STARTED), 1);
    assert_true(w.heard.latency_ms >= 0 && w.heard.latency_ms < KIT_LIMIT_MS);
    assert_string_equal(w.heard.dependent, "true");
    open_path(&w);
    assert_int_equal(kit_outcome(f, NULL), 0);
    KIT_AWAIT(heard(&w, STOPPED) == 1);
    assert_string_equal(w.heard.reason, "call_ended");
    pit_stats s = kit_stats(w.p);
    assert_true(s.pongs >= 5 && s.pings >= s.pongs && s.pings <= s.pongs + 1);
    assert_true(s.missed_heartbeats == 0 && s.crashes == 0 && s.stalled == 0);
    ward_close(&w, "python code");
}

static void check_stalled(const char *command)
{
    struct ward w;
    pit_heartbeat_options o = quick(NEVER_MS);
    o.stall_report_ms = 50;
    ward_open(&w, &o, NULL);
    pid_t pid = kit_worker(w.p, 0);
    pit_future *f = begin(&w, command);
    KIT_AWAIT(heard(&w, STALLED) >= 1);
    assert_string_equal(w.heard.command, command);
    assert_true(w.heard.stalled_ms >= 50);
    int told;
    do { /* a machine that starves it on its way into the stall adds another one before */
        told = heard(&w, STALLED);
        int pongs = heard(&w, PONG);
        KIT_AWAIT(heard(&w, PONG) >= pongs + 5); /* it is asked on, and answers on */
    } while (heard(&w, STALLED) != told);
    assert_int_equal(flags_of(&w), PIT_WORKER_FLAG_STALLED);
    assert_int_equal(kit_stats(w.p).stalled, 1);
    assert_int_equal(kit_stats(w.p).missed_heartbeats, 0);
    assert_int_equal(kit_worker(w.p, 0), pid);
    pit_future_cancel(f, "enough");
    pit_future_free(f);
    KIT_AWAIT(flags_of(&w) == 0);
    ward_close(&w, command);
}

static void test_gil_held_in_c_is_stalled(void **state)
{
    (void)state;
    check_stalled("hold");
}

static void test_asleep_is_stalled(void **state)
{
    (void)state;
    check_stalled("wait");
}

/* The flag goes when Python runs again, while the call goes on. */
static void test_stalled_no_more(void **state)
{
    (void)state;
    struct ward w;
    char fifo[112];
    pit_heartbeat_options o = quick(NEVER_MS);
    o.stall_report_ms = 50;
    ward_open(&w, &o, NULL);
    snprintf(fifo, sizeof fifo, "%s.fifo", w.path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    pit_future *f = begin(&w, "hold_then_spin");
    KIT_AWAIT(flags_of(&w) == PIT_WORKER_FLAG_STALLED);
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    KIT_AWAIT(flags_of(&w) == 0);
    assert_int_equal(pit_future_wait(f, PIT_NOW), PIT_E_PENDING);
    open_path(&w);
    assert_int_equal(kit_outcome(f, NULL), 0);
    unlink(fifo);
    ward_close(&w, "stalled no more");
}

static void test_stopped_is_killed(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(30);
    ward_open(&w, &o, NULL);
    pid_t pid = kit_worker(w.p, 0);
    pit_future *f = begin(&w, "wait");
    pit_error *e = NULL;
    kill(pid, SIGSTOP);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_HEARTBEAT_TIMEOUT);
    assert_true(pit_error_retriable(e));
    assert_string_equal(pit_error_worker(e), "ward/0.1");
    assert_non_null(strstr(pit_error_string(e), "try: code that keeps the interpreter locked?"));
    pit_error_free(e);
    pit_future_free(f);
    KIT_AWAIT(heard(&w, STOPPED) == 1);
    assert_string_equal(w.heard.reason, "heartbeat_timeout");
    assert_string_equal(w.heard.missed_count, "3");
    assert_true(heard(&w, TIMEOUT) >= 3 && heard(&w, FAILURE) == 1 && w.heard.missed == 3);
    assert_true(kit_stats(w.p).missed_heartbeats >= 3);
    assert_int_equal(pit_await_all_ready(w.p, NULL, KIT_LIMIT_MS, NULL), 0);
    KIT_AWAIT(kit_worker(w.p, 0) != 0 && kit_worker(w.p, 0) != pid);
    ward_close(&w, "stopped");
}

static void test_independent_is_only_told(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(20);
    o.dependent = PIT_OFF;
    o.max_missed_heartbeats = 2;
    ward_open(&w, &o, NULL);
    pid_t pid = kit_worker(w.p, 0);
    pit_future *f = begin(&w, "spin");
    kill(pid, SIGSTOP);
    KIT_AWAIT(heard(&w, FAILURE) >= 3);
    assert_string_equal(w.heard.dependent, "false");
    int pongs = heard(&w, PONG);
    kill(pid, SIGCONT);
    KIT_AWAIT(heard(&w, PONG) > pongs);
    open_path(&w);
    assert_int_equal(kit_outcome(f, NULL), 0);
    assert_int_equal(kit_worker(w.p, 0), pid);
    ward_close(&w, "independent");
}

/* A long call beside them is the clock: while it was asked so often, these were not. */
static void check_never_asked(const pit_heartbeat_options *o, bool busy, const char *entry)
{
    struct ward clock, w;
    pit_heartbeat_options often = quick(NEVER_MS);
    ward_open(&clock, &often, NULL);
    pit_future *tick = begin(&clock, "wait");
    ward_open_env(&w, o, NULL, entry);
    pit_future *f = busy ? begin(&w, "spin") : NULL;
    int pongs = heard(&clock, PONG);
    for (int i = 1; i <= 5; i++) {
        KIT_AWAIT(heard(&clock, PONG) >= pongs + 4 * i);
        if (!busy)
            assert_int_equal(kit_call(w.p, "quick", 0, KIT_LIMIT_MS, NULL), 0);
    }
    assert_int_equal(kit_stats(w.p).pings, 0);
    assert_int_equal(heard(&w, STARTED), 0);
    open_path(&w);
    if (f != NULL)
        assert_int_equal(kit_outcome(f, NULL), 0);
    pit_future_cancel(tick, "enough");
    pit_future_free(tick);
    assert_int_equal(pit_close(w.p), 0);
    unlink(w.path);
    ward_close(&clock, "never asked");
}

static void test_idle_is_never_asked(void **state)
{
    (void)state;
    pit_heartbeat_options o = quick(NEVER_MS);
    o.ping_interval_ms = KIT_LIMIT_MS; /* no call here runs for so long */
    check_never_asked(&o, false, NULL);
}

static void test_initial_delay(void **state)
{
    (void)state;
    pit_heartbeat_options o = quick(NEVER_MS);
    o.initial_delay_ms = NEVER_MS;
    check_never_asked(&o, true, NULL);
}

static void test_off(void **state)
{
    (void)state;
    pit_heartbeat_options o = quick(NEVER_MS);
    o.enabled = PIT_OFF;
    check_never_asked(&o, true, NULL);
}

static void test_pure_python_is_not_asked(void **state)
{
    (void)state;
    pit_heartbeat_options o = quick(1);
    check_never_asked(&o, true, pure);
}

/* It can answer only between its calls: so a call that takes too long looks as if it did not live. */
static void test_kill_busy(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(20);
    o.kill_busy = PIT_ON;
    ward_open_env(&w, &o, NULL, pure);
    pit_future *f = begin(&w, "wait");
    assert_int_equal(kit_outcome(f, NULL), PIT_E_HEARTBEAT_TIMEOUT);
    assert_int_equal(pit_await_all_ready(w.p, NULL, KIT_LIMIT_MS, NULL), 0);
    ward_close(&w, "kill busy");
}

/* Blocking or not: the ping and its late answer stand between the frames of calls. */
static void test_pong_between_calls(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(NEVER_MS);
    o.kill_busy = PIT_ON;
    ward_open_env(&w, &o, NULL, pure);
    pid_t pid = kit_worker(w.p, 0);
    for (int turns = 0; turns < 3; turns++) {
        int pings = heard(&w, PING);
        unlink(w.path);
        pit_future *f = begin(&w, "spin");
        KIT_AWAIT(heard(&w, PING) > pings);
        open_path(&w);
        assert_int_equal(kit_outcome(f, NULL), 0);
        for (int64_t n = 0, got; n < 20; n++) {
            assert_int_equal(kit_call(w.p, "quick", n, KIT_LIMIT_MS, &got), 0);
            assert_int_equal(got, n);
        }
    }
    assert_int_equal(kit_worker(w.p, 0), pid);
    ward_close(&w, "pong between calls");
}

/* The same for a call whose thread waits for it. */
static void *call_spin(void *arg)
{
    struct ward *w = arg;
    int rc = pit_callf(w->p, "spin", NULL, NULL, NULL, "[s]", w->path);
    return rc == 0 ? w : NULL;
}

static void test_pong_in_a_blocking_call(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(NEVER_MS);
    o.kill_busy = PIT_ON;
    ward_open_env(&w, &o, NULL, pure);
    pthread_t thread;
    void *good = NULL;
    assert_int_equal(pthread_create(&thread, NULL, call_spin, &w), 0);
    KIT_AWAIT(heard(&w, PING) >= 1);
    open_path(&w);
    pthread_join(thread, &good);
    assert_non_null(good);
    assert_int_equal(kit_call(w.p, "quick", 1, KIT_LIMIT_MS, NULL), 0);
    ward_close(&w, "pong in a blocking call");
}

static bool knows_thread(pit *p, const char *name, pit_value **ret)
{
    pit_value_free(*ret);
    *ret = NULL;
    assert_int_equal(pit_callf(p, "masks", NULL, ret, NULL, ""), 0);
    return pit_value_get(*ret, name) != NULL;
}

static void test_thread_takes_no_signals(void **state)
{
    (void)state;
    struct ward w;
    pit_heartbeat_options o = quick(NEVER_MS);
    ward_open(&w, &o, NULL);
    pit_value *v = NULL;
    KIT_AWAIT(knows_thread(w.p, "snakepit-heart", &v)); /* it names itself */
    const char *mask = pit_value_str(pit_value_get(v, "snakepit-heart"));
    uint64_t blocked = strtoull(mask, NULL, 16);
    for (int sig = 1; sig <= 64; sig++)
        if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33) /* the C library keeps those two */
            assert_true((blocked >> (sig - 1) & 1) != 0);
    pit_value_free(v);
    ward_close(&w, "masks");
}

/* A worker that claims a heart, and writes what it likes into the words. */
static void check_liar(unsigned how)
{
    struct ward w;
    const char *command[] = {KIT_WORKER, kit_stage_path, "ring", NULL};
    pit_heartbeat_options o = quick(20);
    atomic_store(&stage->heart, how);
    ward_open(&w, &o, command);
    assert_int_equal(kit_call(w.p, "sleep", NEVER_MS, KIT_LIMIT_MS, NULL), PIT_E_HEARTBEAT_TIMEOUT);
    ward_close(&w, "liar");
}

static void test_liars(void **state)
{
    (void)state;
    for (unsigned how = 1; how <= 3; how++)
        check_liar(how);
}

static void test_bad_options(void **state)
{
    (void)state;
    const struct {
        pit_heartbeat_options o;
        int code;
    } bad[] = {
        {{.size = sizeof(pit_heartbeat_options), .ping_interval_ms = PIT_NOW}, PIT_E_INVALID_INTERVAL},
        {{.size = sizeof(pit_heartbeat_options), .ping_interval_ms = PIT_INFINITE}, PIT_E_INVALID_INTERVAL},
        {{.size = sizeof(pit_heartbeat_options), .timeout_ms = -7}, PIT_E_INVALID_TIMEOUT},
        {{.size = sizeof(pit_heartbeat_options), .timeout_ms = INT64_MAX}, PIT_E_INVALID_TIMEOUT},
        {{.size = sizeof(pit_heartbeat_options), .stall_report_ms = PIT_NOW}, PIT_E_INVALID_TIMEOUT},
        {{.size = sizeof(pit_heartbeat_options), .initial_delay_ms = PIT_INFINITE}, PIT_E_INVALID_TIMEOUT},
        {{.size = sizeof(pit_heartbeat_options), .max_missed_heartbeats = -1}, PIT_E_INVALID_PARAMETER},
        {{.size = sizeof(pit_heartbeat_options), .enabled = 2}, PIT_E_INVALID_PARAMETER},
        {{.size = sizeof(pit_heartbeat_options), .dependent = -2}, PIT_E_INVALID_PARAMETER},
        {{.size = sizeof(pit_heartbeat_options), .kill_busy = 3}, PIT_E_INVALID_PARAMETER},
        {{.size = 0}, PIT_E_INVALID_PARAMETER},
    };
    struct kit_before before = kit_before();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kit k = KIT_INIT;
        pit *p = NULL;
        pit_error *e = NULL;
        k.pool.heartbeat = &bad[i].o;
        assert_int_equal(kit_open_os(&os_linux, &k, &p, &e), bad[i].code);
        assert_non_null(strstr(pit_error_message(e), "heartbeat"));
        pit_error_free(e);
    }
    kit_clean(before, "bad options");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python_code_is_alive),
        cmocka_unit_test(test_gil_held_in_c_is_stalled),
        cmocka_unit_test(test_asleep_is_stalled),
        cmocka_unit_test(test_stalled_no_more),
        cmocka_unit_test(test_stopped_is_killed),
        cmocka_unit_test(test_independent_is_only_told),
        cmocka_unit_test(test_idle_is_never_asked),
        cmocka_unit_test(test_initial_delay),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_pure_python_is_not_asked),
        cmocka_unit_test(test_kill_busy),
        cmocka_unit_test(test_pong_between_calls),
        cmocka_unit_test(test_pong_in_a_blocking_call),
        cmocka_unit_test(test_thread_takes_no_signals),
        cmocka_unit_test(test_liars),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
