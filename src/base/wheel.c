/* See wheel.h.
 *
 * Invariants
 *  1. A timer in level n > 0 shares with `now` all digits above n and has a greater digit n; in level 0 a greater last digit.
 *  2. Bit s of occupied[n] is set exactly when slots[n][s] is not empty.
 *  3. `now` never passes an occupied slot without emptying it: down a level when its first tick is reached, out when due. */
#include "base/wheel.h"

enum {
    DIGIT_BITS = 6,
    DIGIT_MASK = WHEEL_SLOTS - 1,
    WHEEL_DUE = UINT16_MAX,
    EXACT_UP_TO = 64 /* timers looked at by wheel_next: bounds its time */
};

_Static_assert(UINT64_MAX / WHEEL_TICK_NS < UINT64_C(1) << (DIGIT_BITS * WHEEL_LEVELS), "every time has a level");

void wheel_init(struct wheel *w, uint64_t now_ns)
{
    w->now = now_ns / WHEEL_TICK_NS;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        w->occupied[level] = 0;
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
    list_init(&w->due);
}

static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t tick = t->tick;
    if (tick <= w->now) { /* the next advance gives it out */
        t->slot = WHEEL_DUE;
        list_push_back(&w->due, &t->node);
        return;
    }
    unsigned level = (63u - (unsigned)__builtin_clzll(tick ^ w->now)) / DIGIT_BITS;
    unsigned slot = (unsigned)(tick >> (DIGIT_BITS * level)) & DIGIT_MASK;
    t->slot = (uint16_t)(level * WHEEL_SLOTS + slot);
    list_push_back(&w->slots[level][slot], &t->node);
    w->occupied[level] |= UINT64_C(1) << slot;
}

void wheel_stop(struct wheel *w, struct wheel_timer *t)
{
    if (!wheel_armed(t))
        return;
    list_remove(&t->node);
    if (t->slot == WHEEL_DUE)
        return;
    unsigned level = t->slot / WHEEL_SLOTS, slot = t->slot % WHEEL_SLOTS;
    if (list_empty(&w->slots[level][slot]))
        w->occupied[level] &= ~(UINT64_C(1) << slot);
}

void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ns)
{
    wheel_stop(w, t);
    t->due_ns = due_ns;
    t->tick = due_ns / WHEEL_TICK_NS + (due_ns % WHEEL_TICK_NS != 0);
    place(w, t);
}

/* The first occupied slot of the lowest level that has one, and the tick at which it begins. */
static bool first_slot(const struct wheel *w, unsigned *ret_level, unsigned *ret_slot, uint64_t *ret_tick)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (w->occupied[level] == 0)
            continue;
        unsigned slot = (unsigned)__builtin_ctzll(w->occupied[level]), shift = DIGIT_BITS * level;
        *ret_level = level;
        *ret_slot = slot;
        *ret_tick = (w->now >> shift >> DIGIT_BITS << DIGIT_BITS << shift) | ((uint64_t)slot << shift);
        return true;
    }
    return false;
}

static void give_out(struct list *from, struct list *due)
{
    for (struct list *n; (n = list_pop_front(from)) != NULL;) {
        LIST_ENTRY(n, struct wheel_timer, node)->slot = WHEEL_DUE;
        list_push_back(due, n);
    }
}

void wheel_advance(struct wheel *w, uint64_t now_ns, struct list *due)
{
    uint64_t target = now_ns / WHEEL_TICK_NS, tick;
    unsigned level, slot;
    give_out(&w->due, due);
    while (first_slot(w, &level, &slot, &tick) && tick <= target) {
        struct list *s = &w->slots[level][slot];
        w->occupied[level] &= ~(UINT64_C(1) << slot);
        w->now = tick;
        if (level == 0) {
            give_out(s, due);
            continue;
        }
        struct list moving;
        list_init(&moving);
        for (struct list *n; (n = list_pop_front(s)) != NULL;)
            list_push_back(&moving, n);
        for (struct list *n; (n = list_pop_front(&moving)) != NULL;)
            place(w, LIST_ENTRY(n, struct wheel_timer, node));
        give_out(&w->due, due);
    }
    if (target > w->now)
        w->now = target;
}

uint64_t wheel_next(const struct wheel *w)
{
    unsigned level, slot;
    uint64_t tick;
    if (!list_empty(&w->due))
        return w->now * WHEEL_TICK_NS;
    if (!first_slot(w, &level, &slot, &tick))
        return UINT64_MAX;
    if (level > 0) {
        uint64_t least = UINT64_MAX;
        int looked = 0;
        LIST_EACH(n, &w->slots[level][slot])
        {
            uint64_t t = LIST_ENTRY(n, const struct wheel_timer, node)->tick;
            least = t < least ? t : least;
            if (++looked > EXACT_UP_TO)
                break;
        }
        if (looked <= EXACT_UP_TO)
            tick = least;
    }
    uint64_t ns;
    return __builtin_mul_overflow(tick, (uint64_t)WHEEL_TICK_NS, &ns) ? UINT64_MAX - 1 : ns;
}
