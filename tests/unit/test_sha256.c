/* The hash that names content: the examples of FIPS 180-4, lengths around those of its blocks (from another implementation), and that it does
 * not matter in which pieces content comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

enum { MILLION = 1000000, LONGEST = 1000 };

static void name_of(const void *data, size_t n, uint8_t out[SHA256_BYTES])
{
    struct sha256 s;
    sha256_init(&s);
    sha256_add(&s, data, n);
    sha256_end(&s, out);
}

static void assert_name(const uint8_t digest[SHA256_BYTES], const char *expected)
{
    char hex[2 * SHA256_BYTES + 1];
    for (int i = 0; i < SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, expected);
}

static void test_examples(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hex;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    uint8_t digest[SHA256_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        name_of(rows[i].text, strlen(rows[i].text), digest);
        assert_name(digest, rows[i].hex);
    }
    char *many = malloc(MILLION);
    assert_non_null(many);
    memset(many, 'a', MILLION);
    name_of(many, MILLION, digest);
    assert_name(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(many);
}

static void fill(uint8_t data[LONGEST])
{
    for (unsigned i = 0; i < LONGEST; i++)
        data[i] = (uint8_t)((i * 7 + 1) % 251);
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        const char *hex;
    } rows[] = {
        {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {1, "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"},
        {3, "ce562c676ea7aba9812f54db146b0096011bf3e423edfb0a6f8fb2b02674a801"},
        {55, "0e1fd909ef91754af38bceea27478ef6ca3427023f13bf590b34b205e5e1c0fb"},
        {56, "d914564b0890ba0507547d978021457d00970416582fcfae4746bd6f15e1dbbe"},
        {57, "9426554132d853a57ab49378df07702f566a61ce25ed5d17f035459883467f33"},
        {63, "cf0c1d27f3afc26f75784d0eb19c153f67106833b6e4d38ed5a02cf3826f7fab"},
        {64, "a70bbf04e9d6b13f21dae6ee3119e2fefb8bbad9c34a142738f09089ae07bdef"},
        {65, "f368e8174761b102b4175797f967faffa0783bc72d5d32513b5c5dd895d0ea57"},
        {111, "b200801baa18eca87b7109628f695a48c937bf6aa6ee1ba8e11071313ae459ff"},
        {112, "7b731456c1035958ae4a65bc41f969bef5ca7001b4d6594d7654b1813f0fb4ff"},
        {119, "5c413bb5eb7ba9c71811382fea17a008dcbc6ea2ad9401698d552e201d148bb8"},
        {120, "06e55c382ffed163d9d1c9daf4eaf73a17fb299140d535c48f87b1c4b65f61c1"},
        {127, "98ca4fce3f8f4e5e218d8c3886530f79c5ea63e923211988181e15c723d1fac0"},
        {128, "3a864621ed20a0943dee9a213f4b02c281d7efe598ab555e88d4d32961acd32f"},
        {129, "51664c51f0e8a19d7d6313b9616ded28a12fa6e6def4083f6716d5a26bcb193e"},
        {1000, "67a8f5c74b034d617fec2807aa1d5591a50459cd923b577614ad725226c4b092"},
    };
    uint8_t data[LONGEST], digest[SHA256_BYTES];
    fill(data);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        name_of(data, rows[i].n, digest);
        assert_name(digest, rows[i].hex);
    }
}

static void test_pieces(void **state)
{
    (void)state;
    uint8_t data[LONGEST], whole[SHA256_BYTES], parts[SHA256_BYTES];
    fill(data);
    for (size_t n = 0; n < 200; n++) {
        name_of(data, n, whole);
        struct sha256 s;
        sha256_init(&s);
        for (size_t at = 0; at < n;) {
            size_t part = 1 + at % 67 < n - at ? 1 + at % 67 : n - at;
            sha256_add(&s, data + at, part);
            at += part;
        }
        sha256_end(&s, parts);
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
