/* From the tokens of a note to scored words and clauses: see evidence.h. */
#include "eval/evidence.h"
#include "base/error.h"
#include "base/memory.h"
#include "eval/evidence_finder.h"
#include "model/ranking.h"
#include "tensor/kernels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const method_names[] = {"gradients", "occlusion", "attention"};

const char *evidence_method_name(enum evidence_method method) {
    return method_names[method];
}

bool evidence_method_parse(const char *name, enum evidence_method *method, struct error *error) {
    for (int m = 0; m < EVIDENCE_METHODS; m++) {
        if (strcmp(name, method_names[m]) != 0) continue;
        *method = (enum evidence_method)m;
        return true;
    }
    return error_usage(error, "evidence is found by gradients, occlusion or attention, not \"%s\"", name);
}

/* The token whose repetition is the empty text: a line feed, which models know and which says nothing. Zero embeddings
 * would be a text that no model has seen: RMSNorm scales them up however short they are, so that all of the way's
 * change falls into its first thousandth, and twelve points miss half of it (on synthetic notes the scores' sum was off
 * by 58 % of the difference, with line feeds by 3 %). A tokenizer that drops line feeds has a padding token, and the
 * padding of CAML is zero by definition. */
static bool find_neutral(struct evidence_finder *finder, struct error *error) {
    const struct classifier *classifier = finder->classifier;
    struct token_list list = {0};
    finder->neutral = WORD_PADDING;
    if (classifier->tokenizer == NULL) return true;
    const bool done = tokenizer_encode_content(classifier->tokenizer, "\n", 1, false, &list, error);
    const int32_t padding = tokenizer_token_id(classifier->tokenizer, "[PAD]");
    finder->neutral = done && list.count > 0 ? list.ids[list.count - 1] : padding >= 0 ? padding : 0;
    token_list_free(&list);
    return done;
}

bool evidence_finder_open(struct evidence_finder **out, const struct classifier *classifier,
                          enum evidence_method method, struct error *error) {
    if (method == EVIDENCE_ATTENTION && classifier->network.family != NETWORK_CAML) {
        error_set(error, "attention is evidence in a CAML model, and this is none");
        return error_hint(error, "take gradients or occlusion");
    }
    struct evidence_finder *finder = memory_zero(1, sizeof *finder);
    if (finder == NULL) return memory_error(error, sizeof *finder, "evidence");
    finder->classifier = classifier;
    finder->method = method;
    finder->tolerance = PATH_TOLERANCE;
    finder->most_points = PATH_POINTS_LIMIT;
    finder->composed = memory_alloc(classifier->card.labels.count, sizeof *finder->composed);
    finder->temperature = classifier->card.temperature > 0 ? (float)classifier->card.temperature : 1;
    if (finder->composed == NULL ? !memory_error(error, sizeof *finder, "evidence") : !find_neutral(finder, error)) {
        evidence_finder_close(finder);
        return false;
    }
    *out = finder;
    return true;
}

static void close_run(struct evidence_finder *finder) {
    if (finder->run != NULL) finder->classifier->network.call->run_close(finder->run);
    void *const owned[] = {finder->packed, finder->offsets, finder->parents, finder->logits};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
    finder->run = NULL;
    finder->packed = finder->offsets = finder->parents = NULL;
    finder->logits = NULL;
    finder->run_T = finder->run_N = 0;
}

void evidence_finder_close(struct evidence_finder *finder) {
    if (finder == NULL) return;
    close_run(finder);
    if (finder->path != NULL) finder->classifier->network.call->run_close(finder->path);
    token_list_free(&finder->tokens);
    token_spans_free(&finder->origins);
    note_words_free(&finder->parts);
    void *const owned[] = {finder->word_tokens, finder->clause_tokens, finder->words,    finder->clauses,
                           finder->spans,       finder->token_scores,  finder->note,     finder->baseline,
                           finder->between,     finder->gradient,      finder->d_logits, finder->composed};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
    memory_free(finder);
}

bool finder_reserve(struct evidence_finder *finder, int64_t T, int64_t N, struct error *error) {
    const struct network *network = &finder->classifier->network;
    const size_t width = classifier_width(finder->classifier);
    if (T <= finder->run_T && N <= finder->run_N) return true;
    if (T < finder->run_T) T = finder->run_T;
    if (N < finder->run_N) N = finder->run_N;
    close_run(finder);
    if (!network->call->run_open(&finder->run, network->model, T, N, false, error)) return false;
    finder->packed = memory_alloc((size_t)T, sizeof *finder->packed);
    finder->offsets = memory_alloc((size_t)N + 1, sizeof *finder->offsets);
    finder->parents = memory_alloc((size_t)N, sizeof *finder->parents);
    finder->logits = memory_alloc((size_t)N, width * sizeof *finder->logits);
    if (finder->packed == NULL || finder->offsets == NULL || finder->parents == NULL || finder->logits == NULL) {
        close_run(finder);
        return memory_error(error, (size_t)N * width * sizeof(float), "evidence");
    }
    finder->offsets[0] = 0;
    finder->run_T = T;
    finder->run_N = N;
    return true;
}

void finder_forward(struct evidence_finder *finder, int64_t T, int64_t N, bool shared, const float *embedded) {
    const struct network *network = &finder->classifier->network;
    const struct batch batch = {.T = T,
                                .N = N,
                                .tokens = finder->packed,
                                .offsets = finder->offsets,
                                .parents = shared ? finder->parents : NULL,
                                .embedded = embedded};
    network->call->forward(network->model, finder->run, &batch, 0, finder->logits);
}

size_t finder_rows(const struct evidence_finder *finder, int32_t label, size_t rows[2]) {
    const struct classifier *classifier = finder->classifier;
    rows[0] = (size_t)label;
    if (classifier->card.bases == 0) return 1;
    const struct drg *drg = catalog_find(classifier->catalog, classifier->card.labels.codes[label]);
    rows[0] = (size_t)drg->base;
    rows[1] = (size_t)(classifier->card.bases + two_label_severity(drg));
    return 2;
}

double evidence_logit(const float *scores, size_t count, int32_t label, float temperature) {
    float largest = -INFINITY;
    double sum = 0;
    for (size_t c = 0; c < count; c++) largest = c != (size_t)label && scores[c] > largest ? scores[c] : largest;
    if (count == 1) return 0;
    for (size_t c = 0; c < count; c++)
        sum += c == (size_t)label ? 0 : exp((double)((scores[c] - largest) / temperature));
    return (double)((scores[label] - largest) / temperature) - log(sum);
}

/* Scores of the DRGs from row n of the last forward. */
static const float *compose_row(const struct evidence_finder *finder, int64_t n) {
    const struct classifier *classifier = finder->classifier;
    classifier_compose(classifier, finder->logits + (size_t)n * classifier_width(classifier), 1, finder->composed);
    return finder->composed;
}

double finder_logit(const struct evidence_finder *finder, int64_t n, int32_t label) {
    return evidence_logit(compose_row(finder, n), finder->classifier->card.labels.count, label, finder->temperature);
}

double finder_score(const struct evidence_finder *finder, int64_t n, int32_t label) {
    const float *scores = finder->logits + (size_t)n * classifier_width(finder->classifier);
    double sum = 0;
    size_t rows[2];
    for (size_t i = finder_rows(finder, label, rows); i-- > 0;) sum += (double)(scores[rows[i]] / finder->temperature);
    return sum;
}

void finder_score_gradient(const struct evidence_finder *finder, float *d_scores, int32_t label) {
    size_t rows[2];
    for (size_t i = finder_rows(finder, label, rows); i-- > 0;) d_scores[rows[i]] += 1 / finder->temperature;
}

/* The tokens that touch each word: both lie in the order of the text. Words behind the last token were not read. */
static bool find_word_tokens(struct evidence_finder *finder, struct error *error) {
    struct note_words *parts = &finder->parts;
    const struct byte_span *spans = finder->origins.items;
    const size_t T = finder->tokens.count;
    size_t first = 0, kept = 0;
    if (!memory_grow(&finder->word_tokens, &finder->word_tokens_capacity, parts->count, sizeof *finder->word_tokens,
                     error))
        return false;
    for (size_t w = 0; w < parts->count; w++) {
        const struct span word = parts->words[w];
        while (first < T && spans[first].end <= word.start) first++;
        size_t end = first;
        while (end < T && spans[end].start < word.end && (spans[end].end > word.start)) end++;
        if (end == first) continue;
        finder->word_tokens[kept] = (struct span){first, end};
        parts->words[kept] = word;
        parts->clause_of[kept++] = parts->clause_of[w];
    }
    parts->count = kept;
    return true;
}

/* A clause has the tokens from its first word's first to its last word's last. Clauses that were not read go. */
static bool find_clause_tokens(struct evidence_finder *finder, struct error *error) {
    struct note_words *parts = &finder->parts;
    size_t kept = 0;
    if (!memory_grow(&finder->clause_tokens, &finder->clause_tokens_capacity, parts->clause_count,
                     sizeof *finder->clause_tokens, error))
        return false;
    for (size_t w = 0; w < parts->count;) {
        const size_t clause = parts->clause_of[w], first = w;
        for (; w < parts->count && parts->clause_of[w] == clause; w++) parts->clause_of[w] = kept;
        finder->clause_tokens[kept] = (struct span){finder->word_tokens[first].start, finder->word_tokens[w - 1].end};
        parts->clauses[kept++] = (struct span){parts->words[first].start, parts->words[w - 1].end};
    }
    parts->clause_count = kept;
    return true;
}

static bool make_parts(struct evidence_finder *finder, size_t offset, struct error *error) {
    const struct note_words *parts = &finder->parts;
    if (!memory_grow(&finder->words, &finder->word_capacity, parts->count, sizeof *finder->words, error) ||
        !memory_grow(&finder->spans, &finder->span_capacity, parts->count, sizeof *finder->spans, error) ||
        !memory_grow(&finder->clauses, &finder->clause_capacity, parts->clause_count, sizeof *finder->clauses, error) ||
        !memory_grow(&finder->token_scores, &finder->score_capacity, finder->tokens.count, sizeof *finder->token_scores,
                     error))
        return false;
    for (size_t w = 0; w < parts->count; w++)
        finder->words[w] = (struct evidence_part){.start = offset + parts->words[w].start,
                                                  .end = offset + parts->words[w].end,
                                                  .clause = parts->clause_of[w]};
    for (size_t c = 0; c < parts->clause_count; c++)
        finder->clauses[c] =
            (struct evidence_part){.start = offset + parts->clauses[c].start, .end = offset + parts->clauses[c].end};
    return true;
}

static bool read_note(struct evidence_finder *finder, const char *note, struct span section, bool *truncated,
                      struct error *error) {
    const char *text = note + section.start;
    const size_t length = section.end - section.start;
    finder->tokens.count = finder->origins.count = 0;
    return classifier_encode_spans(finder->classifier, text, length, &finder->tokens, &finder->origins, truncated,
                                   error) &&
           note_words_find(&finder->parts, text, length, error) && find_word_tokens(finder, error) &&
           find_clause_tokens(finder, error) && make_parts(finder, section.start, error);
}

/* The note's own logits, and the label that is explained. */
static bool score_note(struct evidence_finder *finder, int32_t label, struct evidence *evidence, struct error *error) {
    const int64_t T = (int64_t)finder->tokens.count;
    const size_t labels = finder->classifier->card.labels.count;
    struct ranked best;
    if (!finder_reserve(finder, T, 1, error)) return false;
    memcpy(finder->packed, finder->tokens.ids, (size_t)T * sizeof *finder->packed);
    finder->offsets[1] = (int32_t)T;
    const struct network *network = &finder->classifier->network;
    const struct batch batch = {.T = T, .N = 1, .tokens = finder->packed, .offsets = finder->offsets};
    if (!network->call->check(network->model, finder->run, &batch, error)) return false;
    finder_forward(finder, T, 1, false, NULL);
    ranking_top(compose_row(finder, 0), labels, &best, 1);
    evidence->label = label < 0 ? best.label : label;
    const double logit = finder_logit(finder, 0, evidence->label);
    evidence->logit = finder->method == EVIDENCE_GRADIENTS ? finder_score(finder, 0, evidence->label) : logit;
    if (finder->method == EVIDENCE_ATTENTION) finder_attend(finder, evidence);
    evidence->p = (float)(1 / (1 + exp(-logit)));
    return true;
}

static size_t overlap(struct byte_span token, struct span word) {
    const size_t start = token.start > word.start ? token.start : word.start,
                 end = token.end < word.end ? token.end : word.end;
    return end > start ? end - start : 0;
}

/* A token's score goes to the words that it touches, by their bytes in it. */
static void share_among_words(struct evidence_finder *finder) {
    const struct note_words *parts = &finder->parts;
    size_t first = 0;
    for (size_t t = 0; t < finder->tokens.count; t++) {
        size_t bytes = 0;
        while (first < parts->count && finder->word_tokens[first].end <= t) first++;
        for (size_t w = first; w < parts->count && finder->word_tokens[w].start <= t; w++)
            bytes += overlap(finder->origins.items[t], parts->words[w]);
        for (size_t w = first; bytes > 0 && w < parts->count && finder->word_tokens[w].start <= t; w++)
            finder->words[w].score +=
                finder->token_scores[t] * (float)overlap(finder->origins.items[t], parts->words[w]) / (float)bytes;
    }
}

/* A clause has the scores of all tokens from its first word up to the next clause, punctuation included. */
static void share_among_clauses(struct evidence_finder *finder) {
    size_t clause = 0;
    const size_t count = finder->parts.clause_count;
    for (size_t t = 0; count > 0 && t < finder->tokens.count; t++) {
        while (clause + 1 < count && finder->clause_tokens[clause + 1].start <= t) clause++;
        if (t >= finder->clause_tokens[clause].start) finder->clauses[clause].score += finder->token_scores[t];
    }
}

static int by_falling_score(const void *a, const void *b) {
    const struct evidence_part *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->start > y->start) - (x->start < y->start);
}

/* Marks a tenth of the words, rounded up: those of the highest scores, as far as they are positive. */
static void mark_words(struct evidence *evidence) {
    size_t left = (evidence->word_count + 9) / 10;
    for (; left > 0; left--) {
        struct evidence_part *best = NULL;
        for (size_t w = 0; w < evidence->word_count; w++) {
            struct evidence_part *word = &evidence->words[w];
            if (!word->marked && word->score > 0 && (best == NULL || word->score > best->score)) best = word;
        }
        if (best == NULL) return;
        best->marked = true;
    }
}

/* Marked words that follow one another in a clause are one span, scores added; by falling score. */
static void merge_words(struct evidence_finder *finder, struct evidence *evidence) {
    size_t count = 0;
    for (size_t w = 0; w < evidence->word_count; w++) {
        const struct evidence_part *word = &evidence->words[w];
        if (!word->marked) continue;
        if (w > 0 && word[-1].marked && word[-1].clause == word->clause) {
            finder->spans[count - 1].end = word->end;
            finder->spans[count - 1].score += word->score;
        } else {
            finder->spans[count++] = *word;
        }
    }
    if (count > 0) qsort(finder->spans, count, sizeof *finder->spans, by_falling_score);
    evidence->spans = finder->spans;
    evidence->span_count = count;
}

bool evidence_find(struct evidence_finder *finder, const char *note, struct span section, int32_t label,
                   struct evidence *evidence, struct error *error) {
    *evidence = (struct evidence){.method = finder->method};
    if (!read_note(finder, note, section, &evidence->truncated, error) || !score_note(finder, label, evidence, error))
        return false;
    evidence->tokens = (int64_t)finder->tokens.count;
    evidence->ids = finder->tokens.ids;
    evidence->words = finder->words;
    evidence->clauses = finder->clauses;
    evidence->word_count = finder->parts.count;
    evidence->clause_count = finder->parts.clause_count;
    evidence->word_tokens = finder->word_tokens;
    if (finder->method == EVIDENCE_OCCLUSION) {
        if (!finder_occlude(finder, evidence, error)) return false;
    } else {
        if (finder->method == EVIDENCE_GRADIENTS && !finder_integrate(finder, evidence, error)) return false;
        for (size_t t = 0; t < finder->tokens.count; t++) evidence->sum += (double)finder->token_scores[t];
        share_among_words(finder);
        share_among_clauses(finder);
    }
    mark_words(evidence);
    merge_words(finder, evidence);
    return true;
}
