/* What the kernel says of the threads of a process. Contracts: os.h.
 *
 * State and name may be seen by everybody; where a thread sleeps, and in which system call, by who might debug it.
 *
 * Failure: what may not be seen, or is gone, is left out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dirents.h"
#include "os/linux.h"

/* A file of a thread as text; false: it cannot be read, or holds nothing. */
static bool read_text(int task, pid_t tid, const char *what, char *text, size_t room)
{
    char path[64];
    snprintf(path, sizeof path, "%d/%s", (int)tid, what);
    int fd = (int)LINUX_RETRY(openat(task, path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return false;
    ssize_t n = linux_read(fd, text, room - 1);
    linux_close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* "123 (name) S ..."; a name may hold anything but a NUL. */
static bool read_state(int task, struct os_thread *t)
{
    char text[512];
    if (!read_text(task, t->tid, "stat", text, sizeof text))
        return false;
    const char *from = strchr(text, '('), *to = strrchr(text, ')');
    if (from == NULL || to == NULL || to < from || to[1] != ' ' || to[2] == '\0')
        return false;
    size_t n = (size_t)(to - from) - 1;
    n = n < sizeof t->name - 1 ? n : sizeof t->name - 1;
    memcpy(t->name, from + 1, n);
    t->name[n] = '\0';
    t->state = to[2];
    return true;
}

/* "running", "-1 SP PC" or "202 ARGUMENTS SP PC" */
static void read_call(int task, struct os_thread *t)
{
    char text[256];
    if (!read_text(task, t->tid, "syscall", text, sizeof text))
        return;
    if (text[0] == 'r') {
        t->doing = OS_RUNS;
        return;
    }
    t->call = (int)strtol(text, NULL, 10);
    t->doing = t->call >= 0 ? OS_CALLS : OS_KERNEL;
}

static bool look_at(int task, pid_t tid, struct os_thread *ret)
{
    *ret = (struct os_thread){.tid = tid};
    if (!read_state(task, ret))
        return false;
    if (!read_text(task, tid, "wchan", ret->waits, sizeof ret->waits) || strcmp(ret->waits, "0") == 0)
        ret->waits[0] = '\0';
    read_call(task, ret);
    return true;
}

int linux_threads(pid_t pid, struct os_thread *ret, int max, bool *ret_all)
{
    DIRENTS_BLOCK(block, 4096);
    char path[32];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    int task = (int)LINUX_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (task < 0)
        return task == -ENOENT ? -ESRCH : task;
    long n;
    *ret_all = true;
    while (*ret_all && (n = syscall(SYS_getdents64, task, block, sizeof block)) > 0)
        for (long at = 0, tid; (tid = dirents_next(block, n, &at)) >= 0;) {
            *ret_all = count < max;
            if (count == max)
                break;
            count += look_at(task, (pid_t)tid, &ret[count]);
        }
    linux_close(task);
    return count > 0 ? count : -ESRCH;
}
