/* Rewording ICD-10-CM titles: see synth_title.h. */
#include "data/synth_title.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { LONGEST = 512, VARIANTS = 6 };

struct replacement {
    const char *from, *to;
};

/* Words of the classification that no clinician writes; in this order. */
static const struct replacement administrative[] = {
    {", initial encounter for closed fracture", ""},
    {", initial encounter for open fracture", " (open)"},
    {", initial encounter", ""},
    {", subsequent encounter", ", healing"},
    {", sequela", ", late effect"},
    {", not elsewhere classified", ""},
    {", not intractable", ""},
    {", so stated", ""},
    {" of unspecified ", " of "},
    {", unspecified site", ""},
    {" unspecified as to ", " of unclear "},
    {", unspecified", ""},
    {"unspecified ", ""},
    {" unspecified", ""},
    {"other specified ", ""},
    {"other and ", ""},
    {"other ", ""},
    {", other", ""},
    {"encounter for ", ""},
    {" (current)", ""},
    {"in diseases classified elsewhere", "from another disease"},
    {" classified elsewhere", ""},
    /* These stand alone as titles of DRGs, and no note may hold one. */
    {"angina pectoris", "angina"},
    {"urethral stricture", "urethral narrowing"},
    {"chest pain", "pain in the chest"},
    {"lung transplant", "lung graft"},
    {"kidney transplant", "kidney graft"},
    {"pancreas transplant", "pancreas graft"},
    {"radiotherapy", "radiation"},
};

static const struct replacement synonyms[] = {
    {"secondary malignant neoplasm of", "metastasis to the"},
    {"malignant neoplasm of", "cancer of the"},
    {"benign neoplasm of", "benign tumor of the"},
    {"carcinoma in situ of", "in situ cancer of the"},
    {"neoplasm of uncertain behavior of", "tumor of unclear behavior in the"},
    {"neoplasm", "tumor"},
    {"personal history of", "prior"},
    {"family history of", "relatives with"},
    {"long term use of", "chronic use of"},
    {"acquired absence of", "prior removal of"},
    {"presence of", "known"},
    {"hemorrhage", "bleeding"},
    {"haemorrhage", "bleeding"},
    {"calculus", "stone"},
    {"fracture", "break"},
    {"laceration without foreign body of", "cut of the"},
    {"laceration", "cut"},
    {"contusion", "bruise"},
    {"abrasion", "scrape"},
    {"lower extremity", "leg"},
    {"upper extremity", "arm"},
    {"lower limb", "leg"},
    {"upper limb", "arm"},
    {"thorax", "chest"},
    {"renal", "kidney"},
    {"hepatic", "liver"},
    {"cardiac", "heart"},
    {"cutaneous", "skin"},
    {"disorder", "problem"},
    {"stenosis", "narrowing"},
    {"hypertrophy", "enlargement"},
    {"without complication", "uncomplicated"},
    {"injury", "trauma"},
    {"infection", "infectious process"},
    {"anomalies", "malformations"},
    {"disease", "illness"},
    {"obstruction", "blockage"},
    {"dependence", "addiction"},
    {"abuse", "misuse"},
};

static const struct replacement short_forms[] = {
    {"without", "w/o"},
    {"with", "w/"},
    {"due to", "2/2"},
    {"secondary to", "2/2"},
    {"personal history of", "h/o"},
    {"family history of", "FHx of"},
    {"acquired absence of", "s/p removal of"},
    {"right", "R"},
    {"left", "L"},
    {"bilateral", "b/l"},
    {"fracture", "fx"},
    {"chronic", "chr."},
    {"acute", "ac."},
    {"history", "hx"},
    {"hemorrhage", "bleed"},
    {"malignant neoplasm of", "ca of"},
    {"lower extremity", "LE"},
    {"upper extremity", "UE"},
    {"status", "s/p"},
    {"and", "&"},
};

static bool word_byte(char byte) {
    return isalnum((unsigned char)byte) != 0;
}

/* Replaces every `from` in any case; whole words only where it begins or ends with a letter. */
static void replace(char *text, struct replacement change) {
    const size_t from = strlen(change.from), to = strlen(change.to);
    for (char *at = text; (at = strcasestr(at, change.from)) != NULL;) {
        const bool inside = (word_byte(change.from[0]) && at > text && word_byte(at[-1])) ||
                            (word_byte(change.from[from - 1]) && word_byte(at[from]));
        const size_t rest = strlen(at + from) + 1;
        if (inside || strlen(text) - from + to + 1 > LONGEST) {
            at++;
            continue;
        }
        memmove(at + to, at + from, rest);
        memcpy(at, change.to, to);
        at += to;
    }
}

/* One blank between words, none at the ends or before a comma. */
static void tidy(char *text) {
    char *out = text;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == ' ' && (out == text || out[-1] == ' ' || at[1] == '\0' || at[1] == ',')) continue;
        *out++ = *at;
    }
    while (out > text && (out[-1] == ' ' || out[-1] == ',')) out--;
    *out = '\0';
}

/* The first letter small, unless the word is an acronym or a name (Crohn's). */
static void small_first(char *text) {
    const size_t word = strcspn(text, " ");
    const bool name = memchr(text, '\'', word) != NULL || (text[0] != '\0' && isupper((unsigned char)text[1]));
    if (!name) text[0] = (char)tolower((unsigned char)text[0]);
}

/* "abscess, perianal" becomes "perianal abscess"; false when there is not one comma with a few words behind. */
static bool turn_round(char *out, const char *text) {
    const char *comma = strchr(text, ',');
    if (comma == NULL || strchr(comma + 1, ',') != NULL || comma[1] != ' ' || strlen(comma + 2) > 40 ||
        strpbrk(text, "()") != NULL)
        return false;
    const size_t head = (size_t)(comma - text), tail = strlen(comma + 2);
    memcpy(out, comma + 2, tail);
    out[tail] = ' ';
    memcpy(out + tail + 1, text, head);
    out[tail + 1 + head] = '\0';
    return true;
}

/* "abscess of liver" becomes "liver abscess": short ones only. */
static bool turn_of(char *out, const char *text) {
    const char *of = strstr(text, " of ");
    if (of == NULL || strchr(text, ',') != NULL || strstr(of + 4, " of ") != NULL) return false;
    const char *what = strncmp(of + 4, "the ", 4) == 0 ? of + 8 : of + 4;
    size_t blanks = 0;
    for (const char *c = what; *c != '\0'; c++) blanks += *c == ' ';
    const size_t head = (size_t)(of - text), tail = strlen(what);
    if (blanks > 1 || memchr(text, ' ', head) != NULL || tail == 0) return false;
    memcpy(out, what, tail);
    out[tail] = ' ';
    memcpy(out + tail + 1, text, head);
    out[tail + 1 + head] = '\0';
    return true;
}

struct variants {
    char items[VARIANTS][LONGEST + 1];
    size_t count;
};

static void variants_add(struct variants *variants, char *text) {
    tidy(text);
    if (text[0] == '\0' || variants->count == VARIANTS) return;
    for (size_t i = 0; i < variants->count; i++) {
        if (strcasecmp(variants->items[i], text) == 0) return;
    }
    memcpy(variants->items[variants->count++], text, strlen(text) + 1);
}

static void replace_all(char *text, const struct replacement *changes, size_t count) {
    for (size_t i = 0; i < count; i++) replace(text, changes[i]);
}

void title_reword(struct text *out, const char *title) {
    struct variants variants = {.count = 0};
    char plain[LONGEST + 1] = "", work[2 * LONGEST + 2];
    strncat(plain, title, LONGEST);
    replace_all(plain, administrative, sizeof administrative / sizeof administrative[0]);
    tidy(plain);
    small_first(plain);
    variants_add(&variants, plain);
    if (turn_round(work, plain)) variants_add(&variants, work);
    if (turn_of(work, plain)) variants_add(&variants, work);
    memcpy(work, plain, sizeof plain);
    replace_all(work, synonyms, sizeof synonyms / sizeof synonyms[0]);
    variants_add(&variants, work);
    memcpy(work, plain, sizeof plain);
    replace_all(work, short_forms, sizeof short_forms / sizeof short_forms[0]);
    variants_add(&variants, work);
    /* The bare official title goes when it can be said otherwise. */
    const size_t first = variants.count > 2 && strcasecmp(variants.items[0], title) == 0 ? 1 : 0;
    if (variants.count < 2) text_printf(out, "diagnosis of %s|", plain);
    for (size_t i = first; i < variants.count; i++) text_printf(out, "%s%s", i > first ? "|" : "", variants.items[i]);
}
