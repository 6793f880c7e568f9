/* struct os_ops of the simulated machine. See sim.h.
 *
 * What takes a resource may be refused; what gives one back may not. A fiber may give way in whatever a thread could be stopped in. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "sim.h"

static bool refused(void)
{
    return !sim.quiet && sim_chance(sim.mood.refuse);
}

/* ---- time and chance ---- */

static uint64_t op_now(void)
{
    return sim.now;
}

static uint64_t op_wall(void)
{
    return UINT64_C(1700000000000000000) + sim.now;
}

static int op_random(void *buf, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)buf)[i] = (uint8_t)sim_below(256);
    return 0;
}

/* ---- memory ---- */

/* The map is a reference to the file: it outlives the number. */
static struct {
    void *map;
    struct file *file;
} maps[SIM_FDS];

static int op_segment_create(const char *name, size_t n, size_t ready, void **ret_map, int *ret_fd)
{
    (void)name, (void)ready;
    if (refused())
        return -ENOMEM;
    int i = 0;
    while (maps[i].map != NULL)
        i++;
    struct file *f = file_memory(n);
    *ret_map = maps[i].map = file_map(f);
    maps[i].file = file_ref(f);
    *ret_fd = fd_open(f);
    return 0;
}

static bool op_segment_has(const void *at, size_t n)
{
    (void)at, (void)n;
    return true;
}

static bool op_has_ticks(void)
{
    return false;
}

static void op_segment_unmap(void *map, size_t n)
{
    int i = 0;
    while (i < SIM_FDS && maps[i].map != map)
        i++;
    if (i == SIM_FDS || file_size(maps[i].file) != n)
        sim_fail("a segment is unmapped that is not mapped so");
    file_unref(maps[i].file);
    maps[i].map = NULL;
}

static int op_memfd_sealed(const char *name, const void *data, size_t n)
{
    (void)name;
    if (refused())
        return -EMFILE;
    struct file *f = file_memory(n);
    memcpy(file_map(f), data, n);
    return fd_open(f);
}

/* ---- descriptors ---- */

static int open_two(void (*make)(struct file *ret[2]), int ret_fds[2])
{
    struct file *f[2];
    if (refused())
        return -EMFILE;
    make(f);
    ret_fds[0] = fd_open(f[0]);
    ret_fds[1] = fd_open(f[1]);
    return 0;
}

static int op_socketpair(int ret_fds[2])
{
    return open_two(file_socketpair, ret_fds);
}

static int op_pipe(int ret_fds[2])
{
    return open_two(file_pipe, ret_fds);
}

static struct file *must(int fd)
{
    struct file *f = fd_get(fd);
    if (f == NULL)
        sim_fail("descriptor %d is used, but not open", fd);
    return f;
}

static int op_refuse_fds(int fd)
{
    must(fd);
    return refused() ? -ENOMEM : 0;
}

static ssize_t op_send(int fd, const void *data, size_t n)
{
    return file_write(must(fd), data, n, NULL, 0);
}

static ssize_t op_recv(int fd, void *data, size_t n)
{
    return file_read(must(fd), data, n, NULL, NULL);
}

static int op_send_fds(int fd, const void *data, size_t n, const int *more, int n_more)
{
    struct file *with[OS_MAX_FDS];
    if (refused())
        return -ENOBUFS;
    for (int i = 0; i < n_more; i++)
        with[i] = must(more[i]);
    return (int)file_write(must(fd), data, n, with, n_more);
}

static ssize_t op_recv_fds(int fd, void *data, size_t n, int *ret_fds, int *ret_n_fds)
{
    struct file *with[OS_MAX_FDS];
    int got = OS_MAX_FDS, room = *ret_n_fds;
    ssize_t rc = file_read(must(fd), data, n, with, &got);
    *ret_n_fds = 0;
    for (int i = 0; rc > 0 && i < got; i++) {
        if (i < room && !refused())
            ret_fds[(*ret_n_fds)++] = fd_open(with[i]);
        else
            file_unref(with[i]);
    }
    return rc;
}

static int op_shutdown(int fd)
{
    file_shutdown(must(fd));
    return 0;
}

static int op_dup(int fd)
{
    return refused() ? -EMFILE : fd_open(file_ref(must(fd)));
}

struct poll {
    struct file *file;
    enum os_wait what;
};

static bool polled(void *arg)
{
    struct poll *p = arg;
    return (p->what != OS_WRITABLE && file_readable(p->file)) || (p->what != OS_READABLE && file_writable(p->file));
}

static int op_poll_one(int fd, enum os_wait what, uint64_t deadline_ns)
{
    struct poll p = {file_ref(must(fd)), what};
    bool loop = fiber_is_loop() || sim.driven;
    sim.loop_waits += loop;
    bool ready = fiber_wait_for(polled, &p, deadline_ns);
    sim.loop_waits -= loop;
    file_unref(p.file);
    return ready;
}

static int op_epoll_create(void)
{
    return fd_open(file_epoll());
}

static int op_epoll_ctl(int ep, int op, int fd, uint32_t events, void *data)
{
    if (op == EPOLL_CTL_ADD && refused())
        return -ENOSPC;
    return file_epoll_ctl(must(ep), op, must(fd), events, data);
}

static bool epoll_ready(void *arg)
{
    return file_epoll_ready(arg);
}

static int op_epoll_wait(int ep, void *events, int max, uint64_t deadline_ns)
{
    struct file *f = must(ep);
    fiber_looks();
    fiber_yield(); /* also where something is ready: a loop that never rests shall be seen */
    if (deadline_ns != 0)
        fiber_wait_for(epoll_ready, f, deadline_ns);
    return file_epoll_wait(f, events, max);
}

static int op_eventfd(void)
{
    return fd_open(file_event());
}

/* ---- processes ---- */

static int op_spawn(const char *path, char *const argv[], char *const envp[], const int *given, int n_fds, pid_t *ret_pid,
                    int *ret_pidfd)
{
    (void)path;
    (void)argv;
    (void)envp;
    if (refused())
        return -EAGAIN;
    struct proc *p = proc_new(PROC_GUARD, NULL);
    p->files[PROC_CONTROL] = file_ref(must(given[0]));
    if (n_fds > 1)
        p->files[PROC_HOST] = file_ref(must(given[1]));
    sim_guard_begin(p);
    *ret_pid = p->pid;
    *ret_pidfd = fd_open(file_pidfd(p));
    return 0;
}

enum { HOST_PID = 1000 };
static struct proc host_proc = {.pid = HOST_PID, .state = PROC_ALIVE, .kind = PROC_FOREIGN, .refs = 1};

static int op_pidfd_open(pid_t pid)
{
    struct proc *p = pid == HOST_PID ? &host_proc : proc_find(pid);
    if (p == NULL)
        return -ESRCH;
    return refused() ? -EMFILE : fd_open(file_pidfd(p));
}

static int op_pidfd_kill(int pidfd, int sig)
{
    struct proc *p = file_proc(must(pidfd));
    if (p == NULL)
        sim_fail("descriptor %d is no pidfd", pidfd);
    if (p->reaped)
        return -ESRCH;
    if (sig != 0)
        proc_signal(p, sig, "a pidfd of the host");
    return 0;
}

static int op_group_kill(pid_t pgid, int sig)
{
    struct proc *p = proc_find(pgid);
    if (p == NULL)
        return -ESRCH;
    proc_signal(p, sig, "a group of the host");
    return 0;
}

static int op_reap(int pidfd, int *ret_code, int *ret_status)
{
    struct proc *p = file_proc(must(pidfd));
    if (p->parent != NULL || p->reaped || p->kind != PROC_GUARD)
        return -ECHILD;
    if (p->state != PROC_ZOMBIE)
        return -EAGAIN;
    *ret_code = WIFEXITED(p->wait_status) ? CLD_EXITED : CLD_KILLED;
    *ret_status = WIFEXITED(p->wait_status) ? WEXITSTATUS(p->wait_status) : WTERMSIG(p->wait_status);
    proc_reap(p);
    return 0;
}

static int op_reap_group(pid_t pgid, uint64_t deadline_ns)
{
    (void)pgid; /* orphans go to init */
    (void)deadline_ns;
    return 0;
}

static int op_proc_info(pid_t pid, struct os_proc *ret)
{
    struct proc *p = proc_find(pid);
    if (p == NULL)
        return -ESRCH;
    if (refused())
        return -EMFILE;
    *ret = (struct os_proc){.ppid = p->parent != NULL ? p->parent->pid : 1,
                            .pgid = p->pid,
                            .session = p->pid,
                            .state = p->state == PROC_ZOMBIE ? 'Z'
                                     : p->stopped            ? 'T'
                                                             : 'S',
                            .start = p->start,
                            .wait_status = p->state == PROC_ALIVE ? 0 : p->wait_status};
    return 0;
}

static int op_kill_by_env(const char *entry)
{
    int n = 0;
    (void)entry; /* all workers are of this one host */
    struct proc *p;
    for (unsigned i = 0; (p = proc_at(i)) != NULL; i++)
        if (p->kind == PROC_WORKER && p->state == PROC_ALIVE && !p->reaped) {
            proc_signal(p, SIGKILL, "the sweep by environment");
            n++;
        }
    return n;
}

/* ---- the rest ---- */

static int op_cpu(void)
{
    return 0;
}

static int op_cpus_allowed(void)
{
    return 2;
}

static pid_t op_getpid(void)
{
    return HOST_PID;
}

static int op_access(const char *path, int mode)
{
    (void)path;
    (void)mode;
    return 0;
}

static int op_real_path(const char *path, char ret[])
{
    size_t n = strlen(path) + 1;
    if (n > PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(ret, path, n);
    return 0;
}

static int op_thread_start(pthread_t *ret, void *(*fn)(void *), void *arg)
{
    bool is_loop = !sim.driven && sim.host == NULL; /* the first */
    if (!is_loop && refused())
        return -EAGAIN;
    struct fiber *f = fiber_start(fn, arg, is_loop ? "the loop" : "a tool thread");
    *ret = (pthread_t)fiber_number(f);
    if (is_loop) {
        fiber_is_the_loop(f);
        sim.host = arg;
    }
    return 0;
}

static const volatile unsigned char *op_fork_canary(void)
{
    static const volatile unsigned char page = 1;
    return &page;
}

static void op_fork_canary_free(const volatile unsigned char *page)
{
    (void)page;
}

static int op_cgroup_above(char ret[])
{
    (void)ret;
    return -ENOENT; /* this machine has none */
}

static int op_oom_counter(void)
{
    return -ENOENT;
}

static int64_t op_oom_kills(int counter)
{
    (void)counter;
    return 0; /* it has all the memory in the world */
}

static int op_usage(pid_t pid, unsigned what, struct os_usage *ret)
{
    (void)pid;
    (void)what;
    *ret = (struct os_usage){0};
    return 0;
}

const struct os_ops sim_os = {
    .now_ns = op_now,
    .coarse_ns = op_now,
    .wall_ns = op_wall,
    .random = op_random,
    .segment_create = op_segment_create,
    .segment_unmap = op_segment_unmap,
    .segment_has = op_segment_has,
    .has_ticks = op_has_ticks,
    .memfd_sealed = op_memfd_sealed,
    .socketpair = op_socketpair,
    .refuse_fds = op_refuse_fds,
    .pipe = op_pipe,
    .send = op_send,
    .recv = op_recv,
    .send_fds = op_send_fds,
    .recv_fds = op_recv_fds,
    .read = op_recv,
    .write = op_send,
    .shutdown = op_shutdown,
    .dup = op_dup,
    .close = fd_close,
    .poll_one = op_poll_one,
    .futex_wait = fiber_futex_wait,
    .futex_wake = fiber_futex_wake,
    .spawn = op_spawn,
    .pidfd_open = op_pidfd_open,
    .pidfd_kill = op_pidfd_kill,
    .group_kill = op_group_kill,
    .reap = op_reap,
    .reap_group = op_reap_group,
    .proc_info = op_proc_info,
    .kill_by_env = op_kill_by_env,
    .epoll_create = op_epoll_create,
    .epoll_ctl = op_epoll_ctl,
    .epoll_wait = op_epoll_wait,
    .eventfd = op_eventfd,
    .cpu = op_cpu,
    .cpus_allowed = op_cpus_allowed,
    .getpid = op_getpid,
    .access = op_access,
    .real_path = op_real_path,
    .thread_start = op_thread_start,
    .fork_canary = op_fork_canary,
    .fork_canary_free = op_fork_canary_free,
    .cgroup_above = op_cgroup_above,
    .oom_counter = op_oom_counter,
    .oom_kills = op_oom_kills,
    .usage = op_usage,
};
