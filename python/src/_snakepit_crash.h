/* Between the files that report a crash. */
#ifndef SNAKEPIT_BRIDGE_SNAKEPIT_CRASH_H
#define SNAKEPIT_BRIDGE_SNAKEPIT_CRASH_H

#include "_snakepit.h"
#include "ring/crash_page.h"

/* ---- _snakepit_crash.c ---- */

PyObject *crash_prepare(PyObject *module, PyObject *unused);
PyObject *crash_watch(PyObject *module, PyObject *segment_fd);
/* A stack for the handler, for the calling thread: of one that overflows its own nothing could be told. Without memory there is none. */
void crash_thread_begins(void);

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
