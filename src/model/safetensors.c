/* Reading safetensors: one mapped file, or the shards that an index names, as one table sorted by name. Every number of
 * the header is checked against the file before any of it is used. */
#include "model/safetensors.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEADER_LIMIT ((uint64_t)100 << 20)
enum { SHARD_LIMIT = 4096, NAME_LIMIT = 512 };

struct safetensors {
    struct file_map *maps; /* [files] */
    size_t files, file_capacity;
    struct stored_tensor *tensors; /* [count] */
    size_t count, capacity;
    struct arena arena;   /* names of tensors and files */
    struct arena *copies; /* tensors that their file does not align */
};

static const struct {
    const char *name;
    enum stored_type type;
    uint64_t size;
} stored_types[] = {{"F64", STORED_F64, 8}, {"F32", STORED_F32, 4},  {"F16", STORED_F16, 2}, {"BF16", STORED_BF16, 2},
                    {"I64", STORED_I64, 8}, {"I32", STORED_I32, 4},  {"I16", STORED_I16, 2}, {"I8", STORED_I8, 1},
                    {"U8", STORED_U8, 1},   {"BOOL", STORED_BOOL, 1}};

/* Fills type, shape and element count; *bytes is what the shape asks for. */
static bool read_shape(struct stored_tensor *tensor, const json_node *entry, uint64_t *bytes, struct error *error) {
    const char *type = json_string(json_member(entry, "dtype"));
    uint64_t size = 0;
    for (size_t i = 0; type != NULL && i < sizeof stored_types / sizeof stored_types[0]; i++) {
        if (strcmp(stored_types[i].name, type) != 0) continue;
        tensor->type = stored_types[i].type;
        size = stored_types[i].size;
    }
    if (size == 0) return error_set(error, "dtype \"%s\" is not supported", type == NULL ? "(none)" : type);
    const json_node *shape = json_member(entry, "shape");
    if (!json_is_array(shape)) return error_set(error, "\"shape\" is not a list");
    uint64_t elements = 1;
    for (const json_node *side = json_first(shape); side != NULL; side = json_next(side)) {
        int64_t length;
        if (tensor->dims == SAFETENSORS_DIMS) return error_set(error, "more than %d dimensions", SAFETENSORS_DIMS);
        if (!json_integer(side, &length) || length < 0)
            return error_set(error, "\"shape\" holds something that is no size");
        if (__builtin_mul_overflow(elements, (uint64_t)length, &elements))
            return error_set(error, "its shape has too many elements");
        tensor->shape[tensor->dims++] = length;
    }
    if (elements > INT64_MAX / 8) return error_set(error, "its shape has too many elements");
    tensor->elements = (int64_t)elements;
    *bytes = elements * size;
    return true;
}

static bool read_offsets(const json_node *entry, uint64_t bytes, uint64_t available, uint64_t *begin,
                         struct error *error) {
    const json_node *pair = json_member(entry, "data_offsets");
    int64_t first, end;
    if (!json_is_array(pair) || json_count(pair) != 2 || !json_integer(json_first(pair), &first) ||
        !json_integer(json_next(json_first(pair)), &end)) {
        return error_set(error, "\"data_offsets\" is not a pair of integers");
    }
    if (first < 0 || end < first || (uint64_t)end > available) {
        error_set(error, "its data at [%lld, %lld) reach outside the file's %llu bytes of data", (long long)first,
                  (long long)end, (unsigned long long)available);
        return error_hint(error, "the file is damaged or cut short: download it again");
    }
    if ((uint64_t)(end - first) != bytes) {
        return error_set(error, "its shape asks for %llu bytes, data_offsets give %lld", (unsigned long long)bytes,
                         (long long)(end - first));
    }
    *begin = (uint64_t)first;
    return true;
}

static bool add_tensor(struct safetensors *set, const char *file, const json_node *entry, const uint8_t *data,
                       uint64_t available, struct error *error) {
    struct stored_tensor tensor = {.file = file};
    uint64_t bytes = 0, begin = 0;
    if (strlen(json_name(entry)) > NAME_LIMIT) return error_set(error, "a tensor name is over %d bytes", NAME_LIMIT);
    if (!read_shape(&tensor, entry, &bytes, error) || !read_offsets(entry, bytes, available, &begin, error)) {
        return error_context(error, "tensor %s", json_name(entry));
    }
    tensor.data = data + begin;
    tensor.name = arena_string(&set->arena, json_name(entry), strlen(json_name(entry)));
    if (tensor.name == NULL) return memory_error(error, NAME_LIMIT, "names of tensors");
    if (!memory_grow(&set->tensors, &set->capacity, set->count + 1, sizeof *set->tensors, error)) return false;
    set->tensors[set->count++] = tensor;
    return true;
}

static int compare_places(const void *a, const void *b) {
    const struct stored_tensor *left = a, *right = b;
    if (left->data != right->data) return left->data < right->data ? -1 : 1;
    return (left->elements > 0) - (right->elements > 0);
}

static uint64_t tensor_bytes(const struct stored_tensor *tensor) {
    uint64_t size = 1;
    for (size_t i = 0; i < sizeof stored_types / sizeof stored_types[0]; i++) {
        if (stored_types[i].type == tensor->type) size = stored_types[i].size;
    }
    return (uint64_t)tensor->elements * size;
}

/* The format wants the data covered once and whole: bytes that belong to no tensor or to two are refused. */
static bool check_cover(struct safetensors *set, size_t first, const uint8_t *data, uint64_t available,
                        struct error *error) {
    if (set->count > first) qsort(set->tensors + first, set->count - first, sizeof *set->tensors, compare_places);
    const uint8_t *expected = data;
    for (size_t i = first; i < set->count; i++) {
        const struct stored_tensor *tensor = &set->tensors[i];
        if (tensor->data != expected) {
            return error_set(
                error, "tensor %s begins at byte %lld of the data, expected %lld: tensors overlap or leave a hole",
                tensor->name, (long long)((const uint8_t *)tensor->data - data), (long long)(expected - data));
        }
        expected += tensor_bytes(tensor);
    }
    if (expected == data + available) return true;
    return error_set(error, "%llu bytes behind the last tensor belong to none",
                     (unsigned long long)(data + available - expected));
}

static bool check_metadata(const json_node *metadata, struct error *error) {
    if (!json_is_object(metadata)) return error_set(error, "\"__metadata__\" is not an object");
    for (const json_node *pair = json_first(metadata); pair != NULL; pair = json_next(pair)) {
        if (!json_is_string(pair)) return error_set(error, "\"__metadata__\" holds something that is no string");
    }
    return true;
}

static bool read_header(struct safetensors *set, const char *file, const struct file_map *map, struct error *error) {
    if (map->size < 8) return error_set(error, "%zu bytes are too few for a safetensors file", map->size);
    uint64_t length = 0;
    for (int i = 0; i < 8; i++) length |= (uint64_t)map->data[i] << (8 * i);
    if (length > HEADER_LIMIT || length > map->size - 8) {
        error_set(error, "its header claims %llu bytes, the file has %zu", (unsigned long long)length, map->size);
        return error_hint(error, "the file is damaged, cut short or not in the safetensors format");
    }
    struct json *header;
    if (!json_parse(&header, "header", (const char *)map->data + 8, length, error)) return false;
    const json_node *root = json_root(header);
    const uint8_t *data = map->data + 8 + length;
    const uint64_t available = map->size - 8 - length;
    const size_t first = set->count;
    bool read = json_is_object(root) || error_set(error, "its header is not a JSON object");
    for (const json_node *entry = json_first(root); read && entry != NULL; entry = json_next(entry)) {
        read = strcmp(json_name(entry), "__metadata__") == 0 ? check_metadata(entry, error)
                                                             : add_tensor(set, file, entry, data, available, error);
    }
    read = read && check_cover(set, first, data, available, error);
    json_free(header);
    return read;
}

static bool add_file(struct safetensors *set, const char *path, struct error *error) {
    if (!memory_grow(&set->maps, &set->file_capacity, set->files + 1, sizeof *set->maps, error)) return false;
    const char *base = strrchr(path, '/'), *name = arena_string(&set->arena, base == NULL ? path : base + 1,
                                                                strlen(base == NULL ? path : base + 1));
    if (name == NULL) return memory_error(error, strlen(path), "the name of a file");
    struct file_map *map = &set->maps[set->files];
    if (!file_map_open(map, path, error)) return false;
    set->files++;
    return read_header(set, name, map, error) || error_context(error, "%s", path);
}

/* Opens every shard once, in the order of their names. */
static bool add_shards(struct safetensors *set, const char *directory, const json_node *map, struct error *error) {
    const char *opened[SHARD_LIMIT];
    size_t count = 0;
    for (const json_node *entry = json_first(map); entry != NULL; entry = json_next(entry)) {
        const char *shard = json_string(entry);
        if (shard == NULL || shard[0] == '\0' || shard[0] == '.' || strchr(shard, '/') != NULL) {
            return error_set(error, "the shard of tensor %s is no plain file name", json_name(entry));
        }
        size_t i = 0;
        while (i < count && strcmp(opened[i], shard) != 0) i++;
        if (i < count) continue;
        if (count == SHARD_LIMIT) return error_set(error, "more than %d shards", SHARD_LIMIT);
        opened[count++] = shard;
        char path[4096];
        if (!path_join(path, sizeof path, directory, shard)) return error_set(error, "%s: path too long", shard);
        if (!add_file(set, path, error)) return false;
    }
    return count > 0 || error_set(error, "\"weight_map\" is empty");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct stored_tensor *)a)->name, ((const struct stored_tensor *)b)->name);
}

static bool sort_by_name(struct safetensors *set, struct error *error) {
    if (set->count > 0) qsort(set->tensors, set->count, sizeof *set->tensors, compare_names);
    for (size_t i = 1; i < set->count; i++) {
        if (strcmp(set->tensors[i - 1].name, set->tensors[i].name) != 0) continue;
        return error_set(error, "tensor %s stands in %s and in %s", set->tensors[i].name, set->tensors[i - 1].file,
                         set->tensors[i].file);
    }
    return true;
}

static bool add_index(struct safetensors *set, const char *directory, const char *path, struct error *error) {
    struct json *index;
    if (!json_load(&index, path, HEADER_LIMIT, error)) return false;
    const json_node *map = json_member(json_root(index), "weight_map");
    bool read = (json_is_object(map) || error_set(error, "no object \"weight_map\"")) &&
                add_shards(set, directory, map, error) && sort_by_name(set, error);
    for (const json_node *entry = json_first(map); read && entry != NULL; entry = json_next(entry)) {
        const struct stored_tensor *tensor = safetensors_find(set, json_name(entry));
        if (tensor != NULL && strcmp(tensor->file, json_string(entry)) == 0) continue;
        read = error_set(error, "tensor %s is not in %s", json_name(entry), json_string(entry));
    }
    json_free(index);
    return read || error_context(error, "%s", path);
}

static bool open_path(struct safetensors *set, const char *path, struct error *error) {
    char file[4096];
    if (!path_is_directory(path)) return add_file(set, path, error) && sort_by_name(set, error);
    if (!path_join(file, sizeof file, path, "model.safetensors")) return error_set(error, "%s: path too long", path);
    if (path_exists(file)) return add_file(set, file, error) && sort_by_name(set, error);
    if (!path_join(file, sizeof file, path, "model.safetensors.index.json"))
        return error_set(error, "%s: path too long", path);
    if (path_exists(file)) return add_index(set, path, file, error);
    error_set(error, "%s: neither model.safetensors nor model.safetensors.index.json", path);
    if (path_join(file, sizeof file, path, "pytorch_model.bin") && path_exists(file))
        return error_hint(error, "pytorch_model.bin is not read: save the model with safe_serialization=True");
    return error_hint(error, "download the model's safetensors files into that directory");
}

bool safetensors_open(struct safetensors **out, const char *path, struct error *error) {
    struct safetensors *set = memory_zero(1, sizeof *set);
    if (set == NULL) return memory_error(error, sizeof *set, path);
    arena_init(&set->arena, 1 << 14);
    set->copies = memory_zero(1, sizeof *set->copies);
    const bool done =
        set->copies == NULL ? memory_error(error, sizeof *set->copies, path) : open_path(set, path, error);
    if (!done) {
        safetensors_close(set);
        return false;
    }
    *out = set;
    return true;
}

void safetensors_close(struct safetensors *set) {
    if (set == NULL) return;
    for (size_t i = 0; i < set->files; i++) file_map_close(&set->maps[i]);
    memory_free(set->maps);
    memory_free(set->tensors);
    if (set->copies != NULL) arena_free(set->copies);
    memory_free(set->copies);
    arena_free(&set->arena);
    memory_free(set);
}

void safetensors_release(const struct safetensors *set, const void *data, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    for (size_t i = 0; set != NULL && i < set->files; i++) {
        const uintptr_t map = (uintptr_t)set->maps[i].data;
        if (set->maps[i].size < bytes || begin < map || begin - map > set->maps[i].size - bytes) continue;
        const uintptr_t first = (begin + page - 1) / page * page, end = (begin + bytes) / page * page;
        if (end > first) madvise((void *)first, end - first, MADV_DONTNEED);
    }
}

size_t safetensors_count(const struct safetensors *set) {
    return set->count;
}

const struct stored_tensor *safetensors_at(const struct safetensors *set, size_t index) {
    return &set->tensors[index];
}

const struct stored_tensor *safetensors_find(const struct safetensors *set, const char *name) {
    const struct stored_tensor key = {.name = name};
    return set->count == 0 ? NULL : bsearch(&key, set->tensors, set->count, sizeof *set->tensors, compare_names);
}

static void format_shape(char *out, size_t capacity, const int64_t *shape, int dims) {
    size_t used = (size_t)snprintf(out, capacity, "[");
    for (int i = 0; i < dims && used < capacity; i++) {
        used += (size_t)snprintf(out + used, capacity - used, "%s%lld", i == 0 ? "" : ", ", (long long)shape[i]);
    }
    if (used < capacity) snprintf(out + used, capacity - used, "]");
}

/* The format pads no header, so a file may begin its data anywhere; kernels want whole elements. */
static bool align_matrix(struct arena *copies, const char *name, struct matrix *matrix, struct error *error) {
    const size_t size = dtype_size(matrix->dtype), count = (size_t)(matrix->rows * matrix->cols);
    if ((uintptr_t)matrix->data % size == 0) return true;
    void *copy = arena_alloc(copies, count, size);
    if (copy == NULL) return memory_error(error, count * size, name);
    memcpy(copy, matrix->data, count * size);
    matrix->data = copy;
    return true;
}

/* Tensors from so many bytes on give their pages back after the check. */
enum { RELEASED = 1 << 16 };

/* The tensor's data as a matrix, if they are floats and finite. */
static bool view_tensor(const struct safetensors *set, const struct stored_tensor *tensor, int64_t rows, int64_t cols,
                        struct matrix *matrix, struct error *error) {
    if (tensor->type != STORED_F32 && tensor->type != STORED_F16 && tensor->type != STORED_BF16) {
        return error_set(error, "%s: tensor %s is not stored as F32, F16 or BF16", tensor->file, tensor->name);
    }
    const enum dtype dtype = tensor->type == STORED_F32   ? DTYPE_F32
                             : tensor->type == STORED_F16 ? DTYPE_F16
                                                          : DTYPE_BF16;
    *matrix = (struct matrix){dtype, rows, cols, tensor->data};
    if (!align_matrix(set->copies, tensor->name, matrix, error)) return false;
    const int64_t bad = matrix_find_nonfinite(matrix);
    /* Who reads it next may be a quantiser that reads it once: a checkpoint is never resident whole for the check. */
    const size_t bytes = (size_t)(rows * cols) * dtype_size(dtype);
    if (bytes >= RELEASED) safetensors_release(set, tensor->data, bytes);
    if (bad < 0) return true;
    error_set(error, "%s: tensor %s holds a NaN or an infinity at element %lld", tensor->file, tensor->name,
              (long long)bad);
    return error_hint(error, "the file is damaged, or its training diverged");
}

static bool missing_tensor(const struct safetensors *set, const char *name, struct error *error) {
    error_set(error, "%s: tensor %s is missing", set->count > 0 ? set->tensors[0].file : "model.safetensors", name);
    return error_hint(error, "config.json does not belong to these weights, or a shard is missing");
}

static bool wrong_shape(const struct stored_tensor *tensor, const int64_t *wanted, int dims, struct error *error) {
    char found[96], expected[96];
    format_shape(found, sizeof found, tensor->shape, tensor->dims);
    format_shape(expected, sizeof expected, wanted, dims);
    return error_set(error, "%s: tensor %s has shape %s, config.json says %s", tensor->file, tensor->name, found,
                     expected);
}

bool safetensors_matrix(const struct safetensors *set, const char *name, int64_t rows, int64_t cols,
                        struct matrix *matrix, struct error *error) {
    const struct stored_tensor *tensor = safetensors_find(set, name);
    if (tensor == NULL) return missing_tensor(set, name, error);
    const int64_t wanted[2] = {rows, cols};
    const bool vector = rows == 1 && tensor->dims == 1;
    if (!(vector && tensor->shape[0] == cols) &&
        !(tensor->dims == 2 && tensor->shape[0] == rows && tensor->shape[1] == cols)) {
        return wrong_shape(tensor, rows == 1 ? wanted + 1 : wanted, rows == 1 ? 1 : 2, error);
    }
    return view_tensor(set, tensor, rows, cols, matrix, error);
}

bool safetensors_cube(const struct safetensors *set, const char *name, const int64_t shape[3], struct matrix *matrix,
                      struct error *error) {
    const struct stored_tensor *tensor = safetensors_find(set, name);
    if (tensor == NULL) return missing_tensor(set, name, error);
    if (tensor->dims != 3 || memcmp(tensor->shape, shape, 3 * sizeof *shape) != 0)
        return wrong_shape(tensor, shape, 3, error);
    return view_tensor(set, tensor, shape[0], shape[1] * shape[2], matrix, error);
}
