/* Files that outlive a host, in a folder that belongs to one user. Contracts: os.h.
 *
 * Invariants
 *  1. A folder is used through its descriptor alone, so what is done to its path later moves nothing.
 *  2. Nothing is believed that another user could have written: folder and files belong to this user, nobody else may write them, and no
 *     link, hard or symbolic, leads to a file.
 *
 * Failure: -EPERM for what exists and may not be trusted; else the errno of the call. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dirents.h"
#include "os/linux.h"

enum { OTHERS_WRITE = S_IWGRP | S_IWOTH };

static int make_folders(char *path)
{
    int first = 0;
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int error = mkdir(path, S_IRWXU) == 0 || errno == EEXIST ? 0 : -errno;
        *slash = '/';
        /* one that is there and cannot be made (EROFS, EACCES above it) is no obstacle, but what is wrong where a later one has nothing to be in */
        if (error == -ENOTDIR || error == -ENAMETOOLONG || error == -ENOSPC)
            return error;
        first = first != 0 ? first : error;
    }
    int last = mkdir(path, S_IRWXU) == 0 || errno == EEXIST ? 0 : -errno;
    return last == -ENOENT && first != 0 ? first : last;
}

int linux_dir_open(const char *path)
{
    char copy[PATH_MAX];
    int n = snprintf(copy, sizeof copy, "%s", path);
    if (n <= 0 || n >= (int)sizeof copy || path[0] != '/')
        return n <= 0 || path[0] != '/' ? -EINVAL : -ENAMETOOLONG;
    int fd = (int)LINUX_RETRY(open(copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd == -ENOENT) {
        int error = make_folders(copy);
        fd = error != 0 ? error : (int)LINUX_RETRY(open(copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    }
    struct stat st;
    if (fd < 0)
        return fd == -ELOOP ? -EPERM : fd;
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & OTHERS_WRITE) != 0) {
        linux_close(fd);
        return -EPERM;
    }
    return fd;
}

int linux_dir_names(int dir, bool (*fn)(void *user, const char *name), void *user)
{
    DIRENTS_BLOCK(block, 8192);
    if (lseek(dir, 0, SEEK_SET) < 0)
        return -errno;
    for (;;) {
        long n = syscall(SYS_getdents64, dir, block, sizeof block);
        if (n <= 0)
            return n < 0 ? -errno : 0;
        for (long at = 0; at < n;) {
            const struct dirent_head *e = (const void *)(block + at);
            at += e->reclen;
            if (e->name[0] != '.' && !fn(user, e->name))
                return 0;
        }
    }
}

int linux_file_create(int dir, const char *name)
{
    return (int)LINUX_RETRY(
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR));
}

int linux_file_open(int dir, const char *name, struct os_file *ret)
{
    int fd = (int)LINUX_RETRY(openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat st;
    if (fd < 0)
        return fd == -ELOOP ? -EPERM : fd;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1 ||
        (st.st_mode & OTHERS_WRITE) != 0) {
        linux_close(fd);
        return -EPERM;
    }
    *ret = (struct os_file){.bytes = (uint64_t)st.st_size,
                            .changed_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec};
    return fd;
}

int linux_file_rename(int dir, const char *from, const char *to)
{
    return renameat(dir, from, dir, to) != 0 ? -errno : 0;
}

int linux_file_unlink(int dir, const char *name)
{
    return unlinkat(dir, name, 0) != 0 ? -errno : 0;
}

int linux_boot_id(char ret[OS_BOOT_ID], uint64_t *ret_pid_namespace)
{
    struct stat st;
    int fd = (int)LINUX_RETRY(open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return fd;
    ssize_t n = linux_read(fd, ret, OS_BOOT_ID - 1);
    linux_close(fd);
    if (n <= 0)
        return n < 0 ? (int)n : -EIO;
    ret[n] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    if (stat("/proc/self/ns/pid", &st) != 0)
        return -errno;
    *ret_pid_namespace = (uint64_t)st.st_ino;
    return 0;
}
