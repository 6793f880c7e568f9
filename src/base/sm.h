/* State machines as const tables: names and allowed edges; one function moves. An illegal edge is refused, in release builds too.
 *
 * Usage: one X-macro X(CONSTANT, name, edges) makes the enum, the names and the table:
 *
 *   #define DOOR_STATES(X) X(OPEN, open, SM_TO(DOOR_SHUT)) X(SHUT, shut, SM_TO(DOOR_OPEN))
 */
#ifndef PIT_BASE_SM_H
#define PIT_BASE_SM_H

#include <stdbool.h>
#include <stdint.h>

struct sm_state {
    const char *name;
    uint32_t edges; /* bit mask of the states that may follow */
};

struct sm_table {
    const char *name;
    const struct sm_state *states; /* states[0] is unused: a state of 0 means "none yet" */
    int count;
};

#define SM_TO(state) (UINT32_C(1) << (state))

static inline const char *sm_name(const struct sm_table *t, int state)
{
    return state > 0 && state < t->count ? t->states[state].name : "none";
}

static inline bool sm_may(const struct sm_table *t, int from, int to)
{
    return from > 0 && from < t->count && to > 0 && to < t->count && (t->states[from].edges & SM_TO(to)) != 0;
}

/* Moves *state; false, and nothing changed, when the table has no such edge. */
static inline bool sm_move(const struct sm_table *t, int *state, int to)
{
    if (!sm_may(t, *state, to))
        return false;
    *state = to;
    return true;
}

#endif
