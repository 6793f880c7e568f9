/* The last words of a worker that dies of a fault: the handler of the fatal signals fills the crash page (src/ring/crash_page.h) for the host
 * to read when the process has ended, and leaves the end to whoever had the signal before, mostly to the kernel: the exit status is the
 * true signal.
 *
 * Invariants
 *  1. Only async-signal-safe functions, and memory that is there already. Beside these: faulthandler's writer of stacks, which is made for such
 *     handlers, and libgcc's unwinder, loaded beforehand.
 *  2. The report is made in parts. A fault inside a part, or its time running out, ends that part and no more: the rest is still told.
 *  3. It is made once, by the first thread that faults, in the process that asked for it: another thread that faults meanwhile waits for
 *     the end, and a process that the worker has forked goes straight to what stood there before.
 *  4. A handler that stands already is not replaced, unless it is faulthandler's, which is called afterwards: a runtime in the same process may live
 *     from its faults. The page says for which signals there is a handler.
 *  5. It runs on a stack of its own on the main thread and on those of lanes, so that an overflow can be told. Behind it lies a page that nobody
 *     may touch, and of a stack that user code has given instead no more is used than it has: what has no room there is not told.
 *  6. A handler that user code has installed over ours and that sends the signal once more, as faulthandler's does, hides no fault: what is
 *     told is the one that it was called for, which the kernel has left on the stack.
 *
 * What is not told: a death by a signal that cannot be caught; the overflow of a stack of a thread that user code has started; what a handler
 * that user code installs later keeps to itself.
 *
 * Failure: a part that is missing is marked as such. Thread: prepare and watch the main one. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "_snakepit_crash.h"
#include "_snakepit_glibc.h"
#include "_snakepit_look.h"
#include "ring/segment.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define STACK_BYTES (96 * 1024)
#define GUARD_BYTES ((size_t)64 * 1024) /* the largest page there is */
#define STACK_PYTHON (8 * 1024)         /* what a part needs, with a handler inside of it */
#define STACK_NATIVE (24 * 1024)
#define END_PAUSES 120               /* of 50 ms */
#define PART_NS UINT64_C(999999999)  /* for one part of the report: what takes longer waits for a lock */
#define SYMBOL_NS UINT64_C(20000000) /* of CPU time, until names are not looked for any more */

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define FATAL ((int)(sizeof fatal / sizeof fatal[0]))

static struct {
    struct crash_page *page;
    pid_t pid; /* of the process that asked for it */
    bool prepared;
    pthread_key_t stack; /* of each thread that has got one of us */
    bool has_key;
    struct sigaction before[FATAL];
} crash;

static struct {  /* touched in a crash only */
    pid_t owner; /* atomic: the thread that reports */
    volatile bool in_part, has_timer, has_cpu_timer;
    int timer, cpu_timer;
    bool passed_on[FATAL]; /* atomic */
    sigjmp_buf escape;
    struct crash_room room;
} report;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Another process that has the CPU shall not cost names. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* ---- parts ---- */

static void on_time_up(int signum, siginfo_t *info, void *context)
{
    (void)signum, (void)context;
    if (info->si_code == SI_TIMER && report.in_part && report.owner == thread_id())
        siglongjmp(report.escape, 1);
}

/* A lock that some other thread holds for ever would keep the worker from dying. */
static void begin_timers(void)
{
    struct sigaction act = {.sa_sigaction = on_time_up, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    sigset_t set;
    event.sigev_notify_thread_id = report.owner;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    if (sigaction(SIGALRM, &act, NULL) != 0 || sigprocmask(SIG_UNBLOCK, &set, NULL) != 0)
        return;
    report.has_timer = syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &report.timer) == 0;
    report.has_cpu_timer = syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &report.cpu_timer) == 0;
}

static void set_timers(uint64_t ns, uint64_t cpu_limit_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = 0, .tv_nsec = (long)ns}};
    if (report.has_timer)
        syscall(SYS_timer_settime, report.timer, 0, &when, NULL);
    when.it_value.tv_nsec = (long)cpu_limit_ns;
    if (report.has_cpu_timer)
        syscall(SYS_timer_settime, report.cpu_timer, 0, &when, NULL);
}

void crash_run_part(uint32_t part, void (*fn)(struct crash_page *page, void *arg), void *arg, uint64_t cpu_limit_ns)
{
    struct crash_page *page = crash.page;
    if (sigsetjmp(report.escape, 1) == 0) {
        report.in_part = true;
        set_timers(PART_NS, cpu_limit_ns);
        fn(page, arg);
        report.in_part = false;
        page->told |= part;
    } else {
        report.in_part = false;
        page->failed |= part;
    }
    set_timers(0, 0);
}

void crash_part_failed(uint32_t part)
{
    crash.page->failed |= part;
}

/* ---- the native stack ---- */

static void find_modules(struct crash_page *page, void *unused)
{
    (void)unused;
    crash_find_modules(page, &report.room);
}

static void find_symbols(struct crash_page *page, void *unused)
{
    (void)unused;
    if (!crash_find_symbols(page, &report.room, cpu_ns, cpu_ns() + SYMBOL_NS))
        page->failed |= CRASH_SYMBOLS;
}

static void tell_native(struct crash_page *page, void *context)
{
    crash_tell_frames(page, context);
    crash_run_part(CRASH_SYMBOLS, find_modules, NULL, 0);
    if ((page->told & CRASH_SYMBOLS) != 0)
        crash_run_part(CRASH_SYMBOLS, find_symbols, NULL, 0);
}

/* ---- the handler ---- */

static void tell_usage(struct crash_page *page)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return;
    page->peak_bytes = (uint64_t)u.ru_maxrss * 1024;
    page->user_us = (uint64_t)u.ru_utime.tv_sec * 1000000u + (uint64_t)u.ru_utime.tv_usec;
    page->system_us = (uint64_t)u.ru_stime.tv_sec * 1000000u + (uint64_t)u.ru_stime.tv_usec;
    page->faults = (uint64_t)u.ru_majflt;
}

void crash_tell_signal(struct crash_page *page, const siginfo_t *info)
{
    page->signal = info->si_signo;
    page->code = info->si_code;
    page->address = info->si_code > 0 ? (uint64_t)(uintptr_t)info->si_addr : 0;
    page->sender = info->si_code > 0 ? 0 : (uint32_t)info->si_pid;
}

static void tell_facts(struct crash_page *page, const siginfo_t *info, void *context)
{
    page->pid = (uint32_t)crash.pid;
    page->tid = (uint32_t)report.owner;
    crash_tell_signal(page, info);
    page->pc = crash_pc(context);
    page->began_ns = now_ns();
    prctl(PR_GET_NAME, page->thread);
    tell_usage(page);
    __atomic_store_n(&page->state, CRASH_BEGUN, __ATOMIC_RELEASE);
}

/* Of a stack for handlers, where it runs on one. */
static size_t stack_left(const ucontext_t *u)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), begin = (uintptr_t)u->uc_stack.ss_sp;
    bool on_it = (u->uc_stack.ss_flags & SS_DISABLE) == 0 && here >= begin && here - begin < u->uc_stack.ss_size;
    return on_it ? here - begin : SIZE_MAX;
}

static void tell_all(const siginfo_t *info, void *context)
{
    struct crash_page *page = crash.page;
    size_t room = stack_left(context);
    bool native = (page->wanted & CRASH_NATIVE) != 0;
    tell_facts(page, info, context);
    begin_timers();
    if (room >= STACK_NATIVE && info->si_code <= 0 && info->si_pid == crash.pid)
        crash_find_first_fault();
    if (room >= STACK_PYTHON)
        crash_tell_python(page);
    if (native && room >= STACK_NATIVE)
        tell_native(page, context);
    if (room < STACK_PYTHON)
        page->failed |= CRASH_PYTHON;
    if (native && room < STACK_NATIVE)
        page->failed |= CRASH_NATIVE;
    page->ended_ns = now_ns();
    __atomic_store_n(&page->state, CRASH_TOLD, __ATOMIC_RELEASE);
}

/* To whoever had the signal before. A fault comes again by itself, where it was; what was sent is sent once more, as it was. Comes it here a
 * second time, it has been everywhere. */
static void pass_on(int signum, siginfo_t *info)
{
    static const struct sigaction usual; /* SIG_DFL */
    for (int i = 0; i < FATAL; i++) {
        if (fatal[i] != signum)
            continue;
        bool again = __atomic_exchange_n(&report.passed_on[i], true, __ATOMIC_ACQ_REL);
        sigaction(signum, again ? &usual : &crash.before[i], NULL);
    }
    if (info->si_code <= 0)
        syscall(SYS_rt_tgsigqueueinfo, getpid(), thread_id(), signum, info);
}

/* Longer than all parts of a report together. */
static void wait_for_the_end(void)
{
    const struct timespec pause = {.tv_sec = 0, .tv_nsec = 50000000};
    for (int i = 0; i < END_PAUSES; i++)
        nanosleep(&pause, NULL);
}

static void on_fatal(int signum, siginfo_t *info, void *context)
{
    int error = errno;
    pid_t nobody = 0, self = thread_id();
    look_faulted();
    if (getpid() == crash.pid && crash.page != NULL) {
        if (__atomic_compare_exchange_n(&report.owner, &nobody, self, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            tell_all(info, context);
        else if (nobody != self)
            wait_for_the_end();
        else if (report.in_part)
            siglongjmp(report.escape, 1);
    }
    pass_on(signum, info);
    errno = error;
}

/* ---- before it comes to that ---- */

/* Thread: any, at its end. */
static void give_stack_back(void *stack)
{
    stack_t now, none = {.ss_flags = SS_DISABLE};
    uint8_t *begin = stack;
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == begin + GUARD_BYTES)
        sigaltstack(&none, NULL);
    munmap(begin, GUARD_BYTES + STACK_BYTES);
}

bool crash_catches_faults(void)
{
    struct sigaction now;
    return crash.page != NULL && crash.pid == getpid() && sigaction(SIGSEGV, NULL, &now) == 0 &&
           (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fatal;
}

void crash_thread_begins(void)
{
    stack_t now, own = {.ss_size = STACK_BYTES};
    if (crash.page == NULL || sigaltstack(NULL, &now) != 0 || ((now.ss_flags & SS_DISABLE) == 0 && now.ss_size >= STACK_BYTES))
        return;
    uint8_t *begin =
        mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (begin == MAP_FAILED)
        return;
    own.ss_sp = begin + GUARD_BYTES;
    if (mprotect(begin, GUARD_BYTES, PROT_NONE) != 0 || sigaltstack(&own, NULL) != 0)
        munmap(begin, GUARD_BYTES + STACK_BYTES);
    else if (crash.has_key)
        pthread_setspecific(crash.stack, begin);
}

PyObject *crash_prepare(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    if (!crash.prepared) {
        crash.prepared = true;
        crash_borrow_writer();
        crash_load_unwinder();
        crash.has_key = pthread_key_create(&crash.stack, give_stack_back) == 0;
        look_prepare();
    }
    Py_RETURN_NONE;
}

/* The page, NULL where the host has given none, or with an exception. */
static struct crash_page *map_page(int fd)
{
    struct segment_header h;
    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || h.magic != SEGMENT_MAGIC || h.version != SEGMENT_VERSION ||
        h.crash_offset == 0 || h.crash_offset % 4096 != 0)
        return NULL;
    if (lseek(fd, 0, SEEK_END) < (off_t)h.crash_offset + (off_t)CRASH_PAGE_BYTES)
        return NULL;
    void *map = mmap(NULL, CRASH_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)h.crash_offset);
    return map != MAP_FAILED ? map : NULL;
}

static bool is_faulthandlers(void)
{
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *answer = module != NULL ? PyObject_CallMethod(module, "is_enabled", NULL) : NULL;
    bool yes = answer == Py_True;
    Py_XDECREF(answer);
    Py_XDECREF(module);
    PyErr_Clear();
    return yes;
}

static uint32_t install(void)
{
    struct sigaction act = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    uint32_t watched = 0;
    int others = -1; /* are they faulthandler's? not asked yet */
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < FATAL; i++) {
        struct sigaction *before = &crash.before[i];
        if (sigaction(fatal[i], NULL, before) != 0)
            continue;
        bool usual = (before->sa_flags & SA_SIGINFO) == 0 && before->sa_handler == SIG_DFL;
        if (!usual && others < 0)
            others = is_faulthandlers();
        if ((usual || others == 1) && sigaction(fatal[i], &act, NULL) == 0)
            watched |= UINT32_C(1) << fatal[i];
    }
    return watched;
}

PyObject *crash_watch(PyObject *module, PyObject *segment_fd)
{
    (void)module;
    long fd = PyLong_AsLong(segment_fd);
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    struct crash_page *page = crash.page == NULL ? map_page((int)fd) : NULL;
    if (page == NULL)
        Py_RETURN_FALSE;
    Py_XDECREF(crash_prepare(module, NULL));
    crash.page = page;
    crash.pid = getpid();
    crash_thread_begins();
    page->watched = install();
    __atomic_store_n(&page->state, CRASH_WATCHED, __ATOMIC_RELEASE);
    Py_RETURN_TRUE;
}
