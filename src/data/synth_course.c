/* The hospital course of a synthetic note: what brought the patient in, the principal condition, procedures, conditions
 * that count, and beside them what does not count (ruled out, past, in the family, procedures of other years, chronic
 * conditions), in the layout of one author. */
#include "data/synth_writer.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

enum { PARAGRAPHS = 48, SHORTEST = 60, LONGEST = 900, FILLERS = 256 };

enum paragraph_kind { PARAGRAPH_ACTIVE, PARAGRAPH_IMPLICIT, PARAGRAPH_ABSENT, PARAGRAPH_PAST_PROCEDURE };

struct paragraph {
    enum paragraph_kind kind;
    int32_t code;
};

struct course {
    struct writer *writer;
    struct paragraph paragraphs[PARAGRAPHS]; /* in the order in which they are told */
    size_t paragraph_count;
    bool late;                 /* the opening does not name the principal condition */
    bool behind;               /* other conditions are told before it */
    size_t told;               /* chronic conditions named in the opening */
    int words;                 /* aimed at */
    size_t start;              /* of the course in the text */
    int number;                /* of the next problem, where they are numbered */
    struct text quote;         /* the opening, for passages that are carried forward */
    bool used[SLOTS][FILLERS]; /* filling templates that stand in the course */
};

static bool by_problem(const struct course *course) {
    const enum layout layout = course->writer->author.layout;
    return layout == LAYOUT_PROBLEMS || layout == LAYOUT_NUMBERED || layout == LAYOUT_HEADED;
}

/* Codes that share their wordings are one condition to a reader. */
static bool same_condition(const struct diagnosis *a, const struct diagnosis *b) {
    return a->wordings.count > 0 && b->wordings.count > 0 && strcmp(a->wordings.items[0], b->wordings.items[0]) == 0;
}

/* Whether the words of one phrase stand in the other. */
static bool holds_words(const char *phrase, const char *words) {
    const size_t length = strlen(words);
    for (const char *at = phrase; (at = strcasestr(at, words)) != NULL; at++) {
        if ((at == phrase || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length])) return true;
    }
    return false;
}

/* Wordings that hold one another: bacterial pneumonia, and pneumonia. */
static bool wordings_overlap(const struct diagnosis *a, const struct diagnosis *b) {
    for (size_t i = 0; i < a->wordings.count; i++) {
        for (size_t j = 0; j < b->wordings.count; j++) {
            if (holds_words(a->wordings.items[i], b->wordings.items[j]) ||
                holds_words(b->wordings.items[j], a->wordings.items[i]))
                return true;
        }
    }
    return false;
}

/* Conditions of one category (the first three characters of the code) are too near for one to be denied or past beside
 * the other. */
static bool akin(const struct diagnosis *a, const struct diagnosis *b) {
    return strncmp(a->code, b->code, 3) == 0 || same_condition(a, b);
}

/* Whether the patient has the condition, or one that reads like it. */
static bool is_present(const struct writer *writer, const struct diagnosis *diagnosis) {
    for (size_t i = 0; i <= writer->stay->secondary_count; i++) {
        const int32_t code = i == 0 ? writer->stay->principal : writer->stay->secondary[i - 1];
        const struct diagnosis *other = &writer->knowledge->diagnoses[code];
        if (akin(diagnosis, other) || wordings_overlap(diagnosis, other)) return true;
    }
    return false;
}

static bool hides_principal(const struct writer *writer) {
    return writer->tell == TELL_NO_PRINCIPAL || writer->tell == TELL_BACKGROUND;
}

/* A condition that goes with the DRG: at least half as common again in its claims as in all. */
static bool is_companion(const struct writer *writer, int32_t code) {
    const struct code_list *own = &writer->stay->profile->secondary;
    for (size_t i = 0; i < own->count; i++) {
        if (own->index[i] == code) return own->weight[i] > 1.5 * writer->knowledge->diagnoses[code].share;
    }
    return false;
}

static bool sex_fits(const struct writer *writer, enum code_sex sex) {
    return sex == SEX_ANY || (sex == SEX_FEMALE) == writer->stay->female;
}

/* A CC or MCC that the patient does not have: half of the time one that is common in just this DRG. */
static int32_t draw_absent(struct writer *writer) {
    const struct code_list *own = &writer->stay->profile->secondary;
    const bool related = own->count > 0 && !hides_principal(writer);
    for (int attempt = 0; attempt < 40; attempt++) {
        const bool near = related && attempt < 20 && chance(writer->rng, 0.5);
        const struct code_list *list = near ? own : &writer->knowledge->serious;
        const int32_t code = list->index[rng_pick(writer->rng, list->cumulative, list->count)];
        const struct diagnosis *diagnosis = &writer->knowledge->diagnoses[code];
        if (diagnosis->kind == KIND_ACTIVE && diagnosis->code[0] != 'O' && diagnosis->wordings.count > 0 &&
            sex_fits(writer, diagnosis->sex) && !is_present(writer, diagnosis))
            return code;
    }
    return -1;
}

static void add_paragraph(struct course *course, enum paragraph_kind kind, int32_t code) {
    if (code >= 0 && course->paragraph_count < PARAGRAPHS)
        course->paragraphs[course->paragraph_count++] = (struct paragraph){kind, code};
}

/* What is told between the principal condition and the chronic ones. The condition that decides the severity is always
 * named; another one may be told by its findings or treatment alone. */
static void plan_paragraphs(struct course *course) {
    struct writer *writer = course->writer;
    const struct knowledge *knowledge = writer->knowledge;
    const int base = writer->stay->profile->drg->base;
    const enum cc_level highest = synthetic_stay_level(knowledge, writer->stay);
    if (writer->tell == TELL_PRINCIPAL_ONLY) return;
    for (size_t i = 0; i < writer->active_count; i++) {
        const int32_t code = writer->active[i];
        const bool decides =
            knowledge_level(knowledge, code, writer->stay->principal, base) == highest && highest != LEVEL_NONE;
        const bool implicit = !decides && knowledge->diagnoses[code].clauses.count > 0 && chance(writer->rng, 0.12);
        add_paragraph(course, implicit ? PARAGRAPH_IMPLICIT : PARAGRAPH_ACTIVE, code);
    }
    const size_t absent =
        rng_below(writer->rng, 2) + (course->words >= 110) + (course->words >= 220 ? rng_below(writer->rng, 3) : 0);
    for (size_t i = 0; i < absent; i++) add_paragraph(course, PARAGRAPH_ABSENT, draw_absent(writer));
    const size_t past = rng_below(writer->rng, knowledge->procedure_count);
    if (chance(writer->rng, 0.15) && sex_fits(writer, knowledge->procedures[past].sex))
        add_paragraph(course, PARAGRAPH_PAST_PROCEDURE, (int32_t)past);
    rng_shuffle(writer->rng, course->paragraphs, course->paragraph_count, sizeof *course->paragraphs);
}

/* History of the opening: past conditions, and the first chronic ones. A chronic condition that counts as CC or MCC
 * stands in lists like the others: where it stands says nothing about it. */
static void join_history(struct course *course, struct text *history) {
    struct writer *writer = course->writer;
    int32_t named[SECONDARY_LIMIT];
    size_t count = 0;
    for (size_t i = 0; i < writer->past_count; i++) named[count++] = writer->past[i];
    course->told = writer->chronic_count < 3 ? writer->chronic_count : 1 + rng_below(writer->rng, 3);
    for (size_t i = 0; i < course->told; i++) named[count++] = writer->chronic[i];
    if (count == 0) text_add(history, phrase_pick(writer->rng, &writer->knowledge->templates[SLOT_HISTORY_NONE]));
    rng_shuffle(writer->rng, named, count, sizeof *named);
    add_names(writer, history, named, count);
}

static void add_opening(struct course *course) {
    struct writer *writer = course->writer;
    const struct synthetic_stay *stay = writer->stay;
    struct text history = {0};
    join_history(course, &history);
    const char *symptom = condition_finding(writer, stay->principal, FINDING_SYMPTOM);
    const struct filling filling = {.x = condition_name(writer, stay->principal),
                                    .s = symptom,
                                    .history = history.data == NULL ? "" : history.data,
                                    .p =
                                        stay->procedure_count > 0 ? procedure_name(writer, stay->procedures[0]) : NULL};
    enum template_slot slot = course->late ? SLOT_OPENING_LATE : SLOT_OPENING;
    if (symptom != NULL && !hides_principal(writer) && chance(writer->rng, 0.6))
        slot = course->late ? SLOT_OPENING_SYMPTOM_LATE : SLOT_OPENING_SYMPTOM;
    if (stay->admission.elective && !course->late) slot = SLOT_OPENING_PLANNED;
    const size_t from = writer->out->length;
    add_sentence(writer, slot, filling);
    if (!writer->out->failed) text_append(&course->quote, writer->out->data + from, writer->out->length - from);
    text_free(&history);
}

/* The heading of a problem: "# AKI: ", "2. AKI - ", or a line of its own. */
static void add_problem_head(struct course *course, const char *name) {
    static const char *const marks[] = {"# ", "#", "# ", "- ", "* "};
    static const char *const ends[] = {": ", " - ", ": ", ". "};
    struct writer *writer = course->writer;
    struct text *out = writer->out;
    if (writer->author.layout == LAYOUT_NUMBERED)
        text_printf(out, "%d%s", course->number++, chance(writer->rng, 0.5) ? ". " : ") ");
    else
        text_add(out, writer->author.layout == LAYOUT_HEADED ? "# " : marks[rng_below(writer->rng, 5)]);
    const size_t at = out->length;
    if (writer->author.problem_case == CASE_LOWER)
        text_add(out, name);
    else
        add_capital(out, name);
    for (size_t i = at; writer->author.problem_case == CASE_UPPER && !out->failed && i < out->length; i++)
        out->data[i] = (char)toupper((unsigned char)out->data[i]);
    text_add(out, writer->author.layout == LAYOUT_HEADED ? (chance(writer->rng, 0.5) ? ":\n" : "\n")
                                                         : ends[rng_below(writer->rng, 4)]);
}

/* More of what was found and done about a condition. */
static void add_more_clauses(struct course *course, int32_t code, const char *said) {
    struct writer *writer = course->writer;
    const struct phrases *clauses = &writer->knowledge->diagnoses[code].clauses;
    for (size_t i = 0; i < clauses->count && i < 3; i++) {
        const char *clause = phrase_pick(writer->rng, clauses);
        if (clause == said || clause_contradicts(writer, clause) ||
            !chance(writer->rng, course->words >= 200 ? 0.7 : 0.3))
            continue;
        add_break(writer, false);
        add_sentence(writer, SLOT_CLAUSE, (struct filling){.c = clause});
        said = clause;
    }
}

/* A problem of the list: its name, what was done, and the templates of the problem slots for variety. */
static void add_problem(struct course *course, int32_t code, enum template_slot slot) {
    struct writer *writer = course->writer;
    const char *name = condition_name(writer, code), *clause = condition_clause(writer, code);
    add_break(writer, true);
    if (writer->author.layout == LAYOUT_PROBLEMS && chance(writer->rng, 0.3)) {
        add_sentence(writer, slot, (struct filling){.x = name, .c = clause});
    } else {
        add_problem_head(course, name);
        if (chance(writer->rng, 0.5))
            add_capital(writer->out, clause);
        else
            text_add(writer->out, clause);
        text_add_char(writer->out, '.');
    }
    add_more_clauses(course, code, clause);
}

static void add_procedures(struct course *course) {
    struct writer *writer = course->writer;
    for (size_t i = 0; i < writer->stay->procedure_count; i++) {
        const struct filling filling = {.p = procedure_name(writer, writer->stay->procedures[i]),
                                        .day = writer->stay->procedure_days[i] + 1};
        add_break(writer, !by_problem(course) && writer->author.layout != LAYOUT_PROSE);
        if (by_problem(course) && i == 0 && chance(writer->rng, 0.5))
            add_sentence(writer, SLOT_PROCEDURE_PROBLEM, filling);
        else
            add_sentence(writer, i == 0 ? SLOT_PROCEDURE : SLOT_PROCEDURE_MINOR, filling);
    }
}

static void add_principal(struct course *course) {
    struct writer *writer = course->writer;
    const int32_t code = writer->stay->principal;
    /* Named nowhere yet and behind others, it has to be said to be the reason for the stay. */
    const bool said = course->late && (course->behind || chance(writer->rng, 0.25));
    if (by_problem(course) && !said) {
        add_problem(course, code, SLOT_PROBLEM_PRINCIPAL);
        add_procedures(course);
        return;
    }
    const struct filling filling = {.x = condition_name(writer, code), .c = condition_clause(writer, code)};
    add_break(writer, writer->author.layout != LAYOUT_PROSE);
    if (course->late) {
        add_sentence(writer, SLOT_PRINCIPAL_LATE, filling);
        add_break(writer, false);
    }
    add_sentence(writer, SLOT_CLAUSE, filling);
    add_more_clauses(course, code, filling.c);
    add_procedures(course);
}

static void add_absent(struct course *course, int32_t code) {
    struct writer *writer = course->writer;
    const struct filling filling = {.x = condition_name(writer, code)};
    const uint64_t way = rng_below(writer->rng, 10);
    add_break(writer, by_problem(course));
    if (way < 6)
        add_sentence(writer, by_problem(course) && chance(writer->rng, 0.6) ? SLOT_PROBLEM_NEGATED : SLOT_NEGATED,
                     filling);
    else
        add_sentence(writer, way < 9 ? SLOT_HISTORICAL : SLOT_FAMILY, filling);
}

static void add_one(struct course *course, const struct paragraph *paragraph) {
    struct writer *writer = course->writer;
    const int32_t code = paragraph->code;
    switch (paragraph->kind) {
    case PARAGRAPH_ACTIVE:
        if (by_problem(course)) {
            add_problem(course, code, SLOT_PROBLEM_ACTIVE);
            return;
        }
        add_break(writer, writer->author.layout != LAYOUT_PROSE);
        add_sentence(writer, chance(writer->rng, 0.33) ? SLOT_ACTIVE_BARE : SLOT_ACTIVE,
                     (struct filling){.x = condition_name(writer, code), .c = condition_clause(writer, code)});
        return;
    case PARAGRAPH_IMPLICIT:
        add_break(writer, by_problem(course));
        if (by_problem(course)) text_add(writer->out, "- ");
        add_sentence(writer, SLOT_CLAUSE, (struct filling){.c = condition_clause(writer, code)});
        return;
    case PARAGRAPH_ABSENT:
        add_absent(course, code);
        return;
    case PARAGRAPH_PAST_PROCEDURE:
        add_break(writer, by_problem(course));
        add_sentence(writer, SLOT_PROCEDURE_PAST, (struct filling){.p = procedure_name(writer, code)});
    }
}

static void add_chronic(struct course *course) {
    struct writer *writer = course->writer;
    struct text list = {0};
    const size_t left = writer->chronic_count - course->told;
    if (left == 0) return;
    if (writer->author.layout == LAYOUT_HEADED) {
        add_break(writer, true);
        add_sentence(writer, SLOT_HEADING_CHRONIC, (struct filling){0});
        text_add_char(writer->out, '\n');
    }
    add_names(writer, &list, writer->chronic + course->told, left);
    add_break(writer, writer->author.layout != LAYOUT_PROSE);
    if (!list.failed)
        add_sentence(writer, by_problem(course) ? SLOT_PROBLEM_CHRONIC : SLOT_CHRONIC,
                     (struct filling){.list = list.data});
    text_free(&list);
}

/* Words of the course so far. */
static int count_words(const struct course *course) {
    const struct text *out = course->writer->out;
    int words = 0;
    bool inside = false;
    for (size_t i = course->start; i < out->length && out->data != NULL; i++) {
        const bool blank = out->data[i] == ' ' || out->data[i] == '\n';
        words += !blank && !inside;
        inside = !blank;
    }
    return words;
}

/* A template that the course does not have yet; once all are used they begin anew. */
static const char *pick_unused(struct course *course, enum template_slot slot) {
    const struct phrases *phrases = &course->writer->knowledge->templates[slot];
    bool *used = course->used[slot];
    const size_t count = phrases->count < FILLERS ? phrases->count : FILLERS,
                 first = rng_below(course->writer->rng, count);
    for (size_t i = 0; i < count; i++) {
        const size_t at = (first + i) % count;
        if (used[at]) continue;
        used[at] = true;
        return phrases->items[at];
    }
    memset(used, 0, FILLERS);
    return phrases->items[first];
}

/* Sentences that say nothing about the DRG, until the course has `share` of the words aimed at. Who dies does not
 * recover before. */
static void add_filling(struct course *course, double share, enum template_slot slot) {
    struct writer *writer = course->writer;
    while (count_words(course) < (int)(share * course->words) && !writer->out->failed) {
        const bool recovers = slot == SLOT_FILLER && writer->stay->admission.destination != TO_DIED &&
                              writer->stay->admission.destination != TO_HOSPICE && chance(writer->rng, 0.5);
        add_break(writer, writer->author.layout == LAYOUT_LINES);
        add_template(writer, pick_unused(course, recovers ? SLOT_FILLER_RECOVERY : slot), (struct filling){0});
    }
}

/* How the course ends: where the patient goes, or what can be said of all who leave alive. */
static enum template_slot end_slot(struct writer *writer) {
    static const enum template_slot slots[DESTINATIONS] = {[TO_HOME] = SLOT_END_HOME,
                                                           [TO_HOME_SERVICES] = SLOT_END_SERVICES,
                                                           [TO_NURSING] = SLOT_END_NURSING,
                                                           [TO_REHAB] = SLOT_END_REHAB,
                                                           [TO_LONG_TERM] = SLOT_END_LONG_TERM,
                                                           [TO_HOSPICE] = SLOT_END_HOSPICE,
                                                           [TO_PSYCHIATRY] = SLOT_END_PSYCHIATRIC,
                                                           [TO_AGAINST_ADVICE] = SLOT_END_AGAINST,
                                                           [TO_ACUTE] = SLOT_END_ACUTE,
                                                           [TO_DIED] = SLOT_END_DIED};
    const enum destination destination = writer->stay->admission.destination;
    const bool told = destination == TO_DIED || destination == TO_HOSPICE || destination == TO_AGAINST_ADVICE;
    if (hides_principal(writer) && !told) return SLOT_END; /* who goes to psychiatry or rehab tells why he came */
    return told || chance(writer->rng, 0.55) ? slots[destination] : SLOT_END;
}

static void add_close(struct course *course) {
    struct writer *writer = course->writer;
    const bool alive = writer->stay->admission.destination != TO_DIED;
    const bool listed = alive && by_problem(course) && chance(writer->rng, course->words >= 120 ? 0.7 : 0.25);
    if (listed) {
        const size_t lines = 1 + rng_below(writer->rng, 3);
        for (size_t i = 0; i < lines; i++) {
            add_break(writer, true);
            add_sentence(writer, SLOT_HOUSEKEEPING, (struct filling){0});
        }
    }
    if (listed && chance(writer->rng, 0.5)) {
        const size_t lines = 1 + rng_below(writer->rng, 4);
        add_break(writer, true);
        add_sentence(writer, SLOT_HEADING_TRANSITION, (struct filling){0});
        for (size_t i = 0; i < lines; i++) {
            add_break(writer, true);
            add_sentence(writer, SLOT_TRANSITION, (struct filling){0});
        }
    }
    add_break(writer, by_problem(course));
    if (course->words >= 180 && chance(writer->rng, 0.2)) {
        add_sentence(writer, SLOT_COPY, (struct filling){.quote = course->quote.data});
        add_break(writer, by_problem(course));
    }
    add_sentence(writer, end_slot(writer), (struct filling){0});
}

/* Lengths are spread log-normally about the mean. */
static int draw_words(struct rng *rng, int mean) {
    const double spread = 0.45, words = mean * exp(spread * rng_normal(rng) - spread * spread / 2);
    return words < SHORTEST ? SHORTEST : words > LONGEST ? LONGEST : (int)words;
}

/* The principal condition, its procedures and how it went. */
static void add_main(struct course *course) {
    struct writer *writer = course->writer;
    if (hides_principal(writer)) return;
    add_principal(course);
    if (!chance(writer->rng, 0.5)) return;
    add_break(writer, false);
    add_sentence(writer, writer->stay->admission.destination == TO_DIED ? SLOT_CARE_DIED : SLOT_CARE,
                 (struct filling){0});
}

/* Without the principal condition nothing akin to it may stand either, in the background nothing that goes with it;
 * with nothing else, no history. */
static void cut_conditions(struct writer *writer) {
    const struct diagnosis *diagnoses = writer->knowledge->diagnoses, *principal = &diagnoses[writer->stay->principal];
    const struct {
        int32_t *codes;
        size_t *count;
    } lists[] = {{writer->active, &writer->active_count},
                 {writer->chronic, &writer->chronic_count},
                 {writer->past, &writer->past_count}};
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        size_t kept = 0;
        for (size_t i = 0; hides_principal(writer) && i < *lists[l].count; i++) {
            const int32_t code = lists[l].codes[i];
            const bool kin =
                akin(&diagnoses[code], principal) || (writer->tell == TELL_BACKGROUND && is_companion(writer, code));
            if (!kin) lists[l].codes[kept++] = code;
        }
        *lists[l].count = kept;
    }
}

void course_write(struct writer *writer, int words) {
    struct course course = {.writer = writer, .start = writer->out->length, .number = 1};
    const bool elective = writer->stay->admission.elective && !hides_principal(writer);
    course.late = (chance(writer->rng, 0.35) && !elective) || hides_principal(writer);
    course.words = draw_words(writer->rng, words);
    /* Most authors put the principal condition first; some tell of others before it. */
    const bool first = chance(writer->rng, 0.85);
    if (writer->tell != TELL_ALL) cut_conditions(writer);
    plan_paragraphs(&course);
    const size_t before = first || course.paragraph_count == 0 ? 0 : 1 + rng_below(writer->rng, course.paragraph_count);
    add_opening(&course);
    add_filling(&course, 0.25, elective ? SLOT_ELECTIVE : SLOT_ED);
    if (writer->author.layout == LAYOUT_HEADED) {
        text_add(writer->out, "\n");
        add_sentence(writer, SLOT_HEADING_ACUTE, (struct filling){0});
        text_add(writer->out, chance(writer->rng, 0.5) ? "\n=============" : "");
    }
    course.behind = before > 0;
    for (size_t i = 0; i < before; i++) add_one(&course, &course.paragraphs[i]);
    add_main(&course);
    for (size_t i = before; i < course.paragraph_count; i++) {
        add_one(&course, &course.paragraphs[i]);
        if (i + 1 < course.paragraph_count)
            add_filling(&course, 0.3 + 0.45 * (double)(i + 1) / (double)course.paragraph_count, SLOT_FILLER);
    }
    add_filling(&course, 0.87, SLOT_FILLER);
    add_chronic(&course);
    add_close(&course);
    text_free(&course.quote);
}
