/* Files of examples, one JSON object a line.
 *
 *   {"prompt": …, "completion": …}                     fine-tuning
 *   {"messages": [{"role": …, "content": …} …]}        the same: an example for each turn of the assistant
 *   {"prompt": …, "chosen": …, "rejected": …}          preferences
 *   {"text": …, "drg": …, "note_id": …}                a stay of a dataset, answered with its rationale and its title
 *   {"text": …}                                        plain text, learned whole (method lm)
 *
 * A prompt is a string, taken as it stands, or a list of messages, which goes through the chat template; a completion
 * behind it is a string or a list of one message of the assistant. */
#ifndef CASEMIX_TRAIN_EXAMPLE_LINES_H
#define CASEMIX_TRAIN_EXAMPLE_LINES_H

#include "data/rationales.h"
#include "train/examples.h"

enum example_kind { EXAMPLES_COMPLETION, EXAMPLES_PREFERENCE, EXAMPLES_TEXT };

struct example_file {
    enum example_kind kind;
    struct example_reader reader;
    const struct rationales *rationales;    /* of stays; NULL: lines are no stays */
    const struct prompt_encoder *knowledge; /* asks for lists of titles: knowledge rows of the rationales become
                                               examples too, behind those of the file; NULL: they do not */
    size_t unexplained;                     /* set: stays without a rationale, left out */
};

/* Errors name file and line; so do empty prompts and completions. */
bool example_file_load(struct examples *examples, struct example_file *file, const char *path, struct error *error);

#endif
