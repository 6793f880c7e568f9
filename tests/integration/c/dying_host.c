/* A host that does everything that a host does, again and again, until it is killed: storms/host_killed.py does that.
 *
 *   dying_host loop|once DATA_DIR ADAPTER    the adapter: nap(seconds), daemon() -> pid of a process in a session of its own
 *
 * Writes a line before each phase: start, call, recycle, close. "once" ends by itself: status 0 when all went well. */
#include <snakepit/snakepit.h>
#include <stdio.h>
#include <string.h>

static void phase(const char *name)
{
    puts(name);
    fflush(stdout);
}

static int call(pit *p, const char *command, const char *format, double seconds)
{
    pit_error *err = NULL;
    int rc = pit_callf(p, command, NULL, NULL, &err, format, seconds);
    if (rc != 0)
        fprintf(stderr, "%s: %s\n", command, pit_error_string(err));
    pit_error_free(err);
    return rc;
}

/* The first worker is replaced while calls run. */
static int recycle(pit *p)
{
    pit_worker_list *l = NULL;
    int rc = pit_list_workers(p, NULL, &l, NULL);
    if (rc == 0 && pit_worker_list_len(l) > 0)
        rc = pit_worker_recycle(p, NULL, pit_worker_list_at(l, 0)->id, NULL);
    pit_worker_list_free(l);
    return rc;
}

static int live(const char *data_dir, const char *adapter)
{
    pit_options o = PIT_OPTIONS_INIT;
    pit *p = NULL;
    pit_error *err = NULL;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    o.python_package_path = TEST_BUILD_DIR "/python";
    o.adapter = adapter;
    o.workers = 2;
    o.data_dir = data_dir;
    o.registry_sweep_interval_ms = 20;
    phase("start");
    int rc = pit_open(&o, &p, &err);
    if (rc != 0)
        fprintf(stderr, "pit_open: %s\n", pit_error_string(err));
    pit_error_free(err);
    phase("call");
    for (int i = 0; rc == 0 && i < 4; i++)
        rc = i == 1 ? call(p, "daemon", "", 0) : call(p, "nap", "(f)", 0.01);
    phase("recycle");
    if (rc == 0)
        rc = recycle(p);
    for (int i = 0; rc == 0 && i < 4; i++)
        rc = call(p, "nap", "(f)", 0.01);
    phase("close");
    int closed = pit_close(p);
    return rc != 0 ? rc : closed;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int rc = 0;
    while (rc == 0) {
        rc = live(argv[2], argv[3]);
        if (strcmp(argv[1], "once") == 0)
            break;
    }
    return rc != 0;
}
