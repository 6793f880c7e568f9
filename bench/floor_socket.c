/* The floors over a Unix stream socketpair: C with C, and C with a plain Python loop (os.read, struct, os.write; socket_peer.py).
 *
 * The contended form is what a program with a mutex, a condition variable and two such Python children would see: four threads check a child
 * out, write, read, give it back. */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE = 32, CONTENDED_CALLERS = 4, CONTENDED_WORKERS = 2 };

struct socket_floor {
    int fd;
    pid_t pid;
    bool python;
};

static int read_all(int fd, void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, (char *)data + done, n - done);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -1;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int write_all(int fd, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, (const char *)data + done, n - done);
        if (put < 0 && errno != EINTR)
            return -1;
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

int role_socket(void)
{
    uint8_t message[MESSAGE];
    while (read_all(3, message, sizeof message) == 0) {
        uint64_t number;
        memcpy(&number, message, sizeof number);
        number++;
        memcpy(message, &number, sizeof number);
        if (write_all(3, message, sizeof message) != 0)
            return 1;
    }
    return 0;
}

static int socket_call(void *ctx, uint32_t n)
{
    const struct socket_floor *f = ctx;
    uint8_t message[MESSAGE] = {0};
    uint64_t number = n;
    memcpy(message, &number, sizeof number);
    if (write_all(f->fd, message, sizeof message) != 0 || read_all(f->fd, message, sizeof message) != 0)
        return -1;
    memcpy(&number, message, sizeof number);
    return number == (uint64_t)n + 1 ? 0 : -1;
}

static struct socket_floor *socket_floor_create(const struct bench *b, bool python)
{
    struct socket_floor *f = calloc(1, sizeof *f);
    int fds[2];
    if (f == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        free(f);
        return NULL;
    }
    char script[PATH_MAX + 32];
    snprintf(script, sizeof script, "%s/socket_peer.py", b->dir);
    char *argv[] = {(char *)b->o.python, (char *)"-I", script, NULL};
    f->fd = fds[0];
    f->python = python;
    f->pid = python ? child_spawn(argv, &fds[1], 1) : child_spawn_role("socket", &fds[1], 1);
    close(fds[1]);
    return f;
}

/* Starts *f when it does not run yet; false when it does not answer. */
static bool socket_floor_ready(const struct bench *b, struct socket_floor **f, bool python)
{
    if (*f == NULL)
        *f = socket_floor_create(b, python);
    return *f != NULL && (*f)->pid > 0 && socket_call(*f, 1) == 0;
}

static int socket_run(struct bench *b, struct socket_floor *f, enum place place, unsigned gap_us, struct result *ret)
{
    place_thread(b, place);
    place_process(b, f->pid, place);
    return measure_loop(b, socket_call, f, gap_us, ret);
}

int run_c_socketpair(struct bench *b, int place, struct result *ret)
{
    if (!socket_floor_ready(b, &b->c_socket, false))
        return result_fail(ret, "the other side of the C socketpair does not answer");
    return socket_run(b, b->c_socket, (enum place)place, 0, ret);
}

int run_py_socketpair(struct bench *b, int place, struct result *ret)
{
    if (!socket_floor_ready(b, &b->py_socket[0], true))
        return result_fail(ret, "%s socket_peer.py does not answer", b->o.python);
    return socket_run(b, b->py_socket[0], (enum place)place, 0, ret);
}

int run_py_socketpair_sparse(struct bench *b, int gap_us, struct result *ret)
{
    if (!socket_floor_ready(b, &b->py_socket[0], true))
        return result_fail(ret, "%s socket_peer.py does not answer", b->o.python);
    return socket_run(b, b->py_socket[0], PLACE_FREE, (unsigned)gap_us, ret);
}

struct checkout {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct socket_floor *idle[CONTENDED_WORKERS];
    int n_idle;
};

static int checkout_call(void *ctx, uint32_t n)
{
    struct checkout *c = ctx;
    pthread_mutex_lock(&c->lock);
    while (c->n_idle == 0)
        pthread_cond_wait(&c->freed, &c->lock);
    struct socket_floor *f = c->idle[--c->n_idle];
    pthread_mutex_unlock(&c->lock);
    int rc = socket_call(f, n);
    pthread_mutex_lock(&c->lock);
    c->idle[c->n_idle++] = f;
    pthread_cond_signal(&c->freed);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int run_py_socketpair_contended(struct bench *b, int arg, struct result *ret)
{
    (void)arg;
    struct checkout c = {.lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER};
    void *ctx[CONTENDED_CALLERS];
    for (int i = 0; i < CONTENDED_WORKERS; i++) {
        if (!socket_floor_ready(b, &b->py_socket[i], true))
            return result_fail(ret, "%s socket_peer.py does not answer", b->o.python);
        place_process(b, b->py_socket[i]->pid, PLACE_FREE);
        c.idle[c.n_idle++] = b->py_socket[i];
    }
    for (int i = 0; i < CONTENDED_CALLERS; i++)
        ctx[i] = &c;
    place_thread(b, PLACE_FREE);
    if (hogs_start(b, ret) != BENCH_OK)
        return ret->status;
    int rc = measure_threads(b, checkout_call, ctx, CONTENDED_CALLERS, ret);
    hogs_stop(b);
    return rc;
}

static void socket_close(struct socket_floor **f)
{
    if (*f == NULL)
        return;
    close((*f)->fd);
    child_end((*f)->pid);
    free(*f);
    *f = NULL;
}

void socket_floor_close(struct bench *b)
{
    socket_close(&b->c_socket);
    for (int i = 0; i < CONTENDED_WORKERS; i++)
        socket_close(&b->py_socket[i]);
}
