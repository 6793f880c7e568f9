/* The benchmark of snakepit: shared declarations.
 *
 * A *series* is one thing that is measured (a floor, a peer, a form of call); each round measures every series once, so that they all see
 * the same machine. A *row* is what is reported: a statistic of one series, in most cases against one of another (rows.c).
 *
 * Every series that is timed in C goes through measure_loop(), so floors and calls carry the same cost of the measurement itself; the cost of one
 * reading of the clock is subtracted from each sample.
 *
 * Failure: a measurement returns BENCH_FAILED and says why in the result; nothing of it is reported as a figure then. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define BENCH_MAX_ROUNDS 100
#define BENCH_WHY 240

enum { BENCH_OK = 0, BENCH_SKIPPED = 1, BENCH_FAILED = 2 };

/* Where the two sides of a measurement run: wherever the kernel puts them on the two CPUs, both on the first, or one on each. */
enum place { PLACE_FREE, PLACE_ONE, PLACE_TWO };

/* X(CONSTANT, name, fraction): what is kept of a distribution */
#define QUANTILE_LIST(X)                                                                                                       \
    X(MIN, "min", 0.0)                                                                                                         \
    X(P10, "p10", 0.10) X(P50, "p50", 0.50) X(P90, "p90", 0.90) X(P99, "p99", 0.99) X(P999, "p999", 0.999) X(MAX, "max", 1.0)

enum quantile {
#define QUANTILE_ENUM(constant, name, fraction) Q_##constant,
    QUANTILE_LIST(QUANTILE_ENUM)
#undef QUANTILE_ENUM
        Q_COUNT
};

/* One series in one round. */
struct result {
    int status;        /* BENCH_* */
    double q[Q_COUNT]; /* ns */
    double rate;       /* operations a second */
    double total;      /* for series that count: what was counted, over `seconds` */
    double seconds;
    size_t n; /* operations */
    char why[BENCH_WHY];
};

struct samples {
    uint32_t *ns;
    size_t n, cap;
};

struct bench_options {
    int rounds;
    bool quick, check, progress, budget_only;
    const char *only;   /* patterns of row names, separated by commas; NULL: all */
    const char *json;   /* a file for the rows */
    const char *python; /* interpreter of workers and peers */
    const char *results;
    int cpus[2]; /* -1: chosen */
};

/* A thread that polls a pidfd of its own. */
struct watcher {
    int pidfd;
    _Atomic int waiting;
    uint64_t woken;
    pthread_t thread;
};

/* What the kills of one round gave: both series of it are taken from the same deaths. */
struct deaths {
    bool taken[2]; /* by series: 0 the error, 1 the pidfd */
    struct result result[2];
};

/* Programs that measure themselves (peer.c). */
enum {
    PEER_EMBED,
    PEER_PIPE,
    PEER_PIPE_STREAM,
    PEER_POOL,
    PEER_MAP,
    PEER_EXECUTOR,
    PEER_ZMQ,
    PEER_GRPC,
    PEER_CODEC,
    PEER_FORK_NUMPY,
    PEER_FORK_TORCH,
    PEER_LIFE_POOL,
    PEER_LIFE_FORKSERVER,
    PEER_LIFE_EXECUTOR,
    PEER_LIFE_PEBBLE,
    PEER_LIFE_LOKY,
    PEER_COUNT
};

struct ring_floor;
struct socket_floor;
struct bytes_floor;
struct peer;
struct hosts;
struct hogs;
struct starts;

struct bench {
    struct bench_options o;
    char dir[PATH_MAX]; /* folder of this program and its scripts */
    int cpus[2];
    int n_cpus;      /* 1 or 2 */
    double clock_ns; /* one reading of the clock */
    struct samples samples;
    struct deaths deaths;
    struct ring_floor *ring;
    struct socket_floor *c_socket, *py_socket[2];
    struct peer *peers[PEER_COUNT];
    struct bytes_floor *bytes[2]; /* by size */
    struct hosts *host;
    struct hogs *hogs;
    struct starts *starts;
};

/* ---- measure.c ---- */
typedef int (*operation_fn)(void *ctx, uint32_t n); /* one operation on the number n; not 0: wrong or impossible */

uint64_t clock_now(void);
double clock_cost(void); /* ns of one reading */
int samples_init(struct samples *s, size_t cap);
void samples_finish(struct samples *s);
static inline void samples_add(struct samples *s, uint64_t ns)
{
    s->ns[s->n++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}
/* Sorts s and fills in quantiles and n; `subtract` ns come off every sample. */
void samples_reduce(struct samples *s, double subtract, struct result *ret);
uint32_t next_number(uint32_t *state); /* below a million, varied */
/* How long one series measures in one round. */
int64_t measure_ms(const struct bench *b);
/* Runs the operation over and over (a tenth of the time to warm up), gap_us apart when that is not 0. */
int measure_loop(struct bench *b, operation_fn fn, void *ctx, unsigned gap_us, struct result *ret);
/* The same for several threads at once, ctx[i] for the i-th; all samples together are the result. */
int measure_threads(struct bench *b, operation_fn fn, void *const *ctx, int n_threads, struct result *ret);
/* Of samples that are `operations` operations each: makes the result one of single operations. */
void result_divide(struct result *r, size_t operations);
int result_fail(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int result_skip(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void nap_us(unsigned us);

/* ---- place.c ---- */
int bench_folder(struct bench *b);                                     /* fills in b->dir */
int place_choose(struct bench *b, char *why, size_t n);                /* picks the two CPUs, confines the process to them */
void place_thread(const struct bench *b, enum place place);            /* the calling side */
int place_process(const struct bench *b, pid_t pid, enum place place); /* the other side, all its threads; -errno */
int place_pid_cpu(pid_t pid, int cpu);

/* ---- child.c ---- */
/* Starts argv with fds[i] as descriptor 3 + i. Its pid or -errno. */
pid_t child_spawn(char *const argv[], const int *fds, int n_fds);
pid_t child_spawn_piped(char *const argv[], int in, int out); /* with standard input and output */
/* This program again, in one of its hidden roles. */
pid_t child_spawn_role(const char *role, const int *fds, int n_fds);
void child_end(pid_t pid); /* kills and reaps; pid <= 0: nothing */
/* If argv asks for a role: plays it, sets *ret_status, true. */
bool child_role(int argc, char **argv, int *ret_status);
void child_die_with_parent(void);
void *memory_share(size_t bytes, int *ret_fd); /* a mapped memfd; NULL */

/* ---- hogs.c: processes that burn a CPU each while they are told to ---- */
int hogs_start(struct bench *b, struct result *ret);
void hogs_stop(struct bench *b);
void hogs_close(struct bench *b);
int role_hog(void);

/* ---- floor_ring.c, floor_socket.c, floor_pidfd.c ---- */
int run_c_ring(struct bench *b, int place, struct result *ret);
void ring_floor_close(struct bench *b);
int role_ring(void);
int run_c_socketpair(struct bench *b, int place, struct result *ret);
int run_py_socketpair(struct bench *b, int place, struct result *ret);
int run_py_socketpair_sparse(struct bench *b, int arg, struct result *ret);
int run_py_socketpair_contended(struct bench *b, int arg, struct result *ret);
void socket_floor_close(struct bench *b);
int role_socket(void);
int run_pidfd(struct bench *b, int python, struct result *ret);
int watcher_start(struct watcher *w, pid_t pid); /* returns when it sleeps, or nearly; -1: not to be watched */
void watcher_finish(struct watcher *w);          /* waits for its end; w->woken is when it woke */
int role_pause(void);

/* ---- peer.c: programs that measure themselves on request ---- */
#define PEER_PLACES 4
#define PEER_AT(peer, place) ((place) + PEER_PLACES * (peer))
int run_peer(struct bench *b, int which_and_place, struct result *ret); /* PEER_AT() */
int run_peer_start(struct bench *b, int which, struct result *ret);     /* PEER_LIFE_* */
int run_peer_kill(struct bench *b, int which, struct result *ret);
int run_grpc_unary(struct bench *b, int place, struct result *ret);
int run_grpc_window(struct bench *b, int arg, struct result *ret);
int run_grpc_stream(struct bench *b, int arg, struct result *ret);
enum { CODEC_FLOATS, JSON_FLOATS, CODEC_DICT, MARSHAL_DICT };
int run_codec(struct bench *b, int series, struct result *ret);
int run_embed(struct bench *b, int arg, struct result *ret);
void peer_close(struct bench *b);

/* ---- bytes.c: large messages, by a plain socketpair and by the library; megabytes: 1 or 10 ---- */
int run_bytes_floor(struct bench *b, int megabytes, struct result *ret);
int run_bytes_call(struct bench *b, int megabytes, struct result *ret);
void bytes_floor_close(struct bench *b);

/* ---- host.c and the series that call the library ---- */
int run_call_hot(struct bench *b, int place, struct result *ret);
int run_call_default(struct bench *b, int arg, struct result *ret);
int run_call_sparse(struct bench *b, int arg, struct result *ret);
int run_call_fallback(struct bench *b, int place, struct result *ret);
int run_call_contended(struct bench *b, int arg, struct result *ret);
int run_submit(struct bench *b, int arg, struct result *ret);
int run_many(struct bench *b, int arg, struct result *ret);
int run_many_map(struct bench *b, int arg, struct result *ret);
int run_crash(struct bench *b, int series, struct result *ret);
int run_retry(struct bench *b, int arg, struct result *ret);
int run_dossier(struct bench *b, int wanted, struct result *ret);

/* ---- stream.c ---- */
enum { STREAM_SMALL, STREAM_FIRST, STREAM_BIDI, STREAM_SLOW };
int run_stream(struct bench *b, int kind, struct result *ret);

/* ---- tool.c ---- */
enum { TOOL_ROUNDTRIP, TOOL_FIRST_LEVELS, TOOL_LAST_LEVELS };
int run_tool(struct bench *b, int kind, struct result *ret);

/* ---- look.c ---- */
enum { LOOK_BUSY, LOOK_FREE, LOOK_STOPPED };
int run_look(struct bench *b, int way, struct result *ret);
int run_idle(struct bench *b, int fresh, struct result *ret);

/* ---- cancel.c ---- */
enum { CANCEL_PYTHON, CANCEL_SLEEP, CANCEL_OVERRUN, CANCEL_WHOLE };
int run_signal(struct bench *b, int arg, struct result *ret);
int run_cancel(struct bench *b, int kind, struct result *ret);
int role_signal(void);

/* ---- start.c ---- */
enum { START_SMALL, START_NUMPY, START_TORCH, START_KINDS };
enum { START_MODES = 4 };
#define START_OF(workers, mode) ((workers)*START_MODES + (mode)) /* mode: PIT_START_* */
int run_start(struct bench *b, int kind, struct result *ret);
int run_start_exec(struct bench *b, int kind, struct result *ret);
int run_start_pool(struct bench *b, int mode, struct result *ret);
int run_close_pool(struct bench *b, int kind, struct result *ret);
int run_memory(struct bench *b, int workers_and_mode, struct result *ret); /* START_OF() */
int run_next_good(struct bench *b, int arg, struct result *ret);
void starts_close(struct bench *b);

/* ---- host.c ---- */
void host_close(struct bench *b);

/* ---- rows.c ---- */
enum { MEASURE_EACH_ROUND, MEASURE_BEFORE, MEASURE_AFTER }; /* the latter two once, before or after all rounds */

#define NO_SERIES (-1)

enum statistic { STAT_P50, STAT_P99, STAT_RATE, STAT_PER_SECOND };

struct series {
    const char *name, *unit;
    int (*run)(struct bench *b, int arg, struct result *ret);
    int arg;
    int cpus; /* that it needs */
    int when; /* MEASURE_* */
};

struct row {
    const char *name;
    int series, minus; /* value = statistic of series, less that of minus */
    enum statistic stat;
    int floor; /* the series that it is held against, NO_SERIES: none */
    enum statistic floor_stat;
    double goal; /* of the ratio (without a floor: of the value); 0: none */
    bool at_least;
    const char *note; /* what decides this figure; printed when the goal is missed */
};

extern const struct series series_list[];
extern const int series_count;
extern const struct row row_list[];
extern const int row_count;

/* ---- report.c ---- */
struct verdict { /* of one row */
    const struct row *row;
    int status; /* BENCH_* */
    const char *why;
    double value, floor, ratio; /* medians; the ratio is the median of the rounds' own ratios */
    double ratio_low, ratio_high;
    bool met;
};

struct run {
    const struct bench *b;
    int rounds;                                 /* finished */
    bool *chosen;                               /* series that some chosen row needs */
    struct result (*results)[BENCH_MAX_ROUNDS]; /* by series, by round */
    double load_before, load_after;
    char started[40];
};

bool row_chosen(const struct row *row, const char *only);
void verdict_compute(const struct run *run, const struct row *row, struct verdict *ret);
void report_table(const struct run *run, const struct verdict *o, int n);
int report_json(const struct run *run, const struct verdict *o, int n, const char *path, bool raw); /* 0 or -errno */

/* ---- budget_recorder.c: clock 1: its floor ---- */

int run_recorder(struct bench *b, int clock, struct result *ret);

#endif
