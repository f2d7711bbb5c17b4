/* Runs of several seeds and their summary. */
#include "train/seeds.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SCORES = 32 };

static bool add_seed(struct seed_list *list, int64_t seed, struct error *error) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->seeds[i] == seed) return error_usage(error, "--seeds names %lld twice", (long long)seed);
    }
    if (list->count == MOST_SEEDS) return error_usage(error, "--seeds takes at most %d", MOST_SEEDS);
    list->seeds[list->count++] = seed;
    return true;
}

/* "7" or "1-5". */
static bool add_part(struct seed_list *list, const char *part, struct error *error) {
    char first[32];
    const char *dash = strchr(part, '-');
    int64_t from, to;
    const size_t length = dash == NULL ? strlen(part) : (size_t)(dash - part);
    if (length >= sizeof first) return error_usage(error, "--seeds: \"%s\" is no seed", part);
    memcpy(first, part, length);
    first[length] = '\0';
    if (!parse_int64(first, &from) || from < 0) return error_usage(error, "--seeds: \"%s\" is no seed", part);
    if (dash == NULL) return add_seed(list, from, error);
    if (!parse_int64(dash + 1, &to) || to < from || to - from >= MOST_SEEDS)
        return error_usage(error, "--seeds: \"%s\" is no range of up to %d seeds", part, MOST_SEEDS);
    for (int64_t seed = from; seed <= to; seed++) {
        if (!add_seed(list, seed, error)) return false;
    }
    return true;
}

bool seeds_parse(struct seed_list *list, const char *text, struct error *error) {
    list->count = 0;
    for (const char *at = text;;) {
        char part[64];
        const size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof part) break;
        memcpy(part, at, length);
        part[length] = '\0';
        if (!add_part(list, part, error)) return error_hint(error, "for example --seeds 1,2,3 or --seeds 1-5");
        at += length;
        if (*at == '\0') return true;
        at++;
    }
    error_usage(error, "--seeds takes whole numbers from 0, with commas between them, not \"%s\"", text);
    return error_hint(error, "for example --seeds 1,2,3 or --seeds 1-5");
}

bool seeds_directory(char *path, size_t capacity, const char *out, int64_t seed, struct error *error) {
    char name[32];
    snprintf(name, sizeof name, "seed-%lld", (long long)seed);
    return path_join(path, capacity, out, name) || error_set(error, "%s: path too long", out);
}

/* The scores of the runs: values[run][score]. */
struct scores {
    char names[MOST_SCORES][40];
    size_t count;
    double values[MOST_SEEDS][MOST_SCORES];
    int64_t best_step[MOST_SEEDS];
    size_t run; /* being read */
};

static size_t find_score(struct scores *scores, const char *name) {
    size_t i = 0;
    while (i < scores->count && strcmp(scores->names[i], name) != 0) i++;
    if (i == scores->count && i < MOST_SCORES) {
        snprintf(scores->names[i], sizeof scores->names[i], "%s", name);
        for (size_t r = 0; r < MOST_SEEDS; r++) scores->values[r][i] = (double)NAN;
        scores->count++;
    }
    return i;
}

/* An evaluation is the best so far where its step is the best step; the last such one is that of the kept model. */
static bool read_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct scores *scores = context;
    int64_t step, best;
    (void)line;
    (void)error;
    if (!json_integer(json_member(root, "step"), &step) || !json_integer(json_member(root, "best_step"), &best) ||
        step != best)
        return true;
    scores->best_step[scores->run] = best;
    for (const json_node *member = json_first(root); member != NULL; member = json_next(member)) {
        if (strncmp(json_name(member), "dev_", 4) != 0 || !json_is_number(member)) continue;
        const size_t i = find_score(scores, json_name(member));
        if (i < MOST_SCORES) scores->values[scores->run][i] = json_number(member);
    }
    return true;
}

static bool read_runs(struct scores *scores, const struct seed_list *list, const char *out, struct error *error) {
    char directory[4096], path[4096];
    for (scores->run = 0; scores->run < list->count; scores->run++) {
        scores->best_step[scores->run] = -1;
        if (!seeds_directory(directory, sizeof directory, out, list->seeds[scores->run], error) ||
            !(path_join(path, sizeof path, directory, "log.jsonl") || error_set(error, "%s: path too long", out)) ||
            !json_lines(path, read_line, scores, error))
            return false;
    }
    return true;
}

static double mean_of(const struct scores *scores, size_t runs, size_t score) {
    double sum = 0;
    for (size_t r = 0; r < runs; r++) sum += scores->values[r][score];
    return sum / (double)runs;
}

static double deviation_of(const struct scores *scores, size_t runs, size_t score) {
    const double mean = mean_of(scores, runs, score);
    double sum = 0;
    for (size_t r = 0; r < runs; r++) sum += (scores->values[r][score] - mean) * (scores->values[r][score] - mean);
    return runs > 1 ? sqrt(sum / (double)(runs - 1)) : (double)NAN;
}

static void add_runs(struct text *text, const struct scores *scores, const struct seed_list *list) {
    text_add(text, "{\"runs\": [");
    for (size_t r = 0; r < list->count; r++) {
        text_printf(text, "%s\n  {\"seed\": %lld, \"best_step\": %lld", r == 0 ? "" : ",", (long long)list->seeds[r],
                    (long long)scores->best_step[r]);
        for (size_t i = 0; i < scores->count; i++) {
            text_printf(text, ", \"%s\": ", scores->names[i]);
            text_add_json_double(text, scores->values[r][i]);
        }
        text_add_char(text, '}');
    }
    text_add_char(text, ']');
}

static void add_statistic(struct text *text, const char *name, const struct scores *scores, size_t runs,
                          double (*statistic)(const struct scores *scores, size_t runs, size_t score)) {
    text_printf(text, ",\n\"%s\": {", name);
    for (size_t i = 0; i < scores->count; i++) {
        text_printf(text, "%s\"%s\": ", i == 0 ? "" : ", ", scores->names[i]);
        text_add_json_double(text, statistic(scores, runs, i));
    }
    text_add_char(text, '}');
}

bool seeds_summarise(const struct seed_list *list, const char *out, struct error *error) {
    struct scores scores = {0};
    struct text text = {0};
    char path[4096];
    if (!read_runs(&scores, list, out, error)) return false;
    add_runs(&text, &scores, list);
    add_statistic(&text, "mean", &scores, list->count, mean_of);
    add_statistic(&text, "sd", &scores, list->count, deviation_of);
    text_add(&text, "}\n");
    const bool done = text_ok(&text, error) &&
                      (path_join(path, sizeof path, out, "seeds.json") || error_set(error, "%s: path too long", out)) &&
                      file_write(path, text.data, text.length, error);
    text_free(&text);
    for (size_t i = 0; done && i < scores.count; i++)
        log_info("%s over %zu seeds: %.4f ± %.4f (sd)", scores.names[i], list->count, mean_of(&scores, list->count, i),
                 deviation_of(&scores, list->count, i));
    if (done) log_info("the runs are in %s/seed-N, their summary in %s", out, path);
    return done;
}
