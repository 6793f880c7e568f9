/* The registry of host tools: names, options, scopes, batches, what is listed; and calling one from here. */
#include "integration/c/kit.h"

static int answer(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)c;
    int64_t n = 0;
    pit_value_get_int(pit_value_get(args, "n"), &n);
    *ret = pit_int(n + *(int *)user);
    return 0;
}

static int one = 1, two = 2;

static const char *reason_of(const pit_error *e)
{
    return pit_value_str_or(pit_value_get(pit_error_details(e), "reason"), "");
}

static pit *open_empty(void)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

static int64_t call_n(pit *p, const char *session, const char *name)
{
    pit_value *args = pit_pack("{s:i}", "n", 10), *v = NULL;
    pit_error *e = NULL;
    int64_t n = -1;
    int rc = pit_tool_call(p, session, name, args, NULL, &v, &e);
    if (rc == 0)
        pit_value_get_int(v, &n);
    else
        n = rc;
    pit_error_free(e);
    pit_value_free(v);
    pit_value_free(args);
    return n;
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *reason;
    } bad[] = {{NULL, "empty"},
               {"", "empty"},
               {" \t\n", "empty"},
               {"-a", "invalid_format"},
               {".a", "invalid_format"},
               {"a b", "invalid_format"},
               {"a\xff", "invalid_format"},
               {"\xc3\xa9t\xc3\xa9", "invalid_format"},
               {"a23456789b123456789c123456789d123456789e123456789f123456789g12345", "too_long"}};
    pit *p = open_empty();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pit_error *e = NULL;
        assert_int_equal(pit_tool_register(p, NULL, bad[i].name, answer, &one, NULL, &e), PIT_E_INVALID_TOOL_NAME);
        assert_string_equal(reason_of(e), bad[i].reason);
        pit_error_free(e);
    }
    assert_int_equal(pit_tool_register(p, NULL, "  a2.b_C-d\n", answer, &one, NULL, NULL), 0);
    assert_int_equal(call_n(p, NULL, "a2.b_C-d"), 11);
    assert_int_equal(pit_tool_unregister(p, NULL, " a2.b_C-d "), 0);
    assert_int_equal(call_n(p, NULL, "a2.b_C-d"), PIT_E_TOOL_NOT_FOUND);
    assert_int_equal(pit_tool_unregister(p, NULL, "never there"), 0);
    assert_int_equal(pit_tool_register(p, NULL, "f", NULL, NULL, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_tool_register(p, "", "f", answer, &one, NULL, NULL), PIT_E_INVALID_SESSION_ID);
    pit_close(p);
}

static int register_with(pit *p, const pit_tool_options *o, char reason[32])
{
    pit_error *e = NULL;
    int rc = pit_tool_register(p, NULL, "t", answer, &one, o, &e);
    snprintf(reason, 32, "%s", reason_of(e));
    pit_error_free(e);
    pit_tool_unregister(p, NULL, "t");
    return rc;
}

static pit_value *map_of(int n, size_t bytes)
{
    char key[16], *text = calloc(bytes + 1, 1);
    memset(text, 'x', bytes);
    pit_value *m = pit_map();
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "k%d", i);
        pit_map_set_take(m, key, pit_str(text));
    }
    free(text);
    return m;
}

static void test_metadata(void **state)
{
    (void)state;
    pit *p = open_empty();
    char reason[32];
    static const struct {
        int n;
        size_t bytes;
        int rc;
        const char *reason;
    } rows[] = {
        {32, 100, 0, ""}, {33, 1, PIT_E_INVALID_METADATA, "too_many_entries"}, {1, 4096, PIT_E_INVALID_METADATA, "too_large"}};
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pit_value *m = map_of(rows[i].n, rows[i].bytes);
        o.metadata = m;
        assert_int_equal(register_with(p, &o, reason), rows[i].rc);
        assert_string_equal(reason, rows[i].reason);
        pit_value_free(m);
    }
    pit_value *bad[] = {pit_list(), pit_pack("{s:[i]}", "a", 1), pit_pack("{i:i}", 1, 1),
                        pit_pack("{s:y}", "a", "b", (size_t)1)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.metadata = bad[i];
        assert_int_equal(register_with(p, &o, reason), PIT_E_INVALID_METADATA);
        assert_string_equal(reason, "unsupported_type");
        pit_value_free(bad[i]);
    }
    pit_close(p);
}

static void test_options(void **state)
{
    (void)state;
    pit *p = open_empty();
    char reason[32];
    pit_value *no_list = pit_map(), *no_name = pit_pack("[{s:s}]", "type", "int");
    const pit_tool_options good = PIT_TOOL_OPTIONS_INIT;
    pit_tool_options o[] = {good, good, good, good, good, good, good, good};
    o[0].timeout_ms = -5;
    o[1].run_on = 3;
    o[2].exposed = 2;
    o[3].replace = -2;
    o[4].parameters = no_list;
    o[5].parameters = no_name;
    o[6].description = "\xff";
    o[7].size = 0;
    for (size_t i = 0; i < sizeof o / sizeof o[0]; i++)
        assert_int_equal(register_with(p, &o[i], reason), i == 0 ? PIT_E_INVALID_TIMEOUT : PIT_E_INVALID_PARAMETER);
    pit_value_free(no_list);
    pit_value_free(no_name);
    pit_close(p);
    pit_options host = PIT_OPTIONS_INIT;
    for (host.tool_threads = -1; host.tool_threads <= 257; host.tool_threads += 258)
        assert_int_equal(pit_open(&host, &p, NULL), PIT_E_INVALID_PARAMETER);
}

static void count(void *user)
{
    ++*(int *)user;
}

/* A session's tool hides that of all; a duplicate is refused unless it replaces; what goes is let go of once. */
static void test_scopes(void **state)
{
    (void)state;
    pit *p = open_empty();
    int gone = 0;
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    assert_int_equal(pit_tool_register(p, NULL, "f", answer, &one, NULL, NULL), 0);
    assert_int_equal(pit_tool_register(p, "s", "f", answer, &two, NULL, NULL), 0);
    assert_int_equal(call_n(p, NULL, "f"), 11);
    assert_int_equal(call_n(p, "s", "f"), 12);
    assert_int_equal(call_n(p, "other", "f"), 11);
    o.release = count;
    assert_int_equal(pit_tool_register(p, "s", "f", answer, &gone, &o, NULL), PIT_E_DUPLICATE_TOOL);
    assert_int_equal(gone, 0);
    o.replace = PIT_ON;
    assert_int_equal(pit_tool_register(p, "s", "f", answer, &gone, &o, NULL), 0);
    assert_int_equal(call_n(p, "s", "f"), 10);
    assert_int_equal(pit_tool_unregister(p, "s", "f"), 0);
    assert_int_equal(gone, 1);
    assert_int_equal(call_n(p, "s", "f"), 11);
    assert_int_equal(pit_tool_register(p, "s", "g", answer, &gone, &o, NULL), 0);
    pit_close(p);
    assert_int_equal(gone, 2);
}

/* All or nothing, also where earlier items have replaced what was there. */
static void test_batch(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_empty();
    int gone = 0;
    pit_tool_options replace = PIT_TOOL_OPTIONS_INIT, plain = PIT_TOOL_OPTIONS_INIT;
    replace.replace = PIT_ON;
    replace.release = plain.release = count;
    assert_int_equal(pit_tool_register(p, NULL, "a", answer, &one, NULL, NULL), 0);
    pit_tool_item items[] = {{.name = "a", .fn = answer, .user = &gone, .options = &replace},
                             {.name = "b", .fn = answer, .user = &gone, .options = &plain},
                             {.name = "b", .fn = answer, .user = &gone, .options = &plain}};
    size_t failed = 99;
    pit_error *e = NULL;
    assert_int_equal(pit_tool_register_many(p, NULL, items, 3, &failed, &e), PIT_E_DUPLICATE_TOOL);
    assert_int_equal(failed, 2);
    int64_t index = 0;
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "index"), &index));
    assert_int_equal(index, 2);
    pit_error_free(e);
    assert_int_equal(gone, 0);
    assert_int_equal(call_n(p, NULL, "a"), 11);
    assert_int_equal(call_n(p, NULL, "b"), PIT_E_TOOL_NOT_FOUND);
    pit_value *unnamed = pit_pack("[{s:s},{s:s}]", "name", "a", "type", "int");
    plain.parameters = unnamed;
    assert_int_equal(pit_tool_register_many(p, NULL, items, 3, &failed, &e), PIT_E_INVALID_PARAMETER);
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "index"), &index) && index == 1);
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "parameter"), &index) && index == 1);
    pit_error_free(e);
    pit_value_free(unnamed);
    plain.parameters = NULL;
    items[2].name = "c c";
    assert_int_equal(pit_tool_register_many(p, NULL, items, 3, &failed, NULL), PIT_E_INVALID_TOOL_NAME);
    assert_int_equal(failed, 2);
    assert_int_equal(pit_tool_register_many(p, NULL, items, 2, &failed, NULL), 0);
    assert_int_equal(call_n(p, NULL, "a"), 10);
    assert_int_equal(pit_tool_register_many(p, NULL, NULL, 0, NULL, NULL), 0);
    pit_close(p);
    assert_int_equal(gone, 2);
    kit_clean(before, "a batch");
}

static int failing(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)args, (void)ret;
    switch (*(int *)user) {
    case 1:
        return pit_tool_fail(c, "no symbol %s", "x");
    case 2:
        return 7;
    case 3:
        return PIT_E_NOT_FOUND;
    case 4:
        *ret = pit_str("\xff");
        return 0;
    default:
        return 0; /* nil */
    }
}

static void test_failures(void **state)
{
    (void)state;
    pit *p = open_empty();
    static const char *const texts[] = {
        "", "Tool execution failed: no symbol x", "Tool execution failed: it returned an unknown status",
        "Tool execution failed: there is no such thing", "Tool execution failed: a text is not valid UTF-8"};
    for (int i = 0; i < 5; i++) {
        pit_error *e = NULL;
        pit_value *v = NULL;
        assert_int_equal(pit_tool_register(p, NULL, "f", failing, &i, NULL, NULL), 0);
        int rc = pit_tool_call(p, NULL, "f", NULL, NULL, &v, &e);
        if (i == 0) {
            assert_int_equal(rc, 0);
            assert_int_equal(pit_value_kind(v), PIT_KIND_NIL);
            pit_value_free(v);
        } else {
            assert_int_equal(rc, PIT_E_TOOL_EXECUTION_FAILED);
            assert_string_equal(pit_error_message(e), texts[i]);
            assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "tool")), "f");
        }
        pit_error_free(e);
        pit_tool_unregister(p, NULL, "f");
    }
    pit_error *e = NULL;
    assert_int_equal(pit_tool_call(p, "s1", "nope", NULL, NULL, NULL, &e), PIT_E_TOOL_NOT_FOUND);
    assert_non_null(strstr(pit_error_message(e), "nope"));
    assert_non_null(strstr(pit_error_message(e), "s1"));
    pit_error_free(e);
    pit_close(p);
}

struct closing {
    pit *p;
    int close_rc, shutdown_rc, cleared;
};

/* It takes itself away, registers another, and may not close. */
static int reenter(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct closing *t = user;
    (void)args;
    t->close_rc = pit_close(t->p);
    t->shutdown_rc = pit_shutdown(t->p);
    t->cleared = pit_tool_unregister(t->p, NULL, pit_tool_name(c));
    if (pit_tool_register(t->p, NULL, "other", answer, &one, NULL, NULL) != 0)
        return -1;
    *ret = pit_int(call_n(t->p, NULL, "other"));
    return 0;
}

static void test_reenters(void **state)
{
    (void)state;
    struct closing t = {.p = open_empty()};
    assert_int_equal(pit_tool_register(t.p, NULL, "f", reenter, &t, NULL, NULL), 0);
    assert_int_equal(call_n(t.p, NULL, "f"), 11);
    assert_int_equal(t.close_rc, PIT_E_WRONG_THREAD);
    assert_int_equal(t.shutdown_rc, PIT_E_WRONG_THREAD);
    assert_int_equal(t.cleared, 0);
    assert_int_equal(call_n(t.p, NULL, "f"), PIT_E_TOOL_NOT_FOUND);
    pit_close(t.p);
}

static int call_itself(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    return pit_tool_call(*(pit **)user, NULL, pit_tool_name(c), args, NULL, ret, NULL);
}

static void test_endless(void **state)
{
    (void)state;
    pit *p = open_empty();
    assert_int_equal(pit_tool_register(p, NULL, "f", call_itself, &p, NULL, NULL), 0);
    assert_int_equal(call_n(p, NULL, "f"), PIT_E_TOOL_EXECUTION_FAILED);
    pit_close(p);
}

static const char *name_at(const pit_value *list, size_t i)
{
    return pit_value_str_or(pit_value_get(pit_value_at(list, i), "name"), "");
}

static void test_list(void **state)
{
    (void)state;
    pit *p = open_empty();
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    pit_tool_filter f = PIT_TOOL_FILTER_INIT;
    pit_value *list = NULL, *parameters = pit_pack("[{s:s,s:s}]", "name", "n", "type", "int");
    o.description = "adds one";
    o.parameters = parameters;
    o.exposed = PIT_ON;
    o.timeout_ms = 5;
    assert_int_equal(pit_tool_register(p, NULL, "b", answer, &one, &o, NULL), 0);
    assert_int_equal(pit_tool_register(p, NULL, "a", answer, &one, NULL, NULL), 0);
    assert_int_equal(pit_tool_register(p, "s", "b", answer, &two, NULL, NULL), 0);
    assert_int_equal(pit_tool_list(p, NULL, NULL, &list, NULL), 0);
    assert_int_equal(pit_value_len(list), 2);
    assert_string_equal(name_at(list, 0), "a");
    const pit_value *b = pit_value_at(list, 1);
    assert_string_equal(pit_value_str(pit_value_get(b, "description")), "adds one");
    assert_string_equal(pit_value_str(pit_value_get(b, "side")), "host");
    assert_true(pit_value_equal(pit_value_get(b, "parameters"), parameters));
    pit_value_free(list);
    f.exposed = PIT_ON;
    assert_int_equal(pit_tool_list(p, NULL, &f, &list, NULL), 0);
    assert_int_equal(pit_value_len(list), 1);
    pit_value_free(list);
    assert_int_equal(pit_tool_list(p, "s", &f, &list, NULL), 0);
    assert_int_equal(pit_value_len(list), 0); /* the session's own is not exposed, and hides that which is */
    pit_value_free(list);
    f.pool = "none";
    assert_int_equal(pit_tool_list(p, NULL, &f, &list, NULL), PIT_E_POOL_NOT_FOUND);
    pit_value_free(parameters);
    pit_close(p);
}

static pit *open_python(int pools)
{
    pit_pool_options pool[2] = {PIT_POOL_OPTIONS_INIT, PIT_POOL_OPTIONS_INIT};
    const pit_pool_options *each[] = {&pool[0], &pool[1]};
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = TEST_PYTHON;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.pools = each;
    o.n_pools = (size_t)pools;
    for (int i = 0; i < pools; i++) {
        pool[i].name = i == 0 ? "first" : "second";
        pool[i].adapter = TEST_SOURCE_DIR "/tests/integration/c/tools.py";
        pool[i].workers = 1;
    }
    if (pit_open(&o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return p;
}

/* What workers offer: listed, called by the pool that has it; two that have it must be told apart. */
static void test_of_workers(void **state)
{
    (void)state;
    pit *p = open_python(1);
    pit_tool_filter f = PIT_TOOL_FILTER_INIT;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *list = NULL, *v = NULL;
    pit_error *e = NULL;
    int64_t n = 0;
    f.side = PIT_TOOLS_OF_WORKERS;
    assert_int_equal(pit_tool_list(p, NULL, &f, &list, NULL), 0);
    assert_int_equal(pit_value_len(list), 3);
    const pit_value *add = pit_value_at(list, 0);
    assert_string_equal(name_at(list, 0), "add");
    assert_string_equal(pit_value_str(pit_value_get(add, "side")), "worker");
    assert_string_equal(pit_value_str(pit_value_get(add, "pool")), "first");
    assert_string_equal(pit_value_str(pit_value_get(add, "description")), "Adds.");
    assert_string_equal(name_at(pit_value_get(add, "parameters"), 1), "b");
    assert_true(pit_value_get_int(pit_value_get(add, "timeout_ms"), &n) && n == 9000);
    pit_value_free(list);
    assert_int_equal(call_n(p, NULL, "add"), PIT_E_TYPE_ERROR);
    pit_value *args = pit_pack("{s:i,s:i}", "a", 2, "b", 3);
    assert_int_equal(pit_tool_call(p, "s", "add", args, NULL, &v, NULL), 0);
    assert_true(pit_value_get_int(v, &n) && n == 5);
    pit_value_free(v);
    assert_int_equal(pit_tool_register(p, NULL, "add", answer, &one, NULL, NULL), 0);
    assert_int_equal(call_n(p, NULL, "add"), 11); /* the host's own comes first */
    o.pool = "first";
    assert_int_equal(pit_tool_call(p, NULL, "add", args, &o, &v, NULL), 0);
    assert_true(pit_value_get_int(v, &n) && n == 5);
    pit_value_free(v);
    pit_close(p);
    p = open_python(2);
    assert_int_equal(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_tool_call(p, NULL, "add", args, NULL, &v, &e), PIT_E_AMBIGUOUS_TOOL);
    assert_int_equal(pit_value_len(pit_value_get(pit_error_details(e), "pools")), 2);
    pit_error_free(e);
    o.pool = "second";
    assert_int_equal(pit_tool_call(p, NULL, "add", args, &o, &v, NULL), 0);
    pit_value_free(v);
    pit_value_free(args);
    pit_close(p);
}

/* So many more levels, host and Python in turn. */
static int go_down(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    int64_t n = 0;
    pit_error *e = NULL;
    pit_value_get_int(pit_value_get(args, "n"), &n);
    if (n == 0) {
        *ret = pit_int(pit_tool_depth(c));
        return 0;
    }
    int rc = pit_callf(*(pit **)user, "down", NULL, ret, &e, "{s:I}", "n", n - 1);
    return rc == 0 ? 0 : pit_tool_fail_take(c, e);
}

static void test_from_python(void **state)
{
    (void)state;
    pit *p = open_python(1);
    assert_int_equal(pit_tool_register(p, NULL, "down", go_down, &p, NULL, NULL), 0);
    for (int64_t n = 0; n < 16; n += 5) {
        pit_value *v = NULL;
        pit_error *e = NULL;
        int64_t depth = 0;
        if (pit_callf(p, "down", NULL, &v, &e, "{s:I}", "n", n) != 0)
            fail_msg("%s", pit_error_string(e));
        assert_true(pit_value_get_int(v, &depth));
        assert_int_equal(depth, n + 1);
        pit_value_free(v);
    }
    pit_error *e = NULL;
    assert_int_equal(pit_callf(p, "down", NULL, NULL, &e, "{s:i}", "n", 16), PIT_E_TOOL_EXECUTION_FAILED);
    const pit_value *failed = pit_value_get(pit_error_details(e), "host_tool");
    assert_string_equal(pit_value_str_or(pit_value_get(failed, "name"), ""), "down");
    assert_non_null(strstr(pit_error_message(e), "at most 16"));
    assert_non_null(strstr(pit_error_python_type(e), "HostToolError"));
    pit_error_free(e);
    pit_close(p);
}

/* From one pool to the other and back: what counts is what stands inside each other, wherever. */
static int go_across(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct {
        pit *p;
        int depth, rc;
    } *t = user;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    (void)args;
    assert_int_equal(pit_tool_depth(c), ++t->depth);
    o.pool = strcmp(pit_tool_pool(c), "first") == 0 ? "second" : "first";
    int rc = pit_callf(t->p, "down", &o, ret, &e, "{s:i}", "n", 1);
    t->rc = t->rc == 0 ? rc : t->rc; /* the innermost is the first */
    return pit_tool_fail_take(c, e);
}

static void test_depth_across_pools(void **state)
{
    (void)state;
    struct {
        pit *p;
        int depth, rc;
    } t = {.p = open_python(2)};
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = "first";
    assert_int_equal(pit_tool_register(t.p, NULL, "down", go_across, &t, NULL, NULL), 0);
    assert_int_not_equal(pit_callf(t.p, "down", &o, NULL, NULL, "{s:i}", "n", 1), 0);
    assert_int_equal(t.depth, 16);
    assert_int_equal(t.rc, PIT_E_NESTING_TOO_DEEP);
    pit_close(t.p);
}

static int64_t numbers[8];
static char told[256];

static int on_event(const pit_event *ev, void *user)
{
    (void)user;
    double n = -1;
    pit_event_number(ev, "count", &n);
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s %s %s;", strrchr(pit_event_name(ev), '.') + 1,
             pit_event_text(ev, "tool_name"), pit_event_text(ev, "side"));
    numbers[0] = (int64_t)n;
    return 0;
}

static void test_events(void **state)
{
    (void)state;
    pit *p = open_empty();
    int how = 1;
    assert_int_equal(pit_telemetry_attach(p, "snakepit.tool.*", on_event, NULL, NULL, NULL), 0);
    assert_int_equal(pit_tool_register(p, NULL, " a", answer, &one, NULL, NULL), 0);
    assert_int_equal(call_n(p, NULL, "a"), 11);
    assert_int_equal(pit_tool_unregister(p, NULL, "a"), 0);
    assert_string_equal(told, "registered a host;start a host;stop a host;unregistered a host;");
    told[0] = '\0';
    assert_int_equal(pit_tool_register(p, NULL, "b", failing, &how, NULL, NULL), 0);
    assert_int_equal(call_n(p, NULL, "b"), PIT_E_TOOL_EXECUTION_FAILED);
    assert_string_equal(told, "registered b host;start b host;exception b host;");
    pit_close(p);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_reenters),
        cmocka_unit_test(test_endless),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_of_workers),
        cmocka_unit_test(test_from_python),
        cmocka_unit_test(test_depth_across_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
