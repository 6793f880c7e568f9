/* The MessagePack codec: the vectors, hostile bytes, limits, failing memory, the path to what cannot be encoded. */
#include "unit/wire_memory.h"

#include "wire/codec.h"
#include "wire/error.h"
#include "wire/mp.h"

static pit_value *decoded(const uint8_t *p, size_t n)
{
    pit_value *v = NULL;
    struct codec_error err = {0};
    int rc = codec_decode(p, n, NULL, &v, NULL, &err);
    if (rc != 0)
        fail_msg("not decoded: %s: %s", pit_error_code_name(rc), err.text);
    return v;
}

static int decode_code(const char *bytes, size_t n)
{
    pit_value *v = (pit_value *)&n;
    struct codec_error err = {0};
    int rc = codec_decode((const uint8_t *)bytes, n, NULL, &v, NULL, &err);
    if (rc == 0) {
        pit_value_free(v);
        return 0;
    }
    assert_ptr_equal(v, &n); /* untouched */
    assert_int_equal(err.code, rc);
    assert_true(err.text[0] != '\0');
    return rc;
}

static pit_value *rows_of(const char *file)
{
    char path[1024];
    size_t n;
    pit_value *rows = NULL;
    snprintf(path, sizeof path, "%s/tests/vectors/%s", TEST_SOURCE_DIR, file);
    char *text = read_whole(path, &n);
    assert_int_equal(pit_value_parse_json(text, n, &rows, NULL), 0);
    free(text);
    assert_true(pit_value_len(rows) > 0);
    return rows;
}

static const char *field(const pit_value *row, const char *name)
{
    return pit_value_str(pit_value_get(row, name));
}

static void check_encoding(const pit_value *row, const pit_value *v)
{
    size_t n;
    uint8_t *want = from_hex(field(row, field(row, "encodes_as") != NULL ? "encodes_as" : "hex"), &n);
    struct buf out = {0};
    assert_int_equal(codec_encode(&out, v, NULL), 0);
    if (out.len != n || memcmp(out.data, want, n) != 0)
        fail_msg("%s: other bytes than expected", field(row, "name"));
    buf_finish(&out);
    free(want);
}

static void vector_is_met(const pit_value *row)
{
    size_t n;
    uint8_t *bytes = from_hex(field(row, "hex"), &n);
    const char *error = field(row, "error"), *json = field(row, "json");
    if (error != NULL) {
        const char *got = pit_error_code_name(decode_code((const char *)bytes, n));
        if (strcmp(got, error) != 0)
            fail_msg("%s: %s instead of %s", field(row, "name"), got, error);
    } else {
        pit_value *v = decoded(bytes, n), *meant = NULL;
        pit_error *e = NULL;
        if (pit_value_parse_json(json, strlen(json), &meant, &e) != 0)
            fail_msg("%s: %s", field(row, "name"), pit_error_string(e));
        if (!pit_value_equal(v, meant) || !pit_value_equal(meant, v))
            fail_msg("%s: another value than expected", field(row, "name"));
        assert_true(pit_value_is_immutable(v));
        check_encoding(row, v);
        char *text = pit_value_to_json(v, 0);
        pit_value *again = NULL;
        assert_non_null(text);
        assert_int_equal(pit_value_parse_json(text, strlen(text), &again, NULL), 0);
        assert_true(pit_value_equal(v, again));
        if (strstr(field(row, "name"), "payload") == NULL) /* JSON does not keep the bits of a NaN */
            check_encoding(row, again);
        pit_free(text);
        pit_value_free(again);
        pit_value_free(meant);
        pit_value_free(v);
    }
    free(bytes);
}

static void vectors(void **state)
{
    (void)state;
    const pit_value *row;
    pit_value *rows = rows_of("values.json");
    for (size_t i = 0; pit_value_next(rows, &i, NULL, &row);)
        vector_is_met(row);
    pit_value_free(rows);
}

static void vectors_of_arguments(void **state)
{
    (void)state;
    const pit_value *row;
    pit_value *rows = rows_of("args.json");
    for (size_t i = 0; pit_value_next(rows, &i, NULL, &row);) {
        const pit_value *positional = pit_value_get(row, "positional"), *keywords = pit_value_get(row, "keywords");
        if (pit_value_kind(positional) == PIT_KIND_NIL)
            positional = NULL;
        if (pit_value_kind(keywords) == PIT_KIND_NIL)
            keywords = NULL;
        pit_value *v = pit_args(positional, keywords);
        assert_int_equal(pit_value_kind(v), PIT_KIND_ARGS);
        check_encoding(row, v);
        pit_value_free(v);
    }
    pit_value_free(rows);
}

/* Every prefix of every good vector is refused, and so is each with one byte more. */
static void nothing_is_cut_or_left_over(void **state)
{
    (void)state;
    const pit_value *row;
    pit_value *rows = rows_of("values.json");
    for (size_t i = 0; pit_value_next(rows, &i, NULL, &row);) {
        size_t n;
        uint8_t *bytes = from_hex(field(row, "hex"), &n);
        for (size_t cut = 0; field(row, "error") == NULL && cut < n && n < 2000; cut++) {
            /* exactly sized, so that a sanitizer sees a read behind the end */
            uint8_t *part = malloc(cut != 0 ? cut : 1);
            memcpy(part, bytes, cut);
            assert_int_not_equal(decode_code((const char *)part, cut), 0);
            free(part);
        }
        if (field(row, "error") == NULL) {
            pit_value *v = NULL;
            size_t used = 0;
            bytes[n] = 0xc0;
            assert_int_equal(decode_code((const char *)bytes, n + 1), PIT_E_DESERIALIZATION_FAILED);
            assert_int_equal(codec_decode(bytes, n + 1, NULL, &v, &used, NULL), 0);
            assert_int_equal(used, n);
            pit_value_free(v);
        }
        free(bytes);
    }
    pit_value_free(rows);
}

/* Every byte of every small vector replaced by every other: no crash, and what is accepted is accepted again when encoded. */
static void changed_bytes(void **state)
{
    (void)state;
    const pit_value *row;
    pit_value *rows = rows_of("values.json");
    for (size_t i = 0; pit_value_next(rows, &i, NULL, &row);) {
        size_t n;
        uint8_t *bytes = from_hex(field(row, "hex"), &n);
        for (size_t at = 0; n < 100 && at < n; at++)
            for (unsigned flip = 1; flip < 256; flip++) {
                pit_value *v = NULL, *again = NULL;
                bytes[at] ^= (uint8_t)flip;
                if (codec_decode(bytes, n, NULL, &v, NULL, NULL) == 0) {
                    struct buf out = {0};
                    assert_int_equal(codec_encode(&out, v, NULL), 0);
                    assert_int_equal(codec_decode(out.data, out.len, NULL, &again, NULL, NULL), 0);
                    assert_true(pit_value_equal(v, again));
                    buf_finish(&out);
                }
                pit_value_free(v);
                pit_value_free(again);
                bytes[at] ^= (uint8_t)flip;
            }
        free(bytes);
    }
    pit_value_free(rows);
}

static void refuses_before_it_allocates(void **state)
{
    (void)state;
    size_t n = 64u << 20;
    char *nils = malloc(n);
    memset(nils, 0xc0, n);
    memcpy(nils, "\xdd\x03\xff\xff\xfb", 5);
    memory.count = 0;
    assert_int_equal(decode_code(nils, n), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(memory.count, 0);
    free(nils);
    assert_int_equal(decode_code("\xdd\xff\xff\xff\xff\xc0", 6), PIT_E_DESERIALIZATION_FAILED);
    assert_int_equal(decode_code("\xdb\xff\xff\xff\xff\x61", 6), PIT_E_DESERIALIZATION_FAILED);
    assert_int_equal(decode_code("\xdf\x80\x00\x00\x00\xc0", 6), PIT_E_DESERIALIZATION_FAILED);
    assert_int_equal(memory.count, 0);
}

static void budget(void **state)
{
    (void)state;
    const struct codec_limits tight = {.max_bytes = 100}, enough = {.max_bytes = 120};
    const uint8_t three[] = {0x93, 1, 2, 3};
    pit_value *v = NULL;
    assert_int_equal(codec_decode(three, 4, &tight, &v, NULL, NULL), PIT_E_LIMIT_EXCEEDED);
    assert_null(v);
    memory.largest = 0;
    assert_int_equal(codec_decode(three, 4, &enough, &v, NULL, NULL), 0);
    assert_true(memory.largest <= enough.max_bytes);
    pit_value_free(v);
}

static void large_integers(void **state)
{
    (void)state;
    size_t n = 6 + 131073 + 1;
    uint8_t *bytes = calloc(1, n);
    memcpy(bytes, "\xc9\x00\x02\x00\x01\x01", 6); /* 131073 bytes */
    bytes[6] = 1;                                 /* 2^(131072 * 8): 2^20 + 1 bits */
    assert_int_equal(decode_code((char *)bytes, n - 1), PIT_E_LIMIT_EXCEEDED);
    bytes[6] = 0;
    bytes[7] = 0xff; /* 2^20 bits */
    pit_value *v = decoded(bytes, n - 1), *again;
    const char *text = pit_value_text(v);
    assert_non_null(text);
    assert_int_equal(strlen(text), 315653);
    again = pit_bigint(text);
    assert_true(pit_value_equal(v, again));
    struct buf out = {0};
    assert_int_equal(codec_encode(&out, again, NULL), 0);
    assert_int_equal(out.len, n - 1);
    assert_memory_equal(out.data, bytes, n - 1);
    buf_finish(&out);
    pit_value_free(again);
    pit_value_free(v);
    bytes[4] = 2; /* one byte more than any number may have */
    assert_int_equal(decode_code((char *)bytes, n), PIT_E_LIMIT_EXCEEDED);
    free(bytes);
}

/* Keys chosen to be alike must not make a map slow: comparisons grow as n log n. The figure is a generous multiple of that. */
static void many_keys(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct buf b = {0};
    uint8_t head[MP_HEAD];
    buf_append(&b, head, (size_t)(mp_put_map(head, N) - head));
    for (unsigned i = 0; i < N; i++) {
        char key[40];
        int n = snprintf(key, sizeof key, "the same long beginning %08u", i * 2654435761u);
        uint8_t *p = buf_reserve(&b, 64);
        uint8_t *end = mp_put_int(mp_put_str(p, key, (uint32_t)n), i);
        b.len += (size_t)(end - p);
    }
    pit_value *v = decoded(b.data, b.len);
    for (unsigned i = 0; i < N; i += 7) {
        char key[40];
        int64_t got = -1;
        snprintf(key, sizeof key, "the same long beginning %08u", i * 2654435761u);
        assert_true(pit_value_get_int(pit_value_get(v, key), &got));
        assert_int_equal(got, i);
    }
    assert_null(pit_value_get(v, "the same long beginning"));
    pit_value_free(v);
    buf_finish(&b);
}

static void a_part_keeps_the_tree(void **state)
{
    (void)state;
    const char bytes[] = "\x81\xa4list\x92\xa5hello\x02";
    pit_value *v = decoded((const uint8_t *)bytes, sizeof bytes - 1);
    pit_value *part = pit_value_ref(pit_value_at(pit_value_get(v, "list"), 0));
    assert_int_equal(memory.live, 1); /* one block */
    pit_value_free(v);
    assert_string_equal(pit_value_str(part), "hello");
    pit_value_free(part);
    assert_int_equal(memory.live, 0);
}

static void path_to_the_leaf(void **state)
{
    (void)state;
    struct buf out = {0};
    struct codec_error err = {0};
    pit_value *inner = pit_list(), *map = pit_map();
    for (int i = 0; i < 3; i++)
        pit_list_append_take(inner, pit_int(i));
    assert_int_equal(pit_list_append_take(inner, pit_str("\xff")), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_map_set_take(map, "a", pit_int(1)), 0);
    assert_int_equal(pit_map_set_take(map, "b\"\n", inner), PIT_E_INVALID_UTF8);
    buf_puts(&out, "before");
    assert_int_equal(codec_encode(&out, map, &err), PIT_E_INVALID_UTF8);
    assert_int_equal(err.code, PIT_E_INVALID_UTF8);
    assert_string_equal(err.path, "[\"b\\\"\\x0a\"][3]");
    assert_int_equal(out.len, 6);
    pit_value_free(map);

    pit_value *tuple = pit_tuple();
    pit_map_put_take(map = pit_map(), pit_int(7), pit_bigint("twelve"));
    pit_list_append_take(tuple, map);
    assert_int_equal(codec_encode(&out, tuple, &err), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "[0][7]");
    pit_value_free(tuple);
    buf_finish(&out);
}

static void a_container_that_lost_something(void **state)
{
    (void)state;
    struct buf out = {0};
    struct codec_error err = {0};
    pit_value *list = pit_list();
    assert_int_equal(pit_list_append_take(list, list), PIT_E_INVALID_PARAMETER);
    assert_int_equal(codec_encode(&out, list, &err), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "");
    pit_value_free(list);
    assert_int_equal(codec_encode(&out, NULL, &err), 0);
    assert_int_equal(out.len, 1);
    assert_int_equal(out.data[0], 0xc0);
    buf_finish(&out);
}

static void what_was_sent_is_immutable(void **state)
{
    (void)state;
    struct buf out = {0};
    pit_value *list = pit_list();
    assert_false(pit_value_is_immutable(list));
    assert_int_equal(codec_encode(&out, list, NULL), 0);
    assert_true(pit_value_is_immutable(list));
    assert_int_equal(pit_list_append_take(list, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    pit_value_free(list);
    buf_finish(&out);
}

static void a_full_buffer(void **state)
{
    (void)state;
    uint8_t room[8];
    struct buf out;
    buf_init_fixed(&out, room, sizeof room);
    pit_value *v = pit_str("more than eight bytes");
    struct codec_error err = {0};
    assert_int_equal(codec_encode(&out, v, &err), PIT_E_ALLOCATION_FAILED);
    assert_int_equal(out.len, 0);
    pit_value_free(v);
}

static const char everything[] =
    "{\"a\":[1,-1.5,true,null,\"text\",{\"$pit\":\"bytes\",\"b64\":\"AAEC\"}],\"b\":{\"$pit\":\"tuple\",\"v\":[1,[2]]},"
    "\"c\":{\"$pit\":\"map\",\"v\":[[1,2],[null,3]]},\"d\":123456789012345678901234567890,"
    "\"e\":{\"$pit\":\"exception\",\"type\":\"ValueError\",\"message\":\"m\",\"notes\":[\"n\"]},"
    "\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6}";

static int round_trip(void *user)
{
    pit_value *v = NULL, *back = NULL;
    struct buf out = {0};
    (void)user;
    int rc = pit_value_parse_json(everything, sizeof everything - 1, &v, NULL);
    if (rc == 0)
        rc = codec_encode(&out, v, NULL);
    if (rc == 0)
        rc = codec_decode(out.data, out.len, NULL, &back, NULL, NULL);
    int complete = rc == 0;
    if (complete)
        assert_true(pit_value_equal(v, back));
    else
        assert_int_equal(rc, PIT_E_ALLOCATION_FAILED);
    buf_finish(&out);
    pit_value_free(v);
    pit_value_free(back);
    return complete;
}

static void memory_runs_out(void **state)
{
    (void)state;
    long count = memory_try_all(round_trip, NULL);
    print_message("parse, encode, decode: %ld allocations failed in turn\n", count);
    assert_true(count > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(vectors),
        WIRE_TEST(vectors_of_arguments),
        WIRE_TEST(nothing_is_cut_or_left_over),
        WIRE_TEST(changed_bytes),
        WIRE_TEST(refuses_before_it_allocates),
        WIRE_TEST(budget),
        WIRE_TEST(large_integers),
        WIRE_TEST(many_keys),
        WIRE_TEST(a_part_keeps_the_tree),
        WIRE_TEST(path_to_the_leaf),
        WIRE_TEST(a_container_that_lost_something),
        WIRE_TEST(what_was_sent_is_immutable),
        WIRE_TEST(a_full_buffer),
        WIRE_TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
