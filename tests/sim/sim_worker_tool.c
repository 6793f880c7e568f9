/* What a simulated worker asks of the host's tools, and what it makes of the answers. See sim.h. */
#include <string.h>

#include "sim_worker.h"
#include "wire/codec.h"

bool tool_ask(struct worker_part *w, struct job *j)
{
    char name[8];
    if (j->tools == 0)
        return false;
    j->tools--;
    int number = errand_begins(j->tag, w->proc, w->asked + 1, name, sizeof name);
    if (number < 0) /* there have been enough in this schedule */
        return false;
    j->asked = ++w->asked;
    j->state = JOB_ASKS;
    if (name[0] == '\0')
        put_frame(w, FRAME_TOOL_LIST, 0, j->asked, 0, NULL, NULL);
    else
        put_frame(w, FRAME_TOOL_CALL, 0, j->asked, 0, pit_str(name), pit_pack("[i,i]", (int)j->tag, number));
    return true;
}

/* The job that waits for that answer; NULL: it has stopped waiting. */
static struct job *asker(struct worker_part *w, uint64_t id)
{
    for (unsigned i = 0; i < w->n_jobs; i++)
        if (w->jobs[i].state == JOB_ASKS && w->jobs[i].asked == id)
            return &w->jobs[i];
    return NULL;
}

void tool_answered(struct worker_part *w, const struct frame *f)
{
    struct job *j = asker(w, f->id);
    pit_value *v = NULL;
    if (f->id == 0 || f->id > w->asked)
        sim_fail("a worker got an answer of a tool that it has not asked for");
    if (j != NULL && j != top_job(w))
        sim_fail("call %u got an answer of a tool while call %u, inside it, runs", j->tag, top_job(w)->tag);
    if (codec_decode(f->payload, f->payload_n, NULL, &v, NULL, NULL) != 0)
        sim_fail("a worker got an answer of a tool that it cannot read");
    errand_ends(w->proc, f->id, f->kind, v, j == NULL);
    pit_value_free(v);
    if (j == NULL)
        return;
    j->state = JOB_WORKS;
    j->until_ns = sim.now + sim_below(100) * SIM_US;
}

void put_tool_lie(struct worker_part *w, struct job *j)
{
    pit_value *name = pit_str("t0");
    switch (sim_below(4)) {
    case 0: /* no number */
        put_frame(w, FRAME_TOOL_CALL, 0, 0, 0, name, NULL);
        break;
    case 1: /* no name */
        put_frame(w, FRAME_TOOL_CALL, 0, ++w->asked, 0, pit_int(1), NULL);
        pit_value_free(name);
        break;
    case 2: /* what is the host's to send */
        put_frame(w, FRAME_TOOL_RESULT, 0, j->sequence, 0, name, NULL);
        break;
    default: /* the same number twice */
        w->asked++;
        put_frame(w, FRAME_TOOL_LIST, 0, w->asked, 0, NULL, NULL);
        put_frame(w, FRAME_TOOL_LIST, 0, w->asked, 0, NULL, NULL);
        pit_value_free(name);
    }
    w->babbles = sim_chance(300);
}
