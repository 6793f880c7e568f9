/* See worker_tools.h. p->tools is a map of names to descriptions, frozen: who reads it takes a reference under the pool's lock. Its texts are a worker's: they
 * have been checked to be what they should be, and no more. */
#include "pool/worker_tools.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "pool/pool_list.h"

static pit_value *tools_of(struct pool *p)
{
    pool_lock(p);
    pit_value *tools = p->tools != NULL && p->state < POOL_STOPPING ? pit_value_ref(p->tools) : NULL;
    pool_unlock(p);
    return tools;
}

static int describe(const struct pool *p, const char *name, const pit_value *tool, pit_value *list)
{
    static const char *const keys[] = {"description", "parameters", "streaming", "idempotent", "timeout_ms"};
    pit_value *map = pit_map();
    pit_map_set_take(map, "name", pit_str(name));
    pit_map_set_take(map, "side", pit_str("worker"));
    pit_map_set_take(map, "pool", pit_str(p->set.name));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const pit_value *item = pit_value_get(tool, keys[i]);
        pit_map_set_take(map, keys[i], item != NULL ? pit_value_ref(item) : pit_nil());
    }
    return pit_list_append_take(list, map);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int worker_tools_list(struct pool *p, const char *name, pit_value *list)
{
    pit_value *tools = tools_of(p);
    const pit_value *key, *one = name != NULL ? pit_value_get(tools, name) : NULL;
    size_t n = 0;
    int rc = 0;
    if (name != NULL) {
        rc = one != NULL ? describe(p, name, one, list) : 0;
        pit_value_free(tools);
        return rc;
    }
    const char **names = mem_array(pit_value_len(tools) + 1, sizeof *names);
    for (size_t i = 0; names != NULL && pit_value_next(tools, &i, &key, NULL);)
        names[n++] = pit_value_str(key);
    if (names == NULL)
        rc = PIT_E_ALLOCATION_FAILED;
    else
        qsort(names, n, sizeof *names, by_text);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = describe(p, names[i], pit_value_get(tools, names[i]), list);
    mem_free(names);
    pit_value_free(tools);
    return rc;
}

struct search {
    const char *name;
    struct pool *first;
    pit_value *names;
    unsigned n;
};

static void look(struct pool *p, void *arg)
{
    struct search *s = arg;
    pit_value *tools = tools_of(p);
    bool has = pit_value_get(tools, s->name) != NULL;
    pit_value_free(tools);
    if (!has)
        return;
    if (s->n++ == 0)
        s->first = p;
    if (s->names != NULL)
        pit_list_append_take(s->names, pit_str(p->set.name));
}

unsigned worker_tools_find(struct host *h, const char *name, struct pool **ret_first, pit_value *names)
{
    struct search s = {.name = name, .names = names};
    host_each_pool(h, look, &s);
    if (s.n != 0)
        *ret_first = s.first;
    return s.n;
}
