/* What casemix eval adds to the paper's metrics: intervals against resamples computed the plain way, and calibration,
 * acceptance, money and breakdowns against cases worked by hand. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/threads.h"
#include "command.h"
#include "eval/assessment.h"
#include "folder.h"
#include "model/classifier.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void check_close(const char *what, double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s: %.17g, expected %.17g", what, value, expected);
}

/* Rows with ties, classes without rows, and patients of one to five stays. */
enum { ROWS = 150, CLASSES = 23, PEOPLE = 60, B = 300 };
struct cohort {
    double logits[ROWS * CLASSES];
    int32_t labels[ROWS];
    uint32_t patients[ROWS];
};

static void make_cohort(struct cohort *cohort) {
    struct rng rng;
    rng_seed(&rng, 11);
    for (size_t r = 0; r < ROWS; r++) {
        cohort->labels[r] = (int32_t)(rng_below(&rng, 4) == 0 ? rng_below(&rng, CLASSES - 2) : rng_below(&rng, 4));
        cohort->patients[r] = (uint32_t)(r < PEOPLE ? r : rng_below(&rng, PEOPLE));
        for (int32_t c = 0; c < CLASSES; c++)
            cohort->logits[r * CLASSES + (size_t)c] = (double)rng_below(&rng, 6) + 2 * (c == cohort->labels[r]);
    }
}

static void an_interval_is_that_of_the_metrics_of_each_resample(void **state) {
    static struct cohort cohort;
    static double replicates[METRICS * B], repeated[ROWS * 20 * CLASSES];
    static int32_t labels[ROWS * 20];
    struct resamples resamples;
    struct error error = {0};
    (void)state;
    make_cohort(&cohort);
    const struct scores scores = {cohort.logits, cohort.labels, ROWS, CLASSES, CLASSES};
    assert_true(resamples_open(&resamples, PEOPLE, B, 5, &error));
    assert_true(metric_replicates(&scores, cohort.patients, &resamples, replicates, &error));
    for (size_t b = 0; b < B; b += 13) {
        int64_t N = 0;
        for (size_t r = 0; r < ROWS; r++) {
            for (int copy = 0; copy < resamples.counts[cohort.patients[r] * B + b]; copy++) {
                memcpy(repeated + N * CLASSES, cohort.logits + r * CLASSES, CLASSES * sizeof *repeated);
                labels[N++] = cohort.labels[r];
                assert_true(N < ROWS * 20);
            }
        }
        const struct scores plain = {repeated, labels, N, CLASSES, CLASSES};
        struct metrics m;
        assert_true(metrics_classify(&plain, &m, &error));
        const double expected[] = {m.acc1, m.acc5, m.acc10, m.f1_macro, m.f1_micro, m.auc_macro, m.auc_micro};
        for (size_t k = 0; k < METRICS; k++)
            check_close(metric_name((enum metric)k), replicates[k * B + b], expected[k], 1e-12);
    }
    resamples_close(&resamples);
}

/* Two rows for one, one for the other, of four patients. */
static void a_lead_is_measured_on_the_same_resamples(void **state) {
    static const uint8_t first[] = {1, 1, 0, 1, 1}, second[] = {0, 0, 1, 1, 1};
    uint32_t of[] = {0, 1, 2, 3, 3};
    const struct patients patients = {of, 5, 4};
    struct resamples resamples;
    struct interval lead;
    struct error error = {0};
    (void)state;
    assert_true(resamples_open(&resamples, 4, 400, 3, &error));
    assert_true(paired_difference(first, second, &patients, &resamples, &lead, &error));
    check_close("lead", lead.value, 0.2, 1e-15);
    assert_true(lead.low < 0 && lead.high > 0.5 && lead.high <= 1);
    assert_true(paired_difference(second, second, &patients, &resamples, &lead, &error));
    check_close("none", lead.high - lead.low, 0, 0);
    resamples_close(&resamples);
}

static void threads_do_not_change_a_bit_of_an_interval(void **state) {
    static struct cohort cohort;
    static double replicates[2][METRICS * B];
    struct error error = {0};
    const int before = threads_count();
    (void)state;
    make_cohort(&cohort);
    const struct scores scores = {cohort.logits, cohort.labels, ROWS, CLASSES, CLASSES};
    for (int run = 0; run < 2; run++) {
        struct resamples resamples;
        threads_set(run == 0 ? 1 : 3);
        assert_true(resamples_open(&resamples, PEOPLE, B, 5, &error));
        assert_true(metric_replicates(&scores, cohort.patients, &resamples, replicates[run], &error));
        resamples_close(&resamples);
    }
    threads_set(before);
    assert_memory_equal(replicates[0], replicates[1], sizeof replicates[0]);
}

static void a_resample_draws_as_many_patients_as_there_are(void **state) {
    struct resamples resamples, other;
    struct error error = {0};
    size_t different = 0;
    (void)state;
    assert_true(resamples_open(&resamples, PEOPLE, B, 5, &error));
    assert_true(resamples_open(&other, PEOPLE, B, 6, &error));
    for (size_t b = 0; b < B; b++) {
        size_t drawn = 0;
        for (size_t p = 0; p < PEOPLE; p++) {
            drawn += resamples.counts[p * B + b];
            different += resamples.counts[p * B + b] != other.counts[p * B + b];
        }
        assert_int_equal(drawn, PEOPLE);
    }
    assert_true(different > PEOPLE * B / 4);
    resamples_close(&resamples);
    resamples_close(&other);
}

static void percentiles_lie_between_order_statistics(void **state) {
    double values[101];
    (void)state;
    for (int i = 0; i <= 100; i++) values[i] = (i * 37) % 101;
    struct interval interval = interval_percentile(50, values, 101);
    check_close("low", interval.low, 2.5, 1e-12);
    check_close("high", interval.high, 97.5, 1e-12);
    double gaps[] = {(double)NAN, 3, (double)NAN, 1};
    interval = interval_percentile(2, gaps, 4);
    check_close("low", interval.low, 1.05, 1e-12);
    double none[] = {(double)NAN};
    assert_true(isnan(interval_percentile(2, none, 1).low));
}

static void sums_of_a_resample_weigh_each_patient_by_its_draws(void **state) {
    static double replicates[2 * B];
    struct sums sums = {0};
    struct resamples resamples;
    struct error error = {0};
    double totals[2];
    (void)state;
    assert_true(resamples_open(&resamples, 3, B, 9, &error));
    assert_true(sums_add(&sums, 0, 0, 1.5, &error) && sums_add(&sums, 2, 0, 2, &error) &&
                sums_add(&sums, 2, 1, -1, &error) && sums_add(&sums, 0, 0, 0.25, &error));
    sums_total(&sums, totals);
    sums_replicates(&sums, &resamples, replicates);
    check_close("total", totals[0], 3.75, 0);
    for (size_t b = 0; b < B; b++) {
        check_close("column 0", replicates[b], 1.75 * resamples.counts[b] + 2 * resamples.counts[2 * B + b], 1e-12);
        check_close("column 1", replicates[B + b], -1.0 * resamples.counts[2 * B + b], 1e-12);
    }
    sums_close(&sums);
    resamples_close(&resamples);
}

/* A dataset of v43 DRGs and logits for it. */
struct small {
    struct dataset data;
    struct labels labels;
    struct evaluation evaluation;
};

static void small_open(struct small *small, const char *lines, int *codes, size_t count, const double *logits) {
    struct error error = {0};
    *small = (struct small){.labels = {GROUPER_V43, codes, count}};
    if (!dataset_load(&small->data, folder_write_text("stays.jsonl", lines), &error) ||
        !evaluation_open(&small->evaluation, &small->data, &small->labels, &error) ||
        !evaluation_put(&small->evaluation, 0, small->data.count, logits, &error))
        fail_msg("%s", error.message);
}

static void small_close(struct small *small) {
    evaluation_close(&small->evaluation);
    dataset_free(&small->data);
}

/* Heart failure is 291 (MCC), 292 (CC), 293 (none); 177 to 179 are respiratory infections; 216 is a valve operation
 * with catheter and MCC. The fourth stay's DRG is not among the model's. */
static const char five_stays[] = "{\"text\":\"a\",\"drg\":291,\"subject_id\":1}\n"
                                 "{\"text\":\"b\",\"drg\":292,\"subject_id\":1}\n"
                                 "{\"text\":\"c\",\"drg\":177,\"subject_id\":2}\n"
                                 "{\"text\":\"d\",\"drg\":470,\"subject_id\":3}\n"
                                 "{\"text\":\"e\",\"drg\":216,\"subject_id\":\"\"}\n";
static int five_codes[] = {177, 178, 216, 291, 292};
static const double five_logits[] = {0, 0, 0, 3, 1,  /* 291: right */
                                     0, 0, 0, 2, 1,  /* 291 for 292: severity wrong */
                                     0, 0, 0, 4, 0,  /* 291 for 177: base wrong, MCC right */
                                     0, 0, 0, 0, 5,  /* 292 for 470 */
                                     0, 6, 0, 0, 0}; /* 178 for 216: both wrong, medical for surgical */

static double weight(int code) {
    return catalog_find(catalog_get(GROUPER_V43), code)->weight;
}

static void assess(struct assessment *assessment, const struct small *small, double temperature,
                   const uint32_t *training) {
    const struct assessment_settings settings = {.catalog = catalog_get(GROUPER_V43),
                                                 .temperature = temperature,
                                                 .training = training,
                                                 .resamples = 200,
                                                 .seed = 1};
    struct error error = {0};
    if (!assessment_open(assessment, &small->evaluation, &settings, &error)) fail_msg("%s", error.message);
}

static void money_and_kinds_of_errors_are_those_counted_by_hand(void **state) {
    struct small small;
    struct assessment a;
    (void)state;
    small_open(&small, five_stays, five_codes, 5, five_logits);
    assess(&a, &small, 1, NULL);
    const double truth = weight(291) + weight(292) + weight(177) + weight(470) + weight(216);
    const double predicted = 3 * weight(291) + weight(292) + weight(178);
    assert_int_equal(a.patients.count, 4);
    check_close("acc1", a.metrics.acc1, 0.2, 1e-15);
    check_close("base", a.ratios[RATIO_BASE].value, 0.4, 1e-15);
    check_close("wrong severity", a.ratios[RATIO_WRONG_SEVERITY].value, 0.2, 1e-15);
    check_close("surgical as medical", a.ratios[RATIO_SURGICAL_MEDICAL].value, 0.4, 1e-15); /* 470 and 216 */
    check_close("medical as surgical", a.ratios[RATIO_MEDICAL_SURGICAL].value, 0, 0);
    check_close("all kinds",
                a.ratios[RATIO_WRONG_BASE].value + a.ratios[RATIO_WRONG_SEVERITY].value +
                    a.ratios[RATIO_WRONG_BOTH].value,
                0.8, 1e-15);
    check_close("bias", a.ratios[RATIO_BIAS_PREDICTED].value, predicted / truth - 1, 1e-12);
    check_close("error", a.ratios[RATIO_ERROR_PREDICTED].value, fabs(predicted / truth - 1), 1e-12);
    double over = 0, under = 0, more = 0, less = 0;
    for (size_t i = 0; i < 5; i++) {
        const double difference = a.outcomes[i].predicted->weight - a.outcomes[i].truth->weight;
        over += difference > 0;
        under += difference < 0;
        more += difference > 0 ? difference : 0;
        less += difference < 0 ? difference : 0;
    }
    check_close("over", a.ratios[RATIO_OVER_SHARE].value, over / 5, 1e-15);
    check_close("excess", a.ratios[RATIO_OVER_EXCESS].value, more / over, 1e-12);
    check_close("under", a.ratios[RATIO_UNDER_SHARE].value, under / 5, 1e-15);
    check_close("shortfall", a.ratios[RATIO_UNDER_EXCESS].value, less / under, 1e-12);
    const double e = 3 + exp(3) + exp(1);
    check_close("expected weight", a.outcomes[0].expected,
                (weight(177) + weight(178) + weight(216) + exp(3) * weight(291) + exp(1) * weight(292)) / e, 1e-12);
    assessment_close(&a);
    small_close(&small);
}

static void a_drg_that_the_model_lacks_is_wrong_and_out_of_the_likelihood(void **state) {
    struct small small;
    struct assessment a;
    (void)state;
    small_open(&small, five_stays, five_codes, 5, five_logits);
    assess(&a, &small, 1, NULL);
    assert_false(a.outcomes[3].known);
    assert_false(a.outcomes[3].right);
    assert_int_equal(a.outcomes[3].composed_rank, METRIC_RANKS);
    double nll = 0;
    for (size_t i = 0; i < 5; i++) nll += a.outcomes[i].nll;
    check_close("nll", a.ratios[RATIO_NLL].value, nll / 4, 1e-12);
    check_close("nll of the first", a.outcomes[0].nll, log(3 + exp(3) + exp(1)) - 3, 1e-12);
    double brier = 1; /* of the DRG that is not there */
    const double sum = 4 + exp(5);
    brier += 4 / (sum * sum) + exp(5) * exp(5) / (sum * sum);
    check_close("brier", a.outcomes[3].brier, brier, 1e-12);
    assessment_close(&a);
    small_close(&small);
}

static void the_temperature_divides_the_logits(void **state) {
    struct small small;
    struct assessment a;
    (void)state;
    small_open(&small, five_stays, five_codes, 5, five_logits);
    assess(&a, &small, 2, NULL);
    check_close("nll at 2", a.outcomes[0].nll, log(3 + exp(1.5) + exp(0.5)) - 1.5, 1e-12);
    check_close("confidence at 2", a.outcomes[0].confidence, exp(1.5) / (3 + exp(1.5) + exp(0.5)), 1e-12);
    double nll = log(3 + exp(3) + exp(1)) - 3 + log(3 + exp(2) + exp(1)) - 1 + log(4 + exp(4)) + log(4 + exp(6));
    check_close("nll at 1", a.raw_nll, nll / 4, 1e-12);
    assessment_close(&a);
    small_close(&small);
}

/* Log of the quotient of the two likeliest DRGs' probabilities. */
static double log_odds(const char *model) {
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    command_run(&printed, "predict --model %s --top-k 2 --json examples/notes/1-heart-failure.txt", model);
    if (!json_parse(&document, "predict", printed.out.data, printed.out.length, &error)) fail_msg("%s", error.message);
    const json_node *first = json_first(json_member(json_root(document), "predictions"));
    const double odds = log(json_number(json_member(first, "p")) / json_number(json_member(json_next(first), "p")));
    json_free(document);
    printed_free(&printed);
    return odds;
}

/* A run directory with the shipped model's files and a card of its own. */
static const char *borrow_model(double temperature) {
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    static char run[512];
    struct run_card card;
    struct error error = {0};
    char from[600], to[600], root[512];
    snprintf(run, sizeof run, "%s", folder_path("borrowed"));
    assert_non_null(getcwd(root, sizeof root));
    assert_true(directory_create(run, &error));
    for (size_t i = 0; i < 3; i++) {
        snprintf(from, sizeof from, "%s/models/tiny-classifier/%s", root, files[i]);
        snprintf(to, sizeof to, "%s/%s", run, files[i]);
        if (!path_exists(to)) assert_int_equal(symlink(from, to), 0);
    }
    assert_true(run_card_load(&card, "models/tiny-classifier", &error));
    card.temperature = temperature;
    assert_true(run_card_write(&card, run, &error));
    run_card_free(&card);
    return run;
}

static void predict_speaks_at_the_temperature_of_the_run(void **state) {
    (void)state;
    check_close("odds", log_odds(borrow_model(4)), log_odds("models/tiny-classifier") / 4, 1e-3);
}

static size_t count_lines(const char *path) {
    struct text text = {0};
    struct error error = {0};
    size_t lines = 0;
    if (!file_read(&text, path, 0, &error)) fail_msg("%s", error.message);
    for (size_t i = 0; i < text.length; i++) lines += text.data[i] == '\n';
    text_free(&text);
    return lines;
}

static void the_command_calibrates_scores_and_writes(void **state) {
    struct printed printed = {0};
    struct text written = {0};
    struct json *document;
    struct run_card card;
    struct error error = {0};
    (void)state;
    const char *run = borrow_model(0);
    command_run(&printed, "synth --stays 40 --seed 3 --split 0/50/50 --out %s", folder_path("cohort"));
    assert_int_equal(printed.status, 0);
    folder_write_text("cohort/flow.json", "{\"steps\": []}\n");
    command_run(&printed, "eval --model %s --data %s --calibrate %s --resamples 20 --out %s --json", run,
                folder_path("cohort/test.jsonl"), folder_path("cohort/dev.jsonl"), folder_path("scored"));
    if (printed.status != 0) fail_msg("%s", printed.errors.data);
    if (!file_read(&written, folder_path("scored/evaluation.json"), 0, &error)) fail_msg("%s", error.message);
    assert_string_equal(written.data, printed.out.data);
    assert_true(json_parse(&document, "evaluation", written.data, written.length, &error));
    const json_node *root = json_root(document);
    const size_t stays = (size_t)json_number(json_member(root, "count"));
    assert_int_equal(count_lines(folder_path("scored/predictions.jsonl")), stays);
    assert_int_equal(count_lines(folder_path("scored/metrics.jsonl")), 1);
    assert_true(path_exists(folder_path("scored/confusion.tsv")));
    assert_non_null(json_member(root, "flow"));
    assert_true(run_card_load(&card, run, &error));
    check_close("temperature", card.temperature,
                json_number(json_member(json_member(root, "calibration"), "temperature")), 1e-12);
    assert_true(card.temperature > 0);
    run_card_free(&card);
    json_free(document);
    text_free(&written);
    printed_free(&printed);
}

/* Stays of a group by training frequency, as evaluation.json has it; -1 when there is no such group. */
static double group_stays(const json_node *root, const char *name) {
    const json_node *groups = json_member(json_member(root, "groups"), "training_stays");
    for (const json_node *group = json_first(groups); group != NULL; group = json_next(group)) {
        const char *called = json_string(json_member(group, "name"));
        if (called != NULL && strcmp(called, name) == 0) return json_number(json_member(group, "stays"));
    }
    return -1;
}

static void the_command_groups_stays_by_how_often_training_had_their_drg(void **state) {
    static const char line[] = "{\"note_id\": \"%d\", \"text\": \"Admitted with heart failure.\", \"drg\": %d}\n";
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    struct text training = {0}, scored = {0};
    (void)state;
    for (int i = 0; i < 12; i++) text_printf(&training, line, i, i < 10 ? 291 : 177);
    for (int i = 0; i < 3; i++) text_printf(&scored, line, 20 + i, i < 2 ? 291 : 177);
    text_printf(&scored, line, 30, 65); /* that training never had */
    folder_write_text("seen.jsonl", training.data);
    folder_write_text("scored.jsonl", scored.data);
    command_run(&printed, "eval --model models/tiny-classifier --data %s --train %s --resamples 20 --json",
                folder_path("scored.jsonl"), folder_path("seen.jsonl"));
    if (printed.status != 0) fail_msg("%s", printed.errors.data);
    assert_true(json_parse(&document, "evaluation", printed.out.data, printed.out.length, &error));
    const json_node *root = json_root(document);
    assert_true(group_stays(root, "10-29") == 2.0);
    assert_true(group_stays(root, "1-9") == 1.0);
    assert_true(group_stays(root, "0") == 1.0);
    assert_true(group_stays(root, "30-99") == -1.0);
    json_free(document);
    text_free(&training);
    text_free(&scored);
    printed_free(&printed);
}

static void the_breakdown_counts_stays_where_they_belong(void **state) {
    static uint32_t training[1000];
    struct small small;
    struct assessment a;
    (void)state;
    training[291] = 9;
    training[292] = 10;
    training[216] = 5000;
    training[177] = 1000;
    small_open(&small, five_stays, five_codes, 5, five_logits);
    assess(&a, &small, 1, training);
    size_t kinds[GROUP_KINDS] = {0};
    for (size_t g = 0; g < a.breakdown.group_count; g++) {
        const struct group *group = &a.breakdown.groups[g];
        kinds[group->kind] += group->stays;
        if (strcmp(group->name, "05 Circulatory") == 0) {
            assert_int_equal(group->stays, 3);
            check_close("acc1", group->acc1.value, 1.0 / 3, 1e-15);
            check_close("base", group->base, 2.0 / 3, 1e-15);
        }
        if (group->kind == GROUP_FREQUENCY && strcmp(group->name, "1000 and more") == 0)
            assert_int_equal(group->stays, 2);
        if (group->kind == GROUP_FREQUENCY && strcmp(group->name, "1-9") == 0) assert_int_equal(group->stays, 1);
    }
    for (size_t k = 0; k < GROUP_KINDS; k++) assert_int_equal(kinds[k], 5);
    assert_int_equal(a.breakdown.drg_count, 5);
    assert_int_equal(a.breakdown.drgs[3].drg->code, 292);
    assert_int_equal(a.breakdown.drgs[3].mistaken->code, 291);
    assert_int_equal(a.breakdown.confusion_count, 3);
    assert_int_equal(a.breakdown.base_count, 4);
    size_t cells = 0;
    for (size_t row = 0; row < 4; row++) {
        for (size_t column = 0; column <= MATRIX_BASES; column++) cells += a.breakdown.matrix[row][column];
    }
    assert_int_equal(cells, 5);
    assert_int_equal(a.breakdown.matrix[0][0], 2); /* heart failure is the commonest base */
    assessment_close(&a);
    small_close(&small);
}

static void the_title_of_a_base_has_no_severity(void **state) {
    char title[256], codes[16];
    const struct catalog *catalog = catalog_get(GROUPER_V34);
    (void)state;
    base_title(catalog, catalog_find(catalog, 291)->base, title, sizeof title);
    assert_string_equal(title, "HEART FAILURE AND SHOCK");
    base_codes(catalog, catalog_find(catalog, 291)->base, codes);
    assert_string_equal(codes, "291-293");
    base_title(catalog, catalog_find(catalog, 313)->base, title, sizeof title);
    assert_string_equal(title, "CHEST PAIN");
    base_codes(catalog, catalog_find(catalog, 313)->base, codes);
    assert_string_equal(codes, "313");
}

/* Labels drawn from softmax(logits / 2.5) are best explained by T = 2.5, and of logits three times as large by 7.5. */
static void the_temperature_is_the_one_that_the_labels_were_drawn_at(void **state) {
    enum { N = 4000, C = 5 };
    static double logits[N * C];
    static struct stay stays[N];
    static int32_t targets[N];
    struct dataset data = {.stays = stays, .count = N};
    struct evaluation evaluation = {.dataset = &data, .logits = logits, .targets = targets, .N = N, .C = C, .known = C};
    struct rng rng;
    struct error error = {0};
    double temperature, three;
    (void)state;
    rng_seed(&rng, 17);
    for (size_t i = 0; i < N; i++) {
        double cumulative[C], sum = 0;
        for (size_t c = 0; c < C; c++) {
            logits[i * C + c] = 4 * rng_normal(&rng);
            cumulative[c] = sum += exp(logits[i * C + c] / 2.5);
        }
        targets[i] = (int32_t)rng_pick(&rng, cumulative, C);
    }
    assert_true(temperature_fit(&evaluation, &temperature, &error));
    check_close("temperature", temperature, 2.5, 0.15);
    for (size_t i = 0; i < N * C; i++) logits[i] *= 3;
    assert_true(temperature_fit(&evaluation, &three, &error));
    check_close("three times", three, 3 * temperature, 1e-6);
    for (size_t i = 0; i < N; i++) targets[i] = C;
    evaluation.unknown_stays = N;
    assert_false(temperature_fit(&evaluation, &temperature, &error));
}

static void calibration_error_is_the_gap_in_each_bin_by_its_share(void **state) {
    enum { N = 30 };
    struct outcome outcomes[N] = {0};
    uint8_t bins[2 * N];
    struct reliability width, mass;
    struct error error = {0};
    (void)state;
    for (size_t i = 0; i < N; i++) { /* ten at 0.5 of which 2 are right, twenty at 0.99 of which 19 */
        outcomes[i].confidence = i < 10 ? 0.5 : 0.99;
        outcomes[i].right = i < 2 || i > 10;
    }
    assert_true(reliability_tables(outcomes, N, &width, &mass, bins, &error));
    check_close("ece", width.ece, 10.0 / 30 * 0.3 + 20.0 / 30 * 0.04, 1e-12);
    check_close("largest gap", width.largest_gap, 0.3, 1e-12);
    assert_int_equal(width.bins[7].stays, 10);
    assert_int_equal(width.bins[14].stays, 20);
    assert_int_equal(bins[0], 7);
    for (size_t k = 0; k < CALIBRATION_BINS; k++) assert_int_equal(mass.bins[k].stays, 2);
    outcomes[0].confidence = 1;
    assert_true(reliability_tables(outcomes, N, &width, &mass, bins, &error));
    assert_int_equal(width.bins[14].stays, 21);
}

/* P(X >= 8 of 10) = 0.05 at p = 0.493099; all of 59 right: 0.05^(1/59). */
static void the_lower_bound_is_clopper_and_pearsons(void **state) {
    (void)state;
    const double p = binomial_lower(8, 10, 0.05);
    const double tail = 45 * pow(p, 8) * pow(1 - p, 2) + 10 * pow(p, 9) * (1 - p) + pow(p, 10);
    check_close("tail", tail, 0.05, 1e-10);
    check_close("bound", p, 0.4931, 5e-5);
    check_close("59 of 59", binomial_lower(59, 59, 0.05), pow(0.05, 1.0 / 59), 1e-12);
    check_close("0 of 9", binomial_lower(0, 9, 0.05), 0, 0);
    const double many = binomial_lower(95500, 100000, 0.05);
    assert_true(many > 0.953 && many < 0.955);
}

/* Right, right, wrong, right from the surest on: risks 0, 0, 1/3, 1/4. */
static void risk_is_averaged_over_all_numbers_of_accepted_stays(void **state) {
    struct outcome outcomes[4] = {{.confidence = 0.5, .right = true},
                                  {.confidence = 0.7, .right = false},
                                  {.confidence = 0.9, .right = true},
                                  {.confidence = 0.8, .right = true}};
    static const uint32_t patients[] = {0, 1, 2, 3};
    struct resamples resamples;
    struct selective selective;
    struct error error = {0};
    (void)state;
    assert_true(resamples_open(&resamples, 4, 100, 1, &error));
    assert_true(selective_measure(outcomes, 4, patients, &resamples, &selective, &error));
    check_close("aurc", selective.aurc.value, (1.0 / 3 + 1.0 / 4) / 4, 1e-12);
    check_close("best", selective.best_aurc, 1.0 / 4 / 4, 1e-12);
    check_close("threshold", selective.observed, 0.8, 0);
    assert_true(selective.assured > 1);
    assert_true(selective.aurc.low <= selective.aurc.value && selective.aurc.value <= selective.aurc.high);
    for (size_t i = 0; i < 4; i++) outcomes[i].confidence = 0.6; /* one group: three quarters right all along */
    assert_true(selective_measure(outcomes, 4, patients, &resamples, &selective, &error));
    check_close("tied", selective.aurc.value, 0.25, 1e-12);
    assert_true(selective.observed > 1);
    resamples_close(&resamples);
}

/* 400 stays: the 300 surest all right, of the rest half. */
static void the_assured_threshold_keeps_its_promise_with_room_for_chance(void **state) {
    enum { N = 400 };
    static struct outcome outcomes[N];
    static uint32_t patients[N];
    struct resamples resamples;
    struct selective selective;
    struct error error = {0};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        patients[i] = (uint32_t)i;
        outcomes[i].confidence = 1 - (double)i / 1000;
        outcomes[i].right = i < 300 || i % 2 == 0;
    }
    assert_true(resamples_open(&resamples, N, 20, 1, &error));
    assert_true(selective_measure(outcomes, N, patients, &resamples, &selective, &error));
    assert_true(selective.assured > selective.observed);
    struct coverage coverage = coverage_at(outcomes, N, selective.observed);
    assert_true((double)coverage.right >= 0.95 * (double)coverage.accepted);
    assert_int_equal(coverage.accepted, 333); /* 16 wrong of 333; one more wrong would be too many */
    coverage = coverage_at(outcomes, N, selective.assured);
    assert_int_equal(coverage.accepted, 300);
    assert_true(selective.table[14].lower >= 0.95 && selective.table[15].lower < 0.95);
    resamples_close(&resamples);
}

static void the_object_that_is_written_is_json_with_every_part(void **state) {
    static const char *const members[] = {"acc1",          "intervals", "ratios", "calibration",
                                          "risk_coverage", "groups",    "drgs",   "confusions"};
    struct small small;
    struct assessment a;
    struct text out = {0};
    struct json *document;
    struct error error = {0};
    (void)state;
    small_open(&small, five_stays, five_codes, 5, five_logits);
    assess(&a, &small, 2, NULL);
    assessment_add_json(&out, &a, "model");
    text_add_char(&out, '}');
    if (!json_parse(&document, "object", out.data, out.length, &error)) fail_msg("%s", error.message);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        assert_non_null(json_member(json_root(document), members[i]));
    const json_node *ratios = json_member(json_root(document), "ratios");
    assert_int_equal(json_count(ratios), RATIOS);
    json_free(document);
    text_clear(&out);
    assessment_add_text(&out, &a);
    for (const char *line = out.data; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(utf8_columns(line, (size_t)(strchr(line, '\n') - line)) <= 100);
    assert_true(assessment_write_confusions(&a, folder_path("."), &error));
    text_free(&out);
    assessment_close(&a);
    small_close(&small);
}

/* Every allocation is made to fail once: an error each time, and nothing is left behind (the leak checker sees to it).
 */
static void an_assessment_survives_any_shortage_of_memory(void **state) {
    struct small small;
    struct assessment a;
    bool done = false;
    (void)state;
    small_open(&small, five_stays, five_codes, 5, five_logits);
    const struct assessment_settings settings = {
        .catalog = catalog_get(GROUPER_V43), .temperature = 1, .resamples = 20, .seed = 1};
    for (int64_t k = 0; !done && k < 2000; k++) {
        struct error error = {0};
        memory_fail_after(k);
        done = assessment_open(&a, &small.evaluation, &settings, &error);
        memory_fail_after(-1);
        if (!done) assert_non_null(strstr(error.message, "memory"));
    }
    assert_true(done);
    assessment_close(&a);
    small_close(&small);
}

static void a_drg_outside_the_grouper_is_refused(void **state) {
    struct small small;
    struct outcome outcomes[1];
    struct error error = {0};
    static int codes[] = {291};
    static const double logits[] = {1};
    (void)state;
    small_open(&small, "{\"text\":\"a\",\"drg\":990}\n", codes, 1, logits);
    assert_false(outcomes_fill(outcomes, &small.evaluation, catalog_get(GROUPER_V43), 1, &error));
    assert_non_null(strstr(error.message, "DRG 990"));
    small_close(&small);
}

static void the_temperature_stands_in_the_run_card(void **state) {
    struct run_card card, again;
    struct error error = {0};
    (void)state;
    if (!run_card_load(&card, "models/tiny-classifier", &error)) fail_msg("%s", error.message);
    check_close("none", card.temperature, 0, 0);
    card.temperature = 1.25;
    assert_true(run_card_write(&card, folder_path("."), &error));
    assert_true(run_card_load(&again, folder_path("."), &error));
    check_close("kept", again.temperature, 1.25, 0);
    run_card_free(&again);
    card.temperature = 1e6;
    assert_true(run_card_write(&card, folder_path("."), &error));
    assert_false(run_card_load(&again, folder_path("."), &error));
    assert_non_null(strstr(error.message, "temperature"));
    run_card_free(&card);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interval_is_that_of_the_metrics_of_each_resample),
        cmocka_unit_test(a_lead_is_measured_on_the_same_resamples),
        cmocka_unit_test(threads_do_not_change_a_bit_of_an_interval),
        cmocka_unit_test(a_resample_draws_as_many_patients_as_there_are),
        cmocka_unit_test(percentiles_lie_between_order_statistics),
        cmocka_unit_test(sums_of_a_resample_weigh_each_patient_by_its_draws),
        cmocka_unit_test(money_and_kinds_of_errors_are_those_counted_by_hand),
        cmocka_unit_test(a_drg_that_the_model_lacks_is_wrong_and_out_of_the_likelihood),
        cmocka_unit_test(the_temperature_divides_the_logits),
        cmocka_unit_test(predict_speaks_at_the_temperature_of_the_run),
        cmocka_unit_test(the_command_calibrates_scores_and_writes),
        cmocka_unit_test(the_command_groups_stays_by_how_often_training_had_their_drg),
        cmocka_unit_test(the_breakdown_counts_stays_where_they_belong),
        cmocka_unit_test(the_title_of_a_base_has_no_severity),
        cmocka_unit_test(the_temperature_is_the_one_that_the_labels_were_drawn_at),
        cmocka_unit_test(calibration_error_is_the_gap_in_each_bin_by_its_share),
        cmocka_unit_test(the_lower_bound_is_clopper_and_pearsons),
        cmocka_unit_test(risk_is_averaged_over_all_numbers_of_accepted_stays),
        cmocka_unit_test(the_assured_threshold_keeps_its_promise_with_room_for_chance),
        cmocka_unit_test(the_object_that_is_written_is_json_with_every_part),
        cmocka_unit_test(an_assessment_survives_any_shortage_of_memory),
        cmocka_unit_test(a_drg_outside_the_grouper_is_refused),
        cmocka_unit_test(the_temperature_stands_in_the_run_card),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
