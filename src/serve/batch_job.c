/* From an upload to records: rows are read while at most BATCH_WINDOW notes are on their way, and written in order. */
#include "serve/batch_job.h"
#include "base/csv.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "drg/note.h"
#include "serve/coded_note.h"
#include "serve/models.h"
#include "serve/server.h"
#include "serve/stream.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RESAMPLES = 1000, UNPACKED = 8 }; /* how much larger than its limit a gzip file may become */
#define RESULT_LIMIT ((size_t)512 << 20)

/* A note of a batch on its way; its text stands behind it. */
struct batch_note {
    struct coded_note note; /* first */
    struct batch_job *batch;
    size_t index;
    char text[];
};

static const char *status_name(enum batch_status status) {
    static const char *const names[] = {"running", "done", "failed", "cancelled"};
    return names[status];
}

static void add_interval(struct text *out, const char *name, struct interval interval) {
    text_printf(out, ", \"%s\": {\"value\": ", name);
    text_add_json_double(out, interval.value);
    text_add(out, ", \"low\": ");
    text_add_json_double(out, interval.low);
    text_add(out, ", \"high\": ");
    text_add_json_double(out, interval.high);
    text_add_char(out, '}');
}

void batch_add_state(struct text *out, const struct batch_job *batch) {
    const double spent = (batch->ended > 0 ? batch->ended : time_now()) - batch->started;
    text_printf(out, "{\"job\": \"%s\", \"status\": \"%s\", \"model\": ", batch->id, status_name(batch->status));
    text_add_json(out, batch->order.served->id, strlen(batch->order.served->id));
    text_printf(out, ", \"created\": \"%s\"", batch->created);
    if (batch->finished[0] != '\0') text_printf(out, ", \"finished\": \"%s\"", batch->finished);
    text_printf(out,
                ", \"bytes\": %zu, \"bytes_read\": %zu, \"notes\": %zu, \"done\": %zu, \"failed\": %zu, "
                "\"notes_per_second\": %.2f",
                batch->bytes, batch->bytes_read, batch->notes, batch->done, batch->failed,
                spent > 0 ? (double)batch->done / spent : 0.0);
    if (batch->status == BATCH_DONE) {
        text_printf(out, ", \"summary\": {\"notes\": %zu, \"billed\": %zu, \"agreed\": %zu", batch->done, batch->billed,
                    batch->agreed);
        if (batch->summarised) {
            add_interval(out, "cmi_predicted", batch->cmi[0]);
            add_interval(out, "cmi_billed", batch->cmi[1]);
            add_interval(out, "cmi_difference", batch->cmi[2]);
        }
        text_add_char(out, '}');
    }
    if (batch->status == BATCH_ERROR) {
        text_add(out, ", \"error\": ");
        text_add_json(out, batch->error.message, strlen(batch->error.message));
    }
    text_add_char(out, '}');
}

void batch_tell(struct batch_job *batch, bool end) {
    struct text event = {0};
    const double now = time_now();
    if (!end && now - batch->told < 0.25) return;
    batch->told = now;
    text_printf(&event, "event: %s\ndata: ", end ? "end" : "progress");
    batch_add_state(&event, batch);
    text_add(&event, "\n\n");
    for (int i = 0; i < BATCH_LISTENERS && !event.failed; i++) {
        if (batch->listeners[i] == NULL) continue;
        const bool listens = stream_write(batch->listeners[i], &event);
        if (listens && !end) continue;
        stream_end(batch->listeners[i]);
        stream_release(batch->listeners[i]);
        batch->listeners[i] = NULL;
    }
    text_free(&event);
}

/* Records whose turn has come go to the end of the results. */
static void write_ready(struct batch_job *batch) {
    for (;;) {
        struct batch_record *record = &batch->window[batch->written % BATCH_WINDOW];
        if (!record->ready) break;
        if (memory_grow(&batch->lines, &batch->line_capacity, batch->written + 1, sizeof *batch->lines, NULL)) {
            batch->lines[batch->written] = batch->json.length;
            text_append(&batch->json, record->json.data, record->json.length);
            text_append(&batch->csv, record->csv.data, record->csv.length);
        } else {
            batch->json.failed = true;
        }
        text_free(&record->json);
        text_free(&record->csv);
        record->ready = false;
        batch->written++;
    }
    pthread_cond_broadcast(&batch->changed);
    batch_tell(batch, false);
}

static void add_failure(struct batch_record *record, const char *id, size_t index, const struct error *error) {
    text_add(&record->json, "{\"id\": ");
    text_add_json(&record->json, id, strlen(id));
    text_printf(&record->json, ", \"row\": %zu, \"error\": ", index + 1);
    text_add_json(&record->json, error->message, strlen(error->message));
    text_add(&record->json, "}\n");
    text_add_csv(&record->csv, id, strlen(id));
    text_add(&record->csv, ",,,,,,,,,,,,,");
    text_add_csv(&record->csv, error->message, strlen(error->message));
    text_add_char(&record->csv, '\n');
}

static void add_weights(struct batch_job *batch, const struct record *record) {
    const struct drg *billed = catalog_find(catalog_get(record->served->grouper), record->billed);
    if (record->billed == 0 || billed == NULL) return;
    if (!memory_grow(&batch->weights, &batch->billed_capacity, batch->billed + 1, sizeof *batch->weights, NULL)) return;
    batch->weights[batch->billed][0] = record_drg(record, 0)->weight;
    batch->weights[batch->billed++][1] = billed->weight;
    batch->agreed += record_drg(record, 0) == billed;
}

static void note_finished(struct coded_note *note) {
    struct batch_note *item = (struct batch_note *)note;
    struct batch_job *batch = item->batch;
    pthread_mutex_lock(batch->mutex);
    struct batch_record *out = &batch->window[item->index % BATCH_WINDOW];
    if (note->kept) {
        const struct record record = coded_note_record(note);
        record_add_json(&out->json, &record);
        text_add(&out->json, "}\n");
        record_add_csv(&out->csv, &record);
        add_weights(batch, &record);
        batch->done++;
    } else {
        if (note->error.message[0] == '\0') error_set(&note->error, "cancelled");
        add_failure(out, note->id, item->index, &note->error);
        batch->failed++;
    }
    out->ready = true;
    write_ready(batch);
    pthread_mutex_unlock(batch->mutex);
    memory_free(item);
}

/* Room in the window; false when the job is cancelled. */
static bool wait_room(struct batch_job *batch, struct error *error) {
    pthread_mutex_lock(batch->mutex);
    while (batch->notes - batch->written >= BATCH_WINDOW && !atomic_load(&batch->cancel))
        pthread_cond_wait(&batch->changed, batch->mutex);
    pthread_mutex_unlock(batch->mutex);
    return !atomic_load(&batch->cancel) || error_set(error, "cancelled");
}

/* A note that cannot be coded becomes a record that says so; the job goes on. */
static void reject_note(struct batch_job *batch, const char *id, size_t index, const struct error *error) {
    pthread_mutex_lock(batch->mutex);
    struct batch_record *out = &batch->window[index % BATCH_WINDOW];
    add_failure(out, id, index, error);
    out->ready = true;
    batch->failed++;
    write_ready(batch);
    pthread_mutex_unlock(batch->mutex);
}

/* text NULL: there was none. */
static bool take_note(struct batch_job *batch, const char *id, const char *text, size_t length, int billed,
                      struct error *error) {
    struct error bad = {0};
    if (!wait_room(batch, error)) return false;
    if (batch->json.length > RESULT_LIMIT) return error_set(error, "too many notes for one job");
    struct batch_note *item = memory_zero(1, sizeof *item + length + 1);
    if (item == NULL) return memory_error(error, length, "a note");
    pthread_mutex_lock(batch->mutex);
    item->index = batch->notes++;
    pthread_mutex_unlock(batch->mutex);
    item->batch = batch;
    if (length > 0) memcpy(item->text, text, length);
    struct coded_note *note = &item->note;
    note->server = batch->server;
    note->served = batch->order.served;
    note->who = batch->order.who;
    note->text = item->text;
    note->length = length;
    if (catalog_find(catalog_get(note->served->grouper), billed) != NULL) note->billed = billed;
    note->coding.k = batch->order.k;
    note->coding.batch = true;
    note->coding.gone = &batch->cancel;
    note->finished = note_finished;
    snprintf(note->id, sizeof note->id, "%.*s", (int)sizeof note->id - 1, id);
    while (!utf8_valid(note->id, strlen(note->id), NULL)) note->id[strlen(note->id) - 1] = '\0';
    if (text == NULL) error_set(&bad, "the line is no JSON object with a \"text\"");
    if (text == NULL || !note_check("note", text, length, &bad)) {
        reject_note(batch, note->id, item->index, &bad);
        memory_free(item);
        return true;
    }
    if (coded_note_start(note)) return true;
    error_set(&bad, "the server is stopping");
    reject_note(batch, note->id, item->index, &bad);
    memory_free(item);
    atomic_store(&batch->cancel, true);
    return error_set(error, "cancelled");
}

static int find_column(const struct csv_reader *reader, const char *wanted, const char *const *usual) {
    if (wanted != NULL) return csv_column(reader, wanted);
    for (; *usual != NULL; usual++) {
        const int column = csv_column(reader, *usual);
        if (column >= 0) return column;
    }
    return -1;
}

static void note_position(struct batch_job *batch, uint64_t consumed) {
    pthread_mutex_lock(batch->mutex);
    batch->bytes_read = consumed > batch->bytes ? batch->bytes : (size_t)consumed;
    pthread_mutex_unlock(batch->mutex);
}

static int billed_of(const char *string) {
    int64_t code;
    return string != NULL && parse_int64(string, &code) && code >= 1 && code <= 999 ? (int)code : 0;
}

static bool read_rows(struct batch_job *batch, struct csv_reader *reader, struct error *error) {
    static const char *const ids[] = {"note_id", "hadm_id", "id", NULL}, *const billeds[] = {"billed", "drg", NULL},
                             *const texts[] = {"text", NULL};
    const struct batch_order *order = &batch->order;
    const int text = find_column(reader, order->text_column, texts), id = find_column(reader, order->id_column, ids),
              billed = find_column(reader, order->billed_column, billeds);
    if (text < 0) {
        error_set(error, "the file has no column with that name for the notes");
        return error_hint(error, "name it with text_column");
    }
    if ((order->id_column != NULL && id < 0) || (order->billed_column != NULL && billed < 0))
        return error_set(error, "the file has no column with the name given for ids or billed DRGs");
    for (bool more = true; more;) {
        uint64_t consumed, size;
        size_t length;
        char number[32];
        if (!csv_next(reader, &more, error)) return false;
        if (!more) break;
        csv_position(reader, &consumed, &size);
        note_position(batch, consumed);
        snprintf(number, sizeof number, "%zu", batch->notes + 1);
        const char *note = csv_field(reader, text, &length), *name = id < 0 ? number : csv_field(reader, id, NULL);
        if (!take_note(batch, *name == '\0' ? number : name, note, length,
                       billed < 0 ? 0 : billed_of(csv_field(reader, billed, NULL)), error))
            return false;
    }
    return true;
}

/* The id and the billed DRG that a line gives. */
static void read_members(const json_node *root, char id[NOTE_ID], int *billed) {
    static const char *const ids[] = {"id", "note_id", "hadm_id"}, *const billeds[] = {"billed", "drg"};
    int64_t number;
    for (size_t i = 0; i < 3; i++) {
        const json_node *member = json_member(root, ids[i]);
        if (json_is_null(member)) continue;
        if (json_string(member) != NULL)
            snprintf(id, NOTE_ID, "%s", json_string(member));
        else if (json_integer(member, &number))
            snprintf(id, NOTE_ID, "%lld", (long long)number);
        break;
    }
    for (size_t i = 0; i < 2 && *billed == 0; i++) {
        const json_node *member = json_member(root, billeds[i]);
        if (json_string(member) != NULL)
            *billed = billed_of(json_string(member));
        else if (json_integer(member, &number) && number >= 1 && number <= 999)
            *billed = (int)number;
    }
}

/* A line that is no object with a text becomes a record that says so. */
static bool read_line(struct batch_job *batch, const char *line, size_t length, struct error *error) {
    struct json *document;
    struct error bad = {0};
    const char *text = NULL;
    char id[NOTE_ID];
    int billed = 0;
    snprintf(id, sizeof id, "%zu", batch->notes + 1);
    bool parsed = json_parse(&document, "line", line, length, &bad);
    if (parsed) {
        read_members(json_root(document), id, &billed);
        text = json_string(json_member(json_root(document), "text"));
    }
    const bool done = take_note(batch, id, text, text == NULL ? 0 : strlen(text), billed, error);
    if (parsed) json_free(document);
    return done;
}

static bool read_lines(struct batch_job *batch, const char *path, struct error *error) {
    struct text all = {0};
    bool done = file_read(&all, path, (size_t)batch->server->settings.batch_limit * UNPACKED, error);
    for (size_t from = 0; done && from < all.length;) {
        const char *line = all.data + from, *feed = memchr(line, '\n', all.length - from);
        size_t length = feed == NULL ? all.length - from : (size_t)(feed - line);
        from += length + 1;
        note_position(batch, (uint64_t)((double)batch->bytes * (double)from / (double)all.length));
        while (length > 0 && strchr(" \t\r", line[length - 1]) != NULL) length--;
        done = length == 0 || read_line(batch, line, length, error);
    }
    text_free(&all);
    return done;
}

static bool read_upload(struct batch_job *batch, struct error *error) {
    char path[64];
    struct csv_reader *reader;
    snprintf(path, sizeof path, "/proc/self/fd/%d", batch->file);
    if (!batch->order.csv) return read_lines(batch, path, error);
    if (!csv_open(&reader, path, error)) return false;
    const bool done = read_rows(batch, reader, error);
    csv_close(reader);
    return done;
}

/* Means over notes with a billed DRG, and their intervals; a note is its own patient. */
static bool sum_up(struct batch_job *batch, struct error *error) {
    const size_t N = batch->billed;
    struct sums sums = {.columns = 3};
    struct resamples resamples = {0};
    double totals[3], *replicates = memory_alloc(RESAMPLES, 3 * sizeof *replicates);
    bool done = replicates != NULL || memory_error(error, RESAMPLES * 24, "a summary");
    for (size_t i = 0; done && i < N; i++) {
        const double predicted = batch->weights[i][0], billed = batch->weights[i][1];
        done = sums_add(&sums, (uint32_t)i, 0, predicted, error) && sums_add(&sums, (uint32_t)i, 1, billed, error) &&
               sums_add(&sums, (uint32_t)i, 2, predicted - billed, error);
    }
    done = done && resamples_open(&resamples, N, RESAMPLES, 1, error);
    if (done) {
        sums_total(&sums, totals);
        sums_replicates(&sums, &resamples, replicates);
        for (size_t i = 0; i < 3 * RESAMPLES; i++) replicates[i] /= (double)N;
        for (size_t c = 0; c < 3; c++)
            batch->cmi[c] = interval_percentile(totals[c] / (double)N, replicates + c * RESAMPLES, RESAMPLES);
    }
    resamples_close(&resamples);
    sums_close(&sums);
    memory_free(replicates);
    return done;
}

/* The upload's own text must not come back in a message: of a file's faults only where they are. */
static void tell_fault(struct batch_job *batch, const struct error *error) {
    const char *line = strstr(error->message, "line ");
    unsigned long long number = 0;
    if (line != NULL && sscanf(line, "line %llu", &number) == 1)
        error_set(&batch->error, "the file cannot be read at line %llu", number);
    else
        error_set(&batch->error, "the file cannot be read: %s",
                  strstr(error->message, "no column") != NULL ? "it has no column with the name that is looked for"
                                                              : "it is no CSV or JSON lines file in UTF-8");
}

static void end(struct batch_job *batch, bool read, const struct error *error) {
    struct error ignored = {0};
    pthread_mutex_lock(batch->mutex);
    while (batch->written < batch->notes) pthread_cond_wait(&batch->changed, batch->mutex);
    pthread_mutex_unlock(batch->mutex);
    /* Nobody but this thread touches the weights any more. */
    const bool summed = read && batch->billed > 0 && sum_up(batch, &ignored);
    pthread_mutex_lock(batch->mutex);
    batch->summarised = summed;
    if (read) batch->bytes_read = batch->bytes;
    if (atomic_load(&batch->cancel)) {
        batch->status = BATCH_CANCELLED;
    } else if (!read) {
        batch->status = BATCH_ERROR;
        tell_fault(batch, error);
    } else {
        batch->status = BATCH_DONE;
    }
    batch->ended = time_now();
    time_text(batch->finished);
    batch_tell(batch, true);
    batch->thread_done = true;
    pthread_mutex_unlock(batch->mutex);
}

void *batch_run(void *context) {
    struct batch_job *batch = context;
    struct error error = {0};
    const bool read = read_upload(batch, &error);
    close(batch->file);
    batch->file = -1;
    end(batch, read, &error);
    return NULL;
}
