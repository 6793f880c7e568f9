/* Walks a block that getdents64 has filled, for who must not allocate and so has no opendir: folders of /proc, whose names are numbers.
 *
 * Pure: no system call. In the library and in the guard. */
#ifndef PIT_BASE_DIRENTS_H
#define PIT_BASE_DIRENTS_H

#include <stdint.h>

struct dirent_head { /* the kernel's linux_dirent64 */
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* Room for a block of n bytes. */
#define DIRENTS_BLOCK(name, n) _Alignas(struct dirent_head) char name[n]

/* The next name that is a number, from offset *at of the n bytes; -1: there is none any more. */
static inline long dirents_next(const char *block, long n, long *at)
{
    while (*at < n) {
        const struct dirent_head *d = (const void *)(block + *at);
        *at += d->reclen;
        if (d->name[0] < '0' || d->name[0] > '9')
            continue;
        long number = 0;
        for (const char *c = d->name; *c >= '0' && *c <= '9'; c++)
            number = number * 10 + (*c - '0');
        return number;
    }
    return -1;
}

#endif
