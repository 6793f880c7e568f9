/* The emit point: who gets which events, what a handler can read of them, and what happens to handlers that fail, leave or multiply. */
#include <pthread.h>
#include <setjmp.h>
#include <snakepit/runtime.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "telemetry/event.h"

static struct telemetry *hub;
static uint64_t clock_ns;
static long allocations, allocations_left = -1;

static uint64_t now_ns(void)
{
    return __atomic_add_fetch(&clock_ns, 1, __ATOMIC_RELAXED);
}

static void *counted_alloc(size_t n, void *user)
{
    (void)user;
    allocations++;
    return allocations_left == 0 || allocations_left-- == 0 ? NULL : malloc(n);
}

static void *counted_realloc(void *block, size_t n, void *user)
{
    (void)user;
    allocations++;
    return realloc(block, n);
}

static void counted_free(void *block, void *user)
{
    (void)user;
    free(block);
}

static int start(void **state)
{
    (void)state;
    clock_ns = 0;
    hub = telemetry_create(now_ns);
    return hub == NULL;
}

static int finish(void **state)
{
    (void)state;
    telemetry_destroy(hub);
    return 0;
}

/* ---- patterns ---- */

static int add_name(const pit_event *ev, void *user)
{
    strcat(strcat(user, pit_event_name(ev)), " ");
    return 0;
}

/* How many of all events a pattern gets, and their names. */
static unsigned matches_of(const char *pattern, char names[8192])
{
    uint64_t id;
    unsigned n = 0;
    names[0] = '\0';
    assert_int_equal(telemetry_attach(hub, pattern, add_name, names, &id), 0);
    for (unsigned e = 0; e < EVENT_COUNT; e++) {
        static const double numbers[EVENT_MAX_NUMBERS];
        static const char *const texts[EVENT_MAX_TEXTS];
        size_t before = strlen(names);
        telemetry_emit(hub, (enum event_id)e, NULL, numbers, texts);
        bool got = strlen(names) != before;
        assert_int_equal(got, telemetry_wants(hub, (enum event_id)e));
        n += got;
    }
    assert_int_equal(telemetry_detach(hub, id), 0);
    return n;
}

static void test_patterns(void **state)
{
    (void)state;
    char names[8192];
    assert_int_equal(matches_of("*", names), EVENT_COUNT);
    assert_int_equal(matches_of("snakepit.*", names), EVENT_COUNT);
    assert_int_equal(matches_of("snakepit.worker.crash", names), 1);
    assert_string_equal(names, "snakepit.worker.crash ");
    assert_int_equal(matches_of("snakepit.guard.?ost", names), 1);
    assert_int_equal(matches_of("*call.st*", names), 2);
    assert_string_equal(names, "snakepit.call.start snakepit.call.stop ");
    assert_int_equal(matches_of("snakepit.pool.queue.*", names), 3);
    assert_true(matches_of("snakepit.pool.*", names) > 10); /* '*' also matches dots */
    assert_int_equal(matches_of("**crash**", names), 1);
    assert_int_equal(matches_of("*a*a*a*a*a*a*a*a*b", names), 0);
    assert_int_equal(matches_of("worker.crash", names), 0);
    assert_int_equal(matches_of("snakepit.worker.crash?", names), 0);
    assert_int_equal(matches_of("snakepit.worker.cras", names), 0);
    assert_int_equal(matches_of("SNAKEPIT.*", names), 0);
    assert_int_equal(matches_of("snakepit.session.*", names), 0); /* of a later version: nothing yet */
    uint64_t id = 7;
    assert_int_equal(telemetry_attach(hub, NULL, add_name, names, &id), PIT_E_INVALID_PARAMETER);
    assert_int_equal(telemetry_attach(hub, "", add_name, names, &id), PIT_E_INVALID_PARAMETER);
    assert_int_equal(telemetry_attach(hub, "*", NULL, names, &id), PIT_E_INVALID_PARAMETER);
    assert_int_equal(id, 7);
    assert_int_equal(telemetry_detach(hub, 4711), PIT_E_NOT_FOUND);
    assert_int_equal(telemetry_detach(hub, 0), PIT_E_NOT_FOUND);
}

static unsigned words(const char *list)
{
    unsigned n = *list != '\0';
    for (; *list != '\0'; list++)
        n += *list == ' ';
    return n;
}

/* The table keeps its own promises. */
static void test_table(void **state)
{
    (void)state;
    static const char *const names[] = {
#define NAME(constant, name, measurements, metadata) name,
        EVENT_LIST(NAME)
#undef NAME
    };
#define CHECK(constant, name, measurements, metadata)                                                                          \
    assert_in_range(words(measurements), 0, EVENT_MAX_NUMBERS);                                                                \
    assert_in_range(words(metadata), 0, EVENT_MAX_TEXTS);
    EVENT_LIST(CHECK)
#undef CHECK
    for (size_t i = 0; i < EVENT_COUNT; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
}

/* ---- reading ---- */

static int read_crash(const pit_event *ev, void *user)
{
    double v = -1;
    assert_string_equal(pit_event_name(ev), "snakepit.worker.crash");
    assert_int_equal(pit_event_timestamp_ns(ev), 1);
    assert_int_equal(pit_event_timestamp_ns(ev), 1); /* the clock goes on, the event's time does not */
    assert_true(pit_event_number(ev, "count", &v));
    assert_true(v == 3);
    assert_true(pit_event_number(ev, "count", NULL));
    v = -1;
    assert_false(pit_event_number(ev, "coun", &v));
    assert_false(pit_event_number(ev, "counts", &v));
    assert_false(pit_event_number(ev, "reason", &v));
    assert_false(pit_event_number(ev, "", &v));
    assert_true(v == -1);
    assert_string_equal(pit_event_text(ev, "reason"), "signal");
    assert_string_equal(pit_event_text(ev, "exit_code"), "-9");
    assert_null(pit_event_text(ev, "exit_class"));
    assert_string_equal(pit_event_text(ev, "pool"), "default");
    assert_string_equal(pit_event_text(ev, "worker_id"), "default/0");
    assert_string_equal(pit_event_text(ev, "generation"), "18446744073709551615");
    assert_string_equal(pit_event_text(ev, "generation"), "18446744073709551615");
    assert_null(pit_event_text(ev, "session_id"));
    assert_null(pit_event_text(ev, "call_id"));
    assert_null(pit_event_text(ev, "exit"));
    assert_null(pit_event_text(ev, ""));
    assert_null(pit_event_text(ev, NULL));
    assert_null(pit_event_name(NULL));
    assert_null(pit_event_text(NULL, "pool"));
    assert_null(pit_event_json(NULL));
    assert_int_equal(pit_event_timestamp_ns(NULL), 0);
    assert_false(pit_event_number(NULL, "count", &v));
    ++*(int *)user;
    return 0;
}

static const struct event_common crash_common = {.pool = "default", .worker_id = "default/0", .generation = UINT64_MAX};
static const char *const crash_texts[] = {"signal", "-9", NULL, NULL, NULL};

static void test_reading(void **state)
{
    (void)state;
    int calls = 0;
    telemetry_attach(hub, "snakepit.worker.crash", read_crash, &calls, NULL);
    telemetry_emit(hub, EVENT_WORKER_CRASH, &crash_common, (double[]){3}, crash_texts);
    telemetry_emit(hub, EVENT_GUARD_LOST, &crash_common, (double[]){3}, crash_texts);
    assert_int_equal(calls, 1);
}

static int keep_json(const pit_event *ev, void *user)
{
    *(char **)user = pit_event_json(ev);
    return 0;
}

static void expect_json(enum event_id id, const struct event_common *common, const double *numbers, const char *const *texts,
                        const char *expected)
{
    char *json = NULL;
    uint64_t handler;
    clock_ns = 41;
    assert_int_equal(telemetry_attach(hub, "*", keep_json, &json, &handler), 0);
    telemetry_emit(hub, id, common, numbers, texts);
    assert_int_equal(telemetry_detach(hub, handler), 0);
    assert_non_null(json);
    assert_string_equal(json, expected);
    mem_free(json);
}

static void test_json(void **state)
{
    (void)state;
    expect_json(EVENT_WORKER_CRASH, &crash_common, (double[]){3}, crash_texts,
                "{\"name\":\"snakepit.worker.crash\",\"timestamp_ns\":42,\"pool\":\"default\",\"worker_id\":\"default/0\","
                "\"generation\":18446744073709551615,\"measurements\":{\"count\":3},"
                "\"metadata\":{\"reason\":\"signal\",\"exit_code\":\"-9\"}}");
    expect_json(
        EVENT_WORKER_STATE_CHANGED, &(struct event_common){.session_id = "s", .correlation_id = "c", .call_id = 9}, NULL,
        (const char *const[]){NULL, "\x01 \"\\\n\t \xc3\xa4 \xff\xed\xa0\x80 \x7f"},
        "{\"name\":\"snakepit.worker.state_changed\",\"timestamp_ns\":42,\"session_id\":\"s\","
        "\"correlation_id\":\"c\",\"call_id\":9,\"measurements\":{},"
        "\"metadata\":{\"to\":\"\\u0001 \\\"\\\\\\n\\t \xc3\xa4 \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \\u007f\"}}");
    expect_json(
        EVENT_POOL_QUEUE_ENQUEUED, NULL, (double[]){0.1}, NULL,
        "{\"name\":\"snakepit.pool.queue.enqueued\",\"timestamp_ns\":42,\"measurements\":{\"depth\":0.1},\"metadata\":{}}");
    expect_json(EVENT_POOL_INITIALIZED, NULL, (double[]){1e300, -1234567.5}, NULL,
                "{\"name\":\"snakepit.pool.initialized\",\"timestamp_ns\":42,"
                "\"measurements\":{\"duration_ms\":1e+300,\"ready\":-1234567.5},\"metadata\":{}}");
    expect_json(EVENT_POOL_INITIALIZED, NULL, (double[]){__builtin_inf(), __builtin_nan("")}, NULL,
                "{\"name\":\"snakepit.pool.initialized\",\"timestamp_ns\":42,"
                "\"measurements\":{\"duration_ms\":null,\"ready\":null},\"metadata\":{}}");
}

static int json_without_memory(const pit_event *ev, void *user)
{
    unsigned *failures = user;
    char *json;
    for (long k = 0;; k++) {
        allocations_left = k;
        json = pit_event_json(ev);
        allocations_left = -1;
        if (json != NULL)
            break;
        ++*failures;
    }
    mem_free(json);
    return 0;
}

static void test_memory(void **state)
{
    (void)state;
    unsigned failures = 0;
    uint64_t id = 0;
    allocations_left = 0;
    assert_int_equal(telemetry_attach(hub, "*", json_without_memory, &failures, &id), PIT_E_ALLOCATION_FAILED);
    assert_null(telemetry_create(now_ns));
    allocations_left = -1;
    assert_int_equal(id, 0);
    assert_false(telemetry_wants(hub, EVENT_WORKER_CRASH));
    assert_int_equal(telemetry_attach(hub, "*", json_without_memory, &failures, &id), 0);
    telemetry_emit(hub, EVENT_WORKER_CRASH, &crash_common, (double[]){3}, crash_texts);
    assert_true(failures > 0);
    telemetry_detach(hub, id);
    int calls = 0;
    telemetry_attach(hub, "*", read_crash, &calls, &id); /* reuses the slot */
    clock_ns = 0;
    allocations = 0;
    telemetry_emit(hub, EVENT_WORKER_CRASH, &crash_common, (double[]){3}, crash_texts);
    assert_int_equal(calls, 1);
    assert_int_equal(allocations, 0);
}

/* ---- handlers that fail, leave, emit ---- */

static unsigned calls, warnings;

static int fails(const pit_event *ev, void *user)
{
    (void)ev;
    (void)user;
    calls++;
    return -5;
}

static int counts(const pit_event *ev, void *user)
{
    (void)ev;
    assert_true(telemetry_in_handler());
    __atomic_add_fetch((unsigned *)user, 1, __ATOMIC_RELAXED);
    return 0;
}

static void warned(void *user, const char *text)
{
    assert_ptr_equal(user, &warnings);
    assert_non_null(strstr(text, "-5"));
    assert_non_null(strstr(text, "snakepit.guard.lost"));
    warnings++;
}

static void emit(void)
{
    telemetry_emit(hub, EVENT_GUARD_LOST, NULL, (double[]){1}, crash_texts);
}

static void test_a_failing_handler_goes(void **state)
{
    (void)state;
    unsigned others = 0;
    uint64_t failing;
    calls = warnings = 0;
    telemetry_set_warn(hub, warned, &warnings);
    telemetry_attach(hub, "*", fails, NULL, &failing);
    telemetry_attach(hub, "*", counts, &others, NULL);
    for (int i = 0; i < 5; i++)
        emit();
    assert_int_equal(calls, 1);
    assert_int_equal(warnings, 1);
    assert_int_equal(others, 5);
    assert_int_equal(telemetry_detach(hub, failing), PIT_E_NOT_FOUND);
    telemetry_set_warn(hub, NULL, NULL);
    telemetry_attach(hub, "*", fails, NULL, &failing);
    emit();
    assert_int_equal(calls, 2);
    assert_false(telemetry_in_handler());
}

static uint64_t own_id;
static int leaves(const pit_event *ev, void *user)
{
    (void)ev;
    ++*(unsigned *)user;
    assert_int_equal(telemetry_detach(hub, own_id), 0);
    assert_int_equal(telemetry_detach(hub, own_id), PIT_E_NOT_FOUND);
    return 0;
}

static void test_a_handler_may_leave_in_itself(void **state)
{
    (void)state;
    unsigned n = 0;
    telemetry_attach(hub, "*", leaves, &n, &own_id);
    emit();
    emit();
    assert_int_equal(n, 1);
    assert_false(telemetry_wants(hub, EVENT_GUARD_LOST));
}

static int emits(const pit_event *ev, void *user)
{
    (void)ev;
    ++*(unsigned *)user;
    emit();
    return 0;
}

static void test_emitting_in_a_handler_ends(void **state)
{
    (void)state;
    unsigned n = 0;
    telemetry_attach(hub, "*", emits, &n, NULL);
    emit();
    assert_in_range(n, 2, 100);
    assert_false(telemetry_in_handler());
}

static int attaches(const pit_event *ev, void *user)
{
    (void)ev;
    uint64_t id;
    unsigned *n = user;
    if (*n == 0) {
        assert_int_equal(telemetry_attach(hub, "*", counts, n, &id), 0);
        assert_int_equal(telemetry_detach(hub, own_id), 0);
    }
    ++*n;
    return 0;
}

static void test_attaching_in_a_handler(void **state)
{
    (void)state;
    unsigned n = 0;
    telemetry_attach(hub, "*", attaches, &n, &own_id);
    emit();
    unsigned first = n;
    emit();
    assert_int_equal(n, first + 1);
}

static void test_many_handlers(void **state)
{
    (void)state;
    enum { MANY = 100 };
    unsigned n[MANY] = {0};
    uint64_t ids[MANY];
    for (int i = 0; i < MANY; i++)
        assert_int_equal(telemetry_attach(hub, "snakepit.guard.*", counts, &n[i], &ids[i]), 0);
    emit();
    for (int i = 0; i < MANY; i += 2)
        assert_int_equal(telemetry_detach(hub, ids[i]), 0);
    emit();
    for (int i = 0; i < MANY; i++)
        assert_int_equal(n[i], 1 + i % 2);
    allocations = 0;
    for (int i = 0; i < MANY; i += 2)
        assert_int_equal(telemetry_attach(hub, "snakepit.guard.*", counts, &n[i], &ids[i]), 0);
    assert_int_equal(allocations, 0); /* the old places serve again */
}

/* ---- threads ---- */

struct guarded { /* what a user frees after a detach */
    unsigned alive;
    unsigned calls;
};

static int uses(const pit_event *ev, void *user)
{
    (void)ev;
    struct guarded *g = user;
    if (__atomic_load_n(&g->alive, __ATOMIC_SEQ_CST) != 1)
        return 0; /* the detaching thread counts these */
    __atomic_add_fetch(&g->calls, 1, __ATOMIC_RELAXED);
    for (volatile int i = 0; i < 200; i++)
        continue;
    if (__atomic_load_n(&g->alive, __ATOMIC_SEQ_CST) != 1)
        __atomic_store_n(&g->alive, 99, __ATOMIC_SEQ_CST);
    return 0;
}

static bool done;
static void *emit_on(void *user)
{
    (void)user;
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
        emit();
    return NULL;
}

/* After detach the handler does not run: not now, not later. ThreadSanitizer sees it by the memset. */
static void test_detach_waits(void **state)
{
    (void)state;
    pthread_t threads[3];
    unsigned total = 0;
    done = false;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, emit_on, NULL), 0);
    for (int round = 0; round < 300 || total < 300; round++) {
        uint64_t id;
        struct guarded *g = calloc(1, sizeof *g);
        assert_non_null(g);
        g->alive = 1;
        assert_int_equal(telemetry_attach(hub, "*", uses, g, &id), 0);
        for (int i = 0; i < 1000 && __atomic_load_n(&g->calls, __ATOMIC_RELAXED) == 0; i++)
            sched_yield();
        assert_int_equal(telemetry_detach(hub, id), 0);
        assert_int_equal(g->alive, 1);
        total += g->calls;
        memset(g, 0, sizeof *g);
        free(g);
    }
    __atomic_store_n(&done, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    static const pit_allocator allocator = {sizeof allocator, counted_alloc, counted_realloc, counted_free, NULL};
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)
        TEST(test_patterns),
        TEST(test_table),
        TEST(test_reading),
        TEST(test_json),
        TEST(test_memory),
        TEST(test_a_failing_handler_goes),
        TEST(test_a_handler_may_leave_in_itself),
        TEST(test_emitting_in_a_handler_ends),
        TEST(test_attaching_in_a_handler),
        TEST(test_many_handlers),
        TEST(test_detach_waits),
    };
    if (mem_set_allocator(&allocator) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
