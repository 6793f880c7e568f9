/* See look.h. */
#include "worker/look.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "crash/look.h"
#include "ring/segment.h"

#define US UINT64_C(1000)
#define RING_NS UINT64_C(1000000)
#define RING_MOST_NS UINT64_C(16000000)

struct work { /* too big for a stack */
    struct look_page page;
    struct os_thread threads[LOOK_TIDS];
    struct look_facts facts;
};

/* ---- where it is ---- */

void look_offer_page(void *segment, size_t page_at)
{
    struct look_page *page = (struct look_page *)(void *)((uint8_t *)segment + page_at);
    page->bytes = LOOK_PAGE_BYTES;
    ((struct segment_header *)segment)->look_offset = (uint32_t)page_at;
}

bool look_find_page(void *segment, size_t n, struct look_target *ret)
{
    struct segment_header h;
    if (n < sizeof h)
        return false;
    memcpy(&h, segment, sizeof h);
    bool sound = h.magic == SEGMENT_MAGIC && h.version == SEGMENT_VERSION && h.look_offset % SEGMENT_LINE == 0 &&
                 h.look_offset >= SEGMENT_LANES_OFFSET + sizeof(struct lane_status) && h.look_offset <= n &&
                 n - h.look_offset >= LOOK_PAGE_BYTES && h.lane_offset == SEGMENT_LANES_OFFSET;
    if (!sound)
        return false;
    ret->page = (struct look_page *)(void *)((uint8_t *)segment + h.look_offset);
    ret->bell = &((struct lane_status *)(void *)((uint8_t *)segment + SEGMENT_LANES_OFFSET))->ping;
    return true;
}

/* ---- asking ---- */

/* One that reaches further than any may was made by nobody who looks. */
static bool is_free(uint64_t claim, uint64_t now_us)
{
    uint64_t until = LOOK_CLAIM_UNTIL_US(claim);
    return claim == 0 || until <= now_us || until - now_us > LOOK_CLAIM_MOST_US;
}

bool look_begin(const struct os_ops *os, const struct look_target *t, uint64_t limit_ns, struct look *ret)
{
    struct look_page *page = t->page;
    uint16_t noise = 0;
    uint64_t now = os->now_ns(), claim = __atomic_load_n(&page->claim, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&page->ready, __ATOMIC_ACQUIRE) != 1 || !is_free(claim, now / US))
        return false;
    os->random(&noise, sizeof noise);
    uint64_t limit_us = limit_ns / US < LOOK_CLAIM_MOST_US / 2 ? limit_ns / US : LOOK_CLAIM_MOST_US / 2;
    uint64_t mine = LOOK_CLAIM(now / US + 2 * limit_us, noise);
    if (!__atomic_compare_exchange_n(&page->claim, &claim, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    *ret = (struct look){.page = page, .bell = t->bell, .claim = mine, .began_ns = now};
    __atomic_store_n(&page->wait_us, (uint32_t)limit_us, __ATOMIC_RELAXED);
    ret->number = __atomic_load_n(&page->asked, __ATOMIC_RELAXED) + 1;
    __atomic_store_n(&page->asked, ret->number, __ATOMIC_SEQ_CST);
    os->futex_wake(t->bell, INT_MAX);
    return true;
}

bool look_has_answer(const struct look *l)
{
    return __atomic_load_n(&l->page->answered, __ATOMIC_ACQUIRE) == l->number;
}

bool look_answered(const struct look *l, struct look_page *copy)
{
    if (!look_has_answer(l))
        return false;
    enum { FROM = offsetof(struct look_page, began_ns) }; /* what stands before that, who asks next may write already */
    memset(copy, 0, FROM);
    memcpy((uint8_t *)copy + FROM, (const uint8_t *)l->page + FROM, sizeof *copy - FROM);
    return true;
}

void look_remind(const struct os_ops *os, const struct look *l)
{
    os->futex_wake(l->bell, INT_MAX);
}

void look_end(const struct look *l)
{
    uint64_t mine = l->claim;
    __atomic_compare_exchange_n(&l->page->claim, &mine, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* ---- waiting ---- */

/* Nobody will answer any more. */
static const char *cannot_answer(const struct os_ops *os, pid_t pid)
{
    struct os_proc p;
    int rc = os->proc_info(pid, &p);
    if (rc == -ESRCH || (rc == 0 && (p.state == 'Z' || p.state == 'X')))
        return "the process has ended";
    return rc == 0 && (p.state == 'T' || p.state == 't') ? "the process is stopped" : NULL;
}

/* Sleeps on the answer, but not for long: a bell may not have been heard, a process may end. */
static void rest(const struct os_ops *os, const uint32_t *word, uint64_t until_ns, uint64_t *step_ns)
{
    uint64_t due = os->now_ns() + *step_ns;
    os->futex_wait(word, __atomic_load_n(word, __ATOMIC_ACQUIRE), due < until_ns ? due : until_ns);
    *step_ns = *step_ns < RING_MOST_NS ? 2 * *step_ns : RING_MOST_NS;
}

/* Until the page is ours; NULL, or why it will not be. */
static const char *claim(const struct os_ops *os, const struct look_target *t, uint64_t until_ns, struct look *ret)
{
    uint64_t step = RING_NS;
    if (__atomic_load_n(&t->page->ready, __ATOMIC_ACQUIRE) != 1)
        return "nothing in it answers: heartbeats are off, or it has no C extension, or it has not begun to serve";
    for (;;) {
        uint64_t now = os->now_ns();
        if (now >= until_ns)
            return "somebody else looks at it";
        if (look_begin(os, t, until_ns - now, ret))
            return NULL;
        const char *why = cannot_answer(os, t->pid);
        if (why != NULL)
            return why;
        rest(os, &t->page->answered, until_ns, &step);
    }
}

/* NULL: *copy has the answer; or why it has not. */
static const char *ask(const struct os_ops *os, const struct look_target *t, uint64_t until_ns, struct look_page *copy)
{
    struct look l;
    uint64_t step = RING_NS, now = os->now_ns();
    uint64_t reserve = now < until_ns ? (until_ns - now) / 8 : 0; /* the worker is to end before we do */
    const char *why = claim(os, t, until_ns - reserve, &l);
    if (why != NULL)
        return why;
    bool answered;
    while (!(answered = look_answered(&l, copy)) && os->now_ns() < until_ns) {
        if ((why = cannot_answer(os, t->pid)) != NULL)
            break;
        look_remind(os, &l);
        rest(os, &l.page->answered, until_ns, &step);
    }
    look_end(&l);
    return answered ? NULL : why != NULL ? why : "it did not answer in time";
}

/* ---- all ---- */

static pit_value *finish(struct work *w)
{
    pit_value *map = pit_map();
    look_read(&w->facts, map);
    mem_free(w);
    return map;
}

/* Asks the kernel. */
static struct work *begin(const struct os_ops *os, const struct look_target *t)
{
    struct work *w = mem_alloc(sizeof *w);
    if (w == NULL)
        return NULL;
    w->facts = (struct look_facts){.pid = t->pid, .no_answer = t->no_page, .threads = w->threads};
    w->facts.threads_n = os->threads(t->pid, w->threads, LOOK_TIDS, &w->facts.threads_all);
    return w;
}

pit_value *look_from(const struct os_ops *os, const struct look_target *t, const struct look_page *page, const char *no_answer,
                     uint64_t waited_ns)
{
    struct work *w = begin(os, t);
    if (w == NULL)
        return NULL;
    w->facts.page = page;
    w->facts.no_answer = no_answer;
    w->facts.waited_ns = waited_ns;
    return finish(w);
}

pit_value *look_take(const struct os_ops *os, const struct look_target *t, uint64_t limit_ns, int *ret_rc)
{
    uint64_t began = os->now_ns();
    struct work *w = begin(os, t);
    *ret_rc = w == NULL ? -ENOMEM : w->facts.threads_n == -ESRCH ? -ESRCH : 0;
    if (*ret_rc != 0) {
        mem_free(w);
        return NULL;
    }
    if (t->page != NULL && look_is_stopped(&w->facts))
        w->facts.no_answer = "the process is stopped";
    else if (t->page != NULL)
        w->facts.no_answer = ask(os, t, began + limit_ns, &w->page);
    w->facts.page = t->page != NULL && w->facts.no_answer == NULL ? &w->page : NULL;
    w->facts.waited_ns = os->now_ns() - began;
    return finish(w);
}
