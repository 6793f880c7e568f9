/* The fault table of the guard: the k-th fork, pipe, pidfd_open, sendmsg, recvmsg, waitid, ... of the guard fails, for every k that a
 * scene of four workers reaches. Each time the host gets a typed answer to every request (or `lost`), every end once and with the
 * right status, and nothing is left alive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "children.h"
#include "fault/guard_kit.h"

#define FAULTY_GUARD TEST_BUILD_DIR "/tests/snakepit-guard-faults"

static struct kit k;

static const char *const quick[] = {"/bin/sh", "-c", "exit 5", NULL};
static const char *const lasting[] = {"/bin/sh", "-c", "(setsid sleep 1000 &); sleep 1000 & wait", NULL};
static const char *const missing[] = {"/nonexistent", NULL};

static int start(const char *fault)
{
    static int count;
    char run[96];
    snprintf(run, sizeof run, "f%d.%d@%s", (int)getpid(), count++, fault);
    return kit_start(&k, &os_linux, FAULTY_GUARD, run, 10000);
}

/* 0 is what a sweep finds when the guard has done its work. */
static void end(uint64_t within_ms)
{
    char run[sizeof k.run_id];
    snprintf(run, sizeof run, "%s", k.run_id);
    kit_stop(&k, within_ms);
    assert_int_equal(k.bad, 0);
    assert_int_equal(kit_sweep(run), 0);
}

/* A request that is refused says that the guard is gone, and it is. */
static struct kit_proc *ask(const char *const *argv, const char *id)
{
    struct kit_proc *p = kit_spawn(&k, argv, id, NULL, -1, NULL);
    if (p == NULL) {
        assert_int_equal(k.error, PIT_E_GUARD_LOST);
        assert_true(kit_await_lost(&k));
    }
    return p;
}

static bool settled(const struct kit_proc *p)
{
    return k.lost != 0 || p == NULL || (p->spawned && (p->error != 0 || p->exited));
}

static void await_settled(const struct kit_proc *p)
{
    uint64_t limit = os_linux.now_ns() + KIT_LIMIT_NS;
    while (!settled(p) && os_linux.now_ns() < limit)
        loop_run_once(k.loop, limit);
    assert_true(settled(p));
}

static void expect_end(const struct kit_proc *p, int code, int status)
{
    if (p == NULL || !p->exited)
        return;
    assert_int_equal(p->how.code, code);
    assert_int_equal(p->how.status, status);
}

/* Two that end by themselves, one that cannot start, one that is killed with its descendants. */
static void scene(void)
{
    struct kit_proc *a = ask(quick, "a"), *b = ask(missing, "b"), *c = ask(lasting, "c"), *d = ask(quick, "d");
    await_settled(a);
    await_settled(b);
    await_settled(d);
    if (k.lost == 0)
        assert_true(kit_await(&k, &c->spawned));
    if (k.lost == 0 && c->error == 0) {
        int rc = guard_kill(k.guard, c->pid, SIGKILL);
        assert_true(rc == 0 || rc == PIT_E_SYSTEM_ERROR);
        await_settled(c);
    }
    if (k.lost == 0)
        assert_true(b->error != 0);
    expect_end(a, CLD_EXITED, 5);
    expect_end(c, CLD_KILLED, SIGKILL);
    expect_end(d, CLD_EXITED, 5);
    for (int i = 0; i < k.n; i++) /* every request has had its one answer */
        assert_true(k.procs[i].spawned);
}

/* What failed, as the host was told it. */
static int count_errors(const char *call, int error)
{
    int n = 0;
    for (int i = 0; i < k.n; i++)
        n += k.procs[i].error == error && strcmp(k.procs[i].call, call) == 0;
    return n;
}

static void test_kth_call_fails(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        int error, most;
        bool told; /* the host is told of exactly one */
    } table[] = {
        {"pipe", EMFILE, 4, true},       {"fork", EAGAIN, 4, true},         {"fork", ENOMEM, 4, true},
        {"pidfd_open", EMFILE, 4, true}, {"sendmsg", ENOBUFS, 10, false},   {"sendmsg", EAGAIN, 10, false},
        {"recvmsg", ENOMEM, 6, false},   {"recvmsg", ECONNRESET, 6, false}, {"waitid", EAGAIN, 24, false},
        {"children", ENOENT, 6, false},
    };
    int n = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int at = 1; at <= table[i].most; at++) {
            char fault[64];
            snprintf(fault, sizeof fault, "%s:%d=%d", table[i].call, at, table[i].error);
            assert_int_equal(start(fault), 0);
            scene();
            if (table[i].told)
                assert_int_equal(count_errors(table[i].call, table[i].error), 1);
            end(10000);
            n++;
        }
    }
    print_message("%d failing calls\n", n);
}

static void test_start_fails(void **state)
{
    (void)state;
    static const char *const calls[] = {"prctl", "signalfd"};
    for (int i = 0; i < 2; i++) {
        char fault[64];
        snprintf(fault, sizeof fault, "%s:1=%d", calls[i], EPERM);
        assert_int_equal(start(fault), PIT_E_GUARD_UNAVAILABLE);
        assert_int_equal(k.error, EPERM);
        assert_string_equal(k.call, calls[i]);
        loop_destroy(k.loop);
        assert_true(no_child_is_left());
    }
}

static void test_every_fork_fails(void **state)
{
    (void)state;
    assert_int_equal(start("fork:1+=11"), 0);
    for (int i = 0; i < 20; i++) {
        struct kit_proc *p = kit_spawn(&k, quick, "w", NULL, -1, NULL);
        assert_non_null(p);
        assert_true(kit_await(&k, &p->spawned));
        assert_int_equal(p->error, EAGAIN);
        assert_string_equal(p->call, "fork");
    }
    end(10000);
}

/* A kernel without the list of children: descendants are found by their parents. */
static void test_no_list_of_children(void **state)
{
    (void)state;
    assert_int_equal(start("children:1+=2"), 0);
    scene();
    assert_int_equal(k.lost, 0);
    end(10000);
}

/* A guard that can reap nothing, or tell nothing, is ended at the deadline, and its processes with it. */
static void test_stuck_guard(void **state)
{
    (void)state;
    static const char *const faults[] = {"waitid:1+=22", "sendmsg:1+=105"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(start(faults[i]), 0);
        struct kit_proc *p = kit_spawn(&k, lasting, "w", NULL, -1, NULL);
        assert_non_null(p);
        if (i == 0)
            assert_true(kit_await(&k, &p->spawned));
        end(100);
        assert_true(p->spawned);
    }
}

/* The table of the test binary has 16 places: the 17th is refused, and a full guard still hears what else it is told. */
static void test_full_table(void **state)
{
    (void)state;
    enum { PLACES = 16, ASKED = 24 };
    struct kit_proc *p[ASKED];
    assert_int_equal(start("none:1"), 0);
    for (int i = 0; i < ASKED; i++)
        assert_non_null(p[i] = kit_spawn(&k, lasting, "w", NULL, -1, NULL));
    for (int i = 0; i < ASKED; i++)
        assert_true(kit_await(&k, &p[i]->spawned));
    assert_int_equal(count_errors("table", EAGAIN), ASKED - PLACES);
    assert_int_equal(guard_kill(k.guard, p[0]->pid, SIGKILL), 0);
    assert_true(kit_await(&k, &p[0]->exited));
    struct kit_proc *again = kit_spawn(&k, lasting, "w", NULL, -1, NULL);
    assert_true(again != NULL && kit_await(&k, &again->spawned));
    assert_int_equal(again->error, 0);
    end(10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kth_call_fails),      cmocka_unit_test(test_start_fails), cmocka_unit_test(test_every_fork_fails),
        cmocka_unit_test(test_no_list_of_children), cmocka_unit_test(test_stuck_guard), cmocka_unit_test(test_full_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
