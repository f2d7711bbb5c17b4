/* The one allocator: overflow-checked sizes, and arenas for things that live and die together.
 *
 * Tests make any allocation fail on purpose through memory_fail_after. cJSON and libcsv are routed here too. */
#ifndef CASEMIX_BASE_MEMORY_H
#define CASEMIX_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* count * size bytes aligned to 64, not initialised; NULL when the product overflows or memory is short.
 * count or size 0 gives a pointer that may be freed. Release with memory_free. */
void *memory_alloc(size_t count, size_t size);

/* The same for many small things: aligned as malloc's, which for a JSON tree of a million nodes is half the memory and
 * time. */
void *memory_alloc_small(size_t size);

/* As memory_alloc, zeroed. */
void *memory_zero(size_t count, size_t size);

/* Makes room for `wanted` elements: *pointer (malloc'ed by this module or NULL) holding *capacity elements of `size`
 * bytes grows geometrically; contents are kept. False (nothing changed, error filled) when memory is short or sizes
 * overflow. */
bool memory_grow(void *pointer, size_t *capacity, size_t wanted, size_t size, struct error *error);

/* A copy of `length` bytes with a NUL behind; NULL when memory is short. */
char *memory_copy_string(const char *bytes, size_t length);

void memory_free(void *pointer);

/* Asks for pages of two MiB behind a large block that is about to be written for the first time: what is read from end
 * to end is then read a tenth faster. Only advice. */
void memory_prefer_large_pages(void *memory, size_t bytes);

/* a * b into *product; false on overflow. */
bool size_multiply(size_t a, size_t b, size_t *product);

/* Fault injection for tests: the allocation after `allocations` more fails, and every later one; negative: never
 * (default). */
void memory_fail_after(int64_t allocations);

/* Fills error with "out of memory (N bytes for WHAT)". Always returns false. */
bool memory_error(struct error *error, size_t bytes, const char *what);

/* An arena: blocks of bytes given back all at once. Alignment 64. Zero-initialise or arena_init before use. */
struct arena_block;
struct arena {
    struct arena_block *blocks; /* newest first */
    size_t block_size;          /* of a new block; 0: 1 MiB */
    size_t used;                /* bytes handed out */
};

void arena_init(struct arena *arena, size_t block_size);
void *arena_alloc(struct arena *arena, size_t count, size_t size); /* NULL when memory is short or sizes overflow */
void *arena_zero(struct arena *arena, size_t count, size_t size);
char *arena_string(struct arena *arena, const char *bytes, size_t length); /* copy, NUL behind */
void arena_free(struct arena *arena);                                      /* everything; the arena may be used again */

#endif
