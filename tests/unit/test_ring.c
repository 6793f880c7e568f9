/* The ring on one thread: what goes in comes out, in every size and at every place, and a peer that writes rubbish is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "ring_sys.h"

#include <cmocka.h>

enum { RING = 1024, BLOCK = 1 << 16, NEAR_PAYLOAD = 8 * RING_NEAR_WORDS - sizeof(struct ring_record) };

static uint8_t block[BLOCK];
static size_t block_limit = BLOCK; /* room() fails beyond */

static uint8_t *room(void *user, size_t total)
{
    (void)user;
    return total <= block_limit ? block : NULL;
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* Sends and receives one frame of n bytes, alternating as long as the ring is too small for it; says how many attempts to write it took. */
static int pass(struct test_ring *t, size_t n, unsigned seed)
{
    static uint8_t frame[BLOCK];
    fill(frame, n, seed);
    size_t done = 0, got = 0;
    int attempts = 0, read = RING_AGAIN, written = RING_AGAIN;
    while (read != RING_OK) {
        if (written != RING_OK) {
            written = ring_write(&t->writer, frame, n, &done);
            assert_true(written == RING_OK || written == RING_AGAIN);
            ring_publish(&t->writer);
            attempts++;
        }
        read = ring_read(&t->reader, room, NULL, BLOCK, &got);
        assert_true(read == RING_OK || read == RING_AGAIN);
        assert_true(attempts < 1000);
    }
    ring_done(&t->reader);
    assert_int_equal(got, n);
    assert_int_equal(done, n);
    assert_memory_equal(block, frame, n);
    return attempts;
}

static void test_every_size_at_every_place(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    for (size_t n = 0; n <= 3 * RING; n++)
        pass(&t, n, (unsigned)n);
    for (size_t n = 3 * RING; n > 0; n -= 13 < n ? 13 : n)
        pass(&t, n, (unsigned)n);
    assert_int_equal(t.shared->head, t.shared->tail);
    test_ring_finish(&t);
}

/* A frame in three parts, read fragment by fragment. */
static void pass_parts(struct test_ring *t, size_t n, const size_t ends[3], unsigned seed)
{
    static uint8_t frame[BLOCK];
    size_t got = 0, have = 0, done = 0, at = 0, part = 0;
    bool last = false;
    const uint8_t *p, *again;
    fill(frame, n, seed);
    for (int attempts = 0; !last; attempts++) {
        assert_true(attempts < 1000);
        while (at < n) {
            int rc = ring_write_part(&t->writer, frame + at, ends[part] - at, &done, ends[part] < n);
            assert_true(rc == RING_OK || rc == RING_AGAIN);
            if (rc == RING_AGAIN)
                break;
            assert_int_equal(done, ends[part] - at);
            at = ends[part++];
            done = 0;
        }
        ring_publish(&t->writer);
        while (!last && ring_fragment(&t->reader, &p, &have, &last) == RING_OK) {
            assert_int_equal(ring_fragment(&t->reader, &again, &have, &last), RING_OK); /* the same again */
            assert_ptr_equal(p, again);
            assert_true(got + have <= n);
            memcpy(block + got, p, have);
            got += have;
            ring_fragment_done(&t->reader, have, last);
            assert_true(last || t->shared->tail == t->reader.next); /* its room is free at once, but that of the last one */
        }
    }
    ring_done(&t->reader);
    assert_int_equal(t->shared->tail, t->shared->head);
    assert_int_equal(got, n);
    assert_memory_equal(block, frame, n);
}

static void test_parts_at_every_place(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    for (size_t n = 3; n <= 3 * RING; n += n < 64 ? 1 : 7) {
        const size_t cuts[][3] = {{1, n - 1, n}, {n / 2, n / 2 + 1, n}, {n - 2, n - 1, n}, {1, 2, n}};
        for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
            pass_parts(&t, n, cuts[i], (unsigned)(n + i));
        pass(&t, n, (unsigned)n); /* and whole ones between them */
    }
    test_ring_finish(&t);
}

static void test_small_frames_are_one_record(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    for (unsigned i = 0; i < 4 * RING; i++) {
        size_t n = i % (ring_whole_max(RING) + 1), done = 0, got;
        const uint8_t *p;
        fill(block, n, i);
        assert_int_equal(ring_write(&t.writer, block, n, &done), RING_OK);
        assert_int_equal(ring_peek(&t.reader, &p, &got), RING_AGAIN); /* not before it is published */
        ring_publish(&t.writer);
        assert_int_equal(ring_peek(&t.reader, &p, &got), RING_OK);
        assert_int_equal(ring_peek(&t.reader, &p, &got), RING_OK); /* the same again */
        assert_int_equal(got, n);
        assert_int_equal((uintptr_t)p % RING_ALIGN, 0);
        assert_memory_equal(p, block, n);
        assert_int_not_equal(t.shared->tail, t.shared->head); /* its room is not free yet */
        ring_done(&t.reader);
        assert_int_equal(t.shared->tail, t.shared->head);
    }
    test_ring_finish(&t);
}

static void test_reserve_and_commit(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    assert_null(ring_reserve(&t.writer, ring_whole_max(RING) + 1));
    for (unsigned i = 0; i < 1000; i++) {
        size_t asked = i % (ring_whole_max(RING) + 1), n = asked / 2, got;
        const uint8_t *p;
        uint8_t *place = ring_reserve(&t.writer, asked);
        assert_non_null(place);
        fill(place, asked, i);
        assert_true(place >= t.data && place + asked <= t.data + RING);
        ring_commit(&t.writer, n);
        ring_publish(&t.writer);
        assert_int_equal(ring_peek(&t.reader, &p, &got), RING_OK);
        assert_int_equal(got, n);
        if (n > NEAR_PAYLOAD) /* shorter ones come with the head */
            assert_ptr_equal(p, place);
        assert_memory_equal(p, place, n);
        ring_done(&t.reader);
    }
    test_ring_finish(&t);
}

/* Sends n bytes and spoils them in the data, where only a reader who did not find them beside the head looks. */
static void send_spoilt(struct test_ring *t, size_t n, unsigned seed)
{
    size_t done = 0;
    uint64_t at = t->writer.head % RING + sizeof(struct ring_record);
    fill(block, n, seed);
    assert_int_equal(ring_write(&t->writer, block, n, &done), RING_OK);
    ring_publish(&t->writer);
    memset(t->data + at, 0xee, n);
}

static void test_a_short_frame_comes_with_the_head(void **state)
{
    (void)state;
    struct test_ring t;
    uint8_t sent[NEAR_PAYLOAD + 1];
    const uint8_t *p;
    size_t got;
    test_ring_init(&t, RING, &ring_sys);
    for (unsigned i = 0; i < 10 * RING; i++) {
        size_t n = i % (NEAR_PAYLOAD + 1);
        bool whole = t.writer.head % RING + sizeof t.shared->near <= RING; /* near the end it stands in the data only */
        if (!whole) {
            pass(&t, n, i);
            assert_int_equal(t.shared->near_at, 0);
            continue;
        }
        send_spoilt(&t, n, i);
        assert_int_equal(t.shared->near_at, RING_NEAR_AT(t.reader.next));
        fill(sent, n, i);
        memset(block, 0, n);
        if (i % 2 == 0) {
            assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &got), RING_OK);
            assert_memory_equal(block, sent, n);
        } else {
            assert_int_equal(ring_peek(&t.reader, &p, &got), RING_OK);
            assert_memory_equal(p, sent, n);
        }
        assert_int_equal(got, n);
        ring_done(&t.reader);
    }
    send_spoilt(&t, NEAR_PAYLOAD + 1, 1); /* too long for that */
    assert_int_equal(t.shared->near_at, 0);
    assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &got), RING_OK);
    assert_int_equal(block[0], 0xee);
    test_ring_finish(&t);
}

/* What stands beside the head is the last that was published; a reader who comes late finds the rest in the data. */
static void test_a_late_reader_finds_all(void **state)
{
    (void)state;
    struct test_ring t;
    uint8_t frame[NEAR_PAYLOAD];
    size_t got;
    test_ring_init(&t, RING, &ring_sys);
    for (unsigned round = 0; round < 300; round++) {
        unsigned many = 1 + round % 5;
        for (unsigned i = 0; i < many; i++) {
            size_t n = (round + i) % sizeof frame, done = 0;
            fill(frame, n, round + i);
            assert_int_equal(ring_write(&t.writer, frame, n, &done), RING_OK);
            if (round % 2 == 0 || i + 1 == many)
                ring_publish(&t.writer);
        }
        for (unsigned i = 0; i < many; i++) {
            size_t n = (round + i) % sizeof frame;
            assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &got), RING_OK);
            fill(frame, n, round + i);
            assert_int_equal(got, n);
            assert_memory_equal(block, frame, n);
            ring_done(&t.reader);
        }
    }
    test_ring_finish(&t);
}

static void test_a_hostile_record_beside_the_head(void **state)
{
    (void)state;
    static const struct {
        uint32_t bytes, flags;
        int rc;
    } rows[] = {
        {0, 0, RING_OK},
        {24, 0, RING_OK},     /* all that was published */
        {25, 0, RING_BROKEN}, /* one more */
        {NEAR_PAYLOAD, 0, RING_BROKEN},
        {UINT32_MAX, 0, RING_BROKEN},
        {UINT32_MAX - 7, 0, RING_BROKEN},
        {24, 4, RING_BROKEN},
        {0, RECORD_MORE, RING_BROKEN},
        {24, RECORD_PAD, RING_BROKEN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct test_ring t;
        size_t got = 0;
        test_ring_init(&t, RING, &ring_sys);
        send_spoilt(&t, 24, 7);
        memcpy(t.shared->near, &(struct ring_record){rows[i].bytes, rows[i].flags}, sizeof(struct ring_record));
        assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &got), rows[i].rc);
        assert_true(rows[i].rc != RING_OK || got == rows[i].bytes);
        test_ring_finish(&t);
    }
}

static void test_a_full_ring_says_so(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    unsigned sent = 0, received = 0;
    for (int round = 0; round < 50; round++) {
        for (;; sent++) {
            size_t done = 0;
            fill(block, 100, sent);
            if (ring_write(&t.writer, block, 100, &done) != RING_OK)
                break;
            assert_int_equal(done, 100);
        }
        ring_publish(&t.writer);
        assert_true(sent - received >= RING / (108 + 8) - 1);
        assert_null(ring_reserve(&t.writer, 100));
        for (int i = 0; i < 1 + round % 8; i++, received++) {
            uint8_t expected[100];
            const uint8_t *p;
            size_t n;
            fill(expected, 100, received);
            if (ring_peek(&t.reader, &p, &n) != RING_OK)
                break;
            assert_memory_equal(p, expected, 100);
            ring_done(&t.reader);
        }
    }
    test_ring_finish(&t);
}

static void test_big_frames_flow(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    int attempts = pass(&t, 40000, 5);
    assert_in_range(attempts, 40000 / RING, 40000 / (RING / 8)); /* neither at once nor in crumbs */
    const uint8_t *p;
    size_t n, done = 0;
    ring_write(&t.writer, block, 5000, &done);
    ring_publish(&t.writer);
    assert_in_range(done, RING / 2, RING);
    assert_int_equal(ring_peek(&t.reader, &p, &n), RING_FRAGMENTS);
    test_ring_finish(&t);
}

/* No memory in the middle of a frame: nothing is lost, the same call goes on later. */
static void test_no_memory_is_not_final(void **state)
{
    (void)state;
    struct test_ring t;
    uint8_t frame[800];
    size_t done = 0, n = 0;
    test_ring_init(&t, RING, &ring_sys);
    fill(frame, sizeof frame, 9);
    assert_int_equal(ring_write(&t.writer, frame, sizeof frame, &done), RING_OK);
    ring_publish(&t.writer);
    block_limit = 300;
    assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &n), RING_NO_MEMORY);
    assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &n), RING_NO_MEMORY);
    block_limit = BLOCK;
    assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &n), RING_OK);
    assert_int_equal(n, sizeof frame);
    assert_memory_equal(block, frame, n);
    test_ring_finish(&t);
}

static void test_limit(void **state)
{
    (void)state;
    struct test_ring t;
    size_t done = 0, n = 0;
    test_ring_init(&t, RING, &ring_sys);
    ring_write(&t.writer, block, 301, &done);
    ring_publish(&t.writer);
    assert_int_equal(ring_read(&t.reader, room, NULL, 300, &n), RING_LIMIT);
    assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &n), RING_LIMIT);
    const uint8_t *p;
    assert_int_equal(ring_peek(&t.reader, &p, &n), RING_LIMIT);
    assert_true(ring_has_data(&t.reader));
    assert_int_equal(ring_wait_data(&t.reader, UINT64_MAX, 0), RING_OK);
    test_ring_finish(&t);
}

/* ---- a hostile producer ---- */

static void put(struct test_ring *t, uint64_t at, uint32_t bytes, uint32_t flags)
{
    struct ring_record r = {bytes, flags};
    memcpy(t->data + at, &r, sizeof r);
}

static const struct {
    const char *what;
    uint64_t start;        /* where both sides stand */
    uint64_t head;         /* what the producer claims, relative to start */
    uint32_t bytes, flags; /* of the record at start */
    int expected;
} hostile[] = {
    {"sound", 0, 16, 8, 0, RING_OK},
    {"sound, up to the end", RING - 16, 16, 8, 0, RING_OK},
    {"sound, the whole ring", 0, RING, RING - 8, 0, RING_OK},
    {"head behind", 512, (uint64_t)-8, 0, 0, RING_BROKEN},
    {"head far ahead", 0, RING + 8, 0, 0, RING_BROKEN},
    {"head far, far ahead", 0, UINT64_MAX - 7, 0, 0, RING_BROKEN},
    {"head in the middle of a word", 0, 12, 0, 0, RING_BROKEN},
    {"longer than published", 0, 16, 9, 0, RING_BROKEN},
    {"longer than the ring", 0, RING, RING, 0, RING_BROKEN},
    {"length overflows", 0, RING, UINT32_MAX, 0, RING_BROKEN},
    {"length overflows by the header", 0, RING, UINT32_MAX - 7, 0, RING_BROKEN},
    {"beyond the end of data", RING - 16, 64, 32, 0, RING_BROKEN},
    {"unknown flag", 0, 16, 8, 4, RING_BROKEN},
    {"more and padding", 0, 16, 8, RECORD_MORE | RECORD_PAD, RING_BROKEN},
    {"padding from the start", 0, RING, RING - 8, RECORD_PAD, RING_BROKEN},
    {"padding longer than published", 512, 16, 8, RECORD_PAD, RING_BROKEN},
    {"padding, then nothing", 512, 512, 504, RECORD_PAD, RING_AGAIN},
    {"an empty fragment", 0, 16, 0, RECORD_MORE, RING_BROKEN},
    {"an empty frame", 0, 8, 0, 0, RING_OK},
    {"a fragment, then nothing", 0, 16, 8, RECORD_MORE, RING_AGAIN},
};

static void test_hostile_producer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        for (int in_place = 0; in_place < 2; in_place++) {
            struct test_ring t;
            const uint8_t *p;
            size_t n;
            test_ring_init(&t, RING, &ring_sys);
            t.reader.tail = t.reader.next = t.reader.head = t.shared->tail = hostile[i].start;
            put(&t, hostile[i].start, hostile[i].bytes, hostile[i].flags);
            t.shared->head = hostile[i].start + hostile[i].head;
            int rc = in_place ? ring_peek(&t.reader, &p, &n) : ring_read(&t.reader, room, NULL, BLOCK, &n);
            if (in_place && rc == RING_FRAGMENTS)
                rc = ring_read(&t.reader, room, NULL, BLOCK, &n);
            if (rc != hostile[i].expected)
                fail_msg("%s: %d instead of %d", hostile[i].what, rc, hostile[i].expected);
            if (rc == RING_BROKEN) { /* for good, even when the producer mends its ways */
                t.shared->head = t.shared->tail;
                assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &n), RING_BROKEN);
                assert_false(ring_arm_data(&t.reader));
            }
            test_ring_finish(&t);
        }
    }
}

static void test_head_may_not_go_back(void **state)
{
    (void)state;
    struct test_ring t;
    const uint8_t *p;
    size_t n;
    test_ring_init(&t, RING, &ring_sys);
    put(&t, 0, 8, RECORD_MORE);
    t.shared->head = 16;
    assert_int_equal(ring_read(&t.reader, room, NULL, BLOCK, &n), RING_AGAIN);
    t.shared->head = 8;
    assert_true(ring_has_data(&t.reader));
    assert_int_equal(ring_peek(&t.reader, &p, &n), RING_BROKEN);
    test_ring_finish(&t);
}

/* Fragments of one byte each: bounded by the limit and by the ring, one ringful a call. */
static void test_one_call_reads_one_ringful(void **state)
{
    (void)state;
    struct test_ring t;
    size_t n;
    test_ring_init(&t, RING, &ring_sys);
    for (uint64_t at = 0; at < RING; at += 16)
        put(&t, at, 1, RECORD_MORE);
    for (uint64_t i = 1; i <= 10; i++) {
        t.shared->head = i * RING;
        assert_int_equal(ring_read(&t.reader, room, NULL, 700, &n), RING_AGAIN);
        assert_int_equal(t.shared->tail, i * RING);
    }
    t.shared->head += RING;
    assert_int_equal(ring_read(&t.reader, room, NULL, 700, &n), RING_LIMIT);
    test_ring_finish(&t);
}

/* ---- a hostile consumer ---- */

static void test_hostile_consumer(void **state)
{
    (void)state;
    static const int64_t tails[] = {8, -8, 4, 1 << 20, INT64_MIN};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        for (size_t n = 400; n <= 4000; n += 3600) {
            struct test_ring t;
            size_t done = 0;
            test_ring_init(&t, RING, &ring_sys);
            while (ring_write(&t.writer, block, 400, &(size_t){0}) == RING_OK)
                continue;
            ring_publish(&t.writer);
            t.shared->tail = tails[i] > 4 ? t.shared->head + (uint64_t)tails[i] : (uint64_t)tails[i];
            assert_int_equal(ring_write(&t.writer, block, n, &done), RING_BROKEN);
            t.shared->tail = t.shared->head;
            assert_int_equal(ring_write(&t.writer, block, n, &done), RING_BROKEN);
            assert_null(ring_reserve(&t.writer, 1));
            assert_false(ring_arm_room(&t.writer));
            assert_int_equal(ring_wait_room(&t.writer, UINT64_MAX, 0), RING_OK);
            test_ring_finish(&t);
        }
    }
}

/* ---- bells ---- */

static int wakes;
static int count_wake(const uint32_t *word, int n)
{
    (void)word;
    assert_int_equal(n, 1);
    wakes++;
    return 0;
}

static void test_bells(void **state)
{
    (void)state;
    struct ring_sys sys = ring_sys;
    sys.futex_wake = count_wake;
    struct test_ring t;
    const uint8_t *p;
    size_t n, done = 0;
    test_ring_init(&t, RING, &sys);
    wakes = 0;
    assert_true(ring_arm_data(&t.reader));
    assert_int_equal(t.shared->data_bell, RING_SOCKET);
    assert_false(ring_publish(&t.writer)); /* nothing to tell */
    ring_write(&t.writer, block, 100, &done);
    assert_true(ring_publish(&t.writer));
    assert_int_equal(t.shared->data_bell, RING_AWAKE);
    ring_write(&t.writer, block, 100, &done);
    assert_false(ring_publish(&t.writer)); /* asked once, rung once */
    assert_false(ring_arm_data(&t.reader));
    assert_int_equal(t.shared->data_bell, RING_AWAKE);
    t.shared->data_bell = RING_FUTEX;
    ring_write(&t.writer, block, 100, &done);
    assert_false(ring_publish(&t.writer));
    assert_int_equal(wakes, 1);
    t.shared->data_bell = 77;
    ring_write(&t.writer, block, 100, &done);
    assert_false(ring_publish(&t.writer)); /* rubbish means nothing */
    assert_int_equal(wakes, 1);
    while (ring_write(&t.writer, block, 100, &done) == RING_OK)
        ring_publish(&t.writer);
    assert_true(ring_arm_room(&t.writer));
    assert_int_equal(ring_peek(&t.reader, &p, &n), RING_OK);
    assert_true(ring_done(&t.reader));
    assert_false(ring_done(&t.reader));
    assert_false(ring_arm_room(&t.writer)); /* there is room, it only has not looked */
    assert_int_equal(t.shared->room_bell, RING_AWAKE);
    t.shared->data_bell = RING_SOCKET;
    ring_nudge(&sys, &t.shared->data_bell);
    assert_int_equal(t.shared->data_bell, RING_SOCKET);
    ring_disarm_data(&t.reader);
    assert_int_equal(t.shared->data_bell, RING_AWAKE);
    ring_disarm_room(&t.writer);
    test_ring_finish(&t);
}

/* Room that ring_pass makes is told of when it has become an eighth of the ring, or by ring_settle. */
static void test_room_is_told_late(void **state)
{
    (void)state;
    struct test_ring t;
    test_ring_init(&t, RING, &ring_sys);
    for (unsigned i = 0; i < 4 * RING; i++) {
        size_t done = 0, got;
        const uint8_t *p;
        fill(block, 24, i);
        assert_int_equal(ring_write(&t.writer, block, 24, &done), RING_OK);
        ring_publish(&t.writer);
        assert_int_equal(ring_peek(&t.reader, &p, &got), RING_OK);
        assert_memory_equal(p, block, 24);
        uint64_t tail = t.shared->tail, untold = t.shared->head - tail;
        assert_false(ring_pass(&t.reader));
        assert_int_equal(t.shared->tail, untold < RING / 8 ? tail : t.shared->head);
        assert_int_equal(ring_peek(&t.reader, &p, &got), RING_AGAIN);
        if (i % 7 == 0) {
            assert_false(ring_settle(&t.reader));
            assert_int_equal(t.shared->tail, t.shared->head);
        }
    }
    test_ring_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_at_every_place),
        cmocka_unit_test(test_parts_at_every_place),
        cmocka_unit_test(test_small_frames_are_one_record),
        cmocka_unit_test(test_room_is_told_late),
        cmocka_unit_test(test_reserve_and_commit),
        cmocka_unit_test(test_a_short_frame_comes_with_the_head),
        cmocka_unit_test(test_a_late_reader_finds_all),
        cmocka_unit_test(test_a_hostile_record_beside_the_head),
        cmocka_unit_test(test_a_full_ring_says_so),
        cmocka_unit_test(test_big_frames_flow),
        cmocka_unit_test(test_no_memory_is_not_final),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_hostile_producer),
        cmocka_unit_test(test_head_may_not_go_back),
        cmocka_unit_test(test_one_call_reads_one_ringful),
        cmocka_unit_test(test_hostile_consumer),
        cmocka_unit_test(test_bells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
