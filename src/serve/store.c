/* The SQLite file, its tables, and the thread that writes. */
#include "serve/store.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "serve/audit.h"
#include "serve/server.h"
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { VERSION = 1, APPLICATION = 0x63617365, TOGETHER = 256 };

static const char tables[] =
    "CREATE TABLE audit(seq INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, who TEXT NOT NULL,"
    " action TEXT NOT NULL, note_sha256 TEXT NOT NULL, model TEXT NOT NULL, model_sha256 TEXT NOT NULL,"
    " adapter_sha256 TEXT NOT NULL, answer TEXT NOT NULL, decision TEXT NOT NULL, previous TEXT NOT NULL,"
    " hash TEXT NOT NULL) STRICT;"
    /* What retention has taken away: all rows up to `through`, the last of which had this hash. */
    "CREATE TABLE forgotten(one INTEGER PRIMARY KEY CHECK(one = 1), through INTEGER NOT NULL, hash TEXT NOT NULL)"
    " STRICT;"
    "INSERT INTO forgotten VALUES(1, 0, '" AUDIT_START "');"
    "CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit"
    " BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;"
    "CREATE TRIGGER audit_kept BEFORE DELETE ON audit WHEN OLD.seq > (SELECT through FROM forgotten)"
    " BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;"
    "CREATE TRIGGER forgotten_grows BEFORE UPDATE ON forgotten WHEN NEW.through < OLD.through"
    " BEGIN SELECT RAISE(ABORT, 'what is forgotten stays forgotten'); END;"
    "CREATE TRIGGER forgotten_kept BEFORE DELETE ON forgotten"
    " BEGIN SELECT RAISE(ABORT, 'what is forgotten stays forgotten'); END;"
    "CREATE TABLE predictions(prediction INTEGER PRIMARY KEY, time TEXT NOT NULL, who TEXT NOT NULL,"
    " note_id TEXT NOT NULL, note_sha256 TEXT NOT NULL, model TEXT NOT NULL, grouper TEXT NOT NULL,"
    " drg INTEGER NOT NULL, p REAL NOT NULL, billed INTEGER, reasoning INTEGER NOT NULL) STRICT;"
    "CREATE TABLE reviews(review INTEGER PRIMARY KEY, time TEXT NOT NULL, reviewer TEXT NOT NULL,"
    " prediction INTEGER NOT NULL, decision TEXT NOT NULL, drg INTEGER NOT NULL, comment TEXT NOT NULL) STRICT;"
    "CREATE INDEX reviews_of ON reviews(prediction);"
    "CREATE TABLE ratings(rating INTEGER PRIMARY KEY, time TEXT NOT NULL, rater TEXT NOT NULL,"
    " prediction INTEGER NOT NULL, helpfulness INTEGER NOT NULL, accuracy INTEGER NOT NULL, comment TEXT NOT NULL)"
    " STRICT;"
    "CREATE INDEX ratings_of ON ratings(prediction);"
    "CREATE TABLE notes(note_sha256 TEXT PRIMARY KEY, time TEXT NOT NULL, text TEXT NOT NULL) STRICT;";

struct store {
    sqlite3 *writer, *reader;
    pthread_mutex_t mutex, reading;
    pthread_cond_t changed;
    pthread_t thread;
    struct store_job *first, **last;
    bool stop, running;
    char *path;
};

bool database_error(sqlite3 *database, const char *what, struct error *error) {
    error_set(error, "%s: %s", what, sqlite3_errmsg(database));
    if (sqlite3_errcode(database) == SQLITE_FULL) error_hint(error, "make room on that disk");
    return false;
}

bool database_run(sqlite3 *database, const char *sql, struct error *error) {
    return sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK || database_error(database, "the store", error);
}

bool statement_open(sqlite3_stmt **statement, sqlite3 *database, const char *sql, struct error *error) {
    return sqlite3_prepare_v2(database, sql, -1, statement, NULL) == SQLITE_OK ||
           database_error(database, "the store", error);
}

/* Values are copied: those that bind them need not keep them. Want of memory shows when the statement is run. */
void statement_text(sqlite3_stmt *statement, int place, const char *value) {
    if (sqlite3_bind_text(statement, place, value, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        sqlite3_bind_zeroblob(statement, place, 0);
}

void statement_int(sqlite3_stmt *statement, int place, int64_t value) {
    sqlite3_bind_int64(statement, place, value);
}

void statement_double(sqlite3_stmt *statement, int place, double value) {
    sqlite3_bind_double(statement, place, value);
}

bool statement_next(sqlite3_stmt *statement, bool *row, struct error *error) {
    const int status = sqlite3_step(statement);
    *row = status == SQLITE_ROW;
    return *row || status == SQLITE_DONE || database_error(sqlite3_db_handle(statement), "the store", error);
}

bool statement_run(sqlite3_stmt *statement, struct error *error) {
    bool row;
    const bool done = statement_next(statement, &row, error);
    sqlite3_finalize(statement);
    return done;
}

void statement_close(sqlite3_stmt *statement) {
    sqlite3_finalize(statement);
}

const char *statement_column(sqlite3_stmt *statement, int column) {
    const unsigned char *value = sqlite3_column_text(statement, column);
    return value == NULL ? "" : (const char *)value;
}

void time_text(char out[25]) {
    struct timespec now;
    struct tm parts;
    char second[20];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, 25, "%s.%03uZ", second, (unsigned)(now.tv_nsec / 1000000) % 1000u);
}

/* The number that a pragma gives. */
static bool pragma(sqlite3 *database, const char *sql, int64_t *value, struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database, sql, error)) return false;
    const bool done = statement_next(statement, &row, error);
    *value = done && row ? sqlite3_column_int64(statement, 0) : 0;
    statement_close(statement);
    return done;
}

static bool check_store(sqlite3 *database, const char *path, bool *empty, struct error *error) {
    int64_t application, version, count;
    if (!pragma(database, "PRAGMA application_id", &application, error) ||
        !pragma(database, "PRAGMA user_version", &version, error) ||
        !pragma(database, "SELECT count(*) FROM sqlite_schema", &count, error))
        return error_context(error, "%s", path);
    *empty = count == 0;
    if (*empty || (application == APPLICATION && version == VERSION)) return true;
    if (application != APPLICATION) return error_set(error, "%s: this SQLite file is no store of casemix", path);
    error_set(error, "%s: the store has version %lld, this casemix reads %d", path, (long long)version, VERSION);
    return error_hint(error, "serve it with the casemix that made it");
}

static bool make_tables(sqlite3 *database, struct error *error) {
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION, VERSION);
    return database_run(database, "BEGIN IMMEDIATE", error) && database_run(database, tables, error) &&
           database_run(database, sql, error) && database_run(database, "COMMIT", error);
}

static bool open_database(sqlite3 **database, const char *path, int flags, struct error *error) {
    if (sqlite3_open_v2(path, database, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        error_set(error, "%s: %s", path, *database == NULL ? "out of memory" : sqlite3_errmsg(*database));
        return error_hint(error, "--store names a file in a directory that can be written");
    }
    sqlite3_busy_timeout(*database, 10000);
    return true;
}

static bool open_writer(struct store *store, struct error *error) {
    bool empty = false;
    const mode_t before = umask(077);
    const bool opened =
        open_database(&store->writer, store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error) &&
        check_store(store->writer, store->path, &empty, error) &&
        (database_run(store->writer, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;",
                      error) ||
         error_context(error, "%s", store->path)) &&
        (!empty || make_tables(store->writer, error));
    umask(before);
    return opened;
}

static struct store_job *take_jobs(struct store *store) {
    pthread_mutex_lock(&store->mutex);
    while (store->first == NULL && !store->stop) pthread_cond_wait(&store->changed, &store->mutex);
    struct store_job *jobs = store->first, **end = &store->first;
    for (int i = 0; i < TOGETHER && *end != NULL; i++) end = &(*end)->next;
    store->first = *end;
    *end = NULL;
    if (store->first == NULL) store->last = &store->first;
    pthread_mutex_unlock(&store->mutex);
    return jobs;
}

static void run_job(struct store *store, struct store_job *job, struct error *error) {
    struct error undone;
    *error = (struct error){0};
    job->kept = database_run(store->writer, "SAVEPOINT job", error) && job->run(store->writer, job, error);
    if (!job->kept) database_run(store->writer, "ROLLBACK TO job", &undone);
    database_run(store->writer, "RELEASE job", &undone);
}

/* One transaction for all that waits; each job fails or succeeds alone unless the transaction itself fails. */
static void run_jobs(struct store *store, struct store_job *jobs) {
    static struct error errors[TOGETHER]; /* of the one writing thread */
    struct error error = {0}, undone;
    int i = 0;
    bool done = database_run(store->writer, "BEGIN IMMEDIATE", &error);
    for (struct store_job *job = jobs; done && job != NULL; job = job->next) {
        job->error = &errors[i++];
        run_job(store, job, job->error);
    }
    if (done && !database_run(store->writer, "COMMIT", &error)) {
        database_run(store->writer, "ROLLBACK", &undone);
        done = false;
    }
    if (!done) log_warning("%s", error.message);
    for (struct store_job *job = jobs, *next; job != NULL; job = next) {
        next = job->next;
        job->done(job, done && job->kept, done ? job->error : &error);
    }
}

static void *run(void *context) {
    struct store *store = context;
    for (struct store_job *jobs; (jobs = take_jobs(store)) != NULL;) run_jobs(store, jobs);
    return NULL;
}

static bool make_directory(const char *path, struct error *error) {
    char *folder = memory_copy_string(path, strlen(path));
    if (folder == NULL) return memory_error(error, strlen(path), "a path");
    char *slash = strrchr(folder, '/');
    bool done = true;
    if (slash != NULL && slash != folder) {
        *slash = '\0';
        done = directory_create(folder, error);
    }
    memory_free(folder);
    return done;
}

static bool open_parts(struct store *store, struct error *error) {
    return make_directory(store->path, error) && open_writer(store, error) &&
           open_database(&store->reader, store->path, SQLITE_OPEN_READWRITE, error) &&
           database_run(store->reader, "PRAGMA query_only = ON", error);
}

bool store_open(struct store **out, const struct server_settings *settings, struct error *error) {
    struct store *store = memory_zero(1, sizeof *store);
    if (store == NULL) return memory_error(error, sizeof *store, "a store");
    store->last = &store->first;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_mutex_init(&store->reading, NULL);
    pthread_cond_init(&store->changed, NULL);
    store->path = memory_copy_string(settings->store, strlen(settings->store));
    bool done = store->path != NULL || memory_error(error, strlen(settings->store), "a path");
    done = done && open_parts(store, error);
    if (done) store->running = pthread_create(&store->thread, NULL, run, store) == 0;
    if (done && !store->running) done = error_set(error, "no thread can be started");
    *out = store;
    return done;
}

void store_stop(struct store *store) {
    if (store == NULL || !store->running) return;
    pthread_mutex_lock(&store->mutex);
    store->stop = true;
    pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->thread, NULL);
    store->running = false;
}

void store_close(struct store *store) {
    if (store == NULL) return;
    store_stop(store);
    sqlite3_close(store->reader);
    sqlite3_close(store->writer);
    pthread_mutex_destroy(&store->mutex);
    pthread_mutex_destroy(&store->reading);
    pthread_cond_destroy(&store->changed);
    memory_free(store->path);
    memory_free(store);
}

void store_submit(struct store *store, struct store_job *job) {
    struct error stopped = {0};
    pthread_mutex_lock(&store->mutex);
    const bool taken = !store->stop;
    job->next = NULL;
    if (taken) {
        *store->last = job;
        store->last = &job->next;
        pthread_cond_signal(&store->changed);
    }
    pthread_mutex_unlock(&store->mutex);
    if (taken) return;
    error_set(&stopped, "the server is stopping");
    job->done(job, false, &stopped);
}

sqlite3 *store_read(struct store *store) {
    pthread_mutex_lock(&store->reading);
    return store->reader;
}

void store_read_end(struct store *store) {
    pthread_mutex_unlock(&store->reading);
}

struct retention {
    struct store_job job; /* first: it is what the store sees */
    int64_t days;
};

static bool run_retention(sqlite3 *database, struct store_job *job, struct error *error) {
    return audit_forget(database, ((struct retention *)job)->days, error);
}

static void retention_done(struct store_job *job, bool kept, const struct error *error) {
    if (!kept) log_warning("retention: %s", error->message);
    memory_free(job);
}

void store_retain(struct store *store, int64_t days) {
    struct retention *retention = memory_zero(1, sizeof *retention);
    if (retention == NULL) return; /* an hour later it is tried again */
    *retention = (struct retention){{.run = run_retention, .done = retention_done}, days};
    store_submit(store, &retention->job);
}

bool store_open_reading(sqlite3 **database, const char *path, struct error *error) {
    bool empty;
    *database = NULL;
    if (!path_exists(path)) {
        error_set(error, "%s: no such store", path);
        return error_hint(error, "--store names the file that `casemix serve` writes");
    }
    if (open_database(database, path, SQLITE_OPEN_READWRITE, error) && check_store(*database, path, &empty, error) &&
        (!empty || error_set(error, "%s: the store is empty", path)) &&
        database_run(*database, "PRAGMA query_only = ON", error))
        return true;
    sqlite3_close(*database);
    *database = NULL;
    return false;
}
