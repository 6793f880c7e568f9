/* From rounds to rows: medians, ratios, the table on stdout, the JSON files.
 *
 * A ratio is taken inside each round, where both sides saw the same machine, and the median of these is reported; so it need not be exactly
 * value / floor, which are medians of their own. */
#include "bench.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <snakepit/snakepit.h>

bool row_chosen(const struct row *row, const char *only)
{
    if (only == NULL)
        return true;
    char patterns[512];
    snprintf(patterns, sizeof patterns, "%s", only);
    for (char *save = NULL, *p = strtok_r(patterns, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save))
        if (fnmatch(p, row->name, 0) == 0)
            return true;
    return false;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts x. */
static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare_double);
    return n % 2 != 0 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static double statistic_of(const struct result *r, enum statistic stat)
{
    switch (stat) {
    case STAT_P50:
        return r->q[Q_P50];
    case STAT_P99:
        return r->q[Q_P99];
    case STAT_RATE: /* of calls one by one: by their median, which one long pause does not spoil */
        return r->q[Q_P50] > 0 ? 1e9 / r->q[Q_P50] : r->rate;
    case STAT_PER_SECOND:
        break;
    }
    return r->seconds > 0 ? r->total / r->seconds : 0;
}

/* The first series of the row that has no figure in this round, or NULL. */
static const struct result *without_figure(const struct run *run, const struct row *row, int round)
{
    const int needed[] = {row->series, row->minus, row->floor};
    for (int i = 0; i < 3; i++)
        if (needed[i] != NO_SERIES && run->results[needed[i]][round].status != BENCH_OK)
            return &run->results[needed[i]][round];
    return NULL;
}

static void verdict_medians(const struct run *run, const struct row *row, int rounds, struct verdict *ret)
{
    double value[BENCH_MAX_ROUNDS], floor[BENCH_MAX_ROUNDS], ratio[BENCH_MAX_ROUNDS];
    for (int i = 0; i < rounds; i++) {
        value[i] = statistic_of(&run->results[row->series][i], row->stat);
        if (row->minus != NO_SERIES)
            value[i] -= statistic_of(&run->results[row->minus][i], row->stat);
        floor[i] = row->floor != NO_SERIES ? statistic_of(&run->results[row->floor][i], row->floor_stat) : 0;
        ratio[i] = floor[i] > 0 ? value[i] / floor[i] : 0;
    }
    ret->value = median(value, rounds);
    ret->floor = median(floor, rounds);
    ret->ratio = median(ratio, rounds);
    ret->ratio_low = ratio[0];
    ret->ratio_high = ratio[rounds - 1];
}

void verdict_compute(const struct run *run, const struct row *row, struct verdict *ret)
{
    int rounds = series_list[row->series].when != MEASURE_EACH_ROUND ? 1 : run->rounds;
    memset(ret, 0, sizeof *ret);
    ret->row = row;
    for (int i = 0; i < rounds; i++) {
        const struct result *bad = without_figure(run, row, i);
        if (bad != NULL) {
            ret->status = bad->status;
            ret->why = bad->why;
            return;
        }
    }
    verdict_medians(run, row, rounds, ret);
    double judged = row->floor != NO_SERIES ? ret->ratio : ret->value;
    ret->met = row->goal > 0 && (row->at_least ? judged >= row->goal : judged <= row->goal);
}

static const char *format_value(char *to, size_t n, double x, const char *unit)
{
    if (strcmp(unit, "bytes") == 0)
        snprintf(to, n, "%.2f MB", x / 1e6);
    else if (strcmp(unit, "ns") != 0)
        snprintf(to, n, x >= 1e6 ? "%.2f M/s" : x >= 1e4 ? "%.1f k/s" : "%.1f /s", x >= 1e6 ? x / 1e6 : x >= 1e4 ? x / 1e3 : x);
    else if (fabs(x) < 1000)
        snprintf(to, n, "%.0f ns", x);
    else
        snprintf(to, n, fabs(x) < 1e6 ? "%.2f us" : "%.2f ms", fabs(x) < 1e6 ? x / 1e3 : x / 1e6);
    return to;
}

static void table_line(const struct verdict *o)
{
    char value[32], floor[32] = "", ratio[32] = "", goal[32] = "";
    const struct row *row = o->row;
    const char *unit = series_list[row->series].unit;
    if (o->status != BENCH_OK) {
        printf("%-30s %s: %s\n", row->name, o->status == BENCH_SKIPPED ? "skipped" : "FAILED", o->why);
        return;
    }
    format_value(value, sizeof value, o->value, unit);
    if (row->floor != NO_SERIES) {
        format_value(floor, sizeof floor, o->floor, unit);
        snprintf(ratio, sizeof ratio, o->ratio < 1 ? "%.4f x" : "%.2f x", o->ratio);
    }
    if (row->goal > 0 && row->floor == NO_SERIES && strcmp(unit, "ns") == 0) {
        char most[24];
        snprintf(goal, sizeof goal, "%s %s", row->at_least ? ">=" : "<=", format_value(most, sizeof most, row->goal, unit));
    } else if (row->goal > 0)
        snprintf(goal, sizeof goal, "%s %.4g%s", row->at_least ? ">=" : "<=", row->goal,
                 row->floor != NO_SERIES      ? " x"
                 : strcmp(unit, "bytes") == 0 ? " bytes"
                                              : " /s");
    printf("%-30s %12s %12s %10s %10s  %s\n", row->name, value, floor, ratio, goal,
           row->goal <= 0 ? ""
           : o->met       ? "met"
                          : "MISSED");
}

void report_table(const struct run *run, const struct verdict *o, int n)
{
    char cpus[64];
    const int *cpu = run->b->cpus;
    snprintf(cpus, sizeof cpus, run->b->n_cpus == 2 ? "CPUs %d and %d" : "CPU %d only", cpu[0], cpu[1]);
    printf("snakepit %s: medians of %d round%s, one interleaved run on %s, load average %.1f before, %.1f after\n",
           pit_version(), run->rounds, run->rounds == 1 ? "" : "s", cpus, run->load_before, run->load_after);
    if (run->load_before >= 0.7)
        printf("note: somebody else is busy on this machine; figures of this run mean little\n");
    printf("\n%-30s %12s %12s %10s %10s\n", "row", "value", "floor", "ratio", "goal");
    for (int i = 0; i < n; i++)
        table_line(&o[i]);
    for (int i = 0; i < n; i++) {
        if (o[i].status != BENCH_OK || o[i].row->goal <= 0 || o[i].met)
            continue;
        printf("\nmissed: %s\n    %s\n", o[i].row->name, o[i].row->note);
        if (o[i].row->floor != NO_SERIES)
            printf("    ratio in the single rounds: %.4g to %.4g\n", o[i].ratio_low, o[i].ratio_high);
    }
}

static void json_text(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            fprintf(f, "\\u%04x", (unsigned)*s);
        else
            fputc(*s, f);
    }
    fputc('"', f);
}

/* NaN and infinity have no form in JSON. */
static void json_number(FILE *f, const char *key, bool known, double x)
{
    if (known && isfinite(x))
        fprintf(f, ", \"%s\": %.6g", key, x);
    else
        fprintf(f, ", \"%s\": null", key);
}

static void json_row(FILE *f, const struct verdict *o)
{
    const struct row *row = o->row;
    bool ok = o->status == BENCH_OK, floor = ok && row->floor != NO_SERIES;
    fprintf(f, "    {\"name\": \"%s\"", row->name);
    json_number(f, "value", ok, o->value);
    fprintf(f, ", \"unit\": \"%s\"", series_list[row->series].unit);
    json_number(f, "floor", floor, o->floor);
    json_number(f, "ratio", floor, o->ratio);
    json_number(f, "ratio_low", floor, o->ratio_low);
    json_number(f, "ratio_high", floor, o->ratio_high);
    json_number(f, "goal", row->goal > 0, row->goal);
    fprintf(f, ", \"goal_is\": %s", row->goal <= 0 ? "null" : row->at_least ? "\"at least\"" : "\"at most\"");
    fprintf(f, ", \"met\": %s", !ok || row->goal <= 0 ? "null" : o->met ? "true" : "false");
    fprintf(f, ", \"status\": \"%s\"", ok ? "ok" : o->status == BENCH_SKIPPED ? "skipped" : "failed");
    if (!ok) {
        fprintf(f, ", \"why\": ");
        json_text(f, o->why);
    }
    fprintf(f, "}");
}

static void json_round(FILE *f, const struct result *r)
{
    static const char *const names[] = {
#define QUANTILE_NAME(constant, name, fraction) name,
        QUANTILE_LIST(QUANTILE_NAME)
#undef QUANTILE_NAME
    };
    fprintf(f, "{\"n\": %zu", r->n);
    json_number(f, "rate", r->rate > 0, r->rate);
    json_number(f, "total", r->seconds > 0, r->total);
    json_number(f, "seconds", r->seconds > 0, r->seconds);
    for (int i = 0; i < Q_COUNT; i++)
        json_number(f, names[i], r->q[Q_MAX] > 0, r->q[i]);
    fprintf(f, ", \"why\": ");
    json_text(f, r->why);
    fprintf(f, "}");
}

static void json_series(FILE *f, const struct run *run)
{
    const char *comma = "";
    fprintf(f, ",\n  \"series\": [");
    for (int i = 0; i < series_count; i++) {
        if (!run->chosen[i])
            continue;
        fprintf(f, "%s\n    {\"name\": \"%s\", \"rounds\": [", comma, series_list[i].name);
        for (int k = 0; k < (series_list[i].when != MEASURE_EACH_ROUND ? 1 : run->rounds); k++) {
            fputs(k > 0 ? ", " : "", f);
            json_round(f, &run->results[i][k]);
        }
        fprintf(f, "]}");
        comma = ",";
    }
    fprintf(f, "\n  ]");
}

static void json_machine(FILE *f, const struct run *run)
{
    char model[160] = "unknown", line[256];
    struct utsname u = {0};
    uname(&u);
    FILE *info = fopen("/proc/cpuinfo", "re");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL)
            snprintf(model, sizeof model, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    if (info != NULL)
        fclose(info);
    fprintf(f, "  \"run\": {\"started\": \"%s\", \"version\": \"%s\", \"rounds\": %d, \"quick\": %s, \"cpus\": [%d, %d]",
            run->started, pit_version(), run->rounds, run->b->o.quick ? "true" : "false", run->b->cpus[0], run->b->cpus[1]);
    json_number(f, "clock_ns", true, run->b->clock_ns);
    json_number(f, "load_before", true, run->load_before);
    json_number(f, "load_after", true, run->load_after);
    fprintf(f, ", \"cpu\": ");
    json_text(f, model);
    fprintf(f, ", \"kernel\": ");
    json_text(f, u.release);
    fprintf(f, ", \"python\": ");
    json_text(f, run->b->o.python);
    fprintf(f, "}");
}

int report_json(const struct run *run, const struct verdict *o, int n, const char *path, bool raw)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return -errno;
    fprintf(f, "{\n");
    json_machine(f, run);
    fprintf(f, ",\n  \"rows\": [\n");
    for (int i = 0; i < n; i++) {
        json_row(f, &o[i]);
        fprintf(f, i + 1 < n ? ",\n" : "\n");
    }
    fprintf(f, "  ]");
    if (raw)
        json_series(f, run);
    fprintf(f, "\n}\n");
    int bad = ferror(f);
    return fclose(f) != 0 || bad != 0 ? -EIO : 0;
}
