/* See interpreter.h. Failure modes: no such file, not executable, exits badly, prints nonsense, hangs: invalid_python with what it
 * printed on stderr; older than 3.9: python_too_old. */
#include "pool/interpreter.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/units.h"
#include "pool/host.h"

enum { PROBE_TIMEOUT_MS = 20000, OUTPUT = 4096, OLDEST_MINOR = 9 };

/* Runs on anything from Python 2.7 on, so that an old one can say how old it is. */
static const char probe_code[] =
    "import sys\n"
    "v = sys.version_info\n"
    "sys.stdout.write('%s\\n%d.%d.%d\\n%s\\n' % (sys.executable, v[0], v[1], v[2], sys.platform))\n"
    "try:\n"
    "    import hashlib\n"
    "    with open(sys.executable, 'rb') as f:\n"
    "        sys.stdout.write(hashlib.sha256(f.read()).hexdigest() + '\\n')\n"
    "except Exception:\n" /* a build without hashes, a file that may be run and not read */
    "    pass\n";

/* ---- finding ---- */

static bool runnable(const struct os_ops *os, const char *path)
{
    return os->access(path, X_OK) == 0;
}

static char *join(const char *folder, size_t n, const char *name)
{
    struct buf b = {0};
    buf_append(&b, folder, n);
    buf_putc(&b, '/');
    buf_puts(&b, name);
    char *path = buf_take_str(&b);
    buf_finish(&b);
    return path;
}

static char *search_path(const struct os_ops *os, const char *path, const char *name)
{
    while (path != NULL && *path != '\0') {
        size_t n = strcspn(path, ":");
        char *candidate = n != 0 ? join(path, n, name) : NULL;
        if (candidate != NULL && runnable(os, candidate))
            return candidate;
        mem_free(candidate);
        path += n + (path[n] == ':');
    }
    return NULL;
}

static char *not_usable(const struct os_ops *os, const char *python, pit_error **ret_error)
{
    const char *why = strchr(python, '/') == NULL     ? "is not on the PATH"
                      : os->access(python, F_OK) == 0 ? "is not executable"
                                                      : "does not exist";
    *ret_error = error_new(PIT_E_INVALID_PYTHON, "the interpreter %s %s", python, why);
    error_suggest(*ret_error, "check the option `python`, or SNAKEPIT_PYTHON");
    return NULL;
}

char *interpreter_find(const struct os_ops *os, const char *python, const char *virtual_env, const char *path,
                       pit_error **ret_error)
{
    *ret_error = NULL;
    if (python != NULL && strchr(python, '/') != NULL)
        return runnable(os, python) ? mem_strdup(python) : not_usable(os, python, ret_error);
    if (python != NULL) {
        char *found = search_path(os, path, python);
        return found != NULL ? found : not_usable(os, python, ret_error);
    }
    if (virtual_env != NULL && *virtual_env != '\0') {
        char *candidate = join(virtual_env, strlen(virtual_env), "bin/python");
        if (candidate != NULL && runnable(os, candidate))
            return candidate;
        mem_free(candidate);
    }
    char *found = search_path(os, path, "python3");
    if (found == NULL)
        found = search_path(os, path, "python");
    if (found == NULL) {
        *ret_error = error_new(PIT_E_PYTHON_NOT_FOUND, "no python3 on the PATH, no virtual environment, and none was named");
        error_suggest(*ret_error, "install python3, or set the option `python` or SNAKEPIT_PYTHON");
    }
    return found;
}

/* ---- asking ---- */

static void finish(struct interpreter *i)
{
    if (i->known)
        return;
    i->known = true;
    loop_timer_stop(i->host->loop, &i->timer);
    capture_close(&i->out);
    capture_close(&i->err);
    struct list *node;
    while ((node = list_pop_front(&i->waiting)) != NULL) {
        struct interpreter_wait *w = LIST_ENTRY(node, struct interpreter_wait, node);
        w->fn(w, i);
    }
}

static void fail(struct interpreter *i, int code, const char *what)
{
    char tail[OUTPUT];
    size_t n = capture_tail(&i->err, tail, sizeof tail);
    i->error = error_new(code, "the interpreter %s %s", i->asked, what);
    bool ended_well = i->how.code == 0 || (i->how.code == CLD_EXITED && i->how.status == 0);
    if (!ended_well || n != 0)
        exit_describe(i->error, exit_classify(i->how, false), i->how,
                      (struct exit_printed){tail, n, capture_is_cut(&i->err, n)});
    error_suggest(i->error, "check the option `python`, or SNAKEPIT_PYTHON: it must be a CPython of version 3.9 or later");
    finish(i);
}

static char *take_line(char **text)
{
    char *line = *text, *end = strchr(line, '\n');
    if (end == NULL)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return line;
}

static bool is_sha256(const char *text)
{
    return strspn(text, "0123456789abcdef") == SHA256_HEX && text[SHA256_HEX] == '\0';
}

static void read_answer(struct interpreter *i)
{
    char text[OUTPUT + 1];
    size_t n = capture_tail(&i->out, text, OUTPUT);
    text[n] = '\0';
    char *rest = text;
    char *executable = take_line(&rest), *version = executable != NULL ? take_line(&rest) : NULL;
    char *platform = version != NULL ? take_line(&rest) : NULL, *hash = platform != NULL ? take_line(&rest) : NULL;
    int major = 0, minor = 0;
    if (i->how.code != CLD_EXITED || i->how.status != 0 || platform == NULL || sscanf(version, "%d.%d", &major, &minor) != 2) {
        fail(i, PIT_E_INVALID_PYTHON, "does not run as a Python interpreter");
        return;
    }
    snprintf(i->version, sizeof i->version, "%s", version);
    snprintf(i->platform, sizeof i->platform, "%s", platform);
    if (hash != NULL && is_sha256(hash))
        snprintf(i->hash, sizeof i->hash, "%s", hash);
    if (major < 3 || (major == 3 && minor < OLDEST_MINOR)) {
        char what[64];
        snprintf(what, sizeof what, "is Python %d.%d, older than 3.%d", major, minor, OLDEST_MINOR);
        fail(i, PIT_E_PYTHON_TOO_OLD, what);
        return;
    }
    i->executable = mem_strdup(executable[0] == '/' ? executable : i->asked);
    if (i->executable == NULL)
        fail(i, PIT_E_ALLOCATION_FAILED, "could not be remembered: out of memory");
    else
        finish(i);
}

static void on_exited(struct guard_child *c, struct guard_exit how)
{
    struct interpreter *i = LIST_ENTRY(c, struct interpreter, child);
    i->running = false;
    i->how = how;
    registry_gone(i->host->registry, (uint64_t)(uintptr_t)c, how.code != 0);
    if (i->known)
        return;
    capture_drain(&i->out);
    capture_drain(&i->err);
    read_answer(i);
}

static void on_spawned(struct guard_child *c, int error, const char *call, pid_t pid, int pidfd)
{
    struct interpreter *i = LIST_ENTRY(c, struct interpreter, child);
    i->pid = pid;
    if (pidfd >= 0)
        i->host->os->close(pidfd);
    if (error == 0) {
        registry_active(i->host->registry, (uint64_t)(uintptr_t)c, pid);
        return;
    }
    registry_gone(i->host->registry, (uint64_t)(uintptr_t)c, true);
    char what[128];
    snprintf(what, sizeof what, "cannot be run: %s: %s", call, strerror(error));
    i->running = false;
    fail(i, error == EAGAIN || error == ENOMEM ? PIT_E_SYSTEM_ERROR : PIT_E_INVALID_PYTHON, what);
}

static void on_timeout(struct loop_timer *t)
{
    struct interpreter *i = LIST_ENTRY(t, struct interpreter, timer);
    if (i->host->env.guard != NULL && i->running && i->pid > 0)
        guard_kill(i->host->env.guard, i->pid, SIGKILL);
    if (i->waits)
        fail(i, PIT_E_GUARD_UNAVAILABLE, "cannot be asked: the guard that is to run it has not come back in time");
    else
        fail(i, PIT_E_INVALID_PYTHON, "did not answer in time");
}

/* fds: what it writes to. */
static int run(struct interpreter *i, const int fds[2])
{
    struct host *h = i->host;
    const char *argv[] = {i->asked, "-E", "-s", "-S", "-c", probe_code, NULL};
    struct guard_spawn request = {.token = (uint64_t)(uintptr_t)&i->child,
                                  .argv = argv,
                                  .env = (const char *const *)h->set.environ,
                                  .worker_id = "probe/0.0",
                                  .fd_control = fds[0], /* it has nothing to say there */
                                  .fd_segment = -1,
                                  .fd_stdout = fds[0],
                                  .fd_stderr = fds[1]};
    registry_reserve(h->registry, request.token, request.worker_id);
    i->running = guard_spawn(h->env.guard, &request) == 0;
    if (!i->running)
        registry_gone(h->registry, request.token, true);
    return i->running ? 0 : -ECHILD;
}

static int spawn(struct interpreter *i)
{
    struct host *h = i->host;
    int fds[2] = {-1, -1};
    int rc = capture_open(&i->out, h->os, h->loop, &fds[0]);
    if (rc == 0)
        rc = capture_open(&i->err, h->os, h->loop, &fds[1]);
    if (rc == 0)
        rc = run(i, fds);
    for (int k = 0; k < 2; k++)
        if (fds[k] >= 0)
            h->os->close(fds[k]);
    return rc;
}

static void ask(struct interpreter *i)
{
    int rc = spawn(i);
    if (rc != 0)
        fail(i, rc == -ECHILD ? PIT_E_GUARD_UNAVAILABLE : PIT_E_SYSTEM_ERROR, strerror(-rc));
}

static struct interpreter *make(struct host *h, const char *path)
{
    struct interpreter *i = mem_zalloc(sizeof *i);
    char *asked = mem_strdup(path);
    if (i == NULL || asked == NULL) {
        mem_free(i);
        mem_free(asked);
        return NULL;
    }
    i->host = h;
    i->asked = asked;
    i->child = (struct guard_child){on_spawned, on_exited};
    i->timer.fn = on_timeout;
    list_init(&i->waiting);
    list_push_back(&h->interpreters, &i->node);
    return i;
}

void interpreter_ask(struct host *h, const char *path, struct interpreter_wait *w)
{
    struct interpreter *i = NULL;
    LIST_EACH(node, &h->interpreters)
    if (strcmp(LIST_ENTRY(node, struct interpreter, node)->asked, path) == 0)
        i = LIST_ENTRY(node, struct interpreter, node);
    bool fresh = i == NULL;
    if (fresh)
        i = make(h, path);
    if (i == NULL || i->known) {
        w->fn(w, i);
        return;
    }
    list_push_back(&i->waiting, &w->node);
    if (!fresh)
        return;
    loop_timer_set(h->loop, &i->timer, h->os->now_ns() + PROBE_TIMEOUT_MS * MS);
    i->waits = h->env.guard == NULL;
    if (!i->waits)
        ask(i);
}

void interpreter_forget_failures(struct host *h)
{
    LIST_EACH_SAFE(node, next, &h->interpreters)
    {
        struct interpreter *i = LIST_ENTRY(node, struct interpreter, node);
        if (i->known && i->error != NULL && !i->running) {
            list_remove(&i->node);
            interpreter_free(i);
        }
    }
}

void interpreters_guard_lost(struct host *h)
{
    LIST_EACH(node, &h->interpreters)
    {
        struct interpreter *i = LIST_ENTRY(node, struct interpreter, node);
        if (i->running)
            on_exited(&i->child, (struct guard_exit){0});
        else if (i->waits) /* the host ends */
            fail(i, PIT_E_GUARD_UNAVAILABLE, "has not been asked");
        i->waits = false;
    }
}

void interpreters_guard_back(struct host *h)
{
    LIST_EACH(node, &h->interpreters)
    {
        struct interpreter *i = LIST_ENTRY(node, struct interpreter, node);
        bool now = i->waits && !i->known;
        i->waits = false;
        if (now)
            ask(i);
    }
}

void interpreter_free(struct interpreter *i)
{
    capture_finish(&i->out);
    capture_finish(&i->err);
    pit_error_free(i->error);
    mem_free(i->asked);
    mem_free(i->executable);
    mem_free(i);
}
