/* The hosts of this user that live, and their workers, as their registries tell: for who looks at them from outside, without their help.
 *
 * Failure: a file that cannot be read is passed over. Blocks for some reads of small files. Thread: any. */
#ifndef PIT_REGISTRY_LIVE_H
#define PIT_REGISTRY_LIVE_H

#include "os/os.h"
#include "registry/record.h"

struct live_worker {
    pid_t pid;
    uint64_t start;
    bool ending; /* it was told to end */
    char id[REGISTRY_WORKER];
};

struct live_host {
    const struct registry_host *host;
    const struct live_worker *workers; /* processes that live: templates too */
    size_t n;
};

/* Tells fn of each, until it says false. folder: the data folder, in which the registry is. 0, or -errno: the folder cannot be read; where there is
 * none no host lives. */
int registry_live(const struct os_ops *os, const char *folder, bool (*fn)(void *user, const struct live_host *h), void *user);

#endif
