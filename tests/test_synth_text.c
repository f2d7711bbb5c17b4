/* What synthetic notes say: the condition that decides the severity is told and not denied, whatever the author's
 * habits; the sections are those of a discharge summary; codes nobody wrote wordings for are told in other words. */
#include "base/error.h"
#include "base/text.h"
#include "data/synth_admission.h"
#include "data/synth_knowledge.h"
#include "data/synth_note.h"
#include "data/synth_stay.h"
#include "data/synth_title.h"
#include "drg/published_section.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

static struct knowledge knowledge;
static struct profile_weights weights;

static int load(void **state) {
    (void)state;
    struct error error = {0};
    return !knowledge_load(&knowledge, "data/synth", NULL, &error) ||
           !profile_weights_make(&weights, &knowledge, 0.3, &error);
}

static int unload(void **state) {
    (void)state;
    profile_weights_free(&weights);
    knowledge_free(&knowledge);
    return 0;
}

/* A stay with its note; the hospital course is cut out. */
struct told {
    struct synthetic_stay stay;
    struct text note, course;
    struct span span;
};

static void tell(struct told *told, const struct note_style *style, uint64_t number) {
    static const double split[] = {1, 0, 0};
    struct rng rng;
    const struct patient patient = patient_draw(8, (int64_t)number, weights.obstetric, split);
    struct synthetic_stay *stay = &told->stay;
    *stay = (struct synthetic_stay){.female = patient_is_female(&patient), .age = patient.age};
    rng_seed_stream(&rng, 8, 1, number);
    synthetic_stay_draw(stay, &knowledge, &weights, patient.kind, &rng);
    const struct discharge_rules rules = synthetic_stay_rules(&knowledge, stay);
    const bool surgical = stay->profile->drg->type == DRG_SURGICAL && stay->procedure_count > 0;
    stay->admission = admission_draw(&patient, 1, true, stay->days, surgical, &rules, &rng);
    synthetic_stay_draw_procedure_days(stay, &rng);
    text_clear(&told->note);
    text_clear(&told->course);
    synthetic_note_write(&told->note, &told->span, &knowledge, stay, style, &rng);
    if (told->note.failed) fail_msg("out of memory");
    text_append(&told->course, told->note.data + told->span.start, told->span.end - told->span.start);
}

static void told_free(struct told *told) {
    text_free(&told->note);
    text_free(&told->course);
}

/* Whether the word in the text may be this word, mistyped: two letters swapped, one left out, one doubled. */
static bool same_word(const char *typed, size_t typed_length, const char *word, size_t length, bool slips) {
    if (typed_length == length && strncasecmp(typed, word, length) == 0) return true;
    if (!slips || length < 5 || typed_length + 1 < length || typed_length > length + 1) return false;
    size_t front = 0, back = 0;
    const size_t shorter = typed_length < length ? typed_length : length;
    while (front < shorter && tolower((unsigned char)typed[front]) == tolower((unsigned char)word[front])) front++;
    while (back < shorter - front &&
           tolower((unsigned char)typed[typed_length - 1 - back]) == tolower((unsigned char)word[length - 1 - back]))
        back++;
    if (typed_length == length) return front + back + 2 >= length;
    return front + back + 1 >= (typed_length > length ? typed_length : length);
}

/* The end of the wording if it stands at `at`: each word as it is, mistyped, or it and those behind it shortened; NULL
 * if it does not. */
static const char *match_wording(const char *at, const char *wording, bool styled) {
    if (*wording == '\0') return at;
    if (!isalpha((unsigned char)*wording))
        return tolower((unsigned char)*at) == tolower((unsigned char)*wording)
                   ? match_wording(at + 1, wording + 1, styled)
                   : NULL;
    size_t length = 0, typed = 0;
    while (isalpha((unsigned char)wording[length])) length++;
    while (isalpha((unsigned char)at[typed])) typed++;
    if (same_word(at, typed, wording, length, styled)) {
        const char *end = match_wording(at + typed, wording + length, styled);
        if (end != NULL) return end;
    }
    const struct tsv *table = &knowledge.tables[TABLE_ABBREVIATIONS];
    for (size_t row = 0; styled && row < table->rows; row++) {
        const char *full = tsv_cell(table, row, 0), *brief = tsv_cell(table, row, 1);
        if (strncasecmp(wording, full, strlen(full)) != 0 || strncasecmp(at, brief, strlen(brief)) != 0) continue;
        const char *end = match_wording(at + strlen(brief), wording + strlen(full), styled);
        if (end != NULL) return end;
    }
    return NULL;
}

/* What stands before and behind {x} in a template, as far as the next placeholder. */
static bool template_fits(const char *template, const char *course, const char *start, const char *end) {
    const char *x = strstr(template, "{x");
    if (x == NULL) return false;
    const char *from = x;
    while (from > template && from[-1] != '}') from--;
    const char *behind = strchr(x, '}') + 1;
    const size_t before = (size_t)(x - from), after = strcspn(behind, "{");
    return (size_t)(start - course) >= before && strncasecmp(start - before, from, before) == 0 &&
           strncasecmp(end, behind, after) == 0 && before + after > 3;
}

static bool is_denied(const char *course, const char *start, const char *end) {
    static const enum template_slot slots[] = {SLOT_NEGATED, SLOT_HISTORICAL, SLOT_FAMILY, SLOT_PROBLEM_NEGATED};
    for (size_t s = 0; s < sizeof slots / sizeof slots[0]; s++) {
        const struct phrases *templates = &knowledge.templates[slots[s]];
        for (size_t i = 0; i < templates->count; i++) {
            if (template_fits(templates->items[i], course, start, end)) return true;
        }
    }
    return false;
}

/* Whether a wording of the diagnosis stands in the course; *denied: and anywhere as ruled out, past or a relative's. */
static bool is_told(const struct told *told, const struct diagnosis *diagnosis, bool styled, bool *denied) {
    const char *course = told->course.data;
    bool found = false;
    *denied = false;
    for (size_t w = 0; w < diagnosis->wordings.count; w++) {
        for (const char *at = course; *at != '\0'; at++) {
            if (at > course && isalnum((unsigned char)at[-1])) continue;
            const char *end = match_wording(at, diagnosis->wordings.items[w], styled);
            if (end == NULL || isalnum((unsigned char)*end)) continue;
            found = true;
            *denied = *denied || is_denied(course, at, end);
        }
    }
    return found;
}

static void check_deciding(const struct note_style *style, int stays) {
    struct told told = {.note = {0}};
    const bool styled = style->abbreviates > 0 || style->misspells > 0;
    for (int i = 0; i < stays; i++) {
        tell(&told, style, (uint64_t)i);
        const struct synthetic_stay *stay = &told.stay;
        const enum cc_level highest = synthetic_stay_level(&knowledge, stay);
        for (size_t s = 0; highest != LEVEL_NONE && s < stay->secondary_count; s++) {
            const struct diagnosis *diagnosis = &knowledge.diagnoses[stay->secondary[s]];
            bool denied;
            if (knowledge_level(&knowledge, stay->secondary[s], stay->principal, stay->profile->drg->base) != highest)
                continue;
            if (!is_told(&told, diagnosis, styled, &denied))
                fail_msg("stay %d: %s decides the severity of DRG %d and is not told in: %s", i, diagnosis->code,
                         stay->profile->drg->code, told.course.data);
            if (denied)
                fail_msg("stay %d: %s decides the severity of DRG %d and is denied in: %s", i, diagnosis->code,
                         stay->profile->drg->code, told.course.data);
        }
    }
    told_free(&told);
}

static void the_deciding_condition_is_told_and_not_denied(void **state) {
    (void)state;
    check_deciding(&(struct note_style){.words = 150}, 3000);
}

static void habits_and_slips_leave_it_recognisable(void **state) {
    (void)state;
    check_deciding(&(struct note_style){.words = 150, .misspells = 0.003, .abbreviates = 1}, 2000);
}

/* As MIMIC-IV's summaries have them, in this order. */
static void every_note_has_the_sections_of_a_discharge_summary(void **state) {
    (void)state;
    static const char *const headings[] = {"Name:",
                                           "Unit No:",
                                           "Admission Date:",
                                           "Discharge",
                                           "Date of Birth:",
                                           "Sex:",
                                           "Service:",
                                           "Allergies:",
                                           "Attending:",
                                           "Chief Complaint:",
                                           "Major Surgical or Invasive Procedure:",
                                           "History of Present Illness:",
                                           "Past Medical History:",
                                           "Social History:",
                                           "Family History:",
                                           "Physical Exam:",
                                           "Pertinent Results:",
                                           "Brief Hospital Course:",
                                           "Medications on Admission:",
                                           "Discharge Medications:",
                                           "Discharge Disposition:",
                                           "Discharge Diagnosis:",
                                           "Discharge Condition:",
                                           "Discharge Instructions:",
                                           "Followup Instructions:"};
    const struct note_style style = {.words = 150, .misspells = 0.003, .abbreviates = 1};
    struct told told = {.note = {0}};
    for (uint64_t i = 0; i < 500; i++) {
        tell(&told, &style, i);
        const char *at = told.note.data;
        for (size_t h = 0; h < sizeof headings / sizeof headings[0]; h++) {
            const char *found = strstr(at, headings[h]);
            if (found == NULL) fail_msg("note %d has no %s", (int)i, headings[h]);
            at = found + strlen(headings[h]);
        }
        assert_non_null(strstr(told.note.data, "___"));
    }
    told_free(&told);
}

static void readers_of_real_notes_find_the_same_course(void **state) {
    (void)state;
    const struct note_style style = {.words = 150, .misspells = 0.003, .abbreviates = 1};
    struct told told = {.note = {0}};
    for (uint64_t i = 0; i < 500; i++) {
        struct span honest;
        tell(&told, &style, i);
        struct span published = told.span;
        assert_true(note_hospital_course(told.note.data, told.note.length, &honest));
        assert_int_equal(honest.end - honest.start, told.span.end - told.span.start);
        assert_memory_equal(told.note.data + honest.start, told.course.data, told.course.length);
        assert_true(published_section(told.note.data, told.note.length, &published) > 0);
        assert_memory_equal(strstr(told.note.data + published.start, told.course.data), told.course.data,
                            told.course.length);
    }
    told_free(&told);
}

/* Words of the course, the least, the most and the mean of many. */
static void courses_have_60_to_900_words(void **state) {
    (void)state;
    static const int means[] = {100, 150, 400};
    struct told told = {.note = {0}};
    for (size_t m = 0; m < 3; m++) {
        const struct note_style style = {.words = means[m], .misspells = 0.003, .abbreviates = 1};
        double sum = 0;
        enum { NOTES = 800 };
        for (uint64_t i = 0; i < NOTES; i++) {
            tell(&told, &style, i);
            const size_t words = count_words(told.course.data, told.course.length, SIZE_MAX);
            if (words < 50 || words > 960) fail_msg("a course of %zu words", words);
            sum += (double)words;
        }
        const double mean = sum / NOTES;
        if (mean < 0.85 * means[m] || mean > 1.2 * means[m])
            fail_msg("mean of %.0f words, asked for %d", mean, means[m]);
    }
    told_free(&told);
}

/* Where a stay ends is what its note says. */
static void notes_end_as_the_stay_does(void **state) {
    (void)state;
    const struct note_style style = {.words = 150};
    struct told told = {.note = {0}};
    size_t ends[DESTINATIONS] = {0};
    for (uint64_t i = 0; i < 4000; i++) {
        tell(&told, &style, i);
        const enum destination destination = told.stay.admission.destination;
        const char *disposition = strstr(told.note.data, "Discharge Disposition:\n") + 23;
        const bool dead = strstr(told.course.data, "died") != NULL || strstr(told.course.data, "expired") != NULL ||
                          strstr(told.course.data, "passed away") != NULL ||
                          strstr(told.course.data, "pronounced dead") != NULL;
        ends[destination]++;
        if (strncmp(disposition, destination_disposition(destination), strlen(destination_disposition(destination))) !=
            0)
            fail_msg("the note ends in %.20s, the stay in %s", disposition, destination_location(destination));
        if (destination == TO_DIED && !dead) fail_msg("a death untold: %s", told.course.data);
        if (destination != TO_NURSING && strstr(told.course.data, "nursing facility in stable") != NULL)
            fail_msg("to a nursing facility, but %s", destination_location(destination));
        if (destination == TO_DIED) assert_null(strstr(told.course.data, "Discharged home"));
    }
    for (int d = 0; d < DESTINATIONS; d++) assert_true(ends[d] > 0);
    told_free(&told);
}

static void titles_are_reworded(void **state) {
    (void)state;
    static const struct {
        const char *title, *wording, *never;
    } cases[] = {{"Cholera, unspecified", "cholera", "unspecified"},
                 {"Malignant neoplasm of gallbladder", "cancer of the gallbladder", "Malignant"},
                 {"Abscess of lung without pneumonia", "abscess of lung w/o pneumonia", "|Abscess"},
                 {"Other specified disorders of bladder", "disorders of bladder", "specified"},
                 {"Abscess of liver", "liver abscess", "xx"},
                 {"Hemorrhage, anorectal", "anorectal hemorrhage", "xx"},
                 {"Crohn's disease", "Crohn's illness", "crohn"},
                 {"Pasteurellosis", "diagnosis of pasteurellosis", "xx"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text out = {0};
        title_reword(&out, cases[i].title);
        assert_non_null(out.data);
        if (strcasestr(out.data, cases[i].wording) == NULL || strchr(out.data, '|') == NULL ||
            strstr(out.data, cases[i].never) != NULL)
            fail_msg("%s: %s", cases[i].title, out.data);
        text_free(&out);
    }
}

/* Code, and what its name must hold. */
static void procedures_are_named_from_their_characters(void **state) {
    (void)state;
    static const struct {
        const char *code, *part[2];
    } cases[] = {{"0DTH0ZZ", {"cecum", "removal"}},
                 {"0DTG4ZZ", {"left colon", "laparoscopic"}},
                 {"3E030VH", {"infusion", "body"}},
                 {"B4040ZZ", {"arteries", "x-ray"}},
                 {"5A1955Z", {"ventilat", "ventilat"}},
                 {"02100Z9", {"coronary", "open"}},
                 {"XW03366", {"new technology", "new technology"}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text out = {0};
        if (!procedure_compose(&knowledge, cases[i].code, &out)) fail_msg("%s has no name", cases[i].code);
        if (strstr(out.data, cases[i].part[0]) == NULL || strstr(out.data, cases[i].part[1]) == NULL ||
            strstr(out.data, "||") != NULL || out.data[out.length - 1] == '|')
            fail_msg("%s: %s", cases[i].code, out.data);
        text_free(&out);
    }
    struct text out = {0};
    assert_false(procedure_compose(&knowledge, "QQQQQQQ", &out));
    assert_false(procedure_compose(&knowledge, "0D", &out));
    text_free(&out);
}

static void every_placeholder_is_filled(void **state) {
    (void)state;
    static const char known[] =
        ",x,x_cap,c,c_cap,p,p_cap,s,s_cap,list,list_cap,history,quote,age,sex,he,He,his,His,him,n,d,hr,bp,";
    for (int slot = 0; slot < SLOTS; slot++) {
        for (size_t i = 0; i < knowledge.templates[slot].count; i++) {
            for (const char *at = knowledge.templates[slot].items[i]; (at = strchr(at, '{')) != NULL; at++) {
                char name[24];
                snprintf(name, sizeof name, ",%.*s,", (int)strcspn(at + 1, "}"), at + 1);
                if (strstr(known, name) == NULL)
                    fail_msg("unknown placeholder in: %s", knowledge.templates[slot].items[i]);
            }
        }
    }
    struct told told = {.note = {0}};
    for (uint64_t i = 0; i < 1000; i++) {
        tell(&told, &(struct note_style){.words = 150}, i);
        assert_null(strchr(told.note.data, '{'));
        if (strstr(told.course.data, "  ") != NULL) fail_msg("a word is missing in: %s", told.course.data);
    }
    told_free(&told);
}

static void courses_told_in_part_leave_the_rest_out(void **state) {
    (void)state;
    struct told all = {.note = {0}}, part = {.note = {0}};
    size_t named[3] = {0};
    for (uint64_t i = 0; i < 600; i++) {
        for (int t = TELL_NO_PRINCIPAL; t <= TELL_PRINCIPAL_ONLY; t++) {
            const struct note_style style = {.words = 150, .tell = (enum tell)t};
            bool denied;
            tell(&all, &(struct note_style){.words = 150}, i);
            tell(&part, &style, i);
            assert_int_equal(all.stay.principal, part.stay.principal);
            assert_int_equal(all.stay.secondary_count, part.stay.secondary_count);
            const bool told = is_told(&part, &knowledge.diagnoses[part.stay.principal], false, &denied);
            if (t != TELL_PRINCIPAL_ONLY) {
                named[1] += told;
                for (size_t p = 0; p < part.stay.procedure_count; p++) {
                    const struct diagnosis as = {.wordings = knowledge.procedures[part.stay.procedures[p]].wordings};
                    named[1] += is_told(&part, &as, false, &denied);
                }
                continue;
            }
            if (!told && knowledge.diagnoses[part.stay.principal].clauses.count == 0)
                fail_msg("the principal condition is not told: %s", part.course.data);
            for (size_t s = 0; s < part.stay.secondary_count; s++)
                named[2] += is_told(&part, &knowledge.diagnoses[part.stay.secondary[s]], false, &denied);
        }
    }
    /* Wordings are shared by neighbouring codes, so a few remain. */
    if (named[1] > 24 || named[2] > 60)
        fail_msg("%zu principal conditions and procedures, %zu other conditions remain", named[1], named[2]);
    told_free(&all);
    told_free(&part);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_deciding_condition_is_told_and_not_denied),
        cmocka_unit_test(habits_and_slips_leave_it_recognisable),
        cmocka_unit_test(every_note_has_the_sections_of_a_discharge_summary),
        cmocka_unit_test(readers_of_real_notes_find_the_same_course),
        cmocka_unit_test(courses_have_60_to_900_words),
        cmocka_unit_test(notes_end_as_the_stay_does),
        cmocka_unit_test(titles_are_reworded),
        cmocka_unit_test(procedures_are_named_from_their_characters),
        cmocka_unit_test(every_placeholder_is_filled),
        cmocka_unit_test(courses_told_in_part_leave_the_rest_out),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
