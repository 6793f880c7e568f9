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
#include <string.h>

bool inner_look(struct lane *l)
{
    return __atomic_load_n(&l->recall, __ATOMIC_SEQ_CST) != 0 ||
           __atomic_load_n(&l->status->cancel, __ATOMIC_ACQUIRE) == l->running.id;
}

void inner_tell(struct lane *l)
{
    __atomic_add_fetch(&l->news, 1, __ATOMIC_SEQ_CST);
    if (l->waiting != 0)
        (void)l->in.waiter.sys->futex_wake(&l->news, INT_MAX);
}

void inner_pause(struct lane *l)
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
        inner_pause(l);
    }
    l->writing = true;
    l->writer = own;
    return 0;
}

void inner_write_end(struct lane *l)
{
    l->writing = false;
    if (l->waiting != 0)
        inner_tell(l);
    if (__builtin_expect(l->running.closing != NULL, 0))
        tool_streams_close_late(l);
}

/* ---- reading ---- */

static int break_lane(struct lane *l, const char *why, int kind)
{
    l->broken = true;
    lane_release(l);
    PyErr_Format(l->st->ProtocolError, "%s (kind %d)", why, kind);
    return -1;
}

struct running *inner_level(struct lane *l, uint64_t id)
{
    struct running *c = &l->running;
    while (c != NULL && c->id != id)
        c = c->outer;
    return c;
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
    case FRAME_TOOL_RESULT:
    case FRAME_TOOL_ERROR:
    case FRAME_TOOL_LIST:
        tools_take(l, f);
        break;
    case FRAME_TOOL_CHUNK:
        if (tool_stream_take(l, f) != 0)
            return break_lane(l, "a value that there is no memory for", f->kind);
        break;
    default:
        rc = 0;
    }
    if (rc == 1)
        lane_release(l);
    return rc;
}

/* ---- calls that come while another one runs ---- */

static int put_aside(struct lane *l, const uint8_t *data, size_t n)
{
    struct aside *a = PyMem_RawMalloc(sizeof *a + n);
    if (a == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const struct incoming *in = &l->incoming;
    a->next = NULL;
    a->n = n;
    if (in->bytes == NULL) {
        memcpy(a->frame, data, n);
    } else {
        size_t long_n = (size_t)PyBytes_GET_SIZE(in->bytes), behind = in->at + long_n;
        memcpy(a->frame, data, in->at);
        memcpy(a->frame + in->at, PyBytes_AS_STRING(in->bytes), long_n);
        memcpy(a->frame + behind, data + behind, n - behind);
    }
    if (l->aside == NULL)
        l->aside_end = &l->aside;
    *l->aside_end = a;
    l->aside_end = &a->next;
    lane_release(l);
    return 0;
}

void inner_finish(struct lane *l)
{
    for (struct aside *a = l->aside, *next; a != NULL; a = next) {
        next = a->next;
        PyMem_RawFree(a);
    }
    l->aside = NULL;
}

int inner_serve_aside(struct lane *l)
{
    struct aside *a = l->aside;
    struct frame f;
    l->aside = a->next;
    if (a->next == NULL)
        l->aside_end = &l->aside;
    int rc = frame_parse(a->frame, a->n, &f) != 0 ? break_lane(l, "a malformed frame in the ring", -1)
             : f.kind == FRAME_STREAM_CALL        ? lane_serve_stream(l, &f)
                                                  : lane_serve_call(l, &f);
    PyMem_RawFree(a);
    return rc;
}

static void reading_ends(struct lane *l)
{
    __atomic_store_n(&l->recall, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&l->reading, 0, __ATOMIC_RELAXED);
    if (l->waiting != 0)
        inner_tell(l);
}

/* In a context of its own: neither the task nor the thread that waits has anything to do with it. */
static int serve_nested(struct lane *l, const struct frame *f)
{
    struct running outer = l->running;
    struct recorder_record *ring = l->recorder.ring;
    pthread_t thread = l->thread;
    unsigned long python_id = l->python_id;
    unsigned takes = l->takes;
    uint64_t task = __atomic_load_n(&l->status->task, __ATOMIC_RELAXED);
    PyObject *context = PyContext_New(), *own = NULL, *set;
    if (context == NULL || PyContext_Enter(context) != 0) {
        Py_XDECREF(context);
        return -1;
    }
    bool elsewhere = !pthread_equal(thread, pthread_self());
    if (elsewhere) { /* the calls of this thread are the lane's for a while */
        own = PyObject_GetAttrString((PyObject *)l, "make_context");
        set = own != NULL ? PyObject_CallFunctionObjArgs(l->st->bind_thread, own, NULL) : NULL;
        Py_XDECREF(set);
        Py_XDECREF(own);
        PyErr_Clear();
    }
    l->running = (struct running){.outer = &outer, .depth = outer.depth + 1};
    l->recorder.ring = NULL; /* the record says what the outermost call is */
    lane_bind_thread(l);
    unsigned held = l->held;
    if (!elsewhere) /* then all of them are of this thread */
        __atomic_store_n(&l->held, 0, __ATOMIC_RELAXED);
    reading_ends(l);
    int rc = f->kind == FRAME_STREAM_CALL ? lane_serve_stream(l, f) : lane_serve_call(l, f);
    PyMem_RawFree(l->running.fields);
    if (!elsewhere)
        __atomic_store_n(&l->held, held, __ATOMIC_RELAXED);
    __atomic_store_n(&l->status->task, task, __ATOMIC_RELAXED);
    l->running = outer;
    l->recorder.ring = ring;
    l->thread = thread;
    l->python_id = python_id;
    l->takes = takes;
    if (elsewhere) {
        set = PyObject_CallFunctionObjArgs(l->st->bind_thread, Py_None, NULL);
        Py_XDECREF(set);
    }
    PyContext_Exit(context);
    Py_DECREF(context);
    if (l->waiting != 0)
        inner_tell(l);
    return rc;
}

static int take_call(struct lane *l, const uint8_t *data, size_t n, const struct frame *f)
{
    if ((f->flags & FRAME_NESTED) == 0)
        return put_aside(l, data, n);
    if (!l->running.asking || l->running.depth + 1 == LEVELS)
        return break_lane(l, "a nested call that nothing waits for", f->kind);
    int rc = serve_nested(l, f);
    if (rc == 1)
        PyErr_SetString(PyExc_ConnectionError, "the host has gone");
    l->broken = l->broken || rc != 0;
    return rc != 0 ? -1 : 0;
}

static int take(struct lane *l, const uint8_t *data, size_t n)
{
    struct frame f;
    if (n > l->max_frame || frame_parse(data, n, &f) != 0)
        return break_lane(l, "a malformed frame in the ring", -1);
    if (f.kind == FRAME_CALL || f.kind == FRAME_STREAM_CALL)
        return take_call(l, data, n, &f);
    int rc = inner_take(l, &f);
    return rc == 0 ? break_lane(l, "a frame that has no place in a call", f.kind) : rc < 0 ? -1 : 0;
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

int inner_wait(struct lane *l, uint64_t id, unsigned *waiters)
{
    if (call_is_cancelled(l, id)) {
        PyErr_SetNone(l->st->Cancelled);
        return -1;
    }
    bool own = hold(l);
    int rc = 0;
    ++*waiters;
    if (l->reading == 0 && l->running.id == id)
        rc = read_one(l);
    else
        inner_pause(l);
    --*waiters;
    let(l, own);
    if (*waiters == 0 && l->waiting != 0)
        inner_tell(l); /* its end may wait for this */
    return rc == 0 && own ? PyErr_CheckSignals() : rc;
}

void inner_recall(struct lane *l)
{
    if (l->waiting != 0)
        inner_tell(l);
    if (l->reading == 0)
        return;
    __atomic_store_n(&l->recall, 1, __ATOMIC_SEQ_CST);
    ring_nudge(l->in.waiter.sys, &l->in.shared->data_bell);
}

void inner_send_home(struct stream *s)
{
    struct lane *l = s->lane;
    l->stream = s->outer;
    s->lane = NULL;
    while (s->waiters != 0 || l->writing) {
        inner_recall(l);
        inner_pause(l);
    }
}
