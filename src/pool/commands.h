/* What a pool has learnt of its commands: how long each takes in Python, as the workers tell. It decides whether asynchronous calls
 * may be written ahead into a lane. The pool's lock. */
#ifndef PIT_POOL_COMMANDS_H
#define PIT_POOL_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

enum { COMMANDS_KEPT = 32, COMMAND_NAME = 64 };

struct command_stats {
    char name[COMMAND_NAME];
    uint64_t usual_ns; /* moving average */
    uint32_t samples, turns;
};

struct commands {
    struct command_stats kept[COMMANDS_KEPT]; /* the most recently used first */
    unsigned count;
};

/* How many calls of the command may stand in one lane: 1 until it is known to be short. *ret_measure: ask the worker to measure this
 * call. */
unsigned commands_window(struct commands *c, const char *name, bool *ret_measure);
void commands_measured(struct commands *c, const char *name, uint64_t ns);

#endif
