/* Chat templates: a conversation as the token ids (or the text) on which a chat model was trained.
 *
 * Built in are ChatML (Qwen2.5), Llama 2 and Llama 3 (3, and 3.1 to 3.3 with their dates). The special tokens that
 * frame the messages are written as ids; what stands in a message never becomes one, whatever it contains: a note with
 * "<|im_end|>" in it stays a note. The rest of the text between two special tokens is encoded as one piece, as Hugging
 * Face's apply_chat_template does.
 *
 * Llama 3.1's header says "Today Date: 26 Jul 2024", the date its template falls back on: the same conversation gives
 * the same ids on every day. */
#ifndef CASEMIX_TOKENIZER_CHAT_H
#define CASEMIX_TOKENIZER_CHAT_H

#include "tokenizer/tokenizer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;
struct chat;

struct chat_message {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
    size_t length;
};

/* Recognises the template of a model: chat_template.jinja, or "chat_template" of tokenizer_config.json (of several the
 * one named "default"), in the directory of `path`, which may be the tokenizer's file or the directory itself. The
 * markers that a template writes tell its form. Others are refused by their name where it is known. The tokenizer is
 * borrowed. */
bool chat_open(struct chat **chat, const struct tokenizer *tokenizer, const char *path, struct error *error);
/* Whether there is such a template; one of a form that is not known is there too. */
bool chat_is_given(const char *path, bool *given, struct error *error);
/* Without a file: "chatml", "qwen2.5" (ChatML with Qwen's system text), "llama2", "llama3" or "llama3.1". */
bool chat_open_named(struct chat **chat, const struct tokenizer *tokenizer, const char *name, struct error *error);
void chat_close(struct chat *chat);

/* Appends the ids, BOS where the template has it. With `answer` what the assistant's next turn begins with follows (the
 * template's add_generation_prompt). A role that the form does not know, and messages of Llama 2 that do not alternate,
 * are errors. */
bool chat_encode(const struct chat *chat, const struct chat_message *messages, size_t count, bool answer,
                 struct token_list *out, struct error *error);
/* The same as text, for people to read: in it a special token and the same characters in a message look alike. */
bool chat_render(const struct chat *chat, const struct chat_message *messages, size_t count, bool answer,
                 struct text *out, struct error *error);

/* The token that ends the assistant's turn. */
int32_t chat_end(const struct chat *chat);

#endif
