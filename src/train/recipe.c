/* Recipes through libcyaml: the schema says what a recipe may hold; ranges are checked after it. */
#include "train/recipe.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/recipe_lm_schema.h"
#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const cyaml_strval_t methods[] = {{"classify", METHOD_CLASSIFY},
                                         {"two_label", METHOD_TWO_LABEL},
                                         {"tokenizer", METHOD_TOKENIZER},
                                         {"bert", METHOD_BERT},
                                         {"caml", METHOD_CAML},
                                         {"linear", METHOD_LINEAR},
                                         {"lm", METHOD_LM},
                                         {"sft", METHOD_SFT},
                                         {"dpo", METHOD_DPO},
                                         {"grpo", METHOD_GRPO}};
static const cyaml_strval_t losses[] = {{"cross_entropy", LOSS_CROSS_ENTROPY},
                                        {"class_balanced", LOSS_CLASS_BALANCED},
                                        {"logit_adjusted", LOSS_LOGIT_ADJUSTED}};
static const cyaml_strval_t truncations[] = {{"head", TRUNCATE_HEAD},
                                             {"tail", TRUNCATE_TAIL},
                                             {"head_tail", TRUNCATE_HEAD_TAIL},
                                             {"sections", TRUNCATE_SECTIONS}};
static const cyaml_strval_t schedules[] = {
    {"constant", SCHEDULE_CONSTANT}, {"linear", SCHEDULE_LINEAR}, {"cosine", SCHEDULE_COSINE}};
static const cyaml_strval_t dtypes[] = {{"f32", DTYPE_F32}, {"f16", DTYPE_F16}, {"bf16", DTYPE_BF16}};

static const cyaml_schema_value_t string_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 256)};

#define NUMBER(name, type) CYAML_FIELD_FLOAT(#name, CYAML_FLAG_DEFAULT, type, name)
#define INTEGER(name, type) CYAML_FIELD_INT(#name, CYAML_FLAG_DEFAULT, type, name)

static const cyaml_schema_field_t model_fields[] = {
    CYAML_FIELD_STRING_PTR("architecture", CYAML_FLAG_POINTER, struct recipe_model, architecture, 1, 32),
    INTEGER(layers, struct recipe_model),
    INTEGER(width, struct recipe_model),
    INTEGER(heads, struct recipe_model),
    INTEGER(kv_heads, struct recipe_model),
    INTEGER(head_size, struct recipe_model),
    INTEGER(ffn_width, struct recipe_model),
    INTEGER(positions, struct recipe_model),
    NUMBER(rope_theta, struct recipe_model),
    NUMBER(norm_eps, struct recipe_model),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t bert_fields[] = {
    INTEGER(layers, struct recipe_bert),    INTEGER(width, struct recipe_bert),
    INTEGER(heads, struct recipe_bert),     INTEGER(ffn_width, struct recipe_bert),
    INTEGER(positions, struct recipe_bert), NUMBER(dropout, struct recipe_bert),
    NUMBER(norm_eps, struct recipe_bert),   CYAML_FIELD_END,
};

static const cyaml_schema_field_t caml_fields[] = {
    INTEGER(embed_size, struct recipe_caml),    INTEGER(filter_maps, struct recipe_caml),
    INTEGER(kernel_size, struct recipe_caml),   NUMBER(dropout, struct recipe_caml),
    INTEGER(minimum_count, struct recipe_caml), CYAML_FIELD_END,
};

static const cyaml_schema_field_t linear_fields[] = {
    INTEGER(pair_buckets, struct recipe_linear),
    INTEGER(minimum_count, struct recipe_linear),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t lora_fields[] = {
    INTEGER(rank, struct recipe_lora),
    NUMBER(alpha, struct recipe_lora),
    NUMBER(dropout, struct recipe_lora),
    CYAML_FIELD_BOOL("rank_stable", CYAML_FLAG_OPTIONAL, struct recipe_lora, rank_stable),
    CYAML_FIELD_SEQUENCE("targets", CYAML_FLAG_POINTER, struct recipe_lora, targets, &string_value, 1, PROJECTIONS),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t objective_fields[] = {
    CYAML_FIELD_ENUM("loss", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, struct recipe_objective, loss, losses,
                     CYAML_ARRAY_LEN(losses)),
    CYAML_FIELD_FLOAT_PTR("beta", CYAML_FLAG_OPTIONAL, struct recipe_objective, beta),
    CYAML_FIELD_FLOAT_PTR("tau", CYAML_FLAG_OPTIONAL, struct recipe_objective, tau),
    CYAML_FIELD_FLOAT_PTR("cc_weight", CYAML_FLAG_OPTIONAL, struct recipe_objective, cc_weight),
    CYAML_FIELD_FLOAT("label_smoothing", CYAML_FLAG_OPTIONAL, struct recipe_objective, label_smoothing),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t train_fields[] = {
    NUMBER(epochs, struct recipe_train),
    INTEGER(batch_size, struct recipe_train),
    INTEGER(micro_batch_tokens, struct recipe_train),
    INTEGER(max_tokens, struct recipe_train),
    CYAML_FIELD_ENUM("truncate", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, struct recipe_train, truncate, truncations,
                     CYAML_ARRAY_LEN(truncations)),
    CYAML_FIELD_FLOAT_PTR("head_share", CYAML_FLAG_OPTIONAL, struct recipe_train, head_share),
    CYAML_FIELD_BOOL("whole_note", CYAML_FLAG_OPTIONAL, struct recipe_train, whole_note),
    NUMBER(learning_rate, struct recipe_train),
    CYAML_FIELD_ENUM("schedule", CYAML_FLAG_STRICT, struct recipe_train, schedule, schedules,
                     CYAML_ARRAY_LEN(schedules)),
    CYAML_FIELD_FLOAT("min_learning_rate_ratio", CYAML_FLAG_OPTIONAL, struct recipe_train, min_learning_rate_ratio),
    NUMBER(warmup_share, struct recipe_train),
    NUMBER(weight_decay, struct recipe_train),
    NUMBER(beta1, struct recipe_train),
    NUMBER(beta2, struct recipe_train),
    NUMBER(epsilon, struct recipe_train),
    NUMBER(max_grad_norm, struct recipe_train),
    INTEGER(eval_every, struct recipe_train),
    INTEGER(save_every, struct recipe_train),
    INTEGER(log_every, struct recipe_train),
    CYAML_FIELD_INT("patience", CYAML_FLAG_OPTIONAL, struct recipe_train, patience),
    CYAML_FIELD_ENUM("save_dtype", CYAML_FLAG_STRICT, struct recipe_train, save_dtype, dtypes, CYAML_ARRAY_LEN(dtypes)),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tokenizer_fields[] = {
    INTEGER(vocabulary, struct recipe_tokenizer),
    INTEGER(minimum_count, struct recipe_tokenizer),
    CYAML_FIELD_SEQUENCE("special", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_tokenizer, special,
                         &string_value, 0, 1024),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t recipe_fields[] = {
    CYAML_FIELD_ENUM("method", CYAML_FLAG_STRICT, struct recipe, method, methods, CYAML_ARRAY_LEN(methods)),
    CYAML_FIELD_INT("seed", CYAML_FLAG_OPTIONAL, struct recipe, seed),
    CYAML_FIELD_MAPPING_PTR("model", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, model, model_fields),
    CYAML_FIELD_MAPPING_PTR("bert", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, bert, bert_fields),
    CYAML_FIELD_MAPPING_PTR("caml", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, caml, caml_fields),
    CYAML_FIELD_MAPPING_PTR("linear", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, linear, linear_fields),
    CYAML_FIELD_MAPPING_PTR("lora", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, lora, lora_fields),
    CYAML_FIELD_MAPPING_PTR("objective", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, objective,
                            objective_fields),
    CYAML_FIELD_MAPPING_PTR("train", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, train, train_fields),
    CYAML_FIELD_MAPPING_PTR("tokenizer", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, tokenizer,
                            tokenizer_fields),
    CYAML_FIELD_MAPPING_PTR("sft", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, sft, recipe_sft_fields),
    CYAML_FIELD_MAPPING_PTR("dpo", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, dpo, recipe_dpo_fields),
    CYAML_FIELD_MAPPING_PTR("grpo", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, grpo, recipe_grpo_fields),
    CYAML_FIELD_MAPPING_PTR("reward", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe, reward,
                            recipe_reward_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t recipe_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct recipe, recipe_fields)};

/* libcyaml tells the cause first and then the place, line by line: both go into one message. */
static void collect_message(cyaml_log_t level, void *context, const char *format, va_list arguments) {
    struct text *message = context;
    char line[512];
    (void)level;
    vsnprintf(line, sizeof line, format, arguments);
    const char *from = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    if (strncmp(from, "Backtrace:", 10) == 0 || message->length > 400) return;
    while (*from == ' ') from++;
    text_add(message, message->length > 0 ? "; " : "");
    text_append(message, from, strcspn(from, "\n"));
}

static cyaml_config_t yaml_config(struct text *message) {
    return (cyaml_config_t){
        .log_fn = collect_message, .log_ctx = message, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
}

/* A line of block YAML: its length with the line feed, its indentation, and whether it holds anything but blanks and a
 * comment. */
struct yaml_line {
    const char *bytes;
    size_t length, indent;
    bool content;
};

static struct yaml_line line_at(const struct text *text, size_t at) {
    struct yaml_line line = {.bytes = text->data + at};
    const char *feed = memchr(line.bytes, '\n', text->length - at);
    line.length = feed == NULL ? text->length - at : (size_t)(feed - line.bytes) + 1;
    while (line.indent < line.length && line.bytes[line.indent] == ' ') line.indent++;
    line.content = line.indent < line.length && strchr("#\n\r", line.bytes[line.indent]) == NULL;
    return line;
}

static bool gives_key(const struct yaml_line *line, const char *key, size_t length) {
    return line->length > line->indent + length && memcmp(line->bytes + line->indent, key, length) == 0 &&
           line->bytes[line->indent + length] == ':';
}

/* Where a key of a section ("" for the top level) stands or would go. */
struct key_place {
    size_t start, end; /* of its line; equal where the key is new; start is SIZE_MAX if the section is missing too */
    size_t indent;     /* of the keys of this section */
};

static struct key_place find_key(const struct text *text, const char *section, size_t section_length, const char *key) {
    struct key_place place = {SIZE_MAX, SIZE_MAX, section_length == 0 ? 0 : 2};
    bool inside = section_length == 0, first = true;
    if (inside) place.start = place.end = 0;
    for (size_t at = 0; at < text->length;) {
        const struct yaml_line line = line_at(text, at);
        at += line.length;
        if (!line.content) continue;
        if (line.indent == 0 && section_length > 0) {
            inside = gives_key(&line, section, section_length);
            if (inside) place.start = place.end = at;
            continue;
        }
        if (!inside || (line.indent > 0) != (section_length > 0)) continue;
        if (first) place.indent = line.indent;
        first = false;
        if (gives_key(&line, key, strlen(key))) return (struct key_place){at - line.length, at, line.indent};
    }
    return place;
}

/* "train.learning_rate=3e-4": the line of that key is replaced, or a new one added to its section. */
static bool apply_override(struct text *text, const char *override, struct error *error) {
    const char *equals = strchr(override, '=');
    if (equals == NULL || equals == override) {
        error_usage(error, "--set %s: expected key=value", override);
        return error_hint(error, "for example --set train.learning_rate=3e-4");
    }
    char key[128];
    const size_t length = (size_t)(equals - override);
    if (length >= sizeof key || strchr(equals, '\n') != NULL)
        return error_usage(error, "--set %s: no valid key", override);
    memcpy(key, override, length);
    key[length] = '\0';
    const char *dot = strchr(key, '.'), *name = dot == NULL ? key : dot + 1;
    const size_t section_length = dot == NULL ? 0 : (size_t)(dot - key);
    const struct key_place place = find_key(text, key, section_length, name);
    struct text changed = {0};
    if (place.start == SIZE_MAX) {
        text_append(&changed, text->data, text->length);
        text_printf(&changed, "\n%.*s:\n  %s: %s\n", (int)section_length, key, name, equals + 1);
    } else {
        text_append(&changed, text->data, place.start);
        text_printf(&changed, "%*s%s: %s\n", (int)place.indent, "", name, equals + 1);
        text_append(&changed, text->data + place.end, text->length - place.end);
    }
    text_free(text);
    *text = changed;
    return text_ok(text, error);
}

static bool in_range(const char *name, double value, double low, double high, struct error *error) {
    return (value >= low && value <= high) || error_set(error, "%s is %g, expected %g to %g", name, value, low, high);
}

static bool check_train(const struct recipe_train *t, struct error *error) {
    const double most = 1e9;
    return in_range("train.epochs", t->epochs, 1e-6, 1e6, error) &&
           in_range("train.batch_size", (double)t->batch_size, 1, 1 << 20, error) &&
           in_range("train.micro_batch_tokens", (double)t->micro_batch_tokens, 1, 1 << 24, error) &&
           in_range("train.max_tokens", (double)t->max_tokens, 1, 1 << 24, error) &&
           in_range("train.learning_rate", t->learning_rate, 0, 10, error) &&
           in_range("train.min_learning_rate_ratio", t->min_learning_rate_ratio, 0, 1, error) &&
           in_range("train.warmup_share", t->warmup_share, 0, 1, error) &&
           in_range("train.weight_decay", t->weight_decay, 0, 10, error) &&
           in_range("train.beta1", t->beta1, 0, 0.99999, error) &&
           in_range("train.beta2", t->beta2, 0, 0.999999, error) &&
           in_range("train.epsilon", t->epsilon, 1e-20, 1, error) &&
           in_range("train.max_grad_norm", t->max_grad_norm, 0, 1e6, error) &&
           in_range("train.eval_every", (double)t->eval_every, 1, most, error) &&
           in_range("train.save_every", (double)t->save_every, 1, most, error) &&
           in_range("train.log_every", (double)t->log_every, 1, most, error) &&
           in_range("train.patience", (double)t->patience, 0, most, error) &&
           in_range("train.head_share", recipe_window(t).head_share, 0, 1, error) &&
           (t->head_share == NULL || t->truncate == TRUNCATE_HEAD_TAIL ||
            error_set(error, "train.head_share goes with truncate: head_tail"));
}

/* A number that nothing would read is refused: whoever wrote it meant something. */
static bool check_objective(const struct recipe *recipe, struct error *error) {
    const struct recipe_objective *o = recipe->objective;
    const struct objective_settings all = recipe_objective(recipe);
    if (o == NULL) return true;
    if (o->beta != NULL && o->loss != LOSS_CLASS_BALANCED)
        return error_set(error, "objective.beta goes with loss: class_balanced");
    if (o->tau != NULL && o->loss != LOSS_LOGIT_ADJUSTED)
        return error_set(error, "objective.tau goes with loss: logit_adjusted");
    if (o->cc_weight != NULL && recipe->method != METHOD_TWO_LABEL)
        return error_set(error, "objective.cc_weight goes with method two_label");
    return in_range("objective.beta", all.beta, 0, 0.9999999, error) &&
           in_range("objective.tau", all.tau, 0, 100, error) &&
           in_range("objective.cc_weight", all.cc_weight, 0, 1000, error) &&
           in_range("objective.label_smoothing", all.label_smoothing, 0, 0.99, error);
}

static bool check_model(const struct recipe_model *m, struct error *error) {
    if (strcmp(m->architecture, "qwen2") != 0 && strcmp(m->architecture, "llama") != 0) {
        return error_set(error, "model.architecture is \"%s\", expected qwen2 or llama", m->architecture);
    }
    return in_range("model.layers", (double)m->layers, 1, 1024, error) &&
           in_range("model.width", (double)m->width, 1, 1 << 16, error) &&
           in_range("model.heads", (double)m->heads, 1, 1024, error) &&
           in_range("model.kv_heads", (double)m->kv_heads, 1, (double)m->heads, error) &&
           in_range("model.head_size", (double)m->head_size, 2, 256, error) &&
           in_range("model.ffn_width", (double)m->ffn_width, 1, 1 << 18, error) &&
           in_range("model.positions", (double)m->positions, 1, 1 << 24, error) &&
           in_range("model.rope_theta", m->rope_theta, 1, 1e12, error) &&
           in_range("model.norm_eps", m->norm_eps, 1e-12, 1, error) &&
           (m->heads % m->kv_heads == 0 || error_set(error, "model.heads is not a multiple of model.kv_heads")) &&
           (m->head_size % 2 == 0 || error_set(error, "model.head_size is odd"));
}

static bool check_bert(const struct recipe_bert *b, struct error *error) {
    return in_range("bert.layers", (double)b->layers, 1, 1024, error) &&
           in_range("bert.width", (double)b->width, 1, 1 << 16, error) &&
           in_range("bert.heads", (double)b->heads, 1, 1024, error) &&
           in_range("bert.ffn_width", (double)b->ffn_width, 1, 1 << 18, error) &&
           in_range("bert.positions", (double)b->positions, 3, 1 << 20, error) &&
           in_range("bert.dropout", b->dropout, 0, 0.99, error) &&
           in_range("bert.norm_eps", b->norm_eps, 1e-14, 1, error) &&
           (b->width % b->heads == 0 || error_set(error, "bert.width is not a multiple of bert.heads")) &&
           in_range("bert.width / bert.heads", (double)(b->width / b->heads), 1, 256, error);
}

static bool check_caml(const struct recipe_caml *c, struct error *error) {
    return in_range("caml.embed_size", (double)c->embed_size, 1, 1 << 16, error) &&
           in_range("caml.filter_maps", (double)c->filter_maps, 1, 1 << 16, error) &&
           in_range("caml.kernel_size", (double)c->kernel_size, 1, 256, error) &&
           in_range("caml.dropout", c->dropout, 0, 0.99, error) &&
           in_range("caml.minimum_count", (double)c->minimum_count, 1, 1e9, error);
}

static bool check_linear(const struct recipe_linear *l, struct error *error) {
    return in_range("linear.pair_buckets", (double)l->pair_buckets, 0, 1 << 28, error) &&
           in_range("linear.minimum_count", (double)l->minimum_count, 1, 1e9, error);
}

static const char *method_name(enum method method) {
    for (size_t i = 0; i < CYAML_ARRAY_LEN(methods); i++) {
        if (methods[i].val == (int64_t)method) return methods[i].str;
    }
    return "";
}

static bool check_writing_sections(const struct recipe *recipe, struct error *error) {
    if (recipe->sft != NULL && recipe->method != METHOD_SFT)
        return error_set(error, "the section \"sft\" goes with method sft, not with method %s",
                         method_name(recipe->method));
    if (recipe->dpo != NULL && recipe->method != METHOD_DPO)
        return error_set(error, "the section \"dpo\" goes with method dpo, not with method %s",
                         method_name(recipe->method));
    if (recipe->method == METHOD_DPO && recipe->dpo == NULL)
        return error_set(error, "method dpo needs a section \"dpo\"");
    return (recipe->sft == NULL || recipe_check_sft(recipe->sft, error)) &&
           (recipe->dpo == NULL || recipe_check_dpo(recipe->dpo, error));
}

/* Method grpo with its two sections; what it samples must be what it trains. */
static bool check_grpo(const struct recipe *recipe, struct error *error) {
    if (recipe->method != METHOD_GRPO) {
        if (recipe->grpo == NULL && recipe->reward == NULL) return true;
        return error_set(error, "the sections \"grpo\" and \"reward\" go with method grpo, not with method %s",
                         method_name(recipe->method));
    }
    if (recipe->grpo == NULL || recipe->reward == NULL)
        return error_set(error, "method grpo needs the sections \"grpo\" and \"reward\"");
    if (recipe->model != NULL) {
        error_set(error, "method grpo goes on from a model that can write, not from a section \"model\"");
        return error_hint(error, "fine-tune one by method sft and name it with --model");
    }
    if (recipe->lora != NULL && recipe->lora->dropout > 0)
        return error_set(error, "lora.dropout is above 0: method grpo scores what it sampled without dropout");
    const int64_t updates = recipe->grpo->updates;
    if (!recipe_check_grpo(recipe->grpo, recipe->reward, error)) return false;
    if (recipe->train == NULL || (recipe->train->eval_every % updates == 0 && recipe->train->save_every % updates == 0))
        return true;
    return error_set(error, "train.eval_every and train.save_every must be multiples of grpo.updates");
}

/* Which sections go with which method. */
static bool check_sections(const struct recipe *recipe, struct error *error) {
    const enum method method = recipe->method;
    const char *name = method_name(method);
    if (recipe->bert != NULL && method != METHOD_BERT && method != METHOD_TWO_LABEL)
        return error_set(error, "the section \"bert\" goes with method bert, not with method %s", name);
    if (recipe->caml != NULL && method != METHOD_CAML && method != METHOD_TWO_LABEL)
        return error_set(error, "the section \"caml\" goes with method caml, not with method %s", name);
    if (method == METHOD_CAML && recipe->caml == NULL) return error_set(error, "method caml needs a section \"caml\"");
    if (recipe->linear != NULL && method != METHOD_LINEAR && method != METHOD_TWO_LABEL)
        return error_set(error, "the section \"linear\" goes with method linear, not with method %s", name);
    if (method == METHOD_LINEAR && recipe->linear == NULL)
        return error_set(error, "method linear needs a section \"linear\"");
    const bool decoder = method != METHOD_BERT && method != METHOD_CAML && method != METHOD_LINEAR;
    if (!decoder && (recipe->lora != NULL || recipe->model != NULL))
        return error_set(error, "the sections \"lora\" and \"model\" go with a decoder, not with method %s", name);
    if ((recipe->bert != NULL) + (recipe->caml != NULL) + (recipe->linear != NULL) +
            (recipe->lora != NULL || recipe->model != NULL) >
        1)
        return error_set(error,
                         "\"bert\", \"caml\", \"linear\" and \"model\" or \"lora\" are different models: leave one");
    return check_writing_sections(recipe, error) && check_grpo(recipe, error) &&
           (recipe->bert == NULL || check_bert(recipe->bert, error)) &&
           (recipe->caml == NULL || check_caml(recipe->caml, error)) &&
           (recipe->linear == NULL || check_linear(recipe->linear, error));
}

static bool check_recipe(const struct recipe *recipe, struct error *error) {
    if (recipe->seed < 0) return error_set(error, "seed is negative");
    if (recipe->method == METHOD_TOKENIZER) {
        if (recipe->tokenizer == NULL) return error_set(error, "method tokenizer needs a section \"tokenizer\"");
        return in_range("tokenizer.vocabulary", (double)recipe->tokenizer->vocabulary, 256, 1 << 22, error) &&
               in_range("tokenizer.minimum_count", (double)recipe->tokenizer->minimum_count, 1, 1e9, error);
    }
    if (!check_sections(recipe, error)) return false;
    if (recipe->train == NULL) return error_set(error, "a method that trains a model needs a section \"train\"");
    if (recipe->lora != NULL && (recipe->model != NULL))
        return error_set(error, "\"lora\" needs an opened model (--model), not a section \"model\"");
    if (recipe->lora != NULL && !(in_range("lora.rank", (double)recipe->lora->rank, 1, 4096, error) &&
                                  in_range("lora.alpha", recipe->lora->alpha, 0, 1e6, error) &&
                                  in_range("lora.dropout", recipe->lora->dropout, 0, 0.99, error))) {
        return false;
    }
    return check_train(recipe->train, error) && check_objective(recipe, error) &&
           (recipe->model == NULL || check_model(recipe->model, error));
}

/* The schema's entry for a key; NULL if it has none. */
static const cyaml_schema_field_t *find_field(const cyaml_schema_field_t *fields, const struct yaml_line *line) {
    for (; fields->key != NULL; fields++) {
        if (gives_key(line, fields->key, strlen(fields->key))) return fields;
    }
    return NULL;
}

/* libcyaml reads as much of a number as it understands: "1,5" would be 1, and 2.5 an integer 2. So numbers are read
 * here once more, strictly. */
static bool check_numbers(const struct text *text, struct error *error) {
    const cyaml_schema_field_t *section = NULL;
    for (size_t at = 0; at < text->length;) {
        const struct yaml_line line = line_at(text, at);
        at += line.length;
        if (!line.content) continue;
        if (line.indent == 0) section = find_field(recipe_fields, &line);
        const bool inside = section != NULL && section->value.type == CYAML_MAPPING && line.indent > 0;
        const cyaml_schema_field_t *field = inside             ? find_field(section->value.mapping.fields, &line)
                                            : line.indent == 0 ? section
                                                               : NULL;
        if (field == NULL || (field->value.type != CYAML_INT && field->value.type != CYAML_FLOAT)) continue;
        char value[64];
        size_t length = 0, from = line.indent + strlen(field->key) + 1;
        while (from < line.length && (line.bytes[from] == ' ' || line.bytes[from] == '\t')) from++;
        while (from < line.length && length + 1 < sizeof value && strchr(" \t\r\n#", line.bytes[from]) == NULL)
            value[length++] = line.bytes[from++];
        value[length] = '\0';
        int64_t integer;
        double real;
        if (field->value.type == CYAML_INT ? !parse_int64(value, &integer) : !parse_double(value, &real)) {
            return error_set(error, "%s%s%s is \"%s\", expected %s", inside ? section->key : "", inside ? "." : "",
                             field->key, value, field->value.type == CYAML_INT ? "a whole number" : "a number");
        }
    }
    return true;
}

static bool parse_recipe(struct recipe **recipe, const struct text *text, struct error *error) {
    struct text message = {0};
    const cyaml_config_t config = yaml_config(&message);
    const cyaml_err_t status = cyaml_load_data((const uint8_t *)text->data, text->length, &config, &recipe_schema,
                                               (cyaml_data_t **)recipe, NULL);
    if (status != CYAML_OK) error_set(error, "%s", message.length > 0 ? message.data : cyaml_strerror(status));
    text_free(&message);
    if (status == CYAML_OK && *recipe == NULL) return error_set(error, "nothing but comments, expected a recipe");
    return status == CYAML_OK && check_numbers(text, error);
}

bool recipe_load(struct recipe **out, struct text *text, const char *path, const char *const *overrides,
                 size_t override_count, struct error *error) {
    struct recipe *recipe = NULL;
    bool done = file_read(text, path, (size_t)1 << 20, error);
    if (done && text->length == 0) done = error_set(error, "%s: empty, expected a recipe", path);
    for (size_t i = 0; done && i < override_count; i++) done = apply_override(text, overrides[i], error);
    if (!done) return false;
    if (!parse_recipe(&recipe, text, error) || !check_recipe(recipe, error)) {
        recipe_free(recipe);
        return error_context(error, "%s", path);
    }
    *out = recipe;
    return true;
}

void recipe_free(struct recipe *recipe) {
    if (recipe == NULL) return;
    const cyaml_config_t config = yaml_config(NULL);
    cyaml_free(&config, &recipe_schema, recipe, 0);
}

struct objective_settings recipe_objective(const struct recipe *recipe) {
    const struct recipe_objective *o = recipe->objective;
    struct objective_settings settings = {.loss = LOSS_CROSS_ENTROPY, .beta = 0.999, .tau = 1, .cc_weight = 0.5};
    if (o == NULL) return settings;
    settings.loss = o->loss;
    settings.label_smoothing = o->label_smoothing;
    if (o->beta != NULL) settings.beta = *o->beta;
    if (o->tau != NULL) settings.tau = *o->tau;
    if (o->cc_weight != NULL) settings.cc_weight = *o->cc_weight;
    return settings;
}

struct text_window recipe_window(const struct recipe_train *train) {
    return (struct text_window){.truncation = train->truncate,
                                .head_share = train->head_share == NULL ? 0.5 : *train->head_share};
}
