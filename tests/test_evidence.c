/* Evidence: whose words carry a DRG, in runs of every kind that were trained on notes in which known words decide it.
 */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "command.h"
#include "eval/evidence_finder.h"
#include "folder.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Heart failure and COPD with their three severities, and respiratory failure where nothing is said of either: the
 * words of base and severity (without CC/MCC has none), and those that say nothing. */
enum { DRGS = 7, RUNS = 5 };
static const int codes[DRGS] = {190, 191, 192, 291, 292, 293, 189};
static const char *const bases[2][3] = {{"wheeze", "bronchodilator", "nebulizer"},
                                        {"edema", "furosemide", "orthopnea"}};
static const char *const severities[2][3] = {{"shock", "sepsis", "arrest"}, {"anemia", "cellulitis", "hyponatremia"}};
static const char *const common[] = {"patient", "was", "admitted", "with", "and", "on", "day", "two"};

static const char *const run_names[RUNS] = {"one", "two", "bert", "caml", "lora"};

/* Each note has a word of its base and one of its severity, anywhere among others. */
static void write_stays(const char *name, int count, uint64_t seed) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int drg = i % DRGS, severity = drg == DRGS - 1 ? (int)rng_below(&rng, 3) : drg % 3;
        const uint64_t length = 6 + rng_below(&rng, 12), first = rng_below(&rng, length);
        const uint64_t second = (first + 1 + rng_below(&rng, length - 1)) % length;
        text_printf(&lines, "{\"note_id\": \"%d\", \"drg\": %d, \"text\": \"", i, codes[drg]);
        for (uint64_t w = 0; w < length; w++) {
            const char *word = common[rng_below(&rng, 8)];
            if (w == first && drg < DRGS - 1) word = bases[drg / 3][rng_below(&rng, 3)];
            if (w == second && severity < 2) word = severities[severity][rng_below(&rng, 3)];
            text_printf(&lines, "%s%s", w == 0 ? "" : " ", word);
        }
        text_add(&lines, ".\"}\n");
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

static const char train_section[] = "seed: 1\ntrain:\n  epochs: 8\n  batch_size: 12\n  micro_batch_tokens: 512\n"
                                    "  max_tokens: 60\n  learning_rate: 5e-3\n  schedule: linear\n"
                                    "  warmup_share: 0.1\n  weight_decay: 0.01\n  beta1: 0.9\n  beta2: 0.98\n"
                                    "  epsilon: 1e-8\n  max_grad_norm: 1.0\n  eval_every: 200\n  save_every: 200\n"
                                    "  log_every: 100\n  save_dtype: f32\n";
static const char decoder_section[] = "model:\n  architecture: qwen2\n  layers: 2\n  width: 32\n  heads: 4\n"
                                      "  kv_heads: 2\n  head_size: 8\n  ffn_width: 64\n  positions: 64\n"
                                      "  rope_theta: 10000\n  norm_eps: 1e-6\n";
static const char bert_section[] = "bert:\n  layers: 2\n  width: 32\n  heads: 4\n  ffn_width: 64\n  positions: 64\n"
                                   "  dropout: 0.0\n  norm_eps: 1e-12\n";
static const char caml_section[] = "caml:\n  embed_size: 16\n  filter_maps: 24\n  kernel_size: 3\n  dropout: 0.0\n"
                                   "  minimum_count: 2\n";
static const char lora_section[] = "lora:\n  rank: 4\n  alpha: 8\n  dropout: 0.0\n"
                                   "  targets: [q_proj, k_proj, v_proj, o_proj]\n";

static void must_run(struct printed *printed, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void must_run(struct printed *printed, const char *format, ...) {
    char arguments[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    command_run(printed, "%s", arguments);
    if (printed->status != 0) fail_msg("casemix %s: %s", arguments, printed->errors.data);
}

static void train(const char *method, const char *sections, const char *run, const char *options) {
    struct printed printed = {0};
    char yaml[4096], file[64];
    snprintf(yaml, sizeof yaml, "method: %s\n%s%s", method, sections, train_section);
    snprintf(file, sizeof file, "%s.yaml", run);
    folder_write_text(file, yaml);
    must_run(&printed, "train %s --data %s --out %s --threads 1 %s", folder_path(file), folder_path("data"),
             folder_path(run), options);
    printed_free(&printed);
}

static int make_runs(void **state) {
    struct printed printed = {0};
    char tokenizer[1100], base[1100];
    if (folder_make(state) != 0 || mkdir(folder_path("data"), 0755) != 0) return 1;
    write_stays("data/train.jsonl", 700, 1);
    write_stays("data/dev.jsonl", 14, 2);
    write_stays("data/test.jsonl", 49, 3);
    folder_write_text("data/labels.tsv",
                      "# grouper v43\nlabel\tdrg\n0\t189\n1\t190\n2\t191\n3\t192\n4\t291\n5\t292\n6\t293\n");
    folder_write_text("tokenizer.yaml", "method: tokenizer\ntokenizer:\n  vocabulary: 330\n  minimum_count: 2\n"
                                        "  special: [\"<|endoftext|>\", \"[PAD]\", \"[CLS]\", \"[SEP]\"]\n");
    must_run(&printed, "train %s --data %s --out %s", folder_path("tokenizer.yaml"), folder_path("data"),
             folder_path("tokenizer"));
    printed_free(&printed);
    snprintf(tokenizer, sizeof tokenizer, "--tokenizer %s", folder_path("tokenizer"));
    snprintf(base, sizeof base, "--model %s", folder_path("one"));
    train("classify", decoder_section, "one", tokenizer);
    train("two_label", decoder_section, "two", tokenizer);
    train("two_label", caml_section, "caml", "--set train.epochs=16 --set train.learning_rate=1e-2");
    strncat(tokenizer, " --set train.epochs=20", sizeof tokenizer - strlen(tokenizer) - 1);
    train("bert", bert_section, "bert", tokenizer);
    train("classify", lora_section, "lora", base);
    return 0;
}

/* A run and a finder in it. */
struct subject {
    struct classifier classifier;
    struct evidence_finder *finder;
    struct evidence evidence;
};

static void subject_open(struct subject *subject, const char *run, enum evidence_method method) {
    struct error error = {0};
    if (!classifier_open(&subject->classifier, folder_path(run), &error) ||
        !evidence_finder_open(&subject->finder, &subject->classifier, method, &error))
        fail_msg("%s", error.message);
}

static void subject_close(struct subject *subject) {
    evidence_finder_close(subject->finder);
    classifier_close(&subject->classifier);
}

static const struct evidence *find(struct subject *subject, const char *note, int drg) {
    struct error error = {0};
    const struct span whole = {0, strlen(note)};
    const int label = drg == 0 ? -1 : labels_find(&subject->classifier.card.labels, drg);
    if (!evidence_find(subject->finder, note, whole, label, &subject->evidence, &error)) fail_msg("%s", error.message);
    return &subject->evidence;
}

static bool is_word(const char *note, const struct evidence_part *part, const char *word) {
    return part->end - part->start == strlen(word) && memcmp(note + part->start, word, strlen(word)) == 0;
}

/* Furosemide and sepsis make it 291, heart failure with MCC. */
static const char planted[] = "patient was admitted with furosemide and on day two sepsis was and.";

static bool decides(const struct evidence_part *word) {
    return is_word(planted, word, "furosemide") || is_word(planted, word, "sepsis");
}

static void planted_words_are_found_by_occlusion(void **state) {
    (void)state;
    for (int r = 0; r < RUNS; r++) {
        struct subject subject;
        subject_open(&subject, run_names[r], EVIDENCE_OCCLUSION);
        const struct evidence *evidence = find(&subject, planted, 0);
        assert_int_equal(subject.classifier.card.labels.codes[evidence->label], 291);
        assert_int_equal(evidence->word_count, 12);
        for (size_t w = 0; w < evidence->word_count; w++) {
            const struct evidence_part *word = &evidence->words[w];
            if (word->marked != decides(word))
                fail_msg("%s: word %zu has %.3f and is %smarked", run_names[r], w, (double)word->score,
                         word->marked ? "" : "not ");
        }
        assert_int_equal(evidence->span_count, 2);
        assert_true(evidence->spans[0].score >= evidence->spans[1].score);
        subject_close(&subject);
    }
}

/* Words that say nothing have their share too, above all the first one, which every other attends to: the two that
 * decide have a good part of the whole, and each far more than the others in the mean. */
static void planted_words_lead_the_gradients(void **state) {
    (void)state;
    for (int r = 0; r < RUNS; r++) {
        struct subject subject;
        subject_open(&subject, run_names[r], EVIDENCE_GRADIENTS);
        const struct evidence *evidence = find(&subject, planted, 0);
        double there = 0, others = 0;
        for (size_t w = 0; w < evidence->word_count; w++)
            *(decides(&evidence->words[w]) ? &there : &others) += (double)evidence->words[w].score;
        if (there < 0.3 * evidence->sum || there / 2 < 2 * others / (double)(evidence->word_count - 2))
            fail_msg("%s: %.3f of %.3f", run_names[r], there, evidence->sum);
        subject_close(&subject);
    }
}

static void attention_is_shared_out_whole(void **state) {
    struct subject subject;
    (void)state;
    subject_open(&subject, "caml", EVIDENCE_ATTENTION);
    const struct evidence *evidence = find(&subject, planted, 0);
    double words = 0, clauses = 0;
    for (size_t w = 0; w < evidence->word_count; w++) words += (double)evidence->words[w].score;
    for (size_t c = 0; c < evidence->clause_count; c++) clauses += (double)evidence->clauses[c].score;
    assert_true(fabs(evidence->sum - 1) < 1e-5);
    assert_true(fabs(words - 1) < 1e-5);
    assert_true(fabs(clauses - 1) < 1e-5);
    subject_close(&subject);
}

/* The path from one text to another ends where it should, whatever the network: sum of the scores = difference of the
 * logits. With many points nothing but rounding is left. */
static void integrated_gradients_add_up_to_the_difference_of_the_logits(void **state) {
    (void)state;
    for (int r = 0; r < RUNS; r++) {
        struct subject subject;
        subject_open(&subject, run_names[r], EVIDENCE_GRADIENTS);
        const struct evidence *evidence = find(&subject, planted, 291);
        const double difference = evidence->logit - evidence->reference;
        assert_true(fabs(difference) > 1);
        subject.finder->tolerance = 0;
        subject.finder->most_points = 810;
        const double many = find(&subject, planted, 291)->sum - difference;
        if (fabs(many) > 0.003 * fabs(difference))
            fail_msg("%s: with many points %g off of %g", run_names[r], many, difference);
        double words = 0, clauses = 0;
        for (size_t w = 0; w < evidence->word_count; w++) words += (double)evidence->words[w].score;
        for (size_t c = 0; c < evidence->clause_count; c++) clauses += (double)evidence->clauses[c].score;
        assert_true(fabs(words) > 0);
        assert_true(fabs(clauses) > 0);
        subject_close(&subject);
    }
}

/* Logit of the label for a note of which tokens first … end - 1 are left out, computed by itself. */
static double logit_without(struct subject *subject, size_t first, size_t end) {
    const struct evidence *evidence = &subject->evidence;
    const struct network *network = &subject->classifier.network;
    struct error error = {0};
    struct network_run *run;
    int32_t tokens[64], offsets[2] = {0, 0};
    float outputs[1024], logits[1024];
    for (size_t t = 0; t < (size_t)evidence->tokens; t++) {
        if (t < first || t >= end) tokens[offsets[1]++] = evidence->ids[t];
    }
    assert_true(classifier_width(&subject->classifier) <= 1024);
    assert_true(network->call->run_open(&run, network->model, offsets[1], 1, false, &error));
    const struct batch batch = {.T = offsets[1], .N = 1, .tokens = tokens, .offsets = offsets};
    network->call->forward(network->model, run, &batch, 0, outputs);
    classifier_compose(&subject->classifier, outputs, 1, logits);
    network->call->run_close(run);
    return evidence_logit(logits, subject->classifier.card.labels.count, evidence->label, 1);
}

static void occlusion_is_the_note_without_each_word(void **state) {
    (void)state;
    static const char note[] = "patient was admitted with furosemide; on day two sepsis and anemia.";
    for (int r = 0; r < RUNS; r++) {
        struct subject subject;
        subject_open(&subject, run_names[r], EVIDENCE_OCCLUSION);
        const struct evidence *evidence = find(&subject, note, 291);
        assert_int_equal(evidence->clause_count, 2);
        for (size_t w = 0; w < evidence->word_count; w++) {
            const struct span tokens = evidence->word_tokens[w];
            const double fall = evidence->logit - logit_without(&subject, tokens.start, tokens.end);
            assert_true(fabs(fall - (double)evidence->words[w].score) < 1e-3);
        }
        const size_t end = evidence->word_tokens[4].end, behind = evidence->word_tokens[5].start;
        assert_true(behind >= end);
        const double fall = evidence->logit - logit_without(&subject, evidence->word_tokens[0].start, end);
        assert_true(fabs(fall - (double)evidence->clauses[0].score) < 1e-3);
        subject_close(&subject);
    }
}

/* Words with letters of two, three and four bytes, an ideograph, a combining accent. */
static void words_are_bytes_of_the_note_also_behind_wide_characters(void **state) {
    (void)state;
    static const char note[] = "\xe2\x80\x9cna\xc3\xafve\xe2\x80\x9d re\xcc\x81sume\xcc\x81 \xe5\xbf\x83\xe7\x96\xbe, "
                               "\xf0\x9f\xab\x80 97 % (edema) on day-two: +2 furosemide!";
    static const char *const words[] = {"na\xc3\xafve",
                                        "re\xcc\x81sume\xcc\x81",
                                        "\xe5\xbf\x83",
                                        "\xe7\x96\xbe",
                                        "\xf0\x9f\xab\x80",
                                        "97",
                                        "edema",
                                        "on",
                                        "day-two",
                                        "2",
                                        "furosemide"};
    for (int r = 0; r < RUNS; r++) {
        struct subject subject;
        const bool caml = strcmp(run_names[r], "caml") == 0; /* reads no signs */
        subject_open(&subject, run_names[r], EVIDENCE_GRADIENTS);
        const struct evidence *evidence = find(&subject, note, 0);
        size_t seen = 0;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            if (caml && strcmp(words[i], "\xf0\x9f\xab\x80") == 0) continue;
            if (seen >= evidence->word_count || !is_word(note, &evidence->words[seen], words[i]))
                fail_msg("%s: word %zu is not \"%s\"", run_names[r], seen, words[i]);
            seen++;
        }
        assert_int_equal(seen, evidence->word_count);
        subject_close(&subject);
    }
}

static void what_was_cut_off_has_no_evidence(void **state) {
    (void)state;
    struct text note = {0};
    for (int i = 0; i < 100; i++) text_add(&note, "patient was ");
    text_add(&note, "furosemide sepsis");
    for (int r = 0; r < RUNS; r++) {
        struct subject subject;
        subject_open(&subject, run_names[r], EVIDENCE_OCCLUSION);
        const struct evidence *evidence = find(&subject, note.data, 0);
        assert_true(evidence->truncated);
        assert_true(evidence->word_count > 0 && evidence->word_count <= 60);
        assert_true(evidence->words[evidence->word_count - 1].end < note.length - 400);
        /* The tail has other words than the head. */
        subject.classifier.reader.window.truncation = TRUNCATE_TAIL;
        evidence = find(&subject, note.data, 0);
        assert_true(is_word(note.data, &evidence->words[evidence->word_count - 1], "sepsis"));
        assert_true(evidence->words[0].start > 400);
        subject_close(&subject);
    }
    text_free(&note);
}

struct worker {
    struct evidence_finder *finder;
    float scores[12];
    bool done;
};

static void *work(void *context) {
    struct worker *worker = context;
    for (int i = 0; i < 20; i++) {
        struct evidence evidence;
        struct error error = {0};
        worker->done =
            evidence_find(worker->finder, planted, (struct span){0, sizeof planted - 1}, -1, &evidence, &error) &&
            evidence.word_count == 12;
        if (!worker->done) return NULL;
        for (size_t w = 0; w < 12; w++) worker->scores[w] = evidence.words[w].score;
    }
    return NULL;
}

static void finders_of_one_classifier_work_side_by_side(void **state) {
    (void)state;
    struct subject subject;
    struct worker workers[2];
    pthread_t threads[2];
    struct error error = {0};
    subject_open(&subject, "one", EVIDENCE_GRADIENTS);
    const struct evidence *evidence = find(&subject, planted, 0);
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){0};
        assert_true(evidence_finder_open(&workers[i].finder, &subject.classifier, EVIDENCE_GRADIENTS, &error));
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        evidence_finder_close(workers[i].finder);
        assert_true(workers[i].done);
        for (size_t w = 0; w < 12; w++) assert_true(fabsf(workers[i].scores[w] - evidence->words[w].score) <= 1e-4f);
    }
    subject_close(&subject);
}

/* The members of a record of `predict --json`. */
static struct json *predict(const char *options, const char *file) {
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    must_run(&printed, "predict --json --threads 1 %s %s", options, file);
    if (!json_parse(&document, "predict", printed.out.data, printed.out.length, &error)) fail_msg("%s", error.message);
    printed_free(&printed);
    return document;
}

static const char *options_of(const char *run, const char *more) {
    static char options[2048];
    snprintf(options, sizeof options, "--model %s %s", folder_path(run), more);
    return options;
}

static void the_record_has_bytes_of_the_file_as_it_is(void **state) {
    (void)state;
    static const char note[] = "R\xc3\xa9sum\xc3\xa9 \xe2\x80\x93 admitted\r\n\r\nBrief Hospital Course:\r\n"
                               "patient was admitted with furosemide and on day two sepsis was and.\r\n\r\n"
                               "Medications on Admission:\r\nfurosemide\r\n";
    char file[600];
    snprintf(file, sizeof file, "%s", folder_write_text("note.txt", note));
    for (int two = 0; two < 2; two++) {
        struct json *document = predict(options_of(two ? "two" : "one", "--evidence=occlusion"), file);
        const json_node *root = json_root(document), *of = json_member(root, "evidence_of");
        int64_t drg;
        int found = 0;
        for (const json_node *one = json_first(json_member(root, "evidence")); one != NULL; one = json_next(one)) {
            int64_t start = 0, end = 0;
            assert_true(json_integer(json_member(one, "start"), &start) && json_integer(json_member(one, "end"), &end));
            const struct evidence_part part = {.start = (size_t)start, .end = (size_t)end};
            assert_true(is_word(note, &part, "furosemide") || is_word(note, &part, "sepsis"));
            assert_true(json_number(json_member(one, "score")) > 0);
            found++;
        }
        assert_int_equal(found, 2);
        assert_true(json_integer(json_member(of, "drg"), &drg) && drg == 291);
        assert_string_equal(json_string(json_member(of, "method")), "occlusion");
        json_free(document);
    }
    struct json *document = predict(options_of("one", "--evidence --evidence-for 192"), file);
    const json_node *of = json_member(json_root(document), "evidence_of");
    int64_t drg;
    assert_true(json_integer(json_member(of, "drg"), &drg) && drg == 192);
    assert_string_equal(json_string(json_member(of, "method")), "gradients");
    assert_true(json_number(json_member(of, "p")) < 0.5);
    json_free(document);
}

static void hostile_notes_are_refused_or_read(void **state) {
    (void)state;
    struct text big = {0};
    struct printed printed = {0};
    command_refuses("empty", "predict --evidence %s %s", options_of("one", ""), folder_write_text("empty.txt", " \n"));
    command_refuses("UTF-8", "predict --evidence %s %s", options_of("one", ""),
                    folder_write_text("bad.txt", "patient \xff\xfe sepsis"));
    for (int i = 0; i < 5 << 16; i++) text_add(&big, "furosemide sepsis");
    command_refuses("more than a note may have", "predict --evidence %s %s", options_of("one", ""),
                    folder_write("big.txt", big.data, big.length));
    big.length = 1 << 20; /* one word of a megabyte */
    must_run(&printed, "predict --evidence --threads 1 %s %s", options_of("bert", ""),
             folder_write("word.txt", big.data, big.length));
    /* Signs alone have no words. */
    struct json *document =
        predict(options_of("one", "--evidence"), folder_write_text("signs.txt", "... ,,, !!! --- ???"));
    assert_int_equal(json_count(json_member(json_root(document), "evidence")), 0);
    json_free(document);
    printed_free(&printed);
    text_free(&big);
}

static void a_note_cannot_speak_to_the_terminal(void **state) {
    (void)state;
    struct printed printed = {0};
    must_run(&printed, "predict --evidence-for 291 --threads 1 %s %s", options_of("one", ""),
             folder_write_text("escapes.txt", "patient \x1b[31mwas\x07 admitted\x01 with\x02 \xc2\x9b"
                                              "furosemide and \xe2\x80\xaesepsis on day two was and"));
    const char *view = strstr(printed.out.data, "evidence for");
    assert_non_null(view);
    for (const char *at = view; *at != '\0'; at++) assert_true((unsigned char)*at >= ' ' || *at == '\n');
    assert_null(strstr(view, "\xc2\x9b"));
    assert_null(strstr(view, "\xe2\x80\xae"));
    if (strstr(view, "[furosemide]") == NULL && strstr(view, "[sepsis]") == NULL) fail_msg("%s", view);
    printed_free(&printed);
}

static void what_has_no_evidence_says_so(void **state) {
    (void)state;
    const char *file = folder_write_text("plain.txt", planted);
    char second[1100];
    command_refuses("CAML", "predict --evidence attention %s %s", options_of("one", ""), file);
    command_refuses("model knows", "predict --evidence-for 470 %s %s", options_of("one", ""), file);
    struct printed printed = {0};
    snprintf(second, sizeof second, "--evidence --model %s", folder_path("two"));
    const char *const wrong[][2] = {{"--evidence --csv", "CSV"},
                                    {second, "one model"},
                                    {"--evidence --decode product", "--decode"},
                                    {"--evidence=magic", "magic"},
                                    {"--evidence-for x", "999"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        command_run(&printed, "predict %s %s", options_of("one", wrong[i][0]), file);
        assert_int_equal(printed.status, 2);
        if (strstr(printed.errors.data, wrong[i][1]) == NULL) fail_msg("%s: %s", wrong[i][0], printed.errors.data);
    }
    command_run(&printed, "eval --deletion --data %s %s", folder_path("data/test.jsonl"), options_of("one", second));
    assert_int_equal(printed.status, 2);
    printed_free(&printed);
}

/* mean falls of p at a tenth of the words */
static void read_fall(const char *run, const char *method, double *lead, double *low, double *random) {
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    must_run(&printed, "eval --json --resamples 100 --threads 1 --deletion %s --deletion-stays 24 --data %s %s", method,
             folder_path("data/test.jsonl"), options_of(run, ""));
    if (!json_parse(&document, "eval", printed.out.data, printed.out.length, &error)) fail_msg("%s", error.message);
    const json_node *test = json_member(json_root(document), "deletion");
    assert_string_equal(json_string(json_member(test, "method")), method);
    const json_node *share = json_next(json_first(json_member(test, "shares"))), *p = json_member(share, "p");
    assert_true(json_number(json_member(share, "percent")) == 10);
    *lead = json_number(json_member(p, "lead"));
    *random = json_number(json_member(p, "random"));
    *low = json_number(json_first(json_member(p, "lead_interval")));
    const double strongest = json_number(json_member(p, "strongest"));
    assert_true(fabs(strongest - *random - *lead) < 1e-9);
    json_free(document);
    printed_free(&printed);
}

static void without_the_evidence_the_prediction_falls_further_than_by_chance(void **state) {
    (void)state;
    static const char *const methods[] = {"gradients", "occlusion", "gradients", "attention"};
    static const char *const runs[] = {"one", "two", "bert", "caml"};
    for (int i = 0; i < 4; i++) {
        double lead, low, random, again, again_low, again_random;
        read_fall(runs[i], methods[i], &lead, &low, &random);
        if (low <= 0 || random >= lead) fail_msg("%s: lead %.3f from %.3f, random %.3f", runs[i], lead, low, random);
        if (i > 0) continue;
        read_fall(runs[i], methods[i], &again, &again_low, &again_random);
        assert_true(again == lead && again_low == low && again_random == random);
    }
}

static void the_report_marks_notes_and_escapes_them(void **state) {
    (void)state;
    static const char text[] =
        "</script><mark>patient was admitted with furosemide & on day two \xe2\x80\x9csepsis\xe2\x80\x9d was and";
    struct printed printed = {0};
    struct text page = {0}, joined = {0};
    struct json *document;
    struct error error = {0};
    char data[600];
    snprintf(data, sizeof data, "%s",
             folder_write_text("hostile.jsonl",
                               "{\"note_id\": \"a\", \"drg\": 293, \"text\": \"</script><mark>patient was admitted "
                               "with furosemide & on day two \xe2\x80\x9csepsis\xe2\x80\x9d was and\"}\n"));
    must_run(&printed, "eval --resamples 20 --threads 1 --data %s --out %s %s", data, folder_path("assessed"),
             options_of("one", ""));
    must_run(&printed, "report %s --evaluation %s --examples %s --evidence occlusion --out %s", folder_path("one"),
             folder_path("assessed"), data, folder_path("page.html"));
    assert_true(file_read(&page, folder_path("page.html"), 0, &error));
    const char *from = strstr(page.data, "id=\"data\">");
    assert_non_null(from);
    from += strlen("id=\"data\">");
    const char *end = strstr(from, "</script>");
    assert_null(memmem(from, (size_t)(end - from), "<", 1));
    assert_true(json_parse(&document, "page", from, (size_t)(end - from), &error));
    const json_node *one = json_first(json_member(json_root(document), "examples"));
    int marked = 0, truth = 0;
    for (const json_node *piece = json_first(json_member(one, "pieces")); piece != NULL; piece = json_next(piece)) {
        const json_node *first = json_next(json_first(piece));
        const char *words = json_string(json_first(piece));
        text_add(&joined, words);
        if (json_number(first) > 0) marked += strcmp(words, "furosemide") == 0 || strcmp(words, "sepsis") == 0;
        assert_non_null(json_next(first));
        truth += json_number(json_next(first)) > 0;
    }
    assert_string_equal(joined.data, text);
    assert_true(marked > 0);
    assert_true(truth > 0);
    json_free(document);
    text_free(&joined);
    text_free(&page);
    command_run(&printed, "report %s --evidence --out %s", folder_path("one"), folder_path("page.html"));
    assert_int_equal(printed.status, 2);
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_words_lead_the_gradients),
        cmocka_unit_test(planted_words_are_found_by_occlusion),
        cmocka_unit_test(attention_is_shared_out_whole),
        cmocka_unit_test(integrated_gradients_add_up_to_the_difference_of_the_logits),
        cmocka_unit_test(occlusion_is_the_note_without_each_word),
        cmocka_unit_test(words_are_bytes_of_the_note_also_behind_wide_characters),
        cmocka_unit_test(what_was_cut_off_has_no_evidence),
        cmocka_unit_test(finders_of_one_classifier_work_side_by_side),
        cmocka_unit_test(the_record_has_bytes_of_the_file_as_it_is),
        cmocka_unit_test(hostile_notes_are_refused_or_read),
        cmocka_unit_test(a_note_cannot_speak_to_the_terminal),
        cmocka_unit_test(what_has_no_evidence_says_so),
        cmocka_unit_test(without_the_evidence_the_prediction_falls_further_than_by_chance),
        cmocka_unit_test(the_report_marks_notes_and_escapes_them),
    };
    return cmocka_run_group_tests(tests, make_runs, folder_remove);
}
