/* Sound for the example voice: one channel of 16-bit samples at 16 kHz, from a WAV file, or spoken by espeak-ng.
 *
 * What comes at another rate is resampled here: espeak-ng's voices speak at 22,050 Hz, and to leave samples out would fold what lies above 8 kHz into
 * the speech. espeak-ng itself knows no other rate; a filter of a few lines serves files of any rate, too, and needs no sox or ffmpeg. */
#ifndef VOICE_SOUND_H
#define VOICE_SOUND_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SOUND_RATE = 16000 };

struct sound {
    int16_t *samples; /* owned */
    size_t n;
};

/* What can be wrong with a sound. Each has a text. */
#define SOUND_ERRORS(X)                                                                                                        \
    X(SOUND_OK, "no error")                                                                                                    \
    X(SOUND_UNREADABLE, "it cannot be read")                                                                                   \
    X(SOUND_NO_MEMORY, "there is no memory for it")                                                                            \
    X(SOUND_TOO_LONG, "it is longer than 256 MB")                                                                              \
    X(SOUND_NO_WAV, "it is no WAV file: it does not begin with RIFF and WAVE")                                                 \
    X(SOUND_TRUNCATED, "the file ends in the middle of what it says it has")                                                   \
    X(SOUND_NO_FORMAT, "it has no chunk `fmt `, which tells what its samples are")                                             \
    X(SOUND_COMPRESSED, "its samples are no plain numbers (PCM)")                                                              \
    X(SOUND_NOT_16_BIT, "its samples do not have 16 bits (sox IN -b 16 OUT)")                                                  \
    X(SOUND_NOT_MONO, "it has more than one channel (sox IN -c 1 OUT)")                                                        \
    X(SOUND_RATE_UNUSUAL, "its rate is not between 8,000 and 192,000 samples a second")                                        \
    X(SOUND_NO_DATA, "it has no samples")                                                                                      \
    X(SOUND_NO_ESPEAK, "espeak-ng is not installed (apt-get install espeak-ng); a WAV file can be given instead")              \
    X(SOUND_ESPEAK_FAILED, "espeak-ng has failed")

enum sound_error {
#define X(name, text) name,
    SOUND_ERRORS(X)
#undef X
};

const char *sound_error_text(enum sound_error e);

/* A WAV file, or what a program writes as one into a pipe. *ret is the caller's (sound_finish), untouched on failure. */
enum sound_error sound_read(FILE *from, struct sound *ret);
/* The same from memory. */
enum sound_error sound_parse(const unsigned char *wav, size_t n, struct sound *ret);
/* A text as espeak-ng speaks it, without the silence before and after: what is 40 dB below its loudest sample, or quieter. */
enum sound_error sound_speak(const char *voice, const char *text, struct sound *ret);
/* The samples at SOUND_RATE. What lies below 7 kHz stays as it is, what lies above 8 kHz comes out at least 80 dB weaker. */
enum sound_error sound_resample(const int16_t *samples, size_t n, uint32_t rate, struct sound *ret);
/* Adds noise, as strong as the samples where `speech` is 1 minus `snr` decibels. The same seed is the same noise. */
void sound_add_noise(struct sound *s, const unsigned char *speech, double snr, uint64_t seed);
uint64_t sound_random(uint64_t *state); /* the next of a sequence of numbers of 64 bits, each as likely */
/* Writes it as a WAV file; 0, or -1 and errno. */
int sound_write(const struct sound *s, const char *path);
void sound_finish(struct sound *s);

#endif
