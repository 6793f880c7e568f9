/* Reads and writes values for whoever asks on standard input.
 *
 * A request is one letter, a size (u32, little-endian), and so many bytes; the answer is 0 or 1, a size, and bytes: what came of it, or the name
 * of the error. J: JSON to JSON. M: MessagePack to MessagePack. T: MessagePack to JSON. F: JSON to MessagePack. Ends at the end of its input. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"

static void answer(int rc, const void *data, size_t n)
{
    const char *name = rc != 0 ? pit_error_code_name(rc) : NULL;
    uint32_t size = (uint32_t)(name != NULL ? strlen(name) : n);
    putchar(rc != 0);
    fwrite(&size, sizeof size, 1, stdout);
    fwrite(name != NULL ? name : data, 1, size, stdout);
}

static void serve(int letter, const uint8_t *data, size_t n)
{
    pit_value *v = NULL;
    struct buf out = {0};
    bool from_json = letter == 'J' || letter == 'F', to_json = letter == 'J' || letter == 'T';
    int rc = from_json ? pit_value_parse_json((const char *)data, n, &v, NULL) : codec_decode(data, n, NULL, &v, NULL, NULL);
    if (rc == 0 && !to_json)
        rc = codec_encode(&out, v, NULL);
    char *text = rc == 0 && to_json ? pit_value_to_json(v, 0) : NULL;
    if (rc == 0 && to_json && text == NULL)
        rc = PIT_E_LIMIT_EXCEEDED;
    if (text != NULL)
        answer(0, text, strlen(text));
    else
        answer(rc, out.data, out.len);
    pit_free(text);
    buf_finish(&out);
    pit_value_free(v);
}

int main(void)
{
    uint32_t size;
    for (int letter; (letter = getchar()) != EOF && fread(&size, sizeof size, 1, stdin) == 1;) {
        uint8_t *data = malloc(size != 0 ? size : 1); /* of just this size: a sanitizer sees what is read behind it */
        if (data == NULL || fread(data, 1, size, stdin) != size)
            return 1;
        serve(letter, data, size);
        free(data);
    }
    return fflush(stdout) != 0;
}
