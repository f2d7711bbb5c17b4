/* The decoder as a whole: gradients against finite differences, packing, pooling, LoRA, and what is written read back.
 */
#include "base/error.h"
#include "base/rng.h"
#include "model/decoder.h"
#include "model/lm_loss.h"
#include "tensor/kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TOKENS = 23, SEQUENCES = 4, LABELS = 5 };

static const int32_t tokens[TOKENS] = {3, 9, 4, 7, 7, 12, 5, 1, 30, 22, 17, 8, 8, 3, 2, 19, 28, 11, 6, 25, 14, 13, 10};
static const int32_t offsets[SEQUENCES + 1] = {0, 6, 7, 15, 23};
static const int32_t labels[SEQUENCES] = {1, 4, 0, 2};
static const struct batch batch = {.T = TOKENS, .N = SEQUENCES, .tokens = tokens, .offsets = offsets};

/* A Qwen2 with grouped keys and biases, small enough to differentiate by hand. */
static struct model_config small_config(void) {
    return (struct model_config){.architecture = ARCHITECTURE_QWEN2,
                                 .classifier = true,
                                 .V = 31,
                                 .C = 16,
                                 .L = 2,
                                 .H = 4,
                                 .K = 2,
                                 .D = 6,
                                 .F = 24,
                                 .labels = LABELS,
                                 .positions = 64,
                                 .norm_eps = 1e-6f,
                                 .rope_theta = 10000,
                                 .qkv_bias = true,
                                 .tied = true,
                                 .bos_id = -1,
                                 .eos_id = -1,
                                 .pad_id = -1,
                                 .initializer_range = 0.3f};
}

static void create(struct decoder *decoder) {
    const struct model_config config = small_config();
    struct error error = {0};
    assert_true(decoder_create(decoder, &config, 7, &error));
    /* Zero biases would hide their share: give every parameter some noise. */
    struct rng rng;
    rng_seed(&rng, 11);
    for (int64_t i = 0; i < decoder->parameters.total; i++)
        decoder->parameters.values[i] += 0.1f * (float)rng_normal(&rng);
}

static double loss_of(const struct decoder *decoder, struct decoder_run *run, uint64_t dropout_seed, float *d_logits) {
    float logits[SEQUENCES * LABELS], losses[SEQUENCES];
    decoder_classify_forward(decoder, run, &batch, dropout_seed, logits);
    cross_entropy(losses, d_logits, logits, labels, SEQUENCES, LABELS, 1.0f / SEQUENCES);
    double loss = 0;
    for (int n = 0; n < SEQUENCES; n++) loss += (double)losses[n] / SEQUENCES;
    return loss;
}

/* A loss of a run: the classifier's, or that of the vocabulary over some rows. With `backward` gradients are added. */
struct differentiable {
    struct decoder *decoder;
    struct decoder_run *run;
    struct lm_loss lm;
    uint64_t dropout_seed;
    bool over_vocabulary;
};

/* Rows that predict: in the second sequence none does, and one does twice (a prompt's end before two completions). */
enum { ROWS = 9 };
static const int32_t rows[ROWS] = {1, 2, 5, 7, 9, 9, 10, 18, 22};
static const int32_t targets[ROWS] = {7, 0, 30, 2, 9, 4, 11, 5, 5};
static const float weights[ROWS] = {0.5f, 0.25f, -0.5f, 1, 0, 0.3f, 0.2f, 0.6f, 0.1f};

static struct batch batch_with_rows(void) {
    struct batch with = batch;
    with.rows = rows;
    with.Q = ROWS;
    return with;
}

static double differentiable_loss(struct differentiable *d, bool backward) {
    if (!d->over_vocabulary) {
        float d_logits[SEQUENCES * LABELS];
        const double loss = loss_of(d->decoder, d->run, d->dropout_seed, backward ? d_logits : NULL);
        if (backward) decoder_classify_backward(d->decoder, d->run, &batch, d_logits);
        return loss;
    }
    const struct batch with = batch_with_rows();
    float log_p[ROWS], d_hidden[ROWS * 16];
    const float *hidden = decoder_hidden_forward(d->decoder, d->run, &with, d->dropout_seed);
    const struct lm_rows these = {ROWS, hidden, targets, 1};
    lm_loss_forward(&d->lm, d->decoder, &these, log_p, NULL);
    if (backward) {
        lm_loss_backward(&d->lm, d->decoder, &these, weights, d_hidden);
        decoder_hidden_backward(d->decoder, d->run, &with, d_hidden);
    }
    return lm_loss_weighted(log_p, weights, ROWS);
}

static void open_differentiable(struct differentiable *d, int64_t recomputed) {
    struct error error = {0};
    struct run_plan plan = {.T = TOKENS, .N = SEQUENCES, .rows = d->over_vocabulary ? ROWS : SEQUENCES, .train = true};
    size_t budget = 0;
    do {
        assert_true(decoder_run_plan(&plan, d->decoder, budget, &error));
        budget = plan.bytes - 1;
    } while (plan.recomputed < recomputed);
    assert_true(decoder_run_open_planned(&d->run, d->decoder, &plan, &error));
    if (d->over_vocabulary) assert_true(lm_loss_open(&d->lm, d->decoder, ROWS, &error));
}

static void close_differentiable(struct differentiable *d) {
    decoder_run_close(d->run);
    lm_loss_close(&d->lm);
}

/* Central differences in f32 with step h = 2^-7: truncation h^2 f'''/6 and rounding 1e-7 f / h together stay near 1e-4
 * of a gradient of order 1, so each tensor's gradient must agree within 1 % of its norm plus 1e-4 an element. */
static void check_gradients_of(struct differentiable *d) {
    open_differentiable(d, 0);
    struct parameters *set = &d->decoder->parameters;
    memset(set->gradients, 0, (size_t)set->total * sizeof(float));
    differentiable_loss(d, true);
    const float h = 0x1p-7f;
    for (size_t p = 0; p < set->count; p++) {
        const struct parameter *item = &set->items[p];
        float *value = parameter_value(set, p);
        const float *gradient = parameter_gradient(set, p);
        double difference = 0, norm = 0;
        const int64_t count = item->rows * item->cols;
        for (int64_t i = 0; i < count; i++) {
            const float kept = value[i];
            value[i] = kept + h;
            const double above = differentiable_loss(d, false);
            value[i] = kept - h;
            const double below = differentiable_loss(d, false);
            value[i] = kept;
            const double numeric = (above - below) / (2.0 * (double)h);
            difference += (numeric - (double)gradient[i]) * (numeric - (double)gradient[i]);
            norm += numeric * numeric;
        }
        if (sqrt(difference) > 0.01 * sqrt(norm) + 1e-4 * sqrt((double)count)) {
            fail_msg("%s: gradient off by %.3e, norm %.3e", item->name, sqrt(difference), sqrt(norm));
        }
    }
    close_differentiable(d);
}

static void check_gradients(struct decoder *decoder, uint64_t dropout_seed) {
    struct differentiable d = {.decoder = decoder, .dropout_seed = dropout_seed};
    check_gradients_of(&d);
}

static void every_gradient_of_a_full_model_agrees_with_finite_differences(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    check_gradients(&decoder, 0);
    decoder_close(&decoder);
}

static void create_causal(struct decoder *decoder, bool tied) {
    struct model_config config = small_config();
    struct error error = {0};
    config.classifier = false;
    config.labels = 0;
    config.tied = tied;
    assert_true(decoder_create(decoder, &config, 7, &error));
}

static void every_gradient_of_the_loss_over_the_vocabulary_agrees_with_finite_differences(void **state) {
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        struct decoder decoder;
        create_causal(&decoder, tied != 0);
        struct differentiable d = {.decoder = &decoder, .over_vocabulary = true};
        check_gradients_of(&d);
        decoder_close(&decoder);
    }
}

/* A folder of this test's own, and the small model in it as a causal checkpoint. */
static void make_folder(char *folder, size_t capacity) {
    const char *base = getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR");
    snprintf(folder, capacity, "%s/casemix-decoder-XXXXXX", base);
    assert_non_null(mkdtemp(folder));
}

static void remove_folder(const char *folder) {
    char command[1024];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void write_model(const char *folder) {
    struct decoder decoder;
    struct error error = {0};
    create(&decoder);
    assert_true(model_config_write(&decoder.config, folder, "float32", NULL, &error));
    assert_true(decoder_write(&decoder, folder, DTYPE_F32, &error));
    decoder_close(&decoder);
}

static const struct lora_settings lora = {
    .rank = 3, .alpha = 6, .dropout = 0.3, .targets = {true, true, true, true, true, true, true}};

static void open_with_lora(struct decoder *decoder, const char *folder) {
    struct error error = {0};
    assert_true(decoder_open(decoder, folder, &error));
    assert_true(decoder_add_lora(decoder, &lora, LABELS, 5, &error));
    struct rng rng;
    rng_seed(&rng, 3);
    for (int64_t i = 0; i < decoder->parameters.total; i++)
        decoder->parameters.values[i] += 0.1f * (float)rng_normal(&rng);
}

static void every_gradient_of_lora_agrees_with_finite_differences_dropout_included(void **state) {
    (void)state;
    char folder[512];
    make_folder(folder, sizeof folder);
    write_model(folder);
    struct decoder decoder;
    open_with_lora(&decoder, folder);
    check_gradients(&decoder, 0);
    check_gradients(&decoder, 42);
    decoder_close(&decoder);
    remove_folder(folder);
}

/* The gradients of a run with so many layers computed twice; twice over, so that nothing is left behind by the first.
 */
static void gradients_with(struct differentiable *d, int64_t recomputed, float *gradients) {
    struct parameters *set = &d->decoder->parameters;
    open_differentiable(d, recomputed);
    for (int round = 0; round < 2; round++) {
        memset(set->gradients, 0, (size_t)set->total * sizeof(float));
        differentiable_loss(d, true);
    }
    memcpy(gradients, set->gradients, (size_t)set->total * sizeof(float));
    close_differentiable(d);
}

static void check_recomputation(struct differentiable *d) {
    const size_t total = (size_t)d->decoder->parameters.total;
    float *kept = calloc(total, sizeof *kept), *again = calloc(total, sizeof *again);
    gradients_with(d, 0, kept);
    for (int64_t recomputed = 1; recomputed <= d->decoder->config.L; recomputed++) {
        gradients_with(d, recomputed, again);
        assert_memory_equal(kept, again, total * sizeof *kept);
    }
    free(kept);
    free(again);
}

static void layers_computed_twice_give_the_same_gradients_to_the_bit(void **state) {
    (void)state;
    char folder[512];
    make_folder(folder, sizeof folder);
    write_model(folder);
    struct decoder full, causal, adapted;
    create(&full);
    create_causal(&causal, true);
    open_with_lora(&adapted, folder);
    check_recomputation(&(struct differentiable){.decoder = &full});
    check_recomputation(&(struct differentiable){.decoder = &causal, .over_vocabulary = true});
    check_recomputation(&(struct differentiable){.decoder = &adapted, .dropout_seed = 42});
    decoder_close(&full);
    decoder_close(&causal);
    decoder_close(&adapted);
    remove_folder(folder);
}

static void a_budget_is_kept_by_computing_twice_as_few_layers_as_possible(void **state) {
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    struct model_config config = small_config();
    config.L = 6;
    assert_true(decoder_create(&decoder, &config, 7, &error));
    struct run_plan plan = {.T = TOKENS, .N = SEQUENCES, .rows = SEQUENCES, .train = true};
    assert_true(decoder_run_plan(&plan, &decoder, 0, &error));
    assert_int_equal(plan.recomputed, 0);
    const size_t whole = plan.bytes;
    assert_true(decoder_run_plan(&plan, &decoder, whole, &error));
    assert_int_equal(plan.recomputed, 0);
    assert_true(decoder_run_plan(&plan, &decoder, whole - 1, &error));
    assert_true(plan.recomputed > 0 && plan.bytes < whole);
    const int64_t fewest = plan.recomputed;
    assert_true(decoder_run_plan(&plan, &decoder, plan.bytes - 1, &error));
    assert_int_equal(plan.recomputed, fewest + 1);
    assert_false(decoder_run_plan(&plan, &decoder, 1024, &error));
    assert_non_null(strstr(error.message, "needs"));
    decoder_close(&decoder);
}

/* Prompts with completions, as one sequence each and as prompts that completions go on from. Long enough for several
 * tiles of the attention; the second prompt has one completion, the third none. */
enum { PROMPTS = 3, COMPLETIONS = 4, PAIR_TOKENS = 1024, PAIR_ROWS = 512 };
static const int prompt_lengths[PROMPTS] = {70, 5, 9};
static const int completion_lengths[COMPLETIONS] = {66, 1, 5, 12}, prompt_of[COMPLETIONS] = {0, 0, 0, 1};

struct pairs {
    int32_t tokens[PAIR_TOKENS], offsets[16], parents[16], rows[PAIR_ROWS], targets[PAIR_ROWS];
    float weights[PAIR_ROWS];
    struct batch batch;
};

static int32_t token_of(int text, int t) {
    return (int32_t)((text * 37 + t * 11 + t * t) % 31);
}

static int add_tokens(struct pairs *pairs, int at, int text, int length) {
    for (int t = 0; t < length; t++) pairs->tokens[at + t] = token_of(text, t);
    return at + length;
}

/* Every completion token is a target; the first is predicted at the end of the prompt. */
static void add_row(struct pairs *pairs, int row, int completion, int t) {
    const int64_t i = pairs->batch.Q++;
    pairs->rows[i] = row;
    pairs->targets[i] = token_of(100 + completion, t);
    pairs->weights[i] = 0.01f * (float)(1 + (completion * 5 + t) % 7);
}

static void make_separate(struct pairs *pairs) {
    int t = 0, n = 0;
    *pairs = (struct pairs){0};
    for (int c = 0; c < COMPLETIONS; c++) {
        t = add_tokens(pairs, t, prompt_of[c], prompt_lengths[prompt_of[c]]);
        for (int i = 0; i < completion_lengths[c]; i++) add_row(pairs, t - 1 + i, c, i);
        t = add_tokens(pairs, t, 100 + c, completion_lengths[c]);
        pairs->offsets[++n] = t;
    }
    t = add_tokens(pairs, t, 2, prompt_lengths[2]);
    pairs->offsets[++n] = t;
    pairs->batch = (struct batch){
        .T = t, .N = n, .tokens = pairs->tokens, .offsets = pairs->offsets, .rows = pairs->rows, .Q = pairs->batch.Q};
}

static void make_shared(struct pairs *pairs) {
    int t = 0, n = 0;
    *pairs = (struct pairs){0};
    for (int p = 0; p < PROMPTS; p++) {
        t = add_tokens(pairs, t, p, prompt_lengths[p]);
        const int parent = n;
        pairs->parents[n] = -1;
        pairs->offsets[++n] = t;
        for (int c = 0; c < COMPLETIONS; c++) {
            if (prompt_of[c] == p) add_row(pairs, pairs->offsets[parent + 1] - 1, c, 0);
        }
        for (int c = 0; c < COMPLETIONS; c++) {
            if (prompt_of[c] != p) continue;
            for (int i = 1; i < completion_lengths[c]; i++) add_row(pairs, t - 1 + i, c, i);
            t = add_tokens(pairs, t, 100 + c, completion_lengths[c]);
            pairs->parents[n] = parent;
            pairs->offsets[++n] = t;
        }
    }
    pairs->batch = (struct batch){.T = t,
                                  .N = n,
                                  .tokens = pairs->tokens,
                                  .offsets = pairs->offsets,
                                  .parents = pairs->parents,
                                  .rows = pairs->rows,
                                  .Q = pairs->batch.Q};
}

/* Loss and gradients of a batch of pairs; with all layers computed twice if `twice`. */
static double loss_of_pairs(struct decoder *decoder, const struct pairs *pairs, bool twice, float *gradients) {
    struct error error = {0};
    struct decoder_run *run;
    struct lm_loss lm;
    static float log_p[PAIR_ROWS], d_hidden[PAIR_ROWS * 16];
    const struct batch *these = &pairs->batch;
    struct parameters *set = &decoder->parameters;
    struct run_plan plan = {.T = these->T, .N = these->N, .rows = these->Q, .train = true};
    assert_true(decoder_run_plan(&plan, decoder, 0, &error));
    while (twice && plan.recomputed < decoder->config.L)
        assert_true(decoder_run_plan(&plan, decoder, plan.bytes - 1, &error));
    assert_true(decoder_run_open_planned(&run, decoder, &plan, &error));
    if (!batch_check(decoder, run, these, &error)) fail_msg("%s", error.message);
    assert_true(lm_loss_open(&lm, decoder, these->Q, &error));
    memset(set->gradients, 0, (size_t)set->total * sizeof(float));
    const float *hidden = decoder_hidden_forward(decoder, run, these, 0);
    const struct lm_rows lm_rows = {these->Q, hidden, pairs->targets, 1};
    lm_loss_step(&lm, decoder, &lm_rows, pairs->weights, log_p, NULL, d_hidden);
    decoder_hidden_backward(decoder, run, these, d_hidden);
    memcpy(gradients, set->gradients, (size_t)set->total * sizeof(float));
    lm_loss_close(&lm);
    decoder_run_close(run);
    return lm_loss_weighted(log_p, pairs->weights, these->Q);
}

static void completions_that_share_a_prompt_get_the_loss_and_gradients_of_separate_sequences(void **state) {
    (void)state;
    static struct pairs separate, shared;
    struct decoder decoder;
    struct error error = {0};
    struct model_config config = small_config();
    config.classifier = false;
    config.labels = 0;
    config.positions = 256;
    assert_true(decoder_create(&decoder, &config, 7, &error));
    make_separate(&separate);
    make_shared(&shared);
    assert_true(shared.batch.T + 2 * prompt_lengths[0] == separate.batch.T && shared.batch.Q == separate.batch.Q);
    const int64_t total = decoder.parameters.total;
    float *one = calloc((size_t)total, sizeof *one), *two = calloc((size_t)total, sizeof *two);
    const double apart = loss_of_pairs(&decoder, &separate, false, one);
    for (int twice = 0; twice < 2; twice++) {
        const double together = loss_of_pairs(&decoder, &shared, twice != 0, two);
        assert_true(fabs(apart - together) < 1e-5 * fabs(apart));
        for (size_t p = 0; p < decoder.parameters.count; p++) {
            const struct parameter *item = &decoder.parameters.items[p];
            double difference = 0, norm = 0;
            for (int64_t i = item->first; i < item->first + item->rows * item->cols; i++) {
                difference += ((double)one[i] - (double)two[i]) * ((double)one[i] - (double)two[i]);
                norm += (double)one[i] * (double)one[i];
            }
            if (!(sqrt(difference) <= 1e-4 * sqrt(norm) + 1e-7))
                fail_msg("%s: gradients differ by %.3e of %.3e", item->name, sqrt(difference), sqrt(norm));
        }
    }
    free(one);
    free(two);
    decoder_close(&decoder);
}

static void parents_and_rows_out_of_order_are_refused(void **state) {
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    struct decoder_run *run;
    create_causal(&decoder, true);
    assert_true(decoder_run_open(&run, &decoder, TOKENS, SEQUENCES, false, &error));
    static const int32_t itself[] = {-1, 1, -1, -1}, later[] = {-1, 2, -1, -1}, chain[] = {-1, 0, 1, -1},
                         below[] = {-1, -2, -1, -1};
    const int32_t *const wrong[] = {itself, later, chain, below};
    for (size_t i = 0; i < 4; i++) {
        struct batch bad = batch;
        bad.parents = wrong[i];
        assert_false(batch_check(&decoder, run, &bad, &error));
        assert_non_null(strstr(error.message, "goes on from"));
    }
    static const int32_t falling[] = {3, 2}, outside[] = {3, TOKENS};
    const int32_t *const wrong_rows[] = {falling, outside};
    for (size_t i = 0; i < 2; i++) {
        struct batch bad = batch;
        bad.rows = wrong_rows[i];
        bad.Q = 2;
        assert_false(batch_check(&decoder, run, &bad, &error));
        assert_non_null(strstr(error.message, "out of order"));
    }
    decoder_run_close(run);
    decoder_close(&decoder);
}

static void logits_of(const struct decoder *decoder, const struct batch *these, float *logits) {
    struct error error = {0};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, decoder, these->T, these->N, false, &error));
    assert_true(batch_check(decoder, run, these, &error));
    decoder_classify_forward(decoder, run, these, 0, logits);
    decoder_run_close(run);
}

static void assert_close(const float *a, const float *b, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
            fail_msg("element %lld: %g and %g", (long long)i, (double)a[i], (double)b[i]);
    }
}

static void packed_notes_get_the_logits_they_get_alone(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    float together[SEQUENCES * LABELS], alone[LABELS];
    logits_of(&decoder, &batch, together);
    for (int n = 0; n < SEQUENCES; n++) {
        const int32_t ends[2] = {0, offsets[n + 1] - offsets[n]};
        const struct batch single = {.T = ends[1], .N = 1, .tokens = tokens + offsets[n], .offsets = ends};
        logits_of(&decoder, &single, alone);
        assert_close(alone, together + n * LABELS, LABELS, 2e-5);
    }
    decoder_close(&decoder);
}

static void training_and_inference_give_the_same_logits(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    float trained[SEQUENCES * LABELS], inferred[SEQUENCES * LABELS];
    struct error error = {0};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, &decoder, TOKENS, SEQUENCES, true, &error));
    decoder_classify_forward(&decoder, run, &batch, 0, trained);
    decoder_run_close(run);
    logits_of(&decoder, &batch, inferred);
    assert_memory_equal(trained, inferred, sizeof trained);
    decoder_close(&decoder);
}

static void a_written_model_reads_back_to_the_same_logits(void **state) {
    (void)state;
    char folder[512];
    make_folder(folder, sizeof folder);
    write_model(folder);
    struct decoder made, opened;
    struct error error = {0};
    create(&made);
    assert_true(decoder_open(&opened, folder, &error));
    float before[SEQUENCES * LABELS], after[SEQUENCES * LABELS];
    logits_of(&made, &batch, before);
    logits_of(&opened, &batch, after);
    assert_memory_equal(before, after, sizeof before);
    decoder_close(&made);
    decoder_close(&opened);
    remove_folder(folder);
}

static void a_written_adapter_reads_back_to_the_same_logits(void **state) {
    (void)state;
    char folder[512], adapter[600];
    make_folder(folder, sizeof folder);
    write_model(folder);
    snprintf(adapter, sizeof adapter, "%s/adapter", folder);
    struct error error = {0};
    struct decoder trained, opened;
    open_with_lora(&trained, folder);
    char command[1300];
    snprintf(command, sizeof command, "mkdir '%s'", adapter);
    assert_int_equal(system(command), 0);
    assert_true(decoder_write_adapter(&trained, adapter, folder, &error));
    assert_true(decoder_open(&opened, folder, &error));
    if (!decoder_open_adapter(&opened, adapter, false, &error)) fail_msg("%s", error.message);
    float before[SEQUENCES * LABELS], after[SEQUENCES * LABELS];
    logits_of(&trained, &batch, before);
    logits_of(&opened, &batch, after);
    assert_memory_equal(before, after, sizeof before);
    decoder_close(&trained);
    decoder_close(&opened);
    remove_folder(folder);
}

static void batches_that_cannot_be_run_are_refused(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    struct error error = {0};
    struct decoder_run *run;
    size_t bytes;
    assert_false(decoder_run_size(&decoder, 0, 1, true, &bytes, &error));
    assert_false(decoder_run_size(&decoder, (int64_t)1 << 40, 1, true, &bytes, &error));
    assert_true(decoder_run_open(&run, &decoder, 80, 4, false, &error));
    const int32_t outside[] = {1, 31}, ends[] = {0, 2}, empty[] = {0, 0, 2}, far[] = {0, 65};
    const int32_t many[65] = {0};
    assert_false(
        batch_check(&decoder, run, &(struct batch){.T = 2, .N = 1, .tokens = outside, .offsets = ends}, &error));
    assert_non_null(strstr(error.message, "vocabulary"));
    assert_false(
        batch_check(&decoder, run, &(struct batch){.T = 2, .N = 2, .tokens = tokens, .offsets = empty}, &error));
    assert_false(batch_check(&decoder, run, &(struct batch){.T = 65, .N = 1, .tokens = many, .offsets = far}, &error));
    assert_non_null(strstr(error.message, "positions"));
    assert_false(
        batch_check(&decoder, run, &(struct batch){.T = 2, .N = 5, .tokens = tokens, .offsets = offsets}, &error));
    decoder_run_close(run);
    decoder_close(&decoder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_of_a_full_model_agrees_with_finite_differences),
        cmocka_unit_test(every_gradient_of_lora_agrees_with_finite_differences_dropout_included),
        cmocka_unit_test(every_gradient_of_the_loss_over_the_vocabulary_agrees_with_finite_differences),
        cmocka_unit_test(layers_computed_twice_give_the_same_gradients_to_the_bit),
        cmocka_unit_test(completions_that_share_a_prompt_get_the_loss_and_gradients_of_separate_sequences),
        cmocka_unit_test(parents_and_rows_out_of_order_are_refused),
        cmocka_unit_test(a_budget_is_kept_by_computing_twice_as_few_layers_as_possible),
        cmocka_unit_test(packed_notes_get_the_logits_they_get_alone),
        cmocka_unit_test(training_and_inference_give_the_same_logits),
        cmocka_unit_test(a_written_model_reads_back_to_the_same_logits),
        cmocka_unit_test(a_written_adapter_reads_back_to_the_same_logits),
        cmocka_unit_test(batches_that_cannot_be_run_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
