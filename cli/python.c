/* Which Python interpreter the program's own pools run.
 *
 * Order: --python, SNAKEPIT_PYTHON, $VIRTUAL_ENV, .venv and ../.venv of the working directory, python3 and python on the PATH. The
 * library knows all of these but the two of the working directory, which only a person at a shell can mean. */
#include "cli.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool runnable(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool take(struct python_choice *ret, const char *why, const char *folder, const char *name)
{
    int n = snprintf(ret->path, sizeof ret->path, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", name);

    ret->why = why;
    return n > 0 && (size_t)n < sizeof ret->path;
}

static bool from_working_directory(struct python_choice *ret, const char *relative, const char *why)
{
    char folder[PATH_MAX];

    if (getcwd(folder, sizeof folder) == NULL || !take(ret, why, folder, relative))
        return false;
    return runnable(ret->path);
}

static bool from_path(struct python_choice *ret, const char *name)
{
    const char *at = getenv("PATH");

    while (at != NULL && *at != '\0') {
        size_t n = strcspn(at, ":");
        char folder[PATH_MAX];
        if (n > 0 && n < sizeof folder) {
            memcpy(folder, at, n);
            folder[n] = '\0';
            if (take(ret, "found on the PATH", folder, name) && runnable(ret->path))
                return true;
        }
        at += n + (at[n] == ':');
    }
    return false;
}

bool python_find(const char *option, struct python_choice *ret)
{
    const char *named = getenv("SNAKEPIT_PYTHON"), *env = getenv("VIRTUAL_ENV");

    if (option != NULL)
        return take(ret, "given by --python", "", option);
    if (named != NULL && *named != '\0')
        return take(ret, "given by SNAKEPIT_PYTHON", "", named);
    if (env != NULL && *env != '\0')
        return take(ret, "of the active virtual environment", env, "bin/python");
    return from_working_directory(ret, ".venv/bin/python", ".venv of the working directory") ||
           from_working_directory(ret, "../.venv/bin/python", ".venv of the folder above the working directory") ||
           from_path(ret, "python3") || from_path(ret, "python");
}
