/* The parts of the example voice: voice.c streams, recording.c makes what is streamed and compares what came back, sound.c and resample.c know sound. */
#ifndef VOICE_H
#define VOICE_H

#include "sound.h"

#include <snakepit/snakepit.h>

#include <stdbool.h>

enum { CHUNK = 512, WORDS_MOST = 8, RECORDINGS_MOST = 16 }; /* 512 samples are 32 ms, what the network takes at a time */

struct word {
    const char *text;
    size_t begin, end; /* in samples */
};

/* One conversation with the worker. */
struct recording {
    char name[32];
    struct sound sound;
    struct word words[WORDS_MOST]; /* where they are; 0 of them: of a file nobody knows */
    size_t n_words;
    unsigned char *heard; /* for each sample: is it in a stretch that the worker has found? */
    size_t n_stretches;
    pit_stream *stream;
};

/* recording.c */
size_t recording_count(void); /* of those that are spoken here */
enum sound_error recording_speak(struct recording *r, size_t which, double snr, uint64_t seed);
enum sound_error recording_load(struct recording *r, const char *path); /* SOUND_UNREADABLE: errno tells why */
bool recording_add_stretch(struct recording *r, int64_t begin, int64_t end,
                           double probability);  /* prints it; false: it is none */
bool recording_judge(const struct recording *r); /* prints what was found; false: not well enough */
void recording_finish(struct recording *r);

#endif
