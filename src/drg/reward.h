/* The rule-based rewards of DRG-Sapphire (Wang et al. 2025, section 3) on a written answer, and the parts of one.
 *
 * A completion has the format when it is, blanks around and between aside, `<think>…</think><answer>…</answer>`, with
 * no answer tag inside the last answer. Format: 0, else -2. Accuracy, 0 without the format, is by the *first* answer of
 * the completion (in any case of the tag), trimmed and in upper case: naming another behind it, or inside the
 * reasoning, can therefore win nothing.
 *
 *                                    dense   balanced   strict
 *   the DRG itself                     2        2         2
 *   its base, another severity         1.5      1         0
 *   its severity, another base         0.5      1         0
 *   a DRG, neither right              -0.5     -0.5       0
 *   no title of the grouper           -1.5     -1.5      -1.5
 *
 * Base and severity class come from the catalog; the class of bases without severities never counts as a match.
 * With `compat` the parts are compared as the published code does it: the DRG is right when the gold title is a
 * substring of the answer; base and severity are what stands before and from the first WITH or WITHOUT of the gold
 * title, each right when it is a substring of the answer; a gold title without either word has no parts. */
#ifndef CASEMIX_DRG_REWARD_H
#define CASEMIX_DRG_REWARD_H

#include "drg/catalog.h"

enum reward_kind { REWARD_DENSE, REWARD_BALANCED, REWARD_STRICT };
bool reward_kind_parse(const char *name, enum reward_kind *kind, struct error *error);

struct reward {
    double format, accuracy;
};

/* What answers are worth; the table above, or one's own. */
struct reward_pay {
    double full, base, severity, neither, invalid;
    double no_format; /* of the format part */
};
const struct reward_pay *reward_pay_of(enum reward_kind kind);

/* Pure; nothing is allocated. `completion` and `gold` are UTF-8. A gold title of more than TITLE_LIMIT bytes is an
 * error; one that is no title of the catalog is not (then only `compat` can give anything for parts). */
enum { TITLE_LIMIT = 1024 };
bool reward_score(struct reward *reward, enum reward_kind kind, bool compat, const struct catalog *catalog,
                  const char *completion, size_t length, const char *gold, size_t gold_length, struct error *error);

bool reward_score_paid(struct reward *reward, const struct reward_pay *pay, bool compat, const struct catalog *catalog,
                       const char *completion, size_t length, const char *gold, size_t gold_length,
                       struct error *error);

/* Whether the completion has the format. `to_line_end`: as the published inference code has it, where the last answer
 * may be followed by further lines. */
bool completion_has_format(const char *completion, size_t length, bool to_line_end);

/* The DRG that the first answer names; NULL when there is no answer or it is no title. */
const struct drg *completion_drg(const struct catalog *catalog, const char *completion, size_t length);

/* A title as it is compared: trimmed, in upper case by Unicode's full mapping. False when that takes more than
 * TITLE_LIMIT bytes. out: TITLE_LIMIT + 1 bytes, NUL behind. */
bool title_normalise(const char *title, size_t length, char *out, size_t *out_length);

#endif
