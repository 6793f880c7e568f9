/* Streams, from the API to workers written in C: order, the end, back-pressure, the inbox, stopping, dying, and workers that lie. */
#include "integration/c/stream_kit.h"

static void test_chunks_come_in_order_and_then_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        for (int64_t n = 0; n <= MANY; n += MANY / 2) {
            struct heard h = {0};
            pit_value *final = NULL;
            int64_t result = -1;
            uint64_t sent = 0;
            assert_int_equal(stream(p, "count", n, &h, &final, NULL), 0);
            assert_true(pit_value_get_int(final, &result));
            assert_int_equal(result, n);
            assert_int_equal(h.chunks, n);
            assert_int_equal(h.out_of_order, 0);
            assert_int_equal(h.ends, 1);
            assert_int_equal(h.errors, 0);
            assert_int_equal(h.finals, 1);
            assert_true(pit_value_get_uint(pit_value_get(h.last, "chunks_sent"), &sent) && sent == (uint64_t)n);
            assert_true(pthread_equal(h.thread, pthread_self()));
            pit_value_free(final);
            forget(&h);
        }
        struct heard h = {0};
        assert_int_equal(stream(p, "marked", 0, &h, NULL, NULL), 0);
        assert_string_equal(pit_value_str(h.last), "last");
        assert_non_null(pit_value_get(h.metadata, "part"));
        assert_int_equal(h.finals, 1); /* none was made up */
        forget(&h);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static int refuse(pit_stream_event *ev, void *user)
{
    ++*(int *)user;
    return pit_stream_event_fail(ev, "chunk %d is no good", (int)ev->index);
}

static void test_a_callback_may_stop_it(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pid_t pid = kit_worker(p, 0);
        pit_error *e = NULL;
        pit_value *final = NULL;
        struct heard h = {.halt_at = FEW, .answer = PIT_STREAM_HALT};
        assert_int_equal(stream(p, "endless", 0, &h, &final, &e), 0);
        assert_null(e);
        assert_int_equal(pit_value_kind(final), PIT_KIND_NIL);
        assert_int_equal(h.chunks, FEW);
        assert_int_equal(h.ends + h.errors, 0);
        pit_value_free(final);
        forget(&h);
        serves(p, pid);

        int told = 0;
        assert_int_equal(pit_call_stream(p, "endless", NULL, NULL, refuse, &told, NULL, &e), PIT_E_CALLBACK_FAILED);
        assert_string_equal(pit_error_message(e), "chunk 0 is no good");
        assert_int_equal(told, 1);
        pit_error_free(e);

        struct heard odd = {.halt_at = 1, .answer = 42};
        assert_int_equal(stream(p, "endless", 0, &odd, NULL, &e), PIT_E_CALLBACK_FAILED);
        assert_non_null(strstr(pit_error_message(e), "42"));
        pit_error_free(e);
        forget(&odd);
        serves(p, pid);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static void test_errors_come_as_the_last_event(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pit_error *e = NULL;
        struct heard h = {0};
        assert_int_equal(stream(p, "fails", 0, &h, NULL, &e), PIT_E_VALUE_ERROR);
        assert_int_equal(h.chunks, 1);
        assert_int_equal(h.errors, 1);
        assert_int_equal(h.code, PIT_E_VALUE_ERROR);
        assert_int_equal(h.finals, 0);
        pit_error_free(e);
        forget(&h);

        struct heard dead = {0}; /* chunks that were sent before the end are heard of */
        assert_int_equal(stream(p, "dies", FEW, &dead, NULL, &e), PIT_E_WORKER_CRASH);
        assert_int_equal(dead.chunks, FEW);
        assert_int_equal(dead.code, PIT_E_WORKER_CRASH);
        pit_error_free(e);
        forget(&dead);
        serves(p, 0);

        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        struct heard late = {0};
        o.timeout_ms = 100;
        assert_int_equal(pit_call_stream(p, "silent", NULL, &o, hear, &late, NULL, NULL), PIT_E_DEADLINE_EXCEEDED);
        assert_int_equal(late.code, PIT_E_DEADLINE_EXCEEDED);
        serves(p, 0);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static void test_a_future_is_told_on_the_loop(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_on("ring");
    pit_value *args = pit_pack("[i]", MANY), *final = NULL;
    pit_future *f = NULL;
    struct heard h = {0};
    assert_int_equal(pit_submit_stream(p, "count", args, NULL, hear, &h, &f, NULL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(h.ends, 1); /* before the future has its outcome */
    assert_int_equal(h.chunks, MANY);
    assert_int_equal(h.out_of_order, 0);
    assert_false(pthread_equal(h.thread, pthread_self()));
    assert_int_equal(pit_future_result(f, &final, NULL), 0);
    pit_value_free(final);
    pit_future_free(f);
    forget(&h);

    struct heard stopped = {.halt_at = FEW, .answer = PIT_STREAM_HALT};
    assert_int_equal(pit_submit_stream(p, "endless", NULL, NULL, hear, &stopped, &f, NULL), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(pit_future_result(f, NULL, NULL), 0);
    assert_int_equal(stopped.chunks, FEW);
    pit_future_free(f);
    forget(&stopped);

    struct heard cut = {0};
    assert_int_equal(pit_submit_stream(p, "silent", NULL, NULL, hear, &cut, &f, NULL), 0);
    assert_int_equal(pit_future_cancel(f, "enough"), 0);
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    assert_int_equal(cut.code, PIT_E_CANCELLED);
    pit_future_free(f);
    pit_value_free(args);
    serves(p, 0);
    pit_close(p);
    kit_clean(before, "future");
}

/* ---- as an object ---- */

static void test_a_stream_is_read_at_its_readers_pace(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pit_stream *s = open_stream(p, "count", MANY, PIT_STREAM_READ);
        int64_t result = 0;
        for (int64_t n = 0; n < MANY; n++)
            assert_int_equal(next_number(s), n);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
        assert_int_equal(pit_stream_next(s, 0, NULL, NULL), PIT_E_END);
        assert_true(pit_value_get_int(pit_stream_result(s), &result) && result == MANY);
        assert_int_equal(pit_stream_send(s, NULL, 0, NULL), PIT_E_INVALID_REQUEST);
        pit_stream_close(s);

        s = open_stream(p, "silent", 0, PIT_STREAM_READ);
        assert_int_equal(pit_stream_next(s, 0, NULL, NULL), PIT_E_PENDING);
        assert_int_equal(pit_stream_next(s, 20, NULL, NULL), PIT_E_PENDING);
        assert_null(pit_stream_result(s));
        pit_stream_close(s); /* it runs still */
        serves(p, 0);

        s = open_stream(p, "endless", 0, PIT_STREAM_READ);
        assert_int_equal(next_number(s), 0);
        pit_close(p); /* before the stream */
        int rc;
        while ((rc = pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL)) == 0)
            continue;
        assert_true(rc != PIT_E_END && kit_typed(rc));
        assert_int_equal(pit_stream_next(s, 0, NULL, NULL), rc);
        pit_stream_close(s);
        pit_stream_close(NULL);
        kit_clean(before, channels[i]);
    }
}

/* How far the worker has come, once it comes no further. */
static unsigned settles(void)
{
    unsigned last = 0, same = 0;
    while (same < 50) {
        unsigned now = atomic_load(&stage->runs[0]);
        same = now == last && now != 0 ? same + 1 : 0;
        last = now;
        poll(NULL, 0, 1); /* allow-sleep: between two looks */
    }
    return last;
}

/* What a callback hears of a chunk beside its value can be asked for. */
static void test_what_else_is_said_of_a_chunk(void **state)
{
    (void)state;
    assert_null(pit_stream_chunk(NULL));
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pit_stream *s = open_stream(p, "count", FEW, PIT_STREAM_READ);
        assert_null(pit_stream_chunk(s));
        for (int n = 0; n < FEW; n++) {
            assert_int_equal(next_number(s), n);
            const pit_stream_event *said = pit_stream_chunk(s);
            assert_true(said->size == sizeof *said && said->kind == PIT_STREAM_CHUNK && said->index == (uint64_t)n);
            assert_true(said->is_final == 0 && said->value == NULL && said->metadata == NULL && said->error == NULL);
        }
        pit_stream_close(s);
        s = open_stream(p, "marked", 0, PIT_STREAM_READ);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), 0);
        for (int n = 0; n < 2; n++) { /* also at the end */
            int64_t part = 0;
            assert_int_equal(pit_stream_chunk(s)->is_final, 1);
            assert_true(pit_value_get_int(pit_value_get(pit_stream_chunk(s)->metadata, "part"), &part) && part == 1);
            assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
        }
        pit_stream_close(s);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static void test_a_producer_is_no_further_ahead_than_the_window(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        kit_reset_stage();
        struct kit k = KIT_INIT;
        k.channel = channels[i];
        k.pool.stream_window = FEW;
        pit *p = kit_open(&k);
        pit_stream *s = open_stream(p, "endless", 0, PIT_STREAM_READ);
        KIT_AWAIT(atomic_load(&stage->runs[0]) >= FEW);
        assert_int_equal(settles(), FEW);
        for (int64_t n = 0; n < FEW; n++)
            assert_int_equal(next_number(s), n);
        KIT_AWAIT(atomic_load(&stage->runs[0]) >= 2 * FEW - FEW / 2);
        assert_true(settles() <= 2 * FEW);
        pit_stream_close(s);

        atomic_store(&stage->runs[0], 0);
        pit_stream *big = NULL;
        pit_value *args = pit_pack("[i]", 300000);
        pit_close(p);
        k.pool.stream_window = 0;
        k.pool.stream_window_bytes = 500000;
        p = kit_open(&k);
        assert_int_equal(pit_stream_open(p, "big", args, NULL, 0, &big, NULL), 0);
        for (int n = 0; n < 8; n++) {
            assert_int_equal(pit_stream_next(big, KIT_LIMIT_MS, NULL, NULL), 0);
            assert_true(settles() <= (unsigned)n + 3); /* the second of two may begin with little credit left */
        }
        assert_int_equal(pit_stream_next(big, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
        pit_stream_close(big);
        pit_value_free(args);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static void *send_all(void *arg)
{
    pit_stream *s = arg;
    for (int64_t n = 0; n < 10 * MANY; n++) {
        pit_value *v = pit_int(n);
        if (pit_stream_send(s, v, KIT_LIMIT_MS, NULL) != 0)
            abort();
        pit_value_free(v);
    }
    if (pit_stream_send_end(s) != 0 || pit_stream_send_end(s) != 0)
        abort();
    return NULL;
}

static void test_values_go_to_the_inbox_while_chunks_come(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        pit_stream *s = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
        for (int64_t n = 0; n < FEW; n++) {
            pit_value *v = pit_int(n);
            assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
            pit_value_free(v);
            assert_int_equal(next_number(s), n);
        }
        pit_stream_send_end(s);
        pit_error *e = NULL;
        assert_int_equal(pit_stream_send(s, NULL, 0, &e), PIT_E_INVALID_REQUEST);
        pit_error_free(e);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
        assert_int_equal(pit_stream_send_end(s), 0);
        pit_stream_close(s);

        pthread_t sender;
        s = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
        pthread_create(&sender, NULL, send_all, s);
        for (int64_t n = 0; n < 10 * MANY; n++)
            assert_int_equal(next_number(s), n);
        assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
        pthread_join(sender, NULL);
        pit_stream_close(s);

        char *block = calloc(1, 3000000); /* longer than the ring and the socket's buffer */
        s = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
        for (int n = 0; n < 3; n++) {
            pit_value *v = pit_bytes(block, 3000000), *back = NULL;
            assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
            assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, &back, NULL), 0);
            assert_true(pit_value_equal(v, back));
            pit_value_free(v);
            pit_value_free(back);
        }
        pit_stream_close(s);
        free(block);
        serves(p, 0);
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static void test_an_inbox_that_nobody_reads_is_full(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.stream_window = FEW;
    pit *p = kit_open(&k);
    pit_stream *s = open_stream(p, "deaf", 0, PIT_STREAM_BIDI);
    assert_int_equal(next_number(s), 0);
    pit_value *v = pit_int(1);
    for (int n = 0; n < FEW; n++)
        assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(pit_stream_send(s, v, 20, NULL), PIT_E_PENDING);
    assert_int_equal(pit_stream_send(s, v, 0, NULL), PIT_E_PENDING);
    pit_value_free(v);
    pit_stream_close(s);
    serves(p, 0);
    pit_close(p);
    kit_clean(before, "full");
}

static void test_a_silent_producer_is_ended(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.pool.stream_idle_timeout_ms = 50;
    pit *p = kit_open(&k);
    pit_error *e = NULL;
    struct heard h = {0};
    assert_int_equal(stream(p, "silent", 0, &h, NULL, &e), PIT_E_DEADLINE_EXCEEDED);
    assert_string_equal(pit_value_str_or(pit_value_get(pit_error_details(e), "phase"), ""), "idle");
    pit_error_free(e);

    pit_close(p);

    /* one whose reader takes his time is not silent of its own will */
    k.pool.stream_idle_timeout_ms = AWAY_MS / 2;
    p = kit_open(&k);
    pit_stream *s = open_stream(p, "count", MANY, PIT_STREAM_READ);
    for (int64_t n = 0; n < MANY; n++) {
        if (n == 0)
            assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), 0),
                poll(NULL, 0, AWAY_MS); /* allow-sleep: it is slow */
        else
            assert_int_equal(next_number(s), n);
    }
    assert_int_equal(pit_stream_next(s, KIT_LIMIT_MS, NULL, NULL), PIT_E_END);
    pit_stream_close(s);
    pit_close(p);
    kit_clean(before, "silent");
}

static void test_streams_wait_in_the_queue_like_calls(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_on("ring");
    pit_stream *first = open_stream(p, "count", MANY, PIT_STREAM_READ);
    pit_stream *second = open_stream(p, "count", 1, PIT_STREAM_READ), *third = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
    assert_int_equal(kit_stats(p).queued, 2);
    pit_stream_close(first);
    assert_int_equal(next_number(second), 0);
    pit_value *v = pit_int(5);
    assert_int_equal(pit_stream_send(third, v, KIT_LIMIT_MS, NULL), 0);
    pit_value_free(v);
    assert_int_equal(next_number(third), 5);
    pit_stream_close(second);
    pit_stream_close(third);

    pit_canceller *c = pit_canceller_new();
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.canceller = c;
    assert_int_equal(pit_stream_open(p, "endless", NULL, &o, 0, &first, NULL), 0);
    pit_canceller_fire(c, "over");
    int rc;
    while ((rc = pit_stream_next(first, KIT_LIMIT_MS, NULL, NULL)) == 0)
        continue;
    assert_int_equal(rc, PIT_E_CANCELLED);
    pit_stream_close(first);
    pit_canceller_free(c);
    serves(p, 0);
    pit_close(p);
    kit_clean(before, "queue");
}

static void test_a_worker_that_lies_costs_its_stream(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        pit *p = open_on(channels[i]);
        for (int64_t which = 1; which <= 8; which++) {
            pit_error *e = NULL;
            pit_stream *s = open_stream(p, "lie", which, PIT_STREAM_READ);
            int rc;
            while ((rc = pit_stream_next(s, KIT_LIMIT_MS, NULL, &e)) == 0)
                continue;
            int expected = which == 3 ? PIT_E_DESERIALIZATION_FAILED : PIT_E_PROTOCOL_ERROR;
            if (rc != expected)
                fail_msg("lie %d on %s: %s", (int)which, channels[i], pit_error_string(e));
            pit_error_free(e);
            pit_stream_close(s);
            serves(p, 0);
        }
        pit_close(p);
        kit_clean(before, channels[i]);
    }
}

static atomic_int opened, messages_in, messages_out, halted, closed, closed_badly;

static int count_event(const pit_event *ev, void *user)
{
    (void)user;
    const char *name = pit_event_name(ev), *direction = pit_event_text(ev, "direction");
    double n = 0;
    assert_non_null(pit_event_text(ev, "command"));
    if (strstr(name, "opened") != NULL)
        opened++;
    if (strstr(name, "message") != NULL)
        strcmp(direction, "in") == 0 ? messages_in++ : messages_out++;
    if (strstr(name, "halted") != NULL)
        halted++;
    if (strstr(name, "closed") != NULL) {
        assert_true(pit_event_number(ev, "messages", &n));
        strcmp(pit_event_text(ev, "reason"), "ok") == 0 ? closed++ : closed_badly++;
    }
    return 0;
}

static void test_events_tell_of_it(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_on("ring");
    assert_int_equal(pit_telemetry_attach(p, "snakepit.stream.*", count_event, NULL, NULL, NULL), 0);
    struct heard h = {0}, failed = {0};
    assert_int_equal(stream(p, "count", FEW, &h, NULL, NULL), 0);
    assert_int_equal(stream(p, "fails", 0, &failed, NULL, NULL), PIT_E_VALUE_ERROR);
    struct heard stopped = {.halt_at = FEW, .answer = PIT_STREAM_HALT};
    assert_int_equal(stream(p, "endless", 0, &stopped, NULL, NULL), 0);
    pit_stream *s = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
    pit_value *v = pit_int(0);
    assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(next_number(s), 0);
    pit_value_free(v);
    pit_stream_close(s);
    pit_close(p);
    assert_int_equal(opened, 4);
    assert_true(messages_in >= 2 * FEW + 2);
    assert_int_equal(messages_out, 1);
    assert_int_equal(halted, 1);
    assert_int_equal(closed, 2);
    assert_int_equal(closed_badly, 2);
    forget(&h);
    forget(&failed);
    forget(&stopped);
    kit_clean(before, "events");
}

static void test_what_is_wrong_is_refused(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_on("ring");
    pit_stream *s = NULL;
    pit_future *f = NULL;
    assert_int_equal(pit_call_stream(p, "count", NULL, NULL, NULL, NULL, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_submit_stream(p, "count", NULL, NULL, NULL, NULL, &f, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_stream_open(p, "count", NULL, NULL, 2, &s, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_stream_open(p, "count", NULL, NULL, 0, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_stream_open(p, "", NULL, NULL, 0, &s, NULL), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_stream_open(NULL, "count", NULL, NULL, 0, &s, NULL), PIT_E_INVALID_REQUEST);
    assert_int_equal(pit_stream_next(NULL, 0, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_stream_send(NULL, NULL, 0, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_stream_send_end(NULL), PIT_E_INVALID_PARAMETER);
    assert_null(pit_stream_result(NULL));
    s = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
    pit_error *e = NULL;
    pit_value *bad = pit_str("\xff");
    assert_int_equal(pit_stream_send(s, bad, KIT_LIMIT_MS, &e), PIT_E_INVALID_UTF8);
    pit_value_free(bad);
    pit_error_free(e);
    assert_int_equal(pit_stream_next(s, -7, NULL, NULL), PIT_E_INVALID_PARAMETER);
    pit_stream_close(s);
    pit_close(p);
    kit_clean(before, "refused");
}

/* A program with its own loop: the stream's callback runs in pit_dispatch(), and what waits drives the loop. */
static void test_a_host_that_drives(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    k.drive = PIT_DRIVE_HOST;
    pit *p = kit_open(&k);
    struct heard h = {0}, told = {0};
    assert_int_equal(stream(p, "count", MANY, &h, NULL, NULL), 0);
    assert_int_equal(h.chunks, MANY);
    pit_future *f = NULL;
    pit_value *args = pit_pack("[i]", MANY);
    assert_int_equal(pit_submit_stream(p, "count", args, NULL, hear, &told, &f, NULL), 0);
    while (pit_future_result(f, NULL, NULL) == PIT_E_PENDING) {
        struct pollfd fd = {pit_fd(p), POLLIN, 0};
        poll(&fd, 1, pit_timeout(p));
        pit_dispatch(p);
    }
    assert_int_equal(told.ends, 1);
    assert_int_equal(told.chunks, MANY);
    pit_future_free(f);
    pit_stream *s = open_stream(p, "talk", 0, PIT_STREAM_BIDI);
    for (int64_t n = 0; n < MANY; n++) {
        pit_value *v = pit_int(n);
        assert_int_equal(pit_stream_send(s, v, KIT_LIMIT_MS, NULL), 0);
        pit_value_free(v);
        assert_int_equal(next_number(s), n);
    }
    pit_stream_close(s);
    pit_value_free(args);
    forget(&h);
    forget(&told);
    pit_close(p);
    kit_clean(before, "driven");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_come_in_order_and_then_the_end),
        cmocka_unit_test(test_a_callback_may_stop_it),
        cmocka_unit_test(test_errors_come_as_the_last_event),
        cmocka_unit_test(test_a_future_is_told_on_the_loop),
        cmocka_unit_test(test_a_stream_is_read_at_its_readers_pace),
        cmocka_unit_test(test_what_else_is_said_of_a_chunk),
        cmocka_unit_test(test_a_producer_is_no_further_ahead_than_the_window),
        cmocka_unit_test(test_values_go_to_the_inbox_while_chunks_come),
        cmocka_unit_test(test_an_inbox_that_nobody_reads_is_full),
        cmocka_unit_test(test_a_silent_producer_is_ended),
        cmocka_unit_test(test_streams_wait_in_the_queue_like_calls),
        cmocka_unit_test(test_a_worker_that_lies_costs_its_stream),
        cmocka_unit_test(test_events_tell_of_it),
        cmocka_unit_test(test_what_is_wrong_is_refused),
        cmocka_unit_test(test_a_host_that_drives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
