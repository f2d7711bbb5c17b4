/* The small cohort. */
#include "small_cohort.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DRGS = 4 };

static const int codes[DRGS] = {189, 291, 470, 871};

static const char *const told[DRGS][6] = {{"dyspnea", "hypoxia", "oxygen", "bipap", "intubated", "wheeze"},
                                          {"edema", "furosemide", "diuresis", "orthopnea", "ejection", "congestion"},
                                          {"knee", "arthroplasty", "prosthesis", "physiotherapy", "hip", "gait"},
                                          {"fever", "sepsis", "lactate", "cultures", "vancomycin", "pressors"}};

static const char *const common[] = {"patient", "was", "admitted", "with", "and", "improved", "on", "day", "two"};

/* Notes of words that tell the DRG among words that do not. */
static void write_stays(const char *name, int count, uint64_t seed) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int drg = i % DRGS, length = 8 + (int)rng_below(&rng, 9);
        text_printf(&lines, "{\"note_id\": \"%d\", \"subject_id\": \"%d\", \"drg\": %d, \"text\": \"", i, i,
                    codes[drg]);
        for (int w = 0; w < length; w++) {
            text_add(&lines, w == 0 ? "" : " ");
            text_add(&lines, w % 3 == 1 ? told[drg][rng_below(&rng, 6)] : common[rng_below(&rng, 9)]);
        }
        text_add(&lines, ".\"}\n");
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

static const char model_section[] = "model:\n"
                                    "  architecture: qwen2\n"
                                    "  layers: 2\n"
                                    "  width: 32\n"
                                    "  heads: 4\n"
                                    "  kv_heads: 2\n"
                                    "  head_size: 8\n"
                                    "  ffn_width: 64\n"
                                    "  positions: 64\n"
                                    "  rope_theta: 10000\n"
                                    "  norm_eps: 1e-6\n";

static const char lora_section[] = "lora:\n"
                                   "  rank: 4\n"
                                   "  alpha: 8\n"
                                   "  dropout: 0\n"
                                   "  targets: [q_proj, v_proj, down_proj]\n";

static const char train_section[] = "method: classify\n"
                                    "seed: 1\n"
                                    "train:\n"
                                    "  epochs: 4\n"
                                    "  batch_size: 12\n"
                                    "  micro_batch_tokens: 256\n"
                                    "  max_tokens: 60\n"
                                    "  learning_rate: 5e-3\n"
                                    "  schedule: cosine\n"
                                    "  min_learning_rate_ratio: 0.1\n"
                                    "  warmup_share: 0.1\n"
                                    "  weight_decay: 0.05\n"
                                    "  beta1: 0.9\n"
                                    "  beta2: 0.98\n"
                                    "  epsilon: 1e-8\n"
                                    "  max_grad_norm: 1.0\n"
                                    "  eval_every: 4\n"
                                    "  save_every: 2\n"
                                    "  log_every: 1\n"
                                    "  save_dtype: f32\n";

static void write_recipe(const char *name, const char *section) {
    char yaml[4096];
    snprintf(yaml, sizeof yaml, "%s%s", train_section, section);
    folder_write_text(name, yaml);
}

int small_cohort_make(void) {
    struct printed printed = {0};
    if (mkdir(folder_path("data"), 0755) != 0) return 1;
    write_stays("data/train.jsonl", SMALL_STAYS, 1);
    write_stays("data/dev.jsonl", 12, 2);
    write_stays("data/test.jsonl", 40, 3);
    folder_write_text("data/labels.tsv", "# grouper v43\nlabel\tdrg\n0\t189\n1\t291\n2\t470\n3\t871\n");
    folder_write_text("tokenizer.yaml", "method: tokenizer\ntokenizer:\n  vocabulary: 330\n  minimum_count: 2\n"
                                        "  special: [\"<|endoftext|>\"]\n");
    write_recipe("classify.yaml", model_section);
    command_run(&printed, "train %s --data %s --out %s", folder_path("tokenizer.yaml"), folder_path("data"),
                folder_path("tokenizer"));
    const int status = printed.status;
    if (status != 0) fprintf(stderr, "%s\n", printed.errors.data);
    printed_free(&printed);
    return status;
}

void small_cohort_lora(void) {
    write_recipe("lora.yaml", lora_section);
}

const char *small_cohort_options(void) {
    static char options[2048];
    snprintf(options, sizeof options, "--data %s --tokenizer %s --threads 1", folder_path("data"),
             folder_path("tokenizer"));
    return options;
}

static bool add_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    static const char *const of_the_clock[] = {"seconds", "seconds_left", "finish", "tokens_per_second"};
    struct text *out = context;
    (void)line;
    (void)error;
    for (const json_node *member = json_first(root); member != NULL; member = json_next(member)) {
        bool clock = false;
        for (size_t i = 0; i < 4; i++) clock = clock || strcmp(json_name(member), of_the_clock[i]) == 0;
        if (!clock) text_printf(out, "%s %.17g ", json_name(member), json_number(member));
    }
    text_add_char(out, '\n');
    return true;
}

bool logs_agree(const char *a, const char *b) {
    struct text lines[2] = {{0}, {0}};
    struct error error = {0};
    const bool read = json_lines(a, add_line, &lines[0], &error) && json_lines(b, add_line, &lines[1], &error);
    const bool agree =
        read && lines[0].data != NULL && lines[1].data != NULL && strcmp(lines[0].data, lines[1].data) == 0;
    text_free(&lines[0]);
    text_free(&lines[1]);
    return agree;
}
