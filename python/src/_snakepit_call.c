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

#include "_snakepit_call.h"
#include "wire/mp.h"

#define IN_PLACE 2048 /* an answer up to this size is made in the ring */

/* ---- finding the function ---- */

static PyObject *remembered(struct lane *l, struct command_table *table, const uint8_t *name, size_t n)
{
    unsigned at = table->last; /* the same again, most often */
    for (unsigned i = 0; i < table->n; i++, at++) {
        if (at == table->n)
            at = 0;
        struct command *c = &table->known[at];
        if (c->n == n && memcmp(c->name, name, n) == 0) {
            table->last = at;
            l->named = c->recorded;
            l->takes = c->takes;
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

static void remember(struct lane *l, struct command_table *table, const uint8_t *name, size_t n, PyObject *fn)
{
    learn_names(l, fn);
    if (n > COMMAND_LONGEST)
        return;
    unsigned at = table->n < COMMANDS ? table->n++ : table->next_victim++ % COMMANDS;
    struct command *c = &table->known[at];
    memcpy(c->name, name, n);
    c->n = n;
    c->takes = l->takes;
    l->named = c->recorded = recorder_name(l, name, n);
    Py_INCREF(fn);
    Py_XSETREF(c->fn, fn);
}

/* A new reference. */
static PyObject *find(struct lane *l, struct command_table *table, struct reader *r)
{
    struct mp_token t;
    int rc = mp_read(&r->p, r->end, &t);
    if (rc != MP_OK || t.type != MP_STR) {
        codec_malformed(r->st, "a call whose command is no text");
        return NULL;
    }
    PyObject *fn = remembered(l, table, t.data, t.n), *name, *found;
    if (fn != NULL)
        return fn;
    name = value_decode_text(r, t.data, t.n);
    found = name != NULL
                ? PyObject_CallMethod(l->commands, table == &l->streams ? "resolve_stream" : "resolve_call", "(O)", name)
                : NULL;
    Py_XDECREF(name);
    int keep = 0;
    l->takes = 0;
    if (found == NULL || !PyArg_ParseTuple(found, "Op|I", &fn, &keep, &l->takes)) {
        Py_XDECREF(found);
        return NULL;
    }
    Py_INCREF(fn);
    Py_DECREF(found);
    if (keep)
        remember(l, table, t.data, t.n, fn);
    return fn;
}

/* ---- running ---- */

int call_claim(struct lane *l, uint64_t id)
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

/* Is the result a value as it is? Nearly always by its type; what can be awaited or iterated over is to be looked at. */
static bool is_plain(PyObject *result)
{
    PyTypeObject *t = Py_TYPE(result);
    if (t == &PyDict_Type || t == &PyLong_Type || t == &PyUnicode_Type || t == &PyFloat_Type || t == &PyList_Type ||
        result == Py_None || t == &PyBool_Type || t == &PyBytes_Type || t == &PyTuple_Type)
        return true;
    return !PyIter_Check(result) &&
           (t->tp_as_async == NULL || (t->tp_as_async->am_await == NULL && t->tp_as_async->am_anext == NULL));
}

PyObject *call_in_loop(struct lane *l, const char *method, PyObject *result, PyObject *with)
{
    PyObject *context = PyObject_CallMethod((PyObject *)l, "make_context", NULL), *value = NULL;
    l->running.active = false; /* tasks have a context of their own */
    __atomic_store_n(&l->status->task, l->running.id, __ATOMIC_SEQ_CST);
    if (context != NULL)
        value = PyObject_CallMethod(l->commands, method, with != NULL ? "(OOO)" : "(OO)", result, context, with);
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

PyObject *call_enter(struct lane *l, PyObject *fn, struct arguments *a)
{
    l->running.active = l->running.live = true;
    if (call_is_cancelled(l, l->running.id))
        return cancelled_before(l);
    if (a->args != NULL)
        return PyObject_Call(fn, a->args, a->kwargs);
    Py_ssize_t named = a->names != NULL ? PyTuple_GET_SIZE(a->names) : 0;
    return PyObject_Vectorcall(fn, a->room + 1, (size_t)(a->n - named) | PY_VECTORCALL_ARGUMENTS_OFFSET, a->names);
}

void call_leave(struct lane *l)
{
    l->running.active = l->running.live = false;
    if (__builtin_expect(l->threaded, 0))
        lane_end_throws(l);
    if (__builtin_expect(l->running.asked, 0)) {
        tools_end(l);
        take_back_context(l);
    }
}

/* What an async function gives is run, a generator refused; the rest is the result. */
static PyObject *run(struct lane *l, PyObject *fn, struct arguments *a)
{
    PyObject *result = call_enter(l, fn, a);
    if (result != NULL && !is_plain(result))
        result = call_in_loop(l, "complete", result, NULL);
    call_leave(l);
    return result;
}

/* ---- answering ---- */

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

int frame_send(struct lane *l, struct writer *w, int kind, unsigned flags, uint64_t id, uint64_t stamp)
{
    size_t n = (size_t)(w->p - w->base);
    frame_put_header(w->base, kind, flags, id, stamp, writer_size(w));
    if (w->left != NULL)
        return send_in_parts(l, w);
    if (w->heap)
        return lane_send(l, w->base, n);
    ring_commit(&l->out, n);
    lane_publish(l);
    return 0;
}

int frame_start(struct lane *l, struct writer *w)
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

PyObject *exception_take(void)
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
    PyObject *error = exception_take(), *payload = NULL;
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
        rc = frame_send(l, &w, FRAME_ERROR, 0, id, stamp);
    }
    writer_finish(&w);
    Py_DECREF(payload);
    return rc;
}

static int answer_result(struct lane *l, PyObject *result, uint64_t id, uint64_t stamp)
{
    struct writer w;
    int rc = frame_start(l, &w);
    w.policy = l->running.policy;
    w.may_leave = true;
    if (rc == 0)
        rc = value_encode(&w, result, 0);
    if (rc == 0 && writer_size(&w) > l->max_frame)
        rc = writer_grow(&w, 0); /* says so */
    if (l->forked)
        _exit(0);
    rc = rc == 0 ? frame_send(l, &w, FRAME_RESULT, 0, id, stamp) : answer_error(l, id, stamp);
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

void call_let_go(struct held *h)
{
    arguments_drop(&h->a);
    Py_XDECREF(h->fn);
    Py_XDECREF(h->result);
}

int call_prepare(struct lane *l, const struct frame *f, struct held *h, struct command_table *table)
{
    h->fn = h->result = NULL;
    h->a.n = 0; /* its vector is not cleared */
    h->a.names = h->a.args = h->a.kwargs = NULL;
    struct reader r = frame_reader(l, f);
    int rc = f->stamp != 0 && lane_is_past(l, f->stamp) ? too_late(l) : keep_fields(l, f);
    l->named = 0;
    if (rc == 0)
        rc = (h->fn = find(l, table, &r)) != NULL ? 0 : -1;
    if (l->recorder.ring != NULL)
        recorder_call_begins(&l->recorder, recorder_now(l), f->id, l->named);
    if (rc == 0)
        rc = arguments_decode(l, &r, &h->a);
    if (r.times)
        note_cut(l);
    if (rc == 0 && r.p != r.end)
        rc = codec_malformed(l->st, "bytes behind the arguments");
    lane_release(l);
    return rc;
}

/* Of what came while the call ran, something was nonsense: no answer could be relied on. */
static int broken(struct lane *l, struct held *h)
{
    PyErr_Clear();
    call_let_go(h);
    PyErr_SetString(l->st->ProtocolError, "a frame that has no place in a call");
    return -1;
}

int call_answer(struct lane *l, struct held *h, uint64_t id, uint64_t took)
{
    if (l->forked)
        _exit(0);
    if (__builtin_expect(l->broken, 0))
        return broken(l, h);
    mark_finished(l, id);
    l->outcome = RECORDER_OK;
    int rc = h->result != NULL ? answer_result(l, h->result, id, took) : answer_error(l, id, took);
    if (l->recorder.ring != NULL)
        recorder_call_ends(&l->recorder, recorder_now(l), l->outcome);
    call_let_go(h);
    return rc;
}

int lane_serve_call(struct lane *l, const struct frame *f)
{
    uint64_t id = f->id, took = 0;
    bool timed = (f->flags & FRAME_TIMED) != 0; /* the host wants to know how long the function takes */
    if (call_claim(l, id) != 0) {
        lane_release(l);
        return 0;
    }
    struct held h;
    if (call_prepare(l, f, &h, &l->calls) == 0) {
        uint64_t begun = timed ? lane_now_ns() : 0;
        h.result = run(l, h.fn, &h.a);
        if (timed)
            took = lane_now_ns() - begun;
    }
    return call_answer(l, &h, id, took);
}
