/* Memory shared with a child. Contracts: os.h.
 *
 * Invariants
 *  1. A segment is sealed SHRINK | GROW | SEAL: the child can neither make the host fault by truncating it nor seal it against the
 *     host.
 *  2. Of the pages that are to be ready each exists before it is mapped (fallocate): too little memory is an error here, not a SIGBUS later.
 *     Of the others whoever reads asks first (segment_has). */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/linux.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Not executable where the kernel knows how to say so (6.3). */
static int memfd_open(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

/* All of it is one mapping, of which the first bytes are made to be there. */
static void *map_segment(int fd, size_t n, size_t ready)
{
    void *map = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | (ready == n ? MAP_POPULATE : 0), fd, 0);
    if (map == MAP_FAILED || ready == n || ready == 0)
        return map;
    if (mmap(map, ready, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE | MAP_FIXED, fd, 0) != MAP_FAILED)
        return map;
    int error = errno;
    munmap(map, n);
    errno = error;
    return MAP_FAILED;
}

int linux_segment_create(const char *name, size_t n, size_t ready, void **ret_map, int *ret_fd)
{
    int fd = memfd_open(name);
    if (fd < 0)
        return fd;
    int error = ready != 0 ? (int)LINUX_RETRY(fallocate(fd, 0, 0, (off_t)ready)) : 0;
    if (error == 0 && ready != n)
        error = (int)LINUX_RETRY(ftruncate(fd, (off_t)n));
    if (error == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        error = -errno;
    if (error == 0) {
        void *map = map_segment(fd, n, ready);
        if (map != MAP_FAILED) {
            *ret_map = map;
            *ret_fd = fd;
            return 0;
        }
        error = -errno;
    }
    linux_close(fd);
    return error;
}

bool linux_segment_has(const void *at, size_t n)
{
    enum { PAGES = 64 };
    unsigned char there[PAGES];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)at & ~(page - 1), end = (uintptr_t)at + n;
    while (from < end) {
        size_t pages = (end - from + page - 1) / page;
        pages = pages < PAGES ? pages : PAGES;
        if (mincore((void *)from, pages * page, there) != 0) /* NOLINT(performance-no-int-to-ptr) */
            return false;
        for (size_t i = 0; i < pages; i++)
            if ((there[i] & 1) == 0)
                return false;
        from += pages * page;
    }
    return true;
}

void linux_segment_unmap(void *map, size_t n)
{
    if (map != NULL)
        munmap(map, n);
}

int linux_memfd_sealed(const char *name, const void *data, size_t n)
{
    int fd = memfd_open(name);
    if (fd < 0)
        return fd;
    const uint8_t *p = data;
    int error = 0;
    while (n > 0 && error == 0) {
        long long put = LINUX_RETRY(write(fd, p, n));
        if (put < 0) {
            error = (int)put;
        } else {
            p += put;
            n -= (size_t)put;
        }
    }
    if (error == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        error = -errno;
    if (error == 0)
        return fd;
    linux_close(fd);
    return error;
}
