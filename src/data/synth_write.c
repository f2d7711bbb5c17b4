/* Writing a synthetic cohort: blocks of stays are made in parallel, each from its own stream of random numbers, and
 * written in order. */
#include "data/synth_write.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/synth_claims.h"
#include "data/synth_rows.h"
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, PART = 64, PARTS = BLOCK / PART };

/* The stream of random numbers of the stays; patients have their own. */
enum { STREAM_STAY = 3 };

/* Rows of some stays for one file, as they go to the disk: compressed where the file is. */
struct part {
    struct text rows, bytes;
    bool packed;
    struct error error;
};

struct cohort {
    const struct knowledge *knowledge;
    const struct synth_settings *settings;
    struct profile_weights weights;
    struct file_writer *files[FILES]; /* NULL: not written */
    struct part *parts;               /* [PARTS, FILES] */
    struct rendered *block;           /* [BLOCK] */
    struct stay_place *places;        /* [BLOCK] whose stay each one of the block is */
    int64_t stays;
};

static void render_stay(const struct cohort *cohort, int64_t index, const struct stay_place *place,
                        struct rendered *rendered) {
    const struct knowledge *knowledge = cohort->knowledge;
    const struct claims *claims = cohort->settings->claims;
    const struct patient *patient = &place->patient;
    struct synthetic_stay stay = {.principal = 0};
    struct rng rng;
    if (claims != NULL) stay = claims->stays[index];
    stay.subject_id = 10000000 + patient->number;
    stay.hadm_id = 20000000 + index;
    stay.female = patient_is_female(patient);
    stay.age = patient_age_at(patient, place->sequence);
    rng_seed_stream(&rng, cohort->settings->seed, STREAM_STAY, (uint64_t)index);
    if (claims != NULL)
        synthetic_stay_draw_days(&stay, &rng);
    else
        synthetic_stay_draw(&stay, knowledge, &cohort->weights, patient->kind, &rng);
    const struct discharge_rules rules = synthetic_stay_rules(knowledge, &stay);
    const bool planned = stay.profile->drg->type == DRG_SURGICAL && stay.procedure_count > 0 && stay.age > 0;
    stay.admission =
        admission_draw(patient, place->sequence, place->sequence == patient->stays, stay.days, planned, &rules, &rng);
    synthetic_stay_draw_procedure_days(&stay, &rng);
    rows_render(rendered, knowledge, &stay, place, &cohort->settings->style, cohort->settings->apr, &rng);
}

/* Whether one patient can have stays of both kinds; PATIENT_KINDS: any adult's. */
static bool kinds_agree(enum patient_kind a, enum patient_kind b) {
    if (a == b) return true;
    const bool young = a == PATIENT_OBSTETRIC || a == PATIENT_NEWBORN || b == PATIENT_OBSTETRIC || b == PATIENT_NEWBORN;
    return !young && (a == PATIENT_KINDS || b == PATIENT_KINDS);
}

/* How many of the claims from `first` on can be stays of one patient, `most` at most, and of which kind the patient is
 * then. Nothing follows a birth or a death. */
static int claims_together(const struct cohort *cohort, int64_t first, int most, enum patient_kind *kind) {
    int count = 0;
    *kind = PATIENT_KINDS;
    while (count < most && first + count < cohort->stays) {
        const struct synthetic_stay *stay = &cohort->settings->claims->stays[first + count];
        const enum patient_kind wanted = stay_kind(cohort->knowledge, stay);
        if (count > 0 && !kinds_agree(*kind, wanted)) break;
        if (wanted != PATIENT_KINDS) *kind = wanted;
        count++;
        if (wanted == PATIENT_NEWBORN || synthetic_stay_rules(cohort->knowledge, stay).only == TO_DIED) break;
    }
    return count;
}

static struct patient next_patient(const struct cohort *cohort, int64_t number, int64_t first) {
    const struct synth_settings *settings = cohort->settings;
    const bool given = settings->claims != NULL;
    struct patient patient =
        patient_draw(settings->seed, number, given ? 0 : cohort->weights.obstetric, settings->split);
    enum patient_kind kind;
    if (!given) return patient;
    patient.stays = claims_together(cohort, first, patient.stays, &kind);
    if (kind != PATIENT_KINDS) patient_set_kind(&patient, kind);
    return patient;
}

/* Who has the stays of this block: patients follow one another, so this runs in order. */
static void assign_patients(struct cohort *cohort, int64_t first, size_t count, struct stay_place *last) {
    const struct claims *claims = cohort->settings->claims;
    for (size_t i = 0; i < count; i++) {
        const int64_t index = first + (int64_t)i;
        if (last->sequence == last->patient.stays) {
            last->patient = next_patient(cohort, last->patient.number + 1, index);
            last->sequence = 0;
        }
        last->sequence++;
        last->closing = last->sequence == last->patient.stays || index + 1 == cohort->stays;
        last->claim_id = claims == NULL ? NULL : claims->ids[index];
        cohort->places[i] = *last;
    }
}

static bool is_compressed(int file) {
    const char *name = file_forms[file].name;
    return strcmp(name + strlen(name) - 3, ".gz") == 0;
}

/* The rows of PART stays of the block for one file. */
static void pack_part(struct part *part, const struct cohort *cohort, int file, size_t from, size_t count) {
    text_clear(&part->rows);
    text_clear(&part->bytes);
    for (size_t i = from; i < from + PART && i < count; i++) {
        const struct text *rows = &cohort->block[i].rows[file];
        text_append(&part->rows, rows->data, rows->length);
        part->rows.failed = part->rows.failed || rows->failed || cohort->block[i].note.failed;
    }
    part->packed = text_ok(&part->rows, &part->error) &&
                   (!is_compressed(file) || part->rows.length == 0 ||
                    gzip_member(&part->bytes, part->rows.data, part->rows.length, &part->error));
}

/* Stays are rendered, then each part of each file compressed, by all threads; written in order. */
static bool write_block(struct cohort *cohort, int64_t first, size_t count, struct error *error) {
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < count; i++) {
        struct rendered *rendered = &cohort->block[i];
        text_clear(&rendered->note);
        for (int f = 0; f < FILES; f++) text_clear(&rendered->rows[f]);
        render_stay(cohort, first + (int64_t)i, &cohort->places[i], rendered);
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t p = 0; p < (size_t)PARTS * FILES; p++)
        pack_part(&cohort->parts[p], cohort, (int)(p % FILES), p / FILES * PART, count);
    for (size_t p = 0; p < (size_t)PARTS * FILES; p++) {
        struct part *part = &cohort->parts[p];
        const int file = (int)(p % FILES);
        const struct text *bytes = is_compressed(file) ? &part->bytes : &part->rows;
        if (!part->packed) {
            *error = part->error;
            return false;
        }
        if (cohort->files[file] != NULL && !file_writer_write(cohort->files[file], bytes->data, bytes->length, error))
            return false;
    }
    return true;
}

static bool write_stays(struct cohort *cohort, struct error *error) {
    struct progress progress;
    struct stay_place last = {.patient = next_patient(cohort, 0, 0), .sequence = 0};
    progress_start(&progress, "writing synthetic stays", "stays", (uint64_t)cohort->stays);
    for (int64_t first = 0; first < cohort->stays; first += BLOCK) {
        const int64_t left = cohort->stays - first;
        const size_t count = left < BLOCK ? (size_t)left : BLOCK;
        assign_patients(cohort, first, count, &last);
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

static bool write_settings(const struct cohort *cohort, struct error *error) {
    const struct synth_settings *settings = cohort->settings;
    char path[4096];
    struct text text = {0};
    text_printf(&text,
                "{\n  \"what\": \"synthetic stays written by casemix synth; no patient stands behind them\",\n  "
                "\"stays\": %lld,\n  \"seed\": %llu,\n  \"temper\": ",
                (long long)cohort->stays, (unsigned long long)settings->seed);
    text_add_json_double(&text, settings->temper);
    text_printf(&text, ",\n  \"words\": %d,\n  \"misspell\": ", settings->style.words);
    text_add_json_double(&text, settings->style.misspells);
    text_printf(&text, ",\n  \"tell\": \"%s\",\n  \"apr\": %s,\n  \"claims\": %s,\n  \"split\": [",
                tell_names[settings->style.tell], settings->apr ? "true" : "false",
                settings->claims != NULL ? "true" : "false");
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

static bool write_header(struct file_writer *writer, int file, struct error *error) {
    const char *header = file_forms[file].header;
    struct text member = {0};
    bool done = true;
    if (header[0] != '\0' && is_compressed(file))
        done = gzip_member(&member, header, strlen(header), error) &&
               file_writer_write(writer, member.data, member.length, error);
    else
        done = file_writer_write(writer, header, strlen(header), error);
    text_free(&member);
    return done;
}

static bool open_files(struct cohort *cohort, struct error *error) {
    for (int f = 0; f < FILES; f++) {
        char path[4096];
        if (f == FILE_CLAIMS && cohort->settings->claims == NULL) continue;
        if (!path_join(path, sizeof path, cohort->settings->out, file_forms[f].name))
            return error_set(error, "%s: path too long", cohort->settings->out);
        if (!file_writer_open_plain(&cohort->files[f], path, error) || !write_header(cohort->files[f], f, error))
            return false;
    }
    return true;
}

static bool check_settings(const struct synth_settings *settings, struct error *error) {
    const double total = settings->split[0] + settings->split[1] + settings->split[2];
    if ((settings->claims == NULL && settings->stays < 1) || settings->stays > 100000000)
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
    struct cohort cohort = {.knowledge = knowledge,
                            .settings = settings,
                            .stays = settings->claims != NULL ? (int64_t)settings->claims->count : settings->stays};
    cohort.block = memory_zero(BLOCK, sizeof *cohort.block);
    cohort.places = memory_alloc(BLOCK, sizeof *cohort.places);
    cohort.parts = memory_zero((size_t)PARTS * FILES, sizeof *cohort.parts);
    bool done = (cohort.block != NULL && cohort.places != NULL && cohort.parts != NULL) ||
                memory_error(error, BLOCK * sizeof *cohort.block, "a block of stays");
    done = done && profile_weights_make(&cohort.weights, knowledge, settings->temper, error) &&
           open_files(&cohort, error) && write_stays(&cohort, error);
    for (int f = 0; done && f < FILES; f++)
        done = cohort.files[f] == NULL || file_writer_commit(cohort.files[f], error);
    done = done && write_labels(&cohort, error) && write_settings(&cohort, error);
    for (int f = 0; f < FILES; f++) file_writer_close(cohort.files[f]);
    for (size_t i = 0; cohort.block != NULL && i < BLOCK; i++) {
        text_free(&cohort.block[i].note);
        for (int f = 0; f < FILES; f++) text_free(&cohort.block[i].rows[f]);
    }
    for (size_t p = 0; cohort.parts != NULL && p < (size_t)PARTS * FILES; p++) {
        text_free(&cohort.parts[p].rows);
        text_free(&cohort.parts[p].bytes);
    }
    profile_weights_free(&cohort.weights);
    memory_free(cohort.parts);
    memory_free(cohort.block);
    memory_free(cohort.places);
    return done;
}
