/* Which calls are the same, for how long and how many of them: what is refused, and what is not, however alike. Workers in C. */
#include "integration/c/poison.h"

enum { GOOD = 5000, COPIES = 3, APART = 1500, BATCHES = 2 };

struct load {
    pit *p;
    int64_t bad;
    unsigned crashed, refused, wrong;
};

static void judge(struct load *l, const pit_call_result *r, size_t i, bool is_bad)
{
    int64_t n = -1;
    pit_value_get_int(r->value, &n);
    if (!is_bad) {
        l->wrong += r->rc != 0 || n != (int64_t)i;
        return;
    }
    l->crashed += r->rc == PIT_E_WORKER_CRASH;
    const pit_value *crashes = pit_value_get(pit_error_details(r->error), "crashes");
    if (r->rc != PIT_E_POISON_CALL || pit_value_len(crashes) != 2)
        return;
    l->refused++;
    for (size_t k = 0; k < 2; k++)
        l->wrong += pit_value_get(pit_value_at(crashes, k), "dossier") == NULL;
}

static void *carry(void *arg)
{
    struct load *l = arg;
    enum { ALL = GOOD + COPIES };
    pit_call_item *items = calloc(ALL, sizeof *items);
    pit_call_result *results = calloc(ALL, sizeof *results);
    if (items == NULL || results == NULL)
        abort();
    for (size_t i = 0; i < ALL; i++) {
        bool is_bad = i % APART == APART - 1 && i / APART < COPIES;
        items[i].command = is_bad ? "fatal" : "echo";
        items[i].args = pit_pack("[I]", is_bad ? l->bad : (int64_t)i);
    }
    l->wrong += pit_call_many(l->p, items, ALL, NULL, results, NULL) != 0;
    for (size_t i = 0; i < ALL; i++) {
        judge(l, &results[i], i, strcmp(items[i].command, "fatal") == 0);
        pit_value_free((pit_value *)(uintptr_t)items[i].args);
    }
    pit_call_results_free(results, ALL);
    free(items);
    free(results);
    return NULL;
}

/* One poison, sent again and again among ten thousand others: it ends two workers, and one more if two were at it at a time; all others are
 * answered. */
static void test_among_ten_thousand(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    struct load load[BATCHES];
    pthread_t threads[BATCHES];
    unsigned crashed = 0, refused = 0;
    for (int i = 0; i < BATCHES; i++) {
        load[i] = (struct load){.p = p, .bad = FATAL(1, 99, SIGABRT)};
        assert_int_equal(pthread_create(&threads[i], NULL, carry, &load[i]), 0);
    }
    for (int i = 0; i < BATCHES; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(load[i].wrong, 0);
        crashed += load[i].crashed;
        refused += load[i].refused;
    }
    assert_true(crashed == 2 || crashed == 3);
    assert_int_equal(crashed + refused, BATCHES * COPIES);
    pit_stats st = kit_stats(p);
    assert_int_equal(st.poisoned, refused);
    assert_int_equal(st.crashes, crashed);
    assert_int_equal(runs(1), crashed);
    assert_int_equal(st.succeeded, BATCHES * GOOD);
    settle(p, before, "among ten thousand");
}

/* Each pool counts for itself, and is cleared by itself. */
static void test_two_pools(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    const char *command[5], *env[2];
    pit_pool_options second;
    kit_pool(&s.kit, "other", command, env, &second);
    assert_int_equal(pit_pool_start(p, &second, NULL), 0);
    const int64_t bad = FATAL(1, 4, SIGABRT);
    pit_call_options other = PIT_CALL_OPTIONS_INIT;
    other.pool = "other";
    for (int i = 0; i < 2; i++)
        assert_int_equal(call(p, bad), PIT_E_WORKER_CRASH);
    assert_int_equal(call(p, bad), PIT_E_POISON_CALL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pit_callf(p, "fatal", &other, NULL, NULL, "[I]", bad), PIT_E_WORKER_CRASH);
    assert_int_equal(pit_callf(p, "fatal", &other, NULL, NULL, "[I]", bad), PIT_E_POISON_CALL);
    assert_int_equal(pit_poison_clear(p, "other", NULL), 0);
    assert_int_equal(call(p, bad), PIT_E_POISON_CALL);
    assert_int_equal(pit_callf(p, "fatal", &other, NULL, NULL, "[I]", bad), 0);
    settle(p, before, "two pools");
}

/* After its time it may run again. */
static void test_forgotten_in_time(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    s.poison.ttl_s = 1;
    s.poison.crashes = 1; /* however slow the machine: two deaths might be further apart */
    pit *p = open_it(&s);
    const int64_t bad = FATAL(1, 1, SIGABRT);
    assert_int_equal(call(p, bad), PIT_E_WORKER_CRASH);
    int rc = PIT_E_POISON_CALL;
    KIT_AWAIT((rc = call(p, bad)) != PIT_E_POISON_CALL);
    assert_int_equal(rc, 0);
    settle(p, before, "forgotten in time");
}

/* One more than a pool remembers: who killed longest ago is forgotten, and each was told of. */
static void test_full(void **state)
{
    (void)state;
    enum { ONE_MORE = 65 };
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    s.poison.crashes = 1;
    pit *p = open_it(&s);
    for (unsigned i = 0; i < ONE_MORE; i++)
        assert_int_equal(call(p, FATAL(i, 1, SIGABRT)), PIT_E_WORKER_CRASH);
    KIT_AWAIT(atomic_load(&told.n) == ONE_MORE);
    for (unsigned i = 1; i < ONE_MORE; i++)
        assert_int_equal(call(p, FATAL(i, 1, SIGABRT)), PIT_E_POISON_CALL);
    assert_int_equal(call(p, FATAL(0, 1, SIGABRT)), 0);
    assert_int_equal(kit_stats(p).poisoned, ONE_MORE - 1);
    settle(p, before, "full");
}

/* The same content in another tensor is the same; one item of millions makes another call. */
static void test_tensors(void **state)
{
    (void)state;
    const int64_t items[] = {16 << 20};
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    uint8_t *data = calloc(1, (size_t)items[0]);
    assert_non_null(data);
    for (int round = 0; round < 5; round++) {
        static const int expected[] = {PIT_E_WORKER_CRASH, PIT_E_WORKER_CRASH, PIT_E_POISON_CALL, 0, PIT_E_POISON_CALL};
        pit_value *tensor = NULL;
        data[items[0] / 3] = round == 3;
        assert_int_equal(pit_tensor_from_data(p, PIT_DTYPE_U8, items, 1, data, &tensor, NULL), 0);
        assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "[Iv]", FATAL(1, 2, SIGABRT), tensor), expected[round]);
        pit_value_free(tensor);
    }
    free(data);
    settle(p, before, "tensors");
}

/* As it is encoded: the order of a map and the type of a number are part of it; how it was built is not. */
static void test_encoded(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct shelter s = shelter();
    pit *p = open_it(&s);
    const int64_t n = FATAL(1, 2, SIGABRT);
    pit_value *same = pit_pack("{s:I,s:i}", "n", n, "x", 1);
    assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "{s:I,s:i}", "n", n, "x", 1), PIT_E_WORKER_CRASH);
    assert_int_equal(pit_call(p, "fatal", same, NULL, NULL, NULL), PIT_E_WORKER_CRASH);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.session_id = "session";
    o.correlation_id = "request-7";
    o.priority = PIT_PRIORITY_HIGH;
    assert_int_equal(pit_call(p, "fatal", same, &o, NULL, NULL), PIT_E_POISON_CALL);
    assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "{s:i,s:I}", "x", 1, "n", n), 0);
    assert_int_equal(pit_callf(p, "fatal", NULL, NULL, NULL, "{s:I,s:f}", "n", n, "x", 1.0), 0);
    pit_value *binary = pit_pack("{s:y}", "seal", (const void *)"x", (size_t)1);
    o.binary_parameters = binary;
    assert_int_equal(pit_call(p, "fatal", same, &o, NULL, NULL), 0);
    pit_value_free(binary);
    pit_value_free(same);
    settle(p, before, "encoded");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_among_ten_thousand),
        cmocka_unit_test(test_two_pools),
        cmocka_unit_test(test_forgotten_in_time),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
