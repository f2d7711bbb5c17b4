/* Evidence as members of a JSON object. */
#include "base/text.h"
#include "eval/evidence.h"

static void add_parts(struct text *out, const char *name, const struct evidence_part *parts, size_t count) {
    text_printf(out, "\"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        text_printf(out, "%s{\"start\": %zu, \"end\": %zu, \"score\": ", i == 0 ? "" : ", ", parts[i].start,
                    parts[i].end);
        text_add_json_float(out, parts[i].score);
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
}

static void add_number(struct text *out, const char *name, double value) {
    text_printf(out, ", \"%s\": ", name);
    text_add_json_double(out, value);
}

void evidence_add_json(struct text *out, const struct evidence *evidence, int drg) {
    add_parts(out, "evidence", evidence->spans, evidence->span_count);
    text_add(out, ", ");
    add_parts(out, "clauses", evidence->clauses, evidence->clause_count);
    text_printf(out, ", \"evidence_of\": {\"drg\": %d, \"method\": \"%s\"", drg,
                evidence_method_name(evidence->method));
    add_number(out, "p", (double)evidence->p);
    add_number(out, "logit", evidence->logit);
    if (evidence->method == EVIDENCE_GRADIENTS) {
        add_number(out, "reference", evidence->reference);
        add_number(out, "sum", evidence->sum);
    }
    text_add_char(out, '}');
}
