/* Speech, found as it is heard: sound goes to a Python worker in chunks of 32 ms, and back come the stretches in which somebody speaks, as they end.
 *
 * The sound is made here by espeak-ng, so where the words are is known, and the answers are compared with it; or it is that of WAV files. Each recording is
 * a stream in both directions; all of them run at once in one worker, whose network is there once, while what it remembers belongs to the stream. Exit
 * status 0: every word was found, and where it is; 2: bad usage, or a file that is none. */
#include "voice.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK_NS = 32000000 };

struct voice {
    pit *p;
    struct recording recordings[RECORDINGS_MOST];
    size_t n;
    double snr;
    uint64_t seed;
    bool one_by_one, live;
    const char *keep;
};

static int usage(FILE *to, int code)
{
    fputs("usage: voice [--seed N] [--snr DB] [--live] [--one-by-one] [--keep FOLDER] [FILE.wav ...]\n"
          "  --seed N        other silences, another noise (1)\n"
          "  --snr DB        so many decibels lies the noise below the speech (25)\n"
          "  --live          as fast as it is spoken, not as fast as it can be\n"
          "  --one-by-one    one stream after the other, not all at once\n"
          "  --keep FOLDER   writes there what was streamed, as WAV files of 16 kHz\n"
          "  FILE.wav        these instead of words by espeak-ng: 16 bits, one channel\n"
          "The interpreter is SNAKEPIT_PYTHON, else that of the active .venv; it needs numpy, onnxruntime and silero-vad.\n",
          to);
    return code;
}

static bool parse_number(const char *text, double least, double most, double *ret)
{
    char *end = NULL;
    double n = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(n >= least && n <= most)) {
        fprintf(stderr, "voice: '%s' is no number from %g to %g\n", text, least, most);
        return false;
    }
    *ret = n;
    return true;
}

/* 0: go on; 1: help was wanted; -1: bad usage */
static int parse(struct voice *v, int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"snr", required_argument, NULL, 'n'},
                                            {"live", no_argument, NULL, 'l'},
                                            {"one-by-one", no_argument, NULL, 'o'},
                                            {"keep", required_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int letter;
    double seed = 1.0;
    while ((letter = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (letter == 'l')
            v->live = true;
        else if (letter == 'o')
            v->one_by_one = true;
        else if (letter == 'k')
            v->keep = optarg;
        else if (letter == 's' ? !parse_number(optarg, 0, 1e9, &seed)
                               : letter != 'n' || !parse_number(optarg, -60, 120, &v->snr))
            return letter == 'h' ? 1 : -1;
    }
    v->seed = (uint64_t)seed;
    if (argc - optind <= RECORDINGS_MOST)
        return 0;
    fprintf(stderr, "voice: at most %d files\n", RECORDINGS_MOST);
    return -1;
}

static int make_recordings(struct voice *v, char **files, size_t n)
{
    v->n = n > 0 ? n : recording_count();
    for (size_t i = 0; i < v->n; i++) {
        struct recording *r = &v->recordings[i];
        errno = 0;
        enum sound_error e = n > 0 ? recording_load(r, files[i]) : recording_speak(r, i, v->snr, v->seed);
        if (e == SOUND_OK)
            continue;
        fprintf(stderr, "voice: %s: %s\n", n > 0 ? files[i] : r->name,
                e == SOUND_UNREADABLE && errno != 0 ? strerror(errno) : sound_error_text(e));
        return n > 0 ? 2 : 1;
    }
    return 0;
}

static int keep_recordings(const struct voice *v)
{
    char path[PATH_MAX];
    for (size_t i = 0; v->keep != NULL && i < v->n; i++) {
        const struct recording *r = &v->recordings[i];
        const char *dot = strrchr(r->name, '.');
        int stem = dot != NULL ? (int)(dot - r->name) : (int)strlen(r->name);
        int length = snprintf(path, sizeof path, "%s/%.*s.wav", v->keep, stem, r->name);
        if (length >= PATH_MAX || sound_write(&r->sound, path) != 0) {
            fprintf(stderr, "voice: %s: %s\n", path, strerror(length >= PATH_MAX ? ENAMETOOLONG : errno));
            return 1;
        }
    }
    return 0;
}

/* voice.py lies beside this program. */
static bool find_adapter(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof ".py");
    if (n <= 0)
        return false;
    memcpy(path + n, ".py", sizeof ".py");
    return true;
}

static int open_pool(struct voice *v, pit_error **err)
{
    char adapter[PATH_MAX];
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *const pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    if (!find_adapter(adapter))
        return PIT_E_SYSTEM_ERROR;
    pool.name = "voice";
    pool.adapter = adapter;
    pool.workers = 1;
    pool.profile = "thread"; /* a stream has a thread as long as it lasts */
    pool.threads_per_worker = (int)v->n;
    o.pools = pools;
    o.n_pools = 1;
    return pit_open(&o, &v->p, err);
}

/* Sends the chunk at this place; the last one is filled up with silence. */
static int send_chunk(struct recording *r, size_t at, pit_error **err)
{
    unsigned char bytes[2 * CHUNK] = {0};
    for (size_t i = 0; i < CHUNK && at + i < r->sound.n; i++) {
        uint16_t sample = (uint16_t)r->sound.samples[at + i];
        bytes[2 * i] = (unsigned char)sample;
        bytes[2 * i + 1] = (unsigned char)(sample >> 8);
    }
    pit_value *chunk = pit_bytes(bytes, sizeof bytes);
    int rc = pit_stream_send(r->stream, chunk, PIT_INFINITE, err);
    pit_value_free(chunk);
    return rc == 0 && at + CHUNK >= r->sound.n ? pit_stream_send_end(r->stream) : rc;
}

/* Takes what has come; with PIT_INFINITE, all that will. */
static int hear(struct recording *r, int64_t timeout_ms, pit_error **err)
{
    pit_value *stretch = NULL;
    int rc;
    while ((rc = pit_stream_next(r->stream, timeout_ms, &stretch, err)) == 0) {
        int64_t begin = 0, end = 0;
        double probability = 0.0;
        rc = pit_unpack(stretch, err, "{s:I,s:I,s:f}", "begin", &begin, "end", &end, "probability", &probability);
        pit_value_free(stretch);
        if (rc == 0 && !recording_add_stretch(r, begin, end, probability))
            rc = PIT_E_PROTOCOL_ERROR;
        if (rc != 0)
            return rc;
    }
    return rc == PIT_E_END || (rc == PIT_E_PENDING && timeout_ms == 0) ? 0 : rc;
}

/* n streams at once, from one thread. */
static int converse(struct voice *v, struct recording *first, size_t n, pit_error **err)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    struct timespec next;
    bool more = true;
    int rc = 0;
    o.timeout_ms = PIT_INFINITE; /* speeches are long */
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = pit_stream_open(v->p, "listen", NULL, &o, PIT_STREAM_BIDI, &first[i].stream, err);
    (void)clock_gettime(CLOCK_MONOTONIC, &next);
    for (size_t at = 0; rc == 0 && more; at += CHUNK) {
        more = false;
        for (size_t i = 0; rc == 0 && i < n; i++) {
            if (at < first[i].sound.n)
                rc = send_chunk(&first[i], at, err);
            if (rc == 0)
                rc = hear(&first[i], 0, err);
            more = more || at + CHUNK < first[i].sound.n;
        }
        next.tv_nsec += CHUNK_NS;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        while (v->live && rc == 0 && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == EINTR)
            continue;
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = hear(&first[i], PIT_INFINITE, err);
    return rc;
}

static bool judge(const struct voice *v, double took_s)
{
    size_t samples = 0;
    bool good = true;
    putchar('\n');
    for (size_t i = 0; i < v->n; i++) {
        good = recording_judge(&v->recordings[i]) && good;
        samples += v->recordings[i].sound.n;
    }
    double sound_s = (double)samples / SOUND_RATE;
    printf("%.1f s of sound in %.1f s\n", sound_s, took_s);
    if (v->recordings[0].n_words > 0)
        puts(good ? "every word was found" : "not every word was found where it is");
    return good;
}

static int listen_to_all(struct voice *v)
{
    pit_error *err = NULL;
    size_t group = v->one_by_one ? 1 : v->n;
    int rc = open_pool(v, &err);
    uint64_t began = pit_now_ns();
    for (size_t i = 0; rc == 0 && i < v->n; i += group)
        rc = converse(v, &v->recordings[i], group, &err);
    double took_s = (double)(pit_now_ns() - began) / 1e9;
    bool good = rc == 0 && judge(v, took_s);
    if (rc != 0) {
        const char *text = err != NULL ? pit_error_string(err) : pit_strerror(rc);
        fprintf(stderr, "%s\n", text);
        if (strstr(text, "No module named") != NULL)
            fputs("The worker needs: pip install numpy onnxruntime && pip install --no-deps silero-vad. SNAKEPIT_PYTHON names "
                  "its "
                  "Python.\n",
                  stderr);
    }
    pit_error_free(err);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct voice v = {.snr = 25.0};
    int parsed = parse(&v, argc, argv);
    if (parsed != 0)
        return parsed > 0 ? usage(stdout, 0) : usage(stderr, 2);
    int code = make_recordings(&v, argv + optind, (size_t)(argc - optind));
    if (code == 0)
        code = keep_recordings(&v);
    if (code == 0)
        code = listen_to_all(&v);
    for (size_t i = 0; i < v.n; i++)
        recording_finish(&v.recordings[i]);
    pit_close(v.p);
    return code;
}
