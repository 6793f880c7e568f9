/* The heart of a worker: a native thread that answers the host's pings, whatever Python does.
 *
 * It sleeps on the word `ping` of the segment (src/ring/segment.h) without a time limit. When the host counts that up it has Python count up
 * `ticks` at the next bytecode boundary of the main thread (a pending call, at most one at a time), notes the time, and copies the word to
 * `pong`. So a ping is answered while C code holds the GIL, and `ticks` tells whether Python code ran since. It also answers looks
 * (_snakepit_look.c), of which the same futex tells. Where lanes have threads of their
 * own the main thread waits for the control socket: it is woken by a byte in a pipe, and then `ticks` tells whether Python code could run.
 *
 * Invariants
 *  1. The thread never has the GIL, runs no Python, allocates nothing, and has every signal blocked: handlers run on the threads that user code knows.
 *  2. It is started once, in the process that it answers for: after a fork, in a template's child; what a call forks has none.
 *  3. It lives as long as the process, which leaves by _exit, and so does what it uses: nothing joins it.
 *
 * Failure: OSError where no thread can be had; the worker then says in READY that it has no heart, and is not asked. A kernel that refuses the
 * futex ends the thread. Thread: start_heart() the main one. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "_snakepit_glibc.h"
#include "_snakepit_lane.h"
#include "_snakepit_look.h"

#define STACK_BYTES (256 * 1024) /* the thread-local memory of big libraries is taken from it */

struct heart {
    struct lane_status *status;
    struct look_page *look; /* NULL: there is none */
    uint32_t asked;         /* atomic: a pending call is on its way */
    int wake_fd;            /* the main thread waits for it; -1: for nothing of ours */
};

/* With the GIL, between two bytecodes of the main thread. */
static int tick(void *arg)
{
    struct heart *h = arg;
    __atomic_add_fetch(&h->status->ticks, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&h->asked, 0, __ATOMIC_RELEASE);
    return 0;
}

static void ask_for_progress(struct heart *h)
{
    if (__atomic_exchange_n(&h->asked, 1, __ATOMIC_ACQ_REL) == 0 && Py_AddPendingCall(tick, h) != 0)
        __atomic_store_n(&h->asked, 0, __ATOMIC_RELEASE); /* the queue is full: the next ping asks again */
}

static void *beat(void *arg)
{
    struct heart *h = arg;
    struct lane_status *s = h->status;
    uint32_t answered = 0;
    prctl(PR_SET_NAME, "snakepit-heart"); /* here: another thread would have to ask /proc, and a start waits for that one */
    for (;;) {
        if (h->look != NULL)
            look_answer(h->look);
        uint32_t ping = __atomic_load_n(&s->ping, __ATOMIC_SEQ_CST);
        if (ping == answered) {
            if (syscall(SYS_futex, &s->ping, FUTEX_WAIT, ping, NULL, NULL, 0) != 0 && errno != EAGAIN && errno != EINTR)
                return NULL;
            continue;
        }
        ask_for_progress(h);
        if (h->wake_fd >= 0 && write(h->wake_fd, "", 1) < 0 && errno == EBADF)
            h->wake_fd = -1;
        __atomic_store_n(&s->pong_ns, lane_now_ns(), __ATOMIC_RELAXED);
        __atomic_store_n(&s->pong, ping, __ATOMIC_RELEASE);
        answered = ping;
    }
}

static int create(pthread_t *thread, size_t stack, struct heart *h)
{
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return rc;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (stack != 0)
        pthread_attr_setstacksize(&attr, stack);
    rc = pthread_create(thread, &attr, beat, h);
    pthread_attr_destroy(&attr);
    return rc;
}

/* A thread inherits the mask of who makes it. */
static int start(struct heart *h)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = create(&thread, STACK_BYTES, h);
    if (rc == EINVAL) /* more thread-local memory than that is in use */
        rc = create(&thread, 0, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static struct look_page *find_look_page(const struct segment_view *view)
{
    uint32_t at = ((const struct segment_header *)(const void *)view->map)->look_offset;
    if (at == 0 || at % 64 != 0 || at > view->map_n || view->map_n - at < sizeof(struct look_page))
        return NULL;
    struct look_page *page = (struct look_page *)(void *)(view->map + at);
    return page->bytes == LOOK_PAGE_BYTES ? page : NULL;
}

PyObject *heart_start(PyObject *module, PyObject *args)
{
    struct segment_view view;
    int fd, wake_fd = -1;
    (void)module;
    if (!PyArg_ParseTuple(args, "i|i:start_heart", &fd, &wake_fd) || segment_open(fd, 0, &view) != 0)
        return NULL;
    struct heart *h = PyMem_RawCalloc(1, sizeof *h);
    if (h == NULL) {
        segment_close(&view);
        return PyErr_NoMemory();
    }
    h->wake_fd = wake_fd;
    h->look = find_look_page(&view);
    h->status = (struct lane_status *)(void *)(view.lane + LANE_STATUS_OFFSET);
    int rc = start(h);
    if (rc == 0) {
        if (h->look != NULL)
            look_begin(h->look);
        Py_RETURN_NONE;
    }
    PyMem_RawFree(h);
    segment_close(&view);
    errno = rc;
    return PyErr_SetFromErrno(PyExc_OSError);
}
