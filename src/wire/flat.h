/* The short ways from and to bytes: see flat.c. Inside src/wire. */
#ifndef PIT_WIRE_FLAT_H
#define PIT_WIRE_FLAT_H

#include <snakepit/value.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { NOT_FLAT = 1, FLAT_BYTES = 1024 /* longer ones need not be tried */ };

/* All of the n bytes as one value (owned). 0, PIT_E_ALLOCATION_FAILED, or NOT_FLAT: take the long way. */
int decode_flat(const uint8_t *p, size_t n, size_t budget, pit_value **ret);
/* Appends what codec_pack() would. false: nothing has been appended, take the long way. */
bool pack_flat(struct buf *out, const char *format, va_list ap);

#endif
