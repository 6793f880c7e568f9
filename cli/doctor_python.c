/* Which interpreter a pool would run, and whether it does: it is asked to say what it is, with a time limit. */
#include "doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char question[] =
    "import json, platform, sys\n"
    "gil = getattr(sys, '_is_gil_enabled', lambda: True)()\n"
    "print(json.dumps({'executable': sys.executable, 'version': platform.python_version(), 'major': sys.version_info[0],\n"
    "    'minor': sys.version_info[1], 'implementation': platform.python_implementation(), 'gil': bool(gil),\n"
    "    'prefix': sys.prefix, 'venv': sys.prefix != sys.base_prefix}))\n";

/* What the interpreter says of itself; NULL after a row has said why not. */
static pit_value *ask(struct doctor *d)
{
    static const char remedy[] = "name a Python 3.9 or later by SNAKEPIT_PYTHON or --python";
    const char *const argv[] = {d->python.path, "-I", "-c", question, NULL};
    char answer[4096];
    pit_value *v = NULL;
    int rc = doctor_run(d, argv, answer, sizeof answer);

    if (d->in->signal != 0)
        return NULL;
    if (rc != 0 && rc != ETIMEDOUT)
        doctor_row(d, STATUS_FAIL, "python", remedy, "%s (%s) does not run: %s", d->python.path, d->python.why, strerror(rc));
    else if (rc != 0 || pit_value_parse_json(answer, strlen(answer), &v, NULL) != 0)
        doctor_row(d, STATUS_FAIL, "python", remedy, "%s (%s) %s", d->python.path, d->python.why,
                   rc != 0 ? "gave no answer in time" : "is no Python, or is broken");
    return v;
}

static void row_venv(struct doctor *d, const pit_value *v)
{
    bool venv = false;
    const char *active = getenv("VIRTUAL_ENV"), *prefix = pit_value_str_or(pit_value_get(v, "prefix"), "?");

    (void)pit_value_get_bool(pit_value_get(v, "venv"), &venv);
    if (venv && active != NULL && *active != '\0' && strcmp(active, prefix) != 0)
        doctor_row(d, STATUS_WARN, "venv", "unset SNAKEPIT_PYTHON, or activate the one that you mean",
                   "%s, but %s is the active one", prefix, active);
    else if (venv)
        doctor_row(d, STATUS_OK, "venv", NULL, "%s", prefix);
    else
        doctor_row(d, STATUS_OK, "venv", NULL, "none: the packages of %s", prefix);
}

bool doctor_python(struct doctor *d)
{
    if (!python_find(d->python_option, &d->python)) {
        doctor_row(d, STATUS_FAIL, "python", "install python3, or name one by SNAKEPIT_PYTHON", "no interpreter was found");
        return false;
    }
    pit_value *v = ask(d);
    if (v == NULL)
        return false;
    int64_t major = 0, minor = 0;
    bool gil = true;
    (void)pit_value_get_int(pit_value_get(v, "major"), &major);
    (void)pit_value_get_int(pit_value_get(v, "minor"), &minor);
    (void)pit_value_get_bool(pit_value_get(v, "gil"), &gil);
    bool good = major > 3 || (major == 3 && minor >= 9);
    doctor_row(d, good ? STATUS_OK : STATUS_FAIL, "python",
               good ? NULL : "Python 3.9 or later: name it by SNAKEPIT_PYTHON or --python", "%s (%s)", d->python.path,
               d->python.why);
    doctor_row(d, good ? STATUS_OK : STATUS_FAIL, "python_version", good ? NULL : "Python 3.9 or later", "%s %s, %s",
               pit_value_str_or(pit_value_get(v, "implementation"), "?"), pit_value_str_or(pit_value_get(v, "version"), "?"),
               gil ? "with the GIL: one lane a worker" : "without the GIL");
    row_venv(d, v);
    pit_value_free(v);
    return good;
}
