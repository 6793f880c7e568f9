/* See inject.h. */
#include "fault/inject.h"

#include <snakepit/codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint64_t us;
} kinds[] = {
#define INJECT_ROW(constant, name, us, text) {#name, us},
    INJECT_LIST(INJECT_ROW)
#undef INJECT_ROW
};

struct reader {
    const char *text, *at;
    struct inject_error *why;
};

static int refuse(const struct reader *r, int code, const char *what)
{
    r->why->code = code;
    r->why->at = (size_t)(r->at - r->text);
    snprintf(r->why->text, sizeof r->why->text, "%s at %zu: '%.16s'", what, r->why->at, r->at);
    return code;
}

static void skip_blanks(struct reader *r)
{
    r->at += strspn(r->at, " \t");
}

/* Is this word next? Then it is passed. */
static bool take(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

static int read_count(struct reader *r, uint64_t *ret)
{
    char *end;
    if (*r->at < '0' || *r->at > '9')
        return refuse(r, PIT_E_INVALID_PARAMETER, "a number is missing");
    *ret = strtoull(r->at, &end, 10);
    if (*ret == 0)
        return refuse(r, PIT_E_INVALID_PARAMETER, "a count begins with 1");
    r->at = end;
    return 0;
}

static int read_probability(struct reader *r, double *ret)
{
    char *end;
    double p = strtod(r->at, &end);
    if (end == r->at || !(p > 0 && p <= 1))
        return refuse(r, PIT_E_INVALID_PARAMETER, "a probability is above 0 and at most 1");
    *ret = p;
    r->at = end;
    return 0;
}

static int read_when(struct reader *r, struct inject_rule *rule)
{
    if (take(r, "call=")) {
        rule->when = INJECT_AT;
        return read_count(r, &rule->n);
    }
    if (take(r, "every=")) {
        rule->when = INJECT_EVERY;
        return read_count(r, &rule->n);
    }
    if (take(r, "p=")) {
        rule->when = INJECT_WITH;
        return read_probability(r, &rule->p);
    }
    return refuse(r, PIT_E_UNKNOWN_KEY, "neither call=, every= nor p=");
}

static int read_time(struct reader *r, uint64_t *ret)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {{"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
    uint64_t n;
    int rc = read_count(r, &n);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (take(r, units[i].unit)) {
            if (n > UINT64_C(86400000000000) / units[i].ns)
                return refuse(r, PIT_E_INVALID_PARAMETER, "more than a day");
            *ret = n * units[i].ns;
            return 0;
        }
    return refuse(r, PIT_E_INVALID_PARAMETER, "a time ends with us, ms or s");
}

static int read_fault(struct reader *r, struct inject_plan *p)
{
    size_t n = strcspn(r->at, "@,: ");
    for (int i = 0; i < INJECT_KINDS; i++) {
        struct inject_rule *rule = &p->rules[i];
        if (strlen(kinds[i].name) != n || strncmp(r->at, kinds[i].name, n) != 0)
            continue;
        if (rule->when != INJECT_NEVER)
            return refuse(r, PIT_E_DUPLICATE_KEY, "this fault stands twice");
        r->at += n;
        if (!take(r, "@"))
            return refuse(r, PIT_E_INVALID_PARAMETER, "@ is missing");
        rule->ns = kinds[i].us * 1000;
        int rc = read_when(r, rule);
        return rc == 0 && take(r, ":") ? read_time(r, &rule->ns) : rc;
    }
    return refuse(r, PIT_E_UNKNOWN_KEY, "there is no such fault");
}

int inject_parse(const char *text, struct inject_plan *ret, struct inject_error *why)
{
    struct reader r = {text, text, why};
    struct inject_plan p = {.seed = 1};
    *why = (struct inject_error){0};
    for (;;) {
        skip_blanks(&r);
        int rc = take(&r, "seed=") ? read_count(&r, &p.seed) : read_fault(&r, &p);
        if (rc != 0)
            return rc;
        skip_blanks(&r);
        if (*r.at == '\0')
            break;
        if (!take(&r, ","))
            return refuse(&r, PIT_E_INVALID_PARAMETER, "a comma is missing");
    }
    *ret = p;
    return 0;
}

/* A number in [0, 1) for the n-th occasion (splitmix64). */
static double lot(uint64_t seed, int kind, uint64_t n)
{
    uint64_t z = seed * UINT64_C(0x9e3779b97f4a7c15) + ((uint64_t)kind << 56) + n * UINT64_C(0xd1342543de82ef95);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

bool inject_now(struct inject_plan *p, enum inject_kind kind, uint64_t *ret_ns)
{
    struct inject_rule *r = &p->rules[kind];
    if (r->when == INJECT_NEVER)
        return false;
    uint64_t n = __atomic_add_fetch(&r->seen, 1, __ATOMIC_RELAXED);
    bool now = r->when == INJECT_AT ? n == r->n : r->when == INJECT_EVERY ? n % r->n == 0 : lot(p->seed, (int)kind, n) < r->p;
    if (now)
        __atomic_add_fetch(&r->taken, 1, __ATOMIC_RELAXED);
    if (now && ret_ns != NULL)
        *ret_ns = r->ns;
    return now;
}

const char *inject_name(enum inject_kind kind)
{
    return kinds[kind].name;
}
