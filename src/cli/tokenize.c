/* casemix tokenize: text to token ids and back. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/commands.h"
#include "tokenizer/tokenizer.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define TEXT_LIMIT ((size_t)1 << 30)

static void print_help(void) {
    puts("usage: casemix tokenize --model DIR [--jsonl] [--special] [--decode] [FILE|-]\n\n"
         "Reads a text (standard input without FILE) and prints its token ids, or the other way round.\n\n"
         "  --model DIR   a directory with tokenizer.json, or that file\n"
         "  --jsonl       lines {\"text\": …} in, lines {\"ids\": […]} out (with --decode the reverse)\n"
         "  --special     add the tokens that the tokenizer's post-processor adds (BOS, …)\n"
         "  --decode      ids in, text out\n\n"
         "  echo 'Pt with CHF' | casemix tokenize --model models/tiny-classifier\n"
         "  casemix tokenize --model models/tiny-classifier --jsonl notes.jsonl > ids.jsonl");
}

struct tokenize {
    struct tokenizer *tokenizer;
    bool special, decode;
    struct token_list ids;
    struct text out;
};

static bool print_text(struct text *text, struct error *error) {
    if (!text_ok(text, error)) return false;
    if (text->length > 0 && fwrite(text->data, 1, text->length, stdout) != text->length)
        return error_system(error, "standard output");
    text_clear(text);
    return true;
}

static void add_ids(struct text *out, const struct token_list *ids, const char *separator) {
    for (size_t i = 0; i < ids->count; i++) text_printf(out, "%s%d", i == 0 ? "" : separator, ids->ids[i]);
}

static bool encode_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct tokenize *t = context;
    const char *text = NULL;
    (void)line;
    t->ids.count = 0;
    if (!json_get_string(root, "text", true, &text, error)) return false;
    if (!tokenizer_encode(t->tokenizer, text, strlen(text), t->special, &t->ids, error)) return false;
    text_add(&t->out, "{\"ids\": [");
    add_ids(&t->out, &t->ids, ", ");
    text_add(&t->out, "]}\n");
    return print_text(&t->out, error);
}

static bool push_id(struct tokenize *t, int64_t id, struct error *error) {
    if (id < 0 || id > INT32_MAX) return error_set(error, "%lld is no token id", (long long)id);
    if (!memory_grow(&t->ids.ids, &t->ids.capacity, t->ids.count + 1, sizeof *t->ids.ids, error)) return false;
    t->ids.ids[t->ids.count++] = (int32_t)id;
    return true;
}

static bool decode_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct tokenize *t = context;
    const json_node *list = json_member(root, "ids");
    struct text text = {0};
    (void)line;
    t->ids.count = 0;
    if (!json_is_array(list)) return error_set(error, "member \"ids\" is not a list");
    for (const json_node *id = json_first(list); id != NULL; id = json_next(id)) {
        int64_t value;
        if (!json_integer(id, &value)) return error_set(error, "\"ids\" holds something that is no id");
        if (!push_id(t, value, error)) return false;
    }
    const bool decoded = tokenizer_decode(t->tokenizer, t->ids.ids, t->ids.count, !t->special, &text, error);
    text_add(&t->out, "{\"text\": ");
    if (decoded) text_add_json(&t->out, text.data == NULL ? "" : text.data, text.length);
    text_add(&t->out, "}\n");
    text_free(&text);
    return decoded && print_text(&t->out, error);
}

static bool encode_whole(struct tokenize *t, const char *path, struct error *error) {
    struct text text = {0};
    bool done =
        file_read(&text, path, TEXT_LIMIT, error) &&
        tokenizer_encode(t->tokenizer, text.data == NULL ? "" : text.data, text.length, t->special, &t->ids, error);
    text_free(&text);
    if (!done) return false;
    add_ids(&t->out, &t->ids, " ");
    text_add_char(&t->out, '\n');
    return print_text(&t->out, error);
}

static bool decode_whole(struct tokenize *t, const char *path, struct error *error) {
    struct text text = {0};
    bool done = file_read(&text, path, TEXT_LIMIT, error);
    for (char *word = done && text.data != NULL ? strtok(text.data, " \t\r\n") : NULL; done && word != NULL;
         word = strtok(NULL, " \t\r\n")) {
        int64_t id;
        done = parse_int64(word, &id) ? push_id(t, id, error) : error_set(error, "\"%.40s\" is no token id", word);
    }
    done = done && tokenizer_decode(t->tokenizer, t->ids.ids, t->ids.count, !t->special, &t->out, error) &&
           print_text(&t->out, error);
    text_free(&text);
    return done;
}

bool command_tokenize(int argc, char **argv, struct error *error) {
    enum { MODEL = 1, JSONL, SPECIAL, DECODE, HELP };
    static const struct option names[] = {{"model", 1, 0, MODEL},   {"jsonl", 0, 0, JSONL}, {"special", 0, 0, SPECIAL},
                                          {"decode", 0, 0, DECODE}, {"help", 0, 0, HELP},   {0, 0, 0, 0}};
    struct tokenize t = {0};
    const char *model = NULL;
    bool jsonl = false;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case MODEL:
            model = optarg;
            break;
        case JSONL:
            jsonl = true;
            break;
        case SPECIAL:
            t.special = true;
            break;
        case DECODE:
            t.decode = true;
            break;
        case HELP:
            print_help();
            return true;
        default:
            error_usage(error, "tokenize: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix tokenize --help");
        }
    }
    if (model == NULL) return error_usage(error, "tokenize needs --model DIR");
    if (optind + 1 < argc) return error_usage(error, "tokenize takes one file");
    const char *path = optind < argc ? argv[optind] : "-";
    if (!tokenizer_open(&t.tokenizer, model, error)) return false;
    bool done;
    if (jsonl)
        done = json_lines(path, t.decode ? decode_line : encode_line, &t, error);
    else
        done = t.decode ? decode_whole(&t, path, error) : encode_whole(&t, path, error);
    text_free(&t.out);
    token_list_free(&t.ids);
    tokenizer_close(t.tokenizer);
    return done;
}
