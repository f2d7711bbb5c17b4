/* Merging and writing a model: see export.h. Tensors are merged piece by piece on their way to the file, so that no
 * second copy of the model is held. */
#include "model/export.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/decoder_tensors.h"
#include "model/safetensors.h"
#include "tensor/gemm.h"
#include <stdio.h>
#include <string.h>

/* One tensor to be written: its stored weight and the term that is added to it (R 0: none). */
struct merged {
    char name[128];
    struct matrix weight;
    struct lora lora;
    bool vector;
};

struct export {
    const struct decoder *decoder;
    const struct export_settings *settings;
    const char *directory;
    struct merged *tensors; /* [count] */
    size_t count, capacity;
};

static bool collect_tensor(void *context, const char *name, const struct tensor_slot *slot, struct error *error) {
    struct export *export = context;
    if (slot->matrix->data == NULL) return error_set(error, "%s: the model has no such tensor to write", name);
    if (!memory_grow(&export->tensors, &export->capacity, export->count + 1, sizeof *export->tensors, error))
        return false;
    struct merged *tensor = &export->tensors[export->count++];
    *tensor = (struct merged){.weight = *slot->matrix, .vector = slot->vector};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    for (int64_t place = 0; place < export->decoder->config.L * PROJECTIONS; place++) {
        const struct projection *projection =
            &export->decoder->layers[place / PROJECTIONS].projections[place % PROJECTIONS];
        if (slot->matrix == &projection->weight) tensor->lora = projection->lora;
    }
    return true;
}

/* Rows of W + scale B A as f32. */
static void merge_rows(const void *context, size_t index, int64_t first, int64_t rows, float *out) {
    const struct merged *tensor = (const struct merged *)context + index;
    const struct lora *lora = &tensor->lora;
    const int64_t cols = tensor->weight.cols;
    matrix_widen(out, &tensor->weight, first * cols, rows * cols);
    if (lora->R > 0)
        gemm(false, false, rows, cols, lora->R, lora->scale, lora->b + first * lora->R, lora->R, lora->a, cols, 1, out,
             cols);
}

static int64_t stored_bytes(const struct export *export, size_t i) {
    const struct matrix *weight = &export->tensors[i].weight;
    return weight->rows * weight->cols * (int64_t)dtype_size(export->settings->dtype);
}

/* Behind the last tensor of the file that begins at `first`. */
static size_t file_end(const struct export *export, size_t first) {
    int64_t bytes = stored_bytes(export, first);
    size_t end = first + 1;
    while (end < export->count && bytes + stored_bytes(export, end) <= export->settings->shard_bytes)
        bytes += stored_bytes(export, end++);
    return end;
}

static size_t count_files(const struct export *export) {
    size_t files = 0;
    for (size_t first = 0; first < export->count; first = file_end(export, first)) files++;
    return files;
}

static void file_name(char *name, size_t capacity, size_t number, size_t files) {
    if (files == 1)
        snprintf(name, capacity, "model.safetensors");
    else
        snprintf(name, capacity, "model-%05zu-of-%05zu.safetensors", number, files);
}

static bool write_file(const struct export *export, const char *name, size_t first, size_t end, struct error *error) {
    char path[4096];
    static const char *const metadata[] = {"format", "pt"};
    if (!path_join(path, sizeof path, export->directory, name))
        return error_set(error, "%s: path too long", export->directory);
    struct tensor_to_write *tensors = memory_zero(end - first, sizeof *tensors);
    if (tensors == NULL) return memory_error(error, (end - first) * sizeof *tensors, path);
    for (size_t i = first; i < end; i++) {
        const struct merged *tensor = &export->tensors[i];
        struct tensor_to_write *out = &tensors[i - first];
        *out = (struct tensor_to_write){
            .name = tensor->name, .dtype = export->settings->dtype, .dims = tensor->vector ? 1 : 2};
        out->shape[0] = tensor->vector ? tensor->weight.cols : tensor->weight.rows;
        out->shape[1] = tensor->vector ? 0 : tensor->weight.cols;
    }
    const struct tensor_source source = {merge_rows, export->tensors + first};
    const bool written = safetensors_write_from(path, tensors, end - first, &source, metadata, 1, error);
    memory_free(tensors);
    return written;
}

static bool write_index(const struct export *export, size_t files, struct error *error) {
    struct text text = {0};
    char path[4096], name[64];
    int64_t total = 0;
    for (size_t i = 0; i < export->count; i++) total += stored_bytes(export, i);
    text_printf(&text, "{\n  \"metadata\": {\"total_size\": %lld},\n  \"weight_map\": {", (long long)total);
    size_t number = 0;
    for (size_t first = 0; first < export->count; first = file_end(export, first)) {
        file_name(name, sizeof name, ++number, files);
        for (size_t i = first; i < file_end(export, first); i++)
            text_printf(&text, "%s\n    \"%s\": \"%s\"", i == 0 ? "" : ",", export->tensors[i].name, name);
    }
    text_add(&text, "\n  }\n}\n");
    bool done =
        text_ok(&text, error) && (path_join(path, sizeof path, export->directory, "model.safetensors.index.json") ||
                                  error_set(error, "%s: path too long", export->directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

static bool write_weights(const struct export *export, struct error *error) {
    const size_t files = count_files(export);
    size_t number = 0;
    for (size_t first = 0; first < export->count;) {
        const size_t end = file_end(export, first);
        char name[64];
        file_name(name, sizeof name, ++number, files);
        if (!write_file(export, name, first, end, error)) return false;
        first = end;
    }
    return files == 1 || write_index(export, files, error);
}

bool decoder_export(const struct decoder *decoder, const char *directory, const struct export_settings *settings,
                    struct error *error) {
    struct export export = {.decoder = decoder, .settings = settings, .directory = directory};
    struct decoder view = *decoder; /* the list hands out places in it; none is written to */
    const char *dtype = settings->dtype == DTYPE_F32    ? "float32"
                        : settings->dtype == DTYPE_BF16 ? "bfloat16"
                                                        : "float16";
    const bool done = decoder_each_tensor(&view, collect_tensor, &export, error) && write_weights(&export, error) &&
                      model_config_write(&decoder->config, directory, dtype, settings->label_names, error);
    memory_free(export.tensors);
    return done;
}
