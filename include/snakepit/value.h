/* Values: what goes into a call and what comes out of it.
 *
 * A value is a tree of nil, booleans, numbers, texts, bytes, lists, tuples, maps and exceptions, reference-counted. It may be
 * changed (by the building functions) until it has been sent, shared by pit_value_ref(), put into a container, or received;
 * from then on it is immutable and any thread may read it. Building a value is for one thread at a time.
 *
 * A constructor never returns NULL. One that fails returns a static "failed value" that carries its code; every function accepts
 * it, and the call that gets it reports that code: one check per call, none per element. NULL is accepted as an absent value.
 * Strings and arrays inside a value live as long as the value. Since 0.1. */
#ifndef SNAKEPIT_VALUE_H
#define SNAKEPIT_VALUE_H

#include <snakepit/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pit_value pit_value;

/* X(CONSTANT, name) Kinds without a constructor below are reserved for later versions; their numbers are fixed. */
#define PIT_KIND_LIST(X)                                                                                                       \
    X(NIL, nil)                                                                                                                \
    X(BOOL, bool)                                                                                                              \
    X(INT, int)                                                                                                                \
    X(FLOAT, float)                                                                                                            \
    X(STR, str)                                                                                                                \
    X(BYTES, bytes)                                                                                                            \
    X(LIST, list)                                                                                                              \
    X(TUPLE, tuple)                                                                                                            \
    X(MAP, map)                                                                                                                \
    X(EXCEPTION, exception)                                                                                                    \
    X(SET, set)                                                                                                                \
    X(DATETIME, datetime)                                                                                                      \
    X(DATE, date)                                                                                                              \
    X(TIME, time)                                                                                                              \
    X(DURATION, duration)                                                                                                      \
    X(DECIMAL, decimal)                                                                                                        \
    X(COMPLEX, complex)                                                                                                        \
    X(TENSOR, tensor)                                                                                                          \
    X(TABLE, table)                                                                                                            \
    X(REF, ref)                                                                                                                \
    X(MARKER, marker)                                                                                                          \
    X(ARGS, args)

enum {
    PIT_KIND_NONE = 0, /* NULL */
#define PIT_KIND_ENUM(constant, name) PIT_KIND_##constant,
    PIT_KIND_LIST(PIT_KIND_ENUM)
#undef PIT_KIND_ENUM
        PIT_KIND_FAILED = 255 /* a constructor failed; see pit_value_error() */
};

/* ---- constructors: owned by the caller, freed with pit_value_free() or consumed by a _take function ---- */

PIT_API pit_value *pit_nil(void);
PIT_API pit_value *pit_bool(int truth);
PIT_API pit_value *pit_int(int64_t n);
PIT_API pit_value *pit_uint(uint64_t n);
/* An integer of any size from decimal digits with an optional sign. Not a number: failed with invalid_parameter; more than
 * 1 Mi bits: limit_exceeded. */
PIT_API pit_value *pit_bigint(const char *decimal);
PIT_API pit_value *pit_float(double x);
/* Text; must be valid UTF-8 without surrogates (else failed with invalid_utf8). pit_str(NULL) is nil. */
PIT_API pit_value *pit_str(const char *text);
PIT_API pit_value *pit_strn(const char *text, size_t n);
PIT_API pit_value *pit_bytes(const void *data, size_t n);
PIT_API pit_value *pit_list(void);
PIT_API pit_value *pit_tuple(void);
PIT_API pit_value *pit_map(void);
/* A Python exception as a value. type is required ("ValueError", "pkg.mod.Error"); message and traceback may be NULL. */
PIT_API pit_value *pit_exception(const char *type, const char *message, const char *traceback);
/* Arguments of a call that has both: positional is a list or tuple, keywords a map; either may be NULL. Borrows both. */
PIT_API pit_value *pit_args(const pit_value *positional, const pit_value *keywords);

/* Adds an item at the end of a list or tuple. Consumes item, also on failure (only a container put into itself stays the caller's).
 * invalid_parameter when the container is immutable, no list or tuple, or would contain itself, when item is NULL or pit_args();
 * limit_exceeded beyond 128 levels. Whatever fails, also a failed item, makes the (mutable) container failed. */
PIT_API int pit_list_append_take(pit_value *list_or_tuple, pit_value *item);
/* Sets an entry; an entry whose key is there already is replaced in its place. Consumes item (and key), also on failure. Keys
 * are equal by Python's rules (1, 1.0 and True are one key); a list or map as key is invalid_parameter. */
PIT_API int pit_map_set_take(pit_value *map, const char *key, pit_value *item);
PIT_API int pit_map_put_take(pit_value *map, pit_value *key, pit_value *item);

/* Builds a value from a format: n nil, b bool (int), i int, I int64_t, u unsigned, U uint64_t, f double, s C string (NULL = nil),
 * S pointer and size_t, y bytes (pointer and size_t), v value (borrowed), [...] list, (...) tuple, {key:item, ...} map. Spaces
 * and commas are free; "" is nil. A bad format is a failed value whose text (pit_value_error_text) names the column. */
PIT_API pit_value *pit_pack(const char *format, ...);
PIT_API pit_value *pit_packv(const char *format, va_list ap);
/* Takes a value apart; each letter takes a pointer to what pit_pack takes (s: const char **, S and y: const char ** or const
 * void ** and size_t *, v: const pit_value **, borrowed, i: int *, f: double *, also exact integers, b: bool *). '?' before a
 * key makes it optional (its variable keeps its value); '*' before the closing bracket allows more. On failure no variable is
 * changed: invalid_parameter naming the path and the column. */
PIT_API int pit_unpack(const pit_value *v, pit_error **reterr, const char *format, ...);
PIT_API int pit_unpackv(const pit_value *v, pit_error **reterr, const char *format, va_list ap);

/* ---- readers: accept NULL and failed values ---- */

PIT_API int pit_value_kind(const pit_value *v);
PIT_API const char *pit_value_kind_name(const pit_value *v);
/* 0 for a good value, else the PIT_E_* of the constructor (or of the first failed part of a container). */
PIT_API int pit_value_error(const pit_value *v);
/* What was wrong with it, for people; never NULL. */
PIT_API const char *pit_value_error_text(const pit_value *v);
/* false: other kind, out of range, or a conversion that would lose. get_number also takes integers that a double holds exactly. */
PIT_API bool pit_value_get_bool(const pit_value *v, bool *ret);
PIT_API bool pit_value_get_int(const pit_value *v, int64_t *ret);
PIT_API bool pit_value_get_uint(const pit_value *v, uint64_t *ret);
PIT_API bool pit_value_get_float(const pit_value *v, double *ret);
PIT_API bool pit_value_get_number(const pit_value *v, double *ret);
PIT_API bool pit_value_get_bytes(const pit_value *v, const void **ret, size_t *ret_n);
/* The text of a string, NUL-terminated (it may contain further NULs: see pit_value_len); NULL when v is none. */
PIT_API const char *pit_value_str(const pit_value *v);
PIT_API const char *pit_value_str_or(const pit_value *v, const char *fallback);
/* Decimal text of an integer beyond 64 bits (NULL for other kinds). Lives as long as v. */
PIT_API const char *pit_value_text(const pit_value *v);
/* Parts of an exception: "type", "message", "traceback" are strings, "notes" a list, "cause" an exception or nil: pit_value_get(v, "type"). */
/* Items of a list or tuple, entries of a map, bytes of a string or of bytes, fields of an exception; 0 for the rest. */
PIT_API size_t pit_value_len(const pit_value *v);
/* Borrowed; NULL when absent. */
PIT_API const pit_value *pit_value_at(const pit_value *list_or_tuple, size_t i);
PIT_API const pit_value *pit_value_get(const pit_value *map, const char *key);
PIT_API const pit_value *pit_value_get_key(const pit_value *map, const pit_value *key);
/* Walks lists, tuples and maps in order: start with *iter = 0; false at the end. ret_key is set to NULL but for maps; either
 * output may be NULL. */
PIT_API bool pit_value_next(const pit_value *v, size_t *iter, const pit_value **ret_key, const pit_value **ret_item);
PIT_API bool pit_value_is_frozen(const pit_value *v);
/* Same kind and same content: NaN equals NaN, -0.0 differs from 0.0, maps regardless of order. */
PIT_API bool pit_value_equal(const pit_value *a, const pit_value *b);

/* A new reference to the same value, which becomes immutable. */
PIT_API pit_value *pit_value_ref(const pit_value *v);
PIT_API void pit_value_free(pit_value *v);

/* ---- JSON (strict RFC 8259 and the tagged forms of docs/wire.md) ---- */

enum { PIT_JSON_PRETTY = 1, PIT_JSON_ASCII = 2 };
/* deserialization_failed with line and column in the message and the details. */
PIT_API int pit_value_parse_json(const char *text, size_t n, pit_value **ret, pit_error **reterr);
/* One block, freed with pit_free(); NULL when v is failed or from pit_args(), holds more than two integers of the largest size (2^20 bits:
 * digits take time with the square of it), or memory ran out. */
PIT_API char *pit_value_to_json(const pit_value *v, int flags);

#ifdef __cplusplus
}
#endif
#endif
