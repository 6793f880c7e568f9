/* Hostile chunks of a stream: a value, then perhaps metadata. What is accepted is whole, what is not is a typed error, and both are freed. */
#include <snakepit/snakepit.h>
#include <stdlib.h>

#include "pool/stream.h"
#include "wire/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct stream_chunk k = {0};
    struct frame f = {.kind = FRAME_CHUNK, .id = 1};
    if (n == 0)
        return 0;
    f.flags = (data[0] & 1) != 0 ? FRAME_FINAL : 0;
    f.payload = data + 1;
    f.payload_n = n - 1;
    pit_error *e = stream_decode(&f, FRAME_HEADER + f.payload_n, &k);
    if ((e == NULL) != (k.value != NULL) || (e != NULL && (pit_error_code(e) == 0 || k.metadata != NULL)))
        abort();
    if (e == NULL && (k.final != ((data[0] & 1) != 0) || (k.metadata != NULL && pit_value_kind(k.metadata) != PIT_KIND_MAP)))
        abort();
    pit_error_free(e);
    pit_value_free(k.value);
    pit_value_free(k.metadata);
    return 0;
}
