/* Finds entries of a process's environment block ("NAME=value" strings, each closed by a NUL) in a stream of pieces.
 *
 * Pure: no allocation, no system call; in the library and in the guard. A value that does not fit is not found. */
#ifndef PIT_BASE_ENVSCAN_H
#define PIT_BASE_ENVSCAN_H

#include <stdbool.h>
#include <stddef.h>

#define ENVSCAN_VALUE 256

struct envscan_entry {
    const char *name;
    bool found;
    char value[ENVSCAN_VALUE]; /* of the first entry of that name */
};

struct envscan {
    struct envscan_entry *entries;
    size_t n_entries;
    char line[ENVSCAN_VALUE + 64]; /* private: the entry being read */
    size_t len;
};

void envscan_init(struct envscan *s, struct envscan_entry *entries, size_t n_entries);
void envscan_feed(struct envscan *s, const char *bytes, size_t n);

#endif
