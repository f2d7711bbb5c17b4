/* Small runs. */
#include "small_run.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

const char small_decoder[] = "model:\n"
                             "  architecture: qwen2\n"
                             "  layers: 2\n"
                             "  width: 32\n"
                             "  heads: 4\n"
                             "  kv_heads: 2\n"
                             "  head_size: 8\n"
                             "  ffn_width: 64\n"
                             "  positions: 128\n"
                             "  rope_theta: 10000\n"
                             "  norm_eps: 1e-6\n";

const char small_bert[] = "bert:\n"
                          "  layers: 2\n"
                          "  width: 32\n"
                          "  heads: 4\n"
                          "  ffn_width: 64\n"
                          "  positions: 64\n"
                          "  dropout: 0.1\n"
                          "  norm_eps: 1e-12\n";

const char small_caml[] = "caml:\n"
                          "  embed_size: 16\n"
                          "  filter_maps: 24\n"
                          "  kernel_size: 3\n"
                          "  dropout: 0.2\n"
                          "  minimum_count: 2\n";

const char small_lora[] = "lora:\n"
                          "  rank: 4\n"
                          "  alpha: 8\n"
                          "  dropout: 0.1\n"
                          "  targets: [q_proj, v_proj, o_proj, down_proj]\n";

static void add_member(struct text *yaml, const char *name, const char *value, const char *otherwise) {
    text_printf(yaml, "  %s: %s\n", name, value == NULL ? otherwise : value);
}

void small_recipe_write(const char *name, const char *method, const char *sections,
                        const struct small_training *training) {
    struct text yaml = {0};
    text_printf(&yaml, "method: %s\nseed: 1\n%strain:\n", method, sections);
    add_member(&yaml, "epochs", training->epochs, "4");
    add_member(&yaml, "batch_size", training->batch_size, "12");
    add_member(&yaml, "micro_batch_tokens", training->micro_batch_tokens, "256");
    add_member(&yaml, "max_tokens", training->max_tokens, "60");
    add_member(&yaml, "learning_rate", training->learning_rate, "5e-3");
    add_member(&yaml, "schedule", training->schedule, "cosine");
    add_member(&yaml, "warmup_share", training->warmup_share, "0.1");
    add_member(&yaml, "weight_decay", training->weight_decay, "0.01");
    add_member(&yaml, "eval_every", training->eval_every, "4");
    add_member(&yaml, "save_every", training->save_every, "3");
    text_add(&yaml, "  min_learning_rate_ratio: 0.1\n"
                    "  beta1: 0.9\n"
                    "  beta2: 0.98\n"
                    "  epsilon: 1e-8\n"
                    "  max_grad_norm: 1.0\n"
                    "  log_every: 1\n"
                    "  save_dtype: f32\n");
    folder_write(name, yaml.data, yaml.length);
    text_free(&yaml);
}

void small_tokenizer_learn(const char *data, int size, const char *special) {
    struct printed printed = {0};
    struct text yaml = {0};
    text_printf(&yaml, "method: tokenizer\ntokenizer:\n  vocabulary: %d\n  minimum_count: 2\n  special: %s\n", size,
                special);
    folder_write("tokenizer.yaml", yaml.data, yaml.length);
    text_free(&yaml);
    command_succeeds(&printed, "train %s --data %s --out %s", folder_path("tokenizer.yaml"), folder_path(data),
                     folder_path("tokenizer"));
    printed_free(&printed);
}

const char *in_run(const char *run, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", run, name);
    return folder_path(path);
}

void assert_same_file(const char *run, const char *other, const char *name) {
    if (!files_equal(in_run(run, name), in_run(other, name))) fail_msg("%s of %s and %s differ", name, run, other);
}
