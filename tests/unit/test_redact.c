/* Secrets out of texts: the cases of tests/python/test_redact.py, and that no text makes it slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/redact.h"

#define R "<REDACTED>"

static const struct {
    const char *text, *clean;
} cases[] = {
    {"Authorization: Bearer abc.def-123", "Authorization: Bearer " R},
    {"authorization: bearer abc, next", "authorization: bearer " R ", next"},
    {"{\"Authorization\": \"Bearer abc\"}", "{\"Authorization\": \"Bearer " R "\"}"},
    {"key sk-abcdefghij", "key " R},
    {"key sk-proj-abcdefghij_123-x.", "key " R "."},
    {"sk-abcdefghi", "sk-abcdefghi"},
    {"task-abcdefghijkl", "task-abcdefghijkl"},
    {"{\"api_key\": \"a b\", \"x\": 1}", "{\"api_key\": \"" R "\", \"x\": 1}"},
    {"{'api-key': 'a\\'b', 'x': 1}", "{'api-key': '" R "', 'x': 1}"},
    {"apikey=abc&x=1", "apikey=" R "&x=1"},
    {"Client(token=b'abc', secret=None)", "Client(token=b'" R "', secret=" R ")"},
    {"access_token: abc\nnext", "access_token: " R "\nnext"},
    {"{\"client_secret\" : 12345}", "{\"client_secret\" : " R "}"},
    {"{\"password\": [\"a\", \"b\"], \"y\": 2}", "{\"password\": " R ", \"y\": 2}"},
    {"PASSWORD='unfinished", "PASSWORD='" R},
    {"\"{\\\"token\\\": \\\"abc def\\\", \\\"x\\\": 1}\"", "\"{\\\"token\\\": \\\"" R "\\\", \\\"x\\\": 1}\""},
    {"max_tokens=100", "max_tokens=100"},
    {"a secret place", "a secret place"},
    {"", ""},
    {"token=", "token="},
    {"token", "token"},
    {"secret: '\\", "secret: '" R},
    {"bearer ", "bearer "},
    {"forbearer x", "forbearer x"},
    {"sk-a_token=x", "sk-a_token=" R},
    {"sk-abcdefghijk_token=x", R "token=" R},
};

static void expect(const char *text, size_t n, const char *clean)
{
    struct buf b = {0};
    char *exact = malloc(n + 1); /* of its own block: a read beyond it is seen */
    assert_non_null(exact);
    memcpy(exact, text, n);
    redact(&b, exact, n);
    char *got = buf_take_str(&b);
    assert_string_equal(got, clean);
    buf_finish(&b);
    free(got);
    free(exact);
}

static void test_what_is_taken_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(cases[i].text, strlen(cases[i].text), cases[i].clean);
        expect(cases[i].clean, strlen(cases[i].clean), cases[i].clean);
    }
    expect("a\0token=x", 9, "a");
}

static double cost(const char *piece, size_t n)
{
    size_t m = strlen(piece);
    char *text = malloc(n);
    double best = 1e9;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = piece[i % m];
    for (int round = 0; round < 3; round++) {
        struct buf b = {0};
        clock_t begun = clock();
        redact(&b, text, n);
        double took = (double)(clock() - begun) / CLOCKS_PER_SEC;
        best = took < best ? took : best;
        buf_finish(&b);
    }
    free(text);
    return best;
}

/* A hundred times the text may cost about a hundred times the time, not ten thousand times. */
static void test_no_text_makes_it_slow(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "sk-", "token='", "secret=\"\\", "bearer ", "password:", "a", "api_key", "\\", "token=[", "x\"y"};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        double few = cost(pieces[i], 2000);
        assert_true(cost(pieces[i], 200000) < 1000 * (few > 20e-6 ? few : 20e-6));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_taken_out), cmocka_unit_test(test_no_text_makes_it_slow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
