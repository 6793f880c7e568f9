/* The segment of another process of this user, to read, or to ask by it. Contracts: os.h.
 *
 * It is found among the descriptors that the process has open, and opened anew by /proc: neither the process nor whoever
 * started it has to help, or to live well. Failure: the errno of the call; what is not sealed is not believed to keep its size (-EPERM). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/linux.h"

struct search {
    int dir, flags; /* its descriptors; how to open */
    char link[64];  /* what they show */
    int fd, error;
};

static bool look(void *user, const char *name)
{
    struct search *s = user;
    char text[80];
    ssize_t n = readlinkat(s->dir, name, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    if (strcmp(text, s->link) != 0)
        return true;
    s->fd = (int)LINUX_RETRY(openat(s->dir, name, s->flags | O_CLOEXEC));
    s->error = s->fd < 0 ? s->fd : 0;
    return s->fd < 0;
}

static int check(int fd, uint64_t *ret_n)
{
    enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW };
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &st) != 0)
        return -errno;
    if ((seals & SEALS) != SEALS || st.st_size < 0)
        return -EPERM;
    *ret_n = (uint64_t)st.st_size;
    return 0;
}

static int open_segment(pid_t pid, const char *name, int flags, uint64_t *ret_n)
{
    struct search s = {.flags = flags, .fd = -ENOENT};
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    snprintf(s.link, sizeof s.link, "/memfd:%s (deleted)", name);
    s.dir = (int)LINUX_RETRY(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (s.dir < 0)
        return s.dir;
    int rc = linux_dir_names(s.dir, look, &s);
    linux_close(s.dir);
    if (s.fd < 0)
        return rc != 0 ? rc : s.error != 0 ? s.error : -ENOENT;
    rc = check(s.fd, ret_n);
    if (rc == 0)
        return s.fd;
    linux_close(s.fd);
    return rc;
}

int linux_segment_of(pid_t pid, const char *name, uint64_t *ret_n)
{
    return open_segment(pid, name, O_RDONLY, ret_n);
}

int linux_segment_join(pid_t pid, const char *name, void **ret_map, size_t *ret_n)
{
    uint64_t n = 0;
    int fd = open_segment(pid, name, O_RDWR, &n);
    if (fd < 0)
        return fd;
    void *map = n != 0 && n <= SIZE_MAX ? mmap(NULL, (size_t)n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    int rc = map != MAP_FAILED ? 0 : n == 0 ? -ENOENT : -errno;
    linux_close(fd);
    *ret_map = map;
    *ret_n = (size_t)n;
    return rc;
}

ssize_t linux_read_at(int fd, void *data, size_t n, uint64_t at)
{
    return (ssize_t)LINUX_RETRY(pread(fd, data, n, (off_t)at));
}
