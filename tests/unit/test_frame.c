/* Frames: the vectors, the header both ways, every prefix and every changed byte. */
#include "unit/wire_memory.h"

#include "wire/frame.h"

static pit_value *rows(void)
{
    char path[1024];
    size_t n;
    pit_value *v = NULL;
    snprintf(path, sizeof path, "%s/tests/vectors/frames.json", TEST_SOURCE_DIR);
    char *text = read_whole(path, &n);
    assert_int_equal(pit_value_parse_json(text, n, &v, NULL), 0);
    free(text);
    assert_true(pit_value_len(v) > 0);
    return v;
}

static const char *field(const pit_value *row, const char *name)
{
    return pit_value_str(pit_value_get(row, name));
}

static void assert_bytes(const uint8_t *data, size_t n, const char *hex)
{
    size_t want_n;
    uint8_t *want = from_hex(hex, &want_n);
    assert_int_equal(n, want_n);
    if (n != 0)
        assert_memory_equal(data, want, n);
    free(want);
}

static void frame_is_as_described(const pit_value *row, const struct frame *f)
{
    uint64_t id = 0, stamp = 0, flags = 0;
    const pit_value *tag, *data;
    assert_true(pit_value_get_uint(pit_value_get(row, "id"), &id) && pit_value_get_uint(pit_value_get(row, "stamp"), &stamp));
    assert_true(pit_value_get_uint(pit_value_get(row, "flags"), &flags));
    assert_string_equal(frame_kind_name(f->kind), field(row, "kind"));
    assert_true(f->id == id && f->stamp == stamp && f->flags == flags);
    assert_bytes(f->payload, f->payload_n, field(row, "payload"));
    for (size_t i = 0; pit_value_next(pit_value_get(row, "fields"), &i, &tag, &data);) {
        const uint8_t *found = NULL;
        size_t n = 0;
        assert_true(frame_field(f, atoi(pit_value_str(tag)), &found, &n));
        assert_bytes(found, n, pit_value_str(data));
    }
    const uint8_t *none = NULL;
    size_t n = 77;
    assert_false(frame_field(f, 99, &none, &n));
    assert_true(none == NULL && n == 77);
}

static void vectors(void **state)
{
    (void)state;
    const pit_value *row;
    pit_value *all = rows();
    for (size_t i = 0; pit_value_next(all, &i, NULL, &row);) {
        size_t n;
        uint8_t *bytes = from_hex(field(row, "hex"), &n), *exact = malloc(n != 0 ? n : 1);
        memcpy(exact, bytes, n);
        struct frame f, untouched;
        memset(&f, 0x55, sizeof f);
        untouched = f;
        int rc = frame_parse(exact, n, &f);
        if (rc != (field(row, "error") != NULL ? PIT_E_PROTOCOL_ERROR : 0))
            fail_msg("%s: %s", field(row, "name"), pit_error_code_name(rc));
        if (rc == 0)
            frame_is_as_described(row, &f);
        else
            assert_memory_equal(&f, &untouched, sizeof f);
        free(exact);
        free(bytes);
    }
    pit_value_free(all);
}

static void headers_are_read_as_written(void **state)
{
    (void)state;
    uint8_t bytes[FRAME_HEADER + 3] = {0};
    struct frame f;
    frame_put_header(bytes, FRAME_RESULT, FRAME_TIMED, UINT64_C(0x0102030405060708), UINT64_C(0xf1f2f3f4f5f6f7f8),
                     sizeof bytes);
    assert_int_equal(frame_peek_size(bytes, FRAME_MAX_DEFAULT), sizeof bytes);
    assert_int_equal(frame_peek_size(bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(frame_peek_size(bytes, sizeof bytes - 1), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(frame_parse(bytes, sizeof bytes, &f), 0);
    assert_true(f.kind == FRAME_RESULT && f.flags == FRAME_TIMED && f.id == UINT64_C(0x0102030405060708) &&
                f.stamp == UINT64_C(0xf1f2f3f4f5f6f7f8) && f.payload == bytes + FRAME_HEADER && f.payload_n == 3 &&
                f.fields_n == 0);
    assert_int_equal(bytes[8], 0x08); /* little-endian */
    frame_put_header(bytes, FRAME_RESULT, 0, 0, 0, FRAME_HEADER - 1);
    assert_int_equal(frame_peek_size(bytes, FRAME_MAX_DEFAULT), PIT_E_PROTOCOL_ERROR);
    frame_put_header(bytes, FRAME_RESULT, 0, 0, 0, UINT32_MAX);
    assert_int_equal(frame_peek_size(bytes, FRAME_MAX_DEFAULT), PIT_E_LIMIT_EXCEEDED);
    bytes[0] = 0;
    assert_int_equal(frame_peek_size(bytes, FRAME_MAX_DEFAULT), PIT_E_PROTOCOL_ERROR);
}

/* Which kinds this version knows: those whose payload is not reserved. */
static void kinds(void **state)
{
    (void)state;
    static const char *const payloads[256] = {
#define KIND_PAYLOAD(constant, name, number, direction, payload) [number] = payload,
        FRAME_KIND_LIST(KIND_PAYLOAD)
#undef KIND_PAYLOAD
    };
    int known = 0;
    for (int kind = 0; kind < 256; kind++) {
        uint8_t bytes[FRAME_HEADER];
        struct frame f;
        frame_put_header(bytes, kind, 0, 0, 0, sizeof bytes);
        bool expected = payloads[kind] != NULL && strstr(payloads[kind], "reserved") != payloads[kind];
        assert_int_equal(frame_parse(bytes, sizeof bytes, &f), expected ? 0 : PIT_E_PROTOCOL_ERROR);
        assert_int_equal(strcmp(frame_kind_name(kind), "unknown") != 0, payloads[kind] != NULL);
        known += expected;
    }
    assert_int_equal(known, 26);
    assert_string_equal(frame_kind_name(-1), "unknown");
    assert_string_equal(frame_kind_name(FRAME_TELEMETRY_CONTROL), "telemetry_control");
}

/* Whatever one byte of a frame becomes, nothing outside of it is read, and its parts lie inside. */
static void changed_bytes(void **state)
{
    (void)state;
    const pit_value *row;
    pit_value *all = rows();
    for (size_t i = 0; pit_value_next(all, &i, NULL, &row);) {
        size_t n;
        uint8_t *bytes = from_hex(field(row, "hex"), &n);
        for (size_t at = 0; at < n; at++)
            for (unsigned flip = 1; flip < 256; flip++) {
                struct frame f;
                const uint8_t *data;
                size_t size;
                bytes[at] ^= (uint8_t)flip;
                if (frame_parse(bytes, n, &f) == 0) {
                    assert_true(f.payload >= bytes + FRAME_HEADER && f.payload + f.payload_n == bytes + n);
                    for (int tag = 0; tag < 256; tag++)
                        if (frame_field(&f, tag, &data, &size))
                            assert_true(data >= f.fields && data + size <= f.fields + f.fields_n);
                }
                bytes[at] ^= (uint8_t)flip;
            }
        for (size_t cut = 0; field(row, "error") == NULL && cut < n; cut++) {
            struct frame f;
            uint8_t *part = malloc(cut != 0 ? cut : 1);
            memcpy(part, bytes, cut);
            assert_int_equal(frame_parse(part, cut, &f), PIT_E_PROTOCOL_ERROR);
            free(part);
        }
        free(bytes);
    }
    pit_value_free(all);
}

/* One field, then another before it; the header and the payload are as they were. */
static void fields_are_put_before_others(void **state)
{
    (void)state;
    enum { ROOM = 64 };
    uint8_t bytes[ROOM] = {0};
    struct frame f;
    const uint8_t *found;
    size_t n = FRAME_HEADER + 3, found_n;
    frame_put_header(bytes, FRAME_CALL, FRAME_TIMED, 7, 9, n);
    memcpy(bytes + FRAME_HEADER, "abc", 3);
    n = frame_insert_field(bytes, n, FIELD_SESSION, "s", 1);
    assert_int_equal(n, FRAME_HEADER + FRAME_FIELDS_HEAD + FRAME_FIELD_HEAD + 1 + 3);
    n = frame_insert_field(bytes, n, FIELD_CORRELATION, "id", 2);
    assert_int_equal(frame_parse(bytes, n, &f), 0);
    assert_true(f.kind == FRAME_CALL && f.id == 7 && f.stamp == 9 && f.flags == (FRAME_TIMED | FRAME_FIELDS));
    assert_int_equal(f.payload_n, 3);
    assert_memory_equal(f.payload, "abc", 3);
    assert_true(frame_field(&f, FIELD_CORRELATION, &found, &found_n) && found_n == 2 && memcmp(found, "id", 2) == 0);
    assert_true(frame_field(&f, FIELD_SESSION, &found, &found_n) && found_n == 1 && *found == 's');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(vectors),
        WIRE_TEST(fields_are_put_before_others),
        WIRE_TEST(headers_are_read_as_written),
        WIRE_TEST(kinds),
        WIRE_TEST(changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
