/* snakepit gen: begins an adapter: a package with a class, the work that it does, and a test that passes as it is.
 *
 * Failure modes: nothing that is there is ever written over (already_exists); when a file cannot be written, what was made is taken away again. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gen.h"

enum { NAME_MOST = 64, CLASS_ROOM = NAME_MOST + sizeof "Adapter" };

struct gen_options {
    bool threaded;
};

static const struct option_def gen_option_defs[] = {
    {"threaded", 0, OPTION_FLAG, NULL, "an adapter for several calls at a time (profile thread)",
     offsetof(struct gen_options, threaded)},
};

/* ---- names ---- */

/* Words of Python, and modules of its library, of 3.9 to 3.14: a package of the name would hide them, or be hidden. */
static const char taken[] = " "
                            "abc aifc and annotationlib antigravity argparse array as assert ast async asynchat asyncio "
                            "asyncore atexit audioop await base64 bdb binascii binhex bisect break builtins bz2 cProfile "
                            "calendar cgi cgitb chunk class cmath cmd code codecs codeop collections colorsys compileall "
                            "compression concurrent configparser contextlib contextvars continue copy copyreg crypt csv "
                            "ctypes curses dataclasses datetime dbm decimal def del difflib dis distutils doctest elif else "
                            "email encodings ensurepip enum errno except faulthandler fcntl filecmp fileinput finally fnmatch "
                            "for formatter fractions from ftplib functools gc genericpath getopt getpass gettext glob global "
                            "graphlib grp gzip hashlib heapq hmac html http idlelib if imaplib imghdr imp import importlib in "
                            "inspect io ipaddress is itertools json keyword lambda lib2to3 linecache locale logging lzma "
                            "macpath mailbox mailcap marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing "
                            "netrc nis nntplib nonlocal not nt ntpath nturl2path numbers opcode operator optparse or os "
                            "ossaudiodev parser pass pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib "
                            "posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue "
                            "quopri raise random re readline reprlib resource return rlcompleter runpy sched secrets select "
                            "selectors shelve shlex shutil signal site smtpd smtplib snakepit snakepit_bridge sndhdr socket "
                            "socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string "
                            "stringprep struct subprocess sunau symbol symtable sys sysconfig syslog tabnanny tarfile "
                            "telnetlib tempfile termios textwrap this threading time timeit tkinter token tokenize tomllib "
                            "trace traceback tracemalloc try tty turtle turtledemo types typing unicodedata unittest urllib "
                            "uu uuid venv warnings wave weakref webbrowser while winreg winsound with wsgiref xdrlib xml "
                            "xmlrpc yield zipapp zipfile zipimport zlib zoneinfo ";

static bool is_taken(const char *name)
{
    char word[NAME_MOST + 3];

    (void)snprintf(word, sizeof word, " %s ", name);
    return strstr(taken, word) != NULL;
}

static int check_name(const struct cli *cli, const char *name)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= NAME_MOST && isalpha((unsigned char)name[0]);

    for (size_t i = 0; i < n; i++)
        good = good && (unsigned char)name[i] < 0x80 && (isalnum((unsigned char)name[i]) || name[i] == '_');
    if (!good)
        return report_usage(cli, "'%s' is no name for an adapter: a letter, then letters, digits and '_', at most %d", name,
                            NAME_MOST);
    if (is_taken(name))
        return report_usage(cli, "'%s' is a name of Python's own: a package that is called so would hide it", name);
    return 0;
}

/* Would a class of the name be none, or hide what the files use or any reader takes for Python's own? */
static bool is_known_class(const char *class)
{
    static const char *const known[] = {
        "None",           "True",     "False",   "Ellipsis",   "Template",          "Exception",       "BaseAdapter",
        "NotImplemented", "Showcase", "Warning", "SystemExit", "ThreadSafeAdapter", "ThreadedShowcase"};
    static const char *const ends[] = {"Error", "Warning", "Exception", "ExceptionGroup", "Exit", "Interrupt", "Iteration"};
    size_t n = strlen(class);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(class, known[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (n >= strlen(ends[i]) && strcmp(class + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

/* "image_labels" -> "ImageLabels", "value_error" -> "ValueErrorAdapter" */
static void name_class(const char *name, char ret[CLASS_ROOM])
{
    bool begins = true;
    size_t n = 0;

    for (; *name != '\0'; name++) {
        if (*name != '_')
            ret[n++] = begins ? (char)toupper((unsigned char)*name) : *name;
        begins = *name == '_';
    }
    ret[n] = '\0';
    if (is_known_class(ret))
        (void)snprintf(ret + n, CLASS_ROOM - n, "Adapter");
}

/* ---- files ---- */

static void write_text(FILE *to, const char *text, const char *name, const char *class)
{
    while (*text != '\0') {
        bool is_name = strncmp(text, "@NAME@", 6) == 0, is_class = strncmp(text, "@CLASS@", 7) == 0;
        if (is_name || is_class) {
            fputs(is_name ? name : class, to);
            text += is_name ? 6 : 7;
        } else {
            fputc(*text++, to);
        }
    }
}

static bool path_of(const struct gen_file *file, const char *name, char ret[PATH_MAX])
{
    const char *rest = file->path + strlen("@NAME@");
    int n = snprintf(ret, PATH_MAX, "%s%s", name, rest);

    return n > 0 && n < PATH_MAX;
}

/* 0 or an errno. */
static int write_file(const struct gen_file *file, const char *name, const char *class)
{
    char path[PATH_MAX];

    if (!path_of(file, name, path))
        return ENAMETOOLONG;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *to = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (to == NULL) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    errno = 0;
    write_text(to, file->text, name, class);
    bool failed = ferror(to) != 0;
    int error = errno;
    if (fclose(to) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    return failed ? (error != 0 ? error : EIO) : 0;
}

static void take_away(const struct gen_file *files, const char *name)
{
    char path[PATH_MAX];

    for (size_t i = GEN_FILES; i-- > 0;)
        if (path_of(&files[i], name, path))
            (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/handlers", name);
    (void)rmdir(path);
    (void)rmdir(name);
}

static int write_all(const struct cli *cli, const struct gen_file *files, const char *name, const char *class)
{
    char path[PATH_MAX];

    if (mkdir(name, 0777) != 0) {
        if (errno == EEXIST)
            return report(cli, EXIT_ERROR, PIT_E_ALREADY_EXISTS, "another name, or another folder", "'%s' exists already",
                          name);
        return report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "the folder '%s' cannot be made: %s", name, strerror(errno));
    }
    (void)snprintf(path, sizeof path, "%s/handlers", name);
    int error = mkdir(path, 0777) != 0 ? errno : 0;
    for (size_t i = 0; error == 0 && i < GEN_FILES; i++)
        error = write_file(&files[i], name, class);
    if (error == 0)
        return EXIT_OK;
    take_away(files, name);
    return report(cli, EXIT_ERROR, PIT_E_SYSTEM_ERROR, NULL, "the files of '%s' cannot be written: %s", name, strerror(error));
}

/* ---- what is said ---- */

static int print_json(const struct cli *cli, const struct gen_file *files, const char *name, const char *class,
                      const char *here, bool threaded)
{
    char path[PATH_MAX];
    pit_value *paths = pit_list();

    for (size_t i = 0; i < GEN_FILES; i++)
        if (path_of(&files[i], name, path))
            (void)pit_list_append_take(paths, pit_str(path));
    (void)snprintf(path, sizeof path, "%s.adapter", name);
    pit_value *v = pit_pack("{s:s,s:s,s:v,s:{s:s,s:s,s:s,s:[s]}}", "name", name, "class", class, "files", paths, "pool", "name",
                            name, "adapter", path, "profile", threaded ? "thread" : "process", "python_path", here);
    int code = print_value(cli, v);
    pit_value_free(v);
    pit_value_free(paths);
    return code;
}

/* Between the double quotes of YAML. */
static void print_yaml(const char *text)
{
    char out[4 * PATH_MAX + 1];
    size_t n = 0;

    for (; *text != '\0' && n < sizeof out - 5; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(out + n, sizeof out - n, "\\x%02x", (unsigned)c);
        else if (c == '"' || c == '\\')
            n += (size_t)snprintf(out + n, sizeof out - n, "\\%c", c);
        else
            out[n++] = *text;
    }
    out[n] = '\0';
    print_text(stdout, out);
}

static int print_what_next(const struct cli *cli, const struct gen_file *files, const char *name, const char *class,
                           bool threaded)
{
    char here[PATH_MAX], path[PATH_MAX];

    if (getcwd(here, sizeof here) == NULL)
        (void)snprintf(here, sizeof here, ".");
    if (cli->json)
        return print_json(cli, files, name, class, here, threaded);
    for (size_t i = 0; i < GEN_FILES; i++)
        if (path_of(&files[i], name, path))
            printf("made  %s\n", path);
    printf("\ntry   snakepit call greet '{\"name\": \"World\"}' --adapter %s.adapter\n", name);
    printf("test  python3 -m unittest %s.test_adapter\n\n", name);
    printf("in a configuration:\n\npools:\n  - name: \"%s\"\n    adapter: %s.adapter\n    python_path: [\"", name, name);
    print_yaml(here);
    printf("\"]\n%s", threaded ? "    profile: thread\n    threads_per_worker: 4\n" : "");
    return EXIT_OK;
}

static int gen(struct cli *cli, int argc, char **argv)
{
    static const char *const kinds[] = {"adapter"};
    struct gen_options o = {false};
    struct arguments args = {argv, 0, 0};
    char class[CLASS_ROOM];
    int code = 0;

    if (!options_parse_command(cli, &o, argc, argv, &args, &code))
        return code;
    if (args.n < 1)
        return report_usage(cli, "what shall be made is missing: adapter");
    if (strcmp(args.items[0], kinds[0]) != 0) {
        const char *near = nearest_name(args.items[0], kinds, 1);
        return near != NULL ? report_usage(cli, "it makes no '%s'; did you mean '%s'?", args.items[0], near)
                            : report_usage(cli, "it makes no '%s', but: adapter", args.items[0]);
    }
    if (args.n < 2)
        return report_usage(cli, "the adapter's name is missing");
    if (args.n > 2)
        return report_usage(cli, "too many arguments: '%s'", args.items[2]);
    code = check_name(cli, args.items[1]);
    if (code != 0)
        return code;
    const struct gen_file *files = o.threaded ? gen_threaded_files : gen_adapter_files;
    name_class(args.items[1], class);
    code = write_all(cli, files, args.items[1], class);
    return code == EXIT_OK ? print_what_next(cli, files, args.items[1], class, o.threaded) : code;
}

const struct command cmd_gen = {
    "gen",
    "adapter NAME",
    "begin an adapter: a package with a class and a test",
    "Makes the folder NAME in the working directory, with the class, the work that it does apart from it, and a test that\n"
    "passes as it is; then says how to call it and what a pool needs. Nothing that exists is written over.\n"
    "\n"
    "exit status: 0 done, 1 it exists already or cannot be written, 2 bad usage\n"
    "\n"
    "  snakepit gen adapter greeter\n"
    "  snakepit gen adapter image_labels --threaded\n",
    gen_option_defs,
    sizeof gen_option_defs / sizeof gen_option_defs[0],
    false,
    gen,
};
