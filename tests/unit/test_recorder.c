/* The flight recorder: what its writers note its reader finds, whole, in order, and no more; also while it is written, and of one that lies. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <snakepit/snakepit.h>

#include "crash/recorder.h"

enum { CAP = 64, RECORDS = 64 };

struct area {
    uint8_t *bytes;
    size_t n;
    size_t hole_at, hole_end; /* cannot be read */
    size_t reads;
};

static struct area make_area(uint32_t lanes)
{
    struct area a = {.n = RECORDER_LANES_AT + (size_t)lanes * RECORDS * sizeof(struct recorder_record)};
    a.bytes = calloc(1, a.n); /* of its own block: a read beyond it is seen */
    assert_non_null(a.bytes);
    struct recorder_header *h = (struct recorder_header *)(void *)a.bytes;
    *h = (struct recorder_header){.magic = RECORDER_MAGIC, .bytes = (uint32_t)a.n, .lanes = lanes, .lane_records = RECORDS};
    strcpy(h->names[0], "predict");
    memset(h->names[1], 'x', RECORDER_NAME);
    h->names_n = 2;
    return a;
}

static bool read_area(void *user, size_t at, void *to, size_t n)
{
    struct area *a = user;
    a->reads++;
    assert_true(at <= a->n && n <= a->n - at);
    if (at < a->hole_end && at + n > a->hole_at)
        return false;
    memcpy(to, a->bytes + at, n);
    return true;
}

static struct recorder_source source_of(struct area *a)
{
    const struct recorder_header *h = (const struct recorder_header *)(const void *)a->bytes;
    return (struct recorder_source){.read = read_area, .user = a, .lanes = h->lanes, .lane_records = RECORDS};
}

static struct recorder_lane lane_of(struct area *a, uint32_t lane)
{
    size_t at = RECORDER_LANES_AT + (size_t)lane * RECORDS * sizeof(struct recorder_record);
    return (struct recorder_lane){.ring = (struct recorder_record *)(void *)(a->bytes + at), .mask = RECORDS - 1};
}

static struct recorder_event events[2 * CAP], room[CAP];

static size_t read_all(struct area *a)
{
    struct recorder_source s = source_of(a);
    size_t n = recorder_read(&s, events, room, CAP);
    assert_true(n <= CAP);
    for (size_t i = 1; i < n; i++)
        assert_true(events[i - 1].ns <= events[i].ns);
    return n;
}

static void test_empty(void **state)
{
    (void)state;
    struct area a = make_area(3);
    assert_true(recorder_is_sound((struct recorder_header *)(void *)a.bytes, a.n));
    assert_int_equal(read_all(&a), 0);
    free(a.bytes);
}

/* At every number of calls, the newest are found, wherever in the ring they stand. */
static void test_every_length(void **state)
{
    (void)state;
    struct area a = make_area(1);
    struct recorder_lane l = lane_of(&a, 0);
    for (uint64_t i = 1; i <= 5 * RECORDS; i++) {
        recorder_call_begins(&l, 1000 * i, i, 1);
        size_t n = read_all(&a);
        assert_int_equal(n, i < CAP ? i : CAP);
        assert_int_equal(events[n - 1].id, i);
        assert_int_equal(events[n - 1].outcome, RECORDER_RUNS);
        assert_int_equal(events[n - 1].ended_ns, 0);
        assert_int_equal(events[0].id, i - n + 1);
        if (n > 1) {
            assert_int_equal(events[n - 2].outcome, RECORDER_OK);
            assert_int_equal(events[n - 2].ended_ns, 1000 * (i - 1) + 500);
        }
        recorder_call_ends(&l, 1000 * i + 500, RECORDER_OK);
    }
    assert_string_equal(events[0].name, "predict");
    free(a.bytes);
}

/* The numbers of a ring are 32 bits, and go round after weeks. */
static void test_numbers_go_round(void **state)
{
    (void)state;
    struct area a = make_area(1);
    struct recorder_lane l = lane_of(&a, 0);
    l.number = UINT32_MAX - 127; /* so that it begins with slot 0 */
    for (uint64_t i = 1; i <= 300; i++) {
        recorder_call_begins(&l, i, i, 2);
        recorder_call_ends(&l, i, RECORDER_ERROR);
        size_t n = read_all(&a);
        assert_int_equal(n, i < CAP ? i : CAP);
        assert_int_equal(events[n - 1].id, i);
    }
    assert_int_equal(strlen(events[0].name), RECORDER_NAME);
    free(a.bytes);
}

static void test_rings_are_merged(void **state)
{
    (void)state;
    struct area a = make_area(3);
    struct recorder_header *h = (struct recorder_header *)(void *)a.bytes;
    struct recorder_record *host = (struct recorder_record *)(void *)(a.bytes + RECORDER_HOST_AT);
    struct recorder_record *process = (struct recorder_record *)(void *)(a.bytes + RECORDER_PROCESS_AT);
    struct recorder_lane lanes[] = {lane_of(&a, 0), lane_of(&a, 1), lane_of(&a, 2)};
    for (uint64_t i = 0; i < 200; i++) {
        if (i % 5 < 3)
            recorder_call_begins(&lanes[i % 5], i + 1, i, 1);
        else if (i % 5 == 3)
            recorder_note_shared(host, &h->host_n, RECORDER_SIGNALLED, 0, i + 1, i);
        else
            recorder_note_shared(process, &h->process_n, RECORDER_RAISED, 0, i + 1, i);
    }
    assert_int_equal(read_all(&a), CAP);
    for (size_t i = 0; i < CAP; i++) {
        assert_int_equal(events[i].id, 200 - CAP + i);
        assert_int_equal(events[i].lane, events[i].id % 5 < 3 ? (int)(events[i].id % 5) : -1);
    }
    free(a.bytes);
}

static void test_ticks(void **state)
{
    (void)state;
    struct area a = make_area(1);
    struct recorder_lane l = lane_of(&a, 0);
    static const uint64_t at[] = {0, 999, 1000, 1500, 2000, UINT64_MAX};
    static const uint64_t ns[] = {70000, 70000, 70000, 71500, 73000, 73000};
    struct recorder_source s = source_of(&a);
    s.clock = RECORDER_TICKS;
    s.base_at = 1000;
    s.base_ns = 70000;
    s.now_at = 2000;
    s.now_ns = 73000;
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        recorder_call_begins(&l, at[i], i, 0);
    assert_int_equal(recorder_read(&s, events, room, CAP), 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(events[i].ns, ns[i]);
    s.now_at = 900; /* it has stood still, or gone back */
    assert_int_equal(recorder_read(&s, events, room, CAP), 6);
    assert_int_equal(events[5].ns, 70000);
    free(a.bytes);
}

static void test_values(void **state)
{
    (void)state;
    const struct recorder_event list[] = {
        {.ns = 1000, .id = 4711, .kind = RECORDER_SPAWNED, .lane = -1},
        {.ns = 2000,
         .ended_ns = 5500,
         .id = 0x1000000000002,
         .kind = RECORDER_CALL,
         .outcome = RECORDER_ERROR,
         .lane = 1,
         .name = "a\xff"},
        {.ns = 3000, .id = 9, .kind = RECORDER_SIGNALLED, .lane = -1},
        {.ns = 4000, .id = 2, .kind = RECORDER_RUNG, .extra = 3, .lane = -1},
    };
    pit_value *v = recorder_values(list, 4, UINT64_C(1700000000000000000), 0xab);
    char *json = pit_value_to_json(v, PIT_JSON_ASCII);
    assert_string_equal(
        json, "[{\"time\":\"2023-11-14T22:13:20.000001Z\",\"monotonic_ns\":1000,\"event\":\"spawned\",\"pid\":4711},"
              "{\"time\":\"2023-11-14T22:13:20.000002Z\",\"monotonic_ns\":2000,\"event\":\"call\",\"lane\":1,"
              "\"call\":\"sp-000000ab0001000000000002\",\"command\":\"a\\ufffd\",\"outcome\":\"error\",\"took_us\":3.5},"
              "{\"time\":\"2023-11-14T22:13:20.000003Z\",\"monotonic_ns\":3000,\"event\":\"signalled\",\"signal\":\"SIGKILL\"},"
              "{\"time\":\"2023-11-14T22:13:20.000004Z\",\"monotonic_ns\":4000,\"event\":\"rung\","
              "\"call\":\"sp-000000ab0000000000000002\",\"rung\":3}]");
    pit_free(json);
    pit_value_free(v);
}

static void test_past(void **state)
{
    (void)state;
    struct recorder_event list[RECORDER_PAST + 5], again[RECORDER_PAST];
    struct recorder_past past = {0};
    for (size_t i = 0; i < RECORDER_PAST + 5; i++)
        list[i] =
            (struct recorder_event){.ns = i, .id = i, .kind = RECORDER_CALL, .outcome = RECORDER_OK, .lane = 2, .name = "f"};
    recorder_past_put(&past, list, RECORDER_PAST + 5);
    assert_int_equal(recorder_past_read(&past, again), RECORDER_PAST);
    assert_int_equal(again[0].id, 5);
    assert_int_equal(again[RECORDER_PAST - 1].id, RECORDER_PAST + 4);
    assert_int_equal(again[0].lane, 2);
    assert_string_equal(again[0].name, "f");
    recorder_past_put(&past, list, 2);
    assert_int_equal(recorder_past_read(&past, again), 2);
    memset(&past, 0xff, sizeof past); /* a lie */
    assert_int_equal(recorder_past_read(&past, again), 0);
}

static void test_headers_that_lie(void **state)
{
    (void)state;
    struct area a = make_area(2);
    const struct recorder_header good = *(struct recorder_header *)(void *)a.bytes;
    struct recorder_header h = good;
    assert_true(recorder_is_sound(&h, a.n));
    assert_false(recorder_is_sound(&h, a.n - 1));
    h.magic++;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.lanes = 0;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.lanes = 3;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.lanes = UINT32_MAX;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.lane_records = 48;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.lane_records = 1u << 31;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.lane_records = 0;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.clock = 2;
    assert_false(recorder_is_sound(&h, a.n));
    h = good, h.bytes = RECORDER_LANES_AT - 1;
    assert_false(recorder_is_sound(&h, a.n));
    free(a.bytes);
}

/* Any bytes: no more events than there is room for, and no more work than the rings are long. */
static void test_rubbish(void **state)
{
    (void)state;
    struct area a = make_area(4);
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        for (size_t i = round % 3 == 0 ? 0 : sizeof(struct recorder_header); i + 8 <= a.n; i += 8) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            uint64_t word = round % 2 == 0 ? x : (uint64_t)RECORDER_CALL << 32 | (x & 127); /* nearly right */
            memcpy(a.bytes + i, &word, 8);
        }
        struct recorder_source s = source_of(&a);
        s.lanes = 4;
        s.clock = (uint32_t)round & 1;
        s.base_at = 5, s.now_at = 6, s.base_ns = 1, s.now_ns = UINT64_MAX;
        a.reads = 0;
        size_t n = recorder_read(&s, events, room, CAP);
        assert_true(n <= CAP && a.reads < 6 * (CAP * 3 + 20));
        pit_value *v = recorder_values(events, n, UINT64_MAX, UINT32_MAX);
        assert_int_equal(pit_value_error(v), 0);
        pit_value_free(v);
    }
    free(a.bytes);
}

static void test_holes(void **state)
{
    (void)state;
    struct area a = make_area(1);
    struct recorder_lane l = lane_of(&a, 0);
    for (uint64_t i = 1; i <= 40; i++)
        recorder_call_begins(&l, i, i, 1);
    a.hole_at = RECORDER_LANES_AT + 20 * sizeof(struct recorder_record);
    a.hole_end = a.n;
    size_t n = read_all(&a);
    assert_int_equal(n, 20); /* what can be read */
    assert_int_equal(events[19].id, 20);
    a.hole_at = 0;
    assert_int_equal(read_all(&a), 0);
    free(a.bytes);
}

/* ---- while it is written ---- */

static int stop, written;

static void *write_on(void *arg)
{
    struct area *a = arg;
    struct recorder_lane l = lane_of(a, 0);
    struct recorder_header *h = (struct recorder_header *)(void *)a->bytes;
    struct recorder_record *process = (struct recorder_record *)(void *)(a->bytes + RECORDER_PROCESS_AT);
    for (uint64_t i = 1; __atomic_load_n(&stop, __ATOMIC_RELAXED) == 0; i++) {
        recorder_call_begins(&l, 2 * i, i, 1);
        recorder_call_ends(&l, 2 * i + 1, RECORDER_OK);
        recorder_note_shared(process, &h->process_n, RECORDER_FORKED, 0, 2 * i, i);
        __atomic_store_n(&written, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Word by word, as another process would see them. */
static bool read_atomically(void *user, size_t at, void *to, size_t n)
{
    struct area *a = user;
    assert_true(at % 4 == 0 && n % 4 == 0);
    for (size_t i = 0; i < n;) {
        if ((at + i) % 8 == 0 && n - i >= 8) {
            uint64_t word = __atomic_load_n((uint64_t *)(void *)(a->bytes + at + i), __ATOMIC_ACQUIRE);
            memcpy((uint8_t *)to + i, &word, 8);
            i += 8;
        } else {
            uint32_t half = __atomic_load_n((uint32_t *)(void *)(a->bytes + at + i), __ATOMIC_ACQUIRE);
            memcpy((uint8_t *)to + i, &half, 4);
            i += 4;
        }
    }
    return true;
}

/* No record is ever half of one and half of another. */
static void test_read_while_written(void **state)
{
    (void)state;
    struct area a = make_area(1);
    pthread_t thread;
    stop = 0;
    assert_int_equal(pthread_create(&thread, NULL, write_on, &a), 0);
    while (__atomic_load_n(&written, __ATOMIC_RELAXED) == 0)
        sched_yield();
    for (int i = 0; i < 3000; i++) {
        struct recorder_source s = source_of(&a);
        s.read = read_atomically;
        size_t n = recorder_read(&s, events, room, CAP);
        for (size_t k = 0; k < n; k++) {
            const struct recorder_event *e = &events[k];
            if (e->kind != RECORDER_CALL) /* their times are set right by the order */
                continue;
            assert_true(e->id != 0);
            assert_int_equal(e->ns, 2 * e->id);
            if (e->outcome != RECORDER_RUNS)
                assert_int_equal(e->ended_ns, 2 * e->id + 1);
        }
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_true(read_all(&a) > 0);
    free(a.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty), cmocka_unit_test(test_every_length),       cmocka_unit_test(test_numbers_go_round),
        cmocka_unit_test(test_ticks), cmocka_unit_test(test_rings_are_merged),   cmocka_unit_test(test_values),
        cmocka_unit_test(test_past),  cmocka_unit_test(test_headers_that_lie),   cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_holes), cmocka_unit_test(test_read_while_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
