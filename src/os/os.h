/* The seam: everything that the library asks of the kernel goes through this table, so that a simulator can stand in for it and a
 * test can fail the k-th call. os_linux is the real one; each host carries a pointer to the table that it uses.
 *
 * Conventions: functions return 0 or a count, or a negative errno (-EAGAIN when a non-blocking call would block); every descriptor
 * is close-on-exec from birth; EINTR is handled inside. */
#ifndef PIT_OS_OS_H
#define PIT_OS_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OS_MAX_FDS 8 /* descriptors in one message */

/* What the kernel says of a process, a zombie too. pid and start together name a process for ever (within one boot). */
struct os_proc {
    pid_t ppid, pgid, session;
    char state;     /* R S D T Z X ... */
    uint64_t start; /* clock ticks since boot */
    /* Not 0: its end has begun and cannot be undone, and this is how waitpid will report it. Often known long before the pidfd is
     * readable: between the two the kernel takes its memory down. 0: alive, or ended with status 0, or not to be seen by this user. */
    int wait_status;
};

#define OS_BOOT_ID 40 /* the kernel's name for this boot, with its NUL */

struct os_file {
    uint64_t bytes;
    uint64_t changed_ns; /* CLOCK_REALTIME */
};

#define OS_TICK_NS UINT64_C(10000000) /* the slowest tick of any Linux, HZ=100 */

/* What a process uses. */
struct os_usage {
    uint64_t cpu_ns;       /* of all its threads */
    uint64_t memory, peak; /* resident bytes: now, and at most since the peak was reset or the process began */
    bool has_peak;         /* it was reset in this look */
    uint64_t files;        /* open descriptors */
};
enum { OS_USAGE_CPU = 1, OS_USAGE_MEMORY = 2, OS_USAGE_FILES = 4, OS_USAGE_RESET_PEAK = 8 };

/* What the kernel says of a thread. */
enum os_doing { OS_UNSEEN, OS_RUNS, OS_CALLS, OS_KERNEL /* in the kernel, but in no system call */ };
struct os_thread {
    pid_t tid;
    char state;     /* R S D T t Z X ... */
    char name[16];  /* of the kernel, any bytes; with its NUL */
    char waits[40]; /* the kernel's function that it sleeps in; "": it does not, or that may not be seen */
    enum os_doing doing;
    int call; /* with OS_CALLS: number of the system call */
};

enum os_wait { OS_READABLE, OS_WRITABLE, OS_EITHER };

struct os_ops {
    /* time and randomness */
    uint64_t (*now_ns)(void); /* CLOCK_MONOTONIC */
    uint64_t (*coarse_ns)(
        void); /* the same clock at its last tick: behind by OS_TICK_NS, more where the machine starves, for a quarter of the price */
    uint64_t (*wall_ns)(void); /* CLOCK_REALTIME */
    int (*random)(void *buf, size_t n);
    /* memory shared with a child: a memfd of n bytes, sealed SHRINK | GROW | SEAL, mapped. The first `ready` bytes (whole pages) are there and
     * pre-faulted; the rest comes into being where somebody touches it */
    int (*segment_create)(const char *name, size_t n, size_t ready, void **ret_map, int *ret_fd);
    void (*segment_unmap)(void *map, size_t n);
    /* Is this part of a segment there, so that reading it makes no memory, and cannot fail? */
    bool (*segment_has)(const void *at, size_t n);
    /* A descriptor to read the segment of that name from which this process, of this user, has open; *ret_n: its bytes. It is sealed: what is
     * read is not cut off meanwhile. -ENOENT: it has none, -EACCES, -ESRCH, ... */
    int (*segment_of)(pid_t pid, const char *name, uint64_t *ret_n);
    /* The same, mapped to read and write; segment_unmap lets it go. 0 or -errno */
    int (*segment_join)(pid_t pid, const char *name, void **ret_map, size_t *ret_n);
    /* n bytes at this place, or fewer at the end; a hole reads as zeros and stays one; or -errno */
    ssize_t (*read_at)(int fd, void *data, size_t n, uint64_t at);
    bool (*has_ticks)(void); /* cpu_ticks() counts alike on all CPUs and in all sleep states: the kernel tells the time by it */
    /* a read-only sealed memfd with this content (a spawn request) */
    int (*memfd_sealed)(const char *name, const void *data, size_t n);
    /* descriptors */
    int (*socketpair)(int ret_fds[2]); /* AF_UNIX stream, non-blocking at [0] only */
    int (*pipe)(int ret_fds[2]);       /* non-blocking at [0] only */
    /* what others send to this socket may hold no descriptors: they get EPERM. 0, also where the kernel does not know how (before Linux
     * 6.16); there a descriptor that nobody asked for is closed by the thread that reads past it, however long that takes */
    int (*refuse_fds)(int fd);
    ssize_t (*send)(int fd, const void *data, size_t n); /* MSG_NOSIGNAL | MSG_DONTWAIT; count or -errno */
    ssize_t (*recv)(int fd, void *data, size_t n);       /* MSG_DONTWAIT; 0 = end */
    int (*send_fds)(int fd, const void *data, size_t n, const int *fds, int n_fds);
    /* *ret_n_fds: room in, count out (fewer than were sent when this process has no descriptor left). 0 = end */
    ssize_t (*recv_fds)(int fd, void *data, size_t n, int *ret_fds, int *ret_n_fds);
    ssize_t (*read)(int fd, void *data, size_t n);
    ssize_t (*write)(int fd, const void *data, size_t n); /* not for sockets and pipes: raises SIGPIPE there */
    int (*shutdown)(int fd);                              /* both directions: wakes who polls it */
    int (*dup)(int fd);
    void (*close)(int fd);
    /* waits until fd is what is asked for, hung up, or the deadline (UINT64_MAX: none): 1, 0 at the deadline, -errno */
    int (*poll_one)(int fd, enum os_wait what, uint64_t deadline_ns);
    /* futex on a shared word: 0 woken (or spurious), -EAGAIN when *word != expected, -ETIMEDOUT */
    int (*futex_wait)(const uint32_t *word, uint32_t expected, uint64_t deadline_ns);
    int (*futex_wake)(const uint32_t *word, int n);
    /* the guard: vfork + exec of path with argv and envp in a session of its own, nothing blocked or ignored; fds[i] becomes
     * descriptor 3 + i (0, 1, 2 stay as they are, all others are closed by the exec) */
    int (*spawn)(const char *path, char *const argv[], char *const envp[], const int *fds, int n_fds, pid_t *ret_pid,
                 int *ret_pidfd);
    int (*pidfd_open)(pid_t pid);
    int (*pidfd_kill)(int pidfd, int sig);
    int (*group_kill)(pid_t pgid, int sig);
    /* waitid(P_PIDFD, WEXITED | WNOHANG); -EAGAIN: alive; -ECHILD: not ours */
    int (*reap)(int pidfd, int *ret_code, int *ret_status);
    /* reaps the caller's children in that group (orphans that came to it), waiting for those that are dying; count */
    int (*reap_group)(pid_t pgid, uint64_t deadline_ns);
    int (*proc_info)(pid_t pid, struct os_proc *ret); /* -ESRCH: no such process */
    /* SIGKILLs every process of this user but the caller, and but those that are kept (SNAKEPIT_DESCENDANTS=keep), whose
     * environment has exactly this entry ("NAME=value"), each held by a
     * pidfd before its environment is read; repeats until a scan finds none; reaps those that are the caller's children. Count
     * or -errno. */
    int (*kill_by_env)(const char *entry);
    /* epoll, for os/loop */
    int (*epoll_create)(void);
    int (*epoll_ctl)(int ep, int op, int fd, uint32_t events, void *data);
    /* events: struct epoll_event *; count; deadline 0: does not wait */
    int (*epoll_wait)(int ep, void *events, int max, uint64_t deadline_ns);
    int (*eventfd)(void);
    int (*cpu)(void);          /* of this thread */
    int (*cpus_allowed)(void); /* how many this thread may use, at least 1 */
    pid_t (*getpid)(void);
    int (*access)(const char *path, int mode);      /* of access(2) */
    int (*real_path)(const char *path, char ret[]); /* absolute, without links; ret: PATH_MAX bytes */
    /* a thread in which every signal is blocked, so that the program's handlers never run there */
    int (*thread_start)(pthread_t *ret, void *(*fn)(void *), void *arg);
    /* a page that holds 1, and 0 in a forked child; NULL: no memory */
    const volatile unsigned char *(*fork_canary)(void);
    void (*fork_canary_free)(const volatile unsigned char *page);
    /* files that outlive a host. A folder by its absolute path, made with mode 0700 where it is missing; a descriptor, or -EPERM: it is not
     * this user's alone */
    int (*dir_open)(const char *path);
    /* every name in it that begins with no dot, until fn says false */
    int (*dir_names)(int dir, bool (*fn)(void *user, const char *name), void *user);
    int (*file_create)(int dir, const char *name); /* new, to append to: a descriptor, or -EEXIST */
    /* to read: a descriptor, or -EPERM: no plain file of this user's alone, or linked to from elsewhere */
    int (*file_open)(int dir, const char *name, struct os_file *ret);
    int (*file_rename)(int dir, const char *from, const char *to); /* replaces */
    int (*file_unlink)(int dir, const char *name);
    int (*boot_id)(char ret[OS_BOOT_ID], uint64_t *ret_pid_namespace);
    /* Has this process of this user exactly this entry ("NAME=value") in its environment? */
    bool (*proc_has_env)(pid_t pid, const char *entry);
    /* control groups of version 2. The group in which a leaf beside this process's own may be made (ret: PATH_MAX bytes): 0, -ENOENT (no
     * such hierarchy, or this process is in no leaf), -EPERM (it was not given to this user) */
    int (*cgroup_above)(char ret[]);
    int (*cgroup_open)(const char *path, bool make); /* a descriptor of a group */
    int (*cgroup_move)(int group, pid_t pid);
    int (*cgroup_kill)(int group); /* SIGKILL to all that are in it but those that are kept, until nobody is found; count */
    int (*cgroup_remove)(const char *path);
    int64_t (*cgroup_oom_kills)(int group); /* how many of it the kernel has ended for want of memory; or -errno */
    /* a descriptor of the counters of the group that this process is in and of all below it (version 2), else of the whole machine; or -errno */
    int (*oom_counter)(void);
    int64_t (*oom_kills)(int counter); /* the same of those */
    /* Fills what is asked for (OS_USAGE_*), the rest is 0. 0, or -errno: -ESRCH without such a process */
    int (*usage)(pid_t pid, unsigned what, struct os_usage *ret);
    /* What the threads of a process do, at most `max`. *ret_all: there are no more. The count, or -errno: -ESRCH without such a process */
    int (*threads)(pid_t pid, struct os_thread *ret, int max, bool *ret_all);
    /* What a process group uses: pages that are shared count in parts where the kernel tells (PSS), else whole. Milliseconds for a group
     * with gigabytes: not for the loop's thread. 0, or -errno: -ESRCH without its leader */
    int (*group_memory)(pid_t pgid, uint64_t *ret_bytes);
};

extern const struct os_ops os_linux;

#endif
