/* What the machine and the kernel give: each is tried, not guessed from a version. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { FEW_FILES = 256, FEW_PROCESSES = 256 };

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

static void kernel(struct doctor *d)
{
    struct utsname name;

    if (uname(&name) != 0)
        (void)snprintf(name.release, sizeof name.release, "?");
    if (!has_pidfd())
        doctor_row(d, STATUS_FAIL, "kernel", "Linux 5.4 or later, and a container profile that allows pidfd_open",
                   "Linux %s has no pidfd_open: %s", name.release, strerror(errno));
    else if (!has_sealing())
        doctor_row(d, STATUS_FAIL, "kernel", "a container profile that allows memfd_create",
                   "Linux %s cannot make a sealed memfd: %s", name.release, strerror(errno));
    else if (!has_close_range())
        doctor_row(d, STATUS_OK, "kernel", NULL, "Linux %s: pidfd, sealed memfd; close_range is missing, /proc/self/fd does",
                   name.release);
    else
        doctor_row(d, STATUS_OK, "kernel", NULL, "Linux %s: pidfd, sealed memfd, close_range", name.release);
}

static void cpus(struct doctor *d)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);

    if (n <= 1)
        doctor_row(d, STATUS_WARN, "cpus", "give the program a second CPU where microseconds count",
                   "1 usable: a call sleeps for its answer (some 10 us) and never spins");
    else
        doctor_row(d, STATUS_OK, "cpus", NULL, "%d usable", n);
}

static const char *limit_text(rlim_t limit, char buffer[24])
{
    if (limit == RLIM_INFINITY)
        return "unlimited";
    (void)snprintf(buffer, 24, "%llu", (unsigned long long)limit);
    return buffer;
}

static void limits(struct doctor *d)
{
    struct rlimit files = {0, 0}, processes = {0, 0};
    char a[24], b[24], c[24];

    (void)getrlimit(RLIMIT_NOFILE, &files);
    (void)getrlimit(RLIMIT_NPROC, &processes);
    const char *now = limit_text(files.rlim_cur, a), *before = limit_text(d->cli->nofile_before, b);
    if (files.rlim_cur < FEW_FILES)
        doctor_row(d, STATUS_WARN, "files", "ulimit -n 4096, or LimitNOFILE= of the service",
                   "limit of open files: %s, few for many workers", now);
    else if (files.rlim_cur != d->cli->nofile_before)
        doctor_row(d, STATUS_OK, "files", NULL, "limit of open files: %s (this program raised its own from %s)", now, before);
    else
        doctor_row(d, STATUS_OK, "files", NULL, "limit of open files: %s", now);
    const char *most = limit_text(processes.rlim_cur, c);
    if (processes.rlim_cur < FEW_PROCESSES)
        doctor_row(d, STATUS_WARN, "processes", "ulimit -u 4096, or TasksMax= and LimitNPROC= of the service",
                   "limit of processes and threads: %s, few for many workers", most);
    else
        doctor_row(d, STATUS_OK, "processes", NULL, "limit of processes and threads: %s", most);
}

void doctor_host(struct doctor *d)
{
    kernel(d);
    cpus(d);
    limits(d);
}
