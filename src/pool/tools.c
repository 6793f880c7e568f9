/* See tools.h. A table of lists by the hash of the name: hosts have dozens of tools, and thousands at most. */
#include "pool/tools.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static struct list *bucket_of(struct tools *ts, const char *name, size_t n)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return &ts->buckets[hash % TOOL_BUCKETS];
}

void tools_init(struct tools *ts)
{
    pthread_mutex_init(&ts->lock, NULL);
    for (int i = 0; i < TOOL_BUCKETS; i++)
        list_init(&ts->buckets[i]);
}

void tools_finish(struct tools *ts)
{
    for (int i = 0; i < TOOL_BUCKETS; i++) {
        struct list *node;
        while ((node = list_pop_front(&ts->buckets[i])) != NULL)
            tool_unref(LIST_ENTRY(node, struct tool, node));
    }
    pthread_mutex_destroy(&ts->lock);
}

struct tool *tool_new(const char *scope, const char *name, size_t name_n)
{
    size_t scope_n = scope != NULL ? strlen(scope) + 1 : 0;
    struct tool *t = mem_zalloc(sizeof *t + name_n + 1 + scope_n);
    if (t == NULL)
        return NULL;
    t->refs = 1;
    memcpy(t->texts, name, name_n);
    t->name = t->texts;
    if (scope != NULL)
        t->scope = memcpy(t->texts + name_n + 1, scope, scope_n);
    return t;
}

struct tool *tool_ref(struct tool *t)
{
    __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void tool_unref(struct tool *t)
{
    if (t == NULL || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (t->release != NULL)
        t->release(t->user);
    pit_value_free(t->metadata);
    pit_value_free(t->described);
    mem_free(t);
}

static bool is_of(const struct tool *t, const char *scope)
{
    return scope == NULL ? t->scope == NULL : t->scope != NULL && strcmp(t->scope, scope) == 0;
}

/* lock: the tool of exactly this scope. */
static struct tool *find(struct tools *ts, const char *scope, const char *name, size_t n)
{
    LIST_EACH(node, bucket_of(ts, name, n))
    {
        struct tool *t = LIST_ENTRY(node, struct tool, node);
        if (strlen(t->name) == n && memcmp(t->name, name, n) == 0 && is_of(t, scope))
            return t;
    }
    return NULL;
}

/* lock */
static void put(struct tools *ts, struct tool *t)
{
    list_push_back(bucket_of(ts, t->name, strlen(t->name)), &t->node);
    ts->count++;
}

/* lock */
static void take_out(struct tools *ts, struct tool *t)
{
    list_remove(&t->node);
    ts->count--;
}

/* lock: as if the first n had never been added. */
static void take_back(struct tools *ts, struct tool *const *items, size_t n)
{
    while (n-- > 0) {
        take_out(ts, items[n]);
        if (items[n]->replaced != NULL)
            put(ts, items[n]->replaced);
        items[n]->replaced = NULL;
        __atomic_sub_fetch(&items[n]->refs, 1, __ATOMIC_RELAXED); /* not the last: who adds has one */
    }
}

int tools_add(struct tools *ts, struct tool *const *items, size_t n, size_t *ret_bad, size_t *ret_count)
{
    int rc = 0;
    pthread_mutex_lock(&ts->lock);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct tool *t = items[i], *old = find(ts, t->scope, t->name, strlen(t->name));
        if (old != NULL && !t->replaces) {
            rc = PIT_E_DUPLICATE_TOOL;
            *ret_bad = i;
            take_back(ts, items, i);
            break;
        }
        if (old != NULL)
            take_out(ts, old);
        t->replaced = old;
        put(ts, tool_ref(t));
    }
    *ret_count = ts->count;
    pthread_mutex_unlock(&ts->lock);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct tool *old = items[i]->replaced;
        items[i]->replaced = NULL;
        tool_unref(old);
    }
    return rc;
}

bool tools_remove(struct tools *ts, const char *scope, const char *name, size_t name_n, size_t *ret_count)
{
    pthread_mutex_lock(&ts->lock);
    struct tool *t = find(ts, scope, name, name_n);
    if (t != NULL)
        take_out(ts, t);
    *ret_count = ts->count;
    pthread_mutex_unlock(&ts->lock);
    tool_unref(t);
    return t != NULL;
}

struct tool *tools_find(struct tools *ts, const char *session, const char *name)
{
    size_t n = strlen(name);
    pthread_mutex_lock(&ts->lock);
    struct tool *t = session != NULL ? find(ts, session, name, n) : NULL;
    if (t == NULL)
        t = find(ts, NULL, name, n);
    if (t != NULL)
        tool_ref(t);
    pthread_mutex_unlock(&ts->lock);
    return t;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct tool *const *)a)->name, (*(struct tool *const *)b)->name);
}

/* lock: does the session see it? */
static bool is_seen(struct tools *ts, const struct tool *t, const char *session)
{
    if (t->scope != NULL)
        return session != NULL && strcmp(t->scope, session) == 0;
    return session == NULL || find(ts, session, t->name, strlen(t->name)) == NULL;
}

int tools_list(struct tools *ts, const char *session, bool (*wanted)(const struct tool *t, const void *arg), const void *arg,
               pit_value *list)
{
    pthread_mutex_lock(&ts->lock);
    size_t n = 0;
    struct tool **found = mem_array(ts->count + 1, sizeof *found);
    for (int i = 0; i < TOOL_BUCKETS && found != NULL; i++)
        LIST_EACH(node, &ts->buckets[i])
        {
            struct tool *t = LIST_ENTRY(node, struct tool, node);
            if (is_seen(ts, t, session) && (wanted == NULL || wanted(t, arg)))
                found[n++] = tool_ref(t);
        }
    pthread_mutex_unlock(&ts->lock);
    if (found == NULL)
        return PIT_E_ALLOCATION_FAILED;
    qsort(found, n, sizeof(struct tool *), by_name);
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = pit_list_append_take(list, pit_value_ref(found[i]->described));
        tool_unref(found[i]);
    }
    mem_free(found);
    return rc;
}
