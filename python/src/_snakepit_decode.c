/* MessagePack to Python objects (docs/wire.md, section 2): the same as snakepit_bridge._decode, in C.
 *
 * Invariants: reads nothing beyond r->end; the depth is bounded, so the recursion is; a container that fails is dropped whole.
 * Failure: CodecError with the path to the leaf, MemoryError. Thread: any that may run Python; a reader belongs to one. */
#include <string.h>

#include "_snakepit.h"
#include "wire/mp.h"

int codec_raise(PyObject *helper, PyObject *argument)
{
    PyObject *error = argument != NULL ? PyObject_CallFunctionObjArgs(helper, argument, NULL) : PyObject_CallNoArgs(helper);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return -1;
}

int codec_malformed(struct state *st, const char *why)
{
    PyObject *text = PyUnicode_FromString(why);
    if (text == NULL)
        return -1;
    codec_raise(st->malformed, text);
    Py_DECREF(text);
    return -1;
}

void codec_step(struct state *st, PyObject *key, Py_ssize_t index)
{
    PyObject *type, *error, *traceback;
    if (!PyErr_ExceptionMatches(st->CodecError))
        return;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *step = key != NULL ? Py_BuildValue("O", key) : PyLong_FromSsize_t(index);
    PyObject *done = step != NULL ? PyObject_CallMethod(error, "at", "(O)", step) : NULL;
    Py_XDECREF(step);
    if (done == NULL)
        PyErr_Clear(); /* an error with a shorter path is better than none */
    Py_XDECREF(done);
    PyErr_Restore(type, error, traceback);
}

static PyObject *truncated(struct reader *r)
{
    codec_raise(r->st->truncated, NULL);
    return NULL;
}

/* ---- texts ---- */

void text_cache_finish(struct text_cache *cache)
{
    for (size_t i = 0; i < TEXT_CACHE; i++)
        Py_CLEAR(cache->texts[i]);
}

static PyObject *new_text(struct reader *r, const uint8_t *data, size_t n)
{
    PyObject *text = PyUnicode_DecodeUTF8((const char *)data, (Py_ssize_t)n, NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        codec_raise(r->st->bad_bytes, Py_None);
    }
    return text;
}

/* Collisions cost one allocation, no more: any cheap mix will do. */
static PyObject **cache_slot(struct text_cache *cache, const uint8_t *data, size_t n)
{
    return &cache->texts[(n + 7u * data[0] + 31u * data[n - 1] + 13u * data[n / 2]) % TEXT_CACHE];
}

void text_cache_put(struct text_cache *cache, PyObject *text)
{
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text))
        return;
    size_t n = (size_t)PyUnicode_GET_LENGTH(text);
    if (n == 0 || n > TEXT_CACHE_LONGEST)
        return;
    PyObject **slot = cache_slot(cache, PyUnicode_1BYTE_DATA(text), n);
    Py_INCREF(text);
    Py_XSETREF(*slot, text);
}

PyObject *value_decode_text(struct reader *r, const uint8_t *data, size_t n)
{
    if (r->cache == NULL || n == 0 || n > TEXT_CACHE_LONGEST)
        return new_text(r, data, n);
    PyObject **slot = cache_slot(r->cache, data, n), *text = *slot;
    if (text != NULL && (size_t)PyUnicode_GET_LENGTH(text) == n && memcmp(PyUnicode_1BYTE_DATA(text), data, n) == 0) {
        Py_INCREF(text);
        return text;
    }
    text = new_text(r, data, n);
    if (text != NULL)
        text_cache_put(r->cache, text);
    return text;
}

/* ---- containers ---- */

/* An item of a list. What long lists consist of does not go through the token: small integers and floats. */
static inline PyObject *decode_item(struct reader *r, int depth)
{
    const uint8_t *p = r->p;
    if (r->end - p >= 9 && *p == 0xcb) {
        uint64_t bits = mp_be64(p + 1);
        double x;
        memcpy(&x, &bits, 8);
        r->p = p + 9;
        return PyFloat_FromDouble(x);
    }
    if (p != r->end && *p < 0x80) {
        r->p = p + 1;
        return PyLong_FromLong(*p);
    }
    return value_decode(r, depth);
}

static PyObject *decode_list(struct reader *r, uint32_t n, int depth)
{
    PyObject *list = PyList_New((Py_ssize_t)n);
    if (list == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)n; i++) {
        PyObject *item = decode_item(r, depth);
        if (item == NULL) {
            codec_step(r->st, NULL, i);
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, item);
    }
    return list;
}

PyObject *value_decode_tuple(struct reader *r, uint32_t n, int depth)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)n);
    if (tuple == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < (Py_ssize_t)n; i++) {
        PyObject *item = value_decode(r, depth);
        if (item == NULL) {
            codec_step(r->st, NULL, i);
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

/* By exact type: all that is decoded is of one. The items of a frozenset were looked at when it was made. */
int key_check(struct state *st, PyObject *key)
{
    if (PyUnicode_CheckExact(key) || PyLong_CheckExact(key) || PyFloat_CheckExact(key) || PyBytes_CheckExact(key) ||
        PyBool_Check(key) || key == Py_None || PyFrozenSet_CheckExact(key))
        return 0;
    if (PyTuple_CheckExact(key)) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++)
            if (key_check(st, PyTuple_GET_ITEM(key, i)) != 0)
                return -1;
        return 0;
    }
    PyObject *answer = PyObject_CallFunctionObjArgs(st->check_leaf_key, key, NULL);
    int may = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return may > 0 ? 0 : may < 0 ? -1 : codec_raise(st->bad_key, key);
}

static PyObject *decode_key(struct reader *r, int depth)
{
    struct mp_token t;
    const uint8_t *start = r->p;
    if (start != r->end && *start >= 0xa0 && *start < 0xc0 && (size_t)(r->end - start) > (*start & 0x1fu)) {
        r->p = start + 1 + (*start & 0x1fu);
        return value_decode_text(r, start + 1, *start & 0x1fu);
    }
    if (mp_read(&r->p, r->end, &t) == MP_OK && t.type == MP_STR)
        return value_decode_text(r, t.data, t.n);
    r->p = start;
    return value_decode(r, depth);
}

static int decode_entry(struct reader *r, PyObject *dict, PyObject *key, int depth)
{
    PyObject *item = value_decode(r, depth);
    if (item == NULL)
        return -1;
    Py_ssize_t before = PyDict_GET_SIZE(dict);
    int rc = PyUnicode_CheckExact(key) ? 0 : key_check(r->st, key);
    if (rc == 0)
        rc = PyDict_SetItem(dict, key, item);
    if (rc == 0 && PyDict_GET_SIZE(dict) == before)
        rc = codec_raise(r->st->repeated_key, key);
    Py_DECREF(item);
    return rc;
}

PyObject *value_decode_dict(struct reader *r, uint32_t n, int depth)
{
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        PyObject *key = decode_key(r, depth);
        if (key == NULL) {
            Py_DECREF(dict);
            return NULL;
        }
        int rc = decode_entry(r, dict, key, depth);
        if (rc != 0) {
            codec_step(r->st, key, 0);
            Py_DECREF(dict);
            dict = NULL;
        }
        Py_DECREF(key);
        if (rc != 0)
            return NULL;
    }
    return dict;
}

/* ---- extensions ---- */

static PyObject *decode_bigint(struct state *st, const struct mp_token *t)
{
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->n);
    if (bytes == NULL)
        return NULL;
    PyObject *n = PyObject_CallFunctionObjArgs(st->bigint_from_bytes, bytes, NULL);
    Py_DECREF(bytes);
    return n;
}

/* The head of the array or map that an extension consists of. */
static bool head(struct reader *r, enum mp_type type, const char *otherwise, uint32_t *ret_n)
{
    struct mp_token t;
    int rc = mp_read(&r->p, r->end, &t);
    if (rc == MP_TRUNCATED)
        truncated(r);
    else if (rc != MP_OK || t.type != type)
        codec_malformed(r->st, otherwise);
    else
        *ret_n = t.n;
    return rc == MP_OK && t.type == type;
}

static PyObject *decode_tuple(struct reader *r, int depth)
{
    uint32_t n;
    if (!head(r, MP_ARRAY, "a tuple that holds no array", &n))
        return NULL;
    if (depth >= MP_MAX_DEPTH) {
        codec_raise(r->st->too_deep, NULL);
        return NULL;
    }
    PyObject *tuple = value_decode_tuple(r, n, depth + 1);
    if (tuple != NULL && r->p != r->end) {
        codec_malformed(r->st, "a tuple with bytes behind its items");
        Py_CLEAR(tuple);
    }
    return tuple;
}

static int decode_set_item(struct reader *r, PyObject *set, int depth)
{
    PyObject *item = value_decode(r, depth);
    if (item == NULL)
        return -1;
    Py_ssize_t before = PySet_GET_SIZE(set);
    int rc = key_check(r->st, item);
    if (rc == 0)
        rc = PySet_Add(set, item);
    if (rc == 0 && PySet_GET_SIZE(set) == before)
        rc = codec_raise(r->st->repeated_item, item);
    Py_DECREF(item);
    return rc;
}

static PyObject *decode_set(struct reader *r, bool frozen, int depth)
{
    uint32_t n;
    if (!head(r, MP_ARRAY, "a set that holds no array", &n))
        return NULL;
    if (depth >= MP_MAX_DEPTH) {
        codec_raise(r->st->too_deep, NULL);
        return NULL;
    }
    PyObject *set = frozen ? PyFrozenSet_New(NULL) : PySet_New(NULL);
    if (set == NULL)
        return NULL;
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = decode_set_item(r, set, depth + 1);
        if (rc != 0)
            codec_step(r->st, NULL, (Py_ssize_t)i);
    }
    if (rc == 0 && r->p != r->end)
        rc = codec_malformed(r->st, "a set with bytes behind its items");
    if (rc != 0)
        Py_CLEAR(set);
    return set;
}

static int decode_exception_entry(struct reader *r, PyObject *entries, int depth)
{
    PyObject *key = decode_key(r, depth);
    if (key == NULL)
        return -1;
    int rc = -1;
    if (!PyUnicode_CheckExact(key)) {
        codec_malformed(r->st, "an exception with a key that is no text");
    } else {
        /* the notes are part of the exception: they count no level of their own */
        bool notes = PyUnicode_CompareWithASCIIString(key, "notes") == 0;
        rc = decode_entry(r, entries, key, notes ? depth - 1 : depth);
        if (rc != 0)
            codec_step(r->st, key, 0);
    }
    Py_DECREF(key);
    return rc;
}

static PyObject *decode_exception(struct reader *r, int depth)
{
    uint32_t n;
    if (!head(r, MP_MAP, "an exception that holds no map", &n))
        return NULL;
    if (depth >= MP_MAX_DEPTH) {
        codec_raise(r->st->too_deep, NULL);
        return NULL;
    }
    PyObject *entries = PyDict_New(), *exception = NULL;
    if (entries == NULL)
        return NULL;
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = decode_exception_entry(r, entries, depth + 1);
    if (rc == 0 && r->p != r->end)
        rc = codec_malformed(r->st, "an exception with bytes behind its entries");
    if (rc == 0)
        exception = PyObject_CallFunctionObjArgs(r->st->exception_from_fields, entries, NULL);
    Py_DECREF(entries);
    return exception;
}

static PyObject *decode_complex(const struct mp_token *t)
{
    uint64_t bits[2] = {mp_be64(t->data), mp_be64(t->data + 8)};
    Py_complex c;
    memcpy(&c.real, &bits[0], 8);
    memcpy(&c.imag, &bits[1], 8);
    return PyComplex_FromCComplex(c);
}

/* Extensions that are no containers. A tensor is looked at where it stands: its memory is copied once, to where it will stay. */
static PyObject *take_extension(struct reader *r, const struct mp_token *t)
{
    bool view = t->ext == MP_EXT_TENSOR;
    PyObject *payload = view ? PyMemoryView_FromMemory((char *)(uintptr_t)t->data, (Py_ssize_t)t->n, PyBUF_READ)
                             : PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->n);
    if (payload == NULL)
        return NULL;
    r->times |= t->ext >= MP_EXT_DATETIME && t->ext <= MP_EXT_DURATION;
    PyObject *value = PyObject_CallFunction(r->st->take_extension, "iO", (int)t->ext, payload);
    Py_DECREF(payload);
    if (value == NULL && view) {
        /* the frames of the traceback hold views of memory that will be gone */
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyErr_NormalizeException(&type, &error, &traceback);
        PyException_SetTraceback(error, Py_None);
        PyException_SetContext(error, NULL);
        Py_XDECREF(traceback);
        PyErr_Restore(type, error, NULL);
    }
    return value;
}

static PyObject *decode_ext(struct reader *r, const struct mp_token *t, int depth)
{
    const uint8_t *end = r->end, *behind = t->data + t->n;
    PyObject *value = NULL;
    r->end = behind;
    switch (t->ext) {
    case MP_EXT_BIGINT:
        value = decode_bigint(r->st, t);
        break;
    case MP_EXT_TUPLE:
        value = decode_tuple(r, depth);
        break;
    case MP_EXT_EXCEPTION:
        value = decode_exception(r, depth);
        break;
    case MP_EXT_SET:
    case MP_EXT_FROZENSET:
        value = decode_set(r, t->ext == MP_EXT_FROZENSET, depth);
        break;
    default:
        value = t->ext == MP_EXT_COMPLEX && t->n == 16 ? decode_complex(t) : take_extension(r, t);
        break;
    }
    r->p = behind;
    r->end = end;
    return value;
}

static PyObject *decode_container(struct reader *r, const struct mp_token *t, int depth)
{
    if (depth >= MP_MAX_DEPTH) {
        codec_raise(r->st->too_deep, NULL);
        return NULL;
    }
    return t->type == MP_ARRAY ? decode_list(r, t->n, depth + 1) : value_decode_dict(r, t->n, depth + 1);
}

PyObject *value_decode(struct reader *r, int depth)
{
    struct mp_token t;
    int rc = mp_read(&r->p, r->end, &t);
    if (rc == MP_TRUNCATED)
        return truncated(r);
    if (rc != MP_OK) {
        codec_malformed(r->st, "a byte that starts no value: 0xc1");
        return NULL;
    }
    switch (t.type) {
    case MP_NIL:
        Py_RETURN_NONE;
    case MP_BOOL:
        return PyBool_FromLong(t.truth);
    case MP_INT:
        return PyLong_FromLongLong(t.i);
    case MP_UINT:
        return PyLong_FromUnsignedLongLong(t.u);
    case MP_FLOAT:
        return PyFloat_FromDouble(t.f);
    case MP_STR:
        return new_text(r, t.data, t.n);
    case MP_BIN:
        if (t.data == r->long_at) {
            Py_INCREF(r->long_bytes);
            return r->long_bytes;
        }
        return PyBytes_FromStringAndSize((const char *)t.data, (Py_ssize_t)t.n);
    case MP_ARRAY:
    case MP_MAP:
        return decode_container(r, &t, depth);
    default:
        return decode_ext(r, &t, depth);
    }
}
