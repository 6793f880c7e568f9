/* See stream.h. This file: streams whose calls the loop carries. */
#include "pool/stream.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/cancel.h"
#include "pool/pool_internal.h"
#include "wire/mp.h"
#include "worker/repro.h"

enum { CREDIT_SIZE = FRAME_HEADER + 2 * 9 /* two integers of MessagePack */ };

void stream_init(struct stream *s, const struct pool *p, struct call *c, bool inbox)
{
    const struct stream_rules *r = &p->set.stream;
    *s = (struct stream){.call = c,
                         .on_chunk = s->on_chunk,
                         .rides = s->rides,
                         .window = r->window,
                         .window_bytes = r->window_bytes,
                         .idle_ns = r->idle_ns,
                         .inbox = inbox,
                         .may_chunks = r->window,
                         .may_bytes = (int64_t)r->window_bytes,
                         .send_chunks = inbox ? r->window : 0,
                         .send_bytes = inbox ? (int64_t)r->window_bytes : 0};
    list_init(&s->chunks);
    c->stream = s;
}

static void put_le(uint8_t *p, uint64_t n, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

void stream_put_field(const struct stream *s, struct buf *fields)
{
    uint8_t field[FRAME_FIELD_HEAD + FIELD_STREAM_SIZE];
    frame_put_field_head(field, FIELD_STREAM, FIELD_STREAM_SIZE);
    put_le(field + FRAME_FIELD_HEAD, s->window, 4);
    put_le(field + FRAME_FIELD_HEAD + 4, s->inbox ? FIELD_STREAM_INBOX : 0, 4);
    put_le(field + FRAME_FIELD_HEAD + 8, s->window_bytes, 8);
    buf_append(fields, field, sizeof field);
}

void stream_chunk_free(struct stream_chunk *k)
{
    if (k == NULL)
        return;
    pit_value_free(k->value);
    pit_value_free(k->metadata);
    if (!k->of_rider)
        mem_free(k);
}

void stream_finish(struct stream *s)
{
    struct list *node;
    stream_chunk_free(s->came);
    s->came = NULL;
    while ((node = list_pop_front(&s->chunks)) != NULL)
        stream_chunk_free(LIST_ENTRY(node, struct stream_chunk, node));
}

void stream_changed(const struct pool *p, struct stream *s)
{
    __atomic_add_fetch(&s->change, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&s->waiters, __ATOMIC_SEQ_CST) != 0)
        p->env->os->futex_wake(&s->change, INT_MAX);
}

/* ---- credit ---- */

static bool is_sent(const struct call *c)
{
    return c->state == CALL_SENT && c->sent == c->frame.len;
}

/* The lane of a stream that may be sent to, or NULL: then later. */
static struct lane *free_lane(const struct stream *s)
{
    struct call *c = s->call;
    return is_sent(c) && async_can_send(c->lane) ? c->lane : NULL;
}

/* Grants what has been taken, half a window at a time. */
static void grant(struct pool *p, struct stream *s)
{
    if (2 * s->due_chunks < s->window && 2 * s->due_bytes < s->window_bytes)
        return;
    struct lane *l = free_lane(s);
    if (l == NULL || s->final)
        return;
    uint8_t frame[CREDIT_SIZE];
    uint8_t *end = mp_put_uint(mp_put_uint(frame + FRAME_HEADER, s->due_chunks), s->due_bytes);
    size_t n = (size_t)(end - frame);
    frame_put_header(frame, FRAME_CREDIT, 0, s->call->sequence, 0, n);
    s->may_chunks += s->due_chunks;
    s->may_bytes += (int64_t)s->due_bytes;
    s->due_chunks = s->due_bytes = 0;
    s->heard_ns = pool_now(p);
    async_send_inner(p, l, frame, n);
}

static void put_end(struct pool *p, struct stream *s)
{
    struct lane *l = s->end_due ? free_lane(s) : NULL;
    if (l == NULL)
        return;
    uint8_t frame[FRAME_HEADER];
    frame_put_header(frame, FRAME_SEND_END, 0, s->call->sequence, 0, sizeof frame);
    s->end_due = false;
    s->call->fed = true;
    async_send_inner(p, l, frame, sizeof frame);
}

/* The worker has taken something out of the inbox. */
int stream_take_credit(struct pool *p, struct stream *s, const struct frame *f)
{
    const uint8_t *at = f->payload, *end = f->payload + f->payload_n;
    struct mp_token t[2];
    for (int i = 0; i < 2; i++)
        if (mp_read(&at, end, &t[i]) != MP_OK || t[i].type != MP_INT || t[i].i < 0)
            return PIT_E_PROTOCOL_ERROR;
    uint64_t chunks = (uint64_t)t[0].i, bytes = (uint64_t)t[1].i;
    int64_t held = s->send_bytes > 0 ? s->send_bytes : 0;
    if (at != end || !s->inbox || chunks > s->window - s->send_chunks || bytes > INT64_MAX - (uint64_t)held)
        return PIT_E_PROTOCOL_ERROR;
    s->send_chunks += chunks;
    s->send_bytes += (int64_t)bytes;
    stream_changed(p, s);
    return 0;
}

/* ---- receiving: the loop ---- */

/* The error is owned. */
pit_error *stream_decode(const struct frame *f, size_t bytes, struct stream_chunk *k)
{
    struct codec_error why;
    size_t used = 0;
    k->value = k->metadata = NULL;
    k->bytes = bytes;
    k->final = (f->flags & FRAME_FINAL) != 0;
    int rc = codec_decode(f->payload, f->payload_n, NULL, &k->value, &used, &why);
    if (rc == 0 && used != f->payload_n) {
        rc = codec_decode(f->payload + used, f->payload_n - used, NULL, &k->metadata, NULL, &why);
        if (rc == 0 && pit_value_kind(k->metadata) != PIT_KIND_MAP) {
            rc = PIT_E_DESERIALIZATION_FAILED;
            strcpy(why.text, "its metadata is no map");
            why.path[0] = '\0';
        }
    }
    if (rc == 0)
        return NULL;
    pit_value_free(k->value);
    pit_value_free(k->metadata);
    k->value = k->metadata = NULL;
    if (rc == PIT_E_ALLOCATION_FAILED)
        return error_new(rc, "out of memory while a chunk was decoded");
    pit_error *e =
        error_new(rc, "a chunk of the worker cannot be read: %s%s%s", why.text, why.path[0] != '\0' ? " at " : "", why.path);
    return why.path[0] != '\0' ? error_detail_take(e, "key", pit_str(why.path)) : e;
}

static pit_error *new_chunk(const struct frame *f, size_t bytes, struct stream_chunk **ret)
{
    struct stream_chunk *k = mem_zalloc(sizeof *k);
    pit_error *e =
        k != NULL ? stream_decode(f, bytes, k) : error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a chunk was read");
    if (e == NULL)
        *ret = k;
    else
        mem_free(k);
    return e;
}

/* Is it allowed, and what remains of the credit. */
bool stream_spend(struct stream *s, size_t bytes)
{
    if (s->final || s->may_chunks == 0 || s->may_bytes <= 0)
        return false;
    s->may_chunks--;
    s->may_bytes -= (int64_t)bytes;
    return true;
}

static void keep_chunk(struct pool *p, struct stream *s, struct stream_chunk *k)
{
    k->index = s->received++;
    s->final = k->final;
    s->heard_ns = pool_now(p);
    list_push_back(&s->chunks, &k->node);
    stream_changed(p, s);
}

static void tell_chunk_came(struct pool *p, struct call *c, size_t bytes)
{
    report_stream_message(p, c, false, bytes);
    if (c->stream->on_chunk != NULL)
        c->stream->on_chunk(c->stream);
}

int stream_loop_frame(struct pool *p, struct lane *l, const struct frame *f, size_t bytes)
{
    struct stream_chunk *k = NULL;
    struct list done;
    list_init(&done);
    pit_error *e = f->kind == FRAME_CHUNK ? new_chunk(f, bytes, &k) : NULL;
    int rc = 0;
    pool_lock(p);
    struct flight *head = lane_head(l);
    struct call *c = head != NULL ? head->call : NULL;
    if (head == NULL || head->sequence != f->id || (c != NULL && (c->stream == NULL || !is_sent(c))))
        rc = PIT_E_PROTOCOL_ERROR;
    else if (c != NULL && f->kind == FRAME_CREDIT)
        rc = stream_take_credit(p, c->stream, f);
    else if (c != NULL && !stream_spend(c->stream, bytes))
        rc = PIT_E_PROTOCOL_ERROR;
    else if (c != NULL && e != NULL)
        cancel_end(p, c, e, "unreadable", &done);
    else if (c != NULL)
        keep_chunk(p, c->stream, k);
    bool kept = rc == 0 && c != NULL;
    pool_unlock(p);
    if (!kept) { /* the protocol is broken, or its reader has gone */
        stream_chunk_free(k);
        pit_error_free(e);
    } else if (k != NULL) { /* c is there still: only this thread ends for good what the loop carries */
        tell_chunk_came(p, c, bytes);
    }
    async_deliver(p, &done);
    return rc;
}

void stream_attend(struct pool *p, struct lane *l)
{
    struct flight *head = lane_head(l);
    struct stream *s = head != NULL && head->call != NULL ? head->call->stream : NULL;
    if (s == NULL)
        return;
    grant(p, s);
    put_end(p, s);
    if (s->inbox)
        stream_changed(p, s);
}

/* ---- reading and sending: any thread ---- */

void stream_took(struct pool *p, struct stream *s, const struct stream_chunk *k)
{
    s->due_chunks++;
    s->due_bytes += k->bytes;
    grant(p, s);
}

static struct stream_chunk *first_chunk(struct stream *s)
{
    struct list *node = list_pop_front(&s->chunks);
    return node != NULL ? LIST_ENTRY(node, struct stream_chunk, node) : NULL;
}

struct stream_chunk *stream_take(struct pool *p, struct stream *s)
{
    pool_lock(p);
    struct stream_chunk *k = first_chunk(s);
    if (k != NULL)
        stream_took(p, s, k);
    pool_unlock(p);
    return k;
}

struct stream_chunk *stream_take_rest(struct stream *s)
{
    return first_chunk(s);
}

pit_error *stream_encode(const struct pool *p, const pit_value *v, struct buf *frame)
{
    struct codec_error why = {0};
    frame->len = 0;
    buf_append(frame, (const uint8_t[FRAME_HEADER]){0}, FRAME_HEADER);
    int rc = codec_encode(frame, v, &why);
    if (rc == 0 && frame->failed)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc == PIT_E_ALLOCATION_FAILED)
        return error_new(rc, "out of memory while a value for the inbox was encoded");
    if (rc != 0) {
        pit_error *e = error_new(rc, "the value cannot be sent: %s%s%s", why.text, why.path[0] != '\0' ? " at " : "", why.path);
        return error_detail_take(e, "key", pit_str(why.path));
    }
    if (frame->len > p->set.max_frame)
        return error_suggest(error_new(PIT_E_LIMIT_EXCEEDED, "the value takes %zu bytes, more than max_frame_bytes (%zu)",
                                       frame->len, p->set.max_frame),
                             "raise max_frame_bytes of the pool, or send it in parts");
    return NULL;
}

int stream_send(struct pool *p, struct stream *s, struct buf *frame)
{
    struct call *c = s->call;
    if (c->state == CALL_DONE)
        return PIT_E_END;
    struct lane *l = free_lane(s);
    if (l == NULL || s->send_chunks == 0 || s->send_bytes <= 0)
        return CHANNEL_AGAIN;
    frame_put_header(frame->data, FRAME_SEND, 0, c->sequence, 0, frame->len);
    s->send_chunks--;
    s->send_bytes -= (int64_t)frame->len;
    c->fed = true;
    async_send_inner(p, l, frame->data, frame->len);
    return 0;
}

void stream_send_end(struct pool *p, struct stream *s)
{
    if (s->inbox_closed)
        return;
    s->inbox_closed = s->end_due = true;
    put_end(p, s);
    stream_changed(p, s);
}

/* ---- silence ---- */

/* What it waits for is the reader's to give: it is not silent of its own will. */
static bool is_held_back(const struct stream *s)
{
    return s->may_chunks == 0 || s->may_bytes <= 0 || s->final;
}

static uint64_t idle_end(const struct stream *s)
{
    uint64_t end;
    return __builtin_add_overflow(s->heard_ns, s->idle_ns, &end) ? UINT64_MAX : end;
}

uint64_t stream_due(const struct pool *p, struct call *c, uint64_t due_ns)
{
    struct stream *s = c->stream;
    if (s == NULL || s->idle_ns == UINT64_MAX)
        return due_ns;
    if (s->heard_ns == 0 || is_held_back(s))
        s->heard_ns = pool_now(p);
    uint64_t end = idle_end(s);
    return end < due_ns ? end : due_ns;
}

pit_error *stream_idle_error(struct pool *p, struct call *c)
{
    const struct stream *s = c->stream;
    if (s == NULL || s->idle_ns == UINT64_MAX || is_held_back(s) || pool_now(p) < idle_end(s))
        return NULL;
    pit_error *e = error_new(PIT_E_DEADLINE_EXCEEDED, "the stream of %s gave nothing for %llu ms", c->command,
                             (unsigned long long)(s->idle_ns / MS));
    error_pool(e, p->set.name);
    error_correlation(e, pool_correlation(p, c));
    error_detail_take(e, "command", pit_str(c->command));
    error_detail_take(e, "timeout_ms", pit_uint(s->idle_ns / MS));
    error_detail_take(e, "phase", pit_str("idle"));
    error_detail_take(e, "chunks", pit_uint(s->received));
    repro_put(&p->config.repro, c, e);
    return error_suggest(e, "a longer stream_idle_timeout_ms of the pool; what the producer waits for is in details.stack");
}
