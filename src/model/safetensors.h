/* The safetensors format: an 8-byte little-endian header length, a JSON header, then the data. Mapped, not copied.
 *
 * Source: huggingface/safetensors, format description. Every length, offset and shape is checked before use: header at
 * most 100 MB and inside the file, offsets in order, inside the data, without holes or overlaps, byte count equal to
 * shape times element size. */
#ifndef CASEMIX_MODEL_SAFETENSORS_H
#define CASEMIX_MODEL_SAFETENSORS_H

#include "base/file.h"
#include "tensor/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define SAFETENSORS_DIMS 4

enum stored_type {
    STORED_F64,
    STORED_F32,
    STORED_F16,
    STORED_BF16,
    STORED_I64,
    STORED_I32,
    STORED_I16,
    STORED_I8,
    STORED_U8,
    STORED_BOOL
};

struct stored_tensor {
    const char *name;
    const char *file; /* for messages */
    enum stored_type type;
    int dims;
    int64_t shape[SAFETENSORS_DIMS];
    int64_t elements;
    const void *data; /* in the map; may be unaligned only if the file is (then it is refused) */
};

/* One file, or the shards of a model.safetensors.index.json, as one table of tensors by name. */
struct safetensors;

/* `path`: a .safetensors file; a directory: model.safetensors, else model.safetensors.index.json and its shards (names
 * without '/'). */
bool safetensors_open(struct safetensors **set, const char *path, struct error *error);
void safetensors_close(struct safetensors *set);
size_t safetensors_count(const struct safetensors *set);
const struct stored_tensor *safetensors_at(const struct safetensors *set, size_t index); /* sorted by name */
const struct stored_tensor *safetensors_find(const struct safetensors *set, const char *name);

/* The tensor as a float matrix of this shape (rows 1: a vector [cols] or [1, cols]); missing, another type or another
 * shape is an error in the form "FILE: tensor NAME has shape [a, b], config.json says [c, d]". A NaN or infinity in it
 * is an error that gives its index. */
bool safetensors_matrix(const struct safetensors *set, const char *name, int64_t rows, int64_t cols,
                        struct matrix *matrix, struct error *error);

/* Says that these bytes of a mapped tensor will not be read soon: their pages leave this process's memory (they come
 * back when they are read). Bytes that lie elsewhere are left alone. set may be NULL. */
void safetensors_release(const struct safetensors *set, const void *data, size_t bytes);

/* A file to be written, atomically, tensors in the order added. Data are borrowed until the write. */
struct tensor_to_write {
    const char *name;
    enum dtype dtype; /* stored as */
    int dims;
    int64_t shape[SAFETENSORS_DIMS];
    const void *data; /* f32, narrowed while writing; of DTYPE_INT8, the bytes themselves */
};
bool safetensors_write(const char *path, const struct tensor_to_write *tensors, size_t count,
                       const char *const *metadata_pairs, size_t pairs, struct error *error);

#endif
