/* Between the files that report a crash. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_CRASH_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_CRASH_H

#include <signal.h>

#include "_snakepit.h"
#include "ring/crash_page.h"

/* ---- _snakepit_crash.c ---- */

PyObject *crash_prepare(PyObject *module, PyObject *unused);
PyObject *crash_watch(PyObject *module, PyObject *segment_fd);
/* A stack for the handler, for the calling thread: of one that overflows its own nothing could be told. Without memory there is none. */
void crash_thread_begins(void);
/* Does this file's handler stand for faults, in the process that asked for it? */
bool crash_catches_faults(void);

/* The rest is for the handler alone. A part of the report: what faults in it, or takes too long, ends it; cpu_limit_ns: of CPU time, 0: the usual
 * limit for everything alone. */
void crash_run_part(uint32_t part, void (*fn)(struct crash_page *page, void *arg), void *arg, uint64_t cpu_limit_ns);
void crash_part_failed(uint32_t part);
void crash_tell_signal(struct crash_page *page, const siginfo_t *info);

/* ---- _snakepit_crash_python.c ---- */

void crash_borrow_writer(void); /* beforehand, with the GIL */
void crash_tell_python(struct crash_page *page);

/* ---- _snakepit_crash_unwind.c ---- */

void crash_load_unwinder(void); /* beforehand */
/* Was the signal that the page tells of sent by a handler that was called for another one? Then the page tells of that. */
void crash_find_first_fault(void);
void crash_tell_frames(struct crash_page *page, void *context);
uint64_t crash_pc(const void *context);

/* ---- _snakepit_crash_symbols.c: in the handler; may fault, or take long, which its caller bounds ---- */

/* What it works in: one for each thread that looks. */
struct crash_room {
    char maps[8192];
    char path[CRASH_MODULES][1024];
    uint64_t best_size[CRASH_FRAMES];
    const char *best_name[CRASH_FRAMES];
};
struct crash_mapping {
    uint64_t from, to, offset;
    const char *path; /* path_n bytes: of a file, or "[stack]" and its like */
    size_t path_n;
    bool runs; /* it may be executed */
};
/* Each mapping of this process that has a name. */
void crash_each_mapping(struct crash_room *room, void (*fn)(const struct crash_mapping *m, void *arg), void *arg);
/* Gives the page's frames their modules, and writes down those of them that are files. */
void crash_find_modules(struct crash_page *page, struct crash_room *room);
/* Gives them names, and their modules build ids. clock: of nanoseconds; from `until_ns` on it looks no further: false. */
bool crash_find_symbols(struct crash_page *page, struct crash_room *room, uint64_t (*clock)(void), uint64_t until_ns);

#endif
