/* Rationales of synthetic stays say what is so: each sentence is held against the generator's own truth. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "command.h"
#include "data/rationale_log.h"
#include "data/synth_note.h"
#include "data/synth_rationale.h"
#include "drg/knowledge_rows.h"
#include "drg/named_title.h"
#include "folder.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct knowledge knowledge;
static struct rationale_words words;

static int load(void **state) {
    struct error error = {0};
    return folder_make(state) != 0 || !knowledge_load(&knowledge, "data/synth", NULL, &error) ||
           !rationale_words_load(&words, "data/synth", &error);
}

static int unload(void **state) {
    rationale_words_free(&words);
    knowledge_free(&knowledge);
    return folder_remove(state);
}

/* Sentences that can be taken apart again: "slot(name; name)". */
static const char probe[] =
    "slot\ttemplate\n"
    "principal\tprincipal({x})\n"
    "operation\toperation({list})\n"
    "procedure\tprocedure({list})\n"
    "medical\tmedical()\n"
    "companion\tcompanion({list})\n"
    "died\tdied()\nalive\talive()\nagainst\tagainst()\n"
    "mcc\tmcc({list})\n"
    "cc\tcc({list})\n"
    "lower\tlower({list})\n"
    "excluded_mcc\texcluded_mcc({list})\n"
    "excluded_cc\texcluded_cc({list})\n"
    "unused_mcc\tunused_mcc({list})\n"
    "unused_cc\tunused_cc({list})\n"
    "neither\tneither({list})\n"
    "nothing\tnothing()\nany\tany()\nwithout_mcc\twithout_mcc()\ncc_mcc\tcc_mcc()\n"
    "more_mcc\tmore_mcc({other})\nmore_cc\tmore_cc({other})\nmore_cc_mcc\tmore_cc_mcc({other})\n"
    "less\tless({other})\n"
    "choice\tchoice({title})\n"
    "conclusion\tconclusion({title})\n";

/* What stands in the parentheses of a slot; NULL when it does not stand there. */
static const char *slot_of(const char *text, const char *slot) {
    static char inside[4][4096];
    static int next;
    char head[32];
    const size_t length = strlen(slot);
    snprintf(head, sizeof head, "%s(", slot);
    for (const char *at = text; (at = strstr(at, head)) != NULL; at++) {
        if (at > text && at[-1] != ' ') continue;
        const char *end = strstr(at, ") ");
        if (end == NULL) end = at + strlen(at) - 1;
        char *out = inside[next++ % 4];
        snprintf(out, sizeof inside[0], "%.*s", (int)(end - at - (ptrdiff_t)length - 1), at + length + 1);
        return out;
    }
    return NULL;
}

static bool has_wording(const struct phrases *wordings, const char *name, size_t length) {
    for (size_t i = 0; i < wordings->count; i++) {
        if (strlen(wordings->items[i]) == length && memcmp(wordings->items[i], name, length) == 0) return true;
    }
    return false;
}

/* The levels of a secondary diagnosis: of its own, beside the principal diagnosis, and in the stay. */
struct levels {
    enum cc_level own, beside, counted;
};

static struct levels levels_of(const struct synthetic_stay *stay, size_t i) {
    return (struct levels){knowledge.diagnoses[stay->secondary[i]].level,
                           knowledge_level(&knowledge, stay->secondary[i], stay->principal, -1),
                           knowledge_level(&knowledge, stay->secondary[i], stay->principal, stay->profile->drg->base)};
}

/* What a slot says of the conditions in it. */
static bool slot_holds(const char *slot, struct levels levels, enum cc_level highest) {
    if (strcmp(slot, "mcc") == 0) return levels.counted == LEVEL_MCC;
    if (strcmp(slot, "cc") == 0) return levels.counted == LEVEL_CC && highest == LEVEL_CC;
    if (strcmp(slot, "lower") == 0) return levels.counted == LEVEL_CC && highest == LEVEL_MCC;
    if (strcmp(slot, "excluded_mcc") == 0) return levels.own == LEVEL_MCC && levels.beside == LEVEL_NONE;
    if (strcmp(slot, "excluded_cc") == 0) return levels.own == LEVEL_CC && levels.beside == LEVEL_NONE;
    if (strcmp(slot, "unused_mcc") == 0) return levels.beside == LEVEL_MCC && levels.counted == LEVEL_NONE;
    if (strcmp(slot, "unused_cc") == 0) return levels.beside == LEVEL_CC && levels.counted == LEVEL_NONE;
    return levels.own == LEVEL_NONE; /* neither */
}

/* Takes names off the list that hold_one accepts; names may hold " and " and ", " themselves. */
static bool list_holds(const char *list, const struct synthetic_stay *stay, const char *slot, enum cc_level highest) {
    if (*list == '\0') return true;
    for (size_t i = 0; i < stay->secondary_count; i++) {
        const struct phrases *wordings = &knowledge.diagnoses[stay->secondary[i]].wordings;
        for (size_t w = 0; w < wordings->count; w++) {
            const size_t length = strlen(wordings->items[w]);
            if (strncmp(list, wordings->items[w], length) != 0) continue;
            const char *rest = list + length;
            if (strncmp(rest, " and ", 5) == 0)
                rest += 5;
            else if (*rest != '\0')
                continue;
            if (slot_holds(slot, levels_of(stay, i), highest) && list_holds(rest, stay, slot, highest)) return true;
        }
    }
    return false;
}

struct seen {
    size_t stays, slots[8], companions, procedures, others;
};

static void check_secondary(const char *text, const struct synthetic_stay *stay, enum cc_level highest,
                            struct seen *seen) {
    static const char *const slots[] = {"mcc",         "cc",         "lower",     "excluded_mcc",
                                        "excluded_cc", "unused_mcc", "unused_cc", "neither"};
    const enum drg_severity severity = stay->profile->drg->severity;
    for (size_t s = 0; s < sizeof slots / sizeof slots[0]; s++) {
        const char *list = slot_of(text, slots[s]);
        if (list == NULL) continue;
        seen->slots[s]++;
        if (!list_holds(list, stay, slots[s], highest)) fail_msg("%s(%s) is not so in: %s", slots[s], list, text);
    }
    /* What decides is always said, and nothing that contradicts it. */
    assert_int_equal(slot_of(text, "any") != NULL, severity == SEVERITY_ANY);
    if (severity == SEVERITY_ANY) return;
    assert_int_equal(slot_of(text, "mcc") != NULL, highest == LEVEL_MCC);
    assert_int_equal(slot_of(text, "cc") != NULL, highest == LEVEL_CC);
    assert_int_equal(slot_of(text, "nothing") != NULL, highest == LEVEL_NONE);
}

static void check_procedures(const char *text, const struct synthetic_stay *stay, struct seen *seen) {
    const bool surgical = stay->profile->drg->type == DRG_SURGICAL;
    const char *list = slot_of(text, surgical ? "operation" : "procedure");
    assert_null(slot_of(text, surgical ? "procedure" : "operation"));
    assert_int_equal(slot_of(text, "medical") != NULL, !surgical && list == NULL);
    if (surgical) assert_non_null(list);
    if (list == NULL) return;
    bool own = false;
    for (size_t i = 0; i < stay->procedure_count && !own; i++) {
        const struct phrases *wordings = &knowledge.procedures[stay->procedures[i]].wordings;
        const char *both = strstr(list, " and ");
        own = has_wording(wordings, list, strlen(list));
        while (!own && both != NULL) {
            own = has_wording(wordings, list, (size_t)(both - list));
            both = strstr(both + 1, " and ");
        }
    }
    if (!own) fail_msg("\"%s\" was not done: %s", list, text);
    seen->procedures++;
}

static void lower_title(const struct drg *drg, char *out, size_t capacity) {
    snprintf(out, capacity, "%s", drg->title);
    for (char *c = out; *c != '\0'; c++) *c = (char)tolower((unsigned char)*c);
}

/* Another DRG that is weighed has the same base and a severity that the codes do not give. */
static void check_others(const char *text, const struct synthetic_stay *stay, enum cc_level highest,
                         struct seen *seen) {
    static const char *const slots[] = {"more_mcc", "more_cc", "more_cc_mcc", "less"};
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    for (size_t s = 0; s < 4; s++) {
        const char *title = slot_of(text, slots[s]);
        char upper[512];
        if (title == NULL) continue;
        snprintf(upper, sizeof upper, "%s", title);
        for (char *c = upper; *c != '\0'; c++) *c = (char)toupper((unsigned char)*c);
        const struct drg *other = catalog_find_title(catalog, upper, strlen(upper));
        assert_non_null(other);
        assert_int_equal(other->base, stay->profile->drg->base);
        assert_false(severity_admits(other->severity, highest));
        const bool more = severity_admits(other->severity, LEVEL_MCC) && highest != LEVEL_MCC;
        const bool one_more = severity_admits(other->severity, LEVEL_CC) && highest == LEVEL_NONE;
        assert_int_equal(s < 3, more || one_more);
        seen->others++;
    }
}

static void check_stay(const struct rationale_words *probing, const struct synthetic_stay *stay, const char *note,
                       size_t length, struct seen *seen) {
    struct text out = {0};
    char title[512];
    assert_true(rationale_write(&out, probing, &knowledge, stay, note, length, true, seen->stays));
    const enum cc_level highest = synthetic_stay_level(&knowledge, stay);
    const char *principal = slot_of(out.data, "principal");
    assert_non_null(principal);
    assert_true(has_wording(&knowledge.diagnoses[stay->principal].wordings, principal, strlen(principal)));
    check_procedures(out.data, stay, seen);
    check_secondary(out.data, stay, highest, seen);
    check_others(out.data, stay, highest, seen);
    seen->companions += slot_of(out.data, "companion") != NULL;
    lower_title(stay->profile->drg, title, sizeof title);
    assert_string_equal(slot_of(out.data, "conclusion"), title);
    assert_int_equal(slot_of(out.data, "died") != NULL,
                     stay->profile->drg->code >= 283 && stay->profile->drg->code <= 285);
    text_free(&out);
    seen->stays++;
}

static void draw_stays(int stays, uint64_t seed,
                       void (*look)(const struct synthetic_stay *stay, struct rng *rng, void *context), void *context) {
    struct profile_weights weights;
    struct error error = {0};
    struct rng rng;
    if (!profile_weights_make(&weights, &knowledge, 0.3, &error)) fail_msg("%s", error.message);
    rng_seed(&rng, seed);
    for (int i = 0; i < stays; i++) {
        const enum patient_kind kind = i % 16 == 15 ? PATIENT_OBSTETRIC : (enum patient_kind)(i % 2);
        struct synthetic_stay stay = {.female = kind != PATIENT_MALE, .age = 60};
        synthetic_stay_draw(&stay, &knowledge, &weights, kind, &rng);
        look(&stay, &rng, context);
    }
    profile_weights_free(&weights);
}

struct probing {
    struct rationale_words words;
    struct seen seen;
};

static void probe_stay(const struct synthetic_stay *stay, struct rng *rng, void *context) {
    struct probing *probing = context;
    const struct note_style style = {.words = 150, .misspells = 0.003, .abbreviates = 1};
    struct text note = {0};
    struct span course;
    synthetic_note_write(&note, &course, &knowledge, stay, &style, rng);
    check_stay(&probing->words, stay, note.data + course.start, course.end - course.start, &probing->seen);
    text_free(&note);
}

/* A stay whose only other code counts beside its principal diagnosis, and not in its base; the draw seldom has one. */
static void probe_uncounted(struct probing *probing, const struct uncounted *uncounted,
                            const struct drg_profile *profile) {
    const struct phrases *wordings = &knowledge.diagnoses[uncounted->secondary].wordings;
    for (size_t i = 0; i < profile->pairs.count && wordings->count > 0; i++) {
        const struct principal_pair *pair = &knowledge.pairs[profile->pairs.index[i]];
        if (knowledge_level(&knowledge, uncounted->secondary, pair->principal, -1) == LEVEL_NONE) continue;
        struct synthetic_stay stay = {.profile = profile,
                                      .principal = pair->principal,
                                      .secondary = {uncounted->secondary},
                                      .secondary_count = 1,
                                      .procedure_count = pair->procedure_count};
        memcpy(stay.procedures, pair->procedures, sizeof stay.procedures);
        check_stay(&probing->words, &stay, wordings->items[0], strlen(wordings->items[0]), &probing->seen);
        return;
    }
}

static void probe_all_uncounted(struct probing *probing) {
    for (size_t u = 0; u < knowledge.uncounted_count; u++) {
        for (size_t p = 0; p < knowledge.profile_count; p++) {
            const struct drg_profile *profile = &knowledge.profiles[p];
            if (profile->drg->base == knowledge.uncounted[u].base &&
                severity_admits(profile->drg->severity, LEVEL_NONE))
                probe_uncounted(probing, &knowledge.uncounted[u], profile);
        }
    }
}

static void every_sentence_is_so(void **state) {
    (void)state;
    struct error error = {0};
    struct probing probing = {.seen = {0}};
    folder_write_text("rationales.tsv", probe);
    if (!rationale_words_load(&probing.words, folder_path(""), &error)) fail_msg("%s", error.message);
    draw_stays(3000, 3, probe_stay, &probing);
    assert_int_equal(probing.seen.stays, 3000);
    probe_all_uncounted(&probing);
    rationale_words_free(&probing.words);
    /* Every kind of sentence was put to the test. */
    const struct seen *seen = &probing.seen;
    for (size_t s = 0; s < 8; s++) {
        if (seen->slots[s] == 0) fail_msg("slot %zu never came", s);
    }
    assert_true(seen->companions > 0 && seen->procedures > 1000 && seen->others > 2000);
}

static void false_severities_are_not_explained(void **state) {
    (void)state;
    struct synthetic_stay stay = {.principal = hash_find(&knowledge.diagnosis_ids, "I5023", 5, -1)};
    struct text out = {0};
    assert_true(stay.principal >= 0);
    for (size_t p = 0; p < knowledge.profile_count; p++) {
        if (knowledge.profiles[p].drg->code == 291) stay.profile = &knowledge.profiles[p];
    }
    assert_non_null(stay.profile);
    assert_false(rationale_write(&out, &words, &knowledge, &stay, NULL, 0, false, 1)); /* with MCC, and there is none */
    assert_int_equal(out.length, 0);
    stay.secondary[stay.secondary_count++] = hash_find(&knowledge.diagnosis_ids, "J9600", 5, -1);
    assert_true(rationale_write(&out, &words, &knowledge, &stay, NULL, 0, false, 1));
    assert_non_null(strstr(out.data, "heart failure and shock with mcc"));
    text_free(&out);
}

struct shipped {
    size_t characters, stays;
    char first[64], last[64];
    size_t firsts;
};

static void read_shipped(const struct synthetic_stay *stay, struct rng *rng, void *context) {
    struct shipped *shipped = context;
    struct text out = {0}, again = {0};
    const uint64_t seed = rng_next(rng);
    assert_true(rationale_write(&out, &words, &knowledge, stay, NULL, 0, false, seed));
    assert_true(rationale_write(&again, &words, &knowledge, stay, NULL, 0, false, seed));
    assert_string_equal(out.data, again.data);
    assert_null(strpbrk(out.data, "{}|"));
    const struct drg *named = named_title(catalog_get(GROUPER_V43), out.data, out.length);
    if (named != stay->profile->drg) fail_msg("DRG %d: %s", stay->profile->drg->code, out.data);
    shipped->characters += out.length;
    shipped->stays++;
    if (strncmp(shipped->last, out.data, 12) != 0) shipped->firsts++;
    snprintf(shipped->last, sizeof shipped->last, "%.12s", out.data);
    text_free(&out);
    text_free(&again);
}

static void the_words_change_and_end_with_the_title(void **state) {
    (void)state;
    struct shipped shipped = {.stays = 0};
    draw_stays(1000, 5, read_shipped, &shipped);
    assert_true(shipped.characters / shipped.stays < 400);
    assert_true(shipped.firsts > 500); /* neighbours mostly begin in other words */
    for (int slot = 0; slot < RATIONALE_SLOTS; slot++) assert_true(words.slots[slot].count >= 2);
}

static void titles_are_found_in_free_words(void **state) {
    (void)state;
    const struct catalog *catalog = catalog_get(GROUPER_V34);
    static const struct {
        const char *text;
        int code;
    } cases[] = {{"This is Heart Failure and\nShock with  MCC.", 291},
                 {"not [HEART FAILURE AND SHOCK WITH MCC] but heart failure and shock with CC", 292},
                 {"heart failure and shock with ccx", 0},
                 {"xchest pain", 0},
                 {"chest pain", 313},
                 {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct drg *named = named_title(catalog, cases[i].text, strlen(cases[i].text));
        if ((named == NULL ? 0 : named->code) != cases[i].code)
            fail_msg("\"%s\": %d", cases[i].text, named == NULL ? 0 : named->code);
    }
}

static void knowledge_rows_hold_every_title_twice(void **state) {
    (void)state;
    const struct catalog *catalog = catalog_get(GROUPER_V34);
    size_t lengths[2] = {0};
    const size_t rows = knowledge_rows_count(catalog);
    assert_int_equal(rows, 29); /* all titles; 25 MDCs, Pre-MDC, any MDC, none */
    for (size_t i = 0; i < rows; i++) {
        struct text answer = {0};
        const struct knowledge_row row = knowledge_row_write(catalog, i, &answer);
        lengths[i > 0] += answer.length + 2;
        if (strcmp(row.id, "knowledge-05") == 0) {
            assert_string_equal(row.group, "the MS-DRGs of MDC 05 (Circulatory)");
            assert_non_null(strstr(answer.data, "HEART FAILURE AND SHOCK WITH MCC, HEART FAILURE AND SHOCK WITH CC"));
            assert_null(strstr(answer.data, "SIMPLE PNEUMONIA"));
        }
        text_free(&answer);
    }
    assert_int_equal(lengths[0], lengths[1]);
}

static size_t count_lines(const char *path) {
    struct text text = {0};
    size_t lines = 0;
    assert_true(file_read(&text, path, 0, NULL));
    for (size_t i = 0; i < text.length; i++) lines += text.data[i] == '\n';
    text_free(&text);
    return lines;
}

/* folder_path keeps its last eight results only. */
static void keep_path(char *path, size_t capacity, const char *name) {
    snprintf(path, capacity, "%s", folder_path(name));
}

static void a_stopped_run_goes_on(void **state) {
    (void)state;
    struct printed printed = {0};
    struct rationales rationales = {0};
    struct error error = {0};
    char cohort[1024], out[1024], whole[1024];
    keep_path(cohort, sizeof cohort, "cohort");
    keep_path(out, sizeof out, "r.jsonl");
    keep_path(whole, sizeof whole, "whole.jsonl");
    command_run(&printed, "synth --stays 300 --seed 4 --split 0/0/100 --out %s", cohort);
    assert_int_equal(printed.status, 0);
    command_run(&printed, "rationales --data %s/test.jsonl --codes %s --out %s", cohort, cohort, whole);
    assert_int_equal(printed.status, 0);
    assert_int_equal(count_lines(whole), 300);
    command_run(&printed, "rationales --data %s/test.jsonl --codes %s --out %s --limit 120", cohort, cohort, out);
    assert_int_equal(printed.status, 0);
    FILE *file = fopen(out, "a"); /* a line that a stop has cut short */
    assert_true(file != NULL && fputs("{\"note_id\": \"100", file) >= 0 && fclose(file) == 0);
    command_run(&printed, "rationales --data %s/test.jsonl --codes %s --out %s", cohort, cohort, out);
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.errors.data, "cut short"));
    assert_true(files_equal(out, whole));
    assert_true(rationales_load(&rationales, out, &error));
    assert_non_null(rationales_find(&rationales, rationales.items[200].note_id));
    assert_null(rationales_find(&rationales, "nobody"));
    rationales_free(&rationales);
    printed_free(&printed);
}

static void what_cannot_be_explained_is_refused(void **state) {
    (void)state;
    char data[1024];
    keep_path(data, sizeof data, "one.jsonl");
    folder_write_text("one.jsonl", "{\"note_id\": \"a\", \"hadm_id\": 5, \"text\": \"x\", \"drg\": 291}\n");
    command_refuses("codes explain the DRGs of v43", "rationales --data %s --codes data", data);
    command_refuses("no diagnoses_icd.csv.gz", "rationales --data %s --codes data --grouper v43", data);
    folder_write_text("diagnoses_icd.csv", "hadm_id,seq_num,icd_code,icd_version\n5,x,I5023,10\n");
    folder_write_text("procedures_icd.csv", "hadm_id,seq_num,icd_code,icd_version\n");
    command_refuses("line 2: \"seq_num\"", "rationales --data %s --codes %s --grouper v43", data, folder_path(""));
    struct printed printed = {0};
    folder_write_text("diagnoses_icd.csv", "hadm_id,seq_num,icd_code,icd_version\n5,1,42823,9\n");
    command_run(&printed, "rationales --data %s --codes %s --grouper v43", data, folder_path(""));
    assert_int_equal(printed.status, 0);
    assert_int_equal(printed.out.length, 0);
    assert_non_null(strstr(printed.errors.data, "1 stays left out: no codes"));
    static const char *const wrong[] = {"--codes a",
                                        "--data a",
                                        "--data a --codes b --model c",
                                        "--titles --data a",
                                        "--data a --codes b --reject",
                                        "--data a --codes b --limit 0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        command_run(&printed, "rationales %s", wrong[i]);
        if (printed.status != 2) fail_msg("rationales %s: status %d", wrong[i], printed.status);
    }
    printed_free(&printed);
}

static void titles_are_rows_of_the_file_too(void **state) {
    (void)state;
    struct printed printed = {0};
    struct rationales rationales = {0};
    struct error error = {0};
    char out[1024];
    keep_path(out, sizeof out, "titles.jsonl");
    for (int i = 0; i < 2; i++) {
        command_run(&printed, "rationales --titles --grouper v34 --out %s", out);
        assert_int_equal(printed.status, 0);
        assert_int_equal(count_lines(out), 29);
    }
    assert_true(rationales_load(&rationales, out, &error));
    assert_string_equal(rationales.items[0].group, "all MS-DRGs");
    assert_non_null(strstr(rationales.items[0].answer, "CHEST PAIN"));
    assert_int_equal(rationales.items[0].drg, 0);
    rationales_free(&rationales);
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sentence_is_so),
        cmocka_unit_test(false_severities_are_not_explained),
        cmocka_unit_test(the_words_change_and_end_with_the_title),
        cmocka_unit_test(titles_are_found_in_free_words),
        cmocka_unit_test(knowledge_rows_hold_every_title_twice),
        cmocka_unit_test(a_stopped_run_goes_on),
        cmocka_unit_test(what_cannot_be_explained_is_refused),
        cmocka_unit_test(titles_are_rows_of_the_file_too),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
