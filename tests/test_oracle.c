/* Every case of ../shared/oracle whose kind casemix computes: build/oracle must agree with the double-precision
 * reference. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CASES "../shared/oracle"

/* The kind of a case; "" if the folder is none. */
static void case_kind(const char *folder, char *kind, size_t capacity) {
    char path[1024];
    struct json *document;
    struct error error = {0};
    kind[0] = '\0';
    snprintf(path, sizeof path, CASES "/%s/case.json", folder);
    if (!path_exists(path) || !json_load(&document, path, (size_t)64 << 20, &error)) return;
    const char *name = json_string(json_member(json_root(document), "kind"));
    snprintf(kind, capacity, "%s", name == NULL ? "" : name);
    json_free(document);
}

/* Runs every case of a kind; at least one must exist, and all must pass. */
static void run_kind(const char *wanted) {
    DIR *directory = opendir(CASES);
    if (directory == NULL) {
        printf("skipped: ../shared/oracle is not here: cases of kind %s not run\n", wanted);
        skip();
    }
    const char *build = getenv("B") == NULL ? "build" : getenv("B");
    int found = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char kind[64], command[2048];
        case_kind(entry->d_name, kind, sizeof kind);
        if (strcmp(kind, wanted) != 0) continue;
        found++;
        snprintf(command, sizeof command, "%s/oracle " CASES "/%s", build, entry->d_name);
        fflush(stdout);
        assert_int_equal(system(command), 0);
    }
    closedir(directory);
    assert_true(found > 0);
}

static void logits_agree_with_the_reference(void **state) {
    (void)state;
    run_kind("logits");
}

static void classification_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("classify");
}

static void training_trajectories_agree_with_the_reference(void **state) {
    (void)state;
    run_kind("classify_step");
}

static void greedy_continuations_agree_with_the_reference(void **state) {
    (void)state;
    run_kind("generate");
}

static void bert_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("bert_classify");
}

static void caml_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("caml");
}

static void supervised_fine_tuning_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("sft_step");
    run_kind("sft_lora_step");
}

static void training_of_two_labels_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("two_label_step");
}

static void input_gradients_agree_with_the_reference(void **state) {
    (void)state;
    run_kind("attribution");
}

static void grpo_in_all_its_variants_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("grpo_step");
}

static void preference_optimization_agrees_with_the_reference(void **state) {
    (void)state;
    run_kind("dpo_step");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree_with_the_reference),
        cmocka_unit_test(classification_agrees_with_the_reference),
        cmocka_unit_test(training_trajectories_agree_with_the_reference),
        cmocka_unit_test(greedy_continuations_agree_with_the_reference),
        cmocka_unit_test(bert_agrees_with_the_reference),
        cmocka_unit_test(caml_agrees_with_the_reference),
        cmocka_unit_test(supervised_fine_tuning_agrees_with_the_reference),
        cmocka_unit_test(training_of_two_labels_agrees_with_the_reference),
        cmocka_unit_test(input_gradients_agree_with_the_reference),
        cmocka_unit_test(grpo_in_all_its_variants_agrees_with_the_reference),
        cmocka_unit_test(preference_optimization_agrees_with_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
