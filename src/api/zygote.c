/* snakepit/pool.h, what is told of templates: enter, ask the loop, translate. */
#include <snakepit/pool.h>

#include "api/api.h"
#include "pool/start_mode.h"

struct describe {
    struct pool *pool;
    pit_value *value;
};

static void describe_zygote(struct host *h, void *arg)
{
    struct describe *d = arg;
    (void)h;
    d->value = start_mode_describe(d->pool);
}

int pit_pool_zygote(pit *p, const char *name, pit_value **ret, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct describe d = {.pool = host_find(p->host, name, &e)};
    if (e == NULL) {
        host_run(p->host, describe_zygote, &d);
        rc = pit_value_error(d.value);
        if (rc != 0)
            e = error_new(rc, "%s", pit_strerror(rc));
    }
    if (e == NULL && ret != NULL)
        *ret = d.value;
    else
        pit_value_free(d.value);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}
