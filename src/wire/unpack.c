/* pit_unpack: takes a value apart by a format.
 *
 * Invariants
 *  1. The format is walked twice, with the same arguments: once to check, once to write. So on failure no variable has changed.
 *  2. Nothing is allocated but the error.
 *
 * Failure: invalid_parameter with path and column, also when a variable is NULL; the code of a failed value. Thread: any. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/error.h"
#include "wire/path.h"
#include "wire/value.h"

struct unpacker {
    const char *format, *at;
    const char *fault; /* where the format and the value do not fit: the innermost letter; NULL: not known yet */
    va_list ap;
    bool commit;
    unsigned depth;
    char path[CODEC_PATH];
    char why[160];
    bool bad_format;
};

/* false, always. */
static bool refuse(struct unpacker *u, const char *why)
{
    snprintf(u->why, sizeof u->why, "%s", why);
    return false;
}

/* The same, of the closing bracket just taken. */
static bool refuse_here(struct unpacker *u, const char *why)
{
    u->fault = u->at - 1;
    return refuse(u, why);
}

/* A variable that a letter should write to is NULL: refused on the first walk, whether the letter would write to it or not. */
static bool no_variable(struct unpacker *u)
{
    return refuse(u, "the variable for it is a NULL pointer");
}

static bool bad(struct unpacker *u, const char *why)
{
    u->bad_format = true;
    u->fault = u->at;
    return refuse(u, why);
}

static bool expected(struct unpacker *u, const char *what, const pit_value *v)
{
    const char *found = v != NULL ? pit_value_kind_name(v) : "nothing";
    snprintf(u->why, sizeof u->why, "expected %s, found %s", what, found);
    return false;
}

/* The next character that means something, which is not yet taken. */
static char peek(struct unpacker *u)
{
    while (*u->at == ' ' || *u->at == ',')
        u->at++;
    return *u->at;
}

static bool unpack_any(struct unpacker *u, const pit_value *v, bool skip);

/* ---- scalars: each takes its argument in any case and writes it only when it may ---- */

#define WRITE(u, skip, target, x)                                                                                              \
    do {                                                                                                                       \
        if ((u)->commit && !(skip))                                                                                            \
            *(target) = (x);                                                                                                   \
    } while (0)

static bool unpack_int(struct unpacker *u, char letter, const pit_value *v, bool skip)
{
    int64_t i = 0;
    uint64_t n = 0;
    bool fits = skip || (letter == 'i' || letter == 'I' ? pit_value_get_int(v, &i) : pit_value_get_uint(v, &n));
    switch (letter) {
    case 'i': {
        int *target = va_arg(u->ap, int *);
        if (target == NULL)
            return no_variable(u);
        fits = fits && i >= INT_MIN && i <= INT_MAX;
        if (fits)
            WRITE(u, skip, target, (int)i);
        break;
    }
    case 'I': {
        int64_t *target = va_arg(u->ap, int64_t *);
        if (target == NULL)
            return no_variable(u);
        if (fits)
            WRITE(u, skip, target, i);
        break;
    }
    case 'u': {
        unsigned *target = va_arg(u->ap, unsigned *);
        if (target == NULL)
            return no_variable(u);
        fits = fits && n <= UINT_MAX;
        if (fits)
            WRITE(u, skip, target, (unsigned)n);
        break;
    }
    default: {
        uint64_t *target = va_arg(u->ap, uint64_t *);
        if (target == NULL)
            return no_variable(u);
        if (fits)
            WRITE(u, skip, target, n);
        break;
    }
    }
    if (fits)
        return true;
    return pit_value_kind(v) == PIT_KIND_INT ? refuse(u, "an integer out of range") : expected(u, "int", v);
}

static bool unpack_text(struct unpacker *u, char letter, const pit_value *v, bool skip)
{
    const char **target = va_arg(u->ap, const char **);
    size_t *size = letter == 'S' ? va_arg(u->ap, size_t *) : NULL;
    const char *text = pit_value_str(v);
    if (target == NULL || (letter == 'S' && size == NULL))
        return no_variable(u);
    if (skip)
        return true;
    if (text == NULL)
        return expected(u, "str", v);
    if (letter == 's' && memchr(text, '\0', v->n) != NULL)
        return refuse(u, "a text that holds a NUL: take it with S");
    WRITE(u, skip, target, text);
    if (size != NULL)
        WRITE(u, skip, size, v->n);
    return true;
}

static bool unpack_bytes(struct unpacker *u, const pit_value *v, bool skip)
{
    const void **target = va_arg(u->ap, const void **), *data;
    size_t *size = va_arg(u->ap, size_t *), n;
    if (target == NULL || size == NULL)
        return no_variable(u);
    if (skip)
        return true;
    if (!pit_value_get_bytes(v, &data, &n))
        return expected(u, "bytes", v);
    WRITE(u, skip, target, data);
    WRITE(u, skip, size, n);
    return true;
}

static bool unpack_scalar(struct unpacker *u, char letter, const pit_value *v, bool skip)
{
    switch (letter) {
    case 'n':
        return skip || pit_value_kind(v) == PIT_KIND_NIL || expected(u, "nil", v);
    case 'b': {
        bool *target = va_arg(u->ap, bool *), truth;
        if (target == NULL)
            return no_variable(u);
        if (skip)
            return true;
        if (!pit_value_get_bool(v, &truth))
            return expected(u, "bool", v);
        WRITE(u, skip, target, truth);
        return true;
    }
    case 'f': {
        double *target = va_arg(u->ap, double *), x;
        if (target == NULL)
            return no_variable(u);
        if (skip)
            return true;
        if (!pit_value_get_number(v, &x))
            return pit_value_kind(v) == PIT_KIND_INT ? refuse(u, "an integer that no double holds exactly")
                                                     : expected(u, "float", v);
        WRITE(u, skip, target, x);
        return true;
    }
    case 'i':
    case 'I':
    case 'u':
    case 'U':
        return unpack_int(u, letter, v, skip);
    case 's':
    case 'S':
        return unpack_text(u, letter, v, skip);
    case 'y':
        return unpack_bytes(u, v, skip);
    case 'v': {
        const pit_value **target = va_arg(u->ap, const pit_value **);
        if (target == NULL)
            return no_variable(u);
        if (!skip && v == NULL)
            return expected(u, "a value", v);
        WRITE(u, skip, target, v);
        return true;
    }
    default:
        u->at--;
        return bad(u, letter == '\0' ? "the format ends too early" : "unknown letter");
    }
}

/* ---- containers ---- */

/* At `*`: true, and the closing bracket must follow. */
static bool take_star(struct unpacker *u, bool *more)
{
    *more = peek(u) == '*';
    u->at += *more;
    return *more;
}

static bool unpack_items(struct unpacker *u, int kind, char closing, const pit_value *v, bool skip)
{
    const char *name = kind == PIT_KIND_LIST ? "list" : "tuple";
    char before[CODEC_PATH];
    size_t n = 0;
    bool more = false;
    if (!skip && pit_value_kind(v) != kind)
        return expected(u, name, v);
    memcpy(before, u->path, sizeof before);
    for (; peek(u) != closing; n++) {
        if (take_star(u, &more))
            break;
        if (*u->at == '\0')
            break;
        path_add_index(u->path, sizeof u->path, n);
        if (!skip && n >= v->n) {
            u->fault = u->at;
            return expected(u, "an item", NULL);
        }
        if (!unpack_any(u, skip ? NULL : pit_value_at(v, n), skip))
            return false;
        memcpy(u->path, before, sizeof before);
    }
    if (peek(u) != closing)
        return bad(u, "a closing bracket is missing");
    u->at++;
    return skip || more || n == v->n || refuse_here(u, "more items than the format takes");
}

/* The key that the format names, as a value on the stack. */
static bool take_key(struct unpacker *u, pit_value *key)
{
    char letter = peek(u);
    *key = (pit_value){.kind = PIT_KIND_INT};
    u->at += letter != '\0';
    switch (letter) {
    case 'n':
        key->kind = PIT_KIND_NIL;
        return true;
    case 'b':
        key->kind = PIT_KIND_BOOL;
        key->truth = va_arg(u->ap, int) != 0;
        return true;
    case 'i':
        key->i = va_arg(u->ap, int);
        return true;
    case 'I':
        key->i = va_arg(u->ap, int64_t);
        return true;
    case 'u':
        key->i = (int64_t)va_arg(u->ap, unsigned);
        return true;
    case 'U':
        key->u = va_arg(u->ap, uint64_t);
        key->flags = key->u > INT64_MAX ? VALUE_UNSIGNED : 0;
        return true;
    case 'f':
        key->kind = PIT_KIND_FLOAT;
        key->f = va_arg(u->ap, double);
        return true;
    case 's':
    case 'S':
    case 'y': {
        key->kind = letter == 'y' ? PIT_KIND_BYTES : PIT_KIND_STR;
        key->text = va_arg(u->ap, const char *);
        if (key->text == NULL)
            return bad(u, "a NULL key");
        size_t n = letter == 's' ? strlen(key->text) : va_arg(u->ap, size_t);
        key->n = (uint32_t)n;
        return n < UINT32_MAX || bad(u, "a key that is too long");
    }
    case 'v': {
        const pit_value *given = va_arg(u->ap, const pit_value *);
        if (given == NULL || !value_hashable(given))
            return bad(u, "a value that cannot be a key");
        if (given->kind == PIT_KIND_SET)
            value_freeze(given); /* as the order of frozensets asks */
        *key = *given;
        return true;
    }
    default:
        u->at -= letter != '\0';
        return bad(u, letter == '\0' ? "the format ends too early" : "unknown letter for a key");
    }
}

static bool unpack_map(struct unpacker *u, const pit_value *v, bool skip)
{
    char before[CODEC_PATH];
    size_t taken = 0;
    bool more = false;
    if (!skip && pit_value_kind(v) != PIT_KIND_MAP)
        return expected(u, "map", v);
    memcpy(before, u->path, sizeof before);
    while (peek(u) != '}' && !take_star(u, &more)) {
        pit_value key;
        bool optional = peek(u) == '?';
        u->at += optional;
        if (!take_key(u, &key))
            return false;
        if (peek(u) != ':')
            return bad(u, "a ':' is missing");
        u->at++;
        const pit_value *item = skip ? NULL : pit_value_get_key(v, &key);
        path_add_key(u->path, sizeof u->path, &key);
        taken += item != NULL;
        if (!unpack_any(u, item, skip || (optional && item == NULL)))
            return false;
        memcpy(u->path, before, sizeof before);
    }
    if (peek(u) != '}')
        return bad(u, "a closing bracket is missing");
    u->at++;
    /* A key that the format names twice is taken twice: the map is then longer than what it holds, which is found here too. */
    return skip || more || taken == v->n || refuse_here(u, "more entries than the format takes");
}

static bool unpack_container(struct unpacker *u, char letter, const pit_value *v, bool skip)
{
    bool good;
    if (u->depth == MP_MAX_DEPTH)
        return bad(u, VALUE_TOO_DEEP);
    u->depth++;
    if (letter == '[')
        good = unpack_items(u, PIT_KIND_LIST, ']', v, skip);
    else if (letter == '(')
        good = unpack_items(u, PIT_KIND_TUPLE, ')', v, skip);
    else
        good = unpack_map(u, v, skip);
    u->depth--;
    return good;
}

static bool unpack_any(struct unpacker *u, const pit_value *v, bool skip)
{
    char letter = peek(u);
    const char *here = u->at++;
    bool good = letter == '[' || letter == '(' || letter == '{' ? unpack_container(u, letter, v, skip)
                                                                : unpack_scalar(u, letter, v, skip);
    if (!good && u->fault == NULL)
        u->fault = here;
    return good;
}

static bool walk(struct unpacker *u, const pit_value *v, const char *format, bool commit)
{
    u->format = u->at = format;
    u->commit = commit;
    u->depth = 0;
    u->fault = NULL;
    u->bad_format = false;
    path_begin(u->path);
    if (peek(u) == '\0')
        return v == NULL || v->kind == PIT_KIND_NIL || expected(u, "nil", v);
    return unpack_any(u, v, false) && (peek(u) == '\0' || bad(u, "more than one value"));
}

static int report(const struct unpacker *u, pit_error **reterr)
{
    size_t column = (size_t)((u->fault != NULL ? u->fault : u->at) - u->format) + 1;
    pit_error *e;
    if (u->bad_format)
        e = error_new(PIT_E_INVALID_PARAMETER, "bad format, column %zu: %s", column, u->why);
    else
        e = error_new(PIT_E_INVALID_PARAMETER, "%s%s%s (format column %zu)", u->path, u->path[0] != '\0' ? ": " : "", u->why,
                      column);
    if (u->path[0] != '\0')
        error_detail_take(e, "key", pit_str(u->path));
    error_detail_take(e, "column", pit_uint(column));
    return error_give(reterr, e);
}

int pit_unpackv(const pit_value *v, pit_error **reterr, const char *format, va_list ap)
{
    struct unpacker u;
    if (format == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "no format");
    if (pit_value_error(v) != 0)
        return error_set(reterr, pit_value_error(v), "%s", pit_value_error_text(v));
    va_copy(u.ap, ap);
    bool good = walk(&u, v, format, false);
    va_end(u.ap);
    if (!good)
        return report(&u, reterr);
    va_copy(u.ap, ap);
    walk(&u, v, format, true);
    va_end(u.ap);
    return error_give(reterr, NULL);
}

int pit_unpack(const pit_value *v, pit_error **reterr, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int rc = pit_unpackv(v, reterr, format, ap);
    va_end(ap);
    return rc;
}
