/* The layout of a worker's segment: sizes, and lanes that do not overlap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/channel.h"
#include "ring/ring.h"
#include "ring/segment.h"

static const uint8_t secret[SEGMENT_SECRET] = "0123456789abcde";

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(segment_bytes(1, 65536) % 4096, 0);
    assert_true(segment_bytes(1, 65536) >= SEGMENT_LANES_OFFSET + LANE_BYTES(65536));
    assert_true(segment_bytes(1, 65536) < SEGMENT_LANES_OFFSET + LANE_BYTES(65536) + 4096);
    assert_true(segment_bytes(1000, 1u << 30) > UINT64_C(2000) << 30); /* no 32-bit arithmetic */
    assert_true(sizeof(struct segment_header) <= SEGMENT_LANES_OFFSET);
    assert_int_equal(SEGMENT_LANES_OFFSET % SEGMENT_LINE, 0);
    assert_int_equal(LANE_BYTES(RING_MIN_BYTES) % SEGMENT_LINE, 0);
}

static void test_header(void **state)
{
    (void)state;
    uint64_t n = segment_bytes(3, 1024);
    uint8_t *map = aligned_alloc(64, n);
    assert_non_null(map);
    memset(map, 0, n);
    segment_init(map, 3, 1024, secret);
    const struct segment_header *h = (const void *)map;
    assert_memory_equal(map, "SNKPIT01", 8);
    assert_int_equal(h->version, SEGMENT_VERSION);
    assert_int_equal(h->lanes, 3);
    assert_int_equal(h->bytes, n);
    assert_int_equal(h->ring_bytes, 1024);
    assert_int_equal(h->lane_offset, SEGMENT_LANES_OFFSET);
    assert_int_equal(h->lane_stride, LANE_BYTES(1024));
    assert_memory_equal(h->secret, secret, SEGMENT_SECRET);
    free(map);
}

/* Fills one lane to its ends through both directions; the others must not change. */
static void test_lanes_do_not_meet(void **state)
{
    (void)state;
    uint64_t n = segment_bytes(3, 1024);
    uint8_t *map = aligned_alloc(64, n), *before = malloc(n);
    assert_non_null(map);
    assert_non_null(before);
    memset(map, 0, n);
    segment_init(map, 3, 1024, secret);
    memcpy(before, map, n);
    struct channel *ends[2] = {channel_ring_create(&os_linux, map, 1, 1024, 4096),
                               channel_ring_create_worker(&os_linux, map, 1, 1024, 4096, -1)};
    struct channel_frame f;
    uint8_t frame[500];
    channel_frame_init(&f);
    memset(frame, 0xee, sizeof frame);
    memset(channel_ring_status(map, 1, 1024), 0xdd, sizeof(struct lane_status));
    for (int i = 0; i < 40; i++) {
        size_t done = 0;
        assert_int_equal(ends[i % 2]->ops->send(ends[i % 2], frame, sizeof frame, &done), 0);
        assert_int_equal(ends[1 - i % 2]->ops->recv(ends[1 - i % 2], &f), 0);
        assert_int_equal(f.n, sizeof frame);
        assert_memory_equal(f.data, frame, f.n);
    }
    size_t first = SEGMENT_LANES_OFFSET + LANE_BYTES(1024), last = first + LANE_BYTES(1024);
    assert_memory_equal(map, before, first);
    assert_memory_equal(map + last, before + last, n - last);
    for (size_t i = 0; i < 2; i++)
        ends[i]->ops->destroy(ends[i]);
    channel_frame_finish(&f);
    free(before);
    free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_lanes_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
