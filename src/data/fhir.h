/* FHIR R4 (4.0.1): discharge summaries out of DocumentReference and Composition, and their DRGs as a Bundle.
 *
 * In: one of the two, or a Bundle with any number of them. Of a DocumentReference the first attachment that is text:
 * text/plain or (X)HTML, its base64 in place or in a Binary that is contained or in the Bundle. Of a Composition its
 * sections, titles and narratives, in their order. Nothing is fetched.
 * Out: a Bundle (collection) of a ClaimResponse (use predetermination; each DRG an added item with its probability,
 * weight and length of stay), the Device that made it (program, model and its hashes) and a Provenance. */
#ifndef CASEMIX_DATA_FHIR_H
#define CASEMIX_DATA_FHIR_H

#include "base/text.h"
#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct cJSON;
struct error;

/* HL7's identifier of the code system, on terminology.hl7.org as CodeSystem/MSDRG. */
#define FHIR_MS_DRG                                                                    \
    "https://www.cms.gov/Medicare/Medicare-Fee-for-Service-Payment/AcuteInpatientPPS/" \
    "MS-DRG-Classifications-and-Software"
#define FHIR_JSON "application/fhir+json"

/* A Reference as it came; members that are not there are NULL. */
struct fhir_reference {
    const char *reference, *type, *display;
    const char *system, *value; /* of its identifier */
};

/* A note that was read. Strings point into the document. */
struct fhir_note {
    char id[256];        /* the resource's id, or its first identifier, or its number in the file */
    char reference[300]; /* by which the answer names it: TYPE/id, or the fullUrl it had; "" if it has neither */
    const char *type;    /* "DocumentReference" or "Composition" */
    struct fhir_reference subject, encounter;
    struct text text;
};
void fhir_note_free(struct fhir_note *note);

/* All notes of a parsed document, at most `limit`: *notes is the caller's, each to be given to fhir_note_free, and then
 * the list to memory_free. None at all is an error, as is one without text. Errors name resource and element, never
 * what stands in them. */
bool fhir_read(const struct cJSON *root, size_t limit, struct fhir_note **notes, size_t *count, struct error *error);

/* One DRG of an answer. */
struct fhir_drg {
    const struct drg *drg;
    double p;
};

struct fhir_answer {
    const struct fhir_note *note;
    enum grouper grouper;
    const struct fhir_drg *drgs; /* [count], likeliest first */
    size_t count;
    bool truncated;                            /* the model did not read all of the section */
    const char *version;                       /* of casemix */
    const char *model;                         /* its name */
    const char *model_sha256, *adapter_sha256; /* "" where there is none */
    const char *note_sha256;                   /* of the text */
    time_t time;
};

/* Appends the Bundle, on one line without a line end. The same note, model and hashes give the same identifiers. */
void fhir_add_answer(struct text *out, const struct fhir_answer *answer);

/* Appends an OperationOutcome with one issue: `code` of FHIR's issue types, such as "invalid". */
void fhir_add_outcome(struct text *out, const char *code, const char *message, const char *hint);

#endif
