/* snakepit help, --help and --version: made from the tables of commands and options. */
#include "cli.h"

static void print_options(FILE *to, const struct option_def *defs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char left[64];
        const struct option_def *def = &defs[i];
        char letter[] = {'-', def->letter, ',', ' ', '\0'};
        (void)snprintf(left, sizeof left, "%s--%s%s%s", def->letter != 0 ? letter : "    ", def->name,
                       def->value_name != NULL ? " " : "", def->value_name != NULL ? def->value_name : "");
        fprintf(to, "  %-26s %s\n", left, def->help);
    }
}

int help_program(FILE *to)
{
    fputs("usage: snakepit COMMAND [arguments] [options]\n\nPython workers, supervised, for C programs.\n\ncommands:\n", to);
    for (size_t i = 0; i < cli_n_commands; i++)
        fprintf(to, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\noptions of every command:\n", to);
    print_options(to, cli_global_options, cli_n_global_options);
    fputs("\n'snakepit help COMMAND' tells more.\n", to);
    return EXIT_OK;
}

int help_command(const struct command *command)
{
    printf("usage: snakepit %s%s%s%s\n\n%s\n", command->name, command->arguments[0] != '\0' ? " " : "", command->arguments,
           command->raw ? "" : " [options]", command->summary);
    if (command->n_options > 0) {
        fputs("\noptions:\n", stdout);
        print_options(stdout, command->options, command->n_options);
    }
    if (!command->raw) {
        fputs("\noptions of every command:\n", stdout);
        print_options(stdout, cli_global_options, cli_n_global_options);
    }
    if (command->text != NULL)
        printf("\n%s", command->text);
    return EXIT_OK;
}

int help_version(const struct cli *cli)
{
    if (cli->json)
        printf("{\"version\":\"%s\"}\n", pit_version());
    else
        printf("snakepit %s\n", pit_version());
    return EXIT_OK;
}

static int help(struct cli *cli, int argc, char **argv)
{
    struct arguments args = {argv, 0, 0};
    int code = 0;

    if (!options_parse_command(cli, NULL, argc, argv, &args, &code))
        return code;
    if (args.n == 0)
        return help_program(stdout);
    if (args.n > 1)
        return report_usage(cli, "one command at a time");
    const struct command *command = command_find(args.items[0]);
    if (command != NULL)
        return help_command(command);
    cli->command = NULL; /* it is no argument of "help" that is wrong, but the name of a command */
    return command_unknown(cli, args.items[0]);
}

const struct command cmd_help = {"help", "[COMMAND]", "what a command does and which options it has", NULL, NULL, 0,
                                 false,  help};
