/* The arguments of a call: from the payload of its frame to what a function is called with.
 *
 * At most FAST_ARGUMENTS positional or named ones go straight into the vector of a vectorcall; whatever else there may be takes the general way, by
 * a tuple and a dict.
 *
 * Failure: CodecError; what has been decoded is let go by arguments_drop. Thread: the lane's, with the GIL. */
#include "_snakepit_call.h"
#include "wire/mp.h"

void arguments_drop(struct arguments *a)
{
    for (Py_ssize_t i = 0; i < a->n; i++)
        Py_DECREF(a->room[1 + i]);
    a->n = 0;
    Py_CLEAR(a->names);
    Py_CLEAR(a->args);
    Py_CLEAR(a->kwargs);
}

static int quick_items(struct reader *r, uint32_t n, struct arguments *a)
{
    for (uint32_t i = 0; i < n; i++) {
        PyObject *item = value_decode(r, 1);
        if (item == NULL) {
            codec_step(r->st, NULL, (Py_ssize_t)i);
            return -1;
        }
        a->room[1 + a->n++] = item;
    }
    return 0;
}

/* Is one of the names the same as an earlier one? Its index, or -1. */
static int repeated(PyObject **names, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = 0; j < i; j++)
            if (names[i] == names[j] || PyUnicode_Compare(names[i], names[j]) == 0)
                return (int)i;
    return -1;
}

/* The names as a tuple: that of the last such call if they are the same objects, as the cache of texts makes them. */
static PyObject *names_tuple(struct lane *l, PyObject **names, uint32_t n)
{
    PyObject *tuple = l->last_names;
    bool same = tuple != NULL && PyTuple_GET_SIZE(tuple) == (Py_ssize_t)n;
    for (uint32_t i = 0; same && i < n; i++)
        same = PyTuple_GET_ITEM(tuple, (Py_ssize_t)i) == names[i];
    if (!same) {
        int again = repeated(names, n);
        if (again >= 0) {
            codec_raise(l->st->repeated_key, names[again]);
            codec_step(l->st, names[again], 0);
            return NULL;
        }
        tuple = PyTuple_New((Py_ssize_t)n);
        if (tuple == NULL)
            return NULL;
        for (uint32_t i = 0; i < n; i++) {
            Py_INCREF(names[i]);
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, names[i]);
        }
        Py_XSETREF(l->last_names, tuple);
    }
    Py_INCREF(tuple);
    return tuple;
}

/* One entry: its name to *name (owned), its value to the vector. 1: the key is no text. */
static int quick_entry(struct reader *r, PyObject **name, struct arguments *a)
{
    struct mp_token t;
    if (mp_read(&r->p, r->end, &t) != MP_OK || t.type != MP_STR)
        return 1;
    *name = value_decode_text(r, t.data, t.n);
    if (*name == NULL)
        return -1;
    PyObject *item = value_decode(r, 1);
    if (item == NULL) {
        codec_step(r->st, *name, 0);
        return -1;
    }
    a->room[1 + a->n++] = item;
    return 0;
}

/* n entries as named arguments. 1: a key is no text. */
static int quick_entries(struct lane *l, struct reader *r, uint32_t n, struct arguments *a)
{
    PyObject *names[FAST_ARGUMENTS];
    uint32_t have = 0;
    int rc = 0;
    for (; have < n && rc == 0; have++) {
        names[have] = NULL;
        rc = quick_entry(r, &names[have], a);
    }
    if (rc == 0) {
        a->names = names_tuple(l, names, n);
        rc = a->names != NULL ? 0 : -1;
    }
    while (have > 0)
        Py_XDECREF(names[--have]);
    return rc;
}

static int has_text_keys(PyObject *dict)
{
    Py_ssize_t at = 0;
    PyObject *key, *item;
    while (PyDict_Next(dict, &at, &key, &item))
        if (!PyUnicode_CheckExact(key))
            return 0;
    return 1;
}

/* The payload of the ARGS extension: nil or an array, nil or a map. */
static int args_extension(struct reader *r, struct arguments *a)
{
    struct mp_token t;
    int rc = mp_read(&r->p, r->end, &t);
    if (rc != MP_OK)
        return codec_raise(r->st->truncated, NULL);
    if (t.type != MP_NIL && t.type != MP_ARRAY)
        return codec_malformed(r->st, "positional arguments that are no array");
    a->args = value_decode_tuple(r, t.type == MP_ARRAY ? t.n : 0, 1);
    if (a->args == NULL)
        return -1;
    rc = mp_read(&r->p, r->end, &t);
    if (rc != MP_OK)
        return codec_raise(r->st->truncated, NULL);
    if (t.type != MP_NIL && t.type != MP_MAP)
        return codec_malformed(r->st, "keyword arguments that are no map");
    if (t.type == MP_MAP) {
        a->kwargs = value_decode_dict(r, t.n, 1);
        if (a->kwargs == NULL)
            return -1;
        if (!has_text_keys(a->kwargs))
            return codec_malformed(r->st, "a keyword that is no text");
    }
    return 0;
}

/* Any value as the arguments. */
static int general(struct reader *r, struct arguments *a)
{
    PyObject *value = value_decode(r, 0);
    if (value == NULL)
        return -1;
    if (PyTuple_CheckExact(value)) {
        a->args = value;
        return 0;
    }
    if (PyList_CheckExact(value))
        a->args = PyList_AsTuple(value);
    else if (PyDict_CheckExact(value) && has_text_keys(value))
        a->args = PyTuple_New(0);
    else
        a->args = PyTuple_Pack(1, value);
    if (a->args != NULL && PyDict_CheckExact(value) && PyTuple_GET_SIZE(a->args) == 0)
        a->kwargs = value;
    else
        Py_DECREF(value);
    return a->args != NULL ? 0 : -1;
}

int arguments_decode(struct lane *l, struct reader *r, struct arguments *a)
{
    const uint8_t *start = r->p;
    struct mp_token t;
    int rc = mp_read(&r->p, r->end, &t);
    if (rc == MP_OK && t.type == MP_NIL)
        return 0;
    if (rc == MP_OK && t.type == MP_ARRAY && t.n <= FAST_ARGUMENTS)
        return quick_items(r, t.n, a);
    if (rc == MP_OK && t.type == MP_MAP && t.n <= FAST_ARGUMENTS) {
        rc = quick_entries(l, r, t.n, a);
        if (rc <= 0)
            return rc;
        arguments_drop(a);
    } else if (rc == MP_OK && t.type == MP_EXT && t.ext == MP_EXT_ARGS) {
        const uint8_t *end = r->end;
        r->end = t.data + t.n;
        rc = args_extension(r, a);
        if (rc == 0 && r->p != r->end)
            rc = codec_malformed(r->st, "bytes behind the arguments");
        r->end = end;
        return rc;
    }
    r->p = start;
    return general(r, a);
}

/* ---- what the lane gives ---- */

/* As given_by_caller of _streams.py. */
static int refuse(PyObject *name)
{
    PyErr_Format(PyExc_TypeError, "%U is the call's own: no caller gives it as an argument", name);
    return -1;
}

static int give_named(PyObject **kwargs, PyObject *name, PyObject *value)
{
    if (*kwargs == NULL && (*kwargs = PyDict_New()) == NULL)
        return -1;
    int there = PyDict_Contains(*kwargs, name);
    if (there != 0)
        return there < 0 ? -1 : refuse(name);
    return PyDict_SetItem(*kwargs, name, value);
}

int arguments_give(struct arguments *a, PyObject *name, PyObject *value)
{
    if (a->args != NULL)
        return give_named(&a->kwargs, name, value);
    Py_ssize_t named = a->names != NULL ? PyTuple_GET_SIZE(a->names) : 0;
    PyObject *names = PyTuple_New(named + 1);
    if (names == NULL)
        return -1;
    for (Py_ssize_t i = 0; i <= named; i++) {
        PyObject *each = i < named ? PyTuple_GET_ITEM(a->names, i) : name;
        if (i < named && PyUnicode_Compare(each, name) == 0) {
            Py_DECREF(names);
            return PyErr_Occurred() != NULL ? -1 : refuse(name);
        }
        Py_INCREF(each);
        PyTuple_SET_ITEM(names, i, each);
    }
    Py_XSETREF(a->names, names);
    Py_INCREF(value);
    a->room[1 + a->n++] = value;
    return 0;
}
