/* snakepit/tool.h: registering, removing and listing tools. */
#include <snakepit/tool.h>
#include <string.h>

#include "api/api.h"
#include "api/begin.h"
#include "api/metadata.h"
#include "api/tool_here.h"
#include "base/alloc.h"
#include "pool/pool_internal.h"
#include "pool/pool_list.h"
#include "pool/worker_tools.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum { DESCRIPTION_MAX = 64 << 10 };

/* ---- names ---- */

const char *tool_name_trim(const char *name, size_t *ret_n)
{
    static const char blanks[] = " \t\r\n\v\f";
    if (name == NULL)
        name = "";
    name += strspn(name, blanks);
    size_t n = strnlen(name, DESCRIPTION_MAX);
    while (n > 0 && strchr(blanks, name[n - 1]) != NULL)
        n--;
    *ret_n = n;
    return name;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static pit_error *bad_name(const char *reason)
{
    pit_error *e = error_new(PIT_E_INVALID_TOOL_NAME, "%s", pit_strerror(PIT_E_INVALID_TOOL_NAME));
    return error_detail_take(e, "reason", pit_str(reason));
}

static pit_error *check_name(const char *name, size_t n)
{
    if (n == 0)
        return bad_name("empty");
    if (n > TOOL_NAME_MAX)
        return bad_name("too_long");
    bool good = is_alnum(name[0]);
    for (size_t i = 1; i < n && good; i++)
        good = is_alnum(name[i]) || strchr("_.-", name[i]) != NULL;
    return good ? NULL : bad_name("invalid_format");
}

/* ---- options ---- */

static pit_error *check_switch(const char *key, int given)
{
    if (given < PIT_OFF || given > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "%s is PIT_ON, PIT_OFF or 0", key);
    return NULL;
}

static pit_error *check_parameters(const pit_value *list)
{
    if (pit_value_kind(list) != PIT_KIND_LIST)
        return error_new(PIT_E_INVALID_PARAMETER, "the parameters of a tool are a list of maps");
    for (size_t i = 0; i < pit_value_len(list); i++)
        if (pit_value_str(pit_value_get(pit_value_at(list, i), "name")) == NULL)
            return error_detail_take(error_new(PIT_E_INVALID_PARAMETER, "each parameter of a tool is a map with a text `name`"),
                                     "parameter", pit_uint(i));
    return NULL;
}

static pit_error *check_metadata(const pit_value *m)
{
    struct buf b = {0};
    struct codec_error why;
    pit_error *e = metadata_check("tool", m);
    if (e != NULL)
        return e;
    int rc = codec_encode(&b, m, &why);
    size_t n = b.len;
    if (rc == 0 && b.failed)
        rc = PIT_E_ALLOCATION_FAILED;
    buf_finish(&b);
    if (rc != 0)
        return error_new(rc, "the metadata of a tool cannot be encoded");
    return n > METADATA_BYTES ? metadata_bad("tool", "too_large", "takes at most 4096 bytes") : NULL;
}

static pit_error *check_options(const pit_tool_options *o)
{
    pit_error *e = NULL;
    if (o->description != NULL && !call_text_is_good(o->description, DESCRIPTION_MAX))
        return error_new(PIT_E_INVALID_PARAMETER, "the description of a tool is 1 to %d bytes of UTF-8", DESCRIPTION_MAX);
    if (o->run_on < 0 || o->run_on > PIT_RUN_ON_LOOP)
        return error_new(PIT_E_INVALID_PARAMETER, "run_on: %d is none of PIT_RUN_ON_*", o->run_on);
    if (o->timeout_ms < 0 && o->timeout_ms != PIT_INFINITE)
        return error_new(PIT_E_INVALID_TIMEOUT,
                         "timeout_ms: %lld; a tool needs a positive number of milliseconds, or PIT_INFINITE",
                         (long long)o->timeout_ms);
    if ((e = check_switch("exposed", o->exposed)) != NULL || (e = check_switch("idempotent", o->idempotent)) != NULL ||
        (e = check_switch("replace", o->replace)) != NULL || (e = check_switch("streaming", o->streaming)) != NULL)
        return e;
    if (o->parameters != NULL && (e = check_parameters(o->parameters)) != NULL)
        return e;
    return o->metadata != NULL ? check_metadata(o->metadata) : NULL;
}

/* What pit_tool_list() says of it. */
static pit_value *describe(const struct tool *t, const pit_tool_options *o)
{
    pit_value *map = pit_map();
    pit_map_set_take(map, "name", pit_str(t->name));
    pit_map_set_take(map, "side", pit_str("host"));
    pit_map_set_take(map, "session_id", t->scope != NULL ? pit_str(t->scope) : pit_nil());
    pit_map_set_take(map, "description", o->description != NULL ? pit_str(o->description) : pit_nil());
    pit_map_set_take(map, "parameters", o->parameters != NULL ? pit_value_ref(o->parameters) : pit_list());
    pit_map_set_take(map, "returns", o->returns != NULL ? pit_value_ref(o->returns) : pit_nil());
    pit_map_set_take(map, "metadata", o->metadata != NULL ? pit_value_ref(o->metadata) : pit_map());
    pit_map_set_take(map, "exposed", pit_bool(t->exposed));
    pit_map_set_take(map, "streaming", pit_bool(t->streaming));
    pit_map_set_take(map, "idempotent", pit_bool(t->idempotent));
    pit_map_set_take(map, "timeout_ms", t->timeout_ms > 0 ? pit_int(t->timeout_ms) : pit_nil());
    return map;
}

static pit_error *make_tool(const char *session, const pit_tool_item *item, struct tool **ret)
{
    static const pit_tool_options none = PIT_TOOL_OPTIONS_INIT;
    pit_tool_options o;
    size_t n;
    const char *name = tool_name_trim(item->name, &n);
    pit_error *e = check_name(name, n);
    int rc = e == NULL && item->options != NULL ? options_copy(&o, sizeof o, item->options) : 0;
    if (item->options == NULL || e != NULL)
        o = none;
    if (rc != 0)
        e = options_refused(rc, "a tool", "PIT_TOOL_OPTIONS_INIT");
    if (e == NULL && item->fn == NULL)
        e = error_new(PIT_E_INVALID_PARAMETER, "the function of the tool %.*s is NULL", (int)n, name);
    if (e == NULL)
        e = check_options(&o);
    if (e != NULL)
        return e;
    struct tool *t = tool_new(session, name, n);
    if (t == NULL)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while a tool was registered");
    t->fn = item->fn;
    t->user = item->user;
    t->exposed = o.exposed == PIT_ON;
    t->idempotent = o.idempotent == PIT_ON;
    t->replaces = o.replace == PIT_ON;
    t->streaming = o.streaming == PIT_ON;
    t->run_on = o.run_on != 0 ? o.run_on : PIT_RUN_ON_CALLER;
    t->timeout_ms = o.timeout_ms;
    t->metadata = o.metadata != NULL ? pit_value_ref(o.metadata) : NULL;
    t->described = describe(t, &o);
    rc = pit_value_error(t->described);
    if (rc == 0) {
        t->release = o.release;
        *ret = t;
        return NULL;
    }
    tool_unref(t);
    return error_new(rc, "what describes the tool %.*s cannot be kept: %s", (int)n, name, pit_strerror(rc));
}

/* ---- registering ---- */

static void tell(pit *p, enum event_id id, const char *session, const char *name, size_t count)
{
    if (!telemetry_wants(p->host->telemetry, id))
        return;
    struct event_common common = {.session_id = session};
    telemetry_emit(p->host->telemetry, id, &common, (const double[]){(double)count}, (const char *const[]){name, "host"});
}

/* One that has not been added never was: its release function is not called. */
static void let_go(struct tool *t, bool added)
{
    if (!added)
        t->release = NULL;
    tool_unref(t);
}

static pit_error *add_all(pit *p, const char *session, const pit_tool_item *items, size_t n, size_t *ret_bad)
{
    size_t made = 0, count = 0;
    struct tool **tools = mem_array(n, sizeof *tools);
    pit_error *e = tools == NULL ? error_new(PIT_E_ALLOCATION_FAILED, "out of memory while tools were registered") : NULL;
    for (; e == NULL && made < n; made += e == NULL) {
        e = make_tool(session, &items[made], &tools[made]);
        *ret_bad = made;
    }
    int rc = e == NULL ? tools_add(&p->host->tools, tools, n, ret_bad, &count) : 0;
    if (rc != 0)
        e = error_detail_take(error_new(rc, "a tool %s exists already in this scope", tools[*ret_bad]->name), "tool",
                              pit_str(tools[*ret_bad]->name));
    for (size_t i = 0; i < made; i++) {
        if (e == NULL)
            tell(p, EVENT_TOOL_REGISTERED, session, tools[i]->name, count);
        let_go(tools[i], e == NULL);
    }
    mem_free(tools);
    return e;
}

static pit_error *check_session(const char *session)
{
    if (session != NULL && !call_text_is_good(session, CALL_ID_MAX))
        return error_new(PIT_E_INVALID_SESSION_ID, "%s", pit_strerror(PIT_E_INVALID_SESSION_ID));
    return NULL;
}

int pit_tool_register_many(pit *p, const char *session_id, const pit_tool_item *items, size_t n, size_t *ret_failed,
                           pit_error **reterr)
{
    if (n != 0 && items == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "items is NULL");
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    size_t bad = 0;
    pit_error *e = check_session(session_id);
    if (e == NULL && n != 0 && (e = add_all(p, session_id, items, n, &bad)) != NULL) {
        error_detail_take(e, "index", pit_uint(bad));
        if (ret_failed != NULL)
            *ret_failed = bad;
    }
    api_leave(p);
    return error_give(reterr, e);
}

int pit_tool_register(pit *p, const char *session_id, const char *name, pit_tool_fn fn, void *user, const pit_tool_options *o,
                      pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    const pit_tool_item item = {.name = name, .fn = fn, .user = user, .options = o};
    size_t bad;
    pit_error *e = check_session(session_id);
    if (e == NULL)
        e = add_all(p, session_id, &item, 1, &bad);
    api_leave(p);
    return error_give(reterr, e);
}

int pit_tool_unregister(pit *p, const char *session_id, const char *name)
{
    int rc = api_enter(p);
    if (rc != 0)
        return rc;
    size_t n, count;
    name = tool_name_trim(name, &n);
    if (n <= TOOL_NAME_MAX && tools_remove(&p->host->tools, session_id, name, n, &count)) {
        char text[TOOL_NAME_MAX + 1] = "";
        memcpy(text, name, n);
        tell(p, EVENT_TOOL_UNREGISTERED, session_id, text, count);
    }
    api_leave(p);
    return 0;
}

/* ---- listing ---- */

static bool is_wanted(const struct tool *t, const void *arg)
{
    const pit_tool_filter *f = arg;
    return (f->name == NULL || strcmp(t->name, f->name) == 0) && (f->exposed == 0 || (f->exposed == PIT_ON) == t->exposed);
}

struct listing {
    const char *name;
    pit_value *list;
};

static void list_pool(struct pool *pool, void *arg)
{
    const struct listing *l = arg;
    worker_tools_list(pool, l->name, l->list); /* what cannot be appended stays with the list: it has failed */
}

static pit_error *list_tools(pit *p, const char *session, const pit_tool_filter *f, pit_value *list)
{
    pit_error *e = NULL;
    struct pool *pool = f->pool != NULL ? host_find(p->host, f->pool, &e) : NULL;
    if (e != NULL)
        return e;
    if (f->side < 0 || f->side > PIT_TOOLS_OF_WORKERS)
        return error_new(PIT_E_INVALID_PARAMETER, "side: %d is none of PIT_TOOLS_OF_*", f->side);
    if ((e = check_switch("exposed", f->exposed)) != NULL)
        return e;
    int rc = 0;
    struct listing l = {f->name, list};
    if (f->side != PIT_TOOLS_OF_WORKERS)
        rc = tools_list(&p->host->tools, session, is_wanted, f, list);
    if (f->side != PIT_TOOLS_OF_HOST && pool != NULL)
        list_pool(pool, &l);
    else if (f->side != PIT_TOOLS_OF_HOST)
        host_each_pool(p->host, list_pool, &l);
    rc = rc != 0 ? rc : pit_value_error(list);
    return rc != 0 ? error_new(rc, "the tools cannot be listed: %s", pit_strerror(rc)) : NULL;
}

int pit_tool_list(pit *p, const char *session_id, const pit_tool_filter *filter, pit_value **ret, pit_error **reterr)
{
    pit_tool_filter f = PIT_TOOL_FILTER_INIT;
    if (ret == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "ret is NULL");
    int rc = filter != NULL ? options_copy(&f, sizeof f, filter) : 0;
    if (rc != 0)
        return error_give(reterr, options_refused(rc, "pit_tool_list", "PIT_TOOL_FILTER_INIT"));
    rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_value *list = pit_list();
    pit_error *e = check_session(session_id);
    if (e == NULL)
        e = list_tools(p, session_id, &f, list);
    api_leave(p);
    if (e == NULL)
        *ret = list;
    else
        pit_value_free(list);
    return error_give(reterr, e);
}
