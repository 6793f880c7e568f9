/* See registry.h. This file: what dead hosts have left behind.
 *
 *   RUN --parsed--> another boot: removed | another PID namespace, another instance, a living host: left alone
 *                   a dead host: its processes are killed and waited for, then everything that carries its run id; then removed
 *
 * A reservation says that a process may have been started of which nothing was written: it carries the run id. The file of a dead host that
 * holds one younger than YOUNG_NS stays for a later sweep, since whoever was to start the process may be slow to die. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "registry/registry_private.h"

#define YOUNG_NS UINT64_C(60000000000)
#define DEATH_NS UINT64_C(2000000000)
enum { MOST_BYTES = 16 * 1024 * 1024, MOST_ROWS = 8192 /* at a time: twice what a guard can have as children */ };

struct sweeping {
    const struct registry *r;
    void (*found)(void *user, const struct registry_found *f);
    void *user;
    const bool *stop;
};

/* ---- reading ---- */

static struct row *row_of(struct left *l, uint64_t id)
{
    LIST_EACH(node, &l->rows)
    {
        struct row *row = LIST_ENTRY(node, struct row, node);
        if (row->id == id)
            return row;
    }
    return NULL;
}

static bool take_reserved(struct left *l, const struct record *e)
{
    if (l->n_rows == MOST_ROWS)
        return false;
    struct row *row = row_of(l, e->row) == NULL ? mem_zalloc(sizeof *row) : NULL;
    if (row == NULL) {
        l->no_memory = row_of(l, e->row) == NULL;
        return false;
    }
    row->id = e->row;
    row->state = RECORD_RESERVED;
    row->time_ns = e->time_ns;
    memcpy(row->worker, e->worker, sizeof row->worker);
    list_push_back(&l->rows, &row->node);
    l->n_rows++;
    return true;
}

/* false: it does not follow from what stands before it. */
static bool take(struct left *l, const struct record *e)
{
    if (e->kind == RECORD_HOST) {
        bool good = !l->has_host && strcmp(e->host.run, l->name) == 0;
        if (good)
            l->host = e->host;
        l->has_host = l->has_host || good;
        return good;
    }
    if (!l->has_host)
        return false;
    if (e->kind == RECORD_RESERVED)
        return take_reserved(l, e);
    struct row *row = row_of(l, e->row);
    if (row == NULL)
        return false;
    if (e->kind == RECORD_GONE) {
        list_remove(&row->node);
        mem_free(row);
        l->n_rows--;
        return true;
    }
    row->state = e->kind;
    if (e->kind == RECORD_TERMINATING)
        return true;
    row->pid = e->pid;
    row->pgid = e->pgid;
    row->start = e->start;
    return strcmp(e->host.boot, l->host.boot) == 0 && strcmp(e->host.run, l->host.run) == 0;
}

void registry_left_finish(struct left *l)
{
    LIST_EACH_SAFE(node, next, &l->rows)
    mem_free(LIST_ENTRY(node, struct row, node));
}

/* The whole file, or its beginning if it is longer than any that a host lets grow; NULL: it cannot be read now. */
static char *load(struct left *l, size_t *ret_n)
{
    const struct os_ops *os = l->r->os;
    struct os_file file;
    int fd = os->file_open(l->r->dir, l->name, &file);
    size_t have = 0, most = fd >= 0 && file.bytes < MOST_BYTES ? (size_t)file.bytes : MOST_BYTES;
    char *data = fd >= 0 ? mem_alloc(most + 1) : NULL;
    ssize_t n = 1;
    l->changed_ns = fd >= 0 ? file.changed_ns : 0;
    while (data != NULL && have < most && (n = os->read(fd, data + have, most - have)) > 0)
        have += (size_t)n;
    os->close(fd);
    if (n < 0) {
        mem_free(data);
        return NULL;
    }
    *ret_n = have;
    return data;
}

bool registry_left_read(struct left *l)
{
    struct record e;
    size_t n, at = 0;
    char *data = load(l, &n);
    if (data == NULL)
        return false;
    int rc;
    while ((rc = record_read(data, n, &at, &e)) == RECORD_OK && take(l, &e))
        continue;
    l->damaged = rc != RECORD_END;
    mem_free(data);
    return !l->no_memory;
}

/* ---- killing ---- */

bool registry_left_host_lives(const struct left *l)
{
    const struct row as_row = {.pid = l->host.pid, .start = l->host.start};
    return registry_row_lives(l->r->os, &as_row);
}

static const char *run_entry(const struct left *l, char entry[32])
{
    snprintf(entry, 32, "SNAKEPIT_RUN_ID=%s", l->host.run);
    return entry;
}

/* The pidfd comes first: what is looked at after it and found to be the process of the row is the process that it names. */
static bool kill_row(const struct left *l, const struct row *row)
{
    const struct os_ops *os = l->r->os;
    char entry[32];
    struct os_proc p;
    int pidfd = row->pid > 1 ? os->pidfd_open(row->pid) : -1;
    if (pidfd < 0)
        return false;
    bool ours = os->proc_info(row->pid, &p) == 0 && p.start == row->start && p.state != 'Z' && p.state != 'X' &&
                os->proc_has_env(row->pid, run_entry(l, entry));
    if (ours && row->pgid == row->pid && p.pgid == row->pid)
        os->group_kill(row->pid, SIGKILL);
    ours = ours && os->pidfd_kill(pidfd, SIGKILL) == 0;
    os->close(pidfd);
    return ours;
}

/* How many of those that were killed (their token is set) live on at the deadline. */
static unsigned wait_for_deaths(struct left *l, uint64_t deadline_ns)
{
    const struct os_ops *os = l->r->os;
    unsigned survivors = 0;
    LIST_EACH(node, &l->rows)
    {
        const struct row *row = LIST_ENTRY(node, struct row, node);
        int pidfd = row->token != 0 ? os->pidfd_open(row->pid) : -1;
        if (pidfd >= 0 && registry_row_lives(os, row))
            os->poll_one(pidfd, OS_READABLE, deadline_ns);
        os->close(pidfd);
        survivors += row->token != 0 && registry_row_lives(os, row);
    }
    return survivors;
}

/* The group of what the host had started: nobody of it can hide, whatever became of his environment. Only a group of its name is touched. */
static int end_group(const struct left *l)
{
    const struct os_ops *os = l->r->os;
    char name[32];
    const char *last = strrchr(l->host.cgroup, '/');
    snprintf(name, sizeof name, "/snakepit-%s", l->host.run);
    int fd = last != NULL && strcmp(last, name) == 0 ? os->cgroup_open(l->host.cgroup, false) : -ENOENT;
    if (fd < 0)
        return 0;
    int n = os->cgroup_kill(fd);
    os->close(fd);
    os->cgroup_remove(l->host.cgroup);
    return n > 0 ? n : 0;
}

/* Kills everything that the dead host has left. */
static void end_all(struct left *l, struct registry_found *f)
{
    const struct os_ops *os = l->r->os;
    char entry[32];
    LIST_EACH(node, &l->rows)
    {
        struct row *row = LIST_ENTRY(node, struct row, node);
        row->token = kill_row(l, row);
        f->orphans += row->token != 0;
    }
    f->survivors = wait_for_deaths(l, os->now_ns() + DEATH_NS);
    int swept = os->kill_by_env(run_entry(l, entry));
    f->orphans += (swept > 0 ? (unsigned)swept : 0) + (unsigned)end_group(l);
}

static bool has_young_reservation(const struct left *l)
{
    uint64_t now = l->r->os->now_ns();
    LIST_EACH(node, &l->rows)
    {
        const struct row *row = LIST_ENTRY(node, struct row, node);
        if (row->state == RECORD_RESERVED && row->time_ns <= now && now - row->time_ns < YOUNG_NS)
            return true;
    }
    return false;
}

/* ---- files ---- */

static void put_aside(const struct left *l)
{
    char name[64];
    snprintf(name, sizeof name, "%s.corrupt.%llu", l->name, (unsigned long long)(l->r->os->wall_ns() / 1000000000u));
    l->r->os->file_rename(l->r->dir, l->name, name);
}

static void remove_file(const struct left *l)
{
    char name[REGISTRY_RUN + 8];
    snprintf(name, sizeof name, "%.7s.tmp", l->name);
    if (l->damaged)
        put_aside(l);
    else
        l->r->os->file_unlink(l->r->dir, l->name);
    l->r->os->file_unlink(l->r->dir, name);
}

static unsigned count(const struct list *rows)
{
    unsigned n = 0;
    LIST_EACH(node, rows)
    n++;
    return n;
}

/* Without a first record nobody can say whose it is: a host may be about to write it. A file from the future is young: the clock was set back. */
static void judge_headless(const struct sweeping *s, struct left *l)
{
    uint64_t now = s->r->os->wall_ns();
    if (!l->damaged && (l->changed_ns > now || now - l->changed_ns < YOUNG_NS))
        return;
    struct registry_found f = {.run_id = l->name, .damaged = l->damaged};
    remove_file(l);
    if (f.damaged)
        s->found(s->user, &f);
}

static void judge(const struct sweeping *s, struct left *l)
{
    const struct registry_host *me = &s->r->host, *h = &l->host;
    if (!l->has_host) {
        judge_headless(s, l);
        return;
    }
    if (strcmp(h->boot, me->boot) != 0) {
        remove_file(l);
        return;
    }
    if (h->pid_namespace != me->pid_namespace || strcmp(h->instance, me->instance) != 0 || strcmp(h->token, me->token) != 0 ||
        registry_left_host_lives(l))
        return;
    struct registry_found f = {.run_id = h->run, .host = h->pid, .damaged = l->damaged, .rows = count(&l->rows)};
    uint64_t began = s->r->os->now_ns();
    end_all(l, &f);
    f.duration_ns = s->r->os->now_ns() - began;
    bool done = f.survivors == 0 && !has_young_reservation(l);
    f.damaged = f.damaged && done;
    if (done)
        remove_file(l);
    if (f.orphans > 0 || f.damaged)
        s->found(s->user, &f);
}

static bool is_run_id(const char *name)
{
    size_t n = strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz");
    return n == REGISTRY_RUN - 1 && name[n] == '\0';
}

static bool look_at(void *user, const char *name)
{
    const struct sweeping *s = user;
    if (s->stop != NULL && __atomic_load_n(s->stop, __ATOMIC_ACQUIRE))
        return false;
    if (!is_run_id(name) || strcmp(name, s->r->host.run) == 0)
        return true;
    struct left l = {.r = s->r, .name = name};
    list_init(&l.rows);
    if (registry_left_read(&l))
        judge(s, &l);
    registry_left_finish(&l);
    return true;
}

void registry_sweep(const struct registry *r, void (*found)(void *user, const struct registry_found *f), void *user,
                    const bool *stop)
{
    struct sweeping s = {r, found, user, stop};
    if (r != NULL)
        r->os->dir_names(r->dir, look_at, &s);
}
