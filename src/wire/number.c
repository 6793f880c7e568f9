/* Floats as text and back, whatever the locale. libc does the rounding; it is only kept from seeing a decimal point: a number is
 * read as digits and an exponent, and of what it writes only digits and exponent are used.
 *
 * Failure: none. Thread: any. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

#define DIGITS_KEPT                                                                                                            \
    800 /* no double needs more than 767 to be told from its neighbours; one further stands for all that follow */
#define EXPONENT_MAX 100000000000L /* a written exponent of this size is out of range whatever digits stand before it */

double number_get(const char *text, size_t n)
{
    char plain[DIGITS_KEPT + 32];
    const char *end = text + n;
    size_t used = 0, digits = 0;
    long exponent = 0;
    bool point = false, rest = false;
    if (text < end && *text == '-')
        plain[used++] = *text++;
    for (; text < end && *text != 'e' && *text != 'E'; text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        if (digits == 0 && *text == '0') {
            exponent -= point; /* a zero in front */
            continue;
        }
        if (digits < DIGITS_KEPT) {
            plain[used++] = *text;
            digits++;
            exponent -= point;
        } else {
            rest = rest || *text != '0';
            exponent += !point;
        }
    }
    if (digits == 0)
        plain[used++] = '0';
    if (rest) {
        plain[used++] = '1';
        exponent--;
    }
    if (text < end) { /* behind the e */
        bool negative = text[1] == '-';
        long written = 0;
        for (text += 1 + (text[1] == '-' || text[1] == '+'); text < end; text++)
            if (written < EXPONENT_MAX)
                written = written * 10 + (*text - '0');
        exponent += negative ? -written : written;
    }
    snprintf(plain + used, sizeof plain - used, "e%ld", exponent);
    return strtod(plain, NULL);
}

/* The first `count` (at most 17) digits of |x|, rounded by libc, and the decimal exponent of the first. */
static int first_digits(double x, int count, char *digits)
{
    char text[48];
    snprintf(text, sizeof text, "%.*e", count - 1, fabs(x));
    int n = 0;
    const char *p = text;
    for (; *p != 'e' && *p != '\0'; p++)
        if (*p >= '0' && *p <= '9' && n < count)
            digits[n++] = *p;
    return *p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0;
}

static bool reads_back(double x, const char *digits, int n, int exponent)
{
    char text[48];
    int used = snprintf(text, sizeof text, "%.*se%d", n, digits, exponent - n + 1);
    return number_get(text, (size_t)used) == fabs(x);
}

/* The next number of as many digits; false when there is none. */
static bool round_up(char *digits, int n)
{
    while (n-- > 0) {
        if (digits[n]++ != '9')
            return true;
        digits[n] = '0';
    }
    return false;
}

size_t number_put(char out[NUMBER_TEXT], double x)
{
    char digits[20];
    int n = fabs(x) < 0x1p-1022 ? 1 : 15, exponent, binary; /* subnormal numbers have few digits */
    for (;; n++) {
        exponent = first_digits(x, n, digits);
        if (n == 17 || reads_back(x, digits, n, exponent))
            break;
        /* Below a power of two the floats lie twice as close as above: then the number on the far side may read back where the nearest
         * does not. */
        if (frexp(fabs(x), &binary) == 0.5 && round_up(digits, n) && reads_back(x, digits, n, exponent))
            break;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    char *p = out;
    if (signbit(x))
        *p++ = '-';
    if (exponent < -4 || exponent >= 16) {
        *p++ = digits[0];
        if (n > 1)
            *p++ = '.';
        memcpy(p, digits + 1, (size_t)n - 1);
        p += n - 1;
        p += snprintf(p, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return (size_t)(p - out);
    }
    int whole = exponent + 1; /* digits before the point */
    if (whole <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = whole; i < 0; i++)
            *p++ = '0';
        memcpy(p, digits, (size_t)n);
        return (size_t)(p + n - out);
    }
    for (int i = 0; i < whole || i < n; i++) {
        if (i == whole)
            *p++ = '.';
        *p++ = i < n ? digits[i] : '0';
    }
    if (n <= whole) {
        *p++ = '.';
        *p++ = '0';
    }
    return (size_t)(p - out);
}
