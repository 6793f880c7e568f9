/* What a template needs and Python does not have: a fork whose child is the template's sibling, a look at the libraries that are loaded.
 *
 * Invariants
 *  1. clone is called with exactly one thread: it runs none of the handlers that pthread_atfork knows. Who calls it has counted.
 *  2. The C library keeps the thread's id in its own descriptor, and has told the kernel where (set_tid_address). The kernel writes the
 *     child's there, as it does for fork: without that, recursive locks and pthread_kill in the child would go by the parent's id.
 *  3. The list of robust mutexes is registered anew in the child, as fork does: the lane's farewell needs it.
 *
 * The old clone: seccomp profiles of containers refuse clone3. Failure: OSError; `clone_check` tells before the first clone whether the C
 * library keeps its id where the kernel can find it (musl does not). Thread: the template's only one. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "_snakepit_glibc.h"
#include "_snakepit_template.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

extern char **environ;

/* Where the C library keeps this thread's id, or NULL with errno. */
static int *thread_id_place(void)
{
    int *place = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &place) != 0)
        return NULL;
    if (place == NULL || *place != (int)syscall(SYS_gettid)) {
        errno = ENOTSUP;
        return NULL;
    }
    return place;
}

static long raw_clone(unsigned long flags, int *pidfd, int *tid)
{
#if defined(__x86_64__)
    return syscall(SYS_clone, flags, NULL, pidfd, tid, 0UL);
#elif defined(__aarch64__)
    return syscall(SYS_clone, flags, NULL, pidfd, 0UL, tid);
#else
    (void)flags, (void)pidfd, (void)tid;
    errno = ENOSYS;
    return -1;
#endif
}

static PyObject *clone_check(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    if (thread_id_place() == NULL)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static void register_robust_list(struct robust_list_head *head, size_t n)
{
    if (head == NULL || head->list.next != &head->list)
        return; /* somebody holds a robust mutex: it is the parent's */
    head->list_op_pending = NULL;
    syscall(SYS_set_robust_list, head, n);
}

static PyObject *clone_process(PyObject *module, PyObject *sibling)
{
    (void)module;
    int as_sibling = PyObject_IsTrue(sibling);
    if (as_sibling < 0)
        return NULL;
    int *tid = thread_id_place(), pidfd = -1, error;
    if (tid == NULL)
        return PyErr_SetFromErrno(PyExc_OSError);
    struct robust_list_head *head = NULL;
    size_t n = 0;
    if (syscall(SYS_get_robust_list, 0, &head, &n) != 0)
        head = NULL;
    unsigned long flags = CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
    PyOS_BeforeFork();
    long pid = raw_clone(flags | (as_sibling ? CLONE_PARENT : 0UL), &pidfd, tid);
    error = errno;
    if (pid == 0) {
        register_robust_list(head, n);
        PyOS_AfterFork_Child();
        pidfd = -1;
    } else {
        PyOS_AfterFork_Parent();
    }
    if (pid < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("(li)", pid, pidfd);
}

/* The worker goes with the guard. True: the guard was there when the kernel had been told. */
static PyObject *die_with(PyObject *module, PyObject *parent)
{
    (void)module;
    long pid = PyLong_AsLong(parent);
    if (pid == -1 && PyErr_Occurred())
        return NULL;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyBool_FromLong(getppid() == pid);
}

/* library_call(path, symbol, number): int symbol(int) of a library that is loaded. None where there is no such library or symbol. */
static PyObject *library_call(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *path;
    const char *symbol;
    int number, (*function)(int);
    if (!PyArg_ParseTuple(args, "O&si:library_call", PyUnicode_FSConverter, &path, &symbol, &number))
        return NULL;
    void *library = dlopen(PyBytes_AS_STRING(path), RTLD_LAZY | RTLD_NOLOAD);
    Py_DECREF(path);
    void *found = library != NULL ? dlsym(library, symbol) : NULL;
    PyObject *result = Py_None;
    if (found != NULL) {
        memcpy(&function, &found, sizeof function);
        result = PyLong_FromLong(function(number));
    } else {
        Py_INCREF(result);
    }
    if (library != NULL)
        dlclose(library);
    return result;
}

/* collapse(address, length): this memory on huge pages, now where the kernel can, else when it comes to it. The errno, 0 when it is done. */
static PyObject *collapse(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long address, length;
    if (!PyArg_ParseTuple(args, "KK:collapse", &address, &length))
        return NULL;
    void *at = (void *)(uintptr_t)address;
    int rc = madvise(at, (size_t)length, MADV_HUGEPAGE);
    if (rc == 0)
        rc = madvise(at, (size_t)length, MADV_COLLAPSE);
    return PyLong_FromLong(rc == 0 ? 0 : errno);
}

/* room(name): the memory of the entry `name` of the environment as the kernel shows it, name and value. None without such an entry. */
static PyObject *room(PyObject *module, PyObject *name)
{
    (void)module;
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(name, &n);
    if (text == NULL)
        return NULL;
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++)
        if (strncmp(*entry, text, (size_t)n) == 0 && (*entry)[n] == '=')
            return PyMemoryView_FromMemory(*entry, (Py_ssize_t)strlen(*entry), PyBUF_WRITE);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"clone_check", clone_check, METH_NOARGS, "OSError where clone_process() would leave a child with its parent's thread id."},
    {"clone_process", clone_process, METH_O,
     "clone_process(sibling): (pid, pidfd), and (0, -1) in the child: a child, or a sibling. With exactly one thread only."},
    {"die_with", die_with, METH_O,
     "die_with(pid): SIGKILL when the parent ends. False: the parent is not that process any more."},
    {"library_call", library_call, METH_VARARGS, "library_call(path, symbol, number): calls int symbol(int); None: not there."},
    {"collapse", collapse, METH_VARARGS, "collapse(address, length): moves memory to huge pages; an errno."},
    {"room", room, METH_O, "room(name): the memory of an entry of the environment, to be written over; None without one."},
    {NULL, NULL, 0, NULL},
};

int template_add(PyObject *module)
{
    return PyModule_AddFunctions(module, methods) == 0 ? template_socket_add(module) : -1;
}
