/* Which Python: found once, asked once what it is, kept for the host's life. Loop thread.
 *
 * The interpreter is run with a line of code that prints sys.executable, its version and more; what is exec'd later is
 * sys.executable, since a PATH shim costs 50 to 70 ms a start. */
#ifndef PIT_POOL_INTERPRETER_H
#define PIT_POOL_INTERPRETER_H

#include "worker/worker.h"

struct host;

enum { SHA256_HEX = 64 };

struct interpreter {
    struct list node; /* in the host's list */
    struct host *host;
    struct guard_child child;
    char *asked;      /* the path as it was given */
    char *executable; /* sys.executable */
    char version[16], platform[96];
    char hash[SHA256_HEX + 1]; /* of the file of sys.executable; "": unknown */
    pit_error *error;          /* why it cannot be used; owned */
    bool known;
    bool running;
    bool waits; /* for a guard, to be asked */
    struct guard_exit how;
    struct capture out, err;
    struct loop_timer timer;
    pid_t pid;
    struct list waiting; /* of struct interpreter_wait */
};

struct interpreter_wait {
    struct list node;
    void (*fn)(struct interpreter_wait *w, struct interpreter *i);
};

/* Where Python is: `python` itself, else $VIRTUAL_ENV/bin/python, python3 or python on the PATH. A path (owned by the
 * caller) or NULL and an error. */
char *interpreter_find(const struct os_ops *os, const char *python, const char *virtual_env, const char *path,
                       pit_error **ret_error);
/* Calls w->fn when all is known, at once if it is (NULL: out of memory). */
void interpreter_ask(struct host *h, const char *path, struct interpreter_wait *w);
/* An interpreter that could not be used may have been mended: it is asked again next time. */
void interpreter_forget_failures(struct host *h);
void interpreters_guard_lost(struct host *h);
void interpreters_guard_back(struct host *h);
void interpreter_free(struct interpreter *i);

#endif
