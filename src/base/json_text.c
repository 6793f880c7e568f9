/* See json_text.h. */
#include "base/json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_MAX 9007199254740992.0 /* 2^53: up to here every whole number is itself */

/* The length of the UTF-8 sequence at s (NUL-terminated), 0 when it is none. */
static size_t sequence(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static void put_escaped(struct buf *b, unsigned char c)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *known = strchr(from, c);
    if (known != NULL)
        buf_printf(b, "\\%c", to[known - from]);
    else
        buf_printf(b, "\\u%04x", (unsigned)c);
}

void json_put_string(struct buf *b, const char *s)
{
    buf_putc(b, '"');
    for (const unsigned char *p = (const unsigned char *)s; *p != '\0';) {
        size_t n = sequence(p);
        if (n == 0) {
            buf_puts(b, "\xef\xbf\xbd");
            n = 1;
        } else if (n == 1 && (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f)) {
            put_escaped(b, *p);
        } else {
            buf_append(b, p, n);
        }
        p += n;
    }
    buf_putc(b, '"');
}

/* The text of v with a '.' for whatever the locale writes there. */
static void put_without_locale(struct buf *b, const char *text)
{
    bool within = false;
    for (; *text != '\0'; text++) {
        bool known = (*text >= '0' && *text <= '9') || strchr("+-e", *text) != NULL;
        if (known)
            buf_putc(b, *text);
        else if (!within)
            buf_putc(b, '.');
        within = !known;
    }
}

void json_put_number(struct buf *b, double v)
{
    char text[64];
    if (!isfinite(v)) {
        buf_puts(b, "null");
        return;
    }
    if (v >= -WHOLE_MAX && v <= WHOLE_MAX && v == (double)(int64_t)v) {
        buf_printf(b, "%lld", (long long)v);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    put_without_locale(b, text);
}
