/* The parts of os_linux, by topic. Private to src/os. Contracts: os.h. */
#ifndef PIT_OS_LINUX_H
#define PIT_OS_LINUX_H

#include "os/os.h"

/* Repeats an expression that sets errno while a signal interrupts it; yields its value or -errno. */
#define LINUX_RETRY(expression)                                                                                                \
    __extension__({                                                                                                            \
        long long retry_result_;                                                                                               \
        do                                                                                                                     \
            retry_result_ = (long long)(expression);                                                                           \
        while (retry_result_ < 0 && errno == EINTR);                                                                           \
        retry_result_ < 0 ? -(long long)errno : retry_result_;                                                                 \
    })

struct timespec;

uint64_t linux_now_ns(void);
struct timespec linux_timespec(uint64_t ns);

/* linux_path.c */
int linux_access(const char *path, int mode);
int linux_real_path(const char *path, char ret[]);

/* linux_thread.c */
int linux_cpus_allowed(void);
int linux_thread_start(pthread_t *ret, void *(*fn)(void *), void *arg);
const volatile unsigned char *linux_fork_canary(void);
void linux_fork_canary_free(const volatile unsigned char *page);

/* linux_memory.c */
int linux_segment_create(const char *name, size_t n, size_t ready, void **ret_map, int *ret_fd);
bool linux_segment_has(const void *at, size_t n);
int linux_segment_join(pid_t pid, const char *name, void **ret_map, size_t *ret_n);
int linux_segment_of(pid_t pid, const char *name, uint64_t *ret_n);
ssize_t linux_read_at(int fd, void *data, size_t n, uint64_t at);

/* linux_ticks.c */
bool linux_has_ticks(void);

void linux_segment_unmap(void *map, size_t n);
int linux_memfd_sealed(const char *name, const void *data, size_t n);

/* linux_fd.c */
int linux_socketpair(int ret_fds[2]);
int linux_pipe(int ret_fds[2]);
int linux_refuse_fds(int fd);
ssize_t linux_send(int fd, const void *data, size_t n);
ssize_t linux_recv(int fd, void *data, size_t n);
int linux_send_fds(int fd, const void *data, size_t n, const int *fds, int n_fds);
ssize_t linux_recv_fds(int fd, void *data, size_t n, int *ret_fds, int *ret_n_fds);
ssize_t linux_read(int fd, void *data, size_t n);
ssize_t linux_write(int fd, const void *data, size_t n);
int linux_shutdown(int fd);
int linux_dup(int fd);
void linux_close(int fd);
int linux_poll_one(int fd, enum os_wait what, uint64_t deadline_ns);
int linux_epoll_create(void);
int linux_epoll_ctl(int ep, int op, int fd, uint32_t events, void *data);
int linux_epoll_wait(int ep, void *events, int max, uint64_t deadline_ns);
int linux_eventfd(void);

/* linux_cgroup.c */
int linux_cgroup_above(char ret[]);
int linux_cgroup_open(const char *path, bool make);
int linux_cgroup_move(int group, pid_t pid);
int linux_cgroup_kill(int group);
int linux_cgroup_remove(const char *path);
int64_t linux_cgroup_oom_kills(int group);
int linux_oom_counter(void);
int64_t linux_oom_kills(int counter);

/* linux_file.c */
int linux_dir_open(const char *path);
int linux_dir_names(int dir, bool (*fn)(void *user, const char *name), void *user);
int linux_file_create(int dir, const char *name);
int linux_file_open(int dir, const char *name, struct os_file *ret);
int linux_file_rename(int dir, const char *from, const char *to);
int linux_file_unlink(int dir, const char *name);
int linux_boot_id(char ret[OS_BOOT_ID], uint64_t *ret_pid_namespace);

/* linux_process.c, linux_proc.c */
int linux_spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int n_fds, pid_t *ret_pid,
                int *ret_pidfd);
int linux_pidfd_open(pid_t pid);
int linux_pidfd_kill(int pidfd, int sig);
int linux_group_kill(pid_t pgid, int sig);
int linux_reap(int pidfd, int *ret_code, int *ret_status);
int linux_reap_group(pid_t pgid, uint64_t deadline_ns);
int linux_proc_info(pid_t pid, struct os_proc *ret);
bool linux_proc_has_env(pid_t pid, const char *entry);
int linux_kill_by_env(const char *entry);

/* linux_threads.c */
int linux_threads(pid_t pid, struct os_thread *ret, int max, bool *ret_all);

/* linux_usage.c */
int linux_group_memory(pid_t pgid, uint64_t *ret_bytes);
int linux_usage(pid_t pid, unsigned what, struct os_usage *ret);

#endif
