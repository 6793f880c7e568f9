/* The template's socket to the guard: requests for a worker, with their descriptors, and the answers.
 *
 * One message of src/guard/guard_msg.h is one packet. Failure: OSError; what is no message is ValueError. No descriptor is lost on the way:
 * of a message that is refused they are closed. Thread: the template's only one. */
#include <errno.h>
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

/* receive_request(fd): (kind, pid, token, mask, text, descriptors), or None at the end. */
static PyObject *receive_request(PyObject *module, PyObject *socket)
{
    (void)module;
    struct guard_msg m;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MOST_FDS)];
    } control;
    struct iovec iov = {&m, sizeof m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    int fd = (int)PyLong_AsLong(socket), fds[MOST_FDS];
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    ssize_t n;
    do
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ECONNRESET)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (n <= 0)
        Py_RETURN_NONE;
    int count = take_fds(&h, fds);
    if (n != (ssize_t)sizeof m || (h.msg_flags & MSG_TRUNC) != 0 || memchr(m.text, '\0', sizeof m.text) == NULL) {
        close_all(fds, count);
        return PyErr_Format(PyExc_ValueError, "a message of %zd bytes that is no request", n);
    }
    PyObject *list = list_of(fds, count);
    PyObject *result = list != NULL ? Py_BuildValue("(IiKIyN)", (unsigned)m.kind, (int)m.pid, (unsigned long long)m.token,
                                                    (unsigned)m.number, m.text, list)
                                    : NULL;
    if (result == NULL)
        close_all(fds, count);
    return result;
}

/* send_forked(fd, token, pid, pidfd, error, text): the answer; pidfd -1: none goes with it. */
static PyObject *send_forked(PyObject *module, PyObject *args)
{
    (void)module;
    struct guard_msg m = {.kind = GUARD_FORKED};
    int fd, pid, pidfd, error;
    unsigned long long token;
    const char *text;
    if (!PyArg_ParseTuple(args, "iKiiis:send_forked", &fd, &token, &pid, &pidfd, &error, &text))
        return NULL;
    m.token = token;
    m.pid = pid;
    m.error = error;
    strncpy(m.text, text, sizeof m.text - 1);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec iov = {&m, sizeof m};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (pidfd >= 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof pidfd);
        memcpy(CMSG_DATA(c), &pidfd, sizeof pidfd);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &h, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"receive_request", receive_request, METH_O,
     "receive_request(fd): (kind, pid, token, mask, text, descriptors) of the guard's next message; None at the end."},
    {"send_forked", send_forked, METH_VARARGS, "send_forked(fd, token, pid, pidfd, error, text): the answer to a request."},
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
