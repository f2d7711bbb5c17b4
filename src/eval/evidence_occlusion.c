/* Occlusion: the note without each word, and without each clause, in packed batches. A decoder computes what stands
 * before a few neighbouring words once for all of them (a parent), so that half of all tokens and more are spared. */
#include "base/error.h"
#include "eval/evidence_finder.h"
#include "model/caml.h"
#include <string.h>

/* Variants of the note that lack tokens ranges[i], being gathered. */
struct occlusion {
    struct evidence_finder *finder;
    int32_t label;
    bool shares;  /* a decoder: sequences may have parents */
    int64_t T, N; /* gathered */
};

static void add_tokens(struct occlusion *occlusion, size_t first, size_t end) {
    const struct evidence_finder *finder = occlusion->finder;
    if (end <= first) return;
    memcpy(finder->packed + occlusion->T, finder->tokens.ids + first, (end - first) * sizeof *finder->packed);
    occlusion->T += (int64_t)(end - first);
}

static int32_t end_sequence(struct occlusion *occlusion, int32_t parent) {
    const struct evidence_finder *finder = occlusion->finder;
    finder->parents[occlusion->N] = parent;
    finder->offsets[++occlusion->N] = (int32_t)occlusion->T;
    return (int32_t)(occlusion->N - 1);
}

/* The note from token `from` on without a range. */
static void add_variant(struct occlusion *occlusion, size_t from, struct span range, int32_t parent) {
    const int64_t before = occlusion->T;
    add_tokens(occlusion, from, range.start);
    add_tokens(occlusion, range.end, occlusion->finder->tokens.count);
    if (occlusion->T == before) occlusion->finder->packed[occlusion->T++] = occlusion->finder->neutral;
    end_sequence(occlusion, parent);
}

/* How many ranges from `first` on go into one batch, and the tokens that they have in common: a batch is a parent and
 * its continuations, or the whole variants. */
static size_t batch_of(const struct occlusion *occlusion, const struct span *ranges, size_t first, size_t count,
                       size_t group, size_t *common) {
    const size_t T = occlusion->finder->tokens.count, room = (size_t)occlusion->finder->run_T;
    const size_t sequences = (size_t)occlusion->finder->run_N;
    size_t shared = occlusion->shares ? ranges[first].start : 0, taken = 0;
    /* A continuation must have a token: without the note's end it keeps the one before the range. */
    if (shared > 0 && ranges[first].end == T) shared--;
    size_t used = shared;
    while (first + taken < count && taken < group && taken + (shared > 0) < sequences) {
        const struct span range = ranges[first + taken];
        const size_t tokens = T - shared - (range.end - range.start);
        if (taken > 0 && used + tokens + 1 > room) break;
        used += tokens;
        taken++;
    }
    if (taken < 2) shared = 0;
    *common = shared;
    return taken;
}

/* Groups of about the root of their number spare most: see batch_of. */
static size_t group_size(size_t count) {
    size_t root = 1;
    while (root * root < count) root++;
    return root;
}

/* scores[i].score = the note's logit less that without range i. */
static void occlude(struct occlusion *occlusion, const struct span *ranges, size_t count, double logit,
                    struct evidence_part *scores) {
    struct evidence_finder *finder = occlusion->finder;
    const size_t group = occlusion->shares ? group_size(count) : count;
    for (size_t first = 0, taken; first < count; first += taken) {
        size_t common;
        taken = batch_of(occlusion, ranges, first, count, group, &common);
        occlusion->T = occlusion->N = 0;
        finder->offsets[0] = 0;
        int32_t parent = -1;
        if (common > 0) {
            add_tokens(occlusion, 0, common);
            parent = end_sequence(occlusion, -1);
        }
        for (size_t i = 0; i < taken; i++) add_variant(occlusion, common, ranges[first + i], parent);
        finder_forward(finder, occlusion->T, occlusion->N, common > 0, NULL);
        for (size_t i = 0; i < taken; i++)
            scores[first + i].score =
                (float)(logit - finder_logit(finder, (int64_t)i + (common > 0), occlusion->label));
    }
}

bool finder_occlude(struct evidence_finder *finder, struct evidence *evidence, struct error *error) {
    const int64_t T = (int64_t)finder->tokens.count, room = T > EVIDENCE_BATCH ? T : EVIDENCE_BATCH;
    const struct classifier *classifier = finder->classifier;
    struct occlusion occlusion = {
        .finder = finder, .label = evidence->label, .shares = classifier->network.family == NETWORK_DECODER};
    if (!finder_reserve(finder, room + 1, room < 256 ? room : 256, error)) return false;
    occlude(&occlusion, finder->word_tokens, finder->parts.count, evidence->logit, finder->words);
    occlude(&occlusion, finder->clause_tokens, finder->parts.clause_count, evidence->logit, finder->clauses);
    return true;
}

/* A position of CAML's convolution sees the K tokens around it: its attention is shared among those that there are. Of
 * two labels it is the mean of the two attentions. */
void finder_attend(struct evidence_finder *finder, struct evidence *evidence) {
    const struct caml *caml = &finder->classifier->caml;
    const int64_t T = (int64_t)finder->tokens.count, K = caml->config.K;
    size_t rows[2];
    const size_t row_count = finder_rows(finder, evidence->label, rows);
    memset(finder->token_scores, 0, (size_t)T * sizeof *finder->token_scores);
    for (size_t i = 0; i < row_count; i++) {
        int64_t positions;
        const float *weights = caml_attention((const struct caml_run *)finder->run, 0, (int64_t)rows[i], &positions);
        for (int64_t p = 0; p < positions; p++) {
            const int64_t first = p - K / 2 > 0 ? p - K / 2 : 0, end = p - K / 2 + K < T ? p - K / 2 + K : T;
            for (int64_t t = first; t < end; t++)
                finder->token_scores[t] += weights[p] / (float)(end - first) / (float)row_count;
        }
    }
}
