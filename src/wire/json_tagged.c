/* The tagged forms of JSON to the values that they stand for; docs/wire.md, section 4, has them.
 *
 * Each maker takes the members of an object as a map. It returns a value, perhaps a failed one, or NULL and why the members are no such form.
 * A failed value's invalid_parameter is deserialization_failed here: the text was wrong, no argument; but for keys that cannot be hashed.
 *
 * Failure: typed, with a sentence. Thread: any. */
#include <math.h>
#include <string.h>

#include "wire/json.h"
#include "wire/record.h"
#include "wire/tensor.h"
#include "wire/time.h"
#include "wire/value.h"

static pit_value *wrong(const char **why, const char *what)
{
    *why = what;
    return NULL;
}

/* A text without NUL, or NULL. */
static const char *plain_text(const pit_value *map, const char *member)
{
    const pit_value *v = pit_value_get(map, member);
    const char *text = pit_value_str(v);
    return text != NULL && strlen(text) == pit_value_len(v) ? text : NULL;
}

/* ---- numbers ---- */

static pit_value *from_bigint(const pit_value *map, const char **why)
{
    const char *text = plain_text(map, "v");
    if (text == NULL || *text == '+')
        return wrong(why, "a bigint without decimal digits");
    pit_value *v = pit_bigint(text);
    *why = pit_value_error(v) == PIT_E_LIMIT_EXCEEDED ? "an integer of more than 2^20 bits" : "a bigint without decimal digits";
    return v;
}

static pit_value *from_float(const pit_value *map, const char **why)
{
    const char *text = plain_text(map, "v");
    if (text != NULL && strcmp(text, "nan") == 0)
        return pit_float((double)NAN);
    if (text != NULL && strcmp(text, "inf") == 0)
        return pit_float(HUGE_VAL);
    if (text != NULL && strcmp(text, "-inf") == 0)
        return pit_float(-HUGE_VAL);
    return wrong(why, "a tagged float is nan, inf or -inf");
}

static pit_value *from_decimal(const pit_value *map, const char **why)
{
    const char *text = plain_text(map, "v");
    if (text == NULL)
        return wrong(why, "a decimal without a number");
    pit_value *v = pit_decimal(text);
    *why = pit_value_error(v) == PIT_E_LIMIT_EXCEEDED ? "a decimal of more than 2^20 digits" : "a decimal without a number";
    return v;
}

static pit_value *from_complex(const pit_value *map, const char **why)
{
    const pit_value *pair = pit_value_get(map, "v");
    double re, im;
    if (pit_value_len(pair) != 2 || !pit_value_get_number(pit_value_at(pair, 0), &re) ||
        !pit_value_get_number(pit_value_at(pair, 1), &im))
        return wrong(why, "a complex number is not a pair of numbers");
    return pit_complex(re, im);
}

/* ---- bytes ---- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* n characters (a multiple of 4) to n / 4 * 3 - pad bytes; false unless it is the one encoding of them. */
static bool base64_get(const char *s, size_t n, size_t pad, uint8_t *out)
{
    for (size_t i = 0; i < n; i += 4) {
        size_t have = i + 4 == n ? 4 - pad : 4;
        uint32_t x = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = k < have ? base64_digit(s[i + k]) : 0;
            if (digit < 0)
                return false;
            x = x << 6 | (uint32_t)digit;
        }
        if ((have == 3 && (x & 0xff) != 0) || (have == 2 && (x & 0xffff) != 0))
            return false; /* bits that belong to nothing */
        for (size_t k = 0; k + 1 < have; k++)
            *out++ = (uint8_t)(x >> (16 - 8 * k));
    }
    return true;
}

struct base64 {
    const char *text;
    size_t n, pad, bytes;
};

/* The member "b64", as far as its length tells. */
static bool base64_open(const pit_value *map, struct base64 *ret)
{
    const pit_value *b64 = pit_value_get(map, "b64");
    *ret = (struct base64){.text = pit_value_str(b64), .n = pit_value_len(b64)};
    if (ret->text == NULL || ret->n % 4 != 0)
        return false;
    if (ret->n != 0 && ret->text[ret->n - 1] == '=')
        ret->pad = ret->text[ret->n - 2] == '=' ? 2 : 1;
    ret->bytes = ret->n / 4 * 3 - ret->pad;
    return true;
}

static pit_value *from_data(int kind, const pit_value *map, const char **why)
{
    struct base64 b;
    char *data;
    if (!base64_open(map, &b))
        return wrong(why, "bad base64");
    pit_value *v = value_new_data(kind, b.bytes, &data);
    if (v->kind != kind || base64_get(b.text, b.n, b.pad, (uint8_t *)data))
        return v;
    pit_value_free(v);
    return wrong(why, "bad base64");
}

static pit_value *from_bytes(const pit_value *map, const char **why)
{
    return from_data(PIT_KIND_BYTES, map, why);
}

static pit_value *from_table(const pit_value *map, const char **why)
{
    return from_data(PIT_KIND_TABLE, map, why);
}

static pit_value *from_batch(const pit_value *map, const char **why)
{
    return from_data(PIT_KIND_BATCH, map, why);
}

static const char *tensor_flaw(const pit_value *map, struct tensor_shape *ret)
{
    const pit_value *dtype = pit_value_get(map, "dtype"), *shape = pit_value_get(map, "shape");
    if (pit_value_str(dtype) == NULL || pit_value_kind(shape) != PIT_KIND_LIST)
        return "a tensor without dtype or shape";
    *ret = (struct tensor_shape){.dtype = tensor_dtype(pit_value_str(dtype), pit_value_len(dtype))};
    for (size_t i = 0; i < pit_value_len(shape) && i < PIT_TENSOR_MAX_NDIM; i++, ret->ndim++)
        if (!pit_value_get_int(pit_value_at(shape, i), &ret->dims[i]) || ret->dims[i] < 0)
            return "a dimension of a tensor is no size";
    return "";
}

static pit_value *from_tensor(const pit_value *map, const char **why)
{
    struct tensor_shape shape;
    struct base64 b;
    size_t bytes;
    *why = tensor_flaw(map, &shape);
    if ((*why)[0] != '\0')
        return NULL;
    *why = "a tensor of a type that is not supported";
    if (shape.dtype == PIT_DTYPE_NONE)
        return value_failed(PIT_E_UNSUPPORTED_DTYPE);
    *why = "a tensor of more than 32 dimensions";
    if (pit_value_len(pit_value_get(map, "shape")) > PIT_TENSOR_MAX_NDIM)
        return value_failed(PIT_E_LIMIT_EXCEEDED);
    if (!base64_open(map, &b))
        return wrong(why, "bad base64");
    *why = "the data of a tensor is not as long as its shape says";
    if (!tensor_bytes(&shape, &bytes) || bytes != b.bytes)
        return value_failed(PIT_E_SHAPE_MISMATCH);
    *why = "a tensor of more than 1 MiB in JSON";
    if (bytes > JSON_TENSOR_MAX)
        return value_failed(PIT_E_LIMIT_EXCEEDED);
    pit_value *v = tensor_new(&shape, bytes);
    if (v->kind != PIT_KIND_TENSOR || base64_get(b.text, b.n, b.pad, pit_tensor_data(v)))
        return v;
    pit_value_free(v);
    return wrong(why, "bad base64");
}

/* ---- containers ---- */

static pit_value *from_items(pit_value *v, const pit_value *list)
{
    const pit_value *item;
    for (size_t i = 0; pit_value_next(list, &i, NULL, &item);)
        value_append_take(v, pit_value_ref(item), true);
    return v;
}

static pit_value *from_tuple(const pit_value *map, const char **why)
{
    const pit_value *list = pit_value_get(map, "v");
    if (pit_value_kind(list) != PIT_KIND_LIST)
        return wrong(why, "a tuple without an array of items");
    return from_items(pit_tuple(), list);
}

static pit_value *from_set(const pit_value *map, const char **why)
{
    const pit_value *list = pit_value_get(map, "v"), *flag = pit_value_get(map, "frozen");
    bool frozen = false;
    if (pit_value_kind(list) != PIT_KIND_LIST)
        return wrong(why, "a set without an array of items");
    if (flag != NULL && !pit_value_get_bool(flag, &frozen))
        return wrong(why, "\"frozen\" of a set is neither true nor false");
    pit_value *v = from_items(pit_set(frozen), list);
    if (pit_value_error(v) == PIT_E_INVALID_PARAMETER)
        *why = "an item of a set that cannot be hashed";
    if (pit_value_error(v) == PIT_E_DUPLICATE_KEY)
        *why = "an item stands twice in the set";
    return v;
}

static pit_value *from_map(const pit_value *map, const char **why)
{
    const pit_value *list = pit_value_get(map, "v"), *pair;
    if (pit_value_kind(list) != PIT_KIND_LIST)
        return wrong(why, "a tagged map without an array of pairs");
    pit_value *v = pit_map();
    for (size_t i = 0; pit_value_next(list, &i, NULL, &pair);) {
        if (pit_value_kind(pair) != PIT_KIND_LIST || pit_value_len(pair) != 2) {
            pit_value_free(v);
            return wrong(why, "an entry of a tagged map is not a pair");
        }
        value_put_new_take(v, pit_value_ref(pit_value_at(pair, 0)), pit_value_ref(pit_value_at(pair, 1)), true);
    }
    if (pit_value_error(v) == PIT_E_INVALID_PARAMETER)
        *why = "a key of a map that cannot be hashed";
    return v;
}

static pit_value *from_exception(const pit_value *map, const char **why)
{
    pit_value *parts[EXCEPTION_FIELDS];
    *why = "";
    for (int i = 0; i < EXCEPTION_FIELDS && (*why)[0] == '\0'; i++)
        *why = value_exception_flaw(i, pit_value_get(map, value_exception_fields[i]));
    if ((*why)[0] != '\0')
        return NULL;
    *why = NULL;
    for (int i = 0; i < EXCEPTION_FIELDS; i++)
        parts[i] = pit_value_ref(pit_value_get(map, value_exception_fields[i]));
    return value_new_exception(parts);
}

/* ---- times, refs, markers ---- */

static pit_value *from_time(int kind, const pit_value *map, const char **why)
{
    const pit_value *text = pit_value_get(map, "v"), *zone = pit_value_get(map, "zone");
    *why = "a date, time or duration that is not written as it should";
    if (pit_value_str(text) == NULL || (zone != NULL && (pit_value_str(zone) == NULL || pit_value_len(zone) == 0)))
        return NULL;
    return time_from_text(kind, pit_value_str(text), pit_value_len(text), pit_value_str(zone), pit_value_len(zone));
}

static pit_value *from_datetime(const pit_value *map, const char **why)
{
    return from_time(PIT_KIND_DATETIME, map, why);
}

static pit_value *from_date(const pit_value *map, const char **why)
{
    return from_time(PIT_KIND_DATE, map, why);
}

static pit_value *from_time_of_day(const pit_value *map, const char **why)
{
    return from_time(PIT_KIND_TIME, map, why);
}

static pit_value *from_duration(const pit_value *map, const char **why)
{
    return from_time(PIT_KIND_DURATION, map, why);
}

static pit_value *from_ref(const pit_value *map, const char **why)
{
    const pit_value *fields[REF_FIELDS] = {
        [REF_ID] = pit_value_get(map, "id"),
        [REF_TYPE] = pit_value_get(map, "type"),
        [REF_WORKER] = pit_value_get(map, "worker"),
        [REF_SESSION] = pit_value_get(map, "session"),
        [REF_GENERATION] = pit_value_get(map, "generation"),
    };
    if (fields[REF_GENERATION] == NULL)
        fields[REF_GENERATION] = pit_int(0);
    *why = "a part of a ref is missing or of the wrong kind";
    return record_new(PIT_KIND_REF, fields);
}

static pit_value *from_marker(const pit_value *map)
{
    const pit_value *fields[MARKER_FIELDS] = {
        [MARKER_TYPE] = pit_value_get(map, MARKER_JSON_TYPE),
        [MARKER_REPR] = pit_value_get(map, MARKER_JSON_REPR),
    };
    return record_new(PIT_KIND_MARKER, fields);
}

/* ---- the switch ---- */

#define MOST_MEMBERS 5

static const struct tag {
    const char *name;
    pit_value *(*make)(const pit_value *map, const char **why);
    const char *members[MOST_MEMBERS];
    bool keys; /* invalid_parameter is about keys, and stays */
} tags[] = {
    {"bigint", from_bigint, {"v"}, false},
    {"float", from_float, {"v"}, false},
    {"bytes", from_bytes, {"b64"}, false},
    {"tuple", from_tuple, {"v"}, false},
    {"map", from_map, {"v"}, true},
    {"set", from_set, {"frozen", "v"}, true},
    {"datetime", from_datetime, {"v", "zone"}, false},
    {"date", from_date, {"v"}, false},
    {"time", from_time_of_day, {"v"}, false},
    {"duration", from_duration, {"v"}, false},
    {"decimal", from_decimal, {"v"}, false},
    {"complex", from_complex, {"v"}, false},
    {"tensor", from_tensor, {"dtype", "shape", "b64"}, false},
    {"table", from_table, {"b64"}, false},
    {"batch", from_batch, {"b64"}, false},
    {"ref", from_ref, {"id", "type", "worker", "session", "generation"}, false},
    {"exception", from_exception, {"type", "message", "traceback", "notes", "cause"}, false},
};

static const struct tag *find_tag(const pit_value *name)
{
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (strcmp(pit_value_str_or(name, ""), tags[i].name) == 0 && strlen(tags[i].name) == pit_value_len(name))
            return &tags[i];
    return NULL;
}

/* Does the object have only members of the form? */
static bool only_members(const pit_value *map, const struct tag *tag)
{
    const pit_value *key;
    for (size_t i = 0; pit_value_next(map, &i, &key, NULL);) {
        bool known = strcmp(pit_value_str(key), "$pit") == 0;
        for (size_t k = 0; k < MOST_MEMBERS && tag->members[k] != NULL; k++)
            known = known || strcmp(pit_value_str(key), tag->members[k]) == 0;
        if (!known || strlen(pit_value_str(key)) != pit_value_len(key))
            return false;
    }
    return true;
}

bool json_is_tagged(const pit_value *map)
{
    return pit_value_get(map, "$pit") != NULL || record_is_marker_map(map);
}

static pit_value *refuse(struct json_error *err, int code, const char *why)
{
    err->code = code;
    err->why = why;
    return NULL;
}

pit_value *json_tagged(const pit_value *map, struct json_error *err)
{
    const pit_value *name = pit_value_get(map, "$pit");
    const struct tag *tag = name != NULL ? find_tag(name) : NULL;
    const char *why = NULL;
    if (name != NULL && tag == NULL)
        return refuse(err, PIT_E_DESERIALIZATION_FAILED, "an unknown \"$pit\" form");
    if (tag != NULL && !only_members(map, tag))
        return refuse(err, PIT_E_DESERIALIZATION_FAILED, "a member that does not belong to this \"$pit\" form");
    pit_value *v = tag != NULL ? tag->make(map, &why) : from_marker(map);
    int code = v == NULL ? PIT_E_DESERIALIZATION_FAILED : pit_value_error(v);
    if (code == 0)
        return v;
    pit_value_free(v);
    bool said = why != NULL && code != PIT_E_ALLOCATION_FAILED;
    if (code == PIT_E_INVALID_PARAMETER && (tag == NULL || !tag->keys))
        code = PIT_E_DESERIALIZATION_FAILED;
    return refuse(err, code, said ? why : value_failed_why(value_failed(code)));
}
