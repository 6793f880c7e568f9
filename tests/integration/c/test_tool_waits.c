/* Waiting in tools for the pool that waits for them: the last that could go on is told, and nobody else. */
#include "integration/c/kit_python.h"

static pit *open_pool(int workers)
{
    static char adapter[256];
    snprintf(adapter, sizeof adapter, "%s/tests/integration/c/tool_failures.py", TEST_SOURCE_DIR);
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_options host = PIT_OPTIONS_INIT;
    pool.name = "waits";
    pool.adapter = adapter;
    pool.workers = workers;
    pool.queue_timeout_ms = KIT_LIMIT_MS;
    return kit_open_python(&host, &pool);
}

struct waits {
    pit *p;
    pthread_barrier_t *all_in; /* NULL: nobody waits for the others */
    bool future;
    atomic_int refused, good;
};

static void count(struct waits *w, int rc)
{
    if (rc == PIT_E_WOULD_DEADLOCK)
        atomic_fetch_add(&w->refused, 1);
    else if (rc == 0)
        atomic_fetch_add(&w->good, 1);
}

/* Both make two calls that want another worker, and wait for them. */
static int by_batch(struct waits *w)
{
    pit_call_item items[2] = {{.command = "echo"}, {.command = "echo"}};
    pit_call_result results[2];
    assert_int_equal(pit_call_many(w->p, items, 2, NULL, results, NULL), 0);
    int rc = results[0].rc != 0 ? results[0].rc : results[1].rc;
    pit_call_results_free(results, 2);
    return rc;
}

static int by_future(struct waits *w)
{
    pit_future *f[2];
    int rc = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pit_submit(w->p, "echo", NULL, NULL, &f[i], NULL), 0);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = pit_future_wait(f[i], PIT_INFINITE);
    for (int i = 0; i < 2; i++)
        pit_future_free(f[i]);
    return rc;
}

static int waits(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct waits *w = user;
    (void)c, (void)args, (void)ret;
    if (w->all_in != NULL)
        pthread_barrier_wait(w->all_in);
    count(w, w->future ? by_future(w) : by_batch(w));
    return 0;
}

static void *ask(void *arg)
{
    struct waits *w = arg;
    assert_int_equal(pit_callf(w->p, "ask", NULL, NULL, NULL, "[s]", "waits"), 0);
    return NULL;
}

enum { MOST = 3 };

/* As many threads as workers, or fewer, each in a tool. */
static void run(struct waits *w, int workers, int threads)
{
    pthread_t thread[MOST];
    pthread_barrier_t all_in;
    pthread_barrier_init(&all_in, NULL, (unsigned)threads);
    w->all_in = &all_in;
    w->p = open_pool(workers);
    assert_int_equal(pit_tool_register(w->p, NULL, "waits", waits, w, NULL, NULL), 0);
    for (int i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, ask, w), 0);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(pit_callf(w->p, "echo", NULL, NULL, NULL, "[i]", 1), 0);
    assert_int_equal(pit_close(w->p), 0);
    pthread_barrier_destroy(&all_in);
}

static void test_last(void **state)
{
    (void)state;
    for (int future = 0; future < 2; future++)
        for (int workers = 1 + !future; workers <= MOST; workers++) {
            struct kit_before before = kit_before();
            struct waits w = {.future = future};
            run(&w, workers, workers);
            assert_int_equal(atomic_load(&w.refused), 1);
            assert_int_equal(atomic_load(&w.good), workers - 1);
            kit_clean(before, "the last");
        }
}

/* Where a worker is left nobody is told that there is none, however they meet. */
static void test_others(void **state)
{
    (void)state;
    enum { ROUNDS = 100 };
    for (int future = 0; future < 2; future++) {
        struct waits w = {.future = future, .p = open_pool(MOST)};
        assert_int_equal(pit_tool_register(w.p, NULL, "waits", waits, &w, NULL, NULL), 0);
        for (int round = 0; round < ROUNDS; round++) {
            pthread_t thread[MOST - 1];
            for (int i = 0; i < MOST - 1; i++)
                assert_int_equal(pthread_create(&thread[i], NULL, ask, &w), 0);
            for (int i = 0; i < MOST - 1; i++)
                pthread_join(thread[i], NULL);
        }
        assert_int_equal(atomic_load(&w.refused), 0);
        assert_int_equal(atomic_load(&w.good), ROUNDS * (MOST - 1));
        pit_close(w.p);
    }
}

/* As many as workers, as they come: they may wait for themselves or not, but each comes back. */
static void test_all(void **state)
{
    (void)state;
    enum { ROUNDS = 60 };
    for (int future = 0; future < 2; future++) {
        struct waits w = {.future = future, .p = open_pool(MOST)};
        assert_int_equal(pit_tool_register(w.p, NULL, "waits", waits, &w, NULL, NULL), 0);
        for (int round = 0; round < ROUNDS; round++) {
            pthread_t thread[MOST];
            for (int i = 0; i < MOST; i++)
                assert_int_equal(pthread_create(&thread[i], NULL, ask, &w), 0);
            for (int i = 0; i < MOST; i++)
                pthread_join(thread[i], NULL);
        }
        assert_int_equal(atomic_load(&w.refused) + atomic_load(&w.good), ROUNDS * MOST);
        assert_true(atomic_load(&w.good) >= ROUNDS * (MOST - 1));
        pit_close(w.p);
    }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_last), cmocka_unit_test(test_others), cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
