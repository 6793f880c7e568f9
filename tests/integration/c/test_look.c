/* Looks at real workers: who computes, holds the GIL, waits in C, is stopped, starts, dies meanwhile, or answers rubbish. */
#include "integration/c/kit_python.h"
#include "ring/look_page.h"
#include "ring/segment.h"

struct view { /* a pit with one pool of one worker in Python */
    struct kit_before before;
    pit *p;
    char path[96], begun[112], fifo[112], id[96];
    pid_t pid;
};

static void view_open(struct view *v, const pit_pool_options *wanted)
{
    memset(v, 0, sizeof *v);
    v->before = kit_before();
    snprintf(v->path, sizeof v->path, "%s.go", kit_stage_path);
    snprintf(v->begun, sizeof v->begun, "%s.begun", v->path);
    snprintf(v->fifo, sizeof v->fifo, "%s.fifo", v->path);
    unlink(v->path);
    unlink(v->begun);
    unlink(v->fifo);
    assert_int_equal(mkfifo(v->fifo, 0600), 0);
    pit_pool_options pool = wanted != NULL ? *wanted : (pit_pool_options)PIT_POOL_OPTIONS_INIT;
    pool.name = "view";
    pool.adapter = TEST_SOURCE_DIR "/tests/integration/c/look.py";
    pool.workers = 1;
    pool.timeout_ms = PIT_INFINITE;
    pit_options host = PIT_OPTIONS_INIT;
    host.require_ready = PIT_OFF;
    v->p = kit_open_python(&host, &pool);
    assert_int_equal(pit_await_all_ready(v->p, NULL, KIT_LIMIT_MS, NULL), 0);
    snprintf(v->id, sizeof v->id, "view/0.1");
    v->pid = kit_worker(v->p, 0);
}

static void view_close(struct view *v, const char *what)
{
    assert_int_equal(pit_close(v->p), 0);
    unlink(v->path);
    unlink(v->begun);
    unlink(v->fifo);
    kit_clean(v->before, what);
}

/* Begins a call and waits until it runs. */
static pit_future *begin_with(struct view *v, const char *command, pit_value *args)
{
    pit_future *f = NULL;
    pit_error *e = NULL;
    if (pit_submit(v->p, command, args, NULL, &f, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    pit_value_free(args);
    KIT_AWAIT(access(v->begun, F_OK) == 0);
    return f;
}

static pit_future *begin(struct view *v, const char *command)
{
    return begin_with(v, command, pit_pack("[s]", v->path));
}

static void let_end(struct view *v)
{
    int fd = open(v->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    fd = open(v->fifo, O_RDWR | O_CLOEXEC);
    assert_int_equal(write(fd, "1", 1), 1);
    poll(NULL, 0, 0);
    close(fd); /* whoever waits for the byte holds the pipe open */
}

static pit_value *look(struct view *v)
{
    pit_value *map = NULL;
    pit_error *e = NULL;
    if (pit_worker_stack(v->p, NULL, v->id, &map, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    return map;
}

static const char *text_of(const pit_value *map, const char *key)
{
    return pit_value_str_or(pit_value_get(map, key), "");
}

static bool flag_of(const pit_value *map, const char *key)
{
    bool b = false;
    pit_value_get_bool(pit_value_get(map, key), &b);
    return b;
}

/* Of a list of maps, the first in which this flag is set. */
static const pit_value *with_flag(const pit_value *list, const char *key)
{
    for (size_t i = 0; i < pit_value_len(list); i++)
        if (flag_of(pit_value_at(list, i), key))
            return pit_value_at(list, i);
    return NULL;
}

static bool has_function(const pit_value *map, const char *function)
{
    const pit_value *frames = pit_value_get(with_flag(pit_value_get(map, "python"), "main"), "frames");
    for (size_t i = 0; i < pit_value_len(frames); i++)
        if (strcmp(text_of(pit_value_at(frames, i), "function"), function) == 0)
            return true;
    return false;
}

/* A look may come before the thread is where it will stay, and on a machine under load an answer may come late: looks again. */
static pit_value *look_until(struct view *v, const char *function, const char *gil, bool whole)
{
    uint64_t until = kit_limit();
    for (;;) {
        pit_value *map = look(v);
        bool good = has_function(map, function) && (gil == NULL || strcmp(text_of(map, "gil"), gil) == 0) &&
                    (!whole || !flag_of(map, "partial"));
        if (good)
            return map;
        if (pit_now_ns() > until) {
            char *json = pit_value_to_json(map, 0);
            fail_msg("never seen in %s: %s", function, json);
        }
        pit_value_free(map);
    }
}

static void expect_true(pit_future *f)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    bool b = false;
    int64_t n = 0;
    assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
    if (pit_future_result(f, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_true((pit_value_get_bool(v, &b) && b) || (pit_value_get_int(v, &n) && n == 1));
    pit_value_free(v);
    pit_future_free(f);
}

static int64_t ask_number(struct view *v, const char *command)
{
    pit_value *r = NULL;
    int64_t n = -1;
    assert_int_equal(pit_callf(v->p, command, NULL, &r, NULL, ""), 0);
    pit_value_get_int(r, &n);
    pit_value_free(r);
    return n;
}

/* ---- what it says ---- */

static void test_busy(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_future *f = begin(&v, "spin");
    pit_value *map = look_until(&v, "spin", NULL, true);
    const pit_value *call = pit_value_at(pit_value_get(map, "calls"), 0);
    int64_t pid = 0;
    assert_string_equal(text_of(map, "worker_id"), v.id);
    assert_string_equal(text_of(map, "pool"), "view");
    assert_true(pit_value_get_int(pit_value_get(map, "pid"), &pid) && pid == v.pid);
    assert_string_equal(text_of(call, "command"), "spin");
    assert_non_null(pit_value_get(call, "running_ms"));
    assert_non_null(with_flag(pit_value_get(map, "threads"), "main"));
    assert_non_null(strstr(text_of(map, "summary"), "look.py, line "));
    pit_value_free(map);
    let_end(&v);
    expect_true(f);
    view_close(&v, "busy");
}

static void test_in_c(void **state)
{
    (void)state;
    static const struct {
        const char *command, *gil;
    } ways[] = {{"hold", "held"}, {"let_go", "taken"}};
    for (size_t i = 0; i < 2; i++) {
        struct view v;
        view_open(&v, NULL);
        pit_future *f = begin(&v, ways[i].command);
        pit_value *map;
        for (uint64_t until = kit_limit();; pit_value_free(map)) { /* until it is in the system call */
            map = look_until(&v, ways[i].command, ways[i].gil, true);
            if (strcmp(text_of(with_flag(pit_value_get(map, "threads"), "main"), "syscall"), "read") == 0)
                break;
            assert_true(pit_now_ns() < until);
        }
        const pit_value *thread = with_flag(pit_value_get(map, "threads"), "main");
        assert_string_equal(text_of(thread, "state"), "sleeping");
#if defined(__x86_64__) || defined(__aarch64__)
        /* not the C library, that is everybody's: who has called it */
        assert_non_null(strstr(text_of(pit_value_get(thread, "at"), "module"), "libc"));
        assert_non_null(strstr(text_of(thread, "in"), "ffi"));
        assert_non_null(strstr(text_of(map, "summary"), "ffi"));
#endif
        assert_non_null(strstr(text_of(map, "summary"), "(read), called from look.py, line "));
        pit_value_free(map);
        let_end(&v);
        expect_true(f);
        view_close(&v, ways[i].command);
    }
}

static void test_stopped(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_future *f = begin(&v, "spin");
    assert_int_equal(kill(v.pid, SIGSTOP), 0);
    pit_value *map = NULL;
    for (uint64_t until = kit_limit();; pit_value_free(map)) {
        map = look(&v);
        if (strcmp(text_of(map, "state"), "stopped") == 0)
            break;
        assert_true(pit_now_ns() < until);
    }
    assert_true(flag_of(map, "partial"));
    assert_null(pit_value_get(map, "python"));
    assert_string_equal(pit_value_str_or(pit_value_at(pit_value_get(map, "missing"), 0), ""), "python: the process is stopped");
    assert_non_null(strstr(text_of(map, "summary"), "stopped"));
    pit_value_free(map);
    assert_int_equal(kill(v.pid, SIGCONT), 0);
    pit_value_free(look_until(&v, "spin", NULL, true)); /* it goes on, and so does looking */
    let_end(&v);
    expect_true(f);
    view_close(&v, "stopped");
}

static void test_idle(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_value *map = look_until(&v, "main", "taken", true);
    assert_int_equal(pit_value_len(pit_value_get(map, "calls")), 0);
    pit_value_free(map);
    view_close(&v, "idle");
}

static void test_lanes(void **state)
{
    (void)state;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.profile = "thread";
    pool.threads_per_worker = 3;
    struct view v;
    view_open(&v, &pool);
    pit_future *f = begin(&v, "let_go");
    bool seen = false;
    for (uint64_t until = kit_limit(); !seen;) {
        pit_value *map = look(&v);
        const pit_value *python = pit_value_get(map, "python");
        int64_t lane = -1, of = -2;
        pit_value_get_int(pit_value_get(pit_value_at(pit_value_get(map, "calls"), 0), "lane"), &lane);
        for (size_t i = 0; i < pit_value_len(python); i++) {
            const pit_value *frame = pit_value_at(pit_value_get(pit_value_at(python, i), "frames"), 1);
            if (strcmp(text_of(frame, "function"), "let_go") == 0)
                seen = pit_value_get_int(pit_value_get(pit_value_at(python, i), "lane"), &of) && of == lane;
        }
        pit_value_free(map);
        assert_true(pit_now_ns() < until);
    }
    let_end(&v);
    expect_true(f);
    view_close(&v, "lanes");
}

static void test_big(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_future *f = begin_with(&v, "deep", pit_pack("[s,i]", v.path, 600));
    pit_value *map = look_until(&v, "read_with", NULL, false);
    assert_true(pit_value_len(pit_value_get(with_flag(pit_value_get(map, "python"), "main"), "frames")) >= 50);
    pit_value_free(map);
    let_end(&v);
    expect_true(f);
    unlink(v.begun);
    f = begin_with(&v, "many", pit_pack("[s,i]", v.path, 90));
    map = look_until(&v, "read_with", NULL, false); /* the main thread comes first, whatever has no room */
    assert_true(flag_of(map, "partial"));
    pit_value_free(map);
    let_end(&v);
    expect_true(f);
    view_close(&v, "big");
}

static void test_strange_names(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_future *f = begin(&v, "strange");
    pit_value *map = look_until(&v, "read_with", NULL, false);
    char *json = pit_value_to_json(map, 0);
    assert_non_null(json);
    for (const char *c = json; *c != '\0'; c++)
        assert_true((unsigned char)*c >= 0x20);
    pit_free(json);
    pit_value_free(map);
    let_end(&v);
    expect_true(f);
    view_close(&v, "strange names");
}

/* ---- what it leaves alone ---- */

static void test_undisturbed(void **state)
{
    (void)state;
    enum { LOOKS = 1000 };
    struct view v;
    view_open(&v, NULL);
    pit_value_free(look(&v));
    int64_t files = ask_number(&v, "files"), mappings = ask_number(&v, "mappings");
    pit_future *f = begin(&v, "let_go");
    for (int i = 0; i < LOOKS; i++)
        pit_value_free(look(&v));
    let_end(&v);
    expect_true(f);
    assert_int_equal(ask_number(&v, "files"), files);
    assert_in_range(ask_number(&v, "mappings"), 0, mappings + 30); /* arenas of the C library */
    pit_value *r = NULL;
    for (int i = 0; i < 3; i++) { /* no sleep is cut short */
        pit_future *nap = NULL;
        assert_int_equal(pit_submit(v.p, "nap", NULL, NULL, &nap, NULL), 0);
        while (pit_future_wait(nap, PIT_NOW) == PIT_E_PENDING)
            pit_value_free(look(&v));
        expect_true(nap);
    }
    assert_int_equal(pit_callf(v.p, "quick", NULL, &r, NULL, "[i]", 7), 0);
    pit_value_free(r);
    assert_int_equal(kit_worker(v.p, 0), v.pid);
    view_close(&v, "undisturbed");
}

struct racer {
    struct view *v;
    int whole, gone;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < 30; i++) {
        pit_value *map = NULL;
        int rc = pit_worker_stack(r->v->p, "view", r->v->id, &map, NULL);
        r->whole += rc == 0 && has_function(map, "spin");
        r->gone += rc == PIT_E_STALE_WORKER || rc == PIT_E_WORKER_NOT_FOUND;
        if (rc != 0 && rc != PIT_E_STALE_WORKER && rc != PIT_E_WORKER_NOT_FOUND)
            return NULL;
        pit_value_free(map);
    }
    return r;
}

/* Several at once, while it works, and while it dies. */
static void test_race(void **state)
{
    (void)state;
    enum { RACERS = 4 };
    for (int dies = 0; dies < 2; dies++) {
        struct view v;
        view_open(&v, NULL);
        pit_future *f = begin(&v, dies ? "leave" : "spin");
        struct racer racers[RACERS];
        pthread_t threads[RACERS];
        for (int i = 0; i < RACERS; i++) {
            racers[i] = (struct racer){.v = &v};
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        if (dies)
            let_end(&v);
        for (int i = 0; i < RACERS; i++) {
            void *good = NULL;
            pthread_join(threads[i], &good);
            assert_non_null(good);
        }
        if (dies) {
            assert_int_equal(kit_outcome(f, NULL), PIT_E_WORKER_CRASH);
        } else {
            let_end(&v);
            expect_true(f);
        }
        view_close(&v, dies ? "race with its death" : "race");
    }
}

/* ---- the last look ---- */

static const char *detail_of(const pit_error *e, const char *key)
{
    return pit_value_str_or(pit_value_get(pit_error_details(e), key), "");
}

/* On a machine under load the answer may come too late for the error: that is tried again. */
static void test_deadline(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    for (int blocking = 0; blocking < 2; blocking++) {
        bool seen = false;
        for (uint64_t until = kit_limit(); !seen;) {
            pit_call_options o = PIT_CALL_OPTIONS_INIT;
            pit_error *e = NULL;
            pit_future *f = NULL;
            pit_value *args = pit_pack("[s]", v.path);
            o.timeout_ms = 200;
            if (blocking) {
                assert_int_equal(pit_call(v.p, "spin", args, &o, NULL, &e), PIT_E_DEADLINE_EXCEEDED);
            } else {
                assert_int_equal(pit_submit(v.p, "spin", args, &o, &f, NULL), 0);
                assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
                assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_DEADLINE_EXCEEDED);
                pit_future_free(f);
            }
            const pit_value *stack = pit_value_get(pit_error_details(e), "stack");
            seen = strstr(detail_of(e, "hung_at"), ", in spin") != NULL;
            if (seen) {
                const char *line = pit_value_str_or(pit_value_at(stack, pit_value_len(stack) - 1), "");
                assert_true(strstr(line, "look.py, line ") == line && strstr(line, ", in spin") != NULL);
            }
            pit_value_free(args);
            pit_error_free(e);
            assert_int_equal(pit_await_all_ready(v.p, NULL, KIT_LIMIT_MS, NULL), 0);
            assert_true(pit_now_ns() < until);
        }
    }
    view_close(&v, "deadline");
}

/* What runs beside it hears where it hung. */
static void test_kill(void **state)
{
    (void)state;
    pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
    pool.profile = "thread";
    pool.threads_per_worker = 2;
    pool.cancel_grace_ms = PIT_NOW;
    struct view v;
    view_open(&v, &pool);
    bool seen = false;
    for (uint64_t until = kit_limit(); !seen;) {
        unlink(v.begun);
        pit_future *f = begin(&v, "let_go");
        pit_call_options o = PIT_CALL_OPTIONS_INIT;
        pit_error *e = NULL;
        pit_value *args = pit_pack("[s]", v.path);
        o.timeout_ms = 200;
        assert_int_equal(pit_call(v.p, "numb", args, &o, NULL, NULL), PIT_E_DEADLINE_EXCEEDED);
        assert_int_equal(pit_future_wait(f, KIT_LIMIT_MS), 0);
        assert_int_equal(pit_future_result(f, NULL, &e), PIT_E_WORKER_KILLED);
        const pit_value *look_map = pit_value_get(pit_error_dossier(e), "look");
        seen =
            strstr(detail_of(e, "hung_at"), "look.py, line ") != NULL && strstr(detail_of(e, "hung_at"), ", in numb") != NULL;
        if (seen) {
            assert_string_equal(text_of(look_map, "gil"), "held");
            assert_string_equal(text_of(look_map, "summary"), detail_of(e, "hung_at"));
        }
        pit_error_free(e);
        pit_future_free(f);
        pit_value_free(args);
        assert_int_equal(pit_await_all_ready(v.p, NULL, KIT_LIMIT_MS, NULL), 0);
        assert_true(pit_now_ns() < until);
    }
    view_close(&v, "kill");
}

/* ---- who cannot answer ---- */

static void test_refused(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_value *map = NULL;
    pit_error *e = NULL;
    assert_int_equal(pit_worker_stack(v.p, NULL, "view/0.2", &map, &e), PIT_E_WORKER_NOT_FOUND);
    assert_string_equal(pit_error_worker(e), "view/0.2");
    pit_error_free(e);
    assert_int_equal(pit_worker_stack(v.p, "other", v.id, &map, NULL), PIT_E_POOL_NOT_FOUND);
    assert_int_equal(pit_worker_stack(v.p, NULL, NULL, &map, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_worker_stack(v.p, NULL, v.id, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_worker_stack(NULL, NULL, v.id, &map, NULL), PIT_E_INVALID_REQUEST);
    assert_null(map);
    view_close(&v, "refused");
}

static void test_without_answers(void **state)
{
    (void)state;
    static const char *const pure[] = {"SNAKEPIT_NO_EXTENSION=1", NULL, NULL};
    pit_heartbeat_options off = PIT_HEARTBEAT_OPTIONS_INIT;
    off.enabled = PIT_OFF;
    for (int i = 0; i < 2; i++) {
        const char *env[] = {kit_mark, pure[0], NULL};
        pit_pool_options pool = PIT_POOL_OPTIONS_INIT;
        pool.heartbeat = i == 0 ? &off : NULL;
        pool.env = i == 0 ? NULL : env;
        struct view v;
        view_open(&v, &pool);
        pit_future *f = begin(&v, "spin");
        pit_value *map = look(&v);
        assert_true(flag_of(map, "partial"));
        assert_null(pit_value_get(map, "python"));
        assert_non_null(strstr(pit_value_str_or(pit_value_at(pit_value_get(map, "missing"), 0), ""), "nothing in it answers"));
        assert_non_null(with_flag(pit_value_get(map, "threads"), "main")); /* what the kernel says is there */
        pit_value_free(map);
        let_end(&v);
        expect_true(f);
        view_close(&v, "without answers");
    }
}

/* ---- who lies ---- */

static struct look_page *map_page(const struct view *v)
{
    char path[64], name[64];
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)v->pid, fd);
        ssize_t n = readlink(path, name, sizeof name - 1);
        name[n > 0 ? n : 0] = '\0';
        if (strncmp(name, "/memfd:snakepit", 15) != 0)
            continue;
        int own = open(path, O_RDWR | O_CLOEXEC);
        off_t size = lseek(own, 0, SEEK_END);
        uint8_t *map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
        close(own);
        assert_ptr_not_equal(map, MAP_FAILED);
        return (struct look_page *)(void *)(map + ((struct segment_header *)(void *)map)->look_offset);
    }
    fail_msg("it has no segment");
    return NULL;
}

/* Of a worker that is stopped just after it was asked, whoever writes the page says what he likes. */
struct liar {
    struct look_page *page;
    int kind;
    atomic_bool over;
};

static void *lie(void *arg)
{
    struct liar *l = arg;
    unsigned seed = (unsigned)l->kind + 1;
    while (!atomic_load(&l->over)) {
        struct look_page *page = l->page;
        if (l->kind == 0) /* always the answer to a question to come */
            __atomic_store_n(&page->answered, page->asked + 1, __ATOMIC_RELEASE);
        else if (l->kind == 1) /* a claim of nobody */
            __atomic_store_n(&page->claim, UINT64_MAX, __ATOMIC_RELEASE);
        else {
            uint8_t *bytes = (uint8_t *)page;
            size_t from = offsetof(struct look_page, began_ns);
            for (size_t i = from; i < sizeof *page; i++)
                bytes[i] = (uint8_t)(seed = seed * 1103515245u + 12345u);
            __atomic_store_n(&page->answered, page->asked, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

static void test_lies(void **state)
{
    (void)state;
    struct view v;
    view_open(&v, NULL);
    pit_future *f = begin(&v, "let_go");
    for (int kind = 0; kind < 3; kind++) {
        struct liar liar = {.page = map_page(&v), .kind = kind};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
        for (int i = 0; i < 20; i++) {
            pit_value *map = look(&v); /* it comes to an end, and can be told */
            char *json = pit_value_to_json(map, 0);
            assert_non_null(json);
            pit_free(json);
            pit_value_free(map);
        }
        atomic_store(&liar.over, true);
        pthread_join(thread, NULL);
        if (kind == 1)
            __atomic_store_n(&liar.page->claim, 0, __ATOMIC_RELEASE);
    }
    pit_value_free(look_until(&v, "let_go", NULL, true));
    let_end(&v);
    expect_true(f);
    view_close(&v, "lies");
}

int main(int argc, char **argv)
{
    kit_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_in_c),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_big),
        cmocka_unit_test(test_strange_names),
        cmocka_unit_test(test_undisturbed),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_without_answers),
        cmocka_unit_test(test_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
