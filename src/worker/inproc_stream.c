/* See inproc.h. This file: what a function that streams may do: chunks against credit, the inbox, waiting for either. Accounting: docs/wire.md.
 *
 * Only the innermost call of a lane talks, and here calls do not nest: what comes while a stream runs belongs to it. Failure modes: what the host sends and
 * cannot be read breaks the channel, and the thread ends. */
#include <string.h>

#include "base/alloc.h"
#include "base/units.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "worker/inproc_private.h"

/* A value that was sent to the inbox. */
struct sent {
    struct list node;
    pit_value *value;
    size_t bytes; /* of its frame */
};

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t n = 0;
    for (int i = bytes - 1; i >= 0; i--)
        n = n << 8 | p[i];
    return n;
}

bool inproc_stream_open(struct inproc_stream *s, const struct frame *f)
{
    const uint8_t *field;
    size_t n;
    if (!frame_field(f, FIELD_STREAM, &field, &n) || n != FIELD_STREAM_SIZE)
        return false;
    *s = (struct inproc_stream){.chunks = get_le(field, 4),
                                .bytes = (int64_t)get_le(field + 8, 8),
                                .inbox_over = (get_le(field + 4, 4) & FIELD_STREAM_INBOX) == 0,
                                .window = get_le(field, 4),
                                .window_bytes = get_le(field + 8, 8)};
    list_init(&s->inbox);
    return true;
}

static void free_sent(struct sent *v)
{
    pit_value_free(v->value);
    mem_free(v);
}

void inproc_stream_close(struct inproc_stream *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->inbox)) != NULL)
        free_sent(LIST_ENTRY(node, struct sent, node));
}

bool inproc_cancelled(const struct pit_adapter_ctx *c)
{
    const struct inproc *b = c->body;
    if (b == NULL)
        return false;
    return (c->id != 0 && __atomic_load_n(&b->status->cancel, __ATOMIC_SEQ_CST) == c->id) ||
           __atomic_load_n(&b->ending, __ATOMIC_ACQUIRE) || inproc_is_over(b);
}

uint64_t inproc_deadline(const struct pit_adapter_ctx *c, int64_t timeout_ms)
{
    if (timeout_ms == PIT_INFINITE)
        return UINT64_MAX;
    uint64_t ns, at;
    if (timeout_ms <= 0 || __builtin_mul_overflow((uint64_t)timeout_ms, MS, &ns))
        return timeout_ms <= 0 ? 0 : UINT64_MAX;
    return __builtin_add_overflow(c->home->os->now_ns(), ns, &at) ? UINT64_MAX : at;
}

/* ---- what the host sends ---- */

static bool take_credit(struct inproc_stream *s, const struct frame *f)
{
    const uint8_t *p = f->payload, *end = p + f->payload_n;
    struct mp_token chunks, bytes;
    if (mp_read(&p, end, &chunks) != MP_OK || chunks.type != MP_INT || mp_read(&p, end, &bytes) != MP_OK ||
        bytes.type != MP_INT)
        return false;
    s->chunks += (uint64_t)chunks.i;
    s->bytes += bytes.i;
    return true;
}

static bool take_sent(struct inproc_stream *s, const struct frame *f, size_t bytes)
{
    struct sent *v = mem_zalloc(sizeof *v);
    if (v == NULL || codec_decode(f->payload, f->payload_n, NULL, &v->value, NULL, NULL) != 0) {
        mem_free(v);
        return false;
    }
    v->bytes = bytes;
    list_push_back(&s->inbox, &v->node);
    return true;
}

static void take_frame(struct pit_adapter_ctx *c, const struct channel_frame *in)
{
    struct inproc_stream *s = c->stream;
    struct frame f;
    bool good = frame_parse(in->data, in->n, &f) == 0;
    if (good && f.id == c->id) { /* else of a stream that has ended */
        if (f.kind == FRAME_CREDIT)
            good = take_credit(s, &f);
        else if (f.kind == FRAME_SEND)
            good = take_sent(s, &f, in->n);
        else
            s->inbox_over = s->inbox_over || f.kind == FRAME_SEND_END;
    }
    c->body->broken = !good;
}

/* Waits for one frame: 0, PIT_E_PENDING at the deadline, PIT_E_CANCELLED. */
static int hear(struct pit_adapter_ctx *c, uint64_t deadline_ns)
{
    struct inproc *b = c->body;
    for (;;) {
        if (inproc_cancelled(c))
            return PIT_E_CANCELLED;
        int rc = b->lane->ops->recv(b->lane, &b->side);
        if (rc == 0) {
            take_frame(c, &b->side);
            return b->broken ? PIT_E_CANCELLED : 0;
        }
        b->broken = rc != CHANNEL_AGAIN;
        if (!b->broken && b->os->now_ns() >= deadline_ns)
            return PIT_E_PENDING;
        b->waited = true;
        if (!b->broken)
            b->lane->ops->wait(b->lane, CHANNEL_FOR_FRAME, deadline_ns, b->spin_ns);
    }
}

/* ---- what the function asks for ---- */

int inproc_send(struct pit_adapter_ctx *c, const pit_value *chunk, uint64_t deadline_ns)
{
    struct inproc *b = c->body;
    struct inproc_stream *s = c->stream;
    uint8_t small[CALL_INLINE];
    struct buf out;
    if (s == NULL)
        return PIT_E_INVALID_REQUEST;
    buf_init_on(&out, small, sizeof small);
    int rc = inproc_encode(b, &out, FRAME_CHUNK, c->id, 0, chunk);
    while (rc == 0 && (s->chunks == 0 || s->bytes <= 0))
        rc = hear(c, deadline_ns);
    if (rc == 0 && inproc_cancelled(c))
        rc = PIT_E_CANCELLED;
    if (rc == 0) {
        s->chunks--;
        s->bytes -= (int64_t)out.len;
        inproc_put(b, out.data, out.len);
    }
    buf_finish(&out);
    return rc;
}

static void grant(struct pit_adapter_ctx *c)
{
    struct inproc_stream *s = c->stream;
    uint8_t frame[FRAME_HEADER + 2 * MP_HEAD];
    if (2 * s->due_chunks < s->window && 2 * s->due_bytes < s->window_bytes)
        return;
    uint8_t *end = mp_put_uint(mp_put_uint(frame + FRAME_HEADER, s->due_chunks), s->due_bytes);
    frame_put_header(frame, FRAME_CREDIT, 0, c->id, 0, (size_t)(end - frame));
    s->due_chunks = s->due_bytes = 0;
    inproc_put(c->body, frame, (size_t)(end - frame));
}

int inproc_receive(struct pit_adapter_ctx *c, uint64_t deadline_ns, pit_value **ret)
{
    struct inproc_stream *s = c->stream;
    struct list *node;
    if (s == NULL)
        return PIT_E_INVALID_REQUEST;
    while ((node = list_pop_front(&s->inbox)) == NULL) {
        int rc = s->inbox_over ? PIT_E_END : hear(c, deadline_ns);
        if (rc != 0)
            return rc;
    }
    struct sent *v = LIST_ENTRY(node, struct sent, node);
    s->due_chunks++;
    s->due_bytes += v->bytes;
    *ret = v->value;
    mem_free(v);
    if (!s->inbox_over)
        grant(c);
    return 0;
}
