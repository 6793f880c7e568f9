/* Tools of the simulated program: they answer, fail, take their time, call back, take themselves away; some run on the loop. And what must be so of each
 * tool call of a worker: it is answered once, by the tool that it named or by the reason why not, and nobody waits for what nobody does. See sim.h. */
#include <snakepit/tool.h>
#include <stdio.h>
#include <string.h>

#include "sim_scenario.h"
#include "wire/frame.h"

enum { NAMES = 6, NEVER_THERE = NAMES - 1, PLACES = 40, ERRANDS = 160, USUAL_DEPTH = 4 };
#define PATIENCE_NS (60 * SIM_MS) /* a stream that nobody reads is looked at every 20 ms */

enum behaviour { ANSWERS, FAILS, TAKES_TIME, CALLS_BACK, LEAVES, BEHAVIOURS };

/* A tool as it was registered. */
static struct place {
    enum behaviour does;
    bool on_loop, registered, idempotent;
    unsigned name, running, released;
    uint64_t changed_ns; /* registered or taken away */
} places[PLACES];
static unsigned n_places;

/* A tool call of a worker. */
static struct errand {
    unsigned tag, name;
    bool list;
    struct proc *worker;
    uint64_t id, asked_ns, returned_ns;
    unsigned starts, answers;
    bool running, failed;
    const struct ask *inside; /* the call that its tool has made, and waits for */
} errands[ERRANDS];
static unsigned n_errands;

void tool_reset(void)
{
    memset(places, 0, sizeof places);
    memset(errands, 0, sizeof errands);
    n_places = n_errands = 0;
}

static int64_t answer_of(const struct errand *x)
{
    return 5000 + 3 * (x - errands);
}

/* ---- tools ---- */

static void call_back(struct errand *x)
{
    struct live *l = take_live();
    if (l == NULL || n_asks >= SIM_CALLS)
        return;
    if (sim_chance(100) && !sim.mood.deep) {
        call_something(l);
    } else {
        x->inside = &asks[n_asks];
        call_blocking(l, sim_chance(300) ? ASK_CANCELLABLE : ASK_BLOCKING);
        x->inside = NULL;
    }
    l->taken = false;
}

static struct place *place_of(unsigned name)
{
    for (unsigned i = 0; i < n_places; i++)
        if (places[i].registered && places[i].name == name)
            return &places[i];
    return NULL;
}

static void take_away(unsigned name)
{
    char text[8];
    for (struct place *t; (t = place_of(name)) != NULL;) {
        t->registered = false;
        t->changed_ns = sim.now;
    }
    snprintf(text, sizeof text, "t%u", name);
    pit_tool_unregister(sim.p, NULL, text);
}

static int do_it(struct place *t, struct errand *x, pit_tool_ctx *c)
{
    switch (t->does) {
    case FAILS:
        return sim_chance(500) ? pit_tool_fail(c, "no") : 7;
    case TAKES_TIME:
        if (!t->on_loop)
            dawdle(5000);
        break;
    case CALLS_BACK:
        if (!t->on_loop && (sim.mood.deep || pit_tool_depth(c) < USUAL_DEPTH))
            call_back(x);
        break;
    case LEAVES:
        take_away(t->name);
        break;
    default:
        break;
    }
    return 0;
}

static int run_tool(pit_tool_ctx *c, const pit_value *args, pit_value **ret, void *user)
{
    struct place *t = user;
    int64_t tag = -1, number = -1;
    if (!pit_value_get_int(pit_value_at(args, 0), &tag) || !pit_value_get_int(pit_value_at(args, 1), &number) || number < 0 ||
        number >= n_errands)
        sim_fail("a tool gets other arguments than the worker gave");
    struct errand *x = &errands[number];
    SIM_TRACE("  tool call %u of call %u begins", (unsigned)number, x->tag);
    if (x->starts++ != 0)
        sim_fail("tool call %u runs twice", (unsigned)number);
    if (t->released != 0)
        sim_fail("a tool runs that has been released");
    if (tag != x->tag || x->name != t->name)
        sim_fail("tool call %u of call %u, of t%u, comes to t%u as one of call %u", (unsigned)number, x->tag, x->name, t->name,
                 (unsigned)tag);
    if (pit_tool_depth(c) < 1 || pit_tool_depth(c) > SIM_DEPTH_MAX)
        sim_fail("a tool runs at depth %d", pit_tool_depth(c));
    if (!t->idempotent)
        ask_has_acted(&asks[tag]);
    x->running = true;
    t->running++;
    asks[tag].outside++;
    int rc = do_it(t, x, c);
    if (sim_chance(100))
        pit_tool_cancelled(c);
    asks[tag].outside--;
    t->running--;
    x->running = false;
    x->failed = rc != 0;
    x->returned_ns = sim.now;
    *ret = rc == 0 ? pit_int(answer_of(x)) : NULL;
    SIM_TRACE("  tool call %u returns", (unsigned)number);
    return rc;
}

static void on_release(void *user)
{
    struct place *t = user;
    t->registered = false;
    if (t->running != 0 || t->released++ != 0)
        sim_fail("tool t%u is released %s", t->name, t->running != 0 ? "while it runs" : "twice");
}

static void add(unsigned name)
{
    if (n_places == PLACES)
        return;
    struct place *t = &places[n_places++];
    char text[8];
    pit_tool_options o = PIT_TOOL_OPTIONS_INIT;
    pit_error *e = NULL;
    *t = (struct place){.does = sim.mood.deep ? CALLS_BACK : (enum behaviour)sim_below(BEHAVIOURS), .name = name};
    t->on_loop = !sim.mood.deep && sim_chance(150);
    o.exposed = sim_chance(500) ? PIT_ON : PIT_OFF;
    t->idempotent = sim_chance(300);
    o.idempotent = t->idempotent ? PIT_ON : PIT_OFF;
    o.replace = PIT_ON;
    o.run_on = t->on_loop ? PIT_RUN_ON_LOOP : PIT_RUN_ON_CALLER;
    o.release = on_release;
    snprintf(text, sizeof text, "t%u", name);
    int rc = pit_tool_register(sim.p, NULL, text, run_tool, t, &o, &e);
    if (rc != 0 && rc != PIT_E_SHUTTING_DOWN)
        sim_fail("tool %s cannot be registered: %s", text, pit_error_code_name(rc));
    t->registered = rc == 0 && t->released == 0;
    t->changed_ns = sim.now;
    t->released += rc != 0; /* it will not be */
    pit_error_free(e);
}

void tool_register_some(void)
{
    for (unsigned i = 0; i < NEVER_THERE; i++)
        add(i);
}

/* Another thread takes one away, or puts another one in its place. */
void tool_change_some(void)
{
    unsigned name = sim_below(NEVER_THERE);
    if (place_of(name) == NULL || sim_chance(500))
        add(name);
    else
        take_away(name);
}

/* ---- what the worker sees ---- */

int errand_begins(unsigned tag, struct proc *w, uint64_t id, char *ret_name, size_t n)
{
    if (n_errands == ERRANDS)
        return -1;
    struct errand *x = &errands[n_errands];
    *x = (struct errand){.tag = tag, .worker = proc_ref(w), .id = id, .asked_ns = sim.now};
    x->name = sim.mood.deep ? sim_below(NEVER_THERE) : sim_below(NAMES);
    x->list = sim_chance(60);
    snprintf(ret_name, n, "t%u", x->name);
    if (x->list)
        ret_name[0] = '\0';
    SIM_TRACE("  call %u asks for %s: tool call %u", tag, x->list ? "a list" : ret_name, n_errands);
    return (int)n_errands++;
}

static struct errand *find(const struct proc *w, uint64_t id)
{
    for (unsigned i = 0; i < n_errands; i++)
        if (errands[i].worker == w && errands[i].id == id)
            return &errands[i];
    return NULL;
}

/* It was not run: had it to be? */
static void check_refusal(const struct errand *x, const char *code)
{
    const struct place *t = place_of(x->name);
    if (strcmp(code, "tool_not_found") == 0 && t != NULL && t->changed_ns < x->asked_ns)
        sim_fail("tool t%u is there, and call %u was told that it is not", x->name, x->tag);
    if (strcmp(code, "system_error") == 0) /* or nearly: its thread could not be started */
        ask_has_acted(&asks[x->tag]);
    if (strcmp(code, "cancelled") == 0)
        asks[x->tag].told_given_up = true;
    else if (strcmp(code, "tool_not_found") != 0 && strcmp(code, "system_error") != 0)
        sim_fail("call %u asked for t%u, which was not run: %s", x->tag, x->name, code);
}

void errand_ends(struct proc *w, uint64_t id, int kind, const pit_value *v, bool dropped)
{
    struct errand *x = find(w, id);
    int64_t n = 0;
    if (x == NULL)
        sim_fail("a worker got an answer to tool call %llu, which it has not made", (unsigned long long)id);
    SIM_TRACE("  tool call %u is answered", (unsigned)(x - errands));
    if (x->answers++ != 0)
        sim_fail("tool call %u is answered twice", (unsigned)(x - errands));
    if (x->running && !dropped)
        sim_fail("tool call %u is answered while it runs", (unsigned)(x - errands));
    if (x->list != (kind == FRAME_TOOL_LIST) && kind != FRAME_TOOL_ERROR)
        sim_fail("tool call %u has an answer of the wrong kind", (unsigned)(x - errands));
    if (kind == FRAME_TOOL_RESULT && (x->starts != 1 || x->failed || !pit_value_get_int(v, &n) || n != answer_of(x)))
        sim_fail("tool call %u has the result %lld, and its tool did not return that", (unsigned)(x - errands), (long long)n);
    if (kind != FRAME_TOOL_ERROR)
        return;
    const char *code = pit_value_str_or(pit_value_get(v, "code"), "");
    if (x->starts == 0)
        check_refusal(x, code);
    else if (!x->failed || strcmp(code, "tool_execution_failed") != 0)
        sim_fail("tool call %u has failed with %s", (unsigned)(x - errands), code);
}

/* Is there anything that a tool call may have to wait for: a tool that is busy itself, or a worker? */
static bool anybody_works(void)
{
    struct proc *p;
    for (unsigned i = 0; i < n_errands; i++)
        if (errands[i].running && errands[i].inside == NULL)
            return true;
    for (unsigned i = 0; (p = proc_at(i)) != NULL; i++)
        if (sim_worker_works(p))
            return true;
    return false;
}

void errand_check_wait(struct proc *w, uint64_t id)
{
    const struct errand *x = find(w, id);
    if (x == NULL || scenario_closing() || sim.now - x->asked_ns < PATIENCE_NS)
        return;
    unsigned number = (unsigned)(x - errands);
    if (x->answers != 0)
        sim_fail("tool call %u was answered, and is waited for", number);
    if (x->starts == 0 && !anybody_works())
        sim_fail("tool call %u is waited for, and nobody runs it", number);
    const struct ask *in = x->inside;
    if (x->running && in != NULL && in->runs == 0 && in->completions == 0 && sim.now - in->made_ns >= PATIENCE_NS)
        sim_fail("call %u was made by a tool of call %u, whose worker does not get it", (unsigned)(in - asks), x->tag);
    if (x->starts != 0 && !x->running && sim.now - x->returned_ns >= PATIENCE_NS)
        sim_fail("tool call %u has returned, and is waited for", number);
}

void tool_check_end(void)
{
    for (unsigned i = 0; i < n_places; i++)
        if (places[i].released != 1 || places[i].running != 0)
            sim_fail("tool t%u was released %u times at the end", places[i].name, places[i].released);
    for (unsigned i = 0; i < n_errands; i++)
        if (errands[i].running)
            sim_fail("tool call %u runs at the end", i);
}
