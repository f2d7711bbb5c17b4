/* build/oracle CASE_DIR: runs one case of ../shared/oracle through the real code. Exits 0 only if every named tensor of
 * expected.safetensors (but the debug.* ones) was computed and agrees within the tolerance of case.json. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "model/decoder.h"
#include "model/lm_loss.h"
#include "model/safetensors.h"
#include "oracle_attribution.h"
#include "oracle_encoder.h"
#include "oracle_generate.h"
#include "oracle_policy.h"
#include "tensor/kernels.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct oracle {
    const char *directory;
    struct json *document;
    const json_node *root;
    struct safetensors *expected;
    bool *seen; /* [tensors of expected] */
    size_t compared, failed;
};

static void die(const struct error *error) {
    fprintf(stderr, "oracle: %s\n", error->message);
    exit(1);
}

static void tolerance(const struct oracle *oracle, const char *name, double *relative, double *absolute) {
    const json_node *tolerances = json_member(oracle->root, "tolerances"),
                    *pair = json_first(json_member(tolerances, "default"));
    for (const json_node *rule = json_first(json_member(tolerances, "rules")); rule != NULL; rule = json_next(rule)) {
        const json_node *text = json_first(rule);
        if (strstr(name, json_string(text)) == NULL) continue;
        pair = json_next(text);
        break;
    }
    *relative = json_number(pair);
    *absolute = json_number(json_next(pair));
}

/* ||got - want|| <= rtol ||want|| + atol sqrt(n), all in double. */
static void check(struct oracle *oracle, const char *name, const float *got, int64_t count) {
    const struct stored_tensor *want = safetensors_find(oracle->expected, name);
    if (want == NULL) return; /* not every case names every value */
    double relative, absolute, difference = 0, norm = 0;
    tolerance(oracle, name, &relative, &absolute);
    bool finite = want->elements == count;
    const float *values = want->data;
    for (int64_t i = 0; finite && i < count; i++) {
        const double g = (double)got[i], w = (double)values[i];
        finite = isfinite(g);
        difference += (g - w) * (g - w);
        norm += w * w;
    }
    const double room = relative * sqrt(norm) + absolute * sqrt((double)count);
    const bool agrees = finite && sqrt(difference) <= room;
    for (size_t i = 0; i < safetensors_count(oracle->expected); i++) {
        if (safetensors_at(oracle->expected, i) == want) oracle->seen[i] = true;
    }
    oracle->compared++;
    if (agrees) return;
    oracle->failed++;
    printf("FAIL %s: %lld elements (expected %lld), difference %.3e, allowance %.3e\n", name, (long long)count,
           (long long)want->elements, sqrt(difference), room);
}

static void check_named(struct oracle *oracle, const float *got, int64_t count, const char *format, ...) {
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    check(oracle, name, got, count);
}

/* The lists of inputs.sequences, packed. */
struct packed {
    struct batch batch;
    int32_t *tokens, *offsets;
};

static int32_t integer(const json_node *node) {
    int64_t value = 0;
    struct error error = {0};
    if (!json_integer(node, &value)) {
        error_set(&error, "case.json: expected an integer");
        die(&error);
    }
    return (int32_t)value;
}

static struct packed pack(const json_node *sequences) {
    struct packed packed = {0};
    const size_t N = json_count(sequences);
    size_t T = 0;
    for (const json_node *s = json_first(sequences); s != NULL; s = json_next(s)) T += json_count(s);
    packed.tokens = memory_alloc(T, sizeof *packed.tokens);
    packed.offsets = memory_alloc(N + 1, sizeof *packed.offsets);
    int32_t t = 0, n = 0;
    packed.offsets[0] = 0;
    for (const json_node *s = json_first(sequences); s != NULL; s = json_next(s)) {
        for (const json_node *id = json_first(s); id != NULL; id = json_next(id)) packed.tokens[t++] = integer(id);
        packed.offsets[++n] = t;
    }
    packed.batch = (struct batch){.T = t, .N = n, .tokens = packed.tokens, .offsets = packed.offsets};
    return packed;
}

static void packed_free(struct packed *packed) {
    memory_free(packed->tokens);
    memory_free(packed->offsets);
}

static void open_model(const struct oracle *oracle, struct decoder *decoder, bool train_adapter) {
    struct error error = {0};
    char path[4096];
    path_join(path, sizeof path, oracle->directory, json_string(json_member(oracle->root, "model")));
    if (!decoder_open(decoder, path, &error)) die(&error);
    const char *adapter = json_string(json_member(oracle->root, "adapter"));
    if (adapter == NULL) return;
    path_join(path, sizeof path, oracle->directory, adapter);
    if (!decoder_open_adapter(decoder, path, train_adapter, &error)) die(&error);
}

static struct decoder_run *open_run(const struct decoder *decoder, const struct batch *batch, bool train) {
    struct error error = {0};
    struct decoder_run *run;
    if (!decoder_run_open(&run, decoder, batch->T, batch->N, train, &error)) die(&error);
    if (!batch_check(decoder, run, batch, &error)) die(&error);
    return run;
}

static void run_logits(struct oracle *oracle) {
    struct decoder decoder;
    open_model(oracle, &decoder, false);
    struct packed packed = pack(json_member(json_member(oracle->root, "inputs"), "sequences"));
    const struct batch *batch = &packed.batch;
    struct decoder_run *run = open_run(&decoder, batch, false);
    const int64_t V = decoder.config.V;
    float *logits = memory_alloc((size_t)(batch->T * V), sizeof *logits);
    decoder_logits(&decoder, run, batch, logits);
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t first = batch->offsets[n], length = batch->offsets[n + 1] - first;
        check_named(oracle, logits + first * V, length * V, "logits.%lld", (long long)n);
    }
    memory_free(logits);
    decoder_run_close(run);
    packed_free(&packed);
    decoder_close(&decoder);
}

static int32_t *read_labels(const struct oracle *oracle, const char *name) {
    const json_node *list = json_member(json_member(oracle->root, "inputs"), name);
    int32_t *labels = memory_alloc(json_count(list), sizeof *labels);
    size_t n = 0;
    for (const json_node *label = json_first(list); label != NULL; label = json_next(label))
        labels[n++] = integer(label);
    return labels;
}

static float mean(const float *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i];
    return (float)(sum / (double)count);
}

static void run_classify(struct oracle *oracle) {
    struct decoder decoder;
    open_model(oracle, &decoder, false);
    struct packed packed = pack(json_member(json_member(oracle->root, "inputs"), "sequences"));
    const struct batch *batch = &packed.batch;
    struct decoder_run *run = open_run(&decoder, batch, false);
    const int64_t N = batch->N, labels = decoder.config.labels;
    int32_t *label = read_labels(oracle, "labels");
    float *logits = memory_alloc((size_t)(N * labels), sizeof *logits),
          *losses = memory_alloc((size_t)N, sizeof *losses);
    decoder_classify_forward(&decoder, run, batch, 0, logits);
    cross_entropy(losses, NULL, logits, label, N, labels, 1);
    const float loss = mean(losses, N);
    check(oracle, "logits", logits, N * labels);
    check(oracle, "loss_per_sequence", losses, N);
    check(oracle, "loss", &loss, 1);
    memory_free(logits);
    memory_free(losses);
    memory_free(label);
    decoder_run_close(run);
    packed_free(&packed);
    decoder_close(&decoder);
}

/* What a gradient is taken of: one kind of case fills in what it needs. */
struct objective {
    float (*gradient)(struct objective *objective); /* fills parameters.gradients, gives the loss */
    struct decoder decoder;
    struct decoder_run *run;
    struct packed *packed; /* [count] micro-batches */
    size_t count;
    int32_t *labels, *cc_labels; /* [N] */
    float *logits, *d_logits;    /* [N, labels] */
    float *losses, *cc_losses;   /* [N] */
    int64_t base_classes;        /* two labels: rows of the head for the first; 0: one label */
    float cc_weight, loss_base, loss_cc;
    struct lm_loss lm;
    int32_t **rows, **targets;      /* [count][Q] */
    float *log_p, *coefficients;    /* [largest Q] */
    float *d_hidden;                /* [largest Q, C] */
    float *nll_sums, *target_count; /* [count] */
};

static float classify_gradient(struct objective *o) {
    struct decoder *decoder = &o->decoder;
    const struct batch *batch = &o->packed[0].batch;
    const int64_t N = batch->N, labels = decoder->config.labels;
    memset(decoder->parameters.gradients, 0, (size_t)decoder->parameters.total * sizeof(float));
    decoder_classify_forward(decoder, o->run, batch, 0, o->logits);
    const float share = 1.0f / (float)N;
    float loss;
    if (o->base_classes == 0) {
        cross_entropy(o->losses, o->d_logits, o->logits, o->labels, N, labels, share);
        loss = mean(o->losses, N);
    } else {
        const struct columns base = {0, o->base_classes}, cc = {o->base_classes, labels - o->base_classes};
        cross_entropy_columns(o->losses, o->d_logits, o->logits, o->labels, N, labels, base, share);
        cross_entropy_columns(o->cc_losses, o->d_logits, o->logits, o->cc_labels, N, labels, cc, o->cc_weight * share);
        o->loss_base = mean(o->losses, N);
        o->loss_cc = mean(o->cc_losses, N);
        loss = o->loss_base + o->cc_weight * o->loss_cc;
    }
    decoder_classify_backward(decoder, o->run, batch, o->d_logits);
    return loss;
}

/* Sum of -log p over the targets of all micro-batches, divided by their number. */
static float sft_gradient(struct objective *o) {
    struct decoder *decoder = &o->decoder;
    double all = 0, targets = 0;
    memset(decoder->parameters.gradients, 0, (size_t)decoder->parameters.total * sizeof(float));
    for (size_t m = 0; m < o->count; m++) targets += (double)o->packed[m].batch.Q;
    for (size_t m = 0; m < o->count; m++) {
        const struct batch *batch = &o->packed[m].batch;
        for (int64_t i = 0; i < batch->Q; i++) o->coefficients[i] = (float)(1.0 / targets);
        const float *hidden = decoder_hidden_forward(decoder, o->run, batch, 0);
        const struct lm_rows rows = {batch->Q, hidden, o->targets[m], 1};
        lm_loss_step(&o->lm, decoder, &rows, o->coefficients, o->log_p, NULL, o->d_hidden);
        decoder_hidden_backward(decoder, o->run, batch, o->d_hidden);
        for (int64_t i = 0; i < batch->Q; i++) o->coefficients[i] = 1;
        o->nll_sums[m] = (float)lm_loss_weighted(o->log_p, o->coefficients, batch->Q);
        o->target_count[m] = (float)batch->Q;
        all += (double)o->nll_sums[m];
    }
    return (float)(all / targets);
}

static void check_parameters(struct oracle *oracle, const struct parameters *set, const char *prefix,
                             const float *values) {
    for (size_t i = 0; i < set->count; i++) {
        const struct parameter *item = &set->items[i];
        check_named(oracle, values + item->first, item->rows * item->cols, "%s%s", prefix, item->name);
    }
}

static double hyper(const struct oracle *oracle, const char *name) {
    return json_number(json_member(json_member(oracle->root, "hyper"), name));
}

static struct schedule read_schedule(const struct oracle *oracle) {
    const json_node *settings = json_member(oracle->root, "hyper");
    const char *kind = json_string(json_member(settings, "lr_schedule"));
    struct schedule schedule = {.rate = hyper(oracle, "lr"),
                                .warmup = (int64_t)hyper(oracle, "warmup_steps"),
                                .total = (int64_t)hyper(oracle, "total_steps")};
    schedule.kind = kind != NULL && strcmp(kind, "linear") == 0 ? SCHEDULE_LINEAR : SCHEDULE_COSINE;
    if (schedule.kind == SCHEDULE_COSINE) schedule.min_ratio = hyper(oracle, "min_lr_ratio");
    return schedule;
}

/* Gradient and values at the start, the trajectory of all steps, values at the end. */
static void run_trajectory(struct oracle *oracle, struct objective *o) {
    enum { STEP_LIMIT = 1024 };
    struct decoder *decoder = &o->decoder;
    const int64_t steps = (int64_t)hyper(oracle, "steps");
    float loss[STEP_LIMIT], norm[STEP_LIMIT], rate[STEP_LIMIT];
    const struct schedule schedule = read_schedule(oracle);
    struct adamw optimizer = {.beta1 = hyper(oracle, "beta1"),
                              .beta2 = hyper(oracle, "beta2"),
                              .epsilon = hyper(oracle, "eps"),
                              .weight_decay = hyper(oracle, "weight_decay"),
                              .max_norm = hyper(oracle, "max_grad_norm")};
    struct error error = {0};
    if (!adamw_open(&optimizer, &decoder->parameters, &error)) die(&error);
    const int64_t scores = o->logits == NULL ? 0 : o->packed[0].batch.N * decoder->config.labels;
    for (int64_t step = 0; step < steps && step < STEP_LIMIT; step++) {
        loss[step] = o->gradient(o);
        const double whole = gradient_norm(&decoder->parameters);
        norm[step] = (float)whole;
        rate[step] = (float)schedule_rate(&schedule, step);
        if (step == 0) {
            if (scores > 0) check(oracle, "logits", o->logits, scores);
            check(oracle, "loss", loss, 1);
            if (o->base_classes > 0) check(oracle, "loss_base", &o->loss_base, 1);
            if (o->base_classes > 0) check(oracle, "loss_cc", &o->loss_cc, 1);
            if (o->nll_sums != NULL) check(oracle, "micro.nll_sum", o->nll_sums, (int64_t)o->count);
            if (o->nll_sums != NULL) check(oracle, "micro.tokens", o->target_count, (int64_t)o->count);
            check(oracle, "grad_norm", norm, 1);
            check_parameters(oracle, &decoder->parameters, "grad.", decoder->parameters.gradients);
        }
        adamw_update(&optimizer, &decoder->parameters, schedule_rate(&schedule, step), whole);
    }
    const float after = o->gradient(o);
    check(oracle, "traj.loss", loss, steps);
    check(oracle, "traj.grad_norm", norm, steps);
    check(oracle, "traj.lr", rate, steps);
    check(oracle, "traj.loss_after", &after, 1);
    if (scores > 0) check(oracle, "final_logits", o->logits, scores);
    check_parameters(oracle, &decoder->parameters, "final.", decoder->parameters.values);
    adamw_close(&optimizer);
}

static void run_classify_step(struct oracle *oracle, bool two_labels) {
    struct objective o = {.gradient = classify_gradient, .count = 1};
    open_model(oracle, &o.decoder, true);
    struct packed packed = pack(json_member(json_member(oracle->root, "inputs"), "sequences"));
    o.packed = &packed;
    o.run = open_run(&o.decoder, &packed.batch, true);
    const size_t N = (size_t)packed.batch.N, scores = N * (size_t)o.decoder.config.labels;
    o.labels = read_labels(oracle, two_labels ? "base_labels" : "labels");
    if (two_labels) {
        o.cc_labels = read_labels(oracle, "cc_labels");
        o.base_classes = (int64_t)hyper(oracle, "n_base");
        o.cc_weight = (float)hyper(oracle, "cc_weight");
    }
    o.logits = memory_alloc(scores, sizeof *o.logits);
    o.d_logits = memory_alloc(scores, sizeof *o.d_logits);
    o.losses = memory_alloc(N, sizeof *o.losses);
    o.cc_losses = memory_alloc(N, sizeof *o.cc_losses);
    run_trajectory(oracle, &o);
    float *const owned[] = {o.logits, o.d_logits, o.losses, o.cc_losses};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
    memory_free(o.labels);
    memory_free(o.cc_labels);
    decoder_run_close(o.run);
    packed_free(&packed);
    decoder_close(&o.decoder);
}

/* One micro-batch of prompts and completions: the tokens, the rows that predict completion tokens, and those tokens. */
static struct packed pack_completions(const json_node *pairs, int32_t **rows, int32_t **targets) {
    struct packed packed = {0};
    size_t T = 0, Q = 0;
    for (const json_node *pair = json_first(pairs); pair != NULL; pair = json_next(pair)) {
        T += json_count(json_member(pair, "prompt")) + json_count(json_member(pair, "completion"));
        Q += json_count(json_member(pair, "completion"));
    }
    packed.tokens = memory_alloc(T, sizeof *packed.tokens);
    packed.offsets = memory_alloc(json_count(pairs) + 1, sizeof *packed.offsets);
    *rows = memory_alloc(Q, sizeof **rows);
    *targets = memory_alloc(Q, sizeof **targets);
    int32_t t = 0, n = 0, q = 0;
    packed.offsets[0] = 0;
    for (const json_node *pair = json_first(pairs); pair != NULL; pair = json_next(pair)) {
        for (const json_node *id = json_first(json_member(pair, "prompt")); id != NULL; id = json_next(id))
            packed.tokens[t++] = integer(id);
        for (const json_node *id = json_first(json_member(pair, "completion")); id != NULL; id = json_next(id)) {
            (*rows)[q] = t - 1;
            (*targets)[q++] = integer(id);
            packed.tokens[t++] = integer(id);
        }
        packed.offsets[++n] = t;
    }
    packed.batch =
        (struct batch){.T = t, .N = n, .tokens = packed.tokens, .offsets = packed.offsets, .rows = *rows, .Q = q};
    return packed;
}

/* Room for the largest of the micro-batches. */
static void open_sft_run(struct objective *o) {
    struct error error = {0};
    struct run_plan plan = {.train = true};
    for (size_t m = 0; m < o->count; m++) {
        const struct batch *batch = &o->packed[m].batch;
        if (batch->T > plan.T) plan.T = batch->T;
        if (batch->N > plan.N) plan.N = batch->N;
        if (batch->Q > plan.rows) plan.rows = batch->Q;
    }
    if (!decoder_run_plan(&plan, &o->decoder, 0, &error) ||
        !decoder_run_open_planned(&o->run, &o->decoder, &plan, &error) ||
        !lm_loss_open(&o->lm, &o->decoder, plan.rows, &error))
        die(&error);
    for (size_t m = 0; m < o->count; m++) {
        if (!batch_check(&o->decoder, o->run, &o->packed[m].batch, &error)) die(&error);
    }
    o->log_p = memory_alloc((size_t)plan.rows, sizeof *o->log_p);
    o->coefficients = memory_alloc((size_t)plan.rows, sizeof *o->coefficients);
    o->d_hidden = memory_alloc((size_t)(plan.rows * o->decoder.config.C), sizeof *o->d_hidden);
}

static void run_sft_step(struct oracle *oracle, bool lora) {
    struct objective o = {.gradient = sft_gradient};
    struct error error = {0};
    open_model(oracle, &o.decoder, lora);
    if (!lora && !decoder_train_all(&o.decoder, &error)) die(&error);
    const json_node *micro_batches = json_member(json_member(oracle->root, "inputs"), "micro_batches");
    o.count = json_count(micro_batches);
    o.packed = memory_zero(o.count, sizeof *o.packed);
    o.rows = memory_zero(o.count, sizeof *o.rows);
    o.targets = memory_zero(o.count, sizeof *o.targets);
    o.nll_sums = memory_zero(o.count, sizeof *o.nll_sums);
    o.target_count = memory_zero(o.count, sizeof *o.target_count);
    size_t m = 0;
    for (const json_node *pairs = json_first(micro_batches); pairs != NULL; pairs = json_next(pairs), m++)
        o.packed[m] = pack_completions(pairs, &o.rows[m], &o.targets[m]);
    open_sft_run(&o);
    run_trajectory(oracle, &o);
    for (m = 0; m < o.count; m++) {
        packed_free(&o.packed[m]);
        memory_free(o.rows[m]);
        memory_free(o.targets[m]);
    }
    void *const owned[] = {o.packed,       o.rows,  o.targets,      o.nll_sums,
                           o.target_count, o.log_p, o.coefficients, o.d_hidden};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
    lm_loss_close(&o.lm);
    decoder_run_close(o.run);
    decoder_close(&o.decoder);
}

static void check_reported(void *oracle, const char *name, const float *got, int64_t count) {
    check(oracle, name, got, count);
}

static void run_generate(struct oracle *oracle) {
    struct decoder decoder;
    open_model(oracle, &decoder, false);
    oracle_generate(&decoder, oracle->root, check_reported, oracle);
    decoder_close(&decoder);
}

static void run_attribution(struct oracle *oracle) {
    struct decoder decoder;
    open_model(oracle, &decoder, false);
    struct packed packed = pack(json_member(json_member(oracle->root, "inputs"), "sequences"));
    oracle_attribution(&decoder, &packed.batch, check_reported, oracle);
    packed_free(&packed);
    decoder_close(&decoder);
}

/* GRPO or DPO of the adapter. */
static void run_policy(struct oracle *oracle, bool grpo) {
    const struct oracle_report report = {check_reported, oracle};
    struct decoder decoder;
    open_model(oracle, &decoder, true);
    (grpo ? oracle_grpo : oracle_dpo)(&decoder, oracle->root, &report);
    decoder_close(&decoder);
}

static void run_case(struct oracle *oracle) {
    const struct oracle_report report = {check_reported, oracle};
    const char *kind = json_string(json_member(oracle->root, "kind"));
    if (kind == NULL) kind = "";
    if (strcmp(kind, "logits") == 0) {
        run_logits(oracle);
    } else if (strcmp(kind, "classify") == 0) {
        run_classify(oracle);
    } else if (strcmp(kind, "classify_step") == 0) {
        run_classify_step(oracle, false);
    } else if (strcmp(kind, "two_label_step") == 0) {
        run_classify_step(oracle, true);
    } else if (strcmp(kind, "sft_step") == 0) {
        run_sft_step(oracle, false);
    } else if (strcmp(kind, "sft_lora_step") == 0) {
        run_sft_step(oracle, true);
    } else if (strcmp(kind, "generate") == 0) {
        run_generate(oracle);
    } else if (strcmp(kind, "attribution") == 0) {
        run_attribution(oracle);
    } else if (strcmp(kind, "grpo_step") == 0) {
        run_policy(oracle, true);
    } else if (strcmp(kind, "dpo_step") == 0) {
        run_policy(oracle, false);
    } else if (!oracle_encoder_run(kind, oracle->directory, oracle->root, &report)) {
        struct error error = {0};
        error_set(&error, "%s: casemix does not compute cases of kind \"%s\"", oracle->directory, kind);
        die(&error);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: oracle CASE_DIR\n", stderr);
        return 2;
    }
    struct oracle oracle = {.directory = argv[1]};
    struct error error = {0};
    char path[4096];
    path_join(path, sizeof path, argv[1], "case.json");
    if (!json_load(&oracle.document, path, (size_t)64 << 20, &error)) die(&error);
    oracle.root = json_root(oracle.document);
    path_join(path, sizeof path, argv[1], json_string(json_member(oracle.root, "expected")));
    if (!safetensors_open(&oracle.expected, path, &error)) die(&error);
    oracle.seen = memory_zero(safetensors_count(oracle.expected), sizeof *oracle.seen);
    run_case(&oracle);
    for (size_t i = 0; i < safetensors_count(oracle.expected); i++) {
        const char *name = safetensors_at(oracle.expected, i)->name;
        if (oracle.seen[i] || strncmp(name, "debug.", 6) == 0) continue;
        printf("MISSING %s\n", name);
        oracle.failed++;
    }
    printf("%s: %zu compared, %zu bad\n", json_string(json_member(oracle.root, "name")), oracle.compared,
           oracle.failed);
    memory_free(oracle.seen);
    safetensors_close(oracle.expected);
    json_free(oracle.document);
    return oracle.failed > 0 || oracle.compared == 0;
}
