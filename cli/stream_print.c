/* What a stream gives, one JSON document a line, as it comes: a map whose keys are texts is itself, anything else stands under "data", bytes in base64
 * under "raw_data_base64"; beside it is_final, and _metadata where the producer gave some. The producer's result, if there is one, stands under "result" in
 * the line that only ends the stream, or, where the producer has marked its last chunk itself, in a line of its own: the chunk was printed when it came.
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

/* Is it an object of JSON? A map with other keys is written as something else, in which no member could stand. */
static bool is_object(const pit_value *v)
{
    const pit_value *key, *item;
    size_t at = 0;

    if (pit_value_kind(v) != PIT_KIND_MAP)
        return false;
    while (pit_value_next(v, &at, &key, &item))
        if (pit_value_kind(key) != PIT_KIND_STR)
            return false;
    return true;
}

static pit_value *line_of(const pit_value *chunk)
{
    const void *data;
    const pit_value *key, *item;
    size_t n, at = 0;
    pit_value *line = pit_map();

    if (is_object(chunk)) {
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

/* Is it the chunk that the library has added, which says how many came before it? The end is there then. (A producer that marks the very same map as
 * its last chunk has its line printed with the end.) */
static bool is_added(const pit_stream_event *ev)
{
    const pit_value *sent = pit_value_get(ev->value, "chunks_sent");
    int64_t n;

    return ev->is_final && ev->metadata == NULL && pit_value_len(ev->value) == 2 &&
           pit_value_get(ev->value, "synthetic_final") != NULL && pit_value_get_int(sent, &n) && (uint64_t)n == ev->index;
}

int stream_print(pit_stream_event *ev, void *user)
{
    struct stream_print *s = user;

    if (ev->kind == PIT_STREAM_CHUNK) {
        pit_value *line = line_of(ev->value);
        (void)pit_map_set_take(line, "is_final", pit_bool(ev->is_final));
        if (ev->metadata != NULL)
            (void)pit_map_set_take(line, "_metadata", pit_value_ref(ev->metadata));
        if (!is_added(ev))
            return put(s, line);
        s->last = line; /* the result comes next */
        return 0;
    }
    pit_value *line = s->last;
    s->last = NULL;
    if (ev->kind == PIT_STREAM_END && pit_value_kind(ev->value) != PIT_KIND_NIL) {
        line = line != NULL ? line : pit_map();
        (void)pit_map_set_take(line, "result", pit_value_ref(ev->value));
    }
    return line != NULL ? put(s, line) : 0;
}
