/* What a lane has to do because it has others beside it: a worker of the thread profile serves each on a thread of its own.
 *
 * Invariants
 *  1. The main thread alone reads the control socket. What the lanes send there, a byte that rings the host's bell, never stands inside a
 *     frame: whoever finds a frame on its way leaves word, and its sender rings when it is out.
 *  2. Cancelled is thrown at a thread only while the call that it is meant for runs there: throw() looks and throws, and a call ends, under
 *     `judging` (without which the GIL would do, where there is one). What was thrown and has not come up by the call's end is absorbed
 *     before anything else of Python runs on that thread, so it comes up in no other call.
 *
 * An exception that is thrown comes up at the next step of Python code: it ends no sleep and no C code. The signal that goes with it ends
 * system calls of C code that takes EINTR for an answer.
 *
 * Failure: none of its own. Thread: as each function says. */
#include <errno.h>
#include <sys/socket.h>

#include "_snakepit_lane.h"
#include "ring/cpu.h"

void lane_bind_thread(struct lane *l)
{
    l->thread = pthread_self();
    l->python_id = PyThread_get_thread_ident();
}

/* ---- the end ---- */

bool lane_told_to_stop(void *user)
{
    struct lane *l = user;
    return __atomic_load_n(&l->stop_asked, __ATOMIC_SEQ_CST) != 0;
}

PyObject *lane_stop(PyObject *self, PyObject *unused)
{
    struct lane *l = (struct lane *)(void *)self;
    (void)unused;
    __atomic_store_n(&l->stop_asked, 1, __ATOMIC_SEQ_CST);
    if (l->map != NULL)
        ring_nudge(l->in.waiter.sys, &l->in.shared->data_bell);
    Py_RETURN_NONE;
}

/* ---- the control socket ---- */

/* Read and written at once, as it is set: who looks after letting go of the lock, and who sets it before trying the lock, cannot miss each
 * other. A fence would say the same, but not to the thread sanitizer. */
static bool is_wanted(struct control_line *line)
{
    return __atomic_fetch_or(&line->wanted, 0, __ATOMIC_SEQ_CST) != 0;
}

void lane_ring_socket(struct lane *l)
{
    if (!l->threaded) {
        (void)send(l->control_fd, "", 1, MSG_NOSIGNAL);
        return;
    }
    struct control_line *line = &l->st->line;
    __atomic_exchange_n(&line->wanted, 1, __ATOMIC_SEQ_CST);
    while (is_wanted(line) && pthread_mutex_trylock(&line->lock) == 0) {
        if (__atomic_exchange_n(&line->wanted, 0, __ATOMIC_SEQ_CST) !=
            0) /* no room: then the host has something to read already */
            (void)send(l->control_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        pthread_mutex_unlock(&line->lock);
    }
}

/* 0 or an errno; without the GIL. */
static int send_whole(int fd, const char *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t sent = send(fd, data + done, n - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return errno;
        done += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

PyObject *lane_send_control(PyObject *self, PyObject *frame)
{
    struct lane *l = (struct lane *)(void *)self;
    Py_buffer view;
    int error;
    if (l->st == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this lane was never made");
        return NULL;
    }
    if (PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE) != 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&l->st->line.lock);
    error = send_whole(l->control_fd, view.buf, (size_t)view.len);
    pthread_mutex_unlock(&l->st->line.lock);
    Py_END_ALLOW_THREADS PyBuffer_Release(&view);
    if (is_wanted(&l->st->line))
        lane_ring_socket(l);
    if (error == 0)
        Py_RETURN_NONE;
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* ---- cancellation ---- */

static void judge_begin(struct lane *l)
{
    while (__atomic_exchange_n(&l->judging, 1, __ATOMIC_ACQUIRE) != 0)
        cpu_pause();
}

static void judge_end(struct lane *l)
{
    __atomic_store_n(&l->judging, 0, __ATOMIC_RELEASE);
}

/* Does the coroutine run at this moment? Its task may be the current one while the event loop's own code runs: where it is put off to a later
 * turn, which an exception would cost it. */
static bool is_running(PyObject *coroutine)
{
    PyObject *running = PyObject_GetAttrString(coroutine, "cr_running");
    bool is = running == Py_True;
    Py_XDECREF(running);
    PyErr_Clear();
    return is;
}

PyObject *lane_throw(PyObject *self, PyObject *args)
{
    struct lane *l = (struct lane *)(void *)self;
    unsigned long long id = 0;
    PyObject *coroutine = NULL;
    if (!PyArg_ParseTuple(args, "|KO:throw", &id, &coroutine))
        return NULL;
    if (l->map == NULL || !l->threaded || (id != 0 && coroutine == NULL))
        Py_RETURN_FALSE;
    judge_begin(l);
    uint64_t now = l->running.id;
    bool runs = id == 0 ? l->running.active : id == now && __atomic_load_n(&l->status->task, __ATOMIC_RELAXED) == id;
    bool meant = runs && l->raised != now && __atomic_load_n(&l->held, __ATOMIC_RELAXED) == 0 &&
                 __atomic_load_n(&l->status->raise, __ATOMIC_ACQUIRE) == now && (id == 0 || is_running(coroutine));
    if (meant) {
        l->raised = now;
        PyThreadState_SetAsyncExc(l->python_id, l->st->Cancelled);
    }
    judge_end(l);
    if (meant)
        recorder_note(l, RECORDER_RAISED, 0, now);
    return PyBool_FromLong(meant);
}

/* Thread: the lane's. */
void lane_end_throws(struct lane *l)
{
    judge_begin(l);
    bool thrown = l->raised == l->running.id;
    judge_end(l);
    if (!thrown)
        return;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *none = PyObject_CallNoArgs(l->st->absorb); /* it comes up there, if it has not yet */
    Py_XDECREF(none);
    PyErr_Clear();
    PyThreadState_SetAsyncExc(l->python_id, NULL);
    PyErr_Restore(type, error, traceback);
}
