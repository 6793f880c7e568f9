/* Tensors, inside of the library. Thread: any; no state. */
#ifndef PIT_WIRE_TENSOR_H
#define PIT_WIRE_TENSOR_H

#include <snakepit/tensor.h>

struct tensor_shape {
    int dtype, ndim;
    int64_t dims[PIT_TENSOR_MAX_NDIM];
};

/* Bytes of a tensor of that type and shape (no dimension negative); false when they are more than one can hold (4 GiB). */
bool tensor_bytes(const struct tensor_shape *shape, size_t *ret);
/* A tensor whose items are to be written through pit_tensor_data(), and which is not frozen; failed when memory ran out. */
pit_value *tensor_new(const struct tensor_shape *shape, size_t bytes);
/* A tensor over memory of somebody else. */
pit_value *tensor_over(const struct tensor_shape *shape, size_t bytes, void *data, void (*release)(void *user), void *user);
/* 0: no such type. */
int tensor_dtype(const char *name, size_t n);

#endif
