/* Streams that end, or whose workers do, while nobody reads; and those for which there is no memory. */
#include "integration/c/stream_kit.h"

static int kill_and_halt(pit_stream_event *ev, void *user)
{
    pit *p = user;
    if (ev->kind != PIT_STREAM_CHUNK)
        return 0;
    pid_t pid = kit_worker(p, 0);
    kill(pid, SIGKILL);
    KIT_AWAIT(kit_worker(p, 0) != pid && kit_worker(p, 0) != 0); /* its end has been judged meanwhile */
    return PIT_STREAM_HALT;
}

static void test_a_worker_dies_while_its_reader_is_elsewhere(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pit_stream *s = open_stream(p, "dies", FEW, PIT_STREAM_READ);
        pid_t pid = kit_worker(p, 0);
        assert_int_equal(next_number(s), 0);
        KIT_AWAIT(kit_worker(p, 0) != pid && kit_worker(p, 0) != 0);
        for (int64_t n = 1; n < FEW; n++)
            assert_int_equal(next_number(s), n);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_WORKER_CRASH);
        pit_stream_close(s);

        for (int round = 0; round < 20; round++) { /* who only looks now and then */
            int rc;
            s = open_stream(p, "dies", round, PIT_STREAM_READ);
            do
                rc = pit_stream_next(s, round % 2, NULL, NULL);
            while (rc == 0 || rc == PIT_E_PENDING);
            assert_int_equal(rc, PIT_E_WORKER_CRASH);
            pit_stream_close(s);
        }
        assert_int_equal(pit_call_stream(p, "endless", NULL, NULL, kill_and_halt, p, NULL, NULL), 0);
        s = open_stream(p, "endless", 0, PIT_STREAM_READ);
        assert_int_equal(next_number(s), 0);
        kill(kit_worker(p, 0), SIGKILL);
        pit_stream_close(s);
        serves(p, 0);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static int slowly(pit_stream_event *ev, void *user)
{
    ++*(int *)user;
    if (ev->kind == PIT_STREAM_CHUNK)
        poll(NULL, 0, 1); /* allow-sleep: it is slow */
    return 0;
}

static void test_a_deadline_holds_although_there_is_always_something_to_read(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        int told = 0;
        o.timeout_ms = 200;
        assert_int_equal(pit_call_stream(p, "endless", NULL, &o, slowly, &told, NULL, NULL), PIT_E_DEADLINE_EXCEEDED);
        assert_true(told > 1);
        serves(p, 0);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static void test_a_stream_that_has_ended_keeps_no_worker(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.channel = channels[i];
        k.pool.stream_idle_timeout_ms = AWAY_MS / 2;
        pit *p = kit_open(&k);
        pit_stream *s = open_stream(p, "count", FEW, PIT_STREAM_READ);
        assert_int_equal(next_number(s), 0);
        serves(p, kit_worker(p, 0)); /* the only one */
        poll(NULL, 0, AWAY_MS);      /* allow-sleep: it is not the stream that is silent */
        for (int64_t n = 1; n < FEW; n++)
            assert_int_equal(next_number(s), n);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
        pit_stream_close(s);

        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        o.cancel_max_rung = PIT_RUNG_DROP; /* a producer that nobody reads is asked to end all the same */
        assert_int_equal(pit_stream_open(p, "endless", NULL, &o, 0, &s, NULL), 0);
        assert_int_equal(next_number(s), 0);
        pit_stream_close(s);
        serves(p, 0);

        s = open_stream(p, "count", FEW, PIT_STREAM_READ);
        assert_int_equal(next_number(s), 0);
        pit_close(p); /* does not wait for who reads no more */
        for (int64_t n = 1; n < FEW; n++)
            assert_int_equal(next_number(s), n);
        assert_int_equal(pit_stream_next(s, 0, NULL, NULL), PIT_E_END);
        pit_stream_close(s);
        kit_clean(before, channels[i]);
    }
}

/* A stream of each form, with the k-th allocation of it failing: how it ends is typed, and the next one is fine. */
static int one_of_each(pit *p)
{
    struct heard h = {0};
    pit_stream *s = NULL;
    pit_future *f = NULL;
    pit_value *args = pit_pack("[i]", FEW), *v = pit_int(1);
    int rc = pit_call_stream(p, "count", args, NULL, hear, &h, NULL, NULL);
    forget(&h);
    if (rc == 0) {
        h = (struct heard){0};
        rc = pit_submit_stream(p, "count", args, NULL, hear, &h, &f, NULL);
    }
    if (rc == 0 && (rc = pit_future_wait(f, KIT_LIMIT_MS)) == 0)
        rc = pit_future_result(f, NULL, NULL);
    pit_future_free(f);
    if (f != NULL)
        forget(&h);
    if (rc == 0)
        rc = pit_stream_open(p, "talk", NULL, NULL, PIT_STREAM_BIDI, &s, NULL);
    for (int i = 0; i < FEW && rc == 0; i++) {
        rc = pit_stream_send(s, v, KIT_LIMIT_MS, NULL);
        if (rc == 0)
            rc = pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL);
    }
    pit_stream_close(s);
    pit_value_free(args);
    pit_value_free(v);
    return rc;
}

static void test_any_allocation_may_fail(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    long k = 0, failed = 0;
    for (int i = 0; i < 2; i++) {
        pit *p = open_on(channels[i]);
        for (k = 1;; k++) {
            atomic_store(&kit_allocs, 0);
            atomic_store(&kit_fail_at, k);
            int rc = one_of_each(p);
            bool reached = atomic_load(&kit_allocs) >= k;
            atomic_store(&kit_fail_at, 0);
            assert_true(rc == 0 || kit_typed(rc));
            failed += rc != 0;
            if (!reached)
                break;
            assert_int_equal(kit_call(p, "echo", 7, KIT_LIMIT_MS, NULL), 0);
        }
        pit_close(p);
    }
    print_message("%ld allocations of streams, %ld of them fatal to theirs\n", k - 1, failed);
    kit_clean(before, "allocations");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_dies_while_its_reader_is_elsewhere),
        cmocka_unit_test(test_a_deadline_holds_although_there_is_always_something_to_read),
        cmocka_unit_test(test_a_stream_that_has_ended_keeps_no_worker),
        cmocka_unit_test(test_any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
