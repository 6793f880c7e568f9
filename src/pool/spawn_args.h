/* The argument list and the environment of a pool's workers. Loop thread. */
#ifndef PIT_POOL_SPAWN_ARGS_H
#define PIT_POOL_SPAWN_ARGS_H

#include "pool/host.h"

/* executable: NULL for a pool with its own command. Owned by the caller; NULL: out of memory. */
char **spawn_argv(const struct host *h, const struct pool_settings *s, const char *executable);
char **spawn_env(const struct host *h, const struct pool_settings *s, const struct interpreter *i);

#endif
