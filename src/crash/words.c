/* Names and texts of deaths. See crash.h. */
#include <signal.h>
#include <string.h>

#include "base/buf.h"
#include "crash/crash.h"
#include "wire/mp.h"

pit_value *crash_words(const char *text, size_t n)
{
    struct buf b = {0};
    const uint8_t *p = (const uint8_t *)text;
    for (size_t i = 0; i < n;) {
        size_t len = p[i] < 0x80 ? 1 : mp_utf8_sequence(p + i, n - i);
        if (len == 0)
            buf_append(&b, "\xef\xbf\xbd", 3);
        else
            buf_append(&b, p + i, len);
        i += len != 0 ? len : 1;
    }
    pit_value *v = b.failed ? pit_nil() : pit_strn((const char *)b.data, b.len);
    buf_finish(&b);
    return v;
}

/* sigabbrev_np() is glibc's alone. */
const char *crash_signal_name(int signal)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"},
                 {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},
                 {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"}, {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
                 {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == signal)
            return names[i].name;
    return NULL;
}

bool crash_is_library(const char *file)
{
    static const char *const folders[] = {"/site-packages/", "/dist-packages/", "/snakepit_bridge/"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (strstr(file, folders[i]) != NULL)
            return true;
    const char *python = strstr(file, "/python");
    if (python == NULL || python[7] < '0' || python[7] > '9') /* .../lib/python3.11/ctypes/__init__.py */
        return file[0] == '<';
    const char *lib = python;
    while (lib > file && lib[-1] != '/')
        lib--;
    return strncmp(lib, "lib", 3) == 0;
}
