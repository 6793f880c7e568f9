/* A growing byte buffer. A failed allocation is remembered (`failed`), later appends do nothing: check once, at the end.
 * Zeroed = empty and usable. Thread: one at a time. */
#ifndef PIT_BASE_BUF_H
#define PIT_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len, cap;
    bool failed;
    bool fixed;    /* data is the caller's: never grown or freed; too much sets failed */
    bool borrowed; /* data is the caller's still: outgrown, the content moves to the heap */
};

void buf_init_fixed(struct buf *b, void *data, size_t cap);
void buf_init_on(struct buf *b, void *data, size_t cap); /* begins in the caller's memory, goes on in the heap */
void buf_finish(struct buf *b);                          /* frees; b is empty and usable again */
/* Room for n more bytes at data + len (the caller then adds to len); NULL when failed. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *data, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b, const char *format, ...);
void buf_vprintf(struct buf *b, const char *format, va_list ap);
/* The content as an owned NUL-terminated block, or NULL when failed. b is empty then and owns nothing in either case. */
char *buf_take_str(struct buf *b);

#endif
