/* snakepit/event.h, the part that needs a handle: validate, enter, translate. */
#include <snakepit/event.h>

#include "api/api.h"

int pit_telemetry_attach(pit *p, const char *pattern, pit_event_fn fn, void *user, uint64_t *ret_id, pit_error **reterr)
{
    int rc = api_enter(p);
    if (rc != 0)
        return api_refused(reterr, rc);
    uint64_t id = 0;
    if (pattern == NULL || fn == NULL)
        rc = PIT_E_INVALID_PARAMETER;
    else
        rc = telemetry_attach(p->host->telemetry, pattern, fn, user, &id);
    if (rc == 0 && ret_id != NULL)
        *ret_id = id;
    rc = rc == 0 ? error_give(reterr, NULL) : error_set(reterr, rc, "the handler was not attached: %s", pit_strerror(rc));
    api_leave(p);
    return rc;
}

int pit_telemetry_detach(pit *p, uint64_t id)
{
    int rc = api_enter(p);
    if (rc != 0)
        return rc;
    rc = telemetry_detach(p->host->telemetry, id);
    api_leave(p);
    return rc;
}
