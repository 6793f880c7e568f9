/* Control groups of version 2: the leaf for what a host starts; and whom the kernel has ended for want of memory. Contracts: os.h.
 *
 * A leaf is made beside the group that this process is in, so that group must be a leaf itself, and the one above it must have been given to
 * us: it belongs to this user; or, for root, whom nothing is denied, it or a group above it carries the mark of a delegation (`user.delegate`,
 * as systemd sets it: what is made below such a group is its owner's, too), or it lies in a control group namespace of its own. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "os/linux.h"

#define FIRST_NAMESPACE UINT64_C(0xEFFFFFFB) /* the kernel's own number for the one that it starts with */
enum { TEXT = 16384 };

/* The beginning of a small file, NUL-terminated: its length or -errno. */
static ssize_t read_text(int dir, const char *name, char *ret, size_t room)
{
    int fd = (int)LINUX_RETRY(openat(dir, name, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return fd;
    size_t have = 0;
    ssize_t n;
    while (have + 1 < room && (n = linux_read(fd, ret + have, room - 1 - have)) > 0)
        have += (size_t)n;
    ret[have] = '\0';
    linux_close(fd);
    return (ssize_t)have;
}

static int write_text(int dir, const char *name, const char *text)
{
    int fd = (int)LINUX_RETRY(openat(dir, name, O_WRONLY | O_CLOEXEC));
    if (fd < 0)
        return fd;
    ssize_t n = linux_write(fd, text, strlen(text));
    linux_close(fd);
    return n < 0 ? (int)n : 0;
}

/* The line of the hierarchy of version 2, without its "0::"; it ends with its line. */
static char *own_path(char *text)
{
    if (read_text(AT_FDCWD, "/proc/self/cgroup", text, TEXT) < 0)
        return NULL;
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        if (strncmp(line, "0::/", 4) == 0)
            return line + 3;
        line = end != NULL ? end + 1 : NULL;
    }
    return NULL;
}

/* Where the hierarchy of version 2 is mounted: as a whole, or with `from` as that group alone. */
static bool mount_point(const char *from, char ret[PATH_MAX], bool *ret_whole)
{
    char line[4096], root[512], path[512]; /* a longer line is none of those that are looked for */
    FILE *f = fopen("/proc/self/mountinfo", "re");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        if (strstr(line, " - cgroup2 ") == NULL || sscanf(line, "%*s %*s %*s %511s %511s", root, path) != 2 ||
            strchr(path, '\\') != NULL)
            continue;
        *ret_whole = strcmp(root, "/") == 0;
        found = *ret_whole || (from != NULL && strcmp(root, from) == 0);
    }
    if (f != NULL)
        fclose(f);
    if (found)
        snprintf(ret, PATH_MAX, "%s", path);
    return found;
}

/* The group, or one above it. mount: the length of the path of the whole hierarchy. */
static bool is_marked(const char *group, size_t mount)
{
    char path[PATH_MAX], mark[2];
    snprintf(path, sizeof path, "%s", group);
    for (size_t n = strlen(path); n > mount; n = (size_t)(strrchr(path, '/') - path)) {
        path[n] = '\0';
        if (getxattr(path, "user.delegate", mark, sizeof mark) == 1 && mark[0] == '1')
            return true;
    }
    return false;
}

static bool is_delegated(const char *path, size_t mount)
{
    struct stat st, namespace;
    if (stat(path, &st) != 0)
        return false;
    if (geteuid() != 0)
        return st.st_uid == geteuid();
    if (is_marked(path, mount))
        return true;
    return stat("/proc/self/ns/cgroup", &namespace) == 0 && (uint64_t) namespace.st_ino != FIRST_NAMESPACE;
}

int linux_cgroup_above(char ret[])
{
    char text[TEXT], mount[PATH_MAX];
    char *own = own_path(text);
    bool whole;
    if (own == NULL || !mount_point(NULL, mount, &whole))
        return -ENOENT;
    char *last = strrchr(own, '/');
    if (last[1] == '\0')
        return -ENOENT; /* it is in no leaf */
    *last = '\0';
    if (snprintf(ret, PATH_MAX, "%s%s", mount, own) >= PATH_MAX - 64 || strpbrk(ret, " \n\\") != NULL)
        return -ENAMETOOLONG;
    return is_delegated(ret, strlen(mount)) ? 0 : -EPERM;
}

static int open_group(const char *path)
{
    struct statfs fs;
    int fd = (int)LINUX_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd >= 0 && (fstatfs(fd, &fs) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC)) {
        linux_close(fd);
        return -EPERM;
    }
    return fd;
}

int linux_cgroup_open(const char *path, bool make)
{
    char above[PATH_MAX];
    if (!make)
        return open_group(path);
    snprintf(above, sizeof above, "%s", path);
    char *slash = strrchr(above, '/');
    int fd = -EINVAL;
    if (slash != NULL && slash > above) {
        *slash = '\0';
        fd = open_group(above);
    }
    if (fd < 0)
        return fd;
    write_text(fd, "cgroup.subtree_control",
               "+memory"); /* for the count of those that the kernel ended; else it does without */
    int error = mkdirat(fd, slash + 1, S_IRWXU) == 0 ? 0 : -errno;
    linux_close(fd);
    return error != 0 ? error : open_group(path);
}

int linux_cgroup_move(int group, pid_t pid)
{
    char text[16];
    snprintf(text, sizeof text, "%d", (int)pid);
    return write_text(group, "cgroup.procs", text);
}

/* One process, if it is still in the group, held by a pidfd; *ret_kept: it is to stay. */
static bool kill_member(pid_t pid, bool *ret_kept)
{
    int pidfd = linux_pidfd_open(pid);
    if (pidfd < 0)
        return false;
    *ret_kept = linux_proc_has_env(pid, "SNAKEPIT_DESCENDANTS=keep");
    bool killed = !*ret_kept && linux_pidfd_kill(pidfd, SIGKILL) == 0;
    if (killed)
        linux_poll_one(pidfd, OS_READABLE, linux_now_ns() + 200000000u);
    linux_close(pidfd);
    return killed;
}

/* Members of a group that nobody adds to but they themselves: a pass that finds nobody to end is the last one. Where somebody is to stay they
 * are ended one by one; else the kernel does all at once, and no fork escapes. */
int linux_cgroup_kill(int group)
{
    enum { PASSES = 32 };
    char text[TEXT];
    int total = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        ssize_t n = read_text(group, "cgroup.procs", text, sizeof text);
        bool any_kept = false;
        int found = 0;
        for (char *at = text; n > 0 && *at != '\0'; at++) {
            pid_t pid = (pid_t)strtol(at, &at, 10);
            bool kept = false;
            found += pid > 1 && kill_member(pid, &kept);
            any_kept = any_kept || kept;
            if (*at == '\0')
                break;
        }
        if (n < 0)
            return total > 0 ? total : (int)n;
        total += found;
        if (n > 0 && !any_kept)
            write_text(group, "cgroup.kill", "1");
        if (found == 0)
            break;
    }
    return total;
}

int linux_cgroup_remove(const char *path)
{
    return rmdir(path) != 0 ? -errno : 0;
}

/* The counter of those that the kernel has ended, among counters that have a line each. */
static int64_t find_oom_kills(const char *text)
{
    static const char key[] = "\noom_kill ";
    const char *at = strstr(text, key);
    return at != NULL ? strtoll(at + sizeof key - 1, NULL, 10) : -ENOENT;
}

int64_t linux_cgroup_oom_kills(int group)
{
    char text[TEXT] = "\n";
    ssize_t n = read_text(group, "memory.events", text + 1, sizeof text - 1);
    return n < 0 ? n : find_oom_kills(text);
}

int64_t linux_oom_kills(int counter)
{
    char text[TEXT] = "\n";
    ssize_t n = LINUX_RETRY(pread(counter, text + 1, sizeof text - 2, 0));
    if (n < 0)
        return n;
    text[1 + n] = '\0';
    return find_oom_kills(text);
}

/* The counters of the group that this process is in. In version 2 they have what happened below it too; those of version 1 do not, so a worker that was
 * moved into a group below would die uncounted: there the machine's are the only ones that miss nobody. */
static int open_own_counter(void)
{
    char text[TEXT], mount[PATH_MAX], path[2 * PATH_MAX];
    bool whole;
    const char *own = own_path(text);
    if (own == NULL || !mount_point(own, mount, &whole))
        return -ENOENT;
    snprintf(path, sizeof path, "%s%s/memory.events", mount, whole ? own : "");
    return (int)LINUX_RETRY(open(path, O_RDONLY | O_CLOEXEC));
}

int linux_oom_counter(void)
{
    int fd = open_own_counter();
    return fd >= 0 ? fd : (int)LINUX_RETRY(open("/proc/vmstat", O_RDONLY | O_CLOEXEC));
}
