/* What the files of the registry share. Private to src/registry. */
#ifndef PIT_REGISTRY_PRIVATE_H
#define PIT_REGISTRY_PRIVATE_H

#include "base/list.h"
#include "registry/registry.h"

struct row {
    struct list node;
    enum record_kind state; /* RESERVED, ACTIVE, TERMINATING */
    uint64_t id, token, time_ns;
    pid_t pid, pgid;
    uint64_t start;
    char worker[REGISTRY_WORKER];
};

struct registry {
    const struct os_ops *os;
    int dir; /* with host, all that a sweep uses: constant from registry_begin on */
    struct registry_host host;
    int fd;    /* own file; -1: none, or lost */
    int error; /* why it was lost */
    uint64_t bytes, last_id;
    struct list rows;
    char above[REGISTRY_CGROUP - 32]; /* of the control group */
};

/* A file that was read. */
struct left {
    const struct registry *r; /* os, dir */
    const char *name;
    struct registry_host host;
    struct list rows;
    uint64_t changed_ns;
    unsigned n_rows;
    bool has_host, damaged, no_memory;
};

/* sweep.c: reads what stands in the file; false: it cannot be read now. The rows are there in either case, until registry_left_finish(). */
bool registry_left_read(struct left *l);
void registry_left_finish(struct left *l);
bool registry_left_host_lives(const struct left *l);
/* Does the process of this row live, as far as /proc tells? What cannot be told counts as alive. */
bool registry_row_lives(const struct os_ops *os, const struct row *row);

#endif
