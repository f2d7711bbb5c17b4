/* casemix train --plan foretells the peak resident memory of the run, with and without a bound on it. */
#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include "model/decoder.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { STAYS = 8, WORDS = 130, VOCABULARY = 1000 };

static const char tokenizer_recipe[] = "method: tokenizer\n"
                                       "tokenizer:\n"
                                       "  vocabulary: 330\n"
                                       "  minimum_count: 2\n"
                                       "  special: [\"<|endoftext|>\"]\n";

static const char recipe[] = "method: classify\n"
                             "seed: 1\n"
                             "lora:\n"
                             "  rank: 8\n"
                             "  alpha: 16\n"
                             "  dropout: 0\n"
                             "  targets: [q_proj, k_proj, v_proj, o_proj]\n"
                             "train:\n"
                             "  epochs: 1\n"
                             "  batch_size: 8\n"
                             "  micro_batch_tokens: 1024\n"
                             "  max_tokens: 128\n"
                             "  learning_rate: 1e-4\n"
                             "  schedule: constant\n"
                             "  warmup_share: 0\n"
                             "  weight_decay: 0\n"
                             "  beta1: 0.9\n"
                             "  beta2: 0.98\n"
                             "  epsilon: 1e-8\n"
                             "  max_grad_norm: 1.0\n"
                             "  eval_every: 100\n"
                             "  save_every: 100\n"
                             "  log_every: 1\n"
                             "  save_dtype: f32\n";

static void write_stays(const char *name) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, 3);
    for (int i = 0; i < STAYS; i++) {
        text_printf(&lines, "{\"note_id\": \"%d\", \"drg\": %d, \"text\": \"", i, i % 2 == 0 ? 291 : 470);
        for (int w = 0; w < WORDS; w++) text_printf(&lines, "w%d ", (int)rng_below(&rng, 40));
        text_add(&lines, "\"}\n");
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

/* 27 million weights in 8 layers, stored as bf16. */
static void write_base(void) {
    const struct model_config config = {.architecture = ARCHITECTURE_QWEN2,
                                        .V = VOCABULARY,
                                        .C = 512,
                                        .L = 8,
                                        .H = 8,
                                        .K = 2,
                                        .D = 64,
                                        .F = 1664,
                                        .positions = 512,
                                        .norm_eps = 1e-6f,
                                        .rope_theta = 10000,
                                        .qkv_bias = true,
                                        .tied = true,
                                        .bos_id = -1,
                                        .eos_id = -1,
                                        .pad_id = -1,
                                        .initializer_range = 0.02f};
    struct decoder decoder;
    struct error error = {0};
    mkdir(folder_path("base"), 0755);
    assert_true(decoder_create(&decoder, &config, 7, &error));
    assert_true(model_config_write(&config, folder_path("base"), "bfloat16", NULL, &error));
    assert_true(decoder_write(&decoder, folder_path("base"), DTYPE_BF16, &error));
    decoder_close(&decoder);
    /* The kernel counts this process's own peak as that of a child that shares its memory until it begins: it is
     * forgotten here. */
    FILE *peak = fopen("/proc/self/clear_refs", "w");
    if (peak != NULL) fputs("5", peak);
    if (peak != NULL) fclose(peak);
}

static void prepare(void) {
    struct printed printed = {0};
    mkdir(folder_path("data"), 0755);
    write_stays("data/train.jsonl");
    write_stays("data/dev.jsonl");
    folder_write_text("data/labels.tsv", "# grouper v34\nlabel\tdrg\n0\t291\n1\t470\n");
    folder_write_text("tokenizer.yaml", tokenizer_recipe);
    folder_write_text("train.yaml", recipe);
    command_run(&printed, "train %s --data %s --out %s", folder_path("tokenizer.yaml"), folder_path("data"),
                folder_path("tokenizer"));
    if (printed.status != 0) fail_msg("%s", printed.errors.data);
    printed_free(&printed);
    write_base();
}

static void run_train(struct printed *printed, const char *out, const char *more) {
    command_run(printed, "train %s --data %s --tokenizer %s --model %s --out %s %s", folder_path("train.yaml"),
                folder_path("data"), folder_path("tokenizer"), folder_path("base"), folder_path(out), more);
    if (printed->status != 0) fail_msg("%s", printed->errors.data);
}

static double number_behind(const char *text, const char *name) {
    const char *line = strstr(text, name);
    if (line == NULL) fail_msg("the plan has no \"%s\"", name);
    return line == NULL ? 0 : strtod(line + strlen(name), NULL);
}

/* The peak in MiB that --plan foretells; the layers computed twice. */
static double foretold_peak(const char *out, const char *more, double *twice) {
    struct printed printed = {0};
    char plan[256];
    snprintf(plan, sizeof plan, "%s --plan", more);
    run_train(&printed, out, plan);
    *twice = number_behind(printed.out.data, "layers computed twice");
    const double foretold = number_behind(printed.out.data, "peak resident memory");
    printed_free(&printed);
    return foretold;
}

/* The measured peak in MiB, near the foretold one; the layers computed twice. Runs must come in the order of what they
 * need: the kernel keeps the highest peak of all children. */
static double check_peak(const char *out, const char *more, double *twice) {
    struct printed printed = {0};
    struct rusage usage;
    const double foretold = foretold_peak(out, more, twice);
    run_train(&printed, out, more);
    getrusage(RUSAGE_CHILDREN, &usage);
    const double measured = (double)usage.ru_maxrss / 1024;
    printf("%s: foretold %.1f MiB, measured %.1f MiB, %g layers computed twice\n", out, foretold, measured, *twice);
    /* How much of the libraries' files is resident is the kernel's to choose: some 12 MiB from run to run. */
    if (!(fabs(foretold - measured) <= 0.1 * measured + 12))
        fail_msg("%s: foretold %.1f MiB, measured %.1f MiB", out, foretold, measured);
    printed_free(&printed);
    return measured;
}

static void plans_foretell_the_peak_and_a_bound_is_kept(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    printf("skipped: the sanitizer's own memory hides the program's\n");
    skip();
#endif
    double twice;
    prepare();
    /* A layer more or less is 22 MiB. What is resident differs by some MiB from run to run, so that the bound is put
     * into the middle between two plans: both runs then decide alike. */
    const double bound = foretold_peak("bounded", "--memory 190", &twice) + 11;
    char memory[64];
    snprintf(memory, sizeof memory, "--memory %.0f", bound);
    const double bounded = check_peak("bounded", memory, &twice);
    assert_true(twice > 1 && bounded <= 1.1 * bound);
    const double whole = check_peak("whole", "", &twice);
    assert_true(twice < 1 && whole > bounded * 1.2);
    /* Computing layers twice changes no byte of what is learned. */
    assert_true(
        files_equal(folder_path("bounded/adapter_model.safetensors"), folder_path("whole/adapter_model.safetensors")));
    command_refuses("MiB", "train %s --data %s --tokenizer %s --model %s --out %s --memory 60",
                    folder_path("train.yaml"), folder_path("data"), folder_path("tokenizer"), folder_path("base"),
                    folder_path("refused"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_foretell_the_peak_and_a_bound_is_kept),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
