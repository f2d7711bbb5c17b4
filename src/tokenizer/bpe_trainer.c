/* Learning a byte-level BPE: words are counted once; each merge touches only the words that hold its pair. */
#include "tokenizer/bpe_trainer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/pattern.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A distinct word and its symbols, which get fewer as pairs merge. */
struct word {
    int32_t *symbols;
    uint32_t length;
    int64_t count;
};

/* A pair of neighbouring symbols: how often it occurs, and the words that hold (or once held) it. */
struct pair {
    uint64_t key;
    int64_t count;
    uint32_t *words;
    size_t word_count, word_capacity;
};

struct bpe_trainer {
    struct bpe_settings settings;
    struct pattern *pattern;
    struct matcher matcher;
    struct hash word_ids;
    struct word *words;
    size_t word_count, word_capacity;
    struct text *pieces; /* bytes of each id */
    size_t piece_count, piece_capacity;
    uint64_t *merges; /* pairs in the order of learning */
    size_t merge_count, merge_capacity;
    struct pair *pairs; /* [pair_count] */
    size_t pair_count, pair_capacity;
    int32_t *pair_slots; /* open addressing: index into pairs, -1 empty */
    size_t slot_capacity;
    uint32_t *heap;       /* indices into pairs, the most frequent on top */
    int64_t *heap_counts; /* the count under which an entry was pushed: stale ones are pushed again */
    size_t heap_count, heap_capacity, heap_counts_capacity;
    struct arena arena;
};

static bool add_piece(struct bpe_trainer *trainer, const char *bytes, size_t length, struct error *error) {
    if (!memory_grow(&trainer->pieces, &trainer->piece_capacity, trainer->piece_count + 1, sizeof *trainer->pieces,
                     error))
        return false;
    struct text *piece = &trainer->pieces[trainer->piece_count++];
    *piece = (struct text){0};
    text_append(piece, bytes, length);
    return text_ok(piece, error);
}

bool bpe_trainer_open(struct bpe_trainer **out, const struct bpe_settings *settings, struct error *error) {
    struct bpe_trainer *trainer = memory_zero(1, sizeof *trainer);
    if (trainer == NULL) return memory_error(error, sizeof *trainer, "the tokenizer's training");
    trainer->settings = *settings;
    if (trainer->settings.vocabulary == 0) trainer->settings.vocabulary = 8000;
    if (trainer->settings.minimum_count == 0) trainer->settings.minimum_count = 2;
    bool opened = pattern_open(&trainer->pattern, pattern_qwen2, false, error);
    if (opened && trainer->settings.vocabulary < 256 + settings->special_count) {
        opened = error_set(error, "a vocabulary of %zu pieces has no room for the 256 bytes and %zu special tokens",
                           trainer->settings.vocabulary, settings->special_count);
    }
    for (size_t i = 0; opened && i < settings->special_count; i++)
        opened = add_piece(trainer, settings->special[i], strlen(settings->special[i]), error);
    for (int byte = 0; opened && byte < 256; byte++) opened = add_piece(trainer, &(char){(char)byte}, 1, error);
    if (!opened) {
        bpe_trainer_close(trainer);
        return false;
    }
    *out = trainer;
    return true;
}

static bool count_word(void *context, const char *bytes, size_t length, struct error *error) {
    struct bpe_trainer *trainer = context;
    const int32_t known = hash_find(&trainer->word_ids, bytes, length, -1);
    if (known >= 0) {
        trainer->words[known].count++;
        return true;
    }
    if (!memory_grow(&trainer->words, &trainer->word_capacity, trainer->word_count + 1, sizeof *trainer->words, error))
        return false;
    const char *key = arena_string(&trainer->arena, bytes, length);
    int32_t *symbols = arena_alloc(&trainer->arena, length, sizeof *symbols);
    if (key == NULL || symbols == NULL) return memory_error(error, length * sizeof *symbols, "the words of the text");
    for (size_t i = 0; i < length; i++)
        symbols[i] = (int32_t)(trainer->settings.special_count + (unsigned char)bytes[i]);
    if (!hash_insert(&trainer->word_ids, key, length, (int32_t)trainer->word_count, NULL, error)) return false;
    trainer->words[trainer->word_count++] = (struct word){symbols, (uint32_t)length, 1};
    return true;
}

bool bpe_trainer_add(struct bpe_trainer *trainer, const char *bytes, size_t length, struct error *error) {
    size_t bad;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "invalid UTF-8 at byte %zu of the text", bad);
    utf8proc_uint8_t *composed = NULL;
    const utf8proc_ssize_t size = utf8proc_map((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)length, &composed,
                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (size < 0) return memory_error(error, length, "a text in composed form");
    const bool done = pattern_split(trainer->pattern, &trainer->matcher, SPLIT_ISOLATED, false, (const char *)composed,
                                    (size_t)size, count_word, trainer, error);
    free(composed);
    return done;
}

static size_t slot_of(uint64_t key, size_t capacity) {
    return (size_t)hash_bytes(&key, sizeof key, 0) & (capacity - 1);
}

static bool enlarge_slots(struct bpe_trainer *trainer, struct error *error) {
    const size_t capacity = trainer->slot_capacity == 0 ? 1 << 16 : trainer->slot_capacity * 2;
    int32_t *slots = memory_alloc(capacity, sizeof *slots);
    if (slots == NULL) return memory_error(error, capacity * sizeof *slots, "the pairs of the text");
    memset(slots, 0xff, capacity * sizeof *slots);
    for (size_t p = 0; p < trainer->pair_count; p++) {
        size_t i = slot_of(trainer->pairs[p].key, capacity);
        while (slots[i] >= 0) i = (i + 1) & (capacity - 1);
        slots[i] = (int32_t)p;
    }
    memory_free(trainer->pair_slots);
    trainer->pair_slots = slots;
    trainer->slot_capacity = capacity;
    return true;
}

/* The pair's entry, made if it is new. */
static bool find_pair(struct bpe_trainer *trainer, uint64_t key, size_t *index, struct error *error) {
    if (trainer->pair_count * 2 >= trainer->slot_capacity && !enlarge_slots(trainer, error)) return false;
    size_t i = slot_of(key, trainer->slot_capacity);
    for (; trainer->pair_slots[i] >= 0; i = (i + 1) & (trainer->slot_capacity - 1)) {
        *index = (size_t)trainer->pair_slots[i];
        if (trainer->pairs[*index].key == key) return true;
    }
    if (!memory_grow(&trainer->pairs, &trainer->pair_capacity, trainer->pair_count + 1, sizeof *trainer->pairs, error))
        return false;
    *index = trainer->pair_count++;
    trainer->pairs[*index] = (struct pair){.key = key};
    trainer->pair_slots[i] = (int32_t)*index;
    return true;
}

static uint64_t key_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static bool change_pair(struct bpe_trainer *trainer, int32_t left, int32_t right, int64_t change, uint32_t word,
                        struct error *error) {
    size_t index;
    if (!find_pair(trainer, key_of(left, right), &index, error)) return false;
    struct pair *pair = &trainer->pairs[index];
    pair->count += change;
    if (change < 0 || (pair->word_count > 0 && pair->words[pair->word_count - 1] == word)) return true;
    if (!memory_grow(&pair->words, &pair->word_capacity, pair->word_count + 1, sizeof *pair->words, error))
        return false;
    pair->words[pair->word_count++] = word;
    return true;
}

/* More frequent first; among equals the smaller ids, which makes the result independent of everything else. */
static bool entry_before(const struct bpe_trainer *trainer, size_t a, size_t b) {
    if (trainer->heap_counts[a] != trainer->heap_counts[b]) return trainer->heap_counts[a] > trainer->heap_counts[b];
    return trainer->pairs[trainer->heap[a]].key < trainer->pairs[trainer->heap[b]].key;
}

static void swap_entries(struct bpe_trainer *trainer, size_t a, size_t b) {
    const uint32_t pair = trainer->heap[a];
    const int64_t count = trainer->heap_counts[a];
    trainer->heap[a] = trainer->heap[b];
    trainer->heap_counts[a] = trainer->heap_counts[b];
    trainer->heap[b] = pair;
    trainer->heap_counts[b] = count;
}

static bool heap_push(struct bpe_trainer *trainer, uint32_t pair, struct error *error) {
    if (!memory_grow(&trainer->heap, &trainer->heap_capacity, trainer->heap_count + 1, sizeof *trainer->heap, error))
        return false;
    if (!memory_grow(&trainer->heap_counts, &trainer->heap_counts_capacity, trainer->heap_count + 1,
                     sizeof *trainer->heap_counts, error))
        return false;
    size_t i = trainer->heap_count++;
    trainer->heap[i] = pair;
    trainer->heap_counts[i] = trainer->pairs[pair].count;
    for (; i > 0 && entry_before(trainer, i, (i - 1) / 2); i = (i - 1) / 2) swap_entries(trainer, i, (i - 1) / 2);
    return true;
}

static void heap_drop_top(struct bpe_trainer *trainer) {
    swap_entries(trainer, 0, --trainer->heap_count);
    for (size_t i = 0;;) {
        size_t child = 2 * i + 1;
        if (child >= trainer->heap_count) break;
        if (child + 1 < trainer->heap_count && entry_before(trainer, child + 1, child)) child++;
        if (!entry_before(trainer, child, i)) break;
        swap_entries(trainer, child, i);
        i = child;
    }
}

static bool count_pairs(struct bpe_trainer *trainer, struct error *error) {
    for (size_t w = 0; w < trainer->word_count; w++) {
        const struct word *word = &trainer->words[w];
        for (uint32_t i = 0; i + 1 < word->length; i++) {
            if (!change_pair(trainer, word->symbols[i], word->symbols[i + 1], word->count, (uint32_t)w, error))
                return false;
        }
    }
    for (size_t p = 0; p < trainer->pair_count; p++) {
        if (!heap_push(trainer, (uint32_t)p, error)) return false;
    }
    return true;
}

/* Replaces the pair in one word, and moves the counts of the pairs around it. */
static bool merge_in_word(struct bpe_trainer *trainer, uint32_t w, int32_t left, int32_t right, int32_t id,
                          struct error *error) {
    struct word *word = &trainer->words[w];
    bool held = false;
    for (uint32_t i = 0; i + 1 < word->length; i++)
        held = held || (word->symbols[i] == left && word->symbols[i + 1] == right);
    if (!held) return true;
    for (uint32_t i = 0; i + 1 < word->length; i++) {
        if (!change_pair(trainer, word->symbols[i], word->symbols[i + 1], -word->count, w, error)) return false;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < word->length; i++) {
        const bool merges = i + 1 < word->length && word->symbols[i] == left && word->symbols[i + 1] == right;
        word->symbols[kept++] = merges ? id : word->symbols[i];
        i += merges;
    }
    word->length = kept;
    for (uint32_t i = 0; i + 1 < word->length; i++) {
        size_t index;
        if (!change_pair(trainer, word->symbols[i], word->symbols[i + 1], word->count, w, error)) return false;
        if (!find_pair(trainer, key_of(word->symbols[i], word->symbols[i + 1]), &index, error)) return false;
        /* Only pairs with the new symbol can have grown: the others keep their place in the heap. */
        const bool fresh = word->symbols[i] == id || word->symbols[i + 1] == id;
        if (fresh && !heap_push(trainer, (uint32_t)index, error)) return false;
    }
    return true;
}

static bool merge_pair(struct bpe_trainer *trainer, size_t index, struct error *error) {
    const uint64_t key = trainer->pairs[index].key;
    const int32_t left = (int32_t)(key >> 32), right = (int32_t)(key & 0xffffffff), id = (int32_t)trainer->piece_count;
    struct text bytes = {0};
    text_append(&bytes, trainer->pieces[left].data, trainer->pieces[left].length);
    text_append(&bytes, trainer->pieces[right].data, trainer->pieces[right].length);
    const bool added = text_ok(&bytes, error) && add_piece(trainer, bytes.data, bytes.length, error) &&
                       memory_grow(&trainer->merges, &trainer->merge_capacity, trainer->merge_count + 1,
                                   sizeof *trainer->merges, error);
    text_free(&bytes);
    if (!added) return false;
    trainer->merges[trainer->merge_count++] = key;
    /* The list moves out of the pair, which may be reallocated or grow while its words change. */
    uint32_t *words = trainer->pairs[index].words;
    const size_t count = trainer->pairs[index].word_count;
    trainer->pairs[index].words = NULL;
    trainer->pairs[index].word_count = trainer->pairs[index].word_capacity = 0;
    bool done = true;
    for (size_t i = 0; done && i < count; i++) done = merge_in_word(trainer, words[i], left, right, id, error);
    memory_free(words);
    return done;
}

static bool learn(struct bpe_trainer *trainer, struct error *error) {
    struct progress progress;
    if (!count_pairs(trainer, error)) return false;
    progress_start(&progress, "learning merges", "pieces", trainer->settings.vocabulary);
    while (trainer->piece_count < trainer->settings.vocabulary && trainer->heap_count > 0) {
        const uint32_t pair = trainer->heap[0];
        const int64_t counted = trainer->heap_counts[0], count = trainer->pairs[pair].count;
        heap_drop_top(trainer);
        if (count < (int64_t)trainer->settings.minimum_count) continue;
        const bool stale = counted != count;
        if (stale ? !heap_push(trainer, pair, error) : !merge_pair(trainer, pair, error)) return false;
        progress_update(&progress, trainer->piece_count);
    }
    progress_finish(&progress);
    return true;
}

static void add_byte_level(struct text *out, const struct text *piece) {
    struct text characters = {0};
    byte_level_encode(&characters, piece->data, piece->length);
    if (characters.failed)
        out->failed = true;
    else
        text_add_json(out, characters.data, characters.length);
    text_free(&characters);
}

static void build_json(const struct bpe_trainer *trainer, struct text *out) {
    const size_t special = trainer->settings.special_count;
    text_add(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
    for (size_t i = 0; i < special; i++) {
        text_printf(out, "%s\n    {\"id\": %zu, \"content\": ", i == 0 ? "" : ",", i);
        text_add_json(out, trainer->pieces[i].data, trainer->pieces[i].length);
        text_add(out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                      "\"special\": true}");
    }
    text_add(out, "\n  ],\n  \"normalizer\": {\"type\": \"NFC\"},\n  \"pre_tokenizer\": {\"type\": \"Sequence\", "
                  "\"pretokenizers\": [\n"
                  "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    text_add_json(out, pattern_qwen2, strlen(pattern_qwen2));
    text_add(
        out,
        "}, \"behavior\": \"Isolated\", \"invert\": false},\n"
        "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": false}\n  "
        "]},\n"
        "  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
        "\"use_regex\": false},\n"
        "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": "
        "false},\n"
        "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n    "
        "\"continuing_subword_prefix\": \"\",\n"
        "    \"end_of_word_suffix\": \"\",\n    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"vocab\": {");
    for (size_t i = special; i < trainer->piece_count; i++) {
        text_add(out, i == special ? "\n      " : ",\n      ");
        add_byte_level(out, &trainer->pieces[i]);
        text_printf(out, ": %zu", i);
    }
    text_add(out, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < trainer->merge_count; i++) {
        text_add(out, i == 0 ? "\n      [" : ",\n      [");
        add_byte_level(out, &trainer->pieces[trainer->merges[i] >> 32]);
        text_add(out, ", ");
        add_byte_level(out, &trainer->pieces[trainer->merges[i] & 0xffffffff]);
        text_add_char(out, ']');
    }
    text_add(out, "\n    ]\n  }\n}\n");
}

/* tokenizer_config.json: the first special token ends and pads, as Qwen's <|endoftext|> does. */
static void build_config(const struct bpe_trainer *trainer, struct text *out) {
    text_add(out,
             "{\n  \"tokenizer_class\": \"Qwen2Tokenizer\",\n  \"add_prefix_space\": false,\n  \"bos_token\": null");
    for (int i = 0; i < 2 && trainer->settings.special_count > 0; i++) {
        text_printf(out, ",\n  \"%s\": ", i == 0 ? "eos_token" : "pad_token");
        text_add_json(out, trainer->pieces[0].data, trainer->pieces[0].length);
    }
    text_add(out, ",\n  \"unk_token\": null\n}\n");
}

static bool write_text(const char *directory, const char *name, struct text *text, struct error *error) {
    char path[4096];
    const bool done =
        text_ok(text, error) &&
        (path_join(path, sizeof path, directory, name) || error_set(error, "%s: path too long", directory)) &&
        file_write(path, text->data, text->length, error);
    text_free(text);
    return done;
}

bool bpe_trainer_write(struct bpe_trainer *trainer, const char *directory, struct error *error) {
    if (!learn(trainer, error) || !directory_create(directory, error)) return false;
    struct text json = {0}, config = {0};
    build_json(trainer, &json);
    build_config(trainer, &config);
    const bool done = write_text(directory, "tokenizer.json", &json, error);
    return write_text(directory, "tokenizer_config.json", &config, done ? error : NULL) && done;
}

void bpe_trainer_close(struct bpe_trainer *trainer) {
    if (trainer == NULL) return;
    for (size_t i = 0; i < trainer->piece_count; i++) text_free(&trainer->pieces[i]);
    for (size_t i = 0; i < trainer->pair_count; i++) memory_free(trainer->pairs[i].words);
    matcher_free(&trainer->matcher);
    pattern_close(trainer->pattern);
    hash_free(&trainer->word_ids);
    memory_free(trainer->words);
    memory_free(trainer->pieces);
    memory_free(trainer->merges);
    memory_free(trainer->pairs);
    memory_free(trainer->pair_slots);
    memory_free(trainer->heap);
    memory_free(trainer->heap_counts);
    arena_free(&trainer->arena);
    memory_free(trainer);
}
