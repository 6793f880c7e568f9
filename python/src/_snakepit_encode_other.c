/* What leaves Python and has no type of its own here: the same as the second half of snakepit_bridge._encode, in C.
 *
 * Subclasses leave as what they extend, but a namedtuple as a map and what has a registered codec by that; sets; keys; exceptions. Any
 * other object is given to _registry.simplify, whose answer is a value of these kinds or a Leaf: an extension ready to be written.
 *
 * Invariants: an answer of simplify is final, so it is asked once for an object; user code runs in between, so what is walked is held.
 * Failure: CodecError with the path to the leaf, MemoryError, or what the user's code raised. Thread: any that may run Python. */
#include <math.h>
#include <string.h>

#include "_snakepit.h"
#include "wire/mp.h"

static int put_ascii(struct writer *w, const char *text)
{
    size_t n = strlen(text);
    if (writer_room(w, MP_HEAD + n) != 0)
        return -1;
    w->p = mp_put_str(w->p, text, (uint32_t)n);
    return 0;
}

/* ---- leaves ---- */

/* Those that hold values have a length of 32 bits, whatever it is. */
static bool is_open(long code)
{
    return code == MP_EXT_TENSOR || code == MP_EXT_REF || code == MP_EXT_MARKER;
}

static int put_leaf_parts(struct writer *w, long code, PyObject *head, const Py_buffer *body)
{
    size_t head_n = (size_t)PyBytes_GET_SIZE(head), n = head_n + (size_t)body->len;
    if (length_check(w, (Py_ssize_t)n) != 0 || writer_room(w, MP_HEAD + n) != 0)
        return -1;
    if (is_open(code)) {
        w->p = mp_open_ext(w->p, (int8_t)code);
        mp_close_ext(w->p, w->p + n);
    } else {
        w->p = mp_put_ext(w->p, (int8_t)code, (uint32_t)n);
    }
    memcpy(w->p, PyBytes_AS_STRING(head), head_n);
    if (body->len != 0)
        memcpy(w->p + head_n, body->buf, (size_t)body->len);
    w->p += n;
    return 0;
}

static int put_leaf(struct writer *w, PyObject *leaf)
{
    Py_buffer view;
    int rc = -1;
    PyObject *code = PyObject_GetAttrString(leaf, "code"), *head = PyObject_GetAttrString(leaf, "head");
    PyObject *body = PyObject_GetAttrString(leaf, "body");
    long number = code != NULL ? PyLong_AsLong(code) : -1;
    if (body != NULL && head != NULL && number > 0 && PyBytes_Check(head) &&
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE) == 0) {
        rc = put_leaf_parts(w, number, head, &view);
        PyBuffer_Release(&view);
    }
    Py_XDECREF(body);
    Py_XDECREF(head);
    Py_XDECREF(code);
    if (rc != 0 && !PyErr_Occurred())
        PyErr_SetString(PyExc_SystemError, "a leaf that is none");
    return rc;
}

static bool is_leaf(struct writer *w, PyObject *obj)
{
    return (PyObject *)Py_TYPE(obj) == w->st->Leaf;
}

static PyObject *simplify(struct writer *w, PyObject *obj, int policy)
{
    return PyObject_CallFunction(w->st->simplify, "Oi", obj, policy);
}

/* ---- sets ---- */

/* Its items, in the order in which it gives them, as they are now. */
static PyObject *items_of_set(PyObject *set)
{
    /* tuple(set) would ask a subclass for its own __iter__ */
    PyObject *iterator = (PyFrozenSet_Check(set) ? PyFrozenSet_Type : PySet_Type).tp_iter(set);
    PyObject *items = iterator != NULL ? PySequence_Tuple(iterator) : NULL;
    Py_XDECREF(iterator);
    return items;
}

static int put_keys(struct writer *w, PyObject *items, int depth)
{
    Py_ssize_t n = PyTuple_GET_SIZE(items);
    w->p = mp_put_array(w->p, (uint32_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (value_encode_key(w, PyTuple_GET_ITEM(items, i), depth) != 0) {
            codec_step(w->st, NULL, i);
            return -1;
        }
    }
    return 0;
}

/* A container of hashable items in an extension. */
static int put_hashables(struct writer *w, int code, PyObject *items, int depth)
{
    bool set = code != MP_EXT_TUPLE, before = w->odd;
    if (set)
        w->odd = false;
    if (container_enter(w, PyTuple_GET_SIZE(items), depth) != 0)
        return -1;
    w->p = mp_open_ext(w->p, (int8_t)code);
    size_t at = (size_t)(w->p - w->base);
    if ((set && entries_count(w, PyTuple_GET_SIZE(items)) != 0) || put_keys(w, items, depth + 1) != 0)
        return -1;
    if (set && w->odd && keys_distinct(w, items, true) != 0)
        return -1;
    w->odd |= before;
    return extension_close(w, at);
}

int put_set(struct writer *w, PyObject *set, int depth)
{
    PyObject *items = items_of_set(set);
    if (items == NULL)
        return -1;
    int rc = put_hashables(w, PyFrozenSet_Check(set) ? MP_EXT_FROZENSET : MP_EXT_SET, items, depth);
    Py_DECREF(items);
    return rc;
}

/* ---- keys ---- */

/* Has the type of obj, or one of its bases, a registered codec? -1 with an exception. */
static int has_codec(struct writer *w, PyObject *obj)
{
    if (PyDict_GET_SIZE(w->st->REGISTERED) == 0)
        return 0;
    PyObject *answer = PyObject_CallFunctionObjArgs(w->st->is_registered, (PyObject *)Py_TYPE(obj), NULL);
    int has = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return has;
}

/* A decimal that the host has to compare with others takes it longer: docs/wire.md, limits. */
#define DECIMAL_KEY 16

static int put_leaf_key(struct writer *w, PyObject *leaf)
{
    PyObject *code = PyObject_GetAttrString(leaf, "code");
    long number = code != NULL ? PyLong_AsLong(code) : -1;
    Py_XDECREF(code);
    if (number < 0 || (number == MP_EXT_DECIMAL && entries_count(w, DECIMAL_KEY) != 0))
        return -1;
    return put_leaf(w, leaf);
}

/* Is it a NaN, or one in part? Two of them are two keys here and one for the host. */
static bool is_nan(PyObject *key)
{
    if (PyFloat_CheckExact(key))
        return isnan(PyFloat_AS_DOUBLE(key));
    if (!PyComplex_CheckExact(key))
        return false;
    Py_complex c = PyComplex_AsCComplex(key);
    return isnan(c.real) || isnan(c.imag);
}

/* Another object as key: what it is converted to has to be one. A marker is none, whatever the policy. */
static int put_simple_key(struct writer *w, PyObject *key, int depth)
{
    w->odd = true;
    PyObject *simple = simplify(w, key, POLICY_ERROR);
    if (simple == NULL)
        return -1;
    int rc;
    if (is_leaf(w, simple)) {
        PyObject *may = PyObject_CallFunctionObjArgs(w->st->may_be_key, simple, NULL);
        int yes = may != NULL ? PyObject_IsTrue(may) : -1;
        Py_XDECREF(may);
        rc = yes < 0 ? -1 : yes ? put_leaf_key(w, simple) : codec_raise(w->st->bad_key, key);
    } else {
        rc = value_encode_key(w, simple, depth);
    }
    Py_DECREF(simple);
    return rc;
}

int value_encode_key(struct writer *w, PyObject *key, int depth)
{
    if (PyUnicode_CheckExact(key) || PyLong_CheckExact(key) || PyFloat_CheckExact(key) || PyBytes_CheckExact(key) ||
        PyComplex_CheckExact(key) || PyBool_Check(key) || key == Py_None) {
        w->odd |= is_nan(key);
        return value_encode(w, key, depth);
    }
    int has = has_codec(w, key);
    if (has != 0)
        return has < 0 ? -1 : put_simple_key(w, key, depth);
    if (PyTuple_Check(key))
        return put_hashables(w, MP_EXT_TUPLE, key, depth);
    if (PyFrozenSet_Check(key))
        return put_set(w, key, depth);
    if (PyDict_Check(key) || PyList_Check(key) || PySet_Check(key) || PyByteArray_Check(key) || PyMemoryView_Check(key) ||
        PyExceptionInstance_Check(key))
        return codec_raise(w->st->bad_key, key);
    if (PyUnicode_Check(key) || PyLong_Check(key) || PyFloat_Check(key) || PyBytes_Check(key)) {
        w->odd = true;
        return value_encode_other(w, key, depth);
    }
    return put_simple_key(w, key, depth);
}

/* ---- subclasses of dict ---- */

/* Does one stand twice? Yes, too, if that cannot be said. */
static bool are_repeated(PyObject *keys)
{
    PyObject *set = PySet_New(keys);
    bool repeated = set == NULL || PySet_GET_SIZE(set) != PyTuple_GET_SIZE(keys);
    if (set == NULL)
        PyErr_Clear();
    Py_XDECREF(set);
    return repeated;
}

/* A list of pairs, as items() gives them. */
static int put_pairs(struct writer *w, PyObject *pairs, int depth)
{
    Py_ssize_t n = PyList_GET_SIZE(pairs);
    if (container_enter(w, n, depth) != 0 || entries_count(w, n) != 0)
        return -1;
    PyObject *keys = PyTuple_New(n);
    bool odd = false;
    w->p = mp_put_map(w->p, (uint32_t)n);
    for (Py_ssize_t i = 0; i < n && keys != NULL; i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i), *key = PyTuple_GET_ITEM(pair, 0);
        Py_INCREF(key);
        PyTuple_SET_ITEM(keys, i, key);
        if (put_entry(w, key, PyTuple_GET_ITEM(pair, 1), depth + 1, &odd) != 0)
            Py_CLEAR(keys);
    }
    if (keys == NULL)
        return -1;
    int rc = odd || are_repeated(keys) ? keys_distinct(w, keys, false) : 0;
    Py_DECREF(keys);
    return rc;
}

/* A subclass of dict: its own order and items (OrderedDict, defaultdict, ...). */
int put_mapping(struct writer *w, PyObject *mapping, int depth)
{
    PyObject *items = PyObject_CallMethod(mapping, "items", NULL);
    PyObject *pairs = items != NULL ? PySequence_List(items) : NULL;
    Py_XDECREF(items);
    if (pairs == NULL)
        return -1;
    int rc = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs) && rc == 0; i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2)
            rc = codec_raise(w->st->unserializable, mapping);
    }
    if (rc == 0)
        rc = put_pairs(w, pairs, depth);
    Py_DECREF(pairs);
    return rc;
}

/* ---- exceptions ---- */

#define EXCEPTION_FIELDS 5

static int put_text_or_nil(struct writer *w, const char *name, PyObject *text)
{
    if (put_ascii(w, name) != 0)
        return -1;
    return text == Py_None ? value_encode(w, text, 0) : put_text(w, text);
}

static int put_exception_fields(struct writer *w, PyObject *fields, int depth)
{
    PyObject *kind, *message, *traceback, *notes, *cause;
    if (!PyArg_ParseTuple(fields, "UUOO!O", &kind, &message, &traceback, &PyList_Type, &notes, &cause))
        return -1;
    w->p = mp_put_map(w->p, 5);
    if (put_text_or_nil(w, "type", kind) != 0 || put_text_or_nil(w, "message", message) != 0 ||
        put_text_or_nil(w, "traceback", traceback) != 0 || put_ascii(w, "notes") != 0 || writer_room(w, MP_HEAD) != 0 ||
        put_items(w, notes, true, depth) != 0 || put_ascii(w, "cause") != 0)
        return -1;
    if (value_encode(w, cause, depth + 1) == 0)
        return 0;
    PyObject *step = PyUnicode_FromString("cause");
    if (step != NULL)
        codec_step(w->st, step, 0);
    Py_XDECREF(step);
    return -1;
}

static int put_exception(struct writer *w, PyObject *exception, int depth)
{
    if (container_enter(w, 0, depth) != 0)
        return -1;
    PyObject *fields = PyObject_CallFunctionObjArgs(w->st->exception_fields, exception, NULL);
    if (fields == NULL)
        return -1;
    if (entries_count(w, EXCEPTION_FIELDS) != 0) {
        Py_DECREF(fields);
        return -1;
    }
    w->p = mp_open_ext(w->p, MP_EXT_EXCEPTION);
    size_t at = (size_t)(w->p - w->base);
    int rc = put_exception_fields(w, fields, depth);
    Py_DECREF(fields);
    return rc == 0 ? extension_close(w, at) : -1;
}

/* ---- any other object ---- */

/* Objects of Python's own types and what extends them. *ret_rc is set if it was one. */
static bool put_subclass(struct writer *w, PyObject *obj, int depth, int *ret_rc)
{
    if (PyUnicode_Check(obj))
        *ret_rc = put_text(w, obj);
    else if (PyLong_Check(obj))
        *ret_rc = put_int(w, obj);
    else if (PyFloat_Check(obj))
        *ret_rc = put_float(w, obj);
    else if (PyDict_Check(obj))
        *ret_rc = put_mapping(w, obj, depth);
    else if (PyList_Check(obj))
        *ret_rc = put_list(w, obj, depth);
    else if (PyTuple_Check(obj))
        *ret_rc = put_tuple(w, obj, depth);
    else if (PyBytes_Check(obj) || PyByteArray_Check(obj))
        *ret_rc = put_buffer(w, obj);
    else if (PyAnySet_Check(obj))
        *ret_rc = put_set(w, obj, depth);
    else if (PyExceptionInstance_Check(obj))
        *ret_rc = put_exception(w, obj, depth);
    else
        return false;
    return true;
}

static int put_complex(struct writer *w, PyObject *x)
{
    if (writer_room(w, 2 + 2 * MP_HEAD) != 0)
        return -1;
    uint64_t bits;
    Py_complex c = PyComplex_AsCComplex(x);
    *w->p = 0xd8;
    memcpy(&bits, &c.imag, 8);
    mp_put_be64(w->p + 9, 0, bits);
    memcpy(&bits, &c.real, 8);
    mp_put_be64(w->p + 1, MP_EXT_COMPLEX, bits);
    w->p += 18;
    return 0;
}

/* A view of the memory of a tensor that arrived leaves as that tensor, any other as bytes. */
static int put_view(struct writer *w, PyObject *view)
{
    PyObject *leaf = PyObject_CallFunctionObjArgs(w->st->tensor_of_view, view, NULL);
    if (leaf == NULL)
        return -1;
    int rc = leaf == Py_None ? put_buffer(w, view) : put_leaf(w, leaf);
    Py_DECREF(leaf);
    return rc;
}

static int put_converted(struct writer *w, PyObject *obj, int depth)
{
    PyObject *simple = simplify(w, obj, w->policy);
    if (simple == NULL)
        return -1;
    int rc = is_leaf(w, simple) ? put_leaf(w, simple) : value_encode(w, simple, depth);
    Py_DECREF(simple);
    return rc;
}

int value_encode_other(struct writer *w, PyObject *obj, int depth)
{
    int rc;
    if (PyComplex_CheckExact(obj))
        return put_complex(w, obj);
    if (PyMemoryView_Check(obj))
        return put_view(w, obj);
    bool own = Py_TYPE(obj) == &PySet_Type || PyFrozenSet_CheckExact(obj) || PyByteArray_CheckExact(obj);
    int has = own ? 0 : has_codec(w, obj);
    if (has < 0)
        return -1;
    bool named = PyTuple_Check(obj) && PyObject_HasAttrString((PyObject *)Py_TYPE(obj), "_asdict");
    if (has == 0 && !named && put_subclass(w, obj, depth, &rc))
        return rc;
    return put_converted(w, obj, depth);
}
