/* The folder of dossiers, as a reader. See crash.h. */
#include "crash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST = 4 << 20 /* ten times what a host writes */ };

static const char suffix[] = ".json";

bool crash_id_is_usual(const char *id)
{
    static const char digits[] = "0123456789", small[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
    enum { RUN = 7 };

    if (strspn(id, small) != RUN || id[RUN] != '-' || id[strspn(id, letters)] != '\0')
        return false;
    const char *slot = strrchr(id + RUN + 1, '-'); /* none in it: the pool has at least one character */
    if (slot == NULL || slot == id + RUN + 1)
        return false;
    size_t n = strspn(slot + 1, digits);
    const char *dot = slot + 1 + n;
    size_t m = *dot == '.' ? strspn(dot + 1, digits) : 0;
    return n != 0 && m != 0 && dot[1 + m] == '\0';
}

static int newest_first(const void *a, const void *b)
{
    const struct crash_file *x = a, *y = b;

    if (x->changed_ns != y->changed_ns)
        return x->changed_ns > y->changed_ns ? -1 : 1;
    return strcmp(y->id, x->id);
}

static bool add(struct crash_files *files, const char *name)
{
    struct stat st;
    size_t n = strlen(name), room = files->n;

    if (name[0] == '.' || n <= sizeof suffix - 1 || strcmp(name + n - (sizeof suffix - 1), suffix) != 0)
        return true;
    if (fstatat(files->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return true;                /* gone meanwhile */
    if ((room & (room - 1)) == 0) { /* a power of two is full */
        struct crash_file *items = realloc(files->items, (room == 0 ? 1 : room * 2) * sizeof *items);
        if (items == NULL)
            return false;
        files->items = items;
    }
    struct crash_file *file = &files->items[files->n];
    file->id = strndup(name, n - (sizeof suffix - 1));
    file->changed_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
    files->n += file->id != NULL;
    return file->id != NULL;
}

int crash_files_open(const char *dir, struct crash_files *ret)
{
    int error = 0;

    *ret = (struct crash_files){.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    int copy = ret->fd >= 0 ? fcntl(ret->fd, F_DUPFD_CLOEXEC, 3) : -1;
    DIR *names = copy >= 0 ? fdopendir(copy) : NULL;
    if (names == NULL) {
        error = errno;
        if (copy >= 0)
            (void)close(copy);
        crash_files_close(ret);
        return error;
    }
    for (const struct dirent *e = readdir(names); e != NULL && error == 0; e = readdir(names))
        error = add(ret, e->d_name) ? 0 : ENOMEM;
    (void)closedir(names);
    if (error != 0)
        crash_files_close(ret);
    else if (ret->n > 1)
        qsort(ret->items, ret->n, sizeof *ret->items, newest_first);
    return error;
}

void crash_files_close(struct crash_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->items[i].id);
    free(files->items);
    if (files->fd >= 0)
        (void)close(files->fd);
    *files = (struct crash_files){.fd = -1};
}

/* Its bytes (owned); NULL and errno. */
static char *read_bytes(int fd, size_t *ret_n)
{
    struct stat st;
    size_t n = 0;

    if (fstat(fd, &st) != 0)
        return NULL;
    if (!S_ISREG(st.st_mode) || st.st_size > LARGEST) {
        errno = S_ISREG(st.st_mode) ? EFBIG : ENOTSUP;
        return NULL;
    }
    char *bytes = malloc((size_t)st.st_size + 1);
    while (bytes != NULL && n < (size_t)st.st_size) {
        ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break; /* what is there is judged */
        n += (size_t)got;
    }
    *ret_n = n;
    return bytes;
}

pit_value *crash_file_read(const struct crash_files *files, const char *id, char wrong[256])
{
    char name[512];
    size_t n = 0;
    pit_value *v = NULL;
    pit_error *err = NULL;

    (void)snprintf(name, sizeof name, "%s%s", id, suffix);
    int fd = openat(files->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char *bytes = fd >= 0 ? read_bytes(fd, &n) : NULL;
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    if (bytes == NULL) {
        (void)snprintf(wrong, 256, "%s",
                       error == ELOOP || error == ENOTSUP ? "it is no plain file"
                       : error == EFBIG                   ? "it is too large to be a dossier"
                                                          : strerror(error));
        return NULL;
    }
    if (pit_value_parse_json(bytes, n, &v, &err) != 0)
        (void)snprintf(wrong, 256, "it is no JSON, or cut off: %.180s", pit_error_message(err));
    else if (pit_value_kind(v) != PIT_KIND_MAP || pit_value_str(pit_value_get(v, "id")) == NULL)
        (void)snprintf(wrong, 256, "it holds something else than a dossier");
    else
        wrong[0] = '\0';
    pit_error_free(err);
    free(bytes);
    if (wrong[0] == '\0')
        return v;
    pit_value_free(v);
    return NULL;
}
