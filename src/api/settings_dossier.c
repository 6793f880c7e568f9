/* The options for what is found out about deaths: checks and defaults. */
#include "api/api.h"

pit_error *dossier_settings_read(const pit_dossier_options *given, const char *pool, struct dossier_rules *ret)
{
    pit_dossier_options o = PIT_DOSSIER_OPTIONS_INIT;
    int rc = given != NULL ? options_copy(&o, sizeof o, given) : 0;
    if (rc != 0)
        return options_refused(rc, "a dossier", "PIT_DOSSIER_OPTIONS_INIT");
    if (o.enabled < PIT_OFF || o.enabled > PIT_ON || o.native_stack < PIT_OFF || o.native_stack > PIT_ON)
        return error_new(PIT_E_INVALID_PARAMETER, "pool %s: dossier.%s is PIT_ON, PIT_OFF or 0", pool,
                         o.enabled < PIT_OFF || o.enabled > PIT_ON ? "enabled" : "native_stack");
    *ret = (struct dossier_rules){.enabled = o.enabled != PIT_OFF, .native_stack = o.native_stack != PIT_OFF};
    return NULL;
}
