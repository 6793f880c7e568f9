/* The crashes of a pool within a window of time: is it healthy, and who lost most? Pure: the time goes in.
 *
 * Invariants
 *  1. At most CRASHES_KEPT are remembered, the latest; a window with more counts as one with so many. */
#ifndef PIT_FAULT_CRASHES_H
#define PIT_FAULT_CRASHES_H

#include <stdbool.h>
#include <stdint.h>

enum { CRASHES_KEPT = 256, CRASHES_ALERT = 5 /* more in a minute */, CRASHES_ALERT_SEGFAULTS = 2 /* more in the window */ };

struct crash_rules {
    unsigned max_crashes; /* 1 to CRASHES_KEPT: so many in the window, and the pool is not healthy */
    uint64_t window_ns, interval_ns;
};

struct crashes {
    struct {
        uint64_t at_ns;
        uint32_t slot;
        bool segfault;
    } ring[CRASHES_KEPT];
    unsigned next, n;
    uint64_t total;
};

struct crash_facts {
    unsigned in_window, in_minute, segfaults,
        workers; /* workers: slots that lost one within the window; segfaults: within it */
    bool healthy;
};

void crashes_add(struct crashes *c, uint64_t now_ns, unsigned slot, bool segfault);
struct crash_facts crashes_look(const struct crashes *c, const struct crash_rules *r, uint64_t now_ns);
unsigned crashes_of_slot(const struct crashes *c, const struct crash_rules *r, uint64_t now_ns, unsigned slot);
/* What to warn of: static, NULL: nothing. */
const char *crashes_pattern(const struct crash_facts *f);

#endif
