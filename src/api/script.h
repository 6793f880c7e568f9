/* Script mode: what is to happen at the end. Pure, so that a table can test it. */
#ifndef PIT_API_SCRIPT_H
#define PIT_API_SCRIPT_H

#include <stdbool.h>

/* Where it is said how to exit, the strongest first; 0 and NULL: not said. */
struct script_sources {
    int exit_mode;                   /* PIT_SCRIPT_EXIT_* */
    int halt;                        /* PIT_ON, PIT_OFF */
    const char *env_exit, *env_halt; /* SNAKEPIT_SCRIPT_EXIT, SNAKEPIT_SCRIPT_HALT */
};

struct script_choice {
    int exit_mode;
    bool bad_exit, bad_halt; /* a variable has a value that says nothing: the next source was asked */
};

/* opened: the script opened its host itself. The mode is none, halt or stop: auto is resolved. */
struct script_choice script_choose(const struct script_sources *s, bool opened);
bool script_stops(int stop_mode, bool opened);
const char *script_exit_name(int mode);
const char *script_stop_name(int mode);

#endif
