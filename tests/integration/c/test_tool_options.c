/* The options of a call of a host's tool by pit_tool_call(): they hold as they hold for one of a worker. */
#include "integration/c/kit.h"

struct seen {
    pit *p;
    int ran;
    pit_canceller *fire;
    bool cancelled, late;
    char correlation[300];
};

static int look(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct seen *s = user;
    (void)args;
    s->ran++;
    snprintf(s->correlation, sizeof s->correlation, "%s", pit_tool_correlation_id(c) != NULL ? pit_tool_correlation_id(c) : "");
    if (s->fire != NULL)
        pit_canceller_fire(s->fire, "enough");
    if (s->late)
        KIT_AWAIT(pit_tool_cancelled(c));
    s->cancelled = pit_tool_cancelled(c);
    *ret = pit_int(7);
    return 0;
}

static pit *open_look(struct seen *s)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    memset(s, 0, sizeof *s);
    o.guard_path = SNAKEPIT_GUARD_PATH;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    assert_int_equal(pit_tool_register(p, NULL, "look", look, s, NULL, NULL), 0);
    return s->p = p;
}

static int call_look(pit *p, const pit_call_options *o, pit_error **reterr)
{
    static int untouched;
    pit_value *v = (pit_value *)(void *)&untouched;
    int rc = pit_tool_call(p, NULL, "look", NULL, o, &v, reterr);
    if (rc == 0)
        pit_value_free(v);
    else
        assert_ptr_equal(v, &untouched);
    return rc;
}

static const char *detail(const pit_error *e, const char *key)
{
    return pit_value_str_or(pit_value_get(pit_error_details(e), key), "");
}

/* What pit_call() refuses is refused here, and nothing runs. */
static void test_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct seen s;
    pit *p = open_look(&s);
    char longest[258];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    pit_value *big = pit_map(), *list = pit_list(), *text = pit_pack("{s:s}", "a", "b");
    for (int i = 0; i < 33; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        pit_map_set_take(big, key, pit_int(i));
    }
    pit_limits limits = PIT_LIMITS_INIT;
    const pit_call_options good = PIT_CALL_OPTIONS_INIT;
    struct {
        pit_call_options o;
        int rc;
    } rows[] = {{good, PIT_E_INVALID_PARAMETER},  {good, PIT_E_INVALID_PARAMETER}, {good, PIT_E_INVALID_PARAMETER},
                {good, PIT_E_INVALID_PARAMETER},  {good, PIT_E_INVALID_PARAMETER}, {good, PIT_E_INVALID_TIMEOUT},
                {good, PIT_E_INVALID_METADATA},   {good, PIT_E_INVALID_METADATA},  {good, PIT_E_INVALID_PARAMETER},
                {good, PIT_E_INVALID_SESSION_ID}, {good, PIT_E_INVALID_PARAMETER}, {good, PIT_E_DEADLINE_EXCEEDED}};
    rows[0].o.correlation_id = "";
    rows[1].o.correlation_id = "\xff\xfe";
    rows[2].o.correlation_id = longest;
    rows[3].o.priority = 99;
    rows[4].o.cancel_max_rung = -1;
    rows[5].o.timeout_ms = -7;
    rows[6].o.metadata = list;
    rows[7].o.metadata = big;
    rows[8].o.binary_parameters = text;
    rows[9].o.session_id = "";
    rows[10].o.limits = &limits;
    rows[11].o.deadline_ns = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pit_error *e = NULL;
        int rc = call_look(p, &rows[i].o, &e);
        if (rc != rows[i].rc || pit_error_code(e) != rc)
            fail_msg("row %zu: %s", i, pit_error_code_name(rc));
        pit_error_free(e);
    }
    pit_canceller *c = pit_canceller_new();
    pit_call_options o = good;
    pit_canceller_fire(c, "before");
    o.canceller = c;
    assert_int_equal(call_look(p, &o, NULL), PIT_E_CANCELLED);
    pit_canceller_free(c);
    assert_int_equal(s.ran, 0);
    pit_value_free(big);
    pit_value_free(list);
    pit_value_free(text);
    pit_close(p);
    kit_clean(before, "what is refused");
}

/* Over its time, or cancelled meanwhile: it is told so, and what it returns is dropped. */
static void test_dropped(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct seen s;
    pit *p = open_look(&s);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_error *e = NULL;
    s.late = true;
    o.timeout_ms = 20;
    assert_int_equal(call_look(p, &o, &e), PIT_E_DEADLINE_EXCEEDED);
    assert_string_equal(detail(e, "phase"), "tool");
    assert_string_equal(detail(e, "tool"), "look");
    assert_string_equal(detail(e, "command"), "look");
    int64_t ms = 0;
    assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "timeout_ms"), &ms) && ms == 20);
    assert_string_equal(pit_error_correlation_id(e), s.correlation);
    assert_true(s.cancelled);
    pit_error_free(e);
    o.timeout_ms = PIT_INFINITE;
    o.canceller = s.fire = pit_canceller_new();
    assert_int_equal(call_look(p, &o, &e), PIT_E_CANCELLED);
    assert_non_null(strstr(pit_error_message(e), "enough"));
    assert_int_equal(s.ran, 2);
    pit_error_free(e);
    pit_canceller_free(s.fire);
    s.late = false;
    s.fire = o.canceller = NULL;
    assert_int_equal(call_look(p, &o, NULL), 0);
    assert_false(s.cancelled);
    pit_close(p);
    kit_clean(before, "what is dropped");
}

/* Each call has an id of its own, unless one is given; in a tool it is that of the call. */
static int call_again(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct seen *s = user;
    char mine[sizeof s->correlation];
    (void)args, (void)ret;
    snprintf(mine, sizeof mine, "%s", pit_tool_correlation_id(c));
    assert_int_equal(call_look(s->p, NULL, NULL), 0);
    assert_string_equal(s->correlation, mine);
    return 0;
}

static void test_correlation(void **state)
{
    (void)state;
    struct seen s;
    pit *p = open_look(&s);
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    char first[sizeof s.correlation];
    assert_int_equal(call_look(p, NULL, NULL), 0);
    assert_true(s.correlation[0] != '\0');
    memcpy(first, s.correlation, sizeof first);
    assert_int_equal(call_look(p, &o, NULL), 0);
    assert_string_not_equal(s.correlation, first);
    o.correlation_id = "mine";
    assert_int_equal(call_look(p, &o, NULL), 0);
    assert_string_equal(s.correlation, "mine");
    assert_int_equal(pit_tool_register(p, NULL, "again", call_again, &s, NULL, NULL), 0);
    assert_int_equal(pit_tool_call(p, NULL, "again", NULL, NULL, NULL, NULL), 0);
    pit_close(p);
}

static void test_names(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct seen s;
    pit *p = open_look(&s);
    pit_error *e = NULL;
    pit_value *v = NULL;
    assert_int_equal(pit_tool_call(p, NULL, " \tlook\n", NULL, NULL, &v, NULL), 0);
    pit_value_free(v);
    assert_int_equal(pit_tool_call(p, NULL, " \n", NULL, NULL, NULL, NULL), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_tool_call(p, NULL, NULL, NULL, NULL, NULL, NULL), PIT_E_INVALID_REQUEST);
    char longest[300];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(pit_tool_call(p, NULL, longest, NULL, NULL, NULL, NULL), PIT_E_INVALID_REQUEST);
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "other%d", i);
        assert_int_equal(pit_tool_register(p, NULL, name, look, &s, NULL, NULL), 0);
    }
    assert_int_equal(pit_tool_call(p, NULL, "lok", NULL, NULL, NULL, &e), PIT_E_TOOL_NOT_FOUND);
    assert_string_equal(detail(e, "nearest"), "look");
    assert_int_equal(pit_value_len(pit_value_get(pit_error_details(e), "available")), 10);
    assert_non_null(strstr(pit_value_str_or(pit_value_at(pit_error_suggestions(e), 0), ""), "look"));
    pit_error_free(e);
    pit_close(p);
    kit_clean(before, "names");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
