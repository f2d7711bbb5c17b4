/* Opening the decoder of a run: see run_decoder.h. */
#include "model/run_decoder.h"
#include "base/error.h"
#include "base/file.h"
#include <string.h>

bool run_decoder_open(struct decoder *decoder, const struct run_card *card, const char *directory,
                      struct error *error) {
    char base[4096];
    if (card->base[0] == '\0') return decoder_open(decoder, directory, error);
    if (!run_card_base(card, directory, base, sizeof base, error)) return false;
    /* The adapter of a writing run may lie over a classifier's backbone. */
    if (!decoder_open(decoder, base, error) ||
        (strcmp(card->task, "classify") != 0 && !decoder_set_causal(decoder, error)))
        return error_context(error, "base model of %s", directory);
    return decoder_open_adapter(decoder, directory, false, error);
}

bool model_directory_open(struct decoder *decoder, const char *directory, struct error *error) {
    char path[4096];
    struct run_card card;
    if (!path_join(path, sizeof path, directory, "casemix.json"))
        return error_set(error, "%s: path too long", directory);
    if (!path_exists(path)) return decoder_open(decoder, directory, error);
    if (!run_card_load(&card, directory, error)) return false;
    const bool done = run_decoder_open(decoder, &card, directory, error);
    run_card_free(&card);
    return done;
}
