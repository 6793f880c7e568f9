/* The Linux seam: its conventions (negative errno, close-on-exec, no SIGPIPE, seals), spawning, and the sweep. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/envscan.h"
#include "base/pass_rights.h"
#include "children.h"
#include "os/os.h"

#define LIMIT_NS UINT64_C(20000000000)

static const struct os_ops *const os = &os_linux;

static bool closes_on_exec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static bool blocks(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

static void test_descriptors_close_on_exec(void **state)
{
    (void)state;
    int s[2], p[2], copy, ep, bell, pidfd, segment, request;
    void *map;
    assert_int_equal(os->socketpair(s), 0);
    assert_int_equal(os->pipe(p), 0);
    assert_int_equal(os->segment_create("test", 8192, 8192, &map, &segment), 0);
    assert_true((copy = os->dup(s[0])) > 2);
    assert_true((ep = os->epoll_create()) >= 0);
    assert_true((bell = os->eventfd()) >= 0);
    assert_true((pidfd = os->pidfd_open(getpid())) >= 0);
    assert_true((request = os->memfd_sealed("test", "x", 1)) >= 0);
    const int all[] = {s[0], s[1], p[0], p[1], copy, ep, bell, pidfd, segment, request};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_true(closes_on_exec(all[i]));
    assert_true(!blocks(s[0]) && blocks(s[1]) && !blocks(p[0]) && blocks(p[1]));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        os->close(all[i]);
    os->close(-1);
    os->segment_unmap(map, 8192);
    os->segment_unmap(NULL, 8192);
}

/* What a child could do to a host that trusted the size, and to one that forgot to seal the seals. */
static void test_segment_is_sealed(void **state)
{
    (void)state;
    int fd;
    void *map;
    struct stat st;
    assert_int_equal(os->segment_create("test", 65536, 65536, &map, &fd), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 65536);
    assert_int_equal(st.st_blocks * 512, 65536); /* the pages are there */
    for (int i = 0; i < 65536; i += 512)
        assert_int_equal(((unsigned char *)map)[i], 0);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 131072), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(errno, EPERM);
    os->segment_unmap(map, 65536);
    os->close(fd);
}

static void test_request_cannot_be_changed(void **state)
{
    (void)state;
    char text[8] = "";
    int fd = os->memfd_sealed("test", "request", 7);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, text, sizeof text, 0), 7);
    assert_string_equal(text, "request");
    assert_int_equal(pwrite(fd, "R", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 3), -1);
    assert_true(mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    os->close(fd);
}

static void test_socket_conventions(void **state)
{
    (void)state;
    int s[2];
    char text[8];
    static char much[1 << 20];
    assert_int_equal(os->socketpair(s), 0);
    assert_int_equal(os->recv(s[1], text, sizeof text), -EAGAIN); /* though that end blocks */
    assert_int_equal(os->poll_one(s[1], OS_READABLE, 0), 0);
    assert_int_equal(os->send(s[0], "abc", 3), 3);
    assert_int_equal(os->poll_one(s[1], OS_READABLE, UINT64_MAX), 1);
    assert_int_equal(os->recv(s[1], text, sizeof text), 3);
    ssize_t n;
    while ((n = os->send(s[1], much, sizeof much)) > 0)
        ;
    assert_int_equal(n, -EAGAIN);
    assert_int_equal(os->poll_one(s[1], OS_WRITABLE, 0), 0);
    assert_int_equal(os->poll_one(s[1], OS_EITHER, 0), 0);
    assert_int_equal(os->poll_one(s[0], OS_EITHER, 0), 1);
    os->close(s[0]);
    assert_int_equal(os->send(s[1], "x", 1), -EPIPE); /* and no signal */
    assert_int_equal(os->poll_one(s[1], OS_READABLE, UINT64_MAX), 1);
    assert_int_equal(os->poll_one(1000, OS_READABLE, UINT64_MAX), -EBADF);
    os->close(s[1]);
    assert_int_equal(os->socketpair(s), 0);
    assert_int_equal(os->shutdown(s[0]), 0);
    assert_int_equal(os->recv(s[1], text, sizeof text), 0);
    assert_int_equal(os->recv(s[0], text, sizeof text), 0);
    os->close(s[0]);
    os->close(s[1]);
}

static void test_descriptors_travel(void **state)
{
    (void)state;
    int s[2], p[2], got[OS_MAX_FDS], n = OS_MAX_FDS;
    char text[4];
    assert_int_equal(os->socketpair(s), 0);
    assert_int_equal(os->pipe(p), 0);
    assert_int_equal(os->send_fds(s[0], "ab", 2, p, 2), 2);
    assert_int_equal(os->recv_fds(s[1], text, sizeof text, got, &n), 2);
    assert_int_equal(n, 2);
    assert_true(closes_on_exec(got[0]) && closes_on_exec(got[1]));
    assert_int_equal(write(got[1], "z", 1), 1);
    assert_int_equal(os->read(p[0], text, 1), 1);
    os->close(got[0]);
    os->close(got[1]);
    /* more than the receiver has room for: closed, not leaked */
    int free_number = os->dup(0);
    os->close(free_number);
    assert_int_equal(os->send_fds(s[0], "ab", 2, p, 2), 2);
    n = 1;
    assert_int_equal(os->recv_fds(s[1], text, sizeof text, got, &n), 2);
    assert_int_equal(n, 1);
    os->close(got[0]);
    int again = os->dup(0);
    assert_int_equal(again, free_number);
    os->close(again);
    assert_int_equal(os->send_fds(s[0], "ab", 2, p, OS_MAX_FDS + 1), -EINVAL);
    n = OS_MAX_FDS;
    assert_int_equal(os->recv_fds(s[1], text, sizeof text, got, &n), -EAGAIN);
    assert_int_equal(n, 0);
    for (int i = 0; i < 2; i++) {
        os->close(s[i]);
        os->close(p[i]);
    }
}

static bool kernel_refuses_fds(void)
{
    int s[2], no = 0;
    assert_int_equal(os->socketpair(s), 0);
    bool refuses = setsockopt(s[0], SOL_SOCKET, SOCKET_PASS_RIGHTS, &no, sizeof no) == 0;
    os->close(s[0]);
    os->close(s[1]);
    return refuses;
}

/* Bytes go both ways, descriptors only away. */
static void test_descriptors_refused(void **state)
{
    (void)state;
    int s[2], fd = 0, got, n = 1;
    char text[4];
    assert_int_equal(os->socketpair(s), 0);
    assert_int_equal(os->refuse_fds(s[0]), 0);
    assert_int_equal(os->send_fds(s[1], "ab", 2, &fd, 1), kernel_refuses_fds() ? -EPERM : 2);
    assert_int_equal(os->send(s[1], "cd", 2), 2);
    assert_int_equal(os->send_fds(s[0], "ef", 2, &fd, 1), 2);
    assert_int_equal(os->recv_fds(s[1], text, sizeof text, &got, &n), 2);
    assert_int_equal(n, 1);
    os->close(got);
    os->close(s[0]);
    os->close(s[1]);
    assert_int_equal(os->refuse_fds(-1), -EBADF);
}

static void on_signal(int sig)
{
    (void)sig;
}

static pthread_t main_thread;

static void *disturb(void *arg)
{
    _Atomic int *stop = arg;
    while (!*stop) {
        pthread_kill(main_thread, SIGUSR1);
        usleep(200); /* allow-sleep: a signal now and then is the point */
    }
    return NULL;
}

/* Signals that arrive all the time neither end a wait early nor put it off. */
static void test_interrupted_waits(void **state)
{
    (void)state;
    struct sigaction sa = {.sa_handler = on_signal}, before;
    _Atomic int stop = 0;
    pthread_t t;
    int s[2], ep = os->epoll_create();
    struct epoll_event event[4];
    assert_int_equal(os->socketpair(s), 0);
    assert_int_equal(sigaction(SIGUSR1, &sa, &before), 0);
    main_thread = pthread_self();
    assert_int_equal(pthread_create(&t, NULL, disturb, &stop), 0);
    uint64_t until = os->now_ns() + 20000000;
    assert_int_equal(os->poll_one(s[0], OS_READABLE, until), 0);
    assert_true(os->now_ns() >= until);
    until = os->now_ns() + 20000000;
    assert_int_equal(os->epoll_wait(ep, event, 4, until), 0);
    assert_true(os->now_ns() >= until);
    stop = 1;
    pthread_join(t, NULL);
    sigaction(SIGUSR1, &before, NULL);
    os->close(ep);
    os->close(s[0]);
    os->close(s[1]);
}

static void test_futex(void **state)
{
    (void)state;
    _Atomic uint32_t word = 1;
    const uint32_t *w = (const uint32_t *)&word;
    assert_int_equal(os->futex_wait(w, 0, UINT64_MAX), -EAGAIN);
    assert_int_equal(os->futex_wait(w, 1, os->now_ns() + 1000000), -ETIMEDOUT);
    assert_int_equal(os->futex_wake(w, 1), 0);
    /* shared, not private: a process with a mapping of its own wakes us */
    int fd;
    void *map;
    assert_int_equal(os->segment_create("test", 4096, 4096, &map, &fd), 0);
    _Atomic uint32_t *shared = map;
    pid_t pid = fork();
    if (pid == 0) {
        _Atomic uint32_t *mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        *mine = 1;
        _exit(os->futex_wake((const uint32_t *)mine, 1) >= 0 ? 0 : 1);
    }
    uint64_t limit = os->now_ns() + LIMIT_NS;
    while (*shared == 0 && os->now_ns() < limit)
        os->futex_wait((const uint32_t *)shared, 0, limit);
    assert_int_equal(*shared, 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    os->segment_unmap(map, 4096);
    os->close(fd);
}

static void test_random_and_clocks(void **state)
{
    (void)state;
    unsigned char a[600] = {0}, b[600] = {0};
    assert_int_equal(os->random(a, sizeof a), 0);
    assert_int_equal(os->random(b, sizeof b), 0);
    assert_true(memcmp(a, b, sizeof a) != 0 && memcmp(a + 500, a + 550, 50) != 0);
    uint64_t t = os->now_ns();
    assert_true(os->now_ns() >= t);
    assert_true(os->wall_ns() > UINT64_C(1600000000000000000));
    assert_true(os->cpu() >= 0);
    assert_int_equal(os->getpid(), getpid());
}

/* ---- processes ---- */

static int spawn_shell(const char *script, const int *fds, int n_fds, pid_t *pid, int *pidfd)
{
    char *argv[] = {"/bin/sh", "-c", (char *)(uintptr_t)script, NULL}, *envp[] = {"PATH=/usr/bin:/bin", "MARK=here", NULL};
    return os->spawn("/bin/sh", argv, envp, fds, n_fds, pid, pidfd);
}

static int await_status(int pidfd)
{
    int code, status, rc;
    assert_int_equal(os->poll_one(pidfd, OS_READABLE, os->now_ns() + LIMIT_NS), 1);
    assert_int_equal(rc = os->reap(pidfd, &code, &status), 0);
    assert_int_equal(code, CLD_EXITED);
    os->close(pidfd);
    return status;
}

static void high_pipe(int ends[2])
{
    int low[2];
    assert_int_equal(os->pipe(low), 0);
    for (int i = 0; i < 2; i++) {
        assert_true((ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 20)) >= 20);
        os->close(low[i]);
    }
}

/* The places that the descriptors are to have are taken by one another: 4 becomes 3 and 3 becomes 4. */
static void test_spawn_places_descriptors(void **state)
{
    (void)state;
    const int crossed[2] = {4, 3}, saved[2] = {os->dup(3), os->dup(4)};
    int a[2], b[2], pidfd;
    pid_t pid;
    char text[16] = "";
    high_pipe(a);
    high_pipe(b);
    assert_int_equal(dup3(a[1], 4, O_CLOEXEC), 4);
    assert_int_equal(dup3(b[1], 3, O_CLOEXEC), 3);
    int rc = spawn_shell("echo three >&3; echo four >&4; test -e /proc/$$/fd/5 && exit 9; exit 0", crossed, 2, &pid, &pidfd);
    for (int i = 0; i < 2; i++) {
        if (saved[i] >= 0)
            dup3(saved[i], 3 + i, O_CLOEXEC);
        else
            os->close(3 + i);
        os->close(saved[i]);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(await_status(pidfd), 0);
    assert_int_equal(os->read(a[0], text, sizeof text), 6);
    assert_memory_equal(text, "three\n", 6);
    assert_int_equal(os->read(b[0], text, sizeof text), 5);
    assert_memory_equal(text, "four\n", 5);
    for (int i = 0; i < 2; i++) {
        os->close(a[i]);
        os->close(b[i]);
    }
}

static void test_spawn_starts_clean(void **state)
{
    (void)state;
    int out[2], pidfd, stray = open("/dev/null", O_RDONLY); /* not close-on-exec: somebody else's fault */
    pid_t pid;
    sigset_t all, before;
    char text[512] = "", want[64];
    assert_int_equal(os->pipe(out), 0);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    signal(SIGUSR2, SIG_IGN);
    int rc = spawn_shell("(grep -E 'SigBlk|SigIgn' /proc/self/status; cut -d' ' -f6 /proc/$$/stat; echo $MARK) >&3", out + 1, 1,
                         &pid, &pidfd);
    signal(SIGUSR2, SIG_DFL);
    sigset_t now;
    sigprocmask(SIG_SETMASK, &before, &now);
    assert_int_equal(rc, 0);
    assert_int_equal(sigismember(&now, SIGINT), 1); /* the caller's mask is as it was */
    assert_int_equal(await_status(pidfd), 0);
    assert_true(os->read(out[0], text, sizeof text - 1) > 0);
    snprintf(want, sizeof want, "SigBlk:\t%016d\nSigIgn:\t%016d\n%d\nhere\n", 0, 0, (int)pid); /* a session of its own */
    assert_string_equal(text, want);
    os->close(out[0]);
    os->close(out[1]);
    close(stray);
}

static void test_spawn_fails(void **state)
{
    (void)state;
    char *argv[] = {"x", NULL}, *envp[] = {NULL};
    const int bad[] = {1000};
    pid_t pid = 7;
    int pidfd = 8;
    assert_int_equal(os->spawn("/nonexistent", argv, envp, NULL, 0, &pid, &pidfd), -ENOENT);
    assert_int_equal(os->spawn("/usr", argv, envp, NULL, 0, &pid, &pidfd), -EACCES);
    assert_int_equal(os->spawn("/bin/true", argv, envp, bad, 1, &pid, &pidfd), -EBADF);
    assert_int_equal(os->spawn("/bin/true", argv, envp, bad, OS_MAX_FDS + 1, &pid, &pidfd), -EINVAL);
    assert_true(no_child_is_left());
    assert_int_equal(errno, ECHILD);
    assert_true(pid == 7 && pidfd == 8);
}

static void test_descriptor_limit(void **state)
{
    (void)state;
    struct rlimit before, few;
    int s[2], fd;
    void *map;
    pid_t pid;
    getrlimit(RLIMIT_NOFILE, &before);
    int used = os->dup(0);
    os->close(used);
    few = (struct rlimit){(rlim_t)used + 1, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    assert_int_equal(os->socketpair(s), -EMFILE);
    assert_int_equal(os->pipe(s), -EMFILE);
    char *argv[] = {"/bin/true", NULL}, *envp[] = {NULL};
    assert_int_equal(os->spawn("/bin/true", argv, envp, NULL, 0, &pid, &fd), -EMFILE);
    fd = os->dup(0);
    assert_int_equal(os->dup(0), -EMFILE);
    assert_int_equal(os->segment_create("x", 4096, 4096, &map, &s[0]), -EMFILE);
    assert_int_equal(os->memfd_sealed("x", "x", 1), -EMFILE);
    assert_int_equal(os->epoll_create(), -EMFILE);
    assert_int_equal(os->eventfd(), -EMFILE);
    assert_int_equal(os->pidfd_open(getpid()), -EMFILE);
    os->close(fd);
    setrlimit(RLIMIT_NOFILE, &before);
}

static void test_kill_and_reap(void **state)
{
    (void)state;
    pid_t pid;
    int pidfd, code, status;
    assert_int_equal(spawn_shell("exec sleep 1000", NULL, 0, &pid, &pidfd), 0);
    struct os_proc info;
    assert_int_equal(os->proc_info(pid, &info), 0);
    assert_true(info.ppid == getpid() && info.session == pid && info.pgid == pid && info.start > 0);
    assert_int_equal(os->reap(pidfd, &code, &status), -EAGAIN);
    assert_int_equal(os->group_kill(1, SIGKILL), -EINVAL);
    assert_int_equal(os->group_kill(0, 0), -EINVAL);
    assert_int_equal(os->group_kill(pid, SIGTERM), 0);
    assert_int_equal(os->poll_one(pidfd, OS_READABLE, os->now_ns() + LIMIT_NS), 1);
    assert_int_equal(os->proc_info(pid, &info), 0);
    assert_int_equal(info.state, 'Z');
    assert_int_equal(os->reap(pidfd, &code, &status), 0);
    assert_true(code == CLD_KILLED && status == SIGTERM);
    assert_int_equal(os->reap(pidfd, &code, &status), -ECHILD);
    assert_int_equal(os->pidfd_kill(pidfd, SIGKILL), -ESRCH);
    assert_int_equal(os->proc_info(pid, &info), -ESRCH);
    os->close(pidfd);
    assert_int_equal(os->pidfd_open(-1), -EINVAL);
}

/* A name with brackets and blanks must not shift the fields of /proc/PID/stat. */
static void test_proc_info_of_a_strange_name(void **state)
{
    (void)state;
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, ") Z 1 (x");
        setpgid(0, 0);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct os_proc info;
    assert_int_equal(os->proc_info(pid, &info), 0);
    assert_true(info.ppid == getpid() && info.pgid == pid && info.state != 'Z');
    assert_int_equal(os->group_kill(pid, SIGKILL), 0);
    assert_int_equal(os->reap_group(pid, os->now_ns() + LIMIT_NS), 1);
    assert_int_equal(os->reap_group(pid, os->now_ns() + LIMIT_NS), 0);
    close(ready[0]);
    close(ready[1]);
}

/* The sweep takes those whose environment has the entry, whole, and nobody else. */
static void test_kill_by_env(void **state)
{
    (void)state;
    char entry[64], longer[72];
    snprintf(entry, sizeof entry, "SNAKEPIT_RUN_ID=os%d", (int)getpid());
    snprintf(longer, sizeof longer, "%s0", entry);
    char *argv[] = {"sleep", "1000", NULL}, *ours[] = {"A=b", entry, NULL}, *others[] = {longer, NULL};
    pid_t pid[3];
    int fd[3], code, status;
    assert_int_equal(os->spawn("/bin/sleep", argv, ours, NULL, 0, &pid[0], &fd[0]), 0);
    assert_int_equal(os->spawn("/bin/sleep", argv, others, NULL, 0, &pid[1], &fd[1]), 0);
    assert_int_equal(os->spawn("/bin/sleep", argv, ours, NULL, 0, &pid[2], &fd[2]), 0);
    assert_int_equal(os->kill_by_env(entry), 2);
    assert_int_equal(os->reap(fd[0], &code, &status), -ECHILD); /* reaped, being ours */
    assert_int_equal(os->reap(fd[2], &code, &status), -ECHILD);
    assert_int_equal(os->reap(fd[1], &code, &status), -EAGAIN);
    assert_int_equal(os->kill_by_env(entry), 0);
    assert_int_equal(os->kill_by_env("nonsense"), -EINVAL);
    assert_int_equal(os->kill_by_env(longer), 1);
    for (int i = 0; i < 3; i++)
        os->close(fd[i]);
}

static void *thread_mask(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
    return NULL;
}

/* The program's handlers never run on a thread of the library. */
static void test_thread_takes_no_signals(void **state)
{
    (void)state;
    sigset_t mask, before, after;
    pthread_t t;
    sigprocmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(os->thread_start(&t, thread_mask, &mask), 0);
    pthread_join(t, NULL);
    assert_true(sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGCHLD) == 1);
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int sig = 1; sig < NSIG; sig++)
        assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

static void test_fork_canary(void **state)
{
    (void)state;
    int status;
    const volatile unsigned char *page = os->fork_canary();
    assert_non_null((const void *)(uintptr_t)page);
    assert_int_equal(*page, 1);
    pid_t pid = fork();
    if (pid == 0)
        _exit(*page == 0 ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(*page, 1);
    os->fork_canary_free(page);
}

static void test_envscan(void **state)
{
    (void)state;
    static const char block[] = "A=1\0AB=2\0B\0B=\0C=x=y\0AB=later\0LONG=";
    char text[sizeof block + 400];
    memcpy(text, block, sizeof block - 1);
    memset(text + sizeof block - 1, 'v', 398);
    memcpy(text + sizeof block - 1 + 398, "\0", 2);
    size_t n = sizeof block - 1 + 399;
    for (size_t piece = 1; piece < 40; piece += 3) { /* however it is cut up */
        struct envscan_entry e[] = {{.name = "AB"}, {.name = "B"}, {.name = "C"}, {.name = "LONG"}, {.name = "a"}};
        struct envscan s;
        envscan_init(&s, e, 5);
        for (size_t at = 0; at < n; at += piece)
            envscan_feed(&s, text + at, n - at < piece ? n - at : piece);
        assert_true(e[0].found && strcmp(e[0].value, "2") == 0);
        assert_true(e[1].found && strcmp(e[1].value, "") == 0);
        assert_true(e[2].found && strcmp(e[2].value, "x=y") == 0);
        assert_false(e[3].found || e[4].found);
    }
}

/* Of the group that this process is in, where it counts all below it too: whoever is ended elsewhere is none of it. */
static void test_counter_of_kills(void **state)
{
    (void)state;
    char link[48], path[PATH_MAX] = "";
    int counter = os_linux.oom_counter();
    assert_true(counter >= 0);
    int64_t kills = os_linux.oom_kills(counter);
    assert_true(kills >= 0);
    assert_true(os_linux.oom_kills(counter) >= kills); /* each look is a new one */
    snprintf(link, sizeof link, "/proc/self/fd/%d", counter);
    assert_true(readlink(link, path, sizeof path - 1) > 0);
    const char *name = strrchr(path, '/') + 1;
    assert_true(strcmp(name, "memory.events") == 0 || strcmp(path, "/proc/vmstat") == 0);
    print_message("counted by %s\n", path);
    os_linux.close(counter);
    assert_true(os_linux.oom_kills(-1) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_close_on_exec),
        cmocka_unit_test(test_segment_is_sealed),
        cmocka_unit_test(test_request_cannot_be_changed),
        cmocka_unit_test(test_socket_conventions),
        cmocka_unit_test(test_descriptors_travel),
        cmocka_unit_test(test_descriptors_refused),
        cmocka_unit_test(test_interrupted_waits),
        cmocka_unit_test(test_futex),
        cmocka_unit_test(test_random_and_clocks),
        cmocka_unit_test(test_spawn_places_descriptors),
        cmocka_unit_test(test_spawn_starts_clean),
        cmocka_unit_test(test_spawn_fails),
        cmocka_unit_test(test_descriptor_limit),
        cmocka_unit_test(test_kill_and_reap),
        cmocka_unit_test(test_proc_info_of_a_strange_name),
        cmocka_unit_test(test_kill_by_env),
        cmocka_unit_test(test_thread_takes_no_signals),
        cmocka_unit_test(test_fork_canary),
        cmocka_unit_test(test_envscan),
        cmocka_unit_test(test_counter_of_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
