/* Decoding that takes the block over: where a long text or bytes stays where it was received, nothing else about the value changes. */
#include "unit/wire_memory.h"

#include "channel/channel.h"
#include "channel/channel_internal.h"
#include "wire/codec.h"
#include "wire/frame.h"

enum { LONG = 100000, LEAD = 24 };

static pit_value *long_bytes(size_t n, char fill)
{
    char *data = malloc(n);
    memset(data, fill, n);
    pit_value *v = pit_bytes(data, n);
    free(data);
    return v;
}

static pit_value *long_text(size_t n)
{
    char *data = malloc(n);
    memset(data, 'x', n);
    pit_value *v = pit_strn(data, n);
    free(data);
    return v;
}

/* The encoding of v (taken) in a block as a frame stands in it: bytes before, one behind. */
static uint8_t *block_of(pit_value *v, size_t *ret_n)
{
    struct buf out = {0};
    assert_int_equal(codec_encode(&out, v, NULL), 0);
    uint8_t *block = mem_alloc(LEAD + out.len + 1);
    memset(block, 0xee, LEAD);
    memcpy(block + LEAD, out.data, out.len);
    block[LEAD + out.len] = 0xee;
    *ret_n = out.len;
    buf_finish(&out);
    pit_value_free(v);
    return block;
}

/* Decodes v (taken) both ways; whether the block was taken over is as expected. */
static void same_value(pit_value *v, bool expected)
{
    size_t n;
    uint8_t *block = block_of(pit_value_ref(v), &n), *at = block;
    pit_value *kept = NULL;
    assert_int_equal(codec_decode_block(&block, at + LEAD, n, NULL, &kept, NULL, NULL), 0);
    assert_true(pit_value_equal(kept, v));
    assert_int_equal(block == NULL, expected);
    mem_free(block);
    assert_true(pit_value_equal(kept, v)); /* nothing of it was in there */
    struct buf again = {0};
    assert_int_equal(codec_encode(&again, kept, NULL), 0);
    assert_int_equal(again.len, n);
    buf_finish(&again);
    pit_value_free(kept);
    pit_value_free(v);
}

static void long_ones_stay(void **state)
{
    (void)state;
    same_value(long_bytes(LONG, 'a'), true);
    same_value(long_text(LONG), true);
    same_value(long_bytes(1 << 16, 'a'), true);
    pit_value *bytes = long_bytes(LONG, 'b'), *text = long_text(LONG);
    same_value(pit_pack("{s:v,s:i,s:s}", "data", bytes, "n", 7, "text", "behind"), true);
    same_value(pit_pack("{s:i,s:[v,v],s:s}", "n", -1, "two", text, bytes, "text", "behind"), true);
    same_value(pit_pack("((v)i)", bytes, 3), true); /* in extensions */
    pit_value_free(bytes);
    pit_value_free(text);
}

static void others_are_copied(void **state)
{
    (void)state;
    same_value(pit_int(1), false);
    same_value(long_bytes((1 << 16) - 1, 'a'), false);
    pit_value *list = pit_list();
    for (int i = 0; i < 1000; i++) /* the long one comes late */
        assert_int_equal(pit_list_append_take(list, pit_int(i)), 0);
    assert_int_equal(pit_list_append_take(list, long_bytes(LONG, 'z')), 0);
    same_value(list, false);
}

/* Payloads of leaves are not looked into. */
static void behind_leaves(void **state)
{
    (void)state;
    char *digits = malloc(30001);
    memset(digits, '7', 30000);
    digits[30000] = '\0';
    pit_value *big = pit_bigint(digits), *decimal = pit_decimal("1.50"), *bytes = long_bytes(LONG, 'e');
    same_value(pit_pack("[v,v,v]", big, decimal, bytes), true);
    same_value(pit_pack("[v]", big), false);
    pit_value_free(big);
    pit_value_free(decimal);
    pit_value_free(bytes);
    free(digits);
}

static void the_text_ends(void **state)
{
    (void)state;
    size_t n;
    pit_value *text = long_text(LONG), *v = NULL;
    uint8_t *block = block_of(pit_pack("[v,s]", text, "next"), &n);
    pit_value_free(text);
    assert_int_equal(codec_decode_block(&block, block + LEAD, n, NULL, &v, NULL, NULL), 0);
    assert_null(block);
    assert_int_equal(strlen(pit_value_str(pit_value_at(v, 0))), LONG);
    assert_string_equal(pit_value_str(pit_value_at(v, 1)), "next");
    pit_value *part = pit_value_ref(pit_value_at(v, 0)); /* keeps the block */
    pit_value_free(v);
    assert_int_equal(strlen(pit_value_str(part)), LONG);
    pit_value_free(part);
}

/* A block that was not taken is as it was. */
static void refusals_leave_the_block(void **state)
{
    (void)state;
    size_t n;
    pit_value *bytes = long_bytes(LONG, 'f'), *v = NULL;
    uint8_t *block = block_of(pit_pack("[v,{s:i,s:i}]", bytes, "a", 1, "b", 2), &n), *at = block;
    pit_value_free(bytes);
    block[LEAD + n - 2] = 'a'; /* the key twice: seen in the second pass */
    uint8_t *copy = malloc(LEAD + n + 1);
    memcpy(copy, block, LEAD + n + 1);
    struct codec_error err;
    assert_int_equal(codec_decode_block(&block, at + LEAD, n, NULL, &v, NULL, &err), PIT_E_DUPLICATE_KEY);
    assert_int_equal(codec_decode_block(&block, at + LEAD, n - 1, NULL, &v, NULL, &err), PIT_E_DESERIALIZATION_FAILED);
    assert_null(v);
    assert_ptr_equal(block, at);
    assert_memory_equal(block, copy, LEAD + n + 1);
    free(copy);
    mem_free(block);
}

/* A whole frame as a channel receives it, in pieces, taken and decoded. */
static int receive(void *user)
{
    const uint8_t *frame = ((uint8_t **)user)[0], *end = ((uint8_t **)user)[1];
    size_t size = (size_t)(end - frame);
    struct channel_frame f;
    channel_frame_init(&f);
    bool complete = true;
    for (size_t part = 10000; complete && f.n < size;) {
        size_t had = f.n, n = size - had < part ? size - had : part;
        uint8_t *room = frame_room(&f, had + n);
        complete = room != NULL;
        if (complete)
            memcpy(room + had, frame + had, n);
    }
    if (complete)
        assert_true(f.heap_cap == size + 1); /* not more than is needed */
    uint8_t *block = complete ? channel_frame_take(&f) : NULL;
    complete = block != NULL;
    if (complete) {
        pit_value *v = NULL;
        assert_int_equal(f.n, 0);
        assert_null(channel_frame_take(&f));
        complete = codec_decode_block(&block, block + FRAME_HEADER, size - FRAME_HEADER, NULL, &v, NULL, NULL) == 0;
        assert_int_equal(block == NULL, complete);
        assert_int_equal(pit_value_len(v), complete ? LONG : 0);
        pit_value_free(v);
    }
    mem_free(block);
    channel_frame_finish(&f);
    return complete;
}

static void a_received_frame(void **state)
{
    (void)state;
    size_t n;
    uint8_t *block = block_of(long_bytes(LONG, 'g'), &n), *frame = block + LEAD - FRAME_HEADER;
    frame_put_header(frame, FRAME_RESULT, 0, 1, 0, FRAME_HEADER + n);
    uint8_t *range[2] = {frame, frame + FRAME_HEADER + n};
    assert_true(memory_try_all(receive, range) > 3);
    mem_free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(long_ones_stay), WIRE_TEST(others_are_copied),        WIRE_TEST(behind_leaves),
        WIRE_TEST(the_text_ends),  WIRE_TEST(refusals_leave_the_block), WIRE_TEST(a_received_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
