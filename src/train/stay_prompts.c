/* Reading stays and making prompts of them, by all threads. */
#include "train/stay_prompts.h"
#include "base/error.h"
#include "base/hash.h"
#include "data/dataset.h"
#include <stdlib.h>
#include <string.h>

/* The stay's place in the prompts: its strings are copied, since the dataset is not kept. */
static bool add_stay(struct stay_prompts *prompts, const struct stay *stay, size_t index,
                     const struct stay_prompts_settings *settings, struct error *error) {
    const struct drg *drg = catalog_find(settings->catalog, stay->drg);
    if (drg == NULL) {
        error_set(error, "stay %zu has DRG %d, which %s does not have", index + 1, stay->drg,
                  grouper_name(settings->catalog->grouper));
        return error_hint(error, "labels.tsv beside the file says which grouper the stays are of");
    }
    if (settings->curriculum != NULL) {
        if (stay->note_id[0] == '\0')
            return error_set(error, "stay %zu has no note_id, by which a curriculum knows it", index + 1);
        if (curriculum_removes_stay(settings->curriculum, stay->note_id, settings->removes)) {
            prompts->removed++;
            return true;
        }
    }
    struct stay_prompt *item = &prompts->items[prompts->count++];
    *item = (struct stay_prompt){.gold = drg->title, .index = index};
    item->note_id = arena_string(&prompts->strings, stay->note_id, strlen(stay->note_id));
    if (item->note_id == NULL) return memory_error(error, strlen(stay->note_id), "the stays");
    if (settings->curriculum != NULL) item->ease = curriculum_ease(settings->curriculum, stay->note_id);
    return true;
}

/* Which of the stays are taken. */
static bool choose(struct stay_prompts *prompts, const struct dataset *dataset,
                   const struct stay_prompts_settings *settings, struct error *error) {
    const size_t last = (size_t)settings->last, first = (size_t)settings->first;
    const size_t from = last > 0 && last < dataset->count ? dataset->count - last : 0;
    const size_t to = first > 0 && from + first < dataset->count ? from + first : dataset->count;
    prompts->items = memory_zero(to - from, sizeof *prompts->items);
    if (prompts->items == NULL) return memory_error(error, (to - from) * sizeof *prompts->items, "the stays");
    for (size_t i = from; i < to; i++) {
        if (!add_stay(prompts, &dataset->stays[i], i, settings, error)) return false;
    }
    if (prompts->count > 0) return true;
    error_set(error, "no stay is left");
    return prompts->removed == 0 ? false : error_hint(error, "the curriculum removes all of them; see grpo.remove");
}

static bool encode_all(struct stay_prompts *prompts, const struct dataset *dataset,
                       const struct stay_prompts_settings *settings, struct error *error) {
    size_t failed = SIZE_MAX, cut = 0; /* failed: the first, whichever thread finds it */
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : cut)
    for (size_t i = 0; i < prompts->count; i++) {
        struct stay_prompt *item = &prompts->items[i];
        const struct stay *stay = &dataset->stays[item->index];
        const struct prompt_values values = {.note = stay->text, .note_length = stay->text_length};
        struct error own = {0};
        bool is_cut = false;
        const bool done = prompt_encode(settings->encoder, &values, settings->limit, &item->ids, &is_cut, &own);
        cut += is_cut;
        if (done) continue;
#pragma omp critical(stay_prompts_failed)
        if (i < failed) {
            failed = i;
            if (error != NULL) *error = own;
        }
    }
    prompts->cut = cut;
    return failed == SIZE_MAX || error_context(error, "stay %zu", (size_t)prompts->items[failed].index + 1);
}

static void measure(struct stay_prompts *prompts) {
    for (size_t i = 0; i < prompts->count; i++) {
        const struct stay_prompt *item = &prompts->items[i];
        const int64_t count = (int64_t)item->ids.count;
        if (count > prompts->longest) prompts->longest = count;
        prompts->tokens += count;
        prompts->fingerprint = hash_bytes(item->ids.ids, item->ids.count * sizeof *item->ids.ids, prompts->fingerprint);
        prompts->fingerprint = hash_bytes(item->gold, strlen(item->gold), prompts->fingerprint);
        prompts->fingerprint = hash_bytes(&item->ease, sizeof item->ease, prompts->fingerprint);
    }
}

bool stay_prompts_load(struct stay_prompts *prompts, const char *path, const struct stay_prompts_settings *settings,
                       struct error *error) {
    struct dataset dataset = {0};
    *prompts = (struct stay_prompts){0};
    bool done = dataset_load(&dataset, path, error);
    if (done && (!choose(prompts, &dataset, settings, error) || !encode_all(prompts, &dataset, settings, error)))
        done = error_context(error, "%s", path);
    if (done)
        measure(prompts);
    else
        stay_prompts_free(prompts);
    dataset_free(&dataset);
    return done;
}

void stay_prompts_free(struct stay_prompts *prompts) {
    for (size_t i = 0; i < prompts->count; i++) token_list_free(&prompts->items[i].ids);
    memory_free(prompts->items);
    arena_free(&prompts->strings);
    *prompts = (struct stay_prompts){0};
}

static int compare_ease(const void *a, const void *b, void *context) {
    const struct stay_prompt *items = context;
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (items[x].ease > items[y].ease) return -1;
    if (items[x].ease < items[y].ease) return 1;
    return x < y ? -1 : 1;
}

void stay_prompts_order_by_ease(const struct stay_prompts *prompts, uint32_t *order) {
    for (size_t i = 0; i < prompts->count; i++) order[i] = (uint32_t)i;
    qsort_r(order, prompts->count, sizeof *order, compare_ease, prompts->items);
}
