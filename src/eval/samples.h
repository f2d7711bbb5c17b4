/* Pass@1, Pass@n and Maj@n of DRG-Sapphire (section 5.1) from n written completions a case.
 *
 * A completion's answer is used when it passes the published inference code's extraction (completion_has_format,
 * further lines allowed) and is a title of the grouper; other answers are unusable: wrong, and without a vote. Base DRG
 * and severity class of a usable answer come from the catalog, all classes counting (not applicable equals itself).
 * Pass@1: share of the completions that are right. Pass@n: any of them is. Maj@n: the most frequent value is right,
 * each level voting on its own values, ties going to the value seen first; no usable answer is wrong. All are means
 * over cases. format_rate is the share of completions with format reward 0 (eval is milder: text behind the answer
 * passes there when on a line of its own). */
#ifndef CASEMIX_EVAL_SAMPLES_H
#define CASEMIX_EVAL_SAMPLES_H

#include "drg/catalog.h"
#include "eval/resample.h"

struct text;

enum sample_level { LEVEL_DRG, LEVEL_BASE, LEVEL_SEVERITY, LEVELS };

/* Means over all completions, beside those of the levels. */
enum sample_share {
    SHARE_FORMAT,         /* right format */
    SHARE_UNUSABLE,       /* no answer, or no title */
    SHARE_WRONG_BASE,     /* usable: base wrong, severity right */
    SHARE_WRONG_SEVERITY, /* usable: base right, severity wrong */
    SHARE_WRONG_BOTH,
    SHARE_SURGICAL_MEDICAL, /* usable: medical for surgical */
    SHARE_MEDICAL_SURGICAL, /* usable: surgical for medical */
    SHARE_LENGTH,           /* characters of a completion */
    SHARES
};

struct sample_scores {
    size_t cases, completions; /* completions: of each case */
    struct interval pass1[LEVELS], pass_n[LEVELS], majority[LEVELS];
    struct interval shares[SHARES];
};

/* Scores a JSONL file, {"gold": TITLE, "completions": [n strings]}, the same n on every line; a line may have
 * "subject_id", by which the 95 % intervals are resampled (else each case by itself). */
bool samples_score(struct sample_scores *scores, const char *path, enum grouper grouper, size_t resamples,
                   uint64_t seed, struct error *error);

/* One JSON object, with a line feed. */
void samples_add_json(struct text *out, const struct sample_scores *scores);

#endif
