/* Values: lists, tuples, sets, maps, exceptions and arguments, built and read.
 *
 * Invariants: see value.h. Whatever fails while a container is being built is remembered in it (value_spoil), so that a program
 * may look once, at the end. Failure: typed codes; the arguments are consumed all the same. Thread: as value.h. */
#include <string.h>

#include "base/alloc.h"
#include "wire/value.h"

#define PUT_INTO_ITSELF "a container was put into itself"

static pit_value *new_container(int kind, uint32_t cap)
{
    pit_value *v = value_new(kind, sizeof(struct value_items));
    if (v == NULL)
        return value_failed(PIT_E_ALLOCATION_FAILED);
    v->items = (struct value_items *)(void *)(v + 1);
    *v->items = (struct value_items){0};
    v->height = 1;
    if (cap <= VALUE_FEW) {
        if (kind != PIT_KIND_SET) { /* whose room comes with its index */
            v->items->v = v->items->few;
            v->items->cap = VALUE_FEW;
        }
        return v;
    }
    v->items->v = mem_array(cap, sizeof *v->items->v);
    if (v->items->v == NULL) {
        pit_value_free(v);
        return value_failed(PIT_E_ALLOCATION_FAILED);
    }
    v->items->cap = cap;
    return v;
}

pit_value *pit_list(void)
{
    return new_container(PIT_KIND_LIST, 0);
}

pit_value *pit_tuple(void)
{
    return new_container(PIT_KIND_TUPLE, 0);
}

pit_value *pit_map(void)
{
    return new_container(PIT_KIND_MAP, 0);
}

pit_value *pit_set(int frozen)
{
    pit_value *v = new_container(PIT_KIND_SET, 0);
    if (v->kind == PIT_KIND_SET && frozen != 0)
        v->flags |= VALUE_FROZENSET;
    return v;
}

int value_spoil(pit_value *container, int code, const char *why)
{
    if (container->items->err == 0) {
        container->items->err = code;
        container->items->why = why;
    }
    return code;
}

const char *value_spoiled_why(const pit_value *v)
{
    return value_is_container(v) && (v->flags & VALUE_INLINE) == 0 ? v->items->why : NULL;
}

/* Sets the reason; returns the code. */
static int because(const char **why, int code, const char *text)
{
    *why = text;
    return code;
}

/* Of a failed value that will not be kept: its text if that outlives it. */
static int because_failed(const char **why, const pit_value *failed)
{
    return because(why, pit_value_error(failed), failed->tree == NULL ? failed->text : value_spoiled_why(failed));
}

/* Why nothing can be added to v, which should be a map or one of the others: 0 when it can. */
static int refuse_building(const pit_value *v, bool map)
{
    if (v != NULL && v->kind == PIT_KIND_FAILED)
        return pit_value_error(v);
    if (v == NULL || pit_value_is_immutable(v) || (v->kind == PIT_KIND_MAP) != map)
        return PIT_E_INVALID_PARAMETER;
    return v->kind == PIT_KIND_EXCEPTION || !value_is_container(v) ? PIT_E_INVALID_PARAMETER : 0;
}

/* Why `item` cannot stand in a container: 0 when it can. A failed item can: it is kept, so that its place can be named. */
static int refuse_item(const pit_value *item, bool deep, const char **why)
{
    if (item == NULL)
        return because(why, PIT_E_INVALID_PARAMETER, "an item is a NULL pointer");
    if (item->kind == PIT_KIND_ARGS)
        return because(why, PIT_E_INVALID_PARAMETER, "pit_args() is the arguments of a call, and no part of a value");
    return item->height >= MP_MAX_DEPTH && !deep ? because(why, PIT_E_LIMIT_EXCEEDED, VALUE_TOO_DEEP) : 0;
}

/* Room for `count` pointers, and for the index that goes with them. */
static bool grow(pit_value *v, uint32_t count)
{
    struct value_items *items = v->items;
    if (count <= items->cap)
        return true;
    uint32_t cap = items->cap < 8 ? 8 : items->cap + items->cap / 2;
    if (cap < count)
        cap = count;
    cap += cap & 1; /* whole entries */
    uint32_t entries = v->kind == PIT_KIND_SET ? cap : v->kind == PIT_KIND_MAP && cap / 2 > VALUE_LINEAR ? cap / 2 : 0;
    if (entries != 0) { /* as many words of scratch as of index */
        uint32_t *index = mem_realloc(items->index, entries * 2 * sizeof *index);
        if (index == NULL)
            return false;
        items->index = index;
    }
    bool few = items->v == items->few;
    pit_value **bigger = mem_realloc(few ? NULL : items->v, cap * sizeof *bigger);
    if (bigger == NULL)
        return false;
    if (few)
        memcpy(bigger, items->few, sizeof items->few);
    items->v = bigger;
    items->cap = cap;
    return true;
}

static void adopt(pit_value *container, uint32_t at, pit_value *item)
{
    value_freeze(item);
    container->items->v[at] = item;
    if (item->height >= container->height)
        container->height = (uint16_t)(item->height + 1);
    if (pit_value_error(item) != 0)
        value_spoil(container, pit_value_error(item), NULL);
}

/* Why a set cannot take the item: 0 when it can. */
static int refuse_set_item(const pit_value *set, const pit_value *item, const char **why)
{
    if (pit_value_error(item) != 0)
        return because_failed(why, item);
    if (!value_hashable(item))
        return because(why, PIT_E_INVALID_PARAMETER, "an item of a set " VALUE_UNHASHABLE);
    value_freeze(item); /* as the order of frozensets asks */
    return value_map_find(set, item) >= 0 ? because(why, PIT_E_DUPLICATE_KEY, "an item stands twice in the set") : 0;
}

int value_append_take(pit_value *list, pit_value *item, bool deep)
{
    int rc = refuse_building(list, false);
    const char *why = NULL;
    if (rc == 0 && item == list)
        return value_spoil(list, PIT_E_INVALID_PARAMETER, PUT_INTO_ITSELF);
    if (rc == 0) {
        rc = refuse_item(item, deep, &why);
        if (rc == 0 && list->n >= UINT32_MAX / (list->kind == PIT_KIND_SET ? 8 : 2))
            rc = PIT_E_LIMIT_EXCEEDED;
        if (rc == 0 && list->kind == PIT_KIND_SET)
            rc = refuse_set_item(list, item, &why);
        if (rc == 0 && !grow(list, list->n + 1))
            rc = PIT_E_ALLOCATION_FAILED;
        if (rc != 0)
            value_spoil(list, rc, why);
    }
    if (rc != 0) {
        pit_value_free(item);
        return rc;
    }
    adopt(list, list->n++, item);
    if (list->kind == PIT_KIND_SET)
        value_index_add(list, list->items->index, list->n, list->items->index + list->items->cap);
    return pit_value_error(item);
}

int pit_list_append_take(pit_value *list_or_tuple_or_set, pit_value *item)
{
    return value_append_take(list_or_tuple_or_set, item, false);
}

/* Why an entry cannot have this key: 0 when it can. */
static int refuse_key(const pit_value *key, const char **why)
{
    if (key == NULL)
        return because(why, PIT_E_INVALID_PARAMETER, "the key of an entry is a NULL pointer");
    if (pit_value_error(key) != 0)
        return because_failed(why, key);
    return value_hashable(key) ? 0 : because(why, PIT_E_INVALID_PARAMETER, VALUE_UNHASHABLE_KEY);
}

/* Adds or replaces the entry; key and item are good. */
static int put_entry(pit_value *map, pit_value *key, pit_value *item, bool replace)
{
    value_freeze(key); /* as the order of frozensets asks */
    int64_t at = value_map_find(map, key);
    if (at >= 0 && !replace)
        return PIT_E_DUPLICATE_KEY;
    if (at >= 0) {
        uint32_t slot = (uint32_t)at * 2 + 1;
        pit_value_free(map->items->v[slot]);
        adopt(map, slot, item);
        pit_value_free(key);
        return 0;
    }
    if (map->n >= UINT32_MAX / 8)
        return PIT_E_LIMIT_EXCEEDED;
    if (!grow(map, map->n * 2 + 2))
        return PIT_E_ALLOCATION_FAILED;
    adopt(map, map->n * 2, key);
    adopt(map, map->n * 2 + 1, item);
    map->n++;
    uint32_t *index = map->items->index, *scratch = index != NULL ? index + map->items->cap / 2 : NULL, twice;
    if (map->n == VALUE_LINEAR + 1)
        value_index_sort(map, index, map->n, scratch, &twice);
    else if (map->n > VALUE_LINEAR + 1)
        value_index_add(map, index, map->n, scratch);
    return 0;
}

static int put_take(pit_value *map, pit_value *key, pit_value *item, bool replace, bool deep)
{
    int rc = refuse_building(map, true);
    bool itself = rc == 0 && (key == map || item == map);
    if (rc == 0) {
        const char *why = NULL;
        rc = itself ? because(&why, PIT_E_INVALID_PARAMETER, PUT_INTO_ITSELF) : refuse_key(key, &why);
        if (rc == 0)
            rc = refuse_item(item, deep, &why);
        if (rc == 0)
            rc = put_entry(map, key, item, replace);
        if (rc == 0)
            return pit_value_error(item);
        value_spoil(map, rc, why);
    }
    if (key != map)
        pit_value_free(key);
    if (item != map)
        pit_value_free(item);
    return rc;
}

int pit_map_put_take(pit_value *map, pit_value *key, pit_value *item)
{
    return put_take(map, key, item, true, false);
}

int value_put_new_take(pit_value *map, pit_value *key, pit_value *item, bool deep)
{
    return put_take(map, key, item, false, deep);
}

int pit_map_set_take(pit_value *map, const char *key, pit_value *item)
{
    return put_take(map, key != NULL ? pit_str(key) : NULL, item, true, false);
}

/* ---- exceptions, arguments ---- */

const char *value_exception_flaw(int field, const pit_value *part)
{
    int kind = pit_value_kind(part);
    bool absent = kind == PIT_KIND_NONE || kind == PIT_KIND_NIL;
    switch (field) {
    case EXCEPTION_TYPE:
        return kind == PIT_KIND_STR ? "" : "the type of an exception is not a text";
    case EXCEPTION_MESSAGE:
        return absent || kind == PIT_KIND_STR ? "" : "the message of an exception is not a text";
    case EXCEPTION_TRACEBACK:
        return absent || kind == PIT_KIND_STR ? "" : "the traceback of an exception is not a text";
    case EXCEPTION_CAUSE:
        return absent || kind == PIT_KIND_EXCEPTION ? "" : "the cause of an exception is not an exception";
    default:
        break;
    }
    if (!absent && kind != PIT_KIND_LIST)
        return "the notes of an exception are not a list";
    for (size_t i = 0; i < pit_value_len(part); i++)
        if (pit_value_kind(pit_value_at(part, i)) != PIT_KIND_STR)
            return "a note of an exception is not a text";
    return "";
}

/* What stands for a part that is absent. */
static pit_value *absent_part(int field)
{
    return field == EXCEPTION_MESSAGE ? pit_str("") : field == EXCEPTION_NOTES ? pit_list() : pit_nil();
}

/* The failed value for an exception that has this part: of a part that is no good in itself its own, if that is static. */
static pit_value *bad_part(int field, const pit_value *part)
{
    int rc = pit_value_error(part);
    if (rc == 0)
        return value_failed_text(PIT_E_INVALID_PARAMETER, "", value_exception_flaw(field, part));
    return part->tree == NULL ? value_static(part) : value_failed(rc);
}

pit_value *value_new_exception(pit_value *parts[EXCEPTION_FIELDS])
{
    pit_value *bad = NULL;
    for (int i = 0; i < EXCEPTION_FIELDS; i++) {
        if (i != EXCEPTION_TYPE && (parts[i] == NULL || (parts[i]->kind == PIT_KIND_NIL)))
            parts[i] = absent_part(i);
        if (bad == NULL && (pit_value_error(parts[i]) != 0 || value_exception_flaw(i, parts[i])[0] != '\0'))
            bad = bad_part(i, parts[i]);
    }
    pit_value *v = bad == NULL ? new_container(PIT_KIND_EXCEPTION, EXCEPTION_FIELDS) : bad;
    if (v->kind == PIT_KIND_FAILED) {
        for (int i = 0; i < EXCEPTION_FIELDS; i++)
            pit_value_free(parts[i]);
        return v;
    }
    for (uint32_t i = 0; i < EXCEPTION_FIELDS; i++) {
        value_freeze(parts[i]);
        v->items->v[i] = parts[i];
    }
    /* The notes do not count as a level. */
    v->height = (uint16_t)(parts[EXCEPTION_CAUSE]->height + 1);
    v->n = EXCEPTION_FIELDS;
    return v;
}

int pit_exception_set_cause_take(pit_value *exception, pit_value *cause)
{
    int rc = pit_value_error(exception);
    if (exception == cause && exception != NULL)
        return rc != 0 ? rc : PIT_E_INVALID_PARAMETER;
    if (rc == 0 && (exception == NULL || pit_value_kind(exception) != PIT_KIND_EXCEPTION || pit_value_is_immutable(exception)))
        rc = PIT_E_INVALID_PARAMETER;
    else if (rc == 0) {
        const char *why = NULL;
        if (pit_value_error(cause) != 0)
            rc = because_failed(&why, cause);
        else if (cause == NULL || value_exception_flaw(EXCEPTION_CAUSE, cause)[0] != '\0')
            rc = because(&why, PIT_E_INVALID_PARAMETER, "the cause of an exception is not an exception");
        else if (cause->height >= MP_MAX_DEPTH)
            rc = because(&why, PIT_E_LIMIT_EXCEEDED, VALUE_TOO_DEEP);
        if (rc != 0)
            value_spoil(exception, rc, why);
    }
    if (rc != 0) {
        pit_value_free(cause);
        return rc;
    }
    value_freeze(cause);
    pit_value_free(exception->items->v[EXCEPTION_CAUSE]);
    exception->items->v[EXCEPTION_CAUSE] = cause;
    exception->height = (uint16_t)(cause->height + 1);
    return 0;
}

pit_value *pit_exception(const char *type, const char *message, const char *traceback)
{
    static const pit_value no_type = VALUE_FAILED(PIT_E_INVALID_PARAMETER, "pit_exception: the type is required");
    if (type == NULL || *type == '\0')
        return value_static(&no_type);
    pit_value *parts[EXCEPTION_FIELDS] = {
        [EXCEPTION_TYPE] = pit_str(type),
        [EXCEPTION_MESSAGE] = message != NULL ? pit_str(message) : NULL,
        [EXCEPTION_TRACEBACK] = traceback != NULL ? pit_str(traceback) : NULL,
    };
    return value_new_exception(parts);
}

static bool is_keywords(const pit_value *keywords)
{
    if (pit_value_kind(keywords) != PIT_KIND_MAP)
        return false;
    for (size_t i = 0; i < keywords->n; i++)
        if (value_item(keywords, i * 2)->kind != PIT_KIND_STR)
            return false;
    return true;
}

pit_value *pit_args(const pit_value *positional, const pit_value *keywords)
{
    static const pit_value no_items = VALUE_FAILED(PIT_E_INVALID_PARAMETER, "positional arguments are a list or a tuple");
    static const pit_value no_names = VALUE_FAILED(PIT_E_INVALID_PARAMETER, "keyword arguments are a map with texts as keys");
    static const pit_value too_deep = VALUE_FAILED(PIT_E_LIMIT_EXCEEDED, VALUE_TOO_DEEP);
    const pit_value *failed = pit_value_error(positional) != 0 ? positional : pit_value_error(keywords) != 0 ? keywords : NULL;
    if (failed != NULL)
        return failed->kind == PIT_KIND_FAILED ? pit_value_ref(failed)
                                               : value_failed_text(pit_value_error(failed), "", pit_value_error_text(failed));
    int kind = pit_value_kind(positional);
    if (positional != NULL && kind != PIT_KIND_LIST && kind != PIT_KIND_TUPLE)
        return value_static(&no_items);
    if (keywords != NULL && !is_keywords(keywords))
        return value_static(&no_names);
    const pit_value *parts[2] = {positional != NULL ? positional : pit_nil(), keywords != NULL ? keywords : pit_nil()};
    if (parts[0]->height >= MP_MAX_DEPTH || parts[1]->height >= MP_MAX_DEPTH)
        return value_static(&too_deep);
    pit_value *v = new_container(PIT_KIND_ARGS, 2);
    if (v->kind == PIT_KIND_FAILED)
        return v;
    for (uint32_t i = 0; i < 2; i++)
        adopt(v, i, pit_value_ref(parts[i]));
    v->n = 2;
    v->flags = VALUE_FROZEN;
    return v;
}

/* ---- readers ---- */

const pit_value *pit_value_at(const pit_value *v, size_t i)
{
    if (v == NULL || (v->kind != PIT_KIND_LIST && v->kind != PIT_KIND_TUPLE && v->kind != PIT_KIND_SET) || i >= v->n)
        return NULL;
    return value_item(v, i);
}

const pit_value *pit_value_get_key(const pit_value *map, const pit_value *key)
{
    if (map == NULL || (map->kind != PIT_KIND_MAP && map->kind != PIT_KIND_SET) || !value_hashable(key))
        return NULL;
    if (key->kind == PIT_KIND_SET)
        value_freeze(key); /* as the order of frozensets asks */
    int64_t at = value_map_find(map, key);
    return at < 0 ? NULL : value_item(map, map->kind == PIT_KIND_MAP ? (size_t)at * 2 + 1 : (size_t)at);
}

const pit_value *pit_value_get(const pit_value *map, const char *key)
{
    if (map == NULL || key == NULL)
        return NULL;
    if (map->kind == PIT_KIND_EXCEPTION) {
        for (size_t i = 0; i < EXCEPTION_FIELDS; i++)
            if (strcmp(key, value_exception_fields[i]) == 0)
                return value_item(map, i);
        return NULL;
    }
    if (map->kind == PIT_KIND_REF || map->kind == PIT_KIND_MARKER)
        return value_record_get(map, key);
    size_t n = strlen(key);
    if (map->kind != PIT_KIND_MAP || n >= UINT32_MAX)
        return NULL;
    pit_value wanted = {.kind = PIT_KIND_STR, .n = (uint32_t)n, .text = key};
    int64_t at = value_map_find(map, &wanted);
    return at >= 0 ? value_item(map, (size_t)at * 2 + 1) : NULL;
}

bool pit_value_is_frozen(const pit_value *v)
{
    return v != NULL && v->kind == PIT_KIND_SET && (v->flags & VALUE_FROZENSET) != 0;
}

bool pit_value_next(const pit_value *v, size_t *iter, const pit_value **ret_key, const pit_value **ret_item)
{
    if (v == NULL || v->kind < PIT_KIND_LIST || v->kind > PIT_KIND_SET || v->kind == PIT_KIND_EXCEPTION || *iter >= v->n)
        return false;
    size_t i = (*iter)++;
    bool map = v->kind == PIT_KIND_MAP;
    if (ret_key != NULL)
        *ret_key = map ? value_item(v, i * 2) : NULL;
    if (ret_item != NULL)
        *ret_item = value_item(v, map ? i * 2 + 1 : i);
    return true;
}
