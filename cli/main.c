/* The program snakepit: reads the global options, finds the command, runs it, and sees to it that what was printed has arrived.
 *
 * Exit codes: 0 done, 1 error, 2 usage, 3 nothing there to talk to, 124 deadline, 128 + n ended by signal n. */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_POINTER(name) &cmd_##name,
const struct command *const cli_commands[] = {CLI_COMMAND_LIST(COMMAND_POINTER)};
#undef COMMAND_POINTER

enum { N_COMMANDS = sizeof cli_commands / sizeof cli_commands[0] };
const size_t cli_n_commands = N_COMMANDS;

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    }
    return NULL;
}

int command_unknown(const struct cli *cli, const char *name)
{
    const char *names[N_COMMANDS];

    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = cli_commands[i]->name;
    const char *near = nearest_name(name, names, N_COMMANDS);
    if (near != NULL)
        return report_usage(cli, "unknown command '%s'; did you mean '%s'?", name, near);
    return report_usage(cli, "unknown command '%s'", name);
}

/* Each worker takes some descriptors of the host; the usual soft limit of 1024 is there for programs that use select(). */
static rlim_t raise_nofile(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return before;
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct option_set global = {cli_global_options, cli_n_global_options, cli};
    struct arguments args = {argv, 0, 0};

    if (argc == 0) {
        (void)help_program(stderr);
        return EXIT_USAGE;
    }
    options_look_for_format(cli, argc, argv);
    int code = options_parse(cli, &global, 1, argc, argv, OPTIONS_STOP_AT_POSITIONAL, &args);
    if (code != 0)
        return code;
    if (cli->version)
        return help_version(cli);
    if (args.consumed == argc)
        return cli->help ? help_program(stdout) : report_usage(cli, "the command is missing");
    cli->command = command_find(argv[args.consumed]);
    if (cli->command == NULL)
        return command_unknown(cli, argv[args.consumed]);
    if (cli->help)
        return help_command(cli->command);
    return cli->command->run(cli, argc - args.consumed - 1, argv + args.consumed + 1);
}

int main(int argc, char **argv)
{
    const char *no_color = getenv("NO_COLOR");
    struct cli cli = {.no_color = no_color != NULL && *no_color != '\0'};

    streams_secure();
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error of ours to report, not our end */
    cli.nofile_before = raise_nofile();
    int code = run(&cli, argc > 0 ? argc - 1 : 0, argv + (argc > 0));
    return streams_finish(&cli, code);
}
