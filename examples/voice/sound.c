/* WAV files, espeak-ng and noise. A file is checked before it is believed: it may be anything. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2 */
#endif
#include "sound.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST = 256 << 20, FORMAT_LENGTH = 16, PCM = 1, EXTENSIBLE = 0xFFFE, EXTENSIBLE_LENGTH = 26, SUBFORMAT = 24 };

/* Who writes a WAV file into a pipe does not know its length beforehand, and says one that is as good as endless. */
static const uint32_t ENDLESS = 0x7FFF0000;

const char *sound_error_text(enum sound_error e)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SOUND_ERRORS(X)
#undef X
    };
    return texts[e];
}

static uint32_t u16(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t u32(const unsigned char *at)
{
    return u16(at) | u16(at + 2) << 16;
}

/* What the samples are; *rate is theirs. */
static enum sound_error parse_format(const unsigned char *format, size_t n, uint32_t *rate)
{
    if (n < FORMAT_LENGTH)
        return SOUND_NO_FORMAT;
    uint32_t kind = u16(format);
    if (kind == EXTENSIBLE && n >= EXTENSIBLE_LENGTH)
        kind = u16(format + SUBFORMAT);
    if (kind != PCM)
        return SOUND_COMPRESSED;
    if (u16(format + 14) != 16)
        return SOUND_NOT_16_BIT;
    if (u16(format + 2) != 1)
        return SOUND_NOT_MONO;
    *rate = u32(format + 4);
    return *rate >= 8000 && *rate <= 192000 ? SOUND_OK : SOUND_RATE_UNUSUAL;
}

static enum sound_error convert(const unsigned char *data, size_t bytes, uint32_t rate, struct sound *ret)
{
    size_t n = bytes / 2;
    if (n == 0)
        return SOUND_NO_DATA;
    int16_t *samples = malloc(n * sizeof *samples);
    if (samples == NULL)
        return SOUND_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        samples[i] = (int16_t)u16(data + 2 * i);
    if (rate == SOUND_RATE) {
        *ret = (struct sound){samples, n};
        return SOUND_OK;
    }
    enum sound_error e = sound_resample(samples, n, rate, ret);
    free(samples);
    return e;
}

enum sound_error sound_parse(const unsigned char *wav, size_t n, struct sound *ret)
{
    uint32_t rate = 0;
    if (n < 12 || memcmp(wav, "RIFF", 4) != 0 || memcmp(wav + 8, "WAVE", 4) != 0)
        return SOUND_NO_WAV;
    for (size_t at = 12; n - at >= 8;) {
        const unsigned char *name = wav + at, *body = name + 8;
        size_t there = n - at - 8, length = u32(name + 4);
        bool data = memcmp(name, "data", 4) == 0;
        if (data && length >= ENDLESS)
            length = there;
        if (length > there)
            return SOUND_TRUNCATED;
        if (data)
            return rate != 0 ? convert(body, length, rate, ret) : SOUND_NO_FORMAT;
        if (memcmp(name, "fmt ", 4) == 0) {
            enum sound_error e = parse_format(body, length, &rate);
            if (e != SOUND_OK)
                return e;
        }
        length += length & 1; /* chunks begin at even places */
        at += 8 + (length < there ? length : there);
    }
    return rate != 0 ? SOUND_NO_DATA : SOUND_NO_FORMAT;
}

enum sound_error sound_read(FILE *from, struct sound *ret)
{
    size_t n = 0, room = 0, got = 0;
    unsigned char *bytes = NULL;
    enum sound_error e = SOUND_OK;
    do {
        n += got;
        if (n == room) {
            room = room == 0 ? 1 << 16 : 2 * room;
            unsigned char *more = room <= LONGEST ? realloc(bytes, room) : NULL;
            if (more == NULL) {
                e = room <= LONGEST ? SOUND_NO_MEMORY : SOUND_TOO_LONG;
                break;
            }
            bytes = more;
        }
    } while ((got = fread(bytes + n, 1, room - n, from)) > 0);
    if (e == SOUND_OK)
        e = ferror(from) ? SOUND_UNREADABLE : sound_parse(bytes, n, ret);
    free(bytes);
    return e;
}

/* Starts espeak-ng; *ret reads what it writes. */
static enum sound_error start_espeak(const char *voice, const char *text, pid_t *pid, FILE **ret)
{
    char *const arguments[] = {"espeak-ng", "-v", (char *)voice, "--stdout", "--", (char *)text, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], rc = ENOMEM;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return SOUND_ESPEAK_FAILED;
    FILE *from = fdopen(ends[0], "rb");
    if (from != NULL && posix_spawn_file_actions_init(&actions) == 0) {
        rc = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (rc == 0)
            rc = posix_spawnp(pid, arguments[0], &actions, NULL, arguments, environ);
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(ends[1]);
    if (rc == 0) {
        *ret = from;
        return SOUND_OK;
    }
    (void)(from != NULL ? fclose(from) : close(ends[0]));
    return rc == ENOENT ? SOUND_NO_ESPEAK : SOUND_ESPEAK_FAILED;
}

/* Leaves out what is not to be heard before and after. */
static void trim(struct sound *s)
{
    int loudest = 0;
    for (size_t i = 0; i < s->n; i++)
        loudest = abs(s->samples[i]) > loudest ? abs(s->samples[i]) : loudest;
    size_t first = 0, end = s->n;
    while (first < end && abs(s->samples[first]) <= loudest / 100)
        first++;
    while (end > first && abs(s->samples[end - 1]) <= loudest / 100)
        end--;
    memmove(s->samples, s->samples + first, (end - first) * sizeof *s->samples);
    s->n = end - first;
}

enum sound_error sound_speak(const char *voice, const char *text, struct sound *ret)
{
    FILE *from = NULL;
    pid_t pid = 0;
    int status = 0;
    struct sound s = {NULL, 0};
    enum sound_error e = start_espeak(voice, text, &pid, &from);
    if (e != SOUND_OK)
        return e;
    e = sound_read(from, &s);
    (void)fclose(from);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (failed && e != SOUND_TOO_LONG && e != SOUND_NO_MEMORY) /* after these two it is killed, by the closed pipe */
        e = SOUND_ESPEAK_FAILED;
    if (e == SOUND_OK)
        trim(&s);
    if (e == SOUND_OK && s.n == 0)
        e = SOUND_NO_DATA;
    if (e == SOUND_OK)
        *ret = s;
    else
        sound_finish(&s);
    return e;
}

uint64_t sound_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* About a normal distribution: the sum of twelve numbers of [0, 1) has the variance 1. */
static double normal(uint64_t *state)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += (double)(sound_random(state) >> 11) * 0x1p-53;
    return sum;
}

void sound_add_noise(struct sound *s, const unsigned char *speech, double snr, uint64_t seed)
{
    double power = 0.0;
    size_t spoken = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (speech[i]) {
            power += (double)s->samples[i] * s->samples[i];
            spoken++;
        }
    }
    double strength = spoken > 0 ? sqrt(power / (double)spoken) * pow(10.0, -snr / 20.0) : 0.0;
    for (size_t i = 0; i < s->n; i++) {
        double loud = s->samples[i] + strength * normal(&seed);
        s->samples[i] = (int16_t)lrint(loud > 32767.0 ? 32767.0 : loud < -32768.0 ? -32768.0 : loud);
    }
}

static void put(unsigned char *at, uint32_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(number >> 8 * i);
}

int sound_write(const struct sound *s, const char *path)
{
    unsigned char head[44] = "RIFF....WAVEfmt ....................data", sample[2];
    uint32_t bytes = (uint32_t)(2 * s->n);
    put(head + 4, bytes + 36, 4);
    put(head + 16, FORMAT_LENGTH, 4);
    put(head + 20, PCM, 2);
    put(head + 22, 1, 2); /* channel */
    put(head + 24, SOUND_RATE, 4);
    put(head + 28, 2 * SOUND_RATE, 4);
    put(head + 32, 2, 2);
    put(head + 34, 16, 2);
    put(head + 40, bytes, 4);
    FILE *to = fopen(path, "wb");
    if (to == NULL)
        return -1;
    (void)fwrite(head, sizeof head, 1, to);
    for (size_t i = 0; i < s->n; i++) {
        put(sample, (uint16_t)s->samples[i], 2);
        (void)fwrite(sample, sizeof sample, 1, to);
    }
    int failed = ferror(to), code = errno;
    if (fclose(to) != 0 && !failed)
        return -1;
    errno = code;
    return failed ? -1 : 0;
}

void sound_finish(struct sound *s)
{
    free(s->samples);
    *s = (struct sound){NULL, 0};
}
