/* Starting and ending on several ranks: see ranks.h. */
#include "cli/ranks.h"
#include "base/error.h"
#include "train/cluster.h"

bool ranks_open_ensemble(struct ensemble *ensemble, const char *const *models, size_t count, enum decoding decoding,
                         enum compute_type compute, const char *int8_cache, struct error *error) {
    const bool opened = ensemble_open(ensemble, models, count, decoding, error);
    bool done = cluster_agree(opened, error);
    if (done) {
        if (!cluster_is_first()) cluster_barrier();
        done = ensemble_compute(ensemble, compute, int8_cache, error);
        if (cluster_is_first()) cluster_barrier();
        done = cluster_agree(done, error);
    }
    if (opened && !done) ensemble_close(ensemble);
    return done;
}

bool answers_have_one_rank(struct error *error) {
    if (cluster_ranks() == 1) return true;
    error_usage(error, "a model that writes does not share its work out: start it without mpirun");
    return error_hint(error, "give each process a part of the notes instead");
}

bool ranks_end(bool done, struct error *error) {
    return !done && cluster_error_is_shared() ? false : cluster_agree(done, error);
}
