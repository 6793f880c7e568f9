/* Exits and their classes, environments, the pool's lock, the queue, what is learnt of commands. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/env.h"
#include "base/sm.h"
#include "pool/commands.h"
#include "pool/queue.h"
#include "ring/segment.h"
#include "worker/exit.h"
#include "worker/poollock.h"

static void test_every_exit_has_its_class(void **state)
{
    (void)state;
    static const struct {
        struct guard_exit how;
        bool expected;
        const char *name;
    } rows[] = {
        {{CLD_EXITED, 0}, true, "normal"},
        {{CLD_KILLED, SIGTERM}, true, "normal"},
        {{CLD_KILLED, SIGKILL}, true, "normal"},
        {{CLD_EXITED, 0}, false, "unexpected_exit"},
        {{CLD_EXITED, 1}, false, "python_error"},
        {{CLD_EXITED, 3}, false, "exit_code"},
        {{CLD_EXITED, 255}, true, "exit_code"},
        {{CLD_KILLED, SIGSEGV}, false, "segfault"},
        {{CLD_DUMPED, SIGSEGV}, true, "segfault"},
        {{CLD_DUMPED, SIGBUS}, false, "bus_error"},
        {{CLD_DUMPED, SIGABRT}, false, "abort"},
        {{CLD_KILLED, SIGFPE}, false, "fpe"},
        {{CLD_KILLED, SIGILL}, false, "illegal_instruction"},
        {{CLD_KILLED, SIGKILL}, false, "killed"},
        {{CLD_KILLED, SIGTERM}, false, "signal"},
        {{CLD_KILLED, SIGUSR1}, false, "signal"},
        {{0, 0}, false, "unknown"},
        {{0, 0}, true, "unknown"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(exit_class_name(exit_classify(rows[i].how, rows[i].expected)), rows[i].name);
    assert_int_equal(exit_shell_code((struct guard_exit){CLD_KILLED, SIGSEGV}), 139);
    assert_int_equal(exit_shell_code((struct guard_exit){CLD_EXITED, 7}), 7);
    assert_int_equal(exit_shell_code((struct guard_exit){0, 0}), -1);
}

static void test_the_text_of_an_exit_has_its_number(void **state)
{
    (void)state;
    char text[EXIT_TEXT_SIZE];
    assert_string_equal(exit_text(EXIT_EXIT_CODE, (struct guard_exit){CLD_EXITED, 7}, text), "exited with status 7");
    assert_string_equal(exit_text(EXIT_SIGNAL, (struct guard_exit){CLD_KILLED, SIGTERM}, text), "died of SIGTERM");
    assert_string_equal(exit_text(EXIT_SIGNAL, (struct guard_exit){CLD_KILLED, 40}, text), "died of signal 40");
    assert_string_equal(exit_text(EXIT_SEGFAULT, (struct guard_exit){CLD_DUMPED, SIGSEGV}, text),
                        exit_class_text(EXIT_SEGFAULT));
    assert_string_equal(exit_text(EXIT_UNKNOWN, (struct guard_exit){0, 0}, text), exit_class_text(EXIT_UNKNOWN));
}

static void test_an_end_is_described_with_clean_text(void **state)
{
    (void)state;
    static const char printed[] = "caf\xc3\xa9 \xff\xed\xa0\x80 end";
    pit_error *e = error_new(PIT_E_WORKER_CRASH, "gone");
    exit_describe(e, EXIT_SEGFAULT, (struct guard_exit){CLD_DUMPED, SIGSEGV},
                  (struct exit_printed){printed, sizeof printed - 1, false});
    const pit_value *d = pit_error_details(e);
    assert_string_equal(pit_value_str(pit_value_get(d, "exit_class")), "segfault");
    assert_string_equal(pit_value_str(pit_value_get(d, "signal")), "SIGSEGV");
    assert_string_equal(pit_value_str(pit_value_get(d, "stderr")),
                        "caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd end");
    pit_error_free(e);
    e = error_new(PIT_E_WORKER_KILLED, "we did that");
    exit_describe(e, EXIT_NORMAL, (struct guard_exit){CLD_KILLED, SIGKILL}, (struct exit_printed){printed, 3, false});
    d = pit_error_details(e);
    assert_int_equal(pit_value_len(d), 1);
    assert_string_equal(pit_value_str(pit_value_get(d, "stderr")), "caf");
    pit_error_free(e);
}

static void test_an_end_that_was_not_its_own_doing_has_a_next_step(void **state)
{
    (void)state;
    static const int codes[] = {PIT_E_GUARD_LOST, PIT_E_WORKER_KILLED, PIT_E_WORKER_RECYCLED, PIT_E_HEARTBEAT_TIMEOUT,
                                PIT_E_PROTOCOL_ERROR};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        pit_error *e = exit_suggest_step(error_new(codes[i], "gone"), codes[i]);
        assert_int_equal(pit_value_len(pit_error_suggestions(e)), 1);
        pit_error_free(e);
    }
    pit_error *e = exit_suggest_step(error_new(PIT_E_WORKER_CRASH, "gone"), PIT_E_WORKER_CRASH);
    assert_null(pit_error_suggestions(e)); /* its class says more */
    pit_error_free(e);
}

static void test_what_is_cut_off_is_no_secret_without_its_name(void **state)
{
    (void)state;
    static const char printed[] = "hunter2\npassword=x\nend\n", line[] = "of a single line";
    struct exit_printed p = {printed, sizeof printed - 1, true};
    pit_value *words = exit_words(p);
    assert_string_equal(pit_value_str(words), "password=<REDACTED>\nend\n");
    pit_value_free(words);
    p.is_cut = false;
    words = exit_words(p);
    assert_string_equal(pit_value_str(words), "hunter2\npassword=<REDACTED>\nend\n");
    pit_value_free(words);
    words = exit_words((struct exit_printed){line, sizeof line - 1, true});
    assert_string_equal(pit_value_str(words), "<REDACTED>");
    pit_value_free(words);
    assert_null(exit_words((struct exit_printed){line, 0, true}));
}

static void test_environment(void **state)
{
    (void)state;
    static const char *const all[] = {"A=1", "B=2", "A=3", NULL};
    struct env e = {0};
    env_put_all(&e, all);
    env_default(&e, "B=9");
    env_default(&e, "C=4");
    env_putf(&e, "D=%d", 5);
    assert_string_equal(env_get(&e, "A"), "3");
    assert_string_equal(env_get(&e, "B"), "2");
    assert_string_equal(env_get(&e, "C"), "4");
    assert_null(env_get(&e, "AB"));
    assert_int_equal(e.n, 4);
    char **items = env_take(&e);
    assert_string_equal(items[3], "D=5");
    assert_null(items[4]);
    mem_free_strv(items);
}

static int notes_seen;

static int on_event(const pit_event *ev, void *user)
{
    struct poollock *l = user;
    poollock_acquire(l); /* a handler may do whatever takes the lock */
    poollock_release(l);
    assert_string_equal(pit_event_text(ev, "to"), "busy");
    notes_seen++;
    return 0;
}

static uint64_t no_time(void)
{
    return 1;
}

static void test_what_is_noted_is_told_after_the_lock(void **state)
{
    (void)state;
    struct telemetry *t = telemetry_create(no_time);
    struct poollock l;
    assert_int_equal(poollock_init(&l, t, "p"), 0);
    assert_int_equal(telemetry_attach(t, "snakepit.worker.state_changed", on_event, &l, NULL), 0);
    struct state_note n = {.worker_id = "p/0.1", .from = "ready", .to = "busy"};
    poollock_acquire(&l);
    for (int i = 0; i < 5; i++)
        poollock_note(&l, &n);
    assert_int_equal(notes_seen, 0);
    poollock_release(&l);
    assert_int_equal(notes_seen, 5);
    poollock_acquire(&l);
    poollock_release(&l);
    assert_int_equal(notes_seen, 5);
    poollock_finish(&l);
    telemetry_destroy(t);
}

static void test_queue_serves_the_highest_priority_first(void **state)
{
    (void)state;
    struct queue q;
    struct call c[5] = {{.priority = PIT_PRIORITY_NORMAL},
                        {.priority = PIT_PRIORITY_BACKGROUND},
                        {.priority = PIT_PRIORITY_URGENT},
                        {.priority = PIT_PRIORITY_NORMAL},
                        {.priority = PIT_PRIORITY_NORMAL}};
    static const int order[] = {2, 4, 0, 3, 1};
    queue_init(&q);
    assert_null(queue_head(&q));
    for (int i = 0; i < 4; i++)
        queue_push(&q, &c[i]);
    queue_push_front(&q, &c[4]);
    assert_int_equal(q.depth, 5);
    for (int i = 0; i < 5; i++) {
        assert_ptr_equal(queue_head(&q), &c[order[i]]);
        queue_remove(&q, queue_head(&q));
    }
    assert_int_equal(q.depth, 0);
    assert_null(queue_head(&q));
}

static void test_commands_are_short_when_measured_so(void **state)
{
    (void)state;
    static struct commands c;
    bool measure;
    assert_int_equal(commands_window(&c, "quick", &measure), 1);
    assert_true(measure);
    for (int i = 0; i < 4; i++)
        commands_measured(&c, "quick", 2000);
    assert_true(commands_window(&c, "quick", &measure) > 1);
    commands_measured(&c, "quick", 900000); /* one long run counts at once */
    assert_int_equal(commands_window(&c, "quick", &measure), 1);
    for (int i = 0; i < 40; i++)
        commands_measured(&c, "quick", 2000);
    assert_true(commands_window(&c, "quick", &measure) > 1);
}

static void test_the_window_follows_the_time(void **state)
{
    (void)state;
    static struct commands c;
    bool measure;
    for (int i = 0; i < 4; i++) {
        commands_measured(&c, "no call yet", 1);
        commands_window(&c, "tiny", &measure);
        commands_measured(&c, "tiny", 100);
        commands_window(&c, "small", &measure);
        commands_measured(&c, "small", 40000);
    }
    assert_int_equal(commands_window(&c, "tiny", &measure), SEGMENT_SLOTS);
    assert_in_range(commands_window(&c, "small", &measure), 2, 10);
}

static void test_commands_forget_the_rarely_used(void **state)
{
    (void)state;
    static struct commands c;
    bool measure;
    char name[16];
    for (int i = 0; i < 4; i++) {
        commands_window(&c, "often", &measure);
        commands_measured(&c, "often", 1000);
    }
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "once%d", i);
        assert_int_equal(commands_window(&c, name, &measure), 1);
        assert_true(commands_window(&c, "often", &measure) > 1);
    }
    char longest[COMMAND_NAME + 8];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(commands_window(&c, longest, &measure), 1);
    assert_false(measure);
}

static void test_an_illegal_edge_is_refused(void **state)
{
    (void)state;
    static const struct sm_state states[] = {{NULL, 0}, {"a", SM_TO(2)}, {"b", 0}};
    static const struct sm_table table = {"t", states, 3};
    int s = 1;
    assert_false(sm_move(&table, &s, 1));
    assert_true(sm_move(&table, &s, 2));
    assert_false(sm_move(&table, &s, 1));
    assert_false(sm_move(&table, &s, 3));
    assert_false(sm_move(&table, &s, 0));
    assert_int_equal(s, 2);
    assert_string_equal(sm_name(&table, s), "b");
    assert_string_equal(sm_name(&table, 7), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_exit_has_its_class),
        cmocka_unit_test(test_the_text_of_an_exit_has_its_number),
        cmocka_unit_test(test_an_end_is_described_with_clean_text),
        cmocka_unit_test(test_an_end_that_was_not_its_own_doing_has_a_next_step),
        cmocka_unit_test(test_what_is_cut_off_is_no_secret_without_its_name),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_what_is_noted_is_told_after_the_lock),
        cmocka_unit_test(test_queue_serves_the_highest_priority_first),
        cmocka_unit_test(test_commands_are_short_when_measured_so),
        cmocka_unit_test(test_the_window_follows_the_time),
        cmocka_unit_test(test_commands_forget_the_rarely_used),
        cmocka_unit_test(test_an_illegal_edge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
