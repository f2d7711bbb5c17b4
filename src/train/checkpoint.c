/* Checkpoints: one file, little-endian as the machines casemix runs on. */
#include "train/checkpoint.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include <stddef.h>
#include <string.h>

struct header {
    char magic[8];
    uint64_t fingerprint;
    int64_t total; /* elements of each of the three arrays */
    int64_t optimizer_step;
    struct progress_state state;
    uint64_t checksum; /* of the arrays and of the header before it */
};

static const char magic[8] = {'c', 'a', 's', 'e', 'm', 'i', 'x', '1'};

static uint64_t checksum_of(const struct header *header, const float *values, const float *m, const float *v) {
    const size_t bytes = (size_t)header->total * sizeof(float);
    uint64_t sum = hash_bytes(header, offsetof(struct header, checksum), 0);
    sum = hash_bytes(values, bytes, sum);
    sum = hash_bytes(m, bytes, sum);
    return hash_bytes(v, bytes, sum);
}

bool checkpoint_write(const char *path, uint64_t fingerprint, const struct progress_state *state,
                      const struct parameters *set, const struct adamw *optimizer, struct error *error) {
    struct header header;
    memset(&header, 0, sizeof header);
    memcpy(header.magic, magic, sizeof magic);
    header.fingerprint = fingerprint;
    header.total = set->total;
    header.optimizer_step = optimizer->step;
    header.state = *state;
    header.checksum = checksum_of(&header, set->values, optimizer->m, optimizer->v);
    const size_t bytes = (size_t)set->total * sizeof(float);
    struct file_writer *writer;
    if (!file_writer_open(&writer, path, error)) return false;
    const bool done = file_writer_write(writer, &header, sizeof header, error) &&
                      file_writer_write(writer, set->values, bytes, error) &&
                      file_writer_write(writer, optimizer->m, bytes, error) &&
                      file_writer_write(writer, optimizer->v, bytes, error) && file_writer_commit(writer, error);
    file_writer_close(writer);
    return done;
}

static bool check_header(const struct header *header, const struct file_map *map, uint64_t fingerprint,
                         const struct parameters *set, struct error *error) {
    const size_t bytes = (size_t)set->total * sizeof(float);
    if (memcmp(header->magic, magic, sizeof magic) != 0) return error_set(error, "this is no checkpoint of casemix");
    if (header->total != set->total || map->size != sizeof *header + 3 * bytes) {
        return error_set(error, "%zu bytes, expected %zu: it is cut short or of another model", map->size,
                         sizeof *header + 3 * bytes);
    }
    if (header->fingerprint != fingerprint) {
        error_set(error, "recipe, data or model have changed since it was written");
        return error_hint(error, "resume with the same recipe and data, or start a new run in another directory");
    }
    return true;
}

bool checkpoint_read(const char *path, uint64_t fingerprint, struct progress_state *state, const struct parameters *set,
                     struct adamw *optimizer, struct error *error) {
    struct file_map map;
    struct header header;
    if (!file_map_open(&map, path, error)) return false;
    bool read = map.size >= sizeof header || error_set(error, "%zu bytes are too few for a checkpoint", map.size);
    if (read) {
        memcpy(&header, map.data, sizeof header);
        read = check_header(&header, &map, fingerprint, set, error);
    }
    if (read) {
        const size_t bytes = (size_t)set->total * sizeof(float);
        const float *values = (const float *)(const void *)(map.data + sizeof header), *m = values + set->total,
                    *v = m + set->total;
        read = checksum_of(&header, values, m, v) == header.checksum ||
               error_set(error, "its checksum is wrong: the file is damaged");
        if (read) {
            memcpy(set->values, values, bytes);
            memcpy(optimizer->m, m, bytes);
            memcpy(optimizer->v, v, bytes);
            optimizer->step = header.optimizer_step;
            *state = header.state;
        }
    }
    file_map_close(&map);
    return read || error_context(error, "%s", path);
}
