/* Recipes and what they set in motion: reading them, overriding them, the learning rate of every step, and AdamW. */
#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"
#include "folder.h"
#include "train/recipe.h"
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char classifier[] = "# a comment\n"
                                 "method: classify\n"
                                 "model:\n"
                                 "  architecture: llama\n"
                                 "  layers: 2\n"
                                 "  width: 32\n"
                                 "  heads: 4\n"
                                 "  kv_heads: 2\n"
                                 "  head_size: 8\n"
                                 "  ffn_width: 64\n"
                                 "  positions: 128\n"
                                 "  rope_theta: 10000\n"
                                 "  norm_eps: 1e-6\n"
                                 "\n"
                                 "train:\n"
                                 "  epochs: 1.5\n"
                                 "  batch_size: 12 # stays\n"
                                 "  micro_batch_tokens: 256\n"
                                 "  max_tokens: 64\n"
                                 "  learning_rate: 1e-2\n"
                                 "  schedule: linear\n"
                                 "  warmup_share: 0.1\n"
                                 "  weight_decay: 0.05\n"
                                 "  beta1: 0.9\n"
                                 "  beta2: 0.98\n"
                                 "  epsilon: 1e-8\n"
                                 "  max_grad_norm: 1.0\n"
                                 "  eval_every: 5\n"
                                 "  save_every: 6\n"
                                 "  log_every: 1\n"
                                 "  save_dtype: bf16\n";

static const char lora[] = "lora:\n"
                           "  rank: 4\n"
                           "  alpha: 8\n"
                           "  dropout: 0.1\n"
                           "  targets: [q_proj, down_proj]\n";

static const char tokenizer[] = "method: tokenizer\n"
                                "tokenizer:\n"
                                "  vocabulary: 300\n"
                                "  minimum_count: 2\n"
                                "  special: [\"<|endoftext|>\", \"<|pad|>\"]\n";

/* A loaded recipe with the text it was parsed from. */
struct loaded {
    struct recipe *recipe;
    struct text text;
};

static bool load(struct loaded *loaded, const char *yaml, const char *override, struct error *error) {
    *loaded = (struct loaded){0};
    return recipe_load(&loaded->recipe, &loaded->text, folder_write_text("recipe.yaml", yaml), &override,
                       override != NULL, error);
}

static void release(struct loaded *loaded) {
    recipe_free(loaded->recipe);
    text_free(&loaded->text);
}

static struct loaded must_load(const char *yaml, const char *override) {
    struct loaded loaded;
    struct error error = {0};
    if (!load(&loaded, yaml, override, &error)) fail_msg("%s", error.message);
    return loaded;
}

/* The recipe is refused, and the message names `part`. */
static void refuse(const char *yaml, const char *override, const char *part) {
    struct loaded loaded;
    struct error error = {0};
    const bool taken = load(&loaded, yaml, override, &error);
    release(&loaded);
    if (taken) fail_msg("%s was taken", override == NULL ? yaml : override);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not name \"%s\"", error.message, part);
}

/* `yaml` with its line that begins with `line` replaced. */
static const char *with_line(const char *yaml, const char *line, const char *replacement) {
    static char changed[4096];
    const char *start = strstr(yaml, line);
    assert_non_null(start);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(start - yaml), yaml, replacement,
             start + strcspn(start, "\n") + 1);
    return changed;
}

static const char *joined(const char *first, const char *second) {
    static char both[4096];
    snprintf(both, sizeof both, "%s%s", first, second);
    return both;
}

static const char *without_model(void) {
    static char shorter[2048];
    const char *model = strstr(classifier, "model:"), *train = strstr(classifier, "train:");
    snprintf(shorter, sizeof shorter, "%.*s%s", (int)(model - classifier), classifier, train);
    return shorter;
}

static void every_setting_of_a_recipe_is_read(void **state) {
    (void)state;
    struct loaded loaded = must_load(classifier, "seed=42");
    const struct recipe *recipe = loaded.recipe;
    const struct recipe_model *m = recipe->model;
    const struct recipe_train *t = recipe->train;
    assert_int_equal(recipe->method, METHOD_CLASSIFY);
    assert_int_equal(recipe->seed, 42);
    assert_string_equal(m->architecture, "llama");
    assert_int_equal(m->layers, 2);
    assert_int_equal(m->width, 32);
    assert_int_equal(m->heads, 4);
    assert_int_equal(m->kv_heads, 2);
    assert_int_equal(m->head_size, 8);
    assert_int_equal(m->ffn_width, 64);
    assert_int_equal(m->positions, 128);
    assert_true(m->rope_theta == 10000.0 && m->norm_eps == 1e-6);
    assert_true(t->epochs == 1.5 && t->learning_rate == 1e-2 && t->warmup_share == 0.1 && t->weight_decay == 0.05);
    assert_true(t->beta1 == 0.9 && t->beta2 == 0.98 && t->epsilon == 1e-8 && t->max_grad_norm == 1.0);
    assert_int_equal(t->batch_size, 12);
    assert_int_equal(t->micro_batch_tokens, 256);
    assert_int_equal(t->max_tokens, 64);
    assert_int_equal(t->schedule, SCHEDULE_LINEAR);
    assert_int_equal(t->eval_every, 5);
    assert_int_equal(t->save_every, 6);
    assert_int_equal(t->log_every, 1);
    assert_int_equal(t->save_dtype, DTYPE_BF16);
    release(&loaded);
}

static void what_a_recipe_leaves_out_is_off(void **state) {
    (void)state;
    struct loaded loaded = must_load(classifier, NULL);
    assert_int_equal(loaded.recipe->seed, 0);
    assert_true(loaded.recipe->train->min_learning_rate_ratio == 0.0);
    assert_int_equal(loaded.recipe->train->patience, 0);
    assert_null(loaded.recipe->lora);
    assert_null(loaded.recipe->tokenizer);
    release(&loaded);
    loaded = must_load(joined(without_model(), lora), NULL);
    assert_null(loaded.recipe->model);
    assert_false(loaded.recipe->lora->rank_stable);
    assert_int_equal(loaded.recipe->lora->rank, 4);
    assert_true(loaded.recipe->lora->alpha == 8.0 && loaded.recipe->lora->dropout == 0.1);
    assert_int_equal(loaded.recipe->lora->targets_count, 2);
    assert_string_equal(loaded.recipe->lora->targets[1], "down_proj");
    release(&loaded);
}

static void a_tokenizer_recipe_is_read(void **state) {
    (void)state;
    struct loaded loaded = must_load(tokenizer, NULL);
    assert_int_equal(loaded.recipe->method, METHOD_TOKENIZER);
    assert_int_equal(loaded.recipe->tokenizer->vocabulary, 300);
    assert_int_equal(loaded.recipe->tokenizer->minimum_count, 2);
    assert_int_equal(loaded.recipe->tokenizer->special_count, 2);
    assert_string_equal(loaded.recipe->tokenizer->special[0], "<|endoftext|>");
    assert_null(loaded.recipe->train);
    release(&loaded);
    refuse(tokenizer, "tokenizer.vocabulary=255", "tokenizer.vocabulary");
    refuse(tokenizer, "tokenizer.minimum_count=0", "tokenizer.minimum_count");
    refuse("method: tokenizer\n", NULL, "tokenizer");
}

/* How many recipes were seen, and of which methods. */
static int recipes_seen, methods_seen[METHOD_GRPO + 1];

/* Sections that would be read by nothing, or that are missing. */
static void check_sections(const struct recipe *recipe, const char *path) {
    const enum method method = recipe->method;
    const bool classifies =
        method == METHOD_CLASSIFY || method == METHOD_TWO_LABEL || method == METHOD_BERT || method == METHOD_CAML;
    if ((recipe->tokenizer != NULL) != (method == METHOD_TOKENIZER)) fail_msg("%s: tokenizer", path);
    if ((recipe->train != NULL) != (method != METHOD_TOKENIZER)) fail_msg("%s: train", path);
    if (recipe->objective != NULL && !classifies) fail_msg("%s: an objective that %d does not read", path, (int)method);
    if (recipe->train != NULL && recipe->train->truncate != TRUNCATE_HEAD && !classifies)
        fail_msg("%s: train.truncate goes with classifiers", path);
    if (method == METHOD_SFT && recipe->sft == NULL) fail_msg("%s: its sft section is missing", path);
    if (method != METHOD_GRPO) return;
    const struct recipe_grpo *grpo = recipe->grpo;
    if (recipe->train->max_tokens <= grpo->max_tokens) fail_msg("%s: no room for a prompt", path);
    if (grpo->resampling != RESAMPLING_NONE && grpo->resampling_temperatures_count == 0)
        fail_msg("%s: resampling without temperatures", path);
    if (grpo->loss_length > 0 && grpo->loss != GRPO_LOSS_DR_GRPO) fail_msg("%s: loss_length is not read", path);
}

/* Each recipe says how it is run, by the path where it stands. */
static void check_command(const struct text *text, const char *path) {
    char command[512];
    snprintf(command, sizeof command, "casemix train %s ", path);
    if (memmem(text->data, text->length, command, strlen(command)) == NULL)
        fail_msg("%s does not hold its command \"%s…\"", path, command);
}

static int check_recipe_file(const char *path, const struct stat *status, int type, struct FTW *place) {
    const size_t length = strlen(path);
    (void)status, (void)place;
    if (type != FTW_F || length < 5 || strcmp(path + length - 5, ".yaml") != 0) return 0;
    struct loaded loaded = {0};
    struct error error = {0};
    if (!recipe_load(&loaded.recipe, &loaded.text, path, NULL, 0, &error)) fail_msg("%s", error.message);
    check_sections(loaded.recipe, path);
    check_command(&loaded.text, path);
    recipes_seen++;
    methods_seen[loaded.recipe->method]++;
    release(&loaded);
    return 0;
}

static void every_recipe_of_the_repository_loads_and_is_consistent(void **state) {
    (void)state;
    assert_int_equal(nftw("recipes", check_recipe_file, 8, FTW_PHYS), 0);
    assert_true(recipes_seen > 90);
    assert_true(methods_seen[METHOD_TWO_LABEL] > 0 && methods_seen[METHOD_CAML] > 0 && methods_seen[METHOD_SFT] > 0 &&
                methods_seen[METHOD_DPO] > 0 && methods_seen[METHOD_GRPO] > 0);
}

static void unknown_keys_are_refused_by_name(void **state) {
    (void)state;
    refuse(joined(classifier, "colour: red\n"), NULL, "colour");
    refuse(joined(classifier, "  dropout: 0.1\n"), NULL, "dropout");
    refuse(with_line(classifier, "  layers", "  layer: 2\n"), NULL, "layer");
    refuse(joined(classifier, "seed: 1\nseed: 2\n"), NULL, "seed");
}

static void missing_keys_and_sections_are_refused_by_name(void **state) {
    (void)state;
    refuse(with_line(classifier, "  learning_rate", ""), NULL, "learning_rate");
    refuse(with_line(classifier, "  architecture", ""), NULL, "architecture");
    refuse("method: classify\n", NULL, "train");
    refuse(joined(classifier, lora), NULL, "lora");
    refuse("", NULL, "empty");
}

static void wrong_types_are_refused_by_name(void **state) {
    (void)state;
    refuse(with_line(classifier, "  layers", "  layers: two\n"), NULL, "layers");
    refuse(with_line(classifier, "  learning_rate", "  learning_rate: [1e-3]\n"), NULL, "learning_rate");
    refuse(with_line(classifier, "  learning_rate", "  learning_rate: {is: 1}\n"), NULL, "learning_rate");
    refuse(with_line(classifier, "  schedule", "  schedule: spiral\n"), NULL, "schedule");
    refuse(with_line(classifier, "  save_dtype", "  save_dtype: f64\n"), NULL, "save_dtype");
    refuse(with_line(classifier, "method", "method: dance\n"), NULL, "method");
    refuse(with_line(without_model(), "method", "method: classify\nmodel: 3\n"), NULL, "model");
    refuse("- method\n- classify\n", NULL, "MAPPING");
}

static void values_out_of_range_are_refused_by_name(void **state) {
    (void)state;
    static const char *const train[] = {"train.epochs=0",
                                        "train.batch_size=0",
                                        "train.micro_batch_tokens=-1",
                                        "train.max_tokens=0",
                                        "train.learning_rate=-0.1",
                                        "train.beta1=1",
                                        "train.beta2=1",
                                        "train.warmup_share=1.5",
                                        "train.weight_decay=-1",
                                        "train.epsilon=0",
                                        "train.max_grad_norm=-1",
                                        "train.eval_every=0",
                                        "train.save_every=0",
                                        "train.log_every=0",
                                        "train.patience=-1",
                                        "train.min_learning_rate_ratio=2",
                                        "train.learning_rate=nan",
                                        "train.epochs=inf",
                                        "model.architecture=gpt",
                                        "model.layers=0",
                                        "model.width=0",
                                        "model.heads=0",
                                        "model.kv_heads=3",
                                        "model.kv_heads=8",
                                        "model.head_size=7",
                                        "model.ffn_width=0",
                                        "model.positions=0",
                                        "model.rope_theta=0",
                                        "model.norm_eps=0",
                                        "seed=-1",
                                        "train.batch_size=99999999999999999999"};
    for (size_t i = 0; i < sizeof train / sizeof train[0]; i++) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(train[i], "="), train[i]);
        /* A number that no integer holds is refused while the file is read, where the section is told apart from the
         * key. */
        refuse(classifier, train[i], strstr(train[i], "9999") != NULL ? "batch_size" : key);
    }

    const char *adapter = joined(without_model(), lora);
    refuse(adapter, "lora.rank=0", "lora.rank");
    refuse(adapter, "lora.alpha=-1", "lora.alpha");
    refuse(adapter, "lora.dropout=1", "lora.dropout");
}

static const char bert[] =
    "bert:\n  layers: 2\n  width: 32\n  heads: 4\n  ffn_width: 64\n  positions: 128\n  dropout: 0.1\n"
    "  norm_eps: 1e-12\n";

static const char caml[] = "caml:\n  embed_size: 20\n  filter_maps: 30\n  kernel_size: 5\n  dropout: 0.3\n"
                           "  minimum_count: 3\n";

/* The classifier's recipe without its model, for another method and with another section. */
static const char *baseline(const char *method, const char *section) {
    static char yaml[4096];
    char line[64], plain[2048];
    snprintf(plain, sizeof plain, "%s", without_model());
    snprintf(line, sizeof line, "method: %s\n", method);
    snprintf(yaml, sizeof yaml, "%s%s", with_line(plain, "method", line), section);
    return yaml;
}

static void the_sections_of_bert_and_caml_are_read_and_held_to_their_ranges(void **state) {
    (void)state;
    static const char *const wrong_bert[] = {"bert.layers=0",  "bert.width=0",     "bert.width=33",
                                             "bert.heads=0",   "bert.ffn_width=0", "bert.positions=2",
                                             "bert.dropout=1", "bert.norm_eps=0",  "bert.heads=3"};
    static const char *const wrong_caml[] = {"caml.embed_size=0",    "caml.filter_maps=0", "caml.kernel_size=0",
                                             "caml.kernel_size=257", "caml.dropout=-0.1",  "caml.minimum_count=0"};
    struct loaded loaded = must_load(baseline("bert", bert), NULL);
    assert_int_equal(loaded.recipe->method, METHOD_BERT);
    assert_int_equal(loaded.recipe->bert->ffn_width, 64);
    assert_null(loaded.recipe->caml);
    release(&loaded);
    loaded = must_load(baseline("bert", ""), NULL); /* tunes a model that is opened */
    assert_null(loaded.recipe->bert);
    release(&loaded);
    loaded = must_load(baseline("caml", caml), NULL);
    assert_int_equal(loaded.recipe->method, METHOD_CAML);
    assert_int_equal(loaded.recipe->caml->minimum_count, 3);
    release(&loaded);
    for (size_t i = 0; i < sizeof wrong_bert / sizeof wrong_bert[0]; i++)
        refuse(baseline("bert", bert), wrong_bert[i], "bert.");
    for (size_t i = 0; i < sizeof wrong_caml / sizeof wrong_caml[0]; i++)
        refuse(baseline("caml", caml), wrong_caml[i], "caml.");
}

static void a_section_of_another_method_is_refused(void **state) {
    (void)state;
    refuse(baseline("caml", ""), NULL, "method caml needs a section \"caml\"");
    refuse(baseline("caml", bert), NULL, "\"bert\" goes with method bert, not with method caml");
    refuse(baseline("bert", caml), NULL, "\"caml\" goes with method caml, not with method bert");
    refuse(joined(classifier, caml), NULL, "\"caml\" goes with method caml, not with method classify");
    refuse(baseline("bert", lora), NULL, "\"lora\" and \"model\" go with a decoder, not with method bert");
    refuse("method: bert\n", NULL, "needs a section \"train\"");
}

static void an_override_changes_its_key_and_stands_in_the_record(void **state) {
    (void)state;
    struct loaded loaded = must_load(classifier, "train.batch_size=7");
    assert_int_equal(loaded.recipe->train->batch_size, 7);
    assert_int_equal(loaded.recipe->train->max_tokens, 64);
    assert_non_null(strstr(loaded.text.data, "batch_size: 7\n"));
    assert_null(strstr(loaded.text.data, "batch_size: 12"));
    release(&loaded);
    loaded = must_load(classifier, "train.patience=3"); /* a key that the file leaves out */
    assert_int_equal(loaded.recipe->train->patience, 3);
    release(&loaded);
    loaded = must_load(joined(without_model(), lora), "lora.rank_stable=true");
    assert_true(loaded.recipe->lora->rank_stable);
    release(&loaded);
}

static void the_last_of_several_overrides_wins(void **state) {
    (void)state;
    static const char *const overrides[] = {"seed=5", "train.epochs=2", "seed=6"};
    struct loaded loaded = {0};
    struct error error = {0};
    assert_true(
        recipe_load(&loaded.recipe, &loaded.text, folder_write_text("recipe.yaml", classifier), overrides, 3, &error));
    assert_int_equal(loaded.recipe->seed, 6);
    assert_true(loaded.recipe->train->epochs == 2.0);
    release(&loaded);
}

static void bad_overrides_are_refused_by_name(void **state) {
    (void)state;
    refuse(classifier, "train.colour=3", "colour");
    refuse(classifier, "colour=3", "colour");
    refuse(classifier, "paint.colour=3", "paint");
    refuse(classifier, "train.learning_rate=fast", "learning_rate");
    refuse(classifier, "train.learning_rate=", "learning_rate");
    refuse(classifier, "train.save_every=[1, 2]", "save_every");
    refuse(classifier, "train=5", "train");
    refuse(classifier, "seed=one", "seed");
    refuse(classifier, "lora.rank=4", "alpha"); /* a section with the rest of its keys missing */
    static const char *const syntax[] = {"train.learning_rate", "=3", "seed=1\nmethod: tokenizer"};
    for (size_t i = 0; i < sizeof syntax / sizeof syntax[0]; i++) {
        struct loaded loaded;
        struct error error = {0};
        assert_false(load(&loaded, classifier, syntax[i], &error));
        assert_true(error.usage);
        assert_non_null(strstr(error.message, "--set"));
        release(&loaded);
    }
}

static void assert_near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%.17g, expected %.17g", found, expected);
}

/* Rate 2, four steps of warm-up, twelve in all: after the warm-up a step is an eighth of the way. */
static struct schedule twelve_steps(enum schedule_kind kind) {
    return (struct schedule){.kind = kind, .rate = 2, .min_ratio = 0.1, .warmup = 4, .total = 12};
}

static void warm_up_rises_from_nothing_to_the_full_rate(void **state) {
    (void)state;
    for (int kind = SCHEDULE_CONSTANT; kind <= SCHEDULE_COSINE; kind++) {
        const struct schedule schedule = twelve_steps((enum schedule_kind)kind);
        for (int step = 0; step <= 4; step++) assert_near(schedule_rate(&schedule, step), 0.5 * step, 1e-15);
        const struct schedule cold = {.kind = (enum schedule_kind)kind, .rate = 2, .min_ratio = 0.1, .total = 12};
        assert_near(schedule_rate(&cold, 0), 2, 1e-15);
    }
}

static void a_constant_rate_stays(void **state) {
    (void)state;
    const struct schedule schedule = twelve_steps(SCHEDULE_CONSTANT);
    assert_near(schedule_rate(&schedule, 8), 2, 0);
    assert_near(schedule_rate(&schedule, 11), 2, 0);
}

static void a_linear_rate_falls_to_nothing(void **state) {
    (void)state;
    const struct schedule schedule = twelve_steps(SCHEDULE_LINEAR);
    assert_near(schedule_rate(&schedule, 5), 1.75, 1e-15);
    assert_near(schedule_rate(&schedule, 8), 1, 1e-15);
    assert_near(schedule_rate(&schedule, 11), 0.25, 1e-15);
    assert_near(schedule_rate(&schedule, 12), 0, 1e-15);
    assert_near(schedule_rate(&schedule, 50), 0, 1e-15);
}

/* 2 (0.1 + 0.9 (1 + cos) / 2) with cos(pi/4) = 0.7071067811865476, cos(pi/2) = 0, cos(7 pi/8) = -0.9238795325112867. */
static void a_cosine_rate_falls_to_its_share(void **state) {
    (void)state;
    const struct schedule schedule = twelve_steps(SCHEDULE_COSINE);
    assert_near(schedule_rate(&schedule, 6), 1.7363961030678928, 1e-14);
    assert_near(schedule_rate(&schedule, 8), 1.1, 1e-14);
    assert_near(schedule_rate(&schedule, 11), 0.26850842073984194, 1e-14);
    assert_near(schedule_rate(&schedule, 12), 0.2, 1e-14);
    assert_near(schedule_rate(&schedule, 50), 0.2, 1e-14);
}

enum { ROWS = 3, COLS = 5, BIASES = 7, STEPS = 3 };

/* Two tensors with values and, for step k, gradients that depend on the place alone. */
static void open_parameters(struct parameters *set, struct adamw *optimizer) {
    struct error error = {0};
    size_t index;
    *set = (struct parameters){0};
    assert_true(parameters_declare(set, "weight", ROWS, COLS, false, &index, &error));
    assert_true(parameters_declare(set, "bias", 1, BIASES, true, &index, &error));
    assert_true(parameters_allocate(set, &error));
    for (size_t p = 0; p < set->count; p++) {
        for (int64_t i = 0; i < set->items[p].rows * set->items[p].cols; i++) {
            parameter_value(set, p)[i] = (float)sin((double)(10 * p) + (double)i) + 0.25f;
        }
    }
    assert_true(adamw_open(optimizer, set, &error));
}

static float gradient_of(size_t p, int64_t i, int step) {
    return (float)(cos((double)(5 * p) + 1.7 * (double)i) * (step == 1 ? 3.0 : 0.02));
}

static void set_gradients(const struct parameters *set, int step) {
    for (size_t p = 0; p < set->count; p++) {
        for (int64_t i = 0; i < set->items[p].rows * set->items[p].cols; i++) {
            parameter_gradient(set, p)[i] = gradient_of(p, i, step);
        }
    }
}

static void close_parameters(struct parameters *set, struct adamw *optimizer) {
    adamw_close(optimizer);
    parameters_free(set);
}

/* By hand: with bias correction m^ = g and v^ = g^2, so that p = 1 becomes (1 - 0.1 0.5) 1 - 0.1 g / (|g| + 0.01). */
static void the_first_step_of_adamw_is_decay_and_one_rate_in_the_gradients_direction(void **state) {
    (void)state;
    struct parameters set;
    struct adamw optimizer = {.beta1 = 0.9, .beta2 = 0.98, .epsilon = 0.01, .weight_decay = 0.5};
    open_parameters(&set, &optimizer);
    parameter_value(&set, 0)[0] = parameter_value(&set, 0)[1] = parameter_value(&set, 0)[2] = 1;
    parameter_gradient(&set, 0)[0] = 0.99f;
    parameter_gradient(&set, 0)[1] = -0.04f;
    adamw_update(&optimizer, &set, 0.1, gradient_norm(&set));
    assert_near((double)parameter_value(&set, 0)[0], 0.95 - 0.1 * 0.99, 1e-6);
    assert_near((double)parameter_value(&set, 0)[1], 0.95 + 0.1 * 0.8, 1e-6);
    assert_near((double)parameter_value(&set, 0)[2], 0.95, 1e-6);
    assert_int_equal(optimizer.step, 1);
    close_parameters(&set, &optimizer);
}

/* AdamW in double precision as Loshchilov and Hutter write it, with decay applied first. `values`, `m` and `v` belong
 * to one element. */
struct element {
    double value, m, v;
};

static void reference_update(struct element *e, const struct adamw *settings, double gradient, double rate, double norm,
                             int t) {
    const double g = gradient * fmin(1, settings->max_norm / (norm + 1e-6));
    e->value -= rate * settings->weight_decay * e->value;
    e->m = settings->beta1 * e->m + (1 - settings->beta1) * g;
    e->v = settings->beta2 * e->v + (1 - settings->beta2) * g * g;
    const double m_hat = e->m / (1 - pow(settings->beta1, t)), v_hat = e->v / (1 - pow(settings->beta2, t));
    e->value -= rate * m_hat / (sqrt(v_hat) + settings->epsilon);
}

static void adamw_agrees_with_double_precision_over_steps_of_which_one_is_clipped(void **state) {
    (void)state;
    static const double rates[STEPS] = {0.01, 0.03, 0.02};
    struct parameters set;
    struct adamw optimizer = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .max_norm = 1};
    struct element elements[2][ROWS * COLS] = {0};
    open_parameters(&set, &optimizer);
    for (size_t p = 0; p < set.count; p++) {
        for (int64_t i = 0; i < set.items[p].rows * set.items[p].cols; i++) {
            elements[p][i].value = (double)parameter_value(&set, p)[i];
        }
    }
    for (int step = 0; step < STEPS; step++) {
        double squares = 0;
        set_gradients(&set, step);
        for (size_t p = 0; p < set.count; p++) {
            for (int64_t i = 0; i < set.items[p].rows * set.items[p].cols; i++) {
                squares += (double)gradient_of(p, i, step) * (double)gradient_of(p, i, step);
            }
        }
        assert_near(gradient_norm(&set), sqrt(squares), 1e-12);
        assert_int_equal(sqrt(squares) > optimizer.max_norm, step == 1);
        adamw_update(&optimizer, &set, rates[step], gradient_norm(&set));
        for (size_t p = 0; p < set.count; p++) {
            for (int64_t i = 0; i < set.items[p].rows * set.items[p].cols; i++) {
                reference_update(&elements[p][i], &optimizer, (double)gradient_of(p, i, step), rates[step],
                                 sqrt(squares), step + 1);
                assert_near((double)parameter_value(&set, p)[i], elements[p][i].value, 1e-6);
            }
        }
    }
    close_parameters(&set, &optimizer);
}

static void without_a_largest_norm_nothing_is_clipped(void **state) {
    (void)state;
    struct parameters set;
    struct adamw optimizer = {.beta1 = 0.5, .beta2 = 0.5, .epsilon = 1e-8};
    open_parameters(&set, &optimizer);
    set_gradients(&set, 1);
    adamw_update(&optimizer, &set, 0.1, gradient_norm(&set));
    assert_near((double)optimizer.m[0], 0.5 * (double)gradient_of(0, 0, 1), 1e-6);
    close_parameters(&set, &optimizer);
}

/* Three pieces of the sum, the last one short. */
static void the_gradient_norm_is_the_same_for_any_number_of_threads(void **state) {
    (void)state;
    struct parameters set = {0};
    struct error error = {0};
    struct rng rng;
    size_t index;
    const int threads = threads_count();
    double squares = 0;
    assert_true(parameters_declare(&set, "weight", 40, 1001, false, &index, &error) &&
                parameters_allocate(&set, &error));
    rng_seed(&rng, 5);
    for (int64_t i = 0; i < 40 * 1001; i++) {
        set.gradients[i] = (float)rng_normal(&rng);
        squares += (double)set.gradients[i] * (double)set.gradients[i];
    }
    threads_set(1);
    const double alone = gradient_norm(&set);
    threads_set(3);
    const double together = gradient_norm(&set);
    threads_set(threads);
    assert_memory_equal(&alone, &together, sizeof alone);
    assert_near(alone, sqrt(squares), 1e-9);
    parameters_free(&set);
}

/* strtod and strtoll stop at the first byte they do not know: "1,5" must not become 1, nor "2.5" stays a batch of 2. */
static void numbers_with_something_behind_them_are_refused_by_name(void **state) {
    (void)state;
    refuse(classifier, "train.learning_rate=1e-3x", "learning_rate");
    refuse(classifier, "train.learning_rate=1,5", "learning_rate");
    refuse(classifier, "train.batch_size=2.5", "batch_size");
    refuse(with_line(classifier, "  layers", "  layers: 2x\n"), NULL, "layers");
    refuse(tokenizer, "tokenizer.vocabulary=3e2", "vocabulary");
}

static void a_recipe_of_comments_alone_is_refused(void **state) {
    (void)state;
    refuse("# method: classify\n", NULL, "recipe.yaml");
}

static void an_override_fits_the_indentation_of_the_file(void **state) {
    (void)state;
    static const char wide[] = "method: tokenizer\ntokenizer:\n    vocabulary: 300\n    minimum_count: 2\n";
    struct loaded loaded = must_load(wide, "tokenizer.minimum_count=4");
    assert_int_equal(loaded.recipe->tokenizer->minimum_count, 4);
    release(&loaded);
    loaded = must_load(wide, "tokenizer.special=[\"<|pad|>\"]");
    assert_int_equal(loaded.recipe->tokenizer->special_count, 1);
    release(&loaded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_of_a_recipe_is_read),
        cmocka_unit_test(what_a_recipe_leaves_out_is_off),
        cmocka_unit_test(a_tokenizer_recipe_is_read),
        cmocka_unit_test(every_recipe_of_the_repository_loads_and_is_consistent),
        cmocka_unit_test(unknown_keys_are_refused_by_name),
        cmocka_unit_test(missing_keys_and_sections_are_refused_by_name),
        cmocka_unit_test(wrong_types_are_refused_by_name),
        cmocka_unit_test(values_out_of_range_are_refused_by_name),
        cmocka_unit_test(the_sections_of_bert_and_caml_are_read_and_held_to_their_ranges),
        cmocka_unit_test(a_section_of_another_method_is_refused),
        cmocka_unit_test(an_override_changes_its_key_and_stands_in_the_record),
        cmocka_unit_test(the_last_of_several_overrides_wins),
        cmocka_unit_test(bad_overrides_are_refused_by_name),
        cmocka_unit_test(warm_up_rises_from_nothing_to_the_full_rate),
        cmocka_unit_test(a_constant_rate_stays),
        cmocka_unit_test(a_linear_rate_falls_to_nothing),
        cmocka_unit_test(a_cosine_rate_falls_to_its_share),
        cmocka_unit_test(the_first_step_of_adamw_is_decay_and_one_rate_in_the_gradients_direction),
        cmocka_unit_test(adamw_agrees_with_double_precision_over_steps_of_which_one_is_clipped),
        cmocka_unit_test(without_a_largest_norm_nothing_is_clipped),
        cmocka_unit_test(the_gradient_norm_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(numbers_with_something_behind_them_are_refused_by_name),
        cmocka_unit_test(a_recipe_of_comments_alone_is_refused),
        cmocka_unit_test(an_override_fits_the_indentation_of_the_file),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
