/* See look.h. */
#include "pool/look.h"

#include "base/alloc.h"
#include "crash/look.h"
#include "pool/pool_internal.h"
#include "wire/value.h"

void last_look_ask(struct pool *p, struct worker *w)
{
    if (w->looking && pool_now(p) - w->look.began_ns < 2 * LAST_LOOK_NS)
        return;
    struct look_target t = look_target_of(w);
    w->looking = t.page != NULL && !w->dead && look_begin(p->env->os, &t, LAST_LOOK_NS, &w->look);
}

bool last_look_pending(struct pool *p, struct worker *w)
{
    if (!w->looking || look_has_answer(&w->look) || pool_now(p) - w->look.began_ns >= KILL_WAITS_NS)
        return false;
    look_remind(p->env->os, &w->look);
    return true;
}

/* As a map, without asking the kernel about each thread: the lock is held. NULL: nothing is known. */
static pit_value *read_answer(struct pool *p, const struct lane *l)
{
    struct worker *w = l->worker;
    struct os_proc proc = {0};
    if (!w->looking)
        return NULL;
    struct look_page *copy = mem_alloc(sizeof *copy);
    bool answered = copy != NULL && look_answered(&w->look, copy);
    bool stopped = !answered && p->env->os->proc_info(w->pid, &proc) == 0 && (proc.state == 'T' || proc.state == 't');
    pit_value *map = answered || stopped ? pit_map() : NULL;
    const struct look_facts facts = {.pid = w->pid,
                                     .page = answered ? copy : NULL,
                                     .no_answer = "the process is stopped",
                                     .stopped = stopped,
                                     .threads_all = true,
                                     .of_lane = true,
                                     .lane = (int)(l - w->lanes),
                                     .waited_ns = pool_now(p) - w->look.began_ns};
    if (map != NULL)
        look_read(&facts, map);
    look_end(&w->look);
    mem_free(copy);
    return map;
}

pit_error *last_look_put(struct pool *p, const struct call *c, pit_error *e)
{
    if (c->lane == NULL || lane_head(c->lane)->call != c) /* it stands behind another one */
        return e;
    pit_value *map = read_answer(p, c->lane);
    look_into_error(map, e);
    pit_value_free(map);
    return e;
}

void last_look_keep(struct pool *p, const struct lane *l)
{
    struct worker *w = l->worker;
    if (w->last_look != NULL)
        return;
    pit_value *map = read_answer(p, l);
    if (map != NULL && pit_value_error(map) == 0) {
        value_freeze(map);
        w->last_look = map;
    } else {
        pit_value_free(map);
    }
}
