/* The records of a registry file: one line each, "LLLL CCCCCCCC TEXT\n" with the length of TEXT and its CRC-32 in hexadecimal digits.
 *
 *   host 1 PID START BOOT PIDNS RUN INSTANCE TOKEN CGROUP      the first one, once
 *   reserved ROW TIME WORKER                                   before the spawn
 *   active ROW PID PGID START BOOT RUN WORKER                  the guard has told the process
 *   terminating ROW                                            it was told to end, or killed
 *   gone ROW                                                   it has ended
 *
 * Numbers are decimal, PIDNS the inode of the PID namespace, TIME nanoseconds of CLOCK_MONOTONIC; "." stands for an empty text. Text, so
 * that a person can read it; a checksum, since a disk may be full and a file may be anybody's work. Pure: bytes in, records out. */
#ifndef PIT_REGISTRY_RECORD_H
#define PIT_REGISTRY_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

#define REGISTRY_BOOT 40
#define REGISTRY_RUN 8
#define REGISTRY_NAME 128 /* an instance's name, with its NUL */
#define REGISTRY_WORKER 192
#define REGISTRY_CGROUP 512

/* What a host is known by. */
struct registry_host {
    pid_t pid;
    uint64_t start, pid_namespace;
    char boot[REGISTRY_BOOT], run[REGISTRY_RUN], instance[REGISTRY_NAME], token[REGISTRY_NAME], cgroup[REGISTRY_CGROUP];
};

enum record_kind { RECORD_HOST = 1, RECORD_RESERVED, RECORD_ACTIVE, RECORD_TERMINATING, RECORD_GONE };

struct record {
    enum record_kind kind;
    struct registry_host host; /* of the first record; of an active one boot and run */
    uint64_t row, time_ns;
    pid_t pid, pgid;
    uint64_t start;
    char worker[REGISTRY_WORKER];
};

enum { RECORD_OK = 1, RECORD_END = 0, RECORD_BAD = -1 };

/* The record at *at of n bytes, and *at behind it. RECORD_END: none, or one that was cut off by the end. RECORD_BAD: no record. */
int record_read(const char *data, size_t n, size_t *at, struct record *ret);
void record_write(struct buf *b, const struct record *r);

#endif
