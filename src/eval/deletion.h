/* The deletion test of evidence: whether the words that it names carry the prediction. Without them the probability of
 * the first DRG must fall further than without as many words drawn at random (the "comprehensiveness" of DeYoung et
 * al. 2020, against chance). */
#ifndef CASEMIX_EVAL_DELETION_H
#define CASEMIX_EVAL_DELETION_H

#include "eval/evidence.h"
#include "eval/resample.h"

struct dataset;

enum { DELETION_SHARES = 3, DELETION_DRAWS = 4 };

struct deletion_settings {
    enum evidence_method method;
    size_t stays;                                 /* at most so many, evenly spaced over the dataset */
    size_t resamples;                             /* of the bootstrap by patient */
    uint64_t seed;                                /* of the random words and of the bootstrap */
    void (*progress)(void *context, size_t done); /* may be NULL */
    void *context;
};

/* Means over the stays with 95 % intervals; `lead` is strongest less random, on the same resamples. */
struct deletion_effect {
    struct interval strongest, random, lead;
};

struct deletion_share {
    int percent;                     /* of the words that the model has read, rounded up to whole words */
    struct deletion_effect p, logit; /* what those of the first DRG fall by */
    struct deletion_effect changed;  /* share of the stays that get another first DRG */
};

struct deletion_assessment {
    enum evidence_method method;
    size_t stays, skipped; /* measured; left out for having fewer than ten words */
    double words;          /* of a note in the mean */
    struct deletion_share shares[DELETION_SHARES];
};

/* Words are taken out as tokens, after a note has been cut to what the model reads, so that what was cut off does not
 * move in. Random words: the mean of DELETION_DRAWS draws. No stay of ten words is an error. */
bool deletion_assess(struct deletion_assessment *assessment, const struct classifier *classifier,
                     const struct dataset *dataset, const struct deletion_settings *settings, struct error *error);

/* `, "deletion": {…}`, and a table for people. */
void deletion_add_json(struct text *out, const struct deletion_assessment *assessment);
void deletion_add_text(struct text *out, const struct deletion_assessment *assessment);

#endif
