/* What the host sends to a stream: credit, and values for the inbox of its function.
 *
 * A value is decoded when it comes, whoever has read it, and kept until the inbox's reader takes it; the window, which the host keeps to, bounds how
 * many there are. What has been taken is granted again in lumps of half a window.
 *
 * Failure: a value that cannot be decoded is the exception that the reader gets in its place. Thread: any of the call, with the GIL. */
#include "_snakepit_inner.h"
#include "wire/mp.h"

#define ITEMS_LEAST 8

static int take_numbers(const struct frame *f, uint64_t *chunks, uint64_t *bytes)
{
    const uint8_t *p = f->payload, *end = p + f->payload_n;
    struct mp_token t, u;
    if (mp_read(&p, end, &t) != MP_OK || mp_read(&p, end, &u) != MP_OK || p != end || t.type != MP_INT || u.type != MP_INT ||
        t.i < 0 || u.i < 0 || t.i > UINT32_MAX)
        return -1;
    *chunks = (uint64_t)t.i;
    *bytes = (uint64_t)u.i;
    return 0;
}

static int64_t added(int64_t credit, uint64_t more)
{
    int64_t sum;
    return __builtin_add_overflow(credit, (int64_t)more, &sum) ? INT64_MAX : sum;
}

static struct inbox_item *room(struct inbox *in)
{
    if (in->n == in->cap) {
        size_t cap = in->cap != 0 ? 2 * in->cap : ITEMS_LEAST;
        struct inbox_item *items = PyMem_RawMalloc(cap * sizeof *items);
        if (items == NULL)
            return NULL;
        for (size_t i = 0; i < in->n; i++)
            items[i] = in->items[(in->first + i) & (in->cap - 1)];
        PyMem_RawFree(in->items);
        in->items = items;
        in->first = 0;
        in->cap = cap;
    }
    return &in->items[(in->first + in->n++) & (in->cap - 1)];
}

int inbox_put(struct lane *l, struct inbox *in, const struct frame *f)
{
    struct reader r = frame_reader(l, f);
    PyObject *value = value_decode(&r, 0);
    if (value != NULL && r.p != r.end) {
        codec_malformed(l->st, "bytes behind the value");
        Py_CLEAR(value);
    }
    bool failed = value == NULL;
    if (failed)
        value = exception_take();
    struct inbox_item *item = value != NULL ? room(in) : NULL;
    if (item == NULL) {
        Py_XDECREF(value);
        PyErr_NoMemory();
        return -1;
    }
    size_t bytes = FRAME_HEADER + f->payload_n + (f->fields_n != 0 ? FRAME_FIELDS_HEAD + f->fields_n : 0);
    *item = (struct inbox_item){.value = value, .bytes = bytes, .failed = failed};
    return 0;
}

int stream_take(struct lane *l, struct stream *s, const struct frame *f)
{
    uint64_t chunks, bytes;
    if (f->kind == FRAME_SEND)
        return s->ended ? 0 : inbox_put(l, &s->in, f);
    if (f->kind == FRAME_SEND_END) {
        s->ended = true;
        return 0;
    }
    if (take_numbers(f, &chunks, &bytes) != 0)
        return -1;
    s->chunks = added(s->chunks, chunks);
    s->bytes = added(s->bytes, bytes);
    return 0;
}

/* Tells the host what the reader has taken, once it is half a window. */
static int grant(struct stream *s)
{
    struct lane *l = s->lane;
    if ((2 * s->taken_chunks < s->window_chunks && 2 * s->taken_bytes < s->window_bytes) || s->taken_chunks == 0 ||
        !stream_has_turn(s))
        return 0;
    if (inner_write_begin(l) != 0)
        return -1;
    struct writer w;
    int rc = frame_start(l, &w);
    if (rc == 0 && (rc = writer_room(&w, 2 * MP_HEAD)) == 0) {
        w.p = mp_put_uint(mp_put_uint(w.p, s->taken_chunks), s->taken_bytes);
        s->taken_chunks = s->taken_bytes = 0;
        rc = stream_publish(l, &w, FRAME_CREDIT, 0, s->id);
    }
    writer_finish(&w);
    inner_write_end(l);
    return rc;
}

struct inbox_item inbox_pop(struct inbox *in)
{
    struct inbox_item item = in->items[in->first];
    in->first = (in->first + 1) & (in->cap - 1);
    in->n--;
    return item;
}

PyObject *inbox_open(struct inbox_item item)
{
    if (!item.failed)
        return item.value;
    PyErr_SetObject((PyObject *)Py_TYPE(item.value), item.value);
    Py_DECREF(item.value);
    return NULL;
}

static PyObject *pop(struct stream *s)
{
    struct inbox_item item = inbox_pop(&s->in);
    s->taken_chunks++;
    s->taken_bytes += item.bytes;
    if (grant(s) != 0) {
        Py_DECREF(item.value);
        return NULL;
    }
    return inbox_open(item);
}

PyObject *stream_receive(struct stream *s, bool wait, bool *none)
{
    while (stream_is_open(s) == 0) {
        if (call_is_cancelled(s->lane, s->id)) {
            PyErr_SetNone(s->lane->st->Cancelled);
            return NULL;
        }
        if (s->in.n != 0)
            return pop(s);
        if (s->ended)
            return NULL;
        if (!wait) {
            *none = true;
            return NULL;
        }
        if (grant(s) != 0 || inner_wait(s->lane, s->id, &s->waiters) != 0)
            return NULL;
    }
    return NULL;
}

void inbox_finish(struct inbox *in)
{
    struct inbox old = *in; /* what goes may run code */
    *in = (struct inbox){0};
    for (size_t i = 0; i < old.n; i++)
        Py_DECREF(old.items[(old.first + i) & (old.cap - 1)].value);
    PyMem_RawFree(old.items);
}
