/* The one allocator, its fault injection, and arenas. */
#include "base/memory.h"
#include "base/error.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT 64
#define DEFAULT_BLOCK ((size_t)1 << 20)

/* Allocations left before one fails on purpose; negative: never. */
static _Atomic int64_t allocations_left = -1;

void memory_fail_after(int64_t allocations) {
    atomic_store(&allocations_left, allocations);
}

static bool fails_on_purpose(void) {
    int64_t left = atomic_load(&allocations_left);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&allocations_left, &left, left - 1)) return false;
    }
    return left == 0;
}

bool size_multiply(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

static size_t align_up(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void *memory_alloc(size_t count, size_t size) {
    size_t bytes;
    if (!size_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2 || fails_on_purpose()) return NULL;
    return aligned_alloc(ALIGNMENT, bytes == 0 ? ALIGNMENT : align_up(bytes));
}

void *memory_alloc_small(size_t size) {
    return size > SIZE_MAX / 2 || fails_on_purpose() ? NULL : malloc(size == 0 ? 1 : size);
}

void *memory_zero(size_t count, size_t size) {
    void *pointer = memory_alloc(count, size);
    if (pointer != NULL) memset(pointer, 0, count * size);
    return pointer;
}

bool memory_grow(void *pointer, size_t *capacity, size_t wanted, size_t size, struct error *error) {
    void **items = pointer;
    if (wanted <= *capacity) return true;
    size_t larger = *capacity < 8 ? 8 : *capacity + *capacity / 2;
    if (larger < wanted) larger = wanted;
    void *grown = memory_alloc(larger, size);
    if (grown == NULL) return memory_error(error, larger * size, "a growing list");
    if (*capacity > 0) memcpy(grown, *items, *capacity * size);
    memory_free(*items);
    *items = grown;
    *capacity = larger;
    return true;
}

char *memory_copy_string(const char *bytes, size_t length) {
    char *copy = length == SIZE_MAX ? NULL : memory_alloc(length + 1, 1);
    if (copy == NULL) return NULL;
    if (length > 0) memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

void memory_prefer_large_pages(void *memory, size_t bytes) {
    const uintptr_t page = 2 << 20, first = ((uintptr_t)memory + page - 1) / page * page,
                    end = ((uintptr_t)memory + bytes) / page * page;
    if (end > first) madvise((void *)first, end - first, MADV_HUGEPAGE);
}

void memory_free(void *pointer) {
    free(pointer);
}

bool memory_error(struct error *error, size_t bytes, const char *what) {
    if (bytes >= (size_t)10 << 20)
        error_set(error, "out of memory: %zu MiB for %s", bytes >> 20, what);
    else
        error_set(error, "out of memory: %zu bytes for %s", bytes, what);
    return false;
}

struct arena_block {
    struct arena_block *next;
    size_t capacity, used;
    char padding[ALIGNMENT - sizeof(void *) - 2 * sizeof(size_t)];
    char bytes[];
};

void arena_init(struct arena *arena, size_t block_size) {
    *arena = (struct arena){.block_size = block_size};
}

static struct arena_block *arena_block_new(struct arena *arena, size_t bytes) {
    size_t capacity = arena->block_size == 0 ? DEFAULT_BLOCK : arena->block_size;
    if (capacity < bytes) capacity = bytes;
    struct arena_block *block = capacity > SIZE_MAX / 2 ? NULL : memory_alloc(sizeof *block + capacity, 1);
    if (block == NULL) return NULL;
    block->capacity = capacity;
    block->used = 0;
    /* A block made for one large piece goes behind the current one, whose room would be lost otherwise. */
    if (arena->blocks != NULL && bytes == capacity) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!size_multiply(count, size, &bytes) || bytes > SIZE_MAX / 4) return NULL;
    bytes = align_up(bytes);
    struct arena_block *block = arena->blocks;
    if (block != NULL) block->used = align_up(block->used); /* a string may have ended anywhere */
    if (block == NULL || block->used > block->capacity || block->capacity - block->used < bytes)
        block = arena_block_new(arena, bytes);
    if (block == NULL) return NULL;
    void *piece = block->bytes + block->used;
    block->used += bytes;
    arena->used += bytes;
    return piece;
}

void *arena_zero(struct arena *arena, size_t count, size_t size) {
    void *piece = arena_alloc(arena, count, size);
    if (piece != NULL) memset(piece, 0, count * size);
    return piece;
}

/* Strings are packed without alignment: a dataset has millions of bytes of them in short pieces. */
char *arena_string(struct arena *arena, const char *bytes, size_t length) {
    if (length > SIZE_MAX / 4) return NULL;
    struct arena_block *block = arena->blocks;
    if (block == NULL || block->used > block->capacity || block->capacity - block->used < length + 1)
        block = arena_block_new(arena, length + 1);
    if (block == NULL) return NULL;
    char *copy = block->bytes + block->used;
    if (length > 0) memcpy(copy, bytes, length);
    copy[length] = '\0';
    const size_t taken = length + 1;
    block->used += taken;
    arena->used += taken;
    return copy;
}

void arena_free(struct arena *arena) {
    for (struct arena_block *block = arena->blocks; block != NULL;) {
        struct arena_block *next = block->next;
        memory_free(block);
        block = next;
    }
    *arena = (struct arena){.block_size = arena->block_size};
}
