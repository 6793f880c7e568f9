/* From any rate to 16 kHz.
 *
 * A sample between two others is what the whole sound says of that place: the sum of its samples, each weighed by a sinc. Going down, the sinc is as
 * much wider as the new rate is lower, and so is the filter that takes away what the new rate cannot hold. Between two rates there are only so many
 * places (phases) that a new sample can have: 320 from 22,050 Hz. Their weights are computed once. */
#include "sound.h"

#include <math.h>
#include <stdlib.h>

enum {
    CROSSINGS = 48
}; /* of zero on each side: with the window's 8 they make the filter fall from nothing to 80 dB within 850 Hz */

static const double KAISER = 8.0, BAND = 0.947, PI = 3.14159265358979323846;

struct filter {
    size_t phases, step; /* a new sample lies step / phases samples behind the last one */
    size_t half, taps;   /* old samples on one side; together */
    float *weights;      /* phases x taps */
};

static double bessel(double x) /* the modified one of the first kind, order 0 */
{
    double sum = 1.0, term = 1.0;
    for (int k = 1; term > 1e-12 * sum; k++) {
        term *= (x / 2 / k) * (x / 2 / k);
        sum += term;
    }
    return sum;
}

static double weight(double distance, double width, double cutoff)
{
    double inside = distance / width, x = PI * distance * cutoff;
    if (inside <= -1.0 || inside >= 1.0)
        return 0.0;
    double window = bessel(KAISER * sqrt(1.0 - inside * inside)) / bessel(KAISER);
    return window * (fabs(x) < 1e-9 ? 1.0 : sin(x) / x);
}

static enum sound_error make(struct filter *f, uint32_t rate)
{
    uint32_t a = rate, b = SOUND_RATE;
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    f->phases = SOUND_RATE / a;
    f->step = rate / a;
    if (f->phases == 0 || f->step == 0)
        return SOUND_RATE_UNUSUAL;
    double lower = rate > SOUND_RATE ? (double)SOUND_RATE / rate : 1.0, width = CROSSINGS / lower;
    f->half = (size_t)ceil(width);
    f->taps = 2 * f->half;
    f->weights = calloc(f->phases * f->taps, sizeof *f->weights);
    if (f->weights == NULL)
        return SOUND_NO_MEMORY;
    for (size_t phase = 0; phase < f->phases; phase++) {
        float *row = f->weights + phase * f->taps;
        double sum = 0.0, place = (double)phase / (double)f->phases + (double)f->half - 1.0;
        for (size_t i = 0; i < f->taps; i++)
            sum += row[i] = (float)weight((double)i - place, width, BAND * lower);
        for (size_t i = 0; i < f->taps; i++)
            row[i] = (float)(row[i] / sum); /* silence stays silence, at each phase alike */
    }
    return SOUND_OK;
}

enum sound_error sound_resample(const int16_t *samples, size_t n, uint32_t rate, struct sound *ret)
{
    struct filter f = {0};
    enum sound_error e = make(&f, rate);
    if (e != SOUND_OK)
        return e;
    size_t made = (size_t)(((uint64_t)n * f.phases + f.step - 1) / f.step);
    int16_t *out = malloc(made * sizeof *out);
    for (size_t j = 0; out != NULL && j < made; j++) {
        uint64_t place = (uint64_t)j * f.step;
        size_t at = (size_t)(place / f.phases) + 1; /* the first tap is half - 1 before it */
        const float *row = f.weights + (size_t)(place % f.phases) * f.taps;
        size_t first = at < f.half ? f.half - at : 0, end = n + f.half - at < f.taps ? n + f.half - at : f.taps;
        double sum = 0.0;
        for (size_t i = first; i < end; i++)
            sum += (double)row[i] * samples[at + i - f.half];
        out[j] = (int16_t)lrint(sum > 32767.0 ? 32767.0 : sum < -32768.0 ? -32768.0 : sum);
    }
    free(f.weights);
    if (out == NULL)
        return SOUND_NO_MEMORY;
    *ret = (struct sound){out, made};
    return SOUND_OK;
}
