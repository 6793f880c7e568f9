/* Workers that crash, and a program that gets its answers: calls that may be repeated run again on another worker; the one input that always kills is
 * refused once it has killed two, instead of killing on. */
#include <snakepit/snakepit.h>
#include <stdio.h>

enum { CALLS = 40, POISON = 13 };

static int square(pit *p, int n, int *ret, pit_error **reterr)
{
    pit_call_options o = PIT_CALL_OPTIONS_INIT;
    pit_value *v = NULL;
    o.idempotent = PIT_ON;
    int rc = pit_callf(p, "square", &o, &v, reterr, "{s:i}", "n", n);
    if (rc == 0)
        rc = pit_unpack(v, reterr, "i", ret);
    pit_value_free(v);
    return rc;
}

static void repeat(pit *p)
{
    int right = 0;
    for (int n = 100; n < 100 + CALLS; n++) {
        int got = 0;
        right += square(p, n, &got, NULL) == 0 && got == n * n;
    }
    pit_stats s = PIT_STATS_INIT;
    pit_get_stats(p, NULL, &s);
    printf("answers   %d of %d right; %s\n", right, CALLS,
           s.retries > 0 && s.retries == s.crashes ? "each crash cost a retry" : "no crash");
}

static void poison(pit *p)
{
    for (int i = 1; i <= 3; i++) {
        pit_error *e = NULL;
        int got = 0, rc = square(p, POISON, &got, &e);
        size_t deaths = pit_value_len(pit_value_get(pit_error_details(e), "crashes"));
        if (rc == PIT_E_POISON_CALL)
            printf("input %d  is refused: it has killed %zu workers, and gets no other\n", POISON, deaths);
        else
            printf("input %d  %s\n", POISON, pit_error_code_name(rc));
        pit_error_free(e);
    }
    printf("others    %s\n", square(p, 7, &(int){0}, NULL) == 0 ? "go on" : "fail");
}

int main(void)
{
    static const int64_t backoff_ms[] = {1};
    pit *p = NULL;
    pit_error *err = NULL;
    pit_crash_barrier_options barrier = PIT_CRASH_BARRIER_OPTIONS_INIT;
    barrier.backoff_ms = backoff_ms;
    barrier.n_backoff_ms = 1;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.name = "library";
    pool.adapter = "crash_recovery.py";
    pool.workers = 2;
    pool.crash_barrier = &barrier;
    pool.restart_backoff = PIT_OFF; /* this program crashes more often than any library */
    const pit_pool_options *pools[] = {&pool};
    pit_options o = PIT_OPTIONS_INIT;
    o.pools = pools;
    o.n_pools = 1;
    int rc = pit_open(&o, &p, &err);
    if (rc == 0) {
        repeat(p);
        poison(p);
    } else {
        fprintf(stderr, "crash_recovery: %s\n", pit_error_string(err));
    }
    pit_error_free(err);
    pit_close(p);
    return rc != 0;
}
