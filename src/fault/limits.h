/* What one call may use of its worker. Pure: limits and what was measured go in, the limit that was passed comes out.
 *
 * Amounts are nanoseconds, bytes and counts here, and in the unit of its name wherever a limit is told of. */
#ifndef PIT_FAULT_LIMITS_H
#define PIT_FAULT_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* X(CONSTANT, name, unit) */
#define LIMIT_LIST(X)                                                                                                          \
    X(CPU, cpu_ms, 1000000)                                                                                                    \
    X(WALL, wall_ms, 1000000)                                                                                                  \
    X(MEMORY, rss_growth_mb, 1048576)                                                                                          \
    X(OUTPUT, output_bytes, 1)                                                                                                 \
    X(FILES, open_files, 1)

enum limit_kind {
#define LIMIT_ENUM(constant, name, unit) LIMIT_##constant,
    LIMIT_LIST(LIMIT_ENUM)
#undef LIMIT_ENUM
        LIMITS
};

struct limits {
    uint64_t most[LIMITS]; /* 0: no limit */
};

struct limit_use {
    uint64_t n[LIMITS]; /* since the call began */
};

bool limits_any(const struct limits *l);
/* The first limit that was passed, LIMITS when none was. */
enum limit_kind limits_judge(const struct limits *l, const struct limit_use *u);
/* How many nanoseconds from now the worker is worth another look, when none was passed; UINT64_MAX: never. */
uint64_t limits_next_look(const struct limits *l, const struct limit_use *u);
const char *limit_name(enum limit_kind k);
/* An amount in the unit of the limit's name, rounded up. */
uint64_t limit_in_units(enum limit_kind k, uint64_t amount);
/* n of these units; false: that is no amount. */
bool limit_from_units(enum limit_kind k, int64_t n, uint64_t *ret);

#endif
