/* See env.h. */
#include "base/env.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

static size_t name_length(const char *item)
{
    return strcspn(item, "=");
}

static char **find(const struct env *e, const char *name, size_t n)
{
    for (size_t i = 0; i < e->n; i++)
        if (strncmp(e->items[i], name, n) == 0 && e->items[i][n] == '=')
            return &e->items[i];
    return NULL;
}

static bool grow(struct env *e)
{
    if (e->n + 1 < e->cap)
        return true;
    size_t cap = e->cap * 2 + 32;
    char **items = mem_realloc(e->items, cap * sizeof *items);
    if (items == NULL)
        return false;
    e->items = items;
    e->cap = cap;
    return true;
}

static void put_taken(struct env *e, char *copy)
{
    if (copy == NULL || !grow(e)) {
        e->failed = true;
        mem_free(copy);
        return;
    }
    char **old = find(e, copy, name_length(copy));
    if (old != NULL) {
        mem_free(*old);
        *old = copy;
        return;
    }
    e->items[e->n++] = copy;
    e->items[e->n] = NULL;
}

void env_put(struct env *e, const char *item)
{
    put_taken(e, mem_strdup(item));
}

void env_put_all(struct env *e, const char *const *items)
{
    for (size_t i = 0; items != NULL && items[i] != NULL; i++)
        env_put(e, items[i]);
}

void env_default(struct env *e, const char *item)
{
    if (find(e, item, name_length(item)) == NULL)
        env_put(e, item);
}

void env_putf(struct env *e, const char *format, ...)
{
    struct buf b = {0};
    va_list ap;
    va_start(ap, format);
    buf_vprintf(&b, format, ap);
    va_end(ap);
    char *item = buf_take_str(&b);
    buf_finish(&b);
    put_taken(e, item);
}

const char *env_get(const struct env *e, const char *name)
{
    char **item = find(e, name, strlen(name));
    return item != NULL ? *item + strlen(name) + 1 : NULL;
}

char **env_take(struct env *e)
{
    if (e->failed || !grow(e)) {
        env_finish(e);
        return NULL;
    }
    e->items[e->n] = NULL;
    char **items = e->items;
    *e = (struct env){0};
    return items;
}

void env_finish(struct env *e)
{
    for (size_t i = 0; i < e->n; i++)
        mem_free(e->items[i]);
    mem_free(e->items);
    *e = (struct env){0};
}
