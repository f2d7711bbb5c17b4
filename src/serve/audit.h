/* The audit trail: rows that are only ever added, each with the hash of the one before it.
 *
 * The hash of a row is the SHA-256 of the JSON array [seq, time, who, action, note_sha256, model, model_sha256,
 * adapter_sha256, answer, decision, previous], written without blanks, with `previous` the hash of the row before
 * (AUDIT_START for the first). Anybody can compute it from `casemix audit export`. Whoever can write the file could
 * write another chain: the head, noted elsewhere, tells them apart. */
#ifndef CASEMIX_SERVE_AUDIT_H
#define CASEMIX_SERVE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_START "0000000000000000000000000000000000000000000000000000000000000000"

struct error;
struct sqlite3;
struct text;

/* Strings that do not apply are "", never NULL. */
struct audit_row {
    const char *who;    /* name of the key; "local" without keys */
    const char *action; /* "predict", "generate", "review", "rating", "forget" */
    const char *note_sha256, *model, *model_sha256, *adapter_sha256;
    const char *answer;   /* JSON, or "" */
    const char *decision; /* JSON, or "" */
};

/* Adds a row; its number and time. Within a transaction that has begun IMMEDIATE. */
bool audit_append(struct sqlite3 *database, const struct audit_row *row, int64_t *seq, char time[25],
                  struct error *error);

/* Takes away what is older than so many days, rows of the trail included, and adds a row that says so. Nothing to take
 * away: nothing is added. */
bool audit_forget(struct sqlite3 *database, int64_t days, struct error *error);

/* What a check has found. */
struct audit_state {
    int64_t rows, first, last; /* numbers of rows; first 0: no row */
    int64_t forgotten;         /* rows up to this one were taken away by retention */
    char head[65];             /* hash of the last row */
};

/* Computes every hash and checks every number. What does not agree is an error that names the row. */
bool audit_verify(struct sqlite3 *database, struct audit_state *state, struct error *error);

/* One JSON object a row, through `write`. */
typedef bool audit_line_function(void *context, const struct text *line, struct error *error);
bool audit_export(struct sqlite3 *database, audit_line_function *function, void *context, struct error *error);

#endif
