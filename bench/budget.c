/* snakepit-budget: where the nanoseconds of a hot call go.
 *
 * The host's parts are run by themselves, many times over, on one CPU; the way to the worker and back by two threads with the channels of both
 * sides on two CPUs; the function's time, with look-up and arguments, is what the worker tells. The whole is a hot call of the public API. What is
 * left of it is the rest of the worker's share, which cannot be seen from here.
 *
 * The parts run with warm caches and their lines never leave the CPU, so a part costs a little less here than inside a call; the rest pays for that. */
#include "host.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "channel/channel.h"
#include "os/os.h"
#include "pool/pool_internal.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "worker/call.h"

enum { TURNS = 20000, TRIES = 31, RING_BYTES = 65536 };

/* ---- timing ---- */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ns of one turn: the median of TRIES runs of TURNS turns. */
static double time_part(void (*fn)(void *ctx, int turns), void *ctx)
{
    double each[TRIES];
    fn(ctx, TURNS); /* warm */
    for (int i = 0; i < TRIES; i++) {
        uint64_t start = clock_now();
        fn(ctx, TURNS);
        each[i] = (double)(clock_now() - start) / TURNS;
    }
    qsort(each, TRIES, sizeof *each, compare_double);
    return each[TRIES / 2];
}

/* ---- the arguments into a frame ---- */

static void encode_once(struct call *c, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    struct call_args args = {.format = format, .ap = &ap, .packed = true};
    pit_error_free(call_encode(c, &args, 64u << 20));
    va_end(ap);
}

static void part_pack(void *ctx, int turns)
{
    struct call *c = ctx;
    for (int i = 0; i < turns; i++)
        encode_once(c, "{s:i}", "x", i);
}

/* ---- a lane taken and given back ---- */

struct lease {
    struct pool pool;
    struct worker worker;
    struct worker_env env;
    struct lane lane;
    struct call call;
};

static struct lease *lease_create(void)
{
    struct lease *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->env.os = &os_linux;
    l->env.telemetry = telemetry_create(os_linux.now_ns);
    l->worker.env = &l->env;
    l->worker.state = PIT_WORKER_READY;
    l->worker.refs = 1;
    l->worker.is_ring = true;
    l->lane.worker = &l->worker;
    l->lane.owner = LANE_IDLE;
    l->pool.env = &l->env;
    l->pool.state = POOL_RUNNING;
    l->pool.watched = true; /* as between two looks */
    poollock_init(&l->pool.lock, l->env.telemetry, "budget");
    list_init(&l->pool.idle);
    list_init(&l->pool.loop_lanes);
    queue_init(&l->pool.queue);
    list_push_front(&l->pool.idle, &l->lane.node);
    l->call.command = "inc";
    encode_once(&l->call, "{s:i}", "x", 1);
    return l;
}

static void lease_free(struct lease *l)
{
    call_clear(&l->call);
    poollock_finish(&l->pool.lock);
    telemetry_destroy(l->env.telemetry);
    free(l);
}

static void part_lease(void *ctx, int turns)
{
    struct lease *l = ctx;
    struct call *c = &l->call;
    struct pool *p = &l->pool;
    for (int i = 0; i < turns; i++) {
        c->state = CALL_NEW;
        c->lane = NULL;
        poollock_acquire(&p->lock);
        p->requests++;
        p->active++;
        pit_error_free(sched_admit(p));
        sched_assign(p, sched_take(p), c, LANE_CALLER);
        poollock_release(&p->lock);
        poollock_acquire(&p->lock);
        lane_pop(&l->lane);
        sched_finish(p, c, (struct outcome){0});
        sched_release(p, &l->lane);
        worker_unref(&l->worker);
        poollock_release(&p->lock);
    }
}

/* ---- the answer: checked, decoded, freed ---- */

static void answer_make(struct channel_frame *in)
{
    channel_frame_init(in);
    uint8_t *p = in->data + FRAME_HEADER;
    p = mp_put_map(p, 1);
    p = mp_put_str(p, "x", 1);
    p = mp_put_int(p, 500001);
    in->n = (size_t)(p - in->data);
    frame_put_header(in->data, FRAME_RESULT, 0, 1, 0, in->n);
}

static void part_decode(void *ctx, int turns)
{
    struct channel_frame *in = ctx;
    for (int i = 0; i < turns; i++) {
        struct frame f;
        if (frame_parse(in->data, in->n, &f) != 0)
            abort(); /* this program made it */
        struct outcome o = call_decode(&f, in);
        outcome_free(&o);
    }
}

static void part_clock(void *ctx, int turns)
{
    (void)ctx;
    for (int i = 0; i < turns; i++)
        (void)os_linux.now_ns();
}

/* ---- the way there and back: the library's channels, a thread at the other end ---- */

struct way {
    const struct bench *b;
    void *segment;
    size_t bytes;
    int fd;
    struct channel *host, *worker;
    struct channel_frame answer;
    bool stop; /* atomic */
};

static void *way_main(void *arg)
{
    struct way *w = arg;
    struct channel_frame in;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)w->b->cpus[1], &set);
    sched_setaffinity(0, sizeof set, &set);
    channel_frame_init(&in);
    while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
        size_t done = 0;
        if (w->worker->ops->recv(w->worker, &in) == 0)
            w->worker->ops->send(w->worker, w->answer.data, w->answer.n, &done);
        else
            w->worker->ops->wait(w->worker, CHANNEL_FOR_FRAME, UINT64_MAX, 50000);
    }
    channel_frame_finish(&in);
    return NULL;
}

/* One request of the size of a call, and the answer copied out. */
static int way_once(void *ctx, uint32_t n)
{
    struct way *w = ctx;
    struct channel_frame in;
    size_t done = 0;
    (void)n;
    channel_frame_init(&in);
    int rc = w->host->ops->send(w->host, w->answer.data, w->answer.n, &done);
    while (rc == 0 && (rc = w->host->ops->recv(w->host, &in)) == CHANNEL_AGAIN)
        rc = w->host->ops->wait(w->host, CHANNEL_FOR_FRAME, UINT64_MAX, 50000);
    channel_frame_finish(&in);
    return rc;
}

static int way_open(struct way *w, const struct bench *b)
{
    static const uint8_t secret[16];
    w->b = b;
    w->bytes = (size_t)segment_bytes(1, RING_BYTES);
    if (os_linux.segment_create("snakepit-budget", w->bytes, w->bytes, &w->segment, &w->fd) != 0)
        return -1;
    segment_init(w->segment, 1, RING_BYTES, secret);
    w->host = channel_ring_create(&os_linux, w->segment, 0, RING_BYTES, 64u << 20);
    w->worker = channel_ring_create_worker(&os_linux, w->segment, 0, RING_BYTES, 64u << 20, -1);
    answer_make(&w->answer);
    return w->host != NULL && w->worker != NULL ? 0 : -1;
}

static void way_close(struct way *w)
{
    if (w->host != NULL)
        w->host->ops->destroy(w->host);
    if (w->worker != NULL)
        w->worker->ops->destroy(w->worker);
    os_linux.segment_unmap(w->segment, w->bytes);
    os_linux.close(w->fd);
}

/* p50 of the round trip, 0 when it cannot be measured. */
static double time_way(struct bench *b)
{
    struct way w = {0};
    struct result r = {0};
    pthread_t thread;
    if (way_open(&w, b) != 0 || pthread_create(&thread, NULL, way_main, &w) != 0)
        return 0;
    measure_loop(b, way_once, &w, 0, &r);
    __atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
    w.worker->ops->interrupt(w.worker);
    pthread_join(thread, NULL);
    way_close(&w);
    return r.q[Q_P50];
}

/* ---- the function with its arguments, as the worker tells ---- */

static int on_stop(const pit_event *ev, void *user)
{
    struct samples *s = user;
    double us = 0;
    if (pit_event_number(ev, "python_us", &us) && s->n < s->cap)
        samples_add(s, (uint64_t)(us * 1000));
    return 0;
}

static double time_function(struct bench *b)
{
    struct result r = {0}, told = {0};
    struct samples s = {0};
    uint64_t id = 0;
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.pool = host_pool_name(POOL_HOT);
    pit *p = host_pool(b, POOL_HOT, &r);
    if (p == NULL || samples_init(&s, 1u << 16) != 0)
        return 0;
    struct call_target target = {p, &o, &r};
    if (pit_telemetry_attach(p, "snakepit.call.stop", on_stop, &s, &id, NULL) == 0) {
        measure_loop(b, call_inc, &target, 0, &r);
        pit_telemetry_detach(p, id);
    }
    samples_reduce(&s, 0, &told);
    samples_finish(&s);
    return told.q[Q_P50];
}

/* ---- all together ---- */

/* X(CONSTANT, text) in the order of a call. REST is what WHOLE has beyond the others. */
#define PART_LIST(X)                                                                                                           \
    X(CLOCK, "clock: one reading, for the deadline")                                                                           \
    X(PACK, "call: arguments packed straight into the frame")                                                                  \
    X(LEASE, "pool: admitted, lane taken and given back, counted (two turns of the lock)")                                     \
    X(WAY, "ring: frame published, seen by the other CPU, answer published, seen, copied out")                                 \
    X(FUNCTION, "worker: command looked up, arguments decoded, the function run")                                              \
    X(REST, "the rest: worker's marks and encoding; caches colder than here")                                                  \
    X(DECODE, "codec: answer checked, decoded into a value, freed")                                                            \
    X(WHOLE, "a hot call, p50")

enum part {
#define PART_ENUM(constant, text) PART_##constant,
    PART_LIST(PART_ENUM)
#undef PART_ENUM
        PART_COUNT
};

static const char *const part_texts[] = {
#define PART_TEXT(constant, text) text,
    PART_LIST(PART_TEXT)
#undef PART_TEXT
};

/* All parts once, side by side in time, for two CPUs may move apart or together from one second to the next. 0 or not. */
static int budget_round(struct bench *b, struct lease *lease, double ns[PART_COUNT])
{
    struct result hot = {0};
    struct call call = {.command = "inc"};
    struct channel_frame answer;
    answer_make(&answer);
    if (run_call_hot(b, PLACE_TWO, &hot) != BENCH_OK)
        return -1;
    ns[PART_WHOLE] = hot.q[Q_P50];
    ns[PART_WAY] = time_way(b);
    ns[PART_CLOCK] = time_part(part_clock, NULL);
    ns[PART_FUNCTION] = time_function(b) - ns[PART_CLOCK]; /* the worker reads the clock before and after it */
    ns[PART_PACK] = time_part(part_pack, &call);
    ns[PART_LEASE] = time_part(part_lease, lease);
    ns[PART_DECODE] = time_part(part_decode, &answer);
    call_clear(&call);
    ns[PART_REST] = ns[PART_WHOLE];
    for (int i = 0; i < PART_WHOLE; i++)
        ns[PART_REST] -= i != PART_REST ? ns[i] : 0;
    return 0;
}

static int budget(struct bench *b)
{
    enum { ROUNDS = 9 };
    double ns[ROUNDS][PART_COUNT], median[PART_COUNT];
    struct lease *lease = lease_create();
    int rc = lease != NULL ? 0 : -1;
    for (int i = 0; rc == 0 && i < ROUNDS; i++)
        rc = budget_round(b, lease, ns[i]);
    if (lease != NULL)
        lease_free(lease);
    if (rc != 0)
        return 1;
    printf("| step | ns | share |\n|---|---|---|\n");
    for (int part = 0; part < PART_COUNT; part++) {
        double each[ROUNDS];
        for (int i = 0; i < ROUNDS; i++)
            each[i] = ns[i][part];
        qsort(each, ROUNDS, sizeof *each, compare_double);
        median[part] = each[ROUNDS / 2];
    }
    for (int part = 0; part < PART_COUNT; part++)
        printf("| %s | %.0f | %.0f %% |\n", part_texts[part], median[part], 100 * median[part] / median[PART_WHOLE]);
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    char why[160], path[PATH_MAX + 32];
    int status = 0;
    (void)argv;
    if (argc != 1) {
        fprintf(stderr, "usage: snakepit-budget\nPrints where the nanoseconds of a hot call go.\n");
        return 2;
    }
    const char *python = getenv("SNAKEPIT_PYTHON");
    b.o = (struct bench_options){.python = python != NULL && python[0] != '\0' ? python : BENCH_PYTHON, .cpus = {-1, -1}};
    if (bench_folder(&b) != 0 || place_choose(&b, why, sizeof why) != 0 || b.n_cpus < 2 ||
        samples_init(&b.samples, 1u << 19) != 0) {
        fprintf(stderr, "snakepit-budget: needs two CPUs\n");
        return 1;
    }
    /* This program has the library inside, so nothing lies beside the library's own file. */
    snprintf(path, sizeof path, "%s/../snakepit-guard", b.dir);
    setenv("SNAKEPIT_GUARD", path, 0);
    snprintf(path, sizeof path, "%s/../python", b.dir);
    setenv("SNAKEPIT_PYTHON_PACKAGE", path, 0);
    b.clock_ns = clock_cost();
    status = budget(&b);
    host_close(&b);
    samples_finish(&b.samples);
    return status;
}
