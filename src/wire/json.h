/* JSON, inside of the library. docs/wire.md has the form.
 *
 * Thread: any. Nothing here knows the locale. */
#ifndef PIT_WIRE_JSON_H
#define PIT_WIRE_JSON_H

#include <snakepit/value.h>

#include "base/buf.h"
#include "wire/codec.h"

/* Appends v (NULL: null) with PIT_JSON_* flags. 0; else the code of a failed value, invalid_parameter for pit_args(), limit_exceeded, or
 * allocation_failed, with path and text in *err (may be NULL). */
int json_write(struct buf *b, const pit_value *v, int flags, struct codec_error *err);
/* Appends a string with its quotes; n bytes of valid UTF-8. */
void json_write_text(struct buf *b, const char *text, size_t n, int flags);

/* Where and why a text is no value. */
struct json_error {
    int code;
    size_t line, column; /* from 1, columns in bytes */
    const char *why;
    bool tagged; /* it is JSON, but holds an object that is no good tagged form */
};
int json_read(const char *text, size_t n, pit_value **ret, struct json_error *err);

/* json_tagged.c: may the members of an object stand for something else than a map? Then what they stand for, mutable and without a bound on its
 * height; NULL with code and why. */
bool json_is_tagged(const pit_value *map);
pit_value *json_tagged(const pit_value *map, struct json_error *err);
#define JSON_TENSOR_MAX ((size_t)1 << 20) /* bytes */

/* number.c: the shortest text that reads back as the same bits, as Python's repr() writes it; x is finite. */
#define NUMBER_TEXT 32
size_t number_put(char out[NUMBER_TEXT], double x);
/* The double nearest to a number of JSON's grammar (n bytes); infinite when there is none. */
double number_get(const char *text, size_t n);

#endif
