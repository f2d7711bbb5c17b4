/* Trainable tensors: declared one by one, then allocated as one. */
#include "model/parameters.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/safetensors.h"
#include <stdio.h>
#include <string.h>

bool parameters_declare(struct parameters *set, const char *name, int64_t rows, int64_t cols, bool vector,
                        size_t *index, struct error *error) {
    if (strlen(name) >= sizeof set->items->name) return error_set(error, "tensor name %s is too long", name);
    if (!memory_grow(&set->items, &set->capacity, set->count + 1, sizeof *set->items, error)) return false;
    struct parameter *item = &set->items[set->count];
    *item = (struct parameter){.rows = rows, .cols = cols, .vector = vector, .first = set->total};
    strcpy(item->name, name);
    /* Each tensor begins on a cache line. */
    set->total += (rows * cols + 15) / 16 * 16;
    *index = set->count++;
    return true;
}

bool parameters_allocate(struct parameters *set, struct error *error) {
    set->values = memory_zero((size_t)set->total, sizeof *set->values);
    set->gradients = memory_zero((size_t)set->total, sizeof *set->gradients);
    return (set->values != NULL && set->gradients != NULL) ||
           memory_error(error, (size_t)set->total * 2 * sizeof *set->values, "the trained tensors and their gradients");
}

float *parameter_value(const struct parameters *set, size_t index) {
    return set->values + set->items[index].first;
}

float *parameter_gradient(const struct parameters *set, size_t index) {
    return set->gradients + set->items[index].first;
}

const struct parameter *parameters_find(const struct parameters *set, const char *name) {
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->items[i].name, name) == 0) return &set->items[i];
    }
    return NULL;
}

bool parameters_write(const struct parameters *set, const char *path, enum dtype dtype, struct error *error) {
    struct tensor_to_write *tensors = memory_zero(set->count, sizeof *tensors);
    if (tensors == NULL) return memory_error(error, set->count * sizeof *tensors, path);
    for (size_t i = 0; i < set->count; i++) {
        const struct parameter *item = &set->items[i];
        tensors[i] = (struct tensor_to_write){
            .name = item->name, .dtype = dtype, .dims = item->vector ? 1 : 2, .data = parameter_value(set, i)};
        tensors[i].shape[0] = item->vector ? item->cols : item->rows;
        tensors[i].shape[1] = item->vector ? 0 : item->cols;
        if (item->inner == 0) continue;
        tensors[i].dims = 3;
        tensors[i].shape[1] = item->cols / item->inner;
        tensors[i].shape[2] = item->inner;
    }
    const char *const metadata[] = {"format", "pt"};
    const bool written = safetensors_write(path, tensors, set->count, metadata, 1, error);
    memory_free(tensors);
    return written;
}

void parameters_free(struct parameters *set) {
    memory_free(set->items);
    memory_free(set->values);
    memory_free(set->gradients);
    *set = (struct parameters){0};
}
