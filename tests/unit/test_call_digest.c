/* Names of calls: SipHash as its authors publish it, and that only the key tells which large contents have the same digest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/call_digest.h"

enum { LARGE = 200000 };

static void test_siphash(void **state)
{
    (void)state;
    static const struct { /* of the bytes 0, 1, 2 ... under the key 00 01 ... 0f */
        size_t n;
        uint64_t sum;
    } of[] = {{0, UINT64_C(0x726fdb47dd0e0e31)},
              {1, UINT64_C(0x74f839c593dc67fd)},
              {8, UINT64_C(0x93f5f5799a932462)},
              {15, UINT64_C(0xa129ca6149be45e5)}};
    const struct siphash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    uint8_t text[16];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        assert_true(siphash(&key, text, of[i].n) == of[i].sum);
}

static void digest(const uint8_t *blob, size_t n, uint64_t secret, uint8_t out[SHA256_BYTES])
{
    const struct siphash_key key = {{secret, 7}};
    struct call *c = calloc(1, sizeof *c);
    pit_value *v = pit_bytes(blob, n);
    const struct call_args args = {.value = v};
    assert_non_null(c);
    c->command = "f";
    c->deadline_ns = UINT64_MAX;
    assert_null(call_encode(c, &args, FRAME_MAX_DEFAULT));
    call_digest(c, &key, out);
    buf_finish(&c->frame);
    pit_value_free(v);
    free(c);
}

/* Each bit counts; and of large contents the key, without which nobody can tell what has the same digest. */
static void test_digest(void **state)
{
    (void)state;
    static const size_t sizes[] = {1000, LARGE};
    uint8_t first[SHA256_BYTES], second[SHA256_BYTES];
    uint8_t *blob = calloc(1, LARGE);
    assert_non_null(blob);
    for (int i = 0; i < 2; i++) {
        size_t n = sizes[i];
        digest(blob, n, 1, first);
        digest(blob, n, 1, second);
        assert_memory_equal(first, second, sizeof first);
        for (size_t at = 0; at < n; at += n / 7) {
            blob[at] ^= 0x80;
            digest(blob, n, 1, second);
            assert_memory_not_equal(first, second, sizeof first);
            blob[at] ^= 0x80;
        }
        digest(blob, n, 2, second);
        assert_int_equal(memcmp(first, second, sizeof first) != 0, n > DIGEST_EXACT);
    }
    free(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_siphash), cmocka_unit_test(test_digest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
