/* SessionContext.call_host_tool of calls on the lanes of this extension: no dict of the named parameters, and no frame of Python, stands between the call
 * and the ring. Whatever is out of the ordinary is snakepit_bridge._host_tools.call's, which is all of it where there is no extension.
 *
 * Failure: as that. Thread: any of the call, with the GIL. */
#include "_snakepit_inner.h"

#include <structmember.h>

/* A slot of the class, which has a place of its own in each of its objects. */
static PyObject *slot(PyObject *self, Py_ssize_t at)
{
    return *(PyObject **)(void *)((char *)self + at);
}

static PyObject *call_host_tool(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    struct state *st = PyModule_GetState(module);
    bool named = names != NULL && PyTuple_GET_SIZE(names) != 0, given = n > 2 && args[2] != Py_None;
    PyObject *lane = NULL;
    if (n >= 2 && (PyObject *)Py_TYPE(args[0]) == st->SessionContext && PyUnicode_Check(args[1]) &&
        (n == 2 || n == 3 || (n == 4 && args[3] == Py_None)) && !(given && (named || !PyDict_CheckExact(args[2]))))
        lane = slot(args[0], st->context_lane);
    if (lane == NULL || (PyObject *)Py_TYPE(lane) != st->lane_type)
        return PyObject_Vectorcall(st->call, args, (size_t)n, names);
    unsigned long long id = PyLong_AsUnsignedLongLong(slot(args[0], st->context_id));
    if (id == (unsigned long long)-1 && PyErr_Occurred() != NULL)
        return NULL;
    struct question q = {.kind = FRAME_TOOL_CALL, .name = args[1], .parameters = Py_None, .binary = Py_None};
    if (named) {
        q.names = names;
        q.named = args + n;
    } else if (given && PyDict_GET_SIZE(args[2]) != 0) {
        q.parameters = args[2];
    }
    return tools_ask((struct lane *)(void *)lane, id, &q);
}

static PyMethodDef method = {
    "call_host_tool", (PyCFunction)(void (*)(void))call_host_tool, METH_FASTCALL | METH_KEYWORDS,
    "call_host_tool(self, name, parameters=None, binary=None, /, **named)\n--\n\n"
    "Calls a tool of the host and waits for what it gives; binary: bytes by name, beside the parameters. "
    "HostToolError when the tool fails; ValueError when there is none of that name."};

static int find_slot(PyObject *type, const char *name, Py_ssize_t *ret)
{
    PyObject *d = PyObject_GetAttrString(type, name);
    int rc = -1;
    if (d != NULL && Py_TYPE(d) == &PyMemberDescr_Type) {
        *ret = ((PyMemberDescrObject *)(void *)d)->d_member->offset;
        rc = 0;
    } else if (d != NULL) {
        PyErr_Format(PyExc_ImportError, "%s of the context is no slot", name);
    }
    Py_XDECREF(d);
    return rc;
}

int context_add(PyObject *module)
{
    struct state *st = PyModule_GetState(module);
    if (find_slot(st->SessionContext, "_lane", &st->context_lane) != 0 ||
        find_slot(st->SessionContext, "_id", &st->context_id) != 0)
        return -1;
    PyObject *function = PyCFunction_NewEx(&method, module, NULL);
    PyObject *own = function != NULL ? PyInstanceMethod_New(function) : NULL;
    int rc = own != NULL ? PyObject_SetAttrString(st->SessionContext, "call_host_tool", own) : -1;
    if (rc == 0)
        rc = PyObject_SetAttrString(st->SessionContext, "call_elixir_tool", own);
    Py_XDECREF(own);
    Py_XDECREF(function);
    return rc;
}
