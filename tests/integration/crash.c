/* Ways to die in C, for test_crashes.py and test_crash_attacks.py. */
#define _GNU_SOURCE
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
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

/* ---- attacks ---- */

static int __attribute__((noinline)) crash_hidden(long at)
{
    crash_write(at);
    return 3;
}

/* The innermost function with a name that is not exported. */
EXPORT int crash_static(long at)
{
    return crash_hidden(at) + 1;
}

/* Room for locals that the stack has not got: what is touched first is its guard. */
EXPORT int crash_alloca(void)
{
    pthread_attr_t attr;
    void *end;
    size_t size;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &end, &size);
    pthread_attr_destroy(&attr);
    volatile char *far = alloca((size_t)((char *)__builtin_frame_address(0) - (char *)end + 512));
    far[0] = 1;
    return far[0];
}

/* glibc finds out, and aborts with a word on it. */
EXPORT int crash_heap(void)
{
    volatile size_t *volatile block = malloc(2000);
    block[-1] = (size_t)-16 | 1; /* its size */
    free((void *)block);
    return block == NULL;
}

/* The heap refuses to be written to: the fault comes inside of malloc(), with its locks held. */
EXPORT int crash_inside_malloc(void)
{
    static char maps[65536];
    uintptr_t from = 0, to = 0;
    int fd = open("/proc/self/maps", O_RDONLY);
    for (size_t n = 0, got = 1; got > 0 && n < sizeof maps - 1; n += got)
        got = (size_t)read(fd, maps + n, sizeof maps - 1 - n);
    char *heap = strstr(maps, "[heap]");
    while (heap != NULL && heap > maps && heap[-1] != '\n')
        heap--;
    if (heap == NULL || sscanf(heap, "%lx-%lx", &from, &to) != 2)
        return 0;
    mprotect((void *)from, to - from, PROT_READ);
    for (size_t n = 16; n < 1 << 20; n += 16)
        *(char *volatile *)&heap = malloc(n);
    return 1;
}

static void on_user_signal(int signum)
{
    crash_write(48);
}

EXPORT int crash_in_a_handler(void)
{
    signal(SIGUSR2, on_user_signal);
    return raise(SIGUSR2);
}

EXPORT int block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    return pthread_sigmask(SIG_SETMASK, &all, NULL);
}

EXPORT int ignore_abort(void)
{
    return signal(SIGABRT, SIG_IGN) == SIG_ERR;
}

/* A stack for handlers with what bytes it has, and behind it nothing. */
EXPORT int replace_stack(long bytes)
{
    char *area = mmap(NULL, (size_t)bytes + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t own = {.ss_sp = area + 65536, .ss_size = (size_t)bytes};
    mprotect(own.ss_sp, own.ss_size, PROT_READ | PROT_WRITE);
    return sigaltstack(&own, NULL);
}

static pthread_barrier_t together;

static void *run_together(void *arg)
{
    pthread_barrier_wait(&together);
    if ((long)arg % 3 == 2)
        abort();
    crash_below(8 * ((long)arg + 1));
    return NULL;
}

EXPORT int crash_together(int threads)
{
    pthread_t thread;
    pthread_barrier_init(&together, NULL, (unsigned)threads);
    for (long i = 0; i < threads; i++)
        pthread_create(&thread, NULL, run_together, (void *)i);
    return pthread_join(thread, NULL);
}

static struct sigaction before[65];
static sigjmp_buf out;

/* As libraries do that print something first, and then leave it to who had the signal before. */
static void on_fault_pass(int signum, siginfo_t *info, void *context)
{
    sigaction(signum, &before[signum], NULL);
    raise(signum);
}

static void on_fault_call(int signum, siginfo_t *info, void *context)
{
    before[signum].sa_sigaction(signum, info, context);
}

static void on_fault_jump(int signum, siginfo_t *info, void *context)
{
    siglongjmp(out, 1);
}

static void on_fault_stay(int signum, siginfo_t *info, void *context)
{
    for (;;)
        ;
}

static void on_fault_again(int signum, siginfo_t *info, void *context)
{
    crash_write(16);
}

EXPORT int put_handler_over(int kind)
{
    void (*const handlers[])(int, siginfo_t *, void *) = {on_fault_pass, on_fault_call,  on_fault_jump,
                                                          on_fault_stay, on_fault_again, on_fault_pass};
    struct sigaction act = {.sa_sigaction = handlers[kind], .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    if (kind == 5) /* what it sends comes when it has returned */
        act.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return sigaction(SIGSEGV, &act, &before[SIGSEGV]);
}

EXPORT int crash_and_come_back(long at)
{
    int came_back = sigsetjmp(out, 1);
    if (came_back == 0)
        crash_write(at);
    sigaction(SIGSEGV, &before[SIGSEGV], NULL);
    return came_back;
}

static int armed;

EXPORT int arm(void)
{
    return armed = 1;
}

__attribute__((destructor)) static void crash_at_the_end(void)
{
    if (armed)
        crash_write(40);
}

EXPORT void leave(int status)
{
    exit(status);
}

/* The page is written to, without pause, until nothing runs any more. */
static void *scribble(void *page)
{
    for (unsigned i = 0;; i++)
        memset(page, (int)i, 16384);
}

EXPORT int write_to_the_page(void *page)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, scribble, page);
}
