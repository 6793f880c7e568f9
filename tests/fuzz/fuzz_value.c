/* Hostile MessagePack: decoding never fails badly, stays inside its budget, and what it accepts survives encoding, JSON and taking
 * apart. */
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void walk(const pit_value *v)
{
    const pit_value *key, *item;
    if (v->height > 128)
        abort();
    for (size_t i = 0; pit_value_next(v, &i, &key, &item);) {
        if (key != NULL && pit_value_get_key(v, key) != item)
            abort();
        if (key == NULL && pit_value_at(v, i - 1) != item)
            abort();
        walk(item);
    }
    if (pit_value_str(v) != NULL && pit_value_str(v)[pit_value_len(v)] != '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct codec_limits limits = {.max_bytes = 1 << 20};
    pit_value *v = NULL, *back = NULL, *parsed = NULL;
    struct codec_error err;
    size_t used = 0;
    struct buf b = {0};
    if (codec_decode(data, n, &limits, &v, &used, &err) != 0)
        return 0;
    if (used > n)
        abort();
    walk(v);
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
