/* casemix bench: the machine's limits, and what share of them casemix's products, attention and training step reach,
 * measured in one run. */
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/bench_group.h"
#include "cli/bench_peak.h"
#include "cli/bench_report.h"
#include "cli/bench_shape.h"
#include "cli/commands.h"
#include "model/decoder.h"
#include "tensor/attention.h"
#include "tensor/compute.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"
#include "train/optimizer.h"
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_help(void) {
    puts("usage: casemix bench [--shape 0.5b|1.5b|7b [--group] [--compute TYPE]] [--json] [--quick]\n"
         "                     [--threads N]\n\n"
         "Measures in one run: f32, bf16 and int8 peaks and read bandwidth of this machine; every matrix\n"
         "product of a 0.5B model at 512 tokens, attention, and a training step of the shipped model's\n"
         "shape, each as a share of the f32 peak. Run it on an idle machine.\n\n"
         "With --shape, a model of that shape with random weights: forward, LoRA step and decoding in f32,\n"
         "bf16 and int8.\n\n"
         "  --shape S    0.5b, 1.5b (Qwen2.5) or 7b (Llama 2): whole models instead of parts\n"
         "  --group      instead: 8 answers of 300 tokens to one prompt of 1,500, sampled and trained on\n"
         "               together against one by one, and a prompt that is kept against a new one\n"
         "  --compute T  only f32, bf16 or int8 [auto: all that fit into memory; with --group int8]\n"
         "  --json       one JSON object\n"
         "  --quick      fewer repeats, a smaller buffer\n"
         "  --threads N  [all processors]");
}

static void add_peak(struct bench *bench, const char *key, const char *name, double rate, const char *unit) {
    if (bench->json) {
        text_printf(&bench->out, ", \"%s\": %.1f", key, rate / 1e9);
    } else if (rate > 0) {
        text_printf(&bench->out, "  %-44s %8.1f %s\n", name, rate / 1e9, unit);
    } else {
        text_printf(&bench->out, "  %-44s not available in this build or on this processor\n", name);
    }
}

static void bench_machine(struct bench *bench, bool quick) {
    char name[96];
    bench->f32 = peak_f32();
    if (bench->json)
        text_printf(&bench->out, "{\"threads\": %d", threads_count());
    else
        text_printf(&bench->out, "This machine, %d threads\n", threads_count());
    snprintf(name, sizeof name, "f32 peak (%s)", peak_f32_instruction());
    add_peak(bench, "f32_peak_gflops", name, bench->f32, "GFLOP/s");
    bench->int8 = peak_int8();
    bench->read = peak_read((size_t)(quick ? 256 : 1024) << 20);
    add_peak(bench, "bf16_peak_gflops", "bf16 peak (vdpbf16ps, 512 bits)", peak_bf16(), "GFLOP/s");
    add_peak(bench, "int8_peak_gops", "int8 peak (vpdpbusd, 512 bits)", bench->int8, "GOP/s");
    add_peak(bench, "read_gb_per_second", "memory read", bench->read, "GB/s");
    bench_flush(bench);
}

/* A product C = op(A) op(B), repeated. */
struct product {
    bool transpose_a, transpose_b;
    int64_t M, N, K;
    const float *A, *B;
    float *C;
};

static void run_product(void *context) {
    const struct product *p = context;
    gemm(p->transpose_a, p->transpose_b, p->M, p->N, p->K, 1, p->A, p->transpose_a ? p->M : p->K, p->B,
         p->transpose_b ? p->K : p->N, 0, p->C, p->N);
}

static void bench_products(struct bench *bench, float *memory) {
    enum { T = 512 };
    static const struct {
        const char *name;
        int64_t outputs, inputs;
    } layers[] = {{"q, o 896x896", 896, 896},
                  {"k, v 128x896", 128, 896},
                  {"gate, up 4864x896", 4864, 896},
                  {"down 896x4864", 896, 4864}};
    bench_begin(bench, "gemm_512_tokens",
                "Matrix products of a 0.5B model, 512 tokens, f32: rate and share of the f32 peak");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        const int64_t O = layers[i].outputs, I = layers[i].inputs;
        const float *x = memory, *w = memory + 4864 * T;
        float *y = memory + 4864 * T + 4864 * 896;
        struct product products[3] = {
            {false, true, T, O, I, x, w, y}, {false, false, T, I, O, x, w, y}, {true, false, O, I, T, x, x, y}};
        static const char *const kinds[3] = {"forward", "input gradient", "weight gradient"};
        products[2].B = w;
        for (int k = 0; k < 3; k++) {
            char name[96];
            snprintf(name, sizeof name, "%s, %s", layers[i].name, kinds[k]);
            bench_rate(bench, name, 2.0 * T * (double)O * (double)I,
                       time_median(run_product, &products[k], bench->repeats));
        }
    }
    bench_end(bench);
    bench_flush(bench);
}

struct attention_case {
    struct attention_shape shape;
    struct attention_batch batch;
    float *q, *k, *v, *out, *log_sum, *d_out, *d_q, *d_k, *d_v, *delta;
};

static void run_attention_forward(void *context) {
    const struct attention_case *c = context;
    attention_forward(c->out, c->log_sum, c->q, c->k, c->v, &c->shape, &c->batch);
}

static void run_attention_backward(void *context) {
    const struct attention_case *c = context;
    attention_backward(c->d_q, c->d_k, c->d_v, c->d_out, c->out, c->log_sum, c->q, c->k, c->v, &c->shape, &c->batch,
                       c->delta);
}

static void bench_attention(struct bench *bench, float *memory) {
    enum { T = 512, H = 14, K = 2, D = 64 };
    static const int32_t offsets[] = {0, T};
    struct attention_case c = {.shape = {H, K, D, 0.125f}, .batch = {.N = 1, .offsets = offsets}};
    float **const arrays[] = {&c.q, &c.out, &c.d_out, &c.d_q, &c.k, &c.v, &c.d_k, &c.d_v, &c.log_sum, &c.delta};
    for (int i = 0; i < 10; i++) {
        *arrays[i] = memory;
        memory += i < 4 ? T * H * D : i < 8 ? T * K * D : T * H;
    }
    /* Half of the scores are masked and never computed: products over T^2 / 2 pairs. */
    const double pairs = 0.5 * T * T * H * D;
    bench_begin(bench, "attention_512_tokens", "Attention of a 0.5B model, one sequence of 512 tokens");
    bench_rate(bench, "forward", 4 * pairs, time_median(run_attention_forward, &c, bench->repeats));
    bench_rate(bench, "backward", 10 * pairs, time_median(run_attention_backward, &c, bench->repeats));
    bench_end(bench);
    bench_flush(bench);
}

/* A training step of the shipped model's shape on packed notes of the shipped cohort's mean length. */
struct step_case {
    struct decoder decoder;
    struct decoder_run *run;
    struct adamw optimizer;
    struct batch batch;
    int32_t *labels;
    float *logits, *losses;
};

static void run_step(void *context) {
    struct step_case *c = context;
    struct parameters *set = &c->decoder.parameters;
    memset(set->gradients, 0, (size_t)set->total * sizeof *set->gradients);
    decoder_classify_forward(&c->decoder, c->run, &c->batch, 0, c->logits);
    cross_entropy(c->losses, c->logits, c->logits, c->labels, c->batch.N, c->decoder.config.labels,
                  1.0f / (float)c->batch.N);
    decoder_classify_backward(&c->decoder, c->run, &c->batch, c->logits);
    adamw_update(&c->optimizer, set, 1e-4, gradient_norm(set));
}

/* Multiply-adds of the weights, counted as 6 operations a weight and token that passes it (2 forward, 4 backward), and
 * of attention. */
static double step_operations(const struct model_config *c, const struct batch *batch) {
    const double C = (double)c->C, queries = (double)(c->H * c->D), keys = (double)(c->K * c->D), F = (double)c->F;
    const double T = (double)batch->T, N = (double)batch->N, length = T / N;
    const double to_keys = 2 * C * keys, rest = 2 * C * queries + 3 * C * F;
    const double weights =
        ((double)c->L * T * to_keys) + (((double)c->L - 1) * T + N) * rest + N * C * (double)c->labels;
    const double pairs = ((double)c->L - 1) * N * 0.5 * length * length * queries;
    return 6 * weights + 14 * pairs;
}

static bool open_step(struct step_case *c, struct error *error) {
    enum { NOTES = 48, LENGTH = 85 };
    const struct model_config config = {.architecture = ARCHITECTURE_QWEN2,
                                        .classifier = true,
                                        .V = 8000,
                                        .C = 256,
                                        .L = 6,
                                        .H = 4,
                                        .K = 2,
                                        .D = 64,
                                        .F = 704,
                                        .labels = 674,
                                        .positions = 1024,
                                        .norm_eps = 1e-6f,
                                        .rope_theta = 10000,
                                        .qkv_bias = true,
                                        .tied = true,
                                        .bos_id = -1,
                                        .eos_id = -1,
                                        .pad_id = -1,
                                        .initializer_range = 0.02f};
    static int32_t tokens[NOTES * LENGTH], offsets[NOTES + 1], labels[NOTES];
    for (int t = 0; t < NOTES * LENGTH; t++) tokens[t] = t * 7919 % 8000;
    for (int n = 0; n <= NOTES; n++) offsets[n] = n * LENGTH;
    for (int n = 0; n < NOTES; n++) labels[n] = n * 13 % 674;
    c->batch = (struct batch){.T = NOTES * LENGTH, .N = NOTES, .tokens = tokens, .offsets = offsets};
    c->labels = labels;
    c->optimizer = (struct adamw){.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-8, .weight_decay = 0.05, .max_norm = 1};
    c->logits = memory_alloc(NOTES * 674, sizeof(float));
    c->losses = memory_alloc(NOTES, sizeof(float));
    if (c->logits == NULL || c->losses == NULL) return memory_error(error, NOTES * 674 * sizeof(float), "logits");
    return decoder_create(&c->decoder, &config, 1, error) && adamw_open(&c->optimizer, &c->decoder.parameters, error) &&
           decoder_run_open(&c->run, &c->decoder, c->batch.T, c->batch.N, true, error);
}

static bool bench_step(struct bench *bench, struct error *error) {
    struct step_case c = {0};
    const bool opened = open_step(&c, error);
    if (opened) {
        const double seconds = time_median(run_step, &c, bench->repeats),
                     operations = step_operations(&c.decoder.config, &c.batch);
        bench_begin(bench, "training_step",
                    "A training step of the shipped model's shape (6.65 M parameters, 48 notes of 85 tokens)");
        bench_rate(bench, "forward, backward and update", operations, seconds);
        bench_value(bench, "tokens a second", (double)c.batch.T / seconds, "");
        bench_end(bench);
        bench_flush(bench);
    }
    decoder_run_close(c.run);
    adamw_close(&c.optimizer);
    decoder_close(&c.decoder);
    memory_free(c.logits);
    memory_free(c.losses);
    return opened;
}

/* The table that --compute auto chooses from, measured without haste and kept for later runs. */
static void bench_compute(struct bench *bench) {
    struct compute_choice choice;
    compute_measure(&choice, 0);
    bench_begin(bench, "compute", "Ways to multiply 128 rows by a stored weight, and what auto takes of the f32 ones");
    for (int shape = 0; shape < SHAPE_CLASSES; shape++) {
        for (int halves = 0; halves < 2; halves++) {
            for (int way = 0; way < PRODUCT_WAYS; way++) {
                char name[96];
                if (choice.rates[shape][halves][way] <= 0) continue;
                snprintf(name, sizeof name, "%s, %s weights, %s%s", shape_class_name((enum shape_class)shape),
                         halves == 0 ? "f32" : "bf16", product_way_name((enum product_way)way),
                         choice.way[shape][halves] == (enum product_way)way ? " (taken)" : "");
                bench_rate(bench, name, choice.rates[shape][halves][way] * 1e9, 1);
            }
        }
    }
    for (int halves = 0; halves < 2; halves++) {
        for (int rows = 0; rows < 2; rows++) {
            for (int many = 0; many < 2; many++) {
                char name[96];
                const bool taken = (many == 0) == (choice.few_rows[halves] >= (rows == 0 ? 8 : 16));
                snprintf(name, sizeof name, "%d rows, %s weights, %s%s", rows == 0 ? 8 : 16,
                         halves == 0 ? "f32" : "bf16", many == 0 ? "own kernels" : "as many rows",
                         taken ? " (taken)" : "");
                bench_rate(bench, name, choice.few_rates[halves][rows][many] * 1e9, 1);
            }
        }
    }
    bench_end(bench);
    bench_flush(bench);
    if (choice.measured && !compute_keep(&choice)) log_warning("the choice of kernels is not kept: no place for it");
}

static bool run_parts(struct bench *bench, struct error *error) {
    const size_t floats = (size_t)4864 * 512 + 2 * (size_t)4864 * 896;
    float *memory = memory_alloc(floats, sizeof *memory);
    if (memory == NULL) return memory_error(error, floats * sizeof *memory, "the products");
    for (size_t i = 0; i < floats; i++) memory[i] = (float)((int)(i * 2654435761u >> 22 & 1023) - 512) / 4096;
    bench_compute(bench);
    bench_products(bench, memory);
    bench_attention(bench, memory);
    memory_free(memory);
    return bench_step(bench, error);
}

static bool run(struct bench *bench, bool quick, const char *shape, bool group, enum compute_type type,
                struct error *error) {
    bench_machine(bench, quick);
    const bool done = shape == NULL ? run_parts(bench, error)
                      : group       ? bench_group(bench, shape, type, quick, error)
                                    : bench_shape(bench, shape, type, error);
    if (!done) return false;
    if (bench->json) puts("}");
    return true;
}

/* Now and then the kernel leaves both threads of a pair on one processor, and every figure is halved. So each thread is
 * bound to a processor of its own, which the OpenMP runtime does only when it starts: the program starts itself anew.
 * `argv` is main's, one on. */
static void bind_threads(char **argv) {
    if (getenv("OMP_PROC_BIND") == NULL && setenv("OMP_PROC_BIND", "true", 0) == 0) execv("/proc/self/exe", argv - 1);
}

bool command_bench(int argc, char **argv, struct error *error) {
    enum { JSON = 1, QUICK, THREADS, SHAPE, GROUP, COMPUTE, HELP };
    static const struct option names[] = {
        {"json", 0, 0, JSON},   {"quick", 0, 0, QUICK},     {"threads", 1, 0, THREADS}, {"shape", 1, 0, SHAPE},
        {"group", 0, 0, GROUP}, {"compute", 1, 0, COMPUTE}, {"help", 0, 0, HELP},       {0, 0, 0, 0}};
    struct bench bench = {.repeats = 15};
    bool quick = false, group = false;
    const char *shape = NULL;
    enum compute_type type = COMPUTE_AUTO;
    int64_t threads;
    bind_threads(argv);
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case JSON:
            bench.json = true;
            break;
        case QUICK:
            quick = true;
            break;
        case THREADS:
            if (!parse_int64(optarg, &threads) || threads < 1 || threads > 1024)
                return error_usage(error, "--threads takes 1 to 1024, not \"%s\"", optarg);
            threads_set((int)threads);
            break;
        case SHAPE:
            shape = optarg;
            break;
        case GROUP:
            group = true;
            break;
        case COMPUTE:
            if (!compute_parse(optarg, &type, error)) return false;
            break;
        case HELP:
            print_help();
            return true;
        default:
            error_usage(error, "bench: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix bench --help");
        }
    }
    if (optind < argc) return error_usage(error, "bench takes options only");
    if (shape != NULL && !bench_shape_check(shape, error)) return false;
    if (shape == NULL && (group || type != COMPUTE_AUTO))
        return error_usage(error, "bench: %s goes with --shape", group ? "--group" : "--compute");
    if (quick) bench.repeats = 5;
    const bool done = run(&bench, quick, shape, group, type, error);
    text_free(&bench.out);
    return done;
}
