/* Calls for a stream: STREAM_CALL, and the chunks that its function makes (docs/internals/python.md).
 *
 * The function gives a generator or another iterator, which is driven here; an asynchronous one, which is driven on the event loop
 * (snakepit_bridge._streams); or it takes a Stream as its argument `stream`, and sends by itself. A chunk is encoded straight into the ring, and shown
 * to the host at once.
 *
 * Invariants
 *  1. A chunk is sent only with credit for it; without, a synchronous producer waits here, without the GIL.
 *  2. Between two chunks the cancel word is looked at.
 *  3. A producer is closed before the answer goes out, however the call ends.
 *  4. After a final chunk no other goes out.
 *
 * Failure: as of any call. Thread: the lane's; what Stream offers any of the call. All with the GIL. */
#include <unistd.h>

#include "_snakepit_inner.h"

#define BREATH 1024 /* chunks between two looks at signals, which an iterator that is written in C has no other time for */

enum { TAKES_STREAM = 1, TAKES_INBOX = 2, TAKES_ASYNC = 4 };

/* ---- chunks ---- */

int stream_is_open(struct stream *s)
{
    if (s->lane != NULL)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "the call that this stream belongs to has ended");
    return -1;
}

int stream_publish(struct lane *l, struct writer *w, int kind, unsigned flags, uint64_t id)
{
    if (l->forked)
        _exit(0);
    lane_hurry(l);
    int rc = frame_send(l, w, kind, flags, id, 0);
    if (rc == 1) {
        PyErr_SetString(PyExc_ConnectionError, "the host has gone");
        return -1;
    }
    return rc;
}

static int write_chunk(struct stream *s, PyObject *value, PyObject *metadata, bool final)
{
    struct lane *l = s->lane;
    struct writer w;
    int rc = frame_start(l, &w);
    w.policy = s->policy;
    w.may_leave = true;
    if (rc == 0)
        rc = value_encode(&w, value, 0);
    if (rc == 0 && metadata != NULL)
        rc = value_encode(&w, metadata, 0);
    if (rc == 0 && writer_size(&w) > l->max_frame)
        rc = writer_grow(&w, 0); /* says so */
    if (rc == 0) {
        s->chunks--;
        s->bytes -= (int64_t)writer_size(&w);
        s->final = final;
        rc = stream_publish(l, &w, FRAME_CHUNK, final ? FRAME_FINAL : 0, s->id);
    }
    writer_finish(&w);
    return rc;
}

static int check_metadata(PyObject **metadata)
{
    if (*metadata == NULL || PyDict_Check(*metadata))
        return 0;
    if (*metadata == Py_None) {
        *metadata = NULL;
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "the metadata of a chunk is a dict");
    return -1;
}

static int cancelled(struct stream *s)
{
    PyErr_SetNone(s->lane->st->Cancelled);
    return -1;
}

/* Until there is credit, and nobody else has the word. 1: not now. */
static int await_credit(struct stream *s, bool wait)
{
    if (s->chunks < s->low && inner_poll(s->lane) != 0)
        return -1;
    while (s->chunks <= 0 || s->bytes <= 0 || !stream_has_turn(s)) {
        if (!wait && !call_is_cancelled(s->lane, s->id))
            return 1;
        if (inner_wait(s->lane, s->id, &s->waiters) != 0 || stream_is_open(s) != 0)
            return -1;
    }
    return call_is_cancelled(s->lane, s->id) ? cancelled(s) : 0;
}

int stream_send(struct stream *s, PyObject *value, PyObject *metadata, bool final, bool wait)
{
    if (check_metadata(&metadata) != 0 || stream_is_open(s) != 0)
        return -1;
    struct lane *l = s->lane;
    for (;;) {
        int rc = await_credit(s, wait);
        if (rc != 0)
            return rc;
        if (s->final) {
            PyErr_SetString(PyExc_RuntimeError, "a chunk after the final one");
            return -1;
        }
        if (inner_write_begin(l) != 0)
            return -1;
        if (s->lane == NULL || (s->chunks > 0 && s->bytes > 0 && stream_has_turn(s)))
            break;
        inner_write_end(l); /* somebody was quicker */
    }
    int rc = s->lane != NULL ? write_chunk(s, value, metadata, final) : stream_is_open(s);
    inner_write_end(l);
    return rc;
}

/* What a generator has made: a value, or a StreamChunk that says more of it. */
static int send_produced(struct stream *s, PyObject *item)
{
    if (__builtin_expect((PyObject *)Py_TYPE(item) != s->lane->st->StreamChunk, 1))
        return stream_send(s, item, NULL, false, true);
    PyObject *value = PyObject_GetAttrString(item, "value"), *metadata = PyObject_GetAttrString(item, "metadata"),
             *final = PyObject_GetAttrString(item, "is_final");
    int truth = value != NULL && metadata != NULL && final != NULL ? PyObject_IsTrue(final) : -1;
    int rc = truth >= 0 ? stream_send(s, value, metadata, truth != 0, true) : -1;
    Py_XDECREF(value);
    Py_XDECREF(metadata);
    Py_XDECREF(final);
    return rc;
}

/* ---- the producer ---- */

/* What it returned: the iterator has ended. NULL: it was an exception. */
static PyObject *returned(void)
{
    if (PyErr_Occurred() == NULL)
        Py_RETURN_NONE;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return NULL;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *value = error != NULL ? PyObject_GetAttrString(error, "value") : NULL;
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return value;
}

/* An iterator that is written in C runs no bytecode, where signals and other threads would have their turn. */
static int breathe(void)
{
    PyEval_RestoreThread(PyEval_SaveThread());
    return PyErr_CheckSignals();
}

static PyObject *produce(struct stream *s, PyObject *it)
{
    iternextfunc next = Py_TYPE(it)->tp_iternext;
    for (unsigned n = 1;; n++) {
        PyObject *item = next(it);
        if (item == NULL)
            return returned();
        int rc = send_produced(s, item);
        Py_DECREF(item);
        if (rc != 0 || (n % BREATH == 0 && breathe() != 0))
            return NULL;
    }
}

/* Closes it, if it can be. With the exception that is being raised, if there is one; one of the closing comes in its place. */
static int close_producer(PyObject *it)
{
    PyObject *type, *error, *traceback, *done = NULL;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *close = PyObject_GetAttrString(it, "close");
    if (close != NULL)
        done = PyObject_CallNoArgs(close);
    else if (PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    Py_XDECREF(close);
    Py_XDECREF(done);
    if (PyErr_Occurred() == NULL) {
        PyErr_Restore(type, error, traceback);
        return type != NULL ? -1 : 0;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return -1;
}

/* Steals it. */
static PyObject *drive(struct lane *l, struct stream *s, PyObject *it)
{
    l->running.active = true;
    PyObject *value = produce(s, it);
    if (close_producer(it) != 0)
        Py_CLEAR(value);
    Py_DECREF(it);
    return value;
}

/* A generator that types.coroutine has marked. */
static bool is_coroutine(PyObject *generator)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyCodeObject *code = PyGen_GetCode((PyGenObject *)(void *)generator);
    bool is = (code->co_flags & CO_ITERABLE_COROUTINE) != 0;
    Py_DECREF(code);
    return is;
#else
    PyCodeObject *code = (PyCodeObject *)(void *)((PyGenObject *)(void *)generator)->gi_code;
    return (code->co_flags & CO_ITERABLE_COROUTINE) != 0;
#endif
}

static bool is_awaitable(PyObject *x)
{
    PyAsyncMethods *m = Py_TYPE(x)->tp_as_async;
    return (m != NULL && m->am_await != NULL) || (PyGen_CheckExact(x) && is_coroutine(x));
}

/* What the function has given, to its end. Steals result. */
static PyObject *follow(struct lane *l, struct stream *s, PyObject *result, unsigned takes)
{
    if (result != NULL && is_awaitable(result))
        result = call_in_loop(l, "settle", result, NULL);
    if (result == NULL)
        return NULL;
    PyAsyncMethods *m = Py_TYPE(result)->tp_as_async;
    if (m != NULL && m->am_anext != NULL) {
        l->running.active = true; /* its context is still to be made */
        return call_in_loop(l, "drive", result, (PyObject *)s);
    }
    if (PyIter_Check(result))
        return drive(l, s, result);
    if ((takes & (TAKES_STREAM | TAKES_INBOX)) != 0)
        return result;
    PyObject *error = PyObject_CallFunctionObjArgs(l->st->streams_nothing, result, NULL);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    Py_DECREF(result);
    return NULL;
}

/* ---- the call ---- */

static uint64_t little(const uint8_t *p, unsigned n)
{
    uint64_t x = 0;
    while (n-- > 0)
        x = x << 8 | p[n];
    return x;
}

static struct stream *open_stream(struct lane *l, const struct frame *f)
{
    const uint8_t *window;
    size_t n;
    if (!frame_field(f, FIELD_STREAM, &window, &n) || n != FIELD_STREAM_SIZE) {
        codec_malformed(l->st, "a call for a stream without its window");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)(void *)l->st->stream_type;
    struct stream *s = (struct stream *)(void *)type->tp_alloc(type, 0);
    if (s == NULL)
        return NULL;
    uint64_t bytes = little(window + 8, 8);
    s->lane = l;
    s->id = f->id;
    s->window_chunks = little(window, 4);
    s->window_bytes = bytes < INT64_MAX ? bytes : INT64_MAX;
    s->chunks = (int64_t)s->window_chunks;
    s->bytes = (int64_t)s->window_bytes;
    s->low = (s->chunks + 1) / 2;
    s->ended = (little(window + 4, 4) & FIELD_STREAM_INBOX) == 0;
    s->outer = l->stream;
    l->stream = s;
    return s;
}

/* The arguments `stream` and `inbox`: for a plain function the stream itself is both. */
static int give(struct lane *l, struct stream *s, struct arguments *a, unsigned takes)
{
    PyObject *what = (PyObject *)s;
    if ((takes & TAKES_ASYNC) != 0)
        what = PyObject_CallMethod(l->commands, "attach", "(O)", s);
    else
        Py_INCREF(what);
    int rc = what != NULL ? 0 : -1;
    if (rc == 0 && (takes & TAKES_STREAM) != 0)
        rc = arguments_give(a, l->st->stream_name, what);
    if (rc == 0 && (takes & TAKES_INBOX) != 0)
        rc = arguments_give(a, l->st->inbox_name, what);
    Py_XDECREF(what);
    return rc;
}

static PyObject *run(struct lane *l, struct stream *s, struct held *h)
{
    unsigned takes = l->takes;
    s->policy = l->running.policy;
    if ((takes & (TAKES_STREAM | TAKES_INBOX)) != 0 && give(l, s, &h->a, takes) != 0)
        return NULL;
    return follow(l, s, call_enter(l, h->fn, &h->a), takes);
}

int lane_serve_stream(struct lane *l, const struct frame *f)
{
    uint64_t id = f->id, took = 0;
    bool timed = (f->flags & FRAME_TIMED) != 0;
    if (call_claim(l, id) != 0) {
        lane_release(l);
        return 0;
    }
    struct held h;
    struct stream *s = open_stream(l, f);
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    int rc = call_prepare(l, f, &h, &l->streams);
    if (s == NULL)
        PyErr_Restore(type, error, traceback);
    if (rc == 0 && s != NULL) {
        uint64_t begun = timed ? lane_now_ns() : 0;
        h.result = run(l, s, &h);
        call_leave(l);
        if (timed)
            took = lane_now_ns() - begun;
    }
    if (l->forked)
        _exit(0);
    if (s != NULL) {
        inner_send_home(s);
        Py_DECREF(s);
    }
    return call_answer(l, &h, id, took);
}
