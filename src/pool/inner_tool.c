/* See inner.h: reading what a worker asks for, answering it, and the order of what goes to it. Nothing that a worker sends is trusted; a failure of the tool, or of
 * what it is called with, is an answer; only a frame that is none is the worker's end. */
#include <string.h>

#include "base/alloc.h"
#include "pool/inner_private.h"
#include "pool/pool_internal.h"
#include "wire/codec.h"
#include "wire/mp.h"

/* ---- reading ---- */

int inner_read(const struct frame *f, struct asked *ret)
{
    const uint8_t *p = f->payload, *end = p + f->payload_n;
    struct mp_token t;
    if (f->id == 0 || (f->flags & ~(unsigned)FRAME_FIELDS) != 0 || mp_read(&p, end, &t) != MP_OK || t.type != MP_STR ||
        !mp_utf8_valid(t.data, t.n, NULL))
        return PIT_E_PROTOCOL_ERROR;
    size_t n = t.n <= TOOL_NAME_MAX && memchr(t.data, '\0', t.n) == NULL ? t.n : 0;
    memcpy(ret->name, t.data, n);
    ret->name[n] = '\0';
    ret->id = f->id;
    ret->args = p;
    ret->args_n = (size_t)(end - p);
    ret->binary = ret->window = NULL;
    if (f->fields_n != 0) {
        frame_field(f, FIELD_BINARY, &ret->binary, &ret->binary_n);
        frame_field(f, FIELD_STREAM, &ret->window, &ret->window_n);
    }
    return 0;
}

/* No arguments at all are an empty map of them. */
static int decode_args(const struct asked *a, pit_value **ret, struct codec_error *why)
{
    pit_value *v = NULL;
    int rc = a->args_n != 0 ? codec_decode(a->args, a->args_n, NULL, &v, NULL, why) : 0;
    if (rc != 0)
        return rc;
    bool none = v == NULL || pit_value_kind(v) == PIT_KIND_NIL;
    *ret = none ? pit_map() : v;
    if (none)
        pit_value_free(v);
    return 0;
}

static bool is_binary(const pit_value *m)
{
    const pit_value *key, *item;
    bool good = pit_value_kind(m) == PIT_KIND_MAP;
    for (size_t i = 0; good && pit_value_next(m, &i, &key, &item);)
        good = pit_value_kind(key) == PIT_KIND_STR && pit_value_kind(item) == PIT_KIND_BYTES;
    return good;
}

static int decode_binary(const struct asked *a, pit_value **ret, struct codec_error *why)
{
    int rc = codec_decode(a->binary, a->binary_n, NULL, ret, NULL, why);
    if (rc != 0 || is_binary(*ret))
        return rc;
    memcpy(why->text, "no map of names to bytes", sizeof "no map of names to bytes");
    why->path[0] = '\0';
    return PIT_E_INVALID_PARAMETER;
}

static pit_error *unreadable(const struct asked *a, const char *what, int rc, const struct codec_error *why)
{
    pit_error *e = error_new(rc, "%s of the tool %s cannot be read: %s%s%s", what, a->name, why->text,
                             why->path[0] != '\0' ? " at " : "", why->path);
    return error_detail_take(e, "tool", pit_str(a->name));
}

/* ---- answering ---- */

static void head(struct buf *b, int kind, bool fields, uint64_t id)
{
    if (!b->failed)
        frame_put_header(b->data, kind, fields ? FRAME_FIELDS : 0u, id, 0, b->len);
}

static void begin(struct buf *b)
{
    buf_reserve(b, FRAME_HEADER);
    b->len = FRAME_HEADER;
}

void inner_refuse(struct pool *p, uint64_t id, pit_error *e, struct buf *out)
{
    pit_value *map = error_map(e);
    begin(out);
    int rc = out->failed ? PIT_E_ALLOCATION_FAILED : codec_encode(out, map, NULL);
    pit_value_free(map);
    if (rc == 0 && out->len > p->set.max_frame)
        rc = PIT_E_LIMIT_EXCEEDED;
    if (rc != 0) { /* a tool's details may be anything: the message without them */
        out->len = FRAME_HEADER;
        map = pit_pack("{s:s,s:s}", "code", pit_error_name(e), "message", pit_strerror(pit_error_code(e)));
        if (codec_encode(out, map, NULL) != 0)
            out->failed = true;
        pit_value_free(map);
    }
    head(out, FRAME_TOOL_ERROR, false, id);
    pit_error_free(e);
}

void inner_refuse_given_up(struct pool *p, uint64_t id, struct buf *out)
{
    inner_refuse(p, id, error_new(PIT_E_CANCELLED, "the call that calls the tool has been given up"), out);
}

static bool is_exposed(const struct tool *t, const void *arg)
{
    (void)arg;
    return t->exposed;
}

static pit_value *exposed(struct pool *p, const char *session, bool names)
{
    pit_value *list = pit_list();
    if (tools_list(&p->host->tools, session, is_exposed, NULL, list) != 0 || !names)
        return list;
    enum { MOST = 100 };
    pit_value *out = pit_list();
    for (size_t i = 0; i < pit_value_len(list) && i < MOST; i++)
        pit_list_append_take(out, pit_value_ref(pit_value_get(pit_value_at(list, i), "name")));
    pit_value_free(list);
    return out;
}

void inner_refuse_missing(struct pool *p, const struct lane *l, const char *session, const struct asked *a, struct buf *out)
{
    const struct event_common common = {.pool = p->set.name, .worker_id = l->worker->id, .session_id = session};
    const struct tool_told told = {.name = a->name, .side = "host", .parameters_bytes = a->args_n};
    pit_error *e = a->name[0] != '\0' ? tool_missing(p->host, session, a->name, true)
                                      : error_new(PIT_E_INVALID_TOOL_NAME, "%s", pit_strerror(PIT_E_INVALID_TOOL_NAME));
    if (pit_error_code(e) == PIT_E_TOOL_NOT_FOUND)
        error_detail_take(e, "available", exposed(p, session, true));
    tool_tell_end(p->host->telemetry, &common, &told, e, true);
    inner_refuse(p, a->id, e, out);
}

void inner_list(struct pool *p, const char *session, uint64_t id, struct buf *out)
{
    pit_value *list = exposed(p, session, false);
    begin(out);
    int rc = codec_encode(out, list, NULL);
    pit_value_free(list);
    if (rc == 0 && out->len <= p->set.max_frame) {
        head(out, FRAME_TOOL_LIST, false, id);
        return;
    }
    out->len = 0;
    inner_refuse(p, id, error_new(rc != 0 ? rc : PIT_E_LIMIT_EXCEEDED, "the list of the tools cannot be sent"), out);
}

static int put_binary(struct buf *out, const pit_value *binary, struct codec_error *why)
{
    static const uint8_t zeros[FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD];
    size_t at = out->len;
    buf_append(out, zeros, sizeof zeros);
    int rc = codec_encode(out, binary, why);
    size_t n = out->len - at - sizeof zeros;
    if (rc != 0 || out->failed)
        return rc != 0 ? rc : PIT_E_ALLOCATION_FAILED;
    if (n > FRAME_FIELD_MAX)
        return PIT_E_LIMIT_EXCEEDED;
    frame_put_fields_head(out->data + at, n + FRAME_FIELD_HEAD);
    frame_put_field_head(out->data + at + FRAME_FIELDS_HEAD, FIELD_BINARY, n);
    return 0;
}

/* The tool's result as a frame; or why it is none. */
static pit_error *put_result(struct pit_tool_ctx *c, const struct asked *a, const pit_value *v, struct buf *out)
{
    struct codec_error why; /* large: filled in where the codec fails */
    why.text[0] = '\0';
    begin(out);
    int rc = c->binary != NULL ? put_binary(out, c->binary, &why) : 0;
    if (rc == 0)
        rc = codec_encode(out, v, &why);
    if (rc == 0 && out->failed)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc == 0 && out->len > c->pool->set.max_frame)
        rc = PIT_E_LIMIT_EXCEEDED;
    if (rc == 0) {
        head(out, FRAME_TOOL_RESULT, c->binary != NULL, a->id);
        return NULL;
    }
    out->len = 0;
    pit_error *e = error_new(rc, "the result of the tool %s cannot be sent: %s", a->name,
                             why.text[0] != '\0' ? why.text : pit_strerror(rc));
    return error_detail_take(e, "tool", pit_str(a->name));
}

void inner_run(struct pit_tool_ctx *c, struct tool *t, const struct asked *a, struct buf *out)
{
    struct codec_error why; /* large, and written on failure only */
    pit_value *binary = NULL;
    pit_error *e = NULL;
    int rc = decode_args(a, &c->parameters, &why);
    if (rc != 0)
        e = unreadable(a, "the arguments", rc, &why);
    else if (a->binary != NULL && (rc = decode_binary(a, &binary, &why)) != 0)
        e = unreadable(a, "the bytes beside the arguments", rc, &why);
    c->tool = t;
    c->binary_parameters = binary;
    c->parameters_bytes = a->args_n;
    if (e == NULL) {
        struct outcome o = tool_run(c, c->parameters);
        c->result = o.value;
        e = o.error != NULL ? o.error : put_result(c, a, o.value, out);
        tool_ran(c, e, out->len);
    }
    pit_value_free(binary);
    if (e != NULL)
        inner_refuse(c->pool, a->id, e, out);
}

pit_error *inner_no_thread(const char *tool, int rc)
{
    pit_error *e = error_new(PIT_E_SYSTEM_ERROR, "no thread could be started for the tool %s: %s", tool, strerror(-rc));
    return error_detail_take(e, "errno", pit_int(-rc));
}

/* ---- sending ---- */

bool inner_is_deaf(const struct lane *l)
{
    return l->unsent.len > UNREAD_MAX + l->unsent_chunk;
}

bool inner_put(struct lane *l, const uint8_t *frame, size_t n)
{
    size_t done = 0;
    if (l->unsent.len == 0 && l->sending == NULL) {
        int rc = l->channel->ops->send(l->channel, frame, n, &done);
        if (rc != CHANNEL_AGAIN) /* what fails here shows as the worker's end */
            return true;
    }
    return inner_queue(l, frame, n, done);
}

bool inner_put_to(struct lane *l, unsigned level, const struct buf *frame)
{
    if (frame->failed)
        return false;
    if (l->nested == level)
        return inner_put(l, frame->data, frame->len);
    const uint8_t byte = (uint8_t)level;
    buf_append(&l->held, &byte, 1);
    buf_append(&l->held, frame->data, frame->len);
    return !l->held.failed;
}

/* Tools inside each other return innermost first: so do their answers stand. */
bool inner_put_held(struct lane *l)
{
    bool good = true;
    while (good && l->held.len > FRAME_HEADER && l->held.data[0] == l->nested) {
        int64_t n = frame_peek_size(l->held.data + 1, UINT32_MAX);
        size_t used = n > 0 ? 1 + (size_t)n : l->held.len;
        good = n > 0 && inner_put(l, l->held.data + 1, (size_t)n);
        memmove(l->held.data, l->held.data + used, l->held.len - used);
        l->held.len -= used;
    }
    return good;
}

void inner_condemn(struct pool *p, struct lane *l)
{
    sched_condemn(p, l->worker, PIT_E_WORKER_KILLED, "it was killed: memory ran out in the middle of a message to it");
}

void inner_assign(struct pool *p, struct lane *l, struct call *c)
{
    c->state = CALL_NEW;
    p->requests++;
    p->active++;
    call_move(c, CALL_SENT);
    c->level = l->nested + 1;
    c->sent_ns = c->entered_ns;
    c->lane = l;
    c->prefix = l->worker->prefix;
    c->frame.data[2] |= FRAME_NESTED;
    call_seal(c, lane_push(l, c), c->sent_ns);
    l->nested++;
    if (c->observed) {
        memcpy(c->worker_id, l->worker->id, sizeof c->worker_id);
        sched_note(p, c, CALL_DISPATCHED);
    }
    if (l->unsent.len != 0 || l->sending != NULL || l->senders != 0) { /* behind what is on its way, or may be */
        c->sent = c->frame.len;
        if (!inner_queue(l, c->frame.data, c->frame.len, 0))
            inner_condemn(p, l);
        else if (l->sending == NULL)
            inner_flush(l);
    }
}
