/* Errors: codes and names, the object, its text and JSON, what a worker may say, missing memory. */
#include "unit/wire_memory.h"

#include <pthread.h>

#include "wire/codec.h"
#include "wire/error.h"

static void codes(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *name, *category;
        bool retriable;
    } rows[] = {
#define CODE_ROW(constant, name, category, number, retriable, text) {PIT_E_##constant, #name, #category, retriable},
        PIT_CODE_LIST(CODE_ROW)
#undef CODE_ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *name = pit_error_code_name(rows[i].code);
        assert_true(rows[i].code < 0);
        assert_string_equal(name, rows[i].name); /* so no two share a number */
        assert_int_equal(error_code_from_name(name, strlen(name)), rows[i].code);
        assert_int_equal(strcasecmp(error_code_category(rows[i].code), rows[i].category), 0);
        assert_int_equal(error_code_retriable(rows[i].code), rows[i].retriable);
        assert_string_not_equal(pit_strerror(rows[i].code), "unknown error code");
    }
    assert_string_equal(pit_error_code_name(0), "ok");
    assert_string_equal(pit_error_code_name(12345), "unknown");
    assert_string_equal(pit_strerror(-99999), "unknown error code");
    assert_int_equal(error_code_from_name("queue_timeoutx", 13), PIT_E_QUEUE_TIMEOUT);
    assert_int_equal(error_code_from_name("queue", 5), 0);
    assert_string_equal(error_code_category(5), "internal");
    assert_false(error_code_retriable(0));
}

static void no_error(void **state)
{
    (void)state;
    assert_int_equal(pit_error_code(NULL), 0);
    assert_string_equal(pit_error_name(NULL), "ok");
    assert_string_equal(pit_error_category(NULL), "");
    assert_string_equal(pit_error_message(NULL), "");
    assert_string_equal(pit_error_string(NULL), "");
    assert_true(pit_error_worker(NULL) == NULL && pit_error_pool(NULL) == NULL && pit_error_correlation_id(NULL) == NULL);
    assert_true(pit_error_python_type(NULL) == NULL && pit_error_traceback(NULL) == NULL && pit_error_notes(NULL) == NULL);
    assert_true(pit_error_details(NULL) == NULL && pit_error_suggestions(NULL) == NULL && pit_error_cause(NULL) == NULL);
    assert_false(pit_error_retriable(NULL));
    pit_error_free(NULL);
    char *json = pit_error_json(NULL);
    assert_string_equal(json, "null");
    pit_free(json);
    pit_error *e = (pit_error *)&json;
    assert_int_equal(error_give(&e, NULL), 0);
    assert_null(e);
    assert_int_equal(error_set(NULL, PIT_E_INTERNAL, "nobody looks"), PIT_E_INTERNAL);
    assert_int_equal(error_give(NULL, error_new(PIT_E_END, "dropped")), PIT_E_END);
}

static pit_error *everything(void)
{
    pit_value *notes = pit_pack("[ss]", "note 1", "note 2");
    pit_error *e = error_new(PIT_E_VALUE_ERROR, "no such model: '%s'", "x"), *cause = error_new(PIT_E_WORKER_CRASH, "it died");
    error_worker(e, "default/3.2");
    error_pool(e, "default");
    error_correlation(e, "sp-1");
    error_detail_take(e, "exit_code", pit_int(3));
    error_detail_take(e, "stderr", pit_str("line 1\nline 2"));
    error_detail_take(e, "text", pit_str("plain"));
    error_suggest(e, "try %d", 1);
    error_suggest(e, "try 2");
    error_python(e, "ValueError", "no such model: 'x'", "Traceback (most recent call last):\n  File \"m.py\"\nValueError: x\n",
                 notes);
    pit_value_free(notes);
    error_cause_take(e, error_cause_take(cause, error_new(PIT_E_PERMISSION_ERROR, "deepest")));
    return e;
}

static const char whole_text[] = "[python_error/value_error] no such model: 'x'\n"
                                 "  exit_code: 3\n"
                                 "  stderr:\n    line 1\n    line 2\n"
                                 "  text: plain\n"
                                 "  try: try 1\n"
                                 "  try: try 2\n"
                                 "Traceback (most recent call last):\n  File \"m.py\"\nValueError: x\n"
                                 "caused by: [worker/worker_crash] it died\n"
                                 "caused by: [python_error/permission_error] deepest";

static void the_whole_object(void **state)
{
    (void)state;
    pit_error *e = everything(), *given = NULL;
    error_cause_take(e, pit_error_cause(e) != NULL ? error_ref(pit_error_cause(e)) : NULL);
    assert_int_equal(error_give(&given, e), PIT_E_VALUE_ERROR);
    assert_ptr_equal(given, e);
    assert_string_equal(pit_error_message(e), "no such model: 'x'");
    assert_string_equal(pit_error_worker(e), "default/3.2");
    assert_string_equal(pit_error_pool(e), "default");
    assert_string_equal(pit_error_correlation_id(e), "sp-1");
    assert_string_equal(pit_error_python_type(e), "ValueError");
    assert_int_equal(pit_value_len(pit_error_notes(e)), 2);
    assert_int_equal(pit_value_len(pit_error_details(e)), 3);
    assert_int_equal(pit_value_len(pit_error_suggestions(e)), 2);
    assert_true(pit_value_is_immutable(pit_error_details(e)));
    assert_int_equal(pit_error_code(pit_error_cause(pit_error_cause(e))), PIT_E_PERMISSION_ERROR);
    assert_string_equal(pit_error_string(e), whole_text);
    assert_ptr_equal(pit_error_string(e), pit_error_string(e));
    error_detail_take(e, "late", pit_int(1)); /* a frozen map is copied */
    assert_int_equal(pit_value_len(pit_error_details(e)), 4);
    pit_error *same = error_ref(e);
    pit_error_free(e);
    assert_string_equal(pit_error_message(same), "no such model: 'x'");
    pit_error_free(same);
}

/* What a terminal would obey is written out; what only looks like it is left alone. */
static void text_is_printable(void **state)
{
    (void)state;
    pit_error *e = error_new(PIT_E_VALUE_ERROR, "a\x1b[31mb\x7f\tc\xc2\x9b"
                                                "d\xc2\xa0\xc3\x9b\r");
    error_detail_take(e, "file", pit_str("x\x07\ny"));
    assert_string_equal(pit_error_string(e),
                        "[python_error/value_error] a\\u001b[31mb\\u007f\tc\\u009bd\xc2\xa0\xc3\x9b\\u000d\n"
                        "  file:\n    x\\u0007\n    y");
    pit_error_free(e);
    e = error_new(
        PIT_E_VALUE_ERROR,
        "\xe2\x80\xaegnp.exe\xe2\x81\xa6 \xe2\x80\x8f\xe2\x80\xa8\xef\xbb\xbf\xf3\xa0\x80\x81 \xe2\x80\xa6\xf0\x9f\x90\x8d");
    assert_string_equal(
        pit_error_string(e),
        "[python_error/value_error] \\u202egnp.exe\\u2066 \\u200f\\u2028\\ufeff\\udb40\\udc01 \xe2\x80\xa6\xf0\x9f\x90\x8d");
    pit_error_free(e);
}

/* A person reads it: what is long is cut, and is whole in the JSON form. */
static void text_is_short(void **state)
{
    (void)state;
    char line[64], *words = malloc(8192);
    assert_non_null(words);
    words[0] = '\0';
    for (int i = 1; i <= 200; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        strcat(words, line);
    }
    pit_error *e = error_new(PIT_E_WORKER_CRASH, "gone");
    pit_value *list = pit_list();
    for (int i = 0; i < 100; i++)
        pit_list_append_take(list, pit_str("caf\xc3\xa9s"));
    error_detail_take(e, "list", list);
    error_detail_take(e, "stderr", pit_str(words));
    const char *text = pit_error_string(e);
    assert_non_null(strstr(text, "... (in the JSON form)\n"));
    assert_non_null(strstr(text, "  stderr:\n    ... 1512 bytes before\n    line 181\n"));
    assert_non_null(strstr(text, "line 200"));
    assert_null(strstr(text, "line 180"));
    assert_true(strlen(text) < 800);
    char *json = pit_error_json(e);
    assert_non_null(strstr(json, "line 1\\nline 2\\n"));
    assert_true(strlen(strstr(json, "\"list\":[")) > 700);
    pit_free(json);
    pit_error_free(e);
    memset(words, 'x', 8191);
    words[8191] = '\0';
    e = error_new(PIT_E_WORKER_CRASH, "gone");
    error_detail_take(e, "stderr", pit_str(words));
    assert_non_null(strstr(pit_error_string(e), "\n    ... 4095 bytes before\n    xxx"));
    pit_error_free(e);
    free(words);
}

/* What a refusal tells of each death it is about. */
static void deaths_are_a_line_each(void **state)
{
    (void)state;
    pit_error *e = error_new(PIT_E_POISON_CALL, "no");
    error_detail_take(e, "crashes",
                      pit_pack("[{s:s,s:s,s:s,s:{s:s,s:s}},{s:s}]", "worker", "p/0.1", "exit_class", "segfault", "stderr",
                               "long\nand long", "dossier", "id", "x-p-0.1", "python_at", "a.py, line 3, in f\nmore", "worker",
                               "p/0.2"));
    assert_string_equal(pit_error_string(e) + strcspn(pit_error_string(e), "\n"),
                        "\n  crashes:\n    worker p/0.1: segfault, dossier x-p-0.1, at a.py, line 3, in f\n    worker p/0.2");
    pit_error_free(e);
}

/* The path stands once in the text, and always in the details. */
static void the_path_is_told_once(void **state)
{
    (void)state;
    static const struct {
        const char *message, *key, *text;
    } cases[] = {
        {"bad at [\"a\"]", "[\"a\"]", "[validation/invalid_parameter] bad at [\"a\"]"},
        {"bad", "[\"a\"]", "[validation/invalid_parameter] bad\n  key: [\"a\"]"},
        {"bad", "", "[validation/invalid_parameter] bad"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pit_error *e = error_new(PIT_E_INVALID_PARAMETER, "%s", cases[i].message);
        error_detail_take(e, "key", pit_str(cases[i].key));
        assert_string_equal(pit_error_string(e), cases[i].text);
        assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "key")), cases[i].key);
        pit_error_free(e);
    }
}

static void json_form(void **state)
{
    (void)state;
    pit_error *e = everything();
    char *json = pit_error_json(e);
    pit_value *v = NULL;
    assert_string_equal(
        json,
        "{\"category\":\"python_error\",\"code\":\"value_error\",\"message\":\"no such model: 'x'\",\"retriable\":false,"
        "\"worker_id\":\"default/3.2\",\"pool\":\"default\",\"correlation_id\":\"sp-1\","
        "\"details\":{\"exit_code\":3,\"stderr\":\"line 1\\nline 2\",\"text\":\"plain\"},"
        "\"python\":{\"type\":\"ValueError\",\"message\":\"no such model: 'x'\",\"traceback\":\"Traceback (most recent call "
        "last):\\n"
        "  File \\\"m.py\\\"\\nValueError: x\\n\",\"notes\":[\"note 1\",\"note 2\"]},\"suggestions\":[\"try 1\",\"try "
        "2\"],\"dossier\":null,"
        "\"cause\":{\"category\":\"worker\",\"code\":\"worker_crash\",\"message\":\"it "
        "died\",\"retriable\":true,\"worker_id\":null,"
        "\"pool\":null,\"correlation_id\":null,\"details\":null,\"python\":null,\"suggestions\":[],\"dossier\":null,"
        "\"cause\":{\"category\":\"python_error\",\"code\":\"permission_error\",\"message\":\"deepest\",\"retriable\":false,"
        "\"worker_id\":null,\"pool\":null,\"correlation_id\":null,\"details\":null,\"python\":null,\"suggestions\":[],"
        "\"dossier\":null,"
        "\"cause\":null}}}");
    assert_int_equal(pit_value_parse_json(json, strlen(json), &v, NULL), 0);
    pit_value_free(v);
    pit_free(json);
    pit_error_free(e);
}

static void texts_become_utf8(void **state)
{
    (void)state;
    pit_error *e = error_new(PIT_E_INTERNAL, "bad \xff\xfe byte");
    assert_string_equal(pit_error_message(e), "bad \xef\xbf\xbd\xef\xbf\xbd byte");
    error_worker(e, "w\x80");
    error_suggest(e, "%s", "s\xc3");
    assert_string_equal(pit_error_worker(e), "w\xef\xbf\xbd");
    assert_string_equal(pit_value_str(pit_value_at(pit_error_suggestions(e), 0)), "s\xef\xbf\xbd");
    pit_error_free(e);
    e = error_new(PIT_E_INTERNAL, "%s", "");
    assert_string_equal(pit_error_message(e), pit_strerror(PIT_E_INTERNAL));
    pit_error_free(e);
}

static void a_long_chain_of_causes(void **state)
{
    (void)state;
    pit_error *e = NULL;
    for (int i = 0; i < 50000; i++)
        e = error_cause_take(error_new(PIT_E_INTERNAL, "%d", i), e);
    char *json = pit_error_json(e);
    assert_non_null(json);
    assert_non_null(strstr(pit_error_string(e), "caused by: [internal/internal] 0"));
    pit_free(json);
    pit_error_free(e);
}

static pit_error *from_worker(pit_value *map, int fallback)
{
    struct buf b = {0};
    assert_int_equal(codec_encode(&b, map, NULL), 0);
    pit_error *e = error_from_worker(b.data, b.len, fallback);
    buf_finish(&b);
    pit_value_free(map);
    return e;
}

static void what_a_worker_says(void **state)
{
    (void)state;
    pit_error *e =
        from_worker(pit_pack("{s:s,s:s,s:{s:s,s:s,s:s,s:[ss]},s:{s:s,s:i},s:[s],s:i}", "code", "key_error", "message", "'k'",
                             "python", "type", "KeyError", "message", "'k'", "traceback", "Traceback", "notes", "a", "b",
                             "details", "key", "[\"x\"]", "n", 5, "suggestions", "look", "unknown", 1),
                    PIT_E_PYTHON_EXCEPTION);
    assert_int_equal(pit_error_code(e), PIT_E_KEY_ERROR);
    assert_string_equal(pit_error_message(e), "'k'");
    assert_string_equal(pit_error_python_type(e), "KeyError");
    assert_string_equal(pit_error_traceback(e), "Traceback");
    assert_int_equal(pit_value_len(pit_error_notes(e)), 2);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "key")), "[\"x\"]");
    assert_int_equal(pit_value_len(pit_error_suggestions(e)), 1);
    pit_error_free(e);
    e = from_worker(pit_pack("{s:{s:s,s:s}}", "python", "type", "E", "message", "only here"), PIT_E_PYTHON_EXCEPTION);
    assert_int_equal(pit_error_code(e), PIT_E_PYTHON_EXCEPTION);
    assert_string_equal(pit_error_message(e), "only here");
    pit_error_free(e);
}

static void what_the_host_adds(void **state)
{
    (void)state;
    pit_error *e = from_worker(pit_pack("{s:s,s:[s]}", "code", "streaming_required", "suggestions", "collect it"), 0);
    assert_int_equal(pit_value_len(pit_error_suggestions(e)), 2);
    assert_string_equal(pit_value_str(pit_value_at(pit_error_suggestions(e), 0)), "collect it");
    assert_non_null(strstr(pit_value_str(pit_value_at(pit_error_suggestions(e), 1)), "call --stream"));
    pit_error_free(e);
    e = from_worker(pit_pack("{s:s}", "code", "streaming_not_supported"), 0);
    assert_int_equal(pit_value_len(pit_error_suggestions(e)), 1);
    assert_non_null(strstr(pit_error_string(e), "without --stream"));
    pit_error_free(e);
}

static void what_a_worker_may_not_say(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int code;
    } names[] = {{"worker_crash", 0},
                 {"queue_timeout", 0},
                 {"ok", 0},
                 {"", 0},
                 {"no such code", 0},
                 {"pool_saturated", 0},
                 {"internal", 0},
                 {"guard_lost", 0},
                 {"forked", 0},
                 {"tool_not_found", PIT_E_TOOL_NOT_FOUND},
                 {"unserializable", PIT_E_UNSERIALIZABLE},
                 {"out_of_memory", PIT_E_OUT_OF_MEMORY},
                 {"deadline_exceeded", PIT_E_DEADLINE_EXCEEDED},
                 {"limit_exceeded", PIT_E_LIMIT_EXCEEDED},
                 {"adapter_init_failed", PIT_E_ADAPTER_INIT_FAILED},
                 {"zero_division", PIT_E_ZERO_DIVISION}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        pit_error *e = from_worker(pit_pack("{s:s}", "code", names[i].name), PIT_E_PYTHON_EXCEPTION);
        assert_int_equal(pit_error_code(e), names[i].code != 0 ? names[i].code : PIT_E_PYTHON_EXCEPTION);
        pit_error_free(e);
    }
    /* things of the wrong kind are left out */
    pit_error *e =
        from_worker(pit_pack("{s:i,s:[],s:[],s:i,s:{},i:i}", "code", 5, "message", "python", "details", 1, "suggestions", 7, 8),
                    PIT_E_PYTHON_EXCEPTION);
    assert_string_equal(pit_error_message(e), pit_strerror(PIT_E_PYTHON_EXCEPTION));
    assert_true(pit_error_details(e) == NULL && pit_error_python_type(e) == NULL && pit_error_suggestions(e) == NULL);
    pit_error_free(e);
    e = from_worker(pit_pack("{s:{s:i,s:s},s:{i:i},s:[iisi]}", "python", "type", 5, "message", "m", "details", 1, 2,
                             "suggestions", 1, 2, "s", 3),
                    PIT_E_PYTHON_EXCEPTION);
    assert_null(pit_error_python_type(e));
    assert_null(pit_error_details(e));
    assert_int_equal(pit_value_len(pit_error_suggestions(e)), 1);
    pit_error_free(e);
    e = from_worker(pit_pack("[s]", "no map"), PIT_E_ADAPTER_INIT_FAILED);
    assert_int_equal(pit_error_code(e), PIT_E_ADAPTER_INIT_FAILED);
    pit_error_free(e);
    e = error_from_worker((const uint8_t *)"\xc1", 1, PIT_E_PYTHON_EXCEPTION);
    assert_int_equal(pit_error_code(e), PIT_E_PYTHON_EXCEPTION);
    assert_non_null(strstr(pit_error_message(e), "cannot be read"));
    pit_error_free(e);
}

static void what_a_worker_says_is_cut(void **state)
{
    (void)state;
    enum { N = 600000 };
    char *text = malloc(N + 1);
    for (int i = 0; i < N; i++)
        text[i] = "\xc3\xa4"[i % 2]; /* so that a cut in the middle of a character shows */
    text[N - 2] = 'E';
    text[N - 1] = '\0';
    pit_value *notes = pit_list(), *details = pit_map(), *suggestions = pit_list();
    for (int i = 0; i < 300; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        pit_list_append_take(notes, pit_str("note"));
        pit_list_append_take(suggestions, pit_str("suggestion"));
        pit_map_set_take(details, key, pit_int(i));
    }
    pit_error *e =
        from_worker(pit_pack("{s:s,s:{s:s,s:s,s:s,s:v},s:v,s:v}", "message", text, "python", "type", text, "message", text,
                             "traceback", text, "notes", notes, "details", details, "suggestions", suggestions),
                    PIT_E_PYTHON_EXCEPTION);
    assert_int_equal(strlen(pit_error_message(e)), 65536);
    assert_int_equal(strlen(pit_error_python_type(e)), 256);
    assert_in_range(strlen(pit_error_traceback(e)), 262143, 262144);
    assert_int_equal(pit_error_traceback(e)[strlen(pit_error_traceback(e)) - 1], 'E'); /* the end is what matters */
    assert_int_equal(pit_value_len(pit_error_notes(e)), 100);
    assert_int_equal(pit_value_len(pit_error_details(e)), 64);
    assert_int_equal(pit_value_len(pit_error_suggestions(e)), 20);
    assert_null(strstr(pit_error_string(e), "\xef\xbf\xbd")); /* no character was broken */
    pit_error_free(e);
    pit_value_free(notes);
    pit_value_free(details);
    pit_value_free(suggestions);
    free(text);
    e = from_worker(pit_pack("{s:S}", "message", "a\0b", (size_t)3), PIT_E_PYTHON_EXCEPTION);
    assert_string_equal(pit_error_message(e), "a b");
    pit_error_free(e);
}

static void nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"predict", "classify", "train", NULL, "", "greet"};
    size_t n = sizeof names / sizeof names[0];
    assert_string_equal(error_nearest("predcit", names, n), "predict");
    assert_string_equal(error_nearest("Predict", names, n), "predict");
    assert_string_equal(error_nearest("clasify", names, n), "classify");
    assert_string_equal(error_nearest("greet", names, n), "greet");
    assert_string_equal(error_nearest("gret", names, n), "greet");
    assert_null(error_nearest("xyzzy", names, n));
    assert_null(error_nearest("", names, n));
    assert_null(error_nearest("a", names, n));
    assert_null(error_nearest("predict", NULL, 0));
    char longer[200];
    memset(longer, 'a', sizeof longer - 1);
    longer[199] = '\0';
    assert_null(error_nearest(longer, names, n));
}

static void *read_string(void *user)
{
    return (void *)(uintptr_t)pit_error_string(user);
}

static void threads_make_one_string(void **state)
{
    (void)state;
    mem_set_allocator(NULL); /* the counting one is for one thread */
    for (int round = 0; round < 50; round++) {
        pthread_t threads[4];
        void *text[4];
        pit_error *e = everything();
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_string, e), 0);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_join(threads[i], &text[i]), 0);
        for (int i = 0; i < 4; i++)
            assert_ptr_equal(text[i], text[0]);
        assert_string_equal(text[0], whole_text);
        pit_error_free(e);
    }
    mem_set_allocator(&memory_allocator);
}

static int make_all(void *user)
{
    (void)user;
    pit_error *e = everything();
    assert_int_equal(pit_error_code(e), PIT_E_VALUE_ERROR); /* never lost */
    assert_non_null(pit_error_message(e));
    const char *text = pit_error_string(e);
    char *json = pit_error_json(e);
    int complete = strcmp(text, whole_text) == 0 && json != NULL && pit_value_len(pit_error_notes(e)) == 2;
    pit_free(json);
    pit_error_free(e);
    return complete;
}

static int worker_error(void *user)
{
    struct buf *payload = user;
    pit_error *e = error_from_worker(payload->data, payload->len, PIT_E_PYTHON_EXCEPTION);
    int complete = pit_error_code(e) == PIT_E_KEY_ERROR && strcmp(pit_error_message(e), "m") == 0 &&
                   pit_error_traceback(e) != NULL && pit_value_len(pit_error_notes(e)) == 1 &&
                   pit_value_len(pit_error_details(e)) == 1 && pit_value_len(pit_error_suggestions(e)) == 1;
    assert_true(pit_error_code(e) != 0);
    pit_error_free(e);
    return complete;
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct buf payload = {0};
    pit_value *v =
        pit_pack("{s:s,s:s,s:{s:s,s:s,s:s,s:[s]},s:{s:i},s:[s]}", "code", "key_error", "message", "m", "python", "type",
                 "KeyError", "message", "m", "traceback", "t", "notes", "n", "details", "d", 5000, "suggestions", "s");
    assert_int_equal(codec_encode(&payload, v, NULL), 0);
    pit_value_free(v);
    long count = memory_try_all(make_all, NULL) + memory_try_all(worker_error, &payload);
    buf_finish(&payload);
    print_message("errors: %ld allocations failed in turn\n", count);
    assert_true(count > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(codes),
        WIRE_TEST(no_error),
        WIRE_TEST(the_whole_object),
        WIRE_TEST(the_path_is_told_once),
        WIRE_TEST(text_is_printable),
        WIRE_TEST(text_is_short),
        WIRE_TEST(deaths_are_a_line_each),
        WIRE_TEST(json_form),
        WIRE_TEST(texts_become_utf8),
        WIRE_TEST(a_long_chain_of_causes),
        WIRE_TEST(what_a_worker_says),
        WIRE_TEST(what_the_host_adds),
        WIRE_TEST(what_a_worker_may_not_say),
        WIRE_TEST(what_a_worker_says_is_cut),
        WIRE_TEST(nearest_name),
        WIRE_TEST(threads_make_one_string),
        WIRE_TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
