/* Hostile MessagePack: decoding never fails badly, stays inside its budget, and what it accepts survives encoding, JSON and taking
 * apart. */
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What the readers say of a leaf lies within what was read: a sanitizer sees it if not. */
static void look_at_leaf(const pit_value *v)
{
    const void *data = pit_tensor_data(v);
    size_t n = pit_tensor_size(v);
    int32_t ns = 0;
    int64_t sum = 0;
    const char *zone = NULL;
    if (pit_value_get_datetime(v, NULL, &ns, NULL, &zone) && zone != NULL)
        sum += (int64_t)strlen(zone);
    if (ns < 0 || ns > 999999999)
        abort();
    for (int i = 0; i < pit_tensor_ndim(v); i++)
        sum += pit_tensor_shape(v)[i] ^ pit_tensor_strides(v)[i];
    if (pit_value_get_table(v, &data, &n) || pit_value_get_batch(v, &data, &n) || data != NULL)
        for (size_t i = 0; i < n; i++)
            sum += ((const uint8_t *)data)[i];
    __asm__ volatile("" : : "r"(sum)); /* so that it is reckoned */
}

static void walk(const pit_value *v)
{
    const pit_value *key, *item;
    if (v->height > 128)
        abort();
    look_at_leaf(v);
    for (size_t i = 0; pit_value_next(v, &i, &key, &item);) {
        if (key != NULL && pit_value_get_key(v, key) != item)
            abort();
        if (key == NULL && pit_value_at(v, i - 1) != item)
            abort();
        if (pit_value_kind(v) == PIT_KIND_SET && pit_value_get_key(v, item) != item)
            abort();
        walk(item);
    }
    if (pit_value_str(v) != NULL && pit_value_str(v)[pit_value_len(v)] != '\0')
        abort();
}

/* Where nobody asks how much was used, small values take a short way: it agrees with the long one. */
static void without_used(const uint8_t *data, size_t n, const struct codec_limits *limits, const pit_value *whole)
{
    pit_value *v = NULL;
    struct codec_error err;
    struct buf a = {0}, b = {0};
    if ((codec_decode(data, n, limits, &v, NULL, &err) == 0) != (whole != NULL))
        abort();
    if (whole != NULL && (codec_encode(&a, whole, &err) != 0 || codec_encode(&b, v, &err) != 0 || a.len != b.len ||
                          memcmp(a.data, b.data, a.len) != 0))
        abort();
    pit_value_free(v);
    buf_finish(&a);
    buf_finish(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct codec_limits limits = {.max_bytes = 1 << 20}; /* so that no tensor is too large for JSON */
    pit_value *v = NULL, *back = NULL, *parsed = NULL;
    struct codec_error err;
    size_t used = 0;
    struct buf b = {0};
    if (codec_decode(data, n, &limits, &v, &used, &err) != 0) {
        pit_value *path = pit_str(err.path); /* for people, and for the details of an error */
        if (pit_value_error(path) != 0)
            abort();
        pit_value_free(path);
        without_used(data, n, &limits, NULL);
        return 0;
    }
    if (used > n)
        abort();
    walk(v);
    without_used(data, n, &limits, used == n ? v : NULL);
    if (codec_encode(&b, v, &err) != 0 || codec_decode(b.data, b.len, NULL, &back, NULL, &err) != 0 ||
        !pit_value_equal(v, back))
        abort();
    char *text = pit_value_to_json(v, (int)(n % 4));
    if (text == NULL || pit_value_parse_json(text, strlen(text), &parsed, NULL) != 0 || !pit_value_equal(v, parsed))
        abort();
    pit_free(text);
    pit_value_free(parsed);
    pit_value_free(back);
    pit_value_free(v);
    buf_finish(&b);
    return 0;
}
