/* A classifier of notes: everything that `predict` and `eval` need, opened from one directory.
 *
 * The directory is a run: a full model (config.json, model.safetensors: a decoder, BERT, CAML or linear) or a PEFT
 * adapter, with the tokenizer's files (CAML, linear: words.txt) and casemix.json (task, grouper, the DRG of each label,
 * base model and its hash, token limit, what part of the note is read). */
#ifndef CASEMIX_MODEL_CLASSIFIER_H
#define CASEMIX_MODEL_CLASSIFIER_H

#include "data/dataset.h"
#include "drg/catalog.h"
#include "drg/note.h"
#include "model/network.h"
#include "model/text_reader.h"
#include "tensor/compute.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* casemix.json. Written by training, read by everything that uses a run. */
struct run_card {
    /* "classify": a score for each of `labels`; "two_label": for each base DRG and severity; "generate": the model
     * writes, and labels may be empty. */
    char task[32];
    enum grouper grouper;
    int64_t max_tokens;        /* of a text */
    struct text_window window; /* what is kept of a longer one */
    bool whole_note;           /* the whole note is read, not its hospital course */
    int64_t bases;             /* two_label: base DRGs, then come TWO_LABEL_SEVERITIES; else 0 */
    char base[1024];           /* adapter runs: directory of the base model, absolute or relative to the run */
    char base_hash[65];        /* SHA-256 of the base's config.json and weight file headers; "" for a full model */
    char recipe[4096];         /* name of the recipe as run */
    double temperature;        /* divides the logits (`casemix eval --calibrate`); 0: none was fitted */
    struct labels labels;      /* the DRGs that are ranked; of two labels all that the grouper has */
};
bool run_card_load(struct run_card *card, const char *directory, struct error *error);
bool run_card_write(const struct run_card *card, const char *directory, struct error *error);
/* Where the base model of an adapter run lies: the run names it relative to itself, or absolutely. */
bool run_card_base(const struct run_card *card, const char *directory, char *base, size_t capacity,
                   struct error *error);
void run_card_free(struct run_card *card);

struct classifier {
    struct run_card card;
    struct decoder decoder; /* one of these three, by what config.json says… */
    struct encoder encoder;
    struct caml caml;
    struct linear_bag linear_bag;
    struct network network; /* …and its functions */
    struct tokenizer *tokenizer;
    struct words *words;       /* of CAML and linear, instead of a tokenizer */
    struct text_reader reader; /* over either of them */
    const struct catalog *catalog;
};

bool classifier_open(struct classifier *classifier, const char *directory, struct error *error);
void classifier_close(struct classifier *classifier);

/* Chooses the kernels (compute_start) and, for COMPUTE_INT8, quantises the weights; `int8_cache` as in
 * model/quantise.h, NULL for none, allowed with COMPUTE_INT8 only. */
bool classifier_compute(struct classifier *classifier, enum compute_type type, const char *int8_cache,
                        struct error *error);

/* Token ids of a text as the classifier reads it: cut to max_tokens. *truncated says whether tokens were dropped. An
 * empty encoding is an error. */
bool classifier_encode(const struct classifier *classifier, const char *text, size_t length, struct token_list *out,
                       bool *truncated, struct error *error);

/* The same, and the bytes of the text that each token stands for. */
bool classifier_encode_spans(const struct classifier *classifier, const char *text, size_t length,
                             struct token_list *out, struct token_spans *spans, bool *truncated, struct error *error);

/* What of a discharge summary the classifier reads: its hospital course, or all of it where the run was trained on
 * whole notes or there is no course. False when there is no course and one was wanted. */
bool classifier_section(const struct classifier *classifier, const char *note, size_t length, struct span *section);

/* A note to be coded. */
struct note {
    const char *text;
    size_t length;
};

/* Scores of the network for a text: one for each label, or, of two labels, the bases and then the severities. */
size_t classifier_width(const struct classifier *classifier);

/* Logits [count, labels], divided by the card's temperature, for many texts (already the part of the note that is to be
 * read), packed into batches of up to `batch_tokens` (0: 4096) tokens. token_counts, truncated: [count] or NULL. Calls
 * progress (may be NULL) after each batch with the notes done so far. */
bool classifier_logits(const struct classifier *classifier, const struct note *notes, size_t count,
                       int64_t batch_tokens, float *logits, int32_t *token_counts, bool *truncated,
                       void (*progress)(void *context, size_t done), void *context, struct error *error);

/* The same as the network gives them, [count, width]; the logits of a two-label model's DRGs come from these by
 * classifier_compose: score of the base + score of the severity, so that their softmax is the product of the two
 * probabilities over the pairs that exist, renormalised. logits may be outputs where the task is classify. */
bool classifier_outputs(const struct classifier *classifier, const struct note *notes, size_t count,
                        int64_t batch_tokens, float *outputs, int32_t *token_counts, bool *truncated,
                        void (*progress)(void *context, size_t done), void *context, struct error *error);
void classifier_compose(const struct classifier *classifier, const float *outputs, size_t count, float *logits);

/* What a two-label model's heads say each by itself about one note, and the DRG that DRG-LLaMA's rule makes of it
 * (catalog_resolve). */
struct two_label_answer {
    int base, severity; /* likeliest */
    double base_p, severity_p;
    const struct drg *drg;
};
struct two_label_answer classifier_rule(const struct classifier *classifier, const float *outputs);

#endif
