/* The crash storm: eight Python workers, sixteen callers, and whatever can end a worker: kill -9, SIGSEGV, SIGSTOP and SIGTERM from outside at any
 * moment, the death of the guard, calls that crash, leave, stop, hang, raise or want all memory.
 *
 * Whatever happens: one outcome for each call, of a kind that fits; an answer is the right one; the counters say what the callers saw; the pool is whole
 * soon after the last fault; and nothing is left. What was injected and what was seen is printed.
 *
 * SNAKEPIT_STORM_SECONDS: how long each storm lasts (8). SNAKEPIT_STORM_SEED. */
#include "integration/c/kit.h"

enum { WORKERS = 8, CALLERS = 16, CALL_MS = 1500, SECONDS = 8, CODES = 32 };
/* Whole within a second of the last fault, and so many starts of the same run, for the machine may be busy; at their defaults the nets hold a slot back for
 * 5 s at most, and the pool for a window of 5 s. */
enum { WHOLE_MS = 1000, STARTS = 10, BACK_OFF_MS = 5000 + 5000 };

/* X(NAME, command, a fault) */
#define DEED_LIST(X)                                                                                                           \
    X(GOOD, good, 0)                                                                                                           \
    X(SLOW, slow, 0)                                                                                                           \
    X(RAISES, raises, 0)                                                                                                       \
    X(DIES, dies, 1)                                                                                                           \
    X(LEAVES, leaves, 1)                                                                                                       \
    X(STOPS, stops, 1)                                                                                                         \
    X(HANGS, hangs, 1)                                                                                                         \
    X(HOGS, hogs, 1)

enum deed {
#define DEED_ENUM(constant, name, fault) DEED_##constant,
    DEED_LIST(DEED_ENUM)
#undef DEED_ENUM
        DEEDS
};

static const char *const deed_names[] = {
#define DEED_NAME(constant, name, fault) #name,
    DEED_LIST(DEED_NAME)
#undef DEED_NAME
};

static const struct {
    const char *name;
    int signal;
} blows[] = {{"SIGKILL", SIGKILL}, {"SIGSEGV", SIGSEGV}, {"SIGSTOP", SIGSTOP}, {"SIGTERM", SIGTERM}, {"the guard's death", 0}};
enum { BLOWS = sizeof blows / sizeof blows[0] };

struct storm {
    pit *p;
    uint64_t seed;
    atomic_int calm, over; /* nobody does harm any more; the callers end */
    atomic_ulong made[DEEDS], struck[BLOWS];
    atomic_ulong outcomes, good, futures, told, twice, wrong;
    atomic_int wrong_rc, wrong_deed;
    struct {
        atomic_int rc;
        atomic_ulong n;
    } codes[CODES];
};

struct caller {
    struct storm *s;
    uint64_t dice;
};

static uint32_t roll(uint64_t *dice, uint32_t sides)
{
    *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*dice >> 33) % sides;
}

static void count_code(struct storm *s, int rc)
{
    for (int i = 0; i < CODES; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&s->codes[i].rc, &none, rc) || none == rc) {
            atomic_fetch_add(&s->codes[i].n, 1);
            return;
        }
    }
}

/* What may come of anything while workers and guards die. */
static bool fits(enum deed d, int rc)
{
    static const int any[] = {PIT_E_WORKER_CRASH,         PIT_E_WORKER_KILLED,     PIT_E_GUARD_LOST,
                              PIT_E_DEADLINE_EXCEEDED,    PIT_E_HEARTBEAT_TIMEOUT, PIT_E_QUEUE_TIMEOUT,
                              PIT_E_POOL_NOT_INITIALIZED, PIT_E_WORKER_RECYCLED,   PIT_E_POISON_CALL};
    if (rc == 0)
        return d == DEED_GOOD || d == DEED_SLOW || d == DEED_STOPS /* it was told to go on */;
    if (rc == PIT_E_VALUE_ERROR || rc == PIT_E_OUT_OF_MEMORY)
        return d == (rc == PIT_E_VALUE_ERROR ? DEED_RAISES : DEED_HOGS);
    for (size_t i = 0; i < sizeof any / sizeof any[0]; i++)
        if (any[i] == rc)
            return true;
    return false;
}

static void judge(struct storm *s, enum deed d, int64_t number, int rc, int64_t got)
{
    atomic_fetch_add(&s->outcomes, 1);
    atomic_fetch_add(&s->good, rc == 0);
    if (rc != 0)
        count_code(s, rc);
    if (fits(d, rc) && (rc != 0 || d == DEED_STOPS || got == number * 3 + 1))
        return;
    atomic_store(&s->wrong_rc, rc);
    atomic_store(&s->wrong_deed, (int)d);
    atomic_fetch_add(&s->wrong, 1);
}

static enum deed choose(struct caller *c)
{
    if (atomic_load(&c->s->calm) != 0 || roll(&c->dice, 100) < 92)
        return roll(&c->dice, 3) == 0 ? DEED_SLOW : DEED_GOOD;
    return (enum deed)(DEED_RAISES + roll(&c->dice, DEEDS - DEED_RAISES));
}

struct told {
    struct storm *s;
    atomic_int times;
};

static void on_done(pit_future *f, void *user)
{
    (void)f;
    struct told *t = user;
    struct storm *s = t->s; /* who waits for `times` goes on then, and t is his */
    atomic_fetch_add(&s->told, 1);
    atomic_fetch_add(&s->twice, atomic_fetch_add(&t->times, 1) != 0);
}

static void call_later(struct storm *s, enum deed d, int64_t number)
{
    struct told told = {.s = s};
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *args = pit_pack("[I]", number), *v = NULL;
    pit_future *f = NULL;
    int64_t got = -1;
    o.timeout_ms = CALL_MS;
    int rc = pit_submit(s->p, deed_names[d], args, &o, &f, NULL);
    pit_value_free(args);
    if (rc == 0) {
        atomic_fetch_add(&s->futures, 1);
        pit_future_on_done(f, on_done, &told);
        if (pit_future_wait(f, KIT_LIMIT_MS) != 0)
            rc = PIT_E_PENDING;
        else
            rc = pit_future_result(f, &v, NULL);
        KIT_COMES_TRUE(atomic_load(&told.times) != 0); /* it lives here */
        pit_value_get_int(v, &got);
        pit_value_free(v);
        pit_future_free(f);
    }
    judge(s, d, number, rc, got);
}

static void call_now(struct storm *s, enum deed d, int64_t number)
{
    int64_t got = -1;
    int rc = kit_call(s->p, deed_names[d], number, CALL_MS, &got);
    judge(s, d, number, rc, got);
}

static void *call_on(void *arg)
{
    struct caller *c = arg;
    for (int64_t number = 0; atomic_load(&c->s->over) == 0; number++) {
        enum deed d = choose(c);
        atomic_fetch_add(&c->s->made[d], 1);
        if (roll(&c->dice, 3) == 0)
            call_later(c->s, d, number);
        else
            call_now(c->s, d, number);
    }
    return NULL;
}

static void strike(struct storm *s, uint64_t *dice)
{
    uint32_t kind = roll(dice, 100);
    int blow = kind < 55 ? 0 : kind < 75 ? 1 : kind < 88 ? 2 : kind < 98 ? 3 : 4;
    pid_t pid = blow == 4 ? kit_guard() : kit_worker(s->p, roll(dice, WORKERS));
    if (pid <= 0)
        return;
    kill(pid, blow == 4 ? SIGKILL : blows[blow].signal);
    atomic_fetch_add(&s->struck[blow], 1);
}

static uint64_t outcomes(struct storm *s)
{
    return atomic_load(&s->outcomes);
}

/* Strikes after so many calls, not after so much time: calls and faults keep their proportion on any machine. */
static void rage(struct storm *s, int seconds)
{
    uint64_t dice = s->seed, until = pit_now_ns() + (uint64_t)seconds * 1000000000;
    while (pit_now_ns() < until || atomic_load(&s->struck[0]) == 0) {
        uint64_t next = outcomes(s) + 20 + roll(&dice, 200);
        KIT_AWAIT(outcomes(s) >= next || (pit_now_ns() >= until && atomic_load(&s->struck[0]) != 0));
        strike(s, &dice);
    }
}

/* A stopped worker that has no call is not looked at by anybody, so it goes on: the storm is over. */
static void wake_the_stopped(pit *p)
{
    for (size_t i = 0; i < WORKERS; i++) {
        pid_t pid = kit_worker(p, i);
        if (pid != 0)
            kill(pid, SIGCONT);
    }
}

static void report(struct storm *s, const char *nets, const pit_stats *stats, double start_ms, double whole_ms)
{
    print_message("storm, nets of restarts %s, seed %llu\n  calls:", nets, (unsigned long long)s->seed);
    for (int i = 0; i < DEEDS; i++)
        print_message(" %s %lu", deed_names[i], atomic_load(&s->made[i]));
    print_message("\n  from outside:");
    for (int i = 0; i < BLOWS; i++)
        print_message(" %s %lu", blows[i].name, atomic_load(&s->struck[i]));
    print_message("\n  outcomes: ok %lu", atomic_load(&s->good));
    for (int i = 0; i < CODES && atomic_load(&s->codes[i].rc) != 0; i++)
        print_message(" %s %lu", pit_error_code_name(atomic_load(&s->codes[i].rc)), atomic_load(&s->codes[i].n));
    print_message(
        "\n  workers: %llu crashed, %llu replaced; whole %.0f ms after the last fault (a start of all of them took %.0f ms)\n",
        (unsigned long long)stats->crashes, (unsigned long long)stats->restarts, whole_ms, start_ms);
}

static double ms_since(uint64_t began)
{
    return (double)(pit_now_ns() - began) / 1e6;
}

static pit *open_storm(int backoff, int retry)
{
    const char *env[] = {kit_mark, NULL};
    pit_heartbeat_options heart = PIT_HEARTBEAT_OPTIONS_INIT;
    heart.ping_interval_ms = 100;
    heart.timeout_ms = 200;
    heart.max_missed_heartbeats = 2;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "storm";
    pool.adapter = TEST_SOURCE_DIR "/tests/storm/storm_worker.py";
    pool.python = TEST_PYTHON;
    pool.workers = WORKERS;
    pool.env = env;
    pool.queue_timeout_ms = KIT_LIMIT_MS;
    pool.cancel_grace_ms = 20;
    pool.restart_backoff = backoff;
    pool.heartbeat = &heart;
    pit_crash_barrier_options barrier = PIT_CRASH_BARRIER_OPTIONS_INIT;
    barrier.retry = retry;
    barrier.max_restarts = 2;
    pool.crash_barrier = &barrier;
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.pools = pools;
    o.n_pools = 1;
    o.log = getenv("KIT_LOG") != NULL ? kit_log : NULL;
    o.log_level = PIT_LOG_WARNING;
    pit *p = NULL;
    pit_error *e = NULL;
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    return p;
}

static int storm_seconds(void)
{
    const char *text = getenv("SNAKEPIT_STORM_SECONDS");
    return text != NULL ? atoi(text) : SECONDS;
}

static unsigned long heard(struct storm *s, int rc)
{
    for (int i = 0; i < CODES; i++)
        if (atomic_load(&s->codes[i].rc) == rc)
            return atomic_load(&s->codes[i].n);
    return 0;
}

/* The pool has counted what its callers have heard. */
static void check(struct storm *s, const pit_stats *stats)
{
    unsigned long made = 0;
    for (int i = 0; i < DEEDS; i++)
        made += atomic_load(&s->made[i]);
    if (atomic_load(&s->wrong) != 0)
        fail_msg("%lu outcomes do not fit, the last %s of %s", atomic_load(&s->wrong),
                 pit_error_code_name(atomic_load(&s->wrong_rc)), deed_names[atomic_load(&s->wrong_deed)]);
    assert_int_equal(atomic_load(&s->outcomes), made);
    assert_int_equal(atomic_load(&s->told), atomic_load(&s->futures));
    assert_int_equal(atomic_load(&s->twice), 0);
    assert_int_equal(stats->requests, made);
    assert_int_equal(stats->succeeded, atomic_load(&s->good));
    assert_int_equal(stats->errors, made - atomic_load(&s->good));
    assert_int_equal(stats->poisoned, heard(s, PIT_E_POISON_CALL));
    assert_int_equal(stats->queue_timeouts, heard(s, PIT_E_QUEUE_TIMEOUT));
    assert_true(atomic_load(&s->good) != 0);
    assert_true(atomic_load(&s->struck[0]) != 0);
}

/* All callers have their outcomes; the ladder may still be at the last hung call. */
static void end_callers(struct storm *s, pthread_t threads[CALLERS])
{
    atomic_store(&s->calm, 1);
    wake_the_stopped(s->p);
    atomic_store(&s->over, 1);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    wake_the_stopped(s->p);
}

static void storm(int backoff, int retry)
{
    struct kit_before before = kit_before();
    struct storm *s = calloc(1, sizeof *s);
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    const char *seed = getenv("SNAKEPIT_STORM_SEED");
    uint64_t began = pit_now_ns();
    s->seed = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)getpid();
    s->p = open_storm(backoff, retry);
    double start_ms = ms_since(began);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.s = s, .dice = s->seed * 977 + (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &callers[i]), 0);
    }
    rage(s, storm_seconds());
    end_callers(s, threads);
    began = pit_now_ns();
    int rc = pit_await_all_ready(s->p, NULL, KIT_LIMIT_MS, NULL);
    double whole_ms = ms_since(began), limit_ms = WHOLE_MS + STARTS * start_ms + (backoff == PIT_OFF ? 0 : BACK_OFF_MS);
    pit_stats stats = kit_stats(s->p);
    report(s, backoff == PIT_OFF ? "off" : "at their defaults", &stats, start_ms, whole_ms);
    assert_true((stats.retries != 0) == (retry == PIT_RETRY_ALWAYS));
    assert_int_equal(rc, 0);
    check(s, &stats);
    if (whole_ms > limit_ms)
        fail_msg("the pool was whole %.0f ms after the last fault, later than %.0f ms", whole_ms, limit_ms);
    assert_int_equal(kit_call(s->p, "good", 1, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_close(s->p), 0);
    free(s);
    kit_clean(before, "the crash storm");
}

static void test_nets_off(void **state)
{
    (void)state;
    storm(PIT_OFF, PIT_RETRY_NEVER);
}

static void test_nets_on(void **state)
{
    (void)state;
    storm(PIT_ON, PIT_RETRY_NEVER);
}

/* Every call is run again whose worker dies: outcomes and counters are as exact, and fewer calls fail. */
static void test_barrier(void **state)
{
    (void)state;
    storm(PIT_OFF, PIT_RETRY_ALWAYS);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets_off),
        cmocka_unit_test(test_nets_on),
        cmocka_unit_test(test_barrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
