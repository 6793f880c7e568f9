/* Frames that come in fragments, and the long bytes in them, which go straight from the ring into the object that the function will get.
 *
 * A frame is put together in the lane's block. But a long bytes that begins near the front of it, as in f(data=...), is not: once its head has been
 * seen it is received into an object of its own, and its place in the block stays a hole that nobody touches: addresses without pages. The decoder
 * gives that object out when it comes to the place (struct reader, long_at). One copy less, and half the fresh pages.
 *
 * Invariants
 *  1. Only what stands at the beginning of a value is taken for a bytes: the search goes from value to value, as the decoder will.
 *  2. The block has room for the whole frame, hole included, before anything behind the hole is written to it.
 *
 * Failure: the codes of ring_read; without memory for the object the frame is put together as any other. Thread: the lane's, with the GIL. */
#include <string.h>
#include <sys/socket.h>

#include "_snakepit_lane.h"
#include "wire/mp.h"

#define LOOK_MOST ((size_t)4096) /* as far into a frame bytes are looked for */

enum look { LOOK_FOUND, LOOK_FURTHER, LOOK_NOTHING };

void incoming_finish(struct incoming *in)
{
    Py_CLEAR(in->bytes);
    PyMem_RawFree(in->block);
    *in = (struct incoming){0};
}

/* Over one value, or the head of a container, at *p. */
static enum look step(const uint8_t **p, const uint8_t *end)
{
    struct mp_token t;
    const uint8_t *at = *p;
    if (*at == 0xc9 && end - at >= MP_EXT_OPEN) { /* longer than what has come, perhaps: mp_read would refuse it */
        t.type = MP_EXT;
        t.ext = (int8_t)at[5];
        t.n = mp_be32(at + 1);
        *p = at + MP_EXT_OPEN;
    } else {
        int rc = mp_read(p, end, &t);
        if (rc != MP_OK)
            return rc == MP_TRUNCATED ? LOOK_FURTHER : LOOK_NOTHING;
    }
    if (t.type != MP_EXT || t.ext == MP_EXT_ARGS || t.ext == MP_EXT_TUPLE)
        return LOOK_FOUND;
    if (t.n > (size_t)(end - *p))
        return LOOK_NOTHING;
    *p += t.n;
    return LOOK_FOUND;
}

/* The first long bytes whose head is among the first n bytes of a frame: where its data begins, and how long it is. */
static enum look find_long(const uint8_t *frame, size_t n, size_t *ret_at, size_t *ret_n)
{
    const uint8_t *p = frame + FRAME_HEADER, *end = frame + n;
    if (n < FRAME_HEADER + sizeof(uint32_t))
        return LOOK_FURTHER;
    if ((frame[2] & FRAME_FIELDS) != 0) {
        size_t fields = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        p += sizeof(uint32_t);
        if (fields > (size_t)(end - p))
            return LOOK_FURTHER;
        p += fields;
    }
    while (p != end) {
        if (*p == 0xc6) {
            if (end - p < 5)
                return LOOK_FURTHER;
            *ret_n = mp_be32(p + 1);
            *ret_at = (size_t)(p + 5 - frame);
            if (*ret_n >= LONG_DATA)
                return LOOK_FOUND;
        }
        enum look found = step(&p, end);
        if (found != LOOK_FOUND)
            return found;
    }
    return LOOK_FURTHER;
}

static uint8_t *room(struct incoming *in, size_t n)
{
    if (n > in->cap) {
        uint8_t *block = PyMem_RawRealloc(in->block, n);
        if (block == NULL)
            return NULL;
        in->block = block;
        in->cap = n;
    }
    return in->block;
}

/* What the header of the frame says, 0 while that has not come. */
static size_t claimed(const struct lane *l)
{
    const struct incoming *in = &l->incoming;
    int64_t size = in->got >= FRAME_HEADER ? frame_peek_size(in->block, l->max_frame) : 0;
    return size > 0 ? (size_t)size : 0;
}

/* Looks for long bytes in what has come, and makes the object that they go into. */
static void look(struct lane *l)
{
    struct incoming *in = &l->incoming;
    size_t size = claimed(l), at, n;
    enum look found = find_long(in->block, in->got < LOOK_MOST ? in->got : LOOK_MOST, &at, &n);
    if (found == LOOK_FURTHER && in->got < LOOK_MOST)
        return;
    in->looked = true;
    if (found != LOOK_FOUND || at > size || n > size - at || room(in, size) == NULL)
        return;
    in->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    if (in->bytes == NULL) {
        PyErr_Clear();
        return;
    }
    in->at = at;
    size_t have = in->got > at ? in->got - at : 0;
    memcpy(PyBytes_AS_STRING(in->bytes), in->block + at, have < n ? have : n);
}

/* Copies a fragment to where it belongs. */
static int add(struct lane *l, const uint8_t *data, size_t n)
{
    struct incoming *in = &l->incoming;
    size_t total = in->got + n, size = claimed(l);
    if (total > l->max_frame)
        return RING_LIMIT;
    if (in->bytes == NULL) {
        if (total > in->cap && room(in, size >= total ? size : 2 * total) == NULL)
            return RING_NO_MEMORY;
        memcpy(in->block + in->got, data, n);
        in->got = total;
        if (!in->looked)
            look(l);
        return RING_OK;
    }
    if (total > size)
        return RING_BROKEN;
    size_t end = in->at + (size_t)PyBytes_GET_SIZE(in->bytes), part = in->got < end ? end - in->got : 0;
    part = part < n ? part : n;
    if (part != 0)
        memcpy(PyBytes_AS_STRING(in->bytes) + (in->got - in->at), data, part);
    if (part != n)
        memcpy(in->block + in->got + part, data + part, n - part);
    in->got = total;
    return RING_OK;
}

int incoming_read(struct lane *l, const uint8_t **ret, size_t *ret_n)
{
    struct incoming *in = &l->incoming;
    const uint8_t *data;
    size_t n;
    bool last = false;
    int rc = RING_OK;
    while (rc == RING_OK && !last) {
        rc = ring_fragment(&l->in, &data, &n, &last);
        if (rc == RING_OK)
            rc = add(l, data, n);
        if (rc == RING_OK)
            ring_fragment_done(&l->in, n, last);
    }
    if (ring_take_socket_bell(&l->in))
        (void)send(l->control_fd, "", 1, MSG_NOSIGNAL);
    if (rc != RING_OK)
        return rc;
    *ret = in->block;
    *ret_n = in->got;
    in->got = 0;
    in->looked = false;
    return RING_OK;
}
