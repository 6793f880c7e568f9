/* The Python stacks of a worker that dies, as faulthandler writes them.
 *
 * Invariants
 *  1. Runs in the handler of a fatal signal (_snakepit_crash.c): system calls and memory that is there already, and faulthandler's writer, which is
 *     made for such handlers and knows the frames of each version of Python.
 *  2. The thread that crashed is asked for alone, and first: of all threads faulthandler writes a hundred, in an order of its own, a pipe holds
 *     64 KiB, and a fault in one of them ends its writing for good. The others have so much time of the CPU and no more.
 *
 * Failure: stacks that are missing, which the page says. Thread: borrow the main one, with the GIL; tell the one that crashed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "_snakepit_crash.h"

/* Lent for a moment, while the interpreter starts. */
#ifdef SIGSTKFLT
#define FOR_ALL SIGSTKFLT
#else
#define FOR_ALL SIGXFSZ
#endif
#define FOR_ONE SIGPWR

#define TEXT (64 * 1024)             /* what a pipe holds */
#define OTHERS_NS UINT64_C(10000000) /* of CPU time: some versions of Python write each character by itself */

static void (*write_all)(int), (*write_one)(int); /* to descriptor 2 */
static char text[TEXT];                           /* touched in a crash only */

/* faulthandler's handler for signals that users choose writes what we need, and may run at any time; it is not to be had but by the
 * signal that it is registered for. That signal is given back at once. */
static void borrow(PyObject *faulthandler, int signum, PyObject *all, void (**ret)(int))
{
    struct sigaction before, lent;
    if (sigaction(signum, NULL, &before) != 0)
        return;
    PyObject *done = PyObject_CallMethod(faulthandler, "register", "iiOO", signum, 2, all, Py_False);
    if (done != NULL && sigaction(signum, &before, &lent) == 0 && (lent.sa_flags & SA_SIGINFO) == 0)
        *ret = lent.sa_handler;
    Py_XDECREF(done);
    PyErr_Clear(); /* no standard error, say */
}

void crash_borrow_writer(void)
{
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    if (faulthandler != NULL) {
        borrow(faulthandler, FOR_ALL, Py_True, &write_all);
        borrow(faulthandler, FOR_ONE, Py_False, &write_one);
    }
    Py_XDECREF(faulthandler);
    PyErr_Clear();
}

/* ---- what is written is read ---- */

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_pipe(int fds[2])
{
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0)
        return 0;
    if (errno != EMFILE)
        return -1;
    raise_limit();
    return pipe2(fds, O_CLOEXEC | O_NONBLOCK);
}

static void run_writer_of_all(struct crash_page *page, void *unused)
{
    (void)page, (void)unused;
    write_all(FOR_ALL);
}

static void run_writer_of_one(struct crash_page *page, void *unused)
{
    (void)page, (void)unused;
    write_one(FOR_ONE);
}

/* How much of `text` there is; what was written before a fault counts. */
static size_t collect(void (*writer)(struct crash_page *page, void *unused), uint64_t cpu_limit_ns)
{
    int fds[2];
    size_t n = 0;
    ssize_t got;
    if (open_pipe(fds) != 0) {
        crash_part_failed(CRASH_PYTHON);
        return 0;
    }
    dup2(fds[1], 2);
    crash_run_part(CRASH_PYTHON, writer, NULL, cpu_limit_ns);
    while (n < sizeof text && (got = read(fds[0], text + n, sizeof text - n)) > 0)
        n += (size_t)got;
    close(fds[0]);
    close(fds[1]);
    return n;
}

/* ---- into the page ---- */

static void put(struct crash_page *page, const char *from, size_t n)
{
    size_t room = sizeof page->python - page->python_n;
    n = n < room ? n : room;
    memcpy(page->python + page->python_n, from, n);
    page->python_n += (uint32_t)n;
}

/* Up to its end, or that of the text. */
static const char *line_end(const char *from, const char *end)
{
    const char *newline = memchr(from, '\n', (size_t)(end - from));
    return newline != NULL ? newline + 1 : end;
}

/* Written alone a stack has no name: "Stack (most recent call first):". false: Python knows nothing of this thread. */
static bool put_own(struct crash_page *page, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const char *end = text + n, *body = line_end(text, end);
    unsigned long id = PyThread_get_thread_ident();
    char name[2 * sizeof id];
    if (body == end)
        return false;
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = digits[id >> (4 * (sizeof name - 1 - i)) & 15];
    put(page, "Current thread 0x", 17);
    put(page, name, sizeof name);
    put(page, " (most recent call first):\n", 27);
    put(page, body, (size_t)(end - body));
    put(page, "\n", 1);
    return true;
}

/* The one that crashed is told already, or goes first. */
static void put_others(struct crash_page *page, size_t n, bool own_told)
{
    static const char mark[] = "Current thread ";
    const char *current = memmem(text, n, mark, sizeof mark - 1);
    if (current == NULL || (current != text && current[-1] != '\n')) {
        put(page, text, n);
        return;
    }
    size_t before = (size_t)(current - text), left = n - before;
    const char *gap = memmem(current, left, "\n\n", 2);
    size_t own = gap != NULL ? (size_t)(gap + 2 - current) : left;
    if (!own_told)
        put(page, current, own);
    put(page, text, before);
    put(page, current + own, left - own);
}

/* What is printed later, by abort() or by the handler that comes next, belongs to the host's pipe again. */
void crash_tell_python(struct crash_page *page)
{
    if (write_one == NULL || write_all == NULL) {
        crash_part_failed(CRASH_PYTHON);
        return;
    }
    int saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (saved < 0 && errno == EMFILE) {
        raise_limit();
        saved = fcntl(2, F_DUPFD_CLOEXEC, 3);
    }
    bool told = put_own(page, collect(run_writer_of_one, 0));
    put_others(page, collect(run_writer_of_all, OTHERS_NS), told);
    if (saved >= 0)
        dup2(saved, 2);
    else
        close(2);
}
