/* Python objects to MessagePack (docs/wire.md, section 2): the same as snakepit_bridge._encode, in C.
 *
 * Invariants: exact types first, the rest in _snakepit_encode_other.c; code of the user may run in between (items() of a subclass of
 * dict, __str__ of an exception, a converter), so what is walked is held and its size compared at the end.
 * Failure: CodecError with the path to the leaf, MemoryError, or what the user's code raised. Thread: any that may run Python. */
#include <string.h>

#include "_snakepit.h"
#include "wire/mp.h"

#define LEAST 512
#define MAX_ENTRIES ((size_t)1 << 20) /* what the host takes */

static int max_check(struct writer *w, size_t n)
{
    if (w->max == 0 || n <= w->max)
        return 0;
    PyObject *max = PyLong_FromSize_t(w->max);
    if (max == NULL)
        return -1;
    codec_raise(w->st->too_large, max);
    Py_DECREF(max);
    return -1;
}

int writer_grow(struct writer *w, size_t n)
{
    size_t used = (size_t)(w->p - w->base), need = used + n, cap = need * 2 < LEAST ? LEAST : need * 2;
    if (max_check(w, need + w->left_n) != 0)
        return -1;
    uint8_t *base = PyMem_RawRealloc(w->heap ? w->base : NULL, cap);
    if (base == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (!w->heap && used != 0)
        memcpy(base, w->base, used);
    w->base = base;
    w->p = base + used;
    w->end = base + cap;
    w->heap = true;
    return 0;
}

void writer_finish(struct writer *w)
{
    if (w->heap)
        PyMem_RawFree(w->base);
    Py_CLEAR(w->left);
    w->base = w->p = w->end = NULL;
    w->heap = false;
}

int length_check(struct writer *w, Py_ssize_t n)
{
    return (uint64_t)n <= UINT32_MAX ? 0 : codec_raise(w->st->too_long, NULL);
}

int entries_count(struct writer *w, Py_ssize_t n)
{
    w->entries += (size_t)n;
    return w->entries <= MAX_ENTRIES ? 0 : codec_raise(w->st->too_many_entries, NULL);
}

int keys_distinct(struct writer *w, PyObject *keys, bool items)
{
    PyObject *none = PyObject_CallFunctionObjArgs(w->st->check_distinct, keys, items ? Py_True : Py_False, NULL);
    Py_XDECREF(none);
    return none != NULL ? 0 : -1;
}

int extension_close(struct writer *w, size_t at)
{
    size_t n = (size_t)(w->p - (w->base + at)) + (w->left_at > at ? w->left_n : 0);
    if (length_check(w, (Py_ssize_t)n) != 0)
        return -1;
    mp_close_ext_of(w->base + at, n);
    return 0;
}

/* Long data of an object that nobody can change stays where it is until it is sent. */
static int leave_data(struct writer *w, PyObject *owner, const void *data, size_t n)
{
    if (max_check(w, writer_size(w) + n) != 0)
        return -1;
    w->left = owner;
    Py_INCREF(owner);
    w->left_data = data;
    w->left_n = n;
    w->left_at = (size_t)(w->p - w->base);
    return 0;
}

/* owner: of the data, if it is immutable; else NULL. */
static int put_data(struct writer *w, PyObject *owner, const void *data, Py_ssize_t n, bool text)
{
    bool leave = (size_t)n >= LONG_DATA && owner != NULL && w->may_leave && w->left == NULL;
    if (length_check(w, n) != 0)
        return -1;
    if (leave && !w->heap ? writer_grow(w, MP_HEAD) != 0 : writer_room(w, MP_HEAD + (leave ? 0 : (size_t)n)) != 0)
        return -1;
    w->p = text ? mp_put_str_head(w->p, (uint32_t)n) : mp_put_bin_head(w->p, (uint32_t)n);
    if (leave)
        return leave_data(w, owner, data, (size_t)n);
    if (n != 0)
        memcpy(w->p, data, (size_t)n);
    w->p += n;
    return 0;
}

int put_text(struct writer *w, PyObject *text)
{
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) != 0)
        return -1;
#endif
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return put_data(w, text, PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text), true);
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    if (bytes == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        PyErr_Clear();
        return codec_raise(w->st->bad_text, text);
    }
    int rc = put_data(w, bytes, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes), true);
    Py_DECREF(bytes);
    return rc;
}

static int put_bigint(struct writer *w, PyObject *n)
{
    PyObject *exact = PyLong_CheckExact(n) ? Py_BuildValue("O", n) : PyLong_Type.tp_as_number->nb_positive(n);
    if (exact == NULL)
        return -1;
    PyObject *bytes = PyObject_CallFunctionObjArgs(w->st->bigint_to_bytes, exact, NULL);
    Py_DECREF(exact);
    if (bytes == NULL)
        return -1;
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    int rc = writer_room(w, MP_HEAD + size);
    if (rc == 0) {
        w->p = mp_put_ext(w->p, MP_EXT_BIGINT, (uint32_t)size);
        memcpy(w->p, PyBytes_AS_STRING(bytes), size);
        w->p += size;
    }
    Py_DECREF(bytes);
    return rc;
}

int put_int(struct writer *w, PyObject *n)
{
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(n, &overflow);
    if (overflow == 0) {
        if (small == -1 && PyErr_Occurred())
            return -1;
        if (writer_room(w, MP_HEAD) != 0)
            return -1;
        w->p = mp_put_int(w->p, small);
        return 0;
    }
    if (overflow > 0) {
        unsigned long long big = PyLong_AsUnsignedLongLong(n);
        if (big != (unsigned long long)-1 || !PyErr_Occurred()) {
            if (writer_room(w, MP_HEAD) != 0)
                return -1;
            w->p = mp_put_uint(w->p, big);
            return 0;
        }
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
    }
    return put_bigint(w, n);
}

int put_float(struct writer *w, PyObject *x)
{
    if (writer_room(w, MP_HEAD) != 0)
        return -1;
    w->p = mp_put_float(w->p, PyFloat_AS_DOUBLE(x));
    return 0;
}

static int put_bool_or_nil(struct writer *w, PyObject *x)
{
    if (writer_room(w, MP_HEAD) != 0)
        return -1;
    w->p = x == Py_None ? mp_put_nil(w->p) : mp_put_bool(w->p, x == Py_True);
    return 0;
}

int put_buffer(struct writer *w, PyObject *object)
{
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) != 0)
        return -1;
    int rc = -1;
    if (PyBuffer_IsContiguous(&view, 'C')) {
        rc = put_data(w, NULL, view.buf, view.len, false);
    } else if (length_check(w, view.len) == 0 && writer_room(w, MP_HEAD + (size_t)view.len) == 0) {
        w->p = mp_put_bin_head(w->p, (uint32_t)view.len);
        rc = PyBuffer_ToContiguous(w->p, &view, view.len, 'C');
        w->p += view.len;
    }
    PyBuffer_Release(&view);
    return rc;
}

/* ---- containers ---- */

int container_enter(struct writer *w, Py_ssize_t n, int depth)
{
    if (depth >= MP_MAX_DEPTH)
        return codec_raise(w->st->too_deep, NULL);
    if (length_check(w, n) != 0)
        return -1;
    return writer_room(w, MP_EXT_OPEN + MP_HEAD);
}

static int changed(const char *what)
{
    PyErr_Format(PyExc_RuntimeError, "a %s changed its size while it was encoded", what);
    return -1;
}

int put_items(struct writer *w, PyObject *items, bool list, int depth)
{
    Py_ssize_t n = Py_SIZE(items);
    w->p = mp_put_array(w->p, (uint32_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (i >= Py_SIZE(items))
            return changed("list");
        PyObject *item = list ? PyList_GET_ITEM(items, i) : PyTuple_GET_ITEM(items, i);
        Py_INCREF(item);
        int rc = value_encode(w, item, depth);
        Py_DECREF(item);
        if (rc != 0) {
            codec_step(w->st, NULL, i);
            return -1;
        }
    }
    return Py_SIZE(items) == n ? 0 : changed("list");
}

int put_list(struct writer *w, PyObject *list, int depth)
{
#ifdef Py_GIL_DISABLED
    PyObject *snapshot = PyList_AsTuple(list); /* other threads may change it meanwhile */
    if (snapshot == NULL)
        return -1;
    int rc = container_enter(w, Py_SIZE(snapshot), depth);
    if (rc == 0)
        rc = put_items(w, snapshot, false, depth + 1);
    Py_DECREF(snapshot);
    return rc;
#else
    return container_enter(w, Py_SIZE(list), depth) != 0 ? -1 : put_items(w, list, true, depth + 1);
#endif
}

int put_tuple(struct writer *w, PyObject *tuple, int depth)
{
    if (container_enter(w, Py_SIZE(tuple), depth) != 0)
        return -1;
    w->p = mp_open_ext(w->p, MP_EXT_TUPLE);
    size_t at = (size_t)(w->p - w->base);
    return put_items(w, tuple, false, depth + 1) == 0 ? extension_close(w, at) : -1;
}

int put_entry(struct writer *w, PyObject *key, PyObject *item, int depth, bool *odd)
{
    int rc;
    Py_INCREF(key);
    Py_INCREF(item);
    if (PyUnicode_CheckExact(key)) {
        rc = put_text(w, key);
    } else {
        w->odd = false;
        rc = value_encode_key(w, key, depth);
        *odd |= w->odd;
    }
    if (rc == 0)
        rc = value_encode(w, item, depth);
    if (rc != 0)
        codec_step(w->st, key, 0);
    Py_DECREF(key);
    Py_DECREF(item);
    return rc;
}

static int put_dict(struct writer *w, PyObject *dict, int depth)
{
#ifdef Py_GIL_DISABLED
    return put_mapping(w, dict, depth); /* a snapshot: other threads may change it meanwhile */
#else
    Py_ssize_t n = PyDict_GET_SIZE(dict), at = 0, seen = 0;
    PyObject *key, *item;
    bool odd = false;
    if (container_enter(w, n, depth) != 0 || entries_count(w, n) != 0)
        return -1;
    w->p = mp_put_map(w->p, (uint32_t)n);
    while (PyDict_Next(dict, &at, &key, &item)) {
        if (++seen > n)
            return changed("dict");
        if (put_entry(w, key, item, depth + 1, &odd) != 0)
            return -1;
    }
    if (seen != n || PyDict_GET_SIZE(dict) != n)
        return changed("dict");
    if (!odd)
        return 0;
    PyObject *keys = PyDict_Keys(dict);
    int rc = keys != NULL ? keys_distinct(w, keys, false) : -1;
    Py_XDECREF(keys);
    return rc;
#endif
}

/* ---- any object ---- */

int value_encode(struct writer *w, PyObject *obj, int depth)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyLong_Type)
        return put_int(w, obj);
    if (type == &PyUnicode_Type)
        return put_text(w, obj);
    if (type == &PyFloat_Type)
        return put_float(w, obj);
    if (type == &PyDict_Type)
        return put_dict(w, obj, depth);
    if (type == &PyList_Type)
        return put_list(w, obj, depth);
    if (type == &PyBool_Type || obj == Py_None)
        return put_bool_or_nil(w, obj);
    if (type == &PyTuple_Type)
        return put_tuple(w, obj, depth);
    if (type == &PyBytes_Type)
        return put_data(w, obj, PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj), false);
    return value_encode_other(w, obj, depth);
}
