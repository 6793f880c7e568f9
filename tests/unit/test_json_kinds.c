/* JSON of the further kinds: what comes out as it went in, what is read as something plainer, what is refused and where. */
#include "unit/wire_memory.h"

#include <locale.h>
#include <time.h>

#include "wire/time.h"

static pit_value *parsed(const char *text)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_value_parse_json(text, strlen(text), &v, &e) != 0)
        fail_msg("%s: %s", text, pit_error_string(e));
    return v;
}

static void assert_written(pit_value *v, int flags, const char *want)
{
    char *text = pit_value_to_json(v, flags);
    assert_non_null(text);
    assert_string_equal(text, want);
    pit_free(text);
    pit_value_free(v);
}

#define PIT(kind, v) "{\"$pit\":\"" kind "\",\"v\":" v "}"

static void round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"$pit\":\"set\",\"frozen\":false,\"v\":[]}",
        "{\"$pit\":\"set\",\"frozen\":true,\"v\":[2,1,{\"$pit\":\"set\",\"frozen\":true,\"v\":[null]}]}",
        "{\"$pit\":\"map\",\"v\":[[{\"$pit\":\"set\",\"frozen\":true,\"v\":[1]},2]]}",
        PIT("datetime", "\"2026-11-21T06:13:42\""),
        PIT("datetime", "\"2026-11-21T06:13:42.000000001+02:00\""),
        "{\"$pit\":\"datetime\",\"v\":\"2026-11-21T06:13:42+02:00\",\"zone\":\"Europe/Kyiv\"}",
        PIT("datetime", "\"0001-01-01T00:00:00-23:59:59\""),
        PIT("datetime", "\"9999-12-31T23:59:59.999999999\""),
        PIT("date", "\"2024-02-29\""),
        PIT("time", "\"06:13:42.5\""),
        PIT("time", "\"00:00:00-00:00:01\""),
        PIT("duration", "\"0\""),
        PIT("duration", "\"-0.000000001\""),
        PIT("duration", "\"-86400.000000001\""),
        PIT("duration", "\"9223372036854775807.999999999\""),
        PIT("duration", "\"-9223372036854775808\""),
        PIT("duration", "\"-9223372036854775807.5\""),
        PIT("decimal", "\"1.10\""),
        PIT("decimal", "\"-sNaN12\""),
        PIT("complex", "[1.0,-0.0]"),
        PIT("complex", "[{\"$pit\":\"float\",\"v\":\"nan\"},{\"$pit\":\"float\",\"v\":\"-inf\"}]"),
        "{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[2,3],\"b64\":\"AAECAwQF\"}",
        "{\"$pit\":\"tensor\",\"dtype\":\"f64\",\"shape\":[],\"b64\":\"AAAAAAAA8D8=\"}",
        "{\"$pit\":\"tensor\",\"dtype\":\"c128\",\"shape\":[0],\"b64\":\"\"}",
        "{\"$pit\":\"table\",\"b64\":\"YWJj\"}",
        "{\"$pit\":\"batch\",\"b64\":\"\"}",
        "{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"m.C\",\"worker\":\"w\",\"session\":\"s\",\"generation\":7}",
        "{\"__ffi_unserializable__\":true,\"__type__\":\"m.C\"}",
        "{\"__ffi_unserializable__\":true,\"__type__\":\"m.C\",\"__repr__\":\"<C \\\"x\\\">\"}",
        "{\"$pit\":\"map\",\"v\":[[\"__ffi_unserializable__\",true],[\"__type__\",\"m.C\"]]}",
        "{\"__ffi_unserializable__\":true,\"__type__\":1}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_written(parsed(texts[i]), 0, texts[i]);
}

static void read_as_something_plainer(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {PIT("datetime", "\"1970-01-01T00:00:00Z\""), PIT("datetime", "\"1970-01-01T00:00:00+00:00\"")},
        {PIT("datetime", "\"1970-01-01T00:00:00.500000000\""), PIT("datetime", "\"1970-01-01T00:00:00.5\"")},
        {PIT("time", "\"00:00:00.000+01:00:00\""), PIT("time", "\"00:00:00+01:00\"")},
        {PIT("duration", "\"-0\""), PIT("duration", "\"0\"")},
        {PIT("duration", "\"-0.0\""), PIT("duration", "\"0\"")},
        {PIT("duration", "\"1.50\""), PIT("duration", "\"1.5\"")},
        {PIT("decimal", "\"+1e5\""), PIT("decimal", "\"1E+5\"")},
        {PIT("complex", "[1,-2]"), PIT("complex", "[1.0,-2.0]")},
        {"{\"v\":[1],\"frozen\":true,\"$pit\":\"set\"}", "{\"$pit\":\"set\",\"frozen\":true,\"v\":[1]}"},
        {"{\"v\":[1],\"$pit\":\"set\"}", "{\"$pit\":\"set\",\"frozen\":false,\"v\":[1]}"},
        {"{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"T\",\"worker\":\"w\"}",
         "{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"T\",\"worker\":\"w\",\"session\":null,\"generation\":0}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_written(parsed(pairs[i][0]), 0, pairs[i][1]);
    assert_written(
        parsed("[{\"$pit\":\"set\",\"frozen\":false,\"v\":[1]},{\"$pit\":\"date\",\"v\":\"2026-01-01\"}]"), PIT_JSON_PRETTY,
        "[\n  {\"$pit\": \"set\", \"frozen\": false, \"v\": [\n    1\n  ]},\n  {\"$pit\": \"date\", \"v\": \"2026-01-01\"}\n]");
    assert_written(pit_datetime(0, 0, 0, "M\xc3\xbcnchen"), PIT_JSON_ASCII,
                   "{\"$pit\":\"datetime\",\"v\":\"1970-01-01T00:00:00+00:00\",\"zone\":\"M\\u00fcnchen\"}");
}

static const struct refusal {
    const char *text, *code;
} refusals[] = {
    {"{\"$pit\":\"set\"}", "deserialization_failed"},
    {"{\"$pit\":\"set\",\"frozen\":1,\"v\":[]}", "deserialization_failed"},
    {"{\"$pit\":\"set\",\"frozen\":true,\"v\":{}}", "deserialization_failed"},
    {"{\"$pit\":\"set\",\"frozen\":true,\"v\":[1,1.0]}", "duplicate_key"},
    {"{\"$pit\":\"set\",\"frozen\":true,\"v\":[[]]}", "invalid_parameter"},
    {"{\"$pit\":\"set\",\"frozen\":true,\"v\":[{\"$pit\":\"set\",\"frozen\":false,\"v\":[]}]}", "invalid_parameter"},
    {PIT("datetime", "5"), "deserialization_failed"},
    {PIT("datetime", "\"\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21 06:13:42\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T24:00:00\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:60:00\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:60\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-31T06:13:42\""), "deserialization_failed"},
    {PIT("datetime", "\"0000-01-01T00:00:00\""), "deserialization_failed"},
    {PIT("datetime", "\"10000-01-01T00:00:00\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42.\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42.1234567890\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42z\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42+2:00\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42+0200\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42+24:00\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42+02:00x\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42*02:00\""), "deserialization_failed"},
    {PIT("datetime", "\"2026-11-21T06:13:42\\u0000\""), "deserialization_failed"},
    {"{\"$pit\":\"datetime\",\"v\":\"2026-11-21T06:13:42\",\"zone\":\"UTC\"}", "deserialization_failed"},
    {"{\"$pit\":\"datetime\",\"v\":\"2026-11-21T06:13:42Z\",\"zone\":\"\"}", "deserialization_failed"},
    {"{\"$pit\":\"datetime\",\"v\":\"2026-11-21T06:13:42Z\",\"zone\":null}", "deserialization_failed"},
    {"{\"$pit\":\"datetime\",\"v\":\"2026-11-21T06:13:42Z\",\"zone\":\"a\\u0000b\"}", "deserialization_failed"},
    {"{\"$pit\":\"date\",\"v\":\"2026-11-21\",\"zone\":\"UTC\"}", "deserialization_failed"},
    {PIT("date", "\"2026-1-1\""), "deserialization_failed"},
    {PIT("date", "\"2026-02-29\""), "deserialization_failed"},
    {PIT("date", "\"+026-02-01\""), "deserialization_failed"},
    {PIT("date", "\"2026-00-01\""), "deserialization_failed"},
    {PIT("date", "\"2026-02-01T\""), "deserialization_failed"},
    {PIT("time", "\"6:13:42\""), "deserialization_failed"},
    {PIT("time", "\"06-13-42\""), "deserialization_failed"},
    {PIT("duration", "\"\""), "deserialization_failed"},
    {PIT("duration", "\"-\""), "deserialization_failed"},
    {PIT("duration", "\"+1\""), "deserialization_failed"},
    {PIT("duration", "\"01\""), "deserialization_failed"},
    {PIT("duration", "\".5\""), "deserialization_failed"},
    {PIT("duration", "\"1.\""), "deserialization_failed"},
    {PIT("duration", "\"1e5\""), "deserialization_failed"},
    {PIT("duration", "1.5"), "deserialization_failed"},
    {PIT("duration", "\"9223372036854775808\""), "deserialization_failed"},
    {PIT("duration", "\"-9223372036854775808.5\""), "deserialization_failed"},
    {PIT("duration", "\"99999999999999999999999999\""), "deserialization_failed"},
    {PIT("duration", "\"-18446744073709551615.5\""), "deserialization_failed"},
    {PIT("decimal", "\"one\""), "deserialization_failed"},
    {PIT("decimal", "1.5"), "deserialization_failed"},
    {PIT("decimal", "\"1\\u0000\""), "deserialization_failed"},
    {PIT("bigint", "\"12\\u0000\""), "deserialization_failed"},
    {PIT("complex", "[1]"), "deserialization_failed"},
    {PIT("complex", "[1,2,3]"), "deserialization_failed"},
    {PIT("complex", "[1,\"2\"]"), "deserialization_failed"},
    {PIT("complex", "[9007199254740993,0]"), "deserialization_failed"},
    {PIT("complex", "\"1\""), "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"f8\",\"shape\":[],\"b64\":\"\"}", "unsupported_dtype"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[2],\"b64\":\"AA==\"}", "shape_mismatch"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[4611686018427387904,4],\"b64\":\"\"}", "shape_mismatch"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[1],\"b64\":\"A?==\"}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[1],\"b64\":\"AAA\"}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[-1],\"b64\":\"\"}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[1.0],\"b64\":\"AA==\"}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":1,\"b64\":\"AA==\"}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":8,\"shape\":[1],\"b64\":\"AA==\"}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[1]}", "deserialization_failed"},
    {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"
     "\"b64\":\"AA==\"}",
     "limit_exceeded"},
    {"{\"$pit\":\"table\",\"b64\":\"AAA\"}", "deserialization_failed"},
    {"{\"$pit\":\"table\",\"v\":\"\"}", "deserialization_failed"},
    {"{\"$pit\":\"batch\"}", "deserialization_failed"},
    {"{\"$pit\":\"ref\",\"type\":\"T\",\"worker\":\"w\"}", "deserialization_failed"},
    {"{\"$pit\":\"ref\",\"id\":1,\"type\":\"T\",\"worker\":\"w\"}", "deserialization_failed"},
    {"{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"T\",\"worker\":\"w\",\"generation\":-1}", "deserialization_failed"},
    {"{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"T\",\"worker\":\"w\",\"generation\":null}", "deserialization_failed"},
    {"{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"T\",\"worker\":\"w\",\"more\":1}", "deserialization_failed"},
    {"{\"$pit\":\"marker\",\"type\":\"T\"}", "deserialization_failed"},
    {"{\"$pit\":\"frozenset\",\"v\":[]}", "deserialization_failed"},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        char text[512];
        pit_value *v = (pit_value *)&text;
        pit_error *e = NULL;
        int64_t column = 0;
        snprintf(text, sizeof text, "[%s]", refusals[i].text);
        if (pit_value_parse_json(text, strlen(text), &v, &e) == 0)
            fail_msg("accepted: %s", text);
        assert_ptr_equal(v, &text);
        if (strcmp(pit_error_name(e), refusals[i].code) != 0)
            fail_msg("%s: %s", text, pit_error_string(e));
        assert_true(pit_value_get_int(pit_value_get(pit_error_details(e), "column"), &column));
        assert_true(column >= 2 && column < 64); /* the object, or the one in it */
        pit_error_free(e);
    }
}

static void depth(void **state)
{
    (void)state;
    /* A leaf inside 128 levels of the form that takes the most of JSON. */
    static const char opening[] = "{\"$pit\":\"map\",\"v\":[[1,", closing[] = "]]}", leaf[] = PIT("complex", "[1.0,2.0]");
    for (int levels = 128; levels <= 129; levels++) {
        char *text = malloc((size_t)levels * (sizeof opening + sizeof closing) + sizeof leaf), *p = text;
        for (int i = 0; i < levels; i++)
            p = stpcpy(p, opening);
        p = stpcpy(p, leaf);
        for (int i = 0; i < levels; i++)
            p = stpcpy(p, closing);
        pit_value *v = NULL;
        if (levels == 128)
            assert_written(parsed(text), 0, text);
        else
            assert_int_equal(pit_value_parse_json(text, strlen(text), &v, NULL), PIT_E_LIMIT_EXCEEDED);
        free(text);
    }
}

static void assert_not_written(pit_value *v, const char *code, const char *key)
{
    char *text = (char *)&v;
    size_t n = 77;
    pit_error *e = NULL;
    int rc = pit_value_write_json(v, 0, &text, &n, &e);
    assert_string_equal(pit_error_name(e), code);
    assert_int_equal(pit_error_code(e), rc);
    const char *got = pit_value_str(pit_value_get(pit_error_details(e), "key"));
    if (key != NULL)
        assert_string_equal(got, key);
    else
        assert_null(got);
    assert_true(text == (char *)&v && n == 77);
    pit_error_free(e);
    pit_value_free(v);
}

static void why_not_and_where(void **state)
{
    (void)state;
    int64_t shape[] = {(1 << 20) + 1};
    pit_value *tensor = NULL;
    assert_int_equal(pit_tensor_alloc(NULL, PIT_DTYPE_U8, shape, 1, &tensor, NULL), 0);
    assert_not_written(pit_pack("{s:[i,{i:v}]}", "a", 1, 7, tensor), "limit_exceeded", "[\"a\"][1][7]");
    assert_not_written(pit_value_ref(tensor), "limit_exceeded", NULL);
    pit_value_free(tensor);
    pit_value *list = pit_list(), *map = pit_map();
    pit_list_append_take(list, pit_date(2026, 2, 30));
    pit_map_set_take(map, "when", list);
    assert_not_written(map, "invalid_parameter", "[\"when\"][0]");
    assert_not_written(pit_args(NULL, NULL), "invalid_parameter", NULL);
    pit_value *set = pit_set(0);
    pit_list_append_take(set, pit_list());
    assert_not_written(set, "invalid_parameter", NULL);
    assert_int_equal(pit_value_write_json(NULL, 0, NULL, NULL, NULL), PIT_E_INVALID_PARAMETER);
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(pit_value_write_json(NULL, 0, &text, &n, NULL), 0);
    assert_string_equal(text, "null");
    assert_int_equal(n, 4);
    pit_free(text);
}

static int read_and_write(void *user)
{
    static const char text[] = "[{\"$pit\":\"set\",\"frozen\":true,\"v\":[1,2,{\"$pit\":\"decimal\",\"v\":\"1.5\"}]}," PIT(
        "date",
        "\"2026-01-"
        "01\"") "," PIT("datetime",
                        "\"2026-01-01T00:00:00Z\"") "," PIT("complex",
                                                            "[1,2]") ",{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[1],"
                                                                     "\"b64\":\"AA==\"},{\"$pit\":\"table\",\"b64\":\"AA==\"},{"
                                                                     "\"$"
                                                                     "pit\":\"ref\",\"id\":\"\",\"type\":\"\",\"worker\":\"\"},"
                                                                     "{\"__ffi_unserializable__\":true,\"__type__\":\"T\"}]";
    (void)user;
    pit_value *v = NULL;
    pit_error *e = NULL;
    int rc = pit_value_parse_json(text, sizeof text - 1, &v, &e);
    assert_true(rc == 0 || rc == PIT_E_ALLOCATION_FAILED);
    assert_int_equal(pit_error_code(e), rc);
    pit_error_free(e);
    char *back = rc == 0 ? pit_value_to_json(v, 0) : NULL;
    int complete = back != NULL;
    pit_free(back);
    pit_value_free(v);
    return complete;
}

static void memory_runs_out(void **state)
{
    (void)state;
    long count = memory_try_all(read_and_write, NULL);
    print_message("JSON of all kinds: %ld allocations failed in turn\n", count);
    assert_true(count > 60);
}

static void in_any_locale(void **state)
{
    (void)state;
    if (setlocale(LC_ALL, "tr_TR.UTF-8") == NULL && setlocale(LC_ALL, "de_DE.UTF-8") == NULL)
        setlocale(LC_ALL, "C.UTF-8");
    assert_written(parsed(PIT("decimal", "\"INFINITY\"")), 0, PIT("decimal", "\"Infinity\""));
    assert_written(parsed(PIT("complex", "[1.5,2.5]")), 0, PIT("complex", "[1.5,2.5]"));
    setlocale(LC_ALL, "C");
}

/* As the C library says it, for days that are leap days, the first and last of a year, and any other until the clock of 64 bits ends. */
static void moments_in_utc(void **state)
{
    (void)state;
    const uint64_t second = 1000000000, last = UINT64_MAX / second;
    for (uint64_t at = 0, step = 43201; at <= last; at += step, step += step / 512) {
        char want[TIME_TEXT], got[TIME_TEXT];
        time_t sec = (time_t)at;
        struct tm t;
        assert_non_null(gmtime_r(&sec, &t));
        strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.042Z", &t);
        time_put_utc(got, at * second + 42 * second / 1000);
        assert_string_equal(got, want);
    }
    char got[TIME_TEXT];
    time_put_utc(got, UINT64_C(1709251199999999999));
    assert_string_equal(got, "2024-02-29T23:59:59.999Z");
    time_put_utc(got, 0);
    assert_string_equal(got, "1970-01-01T00:00:00.000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(round_trips), WIRE_TEST(read_as_something_plainer), WIRE_TEST(refused),       WIRE_TEST(why_not_and_where),
        WIRE_TEST(depth),       WIRE_TEST(memory_runs_out),           WIRE_TEST(in_any_locale), WIRE_TEST(moments_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
