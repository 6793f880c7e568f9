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

/* Does the process of this row live, as far as /proc tells? What cannot be told counts as alive. */
bool registry_row_lives(const struct os_ops *os, const struct row *row);

#endif
