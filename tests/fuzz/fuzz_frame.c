/* Hostile frames: whatever is accepted lies inside the bytes, is consistent with its header, and can be taken apart. */
#include <snakepit/codes.h>
#include <stdlib.h>

#include "wire/error.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct frame f;
    if (n >= FRAME_HEADER && frame_peek_size(data, n) > (int64_t)n)
        abort();
    int rc = frame_parse(data, n, &f);
    if (rc != 0)
        return rc == PIT_E_PROTOCOL_ERROR ? 0 : (abort(), 0);
    if (frame_peek_size(data, n) != (int64_t)n || f.payload < data || f.payload + f.payload_n != data + n)
        abort();
    for (int tag = 0; tag < 256; tag++) {
        const uint8_t *field;
        size_t size;
        if (frame_field(&f, tag, &field, &size) && (field < f.fields || field + size > f.fields + f.fields_n))
            abort();
    }
    uint8_t header[FRAME_HEADER];
    struct frame bare;
    frame_put_header(header, f.kind, f.flags & ~(unsigned)FRAME_FIELDS, f.id, f.stamp, sizeof header);
    if (frame_parse(header, sizeof header, &bare) != 0 || bare.id != f.id || bare.stamp != f.stamp || bare.kind != f.kind)
        abort();
    if (f.kind == FRAME_ERROR || f.kind == FRAME_FAILED) {
        pit_error *e = error_from_worker(f.payload, f.payload_n, PIT_E_PYTHON_EXCEPTION);
        if (pit_error_code(e) == 0 || pit_error_string(e)[0] == '\0')
            abort();
        pit_error_free(e);
    }
    return 0;
}
