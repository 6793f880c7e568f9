/* What a worker says about a failure, made into an error object. Nothing of it is trusted: sizes are cut, a code that a worker
 * may not send is replaced, parts of a wrong kind are left out.
 *
 * Failure: an error with the fallback code and what there is. Thread: any. */
#include <string.h>

#include "base/alloc.h"
#include "wire/codec.h"
#include "wire/error.h"

#define DECODED_BYTES ((size_t)32 << 20)
#define MESSAGE_BYTES ((size_t)64 << 10)
#define TRACEBACK_BYTES ((size_t)256 << 10)
#define TYPE_BYTES 256u
#define NOTES 100u
#define SUGGESTIONS 20u
#define DETAILS 64u

/* Besides the categories python_error, tool and value. */
bool error_may_come(int code)
{
    static const int codes[] = {PIT_E_OUT_OF_MEMORY,
                                PIT_E_CALL_LIMIT_EXCEEDED,
                                PIT_E_DEVICE_NOT_AVAILABLE,
                                PIT_E_NO_DEVICE,
                                PIT_E_CUDA_ERROR,
                                PIT_E_DEADLINE_EXCEEDED,
                                PIT_E_CANCELLED,
                                PIT_E_LIMIT_EXCEEDED,
                                PIT_E_INVALID_PARAMETER,
                                PIT_E_INVALID_REQUEST,
                                PIT_E_DUPLICATE_KEY,
                                PIT_E_NOT_FOUND,
                                PIT_E_ALREADY_EXISTS,
                                PIT_E_PROTOCOL_MISMATCH,
                                PIT_E_ADAPTER_INVALID,
                                PIT_E_ADAPTER_INIT_FAILED,
                                PIT_E_ADAPTER_NOT_THREAD_SAFE,
                                PIT_E_PROFILE_UNAVAILABLE,
                                PIT_E_LIBRARY_MISSING,
                                PIT_E_PACKAGE_ERROR,
                                PIT_E_SESSION_UPDATE_FAILED,
                                PIT_E_CAPABILITY_NOT_FOUND};
    static const char *const categories[] = {"python_error", "tool", "value"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == code)
            return true;
    for (size_t i = 0; i < sizeof categories / sizeof categories[0]; i++)
        if (strcmp(error_code_category(code), categories[i]) == 0)
            return true;
    return false;
}

/* What the host adds to a worker's error: how its own side is called instead, which the worker cannot know. */
static const struct {
    int code;
    const char *way;
} ways[] = {
    {PIT_E_STREAMING_REQUIRED,
     "pit_call_stream(), pit_submit_stream() and pit_stream_open() call for a stream; so does snakepit call --stream"},
    {PIT_E_STREAMING_NOT_SUPPORTED, "pit_call() and pit_submit() call for one answer; so does snakepit call without --stream"},
};

static int code_of(const pit_value *map, int fallback)
{
    const pit_value *name = pit_value_get(map, "code");
    const char *text = pit_value_str(name);
    int code = text != NULL ? error_code_from_name(text, pit_value_len(name)) : 0;
    return code != 0 && error_may_come(code) ? code : fallback;
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* At most `most` bytes of a text, its beginning or its end, as an owned copy without NULs; NULL when v is no text. */
static char *cut(const pit_value *v, size_t most, bool end)
{
    const char *text = pit_value_str(v);
    size_t n = pit_value_len(v);
    if (text == NULL)
        return NULL;
    if (n > most && end) {
        text += n - most;
        n = most;
        for (; n != 0 && continues(*text); n--)
            text++;
    } else if (n > most) {
        for (n = most; n != 0 && continues(text[n]); n--)
            ;
    }
    char *copy = mem_strndup(text, n);
    for (size_t i = 0; copy != NULL && i < n; i++)
        if (copy[i] == '\0')
            copy[i] = ' ';
    return copy;
}

/* The first texts of a list, cut; NULL when there are none. */
static pit_value *cut_list(const pit_value *list, size_t most)
{
    if (pit_value_kind(list) != PIT_KIND_LIST || pit_value_len(list) == 0)
        return NULL;
    pit_value *out = pit_list();
    const pit_value *item;
    for (size_t i = 0; i < most && pit_value_next(list, &i, NULL, &item);) {
        char *text = cut(item, MESSAGE_BYTES, false);
        if (text != NULL)
            pit_list_append_take(out, pit_str(text));
        mem_free(text);
    }
    if (pit_value_error(out) == 0)
        return out;
    pit_value_free(out);
    return NULL;
}

static void add_python(pit_error *e, const pit_value *python)
{
    char *type = cut(pit_value_get(python, "type"), TYPE_BYTES, false);
    if (type == NULL)
        return;
    char *message = cut(pit_value_get(python, "message"), MESSAGE_BYTES, false);
    char *traceback = cut(pit_value_get(python, "traceback"), TRACEBACK_BYTES, true);
    pit_value *notes = cut_list(pit_value_get(python, "notes"), NOTES);
    error_python(e, type, message, traceback, notes);
    pit_value_free(notes);
    mem_free(traceback);
    mem_free(message);
    mem_free(type);
}

static void add_extras(pit_error *e, const pit_value *map)
{
    const pit_value *details = pit_value_get(map, "details"), *key, *item;
    if (pit_value_kind(details) == PIT_KIND_MAP)
        for (size_t i = 0; i < DETAILS && pit_value_next(details, &i, &key, &item);)
            if (pit_value_str(key) != NULL && pit_value_len(key) <= TYPE_BYTES)
                error_detail_take(e, pit_value_str(key), pit_value_ref(item));
    pit_value *suggestions = cut_list(pit_value_get(map, "suggestions"), SUGGESTIONS);
    for (size_t i = 0; pit_value_next(suggestions, &i, NULL, &item);)
        error_suggest(e, "%s", pit_value_str(item));
    pit_value_free(suggestions);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (ways[i].code == pit_error_code(e))
            error_suggest(e, "%s", ways[i].way);
}

pit_error *error_from_worker(const uint8_t *payload, size_t n, int fallback)
{
    const struct codec_limits limits = {.max_bytes = DECODED_BYTES};
    struct codec_error why;
    pit_value *map;
    if (codec_decode(payload, n, &limits, &map, NULL, &why) != 0)
        return error_new(fallback, "the worker sent an error that cannot be read: %s", why.text);
    char *message = cut(pit_value_get(map, "message"), MESSAGE_BYTES, false);
    if (message == NULL)
        message = cut(pit_value_get(pit_value_get(map, "python"), "message"), MESSAGE_BYTES, false);
    pit_error *e = error_new(code_of(map, fallback), "%s", message != NULL ? message : "");
    mem_free(message);
    add_python(e, pit_value_get(map, "python"));
    add_extras(e, map);
    pit_value_free(map);
    return e;
}
