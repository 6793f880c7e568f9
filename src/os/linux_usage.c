/* What a process uses: CPU time, resident memory, descriptors. Contracts: os.h.
 *
 * Failure: what is not to be had (the process has gone, no descriptor left, another user's) is an error of the whole look. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/dirents.h"
#include "os/linux.h"

static int open_proc(pid_t pid, const char *what, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    return (int)LINUX_RETRY(open(path, flags | O_CLOEXEC));
}

static int cpu_time(pid_t pid, uint64_t *ret)
{
    clockid_t clock;
    struct timespec t;
    int rc = clock_getcpuclockid(pid, &clock);
    if (rc != 0)
        return -rc;
    if (clock_gettime(clock, &t) != 0)
        return -errno;
    *ret = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    return 0;
}

/* "VmHWM:     1234 kB" */
static uint64_t field_kb(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

static int memory(pid_t pid, struct os_usage *ret)
{
    char text[4096];
    int fd = open_proc(pid, "status", O_RDONLY);
    if (fd < 0)
        return fd;
    ssize_t n = linux_read(fd, text, sizeof text - 1);
    linux_close(fd);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    ret->memory = field_kb(text, "\nVmRSS:");
    ret->peak = field_kb(text, "\nVmHWM:");
    return 0;
}

/* The peak counts from now on. Where that may not be written it goes on counting from the process's start. */
static bool reset_peak(pid_t pid)
{
    int fd = open_proc(pid, "clear_refs", O_WRONLY);
    if (fd < 0)
        return false;
    ssize_t n = linux_write(fd, "5", 1);
    linux_close(fd);
    return n == 1;
}

static int files(pid_t pid, uint64_t *ret)
{
    DIRENTS_BLOCK(block, 4096);
    int fd = open_proc(pid, "fd", O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fd;
    long n;
    *ret = 0;
    while ((n = syscall(SYS_getdents64, fd, block, sizeof block)) > 0)
        for (long at = 0; dirents_next(block, n, &at) >= 0;)
            ++*ret;
    int error = n < 0 ? errno : 0;
    linux_close(fd);
    return -error;
}

int linux_usage(pid_t pid, unsigned what, struct os_usage *ret)
{
    int rc = 0;
    *ret = (struct os_usage){0};
    if ((what & OS_USAGE_RESET_PEAK) != 0)
        ret->has_peak = reset_peak(pid);
    if ((what & OS_USAGE_CPU) != 0)
        rc = cpu_time(pid, &ret->cpu_ns);
    if (rc == 0 && (what & OS_USAGE_MEMORY) != 0)
        rc = memory(pid, ret);
    if (rc == 0 && (what & OS_USAGE_FILES) != 0)
        rc = files(pid, &ret->files);
    return rc;
}

/* Pages that several share count in parts; where that may not be read, whole. Works on any process of this user. */
static int share_of_memory(pid_t pid, uint64_t *ret)
{
    char text[4096];
    struct os_usage usage = {0};
    int fd = open_proc(pid, "smaps_rollup", O_RDONLY);
    ssize_t n = fd >= 0 ? linux_read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        linux_close(fd);
    text[n > 0 ? n : 0] = '\0';
    *ret = n > 0 ? field_kb(text, "\nPss:") : 0;
    if (*ret != 0)
        return 0;
    int rc = memory(pid, &usage);
    *ret = usage.memory;
    return rc;
}

int linux_group_memory(pid_t pgid, uint64_t *ret_bytes)
{
    DIRENTS_BLOCK(block, 8192);
    int proc = (int)LINUX_RETRY(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), rc = -ESRCH;
    if (proc < 0)
        return proc;
    long n;
    *ret_bytes = 0;
    while ((n = syscall(SYS_getdents64, proc, block, sizeof block)) > 0)
        for (long at = 0, pid; (pid = dirents_next(block, n, &at)) >= 0;) {
            struct os_proc info;
            uint64_t bytes;
            if (pid <= 0 || linux_proc_info((pid_t)pid, &info) != 0 || info.pgid != pgid)
                continue;
            int one = share_of_memory((pid_t)pid, &bytes);
            *ret_bytes += one == 0 ? bytes : 0;
            if (pid == pgid || (one != 0 && one != -ENOENT && one != -ESRCH)) /* of the others some may be ending */
                rc = rc == 0 || rc == -ESRCH ? one : rc;
        }
    int error = n < 0 ? -errno : rc;
    linux_close(proc);
    return error;
}
