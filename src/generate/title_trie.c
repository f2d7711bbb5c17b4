/* Building and walking the tree of titles: see title_trie.h. Answers are sorted by their tokens; nodes are laid out
 * level by level, so that children of a node are neighbours. */
#include "generate/title_trie.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "tokenizer/tokenizer.h"
#include <stdlib.h>
#include <string.h>

const struct trie_state trie_start = {.node = TRIE_OUTSIDE};

static const char opening_text[] = "<answer>\n", closing_text[] = "\n</answer>";

/* One answer as tokens, the opening included. */
struct answer {
    const int32_t *tokens;
    size_t count;
    int32_t drg;
};

/* What building needs. */
struct building {
    struct answer *answers; /* [count] */
    size_t count, total;    /* total: tokens of all */
    struct token_list tokens;
};

static int compare_answers(const void *a, const void *b) {
    const struct answer *left = a, *right = b;
    const size_t shorter = left->count < right->count ? left->count : right->count;
    for (size_t i = 0; i < shorter; i++) {
        if (left->tokens[i] != right->tokens[i]) return left->tokens[i] < right->tokens[i] ? -1 : 1;
    }
    return (left->count > right->count) - (left->count < right->count);
}

static bool encode_answers(struct building *building, const struct tokenizer *tokenizer, const struct catalog *catalog,
                           struct error *error) {
    struct text text = {0};
    size_t *starts = memory_alloc(catalog->count + 1, sizeof *starts);
    building->answers = memory_alloc(catalog->count, sizeof *building->answers);
    bool done = (starts != NULL && building->answers != NULL) ||
                memory_error(error, catalog->count * sizeof *building->answers, "the titles");
    for (size_t i = 0; done && i < catalog->count; i++) {
        text_clear(&text);
        text_printf(&text, "%s%s%s", opening_text, catalog->drgs[i].title, closing_text);
        starts[i] = building->tokens.count;
        done = text_ok(&text, error) &&
               tokenizer_encode(tokenizer, text.data, text.length, false, &building->tokens, error);
    }
    if (done) starts[catalog->count] = building->tokens.count;
    for (size_t i = 0; done && i < catalog->count; i++) {
        building->answers[building->count++] =
            (struct answer){building->tokens.ids + starts[i], starts[i + 1] - starts[i], (int32_t)i};
    }
    memory_free(starts);
    text_free(&text);
    return done;
}

/* The tokens that all answers begin with are taken off; they must spell the opening and no more. */
static bool drop_opening(struct title_trie *trie, struct building *building, const struct tokenizer *tokenizer,
                         struct error *error) {
    const struct answer *first = &building->answers[0], *last = &building->answers[building->count - 1];
    struct text spelled = {0};
    size_t common = 0;
    while (common < first->count && common < last->count && first->tokens[common] == last->tokens[common]) common++;
    bool done = tokenizer_decode(tokenizer, first->tokens, common, false, &spelled, error);
    if (done && (spelled.length != sizeof opening_text - 1 || memcmp(spelled.data, opening_text, spelled.length) != 0))
        done = error_set(error, "this tokenizer does not keep \"<answer>\" and its line feed apart from the titles");
    text_free(&spelled);
    for (size_t i = 0; done && i < building->count; i++) {
        struct answer *answer = &building->answers[i];
        answer->tokens += common;
        answer->count -= common;
        building->total += answer->count;
        if (answer->count > trie->longest) trie->longest = answer->count;
    }
    return done;
}

/* A node waiting for its children: answers first … end - 1 go through it. */
struct pending {
    size_t first, end, depth;
};

/* Level by level: the answers of a node are neighbours in the sorted list, and so are those of each child. */
static bool lay_out(struct title_trie *trie, const struct building *building, struct error *error) {
    struct pending *pending = memory_alloc(building->total + 1, sizeof *pending);
    trie->nodes = memory_alloc(building->total + 1, sizeof *trie->nodes);
    trie->child_tokens = memory_alloc(building->total + 1, sizeof *trie->child_tokens);
    bool done = (pending != NULL && trie->nodes != NULL && trie->child_tokens != NULL) ||
                memory_error(error, building->total * sizeof *trie->nodes, "the titles");
    if (done) {
        trie->nodes[0] = (struct trie_node){.token = -1, .parent = -1, .drg = -1};
        trie->child_tokens[0] = -1;
        pending[0] = (struct pending){0, building->count, 0};
        trie->count = 1;
    }
    for (size_t n = 0; done && n < trie->count; n++) {
        const struct pending here = pending[n];
        size_t first = here.first;
        if (building->answers[first].count == here.depth) {
            trie->nodes[n].drg = building->answers[first].drg;
            first++;
            done = first == here.end || error_set(error, "the title of DRG %d is the beginning of another answer",
                                                  trie->catalog->drgs[trie->nodes[n].drg].code);
        }
        trie->nodes[n].first_child = (int32_t)trie->count;
        while (done && first < here.end) {
            const int32_t token = building->answers[first].tokens[here.depth];
            size_t end = first + 1;
            while (end < here.end && building->answers[end].tokens[here.depth] == token) end++;
            trie->nodes[trie->count] = (struct trie_node){.token = token, .parent = (int32_t)n, .drg = -1};
            trie->child_tokens[trie->count] = token;
            pending[trie->count++] = (struct pending){first, end, here.depth + 1};
            trie->nodes[n].children++;
            first = end;
        }
    }
    memory_free(pending);
    return done;
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* Bytes of "<answer>" that the text ends with after one more byte: '<' stands only at its beginning. */
static int32_t match_byte(int32_t matched, char byte) {
    if (opening_text[matched] == byte) return matched + 1;
    return byte == opening_text[0] ? 1 : 0;
}

/* Bytes taken up to the end of "<answer>"; 0 if it does not end within. *matched is brought up to date. */
static size_t match_opening(int32_t *matched, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        *matched = match_byte(*matched, bytes[i]);
        if (*matched == OPENING_LENGTH) return i + 1;
    }
    return 0;
}

/* Whether a token behind so many bytes of "<answer>" would close it and run on into something else than blanks. */
static bool runs_over(int32_t matched, const char *bytes, size_t length) {
    const size_t end = match_opening(&matched, bytes, length);
    for (size_t i = end; end > 0 && i < length; i++) {
        if (!is_blank(bytes[i])) return true;
    }
    return false;
}

/* The lists of tokens that may follow where not all may. `spelled` holds the bytes of all tokens, token t from
 * starts[t] on. */
static bool list_permitted(struct title_trie *trie, const struct text *spelled, const size_t *starts, size_t V,
                           struct error *error) {
    for (int32_t matched = 0; matched < OPENING_LENGTH; matched++) {
        size_t forbidden = 0, count = 0;
        for (size_t t = 0; t < V; t++)
            forbidden += runs_over(matched, spelled->data + starts[t], starts[t + 1] - starts[t]);
        if (forbidden == 0) continue;
        int32_t *list = memory_alloc(V, sizeof *list);
        if (list == NULL) return memory_error(error, V * sizeof *list, "the titles");
        for (size_t t = 0; t < V; t++) {
            if (!runs_over(matched, spelled->data + starts[t], starts[t + 1] - starts[t])) list[count++] = (int32_t)t;
        }
        trie->permitted[matched] = list;
        trie->permitted_counts[matched] = count;
    }
    return true;
}

static bool find_permitted(struct title_trie *trie, const struct tokenizer *tokenizer, struct error *error) {
    const size_t V = tokenizer_vocabulary(tokenizer);
    struct text spelled = {0};
    size_t *starts = memory_alloc(V + 1, sizeof *starts);
    bool done = starts != NULL || memory_error(error, V * sizeof *starts, "the titles");
    trie->line_feed = -1;
    text_add(&spelled, "");
    for (size_t t = 0; done && t < V; t++) {
        const int32_t id = (int32_t)t;
        starts[t] = spelled.length;
        tokenizer_decode(tokenizer, &id, 1, false, &spelled, NULL); /* an id that stands for nothing has no bytes */
        if (spelled.length == starts[t] + 1 && spelled.data[starts[t]] == '\n' && trie->line_feed < 0)
            trie->line_feed = id;
    }
    if (done) starts[V] = spelled.length;
    if (done && trie->line_feed < 0) done = error_set(error, "this tokenizer has no token for a line feed");
    done = done && text_ok(&spelled, error) && list_permitted(trie, &spelled, starts, V, error);
    memory_free(starts);
    text_free(&spelled);
    return done;
}

bool title_trie_open(struct title_trie *trie, const struct tokenizer *tokenizer, enum grouper grouper,
                     struct error *error) {
    struct building building = {0};
    *trie = (struct title_trie){.catalog = catalog_get(grouper)};
    bool done = encode_answers(&building, tokenizer, trie->catalog, error);
    if (done) qsort(building.answers, building.count, sizeof *building.answers, compare_answers);
    done = done && drop_opening(trie, &building, tokenizer, error) && lay_out(trie, &building, error) &&
           find_permitted(trie, tokenizer, error);
    memory_free(building.answers);
    token_list_free(&building.tokens);
    if (!done) title_trie_close(trie);
    return done;
}

void title_trie_close(struct title_trie *trie) {
    memory_free(trie->nodes);
    memory_free(trie->child_tokens);
    for (int i = 0; i < OPENING_LENGTH; i++) memory_free(trie->permitted[i]);
    *trie = (struct title_trie){0};
}

int32_t title_trie_step(const struct title_trie *trie, int32_t node, int32_t token) {
    int32_t low = trie->nodes[node].first_child, high = low + trie->nodes[node].children;
    const int32_t end = high;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (trie->child_tokens[middle] < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && trie->child_tokens[low] == token ? low : -1;
}

struct trie_state trie_state_behind(const char *text, size_t length) {
    struct trie_state state = trie_start;
    const size_t whole = sizeof opening_text - 1, bare = OPENING_LENGTH;
    if (length >= whole && memcmp(text + length - whole, opening_text, whole) == 0)
        return (struct trie_state){.node = 0};
    if (length >= bare && memcmp(text + length - bare, opening_text, bare) == 0)
        return (struct trie_state){.node = TRIE_LINE_FEED};
    for (size_t i = length < bare ? 0 : length - bare + 1; i < length; i++)
        state.matched = match_byte(state.matched, text[i]);
    return state;
}

const int32_t *trie_allowed(const struct title_trie *trie, const struct trie_state *state, size_t *count) {
    *count = 0;
    if (state->node == TRIE_DONE) return NULL;
    if (state->node == TRIE_OUTSIDE) {
        *count = trie->permitted_counts[state->matched];
        return trie->permitted[state->matched];
    }
    if (state->node == TRIE_LINE_FEED) {
        *count = 1;
        return &trie->line_feed;
    }
    const struct trie_node *node = &trie->nodes[state->node];
    *count = (size_t)node->children;
    return trie->child_tokens + node->first_child;
}

struct trie_state trie_advance(const struct title_trie *trie, struct trie_state state, int32_t token, const char *bytes,
                               size_t length) {
    if (state.node == TRIE_DONE) return state;
    if (state.node == TRIE_LINE_FEED) return (struct trie_state){.node = 0};
    if (state.node >= 0) {
        state.node = title_trie_step(trie, state.node, token);
        if (state.node < 0) return trie_start;
        if (trie->nodes[state.node].drg >= 0) state.node = TRIE_DONE;
        return state;
    }
    const size_t end = match_opening(&state.matched, bytes, length);
    if (end > 0) state = (struct trie_state){.node = end == length ? TRIE_LINE_FEED : 0};
    return state;
}
