/* snakepit worker stack: what a worker of a living host is doing, or hangs in (docs/guide-crashes.md).
 *
 * Failure modes: no host lives: exit 3; no such worker: exit 1, with the nearest name; what is not told is named. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

struct worker_options {
    const char *data_dir;
    int pid;
};

static const struct option_def worker_option_defs[] = {
    {"pid", 'p', OPTION_COUNT, "PID", "of the host with this process id", offsetof(struct worker_options, pid)},
    {"data-dir", 'd', OPTION_TEXT, "DIR", "the folder of the hosts' registry (SNAKEPIT_DATA_DIR, else the user's state folder)",
     offsetof(struct worker_options, data_dir)},
};

/* ---- as text ---- */

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "");
}

static void print_number(const pit_value *map, const char *key, const char *format)
{
    double n = 0;

    if (pit_value_get_number(pit_value_get(map, key), &n))
        printf(format, n);
}

static void print_item(const char *before, const pit_value *map, const char *key)
{
    const char *text = text_of(map, key);

    if (text[0] == '\0')
        return;
    printf("%s", before);
    print_text(stdout, text);
}

static void print_thread(const pit_value *thread)
{
    print_number(thread, "tid", "thread %.0f");
    print_item(" ", thread, "name");
    print_number(thread, "lane", ", lane %.0f");
    print_item(": ", thread, "state");
    print_item(" in ", thread, "syscall");
    print_item(", ", thread, "in");
    print_item(" ", thread, "function");
    putchar('\n');
}

static void print_frames(const pit_value *frames)
{
    const pit_value *frame;

    for (size_t i = 0; pit_value_next(frames, &i, NULL, &frame);) {
        print_item("  ", frame, "file");
        print_number(frame, "line", ", line %.0f");
        print_item(", in ", frame, "function");
        putchar('\n');
    }
}

/* Of the thread with this number, taken from `python`; NULL: it runs none. */
static const pit_value *find_python(const pit_value *python, const pit_value *thread)
{
    const pit_value *stack;

    for (size_t i = 0; pit_value_next(python, &i, NULL, &stack);)
        if (pit_value_get(stack, "tid") != NULL && pit_value_equal(pit_value_get(stack, "tid"), pit_value_get(thread, "tid")))
            return stack;
    return NULL;
}

static void print_worker(const pit_value *map)
{
    const pit_value *python = pit_value_get(map, "python"), *item;

    print_item("worker ", map, "worker_id");
    print_number(map, "pid", ", pid %.0f");
    print_number(pit_value_get(map, "host"), "pid", ", of the host with pid %.0f");
    putchar('\n');
    print_item("", map, "summary");
    putchar('\n');
    for (size_t i = 0; pit_value_next(pit_value_get(map, "threads"), &i, NULL, &item);) {
        print_thread(item);
        print_frames(pit_value_get(find_python(python, item), "frames"));
    }
    for (size_t i = 0; pit_value_next(python, &i, NULL, &item);) {
        if (pit_value_get(item, "tid") != NULL)
            continue;
        print_item("Python thread ", item, "thread");
        putchar('\n');
        print_frames(pit_value_get(item, "frames"));
    }
    for (size_t i = 0; pit_value_next(pit_value_get(map, "missing"), &i, NULL, &item);) {
        printf("missing: ");
        print_text(stdout, pit_value_str_or(item, ""));
        putchar('\n');
    }
}

/* ---- the command ---- */

static int stack(const struct cli *cli, const struct worker_options *given, const char *id)
{
    pit_look_options o = PIT_LOOK_OPTIONS_INIT;
    pit_value *map = NULL;
    pit_error *err = NULL;
    int code = EXIT_OK;

    o.data_dir = given->data_dir;
    o.pid = given->pid;
    int rc = pit_look(&o, id, &map, &err);
    if (rc == PIT_E_NOT_FOUND) {
        code =
            report(cli, EXIT_UNREACHABLE, rc, "of workers that have died: snakepit crash list", "%s", pit_error_message(err));
        pit_error_free(err);
        return code;
    }
    if (rc != 0)
        return report_error(cli, rc, err);
    if (cli->json)
        code = print_value(cli, map);
    else
        print_worker(map);
    pit_value_free(map);
    return code;
}

static int worker(struct cli *cli, int argc, char **argv)
{
    struct worker_options o = {NULL, 0};
    struct arguments args = {argv, 0, 0};
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n == 0)
        return report_usage(cli, "stack is missing");
    if (strcmp(args.items[0], "stack") != 0)
        return report_usage(cli, "'%s' is not stack", args.items[0]);
    if (args.n == 1)
        return report_usage(cli, "the worker's id is missing (default/0.1)");
    if (args.n != 2)
        return report_usage(cli, "stack takes one id: '%s'", args.items[2]);
    return stack(cli, &o, args.items[1]);
}

const struct command cmd_worker = {
    "worker",
    "stack ID",
    "what a worker of a living host is doing, or hangs in",
    "The Python stacks of its threads, and where each waits. Nothing is stopped; its host does not have to help, and may "
    "hang.\n"
    "The ids are those of the log and of blackbox dump: default/0.1.\n",
    worker_option_defs,
    sizeof worker_option_defs / sizeof worker_option_defs[0],
    false,
    worker,
};
