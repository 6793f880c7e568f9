/* The checks that need a worker: a pool is opened with a tiny adapter from a temporary folder, called, and closed.
 *
 * Failure modes: without a place for the folder there is one failed row and no worker is started. The folder goes away also when the
 * command is interrupted; only SIGKILL leaves it. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { START_S = 30, ROUNDS = 101 };

static const char probe_text[] =
    "import os\n"
    "import sysconfig\n"
    "\n"
    "\n"
    "class Probe:\n"
    "    def facts(self):\n"
    "        import snakepit_bridge\n"
    "        folder = os.path.dirname(snakepit_bridge.__file__)\n"
    "        suffix = sysconfig.get_config_var('EXT_SUFFIX') or '.so'\n"
    "        there = sorted(name for name in os.listdir(folder) if name.startswith('_snakepit.') and name.endswith('.so'))\n"
    "        path = reason = None\n"
    "        off = os.environ.get('SNAKEPIT_NO_EXTENSION', '') not in ('', '0')\n"
    "        try:\n"
    "            from snakepit_bridge import _snakepit as extension\n"
    "            path = extension.__file__\n"
    "        except ImportError as error:\n"
    "            reason = str(error)\n"
    "            if '_snakepit' + suffix not in there:\n"
    "                reason = 'there is none for this Python (_snakepit' + suffix + ')'\n"
    "                if there:\n"
    "                    reason += ', only ' + ', '.join(there)\n"
    "        if off:\n"
    "            path, reason = None, 'switched off by SNAKEPIT_NO_EXTENSION'\n"
    "        return {'package': folder, 'extension': path, 'reason': reason, 'off': off}\n"
    "\n"
    "    def echo(self, value):\n"
    "        return value\n";

struct probe {
    char folder[128], file[160];
};

static bool probe_write(struct doctor *d, struct probe *probe)
{
    const char *tmp = getenv("TMPDIR");

    if (tmp == NULL || tmp[0] != '/' || strlen(tmp) > 80)
        tmp = "/tmp";
    (void)snprintf(probe->folder, sizeof probe->folder, "%s/snakepit-doctor-XXXXXX", tmp);
    if (mkdtemp(probe->folder) == NULL) {
        doctor_row(d, STATUS_FAIL, "worker", "point TMPDIR to a folder that can be written",
                   "no temporary folder for the adapter of this check in %s: %s", tmp, strerror(errno));
        return false;
    }
    (void)snprintf(probe->file, sizeof probe->file, "%s/probe.py", probe->folder);
    int fd = open(probe->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, probe_text, sizeof probe_text - 1) == (ssize_t)sizeof probe_text - 1;
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (!ok)
        doctor_row(d, STATUS_FAIL, "worker", "free some space, or point TMPDIR elsewhere", "%s cannot be written: %s",
                   probe->file, strerror(errno));
    return ok;
}

static void probe_remove(const struct probe *probe)
{
    (void)unlink(probe->file);
    (void)rmdir(probe->folder);
}

/* The innermost error is the one that says what happened. */
static const pit_error *root_cause(const pit_error *err)
{
    while (pit_error_cause(err) != NULL)
        err = pit_error_cause(err);
    return err;
}

static void row_failed(struct doctor *d, const char *name, int rc, const pit_error *err)
{
    const pit_error *cause = root_cause(err);
    const pit_value *hints = pit_error_suggestions(cause);
    const char *said = pit_value_str_or(pit_value_get(pit_error_details(cause), "stderr"), "");
    const char *message = cause != NULL ? pit_error_message(cause) : pit_strerror(rc);
    const char *remedy = pit_value_str_or(pit_value_at(hints, 0), "snakepit call COMMAND --adapter X -v shows each step");

    if (rc == PIT_E_CANCELLED && d->in->signal != 0)
        return;
    if (strstr(said, "No module named") != NULL && strstr(said, "snakepit_bridge") != NULL)
        doctor_row(d, STATUS_FAIL, "package",
                   "./dev build in the source tree, or SNAKEPIT_PYTHON_PACKAGE=folder, or pip install snakepit_bridge",
                   "this Python does not find snakepit_bridge");
    else
        doctor_row(d, STATUS_FAIL, name, remedy, "%s: %s%s%s", pit_error_code_name(rc), message,
                   *said != '\0' ? "; the worker said: " : "", said);
}

/* The guard is the parent of every worker: its program is read from there. */
static bool guard_of(pid_t worker, char path[PATH_MAX])
{
    char name[64], stat_line[512];
    long parent = 0;

    (void)snprintf(name, sizeof name, "/proc/%ld/stat", (long)worker);
    FILE *f = fopen(name, "re");
    if (f == NULL)
        return false;
    size_t n = fread(stat_line, 1, sizeof stat_line - 1, f);
    (void)fclose(f);
    stat_line[n] = '\0';
    const char *after_name = strrchr(stat_line, ')'); /* ") S PPID": the name before may contain anything */
    if (after_name == NULL || strlen(after_name) < 5)
        return false;
    parent = strtol(after_name + 4, NULL, 10);
    (void)snprintf(name, sizeof name, "/proc/%ld/exe", parent);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static void row_guard(struct doctor *d, const pit_worker_info *worker)
{
    static const char prefix[] = "snakepit-guard ";
    char path[PATH_MAX], said[64];
    const char *const argv[] = {path, "--version", NULL};

    if (worker == NULL || !guard_of(worker->pid, path)) {
        doctor_row(d, STATUS_OK, "guard", NULL, "it runs");
        return;
    }
    bool told = doctor_run(d, argv, said, sizeof said) == 0 && strncmp(said, prefix, strlen(prefix)) == 0;
    said[strcspn(said, "\n")] = '\0';
    const char *version = told ? said + strlen(prefix) : "?";
    if (strcmp(version, pit_version()) == 0)
        doctor_row(d, STATUS_OK, "guard", NULL, "%s", path);
    else
        doctor_row(d, STATUS_WARN, "guard", "install library and guard of one version; is SNAKEPIT_GUARD set?",
                   "%s is of version %s, and this library of %s", path, version, pit_version());
}

static void row_extension(struct doctor *d, const pit_value *facts, const pit_worker_info *worker)
{
    static const char build_it[] =
        "with this Python: python/build_ext.py of the source, --out FOLDER (it needs its headers and a C compiler); "
        "or pip install snakepit_bridge, and SNAKEPIT_PYTHON_PACKAGE=FOLDER; FOLDER is what holds snakepit_bridge";
    const char *channel = worker != NULL && worker->channel != NULL ? worker->channel : "?";
    const char *path = pit_value_str(pit_value_get(facts, "extension"));
    bool off = false;

    (void)pit_value_get_bool(pit_value_get(facts, "off"), &off);
    if (path != NULL && strcmp(channel, "ring") == 0)
        doctor_row(d, STATUS_OK, "extension", NULL, "%s; calls go through shared memory", path);
    else
        doctor_row(d, STATUS_WARN, "extension", off ? "unset SNAKEPIT_NO_EXTENSION" : build_it,
                   "%s; pure Python over a socket does the work, several times slower",
                   path != NULL ? "it is there, but was not used"
                                : pit_value_str_or(pit_value_get(facts, "reason"), "it is missing"));
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Every answer must be what was sent. */
static void row_call(struct doctor *d, struct own_pool *pool)
{
    uint64_t times[ROUNDS];
    pit_call_options co = PIT_CALL_OPTIONS_INIT;
    pit_error *err = NULL;

    co.timeout_ms = START_S * 1000;
    for (unsigned i = 0; i < ROUNDS; i++) {
        pit_value *back = NULL;
        pit_value *sent =
            pit_pack("[{s:u,s:s,s:y,s:[b,n,f]}]", "n", i, "text", "sn\xc3\xa4ke", "bytes", "\0\xff", (size_t)2, "list", 1, 0.5);
        uint64_t begin = pit_now_ns();
        int rc = own_pool_call(pool, "echo", sent, &co, &back, &err);
        times[i] = pit_now_ns() - begin;
        bool same = rc == 0 && pit_value_equal(back, pit_value_at(sent, 0));
        pit_value_free(sent);
        pit_value_free(back);
        if (rc != 0)
            row_failed(d, "call", rc, err);
        else if (!same)
            doctor_row(d, STATUS_FAIL, "call", "report this with the output of this command",
                       "an answer differs from what was sent");
        pit_error_free(err);
        err = NULL;
        if (!same)
            return;
    }
    qsort(times, ROUNDS, sizeof times[0], compare);
    uint64_t median_ns = times[ROUNDS / 2];
    doctor_row(d, STATUS_OK, "call", NULL, "%d calls answered rightly, half of them within %.0f us", ROUNDS,
               (double)median_ns / 1000.0);
}

static const char kept[] = "the registry is kept in ", not_kept[] = "no registry is kept";

/* What the library says of its registry, from its log. */
static void hear_registry(int level, const char *text, void *user)
{
    struct doctor *d = user;

    (void)level;
    if (strncmp(text, kept, sizeof kept - 1) == 0 || strncmp(text, not_kept, sizeof not_kept - 1) == 0)
        (void)snprintf(d->registry, sizeof d->registry, "%s", text);
}

static void row_registry(struct doctor *d)
{
    if (strncmp(d->registry, kept, sizeof kept - 1) == 0)
        doctor_row(d, STATUS_OK, "registry", NULL, "%s", d->registry + strlen("the registry is "));
    else
        doctor_row(d, STATUS_WARN, "registry", "name a folder that this user may write: SNAKEPIT_DATA_DIR, or HOME",
                   "%s; should this program and its guard be killed together, nobody would find what they leave", d->registry);
}

static int open_pool(struct doctor *d, struct own_pool *pool, const char *adapter, int start_mode, pit_error **reterr)
{
    static const char *const env[] = {"PYTHONDONTWRITEBYTECODE=1",
                                      NULL}; /* or the temporary folder would not be empty at the end */
    struct own_pool_options o = {.name = "doctor",
                                 .adapter = adapter,
                                 .python = d->python.path,
                                 .env = env,
                                 .start_mode = start_mode,
                                 .log = hear_registry,
                                 .log_user = d};
    int rc = own_pool_open(pool, &o, d->in, reterr);

    if (rc == 0)
        rc = own_pool_await(pool, pit_now_ns() + START_S * UINT64_C(1000000000), reterr);
    return rc;
}

/* A name that the text leaves out, or "". */
static const char *named_beside(const pit_value *details, const char *key, const char *text)
{
    const char *name = pit_value_str_or(pit_value_get(details, key), "");

    return strstr(text, name) != NULL ? "" : name;
}

/* What is in the way of workers that are forked: the template is asked for and awaited. */
static void row_zygote(struct doctor *d, const char *adapter)
{
    struct own_pool pool = {.in = d->in};
    pit_error *err = NULL;
    pit_value *zygote = NULL;
    double prepare_ms = 0;
    int rc = open_pool(d, &pool, adapter, PIT_START_ZYGOTE, &err);

    if (rc == 0)
        rc = pit_pool_zygote(pool.p, NULL, &zygote, &err);
    (void)pit_value_get_number(pit_value_get(zygote, "prepare_ms"), &prepare_ms);
    const pit_value *details = pit_error_details(root_cause(err));
    const char *reason = pit_value_str(pit_value_get(details, "reason"));
    const char *text = pit_value_str_or(pit_value_get(details, "text"), "?");
    const char *library = named_beside(details, "library", text), *module = named_beside(details, "module", text);
    if (rc == 0)
        doctor_row(d, STATUS_OK, "zygote", NULL, "workers are forked from a template that was ready in %.0f ms", prepare_ms);
    else if (reason != NULL)
        doctor_row(d, STATUS_WARN, "zygote", pit_value_str(pit_value_at(pit_error_suggestions(root_cause(err)), 0)),
                   "workers cannot be forked (%s): %s%s%s%s%s; they are started by exec, and work", reason, text,
                   *library != '\0' ? "; library " : "", library, *module != '\0' ? "; module " : "", module);
    else
        row_failed(d, "zygote", rc, err);
    pit_error_free(err);
    pit_value_free(zygote);
    (void)own_pool_close(&pool);
}

/* Whether workers can be started at all. */
static bool check_worker(struct doctor *d, const struct probe *probe)
{
    struct own_pool pool = {.in = d->in};
    pit_call_options co = PIT_CALL_OPTIONS_INIT;
    pit_worker_list *list = NULL;
    pit_value *facts = NULL;
    pit_error *err = NULL;
    uint64_t begin = pit_now_ns();
    int rc = open_pool(d, &pool, probe->file, PIT_START_EXEC, &err);
    double start_ms = (double)(pit_now_ns() - begin) / 1e6;
    bool works = false;

    co.timeout_ms = START_S * 1000;
    if (rc == 0)
        rc = own_pool_call(&pool, "facts", NULL, &co, &facts, &err);
    if (rc == 0)
        rc = pit_list_workers(pool.p, NULL, &list, &err);
    if (rc != 0) {
        row_failed(d, rc == PIT_E_GUARD_UNAVAILABLE ? "guard" : "worker", rc, err);
    } else {
        const pit_worker_info *worker = pit_worker_list_at(list, 0);
        row_guard(d, worker);
        doctor_row(d, STATUS_OK, "worker", NULL, "started in %.0f ms", start_ms);
        row_registry(d);
        doctor_row(d, STATUS_OK, "package", NULL, "%s", pit_value_str_or(pit_value_get(facts, "package"), "?"));
        row_extension(d, facts, worker);
        row_call(d, &pool);
        works = true;
    }
    pit_error_free(err);
    pit_worker_list_free(list);
    pit_value_free(facts);
    rc = own_pool_close(&pool);
    if (rc != 0)
        doctor_row(d, STATUS_FAIL, "close", "report this with the output of this command", "%s", pit_strerror(rc));
    return works;
}

static bool check_adapter(struct doctor *d)
{
    struct own_pool pool = {.in = d->in};
    pit_error *err = NULL;
    uint64_t begin = pit_now_ns();
    int rc = open_pool(d, &pool, d->adapter, PIT_START_EXEC, &err);

    if (rc == 0)
        doctor_row(d, STATUS_OK, "adapter", NULL, "%s was ready in %.0f ms", d->adapter, (double)(pit_now_ns() - begin) / 1e6);
    else
        row_failed(d, "adapter", rc, err);
    pit_error_free(err);
    (void)own_pool_close(&pool);
    return rc == 0;
}

void doctor_worker(struct doctor *d)
{
    struct probe probe;
    bool works = probe_write(d, &probe) && check_worker(d, &probe);

    if (works && d->adapter == NULL && d->in->signal == 0)
        row_zygote(d, probe.file);
    probe_remove(&probe);
    if (d->adapter != NULL && d->in->signal == 0 && check_adapter(d) && d->in->signal == 0)
        row_zygote(d, d->adapter);
}
