/* The flow of a cohort as JSON and as a diagram: see cohort_flow.h. */
#include "data/cohort_flow.h"
#include <stdio.h>
#include <string.h>

void flow_add_step(struct cohort_flow *flow, struct flow_step step) {
    if (flow->step_count < FLOW_STEPS) flow->steps[flow->step_count++] = step;
}

void flow_add_count(struct cohort_flow *flow, const char *name, uint64_t value) {
    if (flow->count_count == FLOW_COUNTS) return;
    struct flow_count *count = &flow->counts[flow->count_count++];
    snprintf(count->name, sizeof count->name, "%s", name);
    count->value = value;
}

static uint64_t dropped(const struct cohort_flow *flow, int step) {
    return step == 0 ? 0 : flow->steps[step - 1].rows + flow->steps[step].added - flow->steps[step].rows;
}

void flow_add_json(struct text *out, const struct cohort_flow *flow) {
    text_printf(out, "{\n  \"protocol\": \"%s\",\n  \"grouper\": \"%s\"", flow->protocol, flow->grouper);
    for (int i = 0; i < flow->step_count; i++)
        text_printf(out, ",\n  \"%s\": %llu", flow->steps[i].name, (unsigned long long)flow->steps[i].rows);
    for (int i = 0; i < flow->count_count; i++)
        text_printf(out, ",\n  \"%s\": %llu", flow->counts[i].name, (unsigned long long)flow->counts[i].value);
    text_add(out, ",\n  \"steps\": [");
    for (int i = 0; i < flow->step_count; i++) {
        const struct flow_step *step = &flow->steps[i];
        text_printf(out, "%s\n    {\"step\": \"%s\", \"what\": \"%s\", \"rows\": %llu, \"dropped\": %llu",
                    i == 0 ? "" : ",", step->name, step->what, (unsigned long long)step->rows,
                    (unsigned long long)dropped(flow, i));
        if (step->why != NULL) text_printf(out, ", \"why\": \"%s\"", step->why);
        if (step->added > 0)
            text_printf(out, ", \"added\": %llu, \"why_added\": \"%s\"", (unsigned long long)step->added,
                        step->why_added);
        text_add_char(out, '}');
    }
    text_add(out, "\n  ]\n}\n");
}

void add_thousands(struct text *out, uint64_t value) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) text_add_char(out, ',');
        text_add_char(out, digits[i]);
    }
}

static void draw_number(struct text *out, uint64_t value, int width) {
    struct text number = {0};
    add_thousands(&number, value);
    text_printf(out, "%*s", width, number.data == NULL ? "" : number.data);
    text_free(&number);
}

void flow_draw(struct text *out, const struct cohort_flow *flow) {
    for (int i = 0; i < flow->step_count; i++) {
        const struct flow_step *step = &flow->steps[i];
        const uint64_t gone = dropped(flow, i);
        if (step->added > 0) {
            text_add(out, "             + ");
            draw_number(out, step->added, 9);
            text_printf(out, "  %s\n", step->why_added);
        }
        if (step->why != NULL) {
            text_add(out, "             - ");
            draw_number(out, gone, 9);
            text_printf(out, "  %s\n", step->why);
        }
        draw_number(out, step->rows, 11);
        text_printf(out, "  %s\n", step->what);
    }
}
