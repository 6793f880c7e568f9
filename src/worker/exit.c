/* See exit.h. */
#include "worker/exit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/redact.h"
#include "crash/crash.h"

enum exit_class exit_classify(struct guard_exit how, bool expected)
{
    if (how.code == 0)
        return EXIT_UNKNOWN;
    if (how.code == CLD_EXITED) {
        if (how.status == 0)
            return expected ? EXIT_NORMAL : EXIT_UNEXPECTED_EXIT;
        return how.status == 1 ? EXIT_PYTHON_ERROR : EXIT_EXIT_CODE;
    }
    switch (how.status) {
    case SIGSEGV:
        return EXIT_SEGFAULT;
    case SIGBUS:
        return EXIT_BUS_ERROR;
    case SIGABRT:
        return EXIT_ABORT;
    case SIGFPE:
        return EXIT_FPE;
    case SIGILL:
        return EXIT_ILLEGAL_INSTRUCTION;
    case SIGKILL:
        return expected ? EXIT_NORMAL : EXIT_KILLED;
    case SIGTERM:
        return expected ? EXIT_NORMAL : EXIT_SIGNAL;
    default:
        return EXIT_SIGNAL;
    }
}

struct guard_exit exit_from_wait(int status)
{
    if (WIFEXITED(status))
        return (struct guard_exit){.code = CLD_EXITED, .status = WEXITSTATUS(status)};
    return (struct guard_exit){.code = WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED, .status = WTERMSIG(status)};
}

static const struct {
    const char *name, *text;
} classes[] = {
#define EXIT_CLASS_ROW(constant, name, text) {#name, text},
    EXIT_CLASS_LIST(EXIT_CLASS_ROW)
#undef EXIT_CLASS_ROW
};

const char *exit_class_name(enum exit_class c)
{
    return classes[c].name;
}

const char *exit_class_text(enum exit_class c)
{
    return classes[c].text;
}

int exit_signal(struct guard_exit how)
{
    return how.code == CLD_KILLED || how.code == CLD_DUMPED ? how.status : 0;
}

int exit_shell_code(struct guard_exit how)
{
    if (how.code == 0)
        return -1;
    return how.code == CLD_EXITED ? how.status : 128 + how.status;
}

const char *exit_text(enum exit_class c, struct guard_exit how, char text[EXIT_TEXT_SIZE])
{
    const char *name = crash_signal_name(exit_signal(how));
    if (c == EXIT_EXIT_CODE)
        snprintf(text, EXIT_TEXT_SIZE, "exited with status %d", exit_shell_code(how));
    else if (c == EXIT_SIGNAL && name != NULL)
        snprintf(text, EXIT_TEXT_SIZE, "died of %s", name);
    else if (c == EXIT_SIGNAL)
        snprintf(text, EXIT_TEXT_SIZE, "died of signal %d", exit_signal(how));
    else
        return exit_class_text(c);
    return text;
}

pit_value *exit_words(struct exit_printed p)
{
    struct buf clean = {0};
    redact_end(&clean, p.text, p.n, p.is_cut);
    pit_value *words = clean.failed || clean.len == 0 ? NULL : crash_words((const char *)clean.data, clean.len);
    buf_finish(&clean);
    return words;
}

pit_error *exit_describe(pit_error *e, enum exit_class c, struct guard_exit how, struct exit_printed printed)
{
    bool ours = c == EXIT_NORMAL; /* then the error says why we ended it; the signal we chose is no news of the worker */
    if (!ours)
        error_detail_take(e, "exit_class", pit_str(exit_class_name(c)));
    if (!ours && how.code != 0)
        error_detail_take(e, "exit_code", pit_int(exit_shell_code(how)));
    int sig = ours ? 0 : exit_signal(how);
    if (sig != 0) {
        const char *name = crash_signal_name(sig);
        error_detail_take(e, "signal", name != NULL ? pit_str(name) : pit_int(sig));
    }
    pit_value *words = exit_words(printed);
    return words != NULL ? error_detail_take(e, "stderr", words) : e;
}

/* Where to look; NULL: what it wrote last says more. */
static const char *remedy_of(enum exit_class c)
{
    switch (c) {
    case EXIT_UNEXPECTED_EXIT:
    case EXIT_EXIT_CODE:
        return "something in the adapter or in a library ended the process: os._exit(), exit()";
    case EXIT_SEGFAULT:
    case EXIT_BUS_ERROR:
    case EXIT_ABORT:
    case EXIT_FPE:
    case EXIT_ILLEGAL_INSTRUCTION:
        return "with PYTHONFAULTHANDLER=1 in the pool's env, Python writes its stack to stderr when that happens again";
    case EXIT_OOM:
    case EXIT_OOM_SUSPECTED:
        return "smaller inputs, fewer workers, or more memory for them (MemoryMax= of a service, the limit of a container); "
               "memory_threshold_mb replaces workers before it comes to that";
    case EXIT_KILLED:
        return "who did it? The kernel's log names kills for want of memory (journalctl -k, dmesg); memory_threshold_mb "
               "replaces "
               "a worker before that";
    case EXIT_SIGNAL:
        return "the adapter itself, a script or a service manager sent it";
    default:
        return NULL;
    }
}

pit_error *exit_suggest(pit_error *e, enum exit_class c)
{
    const char *remedy = remedy_of(c);
    return remedy != NULL ? error_suggest(e, "%s", remedy) : e;
}

static const char *step_of(int code)
{
    switch (code) {
    case PIT_E_GUARD_LOST:
        return "try again: another guard and other workers are there soon; who has killed the guard?";
    case PIT_E_WORKER_KILLED:
        return "try again: it was ended for the sake of another call, or by pit_kill()";
    case PIT_E_WORKER_RECYCLED:
        return "try again; a longer drain_timeout_ms, if calls are long";
    case PIT_E_HEARTBEAT_TIMEOUT:
        return "code that keeps the interpreter locked? `snakepit worker stack` shows where one hangs, while it does";
    case PIT_E_PROTOCOL_ERROR:
        return "is its package of this release, and does anything else write to its descriptors?";
    default:
        return NULL;
    }
}

pit_error *exit_suggest_step(pit_error *e, int code)
{
    const char *step = step_of(code);
    return step != NULL ? error_suggest(e, "%s", step) : e;
}
