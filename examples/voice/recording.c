/* Recordings whose truth is known: each word is spoken by itself and stands between silences of chosen lengths, so where it begins and ends is known to
 * the sample. Noise over all of it keeps the silence from being too easy. */
#include "voice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of each recording; measured: tests/integration/test_voice.py. */
static const double ENOUGH = 0.75;

static const struct script {
    const char *voice, *words[WORDS_MOST];
} scripts[] = {
    {"en", {"elephant", "morning", "orchestra", "telephone", "yellow"}},
    {"en-us+f3", {"banana", "seventeen", "remember", "window", "holiday"}},
    {"de", {"Morgen", "Wasser", "Wagen", "Banane", "Regenbogen"}},
    {"fr", {"bonjour", "demain", "musique", "maison", "orange"}},
};

size_t recording_count(void)
{
    return sizeof scripts / sizeof scripts[0];
}

static bool append(struct sound *to, const int16_t *samples, size_t n)
{
    int16_t *more = realloc(to->samples, (to->n + n) * sizeof *more);
    if (more == NULL)
        return false;
    to->samples = more;
    if (samples != NULL)
        memcpy(more + to->n, samples, n * sizeof *more);
    else
        memset(more + to->n, 0, n * sizeof *more);
    to->n += n;
    return true;
}

static bool append_silence(struct sound *to, uint64_t *seed)
{
    return append(to, NULL, SOUND_RATE * 2 / 5 + sound_random(seed) % (SOUND_RATE * 3 / 5)); /* 0.4 to 1 s */
}

static enum sound_error append_word(struct recording *r, const char *voice, const char *text)
{
    struct sound word = {NULL, 0};
    enum sound_error e = sound_speak(voice, text, &word);
    if (e != SOUND_OK)
        return e;
    r->words[r->n_words++] = (struct word){text, r->sound.n, r->sound.n + word.n};
    e = append(&r->sound, word.samples, word.n) ? SOUND_OK : SOUND_NO_MEMORY;
    sound_finish(&word);
    return e;
}

/* For each sample: is it in a word? */
static void mark_words(const struct recording *r, unsigned char *speech)
{
    for (size_t i = 0; i < r->n_words; i++)
        memset(speech + r->words[i].begin, 1, r->words[i].end - r->words[i].begin);
}

enum sound_error recording_speak(struct recording *r, size_t which, double snr, uint64_t seed)
{
    const struct script *script = &scripts[which];
    uint64_t random = seed * recording_count() + which;
    (void)snprintf(r->name, sizeof r->name, "%s", script->voice);
    enum sound_error e = append_silence(&r->sound, &random) ? SOUND_OK : SOUND_NO_MEMORY;
    for (size_t i = 0; e == SOUND_OK && i < WORDS_MOST && script->words[i] != NULL; i++) {
        e = append_word(r, script->voice, script->words[i]);
        if (e == SOUND_OK && !append_silence(&r->sound, &random))
            e = SOUND_NO_MEMORY;
    }
    if (e != SOUND_OK)
        return e;
    r->heard = calloc(r->sound.n, 1);
    unsigned char *speech = calloc(r->sound.n, 1);
    if (speech != NULL) {
        mark_words(r, speech);
        sound_add_noise(&r->sound, speech, snr, random);
    }
    free(speech);
    return speech != NULL && r->heard != NULL ? SOUND_OK : SOUND_NO_MEMORY;
}

enum sound_error recording_load(struct recording *r, const char *path)
{
    FILE *from = fopen(path, "rb");
    const char *slash = strrchr(path, '/');
    (void)snprintf(r->name, sizeof r->name, "%s", slash != NULL ? slash + 1 : path);
    if (from == NULL)
        return SOUND_UNREADABLE;
    enum sound_error e = sound_read(from, &r->sound);
    (void)fclose(from);
    if (e == SOUND_OK && (r->heard = calloc(r->sound.n, 1)) == NULL)
        e = SOUND_NO_MEMORY;
    return e;
}

static double seconds(size_t samples)
{
    return (double)samples / SOUND_RATE;
}

bool recording_add_stretch(struct recording *r, int64_t begin, int64_t end, double probability)
{
    const struct word *said = NULL;
    if (begin < 0 || end <= begin || (size_t)begin >= r->sound.n)
        return false;
    size_t from = (size_t)begin, to = (size_t)end < r->sound.n ? (size_t)end : r->sound.n;
    memset(r->heard + from, 1, to - from);
    r->n_stretches++;
    for (size_t i = 0; said == NULL && i < r->n_words; i++) {
        if (r->words[i].begin < to && from < r->words[i].end)
            said = &r->words[i];
    }
    printf("%-10s %6.2f - %5.2f s  %.2f", r->name, seconds(from), seconds(to), probability);
    if (said != NULL)
        printf("  %-10s %6.2f - %5.2f s", said->text, seconds(said->begin), seconds(said->end));
    else if (r->n_words > 0)
        fputs("  where nobody speaks", stdout);
    putchar('\n');
    (void)fflush(stdout);
    return true;
}

static size_t count(const unsigned char *marks, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += marks[i];
    return found;
}

bool recording_judge(const struct recording *r)
{
    size_t n = r->sound.n, heard = count(r->heard, n), words_found = 0, spoken = 0, both = 0;
    if (r->n_words == 0) {
        printf("%-10s %zu stretches, %.2f of %.2f s\n", r->name, r->n_stretches, seconds(heard), seconds(n));
        return true;
    }
    for (size_t i = 0; i < r->n_words; i++) {
        const struct word *word = &r->words[i];
        size_t found = count(r->heard + word->begin, word->end - word->begin);
        spoken += word->end - word->begin;
        both += found;
        words_found += found > 0;
    }
    double overlap = (double)both / (double)(spoken + heard - both), precision = heard > 0 ? (double)both / (double)heard : 0.0;
    printf("%-10s %zu of %zu words in %zu stretches; overlap %.2f, precision %.2f, recall %.2f\n", r->name, words_found,
           r->n_words, r->n_stretches, overlap, precision, (double)both / (double)spoken);
    return overlap >= ENOUGH && words_found == r->n_words && r->n_stretches == r->n_words;
}

void recording_finish(struct recording *r)
{
    pit_stream_close(r->stream);
    sound_finish(&r->sound);
    free(r->heard);
}
