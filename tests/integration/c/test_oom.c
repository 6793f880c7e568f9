/* The class of a death by SIGKILL from outside: what the kernel counts says whether it was the kernel's. Here the counters are the test's. */
#include "integration/c/kit.h"

static atomic_long group_kills, machine_kills;

static int64_t count_group(int group)
{
    (void)group;
    return atomic_load(&group_kills);
}

static int64_t count_machine(int counter)
{
    (void)counter;
    return atomic_load(&machine_kills);
}

static int group_above(char ret[])
{
    strcpy(ret, "/nowhere");
    return 0;
}

static int group_open(const char *path, bool make)
{
    (void)path;
    return make ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -ENOENT;
}

static int group_move(int group, pid_t pid)
{
    (void)group;
    (void)pid;
    return 0;
}

static int group_kill(int group)
{
    (void)group;
    return 0;
}

static int group_remove(const char *path)
{
    (void)path;
    return 0;
}

struct heard {
    pthread_mutex_t lock;
    char class[32];
    atomic_uint n;
};

static int on_crash(const pit_event *ev, void *user)
{
    struct heard *h = user;
    pthread_mutex_lock(&h->lock);
    snprintf(h->class, sizeof h->class, "%s", pit_event_text(ev, "exit_class"));
    pthread_mutex_unlock(&h->lock);
    atomic_fetch_add(&h->n, 1);
    return 0;
}

/* Somebody kills the one worker while the counters rise by so much: the class of its death. */
static void dies(pit *p, struct heard *h, long group, long machine, int sig, const char *class)
{
    pid_t pid = 0;
    unsigned seen = atomic_load(&h->n);
    KIT_AWAIT((pid = kit_worker(p, 0)) != 0);
    atomic_fetch_add(&group_kills, group);
    atomic_fetch_add(&machine_kills, machine);
    assert_int_equal(kill(pid, sig), 0);
    KIT_AWAIT(atomic_load(&h->n) == seen + 1);
    pthread_mutex_lock(&h->lock);
    assert_string_equal(h->class, class);
    pthread_mutex_unlock(&h->lock);
}

static pit *open_counting(struct os_ops *os, bool grouped, struct heard *h)
{
    struct kit k = KIT_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    *os = os_linux;
    os->oom_kills = count_machine;
    os->cgroup_above = group_above;
    os->cgroup_open = group_open;
    os->cgroup_move = group_move;
    os->cgroup_kill = group_kill;
    os->cgroup_remove = group_remove;
    os->cgroup_oom_kills = count_group;
    if (!grouped)
        os->cgroup_above = os_linux.cgroup_above;
    k.pool.restart_backoff = PIT_OFF;
    if (kit_open_os(os, &k, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_int_equal(pit_telemetry_attach(p, "snakepit.worker.crash", on_crash, h, NULL, NULL), 0);
    return p;
}

static void test_the_groups_counter_rose(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os;
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pit *p = open_counting(&os, true, &h);
    dies(p, &h, 0, 0, SIGKILL, "killed");
    dies(p, &h, 1, 1, SIGKILL, "oom");
    dies(p, &h, 0, 1, SIGKILL, "killed"); /* somebody else's */
    dies(p, &h, 1, 1, SIGABRT, "abort");  /* not SIGSEGV: sanitizers make an exit of it */
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "the group's counter");
}

static void test_the_machines_counter_rose(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os;
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pit *p = open_counting(&os, false, &h);
    dies(p, &h, 0, 0, SIGKILL, "killed");
    dies(p, &h, 0, 1, SIGKILL, "oom_suspected");
    dies(p, &h, 0, 0, SIGKILL, "killed");
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "the machine's counter");
}

/* What we end is ours, whatever the kernel counts. */
static void test_what_we_end_is_ours(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct os_ops os;
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pit *p = open_counting(&os, true, &h);
    pit_error *e = NULL;
    KIT_AWAIT(kit_worker(p, 0) != 0);
    atomic_fetch_add(&group_kills, 1);
    if (pit_kill(p, "c/0.1", 0, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    KIT_AWAIT(kit_worker(p, 0) != 0);
    assert_int_equal(kit_stats(p).crashes, 0);
    assert_int_equal(atomic_load(&h.n), 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "what we end");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_groups_counter_rose),
        cmocka_unit_test(test_the_machines_counter_rose),
        cmocka_unit_test(test_what_we_end_is_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
