/* Width: many callers on many workers, and a host with few descriptors, few processes, no privileges, or a container's system calls.
 * What changes the process for good happens in a child. */
#include "integration/c/kit.h"

#include <sys/resource.h>

#include "confine.h"
#include "skip.h"

enum { CALLERS = 64 };

/* ---- many ---- */

struct caller {
    pit *p;
    int id, calls, errors;
};

static void *call_on(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < c->calls; i++) {
        int64_t n = -1, wanted = (int64_t)c->id * 100000 + i;
        if (i % 8 == 7)
            c->errors += kit_outcome(kit_submit(c->p, "echo", wanted, NULL), &n) != 0 || n != wanted;
        else
            c->errors += kit_call(c->p, "echo", wanted, KIT_LIMIT_MS, &n) != 0 || n != wanted;
    }
    return NULL;
}

static void use_widely(pit *p, int callers, int calls)
{
    struct caller c[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < callers; i++) {
        c[i] = (struct caller){.p = p, .id = i, .calls = calls};
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &c[i]), 0);
    }
    for (int i = 0; i < callers; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(c[i].errors, 0);
    }
    pit_stats s = kit_stats(p);
    assert_int_equal(s.requests, s.succeeded + s.errors);
    assert_int_equal(s.queued, 0);
}

static void test_wide(void **state)
{
    (void)state;
    static const char *const channels[] = {"ring", "socket"};
    for (int i = 0; i < 2; i++) {
        struct kit_before before = kit_before();
        struct kit k = KIT_INIT;
        k.workers = 32;
        k.channel = channels[i];
        k.pool.startup_batch_size = 32;
        pit *p = kit_open(&k);
        use_widely(p, CALLERS, 200);
        assert_int_equal(kit_stats(p).requests, CALLERS * 200);
        assert_int_equal(kit_stats(p).errors, 0);
        assert_int_equal(pit_close(p), 0);
        kit_clean(before, "wide");
    }
}

static void *greet_on(void *arg)
{
    struct caller *c = arg;
    char name[32], wanted[64];
    for (int i = 0; i < c->calls; i++) {
        pit_value *v = NULL;
        snprintf(name, sizeof name, "%d.%d", c->id, i);
        snprintf(wanted, sizeof wanted, "Hello, %s", name);
        c->errors += pit_callf(c->p, "greet", NULL, &v, NULL, "{s:s}", "name", name) != 0 ||
                     strcmp(pit_value_str_or(v, ""), wanted) != 0;
        pit_value_free(v);
    }
    return NULL;
}

static void test_wide_python(void **state)
{
    (void)state;
    struct kit_before before = kit_before();
    struct caller c[CALLERS];
    pthread_t threads[CALLERS];
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_SOURCE_DIR "/python";
    o.adapter = TEST_SOURCE_DIR "/examples/hello/hello.py";
    o.workers = 32;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        c[i] = (struct caller){.p = p, .id = i, .calls = 50};
        assert_int_equal(pthread_create(&threads[i], NULL, greet_on, &c[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(c[i].errors, 0);
    }
    assert_int_equal(pit_await_all_ready(p, NULL, 3 * KIT_LIMIT_MS, NULL), 0);
    assert_int_equal(kit_stats(p).errors, 0);
    assert_int_equal(pit_close(p), 0);
    kit_clean(before, "wide, Python");
}

/* ---- few ---- */

/* Runs fn in a child; it says by its exit status whether all was well. */
static void in_a_child(int (*fn)(void), const char *what)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(fn());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("%s: status %x", what, (unsigned)status);
    assert_int_equal(os_linux.kill_by_env(kit_mark), 0);
}

/* A failed check ends the child, with a line on stderr. */
#define NEED(condition)                                                                                                        \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                    \
            return 1;                                                                                                          \
        }                                                                                                                      \
    } while (0)

static int few_descriptors(void)
{
    const struct rlimit limit = {256, 256};
    struct kit k = KIT_INIT;
    struct kit_before before = kit_before();
    pit *p = NULL;
    pit_error *e = NULL;
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    k.workers = 32;
    k.pool.startup_batch_size = 100;
    NEED(kit_open_os(&os_linux, &k, &p, &e) == 0);
    NEED(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL) == 0);
    NEED(kit_stats(p).workers == 32);
    NEED(kit_call(p, "echo", 1, 0, NULL) == 0);
    NEED(pit_close(p) == 0);
    NEED(kit_fds() == before.fds);
    k.workers = 100; /* more than there can be: those that started serve */
    NEED(kit_open_os(&os_linux, &k, &p, &e) == 0);
    for (int i = 0; i < 200; i++)
        NEED(kit_call(p, "echo", i, 0, NULL) == 0);
    NEED(KIT_COMES_TRUE(kit_stats(p).available > 20));
    NEED(kit_stats(p).available < 100);
    NEED(pit_close(p) == 0);
    NEED(kit_fds() == before.fds);
    NEED(os_linux.kill_by_env(kit_mark) == 0);
    return 0;
}

static void test_few_descriptors(void **state)
{
    (void)state;
    in_a_child(few_descriptors, "few descriptors");
}

static int few_processes(void)
{
    struct rlimit limit = {1, 1};
    struct kit k = KIT_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    NEED(confine_user(confine_lonely_user(), KIT_WORKER) == 0);
    for (rlim_t n = 1; n < 9; n++) {
        limit.rlim_cur = limit.rlim_max = 8;
        limit.rlim_cur = n;
        NEED(setrlimit(RLIMIT_NPROC, &limit) == 0);
        k.workers = 12;
        int rc = kit_open_os(&os_linux, &k, &p, &e);
        NEED((rc == 0) == (p != NULL) && (rc == 0 || (kit_typed(rc) && pit_error_code(e) == rc)));
        pit_error_free(e);
        if (rc == 0)
            NEED(kit_call(p, "echo", 1, 0, NULL) == 0 && kit_stats(p).available < 12);
        NEED(pit_close(p) == 0);
        NEED(n < 8 || rc == 0);
        p = NULL;
        e = NULL;
    }
    NEED(os_linux.kill_by_env(kit_mark) == 0);
    return 0;
}

static void test_few_processes(void **state)
{
    (void)state;
    if (geteuid() != 0)
        SKIP_BECAUSE("the limit on processes needs a user without any, which only root can become");
    in_a_child(few_processes, "few processes");
}

/* ---- a container's profile ---- */

static int use_all(int drive)
{
    struct kit k = KIT_INIT;
    k.drive = drive;
    pit *p = NULL;
    pit_error *e = NULL;
    k.workers = 2;
    if (kit_open_os(&os_linux, &k, &p, &e) != 0)
        fprintf(stderr, "%s\n", pit_error_string(e));
    NEED(p != NULL);
    NEED(pit_await_all_ready(p, NULL, KIT_LIMIT_MS, NULL) == 0);
    NEED(kit_call(p, "echo", 1, 0, NULL) == 0);
    NEED(kit_outcome(kit_submit(p, "echo", 1, NULL), NULL) == 0);
    NEED(kit_call(p, "exit", 3, 0, NULL) == PIT_E_WORKER_CRASH);
    NEED(kit_call(p, "gate", 0, 50, NULL) == PIT_E_DEADLINE_EXCEEDED);
    int64_t pid = 0;
    NEED(kit_call(p, "grandchild", 1, 0, &pid) == 0);
    NEED(pit_close(p) == 0);
    NEED(kill((pid_t)pid, 0) != 0);
    NEED(os_linux.kill_by_env(kit_mark) == 0);
    return 0;
}

static int refused_nosys(void)
{
    static const struct refusal r[] = {{SYS_clone3, ENOSYS, 0}, {SYS_close_range, ENOSYS, 0}, {SYS_epoll_pwait2, ENOSYS, 0}};
    NEED(confine_refuse(r, 3) == 0);
    return use_all(PIT_DRIVE_THREAD);
}

static int refused_perm(void)
{
    static const struct refusal r[] = {{SYS_close_range, EPERM, 0}, {SYS_epoll_pwait2, EPERM, 0}};
    NEED(confine_refuse(r, 2) == 0);
    return use_all(PIT_DRIVE_THREAD);
}

/* There is no doing without this call: that must be said, not hung over. */
static int told_of(struct refusal r, const char *word)
{
    struct kit k = KIT_INIT;
    pit *p = NULL;
    pit_error *e = NULL;
    NEED(confine_refuse(&r, 1) == 0);
    int rc = kit_open_os(&os_linux, &k, &p, &e);
    NEED(rc != 0 && p == NULL && kit_typed(rc) && strstr(pit_error_string(e), word) != NULL);
    pit_error_free(e);
    return 0;
}

static int pidfd_perm(void)
{
    return told_of((struct refusal){SYS_pidfd_open, EPERM, 0}, "pidfd_open");
}

static int pidfd_nosys(void)
{
    return told_of((struct refusal){SYS_pidfd_open, ENOSYS, 0}, "pidfd_open");
}

static int memfd_perm(void)
{
    return told_of((struct refusal){SYS_memfd_create, EPERM, 0}, "shared memory");
}

/* The C library starts no thread then: who drives the pit himself needs none of ours, and who does not is told. */
static int clone3_perm(void)
{
    static const struct refusal r[] = {{SYS_clone3, EPERM, 0}};
    pthread_t t;
    NEED(confine_refuse(r, 1) == 0);
    NEED(use_all(PIT_DRIVE_HOST) == 0);
    if (pthread_create(&t, NULL, call_on, NULL) == 0) /* an older C library, which does without */
        _exit(0);
    return told_of(r[0], "thread");
}

static void test_refused_calls(void **state)
{
    (void)state;
    in_a_child(refused_nosys, "ENOSYS");
    in_a_child(refused_perm, "EPERM");
    in_a_child(clone3_perm, "clone3 EPERM");
    in_a_child(pidfd_perm, "pidfd_open EPERM");
    in_a_child(pidfd_nosys, "pidfd_open ENOSYS");
    in_a_child(memfd_perm, "memfd_create EPERM");
}

static int unprivileged(void)
{
    NEED(confine_user(CONFINE_NOBODY, KIT_WORKER) == 0);
    return use_all(PIT_DRIVE_THREAD);
}

static void test_unprivileged(void **state)
{
    (void)state;
    in_a_child(unprivileged, "as nobody");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide),          cmocka_unit_test(test_wide_python),   cmocka_unit_test(test_few_descriptors),
        cmocka_unit_test(test_few_processes), cmocka_unit_test(test_refused_calls), cmocka_unit_test(test_unprivileged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
