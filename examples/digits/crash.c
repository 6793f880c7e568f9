/* kill -9 in the middle of a call, and what it costs.
 *
 * At half-time one caller sends a call that takes long. The worker list shows since when each worker runs its present call: one that
 * has run for a while and began after that call was sent is the one (the others take a fraction of a millisecond). Should a stalled
 * machine make another call look like it, that call fails too, is counted as killed, and the hunt goes on. */
#include "digits.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)

static const double CARE_S = 30.0;
static const uint64_t RUNNING_FOR_NS = 100 * MS; /* "has started" beyond doubt */
static const uint64_t LOOK_AGAIN_NS = 2000 * MS; /* the kill hit another call */

void crash_call(struct demo *d, size_t call)
{
    struct crash *crash = &d->crash;
    pit_value *v = NULL;
    pit_error *err = NULL;

    pthread_mutex_lock(&d->lock);
    crash->sent_ns = pit_now_ns();
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
    int rc = pit_callf(d->p, "classify_carefully", NULL, &v, &err, "(yf)", feed_image(d, call), (size_t)IMAGE_BYTES, CARE_S);
    uint64_t now = pit_now_ns();

    pthread_mutex_lock(&d->lock);
    crash->error_ns = now;
    crash->error_code = rc;
    crash->survived = rc == 0;
    if (rc != 0) {
        atomic_fetch_add(&d->failed, 1);
        crash->error_text = strdup(err != NULL ? pit_error_string(err) : pit_strerror(rc));
    }
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
    pit_error_free(err);
    pit_value_free(v);
}

static void kill_worker(struct crash *crash, const pit_worker_info *worker, uint64_t now)
{
    crash->age_ms = (double)(now - worker->current_call_started_ns) / 1e6;
    crash->pid = worker->pid;
    (void)snprintf(crash->worker, sizeof crash->worker, "%s", worker->id);
    crash->kill_ns = pit_now_ns();
    if (kill(worker->pid, SIGKILL) == 0)
        crash->kills++;
}

void crash_hunt(struct demo *d)
{
    pit_worker_list *list = NULL;
    struct crash *crash = &d->crash;

    pthread_mutex_lock(&d->lock);
    uint64_t sent = crash->sent_ns, last_kill = crash->kill_ns;
    bool over = sent == 0 || crash->error_ns != 0;
    pthread_mutex_unlock(&d->lock);
    if (over || pit_now_ns() < last_kill + LOOK_AGAIN_NS || pit_list_workers(d->p, NULL, &list, NULL) != 0)
        return;
    uint64_t now = pit_now_ns();
    for (size_t i = 0; i < pit_worker_list_len(list); i++) {
        const pit_worker_info *worker = pit_worker_list_at(list, i);
        uint64_t started = worker->current_call_started_ns;
        if (started >= sent && now >= started + RUNNING_FOR_NS) {
            pthread_mutex_lock(&d->lock);
            if (crash->error_ns == 0)
                kill_worker(crash, worker, now);
            pthread_mutex_unlock(&d->lock);
            break;
        }
    }
    pit_worker_list_free(list);
}

bool crash_recovering(struct demo *d)
{
    pthread_mutex_lock(&d->lock);
    bool recovering = d->crash.kills > 0 && d->crash.error_ns != 0 && d->crash.whole_ns == 0;
    pthread_mutex_unlock(&d->lock);
    return recovering;
}

void crash_await_whole(struct demo *d, int64_t ms)
{
    if (pit_await_all_ready(d->p, NULL, ms, NULL) != 0)
        return;
    pthread_mutex_lock(&d->lock);
    d->crash.whole_ns = pit_now_ns();
    pthread_mutex_unlock(&d->lock);
}
