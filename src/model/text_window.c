/* Windows onto long texts: see text_window.h. */
#include "model/text_window.h"
#include "base/error.h"
#include <limits.h>
#include <string.h>

static const char *const names[TRUNCATIONS] = {"head", "tail", "head_tail", "sections"};

const char *truncation_name(enum truncation truncation) {
    return names[truncation];
}

bool truncation_parse(const char *name, enum truncation *truncation, struct error *error) {
    for (int i = 0; i < TRUNCATIONS; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *truncation = (enum truncation)i;
        return true;
    }
    return error_set(error, "\"%s\" is no way to cut a text: expected head, tail, head_tail or sections", name);
}

/* How many of the first tokens are kept. */
static size_t head_of(const struct text_window *window, size_t room) {
    size_t head = room;
    if (window->truncation == TRUNCATE_TAIL) head = 0;
    if (window->truncation == TRUNCATE_HEAD_TAIL) head = (size_t)(window->head_share * (double)room + 0.5);
    return head < room ? head : room;
}

void text_window_cut(const struct text_window *window, struct token_list *tokens, size_t first, size_t room) {
    const size_t count = tokens->count - first, head = head_of(window, room);
    int32_t *ids = tokens->ids + first;
    if (count <= room) return;
    memmove(ids + head, ids + count - (room - head), (room - head) * sizeof *ids);
    tokens->count = first + room;
}

void text_window_cut_spans(const struct text_window *window, struct token_spans *spans, size_t first, size_t room) {
    const size_t count = spans->count - first, head = head_of(window, room);
    struct byte_span *items = spans->items + first;
    if (count <= room) return;
    memmove(items + head, items + count - (room - head), (room - head) * sizeof *items);
    spans->count = first + room;
}

void text_window_sections(const size_t *lengths, const int *ranks, size_t count, size_t room, size_t *kept) {
    memset(kept, 0, count * sizeof *kept);
    for (int rank = 0, next; room > 0 && rank < INT_MAX; rank = next) {
        next = INT_MAX;
        for (size_t i = 0; i < count; i++) {
            if (ranks[i] > rank && ranks[i] < next) next = ranks[i];
            if (ranks[i] != rank) continue;
            kept[i] = lengths[i] < room ? lengths[i] : room;
            room -= kept[i];
        }
    }
}
