/* See tool_threads.h. A thread is made for a job that finds none idle, until there are as many as may be; then jobs wait in the order in which they came. */
#include "pool/tool_threads.h"

#include <errno.h>
#include <limits.h>

#include "base/alloc.h"
#include "os/os.h"
#include "pool/tool_job.h"

void tool_threads_init(struct tool_threads *t, const struct os_ops *os, int most)
{
    t->os = os;
    t->most = (unsigned)most;
    list_init(&t->jobs);
    pthread_mutex_init(&t->lock, NULL);
}

/* lock: the next job; NULL: the thread shall end. */
static struct list *take(struct tool_threads *t)
{
    for (;;) {
        struct list *node = list_pop_front(&t->jobs);
        if (node != NULL || t->stop) {
            t->waiting -= node != NULL;
            return node;
        }
        uint32_t seen = __atomic_load_n(&t->turn, __ATOMIC_SEQ_CST);
        t->idle++;
        pthread_mutex_unlock(&t->lock);
        t->os->futex_wait(&t->turn, seen, UINT64_MAX);
        pthread_mutex_lock(&t->lock);
        t->idle--;
    }
}

static void *serve(void *arg)
{
    struct tool_threads *t = arg;
    pthread_mutex_lock(&t->lock);
    for (struct list *node; (node = take(t)) != NULL;) {
        pthread_mutex_unlock(&t->lock);
        inner_job_run(LIST_ENTRY(node, struct tool_job, node));
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* lock */
static int start_one(struct tool_threads *t)
{
    if (t->threads == NULL && (t->threads = mem_array(t->most, sizeof *t->threads)) == NULL)
        return -ENOMEM;
    int rc = t->os->thread_start(&t->threads[t->n], serve, t);
    t->n += rc == 0;
    return rc;
}

int tool_threads_add(struct tool_threads *t, struct list *job)
{
    int rc = 0;
    pthread_mutex_lock(&t->lock);
    if (t->waiting >= t->idle && t->n < t->most)
        rc = start_one(t);
    if (rc != 0 && t->n != 0 && !t->each) /* those that there are will do */
        rc = 0;
    if (rc == 0) {
        list_push_back(&t->jobs, job);
        t->waiting++;
        __atomic_add_fetch(&t->turn, 1, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&t->lock);
    if (rc == 0)
        t->os->futex_wake(&t->turn, 1);
    return rc;
}

void tool_threads_stop(struct tool_threads *t)
{
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    __atomic_add_fetch(&t->turn, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&t->lock);
    t->os->futex_wake(&t->turn, INT_MAX);
    for (unsigned i = 0; i < t->n; i++)
        pthread_join(t->threads[i], NULL);
    t->n = 0;
    struct list *node;
    while ((node = list_pop_front(&t->jobs)) != NULL)
        inner_job_drop(LIST_ENTRY(node, struct tool_job, node));
}

void tool_threads_finish(struct tool_threads *t)
{
    tool_threads_stop(t);
    mem_free(t->threads);
    pthread_mutex_destroy(&t->lock);
}
