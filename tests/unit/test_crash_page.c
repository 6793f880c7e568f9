/* The reader of crash pages: what a worker has written becomes a dossier, and what it has not, a word on what is missing. Pages that lie. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <snakepit/snakepit.h>

#include "crash/crash.h"

static const char stacks[] = "Current thread 0x00007f01 (most recent call first):\n"
                             "  File \"/srv/a \", line 7\".py\", line 31 in <lambda>\n"
                             "  File \"/srv/b.py\", line 4 in run\n"
                             "  ...\n"
                             "\n"
                             "Thread 0x00007f02 (most recent call first):\n"
                             "  <no Python frame>\n";

static const char printed[] =
    "Fatal Python error: f\n\nCurrent thread 0x01 (most recent call first):\n  File \"c.py\", line 9 in f\n\nmore\n";

static struct crash_page *good_page(void)
{
    struct crash_page *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->state = CRASH_TOLD;
    p->wanted = CRASH_PYTHON | CRASH_NATIVE | CRASH_SYMBOLS;
    p->told = p->wanted;
    p->watched = 1u << SIGSEGV | 1u << SIGABRT;
    p->pid = p->tid = 4711;
    p->signal = SIGSEGV;
    p->code = SEGV_ACCERR;
    p->address = 0xdead0;
    p->pc = 0x401020;
    p->peak_bytes = 12345678;
    strcpy(p->thread, "python");
    p->frames_n = 2;
    p->frames[0] = (struct crash_frame){.pc = 0x401020, .offset = 0x1020, .module = 1, .symbol = 1, .symbol_offset = 0x20};
    p->frames[1] = (struct crash_frame){.pc = 0x7f0000};
    p->modules_n = 1;
    strcpy(p->modules[0].path, "/usr/lib/libx.so");
    p->modules[0].build_id_n = 3;
    memcpy(p->modules[0].build_id, "\x01\xab\xff", 3);
    strcpy(p->names, "boom");
    p->names_n = 5;
    p->python_n = sizeof stacks - 1;
    memcpy(p->python, stacks, sizeof stacks - 1);
    return p;
}

struct read {
    pit_value *dossier, *missing;
};

static struct read read_page(const struct crash_page *p, int sig)
{
    struct read r = {pit_map(), pit_list()};
    crash_read_page(p, sig, (struct crash_printed){printed, sizeof printed - 1}, r.dossier, r.missing);
    assert_int_equal(pit_value_error(r.dossier), 0);
    assert_int_equal(pit_value_error(r.missing), 0);
    return r;
}

static void done(struct read r)
{
    pit_value_free(r.dossier);
    pit_value_free(r.missing);
}

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "(none)");
}

static int64_t number_of(const pit_value *map, const char *key)
{
    int64_t n = -1;
    pit_value_get_int(pit_value_get(map, key), &n);
    return n;
}

static bool misses(struct read r, const char *what)
{
    const pit_value *item;
    for (size_t i = 0; pit_value_next(r.missing, &i, NULL, &item);)
        if (strstr(pit_value_str_or(item, ""), what) != NULL)
            return true;
    return false;
}

static void test_all_that_it_tells(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    struct read r = read_page(p, SIGSEGV);
    assert_int_equal(pit_value_len(r.missing), 0);
    const pit_value *fault = pit_value_get(r.dossier, "fault"), *native = pit_value_get(r.dossier, "native");
    assert_string_equal(text_of(fault, "signal"), "SIGSEGV");
    assert_string_equal(text_of(fault, "code"), "SEGV_ACCERR");
    assert_string_equal(text_of(fault, "address"), "0xdead0");
    assert_string_equal(text_of(fault, "thread"), "python");
    assert_null(pit_value_get(fault, "sender_pid"));
    assert_int_equal(number_of(pit_value_get(r.dossier, "usage"), "peak_memory_bytes"), 12345678);
    assert_int_equal(pit_value_len(native), 2);
    const pit_value *frame = pit_value_at(native, 0);
    assert_string_equal(text_of(frame, "symbol"), "boom");
    assert_string_equal(text_of(frame, "module"), "/usr/lib/libx.so");
    assert_string_equal(text_of(frame, "build_id"), "01abff");
    assert_string_equal(text_of(frame, "offset"), "0x1020");
    assert_null(pit_value_get(pit_value_at(native, 1), "module"));
    const pit_value *threads = pit_value_get(r.dossier, "python");
    assert_int_equal(pit_value_len(threads), 2);
    const pit_value *frames = pit_value_get(pit_value_at(threads, 0), "frames");
    assert_int_equal(pit_value_len(frames), 2);
    assert_string_equal(text_of(pit_value_at(frames, 0), "file"), "/srv/a \", line 7\".py");
    assert_int_equal(number_of(pit_value_at(frames, 0), "line"), 31);
    assert_string_equal(text_of(pit_value_at(frames, 0), "function"), "<lambda>");
    assert_int_equal(pit_value_len(pit_value_get(pit_value_at(threads, 1), "frames")), 0);
    done(r);
    free(p);
}

/* A kernel that does not tell, not a process without memory. */
static void test_no_peak(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    p->peak_bytes = 0;
    struct read r = read_page(p, SIGSEGV);
    assert_null(pit_value_get(pit_value_get(r.dossier, "usage"), "peak_memory_bytes"));
    assert_non_null(pit_value_get(pit_value_get(r.dossier, "usage"), "cpu_user_ms"));
    done(r);
    free(p);
}

static void test_a_signal_that_was_sent_has_a_sender(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    p->signal = SIGABRT;
    p->code = SI_USER;
    p->sender = 99;
    struct read r = read_page(p, SIGABRT);
    const pit_value *fault = pit_value_get(r.dossier, "fault");
    assert_int_equal(number_of(fault, "sender_pid"), 99);
    assert_null(pit_value_get(fault, "address"));
    done(r);
    free(p);
}

/* Not what it has sent itself, nor a fault; and what nobody can prove to be its own is not. */
static void test_who_has_sent_it(void **state)
{
    (void)state;
    static const struct {
        int code;
        uint32_t sender;
        bool another;
        uint32_t told;
    } of[] = {{SI_USER, 99, true, 99},   {SI_USER, 4711, false, 0}, {SI_TKILL, 4711, false, 0},  {SI_USER, 0, true, 0},
              {SI_QUEUE, 4711, true, 0}, {-60, 4711, true, 0},      {SEGV_MAPERR, 99, false, 0}, {SI_KERNEL, 0, false, 0}};
    struct crash_page *p = good_page();
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        uint32_t sender = 1;
        p->code = of[i].code;
        p->sender = of[i].sender;
        assert_int_equal(crash_sent_by_another(p, SIGSEGV, &sender), of[i].another);
        assert_int_equal(sender, of[i].told);
    }
    uint32_t sender;
    p->code = SI_USER;
    assert_true(crash_sent_by_another(p, SIGSEGV, &sender));
    assert_false(crash_sent_by_another(p, SIGABRT, &sender)); /* it tells of another signal */
    assert_false(crash_sent_by_another(p, SIGKILL, &sender));
    p->watched = 1u << SIGABRT;
    assert_false(crash_sent_by_another(p, SIGSEGV, &sender));
    p->watched = 1u << SIGSEGV;
    p->state = CRASH_WATCHED;
    assert_false(crash_sent_by_another(p, SIGSEGV, &sender));
    free(p);
}

static void test_what_is_missing_is_named(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    struct read r = read_page(p, SIGKILL);
    assert_true(misses(r, "leaves no stacks"));
    assert_null(pit_value_get(r.dossier, "fault"));
    done(r);
    r = read_page(p, SIGABRT);
    assert_true(misses(r, "of another signal"));
    assert_null(pit_value_get(r.dossier, "python"));
    done(r);
    r = read_page(p, SIGBUS);
    assert_true(misses(r, "a handler of its own"));
    done(r);
    r = read_page(p, CRASH_SIGNAL_LOST);
    assert_string_equal(text_of(pit_value_get(r.dossier, "fault"), "signal"), "SIGSEGV");
    done(r);
    p->failed = CRASH_PYTHON | CRASH_NATIVE | CRASH_SYMBOLS;
    p->state = CRASH_BEGUN;
    r = read_page(p, SIGSEGV);
    assert_true(misses(r, "python: not all") && misses(r, "unwound") && misses(r, "names") && misses(r, "broke off"));
    done(r);
    p->state = CRASH_WATCHED;
    r = read_page(p, SIGSEGV);
    assert_true(misses(r, "did not run"));
    assert_null(pit_value_get(r.dossier, "fault"));
    done(r);
    p->state = CRASH_UNWATCHED;
    r = read_page(p, SIGSEGV);
    assert_true(misses(r, "no handler for crashes"));
    done(r);
    free(p);
}

static void test_without_native_stacks_none_is_missed(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    p->wanted = CRASH_PYTHON;
    p->failed = CRASH_NATIVE;
    struct read r = read_page(p, SIGSEGV);
    assert_null(pit_value_get(r.dossier, "native"));
    assert_int_equal(pit_value_len(r.missing), 0);
    done(r);
    free(p);
}

static void test_stacks_that_were_printed_count_where_there_are_no_others(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    p->python_n = 0;
    p->failed = CRASH_PYTHON;
    struct read r = read_page(p, SIGSEGV);
    const pit_value *thread = pit_value_at(pit_value_get(r.dossier, "python"), 0);
    assert_string_equal(text_of(pit_value_at(pit_value_get(thread, "frames"), 0), "file"), "c.py");
    assert_int_equal(pit_value_len(r.missing), 0);
    done(r);
    free(p);
}

/* Counts and places beyond every array, texts without an end. */
static void test_a_page_that_lies_about_its_sizes(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    memset(p->python, 'x', sizeof p->python);
    memset(p->names, 'n', sizeof p->names);
    memset(p->thread, 't', sizeof p->thread);
    for (int i = 0; i < CRASH_MODULES; i++)
        memset(&p->modules[i], 0xff, sizeof p->modules[i]);
    for (int i = 0; i < CRASH_FRAMES; i++)
        p->frames[i] = (struct crash_frame){.pc = UINT64_MAX, .module = (uint16_t)(i * 1400), .symbol = (uint16_t)(i * 1400)};
    p->frames_n = p->modules_n = p->names_n = p->python_n = UINT32_MAX;
    struct read r = read_page(p, SIGSEGV);
    assert_int_equal(pit_value_len(pit_value_get(r.dossier, "native")), CRASH_FRAMES);
    assert_int_equal(strlen(text_of(pit_value_get(r.dossier, "fault"), "thread")), sizeof p->thread);
    assert_int_equal(pit_value_len(pit_value_get(r.dossier, "python")), 0);
    done(r);
    free(p);
}

/* Whatever stands in it: a dossier that can be written as JSON. */
static void test_rubbish(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        uint8_t *bytes = (uint8_t *)p;
        for (size_t i = 0; i < sizeof *p; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            if (round % 3 == 0 || (x >> 40) % 64 == 0)
                bytes[i] = (uint8_t)x;
        }
        p->state = (uint32_t)(round % 5);
        p->signal = round % 2 != 0 ? SIGSEGV : p->signal;
        p->watched = UINT32_MAX;
        struct read r = read_page(p, round % 7 == 0 ? CRASH_SIGNAL_LOST : SIGSEGV);
        char *json = pit_value_to_json(r.dossier, 0);
        assert_non_null(json);
        pit_free(json);
        done(r);
    }
    free(p);
}

/* Many frames in many threads are read up to a bound. */
static void test_much_text(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    size_t n = 0, frames = 0;
    while (n + 32 < sizeof p->python)
        n += (size_t)snprintf(p->python + n, sizeof p->python - n,
                              n % 3 == 0 ? "Thread 0x1 (x):\n" : "  File \"\", line 1 in f\n");
    p->python_n = (uint32_t)n;
    struct read r = read_page(p, SIGSEGV);
    const pit_value *thread, *threads = pit_value_get(r.dossier, "python");
    for (size_t i = 0; pit_value_next(threads, &i, NULL, &thread);)
        frames += pit_value_len(pit_value_get(thread, "frames"));
    assert_in_range(frames, 1, 256);
    done(r);
    free(p);
}

/* What a page says, said as long as it can be: a dossier has its bounds. */
static void test_the_longest_page(void **state)
{
    (void)state;
    struct crash_page *p = good_page();
    memset(p->names, 'n', sizeof p->names);
    for (int i = 0; i < CRASH_MODULES; i++)
        memset(&p->modules[i], 'm', sizeof p->modules[i]);
    for (int i = 0; i < CRASH_FRAMES; i++)
        p->frames[i] = (struct crash_frame){.pc = UINT64_MAX, .module = 1, .symbol = 1};
    p->frames_n = p->modules_n = p->names_n = UINT32_MAX;
    for (size_t i = 0; i + 8 < sizeof p->python; i += 8)
        memcpy(p->python + i, "Thread \n", 8);
    p->python_n = sizeof p->python;
    struct read r = read_page(p, SIGSEGV);
    assert_in_range(pit_value_len(pit_value_get(r.dossier, "python")), 100, 128);
    char *json = pit_value_to_json(r.dossier, 0);
    assert_non_null(json);
    assert_in_range(strlen(json), 1, 64 * 1024);
    pit_free(json);
    size_t named = 0;
    const pit_value *frame;
    for (size_t i = 0; pit_value_next(pit_value_get(r.dossier, "native"), &i, NULL, &frame);) {
        const char *symbol = pit_value_str_or(pit_value_get(frame, "symbol"), "");
        assert_in_range(strlen(symbol), 0, 256);
        named += strlen(symbol);
    }
    assert_in_range(named, 4096, 96 * CRASH_FRAMES);
    assert_true(misses(r, "not all names had room"));
    done(r);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_that_it_tells),
        cmocka_unit_test(test_no_peak),
        cmocka_unit_test(test_a_signal_that_was_sent_has_a_sender),
        cmocka_unit_test(test_who_has_sent_it),
        cmocka_unit_test(test_what_is_missing_is_named),
        cmocka_unit_test(test_without_native_stacks_none_is_missed),
        cmocka_unit_test(test_stacks_that_were_printed_count_where_there_are_no_others),
        cmocka_unit_test(test_a_page_that_lies_about_its_sizes),
        cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_much_text),
        cmocka_unit_test(test_the_longest_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
