/* snakepit blackbox dump: what the workers of all living hosts of this user did last (docs/guide-crashes.md), read from their memory.
 *
 * Failure modes: no host lives, or none that was asked for: exit 3; a worker that cannot be read has a line that says why. */
#include "cli.h"

#include <string.h>

struct blackbox_options {
    const char *data_dir, *instance;
    int pid, last;
};

static const struct option_def blackbox_option_defs[] = {
    {"pid", 'p', OPTION_COUNT, "PID", "of this host alone", offsetof(struct blackbox_options, pid)},
    {"instance", 'i', OPTION_TEXT, "NAME", "of hosts of this instance alone", offsetof(struct blackbox_options, instance)},
    {"last", 'n', OPTION_COUNT, "N", "events of each worker, the newest (100)", offsetof(struct blackbox_options, last)},
    {"data-dir", 'd', OPTION_TEXT, "DIR", "the folder of the hosts' registry (SNAKEPIT_DATA_DIR, else the user's state folder)",
     offsetof(struct blackbox_options, data_dir)},
};

/* ---- as text ---- */

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "");
}

static void print_number(const pit_value *event, const char *key, const char *format)
{
    double n = 0;

    if (pit_value_get_number(pit_value_get(event, key), &n))
        printf(format, n);
}

static void print_event(const pit_value *event)
{
    static const char *const texts[] = {"command", "outcome", "call", "signal", NULL};

    printf(pit_value_len(event) > 3 ? "  %s  %-16s" : "  %s  %s", text_of(event, "time"), text_of(event, "event"));
    for (size_t i = 0; texts[i] != NULL; i++) {
        if (pit_value_get(event, texts[i]) == NULL)
            continue;
        putchar(' ');
        print_text(stdout, text_of(event, texts[i]));
    }
    print_number(event, "took_us", " in %.1f us");
    print_number(event, "lane", " on lane %.0f");
    print_number(event, "rung", " rung %.0f");
    print_number(event, "pid", " pid %.0f");
    print_number(event, "in_a_row", " %.0f in a row");
    putchar('\n');
}

static void print_events(const pit_value *events)
{
    const pit_value *event;

    for (size_t i = 0; pit_value_next(events, &i, NULL, &event);)
        print_event(event);
}

static void print_worker(const pit_value *worker)
{
    const pit_value *before = pit_value_get(worker, "before");

    printf("worker ");
    print_text(stdout, text_of(worker, "worker_id"));
    print_number(worker, "pid", ", pid %.0f");
    printf(", %s\n", text_of(worker, "state"));
    if (before != NULL) {
        printf("  of the one before it");
        print_number(before, "pid", ", pid %.0f");
        printf(", which ended %s (", text_of(before, "ended"));
        print_text(stdout, text_of(before, "exit_class"));
        printf("):\n");
        print_events(pit_value_get(before, "events"));
        printf("  of this one:\n");
    }
    if (pit_value_get(worker, "missing") != NULL)
        printf("  nothing can be told: %s\n", text_of(worker, "missing"));
    print_events(pit_value_get(worker, "events"));
}

static void print_hosts(const pit_value *hosts)
{
    const pit_value *host, *worker;

    for (size_t i = 0; pit_value_next(hosts, &i, NULL, &host);) {
        printf("host %s", text_of(host, "run_id"));
        print_number(host, "pid", ", pid %.0f");
        printf(", instance ");
        print_text(stdout, text_of(host, "instance"));
        printf(", %s\n", text_of(host, "state"));
        for (size_t k = 0; pit_value_next(pit_value_get(host, "workers"), &k, NULL, &worker);)
            print_worker(worker);
    }
}

/* ---- the command ---- */

static int dump(const struct cli *cli, const struct blackbox_options *given)
{
    pit_blackbox_options o = PIT_BLACKBOX_OPTIONS_INIT;
    pit_value *v = NULL;
    pit_error *err = NULL;
    int code = EXIT_OK;

    o.data_dir = given->data_dir;
    o.instance_name = given->instance;
    o.pid = given->pid;
    o.last = given->last;
    int rc = pit_blackbox_read(&o, &v, &err);
    if (rc != 0)
        return report_error(cli, rc, err);
    if (pit_value_len(pit_value_get(v, "hosts")) == 0)
        code = report(cli, EXIT_UNREACHABLE, PIT_E_NOT_FOUND, "of workers that have died: snakepit crash list",
                      "no %shost of this user lives that keeps a registry",
                      given->pid != 0 || given->instance != NULL ? "such " : "");
    else if (cli->json)
        code = print_value(cli, v);
    else
        print_hosts(pit_value_get(v, "hosts"));
    pit_value_free(v);
    return code;
}

static int blackbox(struct cli *cli, int argc, char **argv)
{
    struct blackbox_options o = {NULL, NULL, 0, 0};
    struct arguments args = {argv, 0, 0};
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n == 0)
        return report_usage(cli, "dump is missing");
    if (strcmp(args.items[0], "dump") != 0)
        return report_usage(cli, "'%s' is not dump", args.items[0]);
    if (args.n != 1)
        return report_usage(cli, "dump takes no argument: '%s'", args.items[1]);
    return dump(cli, &o);
}

const struct command cmd_blackbox = {
    "blackbox",
    "dump",
    "what the workers of living hosts did last: their flight recorders",
    "It needs no help of the hosts and workers, which may hang or be stopped. Of each worker the newest events, with the end "
    "of\n"
    "the one that had its slot before.\n",
    blackbox_option_defs,
    sizeof blackbox_option_defs / sizeof blackbox_option_defs[0],
    false,
    blackbox,
};
