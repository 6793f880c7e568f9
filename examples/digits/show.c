/* What the example prints: a line that moves on a terminal, plain lines elsewhere; colours only on a terminal and without NO_COLOR. */
#include "digits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 40, DRAWN = 4, TENTHS = 10 };

static bool terminal, color;
static unsigned tenths_shown; /* plain lines: how many tenths have been said */
static bool crash_shown;

void show_open(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    terminal = isatty(STDOUT_FILENO) == 1 && (term == NULL || strcmp(term, "dumb") != 0);
    color = terminal && (no_color == NULL || *no_color == '\0');
}

static const char *paint(const char *code)
{
    return color ? code : "";
}

/* "1,234,567" */
static const char *grouped(uint64_t n, char buffer[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n), out = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            buffer[out++] = ',';
        buffer[out++] = digits[i];
    }
    buffer[out] = '\0';
    return buffer;
}

void show_error(const char *indent, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        printf("%s%.*s\n", indent, (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void clear_line(void)
{
    if (terminal)
        fputs("\r\033[K", stdout);
}

/* Once, as soon as the caller has its error. */
static void show_crash(struct demo *d)
{
    const struct crash *crash = &d->crash;

    pthread_mutex_lock(&d->lock);
    bool now = !crash_shown && crash->error_ns != 0 && !crash->survived && crash->kills > 0;
    pthread_mutex_unlock(&d->lock);
    if (!now)
        return; /* from here on only whole_ns still changes */
    crash_shown = true;
    clear_line();
    printf("%skilled      %s (process %ld) with kill -9, %.0f ms into a call%s\n", paint("\033[31m"), crash->worker,
           (long)crash->pid, crash->age_ms, paint("\033[0m"));
    printf("its caller  got %s after %.2f ms:\n", pit_error_code_name(crash->error_code),
           (double)(crash->error_ns - crash->kill_ns) / 1e6);
    show_error("            | ", crash->error_text != NULL ? crash->error_text : pit_strerror(crash->error_code));
    (void)fflush(stdout);
}

static double rate(const struct demo *d, size_t answered, uint64_t now)
{
    return now > d->begin_ns ? (double)answered * 1e9 / (double)(now - d->begin_ns) : 0.0;
}

void show_progress(struct demo *d)
{
    char a[32], b[32], c[32];
    size_t answered = atomic_load(&d->answered);
    uint64_t per_s = (uint64_t)rate(d, answered, pit_now_ns());
    unsigned percent = (unsigned)(answered * 100 / d->n_calls);

    show_crash(d);
    if (terminal) {
        int filled = (int)(answered * BAR / d->n_calls);
        printf("\r\033[K[%s%.*s%s%.*s] %3u %%  %s of %s  %s calls/s", paint("\033[32m"), filled,
               "########################################", paint("\033[0m"), BAR - filled,
               "........................................", percent, grouped(answered, a), grouped(d->n_calls, b),
               grouped(per_s, c));
    } else if (percent / TENTHS > tenths_shown) {
        tenths_shown = percent / TENTHS;
        printf("%3u %%       %s of %s answers, %s calls/s\n", percent, grouped(answered, a), grouped(d->n_calls, b),
               grouped(per_s, c));
    }
    (void)fflush(stdout);
}

void show_progress_end(struct demo *d)
{
    show_progress(d);
    if (terminal)
        putchar('\n');
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void show_speed(const struct demo *d)
{
    char a[32];
    size_t n = 0, answered = atomic_load(&d->answered);
    uint64_t *sorted = malloc(d->n_calls * sizeof *sorted);

    printf("speed       %s calls/s with %d callers on %d workers", grouped((uint64_t)rate(d, answered, d->end_ns), a),
           d->callers, d->workers);
    for (size_t i = 0; sorted != NULL && i < d->n_calls; i++) {
        if (d->answers[i] != NO_ANSWER)
            sorted[n++] = d->times_ns[i];
    }
    if (n > 0) {
        qsort(sorted, n, sizeof sorted[0], compare);
        uint64_t p50 = sorted[n / 2], p99 = sorted[n * 99 / 100];
        printf("; p50 %.2f ms, p99 %.2f ms", (double)p50 / 1e6, (double)p99 / 1e6);
    }
    putchar('\n');
    free(sorted);
}

static void show_cost(struct demo *d)
{
    const struct crash *crash = &d->crash;
    unsigned failed = atomic_load(&d->failed);

    if (crash->kills == 0) {
        printf("crash       no worker was killed; %u calls failed\n", failed);
        return;
    }
    printf("crash       %u call%s failed and %s sent again; ", failed, failed == 1 ? "" : "s", failed == 1 ? "was" : "were");
    if (crash->whole_ns != 0)
        printf("the pool was whole again %.0f ms after the kill (Python started, classifier trained)\n",
               (double)(crash->whole_ns - crash->kill_ns) / 1e6);
    else
        printf("the pool is not whole yet\n");
}

static bool shows_already(const struct demo *d, const size_t *chosen, size_t n, unsigned char label)
{
    for (size_t i = 0; i < n; i++) {
        if (d->labels[chosen[i]] == label)
            return true;
    }
    return false;
}

/* The first images of different digits; the last place is for one that was misread. */
static size_t choose(const struct demo *d, size_t chosen[DRAWN])
{
    size_t n = 0;

    for (size_t i = 0; i < d->n_images && n < DRAWN; i++) {
        if (!shows_already(d, chosen, n, d->labels[i]))
            chosen[n++] = i;
    }
    for (size_t i = 0; i < d->n_images && n > 0; i++) {
        if (d->answers[i] != d->labels[i]) {
            chosen[n - 1] = i;
            break;
        }
    }
    return n;
}

static void show_row(const unsigned char *pixels)
{
    static const char shades[] = " .:-=+*#%@";

    for (int x = 0; x < SIDE; x++) {
        int pixel = pixels[x] > 16 ? 16 : pixels[x];
        char shade = shades[pixel * 9 / 16];
        putchar(shade);
        putchar(shade); /* a character is twice as high as wide */
    }
    fputs("  ", stdout);
}

static void show_digits(const struct demo *d)
{
    size_t chosen[DRAWN], n = choose(d, chosen);

    putchar('\n');
    for (int y = 0; y < SIDE; y++) {
        for (size_t i = 0; i < n; i++)
            show_row(d->pixels + chosen[i] * IMAGE_BYTES + (size_t)y * SIDE);
        putchar('\n');
    }
    for (size_t i = 0; i < n; i++) {
        bool right = d->answers[chosen[i]] == d->labels[chosen[i]];
        char text[48];
        int length = snprintf(text, sizeof text, "a %d, read as %d", d->labels[chosen[i]], d->answers[chosen[i]]);
        printf("%s%s%s%*s", paint(right ? "\033[32m" : "\033[31m"), text, paint("\033[0m"), 2 * SIDE + 2 - length, "");
    }
    fputs("\n\n", stdout);
}

void show_report(struct demo *d, size_t right, bool same)
{
    char a[32], b[32];
    size_t answered = atomic_load(&d->answered);

    show_digits(d);
    printf("answers     %s of %s, %.2f %% right%s\n", grouped(answered, a), grouped(d->n_calls, b),
           answered > 0 ? (double)right * 100.0 / (double)answered : 0.0,
           same ? "; each worker gave the same ones" : "; but an image got different ones");
    show_speed(d);
    show_cost(d);
}
