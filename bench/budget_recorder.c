/* recorder: what an event of the flight recorder costs, against one reading of the clock. The writer is the extension's own (src/ring/recorder.h), on a
 * ring as long as a process worker has; an event is the beginning of a call, or its end. */
#include "bench.h"
#include "ring/recorder.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECORDS = 8192, IN_A_ROW = 1000, BLOCKS = 400 };

static uint64_t read_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* As the host decides it: where the kernel tells the time by the counter. */
static bool has_ticks(void)
{
    char name[32] = "";
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    bool is = f != NULL && fgets(name, sizeof name, f) != NULL &&
              (strcmp(name, "tsc\n") == 0 || strcmp(name, "arch_sys_counter\n") == 0);
    if (f != NULL)
        (void)fclose(f);
    return is;
}

static void write_events(struct recorder_lane *l)
{
    for (uint64_t i = 0; i < IN_A_ROW / 2; i++) {
        recorder_call_begins(l, l->ticks ? cpu_ticks() : read_clock(), i, 1);
        recorder_call_ends(l, l->ticks ? cpu_ticks() : read_clock(), RECORDER_OK);
    }
}

static void read_clocks(void)
{
    for (int i = 0; i < IN_A_ROW; i++)
        (void)read_clock();
}

int run_recorder(struct bench *b, int clock, struct result *ret)
{
    struct recorder_lane l = {.ring = calloc(RECORDS, sizeof *l.ring), .mask = RECORDS - 1, .ticks = has_ticks()};
    if (l.ring == NULL)
        return result_fail(ret, "out of memory");
    for (uint32_t i = 0; i < RECORDS / IN_A_ROW * 2 + 2; i++) /* its pages are there */
        write_events(&l);
    b->samples.n = 0;
    for (int i = 0; i < BLOCKS; i++) {
        uint64_t start = clock_now();
        if (clock != 0)
            read_clocks();
        else
            write_events(&l);
        samples_add(&b->samples, clock_now() - start);
    }
    samples_reduce(&b->samples, b->clock_ns, ret);
    result_divide(ret, IN_A_ROW);
    free(l.ring);
    return BENCH_OK;
}
