/* Choosing notes to show, and marking in them what speaks for a DRG. */
#include "eval/report_examples.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "model/classifier.h"
#include <string.h>

enum { EXAMPLES = 3, EXAMPLE_BYTES = 4000, LISTED = 3 };

/* The stays to show: the surest wrong and the least sure right ones. */
struct example {
    size_t stay;
    double p;
};

struct examples {
    struct text *out;
    const struct dataset *data;
    struct text predictions; /* JSON of each stay's first predictions, end to end */
    size_t *starts;          /* [count + 1] */
    double *p;               /* [count] of the first prediction */
    bool *right;             /* [count] */
    int *first;              /* [count] the first prediction's DRG */
    size_t count;
    /* with evidence */
    struct classifier *classifier;
    struct evidence_finder *finder; /* NULL: none is wanted */
};

static bool read_prediction(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct examples *examples = context;
    const size_t i = examples->count;
    const char *note_id = json_string(json_member(root, "note_id"));
    const json_node *prediction = json_first(json_member(root, "predictions"));
    int64_t drg, first;
    if (i >= examples->data->count || note_id == NULL || strcmp(note_id, examples->data->stays[i].note_id) != 0 ||
        !json_integer(json_member(root, "drg"), &drg) || drg != examples->data->stays[i].drg ||
        !json_integer(json_member(prediction, "drg"), &first)) {
        error_set(error, "stay %llu is not that of the examples' file", (unsigned long long)line);
        return error_hint(error, "--examples takes the very file that was scored");
    }
    examples->right[i] = first == drg;
    examples->first[i] = (int)first;
    examples->p[i] = json_number(json_member(prediction, "p"));
    for (size_t k = 0; prediction != NULL && k < LISTED; prediction = json_next(prediction), k++) {
        int64_t code = 0;
        json_integer(json_member(prediction, "drg"), &code);
        text_printf(&examples->predictions, "%s{\"drg\": %lld, \"p\": ", k == 0 ? "" : ", ", (long long)code);
        text_add_json_double(&examples->predictions, json_number(json_member(prediction, "p")));
        text_add_char(&examples->predictions, '}');
    }
    examples->starts[++examples->count] = examples->predictions.length;
    return true;
}

/* Bytes of a note that are shown: its beginning, cut between characters. */
static size_t shown_length(const struct stay *stay) {
    size_t length = stay->text_length;
    if (length <= EXAMPLE_BYTES) return length;
    length = EXAMPLE_BYTES;
    while (length > 0 && (stay->text[length] & 0xC0) == 0x80) length--;
    return length;
}

/* The score of each byte shown: that of the marked stretch that it lies in, else 0. Nothing for a DRG that the model
 * does not know. */
static bool mark_bytes(const struct examples *examples, const struct stay *stay, int drg, float *scores, bool *known,
                       struct error *error) {
    struct evidence evidence;
    const int label = labels_find(&examples->classifier->card.labels, drg);
    const size_t length = shown_length(stay);
    *known = label >= 0;
    memset(scores, 0, EXAMPLE_BYTES * sizeof *scores);
    if (!*known) return true;
    if (!evidence_find(examples->finder, stay->text, (struct span){0, stay->text_length}, label, &evidence, error))
        return false;
    for (size_t s = 0; s < evidence.span_count; s++) {
        for (size_t at = evidence.spans[s].start; at < evidence.spans[s].end && at < length; at++)
            scores[at] = evidence.spans[s].score;
    }
    return true;
}

static bool add_pieces(const struct examples *examples, size_t i, struct error *error) {
    const struct stay *stay = &examples->data->stays[i];
    const size_t length = shown_length(stay);
    float first[EXAMPLE_BYTES], truth[EXAMPLE_BYTES];
    bool known, compared = false;
    struct text *out = examples->out;
    if (!mark_bytes(examples, stay, examples->first[i], first, &known, error)) return false;
    if (examples->first[i] != stay->drg && !mark_bytes(examples, stay, stay->drg, truth, &compared, error))
        return false;
    text_add(out, ", \"pieces\": [");
    for (size_t from = 0, to; from < length; from = to) {
        for (to = from + 1; to < length && first[to] == first[from] && (!compared || truth[to] == truth[from]);) to++;
        text_add(out, from == 0 ? "[" : ", [");
        text_add_json(out, stay->text + from, to - from);
        text_add(out, ", ");
        text_add_json_float(out, first[from]);
        if (compared) {
            text_add(out, ", ");
            text_add_json_float(out, truth[from]);
        }
        text_add_char(out, ']');
    }
    text_add_char(out, ']');
    return true;
}

static bool add_example(const struct examples *examples, const struct catalog *catalog, size_t i, bool first,
                        struct error *error) {
    const struct stay *stay = &examples->data->stays[i];
    const struct drg *drg = catalog_find(catalog, stay->drg);
    const char *title = drg == NULL ? "" : drg->title;
    text_printf(examples->out, "%s\n{\"drg\": %d, \"right\": %s, \"title\": ", first ? "" : ",", stay->drg,
                examples->first[i] == stay->drg ? "true" : "false");
    text_add_json(examples->out, title, strlen(title));
    text_add(examples->out, ", \"predictions\": [");
    text_append(examples->out, examples->predictions.data + examples->starts[i],
                examples->starts[i + 1] - examples->starts[i]);
    text_add_char(examples->out, ']');
    if (examples->finder != NULL) {
        if (!add_pieces(examples, i, error)) return error_context(error, "stay %zu of the examples", i + 1);
    } else {
        text_add(examples->out, ", \"text\": ");
        text_add_json(examples->out, stay->text, shown_length(stay));
    }
    text_add_char(examples->out, '}');
    return true;
}

/* Chooses by repeated search: a handful of a few thousand. */
static bool choose_examples(const struct examples *examples, const struct catalog *catalog, struct error *error) {
    size_t shown = 0;
    for (int kind = 0; kind < 2; kind++) {
        double limit = kind == 0 ? 2 : -1;
        for (size_t k = 0; k < EXAMPLES; k++) {
            size_t best = examples->count;
            for (size_t i = 0; i < examples->count; i++) {
                if (examples->right[i] != (kind == 1) || !(kind == 0 ? examples->p[i] < limit : examples->p[i] > limit))
                    continue;
                const bool better = best == examples->count || (kind == 0 ? examples->p[i] > examples->p[best]
                                                                          : examples->p[i] < examples->p[best]);
                best = better ? i : best;
            }
            if (best == examples->count) break;
            limit = examples->p[best];
            if (!add_example(examples, catalog, best, shown++ == 0, error)) return false;
        }
    }
    return true;
}

static bool open_model(struct examples *examples, const struct report_settings *settings, struct classifier *classifier,
                       struct error *error) {
    if (!settings->evidence) return true;
    if (!classifier_open(classifier, settings->run, error)) return false;
    examples->classifier = classifier;
    return classifier_compute(classifier, COMPUTE_AUTO, NULL, error) &&
           evidence_finder_open(&examples->finder, classifier, settings->method, error);
}

static bool make_room(struct examples *examples, size_t count, struct error *error) {
    examples->starts = memory_zero(count + 1, sizeof *examples->starts);
    examples->p = memory_alloc(count, sizeof *examples->p);
    examples->right = memory_alloc(count, sizeof *examples->right);
    examples->first = memory_alloc(count, sizeof *examples->first);
    return (examples->starts != NULL && examples->p != NULL && examples->right != NULL && examples->first != NULL) ||
           memory_error(error, count * sizeof *examples->starts, "the examples");
}

bool report_examples_add(struct text *out, const struct report_settings *settings, const char *predictions,
                         struct error *error) {
    struct dataset data = {0};
    struct run_card card = {0};
    struct classifier classifier = {0};
    struct examples examples = {.out = out, .data = &data};
    const bool done = dataset_load(&data, settings->examples, error) && run_card_load(&card, settings->run, error) &&
                      make_room(&examples, data.count, error) &&
                      json_lines(predictions, read_prediction, &examples, error) &&
                      text_ok(&examples.predictions, error) && open_model(&examples, settings, &classifier, error) &&
                      choose_examples(&examples, catalog_get(card.grouper), error);
    evidence_finder_close(examples.finder);
    if (examples.classifier != NULL) classifier_close(&classifier);
    text_free(&examples.predictions);
    memory_free(examples.starts);
    memory_free(examples.p);
    memory_free(examples.right);
    memory_free(examples.first);
    run_card_free(&card);
    dataset_free(&data);
    return done;
}
