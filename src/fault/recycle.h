/* When a worker has served long enough. Pure: what is known of it and the rules go in, a reason comes out.
 *
 * Invariant: without rules there is never a reason. A number that is not known (memory 0) is no reason. */
#ifndef PIT_FAULT_RECYCLE_H
#define PIT_FAULT_RECYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault/leak.h"

/* X(CONSTANT, name, meaning) */
#define RECYCLE_REASON_LIST(X)                                                                                                 \
    X(TTL_EXPIRED, ttl_expired, "it is older than worker_ttl")                                                                 \
    X(MAX_REQUESTS, max_requests, "it has finished worker_max_requests calls")                                                 \
    X(MEMORY_THRESHOLD, memory_threshold, "it uses memory_threshold_mb or more")                                               \
    X(LEAK_FORECAST, leak_forecast, "it would reach memory_threshold_mb within the next tenth of its calls")                   \
    X(MANUAL, manual, "pit_worker_recycle() was called")                                                                       \
    X(HEALTH, health, "its health checks failed")                                                                              \
    X(CANCELLED, cancelled, "an exception was raised in its code to cancel a call")

enum recycle_reason {
    RECYCLE_NONE = 0,
#define RECYCLE_ENUM(constant, name, meaning) RECYCLE_##constant,
    RECYCLE_REASON_LIST(RECYCLE_ENUM)
#undef RECYCLE_ENUM
        RECYCLE_REASONS
};

struct recycle_rules {     /* 0: no such rule */
    uint64_t ttl_ns;       /* before its jitter */
    uint64_t max_requests; /* calls */
    uint64_t memory_bytes; /* threshold */
    double jitter;         /* 0 to 1: of the ttl, to either side */
    bool forecast;         /* of the threshold */
};

struct recycle_facts {
    uint64_t age_ns, ttl_ns; /* ttl_ns: its own, of recycle_jittered() */
    uint64_t calls;          /* finished ones */
    uint64_t memory_bytes;   /* 0: not known */
    const struct leak *leak; /* what was seen of its memory; NULL: nothing */
};

enum recycle_reason recycle_judge(const struct recycle_rules *r, const struct recycle_facts *f);
/* Nine tenths of the way there. */
bool recycle_near_ttl(const struct recycle_rules *r, const struct recycle_facts *f);
bool recycle_near_max_requests(const struct recycle_rules *r, const struct recycle_facts *f);
/* The ttl of one worker, so that those who started together do not end together; noise: evenly spread. */
uint64_t recycle_jittered(const struct recycle_rules *r, uint32_t noise);
/* Is it looked at at all? */
bool recycle_has_rules(const struct recycle_rules *r);
const char *recycle_reason_name(enum recycle_reason why);
const char *recycle_reason_text(enum recycle_reason why);
/* "90" (seconds), "30s", "15m", "2h", "1d", "infinity": *ret in ns, 0 for ever. false: no such duration, or none at all. */
bool recycle_parse_ttl(const char *text, uint64_t *ret);

#endif
