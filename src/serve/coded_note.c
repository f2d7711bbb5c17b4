/* The stations of a note, and its rows in the store. */
#include "serve/coded_note.h"
#include "base/hash.h"
#include "base/text.h"
#include "serve/audit.h"
#include "serve/models.h"
#include "serve/server.h"
#include <sqlite3.h>
#include <stddef.h>
#include <string.h>

struct record coded_note_record(const struct coded_note *note) {
    return (struct record){.id = note->id,
                           .served = note->served,
                           .note_sha256 = note->sha256,
                           .prediction = note->prediction,
                           .top = note->coding.top,
                           .k = note->coding.k,
                           .section = note->section,
                           .tokens = note->coding.tokens,
                           .truncated = note->coding.truncated,
                           .billed = note->billed,
                           .evidence = note->evidence ? &note->explaining.members : NULL};
}

static bool insert_prediction(sqlite3 *database, const struct coded_note *note, const char *time, struct error *error) {
    const struct record record = coded_note_record(note);
    sqlite3_stmt *statement;
    if (!statement_open(&statement, database, "INSERT INTO predictions VALUES(?,?,?,?,?,?,?,?,?,?,0)", error))
        return false;
    statement_int(statement, 1, note->prediction);
    statement_text(statement, 2, time);
    statement_text(statement, 3, note->who.name);
    statement_text(statement, 4, note->id);
    statement_text(statement, 5, note->sha256);
    statement_text(statement, 6, note->served->id);
    statement_text(statement, 7, grouper_name(note->served->grouper));
    statement_int(statement, 8, record_drg(&record, 0)->code);
    statement_double(statement, 9, (double)note->coding.top[0].p);
    if (note->billed > 0) statement_int(statement, 10, note->billed);
    return statement_run(statement, error);
}

/* The time moves on when a note comes again, so that retention counts from its last use. */
static bool insert_note(sqlite3 *database, const struct coded_note *note, const char *time, struct error *error) {
    sqlite3_stmt *statement;
    if (!note->server->settings.store_notes) return true;
    if (!statement_open(&statement, database,
                        "INSERT INTO notes VALUES(?,?,?) ON CONFLICT(note_sha256) DO UPDATE SET time = excluded.time",
                        error))
        return false;
    statement_text(statement, 1, note->sha256);
    statement_text(statement, 2, time);
    sqlite3_bind_text64(statement, 3, note->text, note->length, SQLITE_TRANSIENT, SQLITE_UTF8);
    return statement_run(statement, error);
}

static struct coded_note *note_of(struct store_job *job) {
    return (struct coded_note *)(void *)((char *)job - offsetof(struct coded_note, keep));
}

static bool keep_note(sqlite3 *database, struct store_job *job, struct error *error) {
    struct coded_note *note = note_of(job);
    const struct record record = coded_note_record(note);
    struct text answer = {0};
    char time[25];
    record_add_audit(&answer, &record);
    bool done = text_ok(&answer, error);
    if (done) {
        const struct audit_row row = {note->who.name,       "predict",
                                      note->sha256,         note->served->id,
                                      note->served->sha256, note->served->adapter_sha256,
                                      answer.data,          ""};
        done = audit_append(database, &row, &note->prediction, time, error) &&
               insert_prediction(database, note, time, error) && insert_note(database, note, time, error);
    }
    text_free(&answer);
    return done;
}

static void note_kept(struct store_job *job, bool kept, const struct error *error) {
    struct coded_note *note = note_of(job);
    note->kept = kept;
    if (!kept) note->error = *error;
    note->finished(note);
}

static void keep(struct coded_note *note) {
    note->keep = (struct store_job){.run = keep_note, .done = note_kept};
    store_submit(note->server->store, &note->keep);
}

static void give_up(struct coded_note *note, enum coding_end end, const struct error *error) {
    note->coding.end = end;
    note->kept = false;
    note->error = *error;
    note->finished(note);
}

static void note_explained(struct explaining *explaining) {
    struct coded_note *note =
        (struct coded_note *)(void *)((char *)explaining - offsetof(struct coded_note, explaining));
    if (explaining->end == CODING_DONE)
        keep(note);
    else
        give_up(note, explaining->end, &explaining->error);
}

static void note_coded(struct coding *coding) {
    struct coded_note *note = (struct coded_note *)coding;
    struct explaining *explaining = &note->explaining;
    if (coding->end != CODING_DONE) {
        give_up(note, coding->end, &coding->error);
        return;
    }
    if (!note->evidence) {
        keep(note);
        return;
    }
    const struct record record = coded_note_record(note);
    explaining->first = record_drg(&record, 0)->code;
    if (explaining->drg_count == 0) explaining->drgs[explaining->drg_count++] = explaining->first;
    explaining->note = note->text;
    explaining->section = note->section;
    explaining->deadline = coding->deadline;
    explaining->gone = coding->gone;
    explaining->done = note_explained;
    if (!explainer_submit(note->served->explainer, explaining)) give_up(note, CODING_STOPPED, &coding->error);
}

bool coded_note_start(struct coded_note *note) {
    sha256_hex(note->text, note->length, note->sha256);
    classifier_section(&note->served->classifier, note->text, note->length, &note->section);
    note->coding.text = note->text + note->section.start;
    note->coding.length = note->section.end - note->section.start;
    note->coding.done = note_coded;
    if (note->coding.k > note->served->classifier.card.labels.count)
        note->coding.k = note->served->classifier.card.labels.count;
    return (!note->evidence || explainer_has_room(note->served->explainer)) &&
           coder_submit(note->served->coder, &note->coding);
}
