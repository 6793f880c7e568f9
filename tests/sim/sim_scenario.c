/* What is asked of the pool, and what happens to it meanwhile: all of it from the seed. See sim.h.
 *
 * The first fiber opens the pit, starts the callers, and closes: mostly when they have ended, sometimes in the middle. Each call has a number, which
 * it carries to the worker; the answer is a function of it. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "api/api.h"
#include "sim_scenario.h"

enum { BLOB = 6000, DISTURBANCES = 10, OUTCOMES = 32 };

struct ask asks[SIM_CALLS];
unsigned n_asks;

static struct live lives[CALLERS + TOOL_CALLERS];
static unsigned running, disturbances;
static bool closing;
static int64_t shutdown_ms;
static pit_pool_options options;
static pit_heartbeat_options heart;
static pit_crash_barrier_options barrier;
static pit_poison_options poison;
static int64_t backoff_ms;
static const char *const command[] = {"worker", NULL};

int64_t ask_answer(unsigned tag)
{
    return 1000 + 7 * (int64_t)tag;
}

static unsigned restarts(void)
{
    return barrier.max_restarts == PIT_NONE ? 0 : (unsigned)barrier.max_restarts;
}

/* Did its process die of the call? What a signal from outside does is none of the call's doing, nor what another call did inside it. */
static bool has_killed(const struct proc *w)
{
    int sig = WIFSIGNALED(w->wait_status) ? WTERMSIG(w->wait_status) : 0;
    return w->state != PROC_ALIVE && w->at_work <= 1 && sig != SIGKILL && sig != SIGTERM;
}

static bool never_ran(int rc)
{
    return rc == PIT_E_QUEUE_TIMEOUT || rc == PIT_E_POOL_SATURATED || rc == PIT_E_NO_WORKERS_AVAILABLE ||
           rc == PIT_E_POOL_NOT_INITIALIZED || rc == PIT_E_WOULD_DEADLOCK || rc == PIT_E_NESTING_TOO_DEEP;
}

void ask_ran(unsigned tag, struct proc *w)
{
    struct ask *a = &asks[tag];
    const struct proc *before = a->ran_on;
    a->ran_on = proc_ref(w); /* its place is not used again in this schedule */
    if (!a->begun)
        sim_fail("call %u runs, and was never made", tag);
    if (++a->runs > 1 && (!a->again || before->state == PROC_ALIVE))
        sim_fail("call %u runs a second time", tag);
    if (a->runs > 1 + restarts())
        sim_fail("call %u runs for the %uth time, and may be run again %u times", tag, a->runs, restarts());
    a->kills += before != NULL && has_killed(before);
    if (poison.enabled == PIT_ON && sim.guard_kills == 0 && a->kills >= (unsigned)poison.crashes)
        sim_fail("call %u runs, and has killed %u workers", tag, a->kills);
    if (a->completions != 0 && never_ran(a->rc))
        sim_fail("call %u runs, and its caller was told that it never did", tag);
}

void ask_has_acted(struct ask *a)
{
    a->again = a->again && barrier.retry == PIT_RETRY_ALWAYS;
}

static struct {
    int rc;
    unsigned long long n;
} outcomes[OUTCOMES]; /* of all schedules */

static void count_outcome(int rc)
{
    unsigned i = 0;
    while (i + 1 < OUTCOMES && outcomes[i].n != 0 && outcomes[i].rc != rc)
        i++;
    outcomes[i].rc = rc;
    outcomes[i].n++;
}

void scenario_tell(void)
{
    printf("outcomes:");
    for (unsigned i = 0; i < OUTCOMES && outcomes[i].n != 0; i++)
        printf(" %s %llu", outcomes[i].rc == 0 ? "ok" : pit_error_code_name(outcomes[i].rc), outcomes[i].n);
    printf("\n");
}

/* Its worker has died of it, nothing was in the way of another run, and there was none. */
static bool given_up_early(const struct ask *a, const pit_error *e)
{
    uint64_t again_ns = sim.now + (uint64_t)backoff_ms * SIM_MS;
    bool tried = pit_value_get(pit_error_details(e), "attempts") != NULL;
    return a->again && restarts() > 0 && !tried && !closing && again_ns < a->deadline_ns && sim.mood.bad_start == 0;
}

void ask_completed(struct ask *a, int rc, const pit_value *value, const pit_error *e)
{
    count_outcome(rc);
    unsigned tag = (unsigned)(a - asks);
    int64_t n = 0;
    SIM_TRACE("  call %u is completed: %s", tag, rc == 0 ? "ok" : pit_error_code_name(rc));
    if (++a->completions > 1)
        sim_fail("call %u is completed a second time", tag);
    a->rc = rc;
    if (rc == 0 && !a->unsure && (!pit_value_get_int(value, &n) || n != ask_answer(tag)))
        sim_fail("call %u got the answer %lld", tag, (long long)n);
    if (rc == 0 && a->runs == 0)
        sim_fail("call %u was answered, and never ran", tag);
    if (rc == PIT_E_WORKER_CRASH && given_up_early(a, e))
        sim_fail("call %u ends with its worker, and could have been run again", tag);
    if (rc == PIT_E_POISON_CALL && (poison.enabled == PIT_OFF || !a->again)) /* no other call is the same */
        sim_fail("call %u is refused as poison after %u runs", tag, a->runs);
    if (rc == PIT_E_HEARTBEAT_TIMEOUT && a->ran_on != NULL && !a->ran_on->was_stopped)
        sim_fail("the worker of call %u was killed for silence, and has answered", tag);
    if (a->runs != 0 && never_ran(rc))
        sim_fail("call %u ran, and its caller is told that it did not", tag);
    if (rc == 0 && !a->unsure && a->told_given_up)
        sim_fail("call %u was told by a tool that it is given up, and ends well", tag);
    flow_check_end(a, rc);
}

/* ---- callers ---- */

int64_t some_time_ms(void)
{
    return sim_chance(500) ? 1 + sim_below(20) : 1 + sim_below(400);
}

struct ask *new_ask(int form, pit_call_options *o)
{
    struct ask *a = &asks[n_asks++];
    *a = (struct ask){.form = form, .begun = true, .made_ns = sim.now};
    o->timeout_ms = some_time_ms();
    o->priority = (int)sim_below(PIT_PRIORITY_URGENT + 1);
    o->fail_fast = sim_chance(30) ? PIT_ON : 0;
    o->idempotent = sim_chance(500) ? PIT_ON : 0;
    a->again = barrier.enabled == PIT_ON &&
               (barrier.retry == PIT_RETRY_ALWAYS || (barrier.retry == PIT_RETRY_IDEMPOTENT && o->idempotent == PIT_ON));
    a->deadline_ns = sim.now + (uint64_t)o->timeout_ms * SIM_MS;
    SIM_TRACE("  call %u is made, form %d, %lld ms", (unsigned)(a - asks), form, (long long)o->timeout_ms);
    return a;
}

pit_value *ask_arguments(const struct ask *a)
{
    static const uint8_t blob[BLOB];
    pit_value *list = pit_list();
    pit_list_append_take(list, pit_int(a - asks));
    if (sim_chance(60)) /* larger than the ring */
        pit_list_append_take(list, pit_bytes(blob, BLOB));
    return list;
}

void call_blocking(struct live *l, int form)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL;
    pit_error *e = NULL;
    struct ask *a = new_ask(form, &o);
    a->by_tool = l->taken;
    a->again = a->again && !a->by_tool; /* it ends with the call that its tool serves */
    pit_value *args = ask_arguments(a);
    if (form == ASK_CANCELLABLE)
        o.canceller = l->canceller = pit_canceller_new();
    l->ask = a;
    int rc = pit_call(sim.p, "work", args, &o, &v, &e);
    l->ask = NULL;
    ask_completed(a, rc, v, e);
    if (rc != 0 && (e == NULL || pit_error_code(e) != rc))
        sim_fail("call %u failed with %d, and its error says something else", (unsigned)(a - asks), rc);
    l->canceller = NULL;
    pit_canceller_free(o.canceller);
    pit_value_free(args);
    pit_value_free(v);
    pit_error_free(e);
}

static void on_done(pit_future *f, void *user)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    int rc = pit_future_result(f, &v, &e);
    ask_completed(user, rc, v, e);
    pit_value_free(v);
    pit_error_free(e);
}

/* How many futures at once: behind each other in a lane, once the command is known to be short. */
static void call_futures(struct live *l)
{
    pit_future *f[4] = {0};
    struct ask *made[4];
    unsigned n = 1 + sim_below(4);
    for (unsigned i = 0; i < n && n_asks < SIM_CALLS && !closing; i++) {
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        struct ask *a = made[i] = new_ask(ASK_FUTURE, &o);
        pit_value *args = ask_arguments(a);
        pit_error *e = NULL;
        int rc = pit_submit(sim.p, "work", args, &o, &f[i], &e);
        pit_value_free(args);
        if (rc != 0)
            ask_completed(a, rc, NULL, e);
        else
            pit_future_on_done(f[i], on_done, a);
        pit_error_free(e);
    }
    for (unsigned i = 0; i < n; i++) {
        l->future = f[i];
        l->ask = f[i] != NULL ? made[i] : NULL;
        while (f[i] != NULL && pit_future_wait(f[i], some_time_ms()) == PIT_E_PENDING)
            continue;
        l->future = NULL;
        l->ask = NULL;
        pit_future_free(f[i]);
    }
}

/* One deadline for all of them, and perhaps a canceller. */
static void call_batch(struct live *l)
{
    enum { MOST = 6 };
    pit_call_item items[MOST] = {0};
    pit_call_result results[MOST];
    pit_value *args[MOST];
    struct ask *made[MOST];
    pit_call_options o = PIT_CALL_OPTIONS_INIT, ignored = PIT_CALL_OPTIONS_INIT;
    unsigned n = 0, wanted = 1 + sim_below(MOST);
    for (; n < wanted && n_asks < SIM_CALLS; n++) {
        made[n] = new_ask(ASK_BATCH, n == 0 ? &o : &ignored);
        made[n]->deadline_ns = made[0]->deadline_ns;
        made[n]->again = made[0]->again;
        args[n] = ask_arguments(made[n]);
        items[n] = (pit_call_item){.command = "work", .args = args[n]};
    }
    o.fail_fast = 0;
    if (sim_chance(300))
        o.canceller = l->canceller = pit_canceller_new();
    l->ask = made[0];
    int rc = pit_call_many(sim.p, items, n, &o, results, NULL);
    l->ask = NULL;
    l->canceller = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (rc != 0 && results[i].rc != rc)
            sim_fail("a batch failed with %d, and call %u of it with %d", rc, i, results[i].rc);
        ask_completed(made[i], results[i].rc, results[i].value, results[i].error);
        pit_value_free(args[i]);
    }
    pit_call_results_free(results, n);
    pit_canceller_free(o.canceller);
}

static bool later(void *arg)
{
    (void)arg;
    return false;
}

void dawdle(unsigned most_us)
{
    fiber_wait_for(later, NULL, sim.now + sim_below(most_us) * SIM_US);
}

bool scenario_closing(void)
{
    return closing;
}

struct live *take_live(void)
{
    for (unsigned i = CALLERS; i < CALLERS + TOOL_CALLERS; i++)
        if (!lives[i].taken) {
            lives[i].taken = true;
            return &lives[i];
        }
    return NULL;
}

void call_something(struct live *l)
{
    if (sim.mood.streams != 0 && sim_chance(sim.mood.streams)) {
        stream_call(l);
        return;
    }
    unsigned dice = sim_below(10);
    if (dice < 4)
        call_blocking(l, ASK_BLOCKING);
    else if (dice < 6)
        call_blocking(l, ASK_CANCELLABLE);
    else if (dice < 7)
        call_batch(l);
    else
        call_futures(l);
}

static void *caller(void *arg)
{
    struct live *l = arg;
    for (unsigned left = 1 + sim_below(5); left > 0 && n_asks < SIM_CALLS && !closing; left--) {
        call_something(l);
        if (sim_chance(300))
            dawdle(20000);
    }
    running--;
    return NULL;
}

static void recycle_some(void)
{
    char id[16];
    pit_error *e = NULL;
    snprintf(id, sizeof id, "p/%u.%u", sim_below(4), 1 + sim_below(3));
    int rc = pit_worker_recycle(sim.p, "p", id, &e);
    SIM_TRACE("  worker %s shall be recycled: %s", id, rc == 0 ? "yes" : pit_error_code_name(rc));
    pit_error_free(e);
}

static void taint_some(void)
{
    char id[16];
    pit_error *e = NULL;
    snprintf(id, sizeof id, "p/%u", sim_below(4));
    int64_t ms = sim_chance(200) ? PIT_NOW : 1 + (int64_t)sim_below(60);
    int rc = pit_taint(sim.p, NULL, id, ms, "by the simulator", &e);
    SIM_TRACE("  slot %s shall be tainted for %lld ms: %s", id, (long long)ms, rc == 0 ? "yes" : pit_error_code_name(rc));
    pit_error_free(e);
}

/* Another thread of the program, which cancels and recycles what it likes. */
static void *canceller(void *arg)
{
    (void)arg;
    while (running > 0) {
        dawdle(20000);
        if (sim_chance(200) && !closing)
            recycle_some();
        if (sim_chance(200) && !closing)
            taint_some();
        if (sim.mood.tools != 0 && sim_chance(200) && !closing)
            tool_change_some();
        struct live *l = &lives[sim_below(sim.mood.tools != 0 ? CALLERS + TOOL_CALLERS / 4 : CALLERS)];
        struct ask *a = l->ask;
        if (a == NULL || a->completions != 0 || !sim_chance(500) || closing)
            continue;
        if (l->canceller != NULL) {
            pit_canceller *c = l->canceller;
            SIM_TRACE("  call %u is cancelled", (unsigned)(a - asks));
            pit_canceller_fire(c, "by the simulator");
            a->cancelled_ns = sim.now;
        } else if (l->future != NULL) {
            SIM_TRACE("  call %u is cancelled", (unsigned)(a - asks));
            pit_future_cancel(l->future, "by the simulator");
            a->cancelled_ns = sim.now;
        }
    }
    return NULL;
}

/* ---- the first fiber ---- */

static void choose_options(pit_options *o)
{
    options = (pit_pool_options)PIT_POOL_OPTIONS_INIT;
    options.name = "p";
    options.command = command;
    options.workers = 1 + (int)sim_below(4);
    options.timeout_ms = 2000;
    options.queue_timeout_ms = sim_chance(500) ? 1 + (int64_t)sim_below(30) : 2000;
    options.max_queue_size = sim_chance(500) ? 1 + (int)sim_below(3) : sim_chance(200) ? PIT_NONE : 1000;
    options.cancel_grace_ms = 1 + (int64_t)sim_below(50);
    options.startup_batch_size = 1 + (int)sim_below(3);
    options.startup_batch_delay_ms = 1 + (int64_t)sim_below(20);
    options.worker_ready_timeout_ms = 20 + (int64_t)sim_below(200);
    options.graceful_shutdown_timeout_ms = 1 + (int64_t)sim_below(100);
    options.spin_us = PIT_NOW;
    options.ring_bytes = 4096;
    options.channel = PIT_CHANNEL_AUTO;
    options.worker_max_requests = sim_chance(200) ? 1 + (int64_t)sim_below(6) : 0;
    options.lifecycle_check_interval_ms = 5 + (int64_t)sim_below(20);
    options.drain_timeout_ms = 1 + (int64_t)sim_below(60);
    options.recycle_max_parallel = 1 + (int)sim_below(2);
    heart = (pit_heartbeat_options)PIT_HEARTBEAT_OPTIONS_INIT;
    heart.enabled = sim_chance(600) ? PIT_ON : PIT_OFF;
    heart.ping_interval_ms = 5 + (int64_t)sim_below(20);
    heart.timeout_ms = 20 + (int64_t)sim_below(20);
    heart.max_missed_heartbeats = 1 + (int)sim_below(2);
    options.heartbeat = &heart;
    barrier = (pit_crash_barrier_options)PIT_CRASH_BARRIER_OPTIONS_INIT;
    barrier.enabled = sim_chance(800) ? PIT_ON : PIT_OFF;
    barrier.retry = 1 + (int)sim_below(PIT_RETRY_NEVER);
    barrier.max_restarts = sim_chance(100) ? PIT_NONE : 1 + (int)sim_below(3);
    barrier.taint_duration_ms = 1 + (int64_t)sim_below(100);
    barrier.worker_max_crashes = 1 + (int)sim_below(3);
    barrier.backoff_ms = &backoff_ms;
    barrier.n_backoff_ms = 1;
    backoff_ms = sim_chance(300) ? 0 : 1 + (int64_t)sim_below(40);
    options.crash_barrier = &barrier;
    poison = (pit_poison_options)PIT_POISON_OPTIONS_INIT;
    poison.enabled = sim_chance(700) ? PIT_ON : PIT_OFF;
    poison.crashes = 1 + (int)sim_below(3);
    options.poison = &poison;
    options.restart_backoff = sim_chance(500) ? PIT_OFF : PIT_ON;
    options.spare_workers = sim_chance(200) ? 1 + (int)sim_below(2) : 0;
    if (sim.mood.streams != 0) {
        options.stream_window = 1 + (int)sim_below(SIM_WINDOW);
        options.stream_window_bytes = sim_chance(500) ? 1 + (int64_t)sim_below(1500) : 0;
        options.stream_idle_timeout_ms = sim_chance(150) ? 5 + (int64_t)sim_below(40) : 0;
    }
    if (sim.mood.tools != 0)
        o->tool_threads = sim_chance(700) ? 1 : 2;
    o->guard_path = "guard";
    o->python_package_path = "package";
    o->drive = sim.driven ? PIT_DRIVE_HOST : PIT_DRIVE_THREAD;
    o->require_ready = sim_chance(500) ? PIT_OFF : PIT_ON;
    o->shutdown_timeout_ms = shutdown_ms = 2500 + (int64_t)sim_below(3000);
    o->drain_timeout_ms = 1 + (int64_t)sim_below(500);
}

static bool all_ended(void *arg)
{
    (void)arg;
    bool all = running == 0;
    for (unsigned i = 0; all && i < n_asks; i++)
        all = asks[i].completions != 0; /* the end of a future is told by the loop, when its thread may have gone on */
    return all;
}

static bool has_ended(void *fiber)
{
    return fiber_ended(fiber);
}

static void check_counters(void)
{
    pit_stats s = PIT_STATS_INIT;
    uint64_t good = 0, unsure = 0, least, most;
    pit_get_stats(sim.p, NULL, &s);
    for (unsigned i = 0; i < n_asks; i++) {
        unsure += asks[i].unsure;
        good += asks[i].rc == 0 && !asks[i].unsure;
    }
    least = n_asks - good - unsure;
    most = n_asks - good;
    if (s.requests != n_asks || s.succeeded < good || s.succeeded > good + unsure || s.errors < least || s.errors > most ||
        s.succeeded + s.errors != n_asks)
        sim_fail("%u calls, %llu good; the counters say %llu, %llu and %llu errors", n_asks, (unsigned long long)good,
                 (unsigned long long)s.requests, (unsigned long long)s.succeeded, (unsigned long long)s.errors);
}

static bool loop_wants(void *arg)
{
    return file_readable(arg) || all_ended(NULL);
}

/* A host-driven pit is dispatched by its program, beside the callers that drive it while they wait. */
static bool dispatch_until(uint64_t deadline_ns)
{
    while (!all_ended(NULL) && sim.now < deadline_ns) {
        int ms = pit_timeout(sim.p);
        uint64_t due = ms < 0 ? SIM_NEVER : sim.now + (uint64_t)ms * SIM_MS;
        fiber_wait_for(loop_wants, fd_get(pit_fd(sim.p)), due < deadline_ns ? due : deadline_ns);
        fiber_yield();
        pit_dispatch(sim.p);
    }
    return all_ended(NULL);
}

static void close_pit(void)
{
    uint64_t began = sim.now;
    closing = true;
    if (sim.driven)
        sim.host = NULL; /* it goes away without a sign */
    SIM_TRACE("  the pit is closed");
    int rc = pit_close(sim.p);
    if (rc != 0 && rc != PIT_E_CLEANUP_TIMEOUT)
        sim_fail("pit_close returned %s", pit_error_code_name(rc));
    if (sim.now - began > ((uint64_t)shutdown_ms + 2000) * SIM_MS)
        sim_fail("pit_close took %llu ms of %lld", (unsigned long long)((sim.now - began) / SIM_MS), (long long)shutdown_ms);
}

static void *first(void *arg)
{
    (void)arg;
    pit_options o = PIT_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&options};
    pit_error *e = NULL;
    choose_options(&o);
    o.pools = pools;
    o.n_pools = 1;
    int rc = api_open_os(&sim_os, &o, &sim.p, &e);
    SIM_TRACE("  the pit is open: %s", rc == 0 ? "yes" : pit_error_code_name(rc));
    pit_error_free(e);
    if (rc != 0)
        return NULL;
    if (sim.driven)
        sim.host = sim.p->host;
    if (sim.mood.tools != 0)
        tool_register_some();
    running = 1 + sim_below(CALLERS);
    for (unsigned i = 0, n = running; i < n; i++)
        fiber_start(caller, &lives[i], "a caller");
    struct fiber *other = fiber_start(canceller, NULL, "the canceller");
    bool early = sim_chance(200);
    uint64_t until = early ? sim.now + sim_below(100000) * SIM_US : SIM_NEVER;
    if (sim.driven ? dispatch_until(until) : fiber_wait_for(all_ended, NULL, until))
        check_counters();
    close_pit();
    fiber_wait_for(all_ended, NULL, SIM_NEVER);
    fiber_wait_for(has_ended, other, SIM_NEVER);
    return NULL;
}

/* ---- what goes wrong ---- */

bool scenario_may_disturb(void)
{
    return !sim.quiet && disturbances > 0;
}

static struct proc *some_proc(enum proc_kind kind)
{
    struct proc *found = NULL, *p;
    unsigned n = 0;
    for (unsigned i = 0; (p = proc_at(i)) != NULL; i++)
        if (p->kind == kind && p->state == PROC_ALIVE && sim_below(++n) == 0)
            found = p;
    return found;
}

void scenario_disturb(void)
{
    static const int signals[] = {SIGKILL, SIGKILL, SIGKILL, SIGSEGV, SIGSTOP, SIGCONT, SIGTERM};
    disturbances--;
    if (sim_chance(sim.mood.guards)) {
        struct proc *g = some_proc(PROC_GUARD);
        if (g != NULL)
            proc_signal(g, sim_chance(700) ? SIGKILL : SIGSTOP, "a disturbance");
        sim.guard_kills++;
        return;
    }
    struct proc *w = some_proc(PROC_WORKER);
    int sig = signals[sim_below(7)];
    if (w == NULL)
        return;
    if (sig == SIGSEGV)
        proc_exit(w, SIGSEGV);
    else
        proc_signal(w, sig, "a disturbance");
}

/* Half of all schedules have streams, half of all call tools. */
static void choose_kind(void)
{
    unsigned kind = (unsigned)(sim.seed % 4);
    sim.mood.streams = (kind & 1) != 0 ? 200 + sim_below(600) : 0;
    sim.mood.tools = (kind & 2) != 0 ? 100 + sim_below(600) : 0;
    sim.mood.deep = sim.mood.tools != 0 && sim_chance(100);
    if (sim.mood.deep)
        sim.mood.tools = 1000;
}

void scenario_begin(void)
{
    memset(lives, 0, sizeof lives);
    memset(asks, 0, n_asks * sizeof asks[0]);
    n_asks = running = 0;
    closing = false;
    stream_reset();
    tool_reset();
    sim.driven = sim_chance(120);
    bool rough = sim_chance(700);
    disturbances = rough ? sim_below(DISTURBANCES) : 0;
    sim.mood = (struct sim_mood){.preempt = sim_below(3) * 200,
                                 .lag = sim_chance(300) ? 30 : 3,
                                 .spurious = sim_chance(200) ? 20 : 0,
                                 .slow = sim_below(300),
                                 .socket = sim_chance(200),
                                 .farewell = sim_chance(600)};
    choose_kind();
    if (!rough)
        return;
    sim.mood.refuse = sim_chance(150) ? sim_below(40) : 0;
    sim.mood.hang = sim_below(100);
    sim.mood.crash = sim_below(200);
    sim.mood.lie = sim_chance(300) ? sim_below(100) : 0;
    sim.mood.big = sim_chance(300) ? 800 : 50;
    sim.mood.bad_start = sim_below(200);
    sim.mood.foreign = sim_below(1000);
    sim.mood.guards = sim_chance(200) ? 500 : 50;
}

void scenario_run(void)
{
    fiber_start(first, NULL, "the program");
    fiber_run_all();
}

void scenario_end(void)
{
    for (unsigned i = 0; i < n_asks; i++)
        if (asks[i].completions != 1)
            sim_fail("call %u has no outcome at the end", i);
    tool_check_end();
    if (fd_count() != 0)
        sim_fail("%u descriptors of the host are open at the end", fd_count());
    if (proc_alive(PROC_WORKER) != 0 || proc_alive(PROC_GUARD) != 0)
        sim_fail("%u workers and %u guards live at the end", proc_alive(PROC_WORKER), proc_alive(PROC_GUARD));
}
