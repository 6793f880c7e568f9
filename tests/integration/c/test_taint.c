/* Tainted slots: they get no calls while others serve, and the last resort is told. Workers in C. */
#include "integration/c/kit.h"

#define FATAL(id, runs, sig) ((int64_t)(id) << 16 | (runs) << 8 | (sig))

struct telling {
    pthread_mutex_t lock;
    unsigned tainted, untainted, all;
    char id[64], reason[64], why[64];
};

static struct telling told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int on_event(const pit_event *ev, void *user)
{
    (void)user;
    const char *name = pit_event_name(ev), *id = pit_event_text(ev, "worker_id"), *reason = pit_event_text(ev, "reason");
    pthread_mutex_lock(&told.lock);
    if (strcmp(name, "snakepit.worker.tainted") == 0) {
        told.tainted++;
        snprintf(told.reason, sizeof told.reason, "%s", reason);
    } else if (strcmp(name, "snakepit.worker.untainted") == 0) {
        told.untainted++;
        snprintf(told.why, sizeof told.why, "%s", reason);
    } else {
        told.all++;
    }
    snprintf(told.id, sizeof told.id, "%s", id != NULL ? id : "");
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static struct telling seen(void)
{
    pthread_mutex_lock(&told.lock);
    struct telling t = told;
    pthread_mutex_unlock(&told.lock);
    return t;
}

static pit *open_told(const struct kit *k)
{
    told.tainted = told.untainted = told.all = 0;
    pit *p = kit_open(k);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.*tainted", on_event, NULL, NULL, NULL), 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.pool.all_tainted", on_event, NULL, NULL, NULL), 0);
    return p;
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

/* The pid of who has this slot, and its flags. */
static pid_t in_slot(pit *p, int slot, int *ret_flags)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        if (w->slot == slot && (w->state == PIT_WORKER_READY || w->state == PIT_WORKER_BUSY)) {
            pid = w->pid;
            *ret_flags = w->flags;
        }
    }
    pit_worker_list_free(l);
    return pid;
}

static bool is_tainted(pit *p, int slot)
{
    int flags = 0;
    return in_slot(p, slot, &flags) != 0 && (flags & PIT_WORKER_FLAG_TAINTED) != 0;
}

/* How many of so many calls each of two workers gets: at once as futures, or one after the other. */
static void count_calls(pit *p, const pid_t pids[2], unsigned n, bool at_once, unsigned got[2])
{
    pit_future *f[64];
    int64_t pid;
    got[0] = got[1] = 0;
    for (unsigned i = 0; i < n && at_once; i++)
        f[i] = kit_submit(p, "pid", 0, NULL);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(at_once ? kit_outcome(f[i], &pid) : kit_call(p, "pid", 0, KIT_LIMIT_MS, &pid), 0);
        assert_true(pid == pids[0] || pid == pids[1]);
        got[pid == pids[1]]++;
    }
}

static struct kit two(void)
{
    struct kit k = KIT_INIT;
    k.workers = 2;
    k.pool.restart_backoff = PIT_OFF;
    return k;
}

static void test_gets_no_call(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit *p = open_told(&k);
    int flags;
    unsigned got[2];
    const pid_t pids[2] = {in_slot(p, 0, &flags), in_slot(p, 1, &flags)};
    for (int slot = 0; slot < 2; slot++) {
        char id[16];
        snprintf(id, sizeof id, slot == 0 ? "c/%d" : "c/%d.1", slot);
        assert_int_equal(pit_taint(p, "c", id, PIT_INFINITE, "looks odd", NULL), 0);
        assert_true(is_tainted(p, slot) && !is_tainted(p, 1 - slot));
        assert_int_equal(kit_stats(p).tainted, 1);
        for (int at_once = 0; at_once < 2; at_once++) {
            count_calls(p, pids, 64, at_once, got);
            assert_int_equal(got[slot], 0);
        }
        KIT_AWAIT(seen().tainted == (unsigned)slot + 1);
        assert_string_equal(seen().reason, "looks odd");
        assert_int_equal(pit_taint(p, NULL, id, PIT_NOW, NULL, NULL), 0);
        KIT_AWAIT(seen().untainted == (unsigned)slot + 1);
        assert_string_equal(seen().why, "asked for");
        assert_int_equal(kit_stats(p).tainted, 0);
    }
    assert_int_equal(seen().all, 0);
    settle(p, before, "no call");
}

/* What it runs it finishes; what waits goes elsewhere. */
static void test_while_it_works(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit *p = open_told(&k);
    pit_future *gate = kit_submit(p, "gate", 1, NULL);
    KIT_AWAIT(atomic_load(&stage->arrived) == 1);
    int busy = 0, flags = 0;
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        if (pit_worker_list_at(l, i)->state == PIT_WORKER_BUSY)
            busy = pit_worker_list_at(l, i)->slot;
    pit_worker_list_free(l);
    const pid_t pids[2] = {in_slot(p, 0, &flags), in_slot(p, 1, &flags)};
    assert_int_equal(pit_taint(p, NULL, busy == 0 ? "c/0.1" : "c/1.1", PIT_INFINITE, NULL, NULL), 0);
    kit_open_gate();
    assert_int_equal(kit_outcome(gate, NULL), 0);
    unsigned got[2];
    count_calls(p, pids, 64, true, got);
    assert_int_equal(got[busy], 0);
    settle(p, before, "while it works");
}

/* All are tainted: the one that was least recently serves, until another is clean again. */
static void test_last_resort(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit *p = open_told(&k);
    int flags;
    unsigned got[2];
    const pid_t pids[2] = {in_slot(p, 0, &flags), in_slot(p, 1, &flags)};
    assert_int_equal(pit_taint(p, NULL, "c/1", PIT_INFINITE, NULL, NULL), 0);
    assert_int_equal(pit_taint(p, NULL, "c/0", PIT_INFINITE, NULL, NULL), 0);
    KIT_AWAIT(seen().all == 1);
    assert_string_equal(seen().id, "c/1.1");
    count_calls(p, pids, 32, true, got);
    assert_int_equal(got[0], 0);
    assert_int_equal(pit_taint(p, NULL, "c/1", PIT_INFINITE, NULL, NULL), 0); /* now the other was least recently */
    count_calls(p, pids, 32, true, got);
    assert_int_equal(got[1], 0);
    assert_int_equal(pit_taint(p, NULL, "c/1", PIT_NOW, NULL, NULL), 0);
    count_calls(p, pids, 32, true, got);
    assert_int_equal(got[0], 0);
    settle(p, before, "last resort");
}

static void test_expires(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit *p = open_told(&k);
    assert_int_equal(pit_taint(p, NULL, "c/0", 30, NULL, NULL), 0);
    KIT_AWAIT(seen().untainted == 1);
    assert_string_equal(seen().why, "expired");
    assert_false(is_tainted(p, 0));
    settle(p, before, "expires");
}

/* The process that replaces it starts clean, whichever way it comes. */
static void test_replaced(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit *p = open_told(&k);
    int flags;
    assert_int_equal(pit_taint(p, NULL, "c/0", PIT_INFINITE, NULL, NULL), 0);
    kill(in_slot(p, 0, &flags), SIGKILL);
    KIT_AWAIT(seen().untainted == 1);
    assert_string_equal(seen().why, "replaced");
    assert_int_equal(pit_taint(p, NULL, "c/1", PIT_INFINITE, NULL, NULL), 0);
    assert_int_equal(pit_worker_recycle(p, NULL, "c/1.1", NULL), 0);
    KIT_AWAIT(seen().untainted == 2);
    assert_string_equal(seen().why, "replaced");
    KIT_AWAIT(kit_stats(p).available == 2 && kit_stats(p).tainted == 0);
    settle(p, before, "replaced");
}

/* A crash of a class that marks taints the slot until there is another process; after too many the taint stays. */
static void test_crashed(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    static const int codes[] = {7};
    pit_crash_barrier_options b = PIT_CRASH_BARRIER_OPTIONS_INIT;
    b.worker_max_crashes = 2;
    b.taint_on_exit_codes = codes;
    b.n_taint_on_exit_codes = 1;
    k.pool.crash_barrier = &b;
    pit *p = open_told(&k);
    assert_int_equal(pit_taint(p, NULL, "c/1", PIT_INFINITE, NULL, NULL), 0); /* so all crashes meet slot 0 */
    assert_int_equal(kit_call(p, "exit", 9, 0, NULL), PIT_E_WORKER_CRASH);
    KIT_AWAIT(kit_stats(p).available == 2);
    KIT_AWAIT(seen().tainted == 1); /* status 9 marks nothing */
    assert_int_equal(kit_stats(p).tainted, 1);
    assert_int_equal(kit_call(p, "exit", 7, 0, NULL), PIT_E_WORKER_CRASH);
    KIT_AWAIT(kit_stats(p).available == 2);
    KIT_AWAIT(is_tainted(p, 0)); /* the second: it stays */
    KIT_AWAIT(seen().tainted == 2);
    assert_string_equal(seen().reason, "exit_code");
    settle(p, before, "crashed");
}

static void test_crashed_once(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    static const char *const marks[] = {"abort", NULL}; /* a sanitizer makes an exit of SIGSEGV */
    pit_crash_barrier_options b = PIT_CRASH_BARRIER_OPTIONS_INIT;
    b.mark_on = marks;
    k.pool.crash_barrier = &b;
    pit *p = open_told(&k);
    assert_int_equal(kit_call(p, "die", SIGABRT, 0, NULL), PIT_E_WORKER_CRASH);
    KIT_AWAIT(seen().tainted == 1 && seen().untainted == 1);
    assert_string_equal(seen().reason, "abort");
    assert_string_equal(seen().why, "replaced");
    assert_int_equal(kit_call(p, "die", SIGTERM, 0, NULL), PIT_E_WORKER_CRASH);
    KIT_AWAIT(kit_stats(p).crashes == 2 && kit_stats(p).available == 2);
    assert_int_equal(seen().tainted, 1);
    settle(p, before, "crashed once");
}

static int refused(pit *p, const char *pool, const char *target, int64_t ms)
{
    pit_error *e = NULL;
    int rc = pit_taint(p, pool, target, ms, NULL, &e);
    assert_int_equal(pit_error_code(e), rc);
    pit_error_free(e);
    return rc;
}

static void test_asked_badly(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit *p = open_told(&k);
    int flags;
    static const char *const unknown[] = {
        "", "c", "c/", "c/2", "c/9", "d/0", "c/0.", "c/0.2", "c/0.1x", "c/-1", "c/99999999999999999999"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_int_equal(refused(p, NULL, unknown[i], 0), PIT_E_WORKER_NOT_FOUND);
    assert_int_equal(refused(p, NULL, NULL, 0), PIT_E_INVALID_PARAMETER);
    assert_int_equal(refused(p, NULL, "c/0", -7), PIT_E_INVALID_TIMEOUT);
    assert_int_equal(refused(p, "nobody", "c/0", 0), PIT_E_POOL_NOT_FOUND);
    kill(in_slot(p, 0, &flags), SIGKILL);
    KIT_AWAIT(kit_stats(p).crashes == 1 && kit_stats(p).available == 2);
    assert_int_equal(refused(p, NULL, "c/0.1", 0), PIT_E_STALE_WORKER);
    assert_int_equal(pit_taint(p, NULL, "c/0.2", 0, NULL, NULL), 0);
    assert_true(is_tainted(p, 0));
    settle(p, before, "asked badly");
}

/* ---- health ---- */

static atomic_uint alerts;
static char pattern[32];

static int on_alert(const pit_event *ev, void *user)
{
    (void)user;
    snprintf(pattern, sizeof pattern, "%s", pit_event_text(ev, "pattern"));
    atomic_fetch_add(&alerts, 1);
    return 0;
}

static pit_health health_of(pit *p, const char *pool)
{
    pit_health h = PIT_HEALTH_INIT;
    assert_int_equal(pit_health_get(p, pool, &h), 0);
    return h;
}

static void test_health(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit_health_options o = PIT_HEALTH_OPTIONS_INIT;
    o.max_crashes = 3;
    o.crash_window_ms = 3600000;
    k.pool.health = &o;
    pit *p = open_told(&k);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.health.alert", on_alert, NULL, NULL, NULL), 0);
    pit_health h = health_of(p, NULL);
    assert_true(h.is_healthy && h.is_ready && h.total_crashes == 0 && h.max_crashes == 3 && h.crash_window_ms == 3600000);
    for (int i = 0; i < 3; i++) {
        assert_true(health_of(p, "c").is_healthy);
        assert_int_equal(kit_call(p, "exit", i + 1, 0, NULL), PIT_E_WORKER_CRASH);
        KIT_AWAIT(kit_stats(p).available == 2);
    }
    h = health_of(p, "c");
    assert_true(!h.is_healthy && !h.is_ready && h.total_crashes == 3 && h.crashes_in_window == 3);
    assert_true(h.workers_with_crashes >= 1 && h.segfaults_in_window == 0);
    KIT_AWAIT(atomic_load(&alerts) == 1);
    assert_string_equal(pattern, "unhealthy");
    assert_int_equal(kit_call(p, "exit", 9, 0, NULL), PIT_E_WORKER_CRASH);
    KIT_AWAIT(kit_stats(p).available == 2);
    assert_int_equal(atomic_load(&alerts), 1); /* told once */
    assert_int_equal(pit_health_get(p, "nobody", &h), PIT_E_POOL_NOT_FOUND);
    assert_int_equal(pit_health_get(p, NULL, NULL), PIT_E_INVALID_PARAMETER);
    settle(p, before, "health");
}

static void test_healthy_again(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = two();
    pit_health_options o = PIT_HEALTH_OPTIONS_INIT;
    o.max_crashes = 1;
    o.crash_window_ms = 20;
    o.check_interval_ms = 1;
    k.pool.health = &o;
    pit *p = open_told(&k);
    atomic_store(&alerts, 0);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.health.alert", on_alert, NULL, NULL, NULL), 0);
    for (unsigned i = 1; i <= 2; i++) { /* well in between: warned of twice */
        assert_int_equal(kit_call(p, "exit", 1, 0, NULL), PIT_E_WORKER_CRASH);
        KIT_AWAIT(atomic_load(&alerts) == i);
        KIT_AWAIT(kit_stats(p).available == 2 && health_of(p, NULL).is_ready);
    }
    settle(p, before, "healthy again");
}

static int open_with(pit_health_options o)
{
    struct kit k = two();
    pit *p = NULL;
    k.pool.health = &o;
    int rc = kit_open_os(&os_linux, &k, &p, NULL);
    pit_close(p);
    return rc;
}

static void test_health_options(void **state)
{
    (void)state;
    pit_health_options o = PIT_HEALTH_OPTIONS_INIT;
    o.max_crashes = 257;
    assert_int_equal(open_with(o), PIT_E_INVALID_PARAMETER);
    o.max_crashes = 256;
    o.crash_window_ms = -3;
    assert_int_equal(open_with(o), PIT_E_INVALID_TIMEOUT);
    o.crash_window_ms = 0;
    o.check_interval_ms = -3;
    assert_int_equal(open_with(o), PIT_E_INVALID_INTERVAL);
    o.size = 3;
    assert_int_equal(open_with(o), PIT_E_INVALID_PARAMETER);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gets_no_call),  cmocka_unit_test(test_while_it_works), cmocka_unit_test(test_last_resort),
        cmocka_unit_test(test_expires),       cmocka_unit_test(test_replaced),       cmocka_unit_test(test_crashed),
        cmocka_unit_test(test_crashed_once),  cmocka_unit_test(test_asked_badly),    cmocka_unit_test(test_health),
        cmocka_unit_test(test_healthy_again), cmocka_unit_test(test_health_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
