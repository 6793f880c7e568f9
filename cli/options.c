/* Options and durations.
 *
 * Accepted: --name value, --name=value, --flag, -o value, -ovalue, and "--", after which everything is positional. "-" alone and a
 * negative number are positional: no option begins with a digit. The last of several equal options counts. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const struct option_def cli_global_options[] = {
    {"output", 'o', OPTION_FORMAT, "json|text", "how results and errors are written (text)", offsetof(struct cli, json)},
    {"no-color", 0, OPTION_FLAG, NULL, "no colours; also when NO_COLOR is set", offsetof(struct cli, no_color)},
    {"help", 'h', OPTION_FLAG, NULL, "this help", offsetof(struct cli, help)},
    {"version", 0, OPTION_FLAG, NULL, "the version", offsetof(struct cli, version)},
};
const size_t cli_n_global_options = sizeof cli_global_options / sizeof cli_global_options[0];

/* ---- durations ---- */

static bool unit_find(const char *text, int64_t *ret_us)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"us", 1},
                 {"ms", 1000},
                 {"s", 1000000},
                 {"m", 60000000},
                 {"min", 60000000},
                 {"h", 3600LL * 1000000},
                 {"d", 86400LL * 1000000}};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text, units[i].name) == 0) {
            *ret_us = units[i].us;
            return true;
        }
    }
    return false;
}

#define LONGEST_US (INT64_C(36500) * 86400 * 1000000) /* a century: nanoseconds from now on still fit into 64 bits */

const char *duration_parse(const char *text, int64_t *ret_ms)
{
    static const char form[] = "a duration is a number with a unit: 500ms, 2s, 1.5m, 1h";
    static const char long_one[] = "the duration is too long";
    const char *at = text;
    int64_t whole = 0, part = 0, scale = 1, unit_us = 0, us = 0;

    if (!isdigit((unsigned char)*at))
        return form;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *at - '0', &whole))
            return long_one;
    }
    if (*at == '.') {
        if (!isdigit((unsigned char)*++at))
            return form;
        for (; isdigit((unsigned char)*at); at++) {
            if (scale < 1000000) { /* further digits are below a microsecond for every unit up to a second */
                part = part * 10 + (*at - '0');
                scale *= 10;
            }
        }
    }
    if (*at == '\0')
        return "a duration needs a unit: 500ms, 2s, 1.5m, 1h";
    if (!unit_find(at, &unit_us))
        return form;
    if (__builtin_mul_overflow(whole, unit_us, &us) || __builtin_add_overflow(us, part * unit_us / scale, &us))
        return long_one;
    if (us == 0)
        return "a duration is longer than zero";
    if (us > LONGEST_US)
        return long_one;
    *ret_ms = us / 1000 + (us % 1000 != 0);
    return NULL;
}

/* ---- options ---- */

static const struct option_def *find_in(const struct option_set *set, const char *name, size_t n, char letter)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct option_def *def = &set->defs[i];
        if (letter != 0 ? def->letter == letter : strlen(def->name) == n && memcmp(def->name, name, n) == 0)
            return def;
    }
    return NULL;
}

static const struct option_def *find(const struct option_set *sets, size_t n_sets, const char *name, size_t n, char letter,
                                     void **ret_base)
{
    for (size_t s = 0; s < n_sets; s++) {
        const struct option_def *def = find_in(&sets[s], name, n, letter);
        if (def != NULL) {
            *ret_base = sets[s].base;
            return def;
        }
    }
    return NULL;
}

static int unknown(const struct cli *cli, const struct option_set *sets, size_t n_sets, const char *argument, size_t n)
{
    const char *names[64];
    size_t n_names = 0;
    char name[64] = "";
    size_t dashes = argument[1] == '-' ? 2 : 1;

    for (size_t s = 0; s < n_sets; s++) {
        for (size_t i = 0; i < sets[s].n && n_names < 64; i++)
            names[n_names++] = sets[s].defs[i].name;
    }
    if (n > 2 && n - dashes < sizeof name)
        memcpy(name, argument + dashes, n - dashes);
    const char *near = nearest_name(name, names, n_names);
    if (near != NULL)
        return report_usage(cli, "unknown option '%.*s'; did you mean '--%s'?", (int)n, argument, near);
    return report_usage(cli, "unknown option '%.*s'", (int)n, argument);
}

static int set_count(const struct cli *cli, const struct option_def *def, int *target, const char *value)
{
    char *end = NULL;

    errno = 0;
    long n = isdigit((unsigned char)*value) ? strtol(value, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || n < 1 || n > INT_MAX)
        return report_usage(cli, "--%s: '%s' is no number of at least 1", def->name, value);
    *target = (int)n;
    return 0;
}

static int set(const struct cli *cli, const struct option_def *def, void *base, const char *value)
{
    char *target = (char *)base + def->offset;

    if (def->kind == OPTION_FLAG) {
        *(bool *)(void *)target = true;
        return 0;
    }
    if (*value == '\0')
        return report_usage(cli, "--%s needs a value that is not empty: %s", def->name, def->value_name);
    switch (def->kind) {
    case OPTION_TEXT:
        *(const char **)(void *)target = value;
        return 0;
    case OPTION_COUNT:
        return set_count(cli, def, (int *)(void *)target, value);
    case OPTION_DURATION: {
        const char *wrong = duration_parse(value, (int64_t *)(void *)target);
        return wrong == NULL ? 0 : report_usage(cli, "--%s: '%s': %s", def->name, value, wrong);
    }
    default: /* OPTION_FORMAT */
        if (strcmp(value, "json") != 0 && strcmp(value, "text") != 0)
            return report_usage(cli, "--%s is json or text, not '%s'", def->name, value);
        *(bool *)(void *)target = value[0] == 'j';
        return 0;
    }
}

/* Reads the option at argv[*at] and moves *at to its last word. */
static int parse_one(struct cli *cli, const struct option_set *sets, size_t n_sets, int argc, char **argv, int *at)
{
    const char *argument = argv[*at], *value = NULL;
    size_t n = strlen(argument);
    bool is_long = argument[1] == '-';
    void *base = NULL;
    const struct option_def *def;

    if (is_long) {
        value = strchr(argument, '=');
        if (value != NULL)
            n = (size_t)(value++ - argument);
        def = find(sets, n_sets, argument + 2, n - 2, 0, &base);
    } else {
        def = find(sets, n_sets, NULL, 0, argument[1], &base);
        if (n > 2)
            value = argument + 2;
    }
    if (def == NULL)
        return unknown(cli, sets, n_sets, argument, n);
    if (def->kind == OPTION_FLAG && value != NULL)
        return report_usage(cli, "--%s takes no value", def->name);
    if (def->kind != OPTION_FLAG && value == NULL) {
        if (*at + 1 >= argc)
            return report_usage(cli, "--%s needs a value: %s", def->name, def->value_name);
        value = argv[++*at];
    }
    return set(cli, def, base, value);
}

static bool is_positional(const char *argument)
{
    return argument[0] != '-' || argument[1] == '\0' || isdigit((unsigned char)argument[1]);
}

int options_parse(struct cli *cli, const struct option_set *sets, size_t n_sets, int argc, char **argv, int flags,
                  struct arguments *ret)
{
    bool only_positional = false;
    int i;

    ret->n = 0;
    for (i = 0; i < argc; i++) {
        if (!only_positional && strcmp(argv[i], "--") == 0) {
            only_positional = true;
        } else if (only_positional || is_positional(argv[i])) {
            if ((flags & OPTIONS_STOP_AT_POSITIONAL) != 0)
                break;
            ret->items[ret->n++] = argv[i];
        } else {
            int rc = parse_one(cli, sets, n_sets, argc, argv, &i);
            if (rc != 0)
                return rc;
        }
    }
    ret->consumed = i;
    return 0;
}

bool options_parse_command(struct cli *cli, void *base, int argc, char **argv, struct arguments *ret, int *ret_code)
{
    const struct option_set sets[] = {{cli->command->options, cli->command->n_options, base},
                                      {cli_global_options, cli_n_global_options, cli}};

    *ret_code = options_parse(cli, sets, 2, argc, argv, 0, ret);
    if (*ret_code != 0)
        return false;
    if (cli->version || cli->help) {
        *ret_code = cli->version ? help_version(cli) : help_command(cli->command);
        return false;
    }
    return true;
}

void options_look_for_format(struct cli *cli, int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool named = strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0;
        if (strcmp(argv[i], "-ojson") == 0 || strcmp(argv[i], "--output=json") == 0 ||
            (named && i + 1 < argc && strcmp(argv[i + 1], "json") == 0))
            cli->json = true;
    }
}
