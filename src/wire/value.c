/* Values: constructors of everything but containers, references, readers. See value.h for the shape and the invariants.
 *
 * Failure: constructors return static failed values; readers say no. Thread: as value.h. */
#include "wire/value.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

const char *const value_exception_fields[EXCEPTION_FIELDS] = {"type", "message", "traceback", "notes", "cause"};

/* ---- static values ---- */

static const pit_value static_nil = {.kind = PIT_KIND_NIL, .flags = VALUE_FROZEN};
static const pit_value static_false = {.kind = PIT_KIND_BOOL, .flags = VALUE_FROZEN, .truth = false};
static const pit_value static_true = {.kind = PIT_KIND_BOOL, .flags = VALUE_FROZEN, .truth = true};

#define SMALL_MIN (-16)
#define SMALL_COUNT 272
#define SMALL_INT(x) {.kind = PIT_KIND_INT, .flags = VALUE_FROZEN, .i = (x)},
#define SMALL_4(x) SMALL_INT(x) SMALL_INT((x) + 1) SMALL_INT((x) + 2) SMALL_INT((x) + 3)
#define SMALL_16(x) SMALL_4(x) SMALL_4((x) + 4) SMALL_4((x) + 8) SMALL_4((x) + 12)
#define SMALL_64(x) SMALL_16(x) SMALL_16((x) + 16) SMALL_16((x) + 32) SMALL_16((x) + 48)
static const pit_value static_ints[SMALL_COUNT] = {SMALL_16(-16) SMALL_64(0) SMALL_64(64) SMALL_64(128) SMALL_64(192)};

static const pit_value static_failed[] = {
    VALUE_FAILED(PIT_E_ALLOCATION_FAILED, "out of memory"),
    VALUE_FAILED(PIT_E_INVALID_UTF8, "the text is not valid UTF-8"),
    VALUE_FAILED(PIT_E_INVALID_PARAMETER, "an argument of a value's constructor is not allowed"),
    VALUE_FAILED(PIT_E_LIMIT_EXCEEDED, "a value passes a size limit"),
    VALUE_FAILED(PIT_E_DUPLICATE_KEY, "a key stands twice in one map, or an item in one set"),
    VALUE_FAILED(PIT_E_UNSUPPORTED_DTYPE, "a tensor of a type that is not supported"),
    VALUE_FAILED(PIT_E_SHAPE_MISMATCH, "the data of a tensor is not as long as its shape says"),
};

static const pit_value null_with_size = VALUE_FAILED(PIT_E_INVALID_PARAMETER, "a NULL pointer with a size");

/* Static values are handed out like any other; nothing ever writes to a value without a tree. */
pit_value *value_static(const pit_value *v)
{
    return (pit_value *)(uintptr_t)v;
}

pit_value *value_failed(int code)
{
    size_t count = sizeof static_failed / sizeof static_failed[0];
    for (size_t i = 0; i < count; i++)
        if (static_failed[i].n == (uint32_t)-code)
            return value_static(&static_failed[i]);
    return value_static(&static_failed[0]);
}

/* Behind the node: "path: text", or "text", and the path once more. */
pit_value *value_failed_text(int code, const char *path, const char *text)
{
    size_t path_n = strlen(path), n = (path_n != 0 ? path_n + 2 : 0) + strlen(text) + 1;
    pit_value *v = value_new(PIT_KIND_FAILED, n + path_n + 1);
    if (v == NULL)
        return value_failed(code);
    char *block = (char *)(v + 1);
    snprintf(block, n, "%s%s%s", path, path_n != 0 ? ": " : "", text);
    memcpy(block + n, path, path_n + 1);
    v->n = (uint32_t)-code;
    v->text = block;
    v->flags = VALUE_FROZEN;
    return v;
}

const char *value_failed_path(const pit_value *v)
{
    return v->tree != NULL ? v->text + strlen(v->text) + 1 : "";
}

const char *value_failed_why(const pit_value *v)
{
    size_t n = strlen(value_failed_path(v));
    return v->text + (n != 0 ? n + 2 : 0);
}

/* ---- trees ---- */

pit_value *value_new(int kind, size_t extra)
{
    struct value_tree *tree;
    size_t bytes;
    if (__builtin_add_overflow(extra, sizeof *tree + sizeof(pit_value), &bytes) || (tree = mem_alloc(bytes)) == NULL)
        return NULL;
    *tree = (struct value_tree){.refs = 1};
    pit_value *v = (pit_value *)(void *)(tree + 1);
    *v = (pit_value){.kind = (uint8_t)kind, .tree = tree};
    return v;
}

static void tree_destroy(struct value_tree *tree)
{
    pit_value *root = (pit_value *)(void *)(tree + 1);
    if (!value_is_container(root)) {
        if (root->kind == PIT_KIND_TENSOR)
            value_tensor_release(root);
    } else if ((root->flags & VALUE_INLINE) == 0) {
        struct value_items *items = root->items;
        size_t count = value_count(root);
        for (size_t i = 0; i < count; i++)
            pit_value_free(items->v[i]);
        if (items->v != items->few)
            mem_free(items->v);
        mem_free(items->index);
    }
    for (struct value_extra *next, *x = tree->extras; x != NULL; x = next) {
        next = x->next;
        mem_free(x);
    }
    if (tree->kept != NULL)
        mem_free(tree->kept);
    mem_free(tree);
}

void pit_value_free(pit_value *v)
{
    if (v == NULL || v->tree == NULL)
        return;
    /* The last owner need not pay for an atomic operation: nobody else can take a reference from it any more. */
    if (__atomic_load_n(&v->tree->refs, __ATOMIC_ACQUIRE) == 1 || __atomic_sub_fetch(&v->tree->refs, 1, __ATOMIC_ACQ_REL) == 0)
        tree_destroy(v->tree);
}

void value_freeze(const pit_value *v)
{
    if (v == NULL || v->tree == NULL || (__atomic_load_n(&v->flags, __ATOMIC_RELAXED) & VALUE_FROZEN) != 0)
        return;
    if (v->kind == PIT_KIND_SET)
        value_index_finish(v);
    __atomic_or_fetch(&value_static(v)->flags, VALUE_FROZEN, __ATOMIC_RELAXED);
}

pit_value *pit_value_ref(const pit_value *v)
{
    if (v != NULL && v->tree != NULL) {
        value_freeze(v);
        __atomic_add_fetch(&v->tree->refs, 1, __ATOMIC_RELAXED);
    }
    return value_static(v);
}

/* ---- scalars, texts ---- */

pit_value *pit_nil(void)
{
    return value_static(&static_nil);
}

pit_value *pit_bool(int truth)
{
    return value_static(truth != 0 ? &static_true : &static_false);
}

static pit_value *new_scalar(pit_value content)
{
    pit_value *v = value_new(content.kind, 0);
    if (v == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    content.tree = v->tree;
    content.flags |= VALUE_FROZEN;
    *v = content;
    return v;
}

pit_value *pit_int(int64_t n)
{
    if (n >= SMALL_MIN && n < SMALL_MIN + SMALL_COUNT)
        return value_static(&static_ints[n - SMALL_MIN]);
    return new_scalar((pit_value){.kind = PIT_KIND_INT, .i = n});
}

pit_value *pit_uint(uint64_t n)
{
    if (n <= INT64_MAX)
        return pit_int((int64_t)n);
    return new_scalar((pit_value){.kind = PIT_KIND_INT, .flags = VALUE_UNSIGNED, .u = n});
}

pit_value *pit_bigint(const char *decimal)
{
    static const pit_value no_number = VALUE_FAILED(PIT_E_INVALID_PARAMETER, "pit_bigint takes a decimal integer as text");
    if (decimal == NULL)
        return value_static(&no_number);
    bool negative = *decimal == '-';
    const char *digits = decimal + (*decimal == '-' || *decimal == '+');
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || digits[n] != '\0')
        return value_static(&no_number);
    return value_int_from_digits(digits, n, negative);
}

pit_value *pit_float(double x)
{
    return new_scalar((pit_value){.kind = PIT_KIND_FLOAT, .f = x});
}

pit_value *value_new_data(int kind, size_t n, char **ret_data)
{
    if (n >= UINT32_MAX)
        return value_failed(PIT_E_LIMIT_EXCEEDED);
    pit_value *v = value_new(kind, n + 1);
    if (v == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    char *data = (char *)(v + 1);
    data[n] = '\0';
    v->n = (uint32_t)n;
    v->text = data;
    v->flags = VALUE_FROZEN;
    *ret_data = data;
    return v;
}

pit_value *pit_strn(const char *text, size_t n)
{
    if (text == NULL && n != 0)
        return value_static(&null_with_size);
    if (!mp_utf8_valid((const uint8_t *)text, n, NULL))
        return value_failed(PIT_E_INVALID_UTF8);
    char *data = NULL;
    pit_value *v = value_new_data(PIT_KIND_STR, n, &data);
    if (data != NULL && n != 0)
        memcpy(data, text, n);
    return v;
}

pit_value *pit_str(const char *text)
{
    return text != NULL ? pit_strn(text, strlen(text)) : pit_nil();
}

static pit_value *new_bytes(int kind, const void *data, size_t n)
{
    if (data == NULL && n != 0)
        return value_static(&null_with_size);
    char *copy = NULL;
    pit_value *v = value_new_data(kind, n, &copy);
    if (copy != NULL && n != 0)
        memcpy(copy, data, n);
    return v;
}

pit_value *pit_bytes(const void *data, size_t n)
{
    return new_bytes(PIT_KIND_BYTES, data, n);
}

pit_value *pit_table(const void *arrow_stream, size_t n)
{
    return new_bytes(PIT_KIND_TABLE, arrow_stream, n);
}

pit_value *pit_batch(const void *arrow_stream, size_t n)
{
    return new_bytes(PIT_KIND_BATCH, arrow_stream, n);
}

/* ---- readers ---- */

int pit_value_kind(const pit_value *v)
{
    return v != NULL ? v->kind : PIT_KIND_NONE;
}

const char *pit_value_kind_name(const pit_value *v)
{
    switch (pit_value_kind(v)) {
#define KIND_NAME(constant, name, constructors, python, json)                                                                  \
    case PIT_KIND_##constant:                                                                                                  \
        return #name;
        PIT_KIND_LIST(KIND_NAME)
#undef KIND_NAME
    case PIT_KIND_FAILED:
        return "failed";
    default:
        return "none";
    }
}

int pit_value_error(const pit_value *v)
{
    if (v == NULL)
        return 0;
    if (v->kind == PIT_KIND_FAILED)
        return -(int)v->n;
    return value_is_container(v) && (v->flags & VALUE_INLINE) == 0 ? v->items->err : 0;
}

const char *pit_value_error_text(const pit_value *v)
{
    int code = pit_value_error(v);
    if (code == 0)
        return "no error";
    if (v->kind == PIT_KIND_FAILED)
        return v->text;
    if (v->items->why != NULL)
        return v->items->why;
    for (size_t i = 0; i < value_count(v); i++)
        if (pit_value_error(v->items->v[i]) == code)
            return pit_value_error_text(v->items->v[i]);
    return value_failed(code)->text;
}

bool pit_value_get_bool(const pit_value *v, bool *ret)
{
    if (v == NULL || v->kind != PIT_KIND_BOOL)
        return false;
    *ret = v->truth;
    return true;
}

bool pit_value_get_int(const pit_value *v, int64_t *ret)
{
    if (v == NULL || v->kind != PIT_KIND_INT || (v->flags & (VALUE_UNSIGNED | VALUE_BIG)) != 0)
        return false;
    *ret = v->i;
    return true;
}

bool pit_value_get_uint(const pit_value *v, uint64_t *ret)
{
    if (v == NULL || v->kind != PIT_KIND_INT || (v->flags & VALUE_BIG) != 0 || ((v->flags & VALUE_UNSIGNED) == 0 && v->i < 0))
        return false;
    *ret = v->u;
    return true;
}

bool pit_value_get_float(const pit_value *v, double *ret)
{
    if (v == NULL || v->kind != PIT_KIND_FLOAT)
        return false;
    *ret = v->f;
    return true;
}

bool pit_value_get_number(const pit_value *v, double *ret)
{
    if (pit_value_get_float(v, ret))
        return true;
    if (v == NULL || v->kind != PIT_KIND_INT)
        return false;
    if ((v->flags & VALUE_BIG) != 0)
        return value_big_to_double(v->big, ret);
    bool is_unsigned = (v->flags & VALUE_UNSIGNED) != 0;
    double x = is_unsigned ? (double)v->u : (double)v->i;
    /* 2^63 and 2^64 are what the largest numbers round up to, and cannot be converted back. */
    if (is_unsigned ? x >= 0x1p64 || (uint64_t)x != v->u : x >= 0x1p63 || (int64_t)x != v->i)
        return false;
    *ret = x;
    return true;
}

static bool get_data(const pit_value *v, int kind, const void **ret, size_t *ret_n)
{
    if (v == NULL || v->kind != kind)
        return false;
    *ret = v->text;
    *ret_n = v->n;
    return true;
}

bool pit_value_get_bytes(const pit_value *v, const void **ret, size_t *ret_n)
{
    return get_data(v, PIT_KIND_BYTES, ret, ret_n);
}

bool pit_value_get_table(const pit_value *v, const void **ret, size_t *ret_n)
{
    return get_data(v, PIT_KIND_TABLE, ret, ret_n);
}

bool pit_value_get_batch(const pit_value *v, const void **ret, size_t *ret_n)
{
    return get_data(v, PIT_KIND_BATCH, ret, ret_n);
}

const char *pit_value_str(const pit_value *v)
{
    return v != NULL && v->kind == PIT_KIND_STR ? v->text : NULL;
}

const char *pit_value_str_or(const pit_value *v, const char *fallback)
{
    const char *text = pit_value_str(v);
    return text != NULL ? text : fallback;
}

size_t pit_value_len(const pit_value *v)
{
    if (v == NULL)
        return 0;
    switch (v->kind) {
    case PIT_KIND_STR:
    case PIT_KIND_BYTES:
    case PIT_KIND_TABLE:
    case PIT_KIND_BATCH:
        return v->n;
    default:
        return value_is_container(v) && v->kind != PIT_KIND_ARGS ? v->n : 0;
    }
}

const char *pit_value_text(const pit_value *v)
{
    if (v == NULL)
        return NULL;
    if (v->kind == PIT_KIND_DECIMAL)
        return value_decimal_text(v);
    return v->kind == PIT_KIND_INT && (v->flags & VALUE_BIG) != 0 ? value_big_text(v) : NULL;
}

const char *value_keep_text(const pit_value *v, char **slot, struct value_extra *extra)
{
    char *expected = NULL;
    if (!__atomic_compare_exchange_n(slot, &expected, extra->text, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        mem_free(extra); /* another thread was first */
        return expected;
    }
    extra->next = __atomic_load_n(&v->tree->extras, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&v->tree->extras, &extra->next, extra, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    return extra->text;
}

bool pit_value_is_immutable(const pit_value *v)
{
    return v == NULL || (__atomic_load_n(&v->flags, __ATOMIC_RELAXED) & VALUE_FROZEN) != 0;
}
