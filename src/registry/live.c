/* See live.h. */
#include "registry/live.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "registry/registry_private.h"

struct tour {
    struct registry self; /* os, dir, and by which boot and PID namespace a host is known to be here */
    bool (*fn)(void *user, const struct live_host *h);
    void *user;
};

static bool is_here(const struct tour *t, const struct left *l)
{
    return l->has_host && strcmp(l->host.boot, t->self.host.boot) == 0 && l->host.pid_namespace == t->self.host.pid_namespace &&
           registry_left_host_lives(l);
}

static bool tell(const struct tour *t, struct left *l)
{
    struct live_worker *workers = mem_array(l->n_rows + (size_t)1, sizeof *workers);
    struct live_host h = {.host = &l->host, .workers = workers};
    if (workers == NULL)
        return false;
    LIST_EACH(node, &l->rows)
    {
        const struct row *row = LIST_ENTRY(node, struct row, node);
        if (row->pid == 0 || !registry_row_lives(t->self.os, row))
            continue;
        struct live_worker *w = &workers[h.n++];
        *w = (struct live_worker){.pid = row->pid, .start = row->start, .ending = row->state == RECORD_TERMINATING};
        memcpy(w->id, row->worker, sizeof w->id);
    }
    bool more = t->fn(t->user, &h);
    mem_free(workers);
    return more;
}

static bool look(void *user, const char *name)
{
    struct tour *t = user;
    struct left l = {.r = &t->self, .name = name};
    list_init(&l.rows);
    bool more = true;
    if (strchr(name, '.') == NULL && registry_left_read(&l) && is_here(t, &l)) /* others were put aside */
        more = tell(t, &l);
    registry_left_finish(&l);
    return more;
}

int registry_live(const struct os_ops *os, const char *folder, bool (*fn)(void *user, const struct live_host *h), void *user)
{
    struct tour t = {.self = {.os = os}, .fn = fn, .user = user};
    struct buf path = {0};
    buf_printf(&path, "%s/registry", folder);
    buf_putc(&path, '\0');
    int rc = path.failed ? -ENOMEM : os->access((const char *)path.data, F_OK); /* to open it would make it */
    if (rc == 0)
        rc = t.self.dir = os->dir_open((const char *)path.data);
    buf_finish(&path);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    rc = os->boot_id(t.self.host.boot, &t.self.host.pid_namespace);
    if (rc == 0)
        rc = os->dir_names(t.self.dir, look, &t);
    os->close(t.self.dir);
    return rc;
}
