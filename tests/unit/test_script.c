/* Script mode: the whole table of who says how to exit. */
#include <setjmp.h>
#include <snakepit/runtime.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/script.h"

#define NO NULL

/* What a source says, and the mode that it means; NULL: it says nothing. */
struct said {
    const char *text;
    int mode;
    bool bad;
};

static const struct said exits[] = {{NO, 0, false},
                                    {"", 0, false},
                                    {" \t", 0, false},
                                    {"none", PIT_SCRIPT_EXIT_NONE, false},
                                    {"halt", PIT_SCRIPT_EXIT_HALT, false},
                                    {" Stop\n", PIT_SCRIPT_EXIT_STOP, false},
                                    {"AUTO", PIT_SCRIPT_EXIT_AUTO, false},
                                    {"halted", 0, true},
                                    {"no ne", 0, true},
                                    {"2", 0, true}};

static const struct said halts[] = {{NO, 0, false},
                                    {"", 0, false},
                                    {"true", PIT_SCRIPT_EXIT_HALT, false},
                                    {" TRUE ", PIT_SCRIPT_EXIT_HALT, false},
                                    {"1", PIT_SCRIPT_EXIT_HALT, false},
                                    {"yes", PIT_SCRIPT_EXIT_HALT, false},
                                    {"On", PIT_SCRIPT_EXIT_HALT, false},
                                    {"false", 0, false},
                                    {"0", 0, false},
                                    {"no", 0, false},
                                    {"off", 0, false},
                                    {"maybe", 0, true},
                                    {"truely", 0, true}};

/* option > halt > SNAKEPIT_SCRIPT_EXIT > SNAKEPIT_SCRIPT_HALT > none; each line of what is expected stands for one step. */
static int expected(int option, int halt, const struct said *exit, const struct said *halts_env, bool opened)
{
    bool halt_asked = halt == PIT_ON || halts_env->mode != 0;
    int mode = option;
    if (mode == 0 && halt == PIT_ON)
        mode = PIT_SCRIPT_EXIT_HALT;
    if (mode == 0)
        mode = exit->mode;
    if (mode == 0)
        mode = halts_env->mode;
    if (mode == 0)
        mode = PIT_SCRIPT_EXIT_NONE;
    if (mode == PIT_SCRIPT_EXIT_AUTO)
        mode = opened && !halt_asked ? PIT_SCRIPT_EXIT_STOP : PIT_SCRIPT_EXIT_NONE;
    return mode;
}

static void test_every_combination(void **state)
{
    (void)state;
    unsigned n = 0;
    for (int option = 0; option <= PIT_SCRIPT_EXIT_AUTO; option++)
        for (int halt = PIT_OFF; halt <= PIT_ON; halt++)
            for (size_t e = 0; e < sizeof exits / sizeof exits[0]; e++)
                for (size_t h = 0; h < sizeof halts / sizeof halts[0]; h++)
                    for (int opened = 0; opened < 2; opened++, n++) {
                        const struct script_sources s = {option, halt, exits[e].text, halts[h].text};
                        struct script_choice c = script_choose(&s, opened != 0);
                        int wanted = expected(option, halt, &exits[e], &halts[h], opened != 0);
                        if (c.exit_mode != wanted || c.bad_exit != exits[e].bad || c.bad_halt != halts[h].bad)
                            fail_msg("option %d, halt %d, SNAKEPIT_SCRIPT_EXIT '%s', SNAKEPIT_SCRIPT_HALT '%s', %s: %s, not %s",
                                     option, halt, exits[e].text, halts[h].text, opened ? "opened here" : "given",
                                     script_exit_name(c.exit_mode), script_exit_name(wanted));
                    }
    assert_int_equal(n, 5 * 3 * 10 * 13 * 2);
}

/* The rows that people ask about, spelt out. */
static void test_the_rows_of_the_manual(void **state)
{
    (void)state;
    static const struct {
        struct script_sources s;
        bool opened;
        int mode;
    } rows[] = {
        {{0, 0, NO, NO}, true, PIT_SCRIPT_EXIT_NONE},
        {{0, 0, NO, "true"}, true, PIT_SCRIPT_EXIT_HALT},
        {{0, 0, "stop", "true"}, true, PIT_SCRIPT_EXIT_STOP},
        {{0, 0, "bogus", "true"}, true, PIT_SCRIPT_EXIT_HALT},
        {{0, 0, "bogus", "bogus"}, true, PIT_SCRIPT_EXIT_NONE},
        {{0, PIT_ON, "stop", NO}, true, PIT_SCRIPT_EXIT_HALT},
        {{0, PIT_OFF, "stop", NO}, true, PIT_SCRIPT_EXIT_STOP},
        {{PIT_SCRIPT_EXIT_NONE, PIT_ON, "stop", "true"}, true, PIT_SCRIPT_EXIT_NONE},
        {{PIT_SCRIPT_EXIT_AUTO, 0, NO, NO}, true, PIT_SCRIPT_EXIT_STOP},
        {{PIT_SCRIPT_EXIT_AUTO, 0, NO, NO}, false, PIT_SCRIPT_EXIT_NONE},
        {{PIT_SCRIPT_EXIT_AUTO, PIT_ON, NO, NO}, true, PIT_SCRIPT_EXIT_NONE},
        {{0, 0, "auto", "true"}, true, PIT_SCRIPT_EXIT_NONE},
        {{0, 0, "auto", "false"}, true, PIT_SCRIPT_EXIT_STOP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(script_choose(&rows[i].s, rows[i].opened).exit_mode, rows[i].mode);
}

static void test_who_closes_the_host(void **state)
{
    (void)state;
    static const struct {
        int mode;
        bool opened, stops;
    } rows[] = {
        {PIT_SCRIPT_STOP_IF_STARTED, true, true}, {PIT_SCRIPT_STOP_IF_STARTED, false, false},
        {PIT_SCRIPT_STOP_ALWAYS, true, true},     {PIT_SCRIPT_STOP_ALWAYS, false, true},
        {PIT_SCRIPT_STOP_NEVER, true, false},     {PIT_SCRIPT_STOP_NEVER, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(script_stops(rows[i].mode, rows[i].opened), rows[i].stops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_the_rows_of_the_manual),
        cmocka_unit_test(test_who_closes_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
