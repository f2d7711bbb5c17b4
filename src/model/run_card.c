/* casemix.json: what a run directory is for, which DRG each label means, and where its base model lies. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/classifier.h"
#include <stdio.h>
#include <string.h>

enum { FORMAT = 1 };

static bool copy_string(const json_node *root, const char *name, bool required, char *out, size_t capacity,
                        struct error *error) {
    const char *value = "";
    if (!json_get_string(root, name, required, &value, error)) return false;
    if (strlen(value) >= capacity) return error_set(error, "\"%s\" is too long", name);
    strcpy(out, value);
    return true;
}

static bool read_labels(struct labels *labels, const json_node *root, struct error *error) {
    const json_node *list = json_member(root, "drgs");
    if (json_is_null(list)) return true;
    const size_t count = json_count(list);
    if (!json_is_array(list) || count == 0 || count > 999)
        return error_set(error, "\"drgs\" is not a list of 1 to 999 DRG codes");
    labels->codes = memory_alloc(count, sizeof *labels->codes);
    if (labels->codes == NULL) return memory_error(error, count * sizeof *labels->codes, "the labels");
    const struct catalog *catalog = catalog_get(labels->grouper);
    for (const json_node *code = json_first(list); code != NULL; code = json_next(code)) {
        int64_t value;
        if (!json_integer(code, &value) || value < 1 || value > 999 || catalog_find(catalog, (int)value) == NULL) {
            return error_set(error, "\"drgs\" holds something that is no DRG of %s", grouper_name(labels->grouper));
        }
        if (labels->count > 0 && value <= labels->codes[labels->count - 1])
            return error_set(error, "\"drgs\" is not in rising order");
        labels->codes[labels->count++] = (int)value;
    }
    return true;
}

static bool read_card(struct run_card *card, const json_node *root, struct error *error) {
    int64_t format = 0;
    char grouper[16] = "";
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!json_get_int(root, "format", true, FORMAT, FORMAT, &format, error)) return false;
    if (!copy_string(root, "task", true, card->task, sizeof card->task, error)) return false;
    if (!copy_string(root, "grouper", true, grouper, sizeof grouper, error)) return false;
    if (!grouper_parse(grouper, &card->grouper, error)) return false;
    if (!json_get_int(root, "max_tokens", true, 1, INT32_MAX, &card->max_tokens, error)) return false;
    if (!copy_string(root, "base", false, card->base, sizeof card->base, error)) return false;
    if (!copy_string(root, "base_hash", false, card->base_hash, sizeof card->base_hash, error)) return false;
    if (!copy_string(root, "recipe", false, card->recipe, sizeof card->recipe, error)) return false;
    if (!json_get_double(root, "temperature", false, &card->temperature, error)) return false;
    if (!json_is_null(json_member(root, "temperature")) && !(card->temperature >= 0.01 && card->temperature <= 100))
        return error_set(error, "\"temperature\" is not a number from 0.01 to 100");
    card->labels.grouper = card->grouper;
    if (strcmp(card->task, "classify") == 0 && json_is_null(json_member(root, "drgs")))
        return error_set(error, "\"drgs\" is missing");
    return read_labels(&card->labels, root, error);
}

bool run_card_load(struct run_card *card, const char *directory, struct error *error) {
    char path[4096];
    struct json *document;
    *card = (struct run_card){0};
    if (!path_join(path, sizeof path, directory, "casemix.json"))
        return error_set(error, "%s: path too long", directory);
    if (!path_exists(path)) {
        error_set(error, "%s: no casemix.json, so this is no run of casemix", directory);
        return error_hint(error,
                          "--model takes a directory that `casemix train` wrote, such as models/tiny-classifier");
    }
    if (!json_load(&document, path, (size_t)16 << 20, error)) return false;
    const bool read = read_card(card, json_root(document), error);
    json_free(document);
    if (read) return true;
    run_card_free(card);
    return error_context(error, "%s", path);
}

static void add_member(struct text *text, const char *name, const char *value) {
    text_printf(text, ",\n  \"%s\": ", name);
    text_add_json(text, value, strlen(value));
}

bool run_card_write(const struct run_card *card, const char *directory, struct error *error) {
    struct text text = {0};
    text_printf(&text, "{\n  \"format\": %d", FORMAT);
    add_member(&text, "task", card->task);
    add_member(&text, "grouper", grouper_name(card->grouper));
    text_printf(&text, ",\n  \"max_tokens\": %lld", (long long)card->max_tokens);
    if (card->base[0] != '\0') add_member(&text, "base", card->base);
    if (card->base_hash[0] != '\0') add_member(&text, "base_hash", card->base_hash);
    add_member(&text, "recipe", card->recipe);
    if (card->temperature > 0) {
        text_add(&text, ",\n  \"temperature\": ");
        text_add_json_double(&text, card->temperature);
    }
    if (card->labels.count > 0) text_add(&text, ",\n  \"drgs\": [");
    for (size_t i = 0; i < card->labels.count; i++)
        text_printf(&text, "%s%d", i == 0 ? "" : ", ", card->labels.codes[i]);
    text_add(&text, card->labels.count > 0 ? "]\n}\n" : "\n}\n");
    char path[4096];
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "casemix.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

bool run_card_base(const struct run_card *card, const char *directory, char *base, size_t capacity,
                   struct error *error) {
    const bool fits = card->base[0] == '/' ? (size_t)snprintf(base, capacity, "%s", card->base) < capacity
                                           : path_join(base, capacity, directory, card->base);
    return fits || error_set(error, "%s/casemix.json: the path of the base model is too long", directory);
}

void run_card_free(struct run_card *card) {
    labels_free(&card->labels);
    *card = (struct run_card){0};
}
