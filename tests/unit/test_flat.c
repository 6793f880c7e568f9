/* The short ways from and to bytes give what the long ones give, for what is flat and for everything that is nearly so. */
#include "unit/wire_memory.h"

#include "wire/codec.h"
#include "wire/flat.h"

/* ---- packing ---- */

/* The short way, where it says that it is one: the bytes of the long way; else nothing. */
static bool pack_short(const char *format, ...)
{
    uint8_t room[512];
    struct buf direct, by_value = {0};
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    buf_init_on(&direct, room, sizeof room);
    buf_puts(&direct, "kept");
    bool flat = pack_flat(&direct, format, ap);
    if (flat) {
        pit_value *v = pit_packv(format, again);
        assert_int_equal(pit_value_error(v), 0);
        assert_int_equal(codec_encode(&by_value, v, NULL), 0);
        assert_int_equal(direct.len, by_value.len + 4);
        assert_memory_equal(direct.data + 4, by_value.data, by_value.len);
        pit_value_free(v);
        buf_finish(&by_value);
    } else {
        assert_int_equal(direct.len, 4);
    }
    assert_memory_equal(direct.data, "kept", 4);
    assert_ptr_equal(direct.data, room);
    va_end(again);
    va_end(ap);
    return flat;
}

static void packs_flat_maps(void **state)
{
    (void)state;
    assert_true(pack_short("{}"));
    assert_true(pack_short("{s:i}", "x", 1));
    assert_true(pack_short("{s:i}", "", INT32_MIN));
    assert_true(pack_short("{s:b, s:i,s:I  s:us:f}", "b", 7, "i", -5, "I", INT64_MIN, "u", UINT32_MAX, "f", -0.0));
    assert_true(pack_short("{s:s,s:s}", "text", "\xc3\xa4\xe2\x82\xac", "longer than one byte of a head can say",
                           "and the item too, x"));
    assert_true(
        pack_short("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "a", 1, "b", 2, "c", 3, "d", 4, "e", 5, "f", 6, "g", 7, "h", 8));
    assert_true(pack_short("{s:i,s:i}", "a", 1, "aa", 2)); /* one key begins with the other */
}

static void leaves_the_rest(void **state)
{
    (void)state;
    static const char *const formats[] = {NULL,      "",       "i",      "{",      "{s",    "{s:", "{s:i",  "{s:i}i",
                                          "{s:i} ",  "{s :i}", "{s: i}", "{s::i}", "{s}",   "{:}", "{i:i}", "{s:n}",
                                          "{s:[i]}", "{s:{}}", "{s:y}",  "{s:U}",  "{s:v}", "[i]", "(i)",   "{s:q}"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        assert_false(pack_short(formats[i], "x", 1, 2, 3));
    assert_false(pack_short("{s:i}", NULL, 1));
    assert_false(pack_short("{s:s}", "x", NULL));
    assert_false(pack_short("{s:s}", "x", "\xff"));
    assert_false(pack_short("{s:i}", "\xff", 1));
    assert_false(pack_short("{s:i,s:i}", "a", 1, "a", 2));
    assert_false(pack_short("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "a", 1, "b", 2, "c", 3, "d", 4, "e", 5, "f", 6, "g", 7,
                            "h", 8, "i", 9));
}

/* Into `cap` bytes and not one more: a sanitizer sees it. */
static bool pack_into(size_t cap, const char *format, ...)
{
    uint8_t *room = malloc(cap != 0 ? cap : 1);
    struct buf b;
    va_list ap;
    va_start(ap, format);
    buf_init_on(&b, room, cap);
    bool flat = pack_flat(&b, format, ap);
    assert_true(b.len <= cap && b.data == room && (flat || b.len == 0));
    va_end(ap);
    free(room);
    return flat;
}

static void keeps_to_its_room(void **state)
{
    (void)state;
    bool fitted = false;
    for (size_t cap = 0; cap < 64; cap++) {
        bool flat = pack_into(cap, "{s:i,s:s,s:f}", "key", INT32_MAX, "text", "item", "x", 0.5);
        assert_true(flat || !fitted);
        fitted = flat;
    }
    assert_true(fitted);
}

/* ---- decoding ---- */

/* Both ways on the same bytes, which stand alone in their block. true: the value was flat. */
static bool decode_both(const uint8_t *bytes, size_t n)
{
    uint8_t *p = malloc(n != 0 ? n : 1);
    memcpy(p, bytes, n);
    pit_value *quick = NULL, *slow = NULL, *flat = NULL;
    struct codec_error err;
    size_t used = 0;
    int rc_slow = codec_decode(p, n, NULL, &slow, &used, &err);
    int rc = codec_decode(p, n, NULL, &quick, NULL, &err), rc_flat = decode_flat(p, n, SIZE_MAX, &flat);
    bool whole = rc_slow == 0 && used == n;
    assert_int_equal(rc == 0, whole);
    assert_true(rc_flat == 0 || rc_flat == NOT_FLAT);
    assert_true(rc_flat != 0 || whole);
    if (whole) {
        struct buf a = {0}, b = {0};
        assert_int_equal(codec_encode(&a, quick, NULL), 0);
        assert_int_equal(codec_encode(&b, slow, NULL), 0);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        buf_finish(&a);
        buf_finish(&b);
    }
    pit_value_free(quick);
    pit_value_free(slow);
    pit_value_free(flat);
    free(p);
    return rc_flat == 0;
}

/* The encoding of v (taken), each shorter piece of it, and each change of one of its bytes. */
static bool decode_around(pit_value *v)
{
    struct buf b = {0};
    assert_int_equal(codec_encode(&b, v, NULL), 0);
    pit_value_free(v);
    bool flat = decode_both(b.data, b.len);
    for (size_t n = 0; n < b.len; n++)
        decode_both(b.data, n);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t was = b.data[i];
        for (unsigned c = 0; c < 256; c++) {
            b.data[i] = (uint8_t)c;
            decode_both(b.data, b.len);
        }
        b.data[i] = was;
    }
    buf_finish(&b);
    return flat;
}

static void decodes_flat_values(void **state)
{
    (void)state;
    assert_true(decode_around(pit_pack("{s:i}", "x", 500001)));
    assert_true(decode_around(pit_pack("{}")));
    assert_true(decode_around(pit_pack("[]")));
    assert_true(decode_around(pit_pack("{s:n,s:b,s:I,s:U,s:f,s:s,s:y}", "n", "b", 1, "i", INT64_MIN, "u", UINT64_MAX, "f", 0.1,
                                       "s", "\xc3\xa4", "y", "\0\xff", (size_t)2)));
    assert_true(decode_around(pit_pack("[iiiiiiiiiiiiiiii]", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)));
    assert_true(decode_around(pit_pack("{s:i,s:i}", "a", 1, "b", 2))); /* changed to the same key among others */
}

static void leaves_others(void **state)
{
    (void)state;
    assert_false(decode_around(pit_int(5)));
    assert_false(decode_around(pit_str("text")));
    assert_false(decode_around(pit_pack("[[i]]", 1)));
    assert_false(decode_around(pit_pack("{s:{}}", "x")));
    assert_false(decode_around(pit_pack("{i:i}", 1, 2)));
    assert_false(decode_around(pit_pack("(i)", 1)));
    assert_false(decode_around(pit_pack("[iiiiiiiiiiiiiiiii]", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)));
    assert_false(decode_around(pit_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "a", 1, "b", 2, "c", 3, "d", 4, "e", 5, "f", 6,
                                        "g", 7, "h", 8, "i", 9)));
}

static void texts_stand_in_the_value(void **state)
{
    (void)state;
    uint8_t bytes[] = {0x82, 0xa1, 'k', 0xa4, 't', 'e', 'x', 't', 0xa1, 'y', 0xc4, 2, 0, 9};
    pit_value *v = NULL;
    assert_int_equal(decode_flat(bytes, sizeof bytes, SIZE_MAX, &v), 0);
    memset(bytes, 0xee, sizeof bytes);
    assert_string_equal(pit_value_str(pit_value_get(v, "k")), "text");
    const void *data = NULL;
    size_t n = 0;
    assert_true(pit_value_get_bytes(pit_value_get(v, "y"), &data, &n));
    assert_int_equal(n, 2);
    assert_memory_equal(data, "\0\x09", 2);
    pit_value *part = pit_value_ref(pit_value_get(v, "k")); /* a part keeps the whole */
    pit_value_free(v);
    assert_string_equal(pit_value_str(part), "text");
    pit_value_free(part);
}

static int decode_small(void *user)
{
    pit_value *v = NULL;
    struct codec_error err;
    static const uint8_t bytes[] = {0x81, 0xa1, 'x', 7};
    int rc = codec_decode(bytes, sizeof bytes, NULL, &v, NULL, &err);
    assert_true(rc == 0 || (rc == PIT_E_ALLOCATION_FAILED && err.code == rc && v == NULL));
    (void)user;
    pit_value_free(v);
    return rc == 0;
}

static void without_memory(void **state)
{
    (void)state;
    assert_int_equal(memory_try_all(decode_small, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(packs_flat_maps),     WIRE_TEST(leaves_the_rest), WIRE_TEST(keeps_to_its_room),
        WIRE_TEST(decodes_flat_values), WIRE_TEST(leaves_others),   WIRE_TEST(texts_stand_in_the_value),
        WIRE_TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
