/* Words: each cut hands its pieces to the next one, the last to the caller. */
#include "tokenizer/pretokenizer.h"
#include "base/error.h"
#include "tokenizer/characters.h"
#include <string.h>

bool pretokenizer_add(struct pretokenizer *pretokenizer, struct cut cut, struct error *error) {
    if (pretokenizer->count == CUT_LIMIT) {
        pattern_close(cut.pattern);
        return error_set(error, "pre_tokenizer: more than %d steps", CUT_LIMIT);
    }
    pretokenizer->cuts[pretokenizer->count++] = cut;
    return true;
}

void pretokenizer_free(struct pretokenizer *pretokenizer) {
    for (size_t i = 0; i < pretokenizer->count; i++) pattern_close(pretokenizer->cuts[i].pattern);
    *pretokenizer = (struct pretokenizer){0};
}

void workspace_free(struct workspace *workspace) {
    matcher_free(&workspace->matcher);
    for (size_t i = 0; i < CUT_LIMIT; i++) text_free(&workspace->changed[i]);
}

struct cutting {
    const struct pretokenizer *pretokenizer;
    struct workspace *workspace;
    word_function *function;
    void *context;
};

/* One cut at work on one text. */
struct stage {
    const struct cutting *all;
    size_t index;
    const char *text; /* where the text begins */
    bool first;
};

static bool cut_text(const struct cutting *all, size_t index, const char *text, size_t length, bool first,
                     struct error *error);

static bool pass_on(void *context, const char *word, size_t length, struct error *error) {
    const struct stage *stage = context;
    return length == 0 ||
           cut_text(stage->all, stage->index + 1, word, length, stage->first && word == stage->text, error);
}

static bool cut_characters(const struct cut *cut, struct stage *stage, size_t length, struct error *error) {
    const char *text = stage->text;
    size_t from = 0;
    bool previous = false;
    for (size_t i = 0, step; i < length; i += step) {
        const bool match = cut->matches(character_read(text + i, length - i, &step));
        const bool joins = cut->behavior == SPLIT_CONTIGUOUS && match == previous;
        if (!joins && (match || previous) && i > from) {
            const bool removed = previous && cut->behavior == SPLIT_REMOVED;
            if (!removed && !pass_on(stage, text + from, i - from, error)) return false;
        }
        if (!joins && (match || previous)) from = i;
        previous = match;
    }
    return (previous && cut->behavior == SPLIT_REMOVED) || pass_on(stage, text + from, length - from, error);
}

/* Where the next mark begins at `from` or later; length if there is none. */
static size_t next_mark(const char *mark, size_t mark_length, const char *text, size_t length, size_t from) {
    const char *found = from >= length ? NULL : memmem(text + from, length - from, mark, mark_length);
    return found == NULL ? length : (size_t)(found - text);
}

/* Cuts before each mark, or (runs) before each mark that does not follow one. */
static bool cut_before_marks(const struct cut *cut, struct stage *stage, size_t length, bool runs,
                             struct error *error) {
    const size_t mark_length = strlen(cut->mark);
    size_t from = 0, at = next_mark(cut->mark, mark_length, stage->text, length, 0), last = SIZE_MAX;
    while (at < length) {
        const bool joins = runs && last != SIZE_MAX && at == last + mark_length;
        if (!joins) {
            if (!pass_on(stage, stage->text + from, at - from, error)) return false;
            from = at;
        }
        last = at;
        at = next_mark(cut->mark, mark_length, stage->text, length, at + mark_length);
    }
    return pass_on(stage, stage->text + from, length - from, error);
}

static bool cut_metaspace(const struct cut *cut, struct stage *stage, size_t length, struct error *error) {
    struct text *changed = &stage->all->workspace->changed[stage->index];
    const char *text = stage->text;
    const size_t mark_length = strlen(cut->mark);
    const bool marked = text[0] == ' ' || (length >= mark_length && memcmp(text, cut->mark, mark_length) == 0);
    const bool prepends = cut->prepend == PREPEND_ALWAYS || (cut->prepend == PREPEND_FIRST && stage->first);
    text_clear(changed);
    if (prepends && !marked) text_add(changed, cut->mark);
    for (size_t from = 0; from < length;) {
        const char *blank = memchr(text + from, ' ', length - from);
        const size_t end = blank == NULL ? length : (size_t)(blank - text);
        text_append(changed, text + from, end - from);
        if (blank != NULL) text_add(changed, cut->mark);
        from = end + 1;
    }
    if (!text_ok(changed, error)) return false;
    stage->text = changed->data;
    return cut->splits ? cut_before_marks(cut, stage, changed->length, false, error)
                       : pass_on(stage, changed->data, changed->length, error);
}

static bool add_prefix(struct stage *stage, size_t length, struct error *error) {
    struct text *changed = &stage->all->workspace->changed[stage->index];
    if (stage->text[0] == ' ') return pass_on(stage, stage->text, length, error);
    text_clear(changed);
    text_add_char(changed, ' ');
    text_append(changed, stage->text, length);
    if (!text_ok(changed, error)) return false;
    stage->text = changed->data;
    return pass_on(stage, changed->data, changed->length, error);
}

static bool cut_text(const struct cutting *all, size_t index, const char *text, size_t length, bool first,
                     struct error *error) {
    if (index == all->pretokenizer->count) return all->function(all->context, text, length, error);
    const struct cut *cut = &all->pretokenizer->cuts[index];
    struct stage stage = {all, index, text, first};
    switch (cut->kind) {
    case CUT_PATTERN:
        /* The last cut spares the way through pass_on for each word. */
        if (index + 1 == all->pretokenizer->count)
            return pattern_split(cut->pattern, &all->workspace->matcher, cut->behavior, cut->invert, text, length,
                                 all->function, all->context, error);
        return pattern_split(cut->pattern, &all->workspace->matcher, cut->behavior, cut->invert, text, length, pass_on,
                             &stage, error);
    case CUT_CHARACTERS:
        return cut_characters(cut, &stage, length, error);
    case CUT_METASPACE:
        return cut_metaspace(cut, &stage, length, error);
    case CUT_PREFIX:
        return add_prefix(&stage, length, error);
    case CUT_BEFORE_RUNS:
        return cut_before_marks(cut, &stage, length, true, error);
    }
    return false;
}

bool pretokenizer_split(const struct pretokenizer *pretokenizer, struct workspace *workspace, const char *text,
                        size_t length, bool first, word_function *function, void *context, struct error *error) {
    const struct cutting all = {pretokenizer, workspace, function, context};
    return length == 0 || cut_text(&all, 0, text, length, first, error);
}
