/* Checkpoints: one file, little-endian as the machines casemix runs on: header, tensors [count], values [total], first
 * moments [total], second moments [total]. */
#include "train/checkpoint.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct header {
    char magic[8];
    uint64_t fingerprint;
    int64_t count; /* tensors */
    int64_t total; /* elements of each of the three arrays */
    int64_t optimizer_step;
    struct progress_state state;
    uint64_t checksum; /* of everything else */
};

/* What a value belongs to: the arrays would fit other tensors of the same total, but not mean the same. */
struct tensor_record {
    char name[192];
    int64_t rows, cols, inner, vector;
};

static const char magic[8] = {'c', 'a', 's', 'e', 'm', 'i', 'x', '2'};

/* The parts of a file in memory. */
struct parts {
    const struct tensor_record *tensors;
    const float *values, *m, *v;
};

static uint64_t checksum_of(const struct header *header, const struct parts *parts) {
    const size_t bytes = (size_t)header->total * sizeof(float);
    uint64_t sum = hash_bytes(header, offsetof(struct header, checksum), 0);
    sum = hash_bytes(parts->tensors, (size_t)header->count * sizeof *parts->tensors, sum);
    sum = hash_bytes(parts->values, bytes, sum);
    sum = hash_bytes(parts->m, bytes, sum);
    return hash_bytes(parts->v, bytes, sum);
}

static void record_tensor(struct tensor_record *record, const struct parameter *item) {
    memset(record, 0, sizeof *record);
    snprintf(record->name, sizeof record->name, "%s", item->name);
    record->rows = item->rows;
    record->cols = item->cols;
    record->inner = item->inner;
    record->vector = item->vector;
}

static struct tensor_record *record_tensors(const struct parameters *set, struct error *error) {
    struct tensor_record *records = memory_alloc(set->count, sizeof *records);
    if (records == NULL) memory_error(error, set->count * sizeof *records, "the names of the tensors");
    for (size_t i = 0; records != NULL && i < set->count; i++) record_tensor(&records[i], &set->items[i]);
    return records;
}

bool checkpoint_write(const char *path, uint64_t fingerprint, const struct progress_state *state,
                      const struct parameters *set, const struct adamw *optimizer, struct error *error) {
    struct header header;
    struct tensor_record *records = record_tensors(set, error);
    if (records == NULL) return false;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, magic, sizeof magic);
    header.fingerprint = fingerprint;
    header.count = (int64_t)set->count;
    header.total = set->total;
    header.optimizer_step = optimizer->step;
    header.state = *state;
    const struct parts parts = {records, set->values, optimizer->m, optimizer->v};
    header.checksum = checksum_of(&header, &parts);
    const size_t bytes = (size_t)set->total * sizeof(float);
    struct file_writer *writer = NULL;
    const bool done =
        file_writer_open(&writer, path, error) && file_writer_write(writer, &header, sizeof header, error) &&
        file_writer_write(writer, records, set->count * sizeof *records, error) &&
        file_writer_write(writer, set->values, bytes, error) && file_writer_write(writer, optimizer->m, bytes, error) &&
        file_writer_write(writer, optimizer->v, bytes, error) && file_writer_commit(writer, error);
    file_writer_close(writer);
    memory_free(records);
    return done;
}

/* That the file is whole, by what it says of itself. */
static bool check_whole(const struct header *header, const struct file_map *map, struct parts *parts,
                        struct error *error) {
    if (memcmp(header->magic, magic, sizeof magic - 1) != 0)
        return error_set(error, "this is no checkpoint of casemix");
    if (header->magic[7] != magic[7]) {
        error_set(error, "a checkpoint of another version of casemix");
        return error_hint(error, "finish the run with the casemix that began it, or start a new one");
    }
    const int64_t most = (int64_t)map->size;
    const bool sane = header->count >= 0 && header->total >= 0 &&
                      header->count <= most / (int64_t)sizeof(struct tensor_record) && header->total <= most / 12;
    const size_t expected = sizeof *header + (size_t)header->count * sizeof(struct tensor_record) +
                            3 * (size_t)header->total * sizeof(float);
    if (!sane || map->size != expected)
        return error_set(error, "%zu bytes, expected %zu: it is cut short or damaged", map->size, sane ? expected : 0);
    parts->tensors = (const struct tensor_record *)(const void *)(map->data + sizeof *header);
    parts->values = (const float *)(const void *)(parts->tensors + header->count);
    parts->m = parts->values + header->total;
    parts->v = parts->m + header->total;
    return checksum_of(header, parts) == header->checksum ||
           error_set(error, "its checksum is wrong: the file is damaged");
}

static bool check_tensors(const struct header *header, const struct parts *parts, const struct parameters *set,
                          struct error *error) {
    static const char hint[] = "resume with the recipe and the model that the run began with";
    for (size_t i = 0; i < (size_t)header->count && i < set->count; i++) {
        struct tensor_record here;
        const struct tensor_record *there = &parts->tensors[i];
        record_tensor(&here, &set->items[i]);
        if (memcmp(there, &here, sizeof here) == 0) continue;
        error_set(error, "its tensor %zu is %.191s [%lld, %lld], expected %s [%lld, %lld]", i + 1, there->name,
                  (long long)there->rows, (long long)there->cols, here.name, (long long)here.rows,
                  (long long)here.cols);
        return error_hint(error, "%s", hint);
    }
    if ((size_t)header->count == set->count && header->total == set->total) return true;
    error_set(error, "it has %lld tensors, expected %zu", (long long)header->count, set->count);
    return error_hint(error, "%s", hint);
}

static bool check(const struct header *header, const struct file_map *map, struct parts *parts, uint64_t fingerprint,
                  const struct parameters *set, struct error *error) {
    if (!check_whole(header, map, parts, error) || !check_tensors(header, parts, set, error)) return false;
    if (header->fingerprint == fingerprint) return true;
    error_set(error, "recipe, data or model have changed since it was written");
    return error_hint(error, "resume with the same recipe, data and model, or start a new run in another directory");
}

bool checkpoint_read(const char *path, uint64_t fingerprint, struct progress_state *state, const struct parameters *set,
                     struct adamw *optimizer, struct error *error) {
    struct file_map map;
    struct header header;
    struct parts parts = {0};
    if (!file_map_open(&map, path, error)) return false;
    bool read = map.size >= sizeof header || error_set(error, "%zu bytes are too few for a checkpoint", map.size);
    if (read) {
        memcpy(&header, map.data, sizeof header);
        read = check(&header, &map, &parts, fingerprint, set, error);
    }
    if (read) {
        const size_t bytes = (size_t)set->total * sizeof(float);
        memcpy(set->values, parts.values, bytes);
        memcpy(optimizer->m, parts.m, bytes);
        memcpy(optimizer->v, parts.v, bytes);
        optimizer->step = header.optimizer_step;
        *state = header.state;
    }
    file_map_close(&map);
    return read || error_context(error, "%s", path);
}
