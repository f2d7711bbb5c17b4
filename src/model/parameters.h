/* Trainable tensors: names, values and gradients, in two contiguous arrays, so that the optimizer is one loop. */
#ifndef CASEMIX_MODEL_PARAMETERS_H
#define CASEMIX_MODEL_PARAMETERS_H

#include "tensor/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct parameter {
    char name[192]; /* the checkpoint's key: model.layers.0.mlp.up_proj.weight, base_model.model.….lora_A.weight */
    int64_t rows, cols;
    bool vector;   /* stored with shape [cols] */
    int64_t inner; /* not 0: stored with shape [rows, cols / inner, inner] */
    int64_t first; /* offset into values and gradients */
};

struct parameters {
    struct parameter *items; /* [count] */
    size_t count, capacity;
    int64_t total;    /* elements */
    float *values;    /* [total], NULL until parameters_allocate */
    float *gradients; /* [total] */
};

/* Declares a tensor; its index. Returns false when memory is short. All are declared before parameters_allocate. */
bool parameters_declare(struct parameters *set, const char *name, int64_t rows, int64_t cols, bool vector,
                        size_t *index, struct error *error);
bool parameters_allocate(struct parameters *set, struct error *error); /* zeroed */
float *parameter_value(const struct parameters *set, size_t index);
float *parameter_gradient(const struct parameters *set, size_t index);
const struct parameter *parameters_find(const struct parameters *set, const char *name); /* NULL if none */

/* Writes all of them, in the order of their declaration, as a safetensors file stored as `dtype`. Atomic. */
bool parameters_write(const struct parameters *set, const char *path, enum dtype dtype, struct error *error);
void parameters_free(struct parameters *set);

#endif
