/* A call's frame, states and outcome; lanes, their owners and claims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring/segment.h"
#include "worker/call.h"
#include "worker/lane.h"

static struct call *fresh(struct call *c)
{
    memset(c, 0, offsetof(struct call, small));
    c->command = "add";
    c->state = CALL_NEW;
    return c;
}

static void encode(struct call *c, const pit_value *args, size_t max)
{
    struct call_args a = {.value = args};
    assert_null(call_encode(c, &a, max));
}

static void test_frame_says_what_was_asked(void **state)
{
    (void)state;
    struct call c;
    struct frame f;
    const uint8_t *text;
    size_t n;
    fresh(&c)->session_id = "s1";
    c.correlation_id = "req-7";
    c.deadline_ns = 5000;
    pit_value *args = pit_pack("{s:i}", "x", 1);
    encode(&c, args, 4096);
    call_seal(&c, 42, 1000);
    assert_int_equal(frame_parse(c.frame.data, c.frame.len, &f), 0);
    assert_int_equal(f.kind, FRAME_CALL);
    assert_int_equal(f.id, 42);
    assert_int_equal(f.stamp, 5000);
    assert_true(frame_field(&f, FIELD_SESSION, &text, &n));
    assert_memory_equal(text, "s1", n);
    assert_true(frame_field(&f, FIELD_CORRELATION, &text, &n));
    assert_memory_equal(text, "req-7", n);
    assert_memory_equal(f.payload,
                        "\xa3"
                        "add",
                        4);
    pit_value_free(args);
    call_clear(&c);
}

static void test_worker_is_told_an_earlier_deadline_when_there_is_time(void **state)
{
    (void)state;
    struct call c;
    struct frame f;
    const uint64_t second = 1000000000;
    static const struct {
        uint64_t left, told;
    } rows[] = {{1000000000, 1000000000}, {2000000000, 2000000000}, {10000000000, 9800000000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fresh(&c)->deadline_ns = 7 * second + rows[i].left;
        encode(&c, NULL, 4096);
        call_seal(&c, 1, 7 * second);
        assert_int_equal(frame_parse(c.frame.data, c.frame.len, &f), 0);
        assert_int_equal(f.stamp, 7 * second + rows[i].told);
        call_clear(&c);
    }
    fresh(&c)->deadline_ns = UINT64_MAX;
    encode(&c, NULL, 4096);
    call_seal(&c, 1, 7 * second);
    assert_int_equal(frame_parse(c.frame.data, c.frame.len, &f), 0);
    assert_int_equal(f.stamp, 0);
    call_clear(&c);
}

static void test_too_large_and_not_encodable(void **state)
{
    (void)state;
    static char big[9000];
    struct call c;
    pit_value *bytes = pit_bytes(big, sizeof big), *bad = pit_pack("{s:[i,s]}", "a", 1, "\xff");
    struct call_args a = {.value = bytes};
    pit_error *e = call_encode(fresh(&c), &a, 8192);
    assert_int_equal(pit_error_code(e), PIT_E_LIMIT_EXCEEDED);
    pit_error_free(e);
    call_clear(&c);
    encode(fresh(&c), bytes, 16384);
    assert_false(c.frame.borrowed); /* it has outgrown the buffer on the stack */
    call_clear(&c);
    a.value = bad;
    e = call_encode(fresh(&c), &a, 8192);
    assert_int_equal(pit_error_code(e), PIT_E_INVALID_UTF8);
    assert_non_null(pit_value_get(pit_error_details(e), "key"));
    assert_null(pit_value_get(pit_error_details(e), "reason")); /* the code says it */
    pit_error_free(e);
    call_clear(&c);
    pit_value *set = pit_set(0);
    pit_list_append_take(set, pit_list());
    a.value = set;
    e = call_encode(fresh(&c), &a, 8192);
    assert_int_equal(pit_error_code(e), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "reason")), "encode_failed");
    assert_non_null(strstr(pit_error_string(e), "an item of a set cannot be hashed"));
    assert_null(strstr(pit_error_string(e), "key:")); /* nothing to tell of the whole */
    pit_error_free(e);
    call_clear(&c);
    pit_value_free(set);
    pit_value_free(bytes);
    pit_value_free(bad);
}

static void test_states_and_the_one_outcome(void **state)
{
    (void)state;
    struct call c;
    fresh(&c);
    assert_false(call_move(&c, CALL_NEW));
    assert_true(call_move(&c, CALL_QUEUED));
    assert_true(call_move(&c, CALL_SENT));
    assert_true(call_move(&c, CALL_QUEUED)); /* its worker died before it had started */
    assert_true(call_move(&c, CALL_SENT));
    assert_true(call_finish(&c, (struct outcome){.value = pit_int(1)}));
    assert_false(call_finish(&c, (struct outcome){.rc = PIT_E_CANCELLED, .error = error_new(PIT_E_CANCELLED, "late")}));
    assert_int_equal(c.outcome.rc, 0);
    assert_false(call_move(&c, CALL_SENT));
    call_clear(&c);
}

static void test_correlation_ids(void **state)
{
    (void)state;
    struct call c;
    fresh(&c)->sequence = 0x123456789abcdef0;
    assert_string_equal(call_correlation(&c, 0xfeedbeef), "sp-feedbeef123456789abcdef0");
    c.correlation_id = "mine";
    assert_string_equal(call_correlation(&c, 1), "mine");
}

/* What the frame says with the id is what it said without. */
static void carries_its_id(const char *session, size_t n_args)
{
    struct call c;
    struct frame before, after;
    const uint8_t *text;
    size_t n;
    char *long_text = malloc(n_args + 1);
    memset(long_text, 'a', n_args);
    long_text[n_args] = '\0';
    pit_value *args = pit_pack("{s:s}", "x", long_text);
    fresh(&c)->observed = true;
    c.session_id = session;
    encode(&c, args, n_args + 4096);
    size_t size = c.frame.len, cap = c.frame.cap;
    uint8_t *copy = malloc(size);
    memcpy(copy, c.frame.data, size);
    assert_int_equal(frame_parse(copy, size, &before), 0);
    call_put_id(c.id, 0xfeedbeef, 7);
    call_carry_id(&c);
    assert_int_equal(c.frame.cap, cap); /* in the room that was kept */
    assert_string_equal(c.correlation_id, "sp-feedbeef0000000000000007");
    call_seal(&c, 42, 1000);
    assert_int_equal(frame_parse(c.frame.data, c.frame.len, &after), 0);
    assert_int_equal(after.id, 42);
    assert_int_equal(after.flags, before.flags | FRAME_FIELDS);
    assert_true(frame_field(&after, FIELD_CORRELATION, &text, &n));
    assert_int_equal(n, CALL_ID - 1);
    assert_memory_equal(text, c.id, n);
    assert_int_equal(frame_field(&after, FIELD_SESSION, &text, &n), session != NULL);
    if (session != NULL)
        assert_memory_equal(text, session, n);
    assert_int_equal(after.payload_n, before.payload_n);
    assert_memory_equal(after.payload, before.payload, after.payload_n);
    free(copy);
    free(long_text);
    pit_value_free(args);
    call_clear(&c);
}

static void test_frame_is_given_an_id(void **state)
{
    (void)state;
    for (size_t n = 0; n < CALL_INLINE + 64; n++) { /* beyond what stands in the call itself */
        carries_its_id(NULL, n);
        carries_its_id("a session", n);
    }
    carries_its_id("a session", 100000);
}

static void test_lane_owners(void **state)
{
    (void)state;
    struct lane l = {.owner = LANE_IDLE};
    assert_true(lane_move(&l, LANE_CALLER));
    assert_true(lane_move(&l, LANE_LOOP)); /* its caller has left */
    assert_false(lane_move(&l, LANE_LOOP));
    assert_true(lane_move(&l, LANE_IDLE));
    assert_true(lane_move(&l, LANE_CLOSED));
    assert_false(lane_move(&l, LANE_IDLE));
    assert_false(lane_move(&l, LANE_CALLER));
}

static void test_flights_keep_their_order(void **state)
{
    (void)state;
    static struct lane l;
    struct call a, b, c;
    assert_null(lane_head(&l));
    for (int round = 0; round < 300; round++) { /* around the ring of places */
        uint64_t first = lane_push(&l, &a);
        lane_push(&l, &b);
        lane_push(&l, &c);
        assert_int_equal(lane_at(&l, 2)->sequence, first + 2);
        lane_drop(&l, 1);
        assert_ptr_equal(lane_head(&l)->call, &a);
        lane_pop(&l);
        assert_ptr_equal(lane_head(&l)->call, &c);
        lane_pop(&l);
        assert_null(lane_head(&l));
    }
}

static void test_a_call_is_started_or_revoked_never_both(void **state)
{
    (void)state;
    static struct lane_status status;
    struct lane l = {.status = &status};
    for (uint64_t sequence = 1; sequence < 600; sequence++) {
        uint64_t *claim = &status.claims[sequence % SEGMENT_SLOTS];
        assert_false(lane_started(&l, sequence));
        if (sequence % 2 == 0) {
            *claim = CLAIM(sequence, CLAIM_STARTED); /* as the worker does */
            assert_true(lane_started(&l, sequence));
            assert_false(lane_revoke(&l, sequence));
        } else {
            assert_true(lane_revoke(&l, sequence));
            assert_false(lane_started(&l, sequence));
            assert_int_equal(*claim, CLAIM(sequence, CLAIM_REVOKED));
        }
    }
    l.status = NULL; /* a worker without marks: at most once means that it may have begun */
    assert_true(lane_started(&l, 1));
    assert_false(lane_revoke(&l, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_says_what_was_asked),
        cmocka_unit_test(test_worker_is_told_an_earlier_deadline_when_there_is_time),
        cmocka_unit_test(test_too_large_and_not_encodable),
        cmocka_unit_test(test_states_and_the_one_outcome),
        cmocka_unit_test(test_correlation_ids),
        cmocka_unit_test(test_frame_is_given_an_id),
        cmocka_unit_test(test_lane_owners),
        cmocka_unit_test(test_flights_keep_their_order),
        cmocka_unit_test(test_a_call_is_started_or_revoked_never_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
