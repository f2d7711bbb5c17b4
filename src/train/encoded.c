/* Datasets as token ids: notes are encoded in parallel, then laid end to end. */
#include "train/encoded.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/rng.h"
#include <string.h>

enum { BLOCK = 1024 };

/* Encodes the stays of one block, each into its own list. The first error of the block is kept. */
static bool encode_block(struct token_list *lists, const struct stay *stays, size_t count,
                         const struct text_reader *reader, int64_t max_tokens, bool *truncated, struct error *error) {
    size_t failed = count;
    struct error first = {0};
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < count; i++) {
        struct error own = {0};
        lists[i].count = 0;
        if (text_reader_encode(reader, stays[i].text, stays[i].text_length, max_tokens, &lists[i], &truncated[i], &own))
            continue;
#pragma omp critical
        if (i < failed) {
            failed = i;
            first = own;
        }
    }
    if (failed == count) return true;
    *error = first;
    return error_context(error, "stay %zu of the block", failed + 1);
}

static bool append_block(struct encoded *encoded, size_t *capacity, const struct token_list *lists,
                         const bool *truncated, size_t count, struct error *error) {
    for (size_t i = 0; i < count; i++) {
        const size_t kept = lists[i].count, before = (size_t)encoded->starts[encoded->count];
        encoded->truncated += truncated[i];
        if (!memory_grow(&encoded->tokens, capacity, before + kept, sizeof *encoded->tokens, error)) return false;
        memcpy(encoded->tokens + before, lists[i].ids, kept * sizeof *encoded->tokens);
        encoded->starts[++encoded->count] = (int64_t)(before + kept);
    }
    return true;
}

static bool find_labels(struct encoded *encoded, const struct dataset *dataset, const struct labels *labels,
                        struct error *error) {
    for (size_t i = 0; i < dataset->count; i++) {
        encoded->labels[i] = labels_find(labels, dataset->stays[i].drg);
        if (encoded->labels[i] < 0)
            return error_set(error, "stay %zu has DRG %d, which labels.tsv does not list", i + 1,
                             dataset->stays[i].drg);
    }
    return true;
}

static bool encode_all(struct encoded *encoded, const struct dataset *dataset, const struct text_reader *reader,
                       int64_t max_tokens, struct error *error) {
    bool truncated[BLOCK];
    struct token_list *lists = memory_zero(BLOCK, sizeof *lists);
    struct progress progress;
    size_t capacity = 0;
    bool done = lists != NULL || memory_error(error, BLOCK * sizeof *lists, "a block of notes");
    progress_start(&progress, "encoding", "notes", dataset->count);
    for (size_t first = 0; done && first < dataset->count; first += BLOCK) {
        const size_t count = dataset->count - first < BLOCK ? dataset->count - first : BLOCK;
        done = encode_block(lists, dataset->stays + first, count, reader, max_tokens, truncated, error) &&
               append_block(encoded, &capacity, lists, truncated, count, error);
        progress_update(&progress, first + count);
    }
    progress_finish(&progress);
    for (size_t i = 0; lists != NULL && i < BLOCK; i++) token_list_free(&lists[i]);
    memory_free(lists);
    return done;
}

bool encoded_load(struct encoded *encoded, const char *path, const struct text_reader *reader,
                  const struct labels *labels, int64_t max_tokens, struct error *error) {
    struct dataset dataset = {0};
    *encoded = (struct encoded){0};
    bool done = dataset_load(&dataset, path, error);
    if (done && dataset.count == 0) done = error_set(error, "%s: no stays", path);
    if (done) {
        encoded->starts = memory_zero(dataset.count + 1, sizeof *encoded->starts);
        encoded->labels = memory_alloc(dataset.count, sizeof *encoded->labels);
        done = (encoded->starts != NULL && encoded->labels != NULL) || memory_error(error, dataset.count * 12, path);
    }
    done =
        done &&
        ((find_labels(encoded, &dataset, labels, error) && encode_all(encoded, &dataset, reader, max_tokens, error)) ||
         error_context(error, "%s", path));
    dataset_free(&dataset);
    if (!done) {
        encoded_free(encoded);
        return false;
    }
    encoded->fingerprint =
        hash_bytes(encoded->tokens, (size_t)encoded->starts[encoded->count] * sizeof *encoded->tokens, 1) ^
        hash_bytes(encoded->labels, encoded->count * sizeof *encoded->labels, 2);
    return true;
}

void encoded_free(struct encoded *encoded) {
    memory_free(encoded->tokens);
    memory_free(encoded->starts);
    memory_free(encoded->labels);
    *encoded = (struct encoded){0};
}

void encoded_shuffle(uint32_t *order, size_t count, uint64_t seed, int64_t epoch) {
    struct rng rng;
    rng_seed_stream(&rng, seed, 0x65706f6368, (uint64_t)epoch);
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    rng_shuffle(&rng, order, count, sizeof *order);
}
