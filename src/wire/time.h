/* Times: calendar and text. Thread: any; no state. */
#ifndef PIT_WIRE_TIME_H
#define PIT_WIRE_TIME_H

#include "wire/value.h"

#define TIME_DAY 86400
#define TIME_NS 1000000000u

/* A DATETIME, TIME or DURATION; zone: content->zone_n bytes. Failed with invalid_parameter or invalid_utf8 when it is out of range. */
pit_value *time_new(int kind, const struct value_time *content, const char *zone);
bool time_date_exists(int64_t year, int64_t month, int64_t day);
/* Days since 1970-01-01, and back (for the years 1 to 9999). */
int64_t time_days_from_date(struct value_date date);
struct value_date time_date_from_days(int64_t days);

/* time_text.c: the text of docs/wire.md, section 4, of DATETIME (without the zone's name), DATE, TIME, DURATION. */
#define TIME_TEXT 64
size_t time_put_text(char out[TIME_TEXT], const pit_value *v);
/* A moment in UTC, to the millisecond: 2026-03-01T12:00:00.000Z. Unlike gmtime(3) it opens no file of time zones, which the first one who asks would
 * wait for. wall_ns: since 1970-01-01. */
void time_put_utc(char out[TIME_TEXT], uint64_t wall_ns);
/* A value of that kind from n bytes of text; a zone (zone_n bytes) only for DATETIME. Failed with invalid_parameter. */
pit_value *time_from_text(int kind, const char *text, size_t n, const char *zone, size_t zone_n);

#endif
