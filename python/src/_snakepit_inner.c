/* What comes on a lane while a call of it runs, and who may read and write then.
 *
 * Several threads of one call may have something to do with the host: one sends chunks, one reads the inbox. One of them reads the ring, for
 * all: whatever it finds it gives to whom it is for, and says that there is news. The others wait for news, and then look at their own matter. Who
 * has read something gives the reading up again, so that whoever still waits can take it over.
 *
 * Invariants
 *  1. At most one thread reads (l->reading), at most one writes (l->writing); both are set and taken away with the GIL.
 *  2. A thread waits only while it is counted in stream.waiters: a call ends when these are 0 (inner_send_home).
 *  3. Nobody waits without having looked at the cancel word, and who sleeps is woken for it: by the host's nudge, or the signal.
 *
 * Failure: ProtocolError for a frame that has no place here, after which the lane ends (l->broken). Thread: any of the call, with the GIL. */
#include "_snakepit_inner.h"

#include <limits.h>

bool inner_look(struct lane *l)
{
    return __atomic_load_n(&l->recall, __ATOMIC_SEQ_CST) != 0 ||
           __atomic_load_n(&l->status->cancel, __ATOMIC_ACQUIRE) == l->running.id;
}

static void news_tell(struct lane *l)
{
    __atomic_add_fetch(&l->news, 1, __ATOMIC_SEQ_CST);
    if (l->waiting != 0)
        (void)l->in.waiter.sys->futex_wake(&l->news, INT_MAX);
}

static void news_wait(struct lane *l)
{
    uint32_t seen = __atomic_load_n(&l->news, __ATOMIC_SEQ_CST);
    l->waiting++;
    Py_BEGIN_ALLOW_THREADS(void) l->in.waiter.sys->futex_wait(&l->news, seen, UINT64_MAX);
    Py_END_ALLOW_THREADS l->waiting--;
}

/* From here to there the signal raises nothing on the lane's own thread: what waits in C looks at the cancel word itself. */
static bool hold(struct lane *l)
{
    bool own = pthread_equal(l->thread, pthread_self());
    if (own)
        __atomic_store_n(&l->held, l->held + 1, __ATOMIC_RELAXED);
    return own;
}

static void let(struct lane *l, bool own)
{
    if (own)
        __atomic_store_n(&l->held, l->held - 1, __ATOMIC_RELAXED);
}

/* ---- writing ---- */

int inner_write_begin(struct lane *l)
{
    unsigned long own = PyThread_get_thread_ident();
    while (l->writing) {
        if (l->writer == own) {
            PyErr_SetString(PyExc_RuntimeError, "a value is being sent already, by this thread");
            return -1;
        }
        news_wait(l);
    }
    l->writing = true;
    l->writer = own;
    return 0;
}

void inner_write_end(struct lane *l)
{
    l->writing = false;
    if (l->waiting != 0)
        news_tell(l);
}

/* ---- reading ---- */

static int break_lane(struct lane *l, const char *why, int kind)
{
    l->broken = true;
    lane_release(l);
    PyErr_Format(l->st->ProtocolError, "%s (kind %d)", why, kind);
    return -1;
}

static struct stream *stream_of(const struct lane *l, uint64_t id)
{
    struct stream *s = l->stream;
    while (s != NULL && s->id != id)
        s = s->outer;
    return s;
}

int inner_take(struct lane *l, const struct frame *f)
{
    struct stream *s;
    int rc = 1;
    switch (f->kind) {
    case FRAME_CREDIT:
    case FRAME_SEND:
    case FRAME_SEND_END:
        s = stream_of(l, f->id);
        if (s != NULL && stream_take(l, s, f) != 0)
            return break_lane(l, "a frame of a stream that is none", f->kind);
        break;
    default:
        rc = 0;
    }
    if (rc == 1)
        lane_release(l);
    return rc;
}

static int take(struct lane *l, const uint8_t *data, size_t n)
{
    struct frame f;
    if (n > l->max_frame || frame_parse(data, n, &f) != 0)
        return break_lane(l, "a malformed frame in the ring", -1);
    int rc = inner_take(l, &f);
    return rc == 0 ? break_lane(l, "a frame that has no place in a call", f.kind) : rc < 0 ? -1 : 0;
}

static void reading_ends(struct lane *l)
{
    __atomic_store_n(&l->reading, 0, __ATOMIC_RELAXED);
    if (l->waiting != 0)
        news_tell(l);
}

int inner_poll(struct lane *l)
{
    int rc = 0;
    if (l->reading != 0)
        return 0;
    __atomic_store_n(&l->reading, 1, __ATOMIC_RELAXED);
    while (rc == 0 && ring_has_data(&l->in)) {
        const uint8_t *data;
        size_t n;
        if (ring_peek(&l->in, &data, &n) != RING_OK)
            break; /* fragments are for who waits */
        rc = take(l, data, n);
    }
    reading_ends(l);
    return rc;
}

/* 0: something may have come. */
static int read_one(struct lane *l)
{
    const uint8_t *data;
    size_t n = 0;
    __atomic_store_n(&l->reading, 1, __ATOMIC_RELAXED);
    int rc = lane_next(l, &data, &n);
    if (rc == 1)
        rc = take(l, data, n);
    else if (rc == 0 && l->eof) {
        PyErr_SetString(PyExc_ConnectionError, "the host has gone");
        rc = -1;
    }
    reading_ends(l);
    return rc;
}

int inner_wait(struct stream *s)
{
    struct lane *l = s->lane;
    if (call_is_cancelled(l, s->id)) {
        PyErr_SetNone(l->st->Cancelled);
        return -1;
    }
    bool own = hold(l);
    int rc = 0;
    s->waiters++;
    if (l->reading == 0)
        rc = read_one(l);
    else
        news_wait(l);
    s->waiters--;
    let(l, own);
    if (s->lane == NULL && l->waiting != 0)
        news_tell(l); /* its end waits for this */
    return rc == 0 && own ? PyErr_CheckSignals() : rc;
}

void inner_send_home(struct stream *s)
{
    struct lane *l = s->lane;
    l->stream = s->outer;
    s->lane = NULL;
    while (s->waiters != 0 || l->writing) {
        __atomic_store_n(&l->recall, 1, __ATOMIC_SEQ_CST);
        ring_nudge(l->in.waiter.sys, &l->in.shared->data_bell);
        news_tell(l);
        news_wait(l);
    }
    __atomic_store_n(&l->recall, 0, __ATOMIC_SEQ_CST);
}
