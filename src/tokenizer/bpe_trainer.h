/* Learns a byte-level BPE vocabulary from text (Sennrich et al. 2016; byte-level as GPT-2) and writes a tokenizer.json
 * that Hugging Face tokenizers and casemix read alike. */
#ifndef CASEMIX_TOKENIZER_BPE_TRAINER_H
#define CASEMIX_TOKENIZER_BPE_TRAINER_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct bpe_trainer;

/* Zero fields take the defaults in brackets. The pre-tokeniser is Qwen2's, with NFC. */
struct bpe_settings {
    size_t vocabulary;          /* pieces including the 256 bytes and the special tokens [8000] */
    size_t minimum_count;       /* a pair must occur this often to be merged [2] */
    const char *const *special; /* special tokens, given the first ids in order, e.g. "<|endoftext|>" */
    size_t special_count;
};

bool bpe_trainer_open(struct bpe_trainer **trainer, const struct bpe_settings *settings, struct error *error);
/* Counts the pre-tokens of a text. */
bool bpe_trainer_add(struct bpe_trainer *trainer, const char *bytes, size_t length, struct error *error);
/* Learns the merges (ties: the pair with the smaller ids first, so that the result does not depend on the order of a
 * hash), with progress, and writes DIR/tokenizer.json and DIR/tokenizer_config.json. */
bool bpe_trainer_write(struct bpe_trainer *trainer, const char *directory, struct error *error);
void bpe_trainer_close(struct bpe_trainer *trainer);

#endif
