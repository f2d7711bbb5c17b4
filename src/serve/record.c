/* Records as JSON and CSV. */
#include "serve/record.h"
#include "base/text.h"
#include "drg/mdc.h"
#include "serve/models.h"
#include <math.h>
#include <string.h>

static void add_string(struct text *out, const char *string) {
    text_add_json(out, string, strlen(string));
}

void record_add_drg(struct text *out, const struct drg *drg) {
    text_printf(out, "\"drg\": %d, \"title\": ", drg->code);
    add_string(out, drg->title);
    text_printf(out, ", \"weight\": %.4f, \"gmlos\": %.1f, \"mdc\": \"%s\", \"mdc_name\": ", drg->weight, drg->gmlos,
                drg->mdc);
    add_string(out, mdc_name(drg->mdc));
    text_printf(out, ", \"type\": \"%s\", \"severity\": \"%s\", \"base\": %d", type_name(drg->type),
                severity_name(drg->severity), drg->base);
}

const struct drg *record_drg(const struct record *record, size_t rank) {
    const struct classifier *classifier = &record->served->classifier;
    return catalog_find(classifier->catalog, classifier->card.labels.codes[record->top[rank].label]);
}

static const struct drg *billed_drg(const struct record *record) {
    return record->billed == 0 ? NULL : catalog_find(catalog_get(record->served->grouper), record->billed);
}

double record_weight_difference(const struct record *record) {
    const struct drg *billed = billed_drg(record);
    return billed == NULL ? 0 : record_drg(record, 0)->weight - billed->weight;
}

double record_priority(const struct record *record) {
    return fabs(record_weight_difference(record)) * (double)record->top[0].p;
}

void record_add_json(struct text *out, const struct record *record) {
    text_add(out, "{\"id\": ");
    add_string(out, record->id);
    text_printf(out, ", \"prediction\": %lld, \"model\": ", (long long)record->prediction);
    add_string(out, record->served->id);
    text_printf(out, ", \"grouper\": \"%s\", \"note_sha256\": \"%s\", \"predictions\": [",
                grouper_name(record->served->grouper), record->note_sha256);
    for (size_t i = 0; i < record->k; i++) {
        const struct drg *drg = record_drg(record, i);
        text_printf(out, "%s{\"drg\": %d, \"title\": ", i == 0 ? "" : ", ", drg->code);
        add_string(out, drg->title);
        text_add(out, ", \"p\": ");
        text_add_json_float(out, record->top[i].p);
        text_printf(out, ", \"weight\": %.4f, \"gmlos\": %.1f, \"mdc\": \"%s\", \"severity\": \"%s\"}", drg->weight,
                    drg->gmlos, drg->mdc, severity_name(drg->severity));
    }
    text_printf(out, "], \"section\": {\"start\": %zu, \"end\": %zu}, \"tokens\": %d, \"truncated\": %s",
                record->section.start, record->section.end, (int)record->tokens, record->truncated ? "true" : "false");
    if (record->evidence != NULL) text_append(out, record->evidence->data, record->evidence->length);
    if (billed_drg(record) == NULL) return;
    text_printf(out, ", \"billed\": %d, \"weight_difference\": %.4f, \"priority\": %.6f", record->billed,
                record_weight_difference(record), record_priority(record));
}

void record_add_csv(struct text *out, const struct record *record) {
    for (size_t i = 0; i < record->k; i++) {
        const struct drg *drg = record_drg(record, i);
        text_add_csv(out, record->id, strlen(record->id));
        text_printf(out, ",%zu,%d,", i + 1, drg->code);
        text_add_csv(out, drg->title, strlen(drg->title));
        text_printf(out, ",%.6f,%.4f,%.1f,%s,%s,", (double)record->top[i].p, drg->weight, drg->gmlos, drg->mdc,
                    severity_name(drg->severity));
        if (billed_drg(record) != NULL)
            text_printf(out, "%d,%.4f,%.6f", record->billed, record_weight_difference(record), record_priority(record));
        else
            text_add(out, ",,");
        text_printf(out, ",%lld,\n", (long long)record->prediction);
    }
}

void record_add_audit(struct text *out, const struct record *record) {
    text_add(out, "{\"drgs\":[");
    for (size_t i = 0; i < record->k; i++) {
        text_printf(out, "%s[%d,", i == 0 ? "" : ",", record_drg(record, i)->code);
        text_add_json_float(out, record->top[i].p);
        text_add_char(out, ']');
    }
    text_printf(out, "],\"grouper\":\"%s\",\"tokens\":%d,\"truncated\":%s", grouper_name(record->served->grouper),
                (int)record->tokens, record->truncated ? "true" : "false");
    if (record->billed != 0) text_printf(out, ",\"billed\":%d", record->billed);
    text_add_char(out, '}');
}
