/* See frame.h. Failure: codes only. Thread: any; no state. */
#include "wire/frame.h"

#include <snakepit/codes.h>
#include <string.h>

/* The numbers on the wire are little-endian whatever the machine is; compilers make one load or store of these. */
static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void put32(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    p[2] = (uint8_t)(x >> 16);
    p[3] = (uint8_t)(x >> 24);
}

static void put64(uint8_t *p, uint64_t x)
{
    put32(p, (uint32_t)x);
    put32(p + 4, (uint32_t)(x >> 32));
}

void frame_put_header(uint8_t *p, int kind, unsigned flags, uint64_t id, uint64_t stamp, size_t size)
{
    p[0] = FRAME_VERSION;
    p[1] = (uint8_t)kind;
    p[2] = (uint8_t)flags;
    p[3] = (uint8_t)(flags >> 8);
    put32(p + 4, (uint32_t)size);
    put64(p + 8, id);
    put64(p + 16, stamp);
}

/* Kinds of this version: those whose payload is not "reserved...". */
static bool is_known(unsigned kind)
{
    switch (kind) {
#define KNOWN_CASE(constant, name, number, direction, payload)                                                                 \
    case number:                                                                                                               \
        return __builtin_strncmp(payload, "reserved", 8) != 0;
        FRAME_KIND_LIST(KNOWN_CASE)
#undef KNOWN_CASE
    default:
        return false;
    }
}

const char *frame_kind_name(int kind)
{
    switch (kind) {
#define NAME_CASE(constant, name, number, direction, payload)                                                                  \
    case number:                                                                                                               \
        return #name;
        FRAME_KIND_LIST(NAME_CASE)
#undef NAME_CASE
    default:
        return "unknown";
    }
}

/* The length's high byte came later and stands where a zero stood: short fields look as they always did. */
void frame_put_field_head(uint8_t *p, int tag, size_t n)
{
    p[0] = (uint8_t)tag;
    p[1] = (uint8_t)(n >> 16);
    p[2] = (uint8_t)n;
    p[3] = (uint8_t)(n >> 8);
}

void frame_put_fields_head(uint8_t *p, size_t n)
{
    put32(p, (uint32_t)n);
}

size_t frame_insert_field(uint8_t *frame, size_t size, int tag, const void *data, size_t n)
{
    uint8_t *fields = frame + FRAME_HEADER, *field = fields + FRAME_FIELDS_HEAD;
    bool has_others = (frame[2] & FRAME_FIELDS) != 0;
    size_t others = has_others ? get32(fields) : 0, from = FRAME_HEADER + (has_others ? FRAME_FIELDS_HEAD : 0);
    uint8_t *rest = field + FRAME_FIELD_HEAD + n;
    memmove(rest, frame + from, size - from);
    frame_put_fields_head(fields, others + FRAME_FIELD_HEAD + n);
    frame_put_field_head(field, tag, n);
    memcpy(field + FRAME_FIELD_HEAD, data, n);
    frame[2] |= FRAME_FIELDS;
    size = (size_t)(rest - frame) + size - from;
    put32(frame + 4, (uint32_t)size);
    return size;
}

int64_t frame_peek_size(const uint8_t *p, size_t max)
{
    uint32_t size = get32(p + 4);
    if (p[0] != FRAME_VERSION || size < FRAME_HEADER)
        return PIT_E_PROTOCOL_ERROR;
    return size > max ? PIT_E_LIMIT_EXCEEDED : (int64_t)size;
}

/* The field at *p, which is moved behind it; false when it does not fit. */
static bool next_field(const uint8_t **p, const uint8_t *end, unsigned *tag, const uint8_t **data, size_t *n)
{
    const uint8_t *q = *p;
    if (end - q < 4)
        return false;
    *tag = q[0];
    *n = (size_t)q[2] | (size_t)q[3] << 8 | (size_t)q[1] << 16;
    if (*n > (size_t)(end - q) - 4)
        return false;
    *data = q + 4;
    *p = q + 4 + *n;
    return true;
}

static int parse_fields(const uint8_t **p, const uint8_t *end, struct frame *ret)
{
    if (end - *p < 4)
        return PIT_E_PROTOCOL_ERROR;
    size_t n = get32(*p);
    *p += 4;
    if (n > (size_t)(end - *p))
        return PIT_E_PROTOCOL_ERROR;
    ret->fields = *p;
    ret->fields_n = n;
    end = *p + n;
    while (*p != end) {
        const uint8_t *data;
        unsigned tag;
        size_t size;
        if (!next_field(p, end, &tag, &data, &size))
            return PIT_E_PROTOCOL_ERROR;
    }
    return 0;
}

int frame_parse(const uint8_t *p, size_t n, struct frame *ret)
{
    if (n < FRAME_HEADER || p[0] != FRAME_VERSION || get32(p + 4) != n || !is_known(p[1]))
        return PIT_E_PROTOCOL_ERROR;
    unsigned flags = p[2] | (unsigned)p[3] << 8;
    if ((flags & ~(unsigned)FRAME_KNOWN_FLAGS) != 0)
        return PIT_E_PROTOCOL_ERROR;
    struct frame f = {.kind = p[1], .flags = (uint16_t)flags, .id = get64(p + 8), .stamp = get64(p + 16)};
    const uint8_t *end = p + n, *at = p + FRAME_HEADER;
    if ((flags & FRAME_FIELDS) != 0) {
        int rc = parse_fields(&at, end, &f);
        if (rc != 0)
            return rc;
    }
    f.payload = at;
    f.payload_n = (size_t)(end - at);
    *ret = f;
    return 0;
}

bool frame_field(const struct frame *f, int tag, const uint8_t **ret, size_t *ret_n)
{
    if (f->fields_n == 0)
        return false;
    const uint8_t *p = f->fields, *end = p + f->fields_n;
    while (p != end) {
        const uint8_t *data;
        unsigned found;
        size_t n;
        if (!next_field(&p, end, &found, &data, &n))
            return false;
        if ((int)found == tag) {
            *ret = data;
            *ret_n = n;
            return true;
        }
    }
    return false;
}
