/* Drawing tokens: see sampler.h. Candidates stand in one array; each step narrows it from the end. */
#include "generate/sampler.h"
#include "base/error.h"
#include "base/memory.h"
#include "tensor/exponential.h"
#include <math.h>
#include <string.h>

const struct sampling sampling_plain = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};

struct candidate {
    double weight; /* the logit; later its share of the mass */
    int32_t id;
};

struct sampler {
    int64_t V;
    struct candidate *candidates; /* [V] */
    uint8_t *marked;              /* [V] tokens seen before; all 0 between draws */
};

bool sampling_check(const struct sampling *sampling, struct error *error) {
    if (!(sampling->temperature >= 0 && sampling->temperature <= 1e6))
        return error_usage(error, "a temperature of %g is not possible: 0 (greedy) or above", sampling->temperature);
    if (sampling->top_k < 0)
        return error_usage(error, "top-k %lld is not possible: 0 (off) or above", (long long)sampling->top_k);
    if (!(sampling->top_p > 0 && sampling->top_p <= 1))
        return error_usage(error, "top-p %g is not above 0 and at most 1", sampling->top_p);
    if (!(sampling->min_p >= 0 && sampling->min_p < 1))
        return error_usage(error, "min-p %g is not between 0 and 1", sampling->min_p);
    if (!(sampling->repetition_penalty > 0 && sampling->repetition_penalty <= 1e6))
        return error_usage(error, "a repetition penalty of %g is not possible: above 0, 1 for none",
                           sampling->repetition_penalty);
    return true;
}

bool sampler_open(struct sampler **out, int64_t V, struct error *error) {
    struct sampler *sampler = memory_zero(1, sizeof *sampler);
    if (sampler == NULL) return memory_error(error, sizeof *sampler, "a sampler");
    sampler->V = V;
    sampler->candidates = memory_alloc((size_t)V, sizeof *sampler->candidates);
    sampler->marked = memory_zero((size_t)V, 1);
    if (sampler->candidates == NULL || sampler->marked == NULL) {
        sampler_close(sampler);
        return memory_error(error, (size_t)V * sizeof *sampler->candidates, "a sampler");
    }
    *out = sampler;
    return true;
}

void sampler_close(struct sampler *sampler) {
    if (sampler == NULL) return;
    memory_free(sampler->candidates);
    memory_free(sampler->marked);
    memory_free(sampler);
}

double logits_log_sum(const float *logits, int64_t V) {
    float largest = -INFINITY;
    double sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < V; i++) largest = logits[i] > largest ? logits[i] : largest;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < V; i++) sum += exponential_double((double)logits[i] - (double)largest);
    return (double)largest + log(sum);
}

/* Whether a goes before b: the larger weight, among equals the smaller id. */
static bool goes_before(const struct candidate *a, const struct candidate *b) {
    return a->weight > b->weight || (!(a->weight < b->weight) && a->id < b->id);
}

static void sift_down(struct candidate *heap, size_t count, size_t at) {
    const struct candidate moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && goes_before(&heap[child + 1], &heap[child]);
        if (!goes_before(&heap[child], &moved)) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void make_heap(struct candidate *heap, size_t count) {
    for (size_t i = count / 2; i-- > 0;) sift_down(heap, count, i);
}

/* The best candidate of a heap goes to its end: heap[count - 1]. */
static void pop_heap(struct candidate *heap, size_t count) {
    const struct candidate best = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = best;
    sift_down(heap, count - 1, 0);
}

/* Moves the candidates that top-p or min-p could keep to the end of the array; returns how many, and the mass of all.
 * Those with less than the average of the mass that top-p leaves out hold less than that mass together, so none of them
 * is ever reached; half of it is the bound here, for the rounding of sums. Of a vocabulary a few dozen remain. */
static size_t leave_out_small(struct candidate *candidates, size_t count, const struct sampling *sampling,
                              double *mass) {
    double largest = 0;
    *mass = 0;
    for (size_t i = 0; i < count; i++) {
        *mass += candidates[i].weight;
        largest = candidates[i].weight > largest ? candidates[i].weight : largest;
    }
    const double of_top_p = sampling->top_p < 1 ? 0.5 * (1 - sampling->top_p) * *mass / (double)count : 0;
    const double of_min_p = sampling->min_p * largest;
    const double bound = of_top_p > of_min_p ? of_top_p : of_min_p;
    size_t kept = 0;
    for (size_t i = count; i-- > 0;) {
        if (candidates[i].weight < bound) continue;
        const struct candidate moved = candidates[i];
        kept++;
        candidates[i] = candidates[count - kept];
        candidates[count - kept] = moved;
    }
    return kept;
}

/* Moves the candidates that top-k, top-p and min-p keep to the end of the array; returns how many. Weights are shares
 * relative to the largest. */
static size_t narrow(struct candidate *candidates, size_t count, const struct sampling *sampling) {
    const size_t most = sampling->top_k > 0 && (size_t)sampling->top_k < count ? (size_t)sampling->top_k : count;
    if (most == count && !(sampling->top_p < 1) && !(sampling->min_p > 0)) return count;
    /* Top-p asks for the mass of what top-k left. */
    size_t kept = 0;
    double mass = 0, reached = 0;
    if (most == count) {
        const size_t left = leave_out_small(candidates, count, sampling, &mass);
        candidates += count - left;
        count = left;
        make_heap(candidates, count);
    } else {
        make_heap(candidates, count);
        for (; kept < most; kept++) {
            pop_heap(candidates, count - kept);
            mass += candidates[count - 1 - kept].weight;
        }
    }
    const double largest = kept == 0 ? candidates[0].weight : candidates[count - 1].weight;
    const size_t end = kept == 0 ? count : most;
    size_t final = 0;
    for (; final < end; final++) {
        if (final >= kept) pop_heap(candidates, count - final);
        const double weight = candidates[count - 1 - final].weight;
        const bool enough = reached >= sampling->top_p * mass && sampling->top_p < 1;
        if (final > 0 && (enough || weight < sampling->min_p * largest)) break;
        reached += weight;
    }
    return final;
}

static void mark(struct sampler *sampler, const int32_t *seen, size_t count, uint8_t value) {
    for (size_t i = 0; i < count; i++) sampler->marked[seen[i]] = value;
}

static size_t gather(struct sampler *sampler, const struct sampling *sampling, const float *logits, const int32_t *seen,
                     size_t seen_count, const struct allowed_tokens *allowed) {
    const size_t count = allowed == NULL ? (size_t)sampler->V : allowed->count;
    const double penalty = sampling->repetition_penalty;
    const bool penalised = penalty > 1 || penalty < 1;
    if (penalised) mark(sampler, seen, seen_count, 1);
    for (size_t i = 0; i < count; i++) {
        const int32_t id = allowed == NULL ? (int32_t)i : allowed->ids[i];
        double logit = (double)logits[id];
        if (penalised && sampler->marked[id]) logit = logit > 0 ? logit / penalty : logit * penalty;
        sampler->candidates[i] = (struct candidate){logit, id};
    }
    if (penalised) mark(sampler, seen, seen_count, 0);
    return count;
}

static const struct candidate *best_of(const struct candidate *candidates, size_t count) {
    const struct candidate *best = candidates;
    for (size_t i = 1; i < count; i++) {
        if (goes_before(&candidates[i], best)) best = &candidates[i];
    }
    return best;
}

struct sampled sampler_draw(struct sampler *sampler, const struct sampling *sampling, const float *logits,
                            const int32_t *seen, size_t seen_count, const struct allowed_tokens *allowed,
                            const double *log_sum, struct rng *rng) {
    struct candidate *candidates = sampler->candidates;
    const size_t count = gather(sampler, sampling, logits, seen, seen_count, allowed);
    const struct candidate best = *best_of(candidates, count);
    const double total = log_sum != NULL ? *log_sum : logits_log_sum(logits, sampler->V);
    if (!(sampling->temperature > 0)) return (struct sampled){best.id, (double)logits[best.id] - total, 0};
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        candidates[i].weight = exponential_double((candidates[i].weight - best.weight) / sampling->temperature);
    const size_t kept = narrow(candidates, count, sampling);
    const struct candidate *pool = candidates + (count - kept);
    double mass = 0;
    for (size_t i = 0; i < kept; i++) mass += pool[i].weight;
    double left = rng_uniform(rng) * mass;
    size_t drawn = 0;
    while (drawn + 1 < kept && left >= pool[drawn].weight) left -= pool[drawn++].weight;
    while (drawn > 0 && !(pool[drawn].weight > 0)) drawn--; /* rounding must not draw what has no mass */
    return (struct sampled){pool[drawn].id, (double)logits[pool[drawn].id] - total, log(pool[drawn].weight / mass)};
}
