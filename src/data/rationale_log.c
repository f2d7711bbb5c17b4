/* Appending rationales: see rationale_log.h. */
#include "data/rationale_log.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct rationale_log {
    const char *path;
    FILE *file;
    struct hash notes; /* note_id of each line */
    size_t found;
    struct arena arena;
    struct text line;
};

static bool keep_note(struct rationale_log *log, const char *note_id, struct error *error) {
    const size_t length = strlen(note_id);
    const char *kept = arena_string(&log->arena, note_id, length);
    return kept != NULL ? hash_insert(&log->notes, kept, length, 1, NULL, error)
                        : memory_error(error, length, "the rationales");
}

static bool read_line(void *context, uint64_t number, const json_node *root, struct error *error) {
    struct rationale_log *log = context;
    const char *note_id, *rationale;
    (void)number;
    log->found++;
    return json_get_string(root, "note_id", true, &note_id, error) &&
           json_get_string(root, "rationale", true, &rationale, error) && keep_note(log, note_id, error);
}

/* A line that a stop has cut short has no line feed: what stands behind the last one goes. */
static bool drop_torn_line(struct rationale_log *log, struct error *error) {
    struct file_map map = {0};
    if (!file_map_open(&map, log->path, error)) return false;
    const char *feed = map.size == 0 ? NULL : memrchr(map.data, '\n', map.size);
    const size_t whole = feed == NULL ? 0 : (size_t)(feed - (const char *)map.data) + 1, size = map.size;
    file_map_close(&map);
    if (whole == size) return true;
    log_warning("%s: the last line was cut short and is made again", log->path);
    return truncate(log->path, (off_t)whole) == 0 || error_system(error, "%s", log->path);
}

bool rationale_log_open(struct rationale_log **out, const char *path, struct error *error) {
    struct rationale_log *log = memory_zero(1, sizeof *log);
    if (log == NULL) return memory_error(error, sizeof *log, "the rationales");
    log->path = path;
    bool done = true;
    if (strcmp(path, "-") == 0) {
        log->file = stdout;
    } else {
        done = !path_exists(path) || (drop_torn_line(log, error) && json_lines(path, read_line, log, error));
        if (done && (log->file = fopen(path, "a")) == NULL) done = error_system(error, "%s", path);
    }
    if (done)
        *out = log;
    else
        rationale_log_close(log);
    return done;
}

void rationale_log_close(struct rationale_log *log) {
    if (log == NULL) return;
    if (log->file != NULL && log->file != stdout) fclose(log->file);
    hash_free(&log->notes);
    arena_free(&log->arena);
    text_free(&log->line);
    memory_free(log);
}

bool rationale_log_has(const struct rationale_log *log, const char *note_id) {
    return hash_find(&log->notes, note_id, strlen(note_id), -1) >= 0;
}

size_t rationale_log_found(const struct rationale_log *log) {
    return log->found;
}

bool rationale_log_add(struct rationale_log *log, const struct rationale *rationale, struct error *error) {
    text_clear(&log->line);
    rationale_add_line(&log->line, rationale);
    if (!text_ok(&log->line, error)) return false;
    if (fwrite(log->line.data, 1, log->line.length, log->file) != log->line.length || fflush(log->file) != 0)
        return error_system(error, "%s", log->path);
    return keep_note(log, rationale->note_id, error);
}
