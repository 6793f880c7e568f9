/* See commands.h. Names longer than COMMAND_NAME - 1 are never short; the least recently used entry makes room. */
#include "pool/commands.h"

#include <string.h>

enum {
    SHORT_NS = 50 * 1000,
    ENOUGH = 4,
    EVERY = 16,
    WINDOW_NS = 400 * 1000, /* so long may a lane be busy with what was written ahead: others wait for it */
    WINDOW_MAX = 256        /* as many marks as a lane has (ring/segment.h) */
};

static struct command_stats *find(struct commands *c, const char *name)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (strcmp(c->kept[i].name, name) != 0)
            continue;
        if (i > 0) { /* one step towards the front: frequent ones are found at once */
            struct command_stats s = c->kept[i];
            c->kept[i] = c->kept[i - 1];
            c->kept[--i] = s;
        }
        return &c->kept[i];
    }
    return NULL;
}

static struct command_stats *add(struct commands *c, const char *name)
{
    if (strlen(name) >= COMMAND_NAME)
        return NULL;
    if (c->count < COMMANDS_KEPT)
        c->count++;
    struct command_stats *s = &c->kept[c->count - 1];
    *s = (struct command_stats){0};
    memcpy(s->name, name, strlen(name) + 1);
    return s;
}

unsigned commands_window(struct commands *c, const char *name, bool *ret_measure)
{
    struct command_stats *s = find(c, name);
    if (s == NULL)
        s = add(c, name);
    *ret_measure = s != NULL && (s->samples < ENOUGH || s->turns++ % EVERY == 0);
    if (s == NULL || s->samples < ENOUGH || s->usual_ns >= SHORT_NS)
        return 1;
    uint64_t window = WINDOW_NS / (s->usual_ns + 1);
    return window < WINDOW_MAX ? (unsigned)window : WINDOW_MAX;
}

void commands_measured(struct commands *c, const char *name, uint64_t ns)
{
    struct command_stats *s = find(c, name);
    if (s == NULL)
        return;
    /* One long run counts at once, many short ones count slowly: being wrong about "short" costs other callers. */
    if (s->samples == 0 || ns > s->usual_ns * 8)
        s->usual_ns = ns;
    else
        s->usual_ns += ns / 8 - s->usual_ns / 8;
    if (s->samples < UINT32_MAX)
        s->samples++;
}
