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

/* Gives the page's frames their modules, and writes down those of them that are files. */
void crash_find_modules(struct crash_page *page);
/* Gives them names, and their modules build ids. clock: of nanoseconds; from `until_ns` on it looks no further: false. */
bool crash_find_symbols(struct crash_page *page, uint64_t (*clock)(void), uint64_t until_ns);

#endif
