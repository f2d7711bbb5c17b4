/* Completions read line by line; every figure is a mean of a column over the cases. */
#include "eval/samples.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/reward.h"
#include <stdio.h>
#include <string.h>

/* Columns of the sums: the number of cases, then three a level, then the shares. */
enum { CASES, FIRST_LEVEL, FIRST_SHARE = FIRST_LEVEL + 3 * LEVELS, COLUMNS = FIRST_SHARE + SHARES, MOST = 4096 };

/* What is gathered over the lines. */
struct reading {
    const struct catalog *catalog;
    struct sums sums;
    struct hash patients;
    struct arena arena; /* owns the names of the patients */
    uint32_t patient_count;
    size_t cases, completions;
    const struct drg **answers; /* [completions] of the current case; NULL: unusable */
};

/* The value that a level compares. */
static int level_value(const struct drg *drg, enum sample_level level) {
    return level == LEVEL_DRG ? drg->code : level == LEVEL_BASE ? drg->base : severity_class(drg);
}

/* The most frequent value among the usable answers, ties to the first seen; -1 without one. */
static int majority_value(const struct reading *reading, enum sample_level level) {
    int best = -1;
    size_t most = 0;
    for (size_t i = 0; i < reading->completions; i++) {
        size_t votes = 0;
        if (reading->answers[i] == NULL) continue;
        for (size_t j = 0; j < reading->completions; j++) {
            votes += reading->answers[j] != NULL &&
                     level_value(reading->answers[j], level) == level_value(reading->answers[i], level);
        }
        if (votes <= most) continue;
        most = votes;
        best = level_value(reading->answers[i], level);
    }
    return best;
}

static void add_levels(const struct reading *reading, const struct drg *gold, double *columns) {
    for (size_t level = 0; level < LEVELS; level++) {
        const int wanted = level_value(gold, (enum sample_level)level);
        double right = 0;
        for (size_t i = 0; i < reading->completions; i++) {
            right +=
                reading->answers[i] != NULL && level_value(reading->answers[i], (enum sample_level)level) == wanted;
        }
        columns[FIRST_LEVEL + 3 * level] = right / (double)reading->completions;
        columns[FIRST_LEVEL + 3 * level + 1] = right > 0;
        columns[FIRST_LEVEL + 3 * level + 2] = majority_value(reading, (enum sample_level)level) == wanted;
    }
}

/* Counts one completion in the shares [SHARES]. */
static void add_completion(double *shares, const struct drg *answer, const struct drg *gold, const char *completion,
                           size_t length) {
    shares[SHARE_FORMAT] += completion_has_format(completion, length, false);
    for (size_t i = 0; i < length; i++) shares[SHARE_LENGTH] += (completion[i] & 0xC0) != 0x80;
    if (answer == NULL) {
        shares[SHARE_UNUSABLE]++;
        return;
    }
    const bool base = answer->base == gold->base, severity = severity_class(answer) == severity_class(gold);
    shares[SHARE_WRONG_BASE] += !base && severity;
    shares[SHARE_WRONG_SEVERITY] += base && !severity;
    shares[SHARE_WRONG_BOTH] += !base && !severity;
    shares[SHARE_SURGICAL_MEDICAL] += gold->type == DRG_SURGICAL && answer->type == DRG_MEDICAL;
    shares[SHARE_MEDICAL_SURGICAL] += gold->type == DRG_MEDICAL && answer->type == DRG_SURGICAL;
}

static bool read_completions(struct reading *reading, const json_node *list, const struct drg *gold, double *columns,
                             struct error *error) {
    size_t i = 0;
    for (const json_node *node = json_first(list); node != NULL; node = json_next(node), i++) {
        const char *completion = json_string(node);
        if (completion == NULL) return error_set(error, "completion %zu is not a string", i + 1);
        const size_t length = strlen(completion);
        reading->answers[i] = completion_has_format(completion, length, true)
                                  ? completion_drg(reading->catalog, completion, length)
                                  : NULL;
        add_completion(columns + FIRST_SHARE, reading->answers[i], gold, completion, length);
    }
    for (size_t s = 0; s < SHARES; s++) columns[FIRST_SHARE + s] /= (double)reading->completions;
    return true;
}

/* The number of the case's patient. */
static bool find_patient(struct reading *reading, const json_node *root, uint32_t *patient, struct error *error) {
    const json_node *member = json_member(root, "subject_id");
    char number[32];
    const char *id = json_string(member);
    int64_t integer;
    bool existing = false;
    if (json_integer(member, &integer)) {
        snprintf(number, sizeof number, "%lld", (long long)integer);
        id = number;
    }
    *patient = reading->patient_count;
    if (id != NULL && id[0] != '\0') {
        const char *kept = arena_string(&reading->arena, id, strlen(id));
        if (kept == NULL) return memory_error(error, strlen(id), "the patients");
        if (!hash_insert(&reading->patients, kept, strlen(kept), (int32_t)*patient, &existing, error)) return false;
        if (existing) *patient = (uint32_t)hash_find(&reading->patients, kept, strlen(kept), 0);
    }
    reading->patient_count += !existing;
    return true;
}

static bool find_gold(const struct reading *reading, const json_node *root, const struct drg **gold,
                      struct error *error) {
    const char *title;
    char normal[TITLE_LIMIT + 1];
    size_t length;
    if (!json_get_string(root, "gold", true, &title, error)) return false;
    *gold = title_normalise(title, strlen(title), normal, &length)
                ? catalog_find_title(reading->catalog, normal, length)
                : NULL;
    if (*gold != NULL) return true;
    error_set(error, "\"gold\" is no title of grouper %s: \"%.80s\"", grouper_name(reading->catalog->grouper), title);
    return error_hint(error, "casemix drg list prints the titles; --grouper chooses the grouper");
}

static bool check_count(struct reading *reading, const json_node *list, struct error *error) {
    const size_t count = json_count(list);
    if (!json_is_array(list) || count == 0 || count > MOST)
        return error_set(error, "\"completions\" is not a list of 1 to %d strings", MOST);
    if (reading->completions == 0) {
        reading->answers = memory_alloc(count, sizeof *reading->answers);
        if (reading->answers == NULL) return memory_error(error, count * sizeof *reading->answers, "the answers");
        reading->completions = count;
    }
    return count == reading->completions ||
           error_set(error, "%zu completions, the lines before have %zu", count, reading->completions);
}

static bool read_case(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct reading *reading = context;
    const json_node *list = json_member(root, "completions");
    const struct drg *gold;
    double columns[COLUMNS] = {0};
    uint32_t patient;
    (void)line;
    if (!find_gold(reading, root, &gold, error) || !check_count(reading, list, error) ||
        !read_completions(reading, list, gold, columns, error) || !find_patient(reading, root, &patient, error))
        return false;
    add_levels(reading, gold, columns);
    columns[CASES] = 1;
    reading->cases++;
    for (size_t c = 0; c < COLUMNS; c++) {
        if (columns[c] > 0 && !sums_add(&reading->sums, patient, c, columns[c], error)) return false;
    }
    reading->sums.columns = COLUMNS;
    return true;
}

static bool finish(struct sample_scores *scores, const struct reading *reading, size_t B, uint64_t seed,
                   struct error *error) {
    struct resamples resamples = {0};
    double totals[COLUMNS];
    double *replicates = memory_alloc(COLUMNS * B, sizeof *replicates);
    const bool done = (replicates != NULL || memory_error(error, COLUMNS * B * sizeof *replicates, "the intervals")) &&
                      resamples_open(&resamples, reading->patient_count, B, seed, error);
    if (done) {
        struct interval intervals[COLUMNS];
        sums_total(&reading->sums, totals);
        sums_replicates(&reading->sums, &resamples, replicates);
        for (size_t c = COLUMNS - 1; c > CASES; c--) {
            double *column = replicates + c * B;
            for (size_t b = 0; b < B; b++) column[b] /= replicates[CASES * B + b];
            intervals[c] = interval_percentile(totals[c] / totals[CASES], column, B);
        }
        for (size_t level = 0; level < LEVELS; level++) {
            scores->pass1[level] = intervals[FIRST_LEVEL + 3 * level];
            scores->pass_n[level] = intervals[FIRST_LEVEL + 3 * level + 1];
            scores->majority[level] = intervals[FIRST_LEVEL + 3 * level + 2];
        }
        memcpy(scores->shares, intervals + FIRST_SHARE, sizeof scores->shares);
    }
    resamples_close(&resamples);
    memory_free(replicates);
    return done;
}

bool samples_score(struct sample_scores *scores, const char *path, enum grouper grouper, size_t resamples,
                   uint64_t seed, struct error *error) {
    struct reading reading = {.catalog = catalog_get(grouper)};
    bool done =
        json_lines(path, read_case, &reading, error) && (reading.cases > 0 || error_set(error, "%s: no cases", path));
    if (done) {
        *scores = (struct sample_scores){.cases = reading.cases, .completions = reading.completions};
        done = finish(scores, &reading, resamples, seed, error);
    }
    sums_close(&reading.sums);
    hash_free(&reading.patients);
    arena_free(&reading.arena);
    memory_free(reading.answers);
    return done;
}

static void add_member(struct text *out, const char *name, struct interval interval) {
    text_printf(out, "\"%s\": ", name);
    text_add_json_double(out, interval.value);
    text_printf(out, ", \"%s_interval\": [", name);
    text_add_json_double(out, interval.low);
    text_add(out, ", ");
    text_add_json_double(out, interval.high);
    text_add_char(out, ']');
}

void samples_add_json(struct text *out, const struct sample_scores *scores) {
    static const char *const levels[] = {"drg", "base", "severity"};
    static const char *const shares[] = {"format_rate",         "unusable",   "wrong_base",
                                         "wrong_severity",      "wrong_both", "surgical_as_medical",
                                         "medical_as_surgical", "characters"};
    char pass[32], majority[32];
    snprintf(pass, sizeof pass, "pass%zu", scores->completions);
    snprintf(majority, sizeof majority, "maj%zu", scores->completions);
    text_add_char(out, '{');
    for (size_t level = 0; level < LEVELS; level++) {
        text_printf(out, "\"%s\": {", levels[level]);
        add_member(out, "pass1", scores->pass1[level]);
        text_add(out, ", ");
        if (scores->completions > 1) {
            add_member(out, pass, scores->pass_n[level]);
            text_add(out, ", ");
        }
        add_member(out, majority, scores->majority[level]);
        text_add(out, "}, ");
    }
    for (size_t s = 0; s < SHARES; s++) {
        add_member(out, shares[s], scores->shares[s]);
        text_add(out, ", ");
    }
    text_printf(out, "\"cases\": %zu, \"completions\": %zu}\n", scores->cases, scores->completions);
}
