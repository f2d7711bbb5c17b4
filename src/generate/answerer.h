/* A model that answers questions about stays in words: everything that rationales, prediction, evaluation and serving
 * need of it, opened from one directory, and many questions asked at once.
 *
 * The directory is a run that writes (casemix.json with task "generate": its grouper, base model and prompt.txt hold)
 * or a Hugging Face directory with a causal decoder. */
#ifndef CASEMIX_GENERATE_ANSWERER_H
#define CASEMIX_GENERATE_ANSWERER_H

#include "drg/catalog.h"
#include "drg/prompt.h"
#include "generate/generator.h"
#include "generate/title_trie.h"
#include "model/decoder.h"
#include "model/prompt_encoder.h"
#include "tensor/compute.h"
#include "tokenizer/tokenizer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct answerer_settings {
    const char *model, *adapter; /* directory; a PEFT adapter over it, or NULL */
    const char *prompt;          /* a prompt's name or file; NULL: the one that a run keeps, else `otherwise` */
    const char *otherwise;
    const enum grouper *grouper; /* NULL: the run's own, else v34 */
    bool titles;                 /* answers are kept to titles, or scored: the tree of titles is made */
    enum compute_type compute;
    const char *int8_cache; /* as in model/quantise.h; NULL: none */
};

struct answerer {
    struct decoder decoder;
    struct tokenizer *tokenizer;
    struct prompt prompt;
    struct prompt_encoder encoder;
    const struct catalog *catalog;
    struct title_trie trie;
    int64_t window; /* tokens of a prompt and its completion at most: the model's positions, or fewer as a run says */
};

/* Whether `predict` and `eval` should take the directory as one that writes: a run that says so, or a Hugging Face
 * directory without casemix.json whose decoder is no classifier. Anything that cannot be read is not. */
bool answerer_fits(const char *directory);

bool answerer_open(struct answerer *answerer, const struct answerer_settings *settings, struct error *error);
void answerer_close(struct answerer *answerer); /* a zeroed one is fine */

/* One continuation. */
struct answer {
    struct text text;       /* without what ended it */
    struct token_list ids;  /* as sampled, the stop token included */
    double log_probability; /* of all its tokens together, under the model's own distribution */
    enum generation_end end;
};

/* Takes the answers [samples] to a question; `name` and `tag` are those it was asked under, `prompt` its ids. They are
 * gone afterwards. */
struct question;
typedef bool answered_function(void *context, const struct question *question, struct error *error);
struct question {
    char *name;
    size_t tag;
    struct token_list prompt;
    bool cut;               /* the note lost words */
    struct answer *answers; /* [samples] */
    size_t samples, ended;
    int64_t id;
    bool failed; /* memory was short */
};

struct asking_settings {
    int64_t samples;    /* answers to each question */
    int64_t max_tokens; /* of an answer */
    int64_t batch;      /* answers under way at once, at least */
    struct sampling sampling;
    uint64_t seed; /* question n (from 0) draws from streams of seed + n */
    bool answer_trie;
};

/* Questions under way; answers are handed over in the order in which the questions came. Borrows the answerer. */
struct asking;
bool asking_open(struct asking **asking, const struct answerer *answerer, const struct asking_settings *settings,
                 answered_function *function, void *context, struct error *error);
/* Asks one more; answers to earlier ones may be handed over meanwhile. */
bool asking_put(struct asking *asking, const char *name, size_t tag, const struct prompt_values *values,
                struct error *error);
/* Waits for all that is under way. */
bool asking_finish(struct asking *asking, struct error *error);
void asking_close(struct asking *asking); /* NULL is fine */
/* What the generator has done so far. */
struct generator_counts asking_counts(const struct asking *asking);

/* The ids of a completion up to and with "<answer>\n": what titles are scored behind. Taken from the ids as sampled
 * where they can be cut there, else the reasoning is written out and encoded again. */
bool answer_context(const struct answerer *answerer, const struct answer *answer, struct token_list *out,
                    struct error *error);

#endif
