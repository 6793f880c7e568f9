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
    {"AWS_SECRET_ACCESS_KEY=AAAA1\nx", "AWS_SECRET_ACCESS_KEY=" R "\nx"},
    {"SECRET_KEY='a b' access_key=c private-key: d", "SECRET_KEY='" R "' access_key=" R " private-key: " R},
    {"{'secretAccessKey': 'x', 'accessKeyId': 'AK'}", "{'secretAccessKey': '" R "', 'accessKeyId': 'AK'}"},
    {"passwd=x pwd=y DB_PASSPHRASE=z credentials: v", "passwd=" R " pwd=" R " DB_PASSPHRASE=" R " credentials: " R},
    {"TOKEN_GITHUB=x, primary_key=1, monkey=2", "TOKEN_GITHUB=" R ", primary_key=1, monkey=2"},
    {"token: Bearer abc def", "token: " R " def"},
    {"tool --password X --user u", "tool --password " R " --user u"},
    {"tool --db-password 'a b' --token --quiet", "tool --db-password '" R "' --token --quiet"},
    {"Command '['mysql', '--password', 'X', 'db']' failed", "Command '['mysql', '--password', '" R "', 'db']' failed"},
    {"--passwords-of x, --mode y", "--passwords-of " R ", --mode y"},
    {"postgres://user:pa@ss@host:5432/db http://h:80/p@q", "postgres://user:" R "@host:5432/db http://h:80/p@q"},
    {"redis://:x@h", "redis://:" R "@h"},
    {"Authorization: Basic QWxhZGRpbg==, basic words", "Authorization: Basic " R ", basic words"},
    {"{\"Authorization\": \"Token abc\"}", "{\"Authorization\": \"Token " R "\"}"},
    {"ghp_abcdefghijklmnop1234 hf_abcdefghijklmnopqr", R " " R},
    {"(AKIAIOSFODNN7EXAMPLE) xoxb-12345678901-abcdefghijklmnopqrst", "(" R ") " R},
    {"hf_transformers AKIA", "hf_transformers AKIA"},
    {"-----BEGIN RSA PRIVATE KEY-----\nMIIa\n-----END RSA PRIVATE KEY-----\nx",
     "-----BEGIN RSA PRIVATE KEY-----" R "-----END RSA PRIVATE KEY-----\nx"},
    {"private_key=-----BEGIN PRIVATE KEY-----\nMIIa", "private_key=-----BEGIN PRIVATE KEY-----" R},
    {"-----BEGIN PUBLIC KEY-----\nMIIa", "-----BEGIN PUBLIC KEY-----\nMIIa"},
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

/* The rest of a secret whose name is lost is gone, whole lines stay. */
static void test_the_rest_of_a_secret(void **state)
{
    (void)state;
    static const struct {
        const char *text, *left;
    } of[] = {
        {"hunter2\nTraceback\n", "Traceback\n"},
        {"", ""},
        {"one line with words", ""},
        {"10%\r20%", "20%"},
        {"x\nMIIa\n-----END RSA PRIVATE KEY-----\nnext", "\nnext"},
        {"x\n-----BEGIN PRIVATE KEY-----\na\n-----END PRIVATE KEY-----",
         "-----BEGIN PRIVATE KEY-----\na\n-----END PRIVATE KEY-----"},
    };
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        assert_string_equal(of[i].text + redact_rest(of[i].text, strlen(of[i].text)), of[i].left);
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
    static const char *const pieces[] = {"sk-",         "token='", "secret=\"\\", "bearer ",
                                         "password:",   "a",       "api_key",     "\\",
                                         "token=[",     "x\"y",    "--",          "--token ",
                                         "://",         "://a:",   "://a@",       "-----BEGIN PRIVATE KEY-----",
                                         "-----BEGIN ", "secret_", "hf_",         "authorization: basic "};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        double few = cost(pieces[i], 2000);
        assert_true(cost(pieces[i], 200000) < 1000 * (few > 20e-6 ? few : 20e-6));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_taken_out), cmocka_unit_test(test_the_rest_of_a_secret),
                                       cmocka_unit_test(test_no_text_makes_it_slow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
