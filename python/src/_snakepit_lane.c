/* The type Lane: what Python sees of a lane.
 *
 * Invariants: one thread serves a lane at a time (a second one gets RuntimeError); the mapping lives as long as the object.
 * Failure: ProtocolError when the host breaks the ring or the frames. Thread: serve() belongs to one; cancelled() is for any. */
#include "_snakepit_lane.h"

#include <sys/mman.h>
#include <unistd.h>

#include "_snakepit_crash.h"
#include "_snakepit_inner.h"
#include "_snakepit_look.h"

#define SPIN_NS 50000

static int lane_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"segment_fd", "index",  "control_fd", "commands", "on_control",
                            "max_frame",  "prefix", "spin_ns",    "threaded", NULL};
    struct lane *l = (struct lane *)(void *)self;
    int segment_fd, index, control_fd, threaded = 0;
    PyObject *commands, *on_control = Py_None;
    unsigned long long max_frame = FRAME_MAX_DEFAULT, prefix = 0, spin_ns = SPIN_NS;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiiO|O$KKKp:Lane", names, &segment_fd, &index, &control_fd, &commands,
                                     &on_control, &max_frame, &prefix, &spin_ns, &threaded))
        return -1;
    if (l->map != NULL || index < 0) {
        PyErr_SetString(PyExc_ValueError, l->map != NULL ? "a lane is made once" : "a lane's index is not negative");
        return -1;
    }
    l->st = state_of_type(Py_TYPE(self));
    if (l->st == NULL)
        return -1;
    Py_INCREF(commands);
    Py_XSETREF(l->commands, commands);
    Py_INCREF(on_control);
    Py_XSETREF(l->on_control, on_control);
    l->threaded = threaded != 0;
    l->listens = on_control != Py_None && !l->threaded;
    l->control_fd = l->listens || l->threaded ? control_fd : -1;
    l->max_frame = (size_t)max_frame;
    l->prefix = prefix;
    l->spin_ns = spin_ns;
    l->index = (unsigned)index;
    return lane_attach(l, segment_fd, (unsigned)index);
}

static int lane_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct lane *l = (struct lane *)(void *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(l->commands);
    Py_VISIT(l->on_control);
    for (unsigned i = 0; i < l->calls.n; i++)
        Py_VISIT(l->calls.known[i].fn);
    for (unsigned i = 0; i < l->streams.n; i++)
        Py_VISIT(l->streams.known[i].fn);
    return 0;
}

static void clear_table(struct command_table *table)
{
    for (unsigned i = 0; i < table->n; i++)
        Py_CLEAR(table->known[i].fn);
    table->n = 0;
}

static int lane_clear(PyObject *self)
{
    struct lane *l = (struct lane *)(void *)self;
    Py_CLEAR(l->commands);
    Py_CLEAR(l->on_control);
    clear_table(&l->calls);
    clear_table(&l->streams);
    Py_CLEAR(l->last_names);
    text_cache_finish(&l->texts);
    return 0;
}

static void lane_dealloc(PyObject *self)
{
    struct lane *l = (struct lane *)(void *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    lane_clear(self);
    incoming_finish(&l->incoming);
    inner_finish(l);
    PyMem_RawFree(l->running.fields);
    if (l->map != NULL)
        munmap(l->map, l->map_n);
    type->tp_free(self);
    Py_DECREF(type);
}

static int bad_frame(struct lane *l, const char *why, int kind)
{
    lane_release(l);
    PyErr_Format(l->st->ProtocolError, "%s (kind %d)", why, kind);
    return -1;
}

/* As lane_serve_call: a call for a stream, or what comes too late for one. */
static int serve_other(struct lane *l, const struct frame *f)
{
    if (f->kind == FRAME_STREAM_CALL)
        return lane_serve_stream(l, f);
    int rc = inner_take(l, f);
    return rc == 0 ? bad_frame(l, "a frame that has no place in the ring", f->kind) : rc < 0 ? -1 : 0;
}

static inline int after(int rc)
{
    return rc == 0 ? 1 : rc < 0 ? -1 : 0;
}

/* 1 to go on, 0 when serving is over, -1 with an exception. */
static int serve_one(struct lane *l)
{
    const uint8_t *data;
    size_t n = 0;
    struct frame f;
    if (__builtin_expect(l->aside != NULL, 0))
        return after(inner_serve_aside(l));
    int rc = lane_next(l, &data, &n);
    if (rc <= 0)
        return rc;
    if (n > l->max_frame || frame_parse(data, n, &f) != 0)
        return bad_frame(l, "a malformed frame in the ring", -1);
    rc = __builtin_expect(f.kind == FRAME_CALL, 1) ? lane_serve_call(l, &f) : serve_other(l, &f);
    return after(rc);
}

static PyObject *lane_serve(PyObject *self, PyObject *unused)
{
    struct lane *l = (struct lane *)(void *)self;
    (void)unused;
    if (l->map == NULL || l->serving) {
        PyErr_SetString(PyExc_RuntimeError, "this lane is served already, or was never made");
        return NULL;
    }
    l->serving = true;
    lane_bind_thread(l);
    lane_prepare_farewell(l);
    crash_thread_begins();
    look_lane_begins(l->index);
    recorder_note(l, RECORDER_SERVING, l->index, (uint64_t)getpid());
    int rc;
    do {
        rc = serve_one(l);
    } while (rc > 0);
    recorder_note(l, RECORDER_LEFT, l->index, 0);
    lane_forget_farewell(l);
    l->serving = false;
    return rc < 0 ? NULL : PyBool_FromLong(l->stopped);
}

static PyObject *lane_abandon(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct lane *l = (struct lane *)(void *)self;
    l->forked = true;
    recorder_note(l, RECORDER_FORKED, 0, (uint64_t)getpid());
    if (!l->threaded || pthread_equal(l->thread, pthread_self())) /* those of other threads did not come along */
        lane_forget_farewell(l);                                  /* the end of this child is not the worker's */
    Py_RETURN_NONE;
}

static PyObject *lane_cancelled(PyObject *self, PyObject *arg)
{
    struct lane *l = (struct lane *)(void *)self;
    unsigned long long id = PyLong_AsUnsignedLongLong(arg);
    if (id == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    bool is = l->map != NULL && id != 0 && __atomic_load_n(&l->status->cancel, __ATOMIC_ACQUIRE) == id;
    if (is && __atomic_exchange_n(&l->cancel_seen, id, __ATOMIC_RELAXED) != id) /* it may be asked for over and over */
        recorder_note(l, RECORDER_CANCEL_SEEN, 0, id);
    return PyBool_FromLong(is);
}

/* For the handler of the cancel signal. The host has written the status word before it sent the signal; which call runs now is what
 * counts, and for each the exception comes once. */
static PyObject *lane_interrupted(PyObject *self, PyObject *unused)
{
    struct lane *l = (struct lane *)(void *)self;
    (void)unused;
    if (l->map == NULL || !l->running.active || l->held != 0 || !pthread_equal(l->thread, pthread_self()) ||
        l->raised == l->running.id || __atomic_load_n(&l->status->raise, __ATOMIC_ACQUIRE) != l->running.id)
        Py_RETURN_FALSE;
    l->raised = l->running.id;
    recorder_note(l, RECORDER_RAISED, 0, l->raised);
    Py_RETURN_TRUE;
}

static PyObject *lane_raising(PyObject *self, PyObject *arg)
{
    struct lane *l = (struct lane *)(void *)self;
    unsigned long long id = PyLong_AsUnsignedLongLong(arg);
    if (id == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(l->map != NULL && id != 0 && __atomic_load_n(&l->status->raise, __ATOMIC_ACQUIRE) == id);
}

static PyObject *lane_make_context(PyObject *self, PyObject *unused)
{
    struct lane *l = (struct lane *)(void *)self;
    struct running *c = &l->running;
    (void)unused;
    if (!c->active)
        Py_RETURN_NONE;
    c->asked = true;
    if (c->context != NULL) {
        Py_INCREF(c->context);
        return c->context;
    }
    PyObject *cancelled = PyObject_GetAttrString(self, "cancelled");
    if (cancelled == NULL)
        return NULL;
    c->context =
        PyObject_CallFunction(l->st->SessionContext, "KKy#KNOO", (unsigned long long)c->id, (unsigned long long)c->stamp,
                              c->fields != NULL ? (const char *)c->fields : "", (Py_ssize_t)c->fields_n,
                              (unsigned long long)l->prefix, cancelled, c->times_cut ? Py_True : Py_False, self);
    Py_XINCREF(c->context);
    return c->context;
}

/* How often it slept and for how long it span: for tests and for the curious. Read beside the thread that counts: a number may be old. */
__attribute__((no_sanitize("thread"))) static PyObject *lane_waits(PyObject *self, PyObject *unused)
{
    const struct ring_waiter *w = &((struct lane *)(void *)self)->in.waiter;
    (void)unused;
    return Py_BuildValue("{s:K,s:K,s:K}", "sleeps", (unsigned long long)w->sleeps, "spun_ns", (unsigned long long)w->spun_ns,
                         "usual_ns", (unsigned long long)w->usual_ns);
}

static PyMethodDef lane_methods[] = {
    {"serve", lane_serve, METH_NOARGS, "Serves calls until STOP (True) or the end of the control socket (False)."},
    {"abandon", lane_abandon, METH_NOARGS, "After a fork, in the child: never answer, end with the call."},
    {"cancelled", lane_cancelled, METH_O, "Shall the call with this id end?"},
    {"interrupted", lane_interrupted, METH_NOARGS,
     "Shall Cancelled be raised in the synchronous call that runs? True once a call."},
    {"throw", lane_throw, METH_VARARGS,
     "throw([id, coroutine]): raises Cancelled in the thread of the lane, if the host wants that for the synchronous call that "
     "runs, or for "
     "the call with this id, while this coroutine of it runs. True once a call. Any thread."},
    {"stop", lane_stop, METH_NOARGS, "Has serve() end when no call stands in the ring. Any thread."},
    {"send_control", lane_send_control, METH_O,
     "Sends a frame on the control socket that all lanes ring bells on. Any thread."},
    {"raising", lane_raising, METH_O, "Shall the call with this id end by an exception?"},
    {"ask", (PyCFunction)(void (*)(void))lane_ask, METH_FASTCALL,
     "ask(id, name, parameters, binary): calls a tool of the host for the call with this id. parameters: a dict or None; "
     "binary: an encoded map, or None."},
    {"ask_stream", (PyCFunction)(void (*)(void))lane_ask_stream, METH_FASTCALL,
     "ask_stream(id, name, parameters, binary, chunks, bytes): the same of a tool that streams: what its values come out of. "
     "Of "
     "so many chunks and bytes it holds what is not taken yet."},
    {"list_tools", lane_list_tools, METH_O, "The tools of the host that the call with this id sees."},
    {"make_context", lane_make_context, METH_NOARGS, "The context of the synchronous call that runs, or None."},
    {"waits", lane_waits, METH_NOARGS, "How the lane has waited so far."},
    {NULL, NULL, 0, NULL},
};

static PyObject *lane_commands(PyObject *self, void *unused)
{
    struct lane *l = (struct lane *)(void *)self;
    (void)unused;
    PyObject *commands = l->commands != NULL ? l->commands : Py_None;
    Py_INCREF(commands);
    return commands;
}

static PyGetSetDef lane_getters[] = {
    {"commands", lane_commands, NULL, "What it was made with.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc,
     "One lane of the worker: Lane(segment_fd, index, control_fd, commands, on_control=None, *, max_frame, prefix, spin_ns, "
     "threaded)"},
    {Py_tp_init, lane_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, lane_dealloc},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_methods, lane_methods},
    {Py_tp_getset, lane_getters},
    {0, NULL},
};

PyType_Spec lane_spec = {
    .name = "snakepit_bridge._snakepit.Lane",
    .basicsize = sizeof(struct lane),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = lane_slots,
};
