/* The loss of GRPO and its derivatives, one completion at a time; in double, since ratios and KL are differences of
 * nearly equal numbers. */
#include "train/grpo_loss.h"
#include <math.h>
#include <stddef.h>

/* The pessimistic surrogate of one ratio. */
struct surrogate {
    double value;      /* -min(r a, clip(r) a) */
    double derivative; /* by -log p of what the ratio is made of */
    bool low, high;    /* clipped on that side */
};

static struct surrogate surrogate_at(const struct grpo_settings *settings, double ratio, double advantage) {
    const double low = 1 - settings->epsilon_low, high = 1 + settings->epsilon_high;
    const double clipped = ratio < low ? low : ratio > high ? high : ratio;
    struct surrogate s = {.low = ratio < low && advantage<0, .high = ratio> high && advantage > 0};
    const bool bites = clipped * advantage < ratio * advantage;
    s.value = -(bites ? clipped : ratio) * advantage;
    s.derivative = bites ? 0 : ratio * advantage;
    return s;
}

static bool counts(const struct grpo_settings *settings, const struct grpo_rows *rows, int64_t i) {
    return !(settings->mask_truncated && rows->is_cut[i]);
}

int64_t grpo_counted_tokens(const struct grpo_settings *settings, const struct grpo_rows *rows) {
    int64_t tokens = 0;
    for (int64_t i = 0; i < rows->B; i++) {
        if (counts(settings, rows, i)) tokens += rows->starts[i + 1] - rows->starts[i];
    }
    return tokens;
}

/* What a token of a completion of `length` tokens weighs in the loss of the update. */
static double token_weight(const struct grpo_settings *settings, const struct grpo_rows *rows,
                           const struct grpo_whole *whole, int64_t counted, int64_t length) {
    const double B = (double)rows->B;
    switch (settings->kind) {
    case GRPO_LOSS_GRPO:
        return whole->share / (B * (double)length);
    case GRPO_LOSS_BNPO:
        return whole->share / (double)counted;
    case GRPO_LOSS_DR_GRPO:
        return whole->share / (B * (double)settings->max_completion);
    case GRPO_LOSS_DAPO:
        return 1 / (double)whole->tokens;
    }
    return 0;
}

static double log_ratio(const struct grpo_rows *rows, int64_t t) {
    return rows->old_log_p == NULL ? 0 : (double)rows->log_p[t] - (double)rows->old_log_p[t];
}

/* The ratio of a whole completion: exp of the mean over its tokens. */
static double sequence_ratio(const struct grpo_rows *rows, int64_t first, int64_t end) {
    double sum = 0;
    for (int64_t t = first; t < end; t++) sum += log_ratio(rows, t);
    return exp(sum / (double)(end - first));
}

static void count_clipped(struct grpo_sums *sums, const struct surrogate *s) {
    sums->clipped_low += s->low;
    sums->clipped_high += s->high;
    sums->ratios++;
}

/* The KL term of one token; its derivative by -log p. */
static double add_kl(struct grpo_sums *sums, const struct grpo_settings *settings, const struct grpo_rows *rows,
                     int64_t t, double weight) {
    if (rows->reference == NULL) return 0;
    const double d = (double)rows->reference[t] - (double)rows->log_p[t], rest = expm1(d), kl = rest - d;
    sums->kl += kl;
    sums->loss += weight * settings->beta * kl;
    return settings->beta * rest;
}

/* One completion that counts. At level sequence every token carries the same surrogate, whose derivative by one token's
 * -log p is 1 / length of that by the mean; there are length of them. */
static void add_completion(struct grpo_sums *sums, float *coefficients, const struct grpo_settings *settings,
                           const struct grpo_rows *rows, int64_t i, double weight) {
    const int64_t first = rows->starts[i], end = rows->starts[i + 1];
    const bool whole = settings->level == GRPO_LEVEL_SEQUENCE;
    struct surrogate s = {0};
    if (whole) s = surrogate_at(settings, sequence_ratio(rows, first, end), rows->advantages[i]);
    if (whole) count_clipped(sums, &s);
    for (int64_t t = first; t < end; t++) {
        if (!whole) s = surrogate_at(settings, exp(log_ratio(rows, t)), rows->advantages[i]);
        if (!whole) count_clipped(sums, &s);
        sums->loss += weight * s.value;
        coefficients[t] = (float)(weight * (s.derivative + add_kl(sums, settings, rows, t, weight)));
        if (rows->entropy != NULL) sums->entropy += (double)rows->entropy[t];
    }
    sums->tokens += end - first;
}

void grpo_loss(struct grpo_sums *sums, float *coefficients, const struct grpo_settings *settings,
               const struct grpo_rows *rows, const struct grpo_whole *whole) {
    const int64_t counted = grpo_counted_tokens(settings, rows);
    for (int64_t i = 0; i < rows->B; i++) {
        const int64_t first = rows->starts[i], end = rows->starts[i + 1];
        sums->sequences++;
        if (counts(settings, rows, i) && end > first) {
            const double weight = token_weight(settings, rows, whole, counted, end - first);
            add_completion(sums, coefficients, settings, rows, i, weight);
            continue;
        }
        for (int64_t t = first; t < end; t++) coefficients[t] = 0;
        sums->ratios += settings->level == GRPO_LEVEL_SEQUENCE;
    }
}
