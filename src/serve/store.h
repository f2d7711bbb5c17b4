/* What the server keeps: one SQLite file with the audit trail, predictions, reviews, ratings and, if the operator wants
 * them, notes.
 *
 * One thread writes. Jobs that wait are written in one transaction and are told that they are kept only when it is on
 * disk (WAL, synchronous=FULL), so nothing that was acknowledged is lost with the process or the machine. */
#ifndef CASEMIX_SERVE_STORE_H
#define CASEMIX_SERVE_STORE_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct server_settings;
struct sqlite3;
struct sqlite3_stmt;
struct store;
struct text;

/* Opens or makes the file. A file that is no store of casemix's is refused and left alone. */
bool store_open(struct store **store, const struct server_settings *settings, struct error *error);
/* Writes what waits and stops the thread; later jobs are refused. */
void store_stop(struct store *store);
void store_close(struct store *store);

/* Something to be written. `run` does it within a transaction of its own (what it did is undone when it fails); `done`
 * is told the outcome. Both are called from the writing thread, `done` exactly once. */
struct store_job {
    struct store_job *next;
    bool (*run)(struct sqlite3 *database, struct store_job *job, struct error *error);
    void (*done)(struct store_job *job, bool kept, const struct error *error);
    bool kept;
    struct error *error; /* of run; the store's */
};
void store_submit(struct store *store, struct store_job *job);

/* A connection for reading, of one thread at a time; store_read_end gives it back. */
struct sqlite3 *store_read(struct store *store);
void store_read_end(struct store *store);

/* Forgets what is older than so many days. */
void store_retain(struct store *store, int64_t days);

/* For `casemix audit`: an existing file, read only. */
bool store_open_reading(struct sqlite3 **database, const char *path, struct error *error);

/* Statements: prepare, bind by position from 1, step. False and the error filled when SQLite refuses. */
bool statement_open(struct sqlite3_stmt **statement, struct sqlite3 *database, const char *sql, struct error *error);
void statement_text(struct sqlite3_stmt *statement, int place, const char *value);
void statement_int(struct sqlite3_stmt *statement, int place, int64_t value);
void statement_double(struct sqlite3_stmt *statement, int place, double value);
/* The next row: *row false at the end. */
bool statement_next(struct sqlite3_stmt *statement, bool *row, struct error *error);
/* Runs a statement that gives no rows, and closes it. */
bool statement_run(struct sqlite3_stmt *statement, struct error *error);
void statement_close(struct sqlite3_stmt *statement);
/* A text column; "" for NULL. Valid until the next step. */
const char *statement_column(struct sqlite3_stmt *statement, int column);
bool database_error(struct sqlite3 *database, const char *what, struct error *error);
bool database_run(struct sqlite3 *database, const char *sql, struct error *error);

/* UTC with milliseconds: "2026-11-25T20:15:00.000Z". */
void time_text(char out[25]);

#endif
