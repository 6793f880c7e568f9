/* See host.h. This file: the control group of what a host starts, where one may be made (Linux's version 2).
 *
 * The guard is moved into it before it starts anything, so everything is in it from birth: moving one process takes milliseconds (the kernel
 * waits for all CPUs), which a start could not afford, and a host's opening can. Nobody in the group can hide from the host, whatever became
 * of his parents and his environment.
 *
 * Failure: no group, and nothing else: what it does better is done well enough without. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"

bool host_group_find(struct host *h, char above[])
{
    return !h->set.no_group && h->os->cgroup_above(above) == 0;
}

void host_group_make(struct host *h, const char *above)
{
    struct buf b = {0};
    buf_printf(&b, "%s/snakepit-%s", above, h->run_id);
    char *path = buf_take_str(&b);
    buf_finish(&b);
    int fd = path != NULL ? h->os->cgroup_open(path, true) : -ENOMEM;
    if (fd < 0) {
        log_line(&h->log, PIT_LOG_INFO, "no control group is made in %s: %s", above, strerror(-fd));
        mem_free(path);
        return;
    }
    h->oom.group = fd;
    h->group_path = path;
}

void host_group_join(struct host *h)
{
    int rc = h->group_path != NULL ? h->os->cgroup_move(h->oom.group, guard_pid(h->env.guard)) : 0;
    if (rc != 0) {
        log_line(&h->log, PIT_LOG_INFO, "the control group %s cannot be used: %s", h->group_path, strerror(-rc));
        host_group_close(h);
    }
}

int host_group_end(struct host *h)
{
    int n = h->group_path != NULL ? h->os->cgroup_kill(h->oom.group) : 0;
    return n > 0 ? n : 0;
}

/* Descendants that are kept stay in it, and it with them. */
void host_group_close(struct host *h)
{
    if (h->group_path == NULL)
        return;
    host_group_end(h);
    h->os->close(h->oom.group);
    h->oom.group = -1;
    h->os->cgroup_remove(h->group_path);
    mem_free(h->group_path);
    h->group_path = NULL;
}
