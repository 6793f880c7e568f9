/* snakepit-bench-embed: the same call into an interpreter that lives in this very process. The fastest thing that can be had, and what every
 * form of isolation is to be held against.
 *
 * Each call takes the GIL with PyGILState_Ensure, builds its argument, calls Bench.inc of worker.py by vectorcall, reads the answer and lets
 * the GIL go: what a C program must do that has other threads. Speaks the line protocol of peer.c. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "bench.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct embedded {
    PyObject *inc;   /* bound method */
    PyObject *names; /* ("x",) */
    PyObject *key;   /* "x" */
};

static int embed_call(void *ctx, uint32_t n)
{
    const struct embedded *e = ctx;
    long got = -1;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *argument = PyLong_FromLong((long)n);
    if (argument != NULL) {
        PyObject *const arguments[] = {argument};
        PyObject *answer = PyObject_Vectorcall(e->inc, arguments, 0, e->names);
        if (answer != NULL) {
            PyObject *x = PyDict_GetItemWithError(answer, e->key); /* borrowed */
            got = x != NULL ? PyLong_AsLong(x) : -1;
            Py_DECREF(answer);
        }
        Py_DECREF(argument);
    }
    PyGILState_Release(state);
    return got == (long)n + 1 ? 0 : -1;
}

/* The GIL is held. */
static int embed_load(struct embedded *e, const char *dir)
{
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    PyObject *folder = PyUnicode_DecodeFSDefault(dir);
    PyObject *module = NULL, *type = NULL, *object = NULL;
    if (path != NULL && folder != NULL && PyList_Insert(path, 0, folder) == 0)
        module = PyImport_ImportModule("worker");
    if (module != NULL)
        type = PyObject_GetAttrString(module, "Bench");
    if (type != NULL)
        object = PyObject_CallNoArgs(type);
    if (object != NULL)
        e->inc = PyObject_GetAttrString(object, "inc");
    e->key = PyUnicode_InternFromString("x");
    e->names = e->key != NULL ? PyTuple_Pack(1, e->key) : NULL;
    Py_XDECREF(object);
    Py_XDECREF(type);
    Py_XDECREF(module);
    Py_XDECREF(folder);
    if (e->inc != NULL && e->names != NULL)
        return 0;
    PyErr_Print();
    return -1;
}

static void embed_answer(struct bench *b, struct embedded *e)
{
    struct result r = {0};
    if (measure_loop(b, embed_call, e, 0, &r) != BENCH_OK) {
        printf("error %s\n", r.why);
    } else {
        printf("ok %zu %.1f", r.n, r.rate);
        for (int i = 0; i < Q_COUNT; i++)
            printf(" %.1f", r.q[i]);
        printf("\n");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct embedded e = {0};
    char line[128];
    if (argc != 2 || samples_init(&b.samples, 1u << 19) != 0)
        return 2;
    Py_InitializeEx(0);
    int rc = embed_load(&e, argv[1]);
    PyThreadState *main_thread = PyEval_SaveThread(); /* or Ensure would find the GIL held */
    b.clock_ns = clock_cost();
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *at;
        int cpu = (int)strtol(line, &at, 10);
        b.o.quick = strtol(at, NULL, 10) != 0;
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        if (rc != 0 || sched_setaffinity(0, sizeof set, &set) != 0) {
            printf("error the interpreter cannot be prepared\n");
            fflush(stdout);
        } else {
            embed_answer(&b, &e);
        }
    }
    PyEval_RestoreThread(main_thread);
    samples_finish(&b.samples);
    return Py_FinalizeEx() == 0 ? 0 : 1;
}
