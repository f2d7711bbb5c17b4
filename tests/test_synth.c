/* The synthetic cohort: labels follow from the codes, notes give nothing away, and the same seed gives the same bytes.
 */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/threads.h"
#include "data/dataset.h"
#include "data/synth_knowledge.h"
#include "data/synth_note.h"
#include "data/synth_stay.h"
#include "data/synth_write.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct knowledge knowledge;

static int load(void **state) {
    struct error error = {0};
    return folder_make(state) != 0 || !knowledge_load(&knowledge, "data/synth", NULL, &error);
}

static int unload(void **state) {
    knowledge_free(&knowledge);
    return folder_remove(state);
}

static const char *write_cohort(const char *name, int64_t stays, uint64_t seed) {
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s", folder_path(name));
    const struct synth_settings settings = {.stays = stays,
                                            .seed = seed,
                                            .temper = 0.7,
                                            .style = {.words = 150, .misspells = 0.003, .abbreviates = 1},
                                            .split = {80, 10, 10},
                                            .out = path};
    struct error error = {0};
    if (!synth_write(&knowledge, &settings, &error)) fail_msg("%s", error.message);
    return path;
}

static const char *inside(const char *directory, const char *file) {
    static char paths[8][1200];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, file);
    return path;
}

/* The rule once more, in the test's own words: what the highest level of the codes may be for a severity. */
static bool label_fits(enum drg_severity severity, enum cc_level level) {
    static const bool fits[][3] = {
        [SEVERITY_MCC] = {false, false, true},   [SEVERITY_CC] = {false, true, false},
        [SEVERITY_NONE] = {true, false, false},  [SEVERITY_WITHOUT_MCC] = {true, true, false},
        [SEVERITY_CC_MCC] = {false, true, true}, [SEVERITY_ANY] = {true, true, true}};
    return fits[severity][level];
}

/* Stays drawn with all DRGs alike, men, women and pregnant women in turn. */
static void draw_stays(void (*look)(const struct synthetic_stay *stay, void *context), int stays, void *context) {
    struct profile_weights weights;
    struct error error = {0};
    struct rng rng;
    if (!profile_weights_make(&weights, &knowledge, 0, &error)) fail_msg("%s", error.message);
    rng_seed(&rng, 11);
    for (int i = 0; i < stays; i++) {
        const enum patient_kind kind = i % 16 == 15 ? PATIENT_OBSTETRIC : (enum patient_kind)(i % 2);
        struct synthetic_stay stay = {.female = kind != PATIENT_MALE, .age = 60};
        synthetic_stay_draw(&stay, &knowledge, &weights, kind, &rng);
        look(&stay, context);
    }
    profile_weights_free(&weights);
}

static void count_wrong_label(const struct synthetic_stay *stay, void *context) {
    *(size_t *)context += !label_fits(stay->profile->drg->severity, synthetic_stay_level(&knowledge, stay));
}

static void every_label_follows_from_the_codes(void **state) {
    (void)state;
    size_t wrong = 0;
    enum { STAYS = 5000 };
    draw_stays(count_wrong_label, STAYS, &wrong);
    if (wrong > 0) fail_msg("%zu of %d stays have a severity that their codes do not give", wrong, (int)STAYS);
}

static bool has_code(const struct synthetic_stay *stay, const char *beginnings) {
    for (size_t i = 0; i < stay->secondary_count; i++) {
        if (code_begins(beginnings, knowledge.diagnoses[stay->secondary[i]].code)) return true;
    }
    return false;
}

/* Facts of the definitions manual, in the test's own words: what would make another base of the stay. */
static void check_base(const struct synthetic_stay *stay, void *context) {
    const int drg = stay->profile->drg->code;
    const char *principal = knowledge.diagnoses[stay->principal].code;
    (*(size_t *)context)++;
    if (drg >= 286 && drg <= 316 && has_code(stay, "I21,I22"))
        fail_msg("DRG %d with an acute infarction beside %s", drg, principal);
    if ((drg < 969 || drg > 977) && has_code(stay, "B20")) fail_msg("DRG %d with HIV", drg);
    if (drg >= 969 && drg <= 977 && strcmp(principal, "B20") != 0 && !has_code(stay, "B20"))
        fail_msg("DRG %d without HIV", drg);
    if (drg >= 805 && drg <= 807 && !has_code(stay, "Z37")) fail_msg("DRG %d without the outcome of delivery", drg);
    if (drg >= 846 && drg <= 848 && has_code(stay, "C910,C920")) fail_msg("DRG %d with acute leukemia", drg);
    if (principal[0] == 'S' && principal[1] == '7' && has_code(stay, "S325,S324,S272,S361"))
        fail_msg("a fracture of the leg with a second site of significant trauma, DRG %d", drg);
    for (size_t i = 0; i <= stay->secondary_count; i++) {
        const struct diagnosis *diagnosis = &knowledge.diagnoses[i == 0 ? stay->principal : stay->secondary[i - 1]];
        if (i > 0 && diagnosis->sex != SEX_ANY && (diagnosis->sex == SEX_FEMALE) != stay->female)
            fail_msg("%s does not go with the sex of the patient", diagnosis->code);
        for (size_t j = 0; j < i && i > 0; j++) {
            if (strcmp(diagnosis->code, knowledge.diagnoses[j == 0 ? stay->principal : stay->secondary[j - 1]].code) ==
                0)
                fail_msg("%s stands twice", diagnosis->code);
        }
    }
}

static void no_secondary_diagnosis_moves_the_base(void **state) {
    (void)state;
    size_t looked = 0;
    draw_stays(check_base, 12000, &looked);
    assert_int_equal(looked, 12000);
}

static int32_t find(const char *code) {
    const int32_t index = hash_find(&knowledge.diagnosis_ids, code, strlen(code), -1);
    if (index < 0) fail_msg("%s is not among the diagnoses", code);
    return index;
}

/* Facts of the v43 definitions manual: levels, and what a principal diagnosis switches off. */
static void levels_and_exclusions_are_the_manuals(void **state) {
    (void)state;
    const int heart_failure = catalog_find(catalog_get(GROUPER_V43), 291)->base,
              pneumonia = catalog_find(catalog_get(GROUPER_V43), 193)->base;
    assert_int_equal(knowledge_level(&knowledge, find("J9600"), find("J189"), pneumonia), LEVEL_MCC);
    assert_int_equal(knowledge_level(&knowledge, find("N179"), find("J189"), pneumonia), LEVEL_CC);
    assert_int_equal(knowledge_level(&knowledge, find("I5023"), find("J189"), pneumonia), LEVEL_MCC);
    assert_int_equal(knowledge_level(&knowledge, find("I10"), find("J189"), pneumonia), LEVEL_NONE);
    /* One heart failure does not complicate another. */
    assert_int_equal(knowledge_level(&knowledge, find("I5022"), find("I5023"), heart_failure), LEVEL_NONE);
    assert_int_equal(knowledge_level(&knowledge, find("J189"), find("I5023"), heart_failure), LEVEL_MCC);
    assert_int_equal(knowledge_level(&knowledge, find("I5023"), find("I5023"), heart_failure), LEVEL_NONE);
}

/* The level that the codes of a claim give; false when a code is not among ours. */
static bool claim_level(const char *principal, const char *secondary, int base, enum cc_level *highest) {
    const int32_t first = hash_find(&knowledge.diagnosis_ids, principal, strlen(principal), -1);
    *highest = LEVEL_NONE;
    for (const char *code = secondary; first >= 0 && *code != '\0';) {
        const size_t length = strcspn(code, ",");
        const int32_t index = hash_find(&knowledge.diagnosis_ids, code, length, -1);
        if (index < 0) return false;
        const enum cc_level level = knowledge_level(&knowledge, index, first, base);
        if (level > *highest) *highest = level;
        code += length + (code[length] == ',');
    }
    return first >= 0;
}

/* CMS's own grouper said which level each of these claims has. */
static void levels_agree_with_the_grouper_on_public_claims(void **state) {
    (void)state;
    static const char path[] = "../shared/claims/claims-train.tsv.gz";
    static const char *const columns[] = {"pdx", "sdx", "drg", "severity"}, *const levels[] = {"NON", "CC", "MCC"};
    struct tsv table;
    struct error error = {0};
    size_t at[4], compared = 0, agreed = 0;
    if (!path_exists(path)) {
        print_message("skipped: %s is absent\n", path);
        skip();
    }
    assert_true(tsv_load(&table, path, &error));
    for (int c = 0; c < 4; c++) assert_true(tsv_require(&table, path, columns[c], &at[c], &error));
    for (size_t row = 0; row < table.rows; row++) {
        const struct drg *drg = catalog_find(catalog_get(GROUPER_V43), atoi(tsv_cell(&table, row, at[2])));
        enum cc_level level;
        if (drg == NULL || !claim_level(tsv_cell(&table, row, at[0]), tsv_cell(&table, row, at[1]), drg->base, &level))
            continue;
        compared++;
        agreed += strncmp(tsv_cell(&table, row, at[3]), levels[level], strlen(levels[level])) == 0;
    }
    tsv_free(&table);
    print_message("%zu of %zu levels agree\n", agreed, compared);
    if (compared < 50000 || (double)agreed < 0.995 * (double)compared)
        fail_msg("%zu of %zu levels agree", agreed, compared);
}

/* No word of the note looks like a code: a letter, two digits, and perhaps more with or without a point; three digits
 * after "DRG". */
static bool holds_code(const char *text) {
    for (const char *at = text; *at != '\0'; at++) {
        const bool start = at == text || strchr(" \n\t(,;:.\"", at[-1]) != NULL;
        if (!start || at[0] < 'A' || at[0] > 'Z') continue;
        if (at[1] >= '0' && at[1] <= '9' && at[2] >= '0' && at[2] <= '9' && at[3] == '.' && at[4] >= '0' &&
            at[4] <= '9')
            return true;
    }
    return strstr(text, "DRG") != NULL || strstr(text, "ICD-") != NULL;
}

static void no_note_holds_a_title_or_a_code(void **state) {
    (void)state;
    const char *cohort = write_cohort("leak", 3000, 5);
    struct csv_reader *reader;
    struct error error = {0};
    bool more = true;
    int column;
    size_t notes = 0;
    assert_true(csv_open(&reader, inside(cohort, "discharge.csv.gz"), &error));
    assert_true(csv_require(reader, "text", &column, &error));
    while (csv_next(reader, &more, &error) && more) {
        size_t length;
        const char *text = csv_field(reader, column, &length);
        const char *title = knowledge_leak(text, length);
        if (title != NULL) fail_msg("a note holds the title %s", title);
        assert_false(holds_code(text));
        notes++;
    }
    csv_close(reader);
    assert_int_equal(notes, 3000);
}

static void same_seed_same_bytes_whatever_the_threads(void **state) {
    (void)state;
    static const char *const files[] = {
        "discharge.csv.gz", "drgcodes.csv.gz",   "diagnoses_icd.csv.gz", "procedures_icd.csv.gz",
        "patients.csv.gz",  "admissions.csv.gz", "train.jsonl",          "dev.jsonl",
        "test.jsonl",       "labels.tsv"};
    const int threads = threads_count();
    const char *a = write_cohort("a", 700, 3);
    threads_set(threads == 1 ? 2 : 1);
    const char *b = write_cohort("b", 700, 3);
    threads_set(threads);
    const char *c = write_cohort("c", 700, 4);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (!files_equal(inside(a, files[i]), inside(b, files[i]))) fail_msg("%s differs", files[i]);
    }
    assert_false(files_equal(inside(a, "train.jsonl"), inside(c, "train.jsonl")));
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void no_patient_stands_on_two_sides(void **state) {
    (void)state;
    static const char *const names[] = {"train.jsonl", "dev.jsonl", "test.jsonl"};
    const char *cohort = write_cohort("split", 2000, 9);
    struct dataset sets[3] = {{0}, {0}, {0}};
    struct labels labels;
    struct error error = {0};
    size_t stays = 0;
    assert_true(labels_load(&labels, inside(cohort, "labels.tsv"), &error));
    for (int s = 0; s < 3; s++) {
        assert_true(dataset_load(&sets[s], inside(cohort, names[s]), &error));
        stays += sets[s].count;
        for (size_t i = 0; i < sets[s].count; i++) assert_true(labels_find(&labels, sets[s].stays[i].drg) >= 0);
    }
    assert_int_equal(stays, 2000);
    for (int s = 0; s < 3; s++) {
        const char **patients = malloc(sets[s].count * sizeof *patients);
        assert_non_null(patients);
        for (size_t i = 0; i < sets[s].count; i++) patients[i] = sets[s].stays[i].subject_id;
        qsort(patients, sets[s].count, sizeof *patients, compare_strings);
        for (int other = s + 1; other < 3; other++) {
            for (size_t i = 0; i < sets[other].count; i++) {
                const char *patient = sets[other].stays[i].subject_id;
                assert_null(bsearch(&patient, patients, sets[s].count, sizeof *patients, compare_strings));
            }
        }
        free(patients);
    }
    for (int s = 0; s < 3; s++) dataset_free(&sets[s]);
    labels_free(&labels);
}

static void damaged_datasets_are_refused_by_line(void **state) {
    (void)state;
    static const struct {
        const char *content, *part;
    } cases[] = {{"{\"text\":\"a\",\"drg\":470}\n{\"text\":", "line 2"},
                 {"{\"drg\":470}\n", "text"},
                 {"{\"text\":5}\n", "text"},
                 {"{\"text\":\"a\",\"drg\":1000}\n", "drg"},
                 {"[]\n", "not a JSON object"},
                 {"{\"text\":\"a\",\"drg\":4.5}\n", "drg"},
                 {"{\"text\":\"a\",\"hadm_id\":[]}\n", "hadm_id"},
                 {"{\"text\":\"\xff\"}\n", "UTF-8"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dataset dataset = {0};
        struct error error = {0};
        assert_false(dataset_load(&dataset, folder_write_text("bad.jsonl", cases[i].content), &error));
        if (strstr(error.message, cases[i].part) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].part);
        dataset_free(&dataset);
    }
    struct labels labels = {0};
    struct error error = {0};
    assert_false(labels_load(&labels, folder_write_text("l.tsv", "label\tdrg\n0\t1\n"), &error));
    assert_false(labels_load(&labels, folder_write_text("l.tsv", "# grouper v43\nlabel\tdrg\n0\t5\n1\t4\n"), &error));
    assert_false(labels_load(&labels, folder_write_text("l.tsv", "# grouper v12\nlabel\tdrg\n0\t5\n"), &error));
}

static void a_folder_in_use_is_left_alone(void **state) {
    (void)state;
    struct error error = {0};
    const char *cohort = write_cohort("used", 50, 1);
    const struct synth_settings settings = {.stays = 50,
                                            .seed = 2,
                                            .temper = 1,
                                            .style = {.words = 150, .misspells = 0.003, .abbreviates = 1},
                                            .split = {80, 10, 10},
                                            .out = cohort};
    assert_false(synth_write(&knowledge, &settings, &error));
    assert_non_null(strstr(error.message, "not empty"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_label_follows_from_the_codes),
        cmocka_unit_test(no_secondary_diagnosis_moves_the_base),
        cmocka_unit_test(levels_and_exclusions_are_the_manuals),
        cmocka_unit_test(levels_agree_with_the_grouper_on_public_claims),
        cmocka_unit_test(no_note_holds_a_title_or_a_code),
        cmocka_unit_test(same_seed_same_bytes_whatever_the_threads),
        cmocka_unit_test(no_patient_stands_on_two_sides),
        cmocka_unit_test(damaged_datasets_are_refused_by_line),
        cmocka_unit_test(a_folder_in_use_is_left_alone),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
