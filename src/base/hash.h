/* A map from byte strings to int32, open addressing; and SHA-256 of files for provenance. */
#ifndef CASEMIX_BASE_HASH_H
#define CASEMIX_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Keys are borrowed: they must outlive the map. Zero-initialise; release with hash_free. */
struct hash_entry {
    const char *key;
    uint32_t length;
    int32_t value;
    uint64_t code;
};
struct hash {
    struct hash_entry *entries;
    size_t capacity, count;
};
/* Sets key to value; *existing (may be NULL) says whether the key was there (then its value is left alone). */
bool hash_insert(struct hash *map, const char *key, size_t length, int32_t value, bool *existing, struct error *error);
/* Value of key, or `otherwise`. */
int32_t hash_find(const struct hash *map, const char *key, size_t length, int32_t otherwise);
/* Pointer to the stored value (valid until the next insert), NULL if absent. */
int32_t *hash_value(struct hash *map, const char *key, size_t length);
void hash_free(struct hash *map);

/* 64-bit hash of bytes (own, stable across runs and machines). */
uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed);

/* SHA-256 as 64 lower-case hex digits and a NUL. */
void sha256_hex(const void *bytes, size_t length, char out[65]);
bool sha256_file(const char *path, char out[65], struct error *error);

#endif
