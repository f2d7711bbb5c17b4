/* Loading data/synth: DRGs, the codes that their stays carry, and which of them count. Every number and reference is
 * checked. */
#include "base/error.h"
#include "base/text.h"
#include "data/synth_knowledge.h"
#include <stdlib.h>
#include <string.h>

static bool read_exclusions(struct knowledge *knowledge, struct error *error) {
    const bool all = knowledge->tables[TABLE_ALL_EXCLUSIONS].rows > 0;
    const struct tsv *table = &knowledge->tables[all ? TABLE_ALL_EXCLUSIONS : TABLE_EXCLUSIONS];
    knowledge->excluded = memory_zero(knowledge->groups, knowledge->diagnosis_count);
    knowledge->principals = knowledge->diagnosis_count;
    if (knowledge->excluded == NULL)
        return memory_error(error, knowledge->groups * knowledge->diagnosis_count, "the exclusions");
    for (size_t row = 0; row < table->rows; row++) {
        int64_t group;
        if (!parse_int64(tsv_cell(table, row, 0), &group) || group < 1)
            return error_set(error, "exclusions, line %u: no valid group", table->lines[row]);
        if ((size_t)group >= knowledge->groups) continue;
        for (const char *code = tsv_cell(table, row, 1); *code != '\0';) {
            const size_t length = strcspn(code, ",");
            const int32_t index = hash_find(&knowledge->diagnosis_ids, code, length, -1);
            if (index >= 0) knowledge->excluded[(size_t)group * knowledge->principals + (size_t)index] = 1;
            code += length + (code[length] == ',');
        }
    }
    return true;
}

static struct drg_profile *find_profile(struct knowledge *knowledge, int64_t code) {
    size_t low = 0, high = knowledge->profile_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (knowledge->profiles[middle].drg->code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < knowledge->profile_count && knowledge->profiles[low].drg->code == code ? &knowledge->profiles[low]
                                                                                        : NULL;
}

static bool list_allocate(struct knowledge *knowledge, struct code_list *list, size_t count, struct error *error) {
    list->index = arena_alloc(&knowledge->arena, count, sizeof *list->index);
    list->weight = arena_alloc(&knowledge->arena, count, sizeof *list->weight);
    list->cumulative = arena_alloc(&knowledge->arena, count, sizeof *list->cumulative);
    list->count = 0;
    return (list->index != NULL && list->weight != NULL && list->cumulative != NULL) ||
           memory_error(error, count * 20, "the codes of a DRG");
}

static void list_add(struct code_list *list, int32_t index, double weight) {
    const double before = list->count == 0 ? 0 : list->cumulative[list->count - 1];
    list->index[list->count] = index;
    list->weight[list->count] = weight;
    list->cumulative[list->count++] = before + weight;
}

/* The procedures of a pair, a comma list of codes or "-". */
static bool read_pair_procedures(const struct knowledge *knowledge, struct principal_pair *pair, const char *codes) {
    while (strcmp(codes, "-") != 0 && *codes != '\0') {
        const size_t length = strcspn(codes, ",");
        const int32_t index = hash_find(&knowledge->procedure_ids, codes, length, -1);
        if (index < 0 || pair->procedure_count == PROCEDURE_LIMIT) return false;
        pair->procedures[pair->procedure_count++] = index;
        codes += length + (codes[length] == ',');
    }
    return true;
}

/* The sex that the pair's codes ask for. */
static void set_pair_sex(const struct knowledge *knowledge, struct principal_pair *pair) {
    pair->sex = knowledge->diagnoses[pair->principal].sex;
    for (size_t i = 0; i < pair->procedure_count && pair->sex == SEX_ANY; i++)
        pair->sex = knowledge->procedures[pair->procedures[i]].sex;
}

/* Pairs are listed under the lowest DRG of a base; every profile of that base gets the list. */
static bool read_principals(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_PRINCIPALS];
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    knowledge->pairs = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->pairs);
    struct code_list *lists = arena_zero(&knowledge->arena, catalog->bases, sizeof *lists);
    if (knowledge->pairs == NULL || lists == NULL)
        return memory_error(error, table->rows * sizeof *knowledge->pairs, "the principal diagnoses");
    for (int pass = 0; pass < 2; pass++) {
        for (size_t row = 0; row < table->rows; row++) {
            struct principal_pair *pair = &knowledge->pairs[row];
            const char *code = tsv_cell(table, row, 1);
            int64_t number;
            double claims;
            const struct drg *drg =
                parse_int64(tsv_cell(table, row, 0), &number) ? catalog_find(catalog, (int)number) : NULL;
            *pair = (struct principal_pair){.principal = hash_find(&knowledge->diagnosis_ids, code, strlen(code), -1)};
            if (drg == NULL || pair->principal < 0 || !read_pair_procedures(knowledge, pair, tsv_cell(table, row, 2)) ||
                !parse_double(tsv_cell(table, row, 3), &claims) || !(claims > 0)) {
                return error_set(error, "principals.tsv, line %u: no valid DRG, diagnosis, procedures and claims",
                                 table->lines[row]);
            }
            set_pair_sex(knowledge, pair);
            if (pass == 0)
                lists[drg->base].count++;
            else
                list_add(&lists[drg->base], (int32_t)row, claims);
        }
        for (size_t base = 0; pass == 0 && base < catalog->bases; base++) {
            if (!list_allocate(knowledge, &lists[base], lists[base].count, error)) return false;
        }
    }
    knowledge->pair_count = table->rows;
    for (size_t p = 0; p < knowledge->profile_count; p++) {
        struct drg_profile *profile = &knowledge->profiles[p];
        profile->pairs = lists[profile->drg->base];
        if (profile->pairs.count == 0 && profile->claims > 0)
            return error_set(error, "principals.tsv: DRG %d has no principal diagnosis", profile->drg->code);
    }
    return true;
}

/* Two passes: counting, then filling. */
static bool read_secondaries(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_SECONDARIES];
    for (int pass = 0; pass < 2; pass++) {
        for (size_t row = 0; row < table->rows; row++) {
            int64_t drg;
            double weight;
            struct drg_profile *profile =
                parse_int64(tsv_cell(table, row, 0), &drg) ? find_profile(knowledge, drg) : NULL;
            const char *code = tsv_cell(table, row, 1);
            const int32_t index = hash_find(&knowledge->diagnosis_ids, code, strlen(code), -1);
            if (profile == NULL || index < 0 || !parse_double(tsv_cell(table, row, 2), &weight) || !(weight > 0)) {
                return error_set(error, "secondaries.tsv, line %u: no valid DRG, code and weight", table->lines[row]);
            }
            if (pass == 0)
                profile->secondary.count++;
            else
                list_add(&profile->secondary, index, weight);
        }
        for (size_t p = 0; pass == 0 && p < knowledge->profile_count; p++) {
            struct code_list *list = &knowledge->profiles[p].secondary;
            if (!list_allocate(knowledge, list, list->count, error)) return false;
        }
    }
    return true;
}

static int compare_uncounted(const void *a, const void *b) {
    const struct uncounted *left = a, *right = b;
    if (left->secondary != right->secondary) return left->secondary < right->secondary ? -1 : 1;
    if (left->principal != right->principal) return left->principal < right->principal ? -1 : 1;
    return (left->base > right->base) - (left->base < right->base);
}

static bool add_uncounted(struct knowledge *knowledge, struct uncounted entry, struct error *error) {
    if (!memory_grow(&knowledge->uncounted, &knowledge->uncounted_capacity, knowledge->uncounted_count + 1,
                     sizeof entry, error))
        return false;
    knowledge->uncounted[knowledge->uncounted_count++] = entry;
    return true;
}

static bool read_extra_exclusions(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_EXTRA];
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    for (size_t row = 0; row < table->rows; row++) {
        const char *code = tsv_cell(table, row, 0);
        const int32_t secondary = hash_find(&knowledge->diagnosis_ids, code, strlen(code), -1);
        for (int column = 1; column < 3; column++) {
            for (const char *item = tsv_cell(table, row, (size_t)column); strcmp(item, "-") != 0 && *item != '\0';) {
                const size_t length = strcspn(item, ",");
                struct uncounted entry = {secondary, -1, -1};
                if (column == 1) {
                    entry.principal = hash_find(&knowledge->diagnosis_ids, item, length, -1);
                } else {
                    const struct drg *drg = catalog_find(catalog, atoi(item));
                    if (drg == NULL)
                        return error_set(error, "exclusions-extra.tsv, line %u: \"%s\" is no DRG", table->lines[row],
                                         item);
                    entry.base = drg->base;
                }
                const bool known = secondary >= 0 && (entry.principal >= 0 ||
                                                      entry.base >= 0); /* a code that no stay has needs no rule */
                if (known && !add_uncounted(knowledge, entry, error)) return false;
                item += length + (item[length] == ',');
            }
        }
    }
    if (knowledge->uncounted_count > 0)
        qsort(knowledge->uncounted, knowledge->uncounted_count, sizeof *knowledge->uncounted, compare_uncounted);
    return true;
}

static bool is_uncounted(const struct knowledge *knowledge, struct uncounted entry) {
    return knowledge->uncounted_count > 0 &&
           bsearch(&entry, knowledge->uncounted, knowledge->uncounted_count, sizeof entry, compare_uncounted) != NULL;
}

/* The DRGs of the table, and among them those that only given claims have. */
static bool read_profiles(struct knowledge *knowledge, const struct code_wishes *wishes, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DRGS];
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    size_t row = 0;
    knowledge->profiles = arena_zero(&knowledge->arena, catalog->count, sizeof *knowledge->profiles);
    if (knowledge->profiles == NULL)
        return memory_error(error, catalog->count * sizeof *knowledge->profiles, "the DRGs");
    for (size_t d = 0; d < catalog->count; d++) {
        struct drg_profile *profile = &knowledge->profiles[knowledge->profile_count];
        int64_t code;
        profile->drg = &catalog->drgs[d];
        if (row < table->rows && parse_int64(tsv_cell(table, row, 0), &code) && code == profile->drg->code) {
            if (!parse_double(tsv_cell(table, row, 1), &profile->claims) || !(profile->claims > 0)) break;
            row++;
            knowledge->profile_count++;
        } else if (wishes != NULL && wishes->drgs[profile->drg->code]) {
            profile->claims = 0;
            knowledge->profile_count++;
        }
    }
    return row == table->rows ||
           error_set(error, "drgs.tsv, line %u: expected a v43 DRG larger than the one before, and its claims",
                     table->lines[row]);
}

/* How common each secondary diagnosis is in all claims. */
static void sum_shares(struct knowledge *knowledge) {
    double claims = 0;
    for (size_t p = 0; p < knowledge->profile_count; p++) claims += knowledge->profiles[p].claims;
    for (size_t p = 0; p < knowledge->profile_count; p++) {
        const struct drg_profile *profile = &knowledge->profiles[p];
        for (size_t i = 0; i < profile->secondary.count; i++)
            knowledge->diagnoses[profile->secondary.index[i]].share +=
                profile->secondary.weight[i] * profile->claims / claims;
    }
}

/* The CCs and MCCs of the cohort, each with its weight summed over the DRGs. */
static bool collect_serious(struct knowledge *knowledge, struct error *error) {
    double *sums = memory_zero(knowledge->diagnosis_count, sizeof *sums);
    if (sums == NULL) return memory_error(error, knowledge->diagnosis_count * sizeof *sums, "the common complications");
    for (size_t p = 0; p < knowledge->profile_count; p++) {
        const struct code_list *list = &knowledge->profiles[p].secondary;
        for (size_t i = 0; i < list->count; i++) sums[list->index[i]] += list->weight[i];
    }
    const bool allocated = list_allocate(knowledge, &knowledge->serious, knowledge->diagnosis_count, error);
    for (size_t d = 0; allocated && d < knowledge->diagnosis_count; d++) {
        const struct diagnosis *diagnosis = &knowledge->diagnoses[d];
        if (diagnosis->level != LEVEL_NONE && sums[d] > 0 && diagnosis->kind != KIND_SILENT)
            list_add(&knowledge->serious, (int32_t)d, sums[d]);
    }
    memory_free(sums);
    return allocated && (knowledge->serious.count > 0 || error_set(error, "diagnoses.tsv: no CC and no MCC"));
}

bool knowledge_read_profiles(struct knowledge *knowledge, const struct code_wishes *wishes, struct error *error) {
    if (!read_exclusions(knowledge, error) || !read_profiles(knowledge, wishes, error) ||
        !read_principals(knowledge, error) || !read_secondaries(knowledge, error))
        return false;
    sum_shares(knowledge);
    return read_extra_exclusions(knowledge, error) && collect_serious(knowledge, error);
}

enum cc_level knowledge_level(const struct knowledge *knowledge, int32_t secondary, int32_t principal, int base) {
    const struct diagnosis *diagnosis = &knowledge->diagnoses[secondary];
    if (diagnosis->level == LEVEL_NONE || secondary == principal) return LEVEL_NONE;
    const size_t at = (size_t)diagnosis->group * knowledge->principals + (size_t)principal;
    if (knowledge->excluded[at] || is_uncounted(knowledge, (struct uncounted){secondary, principal, -1}) ||
        is_uncounted(knowledge, (struct uncounted){secondary, -1, base})) {
        return LEVEL_NONE;
    }
    return diagnosis->level;
}
