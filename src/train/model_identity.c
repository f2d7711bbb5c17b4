/* The identity of a model directory. */
#include "train/model_identity.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 1 << 20, BLOCK = 4096, BLOCKS = 256 };

static bool add_file(uint64_t *identity, const char *directory, const char *name, bool whole, struct error *error) {
    char path[4096];
    struct file_map map;
    if (!path_join(path, sizeof path, directory, name)) return error_set(error, "%s: path too long", directory);
    if (!file_map_open(&map, path, error)) return false;
    const size_t head = whole || map.size < HEAD ? map.size : HEAD;
    uint64_t sum = hash_bytes(&map.size, sizeof map.size, *identity);
    sum = hash_bytes(map.data, head, sum);
    for (size_t i = 0; head < map.size && i < BLOCKS; i++) {
        const size_t from = (map.size - HEAD) / BLOCKS * i + HEAD, left = map.size - from;
        sum = hash_bytes(map.data + from, left < BLOCK ? left : BLOCK, sum);
    }
    file_map_close(&map);
    *identity = sum;
    return true;
}

static int is_weights(const struct dirent *entry) {
    static const char ending[] = ".safetensors";
    const size_t length = strlen(entry->d_name), size = sizeof ending - 1;
    return length > size && strcmp(entry->d_name + length - size, ending) == 0;
}

bool model_identity(uint64_t *identity, const char *directory, struct error *error) {
    struct dirent **entries;
    char adapter[4096];
    const bool is_adapter =
        path_join(adapter, sizeof adapter, directory, "adapter_config.json") && path_exists(adapter);
    *identity = 0;
    if (!add_file(identity, directory, is_adapter ? "adapter_config.json" : "config.json", true, error)) return false;
    const int count = scandir(directory, &entries, is_weights, alphasort);
    if (count < 0) return error_system(error, "%s", directory);
    bool done = true;
    for (int i = 0; i < count; i++) {
        done = done && add_file(identity, directory, entries[i]->d_name, false, error);
        free(entries[i]);
    }
    free(entries);
    return done;
}
