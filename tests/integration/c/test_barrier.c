/* The crash barrier: a call that may be repeated does not notice that its worker has died of it. Workers in C. */
#include "integration/c/kit.h"

#define FATAL(id, runs, sig) ((int64_t)(id) << 16 | (runs) << 8 | (sig))
enum form { BLOCKING, CANCELLABLE, FUTURE, BATCH, FORMS };

static const int64_t at_once[] = {PIT_NOW}, moment[] = {5}, ages[] = {600000};

struct shelter {
    struct kit kit;
    pit_crash_barrier_options barrier;
};

static struct shelter shelter(const int64_t *backoff_ms)
{
    struct shelter s = {.kit = KIT_INIT, .barrier = PIT_CRASH_BARRIER_OPTIONS_INIT};
    s.kit.workers = 2;
    s.kit.pool.restart_backoff = PIT_OFF;
    s.barrier.backoff_ms = backoff_ms;
    s.barrier.n_backoff_ms = backoff_ms != NULL;
    return s;
}

static pit *open_it(struct shelter *s)
{
    s->kit.pool.crash_barrier = &s->barrier;
    return kit_open(&s->kit);
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
    kit_reset_stage();
}

static pit_call_options repeatable(int64_t timeout_ms)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.idempotent = PIT_ON;
    o.timeout_ms = timeout_ms;
    return o;
}

/* One call in one of its forms: the outcome; *reterr is owned. */
static int call_as(enum form form, pit *p, int64_t n, pit_call_options o, int64_t *ret, pit_error **reterr)
{
    pit_value *args = pit_pack("[I]", n), *v = NULL;
    int rc;
    if (form == FUTURE) {
        pit_future *f = kit_submit(p, "fatal", n, &o);
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        rc = pit_future_result(f, &v, reterr);
        pit_future_free(f);
    } else if (form == BATCH) {
        const pit_call_item item = {.command = "fatal", .args = args};
        pit_call_result r;
        assert_int_equal(pit_call_many(p, &item, 1, &o, &r, NULL), 0);
        rc = r.rc;
        v = r.value;
        *reterr = r.error;
        r.value = NULL;
        r.error = NULL;
        pit_call_results_free(&r, 1);
    } else {
        pit_canceller *c = form == CANCELLABLE ? pit_canceller_new() : NULL;
        o.canceller = c;
        rc = pit_call(p, "fatal", args, &o, &v, reterr);
        pit_canceller_free(c);
    }
    *ret = 0;
    pit_value_get_int(v, ret);
    pit_value_free(v);
    pit_value_free(args);
    return rc;
}

static unsigned runs(unsigned id)
{
    return atomic_load(&stage->runs[id]);
}

static void each_form(struct shelter s, const char *what)
{
    struct kit_before before = kit_before();
    pit *p = open_it(&s);
    for (unsigned form = 0; form < FORMS; form++) {
        int64_t n;
        pit_error *e = NULL;
        assert_int_equal(call_as(form, p, FATAL(form, 1, SIGSEGV), repeatable(KIT_LIMIT_MS), &n, &e), 0);
        assert_int_equal(n, 2);
        assert_null(e);
    }
    pit_stats st = kit_stats(p);
    assert_int_equal(st.requests, FORMS);
    assert_int_equal(st.succeeded, FORMS);
    assert_int_equal(st.errors, 0);
    assert_int_equal(st.retries, FORMS);
    assert_int_equal(st.crashes, FORMS);
    settle(p, before, what);
}

static void test_runs_again(void **state)
{
    (void)state;
    each_form(shelter(at_once), "at once");
    each_form(shelter(moment), "after a back-off");
    each_form(shelter(NULL), "after the usual back-off");
    struct shelter s = shelter(moment);
    s.kit.drive = PIT_DRIVE_HOST;
    each_form(s, "driven by the host");
    s = shelter(moment);
    s.kit.marks = "--no-marks";
    each_form(s, "without marks");
    s = shelter(moment);
    s.kit.channel = "socket";
    each_form(s, "on a socket");
    s = shelter(moment);
    s.kit.workers = 1;
    each_form(s, "with one worker");
}

/* What may not be repeated is not. */
static void run_once(struct shelter s, pit_call_options o, const char *what)
{
    struct kit_before before = kit_before();
    pit *p = open_it(&s);
    for (unsigned form = 0; form < FORMS; form++) {
        int64_t n;
        pit_error *e = NULL;
        assert_int_equal(call_as(form, p, FATAL(form, 1, SIGSEGV), o, &n, &e), PIT_E_WORKER_CRASH);
        assert_null(pit_value_get(pit_error_details(e), "attempts"));
        pit_error_free(e);
        assert_int_equal(runs(form), 1);
    }
    assert_int_equal(kit_stats(p).retries, 0);
    settle(p, before, what);
}

static void test_runs_once(void **state)
{
    (void)state;
    pit_call_options plain = PIT_CALL_OPTIONS_INIT;
    run_once(shelter(at_once), plain, "not idempotent");
    struct shelter s = shelter(at_once);
    s.barrier.enabled = PIT_OFF;
    run_once(s, repeatable(0), "off");
    s = shelter(at_once);
    s.barrier.retry = PIT_RETRY_NEVER;
    run_once(s, repeatable(0), "never");
    s = shelter(at_once);
    s.barrier.max_restarts = PIT_NONE;
    run_once(s, repeatable(0), "no restart");
    run_once(shelter(ages), repeatable(KIT_LIMIT_MS), "the back-off would pass the deadline");
}

static void test_always(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter(at_once);
    s.barrier.retry = PIT_RETRY_ALWAYS;
    pit *p = open_it(&s);
    for (unsigned form = 0; form < FORMS; form++) {
        int64_t n;
        pit_error *e = NULL;
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        assert_int_equal(call_as(form, p, FATAL(form, 1, SIGABRT), o, &n, &e), 0);
        assert_int_equal(n, 2);
    }
    settle(p, before, "always");
}

static void test_used_up(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    static const pit_poison_options off = {.size = sizeof off, .enabled = PIT_OFF}; /* it would be refused after the second */
    struct shelter s = shelter(moment);
    s.barrier.max_restarts = 2;
    s.kit.pool.poison = &off;
    pit *p = open_it(&s);
    for (unsigned form = 0; form < FORMS; form++) {
        int64_t n, attempts = 0;
        pit_error *e = NULL;
        assert_int_equal(call_as(form, p, FATAL(form, 9, SIGBUS), repeatable(KIT_LIMIT_MS), &n, &e), PIT_E_WORKER_CRASH);
        assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "attempts"), &attempts));
        assert_int_equal(attempts, 3);
        assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_WORKER_CRASH);
        pit_error_free(e);
        assert_int_equal(runs(form), 3);
        assert_int_equal(call_as(form, p, FATAL(100 + form, 2, SIGBUS), repeatable(KIT_LIMIT_MS), &n, &e), 0);
        assert_int_equal(n, 3);
    }
    pit_stats st = kit_stats(p);
    assert_int_equal(st.errors, FORMS);
    assert_int_equal(st.retries, 4 * FORMS);
    settle(p, before, "used up");
}

/* The argument says it, where the pool listens to that: it is a keyword, and true. */
static void test_argument(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    for (int on = 0; on < 2; on++) {
        struct shelter s = shelter(at_once);
        s.kit.pool.idempotent_arg = on ? PIT_ON : PIT_OFF;
        pit *p = open_it(&s);
        const int64_t n = FATAL(1 + on, 1, SIGSEGV), no = FATAL(3 + on, 1, SIGSEGV), third = FATAL(5 + on, 1, SIGSEGV);
        assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "{s:I,s:b}", "n", n, "idempotent", 1),
                         on ? 0 : PIT_E_WORKER_CRASH);
        assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "{s:I,s:b}", "n", no, "idempotent", 0), PIT_E_WORKER_CRASH);
        pit_value *keywords = pit_pack("{s:I,s:b}", "n", third, "idempotent", 1), *args = pit_args(NULL, keywords);
        /* a worker in C cannot read these, and leaves: what counts is that it is tried again */
        assert_int_equal(pit_call(p, "fatal", args, NULL, NULL, NULL), PIT_E_WORKER_CRASH);
        assert_int_equal(kit_stats(p).retries, on ? 2 : 0);
        pit_value_free(keywords);
        pit_value_free(args);
        settle(p, before, "argument");
    }
}

/* ---- ends while a call waits to run again ---- */

static void test_cancelled(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter(ages);
    pit *p = open_it(&s);
    pit_call_options o = repeatable(PIT_INFINITE);
    pit_future *f = kit_submit(p, "fatal", FATAL(1, 9, SIGSEGV), &o);
    KIT_AWAIT(kit_stats(p).retries == 1);
    assert_int_equal(kit_call(p, "echo", 4, 0, NULL), 0); /* nobody is in the way of others */
    assert_int_equal(pit_future_cancel(f, "enough"), 0);
    pit_error *e = NULL;
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_CANCELLED);
    assert_int_equal(pit_error_code(pit_error_cause(e)), PIT_E_WORKER_CRASH);
    pit_error_free(e);
    pit_future_free(f);
    assert_int_equal(kit_stats(p).cancelled, 1);
    assert_int_equal(runs(1), 1);
    settle(p, before, "cancelled");
}

struct waiter {
    pit *p;
    enum form form;
    int rc;
};

static void *wait_in_it(void *arg)
{
    struct waiter *w = arg;
    int64_t n;
    pit_error *e = NULL;
    w->rc = call_as(w->form, w->p, FATAL(w->form, 9, SIGSEGV), repeatable(PIT_INFINITE), &n, &e);
    pit_error_free(e);
    return NULL;
}

static void test_closed(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter(ages);
    pit *p = open_it(&s);
    pthread_t threads[FORMS];
    struct waiter w[FORMS];
    for (unsigned form = 0; form < FORMS; form++) {
        w[form] = (struct waiter){p, form, 0};
        assert_int_equal(pthread_create(&threads[form], NULL, wait_in_it, &w[form]), 0);
    }
    KIT_AWAIT(kit_stats(p).retries == FORMS);
    assert_int_equal(pit_pool_stop(p, "c", PIT_NOW, NULL), 0);
    for (unsigned form = 0; form < FORMS; form++) {
        pthread_join(threads[form], NULL);
        assert_int_equal(w[form].rc, PIT_E_SHUTTING_DOWN);
    }
    settle(p, before, "closed");
}

/* Many at a time, each of which kills its worker once: all are answered, and the counters know it. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 24 };
    struct kit_before before = kit_before();
    struct shelter s = shelter(moment);
    s.kit.workers = 3;
    pit *p = open_it(&s);
    pit_future *f[MANY];
    pit_call_options o = repeatable(KIT_LIMIT_MS);
    s.kit.pool.queue_timeout_ms = KIT_LIMIT_MS;
    for (unsigned i = 0; i < MANY; i++)
        f[i] = kit_submit(p, "fatal", FATAL(i, 1, SIGSEGV), &o);
    for (unsigned i = 0; i < MANY; i++) {
        int64_t n = 0;
        assert_int_equal(kit_outcome(f[i], &n), 0);
        assert_int_equal(n, 2);
    }
    pit_stats st = kit_stats(p);
    assert_int_equal(st.succeeded, MANY);
    assert_int_equal(st.retries, MANY);
    settle(p, before, "many");
}

/* ---- what is told ---- */

static struct {
    atomic_uint n;
    double attempt, delay_ms;
    char command[16];
} told;

static int on_retried(const pit_event *ev, void *user)
{
    (void)user;
    told.attempt = told.delay_ms = 0;
    pit_event_number(ev, "attempt", &told.attempt);
    pit_event_number(ev, "delay_ms", &told.delay_ms);
    snprintf(told.command, sizeof told.command, "%s", pit_event_text(ev, "command"));
    atomic_fetch_add(&told.n, 1);
    return 0;
}

static void test_told(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter(moment);
    pit *p = open_it(&s);
    assert_int_equal(pit_telemetry_attach(p, "snakepit.call.retried", on_retried, NULL, NULL, NULL), 0);
    for (unsigned form = 0; form < FORMS; form++) {
        int64_t n;
        pit_error *e = NULL;
        assert_int_equal(call_as(form, p, FATAL(form, 1, SIGSEGV), repeatable(KIT_LIMIT_MS), &n, &e), 0);
        KIT_AWAIT(atomic_load(&told.n) == form + 1);
        assert_true(told.attempt > 1.5 && told.attempt < 2.5);
        assert_true(told.delay_ms > 4.9 && told.delay_ms < 5.1);
        assert_string_equal(told.command, "fatal");
    }
    settle(p, before, "told");
}

static int refused(pit_crash_barrier_options b)
{
    struct kit k = KIT_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    k.pool.crash_barrier = &b;
    int rc = kit_open_os(&os_linux, &k, &p, &e);
    assert_true(rc == 0 || strstr(pit_error_message(e), "pool c: crash_barrier.") != NULL);
    pit_error_free(e);
    pit_close(p);
    return rc;
}

static void test_options(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    static const char *const unknown[] = {"segfault", "segfold", NULL}, *const known[] = {"gpu", "oom", "bus_error", NULL};
    static const int64_t negative[] = {50, -7}, steps[9] = {0};
    static const int codes[17] = {0};
    pit_crash_barrier_options b = PIT_CRASH_BARRIER_OPTIONS_INIT;
#define REFUSED(field, wrong, code)                                                                                            \
    b.field = wrong;                                                                                                           \
    assert_int_equal(refused(b), code);                                                                                        \
    b = (pit_crash_barrier_options)PIT_CRASH_BARRIER_OPTIONS_INIT
    REFUSED(enabled, 2, PIT_E_INVALID_PARAMETER);
    REFUSED(retry, 4, PIT_E_INVALID_PARAMETER);
    REFUSED(max_restarts, 17, PIT_E_INVALID_PARAMETER);
    REFUSED(worker_max_crashes, -1, PIT_E_INVALID_PARAMETER);
    REFUSED(taint_duration_ms, -5, PIT_E_INVALID_TIMEOUT);
    REFUSED(mark_on, unknown, PIT_E_INVALID_PARAMETER);
    REFUSED(n_backoff_ms, 1, PIT_E_INVALID_PARAMETER);
    REFUSED(n_taint_on_exit_codes, 1, PIT_E_INVALID_PARAMETER);
    b.backoff_ms = negative;
    REFUSED(n_backoff_ms, 2, PIT_E_INVALID_TIMEOUT);
    b.backoff_ms = steps;
    REFUSED(n_backoff_ms, 9, PIT_E_INVALID_PARAMETER);
    b.taint_on_exit_codes = codes;
    REFUSED(n_taint_on_exit_codes, 17, PIT_E_INVALID_PARAMETER);
    REFUSED(mark_on, known, 0);
    REFUSED(taint_duration_ms, PIT_INFINITE, 0);
    kit_clean(before, "options");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_again), cmocka_unit_test(test_runs_once), cmocka_unit_test(test_always),
        cmocka_unit_test(test_used_up),    cmocka_unit_test(test_cancelled), cmocka_unit_test(test_closed),
        cmocka_unit_test(test_many),       cmocka_unit_test(test_told),      cmocka_unit_test(test_options),
        cmocka_unit_test(test_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
