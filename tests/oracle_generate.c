/* Greedy decoding of oracle cases: prompts are read one by one, then all sequences step together. */
#include "oracle_generate.h"
#include "base/error.h"
#include "base/memory.h"
#include "generate/decode.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEQUENCES = 16, TOKENS = 256, TOP = 5 };

struct continuation {
    int32_t sequence;
    float ids[TOKENS], top_ids[TOKENS * TOP], top_logprobs[TOKENS * TOP];
};

static void must(bool done, const struct error *error) {
    if (done) return;
    fprintf(stderr, "oracle: %s\n", error->message);
    exit(1);
}

/* The best five of one row of logits become the continuation's next entry. */
static void take(struct continuation *to, int64_t step, const float *logits, int64_t V) {
    double sum = 0, largest = (double)logits[0];
    for (int64_t v = 1; v < V; v++) largest = fmax(largest, (double)logits[v]);
    for (int64_t v = 0; v < V; v++) sum += exp((double)logits[v] - largest);
    int64_t taken[TOP];
    for (int k = 0; k < TOP; k++) {
        int64_t best = -1;
        for (int64_t v = 0; v < V; v++) {
            bool used = false;
            for (int j = 0; j < k; j++) used = used || taken[j] == v;
            if (!used && (best < 0 || logits[v] > logits[best])) best = v;
        }
        taken[k] = best;
        to->top_ids[step * TOP + k] = (float)best;
        to->top_logprobs[step * TOP + k] = (float)((double)logits[best] - largest - log(sum));
    }
    to->ids[step] = (float)taken[0];
}

static void start(struct continuation *to, struct decode *decode, struct kv_cache *cache, const json_node *prompt,
                  float *logits, int64_t V) {
    struct error error = {0};
    int32_t tokens[TOKENS];
    int64_t count = 0;
    for (const json_node *id = json_first(prompt); id != NULL && count < TOKENS; id = json_next(id))
        tokens[count++] = (int32_t)json_number(id);
    to->sequence = kv_sequence_open(cache);
    must(decode_prompt(decode, to->sequence, tokens, count, logits, &error), &error);
    take(to, 0, logits, V);
}

void oracle_generate(const struct decoder *decoder, const json_node *root, oracle_check *check, void *oracle) {
    static struct continuation all[SEQUENCES];
    const json_node *prompts = json_member(json_member(root, "inputs"), "prompts");
    const double wanted = json_number(json_member(json_member(root, "hyper"), "max_new_tokens"));
    const int64_t steps = wanted < TOKENS ? (int64_t)wanted : TOKENS, V = decoder->config.V;
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    must(kv_cache_open(&cache, &decoder->config, SEQUENCES * 2 * TOKENS, SEQUENCES, &error) &&
             decode_open(&decode, decoder, cache, SEQUENCES, &error),
         &error);
    float *logits = memory_alloc(SEQUENCES, (size_t)V * sizeof *logits);
    must(logits != NULL || error_set(&error, "out of memory"), &error);
    int64_t count = 0;
    for (const json_node *p = json_first(prompts); p != NULL && count < SEQUENCES; p = json_next(p))
        start(&all[count++], decode, cache, p, logits, V);
    for (int64_t step = 1; step < steps; step++) {
        struct decode_row rows[SEQUENCES];
        for (int64_t i = 0; i < count; i++)
            rows[i] = (struct decode_row){all[i].sequence, (int32_t)all[i].ids[step - 1], true};
        must(decode_step(decode, rows, count, logits, &error), &error);
        for (int64_t i = 0; i < count; i++) take(&all[i], step, logits + i * V, V);
    }
    for (int64_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "ids.%d", (int)i);
        check(oracle, name, all[i].ids, steps);
        snprintf(name, sizeof name, "top5_ids.%d", (int)i);
        check(oracle, name, all[i].top_ids, steps * TOP);
        snprintf(name, sizeof name, "top5_logprobs.%d", (int)i);
        check(oracle, name, all[i].top_logprobs, steps * TOP);
    }
    memory_free(logits);
    decode_close(decode);
    kv_cache_close(cache);
}
