/* The decoder's forward: tokens to hidden states or logits, on a packed batch. Equations: Touvron et al. 2023; Qwen2
 * adds biases to q, k and v. */
#include "model/decoder_run.h"
#include "tensor/kernels.h"
#include <string.h>

/* Where each token stands in its sequence; one that goes on from a parent counts on from there. */
static void locate_tokens(struct decoder_run *run, const struct batch *batch) {
    for (int64_t n = 0; n < batch->N; n++) {
        const int32_t first = batch->offsets[n], end = batch->offsets[n + 1];
        const int32_t parent = batch->parents == NULL ? -1 : batch->parents[n];
        const int32_t before = parent < 0 ? 0 : batch->offsets[parent + 1] - batch->offsets[parent];
        for (int32_t t = first; t < end; t++) run->position[t] = before + t - first;
    }
}

/* The rows that a head will read, their positions, and where those of each sequence begin. `rows` NULL: all tokens. */
static void locate_rows(struct decoder_run *run, const struct batch *batch, const int32_t *rows, int64_t Q) {
    run->chosen = rows != NULL;
    run->Q = rows == NULL ? batch->T : Q;
    if (rows == NULL) return;
    memmove(run->rows, rows, (size_t)Q * sizeof *rows);
    int64_t i = 0;
    for (int64_t n = 0; n < batch->N; n++) {
        run->row_offsets[n] = (int32_t)i;
        while (i < Q && rows[i] < batch->offsets[n + 1]) i++;
    }
    run->row_offsets[batch->N] = (int32_t)Q;
    for (i = 0; i < Q; i++) run->row_position[i] = run->position[rows[i]];
}

/* The residual between attention and MLP starts as a copy of the one that entered (its chosen rows); in place nothing
 * is moved. */
static void carry_residual(float *to, const float *from, const int32_t *rows, int64_t Q, int64_t C) {
    if (rows != NULL)
        rows_gather(to, from, rows, Q, C);
    else if (to != from)
        memcpy(to, from, (size_t)(Q * C) * sizeof *to);
}

/* q, k and v of the normed residual; the chosen rows alone have queries. */
static void attention_inputs(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                             int64_t l) {
    const struct model_config *c = &decoder->config;
    struct layer_activations *a = &run->layers[l];
    const bool chosen = run_chosen(decoder, run, l);
    const int64_t T = batch->T, Q = run_rows(decoder, run, batch, l);
    const struct projection *p = decoder->layers[l].projections;
    struct projection_group group = {.projections = p + PROJECTION_Q, .count = 3};
    for (int i = 0; i < 3; i++) group.dropout[i] = run_dropout(decoder, run, l, (enum projection_kind)i);
    float *const outputs[] = {a->q, a->k, a->v};
    if (chosen) {
        const struct projection_group keys = {p + PROJECTION_K, 2, {group.dropout[1], group.dropout[2]}};
        rows_gather(a->query_in, a->attention_in, run->rows, Q, c->C);
        projection_forward(&p[PROJECTION_Q], a->q, a->query_in, a->xa[PROJECTION_Q], Q, false, group.dropout[0],
                           &run->scratch);
        projections_forward(&keys, outputs + 1, a->attention_in, a->xa[PROJECTION_K], T, false, &run->scratch);
    } else {
        projections_forward(&group, outputs, a->attention_in, a->xa[PROJECTION_Q], T, false, &run->scratch);
    }
    rope_forward(a->q, chosen ? run->row_position : run->position, run->rope_cosines, run->rope_sines, Q, c->H, c->D);
    rope_forward(a->k, run->position, run->rope_cosines, run->rope_sines, T, c->K, c->D);
}

static void attention_block(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                            int64_t l) {
    const struct model_config *c = &decoder->config;
    const struct decoder_layer *layer = &decoder->layers[l];
    struct layer_activations *a = &run->layers[l];
    const bool chosen = run_chosen(decoder, run, l);
    const int64_t Q = run_rows(decoder, run, batch, l);
    rmsnorm_forward(a->attention_in, a->attention_rms, a->x_in, layer->attention_norm.weight.data, batch->T, c->C,
                    c->norm_eps);
    attention_inputs(decoder, run, batch, l);
    const struct attention_shape shape = run_attention_shape(decoder);
    const struct attention_batch queries = run_attention_batch(run, batch, chosen);
    attention_forward(a->attended, a->log_sum, a->q, a->k, a->v, &shape, &queries);
    carry_residual(a->x_mid, a->x_in, chosen ? run->rows : NULL, Q, c->C);
    projection_forward(&layer->projections[PROJECTION_O], a->x_mid, a->attended, a->xa[PROJECTION_O], Q, true,
                       run_dropout(decoder, run, l, PROJECTION_O), &run->scratch);
}

/* The MLP up to the input of its last projection. */
static void mlp_inputs(const struct decoder *decoder, struct decoder_run *run, int64_t l, int64_t Q) {
    const struct model_config *c = &decoder->config;
    const struct decoder_layer *layer = &decoder->layers[l];
    struct layer_activations *a = &run->layers[l];
    rmsnorm_forward(a->mlp_in, a->mlp_rms, a->x_mid, layer->mlp_norm.weight.data, Q, c->C, c->norm_eps);
    const struct projection_group group = {
        layer->projections + PROJECTION_GATE,
        2,
        {run_dropout(decoder, run, l, PROJECTION_GATE), run_dropout(decoder, run, l, PROJECTION_UP)}};
    float *const outputs[] = {a->gate, a->up};
    projections_forward(&group, outputs, a->mlp_in, a->xa[PROJECTION_GATE], Q, false, &run->scratch);
    swiglu_forward(a->act, a->gate, a->up, Q, c->F);
}

static void mlp_block(const struct decoder *decoder, struct decoder_run *run, int64_t l, int64_t Q, float *x_out) {
    struct layer_activations *a = &run->layers[l];
    mlp_inputs(decoder, run, l, Q);
    carry_residual(x_out, a->x_mid, NULL, Q, decoder->config.C);
    projection_forward(&decoder->layers[l].projections[PROJECTION_DOWN], x_out, a->act, a->xa[PROJECTION_DOWN], Q, true,
                       run_dropout(decoder, run, l, PROJECTION_DOWN), &run->scratch);
}

void run_recompute(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch, int64_t l) {
    if (l >= run->first_kept || l == run->shared_layer) return;
    attention_block(decoder, run, batch, l);
    mlp_inputs(decoder, run, l, run_rows(decoder, run, batch, l));
    run->shared_layer = l;
}

void decoder_embed(const struct decoder *decoder, const int32_t *tokens, int64_t T, float *out) {
    embedding_forward(out, &decoder->embedding, tokens, T);
}

/* Embedding, all layers and the final norm; the result is run->final_in [Q, C]. */
static void decoder_body(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                         const int32_t *rows, int64_t Q) {
    const struct model_config *c = &decoder->config;
    locate_tokens(run, batch);
    locate_rows(run, batch, rows, Q);
    if (batch->embedded != NULL)
        memcpy(run->layers[0].x_in, batch->embedded, (size_t)(batch->T * c->C) * sizeof(float));
    else
        decoder_embed(decoder, batch->tokens, batch->T, run->layers[0].x_in);
    for (int64_t l = 0; l < c->L; l++) {
        attention_block(decoder, run, batch, l);
        mlp_block(decoder, run, l, run_rows(decoder, run, batch, l),
                  l == c->L - 1 ? run->x_out : run->layers[l + 1].x_in);
        if (l < run->first_kept) run->shared_layer = l;
    }
    rmsnorm_forward(run->final_in, run->final_rms, run->x_out, decoder->final_norm.weight.data, run->Q, c->C,
                    c->norm_eps);
}

static void head_forward(const struct decoder *decoder, struct decoder_run *run, float *logits) {
    projection_forward(&decoder->head, logits, run->final_in, NULL, run->Q, false, (struct dropout){0}, &run->scratch);
}

const float *decoder_hidden_forward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                                    uint64_t dropout_seed) {
    run->dropout_seed = dropout_seed;
    decoder_body(decoder, run, batch, batch->rows, batch->Q);
    return run->final_in;
}

void decoder_logits(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch, float *logits) {
    run->dropout_seed = 0;
    decoder_body(decoder, run, batch, NULL, 0);
    head_forward(decoder, run, logits);
}

void decoder_classify_forward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                              uint64_t dropout_seed, float *logits) {
    run->dropout_seed = dropout_seed;
    for (int64_t n = 0; n < batch->N; n++) run->rows[n] = batch->offsets[n + 1] - 1;
    decoder_body(decoder, run, batch, run->rows, batch->N);
    head_forward(decoder, run, logits);
}
