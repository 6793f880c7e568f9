/* What the machine and the kernel give: each is tried, not guessed from a version. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { FEW_FILES = 256, FEW_PROCESSES = 256, LITTLE_MEMORY_MB = 128 };

static const double MB = 1024.0 * 1024.0;

static bool has_pidfd(void)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static bool has_sealing(void)
{
    int fd = memfd_create("snakepit-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool ok = fd >= 0 && ftruncate(fd, 4096) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;

    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static bool has_close_range(void)
{
    /* A range without a descriptor in it: closes nothing, and fails only where the call is not there or refused. */
    return syscall(SYS_close_range, ~0U, ~0U, 0) == 0;
}

/* Workers and host wake each other through memory that they share. */
static bool has_shared_futex(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool ok = page != MAP_FAILED && syscall(SYS_futex, page, FUTEX_WAKE, 1, NULL, NULL, 0) == 0;

    if (page != MAP_FAILED)
        (void)munmap(page, 4096);
    return ok;
}

/* Without arguments it fails in any case: with EINVAL where it is there. */
static bool has_clone3(void)
{
    return syscall(SYS_clone3, NULL, 0) != 0 && errno == EINVAL;
}

static void kernel(struct doctor *d)
{
    static const char *const profile[] = {
        "Linux 5.4 or later, and a container profile that allows pidfd_open",
        "a container profile that allows memfd_create",
        "a container profile that allows futex",
    };
    struct utsname name;

    if (uname(&name) != 0)
        (void)snprintf(name.release, sizeof name.release, "?");
    if (!has_pidfd())
        doctor_row(d, STATUS_FAIL, "kernel", profile[0], "Linux %s has no pidfd_open: %s", name.release, strerror(errno));
    else if (!has_sealing())
        doctor_row(d, STATUS_FAIL, "kernel", profile[1], "Linux %s cannot make a sealed memfd: %s", name.release,
                   strerror(errno));
    else if (!has_shared_futex())
        doctor_row(d, STATUS_FAIL, "kernel", profile[2], "Linux %s has no futex in shared memory: %s", name.release,
                   strerror(errno));
    else
        doctor_row(d, STATUS_OK, "kernel", NULL, "Linux %s: pidfd, sealed memfd, shared futex, %s, %s", name.release,
                   has_close_range() ? "close_range" : "no close_range (/proc/self/fd does)",
                   has_clone3() ? "clone3" : "no clone3 (clone does)");
}

/* A number after a name in /proc/self/status or /proc/meminfo; -1: not there. */
static long proc_number(const char *file, const char *name)
{
    char line[256];
    long found = -1;
    FILE *f = fopen(file, "re");

    while (f != NULL && found < 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            found = strtol(line + strlen(name) + 1, NULL, 10);
    if (f != NULL)
        (void)fclose(f);
    return found;
}

static void privileges(struct doctor *d)
{
    bool filtered = proc_number("/proc/self/status", "Seccomp") > 0;
    bool fixed = proc_number("/proc/self/status", "NoNewPrivs") == 1;
    const char *more = filtered && fixed ? ", with a filter of system calls, no new privileges"
                       : filtered        ? ", with a filter of system calls"
                       : fixed           ? ", no new privileges"
                                         : "";

    if (access("/proc/self/stat", R_OK) != 0)
        doctor_row(d, STATUS_FAIL, "privileges", "mount /proc", "/proc cannot be read: %s", strerror(errno));
    else if (geteuid() == 0)
        doctor_row(d, STATUS_OK, "privileges", NULL, "root%s: the workers run as root, too", more);
    else
        doctor_row(d, STATUS_OK, "privileges", NULL, "user %ld%s: none are needed", (long)geteuid(), more);
}

static void cpus(struct doctor *d, const struct cgroup *group)
{
    static const char remedy[] = "give the program a second CPU where microseconds count";
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);

    if (n <= 1)
        doctor_row(d, STATUS_WARN, "cpus", remedy, "1 usable: a call sleeps for its answer (some 10 us) and never spins");
    else if (group->cpus >= 0 && group->cpus < 2)
        doctor_row(
            d, STATUS_WARN, "cpus", remedy,
            "%d usable, but the control group gives the time of %.2f: a program that has used up its share is stopped for "
            "some 10 ms",
            n, group->cpus);
    else
        doctor_row(d, STATUS_OK, "cpus", NULL, "%d usable", n);
}

static void memory(struct doctor *d, const struct cgroup *group)
{
    long available_kb = proc_number("/proc/meminfo", "MemAvailable");
    double mb = available_kb >= 0 ? (double)available_kb / 1024.0 : -1;
    bool limited = group->memory >= 0 && (mb < 0 || group->memory / MB < mb);

    if (limited)
        mb = group->memory / MB;
    if (mb < 0)
        return; /* nobody says */
    if (mb < LITTLE_MEMORY_MB)
        doctor_row(d, STATUS_WARN, "memory", limited ? "raise memory.max (MemoryMax= of the service)" : "free some",
                   "%.0f MiB %s; a worker takes 10 MiB and what it imports", mb,
                   limited ? "are allowed by the control group" : "available");
    else
        doctor_row(d, STATUS_OK, "memory", NULL, "%.0f MiB %s", mb, limited ? "allowed by the control group" : "available");
}

static void shared_memory(struct doctor *d)
{
    static const char remedy[] = "mount a tmpfs there, or docker run --shm-size; for Snakepit itself it does not matter";
    struct statvfs fs;

    if (statvfs("/dev/shm", &fs) != 0 || access("/dev/shm", W_OK) != 0)
        doctor_row(d, STATUS_WARN, "shm", remedy,
                   "/dev/shm cannot be used: multiprocessing and torch will miss it in the workers");
    else
        doctor_row(d, STATUS_OK, "shm", NULL, "/dev/shm has %.0f MiB free (for libraries of the workers; Snakepit uses none)",
                   (double)fs.f_bavail * (double)fs.f_frsize / MB);
}

static const char *limit_text(rlim_t limit, char buffer[24])
{
    if (limit == RLIM_INFINITY)
        return "unlimited";
    (void)snprintf(buffer, 24, "%llu", (unsigned long long)limit);
    return buffer;
}

static void files(struct doctor *d)
{
    struct rlimit limit = {0, 0};
    char a[24], b[24];

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    const char *now = limit_text(limit.rlim_cur, a), *before = limit_text(d->cli->nofile_before, b);
    if (limit.rlim_cur < FEW_FILES)
        doctor_row(d, STATUS_WARN, "files", "ulimit -n 4096, or LimitNOFILE= of the service",
                   "limit of open files: %s, few for many workers", now);
    else if (limit.rlim_cur != d->cli->nofile_before)
        doctor_row(d, STATUS_OK, "files", NULL, "limit of open files: %s (this program raised its own from %s)", now, before);
    else
        doctor_row(d, STATUS_OK, "files", NULL, "limit of open files: %s", now);
}

static void processes(struct doctor *d, const struct cgroup *group)
{
    struct rlimit limit = {0, 0};
    char a[24];

    (void)getrlimit(RLIMIT_NPROC, &limit);
    bool limited = group->processes >= 0 && (limit.rlim_cur == RLIM_INFINITY || group->processes < (double)limit.rlim_cur);
    rlim_t most = limited ? (rlim_t)group->processes : limit.rlim_cur;
    const char *whose = limited ? " (of the control group)" : "";
    if (most < FEW_PROCESSES)
        doctor_row(d, STATUS_WARN, "processes", "ulimit -u 4096, or TasksMax= and LimitNPROC= of the service",
                   "limit of processes and threads: %s%s, few for many workers", limit_text(most, a), whose);
    else
        doctor_row(d, STATUS_OK, "processes", NULL, "limit of processes and threads: %s%s", limit_text(most, a), whose);
}

static void locked_memory(struct doctor *d)
{
    struct rlimit limit = {0, 0};
    char a[24];

    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY)
        limit.rlim_cur /= 1024;
    doctor_row(d, STATUS_OK, "memlock", NULL,
               "limit of locked memory: %s%s (for libraries of the workers; Snakepit locks none)",
               limit_text(limit.rlim_cur, a), limit.rlim_cur != RLIM_INFINITY ? " KiB" : "");
}

static void control_group(struct doctor *d, const struct cgroup *group, bool seen)
{
    if (!seen)
        doctor_row(d, STATUS_OK, "cgroup", NULL, "no control group of version 2 to be seen; no limits from there");
    else if (group->delegated)
        doctor_row(d, STATUS_OK, "cgroup", NULL, "%s; the workers get a group beside it", group->name);
    else
        doctor_row(
            d, STATUS_OK, "cgroup",
            "in a systemd service Delegate=yes and DelegateSubgroup=host (systemd 254) give the workers a group: nothing gets "
            "out of it, and a kill for want of memory is told from others",
            "%s; not delegated: no group is made for the workers", group->name);
}

void doctor_host(struct doctor *d)
{
    struct cgroup group;
    bool seen = cgroup_look(&group);

    kernel(d);
    privileges(d);
    cpus(d, &group);
    memory(d, &group);
    shared_memory(d);
    files(d);
    processes(d, &group);
    locked_memory(d);
    control_group(d, &group, seen);
}
