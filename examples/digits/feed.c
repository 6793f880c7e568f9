/* Several threads that send image by image until every call has its answer. A call that fails is sent again. */
#include "digits.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIES = 5 };

size_t feed_image_index(const struct demo *d, size_t call)
{
    return call % d->n_images;
}

const unsigned char *feed_image(const struct demo *d, size_t call)
{
    return d->pixels + feed_image_index(d, call) * IMAGE_BYTES;
}

static void answer(struct demo *d, size_t call)
{
    for (int try = 0; try < TRIES; try++) {
        pit_value *v = NULL;
        pit_error *err = NULL;
        int64_t digit = NO_ANSWER;
        uint64_t begin = pit_now_ns();
        int rc = pit_callf(d->p, "classify", NULL, &v, &err, "y", feed_image(d, call), (size_t)IMAGE_BYTES);
        if (rc == 0 && pit_value_get_int(v, &digit) && digit >= 0 && digit <= 9) {
            d->times_ns[call] = pit_now_ns() - begin;
            d->answers[call] = (signed char)digit;
            atomic_fetch_add(&d->answered, 1);
            try = TRIES;
        } else {
            atomic_fetch_add(&d->failed, 1);
            if (rc == 0 || !pit_error_retriable(err))
                try = TRIES;
        }
        pit_error_free(err);
        pit_value_free(v);
    }
}

static void *caller(void *user)
{
    struct demo *d = user;
    size_t call;

    while ((call = atomic_fetch_add(&d->next, 1)) < d->n_calls) {
        if (d->kill && call == d->n_calls / 2)
            crash_call(d, call);
        answer(d, call);
    }
    pthread_mutex_lock(&d->lock);
    atomic_fetch_sub(&d->running, 1);
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

int feed_start(struct demo *d, pthread_t *threads)
{
    int n = 0;

    d->begin_ns = pit_now_ns();
    while (n < d->callers) {
        atomic_fetch_add(&d->running, 1);
        if (pthread_create(&threads[n], NULL, caller, d) != 0) {
            atomic_fetch_sub(&d->running, 1);
            break;
        }
        n++;
    }
    return n;
}
