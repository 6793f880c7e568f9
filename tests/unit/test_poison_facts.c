/* What is remembered of a death with a call that kills: bounded, whatever the worker has left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pool/poison_facts.h"
#include "wire/error.h"
#include "wire/value.h"

static pit_value *facts_with(size_t frames, size_t words)
{
    static char text[70000];
    pit_error *e = error_new(PIT_E_WORKER_CRASH, "x");
    pit_value *stacks = pit_list(), *dossier = pit_map();
    for (size_t i = 0; i < frames; i++)
        pit_list_append_take(stacks, pit_pack("{s:s,s:i}", "file", "/srv/application/module.py", "line", 7));
    pit_map_set_take(dossier, "id", pit_str("r-p-0.1"));
    pit_map_set_take(dossier, "exit_class", pit_str("segfault"));
    pit_map_set_take(dossier, "python_at", pit_str("f() in a.py:3"));
    pit_map_set_take(dossier, "python", stacks);
    value_freeze(dossier);
    error_dossier(e, dossier);
    pit_value_free(dossier);
    memset(text, 'x', words);
    text[words] = '\0';
    if (words != 0)
        memcpy(text + words - 6, "\xc3\xa9 end", 6);
    error_detail_take(e, "stderr", pit_str(text));
    error_detail_take(e, "exit_class", pit_str("segfault"));
    pit_value *facts = poison_facts("p/0.1", e);
    pit_error_free(e);
    return facts;
}

static void test_a_small_dossier_is_kept(void **state)
{
    (void)state;
    pit_value *facts = facts_with(100, 100);
    assert_string_equal(pit_value_str(pit_value_get(facts, "worker")), "p/0.1");
    assert_string_equal(pit_value_str(pit_value_get(facts, "exit_class")), "segfault");
    assert_int_equal(pit_value_len(pit_value_get(pit_value_get(facts, "dossier"), "python")), 100);
    assert_int_equal(strlen(pit_value_str(pit_value_get(facts, "stderr"))), 100);
    pit_value_free(facts);
}

static void test_a_large_one_is_not(void **state)
{
    (void)state;
    pit_value *facts = facts_with(2000, 60000);
    const pit_value *dossier = pit_value_get(facts, "dossier");
    assert_null(pit_value_get(dossier, "python"));
    assert_string_equal(pit_value_str(pit_value_get(dossier, "id")), "r-p-0.1");
    assert_string_equal(pit_value_str(pit_value_get(dossier, "exit_class")), "segfault");
    assert_string_equal(pit_value_str(pit_value_get(dossier, "python_at")), "f() in a.py:3");
    assert_int_equal(pit_value_len(pit_value_get(dossier, "missing")), 1);
    const char *words = pit_value_str(pit_value_get(facts, "stderr"));
    assert_int_equal(strlen(words), POISON_STDERR_BYTES);
    assert_string_equal(words + strlen(words) - 6, "\xc3\xa9 end");
    pit_value_free(facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_small_dossier_is_kept),
                                       cmocka_unit_test(test_a_large_one_is_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
