/* Writing a synthetic cohort: blocks of stays are made in parallel, each from its own stream of random numbers, and
 * written in order. */
#include "data/synth_write.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/synth_note.h"
#include "data/synth_stay.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, STAYS_A_PATIENT = 4 };
enum { FILE_DISCHARGE, FILE_DRG, FILE_DIAGNOSES, FILE_PROCEDURES, FILE_TRAIN, FILE_DEV, FILE_TEST, FILES };

/* Streams of random numbers, so that one draw never moves another. */
enum { STREAM_PATIENT = 1, STREAM_SPLIT = 2, STREAM_STAY = 3 };

static const struct {
    const char *name, *header;
} file_forms[FILES] = {
    [FILE_DISCHARGE] = {"discharge.csv.gz", "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"},
    [FILE_DRG] = {"drgcodes.csv.gz", "subject_id,hadm_id,drg_type,drg_code,description,drg_severity,drg_mortality\n"},
    [FILE_DIAGNOSES] = {"diagnoses_icd.csv.gz", "subject_id,hadm_id,seq_num,icd_code,icd_version\n"},
    [FILE_PROCEDURES] = {"procedures_icd.csv.gz", "subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version\n"},
    [FILE_TRAIN] = {"train.jsonl", ""},
    [FILE_DEV] = {"dev.jsonl", ""},
    [FILE_TEST] = {"test.jsonl", ""},
};

/* A patient: who has how many stays, and in which part of the split. */
struct patient {
    int64_t number;
    int stays, part, age;
    bool female;
};

/* One stay rendered: its rows for each file. */
struct rendered {
    struct text rows[FILES];
    struct text note;
};

struct cohort {
    const struct knowledge *knowledge;
    const struct synth_settings *settings;
    double *cumulative; /* [profiles] */
    struct file_writer *files[FILES];
    struct rendered *block;   /* [BLOCK] */
    struct patient *patients; /* [BLOCK] the patient of each stay of the block */
    int *sequence;            /* [BLOCK] which of the patient's stays it is, from 1 */
};

static struct patient draw_patient(const struct synth_settings *settings, int64_t number) {
    struct rng rng;
    rng_seed_stream(&rng, settings->seed, STREAM_PATIENT, (uint64_t)number);
    struct patient patient = {.number = number, .stays = 1, .female = rng_below(&rng, 2) == 0};
    while (patient.stays < STAYS_A_PATIENT && rng_uniform(&rng) < 0.3) patient.stays++;
    const double age = 68 + 14 * rng_normal(&rng);
    patient.age = age < 19 ? 19 : age > 97 ? 97 : (int)age;
    rng_seed_stream(&rng, settings->seed, STREAM_SPLIT, (uint64_t)number);
    const double share = rng_uniform(&rng) * (settings->split[0] + settings->split[1] + settings->split[2]);
    patient.part = share < settings->split[0] ? 0 : share < settings->split[0] + settings->split[1] ? 1 : 2;
    return patient;
}

/* How likely each DRG is. A DRG that only one sex can have is met by half of the patients: it counts twice. */
static void weigh_profiles(struct cohort *cohort) {
    double sum = 0;
    for (size_t i = 0; i < cohort->knowledge->profile_count; i++) {
        const struct drg_profile *profile = &cohort->knowledge->profiles[i];
        const char *mdc = profile->drg->mdc;
        const bool one_sex = mdc[0] == '1' && mdc[1] >= '2' && mdc[1] <= '4';
        sum += pow(profile->claims, cohort->settings->temper) * (one_sex ? 2 : 1);
        cohort->cumulative[i] = sum;
    }
}

static void add_jsonl(struct text *out, const struct synthetic_stay *stay, const struct drg *drg, const char *note_id,
                      const char *course, size_t length, const char *part) {
    text_printf(out, "{\"note_id\": \"%s\", \"hadm_id\": %lld, \"subject_id\": %lld, \"text\": ", note_id,
                (long long)stay->hadm_id, (long long)stay->subject_id);
    text_add_json(out, course, length);
    text_printf(out, ", \"drg\": %d, \"title\": ", drg->code);
    text_add_json(out, drg->title, strlen(drg->title));
    text_printf(out, ", \"split\": \"%s\"}\n", part);
}

static void render_stay(const struct cohort *cohort, int64_t index, const struct patient *patient, int sequence,
                        struct rendered *rendered) {
    static const char *const parts[] = {"train", "dev", "test"};
    const struct knowledge *knowledge = cohort->knowledge;
    struct synthetic_stay stay = {.subject_id = 10000000 + patient->number,
                                  .hadm_id = 20000000 + index,
                                  .female = patient->female,
                                  .age = patient->age};
    struct rng rng;
    rng_seed_stream(&rng, cohort->settings->seed, STREAM_STAY, (uint64_t)index);
    synthetic_stay_draw(&stay, knowledge, cohort->cumulative, &rng);
    struct span course;
    synthetic_note_write(&rendered->note, &course, knowledge, &stay, &cohort->settings->style, &rng);
    if (rendered->note.failed) return;
    const struct drg *drg = knowledge->profiles[stay.profile].drg;
    const long long subject = (long long)stay.subject_id, hadm = (long long)stay.hadm_id;
    char note_id[64];
    snprintf(note_id, sizeof note_id, "%lld-DS-%d", subject, sequence);
    text_printf(&rendered->rows[FILE_DISCHARGE], "%s,%lld,%lld,DS,%d,2180-01-01 00:00:00,2180-01-01 00:00:00,", note_id,
                subject, hadm, sequence);
    text_add_csv(&rendered->rows[FILE_DISCHARGE], rendered->note.data, rendered->note.length);
    text_add_char(&rendered->rows[FILE_DISCHARGE], '\n');
    text_printf(&rendered->rows[FILE_DRG], "%lld,%lld,HCFA,%03d,", subject, hadm, drg->code);
    text_add_csv(&rendered->rows[FILE_DRG], drg->title, strlen(drg->title));
    text_add(&rendered->rows[FILE_DRG], ",,\n");
    text_printf(&rendered->rows[FILE_DIAGNOSES], "%lld,%lld,1,%s,10\n", subject, hadm,
                knowledge->diagnoses[stay.principal].code);
    for (size_t i = 0; i < stay.secondary_count; i++) {
        text_printf(&rendered->rows[FILE_DIAGNOSES], "%lld,%lld,%zu,%s,10\n", subject, hadm, i + 2,
                    knowledge->diagnoses[stay.secondary[i]].code);
    }
    for (size_t i = 0; i < stay.procedure_count; i++) {
        text_printf(&rendered->rows[FILE_PROCEDURES], "%lld,%lld,%zu,2180-01-01,%s,10\n", subject, hadm, i + 1,
                    knowledge->procedures[stay.procedures[i]].code);
    }
    add_jsonl(&rendered->rows[FILE_TRAIN + patient->part], &stay, drg, note_id, rendered->note.data + course.start,
              course.end - course.start, parts[patient->part]);
}

/* Who has the stays of this block: patients follow one another, so this runs in order. */
static void assign_patients(struct cohort *cohort, size_t count, struct patient *patient, int *sequence) {
    for (size_t i = 0; i < count; i++) {
        if (*sequence == patient->stays) {
            *patient = draw_patient(cohort->settings, patient->number + 1);
            *sequence = 0;
        }
        cohort->patients[i] = *patient;
        cohort->sequence[i] = ++*sequence;
    }
}

static bool write_block(struct cohort *cohort, int64_t first, size_t count, struct error *error) {
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < count; i++) {
        struct rendered *rendered = &cohort->block[i];
        text_clear(&rendered->note);
        for (int f = 0; f < FILES; f++) text_clear(&rendered->rows[f]);
        render_stay(cohort, first + (int64_t)i, &cohort->patients[i], cohort->sequence[i], rendered);
    }
    bool written = true;
    for (size_t i = 0; written && i < count; i++) {
        struct rendered *rendered = &cohort->block[i];
        written = text_ok(&rendered->note, error);
        for (int f = 0; written && f < FILES; f++) {
            written = text_ok(&rendered->rows[f], error) &&
                      file_writer_write(cohort->files[f], rendered->rows[f].data, rendered->rows[f].length, error);
        }
    }
    return written;
}

static bool write_stays(struct cohort *cohort, struct error *error) {
    struct progress progress;
    struct patient patient = draw_patient(cohort->settings, 0);
    int sequence = 0;
    progress_start(&progress, "writing synthetic stays", "stays", (uint64_t)cohort->settings->stays);
    for (int64_t first = 0; first < cohort->settings->stays; first += BLOCK) {
        const int64_t left = cohort->settings->stays - first;
        const size_t count = left < BLOCK ? (size_t)left : BLOCK;
        assign_patients(cohort, count, &patient, &sequence);
        if (!write_block(cohort, first, count, error)) return false;
        progress_update(&progress, (uint64_t)first + count);
    }
    progress_finish(&progress);
    return true;
}

/* All DRGs that the knowledge can make, whatever this cohort holds: models of different cohorts then share their
 * labels. */
static bool write_labels(const struct cohort *cohort, struct error *error) {
    char path[4096];
    struct labels labels = {.grouper = GROUPER_V43,
                            .codes = memory_alloc(cohort->knowledge->profile_count, sizeof *labels.codes)};
    if (labels.codes == NULL)
        return memory_error(error, cohort->knowledge->profile_count * sizeof *labels.codes, "the labels");
    for (size_t i = 0; i < cohort->knowledge->profile_count; i++)
        labels.codes[labels.count++] = cohort->knowledge->profiles[i].drg->code;
    const bool written = (path_join(path, sizeof path, cohort->settings->out, "labels.tsv") ||
                          error_set(error, "%s: path too long", cohort->settings->out)) &&
                         labels_write(&labels, path, error);
    labels_free(&labels);
    return written;
}

static bool write_settings(const struct synth_settings *settings, struct error *error) {
    char path[4096];
    struct text text = {0};
    text_printf(&text,
                "{\n  \"what\": \"synthetic stays written by casemix synth; no patient stands behind them\",\n  "
                "\"stays\": %lld,\n  \"seed\": %llu,\n  \"temper\": ",
                (long long)settings->stays, (unsigned long long)settings->seed);
    text_add_json_double(&text, settings->temper);
    text_printf(&text, ",\n  \"words\": %d,\n  \"misspell\": ", settings->style.words);
    text_add_json_double(&text, settings->style.misspells);
    text_add(&text, ",\n  \"split\": [");
    for (int i = 0; i < 3; i++) {
        text_add(&text, i == 0 ? "" : ", ");
        text_add_json_double(&text, settings->split[i]);
    }
    text_add(&text, "]\n}\n");
    const bool written = text_ok(&text, error) &&
                         (path_join(path, sizeof path, settings->out, "synth.json") ||
                          error_set(error, "%s: path too long", settings->out)) &&
                         file_write(path, text.data, text.length, error);
    text_free(&text);
    return written;
}

static bool open_files(struct cohort *cohort, struct error *error) {
    for (int f = 0; f < FILES; f++) {
        char path[4096];
        if (!path_join(path, sizeof path, cohort->settings->out, file_forms[f].name))
            return error_set(error, "%s: path too long", cohort->settings->out);
        if (!file_writer_open(&cohort->files[f], path, error)) return false;
        if (!file_writer_write(cohort->files[f], file_forms[f].header, strlen(file_forms[f].header), error))
            return false;
    }
    return true;
}

static bool check_settings(const struct synth_settings *settings, struct error *error) {
    const double total = settings->split[0] + settings->split[1] + settings->split[2];
    if (settings->stays < 1 || settings->stays > 100000000)
        return error_usage(error, "--stays %lld is not between 1 and 100,000,000", (long long)settings->stays);
    if (!(settings->temper >= 0 && settings->temper <= 2))
        return error_usage(error, "--temper %g is not between 0 and 2", settings->temper);
    if (settings->style.words < 40 || settings->style.words > 1000)
        return error_usage(error, "--words %d is not between 40 and 1000", settings->style.words);
    if (!(total > 0)) return error_usage(error, "--split gives every part nothing");
    if (settings->force || directory_is_empty(settings->out)) return true;
    error_set(error, "%s: the directory is not empty", settings->out);
    return error_hint(error, "name another --out, or overwrite it with --force");
}

bool synth_write(const struct knowledge *knowledge, const struct synth_settings *settings, struct error *error) {
    if (!check_settings(settings, error) || !directory_create(settings->out, error)) return false;
    struct cohort cohort = {.knowledge = knowledge, .settings = settings};
    cohort.cumulative = memory_alloc(knowledge->profile_count, sizeof *cohort.cumulative);
    cohort.block = memory_zero(BLOCK, sizeof *cohort.block);
    cohort.patients = memory_alloc(BLOCK, sizeof *cohort.patients);
    cohort.sequence = memory_alloc(BLOCK, sizeof *cohort.sequence);
    bool done = cohort.cumulative != NULL && cohort.block != NULL && cohort.patients != NULL && cohort.sequence != NULL;
    if (!done) memory_error(error, BLOCK * sizeof *cohort.block, "a block of stays");
    if (done) weigh_profiles(&cohort);
    done = done && open_files(&cohort, error) && write_stays(&cohort, error);
    for (int f = 0; done && f < FILES; f++) done = file_writer_commit(cohort.files[f], error);
    done = done && write_labels(&cohort, error) && write_settings(settings, error);
    for (int f = 0; f < FILES; f++) file_writer_close(cohort.files[f]);
    for (size_t i = 0; cohort.block != NULL && i < BLOCK; i++) {
        text_free(&cohort.block[i].note);
        for (int f = 0; f < FILES; f++) text_free(&cohort.block[i].rows[f]);
    }
    memory_free(cohort.cumulative);
    memory_free(cohort.block);
    memory_free(cohort.patients);
    memory_free(cohort.sequence);
    return done;
}
