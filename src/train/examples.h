/* Prompts with their completions as token ids, in memory: what a model that writes is trained on.
 *
 * An example has one completion (fine-tuning), two (a preference: chosen, rejected) or, as plain text to be learned
 * whole, an empty prompt and one completion. Texts become ids in blocks, by all threads; the order stays that of the
 * file. */
#ifndef CASEMIX_TRAIN_EXAMPLES_H
#define CASEMIX_TRAIN_EXAMPLES_H

#include "base/memory.h"
#include "model/prompt_encoder.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum { EXAMPLE_COMPLETIONS = 2 }; /* at most */

struct examples {
    int64_t completions; /* of each example */
    int32_t *tokens;     /* end to end: of each example its prompt, then its completions */
    int64_t *starts;     /* [count * (1 + completions) + 1] */
    size_t count;
    size_t cut;     /* their note lost words, so that prompt and completion fit */
    size_t dropped; /* not among them: longer than max_tokens */
    uint64_t fingerprint;
    size_t token_capacity, start_capacity;
};

/* Ids that lie somewhere. */
struct token_span {
    const int32_t *ids;
    int64_t count;
};
/* Part 0 of example i is its prompt, part 1 its completion or the chosen one, part 2 the rejected one. */
struct token_span examples_part(const struct examples *examples, size_t i, int64_t part);
/* Tokens of all parts of example i. */
int64_t examples_length(const struct examples *examples, size_t i);
/* Tokens of the longest example, all parts; and of the longest sequence, which is a prompt with one completion. */
int64_t examples_longest(const struct examples *examples);
int64_t examples_positions(const struct examples *examples);

/* How texts become ids. What it points to is borrowed. */
struct example_reader {
    const struct prompt_encoder *encoder; /* its tokenizer, its chat form, and the prompt of stays */
    int32_t end;                          /* ends a completion behind plain text */
    int64_t max_tokens;                   /* of a prompt with its longest completion */
};

/* One example as text; strings are borrowed. Exactly one of the prompt's forms is there, or none (plain text alone). */
struct example_text {
    uint64_t line;                    /* in its file, for messages */
    const struct chat_message *turns; /* a conversation, through the chat form… */
    size_t turn_count;
    const char *prompt;                   /* …or text that is taken as it stands… */
    const struct prompt_values *values;   /* …or a stay, asked by the encoder's prompt */
    const struct prompt_encoder *encoder; /* NULL: the reader's */
    const char *completions[EXAMPLE_COMPLETIONS];
};

/* Gathers texts and encodes them block by block. */
struct examples_writer;

/* `path` stands in messages. The examples are emptied; they are complete after examples_writer_finish, which releases
 * the writer, too. `done` false: something has failed before, and the examples are freed. */
bool examples_writer_open(struct examples_writer **writer, struct examples *examples, int64_t completions,
                          const struct example_reader *reader, const char *path, struct error *error);
/* Memory for the strings of the example to be added next; it lasts until that is encoded. */
struct arena *examples_writer_arena(struct examples_writer *writer);
bool examples_writer_add(struct examples_writer *writer, const struct example_text *text, struct error *error);
bool examples_writer_finish(struct examples_writer *writer, bool done, struct error *error);

void examples_free(struct examples *examples);

#endif
