/* casemix generate: a causal model goes on from a prompt, or answers in a conversation, streaming. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "generate/generator.h"
#include "model/decoder.h"
#include "model/quantise.h"
#include "model/run_decoder.h"
#include "tensor/compute.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOPS = 16, CHAT_POSITIONS = 8192 };
#define PROMPT_LIMIT ((size_t)16 << 20)

static void print_help(void) {
    puts("usage: casemix generate --model DIR [--adapter DIR] [--prompt TEXT | FILE | -] [OPTIONS]\n"
         "       casemix generate --model DIR --chat [--system TEXT] [OPTIONS]\n\n"
         "Goes on from a prompt as it stands, or with --chat answers through the model's chat template: one\n"
         "turn when a prompt is given, else a conversation, a line of standard input for each turn. Ctrl-C\n"
         "ends the answer; what has come of it stays.\n\n"
         "  --model DIR             a Hugging Face directory of a causal Llama, Qwen2.5 or Mistral model, or a\n"
         "                          run of `casemix train`\n"
         "  --adapter DIR           a PEFT adapter over it\n"
         "  --prompt TEXT           or a FILE, or - for standard input\n"
         "  --chat                  as a conversation; --system TEXT is its first message\n"
         "  --max-tokens N          of an answer [512]\n"
         "  --temperature X         0: always the likeliest token [0.7]\n"
         "  --top-k N  --top-p X  --min-p X  --repetition-penalty X   [0 0.95 0 1]\n"
         "  --seed S                same seed, same answer [1]\n"
         "  --samples N             answers to the same prompt, which is read once [1]\n"
         "  --stop TEXT             end before this text; may be repeated\n"
         "  --answer-trie           behind \"<answer>\" only DRG titles that exist; --grouper v34|v43 [v34]\n"
         "  --json                  a line {\"sample\", \"text\", \"ids\", \"log_probabilities\", \"end\"} an answer\n"
         "  --compute TYPE          auto, f32, bf16, int8 [auto]; --int8-cache DIR keeps the int8 form\n"
         "  --threads N             [all processors]\n\n"
         "  casemix generate --model Qwen2.5-0.5B-Instruct --chat --prompt 'What is an MS-DRG?'\n"
         "  casemix generate --model stories260K --temperature 0 --max-tokens 200 \\\n"
         "      --prompt 'Once upon a time'");
}

struct generate_options {
    const char *model, *adapter, *prompt, *system, *int8_cache;
    const char *stops[STOPS];
    size_t stop_count;
    struct sampling sampling;
    int64_t max_tokens, samples, seed;
    enum grouper grouper;
    enum compute_type compute;
    bool chat, answer_trie, json, help;
};

/* What the command works with. */
struct generation {
    const struct generate_options *options;
    struct decoder decoder;
    struct tokenizer *tokenizer;
    struct title_trie trie;
    struct chat *chat; /* NULL without --chat */
    struct generator *generator;
};

/* An answer as it comes. */
struct answer {
    struct text text;
    struct token_list ids;
    double *log_probabilities; /* [ids.count] */
    size_t capacity;
    enum generation_end end;
    bool failed;
};

struct answers {
    struct answer *items; /* [count] */
    size_t count;
    bool stream; /* to standard output */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

/* From now on Ctrl-C ends the answer under way; where it is ignored (jobs in the background), it stays so. */
static void catch_interrupts(void) {
    if (signal(SIGINT, interrupt) == SIG_IGN) signal(SIGINT, SIG_IGN);
}

/* Ends the program as the signal would have, once what had come is told: whoever started it sees why it ended. */
static void end_if_interrupted(void) {
    if (!interrupted) return;
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
}

static bool take_event(void *context, const struct generation_event *event) {
    struct answers *answers = context;
    struct answer *answer = &answers->items[event->sample];
    answer->end = event->end;
    text_append(&answer->text, event->bytes, event->length);
    if (answers->stream && event->length > 0) {
        fwrite(event->bytes, 1, event->length, stdout);
        fflush(stdout);
    }
    if (event->token != NULL) {
        answer->failed =
            answer->failed ||
            !memory_grow(&answer->ids.ids, &answer->ids.capacity, answer->ids.count + 1, sizeof(int32_t), NULL) ||
            !memory_grow(&answer->log_probabilities, &answer->capacity, answer->ids.count + 1, sizeof(double), NULL);
        if (answer->failed) return false;
        answer->log_probabilities[answer->ids.count] = event->token->log_probability;
        answer->ids.ids[answer->ids.count++] = event->token->id;
    }
    if (interrupted && answer->end == GENERATION_GOES_ON) answer->end = GENERATION_CANCELLED;
    return !interrupted;
}

static void answers_free(struct answers *answers) {
    for (size_t i = 0; answers->items != NULL && i < answers->count; i++) {
        text_free(&answers->items[i].text);
        token_list_free(&answers->items[i].ids);
        memory_free(answers->items[i].log_probabilities);
    }
    memory_free(answers->items);
}

static void print_json(const struct answers *answers, struct text *out) {
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer *answer = &answers->items[i];
        text_printf(out, "{\"sample\": %zu, \"text\": ", i);
        text_add_json(out, answer->text.data == NULL ? "" : answer->text.data, answer->text.length);
        text_add(out, ", \"ids\": [");
        for (size_t t = 0; t < answer->ids.count; t++) text_printf(out, "%s%d", t == 0 ? "" : ", ", answer->ids.ids[t]);
        text_add(out, "], \"log_probabilities\": [");
        for (size_t t = 0; t < answer->ids.count; t++) {
            text_add(out, t == 0 ? "" : ", ");
            text_add_json_float(out, (float)answer->log_probabilities[t]);
        }
        text_printf(out, "], \"end\": \"%s\"}\n", generation_end_name(answer->end));
    }
}

static bool print_answers(const struct generate_options *options, const struct answers *answers, struct error *error) {
    struct text out = {0};
    if (options->json) {
        print_json(answers, &out);
    } else if (answers->stream) {
        text_add_char(&out, '\n');
    } else {
        for (size_t i = 0; i < answers->count; i++) {
            const struct text *text = &answers->items[i].text;
            text_printf(&out, "%s--- %zu ---\n", i == 0 ? "" : "\n", i + 1);
            text_append(&out, text->data == NULL ? "" : text->data, text->length);
            text_add_char(&out, '\n');
        }
    }
    const bool done = text_ok(&out, error);
    if (done) fwrite(out.data, 1, out.length, stdout);
    fflush(stdout);
    text_free(&out);
    return done;
}

/* The token that ends a text: the chat form's, or the model's end-of-sequence. */
static int32_t end_token(const struct generation *generation) {
    return generation->chat != NULL ? chat_end(generation->chat) : generation->decoder.config.eos_id;
}

static bool open_generator(struct generation *generation, int64_t prompt_tokens, struct error *error) {
    const struct generate_options *options = generation->options;
    const int64_t positions = generation->decoder.config.positions;
    struct generator_settings settings;
    int64_t tokens = prompt_tokens;
    if (tokens == 0) tokens = positions < CHAT_POSITIONS ? positions : CHAT_POSITIONS; /* a conversation grows */
    settings = generator_settings_for(tokens, options->samples, options->max_tokens);
    return generator_open(&generation->generator, &generation->decoder, generation->tokenizer,
                          options->answer_trie ? &generation->trie : NULL, &settings, error);
}

/* Answers one prompt and prints it; the first answer's text is appended to *said (may be NULL). */
static bool answer_prompt(struct generation *generation, const struct token_list *prompt, struct text *said,
                          struct error *error) {
    const struct generate_options *options = generation->options;
    struct answers answers = {.items = memory_zero((size_t)options->samples, sizeof *answers.items),
                              .count = (size_t)options->samples,
                              .stream = options->samples == 1 && !options->json};
    if (answers.items == NULL) return memory_error(error, answers.count * sizeof *answers.items, "the answers");
    const int32_t end = end_token(generation);
    const struct generation_request request = {.prompt = prompt->ids,
                                               .prompt_count = (int64_t)prompt->count,
                                               .samples = (int32_t)options->samples,
                                               .max_tokens = options->max_tokens,
                                               .sampling = options->sampling,
                                               .seed = (uint64_t)options->seed,
                                               .stop_ids = &end,
                                               .stop_id_count = end >= 0 ? 1 : 0,
                                               .stop_strings = options->stops,
                                               .stop_string_count = options->stop_count,
                                               .answer_trie = options->answer_trie,
                                               .function = take_event,
                                               .context = &answers};
    int64_t id;
    bool done = generator_submit(generation->generator, &request, &id, error);
    while (done && generator_busy(generation->generator)) done = generator_step(generation->generator, error);
    for (size_t i = 0; done && i < answers.count; i++) {
        if (answers.items[i].failed) done = memory_error(error, answers.items[i].ids.count * 12, "an answer");
    }
    done = done && print_answers(options, &answers, error);
    if (done && said != NULL && answers.items[0].text.data != NULL)
        text_append(said, answers.items[0].text.data, answers.items[0].text.length);
    answers_free(&answers);
    return done;
}

static bool encode_turns(const struct generation *generation, const struct chat_message *messages, size_t count,
                         const char *prompt, size_t length, struct token_list *ids, struct error *error) {
    if (generation->chat != NULL) return chat_encode(generation->chat, messages, count, true, ids, error);
    return tokenizer_encode(generation->tokenizer, prompt, length, true, ids, error);
}

static bool answer_once(struct generation *generation, const char *prompt, size_t length, struct error *error) {
    const char *system = generation->options->system;
    const struct chat_message turns[] = {{"system", system, system == NULL ? 0 : strlen(system)},
                                         {"user", prompt, length}};
    struct token_list ids = {0};
    const size_t first = system == NULL ? 1 : 0;
    bool done = encode_turns(generation, turns + first, 2 - first, prompt, length, &ids, error) &&
                open_generator(generation, (int64_t)ids.count, error);
    if (done) {
        catch_interrupts();
        done = answer_prompt(generation, &ids, NULL, error);
        end_if_interrupted();
    }
    token_list_free(&ids);
    return done;
}

/* The messages of a conversation; their contents are owned. */
struct conversation {
    struct chat_message *messages;
    size_t count, capacity;
};

static bool add_message(struct conversation *conversation, const char *role, const char *content, size_t length,
                        struct error *error) {
    char *copy = memory_copy_string(content, length);
    if (copy == NULL) return memory_error(error, length, "a message");
    if (!memory_grow(&conversation->messages, &conversation->capacity, conversation->count + 1,
                     sizeof *conversation->messages, error)) {
        memory_free(copy);
        return false;
    }
    conversation->messages[conversation->count++] = (struct chat_message){role, copy, length};
    return true;
}

static void conversation_free(struct conversation *conversation) {
    for (size_t i = 0; i < conversation->count; i++) memory_free((char *)(uintptr_t)conversation->messages[i].content);
    memory_free(conversation->messages);
}

static bool answer_turn(struct generation *generation, struct conversation *conversation, const char *line,
                        size_t length, struct error *error) {
    struct token_list ids = {0};
    struct text said = {0};
    interrupted = 0;
    bool done = add_message(conversation, "user", line, length, error) &&
                chat_encode(generation->chat, conversation->messages, conversation->count, true, &ids, error) &&
                answer_prompt(generation, &ids, &said, error) && text_ok(&said, error);
    done = done && add_message(conversation, "assistant", said.data == NULL ? "" : said.data, said.length, error);
    token_list_free(&ids);
    text_free(&said);
    return done;
}

/* A line of standard input for each turn, until its end. Ctrl-C ends the answer under way, not the program. */
static bool converse(struct generation *generation, struct error *error) {
    const bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    struct conversation conversation = {0};
    const char *system = generation->options->system;
    char *line = NULL;
    size_t capacity = 0, bad;
    bool done = open_generator(generation, 0, error);
    if (done && system != NULL) done = add_message(&conversation, "system", system, strlen(system), error);
    if (terminal) catch_interrupts();
    while (done) {
        if (terminal) fputs("> ", stderr);
        const ssize_t length = getline(&line, &capacity, stdin);
        if (length < 0) break;
        const size_t text = (size_t)length - (line[length - 1] == '\n');
        if (text == 0) continue;
        if (!utf8_valid(line, text, &bad))
            done = error_set(error, "standard input: the line is not UTF-8 (byte %zu)", bad + 1);
        else
            done = answer_turn(generation, &conversation, line, text, error);
    }
    if (terminal) fputc('\n', stderr);
    free(line);
    conversation_free(&conversation);
    return done;
}

static bool open_model(struct generation *generation, struct error *error) {
    const struct generate_options *options = generation->options;
    const struct quantise_settings quantise = {.head = true, .cache = options->int8_cache};
    if (!model_directory_open(&generation->decoder, options->model, error)) return false;
    if (generation->decoder.config.classifier) {
        error_set(error, "%s is a classifier: it has no head that writes text", options->model);
        return error_hint(error, "casemix predict codes notes with it");
    }
    if (options->adapter != NULL && !decoder_open_adapter(&generation->decoder, options->adapter, false, error))
        return false;
    if (!tokenizer_open(&generation->tokenizer, options->model, error)) return false;
    if (options->chat && !chat_open(&generation->chat, generation->tokenizer, options->model, error)) return false;
    if (options->answer_trie && !title_trie_open(&generation->trie, generation->tokenizer, options->grouper, error))
        return false;
    compute_start(options->compute);
    return options->compute != COMPUTE_INT8 || decoder_quantise(&generation->decoder, &quantise, NULL, error);
}

static void close_model(struct generation *generation) {
    generator_close(generation->generator);
    title_trie_close(&generation->trie);
    chat_close(generation->chat);
    tokenizer_close(generation->tokenizer);
    decoder_close(&generation->decoder);
}

static bool read_whole(const char *option, const char *value, int64_t low, int64_t high, int64_t *number,
                       struct error *error) {
    return (parse_int64(value, number) && *number >= low && *number <= high) ||
           error_usage(error, "--%s takes a whole number from %lld to %lld, not \"%s\"", option, (long long)low,
                       (long long)high, value);
}

static bool read_real(const char *option, const char *value, double *number, struct error *error) {
    return parse_double(value, number) || error_usage(error, "--%s takes a number, not \"%s\"", option, value);
}

enum option_name {
    MODEL = 1,
    ADAPTER,
    PROMPT,
    CHAT,
    SYSTEM,
    MAX_TOKENS,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    MIN_P,
    PENALTY,
    SEED,
    SAMPLES,
    STOP,
    TRIE,
    GROUPER,
    JSON,
    COMPUTE,
    INT8_CACHE,
    THREADS,
    HELP
};

static bool read_sampling(enum option_name option, const char *value, struct sampling *sampling, struct error *error) {
    switch (option) {
    case TEMPERATURE:
        return read_real("temperature", value, &sampling->temperature, error);
    case TOP_K:
        return read_whole("top-k", value, 0, INT32_MAX, &sampling->top_k, error);
    case TOP_P:
        return read_real("top-p", value, &sampling->top_p, error);
    case MIN_P:
        return read_real("min-p", value, &sampling->min_p, error);
    default:
        return read_real("repetition-penalty", value, &sampling->repetition_penalty, error);
    }
}

static bool read_option(enum option_name option, const char *value, struct generate_options *options,
                        struct error *error) {
    int64_t threads;
    switch (option) {
    case MODEL:
        options->model = value;
        return true;
    case ADAPTER:
        options->adapter = value;
        return true;
    case PROMPT:
        options->prompt = value;
        return true;
    case CHAT:
        options->chat = true;
        return true;
    case SYSTEM:
        options->system = value;
        return true;
    case MAX_TOKENS:
        return read_whole("max-tokens", value, 1, 1 << 24, &options->max_tokens, error);
    case SEED:
        return read_whole("seed", value, 0, INT64_MAX, &options->seed, error);
    case SAMPLES:
        return read_whole("samples", value, 1, 1024, &options->samples, error);
    case STOP:
        if (options->stop_count == STOPS) return error_usage(error, "more than %d --stop", STOPS);
        options->stops[options->stop_count++] = value;
        return *value != '\0' || error_usage(error, "--stop needs a text");
    case TRIE:
        options->answer_trie = true;
        return true;
    case GROUPER:
        return grouper_parse(value, &options->grouper, error);
    case JSON:
        options->json = true;
        return true;
    case COMPUTE:
        return compute_parse(value, &options->compute, error);
    case INT8_CACHE:
        options->int8_cache = value;
        return true;
    case THREADS:
        if (!read_whole("threads", value, 1, 1024, &threads, error)) return false;
        threads_set((int)threads);
        return true;
    case HELP:
        options->help = true;
        return true;
    default:
        return read_sampling(option, value, &options->sampling, error);
    }
}

static bool read_options(int argc, char **argv, struct generate_options *options, struct error *error) {
    static const struct option names[] = {{"model", 1, 0, MODEL},
                                          {"adapter", 1, 0, ADAPTER},
                                          {"prompt", 1, 0, PROMPT},
                                          {"chat", 0, 0, CHAT},
                                          {"system", 1, 0, SYSTEM},
                                          {"max-tokens", 1, 0, MAX_TOKENS},
                                          {"temperature", 1, 0, TEMPERATURE},
                                          {"top-k", 1, 0, TOP_K},
                                          {"top-p", 1, 0, TOP_P},
                                          {"min-p", 1, 0, MIN_P},
                                          {"repetition-penalty", 1, 0, PENALTY},
                                          {"seed", 1, 0, SEED},
                                          {"samples", 1, 0, SAMPLES},
                                          {"stop", 1, 0, STOP},
                                          {"answer-trie", 0, 0, TRIE},
                                          {"grouper", 1, 0, GROUPER},
                                          {"json", 0, 0, JSON},
                                          {"compute", 1, 0, COMPUTE},
                                          {"int8-cache", 1, 0, INT8_CACHE},
                                          {"threads", 1, 0, THREADS},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?') {
            error_usage(error, "generate: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix generate --help");
        }
        if (!read_option((enum option_name)option, optarg, options, error)) return false;
        if (options->help) return true;
    }
    if (options->model == NULL) {
        error_usage(error, "generate needs --model DIR");
        return error_hint(error, "casemix generate --help");
    }
    if (options->system != NULL && !options->chat) return error_usage(error, "--system belongs to --chat");
    if (options->prompt != NULL && optind < argc) return error_usage(error, "--prompt and a FILE: one of them");
    if (optind + 1 < argc) return error_usage(error, "generate takes one prompt, not \"%s\" too", argv[optind + 1]);
    return sampling_check(&options->sampling, error);
}

static bool generate(struct generation *generation, const char *file, struct error *error) {
    const struct generate_options *options = generation->options;
    struct text prompt = {0};
    size_t bad;
    if (!open_model(generation, error)) return false;
    if (options->chat && options->prompt == NULL && file == NULL) return converse(generation, error);
    bool done = true;
    if (options->prompt != NULL)
        text_add(&prompt, options->prompt);
    else
        done = file_read(&prompt, file == NULL ? "-" : file, PROMPT_LIMIT, error);
    done = done && text_ok(&prompt, error);
    const char *bytes = prompt.data == NULL ? "" : prompt.data;
    if (done && !utf8_valid(bytes, prompt.length, &bad))
        done = error_set(error, "the prompt is not UTF-8 (byte %zu)", bad + 1);
    done = done && answer_once(generation, bytes, prompt.length, error);
    text_free(&prompt);
    return done;
}

bool command_generate(int argc, char **argv, struct error *error) {
    struct generate_options options = {.sampling = {.temperature = 0.7, .top_p = 0.95, .repetition_penalty = 1},
                                       .max_tokens = 512,
                                       .samples = 1,
                                       .seed = 1,
                                       .grouper = GROUPER_V34};
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        print_help();
        return true;
    }
    struct generation generation = {.options = &options};
    const bool done = generate(&generation, optind < argc ? argv[optind] : NULL, error);
    close_model(&generation);
    return done;
}
