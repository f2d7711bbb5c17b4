/* A string map with open addressing and linear probing; the hash is FNV-like over 8-byte words with a strong finish. */
#include "base/hash.h"
#include "base/error.h"
#include "base/memory.h"
#include <string.h>

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed) {
    const unsigned char *from = bytes;
    uint64_t h = seed ^ (length * 0x9e3779b97f4a7c15u);
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
        from += 8;
        length -= 8;
    }
    uint64_t word = 0;
    memcpy(&word, from, length);
    h = (h ^ word) * 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static struct hash_entry *hash_slot(const struct hash *map, const char *key, size_t length, uint64_t code) {
    size_t i = code & (map->capacity - 1);
    for (;; i = (i + 1) & (map->capacity - 1)) {
        struct hash_entry *entry = &map->entries[i];
        if (entry->key == NULL) return entry;
        if (entry->code == code && entry->length == length && memcmp(entry->key, key, length) == 0) return entry;
    }
}

static bool hash_enlarge(struct hash *map, struct error *error) {
    const size_t capacity = map->capacity == 0 ? 64 : map->capacity * 2;
    struct hash larger = {memory_zero(capacity, sizeof *larger.entries), capacity, map->count};
    if (larger.entries == NULL) return memory_error(error, capacity * sizeof *larger.entries, "a table of names");
    for (size_t i = 0; i < map->capacity; i++) {
        const struct hash_entry *entry = &map->entries[i];
        if (entry->key != NULL) *hash_slot(&larger, entry->key, entry->length, entry->code) = *entry;
    }
    memory_free(map->entries);
    *map = larger;
    return true;
}

bool hash_insert(struct hash *map, const char *key, size_t length, int32_t value, bool *existing, struct error *error) {
    if (length > UINT32_MAX) return error_set(error, "a name of %zu bytes is too long", length);
    if (map->count * 4 >= map->capacity * 3 && !hash_enlarge(map, error)) return false;
    const uint64_t code = hash_bytes(key, length, 0);
    struct hash_entry *entry = hash_slot(map, key, length, code);
    if (existing != NULL) *existing = entry->key != NULL;
    if (entry->key != NULL) return true;
    *entry = (struct hash_entry){key, (uint32_t)length, value, code};
    map->count++;
    return true;
}

int32_t *hash_value(struct hash *map, const char *key, size_t length) {
    if (map->count == 0) return NULL;
    struct hash_entry *entry = hash_slot(map, key, length, hash_bytes(key, length, 0));
    return entry->key == NULL ? NULL : &entry->value;
}

int32_t hash_find(const struct hash *map, const char *key, size_t length, int32_t otherwise) {
    if (map->count == 0) return otherwise;
    const struct hash_entry *entry = hash_slot(map, key, length, hash_bytes(key, length, 0));
    return entry->key == NULL ? otherwise : entry->value;
}

void hash_free(struct hash *map) {
    memory_free(map->entries);
    *map = (struct hash){0};
}
