/* The small cohort. */
#include "small_cohort.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"
#include "folder.h"
#include "small_run.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static const int codes[SMALL_DRGS] = {189, 291, 470, 871};

static const char *const told[SMALL_DRGS][6] = {
    {"dyspnea", "hypoxia", "oxygen", "bipap", "intubated", "wheeze"},
    {"edema", "furosemide", "diuresis", "orthopnea", "ejection", "congestion"},
    {"knee", "arthroplasty", "prosthesis", "physiotherapy", "hip", "gait"},
    {"fever", "sepsis", "lactate", "cultures", "vancomycin", "pressors"}};

static const char *const common[] = {"patient", "was", "admitted", "with", "and", "improved", "on", "day", "two"};

void small_stays_write(const char *name, int count, uint64_t seed, int shift) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int drg = i % SMALL_DRGS, length = 8 + (int)rng_below(&rng, 9);
        text_printf(&lines, "{\"note_id\": \"%d\", \"subject_id\": \"%d\", \"drg\": %d, \"text\": \"", i, i,
                    codes[(drg + shift) % SMALL_DRGS]);
        for (int w = 0; w < length; w++) {
            text_add(&lines, w == 0 ? "" : " ");
            text_add(&lines, w % 3 == 1 ? told[drg][rng_below(&rng, 6)] : common[rng_below(&rng, 9)]);
        }
        text_add(&lines, ".\"}\n");
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

void small_data_make(void) {
    if (mkdir(folder_path("data"), 0755) != 0) fail_msg("no folder for data");
    small_stays_write("data/train.jsonl", SMALL_STAYS, 1, 0);
    small_stays_write("data/dev.jsonl", SMALL_DEV_STAYS, 2, 0);
    small_stays_write("data/test.jsonl", 40, 3, 0);
    folder_write_text("data/labels.tsv", "# grouper v43\nlabel\tdrg\n0\t189\n1\t291\n2\t470\n3\t871\n");
    small_tokenizer_learn("data", 330, "[\"<|endoftext|>\", \"[PAD]\", \"[CLS]\", \"[SEP]\"]");
}

static const struct small_training steps = {.weight_decay = "0.05", .save_every = "2"};

void small_cohort_make(void) {
    small_data_make();
    small_recipe_write("classify.yaml", "classify", small_decoder, &steps);
}

void small_cohort_lora(void) {
    small_recipe_write("lora.yaml", "classify", small_lora, &steps);
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
