/* See envscan.h. */
#include "base/envscan.h"

#include <string.h>

void envscan_init(struct envscan *s, struct envscan_entry *entries, size_t n_entries)
{
    s->entries = entries;
    s->n_entries = n_entries;
    s->len = 0;
    for (size_t i = 0; i < n_entries; i++)
        entries[i].found = false;
}

static void end_of_line(struct envscan *s)
{
    if (s->len >= sizeof s->line)
        return;
    s->line[s->len] = '\0';
    for (size_t i = 0; i < s->n_entries; i++) {
        struct envscan_entry *e = &s->entries[i];
        size_t name = strlen(e->name);
        if (e->found || s->len <= name || s->line[name] != '=' || memcmp(s->line, e->name, name) != 0)
            continue;
        size_t value = s->len - name; /* with the NUL */
        if (value > sizeof e->value)
            continue;
        memcpy(e->value, s->line + name + 1, value);
        e->found = true;
    }
}

void envscan_feed(struct envscan *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\0') {
            end_of_line(s);
            s->len = 0;
        } else if (s->len < sizeof s->line) {
            s->line[s->len++] = bytes[i];
        }
    }
}
