/* The host's side of the guard with its k-th system call, and its k-th allocation, failing, for every k that a whole life reaches:
 * start, more spawns than the window holds, ends, the loss of the guard or an orderly end. Each time: a typed error, every callback
 * at most once, nothing alive, no descriptor and no block left. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "fault/faulty_os.h"
#include "fault/guard_kit.h"
#include "patience.h"
#include <snakepit/runtime.h>

enum { WORKERS = 10 };

static struct kit k;
static long alloc_at, allocs, blocks;

static void *count_alloc(size_t n, void *user)
{
    (void)user;
    void *p = alloc_at != 0 && ++allocs == alloc_at ? NULL : malloc(n);
    blocks += p != NULL;
    return p;
}

static void *count_realloc(void *block, size_t n, void *user)
{
    (void)user;
    return alloc_at != 0 && ++allocs == alloc_at ? NULL : realloc(block, n);
}

static void count_free(void *block, void *user)
{
    (void)user;
    blocks--;
    free(block);
}

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static bool is_typed(int rc)
{
    return rc == PIT_E_SYSTEM_ERROR || rc == PIT_E_GUARD_UNAVAILABLE || rc == PIT_E_GUARD_LOST || rc == PIT_E_ALLOCATION_FAILED;
}

/* Each answered, or refused with a code. A process whose answer is still to come is waited for. */
static void use_guard(bool lose)
{
    const char *argv[] = {"/bin/sh", "-c", "exit 4", NULL};
    struct kit_proc *p[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        p[i] = kit_spawn(&k, argv, "w", NULL, -1, NULL);
        assert_true(p[i] != NULL || is_typed(k.error) || k.error == 0);
    }
    if (lose)
        kill(guard_pid(k.guard), SIGKILL);
    uint64_t limit = os_linux.now_ns() + KIT_LIMIT_NS;
    for (int i = 0; i < WORKERS; i++) {
        if (p[i] == NULL)
            continue;
        while (k.lost == 0 && !(p[i]->spawned && (p[i]->error != 0 || p[i]->exited)) && os_linux.now_ns() < limit)
            loop_run_once(k.loop, limit);
        assert_true(p[i]->spawned || k.lost != 0);
    }
    if (lose)
        assert_true(kit_await_lost(&k));
    for (int i = 0; i < k.n; i++) {
        assert_true(k.procs[i].spawned);
        assert_true(!k.procs[i].exited || (k.procs[i].how.code == CLD_EXITED && k.procs[i].how.status == 4));
    }
}

/* 0, a code, or what loop_create says. */
static int start(const struct os_ops *os, const char *run, bool on_the_loop)
{
    int rc = (on_the_loop ? kit_begin : kit_start)(&k, os, SNAKEPIT_GUARD_PATH, run, 10000);
    if (rc != 0 || !on_the_loop)
        return rc;
    assert_true(kit_await_started(&k));
    if (k.error == 0)
        return 0;
    guard_destroy(k.guard, 0);
    return PIT_E_GUARD_UNAVAILABLE;
}

static void live(const struct os_ops *os, bool on_the_loop, bool lose)
{
    static int count;
    char run[48];
    snprintf(run, sizeof run, "c%d.%d", (int)getpid(), count++);
    int rc = start(os, run, on_the_loop);
    if (rc == 0) {
        use_guard(lose);
        kit_stop(&k, 10000);
    } else {
        assert_true(is_typed(rc) || rc == -EMFILE || rc == -ENOSPC || rc == -ENOMEM); /* the latter: loop_create */
        loop_destroy(k.loop);
    }
    assert_int_equal(k.bad, 0);
    /* what was killed dies in its own time, but within the 2 s in which nothing of ours may be alive */
    struct patience patience = patience_for(2000);
    while (kit_alive(run) != 0)
        if (patience_is_over(&patience))
            fail_msg("%d processes were left when %s failed", kit_alive(run), faulty_hit() != NULL ? faulty_hit() : "nothing");
}

/* A guard whose reaping was made to fail is left to whoever waits for it: here. */
static void collect_children(void)
{
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static void run_with_faults(bool on_the_loop, bool lose)
{
    int before = count_fds();
    long at = 0;
    do {
        faulty_arm(++at);
        live(&faulty_os, on_the_loop, lose);
        collect_children();
        if (count_fds() != before)
            fail_msg("descriptors left when call %ld (%s) failed", at, faulty_hit());
    } while (faulty_hit() != NULL);
    print_message("%ld failing calls\n", at - 1);
    assert_true(at > 30);
}

static void test_kth_call(void **state)
{
    (void)state;
    faulty_init();
    run_with_faults(false, false);
    run_with_faults(false, true);
    run_with_faults(true, false);
}

static void run_without_memory(bool on_the_loop)
{
    const pit_allocator counting = {sizeof counting, count_alloc, count_realloc, count_free, NULL};
    assert_int_equal(mem_set_allocator(&counting), 0);
    long at = 0;
    int before = count_fds();
    do {
        alloc_at = ++at;
        allocs = 0;
        live(&os_linux, on_the_loop, false);
        assert_int_equal(blocks, 0);
        assert_int_equal(count_fds(), before);
    } while (allocs >= at);
    alloc_at = 0;
    mem_set_allocator(NULL);
    print_message("%ld failing allocations\n", at - 1);
    assert_true(at > 10);
}

static void test_kth_allocation(void **state)
{
    (void)state;
    run_without_memory(false);
    run_without_memory(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kth_call),
        cmocka_unit_test(test_kth_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
