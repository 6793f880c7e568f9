/* Strict JSON to values; json_tagged.c makes what the tagged forms stand for.
 *
 * Invariants
 *  1. What is not RFC 8259 is refused, and so is what would lose something: numbers out of range, keys that stand twice, lone
 *     surrogates. No text is ever guessed at.
 *  2. Recursion is bounded: a level of a value is at most three of JSON (a tagged map), a leaf at most two. The result has at most 128
 *     levels.
 *
 * Failure: a code, the place (line and column) and a sentence; nothing is left behind. Thread: any. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/error.h"
#include "wire/json.h"
#include "wire/value.h"

#define JSON_DEPTH (3 * MP_MAX_DEPTH + 2)

struct reader {
    const char *begin, *p, *end;
    const char *deep; /* where the 129th level of JSON began; NULL: nowhere */
    unsigned depth;
    int code; /* of the first failure */
    const char *why, *where;
    bool tagged; /* the failure is that of a tagged form */
};

static pit_value *read_value(struct reader *r);

/* Remembers the first failure; always NULL. */
static pit_value *refuse(struct reader *r, int code, const char *why, const char *where)
{
    if (r->code == 0) {
        r->code = code;
        r->why = why;
        r->where = where;
    }
    return NULL;
}

static pit_value *broken(struct reader *r, const char *why)
{
    return refuse(r, PIT_E_DESERIALIZATION_FAILED, why, r->p);
}

/* A failed value (taken) becomes a refusal. */
static pit_value *checked(struct reader *r, pit_value *v, const char *where)
{
    int code = pit_value_error(v);
    if (code == 0)
        return v;
    const char *why = value_failed(code)->text;
    pit_value_free(v);
    return refuse(r, code, why, where);
}

static pit_value *checked_integer(struct reader *r, pit_value *v, const char *where)
{
    return pit_value_error(v) == PIT_E_LIMIT_EXCEEDED
               ? refuse(r, PIT_E_LIMIT_EXCEEDED, "an integer of more than 2^20 bits", where)
               : checked(r, v, where);
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
}

/* The next character that is no space; 0 at the end (a NUL in the text fits nothing either). */
static char peek(struct reader *r)
{
    skip_space(r);
    return r->p < r->end ? *r->p : '\0';
}

/* ---- numbers ---- */

static bool is_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

static bool skip_digits(struct reader *r)
{
    if (!is_digit(r))
        return false;
    while (is_digit(r))
        r->p++;
    return true;
}

static pit_value *read_number(struct reader *r)
{
    const char *begin = r->p, *digits;
    bool whole = true;
    r->p += *r->p == '-';
    digits = r->p;
    if (r->p < r->end && *r->p == '0')
        r->p++;
    else if (!skip_digits(r))
        return broken(r, "a digit is missing");
    if (is_digit(r))
        return broken(r, "a number begins with 0");
    size_t n = (size_t)(r->p - digits);
    if (r->p < r->end && *r->p == '.') {
        whole = false;
        r->p++;
        if (!skip_digits(r))
            return broken(r, "a digit is missing behind the point");
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        whole = false;
        r->p++;
        r->p += r->p < r->end && (*r->p == '-' || *r->p == '+');
        if (!skip_digits(r))
            return broken(r, "a digit is missing in the exponent");
    }
    if (whole)
        return checked_integer(r, value_int_from_digits(digits, n, *begin == '-'), begin);
    double x = number_get(begin, (size_t)(r->p - begin));
    if (isinf(x))
        return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a number that no float can hold", begin);
    return checked(r, pit_float(x), begin);
}

/* ---- strings ---- */

/* Four hexadecimal digits at s, or -1. */
static int32_t hex4(const char *s, const char *end)
{
    int32_t x = 0;
    if (end - s < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        x = x * 16 + digit;
    }
    return x;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* The escape at *s (behind its \), which is moved behind it; NULL when it is none. */
static char *put_escape(struct reader *r, const char **s, const char *end, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *s - 1;
    char c = *(*s)++;
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    if (known != NULL) {
        *out = to[known - from];
        return out + 1;
    }
    int32_t high = c == 'u' ? hex4(*s, end) : -1, low;
    if (high < 0) {
        refuse(r, PIT_E_DESERIALIZATION_FAILED, "an escape that does not exist", at);
        return NULL;
    }
    *s += 4;
    if (high < 0xd800 || high > 0xdfff)
        return put_utf8(out, (uint32_t)high);
    if (high > 0xdbff || end - *s < 6 || (*s)[0] != '\\' || (*s)[1] != 'u' || (low = hex4(*s + 2, end)) < 0xdc00 ||
        low > 0xdfff) {
        refuse(r, PIT_E_INVALID_UTF8, "a lone surrogate", at);
        return NULL;
    }
    *s += 6;
    return put_utf8(out, 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

/* The text between begin and end, escapes resolved. */
static pit_value *unescape(struct reader *r, const char *begin, const char *end)
{
    char *block = mem_alloc((size_t)(end - begin)), *out = block; /* no escape grows */
    if (block == NULL)
        return refuse(r, PIT_E_ALLOCATION_FAILED, "out of memory", begin);
    for (const char *s = begin; s < end && out != NULL;) {
        if (*s != '\\') {
            *out++ = *s++;
            continue;
        }
        s++;
        out = put_escape(r, &s, end, out);
    }
    pit_value *v = out != NULL ? checked(r, pit_strn(block, (size_t)(out - block)), begin) : NULL;
    mem_free(block);
    return v;
}

static pit_value *read_string(struct reader *r)
{
    const char *begin = r->p + 1, *s = begin;
    bool escapes = false;
    size_t bad;
    for (; s < r->end && *s != '"'; s++) {
        if ((unsigned char)*s < 0x20)
            return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a control character in a string", s);
        if (*s != '\\')
            continue;
        escapes = true;
        if (++s == r->end)
            break;
    }
    if (s >= r->end)
        return refuse(r, PIT_E_DESERIALIZATION_FAILED, "a string without an end", r->p);
    if (!mp_utf8_valid((const uint8_t *)begin, (size_t)(s - begin), &bad))
        return refuse(r, PIT_E_INVALID_UTF8, "a text is not valid UTF-8", begin + bad);
    r->p = s + 1;
    return escapes ? unescape(r, begin, s) : checked(r, pit_strn(begin, (size_t)(s - begin)), begin);
}

/* ---- arrays, objects ---- */

/* Behind an item: true when another follows. */
static bool more(struct reader *r, char closing)
{
    char c = peek(r);
    if (c == ',' || c == closing) {
        r->p++;
        return c == ',';
    }
    broken(r, c == '\0' ? "the text ends too early" : "a comma or a closing bracket is missing");
    return false;
}

static pit_value *read_array(struct reader *r)
{
    const char *where = r->p++;
    pit_value *v = checked(r, pit_list(), where);
    if (v == NULL)
        return NULL;
    if (peek(r) == ']') {
        r->p++;
        return v;
    }
    do {
        pit_value *item = read_value(r);
        if (item != NULL && value_append_take(v, item, true) != 0)
            refuse(r, pit_value_error(v), "an array that is too large", where);
    } while (r->code == 0 && more(r, ']'));
    if (r->code == 0)
        return v;
    pit_value_free(v);
    return NULL;
}

/* One member of an object into the map. */
static void read_member(struct reader *r, pit_value *map)
{
    if (peek(r) != '"') {
        broken(r, "a key in quotes is missing");
        return;
    }
    const char *where = r->p;
    pit_value *key = read_string(r), *item = NULL;
    if (key != NULL && peek(r) != ':') {
        broken(r, "a ':' is missing");
    } else if (key != NULL) {
        r->p++;
        item = read_value(r);
    }
    if (item == NULL) {
        pit_value_free(key);
        return;
    }
    int rc = value_put_new_take(map, key, item, true);
    if (rc != 0)
        refuse(r, rc, value_failed(rc)->text, where);
}

static pit_value *read_object(struct reader *r)
{
    const char *where = r->p++;
    pit_value *v = checked(r, pit_map(), where);
    if (v == NULL)
        return NULL;
    if (peek(r) == '}') {
        r->p++;
        return v;
    }
    do
        read_member(r, v);
    while (r->code == 0 && more(r, '}'));
    if (r->code == 0 && !json_is_tagged(v))
        return v;
    struct json_error err;
    pit_value *meant = r->code == 0 ? json_tagged(v, &err) : NULL;
    if (r->code == 0 && meant == NULL) {
        refuse(r, err.code, err.why, where);
        r->tagged = true;
    }
    pit_value_free(v);
    return meant;
}

static pit_value *read_word(struct reader *r, const char *word, pit_value *v)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return broken(r, "not a value");
    r->p += n;
    return v;
}

static pit_value *read_nested(struct reader *r, pit_value *(*contents)(struct reader *))
{
    if (++r->depth > MP_MAX_DEPTH && r->deep == NULL)
        r->deep = r->p;
    pit_value *v =
        r->depth > JSON_DEPTH ? refuse(r, PIT_E_LIMIT_EXCEEDED, "more than 128 levels of containers", r->deep) : contents(r);
    r->depth--;
    return v;
}

static pit_value *read_value(struct reader *r)
{
    char c = peek(r);
    switch (c) {
    case '{':
        return read_nested(r, read_object);
    case '[':
        return read_nested(r, read_array);
    case '"':
        return read_string(r);
    case 't':
        return read_word(r, "true", pit_bool(1));
    case 'f':
        return read_word(r, "false", pit_bool(0));
    case 'n':
        return read_word(r, "null", pit_nil());
    case '\0':
        return broken(r, r->p < r->end ? "not a value" : r->p == r->begin ? "the text is empty" : "the text ends too early");
    default:
        return c == '-' || (c >= '0' && c <= '9') ? read_number(r) : broken(r, "not a value");
    }
}

static void locate(const struct reader *r, struct json_error *err)
{
    err->code = r->code;
    err->why = r->why;
    err->tagged = r->tagged;
    err->line = err->column = 1;
    for (const char *s = r->begin; s < r->where; s++) {
        err->line += *s == '\n';
        err->column = *s == '\n' ? 1 : err->column + 1;
    }
}

int json_read(const char *text, size_t n, pit_value **ret, struct json_error *err)
{
    struct reader r = {.begin = text, .p = text, .end = text + n};
    pit_value *v;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        v = broken(&r, "a byte order mark");
    else
        v = read_value(&r);
    if (v != NULL && v->height > MP_MAX_DEPTH)
        refuse(&r, PIT_E_LIMIT_EXCEEDED, "more than 128 levels of containers", r.deep);
    else if (v != NULL && (peek(&r) != '\0' || r.p < r.end))
        broken(&r, "there is something behind the value");
    if (r.code == 0) {
        value_freeze(v);
        *ret = v;
        return 0;
    }
    pit_value_free(v);
    locate(&r, err);
    return r.code;
}

int pit_value_parse_json(const char *text, size_t n, pit_value **ret, pit_error **reterr)
{
    struct json_error why = {0};
    pit_value *v;
    if (ret == NULL || (text == NULL && n != 0))
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "text or ret is NULL");
    int rc = json_read(text != NULL ? text : "", n, &v, &why);
    if (rc == 0) {
        *ret = v;
        return error_give(reterr, NULL);
    }
    pit_error *e = error_new(rc, "line %zu, column %zu: %s", why.line, why.column, why.why);
    error_detail_take(e, "line", pit_uint(why.line));
    error_detail_take(e, "column", pit_uint(why.column));
    if (why.tagged)
        error_detail_take(e, "tagged", pit_bool(1));
    return error_give(reterr, e);
}
