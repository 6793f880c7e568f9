/* A host that a test drives: one JSON document a line comes in, one goes out for each. It sees the public header only, so what it can do
 * a user's program can do; under a sanitizer a fault of the library ends it with a status that the test sees.
 *
 *   {"op": "open", "adapter" | "command", "python", "workers", "channel", "env", ...}
 *   {"op": "call" | "submit" | "thread", "command", "json", "timeout_ms", ...}     json: the arguments as JSON text
 *   {"op": "wait" | "join", "index"}         the outcome of the index-th submitted call, or of the call on the index-th thread
 *   {"op": "cancel", "index", "reason"}
 *   {"op": "echo", "kind", "size"}           sends a large value to the command "echo" and compares what comes back
 *   {"op": "discard", "command", "argument"} a call whose result is thrown away
 *   {"op": "stats"}  {"op": "workers"}  {"op": "close"}
 *
 * An answer has "rc", and "result" (JSON text) or "error" (pit_error_json) and "text" (pit_error_string). */
#include <pthread.h>
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096, WORDS = 32 };

struct job {
    pthread_t thread;
    pit_value *request, *answer;
};

static pit *host;
static pit_future *futures[MOST];
static struct job jobs[MOST];
static size_t n_futures, n_jobs;

/* ---- requests ---- */

static const char *text_of(const pit_value *request, const char *key)
{
    return pit_value_str(pit_value_get(request, key));
}

static int64_t number_of(const pit_value *request, const char *key)
{
    int64_t n = 0;
    (void)pit_value_get_int(pit_value_get(request, key), &n);
    return n;
}

/* The list's texts, borrowed, NULL-terminated; NULL when there is no list. */
static const char *const *words_of(const pit_value *request, const char *key, const char *words[WORDS])
{
    const pit_value *list = pit_value_get(request, key);
    size_t n = pit_value_len(list);
    if (list == NULL || n >= WORDS)
        return NULL;
    for (size_t i = 0; i < n; i++)
        words[i] = pit_value_str_or(pit_value_at(list, i), "");
    words[n] = NULL;
    return words;
}

/* ---- answers ---- */

static void set(pit_value *answer, const char *key, pit_value *v)
{
    if (pit_map_set_take(answer, key, v) != 0)
        exit(3);
}

/* Takes err. */
static pit_value *outcome(int rc, pit_error *err)
{
    pit_value *answer = pit_map();
    set(answer, "rc", pit_int(rc));
    set(answer, "name", pit_str(pit_error_code_name(rc)));
    if (err != NULL) {
        char *json = pit_error_json(err);
        set(answer, "error", pit_str(json != NULL ? json : "null"));
        set(answer, "text", pit_str(pit_error_string(err)));
        pit_free(json);
    }
    pit_error_free(err);
    return answer;
}

/* ---- operations ---- */

static pit_value *open_host(const pit_value *request)
{
    const char *words[WORDS], *env[WORDS];
    pit_pool_options po = PIT_POOL_OPTIONS_INIT;
    const pit_pool_options *pools[1] = {&po};
    pit_options o = PIT_OPTIONS_INIT;
    pit_error *err = NULL;

    po.name = "default";
    po.adapter = text_of(request, "adapter");
    po.command = words_of(request, "command", words);
    po.env = words_of(request, "env", env);
    po.python = text_of(request, "python");
    po.cwd = text_of(request, "cwd");
    po.workers = (int)number_of(request, "workers");
    po.channel = (int)number_of(request, "channel");
    po.profile = text_of(request, "profile");
    po.threads_per_worker = (int)number_of(request, "threads_per_worker");
    po.start_mode = (int)number_of(request, "start_mode");
    po.worker_ready_timeout_ms = number_of(request, "worker_ready_timeout_ms");
    po.graceful_shutdown_timeout_ms = number_of(request, "graceful_shutdown_timeout_ms");
    po.cancel_grace_ms = number_of(request, "cancel_grace_ms");
    po.max_frame_bytes = (size_t)number_of(request, "max_frame_bytes");
    o.pools = pools;
    o.n_pools = 1;
    o.drive = (int)number_of(request, "drive");
    int rc = pit_open(&o, &host, &err);
    return outcome(rc, err);
}

static pit_call_options options_of(const pit_value *request)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    o.timeout_ms = number_of(request, "timeout_ms");
    o.pool = text_of(request, "pool");
    o.session_id = text_of(request, "session_id");
    o.correlation_id = text_of(request, "correlation_id");
    o.on_unserializable = (int)number_of(request, "on_unserializable");
    o.fail_fast = (int)number_of(request, "fail_fast");
    return o;
}

static pit_value *call(const pit_value *request)
{
    const pit_value *json = pit_value_get(request, "json");
    pit_call_options o = options_of(request);
    pit_error *err = NULL;
    char *result = NULL;
    size_t n = 0;

    int rc = pit_call_json(host, text_of(request, "command"), pit_value_str(json), pit_value_len(json), &o, &result, &n, &err);
    pit_value *answer = outcome(rc, err);
    if (rc == 0)
        set(answer, "result", pit_strn(result, n));
    pit_free(result);
    return answer;
}

static void *call_on_thread(void *user)
{
    struct job *j = user;
    j->answer = call(j->request);
    return NULL;
}

static pit_value *start_thread(const pit_value *request)
{
    struct job *j = &jobs[n_jobs];
    j->request = pit_value_ref(request);
    if (n_jobs + 1 == MOST || pthread_create(&j->thread, NULL, call_on_thread, j) != 0)
        exit(3);
    pit_value *answer = outcome(0, NULL);
    set(answer, "index", pit_uint(n_jobs++));
    return answer;
}

static pit_value *join(const pit_value *request)
{
    struct job *j = &jobs[number_of(request, "index")];
    pthread_join(j->thread, NULL);
    pit_value_free(j->request);
    return j->answer;
}

static pit_value *submit(const pit_value *request)
{
    const pit_value *json = pit_value_get(request, "json");
    pit_call_options o = options_of(request);
    pit_error *err = NULL;
    pit_value *args = NULL;

    int rc = json != NULL ? pit_value_parse_json(pit_value_str(json), pit_value_len(json), &args, &err) : 0;
    if (rc == 0)
        rc = pit_submit(host, text_of(request, "command"), args, &o, &futures[n_futures], &err);
    pit_value_free(args);
    pit_value *answer = outcome(rc, err);
    if (rc == 0)
        set(answer, "index", pit_uint(n_futures++));
    if (n_futures == MOST)
        exit(3);
    return answer;
}

static pit_value *wait_for(const pit_value *request)
{
    pit_future *f = futures[number_of(request, "index")];
    pit_error *err = NULL;
    pit_value *v = NULL;

    int rc = pit_future_wait(f, PIT_INFINITE);
    if (rc == 0)
        rc = pit_future_result(f, &v, &err);
    pit_value *answer = outcome(rc, err);
    if (rc == 0) {
        char *json = pit_value_to_json(v, 0);
        set(answer, "result", pit_str(json));
        pit_free(json);
    }
    pit_value_free(v);
    return answer;
}

/* A large value, told apart from what an echo could make up: bytes, a string, or a list of integers. */
static pit_value *large(const char *kind, size_t size)
{
    if (strcmp(kind, "list") == 0) {
        pit_value *list = pit_list();
        for (size_t i = 0; i < size; i++)
            if (pit_list_append_take(list, pit_uint(i * 2654435761u)) != 0)
                exit(3);
        return list;
    }
    char *block = malloc(size + 1);
    if (block == NULL)
        exit(3);
    for (size_t i = 0; i < size; i++)
        block[i] = (char)('a' + i * 7 % 26);
    pit_value *v = strcmp(kind, "str") == 0 ? pit_strn(block, size) : pit_bytes(block, size);
    free(block);
    return v;
}

static pit_value *echo(const pit_value *request)
{
    pit_value *args = pit_list(), *sent = large(text_of(request, "kind"), (size_t)number_of(request, "size")), *back = NULL;
    pit_call_options o = options_of(request);
    pit_error *err = NULL;

    if (pit_list_append_take(args, pit_value_ref(sent)) != 0)
        exit(3);
    int rc = pit_call(host, "echo", args, &o, &back, &err);
    pit_value *answer = outcome(rc, err);
    set(answer, "equal", pit_bool(rc == 0 && pit_value_equal(sent, back)));
    pit_value_free(args);
    pit_value_free(sent);
    pit_value_free(back);
    return answer;
}

/* A call whose result nobody wants: what it costs to read it is the library's alone. */
static pit_value *discard(const pit_value *request)
{
    pit_value *args = pit_pack("[s]", text_of(request, "argument"));
    pit_call_options o = options_of(request);
    pit_error *err = NULL;
    int rc = pit_call(host, text_of(request, "command"), args, &o, NULL, &err);
    pit_value_free(args);
    return outcome(rc, err);
}

static pit_value *stats(void)
{
    pit_stats s = PIT_STATS_INIT;
    int rc = pit_get_stats(host, NULL, &s);
    pit_value *answer = outcome(rc, NULL);
    set(answer, "stats",
        pit_pack("{s:U,s:U,s:U,s:U,s:U,s:U,s:U,s:U,s:U}", "requests", s.requests, "succeeded", s.succeeded, "errors", s.errors,
                 "queued", s.queued, "workers", s.workers, "available", s.available, "busy", s.busy, "crashes", s.crashes,
                 "restarts", s.restarts));
    return answer;
}

static pit_value *workers(void)
{
    pit_worker_list *list = NULL;
    pit_error *err = NULL;
    int rc = pit_list_workers(host, NULL, &list, &err);
    pit_value *answer = outcome(rc, err), *items = pit_list();
    for (size_t i = 0; i < pit_worker_list_len(list); i++) {
        const pit_worker_info *w = pit_worker_list_at(list, i);
        pit_value *item = pit_pack("{s:s,s:i,s:U,s:s,s:s,s:U,s:U}", "id", w->id, "pid", (int)w->pid, "generation",
                                   w->generation, "state", pit_worker_state_name(w->state), "channel", w->channel, "calls",
                                   w->calls, "dropped", w->dropped_output_bytes);
        if (pit_list_append_take(items, item) != 0)
            exit(3);
    }
    pit_worker_list_free(list);
    set(answer, "workers", items);
    return answer;
}

static pit_value *close_host(void)
{
    int rc = pit_close(host);
    host = NULL;
    for (size_t i = 0; i < n_futures; i++)
        pit_future_free(futures[i]);
    n_futures = 0;
    return outcome(rc, NULL);
}

static pit_value *handle(const pit_value *request)
{
    const char *op = pit_value_str_or(pit_value_get(request, "op"), "");
    if (strcmp(op, "open") == 0)
        return open_host(request);
    if (strcmp(op, "call") == 0)
        return call(request);
    if (strcmp(op, "thread") == 0)
        return start_thread(request);
    if (strcmp(op, "join") == 0)
        return join(request);
    if (strcmp(op, "submit") == 0)
        return submit(request);
    if (strcmp(op, "wait") == 0)
        return wait_for(request);
    if (strcmp(op, "cancel") == 0)
        return outcome(pit_future_cancel(futures[number_of(request, "index")], text_of(request, "reason")), NULL);
    if (strcmp(op, "echo") == 0)
        return echo(request);
    if (strcmp(op, "discard") == 0)
        return discard(request);
    if (strcmp(op, "stats") == 0)
        return stats();
    if (strcmp(op, "workers") == 0)
        return workers();
    if (strcmp(op, "close") == 0)
        return close_host();
    exit(2);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    while ((n = getline(&line, &room, stdin)) > 0) {
        pit_value *request = NULL;
        if (pit_value_parse_json(line, (size_t)n, &request, NULL) != 0)
            exit(2);
        pit_value *answer = handle(request);
        char *json = pit_value_to_json(answer, 0);
        if (json == NULL)
            exit(3);
        puts(json);
        fflush(stdout);
        pit_free(json);
        pit_value_free(answer);
        pit_value_free(request);
    }
    free(line);
    return host != NULL ? (int)(pit_close(host) != 0) : 0;
}
