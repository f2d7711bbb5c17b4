/* What a run of training holds while it is under way; shared by the loop and by the files that prepare and record it.
 */
#ifndef CASEMIX_TRAIN_TRAINING_H
#define CASEMIX_TRAIN_TRAINING_H

#include "data/dataset.h"
#include "model/network.h"
#include "model/text_reader.h"
#include "train/encoded.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/train_classify.h"

struct training;

/* What the data of a method come to; known before memory is planned. */
struct training_load {
    const char *unit;  /* what the recipe's batch_size counts: "stays", … */
    int64_t count;     /* of them in an epoch */
    int64_t cut;       /* of these lost tokens to train.max_tokens */
    int64_t dropped;   /* not among them, since they are longer than that */
    int64_t tokens;    /* of an epoch */
    int64_t longest;   /* tokens that must fit into a micro-batch, dev's too */
    int64_t positions; /* of the longest sequence, dev's too */
    int64_t sequences; /* of the model's batch for each unit */
    int64_t updates;   /* that each batch of units gets; 0: one */
    size_t bytes;      /* data held in memory */
    uint64_t fingerprint;
};

/* What an evaluation on dev finds. */
struct training_dev {
    double loss;        /* the model with the least is kept */
    double accuracy;    /* from 0 to 1 */
    const char *unit;   /* what it is of: "acc@1", "token accuracy", … */
    const char *member; /* its name in log.jsonl */
};

/* What a method brings to the loop. Functions find what is theirs in training->context. */
struct training_method {
    const char *task; /* of the run card: "classify", "generate" */
    bool causal;      /* the decoder writes text; else it has a head of labels */
    /* Reads the data and fills training->load. The tokenizer is open and nothing else. */
    bool (*open_data)(struct training *training, struct error *error);
    /* The model is open and its micro-batches are known: the most bytes that open_buffers will take beside the
     * activations, and training->micro_rows, the rows of hidden states of a micro-batch. */
    size_t (*plan_buffers)(struct training *training);
    bool (*open_buffers)(struct training *training, struct error *error);
    /* Fills training->order for an epoch; NULL: shuffled by the recipe's seed. */
    void (*order)(struct training *training, int64_t epoch);
    /* Adds to the gradients, which are zero, those of the update over training->order[first … end); its loss.
     * Of both this rank's part: ranks share a batch out among them. */
    bool (*gradient)(struct training *training, int64_t first, int64_t end, double *loss, struct error *error);
    bool (*evaluate)(struct training *training, struct training_dev *dev, struct error *error);
    /* Appends members, each with ", " before it, to the log line of the step whose gradient was just computed; NULL: it
     * has none of its own. */
    void (*log)(const struct training *training, struct text *line);
    void (*log_dev)(const struct training *training, struct text *line); /* the same for dev's line */
    /* Puts what belongs to the method into a new run directory; NULL: nothing. */
    bool (*prepare)(const struct training *training, struct error *error);
    void (*close)(struct training *training); /* after a failure too */
};

struct training {
    const struct train_settings *settings;
    const struct recipe_train *train;
    const struct training_method *method;
    void *context; /* the method's own */
    struct training_load load;
    char base[4096]; /* directory of the weights that are opened; "" when they are made */
    bool goes_on;    /* --model is an adapter run, whose adapter is trained on */
    struct tokenizer *tokenizer;
    const char *tokenizer_directory;
    struct words *words;       /* of CAML and linear, instead of a tokenizer */
    struct text_reader reader; /* over either of them */
    struct labels labels;
    struct encoded data, dev;   /* of a classifier */
    struct objective objective; /* likewise */
    enum network_family family; /* of what is trained */
    struct decoder decoder;     /* one of these four is what is trained… */
    struct encoder encoder;
    struct caml caml;
    struct linear_bag linear_bag;
    struct network network; /* …through this */
    struct lora_settings lora;
    struct adamw optimizer;
    struct schedule schedule;
    struct run_plan plan;
    struct network_run *run;               /* forward and backward of a micro-batch, and forward of dev */
    int64_t micro_tokens, micro_sequences; /* the largest micro-batch */
    int64_t micro_rows;                    /* hidden states that its head reads */
    size_t buffer_bytes;                   /* what the method will hold beside the activations */
    int64_t steps_per_epoch, steps;
    int64_t step;        /* the update under way, 0 … */
    int64_t step_tokens; /* that it has put through the model on this rank; methods add to it */
    int64_t updates;     /* consecutive steps on the same units; the run stops and is saved behind the last of them */
    uint32_t *order;     /* of the current epoch */
    int64_t order_epoch; /* -1: none shuffled yet */
    int32_t *tokens, *offsets, *micro_labels; /* one micro-batch */
    float *logits, *losses;
    uint64_t fingerprint; /* of recipe, data and the model that is started from */
};

/* Opens data, tokenizer and model, and makes room for everything. Release with training_close, also after a failure. */
bool training_open(struct training *training, const struct train_settings *settings,
                   const struct training_method *method, void *context, struct error *error);
void training_close(struct training *training);

/* The loop (method_run.c): opens, prints the plan or trains to the end, and closes. */
bool training_run(const struct train_settings *settings, const struct training_method *method, void *context,
                  struct error *error);

/* What a classifier of stays brings to the loop, as far as it is set up in training.c. */
bool stays_open_data(struct training *training, struct error *error);
size_t stays_plan_buffers(struct training *training);
bool stays_open_buffers(struct training *training, struct error *error);
void stays_close(struct training *training);

/* Plans the memory of the run: layers keep their activations as far as settings->memory, or what is free, allows. A run
 * that cannot fit is refused. After model and data are open, before anything else is allocated. */
bool training_plan_memory(struct training *training, struct error *error);

/* Prints what the run will need: parameters, memory, steps. */
void training_print_plan(const struct training *training);

/* Puts what stands in a run directory from the start beside the recipe: tokenizer, config.json, casemix.json, and what
 * belongs to the method. */
bool training_write_files(const struct training *training, struct error *error);

/* Which of the items first … end - 1 of the order (NULL: of the data) this rank takes: from … stop - 1, so that all
 * ranks have about as many tokens. Item i has those from starts[i * stride] to starts[(i + 1) * stride]. */
void training_share(const int64_t *starts, int64_t stride, const uint32_t *order, int64_t first, int64_t end,
                    int64_t *from, int64_t *stop);

/* Where the micro-batch that begins at place `first` of the order (NULL: that of the data) ends: as many items as its
 * tokens and sequences hold, at least one. The tokens of item i begin at starts[i * stride]. */
int64_t training_micro_end(const struct training *training, const int64_t *starts, int64_t stride,
                           const uint32_t *order, int64_t first, int64_t limit);

/* Seed of the dropout of the micro-batch at this place of the update under way. */
uint64_t training_dropout_seed(const struct training *training, int64_t place);

/* The model as it now stands becomes the run's: model.safetensors, or the adapter's files. */
bool training_save_model(const struct training *training, struct error *error);

#endif
