/* A host for the tests of deaths, driven by lines on its standard input; also the worker that it starts.
 *
 *   guard_host host GUARD RUN_ID MODE SHAPE     says "ready GUARD_PID WORKER_PID", or "skip WHY"
 *   guard_host worker SHAPE
 *
 * A mode is what the host does to itself first; a shape is what the worker leaves behind. Commands: exec, spawn, kill-worker,
 * stop-guard, kill-guard, children, fork, stop. Everything is answered with a line. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "confine.h"
#include "fault/guard_kit.h"

static struct kit k;
static struct kit_proc *worker;
static const char *self_path, *guard_path, *run_id, *mode, *shape;

static void say(const char *line)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s\n", line);
    if (write(1, text, (size_t)n) != n)
        _exit(3);
}

_Noreturn static void skip(const char *why)
{
    char text[128];
    snprintf(text, sizeof text, "skip %s: %s", why, strerror(errno));
    say(text);
    _exit(0);
}

/* ---- the worker ---- */

_Noreturn static void live_on(void)
{
    for (;;)
        pause();
}

/* 9 when anything but 0 to 3 is open: a control socket and no segment was given. */
static int check_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return 8;
    bool strange = false;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        strange = strange || (atoi(e->d_name) > 3 && atoi(e->d_name) != dirfd(d));
    closedir(d);
    return strange ? 9 : 0;
}

static int run_worker(const char *what)
{
    if (strcmp(what, "fds") == 0)
        return check_fds();
    if (strcmp(what, "group") == 0 && fork() == 0)
        live_on();
    if (strcmp(what, "session") == 0) {
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                setsid();
                live_on();
            }
            _exit(0);
        }
        wait(NULL);
    }
    prctl(PR_SET_NAME, "settled"); /* for whoever must know that nobody of us is about to end */
    live_on();
}

/* ---- the host's modes ---- */

static void *wait_for_anybody(void *unused)
{
    (void)unused;
    for (;;)
        if (waitpid(-1, NULL, 0) < 0)
            usleep(1000); /* allow-sleep: nobody there; it shall steal whoever comes */
    return NULL;
}

static struct kit_proc *start_worker(void)
{
    const char *argv[] = {self_path, "worker", shape, NULL};
    return kit_spawn(&k, argv, "pool_1", NULL, -1, NULL);
}

static void *open_everything(void *unused)
{
    (void)unused;
    int rc = kit_start(&k, &os_linux, guard_path, run_id, 10000);
    if (rc != 0) {
        fprintf(stderr, "guard_start: %d %s %s\n", rc, k.call, strerror(k.error));
        _exit(4);
    }
    worker = start_worker();
    if (worker == NULL || !kit_await(&k, &worker->spawned))
        _exit(5);
    return NULL;
}

/* What old container profiles do to calls that they do not know. */
static void refuse_new_calls(void)
{
    static const struct refusal r[] = {{SYS_close_range, EPERM, 0},
                                       {SYS_clone3, EPERM, 0},
                                       {SYS_epoll_pwait2, EPERM, 0},
                                       {SYS_openat2, EPERM, 0},
                                       {SYS_faccessat2, EPERM, 0}};
    if (confine_refuse(r, sizeof r / sizeof r[0]) != 0)
        skip("seccomp");
    if (syscall(SYS_close_range, 1000, 1000, 0) == 0 || errno != EPERM)
        skip("seccomp filter has no effect");
}

/* The first process of a pid namespace; this process stays outside and ends with it. */
static void become_pid1(void)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        skip("unshare");
    pid_t pid = fork();
    if (pid > 0) {
        int status;
        waitpid(pid, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
        skip("mount /proc");
}

/* A user of its own whose third process is one too many. */
static void hit_nproc(void)
{
    struct rlimit two = {2, 2};
    uid_t user = confine_lonely_user();
    if (setgid(user) != 0 || setuid(user) != 0 || setrlimit(RLIMIT_NPROC, &two) != 0)
        skip("setuid");
    if (access(guard_path, X_OK) != 0)
        skip("the guard cannot be reached by another user");
}

static void enter_mode(void)
{
    pthread_t t;
    sigset_t all;
    sigfillset(&all);
    if (strcmp(mode, "ignores_sigchld") == 0)
        signal(SIGCHLD, SIG_IGN);
    else if (strcmp(mode, "waits_for_anybody") == 0)
        pthread_create(&t, NULL, wait_for_anybody, NULL);
    else if (strcmp(mode, "blocks_signals") == 0)
        pthread_sigmask(SIG_SETMASK, &all, NULL);
    else if (strcmp(mode, "pid1") == 0)
        become_pid1();
    else if (strcmp(mode, "new_calls_refused") == 0)
        refuse_new_calls();
    else if (strcmp(mode, "nproc") == 0)
        hit_nproc();
    else if (strcmp(mode, "stray_fds") == 0 || strcmp(mode, "plain") == 0)
        for (int fd = 40; fd < 60; fd++)
            dup2(2, fd); /* inherited by everything that does not take care */
}

/* ---- commands ---- */

static void do_fork(void)
{
    pid_t pid = fork(); /* lives on, with copies of every descriptor, until the test kills it */
    if (pid == 0) {
        alarm(60); /* or until the test has died */
        live_on();
    }
    char text[64];
    snprintf(text, sizeof text, "forked %d", (int)pid);
    say(text);
}

/* Are there children, dead or alive? One that is dying is waited for. */
static void do_children(void)
{
    siginfo_t info;
    for (int i = 0; i < 2000; i++) {
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD) {
            say("none");
            return;
        }
        usleep(1000); /* allow-sleep: polls */
    }
    say("some");
}

static void do_kill_worker(void)
{
    char text[64];
    kill(-worker->pid, SIGKILL);
    kit_await(&k, &worker->exited);
    snprintf(text, sizeof text, "exited %d %d", worker->how.code, worker->how.status);
    say(text);
}

static void do_stop(void)
{
    char text[64];
    int alive = kit_stop(&k, 10000);
    snprintf(text, sizeof text, "stopped %d bad %d", alive, k.bad);
    say(text);
    _exit(0);
}

static void do_spawn(void)
{
    struct kit_proc *p = start_worker();
    say(p != NULL ? "asked" : "refused");
}

static void do_await_lost(void)
{
    char text[128];
    kit_await_lost(&k);
    int failed = 0;
    for (int i = 0; i < k.n; i++)
        failed += k.procs[i].spawned && k.procs[i].error != 0;
    snprintf(text, sizeof text, "lost %d failed %d bad %d", k.lost, failed, k.bad);
    say(text);
}

static void on_command(const char *c)
{
    if (strcmp(c, "exec") == 0) {
        execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(6);
    } else if (strcmp(c, "spawn") == 0) {
        do_spawn();
    } else if (strcmp(c, "kill-worker") == 0) {
        do_kill_worker();
    } else if (strcmp(c, "kill-guard") == 0) {
        kill(guard_pid(k.guard), SIGKILL);
        say("ok");
    } else if (strcmp(c, "await-lost") == 0) {
        do_await_lost();
    } else if (strcmp(c, "children") == 0) {
        do_children();
    } else if (strcmp(c, "fork") == 0) {
        do_fork();
    } else if (strcmp(c, "stop") == 0) {
        do_stop();
    } else {
        _exit(7);
    }
}

static void on_input(struct loop_source *s, uint32_t events)
{
    (void)events;
    static char text[256];
    static size_t n;
    ssize_t got = read(s->fd, text + n, sizeof text - 1 - n);
    if (got <= 0)
        _exit(0);
    n += (size_t)got;
    for (char *end; (end = memchr(text, '\n', n)) != NULL;) {
        *end = '\0';
        on_command(text);
        n -= (size_t)(end + 1 - text);
        memmove(text, end + 1, n);
    }
}

_Noreturn static void run_host(void)
{
    char text[128];
    enter_mode();
    if (strcmp(mode, "opener_ends") == 0) {
        pthread_t t;
        pthread_create(&t, NULL, open_everything, NULL);
        pthread_join(t, NULL);
    } else {
        open_everything(NULL);
    }
    struct loop_source input = {.fd = 0, .events = EPOLLIN, .fn = on_input};
    loop_add(k.loop, &input);
    if (worker->error != 0)
        snprintf(text, sizeof text, "failed %d %s", worker->error, worker->call);
    else
        snprintf(text, sizeof text, "ready %d %d", (int)guard_pid(k.guard), (int)worker->pid);
    say(text);
    if (strcmp(shape, "fds") == 0) {
        kit_await(&k, &worker->exited);
        snprintf(text, sizeof text, "exited %d %d", worker->how.code, worker->how.status);
        say(text);
    }
    for (;;)
        loop_run_once(k.loop, UINT64_MAX);
}

int main(int argc, char **argv)
{
    self_path = argv[0];
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        return run_worker(argv[2]);
    if (argc != 6)
        return 2;
    guard_path = argv[2];
    run_id = argv[3];
    mode = argv[4];
    shape = argv[5];
    run_host();
}
