/* See format.h.
 *
 * Invariants: the number of arguments taken is what the format's letters say, up to the first failure. Failure: invalid_parameter with
 * the column for a bad format; the listener's code with the path. Thread: any. */
#include "wire/format.h"

#include <stdio.h>
#include <string.h>

#include "wire/path.h"
#include "wire/value.h"

/* Whole words: compilers test two narrow neighbours with one wide load, which then waits for the narrow stores. */
struct format_level {
    size_t closing; /* the bracket that ends it; 0 for the top */
    size_t count;
    const char *text; /* the last key, when it was a text; for the path */
    size_t text_n;
    size_t key; /* stands as a key itself */
};

struct walker {
    const char *format, *at;
    const struct format_ops *ops;
    void *user;
    const char *why;
    const pit_value *failed; /* the argument that was no value */
    bool bad_format;
    unsigned depth;
    struct format_level levels[MP_MAX_DEPTH + 1];
};

static int bad(struct walker *w, const char *why)
{
    w->bad_format = true;
    w->why = why;
    return PIT_E_INVALID_PARAMETER;
}

/* Is what comes next the key of a map? */
static bool at_key(const struct format_level *level)
{
    return level->closing == '}' && (level->count & 1) == 0;
}

static int take_text(struct walker *w, struct format_item *item, const char *text, size_t n)
{
    if (text == NULL && n != 0) {
        w->why = "a NULL pointer with a size";
        return PIT_E_INVALID_PARAMETER;
    }
    item->kind = PIT_KIND_STR;
    item->data = text != NULL ? text : "";
    item->n = n;
    return mp_utf8_valid(item->data, n, NULL) ? 0 : PIT_E_INVALID_UTF8;
}

/* The argument of a letter. */
static int take_argument(struct walker *w, char letter, va_list *ap, struct format_item *item)
{
    item->is_unsigned = false;
    item->kind = PIT_KIND_INT;
    switch (letter) {
    case 'n':
        item->kind = PIT_KIND_NIL;
        return 0;
    case 'b':
        item->kind = PIT_KIND_BOOL;
        item->truth = va_arg(*ap, int) != 0;
        return 0;
    case 'i':
        item->i = va_arg(*ap, int);
        return 0;
    case 'I':
        item->i = va_arg(*ap, int64_t);
        return 0;
    case 'u':
        item->i = (int64_t)va_arg(*ap, unsigned);
        return 0;
    case 'U':
        item->u = va_arg(*ap, uint64_t);
        item->is_unsigned = item->u > INT64_MAX;
        return 0;
    case 'f':
        item->kind = PIT_KIND_FLOAT;
        item->f = va_arg(*ap, double);
        return 0;
    case 's': {
        const char *text = va_arg(*ap, const char *);
        if (text != NULL)
            return take_text(w, item, text, strlen(text));
        item->kind = PIT_KIND_NIL;
        return 0;
    }
    case 'S': {
        const char *text = va_arg(*ap, const char *);
        return take_text(w, item, text, va_arg(*ap, size_t));
    }
    case 'y':
        item->data = va_arg(*ap, const void *);
        item->n = va_arg(*ap, size_t);
        item->kind = PIT_KIND_BYTES;
        if (item->data == NULL && item->n != 0)
            w->why = "a NULL pointer with a size";
        return item->data == NULL && item->n != 0 ? PIT_E_INVALID_PARAMETER : 0;
    case 'v':
        item->value = va_arg(*ap, const pit_value *);
        item->kind = PIT_KIND_NONE;
        if (item->value == NULL)
            w->why = "a NULL value";
        return item->value == NULL ? PIT_E_INVALID_PARAMETER : pit_value_error(item->value);
    default:
        return bad(w, "unknown letter");
    }
}

static int walk_item(struct walker *w, char letter, va_list *ap)
{
    struct format_level *level = &w->levels[w->depth];
    struct format_item item;
    item.key = at_key(level);
    if (item.key)
        level->text = NULL;
    int rc = take_argument(w, letter, ap, &item);
    if (rc == 0 && item.key && item.kind == PIT_KIND_STR) {
        level->text = item.data;
        level->text_n = item.n;
    }
    if (rc != 0 && item.kind == PIT_KIND_NONE && item.value != NULL) {
        w->failed = item.value->kind == PIT_KIND_FAILED ? item.value : NULL;
        w->why = w->failed != NULL ? value_failed_why(w->failed) : pit_value_error_text(item.value);
    }
    if (rc == 0)
        rc = w->ops->item(w->user, &item, &w->why);
    if (rc == 0)
        level->count++;
    return rc;
}

static int walk_open(struct walker *w, int kind, size_t closing)
{
    bool key = at_key(&w->levels[w->depth]);
    if (w->depth == MP_MAX_DEPTH) {
        w->why = VALUE_TOO_DEEP;
        return PIT_E_LIMIT_EXCEEDED;
    }
    if (key)
        w->levels[w->depth].text = NULL;
    int rc = w->ops->open(w->user, kind, key, &w->why);
    if (rc == 0)
        w->levels[++w->depth] = (struct format_level){.closing = closing, .key = key};
    return rc;
}

static int walk_close(struct walker *w, char c)
{
    struct format_level *level = &w->levels[w->depth];
    if (level->closing != (size_t)c)
        return bad(w, "a bracket that closes nothing");
    if (c == '}' && (level->count & 1) != 0)
        return bad(w, "a key without a value");
    w->depth--;
    int rc = w->ops->close(w->user, (uint32_t)level->count, level->key != 0, &w->why);
    if (rc == 0)
        w->levels[w->depth].count++;
    return rc;
}

/* `:` must stand between key and item and nowhere else. */
static int walk_colon(struct walker *w)
{
    const struct format_level *level = &w->levels[w->depth];
    return level->closing == '}' && (level->count & 1) != 0 ? 0 : bad(w, "a ':' that does not follow a key");
}

static int walk(struct walker *w, va_list *ap)
{
    bool colon = false;
    for (w->at = w->format; *w->at != '\0'; w->at++) {
        char c = *w->at;
        const struct format_level *level = &w->levels[w->depth];
        if (c == ' ' || c == ',')
            continue;
        if (c == ':' && !colon) {
            colon = true;
            if (walk_colon(w) != 0)
                return PIT_E_INVALID_PARAMETER;
            continue;
        }
        bool closes = c == ']' || c == ')' || c == '}';
        if (w->depth == 0 && level->count == 1 && !closes)
            return bad(w, "more than one value");
        if (!closes && level->closing == '}' && (level->count & 1) != 0 && !colon)
            return bad(w, "a ':' is missing before this");
        if (colon && closes)
            return bad(w, "a key without a value");
        colon = false;
        int rc;
        if (closes)
            rc = walk_close(w, c);
        else if (c == '[')
            rc = walk_open(w, PIT_KIND_LIST, ']');
        else if (c == '(')
            rc = walk_open(w, PIT_KIND_TUPLE, ')');
        else if (c == '{')
            rc = walk_open(w, PIT_KIND_MAP, '}');
        else
            rc = walk_item(w, c, ap);
        if (rc != 0)
            return rc;
    }
    return w->depth != 0 ? bad(w, "a bracket is not closed") : 0;
}

static void describe(const struct walker *w, int rc, struct codec_error *err)
{
    err->code = rc;
    path_begin(err->path);
    for (unsigned i = 1; i <= w->depth; i++) {
        const struct format_level *level = &w->levels[i];
        if (level->closing != '}')
            path_add_index(err->path, CODEC_PATH, level->count);
        else if (level->text != NULL)
            path_add_text(err->path, CODEC_PATH, level->text, level->text_n);
        else
            path_add_index(err->path, CODEC_PATH, level->count / 2);
    }
    if (w->failed != NULL)
        path_add_path(err->path, CODEC_PATH, value_failed_path(w->failed));
    const char *why = w->why != NULL ? w->why : value_failed(rc)->text;
    if (w->bad_format)
        snprintf(err->text, sizeof err->text, "bad format, column %zu: %s", (size_t)(w->at - w->format) + 1, why);
    else
        snprintf(err->text, sizeof err->text, "%s", why);
}

int format_walk(const char *format, va_list ap, const struct format_ops *ops, void *user, struct codec_error *err)
{
    struct walker w; /* the levels are filled as far as they are used */
    w.format = w.at = format != NULL ? format : "";
    w.ops = ops;
    w.user = user;
    w.why = NULL;
    w.failed = NULL;
    w.bad_format = false;
    w.depth = 0;
    w.levels[0] = (struct format_level){0};
    va_list copy; /* a va_list that is an array cannot be passed on by its address when it is a parameter */
    va_copy(copy, ap);
    int rc = format == NULL ? bad(&w, "no format") : walk(&w, &copy);
    va_end(copy);
    if (rc == 0 && w.levels[0].count == 0) {
        const struct format_item nil = {.kind = PIT_KIND_NIL};
        rc = ops->item(user, &nil, &w.why);
    }
    if (rc != 0 && err != NULL)
        describe(&w, rc, err);
    return rc;
}
