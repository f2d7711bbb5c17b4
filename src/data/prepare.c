/* The steps from MIMIC-IV's files to a cohort, and the account of them: see prepare.h. */
#include "data/prepare.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "drg/harmonise.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_drgs(struct preparation *p, struct error *error) {
    struct title_map *titles;
    const bool opened = p->settings->title_map != NULL
                            ? title_map_open_published(&titles, p->settings->title_map, error)
                            : title_map_open(&titles, p->settings->grouper, error);
    if (!opened) return false;
    const bool done = drg_table_load(&p->drgs, p->settings->drgcodes, titles, error);
    title_map_close(titles);
    if (!done || p->drgs.count > 0) return done;
    error_set(error, "%s: no row of type HCFA has a DRG of %s (%llu rows, %llu of them HCFA)", p->settings->drgcodes,
              grouper_name(p->settings->grouper), (unsigned long long)p->drgs.all_rows,
              (unsigned long long)p->drgs.hcfa_rows);
    return error_hint(error, "casemix drg map tells what becomes of a description");
}

static bool read_notes(struct preparation *p, struct error *error) {
    const bool published = p->settings->protocol == PROTOCOL_DRG_LLAMA;
    const struct note_reading reading = {.part = published ? PART_PUBLISHED : p->settings->part,
                                         .sections = p->settings->sections,
                                         .one_note_a_stay = !published,
                                         .drgs = &p->drgs,
                                         .audit = p->settings->audit ? &p->note_audit : NULL};
    return note_table_load(&p->notes, p->settings->notes, &reading, error);
}

static bool build_cohort(struct preparation *p, struct error *error) {
    const struct prepare_settings *settings = p->settings;
    const bool published = settings->protocol == PROTOCOL_DRG_LLAMA;
    if (!cohort_build(&p->cohort, &p->notes, &p->drgs, published ? JOIN_PUBLISHED : JOIN_CERTAIN, settings->grouper,
                      error))
        return false;
    if (published) {
        p->sorted = memory_alloc(p->cohort.count, sizeof *p->sorted);
        if (p->sorted == NULL) return memory_error(error, p->cohort.count * sizeof *p->sorted, "the sorted cohort");
        if (!cohort_split_published(&p->split, p->sorted, &p->cohort, error)) return false;
    } else if (!cohort_split_by_patient(&p->split, &p->cohort, &p->notes, settings->shares, settings->seed, error)) {
        return false;
    }
    return sapphire_subsets_draw(&p->subsets, settings->subsets, &p->cohort, p->split.rows[PART_TRAIN],
                                 p->split.counts[PART_TRAIN], error);
}

static uint64_t count_unmapped(const struct drg_table *drgs) {
    uint64_t count = 0;
    for (size_t i = 0; i < drgs->description_count; i++) count += drgs->descriptions[i].code == 0;
    return count;
}

/* Distinct DRGs of a part. */
static uint64_t count_codes(const struct preparation *p, enum part_of_split part) {
    bool seen[1000] = {false};
    uint64_t count = 0;
    for (size_t i = 0; i < p->split.counts[part]; i++) {
        const int code = p->cohort.rows[p->split.rows[part][i]].code;
        count += !seen[code];
        seen[code] = true;
    }
    return count;
}

static int compare_subjects(const void *a, const void *b) {
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The patients of a part, rising and each once, into subjects [rows of the part]; how many. */
static size_t list_patients(const struct preparation *p, enum part_of_split part, int64_t *subjects) {
    size_t count = 0;
    for (size_t i = 0; i < p->split.counts[part]; i++)
        subjects[i] = p->notes.notes[p->cohort.rows[p->split.rows[part][i]].note].subject_id;
    if (p->split.counts[part] > 0) qsort(subjects, p->split.counts[part], sizeof *subjects, compare_subjects);
    for (size_t i = 0; i < p->split.counts[part]; i++) {
        if (i == 0 || subjects[i] != subjects[count - 1]) subjects[count++] = subjects[i];
    }
    return count;
}

/* Patients of each part, and those who stand both in train and in test. */
static bool count_patients(const struct preparation *p, uint64_t counts[SPLIT_PARTS], uint64_t *both,
                           struct error *error) {
    int64_t *lists[SPLIT_PARTS] = {0};
    bool done = true;
    for (int part = 0; done && part < SPLIT_PARTS; part++) {
        lists[part] = memory_alloc(p->split.counts[part], sizeof *lists[part]);
        done = lists[part] != NULL || memory_error(error, p->split.counts[part] * sizeof(int64_t), "the patients");
        if (done) counts[part] = list_patients(p, (enum part_of_split)part, lists[part]);
    }
    *both = 0;
    for (size_t train = 0, test = 0; done && train < counts[PART_TRAIN] && test < counts[PART_TEST];) {
        const int64_t a = lists[PART_TRAIN][train], b = lists[PART_TEST][test];
        *both += a == b;
        train += a <= b;
        test += b <= a;
    }
    for (int part = 0; part < SPLIT_PARTS; part++) memory_free(lists[part]);
    return done;
}

static const char *part_named(const struct prepare_settings *settings) {
    if (settings->protocol == PROTOCOL_DRG_LLAMA) return "with a hospital course, cut as published";
    if (settings->part == PART_HOSPITAL_COURSE) return "with a hospital course";
    return settings->part == PART_SECTIONS ? "with a section asked for" : "with text";
}

static void describe_steps(const struct preparation *p, struct cohort_flow *flow) {
    const struct note_table *notes = &p->notes;
    const struct cohort *cohort = &p->cohort;
    const bool published = p->settings->protocol == PROTOCOL_DRG_LLAMA;
    flow_add_step(flow, (struct flow_step){"notes", "discharge summaries", NULL, notes->read, 0, NULL});
    flow_add_step(
        flow, (struct flow_step){"with_section", part_named(p->settings), "without one", notes->with_part, 0, NULL});
    flow_add_step(flow, (struct flow_step){"more_than_40_words", "of more than 40 words", "of 40 words or fewer",
                                           notes->long_enough, 0, NULL});
    flow_add_step(flow, (struct flow_step){"after_duplicates", "texts not seen before",
                                           "the same text as an earlier note", notes->unique, 0, NULL});
    if (!published)
        flow_add_step(flow, (struct flow_step){"first_of_stay", "first notes of their stay",
                                               "a further note of the same stay", notes->first_of_stay, 0, NULL});
    const uint64_t with_drg = notes->first_of_stay - cohort->without_drg;
    if (published) {
        flow_add_step(flow, (struct flow_step){"merged_rows", "rows of a note and a DRG of its stay",
                                               "notes whose stay has no DRG in this version", cohort->joined,
                                               cohort->joined - with_drg,
                                               "stays with several DRGs stand once for each, as published"});
    } else {
        flow_add_step(flow, (struct flow_step){"with_drg", "stays with a DRG", "without a DRG in this version",
                                               with_drg, 0, NULL});
        flow_add_step(flow, (struct flow_step){"merged_rows", "stays with one DRG", "with several different DRGs",
                                               cohort->joined, 0, NULL});
    }
    flow_add_step(flow, (struct flow_step){"cohort_rows", "in the cohort", "of a DRG that is seen only once",
                                           cohort->count, 0, NULL});
}

static bool describe_counts(const struct preparation *p, struct cohort_flow *flow, struct error *error) {
    static const char *const parts[] = {"train", "dev", "test"};
    const bool published = p->settings->protocol == PROTOCOL_DRG_LLAMA;
    char name[40];
    uint64_t patients[SPLIT_PARTS], both;
    if (!count_patients(p, patients, &both, error)) return false;
    flow_add_count(flow, "drg_rows", p->drgs.all_rows);
    flow_add_count(flow, "drg_rows_hcfa", p->drgs.hcfa_rows);
    flow_add_count(flow, "distinct_descriptions", p->drgs.description_count);
    flow_add_count(flow, "unmapped_descriptions", count_unmapped(&p->drgs));
    flow_add_count(flow, "drg_rows_mapped", p->drgs.count);
    flow_add_count(flow, "stays_with_several_drgs", p->cohort.ambiguous);
    flow_add_count(flow, "merged_classes", p->cohort.joined_codes);
    flow_add_count(flow, "classes", p->cohort.labels.count);
    for (int part = 0; part < SPLIT_PARTS; part++) {
        if (published && part == PART_DEV) continue;
        snprintf(name, sizeof name, "%s_rows", parts[part]);
        flow_add_count(flow, name, p->split.counts[part]);
        snprintf(name, sizeof name, "%s_classes", parts[part]);
        flow_add_count(flow, name, count_codes(p, (enum part_of_split)part));
        snprintf(name, sizeof name, "%s_patients", parts[part]);
        flow_add_count(flow, name, patients[part]);
    }
    flow_add_count(flow, "patients_in_train_and_test", both);
    for (int i = 0; published && i < PATTERNS; i++) {
        snprintf(name, sizeof name, "pattern_%d", i);
        flow_add_count(flow, name, p->notes.patterns[i]);
    }
    for (int s = 0; s < SUBSETS; s++) {
        if (p->subsets.rows[s] != NULL)
            flow_add_count(flow, sapphire_subset_name((enum sapphire_subset)s), p->subsets.counts[s]);
    }
    return true;
}

/* Parts, subsets and what could not be mapped, below the diagram. */
static void report_parts(const struct preparation *p, struct text *report) {
    static const char *const parts[] = {"train", "dev", "test"};
    for (int part = 0; part < SPLIT_PARTS; part++) {
        if (p->split.rows[part] == NULL) continue;
        text_printf(report, "%15s ", "");
        text_printf(report, "%-12s", parts[part]);
        struct text number = {0};
        add_thousands(&number, p->split.counts[part]);
        text_printf(report, "%9s stays of %llu DRGs\n", number.data == NULL ? "" : number.data,
                    (unsigned long long)count_codes(p, (enum part_of_split)part));
        text_free(&number);
    }
    for (int s = 0; s < SUBSETS; s++) {
        if (p->subsets.rows[s] == NULL) continue;
        struct text number = {0};
        add_thousands(&number, p->subsets.counts[s]);
        text_printf(report, "%15s %-12s%9s stays of train\n", "", sapphire_subset_name((enum sapphire_subset)s),
                    number.data == NULL ? "" : number.data);
        text_free(&number);
    }
    const uint64_t unmapped = count_unmapped(&p->drgs);
    if (unmapped == 0) return;
    uint64_t rows = 0;
    for (size_t i = 0; i < p->drgs.description_count; i++)
        rows += p->drgs.descriptions[i].code == 0 ? p->drgs.descriptions[i].rows : 0;
    text_printf(report, "\n%llu of %zu descriptions (%llu of %llu rows) have no DRG in %s: descriptions.tsv says why\n",
                (unsigned long long)unmapped, p->drgs.description_count, (unsigned long long)rows,
                (unsigned long long)p->drgs.hcfa_rows, grouper_name(p->settings->grouper));
}

/* What a reader of published scores has to know. */
static void report_patients(const struct cohort_flow *flow, struct text *report) {
    for (int i = 0; i < flow->count_count; i++) {
        if (flow->counts[i].value > 0 && strcmp(flow->counts[i].name, "patients_in_train_and_test") == 0)
            text_printf(report, "\n%llu patients have stays both in train and in test\n",
                        (unsigned long long)flow->counts[i].value);
    }
}

static void warn_of_several(const struct preparation *p) {
    if (p->cohort.ambiguous == 0) return;
    if (p->settings->protocol == PROTOCOL_DRG_LLAMA)
        log_warning("%zu stays have several different HCFA DRGs; as published, each stands in the cohort once for each",
                    p->cohort.ambiguous);
    else
        log_warning("%zu stays have several different HCFA DRGs and were left out", p->cohort.ambiguous);
}

static bool check_settings(const struct prepare_settings *settings, struct error *error) {
    if (settings->title_map != NULL && settings->grouper != GROUPER_V34)
        return error_usage(error, "--title-map gives titles of v34: it does not go with --grouper v43");
    if (settings->force || !path_exists(settings->out) || directory_is_empty(settings->out)) return true;
    error_set(error, "%s: the directory is not empty", settings->out);
    return error_hint(error, "name another --out, or overwrite it with --force");
}

bool prepare_run(const struct prepare_settings *settings, struct text *report, struct error *error) {
    struct cohort_flow flow = {.protocol = settings->protocol == PROTOCOL_DRG_LLAMA ? "drg-llama" : "patient",
                               .grouper = grouper_name(settings->grouper)};
    struct preparation p = {.settings = settings, .flow = &flow};
    if (!check_settings(settings, error)) return false;
    bool done = read_drgs(&p, error) && read_notes(&p, error) && build_cohort(&p, error);
    if (done) {
        describe_steps(&p, &flow);
        warn_of_several(&p);
        done = describe_counts(&p, &flow, error) && prepare_write(&p, error);
    }
    if (done) {
        text_printf(report, "Cohort flow (protocol %s, MS-DRG %s)\n\n", flow.protocol, flow.grouper);
        flow_draw(report, &flow);
        report_parts(&p, report);
        report_patients(&flow, report);
        done = text_ok(report, error);
    }
    text_free(&p.note_audit);
    memory_free(p.sorted);
    sapphire_subsets_free(&p.subsets);
    cohort_split_free(&p.split);
    cohort_free(&p.cohort);
    note_table_free(&p.notes);
    drg_table_free(&p.drgs);
    return done;
}
