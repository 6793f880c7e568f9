/* For tests with workers in Python: a pit on one pool, of this build's package. */
#ifndef TESTS_KIT_PYTHON_H
#define TESTS_KIT_PYTHON_H

#include "integration/c/kit.h"

/* What every pit of these tests needs; the rest of *o and *pool is the test's. The workers are marked unless pool->env is set. */
static inline pit *kit_open_python(pit_options *o, pit_pool_options *pool)
{
    const char *env[] = {kit_mark, NULL};
    const pit_pool_options *pools[] = {pool};
    pit *p = NULL;
    pit_error *e = NULL;
    if (pool->env == NULL)
        pool->env = env;
    o->pools = pools;
    o->n_pools = 1;
    o->guard_path = SNAKEPIT_GUARD_PATH;
    o->python = TEST_PYTHON;
    o->python_package_path = TEST_BUILD_DIR "/python";
    if (o->log == NULL && getenv("KIT_LOG") != NULL)
        o->log = kit_log;
    if (pit_open(o, &p, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    o->pools = NULL;
    if (pool->env == env)
        pool->env = NULL;
    return p;
}

#endif
