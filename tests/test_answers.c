/* A model that writes, asked about stays: questions in batches, ranked titles behind a reasoning, and the commands. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "command.h"
#include "folder.h"
#include "generate/answer_ranking.h"
#include "generate/answerer.h"
#include "generate/decode.h"
#include "generate/title_scores.h"
#include "model/classifier.h"
#include "tensor/attention_blocks.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define TOKENIZER "models/tiny-classifier"
enum { POSITIONS = 320, TOKENS = 24 };

static char model[1024], run[1024];
static struct answerer answerer;

static bool write_model(struct error *error) {
    struct model_config config = {.architecture = ARCHITECTURE_LLAMA,
                                  .C = 16,
                                  .L = 2,
                                  .H = 2,
                                  .K = 1,
                                  .D = 8,
                                  .F = 32,
                                  .V = 8000,
                                  .positions = POSITIONS,
                                  .norm_eps = 1e-6f,
                                  .rope_theta = 10000,
                                  .tied = true,
                                  .bos_id = -1,
                                  .eos_id = 0,
                                  .pad_id = -1,
                                  .initializer_range = 0.4f};
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json"};
    struct decoder decoder;
    char from[256], to[1200];
    if (!decoder_create(&decoder, &config, 9, error)) return false;
    bool done = true;
    for (int d = 0; done && d < 2; d++) {
        const char *directory = d == 0 ? model : run;
        done = directory_create(directory, error) && model_config_write(&config, directory, "float32", NULL, error) &&
               decoder_write(&decoder, directory, DTYPE_F32, error);
        for (size_t f = 0; done && f < 2; f++) {
            snprintf(from, sizeof from, "%s/%s", TOKENIZER, files[f]);
            snprintf(to, sizeof to, "%s/%s", directory, files[f]);
            done = file_copy(from, to, error);
        }
    }
    decoder_close(&decoder);
    return done;
}

/* A run of v43 with a window of its own and a prompt that says more than the short one. */
static bool write_run(struct error *error) {
    struct run_card card = {.grouper = GROUPER_V43, .max_tokens = 300};
    struct prompt prompt;
    strcpy(card.task, "generate");
    strcpy(card.recipe, "test");
    if (!run_card_write(&card, run, error) ||
        !prompt_open(&prompt, folder_write_text("mine.txt", "[user]\nRead this: {note}\nAnd say the DRG.\n"), error))
        return false;
    const bool done = prompt_write_run(&prompt, run, error);
    prompt_close(&prompt);
    return done;
}

static int set_up(void **state) {
    struct error error = {0};
    if (folder_make(state) != 0) return 1;
    snprintf(model, sizeof model, "%s", folder_path("model"));
    snprintf(run, sizeof run, "%s", folder_path("run"));
    const struct answerer_settings settings = {.model = model, .prompt = "answer-short", .titles = true};
    if (write_model(&error) && write_run(&error) && answerer_open(&answerer, &settings, &error)) return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

static int tear_down(void **state) {
    answerer_close(&answerer);
    return folder_remove(state);
}

static const char *const notes[] = {
    "Came with AKI.", "An old man with a weak heart who was given furosemide and went home.", "Pneumonia.",
    "Fell on the ice. Hip fracture, repaired on day two, no complications since then."};

/* Texts of all answers, in the order in which they come. */
struct taken {
    struct text text;
    size_t questions;
};

static bool take(void *context, const struct question *question, struct error *error) {
    struct taken *taken = context;
    (void)error;
    assert_int_equal(question->tag, taken->questions);
    taken->questions++;
    for (size_t s = 0; s < question->samples; s++) {
        const struct answer *answer = &question->answers[s];
        assert_true(answer->ids.count >= 1 && answer->ids.count <= TOKENS);
        assert_true(answer->log_probability < 0);
        text_printf(&taken->text, "%s %zu %s\n", question->name, s, generation_end_name(answer->end));
        for (size_t i = 0; i < answer->ids.count; i++) text_printf(&taken->text, " %d", answer->ids.ids[i]);
        text_add_char(&taken->text, '\n');
    }
    return true;
}

static void ask(struct taken *taken, int64_t batch, double temperature, int64_t top_k) {
    const struct asking_settings settings = {
        .samples = 3,
        .max_tokens = TOKENS,
        .batch = batch,
        .sampling = {.temperature = temperature, .top_k = top_k, .top_p = 1, .repetition_penalty = 1},
        .seed = 5};
    struct asking *asking;
    struct error error = {0};
    if (!asking_open(&asking, &answerer, &settings, take, taken, &error)) fail_msg("%s", error.message);
    for (size_t i = 0; i < 12; i++) {
        const char *note = notes[i % 4];
        const struct prompt_values values = {.note = note, .note_length = strlen(note) - i / 4};
        if (!asking_put(asking, note, i, &values, &error)) fail_msg("%s", error.message);
    }
    if (!asking_finish(asking, &error)) fail_msg("%s", error.message);
    asking_close(asking);
}

/* How many answers, two lines each, differ. */
static int answers_apart(const char *a, const char *b) {
    int apart = 0;
    while (*a != '\0' && *b != '\0') {
        const char *ends[2] = {a, b};
        for (int i = 0; i < 2; i++) {
            for (int line = 0; line < 2; line++) ends[i] = strchr(ends[i], '\n') + 1;
        }
        apart += ends[0] - a != ends[1] - b || memcmp(a, b, (size_t)(ends[0] - a)) != 0;
        a = ends[0];
        b = ends[1];
    }
    assert_true(*a == *b);
    return apart;
}

/* Batches of other sizes are multiplied by other kernels and round otherwise. The largest of the logits is the same all
 * the same, and so is a draw of a few tokens; of 8,000 that are nearly alike, a draw now and then falls on the
 * neighbour (in 5 of 60 seeds one of the 36 answers did). */
static void answers_come_in_order_and_do_not_depend_on_the_batch(void **state) {
    (void)state;
    static const struct {
        double temperature;
        int64_t top_k;
        int apart;
    } cases[] = {{0, 0, 0}, {1, 4, 0}, {1, 0, 2}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct taken alone = {.questions = 0}, together = {.questions = 0};
        ask(&alone, 1, cases[c].temperature, cases[c].top_k);
        ask(&together, 24, cases[c].temperature, cases[c].top_k);
        assert_int_equal(alone.questions, 12);
        assert_int_equal(together.questions, 12);
        assert_true(answers_apart(alone.text.data, together.text.data) <= cases[c].apart);
        text_free(&alone.text);
        text_free(&together.text);
    }
}

static void no_room_for_a_prompt_is_refused(void **state) {
    (void)state;
    struct asking *asking;
    struct error error = {0};
    const struct asking_settings settings = {
        .samples = 1, .max_tokens = POSITIONS, .batch = 1, .sampling = sampling_plain};
    assert_false(asking_open(&asking, &answerer, &settings, take, NULL, &error));
    assert_non_null(strstr(error.message, "leave no room for a prompt"));
}

/* An answer whose ids are those of a text. */
static void write_answer(struct answer *answer, const char *text) {
    struct error error = {0};
    text_add(&answer->text, text);
    if (!tokenizer_encode_content(answerer.tokenizer, text, strlen(text), false, &answer->ids, &error))
        fail_msg("%s", error.message);
}

static void free_answer(struct answer *answer) {
    text_free(&answer->text);
    token_list_free(&answer->ids);
}

static void expect_context(const char *written, const char *expected) {
    struct answer answer = {.end = GENERATION_LENGTH};
    struct token_list context = {0};
    struct text text = {0};
    struct error error = {0};
    write_answer(&answer, written);
    assert_true(answer_context(&answerer, &answer, &context, &error));
    assert_true(tokenizer_decode(answerer.tokenizer, context.ids, context.count, false, &text, &error));
    assert_string_equal(text.data, expected);
    assert_true((int64_t)context.count <=
                (int64_t)answer.ids.count + answer_reserve(&answerer) - (int64_t)answerer.trie.longest);
    text_free(&text);
    token_list_free(&context);
    free_answer(&answer);
}

static void titles_stand_behind_the_reasoning_however_it_ended(void **state) {
    (void)state;
    static const char whole[] = "<think>\nAKI.\n</think>\n<answer>\n";
    expect_context("<think>\nAKI.\n</think>\n<answer>\nCHEST PAIN\n</answer>", whole);
    expect_context("<think>\nAKI.\n</think>\n<answer>\n", whole);
    expect_context("<think>\nAKI.", whole);
    expect_context("<think>\nAKI.\n</think>", whole);
    expect_context("<think>\nAKI.\n</think> <answer>CHEST PAIN</answer>", whole);
    expect_context("AKI.", whole);
    expect_context("", "<think>\n\n</think>\n<answer>\n");
    /* What was sampled is not encoded again: two blanks stay. */
    expect_context("<think>  AKI.</think><answer>\nX", "<think>  AKI.</think><answer>\n");
}

/* The titles behind a prompt and a context that are read in one piece. */
static void score_whole(const struct question *question, size_t sample, double *p) {
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    struct title_scorer *scorer;
    struct token_list ids = {0};
    struct title_scores scores = {.p = p};
    const int64_t V = answerer.decoder.config.V;
    float *logits = memory_alloc((size_t)V, sizeof *logits);
    const struct prompt_values values = {.note = notes[1], .note_length = strlen(notes[1])};
    assert_true(prompt_encode(&answerer.encoder, &values, POSITIONS, &ids, NULL, &error));
    assert_int_equal(ids.count, question->prompt.count);
    assert_true(answer_context(&answerer, &question->answers[sample], &ids, &error));
    assert_true(kv_cache_open(&cache, &answerer.decoder.config, 400 * ATTENTION_BLOCK, 300, &error));
    assert_true(decode_open(&decode, &answerer.decoder, cache, 32, &error));
    assert_true(title_scorer_open(&scorer, &answerer.trie, decode, cache, V, 16, &error));
    const int32_t sequence = kv_sequence_open(cache);
    assert_true(decode_prompt(decode, sequence, ids.ids, (int64_t)ids.count, logits, &error));
    assert_true(title_scorer_run(scorer, sequence, logits, 0, &scores, &error));
    title_scorer_close(scorer);
    decode_close(decode);
    kv_cache_close(cache);
    memory_free(logits);
    token_list_free(&ids);
}

static void ranked_titles_are_the_mean_over_the_reasonings(void **state) {
    (void)state;
    struct error error = {0};
    struct answer answers[2] = {{.end = GENERATION_STOP_TOKEN}, {.end = GENERATION_LENGTH}};
    struct question question = {.answers = answers, .samples = 2};
    struct answer_ranker *ranker;
    const struct prompt_values values = {.note = notes[1], .note_length = strlen(notes[1])};
    const size_t titles = answerer.catalog->count;
    double *p = memory_alloc(3 * titles, sizeof *p), sum = 0, largest = 0, mass;
    int32_t *votes = memory_alloc(titles, sizeof *votes);
    write_answer(&answers[0], "<think>\nWeak heart.\n</think>\n<answer>\nCHEST PAIN\n</answer>");
    write_answer(&answers[1], "<think>\nFurosemide was given");
    assert_true(prompt_encode(&answerer.encoder, &values, POSITIONS, &question.prompt, NULL, &error));
    if (!answer_ranker_open(&ranker, &answerer, 64, &error)) fail_msg("%s", error.message);
    for (int again = 0; again < 2; again++) { /* nothing is left over from a question before */
        if (!answer_ranker_rank(ranker, &question, p, votes, &mass, &error)) fail_msg("%s", error.message);
    }
    score_whole(&question, 0, p + titles);
    score_whole(&question, 1, p + 2 * titles);
    for (size_t t = 0; t < titles; t++) {
        const double expected = (p[titles + t] + p[2 * titles + t]) / 2;
        sum += p[t];
        largest = fmax(largest, fabs(p[t] - expected));
        assert_int_equal(votes[t], answerer.catalog->drgs[t].code == 313);
    }
    assert_true(fabs(sum - 1) < 1e-6 && mass > 0 && mass <= 1);
    if (!(largest < 2e-4)) fail_msg("largest difference %g", largest);
    answer_ranker_close(ranker);
    token_list_free(&question.prompt);
    free_answer(&answers[0]);
    free_answer(&answers[1]);
    memory_free(p);
    memory_free(votes);
}

static void directories_that_write_are_told_from_others(void **state) {
    (void)state;
    assert_true(answerer_fits(model));
    assert_true(answerer_fits(run));
    assert_false(answerer_fits(TOKENIZER)); /* a classifier */
    assert_false(answerer_fits("absent"));
    struct error error = {0};
    struct answerer other;
    const struct answerer_settings settings = {.model = TOKENIZER, .otherwise = "answer"};
    assert_false(answerer_open(&other, &settings, &error));
    assert_non_null(strstr(error.message, "task is \"classify\""));
}

static const json_node *parse(struct json **document, const char *bytes, size_t length) {
    struct error error = {0};
    if (!json_parse(document, "output", bytes, length, &error)) fail_msg("%s: %.*s", error.message, (int)length, bytes);
    return json_root(*document);
}

static void predict_gives_a_ranked_list_and_the_reasoning(void **state) {
    (void)state;
    struct printed printed = {0};
    struct json *document;
    const char *note = folder_write_text("note.txt", "Brief Hospital Course:\nCame with AKI.\n");
    char path[1024];
    snprintf(path, sizeof path, "%s", note);
    command_run(&printed, "predict --model %s --samples 3 --max-tokens 16 --top-k 4 --json %s %s", run, path, path);
    assert_int_equal(printed.status, 0);
    const char *feed = strchr(printed.out.data, '\n');
    const json_node *root = parse(&document, printed.out.data, (size_t)(feed - printed.out.data));
    assert_int_equal(json_count(json_member(root, "predictions")), 4);
    assert_int_equal(json_count(json_member(root, "answers")), 3);
    double before = 1;
    for (const json_node *one = json_first(json_member(root, "predictions")); one != NULL; one = json_next(one)) {
        const double p = json_number(json_member(one, "p"));
        int64_t code = 0;
        assert_true(p > 0 && p <= before && json_integer(json_member(one, "drg"), &code));
        assert_string_equal(catalog_find(catalog_get(GROUPER_V43), (int)code)->title,
                            json_string(json_member(one, "title")));
        before = p;
    }
    const json_node *answer = json_first(json_member(root, "answers"));
    assert_true(json_string(json_member(answer, "reasoning"))[0] != '\0');
    /* The run's own prompt: its words, not those of the built-in ones. */
    struct token_list ids = {0};
    static const char asked[] = "Read this: Came with AKI.\nAnd say the DRG.\n";
    assert_true(tokenizer_encode(answerer.tokenizer, asked, sizeof asked - 1, false, &ids, NULL));
    assert_int_equal((int)json_number(json_member(root, "tokens")), ids.count);
    token_list_free(&ids);
    json_free(document);
    command_run(&printed, "predict --model %s --prompt answer-short --max-tokens 16 %s", model, path);
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.out.data, "reasoning: "));
    command_run(&printed, "predict --model %s --max-tokens 16 --csv --top-k 2 %s", run, path);
    assert_non_null(strstr(printed.out.data, "id,rank,drg,title,p,votes,"));
    printed_free(&printed);
}

static void write_stays(const char *name, int count) {
    struct text text = {0};
    for (int i = 0; i < count; i++)
        text_printf(&text, "{\"note_id\": \"n%d\", \"subject_id\": %d, \"text\": \"%s\", \"drg\": %d}\n", i, i / 2,
                    notes[i % 4], i % 2 == 0 ? 291 : 313);
    folder_write(name, text.data, text.length);
    text_free(&text);
}

static void eval_writes_samples_that_metrics_scores_alike(void **state) {
    (void)state;
    struct printed evaluated = {0}, scored = {0};
    struct text figures = {0};
    char out[1024], data[1024];
    write_stays("stays.jsonl", 10);
    snprintf(out, sizeof out, "%s", folder_path("evaluation"));
    snprintf(data, sizeof data, "%s", folder_path("stays.jsonl"));
    command_run(&evaluated, "eval --model %s --data %s --samples 2 --max-tokens 8 --out %s --json", run, data, out);
    assert_int_equal(evaluated.status, 0);
    command_run(&scored, "metrics samples --grouper v43 %s/samples.jsonl", out);
    assert_int_equal(scored.status, 0);
    assert_string_equal(evaluated.out.data, scored.out.data);
    assert_true(file_read(&figures, folder_path("evaluation/samples.json"), 0, NULL));
    assert_string_equal(figures.data, scored.out.data);
    assert_non_null(strstr(scored.out.data, "\"pass2\""));
    /* With the tree the answers of a random model are still no answers: it never opens one. As a table: */
    command_run(&evaluated, "eval --model %s --data %s --samples 2 --max-tokens 8 --limit 3 --answer-trie", run, data);
    assert_int_equal(evaluated.status, 0);
    assert_non_null(strstr(evaluated.out.data, "3 stays, 2 answers each"));
    assert_non_null(strstr(evaluated.out.data, "no usable answer             100.0 %"));
    text_free(&figures);
    printed_free(&evaluated);
    printed_free(&scored);
}

static size_t count_lines(const char *path) {
    struct text text = {0};
    size_t lines = 0;
    assert_true(file_read(&text, path, 0, NULL));
    for (size_t i = 0; i < text.length; i++) lines += text.data[i] == '\n';
    text_free(&text);
    return lines;
}

static void a_model_explains_and_goes_on_where_it_stopped(void **state) {
    (void)state;
    struct printed printed = {0};
    char out[1024], data[1024], prompt[1024];
    write_stays("explained.jsonl", 9);
    snprintf(out, sizeof out, "%s", folder_path("rationales.jsonl"));
    snprintf(data, sizeof data, "%s", folder_path("explained.jsonl"));
    snprintf(prompt, sizeof prompt, "%s", folder_write_text("why.txt", "[user]\n{note} {title} {drg}: why?\n"));
    command_run(&printed, "rationales --data %s --model %s --prompt %s --max-tokens 12 --limit 4 --out %s", data, model,
                prompt, out);
    if (printed.status != 0) fail_msg("%s", printed.errors.data);
    assert_int_equal(count_lines(out), 4);
    command_run(&printed, "rationales --data %s --model %s --prompt %s --max-tokens 12 --out %s", data, model, prompt,
                out);
    assert_int_equal(printed.status, 0);
    assert_int_equal(count_lines(out), 9);
    /* Noise names no DRG. */
    command_run(&printed, "rationales --data %s --model %s --prompt %s --max-tokens 12 --reject --out -", data, model,
                prompt);
    assert_int_equal(printed.status, 0);
    assert_int_equal(printed.out.length, 0);
    assert_non_null(strstr(printed.errors.data, "9 rationales were rejected"));
    command_refuses("no room for the note", "rationales --data %s --model %s --max-tokens 100 --out -", data, model);
    printed_free(&printed);
}

static void wrong_options_are_usage_errors(void **state) {
    (void)state;
    static const char *const wrong[] = {"predict --model %s --samples 0",
                                        "predict --model %s --nonsense",
                                        "predict --model %s --top-p 0",
                                        "predict --model %s --format pdf",
                                        "eval --model %s",
                                        "eval --model %s --data x --limit 0",
                                        "eval --model %s --data x --resamples 1"};
    struct printed printed = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char command[1200];
        const char *at = strstr(wrong[i], "%s");
        snprintf(command, sizeof command, "%.*s%s%s", (int)(at - wrong[i]), wrong[i], run, at + 2);
        command_run(&printed, "%s", command);
        if (printed.status != 2) fail_msg("%s: status %d, %s", command, printed.status, printed.errors.data);
    }
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_in_order_and_do_not_depend_on_the_batch),
        cmocka_unit_test(no_room_for_a_prompt_is_refused),
        cmocka_unit_test(titles_stand_behind_the_reasoning_however_it_ended),
        cmocka_unit_test(ranked_titles_are_the_mean_over_the_reasonings),
        cmocka_unit_test(directories_that_write_are_told_from_others),
        cmocka_unit_test(predict_gives_a_ranked_list_and_the_reasoning),
        cmocka_unit_test(eval_writes_samples_that_metrics_scores_alike),
        cmocka_unit_test(a_model_explains_and_goes_on_where_it_stopped),
        cmocka_unit_test(wrong_options_are_usage_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
