/* See script.h. */
#include "api/script.h"

#include <snakepit/runtime.h>
#include <string.h>
#include <strings.h>

static const char *const exit_names[] = {"", "none", "halt", "stop", "auto"};
static const char *const stop_names[] = {"", "if_started", "always", "never"};

const char *script_exit_name(int mode)
{
    return exit_names[mode];
}

const char *script_stop_name(int mode)
{
    return stop_names[mode];
}

/* Which of the n names, without regard to case and to blanks around it; 0: it says nothing, -1: no name. */
static int find(const char *text, const char *const *names, int n)
{
    static const char blanks[] = " \t\r\n\v\f";
    if (text == NULL)
        return 0;
    text += strspn(text, blanks);
    size_t len = strlen(text);
    while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
        len--;
    if (len == 0)
        return 0;
    for (int i = 0; i < n; i++)
        if (strlen(names[i]) == len && strncasecmp(names[i], text, len) == 0)
            return i + 1;
    return -1;
}

struct script_choice script_choose(const struct script_sources *s, bool opened)
{
    static const char *const yes_no[] = {"true", "1", "yes", "on", "false", "0", "no", "off"};
    int from_exit = find(s->env_exit, exit_names + 1, PIT_SCRIPT_EXIT_AUTO), from_halt = find(s->env_halt, yes_no, 8);
    struct script_choice c = {.bad_exit = from_exit < 0, .bad_halt = from_halt < 0};
    bool env_halts = from_halt >= 1 && from_halt <= 4;
    if (s->exit_mode != 0)
        c.exit_mode = s->exit_mode;
    else if (s->halt == PIT_ON)
        c.exit_mode = PIT_SCRIPT_EXIT_HALT;
    else if (from_exit > 0)
        c.exit_mode = from_exit;
    else
        c.exit_mode = env_halts ? PIT_SCRIPT_EXIT_HALT : PIT_SCRIPT_EXIT_NONE;
    if (c.exit_mode == PIT_SCRIPT_EXIT_AUTO)
        c.exit_mode = opened && s->halt != PIT_ON && !env_halts ? PIT_SCRIPT_EXIT_STOP : PIT_SCRIPT_EXIT_NONE;
    return c;
}

bool script_stops(int stop_mode, bool opened)
{
    return stop_mode == PIT_SCRIPT_STOP_ALWAYS || (stop_mode != PIT_SCRIPT_STOP_NEVER && opened);
}
