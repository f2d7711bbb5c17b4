/* Quantising a decoder, and the file that keeps the result: a safetensors file with two tensors for each weight, NAME
 * (I8 [outputs, inputs]) and NAME.scale (F32 [outputs]), and in its name a fingerprint of the weights it came from. */
#include "model/quantise.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"
#include "model/names.h"
#include "model/safetensors.h"
#include "tensor/int8.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One weight to be quantised, and its new form. */
struct item {
    struct matrix *matrix; /* in the decoder */
    struct matrix source;  /* as it was */
    char name[128];
    struct int8_rows rows;
};

struct quantised {
    struct item *items;
    int64_t count;
    int8_t *values; /* of all items; NULL when they lie in the kept file */
    float *scales;
    int32_t *sums;
    struct safetensors *file;
};

void quantised_close(struct quantised *quantised) {
    if (quantised == NULL) return;
    safetensors_close(quantised->file);
    memory_free(quantised->items);
    memory_free(quantised->values);
    memory_free(quantised->scales);
    memory_free(quantised->sums);
    memory_free(quantised);
}

static bool is_frozen(const struct projection *projection) {
    return projection->weight.data != NULL && projection->d_weight == NULL && projection->weight.dtype != DTYPE_INT8;
}

/* Fills items (NULL: only counts) with the weights that are to be quantised. */
static int64_t list_items(const struct decoder *decoder, bool head, struct item *items) {
    int64_t count = 0;
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            struct projection *projection = &decoder->layers[l].projections[kind];
            if (!is_frozen(projection)) continue;
            if (items != NULL) {
                items[count].matrix = &projection->weight;
                items[count].source = projection->weight;
                snprintf(items[count].name, sizeof items[count].name, "model.layers.%lld.%s.weight", (long long)l,
                         projection_name((enum projection_kind)kind));
            }
            count++;
        }
    }
    if (!head || decoder->config.classifier || !is_frozen(&decoder->head)) return count;
    if (items != NULL) {
        /* The decoder is the caller's to change; only counting takes it as const. */
        items[count].matrix = (struct matrix *)(uintptr_t)&decoder->head.weight;
        items[count].source = decoder->head.weight;
        snprintf(items[count].name, sizeof items[count].name, "lm_head.weight");
    }
    return count + 1;
}

static void totals(const struct item *items, int64_t count, int64_t *elements, int64_t *rows) {
    *elements = *rows = 0;
    for (int64_t i = 0; i < count; i++) {
        *elements += (items[i].source.rows * items[i].source.cols + 63) / 64 * 64;
        *rows += (items[i].source.rows + 15) / 16 * 16;
    }
}

size_t decoder_quantise_size(const struct decoder *decoder, bool head) {
    const struct model_config *c = &decoder->config;
    size_t bytes = 0;
    for (int64_t l = 0; l < c->L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            const struct matrix *weight = &decoder->layers[l].projections[kind].weight;
            if (is_frozen(&decoder->layers[l].projections[kind])) bytes += (size_t)(weight->rows * (weight->cols + 8));
        }
    }
    if (head && !c->classifier && is_frozen(&decoder->head))
        bytes += (size_t)(decoder->head.weight.rows * (decoder->head.weight.cols + 8));
    return bytes;
}

/* Names, shapes, types and a sample of every weight: training changes them all, so a sample tells two models apart
 * without reading either. */
static uint64_t fingerprint(const struct item *items, int64_t count) {
    enum { SAMPLE = 4096 };
    uint64_t hash = 1; /* the version of the kept form */
    for (int64_t i = 0; i < count; i++) {
        const struct matrix *m = &items[i].source;
        const int64_t header[3] = {m->dtype, m->rows, m->cols};
        const size_t bytes = (size_t)(m->rows * m->cols) * dtype_size(m->dtype), part = bytes < SAMPLE ? bytes : SAMPLE;
        const char *data = m->data;
        hash = hash_bytes(items[i].name, strlen(items[i].name), hash);
        hash = hash_bytes(header, sizeof header, hash);
        hash = hash_bytes(data, part, hash);
        hash = hash_bytes(data + (bytes - part) / 2, part, hash);
        hash = hash_bytes(data + (bytes - part), part, hash);
    }
    return hash;
}

static bool allocate_rows(struct quantised *quantised, struct error *error) {
    int64_t elements, rows;
    totals(quantised->items, quantised->count, &elements, &rows);
    quantised->scales = memory_alloc((size_t)rows, sizeof *quantised->scales);
    quantised->sums = memory_alloc((size_t)rows, sizeof *quantised->sums);
    return (quantised->scales != NULL && quantised->sums != NULL) ||
           memory_error(error, (size_t)rows * 8, "the scales of quantised weights");
}

static bool quantise_items(struct quantised *quantised, struct decoder *decoder, struct error *error) {
    int64_t elements, rows, widest = 1;
    totals(quantised->items, quantised->count, &elements, &rows);
    for (int64_t i = 0; i < quantised->count; i++)
        widest = quantised->items[i].source.cols > widest ? quantised->items[i].source.cols : widest;
    quantised->values = memory_alloc((size_t)elements, 1);
    float *row = memory_alloc((size_t)(threads_count() * widest), sizeof *row);
    if (quantised->values == NULL || row == NULL) {
        memory_free(row);
        return memory_error(error, (size_t)elements, "the quantised weights");
    }
    memory_prefer_large_pages(quantised->values, (size_t)elements);
    int64_t element = 0, first = 0;
    for (int64_t i = 0; i < quantised->count; i++) {
        struct item *item = &quantised->items[i];
        int8_t *values = quantised->values + element;
        float *scales = quantised->scales + first;
        int32_t *sums = quantised->sums + first;
        int8_quantise_rows(values, scales, sums, &item->source, 0, item->source.rows, row);
        item->rows = (struct int8_rows){values, scales, sums};
        safetensors_release(decoder->checkpoint, item->source.data,
                            (size_t)(item->source.rows * item->source.cols) * dtype_size(item->source.dtype));
        element += (item->source.rows * item->source.cols + 63) / 64 * 64;
        first += (item->source.rows + 15) / 16 * 16;
    }
    memory_free(row);
    return true;
}

static bool kept_path(char *path, size_t capacity, const char *directory, uint64_t print) {
    char name[64];
    snprintf(name, sizeof name, "int8-%016llx.safetensors", (unsigned long long)print);
    return path_join(path, capacity, directory, name);
}

/* Takes one item from the file. */
static bool find_kept(struct item *item, const struct safetensors *file, float *scales, int32_t *sums) {
    char name[160];
    snprintf(name, sizeof name, "%s.scale", item->name);
    const struct stored_tensor *values = safetensors_find(file, item->name), *scale = safetensors_find(file, name);
    const int64_t rows = item->source.rows, cols = item->source.cols;
    if (values == NULL || scale == NULL || values->type != STORED_I8 || scale->type != STORED_F32 ||
        values->dims != 2 || values->shape[0] != rows || values->shape[1] != cols || scale->elements != rows)
        return false;
    memcpy(scales, scale->data, (size_t)rows * sizeof *scales);
    for (int64_t r = 0; r < rows; r++) {
        if (!(scales[r] >= 0) || isinf(scales[r])) return false;
    }
    int8_sum_rows(sums, values->data, rows, cols);
    item->rows = (struct int8_rows){values->data, scales, sums};
    return true;
}

/* The kept form, if there is a sound one. */
static bool open_kept(struct quantised *quantised, const char *path) {
    struct error error = {0};
    if (!path_exists(path)) return false;
    bool sound = safetensors_open(&quantised->file, path, &error);
    int64_t first = 0;
    for (int64_t i = 0; sound && i < quantised->count; i++) {
        sound = find_kept(&quantised->items[i], quantised->file, quantised->scales + first, quantised->sums + first);
        first += (quantised->items[i].source.rows + 15) / 16 * 16;
    }
    if (sound) return true;
    log_warning("%s is damaged; it is made anew", path);
    safetensors_close(quantised->file);
    quantised->file = NULL;
    return false;
}

static bool write_kept(const struct quantised *quantised, const char *path, struct error *error) {
    const size_t count = (size_t)quantised->count;
    struct tensor_to_write *tensors = memory_zero(2 * count, sizeof *tensors);
    char(*names)[160] = memory_alloc(count, sizeof *names);
    bool written = (tensors != NULL && names != NULL) || memory_error(error, 2 * count * sizeof *tensors, path);
    for (size_t i = 0; written && i < count; i++) {
        const struct item *item = &quantised->items[i];
        snprintf(names[i], sizeof names[i], "%s.scale", item->name);
        tensors[2 * i] = (struct tensor_to_write){.name = item->name,
                                                  .dtype = DTYPE_INT8,
                                                  .dims = 2,
                                                  .shape = {item->source.rows, item->source.cols},
                                                  .data = item->rows.values};
        tensors[2 * i + 1] = (struct tensor_to_write){
            .name = names[i], .dtype = DTYPE_F32, .dims = 1, .shape = {item->source.rows}, .data = item->rows.scales};
    }
    const char *const metadata[] = {"format", "casemix-int8"};
    written = written && safetensors_write(path, tensors, 2 * count, metadata, 1, error);
    memory_free(tensors);
    memory_free(names);
    return written;
}

/* That the form cannot be kept costs time at the next start, not this run. */
static void keep(const struct quantised *quantised, const char *directory, const char *path) {
    struct error error = {0};
    if (directory_create(directory, &error) && write_kept(quantised, path, &error)) return;
    log_warning("the quantised weights are not kept: %s", error.message);
}

static bool fill(struct quantised *quantised, struct decoder *decoder, const struct quantise_settings *settings,
                 bool *kept, struct error *error) {
    char path[4096];
    quantised->count = list_items(decoder, settings->head, NULL);
    quantised->items = memory_zero((size_t)quantised->count, sizeof *quantised->items);
    if (quantised->items == NULL)
        return memory_error(error, (size_t)quantised->count * sizeof *quantised->items, "the quantised weights");
    list_items(decoder, settings->head, quantised->items);
    if (!allocate_rows(quantised, error)) return false;
    if (settings->cache != NULL &&
        !kept_path(path, sizeof path, settings->cache, fingerprint(quantised->items, quantised->count)))
        return error_set(error, "%s: path too long", settings->cache);
    *kept = settings->cache != NULL && open_kept(quantised, path);
    if (*kept) return true;
    if (!quantise_items(quantised, decoder, error)) return false;
    if (settings->cache != NULL) keep(quantised, settings->cache, path);
    return true;
}

bool decoder_quantise(struct decoder *decoder, const struct quantise_settings *settings, bool *kept,
                      struct error *error) {
    bool found = false;
    if (decoder->quantised != NULL) return error_set(error, "the model's weights are quantised already");
    struct quantised *quantised = memory_zero(1, sizeof *quantised);
    if (quantised == NULL) return memory_error(error, sizeof *quantised, "the quantised weights");
    if (!fill(quantised, decoder, settings, &found, error)) {
        quantised_close(quantised);
        return false;
    }
    for (int64_t i = 0; i < quantised->count; i++) {
        struct item *item = &quantised->items[i];
        *item->matrix = (struct matrix){DTYPE_INT8, item->source.rows, item->source.cols, &item->rows};
        if (found)
            safetensors_release(decoder->checkpoint, item->source.data,
                                (size_t)(item->source.rows * item->source.cols) * dtype_size(item->source.dtype));
    }
    decoder->quantised = quantised;
    if (kept != NULL) *kept = found;
    return true;
}
