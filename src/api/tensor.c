/* snakepit/tensor.h: validate, enter, translate. The tensors themselves are in wire/tensor.c. */
#include <snakepit/tensor.h>

#include <string.h>

#include "api/api.h"
#include "wire/error.h"
#include "wire/tensor.h"

static int check_shape(int dtype, const int64_t *shape, int ndim, struct tensor_shape *ret, size_t *ret_bytes,
                       pit_error **reterr)
{
    if (pit_dtype_name(dtype) == NULL)
        return error_set(reterr, PIT_E_UNSUPPORTED_DTYPE, "there is no dtype %d", dtype);
    if (ndim < 0 || (ndim > 0 && shape == NULL))
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "the shape is NULL, or ndim is negative");
    if (ndim > PIT_TENSOR_MAX_NDIM)
        return error_set(reterr, PIT_E_LIMIT_EXCEEDED, "a tensor of %d dimensions, at most %d", ndim, PIT_TENSOR_MAX_NDIM);
    *ret = (struct tensor_shape){.dtype = dtype, .ndim = ndim};
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return error_set(reterr, PIT_E_INVALID_PARAMETER, "dimension %d is negative", i);
        ret->dims[i] = shape[i];
    }
    if (!tensor_bytes(ret, ret_bytes))
        return error_set(reterr, PIT_E_LIMIT_EXCEEDED, "a tensor of more than 4 GiB");
    return 0;
}

/* A closed or forked host makes no tensors; without one anybody may. */
static int check_host(pit *p, pit_error **reterr)
{
    int rc = p != NULL ? api_enter(p) : 0;
    if (rc != 0)
        return api_refused(reterr, rc);
    if (p != NULL)
        api_leave(p);
    return 0;
}

static int give(pit_value *v, pit_value **ret, pit_error **reterr)
{
    if (pit_value_error(v) != 0)
        return error_set(reterr, pit_value_error(v), "no memory for the tensor");
    *ret = v;
    return error_give(reterr, NULL);
}

/* A tensor whose items are still to be written. */
static int make(pit *p, int dtype, const int64_t *shape, int ndim, pit_value **ret, pit_error **reterr)
{
    struct tensor_shape checked;
    size_t bytes;
    int rc = check_host(p, reterr);
    if (rc == 0)
        rc = check_shape(dtype, shape, ndim, &checked, &bytes, reterr);
    return rc != 0 ? rc : give(tensor_new(&checked, bytes), ret, reterr);
}

int pit_tensor_alloc(pit *p, int dtype, const int64_t *shape, int ndim, pit_value **ret, pit_error **reterr)
{
    if (ret == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "ret is NULL");
    int rc = make(p, dtype, shape, ndim, ret, reterr);
    if (rc == 0)
        memset(pit_tensor_data(*ret), 0, pit_tensor_size(*ret));
    return rc;
}

int pit_tensor_from_data(pit *p, int dtype, const int64_t *shape, int ndim, const void *data, pit_value **ret,
                         pit_error **reterr)
{
    pit_value *v = NULL;
    if (ret == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "ret is NULL");
    int rc = make(p, dtype, shape, ndim, &v, reterr);
    if (rc != 0)
        return rc;
    size_t bytes = pit_tensor_size(v);
    if (data == NULL && bytes != 0) {
        pit_value_free(v);
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "data is NULL");
    }
    if (bytes != 0)
        memcpy(pit_tensor_data(v), data, bytes);
    *ret = v;
    return 0;
}

/* Items of 16 bytes are two of 8. */
static bool is_aligned(int dtype, const void *data)
{
    size_t size = pit_dtype_size(dtype);
    return (uintptr_t)data % (size < 8 ? size : 8) == 0;
}

int pit_tensor_wrap(pit *p, int dtype, const int64_t *shape, int ndim, void *data, void (*release)(void *user), void *user,
                    pit_value **ret, pit_error **reterr)
{
    static char nothing;
    struct tensor_shape checked;
    size_t bytes = 0;
    if (ret == NULL)
        return error_set(reterr, PIT_E_INVALID_PARAMETER, "ret is NULL");
    int rc = check_host(p, reterr);
    if (rc == 0)
        rc = check_shape(dtype, shape, ndim, &checked, &bytes, reterr);
    if (rc == 0 && ((data == NULL && bytes != 0) || !is_aligned(dtype, data)))
        rc = error_set(reterr, PIT_E_INVALID_PARAMETER, "data is NULL, or not aligned to its items");
    return rc != 0 ? rc : give(tensor_over(&checked, bytes, data != NULL ? data : &nothing, release, user), ret, reterr);
}
