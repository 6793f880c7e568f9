/* Tools of the host called by workers: on lanes that threads ride, and on lanes of the loop; calls that tools make; ends of every kind in the middle; and
 * workers that break the rules. The worker is written in C (worker_tools.h). */
#include "integration/c/kit.h"

struct bench {
    pit *p;
    int64_t asked, depth, gone; /* what the tool has seen */
    int rc;                     /* of the calls that it has made */
    char session[32], correlation[64], worker[96];
    uint64_t deadline;
    pit_call_options options; /* of those */
    pthread_t thread;
    bool cancelled, loop, over;
    void (*meanwhile)(struct bench *b);
};

static int64_t argument(const pit_value *args)
{
    int64_t n = -1;
    pit_value_get_int(pit_value_at(args, 0), &n);
    return n;
}

/* n more levels: how many calls there are inside each other. */
static int nest(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    int64_t n = argument(args);
    pit_error *e = NULL;
    b->asked++;
    b->thread = pthread_self();
    if (n <= 0) {
        b->depth = pit_tool_depth(c);
        snprintf(b->session, sizeof b->session, "%s", pit_tool_session_id(c) != NULL ? pit_tool_session_id(c) : "-");
        snprintf(b->correlation, sizeof b->correlation, "%s", pit_tool_correlation_id(c));
        snprintf(b->worker, sizeof b->worker, "%s", pit_tool_worker_id(c));
        b->deadline = pit_tool_deadline_ns(c);
        void (*meanwhile)(struct bench * b) = __atomic_load_n(&b->meanwhile, __ATOMIC_SEQ_CST);
        if (meanwhile != NULL)
            meanwhile(b);
        b->cancelled = pit_tool_cancelled(c);
        *ret = pit_int(b->depth);
        return 0;
    }
    int rc = pit_callf(b->p, "ask", &b->options, ret, &e, "[I]", n - 1);
    if (rc == 0)
        return 0;
    b->rc = rc;
    return pit_tool_fail_take(c, e);
}

static pit *open_with(struct bench *b, const struct kit *k, pit_tool_fn fn)
{
    const pit_call_options none = PIT_CALL_OPTIONS_INIT;
    memset(b, 0, sizeof *b);
    b->options = none;
    b->p = kit_open(k);
    assert_int_equal(pit_tool_register(b->p, NULL, "tool", fn, b, NULL, NULL), 0);
    return b->p;
}

/* Through a thread that rides the lane, or through the loop. */
static int call_by(pit *p, bool loop, const char *command, int64_t n, const pit_call_options *o, pit_value **ret)
{
    pit_value *args = pit_pack("[I]", n);
    pit_future *f = NULL;
    int rc;
    if (loop) {
        assert_int_equal(pit_submit(p, command, args, o, &f, NULL), 0);
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        rc = pit_future_result(f, ret, NULL);
        pit_future_free(f);
    } else {
        rc = pit_call(p, command, args, o, ret, NULL);
    }
    pit_value_free(args);
    return rc;
}

static const struct kit forms[] = {
    {.workers = 1, .channel = "ring", .pool = PIT_POOL_OPTIONS_INIT},
    {.workers = 1, .channel = "socket", .pool = PIT_POOL_OPTIONS_INIT},
    {.workers = 1, .channel = "socket", .marks = "--no-marks", .pool = PIT_POOL_OPTIONS_INIT},
    {.workers = 1, .channel = "ring", .drive = PIT_DRIVE_HOST, .pool = PIT_POOL_OPTIONS_INIT},
};
enum { FORMS = sizeof forms / sizeof forms[0] };

static int64_t number(pit_value *v)
{
    int64_t n = -1;
    pit_value_get_int(v, &n);
    pit_value_free(v);
    return n;
}

static void test_depths(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++) {
        struct kit_before before = kit_before();
        struct bench b;
        pit *p = open_with(&b, &forms[form], nest);
        for (int loop = 0; loop < 2; loop++)
            for (int64_t n = 0; n < 16; n++) {
                pit_value *v = NULL;
                b.asked = 0;
                assert_int_equal(call_by(p, loop, "ask", n, NULL, &v), 0);
                assert_int_equal(number(v), n + 1);
                assert_int_equal(b.asked, n + 1);
                bool own = pthread_equal(b.thread, pthread_self()) != 0;
                assert_int_equal(own, !loop && forms[form].drive != PIT_DRIVE_HOST);
            }
        pit_value *v = NULL;
        for (int loop = 0; loop < 2; loop++) {
            b.rc = 0;
            assert_int_equal(call_by(p, loop, "ask", 16, NULL, &v), 0);
            assert_string_equal(pit_value_str_or(pit_value_get(v, "code"), ""), "tool_execution_failed");
            assert_int_equal(b.rc, PIT_E_TOOL_EXECUTION_FAILED == b.rc ? b.rc : PIT_E_NESTING_TOO_DEEP);
            pit_value_free(v);
            v = NULL;
        }
        assert_int_equal(call_by(p, false, "echo", 5, NULL, &v), 0);
        assert_int_equal(number(v), 5);
        assert_int_equal(pit_close(p), 0);
        kit_clean(before, "depths");
    }
}

static void test_inherits(void **state)
{
    (void)state;
    struct bench b;
    pit *p = open_with(&b, &forms[0], nest);
    for (int loop = 0; loop < 2; loop++) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_value *v = NULL;
        o.session_id = "s1";
        o.correlation_id = "c1";
        o.deadline_ns = pit_now_ns() + UINT64_C(100000000000);
        assert_int_equal(call_by(p, loop, "ask", 3, &o, &v), 0);
        pit_value_free(v);
        assert_string_equal(b.session, "s1");
        assert_string_equal(b.correlation, "c1");
        assert_true(strncmp(b.worker, "c/0.", 4) == 0);
        assert_true(b.deadline == o.deadline_ns);
    }
    pit_close(p);
}

static void test_answers(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            struct bench b;
            pit *p = open_with(&b, &forms[form], nest);
            pit_value *v = NULL;
            assert_int_equal(call_by(p, loop, "ask_missing", 0, NULL, &v), 0);
            assert_string_equal(pit_value_str_or(pit_value_get(v, "code"), ""), "tool_not_found");
            assert_non_null(strstr(pit_value_str_or(pit_value_get(v, "message"), ""), "nowhere"));
            pit_value_free(v);
            assert_int_equal(call_by(p, loop, "ask_long", 0, NULL, &v), 0);
            assert_string_equal(pit_value_str_or(pit_value_get(v, "code"), ""), "invalid_tool_name");
            pit_value_free(v);
            pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
            o.exposed = PIT_ON;
            assert_int_equal(pit_tool_register(p, NULL, "shown", nest, &b, &o, NULL), 0);
            assert_int_equal(call_by(p, loop, "ask_list", 0, NULL, &v), 0);
            assert_int_equal(pit_value_len(v), 1);
            assert_string_equal(pit_value_str_or(pit_value_get(pit_value_at(v, 0), "name"), ""), "shown");
            pit_value_free(v);
            assert_int_equal(call_by(p, loop, "ask_often", 600, NULL, &v), 0);
            pit_value_free(v);
            for (int64_t with_nil = 0; with_nil < 2; with_nil++) {
                assert_int_equal(call_by(p, loop, "ask_nothing", with_nil, NULL, &v), 0);
                assert_int_equal(number(v), 1);
            }
            pit_close(p);
        }
}

/* Bigger than the ring, both ways. */
static int echo(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    (void)c, (void)user;
    *ret = pit_value_ref(pit_value_at(args, 0));
    return 0;
}

static int binary(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)args;
    b->gone = (int64_t)pit_value_len(pit_value_get(pit_tool_binary_parameters(c), "blob"));
    *ret = pit_int(b->gone);
    return pit_tool_set_binary(c, pit_tool_binary_parameters(c));
}

static void test_large(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            struct bench b;
            pit *p = open_with(&b, &forms[form], echo);
            /* some a little longer than the ring, of which little is left when it is full */
            static const int64_t sizes[] = {1000, 20000, 66000, 70000, 90000, 400000, 8000000};
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                int64_t n = sizes[i];
                pit_value *v = NULL;
                assert_int_equal(call_by(p, loop, "ask_bytes", n, NULL, &v), 0);
                assert_int_equal(pit_value_len(v), n);
                pit_value_free(v);
            }
            pit_value *v = NULL;
            pit_tool_unregister(p, NULL, "tool");
            assert_int_equal(pit_tool_register(p, NULL, "tool", binary, &b, NULL, NULL), 0);
            assert_int_equal(call_by(p, loop, "ask_binary", 1, NULL, &v), 0);
            assert_int_equal(number(v), 3);
            assert_int_equal(call_by(p, loop, "ask_binary", 0, NULL, &v), 0);
            assert_string_equal(pit_value_str_or(pit_value_get(v, "code"), ""), "invalid_parameter");
            pit_value_free(v);
            pit_close(p);
        }
}

/* ---- ends ---- */

static void kill_worker(struct bench *b)
{
    pid_t pid = kit_worker(b->p, 0);
    assert_true(pid > 0 && kill(pid, SIGKILL) == 0);
    KIT_AWAIT(kit_stats(b->p).crashes != 0);
}

/* A worker that dies under every level: each has one typed error, and the pool goes on. */
static void test_death(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            struct kit_before before = kit_before();
            struct bench b;
            pit *p = open_with(&b, &forms[form], nest);
            pit_value *v = NULL;
            if (forms[form].drive != PIT_DRIVE_HOST) {
                b.meanwhile = kill_worker;
                int rc = call_by(p, loop, "ask", 3, NULL, &v);
                if (rc != PIT_E_WORKER_CRASH)
                    fail_msg("form %d, %d: %d %s", form, loop, rc, rc == 0 ? pit_value_to_json(v, 0) : "");
            }
            __atomic_store_n(&b.meanwhile, NULL,
                             __ATOMIC_SEQ_CST); /* the tool may still be called, for a worker that is no more */
            assert_int_equal(call_by(p, loop, "ask_die", 0, NULL, &v), PIT_E_WORKER_CRASH);
            assert_int_equal(call_by(p, loop, "ask", 1, NULL, &v), 0);
            assert_int_equal(number(v), 2);
            assert_int_equal(pit_close(p), 0); /* every tool has returned */
            assert_int_equal(b.rc, forms[form].drive != PIT_DRIVE_HOST ? PIT_E_WORKER_CRASH : 0);
            kit_clean(before, "a death");
        }
}

/* A call that a tool makes, over its own time: the tool goes on, and so does the call that it serves. */
static int impatient(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)c, (void)args;
    b->rc = kit_call(b->p, "gate", 1, 50, NULL);
    kit_open_gate();
    int64_t n = 0;
    b->gone = kit_call(b->p, "echo", 7, 0, &n); /* waits for what was left behind */
    *ret = pit_int(n);
    return 0;
}

static void test_inner_deadline(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            struct kit k = forms[form];
            struct bench b;
            kit_reset_stage();
            k.pool.cancel_max_rung = PIT_RUNG_FLAG; /* it ends by itself */
            pit *p = open_with(&b, &k, impatient);
            pit_value *v = NULL;
            assert_int_equal(call_by(p, loop, "ask", 0, NULL, &v), 0);
            assert_int_equal(number(v), 7);
            assert_int_equal(b.rc, PIT_E_DEADLINE_EXCEEDED);
            assert_int_equal(b.gone, 0);
            assert_int_equal(call_by(p, loop, "echo", 3, NULL, &v), 0);
            assert_int_equal(number(v), 3);
            pit_close(p);
        }
}

static int leaves(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)c, (void)args;
    b->rc = kit_call(b->p, "gate", 1, 50, NULL);
    *ret = pit_int(11); /* its answer waits until the worker has passed the gate, which it may in a moment */
    __atomic_store_n(&b->asked, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void *open_later(void *arg)
{
    struct bench *b = arg;
    KIT_AWAIT(__atomic_load_n(&b->asked, __ATOMIC_SEQ_CST) != 0);
    kit_open_gate();
    return NULL;
}

static void test_held(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            struct kit k = forms[form];
            struct bench b;
            pthread_t thread;
            kit_reset_stage();
            k.pool.cancel_max_rung = PIT_RUNG_FLAG;
            pit *p = open_with(&b, &k, leaves);
            pit_value *v = NULL;
            pthread_create(&thread, NULL, open_later, &b);
            assert_int_equal(call_by(p, loop, "ask", 0, NULL, &v), 0);
            assert_int_equal(number(v), 11);
            pthread_join(thread, NULL);
            assert_int_equal(b.rc, PIT_E_DEADLINE_EXCEEDED);
            pit_close(p);
        }
}

/* The ladder ends what a tool's call has left behind, and so all of it. */
static void test_ladder_kills(void **state)
{
    (void)state;
    for (int loop = 0; loop < 2; loop++) {
        struct kit k = forms[0];
        struct bench b;
        kit_reset_stage();
        k.pool.cancel_grace_ms = 20;
        pit *p = open_with(&b, &k, leaves);
        pit_value *v = NULL;
        assert_int_equal(call_by(p, loop, "ask", 0, NULL, &v), PIT_E_WORKER_KILLED);
        assert_int_equal(b.rc, PIT_E_DEADLINE_EXCEEDED);
        kit_open_gate();
        assert_int_equal(call_by(p, loop, "echo", 3, NULL, &v), 0);
        pit_value_free(v);
        pit_close(p);
    }
}

/* The outer call is over its time, or cancelled, while its tool runs, or while a call of that does. */
static int slow(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)args;
    __atomic_store_n(&b->asked, 1, __ATOMIC_SEQ_CST);
    KIT_AWAIT(pit_tool_cancelled(c));
    b->cancelled = true;
    KIT_AWAIT(!b->loop ||
              __atomic_load_n(&b->over, __ATOMIC_SEQ_CST)); /* else its answer may come before the deadline is noticed */
    *ret = pit_int(1);
    return 0;
}

static int slow_inside(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)args;
    __atomic_store_n(&b->asked, 1, __ATOMIC_SEQ_CST);
    b->rc = pit_callf(b->p, "ask_elsewhere", NULL, NULL, NULL, "[i]", 0);
    b->rc = kit_call(b->p, "sleep", 30000, 0, NULL);
    b->cancelled = pit_tool_cancelled(c);
    *ret = pit_int(1);
    return 0;
}

/* A level more: the innermost call is over first, and what it leaves behind stands above the others. */
static int slow_far_inside(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)args;
    __atomic_store_n(&b->asked, 1, __ATOMIC_SEQ_CST);
    b->rc = pit_tool_depth(c) < 3 ? kit_call(b->p, "ask", 0, 0, NULL) : kit_call(b->p, "sleep", 30000, 0, NULL);
    b->cancelled = pit_tool_cancelled(c);
    *ret = pit_int(1);
    return 0;
}

static void test_outer_deadline(void **state)
{
    (void)state;
    static const pit_tool_fn tools[] = {slow, slow_inside, slow_far_inside};
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++)
            for (int tool = 0; tool < 3; tool++) {
                struct kit_before before = kit_before();
                struct kit k = forms[form];
                struct bench b;
                k.pool.cancel_grace_ms = 50;
                pit *p = open_with(&b, &k, tools[tool]);
                pit_call_options o = PIT_CALL_OPTIONS_INIT;
                pit_value *v = NULL;
                b.loop = loop || k.drive == PIT_DRIVE_HOST;
                for (o.timeout_ms = 100; __atomic_load_n(&b.asked, __ATOMIC_SEQ_CST) == 0;
                     o.timeout_ms *= 4) { /* again, if it was over before the tool was reached */
                    int rc = call_by(p, loop, "ask", 0, &o, &v);
                    if (rc != PIT_E_DEADLINE_EXCEEDED)
                        fail_msg("form %d, %d, %d: %d", form, loop, tool, rc);
                }
                __atomic_store_n(&b.over, true, __ATOMIC_SEQ_CST);
                assert_int_equal(call_by(p, loop, "echo", 3, NULL, &v), 0);
                pit_value_free(v);
                assert_int_equal(pit_close(p), 0);
                assert_true(b.cancelled);
                if (tool != 0)
                    assert_true(b.rc == PIT_E_DEADLINE_EXCEEDED || b.rc == PIT_E_CANCELLED);
                kit_clean(before, "an outer deadline");
            }
}

/* What has been given up before its tool got a thread is not called any more. */
static int held_up(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)c;
    *ret = pit_int(__atomic_add_fetch(&b->asked, 1, __ATOMIC_SEQ_CST));
    KIT_AWAIT(argument(args) != 1 || __atomic_load_n(&b->over, __ATOMIC_SEQ_CST));
    return 0;
}

static void test_given_up_before(void **state)
{
    (void)state;
    enum { CALLS = 6 };
    struct kit k = forms[0];
    struct bench b;
    k.workers = CALLS;
    k.pool.cancel_max_rung = PIT_RUNG_FLAG;
    pit *p = open_with(&b, &k, held_up);
    pit_value *one = pit_pack("[i]", 1), *v = NULL;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_future *f[CALLS];
    for (int i = 0; i < 4; i++) /* as many as there are threads */
        assert_int_equal(pit_submit(p, "ask", one, NULL, &f[i], NULL), 0);
    KIT_AWAIT(__atomic_load_n(&b.asked, __ATOMIC_SEQ_CST) == 4);
    o.timeout_ms = 100;
    for (int i = 4; i < CALLS; i++)
        assert_int_equal(pit_submit(p, "ask", one, &o, &f[i], NULL), 0);
    for (int i = 4; i < CALLS; i++) {
        assert_int_equal(pit_future_wait(f[i], KIT_LIMIT_MS), 0);
        assert_int_equal(pit_future_result(f[i], NULL, NULL), PIT_E_DEADLINE_EXCEEDED);
    }
    __atomic_store_n(&b.over, true, __ATOMIC_SEQ_CST);
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(pit_future_wait(f[i], KIT_LIMIT_MS), 0);
        pit_future_free(f[i]);
    }
    pit_value_free(one);
    for (int i = 0; i < CALLS; i++) { /* behind them: every thread has been there */
        assert_int_equal(call_by(p, true, "ask", 0, NULL, &v), 0);
        assert_int_equal(number(v), 5 + i);
    }
    pit_close(p);
}

static pit_canceller *canceller;

static void *fire(void *arg)
{
    struct bench *b = arg;
    KIT_AWAIT(__atomic_load_n(&b->asked, __ATOMIC_SEQ_CST) != 0);
    pit_canceller_fire(canceller, "enough");
    return NULL;
}

static void test_outer_cancelled(void **state)
{
    (void)state;
    static const pit_tool_fn tools[] = {slow, slow_inside};
    for (int form = 0; form < FORMS; form++)
        for (int tool = 0; tool < 2; tool++) {
            struct kit k = forms[form];
            struct bench b;
            pthread_t thread;
            k.pool.cancel_grace_ms = 50;
            pit *p = open_with(&b, &k, tools[tool]);
            pit_call_options o = PIT_CALL_OPTIONS_INIT;
            pit_value *v = NULL;
            canceller = o.canceller = pit_canceller_new();
            pthread_create(&thread, NULL, fire, &b);
            assert_int_equal(call_by(p, false, "ask", 0, &o, &v), PIT_E_CANCELLED);
            pthread_join(thread, NULL);
            assert_int_equal(call_by(p, false, "echo", 3, NULL, &v), 0);
            pit_value_free(v);
            pit_close(p);
            assert_true(b.cancelled);
            pit_canceller_free(canceller);
        }
}

/* A canceller of the inner call alone. */
static int cancelled_inside(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    (void)c, (void)args;
    o.canceller = canceller;
    __atomic_store_n(&b->asked, 1, __ATOMIC_SEQ_CST);
    b->rc = pit_callf(b->p, "gate", &o, NULL, NULL, "[i]", 1);
    kit_open_gate();
    *ret = pit_int(4);
    return 0;
}

static void test_inner_cancelled(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            if (strcmp(forms[form].channel, "socket") == 0 && !loop)
                continue; /* who waits on a socket learns of it from his worker, and this one does not look */
            kit_reset_stage();
            struct kit k = forms[form];
            struct bench b;
            pthread_t thread;
            k.pool.cancel_max_rung = PIT_RUNG_FLAG;
            pit *p = open_with(&b, &k, cancelled_inside);
            pit_value *v = NULL;
            canceller = pit_canceller_new();
            pthread_create(&thread, NULL, fire, &b);
            assert_int_equal(call_by(p, loop, "ask", 0, NULL, &v), 0);
            assert_int_equal(number(v), 4);
            pthread_join(thread, NULL);
            assert_int_equal(b.rc, PIT_E_CANCELLED);
            pit_close(p);
            pit_canceller_free(canceller);
        }
}

/* ---- hostile ---- */

static void test_hostile(void **state)
{
    (void)state;
    static const char *const misdeeds[] = {"ask_zero",   "ask_twice", "ask_rubbish", "ask_empty",
                                           "ask_result", "ask_other", "ask_flags"};
    for (int form = 0; form < FORMS; form++)
        for (int loop = 0; loop < 2; loop++) {
            struct kit_before before = kit_before();
            struct kit k = forms[form];
            struct bench b;
            k.pool.restart_backoff = PIT_OFF;
            k.pool.max_restarts = 1000;
            pit *p = open_with(&b, &k, nest);
            pit_value *v = NULL;
            for (size_t i = 0; i < sizeof misdeeds / sizeof misdeeds[0]; i++) {
                int rc = call_by(p, loop, misdeeds[i], 0, NULL, &v);
                if (rc != PIT_E_PROTOCOL_ERROR)
                    fail_msg("%s, form %d, %s: %s", misdeeds[i], form, loop ? "loop" : "own thread", pit_error_code_name(rc));
                assert_int_equal(call_by(p, loop, "echo", 3, NULL, &v), 0);
                pit_value_free(v);
            }
            assert_int_equal(call_by(p, loop, "ask_flood", 100000, NULL, &v), PIT_E_PROTOCOL_ERROR);
            assert_int_equal(call_by(p, loop, "echo", 3, NULL, &v), 0);
            pit_value_free(v);
            pit_close(p);
            kit_clean(before, "hostile workers");
        }
}

/* ---- on the loop ---- */

static int on_loop(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    (void)c, (void)args;
    b->thread = pthread_self();
    b->rc = kit_call(b->p, "echo", 1, 0, NULL);
    *ret = pit_int(8);
    return 0;
}

static void test_on_loop(void **state)
{
    (void)state;
    struct bench b;
    pit *p = open_with(&b, &forms[0], on_loop);
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    pit_value *v = NULL;
    o.replace = PIT_ON;
    o.run_on = PIT_RUN_ON_LOOP;
    assert_int_equal(pit_tool_register(p, NULL, "tool", on_loop, &b, &o, NULL), 0);
    assert_int_equal(call_by(p, true, "ask", 0, NULL, &v), 0);
    assert_int_equal(number(v), 8);
    assert_int_equal(b.rc, PIT_E_WRONG_THREAD);
    assert_int_equal(call_by(p, false, "ask", 0, NULL, &v), 0);
    assert_int_equal(number(v), 8);
    assert_true(pthread_equal(b.thread, pthread_self()));
    pit_close(p);
}

/* What wants another lane would wait for itself, where there is none. */
static int batch_inside(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct bench *b = user;
    pit_call_item item = {.command = "echo"};
    pit_call_result result;
    (void)c, (void)args, (void)ret;
    b->rc = pit_call_many(b->p, &item, 1, NULL, &result, NULL);
    pit_call_results_free(&result, 1);
    return 0;
}

static void test_would_deadlock(void **state)
{
    (void)state;
    for (int workers = 1; workers <= 2; workers++)
        for (int loop = 0; loop < 2; loop++) {
            struct kit k = forms[0];
            struct bench b;
            k.workers = workers;
            pit *p = open_with(&b, &k, batch_inside);
            pit_value *v = NULL;
            assert_int_equal(call_by(p, loop, "ask", 0, NULL, &v), 0);
            pit_value_free(v);
            assert_int_equal(b.rc, workers == 1 ? PIT_E_WOULD_DEADLOCK : 0);
            pit_close(p);
        }
}

/* As nest, for many threads at a time. */
static int nest_anywhere(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    const struct bench *b = user;
    int64_t n = argument(args);
    pit_error *e = NULL;
    *ret = pit_int(pit_tool_depth(c));
    if (n <= 0)
        return 0;
    pit_value_free(*ret);
    *ret = NULL;
    return pit_callf(b->p, "ask", NULL, ret, &e, "[I]", n - 1) == 0 ? 0 : pit_tool_fail_take(c, e);
}

/* More calls than threads: each gets its turn. */
static void test_many(void **state)
{
    (void)state;
    struct kit k = forms[0];
    struct bench b;
    enum { CALLS = 200 };
    static pit_call_item items[CALLS];
    static pit_call_result results[CALLS];
    k.workers = 6;
    pit *p = open_with(&b, &k, nest_anywhere);
    pit_value *args = pit_pack("[i]", 2);
    for (int i = 0; i < CALLS; i++)
        items[i] = (pit_call_item){.command = "ask", .args = args};
    assert_int_equal(pit_call_many(p, items, CALLS, NULL, results, NULL), 0);
    for (int i = 0; i < CALLS; i++) {
        int64_t n = 0;
        assert_int_equal(results[i].rc, 0);
        assert_true(pit_value_get_int(results[i].value, &n) && n == 3);
    }
    pit_call_results_free(results, CALLS);
    pit_value_free(args);
    pit_close(p);
}

/* A command that is known to be short calls a tool all at once: what is written ahead of it runs elsewhere, or afterwards, and once. */
static void test_written_ahead(void **state)
{
    (void)state;
    struct bench b;
    enum { CALLS = 3000 };
    static pit_call_item items[CALLS];
    static pit_call_result results[CALLS];
    kit_reset_stage();
    pit *p = open_with(&b, &forms[0], nest_anywhere);
    static pit_value *args[CALLS], *zero;
    zero = pit_pack("[i]", 0);
    for (int i = 0; i < CALLS; i++) {
        args[i] = pit_pack("[i]", i);
        items[i] =
            i % 50 == 49 ? (pit_call_item){.command = "ask", .args = zero} : (pit_call_item){.command = "run", .args = args[i]};
    }
    for (int round = 0; round < 3; round++) {
        assert_int_equal(pit_call_many(p, items, CALLS, NULL, results, NULL), 0);
        for (int i = 0; i < CALLS; i++) {
            assert_int_equal(results[i].rc, 0);
            if (i % 50 != 49)
                assert_int_equal(stage->runs[i], round + 1);
        }
        pit_call_results_free(results, CALLS);
    }
    for (int i = 0; i < CALLS; i++)
        pit_value_free(args[i]);
    pit_value_free(zero);
    pit_close(p);
}

/* ---- memory ---- */

/* The at-th allocation from here on fails: whatever becomes of the call, it is typed, and the next one succeeds. */
static bool fails_at(pit *p, bool loop, const char *command, int64_t n, long at)
{
    pit_value *args = pit_pack("[I]", n), *v = NULL;
    pit_future *f = NULL;
    atomic_store(&kit_allocs, 0);
    atomic_store(&kit_fail_at, at);
    int rc = loop ? pit_submit(p, command, args, NULL, &f, NULL) : pit_call(p, command, args, NULL, &v, NULL);
    if (loop && rc == 0) {
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        rc = pit_future_result(f, &v, NULL);
    }
    atomic_store(&kit_fail_at, 0);
    assert_true(rc == 0 || kit_typed(rc));
    pit_future_free(f);
    pit_value_free(v);
    pit_value_free(args);
    assert_int_equal(kit_call(p, "echo", 1, 0, NULL), 0);
    return rc != 0;
}

static void test_no_memory(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        int64_t n;
        pit_tool_fn fn;
    } rows[] = {{"ask", 2, nest}, {"ask_list", 0, nest}, {"ask_missing", 0, nest}, {"ask_bytes", 300000, echo}};
    enum { MOST = 40 };
    for (int loop = 0; loop < 2; loop++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct kit_before before = kit_before();
            struct kit k = forms[0];
            struct bench b;
            int failed = 0;
            k.pool.restart_backoff = PIT_OFF;
            k.pool.max_restarts = 1000;
            pit *p = open_with(&b, &k, rows[i].fn);
            for (long at = 1; at <= MOST; at++)
                failed += fails_at(p, loop, rows[i].command, rows[i].n, at);
            assert_true(failed > 0);
            pit_close(p);
            kit_clean(before, rows[i].command);
        }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depths),
        cmocka_unit_test(test_inherits),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_inner_deadline),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_ladder_kills),
        cmocka_unit_test(test_outer_deadline),
        cmocka_unit_test(test_given_up_before),
        cmocka_unit_test(test_outer_cancelled),
        cmocka_unit_test(test_inner_cancelled),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_on_loop),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_written_ahead),
        cmocka_unit_test(test_would_deadlock),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
