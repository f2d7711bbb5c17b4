/* The inside of an evidence finder, shared by its methods. */
#ifndef CASEMIX_EVAL_EVIDENCE_FINDER_H
#define CASEMIX_EVAL_EVIDENCE_FINDER_H

#include "eval/evidence.h"
#include "eval/note_words.h"
#include "model/classifier.h"

/* Tokens that a batch is filled up to, and those of a batch with a backward. */
enum { EVIDENCE_BATCH = 1024, PATH_BATCH = 1024 };

/* Points of the path from the empty text to the note: three times as many, and again, while the sum of the scores is
 * further from the difference of the logits than this share of it (or of 1, if that is more). */
enum { PATH_POINTS = 10, PATH_POINTS_LIMIT = 90 };
#define PATH_TOLERANCE 0.1

struct evidence_finder {
    const struct classifier *classifier;
    enum evidence_method method;
    float temperature;
    int32_t neutral; /* the token of an empty text: see evidence.c */
    /* the note at hand */
    struct token_list tokens;
    struct token_spans origins; /* of each token, in the section */
    struct note_words parts;
    struct span *word_tokens, *clause_tokens; /* [words], [clauses] */
    struct evidence_part *words, *clauses, *spans;
    float *token_scores; /* [tokens] */
    size_t word_capacity, clause_capacity, span_capacity, word_tokens_capacity, clause_tokens_capacity, score_capacity;
    /* forwards of packed variants of the note */
    struct network_run *run;
    int64_t run_T, run_N; /* what it has room for */
    int32_t *packed, *offsets, *parents;
    float *logits;   /* [run_N, classifier_width] as the network gives them */
    float *composed; /* [labels] of one row */
    /* the path */
    double tolerance; /* PATH_TOLERANCE */
    int most_points;  /* PATH_POINTS_LIMIT */
    struct network_run *path;
    int64_t path_T, path_N;
    float *note, *baseline; /* [T, width] embeddings */
    float *between;         /* [path_T, width] */
    float *gradient;        /* [T, width] weighed sum over the path */
    float *d_logits;        /* [path_N, classifier_width] */
};

/* Makes room for batches of T tokens in N sequences. */
bool finder_reserve(struct evidence_finder *finder, int64_t T, int64_t N, struct error *error);

/* One forward of finder->packed (T tokens, N sequences, with parents where `shared`) into finder->logits. */
void finder_forward(struct evidence_finder *finder, int64_t T, int64_t N, bool shared, const float *embedded);

/* The scores of the network that a label's score is the sum of: its own, or of two labels those of its base and its
 * severity. How many. */
size_t finder_rows(const struct evidence_finder *finder, int32_t label, size_t rows[2]);

/* A label's logit (evidence_logit) from row n of the last forward. */
double finder_logit(const struct evidence_finder *finder, int64_t n, int32_t label);

/* The score that the network gives a label in row n, at the card's temperature; and its gradient, added to a row of
 * d_scores. */
double finder_score(const struct evidence_finder *finder, int64_t n, int32_t label);
void finder_score_gradient(const struct evidence_finder *finder, float *d_scores, int32_t label);

/* The methods: each fills token_scores, or the scores of words and clauses. */
bool finder_integrate(struct evidence_finder *finder, struct evidence *evidence, struct error *error);
bool finder_occlude(struct evidence_finder *finder, struct evidence *evidence, struct error *error);
void finder_attend(struct evidence_finder *finder, struct evidence *evidence);

#endif
