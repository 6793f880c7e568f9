/* See inproc.h. This file: what the thread does: the handshake, then call after call. It trusts the host, whose memory it shares; what it sends is checked
 * by the host like any worker's. */
#include <snakepit/value.h>
#include <string.h>

#include "base/alloc.h"
#include "ring/segment.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "worker/inproc_private.h"

/* ---- sending ---- */

static void put_on(struct inproc *b, struct channel *to, const uint8_t *frame, size_t n)
{
    for (size_t done = 0; !inproc_is_over(b);) {
        int rc = to->ops->send(to, frame, n, &done);
        if (rc == 0)
            return;
        b->broken = rc != CHANNEL_AGAIN;
        b->waited = true;
        if (!b->broken)
            to->ops->wait(to, CHANNEL_FOR_ROOM, UINT64_MAX, b->spin_ns);
    }
}

void inproc_put(struct inproc *b, const uint8_t *frame, size_t n)
{
    put_on(b, b->lane, frame, n);
}

int inproc_encode(const struct inproc *b, struct buf *out, int kind, uint64_t id, uint64_t stamp, const pit_value *v)
{
    buf_reserve(out, FRAME_HEADER);
    out->len = FRAME_HEADER;
    int rc = out->failed ? PIT_E_ALLOCATION_FAILED : codec_encode(out, v, NULL);
    if (rc == 0 && out->failed)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc == 0 && out->len > b->max_frame)
        rc = PIT_E_LIMIT_EXCEEDED;
    if (rc == 0)
        frame_put_header(out->data, kind, 0, id, stamp, out->len);
    return rc;
}

/* The error that needs no memory. */
static void put_out_of_memory(struct inproc *b, struct channel *to, int kind, uint64_t id)
{
    static const char payload[] = "\x82\xa4"
                                  "code\xad"
                                  "out_of_memory\xa7"
                                  "message\xbd"
                                  "memory ran out in the adapter";
    uint8_t frame[FRAME_HEADER + sizeof payload - 1];
    memcpy(frame + FRAME_HEADER, payload, sizeof payload - 1);
    frame_put_header(frame, kind, 0, id, 0, sizeof frame);
    put_on(b, to, frame, sizeof frame);
}

/* e is taken. */
static void put_error(struct inproc *b, struct channel *to, int kind, uint64_t id, uint64_t stamp, pit_error *e)
{
    uint8_t small[CALL_INLINE];
    struct buf out;
    pit_value *map = error_map(e);
    buf_init_on(&out, small, sizeof small);
    int rc = inproc_encode(b, &out, kind, id, stamp, map);
    if (rc != 0) { /* its details may be anything: the message without them */
        pit_value_free(map);
        map = pit_pack("{s:s,s:s}", "code", pit_error_name(e), "message", pit_strerror(pit_error_code(e)));
        rc = inproc_encode(b, &out, kind, id, stamp, map);
    }
    if (rc == 0 && pit_error_code(e) != PIT_E_ALLOCATION_FAILED)
        put_on(b, to, out.data, out.len);
    else
        put_out_of_memory(b, to, kind, id);
    buf_finish(&out);
    pit_value_free(map);
    pit_error_free(e);
}

/* What a callback has failed with, as an error that a worker may send (owned). */
static pit_error *failure_of(struct pit_adapter_ctx *c, int rc)
{
    pit_error *e = c->failure;
    c->failure = NULL;
    if (e == NULL && rc < 0)
        e = error_new(rc, "%s", pit_strerror(rc));
    if (e == NULL)
        return error_new(PIT_E_TOOL_EXECUTION_FAILED, "the adapter returned %d, which is no status", rc);
    int code = pit_error_code(e);
    if (error_may_come(code) || code == PIT_E_ALLOCATION_FAILED)
        return e;
    pit_error *other = error_new(PIT_E_TOOL_EXECUTION_FAILED, "%s", pit_error_message(e));
    const pit_value *key, *item;
    for (size_t i = 0; pit_value_next(pit_error_details(e), &i, &key, &item);)
        error_detail_take(other, pit_value_str_or(key, ""), pit_value_ref(item));
    error_detail_take(other, "code", pit_str(pit_error_name(e)));
    pit_error_free(e);
    return other;
}

/* ---- calls ---- */

/* What a call's frame holds, as its function sees it. */
struct given {
    char command[INPROC_TEXT], session[INPROC_TEXT], correlation[INPROC_TEXT], trace[INPROC_TEXT];
    pit_value *args, *metadata, *binary;
};

static const char *text_of(const struct frame *f, int tag, char to[INPROC_TEXT])
{
    const uint8_t *data;
    size_t n;
    if (f->fields_n == 0 || !frame_field(f, tag, &data, &n) || n >= INPROC_TEXT)
        return NULL;
    memcpy(to, data, n);
    to[n] = '\0';
    return to;
}

static int value_of(const struct frame *f, int tag, pit_value **ret, struct codec_error *why)
{
    const uint8_t *data;
    size_t n;
    return f->fields_n != 0 && frame_field(f, tag, &data, &n) ? codec_decode(data, n, NULL, ret, NULL, why) : 0;
}

/* The command and the arguments. No arguments at all are an empty map of them. */
static int read_payload(const struct frame *f, struct given *g, struct codec_error *why)
{
    const uint8_t *p = f->payload, *end = p + f->payload_n;
    struct mp_token t;
    if (mp_read(&p, end, &t) != MP_OK || t.type != MP_STR || t.n >= INPROC_TEXT)
        return why->code = PIT_E_INVALID_REQUEST;
    memcpy(g->command, t.data, t.n);
    g->command[t.n] = '\0';
    int rc = codec_decode(p, (size_t)(end - p), NULL, &g->args, NULL, why);
    if (rc == 0 && pit_value_kind(g->args) == PIT_KIND_NIL) {
        pit_value_free(g->args);
        g->args = pit_map();
    }
    return rc;
}

/* NULL, or an error (owned). */
static pit_error *read_call(const struct inproc *b, const struct frame *f, struct given *g, struct pit_adapter_ctx *c)
{
    struct codec_error why = {0};
    g->args = g->metadata = g->binary = NULL;
    int rc = read_payload(f, g, &why);
    if (rc == 0)
        rc = value_of(f, FIELD_METADATA, &g->metadata, &why);
    if (rc == 0)
        rc = value_of(f, FIELD_BINARY, &g->binary, &why);
    *c = (struct pit_adapter_ctx){.body = (struct inproc *)b,
                                  .home = b->home,
                                  .data = b->data,
                                  .id = f->id,
                                  .deadline_ns = f->stamp != 0 ? f->stamp : UINT64_MAX,
                                  .session_id = text_of(f, FIELD_SESSION, g->session),
                                  .correlation_id = text_of(f, FIELD_CORRELATION, g->correlation),
                                  .trace_parent = text_of(f, FIELD_TRACEPARENT, g->trace),
                                  .metadata = g->metadata,
                                  .binary_parameters = g->binary};
    if (c->correlation_id == NULL) {
        call_put_id(g->correlation, b->prefix, f->id);
        c->correlation_id = g->correlation;
    }
    return rc == 0 ? NULL
                   : error_new(rc, "the call cannot be read: %s%s%s", why.text, why.path[0] != '\0' ? " at " : "", why.path);
}

static void free_given(struct given *g)
{
    pit_value_free(g->args);
    pit_value_free(g->metadata);
    pit_value_free(g->binary);
}

static pit_error *run_stream(struct pit_adapter_ctx *c, const struct frame *f, const struct given *g, pit_value **ret)
{
    const struct adapter_home *h = c->home;
    struct inproc_stream s;
    if (h->adapter.execute_stream == NULL)
        return error_new(PIT_E_STREAMING_NOT_SUPPORTED, "the C adapter of pool %s has no callback execute_stream", h->pool);
    if (!inproc_stream_open(&s, f))
        return error_new(PIT_E_INVALID_REQUEST, "the call of a stream without its window");
    c->stream = &s;
    int rc = h->adapter.execute_stream(c, g->command, g->args, ret, h->user);
    c->stream = NULL;
    inproc_stream_close(&s);
    rc = rc != 0 ? rc : pit_value_error(*ret);
    return rc != 0 ? failure_of(c, rc) : NULL;
}

static pit_error *run_call(struct pit_adapter_ctx *c, const struct given *g, pit_value **ret)
{
    const struct adapter_home *h = c->home;
    int rc = h->adapter.execute(c, g->command, g->args, ret, h->user);
    rc = rc != 0 ? rc : pit_value_error(*ret);
    return rc != 0 ? failure_of(c, rc) : NULL;
}

static void mark_finished(struct inproc *b, uint64_t id)
{
    __atomic_store_n(&b->status->claims[id % SEGMENT_SLOTS], CLAIM(id, CLAIM_FINISHED), __ATOMIC_RELAXED);
    __atomic_store_n(&b->status->finished, id, __ATOMIC_RELEASE);
}

/* e: taken. */
static void answer(struct inproc *b, uint64_t id, uint64_t took_ns, const pit_value *v, pit_error *e)
{
    uint8_t small[CALL_INLINE];
    struct buf out;
    buf_init_on(&out, small, sizeof small);
    int rc = e == NULL ? inproc_encode(b, &out, FRAME_RESULT, id, took_ns, v) : 0;
    if (rc != 0)
        e = error_new(rc, "the result cannot be sent: %s", pit_strerror(rc));
    if (e != NULL)
        put_error(b, b->lane, FRAME_ERROR, id, took_ns, e);
    else
        inproc_put(b, out.data, out.len);
    buf_finish(&out);
}

/* f lies in b->in, which nobody else fills meanwhile. */
static void serve_call(struct inproc *b, const struct frame *f)
{
    struct given g;
    struct pit_adapter_ctx c;
    pit_value *v = NULL;
    uint64_t *claim = &b->status->claims[f->id % SEGMENT_SLOTS];
    if (__atomic_exchange_n(claim, CLAIM(f->id, CLAIM_STARTED), __ATOMIC_SEQ_CST) == CLAIM(f->id, CLAIM_REVOKED))
        return;
    bool timed = (f->flags & FRAME_TIMED) != 0;
    pit_error *e = read_call(b, f, &g, &c);
    uint64_t began = timed ? b->os->now_ns() : 0;
    inproc_set_current(&c);
    if (e == NULL)
        e = f->kind == FRAME_CALL ? run_call(&c, &g, &v) : run_stream(&c, f, &g, &v);
    inproc_set_current(NULL);
    uint64_t took = timed ? b->os->now_ns() - began + 1 : 0;
    mark_finished(b, f->id);
    answer(b, f->id, took, v, e);
    pit_error_free(c.failure);
    pit_value_free(v);
    free_given(&g);
}

/* ---- the control socket ---- */

static void put_map_take(struct inproc *b, int kind, uint64_t id, pit_value *v)
{
    struct buf out = {0};
    if (inproc_encode(b, &out, kind, id, 0, v) == 0)
        put_on(b, b->control, out.data, out.len);
    else
        b->broken = true;
    buf_finish(&out);
    pit_value_free(v);
}

static void tell_health(struct inproc *b, uint64_t id)
{
    const struct adapter_home *h = b->home;
    struct pit_adapter_ctx c = {.body = b, .home = b->home, .data = b->data, .deadline_ns = UINT64_MAX};
    pit_value *report = NULL;
    int rc = h->adapter.collect_telemetry != NULL ? h->adapter.collect_telemetry(&c, &report, h->user) : 0;
    rc = rc != 0 ? rc : pit_value_error(report);
    pit_error *e = rc != 0 ? failure_of(&c, rc) : NULL;
    put_map_take(b, FRAME_HEALTH_REPLY, id,
                 e == NULL ? pit_pack("{s:b,s:v}", "ok", 1, "report", report)
                           : pit_pack("{s:b,s:s}", "ok", 0, "reason", pit_error_message(e)));
    pit_error_free(e);
    pit_error_free(c.failure);
    pit_value_free(report);
}

/* What has come there; false: the thread is to end. *ret_welcome: a WELCOME was among it. */
static bool hear_control(struct inproc *b, bool *ret_welcome)
{
    struct frame f;
    int rc = 0;
    while (!b->broken && (rc = b->control->ops->recv(b->control, &b->side)) == 0) {
        if (frame_parse(b->side.data, b->side.n, &f) != 0 || f.kind == FRAME_STOP)
            return false;
        *ret_welcome = *ret_welcome || f.kind == FRAME_WELCOME;
        if (f.kind == FRAME_HEALTH)
            tell_health(b, f.id);
    }
    return !b->broken && rc == CHANNEL_AGAIN;
}

static bool shake_hands(struct inproc *b)
{
    const struct segment_header *header = b->segment;
    bool welcome = false;
    put_map_take(b, FRAME_HELLO, 0,
                 pit_pack("{s:i,s:i,s:y,s:[s],s:b}", "protocol_min", PROTOCOL_MIN, "protocol_max", PROTOCOL_MAX, "secret",
                          header->secret, (size_t)SEGMENT_SECRET, "channels", "ring", "marks", 1));
    while (!inproc_is_over(b) && hear_control(b, &welcome) && !welcome)
        b->control->ops->wait(b->control, CHANNEL_FOR_FRAME, UINT64_MAX, 0);
    return welcome;
}

/* ---- the whole ---- */

static bool start(struct inproc *b)
{
    const struct adapter_home *h = b->home;
    struct pit_adapter_ctx c = {.body = b, .home = b->home, .deadline_ns = UINT64_MAX};
    int rc = h->adapter.start_worker != NULL ? h->adapter.start_worker(&c, &b->data, h->user) : 0;
    if (rc == 0) {
        pit_error_free(c.failure);
        put_map_take(b, FRAME_READY, 0,
                     h->adapter.collect_telemetry != NULL ? pit_pack("{s:[s]}", "capabilities", "health") : pit_map());
        return true;
    }
    pit_error *why = failure_of(&c, rc);
    pit_error *e = error_new(PIT_E_ADAPTER_INIT_FAILED, "the C adapter could not start a thread: %s", pit_error_message(why));
    error_detail_take(e, "code", pit_str(pit_error_name(why)));
    pit_error_free(why);
    put_error(b, b->control, FRAME_FAILED, 0, 0, e);
    return false;
}

static bool shall_end(const struct inproc *b)
{
    return inproc_is_over(b) || __atomic_load_n(&b->ending, __ATOMIC_ACQUIRE);
}

static void serve_calls(struct inproc *b)
{
    struct frame f;
    bool welcome = false;
    b->waited = true;
    while (!shall_end(b)) {
        int rc = b->lane->ops->recv(b->lane, &b->in);
        if (rc == 0)
            rc = frame_parse(b->in.data, b->in.n, &f);
        if (rc == 0) { /* what else comes belongs to a stream that has ended */
            if (f.kind == FRAME_CALL || f.kind == FRAME_STREAM_CALL)
                serve_call(b, &f);
            continue;
        }
        b->broken = rc != CHANNEL_AGAIN;
        if (b->broken || (b->waited && !hear_control(b, &welcome)))
            return;
        b->lane->ops->wait(b->lane, CHANNEL_FOR_FRAME, UINT64_MAX, b->spin_ns);
        b->waited = true;
    }
}

int inproc_serve(struct inproc *b)
{
    const struct adapter_home *h = b->home;
    if (shake_hands(b) && start(b)) {
        serve_calls(b);
        if (h->adapter.stop_worker != NULL)
            h->adapter.stop_worker(b->data, h->user);
        return b->broken;
    }
    return 1;
}
