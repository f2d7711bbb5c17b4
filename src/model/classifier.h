/* A classifier of notes: everything that `predict` and `eval` need, opened from one directory.
 *
 * The directory is a run: a full model (config.json, model.safetensors: a decoder, BERT or CAML) or a PEFT adapter,
 * with the tokenizer's files (CAML: words.txt) and casemix.json (task, grouper, the DRG of each label, base model and
 * its hash, token limit, what part of the note is read). */
#ifndef CASEMIX_MODEL_CLASSIFIER_H
#define CASEMIX_MODEL_CLASSIFIER_H

#include "data/dataset.h"
#include "drg/catalog.h"
#include "model/network.h"
#include "model/text_reader.h"
#include "tensor/compute.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* casemix.json. Written by training, read by everything that uses a run. */
struct run_card {
    char task[32]; /* "classify", or "generate": the model writes, and labels may be empty */
    enum grouper grouper;
    int64_t max_tokens; /* longer texts keep their first max_tokens tokens */
    char base[1024];    /* adapter runs: directory of the base model, absolute or relative to the run */
    char base_hash[65]; /* SHA-256 of the base's config.json and weight file headers; "" for a full model */
    char recipe[4096];  /* name of the recipe as run */
    double temperature; /* divides the logits (`casemix eval --calibrate`); 0: none was fitted */
    struct labels labels;
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
    struct network network; /* …and its functions */
    struct tokenizer *tokenizer;
    struct words *words;       /* of CAML, instead of a tokenizer */
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

/* A note to be coded. */
struct note {
    const char *text;
    size_t length;
};

/* Logits [count, labels], divided by the card's temperature, for many texts (already the part of the note that is to be
 * read), packed into batches of up to `batch_tokens` (0: 4096) tokens. token_counts, truncated: [count] or NULL. Calls
 * progress (may be NULL) after each batch with the notes done so far. */
bool classifier_logits(const struct classifier *classifier, const struct note *notes, size_t count,
                       int64_t batch_tokens, float *logits, int32_t *token_counts, bool *truncated,
                       void (*progress)(void *context, size_t done), void *context, struct error *error);

#endif
