/* The template's socket to the guard: requests for a worker, with their descriptors, and the answers.
 *
 * One message of src/guard/guard_msg.h is one packet. A request that a worker forked ahead can take goes on to it as it is: between the guard's
 * packet and the answer stands no Python, whose every page has to be copied after a fork. Failure: OSError; what is no message is ValueError.
 * No descriptor is lost on the way: of a message that is refused they are closed. Thread: the template's only one. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "_snakepit_template.h"
#include "guard/guard_msg.h"

enum { MOST_FDS = 8 };

static int take_fds(struct msghdr *h, int *fds)
{
    int count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len && count < MOST_FDS; i++)
            memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return count;
}

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

static PyObject *list_of(const int *fds, int n)
{
    PyObject *list = PyList_New(n);
    for (int i = 0; list != NULL && i < n; i++) {
        PyObject *fd = PyLong_FromLong(fds[i]);
        if (fd == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, fd);
    }
    return list;
}

struct request {
    struct guard_msg m;
    int fds[MOST_FDS], n_fds;
};

/* The guard's next message. 1: there is one; 0: the end; -1: an exception. */
static int receive(int fd, struct request *r)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS)];
    } control;
    struct iovec iov = {&r->m, sizeof r->m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ECONNRESET) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (n <= 0)
        return 0;
    r->n_fds = take_fds(&h, r->fds);
    if (n == (ssize_t)sizeof r->m && (h.msg_flags & MSG_TRUNC) == 0 && memchr(r->m.text, '\0', sizeof r->m.text) != NULL)
        return 1;
    close_all(r->fds, r->n_fds);
    PyErr_Format(PyExc_ValueError, "a message of %zd bytes that is no request", n);
    return -1;
}

/* Its descriptors are the caller's from here on. */
static PyObject *tuple_of(const struct request *r)
{
    PyObject *list = list_of(r->fds, r->n_fds);
    PyObject *result = list != NULL ? Py_BuildValue("(IiKIyN)", (unsigned)r->m.kind, (int)r->m.pid,
                                                    (unsigned long long)r->m.token, (unsigned)r->m.number, r->m.text, list)
                                    : NULL;
    if (result == NULL)
        close_all(r->fds, r->n_fds);
    return result;
}

/* receive_request(fd): (kind, pid, token, mask, text, descriptors), or None at the end. */
static PyObject *receive_request(PyObject *module, PyObject *socket)
{
    (void)module;
    struct request r;
    int fd = (int)PyLong_AsLong(socket);
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    int rc = receive(fd, &r);
    if (rc < 0)
        return NULL;
    if (rc == 0)
        Py_RETURN_NONE;
    return tuple_of(&r);
}

/* false with errno. */
static bool send_message(int fd, const struct guard_msg *m, const int *fds, int n_fds, int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS)];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec iov = {(void *)(uintptr_t)m, sizeof *m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > 0) {
        size_t bytes = sizeof(int) * (size_t)n_fds;
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), fds, bytes);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &h, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

/* One that is forked ahead has given up the template's output, and cannot be told what is wrong with a request. */
static bool can_go_on(const struct request *r)
{
    const unsigned all = GUARD_HAS_SEGMENT | GUARD_HAS_STDOUT | GUARD_HAS_STDERR, own = GUARD_HAS_STDOUT | GUARD_HAS_STDERR;
    return r->m.kind == GUARD_FORK && (r->m.number & own) == own && r->n_fds == 2 + __builtin_popcount(r->m.number & all);
}

/* pass_on(fd, ahead, pid): the guard's next request, to the process that waits for one at `ahead`, and the answer to the guard. True: done;
 * else what receive_request() gives, and nothing has been done. */
static PyObject *pass_on(PyObject *module, PyObject *args)
{
    (void)module;
    struct request r;
    int fd, ahead, pid;
    if (!PyArg_ParseTuple(args, "iii:pass_on", &fd, &ahead, &pid))
        return NULL;
    int rc = receive(fd, &r);
    if (rc < 0)
        return NULL;
    if (rc == 0)
        Py_RETURN_NONE;
    if (!can_go_on(&r) || !send_message(ahead, &r.m, r.fds, r.n_fds, MSG_DONTWAIT))
        return tuple_of(&r);
    struct guard_msg answer = {.kind = GUARD_FORKED, .token = r.m.token, .pid = pid};
    bool told = send_message(fd, &answer, NULL, 0, 0);
    int error = errno;
    close_all(r.fds, r.n_fds);
    errno = error;
    if (!told)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_TRUE;
}

/* send_forked(fd, token, pid, error, text): the answer. */
static PyObject *send_forked(PyObject *module, PyObject *args)
{
    (void)module;
    struct guard_msg m = {.kind = GUARD_FORKED};
    int fd, pid, error;
    unsigned long long token;
    const char *text;
    if (!PyArg_ParseTuple(args, "iKiis:send_forked", &fd, &token, &pid, &error, &text))
        return NULL;
    m.token = token;
    m.pid = pid;
    m.error = error;
    strncpy(m.text, text, sizeof m.text - 1);
    if (!send_message(fd, &m, NULL, 0, 0))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* packet_pair(): two descriptors, of which each receives what is sent to the other. */
static PyObject *packet_pair(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(ii)", pair[0], pair[1]);
}

static PyMethodDef methods[] = {
    {"receive_request", receive_request, METH_O,
     "receive_request(fd): (kind, pid, token, mask, text, descriptors) of the guard's next message; None at the end."},
    {"pass_on", pass_on, METH_VARARGS,
     "pass_on(fd, ahead, pid): the next request goes to the process that waits at `ahead`: True; else as "
     "receive_request()."},
    {"send_forked", send_forked, METH_VARARGS, "send_forked(fd, token, pid, error, text): the answer to a request."},
    {"packet_pair", packet_pair, METH_NOARGS, "packet_pair(): two ends of a packet socket."},
    {NULL, NULL, 0, NULL},
};

int template_socket_add(PyObject *module)
{
    if (PyModule_AddFunctions(module, methods) != 0 || PyModule_AddIntConstant(module, "GUARD_FORK", GUARD_FORK) != 0 ||
        PyModule_AddIntConstant(module, "HAS_SEGMENT", GUARD_HAS_SEGMENT) != 0 ||
        PyModule_AddIntConstant(module, "HAS_STDOUT", GUARD_HAS_STDOUT) != 0 ||
        PyModule_AddIntConstant(module, "HAS_STDERR", GUARD_HAS_STDERR) != 0)
        return -1;
    return PyModule_AddIntConstant(module, "REQUEST_MAGIC", (long)GUARD_REQUEST_MAGIC);
}
