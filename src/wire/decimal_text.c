/* The text of decimals, in Python's form both ways.
 *
 * Failure: failed values with invalid_parameter or limit_exceeded. Thread: any. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/decimal.h"

size_t decimal_put_text(char *out, const struct decimal_parts *d)
{
    char *p = out;
    if (d->negative)
        *p++ = '-';
    if (d->class != DECIMAL_FINITE) {
        p = stpcpy(p, d->class == DECIMAL_INFINITY ? "Infinity" : d->class == DECIMAL_NAN ? "NaN" : "sNaN");
        memcpy(p, d->digits, d->n);
        p[d->n] = '\0';
        return (size_t)(p - out) + d->n;
    }
    /* The point stands behind `left` digits: as they are when the exponent is not positive and few zeros are needed, else behind the first. */
    int64_t left = (int64_t)d->n + d->exponent;
    bool plain = d->exponent <= 0 && left > -6;
    int64_t point = plain ? left : 1;
    if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (int64_t i = point; i < 0; i++)
            *p++ = '0';
        memcpy(p, d->digits, d->n);
        p += d->n;
    } else {
        memcpy(p, d->digits, (size_t)point);
        p += point;
        if (point < d->n) {
            *p++ = '.';
            memcpy(p, d->digits + point, d->n - (size_t)point);
            p += d->n - (size_t)point;
        }
    }
    if (!plain)
        p += sprintf(p, "E%+lld", (long long)(left - point));
    *p = '\0';
    return (size_t)(p - out);
}

/* Digits at *text without the zeros in front, into out; their number. */
static size_t take_digits(const char **text, char *out, size_t have)
{
    size_t n = have;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        if (n == 1 && out[0] == '0')
            n = 0;
        out[n++] = **text;
    }
    return n;
}

/* Behind the e: false when it is no exponent. One of more than 18 digits counts as out of every range. */
static bool take_exponent(const char *text, int64_t *ret)
{
    bool negative = *text == '-';
    text += *text == '-' || *text == '+';
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0')
        return false;
    int64_t x = 0;
    for (; *text != '\0'; text++)
        x = x < INT64_MAX / 100 ? x * 10 + (*text - '0') : x;
    *ret = negative ? -x : x;
    return true;
}

static bool parse_finite(const char *text, char *digits, struct decimal_parts *d)
{
    int64_t exponent = 0, written = 0;
    const char *at = text;
    size_t n = take_digits(&at, digits, 0), seen = (size_t)(at - text);
    if (*at == '.') {
        const char *behind = ++at;
        n = take_digits(&at, digits, n);
        exponent = -(int64_t)(at - behind);
        seen += (size_t)(at - behind);
    }
    if (seen == 0)
        return false;
    if ((*at == 'e' || *at == 'E') ? !take_exponent(at + 1, &written) : *at != '\0')
        return false;
    exponent += written;
    d->n = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    d->exponent = (int32_t)exponent;
    return exponent >= INT32_MIN && exponent <= INT32_MAX;
}

/* Do the first n characters spell `word`, in whatever case? Not by the locale's idea of case. */
static bool spells(const char *text, const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((text[i] | 0x20) != word[i])
            return false;
    return true;
}

/* Infinity, Inf, NaN and sNaN with digits, in any case. */
static bool parse_special(const char *text, char *digits, struct decimal_parts *d)
{
    size_t length = strlen(text);
    if ((length == 3 || length == 8) && spells(text, "infinity", length)) {
        d->class = DECIMAL_INFINITY;
        return true;
    }
    bool signalling = *text == 's' || *text == 'S';
    text += signalling;
    if (length < 3u + signalling || !spells(text, "nan", 3))
        return false;
    text += 3;
    d->class = signalling ? DECIMAL_SIGNALLING : DECIMAL_NAN;
    size_t n = take_digits(&text, digits, 0);
    if (n == 1 && digits[0] == '0')
        n = 0;
    d->n = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return *text == '\0';
}

pit_value *pit_decimal(const char *text)
{
    static const pit_value no_number =
        VALUE_FAILED(PIT_E_INVALID_PARAMETER, "pit_decimal takes a number as Python's Decimal reads it, as text");
    if (text == NULL)
        return value_static(&no_number);
    char *digits = mem_alloc(strlen(text) + 1);
    if (digits == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    struct decimal_parts d = {.digits = digits, .negative = *text == '-'};
    text += *text == '-' || *text == '+';
    bool good =
        (*text >= '0' && *text <= '9') || *text == '.' ? parse_finite(text, digits, &d) : parse_special(text, digits, &d);
    pit_value *v = good ? decimal_new(&d) : value_static(&no_number);
    mem_free(digits);
    return v;
}
