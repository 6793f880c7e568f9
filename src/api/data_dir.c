/* Where a host keeps what outlives it. */
#include <limits.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/buf.h"

char *settings_absolute(const struct os_ops *os, const char *named)
{
    char cwd[PATH_MAX];
    struct buf b = {0};
    if (named[0] != '/' && os->real_path(".", cwd) == 0)
        buf_printf(&b, "%s/", cwd);
    buf_puts(&b, named);
    char *path = buf_take_str(&b);
    buf_finish(&b);
    return path;
}

/* $XDG_STATE_HOME/snakepit, or where that would be. */
static bool find_usual(char **ret)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct buf b = {0};
    if (state != NULL && state[0] == '/')
        buf_printf(&b, "%s/snakepit", state);
    else if (home != NULL && home[0] == '/')
        buf_printf(&b, "%s/.local/state/snakepit", home);
    else
        return true;
    *ret = buf_take_str(&b);
    return *ret != NULL;
}

bool data_dir_find(const struct os_ops *os, const char *option, char **ret, const char **ret_from)
{
    const char *variable = getenv("SNAKEPIT_DATA_DIR");
    const char *named = option != NULL ? option : variable != NULL && *variable != '\0' ? variable : NULL;
    if (named == NULL)
        return find_usual(ret);
    *ret_from = option != NULL ? "the option data_dir" : "SNAKEPIT_DATA_DIR";
    *ret = settings_absolute(os, named);
    return *ret != NULL;
}

char *pit_data_dir(void)
{
    char *path = NULL;
    const char *from;
    return data_dir_find(&os_linux, NULL, &path, &from) ? path : NULL;
}
