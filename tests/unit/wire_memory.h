/* For the unit tests of wire: an allocator that counts live blocks and fails the k-th allocation, and a runner that tries every k. */
#ifndef TEST_WIRE_MEMORY_H
#define TEST_WIRE_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <snakepit/snakepit.h>

#include "base/alloc.h"

struct memory {
    long live, count, fail_at; /* fail_at: 0 never; from 1 */
    size_t largest;
};

static struct memory memory;

static int memory_fails(size_t n)
{
    if (n > memory.largest)
        memory.largest = n;
    return ++memory.count == memory.fail_at;
}

static void *memory_alloc(size_t n, void *user)
{
    (void)user;
    void *p = memory_fails(n) ? NULL : malloc(n);
    memory.live += p != NULL;
    return p;
}

static void *memory_realloc(void *block, size_t n, void *user)
{
    (void)user;
    return memory_fails(n) ? NULL : realloc(block, n);
}

static void memory_free(void *block, void *user)
{
    (void)user;
    memory.live--;
    free(block);
}

static const pit_allocator memory_allocator = {sizeof(pit_allocator), memory_alloc, memory_realloc, memory_free, NULL};

/* The group's set-up and tear-down: whatever a test leaves behind fails it. */
static int memory_setup(void **state)
{
    (void)state;
    memory = (struct memory){0};
    return mem_set_allocator(&memory_allocator);
}

static int memory_teardown(void **state)
{
    (void)state;
    if (memory.live != 0)
        print_error("%ld blocks are left\n", memory.live);
    return memory.live == 0 ? 0 : -1;
}

/* Runs op with its k-th allocation failing, for every k until none failed. op returns true when it got all that it wanted; it must
 * clean up in any case. Returns the number of allocations of the run that succeeded. */
static inline long memory_try_all(int (*op)(void *), void *user)
{
    long before = memory.live;
    for (long k = 1;; k++) {
        memory.count = 0;
        memory.fail_at = k;
        int complete = op(user);
        long used = memory.count;
        memory.fail_at = 0;
        if (memory.live != before)
            fail_msg("allocation %ld: %ld blocks are left", k, memory.live - before);
        if (used < k) {
            if (!complete)
                fail_msg("no allocation failed, and yet the operation did");
            return used;
        }
    }
}

#define WIRE_TEST(name) cmocka_unit_test_setup_teardown(name, memory_setup, memory_teardown)

static inline char *read_whole(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("cannot open %s", path);
    size_t n = 0, cap = 1 << 20;
    char *data = malloc(cap);
    for (size_t got; (got = fread(data + n, 1, cap - n, f)) != 0;)
        if ((n += got) == cap)
            data = realloc(data, cap *= 2);
    fclose(f);
    *ret_n = n;
    return data;
}

/* Bytes of a text of hexadecimal digits; malloc'd. */
static inline uint8_t *from_hex(const char *hex, size_t *ret_n)
{
    size_t n = strlen(hex) / 2;
    uint8_t *data = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        char two[3] = {hex[i * 2], hex[i * 2 + 1], '\0'};
        data[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    *ret_n = n;
    return data;
}

#endif
