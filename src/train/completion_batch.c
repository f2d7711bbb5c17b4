/* Packing prompts with their completions. */
#include "train/completion_batch.h"
#include "base/error.h"
#include "base/memory.h"
#include <string.h>

struct completion_size completion_size(const struct token_span *prompt, const struct token_span *completions,
                                       int64_t count) {
    struct completion_size size = {.tokens = prompt->count, .sequences = 1};
    for (int64_t i = 0; i < count; i++) {
        if (completions[i].count == 0) continue;
        size.rows += completions[i].count;
        size.tokens += completions[i].count - 1;
        size.sequences += completions[i].count > 1;
    }
    return size;
}

bool completion_batch_open(struct completion_batch *batch, const struct completion_size *room, struct error *error) {
    const size_t tokens = (size_t)room->tokens, sequences = (size_t)room->sequences, rows = (size_t)room->rows;
    *batch = (struct completion_batch){.tokens = room->tokens, .sequences = room->sequences, .rows = room->rows};
    batch->ids = memory_alloc(tokens, sizeof *batch->ids);
    batch->offsets = memory_alloc(sequences + 1, sizeof *batch->offsets);
    batch->parents = memory_alloc(sequences, sizeof *batch->parents);
    batch->row_tokens = memory_alloc(rows, sizeof *batch->row_tokens);
    batch->targets = memory_alloc(rows, sizeof *batch->targets);
    batch->places = memory_alloc(rows, sizeof *batch->places);
    if (batch->ids == NULL || batch->offsets == NULL || batch->parents == NULL || batch->row_tokens == NULL ||
        batch->targets == NULL || batch->places == NULL) {
        completion_batch_close(batch);
        return memory_error(error, (tokens + 2 * sequences + 4 * rows) * sizeof(int32_t), "a batch of completions");
    }
    completion_batch_clear(batch);
    return true;
}

void completion_batch_close(struct completion_batch *batch) {
    memory_free(batch->ids);
    memory_free(batch->offsets);
    memory_free(batch->parents);
    memory_free(batch->row_tokens);
    memory_free(batch->targets);
    memory_free(batch->places);
    *batch = (struct completion_batch){0};
}

void completion_batch_clear(struct completion_batch *batch) {
    batch->offsets[0] = 0;
    batch->batch = (struct batch){
        .tokens = batch->ids, .offsets = batch->offsets, .parents = batch->parents, .rows = batch->row_tokens};
}

static void append_sequence(struct completion_batch *batch, const int32_t *ids, int64_t count, int32_t parent) {
    struct batch *packed = &batch->batch;
    memcpy(batch->ids + packed->T, ids, (size_t)count * sizeof *ids);
    packed->T += count;
    batch->parents[packed->N++] = parent;
    batch->offsets[packed->N] = (int32_t)packed->T;
}

static void append_row(struct completion_batch *batch, int64_t token, int32_t target, int64_t place) {
    const int64_t row = batch->batch.Q++;
    batch->row_tokens[row] = (int32_t)token;
    batch->targets[row] = target;
    batch->places[row] = place;
}

bool completion_batch_add(struct completion_batch *batch, const struct token_span *prompt,
                          const struct token_span *completions, int64_t count) {
    const struct completion_size size = completion_size(prompt, completions, count);
    const struct batch *packed = &batch->batch;
    if (packed->T + size.tokens > batch->tokens || packed->N + size.sequences > batch->sequences ||
        packed->Q + size.rows > batch->rows)
        return false;
    const int32_t parent = (int32_t)packed->N;
    const int64_t first_place = packed->Q; /* every row is a completion token, so as many were placed */
    append_sequence(batch, prompt->ids, prompt->count, -1);
    /* The end of the prompt predicts the first token of each completion: rows of a sequence stand together. */
    for (int64_t i = 0, place = first_place; i < count; place += completions[i++].count) {
        if (completions[i].count > 0) append_row(batch, packed->T - 1, completions[i].ids[0], place);
    }
    for (int64_t i = 0, place = first_place; i < count; place += completions[i++].count) {
        const struct token_span *completion = &completions[i];
        if (completion->count < 2) continue;
        const int64_t first = packed->T;
        append_sequence(batch, completion->ids, completion->count - 1, parent);
        for (int64_t t = 1; t < completion->count; t++) append_row(batch, first + t - 1, completion->ids[t], place + t);
    }
    return true;
}

void completion_batch_scatter(const struct completion_batch *batch, float *of_tokens, const float *of_rows) {
    for (int64_t q = 0; q < batch->batch.Q; q++) of_tokens[batch->places[q]] = of_rows[q];
}

void completion_batch_gather(const struct completion_batch *batch, float *of_rows, const float *of_tokens) {
    for (int64_t q = 0; q < batch->batch.Q; q++) of_rows[q] = of_tokens[batch->places[q]];
}
