/* The native stack of a worker that dies, and the fault that stands at its root.
 *
 * Runs in the handler of a fatal signal (_snakepit_crash.c), with libgcc's unwinder, which is loaded beforehand: it allocates nothing and takes no lock
 * that a thread could hold which died of it. A spoilt stack makes it fault, or get lost; its caller bounds both.
 *
 * Whoever has installed a handler over ours and sends the signal once more when it is done, faulthandler for one, calls us for a signal that says
 * nothing any more but that it was sent. The kernel has left what it told that handler on the stack: every unwinder must find it there, so its
 * layout is for ever.
 *
 * Failure: frames that are missing. Thread: load the main one; the rest the one that crashed. */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unwind.h>

#include "_snakepit_crash.h"
#include "_snakepit_glibc.h"

#define UNWOUND 80 /* frames, the handler's own among them */

#if defined(__x86_64__)
#define CONTEXT_AT 0 /* from where the stack was when the handler had returned */
#define INFO_AT 304  /* behind the kernel's ucontext, which is shorter than libc's */
#elif defined(__aarch64__)
#define CONTEXT_AT 128
#define INFO_AT 0
#endif

static struct {
    _Unwind_Reason_Code (*walk)(_Unwind_Trace_Fn, void *);
    uintptr_t (*ip)(struct _Unwind_Context *, int *);
    uintptr_t (*cfa)(struct _Unwind_Context *);
} unwinder;

static struct { /* touched in a crash only */
    uint64_t pcs[UNWOUND], stacks[UNWOUND];
    bool interrupted[UNWOUND]; /* by a signal */
    volatile int n;
} found;

void crash_load_unwinder(void)
{
    void *library = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
    void *walk = library != NULL ? dlsym(library, "_Unwind_Backtrace") : NULL;
    void *ip = library != NULL ? dlsym(library, "_Unwind_GetIPInfo") : NULL;
    void *cfa = library != NULL ? dlsym(library, "_Unwind_GetCFA") : NULL;
    if (walk == NULL || ip == NULL || cfa == NULL)
        return;
    memcpy(&unwinder.ip, &ip, sizeof ip);
    memcpy(&unwinder.cfa, &cfa, sizeof cfa);
    memcpy(&unwinder.walk, &walk, sizeof walk);
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
    int interrupted = 0, n = found.n;
    (void)arg;
    if (n == UNWOUND)
        return _URC_END_OF_STACK;
    found.pcs[n] = unwinder.ip(context, &interrupted);
    found.stacks[n] = unwinder.cfa(context);
    found.interrupted[n] = interrupted != 0;
    found.n = n + 1;
    return _URC_NO_REASON;
}

static void walk(struct crash_page *page, void *unused)
{
    (void)page, (void)unused;
    unwinder.walk(on_frame, NULL);
}

uint64_t crash_pc(const void *context)
{
    const ucontext_t *u = context;
#if defined(__x86_64__)
    return (uint64_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return u->uc_mcontext.pc;
#else
    (void)u;
    return 0;
#endif
}

/* ---- the first fault ---- */

#ifdef INFO_AT
#if defined(__x86_64__)
enum { TRAP_DIVIDE = 0, TRAP_OPCODE = 6, TRAP_PROTECTION = 13, TRAP_PAGE = 14 };

static int code_of_trap(int signum, long trap)
{
    if (trap == TRAP_PAGE)
        return signum == SIGSEGV ? SEGV_MAPERR : signum == SIGBUS ? BUS_ADRERR : 0;
    if (trap == TRAP_PROTECTION)
        return signum == SIGSEGV ? SI_KERNEL : 0;
    if (trap == TRAP_DIVIDE)
        return signum == SIGFPE ? FPE_INTDIV : 0;
    return trap == TRAP_OPCODE && signum == SIGILL ? ILL_ILLOPN : 0;
}

static bool is_mapped(const void *at)
{
    return msync((void *)((uintptr_t)at & ~(uintptr_t)4095), 1, MS_ASYNC) == 0;
}

/* To a handler without SA_SIGINFO the kernel tells nothing, and a signal that the handler sends while it keeps it blocked comes when it has returned
 * to the fault. But what the processor has said is saved with the registers. It may be of an earlier fault: who has just come out of a system
 * call has sent the signal there. false: it is not of this signal. */
static bool tell_trap(struct crash_page *page, const ucontext_t *u)
{
    const uint8_t *pc = (const uint8_t *)(uintptr_t)crash_pc(u);
    long trap = u->uc_mcontext.gregs[REG_TRAPNO];
    uint64_t address = (uint64_t)u->uc_mcontext.gregs[REG_CR2];
    bool jumped = trap == TRAP_PAGE && address == crash_pc(u); /* to where there is nothing to look at */
    if (!jumped && pc[-2] == 0x0f && pc[-1] == 0x05)
        return false;
    siginfo_t info = {.si_signo = page->signal, .si_code = code_of_trap(page->signal, trap)};
    if (trap == TRAP_PAGE)
        info.si_addr = (void *)(uintptr_t)address;
    else if (trap != TRAP_PROTECTION)
        info.si_addr = (void *)(uintptr_t)pc;
    if (info.si_code == SEGV_MAPERR && info.si_signo == SIGSEGV && is_mapped(info.si_addr))
        info.si_code = SEGV_ACCERR;
    if (info.si_code != 0)
        crash_tell_signal(page, &info);
    return info.si_code != 0;
}
#else
static bool tell_trap(struct crash_page *page, const ucontext_t *u)
{
    (void)page, (void)u;
    return false;
}
#endif

/* Of several the one that lies deepest: the others were sent because of it. */
static void look_for_signals(struct crash_page *page, void *unused)
{
    (void)unused;
    for (int i = 1; i < found.n; i++) {
        if (!found.interrupted[i])
            continue;
        const uint8_t *left = (const uint8_t *)(uintptr_t)found.stacks[i - 1];
        siginfo_t info;
        if (crash_pc(left + CONTEXT_AT) != found.pcs[i])
            continue;
        memcpy(&info, left + INFO_AT, sizeof info);
        bool ours = info.si_signo == page->signal;
        if (ours)
            crash_tell_signal(page, &info);
        bool untold = ours ? info.si_code <= 0 : info.si_signo < 1 || info.si_signo >= NSIG;
        if (untold && tell_trap(page, (const ucontext_t *)(const void *)(left + CONTEXT_AT)))
            ours = true;
        if (ours)
            page->pc = found.pcs[i];
    }
}

void crash_find_first_fault(void)
{
    if (unwinder.walk == NULL)
        return;
    found.n = 0;
    crash_run_part(0, walk, NULL, 0);
    crash_run_part(0, look_for_signals, NULL, 0);
}
#else
void crash_find_first_fault(void)
{
}
#endif

/* ---- the stack ---- */

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
    int from = 0, n = found.n;
    while (from < n && found.pcs[from] != page->pc)
        from++;
    page->frames[page->frames_n++] = (struct crash_frame){.pc = page->pc, .exact = 1};
    for (from++; from < n && page->frames_n < CRASH_FRAMES && found.pcs[from] != 0; from++)
        page->frames[page->frames_n++] = (struct crash_frame){.pc = found.pcs[from], .exact = found.interrupted[from]};
    if (page->frames_n == 1)
        crash_run_part(0, find_caller, context, 0);
}

void crash_tell_frames(struct crash_page *page, void *context)
{
    found.n = 0;
    if (unwinder.walk == NULL)
        crash_part_failed(CRASH_NATIVE);
    else
        crash_run_part(CRASH_NATIVE, walk, NULL, 0);
    keep_frames(page, context);
}
