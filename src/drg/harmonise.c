/* Harmonisation of DRG descriptions. casemix's own way turns a description into a key: capitals, words apart, each
 * word in its full form and singular, fillers left out. The keys of the titles and of the aliases stand in a hash; what
 * is not there may be a title cut short, or belong to a family of wordings that are known to have no counterpart. */
#include "drg/harmonise.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/catalog_tables.h"
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BYTES = 1024,  /* no title comes near */
    SHORTEST_CUT = 36, /* a key under this length is not taken for a title cut short */
};

struct wording {
    const char *key;
    int code;         /* 0: no counterpart */
    const char *note; /* why, or a remark; may be NULL */
};

struct title_map {
    bool published;
    struct tsv words, aliases; /* own the strings of words and notes */
    struct hash expansions;    /* word -> row of words */
    struct arena keys;
    struct wording *wordings; /* sorted by key once complete */
    size_t count, capacity;
    struct hash index;        /* key -> wordings */
    struct wording *families; /* keys that stand for every wording that begins so; code 0 */
    size_t family_count, family_capacity;
};

/* --- keys ------------------------------------------------------------------------------------------------------- */

struct key {
    char bytes[KEY_BYTES];
    size_t length, last; /* last: where the last word begins */
    bool overflow;
};

static bool is_word_byte(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '<' || c == '>' || c == '=' ||
           c == '+' || (unsigned char)c >= 0x80;
}

static char capital(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Appends one word in its final form; a word twice in a row ("COMA COMA") counts once. */
static void key_add(struct key *key, const char *word, size_t length) {
    if (length > 4 && word[length - 1] == 'S' && strchr("SUI", word[length - 2]) == NULL) length--;
    if (length == 0) return;
    if (key->length > 0 && key->length - key->last == length && memcmp(key->bytes + key->last, word, length) == 0)
        return;
    if (key->length + length + 2 > sizeof key->bytes) {
        key->overflow = true;
        return;
    }
    if (key->length > 0) key->bytes[key->length++] = ' ';
    key->last = key->length;
    memcpy(key->bytes + key->length, word, length);
    key->length += length;
    key->bytes[key->length] = '\0';
}

/* A word as it stands, or the words that its row of data/title-words.tsv gives. */
static void key_expand(struct key *key, const struct title_map *map, const char *word, size_t length) {
    const int32_t row = hash_find(&map->expansions, word, length, -1);
    if (row < 0) {
        key_add(key, word, length);
        return;
    }
    for (const char *part = tsv_cell(&map->words, (size_t)row, 1); *part != '\0';) {
        const size_t part_length = strcspn(part, " ");
        if (!(part_length == 1 && *part == '-')) key_add(key, part, part_length);
        part += part_length;
        part += strspn(part, " ");
    }
}

static void key_make(struct key *key, const struct title_map *map, const char *description, size_t length) {
    key->length = key->last = 0;
    key->overflow = false;
    key->bytes[0] = '\0';
    for (size_t i = 0; i < length && !key->overflow;) {
        char word[KEY_BYTES];
        size_t n = 0;
        /* "W/O" and "D&C" are words although they hold a separator */
        const size_t left = length - i;
        if (left >= 3 && (description[i + 1] == '/' || description[i + 1] == '&') &&
            (left == 3 || !is_word_byte(capital(description[i + 3]))) &&
            (i == 0 || !is_word_byte(capital(description[i - 1])))) {
            const char joined[3] = {capital(description[i]), description[i + 1], capital(description[i + 2])};
            if (memcmp(joined, "W/O", 3) == 0 || memcmp(joined, "D&C", 3) == 0) {
                key_expand(key, map, joined, 3);
                i += 3;
                continue;
            }
        }
        for (; i < length && is_word_byte(capital(description[i])); i++) {
            if (n < sizeof word) word[n++] = capital(description[i]);
        }
        if (n == sizeof word) key->overflow = true;
        if (n > 0) key_expand(key, map, word, n);
        if (n == 0) i++;
    }
}

/* --- the tables --------------------------------------------------------------------------------------------------- */

static bool wording_add(struct title_map *map, const char *key, size_t length, int code, const char *note,
                        struct error *error) {
    bool existing;
    char *copy = arena_string(&map->keys, key, length);
    if (copy == NULL) return memory_error(error, length, "a title");
    if (!memory_grow(&map->wordings, &map->capacity, map->count + 1, sizeof *map->wordings, error) ||
        !hash_insert(&map->index, copy, length, (int32_t)map->count, &existing, error))
        return false;
    if (existing) {
        struct wording *before = &map->wordings[*hash_value(&map->index, copy, length)];
        if (!map->published && before->code != code)
            return error_set(error, "the wording \"%s\" stands for %d and for %d", copy, before->code, code);
        if (map->published || before->note == NULL) before->note = note;
        before->code = code;
        return true;
    }
    map->wordings[map->count++] = (struct wording){copy, code, note};
    return true;
}

static bool family_add(struct title_map *map, const struct key *key, const char *note, struct error *error) {
    char *copy = arena_string(&map->keys, key->bytes, key->length);
    if (copy == NULL) return memory_error(error, key->length, "a title");
    if (!memory_grow(&map->families, &map->family_capacity, map->family_count + 1, sizeof *map->families, error))
        return false;
    map->families[map->family_count++] = (struct wording){copy, 0, note};
    return true;
}

static bool words_load(struct title_map *map, struct error *error) {
    const struct table_bytes bytes = title_words_table();
    if (!tsv_parse(&map->words, "title-words.tsv", bytes.bytes, bytes.length, error)) return false;
    for (size_t row = 0; row < map->words.rows; row++) {
        const char *word = tsv_cell(&map->words, row, 0);
        bool existing;
        if (!hash_insert(&map->expansions, word, strlen(word), (int32_t)row, &existing, error)) return false;
        if (existing) return error_set(error, "title-words.tsv: \"%s\" stands twice", word);
    }
    return true;
}

static bool alias_add(struct title_map *map, enum grouper grouper, size_t row, struct error *error) {
    const char *wording = tsv_cell(&map->aliases, row, 1), *note = tsv_cell(&map->aliases, row, 3);
    const size_t length = strlen(wording);
    const bool family = length > 0 && wording[length - 1] == '*';
    int64_t code;
    struct key key;
    if (!parse_int64(tsv_cell(&map->aliases, row, 2), &code) ||
        (code != 0 && (family || catalog_find(catalog_get(grouper), (int)code) == NULL)))
        return error_set(error, "line %u: the code is no DRG of %s", map->aliases.lines[row], grouper_name(grouper));
    key_make(&key, map, wording, length - (family ? 1 : 0));
    return family ? family_add(map, &key, note, error)
                  : wording_add(map, key.bytes, key.length, (int)code, note, error);
}

static bool aliases_load(struct title_map *map, enum grouper grouper, struct error *error) {
    const struct table_bytes bytes = title_aliases_table();
    if (!tsv_parse(&map->aliases, "title-aliases.tsv", bytes.bytes, bytes.length, error)) return false;
    for (size_t row = 0; row < map->aliases.rows; row++) {
        if (strcmp(tsv_cell(&map->aliases, row, 0), grouper_name(grouper)) != 0) continue;
        if (!alias_add(map, grouper, row, error)) return error_context(error, "title-aliases.tsv");
    }
    return true;
}

static bool titles_load(struct title_map *map, enum grouper grouper, struct error *error) {
    const struct catalog *catalog = catalog_get(grouper);
    for (size_t i = 0; i < catalog->count; i++) {
        const struct drg *drg = &catalog->drgs[i];
        struct key key;
        const char *bytes = drg->title;
        size_t length = strlen(bytes);
        if (!map->published) {
            key_make(&key, map, drg->title, length);
            bytes = key.bytes;
            length = key.length;
        }
        if (!wording_add(map, bytes, length, drg->code, NULL, error)) return false;
    }
    return true;
}

static int compare_wordings(const void *a, const void *b) {
    return strcmp(((const struct wording *)a)->key, ((const struct wording *)b)->key);
}

/* Order for the search of cut titles; the index follows. */
static bool wordings_sort(struct title_map *map, struct error *error) {
    qsort(map->wordings, map->count, sizeof *map->wordings, compare_wordings);
    hash_free(&map->index);
    map->index = (struct hash){0};
    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->wordings[i].key;
        if (!hash_insert(&map->index, key, strlen(key), (int32_t)i, NULL, error)) return false;
    }
    return true;
}

static struct title_map *map_new(bool published, struct error *error) {
    struct title_map *map = memory_zero(1, sizeof *map);
    if (map == NULL) {
        memory_error(error, sizeof *map, "the titles");
        return NULL;
    }
    map->published = published;
    arena_init(&map->keys, (size_t)1 << 16);
    return map;
}

bool title_map_open(struct title_map **map, enum grouper grouper, struct error *error) {
    *map = map_new(false, error);
    if (*map == NULL) return false;
    if (words_load(*map, error) && titles_load(*map, grouper, error) && aliases_load(*map, grouper, error) &&
        wordings_sort(*map, error))
        return true;
    title_map_close(*map);
    *map = NULL;
    return false;
}

void title_map_close(struct title_map *map) {
    if (map == NULL) return;
    hash_free(&map->index);
    hash_free(&map->expansions);
    memory_free(map->wordings);
    memory_free(map->families);
    arena_free(&map->keys);
    tsv_free(&map->words);
    tsv_free(&map->aliases);
    memory_free(map);
}

/* --- casemix's own search ----------------------------------------------------------------------------------------- */

static bool key_ends_in(const struct key *key, const char *ending) {
    const size_t length = strlen(ending);
    return key->length >= length && memcmp(key->bytes + key->length - length, ending, length) == 0;
}

/* A description cut short by its source: the key begins titles of one DRG only. */
static int find_cut(const struct title_map *map, const struct key *key, const char **reason) {
    size_t low = 0, high = map->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(map->wordings[middle].key, key->bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    int code = -1;
    for (; low < map->count && strncmp(map->wordings[low].key, key->bytes, key->length) == 0; low++) {
        const struct wording *wording = &map->wordings[low];
        /* "WITH CC" is whole; "WITH CC/MCC" is another severity, not its continuation */
        if (strncmp(wording->key + key->length, " MCC", 4) == 0 && key_ends_in(key, " WITH CC")) continue;
        if (code >= 0 && code != wording->code) {
            *reason = "ambiguous: several titles begin so";
            return 0;
        }
        code = wording->code;
        *reason = wording->note;
    }
    if (code < 0) return -1;
    if (key->length >= SHORTEST_CUT || code == 0) return code;
    *reason = "ambiguous: too short to be taken for a title cut off";
    return 0;
}

static const char *find_family(const struct title_map *map, const struct key *key) {
    for (size_t i = 0; i < map->family_count; i++) {
        const size_t length = strlen(map->families[i].key);
        if (key->length >= length && memcmp(key->bytes, map->families[i].key, length) == 0 &&
            (key->length == length || key->bytes[length] == ' '))
            return map->families[i].note;
    }
    return NULL;
}

static int find_own(const struct title_map *map, const char *description, size_t length, const char **reason) {
    struct key key;
    key_make(&key, map, description, length);
    *reason = key.length == 0 && !key.overflow ? "empty" : "unknown wording";
    if (key.length == 0 || key.overflow) return 0;
    const int32_t found = hash_find(&map->index, key.bytes, key.length, -1);
    if (found >= 0) {
        *reason = map->wordings[found].note;
        return map->wordings[found].code;
    }
    const char *note = find_family(map, &key);
    if (note != NULL) {
        *reason = note;
        return 0;
    }
    const int code = find_cut(map, &key, reason);
    return code < 0 ? 0 : code;
}

/* --- the published way -------------------------------------------------------------------------------------------- */

/* Every occurrence from left to right, none overlapping: Python's str.replace. */
static void replace_all(struct text *out, const struct text *in, const char *from, const char *to) {
    const size_t width = strlen(from);
    text_clear(out);
    for (size_t i = 0; i < in->length;) {
        const char *hit = memmem(in->data + i, in->length - i, from, width);
        const size_t end = hit == NULL ? in->length : (size_t)(hit - in->data);
        text_append(out, in->data + i, end - i);
        if (hit != NULL) text_add(out, to);
        i = hit == NULL ? in->length : end + width;
    }
}

void title_normalise_published(struct text *out, const char *description, size_t length) {
    static const char *const rules[][2] = {
        {"W/O", "WITHOUT"},        {" W ", " WITH "}, {"&", "AND"}, {",", ""}, {" CATH ", " CATHETERIZATION "},
        {" PROC ", " PROCEDURES "}};
    struct text texts[2] = {{0}, {0}};
    text_append(&texts[0], description, length);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        replace_all(&texts[(i + 1) % 2], &texts[i % 2], rules[i][0], rules[i][1]);
    }
    if (texts[0].length > 0) text_append(out, texts[0].data, texts[0].length);
    if (texts[0].failed || texts[1].failed) out->failed = true;
    text_free(&texts[0]);
    text_free(&texts[1]);
}

/* The strings that pandas.read_csv takes for a missing value unless told otherwise (1.5). */
static bool is_missing(const char *bytes, size_t length) {
    static const char *const missing[] = {"",     "#N/A", "#N/A N/A", "#NA",     "-1.#IND", "-1.#QNAN",
                                          "-NaN", "-nan", "1.#IND",   "1.#QNAN", "<NA>",    "N/A",
                                          "NA",   "NULL", "NaN",      "n/a",     "nan",     "null"};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        if (strlen(missing[i]) == length && memcmp(missing[i], bytes, length) == 0) return true;
    }
    return false;
}

static const char unmapped[] = "retired: the published mapping gives it no counterpart";
static const char no_title[] = "the published mapping's target is no v34 title";

static bool published_rows(struct title_map *map, const struct hash *titles, struct csv_reader *reader,
                           struct error *error) {
    int from, to;
    if (!csv_require(reader, "raw_description", &from, error) || !csv_require(reader, "DRG_34_description", &to, error))
        return false;
    for (bool more;;) {
        size_t wording_length, target_length;
        if (!csv_next(reader, &more, error)) return false;
        if (!more) return true;
        const char *wording = csv_field(reader, from, &wording_length), *target = csv_field(reader, to, &target_length);
        if (is_missing(wording, wording_length) || hash_find(titles, wording, wording_length, 0) != 0) continue;
        const int code = hash_find(titles, target, target_length, 0);
        const char *note = code != 0 ? NULL : is_missing(target, target_length) ? unmapped : no_title;
        if (!wording_add(map, wording, wording_length, code, note, error)) return false;
    }
}

bool title_map_open_published(struct title_map **map, const char *path, struct error *error) {
    const struct catalog *catalog = catalog_get(GROUPER_V34);
    struct csv_reader *reader = NULL;
    struct hash titles = {0};
    *map = map_new(true, error);
    if (*map == NULL) return false;
    bool done = titles_load(*map, GROUPER_V34, error);
    for (size_t i = 0; done && i < catalog->count; i++) {
        const struct drg *drg = &catalog->drgs[i];
        done = hash_insert(&titles, drg->title, strlen(drg->title), drg->code, NULL, error);
    }
    done = done && csv_open(&reader, path, error);
    if (done && !published_rows(*map, &titles, reader, error)) {
        done = false;
        if (strstr(error->message, path) == NULL) error_context(error, "%s", path);
    }
    csv_close(reader);
    hash_free(&titles);
    if (done) return true;
    title_map_close(*map);
    *map = NULL;
    return false;
}

static int find_published(const struct title_map *map, const char *description, size_t length, const char **reason) {
    struct text transformed = {0};
    *reason = "empty";
    if (length == 0) return 0;
    title_normalise_published(&transformed, description, length);
    int32_t found = -1;
    if (!transformed.failed && transformed.length > 0)
        found = hash_find(&map->index, transformed.data, transformed.length, -1);
    text_free(&transformed);
    *reason = found < 0 ? "not in the published mapping" : map->wordings[found].note;
    return found < 0 ? 0 : map->wordings[found].code;
}

int title_map_find(const struct title_map *map, const char *description, size_t length, const char **reason) {
    const char *why = NULL;
    const int code =
        map->published ? find_published(map, description, length, &why) : find_own(map, description, length, &why);
    if (reason != NULL) *reason = why;
    return code;
}
