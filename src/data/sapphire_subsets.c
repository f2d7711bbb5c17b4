/* DRG-Sapphire's subsets: see sapphire_subsets.h. */
#include "data/sapphire_subsets.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/sklearn_split.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { CODES = 1000, SEED = 42 };

static const char *const names[SUBSETS] = {"rare",       "cold_start", "drg_small",  "sft_50_50",
                                           "grpo_50_50", "sft_75_25",  "grpo_75_25", "sft_90_10",
                                           "grpo_90_10", "sft_95_5",   "grpo_95_5"};

const char *sapphire_subset_name(enum sapphire_subset subset) {
    return names[subset];
}

static bool same_name(const char *name, const char *given, size_t length) {
    if (strlen(name) != length) return false;
    for (size_t i = 0; i < length; i++) {
        const bool joint = strchr("-/ ", given[i]) != NULL;
        if (name[i] != (joint ? '_' : (char)tolower((unsigned char)given[i]))) return false;
    }
    return true;
}

static bool unknown_subset(const char *name, size_t length, struct error *error) {
    struct text known = {0};
    for (int s = 0; s < SUBSETS; s++) text_printf(&known, "%s, ", names[s]);
    error_usage(error, "there is no subset \"%.*s\"", (int)length, name);
    error_hint(error, "known: %sall", known.data == NULL ? "" : known.data);
    text_free(&known);
    return false;
}

bool subset_set_parse(subset_set *set, const char *list, struct error *error) {
    *set = 0;
    for (const char *from = list; *from != '\0';) {
        const size_t length = strcspn(from, ",");
        subset_set found = same_name("all", from, length) ? SUBSET_ALL : 0;
        for (int s = 0; s < SUBSETS; s++) found |= same_name(names[s], from, length) ? (subset_set)1 << s : 0;
        if (found == 0) return unknown_subset(from, length, error);
        *set |= found;
        from += length + (from[length] == ',');
    }
    return *set != 0 || error_usage(error, "no subset is named");
}

/* Rows to be divided, in order. */
struct row_list {
    uint32_t *rows;
    size_t count;
};

struct titled {
    const char *title;
    int code;
};

static int compare_titles(const void *a, const void *b) {
    return strcmp(((const struct titled *)a)->title, ((const struct titled *)b)->title);
}

/* Class numbers of the codes in `list`, by the order of their titles; how many there are. */
static size_t number_titles(int32_t class_of[CODES], const struct cohort *cohort, const struct row_list *list) {
    const struct catalog *catalog = catalog_get(cohort->labels.grouper);
    struct titled titled[CODES];
    bool present[CODES] = {false};
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) present[cohort->rows[list->rows[i]].code] = true;
    for (int code = 0; code < CODES; code++) {
        if (present[code]) titled[count++] = (struct titled){catalog_find(catalog, code)->title, code};
    }
    if (count > 0) qsort(titled, count, sizeof *titled, compare_titles);
    for (size_t i = 0; i < count; i++) class_of[titled[i].code] = (int32_t)i;
    return count;
}

/* Rows of DRGs with at least `least` rows among them to `common`, the others to `rare`; both have room. */
static void part_by_count(const struct cohort *cohort, const uint32_t *rows, size_t count, size_t least,
                          struct row_list *common, struct row_list *rare) {
    size_t counts[CODES] = {0};
    for (size_t i = 0; i < count; i++) counts[cohort->rows[rows[i]].code]++;
    for (size_t i = 0; i < count; i++) {
        struct row_list *to = counts[cohort->rows[rows[i]].code] >= least ? common : rare;
        to->rows[to->count++] = rows[i];
    }
}

/* The published code's split of a list, stratified by title: the test side to `taken`, the train side to `left`, each
 * with room for the whole list. */
static bool divide(const struct cohort *cohort, const struct row_list *list, double share, struct row_list *taken,
                   struct row_list *left, struct error *error) {
    int32_t class_of[CODES];
    struct split split = {0};
    const size_t classes = number_titles(class_of, cohort, list);
    int32_t *labels = memory_alloc(list->count, sizeof *labels);
    if (labels == NULL) return memory_error(error, list->count * sizeof *labels, "a subset");
    for (size_t i = 0; i < list->count; i++) labels[i] = class_of[cohort->rows[list->rows[i]].code];
    const bool done = split_stratified(&split, labels, list->count, classes, share, SEED, error);
    for (size_t i = 0; done && i < split.test_count; i++) taken->rows[i] = list->rows[split.test[i]];
    for (size_t i = 0; done && i < split.train_count; i++) left->rows[i] = list->rows[split.train[i]];
    taken->count = split.test_count;
    left->count = split.train_count;
    split_free(&split);
    memory_free(labels);
    return done;
}

static bool make_list(struct row_list *list, struct arena *arena, size_t count, struct error *error) {
    *list = (struct row_list){arena_alloc(arena, count, sizeof *list->rows), 0};
    return list->rows != NULL || memory_error(error, count * sizeof *list->rows, "a subset");
}

static bool keep(struct sapphire_subsets *subsets, enum sapphire_subset subset, const struct row_list *list,
                 struct error *error) {
    uint32_t *rows = memory_alloc(list->count, sizeof *rows);
    if (rows == NULL) return memory_error(error, list->count * sizeof *rows, "a subset");
    if (list->count > 0) memcpy(rows, list->rows, list->count * sizeof *rows);
    subsets->rows[subset] = rows;
    subsets->counts[subset] = list->count;
    return true;
}

/* Script 2.1 of the published code: rare DRGs out, 1 % for the cold start, 20 % of the rest for DRG-Small. */
static bool draw_small(struct sapphire_subsets *subsets, const struct cohort *cohort, const uint32_t *train,
                       size_t count, struct arena *arena, struct error *error) {
    struct row_list common, rare, cold, rest, small, unused;
    if (!make_list(&common, arena, count, error) || !make_list(&rare, arena, count, error) ||
        !make_list(&cold, arena, count, error) || !make_list(&rest, arena, count, error) ||
        !make_list(&small, arena, count, error) || !make_list(&unused, arena, count, error))
        return false;
    part_by_count(cohort, train, count, 5, &common, &rare);
    if (!divide(cohort, &common, 0.01, &cold, &rest, error)) return error_context(error, "subset cold_start");
    if (!divide(cohort, &rest, 0.2, &small, &unused, error)) return error_context(error, "subset drg_small");
    return keep(subsets, SUBSET_RARE, &rare, error) && keep(subsets, SUBSET_COLD_START, &cold, error) &&
           keep(subsets, SUBSET_DRG_SMALL, &small, error);
}

/* Script 4: titles with one row out, then fine-tuning against GRPO. */
static bool draw_division(struct sapphire_subsets *subsets, enum sapphire_subset fine_tuning, double share,
                          const struct cohort *cohort, const uint32_t *train, size_t count, struct arena *arena,
                          struct error *error) {
    struct row_list common, single, tuned, reinforced;
    if (!make_list(&common, arena, count, error) || !make_list(&single, arena, count, error) ||
        !make_list(&tuned, arena, count, error) || !make_list(&reinforced, arena, count, error))
        return false;
    part_by_count(cohort, train, count, 2, &common, &single);
    if (!divide(cohort, &common, share, &tuned, &reinforced, error))
        return error_context(error, "subset %s", names[fine_tuning]);
    return keep(subsets, fine_tuning, &tuned, error) &&
           keep(subsets, (enum sapphire_subset)(fine_tuning + 1), &reinforced, error);
}

/* Whether a subset that cannot be drawn may be left out. */
static bool left_out(subset_set wanted, const struct error *error) {
    if (wanted != SUBSET_ALL) return false;
    log_warning("left out: %s", error->message);
    return true;
}

bool sapphire_subsets_draw(struct sapphire_subsets *subsets, subset_set wanted, const struct cohort *cohort,
                           const uint32_t *train, size_t count, struct error *error) {
    static const struct {
        enum sapphire_subset fine_tuning;
        double share;
    } divisions[] = {{SUBSET_SFT_50, 0.5}, {SUBSET_SFT_75, 0.75}, {SUBSET_SFT_90, 0.9}, {SUBSET_SFT_95, 0.95}};
    const subset_set small = 1u << SUBSET_RARE | 1u << SUBSET_COLD_START | 1u << SUBSET_DRG_SMALL;
    struct arena arena = {0};
    bool done =
        (wanted & small) == 0 || draw_small(subsets, cohort, train, count, &arena, error) || left_out(wanted, error);
    for (size_t d = 0; done && d < sizeof divisions / sizeof *divisions; d++) {
        if ((wanted >> divisions[d].fine_tuning & 3) == 0) continue;
        done =
            draw_division(subsets, divisions[d].fine_tuning, divisions[d].share, cohort, train, count, &arena, error) ||
            left_out(wanted, error);
    }
    for (int s = 0; s < SUBSETS; s++) {
        if ((wanted >> s & 1) != 0) continue;
        memory_free(subsets->rows[s]);
        subsets->rows[s] = NULL;
        subsets->counts[s] = 0;
    }
    arena_free(&arena);
    return done;
}

void sapphire_subsets_free(struct sapphire_subsets *subsets) {
    for (int s = 0; s < SUBSETS; s++) memory_free(subsets->rows[s]);
    *subsets = (struct sapphire_subsets){0};
}
