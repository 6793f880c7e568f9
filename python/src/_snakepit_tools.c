/* What a call asks of its host: TOOL_CALL and TOOL_LIST, and their answers.
 *
 * The threads and tasks of one call take turns. Whoever has asked waits by inner_wait: calls that the host makes meanwhile, because its tool needs this
 * worker, are served in that wait.
 *
 * Invariants
 *  1. A call has at most one question out (running.asking), and sends nothing else meanwhile.
 *  2. A question that nobody waits for any more (an exception came up in the wait) stays the call's question until its answer has come and been dropped;
 *     only a call that is cancelled ends before that.
 *  3. A call ends after its last asker: tools_end waits for them, and later ones are refused.
 *  4. struct running of a call moves while another is nested in it: it is looked up anew after each wait.
 *
 * Failure: HostToolError, ValueError for a tool that is not there, Cancelled, RuntimeError after the call; what encoding raises. Thread: any of the
 * call, with the GIL. */
#include <string.h>

#include "_snakepit_inner.h"
#include "wire/mp.h"

/* ---- the answer ---- */

PyObject *tools_decode(struct lane *l, const struct frame *f)
{
    struct reader r = frame_reader(l, f);
    PyObject *value = value_decode(&r, 0);
    if (value != NULL && r.p != r.end) {
        codec_malformed(l->st, "bytes behind the value");
        Py_CLEAR(value);
    }
    const uint8_t *binary;
    size_t n;
    if (value != NULL && f->fields_n != 0 && frame_field(f, FIELD_BINARY, &binary, &n)) {
        PyObject *both = PyObject_CallFunction(l->st->with_binary, "Oy#", value, (const char *)binary, (Py_ssize_t)n);
        Py_SETREF(value, both);
    }
    return value;
}

void tools_take(struct lane *l, const struct frame *f)
{
    struct running *c = &l->running;
    while (c != NULL && !(c->asking && c->ask_id == f->id && c->answer_kind == 0))
        c = c->outer;
    if (c == NULL) { /* of a tool that streams; or of a call that has ended meanwhile */
        (void)tool_stream_take(l, f);
        return;
    }
    if (c->abandoned) {
        c->asking = c->abandoned = false;
        return;
    }
    c->answer = tools_decode(l, f);
    c->answer_kind = c->answer != NULL ? f->kind : -1;
    if (c->answer == NULL)
        c->answer = exception_take();
}

static void raise_object(PyObject *error)
{
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else if (PyErr_Occurred() == NULL)
        PyErr_NoMemory();
}

/* The value of the answer, or the exception that it is raised. */
static PyObject *take_answer(struct lane *l, struct running *c, PyObject *name)
{
    PyObject *answer = c->answer;
    int kind = c->answer_kind;
    c->answer = NULL;
    c->answer_kind = 0;
    c->asking = false;
    inner_recall(l);
    if (l->running.closing != NULL)
        tool_streams_close_late(l);
    if (kind == FRAME_TOOL_RESULT || kind == FRAME_TOOL_LIST)
        return answer;
    if (kind == FRAME_TOOL_ERROR)
        Py_SETREF(answer, PyObject_CallFunctionObjArgs(l->st->tool_failure, name, answer, NULL));
    raise_object(answer);
    Py_XDECREF(answer);
    return NULL;
}

/* ---- the question ---- */

static void put_le(uint8_t *p, uint64_t n, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

static bool has_fields(const struct question *q)
{
    return q->binary != Py_None || q->window_chunks != 0;
}

static int put_fields(struct writer *w, const struct question *q)
{
    enum { WINDOW = FRAME_FIELD_HEAD + FIELD_STREAM_SIZE };
    size_t n = q->binary != Py_None ? (size_t)PyBytes_GET_SIZE(q->binary) : 0;
    size_t all = (q->binary != Py_None ? FRAME_FIELD_HEAD + n : 0) + (q->window_chunks != 0 ? WINDOW : 0);
    if (writer_room(w, FRAME_FIELDS_HEAD + all) != 0)
        return -1;
    frame_put_fields_head(w->p, all);
    w->p += FRAME_FIELDS_HEAD;
    if (q->window_chunks != 0) {
        frame_put_field_head(w->p, FIELD_STREAM, FIELD_STREAM_SIZE);
        put_le(w->p + FRAME_FIELD_HEAD, q->window_chunks, 4);
        put_le(w->p + FRAME_FIELD_HEAD + 4, 0, 4);
        put_le(w->p + FRAME_FIELD_HEAD + 8, q->window_bytes, 8);
        w->p += WINDOW;
    }
    if (q->binary != Py_None) {
        frame_put_field_head(w->p, FIELD_BINARY, n);
        memcpy(w->p + FRAME_FIELD_HEAD, PyBytes_AS_STRING(q->binary), n);
        w->p += FRAME_FIELD_HEAD + n;
    }
    return 0;
}

/* As a dict of them would be. */
static int put_named(struct writer *w, const struct question *q)
{
    Py_ssize_t n = PyTuple_GET_SIZE(q->names);
    bool odd = false;
    if (container_enter(w, n, 0) != 0 || entries_count(w, n) != 0)
        return -1;
    w->p = mp_put_map(w->p, (uint32_t)n);
    for (Py_ssize_t i = 0; i < n; i++)
        if (put_entry(w, PyTuple_GET_ITEM(q->names, i), q->named[i], 1, &odd) != 0)
            return -1;
    return odd ? keys_distinct(w, q->names, false) : 0;
}

static int put_question(struct lane *l, struct writer *w, const struct question *q)
{
    w->policy = POLICY_ERROR;
    if (q->kind == FRAME_TOOL_LIST)
        return 0;
    if (has_fields(q) && put_fields(w, q) != 0)
        return -1;
    if (value_encode(w, q->name, 0) != 0 || (q->names != NULL ? put_named(w, q) : value_encode(w, q->parameters, 0)) != 0)
        return -1;
    return writer_size(w) > l->max_frame ? writer_grow(w, 0) : 0; /* says so */
}

static int send_question(struct lane *l, const struct question *q, uint64_t ask_id)
{
    struct writer w;
    if (inner_write_begin(l) != 0)
        return -1;
    int rc = frame_start(l, &w);
    if (rc == 0)
        rc = put_question(l, &w, q);
    if (rc == 0)
        rc = stream_publish(l, &w, q->kind, has_fields(q) ? FRAME_FIELDS : 0, ask_id);
    writer_finish(&w);
    inner_write_end(l);
    return rc;
}

static int has_ended(void)
{
    PyErr_SetString(PyExc_RuntimeError, "the call has ended: its host can be asked for nothing more");
    return -1;
}

/* Until this thread may ask. */
static int await_turn(struct lane *l, uint64_t id, unsigned *askers)
{
    struct running *c;
    while ((c = inner_level(l, id)) != NULL && c->live && c->asking)
        if (inner_wait(l, id, askers) != 0)
            return -1;
    if (c == NULL || !c->live)
        return has_ended();
    if (call_is_cancelled(l, id)) {
        PyErr_SetNone(l->st->Cancelled);
        return -1;
    }
    return 0;
}

static PyObject *ask_in_turn(struct lane *l, uint64_t id, unsigned *askers, const struct question *q)
{
    if (await_turn(l, id, askers) != 0)
        return NULL;
    struct running *c = &l->running; /* who has the turn is innermost */
    c->asking = true;
    c->abandoned = false;
    c->answer_kind = 0;
    c->ask_id = ++l->last_ask;
    if (send_question(l, q, c->ask_id) != 0) {
        c->asking = false;
        inner_recall(l);
        return NULL;
    }
    while ((c = inner_level(l, id))->answer_kind == 0) {
        if (inner_wait(l, id, askers) == 0)
            continue;
        c = inner_level(l, id);
        if (c->answer_kind == 0) {
            c->abandoned = true;
        } else {
            Py_CLEAR(c->answer);
            c->answer_kind = 0;
            c->asking = false;
            inner_recall(l);
        }
        return NULL;
    }
    return take_answer(l, c, q->name);
}

/* Counted among those who ask: the call waits for them. NULL with an exception: it has ended. */
static unsigned *enter(struct lane *l, uint64_t id)
{
    struct running *c = l->map != NULL ? inner_level(l, id) : NULL;
    if (c == NULL || !c->live) {
        has_ended();
        return NULL;
    }
    ++l->askers[c->depth];
    return &l->askers[c->depth];
}

static void leave(struct lane *l, unsigned *askers)
{
    if (--*askers == 0 && l->waiting != 0)
        inner_tell(l);
}

PyObject *tools_ask(struct lane *l, uint64_t id, const struct question *q)
{
    unsigned *askers = enter(l, id);
    if (askers == NULL)
        return NULL;
    PyObject *answer = ask_in_turn(l, id, askers, q);
    leave(l, askers);
    return answer;
}

int tools_open(struct lane *l, uint64_t id, const struct question *q, struct tool_stream *s)
{
    unsigned *askers = enter(l, id);
    if (askers == NULL)
        return -1;
    int rc = await_turn(l, id, askers);
    if (rc == 0) {
        struct running *c = &l->running;
        c->asking = true; /* nobody else while this is being written */
        c->abandoned = false;
        c->answer_kind = 0;
        c->ask_id = 0;
        s->id = ++l->last_ask;
        tool_stream_join(s, l, c);
        rc = send_question(l, q, s->id);
        l->running.asking = false;
        inner_recall(l);
        if (rc != 0)
            tool_stream_part(s);
    }
    leave(l, askers);
    return rc;
}

PyObject *lane_ask(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (n != 4 || !PyUnicode_Check(args[1]) || (args[3] != Py_None && !PyBytes_Check(args[3]))) {
        PyErr_SetString(PyExc_TypeError, "ask(id, name, parameters, binary)");
        return NULL;
    }
    unsigned long long id = PyLong_AsUnsignedLongLong(args[0]);
    if (id == (unsigned long long)-1 && PyErr_Occurred() != NULL)
        return NULL;
    const struct question q = {.kind = FRAME_TOOL_CALL, .name = args[1], .parameters = args[2], .binary = args[3]};
    return tools_ask((struct lane *)(void *)self, id, &q);
}

PyObject *lane_list_tools(PyObject *self, PyObject *arg)
{
    unsigned long long id = PyLong_AsUnsignedLongLong(arg);
    if (id == (unsigned long long)-1 && PyErr_Occurred() != NULL)
        return NULL;
    const struct question q = {.kind = FRAME_TOOL_LIST, .name = Py_None, .parameters = Py_None, .binary = Py_None};
    return tools_ask((struct lane *)(void *)self, id, &q);
}

/* ---- the end of a call ---- */

void tools_end(struct lane *l)
{
    PyObject *type, *error, *traceback;
    struct running *c = &l->running;
    unsigned none = 0;
    PyErr_Fetch(&type, &error, &traceback);
    c->live = false;
    while (l->askers[c->depth] != 0)
        inner_pause(l);
    tool_streams_end(l, c);
    while (c->asking && !l->broken && !l->eof && !call_is_cancelled(l, c->id))
        if (inner_wait(l, c->id, &none) != 0)
            PyErr_Clear();
    c->asking = c->abandoned = false;
    c->answer_kind = 0;
    Py_CLEAR(c->answer);
    Py_CLEAR(c->context);
    PyErr_Restore(type, error, traceback);
}
