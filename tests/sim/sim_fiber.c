/* Threads of the simulator: fibers on one thread, so that of all that could happen next exactly one thing does. See sim.h.
 *
 * Invariants
 *  1. A fiber gives way only in fiber_* functions: at a wait, and by the dice around locks and wake-ups. Between them it runs alone.
 *  2. Mutexes and condition variables of the library are replaced by the linker's --wrap: a held one keeps who wants it from running. So is
 *     pthread_self(), by which the loop knows its own thread. What the library keeps for each thread (_Thread_local) is exchanged with the fiber.
 *  3. The clock moves a little with every step, and to the next time that somebody waits for when nobody can run.
 *
 * Failure: a schedule in which nothing can run and nobody waits for the clock, or which does not come to an end, has failed. */
#undef _FORTIFY_SOURCE /* its longjmp takes a fiber's stack for a mistake */
#include <errno.h>
#include <link.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "sim.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
enum { STACK = 4 << 20 }; /* calls nest in it, sixteen deep */
#else
enum { STACK = 1 << 20 };
#endif
enum { FIBERS = 40, MUTEXES = 32, LOCALS_MAX = 256, STEPS_MAX = 200000, LOOKS_MAX = 12, LOOKS_DRIVEN = 500 };

enum fiber_state { FIBER_FREE, FIBER_READY, FIBER_WAITING, FIBER_ENDED };

struct fiber {
    ucontext_t context; /* where it begins; under AddressSanitizer also where it was stopped */
    jmp_buf stopped;
    bool begun;
    char *stack;
    void *fake_stack;
    enum fiber_state state;
    const char *name;
    void *(*fn)(void *arg);
    void *arg;
    bool is_loop;
    char locals[LOCALS_MAX];  /* its _Thread_local variables while another one runs */
    bool (*ready)(void *arg); /* WAITING: until this, or the deadline */
    void *ready_arg;
    const void *word; /* or until a wake-up of this word */
    bool woken;
    uint64_t deadline_ns;
};

static struct fiber fibers[FIBERS];
static unsigned n_fibers; /* ever used in this schedule */
static struct fiber *current;
#if defined(__SANITIZE_ADDRESS__)
static ucontext_t root;
#else
static jmp_buf root_stopped;
#endif
#if defined(__SANITIZE_ADDRESS__)
static void *root_fake_stack;
static const void *root_stack;
static size_t root_stack_n;
#endif
static struct {
    const void *mutex;
    struct fiber *holder;
} held[MUTEXES];
static unsigned n_held;
static struct {
    char *at;
    size_t n;
} locals;                          /* of the one real thread */
static const struct fiber *looker; /* who has run a loop, `looks` turns of it in a row, and nobody else has run */
static unsigned looks;

/* Those of the program itself: of the library that is linked into it, not of libc. */
static int find_locals(struct dl_phdr_info *program, size_t n, void *user)
{
    (void)n, (void)user;
    for (int i = 0; i < program->dlpi_phnum; i++)
        if (program->dlpi_phdr[i].p_type == PT_TLS) {
            locals.at = program->dlpi_tls_data;
            locals.n = program->dlpi_phdr[i].p_memsz;
        }
    if (locals.n > LOCALS_MAX)
        sim_fail("the simulator has no place for the %zu bytes of a thread's own variables", locals.n);
    return 1; /* the program comes first */
}

static void switch_to_root(struct fiber *f, bool for_ever)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_ever ? NULL : &f->fake_stack, root_stack, root_stack_n);
    swapcontext(&f->context, &root);
    __sanitizer_finish_switch_fiber(f->fake_stack, NULL, NULL);
#else
    (void)for_ever;
    if (_setjmp(f->stopped) == 0) /* a swapcontext costs two system calls */
        _longjmp(root_stopped, 1);
#endif
}

static void body(void)
{
    struct fiber *f = current;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &root_stack, &root_stack_n);
#endif
    f->fn(f->arg);
    f->state = FIBER_ENDED;
    switch_to_root(f, true);
}

static void make_stack(struct fiber *f)
{
    f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->stack == MAP_FAILED || mprotect(f->stack, 4096, PROT_NONE) != 0)
        sim_fail("no memory for a fiber");
    getcontext(&f->context);
}

struct fiber *fiber_start(void *(*fn)(void *arg), void *arg, const char *name)
{
    struct fiber *f = NULL;
    for (unsigned i = 0; i < n_fibers && f == NULL; i++)
        if (fibers[i].state == FIBER_FREE)
            f = &fibers[i];
    if (f == NULL && n_fibers == FIBERS)
        sim_fail("the simulator has no fiber left");
    if (f == NULL)
        f = &fibers[n_fibers++];
    if (f->stack == NULL)
        make_stack(f);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, body, 0);
    f->state = FIBER_READY;
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    f->fake_stack = NULL;
    f->word = NULL;
    f->is_loop = f->begun = false;
    memset(f->locals, 0, sizeof f->locals);
    return f;
}

void fiber_reset(void)
{
    for (unsigned i = 0; i < n_fibers; i++)
        fibers[i].state = FIBER_FREE;
    n_fibers = n_held = looks = 0;
    current = NULL;
    if (locals.at == NULL)
        dl_iterate_phdr(find_locals, NULL);
}

bool fiber_ended(const struct fiber *f)
{
    return f->state == FIBER_ENDED;
}

void fiber_is_the_loop(struct fiber *f)
{
    f->is_loop = true;
}

uintptr_t fiber_number(const struct fiber *f)
{
    return (uintptr_t)(f - fibers) + 1;
}

bool fiber_is_loop(void)
{
    return current != NULL && current->is_loop;
}

bool fiber_locked(void)
{
    return n_held != 0;
}

static void run_fiber(struct fiber *f)
{
    current = f;
    f->state = FIBER_READY;
    memcpy(locals.at, f->locals, locals.n);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&root_fake_stack, f->stack, STACK);
    swapcontext(&root, &f->context);
    __sanitizer_finish_switch_fiber(root_fake_stack, NULL, NULL);
#else
    if (_setjmp(root_stopped) == 0) {
        if (f->begun)
            _longjmp(f->stopped, 1);
        f->begun = true;
        setcontext(&f->context);
    }
#endif
    memcpy(f->locals, locals.at, locals.n);
    current = NULL;
}

void fiber_yield(void)
{
    if (current != NULL)
        switch_to_root(current, false);
}

void fiber_maybe_yield(void)
{
    if (current != NULL && sim_chance(sim.mood.preempt))
        switch_to_root(current, false);
}

static bool may_run(struct fiber *f)
{
    if (f->state != FIBER_WAITING)
        return f->state == FIBER_READY;
    return f->woken || sim.now >= f->deadline_ns || (f->ready != NULL && f->ready(f->ready_arg));
}

/* Waits for a wake-up of word, for ready, or the deadline. */
static void wait_here(const void *word, bool (*ready)(void *arg), void *arg, uint64_t deadline_ns)
{
    struct fiber *f = current;
    f->word = word;
    f->ready = ready;
    f->ready_arg = arg;
    f->deadline_ns = deadline_ns;
    f->woken = false;
    f->state = FIBER_WAITING;
    switch_to_root(f, false);
    f->word = NULL;
}

bool fiber_wait_for(bool (*ready)(void *arg), void *arg, uint64_t deadline_ns)
{
    if (ready(arg))
        return true;
    if (sim.now >= deadline_ns)
        return false;
    wait_here(NULL, ready, arg, deadline_ns);
    return ready(arg);
}

int fiber_futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    fiber_maybe_yield();
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected)
        return -EAGAIN;
    if (sim_chance(sim.mood.spurious))
        return 0;
    wait_here(word, NULL, NULL, deadline_ns);
    return current->woken ? 0 : -ETIMEDOUT;
}

int fiber_futex_wake(const uint32_t *word, int n)
{
    int woken = 0;
    unsigned first = n_fibers != 0 ? sim_below(n_fibers) : 0;
    for (unsigned i = 0; i < n_fibers && woken < n; i++) {
        struct fiber *f = &fibers[(first + i) % n_fibers];
        if (f->state == FIBER_WAITING && f->word == word && !f->woken) {
            f->woken = true;
            woken++;
        }
    }
    fiber_maybe_yield();
    return woken;
}

/* ---- what the linker puts in the place of pthread's ---- */

int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_broadcast(pthread_cond_t *c);
int __wrap_pthread_join(pthread_t t, void **ret);
pthread_t __wrap_pthread_self(void);

static bool is_free(void *mutex)
{
    for (unsigned i = 0; i < n_held; i++)
        if (held[i].mutex == mutex)
            return false;
    return true;
}

static void take(pthread_mutex_t *m)
{
    if (n_held == MUTEXES)
        sim_fail("the simulator has no place for a mutex");
    held[n_held].mutex = m;
    held[n_held++].holder = current;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    fiber_maybe_yield();
    if (!is_free(m)) {
        if (current == NULL)
            sim_fail("the simulator itself wants a lock that a fiber holds");
        for (unsigned i = 0; i < n_held; i++)
            if (held[i].mutex == m && held[i].holder == current)
                sim_fail("%s locks a mutex that it has locked", current->name);
        while (!is_free(m))
            wait_here(NULL, is_free, m, SIM_NEVER);
    }
    take(m);
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
    fiber_maybe_yield();
    if (!is_free(m))
        return EBUSY;
    take(m);
    return 0;
}

static void let_go(const pthread_mutex_t *m)
{
    unsigned i = 0;
    while (i < n_held && held[i].mutex != m)
        i++;
    if (i == n_held || held[i].holder != current)
        sim_fail("a mutex is unlocked by who has not locked it");
    held[i] = held[--n_held];
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    let_go(m);
    fiber_maybe_yield();
    return 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    let_go(m); /* and waits, without a gap */
    wait_here(c, NULL, NULL, SIM_NEVER);
    return __wrap_pthread_mutex_lock(m);
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *c)
{
    fiber_futex_wake((const uint32_t *)(const void *)c, FIBERS);
    return 0;
}

static bool has_ended(void *f)
{
    return fiber_ended(f);
}

void fiber_join(struct fiber *f)
{
    fiber_wait_for(has_ended, f, SIM_NEVER);
    f->state = FIBER_FREE;
}

int __wrap_pthread_join(pthread_t t, void **ret)
{
    (void)ret;
    struct fiber *f = &fibers[(uintptr_t)t - 1];
    bool was_loop = f->is_loop;
    fiber_join(f);
    if (was_loop)
        sim.host = NULL; /* whose thread that was */
    return 0;
}

pthread_t __wrap_pthread_self(void)
{
    return (pthread_t)(current != NULL ? (uintptr_t)(current - fibers) + 1 : FIBERS + 1);
}

/* ---- which comes next ---- */

static uint64_t next_time(void)
{
    uint64_t next = SIM_NEVER;
    for (unsigned i = 0; i < n_fibers; i++)
        if (fibers[i].state == FIBER_WAITING && fibers[i].deadline_ns < next)
            next = fibers[i].deadline_ns;
    struct proc *p;
    for (unsigned i = 0; (p = proc_at(i)) != NULL; i++)
        if (p->due_ns > sim.now && p->due_ns < next)
            next = p->due_ns;
    return next;
}

static void tell_stuck(void)
{
    for (unsigned i = 0; i < n_fibers; i++)
        if (fibers[i].state == FIBER_WAITING)
            sim_tell("  %s waits%s", fibers[i].name, fibers[i].word != NULL ? " on a word" : "");
    for (unsigned i = 0; i < n_asks; i++)
        if (asks[i].begun && asks[i].completions == 0)
            sim_tell("  call %u has no outcome", i);
}

/* A turn of a loop: one that follows upon another without rest waits by running. A foreign loop turns beside whoever drives. */
void fiber_looks(void)
{
    looks = looker == current ? looks + 1 : 1;
    looker = current;
    if (looks == (sim.driven ? LOOKS_DRIVEN : LOOKS_MAX)) {
        tell_stuck();
        sim_fail("%s runs and runs, and nothing comes of it", current->name);
    }
}

static void pass_time(void)
{
    check_quiet();
    looks = 0;
    uint64_t next = next_time();
    if (next == SIM_NEVER) {
        tell_stuck();
        sim_fail("nothing can run, and nobody waits for the clock");
    }
    if (next > sim.now)
        sim.now = next;
}

/* A step takes some microseconds; now and then the machine is busy elsewhere. */
static void tick(void)
{
    sim.now += sim_chance(sim.mood.lag) ? sim_below(6000) * SIM_US : sim_below(16) * SIM_US / 2;
    if (++sim.steps > STEPS_MAX) {
        tell_stuck();
        sim_fail("no end after %d steps", STEPS_MAX);
    }
}

static void step(void)
{
    struct fiber *ready[FIBERS];
    struct proc *acting[SIM_PROCS], *p;
    unsigned n = 0, m = 0;
    for (unsigned i = 0; i < n_fibers; i++)
        if (may_run(&fibers[i]))
            ready[n++] = &fibers[i];
    for (unsigned i = 0; (p = proc_at(i)) != NULL; i++)
        if (proc_may_run(p))
            acting[m++] = p;
    if (n + m == 0) {
        if (!scenario_may_disturb() || sim_chance(900))
            pass_time();
        else
            scenario_disturb();
        return;
    }
    if (scenario_may_disturb() && sim_chance(20)) {
        scenario_disturb();
    } else {
        unsigned chosen = sim_below(n + m);
        if (chosen < n) {
            SIM_TRACE("%s", ready[chosen]->name);
            looks = ready[chosen] == looker ? looks : 0;
            run_fiber(ready[chosen]);
        } else {
            looks = 0;
            proc_run(acting[chosen - n]);
        }
    }
    tick();
    check_step();
}

void fiber_run_all(void)
{
    while (!fiber_ended(&fibers[0]))
        step();
    for (unsigned i = 0; i < n_fibers; i++)
        if (fibers[i].state == FIBER_READY || fibers[i].state == FIBER_WAITING)
            sim_fail("%s goes on after the end", fibers[i].name);
}
