/* Tensors: making them in three ways, readers, equality, limits, and what the codec and JSON make of them. */
#include "unit/wire_memory.h"

#include <sys/wait.h>
#include <unistd.h>

#include "wire/codec.h"

static const float six[] = {1, 2, 3, 4, 5, 6};
static const int64_t two_by_three[] = {2, 3};

static pit_value *from_data(int dtype, const int64_t *shape, int ndim, const void *data)
{
    pit_value *v = NULL;
    pit_error *e = NULL;
    if (pit_tensor_from_data(NULL, dtype, shape, ndim, data, &v, &e) != 0)
        fail_msg("%s", pit_error_string(e));
    assert_null(e);
    return v;
}

static void a_copy_of_data(void **state)
{
    (void)state;
    float mine[6];
    memcpy(mine, six, sizeof six);
    pit_value *v = from_data(PIT_DTYPE_F32, two_by_three, 2, mine);
    memset(mine, 0, sizeof mine);
    assert_int_equal(pit_value_kind(v), PIT_KIND_TENSOR);
    assert_int_equal(pit_tensor_dtype(v), PIT_DTYPE_F32);
    assert_int_equal(pit_tensor_ndim(v), 2);
    assert_int_equal(pit_tensor_size(v), sizeof six);
    assert_memory_equal(pit_tensor_shape(v), two_by_three, sizeof two_by_three);
    assert_int_equal(pit_tensor_strides(v)[0], 3); /* in items */
    assert_int_equal(pit_tensor_strides(v)[1], 1);
    assert_memory_equal(pit_tensor_data(v), six, sizeof six);
    assert_int_equal((uintptr_t)pit_tensor_data(v) % 8, 0);
    pit_value *same = from_data(PIT_DTYPE_F32, two_by_three, 2, six), *other = from_data(PIT_DTYPE_U32, two_by_three, 2, six);
    const int64_t three_by_two[] = {3, 2};
    pit_value *turned = from_data(PIT_DTYPE_F32, three_by_two, 2, six), *zero = NULL;
    assert_int_equal(pit_tensor_alloc(NULL, PIT_DTYPE_F32, two_by_three, 2, &zero, NULL), 0);
    assert_true(pit_value_equal(v, same));
    assert_false(pit_value_equal(v, other) || pit_value_equal(v, turned) || pit_value_equal(v, zero));
    pit_value_free(same);
    pit_value_free(other);
    pit_value_free(turned);
    pit_value_free(zero);
    pit_value_free(v);
}

static void readers_take_anything(void **state)
{
    (void)state;
    pit_value *all[] = {NULL, pit_int(1), pit_str("\xff")};
    for (int i = 0; i < 3; i++) {
        assert_null(pit_tensor_data(all[i]));
        assert_null(pit_tensor_shape(all[i]));
        assert_null(pit_tensor_strides(all[i]));
        assert_int_equal(pit_tensor_ndim(all[i]), -1);
        assert_int_equal(pit_tensor_dtype(all[i]), PIT_DTYPE_NONE);
        assert_int_equal(pit_tensor_size(all[i]), 0);
    }
    assert_string_equal(pit_dtype_name(PIT_DTYPE_BF16), "bf16");
    assert_null(pit_dtype_name(PIT_DTYPE_NONE));
    assert_null(pit_dtype_name(PIT_DTYPE_C128 + 1));
    assert_null(pit_dtype_name(-1));
    assert_int_equal(pit_dtype_size(PIT_DTYPE_C128), 16);
    assert_int_equal(pit_dtype_size(-1), 0);
}

static void memory_to_be_written(void **state)
{
    (void)state;
    pit_value *v = NULL;
    assert_int_equal(pit_tensor_alloc(NULL, PIT_DTYPE_F32, two_by_three, 2, &v, NULL), 0);
    assert_false(pit_value_is_immutable(v));
    for (size_t i = 0; i < sizeof six; i++)
        assert_int_equal(((char *)pit_tensor_data(v))[i], 0);
    memcpy(pit_tensor_data(v), six, sizeof six);
    pit_value *shared = pit_value_ref(v);
    assert_true(pit_value_is_immutable(v));
    pit_value_free(shared);
    pit_value_free(v);
    v = NULL;
    assert_int_equal(pit_tensor_alloc(NULL, PIT_DTYPE_F64, NULL, 0, &v, NULL), 0); /* one item */
    assert_int_equal(pit_tensor_size(v), 8);
    assert_non_null(pit_tensor_shape(v));
    assert_non_null(pit_tensor_strides(v));
    pit_value_free(v);
}

static void count_release(void *user)
{
    ++*(int *)user;
}

static void memory_of_somebody_else(void **state)
{
    (void)state;
    static float mine[6];
    int released = 0;
    pit_value *v = NULL;
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, two_by_three, 2, mine, count_release, &released, &v, NULL), 0);
    assert_ptr_equal(pit_tensor_data(v), mine);
    pit_value *list = pit_list();
    assert_int_equal(pit_list_append_take(list, pit_value_ref(v)), 0);
    pit_value_free(v);
    assert_int_equal(released, 0); /* the list has it */
    pit_value_free(list);
    assert_int_equal(released, 1);
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, two_by_three, 2, mine, NULL, NULL, &v, NULL), 0);
    pit_value_free(v);
    const int64_t none[] = {0, 5};
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, none, 2, NULL, count_release, &released, &v, NULL), 0);
    assert_non_null(pit_tensor_data(v));
    pit_value_free(v);
    assert_int_equal(released, 2);
    pit_error *e = NULL;
    v = (pit_value *)&released;
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, two_by_three, 2, (char *)mine + 1, count_release, &released, &v, &e),
                     PIT_E_INVALID_PARAMETER); /* misaligned */
    assert_int_equal(pit_error_code(e), PIT_E_INVALID_PARAMETER);
    pit_error_free(e);
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, two_by_three, 2, NULL, count_release, &released, &v, NULL),
                     PIT_E_INVALID_PARAMETER);
    memory.count = 0;
    memory.fail_at = 1;
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, two_by_three, 2, mine, count_release, &released, &v, NULL),
                     PIT_E_ALLOCATION_FAILED);
    memory.fail_at = 0;
    assert_int_equal(released, 2); /* on failure the memory stays the caller's */
    assert_ptr_equal(v, &released);
}

static void refused(void **state)
{
    (void)state;
    static const int64_t negative[] = {2, -1}, huge[] = {INT64_C(1) << 40, INT64_C(1) << 40}, wraps[] = {INT64_MAX, 4, 4},
                         gigabytes[] = {INT64_C(5) << 30}, ones[33] = {1}, none_of_many[] = {INT64_MAX, INT64_MAX, 0};
    static const struct {
        int dtype;
        const int64_t *shape;
        int ndim, code;
    } cases[] = {
        {PIT_DTYPE_NONE, two_by_three, 2, PIT_E_UNSUPPORTED_DTYPE},
        {99, two_by_three, 2, PIT_E_UNSUPPORTED_DTYPE},
        {PIT_DTYPE_F32, two_by_three, -1, PIT_E_INVALID_PARAMETER},
        {PIT_DTYPE_F32, NULL, 1, PIT_E_INVALID_PARAMETER},
        {PIT_DTYPE_F32, negative, 2, PIT_E_INVALID_PARAMETER},
        {PIT_DTYPE_F32, ones, 33, PIT_E_LIMIT_EXCEEDED},
        {PIT_DTYPE_F32, huge, 2, PIT_E_LIMIT_EXCEEDED},
        {PIT_DTYPE_U8, wraps, 3, PIT_E_LIMIT_EXCEEDED},
        {PIT_DTYPE_U8, gigabytes, 1, PIT_E_LIMIT_EXCEEDED},
    };
    pit_value *v = (pit_value *)&v;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pit_error *e = NULL;
        assert_int_equal(pit_tensor_from_data(NULL, cases[i].dtype, cases[i].shape, cases[i].ndim, six, &v, &e), cases[i].code);
        assert_int_equal(pit_error_code(e), cases[i].code);
        pit_error_free(e);
        assert_int_equal(pit_tensor_alloc(NULL, cases[i].dtype, cases[i].shape, cases[i].ndim, &v, NULL), cases[i].code);
        assert_int_equal(
            pit_tensor_wrap(NULL, cases[i].dtype, cases[i].shape, cases[i].ndim, (void *)(uintptr_t)six, NULL, NULL, &v, NULL),
            cases[i].code);
    }
    assert_int_equal(pit_tensor_from_data(NULL, PIT_DTYPE_F32, two_by_three, 2, NULL, &v, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_tensor_from_data(NULL, PIT_DTYPE_F32, two_by_three, 2, six, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_tensor_alloc(NULL, PIT_DTYPE_F32, two_by_three, 2, NULL, NULL), PIT_E_INVALID_PARAMETER);
    assert_int_equal(pit_tensor_wrap(NULL, PIT_DTYPE_F32, two_by_three, 2, &v, NULL, NULL, NULL, NULL),
                     PIT_E_INVALID_PARAMETER);
    assert_ptr_equal(v, &v);
    v = from_data(PIT_DTYPE_F32, none_of_many, 3, NULL); /* no items, whatever the other dimensions say */
    assert_int_equal(pit_tensor_size(v), 0);
    pit_value_free(v);
}

static void over_the_wire(void **state)
{
    (void)state;
    pit_value *v = from_data(PIT_DTYPE_F32, two_by_three, 2, six), *back = NULL;
    struct buf out = {0};
    assert_int_equal(codec_encode(&out, v, NULL), 0);
    assert_int_equal(codec_decode(out.data, out.len, NULL, &back, NULL, NULL), 0);
    assert_true(pit_value_equal(v, back));
    assert_true(pit_value_is_immutable(back));
    assert_int_equal((uintptr_t)pit_tensor_data(back) % 8, 0);
    assert_int_equal(pit_tensor_strides(back)[0], 3);
    buf_finish(&out);
    pit_value_free(back);
    pit_value_free(v);
}

static void json_has_a_limit(void **state)
{
    (void)state;
    int64_t shape[] = {1 << 20};
    char *data = calloc(1, (1 << 20) + 1);
    pit_value *v = from_data(PIT_DTYPE_U8, shape, 1, data), *back = NULL;
    char *json = pit_value_to_json(v, 0);
    assert_non_null(json);
    assert_int_equal(pit_value_parse_json(json, strlen(json), &back, NULL), 0);
    assert_true(pit_value_equal(v, back));
    pit_value_free(back);
    pit_value_free(v);
    /* one byte more is not read: 1 MiB is no multiple of 3, so that the padding gives way to it */
    memcpy(strstr(json, "1048576"), "1048577", 7);
    char *padding = strstr(json, "=\"}");
    assert_non_null(padding);
    if (padding[-1] == '=') /* two bytes were one */
        padding[-1] = 'A';
    else
        padding[0] = 'A';
    assert_int_equal(pit_value_parse_json(json, strlen(json), &back, NULL), PIT_E_LIMIT_EXCEEDED);
    pit_free(json);
    shape[0]++; /* nor written */
    v = from_data(PIT_DTYPE_U8, shape, 1, data);
    assert_null(pit_value_to_json(v, 0));
    pit_value_free(v);
    free(data);
}

static void memory_runs_out(void **state)
{
    (void)state;
    pit_value *v = (pit_value *)&v;
    for (long k = 1; k <= 2; k++) {
        memory.count = 0;
        memory.fail_at = k;
        int rc = pit_tensor_from_data(NULL, PIT_DTYPE_F32, two_by_three, 2, six, &v, NULL);
        memory.fail_at = 0;
        assert_int_equal(rc, k == 1 ? PIT_E_ALLOCATION_FAILED : 0);
    }
    pit_value_free(v);
}

/* With a host: as without one, but for a copy of its process. */
static void with_a_host(void **state)
{
    (void)state;
    mem_set_allocator(NULL); /* the counting one is for one thread */
    pit *p = NULL;
    pit_value *v = NULL;
    pit_options o = PIT_OPTIONS_INIT;
    o.guard_path = SNAKEPIT_GUARD_PATH;
    assert_int_equal(pit_open(&o, &p, NULL), 0);
    assert_int_equal(pit_tensor_from_data(p, PIT_DTYPE_F32, two_by_three, 2, six, &v, NULL), 0);
    assert_memory_equal(pit_tensor_data(v), six, sizeof six);
    pit_value_free(v);
    pid_t child = fork();
    if (child == 0) {
        pit_error *e = NULL;
        int rc = pit_tensor_alloc(p, PIT_DTYPE_F32, two_by_three, 2, &v, &e);
        _exit(rc == PIT_E_FORKED && pit_error_code(e) == rc ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(pit_close(p), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_copy_of_data),
        WIRE_TEST(readers_take_anything),
        WIRE_TEST(memory_to_be_written),
        WIRE_TEST(memory_of_somebody_else),
        WIRE_TEST(refused),
        WIRE_TEST(over_the_wire),
        WIRE_TEST(json_has_a_limit),
        WIRE_TEST(memory_runs_out),
        cmocka_unit_test(with_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
