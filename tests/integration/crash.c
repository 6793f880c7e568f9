/* Ways to die in C, for test_crashes.py. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), noinline, noclone))

EXPORT int crash_write(long at)
{
    *(volatile int *)at = 1;
    return 1;
}

EXPORT int crash_below(long at)
{
    return crash_write(at) + 1;
}

static void *run(void *arg)
{
    crash_below((long)arg);
    return NULL;
}

/* A thread that Python knows nothing of, while this one holds the interpreter. */
EXPORT int crash_in_a_thread(long at)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, (void *)at) == 0)
        pthread_join(thread, NULL);
    return 0;
}

/* glibc aborts, inside of free(). */
EXPORT int crash_in_malloc(void)
{
    void *volatile block = malloc(24);
    void *same = block;
    free(block);
    block = same;
    free(block);
    return block == same;
}

EXPORT int crash_illegal(void)
{
    __builtin_trap();
}

EXPORT int crash_bus(void)
{
    char name[] = "/tmp/snakepit-crash-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return map[100]; /* behind the end of the file */
}

EXPORT int crash_fpe(volatile int by)
{
    return 1000 / by;
}

/* The stack is rubbish for some pages above: whoever unwinds it faults, or gets lost. */
EXPORT int crash_with_a_spoilt_stack(void)
{
    volatile char *here = __builtin_frame_address(0);
    for (long i = 0; i < 512; i++)
        here[i] = 0x41;
    return crash_write(16);
}

EXPORT int crash_overflow(volatile int depth)
{
    volatile char room[2048];
    room[0] = (char)depth;
    return crash_overflow(depth + 1) + room[0];
}

/* Somebody else's handler. */
EXPORT int replace_handler(void)
{
    return signal(SIGSEGV, SIG_DFL) == SIG_ERR;
}
