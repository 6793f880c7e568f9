/* Every public operation with its k-th allocation, and its k-th system call, failing, for every k that it reaches. Each time: a typed
 * error, or success where the failure harms nobody; no block, descriptor or process left; and the next call is fine.
 *
 * The system calls of all threads of the library are counted. What kills a worker gets a fresh pit for each k: the back-off would be
 * waited for else. */
#include "fault/kth.h"

struct operation {
    const char *name;
    int (*run)(pit *p); /* 0 or the code of its failure */
    const char *channel;
    bool fresh; /* a new pit for each k */
};

/* ---- the operations ---- */

static int op_callf(pit *p)
{
    static const char text[4000];
    pit_error *e = NULL;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.session_id = "a session";
    o.timeout_ms = 5000;
    return checked(pit_callf(p, "blob", &o, NULL, &e, "[y]", text, sizeof text), &e);
}

static int op_error(pit *p)
{
    pit_error *e = NULL;
    int rc = checked(pit_callf(p, "no_such_thing", NULL, NULL, &e, ""), &e);
    return rc == PIT_E_TOOL_NOT_FOUND ? 0 : rc;
}

static int op_json(pit *p)
{
    static const char json[] = "[41, {\"a\": [1.5, null, true, \"text\"]}]";
    pit_error *e = NULL;
    char *text = NULL;
    size_t n = 0;
    int rc = pit_call_json(p, "echo", json, sizeof json - 1, NULL, &text, &n, &e);
    if (rc == 0)
        assert_string_equal(text, "41");
    pit_free(text);
    return checked(rc, &e);
}

static int op_submit(pit *p)
{
    pit_error *e = NULL;
    pit_future *f[3] = {0};
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = checked(pit_submit(p, "echo", NULL, NULL, &f[i], &e), &e);
    for (int i = 0; i < 3; i++)
        if (f[i] != NULL) {
            int got = kit_outcome(f[i], NULL);
            rc = rc != 0 ? rc : got;
        }
    return rc;
}

static int op_cancel(pit *p)
{
    pit_error *e = NULL;
    pit_future *f = NULL;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = 10000;
    int rc = checked(pit_submit(p, "echo", NULL, &o, &f, &e), &e);
    if (rc != 0)
        return rc;
    assert_int_equal(pit_future_cancel(f, "reason"), 0);
    rc = kit_outcome(f, NULL);
    return rc == PIT_E_CANCELLED ? 0 : rc;
}

static int op_crash(pit *p)
{
    pit_error *e = NULL;
    int rc = checked(pit_callf(p, "die", NULL, NULL, &e, "[i]", SIGKILL), &e);
    return rc == PIT_E_WORKER_CRASH ? 0 : rc;
}

static int op_pool(pit *p)
{
    const char *command[5], *env[2];
    struct kit k = KIT_INIT;
    pit_pool_options o;
    pit_error *e = NULL;
    kit_pool(&k, "second", command, env, &o);
    int rc = checked(pit_pool_start(p, &o, &e), &e);
    if (rc != 0)
        return rc;
    return checked(pit_pool_stop(p, "second", 0, &e), &e);
}

static int op_look(pit *p)
{
    pit_error *e = NULL;
    pit_worker_list *l = NULL;
    pit_stats s = PIT_STATS_INIT;
    int rc = pit_get_stats(p, NULL, &s);
    if (rc == 0)
        rc = checked(pit_list_workers(p, NULL, &l, &e), &e);
    pit_worker_list_free(l);
    pit_get_stats(p, "no such pool", &s);
    return rc != 0 ? rc : checked(pit_await_ready(p, NULL, 0, &e), &e);
}

static int on_event(const pit_event *ev, void *user)
{
    char *json = pit_event_json(ev);
    atomic_fetch_add((atomic_int *)user, json != NULL);
    pit_free(json);
    return 0;
}

static int op_telemetry(pit *p)
{
    static atomic_int events;
    pit_error *e = NULL;
    uint64_t id = 0;
    int rc = checked(pit_telemetry_attach(p, "snakepit.*", on_event, &events, &id, &e), &e);
    if (rc != 0)
        return rc;
    rc = op_call(p);
    assert_int_equal(pit_telemetry_detach(p, id), 0);
    return rc;
}

static int op_values(pit *p)
{
    (void)p;
    pit_error *e = NULL;
    int64_t n = 0;
    const char *text = NULL;
    pit_value *v = pit_pack("{s:I,s:s,s:[f,n,b],s:(i)}", "n", (int64_t)3, "text", "abc", "list", 1.5, 1, "tuple", 4),
              *big = NULL, *copy = NULL;
    int rc = pit_value_error(v);
    if (rc == 0)
        rc = checked(pit_unpack(v, &e, "{s:I,s:s,*}", "n", &n, "text", &text), &e);
    char *json = rc == 0 ? pit_value_to_json(v, PIT_JSON_PRETTY) : NULL;
    if (rc == 0 && json == NULL)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc == 0)
        rc = checked(pit_value_parse_json(json, strlen(json), &copy, &e), &e);
    if (rc == 0) {
        assert_true(pit_value_equal(v, copy));
        big = pit_bigint("-123456789012345678901234567890");
        rc = pit_value_error(big);
    }
    pit_free(json);
    pit_value_free(v);
    pit_value_free(big);
    pit_value_free(copy);
    return rc;
}

/* ---- failing ---- */

/* The pool must be well again, without anybody's help. */
static void assert_well(pit *p, const char *what)
{
    int rc;
    KIT_AWAIT((rc = pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL)) != PIT_E_POOL_NOT_INITIALIZED);
    if (rc != 0)
        fail_msg("%s: the pool did not recover: %s", what, pit_error_code_name(rc));
    int64_t n = 0;
    rc = kit_call(p, "echo", 5, 0, &n);
    if (rc != 0 || n != 5)
        fail_msg("%s: the next call: %s", what, pit_error_code_name(rc));
}

/* One k; false: it was not reached. */
static bool run_k(const struct operation *op, enum kind kind, pit *p, long k, long *felt)
{
    arm(kind, k);
    int rc = op->run(p);
    bool hit = disarm(kind, k);
    const char *what = describe(op->name, kind, k);
    if (rc != 0 && (!hit || !kit_typed(rc)))
        fail_msg("%s: %d %s", what, rc, pit_error_code_name(rc));
    *felt += rc != 0;
    assert_well(p, what);
    return hit;
}

static void run_one(const struct operation *op, enum kind kind)
{
    struct kit k = KIT_INIT;
    struct kit_before before = kit_before();
    pit *p = NULL;
    long at = 0, felt = 0;
    k.channel = op->channel;
    faulty_init();
    faulty_arm(0);
    for (bool hit = true; hit;) {
        if (p == NULL)
            assert_int_equal(kit_open_os(kind == SYSTEM_CALL ? &faulty_os : &os_linux, &k, &p, NULL), 0);
        hit = run_k(op, kind, p, ++at, &felt);
        if (!op->fresh && hit)
            continue;
        assert_int_equal(pit_close(p), 0);
        p = NULL;
        kit_clean(before, describe(op->name, kind, at));
    }
    print_message("%s on a %s: %ld failing %s, %ld of them felt\n", op->name, op->channel, at - 1,
                  kind == SYSTEM_CALL ? "system calls" : "allocations", felt);
}

static const struct operation operations[] = {
    {"call", op_call, "ring", false},           {"call", op_call, "socket", false},
    {"callf", op_callf, "ring", false},         {"callf", op_callf, "socket", false},
    {"an error", op_error, "ring", false},      {"json", op_json, "ring", false},
    {"submit", op_submit, "ring", false},       {"submit", op_submit, "socket", false},
    {"cancel", op_cancel, "ring", false},       {"crash", op_crash, "ring", true},
    {"crash", op_crash, "socket", true},        {"pool start and stop", op_pool, "ring", false},
    {"list and stats", op_look, "ring", false}, {"telemetry", op_telemetry, "ring", false},
    {"values", op_values, "ring", false},
};

static const char *only; /* NULL, or the one operation that is wanted */

static void run_all(enum kind kind)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (only == NULL || strcmp(only, operations[i].name) == 0)
            run_one(&operations[i], kind);
}

static void test_allocations(void **state)
{
    (void)state;
    run_all(ALLOCATION);
}

static void test_system_calls(void **state)
{
    (void)state;
    run_all(SYSTEM_CALL);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    only = argc > 2 ? argv[2] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_system_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
