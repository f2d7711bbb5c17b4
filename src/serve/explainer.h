/* The thread that finds evidence in notes that have been coded, one DRG after another (eval/evidence.h). It takes turns
 * with the coder, so that notes for which no evidence is wanted do not wait for it. */
#ifndef CASEMIX_SERVE_EXPLAINER_H
#define CASEMIX_SERVE_EXPLAINER_H

#include "base/error.h"
#include "base/text.h"
#include "drg/note.h"
#include "serve/coder.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct classifier;
struct explainer;
struct turns;

enum { EXPLAINED_DRGS = 10 }; /* that may be asked for at once */

/* Evidence that is wanted. Whoever submits it owns it and what it points to; `done` gives it back. */
struct explaining {
    struct explaining *next;
    const char *note; /* the whole, of which `section` is read */
    struct span section;
    int first; /* the DRG that is ranked first */
    int drgs[EXPLAINED_DRGS];
    size_t drg_count;
    double deadline;   /* time_now(); 0: none */
    atomic_bool *gone; /* the client has left */
    void (*done)(struct explaining *explaining);
    enum coding_end end;
    struct error error;
    /* Members of a record, each with a comma before it: "evidence" if `first` is among the DRGs, "evidence_by_drg". A
     * DRG that the model does not tell apart from others has no spans. Whoever submits it frees it. */
    struct text members;
};

/* `limit`: how many may wait. */
bool explainer_open(struct explainer **explainer, const struct classifier *classifier, struct turns *compute,
                    size_t limit, struct error *error);
/* Gives back what waits (CODING_STOPPED) and ends the thread. */
void explainer_stop(struct explainer *explainer);
void explainer_close(struct explainer *explainer);

/* Whether another would be taken. */
bool explainer_has_room(struct explainer *explainer);
/* Takes it even beyond the limit: its note has been coded already. False: it is stopping. */
bool explainer_submit(struct explainer *explainer, struct explaining *explaining);
size_t explainer_waiting(struct explainer *explainer);

#endif
