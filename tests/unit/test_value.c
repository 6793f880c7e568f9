/* Values: constructors, readers, building rules, maps, keys, integers of any size, equality, references. */
#include "unit/wire_memory.h"

#include <math.h>
#include <pthread.h>

static void scalars(void **state)
{
    (void)state;
    bool truth = false;
    int64_t i = 0;
    uint64_t u = 0;
    double x = 0;
    pit_value *v = pit_bool(7);
    assert_int_equal(pit_value_kind(v), PIT_KIND_BOOL);
    assert_true(pit_value_get_bool(v, &truth) && truth);
    assert_false(pit_value_get_int(v, &i));
    assert_false(pit_value_get_number(v, &x));
    assert_string_equal(pit_value_kind_name(v), "bool");
    assert_ptr_equal(pit_value_ref(v), v);
    pit_value_free(v);

    assert_int_equal(memory.count, 0); /* none of these takes memory */
    for (int64_t n = -40; n < 300; n++) {
        v = pit_int(n);
        assert_true(pit_value_get_int(v, &i) && i == n);
        assert_int_equal(pit_value_get_uint(v, &u), n >= 0);
        assert_true(pit_value_get_number(v, &x) && x == (double)n);
        assert_false(pit_value_get_float(v, &x));
        assert_true(pit_value_is_immutable(v));
        pit_value_free(v);
    }
    v = pit_uint(UINT64_MAX);
    assert_int_equal(pit_value_kind(v), PIT_KIND_INT);
    assert_false(pit_value_get_int(v, &i));
    assert_true(pit_value_get_uint(v, &u) && u == UINT64_MAX);
    assert_false(pit_value_get_number(v, &x)); /* would be rounded */
    assert_null(pit_value_text(v));
    pit_value_free(v);

    v = pit_float(-0.0);
    assert_true(pit_value_get_float(v, &x) && x == 0 && signbit(x));
    assert_false(pit_value_get_int(v, &i));
    pit_value_free(v);
    assert_int_equal(pit_value_kind(pit_nil()), PIT_KIND_NIL);
    assert_ptr_equal(pit_str(NULL), pit_nil());
}

static void numbers_that_a_double_holds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool exact;
        double x;
    } cases[] = {
        {"9007199254740992", true, 9007199254740992.0},
        {"9007199254740993", false, 0},
        {"-9007199254740993", false, 0},
        {"9223372036854775807", false, 0},
        {"-9223372036854775808", true, -9223372036854775808.0},
        {"9223372036854775808", true, 9223372036854775808.0},
        {"18446744073709551615", false, 0},
        {"18446744073709551616", true, 18446744073709551616.0},
        {"18446744073709551617", false, 0},
        {"-1180591620717411303424", true, -0x1p70},
        {"-1180591620717411303425", false, 0},
        {"100000000000000000000000", false, 0},
        {"10000000000000000000000", true, 1e22},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        double x = 0;
        pit_value *v = pit_bigint(cases[k].text);
        assert_int_equal(pit_value_error(v), 0);
        if (pit_value_get_number(v, &x) != cases[k].exact || (cases[k].exact && x != cases[k].x))
            fail_msg("%s", cases[k].text);
        pit_value_free(v);
    }
}

static void texts(void **state)
{
    (void)state;
    pit_value *v = pit_strn("a\0b", 3);
    assert_int_equal(pit_value_len(v), 3);
    assert_memory_equal(pit_value_str(v), "a\0b\0", 4);
    pit_value_free(v);
    v = pit_strn(NULL, 0);
    assert_string_equal(pit_value_str(v), "");
    pit_value_free(v);
    assert_int_equal(pit_value_error(pit_strn(NULL, 1)), PIT_E_INVALID_PARAMETER);
    static const char *const wrong[] = {"\x80",   "\xc0\x80", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                        "ok\xff", "\xc3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        v = pit_str(wrong[i]);
        assert_int_equal(pit_value_kind(v), PIT_KIND_FAILED);
        assert_int_equal(pit_value_error(v), PIT_E_INVALID_UTF8);
        assert_true(pit_value_error_text(v)[0] != '\0');
        pit_value_free(v);
    }
    assert_null(pit_value_str(pit_nil()));
    assert_string_equal(pit_value_str_or(pit_int(3), "no"), "no");
    const void *data = NULL;
    size_t n = 0;
    v = pit_bytes("\xff\0", 2);
    assert_true(pit_value_get_bytes(v, &data, &n) && n == 2);
    assert_memory_equal(data, "\xff\0", 2);
    assert_null(pit_value_str(v));
    pit_value_free(v);
    assert_int_equal(pit_value_error(pit_bytes(NULL, 1)), PIT_E_INVALID_PARAMETER);
}

static void nothing_and_failed_values_are_accepted(void **state)
{
    (void)state;
    pit_value *all[] = {NULL, pit_str("\xff")};
    for (int i = 0; i < 2; i++) {
        pit_value *v = all[i];
        int64_t n;
        size_t iter = 0, size;
        double x;
        bool b;
        const void *data;
        assert_false(pit_value_get_bool(v, &b) || pit_value_get_int(v, &n) || pit_value_get_float(v, &x));
        assert_false(pit_value_get_number(v, &x) || pit_value_get_bytes(v, &data, &size) ||
                     pit_value_next(v, &iter, NULL, NULL));
        assert_int_equal(pit_value_len(v), 0);
        assert_null(pit_value_str(v));
        assert_null(pit_value_text(v));
        assert_null(pit_value_at(v, 0));
        assert_null(pit_value_get(v, "x"));
        assert_null(pit_value_get_key(v, pit_int(1)));
        assert_ptr_equal(pit_value_ref(v), v);
        assert_true(pit_value_is_immutable(v));
        assert_non_null(pit_value_error_text(v));
        assert_non_null(pit_value_kind_name(v));
        pit_value_free(v);
    }
    assert_int_equal(pit_list_append_take(NULL, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_list_append_take(all[1], pit_int(1000)), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_map_set_take(NULL, "a", pit_int(1000)), PIT_E_INVALID_PARAMETER);
}

static void lists(void **state)
{
    (void)state;
    pit_value *list = pit_list(), *shared = pit_str("shared");
    const pit_value *item;
    int64_t n;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(pit_list_append_take(list, pit_int(i * 7)), 0);
    assert_int_equal(pit_list_append_take(list, pit_value_ref(shared)), 0);
    assert_int_equal(pit_value_len(list), 1001);
    assert_true(pit_value_get_int(pit_value_at(list, 999), &n) && n == 6993);
    assert_null(pit_value_at(list, 1001));
    assert_false(pit_value_is_immutable(list));
    size_t iter = 0, count = 0;
    const pit_value *key = list;
    while (pit_value_next(list, &iter, &key, &item)) {
        assert_null(key);
        assert_ptr_equal(item, pit_value_at(list, count++));
    }
    assert_int_equal(count, 1001);
    pit_value_free(list);
    assert_string_equal(pit_value_str(shared), "shared");
    pit_value_free(shared);
}

static void frozen_containers_stay_as_they_are(void **state)
{
    (void)state;
    pit_value *list = pit_list(), *outer = pit_tuple(), *map = pit_map();
    pit_value *same = pit_value_ref(list); /* sharing freezes */
    assert_int_equal(pit_list_append_take(list, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(list), 0); /* it was not spoilt */
    assert_int_equal(pit_list_append_take(outer, list), 0);
    assert_int_equal(pit_list_append_take(outer, map), 0);
    assert_int_equal(pit_map_set_take(map, "x", pit_int(1000)), PIT_E_INVALID_PARAMETER); /* so does a place in a container */
    pit_value_free(same);
    assert_int_equal(pit_value_len(pit_value_at(outer, 1)), 0);
    assert_int_equal(pit_list_append_take(outer, outer), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(outer), PIT_E_INVALID_PARAMETER);
    pit_value_free(outer);
    map = pit_map();
    assert_int_equal(pit_map_set_take(map, "self", map), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_map_put_take(map, map, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    pit_value_free(map);
    assert_int_equal(pit_list_append_take(pit_int(1), pit_int(1000)), PIT_E_INVALID_PARAMETER);
    pit_value *e = pit_exception("E", "m", NULL);
    assert_int_equal(pit_list_append_take(e, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    pit_value_free(e);
}

static void a_failure_is_remembered(void **state)
{
    (void)state;
    pit_value *list = pit_list(), *outer = pit_list();
    assert_int_equal(pit_list_append_take(list, pit_int(1)), 0);
    assert_int_equal(pit_list_append_take(list, pit_str("\xff")), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_list_append_take(list, pit_int(2)), 0);
    assert_int_equal(pit_value_error(list), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_list_append_take(outer, list), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_value_error(outer), PIT_E_INVALID_UTF8);
    assert_int_equal(pit_list_append_take(outer, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(outer), PIT_E_INVALID_UTF8); /* the first one counts */
    assert_string_equal(pit_value_error_text(outer), pit_value_error_text(pit_value_at(pit_value_at(outer, 0), 1)));
    pit_value_free(outer);
    pit_value *map = pit_map();
    assert_int_equal(pit_map_set_take(map, NULL, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_map_set_take(map, "a", NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(map), PIT_E_INVALID_PARAMETER);
    pit_value_free(map);
}

static void depth(void **state)
{
    (void)state;
    pit_value *v = pit_int(1000);
    for (int i = 0; i < 128; i++) {
        pit_value *outer = i % 3 == 0 ? pit_list() : i % 3 == 1 ? pit_tuple() : pit_map();
        int rc = i % 3 == 2 ? pit_map_set_take(outer, "k", v) : pit_list_append_take(outer, v);
        assert_int_equal(rc, 0);
        v = outer;
    }
    pit_value *list = pit_list(), *map = pit_map();
    assert_int_equal(pit_list_append_take(list, pit_value_ref(v)), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(pit_value_error(list), PIT_E_LIMIT_EXCEEDED);
    assert_int_equal(pit_map_set_take(map, "k", v), PIT_E_LIMIT_EXCEEDED);
    pit_value_free(list);
    pit_value_free(map);
}

static void maps(void **state)
{
    (void)state;
    pit_value *map = pit_map();
    const pit_value *key, *item;
    int64_t n;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 3000; i++) {
            char name[32];
            snprintf(name, sizeof name, "key %d", i * 7919 % 3000);
            assert_int_equal(pit_map_set_take(map, name, pit_int(i + round * 10000)), 0);
        }
    assert_int_equal(pit_value_len(map), 3000);
    size_t iter = 0;
    for (int i = 0; pit_value_next(map, &iter, &key, &item); i++) { /* order of arrival, the new item in the old place */
        char name[32];
        snprintf(name, sizeof name, "key %d", i * 7919 % 3000);
        assert_string_equal(pit_value_str(key), name);
        assert_true(pit_value_get_int(item, &n) && n == i + 10000);
        assert_ptr_equal(pit_value_get(map, name), item);
        assert_ptr_equal(pit_value_get_key(map, key), item);
    }
    assert_null(pit_value_get(map, "key 3000"));
    assert_null(pit_value_get(map, NULL));
    pit_value *list = pit_list();
    assert_null(pit_value_get_key(map, list));
    assert_int_equal(pit_map_put_take(map, list, pit_int(1000)), PIT_E_INVALID_PARAMETER);
    pit_value_free(map);
}

/* Pairs of keys, and whether Python says that they are one. */
static pit_value *one_item_tuple(pit_value *item)
{
    pit_value *t = pit_tuple();
    pit_list_append_take(t, item);
    return t;
}

static void keys_are_equal_as_in_python(void **state)
{
    (void)state;
    pit_value *groups[][4] = {
        {pit_int(1), pit_float(1.0), pit_bool(1), NULL},
        {pit_int(0), pit_float(-0.0), pit_bool(0), pit_float(0.0)},
        {pit_bigint("1180591620717411303424"), pit_float(0x1p70), NULL, NULL},
        {pit_bigint("-1180591620717411303424"), pit_float(-0x1p70), NULL, NULL},
        {pit_bigint("1180591620717411303425"), NULL, NULL, NULL},
        {pit_uint(UINT64_MAX), pit_bigint("18446744073709551615"), NULL, NULL},
        {pit_float(0x1p64), pit_bigint("18446744073709551616"), NULL, NULL},
        {pit_int(INT64_MIN), pit_float(-0x1p63), NULL, NULL},
        {pit_int(INT64_MAX), NULL, NULL, NULL},
        {pit_float(NAN), pit_float(-NAN), NULL, NULL},
        {pit_float(INFINITY), NULL, NULL, NULL},
        {pit_float(-INFINITY), NULL, NULL, NULL},
        {pit_float(1.5), NULL, NULL, NULL},
        {pit_float(-1.5), NULL, NULL, NULL},
        {pit_int(-1), NULL, NULL, NULL},
        {pit_int(-2), pit_float(-2), NULL, NULL},
        {pit_str("1"), NULL, NULL, NULL},
        {pit_bytes("1", 1), NULL, NULL, NULL},
        {pit_nil(), NULL, NULL, NULL},
        {pit_str(""), NULL, NULL, NULL},
        {one_item_tuple(pit_int(1)), one_item_tuple(pit_float(1)), one_item_tuple(pit_bool(1)), NULL},
        {one_item_tuple(pit_str("1")), NULL, NULL, NULL},
        {pit_tuple(), NULL, NULL, NULL},
    };
    size_t count = sizeof groups / sizeof groups[0];
    pit_value *map = pit_map();
    for (size_t g = 0; g < count; g++)
        assert_int_equal(pit_map_put_take(map, pit_value_ref(groups[g][0]), pit_int((int64_t)g)), 0);
    assert_int_equal(pit_value_len(map), count); /* no group is another */
    for (size_t g = 0; g < count; g++)
        for (size_t i = 0; i < 4 && groups[g][i] != NULL; i++) {
            int64_t found = -1;
            if (!pit_value_get_int(pit_value_get_key(map, groups[g][i]), &found) || found != (int64_t)g)
                fail_msg("group %zu, key %zu", g, i);
            pit_value_free(groups[g][i]);
        }
    pit_value_free(map);
}

static void large_integers(void **state)
{
    (void)state;
    static const char *const good[] = {
        "18446744073709551616",
        "-9223372036854775809",
        "-18446744073709551616",
        "10000000000000000000000000000000000000000",
        "340282366920938463463374607431768211455",
        "-170141183460469231731687303715884105728",
        "99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t n;
        uint64_t u;
        pit_value *v = pit_bigint(good[i]);
        assert_int_equal(pit_value_kind(v), PIT_KIND_INT);
        assert_string_equal(pit_value_text(v), good[i]);
        assert_ptr_equal(pit_value_text(v), pit_value_text(v)); /* kept */
        assert_false(pit_value_get_int(v, &n) || pit_value_get_uint(v, &u));
        pit_value_free(v);
    }
    int64_t n = 0;
    pit_value *v = pit_bigint("+000000000000000000000000000000000000012");
    assert_true(pit_value_get_int(v, &n) && n == 12);
    pit_value_free(v);
    v = pit_bigint("-9223372036854775808");
    assert_true(pit_value_get_int(v, &n) && n == INT64_MIN);
    pit_value_free(v);
    static const char *const bad[] = {"", "-", "+", "1.0", "1e5", " 1", "1 ", "0x10", "--1", "12a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(pit_value_error(pit_bigint(bad[i])), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_error_text(pit_bigint("12x")), "pit_bigint takes a decimal integer as text");
    assert_int_equal(pit_value_error(pit_bigint(NULL)), PIT_E_INVALID_PARAMETER);
    static char digits[315700];
    memset(digits, '9', 315653); /* more than 2^20 bits */
    assert_int_equal(pit_value_error(pit_bigint(digits)), PIT_E_LIMIT_EXCEEDED);
    digits[315652] = '\0';
    v = pit_bigint(digits);
    assert_int_equal(pit_value_error(v), 0);
    assert_string_equal(pit_value_text(v), digits);
    pit_value_free(v);
}

static void exceptions(void **state)
{
    (void)state;
    pit_value *v = pit_exception("ValueError", NULL, "Traceback");
    assert_int_equal(pit_value_kind(v), PIT_KIND_EXCEPTION);
    assert_int_equal(pit_value_len(v), 5);
    assert_string_equal(pit_value_str(pit_value_get(v, "type")), "ValueError");
    assert_string_equal(pit_value_str(pit_value_get(v, "message")), "");
    assert_string_equal(pit_value_str(pit_value_get(v, "traceback")), "Traceback");
    assert_int_equal(pit_value_kind(pit_value_get(v, "notes")), PIT_KIND_LIST);
    assert_int_equal(pit_value_kind(pit_value_get(v, "cause")), PIT_KIND_NIL);
    assert_null(pit_value_get(v, "other"));
    pit_value_free(v);
    assert_int_equal(pit_value_error(pit_exception(NULL, "m", NULL)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(pit_exception("E", "\xff", NULL)), PIT_E_INVALID_UTF8);
}

static void arguments(void **state)
{
    (void)state;
    pit_value *list = pit_list(), *map = pit_map(), *odd = pit_map();
    pit_map_set_take(map, "k", pit_int(1));
    pit_map_put_take(odd, pit_int(1), pit_int(1));
    pit_value *v = pit_args(list, map);
    assert_int_equal(pit_value_kind(v), PIT_KIND_ARGS);
    assert_true(pit_value_is_immutable(list)); /* borrowed, but shared */
    pit_value *outer = pit_list();
    assert_int_equal(pit_list_append_take(outer, v), PIT_E_INVALID_PARAMETER);
    pit_value_free(outer);
    assert_int_equal(pit_value_error(pit_args(map, NULL)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(pit_args(NULL, list)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(pit_args(NULL, odd)), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_value_error(pit_args(pit_str("\xff"), NULL)), PIT_E_INVALID_UTF8);
    pit_value_free(list);
    pit_value_free(map);
    pit_value_free(odd);
}

static bool equal_and_free(pit_value *a, pit_value *b)
{
    bool equal = pit_value_equal(a, b);
    assert_int_equal(equal, pit_value_equal(b, a));
    pit_value_free(a);
    pit_value_free(b);
    return equal;
}

static void equality(void **state)
{
    (void)state;
    assert_true(equal_and_free(pit_float(NAN), pit_float(-NAN)));
    assert_false(equal_and_free(pit_float(0.0), pit_float(-0.0)));
    assert_false(equal_and_free(pit_int(1), pit_float(1)));
    assert_false(equal_and_free(pit_int(1), pit_bool(1)));
    assert_true(equal_and_free(pit_uint(5000), pit_int(5000)));
    assert_true(equal_and_free(pit_bigint("18446744073709551615"), pit_uint(UINT64_MAX)));
    assert_false(equal_and_free(pit_uint(UINT64_MAX), pit_int(-1)));
    assert_false(equal_and_free(pit_str("a"), pit_bytes("a", 1)));
    assert_false(equal_and_free(pit_list(), pit_tuple()));
    assert_true(equal_and_free(pit_list(), pit_list()));
    assert_true(equal_and_free(pit_pack("{s:i,s:i}", "a", 1, "b", 2), pit_pack("{s:i,s:i}", "b", 2, "a", 1)));
    assert_false(equal_and_free(pit_pack("{s:i}", "a", 1), pit_pack("{s:i}", "a", 2)));
    assert_false(equal_and_free(pit_pack("{s:i}", "a", 1), pit_pack("{s:i}", "b", 1)));
    assert_true(equal_and_free(pit_pack("{i:n}", 1), pit_pack("{f:n}", 1.0)));
    assert_false(equal_and_free(pit_pack("[ii]", 1, 2), pit_pack("[ii]", 2, 1)));
    assert_false(equal_and_free(pit_exception("A", "m", NULL), pit_exception("A", "n", NULL)));
    assert_true(equal_and_free(pit_exception("A", "m", NULL), pit_exception("A", "m", NULL)));
    assert_false(equal_and_free(pit_nil(), NULL));
}

static void *share(void *user)
{
    pit_value *list = user;
    for (int i = 0; i < 20000; i++) {
        pit_value *mine = pit_value_ref(pit_value_at(list, (size_t)i % pit_value_len(list)));
        const char *text = pit_value_text(mine);
        if (text != NULL && strcmp(text, "100000000000000000000000000000000000000") != 0)
            return "another text";
        pit_value_free(mine);
    }
    pit_value_free(list);
    return NULL;
}

static void threads_share_values(void **state)
{
    (void)state;
    mem_set_allocator(NULL); /* the counting one is for one thread */
    pit_value *list = pit_list();
    pit_list_append_take(list, pit_bigint("100000000000000000000000000000000000000"));
    pit_list_append_take(list, pit_decimal("100000000000000000000000000000000000000"));
    pit_list_append_take(list, pit_str("text"));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, share, pit_value_ref(list)), 0);
    pit_value_free(list);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    mem_set_allocator(&memory_allocator);
}

static int build(void *user)
{
    (void)user;
    pit_value *map = pit_map(), *list = pit_list(), *tuple = pit_tuple();
    for (int i = 0; i < 12; i++)
        pit_list_append_take(list, pit_int(i * 1000));
    pit_list_append_take(tuple, pit_bigint("123456789012345678901234567890"));
    pit_list_append_take(tuple, pit_float(2.5));
    for (int i = 0; i < 20; i++)
        pit_map_put_take(map, pit_int(i), i % 2 != 0 ? pit_bytes("b", 1) : pit_str("s"));
    pit_map_set_take(map, "list", list);
    pit_map_set_take(map, "tuple", tuple);
    pit_map_set_take(map, "e", pit_exception("E", "m", "t"));
    pit_value *args = pit_args(NULL, NULL), *small = pit_pack("{s:[i,(s)],s:y}", "a", 1, "x", "b", "c", (size_t)1);
    int error = pit_value_error(map) != 0 ? pit_value_error(map) : pit_value_error(args);
    if (error == 0)
        error = pit_value_error(small);
    if (error == 0 && pit_value_text(pit_value_at(pit_value_get(map, "tuple"), 0)) == NULL)
        error = PIT_E_ALLOCATION_FAILED;
    char *json = pit_value_to_json(map, PIT_JSON_PRETTY);
    assert_true(error == 0 || error == PIT_E_ALLOCATION_FAILED);
    int complete = error == 0 && json != NULL;
    pit_free(json);
    pit_value_free(map);
    pit_value_free(args);
    pit_value_free(small);
    return complete;
}

static void memory_runs_out(void **state)
{
    (void)state;
    long count = memory_try_all(build, NULL);
    print_message("building values: %ld allocations failed in turn\n", count);
    assert_true(count > 60);
}

/* Each mistake says which it was, in the container and in what it is put into. */
static void mistakes_say_what_was_wrong(void **state)
{
    (void)state;
    pit_value *deep = pit_list(), *args = pit_args(NULL, NULL);
    for (int i = 1; i < 128; i++) {
        pit_value *outer = pit_list();
        assert_int_equal(pit_list_append_take(outer, deep), 0);
        deep = outer;
    }
    struct {
        pit_value *container, *key, *item;
        int code;
        const char *why;
    } cases[] = {
        {pit_set(0), NULL, pit_list(), PIT_E_INVALID_PARAMETER, "an item of a set cannot be hashed"},
        {pit_set(1), NULL, pit_str("\xff"), PIT_E_INVALID_UTF8, "valid UTF-8"},
        {pit_set(1), NULL, pit_decimal("1,5"), PIT_E_INVALID_PARAMETER, "pit_decimal takes a number"},
        {pit_list(), NULL, NULL, PIT_E_INVALID_PARAMETER, "an item is a NULL pointer"},
        {pit_list(), NULL, pit_value_ref(args), PIT_E_INVALID_PARAMETER, "pit_args()"},
        {pit_tuple(), NULL, pit_value_ref(deep), PIT_E_LIMIT_EXCEEDED, "more than 128 levels of containers"},
        {pit_map(), NULL, pit_int(1), PIT_E_INVALID_PARAMETER, "the key of an entry is a NULL pointer"},
        {pit_map(), pit_list(), pit_int(1), PIT_E_INVALID_PARAMETER, "a key cannot be hashed"},
        {pit_map(), pit_str("k"), NULL, PIT_E_INVALID_PARAMETER, "an item is a NULL pointer"},
        {pit_map(), pit_str("k"), pit_decimal(NULL), PIT_E_INVALID_PARAMETER, "pit_decimal takes a number"},
        {pit_map(), pit_str("k"), pit_exception(NULL, "m", NULL), PIT_E_INVALID_PARAMETER, "the type is required"},
        {pit_map(), pit_str("k"), pit_exception("", "m", NULL), PIT_E_INVALID_PARAMETER, "the type is required"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool map = pit_value_kind(cases[i].container) == PIT_KIND_MAP;
        int rc = map ? pit_map_put_take(cases[i].container, cases[i].key, cases[i].item)
                     : pit_list_append_take(cases[i].container, cases[i].item);
        assert_int_equal(rc, cases[i].code);
        pit_value *outer = pit_list();
        assert_int_equal(pit_list_append_take(outer, cases[i].container), cases[i].code);
        if (strstr(pit_value_error_text(outer), cases[i].why) == NULL)
            fail_msg("%zu: %s", i, pit_value_error_text(outer));
        pit_value_free(outer);
    }
    pit_value *list = pit_list(), *map = pit_map(), *e = pit_exception("E", NULL, NULL), *set = pit_set(0);
    assert_int_equal(pit_list_append_take(list, list), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_error_text(list), "a container was put into itself");
    assert_int_equal(pit_map_put_take(map, pit_str("k"), map), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_error_text(map), "a container was put into itself");
    assert_int_equal(pit_exception_set_cause_take(e, pit_int(1)), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_error_text(e), "the cause of an exception is not an exception");
    pit_list_append_take(set, pit_int(1));
    assert_int_equal(pit_list_append_take(set, pit_float(1)), PIT_E_DUPLICATE_KEY);
    assert_string_equal(pit_value_error_text(set), "an item stands twice in the set");
    assert_string_equal(pit_value_error_text(pit_args(pit_nil(), NULL)), "positional arguments are a list or a tuple");
    assert_string_equal(pit_value_error_text(pit_args(NULL, pit_nil())), "keyword arguments are a map with texts as keys");
    assert_string_equal(pit_value_error_text(pit_args(deep, NULL)), "more than 128 levels of containers");
    pit_value *parts[] = {list, map, e, set, deep, args};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        pit_value_free(parts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(scalars),
        WIRE_TEST(numbers_that_a_double_holds),
        WIRE_TEST(texts),
        WIRE_TEST(nothing_and_failed_values_are_accepted),
        WIRE_TEST(lists),
        WIRE_TEST(frozen_containers_stay_as_they_are),
        WIRE_TEST(a_failure_is_remembered),
        WIRE_TEST(depth),
        WIRE_TEST(maps),
        WIRE_TEST(keys_are_equal_as_in_python),
        WIRE_TEST(large_integers),
        WIRE_TEST(exceptions),
        WIRE_TEST(arguments),
        WIRE_TEST(equality),
        WIRE_TEST(threads_share_values),
        WIRE_TEST(memory_runs_out),
        WIRE_TEST(mistakes_say_what_was_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
