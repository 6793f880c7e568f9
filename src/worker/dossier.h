/* The dossier of a worker's death: everything that is known of it, as one immutable map (docs/internals/dossier.md has its keys).
 *
 * Made once, on the loop, when the process has ended; the errors of all calls that ended with the worker refer to the same map. What is
 * not known is named in `missing`, and `partial` is true then.
 *
 * Failure: without memory there is none, and the errors go without. */
#ifndef PIT_WORKER_DOSSIER_H
#define PIT_WORKER_DOSSIER_H

#include <snakepit/error.h>
#include <snakepit/value.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crash/store.h"

struct worker;

struct dossier_rules {
    bool enabled, native_stack;
    char *dir;          /* where they are kept; NULL: in the usual place. Owned by the settings */
    uint64_t max_bytes; /* that they may take there; 0: none is kept */
};

/* Before it is started: the crash page behind the rest of its segment. */
size_t dossier_segment_bytes(const struct dossier_rules *r);
void dossier_offer_page(const struct dossier_rules *r, void *segment, size_t page_at);
/* After its end, when exit_class is known; loop; not under the lock. Sets w->dossier where there is something to explain. */
void dossier_make(struct worker *w);
/* Adds the lines python_at (of the program's own code, where that is known), library_at (what that had called) and native_at to a map that holds the stacks. */
void dossier_say_place(pit_value *dossier);
/* What a worker runs, as a list of maps: at most one on a lane, but for those that were written ahead and have begun. Lock. */
pit_value *dossier_running_calls(const struct worker *w);
/* Adds it to an error, with the place of the crash. true: it has the stacks. */
bool dossier_put(const struct worker *w, pit_error *e);
/* Says where to read it, if it is kept on disk, as far as is known. */
bool dossier_suggest(const struct worker *w, pit_error *e);
/* What the guard has said of a worker since its callers had their errors goes into the copy on disk, if that still waits. Loop. */
void dossier_complete(struct worker *w);
struct crash_place dossier_place(const struct worker *w);

#endif
