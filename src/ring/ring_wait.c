/* Waiting on a ring: spin while that can help, else sleep on the bell.
 *
 * Spinning helps only while the peer runs on another CPU: on the same one it keeps the peer from the very work that is waited for. So the
 * waiter compares CPU numbers, again and again, and gives up at once when they are equal. It also learns: where the usual wait is much
 * longer than the budget, the spin would be thrown away each time, and is left out.
 *
 * Lost wake-ups are impossible for the reason that ring.h gives (5): both sides exchange the bell, and the sleeper looks again between its
 * exchange and its sleep. What the peer can do by writing rubbish into the bell: make the sleeper return at once (RING_SPURIOUS, which callers
 * count), or hide one nudge from another thread. Against the latter no sleep is longer than SLEEP_SLICE_NS. */
#include "ring/ring_wait.h"

#include <errno.h>

#include "ring/cpu.h"

#define SPIN_BATCH 128      /* pauses between two looks at clock and CPU */
#define SPIN_USUAL_FACTOR 4 /* spin while the usual wait is at most this many budgets: a wake-up alone is near one */
#define USUAL_CAP_FACTOR 8  /* a wait counts as at most this many budgets, so that one long call is soon forgotten */
#define USUAL_WEIGHT 8      /* of the past in the moving average */
#define USUAL_DEFAULT_BUDGET_NS UINT64_C(50000) /* the budget for learning while spinning is off */
#define SLEEP_SLICE_NS UINT64_C(1000000000)

uint32_t wait_cpu(const struct ring_sys *sys)
{
    return (uint32_t)(sys->cpu != NULL ? sys->cpu() : cpu_current());
}

bool wait_ring(const struct ring_sys *sys, uint32_t *bell)
{
    uint32_t found = __atomic_exchange_n(bell, RING_AWAKE, __ATOMIC_SEQ_CST);
    if (found == RING_FUTEX)
        sys->futex_wake(bell, 1);
    return found == RING_SOCKET;
}

static bool changed(struct ring_waiter *w, const uint64_t *position, uint64_t seen)
{
    uint64_t now = __atomic_load_n(position, __ATOMIC_ACQUIRE);
    if (now == seen)
        return false;
    w->found = now;
    return true;
}

bool wait_arm(struct ring_waiter *w, const uint64_t *position, uint64_t seen, uint32_t *bell)
{
    __atomic_exchange_n(bell, RING_SOCKET, __ATOMIC_SEQ_CST);
    if (!changed(w, position, seen))
        return true;
    __atomic_exchange_n(bell, RING_AWAKE, __ATOMIC_SEQ_CST);
    return false;
}

void ring_nudge(const struct ring_sys *sys, uint32_t *bell)
{
    uint32_t expected = RING_FUTEX;
    __atomic_compare_exchange_n(bell, &expected, RING_AWAKE, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    /* also when the word says that nobody sleeps: a hostile peer may have written that */
    sys->futex_wake(bell, 1);
}

static void learn(struct ring_waiter *w, uint64_t took_ns, uint64_t spin_ns)
{
    uint64_t cap = USUAL_CAP_FACTOR * (spin_ns != 0 ? spin_ns : USUAL_DEFAULT_BUDGET_NS);
    if (took_ns > cap)
        took_ns = cap;
    w->usual_ns = w->usual_ns - w->usual_ns / USUAL_WEIGHT + took_ns / USUAL_WEIGHT;
}

static bool elsewhere(const uint32_t *peer_cpu, uint32_t own)
{
    return __atomic_load_n(peer_cpu, __ATOMIC_RELAXED) != own;
}

/* Is the peer, as far as is known, on another CPU? fresh: also by the word that lies on another cache line. */
static bool worth_spinning(const struct ring_waiter *w, bool fresh)
{
    uint32_t own = wait_cpu(w->sys), peer = __atomic_load_n(w->peer_cpu, __ATOMIC_RELAXED);
    if (peer == own || peer == RING_NO_CPU)
        return false;
    return !fresh || w->fresh_cpu == NULL || elsewhere(w->fresh_cpu, own);
}

/* RING_OK; RING_AGAIN: spinning is over, for whatever reason. *start: when the wait began, if the clock was read. */
static int spin(struct ring_waiter *w, const uint64_t *position, uint64_t seen, uint64_t deadline_ns, uint64_t spin_ns,
                uint64_t *start)
{
    uint64_t now = 0;
    do {
        for (int i = 0; i < SPIN_BATCH; i++) {
            cpu_pause();
            if (changed(w, position, seen)) {
                learn(w, now - *start, spin_ns);
                w->spun_ns += now - *start;
                return RING_OK;
            }
        }
        now = w->sys->now_ns();
        if (*start == 0)
            *start = now;
    } while (now - *start < spin_ns && now < deadline_ns && worth_spinning(w, true));
    w->spun_ns += now - *start;
    return RING_AGAIN;
}

int wait_for_change(struct ring_waiter *w, const uint64_t *position, uint64_t seen, uint32_t *bell, uint64_t deadline_ns,
                    uint64_t spin_ns)
{
    if (changed(w, position, seen))
        return RING_OK;
    uint64_t start = 0;
    if (spin_ns != 0 && w->usual_ns <= SPIN_USUAL_FACTOR * spin_ns && worth_spinning(w, false) &&
        spin(w, position, seen, deadline_ns, spin_ns, &start) == RING_OK)
        return RING_OK;
    uint64_t now = w->sys->now_ns();
    if (start == 0)
        start = now;
    while (now < deadline_ns) {
        __atomic_exchange_n(bell, RING_FUTEX, __ATOMIC_SEQ_CST);
        int rc = 0;
        bool stop = false;
        if (!changed(w, position, seen) && !(stop = w->stop != NULL && w->stop(w->user))) {
            w->sleeps++;
            rc = w->sys->futex_wait(bell, RING_FUTEX, deadline_ns - now > SLEEP_SLICE_NS ? now + SLEEP_SLICE_NS : deadline_ns);
        }
        __atomic_exchange_n(bell, RING_AWAKE, __ATOMIC_SEQ_CST);
        bool news = changed(w, position, seen);
        if (stop && !news)
            return RING_SPURIOUS;
        now = w->sys->now_ns();
        if (news) {
            learn(w, now - start, spin_ns);
            return RING_OK;
        }
        if (rc != -ETIMEDOUT && now < deadline_ns)
            return RING_SPURIOUS;
    }
    return RING_AGAIN;
}
