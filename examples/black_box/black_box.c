/* A worker crashes in the middle of its work; its flight recorder says what it did until then. */
#include <snakepit/snakepit.h>
#include <stdio.h>

static const char *text_of(const pit_value *event, const char *key)
{
    return pit_value_str_or(pit_value_get(event, key), "");
}

static void print_last_events(const pit_value *dossier)
{
    const pit_value *event;

    for (size_t i = 0; pit_value_next(pit_value_get(dossier, "events"), &i, NULL, &event);)
        printf("%s  %s %s %s\n", text_of(event, "time"), text_of(event, "event"), text_of(event, "command"),
               text_of(event, "outcome"));
}

int main(void)
{
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;

    o.adapter = "pilot.py";
    o.workers = 1;
    int rc = pit_open(&o, &p, &err);
    for (int leg = 1; rc == 0; leg++) {
        pit_value *flown = NULL;
        rc = pit_callf(p, "fly", NULL, &flown, &err, "{s:i}", "leg", leg);
        if (rc == 0)
            puts(pit_value_str_or(flown, "?"));
        pit_value_free(flown);
    }
    if (rc == PIT_E_WORKER_CRASH)
        print_last_events(pit_error_dossier(err));
    else
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    pit_close(p);
    return rc != PIT_E_WORKER_CRASH;
}
