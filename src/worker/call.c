/* See call.h. */
#include "worker/call.h"

#include <string.h>

#include "base/alloc.h"
#include "wire/mp.h"

static const struct sm_state states[] = {{NULL, 0},
#define CALL_STATE_ROW(constant, name, edges) {#name, edges},
                                         CALL_STATE_LIST(CALL_STATE_ROW)
#undef CALL_STATE_ROW
};
static const struct sm_table table = {"call", states, CALL_STATE_COUNT};

/* The worker is told to stop a little before the host gives up, so that a clean timeout in Python wins over a kill. */
#define REPLY_MARGIN_NS UINT64_C(200000000)
#define REPLY_MARGIN_FROM_NS UINT64_C(2000000000)
#define LONG_RESULT ((size_t)64 << 10)

enum { ID_FIELD = FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD + CALL_ID }; /* what the field of a made id may take, at most */

static void put_field(struct buf *b, int tag, const char *text)
{
    size_t n = strlen(text);
    uint8_t head[FRAME_FIELD_HEAD];
    frame_put_field_head(head, tag, n);
    buf_append(b, head, sizeof head);
    buf_append(b, text, n);
}

static void put_fields(struct buf *b, const struct call *c)
{
    size_t at = b->len;
    buf_append(b, (const uint8_t[FRAME_FIELDS_HEAD]){0}, FRAME_FIELDS_HEAD);
    if (c->session_id != NULL)
        put_field(b, FIELD_SESSION, c->session_id);
    if (c->correlation_id != NULL)
        put_field(b, FIELD_CORRELATION, c->correlation_id);
    if (c->more_fields != NULL)
        buf_append(b, c->more_fields->data, c->more_fields->len);
    if (b->failed)
        return;
    frame_put_fields_head(b->data + at, b->len - at - FRAME_FIELDS_HEAD);
}

static void put_command(struct buf *b, const char *command)
{
    size_t n = strlen(command);
    uint8_t *p = buf_reserve(b, n + sizeof(uint32_t) + 1);
    if (p != NULL)
        b->len += (size_t)(mp_put_str(p, command, (uint32_t)n) - p);
}

static pit_error *encode_failed(const struct codec_error *why)
{
    if (why->code == PIT_E_ALLOCATION_FAILED)
        return error_new(why->code, "out of memory while the arguments were encoded");
    pit_error *e =
        error_new(why->code, "the arguments cannot be sent: %s%s%s", why->text, why->path[0] != '\0' ? " at " : "", why->path);
    error_detail_take(e, "key", pit_str(why->path));
    return why->code == PIT_E_INVALID_PARAMETER ? error_detail_take(e, "reason", pit_str("encode_failed")) : e;
}

pit_error *call_encode(struct call *c, const struct call_args *args, size_t max_frame)
{
    struct buf *b = &c->frame;
    struct codec_error why;
    buf_init_on(b, c->small, sizeof c->small);
    b->len = FRAME_HEADER;
    bool fields = c->session_id != NULL || c->correlation_id != NULL || (c->more_fields != NULL && c->more_fields->len != 0);
    if (fields)
        put_fields(b, c);
    put_command(b, c->command);
    int rc = args->packed ? codec_pack(b, args->format, *args->ap, &why) : codec_encode(b, args->value, &why);
    size_t later = c->observed && c->correlation_id == NULL ? ID_FIELD : 0; /* call_carry_id */
    if (rc == 0 && later != 0)
        buf_reserve(b, later);
    if (rc == 0 && b->failed)
        rc = why.code = PIT_E_ALLOCATION_FAILED;
    if (rc != 0)
        return encode_failed(&why);
    if (b->len + later > max_frame) {
        pit_error *e =
            error_new(PIT_E_LIMIT_EXCEEDED, "the call takes %zu bytes, more than max_frame_bytes (%zu)", b->len, max_frame);
        return error_suggest(e, "raise max_frame_bytes of the pool, or send the data in parts");
    }
    unsigned flags = (fields ? FRAME_FIELDS : 0u) | (c->observed ? FRAME_TIMED : 0u);
    c->timed = c->observed;
    frame_put_header(b->data, c->stream != NULL ? FRAME_STREAM_CALL : FRAME_CALL, flags, 0, 0, b->len);
    return NULL;
}

static void put_le64(uint8_t *p, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

void call_seal(struct call *c, uint64_t sequence, uint64_t now_ns)
{
    uint64_t deadline = c->deadline_ns == UINT64_MAX ? 0 : c->deadline_ns;
    if (deadline > now_ns + REPLY_MARGIN_FROM_NS)
        deadline -= REPLY_MARGIN_NS;
    put_le64(c->frame.data + 8, sequence);
    put_le64(c->frame.data + 16, deadline);
    c->sequence = sequence;
    c->sent = 0;
}

void call_carry_id(struct call *c)
{
    c->frame.len = frame_insert_field(c->frame.data, c->frame.len, FIELD_CORRELATION, c->id, strlen(c->id));
    c->correlation_id = c->id;
}

void call_measure(struct call *c)
{
    c->timed = true;
    c->frame.data[2] |= FRAME_TIMED;
}

void call_sleep(struct call *c, const struct os_ops *os, uint64_t deadline_ns)
{
    __atomic_add_fetch(&c->sleepers, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->wake, __ATOMIC_SEQ_CST) == 0)
        os->futex_wait(&c->wake, 0, deadline_ns);
    __atomic_sub_fetch(&c->sleepers, 1, __ATOMIC_SEQ_CST);
}

bool call_move(struct call *c, int state)
{
    return sm_move(&table, &c->state, state);
}

void outcome_free(struct outcome *o)
{
    pit_value_free(o->value);
    pit_error_free(o->error);
    *o = (struct outcome){0};
}

bool call_finish(struct call *c, struct outcome o)
{
    if (!call_move(c, CALL_DONE)) {
        outcome_free(&o);
        return false;
    }
    c->outcome = o;
    return true;
}

void call_clear(struct call *c)
{
    buf_finish(&c->frame);
    outcome_free(&c->outcome);
}

/* A long result takes over the block that it was received in rather than being copied once more into fresh pages. */
static int decode_result(const struct frame *f, struct channel_frame *in, pit_value **ret, struct codec_error *why)
{
    size_t at = (size_t)(f->payload - in->data), n = f->payload_n;
    uint8_t *block = n >= LONG_RESULT ? channel_frame_take(in) : NULL;
    if (block == NULL)
        return codec_decode(f->payload, n, NULL, ret, NULL, why);
    int rc = codec_decode_block(&block, block + at, n, NULL, ret, NULL, why);
    mem_free(block);
    return rc;
}

struct outcome call_decode(const struct frame *f, struct channel_frame *in)
{
    if (f->kind == FRAME_ERROR)
        return outcome_failed(error_from_worker(f->payload, f->payload_n, PIT_E_PYTHON_EXCEPTION));
    struct outcome o = {0};
    struct codec_error why; /* written on failure only */
    o.rc = decode_result(f, in, &o.value, &why);
    if (o.rc == PIT_E_ALLOCATION_FAILED)
        return outcome_failed(error_new(o.rc, "out of memory while the result was decoded"));
    if (o.rc == 0)
        return o;
    pit_error *e =
        error_new(o.rc, "the worker's result cannot be read: %s%s%s", why.text, why.path[0] != '\0' ? " at " : "", why.path);
    return outcome_failed(why.path[0] != '\0' ? error_detail_take(e, "key", pit_str(why.path)) : e);
}

/* The 8 hex digits of n, all at a time: a nibble to each byte of a word, then what turns nibbles into digits. */
static void put_hex(char to[8], uint32_t n)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t v = n;
    v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
    v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
    v = (v | v << 4) & (0x0f * each);
    v += '0' * each + ((v + 6 * each) >> 4 & each) * ('a' - '0' - 10);
    for (int i = 7; i >= 0; i--, v >>= 8)
        to[i] = (char)v;
}

void call_put_id(char id[CALL_ID], uint32_t prefix, uint64_t sequence)
{
    memcpy(id, "sp-", 3);
    put_hex(id + 3, prefix);
    put_hex(id + 11, (uint32_t)(sequence >> 32));
    put_hex(id + 19, (uint32_t)sequence);
    id[27] = '\0';
}

const char *call_correlation(struct call *c, uint32_t prefix)
{
    if (c->correlation_id != NULL)
        return c->correlation_id;
    call_put_id(c->id, prefix, c->sequence);
    return c->id;
}
