/* What a stream gives, one JSON document a line, as it comes: a map is itself, anything else stands under "data", bytes in base64 under
 * "raw_data_base64"; beside it is_final, and _metadata where the producer gave some. The producer's result, if there is one, stands in the last line under
 * "result".
 *
 * Failure modes: no memory, or a reader of stdout that has gone, ends the stream. */
#include "cli.h"

#include <stdlib.h>

static pit_value *base64(const unsigned char *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((n + 2) / 3 * 4 + 1), *to = text;

    if (text == NULL)
        return pit_str(NULL); /* a value that has failed */
    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        unsigned bits = (unsigned)data[i] << 16 | (have > 1 ? (unsigned)data[i + 1] << 8 : 0) | (have > 2 ? data[i + 2] : 0u);
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = have > 1 ? digits[bits >> 6 & 63] : '=';
        *to++ = have > 2 ? digits[bits & 63] : '=';
    }
    pit_value *v = pit_strn(text, (size_t)(to - text));
    free(text);
    return v;
}

static pit_value *line_of(const pit_value *chunk)
{
    const void *data;
    const pit_value *key, *item;
    size_t n, at = 0;
    pit_value *line = pit_map();

    if (pit_value_kind(chunk) == PIT_KIND_MAP) {
        while (pit_value_next(chunk, &at, &key, &item))
            (void)pit_map_put_take(line, pit_value_ref(key), pit_value_ref(item));
    } else if (pit_value_get_bytes(chunk, &data, &n)) {
        (void)pit_map_set_take(line, "raw_data_base64", base64(data, n));
    } else {
        (void)pit_map_set_take(line, "data", pit_value_ref(chunk));
    }
    return line;
}

/* Writes the line (taken). */
static int put(struct stream_print *s, pit_value *line)
{
    if (s->code == EXIT_OK)
        s->code = print_line(s->cli, line);
    pit_value_free(line);
    streams_flush();
    return s->code == EXIT_OK && !streams_failed() ? 0 : PIT_STREAM_HALT;
}

int stream_print(pit_stream_event *ev, void *user)
{
    struct stream_print *s = user;

    if (ev->kind == PIT_STREAM_CHUNK) {
        pit_value *line = line_of(ev->value);
        (void)pit_map_set_take(line, "is_final", pit_bool(ev->is_final));
        if (ev->metadata != NULL)
            (void)pit_map_set_take(line, "_metadata", pit_value_ref(ev->metadata));
        if (!ev->is_final)
            return put(s, line);
        s->last = line; /* the result comes next */
        return 0;
    }
    pit_value *line = s->last;
    s->last = NULL;
    if (ev->kind == PIT_STREAM_END && pit_value_kind(ev->value) != PIT_KIND_NIL)
        (void)pit_map_set_take(line, "result", pit_value_ref(ev->value));
    return line != NULL ? put(s, line) : 0;
}
