/* What a completion is paid in training, term by term, and that no way of gaming it pays. */
#include "base/error.h"
#include "base/text.h"
#include "train/reward_terms.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char gold[] = "HEART FAILURE AND SHOCK WITH MCC";

#define ANSWER(title) "<think>\nreasons\n</think>\n<answer>\n" title "\n</answer>"
#define REASONED(reasoning) "<think>\n" reasoning "\n</think>\n<answer>\nCHEST PAIN\n</answer>"

enum { TOKENS = 4096 };

/* A text as a rollout of one token for each byte. */
struct spelt {
    struct rollout rollout;
    int32_t ids[TOKENS], ends[TOKENS];
};

static void spell(struct spelt *spelt, const char *text) {
    const size_t length = strlen(text);
    assert_true(length < TOKENS);
    *spelt = (struct spelt){0};
    for (size_t i = 0; i < length; i++) {
        spelt->ids[i] = (unsigned char)text[i];
        spelt->ends[i] = (int32_t)i + 1;
    }
    text_add(&spelt->rollout.text, text);
    spelt->rollout.ids = (struct token_list){spelt->ids, length, TOKENS};
    spelt->rollout.text_ends = spelt->ends;
}

static struct reward_parts pay(const struct reward_settings *settings, const char *completion) {
    static struct spelt spelt;
    struct reward_parts parts;
    struct error error = {0};
    spell(&spelt, completion);
    if (!reward_terms(&parts, settings, catalog_get(GROUPER_V34), &spelt.rollout, gold, &error))
        fail_msg("%s", error.message);
    text_free(&spelt.rollout.text);
    return parts;
}

static struct reward_settings settings_of(enum reward_kind kind) {
    return (struct reward_settings){.pay = *reward_pay_of(kind), .accuracy = 1, .format = 1, .max_tokens = TOKENS};
}

static void assert_near(double got, double want) {
    if (!(fabs(got - want) < 1e-9)) fail_msg("%g, expected %g", got, want);
}

static void terms_are_added_with_their_weights(void **state) {
    struct reward_settings settings = settings_of(REWARD_DENSE);
    (void)state;
    settings.accuracy = 0.5;
    settings.format = 3;
    assert_near(pay(&settings, ANSWER("HEART FAILURE AND SHOCK WITH CC")).total, 0.75);
    const struct reward_parts none = pay(&settings, "HEART FAILURE AND SHOCK WITH MCC");
    assert_near(none.total, -6);
    assert_near(none.answer, -2);
    assert_false(none.has_format || none.is_right);
    settings.pay = (struct reward_pay){.full = 10, .base = 4, .neither = -1, .invalid = -3, .no_format = -7};
    assert_near(pay(&settings, ANSWER("HEART FAILURE AND SHOCK WITH MCC")).total, 5);
    assert_near(pay(&settings, ANSWER("HEART FAILURE AND SHOCK WITH CC")).total, 2);
    assert_near(pay(&settings, ANSWER("NO TITLE")).total, -1.5);
    assert_near(pay(&settings, "nothing").total, -21);
}

static void length_costs_only_near_the_limit(void **state) {
    struct reward_settings settings = settings_of(REWARD_DENSE);
    const char *right = ANSWER("HEART FAILURE AND SHOCK WITH MCC");
    const int64_t count = (int64_t)strlen(right);
    (void)state;
    settings.length = 2;
    settings.length_soft = 10;
    settings.max_tokens = count + 10;
    assert_near(pay(&settings, right).total, 2);
    settings.max_tokens = count + 5;
    assert_near(pay(&settings, right).length, -1);
    settings.max_tokens = count;
    assert_near(pay(&settings, right).total, 0);
}

static void repetition_costs_by_its_share(void **state) {
    static const int32_t ids[] = {1, 2, 3, 1, 2, 3, 1, 2, 3};
    struct reward_settings settings = settings_of(REWARD_DENSE);
    (void)state;
    assert_near(repeated_share(ids, 9, 3), 4.0 / 7);
    assert_near(repeated_share(ids, 9, 9), 0);
    assert_near(repeated_share(ids, 2, 3), 0);
    settings.repetition = 1;
    settings.repetition_ngram = 8;
    assert_near(pay(&settings, REASONED("abcdefghi jklmnopq")).repetition, 0);
    const double share = pay(&settings, REASONED("the same words the same words the same words")).repetition;
    assert_true(share < -0.1 && share > -1);
}

static void a_drg_named_before_the_reasoning_costs(void **state) {
    static const struct {
        const char *completion;
        bool names;
    } cases[] = {{REASONED("This is HEART FAILURE AND SHOCK WITH MCC, since"), true},
                 {REASONED("This is Heart failure and shock with MCC, since"), true},
                 {REASONED("I take DRG 291."), true},
                 {REASONED("MS-DRG: 291"), true},
                 {REASONED("The DRG is by the principal diagnosis."), false},
                 {REASONED("He had chest pain."), false},
                 {REASONED("So it is CHEST PAIN."), true},
                 {REASONED("The patient came in with dyspnea and was given furosemide, DRG 291"), false},
                 {ANSWER("HEART FAILURE AND SHOCK WITH MCC"), false},
                 {"", false}};
    struct reward_settings settings = settings_of(REWARD_DENSE);
    (void)state;
    settings.cot_first = 0.5;
    settings.cot_first_tokens = 50; /* here bytes */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const double paid = pay(&settings, cases[i].completion).cot_first;
        if (fabs(paid - (cases[i].names ? -0.5 : 0)) > 0) fail_msg("%s: %g", cases[i].completion, paid);
    }
}

/* Each attempt against what its writer could have had by answering straight with its first answer. Two answers, the
 * answer inside the reasoning, titles that hold the right one, text behind the answer, tags in tags. */
static void no_way_of_gaming_pays_or_counts_as_right(void **state) {
    static const struct {
        const char *hack, *straight;
    } attempts[] = {
        {ANSWER("CHEST PAIN") ANSWER("HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        {ANSWER("CHEST PAIN") "\n<answer>HEART FAILURE AND SHOCK WITH MCC</answer>", ANSWER("CHEST PAIN")},
        {ANSWER("CHEST PAIN") "</think><answer>HEART FAILURE AND SHOCK WITH MCC</answer>", ANSWER("CHEST PAIN")},
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC\nCHEST PAIN"), ANSWER("CHEST PAIN")},
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC OR HEART FAILURE AND SHOCK WITH CC"), ANSWER("CHEST PAIN")},
        {REASONED("<answer>HEART FAILURE AND SHOCK WITH CC</answer>"), ANSWER("HEART FAILURE AND SHOCK WITH CC")},
        {"<think><answer>HEART FAILURE AND SHOCK WITH MCC</answer></think>", ANSWER("")},
        {"<think><answer>CHEST PAIN</answer></think><answer>HEART FAILURE AND SHOCK WITH MCC</answer>",
         ANSWER("CHEST PAIN")},
        {REASONED("HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        {ANSWER("THE HEART FAILURE AND SHOCK WITH MCC"), ANSWER("")},
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC."), ANSWER("")},
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC 291"), ANSWER("")},
        {ANSWER("HEART FAILURE AND SHOCK WITH MCC") "\nThat is my answer.", ANSWER("CHEST PAIN")},
        {"I think: " ANSWER("HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        {"<think></think><answer><answer>HEART FAILURE AND SHOCK WITH MCC</answer></answer>", ANSWER("")},
        {"<ANSWER>CHEST PAIN</ANSWER>" ANSWER("HEART FAILURE AND SHOCK WITH MCC"), ANSWER("CHEST PAIN")},
        {"<answer>HEART FAILURE AND SHOCK WITH MCC</answer>", ANSWER("CHEST PAIN")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        for (int kind = 0; kind < 3; kind++) {
            const struct reward_settings settings = settings_of((enum reward_kind)kind);
            const struct reward_parts hack = pay(&settings, attempts[i].hack),
                                      straight = pay(&settings, attempts[i].straight);
            if (hack.total > straight.total || hack.is_right)
                fail_msg("kind %d: %s is paid %g%s, the straight answer %g", kind, attempts[i].hack, hack.total,
                         hack.is_right ? " and right" : "", straight.total);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_added_with_their_weights),
        cmocka_unit_test(length_costs_only_near_the_limit),
        cmocka_unit_test(repetition_costs_by_its_share),
        cmocka_unit_test(a_drg_named_before_the_reasoning_costs),
        cmocka_unit_test(no_way_of_gaming_pays_or_counts_as_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
