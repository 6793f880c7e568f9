/* The options for what is found out about deaths: checks and defaults. */
#include <inttypes.h>

#include "api/api.h"

enum { LEAST_KIB = 64, USUAL_MIB = 64 };

static pit_error *check(const pit_dossier_options *o, const char *pool)
{
    if (o->enabled < PIT_OFF || o->enabled > PIT_ON || o->native_stack < PIT_OFF || o->native_stack > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: dossier.%s is PIT_ON, PIT_OFF or 0", pool,
                         o->enabled < PIT_OFF || o->enabled > PIT_ON ? "enabled" : "native_stack");
    if (o->dir != NULL && o->dir[0] == '\0')
        return error_suggest(error_new(PIT_E_INVALID_PARAMETER, "pool %s: dossier.dir is empty", pool),
                             "NULL for the usual folder; dossier.max_bytes = PIT_NONE for no files");
    if (o->max_bytes < PIT_NONE || (o->max_bytes > 0 && o->max_bytes < LEAST_KIB * 1024))
        return error_new(PIT_E_INVALID_PARAMETER,
                         "pool %s: dossier.max_bytes is %" PRId64 "; it is at least %d KiB, or PIT_NONE for no files", pool,
                         o->max_bytes, LEAST_KIB);
    return NULL;
}

pit_error *dossier_settings_read(const struct os_ops *os, const pit_dossier_options *given, const char *pool,
                                 struct dossier_rules *ret)
{
    pit_dossier_options o = PIT_DOSSIER_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    if (rc != 0)
        return options_refused(rc, "a dossier", "PIT_DOSSIER_OPTIONS_INIT");
    pit_error *e = check(&o, pool);
    if (e != NULL)
        return e;
    *ret = (struct dossier_rules){.enabled = o.enabled != PIT_OFF, .native_stack = o.native_stack != PIT_OFF};
    ret->max_bytes = o.max_bytes == PIT_NONE ? 0 : o.max_bytes != 0 ? (uint64_t)o.max_bytes : USUAL_MIB * UINT64_C(1048576);
    ret->dir = o.dir != NULL ? settings_absolute(os, o.dir) : NULL;
    if (o.dir != NULL && ret->dir == NULL)
        return error_new(PIT_E_ALLOCATION_FAILED, "out of memory while the options were read");
    return NULL;
}
