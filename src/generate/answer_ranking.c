/* Ranked lists from reasonings: see answer_ranking.h. The prompt is read once; each reasoning goes on from it in a
 * sequence of its own. */
#include "generate/answer_ranking.h"
#include "base/error.h"
#include "base/memory.h"
#include "drg/reward.h"
#include "generate/decode.h"
#include "generate/title_scores.h"
#include "tensor/attention_blocks.h"
#include <string.h>

/* Titles are left out that weigh less together than this share of those reached. */
#define TOLERANCE 1e-4
enum { ROWS = 64, SEQUENCES = 256 };

struct answer_ranker {
    const struct answerer *answerer;
    struct kv_cache *cache;
    struct decode *decode;
    struct title_scorer *scorer;
    float *logits; /* [V] */
    double *p;     /* [titles] behind one reasoning */
    struct token_list context;
};

bool answer_ranker_open(struct answer_ranker **out, const struct answerer *answerer, int64_t max_tokens,
                        struct error *error) {
    struct answer_ranker *ranker = memory_zero(1, sizeof *ranker);
    const struct model_config *config = &answerer->decoder.config;
    const int64_t sequences = (int64_t)answerer->trie.longest + SEQUENCES,
                  tokens = answerer->window + max_tokens + 2 * sequences * ATTENTION_BLOCK;
    if (ranker == NULL) return memory_error(error, sizeof *ranker, "the titles' scores");
    ranker->answerer = answerer;
    ranker->logits = memory_alloc((size_t)config->V, sizeof *ranker->logits);
    ranker->p = memory_alloc(answerer->catalog->count, sizeof *ranker->p);
    const bool done =
        ((ranker->logits != NULL && ranker->p != NULL) ||
         memory_error(error, (size_t)config->V * sizeof(float), "the titles' scores")) &&
        kv_cache_open(&ranker->cache, config, tokens, sequences + 2, error) &&
        decode_open(&ranker->decode, &answerer->decoder, ranker->cache, 4 * ROWS, error) &&
        title_scorer_open(&ranker->scorer, &answerer->trie, ranker->decode, ranker->cache, config->V, ROWS, error);
    if (done)
        *out = ranker;
    else
        answer_ranker_close(ranker);
    return done;
}

void answer_ranker_close(struct answer_ranker *ranker) {
    if (ranker == NULL) return;
    title_scorer_close(ranker->scorer);
    decode_close(ranker->decode);
    kv_cache_close(ranker->cache);
    memory_free(ranker->logits);
    memory_free(ranker->p);
    token_list_free(&ranker->context);
    memory_free(ranker);
}

/* Scores the titles behind one reasoning, in a sequence that goes on from the prompt's. A reasoning that leaves no
 * positions for a title is cut: only its last tokens, the opening of the answer, must stand. */
static bool score_behind(struct answer_ranker *ranker, int32_t prompt, const struct answer *answer, double *mass,
                         struct error *error) {
    struct token_list *context = &ranker->context;
    struct title_scores scores = {.p = ranker->p};
    context->count = 0;
    if (!answer_context(ranker->answerer, answer, context, error)) return false;
    const int64_t left = ranker->answerer->decoder.config.positions - kv_sequence_length(ranker->cache, prompt) -
                         (int64_t)ranker->answerer->trie.longest;
    if ((int64_t)context->count > left) {
        error_set(error, "the reasoning of %zu tokens leaves no positions for a title", context->count);
        return error_hint(error, "fewer --max-tokens");
    }
    const int32_t sequence = kv_sequence_fork(ranker->cache, prompt);
    if (sequence < 0) return error_set(error, "no sequence is free for the titles");
    const bool done =
        decode_prompt(ranker->decode, sequence, context->ids, (int64_t)context->count, ranker->logits, error) &&
        title_scorer_run(ranker->scorer, sequence, ranker->logits, TOLERANCE, &scores, error);
    kv_sequence_close(ranker->cache, sequence);
    *mass += scores.mass;
    return done;
}

/* The DRG that a written answer names counts as its vote. */
static void count_vote(const struct answer_ranker *ranker, const struct answer *answer, int32_t *votes) {
    const struct catalog *catalog = ranker->answerer->catalog;
    if (answer->text.data == NULL || !completion_has_format(answer->text.data, answer->text.length, true)) return;
    const struct drg *drg = completion_drg(catalog, answer->text.data, answer->text.length);
    if (drg != NULL) votes[drg - catalog->drgs]++;
}

bool answer_ranker_rank(struct answer_ranker *ranker, const struct question *question, double *p, int32_t *votes,
                        double *mass, struct error *error) {
    const size_t titles = ranker->answerer->catalog->count;
    double total = 0;
    const int32_t prompt = kv_sequence_open(ranker->cache);
    memset(p, 0, titles * sizeof *p);
    memset(votes, 0, titles * sizeof *votes);
    if (prompt < 0) return error_set(error, "no sequence is free for the prompt");
    bool done =
        decode_prompt(ranker->decode, prompt, question->prompt.ids, (int64_t)question->prompt.count, NULL, error);
    for (size_t s = 0; done && s < question->samples; s++) {
        done = score_behind(ranker, prompt, &question->answers[s], &total, error);
        for (size_t t = 0; done && t < titles; t++) p[t] += ranker->p[t] / (double)question->samples;
        count_vote(ranker, &question->answers[s], votes);
    }
    kv_sequence_close(ranker->cache, prompt);
    if (mass != NULL) *mass = total / (double)question->samples;
    return done;
}
