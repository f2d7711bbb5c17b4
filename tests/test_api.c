/* The C interface: what include/casemix.h promises. */
#include "casemix.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char note[] = "HPI:\nfever\n\nBrief Hospital Course:\n71yo M with DM2 admitted with COPD exacerbation.\n# "
                           "AECOPD: prednisone taper, nebs.\n\n"
                           "Discharge Medications:\nnone\n";

static void a_note_is_coded(void **state) {
    (void)state;
    struct casemix_model *model;
    struct casemix_prediction top[5];
    char message[CASEMIX_MESSAGE];
    assert_true(casemix_open(&model, "models/tiny-classifier", message));
    assert_string_equal(casemix_grouper(model), "v43");
    assert_true(casemix_labels(model) > 250);
    assert_true(casemix_predict(model, note, strlen(note), top, 5, message));
    for (int i = 0; i < 5; i++) {
        assert_in_range(top[i].drg, 1, 999);
        assert_true(top[i].p >= 0 && top[i].p <= 1 && (i == 0 || top[i].p <= top[i - 1].p));
        assert_true(strlen(top[i].title) > 3 && strlen(top[i].severity) > 0 && strlen(top[i].mdc) > 0);
        assert_true(top[i].weight >= 0 && top[i].gmlos >= 0);
    }
    assert_false(casemix_predict(model, "", 0, top, 5, message));
    assert_true(strlen(message) > 0);
    assert_false(casemix_predict(model, "\xff", 1, top, 5, message));
    assert_false(casemix_predict(model, note, strlen(note), top, casemix_labels(model) + 1, message));
    casemix_close(model);
    casemix_close(NULL);
}

static void a_missing_model_is_an_error(void **state) {
    (void)state;
    struct casemix_model *model;
    char message[CASEMIX_MESSAGE];
    assert_false(casemix_open(&model, "no/such/folder", message));
    assert_null(model);
    assert_non_null(strstr(message, "no/such/folder"));
}

struct job {
    const struct casemix_model *model;
    struct casemix_prediction top[3];
    bool done;
};

static void *code(void *context) {
    struct job *job = context;
    char message[CASEMIX_MESSAGE];
    job->done = true;
    for (int i = 0; i < 5 && job->done; i++)
        job->done = casemix_predict(job->model, note, strlen(note), job->top, 3, message);
    return NULL;
}

static void threads_share_a_model(void **state) {
    (void)state;
    struct casemix_model *model;
    char message[CASEMIX_MESSAGE];
    struct job jobs[3];
    pthread_t threads[3];
    assert_true(casemix_open(&model, "models/tiny-classifier", message));
    for (int i = 0; i < 3; i++) {
        jobs[i].model = model;
        assert_int_equal(pthread_create(&threads[i], NULL, code, &jobs[i]), 0);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(jobs[i].done);
        for (int k = 0; k < 3; k++) assert_int_equal(jobs[i].top[k].drg, jobs[0].top[k].drg);
    }
    casemix_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_note_is_coded),
        cmocka_unit_test(a_missing_model_is_an_error),
        cmocka_unit_test(threads_share_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
