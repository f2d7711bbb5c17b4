/* Gathers what a run directory and its evaluation hold into one JSON object, and puts it into the page. */
#include "eval/report.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "eval/report_examples.h"
#include "eval/report_page.h"
#include "model/classifier.h"
#include <stdlib.h>
#include <string.h>

static const size_t file_limit = (size_t)256 << 20;

static void add_string(struct text *out, const char *name, const char *value) {
    text_printf(out, ",\n\"%s\": ", name);
    text_add_json(out, value, strlen(value));
}

static bool add_card(struct text *out, const char *run, struct error *error) {
    struct run_card card;
    if (!run_card_load(&card, run, error)) return false;
    text_printf(out, ",\n\"card\": {\"labels\": %zu, \"max_tokens\": %lld", card.labels.count,
                (long long)card.max_tokens);
    add_string(out, "task", card.task);
    add_string(out, "grouper", grouper_name(card.grouper));
    add_string(out, "base", card.base);
    add_string(out, "base_hash", card.base_hash);
    add_string(out, "recipe", card.recipe);
    if (card.temperature > 0) {
        text_add(out, ", \"temperature\": ");
        text_add_json_double(out, card.temperature);
    }
    text_add_char(out, '}');
    run_card_free(&card);
    return true;
}

/* Appends the member `name` with a file of JSON, checked and byte by byte; without it `name` is left out. */
static bool add_document(struct text *out, const char *name, const char *path, bool required, struct error *error) {
    struct text bytes = {0};
    struct json *document;
    if (!required && !path_exists(path)) return true;
    bool done = file_read(&bytes, path, file_limit, error) &&
                json_parse(&document, path, bytes.data == NULL ? "" : bytes.data, bytes.length, error);
    if (done) {
        json_free(document);
        text_printf(out, ",\n\"%s\": ", name);
        text_append(out, bytes.data, bytes.length);
    }
    text_free(&bytes);
    return done;
}

/* The numbers of a log line; a resumed or crashed run may end in half a line, which is left out. */
static bool add_log_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct text *out = context;
    (void)line;
    (void)error;
    if (out->failed) return true;
    text_add(out, out->data[out->length - 1] == '[' ? "{" : ",\n{");
    bool any = false;
    for (const json_node *member = json_first(root); member != NULL; member = json_next(member)) {
        if (!json_is_number(member)) continue;
        const char *name = json_name(member);
        if (any) text_add(out, ", ");
        text_add_json(out, name, strlen(name));
        text_add(out, ": ");
        text_add_json_double(out, json_number(member));
        any = true;
    }
    text_add_char(out, '}');
    return true;
}

static bool add_log(struct text *out, const char *run, struct error *error) {
    char path[4096];
    struct error half_line = {0};
    if (!path_join(path, sizeof path, run, "log.jsonl")) return error_set(error, "%s: path too long", run);
    text_add(out, ",\n\"log\": [");
    if (path_exists(path)) json_lines(path, add_log_line, out, &half_line);
    text_add_char(out, ']');
    return true;
}

static bool add_recipe(struct text *out, const char *run, struct error *error) {
    char path[4096];
    struct text recipe = {0};
    if (!path_join(path, sizeof path, run, "recipe.yaml")) return error_set(error, "%s: path too long", run);
    if (!path_exists(path)) return true;
    const bool done = file_read(&recipe, path, (size_t)1 << 20, error);
    if (done) add_string(out, "recipe", recipe.data == NULL ? "" : recipe.data);
    text_free(&recipe);
    return done;
}

/* Where the evaluation lies; false where there is none and none was asked for. */
static bool evaluation_path(const struct report_settings *settings, const char *name, char *path, size_t capacity) {
    char directory[4096];
    if (settings->evaluation != NULL) return path_join(path, capacity, settings->evaluation, name);
    return path_join(directory, sizeof directory, settings->run, "evaluation") &&
           path_join(path, capacity, directory, name) && path_exists(path);
}

static bool add_evaluation(struct text *out, const struct report_settings *settings, struct error *error) {
    char path[4096];
    if (!evaluation_path(settings, "evaluation.json", path, sizeof path)) return true;
    if (add_document(out, "evaluation", path, true, error)) return true;
    return error_hint(error, "casemix eval --model %s --data test.jsonl --out DIR writes it", settings->run);
}

static bool add_examples(struct text *out, const struct report_settings *settings, struct error *error) {
    char path[4096];
    bool done = true;
    text_add(out, ",\n\"examples\": [");
    if (settings->examples != NULL) {
        done = evaluation_path(settings, "predictions.jsonl", path, sizeof path);
        if (!done) {
            error_set(error, "%s: no evaluation, so there are no predictions to show with the examples", settings->run);
            error_hint(error, "casemix eval --model %s --data F.jsonl --out %s/evaluation", settings->run,
                       settings->run);
        }
        done = done && report_examples_add(out, settings, path, error);
    }
    text_add_char(out, ']');
    return done;
}

/* The cohort's steps: the file named, or what the evaluation found beside its data. */
static bool add_flow(struct text *out, const struct report_settings *settings, struct error *error) {
    char path[4096];
    if (settings->flow != NULL) return add_document(out, "flow", settings->flow, true, error);
    if (!path_join(path, sizeof path, settings->run, "flow.json"))
        return error_set(error, "%s: path too long", settings->run);
    return add_document(out, "flow", path, false, error);
}

static bool gather(struct text *out, const struct report_settings *settings, struct error *error) {
    size_t length = strlen(settings->run);
    while (length > 1 && settings->run[length - 1] == '/') length--;
    const char *name = memrchr(settings->run, '/', length);
    name = name == NULL ? settings->run : name + 1;
    text_add(out, "{\"name\": ");
    text_add_json(out, name, (size_t)(settings->run + length - name));
    add_string(out, "version", settings->version);
    const bool done = add_card(out, settings->run, error) && add_recipe(out, settings->run, error) &&
                      add_log(out, settings->run, error) && add_flow(out, settings, error) &&
                      add_evaluation(out, settings, error) && add_examples(out, settings, error);
    text_add_char(out, '}');
    return done && text_ok(out, error);
}

/* Within a script element "<" could begin its end: in JSON it only stands inside strings, where it may be escaped. */
static void append_escaped(struct text *page, const struct text *data) {
    for (const char *from = data->data, *end = data->data + data->length; from < end;) {
        const char *next = memchr(from, '<', (size_t)(end - from));
        text_append(page, from, (size_t)((next == NULL ? end : next) - from));
        if (next == NULL) return;
        text_add(page, "\\u003c");
        from = next + 1;
    }
}

bool report_write(const struct report_settings *settings, struct error *error) {
    static const char mark[] = "/*DATA*/";
    size_t length;
    const char *page = report_page(&length), *place = memmem(page, length, mark, sizeof mark - 1);
    struct text data = {0}, out = {0};
    if (place == NULL) abort(); /* a broken build: the page has no place for the data */
    bool done = gather(&data, settings, error);
    if (done) {
        text_append(&out, page, (size_t)(place - page));
        append_escaped(&out, &data);
        place += sizeof mark - 1;
        text_append(&out, place, (size_t)(page + length - place));
        done = text_ok(&out, error) && file_write(settings->out, out.data, out.length, error);
    }
    text_free(&data);
    text_free(&out);
    return done;
}
