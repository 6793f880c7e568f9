/* Tensors: arrays of numbers as values.
 *
 * A tensor has a type of its items (dtype), a shape and its items in C order (the last index runs fastest), in the byte order of the machine, which is
 * little-endian. Its memory belongs to the value, or to the host that lent it (pit_tensor_wrap). p may be NULL everywhere: it names the host
 * whose shared memory is to be used, and ordinary memory is used when there is none. Since 0.1. */
#ifndef SNAKEPIT_TENSOR_H
#define SNAKEPIT_TENSOR_H

#include <snakepit/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(CONSTANT, name, bytes of an item) */
#define PIT_DTYPE_LIST(X)                                                                                                      \
    X(BOOL, bool, 1)                                                                                                           \
    X(I8, i8, 1)                                                                                                               \
    X(I16, i16, 2)                                                                                                             \
    X(I32, i32, 4)                                                                                                             \
    X(I64, i64, 8)                                                                                                             \
    X(U8, u8, 1)                                                                                                               \
    X(U16, u16, 2)                                                                                                             \
    X(U32, u32, 4)                                                                                                             \
    X(U64, u64, 8)                                                                                                             \
    X(F16, f16, 2)                                                                                                             \
    X(BF16, bf16, 2)                                                                                                           \
    X(F32, f32, 4)                                                                                                             \
    X(F64, f64, 8)                                                                                                             \
    X(C64, c64, 8)                                                                                                             \
    X(C128, c128, 16)

enum {
    PIT_DTYPE_NONE = 0,
#define PIT_DTYPE_ENUM(constant, name, size) PIT_DTYPE_##constant,
    PIT_DTYPE_LIST(PIT_DTYPE_ENUM)
#undef PIT_DTYPE_ENUM
};

#define PIT_TENSOR_MAX_NDIM 32

/* A tensor of zeros, whose memory may be written through pit_tensor_data() until the value has been sent, shared or put into a container.
 * *ret is owned by the caller. ndim: 0 to 32. unsupported_dtype; invalid_parameter (a negative dimension, a NULL pointer);
 * limit_exceeded (too many dimensions, or more than 4 GiB); allocation_failed; with p also forked and shutting_down. */
PIT_API int pit_tensor_alloc(pit *p, int dtype, const int64_t *shape, int ndim, pit_value **ret, pit_error **reterr);

/* A tensor with a copy of the data, which is as long as dtype and shape say. *ret is owned by the caller. Errors: as pit_tensor_alloc;
 * unsupported_dtype, invalid_parameter, limit_exceeded, allocation_failed. */
PIT_API int pit_tensor_from_data(pit *p, int dtype, const int64_t *shape, int ndim, const void *data, pit_value **ret,
                                 pit_error **reterr);

/* A tensor over data that stays where it is, aligned to its items (else invalid_parameter), and that must neither change nor go away until
 * release(user) has been called, by whatever thread drops the last reference; release may be NULL. On failure release is not called. *ret is
 * owned by the caller. Further errors: as pit_tensor_alloc; unsupported_dtype, limit_exceeded, allocation_failed. */
PIT_API int pit_tensor_wrap(pit *p, int dtype, const int64_t *shape, int ndim, void *data, void (*release)(void *user),
                            void *user, pit_value **ret, pit_error **reterr);

/* ---- readers: accept any value; NULL, PIT_DTYPE_NONE, 0 or -1 (ndim) when it is no tensor ---- */

/* The items, borrowed: they live as long as v. To be written only as pit_tensor_alloc says. Never NULL for a tensor, also when it has no items;
 * aligned to its items. */
PIT_API void *pit_tensor_data(const pit_value *v);

/* How many bytes the data has. */
PIT_API size_t pit_tensor_size(const pit_value *v);

/* The type of the items, PIT_DTYPE_*. */
PIT_API int pit_tensor_dtype(const pit_value *v);

/* How many dimensions it has. */
PIT_API int pit_tensor_ndim(const pit_value *v);

/* The length of each dimension, and the step between its items: ndim numbers each, living as long as v. Strides are in items, as DLPack has them. */
PIT_API const int64_t *pit_tensor_shape(const pit_value *v);
PIT_API const int64_t *pit_tensor_strides(const pit_value *v);

/* The name of a dtype: "f32", ...; NULL for no dtype. */
PIT_API const char *pit_dtype_name(int dtype);

/* How many bytes an item has; 0 for no dtype. */
PIT_API size_t pit_dtype_size(int dtype);

#ifdef __cplusplus
}
#endif
#endif
