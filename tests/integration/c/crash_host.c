/* A host whose workers die, again and again: test_crash_attacks.py tells it of what.
 *
 *   crash_host PYTHON ADAPTER profile=process|thread start=exec|zygote workers=N
 *
 * Reads lines "COMMAND TIMEOUT_MS JSON" and answers each with a line of JSON: {"rc": 0, "result": ...} or {"rc": ..., "error": ..., "text": ...}. The
 * line "!" is answered with what it holds: {"descriptors": ..., "blocks": ...}. At the end of the input it closes; status 0 when that went well. */
#include <dirent.h>
#include <snakepit/snakepit.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_long blocks;

static void *count_alloc(size_t n, void *user)
{
    void *p = malloc(n);
    (void)user;
    atomic_fetch_add(&blocks, p != NULL);
    return p;
}

static void *count_realloc(void *block, size_t n, void *user)
{
    void *p = realloc(block, n);
    (void)user;
    atomic_fetch_add(&blocks, p != NULL && block == NULL);
    return p;
}

static void count_free(void *block, void *user)
{
    (void)user;
    atomic_fetch_sub(&blocks, block != NULL);
    free(block);
}

static pit *open_host(char **argv)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pit_crash_barrier_options barrier = PIT_CRASH_BARRIER_OPTIONS_INIT;
    const pit_pool_options *pools[] = {&pool};
    pit *p = NULL;
    pit_error *err = NULL;
    barrier.enabled = PIT_OFF;
    pool.name = "dying";
    pool.adapter = argv[2];
    pool.profile = strchr(argv[3], '=') + 1;
    pool.start_mode = strcmp(argv[4], "start=zygote") == 0 ? PIT_START_ZYGOTE : PIT_START_EXEC;
    pool.workers = atoi(strchr(argv[5], '=') + 1);
    pool.restart_backoff = PIT_OFF;
    pool.max_restarts = 1024;
    pool.crash_barrier = &barrier;
    pool.queue_timeout_ms = 60000;
    o.pools = pools;
    o.n_pools = 1;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python = argv[1];
    o.python_package_path = TEST_BUILD_DIR "/python";
    if (pit_open(&o, &p, &err) != 0)
        fprintf(stderr, "%s\n", pit_error_string(err));
    pit_error_free(err);
    return p;
}

static void answer_error(int rc, const pit_error *err)
{
    pit_value *text = pit_str(pit_error_string(err));
    char *json = pit_error_json(err), *quoted = pit_value_to_json(text, 0);
    printf("{\"rc\":%d,\"error\":%s,\"text\":%s}\n", rc, json, quoted);
    pit_free(json);
    pit_free(quoted);
    pit_value_free(text);
}

static void answer_result(const pit_value *v)
{
    char *json = pit_value_to_json(v, 0);
    printf("{\"rc\":0,\"result\":%s}\n", json);
    pit_free(json);
}

static void call(pit *p, const char *command, int64_t timeout_ms, const char *json)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *args = NULL, *v = NULL;
    pit_error *err = NULL;
    o.timeout_ms = timeout_ms;
    int rc = pit_value_parse_json(json, strlen(json), &args, &err);
    if (rc == 0)
        rc = pit_call(p, command, args, &o, &v, &err);
    if (rc == 0)
        answer_result(v);
    else
        answer_error(rc, err);
    pit_value_free(args);
    pit_value_free(v);
    pit_error_free(err);
}

/* But for what it remembers of calls that killed, which it forgets. */
static void answer_held(pit *p)
{
    int n = 0;
    pit_poison_clear(p, NULL, NULL);
    DIR *d = opendir("/proc/self/fd");
    for (; d != NULL && readdir(d) != NULL; n++)
        ;
    if (d != NULL)
        closedir(d);
    printf("{\"descriptors\":%d,\"blocks\":%ld}\n", n, atomic_load(&blocks));
}

int main(int argc, char **argv)
{
    char line[4096], command[64];
    long long timeout_ms;
    int at;
    static const pit_allocator counting = {sizeof counting, count_alloc, count_realloc, count_free, NULL};
    pit_set_allocator(&counting);
    pit *p = argc == 6 ? open_host(argv) : NULL;
    if (p == NULL)
        return 2;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (line[0] == '!')
            answer_held(p);
        else if (sscanf(line, "%63s %lld %n", command, &timeout_ms, &at) == 2)
            call(p, command, timeout_ms, line + at);
        fflush(stdout);
    }
    return pit_close(p) == 0 ? 0 : 1;
}
