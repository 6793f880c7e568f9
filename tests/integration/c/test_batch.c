/* pit_call_many, cancellers, and the options that travel with a call; on real Python. */
#include "integration/c/kit.h"

static pit *open_python(int workers, int drive)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    const char *env[] = {kit_mark, NULL};
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.adapter = TEST_SOURCE_DIR "/tests/integration/c/batch.py";
    o.env = env;
    o.workers = workers;
    o.drive = drive;
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    return p;
}

/* ---- a batch and its parts ---- */

struct many {
    pit_call_item *items;
    pit_call_result *results;
    size_t n;
};

static struct many many_new(size_t n, const char *command)
{
    struct many m = {calloc(n, sizeof *m.items), calloc(n, sizeof *m.results), n};
    for (size_t i = 0; i < n; i++) {
        m.items[i].command = command;
        m.items[i].args = pit_pack("[I]", (int64_t)i);
    }
    return m;
}

static void many_set(struct many *m, size_t i, const char *command, pit_value *args)
{
    pit_value_free((pit_value *)m->items[i].args);
    m->items[i].command = command;
    m->items[i].args = args;
}

static void many_free(struct many *m)
{
    pit_call_results_free(m->results, m->n);
    for (size_t i = 0; i < m->n; i++)
        pit_value_free((pit_value *)m->items[i].args);
    free(m->items);
    free(m->results);
}

static int many_run(pit *p, struct many *m, const pit_call_options *o)
{
    pit_call_results_free(m->results, m->n);
    return pit_call_many(p, m->items, m->n, o, m->results, NULL);
}

static size_t many_count(const struct many *m, int rc)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        n += m->results[i].rc == rc;
    return n;
}

static void assert_good(const struct many *m, size_t i)
{
    int64_t x = 0;
    if (m->results[i].rc != 0)
        fail_msg("%zu: %s", i, pit_error_string(m->results[i].error));
    assert_true(pit_value_get_int(m->results[i].value, &x));
    assert_int_equal(x, i + 1);
    assert_null(m->results[i].error);
    assert_true(strncmp(m->results[i].worker, "default/", 8) == 0);
}

/* ---- a call that runs until it is let go ---- */

static char held_path[96];

static void hold_begin(void)
{
    snprintf(held_path, sizeof held_path, "%s.held", kit_stage_path);
    int fd = open(held_path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    assert_true(fd >= 0);
    close(fd);
}

static off_t held(void)
{
    struct stat st;
    return stat(held_path, &st) == 0 ? st.st_size : 0;
}

static void hold_end(void)
{
    unlink(held_path);
}

/* ---- tests ---- */

static void test_order(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(2, PIT_DRIVE_THREAD);
    struct many m = many_new(5000, "inc");
    for (int turn = 0; turn < 3; turn++) {
        assert_int_equal(many_run(p, &m, NULL), 0);
        for (size_t i = 0; i < m.n; i++)
            assert_good(&m, i);
    }
    pit_stats s = kit_stats(p);
    assert_int_equal(s.requests, 3 * m.n);
    assert_int_equal(s.succeeded, 3 * m.n);
    assert_int_equal(s.errors, 0);
    assert_int_equal(s.pool_saturated, 0);
    assert_int_equal(pit_close(p), 0);
    assert_good(&m, m.n - 1); /* results outlive the pit */
    many_free(&m);
    kit_clean(before, "order");
}

static void test_bad_ones(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(2, PIT_DRIVE_THREAD);
    struct many m = many_new(400, "inc");
    assert_int_equal(many_run(p, &m, NULL), 0); /* the command is known to be short now */
    many_set(&m, 3, "boom", pit_pack("[i]", 3));
    many_set(&m, 50, "nothing", NULL);
    many_set(&m, 51, "", NULL);
    many_set(&m, 52, "inc", pit_strn("\xff", 1));
    many_set(&m, 120, "die", pit_pack("[i]", 3));
    m.items[53].reserved[0] = m.items[54].reserved[1] = &m;
    assert_int_equal(many_run(p, &m, NULL), 0);
    for (size_t i = 0; i < m.n; i++)
        if (i != 3 && (i < 50 || i > 54) && i != 120)
            assert_good(&m, i);
    assert_int_equal(m.results[3].rc, PIT_E_VALUE_ERROR);
    assert_string_equal(pit_error_message(m.results[3].error), "no 3");
    assert_int_equal(m.results[50].rc, PIT_E_TOOL_NOT_FOUND);
    assert_int_equal(m.results[51].rc, PIT_E_INVALID_REQUEST);
    assert_int_equal(m.results[52].rc, PIT_E_INVALID_UTF8);
    assert_int_equal(m.results[53].rc, PIT_E_INVALID_PARAMETER);
    assert_int_equal(m.results[54].rc, PIT_E_INVALID_PARAMETER);
    assert_int_equal(m.results[120].rc, PIT_E_WORKER_CRASH);
    assert_non_null(m.results[120].worker);
    assert_null(m.results[51].worker);
    assert_int_equal(kit_stats(p).crashes, 1);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "bad ones");
}

static void test_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    struct many m = many_new(3, "inc");
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    assert_int_equal(pit_call_many(p, NULL, 0, NULL, NULL, NULL), 0);
    assert_int_equal(pit_call_many(p, NULL, 1, NULL, m.results, NULL), PIT_E_INVALID_PARAMETER);
    o.pool = "nowhere";
    assert_int_equal(many_run(p, &m, &o), PIT_E_POOL_NOT_FOUND);
    assert_int_equal(many_count(&m, PIT_E_POOL_NOT_FOUND), 3);
    o.pool = NULL;
    o.timeout_ms = -7;
    assert_int_equal(many_run(p, &m, &o), PIT_E_INVALID_TIMEOUT);
    assert_int_equal(many_run(NULL, &m, NULL), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_shutdown(p), 0);
    assert_int_equal(many_run(p, &m, NULL), 0); /* each item has its outcome */
    assert_int_equal(many_count(&m, PIT_E_SHUTTING_DOWN), 3);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "refused");
}

static void test_deadline(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    struct many m = many_new(40, "inc");
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    hold_begin();
    for (size_t i = 5; i < m.n; i++)
        many_set(&m, i, "hold", pit_pack("[s]", held_path));
    o.timeout_ms = 4000; /* the first five have to be done within it */
    assert_int_equal(many_run(p, &m, &o), 0);
    assert_int_equal(many_count(&m, PIT_E_DEADLINE_EXCEEDED), m.n - 5);
    assert_int_equal(many_count(&m, 0), 5);
    int64_t told = 0; /* what was asked for, not what was left of it when the call began */
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(m.results[5].error), "timeout_ms"), &told));
    assert_int_equal(told, o.timeout_ms);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.requests, m.n);
    assert_int_equal(s.errors, m.n - 5);
    hold_end();
    assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, NULL), 0);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "deadline");
}

struct running {
    pit *p;
    struct many *m;
    pit_call_options o;
    int rc;
};

static void *run_batch(void *arg)
{
    struct running *r = arg;
    r->rc = many_run(r->p, r->m, &r->o);
    return NULL;
}

static void test_canceller(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(2, PIT_DRIVE_THREAD);
    struct many m = many_new(30, "inc");
    pit_canceller *c = pit_canceller_new();
    struct running r = {.p = p, .m = &m, .o = PIT_CALL_OPTIONS_INIT};
    pthread_t thread;
    hold_begin();
    for (size_t i = 0; i < m.n; i++)
        many_set(&m, i, "hold", pit_pack("[s]", held_path));
    r.o.canceller = c;
    assert_int_equal(pthread_create(&thread, NULL, run_batch, &r), 0);
    KIT_AWAIT(held() == 2);
    assert_int_equal(pit_canceller_fire(c, "enough"), 0);
    assert_int_equal(pit_canceller_fire(c, "again"), 0);
    pthread_join(thread, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(many_count(&m, PIT_E_CANCELLED), m.n);
    assert_non_null(strstr(pit_error_message(m.results[0].error), "enough"));
    assert_non_null(strstr(pit_error_message(m.results[m.n - 1].error), "enough"));
    assert_int_equal(kit_stats(p).cancelled, m.n);
    assert_int_equal(many_run(p, &m, &r.o), PIT_E_CANCELLED); /* it stays fired */
    assert_int_equal(kit_stats(p).requests, 2 * m.n);
    assert_int_equal(kit_stats(p).cancelled, 2 * m.n);
    assert_int_equal(pit_call(p, "inc", NULL, &r.o, NULL, NULL), PIT_E_CANCELLED);
    pit_canceller_free(c);
    hold_end();
    assert_int_equal(kit_call(p, "inc", 1, KIT_LIMIT_MS, NULL), 0);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "canceller");
}

static void *call_hold(void *arg)
{
    struct running *r = arg;
    r->rc = pit_callf(r->p, "hold", &r->o, NULL, NULL, "[s]", held_path);
    return NULL;
}

/* One canceller over a call, a future that waits, and one that has long ended. */
static void test_cancel_calls(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    pit_canceller *c = pit_canceller_new();
    struct running r = {.p = p, .o = PIT_CALL_OPTIONS_INIT};
    pthread_t thread;
    int64_t x = 0;
    r.o.canceller = c;
    assert_int_equal(kit_outcome(kit_submit(p, "inc", 1, &r.o), &x), 0);
    assert_int_equal(x, 2);
    hold_begin();
    assert_int_equal(pthread_create(&thread, NULL, call_hold, &r), 0);
    KIT_AWAIT(held() == 1);
    pit_future *f = kit_submit(p, "inc", 1, &r.o), *other = kit_submit(p, "inc", 1, NULL);
    assert_int_equal(pit_future_wait(f, PIT_NOW), PIT_E_PENDING);
    assert_int_equal(pit_canceller_fire(c, NULL), 0);
    pit_canceller_free(c);
    pthread_join(thread, NULL);
    assert_int_equal(r.rc, PIT_E_CANCELLED);
    assert_int_equal(kit_outcome(f, NULL), PIT_E_CANCELLED);
    hold_end();
    assert_int_equal(kit_outcome(other, &x), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "cancel calls");
}

struct along {
    pit *p;
    int rc;
    atomic_uint turn;   /* odd while a batch runs */
    atomic_uint within; /* calls that began and ended while one batch ran */
    atomic_bool over;
};

static void *call_along(void *arg)
{
    struct along *a = arg;
    while (a->rc == 0 && !atomic_load(&a->over)) {
        unsigned turn = atomic_load(&a->turn);
        a->rc = kit_call(a->p, "inc", 1, KIT_LIMIT_MS, NULL);
        if (turn % 2 != 0 && atomic_load(&a->turn) == turn)
            atomic_fetch_add(&a->within, 1);
    }
    return NULL;
}

/* Others get their turn while a batch runs. They may sleep through many a batch where the CPUs are busy. */
static void test_no_starvation(void **state)
{
    (void)state;
    enum { BATCHES = 1000, ENOUGH = 10 };
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    struct many m = many_new(20000, "inc");
    struct along a = {.p = p};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_along, &a), 0);
    for (int i = 0; i < BATCHES && atomic_load(&a.within) < ENOUGH; i++) {
        atomic_fetch_add(&a.turn, 1);
        assert_int_equal(many_run(p, &m, NULL), 0);
        atomic_fetch_add(&a.turn, 1);
        assert_int_equal(many_count(&m, 0), m.n);
    }
    atomic_store(&a.over, true);
    pthread_join(thread, NULL);
    assert_int_equal(a.rc, 0);
    assert_true(atomic_load(&a.within) >= ENOUGH);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "starvation");
}

/* A command that was short until now: the answers before it are not kept waiting by it, nor are the calls behind it. */
static void test_suddenly_slow(void **state)
{
    (void)state;
    enum { BEFORE = 7, ALL = 12 };
    struct kit_before before = kit_before();
    pit *p = open_python(2, PIT_DRIVE_THREAD);
    pit_future *f[ALL];
    struct many m = many_new(200, "maybe");
    for (size_t i = 0; i < m.n; i++)
        many_set(&m, i, "maybe", pit_pack("[s]", ""));
    hold_begin();
    for (int turn = 0; turn < 20; turn++) {
        assert_int_equal(many_run(p, &m, NULL), 0);
        assert_int_equal(many_count(&m, 0), m.n);
        off_t had = held();
        for (int i = 0; i < ALL; i++) {
            pit_value *path = pit_pack("[s]", i == BEFORE ? held_path : "");
            assert_int_equal(pit_submit(p, "maybe", path, NULL, &f[i], NULL), 0);
            pit_value_free(path);
        }
        for (int i = 0; i < ALL; i++)
            if (i != BEFORE)
                assert_int_equal(kit_outcome(f[i], NULL), 0);
        KIT_AWAIT(held() == had + 1);
        assert_int_equal(pit_future_wait(f[BEFORE], PIT_NOW), PIT_E_PENDING);
        hold_end();
        assert_int_equal(kit_outcome(f[BEFORE], NULL), 0);
        hold_begin();
    }
    hold_end();
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "suddenly slow");
}

/* What was taken back keeps its mark until the worker has passed it: many more than there are marks never run, and harm nobody. */
static void test_many_taken_back(void **state)
{
    (void)state;
    enum { WARM = 200, BACK = 700, LIVE = 8 };
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    struct many m = many_new(WARM, "count");
    for (size_t i = 0; i < m.n; i++)
        many_set(&m, i, "count", pit_pack("[s]", ""));
    assert_int_equal(many_run(p, &m, NULL), 0);
    hold_begin();
    pit_value *held_args = pit_pack("[s]", held_path), *args = pit_pack("[s]", "");
    pit_future *head = NULL, *f = NULL, *live[LIVE];
    assert_int_equal(pit_submit(p, "count", held_args, NULL, &head, NULL), 0);
    for (int i = 0; i < BACK; i++) {
        assert_int_equal(pit_submit(p, "count", args, NULL, &f, NULL), 0);
        assert_int_equal(pit_future_cancel(f, NULL), 0);
        pit_future_free(f);
    }
    for (int i = 0; i < LIVE; i++)
        assert_int_equal(pit_submit(p, "count", args, NULL, &live[i], NULL), 0);
    KIT_AWAIT(held() == 1);
    hold_end();
    int64_t ran = 0;
    assert_int_equal(kit_outcome(head, &ran), 0);
    for (int i = 0; i < LIVE; i++)
        assert_int_equal(kit_outcome(live[i], &ran), 0);
    assert_int_equal(ran, WARM + 1 + LIVE);
    assert_int_equal(kit_stats(p).crashes, 0);
    assert_int_equal(kit_stats(p).restarts, 0);
    pit_value_free(held_args);
    pit_value_free(args);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "taken back");
}

static void test_driven(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(2, PIT_DRIVE_HOST);
    struct many m = many_new(2000, "inc");
    assert_int_equal(many_run(p, &m, NULL), 0);
    for (size_t i = 0; i < m.n; i++)
        assert_good(&m, i);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "driven");
}

/* The k-th allocation fails: every item has an outcome, whatever it is, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    struct many m = many_new(3, "inc");
    bool failed = true;
    long k = 0;
    for (; failed && k < 1000; k++) {
        atomic_store(&kit_allocs, 0);
        atomic_store(&kit_fail_at, k + 1);
        int rc = many_run(p, &m, NULL);
        failed = atomic_load(&kit_allocs) > k;
        atomic_store(&kit_fail_at, 0);
        for (size_t i = 0; i < m.n; i++) {
            assert_true(rc == 0 || m.results[i].rc == rc);
            assert_true(m.results[i].rc == 0 || kit_typed(m.results[i].rc));
        }
    }
    print_message("%ld allocations failed in turn\n", k - 1);
    assert_true(k > 5);
    assert_int_equal(many_run(p, &m, NULL), 0);
    assert_int_equal(many_count(&m, 0), m.n);
    many_free(&m);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "no memory");
}

/* ---- options that travel ---- */

static void assert_reason(pit *p, pit_value *metadata, int code, const char *reason)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    o.metadata = metadata;
    assert_int_equal(pit_call(p, "about", NULL, &o, NULL, &e), code);
    assert_string_equal(pit_value_str_or(pit_value_get(pit_error_details(e), "reason"), ""), reason);
    pit_error_free(e);
    pit_value_free(metadata);
}

static pit_value *entries(int n, const char *text)
{
    pit_value *m = pit_map();
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        pit_map_set_take(m, key, pit_str(text));
    }
    return m;
}

static void test_metadata(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    char long_text[4097];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_reason(p, pit_list(), PIT_E_INVALID_METADATA, "unsupported_type");
    assert_reason(p, pit_pack("{s:[i]}", "a", 1), PIT_E_INVALID_METADATA, "unsupported_type");
    assert_reason(p, pit_pack("{i:i}", 1, 1), PIT_E_INVALID_METADATA, "unsupported_type");
    assert_reason(p, entries(33, "x"), PIT_E_INVALID_METADATA, "too_many_entries");
    assert_reason(p, entries(1, long_text), PIT_E_INVALID_METADATA, "too_large");
    pit_call_options binary = PIT_CALL_OPTIONS_INIT;
    pit_value *no_bytes = pit_pack("{s:s}", "image", "text");
    pit_error *e = NULL;
    binary.binary_parameters = no_bytes;
    assert_int_equal(pit_call(p, "about", NULL, &binary, NULL, &e), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_str_or(pit_value_get(pit_error_details(e), "reason"), ""), "not_binary");
    assert_string_equal(pit_value_str_or(pit_value_get(pit_error_details(e), "key"), ""), "image");
    pit_error_free(e);
    pit_value_free(no_bytes);
    pit_value *full = entries(32, "x");
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.metadata = full;
    assert_int_equal(pit_call(p, "about", NULL, &o, NULL, NULL), 0);
    pit_value_free(full);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "metadata");
}

static void test_what_python_sees(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_python(1, PIT_DRIVE_THREAD);
    size_t big = 200000; /* more than 16 bits of length */
    char *bytes = calloc(1, big);
    pit_value *v = NULL, *metadata = pit_pack("{s:s, s:i}", "user", "ada", "n", 3),
              *binary = pit_pack("{s:y}", "image", bytes, big), *wrong = pit_pack("{s:s}", "image", "text");
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    assert_int_equal(pit_call(p, "about", NULL, NULL, &v, NULL), 0);
    pit_value *nothing = pit_pack("[{}{}b]", 0);
    assert_true(pit_value_equal(v, nothing));
    pit_value_free(v);
    o.metadata = metadata;
    o.binary_parameters = binary;
    o.idempotent = PIT_ON;
    o.session_id = "s1";
    assert_int_equal(pit_call(p, "about", NULL, &o, &v, NULL), 0);
    pit_value *all = pit_pack("[v v b]", metadata, binary, 1);
    assert_true(pit_value_equal(v, all));
    o.binary_parameters = wrong;
    assert_int_equal(pit_call(p, "about", NULL, &o, NULL, NULL), PIT_E_INVALID_PARAMETER);
    pit_value *const values[] = {v, nothing, all, metadata, binary, wrong};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        pit_value_free(values[i]);
    free(bytes);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "options");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_canceller),
        cmocka_unit_test(test_cancel_calls),
        cmocka_unit_test(test_suddenly_slow),
        cmocka_unit_test(test_driven),
        cmocka_unit_test(test_many_taken_back),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_what_python_sees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
