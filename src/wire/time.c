/* Datetimes, dates, times of day and durations: constructors, readers, payloads, comparison. time_text.c has their text.
 *
 * Invariants
 *  1. A value of these kinds is in range: ns below 10^9, a day that exists, a wall-clock year from 1 to 9999, an offset of less than a day.
 *  2. A datetime with an offset counts in UTC, a naive one on the wall.
 *
 * Failure: failed values with invalid_parameter; payloads that are out of range are deserialization_failed. Thread: any. */
#include "wire/time.h"

#include <string.h>

#include "wire/leaf.h"

#define ZONE_MAX 255u
#define FLAG_OFFSET 1
#define UNIX_DAY 719162 /* days from 0001-01-01 to 1970-01-01 */
#define MAX_DAY 3652058 /* 9999-12-31 */

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_of_month(int year, int month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

bool time_date_exists(int64_t year, int64_t month, int64_t day)
{
    return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= days_of_month((int)year, (int)month);
}

int64_t time_days_from_date(struct value_date date)
{
    int64_t before = date.year - 1, days = before * 365 + before / 4 - before / 100 + before / 400 - UNIX_DAY;
    for (int month = 1; month < date.month; month++)
        days += days_of_month(date.year, month);
    return days + date.day - 1;
}

struct value_date time_date_from_days(int64_t days)
{
    int64_t day = days + UNIX_DAY;
    int year = (int)(day / 366) + 1, month = 1; /* never late, and early by some twenty years at most */
    while (year < 9999 && time_days_from_date((struct value_date){(uint16_t)(year + 1), 1, 1}) <= days)
        year++;
    day = days - time_days_from_date((struct value_date){(uint16_t)year, 1, 1});
    while (day >= days_of_month(year, month))
        day -= days_of_month(year, month++);
    return (struct value_date){(uint16_t)year, (uint8_t)month, (uint8_t)(day + 1)};
}

static bool offset_is_good(int32_t offset)
{
    return offset == PIT_NAIVE || (offset > -TIME_DAY && offset < TIME_DAY);
}

/* "" or what is wrong with it. */
static const char *time_flaw(int kind, const struct value_time *t, const char *zone)
{
    if (t->ns >= TIME_NS)
        return "nanoseconds of a second or more";
    if (!offset_is_good(t->offset))
        return "an offset of a day or more";
    if (kind == PIT_KIND_TIME && (t->sec < 0 || t->sec >= TIME_DAY))
        return "a time that is not of the day";
    if (kind != PIT_KIND_DATETIME)
        return "";
    if (t->zone_n > ZONE_MAX || (t->zone_n != 0 && memchr(zone, '\0', t->zone_n) != NULL))
        return "a zone's name that is too long or holds a NUL";
    if (t->zone_n != 0 && t->offset == PIT_NAIVE)
        return "a zone without an offset";
    int64_t wall;
    if (__builtin_add_overflow(t->sec, t->offset == PIT_NAIVE ? 0 : t->offset, &wall) || wall < (int64_t)-UNIX_DAY * TIME_DAY ||
        wall >= (int64_t)(MAX_DAY + 1 - UNIX_DAY) * TIME_DAY)
        return "a year that is not between 1 and 9999";
    return "";
}

static void set_time(pit_value *v, struct value_time *where, const struct value_time *content, const char *zone)
{
    *where = *content;
    if (content->zone_n != 0)
        memcpy(where->zone, zone, content->zone_n);
    where->zone[content->zone_n] = '\0';
    v->time = where;
}

pit_value *time_new(int kind, const struct value_time *content, const char *zone)
{
    const char *flaw = time_flaw(kind, content, zone);
    if (flaw[0] != '\0')
        return value_failed_text(PIT_E_INVALID_PARAMETER, "", flaw);
    if (!mp_utf8_valid((const uint8_t *)zone, content->zone_n, NULL))
        return value_failed(PIT_E_INVALID_UTF8);
    pit_value *v = leaf_new(kind, sizeof *content + content->zone_n + 1);
    if (v->kind == kind)
        set_time(v, (struct value_time *)(void *)(v + 1), content, zone);
    return v;
}

/* ---- constructors ---- */

pit_value *pit_datetime(int64_t sec, int32_t ns, int32_t utc_offset_s, const char *zone)
{
    size_t n = zone != NULL ? strnlen(zone, ZONE_MAX + 1) : 0;
    return time_new(PIT_KIND_DATETIME,
                    &(struct value_time){.sec = sec, .ns = (uint32_t)ns, .offset = utc_offset_s, .zone_n = (uint32_t)n}, zone);
}

pit_value *pit_time(int32_t sec, int32_t ns, int32_t utc_offset_s)
{
    return time_new(PIT_KIND_TIME, &(struct value_time){.sec = sec, .ns = (uint32_t)ns, .offset = utc_offset_s}, NULL);
}

pit_value *pit_duration(int64_t sec, int32_t ns)
{
    return time_new(PIT_KIND_DURATION, &(struct value_time){.sec = sec, .ns = (uint32_t)ns}, NULL);
}

pit_value *pit_date(int year, int month, int day)
{
    if (!time_date_exists(year, month, day))
        return value_failed_text(PIT_E_INVALID_PARAMETER, "", "a day that does not exist");
    pit_value *v = leaf_new(PIT_KIND_DATE, 0);
    if (v->kind == PIT_KIND_DATE)
        v->date = (struct value_date){(uint16_t)year, (uint8_t)month, (uint8_t)day};
    return v;
}

/* ---- readers ---- */

#define GIVE(target, x)                                                                                                        \
    do {                                                                                                                       \
        if ((target) != NULL)                                                                                                  \
            *(target) = (x);                                                                                                   \
    } while (0)

bool pit_value_get_datetime(const pit_value *v, int64_t *ret_sec, int32_t *ret_ns, int32_t *ret_utc_offset_s,
                            const char **ret_zone)
{
    if (v == NULL || v->kind != PIT_KIND_DATETIME)
        return false;
    GIVE(ret_sec, v->time->sec);
    GIVE(ret_ns, (int32_t)v->time->ns);
    GIVE(ret_utc_offset_s, v->time->offset);
    GIVE(ret_zone, v->time->zone_n != 0 ? v->time->zone : NULL);
    return true;
}

bool pit_value_get_date(const pit_value *v, int *ret_year, int *ret_month, int *ret_day)
{
    if (v == NULL || v->kind != PIT_KIND_DATE)
        return false;
    GIVE(ret_year, v->date.year);
    GIVE(ret_month, v->date.month);
    GIVE(ret_day, v->date.day);
    return true;
}

bool pit_value_get_time(const pit_value *v, int32_t *ret_sec, int32_t *ret_ns, int32_t *ret_utc_offset_s)
{
    if (v == NULL || v->kind != PIT_KIND_TIME)
        return false;
    GIVE(ret_sec, (int32_t)v->time->sec);
    GIVE(ret_ns, (int32_t)v->time->ns);
    GIVE(ret_utc_offset_s, v->time->offset);
    return true;
}

bool pit_value_get_duration(const pit_value *v, int64_t *ret_sec, int32_t *ret_ns)
{
    if (v == NULL || v->kind != PIT_KIND_DURATION)
        return false;
    GIVE(ret_sec, v->time->sec);
    GIVE(ret_ns, (int32_t)v->time->ns);
    return true;
}

/* ---- comparison ---- */

bool value_time_equal(const pit_value *a, const pit_value *b)
{
    if (a->kind == PIT_KIND_DATE)
        return a->date.year == b->date.year && a->date.month == b->date.month && a->date.day == b->date.day;
    const struct value_time *x = a->time, *y = b->time;
    return x->sec == y->sec && x->ns == y->ns && x->offset == y->offset && x->zone_n == y->zone_n &&
           memcmp(x->zone, y->zone, x->zone_n) == 0;
}

static int order_int64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

int value_time_order(const pit_value *a, const pit_value *b)
{
    if (a->kind == PIT_KIND_DATE)
        return order_int64(time_days_from_date(a->date), time_days_from_date(b->date));
    const struct value_time *x = a->time, *y = b->time;
    bool aware = x->offset != PIT_NAIVE;
    if (aware != (y->offset != PIT_NAIVE))
        return aware ? 1 : -1;
    int64_t by_x = 0, by_y = 0; /* times of day with an offset are equal when they name the same moment of it */
    if (aware && a->kind == PIT_KIND_TIME) {
        by_x = x->offset;
        by_y = y->offset;
    }
    int order = order_int64(x->sec - by_x, y->sec - by_y);
    return order != 0 ? order : order_int64(x->ns, y->ns);
}

/* ---- payloads ---- */

static const char *parse_date(const uint8_t *p, size_t n, struct value_date *ret)
{
    if (n != 4)
        return "a date of another size than 4 bytes";
    *ret = (struct value_date){mp_be16(p), p[2], p[3]};
    return time_date_exists(ret->year, ret->month, ret->day) ? "" : "a day that does not exist";
}

/* Everything but dates. *ret_zone points into the payload. */
static const char *parse_time(int ext, const uint8_t *p, size_t n, struct value_time *ret, const char **ret_zone)
{
    size_t head = ext == MP_EXT_TIME ? 8 : 12;
    *ret = (struct value_time){.offset = ext == MP_EXT_DURATION ? 0 : PIT_NAIVE};
    *ret_zone = (const char *)p + n;
    if (n < head)
        return "a time that is too short";
    ret->sec = ext == MP_EXT_TIME ? (int64_t)mp_be32(p) : (int64_t)mp_be64(p);
    ret->ns = mp_be32(p + head - 4);
    size_t used = head;
    if (ext != MP_EXT_DURATION) {
        if (n == used || (p[used] & ~FLAG_OFFSET) != 0)
            return "a time with flags that do not exist";
        if (p[used++] == FLAG_OFFSET) {
            if (n - used < 4)
                return "a time that is too short";
            ret->offset = (int32_t)mp_be32(p + used);
            if (ret->offset == PIT_NAIVE)
                return "an offset of a day or more";
            used += 4;
        }
    }
    if (n != used && ext != MP_EXT_DATETIME)
        return "a time with bytes that belong to nothing";
    if (n - used > ZONE_MAX)
        return "a zone's name that is too long or holds a NUL";
    ret->zone_n = (uint32_t)(n - used);
    *ret_zone = (const char *)p + used;
    int kind = ext == MP_EXT_DATETIME ? PIT_KIND_DATETIME : ext == MP_EXT_TIME ? PIT_KIND_TIME : PIT_KIND_DURATION;
    return time_flaw(kind, ret, *ret_zone);
}

int time_check(struct leaf_payload *p, struct leaf_room *room)
{
    struct value_time t;
    struct value_date date;
    const char *zone;
    if (p->ext == MP_EXT_DATE) {
        p->why = parse_date(p->data, p->n, &date);
        return p->why[0] != '\0' ? PIT_E_DESERIALIZATION_FAILED : 0;
    }
    p->why = parse_time(p->ext, p->data, p->n, &t, &zone);
    if (p->why[0] != '\0')
        return PIT_E_DESERIALIZATION_FAILED;
    if (!mp_utf8_valid((const uint8_t *)zone, t.zone_n, NULL)) {
        p->why = "a zone's name is not valid UTF-8";
        return PIT_E_INVALID_UTF8;
    }
    room->words += (sizeof t + t.zone_n + 1 + 7) / 8;
    return 0;
}

void time_fill(pit_value *v, int ext, const uint8_t *data, size_t n, struct leaf_place *place)
{
    struct value_time t;
    const char *zone;
    if (ext == MP_EXT_DATE) {
        v->kind = PIT_KIND_DATE;
        parse_date(data, n, &v->date);
        return;
    }
    v->kind = ext == MP_EXT_DATETIME ? PIT_KIND_DATETIME : ext == MP_EXT_TIME ? PIT_KIND_TIME : PIT_KIND_DURATION;
    parse_time(ext, data, n, &t, &zone);
    set_time(v, leaf_take_words(place, sizeof t + t.zone_n + 1), &t, zone);
}

size_t time_size(const pit_value *v)
{
    switch (v->kind) {
    case PIT_KIND_DATE:
        return 4;
    case PIT_KIND_DURATION:
        return 12;
    default:
        return (v->kind == PIT_KIND_TIME ? 9u : 13u) + (v->time->offset != PIT_NAIVE ? 4u : 0u) + v->time->zone_n;
    }
}

uint8_t *time_put(uint8_t *p, const pit_value *v)
{
    if (v->kind == PIT_KIND_DATE) {
        *p++ = (uint8_t)(v->date.year >> 8);
        *p++ = (uint8_t)v->date.year;
        *p++ = v->date.month;
        *p++ = v->date.day;
        return p;
    }
    const struct value_time *t = v->time;
    p = v->kind == PIT_KIND_TIME ? leaf_put32(p, (uint32_t)t->sec) : leaf_put64(p, (uint64_t)t->sec);
    p = leaf_put32(p, t->ns);
    if (v->kind == PIT_KIND_DURATION)
        return p;
    *p++ = t->offset != PIT_NAIVE ? FLAG_OFFSET : 0;
    if (t->offset != PIT_NAIVE)
        p = leaf_put32(p, (uint32_t)t->offset);
    memcpy(p, t->zone, t->zone_n);
    return p + t->zone_n;
}
