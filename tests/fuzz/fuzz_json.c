/* Hostile JSON: what is accepted can be written, and reads back as the same; what is refused has a place inside the text. */
#include <snakepit/snakepit.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    pit_value *v = NULL, *again = NULL;
    pit_error *e = NULL;
    if (pit_value_parse_json((const char *)data, n, &v, &e) != 0) {
        uint64_t line = 0, column = 0;
        if (!pit_value_get_uint(pit_value_get(pit_error_details(e), "line"), &line) ||
            !pit_value_get_uint(pit_value_get(pit_error_details(e), "column"), &column) || line == 0 || column == 0 ||
            line + column > n + 2)
            abort();
        pit_error_free(e);
        return 0;
    }
    char *text = pit_value_to_json(v, PIT_JSON_ASCII);
    if (text == NULL || pit_value_parse_json(text, strlen(text), &again, NULL) != 0 || !pit_value_equal(v, again))
        abort();
    struct buf b = {0};
    struct codec_error err;
    if (codec_encode(&b, v, &err) != 0)
        abort();
    buf_finish(&b);
    pit_free(text);
    pit_value_free(again);
    pit_value_free(v);
    return 0;
}
