/* Sentences of synthetic notes: a template, and what its placeholders stand for. */
#include "data/synth_writer.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *phrase_pick(struct rng *rng, const struct phrases *phrases) {
    return phrases->items[rng_below(rng, phrases->count)];
}

bool chance(struct rng *rng, double p) {
    return rng_uniform(rng) < p;
}

/* Whether the clause says that there is none of what the wordings name: "no ascites". */
static bool denies(const char *clause, const struct phrases *wordings) {
    static const char *const words[] = {"no ", "without "};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        for (const char *at = clause; (at = strcasestr(at, words[w])) != NULL; at++) {
            const char *what = at + strlen(words[w]);
            for (size_t i = 0; i < wordings->count; i++) {
                const size_t length = strlen(wordings->items[i]);
                if (strncasecmp(what, wordings->items[i], length) == 0 && !isalnum((unsigned char)what[length]))
                    return true;
            }
        }
    }
    return false;
}

bool clause_contradicts(const struct writer *writer, const char *clause) {
    const struct diagnosis *diagnoses = writer->knowledge->diagnoses;
    if (strcasestr(clause, "no ") == NULL && strcasestr(clause, "without ") == NULL) return false;
    for (size_t i = 0; i < writer->stay->secondary_count; i++) {
        if (denies(clause, &diagnoses[writer->stay->secondary[i]].wordings)) return true;
    }
    return denies(clause, &diagnoses[writer->stay->principal].wordings);
}

/* One of the phrases that does not deny what the patient has; NULL when they all seem to. */
static const char *pick_true(const struct writer *writer, const struct phrases *phrases) {
    enum { ATTEMPTS = 12 };
    for (int attempt = 0; phrases->count > 0 && attempt < ATTEMPTS; attempt++) {
        const char *phrase = phrase_pick(writer->rng, phrases);
        if (!clause_contradicts(writer, phrase)) return phrase;
    }
    return NULL;
}

const char *condition_name(const struct writer *writer, int32_t diagnosis) {
    const struct phrases *wordings = &writer->knowledge->diagnoses[diagnosis].wordings;
    const char *name = pick_true(writer, wordings);
    return name != NULL ? name : wordings->items[0];
}

const char *condition_clause(const struct writer *writer, int32_t diagnosis) {
    const char *clause = pick_true(writer, &writer->knowledge->diagnoses[diagnosis].clauses);
    return clause != NULL ? clause : phrase_pick(writer->rng, &writer->knowledge->templates[SLOT_GENERIC]);
}

const char *procedure_name(const struct writer *writer, int32_t procedure) {
    return phrase_pick(writer->rng, &writer->knowledge->procedures[procedure].wordings);
}

const char *condition_finding(const struct writer *writer, int32_t diagnosis, enum finding_kind kind) {
    const struct phrases *findings = &writer->knowledge->diagnoses[diagnosis].findings[kind];
    return findings->count == 0 ? NULL : phrase_pick(writer->rng, findings);
}

void add_capital(struct text *out, const char *phrase) {
    const size_t at = out->length;
    text_add(out, phrase);
    if (!out->failed && out->length > at) out->data[at] = (char)toupper((unsigned char)out->data[at]);
}

/* De-identification leaves no age above 89, and in many notes none at all. */
static void add_age(struct writer *writer, const char *format) {
    char years[16] = "___";
    if (writer->stay->age == 0) {
        text_add(writer->out, "newborn");
        return;
    }
    if (writer->stay->age <= 89 && !writer->author.blanks_age) snprintf(years, sizeof years, "%d", writer->stay->age);
    text_printf(writer->out, format, years);
}

/* A day of the stay, the second or a later one if it had so many. */
static int hospital_day(const struct writer *writer) {
    const int days = writer->stay->days < 7 ? writer->stay->days : 7;
    return days < 2 ? 1 : 2 + (int)rng_below(writer->rng, (uint64_t)days - 1);
}

/* Placeholders that the patient fills. */
static bool add_patient_value(struct writer *writer, const char *name) {
    static const char *const ages[] = {"%s year old", "%syo", "%s y/o", "%s-year-old", "%s yo"};
    static const char *const sexes[2][3] = {{"man", "male", "M"}, {"woman", "female", "F"}};
    static const char *const pronouns[][3] = {
        {"he", "he", "she"}, {"He", "He", "She"}, {"his", "his", "her"}, {"His", "His", "Her"}, {"him", "him", "her"}};
    for (size_t i = 0; i < sizeof pronouns / sizeof pronouns[0]; i++) {
        if (strcmp(name, pronouns[i][0]) != 0) continue;
        text_add(writer->out, pronouns[i][1 + writer->stay->female]);
        return true;
    }
    if (strcmp(name, "age") == 0)
        add_age(writer, ages[rng_below(writer->rng, 5)]);
    else if (strcmp(name, "sex") == 0)
        text_add(writer->out, sexes[writer->stay->female][rng_below(writer->rng, 3)]);
    else if (strcmp(name, "n") == 0)
        text_printf(writer->out, "%d", 2 + (int)rng_below(writer->rng, 5));
    else if (strcmp(name, "hr") == 0)
        text_printf(writer->out, "%d", 62 + (int)rng_below(writer->rng, 55));
    else if (strcmp(name, "bp") == 0)
        text_printf(writer->out, "%d/%d", 98 + (int)rng_below(writer->rng, 70), 52 + (int)rng_below(writer->rng, 40));
    else
        return false;
    return true;
}

static void add_value(struct writer *writer, const char *from, size_t length, const struct filling *filling) {
    const struct {
        const char *name, *value;
    } values[] = {{"x", filling->x},        {"c", filling->c},       {"p", filling->p},
                  {"s", filling->s},        {"list", filling->list}, {"history", filling->history},
                  {"quote", filling->quote}};
    char name[16] = "";
    if (length >= sizeof name) return;
    memcpy(name, from, length);
    if (strcmp(name, "d") == 0) {
        text_printf(writer->out, "%d", filling->day > 0 ? filling->day : hospital_day(writer));
        return;
    }
    if (add_patient_value(writer, name)) return;
    char *capital = strstr(name, "_cap");
    if (capital != NULL) *capital = '\0';
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(name, values[i].name) != 0 || values[i].value == NULL) continue;
        if (capital != NULL)
            add_capital(writer->out, values[i].value);
        else
            text_add(writer->out, values[i].value);
    }
}

void add_sentence(struct writer *writer, enum template_slot slot, struct filling filling) {
    add_template(writer, phrase_pick(writer->rng, &writer->knowledge->templates[slot]), filling);
}

void add_template(struct writer *writer, const char *template, struct filling filling) {
    for (const char *from = template; *from != '\0';) {
        const char *open = strchr(from, '{'), *close = open == NULL ? NULL : strchr(open, '}');
        if (close == NULL) {
            text_add(writer->out, from);
            break;
        }
        text_append(writer->out, from, (size_t)(open - from));
        add_value(writer, open + 1, (size_t)(close - open - 1), &filling);
        from = close + 1;
    }
}

void add_break(struct writer *writer, bool line) {
    const struct text *out = writer->out;
    if (out->length > 0 && out->data != NULL && out->data[out->length - 1] != '\n')
        text_add_char(writer->out, line ? '\n' : ' ');
}

void add_names(const struct writer *writer, struct text *out, const int32_t *codes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        text_add(out, i == 0 ? "" : i + 1 == count ? " and " : ", ");
        text_add(out, condition_name(writer, codes[i]));
    }
}

void lines_add(struct lines *lines, const char *line) {
    if (line == NULL || lines->count == LINES) return;
    for (size_t i = 0; i < lines->count; i++) {
        if (strcmp(lines->items[i], line) == 0) return;
    }
    lines->items[lines->count++] = line;
}

struct lines collect_findings(const struct writer *writer, enum finding_kind kind) {
    struct lines lines = {.count = 0};
    lines_add(&lines, condition_finding(writer, writer->stay->principal, kind));
    for (size_t i = 0; i < writer->active_count; i++)
        lines_add(&lines, condition_finding(writer, writer->active[i], kind));
    return lines;
}

void add_heading(struct text *out, const char *heading) {
    text_printf(out, "\n\n%s:\n", heading);
}
