/* A living worker says what it is doing, on the look page (src/ring/look_page.h), without its calls being disturbed.
 *
 * The heart answers. What may take long two threads of their own do for it, and it waits for each only so long: one waits for the GIL, which
 * running Python code gives within its switch interval and C code that has let go of it at once, and writes the stacks of all threads; one reads
 * what the kernel knows of them (_snakepit_look_native.c). If the GIL does not come, C code holds it, and no Python runs: then the heart writes the stacks
 * without it. Should that code return in this very moment, what is read may be torn, or not be there: a fault ends the part.
 *
 * Invariants
 *  1. The heart waits for nobody longer than the page says, and takes no lock. It alone writes the page.
 *  2. No signal is sent, nothing is stopped; what it costs the worker's call is that the GIL is taken once, for the time of writing.
 *  3. The two threads are made at the first look, have every signal blocked, and live as long as the process, which leaves by _exit. One that
 *     is late for a look is waited for by the next.
 *
 * Failure: what cannot be told in its time is marked as missing. Thread: look_answer() the heart's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_snakepit_crash.h"
#include "_snakepit_glibc.h"
#include "_snakepit_lane.h"
#include "_snakepit_look.h"

#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#endif
#define BORROWED_SIGNAL (SIGRTMAX - 1) /* lent by nobody else: _snakepit_crash_python.c has others */
#define BORROWED_FD 1000               /* where faulthandler writes without the GIL; nothing is open there in between */
#define STACK_BYTES (256 * 1024)       /* as the heart's */
#define GIL_NS UINT64_C(12000000)
#define STEP_NS UINT64_C(2000000)
#define MOST_US 1000000u
#define SERVED 64

struct helper {
    void (*work)(void);
    uint32_t wanted, done; /* atomic futexes: numbers of looks */
    uint32_t tid;          /* atomic */
    bool started;
};

static void read_with_gil(void);
static void read_threads(void);

static struct {
    PyObject *dump_traceback; /* of faulthandler; held for ever */
    void (*dump)(int);        /* writes every thread's stack to BORROWED_FD, without the GIL */
    pthread_t main_thread;
    uint32_t served_n; /* atomic */
    struct look_served served[SERVED];
    struct helper python, native;
    char text[sizeof((struct look_page *)0)->python]; /* the first helper's */
    uint32_t text_n;
    bool text_cut;
    struct look_native *threads; /* the second's */
    uint64_t asks_since;         /* atomic: the first helper waits for the GIL since then; 0: it has not begun, or has it */
    uint32_t guarded;            /* atomic: the thread that reads what may not be there */
    sigjmp_buf escape;
} look = {.python.work = read_with_gil, .native.work = read_threads};

static uint32_t thread_id(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

/* ---- the helpers ---- */

static void futex_wait(const uint32_t *word, uint32_t seen, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, ns != UINT64_MAX ? &t : NULL, NULL, 0);
}

static void futex_wake(const uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *help(void *arg)
{
    struct helper *h = arg;
    prctl(PR_SET_NAME, "snakepit-look");
    __atomic_store_n(&h->tid, thread_id(), __ATOMIC_RELEASE);
    for (;;) {
        uint32_t wanted = __atomic_load_n(&h->wanted, __ATOMIC_ACQUIRE);
        if (wanted == __atomic_load_n(&h->done, __ATOMIC_RELAXED)) {
            futex_wait(&h->wanted, wanted, UINT64_MAX);
            continue;
        }
        h->work();
        __atomic_store_n(&h->done, wanted, __ATOMIC_RELEASE);
        futex_wake(&h->done);
    }
    return NULL;
}

/* By the heart, whose mask it inherits: everything is blocked. */
static bool start_helper(struct helper *h)
{
    pthread_attr_t attr;
    pthread_t thread;
    if (h->started || pthread_attr_init(&attr) != 0)
        return h->started;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    h->started = pthread_create(&thread, &attr, help, h) == 0;
    pthread_attr_destroy(&attr);
    return h->started;
}

static void ask(struct helper *h, uint32_t number)
{
    if (!start_helper(h))
        return;
    __atomic_store_n(&h->wanted, number, __ATOMIC_RELEASE);
    futex_wake(&h->wanted);
}

static bool has_done(struct helper *h, uint32_t number, uint64_t until_ns)
{
    for (;;) {
        uint32_t done = __atomic_load_n(&h->done, __ATOMIC_ACQUIRE);
        uint64_t now = lane_now_ns();
        if (done == number || !h->started || now >= until_ns)
            return done == number;
        futex_wait(&h->done, done, until_ns - now);
    }
}

/* ---- Python's stacks ---- */

static char *find_block(char *text, size_t n, const char *head, size_t *ret_n)
{
    char *at = memmem(text, n, head, strlen(head));
    if (at == NULL)
        return NULL;
    size_t left = n - (size_t)(at - text);
    char *gap = memmem(at, left, "\n\n", 2);
    *ret_n = gap != NULL ? (size_t)(gap + 2 - at) : left;
    return at;
}

struct kept {
    char *text;
    size_t room;
    uint32_t n;
    bool cut;
};

static void keep(struct kept *k, const char *text, size_t n)
{
    size_t room = k->room - k->n;
    k->cut = k->cut || n > room;
    n = n < room ? n : room;
    memcpy(k->text + k->n, text, n);
    k->n += (uint32_t)n;
}

/* The main thread first, in case not all have room; without the one that writes. */
static void keep_stacks(struct kept *k, char *text, size_t n)
{
    char head[40];
    size_t main_n = 0, own_n = 0;
    snprintf(head, sizeof head, "Thread 0x%0*lx ", (int)(2 * sizeof(unsigned long)), (unsigned long)look.main_thread);
    char *own = find_block(text, n, "Current thread 0x", &own_n);
    if (own != NULL) {
        memmove(own, own + own_n, n - (size_t)(own - text) - own_n);
        n -= own_n;
    }
    char *first = find_block(text, n, head, &main_n);
    if (first == NULL)
        first = text;
    keep(k, first, main_n);
    if (main_n != 0 && first + main_n == text + n && first != text)
        keep(k, "\n", 1);
    keep(k, text, (size_t)(first - text));
    keep(k, first + main_n, n - (size_t)(first - text) - main_n);
}

/* What has been written to the file. */
static void keep_file(struct kept *k, int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    void *map = n > 0 ? mmap(NULL, (size_t)n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED)
        return;
    keep_stacks(k, map, (size_t)n);
    munmap(map, (size_t)n);
}

static int open_file(void)
{
    return (int)syscall(SYS_memfd_create, "snakepit-look", MFD_CLOEXEC);
}

static void read_with_gil(void)
{
    struct kept k = {.text = look.text, .room = sizeof look.text};
    int fd = open_file();
    if (fd >= 0) {
        __atomic_store_n(&look.asks_since, lane_now_ns(), __ATOMIC_RELEASE);
        PyGILState_STATE state = PyGILState_Ensure();
        __atomic_store_n(&look.asks_since, 0, __ATOMIC_RELEASE);
        PyObject *done = PyObject_CallFunction(look.dump_traceback, "i", fd);
        Py_XDECREF(done);
        PyErr_Clear();
        PyGILState_Release(state);
        keep_file(&k, fd);
        close(fd);
    }
    look.text_n = k.n;
    look.text_cut = k.cut;
}

void look_faulted(void)
{
    if (__atomic_load_n(&look.guarded, __ATOMIC_ACQUIRE) == thread_id())
        siglongjmp(look.escape, 1);
}

/* A fault on a thread that blocks its signal ends the process. */
static void let_faults_come(sigset_t *before)
{
    sigset_t faults;
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaddset(&faults, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &faults, before);
}

static bool dump_guarded(void)
{
    sigset_t before;
    let_faults_come(&before);
    bool whole = sigsetjmp(look.escape, 1) == 0;
    if (whole) {
        __atomic_store_n(&look.guarded, thread_id(), __ATOMIC_RELEASE);
        look.dump(BORROWED_SIGNAL);
    }
    __atomic_store_n(&look.guarded, 0, __ATOMIC_RELEASE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return whole;
}

/* true: there are stacks. */
static bool read_without_gil(struct look_page *page)
{
    struct kept k = {.text = page->python, .room = sizeof page->python};
    if (look.dump == NULL || !crash_catches_faults())
        return false;
    int file = open_file();
    int fd = file >= 0 ? fcntl(file, F_DUPFD_CLOEXEC, BORROWED_FD) : -1;
    bool whole = fd == BORROWED_FD && dump_guarded();
    if (fd >= 0)
        close(fd);
    if (file >= 0) {
        keep_file(&k, file);
        close(file);
    }
    page->python_n = k.n;
    if (!whole || k.cut)
        page->failed |= LOOK_FAILED_PYTHON;
    return k.n != 0;
}

static void take_text(struct look_page *page)
{
    memcpy(page->python, look.text, look.text_n);
    page->python_n = look.text_n;
    page->python_how = LOOK_PYTHON_SAFE;
    if (look.text_cut)
        page->failed |= LOOK_FAILED_PYTHON;
}

/* ---- threads ---- */

static void read_threads(void)
{
    uint32_t own[3] = {thread_id(), __atomic_load_n(&look.python.tid, __ATOMIC_ACQUIRE), 0};
    uint32_t n = __atomic_load_n(&look.served_n, __ATOMIC_ACQUIRE);
    own[2] = look.native.tid;
    if (look.threads != NULL && !look_at_threads(look.threads, look.served, n < SERVED ? n : SERVED, own, 3))
        *look.threads = (struct look_native){.failed = LOOK_FAILED_NATIVE};
}

static void take_threads(struct look_page *page)
{
    const struct look_native *t = look.threads;
    page->failed |= t->failed;
    page->threads_n = t->threads_n;
    page->frames_n = t->page.frames_n;
    page->modules_n = t->page.modules_n;
    memcpy(page->threads, t->threads, sizeof page->threads);
    memcpy(page->frames, t->page.frames, sizeof page->frames);
    memcpy(page->modules, t->page.modules, sizeof page->modules);
    memcpy(page->names, t->page.names, sizeof page->names);
}

/* ---- answering ---- */

/* The first helper has the stacks, or has been waiting for the GIL for too long: on a machine under load it may not even have begun. */
static bool has_stacks(uint32_t number, uint64_t until_ns)
{
    for (;;) {
        uint64_t now = lane_now_ns(), since = __atomic_load_n(&look.asks_since, __ATOMIC_ACQUIRE);
        uint64_t due = since != 0 && since + GIL_NS < until_ns ? since + GIL_NS : until_ns;
        uint64_t next = since != 0 || now + STEP_NS > due ? due : now + STEP_NS;
        if (has_done(&look.python, number, next))
            return true;
        if (!look.python.started || lane_now_ns() >= due)
            return false;
    }
}

static void answer(struct look_page *page, uint32_t number)
{
    uint32_t wait_us = __atomic_load_n(&page->wait_us, __ATOMIC_RELAXED);
    uint64_t now = lane_now_ns(), until = now + (uint64_t)(wait_us < MOST_US ? wait_us : MOST_US) * 1000u;
    page->began_ns = now;
    page->python_how = LOOK_PYTHON_NONE;
    page->failed = 0;
    page->threads_n = page->frames_n = page->modules_n = page->python_n = 0;
    ask(&look.python, number);
    ask(&look.native, number);
    bool safe = has_stacks(number, until - (until - now) / 4);
    if (!safe && read_without_gil(page))
        page->python_how = LOOK_PYTHON_HELD;
    if (has_done(&look.native, number, until))
        take_threads(page);
    else
        page->failed |= LOOK_FAILED_NATIVE;
    if (!safe && page->python_how == LOOK_PYTHON_NONE)
        safe = has_done(&look.python, number, until);
    if (safe || has_done(&look.python, number, 0)) /* it was a matter of time only */
        take_text(page);
    page->ended_ns = lane_now_ns();
    __atomic_store_n(&page->answered, number, __ATOMIC_RELEASE);
    syscall(SYS_futex, &page->answered, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void look_answer(struct look_page *page)
{
    uint32_t number = __atomic_load_n(&page->asked, __ATOMIC_ACQUIRE);
    if (number != page->answered)
        answer(page, number);
}

/* ---- before it comes to that ---- */

/* As _snakepit_crash.c does for a crash, which may not have to share it: this one may be interrupted by that. */
static void borrow_dump(PyObject *module)
{
    struct sigaction before, lent;
    PyObject *done = NULL;
    if (sigaction(BORROWED_SIGNAL, NULL, &before) == 0)
        done = PyObject_CallMethod(module, "register", "iiOO", BORROWED_SIGNAL, BORROWED_FD, Py_True, Py_False);
    if (done != NULL && sigaction(BORROWED_SIGNAL, &before, &lent) == 0 && (lent.sa_flags & SA_SIGINFO) == 0)
        look.dump = lent.sa_handler;
    Py_XDECREF(done);
    PyErr_Clear();
}

void look_prepare(void)
{
    if (look.dump_traceback != NULL)
        return;
    PyObject *module = PyImport_ImportModule("faulthandler");
    if (module != NULL) {
        look.dump_traceback = PyObject_GetAttrString(module, "dump_traceback");
        borrow_dump(module);
    }
    Py_XDECREF(module);
    PyErr_Clear();
}

void look_begin(struct look_page *page)
{
    look_prepare();
    if (look.dump_traceback == NULL)
        return;
    look.main_thread = pthread_self();
    if (look.threads == NULL)
        look.threads = PyMem_RawCalloc(1, sizeof *look.threads);
    __atomic_store_n(&page->ready, 1, __ATOMIC_RELEASE);
}

void look_lane_begins(unsigned lane)
{
    uint32_t at = __atomic_load_n(&look.served_n, __ATOMIC_RELAXED);
    if (at >= SERVED)
        return;
    look.served[at] = (struct look_served){(uint64_t)(uintptr_t)pthread_self(), thread_id(), (int32_t)lane};
    __atomic_store_n(&look.served_n, at + 1, __ATOMIC_RELEASE);
}
