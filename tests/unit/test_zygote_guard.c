/* Templates, the guard's side: what it makes of good ones and of those that lie, stop or die. The template is this program itself, run with the
 * name of what it does. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "base/pass_rights.h"
#include "children.h"
#include "fault/guard_kit.h"
#include "guard/guard_msg.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

/* ---- the template ---- */

enum { FORK_SOCKET = 4, MOST_FDS = 5 };
static char *room; /* of the entry in the environment's block */

static int receive(struct guard_msg *m, int *fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS)];
    } control;
    struct iovec iov = {m, sizeof *m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    if (recvmsg(FORK_SOCKET, &h, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *m)
        _exit(0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    int n = c != NULL ? (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
    return n;
}

static int answer(const struct guard_msg *m, size_t size, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {(void *)(uintptr_t)m, size};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    if (fd >= 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(FORK_SOCKET, &h, MSG_NOSIGNAL) < 0 ? errno : 0;
}

/* A worker: says its parent and session on its standard output, lives as long as its control socket. */
_Noreturn static void be_worker(const struct guard_msg *m, const int *fds, int n, const char *what)
{
    char text[64], c;
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(room, 0, sizeof GUARD_ENV_ROOM + GUARD_ROOM_BYTES);
    int at = snprintf(room, GUARD_ROOM_BYTES, "%s=%s", GUARD_ENV_WORKER, m->text) + 1;
    snprintf(room + at, (size_t)(GUARD_ROOM_BYTES - at), "%s=%d.%llu", GUARD_ENV_SERIAL, m->pid, (unsigned long long)m->token);
    for (int i = 0; i < n; i++)
        fcntl(fds[i], F_SETFD, 0);
    close(FORK_SOCKET);
    close(3);
    if (strcmp(what, "child_exits") == 0)
        _exit(7);
    int out = (m->number & GUARD_HAS_STDOUT) != 0 ? fds[n - 1] : -1;
    snprintf(text, sizeof text, "%d %d\n", getppid() == m->pid, getsid(0) == getpid());
    if (out >= 0 && write(out, text, strlen(text)) < 0)
        _exit(1);
    while (read(fds[1], &c, 1) > 0)
        ;
    _exit(0);
}

static void serve(const char *what, const struct guard_msg *m, const int *fds, int n)
{
    struct guard_msg a = {.kind = GUARD_FORKED, .token = m->token};
    int pidfd = -1;
    if (strncmp(what, "refuses", 7) == 0) {
        a.error = atoi(what + 7);
        snprintf(a.text, sizeof a.text, "clone");
        answer(&a, sizeof a, -1);
        return;
    }
    if (strcmp(what, "dies") == 0)
        _exit(0);
    if (strcmp(what, "stops") == 0)
        raise(SIGSTOP);
    while (strcmp(what, "spins") == 0)
        ;
    long pid = syscall(SYS_clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD, NULL, &pidfd, NULL, NULL);
    if (pid == 0)
        be_worker(m, fds, n, what);
    a.pid = (pid_t)pid;
    if (strcmp(what, "dies_untold") == 0)
        _exit(0);
    if (strcmp(what, "child_exits") == 0) /* the guard hears of the end first */
        os_linux.poll_one(pidfd, OS_READABLE, UINT64_MAX);
    if (strcmp(what, "lies_pid") == 0)
        a.pid = getpid();
    if (strcmp(what, "lies_guard") == 0)
        a.pid = getppid();
    if (strcmp(what, "lies_init") == 0)
        a.pid = 1;
    if (strcmp(what, "lies_group") == 0)
        a.pid = -a.pid;
    if (strcmp(what, "lies_token") == 0)
        a.token += 1000;
    if (strcmp(what, "lies_kind") == 0)
        a.kind = GUARD_SPAWNED;
    if (strcmp(what, "lies_error") == 0)
        a.error = -1;
    if (strcmp(what, "descriptor") == 0 && answer(&a, sizeof a, pidfd) != 0) /* refused: it says so where it can be seen */
        a.token = 0;
    answer(&a, strcmp(what, "short") == 0 ? sizeof a - 1 : sizeof a, -1);
    if (strcmp(what, "twice") == 0)
        answer(&a, sizeof a, -1);
    close(pidfd);
}

_Noreturn static void be_template(const char *what)
{
    extern char **environ;
    struct guard_msg m;
    int fds[MOST_FDS];
    room = environ[0];
    for (;;) {
        int n = receive(&m, fds);
        serve(what, &m, fds, n);
        for (int i = 0; i < n; i++)
            close(fds[i]);
    }
}

/* ---- the tests ---- */

static struct kit k;
static int control_of_template;

static void start_with(const char *guard, const char *fault)
{
    char run[80];
    static int count;
    snprintf(run, sizeof run, "z%d.%d%s", (int)getpid(), count++, fault);
    assert_int_equal(kit_start(&k, &os_linux, guard, run, 10000), 0);
}

static void start(void)
{
    start_with(SNAKEPIT_GUARD_PATH, "");
}

static void stop(void)
{
    close(control_of_template);
    assert_int_equal(kit_stop(&k, 10000), 0);
    assert_int_equal(k.bad, 0);
    assert_int_equal(k.lost, 0);
    assert_true(no_child_is_left());
    assert_int_equal(kit_sweep(k.run_id), 0);
}

static struct kit_proc *add(struct guard_spawn *r)
{
    static uint64_t tokens = 5000;
    struct kit_proc *p = &k.procs[k.n++];
    *p = (struct kit_proc){.token = ++tokens, .pidfd = -1};
    r->token = p->token;
    return p;
}

static struct kit_proc *start_template(const char *what)
{
    char run[160], entry[sizeof GUARD_ENV_ROOM + GUARD_ROOM_BYTES];
    int pair[2];
    memset(entry, '.', sizeof entry);
    memcpy(entry, GUARD_ENV_ROOM "=", sizeof GUARD_ENV_ROOM);
    entry[sizeof entry - 1] = '\0';
    snprintf(run, sizeof run, "SNAKEPIT_RUN_ID=%s", k.run_id);
    const char *argv[] = {"/proc/self/exe", what, NULL}, *env[] = {entry, run, "SNAKEPIT_WORKER_ID=zygote/1", NULL};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    argv[0] = self;
    assert_int_equal(os_linux.socketpair(pair), 0);
    struct guard_spawn r = {.argv = argv,
                            .env = env,
                            .worker_id = "zygote/1",
                            .fd_control = pair[1],
                            .fd_segment = -1,
                            .fd_stdout = -1,
                            .fd_stderr = -1,
                            .is_template = true};
    struct kit_proc *p = add(&r);
    assert_int_equal(guard_spawn(k.guard, &r), 0);
    close(pair[1]);
    control_of_template = pair[0];
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, 0);
    return p;
}

static struct kit_proc *ask_fork(const struct kit_proc *t, int fd_stdout, int *ret_control)
{
    const char *argv[] = {"/bin/false", NULL}, *env[] = {NULL};
    int pair[2];
    assert_int_equal(os_linux.socketpair(pair), 0);
    struct guard_spawn r = {.argv = argv,
                            .env = env,
                            .worker_id = "pool/1.1",
                            .fd_control = pair[1],
                            .fd_segment = -1,
                            .fd_stdout = fd_stdout,
                            .fd_stderr = -1,
                            .of = t->token};
    struct kit_proc *p = add(&r);
    assert_int_equal(guard_spawn(k.guard, &r), 0);
    close(pair[1]);
    *ret_control = pair[0];
    return p;
}

static void test_fork(void **state)
{
    (void)state;
    int out[2], control;
    char text[16] = "", what[512], want[256];
    start();
    struct kit_proc *t = start_template("good");
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    struct kit_proc *p = ask_fork(t, out[1], &control);
    close(out[1]);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, 0);
    assert_int_equal(read(out[0], text, sizeof text - 1), 4);
    assert_string_equal(text, "1 1\n"); /* a child of the guard, in a session of its own */
    snprintf(what, sizeof what, "/proc/%d/environ", (int)p->pid);
    int fd = open(what, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, what, sizeof what - 1) > 0);
    close(fd);
    snprintf(want, sizeof want, "SNAKEPIT_GUARD_SERIAL=%d.2", (int)guard_pid(k.guard));
    assert_string_equal(what, "SNAKEPIT_WORKER_ID=pool/1.1");
    assert_string_equal(what + strlen(what) + 1, want);
    close(control);
    assert_true(kit_await(&k, &p->exited));
    assert_int_equal(p->how.code, CLD_EXITED);
    assert_int_equal(p->how.status, 0);
    close(out[0]);
    stop();
}

/* More than the guard is asked at a time; they outlive their template, and go when they are told to. */
static void test_many_outlive_their_template(void **state)
{
    (void)state;
    enum { MANY = 40 };
    int control[MANY];
    struct kit_proc *p[MANY];
    start();
    struct kit_proc *t = start_template("good");
    for (int i = 0; i < MANY; i++)
        p[i] = ask_fork(t, -1, &control[i]);
    for (int i = 0; i < MANY; i++) {
        assert_true(kit_await(&k, &p[i]->spawned));
        assert_int_equal(p[i]->error, 0);
    }
    assert_int_equal(guard_kill(k.guard, t->pid, SIGKILL), 0);
    assert_true(kit_await(&k, &t->exited));
    for (int i = 0; i < MANY; i++) {
        struct os_proc info;
        assert_false(p[i]->exited);
        assert_int_equal(os_linux.proc_info(p[i]->pid, &info), 0);
        close(control[i]);
        assert_true(kit_await(&k, &p[i]->exited));
        assert_int_equal(p[i]->how.code, CLD_EXITED);
    }
    stop();
}

/* It has ended before the guard hears that it began: its status is not lost. */
static void test_short_life(void **state)
{
    (void)state;
    int control;
    start();
    struct kit_proc *p = ask_fork(start_template("child_exits"), -1, &control);
    assert_true(kit_await(&k, &p->exited));
    assert_int_equal(p->error, 0);
    assert_int_equal(p->how.code, CLD_EXITED);
    assert_int_equal(p->how.status, 7);
    close(control);
    stop();
}

static void refused(const char *what, int error)
{
    int control;
    start();
    struct kit_proc *t = start_template(what), *p = ask_fork(t, -1, &control);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, error);
    assert_string_equal(p->call, "clone");
    assert_false(t->exited);
    close(control);
    stop();
}

/* Its host is told nothing that a fork could not have said. */
static void test_refused(void **state)
{
    char reset[32], large[32];
    (void)state;
    snprintf(reset, sizeof reset, "refuses%d", ECONNRESET);
    snprintf(large, sizeof large, "refuses%d", INT32_MAX);
    refused("refuses1", EPERM);
    refused(reset, EIO);
    refused(large, EIO);
}

/* A worker that nobody was told of holds its control socket: the end of that says that it is gone. */
static void fails(const char *what, int error, bool killed)
{
    int control;
    char c;
    start();
    struct kit_proc *t = start_template(what), *p = ask_fork(t, -1, &control);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, error);
    assert_string_equal(p->call, "template");
    assert_true(kit_await(&k, &t->exited));
    assert_int_equal(t->how.code, killed ? CLD_KILLED : CLD_EXITED);
    assert_int_equal(os_linux.poll_one(control, OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(recv(control, &c, 1, 0), 0);
    /* the guard is well, and knows that this template is gone */
    struct guard_spawn r = {.argv = (const char *const[]){"/bin/true", NULL},
                            .env = (const char *const[]){NULL},
                            .worker_id = "w",
                            .fd_control = control,
                            .fd_segment = -1,
                            .fd_stdout = -1,
                            .fd_stderr = -1,
                            .of = t->token};
    assert_int_equal(guard_spawn(k.guard, &r), PIT_E_WORKER_NOT_FOUND);
    const char *argv[] = {"/bin/true", NULL};
    struct kit_proc *q = kit_spawn(&k, argv, "w", NULL, -1, NULL);
    assert_true(kit_await(&k, &q->exited));
    assert_int_equal(q->how.status, 0);
    close(control);
    stop();
}

static void test_template_dies(void **state)
{
    (void)state;
    fails("dies", ESRCH, false);
    fails("dies_untold", ESRCH, false);
}

static void test_template_lies(void **state)
{
    (void)state;
    static const char *const lies[] = {"lies_pid",   "lies_guard", "lies_init",  "lies_group",
                                       "lies_token", "lies_kind",  "lies_error", "short"};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++)
        fails(lies[i], EPROTO, true);
}

/* Whose closing could hold up the guard. Where it is refused the answer has a token of nobody; where it is not (before Linux 6.16) it is none of the
 * answer, which comes twice. */
static void test_template_sends_a_descriptor(void **state)
{
    (void)state;
    int pair[2], no = 0, control;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    bool refuses = setsockopt(pair[0], SOL_SOCKET, SOCKET_PASS_RIGHTS, &no, sizeof no) == 0;
    close(pair[0]);
    close(pair[1]);
    start();
    struct kit_proc *t = start_template("descriptor"), *p = ask_fork(t, -1, &control);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, refuses ? EPROTO : 0);
    assert_true(kit_await(&k, &t->exited));
    assert_int_equal(t->how.status, SIGKILL);
    close(control);
    stop();
}

static void test_template_stops(void **state)
{
    (void)state;
    fails("stops", ETIMEDOUT, true);
}

/* It is busy, so it gets more time than this test has. Others do not wait with those who wait for it, and the first of these who is given up
 * takes it along. */
static void test_template_spins(void **state)
{
    (void)state;
    enum { MANY = 20 }; /* more than are asked of it at a time */
    int control[MANY];
    struct kit_proc *p[MANY];
    start();
    struct kit_proc *t = start_template("spins");
    for (int i = 0; i < MANY; i++)
        p[i] = ask_fork(t, -1, &control[i]);
    const char *argv[] = {"/bin/true", NULL};
    struct kit_proc *q = kit_spawn(&k, argv, "w", NULL, -1, NULL);
    assert_true(kit_await(&k, &q->exited));
    assert_int_equal(q->error, 0);
    guard_cancel(k.guard, p[MANY - 1]->token); /* nobody has been asked for it */
    assert_true(p[MANY - 1]->spawned);
    assert_int_equal(p[MANY - 1]->error, ETIMEDOUT);
    for (int i = 0; i < MANY - 1; i++)
        assert_false(p[i]->spawned);
    guard_cancel(k.guard, p[1]->token);
    for (int i = 0; i < MANY; i++) {
        assert_true(kit_await(&k, &p[i]->spawned));
        assert_true(p[i]->error == ETIMEDOUT || (p[i]->error == ESRCH && i > 1));
        close(control[i]);
    }
    assert_true(kit_await(&k, &t->exited));
    assert_int_equal(t->how.status, SIGKILL);
    guard_cancel(k.guard, q->token); /* which is none of a start */
    q = kit_spawn(&k, argv, "w", NULL, -1, NULL);
    assert_true(kit_await(&k, &q->exited));
    stop();
}

/* A program, a folder that do not answer. */
static void test_exec_hangs(void **state)
{
    (void)state;
    int control;
    char c;
    start_with(TEST_BUILD_DIR "/tests/snakepit-guard-faults", "@hang:1");
    const char *argv[] = {"/bin/true", NULL};
    struct kit_proc *p = kit_spawn(&k, argv, "w", NULL, -1, &control);
    guard_cancel(k.guard, p->token); /* read after the request */
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, ETIMEDOUT);
    assert_string_equal(p->call, "exec");
    assert_int_equal(os_linux.poll_one(control, OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(recv(control, &c, 1, 0), 0);
    close(control);
    control_of_template = -1;
    stop();
}

/* The second answer names a worker that is known: the template is killed, the worker is not. */
static void test_answers_twice(void **state)
{
    (void)state;
    int control;
    start();
    struct kit_proc *t = start_template("twice"), *p = ask_fork(t, -1, &control);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, 0);
    assert_true(kit_await(&k, &t->exited));
    assert_int_equal(t->how.status, SIGKILL);
    assert_false(p->exited);
    close(control);
    assert_true(kit_await(&k, &p->exited));
    assert_int_equal(p->how.code, CLD_EXITED);
    stop();
}

/* The guard goes: template and forked workers go with it. */
static void test_guard_dies(void **state)
{
    (void)state;
    int control;
    char c;
    start();
    struct kit_proc *t = start_template("good"), *p = ask_fork(t, -1, &control);
    assert_true(kit_await(&k, &p->spawned));
    kill(guard_pid(k.guard), SIGKILL);
    assert_true(kit_await_lost(&k));
    assert_int_equal(os_linux.poll_one(control, OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
    assert_int_equal(recv(control, &c, 1, 0), 0);
    close(control);
    close(control_of_template);
    kit_stop(&k, 1000);
    assert_int_equal(k.bad, 0);
    assert_int_equal(kit_alive(k.run_id), 0);
}

static void test_too_many_templates(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < GUARD_MAX_TEMPLATES; i++) {
        start_template("good");
        close(control_of_template);
    }
    const char *argv[] = {"/bin/true", NULL}, *env[] = {NULL};
    struct guard_spawn r = {.argv = argv,
                            .env = env,
                            .worker_id = "w",
                            .fd_control = 0,
                            .fd_segment = -1,
                            .fd_stdout = -1,
                            .fd_stderr = -1,
                            .is_template = true};
    struct kit_proc *p = add(&r);
    assert_int_equal(guard_spawn(k.guard, &r), 0);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, EAGAIN);
    control_of_template = -1;
    stop();
}

/* A call of the guard fails: the host hears of the fork once, and what is not told to it does not live. */
static void one_fault(const char *fault, int n)
{
    int control[2];
    char c;
    start_with(TEST_BUILD_DIR "/tests/snakepit-guard-faults", fault);
    struct kit_proc *t = start_template("good"), *p[2];
    for (int i = 0; i < n; i++)
        p[i] = ask_fork(t, -1, &control[i]);
    for (int i = 0; i < n; i++) {
        assert_true(kit_await(&k, &p[i]->spawned));
        if (p[i]->error != 0) {
            assert_int_equal(os_linux.poll_one(control[i], OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
            assert_int_equal(recv(control[i], &c, 1, 0), 0);
        }
        close(control[i]);
        if (p[i]->error == 0)
            assert_true(kit_await(&k, &p[i]->exited));
    }
    stop();
}

static void test_failing_calls(void **state)
{
    (void)state;
    static const char *const calls[] = {"sendfork:%d=11",  "sendfork:%d=32",   "recvfork:%d=12",
                                        "recvfork:%d=104", "fork_pidfd:%d=24", "sendmsg:%d=11",
                                        "waitid:%d=11",    "recvmsg:%d=12",    "children:%d=2"};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (int at = 1; at <= 4; at++) {
            char fault[40] = "@";
            snprintf(fault + 1, sizeof fault - 1, calls[i], at);
            one_fault(fault, 2);
        }
    }
}

/* The template itself cannot be had. */
static void test_no_socket(void **state)
{
    (void)state;
    start_with(TEST_BUILD_DIR "/tests/snakepit-guard-faults", "@socketpair:1=24");
    const char *argv[] = {"/bin/true", NULL}, *env[] = {NULL};
    struct guard_spawn r = {.argv = argv,
                            .env = env,
                            .worker_id = "w",
                            .fd_control = 0,
                            .fd_segment = -1,
                            .fd_stdout = -1,
                            .fd_stderr = -1,
                            .is_template = true};
    struct kit_proc *p = add(&r);
    assert_int_equal(guard_spawn(k.guard, &r), 0);
    assert_true(kit_await(&k, &p->spawned));
    assert_int_equal(p->error, EMFILE);
    assert_string_equal(p->call, "socketpair");
    control_of_template = -1;
    stop();
}

int main(int argc, char **argv)
{
    if (argc > 1)
        be_template(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_many_outlive_their_template),
        cmocka_unit_test(test_short_life),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_template_dies),
        cmocka_unit_test(test_template_lies),
        cmocka_unit_test(test_template_stops),
        cmocka_unit_test(test_answers_twice),
        cmocka_unit_test(test_template_spins),
        cmocka_unit_test(test_template_sends_a_descriptor),
        cmocka_unit_test(test_exec_hangs),
        cmocka_unit_test(test_guard_dies),
        cmocka_unit_test(test_too_many_templates),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
