/* Formats: pit_pack, pit_unpack, and that packing to bytes is packing to a value and encoding it. */
#include "unit/wire_memory.h"

#include <limits.h>
#include <math.h>

#include "wire/codec.h"

/* Both ways at once: the same bytes, or the same code. Returns the code; the error is that of the direct way. */
static int pack_both(struct codec_error *err, const char *format, ...)
{
    struct buf direct = {0}, by_value = {0};
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    *err = (struct codec_error){0};
    buf_puts(&direct, "kept");
    int rc = codec_pack(&direct, format, ap, err);
    pit_value *v = pit_packv(format, again);
    va_end(again);
    va_end(ap);
    assert_int_equal(pit_value_error(v), rc);
    if (rc == 0) {
        assert_int_equal(codec_encode(&by_value, v, NULL), 0);
        assert_int_equal(direct.len, by_value.len + 4);
        assert_memory_equal(direct.data + 4, by_value.data, by_value.len);
    } else {
        assert_int_equal(pit_value_kind(v), PIT_KIND_FAILED);
        assert_int_equal(direct.len, 4);
        assert_int_equal(err->code, rc);
        assert_non_null(strstr(pit_value_error_text(v), err->text));
    }
    pit_value_free(v);
    buf_finish(&direct);
    buf_finish(&by_value);
    return rc;
}

static void every_letter(void **state)
{
    (void)state;
    pit_value *borrowed = pit_pack("[i]", 5);
    pit_value *v = pit_pack("[n b b i I u U U f s s S y v ()]", 0, 2, -5, INT64_MIN, UINT_MAX, (uint64_t)7, UINT64_MAX, 0.5,
                            "text", NULL, "a\0b", (size_t)3, "\xff", (size_t)1, borrowed);
    static const int kinds[] = {PIT_KIND_NIL, PIT_KIND_BOOL, PIT_KIND_BOOL,  PIT_KIND_INT,   PIT_KIND_INT,
                                PIT_KIND_INT, PIT_KIND_INT,  PIT_KIND_INT,   PIT_KIND_FLOAT, PIT_KIND_STR,
                                PIT_KIND_NIL, PIT_KIND_STR,  PIT_KIND_BYTES, PIT_KIND_LIST,  PIT_KIND_TUPLE};
    assert_int_equal(pit_value_error(v), 0);
    assert_int_equal(pit_value_len(v), sizeof kinds / sizeof kinds[0]);
    for (size_t i = 0; i < pit_value_len(v); i++)
        assert_int_equal(pit_value_kind(pit_value_at(v, i)), kinds[i]);
    assert_ptr_equal(pit_value_at(v, 13), borrowed);

    bool no = true, yes = false;
    int i = 0;
    int64_t wide = 0;
    unsigned u = 0;
    uint64_t small = 0, large = 0;
    double x = 0;
    const char *text = NULL, *sized = NULL;
    const void *data = NULL;
    size_t size = 0, data_size = 0;
    const pit_value *nil = NULL, *list = NULL;
    pit_error *e = (pit_error *)&i;
    int rc = pit_unpack(v, &e, "[n b b i I u U U f s v S y v ()]", &no, &yes, &i, &wide, &u, &small, &large, &x, &text, &nil,
                        &sized, &size, &data, &data_size, &list);
    assert_int_equal(rc, 0);
    assert_null(e);
    assert_true(!no && yes && i == -5 && wide == INT64_MIN && u == UINT_MAX && small == 7 && large == UINT64_MAX && x == 0.5);
    assert_string_equal(text, "text");
    assert_true(size == 3 && data_size == 1 && pit_value_kind(nil) == PIT_KIND_NIL && list == borrowed);
    assert_memory_equal(sized, "a\0b", 3);
    pit_value_free(v);
    pit_value_free(borrowed);
}

static void bytes_are_those_of_the_value(void **state)
{
    (void)state;
    struct codec_error err;
    pit_value *inner = pit_pack("{s:[iii],i:n}", "k", 1, 2, 3, 4), *args = pit_args(NULL, NULL);
    assert_int_equal(pack_both(&err, ""), 0);
    assert_int_equal(pack_both(&err, "  , "), 0);
    assert_int_equal(pack_both(&err, "i", 5), 0);
    assert_int_equal(pack_both(&err, "{s:i}", "x", 1), 0);
    assert_int_equal(pack_both(&err, "{s:s,s:[i,f,(s,s)],s:{}}", "a", "b", "c", 1, 2.5, "d", "e", "f"), 0);
    assert_int_equal(pack_both(&err, "(((())))"), 0);
    assert_int_equal(pack_both(&err, "[iiiiiiiiiiiiiiiii]", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17), 0);
    assert_int_equal(pack_both(&err, "([iiiiiiiiiiiiiiiii]i)", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18),
                     0);
    assert_int_equal(pack_both(&err, "{i:s,f:s,(i):v}", 1, "a", 2.5, "b", 3, inner), 0);
    assert_int_equal(pack_both(&err, "{n:i,b:i,y:i,I:i,u:i,U:i,v:i}", 1, 1, 2, "k", (size_t)1, 3, INT64_C(9), 4, 8u, 5,
                               UINT64_MAX, 6, pit_int(200), 7),
                     0);
    assert_int_equal(pack_both(&err, "v", inner), 0);
    assert_int_equal(pack_both(&err, "v", args), 0);
    assert_int_equal(pack_both(&err, "S", NULL, (size_t)0), 0);
    pit_value_free(inner);
    pit_value_free(args);
}

/* More keys than the direct way keeps. */
static void many_keys(void **state)
{
    (void)state;
    struct codec_error err;
    assert_int_equal(pack_both(&err,
                               "{s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n"
                               " s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n}",
                               "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
                               "t", "u", "v", "w", "x", "y", "z", "0", "1", "2", "3", "4", "5", "6", "7"),
                     0);
    assert_int_equal(pack_both(&err,
                               "{s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n"
                               " s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n s:n}",
                               "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
                               "t", "u", "v", "w", "x", "y", "z", "0", "1", "2", "3", "4", "5", "6", "a"),
                     PIT_E_DUPLICATE_KEY);
}

static void refused(void **state)
{
    (void)state;
    struct codec_error err;
    pit_value *list = pit_list(), *args = pit_args(NULL, NULL);
    assert_int_equal(pack_both(&err, "{s:i,s:[i,s]}", "a", 1, "b", 2, "\xff"), PIT_E_INVALID_UTF8);
    assert_string_equal(err.path, "[\"b\"][1]");
    assert_int_equal(pack_both(&err, "{s:i,s:i}", "a", 1, "a", 2), PIT_E_DUPLICATE_KEY);
    assert_int_equal(pack_both(&err, "{i:i,f:i}", 1, 1, 1.0, 2), PIT_E_DUPLICATE_KEY);
    assert_int_equal(pack_both(&err, "{[i]:i}", 1, 2), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pack_both(&err, "{v:i}", list, 2), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pack_both(&err, "[v]", NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pack_both(&err, "[v]", args), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pack_both(&err, "[v]", pit_str("\xff")), PIT_E_INVALID_UTF8);
    assert_string_equal(err.path, "[0]");
    assert_int_equal(pack_both(&err, "S", NULL, (size_t)1), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pack_both(&err, "y", NULL, (size_t)1), PIT_E_INVALID_PARAMETER);
    pit_value_free(list);
    pit_value_free(args);
}

/* The path is that of the argument, also where the failed part was packed by itself before. */
static void failures_name_the_path(void **state)
{
    (void)state;
    struct codec_error err;
    assert_int_equal(pack_both(&err, "{s:y}", "image", NULL, (size_t)1), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "[\"image\"]");
    assert_int_equal(pack_both(&err, "{s:i,s:[i,S]}", "a", 1, "b", 2, NULL, (size_t)1), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "[\"b\"][1]");
    assert_int_equal(pack_both(&err, "{s:i,(v):i}", "a", 1, NULL, 2), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "[1][0]"); /* the key of the entry before it is not its own */

    pit_value *part = pit_pack("{s:y}", "image", NULL, (size_t)1);
    assert_int_equal(pit_value_error(part), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_error_text(part), "[\"image\"]: a NULL pointer with a size");
    assert_int_equal(pack_both(&err, "[v]", part), PIT_E_INVALID_PARAMETER);
    assert_string_equal(err.path, "[0][\"image\"]");
    assert_string_equal(err.text, "a NULL pointer with a size");

    pit_value *list = pit_list(), *args = pit_args(list, part);
    assert_string_equal(pit_value_error_text(args), pit_value_error_text(part));
    pit_list_append_take(list, pit_value_ref(part));
    const pit_value *wholes[] = {part, args, list};
    for (int i = 0; i < 3; i++) {
        struct buf out = {0};
        assert_int_equal(codec_encode(&out, wholes[i], &err), PIT_E_INVALID_PARAMETER);
        assert_string_equal(err.path, i < 2 ? "[\"image\"]" : "[0][\"image\"]");
        assert_string_equal(err.text, "a NULL pointer with a size");
        buf_finish(&out);
    }
    pit_value_free(part);
    pit_value_free(list);
    pit_value_free(args);
}

static void bad_formats_name_the_column(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        int column;
    } cases[] = {
        {"x", 1},   {"[n", 3},   {"]", 1},      {"[)", 2},   {"{n}", 3},  {"{n:}", 4}, {"{n n}", 4}, {"nn", 2},     {":", 1},
        {"[:]", 2}, {"{:n}", 2}, {"{n::n}", 4}, {"[n]n", 4}, {"{n:n", 5}, {"?n", 1},   {"[n*]", 3},  {"{n:n:}", 5}, {"(]", 2},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct codec_error err;
        char column[32];
        assert_int_equal(pack_both(&err, cases[k].format), PIT_E_INVALID_PARAMETER);
        snprintf(column, sizeof column, "column %d:", cases[k].column);
        if (strstr(err.text, column) == NULL)
            fail_msg("\"%s\": %s", cases[k].format, err.text);
    }
    struct codec_error err;
    assert_int_equal(pack_both(&err, NULL), PIT_E_INVALID_PARAMETER);
    char deep[300] = {0};
    memset(deep, '[', 128);
    memset(deep + 128, ']', 128);
    assert_int_equal(pack_both(&err, deep), 0);
    memset(deep, '[', 129);
    memset(deep + 129, ']', 129);
    assert_int_equal(pack_both(&err, deep), PIT_E_LIMIT_EXCEEDED);
    pit_value *v = pit_pack("v", pit_nil());
    for (int i = 0; i < 100; i++) {
        pit_value *outer = pit_list();
        pit_list_append_take(outer, v);
        v = outer;
    }
    memset(deep, 0, sizeof deep);
    memset(deep, '[', 28);
    deep[28] = 'v';
    memset(deep + 29, ']', 28);
    assert_int_equal(pack_both(&err, deep, v), 0);
    memset(deep, '[', 29);
    deep[29] = 'v';
    memset(deep + 30, ']', 29);
    assert_int_equal(pack_both(&err, deep, v), PIT_E_LIMIT_EXCEEDED);
    pit_value_free(v);
}

static void unpack_optional_and_more(void **state)
{
    (void)state;
    int a = 0, b = 77, c = 78;
    double x = 79;
    const char *s = "kept";
    pit_value *v = pit_pack("{s:i,s:[iii],i:s}", "a", 1, "list", 10, 20, 30, 5, "five");
    assert_int_equal(pit_unpack(v, NULL, "{s:i, ?s:i, ?s:{s:[f]}, *}", "a", &a, "b", &b, "c", "d", &x), 0);
    assert_true(a == 1 && b == 77 && x == 79);
    assert_int_equal(pit_unpack(v, NULL, "{s:[i*], i:s, *}", "list", &b, 5, &s), 0);
    assert_int_equal(b, 10);
    assert_string_equal(s, "five");
    assert_int_equal(pit_unpack(v, NULL, "{s:i,s:[iii],f:s}", "a", &a, "list", &a, &b, &c, 5.0, &s), 0);
    assert_true(a == 10 && b == 20 && c == 30);
    assert_int_equal(pit_unpack(pit_nil(), NULL, ""), 0);
    assert_int_equal(pit_unpack(NULL, NULL, ""), 0);
    assert_int_equal(pit_unpack(pit_int(2), NULL, "f", &x), 0);
    assert_true(x == 2);
    pit_value_free(v);
}

/* A variable that is NULL is refused where it stands, whether the value would have fitted or was there at all, and no other is written. */
static void unpack_null_variables(void **state)
{
    (void)state;
    static const char letters[] = "biIuUfsSyv";
    for (const char *letter = letters; *letter != '\0'; letter++) {
        const pit_value *items[] = {pit_bool(1), pit_int(1), pit_float(1), pit_str("text"), pit_bytes("x", 1)};
        for (size_t k = 0; k < sizeof items / sizeof items[0]; k++) {
            char format[16], absent[16];
            int before = 77;
            pit_error *e = NULL;
            pit_value *v = pit_pack("[iv]", 5, items[k]);
            snprintf(format, sizeof format, "[i%c]", *letter);
            snprintf(absent, sizeof absent, "{?s:%c}", *letter);
            assert_int_equal(pit_unpack(v, &e, format, &before, NULL, NULL), PIT_E_INVALID_PARAMETER);
            assert_int_equal(before, 77);
            assert_string_equal(pit_error_message(e), "[1]: the variable for it is a NULL pointer (format column 3)");
            pit_error_free(e);
            pit_value_free(v);
            v = pit_map();
            assert_int_equal(pit_unpack(v, NULL, absent, "key", NULL, NULL), PIT_E_INVALID_PARAMETER);
            pit_value_free(v);
            pit_value_free((pit_value *)(uintptr_t)items[k]);
        }
    }
    const char *text = NULL;
    pit_value *v = pit_pack("[s,y]", "text", "x", (size_t)1);
    assert_int_equal(pit_unpack(v, NULL, "[S*]", &text, NULL), PIT_E_INVALID_PARAMETER);
    assert_null(text);
    const void *data = NULL;
    size_t n = 0;
    assert_int_equal(pit_unpack(v, NULL, "[sy]", &text, &data, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(v, NULL, "[sy]", &text, NULL, &n), PIT_E_INVALID_PARAMETER);
    assert_true(text == NULL && data == NULL && n == 0);
    pit_value_free(v);
}

/* Keys of every kind find their entries; what stands for no key is refused. */
static void unpack_keys(void **state)
{
    (void)state;
    int got[9] = {0};
    pit_value *tuple = pit_pack("(i)", 7), *list = pit_list();
    pit_value *v = pit_pack("{n:i,b:i,i:i,I:i,U:i,f:i,S:i,y:i,v:i}", 0, 1, 1, 2, 2, INT64_MIN, 3, UINT64_MAX, 4, 2.5, 5, "a\0b",
                            (size_t)3, 6, "k", (size_t)1, 7, tuple, 8);
    assert_int_equal(pit_value_error(v), 0);
    int rc = pit_unpack(v, NULL, "{n:i,b:i,u:i,I:i,U:i,f:i,S:i,y:i,v:i}", &got[0], 1, &got[1], 2u, &got[2], INT64_MIN, &got[3],
                        UINT64_MAX, &got[4], 2.5, &got[5], "a\0b", (size_t)3, &got[6], "k", (size_t)1, &got[7], tuple, &got[8]);
    assert_int_equal(rc, 0);
    for (int i = 0; i < 9; i++)
        assert_int_equal(got[i], i);
    assert_int_equal(pit_unpack(v, NULL, "{v:i,*}", list, &rc), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(v, NULL, "{v:i,*}", NULL, &rc), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(v, NULL, "{s:i,*}", NULL, &rc), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(pit_str("\xff"), NULL, "s", &rc), PIT_E_INVALID_UTF8);
    /* an absent optional part takes its arguments and leaves every variable alone */
    static const char format[] = "{?s:[n b i I u U f s S y v ({s:i})],*}";
    bool b = true;
    int i = 1;
    int64_t wide = 2;
    unsigned u = 3;
    uint64_t big = 4;
    double x = 5;
    const char *s = "s", *sized = "z";
    const void *data = &x;
    size_t size = 6, data_size = 7;
    const pit_value *value = v;
    rc = pit_unpack(v, NULL, format, "absent", &b, &i, &wide, &u, &big, &x, &s, &sized, &size, &data, &data_size, &value,
                    "deep", &i);
    assert_int_equal(rc, 0);
    assert_true(b && i == 1 && wide == 2 && u == 3 && big == 4 && x == 5 && size == 6 && data_size == 7 && value == v &&
                data == &x);
    assert_string_equal(s, "s");
    assert_string_equal(sized, "z");
    char deep[260] = {0};
    memset(deep, '[', 129);
    pit_value *nested = pit_pack("[]");
    for (int k = 1; k < 128; k++) {
        pit_value *outer = pit_list();
        pit_list_append_take(outer, nested);
        nested = outer;
    }
    assert_int_equal(pit_unpack(nested, NULL, deep), PIT_E_INVALID_PARAMETER);
    memset(deep + 128, ']', 128);
    assert_int_equal(pit_unpack(nested, NULL, deep), 0);
    pit_value_free(nested);
    pit_value_free(v);
    pit_value_free(tuple);
    pit_value_free(list);
}

static void on_failure_no_variable_changes(void **state)
{
    (void)state;
    int a = 5, b = 6;
    const char *s = "kept";
    pit_error *e = NULL;
    pit_value *v = pit_pack("{s:i,s:[i,s]}", "a", 1, "b", 2, "x");
    assert_int_equal(pit_unpack(v, &e, "{s:i,s:[i,i]}", "a", &a, "b", &a, &b), PIT_E_INVALID_PARAMETER);
    assert_true(a == 5 && b == 6);
    assert_int_equal(pit_error_code(e), PIT_E_INVALID_PARAMETER);
    assert_string_equal(pit_value_str(pit_value_get(pit_error_details(e), "key")), "[\"b\"][1]");
    assert_non_null(strstr(pit_error_message(e), "expected int, found str"));
    pit_error_free(e);
    static const char *const wrong[] = {"{s:i}",        "{s:i,s:[i]}", "[i]",     "{s:s,*}",
                                        "{s:i,s:(is)}", "{s:n,*}",     "{s:b,*}", "{s:y,*}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(pit_unpack(v, NULL, wrong[i], "a", &a, "b", &b, &s), PIT_E_INVALID_PARAMETER);
        assert_true(a == 5 && b == 6);
        assert_string_equal(s, "kept");
    }
    assert_int_equal(pit_unpack(v, NULL, "{s:i,*}", "missing", &a), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(v, NULL, "{s:v,*}", "missing", &s), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(v, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(NULL, NULL, "i", &a), PIT_E_INVALID_PARAMETER);
    pit_value_free(v);
}

static void unpack_does_not_lose(void **state)
{
    (void)state;
    int i = 1;
    unsigned u = 1;
    int64_t wide = 1;
    uint64_t n = 1;
    double x = 1;
    const char *s = "kept";
    const char *text;
    size_t size;
    static const char *const numbers[] = {"2147483648", "-2147483649", "9223372036854775808", "99999999999999999999"};
    for (size_t k = 0; k < 4; k++) {
        pit_value *v = pit_bigint(numbers[k]);
        assert_int_equal(pit_unpack(v, NULL, "i", &i), PIT_E_INVALID_PARAMETER);
        assert_int_equal(pit_unpack(v, NULL, "u", &u), k == 0 ? 0 : PIT_E_INVALID_PARAMETER);
        assert_int_equal(pit_unpack(v, NULL, "I", &wide), k < 2 ? 0 : PIT_E_INVALID_PARAMETER);
        assert_int_equal(pit_unpack(v, NULL, "U", &n), k == 0 || k == 2 ? 0 : PIT_E_INVALID_PARAMETER);
        pit_value_free(v);
    }
    pit_value *v = pit_int((INT64_C(1) << 53) + 1);
    assert_int_equal(pit_unpack(v, NULL, "f", &x), PIT_E_INVALID_PARAMETER);
    pit_value_free(v);
    v = pit_strn("a\0b", 3);
    assert_int_equal(pit_unpack(v, NULL, "s", &s), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_unpack(v, NULL, "S", &text, &size), 0);
    assert_int_equal(size, 3);
    assert_int_equal(pit_unpack(pit_nil(), NULL, "s", &s), PIT_E_INVALID_PARAMETER);
    assert_string_equal(s, "kept");
    assert_true(i == 1 && x == 1);
    pit_value_free(v);
}

static void bad_formats_of_unpack(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        int column;
    } cases[] = {{"x", 1}, {"[", 2}, {"]", 1}, {"nn", 2}, {"[*", 3}, {"[*n]", 3}, {"{*", 3}, {"{x:n}", 2}, {"{", 2}, {"{?", 3}};
    pit_value *list = pit_list(), *map = pit_map();
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const pit_value *v = cases[k].format[0] == '[' ? list : cases[k].format[0] == '{' ? map : pit_nil();
        pit_error *e = NULL;
        char column[32];
        assert_int_equal(pit_unpack(v, &e, cases[k].format), PIT_E_INVALID_PARAMETER);
        snprintf(column, sizeof column, "column %d:", cases[k].column);
        if (strstr(pit_error_message(e), column) == NULL)
            fail_msg("\"%s\": %s", cases[k].format, pit_error_message(e));
        pit_error_free(e);
    }
    pit_value_free(list);
    pit_value_free(map);
}

/* The column is that of the letter which does not fit. */
static void wrong_kinds_name_the_column(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        int column;
    } cases[] = {{"s", 1},       {"[ i ]", 1},     {"{s:i}", 4},     {"{s:[i]}", 4}, {"{s:(ii)}", 6},
                 {"{s:(i)}", 6}, {"{s:(ifi)}", 7}, {"{?s:(i*)}", 9}, {"{s:(ff)}", 8}};
    pit_value *v = pit_pack("{s:(if),s:i}", "pair", 1, 0.5, "more", 1);
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        pit_error *e = NULL;
        int64_t column = 0;
        assert_int_equal(pit_unpack(v, &e, cases[k].format, "pair", &column, &column, &column), PIT_E_INVALID_PARAMETER);
        pit_value_get_int(pit_value_get(pit_error_details(e), "column"), &column);
        if (column != cases[k].column)
            fail_msg("\"%s\": %s", cases[k].format, pit_error_message(e));
        pit_error_free(e);
    }
    pit_value_free(v);
}

static int pack_and_unpack(void *user)
{
    (void)user;
    struct buf out = {0};
    pit_value *v = pit_pack("{s:s,s:[i,f,(s)],i:y}", "a", "b", "c", 70000, 2.5, "d", 5, "e", (size_t)1);
    const char *s;
    pit_error *e = NULL;
    int rc = pit_unpack(v, &e, "{s:s,*}", "a", &s);
    if (rc == 0) {
        rc = pit_unpack(v, &e, "{s:i,*}", "a", &s);
        assert_int_equal(rc, PIT_E_INVALID_PARAMETER);
        assert_int_equal(pit_error_code(e), PIT_E_INVALID_PARAMETER); /* the code is not lost with the memory */
        rc = pit_error_details(e) == NULL || pit_value_len(pit_error_details(e)) != 2 ? PIT_E_ALLOCATION_FAILED : 0;
    }
    pit_error_free(e);
    if (rc == 0)
        rc = codec_encode(&out, v, NULL);
    assert_true(rc == 0 || rc == PIT_E_ALLOCATION_FAILED);
    pit_value_free(v);
    buf_finish(&out);
    return rc == 0;
}

static void memory_runs_out(void **state)
{
    (void)state;
    long count = memory_try_all(pack_and_unpack, NULL);
    print_message("pack and unpack: %ld allocations failed in turn\n", count);
    assert_true(count > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(every_letter),
        WIRE_TEST(bytes_are_those_of_the_value),
        WIRE_TEST(many_keys),
        WIRE_TEST(refused),
        WIRE_TEST(failures_name_the_path),
        WIRE_TEST(bad_formats_name_the_column),
        WIRE_TEST(unpack_optional_and_more),
        WIRE_TEST(unpack_null_variables),
        WIRE_TEST(unpack_keys),
        WIRE_TEST(on_failure_no_variable_changes),
        WIRE_TEST(unpack_does_not_lose),
        WIRE_TEST(bad_formats_of_unpack),
        WIRE_TEST(wrong_kinds_name_the_column),
        WIRE_TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
