/* Decimals, inside of wire: parts and text. Thread: any; no state. */
#ifndef PIT_WIRE_DECIMAL_H
#define PIT_WIRE_DECIMAL_H

#include "wire/value.h"

/* A decimal as Python's as_tuple() has it. digits: no zero in front; one at least when finite, none for infinity, the payload of a NaN. */
struct decimal_parts {
    const char *digits; /* not terminated */
    uint32_t n;
    int32_t exponent; /* 0 unless finite */
    uint8_t class;    /* DECIMAL_* */
    bool negative;
};

/* The digits are copied; limit_exceeded when there are too many. */
pit_value *decimal_new(const struct decimal_parts *parts);
void decimal_get(const pit_value *v, struct decimal_parts *ret);

/* decimal_text.c: as Python's str() writes it, NUL-terminated; out: n digits and so many bytes more. Returns its length. */
#define DECIMAL_TEXT_MORE 24
size_t decimal_put_text(char *out, const struct decimal_parts *d);

#endif
