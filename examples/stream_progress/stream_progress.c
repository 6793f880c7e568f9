/* Progress of long work: a bar on a terminal, a line for each step elsewhere, and the result at the end. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <unistd.h>

enum { WIDTH = 30 };

static int show(pit_stream_event *ev, void *user)
{
    int done, of, on_terminal = *(int *)user;
    const char *type;
    if (ev->kind != PIT_STREAM_CHUNK)
        return 0;
    if (pit_unpack(ev->value, NULL, "{s:s,s:{s:i,s:i}}", "type", &type, "data", "done", &done, "of", &of) != 0 || of <= 0)
        return pit_stream_event_fail(ev, "chunk %d is no progress", (int)ev->index);
    int bars = WIDTH * done / of;
    if (on_terminal)
        printf("\r[%.*s%*s] %3d %%%s", bars, "##############################", WIDTH - bars, "", 100 * done / of,
               ev->is_final ? "\n" : "");
    else
        printf("%3d %%\n", 100 * done / of);
    fflush(stdout);
    return 0;
}

int main(void)
{
    pit *p = NULL;
    pit_value *args = pit_pack("{s:i}", "limit", 20000), *primes = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    int on_terminal = isatty(1);
    int64_t n = 0;
    o.adapter = "stream_progress.py";
    o.workers = 1;

    int rc = pit_open(&o, &p, &err);
    if (rc == 0)
        rc = pit_call_stream(p, "primes_below", args, NULL, show, &on_terminal, &primes, &err);
    if (rc == 0 && pit_value_get_int(primes, &n))
        printf("%d primes below 20000\n", (int)n);
    else if (rc != 0)
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    pit_value_free(primes);
    pit_value_free(args);
    pit_close(p);
    return rc != 0;
}
