/* The guard and its client: what a worker gets, what comes back, what goes with it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "children.h"
#include "fault/guard_kit.h"
#include "guard/guard_msg.h"

static struct kit k;

static void start(void)
{
    char run[32];
    static int count;
    snprintf(run, sizeof run, "t%d.%d", (int)getpid(), count++);
    assert_int_equal(kit_start(&k, &os_linux, SNAKEPIT_GUARD_PATH, run, 10000), 0);
}

static void stop(void)
{
    assert_int_equal(kit_stop(&k, 10000), 0);
    assert_int_equal(k.bad, 0);
    assert_int_equal(k.lost, 0);
}

/* Runs a shell script as a worker to its end; its output goes to text. */
static struct kit_proc *run_script(const char *script, const char *cwd, char *text, size_t room)
{
    const char *argv[] = {"/bin/sh", "-c", script, "worker", "two words", "", NULL};
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    struct kit_proc *p = kit_spawn(&k, argv, "pool_1", cwd, out[1], NULL);
    close(out[1]);
    assert_non_null(p);
    assert_true(kit_await(&k, &p->spawned));
    size_t n = 0;
    ssize_t got = 0;
    while (n + 1 < room && (got = read(out[0], text + n, room - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(out[0]);
    if (p->error == 0)
        assert_true(kit_await(&k, &p->exited));
    return p;
}

static void test_exit_statuses(void **state)
{
    (void)state;
    char text[64];
    start();
    struct kit_proc *p = run_script("exit 7", NULL, text, sizeof text);
    assert_int_equal(p->how.code, CLD_EXITED);
    assert_int_equal(p->how.status, 7);
    p = run_script("kill -SEGV $$", NULL, text, sizeof text);
    assert_true(p->how.code == CLD_KILLED || p->how.code == CLD_DUMPED);
    assert_int_equal(p->how.status, SIGSEGV);
    p = run_script("kill -TERM $$", NULL, text, sizeof text);
    assert_int_equal(p->how.code, CLD_KILLED);
    assert_int_equal(p->how.status, SIGTERM);
    stop();
}

static void test_what_a_worker_gets(void **state)
{
    (void)state;
    char text[4096], want[64];
    start();
    /* the shell opens what it reads /proc/self/fd through: "ls" shows that one too */
    run_script("echo args:$#:$1:$2:; echo fds:$(ls /proc/$$/fd | tr '\\n' ' '); pwd; readlink /proc/$$/fd/0; tr '\\0' '\\n' "
               "</proc/$$/environ",
               "/usr", text, sizeof text);
    assert_non_null(strstr(text, "args:2:two words::"));
    assert_non_null(strstr(text, "fds:0 1 2 3 "));
    assert_null(strstr(text, "fds:0 1 2 3 5"));
    assert_non_null(strstr(text, "\n/usr\n/dev/null\n"));
    assert_non_null(strstr(text, "SNAKEPIT_WORKER_ID=pool_1\n"));
    /* the guard's own serial instead of the inherited one */
    snprintf(want, sizeof want, "SNAKEPIT_GUARD_SERIAL=%d.1\n", (int)guard_pid(k.guard));
    assert_non_null(strstr(text, want));
    assert_null(strstr(text, "SNAKEPIT_GUARD_SERIAL=outer"));
    stop();
}

static void test_session_and_signals(void **state)
{
    (void)state;
    char text[4096], want[64];
    /* what the host ignores and blocks must not be inherited */
    sigset_t all, before;
    sigfillset(&all);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    sigprocmask(SIG_SETMASK, &all, &before);
    start();
    struct kit_proc *p =
        run_script("grep -E '^(SigBlk|SigIgn)' /proc/self/status; cut -d' ' -f5,6 /proc/$$/stat", NULL, text, sizeof text);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
    snprintf(want, sizeof want, "%d %d\n", (int)p->pid, (int)p->pid);
    assert_non_null(strstr(text, want));
    stop();
    signal(SIGCHLD, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

static void test_failing_starts(void **state)
{
    (void)state;
    start();
    const char *none[] = {"/nonexistent/program", NULL}, *sh[] = {"/bin/sh", "-c", "exit 0", NULL}, *folder[] = {"/usr", NULL};
    struct kit_proc *a = kit_spawn(&k, none, "w", NULL, -1, NULL), *b = kit_spawn(&k, sh, "w", "/nonexistent", -1, NULL),
                    *c = kit_spawn(&k, folder, "w", NULL, -1, NULL), *d = kit_spawn(&k, sh, "w", NULL, -1, NULL);
    assert_true(kit_await(&k, &a->spawned) && kit_await(&k, &b->spawned) && kit_await(&k, &c->spawned) &&
                kit_await(&k, &d->exited));
    assert_int_equal(a->error, ENOENT);
    assert_string_equal(a->call, "exec");
    assert_int_equal(b->error, ENOENT);
    assert_string_equal(b->call, "chdir");
    assert_int_equal(c->error, EACCES);
    assert_int_equal(d->error, 0);
    assert_int_equal(d->how.status, 0);
    stop();
    assert_false(a->exited || b->exited || c->exited);
}

static void test_refused_arguments(void **state)
{
    (void)state;
    start();
    const char *argv[] = {"/bin/true", NULL}, *empty[] = {NULL};
    char id[GUARD_TEXT + 1];
    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    struct guard_spawn r = {.argv = argv, .worker_id = id, .fd_control = 0, .fd_segment = -1, .fd_stdout = -1, .fd_stderr = -1};
    assert_int_equal(guard_spawn(k.guard, &r), PIT_E_INVALID_PARAMETER);
    r.worker_id = "w";
    r.argv = empty;
    assert_int_equal(guard_spawn(k.guard, &r), PIT_E_INVALID_PARAMETER);
    r.argv = argv;
    r.fd_control = -1;
    assert_int_equal(guard_spawn(k.guard, &r), PIT_E_INVALID_PARAMETER);
    r.fd_control = 1000000; /* no such descriptor */
    assert_int_equal(guard_spawn(k.guard, &r), PIT_E_SYSTEM_ERROR);
    stop();
}

/* More than the window, more than the guard starts at a time, and every one of them exactly once. */
static void test_many(void **state)
{
    (void)state;
    start();
    const char *argv[] = {"/bin/sh", "-c", "exit 3", NULL};
    enum { MANY = 100 };
    for (int i = 0; i < MANY; i++)
        assert_non_null(kit_spawn(&k, argv, "w", NULL, -1, NULL));
    for (int i = 0; i < MANY; i++) {
        assert_true(kit_await(&k, &k.procs[i].exited));
        assert_int_equal(k.procs[i].how.status, 3);
    }
    stop();
}

/* A worker whose descriptor 1 is read to its end: nobody else holds the other end, neither the guard nor a sibling. */
static void test_no_descriptor_leaks(void **state)
{
    (void)state;
    start();
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *quick[] = {"/bin/sh", "-c", "exit 0", NULL}, *slow[] = {"/bin/sleep", "1000", NULL};
    struct kit_proc *a = kit_spawn(&k, quick, "a", NULL, out[1], NULL), *b = kit_spawn(&k, slow, "b", NULL, -1, NULL);
    close(out[1]);
    assert_true(kit_await(&k, &a->exited) && kit_await(&k, &b->spawned));
    char c;
    assert_int_equal(os_linux.poll_one(out[0], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(out[0], &c, 1), 0);
    close(out[0]);
    assert_false(b->exited);
    stop();
    assert_true(b->exited);
    assert_int_equal(b->how.status, SIGKILL);
}

static void test_kill_a_group(void **state)
{
    (void)state;
    start();
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    /* both hold the pipe; both must be gone for it to end */
    const char *argv[] = {"/bin/sh", "-c", "sleep 1000 & echo x; wait", NULL};
    struct kit_proc *p = kit_spawn(&k, argv, "w", NULL, out[1], NULL);
    close(out[1]);
    char text[8];
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(read(out[0], text, sizeof text), 2);
    assert_int_equal(guard_kill(k.guard, 1, SIGKILL), 0); /* not a process of the guard: nothing happens */
    assert_int_equal(guard_kill(k.guard, p->pid, SIGKILL), 0);
    assert_true(kit_await(&k, &p->exited));
    assert_int_equal(p->how.status, SIGKILL);
    assert_int_equal(os_linux.poll_one(out[0], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(out[0], text, sizeof text), 0);
    close(out[0]);
    stop();
}

/* A daemon that a worker leaves behind (session of its own, double fork) goes with the worker and does not take a living worker's
 * with it. The pipe tells: it ends when the last holder is gone. */
static void leave_daemons(const char *first_id, const char *second_id)
{
    start();
    const char *daemon_then_exit = "(setsid sh -c 'echo x; setsid sleep 1000 & sleep 1000 & wait' &) ; read line <&3; exit 0";
    const char *argv[] = {"/bin/sh", "-c", daemon_then_exit, NULL};
    int out[2][2], control[2];
    struct kit_proc *p[2];
    char c;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe2(out[i], O_CLOEXEC), 0);
        p[i] = kit_spawn(&k, argv, i == 0 ? first_id : second_id, NULL, out[i][1], &control[i]);
        close(out[i][1]);
        assert_true(kit_await(&k, &p[i]->spawned));
        assert_int_equal(read(out[i][0], &c, 1), 1);
        assert_int_equal(read(out[i][0], &c, 1), 1);
    }
    close(control[0]); /* the first worker reads the end of its socket and exits */
    assert_true(kit_await(&k, &p[0]->exited));
    assert_int_equal(p[0]->how.code, CLD_EXITED);
    assert_int_equal(os_linux.poll_one(out[0][0], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(out[0][0], &c, 1), 0);
    /* the second's are alive: its pipe is quiet */
    assert_int_equal(os_linux.poll_one(out[1][0], OS_READABLE, 0), 0);
    assert_false(p[1]->exited);
    close(control[1]);
    stop();
    assert_int_equal(os_linux.poll_one(out[1][0], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(out[1][0], &c, 1), 0);
    close(out[0][0]);
    close(out[1][0]);
}

static void test_descendants_go_with_their_worker(void **state)
{
    (void)state;
    leave_daemons("first", "second");
}

/* A replacement has the name of the dead: the daemons of the one go, those of the other stay. */
static void test_incarnations_are_told_apart(void **state)
{
    (void)state;
    leave_daemons("same", "same");
}

/* A worker with a child in its group that has cleared its environment: only the group names it. */
static struct kit_proc *start_cleared(int *ret_pipe, int *ret_control)
{
    const char *argv[] = {"/bin/sh", "-c", "env -i /bin/sh -c 'echo x; exec sleep 1000' & read line <&3; exit 0", NULL};
    int out[2];
    char c[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    struct kit_proc *p = kit_spawn(&k, argv, "w", NULL, out[1], ret_control);
    close(out[1]);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(read(out[0], c, 2), 2);
    *ret_pipe = out[0];
    return p;
}

static void expect_end_of_pipe(int fd)
{
    char c;
    assert_int_equal(os_linux.poll_one(fd, OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
}

static void test_group_goes_with_its_worker(void **state)
{
    (void)state;
    int fd, control;
    start();
    struct kit_proc *p = start_cleared(&fd, &control);
    close(control);
    assert_true(kit_await(&k, &p->exited));
    assert_int_equal(p->how.code, CLD_EXITED);
    expect_end_of_pipe(fd);
    stop();
}

/* Who leaves the group and clears its environment cannot be told from anybody; it stays, and goes with the guard. */
static void test_nameless_go_with_the_guard(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c",
                          "env -i /usr/bin/setsid /bin/sh -c 'echo x; exec sleep 1000' & read line <&3; exit 0", NULL};
    int out[2], control;
    char c[2];
    start();
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    struct kit_proc *p = kit_spawn(&k, argv, "w", NULL, out[1], &control);
    close(out[1]);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(read(out[0], c, 2), 2);
    close(control);
    assert_true(kit_await(&k, &p->exited));
    assert_int_equal(os_linux.poll_one(out[0], OS_READABLE, 0), 0);
    stop();
    expect_end_of_pipe(out[0]);
}

static void test_group_goes_with_a_stopped_guard(void **state)
{
    (void)state;
    int fd, control;
    start();
    start_cleared(&fd, &control);
    kill(guard_pid(k.guard), SIGSTOP);
    assert_int_equal(kit_stop(&k, 20), 0); /* they were killed, and have ended */
    expect_end_of_pipe(fd);
    close(control);
}

static void test_segment_arrives(void **state)
{
    (void)state;
    start();
    void *map;
    int segment, pair[2], out[2];
    assert_int_equal(os_linux.segment_create("test", 4096, 4096, &map, &segment), 0);
    memcpy(map, "hello\n", 6);
    assert_int_equal(os_linux.socketpair(pair), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *argv[] = {"/bin/sh", "-c", "head -c 5 /proc/$$/fd/4; echo :err >&2", NULL};
    const char *env[] = {"PATH=/usr/bin:/bin", NULL};
    struct guard_spawn r = {.token = 900,
                            .argv = argv,
                            .env = env,
                            .worker_id = "w",
                            .fd_control = pair[1],
                            .fd_segment = segment,
                            .fd_stdout = out[1],
                            .fd_stderr = out[1]};
    struct kit_proc *p = &k.procs[k.n++];
    *p = (struct kit_proc){.token = 900, .pidfd = -1};
    assert_int_equal(guard_spawn(k.guard, &r), 0);
    close(out[1]);
    assert_true(kit_await(&k, &p->exited));
    char text[32] = "";
    assert_true(read(out[0], text, sizeof text - 1) > 0);
    assert_string_equal(text, "hello:err\n");
    close(out[0]);
    close(segment);
    close(pair[0]);
    close(pair[1]);
    os_linux.segment_unmap(map, 4096);
    stop();
}

static void test_start_fails(void **state)
{
    (void)state;
    assert_int_equal(kit_start(&k, &os_linux, "/nonexistent", "t", 10000), PIT_E_GUARD_UNAVAILABLE);
    assert_int_equal(k.error, ENOENT);
    assert_string_equal(k.call, "spawn");
    loop_destroy(k.loop);
    /* another program: it ends without a word */
    assert_int_equal(kit_start(&k, &os_linux, "/bin/true", "t", 10000), PIT_E_GUARD_UNAVAILABLE);
    assert_string_equal(k.call, "handshake");
    loop_destroy(k.loop);
}

/* A program that stops instead of saying anything. */
static void make_mute(char path[])
{
    static const char script[] = "#!/bin/sh\nkill -STOP $$\n";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, script, strlen(script)) == (ssize_t)strlen(script));
    fchmod(fd, 0700);
    close(fd);
}

/* A guard that never speaks (as a stopped one): the limit holds, and it is gone afterwards. */
static void test_start_times_out(void **state)
{
    (void)state;
    char path[] = "/tmp/guard-mute-XXXXXX";
    make_mute(path);
    assert_int_equal(kit_start(&k, &os_linux, path, "t", 50), PIT_E_GUARD_UNAVAILABLE);
    assert_int_equal(k.error, ETIMEDOUT);
    assert_string_equal(k.call, "handshake");
    loop_destroy(k.loop);
    assert_true(no_child_is_left());
    assert_int_equal(errno, ECHILD);
    unlink(path);
}

/* A start that the loop is told of: one that serves, one that ends, one that hangs, and one that nobody waits for. */
static void test_begun_on_the_loop(void **state)
{
    (void)state;
    char path[] = "/tmp/guard-mute-XXXXXX", text[8];
    make_mute(path);
    assert_int_equal(kit_begin(&k, &os_linux, SNAKEPIT_GUARD_PATH, "t", 10000), 0);
    assert_true(kit_await_started(&k));
    assert_int_equal(k.error, 0);
    assert_int_equal(run_script("exit 7", NULL, text, sizeof text)->how.status, 7);
    stop();
    assert_int_equal(kit_begin(&k, &os_linux, "/nonexistent", "t", 10000), PIT_E_GUARD_UNAVAILABLE);
    assert_int_equal(k.error, ENOENT);
    loop_destroy(k.loop);
    assert_int_equal(kit_begin(&k, &os_linux, "/bin/true", "t", 10000), 0);
    assert_true(kit_await_started(&k));
    assert_int_equal(k.error, ECONNRESET);
    assert_string_equal(k.call, "handshake");
    stop();
    assert_int_equal(kit_begin(&k, &os_linux, path, "t", 50), 0);
    assert_true(kit_await_started(&k));
    assert_int_equal(k.error, ETIMEDOUT);
    assert_true(no_child_is_left());
    stop();
    assert_int_equal(kit_begin(&k, &os_linux, path, "t", 10000), 0);
    stop();
    assert_int_equal(k.started, 0);
    assert_true(no_child_is_left());
    unlink(path);
}

static void test_guard_refuses_a_shell(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "%s 3<&- 4<&- 2>/dev/null", SNAKEPIT_GUARD_PATH);
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
}

/* Killed guard: one error for what waited, one `lost`, and nothing alive. */
static void test_lost(void **state)
{
    (void)state;
    start();
    int out[2];
    char c;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *argv[] = {"/bin/sh", "-c", "setsid sleep 1000 & echo; sleep 1000", NULL};
    struct kit_proc *p = kit_spawn(&k, argv, "w", NULL, out[1], NULL);
    close(out[1]);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(read(out[0], &c, 1), 1);
    pid_t guard = guard_pid(k.guard);
    kill(guard, SIGSTOP);
    struct kit_proc *waiting[20];
    for (int i = 0; i < 20; i++)
        assert_non_null(waiting[i] = kit_spawn(&k, argv, "w", NULL, -1, NULL));
    kill(guard, SIGKILL);
    assert_true(kit_await_lost(&k));
    assert_int_equal(k.lost, 1);
    assert_false(p->exited);
    for (int i = 0; i < 20; i++) {
        assert_true(waiting[i]->spawned);
        assert_int_equal(waiting[i]->error, GUARD_GONE);
    }
    assert_int_equal(os_linux.poll_one(out[0], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(out[0], &c, 1), 0);
    close(out[0]);
    assert_null(kit_spawn(&k, argv, "w", NULL, -1, NULL));
    assert_int_equal(k.error, PIT_E_GUARD_LOST);
    assert_int_equal(kit_stop(&k, 10000), 0);
    assert_int_equal(k.bad, 0);
}

/* A stopped guard does not hold up the end beyond the deadline, and its processes go all the same. */
static void test_destroy_a_stopped_guard(void **state)
{
    (void)state;
    start();
    int out[2];
    char c;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const char *argv[] = {"/bin/sh", "-c", "sleep 1000 & sleep 1000", NULL};
    struct kit_proc *p = kit_spawn(&k, argv, "w", NULL, out[1], NULL);
    close(out[1]);
    assert_true(kit_await(&k, &p->spawned));
    kill(guard_pid(k.guard), SIGSTOP);
    assert_int_equal(kit_stop(&k, 20), 0); /* they were killed, and have ended */
    assert_int_equal(os_linux.poll_one(out[0], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(read(out[0], &c, 1), 0);
    close(out[0]);
}

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_nothing_leaks_in_the_host(void **state)
{
    (void)state;
    int before = count_fds();
    test_many(state);
    test_lost(state);
    test_failing_starts(state);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_statuses),
        cmocka_unit_test(test_what_a_worker_gets),
        cmocka_unit_test(test_session_and_signals),
        cmocka_unit_test(test_failing_starts),
        cmocka_unit_test(test_refused_arguments),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_no_descriptor_leaks),
        cmocka_unit_test(test_kill_a_group),
        cmocka_unit_test(test_descendants_go_with_their_worker),
        cmocka_unit_test(test_incarnations_are_told_apart),
        cmocka_unit_test(test_group_goes_with_its_worker),
        cmocka_unit_test(test_group_goes_with_a_stopped_guard),
        cmocka_unit_test(test_nameless_go_with_the_guard),
        cmocka_unit_test(test_segment_arrives),
        cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_start_times_out),
        cmocka_unit_test(test_begun_on_the_loop),
        cmocka_unit_test(test_guard_refuses_a_shell),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_destroy_a_stopped_guard),
        cmocka_unit_test(test_nothing_leaks_in_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
