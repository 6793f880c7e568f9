/* pit_run_as_script over the whole library: what is opened, waited for, run, closed and told, and in which order. */
#include "integration/c/kit.h"

struct trace {
    char text[2048]; /* "start stop cleanup exit", with what they said */
    int runs, exits, exit_mode, exit_status, failed;
    int rc;     /* what fn is to return */
    bool ready; /* a worker was, when fn began */
    pit *p;
    char log[2048];
};

static int note(const pit_event *ev, void *user)
{
    struct trace *t = user;
    double ms = -1;
    size_t n = strlen(t->text);
    assert_true(pit_event_number(ev, "duration_ms", &ms) && ms >= 0);
    snprintf(t->text + n, sizeof t->text - n, "%s %s %s %s %s %s\n", pit_event_name(ev) + strlen("snakepit.script.shutdown."),
             pit_event_text(ev, "exit_mode"), pit_event_text(ev, "stop_mode"), pit_event_text(ev, "owned"),
             pit_event_text(ev, "status"), pit_event_text(ev, "cleanup_result"));
    return 0;
}

static void listen_to(struct trace *t, pit *p)
{
    assert_int_equal(pit_telemetry_attach(p, "snakepit.script.*", note, t, NULL, NULL), 0);
}

static int body(pit *p, void *user)
{
    struct trace *t = user;
    t->runs++;
    t->ready = kit_worker(p, 0) != 0;
    t->p = p;
    listen_to(t, p);
    if (t->ready)
        assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    return t->rc;
}

static void on_exit_fn(int mode, int status, void *user)
{
    struct trace *t = user;
    t->exits++;
    t->exit_mode = mode;
    t->exit_status = status;
}

static void on_failed(const pit_error *e, void *user)
{
    struct trace *t = user;
    t->failed = pit_error_code(e);
    snprintf(t->log, sizeof t->log, "%s", pit_error_string(e));
}

static void on_log(int level, const char *text, void *user)
{
    struct trace *t = user;
    size_t n = strlen(t->log);
    if (level == PIT_LOG_WARNING)
        snprintf(t->log + n, sizeof t->log - n, "%s\n", text);
}

/* What a script is given here, and the storage of it. */
struct set {
    struct kit k;
    const char *command[5], *env[2];
    pit_pool_options pool;
    const pit_pool_options *pools[1];
    pit_options options;
    pit_script_options o;
};

static void prepare(struct set *s, struct trace *t)
{
    *s = (struct set){.k = KIT_INIT, .options = PIT_OPTIONS_INIT, .o = PIT_SCRIPT_OPTIONS_INIT};
    kit_pool(&s->k, "c", s->command, s->env, &s->pool);
    s->pools[0] = &s->pool;
    s->options.guard_path = SNAKEPIT_GUARD_PATH;
    s->options.pools = s->pools;
    s->options.n_pools = 1;
    s->options.log = on_log;
    s->options.log_user = t;
    s->options.log_level = PIT_LOG_WARNING;
    s->o.options = &s->options;
    s->o.timeout_ms = KIT_LIMIT_MS;
    s->o.failed = on_failed;
    s->o.exit_fn = on_exit_fn;
    s->o.callback_user = t;
    *t = (struct trace){0};
    unsetenv("SNAKEPIT_SCRIPT_EXIT");
    unsetenv("SNAKEPIT_SCRIPT_HALT");
}

static void test_a_script_from_begin_to_end(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct set s;
    struct trace t;
    for (int rc = 0; rc <= 7; rc += 7) {
        prepare(&s, &t);
        t.rc = rc;
        assert_int_equal(pit_run_as_script(body, &t, &s.o), rc != 0);
        assert_true(t.runs == 1 && t.ready && t.exits == 0 && t.failed == 0);
        assert_string_equal(t.text, rc == 0 ? "start none if_started true 0 pending\nstop none if_started true 0 pending\n"
                                              "cleanup none if_started true 0 ok\nexit none if_started true 0 ok\n"
                                            : "start none if_started true 1 pending\nstop none if_started true 1 pending\n"
                                              "cleanup none if_started true 1 ok\nexit none if_started true 1 ok\n");
        kit_clean(before, "a script");
    }
}

static void test_exits(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct set s;
    struct trace t;
    static const int modes[] = {PIT_SCRIPT_EXIT_HALT, PIT_SCRIPT_EXIT_STOP, PIT_SCRIPT_EXIT_AUTO};
    for (size_t i = 0; i < 3; i++) {
        prepare(&s, &t);
        s.o.exit_mode = modes[i];
        t.rc = 3;
        assert_int_equal(pit_run_as_script(body, &t, &s.o), 1);
        assert_int_equal(t.exits, 1);
        assert_int_equal(t.exit_status, 1);
        assert_int_equal(t.exit_mode, modes[i] == PIT_SCRIPT_EXIT_AUTO ? PIT_SCRIPT_EXIT_STOP : modes[i]);
        kit_clean(before, "exits");
    }
    prepare(&s, &t);
    s.o.halt = PIT_ON;
    s.o.exit_fn = NULL; /* then the status comes back */
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_non_null(strstr(t.text, "exit halt if_started true 0 ok"));
    kit_clean(before, "exits");
}

static void test_variables(void **state)
{
    (void)state;
    struct set s;
    struct trace t;
    prepare(&s, &t);
    assert_int_equal(setenv("SNAKEPIT_SCRIPT_EXIT", " Nonsense ", 1), 0);
    assert_int_equal(setenv("SNAKEPIT_SCRIPT_HALT", " TRUE ", 1), 0);
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_int_equal(t.exit_mode, PIT_SCRIPT_EXIT_HALT);
    assert_non_null(strstr(t.log, "SNAKEPIT_SCRIPT_EXIT is ' Nonsense '"));
    prepare(&s, &t);
    assert_int_equal(setenv("SNAKEPIT_SCRIPT_HALT", "perhaps", 1), 0);
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_int_equal(t.exits, 0);
    assert_non_null(strstr(t.log, "SNAKEPIT_SCRIPT_HALT is 'perhaps'"));
    prepare(&s, &t);
}

static void test_a_host_that_was_given(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct set s;
    struct trace t;
    pit *p = kit_open(&(struct kit)KIT_INIT);
    prepare(&s, &t);
    s.o.host = p;
    s.o.exit_mode = PIT_SCRIPT_EXIT_AUTO; /* not opened here: nobody stops */
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_ptr_equal(t.p, p);
    assert_int_equal(t.exits, 0);
    assert_string_equal(t.text, "start none if_started false 0 skipped\nexit none if_started false 0 skipped\n");
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0); /* it is still open */

    prepare(&s, &t);
    s.o.host = p;
    s.o.restart = PIT_ON;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_ptr_not_equal(t.p, p);
    assert_non_null(strstr(t.text, "exit none if_started true 0 ok"));
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);

    prepare(&s, &t);
    s.o.host = p;
    s.o.stop_mode = PIT_SCRIPT_STOP_ALWAYS;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_ptr_equal(t.p, p);
    assert_non_null(strstr(t.text, "cleanup none always false 0 ok"));
    kit_clean(before, "a host that was given");
}

static void test_a_host_that_is_over(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct set s;
    struct trace t;
    pit *p = kit_open(&(struct kit)KIT_INIT);
    assert_int_equal(pit_shutdown(p), 0);
    prepare(&s, &t);
    s.o.host = p;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0); /* another one is opened */
    assert_true(t.runs == 1 && t.p != p);
    prepare(&s, &t);
    s.o.host = p;
    s.o.restart = PIT_OFF;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), PIT_E_SHUTTING_DOWN);
    assert_int_equal(t.runs, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "a host that is over");
}

/* The host stays open: closing it is the program's affair. */
static void test_never_stopped(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct set s;
    struct trace t;
    prepare(&s, &t);
    s.o.stop_mode = PIT_SCRIPT_STOP_NEVER;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_string_equal(t.text, "start none never true 0 skipped\nexit none never true 0 skipped\n");
    assert_int_equal(kit_call(t.p, "echo", 1, 0, NULL), 0);
    assert_int_equal(pit_close(t.p), 0);
    kit_clean(before, "never stopped");
}

static void test_what_cannot_be_run(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct set s;
    struct trace t;
    prepare(&s, &t);
    atomic_store(&stage->refuse, 1);
    s.o.exit_mode = PIT_SCRIPT_EXIT_STOP;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 1);
    assert_true(t.runs == 0 && t.exits == 1 && t.exit_status == 1);
    assert_int_equal(t.failed, PIT_E_POOL_NOT_INITIALIZED);
    kit_reset_stage();
    kit_clean(before, "workers that refuse");

    prepare(&s, &t);
    atomic_store(&stage->mute, 1);
    s.o.timeout_ms = PIT_NOW;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 1);
    assert_int_equal(t.failed, PIT_E_NOT_READY);
    kit_clean(before, "workers that are late");
    prepare(&s, &t);
    s.o.await_pool = PIT_OFF;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 0);
    assert_true(t.runs == 1 && !t.ready);
    kit_reset_stage();
    kit_clean(before, "not awaited");

    prepare(&s, &t);
    s.options.guard_path = "/nowhere/at/all";
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 1);
    assert_int_equal(t.failed, PIT_E_GUARD_UNAVAILABLE);
    assert_null(strstr(t.log, "SNAKEPIT_SCRIPT_"));
    assert_int_equal(setenv("SNAKEPIT_SCRIPT_EXIT", "bye", 1), 0);
    assert_int_equal(setenv("SNAKEPIT_SCRIPT_HALT", "perhaps", 1), 0);
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 1); /* no host, no log: the error says it */
    assert_non_null(strstr(t.log, "SNAKEPIT_SCRIPT_EXIT is 'bye': it is none, halt, stop or auto"));
    assert_non_null(strstr(t.log, "SNAKEPIT_SCRIPT_HALT is 'perhaps': it is true or false"));
    unsetenv("SNAKEPIT_SCRIPT_EXIT");
    unsetenv("SNAKEPIT_SCRIPT_HALT");
    s.o.failed = NULL;
    assert_int_equal(pit_run_as_script(body, &t, &s.o), 1);
    kit_clean(before, "no guard");
}

static int run_inside(const pit_event *ev, void *user)
{
    struct trace *t = user;
    pit_script_options o = PIT_SCRIPT_OPTIONS_INIT;
    (void)ev;
    o.host = t->p;
    t->failed = pit_run_as_script(body, t, &o);
    return 0;
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct set s;
    struct trace t;
    prepare(&s, &t);
    assert_int_equal(pit_run_as_script(NULL, NULL, NULL), PIT_E_INVALID_PARAMETER);
    struct {
        pit_script_options o;
        int more;
    } larger = {.o = PIT_SCRIPT_OPTIONS_INIT, .more = 1};
    larger.o.size = sizeof larger;
    assert_int_equal(pit_run_as_script(body, &t, &larger.o), PIT_E_UNSUPPORTED_OPTION);
    static const struct {
        int exit_mode, stop_mode, restart, await_pool, halt, rc;
        int64_t timeout_ms;
    } rows[] = {{5, 0, 0, 0, 0, PIT_E_INVALID_PARAMETER, 0},  {-1, 0, 0, 0, 0, PIT_E_INVALID_PARAMETER, 0},
                {0, 4, 0, 0, 0, PIT_E_INVALID_PARAMETER, 0},  {0, 0, 2, 0, 0, PIT_E_INVALID_PARAMETER, 0},
                {0, 0, 0, -2, 0, PIT_E_INVALID_PARAMETER, 0}, {0, 0, 0, 0, 7, PIT_E_INVALID_PARAMETER, 0},
                {0, 0, 0, 0, 0, PIT_E_INVALID_TIMEOUT, -5}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        prepare(&s, &t);
        s.o.exit_mode = rows[i].exit_mode;
        s.o.stop_mode = rows[i].stop_mode;
        s.o.restart = rows[i].restart;
        s.o.await_pool = rows[i].await_pool;
        s.o.halt = rows[i].halt;
        s.o.timeout_ms = rows[i].timeout_ms;
        assert_int_equal(pit_run_as_script(body, &t, &s.o), rows[i].rc);
        assert_int_equal(t.runs, 0);
    }
    prepare(&s, &t);
    t.p = kit_open(&(struct kit)KIT_INIT);
    pit *p = t.p;
    assert_int_equal(pit_telemetry_attach(p, "snakepit.call.stop", run_inside, &t, NULL, NULL), 0);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    KIT_AWAIT(t.failed != 0);
    assert_int_equal(t.failed, PIT_E_WRONG_THREAD);
    assert_int_equal(pit_close(p), 0);
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_script_from_begin_to_end),
        cmocka_unit_test(test_exits),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_a_host_that_was_given),
        cmocka_unit_test(test_a_host_that_is_over),
        cmocka_unit_test(test_never_stopped),
        cmocka_unit_test(test_what_cannot_be_run),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
