/* Tensors: type, shape, and items in C order, little-endian.
 *
 * Invariants
 *  1. size is the product of the shape and the size of an item, and at most TENSOR_MAX bytes.
 *  2. The data is aligned to 8 bytes; that of tensor_over() as its owner made it.
 *
 * Failure: failed values; payloads: deserialization_failed, unsupported_dtype, shape_mismatch, limit_exceeded, duplicate_key.
 * Thread: any. */
#include "wire/tensor.h"

#include <string.h>

#include "wire/leaf.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "items are copied as they lie in memory");

#define TENSOR_MAX ((size_t)UINT32_MAX - 4096) /* what the length of an extension can tell, with the rest of the payload */

struct value_tensor {
    int dtype, ndim;
    size_t size;
    void *data;
    void (*release)(void *user);
    void *user;
    int64_t dims[]; /* shape, then strides */
};

enum { PART_DTYPE = 1, PART_SHAPE = 2, PART_DATA = 4 };

/* ---- types ---- */

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {{NULL, 0},
#define DTYPE_ROW(constant, name, size) {#name, size},
              PIT_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

#define DTYPES ((int)(sizeof dtypes / sizeof dtypes[0]))

const char *pit_dtype_name(int dtype)
{
    return dtype > 0 && dtype < DTYPES ? dtypes[dtype].name : NULL;
}

size_t pit_dtype_size(int dtype)
{
    return dtype > 0 && dtype < DTYPES ? dtypes[dtype].size : 0;
}

int tensor_dtype(const char *name, size_t n)
{
    for (int i = 1; i < DTYPES; i++)
        if (strlen(dtypes[i].name) == n && memcmp(dtypes[i].name, name, n) == 0)
            return i;
    return PIT_DTYPE_NONE;
}

/* ---- making ---- */

bool tensor_bytes(const struct tensor_shape *shape, size_t *ret)
{
    size_t bytes = pit_dtype_size(shape->dtype);
    for (int i = 0; i < shape->ndim; i++)
        if (shape->dims[i] == 0) { /* whatever the others are */
            *ret = 0;
            return true;
        }
    for (int i = 0; i < shape->ndim; i++)
        if (__builtin_mul_overflow(bytes, (uint64_t)shape->dims[i], &bytes))
            return false;
    *ret = bytes;
    return bytes <= TENSOR_MAX;
}

static size_t struct_size(int ndim)
{
    return sizeof(struct value_tensor) + (size_t)ndim * 2 * sizeof(int64_t);
}

static void set_tensor(pit_value *v, struct value_tensor *t, const struct tensor_shape *shape, size_t bytes, void *data)
{
    *t = (struct value_tensor){.dtype = shape->dtype, .ndim = shape->ndim, .size = bytes, .data = data};
    uint64_t stride = 1;
    for (int i = shape->ndim; i-- > 0;) {
        t->dims[i] = shape->dims[i];
        t->dims[shape->ndim + i] = (int64_t)stride;
        stride *=
            (uint64_t)(shape->dims[i] > 1 ? shape->dims[i] : 1); /* of a tensor without items it may wrap, and nobody steps */
    }
    v->tensor = t;
}

pit_value *tensor_new(const struct tensor_shape *shape, size_t bytes)
{
    pit_value *v = value_new(PIT_KIND_TENSOR, struct_size(shape->ndim) + bytes);
    if (v == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    void *data = (char *)(v + 1) + struct_size(shape->ndim);
    set_tensor(v, (struct value_tensor *)(void *)(v + 1), shape, bytes, data);
    return v;
}

pit_value *tensor_over(const struct tensor_shape *shape, size_t bytes, void *data, void (*release)(void *user), void *user)
{
    pit_value *v = leaf_new(PIT_KIND_TENSOR, struct_size(shape->ndim));
    if (v->kind != PIT_KIND_TENSOR)
        return v;
    set_tensor(v, (struct value_tensor *)(void *)(v + 1), shape, bytes, data);
    v->tensor->release = release;
    v->tensor->user = user;
    return v;
}

void value_tensor_release(const pit_value *v)
{
    if (v->tensor->release != NULL)
        v->tensor->release(v->tensor->user);
}

/* ---- readers ---- */

static const struct value_tensor *tensor_of(const pit_value *v)
{
    return v != NULL && v->kind == PIT_KIND_TENSOR ? v->tensor : NULL;
}

void *pit_tensor_data(const pit_value *v)
{
    const struct value_tensor *t = tensor_of(v);
    return t != NULL ? t->data : NULL;
}

size_t pit_tensor_size(const pit_value *v)
{
    const struct value_tensor *t = tensor_of(v);
    return t != NULL ? t->size : 0;
}

int pit_tensor_dtype(const pit_value *v)
{
    const struct value_tensor *t = tensor_of(v);
    return t != NULL ? t->dtype : PIT_DTYPE_NONE;
}

int pit_tensor_ndim(const pit_value *v)
{
    const struct value_tensor *t = tensor_of(v);
    return t != NULL ? t->ndim : -1;
}

const int64_t *pit_tensor_shape(const pit_value *v)
{
    const struct value_tensor *t = tensor_of(v);
    return t != NULL ? t->dims : NULL;
}

const int64_t *pit_tensor_strides(const pit_value *v)
{
    const struct value_tensor *t = tensor_of(v);
    return t != NULL ? t->dims + t->ndim : NULL;
}

bool value_tensor_equal(const pit_value *a, const pit_value *b)
{
    const struct value_tensor *x = a->tensor, *y = b->tensor;
    return x->dtype == y->dtype && x->ndim == y->ndim && x->size == y->size &&
           memcmp(x->dims, y->dims, (size_t)x->ndim * sizeof x->dims[0]) == 0 && memcmp(x->data, y->data, x->size) == 0;
}

/* ---- payload: a map of dtype, shape, data ---- */

struct parsed {
    struct tensor_shape shape;
    const uint8_t *data;
    size_t n;
    unsigned seen; /* PART_* */
    const char *why;
};

static int refuse(struct parsed *t, int code, const char *why)
{
    t->why = why;
    return code;
}

static int parse_shape(struct parsed *t, const uint8_t **p, const uint8_t *end)
{
    struct mp_token token;
    if (mp_read(p, end, &token) != MP_OK || token.type != MP_ARRAY)
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "the shape of a tensor is no array");
    if (token.n > PIT_TENSOR_MAX_NDIM)
        return refuse(t, PIT_E_LIMIT_EXCEEDED, "a tensor of more than 32 dimensions");
    t->shape.ndim = (int)token.n;
    for (int i = 0; i < t->shape.ndim; i++) {
        if (mp_read(p, end, &token) != MP_OK || token.type != MP_INT || token.i < 0)
            return refuse(t, PIT_E_DESERIALIZATION_FAILED, "a dimension of a tensor is no size");
        t->shape.dims[i] = token.i;
    }
    return 0;
}

static int parse_part(struct parsed *t, const uint8_t **p, const uint8_t *end)
{
    struct mp_token key, token;
    if (mp_read(p, end, &key) != MP_OK || key.type != MP_STR)
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "a tensor with a key that is no text");
    unsigned part = key.n == 5 && memcmp(key.data, "dtype", 5) == 0   ? PART_DTYPE
                    : key.n == 5 && memcmp(key.data, "shape", 5) == 0 ? PART_SHAPE
                    : key.n == 4 && memcmp(key.data, "data", 4) == 0  ? PART_DATA
                                                                      : 0;
    if (part == 0)
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "a tensor with a key that does not exist");
    if ((t->seen & part) != 0)
        return refuse(t, PIT_E_DUPLICATE_KEY, "a key stands twice in a tensor");
    t->seen |= part;
    if (part == PART_SHAPE)
        return parse_shape(t, p, end);
    enum mp_type wanted = part == PART_DTYPE ? MP_STR : MP_BIN;
    if (mp_read(p, end, &token) != MP_OK || token.type != wanted)
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "a part of a tensor is of the wrong kind");
    if (part == PART_DATA) {
        t->data = token.data;
        t->n = token.n;
        return 0;
    }
    t->shape.dtype = tensor_dtype((const char *)token.data, token.n);
    return t->shape.dtype != PIT_DTYPE_NONE ? 0
                                            : refuse(t, PIT_E_UNSUPPORTED_DTYPE, "a tensor of a type that is not supported");
}

static int parse(struct parsed *t, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    struct mp_token map;
    if (mp_read(&p, end, &map) != MP_OK || map.type != MP_MAP)
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "a tensor is no map");
    for (uint32_t i = 0; i < map.n; i++) {
        int rc = parse_part(t, &p, end);
        if (rc != 0)
            return rc;
    }
    if (t->seen != (PART_DTYPE | PART_SHAPE | PART_DATA))
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "a part of a tensor is missing");
    if (p != end)
        return refuse(t, PIT_E_DESERIALIZATION_FAILED, "an extension has bytes that belong to nothing");
    size_t bytes;
    if (!tensor_bytes(&t->shape, &bytes) || bytes != t->n)
        return refuse(t, PIT_E_SHAPE_MISMATCH, "the data of a tensor is not as long as its shape says");
    return 0;
}

int tensor_check(struct leaf_payload *p, struct leaf_room *room)
{
    struct parsed t = {0};
    int rc = parse(&t, p->data, p->n);
    p->why = t.why;
    if (rc == 0)
        room->words += (struct_size(t.shape.ndim) + t.n + 7) / 8;
    return rc;
}

void tensor_fill(pit_value *v, const uint8_t *data, size_t n, struct leaf_place *place)
{
    struct parsed t = {0};
    parse(&t, data, n); /* as before */
    struct value_tensor *where = leaf_take_words(place, struct_size(t.shape.ndim) + t.n);
    void *copy = (char *)where + struct_size(t.shape.ndim);
    if (t.n != 0)
        memcpy(copy, t.data, t.n);
    v->kind = PIT_KIND_TENSOR;
    set_tensor(v, where, &t.shape, t.n, copy);
}

size_t tensor_size(const pit_value *v)
{
    return 64 + (size_t)v->tensor->ndim * MP_HEAD + v->tensor->size; /* heads, keys and type take less than 64 bytes */
}

uint8_t *tensor_put(uint8_t *p, const pit_value *v)
{
    const struct value_tensor *t = v->tensor;
    const char *dtype = dtypes[t->dtype].name;
    p = mp_put_map(p, 3);
    p = mp_put_str(p, "dtype", 5);
    p = mp_put_str(p, dtype, (uint32_t)strlen(dtype));
    p = mp_put_str(p, "shape", 5);
    p = mp_put_array(p, (uint32_t)t->ndim);
    for (int i = 0; i < t->ndim; i++)
        p = mp_put_int(p, t->dims[i]);
    p = mp_put_str(p, "data", 4);
    p = mp_put_bin_head(p, (uint32_t)t->size);
    if (t->size != 0)
        memcpy(p, t->data, t->size);
    return p + t->size;
}
