/* Evidence: the words of a note that carry a DRG.
 *
 * Three methods. *Integrated gradients* (Sundararajan, Taly and Yan 2017) lead the logit from an empty text, whose
 * tokens all have the baseline's embedding, to the note, and add up what each token contributes on the way: the sum of
 * all scores is the difference of the two logits, up to the error of the quadrature, which is reported. *Occlusion*
 * removes each word, and each clause, and measures how far the logit falls. *Attention* is CAML's own.
 *
 * Positive scores speak for the DRG; all are at the card's temperature. Occlusion explains log p / (1 - p): the score
 * that the network gives a DRG may stay where it is when the deciding word goes, and those of its rivals rise.
 * Gradients explain the network's own score: the words that they name then carry more of the prediction
 * (docs/evidence.md). Attention has shares of 1 instead. Tokens are merged to words and clauses (note_words.h), with
 * byte offsets in the note as it was given. */
#ifndef CASEMIX_EVAL_EVIDENCE_H
#define CASEMIX_EVAL_EVIDENCE_H

#include "drg/note.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct classifier;
struct error;
struct text;

enum evidence_method { EVIDENCE_GRADIENTS, EVIDENCE_OCCLUSION, EVIDENCE_ATTENTION, EVIDENCE_METHODS };

/* "gradients", "occlusion", "attention". */
const char *evidence_method_name(enum evidence_method method);
bool evidence_method_parse(const char *name, enum evidence_method *method, struct error *error);

/* log p / (1 - p) of a label from the scores of all, [count], divided by the temperature. */
double evidence_logit(const float *scores, size_t count, int32_t label, float temperature);

/* A word or clause of the note. */
struct evidence_part {
    size_t start, end; /* bytes of the note */
    float score;
    bool marked;   /* of a word: among the tenth of all words that speak loudest for the DRG */
    size_t clause; /* of a word: its clause */
};

struct evidence {
    enum evidence_method method;
    int32_t label;                  /* what is explained */
    float p;                        /* its probability */
    double logit, reference;        /* what is explained of the note, and of the text that gradients start from */
    double sum;                     /* of the scores of all tokens, also of those in no word */
    struct evidence_part *words;    /* [word_count] that the model has read, in the order of the note */
    struct evidence_part *clauses;  /* [clause_count] */
    struct evidence_part *spans;    /* [span_count] marked words, neighbours merged, by falling score */
    const int32_t *ids;             /* [tokens] as the model has read them */
    const struct span *word_tokens; /* [word_count] the tokens first … end - 1 that touch each word */
    size_t word_count, clause_count, span_count;
    int64_t tokens;
    bool truncated;
};

/* Where evidence is sought: working memory of one thread, which grows with the longest note seen. The classifier is
 * borrowed and not changed; several finders may use it at once. */
struct evidence_finder;

/* A method that the model does not allow is an error. */
bool evidence_finder_open(struct evidence_finder **finder, const struct classifier *classifier,
                          enum evidence_method method, struct error *error);
void evidence_finder_close(struct evidence_finder *finder);

/* Evidence for a label (-1: the likeliest) in a stretch of a note, usually its hospital course. What *evidence points
 * to belongs to the finder and lasts until its next call. */
bool evidence_find(struct evidence_finder *finder, const char *note, struct span section, int32_t label,
                   struct evidence *evidence, struct error *error);

/* Appends members of a JSON object: "evidence" [{start, end, score}…] the spans, "clauses" likewise in the order of the
 * note, and "evidence_of" {drg, method, p, logit, of gradients also reference and sum}. */
void evidence_add_json(struct text *out, const struct evidence *evidence, int drg);

#endif
