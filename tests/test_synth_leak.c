/* Nothing in a synthetic course gives its DRG away. Measured: no word and no phrase of two or three words identifies a
 * DRG better than the conditions and procedures it stands for.
 *
 * Each n-gram with enough stays has a most frequent DRG, and a lower bound of how often it is that one. Where its words
 * are those of conditions and procedures of the stays, the bound must not exceed what these codes themselves say about
 * the DRG; where they are not, it must not exceed what the way of arriving and leaving says. */
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/synth_admission.h"
#include "data/synth_knowledge.h"
#include "data/synth_note.h"
#include "data/synth_stay.h"
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LONGEST_GRAM = 3, SUPPORT = 15, RARE = 3, WORST = 12 };

/* What is said, in one stay: an n-gram, or a unit (a code, a pair of codes, a way of leaving). */
struct occurrence {
    uint64_t key;
    uint32_t stay, at; /* at: where in the stay's text */
    uint8_t words;     /* of an n-gram */
    bool own;          /* an n-gram: a word of it stands in a wording of the stay's own codes */
};

struct occurrences {
    struct occurrence *items;
    size_t count, capacity;
};

struct sample {
    struct knowledge knowledge;
    struct text *courses;       /* [stays] */
    struct synthetic_stay *all; /* [stays] */
    int *drgs;                  /* [stays] */
    double *single, *joint;     /* [stays] how sure one code, or two, make the DRG */
    double *context;            /* [stays] how sure arriving and leaving make it */
    uint32_t stays;
    struct occurrences grams;
};

static void add(struct occurrences *list, struct occurrence item) {
    struct error error = {0};
    if (!memory_grow(&list->items, &list->capacity, list->count + 1, sizeof item, &error))
        fail_msg("%s", error.message);
    list->items[list->count++] = item;
}

static int compare(const void *a, const void *b) {
    const struct occurrence *left = a, *right = b;
    if (left->key != right->key) return left->key < right->key ? -1 : 1;
    return (left->stay > right->stay) - (left->stay < right->stay);
}

/* The next word of the text from *at on, in lower case; its length, 0 at the end. */
static size_t next_word(const char *text, size_t length, size_t *at, char *word, size_t capacity) {
    size_t size = 0;
    while (*at < length && !isalnum((unsigned char)text[*at])) ++*at;
    for (; *at < length && isalnum((unsigned char)text[*at]); ++*at) {
        if (size + 1 < capacity) word[size++] = (char)tolower((unsigned char)text[*at]);
    }
    word[size] = '\0';
    return size;
}

/* Marks where the phrases stand in the text as whole words, in any case. */
static void mark_phrases(bool *marks, const struct text *course, const struct phrases *phrases) {
    for (size_t i = 0; i < phrases->count; i++) {
        const size_t length = strlen(phrases->items[i]);
        for (const char *at = course->data; (at = strcasestr(at, phrases->items[i])) != NULL; at++) {
            const bool whole =
                (at == course->data || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length]);
            if (whole) memset(marks + (at - course->data), true, length);
        }
    }
}

/* Where the wordings and findings of the stay's own codes stand in its course. */
static void mark_own(bool *marks, const struct sample *sample, uint32_t index) {
    const struct synthetic_stay *stay = &sample->all[index];
    const struct text *course = &sample->courses[index];
    memset(marks, false, course->length);
    for (size_t i = 0; i <= stay->secondary_count; i++) {
        const struct diagnosis *d = &sample->knowledge.diagnoses[i == 0 ? stay->principal : stay->secondary[i - 1]];
        mark_phrases(marks, course, &d->wordings);
        mark_phrases(marks, course, &d->clauses);
        mark_phrases(marks, course, &d->findings[FINDING_SYMPTOM]);
    }
    for (size_t i = 0; i < stay->procedure_count; i++)
        mark_phrases(marks, course, &sample->knowledge.procedures[stay->procedures[i]].wordings);
}

static void collect_grams(struct sample *sample, uint32_t stay) {
    const struct text *course = &sample->courses[stay];
    bool *marks = memory_alloc(course->length, sizeof *marks), owned[LONGEST_GRAM] = {false};
    uint64_t last[LONGEST_GRAM] = {0};
    size_t starts[LONGEST_GRAM] = {0}, at = 0, words = 0;
    char word[64];
    assert_non_null(marks);
    mark_own(marks, sample, stay);
    for (size_t size; (size = next_word(course->data, course->length, &at, word, sizeof word)) > 0;) {
        memmove(last + 1, last, sizeof last - sizeof last[0]);
        memmove(owned + 1, owned, sizeof owned - sizeof owned[0]);
        memmove(starts + 1, starts, sizeof starts - sizeof starts[0]);
        last[0] = hash_bytes(word, size, 1);
        owned[0] = marks[at - 1];
        starts[0] = at - size;
        words++;
        bool own = false;
        for (size_t n = 1; n <= LONGEST_GRAM && n <= words; n++) {
            own = own || owned[n - 1];
            add(&sample->grams, (struct occurrence){.key = hash_bytes(last, n * sizeof last[0], n),
                                                    .stay = stay,
                                                    .at = (uint32_t)starts[n - 1],
                                                    .words = (uint8_t)n,
                                                    .own = own});
        }
    }
    memory_free(marks);
}

/* How often stays with the same key have this stay's DRG: raised in `sure` where it is more. Keys of few stays say
 * nothing. Sorts the list. */
static void raise_certainty(struct occurrences *list, const struct sample *sample, double *sure) {
    qsort(list->items, list->count, sizeof *list->items, compare);
    for (size_t from = 0, to; from < list->count; from = to) {
        size_t counts[1000] = {0};
        for (to = from; to < list->count && list->items[to].key == list->items[from].key; to++)
            counts[sample->drgs[list->items[to].stay]]++;
        for (size_t i = from; to - from >= RARE && i < to; i++) {
            const uint32_t stay = list->items[i].stay;
            const double share = (double)counts[sample->drgs[stay]] / (double)(to - from);
            if (share > sure[stay]) sure[stay] = share;
        }
    }
}

static uint64_t unit(uint64_t kind, int32_t a, int32_t b) {
    return hash_bytes((const int32_t[]){a, b}, 8, kind);
}

/* Whether a course can begin with chronic or past conditions: "no significant past history" stands for their absence.
 */
static bool tells_history(const struct sample *sample, const struct synthetic_stay *stay) {
    bool tells = false;
    for (size_t i = 0; i < stay->secondary_count; i++) {
        const enum condition_kind kind = sample->knowledge.diagnoses[stay->secondary[i]].kind;
        tells = tells || kind == KIND_CHRONIC || kind == KIND_HISTORY;
    }
    return tells;
}

/* Codes and pairs of codes of all stays. */
static void measure_units(struct sample *sample) {
    struct occurrences single = {0}, joint = {0}, context = {0};
    for (uint32_t s = 0; s < sample->stays; s++) {
        const struct synthetic_stay *stay = &sample->all[s];
        const int32_t first = stay->procedure_count > 0 ? stay->procedures[0] : -1;
        add(&single, (struct occurrence){.key = unit(1, stay->principal, 0), .stay = s});
        add(&single, (struct occurrence){.key = unit(2, stay->principal, first), .stay = s});
        for (size_t i = 0; i < stay->procedure_count; i++)
            add(&single, (struct occurrence){.key = unit(3, stay->procedures[i], 0), .stay = s});
        for (size_t i = 0; i < stay->secondary_count; i++) {
            add(&single, (struct occurrence){.key = unit(4, stay->secondary[i], 0), .stay = s});
            add(&joint, (struct occurrence){.key = unit(5, stay->secondary[i], stay->principal), .stay = s});
            for (size_t p = 0; p < stay->procedure_count; p++)
                add(&joint, (struct occurrence){.key = unit(6, stay->secondary[i], stay->procedures[p]), .stay = s});
        }
        add(&context,
            (struct occurrence){.key = unit(9, stay->admission.elective, tells_history(sample, stay)), .stay = s});
        add(&context, (struct occurrence){.key = unit(7, stay->admission.elective, stay->female), .stay = s});
        add(&context,
            (struct occurrence){.key = unit(8, (int32_t)stay->admission.destination, stay->age < 45), .stay = s});
    }
    raise_certainty(&context, sample, sample->context);
    raise_certainty(&single, sample, sample->single);
    memcpy(sample->joint, sample->single, sample->stays * sizeof *sample->joint);
    raise_certainty(&joint, sample, sample->joint);
    memory_free(single.items);
    memory_free(joint.items);
    memory_free(context.items);
}

/* Wilson's lower bound of a share at 4.5 deviations: among a few hundred thousand n-grams none passes by chance. */
static double lower_bound(double hits, double count) {
    const double z = 4.5, share = hits / count;
    return (share + z * z / (2 * count) - z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))) /
           (1 + z * z / count);
}

/* What is more than this counts as a leak: below it lie chance, and conditions of few stays whose own figures are
 * rough. */
static const double tolerance = 0.05;

struct leak {
    double excess, bound, allowed;
    size_t support;
    int drg;
    struct occurrence example;
};

static void keep_worst(struct leak *worst, struct leak leak) {
    for (size_t i = 0; i < WORST; i++) {
        if (leak.excess <= worst[i].excess) continue;
        const struct leak pushed = worst[i];
        worst[i] = leak;
        leak = pushed;
    }
}

/* Judges one n-gram: its occurrences [count], one or more a stay. */
static struct leak judge(const struct sample *sample, const struct occurrence *group, size_t count) {
    size_t counts[1000] = {0}, stays = 0, own = 0;
    struct leak leak = {.drg = 0};
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && group[i].stay == group[i - 1].stay) continue;
        stays++;
        own += group[i].own;
        const int drg = sample->drgs[group[i].stay];
        if (++counts[drg] > counts[leak.drg]) leak.drg = drg;
    }
    if (stays < SUPPORT) return leak;
    double sums[3] = {0};
    for (size_t i = 0; i < count; i++) {
        const uint32_t stay = group[i].stay;
        if ((i > 0 && stay == group[i - 1].stay) || sample->drgs[stay] != leak.drg) continue;
        sums[0] += sample->context[stay];
        sums[1] += sample->single[stay];
        sums[2] += sample->joint[stay];
        leak.example = group[i];
    }
    const bool about_codes = own * 10 > stays;
    const double hits = (double)counts[leak.drg];
    leak.support = stays;
    leak.bound = lower_bound(hits, (double)stays);
    /* A word is of one code's wording, a phrase may join two. */
    leak.allowed = (about_codes ? sums[group->words > 1 ? 2 : 1] : sums[0]) / hits;
    leak.excess = leak.bound - leak.allowed;
    return leak;
}

/* The number of leaks; the worst go to `worst` [WORST]. */
static size_t find_leaks(struct sample *sample, struct leak *worst) {
    struct occurrences *grams = &sample->grams;
    size_t leaks = 0;
    grams->count = 0;
    for (uint32_t s = 0; s < sample->stays; s++) collect_grams(sample, s);
    qsort(grams->items, grams->count, sizeof *grams->items, compare);
    for (size_t i = 0; i < WORST; i++) worst[i] = (struct leak){.excess = 0};
    for (size_t from = 0, to; from < grams->count; from = to) {
        for (to = from; to < grams->count && grams->items[to].key == grams->items[from].key;) to++;
        const struct leak leak = judge(sample, grams->items + from, to - from);
        leaks += leak.excess > tolerance;
        keep_worst(worst, leak);
    }
    return leaks;
}

/* Stays with their courses, written by authors who neither shorten nor misspell: what leaks then leaks always. */
static void draw_sample(struct sample *sample, uint32_t stays, uint64_t seed, double temper) {
    static const double split[] = {1, 0, 0};
    const struct note_style style = {.words = 150, .misspells = 0, .abbreviates = 0, .tell = TELL_ALL};
    struct profile_weights weights;
    struct error error = {0};
    sample->stays = stays;
    sample->courses = memory_zero(stays, sizeof *sample->courses);
    sample->all = memory_zero(stays, sizeof *sample->all);
    sample->drgs = memory_zero(stays, sizeof *sample->drgs);
    sample->single = memory_zero(stays, sizeof(double));
    sample->joint = memory_zero(stays, sizeof(double));
    sample->context = memory_zero(stays, sizeof(double));
    if (!profile_weights_make(&weights, &sample->knowledge, temper, &error)) fail_msg("%s", error.message);
    for (uint32_t s = 0; s < stays; s++) {
        struct synthetic_stay *stay = &sample->all[s];
        struct text note = {0};
        struct span course;
        struct rng rng;
        const struct patient patient = patient_draw(seed, s, weights.obstetric, split);
        stay->female = patient_is_female(&patient);
        stay->age = patient.age;
        rng_seed_stream(&rng, seed, 77, s);
        synthetic_stay_draw(stay, &sample->knowledge, &weights, patient.kind, &rng);
        const struct discharge_rules rules = synthetic_stay_rules(&sample->knowledge, stay);
        stay->admission =
            admission_draw(&patient, 1, true, stay->days,
                           stay->profile->drg->type == DRG_SURGICAL && stay->procedure_count > 0, &rules, &rng);
        synthetic_stay_draw_procedure_days(stay, &rng);
        synthetic_note_write(&note, &course, &sample->knowledge, stay, &style, &rng);
        if (note.failed) fail_msg("out of memory");
        text_append(&sample->courses[s], note.data + course.start, course.end - course.start);
        sample->drgs[s] = stay->profile->drg->code;
        text_free(&note);
    }
    profile_weights_free(&weights);
    measure_units(sample);
}

static void free_sample(struct sample *sample) {
    for (uint32_t s = 0; s < sample->stays; s++) text_free(&sample->courses[s]);
    memory_free(sample->courses);
    memory_free(sample->all);
    memory_free(sample->drgs);
    memory_free(sample->single);
    memory_free(sample->joint);
    memory_free(sample->context);
    memory_free(sample->grams.items);
}

static void print_leaks(const struct sample *sample, const struct leak *worst) {
    for (size_t i = 0; i < WORST && worst[i].excess > tolerance; i++) {
        const struct text *course = &sample->courses[worst[i].example.stay];
        const size_t at = worst[i].example.at, left = course->length - at;
        print_message("DRG %03d: at least %.2f of %zu stays, %.2f by its codes: \"%.*s\"\n", worst[i].drg,
                      worst[i].bound, worst[i].support, worst[i].allowed, (int)(left < 40 ? left : 40),
                      course->data + at);
    }
}

/* CASEMIX_LEAK_STAYS and CASEMIX_LEAK_SEED: a larger measurement, and another. */
static uint64_t wish(const char *name, uint64_t otherwise) {
    const char *value = getenv(name);
    return value == NULL ? otherwise : strtoull(value, NULL, 10);
}

static struct sample shared;

static int make_sample(void **state) {
    (void)state;
    struct error error = {0};
    if (!knowledge_load(&shared.knowledge, "data/synth", NULL, &error)) return -1;
    draw_sample(&shared, (uint32_t)wish("CASEMIX_LEAK_STAYS", 6000), wish("CASEMIX_LEAK_SEED", 3), 0.6);
    return 0;
}

static int drop_sample(void **state) {
    (void)state;
    free_sample(&shared);
    knowledge_free(&shared.knowledge);
    return 0;
}

static void no_phrase_says_more_than_its_condition(void **state) {
    (void)state;
    struct leak worst[WORST];
    const size_t leaks = find_leaks(&shared, worst);
    print_leaks(&shared, worst);
    if (leaks > 0) fail_msg("%zu words or phrases identify a DRG better than the conditions they stand for", leaks);
}

/* The measurement itself must see a leak: a new word, and a sentence of usual words, put into the courses of one DRG.
 */
static void a_planted_phrase_is_found(void **state) {
    (void)state;
    static const char *const planted[] = {" Zebra was noted.", " Stable vitals the team reviewed twice daily."};
    size_t counts[1000] = {0};
    int drg = 0;
    for (uint32_t s = 0; s < shared.stays; s++) {
        if (++counts[shared.drgs[s]] > counts[drg]) drg = shared.drgs[s];
    }
    for (size_t p = 0; p < 2; p++) {
        struct leak worst[WORST];
        for (uint32_t s = 0; s < shared.stays; s++) {
            if (shared.drgs[s] == drg) text_add(&shared.courses[s], planted[p]);
        }
        find_leaks(&shared, worst);
        assert_true(worst[0].excess > 0.1);
        assert_int_equal(worst[0].drg, drg);
        for (uint32_t s = 0; s < shared.stays; s++) {
            if (shared.drgs[s] == drg) shared.courses[s].length -= strlen(planted[p]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_phrase_says_more_than_its_condition),
        cmocka_unit_test(a_planted_phrase_is_found),
    };
    return cmocka_run_group_tests(tests, make_sample, drop_sample);
}
