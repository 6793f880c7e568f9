/* See buf.h. */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void buf_init_fixed(struct buf *b, void *data, size_t cap)
{
    *b = (struct buf){.data = data, .cap = cap, .fixed = true};
}

void buf_init_on(struct buf *b, void *data, size_t cap)
{
    *b = (struct buf){.data = data, .cap = cap, .borrowed = true};
}

void buf_finish(struct buf *b)
{
    if (!b->fixed && !b->borrowed)
        mem_free(b->data);
    *b = (struct buf){0};
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n <= b->cap - b->len)
        return b->data + b->len;
    size_t need, cap = b->cap < 64 ? 64 : b->cap;
    if (b->fixed || __builtin_add_overflow(b->len, n, &need) || need > SIZE_MAX / 2) {
        b->failed = true;
        return NULL;
    }
    while (cap < need)
        cap += cap / 2 + 32;
    uint8_t *data = mem_realloc(b->borrowed ? NULL : b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return NULL;
    }
    if (b->borrowed)
        memcpy(data, b->data, b->len);
    b->borrowed = false;
    b->data = data;
    b->cap = cap;
    return b->data + b->len;
}

void buf_append(struct buf *b, const void *data, size_t n)
{
    uint8_t *p = n != 0 ? buf_reserve(b, n) : NULL;
    if (p == NULL)
        return;
    memcpy(p, data, n);
    b->len += n;
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *format, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    uint8_t *p = n >= 0 ? buf_reserve(b, (size_t)n + 1) : NULL;
    if (p != NULL) {
        vsnprintf((char *)p, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    buf_vprintf(b, format, ap);
    va_end(ap);
}

char *buf_take_str(struct buf *b)
{
    if (buf_reserve(b, 1) == NULL) {
        buf_finish(b);
        b->failed = true;
        return NULL;
    }
    b->data[b->len] = '\0';
    char *text = b->borrowed || b->fixed ? mem_strndup((const char *)b->data, b->len) : (char *)b->data;
    *b = (struct buf){0};
    return text;
}
