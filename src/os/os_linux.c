/* The seam over the Linux kernel: the table, time, randomness, futexes. The other topics have files of their own (linux.h).
 *
 * Invariants
 *  1. No state: every function depends on its arguments and the kernel alone, so all are thread-safe and survive a fork.
 *  2. Every descriptor is close-on-exec from birth, in one system call: no window for somebody else's fork and exec.
 *  3. Nothing raises SIGPIPE. EINTR is never seen by a caller.
 *
 * Failure: a negative errno, nothing half made. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/linux.h"

struct timespec linux_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t linux_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t linux_coarse_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC_COARSE);
}

static uint64_t linux_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

static int linux_random(void *buf, size_t n)
{
    uint8_t *p = buf;
    while (n > 0) {
        long long got = LINUX_RETRY(getrandom(p, n < 256 ? n : 256, 0));
        if (got < 0)
            return (int)got;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

/* Shared, not private: the word lies in memory that a child maps too. The time limit is absolute, so a spurious return costs
 * the caller nothing but a look at the word. */
static int linux_futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec limit = linux_timespec(deadline_ns);
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline_ns == UINT64_MAX ? NULL : &limit, NULL,
                      FUTEX_BITSET_MATCH_ANY);
    if (rc == 0 || errno == EINTR)
        return 0;
    return -errno;
}

static int linux_futex_wake(const uint32_t *word, int n)
{
    long rc = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
    return rc < 0 ? -errno : (int)rc;
}

const struct os_ops os_linux = {
    .now_ns = linux_now_ns,
    .coarse_ns = linux_coarse_ns,
    .wall_ns = linux_wall_ns,
    .random = linux_random,
    .segment_create = linux_segment_create,
    .segment_unmap = linux_segment_unmap,
    .segment_has = linux_segment_has,
    .segment_of = linux_segment_of,
    .segment_join = linux_segment_join,
    .read_at = linux_read_at,
    .has_ticks = linux_has_ticks,
    .memfd_sealed = linux_memfd_sealed,
    .socketpair = linux_socketpair,
    .refuse_fds = linux_refuse_fds,
    .pipe = linux_pipe,
    .send = linux_send,
    .recv = linux_recv,
    .send_fds = linux_send_fds,
    .recv_fds = linux_recv_fds,
    .read = linux_read,
    .write = linux_write,
    .shutdown = linux_shutdown,
    .dup = linux_dup,
    .close = linux_close,
    .poll_one = linux_poll_one,
    .futex_wait = linux_futex_wait,
    .futex_wake = linux_futex_wake,
    .spawn = linux_spawn,
    .pidfd_open = linux_pidfd_open,
    .pidfd_kill = linux_pidfd_kill,
    .group_kill = linux_group_kill,
    .reap = linux_reap,
    .reap_group = linux_reap_group,
    .proc_info = linux_proc_info,
    .kill_by_env = linux_kill_by_env,
    .epoll_create = linux_epoll_create,
    .epoll_ctl = linux_epoll_ctl,
    .epoll_wait = linux_epoll_wait,
    .eventfd = linux_eventfd,
    .cpu = sched_getcpu,
    .cpus_allowed = linux_cpus_allowed,
    .getpid = getpid,
    .access = linux_access,
    .real_path = linux_real_path,
    .thread_start = linux_thread_start,
    .fork_canary = linux_fork_canary,
    .fork_canary_free = linux_fork_canary_free,
    .dir_open = linux_dir_open,
    .dir_names = linux_dir_names,
    .file_create = linux_file_create,
    .file_open = linux_file_open,
    .file_rename = linux_file_rename,
    .file_unlink = linux_file_unlink,
    .boot_id = linux_boot_id,
    .proc_has_env = linux_proc_has_env,
    .cgroup_above = linux_cgroup_above,
    .cgroup_open = linux_cgroup_open,
    .cgroup_move = linux_cgroup_move,
    .cgroup_kill = linux_cgroup_kill,
    .cgroup_remove = linux_cgroup_remove,
    .cgroup_oom_kills = linux_cgroup_oom_kills,
    .oom_counter = linux_oom_counter,
    .oom_kills = linux_oom_kills,
    .usage = linux_usage,
    .threads = linux_threads,
    .group_memory = linux_group_memory,
};
