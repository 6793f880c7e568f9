/* Large messages: an echo of bytes through the library, and through a plain Unix stream socketpair to a Python loop of recv_into() and sendall()
 * (bytes_peer.py), which keeps one buffer for ever.
 *
 * Both sides of the comparison are timed by the same loop over the same bytes, which carry the number of the call in many places; both answers are
 * checked there. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEGABYTE ((size_t)1000000)
#define STAMP_EVERY ((size_t)4096)

struct bytes_floor {
    int fd;
    pid_t pid;
    size_t size;
    uint8_t *out, *in;
};

/* Writes n into every page of the bytes, and at their end. */
static void stamp(uint8_t *data, size_t size, uint32_t n)
{
    for (size_t at = 0; at + sizeof n <= size; at += STAMP_EVERY)
        memcpy(data + at, &n, sizeof n);
    memcpy(data + size - sizeof n, &n, sizeof n);
}

static bool stamped(const uint8_t *data, size_t size, uint32_t n)
{
    bool good = memcmp(data + size - sizeof n, &n, sizeof n) == 0;
    for (size_t at = 0; good && at + sizeof n <= size - sizeof n; at += STAMP_EVERY)
        good = memcmp(data + at, &n, sizeof n) == 0;
    return good;
}

/* ---- the floor ---- */

static int send_all(int fd, const uint8_t *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = send(fd, data + done, n - done, MSG_NOSIGNAL);
        if (put < 0 && errno != EINTR)
            return -1;
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static int receive_all(int fd, uint8_t *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = recv(fd, data + done, n - done, 0);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -1;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int floor_echo(void *ctx, uint32_t n)
{
    struct bytes_floor *f = ctx;
    stamp(f->out, f->size, n);
    if (send_all(f->fd, f->out, f->size) != 0 || receive_all(f->fd, f->in, f->size) != 0)
        return -1;
    return stamped(f->in, f->size, n) ? 0 : -1;
}

static void floor_close(struct bytes_floor **f)
{
    if (*f == NULL)
        return;
    if ((*f)->fd >= 0)
        close((*f)->fd);
    child_end((*f)->pid);
    free((*f)->out);
    free((*f)->in);
    free(*f);
    *f = NULL;
}

static struct bytes_floor *floor_create(const struct bench *b, size_t size)
{
    struct bytes_floor *f = calloc(1, sizeof *f);
    int fds[2];
    if (f == NULL)
        return NULL;
    *f = (struct bytes_floor){.fd = -1, .size = size, .out = calloc(1, size), .in = calloc(1, size)};
    if (f->out == NULL || f->in == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        floor_close(&f);
        return NULL;
    }
    char script[PATH_MAX + 32], text[32];
    snprintf(script, sizeof script, "%s/bytes_peer.py", b->dir);
    snprintf(text, sizeof text, "%zu", size);
    char *argv[] = {(char *)b->o.python, (char *)"-I", script, text, NULL};
    f->fd = fds[0];
    f->pid = child_spawn(argv, &fds[1], 1);
    close(fds[1]);
    return f;
}

int run_bytes_floor(struct bench *b, int megabytes, struct result *ret)
{
    struct bytes_floor **f = &b->bytes[megabytes > 1];
    if (*f == NULL)
        *f = floor_create(b, (size_t)megabytes * MEGABYTE);
    if (*f == NULL || (*f)->pid <= 0 || floor_echo(*f, 1) != 0)
        return result_fail(ret, "%s bytes_peer.py does not answer", b->o.python);
    place_thread(b, PLACE_FREE);
    place_process(b, (*f)->pid, PLACE_FREE);
    return measure_loop(b, floor_echo, *f, 0, ret);
}

void bytes_floor_close(struct bench *b)
{
    floor_close(&b->bytes[0]);
    floor_close(&b->bytes[1]);
}

/* ---- the library ---- */

struct echo {
    struct call_target target;
    uint8_t *data;
    size_t size;
};

static int call_echo(void *ctx, uint32_t n)
{
    struct echo *e = ctx;
    pit_value *answer = NULL;
    pit_error *err = NULL;
    const void *data = NULL;
    size_t size = 0;
    stamp(e->data, e->size, n);
    int rc = pit_callf(e->target.p, "echo", e->target.o, &answer, &err, "{s:y}", "data", e->data, e->size);
    if (rc != 0) {
        host_fail(e->target.ret, "echo", rc, err);
        return -1;
    }
    bool right = pit_value_get_bytes(answer, &data, &size) && size == e->size && stamped(data, size, n);
    pit_value_free(answer);
    return right ? 0 : -1;
}

int run_bytes_call(struct bench *b, int megabytes, struct result *ret)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_BYTES);
    pit *p = host_pool(b, POOL_BYTES, ret);
    if (p == NULL || host_place(b, p, o.pool, PLACE_FREE, ret) != BENCH_OK)
        return ret->status;
    size_t size = (size_t)megabytes * MEGABYTE;
    struct echo e = {.target = {p, &o, ret}, .data = calloc(1, size), .size = size};
    int rc = e.data != NULL ? measure_loop(b, call_echo, &e, 0, ret) : result_fail(ret, "out of memory");
    free(e.data);
    return rc;
}
