/* Files of rationales: see rationales.h. */
#include "data/rationales.h"
#include "base/error.h"
#include "base/json.h"
#include <string.h>

/* Copies a string member into the arena; NULL when it is absent and need not be there. */
static bool keep_string(struct rationales *rationales, const json_node *root, const char *name, bool required,
                        const char **kept, struct error *error) {
    const char *string = NULL;
    *kept = NULL;
    if (!json_get_string(root, name, required, &string, error)) return false;
    if (string == NULL) return true;
    *kept = arena_string(&rationales->arena, string, strlen(string));
    return *kept != NULL || memory_error(error, strlen(string), "the rationales");
}

static bool read_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct rationales *rationales = context;
    struct rationale item = {.drg = 0};
    int64_t drg = 0;
    (void)line;
    if (!keep_string(rationales, root, "note_id", true, &item.note_id, error) ||
        !keep_string(rationales, root, "rationale", true, &item.text, error) ||
        !keep_string(rationales, root, "group", false, &item.group, error) ||
        !keep_string(rationales, root, "answer", item.group != NULL, &item.answer, error) ||
        !keep_string(rationales, root, "title", item.group == NULL, &item.title, error) ||
        !json_get_int(root, "drg", item.group == NULL, 1, 999, &drg, error) ||
        !memory_grow(&rationales->items, &rationales->capacity, rationales->count + 1, sizeof item, error) ||
        !hash_insert(&rationales->by_note, item.note_id, strlen(item.note_id), (int32_t)rationales->count, NULL, error))
        return false;
    item.drg = (int)drg;
    rationales->items[rationales->count++] = item;
    return true;
}

bool rationales_load(struct rationales *rationales, const char *path, struct error *error) {
    return json_lines(path, read_line, rationales, error);
}

const struct rationale *rationales_find(const struct rationales *rationales, const char *note_id) {
    const int32_t at = hash_find(&rationales->by_note, note_id, strlen(note_id), -1);
    return at < 0 ? NULL : &rationales->items[at];
}

void rationales_free(struct rationales *rationales) {
    hash_free(&rationales->by_note);
    memory_free(rationales->items);
    arena_free(&rationales->arena);
    *rationales = (struct rationales){0};
}

static void add_member(struct text *out, const char *name, const char *value) {
    text_printf(out, "%s\"%s\": ", name[0] == 'n' ? "{" : ", ", name);
    text_add_json(out, value, strlen(value));
}

void rationale_add_line(struct text *out, const struct rationale *rationale) {
    add_member(out, "note_id", rationale->note_id);
    if (rationale->group != NULL) {
        add_member(out, "group", rationale->group);
        add_member(out, "rationale", rationale->text);
        add_member(out, "answer", rationale->answer);
    } else {
        text_printf(out, ", \"drg\": %d", rationale->drg);
        add_member(out, "title", rationale->title);
        add_member(out, "rationale", rationale->text);
    }
    text_add(out, "}\n");
}
