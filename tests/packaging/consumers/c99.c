/* A consumer in plain C99: calls, takes an answer apart, and acts on an error. argv[1] is the worker's file. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <string.h>

static int say(const char *what, pit_error *err)
{
    fprintf(stderr, "%s: %s\n", what, pit_error_string(err));
    pit_error_free(err);
    return 1;
}

static int calls(pit *p)
{
    pit_value *r = NULL;
    pit_error *err = NULL;
    int64_t sum = 0;

    if (pit_callf(p, "add", NULL, &r, &err, "{s:i,s:i}", "a", 40, "b", 2) != 0)
        return say("add", err);
    if (!pit_value_get_int(r, &sum) || sum != 42)
        return 1;
    pit_value_free(r);
    if (pit_callf(p, "fail", NULL, &r, &err, "") != PIT_E_VALUE_ERROR || strcmp(pit_error_message(err), "as asked") != 0)
        return say("fail", err);
    pit_error_free(err);
    printf("%s %d\n", pit_version(), (int)sum);
    return 0;
}

int main(int argc, char **argv)
{
    pit *p = NULL;
    pit_error *err = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    int rc;

    if (argc != 2)
        return 2;
    o.adapter = argv[1];
    o.workers = 1;
    if (pit_open(&o, &p, &err) != 0)
        return say("open", err);
    rc = calls(p);
    return pit_close(p) != 0 || rc != 0;
}
