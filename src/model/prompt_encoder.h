/* The one place where prompts become token ids: rationales, fine-tuning, reinforcement learning, evaluation, prediction
 * and serving all ask here, so that a model is asked in use what it was trained on.
 *
 * With a chat template the prompt is a conversation (tokenizer/chat.h); without one it is plain text: the system
 * section, an empty line, the user's, a line feed, behind the token that the tokenizer puts before a text (Llama's
 * BOS). When prompt and completion together would not fit the window, the note is cut, never the instruction. */
#ifndef CASEMIX_MODEL_PROMPT_ENCODER_H
#define CASEMIX_MODEL_PROMPT_ENCODER_H

#include "drg/prompt.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct prompt_encoder {
    const struct prompt *prompt;
    const struct tokenizer *tokenizer;
    struct chat *chat; /* NULL: plain text */
    int32_t first;     /* plain text: stands before everything; -1: nothing */
    int32_t end;       /* ends a completion: to be trained, and to stop at */
};

/* Borrows prompt and tokenizer. `directory`: where the tokenizer's files lie, and the chat template if there is one;
 * `eos`: the model's end-of-sequence (config.eos_id), which ends a completion in plain text; when it is -1,
 * "<|endoftext|>" or "</s>" do, and a tokenizer with none of them is an error. */
bool prompt_encoder_open(struct prompt_encoder *encoder, const struct prompt *prompt, const struct tokenizer *tokenizer,
                         const char *directory, int32_t eos, struct error *error);
void prompt_encoder_close(struct prompt_encoder *encoder); /* a zeroed one is fine */

/* Appends the ids of the prompt, up to where the completion begins: at most `limit`, which is the window less the room
 * for the completion. A note that is too long keeps as many of its first words as there is room for, and *cut (may be
 * NULL) says so. An instruction that leaves no room for a single word is an error. May be called from many threads. */
bool prompt_encode(const struct prompt_encoder *encoder, const struct prompt_values *values, int64_t limit,
                   struct token_list *out, bool *cut, struct error *error);

/* Appends the ids of a completion and of its end: what is trained behind a prompt. Characters of the completion never
 * become special tokens. */
bool prompt_encode_completion(const struct prompt_encoder *encoder, const char *completion, size_t length,
                              struct token_list *out, struct error *error);

#endif
