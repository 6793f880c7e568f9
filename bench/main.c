/* snakepit-bench: floors, peers and calls of the library in one interleaved run.
 *
 * Exit status: 0; 1 when a series failed or, with --check, a goal was missed; 2 for wrong usage. */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] = "usage: snakepit-bench [options]\n"
                            "Measures calls of the library beside their floors and peers, all in one interleaved run.\n\n"
                            "  --rounds N       rounds to take medians of (7)\n"
                            "  --only PATTERN   only the rows that match, e.g. 'call.hot.*,vs.*'\n"
                            "  --quick          short series and 3 rounds: to see that it works, not for figures\n"
                            "  --check          exit with status 1 when a goal is missed\n"
                            "  --json FILE      write the rows as JSON\n"
                            "  --results DIR    where the raw data of each run goes (" BENCH_RESULTS ")\n"
                            "  --cpus A,B       the two CPUs to use (the first two usable ones of different cores)\n"
                            "  --python PATH    the interpreter (SNAKEPIT_PYTHON, else " BENCH_PYTHON ")\n"
                            "  --budget         only: where the nanoseconds of a hot call go (a full run ends with that)\n"
                            "  --list           print the names of the rows\n"
                            "  --help           print this\n";

static int list_rows(void)
{
    for (int i = 0; i < row_count; i++)
        puts(row_list[i].name);
    return 0;
}

/* -1: go on; else the exit status. */
static int options_parse(int argc, char **argv, struct bench_options *o)
{
    enum { ROUNDS = 1, ONLY, QUICK, CHECK, JSON, RESULTS, CPUS, PYTHON, BUDGET, LIST, HELP };
    static const struct option options[] = {
        {"rounds", 1, NULL, ROUNDS}, {"only", 1, NULL, ONLY},       {"quick", 0, NULL, QUICK}, {"check", 0, NULL, CHECK},
        {"json", 1, NULL, JSON},     {"results", 1, NULL, RESULTS}, {"cpus", 1, NULL, CPUS},   {"python", 1, NULL, PYTHON},
        {"budget", 0, NULL, BUDGET}, {"list", 0, NULL, LIST},       {"help", 0, NULL, HELP},   {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        switch (c) {
        case ROUNDS:
            o->rounds = (int)strtol(optarg, &end, 10);
            good = *end == '\0' && o->rounds >= 1 && o->rounds <= BENCH_MAX_ROUNDS;
            break;
        case ONLY:
            o->only = optarg;
            break;
        case QUICK:
            o->quick = true;
            break;
        case CHECK:
            o->check = true;
            break;
        case JSON:
            o->json = optarg;
            break;
        case RESULTS:
            o->results = optarg;
            break;
        case CPUS:
            good = sscanf(optarg, "%d,%d", &o->cpus[0], &o->cpus[1]) == 2 && o->cpus[0] >= 0 && o->cpus[1] >= 0 &&
                   o->cpus[0] != o->cpus[1];
            break;
        case PYTHON:
            o->python = optarg;
            break;
        case BUDGET:
            o->budget_only = true;
            break;
        case LIST:
            return list_rows();
        case HELP:
            fputs(usage, stdout);
            return 0;
        default:
            good = false;
        }
    }
    if (good && optind == argc)
        return -1;
    fputs(usage, stderr);
    return 2;
}

static int bench_init(struct bench *b)
{
    char why[160];
    if (bench_folder(b) != 0) {
        fprintf(stderr, "snakepit-bench: cannot tell where this program is\n");
        return -1;
    }
    if (place_choose(b, why, sizeof why) != 0) {
        fprintf(stderr, "snakepit-bench: %s\n", why);
        return -1;
    }
    if (samples_init(&b->samples, 1u << 19) != 0) {
        fprintf(stderr, "snakepit-bench: out of memory\n");
        return -1;
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that died is seen by what write() returns */
    place_thread(b, PLACE_ONE);
    b->clock_ns = clock_cost();
    place_thread(b, PLACE_FREE);
    return 0;
}

static void bench_finish(struct bench *b)
{
    host_close(b);
    starts_close(b);
    peer_close(b);
    bytes_floor_close(b);
    socket_floor_close(b);
    ring_floor_close(b);
    hogs_close(b);
    samples_finish(&b->samples);
}

/* snakepit-budget is a program of its own, for it has the internals of the library inside. Its exit status. */
static int budget(const struct bench *b)
{
    char program[PATH_MAX + 32];
    int status = 0;
    snprintf(program, sizeof program, "%s/snakepit-budget", b->dir);
    char *argv[] = {program, NULL};
    setenv("SNAKEPIT_PYTHON", b->o.python, 1);
    fflush(stdout);
    pid_t pid = child_spawn(argv, NULL, 0);
    if (pid < 0) {
        fprintf(stderr, "snakepit-bench: %s: %s\n", program, strerror(-pid));
        return 1;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static double load_average(void)
{
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : 0;
}

/* --only takes rows; a row takes the series that it is made of. */
static int choose_series(struct run *run)
{
    int rows = 0;
    for (int i = 0; i < row_count; i++) {
        const struct row *row = &row_list[i];
        if (!row_chosen(row, run->b->o.only))
            continue;
        rows++;
        run->chosen[row->series] = true;
        if (row->minus != NO_SERIES)
            run->chosen[row->minus] = true;
        if (row->floor != NO_SERIES)
            run->chosen[row->floor] = true;
    }
    return rows;
}

static void run_series(struct bench *b, struct run *run, int series, int round)
{
    const struct series *s = &series_list[series];
    struct result *r = &run->results[series][round];
    if (b->o.progress)
        fprintf(stderr, "\r\033[Kround %d of %d: %s", s->when == MEASURE_AFTER ? b->o.rounds : round + 1, b->o.rounds, s->name);
    if (b->n_cpus < s->cpus)
        result_skip(r, "needs two CPUs");
    else
        s->run(b, s->arg, r);
    place_thread(b, PLACE_FREE);
    if (r->status == BENCH_FAILED)
        fprintf(stderr, "%ssnakepit-bench: %s: %s\n", b->o.progress ? "\r\033[K" : "", s->name, r->why);
}

static void run_these(struct bench *b, struct run *run, int when, int round)
{
    for (int i = 0; i < series_count; i++)
        if (run->chosen[i] && series_list[i].when == when)
            run_series(b, run, i, round);
}

static void run_all(struct bench *b, struct run *run)
{
    run->load_before = load_average();
    run_these(b, run, MEASURE_BEFORE, 0);
    for (int round = 0; round < b->o.rounds; round++) {
        run_these(b, run, MEASURE_EACH_ROUND, round);
        run->rounds = round + 1;
    }
    run_these(b, run, MEASURE_AFTER, 0);
    run->load_after = load_average();
    if (b->o.progress)
        fprintf(stderr, "\r\033[K");
}

static void keep_raw(const struct run *run, const struct verdict *o, int n)
{
    char path[PATH_MAX + 64];
    if (mkdir(run->b->o.results, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "snakepit-bench: %s: %s\n", run->b->o.results, strerror(errno));
        return;
    }
    snprintf(path, sizeof path, "%s/%s-%d.json", run->b->o.results, run->started, (int)getpid());
    int rc = report_json(run, o, n, path, true);
    if (rc == 0)
        printf("\nraw data: %s\n", path);
    else
        fprintf(stderr, "snakepit-bench: %s: %s\n", path, strerror(-rc));
}

/* Prints and writes what was measured; the exit status. */
static int report(const struct run *run, struct verdict *outcomes)
{
    const struct bench_options *o = &run->b->o;
    int n = 0, status = 0;
    for (int i = 0; i < row_count; i++)
        if (row_chosen(&row_list[i], o->only))
            verdict_compute(run, &row_list[i], &outcomes[n++]);
    report_table(run, outcomes, n);
    keep_raw(run, outcomes, n);
    for (int i = 0; i < n; i++) {
        bool missed = outcomes[i].row->goal > 0 && !outcomes[i].met; /* also what could not be measured */
        if (outcomes[i].status == BENCH_FAILED || (o->check && missed))
            status = 1;
    }
    int rc = o->json != NULL ? report_json(run, outcomes, n, o->json, false) : 0;
    if (rc != 0) {
        fprintf(stderr, "snakepit-bench: %s: %s\n", o->json, strerror(-rc));
        status = 1;
    }
    return status;
}

static int bench_run(struct bench *b)
{
    struct run run = {.b = b};
    time_t now = time(NULL);
    struct tm utc;
    strftime(run.started, sizeof run.started, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    run.chosen = calloc((size_t)series_count, sizeof *run.chosen);
    run.results = calloc((size_t)series_count, sizeof *run.results);
    struct verdict *outcomes = calloc((size_t)row_count, sizeof *outcomes);
    int status = 2;
    if (run.chosen == NULL || run.results == NULL || outcomes == NULL) {
        fprintf(stderr, "snakepit-bench: out of memory\n");
    } else if (choose_series(&run) == 0) {
        fprintf(stderr, "snakepit-bench: no row matches '%s' (--list prints their names)\n", b->o.only);
    } else {
        run_all(b, &run);
        status = report(&run, outcomes);
    }
    free(outcomes);
    free(run.results);
    free(run.chosen);
    return status;
}

int main(int argc, char **argv)
{
    static struct bench b;
    int status = 0;
    if (child_role(argc, argv, &status))
        return status;
    const char *python = getenv("SNAKEPIT_PYTHON");
    b.o = (struct bench_options){.python = python != NULL && python[0] != '\0' ? python : BENCH_PYTHON,
                                 .results = BENCH_RESULTS,
                                 .cpus = {-1, -1},
                                 .progress = isatty(STDERR_FILENO) == 1};
    status = options_parse(argc, argv, &b.o);
    if (status >= 0)
        return status;
    if (b.o.rounds == 0)
        b.o.rounds = b.o.quick ? 3 : 7;
    if (bench_init(&b) != 0)
        return 1;
    status = b.o.budget_only ? budget(&b) : bench_run(&b);
    bench_finish(&b); /* nothing of this run is left when the budget is drawn up */
    if (!b.o.budget_only && b.o.only == NULL && !b.o.quick && b.n_cpus == 2) {
        printf("\nWhere a hot call's time goes:\n\n");
        int rc = budget(&b);
        status = status != 0 ? status : rc;
    }
    return status;
}
