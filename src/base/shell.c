/* See shell.h. */
#include "base/shell.h"

#include <string.h>

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c != 0 && strchr("%+,-./:=@_", c));
}

static bool is_word(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_plain((unsigned char)text[i]))
            return false;
    return n != 0;
}

void shell_quote(struct buf *out, const char *text, size_t n)
{
    if (is_word(text, n)) {
        buf_append(out, text, n);
        return;
    }
    buf_putc(out, '\'');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
    buf_putc(out, '\'');
}
