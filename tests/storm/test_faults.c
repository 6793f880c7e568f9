/* Storms by plan: the library over a kernel, memory and clock that fail as a plan says (fault/inject.h), and the plans themselves.
 *
 * Whatever fails: each call has one outcome, of a typed kind; none runs twice; one that succeeded ran; the counters say what the callers saw; when
 * nothing fails any more the pool is well by itself; and nothing is left. The numbers of faults are printed. */
#include "api/faults.h"
#include "integration/c/kit.h"

enum { THREADS = 4, CALLS = 600, WORKERS = 3 };

/* ---- plans ---- */

static void test_plans(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        size_t at;
    } rows[] = {
        {"kill@call=17", 0, 0},
        {"seed=3, kill@call=1,delay@p=0.01:5ms , enomem@every=10, torn@p=1, slow@every=2:3us, clock@p=0.5:2s, fds@call=9", 0,
         0},
        {"", PIT_E_UNKNOWN_KEY, 0},
        {"kil@call=1", PIT_E_UNKNOWN_KEY, 0},
        {"kill@when=1", PIT_E_UNKNOWN_KEY, 5},
        {"kill", PIT_E_INVALID_PARAMETER, 4},
        {"kill@call=", PIT_E_INVALID_PARAMETER, 10},
        {"kill@call=0", PIT_E_INVALID_PARAMETER, 10},
        {"kill@call=-1", PIT_E_INVALID_PARAMETER, 10},
        {"kill@p=0", PIT_E_INVALID_PARAMETER, 7},
        {"kill@p=1.5", PIT_E_INVALID_PARAMETER, 7},
        {"kill@p=nan", PIT_E_INVALID_PARAMETER, 7},
        {"delay@p=1:5", PIT_E_INVALID_PARAMETER, 11},
        {"delay@p=1:2000000s", PIT_E_INVALID_PARAMETER, 18},
        {"kill@call=1 fds@call=1", PIT_E_INVALID_PARAMETER, 12},
        {"kill@call=1,", PIT_E_UNKNOWN_KEY, 12},
        {"kill@call=1,kill@call=2", PIT_E_DUPLICATE_KEY, 12},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct inject_plan p = {.seed = 99};
        struct inject_error why;
        int rc = inject_parse(rows[i].text, &p, &why);
        if (rc != rows[i].rc || why.code != rc || (rc != 0 && (why.at != rows[i].at || p.seed != 99 || why.text[0] == '\0')))
            fail_msg("'%s': %s at %zu: %s", rows[i].text, pit_error_code_name(rc), why.at, why.text);
    }
}

static unsigned long faults_of(const char *text, int n, unsigned *ret_first)
{
    struct inject_plan p;
    struct inject_error why;
    assert_int_equal(inject_parse(text, &p, &why), 0);
    for (int i = 1; i <= n; i++)
        if (inject_now(&p, INJECT_KILL, NULL) && p.rules[INJECT_KILL].taken == 1)
            *ret_first = (unsigned)i;
    assert_int_equal(p.rules[INJECT_KILL].seen, n);
    return p.rules[INJECT_KILL].taken;
}

static void test_decisions(void **state)
{
    (void)state;
    unsigned first = 0, again = 0;
    assert_int_equal(faults_of("kill@call=17", 1000, &first), 1);
    assert_int_equal(first, 17);
    assert_int_equal(faults_of("kill@every=10", 1000, &first), 100);
    unsigned long some = faults_of("seed=5,kill@p=0.1", 10000, &first);
    assert_in_range(some, 850, 1150);
    assert_int_equal(faults_of("seed=5,kill@p=0.1", 10000, &again), some);
    assert_int_equal(first, again);
    struct inject_plan p;
    struct inject_error why;
    uint64_t ns = 0;
    assert_int_equal(inject_parse("delay@p=1:5ms", &p, &why), 0);
    assert_true(inject_now(&p, INJECT_DELAY, &ns));
    assert_int_equal(ns, 5000000);
    assert_false(inject_now(&p, INJECT_KILL, &ns));
}

/* ---- storms ---- */

struct caller {
    pit *p;
    int first, bad, last_bad;
    unsigned long ok, outcomes;
};

static void judge(struct caller *c, int id, int rc, int64_t got)
{
    c->outcomes++;
    c->ok += rc == 0;
    if (rc == 0 ? got == id && atomic_load(&stage->runs[id]) == 1 : kit_typed(rc))
        return;
    c->bad++;
    c->last_bad = rc;
}

static void *call_on(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        int64_t got = -1;
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_value *args = pit_pack("[i]", c->first + i), *v = NULL;
        pit_future *f = NULL;
        o.timeout_ms = KIT_LIMIT_MS;
        int rc = i % 2 == 0 ? pit_call(c->p, "run", args, &o, &v, NULL) : pit_submit(c->p, "run", args, &o, &f, NULL);
        if (f != NULL) {
            while (pit_future_wait(f, KIT_LIMIT_MS) == PIT_E_PENDING)
                continue;
            rc = pit_future_result(f, &v, NULL);
        }
        pit_value_get_int(v, &got);
        pit_value_free(v);
        pit_value_free(args);
        pit_future_free(f);
        judge(c, c->first + i, rc, got);
    }
    return NULL;
}

static void report(const char *text, const char *channel, const struct caller *c, const pit_stats *s)
{
    unsigned long ok = 0;
    for (int i = 0; i < THREADS; i++)
        ok += c[i].ok;
    print_message("%s, %s:", text, channel);
    for (int i = 0; i < INJECT_KINDS; i++)
        if (faults_taken((enum inject_kind)i) != 0)
            print_message(" %s %llu times,", inject_name((enum inject_kind)i),
                          (unsigned long long)faults_taken((enum inject_kind)i));
    print_message(" %lu of %d calls good, %llu workers replaced\n", ok, THREADS * CALLS, (unsigned long long)s->restarts);
}

static void storm(const char *text, const char *channel)
{
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    struct caller c[THREADS] = {0};
    pthread_t threads[THREADS];
    struct inject_error why;
    pit *p = NULL;
    unsigned long ok = 0;
    k.workers = WORKERS;
    k.channel = channel;
    k.pool.cancel_grace_ms = 20;
    k.pool.queue_timeout_ms = KIT_LIMIT_MS;
    k.pool.restart_backoff = PIT_OFF;
    assert_int_equal(faults_plan(text, &why), 0);
    assert_int_equal(kit_open_os(faults_os(), &k, &p, NULL), 0);
    assert_int_equal(faults_watch(p), 0);
    faults_switch(true);
    for (int i = 0; i < THREADS; i++) {
        c[i] = (struct caller){.p = p, .first = i * CALLS};
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &c[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    faults_switch(false);
    pit_stats s = kit_stats(p);
    report(text, channel, c, &s);
    for (int i = 0; i < THREADS; i++) {
        if (c[i].bad != 0)
            fail_msg("%s: %d bad outcomes, the last %s", text, c[i].bad, pit_error_code_name(c[i].last_bad));
        ok += c[i].ok;
    }
    for (int id = 0; id < THREADS * CALLS; id++)
        assert_true(atomic_load(&stage->runs[id]) <= 1);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    assert_int_equal(s.succeeded, ok);
    assert_true(ok != 0);
    KIT_AWAIT(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL) == 0);
    assert_int_equal(kit_call(p, "run", THREADS * CALLS, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, text);
    kit_reset_stage();
}

static void test_storms(void **state)
{
    (void)state;
    static const char all[] =
        "seed=7, kill@p=0.01, delay@p=0.01:1ms, enomem@p=0.001, torn@p=0.002, slow@p=0.01:500us, fds@p=0.05, "
        "clock@p=0.001:200ms";
    static const char *const plans[] = {
        "kill@every=40",
        "seed=2, delay@p=0.02:2ms, slow@p=0.01:1ms",
        "seed=3, enomem@p=0.003, kill@p=0.01",
        "seed=4, fds@every=7, kill@p=0.02",
        "seed=5, torn@every=60",
        "seed=6, clock@every=300:1s",
        all,
    };
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        storm(plans[i], "ring");
        storm(plans[i], "socket");
    }
}

static void test_open(void **state)
{
    (void)state;
    pit *p = NULL;
    pit_error *e = NULL;
    assert_int_equal(faults_open("kil@call=1", NULL, &p, &e), PIT_E_UNKNOWN_KEY);
    assert_non_null(strstr(pit_error_string(e), "SNAKEPIT_FAULTS"));
    pit_error_free(e);
    assert_null(p);
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    assert_int_equal(faults_open("kill@call=1", &o, &p, NULL), 0);
    faults_switch(false);
    assert_int_equal(pit_close(p), 0);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const pit_allocator counting = {sizeof counting, kit_alloc, kit_realloc, kit_free, NULL};
    faults_allocator(&counting);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_storms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
