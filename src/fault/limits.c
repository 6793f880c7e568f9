/* See limits.h. */
#include "fault/limits.h"

#define LOOK_NS UINT64_C(10000000)      /* between two looks at what cannot be foreseen */
#define LOOK_LEAST_NS UINT64_C(1000000) /* the loop's timers know no less */

static const struct {
    const char *name;
    uint64_t unit;
} kinds[] = {
#define LIMIT_ROW(constant, name, unit) {#name, unit},
    LIMIT_LIST(LIMIT_ROW)
#undef LIMIT_ROW
};

bool limits_any(const struct limits *l)
{
    for (int k = 0; k < LIMITS; k++)
        if (l->most[k] != 0)
            return true;
    return false;
}

enum limit_kind limits_judge(const struct limits *l, const struct limit_use *u)
{
    int k = 0;
    while (k < LIMITS && (l->most[k] == 0 || u->n[k] <= l->most[k]))
        k++;
    return (enum limit_kind)k;
}

static uint64_t left(const struct limits *l, const struct limit_use *u, enum limit_kind k)
{
    return u->n[k] < l->most[k] ? l->most[k] - u->n[k] : 0;
}

uint64_t limits_next_look(const struct limits *l, const struct limit_use *u)
{
    uint64_t next = UINT64_MAX;
    if (l->most[LIMIT_CPU] != 0 || l->most[LIMIT_MEMORY] != 0 || l->most[LIMIT_OUTPUT] != 0 || l->most[LIMIT_FILES] != 0)
        next = LOOK_NS;
    if (l->most[LIMIT_CPU] != 0 && left(l, u, LIMIT_CPU) < next)
        next = left(l, u, LIMIT_CPU);
    if (l->most[LIMIT_WALL] != 0 && left(l, u, LIMIT_WALL) < next)
        next = left(l, u, LIMIT_WALL);
    return next < LOOK_LEAST_NS ? LOOK_LEAST_NS : next;
}

const char *limit_name(enum limit_kind k)
{
    return kinds[k].name;
}

uint64_t limit_in_units(enum limit_kind k, uint64_t amount)
{
    return amount / kinds[k].unit + (amount % kinds[k].unit != 0);
}

bool limit_from_units(enum limit_kind k, int64_t n, uint64_t *ret)
{
    return n >= 0 && !__builtin_mul_overflow((uint64_t)n, kinds[k].unit, ret);
}
