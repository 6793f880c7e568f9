/* The death matrix of the guard: whoever dies, and however, two seconds later nothing of ours is alive and no status was misjudged.
 *
 * Every row is crossed with three shapes of worker: alone, with a child in its group, with a daemon in a session of its own
 * (setsid, double fork). Processes are told apart by the run id in their environment; only the ones that are not zombies count. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/envscan.h"
#include "fault/guard_kit.h"
#include "patience.h"

enum { GONE_WITHIN_MS = 2000 };

struct scene {
    const char *shape;
    char run[32];
    pid_t host, guard, worker;
    int to, from; /* its standard input and output */
    int guard_fd;
};

static uint64_t worst_ns; /* from the event to nobody alive, over all rows */

static bool is_settled(pid_t pid)
{
    char path[48], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool settled = fd >= 0 && read(fd, name, sizeof name - 1) > 0 && strcmp(name, "settled\n") == 0;
    os_linux.close(fd);
    return settled;
}

/* How many live; *ret_settled (may be NULL): whether the worker among them has done what its shape says. */
static int count_alive(const char *run, bool *ret_settled)
{
    int n = 0;
    if (ret_settled != NULL)
        *ret_settled = false;
    DIR *d = opendir("/proc");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct os_proc info;
        pid_t pid = (pid_t)atoi(e->d_name);
        if (!isdigit((unsigned char)e->d_name[0]) || !kit_carries(pid, run) || os_linux.proc_info(pid, &info) != 0)
            continue;
        n += info.state != 'Z' && info.state != 'X';
        if (ret_settled != NULL && is_settled(pid))
            *ret_settled = true;
    }
    closedir(d);
    return n;
}

static int alive(const char *run)
{
    return count_alive(run, NULL);
}

static bool await_settled(const char *run)
{
    uint64_t limit = os_linux.now_ns() + KIT_LIMIT_NS;
    bool settled = false;
    while (!settled && os_linux.now_ns() < limit)
        count_alive(run, &settled);
    return settled;
}

static bool await_alive(const char *run, int wanted, uint64_t limit_ms)
{
    struct patience patience = patience_for(limit_ms);
    while (alive(run) != wanted || alive(run) != wanted) { /* twice: one that forks and ends may hide its child from a look */
        if (patience_is_over(&patience))
            return false;
        usleep(500); /* allow-sleep: polls */
    }
    return true;
}

/* A process, by its pidfd. */
static bool await_end(int pidfd, uint64_t limit_ms)
{
    struct patience patience = patience_for(limit_ms);
    while (os_linux.poll_one(pidfd, OS_READABLE, 0) != 1) {
        if (patience_is_over(&patience))
            return false;
        usleep(500); /* allow-sleep: polls */
    }
    return true;
}

static void read_line(struct scene *s, char *text, size_t room)
{
    size_t n = 0;
    while (n + 1 < room) {
        assert_int_equal(os_linux.poll_one(s->from, OS_READABLE, os_linux.now_ns() + KIT_LIMIT_NS), 1);
        ssize_t got = read(s->from, text + n, 1);
        assert_int_equal(got, 1);
        if (text[n] == '\n')
            break;
        n++;
    }
    text[n] = '\0';
}

static void expect_line(struct scene *s, const char *wanted)
{
    char text[128];
    read_line(s, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void command(struct scene *s, const char *line)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s\n", line);
    assert_int_equal(write(s->to, text, (size_t)n), n);
}

/* The host in a process of its own; text: its first line. */
static void launch(struct scene *s, const char *mode, const char *shape, char *text, size_t room)
{
    static int count;
    int in[2], out[2];
    *s = (struct scene){.shape = shape, .guard_fd = -1};
    snprintf(s->run, sizeof s->run, "d%d.%d", (int)getpid(), count++);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    s->host = fork();
    if (s->host == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl(TEST_BUILD_DIR "/tests/fault/guard_host", TEST_BUILD_DIR "/tests/fault/guard_host", "host", SNAKEPIT_GUARD_PATH,
              s->run, mode, shape, (char *)NULL);
        _exit(99);
    }
    close(in[0]);
    close(out[1]);
    s->to = in[1];
    s->from = out[0];
    read_line(s, text, room);
}

static void close_scene(struct scene *s)
{
    close(s->to);
    close(s->from);
    os_linux.close(s->guard_fd);
}

/* false: this machine cannot show that mode; said, not passed over in silence. */
static bool open_scene(struct scene *s, const char *mode, const char *shape)
{
    char text[128];
    launch(s, mode, shape, text, sizeof text);
    if (strncmp(text, "skip", 4) == 0) {
        print_message("skipped: %s/%s: %s\n", mode, shape, text + 5);
        waitpid(s->host, NULL, 0);
        close_scene(s);
        return false;
    }
    int guard, pid;
    assert_int_equal(sscanf(text, "ready %d %d", &guard, &pid), 2);
    s->guard = guard;
    s->worker = pid;
    if (strcmp(mode, "pid1") != 0) /* its numbers mean nothing out here */
        s->guard_fd = os_linux.pidfd_open(s->guard);
    assert_true(await_alive(s->run, strcmp(shape, "plain") == 0 ? 1 : 2, KIT_LIMIT_NS / 1000000));
    /* elsewhere the end may come in the middle of a worker's forks; a host that is PID 1 inherits zombies that it cannot know */
    if (strcmp(mode, "pid1") == 0)
        assert_true(await_settled(s->run));
    return true;
}

static void expect_nothing_alive(struct scene *s)
{
    uint64_t begun = os_linux.now_ns();
    assert_true(await_alive(s->run, 0, GONE_WITHIN_MS));
    if (s->guard_fd >= 0)
        assert_true(await_end(s->guard_fd, GONE_WITHIN_MS));
    uint64_t took = os_linux.now_ns() - begun;
    worst_ns = took > worst_ns ? took : worst_ns;
}

static void kill_host(struct scene *s)
{
    int status;
    kill(s->host, SIGKILL);
    assert_int_equal(waitpid(s->host, &status, 0), s->host);
    assert_true(WIFSIGNALED(status));
}

static void host_ends(struct scene *s)
{
    int status;
    assert_int_equal(waitpid(s->host, &status, 0), s->host);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the rows ---- */

static void host_killed(struct scene *s)
{
    kill_host(s);
    expect_nothing_alive(s);
}

static void host_stops_in_order(struct scene *s)
{
    command(s, "stop");
    expect_line(s, "stopped 0 bad 0");
    host_ends(s);
    expect_nothing_alive(s);
}

static void host_execs(struct scene *s)
{
    command(s, "exec");
    expect_nothing_alive(s);
    kill_host(s); /* it lives: as another program */
}

static int fork_host(struct scene *s)
{
    char text[64];
    int copy;
    command(s, "fork");
    read_line(s, text, sizeof text);
    assert_int_equal(sscanf(text, "forked %d", &copy), 1);
    return os_linux.pidfd_open(copy);
}

/* The copy is somebody else's business: it lives. */
static void end_copy(int copy)
{
    assert_int_equal(os_linux.poll_one(copy, OS_READABLE, 0), 0);
    assert_int_equal(os_linux.pidfd_kill(copy, SIGKILL), 0);
    close(copy);
}

static void host_forks_and_dies(struct scene *s)
{
    int copy = fork_host(s);
    kill_host(s);
    expect_nothing_alive(s);
    end_copy(copy);
}

static void host_forks_and_stops(struct scene *s)
{
    int copy = fork_host(s);
    host_stops_in_order(s);
    end_copy(copy);
}

static void guard_killed(struct scene *s)
{
    command(s, "kill-guard");
    expect_line(s, "ok");
    command(s, "await-lost");
    expect_line(s, "lost 1 failed 0 bad 0");
    expect_nothing_alive(s);
    command(s, "stop");
    expect_line(s, "stopped 0 bad 0");
    host_ends(s);
}

static void guard_stopped_host_killed(struct scene *s)
{
    kill(s->guard, SIGSTOP);
    kill_host(s);
    expect_nothing_alive(s);
}

static void guard_stopped_host_execs(struct scene *s)
{
    kill(s->guard, SIGSTOP);
    command(s, "exec");
    /* nobody tells a stopped process that a socket has ended; once it runs again, it sees it */
    kill(s->guard, SIGCONT);
    expect_nothing_alive(s);
    kill_host(s);
}

static void guard_killed_between_request_and_reply(struct scene *s)
{
    kill(s->guard, SIGSTOP);
    command(s, "spawn");
    expect_line(s, "asked");
    kill(s->guard, SIGKILL);
    command(s, "await-lost");
    expect_line(s, "lost 1 failed 1 bad 0");
    expect_nothing_alive(s);
    command(s, "stop");
    expect_line(s, "stopped 0 bad 0");
    host_ends(s);
}

/* Here only the workers go at once; what they left behind goes with the next sweep. */
static void guard_and_host_killed(struct scene *s)
{
    int worker = os_linux.pidfd_open(s->worker);
    kill(s->guard, SIGSTOP);
    kill(s->host, SIGSTOP);
    kill(s->host, SIGKILL);
    kill(s->guard, SIGKILL);
    kill_host(s);
    assert_true(await_end(worker, GONE_WITHIN_MS));
    close(worker);
    kit_sweep(s->run);
    expect_nothing_alive(s);
}

static void worker_stopped_host_killed(struct scene *s)
{
    kill(-s->worker, SIGSTOP);
    kill_host(s);
    expect_nothing_alive(s);
}

static void worker_stopped_host_stops(struct scene *s)
{
    kill(-s->worker, SIGSTOP);
    host_stops_in_order(s);
}

static void worker_killed(struct scene *s)
{
    command(s, "kill-worker");
    char wanted[32];
    snprintf(wanted, sizeof wanted, "exited %d %d", CLD_KILLED, SIGKILL);
    expect_line(s, wanted);
    assert_true(await_alive(s->run, 0, GONE_WITHIN_MS)); /* while host and guard live on */
    host_stops_in_order(s);
}

/* The host as PID 1: orphans come to it, and it reaps them. */
static void guard_killed_inside(struct scene *s)
{
    command(s, "kill-guard");
    expect_line(s, "ok");
    command(s, "await-lost");
    expect_line(s, "lost 1 failed 0 bad 0");
    command(s, "children");
    expect_line(s, "none");
    expect_nothing_alive(s);
    command(s, "stop");
    expect_line(s, "stopped 0 bad 0");
    host_ends(s);
}

static const struct row {
    const char *mode, *name;
    void (*run)(struct scene *s);
} rows[] = {
    {"plain", "host killed", host_killed},
    {"plain", "host stops in order", host_stops_in_order},
    {"plain", "host execs another program", host_execs},
    {"plain", "host forks, dies, its copy lives on", host_forks_and_dies},
    {"plain", "host forks, stops, its copy lives on", host_forks_and_stops},
    {"plain", "guard killed", guard_killed},
    {"plain", "guard stopped, host killed", guard_stopped_host_killed},
    {"plain", "guard stopped, host execs", guard_stopped_host_execs},
    {"plain", "guard killed between request and reply", guard_killed_between_request_and_reply},
    {"plain", "guard and host killed together", guard_and_host_killed},
    {"plain", "worker stopped, host killed", worker_stopped_host_killed},
    {"plain", "worker stopped, host stops", worker_stopped_host_stops},
    {"plain", "worker killed", worker_killed},
    {"ignores_sigchld", "worker killed", worker_killed},
    {"ignores_sigchld", "guard killed", guard_killed},
    {"ignores_sigchld", "host killed", host_killed},
    {"waits_for_anybody", "worker killed", worker_killed},
    {"waits_for_anybody", "guard killed", guard_killed},
    {"waits_for_anybody", "host killed", host_killed},
    {"blocks_signals", "worker killed", worker_killed},
    {"blocks_signals", "host killed", host_killed},
    {"opener_ends", "worker killed", worker_killed},
    {"opener_ends", "host killed", host_killed},
    {"opener_ends", "guard stopped, host killed", guard_stopped_host_killed},
    {"pid1", "worker killed", worker_killed},
    {"pid1", "host killed", host_killed},
    {"pid1", "guard killed", guard_killed_inside},
    {"new_calls_refused", "worker killed", worker_killed},
    {"new_calls_refused", "host killed", host_killed},
    {"new_calls_refused", "guard killed", guard_killed},
};

static void test_death_matrix(void **state)
{
    (void)state;
    static const char *const shapes[] = {"plain", "group", "session"};
    int n = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int j = 0; j < 3; j++) {
            struct scene s;
            if (!open_scene(&s, rows[i].mode, shapes[j]))
                continue;
            print_message("[   ROW ] %s: %s, worker %s\n", rows[i].mode, rows[i].name, shapes[j]);
            rows[i].run(&s);
            close_scene(&s);
            n++;
        }
    }
    print_message("%d deaths, everything gone after at most %.1f ms\n", n, (double)worst_ns / 1e6);
    assert_true(n > 0);
}

/* A worker sees its own descriptors and no others, whatever the host left open and whatever the kernel refuses. */
static void test_descriptors(void **state)
{
    (void)state;
    static const char *const modes[] = {"stray_fds", "new_calls_refused"};
    for (int i = 0; i < 2; i++) {
        struct scene s;
        char text[128], wanted[32];
        launch(&s, modes[i], "fds", text, sizeof text);
        if (strncmp(text, "skip", 4) == 0) {
            print_message("skipped: %s: %s\n", modes[i], text + 5);
        } else {
            snprintf(wanted, sizeof wanted, "exited %d 0", CLD_EXITED);
            expect_line(&s, wanted);
            command(&s, "stop");
            expect_line(&s, "stopped 0 bad 0");
        }
        waitpid(s.host, NULL, 0);
        close_scene(&s);
    }
}

static void test_process_limit(void **state)
{
    (void)state;
    struct scene s;
    char text[128], wanted[32];
    launch(&s, "nproc", "plain", text, sizeof text);
    if (strncmp(text, "skip", 4) == 0) {
        print_message("skipped: nproc: %s\n", text + 5);
    } else {
        snprintf(wanted, sizeof wanted, "failed %d fork", EAGAIN);
        assert_string_equal(text, wanted);
        command(&s, "stop");
        expect_line(&s, "stopped 0 bad 0");
    }
    waitpid(s.host, NULL, 0);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_death_matrix),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_process_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
