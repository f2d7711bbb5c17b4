/* Adding to the chain, checking it, and shortening it from its beginning. */
#include "serve/audit.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "serve/store.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS = 12 }; /* of a row, in the order of the table; the last is the hash */

#define COLUMNS                                                                                              \
    "seq, time, who, action, note_sha256, model, model_sha256, adapter_sha256, answer, decision, previous, " \
    "hash"

static void row_hash(const char *const fields[FIELDS], struct text *line, char hash[65]) {
    text_clear(line);
    text_printf(line, "[%s", fields[0]);
    for (int i = 1; i < FIELDS - 1; i++) {
        text_add_char(line, ',');
        text_add_json(line, fields[i], strlen(fields[i]));
    }
    text_add_char(line, ']');
    if (!line->failed) sha256_hex(line->data, line->length, hash);
}

/* The last row's number and hash, or those of the last that was forgotten. */
static bool find_head(sqlite3 *database, int64_t *seq, char hash[65], struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database,
                        "SELECT seq, hash FROM audit UNION ALL SELECT through, hash FROM forgotten"
                        " ORDER BY 1 DESC LIMIT 1",
                        error))
        return false;
    bool done = statement_next(statement, &row, error) &&
                (row || error_set(error, "the store: the table forgotten has lost its row"));
    if (done) {
        *seq = sqlite3_column_int64(statement, 0);
        snprintf(hash, 65, "%s", statement_column(statement, 1));
    }
    statement_close(statement);
    return done;
}

bool audit_append(sqlite3 *database, const struct audit_row *row, int64_t *seq, char time[25], struct error *error) {
    char previous[65], hash[65], number[24];
    struct text line = {0};
    sqlite3_stmt *statement;
    if (!find_head(database, seq, previous, error)) return false;
    ++*seq;
    time_text(time);
    snprintf(number, sizeof number, "%lld", (long long)*seq);
    const char *const fields[FIELDS] = {number,           time,          row->who,          row->action,
                                        row->note_sha256, row->model,    row->model_sha256, row->adapter_sha256,
                                        row->answer,      row->decision, previous,          hash};
    row_hash(fields, &line, hash);
    bool done =
        text_ok(&line, error) &&
        statement_open(&statement, database, "INSERT INTO audit(" COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?)", error);
    text_free(&line);
    if (!done) return false;
    statement_int(statement, 1, *seq);
    for (int i = 1; i < FIELDS; i++) statement_text(statement, i + 1, fields[i]);
    return statement_run(statement, error);
}

/* The last row older than so many days; 0: none. */
static bool find_old(sqlite3 *database, const char *before, int64_t *through, char hash[65], struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    *through = 0;
    if (!statement_open(&statement, database, "SELECT seq, hash FROM audit WHERE time < ? ORDER BY seq DESC LIMIT 1",
                        error))
        return false;
    statement_text(statement, 1, before);
    const bool done = statement_next(statement, &row, error);
    if (done && row) {
        *through = sqlite3_column_int64(statement, 0);
        snprintf(hash, 65, "%s", statement_column(statement, 1));
    }
    statement_close(statement);
    return done;
}

static bool delete_before(sqlite3 *database, const char *table, const char *before, struct error *error) {
    char sql[80];
    sqlite3_stmt *statement;
    snprintf(sql, sizeof sql, "DELETE FROM %s WHERE time < ?", table);
    if (!statement_open(&statement, database, sql, error)) return false;
    statement_text(statement, 1, before);
    return statement_run(statement, error);
}

static bool time_before(sqlite3 *database, int64_t days, char out[25], struct error *error) {
    char change[32];
    sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database, "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)", error)) return false;
    snprintf(change, sizeof change, "-%lld days", (long long)days);
    statement_text(statement, 1, change);
    const bool done = statement_next(statement, &row, error);
    if (done) snprintf(out, 25, "%s", statement_column(statement, 0));
    statement_close(statement);
    return done;
}

bool audit_forget(sqlite3 *database, int64_t days, struct error *error) {
    static const char *const dated[] = {"notes", "reviews", "ratings", "predictions"};
    char before[25], hash[65], time[25], answer[160];
    int64_t through, seq;
    sqlite3_stmt *statement;
    if (!time_before(database, days, before, error)) return false;
    for (size_t i = 0; i < sizeof dated / sizeof dated[0]; i++) {
        if (!delete_before(database, dated[i], before, error)) return false;
    }
    if (!find_old(database, before, &through, hash, error)) return false;
    if (through == 0) return true;
    snprintf(answer, sizeof answer, "{\"through\":%lld,\"hash\":\"%s\"}", (long long)through, hash);
    const struct audit_row row = {"casemix", "forget", "", "", "", "", answer, ""};
    if (!audit_append(database, &row, &seq, time, error)) return false;
    if (!statement_open(&statement, database, "UPDATE forgotten SET through = ?, hash = ?", error)) return false;
    statement_int(statement, 1, through);
    statement_text(statement, 2, hash);
    if (!statement_run(statement, error)) return false;
    if (!statement_open(&statement, database, "DELETE FROM audit WHERE seq <= ?", error)) return false;
    statement_int(statement, 1, through);
    return statement_run(statement, error);
}

/* What was forgotten must be told by a row that is left. */
static bool check_forgotten(sqlite3 *database, struct audit_state *state, char hash[65], struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    char answer[160];
    if (!statement_open(&statement, database, "SELECT through, hash FROM forgotten", error)) return false;
    bool done = statement_next(statement, &row, error) &&
                (row || error_set(error, "the audit trail: the table forgotten has lost its row"));
    if (done) {
        state->forgotten = sqlite3_column_int64(statement, 0);
        snprintf(hash, 65, "%s", statement_column(statement, 1));
    }
    statement_close(statement);
    if (!done || state->forgotten == 0) return done;
    snprintf(answer, sizeof answer, "{\"through\":%lld,\"hash\":\"%s\"}", (long long)state->forgotten, hash);
    if (!statement_open(&statement, database, "SELECT seq FROM audit WHERE action = 'forget' AND answer = ?", error))
        return false;
    statement_text(statement, 1, answer);
    done = statement_next(statement, &row, error) &&
           (row || error_set(error,
                             "the audit trail: rows up to %lld are missing, and no row says that retention took "
                             "them away",
                             (long long)state->forgotten));
    statement_close(statement);
    return done;
}

static bool check_row(sqlite3_stmt *statement, struct audit_state *state, struct text *line, struct error *error) {
    const char *fields[FIELDS];
    char hash[65] = "";
    const int64_t seq = sqlite3_column_int64(statement, 0), expected = state->last + 1;
    for (int i = 0; i < FIELDS; i++) fields[i] = statement_column(statement, i);
    if (seq != expected) return error_set(error, "the audit trail: row %lld is missing", (long long)expected);
    if (strcmp(fields[10], state->head) != 0)
        return error_set(error, "the audit trail: row %lld does not follow the row before it", (long long)seq);
    row_hash(fields, line, hash);
    if (!text_ok(line, error)) return false;
    if (strcmp(hash, fields[11]) != 0)
        return error_set(error, "the audit trail: row %lld was changed after it was written", (long long)seq);
    if (state->first == 0) state->first = seq;
    state->last = seq;
    state->rows++;
    snprintf(state->head, sizeof state->head, "%s", hash);
    return true;
}

/* Rows cut off at the end: SQLite remembers the last number that it gave. */
static bool check_end(sqlite3 *database, const struct audit_state *state, struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database, "SELECT seq FROM sqlite_sequence WHERE name = 'audit'", error))
        return false;
    bool done = statement_next(statement, &row, error);
    const int64_t given = done && row ? sqlite3_column_int64(statement, 0) : 0;
    statement_close(statement);
    return done &&
           (given == state->last || error_set(error, "the audit trail: rows %lld to %lld are missing at its end",
                                              (long long)state->last + 1, (long long)given));
}

bool audit_verify(sqlite3 *database, struct audit_state *state, struct error *error) {
    sqlite3_stmt *statement;
    struct text line = {0};
    bool row = true;
    *state = (struct audit_state){0};
    if (!database_run(database, "BEGIN", error)) return false; /* one moment of a file that is being written */
    bool done = check_forgotten(database, state, state->head, error) &&
                statement_open(&statement, database, "SELECT " COLUMNS " FROM audit ORDER BY seq", error);
    if (done) {
        state->last = state->forgotten;
        while (done && row) {
            done = statement_next(statement, &row, error);
            if (done && row) done = check_row(statement, state, &line, error);
        }
        statement_close(statement);
    }
    done = done && check_end(database, state, error);
    struct error ended;
    database_run(database, "COMMIT", &ended);
    text_free(&line);
    return done;
}

bool audit_export(sqlite3 *database, audit_line_function *function, void *context, struct error *error) {
    static const char *const names[FIELDS] = {"seq",         "time",     "who",          "action",
                                              "note_sha256", "model",    "model_sha256", "adapter_sha256",
                                              "answer",      "decision", "previous",     "hash"};
    sqlite3_stmt *statement;
    struct text line = {0};
    bool row = true, done = statement_open(&statement, database, "SELECT " COLUMNS " FROM audit ORDER BY seq", error);
    if (!done) return false;
    while (done && row) {
        done = statement_next(statement, &row, error);
        if (!done || !row) break;
        text_clear(&line);
        for (int i = 0; i < FIELDS; i++) {
            const char *value = statement_column(statement, i);
            text_printf(&line, "%s\"%s\": ", i == 0 ? "{" : ", ", names[i]);
            if (i == 0)
                text_add(&line, value);
            else
                text_add_json(&line, value, strlen(value));
        }
        text_add(&line, "}\n");
        done = text_ok(&line, error) && function(context, &line, error);
    }
    statement_close(statement);
    text_free(&line);
    return done;
}
