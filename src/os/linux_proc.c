/* What /proc tells about processes, and the sweep that kills by environment. Contracts: os.h.
 *
 * Invariants
 *  1. A process is killed through a pidfd that was opened before its environment was read: if the number was re-used in between,
 *     the environment read is the new one's and does not match; if it is re-used later, the pidfd is the old one's.
 *  2. Only processes of the caller's own user are looked at.
 *
 * Failure: a process that vanishes, or whose environment may not be read, is passed over. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dirents.h"
#include "base/envscan.h"
#include "os/linux.h"

enum { ENTRY_NAME = 64 };

static int open_proc(pid_t pid, const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    int fd = (int)LINUX_RETRY(open(path, O_RDONLY | O_CLOEXEC));
    return fd;
}

enum stat_field { STATE = 3, PPID, PGID, SESSION, FLAGS = 9, THREADS = 20, START = 22, EXIT_CODE = 52, STAT_FIELDS };

/* The fields from STATE on, as proc(5) counts them. false: not all of them are there. */
static bool read_fields(const char *text, long long fields[STAT_FIELDS])
{
    /* the name in brackets may itself hold brackets and blanks: the fields begin after the last one */
    const char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == '\0')
        return false;
    fields[STATE] = at[2];
    at += 3;
    for (int i = PPID; i < STAT_FIELDS; i++) {
        char *end;
        fields[i] = strtoll(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

/* While a thread is stopped by a debugger or by a signal, the exit code shows that signal: what counts is the flag of one that is
 * ending. A signal that ends one thread ends all; an exit status may be that of the first thread alone, while the others go on. */
static int final_status(const long long *fields)
{
    enum { EXITING = 0x4 /* PF_EXITING of the kernel */, SIGNAL = 0x7f };
    bool ending = fields[STATE] == 'Z' || fields[STATE] == 'X' || (fields[FLAGS] & EXITING) != 0;
    bool whole = (fields[EXIT_CODE] & SIGNAL) != 0 || fields[THREADS] <= 1;
    return ending && whole ? (int)fields[EXIT_CODE] : 0;
}

int linux_proc_info(pid_t pid, struct os_proc *ret)
{
    int fd = open_proc(pid, "stat");
    if (fd < 0)
        return fd == -ENOENT ? -ESRCH : fd;
    char text[1024];
    ssize_t n = linux_read(fd, text, sizeof text - 1);
    linux_close(fd);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    long long fields[STAT_FIELDS];
    if (!read_fields(text, fields))
        return -EIO;
    *ret = (struct os_proc){.ppid = (pid_t)fields[PPID],
                            .pgid = (pid_t)fields[PGID],
                            .session = (pid_t)fields[SESSION],
                            .state = (char)fields[STATE],
                            .start = (uint64_t)fields[START],
                            .wait_status = final_status(fields)};
    return 0;
}

/* own user only: what belongs to somebody else is none of ours, whatever its environment says */
static bool has_entry(pid_t pid, struct envscan_entry *wanted, const char *value)
{
    int fd = open_proc(pid, "environ");
    if (fd < 0)
        return false;
    struct stat st;
    struct envscan scan;
    envscan_init(&scan, wanted, 1);
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid()) {
        char piece[4096];
        ssize_t n;
        while (!wanted->found && (n = linux_read(fd, piece, sizeof piece)) > 0)
            envscan_feed(&scan, piece, (size_t)n);
    }
    linux_close(fd);
    return wanted->found && strcmp(wanted->value, value) == 0;
}

/* Its worker has started it on purpose, to outlive worker and host. */
static bool is_kept(pid_t pid)
{
    struct envscan_entry mark = {.name = "SNAKEPIT_DESCENDANTS"};
    return has_entry(pid, &mark, "keep");
}

/* Kills pid if it carries the entry. It is waited for a moment, so that it can be reaped where it is our child (the host is PID 1
 * of a container, or a subreaper) and does not look alive to the next scan. *ret_ended: it has ended in that moment. */
static bool kill_if(pid_t pid, struct envscan_entry *wanted, const char *value, bool *ret_ended)
{
    *ret_ended = false;
    int pidfd = linux_pidfd_open(pid);
    if (pidfd < 0)
        return false;
    bool ours = has_entry(pid, wanted, value) && !is_kept(pid) && linux_pidfd_kill(pidfd, SIGKILL) == 0;
    if (ours && linux_poll_one(pidfd, OS_READABLE, linux_now_ns() + 200000000u) == 1) {
        int code, status;
        *ret_ended = true;
        linux_reap(pidfd, &code, &status);
    }
    linux_close(pidfd);
    return ours;
}

/* One pass over all processes: how many were killed, and how many of them have ended already. */
static int scan_once(int proc, struct envscan_entry *wanted, const char *value, int *ret_ended)
{
    int count = 0;
    *ret_ended = 0;
    pid_t self = getpid();
    DIRENTS_BLOCK(block, 8192);
    for (;;) {
        long n = syscall(SYS_getdents64, proc, block, sizeof block);
        if (n < 0)
            return -errno;
        if (n == 0)
            return count;
        for (long at = 0, pid; (pid = dirents_next(block, n, &at)) >= 0;)
            if (pid > 1 && pid != self) {
                bool ended;
                count += kill_if((pid_t)pid, wanted, value, &ended);
                *ret_ended += ended;
            }
    }
}

/* The number that was given to a process last, or -1. */
static long last_pid(void)
{
    char text[128];
    int fd = (int)LINUX_RETRY(open("/proc/loadavg", O_RDONLY | O_CLOEXEC));
    ssize_t n = fd < 0 ? 0 : linux_read(fd, text, sizeof text - 1);
    linux_close(fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    const char *last = strrchr(text, ' ');
    return last != NULL ? strtol(last, NULL, 10) : -1;
}

/* A process that forks and ends while a pass runs may hide its child from it. So a pass that found nobody is believed if no process
 * began meanwhile, or if it was the third in a row. One that cannot be killed (uninterruptible sleep) would be found for ever: the
 * passes are bounded. One that takes its time to die is found again, and counted once. */
static int sweep(int proc, struct envscan_entry *wanted, const char *value)
{
    enum { PASSES = 32, EMPTY = 3 };
    int total = 0, dying = 0;
    for (int pass = 0, empty = 0; pass < PASSES && empty < EMPTY; pass++) {
        long before = last_pid();
        int ended = 0, found = lseek(proc, 0, SEEK_SET) < 0 ? -errno : scan_once(proc, wanted, value, &ended);
        if (found < 0)
            return total + dying > 0 ? total + dying : found;
        total += ended;
        dying = found > ended ? found - ended : found == 0 ? dying : 0;
        empty = found == 0 ? empty + 1 : 0;
        if (found == 0 && before >= 0 && before == last_pid())
            break;
    }
    return total + dying;
}

/* The value of "NAME=value", and its name apart; NULL: it is none. */
static const char *split(const char *entry, char name[ENTRY_NAME])
{
    const char *eq = strchr(entry, '=');
    if (eq == NULL || eq - entry >= ENTRY_NAME)
        return NULL;
    memcpy(name, entry, (size_t)(eq - entry));
    name[eq - entry] = '\0';
    return eq + 1;
}

bool linux_proc_has_env(pid_t pid, const char *entry)
{
    char name[ENTRY_NAME];
    const char *value = split(entry, name);
    struct envscan_entry wanted = {.name = name};
    return value != NULL && has_entry(pid, &wanted, value);
}

int linux_kill_by_env(const char *entry)
{
    char name[ENTRY_NAME];
    const char *value = split(entry, name);
    if (value == NULL)
        return -EINVAL;
    struct envscan_entry wanted = {.name = name};
    int proc = (int)LINUX_RETRY(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (proc < 0)
        return proc;
    int total = sweep(proc, &wanted, value);
    linux_close(proc);
    return total;
}
