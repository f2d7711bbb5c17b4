/* The files that a preparation leaves: all are written beside their names and take them together at the end. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/prepare.h"
#include "drg/harmonise.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_LIMIT = 40, BLOCK = 512 };

/* The files under way. */
struct outputs {
    const struct preparation *preparation;
    struct file_writer *files[FILE_LIMIT];
    size_t count;
    struct text *lines; /* [BLOCK] scratch */
    struct progress progress;
    uint64_t written;
};

static bool open_output(struct outputs *outputs, const char *folder, const char *name, struct file_writer **file,
                        struct error *error) {
    char path[4096], directory[4096];
    const char *out = outputs->preparation->settings->out;
    const bool named = *folder == '\0' ? path_join(path, sizeof path, out, name)
                                       : path_join(directory, sizeof directory, out, folder) &&
                                             path_join(path, sizeof path, directory, name);
    if (!named || outputs->count == FILE_LIMIT) return error_set(error, "%s: path too long", out);
    if (!file_writer_open(file, path, error)) return false;
    outputs->files[outputs->count++] = *file;
    return true;
}

static bool write_text(struct outputs *outputs, const char *folder, const char *name, const struct text *text,
                       struct error *error) {
    struct file_writer *file;
    return text_ok(text, error) && open_output(outputs, folder, name, &file, error) &&
           file_writer_write(file, text->data == NULL ? "" : text->data, text->length, error);
}

/* Writes one line a row: lines are made in parallel, block by block, and written in order. */
typedef void add_row_function(struct text *out, const struct preparation *preparation, uint32_t row, const char *part);

static bool write_rows(struct outputs *outputs, struct file_writer *file, const uint32_t *rows, size_t count,
                       add_row_function *add_row, const char *part, struct error *error) {
    for (size_t first = 0; first < count; first += BLOCK) {
        const size_t block = count - first < BLOCK ? count - first : BLOCK;
#pragma omp parallel for schedule(dynamic, 16)
        for (size_t i = 0; i < block; i++) {
            text_clear(&outputs->lines[i]);
            add_row(&outputs->lines[i], outputs->preparation, rows[first + i], part);
        }
        for (size_t i = 0; i < block; i++) {
            if (!text_ok(&outputs->lines[i], error) ||
                !file_writer_write(file, outputs->lines[i].data, outputs->lines[i].length, error))
                return false;
        }
        progress_update(&outputs->progress, outputs->written += block);
    }
    return true;
}

static void add_dataset_row(struct text *out, const struct preparation *preparation, uint32_t row, const char *part) {
    const struct cohort_row *stay = &preparation->cohort.rows[row];
    const struct source_note *note = &preparation->notes.notes[stay->note];
    const struct dataset_line line = {
        .note_id = note->note_id,
        .hadm_id = note->hadm_id,
        .subject_id = note->subject_id,
        .text = note->text,
        .length = note->length,
        .drg = catalog_find(catalog_get(preparation->cohort.labels.grouper), stay->code),
        .split = part,
    };
    dataset_add_line(out, &line);
}

static bool write_dataset(struct outputs *outputs, const char *name, const uint32_t *rows, size_t count,
                          const char *part, struct error *error) {
    char file_name[64];
    struct file_writer *file;
    snprintf(file_name, sizeof file_name, "%s.jsonl", name);
    return open_output(outputs, "", file_name, &file, error) &&
           write_rows(outputs, file, rows, count, add_dataset_row, part, error);
}

static bool write_descriptions(struct outputs *outputs, struct error *error) {
    const struct drg_table *drgs = &outputs->preparation->drgs;
    struct text text = {0};
    text_printf(&text,
                "# Descriptions of HCFA rows and their DRG in %s, in order of first appearance.\n"
                "description\trows\tdrg\treason\n",
                grouper_name(outputs->preparation->settings->grouper));
    for (size_t i = 0; i < drgs->description_count; i++) {
        const struct drg_description *description = &drgs->descriptions[i];
        for (size_t b = 0; b < description->length; b++) {
            const char byte = description->text[b];
            text_add_char(&text, byte == '\t' || byte == '\n' || byte == '\r' ? ' ' : byte);
        }
        text_printf(&text, "\t%llu\t", (unsigned long long)description->rows);
        if (description->code > 0) text_printf(&text, "%d", description->code);
        text_printf(&text, "\t%s\n", description->reason == NULL ? "" : description->reason);
    }
    const bool done = write_text(outputs, "", "descriptions.tsv", &text, error);
    text_free(&text);
    return done;
}

static bool write_audit_descriptions(struct outputs *outputs, struct error *error) {
    const struct drg_table *drgs = &outputs->preparation->drgs;
    struct text text = {0}, normal = {0};
    text_add(&text, "raw_description,transformation,drg_34_code\n");
    for (size_t i = 0; i < drgs->description_count; i++) {
        const struct drg_description *description = &drgs->descriptions[i];
        text_clear(&normal);
        title_normalise_published(&normal, description->text, description->length);
        text_add_csv(&text, description->text, description->length);
        text_add_char(&text, ',');
        text_add_csv(&text, normal.data == NULL ? "" : normal.data, normal.length);
        if (description->code > 0)
            text_printf(&text, ",%d\n", description->code);
        else
            text_add(&text, ",\n");
    }
    const bool done = text_ok(&normal, error) && write_text(outputs, "audit", "descriptions.csv", &text, error);
    text_free(&text);
    text_free(&normal);
    return done;
}

static bool write_audit_tables(struct outputs *outputs, struct error *error) {
    const struct preparation *p = outputs->preparation;
    struct text sections = {0}, map = {0}, labels = {0};
    text_add(&sections, note_audit_header);
    text_append(&sections, p->note_audit.data == NULL ? "" : p->note_audit.data, p->note_audit.length);
    text_add(&map, "hadm_id,drg_34_code\n");
    for (size_t i = 0; i < p->drgs.count; i++)
        text_printf(&map, "%lld,%d\n", (long long)p->drgs.rows[i].hadm_id, p->drgs.rows[i].code);
    text_add(&labels, "drg_34_code,label\n");
    for (size_t i = 0; i < p->cohort.labels.count; i++) text_printf(&labels, "%d,%zu\n", p->cohort.labels.codes[i], i);
    const bool done = text_ok(&p->note_audit, error) &&
                      write_text(outputs, "audit", "sections.csv", &sections, error) &&
                      write_text(outputs, "audit", "drg_map.csv", &map, error) &&
                      write_text(outputs, "audit", "id2label.csv", &labels, error);
    text_free(&sections);
    text_free(&map);
    text_free(&labels);
    return done;
}

static void add_audit_row(struct text *out, const struct preparation *preparation, uint32_t row, const char *part) {
    const struct cohort_row *stay = &preparation->cohort.rows[row];
    const struct source_note *note = &preparation->notes.notes[stay->note];
    (void)part;
    text_printf(out, "%u,", stay->joined);
    text_add_csv(out, note->note_id, strlen(note->note_id));
    text_printf(out, ",%lld,%d,%d\n", (long long)note->hadm_id, stay->code, stay->label);
}

/* The line of the published train and test files. */
static void add_published_row(struct text *out, const struct preparation *preparation, uint32_t row, const char *part) {
    const struct cohort_row *stay = &preparation->cohort.rows[row];
    const struct source_note *note = &preparation->notes.notes[stay->note];
    (void)part;
    text_add_csv(out, note->text, note->length);
    text_printf(out, ",%d\n", stay->label);
}

static bool write_table(struct outputs *outputs, const char *name, const char *header, const uint32_t *rows,
                        size_t count, add_row_function *add_row, struct error *error) {
    struct file_writer *file;
    return open_output(outputs, "audit", name, &file, error) &&
           file_writer_write(file, header, strlen(header), error) &&
           write_rows(outputs, file, rows, count, add_row, "", error);
}

static bool write_audit(struct outputs *outputs, struct error *error) {
    static const char header[] = "merge_row,note_id,hadm_id,drg_34_code,label\n";
    const struct preparation *p = outputs->preparation;
    const struct cohort_split *split = &p->split;
    char directory[4096];
    if (!path_join(directory, sizeof directory, p->settings->out, "audit"))
        return error_set(error, "%s: path too long", p->settings->out);
    if (!directory_create(directory, error) || !write_audit_tables(outputs, error) ||
        !write_audit_descriptions(outputs, error))
        return false;
    if (p->sorted != NULL &&
        !write_table(outputs, "cohort.csv", header, p->sorted, p->cohort.count, add_audit_row, error))
        return false;
    static const char *const parts[] = {"train", "dev", "test"};
    for (int part = 0; part < SPLIT_PARTS; part++) {
        char members[32], published[32];
        if (split->rows[part] == NULL) continue;
        snprintf(members, sizeof members, "%s.csv", parts[part]);
        snprintf(published, sizeof published, "%s_text.csv", parts[part]);
        if (!write_table(outputs, members, header, split->rows[part], split->counts[part], add_audit_row, error) ||
            !write_table(outputs, published, "text,label\n", split->rows[part], split->counts[part], add_published_row,
                         error))
            return false;
    }
    return true;
}

static bool write_flow(struct outputs *outputs, struct error *error) {
    struct text text = {0};
    flow_add_json(&text, outputs->preparation->flow);
    const bool done = write_text(outputs, "", "flow.json", &text, error);
    text_free(&text);
    return done;
}

static bool write_labels(struct outputs *outputs, struct error *error) {
    struct text text = {0};
    labels_add_tsv(&text, &outputs->preparation->cohort.labels);
    const bool done = write_text(outputs, "", "labels.tsv", &text, error);
    text_free(&text);
    return done;
}

static bool write_parts(struct outputs *outputs, struct error *error) {
    static const char *const parts[] = {"train", "dev", "test"};
    const struct preparation *p = outputs->preparation;
    for (int part = 0; part < SPLIT_PARTS; part++) {
        if (p->split.rows[part] != NULL &&
            !write_dataset(outputs, parts[part], p->split.rows[part], p->split.counts[part], parts[part], error))
            return false;
    }
    for (int s = 0; s < SUBSETS; s++) {
        if (p->subsets.rows[s] != NULL && !write_dataset(outputs, sapphire_subset_name((enum sapphire_subset)s),
                                                         p->subsets.rows[s], p->subsets.counts[s], "train", error))
            return false;
    }
    return true;
}

/* What an earlier run left and this one does not write would pass for part of this one. */
static void remove_stale(const struct preparation *p) {
    char path[4096], name[64];
    for (int s = 0; s <= SUBSETS; s++) {
        const bool written = s == SUBSETS ? p->split.rows[PART_DEV] != NULL : p->subsets.rows[s] != NULL;
        snprintf(name, sizeof name, "%s.jsonl", s == SUBSETS ? "dev" : sapphire_subset_name((enum sapphire_subset)s));
        if (!written && path_join(path, sizeof path, p->settings->out, name)) unlink(path);
    }
}

static uint64_t count_lines(const struct preparation *p) {
    uint64_t lines = p->settings->audit && p->sorted != NULL ? p->cohort.count : 0;
    for (int part = 0; part < SPLIT_PARTS; part++) lines += p->split.counts[part] * (p->settings->audit ? 3 : 1);
    for (int s = 0; s < SUBSETS; s++) lines += p->subsets.counts[s];
    return lines;
}

bool prepare_write(const struct preparation *preparation, struct error *error) {
    struct outputs outputs = {.preparation = preparation, .lines = memory_zero(BLOCK, sizeof *outputs.lines)};
    const bool made = !path_exists(preparation->settings->out);
    bool done = outputs.lines != NULL || memory_error(error, BLOCK * sizeof *outputs.lines, "the lines of a dataset");
    progress_start(&outputs.progress, "writing", "lines", count_lines(preparation));
    done = done && directory_create(preparation->settings->out, error) && write_parts(&outputs, error) &&
           write_labels(&outputs, error) && write_descriptions(&outputs, error) && write_flow(&outputs, error) &&
           (!preparation->settings->audit || write_audit(&outputs, error));
    for (size_t f = 0; done && f < outputs.count; f++) done = file_writer_commit(outputs.files[f], error);
    for (size_t f = 0; f < outputs.count; f++) file_writer_close(outputs.files[f]);
    if (done) {
        remove_stale(preparation);
        progress_finish(&outputs.progress);
    } else if (made) {
        char audit[4096];
        if (path_join(audit, sizeof audit, preparation->settings->out, "audit")) rmdir(audit);
        rmdir(preparation->settings->out); /* only when nothing is in it */
    }
    for (size_t i = 0; outputs.lines != NULL && i < BLOCK; i++) text_free(&outputs.lines[i]);
    memory_free(outputs.lines);
    return done;
}
