/* Looking at a process that lives: asking its look page, and the kernel (docs/internals/look.md).
 *
 * Invariants
 *  1. A page is claimed while it is asked: of two who look, the second waits for its turn. A claim runs out, so that nobody who dies with one
 *     holds up others.
 *  2. What is read is a copy. A worker that answers rubbish, or another question, costs its own look; one that does not answer, the time.
 *
 * Failure: what is not told in time is missing in the map, and it says so. Thread: any. */
#ifndef PIT_WORKER_LOOK_H
#define PIT_WORKER_LOOK_H

#include <snakepit/value.h>

#include "os/os.h"
#include "ring/look_page.h"

struct look_target {
    pid_t pid;
    struct look_page *page; /* shared with the worker; NULL: it cannot be asked, because: */
    const uint32_t *bell;   /* the futex that its heart sleeps on */
    const char *no_page;    /* static */
};

/* The segment of a new worker. */
void look_offer_page(void *segment, size_t page_at);
/* The same of one that is mapped: where its page and bell are; false: it has none. `n` bytes are mapped. */
bool look_find_page(void *segment, size_t n, struct look_target *ret);

/* One question. */
struct look {
    struct look_page *page;
    const uint32_t *bell;
    uint64_t claim, began_ns;
    uint32_t number;
};
/* Asks, without waiting: false: somebody else does, or there is nobody who would answer. */
bool look_begin(const struct os_ops *os, const struct look_target *t, uint64_t limit_ns, struct look *ret);
/* Has it answered? Then *copy has what it said. */
bool look_answered(const struct look *l, struct look_page *copy);
bool look_has_answer(const struct look *l);
/* Rings once more: a heart that was about to sleep may not have heard. */
void look_remind(const struct os_ops *os, const struct look *l);
void look_end(const struct look *l);

/* All of it: asks, waits, reads; the map has what look_read (crash/look.h) puts there. NULL: no memory, or *ret_rc is -ESRCH: no such process.
 * Blocks for limit_ns at most. */
pit_value *look_take(const struct os_ops *os, const struct look_target *t, uint64_t limit_ns, int *ret_rc);
/* What the kernel says, and what the page said (NULL: nothing); as look_take. */
pit_value *look_from(const struct os_ops *os, const struct look_target *t, const struct look_page *page, const char *no_answer,
                     uint64_t waited_ns);

#endif
