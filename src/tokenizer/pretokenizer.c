/* Cutting text into words: see pretokenizer.h. */
#include "tokenizer/pretokenizer.h"
#include "base/error.h"
#include "base/memory.h"
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

const char pretokenizer_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const char pretokenizer_qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";

struct pretokenizer {
    pcre2_code *code;
};

bool pretokenizer_open(struct pretokenizer **out, const char *pattern, struct error *error) {
    int number;
    PCRE2_SIZE offset;
    struct pretokenizer *pretokenizer = memory_zero(1, sizeof *pretokenizer);
    if (pretokenizer == NULL) return memory_error(error, sizeof *pretokenizer, "a pre-tokenizer");
    pretokenizer->code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &number, &offset, NULL);
    if (pretokenizer->code == NULL) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(number, message, sizeof message);
        memory_free(pretokenizer);
        return error_set(error, "the pre-tokenizer's pattern is no regular expression (at %zu: %s)", (size_t)offset,
                         (const char *)message);
    }
    pcre2_jit_compile(pretokenizer->code, PCRE2_JIT_COMPLETE); /* without JIT it is slower, not wrong */
    *out = pretokenizer;
    return true;
}

void pretokenizer_close(struct pretokenizer *pretokenizer) {
    if (pretokenizer == NULL) return;
    pcre2_code_free(pretokenizer->code);
    memory_free(pretokenizer);
}

static bool match_failed(int code, struct error *error) {
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(code, message, sizeof message);
    return error_set(error, "the pre-tokenizer gave up on the text: %s", (const char *)message);
}

/* A run of one kind of character may be megabytes long: the machine's stack does not bound it. */
static pcre2_match_context *match_context(pcre2_jit_stack **stack) {
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    *stack = pcre2_jit_stack_create(32 << 10, 64 << 20, NULL);
    if (context != NULL && *stack != NULL) pcre2_jit_stack_assign(context, NULL, *stack);
    if (context != NULL) pcre2_set_heap_limit(context, 1 << 20);
    return context;
}

static bool split(const struct pretokenizer *pretokenizer, const char *text, size_t length, word_function *function,
                  void *context, pcre2_match_data *data, pcre2_match_context *matching, struct error *error) {
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    for (size_t from = 0; from < length;) {
        const int found = pcre2_match(pretokenizer->code, (PCRE2_SPTR)text, length, from,
                                      PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data, matching);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH) return match_failed(found, error);
        const size_t start = found < 0 ? length : at[0], end = found < 0 ? length : at[1];
        if (start > from && !function(context, text + from, start - from, error)) return false;
        if (end > start && !function(context, text + start, end - start, error)) return false;
        from = end;
    }
    return true;
}

bool pretokenizer_split(const struct pretokenizer *pretokenizer, const char *text, size_t length,
                        word_function *function, void *context, struct error *error) {
    pcre2_jit_stack *stack = NULL;
    pcre2_match_context *matching = match_context(&stack);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    const bool ready = matching != NULL && stack != NULL && data != NULL;
    const bool done = ready ? split(pretokenizer, text, length, function, context, data, matching, error)
                            : memory_error(error, 32 << 10, "the pre-tokenizer");
    pcre2_match_data_free(data);
    pcre2_match_context_free(matching);
    pcre2_jit_stack_free(stack);
    return done;
}
