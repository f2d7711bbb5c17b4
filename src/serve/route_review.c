/* Reviews and ratings: written through the store's thread, acknowledged when they are on disk; lists and exports. */
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/audit.h"
#include "serve/body.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/store.h"
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* The columns of the two lists, in the order of the statements below. */
static const char *const review_columns[] = {"review",      "time",     "reviewer", "prediction", "note_id",
                                             "note_sha256", "model",    "grouper",  "predicted",  "p",
                                             "billed",      "decision", "drg",      "comment",    NULL};
static const char *const rating_columns[] = {"rating",   "time",        "rater", "prediction",
                                             "note_id",  "note_sha256", "model", "helpfulness",
                                             "accuracy", "comment",     NULL};

#define REVIEWS                                                                                                \
    "SELECT r.review, r.time, r.reviewer, r.prediction, coalesce(p.note_id, ''), coalesce(p.note_sha256, '')," \
    " coalesce(p.model, ''), coalesce(p.grouper, ''), p.drg, p.p, p.billed, r.decision, r.drg, r.comment"      \
    " FROM reviews r LEFT JOIN predictions p ON p.prediction = r.prediction "
#define RATINGS                                                                                             \
    "SELECT r.rating, r.time, r.rater, r.prediction, coalesce(p.note_id, ''), coalesce(p.note_sha256, '')," \
    " coalesce(p.model, ''), r.helpfulness, r.accuracy, r.comment"                                          \
    " FROM ratings r LEFT JOIN predictions p ON p.prediction = r.prediction "

/* What kind of thing a list or a job is about. */
struct kind {
    const char *action, *plural, *const *columns, *select, *by_number, *filter, *count, *attachment;
};
static const struct kind review_kind = {
    "review",
    "reviews",
    review_columns,
    REVIEWS "WHERE (?1 = 0 OR r.prediction = ?1) AND (?2 = '' OR r.reviewer = ?2) ORDER BY 1 DESC LIMIT ?3 OFFSET ?4",
    REVIEWS "WHERE r.review = ?1",
    "reviewer",
    "SELECT count(*) FROM reviews WHERE (?1 = 0 OR prediction = ?1) AND (?2 = '' OR reviewer = ?2)",
    "reviews.csv"};
static const struct kind rating_kind = {
    "rating",
    "ratings",
    rating_columns,
    RATINGS "WHERE (?1 = 0 OR r.prediction = ?1) AND (?2 = '' OR r.rater = ?2) ORDER BY 1 DESC LIMIT ?3 OFFSET ?4",
    RATINGS "WHERE r.rating = ?1",
    "rater",
    "SELECT count(*) FROM ratings WHERE (?1 = 0 OR prediction = ?1) AND (?2 = '' OR rater = ?2)",
    "ratings.csv"};

/* A row as a JSON object: numbers as they are, NULL as null. */
static void add_row(struct text *out, sqlite3_stmt *statement, const char *const *columns) {
    for (int i = 0; columns[i] != NULL; i++) {
        text_printf(out, "%s\"%s\": ", i == 0 ? "{" : ", ", columns[i]);
        switch (sqlite3_column_type(statement, i)) {
        case SQLITE_INTEGER:
            text_printf(out, "%lld", (long long)sqlite3_column_int64(statement, i));
            break;
        case SQLITE_FLOAT:
            text_add_json_float(out, (float)sqlite3_column_double(statement, i));
            break;
        case SQLITE_NULL:
            text_add(out, "null");
            break;
        default:
            text_add_json(out, statement_column(statement, i), (size_t)sqlite3_column_bytes(statement, i));
        }
    }
    text_add_char(out, '}');
}

/* A spreadsheet would compute a field that begins like a formula: an apostrophe before it keeps it a text. */
static void add_csv_row(struct text *out, sqlite3_stmt *statement, const char *const *columns) {
    for (int i = 0; columns[i] != NULL; i++) {
        const char *value = statement_column(statement, i);
        if (i > 0) text_add_char(out, ',');
        if (sqlite3_column_type(statement, i) == SQLITE_TEXT && value[0] != '\0' &&
            strchr("=+-@\t\r", value[0]) != NULL) {
            struct text safe = {0};
            text_printf(&safe, "'%s", value);
            if (!safe.failed) text_add_csv(out, safe.data, safe.length);
            text_free(&safe);
        } else {
            text_add_csv(out, value, strlen(value));
        }
    }
    text_add_char(out, '\n');
}

/* A review or a rating on its way into the store. */
struct review_job {
    struct store_job keep; /* first */
    const struct kind *kind;
    struct request *request;
    struct json *document;
    struct review_body review;
    struct rating_body rating;
    struct text row; /* what was written, as JSON */
    unsigned status; /* of a refusal that is the client's doing; 0: none */
};

/* What is on record of the prediction. */
struct judged {
    char sha256[65], model[129], model_sha256[65], adapter_sha256[65], grouper[8];
    int drg;
    bool reasoning;
};

static void copy_column(char *out, size_t capacity, sqlite3_stmt *statement, int column) {
    snprintf(out, capacity, "%s", statement_column(statement, column));
}

static bool find_judged(sqlite3 *database, int64_t prediction, struct judged *judged, bool *found,
                        struct error *error) {
    sqlite3_stmt *statement;
    if (!statement_open(&statement, database,
                        "SELECT p.note_sha256, p.model, a.model_sha256, a.adapter_sha256, p.grouper, p.drg, p.reasoning"
                        " FROM predictions p JOIN audit a ON a.seq = p.prediction WHERE p.prediction = ?",
                        error))
        return false;
    statement_int(statement, 1, prediction);
    const bool done = statement_next(statement, found, error);
    if (done && *found) {
        copy_column(judged->sha256, sizeof judged->sha256, statement, 0);
        copy_column(judged->model, sizeof judged->model, statement, 1);
        copy_column(judged->model_sha256, sizeof judged->model_sha256, statement, 2);
        copy_column(judged->adapter_sha256, sizeof judged->adapter_sha256, statement, 3);
        copy_column(judged->grouper, sizeof judged->grouper, statement, 4);
        judged->drg = sqlite3_column_int(statement, 5);
        judged->reasoning = sqlite3_column_int(statement, 6) != 0;
    }
    statement_close(statement);
    return done;
}

static bool refuse(struct review_job *job, unsigned status, struct error *error, const char *why) {
    job->status = status;
    return error_set(error, "%s", why);
}

static bool append(sqlite3 *database, const struct review_job *job, const struct judged *judged, const char *decision,
                   int64_t *seq, char time[25], struct error *error) {
    const struct audit_row row = {job->request->who.name,
                                  job->kind->action,
                                  judged->sha256,
                                  judged->model,
                                  judged->model_sha256,
                                  judged->adapter_sha256,
                                  "",
                                  decision};
    return audit_append(database, &row, seq, time, error);
}

/* Reads a row back as the list will show it. */
static bool read_back(sqlite3 *database, struct review_job *job, int64_t number, struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database, job->kind->by_number, error)) return false;
    statement_int(statement, 1, number);
    const bool done = statement_next(statement, &row, error);
    if (done && row) add_row(&job->row, statement, job->kind->columns);
    statement_close(statement);
    text_add_char(&job->row, '\n');
    return done && text_ok(&job->row, error);
}

static bool insert_review(sqlite3 *database, struct review_job *job, const struct judged *judged, struct error *error) {
    const struct review_body *body = &job->review;
    enum grouper grouper = GROUPER_V43;
    char decision[256], comment[65], time[25];
    int64_t seq;
    sqlite3_stmt *statement;
    const int drg = body->drg != 0 ? (int)body->drg : judged->drg;
    if (!grouper_parse(judged->grouper, &grouper, error)) return false;
    if (catalog_find(catalog_get(grouper), drg) == NULL)
        return refuse(job, 400, error, "\"drg\" is no DRG of the prediction's grouper");
    sha256_hex(body->comment, strlen(body->comment), comment);
    snprintf(decision, sizeof decision,
             "{\"prediction\":%lld,\"decision\":\"%s\",\"drg\":%d,\"comment_sha256\":\"%s\"}",
             (long long)body->prediction, body->decision, drg, comment);
    if (!append(database, job, judged, decision, &seq, time, error)) return false;
    if (!statement_open(&statement, database, "INSERT INTO reviews VALUES(?,?,?,?,?,?,?)", error)) return false;
    statement_int(statement, 1, seq);
    statement_text(statement, 2, time);
    statement_text(statement, 3, job->request->who.name);
    statement_int(statement, 4, body->prediction);
    statement_text(statement, 5, body->decision);
    statement_int(statement, 6, drg);
    statement_text(statement, 7, body->comment);
    return statement_run(statement, error) && read_back(database, job, seq, error);
}

static bool insert_rating(sqlite3 *database, struct review_job *job, const struct judged *judged, struct error *error) {
    const struct rating_body *body = &job->rating;
    char decision[256], comment[65], time[25];
    int64_t seq;
    sqlite3_stmt *statement;
    if (!judged->reasoning) return refuse(job, 400, error, "the answer has no reasoning that could be rated");
    sha256_hex(body->comment, strlen(body->comment), comment);
    snprintf(decision, sizeof decision,
             "{\"prediction\":%lld,\"helpfulness\":%d,\"accuracy\":%d,\"comment_sha256\":\"%s\"}",
             (long long)body->prediction, (int)body->helpfulness, (int)body->accuracy, comment);
    if (!append(database, job, judged, decision, &seq, time, error)) return false;
    if (!statement_open(&statement, database, "INSERT INTO ratings VALUES(?,?,?,?,?,?,?)", error)) return false;
    statement_int(statement, 1, seq);
    statement_text(statement, 2, time);
    statement_text(statement, 3, job->request->who.name);
    statement_int(statement, 4, body->prediction);
    statement_int(statement, 5, body->helpfulness);
    statement_int(statement, 6, body->accuracy);
    statement_text(statement, 7, body->comment);
    return statement_run(statement, error) && read_back(database, job, seq, error);
}

static bool run_job(sqlite3 *database, struct store_job *keep, struct error *error) {
    struct review_job *job = (struct review_job *)keep;
    const bool review = job->kind == &review_kind;
    struct judged judged = {0};
    bool found = false;
    if (!find_judged(database, review ? job->review.prediction : job->rating.prediction, &judged, &found, error))
        return false;
    if (!found) return refuse(job, 404, error, "there is no such prediction");
    return review ? insert_review(database, job, &judged, error) : insert_rating(database, job, &judged, error);
}

static void job_done(struct store_job *keep, bool kept, const struct error *error) {
    struct review_job *job = (struct review_job *)keep;
    struct request *request = job->request;
    if (kept) {
        request_answer_json(request, 201, &job->row);
    } else if (job->status != 0) {
        request_refuse(request, job->status, job->status == 404 ? "not_found" : "bad_request", error);
    } else {
        log_warning("%s", error->message);
        request_refuse_line(request, 503, "internal", "the server's log says why", "it could not be written");
    }
    text_free(&job->row);
    json_free(job->document);
    memory_free(job);
    request_resume(request);
}

static bool add(struct request *request, const struct kind *kind) {
    const bool review = kind == &review_kind;
    struct error error = {0};
    struct review_job *job = memory_zero(1, sizeof *job);
    if (job == NULL) {
        request_refuse_line(request, 503, "internal", "", "out of memory");
        return true;
    }
    *job = (struct review_job){.keep = {.run = run_job, .done = job_done}, .kind = kind, .request = request};
    if (!body_parse(&job->document, request->body.data == NULL ? "" : request->body.data, request->body.length,
                    review ? review_body_members : rating_body_members, &error)) {
        request_refuse(request, 400, "bad_json", &error);
    } else if (review ? review_body_read(&job->review, json_root(job->document), &error)
                      : rating_body_read(&job->rating, json_root(job->document), &error)) {
        request_leave(request);
        store_submit(request->server->store, &job->keep);
        return false;
    } else {
        request_refuse(request, 400, "bad_request", &error);
    }
    json_free(job->document);
    memory_free(job);
    return true;
}

/* What a list is asked for. */
struct list_query {
    long long limit, offset, prediction;
    const char *who;
    bool csv;
};

static bool read_query(struct request *request, const struct kind *kind, struct list_query *query) {
    const char *format = request_query(request, "format");
    *query = (struct list_query){.limit = 100};
    query->csv = format != NULL && strcmp(format, "csv") == 0;
    if (format != NULL && !query->csv && strcmp(format, "json") != 0) {
        request_refuse_line(request, 400, "bad_request", "", "\"format\" is neither json nor csv");
        return false;
    }
    query->who = request_query(request, kind->filter);
    if (query->who == NULL) query->who = "";
    return request_query_int(request, "limit", 1, 1000, &query->limit) &&
           request_query_int(request, "offset", 0, LLONG_MAX, &query->offset) &&
           request_query_int(request, "prediction", 1, LLONG_MAX, &query->prediction);
}

static bool add_rows(struct text *out, sqlite3_stmt *statement, const struct kind *kind, bool csv,
                     struct error *error) {
    bool row = true, first = true;
    while (row) {
        if (!statement_next(statement, &row, error)) return false;
        if (!row) break;
        if (csv) {
            add_csv_row(out, statement, kind->columns);
        } else {
            if (!first) text_add(out, ", ");
            add_row(out, statement, kind->columns);
        }
        first = false;
    }
    return text_ok(out, error);
}

static bool add_list(struct text *out, sqlite3 *database, const struct kind *kind, const struct list_query *query,
                     struct error *error) {
    sqlite3_stmt *statement;
    bool row;
    if (!statement_open(&statement, database, kind->count, error)) return false;
    statement_int(statement, 1, query->prediction);
    statement_text(statement, 2, query->who);
    bool done = statement_next(statement, &row, error);
    const long long total = done ? sqlite3_column_int64(statement, 0) : 0;
    statement_close(statement);
    if (!done || !statement_open(&statement, database, kind->select, error)) return false;
    statement_int(statement, 1, query->prediction);
    statement_text(statement, 2, query->who);
    statement_int(statement, 3, query->csv ? -1 : query->limit);
    statement_int(statement, 4, query->csv ? 0 : query->offset);
    if (!query->csv) text_printf(out, "{\"total\": %lld, \"%s\": [", total, kind->plural);
    for (int i = 0; query->csv && kind->columns[i] != NULL; i++)
        text_printf(out, "%s%s%s", i == 0 ? "" : ",", kind->columns[i], kind->columns[i + 1] == NULL ? "\n" : "");
    done = add_rows(out, statement, kind, query->csv, error);
    if (!query->csv) text_add(out, "]}\n");
    statement_close(statement);
    return done;
}

static bool list(struct request *request, const struct kind *kind) {
    struct list_query query;
    struct error error = {0};
    struct text body = {0};
    if (!read_query(request, kind, &query)) return true;
    const bool done = add_list(&body, store_read(request->server->store), kind, &query, &error);
    store_read_end(request->server->store);
    if (!done) {
        text_free(&body);
        log_warning("%s", error.message);
        request_refuse_line(request, 500, "internal", "the server's log says why", "the store cannot be read");
        return true;
    }
    request_answer(request, 200, query.csv ? "text/csv; charset=utf-8" : "application/json", &body);
    if (query.csv && request->answer.status == 200) request->answer.attachment = kind->attachment;
    return true;
}

bool handle_review_add(struct request *request) {
    return add(request, &review_kind);
}

bool handle_review_list(struct request *request) {
    return list(request, &review_kind);
}

bool handle_rating_add(struct request *request) {
    return add(request, &rating_kind);
}

bool handle_rating_list(struct request *request) {
    return list(request, &rating_kind);
}

static bool add_note(struct text *out, sqlite3 *database, const char *sha256, bool *found, struct error *error) {
    sqlite3_stmt *statement;
    if (!statement_open(&statement, database, "SELECT text, time FROM notes WHERE note_sha256 = ?", error))
        return false;
    statement_text(statement, 1, sha256);
    const bool done = statement_next(statement, found, error);
    if (done && *found) {
        text_printf(out, "{\"note_sha256\": \"%s\", \"text\": ", sha256);
        text_add_json(out, statement_column(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
        text_printf(out, ", \"time\": \"%s\"}\n", statement_column(statement, 1));
    }
    statement_close(statement);
    return done && text_ok(out, error);
}

bool handle_note(struct request *request) {
    struct error error = {0};
    struct text body = {0};
    bool found = false, done = true;
    if (strlen(request->part) == 64 && strspn(request->part, "0123456789abcdef") == 64) {
        done = add_note(&body, store_read(request->server->store), request->part, &found, &error);
        store_read_end(request->server->store);
    }
    if (done && found) {
        request_answer_json(request, 200, &body);
        return true;
    }
    text_free(&body);
    if (!done) log_warning("%s", error.message);
    request_refuse_line(request, done ? 404 : 500, done ? "not_found" : "internal",
                        request->server->settings.store_notes ? "" : "notes are not kept by this server",
                        "the note is not in the store");
    return true;
}
