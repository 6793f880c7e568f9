/* Descriptors of the simulated machine. See sim.h.
 *
 * A stream is a queue of bytes with what travels beside them (descriptors, as by SCM_RIGHTS). A file is one end of a stream, or something
 * that has no stream; it lives as long as somebody has it open. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sim.h"

enum { STREAM = 8192, BESIDE = 16, FILES = 1024, STREAMS = 1024, WATCHES = 256 };

struct beside { /* travels with the byte at `at` */
    uint64_t at;
    struct file *files[OS_MAX_FDS];
    int n;
};

struct stream {
    uint64_t read, written; /* bytes since the beginning */
    unsigned first, n_beside;
    bool reader_gone, writer_gone;
    unsigned ends; /* files that have one */
    struct beside beside[BESIDE];
    uint8_t data[STREAM];
};

struct watch {
    struct file *file;
    uint32_t events;
    void *data;
};

struct file {
    enum file_kind kind;
    int refs;
    struct stream *in, *out;
    struct proc *proc;
    uint64_t count;
    void *memory;
    size_t bytes;
    struct watch *watches;
    unsigned n_watches;
    struct file *watched_by;
};

static struct file files[FILES], *free_files[FILES];
static struct stream *streams[STREAMS]; /* free ones */
static unsigned n_free_files, n_free_streams, n_made, n_open;
static struct file *fds[SIM_FDS];
static unsigned n_fds;

void file_reset(void)
{
    if (n_made == 0) {
        n_made = FILES;
        for (unsigned i = 0; i < FILES; i++)
            free_files[n_free_files++] = &files[i];
    }
}

unsigned file_count(void)
{
    return n_open;
}

static struct file *file_new(enum file_kind kind)
{
    if (n_free_files == 0)
        sim_fail("the simulator has no file left");
    struct file *f = free_files[--n_free_files];
    *f = (struct file){.kind = kind, .refs = 1};
    n_open++;
    return f;
}

static struct stream *stream_new(void)
{
    struct stream *s = n_free_streams != 0 ? streams[--n_free_streams] : malloc(sizeof *s);
    if (s == NULL)
        sim_fail("no memory for a stream");
    memset(s, 0, offsetof(struct stream, beside));
    s->ends = 2;
    return s;
}

static void stream_free(struct stream *s)
{
    while (s->n_beside > 0) {
        struct beside *b = &s->beside[s->first];
        for (int i = 0; i < b->n; i++)
            file_unref(b->files[i]);
        s->first = (s->first + 1) % BESIDE;
        s->n_beside--;
    }
    if (n_free_streams < STREAMS)
        streams[n_free_streams++] = s;
    else
        free(s);
}

struct file *file_ref(struct file *f)
{
    f->refs++;
    return f;
}

/* One end has gone; with the second the stream goes. */
static void let_go(struct stream *s, bool reader)
{
    if (s == NULL)
        return;
    if (reader)
        s->reader_gone = true;
    else
        s->writer_gone = true;
    if (--s->ends == 0)
        stream_free(s);
}

void file_unref(struct file *f)
{
    if (f == NULL || --f->refs > 0)
        return;
    struct stream *in = f->in, *out = f->out;
    f->in = f->out = NULL;
    let_go(in, true);
    let_go(out, false);
    if (f->watched_by != NULL)
        file_epoll_ctl(f->watched_by, EPOLL_CTL_DEL, f, 0, NULL);
    if (f->proc != NULL)
        proc_unref(f->proc);
    free(f->watches);
    if (f->kind == FILE_MEMORY)
        free(f->memory);
    f->kind = 0;
    n_open--;
    free_files[n_free_files++] = f;
}

struct file *file_pidfd(struct proc *p)
{
    struct file *f = file_new(FILE_PIDFD);
    f->proc = proc_ref(p);
    return f;
}

void file_socketpair(struct file *ret[2])
{
    struct stream *a = stream_new(), *b = stream_new();
    ret[0] = file_new(FILE_SOCKET);
    ret[1] = file_new(FILE_SOCKET);
    ret[0]->in = ret[1]->out = a;
    ret[0]->out = ret[1]->in = b;
}

void file_pipe(struct file *ret[2])
{
    ret[0] = file_new(FILE_PIPE_READ);
    ret[1] = file_new(FILE_PIPE_WRITE);
    ret[0]->in = ret[1]->out = stream_new();
}

struct file *file_event(void)
{
    return file_new(FILE_EVENT);
}

struct file *file_epoll(void)
{
    struct file *f = file_new(FILE_EPOLL);
    f->watches = calloc(WATCHES, sizeof *f->watches);
    return f;
}

struct file *file_memory(size_t n)
{
    struct file *f = file_new(FILE_MEMORY);
    f->memory = aligned_alloc(64, (n + 63) & ~(size_t)63);
    f->bytes = n;
    memset(f->memory, 0, n);
    return f;
}

void *file_map(struct file *f)
{
    return f->memory;
}

size_t file_size(const struct file *f)
{
    return f->bytes;
}

enum file_kind file_kind(const struct file *f)
{
    return f->kind;
}

struct proc *file_proc(const struct file *f)
{
    return f->proc;
}

/* ---- bytes ---- */

ssize_t file_write(struct file *f, const void *data, size_t n, struct file *const *with, int n_with)
{
    if (f->kind == FILE_EVENT) {
        f->count++;
        return (ssize_t)n;
    }
    struct stream *s = f->out;
    if (s == NULL)
        return -EBADF;
    if (s->reader_gone || s->writer_gone)
        return -EPIPE;
    size_t room = STREAM - (size_t)(s->written - s->read);
    if (room == 0 || (n_with > 0 && (room < n || s->n_beside == BESIDE)))
        return -EAGAIN;
    if (n > room)
        n = room;
    if (n_with > 0) {
        struct beside *b = &s->beside[(s->first + s->n_beside++) % BESIDE];
        *b = (struct beside){.at = s->written, .n = n_with};
        for (int i = 0; i < n_with; i++)
            b->files[i] = file_ref(with[i]);
    }
    for (size_t i = 0; i < n; i++)
        s->data[(s->written + i) % STREAM] = ((const uint8_t *)data)[i];
    s->written += n;
    return (ssize_t)n;
}

static void take_beside(struct stream *s, size_t n, struct file **ret_with, int *ret_n_with)
{
    int room = ret_n_with != NULL ? *ret_n_with : 0;
    if (ret_n_with != NULL)
        *ret_n_with = 0;
    while (s->n_beside > 0 && s->beside[s->first].at < s->read + n) {
        struct beside *b = &s->beside[s->first];
        for (int i = 0; i < b->n; i++) {
            if (i < room)
                ret_with[(*ret_n_with)++] = b->files[i];
            else
                file_unref(b->files[i]);
        }
        room = 0;
        s->first = (s->first + 1) % BESIDE;
        s->n_beside--;
    }
}

ssize_t file_read(struct file *f, void *data, size_t n, struct file **ret_with, int *ret_n_with)
{
    if (f->kind == FILE_EVENT) {
        if (f->count == 0)
            return -EAGAIN;
        memcpy(data, &f->count, sizeof f->count);
        f->count = 0;
        return sizeof f->count;
    }
    struct stream *s = f->in;
    if (s == NULL)
        return -EBADF;
    size_t there = (size_t)(s->written - s->read);
    if (there == 0) {
        if (ret_n_with != NULL)
            *ret_n_with = 0;
        return s->writer_gone || s->reader_gone ? 0 : -EAGAIN;
    }
    if (n > there)
        n = there;
    take_beside(s, n, ret_with, ret_n_with);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)data)[i] = s->data[(s->read + i) % STREAM];
    s->read += n;
    return (ssize_t)n;
}

void file_shutdown(struct file *f)
{
    if (f->kind != FILE_SOCKET)
        return;
    f->in->reader_gone = true;
    f->out->writer_gone = true;
}

bool file_readable(const struct file *f)
{
    switch (f->kind) {
    case FILE_EVENT:
        return f->count != 0;
    case FILE_EPOLL:
        return file_epoll_ready(f);
    case FILE_PIDFD:
        return f->proc->state == PROC_ZOMBIE;
    case FILE_SOCKET:
    case FILE_PIPE_READ:
        return f->in->written != f->in->read || f->in->writer_gone || f->in->reader_gone;
    default:
        return false;
    }
}

bool file_writable(const struct file *f)
{
    if (f->out == NULL)
        return false;
    return f->out->reader_gone || f->out->writer_gone || f->out->written - f->out->read < STREAM;
}

static bool hung_up(const struct file *f)
{
    if (f->kind == FILE_PIPE_READ)
        return f->in->writer_gone;
    return f->kind == FILE_SOCKET && f->in->writer_gone && f->out->reader_gone;
}

/* ---- epoll ---- */

static uint32_t ready_events(const struct watch *w)
{
    uint32_t ready = 0;
    if ((w->events & EPOLLIN) != 0 && file_readable(w->file))
        ready |= EPOLLIN;
    if ((w->events & EPOLLOUT) != 0 && file_writable(w->file))
        ready |= EPOLLOUT;
    if (hung_up(w->file))
        ready |= EPOLLHUP;
    return ready;
}

/* A watch is a file's, not a number's: it goes with the last reference. Each file is watched at most once. */
int file_epoll_ctl(struct file *ep, int op, struct file *f, uint32_t events, void *data)
{
    unsigned i = 0;
    while (i < ep->n_watches && ep->watches[i].file != f)
        i++;
    bool known = i < ep->n_watches;
    if (op == EPOLL_CTL_ADD) {
        if (known)
            return -EEXIST;
        if (i == WATCHES)
            return -ENOSPC;
        ep->n_watches++;
    } else if (!known) {
        return -ENOENT;
    }
    f->watched_by = op == EPOLL_CTL_DEL ? NULL : ep;
    if (op == EPOLL_CTL_DEL)
        ep->watches[i] = ep->watches[--ep->n_watches];
    else
        ep->watches[i] = (struct watch){f, events, data};
    return 0;
}

bool file_epoll_ready(const struct file *ep)
{
    for (unsigned i = 0; i < ep->n_watches; i++)
        if (ready_events(&ep->watches[i]) != 0)
            return true;
    return false;
}

int file_epoll_wait(struct file *ep, void *events, int max)
{
    struct epoll_event *to = events;
    int n = 0;
    unsigned first = ep->n_watches != 0 ? sim_below(ep->n_watches) : 0;
    for (unsigned i = 0; i < ep->n_watches && n < max; i++) {
        const struct watch *w = &ep->watches[(first + i) % ep->n_watches];
        uint32_t ready = ready_events(w);
        if (ready != 0)
            to[n++] = (struct epoll_event){.events = ready, .data.ptr = w->data};
    }
    return n;
}

/* ---- numbers of the host ---- */

void fd_reset(void)
{
    memset(fds, 0, sizeof fds);
    n_fds = 0;
}

int fd_open(struct file *f)
{
    for (int i = 3; i < SIM_FDS; i++)
        if (fds[i] == NULL) {
            fds[i] = f;
            n_fds++;
            return i;
        }
    file_unref(f);
    return -EMFILE;
}

struct file *fd_get(int fd)
{
    if (fd >= SIM_PROC_FD) {
        struct proc *p = proc_in_slot((unsigned)(fd - SIM_PROC_FD) / PROC_FILES);
        return p != NULL ? p->files[(unsigned)(fd - SIM_PROC_FD) % PROC_FILES] : NULL;
    }
    return fd >= 0 && fd < SIM_FDS ? fds[fd] : NULL;
}

void fd_close(int fd)
{
    if (fd < 0)
        return;
    struct file *f = fd_get(fd);
    if (f == NULL || fd >= SIM_PROC_FD)
        sim_fail("descriptor %d is closed, but not open", fd);
    fds[fd] = NULL;
    n_fds--;
    file_unref(f);
}

unsigned fd_count(void)
{
    return n_fds;
}
