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
 *  5. It runs on a stack of its own on the main thread and on those of lanes, so that an overflow can be told.
 *
 * What is not told: a death by a signal that cannot be caught; the overflow of a stack of a thread that user code has started; what a handler
 * that user code installs later keeps to itself.
 *
 * Failure: a part that is missing is marked as such. Thread: prepare and watch the main one. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
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
#include <unwind.h>

#include "_snakepit_crash.h"
#include "_snakepit_glibc.h"
#include "ring/segment.h"

#ifdef SIGSTKFLT
#define BORROWED_SIGNAL SIGSTKFLT
#else
#define BORROWED_SIGNAL SIGPWR
#endif
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define STACK_BYTES (96 * 1024)
#define UNWOUND 80                   /* frames, the handler's own among them */
#define PYTHON_TEXT (64 * 1024)      /* what a pipe holds */
#define PART_NS UINT64_C(999999999)  /* for one part of the report: what takes longer waits for a lock */
#define SYMBOL_NS UINT64_C(20000000) /* of CPU time, until names are not looked for any more */

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define FATAL ((int)(sizeof fatal / sizeof fatal[0]))

typedef _Unwind_Reason_Code unwinder(_Unwind_Trace_Fn, void *);
typedef uintptr_t frame_ip(struct _Unwind_Context *);

static struct {
    struct crash_page *page;
    pid_t pid; /* of the process that asked for it */
    bool prepared;
    void (*dump)(int); /* writes every thread's Python stack to descriptor 2 */
    unwinder *unwind;
    frame_ip *ip;
    struct sigaction before[FATAL];
} crash;

static struct {  /* touched in a crash only */
    pid_t owner; /* atomic: the thread that reports */
    volatile bool in_part, has_timer;
    int timer;
    sigjmp_buf escape;
    uint64_t pcs[UNWOUND];
    volatile int pcs_n;
    char text[PYTHON_TEXT];
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
static void begin_timer(void)
{
    struct sigaction act = {.sa_sigaction = on_time_up, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    sigset_t set;
    event.sigev_notify_thread_id = report.owner;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    report.has_timer = sigaction(SIGALRM, &act, NULL) == 0 && sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 &&
                       syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &report.timer) == 0;
}

static void set_timer(uint64_t ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = 0, .tv_nsec = (long)ns}};
    if (report.has_timer)
        syscall(SYS_timer_settime, report.timer, 0, &when, NULL);
}

static void run_part(uint32_t part, void (*fn)(struct crash_page *page, void *arg), void *arg)
{
    struct crash_page *page = crash.page;
    if (sigsetjmp(report.escape, 1) == 0) {
        report.in_part = true;
        set_timer(PART_NS);
        fn(page, arg);
        report.in_part = false;
        page->told |= part;
    } else {
        report.in_part = false;
        page->failed |= part;
    }
    set_timer(0);
}

/* ---- Python's stacks ---- */

static int open_pipe(int fds[2])
{
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0)
        return 0;
    struct rlimit limit;
    if (errno != EMFILE || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -1;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? pipe2(fds, O_CLOEXEC | O_NONBLOCK) : -1;
}

static void put_python(struct crash_page *page, const char *text, size_t n)
{
    size_t room = sizeof page->python - page->python_n;
    n = n < room ? n : room;
    memcpy(page->python + page->python_n, text, n);
    page->python_n += (uint32_t)n;
}

/* faulthandler's order is that of the threads' making; the one that crashed goes first, in case not all have room. */
static void keep_python(struct crash_page *page, const char *text, size_t n)
{
    static const char mark[] = "Current thread ";
    const char *current = memmem(text, n, mark, sizeof mark - 1);
    if (current == NULL || (current != text && current[-1] != '\n')) {
        put_python(page, text, n);
        return;
    }
    size_t left = n - (size_t)(current - text);
    const char *gap = memmem(current, left, "\n\n", 2);
    size_t own = gap != NULL ? (size_t)(gap + 2 - current) : left;
    put_python(page, current, own);
    put_python(page, text, (size_t)(current - text));
    put_python(page, current + own, left - own);
}

static void tell_python(struct crash_page *page, void *unused)
{
    int fds[2];
    size_t n = 0;
    ssize_t got;
    (void)unused;
    if (open_pipe(fds) != 0) {
        page->failed |= CRASH_PYTHON;
        return;
    }
    dup2(fds[1], 2);
    crash.dump(BORROWED_SIGNAL);
    while (n < sizeof report.text && (got = read(fds[0], report.text + n, sizeof report.text - n)) > 0)
        n += (size_t)got;
    keep_python(page, report.text, n);
}

/* What is printed later, by abort() or by the handler that comes next, belongs to the host's pipe again. */
static void tell_python_apart(void)
{
    int saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (saved < 0) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &limit);
        }
        saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
    }
    run_part(CRASH_PYTHON, tell_python, NULL);
    if (saved >= 0)
        dup2(saved, 2);
}

/* ---- the native stack ---- */

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
    (void)arg;
    if (report.pcs_n == UNWOUND)
        return _URC_END_OF_STACK;
    report.pcs[report.pcs_n] = crash.ip(context);
    report.pcs_n = report.pcs_n + 1;
    return _URC_NO_REASON;
}

static void unwind(struct crash_page *page, void *unused)
{
    (void)page, (void)unused;
    crash.unwind(on_frame, NULL);
}

static uint64_t pc_of(const ucontext_t *u)
{
#if defined(__x86_64__)
    return (uint64_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return u->uc_mcontext.pc;
#else
    (void)u;
    return 0;
#endif
}

/* Who has jumped to where nothing is: the place to return to has been left on the stack, or in a register. */
static void find_caller(struct crash_page *page, void *context)
{
    const ucontext_t *u = context;
    uint64_t caller = 0;
#if defined(__x86_64__)
    memcpy(&caller, (const void *)(uintptr_t)u->uc_mcontext.gregs[REG_RSP], sizeof caller);
#elif defined(__aarch64__)
    caller = u->uc_mcontext.regs[30];
#else
    (void)u;
#endif
    page->frames[page->frames_n++].pc = caller;
}

/* From the place of the fault on: what lies before are the handler and the kernel's way to it. */
static void keep_frames(struct crash_page *page, void *context)
{
    int from = 0, n = report.pcs_n;
    while (from < n && report.pcs[from] != page->pc)
        from++;
    page->frames[page->frames_n++].pc = page->pc;
    for (from++; from < n && page->frames_n < CRASH_FRAMES && report.pcs[from] != 0; from++)
        page->frames[page->frames_n++].pc = report.pcs[from];
    if (page->frames_n == 1)
        run_part(0, find_caller, context);
}

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
    if (crash.unwind == NULL)
        page->failed |= CRASH_NATIVE;
    else
        run_part(CRASH_NATIVE, unwind, NULL);
    keep_frames(page, context);
    run_part(CRASH_SYMBOLS, find_modules, NULL);
    if ((page->told & CRASH_SYMBOLS) != 0)
        run_part(CRASH_SYMBOLS, find_symbols, NULL);
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

static void tell_facts(struct crash_page *page, const siginfo_t *info, void *context)
{
    page->pid = (uint32_t)crash.pid;
    page->tid = (uint32_t)report.owner;
    page->signal = info->si_signo;
    page->code = info->si_code;
    if (info->si_code > 0)
        page->address = (uint64_t)(uintptr_t)info->si_addr;
    else
        page->sender = (uint32_t)info->si_pid;
    page->pc = pc_of(context);
    page->began_ns = now_ns();
    prctl(PR_GET_NAME, page->thread);
    tell_usage(page);
    __atomic_store_n(&page->state, CRASH_BEGUN, __ATOMIC_RELEASE);
}

static void tell_all(const siginfo_t *info, void *context)
{
    struct crash_page *page = crash.page;
    tell_facts(page, info, context);
    begin_timer();
    if (crash.dump != NULL)
        tell_python_apart();
    else
        page->failed |= CRASH_PYTHON;
    if ((page->wanted & CRASH_NATIVE) != 0)
        tell_native(page, context);
    page->ended_ns = now_ns();
    __atomic_store_n(&page->state, CRASH_TOLD, __ATOMIC_RELEASE);
}

/* To whoever had the signal before. A fault comes again by itself, where it was; what was sent is sent once more, as it was. */
static void pass_on(int signum, siginfo_t *info)
{
    for (int i = 0; i < FATAL; i++)
        if (fatal[i] == signum)
            sigaction(signum, &crash.before[i], NULL);
    if (info->si_code <= 0)
        syscall(SYS_rt_tgsigqueueinfo, getpid(), thread_id(), signum, info);
}

static void wait_for_the_end(void)
{
    const struct timespec pause = {.tv_sec = 0, .tv_nsec = 50000000};
    for (int i = 0; i < 20; i++)
        nanosleep(&pause, NULL);
}

static void on_fatal(int signum, siginfo_t *info, void *context)
{
    int error = errno;
    pid_t nobody = 0, self = thread_id();
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

void crash_thread_begins(void)
{
    stack_t now, own = {.ss_size = STACK_BYTES};
    if (crash.page == NULL || sigaltstack(NULL, &now) != 0 || ((now.ss_flags & SS_DISABLE) == 0 && now.ss_size >= STACK_BYTES))
        return;
    own.ss_sp = mmap(NULL, own.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (own.ss_sp != MAP_FAILED && sigaltstack(&own, NULL) != 0)
        munmap(own.ss_sp, own.ss_size);
}

/* faulthandler's handler for signals that users choose writes what we need, and may run at any time; it is not to be had but by the
 * signal that it is registered for. That signal is given back at once. */
static void borrow_dump(void)
{
    struct sigaction before, lent;
    PyObject *module = PyImport_ImportModule("faulthandler"), *done = NULL;
    if (module != NULL && sigaction(BORROWED_SIGNAL, NULL, &before) == 0)
        done = PyObject_CallMethod(module, "register", "iiOO", BORROWED_SIGNAL, 2, Py_True, Py_False);
    if (done != NULL && sigaction(BORROWED_SIGNAL, &before, &lent) == 0 && (lent.sa_flags & SA_SIGINFO) == 0)
        crash.dump = lent.sa_handler;
    Py_XDECREF(done);
    Py_XDECREF(module);
    PyErr_Clear(); /* no standard error, say */
}

static void load_unwinder(void)
{
    void *library = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
    void *walk = library != NULL ? dlsym(library, "_Unwind_Backtrace") : NULL;
    void *ip = library != NULL ? dlsym(library, "_Unwind_GetIP") : NULL;
    if (walk == NULL || ip == NULL)
        return;
    memcpy(&crash.unwind, &walk, sizeof walk);
    memcpy(&crash.ip, &ip, sizeof ip);
}

PyObject *crash_prepare(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    if (!crash.prepared) {
        crash.prepared = true;
        borrow_dump();
        load_unwinder();
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
