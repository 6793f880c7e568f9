/* The text of times in JSON: ISO 8601 in one strict form, and seconds for durations.
 *
 * Invariants: what time_put_text() writes, time_from_text() reads as the same value; nothing is guessed: all fields are there, in digits of
 * their full width. Failure: failed values. Thread: any. */
#include <stdio.h>
#include <string.h>

#include "wire/time.h"

/* ---- writing ---- */

/* .5, without zeros behind; nothing for 0. */
static size_t put_fraction(char *out, uint32_t ns)
{
    if (ns == 0)
        return 0;
    size_t n = (size_t)sprintf(out, ".%09u", (unsigned)ns);
    while (out[n - 1] == '0')
        n--;
    return n;
}

static size_t put_clock(char *out, int64_t sec, uint32_t ns)
{
    unsigned s = (unsigned)sec;
    size_t n = (size_t)sprintf(out, "%02u:%02u:%02u", s / 3600 % 24, s / 60 % 60, s % 60);
    return n + put_fraction(out + n, ns);
}

static size_t put_offset(char *out, int32_t offset)
{
    if (offset == PIT_NAIVE)
        return 0;
    unsigned s = (unsigned)(offset < 0 ? -offset : offset);
    size_t n = (size_t)sprintf(out, "%c%02u:%02u", offset < 0 ? '-' : '+', s / 3600 % 24, s / 60 % 60);
    return s % 60 == 0 ? n : n + (size_t)sprintf(out + n, ":%02u", s % 60);
}

static size_t put_date(char *out, struct value_date date)
{
    return (size_t)sprintf(out, "%04u-%02u-%02u", date.year, date.month, date.day);
}

static size_t put_duration(char *out, const struct value_time *t)
{
    bool negative = t->sec < 0;
    uint64_t whole = negative ? 0 - (uint64_t)t->sec : (uint64_t)t->sec;
    uint32_t ns = t->ns;
    if (negative && ns != 0) {
        whole--;
        ns = TIME_NS - ns;
    }
    size_t n = (size_t)sprintf(out, "%s%llu", negative ? "-" : "", (unsigned long long)whole);
    return n + put_fraction(out + n, ns);
}

size_t time_put_text(char out[TIME_TEXT], const pit_value *v)
{
    if (v->kind == PIT_KIND_DATE)
        return put_date(out, v->date);
    const struct value_time *t = v->time;
    if (v->kind == PIT_KIND_DURATION)
        return put_duration(out, t);
    size_t n = 0;
    int64_t sec = t->sec;
    if (v->kind == PIT_KIND_DATETIME) {
        int64_t wall = sec + (t->offset == PIT_NAIVE ? 0 : t->offset), days = wall / TIME_DAY - (wall % TIME_DAY < 0);
        n = put_date(out, time_date_from_days(days));
        out[n++] = 'T';
        sec = wall - days * TIME_DAY;
    }
    n += put_clock(out + n, sec, t->ns);
    return n + put_offset(out + n, t->offset);
}

void time_put_utc(char out[TIME_TEXT], uint64_t wall_ns)
{
    uint64_t sec = wall_ns / TIME_NS;
    size_t n = put_date(out, time_date_from_days((int64_t)(sec / TIME_DAY)));
    unsigned s = (unsigned)(sec % TIME_DAY);
    sprintf(out + n, "T%02u:%02u:%02u.%03uZ", s / 3600, s / 60 % 60, s % 60, (unsigned)(wall_ns % TIME_NS / 1000000));
}

/* ---- reading ---- */

struct scan {
    const char *p, *end;
    bool good;
};

/* A number of exactly `width` digits. */
static int64_t scan_digits(struct scan *s, int width)
{
    int64_t x = 0;
    for (int i = 0; i < width; i++) {
        if (s->p == s->end || *s->p < '0' || *s->p > '9') {
            s->good = false;
            return 0;
        }
        x = x * 10 + (*s->p++ - '0');
    }
    return x;
}

static bool scan_char(struct scan *s, char c)
{
    bool there = s->p < s->end && *s->p == c;
    s->p += there;
    return there;
}

static void expect(struct scan *s, char c)
{
    s->good = scan_char(s, c) && s->good;
}

/* Nanoseconds: nothing, or a point and 1 to 9 digits. */
static uint32_t scan_fraction(struct scan *s)
{
    uint32_t ns = 0, unit = TIME_NS / 10;
    if (!scan_char(s, '.'))
        return 0;
    s->good = s->good && s->p < s->end && *s->p >= '0' && *s->p <= '9';
    for (; unit != 0 && s->p < s->end && *s->p >= '0' && *s->p <= '9'; unit /= 10)
        ns += unit * (uint32_t)(*s->p++ - '0');
    return ns;
}

/* hh:mm, and with `seconds` :ss, as seconds. */
static int64_t scan_clock(struct scan *s, bool seconds)
{
    int64_t hour = scan_digits(s, 2), minute, second = 0;
    expect(s, ':');
    minute = scan_digits(s, 2);
    if (seconds) {
        expect(s, ':');
        second = scan_digits(s, 2);
    }
    s->good = s->good && hour < 24 && minute < 60 && second < 60;
    return hour * 3600 + minute * 60 + second;
}

static int32_t scan_offset(struct scan *s)
{
    if (s->p == s->end)
        return PIT_NAIVE;
    if (scan_char(s, 'Z'))
        return 0;
    bool negative = *s->p == '-';
    s->good = s->good && (negative || *s->p == '+');
    s->p++;
    int32_t offset = (int32_t)scan_clock(s, s->end - s->p > 5);
    return negative ? -offset : offset;
}

static struct value_date scan_date(struct scan *s)
{
    int64_t year = scan_digits(s, 4), month, day;
    expect(s, '-');
    month = scan_digits(s, 2);
    expect(s, '-');
    day = scan_digits(s, 2);
    s->good = s->good && time_date_exists(year, month, day);
    return (struct value_date){(uint16_t)year, (uint8_t)month, (uint8_t)day};
}

static void scan_duration(struct scan *s, struct value_time *ret)
{
    bool negative = scan_char(s, '-');
    uint64_t whole = 0;
    const char *first = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, (uint64_t)(*s->p - '0'), &whole))
            s->good = false;
    s->good = s->good && s->p > first && (*first != '0' || s->p == first + 1);
    uint32_t ns = scan_fraction(s);
    if (negative && ns != 0) {
        whole++;
        ns = TIME_NS - ns;
    }
    s->good = s->good && whole <= (uint64_t)INT64_MAX + negative && (!negative || ns == 0 || whole != 0);
    ret->sec = (int64_t)(negative ? 0 - whole : whole);
    ret->ns = ns;
}

pit_value *time_from_text(int kind, const char *text, size_t n, const char *zone, size_t zone_n)
{
    struct scan s = {text, text + n, true};
    struct value_time t = {0};
    struct value_date date = {0};
    if (kind == PIT_KIND_DATETIME || kind == PIT_KIND_DATE)
        date = scan_date(&s);
    if (kind == PIT_KIND_DATETIME)
        expect(&s, 'T');
    if (kind == PIT_KIND_DATETIME || kind == PIT_KIND_TIME) {
        t.sec = scan_clock(&s, true);
        t.ns = scan_fraction(&s);
        t.offset = scan_offset(&s);
    } else if (kind == PIT_KIND_DURATION) {
        scan_duration(&s, &t);
    }
    if (!s.good || s.p != s.end)
        return value_failed(PIT_E_INVALID_PARAMETER);
    if (kind == PIT_KIND_DATE)
        return pit_date(date.year, date.month, date.day);
    if (kind == PIT_KIND_DATETIME)
        t.sec += time_days_from_date(date) * TIME_DAY - (t.offset == PIT_NAIVE ? 0 : t.offset);
    t.zone_n = zone_n > 256 ? 256 : (uint32_t)zone_n; /* too long either way */
    return time_new(kind, &t, zone);
}
