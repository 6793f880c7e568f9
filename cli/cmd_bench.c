/* snakepit bench: hands over to the program snakepit-bench, wherever this tree or this installation has it. */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const places[] = {"bench/snakepit-bench", "snakepit-bench", "../libexec/snakepit/snakepit-bench"};

static bool own_folder(char folder[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);

    if (n <= 0)
        return false;
    folder[n] = '\0';
    *strrchr(folder, '/') = '\0';
    return true;
}

/* execv() with what the program itself changed put back: SIGPIPE. */
static void try_exec(const char *path, char **argv)
{
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execv(path, argv);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int bench(struct cli *cli, int argc, char **argv)
{
    char folder[PATH_MAX], path[PATH_MAX + 64];

    if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0))
        return help_command(cli->command);
    char **copy = calloc((size_t)argc + 2, sizeof *copy);
    if (copy == NULL)
        return report_error(cli, PIT_E_ALLOCATION_FAILED, NULL);
    memcpy(copy + 1, argv, (size_t)argc * sizeof *copy);
    for (size_t i = 0; own_folder(folder) && i < sizeof places / sizeof places[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, places[i]);
        copy[0] = path;
        if (access(path, X_OK) == 0)
            try_exec(path, copy);
    }
    free(copy);
    return report(cli, EXIT_ERROR, PIT_E_NOT_FOUND, "./dev bench (in a source tree; it builds the program)",
                  "the benchmark program snakepit-bench is not beside this one");
}

const struct command cmd_bench = {
    "bench",
    "[arguments]",
    "measure calls, beside floors and peers",
    "All arguments go to snakepit-bench: docs/benchmarks.md has them.\n",
    NULL,
    0,
    true,
    bench,
};
