/* Handwritten digits: a C program sends real images to a pool of Python workers, loses a worker to kill -9 in the middle of a call,
 * and ends with every answer accounted for.
 *
 * The classifier is scikit-learn's and lives in the workers (digits.py); here are the threads that call it. Exit status 0 means that
 * every image was answered in every pass, at least 95 % rightly, and that no call failed but those that were killed. */
#include "digits.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 25, START_MS = 120000, WHOLE_MS = 60000 };

static const double ENOUGH = 0.95;

static int usage(FILE *to, int code)
{
    fputs("usage: digits [--workers N] [--callers N] [--passes N] [--no-kill]\n"
          "  --workers N   Python processes (2)\n"
          "  --callers N   threads that call them (4)\n"
          "  --passes N    how often each image is sent (10)\n"
          "  --no-kill     leave the workers alone\n"
          "The interpreter is SNAKEPIT_PYTHON, else that of the active or of the nearest .venv; it needs numpy and "
          "scikit-learn.\n",
          to);
    return code;
}

static bool parse_count(const char *text, int *ret)
{
    char *end = NULL;
    long n = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n < 1 || n > 10000)
        return false;
    *ret = (int)n;
    return true;
}

/* 0: go on; 1: help was wanted; -1: bad usage */
static int parse(struct demo *d, int argc, char **argv)
{
    static const struct option options[] = {
        {"workers", required_argument, NULL, 'w'}, {"callers", required_argument, NULL, 'c'},
        {"passes", required_argument, NULL, 'p'},  {"no-kill", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "w:c:p:nh", options, NULL)) != -1) {
        bool good = true;
        if (letter == 'w')
            good = parse_count(optarg, &d->workers);
        else if (letter == 'c')
            good = parse_count(optarg, &d->callers);
        else if (letter == 'p')
            good = parse_count(optarg, &d->passes);
        else if (letter == 'n')
            d->kill = false;
        else
            return letter == 'h' ? 1 : -1;
        if (!good) {
            fprintf(stderr, "digits: '%s' is no number from 1 to 10000\n", optarg);
            return -1;
        }
    }
    return optind == argc ? 0 : -1;
}

/* The folder of this program: digits.py lies there. */
static bool own_folder(char folder[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    char *slash;

    if (n <= 0)
        return false;
    folder[n] = '\0';
    slash = strrchr(folder, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* The interpreter of the nearest .venv; NULL: the library looks. */
static const char *nearest_venv(const char *folder, char path[PATH_MAX])
{
    const char *named = getenv("SNAKEPIT_PYTHON"), *active = getenv("VIRTUAL_ENV");
    char up[PATH_MAX];

    if ((named != NULL && *named != '\0') || (active != NULL && *active != '\0'))
        return NULL;
    if (access(".venv/bin/python", X_OK) == 0 && getcwd(up, sizeof up) != NULL &&
        snprintf(path, PATH_MAX, "%s/.venv/bin/python", up) < PATH_MAX)
        return path;
    (void)snprintf(up, sizeof up, "%s", folder);
    for (char *slash = up + strlen(up); slash != NULL; slash = strrchr(up, '/')) {
        *slash = '\0';
        if (snprintf(path, PATH_MAX, "%s/.venv/bin/python", up) < PATH_MAX && access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

static int open_pool(struct demo *d, pit_error **reterr)
{
    char folder[PATH_MAX], adapter[PATH_MAX + 16], python[PATH_MAX];
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *const pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;

    if (!own_folder(folder))
        return PIT_E_SYSTEM_ERROR;
    (void)snprintf(adapter, sizeof adapter, "%s/digits.py", folder);
    pool.name = "digits";
    pool.adapter = adapter;
    pool.workers = d->workers;
    pool.python = nearest_venv(folder, python);
    pool.worker_ready_timeout_ms = START_MS;
    pool.queue_timeout_ms = START_MS;
    o.pools = pools;
    o.n_pools = 1;
    int rc = pit_open(&o, &d->p, reterr);
    return rc != 0 ? rc : pit_await_all_ready(d->p, NULL, START_MS, reterr);
}

/* Asks a worker for the images that its classifier has not seen. */
static int fetch_images(struct demo *d, pit_error **reterr)
{
    const void *pixels = NULL, *labels = NULL;
    size_t n_pixels = 0, n_labels = 0;
    int trained_on = 0;
    double trained_in = 0.0;
    int rc = pit_callf(d->p, "images", NULL, &d->images, reterr, "");

    if (rc == 0)
        rc = pit_unpack(d->images, reterr, "{s:y,s:y,s:i,s:f,*}", "pixels", &pixels, &n_pixels, "labels", &labels, &n_labels,
                        "trained_on", &trained_on, "trained_in", &trained_in);
    if (rc != 0)
        return rc;
    if (n_labels == 0 || n_pixels != n_labels * IMAGE_BYTES)
        return PIT_E_SHAPE_MISMATCH;
    d->pixels = pixels;
    d->labels = labels;
    d->n_images = n_labels;
    d->n_calls = n_labels * (size_t)d->passes;
    printf("trained     on %d scans in %.0f ms, in each worker; now come the other %zu, %d time%s each\n", trained_on,
           trained_in * 1000.0, n_labels, d->passes, d->passes == 1 ? "" : "s");
    d->answers = malloc(d->n_calls);
    d->times_ns = calloc(d->n_calls, sizeof *d->times_ns);
    if (d->answers == NULL || d->times_ns == NULL)
        return PIT_E_ALLOCATION_FAILED;
    memset(d->answers, NO_ANSWER, d->n_calls);
    return 0;
}

static void show_workers(struct demo *d)
{
    pit_worker_list *list = NULL;

    if (pit_list_workers(d->p, NULL, &list, NULL) != 0)
        return;
    for (size_t i = 0; i < pit_worker_list_len(list); i++) {
        const pit_worker_info *worker = pit_worker_list_at(list, i);
        printf("%s %s (process %ld)", i == 0 ? "workers    " : ",", worker->id, (long)worker->pid);
    }
    putchar('\n');
    (void)fflush(stdout);
    pit_worker_list_free(list);
}

static void wait_tick(struct demo *d)
{
    struct timespec end;

    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += TICK_MS * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_nsec -= 1000000000L;
        end.tv_sec++;
    }
    pthread_mutex_lock(&d->lock);
    if (atomic_load(&d->running) > 0)
        (void)pthread_cond_timedwait(&d->changed, &d->lock, &end);
    pthread_mutex_unlock(&d->lock);
}

static int run(struct demo *d)
{
    pthread_t *threads = calloc((size_t)d->callers, sizeof *threads);
    int n = threads != NULL ? feed_start(d, threads) : 0;

    if (n < d->callers)
        fprintf(stderr, "digits: only %d of %d callers could be started\n", n, d->callers);
    while (atomic_load(&d->running) > 0) {
        if (crash_recovering(d))
            crash_await_whole(d, TICK_MS);
        else
            wait_tick(d);
        crash_hunt(d);
        show_progress(d);
    }
    d->end_ns = pit_now_ns();
    for (int i = 0; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    free(threads);
    show_progress_end(d);
    if (crash_recovering(d))
        crash_await_whole(d, WHOLE_MS);
    return n == d->callers ? 0 : 1;
}

/* Prints the report; true when the run was what it has to be. */
static bool judge(struct demo *d)
{
    size_t right = 0, answered = atomic_load(&d->answered);
    bool same = true;

    for (size_t i = 0; i < d->n_calls; i++) {
        right += d->answers[i] == d->labels[feed_image_index(d, i)];
        same = same && d->answers[i] == d->answers[feed_image_index(d, i)];
    }
    show_report(d, right, same);
    bool as_killed = atomic_load(&d->failed) == d->crash.kills && (!d->kill || (d->crash.kills > 0 && d->crash.whole_ns != 0));
    return answered == d->n_calls && (double)right >= ENOUGH * (double)d->n_calls && same && as_killed;
}

static void complain(int rc, const pit_error *err)
{
    const char *text = err != NULL ? pit_error_string(err) : pit_strerror(rc);

    fprintf(stderr, "%s\n", text);
    if (strstr(text, "No module named") != NULL)
        fputs("The worker needs numpy and scikit-learn: './dev setup' installs them into .venv; SNAKEPIT_PYTHON names another "
              "Python.\n",
              stderr);
}

static int demo(struct demo *d)
{
    pit_error *err = NULL;

    show_open();
    printf("starting    %d Python worker%s; each trains a classifier of handwritten digits\n", d->workers,
           d->workers == 1 ? "" : "s");
    (void)fflush(stdout);
    int rc = open_pool(d, &err);
    if (rc == 0)
        rc = fetch_images(d, &err);
    if (rc != 0) {
        complain(rc, err);
        pit_error_free(err);
        return 1;
    }
    show_workers(d);
    int code = run(d);
    bool good = judge(d);
    rc = pit_close(d->p);
    d->p = NULL;
    if (rc != 0)
        fprintf(stderr, "digits: %s\n", pit_strerror(rc));
    printf("%s\n", good && rc == 0 ? "every answer is accounted for" : "this run did not end as it should");
    return good && rc == 0 ? code : 1;
}

int main(int argc, char **argv)
{
    struct demo d = {.workers = 2, .callers = 4, .passes = 10, .kill = true};
    pthread_condattr_t attributes;
    int parsed = parse(&d, argc, argv);

    if (parsed != 0)
        return parsed > 0 ? usage(stdout, 0) : usage(stderr, 2);
    (void)pthread_mutex_init(&d.lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d.changed, &attributes);
    int code = demo(&d);
    (void)pit_close(d.p);
    pit_value_free(d.images);
    free(d.answers);
    free(d.times_ns);
    free(d.crash.error_text);
    (void)pthread_cond_destroy(&d.changed);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_destroy(&d.lock);
    return code;
}
