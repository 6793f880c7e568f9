/* What a handler can read of an event: the pit_event_* functions. Borrowed from the emitter, valid until the handler returns; thread: the
 * handler's. Unknown names are absent, never an error. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_text.h"
#include "telemetry/event_internal.h"

/* The place of name in a list of names separated by blanks, -1: not there. */
static int place(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; *list != '\0'; i++) {
        size_t length = strcspn(list, " ");
        if (length == n && memcmp(list, name, n) == 0)
            return i;
        list += length;
        list += strspn(list, " ");
    }
    return -1;
}

const char *pit_event_name(const pit_event *ev)
{
    return ev != NULL ? event_table[ev->id].name : NULL;
}

uint64_t pit_event_timestamp_ns(const pit_event *ev)
{
    if (ev == NULL)
        return 0;
    if (ev->timestamp_ns == 0)
        ((pit_event *)(uintptr_t)ev)->timestamp_ns = ev->now_ns(); /* never const itself: see number_text */
    return ev->timestamp_ns;
}

bool pit_event_number(const pit_event *ev, const char *measurement, double *ret)
{
    int i = ev != NULL && ev->numbers != NULL && measurement != NULL ? place(event_table[ev->id].numbers, measurement) : -1;
    if (i < 0)
        return false;
    if (ret != NULL)
        *ret = ev->numbers[i];
    return true;
}

/* The decimal text of v in the event's own memory (an event is an automatic variable of the emitter, never const itself). */
static const char *number_text(const char text[EVENT_NUMBER_TEXT], uint64_t v)
{
    if (v == 0)
        return NULL;
    char *to = (char *)(uintptr_t)text;
    if (*to == '\0')
        snprintf(to, EVENT_NUMBER_TEXT, "%llu", (unsigned long long)v);
    return to;
}

static const char *common_text(const pit_event *ev, int i)
{
    const struct event_common *c = ev->common;
    switch (i) {
    case 0:
        return c->pool;
    case 1:
        return c->worker_id;
    case 2:
        return number_text(ev->generation, c->generation);
    case 3:
        return c->session_id;
    case 4:
        return c->correlation_id;
    case 5:
        return number_text(ev->call_id, c->call_id);
    default:
        return NULL;
    }
}
static const char common_names[] = "pool worker_id generation session_id correlation_id call_id";

const char *pit_event_text(const pit_event *ev, const char *key)
{
    if (ev == NULL || key == NULL)
        return NULL;
    int i = ev->texts != NULL ? place(event_table[ev->id].texts, key) : -1;
    return i >= 0 ? ev->texts[i] : common_text(ev, place(common_names, key));
}

/* Appends "name": for the next name of a list and steps over it. */
static void put_name(struct buf *b, const char **list, bool *first)
{
    size_t n = strcspn(*list, " ");
    buf_puts(b, *first ? "\"" : ",\"");
    buf_append(b, *list, n);
    buf_puts(b, "\":");
    *first = false;
    *list += n;
    *list += strspn(*list, " ");
}

static void skip_name(const char **list)
{
    *list += strcspn(*list, " ");
    *list += strspn(*list, " ");
}

static void put_common(struct buf *b, const pit_event *ev)
{
    const char *list = common_names;
    for (int i = 0; *list != '\0'; i++) {
        const char *text = common_text(ev, i);
        bool first = false;
        if (text == NULL) {
            skip_name(&list);
            continue;
        }
        bool number = text == ev->generation || text == ev->call_id;
        put_name(b, &list, &first);
        if (number)
            buf_puts(b, text);
        else
            json_put_string(b, text);
    }
}

char *pit_event_json(const pit_event *ev)
{
    if (ev == NULL)
        return NULL;
    struct buf b = {0};
    const struct event_info *info = &event_table[ev->id];
    buf_puts(&b, "{\"name\":");
    json_put_string(&b, info->name);
    buf_printf(&b, ",\"timestamp_ns\":%llu", (unsigned long long)pit_event_timestamp_ns(ev));
    put_common(&b, ev);
    buf_puts(&b, ",\"measurements\":{");
    const char *list = info->numbers;
    bool first = true;
    for (int i = 0; ev->numbers != NULL && *list != '\0'; i++) {
        put_name(&b, &list, &first);
        json_put_number(&b, ev->numbers[i]);
    }
    buf_puts(&b, "},\"metadata\":{");
    list = info->texts;
    first = true;
    for (int i = 0; ev->texts != NULL && *list != '\0'; i++) {
        if (ev->texts[i] == NULL) {
            skip_name(&list);
            continue;
        }
        put_name(&b, &list, &first);
        json_put_string(&b, ev->texts[i]);
    }
    buf_puts(&b, "}}");
    return buf_take_str(&b);
}
