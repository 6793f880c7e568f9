/* Finding the guard and the Python package: by name, beside the file that this code was loaded from, in the installed places. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/alloc.h"

/* The folder of the shared library, or of the program when it is linked in statically. */
static bool own_folder(const struct os_ops *os, char folder[PATH_MAX])
{
    static const char here = 0;
    Dl_info info;
    char path[PATH_MAX];
    bool found = dladdr(&here, &info) != 0 && info.dli_fname != NULL && strchr(info.dli_fname, '/') != NULL &&
                 os->real_path(info.dli_fname, path) == 0;
    if (!found && os->real_path("/proc/self/exe", path) != 0)
        return false;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    memcpy(folder, path, strlen(path) + 1);
    return true;
}

static char *locate(const struct os_ops *os, const char *option, const char *const *relative, const char *installed, int mode)
{
    char folder[PATH_MAX], path[PATH_MAX + 64];
    if (option != NULL)
        return mem_strdup(option);
    if (own_folder(os, folder))
        for (; *relative != NULL; relative++) {
            snprintf(path, sizeof path, "%s/%s", folder, *relative);
            if (os->access(path, mode) == 0)
                return mem_strdup(path);
        }
    return os->access(installed, mode) == 0 ? mem_strdup(installed) : NULL;
}

char *locate_guard(const struct os_ops *os, const char *option)
{
    static const char from_bin[] = SNAKEPIT_FROM_BIN "/snakepit-guard";
    static const char *const places[] = {"snakepit-guard", "snakepit/snakepit-guard", "../snakepit-guard", from_bin, NULL};
    return locate(os, option, places, SNAKEPIT_INSTALL_DIR "/snakepit-guard", X_OK);
}

char *locate_package(const struct os_ops *os, const char *option)
{
    static const char from_bin[] = SNAKEPIT_FROM_BIN "/python/snakepit_bridge";
    static const char *const places[] = {"python/snakepit_bridge", "snakepit/python/snakepit_bridge",
                                         "../python/snakepit_bridge", from_bin, NULL};
    char absolute[PATH_MAX]; /* workers may have another working directory */
    if (option != NULL)
        return mem_strdup(os->real_path(option, absolute) == 0 ? absolute : option);
    char *path = locate(os, NULL, places, SNAKEPIT_INSTALL_DIR "/python/snakepit_bridge", R_OK);
    char *tail = path != NULL ? strrchr(path, '/') : NULL;
    if (tail != NULL) /* what goes onto PYTHONPATH is the folder that holds the package */
        *tail = '\0';
    return path;
}
