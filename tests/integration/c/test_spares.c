/* Hot spares: they get no call, take over from who is lost, and are made up for. Workers in C. */
#include "integration/c/kit.h"

static pit *open_with(int workers, int spares)
{
    struct kit k = KIT_INIT;
    k.workers = workers;
    k.pool.spare_workers = spares;
    k.pool.restart_backoff = PIT_OFF;
    pit *p = kit_open(&k);
    KIT_AWAIT((int)kit_stats(p).spares == spares);
    return p;
}

static void settle(pit *p, struct kit_before before, const char *what)
{
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, what);
}

/* A worker that is a spare, or is none; 0: there is no such. */
static pid_t find(pit *p, bool spare)
{
    pit_worker_list *l = NULL;
    pid_t pid = 0;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++) {
        const pit_worker_info *w = pit_worker_list_at(l, i);
        if (w->state == PIT_WORKER_READY && ((w->flags & PIT_WORKER_FLAG_SPARE) != 0) == spare)
            pid = w->pid;
    }
    pit_worker_list_free(l);
    return pid;
}

static int64_t answering_pid(pit *p)
{
    int64_t pid = 0;
    assert_int_equal(kit_call(p, "pid", 0, KIT_LIMIT_MS, &pid), 0);
    return pid;
}

static void test_spare_gets_no_call(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_with(2, 2);
    pit_stats s = kit_stats(p);
    assert_int_equal(s.workers, 4);
    assert_int_equal(s.available, 2);
    enum { CALLS = 40 };
    pit_future *f[CALLS];
    pid_t served[2] = {0};
    int n = 0;
    for (int i = 0; i < CALLS; i++)
        f[i] = kit_submit(p, "pid", 0, NULL);
    for (int i = 0; i < CALLS; i++) {
        int64_t pid = 0;
        assert_int_equal(kit_outcome(f[i], &pid), 0);
        bool known = n > 0 && (served[0] == pid || served[1] == pid);
        assert_true(known || n < 2);
        if (!known)
            served[n++] = (pid_t)pid;
    }
    settle(p, before, "no call");
}

/* The one worker is killed: the spare answers, and there is a spare again. */
static void test_takes_over(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_with(1, 1);
    for (unsigned round = 1; round <= 5; round++) {
        pid_t spare = find(p, true), old = find(p, false);
        assert_true(spare > 0 && old > 0);
        assert_int_equal(answering_pid(p), old);
        assert_int_equal(kill(old, SIGKILL), 0);
        KIT_AWAIT(kit_stats(p).promoted == round);
        assert_int_equal(answering_pid(p), spare);
        KIT_AWAIT(kit_stats(p).spares == 1 && kit_stats(p).workers == 2);
    }
    settle(p, before, "takes over");
}

/* A spare itself is lost: nobody takes over from it, and it is made up for. */
static void test_spare_is_lost(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_with(1, 1);
    pid_t spare = find(p, true), serving = find(p, false);
    assert_int_equal(kill(spare, SIGKILL), 0);
    KIT_AWAIT(find(p, true) != 0 && find(p, true) != spare);
    assert_int_equal(kit_stats(p).promoted, 0);
    assert_int_equal(answering_pid(p), serving);
    settle(p, before, "spare is lost");
}

/* All at once: the pool is whole again, with its spare. */
static void test_all_are_lost(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_with(2, 1);
    pid_t old[3];
    for (size_t i = 0; i < 3; i++)
        old[i] = kit_worker(p, i);
    for (size_t i = 0; i < 3; i++)
        kill(old[i], SIGKILL);
    KIT_AWAIT(kit_stats(p).crashes == 3);
    KIT_AWAIT(kit_stats(p).available == 2 && kit_stats(p).spares == 1);
    assert_true(answering_pid(p) > 0);
    settle(p, before, "all are lost");
}

/* The one that serves is recycled: the spare takes over while a successor starts, which becomes the spare. */
static void test_recycled(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    pit *p = open_with(1, 1);
    pid_t spare = find(p, true), old = find(p, false);
    char id[64] = "";
    pit_worker_list *l = NULL;
    assert_int_equal(pit_list_workers(p, NULL, &l, NULL), 0);
    for (size_t i = 0; i < pit_worker_list_len(l); i++)
        if (pit_worker_list_at(l, i)->pid == old)
            snprintf(id, sizeof id, "%s", pit_worker_list_at(l, i)->id);
    pit_worker_list_free(l);
    assert_int_equal(pit_worker_recycle(p, NULL, id, NULL), 0);
    KIT_AWAIT(kit_stats(p).promoted == 1);
    assert_int_equal(answering_pid(p), spare);
    KIT_AWAIT(kit_stats(p).spares == 1 && kit_stats(p).available == 1 && find(p, true) != old);
    assert_int_equal(answering_pid(p), spare);
    settle(p, before, "recycled");
}

static void test_limits(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct kit k = KIT_INIT;
    pit *p = NULL;
    k.pool.spare_workers = -1;
    assert_int_equal(kit_open_os(&os_linux, &k, &p, NULL), PIT_E_INVALID_POOL_SIZE);
    k.pool.spare_workers = 5000;
    assert_int_equal(kit_open_os(&os_linux, &k, &p, NULL), PIT_E_INVALID_POOL_SIZE);
    kit_clean(before, "limits");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spare_gets_no_call), cmocka_unit_test(test_takes_over),   cmocka_unit_test(test_spare_is_lost),
        cmocka_unit_test(test_recycled),           cmocka_unit_test(test_all_are_lost), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
