/* Rewards of written answers and Pass@n: the published sets, the attempts to be paid for nothing, and hostile text. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "command.h"
#include "drg/reward.h"
#include "eval/samples.h"
#include "folder.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char failure[] = "HEART FAILURE AND SHOCK WITH MCC";

static struct reward score(enum reward_kind kind, bool compat, const char *completion, const char *gold) {
    struct reward reward;
    struct error error = {0};
    if (!reward_score(&reward, kind, compat, catalog_get(GROUPER_V34), completion, strlen(completion), gold,
                      strlen(gold), &error))
        fail_msg("%s", error.message);
    return reward;
}

static double total(enum reward_kind kind, const char *completion) {
    const struct reward reward = score(kind, false, completion, failure);
    return reward.format + reward.accuracy;
}

#define ANSWER(title) "<think>reasons</think><answer>" title "</answer>"

static void an_answer_is_paid_by_its_parts(void **state) {
    static const struct {
        const char *completion;
        double pay[3]; /* dense, balanced, strict */
    } cases[] = {{ANSWER("HEART FAILURE AND SHOCK WITH MCC"), {2, 2, 2}},
                 {ANSWER("\n heart failure and shock with mcc\n"), {2, 2, 2}},
                 {ANSWER("HEART FAILURE AND SHOCK WITH CC"), {1.5, 1, 0}},
                 {ANSWER("SEIZURES WITH MCC"), {0.5, 1, 0}},
                 {ANSWER("SEIZURES WITHOUT MCC"), {-0.5, -0.5, 0}},
                 {ANSWER("CHEST PAIN"), {-0.5, -0.5, 0}},
                 {ANSWER("HEART FAILURE"), {-1.5, -1.5, -1.5}},
                 {ANSWER(""), {-1.5, -1.5, -1.5}},
                 {"<think>a</think><answer>CHEST PAIN<answer>.", {-2, -2, -2}},
                 {"HEART FAILURE AND SHOCK WITH MCC", {-2, -2, -2}}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int kind = 0; kind < 3; kind++) {
            const double paid = total((enum reward_kind)kind, cases[i].completion);
            if (fabs(paid - cases[i].pay[kind]) > 0)
                fail_msg("%s, kind %d: %g, expected %g", cases[i].completion, kind, paid, cases[i].pay[kind]);
        }
    }
}

/* Bases without severities are all of one class, which is no merit. */
static void having_no_severity_is_no_match(void **state) {
    (void)state;
    const struct reward reward = score(REWARD_DENSE, false, ANSWER("CHEST PAIN"), "SYNCOPE AND COLLAPSE");
    assert_true(reward.accuracy < 0);
}

/* Each attempt against the best that its writer could have had by answering straight: the first answer alone. */
static void hedging_and_hiding_win_nothing(void **state) {
    static const struct {
        const char *hack, *straight;
    } attempts[] = {
        /* two answers, the right one second */
        {ANSWER("CHEST PAIN") ANSWER("HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        {ANSWER("CHEST PAIN") "<answer>HEART FAILURE AND SHOCK WITH MCC</answer>", ANSWER("CHEST PAIN")},
        /* two titles in one answer */
        {ANSWER("CHEST PAIN HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC\nCHEST PAIN"), ANSWER("CHEST PAIN")},
        /* the answer inside the reasoning */
        {"<think><answer>CHEST PAIN</answer></think><answer>HEART FAILURE AND SHOCK WITH MCC</answer>",
         ANSWER("CHEST PAIN")},
        {"<think>a<answer>SEIZURES WITH MCC</answer></think><answer>HEART FAILURE AND SHOCK WITH MCC</answer>",
         ANSWER("SEIZURES WITH MCC")},
        /* nested tags */
        {"<think>a</think><answer><answer>HEART FAILURE AND SHOCK WITH MCC</answer></answer>", ANSWER("")},
        /* text behind, and before */
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC") "\nor CHEST PAIN", ANSWER("CHEST PAIN")},
        {"Sure. " ANSWER("HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        /* no reasoning */
        {"<answer>HEART FAILURE AND SHOCK WITH MCC</answer>", ANSWER("CHEST PAIN")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        for (int kind = 0; kind < 3; kind++) {
            const double paid = total((enum reward_kind)kind, attempts[i].hack);
            if (paid > total((enum reward_kind)kind, attempts[i].straight))
                fail_msg("%s is paid %g", attempts[i].hack, paid);
        }
    }
}

/* Titles that hold another title: the published code pays them in full. */
static void a_longer_title_is_not_the_title_inside_it(void **state) {
    static const struct {
        const char *gold, *answer;
        double exact;
    } pairs[] = {{"VIRAL MENINGITIS WITHOUT CC/MCC",
                  ANSWER("NON-BACTERIAL INFECTION OF NERVOUS SYSTEM EXCEPT VIRAL MENINGITIS WITHOUT CC/MCC"), 0.5},
                 {"COAGULATION DISORDERS",
                  ANSWER("MAJOR HEMATOLOGICAL AND IMMUNOLOGICAL DIAGNOSES EXCEPT SICKLE CELL CRISIS AND COAGULATION "
                         "DISORDERS WITH CC"),
                  -0.5}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_true(fabs(score(REWARD_DENSE, true, pairs[i].answer, pairs[i].gold).accuracy - 2) < 1e-12);
        assert_true(fabs(score(REWARD_DENSE, false, pairs[i].answer, pairs[i].gold).accuracy - pairs[i].exact) < 1e-12);
    }
}

static void upper_case_is_unicodes(void **state) {
    char out[TITLE_LIMIT + 1];
    size_t length;
    static char long_title[TITLE_LIMIT + 2];
    (void)state;
    assert_true(title_normalise("\xC2\xA0re\xC5\xBFp\xC4\xB1ratory\xE2\x80\xA8", 18, out, &length));
    assert_string_equal(out, "RESPIRATORY");
    assert_true(title_normalise("stra\xC3\x9F"
                                "e",
                                7, out, &length));
    assert_string_equal(out, "STRASSE");
    assert_int_equal(length, 7);
    assert_true(title_normalise("  ", 2, out, &length));
    assert_int_equal(length, 0);
    memset(long_title, 'a', sizeof long_title - 1);
    assert_true(title_normalise(long_title, TITLE_LIMIT, out, &length));
    assert_false(title_normalise(long_title, TITLE_LIMIT + 1, out, &length));
}

/* Tags without end: the published expressions need time exponential or cubic in the length of such text. */
static void hostile_text_takes_linear_time(void **state) {
    struct text text = {0};
    (void)state;
    text_add(&text, "<think>");
    for (int i = 0; i < 200000; i++) text_add(&text, "</think> <answer>");
    assert_false(completion_has_format(text.data, text.length, true));
    text_clear(&text);
    text_add(&text, "<think>");
    for (int i = 0; i < 200000; i++) text_add(&text, "</think> <answer></answer>x ");
    assert_false(completion_has_format(text.data, text.length, true));
    text_free(&text);
}

/* One line of the published set: every kind, as published and exact. `balanced` was never published; there the set has
 * the published procedure with its pay. */
static bool check_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    static const struct {
        const char *set, *published, *exact;
    } kinds[] = {{"official", "dense", "dense_exact"},
                 {"own", "balanced_text", "balanced_exact"},
                 {"official", "strict", "strict_exact"}};
    const char *completion = json_string(json_member(root, "completion")),
               *gold = json_string(json_member(root, "gold"));
    (void)error;
    ++*(int *)context;
    for (int kind = 0; kind < 3; kind++) {
        const struct reward published = score((enum reward_kind)kind, true, completion, gold),
                            exact = score((enum reward_kind)kind, false, completion, gold);
        const double format = json_number(json_member(json_member(root, "official"), "format")),
                     accuracy = json_number(json_member(json_member(root, kinds[kind].set), kinds[kind].published)),
                     own = json_number(json_member(json_member(root, "own"), kinds[kind].exact));
        if (fabs(published.format - format) > 0 || fabs(published.accuracy - accuracy) > 0 ||
            fabs(exact.accuracy - own) > 0)
            fail_msg("line %llu, kind %d: format %g (%g), published %g (%g), exact %g (%g)", (unsigned long long)line,
                     kind, published.format, format, published.accuracy, accuracy, exact.accuracy, own);
    }
    return true;
}

static void the_published_rewards_are_met(void **state) {
    static const char path[] = "../shared/official/rewards/cases.jsonl";
    struct error error = {0};
    int lines = 0;
    (void)state;
    if (!path_exists(path)) {
        puts("skipped: the published code's rewards are not there");
        skip();
    }
    if (!json_lines(path, check_line, &lines, &error)) fail_msg("%s", error.message);
    assert_int_equal(lines, 300);
}

static const char *const level_names[] = {"drg", "base", "cc"};

static void check_scores(const char *what, const struct sample_scores *scores, const json_node *expected) {
    for (size_t level = 0; level < LEVELS; level++) {
        const json_node *own = json_member(expected, level_names[level]);
        if (fabs(scores->pass1[level].value - json_number(json_member(own, "pass1"))) > 1e-12 ||
            fabs(scores->pass_n[level].value - json_number(json_member(own, "pass8"))) > 1e-12 ||
            fabs(scores->majority[level].value - json_number(json_member(own, "maj8"))) > 1e-12)
            fail_msg("%s, %s: %g %g %g", what, level_names[level], scores->pass1[level].value,
                     scores->pass_n[level].value, scores->majority[level].value);
    }
}

/* Each case by itself, so that no error hides behind another. */
static bool check_case(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct text text = {0};
    struct sample_scores scores;
    char what[32];
    ++*(int *)context;
    text_add(&text, "{\"gold\": ");
    const char *gold = json_string(json_member(root, "gold"));
    text_add_json(&text, gold, strlen(gold));
    text_add(&text, ", \"completions\": [");
    for (const json_node *node = json_first(json_member(root, "completions")); node != NULL; node = json_next(node)) {
        if (node != json_first(json_member(root, "completions"))) text_add(&text, ", ");
        text_add_json(&text, json_string(node), strlen(json_string(node)));
    }
    text_add(&text, "]}\n");
    if (!samples_score(&scores, folder_write("case.jsonl", text.data, text.length), GROUPER_V34, 20, 1, error))
        fail_msg("%s", error->message);
    snprintf(what, sizeof what, "line %llu", (unsigned long long)line);
    check_scores(what, &scores, json_member(root, "expected"));
    text_free(&text);
    return true;
}

static void the_published_samples_are_scored_alike(void **state) {
    static const char path[] = "../shared/official/passk/cases.jsonl";
    struct sample_scores scores;
    struct error error = {0};
    struct json *expected = NULL;
    int lines = 0;
    (void)state;
    if (!path_exists(path)) {
        puts("skipped: the set of samples is not there");
        skip();
    }
    if (!samples_score(&scores, path, GROUPER_V34, 200, 1, &error) ||
        !json_load(&expected, "../shared/official/passk/expected.json", 0, &error))
        fail_msg("%s", error.message);
    check_scores("all", &scores, json_member(json_root(expected), "aggregate"));
    json_free(expected);
    if (!json_lines(path, check_case, &lines, &error)) fail_msg("%s", error.message);
    assert_int_equal(lines, 40);
}

/* Two of three right; the base always; 291 to 293 are heart failure. */
static void a_case_of_three_samples_is_scored_by_hand(void **state) {
    struct sample_scores scores;
    struct error error = {0};
    (void)state;
    const char *path = folder_write_text(
        "three.jsonl", "{\"gold\": \"heart failure and shock with mcc \", \"subject_id\": 7, \"completions\": ["
                       "\"<think>a</think><answer>HEART FAILURE AND SHOCK WITH CC</answer>\", "
                       "\"<think>a</think><answer>HEART FAILURE AND SHOCK WITH MCC</answer>\\nDone.\", "
                       "\"HEART FAILURE AND SHOCK WITH MCC\"]}\n");
    if (!samples_score(&scores, path, GROUPER_V34, 20, 1, &error)) fail_msg("%s", error.message);
    assert_true(fabs(scores.pass1[LEVEL_DRG].value - 1.0 / 3) < 1e-12);
    assert_true(fabs(scores.pass_n[LEVEL_DRG].value - 1) < 1e-12);
    assert_true(fabs(scores.majority[LEVEL_DRG].value) < 1e-12); /* a tie: the first seen is wrong */
    assert_true(fabs(scores.pass1[LEVEL_BASE].value - 2.0 / 3) < 1e-12);
    assert_true(fabs(scores.majority[LEVEL_BASE].value - 1) < 1e-12);
    assert_true(fabs(scores.shares[SHARE_FORMAT].value - 1.0 / 3) < 1e-12);
    assert_true(fabs(scores.shares[SHARE_UNUSABLE].value - 1.0 / 3) < 1e-12);
    assert_true(fabs(scores.shares[SHARE_WRONG_SEVERITY].value - 1.0 / 3) < 1e-12);
}

static void lines_that_do_not_fit_are_refused(void **state) {
    struct printed printed = {0};
    (void)state;
    command_refuses("line 1", "metrics samples %s",
                    folder_write_text("a", "{\"gold\": \"NO TITLE\", \"completions\": []}"));
    command_refuses("completions, the lines before have 1", "metrics samples %s",
                    folder_write_text("b", "{\"gold\": \"CHEST PAIN\", \"completions\": [\"\"]}\n"
                                           "{\"gold\": \"CHEST PAIN\", \"completions\": [\"\", \"\"]}\n"));
    command_refuses("no cases", "metrics samples %s", folder_write_text("c", "\n"));
    command_refuses("\"completion\"", "reward --kind dense %s", folder_write_text("d", "{\"gold\": \"CHEST PAIN\"}"));
    command_run(&printed, "reward --kind nothing");
    assert_int_equal(printed.status, 2);
    command_run(&printed, "reward --kind dense --grouper v43 %s",
                folder_write_text("e", "{\"gold\": \"CHEST PAIN\", \"completion\": \"<think></think><answer>chest "
                                       "pain</answer>\"}\n{\"gold\": \"x\", \"completion\": \"\"}\n"));
    assert_string_equal(printed.out.data, "{\"format\": 0, \"accuracy\": 2}\n{\"format\": -2, \"accuracy\": 0}\n");
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_paid_by_its_parts),
        cmocka_unit_test(having_no_severity_is_no_match),
        cmocka_unit_test(hedging_and_hiding_win_nothing),
        cmocka_unit_test(a_longer_title_is_not_the_title_inside_it),
        cmocka_unit_test(upper_case_is_unicodes),
        cmocka_unit_test(hostile_text_takes_linear_time),
        cmocka_unit_test(the_published_rewards_are_met),
        cmocka_unit_test(the_published_samples_are_scored_alike),
        cmocka_unit_test(a_case_of_three_samples_is_scored_by_hand),
        cmocka_unit_test(lines_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
