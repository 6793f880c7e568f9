/* The type Stream: what a function sees of a call for a stream. A plain function sends with send() and iterates over what comes in; the event loop
 * uses push(), pull() and block(), by way of snakepit_bridge._streams.
 *
 * Invariant: usable after the call, when everything raises RuntimeError.
 * Failure: Cancelled when the call shall end; what encoding a value raises. Thread: any of the call. */
#include "_snakepit_inner.h"

enum { FOR_CREDIT = 1, FOR_INBOX = 2 };

static struct stream *stream_of_self(PyObject *self)
{
    return (struct stream *)(void *)self;
}

static PyObject *stream_send_method(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", "metadata", "is_final", NULL};
    PyObject *value, *metadata = NULL;
    int final = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$Op:send", names, &value, &metadata, &final) ||
        stream_send(stream_of_self(self), value, metadata, final != 0, true) != 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *stream_push(PyObject *self, PyObject *args)
{
    PyObject *value, *metadata = NULL;
    int final = 0;
    if (!PyArg_ParseTuple(args, "O|Op:push", &value, &metadata, &final))
        return NULL;
    int rc = stream_send(stream_of_self(self), value, metadata, final != 0, false);
    return rc < 0 ? NULL : PyBool_FromLong(rc == 0);
}

static PyObject *not_yet(void)
{
    Py_RETURN_NONE;
}

static PyObject *stream_pull(PyObject *self, PyObject *unused)
{
    struct stream *s = stream_of_self(self);
    bool none = false;
    (void)unused;
    if (stream_is_open(s) != 0 || (s->in.n == 0 && !s->ended && inner_poll(s->lane) != 0))
        return NULL;
    PyObject *value = stream_receive(s, false, &none);
    if (value == NULL)
        return PyErr_Occurred() != NULL ? NULL : none ? not_yet() : PyTuple_New(0);
    PyObject *tuple = PyTuple_Pack(1, value);
    Py_DECREF(value);
    return tuple;
}

static bool is_there(const struct stream *s, int what)
{
    return what == FOR_CREDIT ? s->chunks > 0 && s->bytes > 0 && stream_has_turn(s) : s->in.n != 0 || s->ended;
}

static PyObject *stream_block(PyObject *self, PyObject *arg)
{
    struct stream *s = stream_of_self(self);
    long what = PyLong_AsLong(arg);
    if (what == -1 && PyErr_Occurred() != NULL)
        return NULL;
    while (s->lane != NULL && !is_there(s, (int)what) && !call_is_cancelled(s->lane, s->id)) {
        PyObject *cancelled = s->lane->st->Cancelled;
        if (inner_wait(s->lane, s->id, &s->waiters) == 0)
            continue;
        if (!PyErr_ExceptionMatches(cancelled))
            return NULL;
        PyErr_Clear(); /* push() or pull() says so */
    }
    Py_RETURN_NONE;
}

static PyObject *stream_next(PyObject *self)
{
    return stream_receive(stream_of_self(self), true, NULL);
}

static PyObject *stream_self(PyObject *self)
{
    Py_INCREF(self);
    return self;
}

static PyObject *stream_inbox(PyObject *self, void *unused)
{
    (void)unused;
    return stream_self(self);
}

static void stream_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    inbox_finish(&stream_of_self(self)->in);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef stream_methods[] = {
    {"send", (PyCFunction)(void (*)(void))stream_send_method, METH_VARARGS | METH_KEYWORDS,
     "send(value, *, metadata=None, is_final=False): one chunk. Waits while the host takes no more."},
    {"push", stream_push, METH_VARARGS, "push(value[, metadata[, is_final]]): the same without waiting; False: not now."},
    {"pull", stream_pull, METH_NOARGS, "What has come in: (value,), () at the end, None when there is nothing yet."},
    {"block", stream_block, METH_O, "Waits until push() (1) or pull() (2) would get on. Any thread."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef stream_getters[] = {
    {"inbox", stream_inbox, NULL, "What the host sends, to iterate over.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "The stream of the call that runs: send() to the host, and iterate over what it sends."},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_iter, stream_self},
    {Py_tp_iternext, stream_next},
    {Py_tp_methods, stream_methods},
    {Py_tp_getset, stream_getters},
    {0, NULL},
};

#ifdef Py_TPFLAGS_DISALLOW_INSTANTIATION
#define ONLY_BY_A_CALL Py_TPFLAGS_DISALLOW_INSTANTIATION
#else
#define ONLY_BY_A_CALL 0
#endif

PyType_Spec stream_spec = {
    .name = "snakepit_bridge._snakepit.Stream",
    .basicsize = sizeof(struct stream),
    .flags = Py_TPFLAGS_DEFAULT | ONLY_BY_A_CALL,
    .slots = stream_slots,
};
