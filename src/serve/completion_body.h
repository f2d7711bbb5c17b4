/* The bodies of POST /v1/chat/completions and /v1/completions: OpenAI's form, as far as it means something here. */
#ifndef CASEMIX_SERVE_COMPLETION_BODY_H
#define CASEMIX_SERVE_COMPLETION_BODY_H

#include "base/json.h"
#include "generate/sampler.h"
#include "tokenizer/chat.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum { COMPLETION_STOPS = 4, COMPLETION_SAMPLES = 32, COMPLETION_MESSAGES = 1024 };

/* Strings point into the document. */
struct completion_body {
    const char *model;             /* NULL: the first that writes */
    const char *prompt;            /* completions */
    struct chat_message *messages; /* chat; owned */
    size_t message_count;
    struct sampling sampling;
    int64_t max_tokens, samples, seed;
    const char *stops[COMPLETION_STOPS];
    size_t stop_count;
    bool stream, include_usage, answer_trie;
};

/* Parses and reads; *unsupported says that the fault is a wish which is known, but not granted. On success both the
 * document and the body are the caller's to free. */
bool completion_body_parse(struct completion_body *body, struct json **document, const char *bytes, size_t length,
                           bool chat, bool *unsupported, struct error *error);
void completion_body_free(struct completion_body *body);

#endif
