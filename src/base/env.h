/* Building an environment: a NULL-terminated array of "NAME=value", each name once. A failed allocation is remembered. */
#ifndef PIT_BASE_ENV_H
#define PIT_BASE_ENV_H

#include <stdbool.h>
#include <stddef.h>

struct env {
    char **items;
    size_t n, cap;
    bool failed;
};

void env_put(struct env *e, const char *item);             /* replaces */
void env_put_all(struct env *e, const char *const *items); /* NULL ok */
void env_default(struct env *e, const char *item);         /* keeps what is there */
__attribute__((format(printf, 2, 3))) void env_putf(struct env *e, const char *format, ...);
const char *env_get(const struct env *e, const char *name); /* NULL: absent */
char **env_take(struct env *e);                             /* NULL when failed; freed with mem_free_strv */
void env_finish(struct env *e);

#endif
