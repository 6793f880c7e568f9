/* Values to JSON; docs/wire.md has the tagged forms.
 *
 * Invariants
 *  1. What is written, json_read() reads as an equal value.
 *  2. Recursion is bounded by a value's height.
 *
 * Failure: typed; the buffer then holds rubbish, and its owner drops it. Thread: any. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "wire/error.h"
#include "wire/json.h"
#include "wire/path.h"
#include "wire/record.h"
#include "wire/tensor.h"
#include "wire/time.h"
#include "wire/value.h"

struct writer {
    struct buf *b;
    int flags;
    unsigned indent;
    uint64_t big_work; /* squares of the sizes of big integers so far */
    const char *why;   /* of a failure, when the code alone does not say it */
    const pit_value *failed;
    unsigned depth; /* where it is: as in encode.c */
    const pit_value *inside[MP_MAX_DEPTH + 2];
    uint32_t at[MP_MAX_DEPTH + 2];
};

/* Turning an integer into decimal digits takes time with the square of its size: two of the largest ones (2^17 bytes) in a document. */
#define BIG_WORK_MAX (UINT64_C(2) << 34)

static int write_value(struct writer *w, const pit_value *v);

/* The at-th item of a container. On failure `depth` stays where it happened. */
static int write_item(struct writer *w, const pit_value *container, uint32_t at)
{
    if (w->depth >= MP_MAX_DEPTH + 1) {
        w->why = "more than 128 levels of containers";
        return PIT_E_LIMIT_EXCEEDED;
    }
    w->inside[w->depth] = container;
    w->at[w->depth++] = at;
    int rc = write_value(w, value_item(container, at));
    w->depth -= rc == 0;
    return rc;
}

static int refuse(struct writer *w, int code, const char *why)
{
    w->why = why;
    return code;
}

/* \u escapes of what is not ASCII; s is valid UTF-8. Returns the bytes taken. */
static size_t put_unicode(struct buf *b, const uint8_t *s)
{
    size_t n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3fu);
    if (c < 0x10000) {
        buf_printf(b, "\\u%04x", (unsigned)c);
    } else {
        c -= 0x10000;
        buf_printf(b, "\\u%04x\\u%04x", (unsigned)(0xd800 + (c >> 10)), (unsigned)(0xdc00 + (c & 0x3ff)));
    }
    return n;
}

static void put_escape(struct buf *b, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c != 0 ? strchr(from, c) : NULL;
    if (at != NULL)
        buf_append(b, (char[]){'\\', to[at - from]}, 2);
    else
        buf_printf(b, "\\u%04x", (unsigned)c);
}

void json_write_text(struct buf *b, const char *text, size_t n, int flags)
{
    const uint8_t *s = (const uint8_t *)text;
    buf_putc(b, '"');
    for (size_t i = 0, run = 0; i <= n; i++) {
        bool special = i == n || s[i] < 0x20 || s[i] == '"' || s[i] == '\\' || s[i] == 0x7f ||
                       ((flags & PIT_JSON_ASCII) != 0 && s[i] >= 0x80);
        if (!special)
            continue;
        buf_append(b, s + run, i - run);
        if (i < n && s[i] >= 0x80)
            i += put_unicode(b, s + i) - 1;
        else if (i < n)
            put_escape(b, s[i]);
        run = i + 1;
    }
    buf_putc(b, '"');
}

static void new_line(struct writer *w)
{
    if ((w->flags & PIT_JSON_PRETTY) == 0)
        return;
    buf_putc(w->b, '\n');
    for (unsigned i = 0; i < w->indent; i++)
        buf_puts(w->b, "  ");
}

static void put_colon(struct writer *w)
{
    buf_puts(w->b, (w->flags & PIT_JSON_PRETTY) != 0 ? ": " : ":");
}

static void put_key(struct writer *w, const char *key)
{
    json_write_text(w->b, key, strlen(key), 0);
    put_colon(w);
}

/* Between the members of a tagged form, which stands in one line. */
static void put_comma(struct writer *w)
{
    buf_puts(w->b, (w->flags & PIT_JSON_PRETTY) != 0 ? ", " : ",");
}

/* A further member, up to where its value stands. */
static void put_member(struct writer *w, const char *key)
{
    put_comma(w);
    put_key(w, key);
}

/* The beginning of a tagged form, up to where its payload stands. */
static void open_tag(struct writer *w, const char *tag, const char *payload)
{
    buf_putc(w->b, '{');
    put_key(w, "$pit");
    json_write_text(w->b, tag, strlen(tag), 0);
    put_member(w, payload);
}

static int put_int(struct writer *w, const pit_value *v)
{
    if ((v->flags & VALUE_BIG) == 0) {
        if ((v->flags & VALUE_UNSIGNED) != 0)
            buf_printf(w->b, "%llu", (unsigned long long)v->u);
        else
            buf_printf(w->b, "%lld", (long long)v->i);
        return 0;
    }
    w->big_work += (uint64_t)v->big->n * v->big->n;
    if (w->big_work > BIG_WORK_MAX)
        return refuse(w, PIT_E_LIMIT_EXCEEDED, "there are too many digits in huge integers to be written as JSON");
    const char *text = pit_value_text(v);
    if (text == NULL)
        return PIT_E_ALLOCATION_FAILED;
    open_tag(w, "bigint", "v");
    buf_putc(w->b, '"');
    buf_puts(w->b, text);
    buf_puts(w->b, "\"}");
    return 0;
}

static int put_float(struct writer *w, double x)
{
    if (!isfinite(x)) {
        open_tag(w, "float", "v");
        buf_puts(w->b, isnan(x) ? "\"nan\"}" : x > 0 ? "\"inf\"}" : "\"-inf\"}");
        return 0;
    }
    char text[NUMBER_TEXT];
    buf_append(w->b, text, number_put(text, x));
    return 0;
}

/* In base64, and the end of the tagged form. */
static int put_bytes(struct writer *w, const uint8_t *data, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_putc(w->b, '"');
    uint8_t *out = buf_reserve(w->b, (n + 2) / 3 * 4);
    if (out == NULL)
        return PIT_E_ALLOCATION_FAILED;
    for (size_t i = 0; i < n; i += 3, out += 4) {
        size_t left = n - i;
        uint32_t x = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0u);
        out[0] = (uint8_t)digit[x >> 18];
        out[1] = (uint8_t)digit[x >> 12 & 63];
        out[2] = left > 1 ? (uint8_t)digit[x >> 6 & 63] : '=';
        out[3] = left > 2 ? (uint8_t)digit[x & 63] : '=';
    }
    w->b->len += (n + 2) / 3 * 4;
    buf_puts(w->b, "\"}");
    return 0;
}

static int put_data(struct writer *w, const char *tag, const pit_value *v)
{
    open_tag(w, tag, "b64");
    return put_bytes(w, (const uint8_t *)v->text, v->n);
}

static int put_tensor(struct writer *w, const pit_value *v)
{
    if (pit_tensor_size(v) > JSON_TENSOR_MAX)
        return refuse(w, PIT_E_LIMIT_EXCEEDED, "a tensor of more than 1 MiB is not written as JSON");
    open_tag(w, "tensor", "dtype");
    buf_printf(w->b, "\"%s\"", pit_dtype_name(pit_tensor_dtype(v)));
    put_member(w, "shape");
    buf_putc(w->b, '[');
    for (int i = 0; i < pit_tensor_ndim(v); i++)
        buf_printf(w->b, "%s%lld", i != 0 ? "," : "", (long long)pit_tensor_shape(v)[i]);
    buf_putc(w->b, ']');
    put_member(w, "b64");
    return put_bytes(w, pit_tensor_data(v), pit_tensor_size(v));
}

static int put_time(struct writer *w, const pit_value *v)
{
    char text[TIME_TEXT];
    size_t n = time_put_text(text, v);
    open_tag(w, pit_value_kind_name(v), "v");
    json_write_text(w->b, text, n, 0);
    if (v->kind == PIT_KIND_DATETIME && v->time->zone_n != 0) {
        put_member(w, "zone");
        json_write_text(w->b, v->time->zone, v->time->zone_n, w->flags);
    }
    buf_putc(w->b, '}');
    return 0;
}

static int put_decimal(struct writer *w, const pit_value *v)
{
    const char *text = pit_value_text(v);
    if (text == NULL)
        return PIT_E_ALLOCATION_FAILED;
    open_tag(w, "decimal", "v");
    json_write_text(w->b, text, strlen(text), 0);
    buf_putc(w->b, '}');
    return 0;
}

static int put_complex(struct writer *w, const pit_value *v)
{
    open_tag(w, "complex", "v");
    buf_putc(w->b, '[');
    put_float(w, v->complex[0]);
    put_comma(w);
    put_float(w, v->complex[1]);
    buf_puts(w->b, "]}");
    return 0;
}

static void put_field(struct writer *w, const pit_value *v)
{
    if (v->kind == PIT_KIND_STR)
        json_write_text(w->b, v->text, v->n, w->flags);
    else if (v->kind == PIT_KIND_INT)
        put_int(w, v);
    else
        buf_puts(w->b, "null");
}

static int put_ref(struct writer *w, const pit_value *v)
{
    static const char *const further[] = {
        [REF_TYPE] = "type", [REF_WORKER] = "worker", [REF_SESSION] = "session", [REF_GENERATION] = "generation"};
    open_tag(w, "ref", "id");
    put_field(w, &v->nodes[REF_ID]);
    for (unsigned i = REF_TYPE; i < REF_FIELDS; i++) {
        put_member(w, further[i]);
        put_field(w, &v->nodes[i]);
    }
    buf_putc(w->b, '}');
    return 0;
}

static int put_marker(struct writer *w, const pit_value *v)
{
    buf_putc(w->b, '{');
    put_key(w, MARKER_JSON_FLAG);
    buf_puts(w->b, "true");
    put_member(w, MARKER_JSON_TYPE);
    put_field(w, &v->nodes[MARKER_TYPE]);
    if (v->nodes[MARKER_REPR].kind != PIT_KIND_NIL) {
        put_member(w, MARKER_JSON_REPR);
        put_field(w, &v->nodes[MARKER_REPR]);
    }
    buf_putc(w->b, '}');
    return 0;
}

static int put_list(struct writer *w, const pit_value *v)
{
    buf_putc(w->b, '[');
    w->indent++;
    for (size_t i = 0; i < v->n; i++) {
        if (i != 0)
            buf_putc(w->b, ',');
        new_line(w);
        int rc = write_item(w, v, (uint32_t)i);
        if (rc != 0)
            return rc;
    }
    w->indent--;
    if (v->n != 0)
        new_line(w);
    buf_putc(w->b, ']');
    return pit_value_error(v);
}

/* Can the map be a JSON object? */
static bool is_object(const pit_value *v)
{
    for (size_t i = 0; i < v->n; i++) {
        const pit_value *key = value_item(v, i * 2);
        if (key->kind != PIT_KIND_STR || (key->n >= 4 && memcmp(key->text, "$pit", 4) == 0))
            return false;
    }
    return !record_is_marker_map(v); /* which would be read as a marker */
}

static int put_entries(struct writer *w, const pit_value *v, bool object)
{
    buf_putc(w->b, object ? '{' : '[');
    w->indent++;
    for (size_t i = 0; i < v->n; i++) {
        if (i != 0)
            buf_putc(w->b, ',');
        new_line(w);
        if (!object)
            buf_putc(w->b, '[');
        int rc = write_item(w, v, (uint32_t)i * 2);
        if (object)
            put_colon(w);
        else
            put_comma(w);
        if (rc == 0)
            rc = write_item(w, v, (uint32_t)i * 2 + 1);
        if (rc != 0)
            return rc;
        if (!object)
            buf_putc(w->b, ']');
    }
    w->indent--;
    if (v->n != 0)
        new_line(w);
    buf_putc(w->b, object ? '}' : ']');
    return pit_value_error(v);
}

static int put_map(struct writer *w, const pit_value *v)
{
    if (is_object(v))
        return put_entries(w, v, true);
    open_tag(w, "map", "v");
    int rc = put_entries(w, v, false);
    buf_putc(w->b, '}');
    return rc;
}

static int put_exception(struct writer *w, const pit_value *v)
{
    buf_putc(w->b, '{');
    w->indent++;
    new_line(w);
    put_key(w, "$pit");
    buf_puts(w->b, "\"exception\"");
    for (size_t i = 0; i < EXCEPTION_FIELDS; i++) {
        buf_putc(w->b, ',');
        new_line(w);
        put_key(w, value_exception_fields[i]);
        int rc = write_item(w, v, (uint32_t)i);
        if (rc != 0)
            return rc;
    }
    w->indent--;
    new_line(w);
    buf_putc(w->b, '}');
    return 0;
}

static int write_container(struct writer *w, const pit_value *v)
{
    int rc;
    switch (v->kind) {
    case PIT_KIND_LIST:
        return put_list(w, v);
    case PIT_KIND_MAP:
        return put_map(w, v);
    case PIT_KIND_EXCEPTION:
        return put_exception(w, v);
    case PIT_KIND_TUPLE:
        open_tag(w, "tuple", "v");
        break;
    case PIT_KIND_SET:
        open_tag(w, "set", "frozen");
        buf_puts(w->b, pit_value_is_frozen(v) ? "true" : "false");
        put_member(w, "v");
        break;
    default:
        return refuse(w, PIT_E_INVALID_PARAMETER, "the arguments of a call have no JSON form");
    }
    rc = put_list(w, v);
    buf_putc(w->b, '}');
    return rc;
}

static int write_leaf(struct writer *w, const pit_value *v)
{
    switch (v->kind) {
    case PIT_KIND_DECIMAL:
        return put_decimal(w, v);
    case PIT_KIND_COMPLEX:
        return put_complex(w, v);
    case PIT_KIND_TENSOR:
        return put_tensor(w, v);
    case PIT_KIND_TABLE:
        return put_data(w, "table", v);
    case PIT_KIND_BATCH:
        return put_data(w, "batch", v);
    case PIT_KIND_REF:
        return put_ref(w, v);
    case PIT_KIND_MARKER:
        return put_marker(w, v);
    default:
        return put_time(w, v);
    }
}

static int write_value(struct writer *w, const pit_value *v)
{
    switch (v->kind) {
    case PIT_KIND_NIL:
        buf_puts(w->b, "null");
        return 0;
    case PIT_KIND_BOOL:
        buf_puts(w->b, v->truth ? "true" : "false");
        return 0;
    case PIT_KIND_INT:
        return put_int(w, v);
    case PIT_KIND_FLOAT:
        return put_float(w, v->f);
    case PIT_KIND_STR:
        json_write_text(w->b, v->text, v->n, w->flags);
        return 0;
    case PIT_KIND_BYTES:
        return put_data(w, "bytes", v);
    case PIT_KIND_FAILED:
        w->failed = v;
        return refuse(w, pit_value_error(v), value_failed_why(v));
    default:
        return value_is_container(v) ? write_container(w, v) : write_leaf(w, v);
    }
}

static void describe(const struct writer *w, int rc, struct codec_error *err)
{
    err->code = rc;
    path_begin(err->path);
    for (unsigned i = 0; i < w->depth; i++)
        path_add_item(err->path, CODEC_PATH, w->inside[i], w->at[i]);
    if (w->failed != NULL)
        path_add_path(err->path, CODEC_PATH, value_failed_path(w->failed));
    snprintf(err->text, sizeof err->text, "%s", w->why != NULL ? w->why : value_failed_why(value_failed(rc)));
}

int json_write(struct buf *b, const pit_value *v, int flags, struct codec_error *err)
{
    struct writer w; /* the stack is filled as far as it is used */
    w.b = b;
    w.flags = flags;
    w.indent = w.depth = 0;
    w.big_work = 0;
    w.why = NULL;
    w.failed = NULL;
    int rc = write_value(&w, v != NULL ? v : pit_nil());
    if (rc == 0 && b->failed)
        rc = PIT_E_ALLOCATION_FAILED;
    if (rc != 0 && err != NULL)
        describe(&w, rc, err);
    return rc;
}

char *pit_value_to_json(const pit_value *v, int flags)
{
    char *text = NULL;
    return pit_value_write_json(v, flags, &text, NULL, NULL) == 0 ? text : NULL;
}

int pit_value_write_json(const pit_value *v, int flags, char **ret, size_t *ret_n, pit_error **reterr)
{
    struct buf b = {0};
    struct codec_error why;
    if (ret == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "ret is NULL");
    int rc = json_write(&b, v, flags, &why);
    size_t n = b.len;
    char *text = rc == 0 ? buf_take_str(&b) : NULL;
    buf_finish(&b);
    if (rc == 0 && text == NULL)
        return error_set(reterr, PIT_E_ALLOCATION_FAILED, "out of memory");
    if (rc != 0) {
        pit_error *e = error_new(rc, "%s%s%s", why.path, why.path[0] != '\0' ? ": " : "", why.text);
        if (why.path[0] != '\0')
            error_detail_take(e, "key", pit_str(why.path));
        return error_give(reterr, e);
    }
    *ret = text;
    if (ret_n != NULL)
        *ret_n = n;
    return error_give(reterr, NULL);
}
