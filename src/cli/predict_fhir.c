/* FHIR documents in, Bundles out: see predict_fhir.h. */
#include "cli/predict_fhir.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/note_files.h"
#include "data/fhir.h"
#include "drg/note.h"
#include "model/ensemble.h"
#include "model/model_files.h"
#include "model/ranking.h"
#include "tensor/kernels.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Notes that go through the model together. */
enum { BLOCK = 64 };

struct coding {
    const struct ensemble *ensemble;
    size_t top_k;
    struct text model, sha256, adapter_sha256; /* of several models with "+" between them */
    float *logits;                             /* [BLOCK, labels] */
    struct ranked *ranked;                     /* [top_k] */
    struct fhir_drg *drgs;                     /* [top_k] */
    struct text out;
};

/* The last part of a model's path. */
static void add_model_name(struct text *out, const char *directory) {
    char *real = realpath(directory, NULL);
    const char *path = real == NULL ? directory : real, *slash = strrchr(path, '/');
    text_printf(out, "%s%s", out->length == 0 ? "" : "+", slash == NULL ? path : slash + 1);
    free(real);
}

static bool name_models(struct coding *coding, const char *const *models, struct error *error) {
    for (size_t i = 0; i < coding->ensemble->count; i++) {
        char sha256[65], adapter_sha256[65];
        if (!model_files_hash(&coding->ensemble->members[i].card, models[i], sha256, adapter_sha256, error))
            return false;
        add_model_name(&coding->model, models[i]);
        text_printf(&coding->sha256, "%s%s", i == 0 ? "" : "+", sha256);
        if (adapter_sha256[0] != '\0')
            text_printf(&coding->adapter_sha256, "%s%s", coding->adapter_sha256.length == 0 ? "" : "+", adapter_sha256);
    }
    text_add(&coding->adapter_sha256, "");
    return text_ok(&coding->model, error) && text_ok(&coding->sha256, error) && text_ok(&coding->adapter_sha256, error);
}

static void add_answer(struct coding *coding, const struct fhir_note *note, float *p, bool truncated) {
    const struct ensemble *ensemble = coding->ensemble;
    const size_t labels = ensemble->labels.count;
    char sha256[65];
    softmax_rows(p, p, 1, (int64_t)labels);
    ranking_top(p, labels, coding->ranked, coding->top_k);
    for (size_t i = 0; i < coding->top_k; i++)
        coding->drgs[i] =
            (struct fhir_drg){catalog_find(ensemble->catalog, ensemble->labels.codes[coding->ranked[i].label]),
                              (double)coding->ranked[i].p};
    sha256_hex(note->text.data, note->text.length, sha256);
    const struct fhir_answer answer = {.note = note,
                                       .grouper = ensemble->catalog->grouper,
                                       .drgs = coding->drgs,
                                       .count = coding->top_k,
                                       .truncated = truncated,
                                       .version = CASEMIX_VERSION,
                                       .model = coding->model.data,
                                       .model_sha256 = coding->sha256.data,
                                       .adapter_sha256 =
                                           coding->adapter_sha256.data == NULL ? "" : coding->adapter_sha256.data,
                                       .note_sha256 = sha256,
                                       .time = time(NULL)};
    fhir_add_answer(&coding->out, &answer);
    text_add_char(&coding->out, '\n');
}

static bool code_block(struct coding *coding, const struct fhir_note *notes, size_t count, struct error *error) {
    struct note texts[BLOCK];
    bool truncated[BLOCK];
    for (size_t i = 0; i < count; i++) {
        struct span section;
        const char *text = notes[i].text.data;
        if (!note_check(notes[i].type, text, notes[i].text.length, error)) return false;
        classifier_section(&coding->ensemble->members[0], text, notes[i].text.length, &section);
        texts[i] = (struct note){text + section.start, section.end - section.start};
    }
    if (!ensemble_logits(coding->ensemble, texts, count, coding->logits, NULL, NULL, truncated, error)) return false;
    text_clear(&coding->out);
    for (size_t i = 0; i < count; i++)
        add_answer(coding, &notes[i], coding->logits + i * coding->ensemble->labels.count, truncated[i]);
    if (!text_ok(&coding->out, error)) return false;
    return fwrite(coding->out.data, 1, coding->out.length, stdout) == coding->out.length ||
           error_system(error, "standard output");
}

static bool code_file(struct coding *coding, const char *path, struct error *error) {
    struct json *document;
    struct fhir_note *notes;
    size_t count;
    bool done = true;
    if (!fhir_file_read(path, &document, &notes, &count, error)) return false;
    for (size_t first = 0; done && first < count; first += BLOCK)
        done = code_block(coding, notes + first, count - first < BLOCK ? count - first : BLOCK, error) ||
               error_context(error, "%s", path);
    for (size_t i = 0; i < count; i++) fhir_note_free(&notes[i]);
    memory_free(notes);
    json_free(document);
    return done;
}

bool predict_fhir(const struct ensemble *ensemble, const char *const *models, size_t top_k, char **paths, int count,
                  struct error *error) {
    struct coding coding = {.ensemble = ensemble, .top_k = top_k};
    coding.logits = memory_alloc(BLOCK, ensemble->labels.count * sizeof(float));
    coding.ranked = memory_alloc(top_k, sizeof *coding.ranked);
    coding.drgs = memory_alloc(top_k, sizeof *coding.drgs);
    bool done = (coding.logits != NULL && coding.ranked != NULL && coding.drgs != NULL) ||
                memory_error(error, BLOCK * ensemble->labels.count * sizeof(float), "a block");
    done = done && name_models(&coding, models, error);
    for (int i = 0; done && i < count; i++) done = code_file(&coding, paths[i], error);
    text_free(&coding.model);
    text_free(&coding.sha256);
    text_free(&coding.adapter_sha256);
    text_free(&coding.out);
    memory_free(coding.logits);
    memory_free(coding.ranked);
    memory_free(coding.drgs);
    return done;
}
