/* Plans of faults, for tests: what shall go wrong, and when. Compiled with -DPIT_FAULTS=ON, and into tests; a product has none of it. Pure: a plan
 * and an occasion go in, a decision comes out; src/api/faults.c does the harm.
 *
 *   seed=7, kill@call=17, delay@p=0.01:5ms, enomem@every=1000
 *
 * A fault is KIND@WHEN or KIND@WHEN:TIME. WHEN: call=N (the N-th occasion alone), every=N (each N-th), p=X (with this probability). TIME: a number
 * with us, ms or s. Items are separated by commas; blanks do not count. An occasion of a kind is what INJECT_LIST says.
 *
 * Invariant: the decision at the n-th occasion of a kind depends on seed, kind and n alone, whatever other threads do.
 * Failure: a typed code, the place and a sentence; *ret is untouched. Thread: inject_parse one, inject_now any. */
#ifndef PIT_FAULT_INJECT_H
#define PIT_FAULT_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(CONSTANT, name, default of TIME in us, occasion and harm) */
#define INJECT_LIST(X)                                                                                                         \
    X(KILL, kill, 0, "a call is dispatched: its worker gets SIGKILL")                                                          \
    X(DELAY, delay, 1000, "a call is dispatched: the thread that tells of it is held up")                                      \
    X(ENOMEM, enomem, 0, "memory is allocated, or a segment: there is none")                                                   \
    X(TORN, torn, 0, "bytes come from a worker's socket: half of them, and then its end")                                      \
    X(SLOW, slow, 1000, "bytes are read from a socket or a pipe: later")                                                       \
    X(CLOCK, clock, 1000000, "a call is dispatched: the clock jumps ahead")                                                    \
    X(FDS, fds, 0, "a descriptor is made: there is none left")

enum inject_kind {
#define INJECT_ENUM(constant, name, us, text) INJECT_##constant,
    INJECT_LIST(INJECT_ENUM)
#undef INJECT_ENUM
        INJECT_KINDS
};

enum inject_when { INJECT_NEVER, INJECT_AT, INJECT_EVERY, INJECT_WITH };

struct inject_rule {
    enum inject_when when;
    uint64_t n;     /* AT, EVERY */
    double p;       /* WITH */
    uint64_t ns;    /* TIME */
    uint64_t seen;  /* atomic: occasions */
    uint64_t taken; /* atomic: faults */
};

struct inject_plan {
    uint64_t seed;
    struct inject_rule rules[INJECT_KINDS];
};

struct inject_error {
    int code;  /* PIT_E_UNKNOWN_KEY, PIT_E_INVALID_PARAMETER, PIT_E_DUPLICATE_KEY */
    size_t at; /* offset in the text */
    char text[96];
};

/* 0 or the code that is also in *why. */
int inject_parse(const char *text, struct inject_plan *ret, struct inject_error *why);
/* An occasion: shall it go wrong? *ret_ns (may be NULL): TIME. */
bool inject_now(struct inject_plan *p, enum inject_kind kind, uint64_t *ret_ns);
const char *inject_name(enum inject_kind kind);

#endif
