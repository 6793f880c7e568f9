/* JSON: what is read and written, what is refused and where, the tagged forms, floats, any locale. */
#include "skip.h"
#include "unit/wire_memory.h"

#include <locale.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static pit_value *parsed(const char *text)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_value_parse_json(text, strlen(text), &v, &e) != 0)
        fail_msg("%s: %s", text, pit_error_string(e));
    assert_null(e);
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

/* Texts that come out as they went in. */
static void round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1.5",
        "3.0",
        "-0.0",
        "1e+22",
        "1e-07",
        "5e-324",
        "1.7976931348623157e+308",
        "1000000000000000.0",
        "1e+16",
        "0.0001",
        "1e-05",
        "123456.789",
        "0.1",
        "0.30000000000000004",
        "5.966672584960166e-154",
        "6.386688990511104e+293",
        "\"\"",
        "\"a\\u0000b\\n\\t\\\"\\\\/\\u001f\\u007f\"",
        "\"\xc3\xa4\xf0\x9f\x98\x80\"",
        "[]",
        "{}",
        "[1,[2,[]],{\"a\":null}]",
        "{\"b\":1,\"a\":2,\"\":3}",
        "{\"$pit\":\"bigint\",\"v\":\"18446744073709551616\"}",
        "{\"$pit\":\"float\",\"v\":\"nan\"}",
        "{\"$pit\":\"float\",\"v\":\"inf\"}",
        "{\"$pit\":\"float\",\"v\":\"-inf\"}",
        "{\"$pit\":\"bytes\",\"b64\":\"\"}",
        "{\"$pit\":\"bytes\",\"b64\":\"AA==\"}",
        "{\"$pit\":\"bytes\",\"b64\":\"+/8=\"}",
        "{\"$pit\":\"bytes\",\"b64\":\"AAEC\"}",
        "{\"$pit\":\"tuple\",\"v\":[]}",
        "{\"$pit\":\"tuple\",\"v\":[1,{\"$pit\":\"tuple\",\"v\":[2]}]}",
        "{\"$pit\":\"map\",\"v\":[[1,2],[null,[]],[{\"$pit\":\"tuple\",\"v\":[1]},\"x\"]]}",
        "{\"$pit\":\"map\",\"v\":[[\"$pit\",1]]}",
        "{\"$pit\":\"map\",\"v\":[[\"$pitfall\",1],[\"a\",2]]}",
        "{\"$\":1}",
        "{\"$pit\":\"exception\",\"type\":\"E\",\"message\":\"m\",\"traceback\":\"t\",\"notes\":[\"n\"],\"cause\":{\"$pit\":"
        "\"exception\","
        "\"type\":\"F\",\"message\":\"\",\"traceback\":null,\"notes\":[],\"cause\":null}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_written(parsed(texts[i]), 0, texts[i]);
}

static void read_as_something_plainer(void **state)
{
    (void)state;
    assert_written(parsed(" \t\r\n[ 1 , 2 ] \n"), 0, "[1,2]");
    assert_written(parsed("-0"), 0, "0");
    assert_written(parsed("1E5"), 0, "100000.0");
    assert_written(parsed("1.0e+2"), 0, "100.0");
    assert_written(parsed("0e5"), 0, "0.0");
    assert_written(parsed("1e-999"), 0, "0.0");
    assert_written(parsed("0.00000000000000000000000000000000001e35"), 0, "1.0");
    assert_written(parsed("18446744073709551616"), 0, "{\"$pit\":\"bigint\",\"v\":\"18446744073709551616\"}");
    assert_written(parsed("{\"v\":\"-5\",\"$pit\":\"bigint\"}"), 0, "-5");
    assert_written(parsed("\"\\u0041\\/\\b\\f\\ud83d\\ude00\\uFFFF\""), 0, "\"A/\\b\\f\xf0\x9f\x98\x80\xef\xbf\xbf\"");
    assert_written(parsed("{\"$pitfall\":1}"), 0, "{\"$pit\":\"map\",\"v\":[[\"$pitfall\",1]]}");
    assert_written(parsed("{\"$pit\":\"map\",\"v\":[[\"a\",1]]}"), 0, "{\"a\":1}");
    assert_written(parsed("{\"$pit\":\"exception\",\"type\":\"E\"}"), 0,
                   "{\"$pit\":\"exception\",\"type\":\"E\",\"message\":\"\",\"traceback\":null,\"notes\":[],\"cause\":null}");
}

static void flags(void **state)
{
    (void)state;
    assert_written(parsed("[\"\\u00e4\\ud83d\\ude00\",{}]"), PIT_JSON_ASCII, "[\"\\u00e4\\ud83d\\ude00\",{}]");
    assert_written(parsed("{\"a\":[1,{}],\"b\":[]}"), PIT_JSON_PRETTY, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}");
    pit_value *args = pit_args(NULL, NULL);
    assert_null(pit_value_to_json(args, 0));
    assert_null(pit_value_to_json(pit_str("\xff"), 0));
    pit_value_free(args);
    assert_written(NULL, 0, "null");
}

static const struct refusal {
    const char *text, *code;
    unsigned line, column;
} refusals[] = {
    {"", "deserialization_failed", 1, 1},
    {"  \n ", "deserialization_failed", 2, 2},
    {"\xef\xbb\xbf"
     "1",
     "deserialization_failed", 1, 1},
    {"nul", "deserialization_failed", 1, 1},
    {"True", "deserialization_failed", 1, 1},
    {"NaN", "deserialization_failed", 1, 1},
    {"Infinity", "deserialization_failed", 1, 1},
    {"-Infinity", "deserialization_failed", 1, 2},
    {"[1,]", "deserialization_failed", 1, 4},
    {"[1 2]", "deserialization_failed", 1, 4},
    {"[1", "deserialization_failed", 1, 3},
    {"{\"a\":1,}", "deserialization_failed", 1, 8},
    {"{\"a\" 1}", "deserialization_failed", 1, 6},
    {"{a:1}", "deserialization_failed", 1, 2},
    {"{1:1}", "deserialization_failed", 1, 2},
    {"{\"a\":}", "deserialization_failed", 1, 6},
    {"[1]x", "deserialization_failed", 1, 4},
    {"1 2", "deserialization_failed", 1, 3},
    {"[\n1,\n\n  ?]", "deserialization_failed", 4, 3},
    {"01", "deserialization_failed", 1, 2},
    {"-", "deserialization_failed", 1, 2},
    {"+1", "deserialization_failed", 1, 1},
    {".5", "deserialization_failed", 1, 1},
    {"1.", "deserialization_failed", 1, 3},
    {"1e", "deserialization_failed", 1, 3},
    {"1e+", "deserialization_failed", 1, 4},
    {"0x10", "deserialization_failed", 1, 2},
    {"[1e999]", "deserialization_failed", 1, 2},
    {"-1e400", "deserialization_failed", 1, 1},
    {"1.7976931348623159e308", "deserialization_failed", 1, 1},
    {"\"abc", "deserialization_failed", 1, 1},
    {"\"a\nb\"", "deserialization_failed", 1, 3},
    {"\"\\x41\"", "deserialization_failed", 1, 2},
    {"\"\\u12g4\"", "deserialization_failed", 1, 2},
    {"\"\\u123\"", "deserialization_failed", 1, 2},
    {"\"\\\"", "deserialization_failed", 1, 1},
    {"'a'", "deserialization_failed", 1, 1},
    {"\"\\ud800\"", "invalid_utf8", 1, 2},
    {"\"a\\udc00\"", "invalid_utf8", 1, 3},
    {"\"\\ud800\\ud800\"", "invalid_utf8", 1, 2},
    {"\"\\ud800\\n\"", "invalid_utf8", 1, 2},
    {"\"ab\xff\"", "invalid_utf8", 1, 4},
    {"\"\xed\xa0\x80\"", "invalid_utf8", 1, 2},
    {"{\"a\":1,\"b\":2,\"a\":3}", "duplicate_key", 1, 14},
    {"{\"a\":1,\"\\u0061\":3}", "duplicate_key", 1, 8},
    {"{\"$pit\":\"map\",\"v\":[[1,1],[1.0,2]]}", "duplicate_key", 1, 1},
    {"{\"$pit\":\"map\",\"v\":[[[],1]]}", "invalid_parameter", 1, 1},
    {"[{\"$pit\":\"unknown\",\"v\":1}]", "deserialization_failed", 1, 2},
    {"{\"$pit\":1}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"set\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bigint\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bigint\",\"v\":5}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bigint\",\"v\":\"+5\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bigint\",\"v\":\"\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bigint\",\"v\":\"5\",\"w\":1}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"float\",\"v\":\"1.5\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"float\",\"v\":\"NaN\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"A\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"AAA\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"AB==\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"AAB=\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"====\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"A===\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"AA==AA==\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"b64\":\"AA-_\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"bytes\",\"v\":\"\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"tuple\",\"v\":{}}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"map\",\"v\":[[1]]}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"map\",\"v\":{}}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"exception\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"exception\",\"type\":\"E\",\"notes\":[1]}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"exception\",\"type\":\"E\",\"cause\":\"c\"}", "deserialization_failed", 1, 1},
    {"{\"$pit\":\"exception\",\"type\":\"E\",\"extra\":1}", "deserialization_failed", 1, 1},
};

static void assert_refused(const char *text, size_t n, const char *code, unsigned line, unsigned column)
{
    pit_value *v = (pit_value *)&n;
    pit_error *e = NULL;
    int64_t at_line = 0, at_column = 0;
    int rc = pit_value_parse_json(text, n, &v, &e);
    if (rc == 0)
        fail_msg("accepted: %s", text);
    assert_ptr_equal(v, &n);
    assert_int_equal(pit_error_code(e), rc);
    pit_value_get_int(pit_value_get(pit_error_details(e), "line"), &at_line);
    pit_value_get_int(pit_value_get(pit_error_details(e), "column"), &at_column);
    if (strcmp(pit_error_name(e), code) != 0 || at_line != line || at_column != column)
        fail_msg("%s: %s", text, pit_error_string(e));
    pit_error_free(e);
    assert_int_equal(pit_value_parse_json(text, n, &v, NULL), rc);
}

static void refused_with_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(refusals[i].text, strlen(refusals[i].text), refusals[i].code, refusals[i].line, refusals[i].column);
    assert_refused("1\0", 2, "deserialization_failed", 1, 2);
    assert_refused("\0", 1, "deserialization_failed", 1, 1);
    assert_refused("[\"a\0\"]", 6, "deserialization_failed", 1, 4);
    pit_value *v = NULL;
    assert_int_equal(pit_value_parse_json(NULL, 0, &v, NULL), PIT_E_DESERIALIZATION_FAILED);
    assert_int_equal(pit_value_parse_json(NULL, 1, &v, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_parse_json("1", 1, NULL, NULL), PIT_E_INVALID_PARAMETER);
}

/* n times `opening`, a number, n times `closing`. */
static char *nested(const char *opening, const char *closing, int n)
{
    size_t a = strlen(opening), b = strlen(closing);
    char *text = malloc((a + b) * (size_t)n + 2), *p = text;
    for (int i = 0; i < n; i++, p += a)
        memcpy(p, opening, a);
    *p++ = '1';
    for (int i = 0; i < n; i++, p += b)
        memcpy(p, closing, b);
    *p = '\0';
    return text;
}

static void depth(void **state)
{
    (void)state;
    static const char *const forms[][2] = {
        {"[", "]"},
        {"{\"a\":", "}"},
        {"{\"$pit\":\"tuple\",\"v\":[", "]}"},
        {"{\"$pit\":\"map\",\"v\":[[1,", "]]}"},
    };
    for (size_t i = 0; i < 4; i++) {
        char *text = nested(forms[i][0], forms[i][1], 128);
        assert_written(parsed(text), 0, i < 3 ? text : text);
        free(text);
        static const int deep[] = {129, 200, 385, 5000};
        for (size_t k = 0; k < 4; k++) {
            pit_value *v = NULL;
            text = nested(forms[i][0], forms[i][1], deep[k]);
            assert_int_equal(pit_value_parse_json(text, strlen(text), &v, NULL), PIT_E_LIMIT_EXCEEDED);
            free(text);
        }
    }
    char *text = nested("[", "]", 129);
    assert_refused(text, strlen(text), "limit_exceeded", 1, 129);
    free(text);
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    return bits;
}

static void assert_float(double x)
{
    pit_value *v = pit_float(x), *back;
    double y = 0;
    char *text = pit_value_to_json(v, 0);
    back = parsed(text);
    assert_true(pit_value_get_float(back, &y)); /* still a float */
    if (bits_of(x) != bits_of(y))
        fail_msg("%s", text);
    assert_true(strlen(text) <= 25);
    pit_free(text);
    pit_value_free(v);
    pit_value_free(back);
}

static void floats_keep_their_bits(void **state)
{
    (void)state;
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        double x;
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&x, &bits, 8);
        if (isfinite(x))
            assert_float(x);
        assert_float((double)(int64_t)(bits >> 40) / 100);
    }
    for (int e = -1074; e < 1024; e++) {
        assert_float(ldexp(1, e));
        assert_float(nextafter(ldexp(1, e), 0));
        assert_float(-nextafter(ldexp(1, e), INFINITY));
    }
}

/* Long numbers are rounded once, and correctly: halfway cases with a digit far behind. */
static void long_numbers(void **state)
{
    (void)state;
    static const char half[] = "9007199254740993"; /* between ...992 and ...994, to even: 992 */
    char text[3000];
    double x = 0;
    snprintf(text, sizeof text, "%s.0", half);
    pit_value *v = parsed(text);
    assert_true(pit_value_get_float(v, &x) && x == 9007199254740992.0);
    pit_value_free(v);
    int n = snprintf(text, sizeof text, "%s.", half);
    memset(text + n, '0', 2000);
    strcpy(text + n + 2000, "1");
    v = parsed(text);
    assert_true(pit_value_get_float(v, &x) && x == 9007199254740994.0);
    pit_value_free(v);
    memset(text, '0', sizeof text);
    text[0] = '1'; /* 1 and 2000 zeros, and back again */
    strcpy(text + 2001, "e-2000");
    v = parsed(text);
    assert_true(pit_value_get_float(v, &x) && x == 1.0);
    pit_value_free(v);
}

/* glibc's compiled form of a locale whose decimal point is a comma, with grouping: what `localedef` makes, so that the test needs none
 * installed. */
static const char comma_numeric[] =
    "\x14\x11\x03\x20\x06\x00\x00\x00\x20\x00\x00\x00\x22\x00\x00\x00\x24\x00\x00\x00\x28\x00\x00\x00"
    "\x2c\x00\x00\x00\x30\x00\x00\x00\x2c\x00\x2e\x00\x03\x03\x00\x00\x2c\x00\x00\x00\x2e\x00\x00\x00"
    "\x41\x4e\x53\x49\x5f\x58\x33\x2e\x34\x2d\x31\x39\x36\x38\x00";

static void the_locale_has_no_say(void **state)
{
    (void)state;
    char folder[] = "/tmp/pit_locale_XXXXXX", path[64], file[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/comma", folder);
    snprintf(file, sizeof file, "%s/LC_NUMERIC", path);
    assert_int_equal(mkdir(path, 0700), 0);
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    fwrite(comma_numeric, 1, sizeof comma_numeric - 1, f);
    assert_int_equal(fclose(f), 0);
    setenv("LOCPATH", folder, 1);
    const char *set = setlocale(LC_NUMERIC, "comma");
    unsetenv("LOCPATH");
    unlink(file);
    rmdir(path);
    rmdir(folder);
    if (set == NULL)
        SKIP_BECAUSE("this C library does not take a locale that is made by hand");
    assert_string_equal(localeconv()->decimal_point, ",");
    assert_written(parsed("[1.5,1e-7,123456.789,1e+22,0.1]"), 0, "[1.5,1e-07,123456.789,1e+22,0.1]");
    assert_refused("1,5", 3, "deserialization_failed", 1, 2);
    setlocale(LC_NUMERIC, "C");
}

static void large_objects(void **state)
{
    (void)state;
    size_t cap = 1 << 20, n = 1;
    char *text = malloc(cap);
    text[0] = '{';
    for (int i = 0; i < 5000; i++)
        n += (size_t)snprintf(text + n, cap - n, "\"key %d\":[%d,%d.5],", i, i, i);
    text[n - 1] = '}';
    text[n] = '\0';
    pit_value *v = parsed(text);
    assert_int_equal(pit_value_len(v), 5000);
    assert_written(v, 0, text);
    text[n - 1] = ',';
    size_t again = n;
    n += (size_t)snprintf(text + n, cap - n, "\"key 2500\":1}");
    assert_refused(text, n, "duplicate_key", 1, (unsigned)again + 1);
    free(text);
}

static int parse_and_write(void *user)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    int rc = pit_value_parse_json(user, strlen(user), &v, &e);
    char *text = rc == 0 ? pit_value_to_json(v, PIT_JSON_PRETTY) : NULL;
    assert_true(rc == 0 || rc == PIT_E_ALLOCATION_FAILED);
    assert_int_equal(pit_error_code(e), rc);
    pit_error_free(e);
    pit_value_free(v);
    int complete = text != NULL;
    pit_free(text);
    return complete;
}

static int parse_broken(void *user)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    int rc = pit_value_parse_json(user, strlen(user), &v, &e);
    assert_true(rc == PIT_E_DESERIALIZATION_FAILED || rc == PIT_E_ALLOCATION_FAILED);
    assert_int_equal(pit_error_code(e), rc);
    int complete = rc == PIT_E_DESERIALIZATION_FAILED && pit_value_len(pit_error_details(e)) == 2;
    pit_error_free(e);
    return complete;
}

static void memory_runs_out(void **state)
{
    (void)state;
    static char good[] =
        "{\"a\":[1,2.5,\"x\\ny\",100000],\"t\":{\"$pit\":\"tuple\",\"v\":[1]},\"m\":{\"$pit\":\"map\",\"v\":[[1,2]]},"
        "\"b\":{\"$pit\":\"bytes\",\"b64\":\"AAEC\"},\"n\":123456789012345678901234567890,"
        "\"e\":{\"$pit\":\"exception\",\"type\":\"E\",\"notes\":[\"n\"]}}";
    static char broken[] = "{\"a\":[1000,{\"b\":\"c\\n\"},2.5, ?]}";
    long count = memory_try_all(parse_and_write, good) + memory_try_all(parse_broken, broken);
    print_message("JSON: %ld allocations failed in turn\n", count);
    assert_true(count > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(round_trips),   WIRE_TEST(read_as_something_plainer),
        WIRE_TEST(flags),         WIRE_TEST(refused_with_the_place),
        WIRE_TEST(depth),         WIRE_TEST(floats_keep_their_bits),
        WIRE_TEST(long_numbers),  WIRE_TEST(the_locale_has_no_say),
        WIRE_TEST(large_objects), WIRE_TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
