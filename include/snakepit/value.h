/* Values: what goes into a call and what comes out of it.
 *
 * A value is a tree of the kinds below, reference-counted. A container (list, tuple, set, map) or an exception may be
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

/* X(CONSTANT, name, constructors, in Python, as JSON). The numbers are fixed. The table of the guide is made from this. */
#define PIT_KIND_LIST(X)                                                                                                       \
    X(NIL, nil, "`pit_nil`", "`None`", "`null`")                                                                               \
    X(BOOL, bool, "`pit_bool`", "`bool`", "`true`, `false`")                                                                   \
    X(INT, int, "`pit_int`, `pit_uint`, `pit_bigint`", "`int`",                                                                \
      "number; beyond 64 bits `{\"$pit\":\"bigint\",\"v\":\"123...\"}`")                                                       \
    X(FLOAT, float, "`pit_float`", "`float`", "number with a fraction or an exponent; `{\"$pit\":\"float\",\"v\":\"nan\"}`")   \
    X(STR, str, "`pit_str`, `pit_strn`", "`str`", "string")                                                                    \
    X(BYTES, bytes, "`pit_bytes`", "`bytes`", "`{\"$pit\":\"bytes\",\"b64\":\"...\"}`")                                        \
    X(LIST, list, "`pit_list`", "`list`", "array")                                                                             \
    X(TUPLE, tuple, "`pit_tuple`", "`tuple`", "`{\"$pit\":\"tuple\",\"v\":[...]}`")                                            \
    X(MAP, map, "`pit_map`", "`dict`", "object; with other keys than strings `{\"$pit\":\"map\",\"v\":[[key,value],...]}`")    \
    X(EXCEPTION, exception, "`pit_exception`", "an exception object",                                                          \
      "`{\"$pit\":\"exception\",\"type\":\"ValueError\",\"message\":\"...\",...}`")                                            \
    X(SET, set, "`pit_set`", "`set`, `frozenset`", "`{\"$pit\":\"set\",\"frozen\":false,\"v\":[...]}`")                        \
    X(DATETIME, datetime, "`pit_datetime`", "`datetime.datetime`",                                                             \
      "`{\"$pit\":\"datetime\",\"v\":\"2026-11-21T06:13:42.5+02:00\",\"zone\":\"...\"}`")                                      \
    X(DATE, date, "`pit_date`", "`datetime.date`", "`{\"$pit\":\"date\",\"v\":\"2026-11-21\"}`")                               \
    X(TIME, time, "`pit_time`", "`datetime.time`", "`{\"$pit\":\"time\",\"v\":\"06:13:42.5\"}`")                               \
    X(DURATION, duration, "`pit_duration`", "`datetime.timedelta`", "`{\"$pit\":\"duration\",\"v\":\"-86400.000000001\"}`")    \
    X(DECIMAL, decimal, "`pit_decimal`", "`decimal.Decimal`", "`{\"$pit\":\"decimal\",\"v\":\"1.10\"}`")                       \
    X(COMPLEX, complex, "`pit_complex`", "`complex`", "`{\"$pit\":\"complex\",\"v\":[1.0,-2.5]}`")                             \
    X(TENSOR, tensor, "`pit_tensor_from_data`, `pit_tensor_wrap`, `pit_tensor_alloc`",                                         \
      "NumPy array, or `memoryview` without NumPy",                                                                            \
      "`{\"$pit\":\"tensor\",\"dtype\":\"f32\",\"shape\":[2,3],\"b64\":\"...\"}`")                                             \
    X(TABLE, table, "`pit_table`", "`pyarrow.Table`", "`{\"$pit\":\"table\",\"b64\":\"...\"}`")                                \
    X(REF, ref, "received only", "the object itself, in its own worker",                                                       \
      "`{\"$pit\":\"ref\",\"id\":\"...\",\"type\":\"mod.Class\",\"worker\":\"...\",\"session\":\"...\",\"generation\":1}`")    \
    X(MARKER, marker, "received only", "what could not be sent",                                                               \
      "`{\"__ffi_unserializable__\":true,\"__type__\":\"mod.Class\"}`")                                                        \
    X(ARGS, args, "`pit_args`", "the arguments of a call", "none")                                                             \
    X(BATCH, batch, "`pit_batch`", "`pyarrow.RecordBatch`", "`{\"$pit\":\"batch\",\"b64\":\"...\"}`")

enum {
    PIT_KIND_NONE = 0, /* NULL */
#define PIT_KIND_ENUM(constant, name, constructors, python, json) PIT_KIND_##constant,
    PIT_KIND_LIST(PIT_KIND_ENUM)
#undef PIT_KIND_ENUM
        PIT_KIND_FAILED = 255 /* a constructor failed; see pit_value_error() */
};

/* ---- constructors: owned by the caller, freed with pit_value_free() or consumed by a _take function ---- */

/* Nothing (Python's None), a truth, an integer. */
PIT_API pit_value *pit_nil(void);
PIT_API pit_value *pit_bool(int truth);
PIT_API pit_value *pit_int(int64_t n);
PIT_API pit_value *pit_uint(uint64_t n);
/* An integer of any size from decimal digits with an optional sign. Not a number: failed with invalid_parameter; more than
 * 1 Mi bits: limit_exceeded. */
PIT_API pit_value *pit_bigint(const char *decimal);
/* A number with a fraction; infinite and not-a-number, too. */
PIT_API pit_value *pit_float(double x);
/* Text; it must be valid UTF-8 without surrogates (else failed with invalid_utf8). pit_str(NULL) is nil. */
PIT_API pit_value *pit_str(const char *text);
PIT_API pit_value *pit_strn(const char *text, size_t n);
/* Bytes, copied. */
PIT_API pit_value *pit_bytes(const void *data, size_t n);
/* An empty list, tuple, map. */
PIT_API pit_value *pit_list(void);
PIT_API pit_value *pit_tuple(void);
PIT_API pit_value *pit_map(void);
/* A set, or with `frozen` a frozenset. Items are added by pit_list_append_take; a frozenset may be a key and an item of a set. */
PIT_API pit_value *pit_set(int frozen);
/* A Python exception as a value. type is required ("ValueError", "pkg.mod.Error"); message and traceback may be NULL. */
PIT_API pit_value *pit_exception(const char *type, const char *message, const char *traceback);
/* Sets what an exception was raised from: an exception, or nil for none. Consumes cause, also on failure. invalid_parameter when the first is no
 * exception, or immutable, or is the cause itself; limit_exceeded beyond 128 levels. */
PIT_API int pit_exception_set_cause_take(pit_value *exception, pit_value *cause);

/* Points in time. ns is always 0..999999999, also of what lies before 1970 or is negative: the value is sec + ns / 1e9. An offset is in
 * seconds east of UTC, less than a day, or PIT_NAIVE. What is out of range is a failed value with invalid_parameter. */
#define PIT_NAIVE INT32_MIN
/* A date with a time of day, and a date. With an offset sec counts from 1970 in UTC, naive it is what the clock on the wall
 * shows; the wall's year must be 1..9999. zone: the name of the time zone (at most 255 bytes; only with an offset), NULL or ""
 * when it is not known. */
PIT_API pit_value *pit_datetime(int64_t sec, int32_t ns, int32_t utc_offset_s, const char *zone);
PIT_API pit_value *pit_date(int year, int month, int day);
/* A time of day (sec 0..86399), and a length of time. */
PIT_API pit_value *pit_time(int32_t sec, int32_t ns, int32_t utc_offset_s);
PIT_API pit_value *pit_duration(int64_t sec, int32_t ns);
/* A decimal number as Python's Decimal reads it ("1.10", "-1E+5", "Infinity", "NaN", "sNaN12"); trailing zeros count. No number, or an
 * exponent beyond 32 bits: failed with invalid_parameter; more than 2^20 digits: limit_exceeded. */
PIT_API pit_value *pit_decimal(const char *text);
PIT_API pit_value *pit_complex(double re, double im);
/* A table, and a single record batch, as the bytes of one Arrow IPC stream; the library does not look inside. */
PIT_API pit_value *pit_table(const void *arrow_stream, size_t n);
PIT_API pit_value *pit_batch(const void *arrow_stream, size_t n);
/* Arguments of a call that has both: positional is a list or tuple, keywords a map; either may be NULL. Borrows both. */
PIT_API pit_value *pit_args(const pit_value *positional, const pit_value *keywords);

/* Adds an item at the end of a list, tuple or set. Consumes item, also on failure (only a container put into itself stays the caller's).
 * invalid_parameter when the container is immutable, of another kind, or would contain itself, when item is NULL or pit_args(), or cannot be
 * in a set (see pit_map_put_take); duplicate_key when a set has the item already; limit_exceeded beyond 128 levels. Whatever fails, also a
 * failed item, makes the (mutable) container failed. */
PIT_API int pit_list_append_take(pit_value *list_or_tuple_or_set, pit_value *item);
/* Sets an entry; an entry whose key is there already is replaced in its place. Consumes item (and key), also on failure. Keys
 * are equal by Python's rules (1, 1.0, Decimal("1") and True are one key). Keys and items of sets must be what Python can hash: nil, bool, numbers,
 * texts, bytes, times, frozensets, and tuples of these; others, a signalling NaN and a decimal of 10^1024 or more are
 * invalid_parameter. */
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
 * changed: invalid_parameter naming the path and the column; so also when a variable is NULL. */
PIT_API int pit_unpack(const pit_value *v, pit_error **reterr, const char *format, ...);
PIT_API int pit_unpackv(const pit_value *v, pit_error **reterr, const char *format, va_list ap);

/* ---- readers: accept NULL and failed values ---- */

/* What it is: PIT_KIND_*, and the kind's name ("list"). */
PIT_API int pit_value_kind(const pit_value *v);
PIT_API const char *pit_value_kind_name(const pit_value *v);
/* Why it is no good: 0 for a good value, else the PIT_E_* of the constructor (or of the first failed part of a container). */
PIT_API int pit_value_error(const pit_value *v);
/* What was wrong with it, for people; never NULL. */
PIT_API const char *pit_value_error_text(const pit_value *v);
/* Reads a value of one kind. false: other kind, out of range, or a conversion that would lose. get_number also takes integers
 * that a double holds exactly. */
PIT_API bool pit_value_get_bool(const pit_value *v, bool *ret);
PIT_API bool pit_value_get_int(const pit_value *v, int64_t *ret);
PIT_API bool pit_value_get_uint(const pit_value *v, uint64_t *ret);
PIT_API bool pit_value_get_float(const pit_value *v, double *ret);
PIT_API bool pit_value_get_number(const pit_value *v, double *ret);
PIT_API bool pit_value_get_bytes(const pit_value *v, const void **ret, size_t *ret_n);
/* The text of a string, NUL-terminated (it may contain further NULs: see pit_value_len); NULL when v is none. */
PIT_API const char *pit_value_str(const pit_value *v);
PIT_API const char *pit_value_str_or(const pit_value *v, const char *fallback);
/* Decimal text of a decimal (as Python writes it) and of an integer beyond 64 bits; NULL for all others, or when memory ran out. Lives as long
 * as v. */
PIT_API const char *pit_value_text(const pit_value *v);
/* Reads a value of several numbers, of which any output may be NULL. false as above. *ret_zone is NULL when the zone is not
 * known; the offset is PIT_NAIVE when there is none. */
PIT_API bool pit_value_get_datetime(const pit_value *v, int64_t *ret_sec, int32_t *ret_ns, int32_t *ret_utc_offset_s,
                                    const char **ret_zone);
PIT_API bool pit_value_get_date(const pit_value *v, int *ret_year, int *ret_month, int *ret_day);
PIT_API bool pit_value_get_time(const pit_value *v, int32_t *ret_sec, int32_t *ret_ns, int32_t *ret_utc_offset_s);
PIT_API bool pit_value_get_duration(const pit_value *v, int64_t *ret_sec, int32_t *ret_ns);
PIT_API bool pit_value_get_complex(const pit_value *v, double *ret_re, double *ret_im);
/* The Arrow stream of a table or batch. */
PIT_API bool pit_value_get_table(const pit_value *v, const void **ret, size_t *ret_n);
PIT_API bool pit_value_get_batch(const pit_value *v, const void **ret, size_t *ret_n);
/* Is it a frozenset? (pit_value_is_immutable() tells of any value whether it may still be changed.) */
PIT_API bool pit_value_is_frozen(const pit_value *v);
/* Does it stand for something that could not be sent: a marker, or a map that is exactly its JSON form? */
PIT_API bool pit_value_is_unserializable(const pit_value *v);
/* Type and repr() of what could not be sent; *ret_repr is NULL when it was not told. Either may be NULL. not_found when v is no such value. */
PIT_API int pit_value_unserializable_info(const pit_value *v, const char **ret_type, const char **ret_repr);
/* Items of a list, tuple or set, entries of a map, bytes of a string, of bytes, of a table's stream, fields of an exception; 0 for the rest. */
PIT_API size_t pit_value_len(const pit_value *v);
/* A part, by its place or its key; borrowed, NULL when absent. pit_value_get also reads the parts of an exception ("type",
 * "message", "traceback" texts, "notes" a list, "cause" an exception or nil), a ref ("id", "type", "worker", "session",
 * "generation") and a marker ("type", "repr"). pit_value_get_key gives the item of a map, or the item of a set that is equal to
 * key; a frozenset that was looked for is immutable. */
PIT_API const pit_value *pit_value_at(const pit_value *list_or_tuple_or_set, size_t i);
PIT_API const pit_value *pit_value_get(const pit_value *map, const char *key);
PIT_API const pit_value *pit_value_get_key(const pit_value *map_or_set, const pit_value *key);
/* Walks lists, tuples, sets and maps in order: start with *iter = 0; false at the end. ret_key is set to NULL but for maps; either
 * output may be NULL. */
PIT_API bool pit_value_next(const pit_value *v, size_t *iter, const pit_value **ret_key, const pit_value **ret_item);
/* Can it not be changed any more? */
PIT_API bool pit_value_is_immutable(const pit_value *v);
/* Same kind and same content: NaN equals NaN, -0.0 differs from 0.0, Decimal("1.1") from Decimal("1.10"), maps and sets regardless of order
 * (keys and items of sets are matched by Python's equality). */
PIT_API bool pit_value_equal(const pit_value *a, const pit_value *b);

/* A new reference to the same value, which becomes immutable. */
PIT_API pit_value *pit_value_ref(const pit_value *v);
PIT_API void pit_value_free(pit_value *v);

/* ---- JSON (strict RFC 8259 and the tagged forms of docs/wire.md) ---- */

enum { PIT_JSON_PRETTY = 1, PIT_JSON_ASCII = 2 };
/* Makes a value from JSON text. deserialization_failed with line and column in the message and the details; there "tagged" is
 * true when the text is JSON, and holds an object that is no good tagged form. */
PIT_API int pit_value_parse_json(const char *text, size_t n, pit_value **ret, pit_error **reterr);
/* The value as JSON text: one block, freed with pit_free(); NULL when v is failed or from pit_args(), holds a tensor of more than 1 MiB, or more than two integers of the largest size (2^20 bits:
 * digits take time with the square of it), or memory ran out. */
PIT_API char *pit_value_to_json(const pit_value *v, int flags);
/* The same, telling why not: *ret is one block, freed with pit_free(), and its length in *ret_n (may be NULL). limit_exceeded, invalid_parameter
 * (pit_args()), the code of a failed part, allocation_failed; details.key is the path to the part. */
PIT_API int pit_value_write_json(const pit_value *v, int flags, char **ret, size_t *ret_n, pit_error **reterr);

#ifdef __cplusplus
}
#endif
#endif
