/* One call: claim, decode, run, mark, encode, answer (docs/internals/python.md has the order and why).
 *
 * Invariants
 *  1. A call is claimed before its frame leaves the ring; one that the host has taken back is skipped without a word.
 *  2. 'finished' is set before the answer is published.
 *  3. Exactly one RESULT or ERROR for each claimed call, whatever the function does; none from a child that it forked.
 *
 * Failure: what user code raises becomes an ERROR; only a broken protocol or the end of memory for an ERROR itself end the lane.
 * Thread: the lane's, with the GIL. */
#include <string.h>
#include <unistd.h>

#include "_snakepit_lane.h"
#include "wire/mp.h"

#define IN_PLACE 2048 /* an answer up to this size is made in the ring */

/* Arguments on their way into a function; the general form is args and kwargs, the quick one the vector. */
struct arguments {
    PyObject *room[1 + FAST_ARGUMENTS]; /* the first belongs to the callee (PY_VECTORCALL_ARGUMENTS_OFFSET) */
    Py_ssize_t n;                       /* in the vector, named ones included */
    PyObject *names;                    /* of the last ones; may be NULL */
    PyObject *args, *kwargs;            /* general form if args is set */
};

static void drop(struct arguments *a)
{
    for (Py_ssize_t i = 0; i < a->n; i++)
        Py_DECREF(a->room[1 + i]);
    a->n = 0;
    Py_CLEAR(a->names);
    Py_CLEAR(a->args);
    Py_CLEAR(a->kwargs);
}

/* ---- decoding the arguments ---- */

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

static int decode_arguments(struct lane *l, struct reader *r, struct arguments *a)
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
        drop(a);
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

/* ---- finding the function ---- */

static PyObject *remembered(struct lane *l, const uint8_t *name, size_t n)
{
    unsigned at = l->last_command; /* the same again, most often */
    for (unsigned i = 0; i < l->n_commands; i++, at++) {
        if (at == l->n_commands)
            at = 0;
        struct command *c = &l->known[at];
        if (c->n == n && memcmp(c->name, name, n) == 0) {
            l->last_command = at;
            l->named = c->recorded;
            Py_INCREF(c->fn);
            return c->fn;
        }
    }
    return NULL;
}

/* Puts the names of the function's parameters into the cache of texts, so that named arguments are matched by identity. */
static void learn_names(struct lane *l, PyObject *fn)
{
    PyObject *function = PyMethod_Check(fn) ? PyMethod_GET_FUNCTION(fn) : fn;
    if (!PyFunction_Check(function))
        return;
    PyObject *names = PyObject_GetAttrString(PyFunction_GET_CODE(function), "co_varnames");
    for (Py_ssize_t i = 0; names != NULL && PyTuple_Check(names) && i < PyTuple_GET_SIZE(names) && i < FAST_ARGUMENTS; i++)
        text_cache_put(&l->texts, PyTuple_GET_ITEM(names, i));
    Py_XDECREF(names);
    PyErr_Clear(); /* nothing depends on it */
}

static void remember(struct lane *l, const uint8_t *name, size_t n, PyObject *fn)
{
    learn_names(l, fn);
    if (n > COMMAND_LONGEST)
        return;
    unsigned at = l->n_commands < COMMANDS ? l->n_commands++ : l->next_victim++ % COMMANDS;
    struct command *c = &l->known[at];
    memcpy(c->name, name, n);
    c->n = n;
    l->named = c->recorded = recorder_name(l, name, n);
    Py_INCREF(fn);
    Py_XSETREF(c->fn, fn);
}

/* A new reference. */
static PyObject *find(struct lane *l, struct reader *r)
{
    struct mp_token t;
    int rc = mp_read(&r->p, r->end, &t);
    if (rc != MP_OK || t.type != MP_STR) {
        codec_malformed(r->st, "a call whose command is no text");
        return NULL;
    }
    PyObject *fn = remembered(l, t.data, t.n), *name, *found;
    if (fn != NULL)
        return fn;
    name = value_decode_text(r, t.data, t.n);
    found = name != NULL ? PyObject_CallMethod(l->commands, "resolve", "(O)", name) : NULL;
    Py_XDECREF(name);
    int keep = 0;
    if (found == NULL || !PyArg_ParseTuple(found, "Op", &fn, &keep)) {
        Py_XDECREF(found);
        return NULL;
    }
    Py_INCREF(fn);
    Py_DECREF(found);
    if (keep)
        remember(l, t.data, t.n, fn);
    return fn;
}

/* ---- running ---- */

/* 1: the host has taken it back. */
static int claim(struct lane *l, uint64_t id)
{
    uint64_t *slot = &l->status->claims[id % SEGMENT_SLOTS], revoked = CLAIM(id, CLAIM_REVOKED);
    if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) == revoked)
        return 1;
    if (__atomic_exchange_n(slot, CLAIM(id, CLAIM_STARTED), __ATOMIC_ACQ_REL) != revoked)
        return 0;
    __atomic_store_n(slot, revoked, __ATOMIC_RELEASE);
    return 1;
}

static void mark_finished(struct lane *l, uint64_t id)
{
    __atomic_store_n(&l->status->claims[id % SEGMENT_SLOTS], CLAIM(id, CLAIM_FINISHED), __ATOMIC_RELAXED);
    __atomic_store_n(&l->status->finished, id, __ATOMIC_RELEASE);
    __atomic_store_n(&l->status->progress, l->status->progress + 1, __ATOMIC_RELAXED);
}

/* What the caller has chosen for this call. */
static int read_options(struct lane *l, const struct frame *f)
{
    const uint8_t *data;
    size_t n;
    if (!frame_field(f, FIELD_OPTIONS, &data, &n))
        return 0;
    PyObject *policy = PyObject_CallFunction(l->st->policy_of_options, "y#", (const char *)data, (Py_ssize_t)n);
    if (policy == NULL)
        return -1;
    l->running.policy = (int)PyLong_AsLong(policy);
    Py_DECREF(policy);
    return 0;
}

/* Were nanoseconds cut off? Asked also after a failure, so that the next call does not hear of it. */
static void note_cut(struct lane *l)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *cut = PyObject_CallNoArgs(l->st->take_cut);
    l->running.times_cut = cut == Py_True;
    Py_XDECREF(cut);
    PyErr_Restore(type, error, traceback); /* of asking itself none is to be expected: the flag is a hint */
}

/* Keeps what a context may be asked for: the frame will be gone by then. */
static int keep_fields(struct lane *l, const struct frame *f)
{
    struct running *c = &l->running;
    if (f->fields_n > c->fields_cap) {
        uint8_t *fields = PyMem_RawRealloc(c->fields, f->fields_n);
        if (fields == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        c->fields = fields;
        c->fields_cap = f->fields_n;
    }
    if (f->fields_n != 0)
        memcpy(c->fields, f->fields, f->fields_n);
    c->fields_n = f->fields_n;
    c->id = f->id;
    c->stamp = f->stamp;
    c->times_cut = false;
    c->policy = POLICY_DEFAULT;
    return f->fields_n != 0 ? read_options(l, f) : 0;
}

/* Is the result a value as it is? Nearly always by its type; what can be awaited, and generators, are not. */
static bool is_plain(PyObject *result)
{
    PyTypeObject *t = Py_TYPE(result);
    if (t == &PyDict_Type || t == &PyLong_Type || t == &PyUnicode_Type || t == &PyFloat_Type || t == &PyList_Type ||
        result == Py_None || t == &PyBool_Type || t == &PyBytes_Type || t == &PyTuple_Type)
        return true;
    return !PyGen_CheckExact(result) && !PyAsyncGen_CheckExact(result) &&
           (t->tp_as_async == NULL || t->tp_as_async->am_await == NULL);
}

/* What an async method returned is run, a generator refused; the rest passes. Steals result. */
static PyObject *complete(struct lane *l, PyObject *result)
{
    PyObject *context = PyObject_CallMethod((PyObject *)l, "make_context", NULL), *value = NULL;
    l->running.active = false; /* tasks have a context of their own */
    __atomic_store_n(&l->status->task, l->running.id, __ATOMIC_SEQ_CST);
    if (context != NULL)
        value = PyObject_CallMethod(l->commands, "complete", "(OO)", result, context);
    __atomic_store_n(&l->status->task, 0, __ATOMIC_RELAXED);
    Py_XDECREF(context);
    Py_DECREF(result);
    return value;
}

/* It was cancelled between its way into the ring and now; also when its signal has come meanwhile, in vain. */
static PyObject *cancelled_before(struct lane *l)
{
    PyErr_SetString(l->st->Cancelled, "the call was cancelled before it began");
    return NULL;
}

/* The context of the call that has ended is handed to no thread that the next one starts. */
static void take_back_context(struct lane *l)
{
    PyObject *type, *error, *traceback;
    l->running.asked = false;
    PyErr_Fetch(&type, &error, &traceback);
    Py_XDECREF(PyContextVar_Set(l->st->handed, Py_None));
    PyErr_Clear();
    PyErr_Restore(type, error, traceback);
}

static PyObject *run(struct lane *l, PyObject *fn, struct arguments *a)
{
    PyObject *result;
    l->running.active = true;
    if (__builtin_expect(__atomic_load_n(&l->status->cancel, __ATOMIC_ACQUIRE) == l->running.id, 0)) {
        result = cancelled_before(l);
    } else if (a->args != NULL) {
        result = PyObject_Call(fn, a->args, a->kwargs);
    } else {
        Py_ssize_t named = a->names != NULL ? PyTuple_GET_SIZE(a->names) : 0;
        result = PyObject_Vectorcall(fn, a->room + 1, (size_t)(a->n - named) | PY_VECTORCALL_ARGUMENTS_OFFSET, a->names);
    }
    if (result != NULL && !is_plain(result))
        result = complete(l, result);
    l->running.active = false;
    if (__builtin_expect(l->threaded, 0))
        lane_end_throws(l);
    if (__builtin_expect(l->running.asked, 0))
        take_back_context(l);
    return result;
}

/* ---- answering ---- */

static uint8_t *put_header(struct writer *w, int kind, uint64_t id, uint64_t stamp)
{
    frame_put_header(w->base, kind, 0, id, stamp, writer_size(w));
    return w->base;
}

/* What was left out is sent from where it stands. */
static int send_in_parts(struct lane *l, const struct writer *w)
{
    const uint8_t *rest = w->base + w->left_at;
    int rc = lane_send_part(l, w->base, w->left_at, true);
    if (rc == 0)
        rc = lane_send_part(l, w->left_data, w->left_n, rest != w->p);
    if (rc == 0 && rest != w->p)
        rc = lane_send_part(l, rest, (size_t)(w->p - rest), false);
    return rc;
}

static int send_frame(struct lane *l, struct writer *w, int kind, uint64_t id, uint64_t stamp)
{
    size_t n = (size_t)(w->p - w->base);
    uint8_t *frame = put_header(w, kind, id, stamp);
    if (w->left != NULL)
        return send_in_parts(l, w);
    if (w->heap)
        return lane_send(l, frame, n);
    ring_commit(&l->out, n);
    lane_publish(l);
    return 0;
}

static int start_answer(struct lane *l, struct writer *w)
{
    size_t most = ring_whole_max(l->out.bytes);
    size_t n = most < IN_PLACE ? most : IN_PLACE;
    uint8_t *place = ring_reserve(&l->out, n);
    *w = (struct writer){.st = l->st, .base = place, .p = place, .end = place, .max = l->max_frame};
    if (place != NULL)
        w->end = place + n;
    else if (writer_grow(w, FRAME_HEADER) != 0)
        return -1;
    w->p += FRAME_HEADER;
    return 0;
}

/* Takes the exception that is being raised. NULL only without memory. */
static PyObject *take_exception(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL && error != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
}

static int outcome_of(struct lane *l, PyObject *error)
{
    if (error == NULL || PyErr_GivenExceptionMatches(error, PyExc_MemoryError))
        return RECORDER_NO_MEMORY;
    return PyErr_GivenExceptionMatches(error, l->st->Cancelled) ? RECORDER_CANCELLED : RECORDER_ERROR;
}

/* Answers with the exception that is being raised. */
static int answer_error(struct lane *l, uint64_t id, uint64_t stamp)
{
    PyObject *error = take_exception(), *payload = NULL;
    l->outcome = outcome_of(l, error);
    if (error != NULL)
        payload = PyObject_CallFunctionObjArgs(l->st->failure_payload, error, NULL);
    Py_XDECREF(error);
    if (payload == NULL || !PyBytes_Check(payload)) {
        Py_XDECREF(payload);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_SystemError, "an error without a description");
        return -1;
    }
    struct writer w = {.st = l->st};
    size_t n = (size_t)PyBytes_GET_SIZE(payload);
    int rc = writer_grow(&w, FRAME_HEADER + n);
    if (rc == 0) {
        memcpy(w.p + FRAME_HEADER, PyBytes_AS_STRING(payload), n);
        w.p += FRAME_HEADER + n;
        rc = send_frame(l, &w, FRAME_ERROR, id, stamp);
    }
    writer_finish(&w);
    Py_DECREF(payload);
    return rc;
}

static int answer_result(struct lane *l, PyObject *result, uint64_t id, uint64_t stamp)
{
    struct writer w;
    int rc = start_answer(l, &w);
    w.policy = l->running.policy;
    w.may_leave = true;
    if (rc == 0)
        rc = value_encode(&w, result, 0);
    if (rc == 0 && writer_size(&w) > l->max_frame)
        rc = writer_grow(&w, 0); /* says so */
    if (l->forked)
        _exit(0);
    rc = rc == 0 ? send_frame(l, &w, FRAME_RESULT, id, stamp) : answer_error(l, id, stamp);
    writer_finish(&w);
    return rc;
}

static int too_late(struct lane *l)
{
    PyObject *error = PyObject_CallFunction(l->st->SnakepitError, "ss", "deadline_exceeded",
                                            "the call's deadline had passed before it started");
    if (error != NULL) {
        PyErr_SetObject(l->st->SnakepitError, error);
        Py_DECREF(error);
    }
    return -1;
}

/* What a call holds, and lets go when its answer is out: the host need not wait for that. */
struct held {
    PyObject *fn, *result;
    struct arguments a;
};

static void let_go(struct held *h)
{
    drop(&h->a);
    Py_XDECREF(h->fn);
    Py_XDECREF(h->result);
}

/* Everything up to h->result; that is NULL with an exception. The frame leaves the ring on the way. *took (only if the host wants to know):
 * nanoseconds in the function. */
static void perform(struct lane *l, const struct frame *f, struct held *h, uint64_t *took)
{
    bool timed = (f->flags & FRAME_TIMED) != 0;
    h->fn = h->result = NULL;
    h->a.n = 0; /* its vector is not cleared */
    h->a.names = h->a.args = h->a.kwargs = NULL;
    struct reader r = {.st = l->st, .cache = &l->texts, .p = f->payload, .end = f->payload + f->payload_n};
    r.long_bytes = l->incoming.bytes;
    r.long_at = l->incoming.bytes != NULL ? l->incoming.block + l->incoming.at : NULL;
    int rc = f->stamp != 0 && lane_is_past(l, f->stamp) ? too_late(l) : keep_fields(l, f);
    l->named = 0;
    if (rc == 0)
        rc = (h->fn = find(l, &r)) != NULL ? 0 : -1;
    if (l->recorder.ring != NULL)
        recorder_call_begins(&l->recorder, recorder_now(l), f->id, l->named);
    if (rc == 0)
        rc = decode_arguments(l, &r, &h->a);
    if (r.times)
        note_cut(l);
    if (rc == 0 && r.p != r.end)
        rc = codec_malformed(l->st, "bytes behind the arguments");
    lane_release(l);
    if (rc == 0) {
        uint64_t begun = timed ? lane_now_ns() : 0;
        h->result = run(l, h->fn, &h->a);
        if (timed)
            *took = lane_now_ns() - begun;
    }
}

int lane_serve_call(struct lane *l, const struct frame *f)
{
    uint64_t id = f->id, took = 0;
    if (claim(l, id) != 0) {
        lane_release(l);
        return 0;
    }
    struct held h;
    perform(l, f, &h, &took);
    if (l->forked)
        _exit(0);
    mark_finished(l, id);
    l->outcome = RECORDER_OK;
    int rc = h.result != NULL ? answer_result(l, h.result, id, took) : answer_error(l, id, took);
    if (l->recorder.ring != NULL)
        recorder_call_ends(&l->recorder, recorder_now(l), l->outcome);
    let_go(&h);
    return rc;
}
