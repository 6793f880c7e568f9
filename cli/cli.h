/* The program snakepit: what its commands share.
 *
 * Invariants:
 *  1. stdout carries results and nothing else; everything said about an error goes to stderr, with -o json as one JSON document.
 *  2. A command returns its exit code; only main() leaves the program, after the result has really been written.
 *  3. The program sees the library through <snakepit/...> only and runs it on its own thread (PIT_DRIVE_HOST), so that a signal, a
 *     deadline and an answer are all looked at in one poll(). */
#ifndef SNAKEPIT_CLI_H
#define SNAKEPIT_CLI_H

#include <snakepit/snakepit.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>

/* The commands, in the order in which help lists them. */
#define CLI_COMMAND_LIST(X) X(call) X(tools) X(gen) X(crash) X(blackbox) X(worker) X(worker_check) X(doctor) X(bench) X(help)

enum exit_code {
    EXIT_OK = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_DEADLINE = 124,
    EXIT_SIGNAL = 128 /* plus the signal's number */
};

struct command;

/* What the global options and the start of the program say. */
struct cli {
    const struct command *command; /* the one that runs; NULL before it is known */
    bool json;                     /* -o json */
    bool no_color;                 /* --no-color, or NO_COLOR in the environment */
    bool help, version;
    rlim_t nofile_before; /* the soft limit of open files that the program was started with */
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_COUNT, OPTION_DURATION, OPTION_FORMAT };

/* One option; its value is written at offset in the options struct of its set: bool, const char *, int, int64_t (ms), bool (json). */
struct option_def {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    const char *value_name; /* NULL for a flag */
    const char *help;
    size_t offset;
};

struct option_set {
    const struct option_def *defs;
    size_t n;
    void *base;
};

struct command {
    const char *name;
    const char *arguments; /* as in the usage line */
    const char *summary;   /* one line */
    const char *text;      /* further lines of its help; may be NULL */
    const struct option_def *options;
    size_t n_options;
    bool raw;                                           /* it reads all of its arguments itself */
    int (*run)(struct cli *cli, int argc, char **argv); /* argv: what follows the command's name */
};

#define CLI_DECLARE_COMMAND(name) extern const struct command cmd_##name;
CLI_COMMAND_LIST(CLI_DECLARE_COMMAND)
#undef CLI_DECLARE_COMMAND

/* ---- main.c ---- */

extern const struct command *const cli_commands[];
extern const size_t cli_n_commands;

const struct command *command_find(const char *name); /* NULL: there is none */
int command_unknown(const struct cli *cli, const char *name);

/* ---- cmd_help.c ---- */

int help_program(FILE *to);
int help_command(const struct command *command);
int help_version(const struct cli *cli);

/* ---- options.c ---- */

extern const struct option_def cli_global_options[];
extern const size_t cli_n_global_options;

#define OPTIONS_STOP_AT_POSITIONAL 1

struct arguments {
    char **items; /* the positional ones; an array of the caller with room for as many as argv has */
    int n;
    int consumed; /* how much of argv was read */
};

/* Reads argv by the sets; 0, or EXIT_USAGE after having said what is wrong. */
int options_parse(struct cli *cli, const struct option_set *sets, size_t n_sets, int argc, char **argv, int flags,
                  struct arguments *ret);
/* The global options and the command's own, written to base. false: the command is over, with *ret_code (bad usage, or help). */
bool options_parse_command(struct cli *cli, void *base, int argc, char **argv, struct arguments *ret, int *ret_code);
/* Sets cli->json before anything is parsed, so that also what is wrong left of "-o json" is said as JSON. */
void options_look_for_format(struct cli *cli, int argc, char **argv);
/* "1.5s" -> 1500; units us, ms, s, m, h, d. NULL, or what is wrong with the text. */
const char *duration_parse(const char *text, int64_t *ret_ms);

/* ---- nearest.c ---- */

/* The candidate that text was probably meant to be; NULL when none is near. */
const char *nearest_name(const char *text, const char *const *candidates, size_t n);

/* ---- output.c ---- */

/* Before anything else: no descriptor that the program opens may become a standard stream that was closed. */
void streams_secure(void);
/* Flushes and closes stdout; code, or EXIT_ERROR when something that was printed did not arrive. */
int streams_finish(const struct cli *cli, int code);
bool streams_failed(void); /* has something not arrived? */
void streams_flush(void);  /* what is printed so far goes out now; a failure is reported at the end */
bool stream_is_terminal(FILE *stream);
/* Controls, and what turns the direction of writing round, or is not seen. */
bool is_obeyed(unsigned character);
/* Prints a text that a worker may have made; for a terminal what it would obey is escaped, but newlines and tabs. */
void print_text(FILE *stream, const char *text);
bool stream_has_color(const struct cli *cli, FILE *stream);
/* Prints an error that the program found itself, as the PIT_E_* rc; hint (may be NULL) is what to do about it. Returns exit_code. */
int report(const struct cli *cli, int exit_code, int rc, const char *hint, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for bad arguments: EXIT_USAGE and a pointer to the help. */
int report_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints an error of the library (consumed) and returns the exit code that belongs to it. err may be NULL: rc says it then. */
int report_error(const struct cli *cli, int rc, pit_error *err);
/* One JSON document and a newline on stdout; v is borrowed. */
int print_value(const struct cli *cli, const pit_value *v);
int print_line(const struct cli *cli, const pit_value *v); /* the same, never in several lines */

/* ---- interrupt.c ---- */

/* SIGINT, SIGTERM and SIGHUP as a descriptor, those aside that the program was started to ignore. */
struct interrupt {
    int fd;
    int signal; /* the one that came, 0: none yet */
};

int interrupt_open(struct interrupt *in); /* 0 or -1 with errno */
/* Reads the descriptor; in->signal. From the first signal on the next one ends the program in the usual way at once. */
int interrupt_check(struct interrupt *in);
void interrupt_close(struct interrupt *in);
const char *interrupt_name(int signal);

/* ---- input.c ---- */

/* All of stdin (owned, freed with free()). 0, EXIT_* after having said what went wrong. deadline_ns 0: none. */
int input_read(const struct cli *cli, struct interrupt *in, uint64_t deadline_ns, char **ret, size_t *ret_n);

/* ---- python.c ---- */

struct python_choice {
    char path[4096];
    const char *why;
};

/* Which interpreter a pool of the program runs; false when there is none. option (may be NULL) is --python. */
bool python_find(const char *option, struct python_choice *ret);

/* ---- stream_print.c ---- */

/* A pit_stream_fn that prints; user is a struct stream_print. */
struct stream_print {
    const struct cli *cli;
    int code;        /* EXIT_OK, or of what could not be printed, which has been reported */
    pit_value *last; /* the last line, until the end has come */
};
int stream_print(pit_stream_event *ev, void *user);

/* ---- own_pool.c ---- */

struct own_pool_options {
    const char *name; /* NULL: "default" */
    const char *adapter;
    const char *const *command; /* instead of it */
    const char *python;         /* NULL: the library looks for it */
    const char *const *env;     /* "NAME=value", NULL-terminated; may be NULL */
    int workers;                /* 0: one */
    int start_mode;             /* PIT_START_*; 0: by exec, for a template would come too late */
    bool verbose;               /* the library's log and events on stderr */
    bool tell_losses;           /* without them: a dossier that could not be kept */
    pit_log_fn log;             /* instead: who hears the log, from information on; NULL: nobody */
    void *log_user;
};

/* A pool for the length of one command. */
struct own_pool {
    pit *p;
    struct interrupt *in; /* borrowed */
    uint64_t opened_ns;
};

/* Opens it and returns at once, its workers starting; pool stays where it is until it is closed. 0 or PIT_E_*. */
int own_pool_open(struct own_pool *pool, const struct own_pool_options *o, struct interrupt *in, pit_error **reterr);
/* Waits until a worker is ready; a start that fails ends it with the cause. PIT_E_CANCELLED after a signal (in->signal). */
int own_pool_await(struct own_pool *pool, uint64_t deadline_ns, pit_error **reterr);
/* One call, the wait for the first worker included. As above. */
int own_pool_call(struct own_pool *pool, const char *command, const pit_value *args, const pit_call_options *o, pit_value **ret,
                  pit_error **reterr);
/* Ends the workers. 0 or PIT_E_CLEANUP_TIMEOUT. Safe on a pool that was never opened (all zero). */
/* The same of a stream: what it gives goes to fn. */
int own_pool_stream(struct own_pool *pool, const char *command, const pit_value *args, const pit_call_options *o,
                    pit_stream_fn fn, void *user, pit_error **reterr);
int own_pool_close(struct own_pool *pool);

#endif
