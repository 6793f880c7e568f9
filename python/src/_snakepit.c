/* The extension module snakepit_bridge._snakepit: the lane loop and the codec in C.
 *
 * Multi-phase initialisation, all state per module: usable in subinterpreters with their own GIL, and without a GIL. What it needs of the
 * package is imported when it is loaded. Failure: ImportError, and the worker goes on in pure Python. */
#include "_snakepit_crash.h"
#include "_snakepit_lane.h"
#include "_snakepit_template.h"

static struct PyModuleDef definition;

static struct state *state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

struct state *state_of_type(PyTypeObject *type)
{
    return PyType_GetModuleState(type);
}

static PyObject *module_encode(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    uint8_t small[256];
    struct writer w = {.st = state_of(module), .base = small, .p = small, .end = small + sizeof small, .policy = POLICY_ERROR};
    PyObject *obj = n > 0 ? args[0] : NULL;
    if (n < 1 || n > 2) {
        PyErr_SetString(PyExc_TypeError, "encode() takes a value and perhaps a policy");
        return NULL;
    }
    if (n == 2 && (w.policy = (int)PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    PyObject *bytes = NULL;
    if (value_encode(&w, obj, 0) == 0)
        bytes = PyBytes_FromStringAndSize((const char *)w.base, w.p - w.base);
    writer_finish(&w);
    return bytes;
}

static PyObject *module_decode(PyObject *module, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) != 0)
        return NULL;
    struct reader r = {.st = state_of(module), .p = view.buf, .end = (const uint8_t *)view.buf + view.len};
#ifndef Py_GIL_DISABLED
    r.cache = &r.st->texts;
#endif
    PyObject *value = value_decode(&r, 0);
    if (value != NULL && r.p != r.end) {
        codec_malformed(r.st, "bytes behind the value");
        Py_CLEAR(value);
    }
    PyBuffer_Release(&view);
    return value;
}

static int add_helper(PyObject **ret, const char *name, const char *module)
{
    PyObject *m = PyImport_ImportModule(module);
    if (m == NULL)
        return -1;
    *ret = PyObject_GetAttrString(m, name);
    Py_DECREF(m);
    return *ret != NULL ? 0 : -1;
}

static int module_exec(PyObject *module)
{
    struct state *st = state_of(module);
    pthread_mutex_init(&st->line.lock, NULL);
#define HELPER_IMPORT(name, from)                                                                                              \
    if (add_helper(&st->name, #name, from) != 0)                                                                               \
        return -1;
    HELPER_LIST(HELPER_IMPORT)
#undef HELPER_IMPORT
    st->lane_type = PyType_FromModuleAndSpec(module, &lane_spec, NULL);
    if (st->lane_type == NULL)
        return -1;
    if (PyModule_AddType(module, (PyTypeObject *)(void *)st->lane_type) != 0)
        return -1;
    st->stream_type = PyType_FromModuleAndSpec(module, &stream_spec, NULL);
    if (st->stream_type == NULL)
        return -1;
    st->tool_stream_type = PyType_FromModuleAndSpec(module, &tool_stream_spec, NULL);
    if (st->tool_stream_type == NULL)
        return -1;
    return context_add(module) == 0 ? template_add(module) : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct state *st = state_of(module);
#define HELPER_VISIT(name, from) Py_VISIT(st->name);
    HELPER_LIST(HELPER_VISIT)
#undef HELPER_VISIT
    Py_VISIT(st->lane_type);
    Py_VISIT(st->stream_type);
    Py_VISIT(st->tool_stream_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct state *st = state_of(module);
#define HELPER_CLEAR(name, from) Py_CLEAR(st->name);
    HELPER_LIST(HELPER_CLEAR)
#undef HELPER_CLEAR
    Py_CLEAR(st->lane_type);
    Py_CLEAR(st->stream_type);
    Py_CLEAR(st->tool_stream_type);
    text_cache_finish(&st->texts);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyMethodDef methods[] = {
    {"encode", (PyCFunction)(void (*)(void))module_encode, METH_FASTCALL,
     "encode(value[, policy]): the encoding of a value. The policy for what cannot leave is POLICY_ERROR of _registry."},
    {"start_heart", heart_start, METH_VARARGS,
     "start_heart(segment_fd[, wake_fd]): a thread that answers the host's heartbeats, for as long as the process lives, and "
     "writes a byte to "
     "wake_fd for each. Once."},
    {"prepare_crash_watch", crash_prepare, METH_NOARGS, "What watch_crashes() needs and a process that is forked can inherit."},
    {"watch_crashes", crash_watch, METH_O,
     "watch_crashes(segment_fd): from here on a fatal signal leaves a report in the segment's crash page. Once. False: it has "
     "none."},
    {"decode", module_decode, METH_O, "The one value that the bytes hold."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

/* clang-format off */
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_snakepit",
    .m_doc = "The lane loop and the codec of snakepit_bridge in C.",
    .m_size = sizeof(struct state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};
/* clang-format on */

PyMODINIT_FUNC PyInit__snakepit(void)
{
    return PyModuleDef_Init(&definition);
}
