/* Hostile registry files: what is read as a record is written and read again as the same one, however many follow, and wherever the bytes end. The
 * input is taken as a file, and as the text of a record whose checksum is right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct record *r)
{
    struct buf b = {0};
    struct record again;
    size_t at = 0;
    record_write(&b, r);
    if (b.failed || record_read((const char *)b.data, b.len, &at, &again) != RECORD_OK || at != b.len)
        abort();
    if (memcmp(r, &again, sizeof again) != 0)
        abort();
    for (size_t cut = 0; cut < b.len; cut++) {
        at = 0;
        if (record_read((const char *)b.data, cut, &at, &again) != RECORD_END || at != 0)
            abort();
    }
    buf_finish(&b);
}

static void read_all(const char *data, size_t n)
{
    struct record r;
    size_t at = 0, before = 0;
    int rc;
    while ((rc = record_read(data, n, &at, &r)) == RECORD_OK) {
        if (at <= before || at > n)
            abort();
        before = at;
        check(&r);
    }
    if (at != before)
        abort();
}

static uint32_t crc32_of(const uint8_t *data, size_t n)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < n * 8; i++) {
        if (i % 8 == 0)
            crc ^= data[i / 8];
        crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    read_all((const char *)data, n);
    if (n > 0xffff || memchr(data, '\n', n) != NULL)
        return 0;
    struct buf b = {0};
    buf_printf(&b, "%04x %08x ", (unsigned)n, crc32_of(data, n));
    buf_append(&b, data, n);
    buf_putc(&b, '\n');
    read_all((const char *)b.data, b.len);
    buf_finish(&b);
    return 0;
}
