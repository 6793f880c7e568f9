/* Tools of the host that stream, read by a call's code: the type ToolStream, an iterator.
 *
 * A value is decoded when it comes, whoever has read it, and kept until the reader takes it; the window, which the host keeps to, bounds how many there are.
 * What has been taken is granted again in lumps of half a window.
 *
 * Invariants
 *  1. Credit, and that it is closed, are sent only while its call may send (call_has_turn): else later, by who writes next for the call, or by the
 *     reader before he waits. A call that ends closes all of its streams without a word: the host knows.
 *  2. s->lane is there exactly as long as s is in the list of its call.
 *  3. After the last value comes the tool's result, or its failure, once; then nothing.
 *
 * Failure: HostToolError, ValueError for a tool that is not there, what decoding raises; Cancelled when the call shall end; RuntimeError after it. Thread:
 * any of the call, with the GIL. */
#include "_snakepit_inner.h"
#include "wire/mp.h"

/* That the host is still to be told. */
struct late_close {
    struct late_close *next;
    uint64_t id;
};

static struct tool_stream *of(PyObject *self)
{
    return (struct tool_stream *)(void *)self;
}

/* ---- what comes ---- */

void tool_stream_join(struct tool_stream *s, struct lane *l, struct running *c)
{
    s->lane = l;
    s->next = c->tools;
    c->tools = s;
}

void tool_stream_part(struct tool_stream *s)
{
    struct running *c = inner_level(s->lane, s->call);
    struct tool_stream **at = c != NULL ? &c->tools : NULL;
    while (at != NULL && *at != NULL && *at != s)
        at = &(*at)->next;
    if (at != NULL && *at == s)
        *at = s->next;
    s->lane = NULL;
}

static struct tool_stream *find(struct lane *l, uint64_t id)
{
    for (struct running *c = &l->running; c != NULL; c = c->outer)
        for (struct tool_stream *s = c->tools; s != NULL; s = s->next)
            if (s->id == id)
                return s;
    return NULL;
}

int tool_stream_take(struct lane *l, const struct frame *f)
{
    struct tool_stream *s = find(l, f->id);
    if (s == NULL || s->answered)
        return 0; /* it has ended meanwhile */
    if (f->kind == FRAME_TOOL_CHUNK)
        return s->closed ? 0 : inbox_put(l, &s->in, f);
    s->answer = tools_decode(l, f);
    s->kind = s->answer != NULL ? f->kind : -1;
    if (s->answer == NULL)
        s->answer = exception_take();
    s->answered = true;
    return 0;
}

void tool_streams_end(struct lane *l, struct running *c)
{
    struct tool_stream *s;
    while ((s = c->tools) != NULL) {
        Py_INCREF(s);
        tool_stream_part(s);
        while (s->waiters != 0) {
            inner_recall(l);
            inner_pause(l);
        }
        Py_DECREF(s);
    }
    for (struct late_close *k = c->closing, *next; k != NULL; k = next) {
        next = k->next;
        PyMem_RawFree(k);
    }
    c->closing = NULL;
}

/* ---- what goes ---- */

static int send_credit(struct lane *l, uint64_t id, uint64_t chunks, uint64_t bytes)
{
    struct writer w;
    int rc = frame_start(l, &w);
    if (rc == 0 && (rc = writer_room(&w, 2 * MP_HEAD)) == 0) {
        w.p = mp_put_uint(mp_put_uint(w.p, chunks), bytes);
        rc = stream_publish(l, &w, FRAME_TOOL_CREDIT, 0, id);
    }
    writer_finish(&w);
    return rc;
}

static int send_close(struct lane *l, uint64_t id)
{
    struct writer w;
    int rc = frame_start(l, &w);
    if (rc == 0)
        rc = stream_publish(l, &w, FRAME_TOOL_CLOSE, 0, id);
    writer_finish(&w);
    return rc;
}

/* Tells the host what has been taken, once it is half a window. */
static int grant(struct tool_stream *s)
{
    struct lane *l = s->lane;
    if ((2 * s->taken_chunks < s->window_chunks && 2 * s->taken_bytes < s->window_bytes) || s->taken_chunks == 0 ||
        s->answered || s->closed || !call_has_turn(l, s->call))
        return 0;
    if (inner_write_begin(l) != 0)
        return -1;
    int rc = 0;
    if (s->lane != NULL && s->taken_chunks != 0 && call_has_turn(l, s->call)) { /* others may have run meanwhile */
        uint64_t chunks = s->taken_chunks, bytes = s->taken_bytes;
        s->taken_chunks = s->taken_bytes = 0;
        rc = send_credit(l, s->id, chunks, bytes);
    }
    inner_write_end(l);
    return rc;
}

void tool_streams_close_late(struct lane *l)
{
    PyObject *type, *error, *traceback;
    struct late_close *k;
    PyErr_Fetch(&type, &error, &traceback);
    while (!l->writing && !l->running.asking && (k = l->running.closing) != NULL) {
        l->running.closing = k->next;
        l->writing = true; /* what inner_write_end does would come back to here */
        l->writer = PyThread_get_thread_ident();
        if (send_close(l, k->id) != 0)
            PyErr_Clear(); /* the host has gone: the lane hears of that */
        l->writing = false;
        PyMem_RawFree(k);
    }
    if (l->waiting != 0)
        inner_tell(l);
    PyErr_Restore(type, error, traceback);
}

/* Nothing more is wanted. Keeps the exception that is being raised. Never waits for another thread. */
static void close_it(struct tool_stream *s)
{
    struct lane *l = s->lane;
    struct running *c = l != NULL && !s->answered && !s->closed && !l->forked ? inner_level(l, s->call) : NULL;
    s->closed = true;
    inbox_finish(&s->in);
    if (c == NULL)
        return;
    struct late_close *k = PyMem_RawMalloc(sizeof *k);
    if (k == NULL)
        return; /* the end of the call tells the host */
    k->id = s->id;
    k->next = c->closing;
    c->closing = k;
    if (s->waiters != 0)
        inner_recall(l);
    if (call_has_turn(l, s->call))
        tool_streams_close_late(l);
}

/* ---- reading ---- */

static PyObject *pop(struct tool_stream *s)
{
    struct inbox_item item = inbox_pop(&s->in);
    s->taken_chunks++;
    s->taken_bytes += item.bytes;
    if (s->lane != NULL && grant(s) != 0) {
        Py_DECREF(item.value);
        return NULL;
    }
    return inbox_open(item);
}

/* The end, once: NULL, with the failure of the tool, or with what it has returned as the value of StopIteration. */
static PyObject *end(struct tool_stream *s)
{
    PyObject *answer = s->answer, *error = NULL;
    int kind = s->kind;
    s->answer = NULL;
    if (answer == NULL)
        return NULL;
    if (kind == FRAME_TOOL_RESULT) {
        Py_INCREF(answer);
        Py_XSETREF(s->result, answer);
        if (answer != Py_None)
            error = PyObject_CallFunctionObjArgs(PyExc_StopIteration, answer, NULL);
    } else if (kind == FRAME_TOOL_ERROR) {
        error = PyObject_CallFunctionObjArgs(state_of_type(Py_TYPE((PyObject *)s))->tool_failure, s->name, answer, NULL);
    } else {
        error = answer;
        Py_INCREF(error);
    }
    Py_DECREF(answer);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

/* 0; 1: nothing more is to be expected, and what end() says is it; -1 with an exception: the call has ended, or shall. */
static int look(struct tool_stream *s)
{
    if (s->closed || s->answered)
        return 1;
    if (s->lane == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the call has ended: its tools give nothing more");
        return -1;
    }
    if (!call_is_cancelled(s->lane, s->call))
        return 0;
    PyErr_SetNone(s->lane->st->Cancelled);
    return -1;
}

static PyObject *next_value(PyObject *self)
{
    struct tool_stream *s = of(self);
    for (;;) {
        if (s->in.n != 0 && (s->lane != NULL || s->answered))
            return pop(s);
        int rc = look(s);
        if (rc != 0)
            return rc > 0 && !s->closed ? end(s) : NULL;
        if (grant(s) != 0 || (s->in.n == 0 && s->lane != NULL && inner_wait(s->lane, s->call, &s->waiters) != 0))
            return NULL;
    }
}

static PyObject *pull(PyObject *self, PyObject *unused)
{
    struct tool_stream *s = of(self);
    (void)unused;
    if (s->in.n == 0 && !s->answered && !s->closed && s->lane != NULL && inner_poll(s->lane) != 0)
        return NULL;
    if (s->in.n == 0) {
        int rc = look(s);
        if (rc < 0)
            return NULL;
        if (rc == 0)
            Py_RETURN_NONE;
        if (!s->closed && end(s) == NULL && PyErr_Occurred() != NULL && !PyErr_ExceptionMatches(PyExc_StopIteration))
            return NULL;
        PyErr_Clear();
        return PyTuple_New(0);
    }
    PyObject *value = pop(s);
    if (value == NULL)
        return NULL;
    PyObject *tuple = PyTuple_Pack(1, value);
    Py_DECREF(value);
    return tuple;
}

static PyObject *block(PyObject *self, PyObject *unused)
{
    struct tool_stream *s = of(self);
    (void)unused;
    while (s->lane != NULL && s->in.n == 0 && !s->answered && !s->closed && !call_is_cancelled(s->lane, s->call)) {
        PyObject *cancelled = s->lane->st->Cancelled;
        if (grant(s) == 0 && s->lane != NULL && s->in.n == 0 && inner_wait(s->lane, s->call, &s->waiters) == 0)
            continue;
        if (PyErr_Occurred() == NULL)
            continue;
        if (!PyErr_ExceptionMatches(cancelled))
            return NULL;
        PyErr_Clear(); /* pull() says so */
    }
    Py_RETURN_NONE;
}

static PyObject *close_method(PyObject *self, PyObject *unused)
{
    (void)unused;
    close_it(of(self));
    Py_RETURN_NONE;
}

static PyObject *itself(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *iter(PyObject *self)
{
    return itself(self, NULL);
}

static PyObject *leave(PyObject *self, PyObject *args)
{
    (void)args;
    close_it(of(self));
    Py_RETURN_FALSE;
}

static PyObject *get_result(PyObject *self, void *unused)
{
    PyObject *result = of(self)->result != NULL ? of(self)->result : Py_None;
    (void)unused;
    Py_INCREF(result);
    return result;
}

/* ---- the object ---- */

PyObject *lane_ask_stream(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct lane *l = (struct lane *)(void *)self;
    if (n != 6 || !PyUnicode_Check(args[1]) || (args[3] != Py_None && !PyBytes_Check(args[3]))) {
        PyErr_SetString(PyExc_TypeError, "ask_stream(id, name, parameters, binary, chunks, bytes)");
        return NULL;
    }
    unsigned long long id = PyLong_AsUnsignedLongLong(args[0]), chunks = PyLong_AsUnsignedLongLong(args[4]),
                       bytes = PyLong_AsUnsignedLongLong(args[5]);
    if (PyErr_Occurred() != NULL)
        return NULL;
    if (chunks == 0 || chunks > UINT32_MAX || bytes == 0 || bytes > INT64_MAX) {
        PyErr_SetString(PyExc_ValueError, "a window of at least one chunk and one byte");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)(void *)l->st->tool_stream_type;
    struct tool_stream *s = (struct tool_stream *)(void *)type->tp_alloc(type, 0);
    if (s == NULL)
        return NULL;
    s->call = id;
    s->window_chunks = chunks;
    s->window_bytes = bytes;
    Py_INCREF(args[1]);
    s->name = args[1];
    const struct question q = {.kind = FRAME_TOOL_CALL,
                               .name = args[1],
                               .parameters = args[2],
                               .binary = args[3],
                               .window_chunks = chunks,
                               .window_bytes = bytes};
    if (tools_open(l, id, &q, s) == 0)
        return (PyObject *)s;
    Py_DECREF(s);
    return NULL;
}

static void dealloc(PyObject *self)
{
    struct tool_stream *s = of(self);
    PyTypeObject *type = Py_TYPE(self);
    close_it(s);
    if (s->lane != NULL)
        tool_stream_part(s);
    Py_XDECREF(s->name);
    Py_XDECREF(s->answer);
    Py_XDECREF(s->result);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"close", close_method, METH_NOARGS, "Nothing more is wanted: the tool is told so, and the iteration is over."},
    {"pull", pull, METH_NOARGS, "What has come: (value,), () at the end, None when there is nothing yet."},
    {"block", block, METH_NOARGS, "Waits until pull() would get on. Any thread."},
    {"__enter__", itself, METH_NOARGS, "Itself."},
    {"__exit__", leave, METH_VARARGS, "close()."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
    {"result", get_result, NULL, "What the tool has returned, after its last value.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     "What a tool of the host streams to the call that runs: an iterator. The value of its StopIteration is what the "
     "tool has returned."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_iter, iter},
    {Py_tp_iternext, next_value},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {0, NULL},
};

#ifdef Py_TPFLAGS_DISALLOW_INSTANTIATION
#define ONLY_BY_A_CALL Py_TPFLAGS_DISALLOW_INSTANTIATION
#else
#define ONLY_BY_A_CALL 0
#endif

PyType_Spec tool_stream_spec = {
    .name = "snakepit_bridge._snakepit.ToolStream",
    .basicsize = sizeof(struct tool_stream),
    .flags = Py_TPFLAGS_DEFAULT | ONLY_BY_A_CALL,
    .slots = slots,
};
