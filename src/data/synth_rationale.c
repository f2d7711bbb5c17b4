/* Truthful rationales of synthetic stays: see synth_rationale.h. */
#include "data/synth_rationale.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* How many conditions a sentence names, and how many names a rationale may use. */
enum { NAMED = 2, NAMES = 32 };

static const char *const slot_names[RATIONALE_SLOTS] = {[RATIONALE_PRINCIPAL] = "principal",
                                                        [RATIONALE_OPERATION] = "operation",
                                                        [RATIONALE_PROCEDURE] = "procedure",
                                                        [RATIONALE_MEDICAL] = "medical",
                                                        [RATIONALE_COMPANION] = "companion",
                                                        [RATIONALE_DIED] = "died",
                                                        [RATIONALE_ALIVE] = "alive",
                                                        [RATIONALE_AGAINST] = "against",
                                                        [RATIONALE_MCC] = "mcc",
                                                        [RATIONALE_CC] = "cc",
                                                        [RATIONALE_LOWER] = "lower",
                                                        [RATIONALE_EXCLUDED_MCC] = "excluded_mcc",
                                                        [RATIONALE_EXCLUDED_CC] = "excluded_cc",
                                                        [RATIONALE_UNUSED_MCC] = "unused_mcc",
                                                        [RATIONALE_UNUSED_CC] = "unused_cc",
                                                        [RATIONALE_NEITHER] = "neither",
                                                        [RATIONALE_NOTHING] = "nothing",
                                                        [RATIONALE_ANY] = "any",
                                                        [RATIONALE_WITHOUT_MCC] = "without_mcc",
                                                        [RATIONALE_CC_MCC] = "cc_mcc",
                                                        [RATIONALE_MORE_MCC] = "more_mcc",
                                                        [RATIONALE_MORE_CC] = "more_cc",
                                                        [RATIONALE_MORE_CC_MCC] = "more_cc_mcc",
                                                        [RATIONALE_LESS] = "less",
                                                        [RATIONALE_CHOICE] = "choice",
                                                        [RATIONALE_CONCLUSION] = "conclusion"};

static bool sort_templates(struct rationale_words *words, const char *path, struct error *error) {
    size_t slot_column, template_column;
    if (!tsv_require(&words->table, path, "slot", &slot_column, error) ||
        !tsv_require(&words->table, path, "template", &template_column, error))
        return false;
    for (int slot = 0; slot < RATIONALE_SLOTS; slot++) {
        struct phrases *phrases = &words->slots[slot];
        phrases->items = arena_alloc(&words->arena, words->table.rows + 1, sizeof *phrases->items);
        if (phrases->items == NULL) return memory_error(error, words->table.rows * sizeof *phrases->items, path);
        for (size_t row = 0; row < words->table.rows; row++) {
            if (strcmp(tsv_cell(&words->table, row, slot_column), slot_names[slot]) == 0)
                phrases->items[phrases->count++] = tsv_cell(&words->table, row, template_column);
        }
        if (phrases->count == 0) return error_set(error, "%s: no template for \"%s\"", path, slot_names[slot]);
    }
    return true;
}

bool rationale_words_load(struct rationale_words *words, const char *directory, struct error *error) {
    char path[4200];
    *words = (struct rationale_words){0};
    if (!path_join(path, sizeof path, directory, "rationales.tsv"))
        return error_set(error, "%.200s: path too long", directory);
    if (tsv_load(&words->table, path, error) && sort_templates(words, path, error)) return true;
    rationale_words_free(words);
    return false;
}

void rationale_words_free(struct rationale_words *words) {
    tsv_free(&words->table);
    arena_free(&words->arena);
    *words = (struct rationale_words){0};
}

/* Things named in one sentence. */
struct names {
    const char *items[NAMED];
    size_t count;
};

/* One rationale under way. */
struct telling {
    struct text *out;
    const struct rationale_words *words;
    const struct knowledge *knowledge;
    const struct synthetic_stay *stay;
    const char *note; /* NUL behind */
    struct rng rng;
    const char *principal;   /* its name */
    const char *used[NAMES]; /* names that stand in the rationale: each once */
    size_t used_count;
    bool told[SECONDARY_LIMIT]; /* secondary diagnoses that have been named */
    struct names deciding;
    enum cc_level level; /* what the codes come to */
};

/* Whether the phrase stands in the note as whole words, in any case. */
static bool stands_in(const char *note, const char *phrase) {
    const size_t length = strlen(phrase);
    for (const char *at = note; (at = strcasestr(at, phrase)) != NULL; at++) {
        if ((at == note || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length])) return true;
    }
    return false;
}

static bool is_used(const struct telling *telling, const char *name) {
    for (size_t i = 0; i < telling->used_count; i++) {
        if (strcasecmp(telling->used[i], name) == 0) return true;
    }
    return false;
}

/* The longest of the wordings that stands in the note and has not been used; NULL when there is none. */
static const char *name_in_note(const struct telling *telling, const struct phrases *wordings) {
    const char *best = NULL;
    for (size_t i = 0; i < wordings->count; i++) {
        const char *wording = wordings->items[i];
        if ((best == NULL || strlen(wording) > strlen(best)) && !is_used(telling, wording) &&
            stands_in(telling->note, wording))
            best = wording;
    }
    return best;
}

/* The same, and where the note has none, the first one that has not been used. */
static const char *any_name(const struct telling *telling, const struct phrases *wordings) {
    const char *name = name_in_note(telling, wordings);
    for (size_t i = 0; name == NULL && i < wordings->count; i++) {
        if (!is_used(telling, wordings->items[i])) name = wordings->items[i];
    }
    return name;
}

static bool take_name(struct telling *telling, struct names *names, const char *name) {
    if (name == NULL || names->count == NAMED || telling->used_count == NAMES) return false;
    names->items[names->count++] = name;
    telling->used[telling->used_count++] = name;
    return true;
}

/* What a sentence is filled with. */
struct sentence {
    const struct names *list;
    const char *other; /* title of another DRG */
};

static void add_lower(struct text *out, const char *string) {
    for (; *string != '\0'; string++) text_add_char(out, (char)tolower((unsigned char)*string));
}

static void add_list(struct text *out, const struct names *list) {
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) text_add(out, i + 1 == list->count ? " and " : ", ");
        text_add(out, list->items[i]);
    }
}

/* A word in braces: {one|many} goes by the length of the list. */
static void add_braces(struct telling *telling, const char *word, size_t length, const struct sentence *sentence) {
    struct text *out = telling->out;
    const size_t at = out->length;
    const char *bar = memchr(word, '|', length);
    const size_t plain = length > 4 && memcmp(word + length - 4, "_cap", 4) == 0 ? length - 4 : length;
    if (bar != NULL && sentence->list->count < 2)
        text_append(out, word, (size_t)(bar - word));
    else if (bar != NULL)
        text_append(out, bar + 1, length - (size_t)(bar + 1 - word));
    else if (plain == 1 && *word == 'x')
        text_add(out, telling->principal);
    else if (plain == 4 && memcmp(word, "list", 4) == 0)
        add_list(out, sentence->list);
    else if (plain == 5 && memcmp(word, "title", 5) == 0)
        add_lower(out, telling->stay->profile->drg->title);
    else if (plain == 5 && memcmp(word, "other", 5) == 0)
        add_lower(out, sentence->other);
    if (plain < length && !out->failed && out->length > at) out->data[at] = (char)toupper((unsigned char)out->data[at]);
}

/* Appends a sentence of the slot; without anything listed where a list is wanted (NULL: not wanted), nothing. */
static void tell(struct telling *telling, enum rationale_slot slot, const struct names *list, const char *other) {
    static const struct names nothing = {.count = 0};
    const struct phrases *phrases = &telling->words->slots[slot];
    const struct sentence sentence = {list == NULL ? &nothing : list, other};
    if (list != NULL && list->count == 0) return;
    const char *at = phrases->items[rng_below(&telling->rng, phrases->count)];
    if (telling->out->length > 0 && telling->out->data[telling->out->length - 1] != '\n')
        text_add_char(telling->out, ' ');
    while (*at != '\0') {
        const char *close = *at == '{' ? strchr(at, '}') : NULL;
        if (close == NULL) {
            text_add_char(telling->out, *at++);
            continue;
        }
        add_braces(telling, at + 1, (size_t)(close - at - 1), &sentence);
        at = close + 1;
    }
}

static const struct diagnosis *secondary_at(const struct telling *telling, size_t i) {
    return &telling->knowledge->diagnoses[telling->stay->secondary[i]];
}

/* What secondary diagnosis i counts for in this stay. */
static enum cc_level counted(const struct telling *telling, size_t i) {
    return knowledge_level(telling->knowledge, telling->stay->secondary[i], telling->stay->principal,
                           telling->stay->profile->drg->base);
}

/* What it counts for beside the principal diagnosis, in whatever group. */
static enum cc_level counted_beside(const struct telling *telling, size_t i) {
    return knowledge_level(telling->knowledge, telling->stay->secondary[i], telling->stay->principal, -1);
}

/* Whether the secondary diagnosis is another condition for a reader than those named: codes may share their wordings
 * and differ in level. */
static bool is_apart(const struct telling *telling, size_t i) {
    const struct phrases *wordings = &secondary_at(telling, i)->wordings;
    for (size_t w = 0; w < wordings->count; w++) {
        if (is_used(telling, wordings->items[w])) return false;
    }
    return wordings->count > 0;
}

/* Which secondary diagnoses a sentence is about. */
typedef bool about_function(const struct telling *telling, size_t i);

/* Names conditions that a sentence is about: first those that the note names, then, with `all`, the others. */
static struct names gather(struct telling *telling, about_function *about, bool all) {
    struct names names = {.count = 0};
    const size_t count = telling->stay->secondary_count;
    for (int pass = 0; pass < (all ? 2 : 1); pass++) {
        for (size_t i = 0; i < count; i++) {
            if (telling->told[i] || secondary_at(telling, i)->kind == KIND_SILENT || !about(telling, i) ||
                !is_apart(telling, i))
                continue;
            const struct phrases *wordings = &secondary_at(telling, i)->wordings;
            const char *name = pass == 0 ? name_in_note(telling, wordings) : any_name(telling, wordings);
            if (take_name(telling, &names, name)) telling->told[i] = true;
        }
        if (names.count > 0) break;
    }
    return names;
}

static bool is_deciding(const struct telling *telling, size_t i) {
    return counted(telling, i) == telling->level && telling->level != LEVEL_NONE;
}

static bool is_lower(const struct telling *telling, size_t i) {
    return counted(telling, i) == LEVEL_CC && telling->level == LEVEL_MCC;
}

static bool is_excluded(const struct telling *telling, size_t i, enum cc_level level) {
    return secondary_at(telling, i)->level == level && counted_beside(telling, i) == LEVEL_NONE;
}

static bool is_excluded_mcc(const struct telling *telling, size_t i) {
    return is_excluded(telling, i, LEVEL_MCC);
}

static bool is_excluded_cc(const struct telling *telling, size_t i) {
    return is_excluded(telling, i, LEVEL_CC);
}

static bool is_unused(const struct telling *telling, size_t i, enum cc_level level) {
    return counted_beside(telling, i) == level && counted(telling, i) == LEVEL_NONE;
}

static bool is_unused_mcc(const struct telling *telling, size_t i) {
    return is_unused(telling, i, LEVEL_MCC);
}

static bool is_unused_cc(const struct telling *telling, size_t i) {
    return is_unused(telling, i, LEVEL_CC);
}

static bool is_neither(const struct telling *telling, size_t i) {
    return secondary_at(telling, i)->level == LEVEL_NONE;
}

/* Whether the base rests on the diagnosis (moves.tsv). */
static bool is_companion(const struct telling *telling, size_t i) {
    const struct drg *drg = telling->stay->profile->drg;
    size_t at = 0;
    for (const char *list; (list = knowledge_needed(telling->knowledge, drg, telling->stay->principal, &at)) != NULL;) {
        if (code_begins(list, secondary_at(telling, i)->code)) return true;
    }
    return false;
}

static bool has_procedure(const struct synthetic_stay *stay, int32_t procedure) {
    for (size_t i = 0; i < stay->procedure_count; i++) {
        if (stay->procedures[i] == procedure) return true;
    }
    return false;
}

/* The fewest of the stay's procedures with which claims of this base have its principal diagnosis: the others do not
 * decide. The stay's own where no claim of the base has fewer. */
static size_t deciding_procedures(const struct telling *telling, int32_t *procedures) {
    const struct synthetic_stay *stay = telling->stay;
    const struct code_list *pairs = &stay->profile->pairs;
    size_t count = stay->procedure_count;
    for (size_t i = 0; i < count; i++) procedures[i] = stay->procedures[i];
    for (size_t p = 0; p < pairs->count; p++) {
        const struct principal_pair *pair = &telling->knowledge->pairs[pairs->index[p]];
        bool held = pair->principal == stay->principal && pair->procedure_count < count;
        for (size_t i = 0; held && i < pair->procedure_count; i++) held = has_procedure(stay, pair->procedures[i]);
        if (!held) continue;
        count = pair->procedure_count;
        for (size_t i = 0; i < count; i++) procedures[i] = pair->procedures[i];
    }
    return count;
}

static void tell_procedures(struct telling *telling) {
    int32_t procedures[PROCEDURE_LIMIT];
    struct names names = {.count = 0};
    const bool surgical = telling->stay->profile->drg->type == DRG_SURGICAL;
    const size_t count = deciding_procedures(telling, procedures);
    for (int pass = 0; pass < 2 && names.count == 0; pass++) {
        for (size_t i = 0; i < count; i++) {
            const struct phrases *wordings = &telling->knowledge->procedures[procedures[i]].wordings;
            take_name(telling, &names, pass == 0 ? name_in_note(telling, wordings) : any_name(telling, wordings));
        }
    }
    tell(telling, surgical ? RATIONALE_OPERATION : RATIONALE_PROCEDURE, &names, NULL);
    if (!surgical && names.count == 0) tell(telling, RATIONALE_MEDICAL, NULL, NULL);
}

/* What the title says about the way the stay ended. */
static void tell_outcome(struct telling *telling) {
    const char *title = telling->stay->profile->drg->title;
    if (strstr(title, "EXPIRED") != NULL)
        tell(telling, RATIONALE_DIED, NULL, NULL);
    else if (strstr(title, "DISCHARGED ALIVE") != NULL)
        tell(telling, RATIONALE_ALIVE, NULL, NULL);
    else if (strstr(title, "LEFT AMA") != NULL || strstr(title, "LEFT AGAINST") != NULL)
        tell(telling, RATIONALE_AGAINST, NULL, NULL);
}

static void tell_uncounted(struct telling *telling) {
    static const struct {
        enum rationale_slot slot;
        about_function *about;
    } kinds[] = {{RATIONALE_EXCLUDED_MCC, is_excluded_mcc},
                 {RATIONALE_EXCLUDED_CC, is_excluded_cc},
                 {RATIONALE_UNUSED_MCC, is_unused_mcc},
                 {RATIONALE_UNUSED_CC, is_unused_cc}};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const struct names names = gather(telling, kinds[k].about, false);
        tell(telling, kinds[k].slot, &names, NULL);
    }
}

/* Which conditions count, and how the group takes it. */
static void tell_severity(struct telling *telling) {
    const enum drg_severity severity = telling->stay->profile->drg->severity;
    if (severity == SEVERITY_ANY) {
        tell(telling, RATIONALE_ANY, NULL, NULL);
        return;
    }
    telling->deciding = gather(telling, is_deciding, true);
    tell(telling, telling->level == LEVEL_MCC ? RATIONALE_MCC : RATIONALE_CC, &telling->deciding, NULL);
    if (telling->level == LEVEL_MCC && severity != SEVERITY_CC_MCC) {
        const struct names lower = gather(telling, is_lower, false);
        tell(telling, RATIONALE_LOWER, &lower, NULL);
    }
    tell_uncounted(telling);
    const struct names neither = gather(telling, is_neither, false);
    tell(telling, RATIONALE_NEITHER, &neither, NULL);
    if (telling->level == LEVEL_NONE) tell(telling, RATIONALE_NOTHING, NULL, NULL);
    if (severity == SEVERITY_WITHOUT_MCC && telling->level == LEVEL_CC)
        tell(telling, RATIONALE_WITHOUT_MCC, NULL, NULL);
    if (severity == SEVERITY_CC_MCC) tell(telling, RATIONALE_CC_MCC, NULL, NULL);
}

/* Why another DRG of the same base is not the one: it asks for more than there is, or for less. */
static void tell_other(struct telling *telling, const struct drg *other) {
    if (other->severity == SEVERITY_MCC)
        tell(telling, RATIONALE_MORE_MCC, NULL, other->title);
    else if (other->severity == SEVERITY_CC_MCC)
        tell(telling, RATIONALE_MORE_CC_MCC, NULL, other->title);
    else if (other->severity == SEVERITY_CC && telling->level == LEVEL_NONE)
        tell(telling, RATIONALE_MORE_CC, NULL, other->title);
    else
        tell(telling, RATIONALE_LESS, &telling->deciding, other->title);
}

static void tell_others(struct telling *telling) {
    enum { OTHERS = 2 };
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    const struct drg *own = telling->stay->profile->drg;
    size_t told = 0;
    for (size_t i = 0; i < catalog->count && told < OTHERS; i++) {
        const struct drg *other = &catalog->drgs[i];
        if (other->base != own->base || other == own || severity_admits(other->severity, telling->level)) continue;
        tell_other(telling, other);
        told++;
    }
    if (told > 0) tell(telling, RATIONALE_CHOICE, NULL, NULL);
}

bool rationale_write(struct text *out, const struct rationale_words *words, const struct knowledge *knowledge,
                     const struct synthetic_stay *stay, const char *note, size_t length, bool differential,
                     uint64_t seed) {
    struct text copy = {0}, told = {0};
    struct telling telling = {.out = &told, .words = words, .knowledge = knowledge, .stay = stay};
    telling.level = synthetic_stay_level(knowledge, stay);
    if (!severity_admits(stay->profile->drg->severity, telling.level)) return false;
    text_append(&copy, note == NULL ? "" : note, note == NULL ? 0 : length);
    telling.note = copy.length == 0 ? "" : copy.data;
    rng_seed(&telling.rng, seed);
    struct names principal = {.count = 0};
    const struct phrases *wordings = &knowledge->diagnoses[stay->principal].wordings;
    take_name(&telling, &principal, any_name(&telling, wordings));
    telling.principal = principal.count > 0 ? principal.items[0] : "";
    bool done = principal.count > 0 && !copy.failed;
    if (done) {
        tell(&telling, RATIONALE_PRINCIPAL, NULL, NULL);
        tell_procedures(&telling);
        const struct names companions = gather(&telling, is_companion, true);
        tell(&telling, RATIONALE_COMPANION, &companions, NULL);
        tell_outcome(&telling);
        /* A companion may be what decides the severity as well. */
        for (size_t i = 0; i < stay->secondary_count; i++) telling.told[i] = false;
        telling.used_count = 1;
        tell_severity(&telling);
        if (differential) tell_others(&telling);
        tell(&telling, RATIONALE_CONCLUSION, NULL, NULL);
        text_append(out, told.data == NULL ? "" : told.data, told.length);
        out->failed = out->failed || told.failed;
    }
    text_free(&copy);
    text_free(&told);
    return done;
}
