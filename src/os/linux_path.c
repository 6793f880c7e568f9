/* Paths: does a file exist, may it be run, where is it really. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/linux.h"

int linux_access(const char *path, int mode)
{
    return access(path, mode) == 0 ? 0 : -errno;
}

int linux_real_path(const char *path, char ret[])
{
    return realpath(path, ret) != NULL ? 0 : -errno;
}
