/* casemix: a hospital discharge summary in, its MS-DRG out.
 *
 *     struct casemix_model *model;
 *     struct casemix_prediction top[5];
 *     char message[CASEMIX_MESSAGE];
 *     if (!casemix_open(&model, "models/tiny-classifier", message)) { puts(message); return 1; }
 *     if (casemix_predict(model, note, strlen(note), top, 5, message)) printf("%03d %s %.2f\n", top[0].drg,
 * top[0].title, top[0].p); casemix_close(model);
 *
 * Link with libcasemix.a and the libraries that `pkg-config` and the Makefile name. No function prints, exits or keeps
 * a note. A model is immutable once open: casemix_predict may be called from several threads. */
#ifndef CASEMIX_H
#define CASEMIX_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that every `message` argument must hold: one line of what went wrong, and how to mend it. */
#define CASEMIX_MESSAGE 1600

/* An open model: a run directory that `casemix train` wrote, or one of models/. */
struct casemix_model;

/* One DRG of a ranked list. Strings belong to the library and live as long as the process. */
struct casemix_prediction {
    int drg; /* MS-DRG code, 1 to 999 */
    const char *title;
    double p;             /* probability, 0 to 1 */
    double weight;        /* relative weight of the grouper's year */
    double gmlos;         /* geometric mean length of stay, days */
    const char *mdc;      /* major diagnostic category: "01" to "25", "PRE", "ALL" */
    const char *severity; /* "MCC", "CC", "none", "without MCC", "CC/MCC" or "any" */
};

/* Opens a model directory. On failure *model is NULL and message says why. */
bool casemix_open(struct casemix_model **model, const char *directory, char message[CASEMIX_MESSAGE]);

/* The k likeliest DRGs of a note (UTF-8, at most 4 MiB), best first. The hospital course of the note is what is read,
 * the whole note when it has none. k is at most casemix_labels(model); `top` has room for k. */
bool casemix_predict(const struct casemix_model *model, const char *note, size_t length, struct casemix_prediction *top,
                     size_t k, char message[CASEMIX_MESSAGE]);

/* DRGs the model tells apart, and the version of the grouper it speaks ("v34", "v43"). */
size_t casemix_labels(const struct casemix_model *model);
const char *casemix_grouper(const struct casemix_model *model);

/* Releases the model; NULL is fine. */
void casemix_close(struct casemix_model *model);

#ifdef __cplusplus
}
#endif
#endif
