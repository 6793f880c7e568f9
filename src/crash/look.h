/* What a living process is doing, as a map: its look page and what the kernel says, put together (docs/internals/look.md has the keys).
 *
 * The page is a copy that the worker cannot change any more; none of it is believed, the work is bounded. Pure. Failure: what cannot be allocated
 * is a failed value, as everywhere. Thread: any. */
#ifndef PIT_CRASH_LOOK_H
#define PIT_CRASH_LOOK_H

#include <snakepit/error.h>
#include <snakepit/value.h>

#include "os/os.h"
#include "ring/look_page.h"

enum { LOOK_TIDS = 128 /* threads that the kernel is asked about */ };

struct look_facts {
    pid_t pid;
    const struct look_page *page;    /* NULL: no answer, because: */
    const char *no_answer;           /* static */
    const struct os_thread *threads; /* LOOK_TIDS at most */
    int threads_n;                   /* or -errno; 0: the kernel was not asked, the worker's word counts */
    bool threads_all;
    bool stopped; /* seen otherwise */
    bool of_lane; /* what the summary is of: the thread that serves `lane`; else that of the first one */
    int lane;
    uint64_t waited_ns;
};

/* Is the process stopped, by a signal or a debugger? */
bool look_is_stopped(const struct look_facts *f);
/* Adds to a map `state`, `waited_us`, `gil`, `python`, `threads`, `summary`, `partial`, `missing`. */
void look_read(const struct look_facts *f, pit_value *map);
/* Adds to an error `hung_at`, the summary, and `stack`, the Python stack of the thread that it is of. NULL: nothing. */
void look_into_error(const pit_value *map, pit_error *e);

#endif
