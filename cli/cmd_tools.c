/* snakepit tools: what an adapter offers, as its worker has described it.
 *
 * Without a daemon that means to start a worker of it, and to end that again. Everything printed has been said by the worker: it is written as texts
 * of others are (print_text), and nothing is assumed about its form. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SIGNATURE_MOST = 44 }; /* columns; what is longer pushes the description to the next line */

struct tools_options {
    const char *adapter, *python;
    bool verbose;
};

static const struct option_def tools_option_defs[] = {
    {"adapter", 'a', OPTION_TEXT, "X", "whose tools (file.py, file.py:Class, module:Class or Showcase)",
     offsetof(struct tools_options, adapter)},
    {"python", 0, OPTION_TEXT, "PATH", "the interpreter", offsetof(struct tools_options, python)},
    {"verbose", 'v', OPTION_FLAG, NULL, "what happens when, and the log, on stderr", offsetof(struct tools_options, verbose)},
};

static const char *text_of(const pit_value *map, const char *key)
{
    const char *text = pit_value_str(pit_value_get(map, key));
    return text != NULL ? text : "";
}

static bool flag_of(const pit_value *map, const char *key)
{
    bool yes = false;
    return pit_value_get_bool(pit_value_get(map, key), &yes) && yes;
}

/* "a, b: int = 2, *rest, c, **more", as Python writes it. */
static void write_parameter(FILE *to, const pit_value *p, bool *keyword_only)
{
    const char *kind = text_of(p, "kind"), *type = text_of(p, "type");
    const pit_value *by_default = pit_value_get(p, "default");
    bool rest = strcmp(kind, "var_positional") == 0;

    if (strcmp(kind, "keyword") == 0 && !*keyword_only)
        fputs("*, ", to);
    *keyword_only = *keyword_only || rest || strcmp(kind, "keyword") == 0;
    fprintf(to, "%s%s", rest ? "*" : strcmp(kind, "var_keyword") == 0 ? "**" : "", text_of(p, "name"));
    if (type[0] != '\0')
        fprintf(to, ": %s", type);
    char *json = by_default != NULL ? pit_value_to_json(by_default, 0) : NULL;
    if (json != NULL)
        fprintf(to, "%s%s", type[0] != '\0' ? " = " : "=", json);
    else if (pit_value_get(p, "required") != NULL && !flag_of(p, "required") && kind[0] != 'v')
        fputs(type[0] != '\0' ? " = ..." : "=...", to); /* there is one that cannot be told */
    pit_free(json);
}

/* The parameters in one line, made with malloc(); NULL without memory. */
static char *signature_of(const pit_value *tool)
{
    const pit_value *parameters = pit_value_get(tool, "parameters");
    bool keyword_only = false;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    if (to == NULL)
        return NULL;
    for (size_t i = 0; i < pit_value_len(parameters); i++) {
        fputs(i > 0 ? ", " : "", to);
        write_parameter(to, pit_value_at(parameters, i), &keyword_only);
    }
    if (fclose(to) != 0) {
        free(text);
        text = NULL;
    }
    return text;
}

static size_t columns_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_padded(const char *text, size_t columns)
{
    size_t n = columns_of(text);

    print_text(stdout, text);
    for (; n < columns; n++)
        fputc(' ', stdout);
}

/* What is special about it, behind its description. */
static void print_marks(const pit_value *tool)
{
    int64_t ms = 0;
    bool timed = pit_value_get_int(pit_value_get(tool, "timeout_ms"), &ms), streams = flag_of(tool, "streaming"),
         repeatable = flag_of(tool, "idempotent");

    if (streams || repeatable || timed) {
        printf("%s[%s%s%s", text_of(tool, "description")[0] != '\0' ? " " : "", streams ? "streams" : "",
               streams && repeatable ? ", " : "", repeatable ? "idempotent" : "");
        if (timed)
            printf("%s%lld ms", streams || repeatable ? ", " : "", (long long)ms);
        fputc(']', stdout);
    }
}

static void print_row(const pit_value *tool, const char *signature, size_t name_columns, size_t signature_columns)
{
    print_padded(text_of(tool, "name"), name_columns);
    fputs("  ", stdout);
    print_padded(signature, signature_columns);
    if (columns_of(signature) > signature_columns) {
        fputc('\n', stdout);
        print_padded("", name_columns + 2 + signature_columns);
    }
    fputs("  ", stdout);
    print_text(stdout, text_of(tool, "description"));
    print_marks(tool);
    fputc('\n', stdout);
}

static int print_table(const struct cli *cli, const pit_value *tools)
{
    size_t n = pit_value_len(tools), names = 4, signatures = 10;
    char **lines = calloc(n + 1, sizeof *lines);
    bool complete = lines != NULL;

    for (size_t i = 0; complete && i < n; i++) {
        const pit_value *tool = pit_value_at(tools, i);
        lines[i] = signature_of(tool);
        complete = lines[i] != NULL;
        size_t name = columns_of(text_of(tool, "name")), signature = complete ? columns_of(lines[i]) : 0;
        names = name > names ? name : names;
        signatures = signature > signatures && signature <= SIGNATURE_MOST ? signature : signatures;
    }
    if (complete && n > 0) {
        print_padded("NAME", names + 2);
        print_padded("PARAMETERS", signatures + 2);
        fputs("DESCRIPTION\n", stdout);
    }
    for (size_t i = 0; complete && i < n; i++)
        print_row(pit_value_at(tools, i), lines[i], names, signatures);
    for (size_t i = 0; lines != NULL && i < n; i++)
        free(lines[i]);
    free(lines);
    if (complete && n == 0)
        fputs("snakepit tools: the adapter names no tools\n", stderr);
    return complete ? EXIT_OK : report_error(cli, PIT_E_ALLOCATION_FAILED, NULL);
}

static int run_tools(struct cli *cli, const struct tools_options *o, struct interrupt *in)
{
    struct python_choice python = {"", NULL};
    struct own_pool_options po = {.adapter = o->adapter, .verbose = o->verbose, .tell_losses = !cli->json};
    pit_tool_filter filter = PIT_TOOL_FILTER_INIT;
    struct own_pool pool;
    pit_value *tools = NULL;
    pit_error *err = NULL;
    int code;

    filter.side = PIT_TOOLS_OF_WORKERS;
    if (python_find(o->python, &python))
        po.python = python.path;
    int rc = own_pool_open(&pool, &po, in, &err);
    if (rc == 0)
        rc = own_pool_await(&pool, 0, &err);
    if (rc == 0)
        rc = pit_tool_list(pool.p, NULL, &filter, &tools, &err);
    if (in->signal != 0) {
        code = EXIT_SIGNAL + in->signal;
        if (!cli->json)
            fprintf(stderr, "snakepit tools: ended by %s\n", interrupt_name(in->signal));
        pit_error_free(err);
    } else if (rc != 0) {
        code = report_error(cli, rc, err);
    } else {
        code = cli->json ? print_value(cli, tools) : print_table(cli, tools);
    }
    pit_value_free(tools);
    streams_flush(); /* they are there before the worker has ended */
    rc = own_pool_close(&pool);
    if (rc != 0 && code == EXIT_OK)
        code = report_error(cli, rc, NULL);
    return code;
}

static int tools(struct cli *cli, int argc, char **argv)
{
    struct tools_options o = {NULL, NULL, false};
    struct arguments args = {argv, 0, 0};
    struct interrupt in;
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n > 0)
        return report_usage(cli, "it takes no argument: '%s'", args.items[0]);
    if (o.adapter == NULL)
        return report(cli, EXIT_UNREACHABLE, PIT_E_UNAVAILABLE, "snakepit tools --adapter file.py",
                      "there is no pool to ask: no daemon runs, and no --adapter says whose tools are meant");
    if (interrupt_open(&in) != 0)
        return report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "signals cannot be watched: %s", strerror(errno));
    code = run_tools(cli, &o, &in);
    interrupt_close(&in);
    return code;
}

const struct command cmd_tools = {
    "tools",
    "--adapter X",
    "list the tools of an adapter, with their parameters",
    "A line for each command: its name, its parameters as Python writes them, and its description; then in brackets whether "
    "it\n"
    "streams, may be run again without harm (idempotent), and the time that it declares. With -o json a list of maps.\n"
    "Commands that an adapter takes in execute_tool() are not known by name.\n"
    "\n"
    "exit status: 0 done, 1 the adapter cannot be started, 2 bad usage, 3 nothing to ask, 128 + n ended by signal n\n"
    "\n"
    "  snakepit tools --adapter hello.py\n"
    "  snakepit tools --adapter Showcase -o json\n",
    tools_option_defs,
    sizeof tools_option_defs / sizeof tools_option_defs[0],
    false,
    tools,
};
