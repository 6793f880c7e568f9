/* sim [--schedules N] [--seed S] [--seconds T] [--trace]: runs schedules S, S + 1, ...; the first that breaks a property ends it with status 1, its
 * seed and how to see it again. See sim.h and docs/internals/simulator.md. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

enum { STEP_SECONDS = 20 };

struct sim sim;
static long blocks; /* of memory that the library holds */

/* xorshift64*, seeded through splitmix64 */
uint64_t sim_random(void)
{
    uint64_t x = sim.rng;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    sim.rng = x;
    return x * UINT64_C(2685821657736338717);
}

static uint64_t scrambled(uint64_t seed)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z != 0 ? z : 1;
}

void sim_tell(const char *format, ...)
{
    va_list ap;
    printf("%10.3f ms  ", (double)sim.now / 1e6);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
}

void sim_fail(const char *format, ...)
{
    va_list ap;
    printf("seed %llu, step %llu, %.3f ms: ", (unsigned long long)sim.seed, (unsigned long long)sim.steps,
           (double)sim.now / 1e6);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\nto see it again: sim --seed %llu --schedules 1 --trace\n", (unsigned long long)sim.seed);
    fflush(stdout);
    _exit(1);
}

/* ---- memory ---- */

static void *count_alloc(size_t n, void *user)
{
    (void)user;
    void *block = malloc(n);
    blocks += block != NULL;
    return block;
}

static void *count_realloc(void *block, size_t n, void *user)
{
    (void)user;
    void *to = realloc(block, n);
    blocks += block == NULL && to != NULL;
    return to;
}

static void count_free(void *block, void *user)
{
    (void)user;
    blocks -= block != NULL;
    free(block);
}

/* ---- schedules ---- */

/* A fiber that never gives way is not seen by the steps: the time of this process is. */
static void on_too_long(int sig)
{
    (void)sig;
    sim_fail("a step takes longer than %d s", STEP_SECONDS);
}

static void watch_clock(void)
{
    const struct itimerval limit = {.it_value.tv_sec = STEP_SECONDS};
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
}

static void run_one(uint64_t seed, bool trace)
{
    sim = (struct sim){.seed = seed, .rng = scrambled(seed), .now = UINT64_C(1000000000), .trace = trace};
    watch_clock();
    fiber_reset();
    fd_reset();
    file_reset();
    long before = blocks;
    scenario_begin();
    scenario_run();
    scenario_end();
    proc_clear();
    if (file_count() != 0)
        sim_fail("%u files are open at the end", file_count());
    if (blocks != before)
        sim_fail("%ld blocks of memory are left", blocks - before);
}

static double seconds_since(const struct timespec *began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
    unsigned long long schedules = 1000, seed = 1, steps = 0, calls = 0, deaths = 0, guards = 0, done = 0;
    double limit = 0;
    bool trace = false;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else if (strcmp(argv[i], "--schedules") == 0 && more) {
            schedules = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seconds") == 0 && more) {
            limit = strtod(argv[++i], NULL);
            schedules = UINT64_MAX;
        } else {
            fprintf(stderr, "usage: sim [--schedules N | --seconds T] [--seed S] [--trace]\n");
            return 2;
        }
    }
    const pit_allocator counting = {
        .size = sizeof counting, .alloc = count_alloc, .realloc = count_realloc, .free = count_free};
    struct timespec began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    pit_set_allocator(&counting);
    signal(SIGVTALRM, on_too_long);
    environ = (char *[]){NULL};
    for (; done < schedules && (limit == 0 || seconds_since(&began) < limit); done++) {
        run_one(seed + done, trace);
        steps += sim.steps;
        calls += n_asks;
        deaths += sim.deaths;
        guards += sim.guard_kills;
    }
    printf("%llu schedules from seed %llu: %llu steps, %llu calls, %llu processes ended, %llu guards disturbed; every property "
           "held (%.1f s)\n",
           done, seed, steps, calls, deaths, guards, seconds_since(&began));
    scenario_tell();
    return 0;
}
