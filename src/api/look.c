/* snakepit/pool.h: what workers are doing. */
#include <snakepit/pool.h>

#include "api/api.h"

int pit_worker_stack(pit *p, const char *name, const char *worker_id, pit_value **ret, pit_error **reterr)
{
    int rc = api_enter_blocking(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    pit_error *e = NULL;
    struct pool *pool = name != NULL ? host_find(p->host, name, &e) : NULL;
    if (e == NULL && (worker_id == NULL || ret == NULL))
        e = error_new(PIT_E_INVALID_PARAMETER, "the worker's id, or the place for the result, is NULL");
    if (e == NULL)
        e = host_look(p->host, pool, worker_id, ret);
    rc = error_give(reterr, e);
    api_leave(p);
    return rc;
}
