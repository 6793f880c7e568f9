/* The codec on sets and leaves: what hostile bytes may cost, limits, alignment, the path to what cannot be encoded. */
#include "unit/wire_memory.h"

#include <time.h>

#include "wire/codec.h"
#include "wire/mp.h"

static void put_nested(struct buf *b, unsigned height, unsigned *mark)
{
    size_t head = b->len;
    uint8_t *p = buf_reserve(b, 64);
    p = mp_put_array(mp_open_ext(p, MP_EXT_FROZENSET), 2);
    if (height == 0) /* every leaf is another, but one looks long at them to see that */
        p = mp_put_int(mp_put_int(p, 70000), (*mark)++ + 100000);
    b->len = (size_t)(p - b->data);
    for (int i = 0; i < 2 && height != 0; i++)
        put_nested(b, height - 1, mark);
    mp_close_ext(b->data + head + MP_EXT_OPEN, b->data + b->len);
}

/* CPU seconds that decoding takes, the least of three. */
static double decode_time(unsigned height)
{
    struct buf b = {0};
    unsigned mark = 0;
    double least = 1e9;
    put_nested(&b, height, &mark);
    for (int i = 0; i < 3; i++) {
        struct timespec from, to;
        pit_value *v = NULL;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_int_equal(codec_decode(b.data, b.len, NULL, &v, NULL, NULL), 0);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        pit_value_free(v);
        double took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
        least = took < least ? took : least;
    }
    buf_finish(&b);
    return least;
}

/* Frozensets of frozensets that are nearly the same: 64 times as many must not take 64^2 times as long. */
static void nested_frozensets_are_not_slow(void **state)
{
    (void)state;
    double small = decode_time(9), large = decode_time(15);
    print_message("64 times as many frozensets take %.0f times as long\n", large / small);
    assert_true(large < small * 600);
}

/* A head of that many items, and each item from put. */
static int code_of(int ext, uint32_t n, uint8_t *(*put)(uint8_t *p, uint32_t i), long *ret_allocations)
{
    struct buf b = {0};
    struct codec_error err;
    pit_value *v = NULL;
    uint8_t *p = buf_reserve(&b, 32);
    if (ext != 0)
        p = mp_open_ext(p, (int8_t)ext);
    b.len = (size_t)(mp_put_array(p, n) - b.data);
    for (uint32_t i = 0; i < n; i++) {
        p = buf_reserve(&b, 64);
        b.len += (size_t)(put(p, i) - p);
    }
    if (ext != 0)
        mp_close_ext(b.data + MP_EXT_OPEN, b.data + b.len);
    memory.count = 0;
    int rc = codec_decode(b.data, b.len, &(struct codec_limits){.max_bytes = (size_t)1 << 30}, &v, NULL, &err);
    *ret_allocations = memory.count;
    pit_value_free(v);
    buf_finish(&b);
    return rc;
}

static uint8_t *put_int(uint8_t *p, uint32_t i)
{
    return mp_put_uint(p, i);
}

static uint8_t *put_decimal(uint8_t *p, uint32_t i)
{
    char digits[16];
    int n = snprintf(digits, sizeof digits, "%u", i + 1000000);
    p = mp_put_ext(p, MP_EXT_DECIMAL, 5 + (uint32_t)n);
    memset(p, 0, 5);
    memcpy(p + 5, digits, (size_t)n);
    return p + 5 + n;
}

static void entries_are_counted(void **state)
{
    (void)state;
    long allocations;
    assert_int_equal(code_of(MP_EXT_SET, 1 << 20, put_int, &allocations), 0);
    assert_int_equal(code_of(MP_EXT_SET, (1 << 20) + 1, put_int, &allocations), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(allocations, 0);
    assert_int_equal(code_of(MP_EXT_TUPLE, (1 << 20) + 1, put_int, &allocations), 0);
    assert_int_equal(code_of(MP_EXT_SET, 61680, put_decimal, &allocations), 0); /* each counts one and 16 */
    assert_int_equal(code_of(MP_EXT_SET, 61681, put_decimal, &allocations), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(allocations, 0);
    assert_int_equal(code_of(0, 61681, put_decimal, &allocations), 0); /* as no keys they cost nothing of the kind */
}

static void put_decimals(struct buf *b, uint32_t n, const char *digits, int32_t exponent)
{
    size_t count = strlen(digits);
    uint8_t *p = buf_reserve(b, 8 + n * (count + 16));
    p = mp_put_array(p, n);
    for (uint32_t i = 0; i < n; i++) {
        p = mp_put_ext(p, MP_EXT_DECIMAL, 5 + (uint32_t)count);
        *p++ = 0;
        for (int shift = 24; shift >= 0; shift -= 8)
            *p++ = (uint8_t)((uint32_t)exponent >> shift);
        memcpy(p, digits, count);
        p += count;
    }
    b->len = (size_t)(p - b->data);
}

/* Processor time of decoding, the least of some attempts. */
static uint64_t decode_ns(const struct buf *b)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 7; i++) {
        struct timespec from, to;
        pit_value *v = NULL;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_int_equal(codec_decode(b->data, b->len, &(struct codec_limits){.max_bytes = (size_t)1 << 30}, &v, NULL, NULL),
                         0);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        pit_value_free(v);
        uint64_t ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
        least = ns < least ? ns : least;
    }
    return least;
}

/* Who sends a megabyte of decimals takes no more of the host than with a megabyte of other numbers, give or take. */
static void decimals_are_not_dear(void **state)
{
    (void)state;
    enum { N = 20000, TIMES = 300 }; /* printed and compared digit by digit, a half took a thousand times as long */
    char longest[800], *end = longest;
    int32_t places = 1074;
    snprintf(longest, sizeof longest, "%.766e", 0x1.fffffffffffffp-1022);
    for (const char *c = longest; *c != 'e'; c++)
        if (*c != '.')
            *end++ = *c;
    *end = '\0';
    struct {
        const char *digits;
        int32_t exponent;
        uint32_t n;
    } cases[] = {
        {"5", -1, N}, {"3", -1, N}, {"1490116119384765625", -26, N}, {"7", 0, N}, {"1", 1000, N}, {longest, -places, N / 80},
    };
    struct buf ints = {0};
    uint8_t *p = mp_put_array(buf_reserve(&ints, 8 + 9 * N), N);
    for (int i = 0; i < N; i++)
        p = mp_put_uint(p, UINT64_MAX);
    ints.len = (size_t)(p - ints.data);
    uint64_t usual = decode_ns(&ints);
    buf_finish(&ints);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0};
        put_decimals(&b, cases[i].n, cases[i].digits, cases[i].exponent);
        uint64_t took = decode_ns(&b);
        buf_finish(&b);
        print_message("%.20s..E%d: %.1f times as long as integers\n", cases[i].digits, cases[i].exponent,
                      (double)took / (double)usual);
        assert_true(took < usual * TIMES);
    }
}

static void the_budget_counts_everything(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"$pit\":\"set\",\"frozen\":true,\"v\":[1,2,3,4,5,6,7,8,9,10]}",
        "[{\"$pit\":\"decimal\",\"v\":\"123456789012345678901234567890E+20\"},{\"$pit\":\"decimal\",\"v\":\"1E+1000\"}]",
        "[{\"$pit\":\"datetime\",\"v\":\"2026-01-01T00:00:00Z\",\"zone\":\"Europe/Kyiv\"},{\"$pit\":\"complex\",\"v\":[1,2]}]",
        "[\"odd\",{\"$pit\":\"tensor\",\"dtype\":\"f64\",\"shape\":[1,1],\"b64\":\"AAAAAAAA8D8=\"}]",
        "[{\"$pit\":\"ref\",\"id\":\"i\",\"type\":\"t\",\"worker\":\"w\"},{\"$pit\":\"table\",\"b64\":\"AAEC\"}]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pit_value *v = NULL, *back = NULL;
        struct buf b = {0};
        assert_int_equal(pit_value_parse_json(texts[i], strlen(texts[i]), &v, NULL), 0);
        assert_int_equal(codec_encode(&b, v, NULL), 0);
        struct codec_limits limits = {.max_bytes = 16};
        while (codec_decode(b.data, b.len, &limits, &back, NULL, NULL) == PIT_E_LIMIT_EXCEEDED)
            limits.max_bytes++;
        assert_true(pit_value_equal(v, back));
        pit_value_free(back);
        memory.largest = 0;
        assert_int_equal(codec_decode(b.data, b.len, &limits, &back, NULL, NULL), 0);
        assert_int_equal(memory.largest, limits.max_bytes); /* the block is just what the budget was asked for */
        pit_value_free(back);
        pit_value_free(v);
        buf_finish(&b);
    }
}

static void tensors_are_aligned(void **state)
{
    (void)state;
    for (int odd = 0; odd < 20; odd++) {
        double x[3] = {1, 2, odd};
        int64_t shape[] = {3};
        char text[32];
        pit_value *list = pit_list(), *tensor = NULL, *back = NULL;
        struct buf b = {0};
        assert_int_equal(pit_tensor_from_data(NULL, PIT_DTYPE_F64, shape, 1, x, &tensor, NULL), 0);
        memset(text, 'x', sizeof text);
        pit_list_append_take(list, pit_strn(text, (size_t)odd));
        pit_list_append_take(list, pit_bigint("123456789012345678901234567890"));
        pit_list_append_take(list, pit_datetime(0, 0, 0, "odd"));
        pit_list_append_take(list, tensor);
        assert_int_equal(codec_encode(&b, list, NULL), 0);
        assert_int_equal(codec_decode(b.data, b.len, NULL, &back, NULL, NULL), 0);
        const double *data = pit_tensor_data(pit_value_at(back, 3));
        assert_int_equal((uintptr_t)data % 8, 0);
        assert_memory_equal(data, x, sizeof x);
        assert_true(pit_value_equal(list, back));
        pit_value_free(back);
        pit_value_free(list);
        buf_finish(&b);
    }
}

static void the_path_leads_through_sets(void **state)
{
    (void)state;
    struct buf out = {0};
    struct codec_error err = {0};
    pit_value *map = pit_map(), *tuple = pit_tuple(), *set = pit_set(0);
    pit_list_append_take(set, pit_int(1));
    assert_int_equal(pit_list_append_take(set, pit_list()), PIT_E_INVALID_PARAMETER);
    pit_list_append_take(tuple, set);
    pit_map_set_take(map, "a", tuple);
    assert_int_equal(codec_encode(&out, map, &err), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "[\"a\"][0]"); /* the set; what it refused is not in it */
    assert_int_equal(out.len, 0);
    pit_value_free(map);
    buf_finish(&out);
}

/* Bytes that are refused, and the path to what is wrong with them. */
static void the_path_to_what_was_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *path;
    } cases[] = {
#define CASE(bytes, path) {bytes, sizeof bytes - 1, path}
        CASE("\xc1", ""),
        CASE("\x93\x01\xc1\x01", "[1]"),
        CASE("\x92\x01\xa1\xff", "[1]"),
        CASE("\x81\xa1k\x92\x01\xc1", "[\"k\"][1]"),
        CASE("\x82\xa1"
             "a\x01\x90\x02",
             ""), /* a list as a key: the map */
        CASE("\x91\x82\xa1"
             "a\x01\xa1"
             "a\x02",
             "[0]"), /* a key twice */
        CASE("\x81\x07\x81\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x91\xc1", "[7][<int>][0]"),
        CASE("\x81\xc3\x91\xc1", "[<bool>][0]"),
        CASE("\x81\xc0\xc1", "[<nil>]"),
        CASE("\x81\xc4\x01x\xc1", "[<bytes>]"),
        CASE("\x81\xcb\0\0\0\0\0\0\0\0\xc1", "[<float>]"),
        CASE("\x81\xd6\x08\x07\xea\x01\x01\xc1", "[<date>]"),
        CASE("\x81\xd5\x02\x91\x01\xc1", "[<tuple>]"),
        CASE("\x81\xd5\x06\x91\x01\xc1", "[<set>]"),
        CASE("\x81\xd5\x02\x91\x90\x01", "[<tuple>][0]"), /* a list in a tuple that is a key */
        CASE("\x91\xc7\x03\x05\x92\x01\x01", "[0]"),      /* an item twice: the set */
        CASE("\x91\xd5\x05\x91\x90", "[0][0]"),
        CASE("\x92\xd6\x08\x07\xea\x01\x01\xd6\x08\x07\xea\x0d\x01", "[1]"), /* the second date */
        CASE("\x91\xd5\x02\x80\x80", "[0]"),
        CASE("\x91\x92\x01", "[0]"),                     /* more items than bytes */
        CASE("\x91\xd4\x63\x01", "[0]"),                 /* an unknown extension */
        CASE("\x91\x01\x02", ""),                        /* bytes behind */
        CASE("\x91\xc7\x07\x04\x81\xa4type\x01", "[0]"), /* an exception */
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct codec_error err = {0};
        pit_value *v = NULL;
        assert_int_not_equal(codec_decode((const uint8_t *)cases[i].bytes, cases[i].n, NULL, &v, NULL, &err), 0);
        if (strcmp(err.path, cases[i].path) != 0)
            fail_msg("case %zu: %s instead of %s: %s", i, err.path, cases[i].path, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(nested_frozensets_are_not_slow), WIRE_TEST(entries_are_counted), WIRE_TEST(decimals_are_not_dear),
        WIRE_TEST(the_budget_counts_everything),   WIRE_TEST(tensors_are_aligned), WIRE_TEST(the_path_leads_through_sets),
        WIRE_TEST(the_path_to_what_was_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
