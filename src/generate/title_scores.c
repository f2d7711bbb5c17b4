/* Best-first walk over the tree of titles: see title_scores.h.
 *
 * A node that has passed through the model holds a sequence of the cache until its children have gone on from it; the
 * last child takes the sequence over. When sequences run short the deepest nodes go first, which frees them. */
#include "generate/title_scores.h"
#include "base/error.h"
#include "base/memory.h"
#include "generate/sampler.h"
#include <math.h>
#include <string.h>

struct title_scorer {
    const struct title_trie *trie;
    struct decode *decode;
    struct kv_cache *cache;
    int64_t V, capacity; /* rows of a step */
    double *log_p;       /* [nodes] of the beginning up to the node */
    int32_t *sequence;   /* [nodes] that holds the node's tokens; -1: none */
    int32_t *waiting;    /* [nodes] children that have not gone on yet */
    int32_t *depth;      /* [nodes] */
    int32_t *frontier;   /* [nodes] a heap: the likeliest at the top */
    size_t frontier_count;
    int32_t *batch; /* [capacity] nodes of the step */
    struct decode_row *rows;
    float *logits; /* [capacity, V] */
};

bool title_scorer_open(struct title_scorer **out, const struct title_trie *trie, struct decode *decode,
                       struct kv_cache *cache, int64_t V, int64_t rows, struct error *error) {
    struct title_scorer *scorer = memory_zero(1, sizeof *scorer);
    if (scorer == NULL) return memory_error(error, sizeof *scorer, "the titles' scores");
    *scorer = (struct title_scorer){.trie = trie, .decode = decode, .cache = cache, .V = V, .capacity = rows};
    scorer->log_p = memory_alloc(trie->count, sizeof *scorer->log_p);
    scorer->sequence = memory_alloc(trie->count, sizeof *scorer->sequence);
    scorer->waiting = memory_alloc(trie->count, sizeof *scorer->waiting);
    scorer->depth = memory_alloc(trie->count, sizeof *scorer->depth);
    scorer->frontier = memory_alloc(trie->count, sizeof *scorer->frontier);
    scorer->batch = memory_alloc((size_t)rows, sizeof *scorer->batch);
    scorer->rows = memory_alloc((size_t)rows, sizeof *scorer->rows);
    scorer->logits = memory_alloc((size_t)rows, (size_t)V * sizeof *scorer->logits);
    if (scorer->log_p == NULL || scorer->sequence == NULL || scorer->waiting == NULL || scorer->depth == NULL ||
        scorer->frontier == NULL || scorer->batch == NULL || scorer->rows == NULL || scorer->logits == NULL) {
        title_scorer_close(scorer);
        return memory_error(error, (size_t)(rows * V) * sizeof(float), "the titles' scores");
    }
    for (size_t n = 0; n < trie->count; n++) scorer->depth[n] = n == 0 ? 0 : scorer->depth[trie->nodes[n].parent] + 1;
    *out = scorer;
    return true;
}

void title_scorer_close(struct title_scorer *scorer) {
    if (scorer == NULL) return;
    memory_free(scorer->log_p);
    memory_free(scorer->sequence);
    memory_free(scorer->waiting);
    memory_free(scorer->depth);
    memory_free(scorer->frontier);
    memory_free(scorer->batch);
    memory_free(scorer->rows);
    memory_free(scorer->logits);
    memory_free(scorer);
}

static void sift_down(struct title_scorer *scorer, size_t at) {
    int32_t *heap = scorer->frontier;
    const int32_t moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < scorer->frontier_count; at = child) {
        if (child + 1 < scorer->frontier_count && scorer->log_p[heap[child + 1]] > scorer->log_p[heap[child]]) child++;
        if (!(scorer->log_p[heap[child]] > scorer->log_p[moved])) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void push(struct title_scorer *scorer, int32_t node) {
    int32_t *heap = scorer->frontier;
    size_t at = scorer->frontier_count++;
    for (; at > 0 && scorer->log_p[heap[(at - 1) / 2]] < scorer->log_p[node]; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = node;
}

static int32_t take_at(struct title_scorer *scorer, size_t at) {
    const int32_t node = scorer->frontier[at], last = scorer->frontier[--scorer->frontier_count];
    if (at < scorer->frontier_count) {
        scorer->frontier[at] = last;
        sift_down(scorer, at);
        /* The last entry may also belong above. */
        for (size_t i = at; i > 0 && scorer->log_p[scorer->frontier[(i - 1) / 2]] < scorer->log_p[scorer->frontier[i]];
             i = (i - 1) / 2) {
            const int32_t kept = scorer->frontier[i];
            scorer->frontier[i] = scorer->frontier[(i - 1) / 2];
            scorer->frontier[(i - 1) / 2] = kept;
        }
    }
    return node;
}

static size_t deepest(const struct title_scorer *scorer) {
    size_t best = 0;
    for (size_t i = 1; i < scorer->frontier_count; i++) {
        if (scorer->depth[scorer->frontier[i]] > scorer->depth[scorer->frontier[best]]) best = i;
    }
    return best;
}

/* A sequence for a node: its parent's own for the last child, else a fork; -1 when none is free. The root's sequence is
 * the caller's and is never taken over. */
static int32_t claim_sequence(struct title_scorer *scorer, int32_t node) {
    const int32_t parent = scorer->trie->nodes[node].parent;
    if (scorer->waiting[parent] == 1 && parent != 0) {
        const int32_t sequence = scorer->sequence[parent];
        scorer->sequence[parent] = -1;
        return sequence;
    }
    return kv_sequence_fork(scorer->cache, scorer->sequence[parent]);
}

/* The children of a node from the logits behind it: finished titles are counted, others join the frontier. */
static void spread(struct title_scorer *scorer, int32_t node, const float *logits, struct title_scores *scores) {
    const struct trie_node *at = &scorer->trie->nodes[node];
    const double total = logits_log_sum(logits, scorer->V);
    scorer->waiting[node] = 0;
    for (int32_t child = at->first_child; child < at->first_child + at->children; child++) {
        const struct trie_node *next = &scorer->trie->nodes[child];
        scorer->log_p[child] = scorer->log_p[node] + (double)logits[next->token] - total;
        scorer->sequence[child] = -1;
        if (next->drg >= 0) {
            scores->p[next->drg] = exp(scorer->log_p[child]);
            scores->mass += scores->p[next->drg];
            continue;
        }
        scorer->waiting[node]++;
        push(scorer, child);
    }
    if (scorer->waiting[node] == 0 && node != 0) {
        kv_sequence_close(scorer->cache, scorer->sequence[node]);
        scorer->sequence[node] = -1;
    }
}

/* Nodes for the next step, each with its sequence; returns how many. */
static int64_t choose_batch(struct title_scorer *scorer) {
    int64_t count = 0, claimed = 0;
    while (count < scorer->capacity && scorer->frontier_count > 0) {
        /* Near the end of the free sequences one path at a time is followed to its end. */
        const bool scarce = kv_sequences_free(scorer->cache) <= (int64_t)scorer->trie->longest ||
                            kv_blocks_free(scorer->cache) - 2 * claimed <= 2 * (int64_t)scorer->trie->longest;
        if (scarce && count > 0) break;
        const size_t place = scarce ? deepest(scorer) : 0;
        const int32_t node = scorer->frontier[place], sequence = claim_sequence(scorer, node);
        if (sequence < 0) break;
        take_at(scorer, place);
        scorer->waiting[scorer->trie->nodes[node].parent]--;
        scorer->sequence[node] = sequence;
        scorer->rows[count] = (struct decode_row){sequence, scorer->trie->nodes[node].token, true};
        scorer->batch[count++] = node;
        claimed++;
    }
    return count;
}

static double frontier_mass(const struct title_scorer *scorer) {
    double mass = 0;
    for (size_t i = 0; i < scorer->frontier_count; i++) mass += exp(scorer->log_p[scorer->frontier[i]]);
    return mass;
}

/* Gives back every sequence that a node still holds. */
static void release_all(struct title_scorer *scorer) {
    for (size_t n = 1; n < scorer->trie->count; n++) {
        if (scorer->sequence[n] >= 0) kv_sequence_close(scorer->cache, scorer->sequence[n]);
        scorer->sequence[n] = -1;
    }
}

bool title_scorer_run(struct title_scorer *scorer, int32_t sequence, const float *logits, double tolerance,
                      struct title_scores *scores, struct error *error) {
    const size_t titles = scorer->trie->catalog->count;
    bool done = true;
    memset(scores->p, 0, titles * sizeof *scores->p);
    scores->mass = scores->unseen = 0;
    scores->nodes_read = 0;
    scorer->frontier_count = 0;
    for (size_t n = 0; n < scorer->trie->count; n++) scorer->sequence[n] = -1;
    scorer->log_p[0] = 0;
    scorer->sequence[0] = sequence;
    spread(scorer, 0, logits, scores);
    while (done && scorer->frontier_count > 0) {
        scores->unseen = frontier_mass(scorer);
        if (scores->unseen < tolerance * scores->mass) break;
        const int64_t count = choose_batch(scorer);
        done = count > 0 || error_set(error, "the cache of keys and values has no room to score the titles");
        done = done && decode_step(scorer->decode, scorer->rows, count, scorer->logits, error);
        for (int64_t i = 0; done && i < count; i++)
            spread(scorer, scorer->batch[i], scorer->logits + i * scorer->V, scores);
        scores->nodes_read += count;
    }
    if (scorer->frontier_count == 0) scores->unseen = 0;
    release_all(scorer);
    if (done && !(scores->mass > 0)) done = error_set(error, "the model gives no title any probability");
    for (size_t t = 0; done && t < titles; t++) scores->p[t] /= scores->mass;
    return done;
}
