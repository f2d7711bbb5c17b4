/* Writing and reading rollouts.jsonl. */
#include "train/rollout_log.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One list of a line. */
enum list { LIST_REWARDS, LIST_ANSWERS, LIST_TOKENS, LIST_COMPLETIONS, LISTS };

/* A model may write the character NUL, which no reader of JSON takes: it stands as U+FFFD. */
static void add_completion(struct text *out, const struct text *completion) {
    struct text shown = {0};
    for (size_t at = 0; at < completion->length;) {
        const size_t solid = strnlen(completion->data + at, completion->length - at);
        text_append(&shown, completion->data + at, solid);
        at += solid + 1;
        if (at <= completion->length) text_add(&shown, "\xEF\xBF\xBD");
    }
    text_add_json(out, shown.data == NULL ? "" : shown.data, shown.length);
    out->failed = out->failed || shown.failed;
    text_free(&shown);
}

static void add_list(struct text *out, const struct groups *groups, int64_t p, enum list list) {
    static const char *const names[LISTS] = {"rewards", "answers", "tokens", "completions"};
    text_printf(out, ", \"%s\": [", names[list]);
    for (int64_t i = p * groups->G; i < (p + 1) * groups->G; i++) {
        const struct rollout *rollout = &groups->rollouts[i];
        if (i > p * groups->G) text_add(out, ", ");
        switch (list) {
        case LIST_REWARDS:
            text_add_json_double(out, groups->rewards[i]);
            break;
        case LIST_ANSWERS:
            text_add_json_double(out, groups->parts[i].answer);
            break;
        case LIST_TOKENS:
            text_printf(out, "%zu", rollout->ids.count);
            break;
        default:
            add_completion(out, &rollout->text);
        }
    }
    text_add_char(out, ']');
}

void rollout_log_add(struct text *out, const struct groups *groups, int64_t p, int64_t step, const char *note_id,
                     bool texts) {
    text_printf(out, "{\"step\": %lld, \"note_id\": ", (long long)step);
    text_add_json(out, note_id, strlen(note_id));
    text_add(out, ", \"gold\": ");
    text_add_json(out, groups->stays[p].gold, strlen(groups->stays[p].gold));
    text_printf(out, ", \"temperature\": %g, \"tries\": %d", groups->temperatures[p], (int)groups->tries[p]);
    for (enum list list = 0; list < (texts ? LISTS : LIST_COMPLETIONS); list++) add_list(out, groups, p, list);
    text_add(out, "}\n");
}

bool rollout_log_cut(const char *path, int64_t step, struct error *error) {
    struct text all = {0};
    long long of_line;
    size_t kept = 0;
    if (!path_exists(path)) return true;
    bool done = file_read(&all, path, 0, error);
    /* Steps rise, so what is kept is the beginning. */
    while (done && kept < all.length) {
        const char *line = all.data + kept, *end = memchr(line, '\n', all.length - kept);
        if (end == NULL || sscanf(line, "{\"step\": %lld,", &of_line) != 1 || of_line > step) break;
        kept = (size_t)(end - all.data) + 1;
    }
    done = done && (kept == all.length || file_write(path, all.data, kept, error));
    text_free(&all);
    return done;
}

/* A group's answers, all equal or not. */
struct answers {
    double first, sum;
    size_t count;
    bool equal;
};

static bool read_answers(const json_node *list, struct answers *answers, struct error *error) {
    *answers = (struct answers){.equal = true};
    for (const json_node *n = json_first(list); n != NULL; n = json_next(n)) {
        const double value = json_number(n);
        if (!isfinite(value)) return error_set(error, "\"answers\" holds something that is no number");
        if (answers->count == 0) answers->first = value;
        answers->equal = answers->equal && fabs(value - answers->first) < 1e-9;
        answers->sum += value;
        answers->count++;
    }
    return answers->count > 0 || error_set(error, "\"answers\" is missing or empty");
}

struct reading {
    struct curriculum *curriculum;
    const struct reward_pay *pay;
};

/* The place of a stay, made on its first line. */
static bool find_or_add(struct curriculum *curriculum, const char *note_id, struct seen_stay **stay,
                        struct error *error) {
    const size_t length = strlen(note_id);
    int32_t place = hash_find(&curriculum->stays, note_id, length, -1);
    if (place < 0) {
        const char *key = arena_string(&curriculum->strings, note_id, length);
        if (key == NULL) return memory_error(error, length, "a curriculum");
        if (!memory_grow(&curriculum->seen, &curriculum->capacity, curriculum->count + 1, sizeof *curriculum->seen,
                         error) ||
            !hash_insert(&curriculum->stays, key, length, (int32_t)curriculum->count, NULL, error))
            return false;
        place = (int32_t)curriculum->count++;
        curriculum->seen[place] = (struct seen_stay){0};
    }
    *stay = &curriculum->seen[place];
    return true;
}

static bool read_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    const struct reading *reading = context;
    const char *note_id = NULL;
    struct answers answers;
    struct seen_stay *stay = NULL;
    (void)line;
    if (!json_get_string(root, "note_id", true, &note_id, error) ||
        !read_answers(json_member(root, "answers"), &answers, error) ||
        !find_or_add(reading->curriculum, note_id, &stay, error))
        return false;
    stay->groups++;
    stay->answers += answers.sum / (double)answers.count;
    stay->easy += answers.equal && answers.first >= reading->pay->full - 1e-9;
    stay->hard += answers.equal && answers.first <= reading->pay->neither + 1e-9;
    return true;
}

bool curriculum_open(struct curriculum *curriculum, const char *path, const struct reward_pay *pay,
                     struct error *error) {
    char file[4096];
    struct reading reading = {curriculum, pay};
    *curriculum = (struct curriculum){0};
    if (!path_is_directory(path)) {
        if (strlen(path) >= sizeof file) return error_set(error, "%.100s…: path too long", path);
        strcpy(file, path);
    } else if (!path_join(file, sizeof file, path, "rollouts.jsonl")) {
        return error_set(error, "%.100s…: path too long", path);
    }
    if (!json_lines(file, read_line, &reading, error)) {
        curriculum_close(curriculum);
        return error_hint(error, "grpo.curriculum takes the directory of an earlier run of method grpo");
    }
    if (curriculum->count > 0) return true;
    curriculum_close(curriculum);
    return error_set(error, "%s: no line, expected one for each group of an earlier run", file);
}

void curriculum_close(struct curriculum *curriculum) {
    hash_free(&curriculum->stays);
    memory_free(curriculum->seen);
    arena_free(&curriculum->strings);
    *curriculum = (struct curriculum){0};
}

const struct seen_stay *curriculum_find(const struct curriculum *curriculum, const char *note_id) {
    const int32_t place = hash_find(&curriculum->stays, note_id, strlen(note_id), -1);
    return place < 0 ? NULL : &curriculum->seen[place];
}

bool curriculum_removes_stay(const struct curriculum *curriculum, const char *note_id,
                             enum curriculum_removes removes) {
    const struct seen_stay *stay = curriculum_find(curriculum, note_id);
    if (stay == NULL) return false;
    const bool easy = stay->easy == stay->groups, hard = stay->hard == stay->groups;
    return (easy && (removes == REMOVE_EASY || removes == REMOVE_BOTH)) ||
           (hard && (removes == REMOVE_HARD || removes == REMOVE_BOTH));
}

double curriculum_ease(const struct curriculum *curriculum, const char *note_id) {
    const struct seen_stay *stay = curriculum_find(curriculum, note_id);
    return stay == NULL ? -(double)INFINITY : stay->answers / (double)stay->groups;
}
