/* See registry.h. This file: the host's own rows and file. */
#include "registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "registry/registry_private.h"

/* A file is written anew when it is longer than GROWN and mostly about the dead. */
enum { GROWN = 64 * 1024, ROW_BYTES = 512 };

bool registry_row_lives(const struct os_ops *os, const struct row *row)
{
    struct os_proc p;
    int rc = row->pid > 0 ? os->proc_info(row->pid, &p) : -ESRCH;
    if (rc != 0)
        return rc != -ESRCH;
    return p.start == row->start && p.state != 'Z' && p.state != 'X';
}

static void copy_text(char *to, size_t room, const char *from)
{
    snprintf(to, room, "%s", from != NULL ? from : "");
}

static int find_self(struct registry *r, const char **ret_call)
{
    struct os_proc self;
    *ret_call = "boot_id";
    int rc = r->os->boot_id(r->host.boot, &r->host.pid_namespace);
    if (rc != 0)
        return rc;
    *ret_call = "/proc";
    r->host.pid = r->os->getpid();
    rc = r->os->proc_info(r->host.pid, &self);
    r->host.start = rc == 0 ? self.start : 0;
    return rc;
}

int registry_open(const struct os_ops *os, const char *folder, const char *instance, const char *token, struct registry **ret,
                  const char **ret_call)
{
    struct buf path = {0};
    struct registry *r = mem_zalloc(sizeof *r);
    *ret_call = "memory";
    buf_printf(&path, "%s/registry", folder);
    buf_putc(&path, '\0');
    if (r == NULL || path.failed) {
        mem_free(r);
        buf_finish(&path);
        return -ENOMEM;
    }
    r->os = os;
    r->fd = -1;
    list_init(&r->rows);
    copy_text(r->host.instance, sizeof r->host.instance, instance);
    copy_text(r->host.token, sizeof r->host.token, token);
    *ret_call = "open";
    r->dir = os->dir_open((const char *)path.data);
    buf_finish(&path);
    int rc = r->dir < 0 ? r->dir : find_self(r, ret_call);
    if (rc == 0) {
        *ret = r;
        return 0;
    }
    os->close(r->dir);
    mem_free(r);
    return rc;
}

/* ---- the file ---- */

static struct record record_of(const struct registry *r, const struct row *row, enum record_kind kind)
{
    struct record e = {.kind = kind, .host = r->host, .row = row->id, .time_ns = row->time_ns};
    e.pid = row->pid;
    e.pgid = row->pgid;
    e.start = row->start;
    memcpy(e.worker, row->worker, sizeof e.worker);
    return e;
}

/* All of it or nothing: what is behind half a record could not be read any more. */
static int put(const struct registry *r, int fd, const struct buf *b)
{
    if (b->failed)
        return -ENOMEM;
    ssize_t n = r->os->write(fd, b->data, b->len);
    return n == (ssize_t)b->len ? 0 : n < 0 ? (int)n : -ENOSPC;
}

static void lose(struct registry *r, int error)
{
    r->error = error;
    r->os->close(r->fd);
    r->fd = -1;
}

static void append(struct registry *r, const struct row *row, enum record_kind kind)
{
    char room[1024];
    struct buf b;
    struct record e = record_of(r, row, kind);
    if (r->fd < 0)
        return;
    buf_init_fixed(&b, room, sizeof room);
    record_write(&b, &e);
    int rc = put(r, r->fd, &b);
    r->bytes += b.len;
    if (rc != 0)
        lose(r, -rc);
}

/* The first record and all rows as they are now. */
static int write_all(struct registry *r, int fd)
{
    struct buf b = {0};
    struct record first = {.kind = RECORD_HOST, .host = r->host};
    record_write(&b, &first);
    LIST_EACH(node, &r->rows)
    {
        const struct row *row = LIST_ENTRY(node, struct row, node);
        struct record e = record_of(r, row, RECORD_RESERVED);
        record_write(&b, &e);
        for (enum record_kind k = RECORD_ACTIVE; k <= row->state; k++) {
            e.kind = k;
            if (row->pid > 0 || k != RECORD_ACTIVE)
                record_write(&b, &e);
        }
    }
    int rc = put(r, fd, &b);
    r->bytes = b.len;
    buf_finish(&b);
    return rc;
}

void registry_set_group(struct registry *r, const char *above)
{
    copy_text(r->above, sizeof r->above, strlen(above) < sizeof r->above ? above : "");
}

int registry_begin(struct registry *r, const char *run_id)
{
    copy_text(r->host.run, sizeof r->host.run, run_id);
    if (r->above[0] != '\0')
        snprintf(r->host.cgroup, sizeof r->host.cgroup, "%s/snakepit-%s", r->above, r->host.run);
    int fd = r->os->file_create(r->dir, run_id);
    if (fd < 0)
        return fd;
    int rc = write_all(r, fd);
    if (rc != 0) {
        r->os->close(fd);
        r->os->file_unlink(r->dir, run_id);
        return rc;
    }
    r->fd = fd;
    return 0;
}

/* Another file in the place of this one, at once: whoever looks sees the old one or the new one. */
static int replace(struct registry *r)
{
    char name[REGISTRY_RUN + 8];
    snprintf(name, sizeof name, "%s.tmp", r->host.run);
    r->os->file_unlink(r->dir, name); /* from a time when this failed half-way */
    int fd = r->os->file_create(r->dir, name);
    if (fd < 0)
        return fd;
    int rc = write_all(r, fd);
    if (rc == 0)
        rc = r->os->file_rename(r->dir, name, r->host.run);
    if (rc != 0) {
        r->os->close(fd);
        r->os->file_unlink(r->dir, name);
        return rc;
    }
    r->os->close(r->fd);
    r->fd = fd;
    r->error = 0;
    return 0;
}

/* ---- the rows ---- */

static struct row *find(struct registry *r, uint64_t token)
{
    LIST_EACH(node, &r->rows)
    {
        struct row *row = LIST_ENTRY(node, struct row, node);
        if (row->token == token)
            return row;
    }
    return NULL;
}

void registry_reserve(struct registry *r, uint64_t token, const char *worker)
{
    struct row *row = r != NULL ? mem_zalloc(sizeof *row) : NULL;
    if (row == NULL)
        return;
    row->id = ++r->last_id;
    row->token = token;
    row->state = RECORD_RESERVED;
    row->time_ns = r->os->now_ns();
    copy_text(row->worker, sizeof row->worker, worker);
    list_push_back(&r->rows, &row->node);
    append(r, row, RECORD_RESERVED);
}

void registry_active(struct registry *r, uint64_t token, pid_t pid)
{
    struct row *row = r != NULL ? find(r, token) : NULL;
    struct os_proc p;
    if (row == NULL || r->os->proc_info(pid, &p) != 0)
        return; /* it stays reserved: who resolves that looks for the run id */
    row->pid = pid;
    row->pgid = p.pgid;
    row->start = p.start;
    if (row->state == RECORD_RESERVED)
        row->state = RECORD_ACTIVE;
    append(r, row, RECORD_ACTIVE);
}

void registry_ending(struct registry *r, uint64_t token)
{
    struct row *row = r != NULL ? find(r, token) : NULL;
    if (row == NULL || row->state == RECORD_TERMINATING)
        return;
    row->state = RECORD_TERMINATING;
    append(r, row, RECORD_TERMINATING);
}

static void drop(struct registry *r, struct row *row)
{
    append(r, row, RECORD_GONE);
    list_remove(&row->node);
    mem_free(row);
}

void registry_gone(struct registry *r, uint64_t token, bool seen)
{
    struct row *row = r != NULL ? find(r, token) : NULL;
    if (row == NULL)
        return;
    if (seen || !registry_row_lives(r->os, row)) {
        drop(r, row);
        return;
    }
    registry_ending(r, token);
    row->token = 0; /* the caller may use it for another process */
}

static void drop_the_dead(struct registry *r)
{
    LIST_EACH_SAFE(node, next, &r->rows)
    {
        struct row *row = LIST_ENTRY(node, struct row, node);
        if (row->token == 0 && !registry_row_lives(r->os, row))
            drop(r, row);
    }
}

static int count_rows(const struct registry *r)
{
    int n = 0;
    LIST_EACH(node, &r->rows)
    n++;
    return n;
}

int registry_tend(struct registry *r)
{
    if (r == NULL)
        return -1;
    drop_the_dead(r);
    int rows = count_rows(r), error = r->error;
    if (error == 0 && (r->bytes < GROWN || r->bytes < (uint64_t)rows * ROW_BYTES * 4))
        return -1;
    int rc = replace(r);
    return rc == 0 && error != 0 ? rows : -1;
}

int registry_error(const struct registry *r)
{
    return r != NULL ? r->error : 0;
}

void registry_close(struct registry *r)
{
    bool anybody = false;
    if (r == NULL)
        return;
    LIST_EACH_SAFE(node, next, &r->rows)
    {
        struct row *row = LIST_ENTRY(node, struct row, node);
        anybody = registry_row_lives(r->os, row) || anybody;
        mem_free(row);
    }
    if (!anybody && (r->fd >= 0 || r->error != 0))
        r->os->file_unlink(r->dir, r->host.run);
    r->os->close(r->fd);
    r->os->close(r->dir);
    mem_free(r);
}
