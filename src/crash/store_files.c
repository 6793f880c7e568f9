/* See store_files.h. */
#include "crash/store_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "crash/store.h"

/* A folder is looked through when a sixteenth of what it may hold is new: that is one look in hundreds of files. One that is nearly full
 * then loses a quarter. */
enum { PARTS = 16, FULL_PARTS = 14, LEFT_PARTS = 12 };

#define STALE_NS UINT64_C(60000000000) /* the file of a writer that has been killed */

const char *store_reason(int rc)
{
    switch (-rc) {
    case EPERM:
        return "the folder, or one above it, does not belong to this user alone";
    case ENOBUFS:
        return "too many at once";
    case ETIMEDOUT:
        return "the host was closed before it could be written";
    case ETIME:
        return "the disk did not answer, and the host was closed";
    case EFBIG:
        return "it is larger than max_bytes";
    default:
        return strerror(-rc);
    }
}

/* ---- names ---- */

static const char *skip_digits_back(const char *from, const char *end)
{
    while (end > from && end[-1] >= '0' && end[-1] <= '9')
        end--;
    return end;
}

/* RUN-POOL-SLOT.GENERATION, a run id being seven digits of base 36: what is removed must have been written by a host. */
bool store_name_is(const char *name, const char *suffix)
{
    enum { RUN = 7 };
    size_t n = strlen(name), m = strlen(suffix);
    if (n >= STORE_NAME || n <= m + RUN || strcmp(name + n - m, suffix) != 0 || name[RUN] != '-')
        return false;
    for (int i = 0; i < RUN; i++)
        if (!((name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'z')))
            return false;
    const char *pool = name + RUN + 1, *end = name + n - m, *generation = skip_digits_back(pool, end);
    if (generation == end || generation == pool || generation[-1] != '.')
        return false;
    const char *slot = skip_digits_back(pool, generation - 1);
    return slot != generation - 1 && slot > pool + 1 && slot[-1] == '-';
}

/* ---- making room ---- */

struct found {
    uint64_t changed_ns, bytes;
    char name[STORE_NAME];
};

struct look {
    const struct os_ops *os;
    int dir;
    struct buf files; /* of struct found */
    uint64_t bytes, now_ns;
};

static bool look_at(void *user, const char *name)
{
    struct look *l = user;
    struct os_file file;
    bool whole = store_name_is(name, ".json");
    if (!whole && !store_name_is(name, ".tmp"))
        return true;
    int fd = l->os->file_open(l->dir, name, &file);
    if (fd < 0)
        return true; /* removed meanwhile, or nothing of ours */
    l->os->close(fd);
    if (!whole && file.changed_ns + STALE_NS < l->now_ns)
        l->os->file_unlink(l->dir, name);
    struct found f = {.changed_ns = file.changed_ns, .bytes = file.bytes};
    snprintf(f.name, sizeof f.name, "%s", name);
    if (whole) {
        l->bytes += file.bytes;
        buf_append(&l->files, &f, sizeof f);
    }
    return !l->files.failed && l->files.len / sizeof f < STORE_FILES;
}

static int by_age(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->changed_ns != y->changed_ns)
        return x->changed_ns < y->changed_ns ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void remove_oldest(struct look *l, uint64_t max_bytes, uint64_t more)
{
    struct found *files = (struct found *)(void *)l->files.data;
    size_t n = l->files.len / sizeof *files, left = n;
    bool crowded = n >= STORE_FILES;
    if (n == 0 || (!crowded && l->bytes + more <= max_bytes / PARTS * FULL_PARTS))
        return;
    qsort(files, n, sizeof *files, by_age);
    for (size_t i = 0; i < n; i++) {
        bool few = !crowded || left <= STORE_FILES / PARTS * LEFT_PARTS;
        if (few && l->bytes + more <= max_bytes / PARTS * LEFT_PARTS)
            return;
        int rc = l->os->file_unlink(l->dir, files[i].name);
        if (rc != 0 && rc != -ENOENT)
            continue;
        l->bytes -= files[i].bytes;
        left--;
    }
}

static int make_room(const struct os_ops *os, struct store_folder *f, int dir, uint64_t max_bytes, uint64_t more)
{
    struct look l = {.os = os, .dir = dir, .now_ns = os->wall_ns()};
    if (f->known && f->written + more <= max_bytes / PARTS)
        return 0;
    int rc = os->dir_names(dir, look_at, &l);
    if (rc == 0 && l.files.failed)
        rc = -ENOMEM;
    if (rc == 0)
        remove_oldest(&l, max_bytes, more);
    buf_finish(&l.files);
    f->known = rc == 0;
    f->written = 0;
    return rc;
}

/* ---- one file ---- */

static int put_text(const struct os_ops *os, int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = os->write(fd, text, n);
        if (done <= 0)
            return done < 0 ? (int)done : -EIO;
        text += done;
        n -= (size_t)done;
    }
    return 0;
}

/* name NULL: it is not to stay. */
static int write_file(const struct os_ops *os, int dir, const char *temporary, const char *name, const char *text, size_t n)
{
    int fd = os->file_create(dir, temporary);
    if (fd == -EEXIST) { /* from a time when this failed half-way */
        os->file_unlink(dir, temporary);
        fd = os->file_create(dir, temporary);
    }
    if (fd < 0)
        return fd;
    int rc = put_text(os, fd, text, n);
    os->close(fd);
    if (rc == 0 && name != NULL)
        rc = os->file_rename(dir, temporary, name);
    if (rc != 0 || name == NULL)
        os->file_unlink(dir, temporary);
    return rc;
}

static int write_dossier(const struct os_ops *os, int dir, const char *id, const char *text, size_t n)
{
    char name[STORE_NAME], temporary[STORE_NAME];
    snprintf(name, sizeof name, "%s.json", id);
    snprintf(temporary, sizeof temporary, "%s.tmp", id);
    return store_name_is(name, ".json") ? write_file(os, dir, temporary, name, text, n) : -EINVAL;
}

int store_try(const struct os_ops *os, const char *dir, const char *run_id)
{
    char temporary[STORE_NAME];
    snprintf(temporary, sizeof temporary, "%s-try-0.0.tmp", run_id); /* should it stay: what is stale is removed */
    int fd = os->dir_open(dir), rc = fd;
    if (fd >= 0) {
        rc = write_file(os, fd, temporary, NULL, "\n", 1);
        os->close(fd);
    }
    return rc;
}

int store_write(const struct os_ops *os, struct store_folder *f, uint64_t max_bytes, const char *id, const pit_value *dossier)
{
    char *text = pit_value_to_json(dossier, 0);
    if (text == NULL)
        return -ENOMEM;
    size_t n = strlen(text);
    text[n++] = '\n'; /* in the place of its NUL */
    int rc = n > max_bytes ? -EFBIG : 0, dir = rc == 0 ? os->dir_open(f->dir) : rc;
    rc = dir < 0 ? dir : make_room(os, f, dir, max_bytes, n);
    if (rc == 0)
        rc = write_dossier(os, dir, id, text, n);
    if (rc == 0)
        f->written += n;
    if (dir >= 0)
        os->close(dir);
    mem_free(text);
    return rc;
}
