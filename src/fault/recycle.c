/* See recycle.h. */
#include "fault/recycle.h"

#include <string.h>

static const struct {
    const char *name, *text;
} reasons[] = {{"none", ""},
#define RECYCLE_ROW(constant, name, meaning) {#name, meaning},
               RECYCLE_REASON_LIST(RECYCLE_ROW)
#undef RECYCLE_ROW
};

enum recycle_reason recycle_judge(const struct recycle_rules *r, const struct recycle_facts *f)
{
    if (r->ttl_ns != 0 && f->age_ns >= f->ttl_ns)
        return RECYCLE_TTL_EXPIRED;
    if (r->max_requests != 0 && f->calls >= r->max_requests)
        return RECYCLE_MAX_REQUESTS;
    if (r->memory_bytes == 0 || f->memory_bytes == 0)
        return RECYCLE_NONE;
    if (f->memory_bytes >= r->memory_bytes)
        return RECYCLE_MEMORY_THRESHOLD;
    double slope;
    if (!r->forecast || f->leak == NULL || !leak_slope(f->leak, &slope))
        return RECYCLE_NONE;
    return leak_calls_left(f->leak, slope, r->memory_bytes) <= (double)f->calls / 10 ? RECYCLE_LEAK_FORECAST : RECYCLE_NONE;
}

static bool is_near(uint64_t reached, uint64_t limit)
{
    return (double)reached >= (double)limit * 0.9;
}

bool recycle_near_ttl(const struct recycle_rules *r, const struct recycle_facts *f)
{
    return r->ttl_ns != 0 && is_near(f->age_ns, f->ttl_ns);
}

bool recycle_near_max_requests(const struct recycle_rules *r, const struct recycle_facts *f)
{
    return r->max_requests != 0 && is_near(f->calls, r->max_requests);
}

uint64_t recycle_jittered(const struct recycle_rules *r, uint32_t noise)
{
    double side = (double)noise / UINT32_MAX * 2 - 1;
    return r->ttl_ns == 0 ? 0 : (uint64_t)((double)r->ttl_ns * (1 + side * r->jitter)) + 1; /* a ttl of 0 would be none */
}

bool recycle_has_rules(const struct recycle_rules *r)
{
    return r->ttl_ns != 0 || r->max_requests != 0 || r->memory_bytes != 0;
}

const char *recycle_reason_name(enum recycle_reason why)
{
    return reasons[why].name;
}

const char *recycle_reason_text(enum recycle_reason why)
{
    return reasons[why].text;
}

bool recycle_parse_ttl(const char *text, uint64_t *ret)
{
    static const struct {
        const char *unit;
        uint64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    enum { MOST_DIGITS = 9 }; /* times a day in ns: below 2^64 where it is below MOST_S */
    const uint64_t most_s = UINT64_C(9000000000);
    if (strcmp(text, "infinity") == 0) {
        *ret = 0;
        return true;
    }
    uint64_t n = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > MOST_DIGITS)
        return false;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (uint64_t)(text[i] - '0');
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].unit) != 0)
            continue;
        if (n == 0 || n > most_s / units[i].seconds)
            return false;
        *ret = n * units[i].seconds * UINT64_C(1000000000);
        return true;
    }
    return false;
}
