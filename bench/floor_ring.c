/* The floor: a minimal ring between two C processes, with its own code, so that it stays an independent yardstick for the library's ring.
 *
 * 32-byte messages in slots of a shared memfd, one ring in each direction, the same policy of waiting as the library's: spin for at most
 * 50 us and only while the other side last ran on another CPU, then sleep in a futex on the bell word itself. Pinned to one CPU this is the
 * "futex ring", since nobody ever spins there.
 *
 * At most one message is under way (request, reply), so a ring cannot overflow and the producer need not look at the tail. */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_SLOTS 64
#define RING_SPIN_NS 50000
#define RING_LOOKS 128 /* pauses between two looks at the other's CPU and at the clock */
#define RING_LINE 64

struct ring_message {
    uint64_t number;
    uint8_t rest[24];
};

struct ring_one_way {
    _Alignas(RING_LINE) _Atomic uint64_t head;
    _Atomic uint32_t head_cpu;
    _Alignas(RING_LINE) _Atomic uint64_t tail;
    _Alignas(RING_LINE) _Atomic uint32_t asleep; /* the futex word: 1 while the consumer sleeps */
    _Alignas(RING_LINE) struct ring_message slots[RING_SLOTS];
};

struct ring_both_ways {
    struct ring_one_way request, reply;
};

struct ring_floor {
    struct ring_both_ways *map;
    pid_t pid;
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void ring_send(struct ring_one_way *r, const struct ring_message *m)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    r->slots[head % RING_SLOTS] = *m;
    atomic_store_explicit(&r->head_cpu, (uint32_t)sched_getcpu(), memory_order_relaxed);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst); /* the head before the look at the bell */
    if (atomic_load_explicit(&r->asleep, memory_order_relaxed) != 0 && atomic_exchange(&r->asleep, 0) != 0)
        syscall(SYS_futex, &r->asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static bool ring_has(const struct ring_one_way *r, uint64_t tail)
{
    return atomic_load_explicit(&r->head, memory_order_acquire) != tail;
}

/* True when something came. The peer is the producer; where it ran last is beside its head. */
static bool ring_spin(const struct ring_one_way *r, uint64_t tail)
{
    uint64_t start = 0;
    for (;;) {
        if (atomic_load_explicit(&r->head_cpu, memory_order_relaxed) == (uint32_t)sched_getcpu())
            return false;
        for (int i = 0; i < RING_LOOKS; i++) {
            if (ring_has(r, tail))
                return true;
            cpu_relax();
        }
        uint64_t now = clock_now();
        if (start == 0)
            start = now;
        else if (now - start > RING_SPIN_NS)
            return false;
    }
}

static void ring_receive(struct ring_one_way *r, struct ring_message *m)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    while (!ring_has(r, tail) && !ring_spin(r, tail)) {
        atomic_store(&r->asleep, 1);
        if (!ring_has(r, tail))
            syscall(SYS_futex, &r->asleep, FUTEX_WAIT, 1, NULL, NULL, 0);
        atomic_store_explicit(&r->asleep, 0, memory_order_relaxed);
    }
    *m = r->slots[tail % RING_SLOTS];
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
}

int role_ring(void)
{
    struct ring_both_ways *map = mmap(NULL, sizeof *map, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, 3, 0);
    if (map == MAP_FAILED)
        return 1;
    for (;;) {
        struct ring_message m;
        ring_receive(&map->request, &m);
        m.number++;
        ring_send(&map->reply, &m);
    }
}

static int ring_call(void *ctx, uint32_t n)
{
    struct ring_floor *f = ctx;
    struct ring_message m = {.number = n};
    ring_send(&f->map->request, &m);
    ring_receive(&f->map->reply, &m);
    return m.number == (uint64_t)n + 1 ? 0 : -1;
}

static struct ring_floor *ring_floor_create(void)
{
    int fd = -1;
    struct ring_floor *f = calloc(1, sizeof *f);
    struct ring_both_ways *map = f != NULL ? memory_share(sizeof *map, &fd) : NULL;
    if (map == NULL) {
        free(f);
        return NULL;
    }
    f->map = map;
    f->pid = child_spawn_role("ring", &fd, 1);
    close(fd);
    return f;
}

int run_c_ring(struct bench *b, int place, struct result *ret)
{
    if (b->ring == NULL)
        b->ring = ring_floor_create();
    if (b->ring == NULL || b->ring->pid <= 0)
        return result_fail(ret, "the other side of the C ring cannot be started");
    place_thread(b, (enum place)place);
    place_process(b, b->ring->pid, (enum place)place);
    return measure_loop(b, ring_call, b->ring, 0, ret);
}

void ring_floor_close(struct bench *b)
{
    if (b->ring == NULL)
        return;
    child_end(b->ring->pid);
    munmap(b->ring->map, sizeof *b->ring->map);
    free(b->ring);
    b->ring = NULL;
}
