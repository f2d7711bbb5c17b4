/* What a reader of an answer under way sees. The model writes chosen tokens: its residual is the embedding of the last
 * token, and the head answers each token of a chain with the next. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "folder.h"
#include "generate/generator.h"
#include "model/decoder.h"
#include "tokenizer/tokenizer.h"
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 64 };

static struct tokenizer *tokenizer;

static float *values(const struct matrix *matrix) {
    return (float *)(uintptr_t)matrix->data;
}

static void make_chain(struct decoder *decoder) {
    struct error error = {0};
    struct model_config config = {.architecture = ARCHITECTURE_QWEN2,
                                  .C = WIDTH,
                                  .L = 1,
                                  .H = 2,
                                  .K = 1,
                                  .D = 32,
                                  .F = 64,
                                  .V = (int64_t)tokenizer_vocabulary(tokenizer),
                                  .positions = 1 << 20,
                                  .norm_eps = 1e-6f,
                                  .rope_theta = 10000,
                                  .qkv_bias = true,
                                  .bos_id = -1,
                                  .eos_id = -1,
                                  .pad_id = -1,
                                  .initializer_range = 1};
    if (!decoder_create(decoder, &config, 3, &error)) fail_msg("%s", error.message);
    memset(values(&decoder->layers[0].projections[PROJECTION_O].weight), 0, sizeof(float) * WIDTH * 64);
    memset(values(&decoder->layers[0].projections[PROJECTION_DOWN].weight), 0, sizeof(float) * WIDTH * 64);
    memset(values(&decoder->head.weight), 0, sizeof(float) * WIDTH * (size_t)config.V);
}

static void link_tokens(struct decoder *decoder, int32_t from, int32_t to) {
    assert_true(from >= 0 && to >= 0);
    for (int64_t c = 0; c < WIDTH; c++)
        values(&decoder->head.weight)[to * WIDTH + c] += values(&decoder->embedding)[from * WIDTH + c];
}

static int32_t byte_token(char byte) {
    const char piece[] = {byte, '\0'};
    return tokenizer_token_id(tokenizer, piece);
}

/* What was handed over, call by call. */
struct stream {
    struct text text;
    int calls, cut; /* calls whose bytes were no whole characters */
    enum generation_end end;
};

static bool take(void *context, const struct generation_event *event) {
    struct stream *stream = context;
    size_t bad;
    stream->calls++;
    stream->cut += !utf8_valid(event->bytes == NULL ? "" : event->bytes, event->length, &bad);
    stream->end = event->end;
    text_append(&stream->text, event->bytes, event->length);
    return true;
}

/* An answer of exactly these bytes, a token each, to the prompt "Q". */
static void write_bytes(const char *bytes, size_t count, const char *stop, struct stream *stream) {
    struct decoder decoder = {0};
    struct generator *generator;
    struct error error = {0};
    int64_t id;
    make_chain(&decoder);
    const int32_t prompt = byte_token('Q');
    for (size_t i = 0; i < count; i++)
        link_tokens(&decoder, i == 0 ? prompt : byte_token(bytes[i - 1]), byte_token(bytes[i]));
    const struct generator_settings settings = {256, 2, 16, 0};
    const struct generation_request request = {.prompt = &prompt,
                                               .prompt_count = 1,
                                               .samples = 1,
                                               .max_tokens = (int64_t)count,
                                               .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                                               .stop_strings = &stop,
                                               .stop_string_count = stop == NULL ? 0 : 1,
                                               .function = take,
                                               .context = stream};
    if (!generator_open(&generator, &decoder, tokenizer, NULL, &settings, &error) ||
        !generator_submit(generator, &request, &id, &error))
        fail_msg("%s", error.message);
    while (generator_busy(generator)) assert_true(generator_step(generator, &error));
    generator_close(generator);
    decoder_close(&decoder);
    text_add(&stream->text, "");
}

/* Every maximal part of a character that never becomes one is told as U+FFFD (Unicode 15, 3.9, "substitution of
 * maximal subparts"), as Hugging Face's decoders and Python do it; bytes that wait for their like are held back. */
static void bytes_that_make_no_characters_are_replaced(void **state) {
    static const struct {
        const char *bytes, *told;
    } cases[] = {
        {"a\xe2\x82\xac", "a\xe2\x82\xac"},                           /* the euro sign, whole */
        {"a\xe2\x82x", "a\xef\xbf\xbdx"},                             /* cut by a letter */
        {"a\xffz", "a\xef\xbf\xbdz"},                                 /* never a part of UTF-8 */
        {"a\x80\x81z", "a\xef\xbf\xbd\xef\xbf\xbdz"},                 /* continuations of nothing */
        {"\xf0\x9f\x98\x80z", "\xf0\x9f\x98\x80z"},                   /* four bytes */
        {"\xf0\x9f\x98z", "\xef\xbf\xbdz"},                           /* three of them: one sign */
        {"\xe2\x82\xf0\x9f\x98\x80", "\xef\xbf\xbd\xf0\x9f\x98\x80"}, /* cut by another's beginning */
        {"\xc0\xafz", "\xef\xbf\xbd\xef\xbf\xbdz"},                   /* overlong */
        {"\xed\xa0\x80z", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz"},   /* half of a surrogate pair */
        {"\xf4\x90\x80z", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz"},   /* above U+10FFFF */
        {"ab\xe2\x82", "ab\xef\xbf\xbd"},                             /* the answer ends inside one */
        {"\xc3", "\xef\xbf\xbd"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream stream = {0};
        write_bytes(cases[i].bytes, strlen(cases[i].bytes), NULL, &stream);
        if (strcmp(stream.text.data, cases[i].told) != 0)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, stream.text.data, cases[i].told);
        assert_int_equal(stream.cut, 0);
        assert_int_equal(stream.calls, strlen(cases[i].bytes));
        assert_int_equal(stream.end, GENERATION_LENGTH);
        text_free(&stream.text);
    }
}

/* A stop string is found in what is told, also right behind a replaced byte. */
static void a_stop_text_is_found_behind_broken_bytes(void **state) {
    struct stream stream = {0};
    (void)state;
    write_bytes("a\xe2STOPz", 7, "STOP", &stream);
    assert_string_equal(stream.text.data, "a\xef\xbf\xbd");
    assert_int_equal(stream.end, GENERATION_STOP_STRING);
    text_free(&stream.text);
}

/* Closing while answers, prompts and waiting requests are under way gives everything back (the sanitizers watch), and
 * nobody is called any more. */
static void closing_in_mid_stream_leaves_nothing(void **state) {
    struct decoder decoder = {0};
    struct generator *generator;
    struct error error = {0};
    struct stream streams[3] = {0};
    int32_t prompt[200];
    int64_t id;
    (void)state;
    make_chain(&decoder);
    for (int i = 0; i < 200; i++) prompt[i] = byte_token((char)('A' + i % 50));
    link_tokens(&decoder, prompt[0], prompt[1]);
    link_tokens(&decoder, prompt[1], prompt[0]);
    const struct generator_settings settings = {512, 4, 8, 2};
    if (!generator_open(&generator, &decoder, tokenizer, NULL, &settings, &error)) fail_msg("%s", error.message);
    for (int i = 0; i < 3; i++) { /* one that answers, one whose prompt is read, one that waits for room */
        const struct generation_request request = {.prompt = prompt,
                                                   .prompt_count = i == 0 ? 1 : 200,
                                                   .samples = i == 0 ? 2 : 1,
                                                   .max_tokens = 60,
                                                   .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
                                                   .function = take,
                                                   .context = &streams[i]};
        if (!generator_submit(generator, &request, &id, &error)) fail_msg("%s", error.message);
    }
    for (int s = 0; s < 6; s++) assert_true(generator_step(generator, &error));
    assert_true(streams[0].calls >= 6);
    const int calls = streams[0].calls;
    assert_true(generator_busy(generator));
    generator_close(generator);
    assert_int_equal(streams[0].calls, calls);
    assert_int_equal(streams[1].calls + streams[2].calls, 0);
    for (int i = 0; i < 3; i++) text_free(&streams[i].text);
    decoder_close(&decoder);
}

static const char *program(void) {
    static char path[600];
    const char *build = getenv("B");
    snprintf(path, sizeof path, "%s/casemix", build == NULL ? "build" : build);
    return path;
}

/* Reads from a terminal until `wanted` has come or 60 seconds are over. */
static bool wait_for(int terminal, struct text *seen, const char *wanted) {
    const time_t end = time(NULL) + 60;
    char bytes[4096];
    while (time(NULL) < end) {
        struct pollfd poll_of = {terminal, POLLIN, 0};
        if (poll(&poll_of, 1, 1000) <= 0) continue;
        const ssize_t got = read(terminal, bytes, sizeof bytes);
        if (got <= 0) return false;
        text_append(seen, bytes, (size_t)got);
        if (strstr(seen->data, wanted) != NULL) return true;
    }
    return false;
}

static void write_line(int terminal, const char *line) {
    assert_int_equal(write(terminal, line, strlen(line)), (ssize_t)strlen(line));
}

/* An endless answer in a conversation: Ctrl-C ends the answer, not the conversation. */
static void control_c_ends_the_answer_and_not_the_conversation(void **state) {
    struct decoder decoder = {0};
    struct text seen = {0};
    struct error error = {0};
    char copy[1400];
    int terminal, status = -1;
    (void)state;
    make_chain(&decoder);
    link_tokens(&decoder, byte_token('\n'), byte_token('x')); /* a line feed opens the answer */
    link_tokens(&decoder, byte_token('x'), byte_token('y'));
    link_tokens(&decoder, byte_token('y'), byte_token('x'));
    const char *folder = folder_path("");
    if (!decoder_write(&decoder, folder, DTYPE_F32, &error)) fail_msg("%s", error.message);
    decoder_close(&decoder);
    snprintf(copy, sizeof copy, "cp models/tiny-classifier/tokenizer.json %s", folder);
    assert_int_equal(system(copy), 0);
    folder_write_text("config.json",
                      "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"vocab_size\": 8000, "
                      "\"hidden_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
                      "\"num_key_value_heads\": 1, \"head_dim\": 32, \"intermediate_size\": 64, "
                      "\"max_position_embeddings\": 1048576, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000, "
                      "\"tie_word_embeddings\": false, \"hidden_act\": \"silu\"}");
    folder_write_text(
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"chat_template\": \"{% for m in messages %}{{'<|im_start|>' + "
        "m.role + '\\\\n' + m.content + '<|im_end|>' + '\\\\n'}}{% endfor %}\"}");
    const pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0) {
        execl(program(), "casemix", "generate", "--model", folder, "--chat", "--temperature", "0", "--max-tokens",
              "1000000", "--threads", "1", (char *)NULL);
        _exit(127);
    }
    for (int turn = 0; turn < 2; turn++) {
        if (!wait_for(terminal, &seen, "> ")) fail_msg("no prompt in turn %d: %s", turn, seen.data);
        text_clear(&seen);
        write_line(terminal, "go\n");
        if (!wait_for(terminal, &seen, "xyxyxy")) fail_msg("no answer in turn %d: %s", turn, seen.data);
        text_clear(&seen);
        write_line(terminal, "\x03");
    }
    if (!wait_for(terminal, &seen, "> ")) fail_msg("no prompt at the end: %s", seen.data);
    write_line(terminal, "\x04");
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(terminal);
    text_free(&seen);
}

/* Whether a process has a handler for SIGINT. */
static bool catches_interrupts(pid_t process) {
    char path[64], line[256];
    unsigned long long caught = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    while (fgets(line, sizeof line, file) != NULL) sscanf(line, "SigCgt: %llx", &caught);
    fclose(file);
    return caught >> (SIGINT - 1) & 1;
}

/* Ctrl-C in a single answer: what has come is told, on lines of its own, and the program ends as by the signal. */
static void interrupt_answer(const char *form, struct text *told) {
    const struct timespec moment = {0, 100000000};
    struct error error = {0};
    const char *file = folder_path("told.txt"), *notices = folder_path("notices.txt");
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen(file, "w", stdout) == NULL || freopen(notices, "w", stderr) == NULL) _exit(126);
        signal(SIGINT, SIG_DFL);
        execl(program(), "casemix", "generate", "--model", folder_path(""), "--chat", "--prompt", "go", "--temperature",
              "0", "--max-tokens", "1000000", "--threads", "1", form, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 600; i++) {
        nanosleep(&moment, NULL);
        text_clear(told);
        if (form != NULL ? catches_interrupts(child) : file_read(told, file, 0, &error) && told->length > 100) break;
    }
    assert_int_equal(kill(child, SIGINT), 0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    text_clear(told);
    assert_true(file_read(told, file, 0, &error));
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGINT) fail_msg("ended with status %x", (unsigned)status);
}

static void an_interrupted_answer_is_told_as_far_as_it_came(void **state) {
    struct text told = {0};
    (void)state;
    interrupt_answer(NULL, &told);
    assert_true(told.length > 100 && memcmp(told.data, "xyxyxy", 6) == 0 && told.data[told.length - 1] == '\n');
    interrupt_answer("--json", &told);
    static const char end[] = "\"end\": \"cancelled\"}\n";
    assert_true(told.length > sizeof end);
    assert_string_equal(told.data + told.length - (sizeof end - 1), end);
    text_free(&told);
}

static int set_up(void **state) {
    struct error error = {0};
    if (folder_make(state) != 0) return 1;
    if (tokenizer_open(&tokenizer, "models/tiny-classifier", &error)) return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

static int tear_down(void **state) {
    tokenizer_close(tokenizer);
    return folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_make_no_characters_are_replaced),
        cmocka_unit_test(a_stop_text_is_found_behind_broken_bytes),
        cmocka_unit_test(closing_in_mid_stream_leaves_nothing),
        cmocka_unit_test(control_c_ends_the_answer_and_not_the_conversation),
        cmocka_unit_test(an_interrupted_answer_is_told_as_far_as_it_came),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
