/* What tests of training share: recipes of models of a few thousand weights, and what stands in a run's directory. */
#ifndef CASEMIX_TESTS_SMALL_RUN_H
#define CASEMIX_TESTS_SMALL_RUN_H

/* Sections of a recipe: a decoder, BERT and CAML from scratch, and adapters of rank 4. */
extern const char small_decoder[], small_bert[], small_caml[], small_lora[];

/* Members of the section "train" as they stand in the recipe; NULL: as in small_run.c. */
struct small_training {
    const char *epochs, *batch_size, *micro_batch_tokens, *max_tokens, *learning_rate, *schedule;
    const char *warmup_share, *weight_decay, *eval_every, *save_every;
};

/* Writes FOLDER/NAME: "method: METHOD", seed 1, these sections and the section "train". */
void small_recipe_write(const char *name, const char *method, const char *sections,
                        const struct small_training *training);

/* Learns a byte-level vocabulary of `size` pieces, with these special tokens (a YAML list), from
 * FOLDER/DATA/train.jsonl into FOLDER/tokenizer. */
void small_tokenizer_learn(const char *data, int size, const char *special);

/* "FOLDER/RUN/NAME". */
const char *in_run(const char *run, const char *name);
void assert_same_file(const char *run, const char *other, const char *name);

#endif
