/* The CPU on which this thread runs, in about a nanosecond: glibc (2.35 and later) registers a restartable sequence for each thread, whose
 * cpu_id the kernel keeps up to date. Without it, by the vDSO. The answer may be old as soon as it is given: good enough for a
 * decision to spin. Thread: any. Never fails (0 when nothing knows). */
#ifndef PIT_RING_CPU_H
#define PIT_RING_CPU_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__linux__) && defined(__x86_64__)
#define CPU_HAS_RSEQ 1
static inline char *cpu_thread_pointer(void)
{
    char *tp;
    __asm__("mov %%fs:0, %0" : "=r"(tp));
    return tp;
}
#elif defined(__linux__) && defined(__aarch64__)
#define CPU_HAS_RSEQ 1
static inline char *cpu_thread_pointer(void)
{
    return __builtin_thread_pointer();
}
#endif

#ifdef CPU_HAS_RSEQ
/* glibc's, declared here because <sys/rseq.h> is younger than some systems that we build on; absent at run time: null. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));  /* NOLINT(bugprone-reserved-identifier) */
extern const unsigned int __rseq_size __attribute__((weak)); /* NOLINT(bugprone-reserved-identifier) */
#define CPU_RSEQ_ID 4                                        /* offset of cpu_id in struct rseq (kernel ABI) */
#endif

static inline int cpu_current(void)
{
    int cpu;
#ifdef CPU_HAS_RSEQ
    if (&__rseq_size != NULL && __rseq_size != 0) {
        cpu = (int)__atomic_load_n((const int32_t *)(const void *)(cpu_thread_pointer() + __rseq_offset + CPU_RSEQ_ID),
                                   __ATOMIC_RELAXED);
        if (cpu >= 0)
            return cpu;
    }
#endif
    cpu = sched_getcpu();
    return cpu < 0 ? 0 : cpu;
}

/* The CPU's own count of time, in about eight nanoseconds. Only where the kernel trusts it (os_ops.has_ticks) is it the same on all CPUs. */
static inline uint64_t cpu_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t n;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(n));
    return n;
#else
    return 0;
#endif
}

/* One step of a spin: tells the core that it waits. */
static inline void cpu_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
