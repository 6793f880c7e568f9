/* See dossier.h. Where a worker crashed, in a line each: texts made of the stacks that its dossier holds.
 *
 * Failure: without memory a line is left out, or the dossier is a failed value, as everywhere. */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "crash/crash.h"
#include "worker/dossier.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Where a frame is; false: that is not known. */
static bool say_frame(struct buf *b, const pit_value *frame)
{
    const char *module = pit_value_str(pit_value_get(frame, "module"));
    const char *symbol = pit_value_str(pit_value_get(frame, "symbol"));
    if (module == NULL)
        return false;
    if (symbol != NULL)
        buf_printf(b, "%s() of %s", symbol, base_name(module));
    else
        buf_printf(b, "%s+%s", base_name(module), pit_value_str_or(pit_value_get(frame, "offset"), "?"));
    return true;
}

enum { ABORT_DEPTH = 8 /* frames that raising the signal takes at most */ };

/* What abort() is made of says nothing, nor what else of its library has led there (a heap that is found damaged): who has called that does.
 * false: this was no abort. */
static bool say_abort(struct buf *b, const pit_value *native)
{
    const pit_value *frame, *last = NULL;
    for (size_t i = 0, n = 0; n < ABORT_DEPTH && last == NULL && pit_value_next(native, &i, NULL, &frame); n++)
        if (strcmp(pit_value_str_or(pit_value_get(frame, "symbol"), ""), "abort") == 0)
            last = frame;
    if (last == NULL || !say_frame(b, last))
        return false;
    const char *own = pit_value_str(pit_value_get(last, "module"));
    bool behind = false;
    for (size_t i = 0; pit_value_next(native, &i, NULL, &frame);) {
        const char *module = pit_value_str(pit_value_get(frame, "module"));
        if (behind && module != NULL && strcmp(module, own) != 0) {
            buf_puts(b, ", below ");
            say_frame(b, frame);
            return true;
        }
        behind = behind || frame == last;
    }
    return true;
}

/* The place of the fault; where that is a function without a name, or no place at all, also the next one that has a name. */
static void say_native(struct buf *b, const pit_value *native)
{
    const pit_value *first = pit_value_at(native, 0);
    if (first == NULL || say_abort(b, native))
        return;
    if (!say_frame(b, first))
        buf_puts(b, pit_value_str_or(pit_value_get(first, "pc"), "?"));
    if (pit_value_get(first, "symbol") != NULL)
        return;
    for (size_t i = 1; i < pit_value_len(native); i++) {
        const pit_value *frame = pit_value_at(native, i);
        if (pit_value_get(frame, "symbol") == NULL)
            continue;
        buf_puts(b, ", below ");
        say_frame(b, frame);
        return;
    }
}

static void say_python(struct buf *b, const pit_value *function)
{
    int64_t line = 0;
    if (!pit_value_get_int(pit_value_get(function, "line"), &line))
        return;
    buf_printf(b, "%s, line %" PRId64 ", in %s", pit_value_str_or(pit_value_get(function, "file"), "?"), line,
               pit_value_str_or(pit_value_get(function, "function"), "?"));
}

/* Of the thread that crashed, the function that ran; and of the program's own ones the innermost, NULL: there is none. */
static const pit_value *last_functions(const pit_value *dossier, const pit_value **ret_own)
{
    const pit_value *thread, *threads = pit_value_get(dossier, "python"), *frame;
    *ret_own = NULL;
    for (size_t i = 0; pit_value_next(threads, &i, NULL, &thread);) {
        bool crashed = false;
        if (!pit_value_get_bool(pit_value_get(thread, "crashed"), &crashed) || !crashed)
            continue;
        const pit_value *frames = pit_value_get(thread, "frames");
        for (size_t k = 0; pit_value_next(frames, &k, NULL, &frame) && *ret_own == NULL;)
            *ret_own = crash_is_library(pit_value_str_or(pit_value_get(frame, "file"), "<")) ? NULL : frame;
        return pit_value_at(frames, 0);
    }
    return NULL;
}

static void put_text(pit_value *dossier, const char *key, struct buf *b)
{
    if (!b->failed && b->len != 0)
        pit_map_set_take(dossier, key, pit_strn((const char *)b->data, b->len));
    buf_finish(b);
}

void dossier_say_place(pit_value *dossier)
{
    struct buf python = {0}, library = {0}, native = {0};
    const pit_value *own, *last = last_functions(dossier, &own);
    say_python(&python, own != NULL ? own : last);
    if (own != NULL && own != last)
        say_python(&library, last);
    say_native(&native, pit_value_get(dossier, "native"));
    put_text(dossier, "python_at", &python);
    put_text(dossier, "library_at", &library);
    put_text(dossier, "native_at", &native);
}
