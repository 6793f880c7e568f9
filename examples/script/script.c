/* A program that does one thing and leaves: everything around that is pit_run_as_script's.
 *
 *   script [TEXT...]    how many words each text has; exit status 1 when there is no text, or something failed
 *
 * How it leaves is decided by SNAKEPIT_SCRIPT_EXIT (none, halt, stop, auto): "none" returns from main, "stop" calls exit(), "halt" calls
 * _exit(), which not even a full pipe behind stdout can hold up. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct work {
    int n;
    char **texts;
};

/* Returns what is to become the status: 0 is good. */
static int count_words(pit *p, void *user)
{
    const struct work *w = user;

    for (int i = 0; i < w->n; i++) {
        pit_error *err = NULL;
        pit_value *r = NULL;
        int64_t words = 0;
        int rc = pit_callf(p, "count", NULL, &r, &err, "{s:s}", "text", w->texts[i]);
        if (rc == 0 && pit_value_get_int(r, &words))
            printf("%d: %s\n", (int)words, w->texts[i]);
        else
            fprintf(stderr, "%s\n", pit_error_string(err));
        pit_error_free(err);
        pit_value_free(r);
        if (rc != 0)
            return rc;
    }
    return w->n == 0;
}

static void could_not_run(const pit_error *e, void *user)
{
    (void)user;
    fprintf(stderr, "%s\n", pit_error_string(e));
}

/* The library ends no process: it says how, and this program does it. */
static void leave(int mode, int status, void *user)
{
    (void)user;
    if (mode == PIT_SCRIPT_EXIT_HALT)
        _exit(status);
    exit(status);
}

int main(int argc, char **argv)
{
    struct work w = {argc - 1, argv + 1};
    pit_options host = PIT_OPTIONS_INIT;
    pit_script_options o = PIT_SCRIPT_OPTIONS_INIT;

    host.adapter = "script.py";
    host.workers = 1;
    o.options = &host;
    o.failed = could_not_run;
    o.exit_fn = leave;
    return pit_run_as_script(count_words, &w, &o) != 0;
}
