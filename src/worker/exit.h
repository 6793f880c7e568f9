/* How a worker ended: the classes of exits, and the text and details that a caller gets. Pure. */
#ifndef PIT_WORKER_EXIT_H
#define PIT_WORKER_EXIT_H

#include <stdbool.h>

#include "guard/guard_client.h"
#include "wire/error.h"

/* X(CONSTANT, name, text) */
#define EXIT_CLASS_LIST(X)                                                                                                     \
    X(NORMAL, normal, "ended as it was told to")                                                                               \
    X(UNEXPECTED_EXIT, unexpected_exit, "exited with status 0 without being told to")                                          \
    X(PYTHON_ERROR, python_error, "exited with status 1, as Python does after an uncaught exception")                          \
    X(EXIT_CODE, exit_code, "exited with an error status")                                                                     \
    X(SEGFAULT, segfault, "died of a segmentation fault")                                                                      \
    X(BUS_ERROR, bus_error, "died of a bus error")                                                                             \
    X(ABORT, abort, "aborted")                                                                                                 \
    X(FPE, fpe, "died of an arithmetic exception")                                                                             \
    X(ILLEGAL_INSTRUCTION, illegal_instruction, "died of an illegal instruction")                                              \
    X(OOM, oom, "was killed by the kernel: its control group, or the machine, had no memory left")                             \
    X(OOM_SUSPECTED, oom_suspected, "got SIGKILL, most likely from the kernel: memory ran out at that time")                   \
    X(KILLED, killed, "was killed by SIGKILL from outside")                                                                    \
    X(SIGNAL, signal, "died of a signal")                                                                                      \
    X(UNKNOWN, unknown, "died; its exit status was lost")

enum exit_class {
#define EXIT_CLASS_ENUM(constant, name, text) EXIT_##constant,
    EXIT_CLASS_LIST(EXIT_CLASS_ENUM)
#undef EXIT_CLASS_ENUM
};

struct guard_exit exit_from_wait(int status); /* of waitpid */
/* expected: a stop or a kill of ours was under way. Whether a SIGKILL from outside was the kernel's is worker/oom.h's to say. */
enum exit_class exit_classify(struct guard_exit how, bool expected);
const char *exit_class_name(enum exit_class c);
const char *exit_class_text(enum exit_class c);
/* The same with the number that the class leaves open: "exited with status 7", "died of SIGTERM". */
enum { EXIT_TEXT_SIZE = 80 };
const char *exit_text(enum exit_class c, struct guard_exit how, char text[EXIT_TEXT_SIZE]);
/* As a shell would say it: the exit status, or 128 + the signal; -1 when it was lost. */
int exit_shell_code(struct guard_exit how);
int exit_signal(struct guard_exit how); /* 0: none */
/* What it printed: the last n bytes; is_cut: there was more before them. */
struct exit_printed {
    const char *text;
    size_t n;
    bool is_cut;
};
/* As text and without its secrets, nor what may be the rest of one whose beginning is cut off (owned); NULL: nothing, or no memory. */
pit_value *exit_words(struct exit_printed p);
/* Adds stderr (by exit_words) and, unless the end was our doing, exit_class, exit_code and signal to e's details. Returns e. */
pit_error *exit_describe(pit_error *e, enum exit_class c, struct guard_exit how, struct exit_printed printed);
/* Adds where to look, for ends of a worker that its last words rarely explain. Returns e. */
pit_error *exit_suggest(pit_error *e, enum exit_class c);
/* The same for an end that was not the worker's own doing: by the code of the error. */
pit_error *exit_suggest_step(pit_error *e, int code);

#endif
