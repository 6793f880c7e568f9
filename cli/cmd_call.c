/* snakepit call: one call, its result as one JSON document on stdout; or, with --stream, what it gives as one a line.
 *
 * Without a daemon a call needs a pool of its own, started for this one call and ended after it (--adapter). */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct call_options {
    const char *pool, *session, *adapter, *python;
    int64_t timeout_ms;
    int workers;
    bool verbose, stream;
};

static const struct option_def call_option_defs[] = {
    {"adapter", 'a', OPTION_TEXT, "X", "run X (file.py, file.py:Class or module:Class) in a pool for this one call",
     offsetof(struct call_options, adapter)},
    {"timeout", 't', OPTION_DURATION, "TIME", "for everything, the start of the pool included: 500ms, 2s, 1.5m",
     offsetof(struct call_options, timeout_ms)},
    {"stream", 0, OPTION_FLAG, NULL, "the command streams: a line of JSON for each chunk, as it comes",
     offsetof(struct call_options, stream)},
    {"pool", 'p', OPTION_TEXT, "NAME", "the pool (default)", offsetof(struct call_options, pool)},
    {"session", 's', OPTION_TEXT, "ID", "the session that the call belongs to", offsetof(struct call_options, session)},
    {"workers", 'w', OPTION_COUNT, "N", "workers of the pool (1)", offsetof(struct call_options, workers)},
    {"python", 0, OPTION_TEXT, "PATH", "the interpreter", offsetof(struct call_options, python)},
    {"verbose", 'v', OPTION_FLAG, NULL, "what happens when, and the log, on stderr", offsetof(struct call_options, verbose)},
};

static int parse_arguments(const struct cli *cli, const char *text, size_t n, pit_value **ret)
{
    pit_error *err = NULL;
    pit_value *v = NULL;
    int rc = pit_value_parse_json(text, n, &v, &err);

    if (rc != 0) {
        bool tagged = pit_value_get(pit_error_details(err), "tagged") != NULL;
        int code = report_usage(cli, "the arguments %s: %s", tagged ? "hold a malformed \"$pit\" form" : "are no JSON",
                                err != NULL ? pit_error_message(err) : pit_strerror(rc));
        pit_error_free(err);
        return code;
    }
    if (pit_value_kind(v) == PIT_KIND_NIL) { /* as the whole of the arguments nil would mean "none" */
        pit_value *list = pit_list();
        (void)pit_list_append_take(list, v);
        v = list;
    }
    *ret = v;
    return 0;
}

static int read_arguments(const struct cli *cli, struct interrupt *in, uint64_t deadline_ns, pit_value **ret)
{
    char *text = NULL;
    size_t n = 0;
    int code = input_read(cli, in, deadline_ns, &text, &n);

    if (code == 0)
        code = parse_arguments(cli, text != NULL ? text : "", n, ret);
    free(text);
    return code;
}

static int run_call(struct cli *cli, const struct call_options *o, const char *command, const pit_value *args,
                    struct interrupt *in, uint64_t deadline_ns)
{
    struct python_choice python = {"", NULL};
    struct own_pool_options po = {
        .name = o->pool, .adapter = o->adapter, .workers = o->workers, .verbose = o->verbose, .tell_losses = !cli->json};
    pit_call_options co = PIT_CALL_OPTIONS_INIT;
    struct own_pool pool;
    struct stream_print printed = {cli, EXIT_OK, NULL};
    pit_value *result = NULL;
    pit_error *err = NULL;

    if (python_find(o->python, &python))
        po.python = python.path;
    co.session_id = o->session;
    co.deadline_ns = deadline_ns;
    int rc = own_pool_open(&pool, &po, in, &err);
    if (rc == 0 && o->stream)
        rc = own_pool_stream(&pool, command, args, &co, stream_print, &printed, &err);
    else if (rc == 0)
        rc = own_pool_call(&pool, command, args, &co, &result, &err);
    int code;
    if (in->signal != 0) {
        code = EXIT_SIGNAL + in->signal;
        if (!cli->json)
            fprintf(stderr, "snakepit call: ended by %s\n", interrupt_name(in->signal));
        pit_error_free(err);
    } else {
        code = rc != 0 ? report_error(cli, rc, err) : o->stream ? printed.code : print_value(cli, result);
        if (rc == PIT_E_DEADLINE_EXCEEDED && o->timeout_ms != 0 && !cli->json)
            fprintf(stderr, "  --timeout: %lld ms, the start of the pool included\n", (long long)o->timeout_ms);
    }
    pit_value_free(result);
    pit_value_free(printed.last);
    if (code == 0)
        streams_flush(); /* the result is there before the workers have ended */
    rc = own_pool_close(&pool);
    if (rc != 0 && code == EXIT_OK)
        code = report_error(cli, rc, NULL);
    return code;
}

static int call(struct cli *cli, int argc, char **argv)
{
    struct call_options o = {NULL, NULL, NULL, NULL, 0, 0, false, false};
    struct arguments args = {argv, 0, 0};
    struct interrupt in;
    pit_value *value = NULL;
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n < 1 || args.items[0][0] == '\0')
        return report_usage(cli, "the command to call is missing");
    if (args.n > 2)
        return report_usage(cli, "too many arguments: '%s'; put all of the JSON into one (quoted) argument", args.items[2]);
    bool from_stdin = args.n == 2 && strcmp(args.items[1], "-") == 0;
    if (args.n == 2 && !from_stdin)
        code = parse_arguments(cli, args.items[1], strlen(args.items[1]), &value);
    if (code != 0)
        return code;
    if (o.adapter == NULL) {
        pit_value_free(value);
        return report(cli, EXIT_UNREACHABLE, PIT_E_UNAVAILABLE, "snakepit call --adapter file.py COMMAND ...",
                      "there is no pool to call: no daemon runs, and no --adapter says what to run in a pool of its own");
    }
    uint64_t deadline_ns = o.timeout_ms == 0 ? 0 : pit_now_ns() + (uint64_t)o.timeout_ms * 1000000;
    if (interrupt_open(&in) != 0)
        code = report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "signals cannot be watched: %s", strerror(errno));
    if (code == 0 && from_stdin)
        code = read_arguments(cli, &in, deadline_ns, &value);
    if (code == 0)
        code = run_call(cli, &o, args.items[0], value, &in, deadline_ns);
    pit_value_free(value);
    interrupt_close(&in);
    return code;
}

const struct command cmd_call = {
    "call",
    "COMMAND [JSON|-] --adapter X",
    "call a command of a Python worker",
    "JSON: an object gives keyword arguments, an array positional ones, anything else (null too) one positional argument;\n"
    "without it there are none. - reads it from standard input. The result is one JSON document on standard output; with "
    "--stream\n"
    "each chunk is one on a line of its own, is_final in the last one, and Ctrl-C closes the producer.\n"
    "\n"
    "exit status: 0 done, 1 the call failed, 2 bad usage, 3 nothing to call, 124 the time was over, 128 + n ended by signal n\n"
    "\n"
    "  snakepit call greet '{\"name\": \"World\"}' --adapter hello.py\n"
    "  snakepit call count '{\"n\": 3}' --adapter counter.py --stream\n"
    "  echo '[1, 2]' | snakepit call add - --adapter mymodule:Adder --timeout 2s\n",
    call_option_defs,
    sizeof call_option_defs / sizeof call_option_defs[0],
    false,
    call,
};
