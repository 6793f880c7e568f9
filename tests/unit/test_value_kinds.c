/* Sets, times, decimals, complex numbers, tables, refs and markers: constructors, readers, equality, keys. */
#include "unit/wire_memory.h"

#include <math.h>

#include "wire/codec.h"
#include "wire/time.h"
#include "wire/value.h"

static pit_value *parsed(const char *text)
{
    pit_value *v = NULL;
    assert_int_equal(pit_value_parse_json(text, strlen(text), &v, NULL), 0);
    return v;
}

/* What the constructor gave has failed with the code. */
static void assert_failed(pit_value *v, int code)
{
    assert_int_equal(pit_value_kind(v), PIT_KIND_FAILED);
    assert_int_equal(pit_value_error(v), code);
    assert_true(pit_value_error_text(v)[0] != '\0');
    pit_value_free(v);
}

static bool equal_and_free(pit_value *a, pit_value *b)
{
    bool equal = pit_value_equal(a, b);
    assert_int_equal(equal, pit_value_equal(b, a));
    pit_value_free(a);
    pit_value_free(b);
    return equal;
}

/* Are the two one key? Asked of a map and of a set, built and decoded. */
static bool one_key(pit_value *a, pit_value *b)
{
    pit_value *map = pit_map(), *set = pit_set(0), *back = NULL;
    struct buf out = {0};
    assert_int_equal(pit_map_put_take(map, pit_value_ref(a), pit_nil()), 0);
    assert_int_equal(pit_list_append_take(set, pit_value_ref(a)), 0);
    bool same = pit_value_get_key(map, b) != NULL;
    assert_int_equal(pit_value_get_key(set, b) != NULL, same);
    assert_int_equal(codec_encode(&out, set, NULL), 0);
    assert_int_equal(codec_decode(out.data, out.len, NULL, &back, NULL, NULL), 0);
    assert_int_equal(pit_value_get_key(back, b) != NULL, same);
    buf_finish(&out);
    pit_value_free(back);
    pit_value_free(map);
    pit_value_free(set);
    pit_value_free(a);
    pit_value_free(b);
    return same;
}

/* ---- sets ---- */

static pit_value *set_of(int frozen, int from, int to, int step)
{
    pit_value *set = pit_set(frozen);
    for (int i = from; i != to; i += step)
        assert_int_equal(pit_list_append_take(set, pit_int(i)), 0);
    return set;
}

static void sets(void **state)
{
    (void)state;
    pit_value *set = pit_set(0);
    const pit_value *key = set, *item;
    int64_t n;
    assert_int_equal(pit_value_kind(set), PIT_KIND_SET);
    assert_false(pit_value_is_frozen(set) || pit_value_is_immutable(set));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pit_list_append_take(set, pit_int(i * 7919 % 1000)), 0);
    assert_int_equal(pit_value_len(set), 1000);
    size_t iter = 0;
    for (int i = 0; pit_value_next(set, &iter, &key, &item); i++) { /* in the order of arrival */
        assert_null(key);
        assert_true(pit_value_get_int(item, &n) && n == i * 7919 % 1000);
        assert_ptr_equal(pit_value_at(set, (size_t)i), item);
        assert_ptr_equal(pit_value_get_key(set, item), item);
    }
    assert_non_null(pit_value_get_key(set, pit_bool(0))); /* False is 0 */
    assert_null(pit_value_get_key(set, pit_int(-1)));
    assert_null(pit_value_get(set, "x"));
    assert_int_equal(pit_value_error(set), 0);
    pit_value_free(set);
    set = pit_set(1);
    assert_true(pit_value_is_frozen(set));
    assert_false(pit_value_is_immutable(set)); /* it may still be filled */
    pit_value_free(set);
    assert_false(pit_value_is_frozen(NULL));
}

static void what_sets_refuse(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
    } cases[] = {
        {"[]", PIT_E_INVALID_PARAMETER},
        {"{}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"set\",\"frozen\":false,\"v\":[]}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"tuple\",\"v\":[[]]}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"decimal\",\"v\":\"sNaN\"}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"decimal\",\"v\":\"1E+1024\"}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"table\",\"b64\":\"\"}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"tensor\",\"dtype\":\"u8\",\"shape\":[0],\"b64\":\"\"}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"ref\",\"id\":\"\",\"type\":\"\",\"worker\":\"\"}", PIT_E_INVALID_PARAMETER},
        {"{\"__ffi_unserializable__\":true,\"__type__\":\"T\"}", PIT_E_INVALID_PARAMETER},
        {"{\"$pit\":\"exception\",\"type\":\"E\"}", PIT_E_INVALID_PARAMETER},
        {"1", PIT_E_DUPLICATE_KEY},
        {"1.0", PIT_E_DUPLICATE_KEY},
        {"true", PIT_E_DUPLICATE_KEY},
        {"{\"$pit\":\"decimal\",\"v\":\"1.00\"}", PIT_E_DUPLICATE_KEY},
        {"{\"$pit\":\"complex\",\"v\":[1,0]}", PIT_E_DUPLICATE_KEY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pit_value *set = pit_set(0);
        assert_int_equal(pit_list_append_take(set, pit_int(1)), 0);
        int rc = pit_list_append_take(set, parsed(cases[i].json));
        if (rc != cases[i].code)
            fail_msg("%s: %s", cases[i].json, pit_error_code_name(rc));
        assert_int_equal(pit_value_error(set), rc); /* remembered */
        assert_int_equal(pit_value_len(set), 1);
        pit_value_free(set);
    }
    pit_value *set = pit_set(0);
    assert_int_equal(pit_list_append_take(set, set), PIT_E_INVALID_PARAMETER);
    pit_value_free(set);
    set = pit_set(1);
    assert_int_equal(pit_list_append_take(set, pit_str("\xff")), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_list_append_take(set, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_len(set), 0);
    assert_int_equal(pit_map_set_take(set, "k", pit_nil()), PIT_E_INVALID_PARAMETER);
    pit_value_free(set);
    set = set_of(0, 0, 3, 1);
    pit_value *shared = pit_value_ref(set);
    assert_int_equal(pit_list_append_take(set, pit_int(7000)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(set), 0);
    pit_value_free(shared);
    pit_value_free(set);
}

static void sets_are_equal_whatever_their_order(void **state)
{
    (void)state;
    assert_true(equal_and_free(set_of(0, 0, 100, 1), set_of(0, 99, -1, -1)));
    assert_false(equal_and_free(set_of(0, 0, 100, 1), set_of(1, 0, 100, 1)));
    assert_false(equal_and_free(set_of(0, 0, 100, 1), set_of(0, 1, 101, 1)));
    assert_false(equal_and_free(set_of(0, 0, 3, 1), set_of(0, 0, 2, 1)));
    assert_true(equal_and_free(pit_set(0), pit_set(0)));
    for (int n = 0; n < 70; n++) { /* all shapes of an index */
        assert_true(one_key(set_of(1, 0, n, 1), set_of(1, n - 1, -1, -1)));
        assert_false(one_key(set_of(1, 0, n + 1, 1), set_of(1, 1, n + 2, 1)));
        assert_false(one_key(set_of(1, 0, n + 1, 1), set_of(1, 0, n, 1)));
    }
    /* A frozenset that was looked for cannot be changed any more: its order counts on that. */
    pit_value *map = pit_map(), *key = set_of(1, 0, 5, 1);
    assert_int_equal(pit_map_put_take(map, set_of(1, 4, -1, -1), pit_str("there")), 0);
    assert_string_equal(pit_value_str(pit_value_get_key(map, key)), "there");
    assert_true(pit_value_is_immutable(key));
    const char *text = NULL;
    assert_int_equal(pit_unpack(map, NULL, "{v:s}", key, &text), 0);
    assert_string_equal(text, "there");
    pit_value_free(key);
    key = pit_tuple();
    assert_null(pit_value_get_key(map, key));
    assert_false(pit_value_is_immutable(key)); /* nothing else is */
    pit_value_free(key);
    pit_value_free(map);
}

/* Frozensets of frozensets, the same but for the innermost item: comparing two takes time with their size, not with a power of it. */
static pit_value *tower(int height, int leaf)
{
    pit_value *v = pit_set(1);
    assert_int_equal(pit_list_append_take(v, pit_int(leaf)), 0);
    for (int i = 1; i < height; i++) {
        pit_value *outer = pit_set(1), *marked = pit_set(1);
        assert_int_equal(pit_list_append_take(marked, pit_str("mark")), 0);
        assert_int_equal(pit_list_append_take(marked, pit_value_ref(v)), 0);
        assert_int_equal(pit_list_append_take(outer, marked), 0);
        assert_int_equal(pit_list_append_take(outer, v), 0);
        v = outer;
    }
    return v;
}

static void towers_of_sets(void **state)
{
    (void)state;
    for (int height = 1; height < 12; height++) {
        assert_true(one_key(tower(height, 1), tower(height, 1)));
        assert_false(one_key(tower(height, 1), tower(height, 2)));
    }
    pit_value *v = pit_set(1);
    for (int i = 0; i < 127; i++) {
        pit_value *outer = pit_set(1);
        assert_int_equal(pit_list_append_take(outer, v), 0);
        v = outer;
    }
    pit_value *list = pit_list();
    assert_int_equal(pit_list_append_take(list, v), PIT_E_LIMIT_EXCEEDED);
    pit_value_free(list);
}

/* ---- times ---- */

static void datetimes(void **state)
{
    (void)state;
    int64_t sec = 0;
    int32_t ns = 0, offset = 0;
    const char *zone = "untouched";
    pit_value *v = pit_datetime(1795241622, 1, 7200, "Europe/Kyiv");
    assert_int_equal(pit_value_kind(v), PIT_KIND_DATETIME);
    assert_true(pit_value_is_immutable(v));
    assert_true(pit_value_get_datetime(v, &sec, &ns, &offset, &zone));
    assert_true(sec == 1795241622 && ns == 1 && offset == 7200);
    assert_string_equal(zone, "Europe/Kyiv");
    assert_true(pit_value_get_datetime(v, NULL, NULL, NULL, NULL));
    assert_false(pit_value_get_date(v, NULL, NULL, NULL) || pit_value_get_time(v, NULL, NULL, NULL) ||
                 pit_value_get_duration(v, NULL, NULL));
    assert_int_equal(pit_value_len(v), 0);
    pit_value_free(v);
    v = pit_datetime(-1, 999999999, PIT_NAIVE, NULL);
    assert_true(pit_value_get_datetime(v, &sec, &ns, &offset, &zone));
    assert_true(sec == -1 && ns == 999999999 && offset == PIT_NAIVE);
    assert_null(zone);
    pit_value_free(v);
    v = pit_datetime(0, 0, 0, "");
    assert_true(pit_value_get_datetime(v, NULL, NULL, NULL, &zone));
    assert_null(zone);
    pit_value_free(v);
    char name[300];
    memset(name, 'z', sizeof name);
    name[256] = '\0';
    assert_failed(pit_datetime(0, 0, 0, name), PIT_E_INVALID_PARAMETER);
    name[255] = '\0';
    v = pit_datetime(0, 0, 0, name);
    assert_int_equal(pit_value_error(v), 0);
    pit_value_free(v);
    assert_failed(pit_datetime(0, 0, PIT_NAIVE, "UTC"), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(0, 0, 0, "\xff"), PIT_E_INVALID_UTF8);
    assert_failed(pit_datetime(0, -1, 0, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(0, 1000000000, 0, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(0, 0, 86400, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(0, 0, -86400, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(INT64_C(253402300800), 0, PIT_NAIVE, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(INT64_C(-62135596801), 0, PIT_NAIVE, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(INT64_MAX, 0, 1, NULL), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_datetime(INT64_MIN, 0, -1, NULL), PIT_E_INVALID_PARAMETER);
}

static void dates_and_times_of_day(void **state)
{
    (void)state;
    int y = 0, m = 0, d = 0;
    int32_t sec = 0, ns = 0, offset = 0;
    int64_t long_sec = 0;
    static const int no_days[][3] = {{0, 1, 1},     {10000, 1, 1}, {2026, 0, 1},  {2026, 13, 1},
                                     {2026, 1, 32}, {2026, 1, 0},  {2026, 2, 29}, {1900, 2, 29}};
    pit_value *v = pit_date(2024, 2, 29);
    assert_true(pit_value_get_date(v, &y, &m, &d) && y == 2024 && m == 2 && d == 29);
    assert_false(pit_value_get_datetime(v, NULL, NULL, NULL, NULL));
    pit_value_free(v);
    for (size_t i = 0; i < sizeof no_days / sizeof no_days[0]; i++)
        assert_failed(pit_date(no_days[i][0], no_days[i][1], no_days[i][2]), PIT_E_INVALID_PARAMETER);
    v = pit_time(86399, 999999999, -3600);
    assert_true(pit_value_get_time(v, &sec, &ns, &offset) && sec == 86399 && ns == 999999999 && offset == -3600);
    pit_value_free(v);
    v = pit_time(0, 0, PIT_NAIVE);
    assert_true(pit_value_get_time(v, NULL, NULL, &offset) && offset == PIT_NAIVE);
    pit_value_free(v);
    assert_failed(pit_time(86400, 0, 0), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_time(-1, 0, 0), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_time(0, 0, 86400), PIT_E_INVALID_PARAMETER);
    v = pit_duration(INT64_MIN, 999999999);
    assert_true(pit_value_get_duration(v, &long_sec, &ns) && long_sec == INT64_MIN && ns == 999999999);
    pit_value_free(v);
    assert_failed(pit_duration(0, 1000000000), PIT_E_INVALID_PARAMETER);
}

/* Every day that there is, in order; some by way of their text. */
static void every_day(void **state)
{
    (void)state;
    int64_t days = -719162;
    for (int year = 1; year <= 9999; year++)
        for (int month = 1; month <= 12; month++)
            for (int day = 1; time_date_exists(year, month, day); day++, days++) {
                struct value_date date = time_date_from_days(days);
                if (date.year != year || date.month != month || date.day != day || time_days_from_date(date) != days)
                    fail_msg("%d-%d-%d", year, month, day);
            }
    assert_int_equal(days, 2932897);
    for (int i = 0; i < 3000; i++) {
        pit_value *v = pit_datetime((i - 700) * INT64_C(86400) * 997 + i, i * 333333, i % 2 != 0 ? PIT_NAIVE : i, NULL);
        char *json = pit_value_to_json(v, 0);
        pit_value *back = parsed(json);
        assert_true(pit_value_equal(v, back));
        pit_free(json);
        pit_value_free(back);
        pit_value_free(v);
    }
}

static void times_as_keys(void **state)
{
    (void)state;
    assert_true(one_key(pit_datetime(0, 0, 0, NULL), pit_datetime(0, 0, 3600, "Europe/Paris")));
    assert_false(one_key(pit_datetime(0, 0, 0, NULL), pit_datetime(0, 0, PIT_NAIVE, NULL)));
    assert_false(one_key(pit_datetime(0, 0, 0, NULL), pit_datetime(0, 1, 0, NULL)));
    assert_false(one_key(pit_datetime(0, 0, 0, NULL), pit_datetime(1, 0, 0, NULL)));
    assert_true(one_key(pit_time(3600, 0, 3600), pit_time(0, 0, 0)));
    assert_false(one_key(pit_time(0, 0, PIT_NAIVE), pit_time(0, 0, 0)));
    assert_false(one_key(pit_time(0, 0, 0), pit_duration(0, 0)));
    assert_false(one_key(pit_date(1970, 1, 1), pit_datetime(0, 0, PIT_NAIVE, NULL)));
    assert_true(one_key(pit_date(1970, 1, 1), pit_date(1970, 1, 1)));
    assert_false(one_key(pit_duration(0, 0), pit_int(0)));
    assert_false(one_key(pit_duration(-1, 0), pit_duration(-1, 1)));
    assert_true(equal_and_free(pit_datetime(5, 6, 0, "UTC"), pit_datetime(5, 6, 0, "UTC")));
    assert_false(equal_and_free(pit_datetime(5, 6, 0, "UTC"), pit_datetime(5, 6, 0, NULL)));
    assert_false(equal_and_free(pit_datetime(5, 6, 0, NULL), pit_datetime(5, 6, 60, NULL)));
    assert_false(equal_and_free(pit_date(2026, 1, 1), pit_date(2026, 1, 2)));
    assert_true(equal_and_free(pit_time(1, 2, 3), pit_time(1, 2, 3)));
}

/* ---- numbers ---- */

static void decimals(void **state)
{
    (void)state;
    static const char *const same[] = {
        "0",     "-0",  "0.00",   "0E+5",      "1",     "-1.10",   "1E+1",        "1E-7",           "0.000001", "123.456",
        "1E+99", "NaN", "-NaN12", "sNaN",      "-sNaN", "sNaN7",   "Infinity",    "-Infinity",      "1.5E+400", "0.10",
        "0E-7",  "10",  "1E-999", "-0.000000", "9.9",   "12E+200", "1E+99999999", "1.23456789E-12",
    };
    static const char *const others[][2] = {
        {"+1", "1"},
        {"1.", "1"},
        {".5", "0.5"},
        {"007", "7"},
        {"0.010", "0.010"},
        {"1e5", "1E+5"},
        {"1E5", "1E+5"},
        {"1e+05", "1E+5"},
        {"inf", "Infinity"},
        {"-INF", "-Infinity"},
        {"iNfInItY", "Infinity"},
        {"nan", "NaN"},
        {"NAN000", "NaN"},
        {"snan01", "sNaN1"},
        {"12e200", "1.2E+201"},
        {"00.00", "0.00"},
        {"-.0e3", "-0E+2"},
    };
    static const char *const wrong[] = {
        "",        ".",  "-",     "+-1",       "1e",    "1e+",   "e5", "1.2.3", " 1",  "1 ", "1_0",           "0x1",
        "abc",     "na", "infin", "infinityx", "nan1x", "snanx", "s",  "1e5.0", "--1", "in", "1e99999999999", "1e-99999999999",
        "\xd9\xa1"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        const char *want = strcmp(same[i], "12E+200") == 0 ? "1.2E+201" : same[i];
        pit_value *v = pit_decimal(same[i]);
        assert_int_equal(pit_value_kind(v), PIT_KIND_DECIMAL);
        assert_string_equal(pit_value_text(v), want);
        assert_ptr_equal(pit_value_text(v), pit_value_text(v)); /* kept */
        pit_value_free(v);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        pit_value *v = pit_decimal(others[i][0]);
        assert_string_equal(pit_value_text(v), others[i][1]);
        pit_value_free(v);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_failed(pit_decimal(wrong[i]), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_decimal(NULL), PIT_E_INVALID_PARAMETER);
    size_t most = 1 << 20;
    char *digits = malloc(most + 2);
    memset(digits, '7', most + 1);
    digits[most + 1] = '\0';
    assert_failed(pit_decimal(digits), PIT_E_LIMIT_EXCEEDED);
    digits[most] = '\0';
    pit_value *v = pit_decimal(digits);
    assert_string_equal(pit_value_text(v), digits);
    pit_value_free(v);
    free(digits);
    int64_t n;
    double x;
    v = pit_decimal("1");
    assert_false(pit_value_get_int(v, &n) || pit_value_get_number(v, &x)); /* another kind */
    pit_value_free(v);
}

static void equality_of_numbers(void **state)
{
    (void)state;
    assert_true(equal_and_free(pit_decimal("1.10"), pit_decimal("1.10")));
    assert_false(equal_and_free(pit_decimal("1.10"), pit_decimal("1.1")));
    assert_false(equal_and_free(pit_decimal("1"), pit_int(1)));
    assert_false(equal_and_free(pit_decimal("0"), pit_decimal("-0")));
    assert_true(equal_and_free(pit_decimal("NaN"), pit_decimal("nan")));
    assert_false(equal_and_free(pit_decimal("NaN"), pit_decimal("sNaN")));
    assert_false(equal_and_free(pit_decimal("NaN"), pit_decimal("NaN1")));
    assert_true(equal_and_free(pit_complex(NAN, -0.0), pit_complex(-NAN, -0.0)));
    assert_false(equal_and_free(pit_complex(0, 0.0), pit_complex(0, -0.0)));
    assert_false(equal_and_free(pit_complex(1, 0), pit_float(1)));
    assert_true(one_key(pit_decimal("1.10"), pit_decimal("1.1")));
    assert_true(one_key(pit_decimal("1.0"), pit_int(1)));
    assert_true(one_key(pit_decimal("-0E+9"), pit_bool(0)));
    assert_true(one_key(pit_decimal("2.5"), pit_float(2.5)));
    assert_true(one_key(pit_decimal("18446744073709551616"), pit_float(0x1p64)));
    assert_true(one_key(pit_decimal("1E+40"), pit_bigint("10000000000000000000000000000000000000000")));
    assert_true(one_key(pit_decimal("-18446744073709551615"), pit_bigint("-18446744073709551615")));
    assert_true(one_key(pit_decimal("18446744073709551615"), pit_uint(UINT64_MAX)));
    assert_false(one_key(pit_decimal("18446744073709551617"), pit_bigint("18446744073709551616")));
    assert_false(one_key(pit_decimal("0.1"), pit_float(0.1)));
    assert_true(one_key(pit_decimal("0.1000000000000000055511151231257827021181583404541015625"), pit_float(0.1)));
    assert_false(one_key(pit_decimal("0.1000000000000000055511151231257827021181583404541015626"), pit_float(0.1)));
    assert_false(one_key(pit_decimal("0.1"), pit_decimal("0.2")));
    assert_false(one_key(pit_decimal("0.1"), pit_decimal("-0.1")));
    assert_false(one_key(pit_decimal("0.1"), pit_decimal("0.11")));
    assert_true(one_key(pit_decimal("0.100"), pit_decimal("0.1")));
    assert_false(one_key(pit_decimal("1E-400"), pit_decimal("1E-401")));
    assert_false(one_key(pit_decimal("5E-400"), pit_float(0)));
    assert_true(one_key(pit_decimal("inf"), pit_float(INFINITY)));
    assert_false(one_key(pit_decimal("-inf"), pit_float(INFINITY)));
    assert_true(one_key(pit_decimal("NaN"), pit_float(NAN))); /* for the host all NaNs are one */
    assert_true(one_key(pit_complex(1, -0.0), pit_bool(1)));
    assert_true(one_key(pit_complex(0.5, 0), pit_decimal("0.50")));
    assert_true(one_key(pit_complex(1, 2), pit_complex(1, 2)));
    assert_true(one_key(pit_complex(NAN, 2), pit_complex(-NAN, 2)));
    assert_false(one_key(pit_complex(1, 2), pit_complex(1, -2)));
    assert_false(one_key(pit_complex(1, 2), pit_complex(2, 2)));
    assert_false(one_key(pit_complex(1, 2), pit_int(1)));
    double re = 0, im = 0;
    pit_value *v = pit_complex(1.5, -2);
    assert_true(pit_value_get_complex(v, &re, &im) && re == 1.5 && im == -2);
    assert_true(pit_value_get_complex(v, NULL, NULL));
    assert_false(pit_value_get_complex(pit_nil(), &re, &im) || pit_value_get_number(v, &re));
    pit_value_free(v);
}

static pit_value *decimal_of(double x)
{
    char text[800]; /* all its digits */
    snprintf(text, sizeof text, "%.766e", x);
    return pit_decimal(text);
}

/* Every float is the decimal with all of its digits, and none that is next to it. */
static void decimals_that_are_floats(void **state)
{
    (void)state;
    static const double some[] = {0x1p-1,    0x1p-26,   0x1p-27,
                                  0x1p-28,   0x1p-53,   0x1p-54,
                                  0x1p-1022, 0x1p-1074, 0x1.fffffffffffffp-1022,
                                  0.1,       1.5,       0x1.fffffffffffffp-1,
                                  1e22,      0x1p70,    0x1.fffffffffffffp51};
    uint64_t x = UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < sizeof some / sizeof some[0] + 2000; i++) {
        double f;
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t bits = i % 4 == 0 ? x & ~(UINT64_C(0x7ff) << 52) : x; /* some are subnormal */
        memcpy(&f, &bits, sizeof f);
        if (i < sizeof some / sizeof some[0])
            f = some[i];
        if (!isfinite(f) || fabs(f) > 1e300)
            continue;
        assert_true(one_key(decimal_of(f), pit_float(f)));
        assert_false(one_key(decimal_of(f), pit_float(nextafter(f, INFINITY))));
        assert_false(one_key(decimal_of(f), pit_float(-f)));
    }
    /* A product of 5^places modulo 2^64 alone, and an integer that is too large. */
    assert_false(one_key(pit_decimal("1844674407370955.19285"), pit_float(1.0 / 32))); /* 2^64 * 10 + 5^5 */
    assert_false(one_key(pit_decimal("0.5000000000000000000000000000000000000000000000000000000000005"), pit_float(0.5)));
}

/* ---- the rest ---- */

static void tables(void **state)
{
    (void)state;
    const void *data = NULL;
    size_t n = 0;
    pit_value *table = pit_table("abc\0", 4), *batch = pit_batch("abc\0", 4);
    assert_int_equal(pit_value_kind(table), PIT_KIND_TABLE);
    assert_int_equal(pit_value_kind(batch), PIT_KIND_BATCH);
    assert_true(pit_value_get_table(table, &data, &n) && n == 4);
    assert_memory_equal(data, "abc\0", 4);
    assert_true(pit_value_get_batch(batch, &data, &n) && n == 4);
    assert_false(pit_value_get_table(batch, &data, &n) || pit_value_get_batch(table, &data, &n) ||
                 pit_value_get_bytes(table, &data, &n));
    assert_int_equal(pit_value_len(table), 4);
    assert_false(pit_value_equal(table, batch));
    pit_value *again = pit_table("abc\0", 4), *other = pit_table("abd\0", 4);
    assert_true(pit_value_equal(table, again));
    assert_false(pit_value_equal(table, other));
    pit_value_free(again);
    pit_value_free(other);
    pit_value_free(table);
    pit_value_free(batch);
    assert_failed(pit_table(NULL, 1), PIT_E_INVALID_PARAMETER);
    assert_failed(pit_batch(NULL, 1), PIT_E_INVALID_PARAMETER);
    table = pit_table(NULL, 0);
    assert_true(pit_value_get_table(table, &data, &n) && n == 0);
    pit_value_free(table);
}

static void refs(void **state)
{
    (void)state;
    static const char text[] = "{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"m.C\",\"worker\":\"default/"
                               "3.2\",\"session\":null,\"generation\":18446744073709551615}";
    uint64_t generation = 0;
    pit_value *v = parsed(text), *same = parsed(text),
              *other = parsed("{\"$pit\":\"ref\",\"id\":\"o\",\"type\":\"m.C\",\"worker\":\"w\"}");
    assert_int_equal(pit_value_kind(v), PIT_KIND_REF);
    assert_string_equal(pit_value_str(pit_value_get(v, "id")), "o");
    assert_string_equal(pit_value_str(pit_value_get(v, "type")), "m.C");
    assert_string_equal(pit_value_str(pit_value_get(v, "worker")), "default/3.2");
    assert_int_equal(pit_value_kind(pit_value_get(v, "session")), PIT_KIND_NIL);
    assert_true(pit_value_get_uint(pit_value_get(v, "generation"), &generation) && generation == UINT64_MAX);
    assert_null(pit_value_get(v, "other"));
    assert_int_equal(pit_value_len(v), 0);
    size_t iter = 0;
    assert_false(pit_value_next(v, &iter, NULL, NULL));
    assert_true(pit_value_equal(v, same));
    assert_false(pit_value_equal(v, other));
    pit_value *part = pit_value_ref(pit_value_get(v, "worker")); /* keeps the whole alive */
    pit_value_free(v);
    assert_string_equal(pit_value_str(part), "default/3.2");
    pit_value_free(part);
    pit_value_free(same);
    pit_value_free(other);
}

static void assert_marker(pit_value *v, const char *want_type, const char *want_repr)
{
    const char *type = "untouched", *repr = "untouched";
    int rc = pit_value_unserializable_info(v, &type, &repr);
    assert_int_equal(pit_value_is_unserializable(v), want_type != NULL);
    if (want_type == NULL) {
        assert_int_equal(rc, PIT_E_NOT_FOUND);
        assert_string_equal(type, "untouched");
    } else {
        assert_int_equal(rc, 0);
        assert_string_equal(type, want_type);
        if (want_repr != NULL)
            assert_string_equal(repr, want_repr);
        else
            assert_null(repr);
        assert_int_equal(pit_value_unserializable_info(v, NULL, NULL), 0);
    }
    pit_value_free(v);
}

static void markers(void **state)
{
    (void)state;
    assert_marker(parsed("{\"__ffi_unserializable__\":true,\"__type__\":\"m.C\"}"), "m.C", NULL);
    assert_marker(parsed("{\"__repr__\":\"<C>\",\"__type__\":\"m.C\",\"__ffi_unserializable__\":true}"), "m.C", "<C>");
    /* maps of just this form count, too */
    assert_marker(pit_pack("{s:b,s:s}", "__ffi_unserializable__", 1, "__type__", "T"), "T", NULL);
    assert_marker(pit_pack("{s:b,s:s,s:s}", "__ffi_unserializable__", 1, "__type__", "T", "__repr__", "r"), "T", "r");
    static const char *const none[] = {
        "{\"__ffi_unserializable__\":false,\"__type__\":\"T\"}",
        "{\"__ffi_unserializable__\":1,\"__type__\":\"T\"}",
        "{\"__ffi_unserializable__\":true}",
        "{\"__ffi_unserializable__\":true,\"__type__\":null}",
        "{\"__ffi_unserializable__\":true,\"__repr__\":\"r\"}",
        "{\"__ffi_unserializable__\":true,\"__type__\":\"T\",\"__repr__\":null}",
        "{\"__ffi_unserializable__\":true,\"__type__\":\"T\",\"other\":\"r\"}",
        "{\"__ffi_unserializable__\":true,\"__type__\":\"T\",\"__repr__\":\"r\",\"other\":1}",
        "[true]",
        "null",
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        pit_value *v = parsed(none[i]);
        assert_int_not_equal(pit_value_kind(v), PIT_KIND_MARKER);
        assert_marker(v, NULL, NULL);
    }
    assert_marker(NULL, NULL, NULL);
    assert_marker(pit_str("\xff"), NULL, NULL);
    pit_value *v = parsed("{\"__ffi_unserializable__\":true,\"__type__\":\"T\"}");
    assert_int_equal(pit_value_kind(v), PIT_KIND_MARKER);
    assert_string_equal(pit_value_str(pit_value_get(v, "type")), "T");
    assert_int_equal(pit_value_kind(pit_value_get(v, "repr")), PIT_KIND_NIL);
    pit_value_free(v);
}

static void causes_of_exceptions(void **state)
{
    (void)state;
    pit_value *e = pit_exception("A", "a", NULL), *cause = pit_exception("B", "b", NULL);
    assert_int_equal(pit_exception_set_cause_take(e, cause), 0);
    assert_string_equal(pit_value_str(pit_value_get(pit_value_get(e, "cause"), "type")), "B");
    assert_int_equal(pit_exception_set_cause_take(cause, pit_exception("C", NULL, NULL)), PIT_E_INVALID_PARAMETER); /* frozen */
    assert_int_equal(pit_exception_set_cause_take(e, pit_nil()), 0);
    assert_int_equal(pit_value_kind(pit_value_get(e, "cause")), PIT_KIND_NIL);
    assert_int_equal(pit_value_error(e), 0);
    assert_int_equal(pit_exception_set_cause_take(e, e), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_exception_set_cause_take(e, pit_str("text")), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(e), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_exception_set_cause_take(e, pit_nil()), PIT_E_INVALID_PARAMETER);
    pit_value_free(e);
    assert_int_equal(pit_exception_set_cause_take(NULL, pit_exception("A", NULL, NULL)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_exception_set_cause_take(pit_nil(), pit_nil()), PIT_E_INVALID_PARAMETER);
    e = pit_exception("A", NULL, NULL);
    assert_int_equal(pit_exception_set_cause_take(e, NULL), PIT_E_INVALID_PARAMETER);
    pit_value_free(e);
    e = pit_exception("A", NULL, NULL);
    assert_int_equal(pit_exception_set_cause_take(e, pit_str("\xff")), PIT_E_INVALID_UTF8);
    pit_value_free(e);
    e = pit_exception("E0", NULL, NULL);
    for (int i = 1; i < 128; i++) {
        pit_value *outer = pit_exception("E", NULL, NULL);
        assert_int_equal(pit_exception_set_cause_take(outer, e), 0);
        e = outer;
    }
    pit_value *outer = pit_exception("E", NULL, NULL);
    assert_int_equal(pit_exception_set_cause_take(outer, e), PIT_E_LIMIT_EXCEEDED);
    pit_value_free(outer);
}

/* Neither leaves nor failed values make a level, a key or a reader stumble. */
static void readers_take_anything(void **state)
{
    (void)state;
    pit_value *all[] = {NULL, pit_str("\xff"), pit_int(1), pit_list(), pit_set(0), pit_complex(1, 2)};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const void *data;
        size_t n;
        assert_false(pit_value_get_datetime(all[i], NULL, NULL, NULL, NULL) || pit_value_get_date(all[i], NULL, NULL, NULL) ||
                     pit_value_get_time(all[i], NULL, NULL, NULL) || pit_value_get_duration(all[i], NULL, NULL) ||
                     pit_value_get_table(all[i], &data, &n) || pit_value_get_batch(all[i], &data, &n) ||
                     pit_value_is_unserializable(all[i]));
        assert_int_equal(pit_value_get_complex(all[i], NULL, NULL), i == 5);
        assert_null(pit_value_text(all[i]));
        pit_value_free(all[i]);
    }
    pit_value *v = pit_date(2026, 1, 1);
    for (int i = 0; i < 128; i++) {
        pit_value *outer = pit_list();
        assert_int_equal(pit_list_append_take(outer, v), 0);
        v = outer;
    }
    pit_value_free(v);
}

static int build(void *user)
{
    (void)user;
    pit_value *list = pit_list(), *set = pit_set(0);
    for (int i = 0; i < 20; i++)
        pit_list_append_take(set, pit_int(i * 1000));
    pit_list_append_take(set, pit_decimal("12345678901234567890123"));
    pit_list_append_take(list, set);
    pit_list_append_take(list, pit_datetime(0, 0, 0, "UTC"));
    pit_list_append_take(list, pit_date(2026, 1, 1));
    pit_list_append_take(list, pit_time(0, 0, PIT_NAIVE));
    pit_list_append_take(list, pit_duration(1, 2));
    pit_list_append_take(list, pit_complex(1, 2));
    pit_list_append_take(list, pit_table("a", 1));
    pit_list_append_take(list, pit_batch("a", 1));
    pit_value *e = pit_exception("E", "m", NULL);
    pit_exception_set_cause_take(e, pit_exception("F", "m", NULL));
    pit_list_append_take(list, e);
    int error = pit_value_error(list);
    assert_true(error == 0 || error == PIT_E_ALLOCATION_FAILED);
    struct buf out = {0};
    pit_value *back = NULL, *again = NULL;
    char *json = error == 0 ? pit_value_to_json(list, 0) : NULL;
    int complete = json != NULL && pit_value_parse_json(json, strlen(json), &again, NULL) == 0 &&
                   codec_encode(&out, again, NULL) == 0 && codec_decode(out.data, out.len, NULL, &back, NULL, NULL) == 0;
    if (complete)
        assert_true(pit_value_equal(list, back));
    buf_finish(&out);
    pit_free(json);
    pit_value_free(list);
    pit_value_free(back);
    pit_value_free(again);
    return complete;
}

static void memory_runs_out(void **state)
{
    (void)state;
    long count = memory_try_all(build, NULL);
    print_message("values of all kinds: %ld allocations failed in turn\n", count);
    assert_true(count > 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(sets),
        WIRE_TEST(what_sets_refuse),
        WIRE_TEST(sets_are_equal_whatever_their_order),
        WIRE_TEST(towers_of_sets),
        WIRE_TEST(datetimes),
        WIRE_TEST(dates_and_times_of_day),
        WIRE_TEST(every_day),
        WIRE_TEST(times_as_keys),
        WIRE_TEST(decimals),
        WIRE_TEST(equality_of_numbers),
        WIRE_TEST(decimals_that_are_floats),
        WIRE_TEST(tables),
        WIRE_TEST(refs),
        WIRE_TEST(markers),
        WIRE_TEST(causes_of_exceptions),
        WIRE_TEST(readers_take_anything),
        WIRE_TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
