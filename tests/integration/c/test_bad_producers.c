/* Generators that never yield, yield without end to a reader who has had enough, raise, ignore GeneratorExit, or go on after the final chunk: for each
 * way to read and whoever carries the stream the reader gets what there was and a typed error, and the lane is back, of the same worker. */
#include "integration/c/kit_python.h"

enum { MILLION = 1000000, SOME = 3, IDLE_MS = 50, GRACE_MS = 20 };

static const struct carrier {
    const char *name;
    int channel;
    const char *profile, *scope;
} carriers[] = {{"ring", PIT_CHANNEL_RING, NULL, NULL},
                {"socket", PIT_CHANNEL_SOCKET, NULL, NULL},
                {"thread", PIT_CHANNEL_RING, "thread", NULL},
                {"thread, an instance for each lane", PIT_CHANNEL_RING, "thread", "lane"}};

/* patient: nothing is ended for having been slow. Else what is silent is, soon, and its code gets the exception soon after. */
static pit *open_on(const struct carrier *c, bool patient)
{
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_options o = PIT_OPTIONS_INIT;
    pool.name = "bad";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/bad_producers.py";
    pool.workers = 1;
    pool.channel = c->channel;
    pool.profile = c->profile;
    pool.threads_per_worker = c->profile != NULL ? 1 : 0;
    pool.adapter_scope = c->scope;
    pool.cancel_grace_ms = patient ? KIT_LIMIT_MS : GRACE_MS;
    pool.stream_idle_timeout_ms = patient ? 0 : IDLE_MS;
    pool.restart_backoff = PIT_OFF;
    return kit_open_python(&o, &pool);
}

static int64_t number(pit *p, const char *command, int64_t n)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    int64_t got = -1;
    if (pit_callf(p, command, NULL, &v, &e, n < 0 ? "" : "[I]", n) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_true(pit_value_get_int(v, &got));
    pit_value_free(v);
    return got;
}

/* ---- the ways to read ---- */

struct reading {
    int64_t chunks, halt_at; /* 0: all of it */
    int rc;                  /* 0: it has ended well, or was halted */
    pit_error *error;
};

static int hear(pit_stream_event *ev, void *user)
{
    struct reading *r = user;
    int64_t n = -1;
    if (ev->kind != PIT_STREAM_CHUNK || pit_value_kind(ev->value) == PIT_KIND_MAP) /* made up at the end */
        return 0;
    assert_true(pit_value_get_int(ev->value, &n));
    assert_int_equal(n, r->chunks);
    return ++r->chunks == r->halt_at ? PIT_STREAM_HALT : 0;
}

static void by_callback(pit *p, const char *command, const pit_value *args, struct reading *r)
{
    r->rc = pit_call_stream(p, command, args, NULL, hear, r, NULL, &r->error);
}

static void by_the_loop(pit *p, const char *command, const pit_value *args, struct reading *r)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.canceller = pit_canceller_new();
    r->rc = pit_call_stream(p, command, args, &o, hear, r, NULL, &r->error);
    pit_canceller_free(o.canceller);
}

static void by_future(pit *p, const char *command, const pit_value *args, struct reading *r)
{
    pit_future *f = NULL;
    assert_int_equal(pit_submit_stream(p, command, args, NULL, hear, r, &f, NULL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    r->rc = pit_future_result(f, NULL, &r->error);
    pit_future_free(f);
}

static void at_own_pace(pit *p, const char *command, const pit_value *args, struct reading *r)
{
    pit_stream *s = NULL;
    assert_int_equal(pit_stream_open(p, command, args, NULL, PIT_STREAM_READ, &s, NULL), 0);
    while (r->halt_at == 0 || r->chunks < r->halt_at) {
        pit_value *v = NULL;
        int64_t n = -1;
        r->rc = pit_stream_next(s, KIT_LIMIT_MS, &v, &r->error);
        if (r->rc != 0)
            break;
        assert_true(pit_value_get_int(v, &n));
        assert_int_equal(n, r->chunks++);
        pit_value_free(v);
    }
    r->rc = r->rc == PIT_E_END ? 0 : r->rc;
    pit_stream_close(s);
}

typedef void (*reader)(pit *p, const char *command, const pit_value *args, struct reading *r);
static const reader readers[] = {by_callback, by_the_loop, by_future, at_own_pace};
enum { READERS = sizeof readers / sizeof readers[0] };

/* What the reader has got; the error, if there is one, is the caller's. */
static struct reading read_with(reader how, pit *p, const char *command, int64_t n, int64_t halt_at)
{
    struct reading r = {.halt_at = halt_at};
    pit_value *args = pit_pack("{s:I}", "n", n);
    how(p, command, args, &r);
    pit_value_free(args);
    return r;
}

/* ---- what they do ---- */

static void raises(pit *p, reader how)
{
    static const char *const commands[] = {"raises", "araises"};
    for (int i = 0; i < 2; i++)
        for (int64_t n = 0; n <= SOME; n += SOME) {
            struct reading r = read_with(how, p, commands[i], n, 0);
            assert_int_equal(r.rc, PIT_E_VALUE_ERROR);
            assert_int_equal(r.chunks, n);
            assert_non_null(strstr(pit_error_traceback(r.error), "no more"));
            pit_error_free(r.error);
        }
}

static void has_enough(pit *p, reader how)
{
    static const char *const commands[] = {"count", "acount"};
    for (int i = 0; i < 2; i++) {
        struct reading r = read_with(how, p, commands[i], MILLION, SOME);
        assert_int_equal(r.rc, 0);
        assert_int_equal(r.chunks, SOME);
        assert_int_equal(number(p, "closings", -1), 1);
        pit_error_free(r.error);
    }
}

static void ignores_its_closing(pit *p, reader how)
{
    struct reading r = read_with(how, p, "stubborn", MILLION, SOME);
    assert_int_equal(r.rc, 0);
    assert_true(number(p, "closings", -1) >= 1);
    pit_error_free(r.error);
    r = read_with(how, p, "stubborn", SOME, 0); /* it is no worse than others where nobody stops it */
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.chunks, SOME);
}

static void goes_on(pit *p, reader how)
{
    struct reading r = read_with(how, p, "goes_on", SOME, 0);
    assert_int_equal(r.rc, PIT_E_RUNTIME_ERROR);
    assert_int_equal(r.chunks, SOME);
    assert_non_null(strstr(pit_error_message(r.error), "after the final one"));
    pit_error_free(r.error);
}

static void never_yields(pit *p, reader how)
{
    static const char *const commands[] = {"never", "anever"};
    for (int i = 0; i < 2; i++) {
        struct reading r = read_with(how, p, commands[i], 0, 0);
        assert_int_equal(r.rc, PIT_E_DEADLINE_EXCEEDED);
        assert_int_equal(r.chunks, 0);
        assert_string_equal(pit_value_str_or(pit_value_get(pit_error_details(r.error), "phase"), ""), "idle");
        pit_error_free(r.error);
        assert_int_equal(number(p, "same", 5), 5);
    }
}

static void test_lanes_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof carriers / sizeof carriers[0]; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(&carriers[i], true);
        pid_t pid = kit_worker(p, 0);
        for (int j = 0; j < READERS; j++) {
            raises(p, readers[j]);
            has_enough(p, readers[j]);
            ignores_its_closing(p, readers[j]);
            goes_on(p, readers[j]);
            assert_int_equal(number(p, "same", j), j);
        }
        assert_int_equal(kit_worker(p, 0), pid);
        assert_int_equal(kit_stats(p).busy, 0);
        assert_int_equal(pit_close(p), 0);
        kit_clean(before, carriers[i].name);
    }
}

static void test_silence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof carriers / sizeof carriers[0]; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(&carriers[i], false);
        for (int j = 0; j < READERS; j++)
            never_yields(p, readers[j]);
        assert_int_equal(kit_stats(p).busy, 0);
        assert_int_equal(pit_close(p), 0);
        kit_clean(before, carriers[i].name);
    }
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lanes_come_back), cmocka_unit_test(test_silence)};
    return cmocka_run_group_tests_name("integration.bad_producers", tests, NULL, NULL);
}
